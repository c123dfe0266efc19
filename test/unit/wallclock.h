/**
 * @file wallclock.h  A wall clock that somebody sets
 *
 * libre 1.x and 2.0 count their timers by gettimeofday(): when the clock is
 * put back, they are late by as much, those of the test too.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/time.h>
#include <sys/timerfd.h>


static int wall_offset;         /* [s] */


/* What is defined here comes before the C library's */
#undef gettimeofday
int gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
	struct timespec ts;
	(void)tz;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec  = ts.tv_sec + wall_offset;
	tv->tv_usec = ts.tv_nsec / 1000;

	return 0;
}


/** Ends the event loop by a clock that nobody sets */
struct bound {
	struct aa_fd afd;
	bool late;              /* it had to                                */
};


static void bound_handler(int flags, void *arg)
{
	struct bound *b = arg;
	(void)flags;

	b->late = true;
	re_cancel();
}


static void bound_start(struct bound *b, unsigned seconds)
{
	const struct itimerspec ts = {.it_value = {.tv_sec = seconds}};
	const int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	b->late = false;
	assert_true(fd >= 0);
	assert_int_equal(timerfd_settime(fd, 0, &ts, NULL), 0);
	assert_int_equal(aa_compat_fd_read(&b->afd, fd, bound_handler, b), 0);
}


static void bound_end(struct bound *b)
{
	aa_compat_fd_close(&b->afd);
}


/* The event loop as it is, with the clock set by so many seconds */
static void loop_clock_set(int offset, unsigned seconds)
{
	struct bound b;

	bound_start(&b, seconds);
	wall_offset = offset;
	assert_int_equal(re_main(NULL), 0);
	wall_offset = 0;
	bound_end(&b);

	assert_false(b.late);
}
