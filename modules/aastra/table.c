/**
 * @file table.c  What is and what was, for people
 *
 * Tables of 80 columns: one row a line, one row a server; and the story of a
 * night on one screen, in which what happened to many lines at once is one
 * row.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <re.h>
#include "aastra_baresip.h"
#include "compat.h"
#include "flow.h"
#include "binding.h"
#include "account.h"
#include "line.h"
#include "subscription.h"
#include "table.h"


enum {
	AOR_WIDTH    = 30,      /* as in the formats below: libre's printf  */
	SERVER_WIDTH = 27,      /* takes no width as an argument            */
	SERVERS_MAX  = 64,      /* in one table                             */
	GROUPS_MAX   = 400,     /* rows of a history                        */
	GROUP_LOOK   = 24,      /* rows that one more may belong to         */
	GROUP_MS     = 5000     /* how far apart it may be                  */
};

enum colour {
	PLAIN = 0,
	RED   = 31,
	GREEN = 32,
	YELLOW = 33
};


/*
 * baresip's console prints without an argument, in every version; whatever
 * goes over a connection has one.
 */
static bool on_terminal(const struct re_printf *pf)
{
	return !pf->arg && isatty(STDERR_FILENO) && isatty(STDOUT_FILENO) &&
		!getenv("NO_COLOR");
}


/* Colours take no place on a screen, so the width is made up for here */
static int print_coloured(struct re_printf *pf, enum colour colour,
			  size_t width, const char *str)
{
	static const char spaces[] = "                    ";
	const size_t len = strlen(str);
	struct pl pad;

	pad.p = spaces;
	pad.l = width > len ? MIN(width - len, sizeof(spaces) - 1) : 0;

	if (colour == PLAIN || !on_terminal(pf))
		return re_hprintf(pf, "%s%r", str, &pad);

	return re_hprintf(pf, "\x1b[%dm%s\x1b[m%r", (int)colour, str, &pad);
}


/**
 * Print a duration for people: 12s, 3m05s, 2h10m, 4d07h
 *
 * @param pf Print function
 * @param ms Milliseconds
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_table_duration(struct re_printf *pf, const uint64_t *ms)
{
	const uint64_t s = *ms / 1000;

	if (s < 60)
		return re_hprintf(pf, "%llus", s);
	if (s < 3600)
		return re_hprintf(pf, "%llum%02llus", s / 60, s % 60);
	if (s < 86400)
		return re_hprintf(pf, "%lluh%02llum", s / 3600, s / 60 % 60);

	return re_hprintf(pf, "%llud%02lluh", s / 86400, s / 3600 % 24);
}


/**
 * Print a SIP URI shorter: "10.0.0.1:5060 tcp"
 *
 * @param pf  Print function
 * @param uri SIP URI
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_table_uri(struct re_printf *pf, const char *uri)
{
	static const char param[] = ";transport=";
	const char *tp = uri ? strstr(uri, param) : NULL;
	struct pl host;

	if (!uri)
		return 0;

	host.p = 0 == strncmp(uri, "sip:", 4) ? uri + 4 : uri;
	host.l = tp ? (size_t)(tp - host.p) : strlen(host.p);

	return re_hprintf(pf, "%r%s%s", &host, tp ? " " : "",
			  tp ? tp + sizeof(param) - 1 : "");
}


/* ---- lines ------------------------------------------------------------- */


struct lamps {
	unsigned all;
	unsigned active;
};


static bool lamp_count(const struct aa_sub_info *si, void *arg)
{
	struct lamps *lamps = arg;

	if (!si->member) {
		++lamps->all;
		lamps->active += si->state == AA_SUB_ACTIVE;
	}

	return false;
}


static int print_line(struct re_printf *pf, const struct aa_line *line)
{
	const bool up = aa_line_registered(line);
	const char *aor = aa_line_aor(line);
	const char *why = aa_line_reason(line);
	const uint64_t since = up ? line->since : line->lost_at;
	const uint64_t age = aa_now_ms() - (since ? since : line->since);
	uint64_t retry = aa_line_retry_in(line);
	struct lamps lamps = {0, 0};
	bool mixed;
	const enum aa_rank rank = aa_line_service(line, &mixed);
	char dur[16];
	int err;

	(void)aa_subs_apply(line->subs, lamp_count, &lamps);
	(void)re_snprintf(dur, sizeof(dur), "%H", aa_table_duration, &age);

	err = re_hprintf(pf, "%4u %-30s ", line->cfg.line, aor);
	if (strlen(aor) > AOR_WIDTH)
		err |= re_hprintf(pf, "\n     %30s ", "");

	err |= print_coloured(pf, !up ? RED : mixed ||
			      rank == AA_RANK_BACKUP ? YELLOW : GREEN, 8,
			      mixed ? "mixed" : aa_rank_name(rank));
	err |= re_hprintf(pf, " %-7s ", dur);

	(void)re_snprintf(dur, sizeof(dur), "%u/%u", lamps.active, lamps.all);
	if (retry) {
		retry += 999;
		err |= re_hprintf(pf, "%-6s %H", lamps.all ? dur : "-",
				  aa_table_duration, &retry);
	}
	else {
		err |= re_hprintf(pf, "%s", lamps.all ? dur : "-");
	}

	err |= re_hprintf(pf, "\n");

	if (!up)
		err |= re_hprintf(pf, "     NOT REGISTERED%s%s\n",
				  str_isset(why) ? ": " : "", why);
	if (line->mode != AA_MODE_AUTO || aa_account_calls(line->acc))
		err |= re_hprintf(pf, "     %s%s%s%s\n",
				  line->mode != AA_MODE_AUTO ?
				  "held on the " : "",
				  line->mode != AA_MODE_AUTO ?
				  aa_mode_name(line->mode) : "",
				  line->mode != AA_MODE_AUTO &&
				  aa_account_calls(line->acc) ? ", " : "",
				  aa_account_calls(line->acc) ? "in a call"
				  : "");

	return err;
}


static bool lamp_print(const struct aa_sub_info *si, void *arg)
{
	struct re_printf *pf = arg;
	const char *who = str_isset(si->label) ? si->label :
		str_isset(si->key) ? si->key : si->uri;

	int err;

	err = re_hprintf(pf, "     %-24s %-15s %-10s %s\n", who, si->event,
			 aa_sub_state_name(si->state),
			 str_isset(si->value) ? si->value : "?");
	if (str_isset(si->error))
		err |= re_hprintf(pf, "        %s\n", si->error);

	return err != 0;
}


/* ---- servers ------------------------------------------------------------ */


/** A server of the lines in the table */
struct server {
	const struct aa_flow *flow;
	const struct aa_line *line;     /* the first one that has it        */
	enum aa_role role;
	enum aa_rank rank;
	bool carries;                   /* a registration, of any line      */
};

struct servers {
	struct server v[SERVERS_MAX];
	size_t n;
};


static void servers_add(struct servers *srv, const struct aa_line *line)
{
	int role, rank;
	size_t i;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++) {
			const struct aa_flow *flow =
				aa_line_flow(line, (enum aa_role)role,
					     (enum aa_rank)rank);
			struct server *s;

			if (!flow)
				continue;

			for (i=0; i<srv->n; i++) {
				if (srv->v[i].flow == flow &&
				    srv->v[i].role == (enum aa_role)role &&
				    srv->v[i].rank == (enum aa_rank)rank)
					break;
			}

			if (i == SERVERS_MAX)
				return;

			s = &srv->v[i];
			if (i == srv->n) {
				++srv->n;
				s->flow = flow;
				s->line = line;
				s->role = (enum aa_role)role;
				s->rank = (enum aa_rank)rank;
				s->carries = false;
			}

			if (line->cur && line->cur->flow == flow)
				s->carries = true;
		}
	}
}


static const char *role_short(const struct server *s)
{
	switch (s->role) {

	case AA_ROLE_PROXY:     return "proxy";
	case AA_ROLE_REGISTRAR: return "registrar";
	default:                return "outbound";
	}
}


static int print_server(struct re_printf *pf, const struct server *s)
{
	const struct aa_flow *flow = s->flow;
	const enum aa_flow_state state = aa_flow_state(flow);
	const struct aa_penalty *pen = &s->line->pen[s->role][s->rank];
	const uint64_t now = aa_now_ms();
	const uint64_t age = now - aa_flow_since(flow);
	const bool punished = pen->until > now;
	char uri[300], dur[16], as[32], what[32];
	uint64_t retry;
	int err;

	(void)re_snprintf(uri, sizeof(uri), "%H", aa_table_uri,
			  aa_flow_uri(flow));
	(void)re_snprintf(dur, sizeof(dur), "%H", aa_table_duration, &age);
	(void)re_snprintf(as, sizeof(as), "%s %s", aa_rank_name(s->rank),
			  role_short(s));
	if (state == AA_FLOW_UP && aa_flow_kept(flow))
		(void)re_snprintf(what, sizeof(what), "up (%s)",
			aa_keepalive_name(aa_flow_keepalive(flow)));
	else
		str_ncpy(what, aa_flow_state_name(state), sizeof(what));

	err = re_hprintf(pf, "   %c %-27s ", s->carries ? '*' : ' ', uri);
	if (strlen(uri) > SERVER_WIDTH)
		err |= re_hprintf(pf, "\n     %27s ", "");

	err |= re_hprintf(pf, "%-17s ", as);
	err |= print_coloured(pf, state == AA_FLOW_DOWN || punished ? RED :
			      state == AA_FLOW_UP ? GREEN : PLAIN, 12, what);

	if (state == AA_FLOW_UP && aa_flow_rtt(flow))
		err |= re_hprintf(pf, " %-7s %u.%u ms\n", dur,
				  aa_flow_rtt(flow) / 1000,
				  aa_flow_rtt(flow) / 100 % 10);
	else
		err |= re_hprintf(pf, " %s\n", dur);

	if (state != AA_FLOW_DOWN && !punished)
		return err;

	retry = punished ? pen->until - now : 0;
	retry = MAX(retry, aa_flow_retry_in(flow)) + 999;

	return err | re_hprintf(pf, "        %s; next try in %H\n",
				state == AA_FLOW_DOWN ? aa_flow_reason(flow)
				: pen->reason, aa_table_duration, &retry);
}


/**
 * Print the state for people
 *
 * @param pf    Print function
 * @param phone Phone
 * @param only  Just this line, and its lamps; NULL for all
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_table_status(struct re_printf *pf, const struct aa_phone *phone,
		    const struct aa_line *only)
{
	struct servers *srv;
	const struct le *le;
	size_t i;
	int err;

	if (!phone)
		return EINVAL;

	if (list_isempty(&phone->linel))
		return re_hprintf(pf, "aastra: no lines\n");

	srv = mem_zalloc(sizeof(*srv), NULL);
	if (!srv)
		return ENOMEM;

	err = re_hprintf(pf, "line %-30s %-8s %-7s lamps  next try\n", "AOR",
			 "is on", "since");

	for (le = list_head(&phone->linel); le && !err; le = le->next) {
		const struct aa_line *line = le->data;

		if (only && line != only)
			continue;

		err = print_line(pf, line);
		servers_add(srv, line);
	}

	err |= re_hprintf(pf, "     %-27s %-17s %-12s %-7s rtt\n", "server",
			  "as", "state", "since");

	for (i=0; i<srv->n && !err; i++)
		err = print_server(pf, &srv->v[i]);

	if (only) {
		struct lamps lamps = {0, 0};

		(void)aa_subs_apply(only->subs, lamp_count, &lamps);
		if (lamps.all)
			err |= re_hprintf(pf, "     %-24s %-15s %-10s value\n",
					  "lamp", "event", "state");
		(void)aa_subs_apply(only->subs, lamp_print, pf);
	}

	mem_deref(srv);

	return err;
}


/* ---- history ------------------------------------------------------------ */


/** Entries that tell the same of several lines, or several times */
struct group {
	const struct aa_journal_entry *e;       /* the first one            */
	uint64_t last;                          /* time of the latest one   */
	uint32_t took_min;
	uint32_t took_max;
	uint32_t n;
	char lines[24];
	uint32_t from;                          /* run of numbers at its end */
	uint32_t to;
};

struct story {
	struct group v[GROUPS_MAX];
	size_t n;
};


static bool same_story(const struct aa_journal_entry *a,
		       const struct aa_journal_entry *b)
{
	return a->event == b->event && 0 == strcmp(a->from, b->from) &&
		0 == strcmp(a->to, b->to) &&
		0 == strcmp(a->reason, b->reason) &&
		0 == strcmp(a->decision, b->decision);
}


/* "1-3,7,9-12" */
static void lines_close(struct group *g)
{
	const size_t len = strlen(g->lines);
	char buf[32];
	int n;

	if (g->from == g->to)
		n = re_snprintf(buf, sizeof(buf), "%s%u", len ? "," : "",
				g->from);
	else
		n = re_snprintf(buf, sizeof(buf), "%s%u-%u", len ? "," : "",
				g->from, g->to);

	if (n > 0 && len + (size_t)n < sizeof(g->lines))
		memcpy(g->lines + len, buf, (size_t)n + 1);
	else if (len && g->lines[len - 1] != '.' &&
		 len + 2 < sizeof(g->lines))
		memcpy(g->lines + len, "..", 3);
}


static struct group *group_find(struct story *story,
				const struct aa_journal_entry *e)
{
	size_t i;

	for (i = story->n; i > 0 && story->n - i < GROUP_LOOK; i--) {
		struct group *g = &story->v[i - 1];

		/* of one line, each entry is told */
		if (same_story(g->e, e) && g->e->line != e->line &&
		    g->to != e->line && e->time >= g->e->time &&
		    e->time - g->e->time < GROUP_MS)
			return g;
	}

	return NULL;
}


static void story_add(struct story *story, const struct aa_journal_entry *e)
{
	struct group *g = group_find(story, e);

	if (g) {
		++g->n;
		g->last = e->time;
		g->took_min = MIN(g->took_min, e->took);
		g->took_max = MAX(g->took_max, e->took);
		if (e->line == g->to + 1) {
			g->to = e->line;
			return;
		}

		lines_close(g);
		g->from = g->to = e->line;
		return;
	}

	if (story->n == GROUPS_MAX) {
		memmove(story->v, story->v + 1,
			(GROUPS_MAX - 1) * sizeof(story->v[0]));
		--story->n;
	}

	g = &story->v[story->n++];
	memset(g, 0, sizeof(*g));
	g->e = e;
	g->n = 1;
	g->last = e->time;
	g->took_min = g->took_max = e->took;
	g->from = g->to = e->line;
}


static bool is_move(enum aa_journal_event event)
{
	return event == AA_JOURNAL_FAILOVER || event == AA_JOURNAL_FAILBACK ||
		event == AA_JOURNAL_REGISTERED;
}


static int print_where(struct re_printf *pf, const struct aa_journal_entry *e)
{
	if (str_isset(e->from))
		return re_hprintf(pf, "%s -> %s", e->from, e->to);

	return aa_table_uri(pf, e->to);
}


static int print_group(struct re_printf *pf, const struct group *g,
		       const struct tm *tm, bool detail)
{
	const struct aa_journal_entry *e = g->e;
	int err;

	err = re_hprintf(pf, "%02d:%02d:%02d.%03u %-5s %-9s %H", tm->tm_hour,
			 tm->tm_min, tm->tm_sec, (unsigned)(e->time % 1000),
			 g->lines, aa_journal_event_name(e->event),
			 print_where, e);

	if (is_move(e->event) || g->took_max) {
		if (g->took_min == g->took_max)
			err |= re_hprintf(pf, ", %u ms", g->took_min);
		else
			err |= re_hprintf(pf, ", %u-%u ms", g->took_min,
					  g->took_max);
	}

	if (str_isset(e->reason))
		err |= re_hprintf(pf, ": %s", e->reason);

	err |= re_hprintf(pf, "\n");

	if (!detail || (!str_isset(e->by) && !str_isset(e->decision)))
		return err;

	err |= re_hprintf(pf, "%19s%s%s%s", "", e->by,
			  str_isset(e->by) && str_isset(e->decision) ? "; "
			  : "", e->decision);
	if (e->detect)
		err |= re_hprintf(pf, "; seen after %u ms", e->detect);
	if (e->requests)
		err |= re_hprintf(pf, "; %u REGISTER%s", e->requests,
				  e->requests == 1 ? "" : "s");

	return err | re_hprintf(pf, "\n");
}


static int print_story(struct re_printf *pf, struct story *story, bool detail)
{
	struct tm tm, day;
	size_t i;
	int err = 0;

	memset(&day, 0, sizeof(day));

	for (i=0; i<story->n && !err; i++) {
		struct group *g = &story->v[i];
		const time_t t = (time_t)(g->e->time / 1000);

		lines_close(g);
		if (!localtime_r(&t, &tm))
			continue;

		if (tm.tm_yday != day.tm_yday || tm.tm_year != day.tm_year)
			err = re_hprintf(pf, "%04d-%02d-%02d\n",
					 tm.tm_year + 1900, tm.tm_mon + 1,
					 tm.tm_mday);
		day = tm;
		err |= print_group(pf, g, &tm, detail);
	}

	return err;
}


/**
 * Print the latest changes, oldest first
 *
 * @param pf    Print function
 * @param phone Phone
 * @param line  Number of a line, whose entries are told in full; 0: of all
 *              lines, where what happened to several is told once
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_table_history(struct re_printf *pf, const struct aa_phone *phone,
		     uint32_t line)
{
	const struct aa_journal_entry *e = NULL;
	struct story *story;
	int err;

	if (!phone)
		return EINVAL;

	story = mem_zalloc(sizeof(*story), NULL);
	if (!story)
		return ENOMEM;

	while ((e = aa_journal_next(phone->jnl, line, e)))
		story_add(story, e);

	err = story->n ? print_story(pf, story, line != 0)
		: re_hprintf(pf, "nothing yet\n");
	mem_deref(story);

	return err;
}
