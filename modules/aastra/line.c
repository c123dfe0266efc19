/**
 * @file line.c  A line: brings what is to what should be
 *
 * Everything that happens is only recorded, and one function, line_run(),
 * looks at all that is known, asks the policy what the line should be, and
 * takes the next step there.  It may be called at any time and any number of
 * times: it does nothing where nothing is to be done.
 *
 * A line is in force on one path; another one may be in the making, and some
 * may be on their way out:
 *
 *     next --- 2xx ---> cur --- a better one is in force ---> leaving
 *
 * So a move is make-before-break wherever the old path still works.  With
 * `sip outbound standby: 2` a second path is registered beside the one in
 * force, and comes into force without a REGISTER:
 *
 *     second --- the primary is down ---> cur
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <stddef.h>
#include <string.h>
#include <re.h>
#include "aastra_baresip.h"
#include "compat.h"
#include "request.h"
#include "flow.h"
#include "binding.h"
#include "account.h"
#include "callmove.h"
#include "line.h"
#include "stray.h"
#include "subscription.h"
#include "contact.h"


enum {
	FAREWELL_WAIT_MS = 2000, /* between tries; twice as long each time  */
	FAREWELL_SHIFT_MAX = 5,
	WARY_MS         = 2000, /* doubles each time                        */
	ASTRAY_MS       = 32000, /* RFC 3261 17.1.2.2, Timer F: no proxy
				    passes a request on after that          */
	FLOW_LINGER_MS  = 1000,
	DOUBT_MS        = 400,  /* a farewell that nobody has acknowledged, */
	DOUBT_RTTS      = 3,    /* or so many round trips,                  */
	DOUBT_MAX_MS    = 800,  /* but no longer: baresip's exit waits      */
	AGAIN_MS        = 10,   /* libre hears that a connection is closed  */
	RETRY_MIN_MS    = 1000,
	BACKOFF_SHIFT_MAX = 16,

	/* a line that fails over again within FLAP_MS of having gone home
	   stays away for HOLD_MIN_MS, twice as long each time; what has been
	   quiet for HOLD_DECAY_MS counts half */
	FLAP_MS         = 60000,
	HOLD_MIN_MS     = 5000,
	HOLD_MAX_MS     = 300000,
	HOLD_DECAY_MS   = 300000,

	/* REGISTER exchanges of a line that faults may cause, and as many
	   farewells */
	BUDGET_MS       = 3000, /* one in so much time, ..                  */
	BUDGET_BURST    = 10,   /* .. and so many at once                   */
	BUDGET_KEPT     = 5,    /* of which the second path leaves so many  */

	/* lines that look at a flow at once, and then one in so much time */
	LOOK_BURST      = 20,
	LOOK_MS         = 1,

	/* lines that tell baresip at once what they are: each is up to two
	   requests and their answers over one UDP socket, of which libre
	   reads one packet at a time and whose buffer holds 166 of them */
	TELL_MAX        = 16,
	TELL_LOST_MS    = 1000, /* what has not come by then never will     */

	REGIDS          = 4,    /* of a line                                */
	OLDER_MAX       = 4,    /* paths to the same servers                */
	EPOCHS          = AA_REGID_MAX / REGIDS /* until they are used again */
};


/** A binding whose line has ended: it is unregistered, and then forgotten */
struct farewell {
	struct le le;
	struct le le_way;       /* those whose flow others may need, too    */
	struct aa_binding *b;
	struct aa_flow_user *user;
	struct sip *sip;        /* keeps baresip's exit waiting for it      */
	struct aa_conn conn;    /* that it was sent over                    */
	struct aa_phone *phone;
	uint32_t line;          /* its number, which another may have now   */
	bool proven;            /* its reg-id is known by its own Call-ID   */
	struct aa_tmr tmr;
	struct aa_tmr tmr_again;
	struct aa_stray *stray; /* while it is not answered                 */
	uint64_t before;        /* till when one before it may arrive       */
	uint64_t sent_at;       /* aa_now_ms()                              */
	bool stream;            /* over a connection                        */
	bool again;             /* it was sent a second time                */
	bool asked;             /* the flow is looked at for it             */
	char *authuser;
	char *authpass;
};


static void change(struct aa_line *line, enum aa_journal_event event,
		   const char *to, const char *reason, uint64_t took,
		   const char *by, const char *decision);
static struct aa_flow *call_flow(const struct aa_line *line);
static void line_run(struct aa_line *line);
static void plain_leave(struct aa_line *line);
static void strays_take(struct aa_line *line, bool parting);
static void farewell_flow_handler(struct aa_flow *flow, void *arg);
static void leave(struct aa_line *line, struct aa_path *path);
static void abandon_next(struct aa_line *line);
static void old_end(struct aa_line *line);
static void anew(struct aa_path *path);
static void doubt(struct aa_line *line);
static void all_doubt(struct aa_line *line);


/* It does not wait to be registered any more */
static void turns_end(struct aa_path *path)
{
	aa_turn_end(&path->move);
	aa_turn_end(&path->refresh);
}


static void path_destructor(void *arg)
{
	struct aa_path *path = arg;

	turns_end(path);
	list_unlink(&path->le);
	mem_deref(path->b);
}


static void line_destructor(void *arg)
{
	struct aa_line *line = arg;
	size_t i, j;

	list_unlink(&line->le);
	list_unlink(&line->le_tell);
	aa_tmr_cancel(&line->tmr);
	aa_tmr_cancel(&line->tmr_now);
	list_flush(&line->calll);
	mem_deref(line->subs);
	mem_deref(line->cur);
	mem_deref(line->next);
	mem_deref(line->second);
	list_flush(&line->leavel);
	list_flush(&line->idlel);

	/* a farewell of an older line may hold on to one */
	for (i=0; i<AA_ROLE_COUNT; i++) {
		for (j=0; j<AA_RANK_COUNT; j++) {
			if (line->user[i][j])
				aa_flow_user_take(line->user[i][j],
						  farewell_flow_handler,
						  NULL);
			mem_deref(line->user[i][j]);
		}
	}
}


static void now_handler(void *arg)
{
	line_run(arg);
}


/**
 * Look at a line as soon as libre has nothing of its own in hand
 *
 * @param line Line
 */
void aa_line_kick(struct aa_line *line)
{
	if (!line || line->ended)
		return;

	aa_tmr_start(&line->tmr_now, 0, now_handler, line);
}


/*
 * A flow that hundreds of lines share would keep the event loop busy with all
 * of them at once.  The first ones look at it right away, the others one after
 * the other, faster than they may register anyway; a line with a call waits
 * for none of them.
 */
static void flow_handler(struct aa_flow *flow, void *arg)
{
	struct aa_line *line = arg;
	struct aa_phone *phone = line->phone;
	const uint64_t now = aa_now_ms();
	uint64_t slot;
	(void)flow;

	if (line->ended)
		return;

	if (aa_account_calls(line->acc)) {
		aa_line_kick(line);
		return;
	}

	/* it will look anyway */
	if (aa_tmr_isrunning(&line->tmr_now))
		return;

	slot = aa_pace_slot(&phone->look_slot, LOOK_MS, LOOK_BURST, now);
	aa_tmr_start(&line->tmr_now, slot > now ? slot - now : 0, now_handler,
		  line);
}


static bool same_use(const enum aa_rank *a, const enum aa_rank *b)
{
	return 0 == memcmp(a, b, sizeof(enum aa_rank) * AA_ROLE_COUNT);
}


static bool server_isset(const struct aa_line *line, enum aa_role role,
			 enum aa_rank rank)
{
	return str_isset(line->cfg.server[role][rank].host);
}


/* The role whose servers decide where a REGISTER goes */
static enum aa_role route_role(const struct aa_line *line)
{
	switch (line->cfg.scenario) {

	case AA_SCENARIO_ALL:
	case AA_SCENARIO_OUTBOUND:
		return AA_ROLE_OUTBOUND;

	case AA_SCENARIO_PROXY_REGISTRAR:
		return AA_ROLE_REGISTRAR;

	default:
		return server_isset(line, AA_ROLE_OUTBOUND, AA_RANK_PRIMARY)
			? AA_ROLE_OUTBOUND : AA_ROLE_REGISTRAR;
	}
}


/*
 * The server that stands for a role and rank.  Without a primary outbound
 * proxy, the primary proxy (else the registrar) is what the backup outbound
 * proxy stands against.
 */
static const struct aa_server *server_get(const struct aa_line *line,
					  enum aa_role role,
					  enum aa_rank rank)
{
	if (server_isset(line, role, rank))
		return &line->cfg.server[role][rank];

	if (role != AA_ROLE_OUTBOUND || rank != AA_RANK_PRIMARY)
		return NULL;

	if (server_isset(line, AA_ROLE_PROXY, AA_RANK_PRIMARY))
		return &line->cfg.server[AA_ROLE_PROXY][AA_RANK_PRIMARY];

	if (server_isset(line, AA_ROLE_REGISTRAR, AA_RANK_PRIMARY))
		return &line->cfg.server[AA_ROLE_REGISTRAR][AA_RANK_PRIMARY];

	return NULL;
}


static int attach_flow(struct aa_line *line, enum aa_role role,
		       enum aa_rank rank)
{
	const struct aa_server *srv = server_get(line, role, rank);
	struct aa_flow_prm prm;

	if (!srv)
		return 0;

	memset(&prm, 0, sizeof(prm));
	prm.tp          = line->tp;
	prm.host        = srv->host;
	prm.port        = srv->port;
	prm.keep        = line->cfg.outbound;
	prm.transaction = line->cfg.transaction_timer;
	prm.keepalive   = line->cfg.keepalive_timer;
	prm.base        = line->cfg.recovery_base;
	prm.max         = line->cfg.recovery_max;
	prm.dnsc        = net_dnsc(baresip_network());
	prm.query_type  = line->cfg.dns_query_type;

	/* what is behind an outbound proxy is judged through it */
	if (role != AA_ROLE_OUTBOUND)
		prm.via = aa_line_flow(line, AA_ROLE_OUTBOUND,
				       AA_RANK_PRIMARY);

	return aa_flow_attach(&line->user[role][rank], &line->phone->flowl,
			      uag_sip(), &prm, flow_handler, line);
}


static int attach_flows(struct aa_line *line)
{
	static const enum aa_role rolev[] = {AA_ROLE_PROXY, AA_ROLE_REGISTRAR};
	int rank, err = 0;
	size_t i;

	if (line->cfg.scenario != AA_SCENARIO_PROXY_REGISTRAR) {
		err  = attach_flow(line, route_role(line), AA_RANK_PRIMARY);
		err |= attach_flow(line, route_role(line), AA_RANK_BACKUP);
		return err;
	}

	if (server_isset(line, AA_ROLE_OUTBOUND, AA_RANK_PRIMARY)) {
		err = attach_flow(line, AA_ROLE_OUTBOUND, AA_RANK_PRIMARY);
		if (err)
			return err;
	}

	for (i=0; i<ARRAY_SIZE(rolev); i++) {
		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++) {
			if (server_isset(line, rolev[i], (enum aa_rank)rank))
				err |= attach_flow(line, rolev[i],
						   (enum aa_rank)rank);
		}
	}

	return err;
}


/* ---- subscriptions ---------------------------------------------------- */


static int subs_auth_handler(char **user, char **pass, const char *realm,
			     void *arg)
{
	const struct aa_line *line = arg;
	(void)realm;

	return aa_account_auth(line->acc, user, pass);
}


static void tell(const struct aa_line *line, enum aa_news what)
{
	if (line->phone->newsh)
		line->phone->newsh(what, line->cfg.line);
}


static void subs_handler(enum aa_sub_event ev, const struct aa_sub_info *si,
			 const char *text, uint32_t took, void *arg)
{
	struct aa_line *line = arg;
	struct ua *ua = aa_account_shown(line->acc);

	switch (ev) {

	case AA_SUB_EV_STATE:
		/* a server that goes on refusing is told of once */
		if (si->state == AA_SUB_ACTIVE || !si->failures ||
		    (si->state == AA_SUB_TERMINATED && si->failures == 1))
			info("aastra: line %u: subscription %s %s: %s%s%s\n",
			     line->cfg.line, si->event, si->uri,
			     aa_sub_state_name(si->state),
			     str_isset(text) ? ": " : "", text);
		aa_compat_emit(ua, "subscription", "line=%u event=%s uri=%s"
			       " state=%s", line->cfg.line, si->event, si->uri,
			       aa_sub_state_name(si->state));
		tell(line, AA_NEWS_STATE);
		break;

	case AA_SUB_EV_VALUE:
		aa_contact_value(si);
		aa_compat_emit(ua, "lamp", "line=%u event=%s uri=%s value=%s",
			       line->cfg.line, si->event, si->uri, si->value);
		tell(line, AA_NEWS_LAMP);
		break;

	case AA_SUB_EV_MWI:
		aa_compat_mwi(ua, text);
		break;

	case AA_SUB_EV_BODY:
		aa_compat_emit(ua, "notify", "line=%u event=%s uri=%s body=%s",
			       line->cfg.line, si->event, si->uri, text);
		break;

	case AA_SUB_EV_MOVED:
		change(line, AA_JOURNAL_SUBSCRIPTION_MOVED,
		       aa_rank_name(si->rank), text, took, "NOTIFY",
		       "subscriptions follow the line");
		break;

	case AA_SUB_EV_FAULT:
		aa_line_suspect(line, text);
		break;

	case AA_SUB_EV_SETTLED:
		aa_line_kick(line);
		break;
	}
}


/* ---- how often something may be sent ---------------------------------- */


static void budget_fill(struct aa_budget *budget)
{
	budget->left = BUDGET_BURST;
	budget->at   = aa_now_ms();
}


static void budget_update(struct aa_budget *budget)
{
	const uint64_t now = aa_now_ms();

	budget->left += (double)(now - budget->at) / BUDGET_MS;
	budget->left = MIN(budget->left, (double)BUDGET_BURST);
	budget->at   = now;
}


static bool budget_take(struct aa_budget *budget)
{
	budget_update(budget);
	if (budget->left < 1)
		return false;

	budget->left -= 1;

	return true;
}


/* ---- a line ----------------------------------------------------------- */


/**
 * Allocate a line; nothing is sent before aa_line_start()
 *
 * @param linep Pointer to the line
 * @param phone What all lines share
 * @param cfg   Settings
 * @param acc   Account of baresip; the line's from now on
 * @param tp    Transport
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_line_alloc(struct aa_line **linep, struct aa_phone *phone,
		  const struct aa_line_config *cfg, struct aa_account *acc,
		  enum sip_transp tp)
{
	struct aa_line *line;
	struct le *le;
	int err;

	if (!linep || !phone || !cfg || !acc)
		return EINVAL;

	/* the room that settings need to be read is not kept with each line */
	line = mem_zalloc(offsetof(struct aa_line, cfg) +
			  aa_line_config_size(cfg), line_destructor);
	if (!line)
		return ENOMEM;

	line->phone = phone;
	memcpy(&line->cfg, cfg, aa_line_config_size(cfg));
	line->tp    = tp;
	line->since = aa_now_ms();
	budget_fill(&line->budget);
	budget_fill(&line->budget_leaving);

	err = attach_flows(line);
	if (err) {
		mem_deref(line);
		return err;
	}

	line->acc = acc;

	err = aa_subs_alloc(&line->subs, uag_sip(), cfg, subs_auth_handler,
			    subs_handler, line);
	if (err) {
		mem_deref(line);
		return err;
	}

	/* lines are kept in the order of their numbers */
	for (le = list_tail(&phone->linel); le; le = le->prev) {
		const struct aa_line *other = le->data;

		if (other->cfg.line < cfg->line)
			break;
	}

	if (le)
		list_insert_after(&phone->linel, le, &line->le, line);
	else
		list_prepend(&phone->linel, &line->le, line);

	*linep = line;

	return 0;
}


/**
 * Start a line
 *
 * @param line  Line
 * @param plain The registrar may have a binding that baresip itself made,
 *              before the account was taken over
 */
void aa_line_start(struct aa_line *line, bool plain)
{
	if (!line)
		return;

	if (plain)
		plain_leave(line);
	strays_take(line, true);
	aa_line_kick(line);
}


/* One entry of the history, one line of the log, one event */
static void record(struct aa_line *line, struct aa_journal_entry *e)
{
	const char *name = aa_journal_event_name(e->event);
	const char *reason = e->reason ? e->reason : "";

	e->time = aa_wall_ms();
	e->line = line->cfg.line;
	if (aa_journal_add(line->phone->jnl, e))
		debug("aastra: line %u: not kept in the history\n", e->line);

	info("aastra: line %u: %s%s%s%s%s%s%s (%u ms)\n", e->line, name,
	     str_isset(e->from) ? " from " : "", e->from ? e->from : "",
	     str_isset(e->to) ? " to " : "", e->to ? e->to : "",
	     *reason ? ": " : "", reason, e->took);

	aa_compat_emit(aa_account_shown(line->acc), name,
		       "line=%u to=%s from=%s took=%u reason=%s", e->line,
		       str_isset(e->to) ? e->to : "-",
		       str_isset(e->from) ? e->from : "-", e->took, reason);
}


static void change(struct aa_line *line, enum aa_journal_event event,
		   const char *to, const char *reason, uint64_t took,
		   const char *by, const char *decision)
{
	struct aa_journal_entry e;

	memset(&e, 0, sizeof(e));
	e.event    = event;
	e.to       = to;
	e.reason   = reason;
	e.took     = (uint32_t)MIN(took, (uint64_t)UINT32_MAX);
	e.by       = by;
	e.decision = decision;
	record(line, &e);
}


/* ---- what is known ---------------------------------------------------- */


/**
 * The flow of a role and rank
 *
 * @param line Line
 * @param role Role of the server
 * @param rank Rank of the server
 *
 * @return Flow, NULL if there is none
 */
struct aa_flow *aa_line_flow(const struct aa_line *line, enum aa_role role,
			     enum aa_rank rank)
{
	return line ? aa_flow_user_flow(line->user[role][rank]) : NULL;
}


/* Has it a live binding over a flow that works? */
static bool path_serves(const struct aa_path *path)
{
	if (!path || !path->registered || !aa_binding_live(path->b))
		return false;

	if (!aa_flow_kept(path->flow))
		return aa_flow_state(path->flow) != AA_FLOW_DOWN;

	return aa_flow_state(path->flow) == AA_FLOW_UP &&
		aa_flow_generation(path->flow) == path->generation;
}


/**
 * Is the line registered?
 *
 * @param line Line
 *
 * @return true if the path in force has a live binding over a flow that works
 */
bool aa_line_registered(const struct aa_line *line)
{
	return line && path_serves(line->cur);
}


/**
 * Is the line registered over a flow, in force or besides (RFC 5626 4.2)?
 *
 * @param line Line
 * @param flow Flow
 *
 * @return true if it has a live binding there
 */
bool aa_line_registered_at(const struct aa_line *line,
			   const struct aa_flow *flow)
{
	const struct aa_path *pathv[2];
	size_t i;

	if (!line || !flow)
		return false;

	pathv[0] = line->cur;
	pathv[1] = line->second;
	for (i=0; i<ARRAY_SIZE(pathv); i++) {
		if (path_serves(pathv[i]) && pathv[i]->flow == flow)
			return true;
	}

	return false;
}


/**
 * Where a line has its service
 *
 * @param line  Line
 * @param mixed Set to true where proxy and registrar differ in rank
 *
 * @return Rank, AA_RANK_NONE if it is registered nowhere
 */
enum aa_rank aa_line_service(const struct aa_line *line, bool *mixed)
{
	enum aa_rank proxy, registrar;

	if (mixed)
		*mixed = false;

	if (!aa_line_registered(line))
		return AA_RANK_NONE;

	if (line->cfg.scenario != AA_SCENARIO_PROXY_REGISTRAR)
		return line->use[route_role(line)];

	proxy     = line->use[AA_ROLE_PROXY];
	registrar = line->use[AA_ROLE_REGISTRAR];
	if (mixed)
		*mixed = proxy != registrar;

	return registrar;
}


/**
 * What was seen last of what keeps the line from being registered
 *
 * @param line Line
 *
 * @return Text, "" if nothing was
 */
const char *aa_line_reason(const struct aa_line *line)
{
	if (!line)
		return "";

	if (str_isset(line->fault))
		return line->fault;
	if (line->cur)
		return line->cur->reason;
	if (!line->next)
		return "";

	/* it was never registered: of what is tried now */
	return str_isset(line->next->reason) ? line->next->reason :
		aa_flow_reason(line->next->flow);
}


/**
 * How long it takes until a server of the line is tried again
 *
 * @param line Line
 *
 * @return Time to the earliest one [ms], 0 if none waits
 */
uint64_t aa_line_retry_in(const struct aa_line *line)
{
	const uint64_t now = aa_now_ms();
	uint64_t at = 0;
	int role, rank;

	if (!line)
		return 0;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++) {
			uint64_t in = aa_flow_retry_in(aa_line_flow(line,
				(enum aa_role)role, (enum aa_rank)rank));
			const uint64_t until = line->pen[role][rank].until;

			if (until > now)
				in = MAX(in, until - now);
			if (in && (!at || in < at))
				at = in;
		}
	}

	if (!aa_line_registered(line) && line->cur &&
	    line->cur->retry_at > now && (!at || line->cur->retry_at - now < at))
		at = line->cur->retry_at - now;

	return at;
}


/**
 * The AOR in force
 *
 * @param line Line
 *
 * @return SIP URI
 */
const char *aa_line_aor(const struct aa_line *line)
{
	return line ? account_aor(ua_account(aa_account_shown(line->acc)))
		: NULL;
}


static uint64_t hold_down(const struct aa_line *line, enum aa_role role)
{
	uint64_t age;

	if (!line->hold_ms[role])
		return 0;

	age = (aa_now_ms() - line->hold_set[role]) / HOLD_DECAY_MS;

	return age > 16 ? 0 : line->hold_ms[role] >> age;
}


/**
 * The hold-down in force: how much longer than `sip failback delay` a primary
 * must stay good, because the line has flapped
 *
 * @param line Line
 *
 * @return Milliseconds, the longest one of its roles'; 0 if it has not
 *         flapped lately
 */
uint64_t aa_line_hold_down(const struct aa_line *line)
{
	uint64_t longest = 0;
	int role;

	for (role=0; line && role<AA_ROLE_COUNT; role++)
		longest = MAX(longest, hold_down(line, (enum aa_role)role));

	return longest;
}


static void flap_note(struct aa_line *line, enum aa_role role)
{
	const uint64_t now = aa_now_ms();
	const uint64_t hold = hold_down(line, role);

	if (!line->home_at[role] || now - line->home_at[role] > FLAP_MS + hold)
		return;

	line->hold_ms[role]  = MIN(MAX(2 * hold, (uint64_t)HOLD_MIN_MS),
				   (uint64_t)HOLD_MAX_MS);
	line->hold_set[role] = now;
}


/* Proxy and registrar flap apart from one another */
static void flaps_note(struct aa_line *line, const enum aa_rank *from,
		       const enum aa_rank *to)
{
	int role;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		if (to[role] == from[role])
			continue;

		if (to[role] == AA_RANK_PRIMARY)
			line->home_at[role] = aa_now_ms();
		else if (line->mode == AA_MODE_AUTO)
			flap_note(line, (enum aa_role)role);
	}
}


static uint64_t good_at(const struct aa_line *line, const struct aa_flow *flow,
			enum aa_role role)
{
	return aa_flow_since(flow) +
		(uint64_t)line->cfg.failback_delay * 1000 +
		hold_down(line, role);
}


/* Without keep-alive nothing proves a primary: a line that has flapped stays
   away from it for as long, counted from when it left */
static uint64_t away_until(const struct aa_line *line, enum aa_role role,
			   enum aa_rank rank)
{
	const uint64_t hold = hold_down(line, role);

	return hold && rank == AA_RANK_PRIMARY &&
		line->use[role] == AA_RANK_BACKUP
		? line->hold_set[role] + hold : 0;
}


static enum aa_avail avail(const struct aa_line *line, enum aa_role role,
			   enum aa_rank rank, uint64_t now)
{
	const struct aa_flow *flow = aa_line_flow(line, role, rank);

	if (!flow || line->pen[role][rank].until > now)
		return AA_AVAIL_DOWN;

	if (!aa_flow_kept(flow)) {
		if (aa_flow_state(flow) == AA_FLOW_DOWN)
			return AA_AVAIL_DOWN;

		return now >= away_until(line, role, rank) ? AA_AVAIL_GOOD
			: AA_AVAIL_UP;
	}

	switch (aa_flow_state(flow)) {

	case AA_FLOW_DOWN:
		return AA_AVAIL_DOWN;

	case AA_FLOW_UP:
		return now >= good_at(line, flow, role) &&
			aa_flow_successes(flow) >= line->cfg.failback_successes
			? AA_AVAIL_GOOD : AA_AVAIL_UP;

	default:
		return AA_AVAIL_UNKNOWN;
	}
}


/**
 * What a line knows of its servers, as the policy takes it
 *
 * @param in   Set to what is known
 * @param line Line
 */
void aa_line_policy_in(struct aa_policy_in *in, const struct aa_line *line)
{
	const uint64_t now = aa_now_ms();
	int role, rank;

	memset(in, 0, sizeof(*in));
	in->scenario = line->cfg.scenario;
	in->mode     = line->mode;
	in->failback = line->cfg.failback;
	in->outbound = line->cfg.outbound;
	in->calls    = aa_account_calls(line->acc);
	in->standby  = line->cfg.standby;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		in->current[role] = line->use[role];

		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++) {
			in->avail[role][rank] = avail(line,
						      (enum aa_role)role,
						      (enum aa_rank)rank, now);
			in->configured[role][rank] =
				server_isset(line, (enum aa_role)role,
					     (enum aa_rank)rank) ||
				line->user[role][rank];
		}
	}
}


/* ---- paths ------------------------------------------------------------ */


/* Where baresip's own binding is, if there is one, the registrar says */
static void plain_learn(const struct aa_line *line, const struct aa_binding *b,
			const struct sip_msg *msg)
{
	struct le *le;

	for (le = list_head(&line->leavel); le; le = le->next) {
		const struct aa_path *left = le->data;

		if (left->plain)
			aa_binding_learn(left->b, b, line->phone->uuid, msg);
	}
}


static void binding_handler(struct aa_binding *b, enum aa_binding_event ev,
			    const char *reason, uint32_t retry_after,
			    const struct sip_msg *msg, void *arg)
{
	struct aa_path *path = arg;

	if (ev == AA_BINDING_OK) {
		plain_learn(path->line, b, msg);
		turns_end(path);
	}

	/* a farewell may have gone over another path's flow */
	if (msg && path->over_own)
		aa_flow_seen(path->flow, msg);

	if (ev != AA_BINDING_GONE)
		path->late_until = aa_msg_is_open(msg) ? aa_now_ms() + ASTRAY_MS : 0;

	path->event           = true;
	path->ev              = ev;
	path->retry_after     = retry_after;
	path->transport_error = !msg;
	path->scode           = msg ? msg->scode : 0;
	str_ncpy(path->reason, reason, sizeof(path->reason));

	aa_line_kick(path->line);
}


static void refresh_handler(void *arg)
{
	const struct aa_path *path = arg;

	aa_binding_refresh(path->b);
}


/* May its binding be refreshed now? */
static bool turn_handler(uint64_t left, void *arg)
{
	struct aa_path *path = arg;
	struct aa_pace *pace = &path->line->phone->pace;

	if (aa_account_calls(path->line->acc))
		aa_pace_pass(pace, &path->refresh);
	else if (!aa_pace_ask(pace, &path->refresh, AA_PACE_REFRESH, left,
			      refresh_handler, path))
		return false;

	/* until it is answered, as in attempt() */
	path->late_until = aa_now_ms() + ASTRAY_MS;

	return true;
}


static int auth_handler(char **user, char **pass, const char *realm,
			void *arg)
{
	const struct aa_path *path = arg;
	(void)realm;

	return aa_account_auth(path->line->acc, user, pass);
}


static unsigned count_use(const struct list *pathl, const enum aa_rank *use)
{
	const struct le *le;
	unsigned n = 0;

	for (le = list_head(pathl); le; le = le->next) {
		const struct aa_path *path = le->data;

		n += !path->plain && same_use(path->use, use);
	}

	return n;
}


static bool regid_in(const struct list *pathl, unsigned regid)
{
	const struct le *le;

	for (le = list_head(pathl); le; le = le->next) {
		const struct aa_path *path = le->data;

		if (aa_binding_regid(path->b) == regid)
			return true;
	}

	return false;
}


static bool regid_is(const struct aa_path *path, unsigned regid)
{
	return path && aa_binding_regid(path->b) == regid;
}


/* A line of the same number has ended, and what it says to the registrar is
   under way still: it would count for this one */
static bool regid_parting(const struct aa_line *line, unsigned regid)
{
	const struct le *le;

	for (le = list_head(&line->phone->wayl); le; le = le->next) {
		const struct farewell *fw = le->data;

		if (fw->b && fw->line == line->cfg.line &&
		    aa_binding_regid(fw->b) == regid)
			return true;
	}

	return false;
}


static bool regid_taken(const struct aa_line *line, unsigned regid)
{
	return line && (regid_parting(line, regid) ||
			regid_is(line->cur, regid) ||
			regid_is(line->next, regid) ||
			regid_is(line->second, regid) ||
			regid_in(&line->leavel, regid) ||
			regid_in(&line->idlel, regid) ||
			regid_taken(line->old, regid));
}


/* The phone's instance-id is the same for all lines, and a registrar may look
   at no more than the user */
static bool same_user(const struct aa_line *line, const struct aa_line *other)
{
	const struct account *a = aa_account_prim(line->acc);
	const struct account *b = aa_account_prim(other->acc);

	return line->cfg.outbound && other->cfg.outbound &&
		0 == pl_cmp(&account_luri(a)->user, &account_luri(b)->user);
}


static bool regid_free(const struct aa_line *line, unsigned regid)
{
	const struct le *le;

	if (regid_taken(line, regid))
		return false;

	for (le = list_head(&line->phone->linel); le; le = le->next) {
		const struct aa_line *other = le->data;

		if (other != line && same_user(line, other) &&
		    regid_taken(other, regid))
			return false;
	}

	return true;
}


/* What somebody else has said farewell to may be removed under this reg-id */
static bool regid_astray(const struct aa_line *line, unsigned regid)
{
	const struct account *acc = aa_account_prim(line->acc);
	const struct le *le;

	for (le = list_head(&line->phone->strayl); le; le = le->next) {
		const struct aa_stray *s = le->data;

		if (s->regid == regid &&
		    aa_stray_is(s, &account_luri(acc)->user))
			return true;
	}

	return false;
}


static bool regid_usable(const struct aa_line *line, unsigned regid)
{
	return regid_free(line, regid) && !regid_astray(line, regid);
}


/*
 * Each path has a reg-id of its own (RFC 5626 4.2): 1 for the primary, 2 for
 * the backup, and 3 and 4 where proxy and registrar differ in rank; 4 more
 * where an older path to the same servers is not to be taken up again, or
 * another line of the same user has it.
 *
 * A phone that crashed goes on with the one that it had, so that the registrar
 * puts the new binding in the place of what is left there.
 */
static unsigned regid_of(const struct aa_line *line, const enum aa_rank *use)
{
	const bool backup = use[route_role(line)] == AA_RANK_BACKUP;
	const bool proxy = use[AA_ROLE_PROXY] == AA_RANK_BACKUP;
	const unsigned older = count_use(&line->leavel, use) +
		count_use(&line->idlel, use);
	unsigned kind = 1 + backup, regid = 0, i;

	if (line->warm_regid && same_use(use, line->warm) &&
	    regid_usable(line, line->warm_regid))
		return line->warm_regid;

	if (line->cfg.scenario == AA_SCENARIO_PROXY_REGISTRAR &&
	    backup != proxy)
		kind = proxy ? 3 : 4;

	for (i=0; i<EPOCHS; i++) {
		regid = REGIDS * ((OLDER_MAX * line->epoch + older + i) %
				  EPOCHS) + kind;
		if (regid_usable(line, regid))
			break;
	}

	return regid;
}


static int server_uri(char **urip, const struct aa_server *srv,
		      enum sip_transp tp, bool direct)
{
	const bool ipv6 = strchr(srv->host, ':') && srv->host[0] != '[';
	char port[8] = "";

	if (srv->port)
		(void)re_snprintf(port, sizeof(port), ":%u", srv->port);

	return re_sdprintf(urip, "sip:%s%s%s%s%s", ipv6 ? "[" : "", srv->host,
			   ipv6 ? "]" : "", port,
			   direct ? sip_transp_param(tp) : "");
}


/* Domain of the AOR of a path; NULL for the account's own */
static const struct aa_server *aor_server(const struct aa_line *line,
					  const enum aa_rank *use)
{
	return use[AA_ROLE_PROXY] == AA_RANK_BACKUP ?
		&line->cfg.server[AA_ROLE_PROXY][AA_RANK_BACKUP] : NULL;
}


/* Next hop that the administrator named, as a Route; NULL: go direct */
static const char *path_route(const struct aa_line *line,
			      const enum aa_rank *use)
{
	enum aa_rank rank = use[AA_ROLE_OUTBOUND];

	if (rank == AA_RANK_NONE)
		rank = AA_RANK_PRIMARY;

	return server_isset(line, AA_ROLE_OUTBOUND, rank) ?
		aa_flow_uri(aa_line_flow(line, AA_ROLE_OUTBOUND, rank)) : NULL;
}


/*
 * Send a binding's requests over a path, to the very address that the path's
 * flow found to work.
 */
static int hop_over(const struct aa_line *line, struct aa_binding *b,
		    const struct aa_path *path)
{
	const char *route = path_route(line, path->use);

	return aa_binding_hop_set(b, route ? route : aa_flow_uri(path->flow),
				  route != NULL, aa_flow_conn(path->flow));
}


/*
 * Next hop of everything that is not REGISTER, before the first registration
 * as at home; NULL: go direct
 */
static const char *call_route(const struct aa_line *line)
{
	static const enum aa_rank home[AA_ROLE_COUNT] = {
		AA_RANK_PRIMARY, AA_RANK_PRIMARY, AA_RANK_PRIMARY
	};
	const enum aa_rank *use = line->cur ? line->cur->use : home;
	const char *route = path_route(line, use);

	if (line->cfg.scenario != AA_SCENARIO_PROXY_REGISTRAR ||
	    server_isset(line, AA_ROLE_OUTBOUND, AA_RANK_PRIMARY))
		return route;

	return aa_flow_uri(aa_line_flow(line, AA_ROLE_PROXY,
					use[AA_ROLE_PROXY]));
}


static int path_binding(struct aa_path *path, unsigned regid)
{
	struct aa_line *line = path->line;
	const struct aa_server *aor = aor_server(line, path->use);
	const struct aa_server *srv;
	struct aa_binding_prm prm;
	char *registrar = NULL;
	struct ua *ua;
	int err;

	err = aa_account_ua(line->acc, aor ? aor->host : NULL,
			    aor ? aor->port : 0, &ua);
	if (err)
		return err;

	srv = &line->cfg.server[AA_ROLE_REGISTRAR]
		[path->use[AA_ROLE_REGISTRAR]];

	memset(&prm, 0, sizeof(prm));
	prm.sip         = uag_sip();
	prm.aor         = account_aor(ua_account(ua));
	prm.dispname    = account_display_name(ua_account(ua));
	prm.cuser       = ua_local_cuser(ua);
	prm.instance    = line->cfg.outbound && !path->plain &&
		str_isset(line->phone->uuid) ? line->phone->uuid : NULL;
	prm.regid       = regid;
	prm.expires     = line->cfg.registration_period;
	prm.renewal     = line->cfg.registration_renewal;
	prm.transaction = line->cfg.transaction_timer;
	prm.matching    = line->cfg.contact_matching;
	prm.mac         = line->cfg.mac;
	prm.line        = line->cfg.send_line ? line->cfg.line : 0;
	prm.authh       = auth_handler;
	prm.h           = binding_handler;
	prm.turnh       = turn_handler;
	prm.arg         = path;

	err = server_uri(&registrar, srv, line->tp, !path_route(line, path->use));
	if (err)
		return err;

	prm.registrar = registrar;
	err = aa_binding_alloc(&path->b, &prm);
	mem_deref(registrar);

	return err;
}


static int path_alloc(struct aa_path **pathp, struct aa_line *line,
		      const enum aa_rank *use, unsigned regid)
{
	const bool plain = !regid;
	struct aa_path *path;
	const enum aa_role role = route_role(line);
	int err;

	path = mem_zalloc(sizeof(*path), path_destructor);
	if (!path)
		return ENOMEM;

	path->line    = line;
	path->plain   = plain;
	path->wants   = !plain;
	path->started = aa_now_ms();
	/* an older path to the same servers has taken that over */
	path->inherited = !plain && same_use(use, line->warm) &&
		!count_use(&line->leavel, use) &&
		!count_use(&line->idlel, use);
	memcpy(path->use, use, sizeof(path->use));

	path->flow = aa_line_flow(line, role, use[role]);
	if (!path->flow) {
		err = ENOENT;
		goto out;
	}

	err = path_binding(path, regid);

 out:
	if (err)
		mem_deref(path);
	else
		*pathp = path;

	return err;
}


/* Which server is to blame when a path's registrar says 503 and the like */
static struct aa_penalty *path_penalty(const struct aa_path *path)
{
	struct aa_line *line = path->line;
	const enum aa_role role = route_role(line);

	return &line->pen[role][path->use[role]];
}


static void penalize(struct aa_path *path, uint32_t retry_after)
{
	const struct aa_line_config *cfg = &path->line->cfg;
	struct aa_penalty *pen = path_penalty(path);
	uint64_t wait;

	wait = (uint64_t)cfg->recovery_base * 1000;
	wait <<= MIN(pen->failures, BACKOFF_SHIFT_MAX);
	wait = MIN(wait, (uint64_t)cfg->recovery_max * 1000);
	wait = wait * (500 + rand_u16() % 501) / 1000;
	wait = MAX(wait, (uint64_t)retry_after * 1000);

	++pen->failures;
	pen->until  = aa_now_ms() + wait;
	pen->asked  = aa_now_ms() + (uint64_t)retry_after * 1000;
	pen->silent = path->transport_error;
	str_ncpy(pen->reason, path->reason, sizeof(pen->reason));
}


static void fault_note(struct aa_line *line, const char *reason,
		       const char *by)
{
	if (line->fault_at)
		return;

	line->fault_at = aa_now_ms();
	str_ncpy(line->fault, reason, sizeof(line->fault));
	str_ncpy(line->fault_by, by, sizeof(line->fault_by));
}


static void fault_clear(struct aa_line *line)
{
	line->fault_at = 0;
	line->fault[0] = '\0';
	line->fault_by[0] = '\0';
}


/* Requests that failed say which they were: "503 Gone to REGISTER" */
static const char *seen_by(const struct aa_flow *flow, const char *reason)
{
	const char *by = aa_flow_by(flow);
	const char *p = reason + strlen(reason);

	if (0 != strcmp(by, "request"))
		return by;

	while (p > reason && p[-1] >= 'A' && p[-1] <= 'Z')
		--p;

	return strlen(p) > 3 ? p : by;
}


/**
 * Why the server that decides a line's route is not used, though it may answer
 *
 * @param line Line
 * @param rank Which one
 *
 * @return Penalty
 */
const struct aa_penalty *aa_line_penalty(const struct aa_line *line,
					 enum aa_rank rank)
{
	return line && rank < AA_RANK_COUNT ?
		&line->pen[route_role(line)][rank] : NULL;
}


/**
 * How long the server that decides a line's route is left alone
 *
 * A flow that is kept is tried at any start.  Without keep-alive only requests
 * find out, so the time until the next of them may go there counts as well.
 *
 * @param line Line
 * @param rank Which one
 *
 * @return Time [ms], 0 if it may be used now
 */
uint64_t aa_line_punished(const struct aa_line *line, enum aa_rank rank)
{
	const struct aa_penalty *pen = aa_line_penalty(line, rank);
	const uint64_t now = aa_now_ms();
	const struct aa_flow *flow;
	uint64_t left;

	if (!pen)
		return 0;

	flow = aa_line_flow(line, route_role(line), rank);
	left = pen->until > now ? pen->until - now : 0;

	return aa_flow_kept(flow) ? left : MAX(left, aa_flow_retry_in(flow));
}


/* ---- leaving a path --------------------------------------------------- */


static bool path_works(const struct aa_path *path)
{
	if (!aa_flow_kept(path->flow))
		return aa_flow_state(path->flow) != AA_FLOW_DOWN;

	return aa_flow_state(path->flow) == AA_FLOW_UP;
}


/* When the registrar forgets the binding by itself at the latest */
static uint64_t path_until(const struct aa_path *path)
{
	const uint64_t until = aa_binding_until(path->b);

	/* a server that hung may take a later request than the last that it
	   answered, when it goes on */
	return MAX(until, path->started +
		   (uint64_t)path->line->cfg.registration_period * 1000);
}


/*
 * A path is kept as long as its line: registering again, it goes on with the
 * same Call-ID and a higher CSeq, so that a registrar puts what it gets in
 * order.  One that saw the same reg-id with another Call-ID would take the
 * phone for restarted, and forget its other bindings (seen with Kamailio).
 */
static void path_retire(struct aa_line *line, struct aa_path *path)
{
	if (path->plain) {
		mem_deref(path);
		aa_line_kick(line);
		return;
	}

	aa_binding_halt(path->b);
	path->owed  = false;
	path->wants = false;
	path->event = false;
	list_unlink(&path->le);
	list_append(&line->idlel, &path->le, path);
	aa_line_kick(line);     /* its flow may not be needed any more      */
}


static int farewell_over(struct aa_line *line, struct aa_path *path,
			 const struct aa_path *way)
{
	int err;

	err = hop_over(line, path->b, way);
	if (err)
		return err;

	path->over_own = way == path;

	err = aa_binding_unregister(path->b);
	if (!err) {
		path->astray_before = path->astray_until;
		path->astray_until  = aa_now_ms() + ASTRAY_MS;
	}

	return err;
}


/* The first one is not put off: a move leaves nothing behind */
static bool farewell_may(struct aa_line *line, unsigned tries)
{
	return !tries || budget_take(&line->budget_leaving);
}


static uint64_t farewell_wait(unsigned tries)
{
	return (uint64_t)FAREWELL_WAIT_MS << MIN(tries, FAREWELL_SHIFT_MAX);
}


/* The next hop has another address than its latest REGISTER went to */
static bool turned(const struct aa_path *path)
{
	return aa_flow_turn(path->flow) != path->turn;
}


/*
 * A farewell that overtakes a REGISTER finds nothing to remove, and the
 * REGISTER then makes a binding that nobody wants: one waits for the answer to
 * the other (RFC 3261 10.2).  And what may be the only binding that there is
 * stays until there is another.  Neither is waited for long.
 */
static bool leaving_waits(const struct aa_line *line,
			  const struct aa_path *path, uint64_t now)
{
	if (aa_binding_leaving(path->b) ||
	    (path->plain && !aa_line_registered(line)))
		return true;

	if (now < path->hurry_at && !turned(path) &&
	    aa_flow_state(path->flow) != AA_FLOW_DOWN &&
	    (aa_binding_pending(path->b) || !aa_line_registered(line)))
		return true;

	if (aa_binding_pending(path->b))
		aa_binding_halt(path->b);

	return false;
}


/*
 * A registrar that both paths share keeps the binding of a dead one until it
 * expires, and sends calls into the void; so it is removed over the path in
 * force.  Where each path has a registrar of its own this does nothing, which
 * is why the farewell over the path's own flow is still owed.
 */
static void leaving_step(struct aa_line *line, struct aa_path *path)
{
	const uint64_t now = aa_now_ms();
	bool works;

	if (leaving_waits(line, path, now))
		return;

	if (!path->owed || now > path_until(path)) {
		path_retire(line, path);
		return;
	}

	works = path_works(path) && path_penalty(path)->until <= now;

	if (works && now >= path->farewell_at) {
		if (!farewell_may(line, path->farewells)) {
			path->farewell_at = now + BUDGET_MS;
			return;
		}

		path->farewell_at = now + farewell_wait(path->farewells++);
		(void)farewell_over(line, path, path);
		return;
	}

	/* also where its own server would not take the farewell; and over one
	   that refuses to register: it may be what is behind it that does,
	   and is not what this goes to */
	if ((!works || path->farewells) && !path->cleared &&
	    now >= path->clear_at && aa_line_registered(line) &&
	    path_penalty(line->cur)->asked <= now) {
		if (!farewell_may(line, path->clears)) {
			path->clear_at = now + BUDGET_MS;
			return;
		}

		path->clear_at = now + farewell_wait(path->clears++);
		(void)farewell_over(line, path, line->cur);
	}
}


static void leaving_steps(struct aa_line *line)
{
	struct le *le = list_head(&line->leavel);

	while (le) {
		struct aa_path *path = le->data;

		le = le->next;
		leaving_step(line, path);
	}
}


/* The line's owner of the path lets go of it */
static void leave(struct aa_line *line, struct aa_path *path)
{
	const bool owed = path->owed || path->inherited ||
		aa_binding_maybe(path->b);

	if (!aa_binding_pending(path->b))
		aa_binding_halt(path->b);       /* it is not refreshed      */
	turns_end(path);
	path->hurry_at     = aa_now_ms() + FAREWELL_WAIT_MS;
	path->event       = false;
	path->wants       = false;
	path->registered  = false;
	path->owed        = owed;
	path->started     = aa_now_ms();        /* nothing is sent later    */
	path->cleared     = false;
	path->clears      = 0;
	path->clear_at    = 0;
	if (!path->farewells)
		path->farewell_at = 0;

	list_append(&line->leavel, &path->le, path);
	leaving_step(line, path);
}


/* What is not in force any more is left, or stays registered besides */
static void put_by(struct aa_line *line, struct aa_path *path)
{
	if (line->second || !same_use(path->use, line->second_use) ||
	    !path->registered || !path_works(path)) {
		leave(line, path);
		return;
	}

	path->forced = false;
	line->second = path;
}


/*
 * What baresip itself registered before the account became a line's.  Its own
 * client says farewell only to what it knows to be there: if the answer to its
 * REGISTER was still on the way, and then got lost with its connection, the
 * binding stays.
 */
static void plain_leave(struct aa_line *line)
{
	enum aa_rank use[AA_ROLE_COUNT];
	struct aa_path *path;
	int role, err;

	for (role=0; role<AA_ROLE_COUNT; role++)
		use[role] = AA_RANK_PRIMARY;
	err = path_alloc(&path, line, use, 0);
	if (err) {
		warning("aastra: line %u: what baresip registered by itself is"
			" not taken back (%m)\n", line->cfg.line, err);
		return;
	}

	path->owed   = true;
	path->proven = true;
	list_append(&line->leavel, &path->le, path);
}


/* Settings may have changed since then */
static bool has_servers(const struct aa_line *line, const enum aa_rank *use)
{
	int role;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		if (use[role] == AA_RANK_BACKUP &&
		    !server_isset(line, (enum aa_role)role, AA_RANK_BACKUP))
			return false;
	}

	return server_isset(line, AA_ROLE_REGISTRAR, use[AA_ROLE_REGISTRAR]);
}


/*
 * What an earlier life of the line has said farewell to, and got no answer: it
 * is said again.
 */
static bool stray_leave(struct aa_line *line, const struct aa_stray *s)
{
	const char *aor = account_aor(aa_account_prim(line->acc));
	struct aa_path *path;

	if (!line->cfg.outbound || 0 != strcmp(s->aor, aor) ||
	    !regid_free(line, s->regid) || !has_servers(line, s->use) ||
	    path_alloc(&path, line, s->use, s->regid))
		return false;

	path->wants        = false;
	path->former       = true;
	path->owed         = true;
	path->astray_until = s->until;
	path->late_until   = s->until;
	list_append(&line->leavel, &path->le, path);

	return true;
}


/* Hundreds of lines that begin with such ones do not say and register all of
   this in the same instants */
static uint64_t wary_turn(struct aa_phone *phone)
{
	const uint32_t rate = phone->pace.rate ? phone->pace.rate :
		AA_PACE_PER_SECOND;
	const uint64_t now = aa_now_ms();
	const uint64_t slot = aa_pace_slot(&phone->wary_slot, 1000 / rate,
					   AA_PACE_BURST, now);

	return slot > now ? slot - now : 0;
}


/* What this line cannot say stays where it is: nothing is registered under that
   reg-id as long as it may arrive, see regid_astray().  parting: also what is
   being said just now */
static void strays_take(struct aa_line *line, bool parting)
{
	const struct account *acc = aa_account_prim(line->acc);
	struct le *le = list_head(&line->phone->strayl);
	uint64_t until = 0, wait;

	while (le) {
		struct aa_stray *s = le->data;

		le = le->next;
		if (!aa_stray_is(s, &account_luri(acc)->user) ||
		    (!parting && regid_parting(line, s->regid)))
			continue;

		until = MAX(until, s->until);
		if (stray_leave(line, s))
			aa_stray_drop(s);
	}

	if (!until)
		return;

	wait = wary_turn(line->phone);
	line->wary_gap   = WARY_MS;
	line->wary_at    = aa_now_ms() + wait + WARY_MS;
	line->wary_until = MAX(line->wary_until, until + wait);

	/* after the line has registered, as other farewells */
	for (le = list_head(&line->leavel); le; le = le->next) {
		struct aa_path *path = le->data;

		if (!path->former)
			continue;

		path->hurry_at    = aa_now_ms() + wait + FAREWELL_WAIT_MS;
		path->late_until += wait;
	}
}


static bool late_due(struct aa_path *path, uint64_t now, bool all)
{
	if (!path->late_until || (now < path->late_until && !all))
		return false;

	if (now >= path->late_until)
		path->late_until = 0;

	return true;
}


/*
 * Farewells whose path was left before its REGISTER was answered are said once
 * more: where that lay in a proxy, it came after them, and made a binding that
 * nobody wants.
 */
static bool late_leave(struct aa_line *line, uint64_t now, bool all)
{
	struct le *le;
	bool left = false;

	/* those whose own flow nobody wants now go over the path in force */
	for (le = list_head(&line->leavel); le; le = le->next) {
		struct aa_path *path = le->data;

		if (!path->cleared || !late_due(path, now, all))
			continue;

		path->cleared  = false;
		path->proven   = false;
		path->clears   = 0;
		path->clear_at = 0;
		left = true;
	}

	le = list_head(&line->idlel);

	while (le) {
		struct aa_path *path = le->data;

		le = le->next;
		if (!late_due(path, now, all))
			continue;

		path->owed   = true;
		path->proven = false;
		path->farewells = 0;
		list_unlink(&path->le);
		leave(line, path);
		left = true;
	}

	return left;
}


/*
 * A REGISTER of an earlier life may have been under way as well.  When that
 * comes, a registrar forgets what is registered now (seen with Kamailio), or
 * has one binding more, and nothing tells the phone: so that is taken back, and
 * the line registers again, until it cannot come any more.
 */
static void be_wary(struct aa_line *line)
{
	const uint64_t now = aa_now_ms();

	if (!line->wary_at || now < line->wary_at) {
		(void)late_leave(line, now, false);
		return;
	}

	/* the answer to a farewell leads to the same, see leaving_event() */
	if (!late_leave(line, now, true))
		doubt(line);

	line->wary_gap *= 2;
	line->wary_at   = now >= line->wary_until ? 0 :
		MIN(now + line->wary_gap, line->wary_until);
}


/* What is behind a path was silent, or seemed so */
static void answers_again(const struct aa_path *path)
{
	struct aa_penalty *pen = path ? path_penalty(path) : NULL;

	if (pen && pen->silent)
		pen->until = 0;
}


static void leaving_event(struct aa_path *path)
{
	/* the answer to its last REGISTER; it is not refreshed any more */
	if (path->ev != AA_BINDING_GONE)
		aa_binding_halt(path->b);

	/* see proved(); it may have come there without an answer, too */
	if (!path->proven && (path->ev == AA_BINDING_OK ||
	    (path->ev == AA_BINDING_FAILED && path->transport_error))) {
		path->proven = path->ev == AA_BINDING_OK;
		all_doubt(path->line);
	}

	/* refused is not removed; 404: there is nothing */
	if (path->ev != AA_BINDING_GONE || path->transport_error ||
	    (path->scode >= 300 && path->scode != 404))
		return;

	/* one that was sent before, another way, may be under way still */
	path->astray_until = path->astray_before;

	/* what was sent before the farewell may have come as late as this */
	if (!path->proven)
		all_doubt(path->line);

	answers_again(path->over_own ? path : path->line->cur);

	if (path->over_own) {
		path->proven = true;
		path->owed = false;
		path->inherited = false;
		path->farewells = 0;
	}
	else {
		path->cleared = true;
	}
}


/*
 * A farewell that is still under way somewhere would remove what is registered
 * now under the same reg-id: such a path is left alone.  Without an
 * instance-id the registrar goes by the CSeq, and nothing can happen.
 */
static bool is_astray(const struct aa_path *path)
{
	return aa_flow_kept(path->flow) && path->astray_until > aa_now_ms();
}


/* The one to these servers whose farewell is the longest time ago */
static struct aa_path *path_calmest(const struct aa_line *line,
				    const enum aa_rank *use)
{
	const struct list *listv[] = {&line->leavel, &line->idlel};
	struct aa_path *calmest = NULL;
	size_t i;

	for (i=0; i<ARRAY_SIZE(listv); i++) {
		const struct le *le;

		for (le = list_head(listv[i]); le; le = le->next) {
			struct aa_path *path = le->data;

			if (!path->plain && same_use(path->use, use) &&
			    (!calmest ||
			     path->astray_until < calmest->astray_until))
				calmest = path;
		}
	}

	return calmest;
}


static unsigned count_former(const struct list *pathl,
			     const enum aa_rank *use)
{
	const struct le *le;
	unsigned n = 0;

	for (le = list_head(pathl); le; le = le->next) {
		const struct aa_path *path = le->data;

		n += path->former && same_use(path->use, use);
	}

	return n;
}


/* May there be one more?  What an earlier life has left behind does not count
   for this one, or it would take up again what is under way still. */
static bool has_room(const struct aa_line *line, const enum aa_rank *use)
{
	const unsigned former = count_former(&line->leavel, use) +
		count_former(&line->idlel, use);

	return count_use(&line->leavel, use) + count_use(&line->idlel, use) <
		OLDER_MAX + MIN(former, (unsigned)OLDER_MAX);
}


static struct aa_path *path_reuse(struct aa_line *line,
				  const enum aa_rank *use)
{
	struct aa_path *path = path_calmest(line, use);

	/* with so many of them, the best one has to do */
	if (!path || (is_astray(path) && has_room(line, use)))
		return NULL;

	path->former = false;
	list_unlink(&path->le);
	if (aa_binding_leaving(path->b))
		aa_binding_halt(path->b);
	path->started  = aa_now_ms();
	path->requests = aa_binding_requests(path->b);
	path->event    = false;
	path->wants    = true;
	path->retry_at = 0;
	path->scode    = 0;

	return path;
}


/* ---- a path comes into force ------------------------------------------ */


/**
 * Name what is in force
 *
 * @param line Line
 * @param use  Rank of each role
 *
 * @return "primary", "backup", or both where proxy and registrar differ
 */
const char *aa_line_use_name(const struct aa_line *line,
			     const enum aa_rank *use)
{
	static const char *const namev[2][2] = {
		{"primary", "proxy primary, registrar backup"},
		{"proxy backup, registrar primary", "backup"}
	};
	const bool backup = use[route_role(line)] == AA_RANK_BACKUP;
	const bool proxy = use[AA_ROLE_PROXY] == AA_RANK_BACKUP;

	if (line->cfg.scenario != AA_SCENARIO_PROXY_REGISTRAR)
		return aa_rank_name(use[route_role(line)]);

	/* where only one of the two has a backup, the other does not count */
	if (!server_isset(line, AA_ROLE_PROXY, AA_RANK_BACKUP))
		return namev[backup][backup];
	if (!server_isset(line, AA_ROLE_REGISTRAR, AA_RANK_BACKUP))
		return namev[proxy][proxy];

	return namev[proxy][backup];
}


static const char *path_name(const struct aa_line *line,
			     const struct aa_path *path)
{
	return aa_line_use_name(line, path->use);
}


static const char *role_words(enum aa_role role)
{
	switch (role) {

	case AA_ROLE_OUTBOUND: return "outbound proxy";
	case AA_ROLE_PROXY:    return "proxy";
	default:               return "registrar";
	}
}


/* Why a move is made: of each role that decides for one that moves */
static void move_why(char *buf, size_t sz, const struct aa_line *line,
		     const enum aa_rank *from, const enum aa_rank *to)
{
	bool said[AA_ROLE_COUNT] = {false};
	size_t n = 0;
	int role;

	buf[0] = '\0';
	for (role=0; role<AA_ROLE_COUNT; role++) {
		const enum aa_role axis = aa_policy_axis(line->cfg.scenario,
							 (enum aa_role)role);
		int len;

		if (to[role] == from[role] || said[axis])
			continue;

		said[axis] = true;
		len = re_snprintf(buf + n, sz - n, "%s%s: %s", n ? "; " : "",
				  role_words(axis),
				  aa_why_text(line->why[role]));
		if (len < 0)
			return;
		n += (size_t)len;
	}
}


static int rank_change(const enum aa_rank *from, const enum aa_rank *to)
{
	int role, d = 0;

	for (role=0; role<AA_ROLE_COUNT; role++)
		d += (int)to[role] - (int)from[role];

	return d;
}


/* What a registration cost, since the path was taken up or registered last */
static uint32_t path_cost(const struct aa_path *path)
{
	return aa_binding_requests(path->b) - path->requests;
}


/* Why a server of a role is the backup, where no fault was noted for it */
static const char *backup_reason(const struct aa_line *line, enum aa_role role,
				 bool begins)
{
	const struct aa_flow *flow = aa_line_flow(line, role, AA_RANK_PRIMARY);
	const struct aa_penalty *pen = &line->pen[role][AA_RANK_PRIMARY];

	if (aa_flow_state(flow) == AA_FLOW_DOWN)
		return aa_flow_reason(flow);
	if (pen->until > aa_now_ms())
		return pen->reason;
	if (begins && line->warm[role] == AA_RANK_BACKUP)
		return "in force before the restart";
	if (begins && line->kept)
		return "in force before the settings changed";

	/* by now it may answer again */
	return "the primary did not answer";
}


/*
 * Nothing has failed on the path in force, and the line leaves the primary: it
 * had none yet, or its other server failed earlier.
 */
static void fault_find(struct aa_line *line, const struct aa_path *path,
		       const struct aa_path *old)
{
	int role;

	if (line->fault_at || line->mode != AA_MODE_AUTO)
		return;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		const struct aa_flow *flow = aa_line_flow(line,
				(enum aa_role)role, AA_RANK_PRIMARY);
		const char *reason;

		if (path->use[role] != AA_RANK_BACKUP ||
		    (old && old->use[role] == AA_RANK_BACKUP))
			continue;

		reason = backup_reason(line, (enum aa_role)role, !old);
		str_ncpy(line->fault, reason, sizeof(line->fault));
		str_ncpy(line->fault_by, seen_by(flow, reason),
			 sizeof(line->fault_by));
		return;
	}
}


static void commit_story(struct aa_line *line, const struct aa_path *path,
			 const struct aa_path *old)
{
	const uint64_t now = aa_now_ms();
	const uint64_t since = line->fault_at ? line->fault_at
		: path->started;
	const bool held = line->mode != AA_MODE_AUTO && !line->fault_at;
	struct aa_journal_entry e;
	char decision[160];
	uint64_t took;
	int d;

	d = old ? rank_change(old->use, path->use)
		: (path->use[route_role(line)] == AA_RANK_BACKUP);
	if (d > 0)
		fault_find(line, path, old);

	memset(&e, 0, sizeof(e));
	e.from     = old && old != path ? path_name(line, old) : NULL;
	e.to       = path_name(line, path);
	e.reason   = held ? "held there by command" : line->fault;
	e.by       = held ? "command" : line->fault_by;
	e.requests = path_cost(path);
	took       = old == path && !line->fault_at ? now - path->asked
		: now - since;

	if (old && old != path)
		move_why(decision, sizeof(decision), line, old->use,
			 path->use);
	else
		(void)re_snprintf(decision, sizeof(decision), "%s: %s",
				  role_words(route_role(line)),
				  aa_why_text(line->why[route_role(line)]));
	e.decision = decision;

	if (d > 0) {
		++line->count.failovers;
		e.event = AA_JOURNAL_FAILOVER;

		/* before the first registration nothing was in force that
		   could have failed */
		if (!held && !str_isset(line->fault)) {
			const struct aa_flow *flow =
				aa_line_flow(line, route_role(line),
					     AA_RANK_PRIMARY);

			e.reason = aa_flow_reason(flow);
			e.by     = seen_by(flow, e.reason);
		}
	}
	else if (d < 0) {
		++line->count.failbacks;
		e.event = AA_JOURNAL_FAILBACK;
		took = now - path->started;
		if (!held && !line->fault_at) {
			e.reason = "primary answers again";
			e.by     = "OPTIONS";
		}
	}
	else {
		e.event = AA_JOURNAL_REGISTERED;
		e.reason = line->fault;
		e.by     = str_isset(line->fault) ? line->fault_by
			: "REGISTER";
	}

	e.took = (uint32_t)MIN(took, (uint64_t)UINT32_MAX);
	record(line, &e);
}


/* Servers of one phone may well have realms of their own; but a person who
   wonders why a password is refused looks here */
static void realm_note(struct aa_line *line, const struct aa_path *path)
{
	const char *realm = aa_binding_realm(path->b);
	char text[192];

	if (!str_isset(realm) || 0 == str_cmp(realm, line->realm))
		return;

	if (line->realm[0]) {
		(void)re_snprintf(text, sizeof(text), "credentials are asked"
				  " for realm \"%s\", before for \"%s\"",
				  realm, line->realm);
		change(line, AA_JOURNAL_CONFIG, path_name(line, path), text,
		       0, "REGISTER", "the same user name and password are"
		       " answered with");
	}

	str_ncpy(line->realm, realm, sizeof(line->realm));
}


/*
 * Something that was sent long ago may have come to a registrar now, which
 * has forgotten what is registered there: it is registered once more.
 */
static void doubt(struct aa_line *line)
{
	/* without an instance-id it goes by Contact, and forgets no other */
	if (!line->cfg.outbound)
		return;

	line->doubt = line->nth;
	anew(line->second);
}


/* The same for other lines of the same user */
static void others_doubt(const struct aa_line *line)
{
	struct le *le;

	for (le = list_head(&line->phone->linel); le; le = le->next) {
		struct aa_line *other = le->data;

		if (other == line || !other->cur || !other->cur->registered ||
		    !same_user(line, other))
			continue;

		doubt(other);
		aa_line_kick(other);
	}
}


static void all_doubt(struct aa_line *line)
{
	doubt(line);
	others_doubt(line);
}


/* Another path than the one in force has been registered last; of two flows a
   server takes that one (RFC 5626 7): it shall be the one in force */
static void latest(struct aa_line *line)
{
	if (line->cfg.outbound)
		line->doubt = line->nth;
}


/* It is registered (again), after what is under way or answered now */
static void anew(struct aa_path *path)
{
	if (!path)
		return;

	path->wants = true;
	path->anew  = aa_binding_pending(path->b) || path->event;
}


/*
 * A registrar that knew its reg-id from an earlier run of baresip has taken
 * the phone for restarted, and forgotten all others (seen with Kamailio).
 */
static void proved(struct aa_line *line, struct aa_path *path)
{
	const bool first = !path->proven;

	path->proven = true;
	if (!first)
		return;

	if (path != line->second && line->cfg.outbound)
		anew(line->second);
	others_doubt(line);
}


static void commit(struct aa_line *line)
{
	struct aa_path *path = line->next, *old = line->cur;
	const struct aa_server *aor = aor_server(line, path->use);
	int err;

	path->stands = false;
	line->next = NULL;
	line->cur  = path;
	memcpy(line->use, path->use, sizeof(line->use));
	line->since = aa_now_ms();
	++line->moves;

	err = aa_account_show(line->acc, aor ? aor->host : NULL,
			      aor ? aor->port : 0);
	if (err)
		warning("aastra: line %u: user agent could not be shown"
			" (%m)\n", line->cfg.line, err);

	/* told anew: the user agent, the registrar or the route changed */
	line->published = false;
	aa_account_route(line->acc, call_route(line));

	if (old)
		flaps_note(line, old->use, path->use);

	if (path->registered) {
		commit_story(line, path, old);
		fault_clear(line);
		path->requests = aa_binding_requests(path->b);
	}

	/* before the old one goes: a crash in between loses nothing */
	if (line->phone->changedh)
		line->phone->changedh();

	if (old)
		put_by(line, old);

	if (path->registered) {
		proved(line, path);
		realm_note(line, path);
	}
}


/* ---- what happened ---------------------------------------------------- */


static void path_ok(struct aa_line *line, struct aa_path *path)
{
	struct aa_penalty *pen = path_penalty(path);
	const bool again = path == line->cur && !aa_line_registered(line);
	const bool made = path->wants;

	path->wants      = path->forced || path->anew;
	path->anew       = false;
	path->owed       = false;
	path->inherited  = false;
	path->farewells  = 0;
	path->refused    = 0;
	path->registered = true;
	path->generation = aa_flow_generation(path->flow);
	pen->until    = 0;
	pen->failures = 0;
	++line->count.registrations;

	/* a live binding goes before every wish; but where the line is in
	   service without it, the policy is asked whether it still wants to
	   move: in this very instant what is in force may have recovered */
	if (path == line->next) {
		if (!aa_line_registered(line))
			commit(line);
		return;
	}

	proved(line, path);

	if (path == line->second) {
		path->requests = aa_binding_requests(path->b);
		if (made)
			latest(line);
		return;
	}

	if (again || line->fault_at) {
		commit_story(line, path, path);
		fault_clear(line);
	}

	path->requests = aa_binding_requests(path->b);
	realm_note(line, path);
}


/* A server said no; told once until it says something else */
static void refused(struct aa_line *line, struct aa_path *path,
		    const char *decision)
{
	struct aa_journal_entry e;

	if (path->refused == path->scode)
		return;

	path->refused = path->scode;

	memset(&e, 0, sizeof(e));
	e.event    = AA_JOURNAL_REFUSED;
	e.to       = path_name(line, path);
	e.reason   = path->reason;
	e.took     = (uint32_t)MIN(aa_now_ms() - path->asked,
				   (uint64_t)UINT32_MAX);
	e.by       = "REGISTER";
	e.requests = path_cost(path);
	e.decision = decision;
	record(line, &e);
}


static void path_failed(struct aa_line *line, struct aa_path *path)
{
	path->wants = true;

	/* the next hop has another address by now */
	if (path->transport_error && turned(path)) {
		path->registered = false;
		return;
	}

	if (path->transport_error && aa_flow_kept(path->flow) &&
	    aa_flow_state(path->flow) == AA_FLOW_UP) {
		/* the next hop answered lately; if it still does, it is what
		   is behind that is dead, and this path is no good */
		path->registered = false;
		penalize(path, path->retry_after);
		aa_flow_check(path->flow);
	}
	else if (path->transport_error) {
		path->registered = false;
		aa_flow_fail(path->flow, path->reason, path->retry_after);
	}
	else {
		/* a server that says no may be draining: what it has of ours
		   stays in force until another one has it (RFC 3261 21.5.4) */
		path->registered = path->registered &&
			aa_binding_live(path->b);
		penalize(path, path->retry_after);
		refused(line, path, "the server failed: it is left alone for"
			" a while");
	}

	/* else a server whose wait is shorter than what the budget takes to
	   fill up again has it all, and no other one is ever tried */
	if (line->budget.left < 1) {
		struct aa_penalty *pen = path_penalty(path);

		pen->until = MAX(pen->until, aa_now_ms() + 2 * BUDGET_MS);
	}

	if (path == line->cur) {
		fault_note(line, path->reason, "REGISTER");
		path->retry_at = aa_now_ms() + RETRY_MIN_MS;
		return;
	}

	/* the line is in service without it */
	if (path == line->second) {
		path->retry_at = aa_now_ms() + RETRY_MIN_MS;
		return;
	}

	if (!line->cur || !line->cur->registered)
		fault_note(line, path->reason, "REGISTER");

	line->next = NULL;
	leave(line, path);
}


/* Another server would say the same: no move, but a later try */
static void path_rejected(struct aa_line *line, struct aa_path *path)
{
	const uint64_t wait = MAX((uint64_t)line->cfg.registration_retry,
				  (uint64_t)path->retry_after) * 1000;
	const bool spare = path == line->cur && path_serves(line->second);

	path->registered = false;
	path->wants      = true;
	path->retry_at   = aa_now_ms() + wait;
	refused(line, path, spare ? "the line is registered elsewhere, too,"
		" and goes there" : "another server would say the same: no"
		" move, but a later try");

	if (path == line->cur && !spare)
		return;

	if (path == line->cur || path == line->second ||
	    aa_line_registered(line)) {
		/* a live binding elsewhere is worth more */
		struct aa_penalty *pen = path_penalty(path);

		pen->until = path->retry_at;
		str_ncpy(pen->reason, path->reason, sizeof(pen->reason));
		if (path == line->cur)
			fault_note(line, path->reason, "REGISTER");
		if (path != line->next)
			return;

		line->next = NULL;
		leave(line, path);
		return;
	}

	path->stands = true;
}


static void path_event(struct aa_line *line, struct aa_path *path)
{
	if (!path || !path->event)
		return;

	path->event = false;

	switch (path->ev) {

	case AA_BINDING_OK:       path_ok(line, path);       break;
	case AA_BINDING_FAILED:   path_failed(line, path);   break;
	case AA_BINDING_REJECTED: path_rejected(line, path); break;
	default:                                             break;
	}
}


static void take_up_events(struct aa_line *line)
{
	struct le *le;

	path_event(line, line->cur);
	path_event(line, line->next);
	path_event(line, line->second);

	le = list_head(&line->leavel);
	while (le) {
		struct aa_path *path = le->data;

		le = le->next;

		if (!path->event)
			continue;

		path->event = false;
		leaving_event(path);
	}
}


/* What was sent to an address that the flow has given up is sent again */
static void drop_stray_request(struct aa_path *path)
{
	if (path && aa_binding_pending(path->b) && turned(path)) {
		aa_binding_halt(path->b);
		path->wants = true;
	}
}


static bool request_is_dead(const struct aa_path *path)
{
	return path && aa_binding_pending(path->b) &&
		aa_flow_state(path->flow) == AA_FLOW_DOWN;
}


static void drop_dead_request(struct aa_path *path)
{
	if (request_is_dead(path)) {
		aa_binding_halt(path->b);
		path->wants = true;
	}
}


/* A request over a flow that is down will not be answered */
static void drop_dead_requests(struct aa_line *line)
{
	struct aa_path *path = line->next;

	drop_stray_request(line->next);
	drop_stray_request(line->cur);
	drop_stray_request(line->second);

	if (request_is_dead(path)) {
		fault_note(line, aa_flow_reason(path->flow),
			   seen_by(path->flow, aa_flow_reason(path->flow)));
		abandon_next(line);
	}

	drop_dead_request(line->cur);
	drop_dead_request(line->second);
}


/* A server that is back can be told at once */
static void farewells_now(struct aa_line *line, const struct aa_flow *flow)
{
	struct le *le;

	for (le = list_head(&line->leavel); le; le = le->next) {
		struct aa_path *path = le->data;

		if (path->flow == flow)
			path->farewell_at = 0;
	}
}


static void note_flow(struct aa_line *line, enum aa_role role,
		      enum aa_rank rank)
{
	const struct aa_flow *flow = aa_line_flow(line, role, rank);
	const enum aa_flow_state state = aa_flow_state(flow);
	const enum aa_flow_state was = line->flow_state[role][rank];

	if (!flow || state == was)
		return;

	line->flow_state[role][rank] = state;
	if (state == AA_FLOW_UP) {
		struct aa_penalty *pen = &line->pen[role][rank];

		/* its silence was the flow's, whose own wait is over */
		if (pen->silent)
			pen->until = 0;
		farewells_now(line, flow);
	}

	if (state == AA_FLOW_DOWN) {
		if (line->cur && line->use[role] == rank)
			fault_note(line, aa_flow_reason(flow),
				   seen_by(flow, aa_flow_reason(flow)));
		line->noted[role][rank] = !line->told_down[role][rank];
	}
	else if (state == AA_FLOW_CONNECTING && was == AA_FLOW_UP) {
		if (line->cur && line->use[role] == rank)
			fault_note(line, str_isset(aa_flow_reason(flow)) ?
				   aa_flow_reason(flow) : "network changed",
				   str_isset(aa_flow_reason(flow)) ?
				   aa_flow_by(flow) : "network");
	}
	else if (state == AA_FLOW_UP) {
		line->noted[role][rank] = line->told_down[role][rank];
	}
}


/* What a flow did is told together with what was decided about it */
static void tell_flow(struct aa_line *line, enum aa_role role,
		      enum aa_rank rank, const struct aa_policy_out *out)
{
	const struct aa_flow *flow = aa_line_flow(line, role, rank);
	const bool down = aa_flow_state(flow) == AA_FLOW_DOWN;
	struct aa_journal_entry e;
	char decision[160], why[120];

	if (!line->noted[role][rank])
		return;

	line->noted[role][rank] = false;
	line->told_down[role][rank] = down;

	if (same_use(out->use, line->use))
		(void)re_snprintf(decision, sizeof(decision), "stays on the"
				  " %s: %s", aa_line_use_name(line, line->use),
				  aa_why_text(out->why[role]));
	else {
		move_why(why, sizeof(why), line, line->use, out->use);
		(void)re_snprintf(decision, sizeof(decision),
				  "to the %s: %s", aa_line_use_name(line, out->use),
				  why);
	}

	memset(&e, 0, sizeof(e));
	e.event    = down ? AA_JOURNAL_FLOW_DOWN : AA_JOURNAL_FLOW_UP;
	e.to       = aa_flow_name(flow);
	e.reason   = down ? aa_flow_reason(flow) : "answers again";
	e.by       = down ? seen_by(flow, e.reason) : aa_flow_kept(flow) ?
		"OPTIONS" : "request";
	e.detect   = down ? aa_flow_detect(flow) : 0;
	if (down && 0 == strcmp(e.by, "REGISTER") && line->asked)
		e.detect = (uint32_t)MIN(aa_now_ms() - line->asked,
					 (uint64_t)UINT32_MAX);
	e.decision = decision;
	record(line, &e);
}


static void tell_flows(struct aa_line *line, const struct aa_policy_out *out)
{
	int role, rank;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++)
			tell_flow(line, (enum aa_role)role,
				  (enum aa_rank)rank, out);
	}
}


static void note_flows(struct aa_line *line)
{
	int role, rank;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++)
			note_flow(line, (enum aa_role)role,
				  (enum aa_rank)rank);
	}
}


/* ---- what to do ------------------------------------------------------- */


static bool path_uses_flow(const struct aa_path *path,
			   const struct aa_flow *flow)
{
	return path && path->flow == flow;
}


static bool flow_needed(const struct aa_line *line, const struct aa_flow *flow)
{
	const struct le *le;

	/* they are unsubscribed over the path that they are leaving */
	if (flow == line->subs_flow || aa_subs_leaving(line->subs))
		return true;

	if (path_uses_flow(line->cur, flow) ||
	    path_uses_flow(line->next, flow) ||
	    path_uses_flow(line->second, flow))
		return true;

	for (le = list_head(&line->leavel); le; le = le->next) {
		if (path_uses_flow(le->data, flow))
			return true;
	}

	return false;
}


static void open_and_close_flows(struct aa_line *line,
				 const struct aa_policy_out *out, bool calls)
{
	int role, rank;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++) {
			struct aa_flow_user *user = line->user[role][rank];
			const struct aa_flow *flow = aa_flow_user_flow(user);

			if (!user)
				continue;

			if (out->flow[role][rank] ||
			    out->use[role] == (enum aa_rank)rank ||
			    out->second[role] == (enum aa_rank)rank ||
			    rank == AA_RANK_PRIMARY)
				aa_flow_want(user, true);
			else if (!calls && !flow_needed(line, flow))
				aa_flow_want(user, false);
		}
	}
}


/* No pattern of faults makes a line send REGISTERs without an end */
static bool affordable(struct aa_line *line, struct aa_path *path)
{
	if (path->forced) {
		path->forced = false;
		return true;
	}

	/* in case is not now: what a move takes is left for it */
	budget_update(&line->budget);
	if (path == line->second && line->budget.left < BUDGET_KEPT) {
		path->retry_at = aa_now_ms() + BUDGET_MS;
		return false;
	}

	if (budget_take(&line->budget))
		return true;

	path->retry_at = aa_now_ms() + 1 +
		(uint64_t)((1 - line->budget.left) * BUDGET_MS);

	return false;
}


static void move_handler(void *arg)
{
	aa_line_kick(arg);
}


/* A line with a call waits for nobody, nor does what a person asks for */
static bool has_turn(struct aa_line *line, struct aa_path *path)
{
	struct aa_pace *pace = &line->phone->pace;

	if (path->forced || aa_account_calls(line->acc)) {
		aa_pace_pass(pace, &path->move);
		return true;
	}

	return aa_pace_ask(pace, &path->move, AA_PACE_MOVE, 0, move_handler,
			   line);
}


static void attempt(struct aa_line *line, struct aa_path *path)
{
	const uint64_t now = aa_now_ms();
	int err;

	if (!path || !path->wants || aa_binding_pending(path->b) ||
	    now < path->retry_at ||
	    (!path->forced && path_penalty(path)->until > now) ||
	    aa_flow_state(path->flow) == AA_FLOW_DOWN ||
	    !aa_flow_ready(path->flow))
		return;

	if (!has_turn(line, path) || !affordable(line, path))
		return;

	path->over_own = true;
	path->anew     = false;
	path->cleared  = false;
	path->nth      = ++line->nth;
	path->asked    = aa_now_ms();
	path->late_until = path->asked + ASTRAY_MS;
	if (path != line->second)
		line->asked = path->asked;
	path->turn     = aa_flow_turn(path->flow);
	err = hop_over(line, path->b, path);
	if (!err && line->cur && line->cur != path)
		(void)aa_binding_auth_from(path->b, line->cur->b);
	if (!err)
		err = aa_binding_register(path->b);
	if (!err) {
		aa_flow_listen(path->flow);
		return;
	}

	path->event = true;
	path->ev    = AA_BINDING_FAILED;
	path->transport_error = true;
	path->retry_after = 0;
	(void)re_snprintf(path->reason, sizeof(path->reason),
			  "%m to REGISTER", err);
	aa_line_kick(line);
}


static void abandon_next(struct aa_line *line)
{
	struct aa_path *path = line->next;

	line->next = NULL;
	path->stands = false;
	if (line->second || !same_use(path->use, line->second_use)) {
		leave(line, path);
		return;
	}

	if (path->registered && !path->wants) {
		path->proven = true;
		latest(line);
	}

	line->second = path;
}


/*
 * No registrar answers, so nothing can be registered; but the proxy is chosen
 * apart from it, and calls shall leave through one that works.
 */
static bool only_calls_move(const struct aa_line *line)
{
	const struct aa_path *next = line->next;

	return line->cfg.scenario == AA_SCENARIO_PROXY_REGISTRAR &&
		!aa_line_registered(line) &&
		next->use[AA_ROLE_PROXY] != line->use[AA_ROLE_PROXY] &&
		(!line->cur || next->use[AA_ROLE_REGISTRAR] ==
		 line->cur->use[AA_ROLE_REGISTRAR]) &&
		aa_flow_state(next->flow) == AA_FLOW_DOWN;
}


/* What may have gone from the registrar, or shall be the latest that it has,
   is registered once more, unless it was since then */
static void reassure(struct aa_line *line)
{
	struct aa_path *cur = line->cur;

	if (!line->doubt || !cur || !cur->registered ||
	    aa_binding_pending(cur->b))
		return;

	if (cur->nth <= line->doubt)
		cur->wants = true;
	line->doubt = 0;
}


/* The path in force is registered, and registered again where it has to be */
static void keep(struct aa_line *line, struct aa_path *cur)
{
	/* the connection that carried the binding is another now */
	if (cur->registered && aa_flow_kept(cur->flow) &&
	    aa_flow_state(cur->flow) == AA_FLOW_UP &&
	    aa_flow_generation(cur->flow) != cur->generation)
		cur->wants = true;

	attempt(line, cur);
}


/* Take up what is registered already, or is about to be */
static struct aa_path *second_take(struct aa_line *line,
				   const enum aa_rank *use)
{
	struct aa_path *path = line->second;

	if (!path || !same_use(path->use, use))
		return NULL;

	line->second  = NULL;
	path->started = aa_now_ms();

	/* where nothing checks a flow, a REGISTER tells whether it works */
	if (!aa_flow_kept(path->flow)) {
		path->wants    = true;
		path->retry_at = 0;
	}

	return path;
}


static void steer(struct aa_line *line, const struct aa_policy_out *out)
{
	struct aa_path *cur = line->cur;
	int err;

	memcpy(line->second_use, out->second, sizeof(line->second_use));

	if (line->next && !same_use(line->next->use, out->use))
		abandon_next(line);

	if (cur && same_use(cur->use, out->use)) {
		if (line->next)
			abandon_next(line);

		reassure(line);
		keep(line, cur);
		return;
	}

	/* a line that is held on a dead server has what it had before; one that
	   shall move, and cannot yet, keeps what it has */
	if (cur && (line->mode != AA_MODE_AUTO || aa_line_registered(line))) {
		reassure(line);
		keep(line, cur);
	}

	if (!line->next)
		line->next = second_take(line, out->use);

	if (line->next && (line->next->stands ||
	    (path_serves(line->next) && !line->next->wants))) {
		commit(line);
		reassure(line);
		keep(line, line->cur);
		aa_line_kick(line);     /* decided for where it was before  */
		return;
	}

	if (!line->next)
		line->next = path_reuse(line, out->use);

	if (!line->next) {
		err = path_alloc(&line->next, line, out->use,
				 regid_of(line, out->use));
		if (err) {
			warning("aastra: line %u: no path to the %s (%m)\n",
				line->cfg.line,
				aa_rank_name(out->use[route_role(line)]), err);
			return;
		}
	}

	if (only_calls_move(line)) {
		if (line->cur)
			commit_story(line, line->next, line->cur);
		commit(line);
		return;
	}

	/* what it had is gone with its flow */
	if (!path_serves(line->next))
		line->next->wants = true;

	attempt(line, line->next);
}


/*
 * The second path is made when the line is in service, and left when its flow
 * is dead: a registrar that both share would send calls into the void.
 */
static bool second_wanted(const struct aa_line *line,
			  const struct aa_policy_out *out)
{
	const enum aa_role role = route_role(line);

	return out->standby && AA_FLOW_DOWN !=
		aa_flow_state(aa_line_flow(line, role, out->second[role]));
}


/* It goes when the line is where it shall be, and not before */
static void second_step(struct aa_line *line, const struct aa_policy_out *out)
{
	const bool wanted = second_wanted(line, out);
	const bool settled = aa_line_registered(line) && !line->next &&
		same_use(line->use, out->use);
	struct aa_path *path = line->second;
	int err;

	if (path && (!wanted || !same_use(path->use, out->second)) &&
	    (settled || !path_works(path))) {
		line->second = NULL;
		leave(line, path);
	}

	if (!line->second && wanted && settled) {
		line->second = path_reuse(line, out->second);
		err = line->second ? 0 :
			path_alloc(&line->second, line, out->second,
				   regid_of(line, out->second));
		if (err)
			warning("aastra: line %u: no second path (%m)\n",
				line->cfg.line, err);
	}

	if (!line->second)
		return;

	if (!path_serves(line->second))
		line->second->wants = true;

	keep(line, line->second);
}


/* So long it is no news that a line is not registered */
static uint64_t patience(const struct aa_line *line)
{
	return 2 * (uint64_t)line->cfg.transaction_timer;
}


/* It is being found out whether it works, or where it is */
static bool on_trial(const struct aa_path *path)
{
	return path && aa_flow_state(path->flow) == AA_FLOW_CONNECTING &&
		(aa_flow_kept(path->flow) || !aa_flow_ready(path->flow));
}


/* Nothing is known to have failed for good while this goes on */
static bool on_its_way(const struct aa_line *line)
{
	if (line->lost_at && aa_now_ms() - line->lost_at > patience(line))
		return false;

	return (line->next && (aa_binding_pending(line->next->b) ||
			       aa_turn_waits(&line->next->move))) ||
		(line->cur && aa_binding_pending(line->cur->b)) ||
		on_trial(line->next) || on_trial(line->cur);
}


static void domain_print(char *buf, size_t sz, const struct uri *uri)
{
	const bool ipv6 = NULL != pl_strchr(&uri->host, ':');
	char port[8] = "";

	if (uri->port)
		(void)re_snprintf(port, sizeof(port), ":%u", uri->port);

	(void)re_snprintf(buf, sz, "%s%r%s%s", ipv6 ? "[" : "", &uri->host,
			  ipv6 ? "]" : "", port);
}


/* Subscriptions go where calls go, once the line is registered */
static void subscriptions(struct aa_line *line)
{
	const struct account *acc;
	struct aa_subs_path prm;
	char domain[300], home[300];
	struct aa_flow *flow = call_flow(line);
	const struct aa_flow *old = line->subs_flow;

	if (!aa_line_registered(line) || !flow ||
	    (aa_flow_kept(flow) && aa_flow_state(flow) != AA_FLOW_UP)) {
		aa_subs_suspend(line->subs);
		return;
	}

	acc = ua_account(aa_account_shown(line->acc));
	domain_print(domain, sizeof(domain), account_luri(acc));
	domain_print(home, sizeof(home),
		     account_luri(aa_account_prim(line->acc)));

	memset(&prm, 0, sizeof(prm));
	prm.aor         = account_aor(acc);
	prm.dispname    = account_display_name(acc);
	prm.domain      = domain;
	prm.home        = home;
	prm.route       = call_route(line);
	prm.cuser       = ua_local_cuser(aa_account_shown(line->acc));
	prm.tp          = line->tp;
	prm.transaction = line->cfg.transaction_timer;
	prm.conn        = aa_flow_conn(flow);
	prm.generation  = aa_flow_generation(flow);
	prm.rank        = line->cfg.scenario == AA_SCENARIO_PROXY_REGISTRAR ?
		line->use[AA_ROLE_PROXY] : line->use[route_role(line)];
	prm.old_works   = old && (aa_flow_kept(old) ?
				  aa_flow_state(old) == AA_FLOW_UP :
				  aa_flow_state(old) != AA_FLOW_DOWN);

	if (!aa_subs_path_set(line->subs, &prm) && line->subs_flow != flow) {
		line->subs_flow = flow;
		aa_line_kick(line);     /* the old one may be closed        */
	}
}


/* May the line tell baresip now?  If not, it is looked at again in time. */
static bool may_tell(struct aa_line *line)
{
	struct aa_phone *phone = line->phone;
	const uint64_t now = aa_now_ms();

	if (now - phone->told_at > TELL_LOST_MS)
		phone->telling = 0;

	if (phone->telling >= TELL_MAX) {
		if (!line->le_tell.list)
			list_append(&phone->telll, &line->le_tell, line);
		line->tell_at = now + TELL_LOST_MS + 1;
		return false;
	}

	++phone->telling;
	phone->told_at = now;

	return true;
}


static void tell_settled(struct aa_line *line)
{
	list_unlink(&line->le_tell);
	line->tell_at = 0;
}


/**
 * A REGISTER that baresip sent to the phone itself has come: others may
 * follow
 *
 * @param phone Phone
 */
void aa_line_told(struct aa_phone *phone)
{
	unsigned room;
	struct le *le;

	if (!phone)
		return;

	if (phone->telling)
		--phone->telling;
	phone->told_at = aa_now_ms();

	room = TELL_MAX - phone->telling;
	while (room-- && (le = list_head(&phone->telll))) {
		struct aa_line *line = le->data;

		list_unlink(le);
		aa_line_kick(line);
	}
}


static void publish(struct aa_line *line)
{
	const bool up = aa_line_registered(line);
	const struct aa_path *path = line->cur ? line->cur : line->next;
	struct aa_account_state st;
	uint16_t scode = 0;
	int err;

	memset(&st, 0, sizeof(st));
	st.up = up;

	if (up && line->cur) {
		const char *srv = aa_binding_server(line->cur->b);

		st.scode   = 200;
		st.expires = MAX(aa_binding_expires(line->cur->b), 60);
		str_ncpy(st.server, srv ? srv : "", sizeof(st.server));
	}
	else {
		if (on_its_way(line))
			return;

		scode = path && path->scode >= 300 ? path->scode : 503;
		st.scode = scode;
		str_ncpy(st.reason, str_isset(line->fault) ? "Out Of Service"
			 : "Not Registered", sizeof(st.reason));
	}

	if (line->published && line->published_up == up &&
	    line->published_scode == scode) {
		tell_settled(line);
		return;
	}

	/* the first time, what baresip has sent is answered */
	if (line->told && !may_tell(line))
		return;

	tell_settled(line);
	line->told = true;
	line->published = true;
	line->published_up = up;
	line->published_scode = scode;

	err = aa_account_publish(line->acc, &st, call_route(line));
	if (err)
		warning("aastra: line %u: registration state could not be"
			" told (%m)\n", line->cfg.line, err);
}


static void report_down(struct aa_line *line)
{
	const bool up = aa_line_registered(line);

	if (up) {
		line->said_down = false;
		return;
	}

	if (line->said_down || on_its_way(line))
		return;

	line->said_down = true;
	warning("aastra: line %u: registered nowhere: %s\n", line->cfg.line,
		str_isset(line->fault) ? line->fault :
		line->cur ? line->cur->reason : "no server answers");
}


static void timer_handler(void *arg)
{
	line_run(arg);
}


static uint64_t earliest(uint64_t a, uint64_t b, uint64_t now)
{
	return b > now && (!a || b < a) ? b : a;
}


/*
 * now: when the line was looked at.  What has come due since then was not seen
 * yet, and is looked at right away.
 */
static void schedule(struct aa_line *line, uint64_t now)
{
	const uint64_t later = aa_now_ms();
	const struct le *le;
	uint64_t at = 0;
	int role, rank;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++) {
			const struct aa_flow *flow =
				aa_line_flow(line, (enum aa_role)role,
					     (enum aa_rank)rank);

			at = earliest(at, line->pen[role][rank].until, now);
			if (flow && !aa_flow_kept(flow))
				at = earliest(at, away_until(line,
						(enum aa_role)role,
						(enum aa_rank)rank), now);
			else if (aa_flow_state(flow) == AA_FLOW_UP)
				at = earliest(at, good_at(line, flow,
							  (enum aa_role)role),
					      now);
		}
	}

	if (line->lost_at)
		at = earliest(at, line->lost_at + patience(line) + 1, now);
	at = earliest(at, line->tell_at, now);
	at = earliest(at, line->wary_at, now);
	if (line->cur) {
		at = earliest(at, line->cur->retry_at, now);
		at = earliest(at, aa_binding_until(line->cur->b), now);
	}

	if (line->next)
		at = earliest(at, line->next->retry_at, now);
	if (line->second)
		at = earliest(at, line->second->retry_at, now);

	for (le = list_head(&line->idlel); le; le = le->next) {
		const struct aa_path *path = le->data;

		at = earliest(at, path->late_until, now);
	}

	for (le = list_head(&line->leavel); le; le = le->next) {
		const struct aa_path *path = le->data;

		if (path->cleared)
			at = earliest(at, path->late_until, now);
		at = earliest(at, path->farewell_at, now);
		at = earliest(at, path->hurry_at, now);
		if (!path->cleared)
			at = earliest(at, path->clear_at, now);
		at = earliest(at, path_until(path) + 1, now);
	}

	if (at)
		aa_tmr_start(&line->tmr, at > later ? at - later : 0,
			  timer_handler, line);
	else
		aa_tmr_cancel(&line->tmr);
}


/*
 * Where the proxy is chosen apart, the registrar's answer says nothing about
 * it: the line turns to another proxy when that has answered, not before.
 */
static void wait_for_proxy(const struct aa_line *line,
			   struct aa_policy_out *out)
{
	const enum aa_rank rank = out->use[AA_ROLE_PROXY];
	const struct aa_flow *flow;

	if (line->cfg.scenario != AA_SCENARIO_PROXY_REGISTRAR ||
	    line->use[AA_ROLE_PROXY] == AA_RANK_NONE ||
	    line->use[AA_ROLE_PROXY] == rank)
		return;

	flow = aa_line_flow(line, AA_ROLE_PROXY, rank);
	if (aa_flow_kept(flow) && (aa_flow_state(flow) == AA_FLOW_IDLE ||
				   aa_flow_state(flow) == AA_FLOW_CONNECTING)) {
		out->use[AA_ROLE_PROXY] = line->use[AA_ROLE_PROXY];
		if (out->standby)
			out->second[AA_ROLE_PROXY] = out->use[AA_ROLE_PROXY];
	}
}


static uint32_t mix(uint32_t sum, uint64_t val)
{
	/* FNV-1a, by 32 bits */
	sum = (sum ^ (uint32_t)val) * 16777619u;

	return (sum ^ (uint32_t)(val >> 32)) * 16777619u;
}


/* Whoever shows the line is told when there is something else to be shown */
static void show(struct aa_line *line)
{
	uint32_t sum = 2166136261u;
	int role, rank;

	sum = mix(sum, aa_line_registered(line));
	sum = mix(sum, line->mode);
	sum = mix(sum, aa_account_calls(line->acc));
	sum = mix(sum, line->moves);
	sum = mix(sum, line->count.registrations);
	sum = mix(sum, path_serves(line->second));

	for (role=0; role<AA_ROLE_COUNT; role++) {
		sum = mix(sum, line->use[role]);

		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++) {
			const struct aa_flow *flow =
				aa_line_flow(line, (enum aa_role)role,
					     (enum aa_rank)rank);

			sum = mix(sum, aa_flow_state(flow));
			sum = mix(sum, aa_flow_failures(flow));
			sum = mix(sum, line->pen[role][rank].until);
		}
	}

	if (sum == line->shown)
		return;

	line->shown = sum;
	tell(line, AA_NEWS_STATE);
}


static void line_run(struct aa_line *line)
{
	const uint64_t now = aa_now_ms();
	struct aa_policy_out out;
	struct aa_policy_in in;

	if (line->ended)
		return;

	take_up_events(line);
	note_flows(line);
	drop_dead_requests(line);
	be_wary(line);

	aa_line_policy_in(&in, line);
	aa_policy_decide(&out, &in);
	wait_for_proxy(line, &out);
#ifdef AASTRA_NO_FAILOVER
	/* built only to show that the tests notice */
	{
		int role;

		for (role=0; role<AA_ROLE_COUNT; role++)
			out.use[role] = AA_RANK_PRIMARY;
	}
#endif

	memcpy(line->why, out.why, sizeof(line->why));
	tell_flows(line, &out);
	open_and_close_flows(line, &out, in.calls);
	steer(line, &out);
	second_step(line, &out);
	leaving_steps(line);
	aa_account_route(line->acc, call_route(line));
	aa_account_settle(line->acc);

	if (aa_line_registered(line))
		line->lost_at = 0;
	else if (!line->lost_at)
		line->lost_at = aa_now_ms();

	publish(line);
	subscriptions(line);
	if (aa_line_registered(line))
		aa_callmove_moved(line);
	report_down(line);
	if (line->old && aa_line_registered(line)) {
		old_end(line);
		strays_take(line, false);
	}
	show(line);
	schedule(line, now);
}


/* ---- commands --------------------------------------------------------- */


/**
 * Refresh the registration now
 *
 * @param line Line
 */
void aa_line_refresh(struct aa_line *line)
{
	if (!line || line->ended)
		return;

	if (line->cur) {
		line->cur->wants = true;
		line->cur->forced = true;
		line->cur->retry_at = 0;
	}

	if (line->second) {
		line->second->wants = true;
		line->second->retry_at = 0;
	}

	aa_line_kick(line);
}


/* What a person asks for is done at once, whatever the line went through */
static void forgive(struct aa_line *line)
{
	memset(line->hold_ms, 0, sizeof(line->hold_ms));
	budget_fill(&line->budget);
}


/**
 * Let a line choose its servers by itself, or hold it on one side
 *
 * @param line Line
 * @param mode Mode
 */
void aa_line_mode_set(struct aa_line *line, enum aa_mode mode)
{
	if (!line || line->ended)
		return;

	if (line->mode != mode) {
		line->mode = mode;
		change(line, AA_JOURNAL_FORCED, aa_mode_name(mode),
		       mode == AA_MODE_AUTO ? "chooses again by itself" :
		       "held there by command", 0, "command", "");
	}

	/* and does not wait for what was found out before */
	aa_line_probe(line);
}


/**
 * Try every failed server of a line now
 *
 * @param line Line
 */
void aa_line_probe(struct aa_line *line)
{
	int role, rank;

	if (!line || line->ended)
		return;

	forgive(line);
	for (role=0; role<AA_ROLE_COUNT; role++) {
		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++) {
			struct aa_flow *flow =
				aa_line_flow(line, (enum aa_role)role,
					     (enum aa_rank)rank);

			line->pen[role][rank].until = 0;
			line->pen[role][rank].asked = 0;
			if (aa_flow_state(flow) == AA_FLOW_DOWN)
				aa_flow_probe(flow);
		}
	}

	if (line->cur)
		line->cur->retry_at = 0;
	if (line->second)
		line->second->retry_at = 0;

	aa_line_kick(line);
}


/* The flow that calls go over */
static struct aa_flow *call_flow(const struct aa_line *line)
{
	if (!line->cur)
		return NULL;

	return line->cfg.scenario == AA_SCENARIO_PROXY_REGISTRAR &&
		!path_route(line, line->cur->use) ?
		aa_line_flow(line, AA_ROLE_PROXY, line->use[AA_ROLE_PROXY]) :
		line->cur->flow;
}


/**
 * Something that was sent stays unanswered: look at the next hop now
 *
 * @param line Line
 */
void aa_line_check(struct aa_line *line)
{
	struct aa_flow *flow;

	if (!line || line->ended)
		return;

	flow = call_flow(line);
	aa_flow_check(flow);

	/* a proxy behind an outbound proxy is asked through that */
	if (line->cur && line->cfg.scenario == AA_SCENARIO_PROXY_REGISTRAR &&
	    flow != aa_line_flow(line, AA_ROLE_PROXY,
				 line->use[AA_ROLE_PROXY]))
		aa_flow_check(aa_line_flow(line, AA_ROLE_PROXY,
					   line->use[AA_ROLE_PROXY]));
}


/**
 * A request over the path in force failed: no server answered it
 *
 * @param line   Line
 * @param reason What was seen
 */
void aa_line_suspect(struct aa_line *line, const char *reason)
{
	struct aa_flow *flow;

	if (!line || line->ended)
		return;

	flow = call_flow(line);
	if (aa_flow_kept(flow))
		aa_flow_check(flow);
	else
		aa_flow_fail(flow, reason, 0);
}


/**
 * Tell that a call is dialled again over the path in force
 *
 * @param line Line
 * @param uri  Who was called
 * @param took Since it was dialled first [ms]
 */
void aa_line_call_moved(struct aa_line *line, const char *uri, uint64_t took)
{
	change(line, AA_JOURNAL_CALL_MOVED, uri, line->cur ?
	       path_name(line, line->cur) : "", took, "INVITE",
	       "dialled again over the path in force");
}


/* ---- the end ---------------------------------------------------------- */


static void farewell_destructor(void *arg)
{
	struct farewell *fw = arg;

	list_unlink(&fw->le);
	list_unlink(&fw->le_way);
	aa_tmr_cancel(&fw->tmr);
	aa_tmr_cancel(&fw->tmr_again);
	mem_deref(fw->b);
	mem_deref(fw->stray);
	mem_deref(fw->user);
	mem_deref(fw->authuser);
	mem_deref(fw->authpass);
	mem_deref(fw->sip);
}


static void farewell_end(void *arg)
{
	mem_deref(arg);
}


/* The BYE of a call that ended with the line may wait for its answer still;
   baresip's exit need not */
static void farewell_said(void *arg)
{
	struct farewell *fw = arg;

	aa_tmr_start(&fw->tmr, FLOW_LINGER_MS, farewell_end, fw);
	aa_tmr_cancel(&fw->tmr_again);
	fw->b   = mem_deref(fw->b);
	fw->sip = mem_deref(fw->sip);
}


static void farewell_again(void *arg)
{
	struct farewell *fw = arg;

	aa_binding_conn_set(fw->b, aa_flow_conn(aa_flow_user_flow(fw->user)));
	if (aa_binding_unregister(fw->b))
		farewell_said(fw);
}


/* Has nobody opened another connection since it was sent? */
static bool farewell_conn_is(const struct farewell *fw,
			     const struct aa_conn *conn)
{
	return conn && conn->fd == fw->conn.fd && conn->ino == fw->conn.ino;
}


/* Over a new connection; the one that there was leads nowhere */
static void farewell_repeat(struct farewell *fw)
{
	struct aa_conn *conn = aa_flow_conn(aa_flow_user_flow(fw->user));

	fw->again  = true;
	fw->before = aa_now_ms() + ASTRAY_MS;
	aa_binding_halt(fw->b);
	if (farewell_conn_is(fw, conn))
		aa_conn_close(conn, true);
	aa_tmr_start(&fw->tmr_again, AGAIN_MS, farewell_again, fw);
}


/* Is another line, that goes on, in service over its flow? */
static bool farewell_shared(const struct farewell *fw)
{
	const struct aa_flow *flow = aa_flow_user_flow(fw->user);
	const struct le *le;

	for (le = list_head(&fw->phone->linel); le; le = le->next) {
		const struct aa_line *line = le->data;

		for (; line; line = line->old) {
			if (aa_line_registered_at(line, flow))
				return true;
		}
	}

	return false;
}


static void farewell_later(void *arg);


/*
 * It got lost, as far as can be seen.  What others are in service over is not
 * closed for it: the flow is asked whether it works, and that is waited for;
 * baresip's exit, where nobody is in service any more, need not wait so long.
 */
static void farewell_lost(struct farewell *fw)
{
	struct aa_flow *flow = aa_flow_user_flow(fw->user);

	if (!farewell_conn_is(fw, aa_flow_conn(flow)) ||
	    !farewell_shared(fw)) {
		farewell_repeat(fw);
		return;
	}

	if (!fw->asked)
		aa_flow_check(flow);
	fw->asked = true;
	aa_tmr_start(&fw->tmr_again, DOUBT_MS, farewell_later, fw);
}


static void farewell_later(void *arg)
{
	struct farewell *fw = arg;
	const struct aa_conn *conn =
		aa_flow_conn(aa_flow_user_flow(fw->user));

	/* it got there */
	if (farewell_conn_is(fw, conn) && !aa_conn_unheard(conn)) {
		if (!aa_binding_pending(fw->b))
			farewell_said(fw);
		return;
	}

	if (aa_now_ms() - fw->sent_at >= ASTRAY_MS)
		farewell_said(fw);
	else
		farewell_lost(fw);
}


/*
 * Between two keep-alives a connection can be lost without a word: a router
 * forgets it, or the server is another process now.
 */
static void farewell_doubt(void *arg)
{
	struct farewell *fw = arg;
	const struct aa_conn *conn =
		aa_flow_conn(aa_flow_user_flow(fw->user));

	if (!farewell_conn_is(fw, conn) || aa_conn_unheard(conn))
		farewell_lost(fw);
}


static uint32_t doubt_ms(const struct aa_flow *flow)
{
	const uint32_t rtts = DOUBT_RTTS * (aa_flow_rtt(flow) / 1000);

	return MAX((uint32_t)DOUBT_MS, MIN(rtts, (uint32_t)DOUBT_MAX_MS));
}


static void farewell_handler(struct aa_binding *b, enum aa_binding_event ev,
			     const char *reason, uint32_t retry_after,
			     const struct sip_msg *msg, void *arg)
{
	struct farewell *fw = arg;
	struct aa_line *line;
	(void)b;
	(void)ev;
	(void)reason;
	(void)retry_after;

	/* what it was sent after may have come just before, answered or not:
	   see leaving_event() */
	line = fw->proven ? NULL : aa_line_find(fw->phone, fw->line);
	if (line) {
		all_doubt(line);
		aa_line_kick(line);
	}

	if (!msg && fw->stream && fw->user && !fw->again &&
	    (fw->asked || aa_now_ms() - fw->sent_at < DOUBT_MAX_MS)) {
		farewell_lost(fw);
		return;
	}

	if (msg && (msg->scode < 300 || 404 == msg->scode))
		aa_stray_answered(fw->stray, fw->before);

	aa_tmr_start(&fw->tmr, 0, farewell_said, fw);
}


static int farewell_auth(char **user, char **pass, const char *realm,
			 void *arg)
{
	const struct farewell *fw = arg;
	int err;
	(void)realm;

	err  = str_dup(user, fw->authuser);
	err |= str_dup(pass, fw->authpass);

	return err;
}


static void farewell_flow_handler(struct aa_flow *flow, void *arg)
{
	(void)flow;
	(void)arg;
}


/* Where a line keeps its hold on a flow */
static struct aa_flow_user **user_of(struct aa_line *line,
				     const struct aa_flow *flow)
{
	int role, rank;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++) {
			struct aa_flow_user **userp = &line->user[role][rank];

			if (*userp && aa_flow_user_flow(*userp) == flow)
				return userp;
		}
	}

	return NULL;
}


/* Who ends later has the flow for itself, or shares it with who does, too, or
   with the line whose way it is */
static struct aa_flow_user *farewell_user(struct aa_line *line,
					  const struct aa_path *way,
					  struct farewell *fw)
{
	struct aa_flow_user **userp = user_of(line, way->flow);
	const struct le *le;

	if (userp) {
		struct aa_flow_user *user = *userp;

		aa_flow_user_take(user, farewell_flow_handler, fw);
		*userp = NULL;
		return user;
	}

	for (le = list_head(&line->phone->wayl); le; le = le->next) {
		const struct farewell *other = le->data;

		if (aa_flow_user_flow(other->user) == way->flow)
			return mem_ref(other->user);
	}

	userp = user_of(way->line, way->flow);

	return userp ? mem_ref(*userp) : NULL;
}


/*
 * The way to a path's registrar: its own, or where that is dead, the one that
 * the line is registered over, if a registrar that both share has not been
 * told already.
 *
 * A REGISTER leaves with the first check of a new connection: it may be heard
 * although nothing said yet that the flow works.
 */
static const struct aa_path *farewell_way(const struct aa_path *path,
					  const struct aa_path *detour)
{
	if (!path || !path->b || (!path->owed && !aa_binding_maybe(path->b)))
		return NULL;

	if (aa_flow_state(path->flow) != AA_FLOW_DOWN)
		return path;

	return path->cleared ? NULL : detour;
}


/* What a line that ends can reach other registrars over */
static const struct aa_path *detour_of(const struct aa_line *line)
{
	return path_serves(line->cur) ? line->cur :
		path_serves(line->second) ? line->second : NULL;
}


/* Without an instance-id nothing has a reg-id, and the CSeq decides */
static void stray_note(struct aa_stray **strayp, const struct aa_line *line,
		       const struct aa_path *path, const struct aa_binding *b,
		       uint64_t until)
{
	if (!aa_flow_kept(path->flow) || !aa_binding_regid(b))
		return;

	if (aa_stray_add(strayp, &line->phone->strayl,
			 account_aor(aa_account_prim(line->acc)),
			 aa_binding_regid(b), path->use, until))
		debug("aastra: line %u: a farewell is not remembered\n",
		      line->cfg.line);
}


/* Until when something that was sent for a path may arrive; 0: all has */
static uint64_t stray_until(const struct aa_path *path)
{
	const uint64_t now = aa_now_ms();
	uint64_t until = is_astray(path) ? path->astray_until : 0;

	/* it was left before its REGISTER was answered */
	until = MAX(until, path->late_until);

	/* it is not answered yet */
	if (aa_binding_pending(path->b))
		until = now + ASTRAY_MS;

	return until > now ? until : 0;
}


/* What was sent to the servers of a path and was not answered may come there
   when the line is gone */
static void path_stray_note(const struct aa_path *path)
{
	const uint64_t until = path ? stray_until(path) : 0;

	if (until)
		stray_note(NULL, path->line, path, path->b, until);
}


static void strays_note(const struct aa_line *line)
{
	const struct list *listv[] = {&line->leavel, &line->idlel};
	const struct le *le;
	size_t i;

	path_stray_note(line->cur);
	path_stray_note(line->next);
	path_stray_note(line->second);

	for (i=0; i<ARRAY_SIZE(listv); i++) {
		for (le = list_head(listv[i]); le; le = le->next)
			path_stray_note(le->data);
	}
}


static void farewell_send(struct aa_line *line, struct aa_path *path,
			  const struct aa_path *detour)
{
	const struct aa_path *way = farewell_way(path, detour);
	struct farewell *fw;
	uint64_t before;
	int err;

	if (!way)
		return;

	before = stray_until(path);

	fw = mem_zalloc(sizeof(*fw), farewell_destructor);
	if (!fw)
		return;

	if (aa_account_auth(line->acc, &fw->authuser, &fw->authpass))
		goto out;

	/* one that is under way already may have come to a server that was
	   down a moment ago */
	aa_binding_halt(path->b);
	err = hop_over(way->line, path->b, way);
	if (err)
		goto out;

	/* the flow is needed a little longer than its line */
	fw->user = farewell_user(line, way, fw);
	list_append(&line->phone->wayl, &fw->le_way, fw);
	fw->sip  = mem_ref(uag_sip());
	fw->b    = path->b;
	path->b  = NULL;
	aa_binding_owner_set(fw->b, farewell_auth, farewell_handler, fw);

	fw->phone   = line->phone;
	fw->line    = line->cfg.line;
	fw->proven  = path->proven || path->plain;
	fw->sent_at = aa_now_ms();
	fw->stream  = line->tp != SIP_TRANSP_UDP;
	list_append(&line->phone->farewelll, &fw->le, fw);
	err = aa_binding_unregister(fw->b);
	if (err) {
		/* other paths of the line may need the flow, which is its own
		   no more */
		aa_tmr_start(&fw->tmr, 0, farewell_said, fw);
		return;
	}

	fw->before = before;
	stray_note(&fw->stray, line, path, fw->b, fw->sent_at + ASTRAY_MS);

	if (fw->stream && fw->user) {
		fw->conn = *aa_flow_conn(way->flow);
		aa_tmr_start(&fw->tmr_again, doubt_ms(way->flow),
			     farewell_doubt, fw);
	}

	return;

 out:
	mem_deref(fw);
}


/*
 * Calls end with their user agent, after this, and their BYE takes the
 * connection that the call was made over, which need not be the one in force.
 */
static void flows_linger(struct aa_line *line)
{
	int role, rank;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++) {
			struct aa_flow_user *user = line->user[role][rank];
			struct farewell *fw;

			if (aa_flow_state(aa_flow_user_flow(user)) !=
			    AA_FLOW_UP)
				continue;

			fw = mem_zalloc(sizeof(*fw), farewell_destructor);
			if (!fw)
				return;

			aa_flow_user_take(user, farewell_flow_handler, fw);
			fw->user = user;
			line->user[role][rank] = NULL;
			aa_tmr_start(&fw->tmr, FLOW_LINGER_MS, farewell_end, fw);
			list_append(&line->phone->farewelll, &fw->le, fw);
		}
	}
}


/* What libre has open it keeps: baresip registers over it right away */
static void connections_forget(struct aa_line *line)
{
	int role, rank;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++)
			aa_conn_init(aa_flow_conn(aa_line_flow(line,
				(enum aa_role)role, (enum aa_rank)rank)));
	}
}


/* Unregister what is registered, and let go of all but the account */
static void part(struct aa_line *line, const struct aa_path *detour)
{
	struct le *le;

	line->ended = true;
	list_unlink(&line->le);

	aa_subs_end(line->subs, &line->phone->farewelll);
	line->subs = NULL;
	strays_note(line);
	farewell_send(line, line->cur, detour);
	farewell_send(line, line->next, detour);
	farewell_send(line, line->second, detour);
	for (le = list_head(&line->leavel); le; le = le->next)
		farewell_send(line, le->data, detour);
	flows_linger(line);
}


/* Whoever may see the digest answers of one may see those of the other */
static bool same_credentials(const struct aa_account *a,
			     const struct aa_account *b)
{
	char *user[2] = {NULL, NULL}, *pass[2] = {NULL, NULL};
	bool same;

	if (a == b)
		return true;

	same = !aa_account_auth(a, &user[0], &pass[0]) &&
		!aa_account_auth(b, &user[1], &pass[1]) &&
		0 == str_cmp(user[0], user[1]) &&
		0 == str_cmp(pass[0], pass[1]);

	mem_deref(user[0]);
	mem_deref(user[1]);
	mem_deref(pass[0]);
	mem_deref(pass[1]);

	return same;
}


/* The old settings may be those of a server that is dead: where the new one
   leads to the same registrar, or shares its data, it takes the farewell */
static const struct aa_path *old_detour(const struct aa_line *line,
					const struct aa_line *old)
{
	const struct aa_path *detour = detour_of(old);

	return detour || !same_credentials(old->acc, line->acc) ? detour
		: detour_of(line);
}


/* What a line has replaced goes, and what that has replaced */
static void old_part(struct aa_line *line, const struct aa_line *heir)
{
	struct aa_line *old = line->old;
	struct aa_account *acc;

	if (!old)
		return;

	line->old = NULL;
	old_part(old, heir);
	part(old, old_detour(heir, old));

	acc = old->acc;
	old->acc = NULL;
	if (acc != line->acc) {
		struct ua *ua;

		(void)aa_account_show(acc, NULL, 0);
		ua = aa_account_shown(acc);
		aa_account_end(acc, NULL);
		if (line->phone->unusedh)
			line->phone->unusedh(ua);
	}

	mem_deref(old);
}


/* The line is registered, or it ends: all that came before it goes */
static void old_end(struct aa_line *line)
{
	old_part(line, line);
}


/* How often settings had changed when a reg-id was chosen, see regid_of() */
static unsigned epoch_of(unsigned regid)
{
	return regid ? (regid - 1) / (REGIDS * OLDER_MAX) : 0;
}


static bool same_servers(const struct aa_line_config *a,
			 const struct aa_line_config *b)
{
	int role, rank;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++) {
			const struct aa_server *sa = &a->server[role][rank];
			const struct aa_server *sb = &b->server[role][rank];

			if (sa->port != sb->port ||
			    0 != str_casecmp(sa->host, sb->host))
				return false;
		}
	}

	return true;
}


/* New settings are no command to go home: with the same servers the line
   begins where it was, and what it has learnt of them still holds */
static void place_keep(struct aa_line *line, const struct aa_line *old)
{
	memcpy(line->use, old->use, sizeof(line->use));
	memcpy(line->home_at, old->home_at, sizeof(line->home_at));
	memcpy(line->hold_ms, old->hold_ms, sizeof(line->hold_ms));
	memcpy(line->hold_set, old->hold_set, sizeof(line->hold_set));
	line->kept = true;
}


/**
 * Let a line with other settings take the place of one
 *
 * The old one stays registered as it is until the new one is registered.
 * Where the servers are the same, the new one begins on those that the old
 * one used.
 *
 * @param linep Pointer to the new line, not started yet
 * @param old   Line; not in the phone's list any more
 * @param cfg   Settings
 * @param acc   Account, the new line's from now on; NULL: the old line's
 * @param tp    Transport
 * @param what  What changed
 *
 * @return 0 if success, otherwise errorcode, and the old line is as it was
 */
int aa_line_replace(struct aa_line **linep, struct aa_line *old,
		    const struct aa_line_config *cfg, struct aa_account *acc,
		    enum sip_transp tp, const char *what)
{
	struct aa_line *line;
	int err;

	if (!linep || !old || old->ended || !cfg)
		return EINVAL;

	err = aa_line_alloc(&line, old->phone, cfg, acc ? acc : old->acc, tp);
	if (err)
		return err;

	line->epoch = MAX(old->epoch, epoch_of(old->warm_regid)) + 1;
	line->count = old->count;
	line->moves = old->moves;
	if (cfg->scenario != AA_SCENARIO_NONE)
		line->mode = old->mode;
	if (same_servers(cfg, &old->cfg))
		place_keep(line, old);

	/* what was sent before the start has not come any sooner */
	line->wary_at    = old->wary_at;
	line->wary_gap   = old->wary_gap;
	line->wary_until = old->wary_until;

	old->ended = true;
	aa_tmr_cancel(&old->tmr);
	aa_tmr_cancel(&old->tmr_now);
	list_unlink(&old->le);
	line->old = old;

	change(line, AA_JOURNAL_CONFIG, "", what, 0, "config",
	       "registers anew, then the old registration is taken back");

	*linep = line;

	return 0;
}


/**
 * The user agent of a line goes: unregister what is registered, and end
 *
 * baresip's exit waits for the farewell, which takes 1.5 seconds at most.
 *
 * @param line  Line, freed
 * @param dying User agent that baresip frees
 */
void aa_line_end(struct aa_line *line, const struct ua *dying)
{
	struct aa_account *acc;

	if (!line || line->ended)
		return;

	old_end(line);
	part(line, detour_of(line));

	acc = line->acc;
	line->acc = NULL;
	aa_account_end(acc, dying);
	mem_deref(line);
}


/*
 * The same, for a module that is unloaded: nobody waits for an answer, and libre
 * goes on saying it until there is one.  It may arrive when the module has been
 * loaded again.
 */
static void farewell_drop(struct aa_path *path, const struct aa_path *detour)
{
	const struct aa_path *way = farewell_way(path, detour);

	/* baresip registers anew what it had registered itself */
	if (!way || path->plain)
		return;

	aa_binding_halt(path->b);
	if (hop_over(way->line, path->b, way) ||
	    aa_binding_farewell(path->b))
		return;

	stray_note(NULL, path->line, path, path->b,
		   aa_now_ms() + ASTRAY_MS);
}


/**
 * The module goes: unregister without waiting, and give the account back
 *
 * @param line Line, freed
 */
void aa_line_release(struct aa_line *line)
{
	const struct aa_path *detour;
	struct aa_account *acc;
	struct le *le;

	if (!line || line->ended)
		return;

	old_end(line);
	line->ended = true;

	aa_subs_end(line->subs, NULL);
	line->subs = NULL;
	strays_note(line);
	detour = detour_of(line);
	farewell_drop(line->cur, detour);
	farewell_drop(line->next, detour);
	farewell_drop(line->second, detour);
	for (le = list_head(&line->leavel); le; le = le->next)
		farewell_drop(le->data, detour);
	connections_forget(line);

	acc = line->acc;
	line->acc = NULL;
	list_unlink(&line->le);
	aa_account_release(acc);
	mem_deref(line);
}


/**
 * Find a line by its number
 *
 * @param phone Phone
 * @param n     Number, 1..
 *
 * @return Line, NULL if there is none
 */
struct aa_line *aa_line_find(const struct aa_phone *phone, uint32_t n)
{
	struct le *le;

	for (le = phone ? list_head(&phone->linel) : NULL; le; le = le->next) {
		struct aa_line *line = le->data;

		if (line->cfg.line == n)
			return line;
	}

	return NULL;
}


/**
 * Find the line of a user agent
 *
 * @param phone Phone
 * @param ua    User agent, may be NULL
 *
 * @return Line, NULL if it has none
 */
struct aa_line *aa_line_find_ua(const struct aa_phone *phone,
				const struct ua *ua)
{
	struct le *le;

	for (le = phone ? list_head(&phone->linel) : NULL; le; le = le->next) {
		struct aa_line *line = le->data;
		const struct aa_line *each;

		for (each = line; each; each = each->old) {
			if (aa_account_owns(each->acc, ua))
				return line;
		}
	}

	return NULL;
}
