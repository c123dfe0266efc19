/**
 * @file keyname.h  Names of keys as they are written
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_KEYNAME_H
#define AASTRA_KEYNAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "key.h"

struct re_printf;
struct aa_cfg_entry;


/** The name of a key as it stands in a file */
struct aa_key_name {
	const struct aa_key *key;
	uint32_t line;
	bool underscore;
};


size_t aa_printable(const char *str);
int  aa_print_safe(struct re_printf *pf, const char *str);

const struct aa_key *aa_key_find(const char *name);
const struct aa_key *aa_key_guess(const char *name, size_t limit);
enum aa_key_id aa_key_id(const struct aa_key *key);
bool aa_key_split_line(char *base, uint32_t *linep, const char *name);
bool aa_key_split_loosely(char *base, uint32_t *linep, const char *name);
bool aa_key_is_sip(const char *name);
bool aa_key_is_phone(const char *base);
bool aa_key_is_foreign(const char *name);
bool aa_key_is_claimed(const char *name);

struct aa_key_name aa_key_name_of(enum aa_key_id id, uint32_t line);
int  aa_key_print_name(struct re_printf *pf, const struct aa_key_name *name);
int  aa_key_print_written(struct re_printf *pf,
			  const struct aa_cfg_entry *ce);

#endif
