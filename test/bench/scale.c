/**
 * @file scale.c  N phones that lose the same primary in the same second
 *
 * A simulation with events, in no real time.  What a phone does is the
 * module's own code: this file holds flow.c and pace.c, and asks backoff(),
 * interval and aa_pace_ask(), with a clock, timers and a source of chance of
 * its own.  The server is a queue: each message takes a fixed time,
 * which a run against a real Kamailio says, and a phone that waited longer
 * than its transaction timer gives up, though the server still has the work.
 *
 * usage: scale PHONES LINES FAULT SPREAD CAPACITY BASE MAX TRANSACTION
 *              BACK_S END_S SEED
 *
 * PHONES x LINES registrations; FAULT kill or silence; SPREAD 1, or 0: no
 * chance in anything; CAPACITY messages per second of one server; BASE and
 * MAX the recovery timers [s], TRANSACTION [ms]; the primary is back after
 * BACK_S.  Prints the messages that came to the backup and to the primary in
 * each tenth of a second, and what became of the phones, as JSON.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "flow.c"
#include "pace.c"


enum {
	BIN_MS     = 100,
	NETWORK_MS = 10,        /* the kernel's word comes within this      */
	RTT_MS     = 20,
	INTERVAL   = 25         /* keep-alive, the default [s]              */
};

enum kind {
	LOST,                   /* the phone knows that its primary is dead */
	REGISTER,               /* a line begins to register at the backup  */
	ANSWER,                 /* answer of the server, or none in time    */
	TURN,                   /* the next line of the phone may register  */
	PROBE                   /* the primary is tried again               */
};

struct event {
	double t;
	enum kind kind;
	uint32_t line;
	int server;             /* 0 primary, 1 backup                      */
	int step;               /* of the exchange                          */
	bool timeout;
	bool probe;
};

/** A line's state; the flows are the phone's */
struct sim_line {
	struct aa_turn turn;
	int server;             /* that it waits for                        */
	uint8_t at;             /* 0 nowhere, 1 backup, 2 primary           */
	double back_at;
	double home_at;
};

struct sim_phone {
	struct aa_pace pace;
	uint32_t failures[2];
};

struct server {
	double free;            /* when its queue will be empty             */
	uint32_t *binv;
	uint64_t messages;
	double queue_max;
};

static struct {
	double now;
	uint64_t rnd;
	bool spread;
	double service;         /* [ms] a message                           */
	double transaction;
	double back;            /* when the primary is back                 */
	uint32_t base, max;
	uint32_t nlines;        /* of a phone                               */
	struct event *heap;
	size_t n, size;
	struct server srv[2];
	size_t bins;
	struct sim_line *linev;
	struct sim_phone *phonev;
	uint64_t timeouts;
} s;


/* ---- what the module's code asks -------------------------------------- */


uint64_t aa_now_ms(void)
{
	/* so large that "a little earlier" is a time as well */
	return 1000000 + (uint64_t)s.now;
}


uint64_t aa_now_us(void)
{
	return (uint64_t)(1000 * (1000000 + s.now));
}


uint16_t rand_u16(void)
{
	if (!s.spread)
		return 500;     /* backoff(): all of the wait               */

	s.rnd ^= s.rnd << 13;
	s.rnd ^= s.rnd >> 7;
	s.rnd ^= s.rnd << 17;

	return (uint16_t)(s.rnd >> 24);
}


static double chance(void)
{
	return s.spread ? rand_u16() / 65536.0 : 0.5;
}


/* ---- events ----------------------------------------------------------- */


static void push(double t, enum kind kind, uint32_t line, int server, int step,
		 bool timeout, bool probe)
{
	size_t i;

	if (s.n == s.size) {
		s.size = s.size ? 2 * s.size : 1024;
		s.heap = realloc(s.heap, s.size * sizeof(*s.heap));
		if (!s.heap)
			exit(1);
	}

	for (i = s.n++; i && s.heap[(i - 1) / 2].t > t; i = (i - 1) / 2)
		s.heap[i] = s.heap[(i - 1) / 2];

	s.heap[i] = (struct event){t, kind, line, server, step, timeout,
				   probe};
}


static struct event pop(void)
{
	const struct event top = s.heap[0], last = s.heap[--s.n];
	size_t i = 0, c;

	for (;;) {
		c = 2 * i + 1;
		if (c >= s.n)
			break;
		if (c + 1 < s.n && s.heap[c + 1].t < s.heap[c].t)
			++c;
		if (s.heap[c].t >= last.t)
			break;
		s.heap[i] = s.heap[c];
		i = c;
	}
	s.heap[i] = last;

	return top;
}


static struct sim_phone *phone_of(uint32_t line)
{
	return &s.phonev[line / MAX(s.nlines, 1)];
}


/* A phone has one timer, that of its pace */
void aa_tmr_start(struct aa_tmr *tmr, uint64_t delay, tmr_h *h, void *arg)
{
	const size_t off = offsetof(struct sim_phone, pace) +
		offsetof(struct aa_pace, tmr);
	const struct sim_phone *ph = (void *)((char *)tmr - off);

	tmr->h   = h;
	tmr->arg = arg;
	push(s.now + (double)delay, TURN,
	     (uint32_t)(ph - s.phonev) * s.nlines, 0, 0, false, false);
}


void aa_tmr_cancel(struct aa_tmr *tmr)
{
	tmr->h = NULL;
}


/* The module's own function says how long */
static double wait_for(uint32_t failures)
{
	static struct aa_flow flow;

	flow.base = s.base;
	flow.max  = s.max;
	flow.failures = failures;

	return (double)backoff(&flow);
}


/* A message comes to a server; its answer, or the end of patience, follows */
static void message(int ix, uint32_t line, int step, bool probe)
{
	struct server *srv = &s.srv[ix];
	const double arrives = s.now + RTT_MS / 2.0;
	const size_t bin = (size_t)(arrives / BIN_MS);
	double done;

	if (bin < s.bins)
		++srv->binv[bin];
	++srv->messages;

	if (ix == 0 && arrives < s.back) {
		/* the host is there, nobody listens */
		push(s.now + RTT_MS, ANSWER, line, ix, step, true, probe);
		return;
	}

	done = fmax(arrives, srv->free) + s.service;
	srv->free = done;
	srv->queue_max = fmax(srv->queue_max, done - arrives);

	if (done - arrives + RTT_MS > s.transaction)
		push(s.now + s.transaction, ANSWER, line, ix, step, true,
		     probe);
	else
		push(done + RTT_MS / 2.0, ANSWER, line, ix, step, false, probe);
}


static void line_turn_handler(void *arg);


/* Its turn among the lines of its phone, by the module's own pace */
static void try_server(uint32_t ix, int server)
{
	struct sim_line *sl = &s.linev[ix];

	sl->server = server;
	if (aa_pace_ask(&phone_of(ix)->pace, &sl->turn, AA_PACE_MOVE, 0,
			line_turn_handler, sl))
		message(server, ix, 0, false);
}


static void line_turn_handler(void *arg)
{
	const struct sim_line *sl = arg;

	try_server((uint32_t)(sl - s.linev), sl->server);
}


static void answered(const struct event *e)
{
	struct sim_phone *ph = phone_of(e->line);
	struct sim_line *sl = &s.linev[e->line];
	uint32_t i;

	if (e->timeout) {
		if (e->server == 1 || s.now >= s.back)
			++s.timeouts;
		++ph->failures[e->server];
		if (e->probe)
			push(s.now + wait_for(ph->failures[0]), PROBE,
			     e->line, 0, 0, false, true);
		else if (e->server == 1)
			push(s.now + wait_for(1), REGISTER, e->line, 1, 0,
			     false, false);
		else
			push(s.now + wait_for(1), REGISTER, e->line, 0, 0,
			     false, false);
		return;
	}

	if (e->probe) {
		for (i=0; i<s.nlines; i++)
			try_server(e->line + i, 0);
		return;
	}

	/* REGISTER, 401, REGISTER, 200 at the backup; at the primary the
	   nonce may be known, and is taken for old here */
	if (e->step == 0) {
		message(e->server, e->line, 1, false);
		return;
	}

	if (e->server == 1 && sl->at == 0) {
		sl->at = 1;
		sl->back_at = s.now;
	}
	else if (e->server == 0 && sl->at != 2) {
		sl->at = 2;
		sl->home_at = s.now;
	}
}


static void handle(const struct event *e)
{
	struct aa_tmr *tmr;
	uint32_t i;
	tmr_h *h;

	switch (e->kind) {

	case LOST:
		for (i=0; i<s.nlines; i++)
			try_server(e->line + i, 1);
		phone_of(e->line)->failures[0] = 1;
		push(s.now + wait_for(1), PROBE, e->line, 0, 0, false, true);
		break;

	case REGISTER:
		if (e->server == 1 && s.linev[e->line].at == 0)
			try_server(e->line, 1);
		else if (e->server == 0)
			try_server(e->line, 0);
		break;

	case PROBE:
		message(0, e->line, 0, true);
		break;

	case ANSWER:
		answered(e);
		break;

	case TURN:
		tmr = &phone_of(e->line)->pace.tmr;
		h = tmr->h;
		tmr->h = NULL;
		if (h)
			h(tmr->arg);
		break;
	}
}


static int cmp(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}


static void print_times(const char *name, size_t n, size_t offset, double from)
{
	double *v = calloc(n, sizeof(*v));
	size_t i, k = 0;

	if (!v)
		exit(1);

	for (i=0; i<n; i++) {
		double t;

		memcpy(&t, (const char *)&s.linev[i] + offset, sizeof(t));
		if (t > 0)
			v[k++] = (t - from) / 1000;
	}
	qsort(v, k, sizeof(*v), cmp);
	(void)printf("\"%s\": {\"n\": %zu, \"median\": %.3f, \"p99\": %.3f,"
		     " \"last\": %.3f},\n", name, k, k ? v[k / 2] : 0,
		     k ? v[(k - 1) * 99 / 100] : 0, k ? v[k - 1] : 0);
	free(v);
}


static void print_curve(const char *name, const struct server *srv,
			const char *end)
{
	uint32_t peak = 0;
	size_t i;

	(void)printf("\"%s\": [", name);
	for (i=0; i<s.bins; i++) {
		peak = MAX(peak, srv->binv[i]);
		(void)printf("%s%u", i ? "," : "", srv->binv[i]);
	}
	(void)printf("], \"%s_peak\": %u, \"%s_messages\": %llu,"
		     " \"%s_queue\": %.3f%s\n", name,
		     peak * (1000 / BIN_MS), name,
		     (unsigned long long)srv->messages, name,
		     srv->queue_max / 1000, end);
}


int main(int argc, char **argv)
{
	uint32_t n, i;
	bool kill;
	double end;

	if (argc != 12) {
		(void)fprintf(stderr, "usage: scale PHONES LINES FAULT SPREAD"
			      " CAPACITY BASE MAX TRANSACTION BACK_S END_S"
			      " SEED\n");
		return 2;
	}

	n             = (uint32_t)atoi(argv[1]);
	s.nlines      = (uint32_t)atoi(argv[2]);
	kill          = 0 == strcmp(argv[3], "kill");
	s.spread      = atoi(argv[4]);
	s.service     = 1000.0 / atof(argv[5]);
	s.base        = (uint32_t)atoi(argv[6]);
	s.max         = (uint32_t)atoi(argv[7]);
	s.transaction = atof(argv[8]);
	s.back        = 1000 * atof(argv[9]);
	end           = 1000 * atof(argv[10]);
	s.rnd         = 88172645463325252ull + strtoull(argv[11], NULL, 10);
	s.bins        = (size_t)(end / BIN_MS) + 1;
	s.linev       = calloc((size_t)n * s.nlines, sizeof(*s.linev));
	s.phonev      = calloc(n, sizeof(*s.phonev));
	for (i=0; i<2; i++)
		s.srv[i].binv = calloc(s.bins, sizeof(uint32_t));
	if (!s.linev || !s.phonev || !s.srv[0].binv || !s.srv[1].binv)
		return 1;

	for (i=0; i<n; i++) {
		double t = NETWORK_MS * chance();

		/* silence is seen at the next check of the flow, which
		   schedule_check() puts at 80 to 100 % of the interval */
		if (!kill)
			t = INTERVAL * (800 + rand_u16() % 201) * chance() +
				s.transaction;
		push(t, LOST, i * s.nlines, 0, 0, false, false);
	}

	while (s.n) {
		const struct event e = pop();

		if (e.t > end)
			break;
		s.now = e.t;
		handle(&e);
	}

	(void)printf("{\"timeouts\": %llu,\n",
		     (unsigned long long)s.timeouts);
	print_times("back", (size_t)n * s.nlines,
		    offsetof(struct sim_line, back_at), 0);
	print_times("home", (size_t)n * s.nlines,
		    offsetof(struct sim_line, home_at), s.back);
	print_curve("backup", &s.srv[1], ",");
	print_curve("primary", &s.srv[0], "}");

	return 0;
}
