/**
 * @file policy.h  What a line should be: the failover table as a function
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * Pure: nothing here knows libre, baresip, a socket or a clock.  The caller
 * says what is known of each server; the answer is what the line should be.
 */
#ifndef AASTRA_POLICY_H
#define AASTRA_POLICY_H

#include <stdbool.h>


/** The server roles of the Aastra guides, chapter 4 */
enum aa_role {
	AA_ROLE_OUTBOUND = 0,   /**< outbound proxy: decides the route      */
	AA_ROLE_PROXY,          /**< proxy: decides the AOR                 */
	AA_ROLE_REGISTRAR,      /**< registrar: decides REGISTER's target   */
	AA_ROLE_COUNT
};

/** Which of the two servers of a role */
enum aa_rank {
	AA_RANK_NONE = 0,       /**< not configured, or nothing in force    */
	AA_RANK_PRIMARY,
	AA_RANK_BACKUP,
	AA_RANK_COUNT
};

/** Which backups are configured (rows of the failover table) */
enum aa_scenario {
	AA_SCENARIO_NONE = 0,        /**< no backup at all                  */
	AA_SCENARIO_PROXY_REGISTRAR, /**< rows E1, D1: chosen independently */
	AA_SCENARIO_ALL,             /**< rows E2, D2: all move together    */
	AA_SCENARIO_OUTBOUND,        /**< rows E3, D3: only the route moves */
	AA_SCENARIO_COUNT
};

/** Who chooses the server */
enum aa_mode {
	AA_MODE_AUTO = 0,       /**< the line chooses                       */
	AA_MODE_PRIMARY,        /**< held on the primary by an operator     */
	AA_MODE_BACKUP,         /**< held on the backup by an operator      */
	AA_MODE_COUNT
};

/** `sip failback policy` */
enum aa_failback {
	AA_FAILBACK_IDLE = 0,   /**< never while the line has a call        */
	AA_FAILBACK_AUTO,       /**< as soon as the primary is good         */
	AA_FAILBACK_MANUAL,     /**< only by command                        */
	AA_FAILBACK_COUNT
};

/** What is known of a server, from worst to best; the order matters */
enum aa_avail {
	AA_AVAIL_DOWN = 0,      /**< failed; waiting for its retry time     */
	AA_AVAIL_UNKNOWN,       /**< not tried yet, or being tried          */
	AA_AVAIL_UP,            /**< answers, but not for long enough yet   */
	AA_AVAIL_GOOD,          /**< answers, and fit to be moved back to   */
	AA_AVAIL_COUNT
};

/** Why a role has the server that it has */
enum aa_why {
	AA_WHY_NO_BACKUP = 0,   /**< there is nothing to choose             */
	AA_WHY_FIRST,           /**< primary: it is not known to be down    */
	AA_WHY_HELD,            /**< a command holds it there               */
	AA_WHY_HELD_DOWN,       /**< a command wants it elsewhere, where the
				     server is down                         */
	AA_WHY_PRIMARY_DOWN,    /**< backup: the primary is down            */
	AA_WHY_ALL_DOWN,        /**< both are: it stays, and tries both     */
	AA_WHY_HOME,            /**< primary: it is good again              */
	AA_WHY_BACKUP_DOWN,     /**< primary: it answers, the backup not    */
	AA_WHY_UNTRIED,         /**< backup: the primary is not known yet   */
	AA_WHY_UNPROVEN,        /**< backup: the primary answers, but not
				     for long enough                        */
	AA_WHY_CALL,            /**< backup: the line has a call            */
	AA_WHY_MANUAL,          /**< backup: going home takes a command     */
	AA_WHY_COUNT
};

/** All that a decision depends on */
struct aa_policy_in {
	enum aa_scenario scenario;
	enum aa_mode mode;
	enum aa_failback failback;
	bool outbound;          /**< `sip outbound support`                 */
	bool calls;             /**< the line has a call                    */
	unsigned standby;       /**< `sip outbound standby`, 0-2            */

	/** Availability by role and rank; ranks start at PRIMARY.  A role
	    that has no server of its own repeats the one that stands for it */
	enum aa_avail avail[AA_ROLE_COUNT][AA_RANK_COUNT];

	/** Is a server of that role and rank configured? */
	bool configured[AA_ROLE_COUNT][AA_RANK_COUNT];

	/** What is in force now; AA_RANK_NONE before the first choice */
	enum aa_rank current[AA_ROLE_COUNT];
};

/** The decision */
struct aa_policy_out {
	/** Rank to use for each role; PRIMARY where there is no backup */
	enum aa_rank use[AA_ROLE_COUNT];

	/** Why, for each role */
	enum aa_why why[AA_ROLE_COUNT];

	/** Flows to keep open and checked (outbound on), by role and rank */
	bool flow[AA_ROLE_COUNT][AA_RANK_COUNT];

	/** Is the line to be registered a second time, all along?          */
	bool standby;

	/** Rank of each role for that; AA_RANK_NONE where it is not        */
	enum aa_rank second[AA_ROLE_COUNT];
};


enum aa_scenario aa_policy_scenario(bool backup_outbound, bool backup_proxy,
				    bool backup_registrar);
void aa_policy_decide(struct aa_policy_out *out,
		      const struct aa_policy_in *in);
enum aa_role aa_policy_axis(enum aa_scenario scenario, enum aa_role role);

const char *aa_role_name(enum aa_role role);
const char *aa_rank_name(enum aa_rank rank);
const char *aa_scenario_name(enum aa_scenario scenario);
const char *aa_mode_name(enum aa_mode mode);
const char *aa_failback_name(enum aa_failback failback);
const char *aa_avail_name(enum aa_avail avail);
const char *aa_why_text(enum aa_why why);

#endif
