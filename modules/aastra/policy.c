/**
 * @file policy.c  What a line should be: the failover table as a function
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * The table is that of the Aastra SIP guide 41-001343, pages 4-59 to 4-61.
 * Where the guide is silent or contradicts itself, the rule is: a line with
 * one reachable server is in service, and it never moves without a reason.
 */

#include <stddef.h>
#include <stdbool.h>
#include "policy.h"


/*
 * Does the role have a choice of servers of its own in this scenario?
 *
 * The scenario already says so for the roles that cannot move; asking for
 * the backup as well lets a role without one stay where it is while the
 * others move.
 */
static bool can_move(const struct aa_policy_in *in, enum aa_role role)
{
	if (!in->configured[role][AA_RANK_BACKUP])
		return false;

	switch (in->scenario) {

	case AA_SCENARIO_PROXY_REGISTRAR:
		return role != AA_ROLE_OUTBOUND;

	case AA_SCENARIO_ALL:
		return true;

	case AA_SCENARIO_OUTBOUND:
		return role == AA_ROLE_OUTBOUND;

	default:
		return false;
	}
}


/* The roles whose servers are watched, because something hangs on them */
static bool is_axis(enum aa_scenario scenario, enum aa_role role)
{
	switch (scenario) {

	case AA_SCENARIO_PROXY_REGISTRAR:
		return role != AA_ROLE_OUTBOUND;

	case AA_SCENARIO_ALL:
	case AA_SCENARIO_OUTBOUND:
		return role == AA_ROLE_OUTBOUND;

	default:
		return false;
	}
}


/*
 * What the line chooses by itself on an axis that has a backup.
 *
 * It leaves a server only when that one is down and the other may work, so
 * with everything dead it stays on the last one that did; and it returns
 * only to a primary that has proven itself, at a moment that the failback
 * policy allows.
 */
static enum aa_rank choose_auto(const struct aa_policy_in *in,
				enum aa_role axis, enum aa_why *why)
{
	const enum aa_avail primary = in->avail[axis][AA_RANK_PRIMARY];
	const enum aa_avail backup  = in->avail[axis][AA_RANK_BACKUP];

#ifdef AASTRA_NO_FAILOVER
	/* only for showing that the tests notice */
	(void)primary;
	(void)backup;
	*why = AA_WHY_FIRST;

	return AA_RANK_PRIMARY;
#else
	if (in->current[axis] == AA_RANK_BACKUP) {

		/* A live binding goes before every failback policy: a call
		   does not need the server that is down, the line does.
		   A primary that is merely untried is no better than the
		   backup that was just lost. */
		if (backup == AA_AVAIL_DOWN) {
			*why = primary > AA_AVAIL_UNKNOWN ? AA_WHY_BACKUP_DOWN
							  : AA_WHY_ALL_DOWN;
			return primary > AA_AVAIL_UNKNOWN ? AA_RANK_PRIMARY
							  : AA_RANK_BACKUP;
		}

		if (primary != AA_AVAIL_GOOD) {
			*why = primary == AA_AVAIL_DOWN ? AA_WHY_PRIMARY_DOWN :
				primary == AA_AVAIL_UP ? AA_WHY_UNPROVEN :
				AA_WHY_UNTRIED;
			return AA_RANK_BACKUP;
		}

		if (in->failback == AA_FAILBACK_AUTO ||
		    (in->failback == AA_FAILBACK_IDLE && !in->calls)) {
			*why = AA_WHY_HOME;
			return AA_RANK_PRIMARY;
		}

		*why = in->failback == AA_FAILBACK_IDLE ? AA_WHY_CALL
							: AA_WHY_MANUAL;
		return AA_RANK_BACKUP;
	}

	/* On the primary, or nowhere yet: the same question */
	if (primary == AA_AVAIL_DOWN && backup != AA_AVAIL_DOWN) {
		*why = AA_WHY_PRIMARY_DOWN;
		return AA_RANK_BACKUP;
	}

	*why = primary == AA_AVAIL_DOWN ? AA_WHY_ALL_DOWN : AA_WHY_FIRST;

	return AA_RANK_PRIMARY;
#endif
}


/*
 * What an operator chose.  Where proxy and registrar are chosen apart, one
 * that is dead does not keep the other from going there: it follows when it
 * answers.
 */
static enum aa_rank choose_held(const struct aa_policy_in *in,
				enum aa_role axis, enum aa_rank held,
				enum aa_why *why)
{
	const enum aa_rank current = in->current[axis];

	*why = AA_WHY_HELD;

	if (in->scenario != AA_SCENARIO_PROXY_REGISTRAR ||
	    current == AA_RANK_NONE || current == held ||
	    in->avail[axis][held] != AA_AVAIL_DOWN)
		return held;

	*why = AA_WHY_HELD_DOWN;

	return current;
}


static enum aa_rank choose(const struct aa_policy_in *in, enum aa_role axis,
			   enum aa_why *why)
{
	*why = AA_WHY_NO_BACKUP;
	if (!can_move(in, axis))
		return AA_RANK_PRIMARY;

	switch (in->mode) {

	case AA_MODE_PRIMARY:
		return choose_held(in, axis, AA_RANK_PRIMARY, why);

	case AA_MODE_BACKUP:
		return choose_held(in, axis, AA_RANK_BACKUP, why);

	default:
		return choose_auto(in, axis, why);
	}
}


/*
 * The flow to a backup is opened when it is needed, as the phones do, and
 * kept open beforehand only if `sip outbound standby` asks for it.  It also
 * stays while the backup is still in force, so that the way home is made
 * before the old one is broken.
 */
static bool want_backup_flow(const struct aa_policy_in *in,
			     enum aa_role axis, enum aa_rank chosen)
{
	if (!can_move(in, axis))
		return false;

	return in->standby >= 1 || chosen == AA_RANK_BACKUP ||
		in->mode == AA_MODE_BACKUP ||
		in->current[axis] == AA_RANK_BACKUP ||
		in->avail[axis][AA_RANK_PRIMARY] == AA_AVAIL_DOWN;
}


/*
 * Without any backup there is nothing to move to, but the flow is still
 * kept, and restored when it is lost: it is the first hop of the line.
 */
static enum aa_role first_hop(const struct aa_policy_in *in)
{
	if (in->configured[AA_ROLE_OUTBOUND][AA_RANK_PRIMARY])
		return AA_ROLE_OUTBOUND;

	if (in->configured[AA_ROLE_REGISTRAR][AA_RANK_PRIMARY])
		return AA_ROLE_REGISTRAR;

	return AA_ROLE_PROXY;
}


/* The role whose servers decide where a REGISTER goes */
static enum aa_role registering_axis(enum aa_scenario scenario)
{
	return scenario == AA_SCENARIO_PROXY_REGISTRAR ? AA_ROLE_REGISTRAR
		: AA_ROLE_OUTBOUND;
}


/*
 * RFC 5626 4.2: a phone may be registered over several flows at once.  The
 * second one is the way that the line would take if the primary died now; a
 * proxy that is chosen apart stays as it is.  A line that is on its backup
 * goes home before it leaves that, and needs no second one.
 */
static void decide_second(struct aa_policy_out *out,
			  const struct aa_policy_in *in)
{
	const enum aa_role axis = registering_axis(in->scenario);
	enum aa_role role;

	out->standby = in->standby >= 2 && can_move(in, axis) &&
		out->use[axis] == AA_RANK_PRIMARY;

	for (role = AA_ROLE_OUTBOUND; role < AA_ROLE_COUNT; role++) {
		const bool moves = can_move(in, role) &&
			aa_policy_axis(in->scenario, role) == axis;

		out->second[role] = !out->standby ? AA_RANK_NONE :
			moves ? AA_RANK_BACKUP : out->use[role];
	}
}


/**
 * Find the row of the failover table that a configuration stands for
 *
 * A backup outbound proxy joins whatever other backup there is, so that all
 * of them move together; alone, it moves the route and nothing else.  Rows
 * E1 to E3 (outbound support on) and D1 to D3 (off) of the guide 41-001343,
 * pages 4-59 and 4-60, have the same three scenarios.
 *
 * @param backup_outbound   A backup outbound proxy is configured
 * @param backup_proxy      A backup proxy is configured
 * @param backup_registrar  A backup registrar is configured
 *
 * @return Scenario
 */
enum aa_scenario aa_policy_scenario(bool backup_outbound, bool backup_proxy,
				    bool backup_registrar)
{
	if (backup_proxy || backup_registrar)
		return backup_outbound ? AA_SCENARIO_ALL
				       : AA_SCENARIO_PROXY_REGISTRAR;

	return backup_outbound ? AA_SCENARIO_OUTBOUND : AA_SCENARIO_NONE;
}


/**
 * Decide what a line should be, from what is known of its servers
 *
 * Guide 41-001343, pages 4-59 to 4-61.  Proxy and registrar are chosen each
 * by its own servers (rows E1 and D1), all together by the outbound proxy
 * (E2, D2), or the route alone by the outbound proxy (E3, D3).  A role that
 * has no backup of its own stays on its primary in every row, also where the
 * others move together.
 *
 * The answer depends on nothing but the argument, and applying it (putting
 * `use` into `current`) does not change it.
 *
 * @param out  Decision: rank to use for each role (AA_RANK_PRIMARY or
 *             AA_RANK_BACKUP, never AA_RANK_NONE), the flows to keep open
 *             and checked (none with outbound support off), and where to be
 *             registered besides (nowhere unless `standby` is 2)
 * @param in   What is configured, what is known and what is in force;
 *             `standby` is 0-2
 */
void aa_policy_decide(struct aa_policy_out *out,
		      const struct aa_policy_in *in)
{
	enum aa_role role;

	if (!out || !in)
		return;

	for (role = AA_ROLE_OUTBOUND; role < AA_ROLE_COUNT; role++) {

		const enum aa_role axis = aa_policy_axis(in->scenario, role);
		enum aa_rank rank;

		for (rank = AA_RANK_NONE; rank < AA_RANK_COUNT; rank++)
			out->flow[role][rank] = false;

		out->why[role] = AA_WHY_NO_BACKUP;
		out->use[role] = can_move(in, role) ?
			choose(in, axis, &out->why[role]) : AA_RANK_PRIMARY;
	}

	decide_second(out, in);

	if (!in->outbound)
		return;

	if (in->scenario == AA_SCENARIO_NONE) {
		out->flow[first_hop(in)][AA_RANK_PRIMARY] = true;
		return;
	}

	for (role = AA_ROLE_OUTBOUND; role < AA_ROLE_COUNT; role++) {

		if (!is_axis(in->scenario, role))
			continue;

		/* the primary is probed in the background while it is down */
		out->flow[role][AA_RANK_PRIMARY] = true;
		out->flow[role][AA_RANK_BACKUP]  =
			want_backup_flow(in, role, out->use[role]);
	}
}


/**
 * Tell which role's servers decide for a role
 *
 * The outbound proxy decides for all where a backup of it is configured,
 * otherwise each role decides for itself (guide 41-001343, page 4-60).  A
 * role moves only if it has a backup, whoever decides for it.
 *
 * @param scenario  Which backups are configured
 * @param role      Role that is asked for
 *
 * @return The deciding role
 */
enum aa_role aa_policy_axis(enum aa_scenario scenario, enum aa_role role)
{
	switch (scenario) {

	case AA_SCENARIO_ALL:
	case AA_SCENARIO_OUTBOUND:
		return AA_ROLE_OUTBOUND;

	default:
		return role;
	}
}


/**
 * Get the name of a server role, as in the state document
 *
 * @param role  Server role
 *
 * @return Name, "?" for a value out of range
 */
const char *aa_role_name(enum aa_role role)
{
	switch (role) {

	case AA_ROLE_OUTBOUND:  return "outbound_proxy";
	case AA_ROLE_PROXY:     return "proxy";
	case AA_ROLE_REGISTRAR: return "registrar";
	default:                return "?";
	}
}


/**
 * Get the name of a rank, as in the state document
 *
 * @param rank  Rank
 *
 * @return Name, "?" for a value out of range
 */
const char *aa_rank_name(enum aa_rank rank)
{
	switch (rank) {

	case AA_RANK_NONE:    return "none";
	case AA_RANK_PRIMARY: return "primary";
	case AA_RANK_BACKUP:  return "backup";
	default:              return "?";
	}
}


/**
 * Get the name of a scenario, as in the state document
 *
 * @param scenario  Scenario
 *
 * @return Name, "?" for a value out of range
 */
const char *aa_scenario_name(enum aa_scenario scenario)
{
	switch (scenario) {

	case AA_SCENARIO_NONE:            return "none";
	case AA_SCENARIO_PROXY_REGISTRAR: return "proxy-registrar";
	case AA_SCENARIO_ALL:             return "all";
	case AA_SCENARIO_OUTBOUND:        return "outbound-proxy";
	default:                          return "?";
	}
}


/**
 * Get the name of a mode, as in the state document
 *
 * @param mode  Who chooses the server
 *
 * @return Name, "?" for a value out of range
 */
const char *aa_mode_name(enum aa_mode mode)
{
	switch (mode) {

	case AA_MODE_AUTO:    return "auto";
	case AA_MODE_PRIMARY: return "primary";
	case AA_MODE_BACKUP:  return "backup";
	default:              return "?";
	}
}


/**
 * Get the name of a failback policy, as `sip failback policy` takes it
 *
 * @param failback  Failback policy
 *
 * @return Name, "?" for a value out of range
 */
const char *aa_failback_name(enum aa_failback failback)
{
	switch (failback) {

	case AA_FAILBACK_IDLE:   return "idle";
	case AA_FAILBACK_AUTO:   return "auto";
	case AA_FAILBACK_MANUAL: return "manual";
	default:                 return "?";
	}
}


/**
 * Get the name of an availability, for logs and the decision table
 *
 * @param avail  What is known of a server
 *
 * @return Name, "?" for a value out of range
 */
const char *aa_avail_name(enum aa_avail avail)
{
	switch (avail) {

	case AA_AVAIL_DOWN:    return "down";
	case AA_AVAIL_UNKNOWN: return "unknown";
	case AA_AVAIL_UP:      return "up";
	case AA_AVAIL_GOOD:    return "good";
	default:               return "?";
	}
}


/**
 * Say why a server was chosen, as the end of a sentence
 *
 * @param why  Reason of the decision
 *
 * @return Text, "?" for a value out of range
 */
const char *aa_why_text(enum aa_why why)
{
	switch (why) {

	case AA_WHY_NO_BACKUP:    return "there is no backup";
	case AA_WHY_FIRST:        return "the primary comes first";
	case AA_WHY_HELD:         return "held there by command";
	case AA_WHY_HELD_DOWN:    return "held by command where nothing answers:"
					 " it goes there when that does";
	case AA_WHY_PRIMARY_DOWN: return "the primary is down";
	case AA_WHY_ALL_DOWN:     return "none is left: both are tried";
	case AA_WHY_HOME:         return "the primary is good again";
	case AA_WHY_BACKUP_DOWN:  return "the backup is down, the primary"
					 " answers";
	case AA_WHY_UNTRIED:      return "the primary has not answered yet";
	case AA_WHY_UNPROVEN:     return "the primary is not proven yet";
	case AA_WHY_CALL:         return "not during a call";
	case AA_WHY_MANUAL:       return "going home takes a command";
	default:                  return "?";
	}
}
