/**
 * @file journal.c  The latest changes of a line
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <re.h>
#include "journal.h"


/**
 * Add an entry; the oldest one makes room
 *
 * @param jnl    Journal
 * @param time   When it happened [ms since 1970]
 * @param event  What happened
 * @param to     Where to, may be NULL
 * @param reason Why, may be NULL
 * @param took   How long it took [ms]
 */
void aa_journal_add(struct aa_journal *jnl, uint64_t time,
		    enum aa_journal_event event, const char *to,
		    const char *reason, uint32_t took)
{
	struct aa_journal_entry *e;

	if (!jnl)
		return;

	e = &jnl->entryv[jnl->head];
	memset(e, 0, sizeof(*e));
	e->time  = time;
	e->event = event;
	e->took  = took;
	str_ncpy(e->to, to ? to : "", sizeof(e->to));
	str_ncpy(e->reason, reason ? reason : "", sizeof(e->reason));

	jnl->head = (jnl->head + 1) % AA_JOURNAL_SIZE;
	if (jnl->count < AA_JOURNAL_SIZE)
		++jnl->count;
}


/**
 * Get an entry
 *
 * @param jnl Journal
 * @param ix  0 for the oldest one
 *
 * @return Entry, NULL behind the latest one
 */
const struct aa_journal_entry *aa_journal_get(const struct aa_journal *jnl,
					      size_t ix)
{
	if (!jnl || ix >= jnl->count)
		return NULL;

	return &jnl->entryv[(jnl->head + AA_JOURNAL_SIZE - jnl->count + ix)
			    % AA_JOURNAL_SIZE];
}


/**
 * Name of a kind of entry
 *
 * @param event Kind
 *
 * @return Name as in `aastra_state`
 */
const char *aa_journal_event_name(enum aa_journal_event event)
{
	switch (event) {

	case AA_JOURNAL_REGISTERED:         return "registered";
	case AA_JOURNAL_FAILOVER:           return "failover";
	case AA_JOURNAL_FAILBACK:           return "failback";
	case AA_JOURNAL_FLOW_DOWN:          return "flow-down";
	case AA_JOURNAL_FLOW_UP:            return "flow-up";
	case AA_JOURNAL_SUBSCRIPTION_MOVED: return "subscription-moved";
	case AA_JOURNAL_CALL_MOVED:         return "call-moved";
	case AA_JOURNAL_FORCED:             return "forced";
	case AA_JOURNAL_CONFIG:             return "config";
	default:                            return "?";
	}
}
