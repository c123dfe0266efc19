/**
 * @file gen_policy_table.c  The decision table, written by the policy itself
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * Prints docs/decision-table.md; with --write FILE writes it there, with
 * --check FILE compares it with what is there.
 */

#include <stdio.h>
#include <string.h>
#include "page.h"
#include "policy.h"


#define P AA_RANK_PRIMARY
#define B AA_RANK_BACKUP

#define ARRAY_SIZE(a) ((sizeof(a)) / (sizeof((a)[0])))

static const char *no_yes[] = {"no", "yes"};


/* A line with every server, in the scenario of the backups that it has */
static struct aa_policy_in line_with(bool outbound, bool proxy,
				     bool registrar)
{
	struct aa_policy_in in;
	int role;

	memset(&in, 0, sizeof(in));

	for (role = 0; role < AA_ROLE_COUNT; role++) {
		in.configured[role][P] = true;
		in.avail[role][P] = AA_AVAIL_GOOD;
		in.avail[role][B] = AA_AVAIL_GOOD;
		in.current[role]  = P;
	}

	in.configured[AA_ROLE_OUTBOUND][B]  = outbound;
	in.configured[AA_ROLE_PROXY][B]     = proxy;
	in.configured[AA_ROLE_REGISTRAR][B] = registrar;

	in.scenario = aa_policy_scenario(outbound, proxy, registrar);
	in.outbound = true;

	return in;
}


static void put_scenarios(void)
{
	unsigned backups;

	put("## Which row\n"
	    "\n"
	    "The backups that are configured make the scenario. The last"
	    " three columns say what\n"
	    "each role uses when everything that can move has moved, and"
	    " whose servers decide.\n"
	    "\n"
	    "| backup outbound proxy | backup proxy | backup registrar"
	    " | scenario | rows of the guide"
	    " | outbound proxy | proxy | registrar |\n"
	    "|---|---|---|---|---|---|---|---|\n");

	for (backups = 0; backups < 8; backups++) {

		static const char *rows[] = {"-", "E1, D1", "E2, D2",
					     "E3, D3"};
		struct aa_policy_in in = line_with(backups & 4, backups & 2,
						   backups & 1);
		struct aa_policy_out out;
		int role;

		in.mode = AA_MODE_BACKUP;
		aa_policy_decide(&out, &in);

		put("| %s | %s | %s | `%s` | %s |",
		    no_yes[!!(backups & 4)], no_yes[!!(backups & 2)],
		    no_yes[backups & 1], aa_scenario_name(in.scenario),
		    rows[in.scenario]);

		for (role = 0; role < AA_ROLE_COUNT; role++) {

			const enum aa_role r = (enum aa_role)role;

			if (out.use[role] == B)
				put(" backup, by `%s` |",
				    aa_role_name(aa_policy_axis(in.scenario,
								r)));
			else
				put(" primary |");
		}

		put("\n");
	}

	put("\n");
}


/*
 * One matrix of primary by backup.  The cases that it stands for must agree,
 * else the page would leave something out.
 */
static int put_matrix(enum aa_rank current, bool by_policy, bool may_return)
{
	int primary, backup, failback, calls;

	put("| primary \\ backup |");
	for (backup = 0; backup < AA_AVAIL_COUNT; backup++)
		put(" %s |", aa_avail_name((enum aa_avail)backup));
	put("\n|---|---|---|---|---|\n");

	for (primary = 0; primary < AA_AVAIL_COUNT; primary++) {

		put("| **%s** |", aa_avail_name((enum aa_avail)primary));

		for (backup = 0; backup < AA_AVAIL_COUNT; backup++) {

			enum aa_rank use = AA_RANK_NONE;

			for (failback = 0; failback < AA_FAILBACK_COUNT;
			     failback++)
			for (calls = 0; calls < 2; calls++) {

				struct aa_policy_in in =
					line_with(true, false, false);
				struct aa_policy_out out;
				const bool returns =
					failback == AA_FAILBACK_AUTO ||
					(failback == AA_FAILBACK_IDLE &&
					 !calls);

				if (by_policy && returns != may_return)
					continue;

				in.failback = (enum aa_failback)failback;
				in.calls    = calls;
				in.current[AA_ROLE_OUTBOUND] = current;
				in.avail[AA_ROLE_OUTBOUND][P] =
					(enum aa_avail)primary;
				in.avail[AA_ROLE_OUTBOUND][B] =
					(enum aa_avail)backup;

				aa_policy_decide(&out, &in);

				if (use != AA_RANK_NONE &&
				    use != out.use[AA_ROLE_OUTBOUND]) {
					(void)fprintf(stderr, "one cell,"
						      " two answers\n");
					return -1;
				}

				use = out.use[AA_ROLE_OUTBOUND];
			}

			put(use == current ? " %s |" : " **%s** |",
			    aa_rank_name(use));
		}

		put("\n");
	}

	put("\n");

	return 0;
}


static int put_choice(void)
{
	int err = 0;

	put("## Which server\n"
	    "\n"
	    "One primary and one backup stand against each other: those of"
	    " the outbound proxy, or\n"
	    "those of the proxy, and apart from them those of the registrar."
	    " What is known of a server\n"
	    "is one of\n"
	    "\n"
	    "- `down`: it failed, and waits for its next try;\n"
	    "- `unknown`: not tried yet, or being tried;\n"
	    "- `up`: it answers, but has not yet done so for as long or as"
	    " often as `sip failback\n"
	    "  delay` and `sip failback successes` ask;\n"
	    "- `good`: it answers, and is fit to be moved back to.\n"
	    "\n"
	    "A choice in bold is a change. A held line"
	    " (`aastra_failover`, `aastra_failback`) is where it is\n"
	    "held, whatever its servers do; only where proxy and registrar"
	    " are chosen apart, one that is down\n"
	    "is not gone to before it answers, and the other goes alone. The"
	    " tables are for mode `auto`.\n"
	    "\n"
	    "### Nothing in force yet\n"
	    "\n");
	err |= put_matrix(AA_RANK_NONE, false, false);

	put("### The primary in force\n"
	    "\n");
	err |= put_matrix(P, false, false);

	put("### The backup in force, and the line may return\n"
	    "\n"
	    "`sip failback policy` is `auto`, or it is `idle` and the line"
	    " has no call.\n"
	    "\n");
	err |= put_matrix(B, true, true);

	put("### The backup in force, and the line may not return\n"
	    "\n"
	    "`sip failback policy` is `manual`, or it is `idle` and the line"
	    " has a call. A backup that is\n"
	    "down is left all the same: a line must have a live"
	    " binding.\n"
	    "\n");
	err |= put_matrix(B, true, false);

	return err;
}


static void put_apart(void)
{
	unsigned n;

	put("## Proxy and registrar apart\n"
	    "\n"
	    "Rows E1 and D1, the primaries in force before. The proxy in use"
	    " makes the AOR, the registrar\n"
	    "in use is where it is registered.\n"
	    "\n"
	    "| primary proxy | backup proxy | primary registrar"
	    " | backup registrar | AOR | registered at |\n"
	    "|---|---|---|---|---|---|\n");

	for (n = 0; n < 16; n++) {

		static const enum aa_avail avail[] = {
			AA_AVAIL_GOOD, AA_AVAIL_DOWN
		};
		struct aa_policy_in in = line_with(false, true, true);
		struct aa_policy_out out;

		in.avail[AA_ROLE_PROXY][P]     = avail[(n >> 3) & 1];
		in.avail[AA_ROLE_PROXY][B]     = avail[(n >> 2) & 1];
		in.avail[AA_ROLE_REGISTRAR][P] = avail[(n >> 1) & 1];
		in.avail[AA_ROLE_REGISTRAR][B] = avail[(n >> 0) & 1];

		aa_policy_decide(&out, &in);

		put("| %s | %s | %s | %s | user@%s-proxy | %s |\n",
		    aa_avail_name(in.avail[AA_ROLE_PROXY][P]),
		    aa_avail_name(in.avail[AA_ROLE_PROXY][B]),
		    aa_avail_name(in.avail[AA_ROLE_REGISTRAR][P]),
		    aa_avail_name(in.avail[AA_ROLE_REGISTRAR][B]),
		    aa_rank_name(out.use[AA_ROLE_PROXY]),
		    aa_rank_name(out.use[AA_ROLE_REGISTRAR]));
	}

	put("\n");
}


static void put_flows(void)
{
	int mode, current, down;

	put("## Which flows\n"
	    "\n"
	    "With `sip outbound support` off there are none. With it on, each"
	    " role that decides keeps\n"
	    "a flow to its primary, which is tried in the background while"
	    " it is down, and one to its\n"
	    "backup where the table says so. The server in use always has"
	    " one.\n"
	    "\n"
	    "| mode | in force | primary | backup's flow, standby 0"
	    " | standby 1 | standby 2 |\n"
	    "|---|---|---|---|---|---|\n");

	for (mode = 0; mode < AA_MODE_COUNT; mode++)
	for (current = P; current < AA_RANK_COUNT; current++)
	for (down = 0; down < 2; down++) {

		struct aa_policy_in in = line_with(true, false, false);
		struct aa_policy_out out;

		in.mode = (enum aa_mode)mode;
		in.current[AA_ROLE_OUTBOUND] = (enum aa_rank)current;
		if (down)
			in.avail[AA_ROLE_OUTBOUND][P] = AA_AVAIL_DOWN;

		put("| `%s` | %s | %s |", aa_mode_name(in.mode),
		    aa_rank_name((enum aa_rank)current),
		    down ? "down" : "not down");

		for (in.standby = 0; in.standby < 3; in.standby++) {
			aa_policy_decide(&out, &in);
			put(" %s |", no_yes[out.flow[AA_ROLE_OUTBOUND][B]]);
		}

		put("\n");
	}

	put("\n"
	    "In scenario `none` there is one flow: to the outbound proxy"
	    " where there is one, else to\n"
	    "the registrar, else to the proxy.\n");
}


static void put_second(void)
{
	static const char *const namev[] = {
		"outbound proxy", "proxy", "registrar"
	};
	unsigned backups;
	int current, mode;

	put("\n"
	    "## Registered twice\n"
	    "\n"
	    "With `sip outbound standby: 2` a line on its primary is"
	    " registered a second time, with outbound\n"
	    "support and without: over the way that it would take if the"
	    " primary died now. A line on its\n"
	    "backup goes home before it leaves that, and needs no second"
	    " one.\n"
	    "\n"
	    "| scenario | mode | in force | the second time over |\n"
	    "|---|---|---|---|\n");

	for (backups = 1; backups < 8; backups++)
	for (current = P; current < AA_RANK_COUNT; current++)
	for (mode = 0; mode < AA_MODE_COUNT; mode++) {

		struct aa_policy_in in = line_with(backups & 4, backups & 2,
						   backups & 1);
		struct aa_policy_out out;
		unsigned n = 0;
		int role;

		/* one of each scenario, and what is held where it is */
		if ((backups != 3 && backups != 4 && backups != 7) ||
		    (mode != AA_MODE_AUTO &&
		     (mode == AA_MODE_PRIMARY) != (current == P)))
			continue;

		in.standby  = 2;
		in.failback = AA_FAILBACK_MANUAL;
		in.mode     = (enum aa_mode)mode;
		for (role = 0; role < AA_ROLE_COUNT; role++)
			in.current[role] = in.configured[role][B] ?
				(enum aa_rank)current : P;

		aa_policy_decide(&out, &in);

		put("| `%s` | `%s` | %s |", aa_scenario_name(in.scenario),
		    aa_mode_name(in.mode),
		    aa_rank_name((enum aa_rank)current));
		for (role = 0; role < AA_ROLE_COUNT; role++) {
			if (out.second[role] == B)
				put("%s backup %s", n++ ? "," : "",
				    namev[role]);
		}
		put("%s |\n", n ? "" : " -");
	}
}


static int make_page(void)
{
	put("# The decision table\n"
	    "\n"
	    "<!-- Written by test/unit/gen_policy_table.c from the policy"
	    " itself. Do not edit:\n"
	    "     cmake --build build --target decision-table -->\n"
	    "\n"
	    "Where a line is depends on which of its servers are configured,"
	    " what is known of them, and\n"
	    "what is in force. `modules/aastra/policy.c` decides it, after"
	    " the Aastra SIP guide\n"
	    "41-001343, pages 4-59 to 4-61; this page shows what that file"
	    " answers, and a test fails when\n"
	    "the two differ.\n"
	    "\n");

	put_scenarios();

	if (put_choice())
		return -1;

	put_apart();
	put_flows();
	put_second();

	return 0;
}


int main(int argc, char *argv[])
{
	if (make_page())
		return 1;

	return page_done(argc, argv, "--target decision-table",
			 "gen_policy_table");
}
