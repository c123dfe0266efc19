/**
 * @file histogram.h  How often something took how long
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_HISTOGRAM_H
#define AASTRA_HISTOGRAM_H

#include <stdint.h>

enum {
	AA_HISTOGRAM_BUCKETS = 14 /**< the last one has no upper end        */
};

/** Upper ends of the buckets but the last [ms] */
#define AA_HISTOGRAM_BOUNDS {					\
	1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000,	\
	10000, 30000						\
}

/** Zeroed, it is empty */
struct aa_histogram {
	uint64_t count[AA_HISTOGRAM_BUCKETS]; /**< not cumulative           */
	uint64_t sum;                         /**< [ms]                     */
};


void aa_histogram_add(struct aa_histogram *hist, uint64_t ms);

#endif
