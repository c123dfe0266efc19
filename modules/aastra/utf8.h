/**
 * @file utf8.h  Text that came from somebody else
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_UTF8_H
#define AASTRA_UTF8_H

#include <stddef.h>


size_t aa_utf8_len(const char *p);
size_t aa_utf8_clean(char *dst, size_t sz, const char *src);

#endif
