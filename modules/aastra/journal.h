/**
 * @file journal.h  The latest changes of a line
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_JOURNAL_H
#define AASTRA_JOURNAL_H

/** Kinds of entries; their names are in `aastra_state` */
enum aa_journal_event {
	AA_JOURNAL_REGISTERED = 0,
	AA_JOURNAL_FAILOVER,
	AA_JOURNAL_FAILBACK,
	AA_JOURNAL_FLOW_DOWN,
	AA_JOURNAL_FLOW_UP,
	AA_JOURNAL_SUBSCRIPTION_MOVED,
	AA_JOURNAL_CALL_MOVED,
	AA_JOURNAL_FORCED,
	AA_JOURNAL_CONFIG
};

/** One entry */
struct aa_journal_entry {
	uint64_t time;          /**< ms since 1970                          */
	enum aa_journal_event event;
	char to[64];            /**< where to, or what it was about         */
	char reason[160];       /**< what was seen, and why it mattered     */
	uint32_t took;          /**< how long the change took [ms]          */
};

enum {
	AA_JOURNAL_SIZE = 64    /**< entries kept for a line                */
};

/** The latest entries of a line, a ring */
struct aa_journal {
	struct aa_journal_entry entryv[AA_JOURNAL_SIZE];
	size_t head;            /**< where the next one goes                */
	size_t count;
};


void aa_journal_add(struct aa_journal *jnl, uint64_t time,
		    enum aa_journal_event event, const char *to,
		    const char *reason, uint32_t took);
const struct aa_journal_entry *aa_journal_get(const struct aa_journal *jnl,
					      size_t ix);
const char *aa_journal_event_name(enum aa_journal_event event);

#endif
