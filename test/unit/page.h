/**
 * @file page.h  A page of the documents that a program writes
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */

__attribute__((format(printf, 1, 2)))
void put(const char *fmt, ...);
int  page_done(int argc, char *argv[], const char *target, const char *name);
