/**
 * @file replace.h  Replaces a file as a whole, or not at all
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_REPLACE_H
#define AASTRA_REPLACE_H

int  aa_replace_file(const char *path, bool sync, re_printf_h *ph, void *arg);
int  aa_replace_read(FILE **fp, const char *path);
int  aa_replace_settle(const char *path);
void aa_replace_close(void);

#endif
