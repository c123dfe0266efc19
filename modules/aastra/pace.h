/**
 * @file pace.h  Turns of many lines that register
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_PACE_H
#define AASTRA_PACE_H

#include "timer.h"

enum {
	AA_PACE_BURST      = 10, /**< REGISTERs that go at once             */
	AA_PACE_PER_SECOND = 50  /**< where the settings do not say         */
};

/** What a REGISTER is sent for */
enum aa_pace_row {
	AA_PACE_MOVE = 0,       /**< a line begins, moves, or comes back    */
	AA_PACE_REFRESH,        /**< a binding is kept                      */
	AA_PACE_ROWS
};

/** What all lines share; zeroed, nobody has sent anything yet */
struct aa_pace {
	uint32_t rate;          /**< REGISTERs per second, 0: as usual      */
	uint64_t slot;          /**< when the next one may go [us]          */
	struct list row[AA_PACE_ROWS]; /**< who waits (struct aa_turn)      */
	enum aa_pace_row latest; /**< whose turn it was                     */
	struct aa_tmr tmr;      /**< runs while somebody waits              */
};

/**
 * It is somebody's turn: who has waited asks once more
 *
 * @param arg Handler argument
 */
typedef void (aa_turn_h)(void *arg);

/** A place in a row; zeroed, it is in none */
struct aa_turn {
	struct le le;
	struct aa_pace *pace;
	uint64_t late;          /**< goes before moves then, aa_now_us()    */
	uint64_t called;        /**< when its turn came, or 0               */
	aa_turn_h *h;
	void *arg;
};


uint64_t aa_pace_slot(uint64_t *next, uint64_t interval, unsigned burst,
		      uint64_t now);
bool aa_pace_ask(struct aa_pace *pace, struct aa_turn *turn,
		 enum aa_pace_row row, uint64_t left, aa_turn_h *h, void *arg);
void aa_pace_pass(struct aa_pace *pace, struct aa_turn *turn);
void aa_turn_end(struct aa_turn *turn);
bool aa_turn_waits(const struct aa_turn *turn);

#endif
