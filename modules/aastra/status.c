/**
 * @file status.c  What is, for programs
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <re.h>
#include "aastra_baresip.h"
#include "compat.h"
#include "flow.h"
#include "binding.h"
#include "account.h"
#include "line.h"
#include "status.h"
#include "subscription.h"
#include "utf8.h"


static const char *service_name(const struct aa_line *line)
{
	bool mixed;
	const enum aa_rank rank = aa_line_service(line, &mixed);

	return mixed ? "mixed" : aa_rank_name(rank);
}


static bool server_configured(const struct aa_line *line, enum aa_role role,
			      enum aa_rank rank)
{
	return str_isset(line->cfg.server[role][rank].host);
}


/*
 * Rank in force of a role, and before the first one is, that which is being
 * tried; none where the role has no server at all
 */
static const char *active_name(const struct aa_line *line, enum aa_role role)
{
	const bool primary = server_configured(line, role, AA_RANK_PRIMARY);

	if (!primary && !server_configured(line, role, AA_RANK_BACKUP))
		return aa_rank_name(AA_RANK_NONE);

	if (line->use[role] != AA_RANK_NONE)
		return aa_rank_name(line->use[role]);

	if (line->next && line->next->use[role] != AA_RANK_NONE)
		return aa_rank_name(line->next->use[role]);

	return aa_rank_name(primary ? AA_RANK_PRIMARY : AA_RANK_BACKUP);
}


/* ---- JSON ------------------------------------------------------------- */


/* RFC 8259 7, 8.1; what is no UTF-8 becomes a question mark */
static int json_str(struct re_printf *pf, const char *str)
{
	const char *p;
	int err;

	err = re_hprintf(pf, "\"");

	p = str ? str : "";
	while (*p && !err) {
		const unsigned char c = (unsigned char)*p;
		const size_t n = aa_utf8_len(p);

		if (c == '"' || c == '\\')
			err = re_hprintf(pf, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			err = re_hprintf(pf, "\\u%04x", c);
		else if (n)
			err = pf->vph(p, n, pf->arg);
		else
			err = re_hprintf(pf, "?");

		p += n ? n : 1;
	}

	err |= re_hprintf(pf, "\"");

	return err;
}


static int json_bool(struct re_printf *pf, bool v)
{
	return re_hprintf(pf, "%s", v ? "true" : "false");
}


static int json_flow(struct re_printf *pf, const struct aa_line *line,
		     enum aa_role role, enum aa_rank rank)
{
	const struct aa_flow *flow = aa_line_flow(line, role, rank);
	const struct aa_penalty *pen = &line->pen[role][rank];
	const uint64_t now = aa_now_ms();
	uint64_t retry = aa_flow_retry_in(flow);
	const char *error = aa_flow_reason(flow);
	int err;

	if (pen->until > now) {
		retry = MAX(retry, pen->until - now);
		if (!str_isset(error))
			error = pen->reason;
	}

	err  = re_hprintf(pf, "{\"role\":\"%s\",\"rank\":\"%s\",\"uri\":",
			  aa_role_name(role), aa_rank_name(rank));
	err |= json_str(pf, aa_flow_uri(flow));
	err |= re_hprintf(pf, ",\"state\":\"%s\",\"keepalive\":\"%s\""
			  ",\"rtt_ms\":%u.%03u,\"failures\":%u"
			  ",\"retry_in_ms\":%llu,\"error\":",
			  aa_flow_state_name(aa_flow_state(flow)),
			  aa_keepalive_name(aa_flow_keepalive(flow)),
			  aa_flow_rtt(flow) / 1000, aa_flow_rtt(flow) % 1000,
			  aa_flow_failures(flow) + pen->failures, retry);
	err |= json_str(pf, error);
	err |= re_hprintf(pf, ",\"registered\":");
	err |= json_bool(pf, aa_line_registered_at(line, flow));
	err |= re_hprintf(pf, "}");

	return err;
}


static int json_flows(struct re_printf *pf, const struct aa_line *line)
{
	int role, rank, err;
	bool first = true;

	err = re_hprintf(pf, ",\"flows\":[");

	for (role=0; role<AA_ROLE_COUNT; role++) {
		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++) {

			if (!aa_line_flow(line, (enum aa_role)role,
					  (enum aa_rank)rank))
				continue;

			err |= re_hprintf(pf, "%s", first ? "" : ",");
			err |= json_flow(pf, line, (enum aa_role)role,
					 (enum aa_rank)rank);
			first = false;
		}
	}

	err |= re_hprintf(pf, "]");

	return err;
}


static uint32_t probes(const struct aa_line *line)
{
	uint32_t n = 0;
	int role, rank;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++)
			n += aa_flow_probes(aa_line_flow(line,
							 (enum aa_role)role,
							 (enum aa_rank)rank));
	}

	return n;
}


static int json_text(struct re_printf *pf, const char *name, const char *str)
{
	int err;

	err  = re_hprintf(pf, ",\"%s\":", name);
	err |= json_str(pf, str);

	return err;
}


static int json_entry(struct re_printf *pf, const struct aa_journal_entry *e)
{
	int err;

	err  = re_hprintf(pf, "{\"seq\":%llu,\"line\":%u,\"time_ms\":%llu"
			  ",\"event\":\"%s\"", e->seq, e->line, e->time,
			  aa_journal_event_name(e->event));
	err |= json_text(pf, "from", e->from);
	err |= json_text(pf, "to", e->to);
	err |= json_text(pf, "reason", e->reason);
	err |= json_text(pf, "by", e->by);
	err |= json_text(pf, "decision", e->decision);
	err |= re_hprintf(pf, ",\"took_ms\":%u,\"detect_ms\":%u"
			  ",\"requests\":%u}", e->took, e->detect,
			  e->requests);

	return err;
}


static int json_entries(struct re_printf *pf, const struct aa_journal *jnl,
			uint32_t line, uint64_t since, uint32_t max)
{
	const struct aa_journal_entry *e = NULL;
	uint32_t n = 0, skip = 0;
	bool first = true;
	int err = 0;

	while (max && (e = aa_journal_next(jnl, line, e)))
		n += e->seq > since;
	if (max && n > max)
		skip = n - max;

	e = NULL;
	while (!err && (e = aa_journal_next(jnl, line, e))) {

		if (e->seq <= since)
			continue;

		if (skip) {
			--skip;
			continue;
		}

		err  = re_hprintf(pf, "%s", first ? "" : ",");
		err |= json_entry(pf, e);
		first = false;
	}

	return err;
}


static int json_history(struct re_printf *pf, const struct aa_line *line)
{
	int err;

	err  = re_hprintf(pf, ",\"history\":[");
	err |= json_entries(pf, line->phone->jnl, line->cfg.line, 0, 0);
	err |= re_hprintf(pf, "]");

	return err;
}


/**
 * Print the history as one JSON document
 *
 * @param pf    Print function
 * @param phone Phone
 * @param line  Number of a line, 0 for all
 * @param since Entries with a higher number alone
 * @param max   The latest so many of them alone, 0 for all
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_status_history_json(struct re_printf *pf, const struct aa_phone *phone,
			   uint32_t line, uint64_t since, uint32_t max)
{
	int err;

	if (!phone)
		return EINVAL;

	err  = re_hprintf(pf, "{\"first\":%llu,\"last\":%llu,\"entries\":[",
			  aa_journal_first(phone->jnl),
			  aa_journal_last(phone->jnl));
	err |= json_entries(pf, phone->jnl, line, since, max);
	err |= re_hprintf(pf, "]}");

	return err;
}


struct subs_print {
	struct re_printf *pf;
	const struct aa_line *line;
	unsigned n;
	int err;
};


/* What was asked for, as the URI that it is going to be: there is none
   before the line has found a server for the first time */
static int json_sub_uri(struct re_printf *pf, const char *uri, const char *aor)
{
	const char *host = aor ? strrchr(aor, '@') : NULL;
	const char *at = strchr(uri, '@'), *colon = strchr(uri, ':');
	char buf[512];

	if (!str_isset(uri))
		return json_str(pf, aor);

	if ((colon && (!at || colon < at)) || !host)
		return json_str(pf, uri);

	if (re_snprintf(buf, sizeof(buf), "sip:%s%s", uri,
			at ? "" : host) < 0)
		return json_str(pf, uri);

	return json_str(pf, buf);
}


static bool json_sub(const struct aa_sub_info *si, void *arg)
{
	struct subs_print *sp = arg;
	struct re_printf *pf = sp->pf;
	int err;

	err  = re_hprintf(pf, "%s{\"event\":", sp->n++ ? "," : "");
	err |= json_str(pf, si->event);
	err |= re_hprintf(pf, ",\"uri\":");
	err |= json_sub_uri(pf, si->uri, aa_line_aor(sp->line));
	err |= re_hprintf(pf, ",\"rank\":\"%s\",\"state\":\"%s\""
			  ",\"value\":", aa_rank_name(si->rank),
			  aa_sub_state_name(si->state));
	err |= json_str(pf, si->value);
	err |= re_hprintf(pf, ",\"key\":");
	err |= json_str(pf, si->key);
	err |= re_hprintf(pf, ",\"label\":");
	err |= json_str(pf, si->label);
	err |= re_hprintf(pf, ",\"note\":");
	err |= json_str(pf, si->note);
	err |= re_hprintf(pf, ",\"member\":");
	err |= json_bool(pf, si->member);
	err |= re_hprintf(pf, ",\"retry_in_ms\":%llu,\"error\":",
			  si->retry_in);
	err |= json_str(pf, si->error);
	err |= re_hprintf(pf, "}");

	sp->err |= err;

	return err != 0;
}


static int json_subs(struct re_printf *pf, const struct aa_line *line)
{
	struct subs_print sp = {pf, line, 0, 0};

	sp.err = re_hprintf(pf, ",\"subscriptions\":[");
	(void)aa_subs_apply(line->subs, json_sub, &sp);
	sp.err |= re_hprintf(pf, "]");

	return sp.err;
}


static int json_line(struct re_printf *pf, const struct aa_line *line,
		     bool history)
{
	int err;

	err  = re_hprintf(pf, "{\"line\":%u,\"aor\":", line->cfg.line);
	err |= json_str(pf, aa_line_aor(line));
	err |= re_hprintf(pf, ",\"scenario\":\"%s\",\"outbound\":",
			  aa_scenario_name(line->cfg.scenario));
	err |= json_bool(pf, line->cfg.outbound);
	err |= re_hprintf(pf, ",\"mode\":\"%s\",\"service\":\"%s\""
			  ",\"registered\":", aa_mode_name(line->mode),
			  service_name(line));
	err |= json_bool(pf, aa_line_registered(line));
	err |= re_hprintf(pf, ",\"expires\":%u",
			  line->cur && aa_line_registered(line) ?
			  aa_binding_expires(line->cur->b) : 0);
	err |= json_text(pf, "error", aa_line_registered(line) ? "" :
			 aa_line_reason(line));
	err |= re_hprintf(pf, ",\"retry_in_ms\":%llu",
			  aa_line_retry_in(line));
	err |= re_hprintf(pf, ",\"reg_id\":%u,\"hold_down_ms\":%llu"
			  ",\"calls\":",
			  line->cur ? aa_binding_regid(line->cur->b) : 0,
			  aa_line_hold_down(line));
	err |= json_bool(pf, aa_account_calls(line->acc));
	err |= re_hprintf(pf, ",\"active\":{\"outbound_proxy\":\"%s\""
			  ",\"proxy\":\"%s\",\"registrar\":\"%s\"}",
			  active_name(line, AA_ROLE_OUTBOUND),
			  active_name(line, AA_ROLE_PROXY),
			  active_name(line, AA_ROLE_REGISTRAR));
	err |= json_flows(pf, line);
	err |= json_subs(pf, line);
	err |= re_hprintf(pf, ",\"counters\":{\"failovers\":%u"
			  ",\"failbacks\":%u,\"registrations\":%u"
			  ",\"probes\":%u}",
			  line->count.failovers, line->count.failbacks,
			  line->count.registrations, probes(line));
	if (history)
		err |= json_history(pf, line);
	err |= re_hprintf(pf, "}");

	return err;
}


/**
 * Print the state as one JSON document
 *
 * @param pf    Print function
 * @param phone Phone
 * @param only  Just this line, NULL for all
 * @param history With the history of each line
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_status_json(struct re_printf *pf, const struct aa_phone *phone,
		   const struct aa_line *only, bool history)
{
	const struct le *le;
	bool first = true;
	int err;

	if (!phone)
		return EINVAL;

	err = re_hprintf(pf, "{\"module\":\"aastra\",\"version\":\"%s\""
			 ",\"baresip\":\"%s\",\"lines\":[", AASTRA_VERSION,
			 aa_compat_baresip_version());

	for (le = list_head(&phone->linel); le; le = le->next) {
		const struct aa_line *line = le->data;

		if (only && line != only)
			continue;

		err |= re_hprintf(pf, "%s", first ? "" : ",");
		err |= json_line(pf, line, history);
		first = false;
	}

	err |= re_hprintf(pf, "]}");

	return err;
}
