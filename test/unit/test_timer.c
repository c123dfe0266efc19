/**
 * @file test_timer.c  Timers of thousands of lines
 *
 * libre's event loop as it is, and a clock that the test moves where the
 * length of a slice is looked at.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include <re.h>
#include "compat.h"
#include "timer.h"
#include "wallclock.h"


enum {
	MANY  = 5000,
	STEPS = 200000
};


/* ---- the clock -------------------------------------------------------- */


static struct {
	bool held;              /* it stands still, and is moved by hand    */
	uint64_t us;
} vclock;


uint64_t aa_now_us(void)
{
	struct timespec ts;

	if (vclock.held)
		return vclock.us;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);

	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}


uint64_t aa_now_ms(void)
{
	return aa_now_us() / 1000;
}


static void hold_clock(void)
{
	vclock.us   = 1000000;
	vclock.held = true;
}


static int setup(void **state)
{
	(void)state;
	memset(&vclock, 0, sizeof(vclock));
	srand(1);

	return libre_init();
}


static int teardown(void **state)
{
	(void)state;
	aa_tmr_close();
	libre_close();

	return 0;
}


/* ---- order ------------------------------------------------------------ */


static struct {
	struct aa_tmr tmrv[MANY];
	uint64_t dueu[MANY];    /* 0: it does not run                       */
	unsigned orderv[MANY];
	unsigned seq;
	unsigned fired;
	unsigned running;
	uint64_t last;
	unsigned last_order;
	struct tmr end;
} m;


static void end_handler(void *arg)
{
	(void)arg;
	fail_msg("%u timers never came", m.running);
}


static void order_handler(void *arg)
{
	const unsigned i = (unsigned)((struct aa_tmr *)arg - m.tmrv);

	assert_true(m.dueu[i]);
	assert_true(m.dueu[i] <= aa_now_us() / 1000);

	/* the earlier one first, and of two the one that was started first */
	assert_true(m.dueu[i] >= m.last);
	if (m.dueu[i] == m.last)
		assert_true(m.orderv[i] > m.last_order);

	m.last       = m.dueu[i];
	m.last_order = m.orderv[i];
	m.dueu[i]    = 0;
	assert_false(aa_tmr_isrunning(&m.tmrv[i]));
	++m.fired;
	if (!--m.running)
		re_cancel();
}


static void start(unsigned i, uint64_t delay)
{
	if (!m.dueu[i])
		++m.running;

	aa_tmr_start(&m.tmrv[i], delay, order_handler, &m.tmrv[i]);
	m.dueu[i]   = aa_now_us() / 1000 + delay;
	m.orderv[i] = ++m.seq;
}


/* Started, started anew and stopped by chance, and then all come in order */
static void order(void **state)
{
	unsigned i, n;
	(void)state;

	memset(&m, 0, sizeof(m));
	hold_clock();

	for (n=0; n<STEPS; n++) {
		i = (unsigned)rand() % MANY;

		switch (rand() % 4) {

		case 0:
			aa_tmr_cancel(&m.tmrv[i]);
			m.running -= m.dueu[i] != 0;
			m.dueu[i] = 0;
			break;

		case 1:
			vclock.us += 1000 * (unsigned)(rand() % 3) / 2;
			break;

		default:
			start(i, (unsigned)rand() % 300);
			break;
		}

		assert_int_equal(aa_tmr_isrunning(&m.tmrv[i]), m.dueu[i] != 0);
	}

	/* the rest is due by and by, in true time */
	vclock.us += 250000;
	for (i=0; i<MANY; i++) {
		const uint64_t now = aa_now_us() / 1000;

		assert_int_equal(aa_tmr_expire(&m.tmrv[i]),
				 m.dueu[i] > now ? m.dueu[i] - now : 0);
	}

	assert_true(m.running > MANY / 2);
	n = m.running;
	vclock.us += 1000000;
	tmr_start(&m.end, 20000, end_handler, NULL);
	assert_int_equal(re_main(NULL), 0);
	tmr_cancel(&m.end);
	assert_int_equal(m.fired, n);
	assert_int_equal(m.running, 0);
}


static void never_handler(void *arg)
{
	(void)arg;
	fail();
}


static void stop_handler(void *arg)
{
	(void)arg;
	re_cancel();
}


static void again_handler(void *arg)
{
	unsigned *n = arg;
	static struct aa_tmr tmr;

	if (++*n == 3)
		re_cancel();
	else
		aa_tmr_start(&tmr, 0, again_handler, arg);
}


/* What is stopped does not come; a handler may start timers */
static void stopped(void **state)
{
	static struct aa_tmr a, b, c;
	unsigned n = 0;
	(void)state;

	aa_tmr_start(&a, 5, never_handler, NULL);
	aa_tmr_start(&b, 1, never_handler, NULL);
	aa_tmr_start(&c, 20, stop_handler, NULL);
	aa_tmr_cancel(&a);
	aa_tmr_cancel(&a);
	aa_tmr_cancel(&b);
	assert_false(aa_tmr_isrunning(&a));
	assert_int_equal(aa_tmr_expire(&a), 0);
	assert_true(aa_tmr_expire(&c) <= 20);
	assert_int_equal(re_main(NULL), 0);

	aa_tmr_start(&a, 0, again_handler, &n);
	assert_int_equal(re_main(NULL), 0);
	assert_int_equal(n, 3);

	/* the module goes, and nothing is called any more */
	aa_tmr_start(&a, 0, never_handler, NULL);
	aa_tmr_start(&b, 1, never_handler, NULL);
	aa_tmr_close();
	assert_false(aa_tmr_isrunning(&a));
	assert_false(aa_tmr_isrunning(&b));
	tmr_start(&m.end, 20, stop_handler, NULL);
	assert_int_equal(re_main(NULL), 0);
}


/* ---- the wall clock --------------------------------------------------- */


/* Somebody sets it: nothing is late by that, and nothing too early */
static void clock_is_set(void **state)
{
	static const int offsetv[] = {-3600, 3600, -86400};
	static struct aa_tmr a;
	size_t i;
	(void)state;

	for (i=0; i<ARRAY_SIZE(offsetv); i++) {
		const uint64_t begin = aa_now_ms();

		aa_tmr_start(&a, 30, stop_handler, NULL);
		loop_clock_set(offsetv[i], 10);
		assert_true(aa_now_ms() - begin >= 30);

		/* what is due at once */
		aa_tmr_start(&a, 0, stop_handler, NULL);
		loop_clock_set(offsetv[i], 10);
	}
}


/* ---- slices ----------------------------------------------------------- */


enum {
	WORK_US  = 1500,        /* of each of them                          */
	STALL_US = 20000
};

static struct {
	struct aa_tmr tmrv[100];
	unsigned done;
	uint64_t since;         /* work since libre looked at its sockets   */
	uint64_t worst;
} s;


static void work_handler(void *arg)
{
	(void)arg;
	vclock.us += WORK_US;
	s.since   += WORK_US;
	if (s.since > s.worst)
		s.worst = s.since;
	if (++s.done == ARRAY_SIZE(s.tmrv))
		re_cancel();
}


/* Something can always be read there */
static void read_handler(int flags, void *arg)
{
	(void)flags;
	(void)arg;
	s.since = 0;
}


/* A hundred lines that have something to do at once let sockets be served */
static void slices(void **state)
{
	struct aa_fd afd;
	int fdv[2];
	size_t i;
	(void)state;

	memset(&s, 0, sizeof(s));
	assert_int_equal(pipe(fdv), 0);
	assert_int_equal(write(fdv[1], "x", 1), 1);
	hold_clock();
	assert_int_equal(aa_compat_fd_read(&afd, fdv[0], read_handler, NULL),
			 0);

	for (i=0; i<ARRAY_SIZE(s.tmrv); i++)
		aa_tmr_start(&s.tmrv[i], 0, work_handler, NULL);

	tmr_start(&m.end, 20000, end_handler, NULL);
	assert_int_equal(re_main(NULL), 0);
	tmr_cancel(&m.end);

	aa_compat_fd_close(&afd);
	(void)close(fdv[1]);

	assert_int_equal(s.done, ARRAY_SIZE(s.tmrv));
	assert_true(s.worst < STALL_US);
}


/* ---- what it costs ---------------------------------------------------- */


static uint64_t cpu_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);

	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}


/* With that many running, processor time of so many starts of one more */
static uint64_t cost(unsigned running)
{
	static struct aa_tmr tmrv[20000], one;
	const unsigned n = 50000;
	uint64_t begin;
	unsigned i;

	for (i=0; i<running; i++)
		aa_tmr_start(&tmrv[i], 3600000 + i, never_handler, NULL);

	begin = cpu_us();
	for (i=0; i<n; i++) {
		aa_tmr_start(&one, 3599999, never_handler, NULL);
		aa_tmr_start(&one, 32000, never_handler, NULL);
		aa_tmr_start(&one, 0, never_handler, NULL);
		aa_tmr_cancel(&one);
	}
	begin = cpu_us() - begin;

	aa_tmr_close();

	return begin;
}


/* Two hundred times as many timers do not cost ten times as much; in libre's
   list it is about two hundred times */
static void growth(void **state)
{
	uint64_t few, many;
	(void)state;

	(void)cost(20000);      /* the memory is there */
	few  = cost(100);
	many = cost(20000);

	assert_true(many < 10 * few + 1000);
}


int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(order, setup, teardown),
		cmocka_unit_test_setup_teardown(stopped, setup, teardown),
		cmocka_unit_test_setup_teardown(clock_is_set, setup, teardown),
		cmocka_unit_test_setup_teardown(slices, setup, teardown),
		cmocka_unit_test_setup_teardown(growth, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
