/**
 * @file explain.c  Why a line is where it is, and what it would do
 *
 * The policy is asked with what is known now, and with one thing changed.
 * Nothing is sent, and nothing is decided.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <re.h>
#include "aastra_baresip.h"
#include "compat.h"
#include "flow.h"
#include "account.h"
#include "line.h"
#include "table.h"
#include "explain.h"


static const char *role_words(enum aa_role role)
{
	switch (role) {

	case AA_ROLE_OUTBOUND: return "outbound proxy";
	case AA_ROLE_PROXY:    return "proxy";
	default:               return "registrar";
	}
}


static const char *avail_words(enum aa_avail avail)
{
	switch (avail) {

	case AA_AVAIL_DOWN:    return "is down";
	case AA_AVAIL_UNKNOWN: return "has not answered yet";
	case AA_AVAIL_UP:      return "answers, but not for long enough yet";
	default:               return "answers";
	}
}


static const char *axis_words(enum aa_scenario scenario)
{
	switch (scenario) {

	case AA_SCENARIO_PROXY_REGISTRAR:
		return "proxy and registrar are chosen apart, each by its own"
			" servers";

	case AA_SCENARIO_ALL:
		return "all servers move together, by the outbound proxy";

	case AA_SCENARIO_OUTBOUND:
		return "the route alone moves, by the outbound proxy";

	default:
		return "there is no backup: nothing to move to";
	}
}


/* ---- why it is where it is ---------------------------------------------- */


static int print_place(struct re_printf *pf, const struct aa_line *line)
{
	const uint64_t age = aa_now_ms() - line->since;
	int err;

	err = re_hprintf(pf, "line %u  %s\n", line->cfg.line,
			 aa_line_aor(line));

	if (!line->cur)
		err |= re_hprintf(pf, "is registered nowhere yet");
	else if (aa_line_registered(line))
		err |= re_hprintf(pf, "is registered on the %s, for %H",
				  aa_line_use_name(line, line->use),
				  aa_table_duration, &age);
	else
		err |= re_hprintf(pf, "is NOT REGISTERED (last on the %s)%s%s",
				  aa_line_use_name(line, line->use),
				  str_isset(aa_line_reason(line)) ? ": " : "",
				  aa_line_reason(line));

	if (line->second)
		err |= re_hprintf(pf, aa_line_registered_at(line,
							    line->second->flow)
				  ? ", and besides on the %s" :
				  ", but not yet besides on the %s",
				  aa_line_use_name(line, line->second->use));

	err |= re_hprintf(pf, "\nscenario %s: %s\n",
			  aa_scenario_name(line->cfg.scenario),
			  axis_words(line->cfg.scenario));

	return err;
}


static int print_server(struct re_printf *pf, const struct aa_line *line,
			const struct aa_policy_in *in, enum aa_role role,
			enum aa_rank rank)
{
	const struct aa_flow *flow = aa_line_flow(line, role, rank);
	const char *reason = aa_flow_reason(flow);
	const struct aa_penalty *pen = &line->pen[role][rank];
	const uint64_t now = aa_now_ms();
	uint64_t retry = aa_flow_retry_in(flow);
	int err;

	if (pen->until > now) {
		retry = MAX(retry, pen->until - now);
		if (!str_isset(reason))
			reason = pen->reason;
	}

	err = re_hprintf(pf, "  %s %s %H %s", aa_rank_name(rank),
			 role_words(role), aa_table_uri, aa_flow_name(flow),
			 aa_flow_state(flow) == AA_FLOW_IDLE &&
			 in->avail[role][rank] == AA_AVAIL_UNKNOWN ?
			 "is left in peace" :
			 avail_words(in->avail[role][rank]));
	if (in->avail[role][rank] == AA_AVAIL_DOWN) {
		retry += 999;
		err |= re_hprintf(pf, " (%s; next try in %H)", reason,
				  aa_table_duration, &retry);
	}

	return err | re_hprintf(pf, "\n");
}


static int print_why(struct re_printf *pf, const struct aa_line *line,
		     const struct aa_policy_out *out)
{
	int role, err = 0;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		const bool own = aa_policy_axis(line->cfg.scenario,
						(enum aa_role)role) ==
			(enum aa_role)role;

		if (!own || !aa_line_flow(line, (enum aa_role)role,
					  AA_RANK_PRIMARY))
			continue;

		err |= re_hprintf(pf, "  so %s: %s, because %s\n",
				  role_words((enum aa_role)role),
				  aa_rank_name(out->use[role]),
				  aa_why_text(out->why[role]));
	}

	if (line->cur && 0 != memcmp(out->use, line->use, sizeof(line->use)))
		err |= re_hprintf(pf, "  on its way to the %s\n",
				  aa_line_use_name(line, out->use));

	return err;
}


/* The entry of the history that says how it came there */
static int print_cause(struct re_printf *pf, const struct aa_line *line)
{
	const struct aa_journal_entry *e = NULL, *cause = NULL;
	const uint64_t now = aa_wall_ms();
	uint64_t age;

	while ((e = aa_journal_next(line->phone->jnl, line->cfg.line, e))) {

		if (e->event == AA_JOURNAL_FAILOVER ||
		    e->event == AA_JOURNAL_FAILBACK ||
		    e->event == AA_JOURNAL_FORCED)
			cause = e;
	}

	if (!cause)
		return re_hprintf(pf, "  it has not moved as far as the"
				  " history goes\n");

	/* the clock may have been put back since, or not be set yet */
	age = now > cause->time ? now - cause->time : 0;

	return re_hprintf(pf, "  latest: %s to %s %H ago, %u ms%s%s%s%s%s\n",
			  aa_journal_event_name(cause->event), cause->to,
			  aa_table_duration, &age, cause->took,
			  str_isset(cause->reason) ? ": " : "", cause->reason,
			  str_isset(cause->by) ? " (" : "", cause->by,
			  str_isset(cause->by) ? ")" : "");
}


/* ---- what it would do ---------------------------------------------------- */


/* One server is dead: everything that is the same server, or behind it */
static void kill(struct aa_policy_in *in, const struct aa_line *line,
		 enum aa_role role, enum aa_rank rank)
{
	const struct aa_flow *dead = aa_line_flow(line, role, rank);
	int i, j;

	for (i=0; i<AA_ROLE_COUNT; i++) {
		for (j=AA_RANK_PRIMARY; j<AA_RANK_COUNT; j++) {
			const struct aa_flow *flow =
				aa_line_flow(line, (enum aa_role)i,
					     (enum aa_rank)j);

			if (flow && (flow == dead ||
				     (aa_flow_behind(flow) &&
				      role == AA_ROLE_OUTBOUND)))
				in->avail[i][j] = AA_AVAIL_DOWN;
		}
	}
}


static int print_outcome(struct re_printf *pf, const struct aa_line *line,
			 const struct aa_policy_in *in, enum aa_role role)
{
	struct aa_policy_out out;
	int err;

	aa_policy_decide(&out, in);

	if (0 != memcmp(out.use, line->use, sizeof(line->use)))
		err = re_hprintf(pf, "moves to the %s",
				 aa_line_use_name(line, out.use));
	else
		err = re_hprintf(pf, "stays on the %s",
				 aa_line_use_name(line, line->use));

	return err | re_hprintf(pf, ": %s\n",
				aa_why_text(out.why[role]));
}


/* How long it would take to notice, at most */
static int print_notice(struct re_printf *pf, const struct aa_line *line)
{
	const uint64_t ms = (uint64_t)line->cfg.keepalive_timer * 1000 +
		line->cfg.transaction_timer;

	if (!line->cfg.outbound)
		return re_hprintf(pf, "  seen with the next request, %u ms"
				  " after it\n", line->cfg.transaction_timer);

	if (line->tp == SIP_TRANSP_UDP)
		return re_hprintf(pf, "  seen within %llu.%llu s\n",
				  ms / 1000, ms / 100 % 10);

	return re_hprintf(pf, "  seen at once where its connection breaks,"
			  " within %llu.%llu s where it is silent\n",
			  ms / 1000, ms / 100 % 10);
}


static int print_what_ifs(struct re_printf *pf, const struct aa_line *line,
			  const struct aa_policy_in *now)
{
	int role, rank, alive = 0, err;

	err  = re_hprintf(pf, "if a server died now\n");
	err |= print_notice(pf, line);

	for (role=0; role<AA_ROLE_COUNT; role++) {
		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++) {
			struct aa_policy_in in = *now;

			if (!aa_line_flow(line, (enum aa_role)role,
					  (enum aa_rank)rank) ||
			    now->avail[role][rank] == AA_AVAIL_DOWN)
				continue;

			++alive;
			kill(&in, line, (enum aa_role)role,
			     (enum aa_rank)rank);
			err |= re_hprintf(pf, "  %s %s: ",
					  aa_rank_name((enum aa_rank)rank),
					  role_words((enum aa_role)role));
			err |= print_outcome(pf, line, &in,
					     (enum aa_role)role);
		}
	}

	if (!alive)
		err |= re_hprintf(pf, "  none is left that could\n");

	return err;
}


static int print_revivals(struct re_printf *pf, const struct aa_line *line,
			  const struct aa_policy_in *now)
{
	bool head = false;
	int role, rank, err = 0;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++) {
			struct aa_policy_in in = *now;

			if (!aa_line_flow(line, (enum aa_role)role,
					  (enum aa_rank)rank) ||
			    now->avail[role][rank] != AA_AVAIL_DOWN)
				continue;

			if (!head)
				err |= re_hprintf(pf, "if one came back\n");
			head = true;
			in.avail[role][rank] = AA_AVAIL_GOOD;
			err |= re_hprintf(pf, "  %s %s: ",
					  aa_rank_name((enum aa_rank)rank),
					  role_words((enum aa_role)role));
			err |= print_outcome(pf, line, &in,
					     (enum aa_role)role);
		}
	}

	return err;
}


/* What stands between a primary that answers and the way home */
static int print_home(struct re_printf *pf, const struct aa_line *line)
{
	const uint64_t wait = (uint64_t)line->cfg.failback_delay * 1000 +
		aa_line_hold_down(line) + 999;
	int err;

	if (line->cfg.scenario == AA_SCENARIO_NONE)
		return 0;

	err = re_hprintf(pf, "going home: policy %s",
			 aa_failback_name(line->cfg.failback));
	if (line->cfg.failback_successes > 1)
		err |= re_hprintf(pf, ", after %u good answers",
				  line->cfg.failback_successes);
	if (wait > 999)
		err |= re_hprintf(pf, ", after %H of good answers%s",
				  aa_table_duration, &wait,
				  aa_line_hold_down(line) ?
				  " (the line has flapped)" : "");
	if (line->mode != AA_MODE_AUTO)
		err |= re_hprintf(pf, ", but held on the %s by command",
				  aa_mode_name(line->mode));
	if (aa_account_calls(line->acc))
		err |= re_hprintf(pf, "; the line has a call");

	return err | re_hprintf(pf, "\n");
}


/**
 * Print why a line is where it is, and what it would do if a server died or
 * came back.  The policy is asked; nothing is done.
 *
 * @param pf   Print function
 * @param line Line
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_explain_print(struct re_printf *pf, const struct aa_line *line)
{
	struct aa_policy_in in;
	struct aa_policy_out out;
	int role, rank, err;

	if (!line)
		return EINVAL;

	aa_line_policy_in(&in, line);
	aa_policy_decide(&out, &in);

	err = print_place(pf, line);
	for (role=0; role<AA_ROLE_COUNT; role++) {
		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++) {
			if (aa_line_flow(line, (enum aa_role)role,
					 (enum aa_rank)rank))
				err |= print_server(pf, line, &in,
						    (enum aa_role)role,
						    (enum aa_rank)rank);
		}
	}

	err |= print_why(pf, line, &out);
	err |= print_cause(pf, line);
	err |= print_home(pf, line);

	/* before the first registration there is nothing to move from */
	if (line->cur) {
		err |= print_what_ifs(pf, line, &in);
		err |= print_revivals(pf, line, &in);
	}

	return err;
}
