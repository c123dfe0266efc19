/**
 * @file fuzz.h  What all fuzz targets have
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <stdint.h>
#include <stdlib.h>


/** What must always hold: the fuzzer keeps the input where it does not */
#define REQUIRE(cond) do { \
		if (!(cond)) \
			abort(); \
	} while (0)


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* of random.c */
void fuzz_random_begin(void);
