/**
 * @file pace.c  Turns of many lines that register
 *
 * A phone with hundreds of lines that loses its server, or whose host has
 * slept, does not register all of them in the same instant, and no registrar
 * that grants a second makes it do so: `sip registration rate` counts for all
 * lines and for whatever they register.  Who may not go at once waits in a
 * row:
 *
 *     moves      ---+
 *                   +--- one in so much time
 *     refreshes  ---+
 *
 * Moves go first, as long as the first of the refreshes has more than half of
 * what was left of its binding; from then on they take turns.  So a line that
 * moves does not wait for a thousand refreshes, and no binding runs out while
 * others move, unless half of the rate is not enough to keep them.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <re.h>
#include "compat.h"
#include "pace.h"


enum {
	CALLED_US = 1000000     /* who was called and does not come by then
				   asks anew                                */
};


static void turn_handler(void *arg);


/* From one REGISTER to the next [us]; rather too few of them than too many */
static uint64_t interval_us(const struct aa_pace *pace)
{
	const uint32_t rate = pace->rate ? pace->rate : AA_PACE_PER_SECOND;

	return (1000000 + rate - 1) / rate;
}


/**
 * Take the next free slot, one of the last few at the earliest
 *
 * The clock may be younger than these are, on a host that has just started.
 *
 * @param next     The next one that is free, moved on
 * @param interval From one to the next, any unit
 * @param burst    So many that have passed unused can be taken still
 * @param now      The time, same unit
 *
 * @return When it is, or was
 */
uint64_t aa_pace_slot(uint64_t *next, uint64_t interval, unsigned burst,
		      uint64_t now)
{
	const uint64_t past = burst * interval;
	const uint64_t slot = MAX(*next, now > past ? now - past : 0);

	*next = slot + interval;

	return slot;
}


static void take(struct aa_pace *pace, uint64_t now)
{
	(void)aa_pace_slot(&pace->slot, interval_us(pace), AA_PACE_BURST, now);
}


static bool somebody_waits(const struct aa_pace *pace)
{
	return !list_isempty(&pace->row[AA_PACE_MOVE]) ||
		!list_isempty(&pace->row[AA_PACE_REFRESH]);
}


/* Phones that have lost the same server do not go in step */
static void wake(struct aa_pace *pace, uint64_t now)
{
	const uint64_t wait = pace->slot > now ? pace->slot - now +
		rand_u16() % interval_us(pace) : 0;

	aa_tmr_start(&pace->tmr, (wait + 999) / 1000, turn_handler, pace);
}


static struct aa_turn *next_turn(const struct aa_pace *pace, uint64_t now)
{
	struct aa_turn *move = list_ledata(
		list_head(&pace->row[AA_PACE_MOVE]));
	struct aa_turn *refresh = list_ledata(
		list_head(&pace->row[AA_PACE_REFRESH]));

	if (!move || !refresh)
		return move ? move : refresh;

	return refresh->late <= now && pace->latest == AA_PACE_MOVE ?
		refresh : move;
}


static void turn_handler(void *arg)
{
	struct aa_pace *pace = arg;
	const uint64_t now = aa_now_us();

	while (somebody_waits(pace) && pace->slot <= now) {
		struct aa_turn *turn = next_turn(pace, now);

		take(pace, now);
		pace->latest = turn->le.list == &pace->row[AA_PACE_REFRESH] ?
			AA_PACE_REFRESH : AA_PACE_MOVE;
		list_unlink(&turn->le);
		turn->called = now;
		turn->h(turn->arg);
	}

	if (somebody_waits(pace))
		wake(pace, now);
}


/* In the order in which they become late */
static void enter(struct aa_pace *pace, struct aa_turn *turn,
		  enum aa_pace_row row)
{
	struct list *l = &pace->row[row];
	struct le *le = list_tail(l);

	while (le && ((struct aa_turn *)le->data)->late > turn->late)
		le = le->prev;

	turn->pace = pace;
	if (le)
		list_insert_after(l, le, &turn->le, turn);
	else
		list_prepend(l, &turn->le, turn);
}


/**
 * Ask for a turn
 *
 * @param pace Pace
 * @param turn Place of who asks
 * @param row  What it is for
 * @param left How long the binding lives without it [ms], 0: there is none
 * @param h    Called when it has waited long enough
 * @param arg  Handler argument
 *
 * @return true if it may go, false if it has to wait for the handler
 */
bool aa_pace_ask(struct aa_pace *pace, struct aa_turn *turn,
		 enum aa_pace_row row, uint64_t left, aa_turn_h *h, void *arg)
{
	const uint64_t now = aa_now_us();
	bool called;

	if (!pace || !turn || row >= AA_PACE_ROWS || !h)
		return false;

	if (turn->le.list)
		return false;

	called = turn->called && now < turn->called + CALLED_US;
	turn->called = 0;
	if (called)
		return true;

	if (!somebody_waits(pace) && pace->slot <= now) {
		take(pace, now);
		return true;
	}

	turn->late = row == AA_PACE_REFRESH ? now + left * 1000 / 2 : now;
	turn->h    = h;
	turn->arg  = arg;
	enter(pace, turn, row);
	if (!aa_tmr_isrunning(&pace->tmr))
		wake(pace, now);

	return false;
}


/**
 * Take a turn without waiting for it.  It counts where it could have been had;
 * otherwise it comes on top, or those that wait might do so for ever.
 *
 * @param pace Pace
 * @param turn Place, which is given up
 */
void aa_pace_pass(struct aa_pace *pace, struct aa_turn *turn)
{
	const uint64_t now = aa_now_us();

	if (!pace || !turn)
		return;

	if (!turn->called && !somebody_waits(pace) && pace->slot <= now)
		take(pace, now);
	aa_turn_end(turn);
}


/**
 * Give up a place
 *
 * @param turn Place, in a row or not
 */
void aa_turn_end(struct aa_turn *turn)
{
	if (!turn)
		return;

	turn->called = 0;
	if (!turn->le.list)
		return;

	list_unlink(&turn->le);
	if (!somebody_waits(turn->pace))
		aa_tmr_cancel(&turn->pace->tmr);
}


/**
 * Does somebody wait?
 *
 * @param turn Place
 *
 * @return true if it is in a row, or was called and has not gone yet
 */
bool aa_turn_waits(const struct aa_turn *turn)
{
	return turn && (turn->le.list || turn->called);
}
