/**
 * @file random.c  Random numbers that are the same in each run
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * libre draws tags, branches and nonces from OpenSSL, which looks up its
 * generator by name each time: more work than all that is under test, and
 * the fuzzer takes those comparisons for the target's own.  An input that
 * broke something also breaks it again when nothing is by chance.
 */
#include "fuzz.h"


/* as OpenSSL declares it: what is defined here comes before the library's */
int RAND_bytes(unsigned char *buf, int num);


static uint64_t state = 1;


/** Begin anew, with each input */
void fuzz_random_begin(void)
{
	state = 1;
}


int RAND_bytes(unsigned char *buf, int num)
{
	int i;

	/* xorshift64, by Marsaglia */
	for (i=0; i<num; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		buf[i] = (unsigned char)(state >> 32);
	}

	return 1;
}
