/**
 * @file seen.h  What others see of the module, and how they steer it
 *
 * One door for everything that shows the module or steers it: the commands
 * print through it, and so does the page that is served by HTTP.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_SEEN_H
#define AASTRA_SEEN_H

#include "news.h"

struct re_printf;
struct aa_seen;

/**
 * Called when something is new.  It is called from within libre and the
 * module, several times for one cause, so it only records, and starts a timer
 * for what it wants to do about it.
 *
 * @param what What is new
 * @param line Number of the line
 * @param arg  Handler argument
 */
typedef void (aa_seen_h)(enum aa_news what, uint32_t line, void *arg);


int  aa_seen_listen(struct aa_seen **sp, aa_seen_h *h, void *arg);
void aa_seen_tell(enum aa_news what, uint32_t line);

int  aa_seen_state(struct re_printf *pf, uint32_t line);
int  aa_seen_now(struct re_printf *pf, uint32_t line);
int  aa_seen_history(struct re_printf *pf, uint32_t line, uint64_t since,
		     uint32_t max);
int  aa_seen_metrics(struct re_printf *pf);
int  aa_seen_command(struct re_printf *pf, const char *name, const char *prm);

#endif
