/**
 * @file explain.h  Why a line is where it is, and what it would do
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_EXPLAIN_H
#define AASTRA_EXPLAIN_H

struct re_printf;
struct aa_line;


int aa_explain_print(struct re_printf *pf, const struct aa_line *line);

#endif
