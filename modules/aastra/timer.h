/**
 * @file timer.h  Timers of thousands of lines
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_TIMER_H
#define AASTRA_TIMER_H

/** A timer; all zero: it does not run */
struct aa_tmr {
	struct aa_tmr *child;   /**< first of those that come later         */
	struct aa_tmr *next;    /**< its sibling                            */
	struct aa_tmr *prev;    /**< sibling before it, or what it is under */
	uint64_t at;            /**< when it is due [ms]                    */
	uint64_t seq;           /**< first come, first served               */
	tmr_h *h;               /**< NULL: it does not run                  */
	void *arg;
};


void aa_tmr_start(struct aa_tmr *tmr, uint64_t delay, tmr_h *h, void *arg);
void aa_tmr_cancel(struct aa_tmr *tmr);
uint64_t aa_tmr_expire(const struct aa_tmr *tmr);
void aa_tmr_close(void);


/**
 * Does a timer run?
 *
 * @param tmr Timer
 *
 * @return true if so
 */
static inline bool aa_tmr_isrunning(const struct aa_tmr *tmr)
{
	return tmr && tmr->h;
}

#endif
