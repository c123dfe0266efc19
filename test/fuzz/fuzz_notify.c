/**
 * @file fuzz_notify.c  Any bytes as bodies of NOTIFY requests
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * The first line of the input is the event package, then follow the bodies
 * of one subscription, cut at form feeds, each with its Content-Type in the
 * first line.  Beside what the sanitizers see: what is refused changes
 * nothing, and what is shown is fit for a log.
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -I../../modules/aastra \
 *       -I/usr/include/re -DHAVE_INET6 -DHAVE_INTTYPES_H -DHAVE_STDBOOL_H \
 *       -D_GNU_SOURCE -DAASTRA_HAVE_EXPAT=1 -o fuzz_notify fuzz_notify.c \
 *       ../../modules/aastra/notify.c -lre -lexpat
 *   ./fuzz_notify -dict=notify.dict -max_len=16384 corpus/notify
 */
#include <stdlib.h>
#include <string.h>
#include <re.h>
#include "notify.h"
#include "fuzz.h"


enum {
	TEXT_SIZE  = 1024,
	EVENT_SIZE = 64
};


/** All that a subscription says, to see whether it changed */
struct seen {
	uint32_t hash;
	size_t n;
};


static void text_add(struct seen *seen, const char *text)
{
	REQUIRE(text);
	REQUIRE(strlen(text) < TEXT_SIZE);

	for (; *text; text++) {
		REQUIRE((uint8_t)*text >= 0x20 && *text != 0x7f);
		seen->hash = seen->hash * 31 + (uint8_t)*text;
	}

	seen->hash = seen->hash * 31 + 7;
}


static bool member_handler(const struct aa_notify_res *res, void *arg)
{
	struct seen *seen = arg;

	text_add(seen, res->uri);
	text_add(seen, res->name);
	text_add(seen, res->value);
	text_add(seen, res->note);
	++seen->n;

	return false;
}


static struct seen look(const struct aa_notify *n)
{
	struct seen seen = {1, 0};
	struct aa_notify_mwi mwi;

	text_add(&seen, aa_notify_value(n));
	text_add(&seen, aa_notify_note(n));
	REQUIRE(!aa_notify_apply(n, member_handler, &seen));
	REQUIRE(seen.n <= 1024);
	REQUIRE(!seen.n || aa_notify_is_list(n));

	if (aa_notify_mwi(n, &mwi))
		seen.hash = seen.hash * 31 + mwi.newm + mwi.oldm;

	return seen;
}


static void take(struct aa_notify *n, const char *p, size_t l)
{
	const char *nl = l ? memchr(p, '\n', l) : NULL;
	const size_t head = nl ? (size_t)(nl - p) : l;
	const struct pl ctype = {p, head};
	const struct pl body = {p + head + (nl ? 1 : 0),
				l - head - (nl ? 1 : 0)};
	struct seen before, after;
	int err;

	before = look(n);
	err = aa_notify_decode(n, &ctype, &body);
	after = look(n);

	if (err)
		REQUIRE(before.hash == after.hash && before.n == after.n);
}


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data, *end = p + size, *nl;
	struct aa_notify *n = NULL;
	char event[EVENT_SIZE];
	struct pl pl;

	nl = size ? memchr(p, '\n', size) : NULL;
	if (!nl)
		return 0;

	pl.p = p;
	pl.l = (size_t)(nl - p);
	if (pl_strcpy(&pl, event, sizeof(event)))
		return 0;

	REQUIRE(!aa_notify_alloc(&n, event));

	for (p = nl + 1; p < end; ) {
		const char *ff = memchr(p, '\f', (size_t)(end - p));
		const size_t l = (size_t)((ff ? ff : end) - p);

		take(n, p, l);
		p += l + (ff ? 1 : 0);
	}

	mem_deref(n);

	return 0;
}
