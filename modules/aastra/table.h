/**
 * @file table.h  What is and what was, for people
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_TABLE_H
#define AASTRA_TABLE_H

struct re_printf;
struct aa_phone;
struct aa_line;


int aa_table_status(struct re_printf *pf, const struct aa_phone *phone,
		    const struct aa_line *only);
int aa_table_history(struct re_printf *pf, const struct aa_phone *phone,
		     uint32_t line);
int aa_table_uri(struct re_printf *pf, const char *uri);
int aa_table_duration(struct re_printf *pf, const uint64_t *ms);

#endif
