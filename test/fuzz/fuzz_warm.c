/**
 * @file fuzz_warm.c  Any bytes as the files of what a line remembers
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * Whatever is in it, the line begins with ranks that there are, and waits for
 * nothing longer than a day, for a farewell not longer than an hour.
 */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

static FILE *memory_open(const char *path, const char *mode);

#define fopen(path, mode) memory_open(path, mode)
#include "../../modules/aastra/warm.c"
#define TEXT_MAX STRAY_TEXT_MAX
#define header   stray_header
#include "../../modules/aastra/stray.c"
#include "fuzz.h"
#undef fopen


static const uint64_t wall = 1795364719724ULL, now = 60000;
static struct aa_penalty penalty;
static const uint8_t *file;
static size_t file_size;


static FILE *memory_open(const char *path, const char *mode)
{
	(void)path;

	/* fmemopen() of nothing fails */
	return mode[0] == 'r' && file_size ?
		fmemopen((void *)(uintptr_t)file, file_size, "r") : NULL;
}


uint64_t aa_wall_ms(void)
{
	return wall;
}


uint64_t aa_now_ms(void)
{
	return now;
}


struct account *aa_account_prim(const struct aa_account *acc)
{
	(void)acc;

	return NULL;
}


const char *account_aor(const struct account *acc)
{
	(void)acc;

	return "sip:100@pbx.example.com";
}


const struct aa_penalty *aa_line_penalty(const struct aa_line *line,
					 enum aa_rank rank)
{
	(void)line;
	REQUIRE(rank == AA_RANK_PRIMARY);

	return &penalty;
}


uint64_t aa_line_hold_down(const struct aa_line *line)
{
	(void)line;

	return 0;
}


uint64_t aa_line_punished(const struct aa_line *line, enum aa_rank rank)
{
	(void)line;
	(void)rank;

	return 0;
}


unsigned aa_binding_regid(const struct aa_binding *b)
{
	(void)b;

	return 1;
}


/* The same bytes, behind what the other file begins with */
static void strays(const uint8_t *data, size_t size)
{
	const size_t head = sizeof(stray_header) - 1;
	struct list strayl = LIST_INIT;
	struct le *le;
	uint8_t *text;

	text = malloc(head + 1 + size);
	REQUIRE(text);
	memcpy(text, stray_header, head);
	text[head] = '\n';
	if (size)
		memcpy(text + head + 1, data, size);

	file = text;
	file_size = head + 1 + size;
	aa_stray_load(&strayl, "aastra_farewells");

	REQUIRE(list_count(&strayl) <= STRAYS_MAX);
	for (le = list_head(&strayl); le; le = le->next) {
		const struct aa_stray *s = le->data;
		int role;

		REQUIRE(s->regid && s->regid <= AA_REGID_MAX);
		REQUIRE(s->until > now && s->until <= now + LEFT_MAX);
		for (role=0; role<AA_ROLE_COUNT; role++) {
			REQUIRE(s->use[role] >= AA_RANK_NONE);
			REQUIRE(s->use[role] < AA_RANK_COUNT);
		}
	}

	list_flush(&strayl);
	free(text);
}


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct aa_line line;
	int role;

	memset(&line, 0, sizeof(line));
	memset(&penalty, 0, sizeof(penalty));
	for (role=0; role<AA_ROLE_COUNT; role++)
		line.use[role] = AA_RANK_PRIMARY;

	file = data;
	file_size = size;
	aa_warm_load(&line, "aastra_state");

	for (role=0; role<AA_ROLE_COUNT; role++) {
		REQUIRE(line.use[role] >= AA_RANK_NONE);
		REQUIRE(line.use[role] < AA_RANK_COUNT);
		REQUIRE(line.hold_ms[role] <= 3600 * 1000);
	}

	REQUIRE(line.warm_regid <= AA_REGID_MAX);
	REQUIRE(penalty.failures <= 16);
	REQUIRE(penalty.until <= now + AGE_MAX_MS);
	strays(data, size);

	return 0;
}
