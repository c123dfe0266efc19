/**
 * @file timer.c  Timers of thousands of lines
 *
 * libre keeps its timers in a list, and who starts one walks along it: with a
 * thousand lines, half of the processor time of a move was spent in there.
 * So those of the module are in a heap of their own (a pairing heap: starting
 * is one comparison, nothing is allocated), and libre has one timer for them
 * all (up to libre 2.x the kernel has it: see aa_compat_wake()), which also
 * makes the list shorter for libre's own.
 *
 * What is due at once is done in slices: between two of them libre looks at
 * its sockets, so that a thousand lines that all have something to do do not
 * keep a call waiting.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <re.h>
#include "compat.h"
#include "timer.h"


enum {
	SLICE_US  = 4000,       /* then libre has its turn                  */
	SLICE_MAX = 200         /* timers in a slice                        */
};


static struct {
	struct aa_tmr *root;    /* the one that is due first                */
	struct aa_wake wake;    /* calls when that is due                   */
	uint64_t armed;         /* when that is due, where it runs          */
	uint64_t seq;
	bool running;
} heap;


static void due_handler(void *arg);


static bool before(const struct aa_tmr *a, const struct aa_tmr *b)
{
	return a->at < b->at || (a->at == b->at && a->seq < b->seq);
}


static struct aa_tmr *merge(struct aa_tmr *a, struct aa_tmr *b)
{
	struct aa_tmr *top, *sub;

	if (!a || !b)
		return a ? a : b;

	top = before(b, a) ? b : a;
	sub = top == a ? b : a;

	sub->prev = top;
	sub->next = top->child;
	if (sub->next)
		sub->next->prev = sub;
	top->child = sub;

	return top;
}


/* Two by two from the left, and then all from the right: that is what keeps
   taking one out at the logarithm of their number */
static struct aa_tmr *merge_all(struct aa_tmr *first)
{
	struct aa_tmr *pairs = NULL, *top = NULL;

	while (first) {
		struct aa_tmr *a = first, *b = first->next;

		first = b ? b->next : NULL;

		a->next = a->prev = NULL;
		if (b)
			b->next = b->prev = NULL;

		a = merge(a, b);
		a->next = pairs;
		pairs = a;
	}

	while (pairs) {
		struct aa_tmr *a = pairs;

		pairs = a->next;
		a->next = NULL;
		top = merge(top, a);
	}

	return top;
}


static void take_out(struct aa_tmr *tmr)
{
	struct aa_tmr *sub = merge_all(tmr->child);

	if (!tmr->prev) {
		heap.root = sub;
	}
	else {
		if (tmr->prev->child == tmr)
			tmr->prev->child = tmr->next;
		else
			tmr->prev->next = tmr->next;
		if (tmr->next)
			tmr->next->prev = tmr->prev;

		heap.root = merge(heap.root, sub);
	}

	tmr->child = tmr->next = tmr->prev = NULL;
	tmr->h = NULL;
}


/* It calls when the first one of ours is due, but not before libre has
   looked at its sockets if it was just there */
static void arm(bool after_slice)
{
	uint64_t now, wait;

	if (heap.running)
		return;

	if (!heap.root) {
		aa_compat_wake(&heap.wake, 0, NULL, NULL);
		return;
	}

	if (heap.wake.h && heap.armed == heap.root->at)
		return;

	/* libre counts in milliseconds of another clock: one more, so that
	   nothing is woken up for in vain */
	now = aa_now_ms();
	heap.armed = heap.root->at;
	wait = heap.armed > now ? heap.armed - now + 1 : after_slice;
	aa_compat_wake(&heap.wake, wait, due_handler, NULL);
}


static void due_handler(void *arg)
{
	const uint64_t end = aa_now_us() + SLICE_US;
	unsigned n = 0;
	(void)arg;

	heap.running = true;

	while (heap.root && heap.root->at <= aa_now_ms()) {
		struct aa_tmr *tmr = heap.root;
		tmr_h *h = tmr->h;

		take_out(tmr);
		h(tmr->arg);

		if (++n >= SLICE_MAX || aa_now_us() >= end)
			break;
	}

	heap.running = false;
	arm(true);
}


/**
 * Start a timer, or start it anew
 *
 * @param tmr   Timer
 * @param delay When it is due [ms], 0: as soon as libre has nothing in hand
 * @param h     Called once when it is due; timers that are due at the same
 *              time are called in the order in which they were started
 * @param arg   Handler argument
 */
void aa_tmr_start(struct aa_tmr *tmr, uint64_t delay, tmr_h *h, void *arg)
{
	if (!tmr)
		return;

	if (tmr->h)
		take_out(tmr);

	if (h) {
		tmr->at  = aa_now_ms() + delay;
		tmr->seq = ++heap.seq;
		tmr->h   = h;
		tmr->arg = arg;
		heap.root = merge(heap.root, tmr);
	}

	arm(false);
}


/**
 * Stop a timer
 *
 * @param tmr Timer, which need not run
 */
void aa_tmr_cancel(struct aa_tmr *tmr)
{
	if (aa_tmr_isrunning(tmr))
		aa_tmr_start(tmr, 0, NULL, NULL);
}


/**
 * When is a timer due?
 *
 * @param tmr Timer
 *
 * @return Time until then [ms], 0 if it is due or does not run
 */
uint64_t aa_tmr_expire(const struct aa_tmr *tmr)
{
	const uint64_t now = aa_now_ms();

	return aa_tmr_isrunning(tmr) && tmr->at > now ? tmr->at - now : 0;
}


/**
 * The module goes: nothing is called any more
 */
void aa_tmr_close(void)
{
	while (heap.root)
		take_out(heap.root);

	aa_compat_wake_close(&heap.wake);
}
