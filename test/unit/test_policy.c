/**
 * @file test_policy.c  Every case of the failover policy
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * Walks all that a decision can depend on, and holds each answer against
 * what must be true of it.  The properties are stated on their own; none of
 * them is the rule that the policy is made of, turned round.
 */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "policy.h"


#define P AA_RANK_PRIMARY
#define B AA_RANK_BACKUP

#define DOWN    AA_AVAIL_DOWN
#define UNKNOWN AA_AVAIL_UNKNOWN
#define UP      AA_AVAIL_UP
#define GOOD    AA_AVAIL_GOOD


/* The two roles that a scenario can judge apart, and the rest */
struct axes {
	enum aa_role v[AA_ROLE_COUNT];
	size_t n;
};

static unsigned long n_case;


static void say_case(const struct aa_policy_in *in,
		     const struct aa_policy_out *out)
{
	int role;

	print_error("scenario %s, mode %s, failback %s, outbound %d,"
		    " calls %d, standby %u\n",
		    aa_scenario_name(in->scenario), aa_mode_name(in->mode),
		    aa_failback_name(in->failback), in->outbound,
		    in->calls, in->standby);

	for (role = 0; role < AA_ROLE_COUNT; role++) {

		print_error("  %-14s primary %s (%s), backup %s (%s),"
			    " in force %s -> use %s, flows %d %d\n",
			    aa_role_name((enum aa_role)role),
			    aa_avail_name(in->avail[role][P]),
			    in->configured[role][P] ? "set" : "unset",
			    aa_avail_name(in->avail[role][B]),
			    in->configured[role][B] ? "set" : "unset",
			    aa_rank_name(in->current[role]),
			    aa_rank_name(out->use[role]),
			    out->flow[role][P], out->flow[role][B]);
	}
}


#define HOLDS(what, cond)						\
	do {								\
		if (!(cond)) {						\
			say_case(in, out);				\
			fail_msg("broken: %s", (what));			\
		}							\
	} while (0)


static struct axes axes_of(enum aa_scenario scenario)
{
	struct axes a = {.n = 0};

	if (scenario == AA_SCENARIO_PROXY_REGISTRAR) {
		a.v[a.n++] = AA_ROLE_PROXY;
		a.v[a.n++] = AA_ROLE_REGISTRAR;
	}
	else if (scenario != AA_SCENARIO_NONE) {
		a.v[a.n++] = AA_ROLE_OUTBOUND;
	}

	return a;
}


static bool in_axes(const struct axes *a, int role)
{
	size_t i;

	for (i = 0; i < a->n; i++) {
		if ((int)a->v[i] == role)
			return true;
	}

	return false;
}


/* Where roles move apart, one does not go to a server that is dead */
static bool stays_apart(const struct aa_policy_in *in, int role,
			enum aa_rank held)
{
	return in->scenario == AA_SCENARIO_PROXY_REGISTRAR &&
		in->current[role] != AA_RANK_NONE &&
		in->current[role] != held && in->avail[role][held] == DOWN;
}


/* What each role may be told to use at all */
static void check_use(const struct aa_policy_in *in,
		      const struct aa_policy_out *out)
{
	int role;

	for (role = 0; role < AA_ROLE_COUNT; role++) {

		const enum aa_rank use = out->use[role];

		HOLDS("the answer is primary or backup",
		      use == P || use == B);

		HOLDS("a backup that is not configured is never used",
		      use == P || in->configured[role][B]);

		HOLDS("held on the primary, everything is there, but what"
		      " is elsewhere and would go to a dead server",
		      in->mode != AA_MODE_PRIMARY || use == P ||
		      stays_apart(in, role, P));

		switch (in->scenario) {

		case AA_SCENARIO_NONE:
			HOLDS("without a backup nothing moves", use == P);
			break;

		case AA_SCENARIO_OUTBOUND:
			HOLDS("a backup outbound proxy alone leaves AOR and"
			      " registrar where they are",
			      role == AA_ROLE_OUTBOUND || use == P);
			break;

		case AA_SCENARIO_PROXY_REGISTRAR:
			HOLDS("an outbound proxy without a backup stays",
			      role != AA_ROLE_OUTBOUND || use == P);
			break;

		default:
			HOLDS("what has a backup moves together",
			      !in->configured[role][B] ||
			      use == out->use[AA_ROLE_OUTBOUND]);
			break;
		}
	}
}


/* What becomes of one axis that has a backup to go to */
static void check_axis(const struct aa_policy_in *in,
		       const struct aa_policy_out *out, enum aa_role axis)
{
	const enum aa_avail *avail = in->avail[axis];
	const enum aa_rank cur = in->current[axis];
	const enum aa_rank use = out->use[axis];
	const enum aa_rank other = use == P ? B : P;
	const bool may_return =
		(in->failback == AA_FAILBACK_AUTO) ||
		(in->failback == AA_FAILBACK_IDLE && !in->calls);

	HOLDS("held on the backup, the line is there, but what is elsewhere"
	      " and would go to a dead server",
	      in->mode != AA_MODE_BACKUP ||
	      use == (stays_apart(in, (int)axis, B) ? cur : B));

	if (in->mode != AA_MODE_AUTO)
		return;

	HOLDS("no dead server while the other is known to answer",
	      avail[use] != DOWN || avail[other] < UP);

	HOLDS("no dead server while an untried one is left, but for a backup"
	      " in force",
	      avail[use] != DOWN || avail[other] == DOWN ||
	      (use == B && cur == B));

	if (cur == AA_RANK_NONE) {
		HOLDS("the first choice is the primary, if it can be",
		      use == P || avail[P] == DOWN);
	}
	else if (cur != use) {
		HOLDS("no move to a dead server",
		      avail[use] != DOWN);
	}

	if (cur == P && use == B) {
		HOLDS("the primary is left only when it is down",
		      avail[P] == DOWN);
	}

	if (cur == B && use == P) {
		HOLDS("no return to a primary that has not answered",
		      avail[P] >= UP);

		HOLDS("a backup that works is left only for a good primary",
		      avail[B] == DOWN ||
		      avail[P] == GOOD);

		HOLDS("a backup that works is left only if the failback"
		      " policy agrees",
		      avail[B] == DOWN || may_return);
	}

	if (cur == B && avail[P] == GOOD && may_return) {
		HOLDS("a good primary is returned to", use == P);
	}

	if (cur != AA_RANK_NONE && avail[P] == DOWN &&
	    avail[B] == DOWN) {
		HOLDS("with both dead the line stays", use == cur);
	}
}


static void check_flows(const struct aa_policy_in *in,
			const struct aa_policy_out *out)
{
	const struct axes axes = axes_of(in->scenario);
	int role, n = 0;

	for (role = 0; role < AA_ROLE_COUNT; role++) {

		const bool needed =
			out->use[role] == B ||
			in->current[role] == B ||
			in->mode == AA_MODE_BACKUP ||
			in->avail[role][P] == DOWN;

		n += out->flow[role][P] + out->flow[role][B];

		HOLDS("there is no flow to nowhere",
		      !out->flow[role][AA_RANK_NONE]);

		HOLDS("without outbound support there are no flows",
		      in->outbound ||
		      (!out->flow[role][P] && !out->flow[role][B]));

		HOLDS("no flow to a backup that is not configured",
		      !out->flow[role][B] || in->configured[role][B]);

		if (!in->outbound || in->scenario == AA_SCENARIO_NONE)
			continue;

		if (!in_axes(&axes, role)) {
			HOLDS("what decides nothing has no flow of its own",
			      !out->flow[role][P] && !out->flow[role][B]);
			continue;
		}

		HOLDS("the server in use has a flow",
		      out->flow[role][out->use[role]]);

		HOLDS("the primary is always watched", out->flow[role][P]);

		if (!in->configured[role][B])
			continue;

		HOLDS("what is in force is kept until it is left",
		      in->current[role] == AA_RANK_NONE ||
		      out->flow[role][in->current[role]]);

		HOLDS("the backup is touched only when needed, or wanted"
		      " beforehand",
		      out->flow[role][B] == (needed || in->standby > 0));
	}

	if (in->scenario == AA_SCENARIO_NONE && in->outbound) {

		HOLDS("without a backup there is one flow", n == 1);

		HOLDS("an outbound proxy is the first hop",
		      out->flow[AA_ROLE_OUTBOUND][P] ==
		      in->configured[AA_ROLE_OUTBOUND][P]);

		HOLDS("the registrar comes before the proxy",
		      !out->flow[AA_ROLE_PROXY][P] ||
		      !in->configured[AA_ROLE_REGISTRAR][P]);

		HOLDS("the proxy stands for all that is not configured",
		      !out->flow[AA_ROLE_REGISTRAR][P] ||
		      in->configured[AA_ROLE_REGISTRAR][P]);
	}
}


static void check_second(const struct aa_policy_in *in,
			 const struct aa_policy_out *out)
{
	const enum aa_role axis =
		in->scenario == AA_SCENARIO_PROXY_REGISTRAR ?
		AA_ROLE_REGISTRAR : AA_ROLE_OUTBOUND;
	int role;

	HOLDS("a line is registered twice where that is wanted, and there is"
	      " a backup to go to",
	      out->standby == (in->standby == 2 &&
			       in->scenario != AA_SCENARIO_NONE &&
			       in->configured[axis][B] &&
			       out->use[axis] == P));

	for (role = 0; role < AA_ROLE_COUNT; role++) {

		if (!out->standby) {
			HOLDS("registered once is once",
			      out->second[role] == AA_RANK_NONE);
			continue;
		}

		HOLDS("never a second path over a backup that is not"
		      " configured",
		      out->second[role] != B || in->configured[role][B]);

		HOLDS("the second path has a server of each role",
		      out->second[role] != AA_RANK_NONE);
	}

	if (!out->standby)
		return;

	HOLDS("the second path goes another way",
	      out->second[axis] == B);

	HOLDS("a proxy that is chosen apart stays as it is",
	      in->scenario != AA_SCENARIO_PROXY_REGISTRAR ||
	      out->second[AA_ROLE_PROXY] == out->use[AA_ROLE_PROXY]);

	HOLDS("the second path has a flow",
	      !in->outbound || out->flow[axis][B]);

	/* it is the way that the line takes when the primary dies */
	if (in->mode == AA_MODE_AUTO && in->avail[axis][B] != DOWN) {
		struct aa_policy_in q = *in;
		struct aa_policy_out r;

		memcpy(q.current, out->use, sizeof(q.current));
		q.avail[axis][P] = DOWN;
		aa_policy_decide(&r, &q);
		HOLDS("the second path is the one that the line would take",
		      0 == memcmp(r.use, out->second, sizeof(r.use)));
	}
}


static bool same_use(const struct aa_policy_out *a,
		     const struct aa_policy_out *b)
{
	return 0 == memcmp(a->use, b->use, sizeof(a->use));
}


/* The same question put differently */
static void check_relations(const struct aa_policy_in *in,
			    const struct aa_policy_out *out)
{
	const struct axes axes = axes_of(in->scenario);
	struct aa_policy_in q;
	struct aa_policy_out r;
	size_t i;
	int role;

	/* applying the decision does not change it */
	q = *in;
	memcpy(q.current, out->use, sizeof(q.current));
	aa_policy_decide(&r, &q);
	HOLDS("the decision stands once it is applied", same_use(out, &r));

	for (role = 0; role < AA_ROLE_COUNT; role++) {
		HOLDS("applying the decision opens no further flow",
		      (out->flow[role][P] || !r.flow[role][P]) &&
		      (out->flow[role][B] || !r.flow[role][B]));
	}

	/* flows do not decide */
	q = *in;
	q.outbound = !in->outbound;
	q.standby  = (in->standby + 1) % 3;
	aa_policy_decide(&r, &q);
	HOLDS("outbound support and standby do not choose servers",
	      same_use(out, &r));

	/* calls matter to one failback policy */
	if (in->failback != AA_FAILBACK_IDLE) {
		q = *in;
		q.calls = !in->calls;
		aa_policy_decide(&r, &q);
		HOLDS("calls matter under the idle policy alone",
		      same_use(out, &r));
	}

	for (i = 0; i < axes.n; i++) {

		const enum aa_role axis = axes.v[i];
		const enum aa_rank use = out->use[axis];
		const enum aa_rank other = use == P ? B : P;
		size_t k;

		/* good news of the server in use, or bad news of the other,
		   is no reason to move */
		q = *in;
		if (q.avail[axis][use] < GOOD)
			++q.avail[axis][use];
		aa_policy_decide(&r, &q);
		HOLDS("good news of the chosen server keeps it",
		      r.use[axis] == use);

		q = *in;
		if (q.avail[axis][other] > DOWN)
			--q.avail[axis][other];
		aa_policy_decide(&r, &q);
		HOLDS("bad news of the other server keeps the chosen one",
		      r.use[axis] == use);

		/* axes do not look at each other */
		q = *in;
		for (k = 0; k < axes.n; k++) {
			if (k == i)
				continue;

			q.current[axes.v[k]]  = AA_RANK_NONE;
			q.avail[axes.v[k]][P] = DOWN;
			q.avail[axes.v[k]][B] = GOOD;
		}
		aa_policy_decide(&r, &q);
		HOLDS("proxy and registrar are chosen apart",
		      r.use[axis] == use);
	}
}


/* Fill in what must not matter: everything outside the axes */
static void fill_rest(struct aa_policy_in *in, const struct axes *axes,
		      unsigned variant)
{
	static const enum aa_avail primary[] = {
		GOOD, DOWN, UNKNOWN
	};
	static const enum aa_avail backup[] = {
		DOWN, GOOD, UP
	};
	static const enum aa_rank current[] = {
		AA_RANK_PRIMARY, AA_RANK_BACKUP, AA_RANK_NONE
	};
	int role;

	for (role = 0; role < AA_ROLE_COUNT; role++) {

		if (in_axes(axes, role))
			continue;

		in->avail[role][P] = primary[variant];
		in->avail[role][B] = backup[variant];
		in->current[role]  = current[variant];
	}
}


static void check_case(struct aa_policy_in *in)
{
	const struct axes axes = axes_of(in->scenario);
	struct aa_policy_out first, outv, *out = &outv;
	unsigned variant;
	size_t i;

	for (variant = 0; variant < 3; variant++) {

		fill_rest(in, &axes, variant);

		/* whatever the caller's memory held */
		memset(out, variant ? 0xff : 0, sizeof(*out));
		aa_policy_decide(out, in);
		++n_case;

		if (variant == 0) {
			first = *out;
		}
		else {
			HOLDS("only the deciding servers decide",
			      same_use(out, &first) &&
			      0 == memcmp(out->flow, first.flow,
					  sizeof(out->flow)));
		}

		check_use(in, out);
		check_flows(in, out);
		check_second(in, out);
		check_relations(in, out);

		for (i = 0; i < axes.n; i++) {
			if (in->configured[axes.v[i]][B])
				check_axis(in, out, axes.v[i]);
		}
	}
}


/* All that is known of the servers of one axis, then of the next */
static void walk_axis(struct aa_policy_in *in, const struct axes *axes,
		      size_t i)
{
	int primary, backup, current;
	enum aa_role role;

	if (i == axes->n) {
		check_case(in);
		return;
	}

	role = axes->v[i];

	for (primary = 0; primary < AA_AVAIL_COUNT; primary++)
	for (backup  = 0; backup  < AA_AVAIL_COUNT; backup++)
	for (current = 0; current < AA_RANK_COUNT;  current++) {

		in->avail[role][P] = (enum aa_avail)primary;
		in->avail[role][B] = (enum aa_avail)backup;
		in->current[role]  = (enum aa_rank)current;

		walk_axis(in, axes, i + 1);
	}
}


static void walk_settings(struct aa_policy_in *in)
{
	const struct axes axes = axes_of(in->scenario);
	int mode, failback, outbound, calls;
	unsigned standby;

	for (mode     = 0; mode     < AA_MODE_COUNT;     mode++)
	for (failback = 0; failback < AA_FAILBACK_COUNT; failback++)
	for (outbound = 0; outbound < 2;                 outbound++)
	for (calls    = 0; calls    < 2;                 calls++)
	for (standby  = 0; standby  < 3;                 standby++) {

		in->mode     = (enum aa_mode)mode;
		in->failback = (enum aa_failback)failback;
		in->outbound = outbound;
		in->calls    = calls;
		in->standby  = standby;

		walk_axis(in, &axes, 0);
	}
}


static void test_walk(void **state)
{
	unsigned primaries, backups;
	int role;
	(void)state;

	n_case = 0;

	for (primaries = 0; primaries < 8; primaries++)
	for (backups   = 0; backups   < 8; backups++) {

		struct aa_policy_in in;

		memset(&in, 0, sizeof(in));

		for (role = 0; role < AA_ROLE_COUNT; role++) {
			in.configured[role][P] = (primaries >> role) & 1;
			in.configured[role][B] = (backups   >> role) & 1;
		}

		in.scenario = aa_policy_scenario(
			in.configured[AA_ROLE_OUTBOUND][B],
			in.configured[AA_ROLE_PROXY][B],
			in.configured[AA_ROLE_REGISTRAR][B]);

		walk_settings(&in);
	}

	print_message("policy: %lu cases decided and checked\n", n_case);

	assert_true(n_case > 1000000);
}


/* A scenario and backups that contradict each other do no harm */
static void test_contradiction(void **state)
{
	/* by outbound proxy, proxy, registrar */
	static const bool can_move[AA_SCENARIO_COUNT][AA_ROLE_COUNT] = {
		[AA_SCENARIO_NONE]            = {false, false, false},
		[AA_SCENARIO_PROXY_REGISTRAR] = {false, true,  true},
		[AA_SCENARIO_ALL]             = {true,  true,  true},
		[AA_SCENARIO_OUTBOUND]        = {true,  false, false},
	};
	unsigned long n = 0;
	int scenario, mode, current, primary, backup, role;
	unsigned backups;
	(void)state;

	for (scenario = 0; scenario < AA_SCENARIO_COUNT; scenario++)
	for (mode     = 0; mode     < AA_MODE_COUNT;     mode++)
	for (current  = 0; current  < AA_RANK_COUNT;     current++)
	for (primary  = 0; primary  < AA_AVAIL_COUNT;    primary++)
	for (backup   = 0; backup   < AA_AVAIL_COUNT;    backup++)
	for (backups  = 0; backups  < 8;                 backups++) {

		struct aa_policy_in v = {
			.scenario = (enum aa_scenario)scenario,
			.mode     = (enum aa_mode)mode,
			.outbound = true,
			.standby  = 2,
		}, *in = &v;
		struct aa_policy_out outv, *out = &outv;

		for (role = 0; role < AA_ROLE_COUNT; role++) {
			v.configured[role][B] = (backups >> role) & 1;
			v.avail[role][P] = (enum aa_avail)primary;
			v.avail[role][B] = (enum aa_avail)backup;
			v.current[role]  = (enum aa_rank)current;
		}

		memset(out, 0xff, sizeof(*out));
		aa_policy_decide(out, in);
		++n;

		for (role = 0; role < AA_ROLE_COUNT; role++) {
			HOLDS("never an unconfigured backup",
			      in->configured[role][B] ||
			      (out->use[role] == P && !out->flow[role][B]));

			HOLDS("who cannot move in a scenario does not",
			      out->use[role] == P || can_move[scenario][role]);
		}

		HOLDS("nobody follows an outbound proxy without a backup",
		      in->scenario != AA_SCENARIO_ALL ||
		      in->configured[AA_ROLE_OUTBOUND][B] ||
		      (out->use[AA_ROLE_PROXY] == P &&
		       out->use[AA_ROLE_REGISTRAR] == P));
	}

	print_message("policy: %lu contradictory cases\n", n);
}


static void test_null(void **state)
{
	const struct aa_policy_in in = {.mode = AA_MODE_AUTO};
	struct aa_policy_out out, same;
	(void)state;

	memset(&out, 0x5a, sizeof(out));
	memset(&same, 0x5a, sizeof(same));

	aa_policy_decide(NULL, NULL);
	aa_policy_decide(NULL, &in);
	aa_policy_decide(&out, NULL);

	assert_memory_equal(&out, &same, sizeof(out));
}


static void test_scenario(void **state)
{
	static const struct {
		bool outbound, proxy, registrar;
		enum aa_scenario scenario;
		const char *name;
	} v[] = {
		{0, 0, 0, AA_SCENARIO_NONE,            "none"},
		{0, 0, 1, AA_SCENARIO_PROXY_REGISTRAR, "proxy-registrar"},
		{0, 1, 0, AA_SCENARIO_PROXY_REGISTRAR, "proxy-registrar"},
		{0, 1, 1, AA_SCENARIO_PROXY_REGISTRAR, "proxy-registrar"},
		{1, 0, 0, AA_SCENARIO_OUTBOUND,        "outbound-proxy"},
		{1, 0, 1, AA_SCENARIO_ALL,             "all"},
		{1, 1, 0, AA_SCENARIO_ALL,             "all"},
		{1, 1, 1, AA_SCENARIO_ALL,             "all"},
	};
	size_t i;
	(void)state;

	for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {

		const enum aa_scenario s =
			aa_policy_scenario(v[i].outbound, v[i].proxy,
					   v[i].registrar);

		assert_int_equal(s, v[i].scenario);
		assert_string_equal(aa_scenario_name(s), v[i].name);
	}
}


static void test_axis(void **state)
{
	int scenario, role;
	(void)state;

	for (role = 0; role < AA_ROLE_COUNT; role++) {

		const enum aa_role r = (enum aa_role)role;

		assert_int_equal(aa_policy_axis(AA_SCENARIO_ALL, r),
				 AA_ROLE_OUTBOUND);
		assert_int_equal(aa_policy_axis(AA_SCENARIO_OUTBOUND, r),
				 AA_ROLE_OUTBOUND);
		assert_int_equal(aa_policy_axis(AA_SCENARIO_PROXY_REGISTRAR,
						r), r);
		assert_int_equal(aa_policy_axis(AA_SCENARIO_NONE, r), r);
	}

	/* who decides for another decides for itself */
	for (scenario = 0; scenario < AA_SCENARIO_COUNT; scenario++) {
		for (role = 0; role < AA_ROLE_COUNT; role++) {

			const enum aa_scenario s = (enum aa_scenario)scenario;
			const enum aa_role axis =
				aa_policy_axis(s, (enum aa_role)role);

			assert_int_equal(aa_policy_axis(s, axis), axis);
		}
	}
}


/* The words of the state document, which scripts hold on to */
static void test_names(void **state)
{
	(void)state;

	assert_string_equal(aa_role_name(AA_ROLE_OUTBOUND), "outbound_proxy");
	assert_string_equal(aa_role_name(AA_ROLE_PROXY), "proxy");
	assert_string_equal(aa_role_name(AA_ROLE_REGISTRAR), "registrar");
	assert_string_equal(aa_role_name(AA_ROLE_COUNT), "?");

	assert_string_equal(aa_rank_name(AA_RANK_NONE), "none");
	assert_string_equal(aa_rank_name(AA_RANK_PRIMARY), "primary");
	assert_string_equal(aa_rank_name(AA_RANK_BACKUP), "backup");
	assert_string_equal(aa_rank_name(AA_RANK_COUNT), "?");

	assert_string_equal(aa_scenario_name(AA_SCENARIO_COUNT), "?");

	assert_string_equal(aa_mode_name(AA_MODE_AUTO), "auto");
	assert_string_equal(aa_mode_name(AA_MODE_PRIMARY), "primary");
	assert_string_equal(aa_mode_name(AA_MODE_BACKUP), "backup");
	assert_string_equal(aa_mode_name(AA_MODE_COUNT), "?");

	assert_string_equal(aa_failback_name(AA_FAILBACK_IDLE), "idle");
	assert_string_equal(aa_failback_name(AA_FAILBACK_AUTO), "auto");
	assert_string_equal(aa_failback_name(AA_FAILBACK_MANUAL), "manual");
	assert_string_equal(aa_failback_name(AA_FAILBACK_COUNT), "?");

	assert_string_equal(aa_avail_name(AA_AVAIL_DOWN), "down");
	assert_string_equal(aa_avail_name(AA_AVAIL_UNKNOWN), "unknown");
	assert_string_equal(aa_avail_name(AA_AVAIL_UP), "up");
	assert_string_equal(aa_avail_name(AA_AVAIL_GOOD), "good");
	assert_string_equal(aa_avail_name(AA_AVAIL_COUNT), "?");
}


/*
 * Stories from the guide, each step decided from what the last one left:
 * properties can all hold for a policy that does something else.
 */
struct step {
	enum aa_avail primary, backup;
	bool calls;
	enum aa_rank expect;
};

static void play(enum aa_failback failback, const struct step *stepv,
		 size_t stepc)
{
	struct aa_policy_in in = {
		.scenario = AA_SCENARIO_OUTBOUND,
		.failback = failback,
		.outbound = true,
		.configured[AA_ROLE_OUTBOUND] = {[P] = true, [B] = true},
	};
	size_t i;

	for (i = 0; i < stepc; i++) {

		struct aa_policy_out out;

		in.avail[AA_ROLE_OUTBOUND][P] = stepv[i].primary;
		in.avail[AA_ROLE_OUTBOUND][B] = stepv[i].backup;
		in.calls = stepv[i].calls;

		aa_policy_decide(&out, &in);

		if (out.use[AA_ROLE_OUTBOUND] != stepv[i].expect)
			fail_msg("step %zu: %s", i,
				 aa_rank_name(out.use[AA_ROLE_OUTBOUND]));

		memcpy(in.current, out.use, sizeof(in.current));
	}
}


static void test_stories(void **state)
{
	static const struct step outage[] = {
		{UNKNOWN, UNKNOWN, false, P},
		{GOOD,    UNKNOWN, false, P},
		{DOWN,    UNKNOWN, false, B},
		{DOWN,    GOOD,    false, B},
		{UNKNOWN, GOOD,    false, B},
		{UP,      GOOD,    false, B},
		{GOOD,    GOOD,    false, P},
	};
	static const struct step call[] = {
		{GOOD,    GOOD,    true,  P},
		{DOWN,    GOOD,    true,  B},
		{GOOD,    GOOD,    true,  B},
		{GOOD,    GOOD,    false, P},
	};
	static const struct step call_lost[] = {
		{DOWN,    GOOD,    true,  B},
		{UP,      GOOD,    true,  B},
		{UP,      DOWN,    true,  P},
	};
	static const struct step all_dead[] = {
		{GOOD,    GOOD,    false, P},
		{DOWN,    GOOD,    false, B},
		{DOWN,    DOWN,    false, B},
		{UNKNOWN, DOWN,    false, B},
		{UP,      DOWN,    false, P},
		{DOWN,    DOWN,    false, P},
		{DOWN,    UP,      false, B},
	};
	static const struct step manual[] = {
		{DOWN,    GOOD,    false, B},
		{GOOD,    GOOD,    false, B},
		{GOOD,    DOWN,    false, P},
	};
	static const struct step dead_at_start[] = {
		{DOWN,    UNKNOWN, false, B},
	};
	(void)state;

#define PLAY(failback, v) play((failback), (v), sizeof(v) / sizeof((v)[0]))

	PLAY(AA_FAILBACK_IDLE,   outage);
	PLAY(AA_FAILBACK_AUTO,   outage);
	PLAY(AA_FAILBACK_IDLE,   call);
	PLAY(AA_FAILBACK_IDLE,   call_lost);
	PLAY(AA_FAILBACK_AUTO,   all_dead);
	PLAY(AA_FAILBACK_MANUAL, manual);
	PLAY(AA_FAILBACK_IDLE,   dead_at_start);

#undef PLAY
}


/* Rows E1 and D1: the four answers to proxy and registrar, each up or down */
static void test_two_by_two(void **state)
{
	int proxy, registrar;
	(void)state;

	for (proxy = 0; proxy < 2; proxy++)
	for (registrar = 0; registrar < 2; registrar++) {

		struct aa_policy_in in = {
			.scenario = AA_SCENARIO_PROXY_REGISTRAR,
			.configured = {
				[AA_ROLE_PROXY]     = {0, true, true},
				[AA_ROLE_REGISTRAR] = {0, true, true},
			},
			.current = {P, P, P},
		};
		struct aa_policy_out out;

		in.avail[AA_ROLE_PROXY][P] =
			proxy ? GOOD : DOWN;
		in.avail[AA_ROLE_PROXY][B] = UP;
		in.avail[AA_ROLE_REGISTRAR][P] =
			registrar ? GOOD : DOWN;
		in.avail[AA_ROLE_REGISTRAR][B] = UP;

		aa_policy_decide(&out, &in);

		assert_int_equal(out.use[AA_ROLE_PROXY], proxy ? P : B);
		assert_int_equal(out.use[AA_ROLE_REGISTRAR],
				 registrar ? P : B);
	}
}


int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scenario),
		cmocka_unit_test(test_axis),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_stories),
		cmocka_unit_test(test_two_by_two),
		cmocka_unit_test(test_contradiction),
		cmocka_unit_test(test_null),
		cmocka_unit_test(test_walk),
	};

	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
