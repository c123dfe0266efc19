/**
 * @file history.h  The journal in a file
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_HISTORY_H
#define AASTRA_HISTORY_H

struct re_printf;
struct aa_journal;

enum {
	AA_HISTORY_ENTRIES = 1024,           /**< latest ones in the file   */
	AA_HISTORY_BYTES   = 2 * 1024 * 1024 /**< a larger file is no good  */
};


int aa_history_print(struct re_printf *pf, const struct aa_journal *jnl);
int aa_history_read(struct aa_journal *jnl, const char *buf, size_t len);
int aa_history_load(struct aa_journal *jnl, const char *path);
int aa_history_save(struct aa_journal *jnl, const char *path,
		    bool sync);

#endif
