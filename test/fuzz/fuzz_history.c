/**
 * @file fuzz_history.c  Any bytes as the file of the history
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * What could be read must be fit for a terminal, and be the same when it is
 * written and read again.
 */
#include <stdlib.h>
#include <string.h>
#include <re.h>
#include "journal.h"
#include "history.h"
#include "fuzz.h"


static void text_check(const char *text)
{
	REQUIRE(text);
	REQUIRE(strlen(text) <= AA_JOURNAL_TEXT_MAX);
}


static struct mbuf *text_of(const struct aa_journal *jnl)
{
	struct mbuf *mb = mbuf_alloc(4096);

	REQUIRE(mb);
	REQUIRE(!mbuf_printf(mb, "%H", aa_history_print, jnl));

	return mb;
}


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct aa_journal_entry *e = NULL;
	struct aa_journal *one = NULL, *two = NULL;
	struct mbuf *a, *b;

	REQUIRE(!aa_journal_alloc(&one));
	REQUIRE(!aa_journal_alloc(&two));

	(void)aa_history_read(one, (const char *)data, size);

	while ((e = aa_journal_next(one, 0, e))) {
		REQUIRE(e->event < AA_JOURNAL_EVENTS);
		text_check(e->from);
		text_check(e->to);
		text_check(e->reason);
		text_check(e->by);
		text_check(e->decision);
	}

	a = text_of(one);
	REQUIRE(!aa_history_read(two, (const char *)a->buf, a->end));
	b = text_of(two);
	REQUIRE(a->end == b->end && !memcmp(a->buf, b->buf, a->end));

	mem_deref(a);
	mem_deref(b);
	mem_deref(one);
	mem_deref(two);

	return 0;
}
