/**
 * @file steady.h  The module's clock, for tests that are linked without it
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <stdint.h>
#include <time.h>


uint64_t aa_now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);

	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}


uint64_t aa_now_ms(void)
{
	return aa_now_us() / 1000;
}
