/**
 * @file gen_parameters.c  The pages about the keys, written from their table
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * Prints docs/parameters.md, with --man the manual page aastra(7); with
 * --write FILE writes it there, with --check FILE compares it with what is
 * there.
 */

#include <stdio.h>
#include <string.h>
#include "key.h"
#include "page.h"


/* ---- what a key is ---------------------------------------------------- */


struct group {
	const char *title;
	const char *text;
	enum aa_key_id first;
};


static const struct group groupv[] = {
	{"Servers",
	 "The Network set. 0.0.0.0, nothing, and for a port 0 count as not"
	 " given.", K_PROXY_IP},
	{"Identity",
	 "The Authentication set. `sip lineN user name` makes line N; without"
	 " it the line is the Nth account of baresip's `accounts` file.",
	 K_USER_NAME},
	{"Timers", "", K_REGISTRATION_RETRY},
	{"Subscriptions", "", K_EXPLICIT_MWI},
	{"Transport and security", "", K_OUTBOUND_SUPPORT},
	{"Failover, beyond the guides", "", K_KEEPALIVE_TIMER},
	{"The module", "In baresip's `config` alone.", K_CFG_PATH},
};

#define GROUPS (sizeof(groupv) / sizeof(groupv[0]))


static enum aa_key_id group_end(size_t g)
{
	return g + 1 < GROUPS ? groupv[g + 1].first : KEY_COUNT;
}


static void range_of(char *buf, size_t sz, const struct aa_key *k)
{
	const char *sp = k->unit[0] ? " " : "";

	switch (k->type) {

	case AA_TYPE_NUMBER:
		if (k->max == 2147483647)
			(void)snprintf(buf, sz, "%s%s%s%s%u or more",
				       k->unit, sp[0] ? ", " : "",
				       k->zero ? "0, " : "", "", k->min);
		else
			(void)snprintf(buf, sz, "%s%s%s%u-%u", k->unit,
				       sp[0] ? ", " : "", k->zero ? "0, " : "",
				       k->min, k->max);
		break;

	case AA_TYPE_CHOICE:
		(void)snprintf(buf, sz, "%s", k->values);
		break;

	case AA_TYPE_PORT:
		(void)snprintf(buf, sz, "0-65535");
		break;

	default:
		(void)snprintf(buf, sz, "%s", aa_key_type_name(k->type));
		break;
	}
}


static void default_of(char *buf, size_t sz, const struct aa_key *k)
{
	if (k->deftext)
		(void)snprintf(buf, sz, "%s", k->deftext);
	else if (k->type == AA_TYPE_NUMBER || k->type == AA_TYPE_BOOL ||
		 k->type == AA_TYPE_PORT)
		(void)snprintf(buf, sz, "%u", k->def);
	else
		(void)snprintf(buf, sz, "none");
}


static const char *scope_of(const struct aa_key *k)
{
	switch (k->scope) {

	case AA_SCOPE_GLOBAL: return "global";
	case AA_SCOPE_LINE:   return "line";
	default:              return k->line_beyond ? "global, line *"
			: "global, line";
	}
}


/* ---- docs/parameters.md ----------------------------------------------- */


static void md_key(const struct aa_key *k)
{
	char range[128], standard[128];

	range_of(range, sizeof(range), k);
	default_of(standard, sizeof(standard), k);

	put("| `%s` | %s | %s | %s | %s%s%s%s | %s |\n", k->name,
	    scope_of(k), range, standard,
	    k->state == AA_KEY_IGNORED ? "*Not used:* " : "", k->does,
	    k->reason ? " Here: " : "", k->reason ? k->reason : "",
	    k->guide[0] ? k->guide : "-");
}


static void md_page(void)
{
	size_t g, i, used = 0;

	for (i = 0; i < KEY_COUNT; i++)
		used += aa_keyv[i].state == AA_KEY_WORKS;

	put("# The keys\n"
	    "\n"
	    "<!-- Written by test/unit/gen_parameters.c from the table in"
	    " modules/aastra/key.c.\n"
	    "     Do not edit: cmake --build build --target parameters -->\n"
	    "\n"
	    "%u keys: %zu work, %zu are read and checked but not used; the"
	    " reason stands with each.\n"
	    "They are those of the Aastra and Mitel administrator guides, and"
	    " some beyond them. What is in\n"
	    "force, and where it came from, is printed by"
	    " `aastra_config [N]`.\n"
	    "\n"
	    "## Where they stand\n"
	    "\n"
	    "1. `aastra.cfg`, `<model>.cfg`, `<MAC>.cfg` in the folder that"
	    " `aastra_cfg_path` names:\n"
	    "   `sip line1 backup outbound proxy: 10.0.0.2`. `startup.cfg`"
	    " is read where there is no `aastra.cfg`.\n"
	    "2. baresip's `config`, in the same spelling.\n"
	    "3. baresip's `config`, in baresip's spelling:"
	    " `sip_line1_backup_outbound_proxy 10.0.0.2`.\n"
	    "\n"
	    "The later one wins. Names are case-insensitive. `global` is"
	    " `sip proxy ip`, for all lines; `line` is\n"
	    "`sip lineN proxy ip`, for line N alone (`line *`: the guides"
	    " have it only globally).\n"
	    "\n"
	    "A line with one value of a set of its own ignores all global"
	    " values of that set, as the phones do; `sip line\n"
	    "inheritance: key` lets each key fall back alone. The Network set"
	    " is the first table below, the Authentication\n"
	    "set the second one.\n"
	    "\n"
	    "## Reading them again\n"
	    "\n"
	    "`aastra_reload`, and SIGHUP where standard input is not a"
	    " terminal. Lines whose settings are the same are\n"
	    "not touched. A line that changed registers anew before its old"
	    " binding is taken back; one that is in a call\n"
	    "changes when the call has ended. Where a file can not be read,"
	    " or has no key in it any more, nothing changes.\n"
	    "An account that a described line has displaced comes back when"
	    " baresip is started again; ports and\n"
	    "certificates are read at start only.\n",
	    (unsigned)KEY_COUNT, used, KEY_COUNT - used);

	for (g = 0; g < GROUPS; g++) {

		put("\n## %s\n\n%s%s", groupv[g].title, groupv[g].text,
		    groupv[g].text[0] ? "\n\n" : "");
		put("| key | scope | values | default | what it does"
		    " | guide |\n"
		    "|---|---|---|---|---|---|\n");

		for (i = groupv[g].first; i < group_end(g); i++)
			md_key(&aa_keyv[i]);
	}

	put("\n## Symmetric UDP\n"
	    "\n"
	    "The phones send UDP from port 5060, or `sip local port`, where"
	    " `sip symmetric udp signaling` is 1, and from\n"
	    "another where it is 0 (or where a backup is configured). Here"
	    " that is so once one of `sip local port`,\n"
	    "`sip symmetric udp signaling` and `sip rport: 1` is written;"
	    " without them baresip's `sip_listen` counts, which is a\n"
	    "free port by default. libre listens on every port that it sends"
	    " from: what differs is the port, see\n"
	    "[configuration.md](configuration.md#ports).\n");
}


/* ---- aastra(7) -------------------------------------------------------- */


/* The back quotes of the table become bold, and dashes stay dashes */
static void man_text(const char *str)
{
	bool bold = false;

	for (; *str; str++) {

		if (*str == '`') {
			put("%s", bold ? "\\fR" : "\\fB");
			bold = !bold;
		}
		else if (*str == '-') {
			put("\\-");
		}
		else if (*str == '\\') {
			put("\\e");
		}
		else {
			put("%c", *str);
		}
	}
}


static void man_key(const struct aa_key *k)
{
	char range[128], standard[128];

	range_of(range, sizeof(range), k);
	default_of(standard, sizeof(standard), k);

	put(".TP\n.B \"%s\"\n", k->name);
	man_text(k->does);
	put("\n(%s; ", scope_of(k));
	man_text(range);
	put("; default: ");
	man_text(standard);
	put(")\n");

	if (k->state == AA_KEY_IGNORED || k->reason) {
		put("%s", k->state == AA_KEY_IGNORED ? "Not used here: " : "");
		man_text(k->reason ? k->reason : "");
		put(".\n");
	}
}


static void man_page(void)
{
	size_t g, i;

	put(".\\\" Written by test/unit/gen_parameters.c; do not edit:\n"
	    ".\\\" cmake \\-\\-build build \\-\\-target parameters\n"
	    ".TH AASTRA 7 \"\" \"baresip\\-aastra\" \"baresip modules\"\n"
	    ".SH NAME\n"
	    "aastra \\- failover in the way of Aastra SIP phones, for baresip\n"
	    ".SH SYNOPSIS\n"
	    ".nf\n"
	    "module_app      aastra.so\n"
	    "module_app      account.so\n"
	    "aastra_cfg_path \\fIfolder\\fR\n"
	    ".fi\n"
	    ".SH DESCRIPTION\n"
	    "Backup outbound proxy, backup proxy and backup registrar: when"
	    " a server fails, a line moves its\n"
	    "registration to the backup, tries the primary in the background,"
	    " and goes back.\n"
	    ".PP\n"
	    "Keys are read from \\fIaastra.cfg\\fR, \\fImodel\\fR.cfg and"
	    " \\fIMAC\\fR.cfg in the folder that\n"
	    ".B aastra_cfg_path\n"
	    "names, then from baresip's \\fIconfig\\fR, as\n"
	    ".B \"sip line1 proxy ip: 10.0.0.2\"\n"
	    "or\n"
	    ".BR \"sip_line1_proxy_ip 10.0.0.2\" .\n"
	    "The later one wins. A global key has no \\fBlineN\\fR in it.\n"
	    ".SH COMMANDS\n"
	    ".BR aastra_status , aastra_state , aastra_history"
	    " , aastra_config ,\n"
	    ".BR aastra_failover , aastra_failback , aastra_auto"
	    " , aastra_probe , aastra_explain , aastra_metrics ,\n"
	    ".BR aastra_reload , aastra_subscribe , aastra_unsubscribe .\n"
	    ".PP\n"
	    ".B aastra_reload\n"
	    "reads the configuration again, as does SIGHUP where standard"
	    " input is not a terminal.\n"
	    "Lines whose settings did not change are not touched.\n");

	for (g = 0; g < GROUPS; g++) {

		put(".SH KEYS: ");
		for (i = 0; groupv[g].title[i]; i++)
			put("%c", groupv[g].title[i]);
		put("\n");

		if (groupv[g].text[0]) {
			man_text(groupv[g].text);
			put("\n");
		}

		for (i = groupv[g].first; i < group_end(g); i++)
			man_key(&aa_keyv[i]);
	}

	put(".SH FILES\n"
	    ".TP\n.I ~/.baresip/aastra_servers\n"
	    "The servers that were in force, for the next start.\n"
	    ".TP\n.I ~/.baresip/aastra_farewells\n"
	    "What was unregistered at the end and not answered; there only"
	    " for so long.\n"
	    ".TP\n.I ~/.baresip/aastra_history\n"
	    "The latest changes of the lines, 1024 at most.\n"
	    ".TP\n.I ~/.baresip/aastra_files\n"
	    "The last good copy of what \\fBaastra_cfg_url\\fR names;"
	    " passwords are in it.\n"
	    ".TP\n.I ~/.baresip/aastra_http_token\n"
	    "The token of the page, where \\fBaastra_http_token\\fR names"
	    " none and others than this host may see it.\n"
	    ".TP\n.I ~/.baresip/aastra_uuid\n"
	    "The instance\\-id, where baresip has none.\n"
	    ".SH SEE ALSO\n"
	    ".BR baresip (1)\n");
}


int main(int argc, char *argv[])
{
	if (argc > 1 && 0 == strcmp(argv[1], "--man")) {
		man_page();
		++argv;
		--argc;
	}
	else {
		md_page();
	}

	return page_done(argc, argv, "--target parameters",
			 "gen_parameters [--man]");
}
