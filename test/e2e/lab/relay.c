/**
 * @file relay.c  A slow link in user space
 *
 * Frames that come in at one network interface (a TAP, as an open
 * descriptor) leave by the other one a fixed time later, and the other way
 * round.  For kernels without netem.
 *
 * usage: relay FD_A FD_B DELAY_US
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>


enum {
	FRAME_SIZE = 9216,      /* of the lab's networks, with room         */
	FRAMES     = 4096       /* under way in one direction               */
};

struct frame {
	uint64_t due;           /* when it leaves [ns]                      */
	size_t len;
	uint8_t buf[FRAME_SIZE];
};

struct queue {
	struct frame *v;
	size_t head;
	size_t n;
};


static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);

	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}


/* One frame is taken in; without room it is lost, as by any switch */
static int take(struct queue *q, int fd, uint64_t delay)
{
	static uint8_t lost[FRAME_SIZE];
	struct frame *f = NULL;
	ssize_t n;

	if (q->n < FRAMES)
		f = &q->v[(q->head + q->n) % FRAMES];

	n = read(fd, f ? f->buf : lost, FRAME_SIZE);
	if (n <= 0)
		return n < 0 && (errno == EINTR || errno == EAGAIN) ? 0 : -1;

	if (f) {
		f->len = (size_t)n;
		f->due = now_ns() + delay;
		++q->n;
	}

	return 0;
}


static void let_go(struct queue *q, int fd)
{
	while (q->n && q->v[q->head].due <= now_ns()) {
		const struct frame *f = &q->v[q->head];

		/* an interface that is down takes nothing: lost */
		if (write(fd, f->buf, f->len) < 0 && errno == EINTR)
			continue;

		q->head = (q->head + 1) % FRAMES;
		--q->n;
	}
}


static void wait_until(struct timespec *ts, const struct queue *q)
{
	const uint64_t now = now_ns();
	uint64_t due = now + 1000000000u;
	int i;

	for (i=0; i<2; i++) {
		if (q[i].n && q[i].v[q[i].head].due < due)
			due = q[i].v[q[i].head].due;
	}

	due = due > now ? due - now : 0;
	ts->tv_sec  = (time_t)(due / 1000000000u);
	ts->tv_nsec = (long)(due % 1000000000u);
}


int main(int argc, char **argv)
{
	struct queue q[2];
	struct pollfd pfd[2];
	uint64_t delay;
	int i;

	if (argc != 4) {
		(void)fprintf(stderr, "usage: relay FD_A FD_B DELAY_US\n");
		return 2;
	}

	delay = strtoull(argv[3], NULL, 10) * 1000;

	memset(q, 0, sizeof(q));
	for (i=0; i<2; i++) {
		pfd[i].fd     = atoi(argv[1 + i]);
		pfd[i].events = POLLIN;
		q[i].v = calloc(FRAMES, sizeof(struct frame));
		if (!q[i].v)
			return 1;
	}

	for (;;) {
		struct timespec ts;

		wait_until(&ts, q);
		if (ppoll(pfd, 2, &ts, NULL) < 0 && errno != EINTR)
			return 1;

		for (i=0; i<2; i++) {
			if ((pfd[i].revents & POLLIN) &&
			    take(&q[i], pfd[i].fd, delay))
				return 0;
			if (pfd[i].revents & (POLLERR | POLLHUP | POLLNVAL))
				return 0;
			let_go(&q[i], pfd[1 - i].fd);
		}
	}
}
