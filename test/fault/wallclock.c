/**
 * @file wallclock.c  A wall clock that the test sets, and a host that sleeps
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * Preloaded into baresip, it adds so many seconds to the time of day as the
 * file says that AASTRA_WALLCLOCK names: a binary int, which the test changes
 * while baresip runs.  The monotonic clock is nobody's to set.  Another int
 * behind it says how long the host has slept: CLOCK_BOOTTIME has gone on then,
 * as the time of day has, and no other clock.
 *
 *   cc -shared -fPIC -O2 -o wallclock.so wallclock.c
 */
#define _GNU_SOURCE 1
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>


static const volatile int *offset;


static __attribute__((constructor)) void begin(void)
{
	const char *path = getenv("AASTRA_WALLCLOCK");
	const int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *p;

	if (fd < 0)
		return;

	p = mmap(NULL, 2 * sizeof(*offset), PROT_READ, MAP_SHARED, fd, 0);
	(void)close(fd);
	if (p != MAP_FAILED)
		offset = p;
}


int clock_gettime(clockid_t clock_id, struct timespec *tp)
{
	if (syscall(SYS_clock_gettime, clock_id, tp))
		return -1;

	if (offset && clock_id == CLOCK_REALTIME)
		tp->tv_sec += offset[0] + offset[1];
	else if (offset && clock_id == CLOCK_BOOTTIME)
		tp->tv_sec += offset[1];

	return 0;
}


#undef gettimeofday
int gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
	struct timespec ts;
	(void)tz;

	if (clock_gettime(CLOCK_REALTIME, &ts))
		return -1;

	tv->tv_sec  = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;

	return 0;
}


time_t time(time_t *timer)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_REALTIME, &ts))
		return -1;

	if (timer)
		*timer = ts.tv_sec;

	return ts.tv_sec;
}
