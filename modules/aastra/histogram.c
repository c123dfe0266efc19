/**
 * @file histogram.c  How often something took how long
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <stddef.h>
#include "histogram.h"


/**
 * Count one more
 *
 * @param hist Histogram
 * @param ms   How long it took [ms]
 */
void aa_histogram_add(struct aa_histogram *hist, uint64_t ms)
{
	static const uint32_t boundv[] = AA_HISTOGRAM_BOUNDS;
	size_t i;

	if (!hist)
		return;

	for (i=0; i<AA_HISTOGRAM_BUCKETS - 1 && ms > boundv[i]; i++)
		;

	++hist->count[i];
	hist->sum += ms;
}
