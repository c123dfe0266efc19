/**
 * @file status.h  What is, for programs
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_STATUS_H
#define AASTRA_STATUS_H

struct re_printf;
struct aa_phone;
struct aa_line;


int aa_status_json(struct re_printf *pf, const struct aa_phone *phone,
		   const struct aa_line *only, bool history);
int aa_status_history_json(struct re_printf *pf, const struct aa_phone *phone,
			   uint32_t line, uint64_t since, uint32_t max);

#endif
