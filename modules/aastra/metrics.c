/**
 * @file metrics.c  What a monitoring system wants to know
 *
 * Counters and histograms begin with the process, as it is usual with
 * Prometheus; the time of a line's latest move comes from the history, which
 * survives a restart.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <re.h>
#include "aastra_baresip.h"
#include "compat.h"
#include "flow.h"
#include "line.h"
#include "account.h"
#include "histogram.h"
#include "prom.h"
#include "subscription.h"
#include "metrics.h"


static struct {
	struct aa_histogram detect;
	struct aa_histogram failover;
	struct aa_histogram failback;
	uint64_t moves;         /* subscriptions of lines, moved            */
	uint64_t calls;         /* calls dialled again                      */
	uint64_t refused;       /* registrations that a server refused      */
} metrics;


/** Begin to count anew */
void aa_metrics_reset(void)
{
	memset(&metrics, 0, sizeof(metrics));
}


/**
 * Count what an entry of the history says
 *
 * @param e Entry
 */
void aa_metrics_note(const struct aa_journal_entry *e)
{
	if (!e)
		return;

	switch (e->event) {

	case AA_JOURNAL_FLOW_DOWN:
		aa_histogram_add(&metrics.detect, e->detect);
		break;

	case AA_JOURNAL_FAILOVER:
		aa_histogram_add(&metrics.failover, e->took);
		break;

	case AA_JOURNAL_FAILBACK:
		aa_histogram_add(&metrics.failback, e->took);
		break;

	case AA_JOURNAL_SUBSCRIPTION_MOVED:
		++metrics.moves;
		break;

	case AA_JOURNAL_CALL_MOVED:
		++metrics.calls;
		break;

	case AA_JOURNAL_REFUSED:
		++metrics.refused;
		break;

	default:
		break;
	}
}


/* ---- families of a line ------------------------------------------------ */


typedef int (line_sample_h)(struct re_printf *pf, const char *name,
			    const struct aa_phone *phone,
			    const struct aa_line *line);

struct family {
	const char *name;
	const char *type;
	const char *help;
	line_sample_h *h;
};


enum {
	LABELS_MAX = 4
};

/** Labels of a sample, with the text of those that need one */
struct labels {
	struct aa_prom_label v[LABELS_MAX];
	char number[16];
};


static void labels_of(struct labels *l, const struct aa_line *line,
		      const char *name1, const char *value1,
		      const char *name2, const char *value2)
{
	(void)re_snprintf(l->number, sizeof(l->number), "%u", line->cfg.line);

	l->v[0].name  = "line";
	l->v[0].value = l->number;
	l->v[1].name  = name1;
	l->v[1].value = value1;
	l->v[2].name  = name2;
	l->v[2].value = value2;
}


static int line_u64(struct re_printf *pf, const char *name,
		    const struct aa_line *line, uint64_t val)
{
	struct labels l;

	labels_of(&l, line, NULL, NULL, NULL, NULL);

	return aa_prom_u64(pf, name, l.v, 1, val);
}


static int sample_info(struct re_printf *pf, const char *name,
		       const struct aa_phone *phone,
		       const struct aa_line *line)
{
	struct labels l;
	(void)phone;

	labels_of(&l, line, "aor", aa_line_aor(line), "scenario",
		  aa_scenario_name(line->cfg.scenario));

	return aa_prom_u64(pf, name, l.v, 3, 1);
}


static int sample_registered(struct re_printf *pf, const char *name,
			     const struct aa_phone *phone,
			     const struct aa_line *line)
{
	(void)phone;

	return line_u64(pf, name, line, aa_line_registered(line));
}


static int sample_service(struct re_printf *pf, const char *name,
			  const struct aa_phone *phone,
			  const struct aa_line *line)
{
	static const char *const namev[] = {
		"primary", "backup", "mixed", "none"
	};
	bool mixed;
	const enum aa_rank rank = aa_line_service(line, &mixed);
	const char *is = mixed ? "mixed" : aa_rank_name(rank);
	struct labels l;
	size_t i;
	int err = 0;
	(void)phone;

	for (i=0; i<ARRAY_SIZE(namev); i++) {
		labels_of(&l, line, "service", namev[i], NULL, NULL);
		err |= aa_prom_u64(pf, name, l.v, 2,
				   0 == str_cmp(namev[i], is));
	}

	return err;
}


static int sample_active(struct re_printf *pf, const char *name,
			 const struct aa_phone *phone,
			 const struct aa_line *line)
{
	int role, rank, err = 0;
	(void)phone;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++) {
			struct labels l;

			if (!str_isset(line->cfg.server[role][rank].host))
				continue;

			labels_of(&l, line, "role",
				  aa_role_name((enum aa_role)role), "rank",
				  aa_rank_name((enum aa_rank)rank));
			err |= aa_prom_u64(pf, name, l.v, 3,
					   line->cur && line->use[role] ==
					   (enum aa_rank)rank);
		}
	}

	return err;
}


static int sample_held(struct re_printf *pf, const char *name,
		       const struct aa_phone *phone,
		       const struct aa_line *line)
{
	(void)phone;

	return line_u64(pf, name, line, line->mode != AA_MODE_AUTO);
}


static int sample_call(struct re_printf *pf, const char *name,
		       const struct aa_phone *phone,
		       const struct aa_line *line)
{
	(void)phone;

	return line_u64(pf, name, line, aa_account_calls(line->acc));
}


static int sample_hold_down(struct re_printf *pf, const char *name,
			    const struct aa_phone *phone,
			    const struct aa_line *line)
{
	struct labels l;
	(void)phone;

	labels_of(&l, line, NULL, NULL, NULL, NULL);

	return aa_prom_milli(pf, name, l.v, 1, aa_line_hold_down(line));
}


static int sample_failovers(struct re_printf *pf, const char *name,
			    const struct aa_phone *phone,
			    const struct aa_line *line)
{
	(void)phone;

	return line_u64(pf, name, line, line->count.failovers);
}


static int sample_failbacks(struct re_printf *pf, const char *name,
			    const struct aa_phone *phone,
			    const struct aa_line *line)
{
	(void)phone;

	return line_u64(pf, name, line, line->count.failbacks);
}


static int sample_registrations(struct re_printf *pf, const char *name,
				const struct aa_phone *phone,
				const struct aa_line *line)
{
	(void)phone;

	return line_u64(pf, name, line, line->count.registrations);
}


/* None before the first move */
static int sample_last_move(struct re_printf *pf, const char *name,
			    const struct aa_phone *phone,
			    const struct aa_line *line)
{
	const struct aa_journal_entry *e = NULL;
	uint64_t at = 0;
	struct labels l;

	while ((e = aa_journal_next(phone->jnl, line->cfg.line, e))) {

		if (e->event == AA_JOURNAL_FAILOVER ||
		    e->event == AA_JOURNAL_FAILBACK)
			at = e->time;
	}

	if (!at)
		return 0;

	labels_of(&l, line, NULL, NULL, NULL, NULL);

	return aa_prom_milli(pf, name, l.v, 1, at);
}


/* ---- families of the flows of a line ----------------------------------- */


typedef int (flow_sample_h)(struct re_printf *pf, const char *name,
			    const struct labels *l,
			    const struct aa_line *line,
			    const struct aa_flow *flow);


static int each_flow(struct re_printf *pf, const char *name,
		     const struct aa_line *line, flow_sample_h *h)
{
	int role, rank, err = 0;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++) {
			const struct aa_flow *flow =
				aa_line_flow(line, (enum aa_role)role,
					     (enum aa_rank)rank);
			struct labels l;

			if (!flow)
				continue;

			labels_of(&l, line, "role",
				  aa_role_name((enum aa_role)role), "rank",
				  aa_rank_name((enum aa_rank)rank));
			l.v[3].name  = "uri";
			l.v[3].value = aa_flow_name(flow);
			err |= h(pf, name, &l, line, flow);
		}
	}

	return err;
}


static int flow_up(struct re_printf *pf, const char *name,
		   const struct labels *l, const struct aa_line *line,
		   const struct aa_flow *flow)
{
	(void)line;

	return aa_prom_u64(pf, name, l->v, 4,
			   aa_flow_state(flow) == AA_FLOW_UP);
}


static int flow_registered(struct re_printf *pf, const char *name,
			   const struct labels *l, const struct aa_line *line,
			   const struct aa_flow *flow)
{
	return aa_prom_u64(pf, name, l->v, 4,
			   aa_line_registered_at(line, flow));
}


static int flow_rtt(struct re_printf *pf, const char *name,
		    const struct labels *l, const struct aa_line *line,
		    const struct aa_flow *flow)
{
	(void)line;

	if (!aa_flow_rtt(flow))
		return 0;

	return aa_prom_micro(pf, name, l->v, 4, aa_flow_rtt(flow));
}


static int flow_failures(struct re_printf *pf, const char *name,
			 const struct labels *l, const struct aa_line *line,
			 const struct aa_flow *flow)
{
	(void)line;

	return aa_prom_u64(pf, name, l->v, 4, aa_flow_failures(flow));
}


static int flow_probes(struct re_printf *pf, const char *name,
		       const struct labels *l, const struct aa_line *line,
		       const struct aa_flow *flow)
{
	(void)line;

	return aa_prom_u64(pf, name, l->v, 4, aa_flow_probes(flow));
}


static int sample_flow_up(struct re_printf *pf, const char *name,
			  const struct aa_phone *phone,
			  const struct aa_line *line)
{
	(void)phone;

	return each_flow(pf, name, line, flow_up);
}


static int sample_flow_registered(struct re_printf *pf, const char *name,
				  const struct aa_phone *phone,
				  const struct aa_line *line)
{
	(void)phone;

	return each_flow(pf, name, line, flow_registered);
}


static int sample_flow_rtt(struct re_printf *pf, const char *name,
			   const struct aa_phone *phone,
			   const struct aa_line *line)
{
	(void)phone;

	return each_flow(pf, name, line, flow_rtt);
}


static int sample_flow_failures(struct re_printf *pf, const char *name,
				const struct aa_phone *phone,
				const struct aa_line *line)
{
	(void)phone;

	return each_flow(pf, name, line, flow_failures);
}


static int sample_probes(struct re_printf *pf, const char *name,
			 const struct aa_phone *phone,
			 const struct aa_line *line)
{
	(void)phone;

	return each_flow(pf, name, line, flow_probes);
}


/* ---- subscriptions ------------------------------------------------------ */


struct sub_count {
	uint64_t n[AA_SUB_TERMINATED + 1];
};


static bool count_sub(const struct aa_sub_info *si, void *arg)
{
	struct sub_count *count = arg;

	if (!si->member && si->state <= AA_SUB_TERMINATED)
		++count->n[si->state];

	return false;
}


static int sample_subscriptions(struct re_printf *pf, const char *name,
				const struct aa_phone *phone,
				const struct aa_line *line)
{
	struct sub_count count;
	struct labels l;
	int state, err = 0;
	(void)phone;

	memset(&count, 0, sizeof(count));
	(void)aa_subs_apply(line->subs, count_sub, &count);

	for (state=AA_SUB_PENDING; state<=AA_SUB_TERMINATED; state++) {
		labels_of(&l, line, "state",
			  aa_sub_state_name((enum aa_sub_state)state),
			  NULL, NULL);
		err |= aa_prom_u64(pf, name, l.v, 2, count.n[state]);
	}

	return err;
}


static const struct family familyv[] = {
{"aastra_line_info", "gauge", "Who a line is; always 1.", sample_info},
{"aastra_line_registered", "gauge", "1 if the line has a live registration.",
							sample_registered},
{"aastra_line_service", "gauge", "1 for where the line has its service.",
							sample_service},
{"aastra_line_active", "gauge", "1 for the server in force of each role.",
							sample_active},
{"aastra_line_held", "gauge", "1 if a command holds the line on one side.",
							sample_held},
{"aastra_line_call", "gauge", "1 if the line has a call.", sample_call},
{"aastra_line_hold_down_seconds", "gauge",
 "How much longer the primary must stay good, because the line flapped.",
							sample_hold_down},
{"aastra_line_last_move_timestamp_seconds", "gauge",
 "When the line failed over or back last, since 1970.",	sample_last_move},
{"aastra_line_subscriptions", "gauge", "Subscriptions of the line by state.",
							sample_subscriptions},
{"aastra_failovers_total", "counter", "Moves to a backup.",
							sample_failovers},
{"aastra_failbacks_total", "counter", "Moves home to a primary.",
							sample_failbacks},
{"aastra_registrations_total", "counter",
 "REGISTERs that a registrar accepted.",		sample_registrations},
{"aastra_flow_up", "gauge", "1 if the server answers.",	sample_flow_up},
{"aastra_flow_registered", "gauge",
 "1 if the line has a binding over it.",		sample_flow_registered},
{"aastra_flow_rtt_seconds", "gauge",
 "Round-trip time of the latest OPTIONS to the server.", sample_flow_rtt},
{"aastra_flow_failures", "gauge", "Failures of the server in a row.",
							sample_flow_failures},
{"aastra_probes_total", "counter",
 "OPTIONS sent to find out about the server; lines that share it show the"
 " same.",						sample_probes},
};


static int print_family(struct re_printf *pf, const struct aa_phone *phone,
			const struct family *fam)
{
	const struct le *le;
	int err;

	err = aa_prom_family(pf, fam->name, fam->type, fam->help);

	for (le = list_head(&phone->linel); le && !err; le = le->next)
		err = fam->h(pf, fam->name, phone, le->data);

	return err;
}


static int print_total(struct re_printf *pf, const char *name,
		       const char *help, uint64_t val)
{
	int err;

	err  = aa_prom_family(pf, name, "counter", help);
	err |= aa_prom_u64(pf, name, NULL, 0, val);

	return err;
}


static int print_phone(struct re_printf *pf, const struct aa_phone *phone)
{
	const struct aa_prom_label build[] = {
		{"version", AASTRA_VERSION},
		{"baresip", aa_compat_baresip_version()}
	};
	const struct aa_prom_label over[] = {{"event", "failover"}};
	const struct aa_prom_label back[] = {{"event", "failback"}};
	int err;

	err  = aa_prom_family(pf, "aastra_build_info", "gauge",
			      "Versions; always 1.");
	err |= aa_prom_u64(pf, "aastra_build_info", build, ARRAY_SIZE(build),
			   1);
	err |= aa_prom_family(pf, "aastra_lines", "gauge", "Lines there are.");
	err |= aa_prom_u64(pf, "aastra_lines", NULL, 0,
			   list_count(&phone->linel));

	err |= print_total(pf, "aastra_refusals_total",
			   "Registrations that a server refused.",
			   metrics.refused);
	err |= print_total(pf, "aastra_subscriptions_moved_total",
			   "How often all subscriptions of a line moved.",
			   metrics.moves);
	err |= print_total(pf, "aastra_calls_moved_total",
			   "Calls that met a dead server and were dialled"
			   " again.", metrics.calls);

	err |= aa_prom_family(pf, "aastra_detection_seconds", "histogram",
			      "From the first thing that stayed unanswered to"
			      " the verdict that a server failed; for each"
			      " line that uses it.");
	err |= aa_prom_histogram(pf, "aastra_detection_seconds", NULL, 0,
				 &metrics.detect);
	err |= aa_prom_family(pf, "aastra_move_seconds", "histogram",
			      "From that verdict (failback: from the first"
			      " REGISTER) to the registration elsewhere.");
	err |= aa_prom_histogram(pf, "aastra_move_seconds", over,
				 ARRAY_SIZE(over), &metrics.failover);
	err |= aa_prom_histogram(pf, "aastra_move_seconds", back,
				 ARRAY_SIZE(back), &metrics.failback);

	return err;
}


/**
 * Print all metrics in the text format of Prometheus
 *
 * @param pf    Print function
 * @param phone Phone
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_metrics_print(struct re_printf *pf, const struct aa_phone *phone)
{
	size_t i;
	int err;

	if (!phone)
		return EINVAL;

	err = print_phone(pf, phone);

	for (i=0; i<ARRAY_SIZE(familyv) && !err; i++)
		err = print_family(pf, phone, &familyv[i]);

	return err;
}
