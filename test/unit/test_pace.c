/**
 * @file test_pace.c  Tests of the turns of many lines that register
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * Lines that move and lines that refresh, in a clock that moves when nothing
 * is left to be done.  Each line is also what a registrar makes of it: it
 * grants so much time, and a binding that is late has run out.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>
#include <re.h>
#include "compat.h"
#include "pace.h"


enum {
	LINES = 2000,
	SENT  = 20000,
	NEVER = 1 << 30
};

struct line {
	struct aa_turn turn;
	enum aa_pace_row row;
	uint64_t at;            /* when it has something to send [ms]       */
	uint64_t until;         /* when its binding runs out                */
	uint64_t grant;
	uint64_t wait;          /* from one refresh to the next             */
	unsigned sent;
	unsigned lapses;
	bool gone;
};

static struct {
	struct aa_pace pace;
	struct line linev[LINES];
	unsigned n;
	uint64_t now;           /* [ms]                                     */
	uint64_t tmr_at;
	uint64_t late;          /* of the timer                             */
	uint32_t chance;
	uint64_t sentv[SENT];
	unsigned sent;
	unsigned moves;         /* made                                     */
	uint64_t moved_at;      /* the latest one                           */
} t;


/* ---- stand-ins ---------------------------------------------------------- */


uint64_t aa_now_us(void)
{
	return t.now * 1000;
}


uint16_t rand_u16(void)
{
	t.chance = t.chance * 1664525u + 1013904223u;

	return (uint16_t)(t.chance >> 16);
}


void aa_tmr_start(struct aa_tmr *tmr, uint64_t delay, tmr_h *h, void *arg)
{
	tmr->h   = h;
	tmr->arg = arg;
	t.tmr_at = t.now + delay + t.late;
}


void aa_tmr_cancel(struct aa_tmr *tmr)
{
	tmr->h = NULL;
}


/* ---- lines -------------------------------------------------------------- */


static void turn_handler(void *arg);


static void sent(struct line *line)
{
	assert_in_range(t.sent, 0, SENT - 1);
	t.sentv[t.sent++] = t.now;
	++line->sent;

	if (line->row == AA_PACE_MOVE) {
		++t.moves;
		t.moved_at = t.now;
		line->at = NEVER;
		return;
	}

	line->lapses += t.now > line->until;
	line->until = t.now + line->grant;
	line->at    = t.now + line->wait;
}


static void ask(struct line *line)
{
	const uint64_t left = line->until > t.now ? line->until - t.now : 0;

	line->at = NEVER;
	if (aa_pace_ask(&t.pace, &line->turn, line->row, left, turn_handler,
			line))
		sent(line);
}


static void turn_handler(void *arg)
{
	struct line *line = arg;

	if (!line->gone)
		ask(line);
}


static void run(uint64_t until)
{
	for (;;) {
		uint64_t next = until;
		unsigned i;

		for (i=0; i<t.n; i++)
			next = MIN(next, t.linev[i].at);
		if (t.pace.tmr.h)
			next = MIN(next, t.tmr_at);

		t.now = MAX(t.now, next);
		if (t.now >= until)
			return;

		if (t.pace.tmr.h && t.tmr_at <= t.now) {
			tmr_h *h = t.pace.tmr.h;

			t.pace.tmr.h = NULL;
			h(t.pace.tmr.arg);
		}

		for (i=0; i<t.n; i++) {
			if (t.linev[i].at <= t.now)
				ask(&t.linev[i]);
		}
	}
}


static struct line *add(enum aa_pace_row row, uint64_t at)
{
	struct line *line = &t.linev[t.n];

	assert_in_range(t.n, 0, LINES - 1);
	++t.n;
	line->row = row;
	line->at  = at;

	return line;
}


static void movers(unsigned n, uint64_t at)
{
	while (n--)
		(void)add(AA_PACE_MOVE, at);
}


/* Registered one after the other in the time before they are to be refreshed,
   so that this is as even */
static void refreshers(unsigned n, uint64_t grant, uint64_t wait)
{
	unsigned i;

	for (i=0; i<n; i++) {
		struct line *line = add(AA_PACE_REFRESH,
					t.now + wait * i / n);

		line->grant = grant;
		line->wait  = wait;
		line->until = line->at + grant - wait;
	}
}


static unsigned lapses(void)
{
	unsigned i, n = 0;

	for (i=0; i<t.n; i++)
		n += t.linev[i].lapses;

	return n;
}


/* However long one looks: no more than the rate, and those that go at once */
static void check_rate(unsigned rate)
{
	unsigned i, j;

	for (i=0; i<t.sent; i++) {
		for (j=i; j<t.sent; j++) {
			const uint64_t span = t.sentv[j] - t.sentv[i] + 1;

			assert_in_range(j - i + 1, 1, AA_PACE_BURST + 1 +
					span * rate / 1000);
		}
	}
}


static int setup(void **state)
{
	(void)state;

	memset(&t, 0, sizeof(t));
	t.now    = 100000;
	t.chance = 1;

	return 0;
}


/* ---- tests -------------------------------------------------------------- */


static void test_few(void **state)
{
	const uint64_t began = t.now;
	(void)state;

	movers(AA_PACE_BURST, t.now);
	run(t.now + 1);
	assert_int_equal(AA_PACE_BURST, t.moves);
	assert_int_equal(began, t.moved_at);
	assert_null(t.pace.tmr.h);
}


static uint64_t thousand_move(void)
{
	const uint64_t began = t.now;

	movers(1000, t.now);
	run(t.now + 40000);
	assert_int_equal(1000, t.moves);
	check_rate(50);

	return t.moved_at - began;
}


static void test_many(void **state)
{
	(void)state;

	/* 989 of them at 50 a second, and what chance takes of the last one */
	assert_in_range(thousand_move(), 19780, 19800);
}


/* An hour is granted to 900 more lines: no move waits for their refreshes */
static void test_moves_first(void **state)
{
	(void)state;

	refreshers(900, 3600000, 3585000);
	assert_in_range(thousand_move(), 19780, 20100);
	assert_int_equal(0, lapses());
}


/* A host with 900 lines has slept, and their server is gone when it wakes up:
   those that move have half of the rate */
static void test_slept(void **state)
{
	unsigned i;
	(void)state;

	refreshers(900, 3600000, 3585000);
	for (i=0; i<t.n; i++) {
		t.linev[i].at    = t.now;
		t.linev[i].until = t.now - 1;
	}
	movers(100, t.now + 1000);
	run(t.now + 30000);
	assert_int_equal(100, t.moves);
	assert_in_range(t.moved_at, 104800, 105100);
	check_rate(50);
	for (i=0; i<t.n; i++)
		assert_int_equal(1, t.linev[i].sent);
}


/* 20 a second: that is kept while 500 lines move */
static void test_moves_do_not_starve(void **state)
{
	(void)state;

	refreshers(100, 10000, 5000);
	run(t.now + 20000);
	movers(500, t.now);
	run(t.now + 30000);
	assert_int_equal(500, t.moves);
	assert_int_equal(0, lapses());
	check_rate(50);
}


static void test_short_grants(void **state)
{
	static const struct {
		unsigned lines;
		uint64_t grant;
		uint64_t wait;
	} v[] = {
		{1, 2000, 1000}, {40, 2000, 1000}, {70, 3000, 1500},
		{240, 10000, 5000}, {2000, 60000, 45000}
	};
	size_t i;
	(void)state;

	for (i=0; i<ARRAY_SIZE(v); i++) {
		(void)setup(state);
		refreshers(v[i].lines, v[i].grant, v[i].wait);
		run(t.now + 30000);
		assert_int_equal(0, lapses());
		check_rate(50);
	}
}


/* A server that grants a second to a hundred lines gets no more than the rate
   allows, each line its share of it; and a line that leaves it finds a turn */
static void test_hostile(void **state)
{
	static const uint32_t ratev[] = {1, 4, 50, 300, 1000};
	size_t k;
	unsigned i;
	(void)state;

	for (k=0; k<ARRAY_SIZE(ratev); k++) {
		const uint32_t rate = ratev[k];
		const uint64_t began = 110000;

		(void)setup(state);
		t.pace.rate = rate;
		refreshers(100, 1000, 900);
		run(began);
		movers(5, began);
		run(began + 10000);
		check_rate(rate);
		assert_int_equal(5, t.moves);
		assert_in_range(t.moved_at - began, 0,
				(2 * 5 + 1) * 1000 / rate + 2);
		for (i=0; i<100; i++)
			assert_in_range(t.linev[i].sent,
					MIN(rate * 20 / 110, 20),
					rate * 20 / 90 + 3);
	}
}


/* Those behind a line with little time left are not kept waiting by it */
static void test_order(void **state)
{
	struct line *shorter;
	(void)state;

	refreshers(300, 3600000, 3585000);
	movers(1000, t.now);
	run(t.now + 100);
	for (shorter = t.linev; shorter < t.linev + 300; shorter++)
		shorter->at = t.now;
	shorter = add(AA_PACE_REFRESH, t.now + 100);
	shorter->grant = 2000;
	shorter->wait  = 1000;
	shorter->until = t.now + 1100;
	run(t.now + 10000);
	assert_int_equal(0, lapses());
	assert_in_range(shorter->sent, 6, 10);
}


/* What the processor takes is not lost */
static void test_late_timer(void **state)
{
	(void)state;

	t.late = 90;
	assert_in_range(thousand_move(), 19780, 19900);
}


static void test_pass(void **state)
{
	struct line *line;
	unsigned i;
	(void)state;

	movers(100, t.now);
	run(t.now + 200);

	/* the last one has a call */
	line = &t.linev[99];
	assert_true(aa_turn_waits(&line->turn));
	aa_pace_pass(&t.pace, &line->turn);
	line->gone = true;
	assert_false(aa_turn_waits(&line->turn));

	/* and some are not to be registered any more */
	for (i=50; i<99; i++) {
		aa_turn_end(&t.linev[i].turn);
		t.linev[i].gone = true;
	}
	run(t.now + 3000);
	assert_int_equal(50, t.moves);
	check_rate(50);
	assert_null(t.pace.tmr.h);
	for (i=0; i<100; i++)
		assert_false(aa_turn_waits(&t.linev[i].turn));
}


/* Lines with calls take what nobody else needs, and otherwise more than there
   is: but not from those that wait */
static void test_calls(void **state)
{
	struct aa_turn turn;
	unsigned i;
	(void)state;

	memset(&turn, 0, sizeof(turn));
	for (i=0; i<AA_PACE_BURST; i++)
		aa_pace_pass(&t.pace, &turn);
	movers(3, t.now);
	run(t.now + 1);
	assert_int_equal(1, t.moves);

	(void)setup(state);
	t.pace.rate = 1;
	movers(20, t.now);
	for (i=0; i<100; i++) {
		aa_pace_pass(&t.pace, &turn);
		run(t.now + 100);
	}
	assert_in_range(t.moves, 19, 20);
}


/* Nobody waits: no timer, which would outlive its owner */
static void test_all_gone(void **state)
{
	unsigned i;
	(void)state;

	movers(40, t.now);
	run(t.now + 1);
	assert_non_null(t.pace.tmr.h);
	for (i=0; i<t.n; i++)
		aa_turn_end(&t.linev[i].turn);
	assert_null(t.pace.tmr.h);
}


static void nobody_handler(void *arg)
{
	++*(unsigned *)arg;
}


/* Who is called and does not come has no right to go whenever it likes */
static void test_called_in_vain(void **state)
{
	struct aa_turn turn;
	unsigned calls = 0;
	(void)state;

	memset(&turn, 0, sizeof(turn));
	movers(20, t.now);
	run(t.now + 1);
	assert_false(aa_pace_ask(&t.pace, &turn, AA_PACE_MOVE, 0,
				 nobody_handler, &calls));
	run(t.now + 1000);
	assert_int_equal(1, calls);
	assert_true(aa_turn_waits(&turn));

	movers(200, t.now + 3000);
	run(t.now + 3001);
	assert_false(aa_pace_ask(&t.pace, &turn, AA_PACE_MOVE, 0,
				 nobody_handler, &calls));
	aa_turn_end(&turn);
}


static void test_invalid(void **state)
{
	struct aa_turn turn;
	(void)state;

	memset(&turn, 0, sizeof(turn));
	assert_false(aa_pace_ask(NULL, &turn, AA_PACE_MOVE, 0, nobody_handler,
				 NULL));
	assert_false(aa_pace_ask(&t.pace, NULL, AA_PACE_MOVE, 0,
				 nobody_handler, NULL));
	assert_false(aa_pace_ask(&t.pace, &turn, AA_PACE_ROWS, 0,
				 nobody_handler, NULL));
	assert_false(aa_pace_ask(&t.pace, &turn, AA_PACE_MOVE, 0, NULL,
				 NULL));
	aa_pace_pass(NULL, &turn);
	aa_turn_end(NULL);
	assert_false(aa_turn_waits(NULL));
}


#define TEST(f) cmocka_unit_test_setup(f, setup)


int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_few),
		TEST(test_many),
		TEST(test_moves_first),
		TEST(test_slept),
		TEST(test_moves_do_not_starve),
		TEST(test_short_grants),
		TEST(test_hostile),
		TEST(test_order),
		TEST(test_late_timer),
		TEST(test_pass),
		TEST(test_calls),
		TEST(test_all_gone),
		TEST(test_called_in_vain),
		TEST(test_invalid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
