/**
 * @file warm.h  What a line remembers over a restart of baresip
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_WARM_H
#define AASTRA_WARM_H

struct aa_line;
struct aa_phone;


void aa_warm_load(struct aa_line *line, const char *path);
int  aa_warm_save(struct aa_phone *phone, const char *path,
		  bool durable);

#endif
