/**
 * @file journal.c  The latest changes of all lines
 *
 * Every entry has a number that counts up, so that a reader can ask for what
 * came since it looked last.  A line that flaps does not push the entries of
 * the others out: each keeps its own latest ones.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <re.h>
#include "journal.h"
#include "utf8.h"


enum {
	BUCKETS = 1024
};


struct aa_journal {
	struct list entryl;     /* oldest first                             */
	uint32_t all;           /* entries in it                            */
	uint16_t countv[BUCKETS]; /* the same, by the line's number: lines
				     may share one                          */
	uint64_t last;          /* number of the latest entry ever added    */
	aa_journal_h *h;
	void *arg;
};


static void journal_destructor(void *arg)
{
	struct aa_journal *jnl = arg;

	list_flush(&jnl->entryl);
}


static void entry_destructor(void *arg)
{
	struct aa_journal_entry *e = arg;

	list_unlink(&e->le);
}


/**
 * Allocate a journal
 *
 * @param jnlp Pointer to the journal
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_journal_alloc(struct aa_journal **jnlp)
{
	struct aa_journal *jnl;

	if (!jnlp)
		return EINVAL;

	jnl = mem_zalloc(sizeof(*jnl), journal_destructor);
	if (!jnl)
		return ENOMEM;

	*jnlp = jnl;

	return 0;
}


/**
 * Be told of entries that are added from now on
 *
 * @param jnl Journal
 * @param h   Called when an entry was added, NULL for no more
 * @param arg Handler argument
 */
void aa_journal_listen(struct aa_journal *jnl, aa_journal_h *h, void *arg)
{
	if (!jnl)
		return;

	jnl->h   = h;
	jnl->arg = arg;
}


/**
 * Begin anew, with number 1
 *
 * @param jnl Journal
 */
void aa_journal_clear(struct aa_journal *jnl)
{
	if (!jnl)
		return;

	list_flush(&jnl->entryl);
	memset(jnl->countv, 0, sizeof(jnl->countv));
	jnl->all  = 0;
	jnl->last = 0;
}


static size_t text_len(const char *str)
{
	const size_t len = str ? strlen(str) : 0;

	return MIN(len, (size_t)AA_JOURNAL_TEXT_MAX - 1);
}


/* Texts come from servers, and go to terminals, files and web pages */
static const char *text_put(char **pos, const char *str)
{
	char *text = *pos;

	*pos += aa_utf8_clean(text, text_len(str) + 1, str) + 1;

	return text;
}


static struct aa_journal_entry *entry_dup(const struct aa_journal_entry *e)
{
	struct aa_journal_entry *copy;
	const size_t len = text_len(e->from) + text_len(e->to) +
		text_len(e->reason) + text_len(e->by) +
		text_len(e->decision) + 5;
	char *pos;

	copy = mem_zalloc(sizeof(*copy) + len, entry_destructor);
	if (!copy)
		return NULL;

	*copy = *e;
	memset(&copy->le, 0, sizeof(copy->le));

	pos = (char *)(copy + 1);
	copy->from     = text_put(&pos, e->from);
	copy->to       = text_put(&pos, e->to);
	copy->reason   = text_put(&pos, e->reason);
	copy->by       = text_put(&pos, e->by);
	copy->decision = text_put(&pos, e->decision);

	return copy;
}


static void entry_drop(struct aa_journal *jnl, struct aa_journal_entry *e)
{
	if (!e)
		return;

	--jnl->all;
	--jnl->countv[e->line % BUCKETS];
	mem_deref(e);
}


/* The oldest ones make room.  Lines are counted only where there may be too
   many entries of one: a thousand lines that move at once fill a journal. */
static void make_room(struct aa_journal *jnl, uint32_t line)
{
	struct aa_journal_entry *oldest = NULL;
	uint32_t n = 0;
	struct le *le;

	if (jnl->countv[line % BUCKETS] >= AA_JOURNAL_LINE_MAX) {

		for (le = list_head(&jnl->entryl); le; le = le->next) {
			struct aa_journal_entry *e = le->data;

			if (e->line != line)
				continue;

			if (!oldest)
				oldest = e;
			++n;
		}
	}

	if (n >= AA_JOURNAL_LINE_MAX)
		entry_drop(jnl, oldest);
	else if (jnl->all >= AA_JOURNAL_MAX)
		entry_drop(jnl, list_ledata(list_head(&jnl->entryl)));
}


/**
 * Add an entry; the oldest one of its line makes room.  What an entry
 * without a number gets is the next one; an entry that has one must come
 * after all that are there.
 *
 * @param jnl Journal, may be NULL: nothing is kept
 * @param e   What to add; it is copied, texts are cut at
 *            AA_JOURNAL_TEXT_MAX
 *
 * @return 0 if success, otherwise errorcode (EINVAL: its number is too low)
 */
int aa_journal_add(struct aa_journal *jnl, const struct aa_journal_entry *e)
{
	struct aa_journal_entry *copy;

	if (!jnl)
		return 0;
	if (!e || (e->seq && e->seq <= jnl->last))
		return EINVAL;

	copy = entry_dup(e);
	if (!copy)
		return ENOMEM;

	if (!copy->seq)
		copy->seq = jnl->last + 1;
	jnl->last = copy->seq;

	make_room(jnl, e->line);
	list_append(&jnl->entryl, &copy->le, copy);
	++jnl->all;
	++jnl->countv[copy->line % BUCKETS];

	if (jnl->h)
		jnl->h(copy, jnl->arg);

	return 0;
}


/**
 * Walk through the journal, oldest first
 *
 * @param jnl  Journal, may be NULL
 * @param line Entries of this line alone, 0: of all lines
 * @param prev The entry before, NULL to begin
 *
 * @return Entry, NULL behind the latest one
 */
const struct aa_journal_entry *aa_journal_next(const struct aa_journal *jnl,
				uint32_t line,
				const struct aa_journal_entry *prev)
{
	const struct le *le;

	if (!jnl)
		return NULL;

	for (le = prev ? prev->le.next : list_head(&jnl->entryl); le;
	     le = le->next) {
		const struct aa_journal_entry *e = le->data;

		if (!line || e->line == line)
			return e;
	}

	return NULL;
}


/**
 * Number of the oldest entry that is there
 *
 * @param jnl Journal, may be NULL
 *
 * @return Number, 0 if the journal is empty
 */
uint64_t aa_journal_first(const struct aa_journal *jnl)
{
	const struct aa_journal_entry *e = aa_journal_next(jnl, 0, NULL);

	return e ? e->seq : 0;
}


/**
 * Number of the latest entry
 *
 * @param jnl Journal, may be NULL
 *
 * @return Number, 0 if there was never any
 */
uint64_t aa_journal_last(const struct aa_journal *jnl)
{
	return jnl ? jnl->last : 0;
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
	case AA_JOURNAL_REFUSED:            return "refused";
	default:                            return "?";
	}
}
