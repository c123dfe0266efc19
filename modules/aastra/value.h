/**
 * @file value.h  The value of a key
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_VALUE_H
#define AASTRA_VALUE_H

#include <stdbool.h>
#include <stdint.h>
#include "key.h"


/** What became of an entry's value */
enum aa_value_state {
	VALUE_EMPTY,            /* nothing written, or port 0               */
	VALUE_NONE,             /* 0.0.0.0: there shall be none             */
	VALUE_OK,
	VALUE_BAD               /* as if the entry was not there            */
};

/** A value; the strings are freed with mem_deref() */
struct aa_value {
	enum aa_value_state state;
	uint32_t num;           /**< of a number, bool, port                */
	const struct aa_key *key;
	char *val;              /**< as written, then in its normal form    */
	char *why;              /**< what is wrong, for the finding         */
	int err;                /**< memory ran out while it was checked    */
};


int  aa_value_init(struct aa_value *v, const struct aa_key *key,
		   const char *str);
void aa_value_refuse(struct aa_value *v, const char *fmt, ...);
void aa_value_reset(struct aa_value *v);
bool aa_value_is_ip(const char *host);
bool aa_value_number(uint32_t *num, const char *str);

#endif
