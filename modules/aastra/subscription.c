/**
 * @file subscription.c  The event subscriptions of a line
 *
 * A SUBSCRIBE client (RFC 6665) for all event packages of a line.  It does
 * what libre's own cannot: it is told over which path to go, makes the new
 * dialog before it breaks the old one, and can be stopped so that nothing of
 * it is sent any more.
 *
 * A subscription has at most one dialog over the path in force, and while the
 * line moves, the one that it leaves:
 *
 *     sub->leg           over the path in force
 *     sub->oldl          over the path before, until `leg` has spoken
 *     subs->leavel       being unsubscribed
 *     subs->orphanl      over a path that is dead; unsubscribed over another
 *                        path to the same servers as soon as there is one
 *
 * What a lamp shows belongs to the subscription, not to a dialog: it changes
 * only when somebody says so.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <re.h>
#include "utf8.h"
#include "compat.h"
#include "timer.h"
#include "digest.h"
#include "request.h"
#include "config.h"
#include "notify.h"
#include "subscription.h"


enum {
	BURST_MAX      = 50,    /* requests begun at once, at most          */
	RATE_DEFAULT   = 50,    /* then so many in a second                 */
	BURST_END_MS   = 2,     /* the same when the phone ends             */
	OPEN_MS        = 500,   /* the first is waited for no longer        */
	CHALLENGES_MAX = 4,
	CHALLENGED_BY_SERVER = 1,
	CHALLENGED_BY_PROXY  = 2,
	KEEP_OLD_MS    = 3000,  /* a new path has so long to speak          */
	FAREWELL_MS    = 1500,
	LINGER_MS      = 500,   /* for the last NOTIFY                      */
	NOTIFY_WAIT_MS = 32000, /* Timer N, RFC 6665 4.1.2.4                */
	REFRESH_MIN_MS = 500,
	MISSED_MS      = 1000,  /* a NOTIFY that memory was too short for   */
	STEADY_MS      = 30000, /* lived so long: not a failure             */
	BACKOFF_MIN_MS = 5000,
	BACKOFF_MAX_MS = 1800000,
	BACKOFF_SHIFT_MAX = 16,
	SLOW_RETRY_S   = 3600,  /* the server does not know the package     */
	PERIOD_DEFAULT = 3600,
	SUBS_MAX       = 1000,
	OLD_MAX        = 4,
	ORPHANS_MAX    = 256,
	PAST_MAX       = 64,
	REASON_SIZE    = 160,
	URI_SIZE       = 512
};


typedef void (job_h)(void *arg);

/** Something to be sent when its turn comes */
struct job {
	struct le le;
	job_h *h;
	void *arg;
};

/** What dialogs over the same path share */
struct path {
	struct aa_subs *subs;
	struct sip_auth *auth;
	struct aa_digest_state digest;
	unsigned challenged;    /* by whom                                  */
	unsigned auth_gen;      /* counts the challenges that were answered */
	char *aor;
	char *dispname;
	char *domain;
	char *home;
	char *route;
	char *cuser;
	enum sip_transp tp;
	uint32_t transaction;
	struct aa_conn *conn;
	uint64_t generation;
	enum aa_rank rank;
	struct sa server;       /* who answers there                        */
	bool faulted;           /* its owner was told                       */
	bool opened;            /* a server has answered                    */
	bool opening;           /* the first request is under way           */
};

/** One member of a list */
struct lamp {
	struct le le;
	char *uri;
	char *name;
	char *value;
	char *note;
	bool listed;
};

/** One dialog of a subscription */
struct leg {
	struct le le;
	struct aa_subs *subs;
	struct sub *sub;        /* NULL when it is being left               */
	struct path *path;
	struct sip_dialog *dlg;
	struct sip_auth *auth;  /* the path's, or one of its own            */
	struct aa_req *req;
	struct aa_notify *notify;
	struct aa_tmr tmr;
	struct job job;
	char *event;
	char *contact;          /* URI as it was sent                       */
	char *remote;           /* the server's To, with its tag            */
	char *target;           /* the server's Contact                     */
	char *next_host;        /* where requests in the dialog go          */
	bool next_secure;       /* and over TLS                             */
	bool routed;            /* by a Record-Route                        */
	char *ltag;
	unsigned id;            /* tells our Contacts apart                 */
	uint32_t want_expires;
	uint32_t cseq;          /* latest of the server                     */
	uint16_t scode;         /* what it was answered with                */
	unsigned sent_gen;
	unsigned challenges;
	unsigned challenged;
	uint64_t until;         /* when it expires, aa_now_ms()             */
	uint64_t refresh_at;
	uint64_t notify_by;
	uint64_t spoken_at;
	bool heard;             /* `cseq` is set                            */
	bool confirmed;         /* a 2xx came                               */
	bool spoken;            /* a NOTIFY that does not end it came       */
	bool pending;           /* the server waits for somebody's consent  */
	bool leaving;
	bool answered;          /* the farewell was                         */
	bool terminated;        /* the server has said the last word        */
	bool missed;            /* a NOTIFY that there was no memory for    */
	bool detour;            /* goes over another path than it was made  */
	uint32_t lseq;          /* then: its CSeq                           */
};

/** A dialog that has ended, while a NOTIFY of it may still be on its way */
struct past {
	struct le le;
	struct aa_tmr tmr;
	char *callid;
	char *ltag;
};

/** A subscription */
struct sub {
	struct le le;
	struct aa_subs *subs;
	struct leg *leg;
	struct list oldl;
	struct aa_tmr tmr;      /* next try                                 */
	struct job job;
	char *event;
	char *key;              /* as it was asked for, "" for the own AOR  */
	char *label;
	char *target;           /* URI in force                             */
	char *value;
	char *note;
	struct list lampl;      /* members of a list                        */
	uint32_t period;
	uint32_t min_expires;   /* from a 423                               */
	uint32_t failures;      /* in a row                                 */
	uint64_t retry_at;      /* aa_now_ms(), 0: not                      */
	uint32_t retry_after;
	uint16_t scode;
	char error[REASON_SIZE];
	enum aa_sub_state said; /* what the owner knows                     */
	bool list;
	bool settings;          /* the line's settings ask for it           */
	bool given_up;          /* on this path                             */
	bool moving;
};

struct aa_subs {
	struct le le;           /* when it has ended                        */
	struct sip *sip;
	struct path *path;
	struct list subl;
	struct list leavel;
	struct list orphanl;
	struct list pastl;
	struct list jobl;
	struct aa_tmr tmr;      /* jobs                                     */
	struct aa_tmr tmr_end;
	struct aa_tmr tmr_settled;
	sip_auth_h *authh;
	aa_subs_h *h;
	void *arg;
	char *authuser;         /* when it has ended                        */
	char *authpass;
	uint32_t mwi_period;
	uint32_t period;
	uint32_t retry_timeout; /* [s], 0: back-off                         */
	uint32_t retry_failed;
	unsigned burst;         /* requests that may begin at once          */
	uint32_t every;         /* then one in so many milliseconds         */
	unsigned tokens;        /* requests that may begin now              */
	uint64_t tokens_at;
	uint64_t moved_at;
	unsigned moved;         /* subscriptions, in this move              */
	unsigned next_id;
	bool suspended;
	bool ended;
};


static int  request(struct leg *leg);
static void begin(void *arg);
static void leave(struct leg *leg);
static void clear_orphans(struct aa_subs *subs);
static void leg_timer(void *arg);


/* ---- the beginning and the end of things ------------------------------ */


static void path_destructor(void *arg)
{
	struct path *path = arg;

	mem_deref(path->auth);
	mem_deref(path->aor);
	mem_deref(path->dispname);
	mem_deref(path->domain);
	mem_deref(path->home);
	mem_deref(path->route);
	mem_deref(path->cuser);
}


static void leg_destructor(void *arg)
{
	struct leg *leg = arg;

	list_unlink(&leg->le);
	list_unlink(&leg->job.le);
	aa_tmr_cancel(&leg->tmr);
	mem_deref(leg->req);
	mem_deref(leg->auth);
	mem_deref(leg->dlg);
	mem_deref(leg->notify);
	mem_deref(leg->path);
	mem_deref(leg->event);
	mem_deref(leg->contact);
	mem_deref(leg->remote);
	mem_deref(leg->target);
	mem_deref(leg->next_host);
	mem_deref(leg->ltag);
}


static void past_destructor(void *arg)
{
	struct past *past = arg;

	list_unlink(&past->le);
	aa_tmr_cancel(&past->tmr);
	mem_deref(past->callid);
	mem_deref(past->ltag);
}


static void lamp_destructor(void *arg)
{
	struct lamp *lamp = arg;

	list_unlink(&lamp->le);
	mem_deref(lamp->uri);
	mem_deref(lamp->name);
	mem_deref(lamp->value);
	mem_deref(lamp->note);
}


static void sub_destructor(void *arg)
{
	struct sub *sub = arg;

	list_unlink(&sub->le);
	list_unlink(&sub->job.le);
	aa_tmr_cancel(&sub->tmr);
	mem_deref(sub->leg);
	list_flush(&sub->oldl);
	list_flush(&sub->lampl);
	mem_deref(sub->event);
	mem_deref(sub->key);
	mem_deref(sub->label);
	mem_deref(sub->target);
	mem_deref(sub->value);
	mem_deref(sub->note);
}


static void subs_destructor(void *arg)
{
	struct aa_subs *subs = arg;

	list_unlink(&subs->le);
	aa_tmr_cancel(&subs->tmr);
	aa_tmr_cancel(&subs->tmr_end);
	aa_tmr_cancel(&subs->tmr_settled);
	list_flush(&subs->subl);
	list_flush(&subs->leavel);
	list_flush(&subs->orphanl);
	list_flush(&subs->pastl);
	mem_deref(subs->path);
	mem_deref(subs->authuser);
	mem_deref(subs->authpass);
	if (subs->ended)
		mem_deref(subs->sip);
}


static int str_set(char **dst, const char *src)
{
	char *str = NULL;
	int err;

	err = src ? str_dup(&str, src) : 0;
	if (err)
		return err;

	mem_deref(*dst);
	*dst = str;

	return 0;
}


static bool str_same(const char *a, const char *b)
{
	if (!a || !b)
		return a == b;

	return 0 == str_cmp(a, b);
}


/* ---- one thing after the other ---------------------------------------- */


/*
 * A hundred lamps that move would be a burst of a hundred requests, from
 * each phone at once.  So many may begin at once, and then one at a time.
 * (What answers a challenge is not counted.)  The very first on a path goes
 * ahead alone: what it is challenged with serves the others.
 */
static void jobs_run(void *arg)
{
	struct aa_subs *subs = arg;
	struct path *path = subs->path;
	const uint64_t every = subs->ended ? BURST_END_MS : subs->every;
	const uint64_t now = aa_now_ms();
	const uint64_t n = (now - subs->tokens_at) / every;

	if (subs->tokens + n >= subs->burst) {
		subs->tokens    = subs->burst;
		subs->tokens_at = now;
	}
	else {
		subs->tokens    += (unsigned)n;
		subs->tokens_at += n * every;
	}

	while (subs->tokens && !list_isempty(&subs->jobl)) {
		struct job *job = list_ledata(list_head(&subs->jobl));

		list_unlink(&job->le);
		--subs->tokens;

		if (path && !path->opened && !path->opening &&
		    !subs->ended && job->h == begin) {
			path->opening = true;
			job->h(job->arg);
			aa_tmr_start(&subs->tmr, OPEN_MS, jobs_run, subs);
			return;
		}

		job->h(job->arg);
	}

	if (!list_isempty(&subs->jobl))
		aa_tmr_start(&subs->tmr, every, jobs_run, subs);
}


/* A server has answered: the others may follow */
static void path_open(struct path *path)
{
	struct aa_subs *subs = path->subs;

	if (path->opened)
		return;

	path->opened = true;

	if (path == subs->path && path->opening && !subs->suspended)
		aa_tmr_start(&subs->tmr, 0, jobs_run, subs);
}


static void job_add(struct aa_subs *subs, struct job *job, job_h *h,
		    void *arg)
{
	list_unlink(&job->le);
	job->h   = h;
	job->arg = arg;
	list_append(&subs->jobl, &job->le, job);

	if (!aa_tmr_isrunning(&subs->tmr) && !subs->suspended)
		aa_tmr_start(&subs->tmr, 0, jobs_run, subs);
}


/* ---- what the owner is told ------------------------------------------- */


/* The dialog that a lamp hangs on now */
static const struct leg *front(const struct sub *sub)
{
	const struct le *le;

	if (sub->leg && sub->leg->spoken)
		return sub->leg;

	for (le = list_tail(&sub->oldl); le; le = le->prev) {
		const struct leg *leg = le->data;

		if (leg->spoken)
			return leg;
	}

	return NULL;
}


static enum aa_sub_state state_of(const struct sub *sub)
{
	const struct leg *leg = front(sub);

	if (sub->subs->suspended)
		return AA_SUB_PENDING;

	if (leg)
		return leg->pending ? AA_SUB_PENDING : AA_SUB_ACTIVE;

	return sub->given_up || sub->retry_at ? AA_SUB_TERMINATED
		: AA_SUB_PENDING;
}


static void info_get(struct aa_sub_info *si, const struct sub *sub)
{
	const struct leg *leg = front(sub);
	const struct path *path = sub->subs->path;
	const uint64_t now = aa_now_ms();

	memset(si, 0, sizeof(*si));
	si->event = sub->event;
	si->uri   = sub->target ? sub->target : sub->key;
	si->key   = sub->key;
	si->value = sub->value ? sub->value : "";
	si->note  = sub->note  ? sub->note  : "";
	si->label = sub->label ? sub->label : "";
	si->error = sub->error;
	si->state = state_of(sub);
	si->rank  = leg ? leg->path->rank : path ? path->rank : AA_RANK_NONE;
	si->failures = sub->failures;
	si->scode = sub->scode;
	si->retry_after = sub->retry_after;
	if (sub->retry_at)
		si->retry_in = sub->retry_at > now ? sub->retry_at - now : 1;
}


static void lamp_info(struct aa_sub_info *si, const struct sub *sub,
		      const struct lamp *lamp)
{
	info_get(si, sub);
	si->uri    = lamp->uri;
	si->value  = lamp->value ? lamp->value : "";
	si->note   = lamp->note  ? lamp->note  : "";
	si->label  = lamp->name  ? lamp->name  : "";
	si->member = true;
}


static void tell(struct sub *sub, enum aa_sub_event ev, const char *text,
		 uint32_t took)
{
	const struct aa_subs *subs = sub->subs;
	struct aa_sub_info si;

	if (subs->ended || !subs->h)
		return;

	info_get(&si, sub);
	subs->h(ev, &si, text ? text : "", took, subs->arg);
}


static void tell_state(struct sub *sub, const char *text)
{
	const enum aa_sub_state state = state_of(sub);

	/* a move is told as one, by the line and by moved() */
	if (sub->said == state || sub->moving || sub->subs->suspended)
		return;

	sub->said = state;
	tell(sub, AA_SUB_EV_STATE, text, 0);
}


static void settled_handler(void *arg)
{
	struct aa_subs *subs = arg;

	if (!aa_subs_leaving(subs) && !subs->ended && subs->h)
		subs->h(AA_SUB_EV_SETTLED, NULL, "", 0, subs->arg);
}


static void end_handler(void *arg)
{
	mem_deref(arg);
}


/* A dialog of an older path is gone */
static void settle(struct aa_subs *subs)
{
	if (subs->ended) {
		if (list_isempty(&subs->leavel))
			aa_tmr_start(&subs->tmr_end, 0, end_handler, subs);
		return;
	}

	if (!aa_subs_leaving(subs))
		aa_tmr_start(&subs->tmr_settled, 0, settled_handler, subs);
}


static void moved(struct sub *sub, bool ok)
{
	struct aa_subs *subs = sub->subs;
	char text[URI_SIZE + 64];
	const struct le *le;
	uint64_t took;

	if (!sub->moving)
		return;

	sub->moving = false;
	if (ok)
		++subs->moved;

	for (le = list_head(&subs->subl); le; le = le->next) {
		const struct sub *other = le->data;

		if (other->moving)
			return;
	}

	if (!subs->moved)
		return;

	if (subs->moved == 1 && ok)
		(void)re_snprintf(text, sizeof(text), "%s %s", sub->event,
				  sub->target);
	else
		(void)re_snprintf(text, sizeof(text), "%u subscription%s",
				  subs->moved, subs->moved == 1 ? "" : "s");

	took = aa_now_ms() - subs->moved_at;
	tell(sub, AA_SUB_EV_MOVED, text,
	     (uint32_t)MIN(took, (uint64_t)UINT32_MAX));

	clear_orphans(subs);
}


/* ---- what to subscribe to --------------------------------------------- */


/* In which domain a URI lives, as host[:port] */
static bool same_domain(const struct uri *uri, const char *domain)
{
	char buf[280];
	const bool ipv6 = NULL != pl_strchr(&uri->host, ':');

	if (uri->port)
		(void)re_snprintf(buf, sizeof(buf), "%s%r%s:%u",
				  ipv6 ? "[" : "", &uri->host,
				  ipv6 ? "]" : "", uri->port);
	else
		(void)re_snprintf(buf, sizeof(buf), "%s%r%s",
				  ipv6 ? "[" : "", &uri->host,
				  ipv6 ? "]" : "");

	return 0 == str_casecmp(buf, domain);
}


/* "sip:200@pbx.example.com", but not "200@pbx.example.com:5080" */
static bool has_scheme(const char *key)
{
	const char *colon = strchr(key, ':'), *at = strchr(key, '@');

	return colon && (!at || colon < at);
}


static int target_print(char *buf, size_t sz, const struct sub *sub,
			const struct path *path)
{
	struct uri uri;
	struct pl pl;
	int n;

	if (!str_isset(sub->key)) {
		n = re_snprintf(buf, sz, "%s", path->aor);
	}
	else if (!strchr(sub->key, ':') && !strchr(sub->key, '@')) {
		n = re_snprintf(buf, sz, "sip:%s@%s", sub->key, path->domain);
	}
	else {
		n = re_snprintf(buf, sz, "%s%s",
				has_scheme(sub->key) ? "" : "sip:",
				sub->key);
		if (n < 0)
			return EMSGSIZE;

		pl_set_str(&pl, buf);
		if (uri_decode(&uri, &pl))
			return EBADMSG;

		/* at home means at home wherever the line is */
		if (path->home && pl_isset(&uri.user) &&
		    same_domain(&uri, path->home) &&
		    str_casecmp(path->home, path->domain)) {
			char user[URI_SIZE];

			(void)pl_strcpy(&uri.user, user, sizeof(user));
			n = re_snprintf(buf, sz, "sip:%s@%s", user,
					path->domain);
		}
	}

	if (n < 0)
		return EMSGSIZE;

	pl_set_str(&pl, buf);

	if (uri_decode(&uri, &pl) || !pl_isset(&uri.host) ||
	    (strchr(buf, '@') && !pl_isset(&uri.user)))
		return EBADMSG;

	return 0;
}


static bool key_ok(const char *key)
{
	size_t i;

	for (i=0; key[i]; i++) {
		const unsigned char c = (unsigned char)key[i];

		if (c <= ' ' || c >= 0x7f || strchr("<>\"", c))
			return false;
	}

	return i < URI_SIZE / 2;
}


static bool event_ok(const char *event)
{
	size_t i;

	for (i=0; event[i]; i++) {
		const unsigned char c = (unsigned char)event[i];

		if (c <= ' ' || c >= 0x7f || strchr("<>\"(),;:/?=@[]{}\\", c))
			return false;
	}

	return i > 0 && i < 64;
}


/* ---- requests --------------------------------------------------------- */


static int auth_handler(char **user, char **pass, const char *realm,
			void *arg)
{
	const struct path *path = arg;
	const struct aa_subs *subs = path->subs;
	int err;

	if (subs->ended) {
		if (!subs->authuser || !subs->authpass)
			return EAUTH;

		err  = str_dup(user, subs->authuser);
		err |= str_dup(pass, subs->authpass);

		return err ? ENOMEM : 0;
	}

	return subs->authh ? subs->authh(user, pass, realm, subs->arg)
		: EAUTH;
}


static bool stale_handler(const struct sip_hdr *hdr, const struct sip_msg *msg,
			  void *arg)
{
	struct httpauth_digest_chall ch;
	(void)msg;
	(void)arg;

	return 0 == httpauth_digest_challenge_decode(&ch, &hdr->val) &&
		0 == pl_strcasecmp(&ch.stale, "true");
}


static bool is_stale(const struct sip_msg *msg)
{
	return sip_msg_hdr_apply(msg, true, SIP_HDR_WWW_AUTHENTICATE,
				 stale_handler, NULL) ||
		sip_msg_hdr_apply(msg, true, SIP_HDR_PROXY_AUTHENTICATE,
				  stale_handler, NULL);
}


static bool host_is(const char *host, const char *uri_str)
{
	struct uri uri;
	struct pl pl;

	if (!uri_str)
		return false;

	pl_set_str(&pl, uri_str);

	return 0 == uri_decode(&uri, &pl) &&
		0 == pl_strcasecmp(&uri.host, host);
}


/*
 * Does the next request of a dialog go to the line's own server?  It goes
 * where the server's Contact or Record-Route says, which may be anywhere and
 * over anything: nobody there gets an answer to a challenge.
 */
static bool goes_home(const struct leg *leg)
{
	const struct path *path = leg->path;
	struct sa sa;

	if (leg->detour || !sip_dialog_established(leg->dlg))
		return true;

	if (!leg->next_host ||
	    (path->tp == SIP_TRANSP_TLS && !leg->next_secure))
		return false;

	if (0 == sa_set_str(&sa, leg->next_host, 0) &&
	    sa_cmp(&sa, &path->server, SA_ADDR))
		return true;

	return host_is(leg->next_host, path->route) ||
		host_is(leg->next_host, path->aor);
}


/*
 * Dialogs of a path share what the first of them was challenged with: the
 * others then need no round trip of their own.  A server that takes each
 * nonce only once gets one for each dialog.
 */
static int authenticate(struct leg *leg, const struct sip_msg *msg)
{
	struct path *path = leg->path;
	const unsigned by = msg->scode == 401 ? CHALLENGED_BY_SERVER
		: CHALLENGED_BY_PROXY;
	struct sip_auth *auth;
	int err;

	if (++leg->challenges > CHALLENGES_MAX)
		return EAUTH;

	if (!goes_home(leg)) {
		str_ncpy(path->digest.why, "is no server of the line",
			 sizeof(path->digest.why));
		return EAUTH;
	}

	if ((leg->challenged & by) && !is_stale(msg))
		return EAUTH;

	if (leg->auth == path->auth) {

		/* another dialog was quicker, and this one sent too early */
		if (leg->sent_gen != path->auth_gen)
			return 0;

		if (!(path->challenged & by)) {
			leg->challenged  |= by;
			path->challenged |= by;
			++path->auth_gen;

			return aa_digest_answer(&path->digest, path->auth,
						msg);
		}

		err = sip_auth_alloc(&auth, auth_handler, path, false);
		if (err)
			return err;

		mem_deref(leg->auth);
		leg->auth = auth;
		leg->challenged = 0;
	}
	else if (!leg->challenged || (leg->challenged & by)) {
		sip_auth_reset(leg->auth);
		leg->challenged = 0;
	}

	leg->challenged |= by;

	return aa_digest_answer(&path->digest, leg->auth, msg);
}


static int send_handler(enum sip_transp tp, const struct sa *src,
			const struct sa *dst, struct mbuf *mb, void *arg)
{
	struct leg *leg = arg;
	int err;
	(void)dst;

	leg->contact = mem_deref(leg->contact);
	err = re_sdprintf(&leg->contact, "sip:%s@%J%s;sub=%u",
			  leg->path->cuser, src, sip_transp_param(tp),
			  leg->id);

	return err ? err : mbuf_printf(mb, "Contact: <%s>\r\n", leg->contact);
}


static int print_headers(struct re_printf *pf, const struct leg *leg)
{
	const char *accept = aa_notify_accept(leg->event);
	const bool listable = aa_notify_listable(leg->event);
	int err;

	err = re_hprintf(pf, "Event: %s\r\nExpires: %u\r\n", leg->event,
			 leg->leaving ? 0 : leg->want_expires);

	if (listable)
		err |= re_hprintf(pf, "Supported: eventlist\r\n");

	if (accept)
		err |= re_hprintf(pf, "Accept: %s%s\r\n", accept, listable ?
				  ", application/rlmi+xml, multipart/related"
				  : "");

	return err;
}


/* The dialog of a dead path, over another one: what libre would write there,
   but with another route */
static int print_detour(struct re_printf *pf, struct leg *leg)
{
	const struct path *path = leg->path;
	int err = 0;

	if (!leg->detour)
		return 0;

	if (path->route)
		err = re_hprintf(pf, "Route: <%s;lr>\r\n", path->route);

	err |= re_hprintf(pf, "To: %s\r\n"
			  "From: <%s>;tag=%s\r\n"
			  "Call-ID: %s\r\n"
			  "CSeq: %u SUBSCRIBE\r\n",
			  leg->remote, path->aor, leg->ltag,
			  sip_dialog_callid(leg->dlg), leg->lseq++);

	return err;
}


static bool is_live(const struct leg *leg)
{
	return leg->sub && leg->sub->leg == leg;
}


static void text_of(char *buf, size_t sz, const struct leg *leg, int err,
		    const struct sip_msg *msg)
{
	const bool challenged = msg && (msg->scode == 401 ||
					msg->scode == 407);
	const char *why = challenged ? leg->path->digest.why : "";

	if (err)
		(void)re_snprintf(buf, sz, "%m to SUBSCRIBE", err);
	else
		(void)re_snprintf(buf, sz, "%u %r to SUBSCRIBE%s%s",
				  msg->scode, &msg->reason, *why ? ", " : "",
				  why);

	(void)aa_utf8_clean(buf, sz, buf);
}


/* ---- trying again ----------------------------------------------------- */


static void retry_handler(void *arg)
{
	struct sub *sub = arg;

	job_add(sub->subs, &sub->job, begin, sub);
}


static uint64_t backoff(const struct sub *sub)
{
	uint64_t wait = BACKOFF_MIN_MS;

	wait <<= MIN(sub->failures, BACKOFF_SHIFT_MAX);
	wait = MIN(wait, (uint64_t)BACKOFF_MAX_MS);

	return wait * (500 + rand_u16() % 501) / 1000;
}


/* The next dialog after a while; 0: as soon as its turn comes */
static void try_again(struct sub *sub, uint64_t wait)
{
	struct aa_subs *subs = sub->subs;

	aa_tmr_cancel(&sub->tmr);
	list_unlink(&sub->job.le);
	sub->retry_at = 0;

	if (subs->suspended || subs->ended || !subs->path)
		return;

	if (!wait) {
		job_add(subs, &sub->job, begin, sub);
		return;
	}

	sub->retry_at = aa_now_ms() + wait;
	aa_tmr_start(&sub->tmr, wait, retry_handler, sub);
}


/* What went well for a while begins anew */
static void steady(struct sub *sub, const struct leg *leg)
{
	if (leg->spoken && aa_now_ms() - leg->spoken_at >= STEADY_MS)
		sub->failures = 0;
}


/* RFC 6665 says at once: but not again and again */
static uint64_t at_once(const struct sub *sub)
{
	return sub->failures ? backoff(sub) : 0;
}


static void fail_note(struct sub *sub, const char *text, uint16_t scode,
		      uint32_t retry_after, uint64_t wait)
{
	if (wait)
		(void)re_snprintf(sub->error, sizeof(sub->error),
				  "%s, tried again in %llu s", text,
				  (wait + 999) / 1000);
	else
		str_ncpy(sub->error, text, sizeof(sub->error));

	++sub->failures;
	sub->scode = scode;
	sub->retry_after = retry_after;
}


static void leg_drop(struct leg *leg)
{
	struct sub *sub = leg->sub;

	if (sub && sub->leg == leg)
		sub->leg = NULL;

	mem_deref(leg);
}


/* RFC 5057 5.1, 5.2: the dialog, or the subscription in it, is gone */
static bool is_gone(uint16_t scode)
{
	switch (scode) {

	case 404: case 405: case 408: case 410: case 416: case 480: case 481:
	case 482: case 483: case 484: case 485: case 489: case 501: case 604:
		return true;

	default:
		return false;
	}
}


static void failed(struct leg *leg, int err, const struct sip_msg *msg)
{
	struct sub *sub = leg->sub;
	struct aa_subs *subs = leg->subs;
	const uint16_t scode = msg ? msg->scode : 0;
	const uint32_t retry_after = err ? 0 : aa_msg_retry_after(msg);
	const bool server = !msg || aa_scode_is_server_failure(scode);
	const uint64_t now = aa_now_ms();
	char text[REASON_SIZE - 40];
	uint64_t wait;
	uint32_t timer;

	text_of(text, sizeof(text), leg, err, msg);
	steady(sub, leg);

	timer = err || scode == 408 || scode == 503 ? subs->retry_timeout
		: subs->retry_failed;

	if (retry_after)
		wait = (uint64_t)retry_after * 1000;
	else if (scode == 489)
		wait = SLOW_RETRY_S * 1000;
	else if (scode == 481 && leg->confirmed)
		wait = at_once(sub);
	else if (timer)
		wait = (uint64_t)timer * 1000;
	else
		wait = backoff(sub);

	fail_note(sub, text, scode, retry_after, wait);

	/* the server may still tell; only the refresh did not work */
	if (leg->spoken && !is_gone(scode) && now + wait < leg->until) {
		leg->refresh_at = now + wait;
		leg_timer(leg);
	}
	else {
		leg_drop(leg);
		try_again(sub, wait);
	}

	moved(sub, false);
	tell_state(sub, sub->error);

	if (server && !subs->path->faulted) {
		subs->path->faulted = true;
		tell(sub, AA_SUB_EV_FAULT, text, 0);
	}
}


/* ---- a dialog over the path in force ---------------------------------- */


static bool any_handler(const struct sip_hdr *hdr, const struct sip_msg *msg,
			void *arg)
{
	(void)hdr;
	(void)msg;
	(void)arg;

	return true;
}


/* Where libre sends what is next in the dialog (RFC 3261 12.1) */
static int next_set(struct leg *leg, const struct sip_addr *addr)
{
	struct pl tp;

	leg->next_secure = 0 == pl_strcasecmp(&addr->uri.scheme, "sips") ||
		(0 == msg_param_decode(&addr->uri.params, "transport", &tp) &&
		 0 == pl_strcasecmp(&tp, "tls"));
	leg->next_host = mem_deref(leg->next_host);

	return pl_strdup(&leg->next_host, &addr->uri.host);
}


static int remote_set(struct leg *leg, const struct sip_msg *msg)
{
	const struct sip_hdr *hdr = sip_msg_hdr(msg, SIP_HDR_CONTACT);
	const struct sip_hdr *rr = sip_msg_hdr_apply(
		msg, msg->req, SIP_HDR_RECORD_ROUTE, any_handler, NULL);
	struct sip_addr addr;
	int err = 0;

	/* a route is learnt once, and leads everything from then on */
	if (!leg->remote && rr && !sip_addr_decode(&addr, &rr->val)) {
		leg->routed = true;
		err |= next_set(leg, &addr);
	}

	if (hdr && !sip_addr_decode(&addr, &hdr->val)) {
		leg->target = mem_deref(leg->target);
		err |= pl_strdup(&leg->target, &addr.auri);
		if (!leg->routed)
			err |= next_set(leg, &addr);
	}

	leg->remote = mem_deref(leg->remote);
	leg->ltag   = mem_deref(leg->ltag);
	err |= pl_strdup(&leg->remote, msg->req ? &msg->from.val
			 : &msg->to.val);
	err |= pl_strdup(&leg->ltag, msg->req ? &msg->to.tag
			 : &msg->from.tag);

	return err;
}


static void expires_set(struct leg *leg, uint32_t expires)
{
	const uint64_t now = aa_now_ms();
	const uint64_t ms = (uint64_t)expires * 1000;
	const uint64_t wait = ms * (800 + rand_u16() % 101) / 1000;

	leg->until = now + ms;
	leg->refresh_at = now + MAX(wait, (uint64_t)REFRESH_MIN_MS);
}


/* There was no memory for a NOTIFY: a refresh brings the whole state again */
static void missed(struct leg *leg)
{
	leg->missed = true;

	if (!leg->confirmed || !leg->sub || leg->leaving)
		return;

	leg->missed = false;
	leg->refresh_at = MIN(leg->refresh_at, aa_now_ms() + MISSED_MS);
	leg_timer(leg);
}


static void refresh(void *arg)
{
	struct leg *leg = arg;
	int err;

	leg->challenges = 0;
	leg->challenged = 0;

	err = request(leg);
	if (err)
		failed(leg, err, NULL);
}


static void leg_timer(void *arg)
{
	struct leg *leg = arg;
	struct sub *sub = leg->sub;
	const uint64_t now = aa_now_ms();
	uint64_t at;

	if (leg->subs->suspended)
		return;

	if (!leg->spoken && leg->notify_by && now >= leg->notify_by) {
		/* RFC 6665 4.1.2.4: no subscription without a NOTIFY */
		const uint64_t wait = backoff(sub);

		sub->leg = NULL;
		fail_note(sub, "no NOTIFY came", 0, 0, wait);
		leave(leg);
		try_again(sub, wait);
		moved(sub, false);
		tell_state(sub, sub->error);
		return;
	}

	if (now >= leg->until) {
		uint64_t wait;

		steady(sub, leg);
		wait = at_once(sub);
		fail_note(sub, "expired", 0, 0, wait);
		leg_drop(leg);
		try_again(sub, wait);
		tell_state(sub, sub->error);
		return;
	}

	if (now >= leg->refresh_at) {
		if (!leg->req)
			job_add(leg->subs, &leg->job, refresh, leg);
		at = leg->until;
	}
	else {
		at = MIN(leg->refresh_at, leg->until);
	}

	if (!leg->spoken && leg->notify_by)
		at = MIN(at, leg->notify_by);

	aa_tmr_start(&leg->tmr, at - now, leg_timer, leg);
}


static void confirmed(struct leg *leg, const struct sip_msg *msg)
{
	uint32_t expires = leg->want_expires;
	int err;

	if (!sip_dialog_established(leg->dlg)) {
		err = sip_dialog_create(leg->dlg, msg);
		if (!err)
			err = remote_set(leg, msg);
		if (err) {
			failed(leg, err, NULL);
			return;
		}
	}
	else if (sip_dialog_cmp(leg->dlg, msg)) {
		(void)sip_dialog_update(leg->dlg, msg);
		(void)remote_set(leg, msg);
	}

	if (pl_isset(&msg->expires))
		expires = MIN(pl_u32(&msg->expires), leg->want_expires);

	leg->path->faulted = false;

	if (!leg->confirmed) {
		leg->confirmed = true;
		leg->notify_by = aa_now_ms() + NOTIFY_WAIT_MS;
	}

	if (leg->spoken) {
		leg->sub->failures = 0;
		leg->sub->error[0] = '\0';
		leg->sub->scode = 0;
	}

	expires_set(leg, expires);
	if (leg->missed)
		missed(leg);
	else
		leg_timer(leg);
}


static bool interval_too_brief(struct leg *leg, const struct sip_msg *msg)
{
	const struct sip_hdr *hdr = sip_msg_hdr(msg, SIP_HDR_MIN_EXPIRES);
	uint32_t min_expires;

	if (!hdr || ++leg->challenges > CHALLENGES_MAX)
		return false;

	min_expires = pl_u32(&hdr->val);
	if (min_expires <= leg->want_expires)
		return false;

	leg->want_expires = min_expires;
	leg->sub->min_expires = min_expires;

	return true;
}


static void farewell_response(struct leg *leg, int err,
			      const struct sip_msg *msg);


static void response_handler(int err, const struct sip_msg *msg, void *arg)
{
	struct leg *leg = arg;

	path_open(leg->path);

	/* it was sent to the line's server, and to nobody else */
	if (!err && (leg->detour || !sip_dialog_established(leg->dlg)))
		leg->path->server = msg->src;

	if (!err && (msg->scode == 401 || msg->scode == 407)) {
		const int e = authenticate(leg, msg);

		/* what cannot be sent now, the server has not refused: its
		   answer was a question */
		if (!e || e == ENOMEM) {
			err = e ? e : request(leg);
			if (!err)
				return;
			msg = NULL;
		}
	}

	if (leg->leaving) {
		farewell_response(leg, err, msg);
		return;
	}

	if (!is_live(leg))
		return;

	if (!err && msg->scode < 300) {
		confirmed(leg, msg);
		return;
	}

	if (!err && msg->scode == 423 && interval_too_brief(leg, msg)) {
		err = request(leg);
		if (!err)
			return;
		msg = NULL;
	}

	failed(leg, err, msg);
}


static int request(struct leg *leg)
{
	struct aa_req_prm prm;
	const struct path *path = leg->path;

	leg->req = mem_deref(leg->req);

	memset(&prm, 0, sizeof(prm));
	prm.sip     = leg->subs->sip;
	prm.met     = "SUBSCRIBE";
	prm.dlg     = leg->detour ? NULL : leg->dlg;
	prm.uri     = leg->target;
	prm.hop     = path->route;
	prm.auth    = goes_home(leg) ? leg->auth : NULL;
	prm.timeout = leg->leaving ? MIN(path->transaction, FAREWELL_MS)
		: path->transaction;
	prm.conn    = leg->subs->ended ? NULL : path->conn;
	prm.sendh   = send_handler;
	prm.resph   = response_handler;
	prm.arg     = leg;

	leg->sent_gen = path->auth_gen;

	return aa_req_send(&leg->req, &prm,
			   "%H%H"
			   "Content-Length: 0\r\n"
			   "\r\n",
			   print_detour, leg, print_headers, leg);
}


static int leg_dialog(struct leg *leg, const char *target)
{
	const struct path *path = leg->path;
	const char *routev[1];
	char *uri = NULL;
	const char *tp = "";
	int err;

	if (!path->route && path->tp != SIP_TRANSP_UDP &&
	    !strstr(target, ";transport="))
		tp = sip_transp_param(path->tp);

	err = re_sdprintf(&uri, "%s%s", target, tp);
	if (err)
		return err;

	routev[0] = path->route;
	err = sip_dialog_alloc(&leg->dlg, uri, target, path->dispname,
			       path->aor, path->route ? routev : NULL,
			       path->route ? 1 : 0);
	mem_deref(uri);

	return err;
}


static int leg_alloc(struct leg **legp, struct aa_subs *subs,
		     struct path *path, const char *event)
{
	struct leg *leg;
	int err;

	leg = mem_zalloc(sizeof(*leg), leg_destructor);
	if (!leg)
		return ENOMEM;

	leg->subs = subs;
	leg->path = mem_ref(path);
	leg->auth = mem_ref(path->auth);
	leg->id   = ++subs->next_id;

	err  = str_dup(&leg->event, event);
	err |= aa_notify_alloc(&leg->notify, event);
	if (err)
		mem_deref(leg);
	else
		*legp = leg;

	return err;
}


/* Whom to ask, on the path in force */
static int target_set(struct sub *sub)
{
	char target[URI_SIZE];
	int err;

	err = target_print(target, sizeof(target), sub, sub->subs->path);
	if (err)
		return err;

	return str_set(&sub->target, target);
}


/* A new dialog over the path in force */
static void begin(void *arg)
{
	struct sub *sub = arg;
	struct aa_subs *subs = sub->subs;
	struct leg *leg;
	int err;

	if (subs->suspended || subs->ended || !subs->path || sub->given_up)
		return;

	sub->leg = mem_deref(sub->leg);
	sub->retry_at = 0;
	aa_tmr_cancel(&sub->tmr);

	/* there was no memory for it */
	if (!sub->target && target_set(sub)) {
		try_again(sub, backoff(sub));
		return;
	}

	err = leg_alloc(&leg, subs, subs->path, sub->event);
	if (err) {
		try_again(sub, backoff(sub));
		return;
	}

	leg->sub = sub;
	leg->want_expires = MAX(sub->period, sub->min_expires);
	sub->leg = leg;

	err = leg_dialog(leg, sub->target);
	if (!err)
		err = request(leg);
	if (err)
		failed(leg, err, NULL);
	else
		tell_state(sub, "");
}


/* ---- leaving ---------------------------------------------------------- */


static void past_expired(void *arg)
{
	mem_deref(arg);
}


/*
 * A NOTIFY that was sent into a dead path comes after the one that ended the
 * dialog, as soon as the path is alive again.  A 481 would end more than that
 * dialog: Kamailio knows a subscription by its own tag alone, and that one is
 * the same for all subscriptions of a phone to the same URI.
 */
static void past_add(const struct leg *leg)
{
	struct aa_subs *subs = leg->subs;
	struct past *past;
	int err;

	if (subs->ended || !leg->ltag)
		return;

	/* without the memory for it the answer is 481, as it would have been */
	past = mem_zalloc(sizeof(*past), past_destructor);
	if (!past)
		return;

	err  = str_dup(&past->callid, sip_dialog_callid(leg->dlg));
	err |= str_dup(&past->ltag, leg->ltag);
	if (err) {
		mem_deref(past);
		return;
	}

	if (list_count(&subs->pastl) >= PAST_MAX)
		mem_deref(list_ledata(list_head(&subs->pastl)));

	list_append(&subs->pastl, &past->le, past);
	aa_tmr_start(&past->tmr, NOTIFY_WAIT_MS, past_expired, past);
}


static bool is_past(const struct aa_subs *subs, const struct sip_msg *msg)
{
	const struct le *le;

	for (le = list_head(&subs->pastl); le; le = le->next) {
		const struct past *past = le->data;

		if (0 == pl_strcmp(&msg->callid, past->callid) &&
		    0 == pl_strcmp(&msg->to.tag, past->ltag))
			return true;
	}

	return false;
}


static void leg_free(void *arg)
{
	struct leg *leg = arg;
	struct aa_subs *subs = leg->subs;

	past_add(leg);
	mem_deref(leg);
	settle(subs);
}


static void orphan_expired(void *arg)
{
	mem_deref(arg);
}


/* It cannot be unsubscribed now: remember it until a path leads there */
static void orphan(struct leg *leg)
{
	struct aa_subs *subs = leg->subs;
	const uint64_t now = aa_now_ms();

	list_unlink(&leg->le);
	list_unlink(&leg->job.le);
	aa_tmr_cancel(&leg->tmr);
	leg->req = mem_deref(leg->req);
	leg->sub = NULL;

	if (subs->ended || leg->detour || !leg->target || !leg->remote ||
	    !leg->ltag || leg->until <= now) {
		mem_deref(leg);
		return;
	}

	if (list_count(&subs->orphanl) >= ORPHANS_MAX)
		mem_deref(list_ledata(list_head(&subs->orphanl)));

	leg->leaving = true;
	list_append(&subs->orphanl, &leg->le, leg);
	aa_tmr_start(&leg->tmr, leg->until - now, orphan_expired, leg);
}


static void farewell_timeout(void *arg)
{
	struct leg *leg = arg;
	struct aa_subs *subs = leg->subs;

	if (leg->answered) {
		past_add(leg);
		mem_deref(leg);
	}
	else {
		orphan(leg);
	}

	settle(subs);
}


static void farewell_send(void *arg)
{
	struct leg *leg = arg;
	struct aa_subs *subs = leg->subs;

	leg->challenges = 0;
	leg->challenged = 0;

	if (request(leg)) {
		orphan(leg);
		settle(subs);
		return;
	}

	aa_tmr_start(&leg->tmr, FAREWELL_MS, farewell_timeout, leg);
}


/* Unsubscribe; it is gone after FAREWELL_MS at the latest */
static void leave(struct leg *leg)
{
	struct aa_subs *subs = leg->subs;

	if (leg->sub && leg->sub->leg == leg)
		leg->sub->leg = NULL;

	list_unlink(&leg->le);
	leg->sub = NULL;

	if (!sip_dialog_established(leg->dlg) || leg->terminated) {
		mem_deref(leg);
		settle(subs);
		return;
	}

	leg->leaving = true;
	leg->req = mem_deref(leg->req);
	aa_tmr_cancel(&leg->tmr);
	list_append(&subs->leavel, &leg->le, leg);
	job_add(subs, &leg->job, farewell_send, leg);
}


static void farewell_response(struct leg *leg, int err,
			      const struct sip_msg *msg)
{
	struct aa_subs *subs = leg->subs;
	(void)msg;

	if (err) {
		orphan(leg);
		settle(subs);
		return;
	}

	leg->answered = true;

	/* 481: there is nothing to wait for */
	aa_tmr_start(&leg->tmr, leg->terminated || msg->scode >= 300 ? 0
		  : LINGER_MS, leg_free, leg);
}


/* What was left behind on dead paths to the servers that answer again */
static void clear_orphans(struct aa_subs *subs)
{
	struct path *path = subs->path;
	struct le *le = list_head(&subs->orphanl);

	if (subs->suspended)
		return;

	while (le) {
		struct leg *leg = le->data;

		le = le->next;

		if (!str_same(leg->path->aor, path->aor))
			continue;

		leg->detour = true;
		leg->lseq   = sip_dialog_lseq(leg->dlg);

		mem_deref(leg->auth);
		mem_deref(leg->path);
		leg->path = mem_ref(path);
		leg->auth = mem_ref(path->auth);

		leave(leg);
	}
}


static void old_timeout(void *arg)
{
	leave(arg);
}


/* The line goes elsewhere */
static void leave_behind(struct leg *leg, bool works)
{
	struct sub *sub = leg->sub;

	if (sub->leg == leg)
		sub->leg = NULL;

	list_unlink(&leg->job.le);
	leg->req = mem_deref(leg->req);

	if (!sip_dialog_established(leg->dlg)) {
		/* whatever comes of it is answered by 481 */
		mem_deref(leg);
	}
	else if (!works) {
		orphan(leg);
	}
	else {
		if (list_count(&sub->oldl) >= OLD_MAX)
			leave(list_ledata(list_head(&sub->oldl)));

		list_append(&sub->oldl, &leg->le, leg);
		aa_tmr_start(&leg->tmr, KEEP_OLD_MS, old_timeout, leg);
	}
}


/* The new path has spoken */
static void break_old(struct sub *sub)
{
	while (!list_isempty(&sub->oldl))
		leave(list_ledata(list_head(&sub->oldl)));
}


/* ---- values ----------------------------------------------------------- */


static struct lamp *lamp_find(const struct sub *sub, const char *uri)
{
	struct le *le;

	for (le = list_head(&sub->lampl); le; le = le->next) {
		struct lamp *lamp = le->data;

		if (0 == str_casecmp(lamp->uri, uri))
			return lamp;
	}

	return NULL;
}


static bool lamp_handler(const struct aa_notify_res *res, void *arg)
{
	struct sub *sub = arg;
	struct lamp *lamp = lamp_find(sub, res->uri);
	struct aa_sub_info si;

	if (!lamp) {
		lamp = mem_zalloc(sizeof(*lamp), lamp_destructor);
		if (!lamp)
			return true;

		if (str_dup(&lamp->uri, res->uri)) {
			mem_deref(lamp);
			return true;
		}

		list_append(&sub->lampl, &lamp->le, lamp);
	}

	lamp->listed = true;

	if (str_isset(res->name) && str_set(&lamp->name, res->name))
		return true;

	/* nothing was said is not the same as nothing is */
	if (!str_isset(res->value))
		return false;

	if (str_set(&lamp->note, res->note))
		return true;

	if (str_same(lamp->value, res->value))
		return false;

	if (str_set(&lamp->value, res->value))
		return true;

	if (sub->subs->h) {
		lamp_info(&si, sub, lamp);
		sub->subs->h(AA_SUB_EV_VALUE, &si, lamp->value, 0,
			     sub->subs->arg);
	}

	return false;
}


static int lamps_take(struct sub *sub, const struct aa_notify *n)
{
	struct le *le;
	char buf[32];

	for (le = list_head(&sub->lampl); le; le = le->next) {
		struct lamp *lamp = le->data;

		lamp->listed = false;
	}

	/* those that were not reached are not gone */
	if (aa_notify_apply(n, lamp_handler, sub))
		return ENOMEM;

	le = list_head(&sub->lampl);
	while (le) {
		struct lamp *lamp = le->data;

		le = le->next;
		if (!lamp->listed)
			mem_deref(lamp);
	}

	sub->list = true;
	(void)re_snprintf(buf, sizeof(buf), "%u members",
			  list_count(&sub->lampl));

	return str_set(&sub->value, buf);
}


static int value_take(struct sub *sub, const struct aa_notify *n,
		       const struct pl *body)
{
	const char *value = aa_notify_value(n);
	char *text;
	bool changed;
	int err;

	if (aa_notify_is_list(n))
		return lamps_take(sub, n);

	if (sub->list) {
		list_flush(&sub->lampl);
		sub->list = false;
	}

	changed = str_isset(value) && !str_same(sub->value, value);
	if (str_isset(value)) {
		err  = str_set(&sub->value, value);
		err |= str_set(&sub->note, aa_notify_note(n));
		if (err)
			return ENOMEM;
	}

	if (changed)
		tell(sub, AA_SUB_EV_VALUE, sub->value, 0);

	if (0 == str_casecmp(sub->event, "message-summary") ||
	    !aa_notify_accept(sub->event)) {

		err = pl_strdup(&text, body);
		if (err)
			return err;

		tell(sub, aa_notify_accept(sub->event) ? AA_SUB_EV_MWI
		     : AA_SUB_EV_BODY, text, 0);
		mem_deref(text);
	}

	return 0;
}


/* ---- NOTIFY ----------------------------------------------------------- */


/** Subscription-State (RFC 6665 4.1.3) */
struct substate {
	enum aa_sub_state state;
	struct pl reason;
	uint32_t expires;
	uint32_t retry_after;
};


static int substate_decode(struct substate *ss, const struct sip_msg *msg)
{
	const struct sip_hdr *hdr = sip_msg_hdr(msg,
						SIP_HDR_SUBSCRIPTION_STATE);
	struct pl state, params, val;

	memset(ss, 0, sizeof(*ss));
	ss->reason = pl_null;

	if (!hdr || re_regex(hdr->val.p, hdr->val.l, "[^; \t]+[ \t]*[^]*",
			     &state, NULL, &params))
		return EBADMSG;

	/* any other state is to be taken for a live one (RFC 6665 4.1.3) */
	if (0 == pl_strcasecmp(&state, "terminated"))
		ss->state = AA_SUB_TERMINATED;
	else if (0 == pl_strcasecmp(&state, "pending"))
		ss->state = AA_SUB_PENDING;
	else
		ss->state = AA_SUB_ACTIVE;

	(void)msg_param_decode(&params, "reason", &ss->reason);
	if (!msg_param_decode(&params, "expires", &val))
		ss->expires = pl_u32(&val);
	if (!msg_param_decode(&params, "retry-after", &val) && val.l < 9)
		ss->retry_after = MIN(pl_u32(&val), 86400);

	return 0;
}


static void terminated(struct sub *sub, struct leg *leg,
		       const struct substate *ss)
{
	const struct pl *reason = &ss->reason;
	uint64_t wait = (uint64_t)ss->retry_after * 1000;
	char text[REASON_SIZE - 40];
	bool give_up = false;

	steady(sub, leg);
	(void)re_snprintf(text, sizeof(text), "ended by the server%s%r",
			  pl_isset(reason) ? ": " : "", reason);
	(void)aa_utf8_clean(text, sizeof(text), text);

	if (0 == pl_strcasecmp(reason, "rejected") ||
	    0 == pl_strcasecmp(reason, "noresource") ||
	    0 == pl_strcasecmp(reason, "invariant")) {
		give_up = true;
	}
	else if (0 == pl_strcasecmp(reason, "deactivated") ||
		 0 == pl_strcasecmp(reason, "timeout")) {
		wait = at_once(sub);
	}
	else if (!wait) {
		wait = 0 == pl_strcasecmp(reason, "probation") ? backoff(sub)
			: at_once(sub);
	}

	if (give_up)
		(void)re_snprintf(sub->error, sizeof(sub->error),
				  "%s, not tried again on this path", text);
	else
		fail_note(sub, text, 0, ss->retry_after, wait);

	leg_drop(leg);

	sub->given_up = give_up;
	if (!give_up)
		try_again(sub, wait);

	moved(sub, false);
	tell_state(sub, sub->error);
}


static void spoken(struct sub *sub, struct leg *leg)
{
	if (!leg->spoken) {
		leg->spoken    = true;
		leg->spoken_at = aa_now_ms();
	}

	if (!is_live(leg))
		return;

	sub->error[0] = '\0';
	sub->scode    = 0;
	sub->given_up = false;

	break_old(sub);
	tell_state(sub, "");
}


/* What a NOTIFY of a dialog that counts has brought */
static void notified(struct leg *leg, const struct substate *ss,
		     const struct pl *body)
{
	struct sub *sub = leg->sub;
	const bool live = is_live(leg);
	int err = 0;

	if (ss->state == AA_SUB_TERMINATED) {
		leg->terminated = true;

		if (body->l)
			(void)value_take(sub, leg->notify, body);

		if (live) {
			terminated(sub, leg, ss);
		}
		else {
			leg_free(leg);
			tell_state(sub, "");
		}

		return;
	}

	leg->pending = ss->state == AA_SUB_PENDING;

	if (live && ss->expires) {
		expires_set(leg, MIN(ss->expires, leg->want_expires));
		if (!leg->req)
			leg_timer(leg);
	}

	spoken(sub, leg);

	if (body->l)
		err = value_take(sub, leg->notify, body);

	if (!live)
		return;

	moved(sub, true);
	tell_state(sub, "");

	if (err)
		missed(leg);

	if (!leg->subs->suspended && aa_notify_gap(leg->notify) &&
	    !leg->req)
		job_add(leg->subs, &leg->job, refresh, leg);
}


static void reply(struct leg *leg, const struct sip_msg *msg, uint16_t scode,
		  const char *reason)
{
	const char *accept = aa_notify_accept(leg->event);

	leg->cseq  = msg->cseq.num;
	leg->heard = true;
	leg->scode = scode;

	if (scode == 415 && accept)
		(void)sip_treplyf(NULL, NULL, leg->subs->sip, msg, false,
				  scode, reason,
				  "Accept: %s\r\n"
				  "Content-Length: 0\r\n\r\n", accept);
	else
		(void)sip_treply(NULL, leg->subs->sip, msg, scode, reason);
}


static bool event_matches(const struct leg *leg, const struct sip_msg *msg,
			  bool *missing)
{
	const struct sip_hdr *hdr = sip_msg_hdr(msg, SIP_HDR_EVENT);
	struct pl event;

	*missing = !hdr || re_regex(hdr->val.p, hdr->val.l, "[^; \t]+",
				    &event);

	return !*missing && 0 == pl_strcasecmp(&event, leg->event);
}


static const char *content_refused(uint16_t *scode, int err)
{
	switch (err) {

	case EPROTONOSUPPORT:
		*scode = 415;
		return "Unsupported Media Type";

	case EMSGSIZE:
		*scode = 413;
		return "Request Entity Too Large";

	case ENOMEM:
		*scode = 500;
		return "Server Internal Error";

	default:
		*scode = 400;
		return "Bad Content";
	}
}


static void notify(struct leg *leg, const struct sip_msg *msg)
{
	const struct sip_hdr *ctype = sip_msg_hdr(msg, SIP_HDR_CONTENT_TYPE);
	struct aa_subs *subs = leg->subs;
	struct substate ss;
	struct pl body = PL_INIT;
	bool missing;
	int err = 0;

	if (!event_matches(leg, msg, &missing)) {
		if (missing)
			(void)sip_treply(NULL, subs->sip, msg, 489,
					 "Bad Event");
		else
			(void)sip_treply(NULL, subs->sip, msg, 481,
					 "Subscription Does Not Exist");
		return;
	}

	/* a forked SUBSCRIBE: the first to speak is taken */
	if (sip_dialog_established(leg->dlg) &&
	    !sip_dialog_cmp(leg->dlg, msg)) {
		(void)sip_treply(NULL, subs->sip, msg, 481,
				 "Subscription Does Not Exist");
		return;
	}

	if (leg->heard && msg->cseq.num == leg->cseq) {
		(void)sip_reply(subs->sip, msg, leg->scode,
				leg->scode == 200 ? "OK" : "Again");
		return;
	}

	if (leg->heard && msg->cseq.num < leg->cseq) {
		(void)sip_treply(NULL, subs->sip, msg, 500, "Bad Sequence");
		return;
	}

	if (substate_decode(&ss, msg)) {
		reply(leg, msg, 400, "Bad Subscription-State Header");
		return;
	}

	if (!sip_dialog_established(leg->dlg)) {
		err = sip_dialog_create(leg->dlg, msg);
		if (err == ENOMEM) {
			(void)sip_treply(NULL, subs->sip, msg, 500,
					 "Server Internal Error");
			if (!leg->leaving)
				missed(leg);
			return;
		}
		if (err) {
			(void)sip_treply(NULL, subs->sip, msg, 400,
					 "Bad Contact Header");
			return;
		}
	}

	(void)remote_set(leg, msg);

	if (leg->leaving) {
		/* over a dead path, or too late: the lamp belongs to others */
		if (list_contains(&subs->orphanl, &leg->le)) {
			reply(leg, msg, 481, "Subscription Does Not Exist");
			mem_deref(leg);
			return;
		}

		reply(leg, msg, 200, "OK");
		if (ss.state != AA_SUB_TERMINATED)
			return;

		leg->terminated = true;
		if (leg->answered)
			aa_tmr_start(&leg->tmr, 0, leg_free, leg);
		return;
	}

	if (msg->mb && mbuf_get_left(msg->mb)) {
		static const struct pl none = PL_INIT;

		body.p = (const char *)mbuf_buf(msg->mb);
		body.l = mbuf_get_left(msg->mb);

		err = aa_notify_decode(leg->notify, ctype ? &ctype->val
				       : &none, &body);
		if (err)
			body = pl_null;
	}

	if (err && err != EALREADY) {
		uint16_t scode;
		const char *reason = content_refused(&scode, err);

		(void)re_snprintf(leg->sub->error, sizeof(leg->sub->error),
				  "NOTIFY refused: %u %s", scode, reason);
		reply(leg, msg, scode, reason);

		if (ss.state != AA_SUB_TERMINATED) {
			if (err == ENOMEM)
				missed(leg);
			return;
		}
	}
	else {
		reply(leg, msg, 200, "OK");
	}

	notified(leg, &ss, &body);
}


static struct leg *leg_in_list(const struct list *list,
			       const struct sip_msg *msg)
{
	struct le *le;

	for (le = list_head(list); le; le = le->next) {
		struct leg *leg = le->data;

		if (sip_dialog_cmp_half(leg->dlg, msg))
			return leg;
	}

	return NULL;
}


/* A NOTIFY can come before the 2xx: our half of the dialog is enough */
static struct leg *leg_find(const struct aa_subs *subs,
			    const struct sip_msg *msg)
{
	struct leg *leg;
	struct le *le;

	for (le = list_head(&subs->subl); le; le = le->next) {
		const struct sub *sub = le->data;

		if (sub->leg && sip_dialog_cmp_half(sub->leg->dlg, msg))
			return sub->leg;

		leg = leg_in_list(&sub->oldl, msg);
		if (leg)
			return leg;
	}

	leg = leg_in_list(&subs->leavel, msg);

	return leg ? leg : leg_in_list(&subs->orphanl, msg);
}


/**
 * A request came to the phone: if it is a NOTIFY of one of our dialogs, it is
 * answered here
 *
 * @param subs Subscriptions, may be NULL
 * @param msg  SIP request
 *
 * @return true if it was ours
 */
bool aa_subs_notify(struct aa_subs *subs, const struct sip_msg *msg)
{
	struct leg *leg;

	if (!subs || !msg || !msg->req || pl_strcmp(&msg->met, "NOTIFY"))
		return false;

	leg = leg_find(subs, msg);
	if (!leg) {
		if (!is_past(subs, msg))
			return false;

		(void)sip_treply(NULL, subs->sip, msg, 200, "OK");
		return true;
	}

	mem_ref(subs);
	notify(leg, msg);
	mem_deref(subs);

	return true;
}


/* ---- the line --------------------------------------------------------- */


static struct sub *sub_find(const struct aa_subs *subs, const char *event,
			    const char *uri)
{
	struct le *le;

	for (le = list_head(&subs->subl); le; le = le->next) {
		struct sub *sub = le->data;

		if (str_casecmp(sub->event, event))
			continue;

		if (0 == str_cmp(sub->key, uri) ||
		    (sub->target && 0 == str_cmp(sub->target, uri)))
			return sub;
	}

	return NULL;
}


/**
 * Subscribe to something; a path that is there is used at once
 *
 * @param subs Subscriptions
 * @param prm  What to subscribe to
 *
 * @return 0 if success, EALREADY if it is there, EINVAL if it cannot be,
 *         otherwise another errorcode
 */
int aa_subs_add_prm(struct aa_subs *subs, const struct aa_sub_prm *prm)
{
	const char *uri = prm && prm->uri ? prm->uri : "";
	char target[URI_SIZE];
	struct sub *sub;
	int err;

	if (!subs || subs->ended || !prm || !prm->event ||
	    !event_ok(prm->event) || !key_ok(uri))
		return EINVAL;

	if (sub_find(subs, prm->event, uri))
		return EALREADY;

	if (list_count(&subs->subl) >= SUBS_MAX)
		return E2BIG;

	sub = mem_zalloc(sizeof(*sub), sub_destructor);
	if (!sub)
		return ENOMEM;

	sub->subs     = subs;
	sub->period   = prm->period;
	sub->settings = prm->settings;
	sub->said     = AA_SUB_PENDING;
	if (!sub->period)
		sub->period = 0 == str_casecmp(prm->event, "message-summary")
			? subs->mwi_period : subs->period;

	err  = str_dup(&sub->event, prm->event);
	err |= str_dup(&sub->key, uri);
	if (prm->label)
		err |= str_dup(&sub->label, prm->label);
	if (err) {
		err = ENOMEM;
		goto out;
	}

	if (subs->path) {
		err = target_print(target, sizeof(target), sub, subs->path);
		if (!err)
			err = str_dup(&sub->target, target);
		if (err) {
			err = err == ENOMEM ? err : EINVAL;
			goto out;
		}
	}

	list_append(&subs->subl, &sub->le, sub);

	if (subs->path && !subs->suspended)
		job_add(subs, &sub->job, begin, sub);

 out:
	if (err)
		mem_deref(sub);

	return err;
}


/**
 * Subscribe to something with the settings of the line
 *
 * @param subs  Subscriptions
 * @param event Event package
 * @param uri   user, user@host or URI; "" for the AOR of the line
 *
 * @return 0 if success, EALREADY if it is there, EINVAL if it cannot be,
 *         otherwise another errorcode
 */
int aa_subs_add(struct aa_subs *subs, const char *event, const char *uri)
{
	const struct aa_sub_prm prm = {
		.event = event,
		.uri   = uri,
	};

	return aa_subs_add_prm(subs, &prm);
}


/**
 * End a subscription
 *
 * @param subs  Subscriptions
 * @param event Event package
 * @param uri   As it was asked for, or as it is subscribed
 *
 * @return 0 if success, ENOENT if there is none
 */
int aa_subs_remove(struct aa_subs *subs, const char *event, const char *uri)
{
	struct sub *sub;

	if (!subs || !event)
		return EINVAL;

	sub = sub_find(subs, event, uri ? uri : "");
	if (!sub)
		return ENOENT;

	if (sub->leg) {
		struct leg *leg = sub->leg;

		if (subs->suspended) {
			sub->leg = NULL;
			orphan(leg);
		}
		else {
			leave(leg);
		}
	}

	while (!list_isempty(&sub->oldl))
		leave(list_ledata(list_head(&sub->oldl)));

	mem_deref(sub);

	return 0;
}


static int path_alloc(struct path **pathp, struct aa_subs *subs,
		      const struct aa_subs_path *prm)
{
	struct path *path;
	int err;

	path = mem_zalloc(sizeof(*path), path_destructor);
	if (!path)
		return ENOMEM;

	path->subs        = subs;
	path->tp          = prm->tp;
	path->transaction = prm->transaction;
	path->conn        = prm->conn;
	path->generation  = prm->generation;
	path->rank        = prm->rank;

	err  = str_set(&path->aor, prm->aor);
	err |= str_set(&path->dispname, prm->dispname);
	err |= str_set(&path->domain, prm->domain);
	err |= str_set(&path->home, prm->home);
	err |= str_set(&path->route, prm->route);
	err |= str_set(&path->cuser, prm->cuser);
	if (!err)
		err = sip_auth_alloc(&path->auth, auth_handler, path, false);

	if (err)
		mem_deref(path);
	else
		*pathp = path;

	return err;
}


static bool path_same(const struct path *path, const struct aa_subs_path *prm)
{
	return path && path->tp == prm->tp && path->conn == prm->conn &&
		path->generation == prm->generation &&
		path->rank == prm->rank &&
		str_same(path->aor, prm->aor) &&
		str_same(path->domain, prm->domain) &&
		str_same(path->home, prm->home) &&
		str_same(path->route, prm->route) &&
		str_same(path->cuser, prm->cuser);
}


static void sub_move(struct sub *sub, bool works, bool first)
{
	struct aa_subs *subs = sub->subs;
	int err;

	aa_tmr_cancel(&sub->tmr);
	list_unlink(&sub->job.le);
	sub->retry_at = 0;
	sub->failures = 0;
	sub->given_up = false;
	sub->min_expires = 0;

	if (sub->leg)
		leave_behind(sub->leg, works);

	sub->moving = !first;

	sub->target = mem_deref(sub->target);
	err = target_set(sub);
	if (err && err != ENOMEM) {
		(void)re_snprintf(sub->error, sizeof(sub->error),
				  "%s: not a URI to subscribe to", sub->key);
		sub->given_up = true;
		sub->moving   = false;
		return;
	}

	job_add(subs, &sub->job, begin, sub);
}


/**
 * Move all subscriptions to a path, or begin there; nothing happens if they
 * are on it already, so this may be called at any time
 *
 * @param subs Subscriptions, may be NULL
 * @param prm  The path
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_subs_path_set(struct aa_subs *subs, const struct aa_subs_path *prm)
{
	const bool first = subs && !subs->path;
	struct path *path;
	struct le *le;
	int err;

	if (!prm || !prm->aor || !prm->domain || !prm->cuser)
		return EINVAL;

	if (!subs || subs->ended)
		return 0;

	if (!subs->suspended && path_same(subs->path, prm))
		return 0;

	err = path_alloc(&path, subs, prm);
	if (err)
		return err;

	mem_deref(subs->path);
	subs->path      = path;
	subs->suspended = false;
	subs->moved_at  = aa_now_ms();
	subs->moved     = 0;
	subs->tokens    = subs->burst;
	subs->tokens_at = subs->moved_at;

	for (le = list_head(&subs->subl); le; le = le->next)
		sub_move(le->data, prm->old_works, first);

	/* not later than the rest of the move */
	if (!list_isempty(&subs->jobl)) {
		aa_tmr_cancel(&subs->tmr);
		jobs_run(subs);
	}

	return 0;
}


/**
 * There is no path: nothing is sent until there is one again.  What the lamps
 * show stays.
 *
 * @param subs Subscriptions, may be NULL
 */
void aa_subs_suspend(struct aa_subs *subs)
{
	struct le *le;

	if (!subs || subs->ended || subs->suspended || !subs->path)
		return;

	subs->suspended = true;
	aa_tmr_cancel(&subs->tmr);

	for (le = list_head(&subs->subl); le; le = le->next) {
		struct sub *sub = le->data;

		aa_tmr_cancel(&sub->tmr);
		list_unlink(&sub->job.le);
		sub->retry_at = 0;
		sub->moving   = false;

		if (sub->leg) {
			list_unlink(&sub->leg->job.le);
			aa_tmr_cancel(&sub->leg->tmr);
			sub->leg->req = mem_deref(sub->leg->req);
			if (!sip_dialog_established(sub->leg->dlg))
				sub->leg = mem_deref(sub->leg);
		}

		while (!list_isempty(&sub->oldl))
			orphan(list_ledata(list_head(&sub->oldl)));
	}

	while (!list_isempty(&subs->leavel))
		orphan(list_ledata(list_head(&subs->leavel)));

	settle(subs);
}


/* Unsubscribe, and never look back */
static void farewell_blind(struct leg *leg)
{
	leg->req = mem_deref(leg->req);

	if (!sip_dialog_established(leg->dlg) || !leg->contact ||
	    leg->terminated || leg->answered)
		return;

	(void)sip_drequestf(NULL, leg->subs->sip, true, "SUBSCRIBE", leg->dlg,
			    0, goes_home(leg) ? leg->auth : NULL, NULL, NULL,
			    NULL,
			    "Contact: <%s>\r\n"
			    "Event: %s\r\n"
			    "Expires: 0\r\n"
			    "Content-Length: 0\r\n"
			    "\r\n", leg->contact, leg->event);
}


static void end_blind(struct aa_subs *subs)
{
	struct le *le;

	for (le = list_head(&subs->subl); le; le = le->next) {
		struct sub *sub = le->data;
		struct le *ole;

		if (sub->leg)
			farewell_blind(sub->leg);

		for (ole = list_head(&sub->oldl); ole; ole = ole->next)
			farewell_blind(ole->data);
	}

	for (le = list_head(&subs->leavel); le; le = le->next)
		farewell_blind(le->data);
}


/**
 * The line ends: unsubscribe whatever can be reached
 *
 * @param subs      Subscriptions, may be NULL; the caller's reference is given
 *                  up, and the handler is not called any more
 * @param farewelll Where they stay until the server has answered, for
 *                  1.5 seconds at most; libre's stack, and so baresip's exit,
 *                  waits for them.  NULL: do not wait for answers
 */
void aa_subs_end(struct aa_subs *subs, struct list *farewelll)
{
	struct le *le;

	if (!subs)
		return;

	if (!farewelll) {
		if (!subs->suspended)
			end_blind(subs);

		mem_deref(subs);
		return;
	}

	/* nothing of the line may be used any more */
	subs->h = NULL;
	if (subs->authh)
		(void)subs->authh(&subs->authuser, &subs->authpass, NULL,
				  subs->arg);
	subs->authh = NULL;
	subs->ended = true;
	mem_ref(subs->sip);

	for (le = list_head(&subs->subl); le; le = le->next) {
		struct sub *sub = le->data;

		if (subs->suspended)
			continue;

		if (sub->leg)
			leave(sub->leg);

		while (!list_isempty(&sub->oldl))
			leave(list_ledata(list_head(&sub->oldl)));
	}

	list_flush(&subs->subl);
	list_flush(&subs->orphanl);
	aa_tmr_cancel(&subs->tmr_settled);

	if (list_isempty(&subs->leavel)) {
		mem_deref(subs);
		return;
	}

	list_append(farewelll, &subs->le, subs);
	aa_tmr_start(&subs->tmr_end, FAREWELL_MS, end_handler, subs);

	aa_tmr_cancel(&subs->tmr);
	jobs_run(subs);
}


static void lamps_inherit(struct sub *sub, const struct sub *old)
{
	const struct le *le;

	for (le = list_head(&old->lampl); le; le = le->next) {
		const struct lamp *from = le->data;
		struct lamp *lamp;

		lamp = mem_zalloc(sizeof(*lamp), lamp_destructor);
		if (!lamp)
			return;

		lamp->uri   = mem_ref(from->uri);
		lamp->name  = mem_ref(from->name);
		lamp->value = mem_ref(from->value);
		lamp->note  = mem_ref(from->note);
		list_append(&sub->lampl, &lamp->le, lamp);
	}

	sub->list = old->list;
}


/**
 * Other settings of the same line: what a person or a contact asked for is
 * asked for again, and what was seen is shown until the server has said
 * something newer
 *
 * What there is no memory for begins anew.
 *
 * @param subs   Subscriptions with the new settings, nothing received yet
 * @param old    Those with the old settings
 * @param values False: what was seen does not count, since the line is
 *               somebody else now
 */
void aa_subs_inherit(struct aa_subs *subs, const struct aa_subs *old,
		     bool values)
{
	const struct le *le;

	if (!subs || !old)
		return;

	for (le = list_head(&old->subl); le; le = le->next) {
		const struct sub *from = le->data;
		const struct aa_sub_prm prm = {
			.event  = from->event,
			.uri    = from->key,
			.label  = from->label,
		};
		struct sub *sub;

		if (!from->settings)
			(void)aa_subs_add_prm(subs, &prm);

		sub = values ? sub_find(subs, from->event, from->key) : NULL;
		if (!sub || sub->value || !list_isempty(&sub->lampl))
			continue;

		sub->value = mem_ref(from->value);
		sub->note  = mem_ref(from->note);
		lamps_inherit(sub, from);
	}
}


static int from_settings(struct aa_subs *subs, const char *event,
			 const char *uri)
{
	const struct aa_sub_prm prm = {
		.event    = event,
		.uri      = uri,
		.settings = true,
	};

	return aa_subs_add_prm(subs, &prm);
}


static int from_config(struct aa_subs *subs, const struct aa_line_config *cfg)
{
	struct pl rest, item, event, uri;
	int err = 0;

	if (cfg->explicit_mwi)
		err = from_settings(subs, "message-summary", "");

	pl_set_str(&rest, cfg->subscribe);

	while (!err && !re_regex(rest.p, rest.l, "[^,]+[^]*", &item, &rest)) {
		char *e = NULL, *u = NULL;

		if (!re_regex(item.p, item.l, "[^ \t]+[ \t]+[^ \t]+", &event,
			      NULL, &uri)) {
			err  = pl_strdup(&e, &event);
			err |= pl_strdup(&u, &uri);
			if (!err)
				err = from_settings(subs, e, u);
			if (err == EALREADY || err == EINVAL)
				err = 0;
		}

		mem_deref(e);
		mem_deref(u);
	}

	return err;
}


/**
 * Allocate the subscriptions of a line, as its settings name them; nothing is
 * sent before aa_subs_path_set()
 *
 * @param subsp Pointer to the subscriptions; mem_deref() drops them without a
 *              word, aa_subs_end() with one
 * @param sip   SIP stack
 * @param cfg   Settings
 * @param authh Asked for credentials
 * @param h     Told what happens, may be NULL
 * @param arg   Argument of both
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_subs_alloc(struct aa_subs **subsp, struct sip *sip,
		  const struct aa_line_config *cfg, sip_auth_h *authh,
		  aa_subs_h *h, void *arg)
{
	const uint32_t rate = cfg && cfg->subscription_rate ?
		cfg->subscription_rate : RATE_DEFAULT;
	struct aa_subs *subs;
	int err;

	if (!subsp || !sip || !cfg)
		return EINVAL;

	subs = mem_zalloc(sizeof(*subs), subs_destructor);
	if (!subs)
		return ENOMEM;

	subs->sip           = sip;
	subs->authh         = authh;
	subs->h             = h;
	subs->arg           = arg;
	subs->mwi_period    = cfg->explicit_mwi_period;
	subs->period        = cfg->blf_period;
	subs->retry_timeout = cfg->subscription_timeout_retry;
	subs->retry_failed  = cfg->subscription_failed_retry;
	subs->burst         = MIN(rate, (uint32_t)BURST_MAX);
	subs->every         = (1000 + rate - 1) / rate; /* not more often */
	subs->tokens        = subs->burst;
	subs->tokens_at     = aa_now_ms();

	if (!subs->mwi_period)
		subs->mwi_period = PERIOD_DEFAULT;
	if (!subs->period)
		subs->period = PERIOD_DEFAULT;

	err = from_config(subs, cfg);
	if (err)
		mem_deref(subs);
	else
		*subsp = subs;

	return err;
}


/**
 * Is anything left on an older path?  Its flow is still needed then;
 * AA_SUB_EV_SETTLED tells when it is not any more.
 *
 * @param subs Subscriptions, may be NULL
 *
 * @return true if so
 */
bool aa_subs_leaving(const struct aa_subs *subs)
{
	struct le *le;

	if (!subs)
		return false;

	if (!list_isempty(&subs->leavel))
		return true;

	for (le = list_head(&subs->subl); le; le = le->next) {
		const struct sub *sub = le->data;

		if (!list_isempty(&sub->oldl))
			return true;
	}

	return false;
}


/**
 * Call a handler for each subscription, and each member of a list behind it
 *
 * @param subs Subscriptions, may be NULL
 * @param h    Handler; true stops
 * @param arg  Handler argument
 *
 * @return true if the handler stopped it
 */
bool aa_subs_apply(const struct aa_subs *subs, aa_subs_info_h *h, void *arg)
{
	struct aa_sub_info si;
	struct le *le, *lle;

	for (le = subs && h ? list_head(&subs->subl) : NULL; le;
	     le = le->next) {
		const struct sub *sub = le->data;

		info_get(&si, sub);
		if (h(&si, arg))
			return true;

		for (lle = list_head(&sub->lampl); lle; lle = lle->next) {
			lamp_info(&si, sub, lle->data);
			if (h(&si, arg))
				return true;
		}
	}

	return false;
}


/**
 * Name of a state
 *
 * @param state State of a subscription
 *
 * @return Name as in `aastra_state`
 */
const char *aa_sub_state_name(enum aa_sub_state state)
{
	switch (state) {

	case AA_SUB_PENDING:    return "pending";
	case AA_SUB_ACTIVE:     return "active";
	case AA_SUB_TERMINATED: return "terminated";
	default:                return "?";
	}
}
