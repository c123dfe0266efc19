/**
 * @file journal.h  The latest changes of all lines
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_JOURNAL_H
#define AASTRA_JOURNAL_H

struct aa_journal;

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
	AA_JOURNAL_CONFIG,
	AA_JOURNAL_REFUSED,
	AA_JOURNAL_EVENTS
};

enum {
	AA_JOURNAL_LINE_MAX = 64,   /**< entries kept of a line             */
	AA_JOURNAL_MAX      = 4096, /**< entries kept of all lines together */
	AA_JOURNAL_TEXT_MAX = 256   /**< longest text of an entry [bytes]   */
};

/** One entry.  Texts may be NULL when it is added, and never are after */
struct aa_journal_entry {
	struct le le;
	uint64_t seq;           /**< counts up, over restarts as well       */
	uint64_t time;          /**< ms since 1970                          */
	uint32_t line;          /**< number of the line, 1..                */
	enum aa_journal_event event;
	uint32_t took;          /**< how long the change took [ms]          */
	uint32_t detect;        /**< how long it took to be seen [ms]       */
	uint32_t requests;      /**< REGISTERs that the change needed       */
	const char *from;       /**< where from                             */
	const char *to;         /**< where to, or what it was about         */
	const char *reason;     /**< what was seen                          */
	const char *by;         /**< who saw it: a request, timer, packet   */
	const char *decision;   /**< what was decided, and why              */
};

/**
 * Called when an entry was added; it only records
 *
 * @param e   The entry
 * @param arg Handler argument
 */
typedef void (aa_journal_h)(const struct aa_journal_entry *e, void *arg);


int  aa_journal_alloc(struct aa_journal **jnlp);
void aa_journal_listen(struct aa_journal *jnl, aa_journal_h *h, void *arg);
void aa_journal_clear(struct aa_journal *jnl);
int  aa_journal_add(struct aa_journal *jnl, const struct aa_journal_entry *e);
const struct aa_journal_entry *aa_journal_next(const struct aa_journal *jnl,
				uint32_t line,
				const struct aa_journal_entry *prev);
uint64_t aa_journal_first(const struct aa_journal *jnl);
uint64_t aa_journal_last(const struct aa_journal *jnl);
const char *aa_journal_event_name(enum aa_journal_event event);

#endif
