/**
 * @file callmove.h  Outgoing calls that meet a dead server
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_CALLMOVE_H
#define AASTRA_CALLMOVE_H

struct aa_line;
struct call;
struct ua;


void aa_callmove_offer(struct aa_line *line, struct ua *ua,
		       struct call *call);
void aa_callmove_closed(struct aa_line *line, const struct call *call,
			const char *reason);
void aa_callmove_moved(struct aa_line *line);

#endif
