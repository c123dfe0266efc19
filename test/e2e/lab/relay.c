/**
 * @file relay.c  A slow link in user space
 *
 * Frames that come in at one network interface (a TAP, as an open
 * descriptor) leave by the other one a fixed time later, and the other way
 * round.  For kernels without netem.
 *
 * usage: relay FD_A FD_B DELAY_US [FD_CONTROL]
 *
 * Each line of control names the frames that take longer from now on, till
 * the next one: "DELAY_US IPV4 TLS", where all those from and to an address
 * are meant, or with TLS 1 those of them that carry a TLS handshake.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <arpa/inet.h>
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

/* Frames that take longer: they overtake nobody, and nobody waits for them */
struct slow {
	uint64_t delay;         /* 0: there are none                        */
	uint8_t addr[4];
	int tls;                /* only a TLS handshake                     */
};


static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);

	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}


static int is_slow(const struct slow *slow, const uint8_t *p, size_t len)
{
	size_t ip, tcp;

	if (!slow->delay || len < 14 + 20 || p[12] != 0x08 || p[13] != 0x00)
		return 0;

	if (memcmp(&p[14 + 12], slow->addr, 4) &&
	    memcmp(&p[14 + 16], slow->addr, 4))
		return 0;

	if (!slow->tls)
		return 1;

	ip = (size_t)(p[14] & 0x0f) * 4;
	if (p[14 + 9] != 6 || len < 14 + ip + 20)
		return 0;

	/* the first byte of a record: 22 is a handshake (RFC 8446 5.1) */
	tcp = (size_t)(p[14 + ip + 12] >> 4) * 4;

	return len > 14 + ip + tcp && p[14 + ip + tcp] == 22;
}


/*
 * One frame is taken in, into the queue of the slow ones if it is one;
 * without room it is lost, as by any switch
 */
static int take(struct queue q[2], int fd, uint64_t delay,
		const struct slow *slow)
{
	static uint8_t buf[FRAME_SIZE];
	struct frame *f;
	ssize_t n;
	int late;

	n = read(fd, buf, FRAME_SIZE);
	if (n <= 0)
		return n < 0 && (errno == EINTR || errno == EAGAIN) ? 0 : -1;

	late = is_slow(slow, buf, (size_t)n);
	q = &q[late];
	if (q->n == FRAMES)
		return 0;

	f = &q->v[(q->head + q->n) % FRAMES];
	memcpy(f->buf, buf, (size_t)n);
	f->len = (size_t)n;
	f->due = now_ns() + (late ? slow->delay : delay);
	++q->n;

	return 0;
}


/* A line of control, whole as it was written */
static int told(struct slow *slow, int fd)
{
	char line[128], addr[64];
	unsigned long long us;
	ssize_t n;
	int tls;

	n = read(fd, line, sizeof(line) - 1);
	if (n <= 0)
		return -1;

	line[n] = '\0';
	if (3 != sscanf(line, "%llu %63s %d", &us, addr, &tls) ||
	    1 != inet_pton(AF_INET, addr, slow->addr))
		return -1;

	slow->delay = us * 1000;
	slow->tls   = tls;

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

	for (i=0; i<4; i++) {
		if (q[i].n && q[i].v[q[i].head].due < due)
			due = q[i].v[q[i].head].due;
	}

	due = due > now ? due - now : 0;
	ts->tv_sec  = (time_t)(due / 1000000000u);
	ts->tv_nsec = (long)(due % 1000000000u);
}


int main(int argc, char **argv)
{
	struct slow slow = {0, {0}, 0};
	struct queue q[4];      /* of each side, in time and slow           */
	struct pollfd pfd[3];
	uint64_t delay;
	nfds_t npfd = 2;
	int i;

	if (argc != 4 && argc != 5) {
		(void)fprintf(stderr,
			      "usage: relay FD_A FD_B DELAY_US [FD_CONTROL]\n");
		return 2;
	}

	delay = strtoull(argv[3], NULL, 10) * 1000;

	memset(pfd, 0, sizeof(pfd));
	for (i=0; i<2; i++) {
		pfd[i].fd     = atoi(argv[1 + i]);
		pfd[i].events = POLLIN;
	}
	if (argc == 5) {
		pfd[2].fd     = atoi(argv[4]);
		pfd[2].events = POLLIN;
		npfd = 3;
	}

	memset(q, 0, sizeof(q));
	for (i=0; i<4; i++) {
		q[i].v = calloc(FRAMES, sizeof(struct frame));
		if (!q[i].v)
			exit(1);
	}

	for (;;) {
		struct timespec ts;

		wait_until(&ts, q);
		if (ppoll(pfd, npfd, &ts, NULL) < 0 && errno != EINTR)
			return 1;

		for (i=0; i<2; i++) {
			if ((pfd[i].revents & POLLIN) &&
			    take(&q[2 * i], pfd[i].fd, delay, &slow))
				return 0;
			if (pfd[i].revents & (POLLERR | POLLHUP | POLLNVAL))
				return 0;
			let_go(&q[2 * i], pfd[1 - i].fd);
			let_go(&q[2 * i + 1], pfd[1 - i].fd);
		}

		if (npfd == 3 && pfd[2].revents && told(&slow, pfd[2].fd))
			return 0;
	}
}
