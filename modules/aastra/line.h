/**
 * @file line.h  A line: brings what is to what should be
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_LINE_H
#define AASTRA_LINE_H

#include "policy.h"
#include "config.h"
#include "journal.h"
#include "news.h"
#include "pace.h"
#include "timer.h"

struct aa_line;
struct aa_account;
struct aa_binding;
struct aa_flow;
struct aa_flow_user;
struct aa_subs;
struct ua;

/** What all lines share */
struct aa_phone {
	struct list linel;      /**< lines, by number (struct aa_line)      */
	struct list flowl;      /**< flows, shared (struct aa_flow)         */
	struct list farewelll;  /**< bindings and subscriptions of lines that
				     ended                                  */
	struct list wayl;       /**< the bindings of these                  */
	struct list strayl;     /**< farewells that may arrive later than
				     these know (struct aa_stray)           */
	char uuid[64];          /**< instance-id of the phone, RFC 5626 4.1 */
	struct aa_pace pace;    /**< of their REGISTERs                     */
	uint64_t look_slot;     /**< when the next line looks at a flow     */
	uint64_t wary_slot;     /**< when the next one is wary, see wary_at */
	struct list telll;      /**< lines that wait to tell baresip        */
	uint32_t telling;       /**< lines whose word is on its way there   */
	uint64_t told_at;       /**< the latest one was sent, or came       */
	void (*changedh)(void); /**< a line changed what it shall remember  */
	void (*unusedh)(struct ua *ua); /**< no line has it any more        */
	void (*configh)(void);  /**< the configuration was read again       */
	struct aa_journal *jnl; /**< latest changes; NULL: not kept         */
	void (*newsh)(enum aa_news what, uint32_t line); /**< to be seen    */
};

/** The highest reg-id that a line uses (RFC 5626 4.2) */
enum {
	AA_REGID_MAX = 256
};

/** One way to be registered: a server of each role, and a binding there */
struct aa_path {
	struct le le;           /**< in a list of the line                  */
	struct aa_line *line;
	enum aa_rank use[AA_ROLE_COUNT];
	struct aa_flow *flow;   /**< next hop                               */
	struct aa_binding *b;
	uint64_t generation;    /**< of the flow that carries the binding   */
	uint64_t turn;          /**< of the flow, of the latest REGISTER    */
	bool registered;        /**< the latest word was a 2xx              */
	bool wants;             /**< has to be registered (again)           */
	bool anew;              /**< even if what is under way succeeds     */
	bool inherited;         /**< an earlier run of baresip may have left
				     a binding there                        */
	bool proven;            /**< the registrar knows its reg-id by the
				     Call-ID that it has now                */
	bool forced;            /**< asked for by the user: no budget       */
	struct aa_turn move;    /**< waits for it to register               */
	struct aa_turn refresh; /**< the same, to keep its binding          */
	bool stands;            /**< refused, as another server would say,
				     too: it comes into force all the same  */

	bool former;            /**< an earlier life has said farewell to it,
				     and got no answer                      */
	bool plain;             /**< baresip's own, made before it was a
				     line: it is only removed               */

	/* on its way out */
	bool owed;              /**< its registrar is owed a farewell, until
				     it is registered again                 */
	bool over_own;          /**< the farewell goes over its own flow    */
	uint64_t hurry_at;      /**< till then other things come first      */
	uint64_t astray_until;  /**< a farewell was not answered: it may
				     arrive till then                       */
	uint64_t astray_before; /**< the same, of those before the latest   */
	uint64_t late_until;    /**< the same of its latest REGISTER        */
	bool cleared;           /**< removed over the path in force         */
	unsigned farewells;     /**< how often it was tried over its flow   */
	uint64_t farewell_at;   /**< not sooner, aa_now_ms()                */
	unsigned clears;        /**< the same, over the path in force       */
	uint64_t clear_at;

	uint64_t started;       /**< when it was begun, aa_now_ms()         */
	uint64_t asked;         /**< when the latest REGISTER was sent      */
	uint64_t nth;           /**< which one of the line's that was       */
	uint32_t requests;      /**< sent before that, for what it cost     */
	uint16_t refused;       /**< refusal that the history has told      */
	uint64_t retry_at;      /**< not before, aa_now_ms()                */
	uint16_t scode;         /**< latest refusal                         */
	char reason[160];

	/* recorded by the handler, taken up by the line */
	bool event;
	int ev;                 /**< enum aa_binding_event                  */
	uint32_t retry_after;
	bool transport_error;
};

/** Why a server is not used although its flow may be up */
struct aa_penalty {
	uint64_t until;         /**< aa_now_ms()                            */
	uint64_t asked;         /**< the same, as the server itself wants   */
	bool silent;            /**< it did not answer                      */
	uint32_t failures;
	char reason[160];
};

/** How many requests may be sent */
struct aa_budget {
	double left;            /**< now                                    */
	uint64_t at;            /**< when that was counted, aa_now_ms()     */
};

/** A line */
struct aa_line {
	struct le le;
	struct aa_phone *phone;
	struct aa_account *acc;
	enum sip_transp tp;

	struct aa_flow_user *user[AA_ROLE_COUNT][AA_RANK_COUNT];
	enum aa_flow_state flow_state[AA_ROLE_COUNT][AA_RANK_COUNT];
	struct aa_penalty pen[AA_ROLE_COUNT][AA_RANK_COUNT];

	enum aa_mode mode;
	enum aa_rank use[AA_ROLE_COUNT]; /**< in force                      */
	enum aa_rank warm[AA_ROLE_COUNT]; /**< in force before the restart  */
	unsigned warm_regid;    /**< that it had there, 0: not known        */
	bool kept;              /**< began where the line was that it has
				     replaced                               */
	struct aa_path *cur;    /**< in force, NULL before the first        */
	struct aa_path *next;   /**< being made                             */
	struct aa_path *second; /**< registered besides, in case            */
	enum aa_rank second_use[AA_ROLE_COUNT]; /**< wanted for that        */
	struct list leavel;     /**< being left (struct aa_path)            */
	struct list idlel;      /**< not in use now (struct aa_path)        */

	struct aa_tmr tmr;      /**< something is to be done, or will be    */
	struct aa_tmr tmr_now;  /**< something is to be done now            */
	uint64_t fault_at;      /**< when the path in force failed          */
	uint64_t lost_at;       /**< since when it is not registered, or 0  */
	char fault[160];        /**< what was seen                          */
	uint64_t asked;         /**< when its latest REGISTER was sent      */
	char realm[64];         /**< credentials were asked for last        */
	char fault_by[24];      /**< what showed it: a request, a packet    */
	enum aa_why why[AA_ROLE_COUNT]; /**< of the latest decision         */
	bool noted[AA_ROLE_COUNT][AA_RANK_COUNT]; /**< to be told of        */
	bool told_down[AA_ROLE_COUNT][AA_RANK_COUNT]; /**< the history has
				     said that it is down                   */
	uint64_t since;         /**< of the path in force, aa_now_ms()      */
	uint64_t home_at[AA_ROLE_COUNT];  /**< went home last, 0: never     */
	uint64_t hold_ms[AA_ROLE_COUNT];  /**< hold-down, grows with flaps  */
	uint64_t hold_set[AA_ROLE_COUNT]; /**< when that was                */
	struct aa_budget budget;         /**< of REGISTERs that register    */
	struct aa_budget budget_leaving; /**< of those that unregister      */
	uint64_t nth;           /**< REGISTERs that its paths have sent     */
	uint64_t doubt;         /**< what is in force may not be, or not be
				     the latest, that its registrar knows,
				     if it was sent as the nth or before; 0:
				     no doubt                               */
	uint64_t wary_at;       /**< registers once more then, since what was
				     sent before the start may have come; 0:
				     nothing was                            */
	uint64_t wary_gap;      /**< till the next time [ms]                */
	uint64_t wary_until;    /**< for the last time, aa_now_ms()         */
	struct aa_subs *subs;   /**< event subscriptions                    */
	struct aa_flow *subs_flow; /**< that they go over                   */
	struct list calll;      /**< calls not answered yet (callmove.c)    */
	uint32_t moves;         /**< how often another path came into force */
	uint32_t shown;         /**< tells when what is seen has changed    */
	bool redialling;        /**< a call is being dialled again          */
	bool told;              /**< baresip was told at least once         */
	bool published;         /**< what it was told is still right        */
	bool published_up;
	uint16_t published_scode;
	struct le le_tell;      /**< waits for its turn to tell baresip     */
	uint64_t tell_at;       /**< tries again to do so, 0: does not wait */
	bool said_down;         /**< the log has said that it is down       */
	bool ended;
	struct aa_line *old;    /**< with settings that are not in force any
				     more; ends when this one is registered */
	unsigned epoch;         /**< how often settings changed: tells its
				     paths from those of `old`              */

	struct {
		uint32_t failovers;
		uint32_t failbacks;
		uint32_t registrations;
	} count;

	struct aa_line_config cfg;      /**< stays the last one: only what
					     holds something is allocated   */
};


int  aa_line_alloc(struct aa_line **linep, struct aa_phone *phone,
		   const struct aa_line_config *cfg, struct aa_account *acc,
		   enum sip_transp tp);
int  aa_line_replace(struct aa_line **linep, struct aa_line *old,
		     const struct aa_line_config *cfg, struct aa_account *acc,
		     enum sip_transp tp, const char *what);
void aa_line_start(struct aa_line *line, bool plain);
void aa_line_kick(struct aa_line *line);
void aa_line_told(struct aa_phone *phone);
void aa_line_refresh(struct aa_line *line);
void aa_line_mode_set(struct aa_line *line, enum aa_mode mode);
void aa_line_probe(struct aa_line *line);
void aa_line_check(struct aa_line *line);
void aa_line_suspect(struct aa_line *line, const char *reason);
void aa_line_call_moved(struct aa_line *line, const char *uri, uint64_t took);
void aa_line_end(struct aa_line *line, const struct ua *dying);
void aa_line_release(struct aa_line *line);

const struct aa_penalty *aa_line_penalty(const struct aa_line *line,
					 enum aa_rank rank);
uint64_t aa_line_punished(const struct aa_line *line, enum aa_rank rank);
bool aa_line_registered(const struct aa_line *line);
bool aa_line_registered_at(const struct aa_line *line,
			   const struct aa_flow *flow);
const char *aa_line_reason(const struct aa_line *line);
uint64_t aa_line_retry_in(const struct aa_line *line);
uint64_t aa_line_hold_down(const struct aa_line *line);
enum aa_rank aa_line_service(const struct aa_line *line, bool *mixed);
void aa_line_policy_in(struct aa_policy_in *in, const struct aa_line *line);
const char *aa_line_use_name(const struct aa_line *line,
			     const enum aa_rank *use);
const char *aa_line_aor(const struct aa_line *line);
struct aa_flow *aa_line_flow(const struct aa_line *line, enum aa_role role,
			     enum aa_rank rank);
struct aa_line *aa_line_find(const struct aa_phone *phone, uint32_t n);
struct aa_line *aa_line_find_ua(const struct aa_phone *phone,
				const struct ua *ua);

#endif
