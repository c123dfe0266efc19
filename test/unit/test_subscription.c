/**
 * @file test_subscription.c  The event subscriptions of a line
 *
 * A phone and two servers, each a SIP stack of its own on the loopback.  The
 * servers do what a test tells them.  Timers of the subscriptions run faster
 * than the clock where a test would have to wait.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <time.h>
#include <cmocka.h>
#include <re.h>


#include "timer.h"


static void warped_start(struct aa_tmr *tmr, uint64_t delay, tmr_h *th,
			 void *arg)
	__attribute__((noinline));

/* the timers of what is tested, and no others */
static void plain_start(struct aa_tmr *tmr, uint64_t delay, tmr_h *th,
			void *arg)
{
	aa_tmr_start(tmr, delay, th, arg);
}

#define aa_tmr_start(tmr, delay, th, arg) warped_start(tmr, delay, th, arg)

#include "../../modules/aastra/subscription.c"
#include "tlsguard.h"


enum {
	SERVERS   = 2,
	LOG_SIZE  = 1024,
	ENTS      = 256,
	EVENTS    = 1024,
	WAIT_MS   = 15000
};


/** A SUBSCRIBE as it came */
struct logged {
	int srv;
	uint64_t t;
	char user[32];
	char host[64];
	char callid[64];
	uint32_t expires;
	uint32_t cseq;
	bool auth;
	bool indialog;
	bool eventlist;
	char accept[128];
	char route[64];
};

/** A subscription at a server */
struct ent {
	struct server *srv;
	char user[32];
	char event[32];
	char callid[64];
	char *to;               /* the phone's From                         */
	char *uri;              /* the phone's Contact                      */
	char tag[32];
	uint32_t cseq;
	bool ended;             /* by expires=0                             */
	uint16_t scode;         /* latest answer to a NOTIFY, 1: none       */
	char accept[128];
	unsigned answers;
};

/** A server */
struct server {
	int ix;
	struct sip *sip;
	struct sip_lsnr *lsnr;
	char route[64];
	char host[64];

	/* how it answers */
	uint16_t scode;         /* 0: as it should, 1: not at all           */
	const char *scode_user; /* only this user                           */
	const char *header;
	bool auth;
	bool once;              /* each nonce only once                     */
	unsigned nonce;
	bool used[LOG_SIZE];    /* nonces                                   */
	bool refuse_auth;
	bool notify_first;
	bool silent;            /* no NOTIFY                                */
	const char *state;      /* Subscription-State of the first NOTIFY   */
	const char *body;
	const char *ctype;
	uint32_t grant;         /* 0: as asked for                          */
};


static struct {
	struct sip *sip;
	struct sip_lsnr *lsnr;
	struct server srvv[SERVERS];
	struct logged logv[LOG_SIZE];
	unsigned logc;
	struct ent entv[ENTS];
	unsigned entc;

	struct aa_subs *subs;
	struct list farewelll;
	struct {
		enum aa_sub_event ev;
		char text[256];
		char uri[128];
		char value[64];
		enum aa_sub_state state;
	} evv[EVENTS];
	unsigned evc;
	unsigned strays;        /* NOTIFYs that were not taken              */

	uint32_t transaction;   /* of the paths [ms], 0: 500                */
	unsigned warp;          /* timers run so many times faster          */
	bool (*cond)(const void *arg);
	const void *cond_arg;
	bool timeout;
} t;


/* ---- Time ------------------------------------------------------------- */


static uint64_t clock_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);

	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}


/* Warped time goes on from where it was */
static uint64_t warp_base, warp_since;


static void warp(unsigned factor)
{
	const uint64_t now = clock_ms();

	if (warp_since)
		warp_base += (now - warp_since) * t.warp;
	warp_since = now;
	t.warp     = factor;
}


uint64_t aa_now_ms(void)
{
	return warp_base + (clock_ms() - warp_since) * t.warp + 100000;
}


/* timer.c's clock, which is not warped */
uint64_t aa_now_us(void)
{
	return clock_ms() * 1000;
}


static void warped_start(struct aa_tmr *tmr, uint64_t delay, tmr_h *th,
			 void *arg)
{
	plain_start(tmr, (delay + t.warp - 1) / t.warp, th, arg);
}


/* ---- What request.c needs beside ---------------------------------------- */


void aa_tlsguard_begin(const char *host)
{
	(void)host;
}


void aa_tlsguard_end(void)
{
}


enum aa_tlspeer aa_tlsguard_peer(const struct sa *peer, const char *host)
{
	(void)peer;
	(void)host;

	return AA_TLSPEER_OK;
}


/* ---- The servers ------------------------------------------------------ */


static void copy_pl(char *dst, size_t sz, const struct pl *pl)
{
	assert_int_equal(pl_strcpy(pl, dst, sz), 0);
}


static struct ent *ent_find(const struct sip_msg *msg)
{
	unsigned i;

	for (i=0; i<t.entc; i++) {
		if (0 == pl_strcmp(&msg->callid, t.entv[i].callid))
			return &t.entv[i];
	}

	return NULL;
}


static void notify_response(int err, const struct sip_msg *msg, void *arg)
{
	struct ent *ent = arg;
	const struct sip_hdr *hdr;

	if (!err && msg->scode < 200)
		return;

	++ent->answers;
	ent->scode = err ? 1 : msg->scode;
	ent->accept[0] = '\0';
	hdr = err ? NULL : sip_msg_hdr(msg, SIP_HDR_ACCEPT);
	if (hdr)
		copy_pl(ent->accept, sizeof(ent->accept), &hdr->val);
}


/* A NOTIFY with anything in it; NULL where a header shall be missing */
static void raw(struct ent *ent, const char *tag, uint32_t cseq,
		const char *event, const char *state, const char *ctype,
		const char *body)
{
	char headers[1024] = "";
	int n = 0;

	if (event)
		n += snprintf(headers, sizeof(headers), "Event: %s\r\n",
			      event);
	if (state)
		n += snprintf(headers + n, sizeof(headers) - (size_t)n,
			      "Subscription-State: %s\r\n", state);
	if (ctype)
		(void)snprintf(headers + n, sizeof(headers) - (size_t)n,
			       "Content-Type: %s\r\n", ctype);

	ent->scode = 0;
	assert_int_equal(sip_requestf(NULL, ent->srv->sip, true, "NOTIFY",
				      ent->uri, NULL, NULL, NULL,
				      notify_response, ent,
				      "From: <sip:%s@%s>;tag=%s\r\n"
				      "To: %s\r\n"
				      "Call-ID: %s\r\n"
				      "CSeq: %u NOTIFY\r\n"
				      "Contact: <sip:notifier@%s>\r\n"
				      "%s"
				      "Content-Length: %zu\r\n"
				      "\r\n%s",
				      ent->user, ent->srv->host, tag, ent->to,
				      ent->callid, cseq, ent->srv->host,
				      headers, strlen(body), body), 0);
}


static void notify_as(struct ent *ent, const char *state, const char *ctype,
		      const char *body)
{
	raw(ent, ent->tag, ++ent->cseq, ent->event, state,
	    *body ? ctype : NULL, body);
}


static const char *lamp_body(const char *state)
{
	static char buf[8][512];
	static unsigned i;
	char *p = buf[i++ % 8];

	(void)snprintf(p, sizeof(buf[0]),
		       "<dialog-info xmlns=\"urn:ietf:params:xml:ns:"
		       "dialog-info\" version=\"0\" state=\"full\""
		       " entity=\"sip:200@a\"><dialog id=\"1\"><state>%s"
		       "</state></dialog></dialog-info>", state);

	return p;
}


#define DI "application/dialog-info+xml"


static void lamp(struct ent *ent, const char *state)
{
	notify_as(ent, "active;expires=600", DI, lamp_body(state));
}


/* Sent again on a busy machine: a real server's transaction absorbs it */
static bool absorbed(const struct server *srv, const struct sip_msg *msg)
{
	unsigned i;

	for (i=0; i<t.logc; i++) {
		const struct logged *l = &t.logv[i];

		if (l->srv == srv->ix && l->cseq == msg->cseq.num &&
		    0 == pl_strcmp(&msg->callid, l->callid))
			return true;
	}

	return false;
}


static void log_add(struct server *srv, const struct sip_msg *msg)
{
	const struct sip_hdr *hdr;
	struct logged *l;

	assert_true(t.logc < LOG_SIZE);
	l = &t.logv[t.logc++];
	memset(l, 0, sizeof(*l));

	l->srv      = srv->ix;
	l->t        = clock_ms();
	l->expires  = pl_u32(&msg->expires);
	l->cseq     = msg->cseq.num;
	l->auth     = sip_msg_hdr(msg, SIP_HDR_AUTHORIZATION) ||
		sip_msg_hdr(msg, SIP_HDR_PROXY_AUTHORIZATION);
	l->indialog = pl_isset(&msg->to.tag);
	l->eventlist = sip_msg_hdr_has_value(msg, SIP_HDR_SUPPORTED,
					     "eventlist");
	copy_pl(l->user, sizeof(l->user), &msg->to.uri.user);
	copy_pl(l->host, sizeof(l->host), &msg->to.uri.host);
	copy_pl(l->callid, sizeof(l->callid), &msg->callid);

	hdr = sip_msg_hdr(msg, SIP_HDR_ACCEPT);
	if (hdr)
		copy_pl(l->accept, sizeof(l->accept), &hdr->val);
	hdr = sip_msg_hdr(msg, SIP_HDR_ROUTE);
	if (hdr)
		copy_pl(l->route, sizeof(l->route), &hdr->val);
}


static bool challenge(struct server *srv, const struct sip_msg *msg)
{
	const struct sip_hdr *hdr = sip_msg_hdr(msg, SIP_HDR_AUTHORIZATION);
	struct httpauth_digest_resp resp;
	bool stale = false;
	char nonce[16];

	if (!srv->auth)
		return false;

	(void)snprintf(nonce, sizeof(nonce), "n%u", srv->nonce);

	if (hdr && !srv->refuse_auth) {
		assert_int_equal(httpauth_digest_response_decode(&resp,
								 &hdr->val),
				 0);
		assert_int_equal(pl_strcmp(&resp.username, "100"), 0);

		if (srv->once) {
			const struct pl num = {resp.nonce.p + 1,
					       resp.nonce.l - 1};
			bool *used = &srv->used[pl_u32(&num) % LOG_SIZE];

			stale = *used;
			*used = true;
		}
		else {
			stale = 0 != pl_strcmp(&resp.nonce, nonce);
		}

		if (!stale)
			return false;
	}

	if (srv->once)
		(void)snprintf(nonce, sizeof(nonce), "n%u", ++srv->nonce);

	(void)sip_replyf(srv->sip, msg, 401, "Unauthorized",
			 "WWW-Authenticate: Digest realm=\"r\",nonce=\"%s\""
			 ",qop=\"auth\"%s\r\nContent-Length: 0\r\n\r\n", nonce,
			 stale ? ",stale=true" : "");

	return true;
}


static struct ent *ent_add(struct server *srv, const struct sip_msg *msg)
{
	const struct sip_hdr *ev = sip_msg_hdr(msg, SIP_HDR_EVENT);
	const struct sip_hdr *contact = sip_msg_hdr(msg, SIP_HDR_CONTACT);
	struct sip_addr addr;
	struct ent *ent;

	assert_non_null(ev);
	assert_non_null(contact);
	assert_true(t.entc < ENTS);

	ent = &t.entv[t.entc++];
	memset(ent, 0, sizeof(*ent));
	ent->srv = srv;
	copy_pl(ent->user, sizeof(ent->user), &msg->to.uri.user);
	copy_pl(ent->event, sizeof(ent->event), &ev->val);
	copy_pl(ent->callid, sizeof(ent->callid), &msg->callid);
	(void)snprintf(ent->tag, sizeof(ent->tag), "%016llx",
		       (unsigned long long)msg->tag);
	assert_int_equal(pl_strdup(&ent->to, &msg->from.val), 0);
	assert_int_equal(sip_addr_decode(&addr, &contact->val), 0);
	assert_int_equal(pl_strdup(&ent->uri, &addr.auri), 0);

	/* Contacts tell the dialogs apart */
	assert_non_null(strstr(ent->uri, ";sub="));

	return ent;
}


static void accepted(struct server *srv, const struct sip_msg *msg)
{
	uint32_t expires = pl_u32(&msg->expires);

	if (srv->grant)
		expires = MIN(expires, srv->grant);

	(void)sip_treplyf(NULL, NULL, srv->sip, msg, false, 200, "OK",
			  "Contact: <sip:notifier@%s>\r\nExpires: %u\r\n"
			  "Content-Length: 0\r\n\r\n", srv->host, expires);
}


static bool server_handler(const struct sip_msg *msg, void *arg)
{
	struct server *srv = arg;
	struct ent *ent;

	if (pl_strcmp(&msg->met, "SUBSCRIBE"))
		return false;

	if (absorbed(srv, msg))
		return true;

	log_add(srv, msg);

	if (srv->scode && (!srv->scode_user ||
			   !pl_strcmp(&msg->to.uri.user, srv->scode_user))) {
		if (srv->scode > 1)
			(void)sip_replyf(srv->sip, msg, srv->scode, "Said So",
					 "%s%sContent-Length: 0\r\n\r\n",
					 srv->header ? srv->header : "",
					 srv->header ? "\r\n" : "");
		return true;
	}

	if (challenge(srv, msg))
		return true;

	ent = ent_find(msg);

	if (pl_isset(&msg->to.tag)) {
		if (!ent || ent->ended) {
			(void)sip_reply(srv->sip, msg, 481, "Gone");
			return true;
		}

		accepted(srv, msg);
		if (pl_u32(&msg->expires) == 0) {
			ent->ended = true;
			notify_as(ent, "terminated;reason=timeout", NULL, "");
		}
		return true;
	}

	assert_null(ent);
	ent = ent_add(srv, msg);

	if (!srv->notify_first)
		accepted(srv, msg);

	if (!srv->silent)
		notify_as(ent, srv->state ? srv->state : "active",
			  srv->ctype ? srv->ctype : DI,
			  srv->body ? srv->body : "");

	if (srv->notify_first)
		accepted(srv, msg);

	return true;
}


/* ---- The phone -------------------------------------------------------- */


static bool phone_handler(const struct sip_msg *msg, void *arg)
{
	(void)arg;

	if (aa_subs_notify(t.subs, msg))
		return true;

	++t.strays;
	(void)sip_treply(NULL, t.sip, msg, 481, "Stray");

	return true;
}


static int auth(char **user, char **pass, const char *realm, void *arg)
{
	(void)realm;
	assert_ptr_equal(arg, &t);

	return str_dup(user, "100") | str_dup(pass, "secret");
}


static void subs_handler(enum aa_sub_event ev, const struct aa_sub_info *si,
			 const char *text, uint32_t took, void *arg)
{
	(void)took;
	assert_ptr_equal(arg, &t);
	assert_non_null(text);
	assert_true(t.evc < EVENTS);

	t.evv[t.evc].ev = ev;
	str_ncpy(t.evv[t.evc].text, text, sizeof(t.evv[0].text));
	str_ncpy(t.evv[t.evc].uri, si ? si->uri : "", sizeof(t.evv[0].uri));
	str_ncpy(t.evv[t.evc].value, si ? si->value : "",
		 sizeof(t.evv[0].value));
	t.evv[t.evc].state = si ? si->state : AA_SUB_PENDING;
	++t.evc;
}


static unsigned events(enum aa_sub_event ev)
{
	unsigned i, n = 0;

	for (i=0; i<t.evc; i++)
		n += t.evv[i].ev == ev;

	return n;
}


static const char *event_text(enum aa_sub_event ev)
{
	unsigned i;

	for (i=t.evc; i>0; i--) {
		if (t.evv[i-1].ev == ev)
			return t.evv[i-1].text;
	}

	return "";
}


struct search {
	unsigned n;
	struct aa_sub_info si;
	bool found;
};


static bool search_handler(const struct aa_sub_info *si, void *arg)
{
	struct search *s = arg;

	if (s->n--)
		return false;

	s->si = *si;
	s->found = true;

	return true;
}


/* The nth subscription, as the status shows it */
static struct aa_sub_info info_of(unsigned n)
{
	struct search s = {.n = n};

	(void)aa_subs_apply(t.subs, search_handler, &s);
	assert_true(s.found);

	return s.si;
}


static const struct aa_line_config *config(void)
{
	static struct aa_line_config cfg;

	memset(&cfg, 0, sizeof(cfg));
	cfg.explicit_mwi_period = 1200;
	cfg.blf_period = 600;

	return &cfg;
}


static void start(const struct aa_line_config *cfg)
{
	assert_int_equal(aa_subs_alloc(&t.subs, t.sip, cfg, auth,
				       subs_handler, &t), 0);
}


static void go_as(int srv, const char *aor, bool works, uint64_t gen)
{
	struct aa_subs_path prm;

	memset(&prm, 0, sizeof(prm));
	prm.aor         = aor;
	prm.domain      = srv ? "b.example" : "a.example";
	prm.home        = "a.example";
	prm.route       = t.srvv[srv].route;
	prm.cuser       = "cuser-1";
	prm.tp          = SIP_TRANSP_UDP;
	prm.transaction = t.transaction ? t.transaction : 500;
	prm.generation  = gen;
	prm.rank        = srv ? AA_RANK_BACKUP : AA_RANK_PRIMARY;
	prm.old_works   = works;

	assert_int_equal(aa_subs_path_set(t.subs, &prm), 0);
}


static void go(int srv, bool works)
{
	go_as(srv, srv ? "sip:100@b.example" : "sip:100@a.example", works, 1);
}


/* ---- Waiting for a state ---------------------------------------------- */


static void poll_handler(void *arg)
{
	struct tmr *tmr = arg;

	if (t.cond(t.cond_arg)) {
		re_cancel();
		return;
	}

	tmr_start(tmr, 1, poll_handler, tmr);
}


static void timeout_cb(void *arg)
{
	(void)arg;
	t.timeout = true;
	re_cancel();
}


static bool never(const void *arg)
{
	(void)arg;

	return false;
}


/* A busy machine is late, and that is no failure */
static bool run(bool (*cond)(const void *), const void *arg, unsigned ms)
{
	struct tmr poll, end;

	tmr_init(&poll);
	tmr_init(&end);
	t.cond     = cond;
	t.cond_arg = arg;
	t.timeout  = false;
	tmr_start(&poll, 0, poll_handler, &poll);
	tmr_start(&end, cond == never ? ms : 10 * ms, timeout_cb, NULL);
	(void)re_main(NULL);
	tmr_cancel(&poll);
	tmr_cancel(&end);
	t.cond_arg = NULL;

	return !t.timeout;
}


/* Let so much time pass (of the clock) */
static void pass(unsigned ms)
{
	assert_false(run(never, NULL, ms));
}


static bool has_state(const void *arg)
{
	const int *v = arg;

	return (int)info_of((unsigned)v[0]).state == v[1];
}


static void wait_state(unsigned n, enum aa_sub_state state)
{
	const int v[2] = {(int)n, (int)state};

	assert_true(run(has_state, v, WAIT_MS));
}


static bool has_value(const void *arg)
{
	return 0 == strcmp(info_of(0).value, arg);
}


static void wait_value(const char *value)
{
	assert_true(run(has_value, value, WAIT_MS));
}


static bool has_log(const void *arg)
{
	const unsigned *n = arg;

	return t.logc >= *n;
}


static void wait_log(unsigned n)
{
	assert_true(run(has_log, &n, WAIT_MS));
}


static bool has_answer(const void *arg)
{
	const struct ent *ent = arg;

	return ent->scode != 0;
}


static uint16_t answer(struct ent *ent)
{
	assert_true(run(has_answer, ent, WAIT_MS));

	return ent->scode;
}


static bool has_ended(const void *arg)
{
	const struct ent *ent = arg;

	return ent->ended;
}


static bool has_event(const void *arg)
{
	const unsigned *v = arg;

	return events((enum aa_sub_event)v[0]) >= v[1];
}


static void wait_event(enum aa_sub_event ev, unsigned n)
{
	const unsigned v[2] = {(unsigned)ev, n};

	assert_true(run(has_event, v, WAIT_MS));
}


static struct ent *newest(void)
{
	assert_true(t.entc > 0);

	return &t.entv[t.entc - 1];
}


static int setup(void **state)
{
	struct sa laddr;
	int i;
	(void)state;

	memset(&t, 0, sizeof(t));
	t.warp = 1;
	warp_since = clock_ms();

	assert_int_equal(libre_init(), 0);

	for (i=-1; i<SERVERS; i++) {
		struct sip **sipp = i < 0 ? &t.sip : &t.srvv[i].sip;

		assert_int_equal(sa_set_str(&laddr, "127.0.0.1", 0), 0);
		assert_int_equal(sip_alloc(sipp, NULL, 32, 32, 32, "test",
					   NULL, NULL), 0);
		assert_int_equal(sip_transp_add(*sipp, SIP_TRANSP_UDP, &laddr),
				 0);

		if (i < 0)
			continue;

		t.srvv[i].ix = i;
		assert_int_equal(sip_transp_laddr(*sipp, &laddr,
						  SIP_TRANSP_UDP, NULL), 0);
		(void)re_snprintf(t.srvv[i].host, sizeof(t.srvv[i].host), "%J",
				  &laddr);
		(void)re_snprintf(t.srvv[i].route, sizeof(t.srvv[i].route),
				  "sip:%J", &laddr);
		assert_int_equal(sip_listen(&t.srvv[i].lsnr, *sipp, true,
					    server_handler, &t.srvv[i]), 0);
	}

	assert_int_equal(sip_listen(&t.lsnr, t.sip, true, phone_handler, NULL),
			 0);

	return 0;
}


static int teardown(void **state)
{
	unsigned i;
	(void)state;

	t.subs = mem_deref(t.subs);
	list_flush(&t.farewelll);

	t.lsnr = mem_deref(t.lsnr);
	sip_close(t.sip, true);
	mem_deref(t.sip);

	for (i=0; i<SERVERS; i++) {
		mem_deref(t.srvv[i].lsnr);
		sip_close(t.srvv[i].sip, true);
		mem_deref(t.srvv[i].sip);
	}

	for (i=0; i<t.entc; i++) {
		mem_deref(t.entv[i].to);
		mem_deref(t.entv[i].uri);
	}

	tmr_debug();
	aa_tmr_close();
	libre_close();

	return 0;
}


/* ---- Subscribing ------------------------------------------------------ */


static void subscribe_dialog(void **state)
{
	struct aa_sub_info si;
	(void)state;

	start(config());
	assert_int_equal(aa_subs_add(t.subs, "dialog", "200"), 0);
	assert_int_equal(aa_subs_add(t.subs, "dialog", "200"), EALREADY);
	assert_int_equal(info_of(0).state, AA_SUB_PENDING);

	t.srvv[0].body = lamp_body("confirmed");
	go(0, false);
	wait_value("busy");

	si = info_of(0);
	assert_int_equal(si.state, AA_SUB_ACTIVE);
	assert_int_equal(si.rank, AA_RANK_PRIMARY);
	assert_string_equal(si.uri, "sip:200@a.example");
	assert_string_equal(si.key, "200");
	assert_string_equal(si.event, "dialog");
	assert_string_equal(si.error, "");
	assert_int_equal(answer(newest()), 200);

	assert_int_equal(t.logc, 1);
	assert_int_equal(t.logv[0].expires, 600);
	assert_true(t.logv[0].eventlist);
	assert_non_null(strstr(t.logv[0].accept, DI));
	assert_non_null(strstr(t.logv[0].route, t.srvv[0].host));

	assert_int_equal(events(AA_SUB_EV_VALUE), 1);
	lamp(newest(), "early");
	wait_value("ringing");
	assert_int_equal(answer(newest()), 200);
	assert_int_equal(events(AA_SUB_EV_VALUE), 2);
	assert_int_equal(events(AA_SUB_EV_FAULT), 0);

	/* the same once more is not news */
	lamp(newest(), "early");
	assert_int_equal(answer(newest()), 200);
	assert_int_equal(events(AA_SUB_EV_VALUE), 2);
}


static void subscribe_from_config(void **state)
{
	struct aa_line_config cfg = *config();
	(void)state;

	cfg.explicit_mwi = true;
	str_ncpy(cfg.subscribe, "dialog 200, presence sip:201@c.example,"
		 "bad, x-other 202@d.example", sizeof(cfg.subscribe));
	start(&cfg);
	t.srvv[0].body  = "Messages-Waiting: yes\r\nVoice-Message: 1/2\r\n";
	t.srvv[0].ctype = "application/simple-message-summary";
	go(0, false);

	wait_state(0, AA_SUB_ACTIVE);
	wait_event(AA_SUB_EV_BODY, 1);
	wait_log(4);

	assert_string_equal(info_of(0).uri, "sip:100@a.example");
	assert_string_equal(info_of(0).key, "");
	assert_string_equal(info_of(0).value, "yes 1/2 (0/0)");
	assert_string_equal(info_of(1).uri, "sip:200@a.example");
	assert_string_equal(info_of(2).uri, "sip:201@c.example");
	assert_string_equal(info_of(3).uri, "sip:202@d.example");
	assert_int_equal(t.logv[0].expires, 1200);
	assert_false(t.logv[0].eventlist);
	assert_int_equal(t.logv[1].expires, 600);
	assert_true(t.logv[2].eventlist);
	assert_string_equal(t.logv[3].accept, "");

	/* the whole body, as baresip's own MWI event has it */
	assert_int_equal(events(AA_SUB_EV_MWI), 1);
	assert_string_equal(event_text(AA_SUB_EV_MWI), t.srvv[0].body);

	/* and any other package as it came */
	assert_string_equal(event_text(AA_SUB_EV_BODY), t.srvv[0].body);
}


static void notify_before_2xx(void **state)
{
	(void)state;

	start(config());
	(void)aa_subs_add(t.subs, "dialog", "200");
	t.srvv[0].notify_first = true;
	t.srvv[0].body = lamp_body("confirmed");
	go(0, false);
	wait_value("busy");
	pass(50);

	assert_int_equal(info_of(0).state, AA_SUB_ACTIVE);
	assert_int_equal(t.strays, 0);
	assert_int_equal(t.logc, 1);
	lamp(newest(), "early");
	wait_value("ringing");
}


static void pending_state(void **state)
{
	(void)state;

	start(config());
	(void)aa_subs_add(t.subs, "presence", "200");
	t.srvv[0].state = "pending;expires=500";
	go(0, false);
	wait_log(1);
	assert_int_equal(answer(newest()), 200);
	assert_int_equal(info_of(0).state, AA_SUB_PENDING);

	notify_as(newest(), "active;expires=500", NULL, "");
	wait_state(0, AA_SUB_ACTIVE);

	/* a state that nobody knows is a live one */
	notify_as(newest(), "whatever", NULL, "");
	assert_int_equal(answer(newest()), 200);
	assert_int_equal(info_of(0).state, AA_SUB_ACTIVE);
}


static void uris(void **state)
{
	static const char *const badv[] = {
		"a b", "<sip:a@b>", "\"a\"", "a\r\nb", "\x7f", "\xc3\xa4"
	};
	size_t i;
	(void)state;

	start(config());
	for (i=0; i<ARRAY_SIZE(badv); i++)
		assert_int_equal(aa_subs_add(t.subs, "dialog", badv[i]),
				 EINVAL);
	assert_int_equal(aa_subs_add(t.subs, "", "1"), EINVAL);
	assert_int_equal(aa_subs_add(t.subs, "a b", "1"), EINVAL);
	assert_int_equal(aa_subs_add(t.subs, "a;id=1", "1"), EINVAL);

	assert_int_equal(aa_subs_add(t.subs, "dialog", "200"), 0);
	assert_int_equal(aa_subs_add(t.subs, "dialog", "sip:201@A.example"),
			 0);
	assert_int_equal(aa_subs_add(t.subs, "dialog", "202@c.example"), 0);
	assert_int_equal(aa_subs_add(t.subs, "dialog",
				     "sip:203@a.example:5062"), 0);
	assert_int_equal(aa_subs_add(t.subs, "dialog", "204@c.example:5062"),
			 0);
	assert_int_equal(aa_subs_add(t.subs, "dialog", "205@[2001:db8::1]"),
			 0);
	go(0, false);
	wait_log(6);
	assert_string_equal(info_of(1).uri, "sip:201@A.example");
	assert_string_equal(info_of(4).uri, "sip:204@c.example:5062");
	assert_string_equal(info_of(5).uri, "sip:205@[2001:db8::1]");

	/* at home is at home wherever the line is */
	go(1, true);
	wait_log(12);
	assert_string_equal(info_of(0).uri, "sip:200@b.example");
	assert_string_equal(info_of(1).uri, "sip:201@b.example");
	assert_string_equal(info_of(2).uri, "sip:202@c.example");
	assert_string_equal(info_of(3).uri, "sip:203@a.example:5062");

	/* and what cannot be a URI here is refused now */
	assert_int_equal(aa_subs_add(t.subs, "dialog", "@"), EINVAL);
}


static void refreshed(void **state)
{
	(void)state;

	start(config());
	(void)aa_subs_add(t.subs, "dialog", "200");
	t.srvv[0].grant = 20;
	warp(40);
	go(0, false);
	wait_state(0, AA_SUB_ACTIVE);

	/* 80 to 90 % of 20 s */
	wait_log(2);
	assert_true(t.logv[1].indialog);
	assert_string_equal(t.logv[1].callid, t.logv[0].callid);
	assert_true(t.logv[1].t - t.logv[0].t >= 20000 / 40 * 7 / 10);
	assert_true(t.logv[1].t - t.logv[0].t <= 20000 / 40);
	wait_log(3);
	assert_true(t.logv[2].indialog);
	assert_int_equal(info_of(0).state, AA_SUB_ACTIVE);

	/* a NOTIFY can make it shorter */
	notify_as(newest(), "active;expires=10", NULL, "");
	assert_int_equal(answer(newest()), 200);
	t.logc = 0;
	assert_true(run(has_log, &(unsigned){1}, 10000 / 40 + 100));
	warp(1);
}


static void removed(void **state)
{
	(void)state;

	start(config());
	(void)aa_subs_add(t.subs, "dialog", "200");
	(void)aa_subs_add(t.subs, "dialog", "201");
	go(0, false);
	wait_state(1, AA_SUB_ACTIVE);

	assert_int_equal(aa_subs_remove(t.subs, "dialog", "202"), ENOENT);
	assert_int_equal(aa_subs_remove(t.subs, "presence", "200"), ENOENT);
	assert_int_equal(aa_subs_remove(t.subs, "dialog", "200"), 0);
	wait_log(3);
	assert_int_equal(t.logv[2].expires, 0);
	assert_string_equal(t.logv[2].user, "200");
	assert_int_equal(answer(&t.entv[0]), 200);
	assert_string_equal(info_of(0).uri, "sip:201@a.example");

	/* by the URI in force too */
	assert_int_equal(aa_subs_remove(t.subs, "dialog",
					"sip:201@a.example"), 0);
	wait_log(4);
	assert_int_equal(t.logv[3].expires, 0);
	wait_event(AA_SUB_EV_SETTLED, 1);

	/* and one that comes later goes at once */
	assert_int_equal(aa_subs_add(t.subs, "dialog", "203"), 0);
	wait_state(0, AA_SUB_ACTIVE);
}


/* ---- Credentials ------------------------------------------------------ */


static void digest(void **state)
{
	unsigned i;
	char user[16];
	(void)state;

	start(config());
	for (i=0; i<20; i++) {
		(void)snprintf(user, sizeof(user), "%u", 200 + i);
		(void)aa_subs_add(t.subs, "dialog", user);
	}
	t.srvv[0].auth = true;
	go(0, false);
	wait_state(19, AA_SUB_ACTIVE);

	/* one is challenged, the others know already */
	assert_int_equal(t.logc, 21);
	assert_false(t.logv[0].auth);
	for (i=1; i<t.logc; i++)
		assert_true(t.logv[i].auth);

	/* its farewell as well */
	assert_int_equal(aa_subs_remove(t.subs, "dialog", "200"), 0);
	wait_log(22);
	assert_true(run(has_ended, &t.entv[0], WAIT_MS));
	assert_int_equal(t.logc, 22);
}


static void digest_once(void **state)
{
	unsigned i;
	char user[16];
	(void)state;

	/* a server that takes each nonce once */
	start(config());
	for (i=0; i<20; i++) {
		(void)snprintf(user, sizeof(user), "%u", 200 + i);
		(void)aa_subs_add(t.subs, "dialog", user);
	}
	t.srvv[0].auth = true;
	t.srvv[0].once = true;
	go(0, false);

	for (i=0; i<20; i++)
		wait_state(i, AA_SUB_ACTIVE);

	assert_true(t.logc <= 20 * 2);
}


static void digest_wrong(void **state)
{
	(void)state;

	start(config());
	(void)aa_subs_add(t.subs, "dialog", "200");
	t.srvv[0].auth = true;
	t.srvv[0].refuse_auth = true;
	go(0, false);
	wait_state(0, AA_SUB_TERMINATED);

	assert_int_equal(t.logc, 2);
	assert_non_null(strstr(info_of(0).error, "401"));
	assert_int_equal(events(AA_SUB_EV_FAULT), 0);
}


static void digest_stale(void **state)
{
	(void)state;

	start(config());
	(void)aa_subs_add(t.subs, "dialog", "200");
	t.srvv[0].auth = true;
	t.srvv[0].grant = 4;
	warp(20);
	go(0, false);
	wait_state(0, AA_SUB_ACTIVE);
	assert_int_equal(t.logc, 2);

	++t.srvv[0].nonce;
	wait_log(4);
	assert_true(t.logv[2].auth);
	assert_true(t.logv[3].auth);
	warp(1);
	pass(20);
	assert_int_equal(info_of(0).state, AA_SUB_ACTIVE);
}


/* ---- Refusals --------------------------------------------------------- */


/* What the next try after a refusal is, [s] */
static uint64_t refused(uint16_t scode, const char *header,
			uint32_t timer_timeout, uint32_t timer_failed,
			bool fault)
{
	struct aa_line_config cfg = *config();
	struct aa_sub_info si;

	t.subs = mem_deref(t.subs);
	t.evc = 0;
	t.logc = 0;
	cfg.subscription_timeout_retry = timer_timeout;
	cfg.subscription_failed_retry  = timer_failed;
	start(&cfg);
	(void)aa_subs_add(t.subs, "dialog", "200");
	t.srvv[0].scode  = scode;
	t.srvv[0].header = header;
	go(0, false);
	wait_state(0, AA_SUB_TERMINATED);

	si = info_of(0);
	assert_int_equal(t.logc, 1);
	assert_int_equal(si.scode, scode);
	assert_int_equal(events(AA_SUB_EV_FAULT), fault);

	/* it says so */
	assert_non_null(strstr(si.error, "tried again in"));
	assert_string_equal(event_text(AA_SUB_EV_STATE), si.error);

	return (si.retry_in + 500) / 1000;
}


static void refusals(void **state)
{
	static const uint16_t otherv[] = {
		400, 402, 403, 404, 405, 410, 420, 480, 486, 600, 603, 604
	};
	uint64_t s;
	size_t i;
	(void)state;

	/* each of the two keys has its codes */
	assert_int_equal(refused(408, NULL, 7, 9, true), 7);
	assert_int_equal(refused(503, NULL, 7, 9, true), 7);
	assert_int_equal(refused(500, NULL, 7, 9, true), 9);
	for (i=0; i<ARRAY_SIZE(otherv); i++)
		assert_int_equal(refused(otherv[i], NULL, 7, 9, false), 9);

	/* the server's own word comes first */
	assert_int_equal(refused(503, "Retry-After: 33", 7, 9, true), 33);
	assert_int_equal(refused(480, "Retry-After: 44 (later);duration=9",
				 7, 9, false), 44);
	assert_int_equal(refused(486, "Retry-After: 99999999", 0, 0, false),
			 86400);

	/* where the phones' default is never: a back-off */
	s = refused(503, NULL, 0, 0, true);
	assert_in_range(s, 2, 5);
	s = refused(403, NULL, 0, 0, false);
	assert_in_range(s, 2, 5);

	/* a package that the server does not know */
	assert_int_equal(refused(489, NULL, 7, 9, false), 3600);

	/* 481 and 423 without sense */
	assert_int_equal(refused(481, NULL, 7, 9, false), 9);
	assert_int_equal(refused(423, NULL, 7, 9, false), 9);
	assert_int_equal(refused(423, "Min-Expires: 10", 7, 9, false), 9);
}


static void refused_grows(void **state)
{
	unsigned i;
	(void)state;

	start(config());
	(void)aa_subs_add(t.subs, "dialog", "200");
	t.srvv[0].scode = 403;
	warp(50);
	go(0, false);
	wait_log(6);

	/* 5, 10, 20, 40, 80 s, and half of it at least */
	for (i=0; i<5; i++) {
		const uint64_t d = (t.logv[i+1].t - t.logv[i].t) * 50;

		assert_true(d >= (2500u << i));
		assert_true(d <= (5000u << i) + 3000);
	}

	/* and it ends when the server is of another mind */
	t.srvv[0].scode = 0;
	wait_state(0, AA_SUB_ACTIVE);
	warp(1);
	assert_string_equal(info_of(0).error, "");
}


static void no_answer(void **state)
{
	struct aa_line_config cfg = *config();
	(void)state;

	cfg.subscription_timeout_retry = 7;
	start(&cfg);
	(void)aa_subs_add(t.subs, "dialog", "200");
	(void)aa_subs_add(t.subs, "dialog", "201");
	t.srvv[0].scode = 1;
	go(0, false);
	wait_state(0, AA_SUB_TERMINATED);
	wait_state(1, AA_SUB_TERMINATED);

	/* the line is told once */
	assert_int_equal(events(AA_SUB_EV_FAULT), 1);
	assert_int_equal((info_of(1).retry_in + 500) / 1000, 7);
	assert_int_equal(info_of(1).scode, 0);
}


static void min_expires(void **state)
{
	(void)state;

	start(config());
	(void)aa_subs_add(t.subs, "dialog", "200");
	t.srvv[0].scode  = 423;
	t.srvv[0].header = "Min-Expires: 900";
	warp(20);
	go(0, false);
	wait_log(2);
	assert_int_equal(t.logv[0].expires, 600);
	assert_int_equal(t.logv[1].expires, 900);

	/* refused again: no loop */
	wait_state(0, AA_SUB_TERMINATED);
	assert_int_equal(t.logc, 2);

	t.srvv[0].scode = 0;
	wait_state(0, AA_SUB_ACTIVE);
	warp(1);
	assert_int_equal(t.logv[t.logc-1].expires, 900);
}


static void refresh_481(void **state)
{
	(void)state;

	start(config());
	(void)aa_subs_add(t.subs, "dialog", "200");
	t.srvv[0].grant = 20;
	t.srvv[0].body  = lamp_body("confirmed");
	warp(40);
	go(0, false);
	wait_value("busy");

	/* the server has started again: a new dialog at once */
	t.entv[0].ended = true;
	wait_log(3);
	warp(1);
	assert_true(t.logv[1].indialog);
	assert_false(t.logv[2].indialog);
	assert_true(t.logv[2].t - t.logv[1].t < 200);
	wait_state(0, AA_SUB_ACTIVE);
	assert_string_equal(info_of(0).value, "busy");
}


static void refresh_fails(void **state)
{
	struct aa_line_config cfg = *config();
	(void)state;

	cfg.subscription_failed_retry = 1;
	start(&cfg);
	(void)aa_subs_add(t.subs, "dialog", "200");
	t.srvv[0].grant = 60;
	warp(40);
	go(0, false);
	wait_state(0, AA_SUB_ACTIVE);

	/* the subscription is still there, and still tells */
	t.srvv[0].scode = 500;
	wait_log(3);
	assert_true(t.logv[1].indialog);
	assert_true(t.logv[2].indialog);
	assert_int_equal(info_of(0).state, AA_SUB_ACTIVE);
	lamp(newest(), "confirmed");
	wait_value("busy");

	t.srvv[0].scode = 0;
	pass(100);
	warp(1);
	assert_int_equal(info_of(0).state, AA_SUB_ACTIVE);
	assert_int_equal(t.entc, 1);
	assert_string_equal(info_of(0).error, "");
}


static void expires_unrefreshed(void **state)
{
	struct aa_line_config cfg = *config();
	(void)state;

	cfg.subscription_failed_retry = 3600;
	start(&cfg);
	(void)aa_subs_add(t.subs, "dialog", "200");
	t.srvv[0].grant = 20;
	t.srvv[0].body  = lamp_body("confirmed");
	warp(10);
	go(0, false);
	wait_value("busy");

	t.srvv[0].scode = 500;
	wait_state(0, AA_SUB_TERMINATED);
	warp(1);

	/* what the lamp shows stays */
	assert_string_equal(info_of(0).value, "busy");
	assert_int_equal(t.logc, 2);
}


static void no_notify(void **state)
{
	(void)state;

	start(config());
	(void)aa_subs_add(t.subs, "dialog", "200");
	t.srvv[0].silent = true;
	warp(10);       /* 32 s are 3.2: slow machines need them */
	go(0, false);
	wait_log(1);
	pass(20);
	assert_int_equal(info_of(0).state, AA_SUB_PENDING);

	/* Timer N: 32 s */
	wait_state(0, AA_SUB_TERMINATED);
	assert_non_null(strstr(info_of(0).error, "no NOTIFY"));
	t.srvv[0].silent = false;
	wait_state(0, AA_SUB_ACTIVE);
	warp(1);

	/* and the first one was taken back */
	assert_true(t.entv[0].ended);
}


static void no_contact_in_2xx(void **state)
{
	(void)state;

	start(config());
	(void)aa_subs_add(t.subs, "dialog", "200");
	t.srvv[0].scode = 202;
	go(0, false);
	wait_state(0, AA_SUB_TERMINATED);
	assert_int_equal(t.logc, 1);
}


/* ---- Reasons of the server -------------------------------------------- */


/* Ends the subscription; what the next try is, [s], or -1 for none */
static int64_t ended(const char *substate)
{
	struct aa_sub_info si;
	struct ent *ent;
	unsigned n;

	t.subs = mem_deref(t.subs);
	t.evc = t.logc = 0;
	start(config());
	(void)aa_subs_add(t.subs, "dialog", "200");
	t.srvv[0].body = lamp_body("confirmed");
	go(0, false);
	wait_value("busy");
	pass(5);

	t.srvv[0].scode = 1;
	n = t.logc;
	ent = newest();
	notify_as(ent, substate, NULL, "");
	assert_int_equal(answer(ent), 200);
	pass(30);
	si = info_of(0);
	assert_string_equal(si.value, "busy");
	t.srvv[0].scode = 0;

	if (t.logc > n) {
		assert_false(t.logv[n].indialog);
		assert_int_equal(si.state, AA_SUB_PENDING);
		return 0;
	}

	assert_int_equal(si.state, AA_SUB_TERMINATED);
	assert_true(str_isset(si.error));

	return si.retry_in ? (int64_t)(si.retry_in + 500) / 1000 : -1;
}


static void reasons(void **state)
{
	int64_t s;
	(void)state;

	assert_int_equal(ended("terminated;reason=deactivated"), 0);
	assert_int_equal(ended("terminated;reason=timeout"), 0);
	assert_int_equal(ended("terminated"), 0);
	assert_int_equal(ended("terminated;reason=unheard-of"), 0);
	assert_int_equal(ended("terminated;reason=giveup"), 0);
	assert_int_equal(ended("terminated;reason=giveup;retry-after=66"),
			 66);
	assert_int_equal(ended("terminated;retry-after=67"), 67);
	assert_int_equal(ended("terminated;reason=probation;retry-after=68"),
			 68);
	s = ended("terminated;reason=probation");
	assert_in_range(s, 2, 5);
	assert_int_equal(ended("terminated;reason=rejected"), -1);
	assert_int_equal(ended("terminated;reason=noresource"), -1);
	assert_int_equal(ended("terminated;reason=noresource;retry-after=5"),
			 -1);
	assert_int_equal(ended("terminated;reason=invariant"), -1);
	assert_int_equal(ended("Terminated ; Reason=REJECTED"), -1);

	/* retry-after means nothing with these (RFC 6665 4.1.3) */
	assert_int_equal(ended("terminated;reason=deactivated;"
			       "retry-after=99"), 0);
}


static void rejected_tried_on_another_path(void **state)
{
	(void)state;

	assert_int_equal(ended("terminated;reason=rejected"), -1);
	go(1, false);
	wait_state(0, AA_SUB_ACTIVE);
	assert_int_equal(info_of(0).rank, AA_RANK_BACKUP);
}


static void ended_again_and_again(void **state)
{
	(void)state;

	/* a server that ends whatever it has begun */
	start(config());
	(void)aa_subs_add(t.subs, "dialog", "200");
	t.srvv[0].state = "terminated;reason=deactivated";
	go(0, false);
	wait_state(0, AA_SUB_TERMINATED);
	pass(500);

	/* once more at once, then later and later */
	assert_int_equal(t.logc, 2);
	assert_true(info_of(0).retry_in > 1500);
}


/* ---- NOTIFYs that are not good ---------------------------------------- */


static struct ent *subscribed(void)
{
	start(config());
	(void)aa_subs_add(t.subs, "dialog", "200");
	t.srvv[0].body = lamp_body("confirmed");
	go(0, false);
	wait_value("busy");
	pass(5);

	return newest();
}


static void notify_refused(void **state)
{
	struct ent *ent = subscribed();
	const char *early = lamp_body("early");
	(void)state;

	raw(ent, ent->tag, ++ent->cseq, NULL, "active", DI, early);
	assert_int_equal(answer(ent), 489);
	raw(ent, ent->tag, ++ent->cseq, "presence", "active", DI, early);
	assert_int_equal(answer(ent), 481);
	raw(ent, ent->tag, ++ent->cseq, "dialog", NULL, DI, early);
	assert_int_equal(answer(ent), 400);

	/* another branch of a forked SUBSCRIBE */
	raw(ent, "another", ++ent->cseq, "dialog", "active", DI, early);
	assert_int_equal(answer(ent), 481);

	/* content */
	raw(ent, ent->tag, ++ent->cseq, "dialog", "active",
	    "application/pidf+xml", early);
	assert_int_equal(answer(ent), 415);
	assert_string_equal(ent->accept, DI);
	raw(ent, ent->tag, ++ent->cseq, "dialog", "active", DI, "<broken");
	assert_int_equal(answer(ent), 400);

	assert_string_equal(info_of(0).value, "busy");
	assert_int_equal(info_of(0).state, AA_SUB_ACTIVE);
	assert_non_null(strstr(info_of(0).error, "400"));

	/* compact forms and parameters are fine */
	raw(ent, ent->tag, ++ent->cseq, "dialog;id=", "active;x=y", DI
	    ";charset=utf-8", early);
	assert_int_equal(answer(ent), 200);
	assert_string_equal(info_of(0).value, "ringing");
}


static void notify_order(void **state)
{
	struct ent *ent = subscribed();
	uint32_t cseq = ent->cseq + 10;
	(void)state;

	raw(ent, ent->tag, cseq, "dialog", "active", DI, lamp_body("early"));
	assert_int_equal(answer(ent), 200);
	assert_string_equal(info_of(0).value, "ringing");

	/* older */
	raw(ent, ent->tag, cseq - 1, "dialog", "active", DI,
	    lamp_body("terminated"));
	assert_int_equal(answer(ent), 500);
	assert_string_equal(info_of(0).value, "ringing");

	/* the same again: the same answer, and nothing else */
	raw(ent, ent->tag, cseq, "dialog", "active", DI,
	    lamp_body("terminated"));
	assert_int_equal(answer(ent), 200);
	assert_string_equal(info_of(0).value, "ringing");

	raw(ent, ent->tag, cseq + 1, "dialog", "active", "text/plain", "x");
	assert_int_equal(answer(ent), 415);
	raw(ent, ent->tag, cseq + 1, "dialog", "active", "text/plain", "x");
	assert_int_equal(answer(ent), 415);
}


static void notify_of_others(void **state)
{
	struct ent *ent = subscribed(), other = *ent;
	(void)state;

	assert_int_equal(t.strays, 0);
	str_ncpy(other.callid, "somebody-elses", sizeof(other.callid));
	lamp(&other, "early");
	assert_int_equal(answer(&other), 481);
	assert_int_equal(t.strays, 1);

	other = *ent;
	other.to = (char *)(uintptr_t)"<sip:100@a.example>;tag=other";
	lamp(&other, "early");
	assert_int_equal(answer(&other), 481);
	assert_int_equal(t.strays, 2);
	assert_string_equal(info_of(0).value, "busy");
}


static void terminated_with_bad_body(void **state)
{
	struct ent *ent = subscribed();
	(void)state;

	t.srvv[0].scode = 1;
	raw(ent, ent->tag, ++ent->cseq, "dialog",
	    "terminated;reason=rejected", DI, "<broken");
	assert_int_equal(answer(ent), 400);
	assert_int_equal(info_of(0).state, AA_SUB_TERMINATED);
	assert_string_equal(info_of(0).value, "busy");
}


static void partial_gap(void **state)
{
	struct ent *ent = subscribed();
	(void)state;

	assert_int_equal(t.logc, 1);
	raw(ent, ent->tag, ++ent->cseq, "dialog", "active", DI,
	    "<dialog-info version=\"9\" state=\"partial\"><dialog id=\"2\">"
	    "<state>early</state></dialog></dialog-info>");
	assert_int_equal(answer(ent), 200);
	assert_string_equal(info_of(0).value, "ringing");

	/* all is asked for */
	wait_log(2);
	assert_true(t.logv[1].indialog);
	assert_int_equal(t.logv[1].expires, 600);
}


static void list_members(void **state)
{
	struct ent *ent;
	(void)state;

	start(config());
	(void)aa_subs_add(t.subs, "dialog", "team");
	t.srvv[0].ctype = "multipart/related;boundary=b";
	t.srvv[0].body =
		"--b\r\nContent-Type: application/rlmi+xml\r\n\r\n<list "
		"uri=\"sip:team@a\" version=\"0\" fullState=\"true\"><resource"
		" uri=\"sip:1@a\"><name>One</name><instance id=\"i\" state=\""
		"active\" cid=\"1\"/></resource><resource uri=\"sip:2@a\"/>"
		"</list>\r\n--b\r\nContent-ID: <1>\r\nContent-Type: " DI
		"\r\n\r\n<dialog-info version=\"0\" state=\"full\"><dialog "
		"id=\"1\"><state>confirmed</state></dialog></dialog-info>\r\n"
		"--b--\r\n";
	go(0, false);
	wait_value("2 members");
	ent = newest();
	assert_int_equal(answer(ent), 200);

	assert_true(info_of(1).member);
	assert_string_equal(info_of(1).uri, "sip:1@a");
	assert_string_equal(info_of(1).label, "One");
	assert_string_equal(info_of(1).value, "busy");
	assert_int_equal(info_of(1).state, AA_SUB_ACTIVE);
	assert_string_equal(info_of(2).uri, "sip:2@a");
	assert_string_equal(info_of(2).value, "");
	assert_int_equal(events(AA_SUB_EV_VALUE), 1);

	/* a move where nothing is known at first: nobody goes dark */
	t.srvv[1].ctype = t.srvv[0].ctype;
	t.srvv[1].body =
		"--b\r\nContent-Type: application/rlmi+xml\r\n\r\n<list "
		"uri=\"sip:team@a\" version=\"0\" fullState=\"true\"><resource"
		" uri=\"sip:1@a\"/></list>\r\n--b--\r\n";
	go(1, false);
	wait_value("1 members");
	assert_string_equal(info_of(1).value, "busy");
	assert_string_equal(info_of(1).label, "One");
	assert_int_equal(info_of(1).rank, AA_RANK_BACKUP);
}


/* ---- Moving ----------------------------------------------------------- */


static void move_make_before_break(void **state)
{
	struct ent *old, *fresh;
	(void)state;

	old = subscribed();

	/* the new server takes its time */
	t.srvv[1].silent = true;
	go(1, true);
	wait_log(2);
	assert_int_equal(t.logv[1].srv, 1);
	fresh = newest();
	pass(50);
	assert_int_equal(t.logc, 2);
	assert_true(aa_subs_leaving(t.subs));

	/* the old one is still in force */
	assert_int_equal(info_of(0).rank, AA_RANK_PRIMARY);
	assert_int_equal(info_of(0).state, AA_SUB_ACTIVE);
	assert_string_equal(info_of(0).value, "busy");
	lamp(old, "early");
	assert_int_equal(answer(old), 200);
	assert_string_equal(info_of(0).value, "ringing");

	/* until the new one speaks */
	t.evc = 0;
	lamp(fresh, "terminated");
	wait_value("idle");
	assert_int_equal(info_of(0).rank, AA_RANK_BACKUP);
	assert_int_equal(events(AA_SUB_EV_MOVED), 1);
	assert_string_equal(event_text(AA_SUB_EV_MOVED),
			    "dialog sip:200@b.example");

	/* what the old one says now is late */
	lamp(old, "confirmed");
	assert_int_equal(answer(old), 200);
	assert_string_equal(info_of(0).value, "idle");

	/* it is unsubscribed, once */
	assert_true(run(has_ended, old, WAIT_MS));
	wait_event(AA_SUB_EV_SETTLED, 1);
	assert_false(aa_subs_leaving(t.subs));
	assert_int_equal(t.logc, 3);
	assert_int_equal(t.logv[2].srv, 0);
	assert_int_equal(t.logv[2].expires, 0);
	assert_int_equal(t.strays, 0);
	assert_int_equal(events(AA_SUB_EV_STATE), 0);
}


static void move_empty_notify(void **state)
{
	(void)state;

	(void)subscribed();
	t.srvv[1].body = "";
	go(1, true);
	assert_true(run(has_ended, &t.entv[0], WAIT_MS));
	assert_int_equal(info_of(0).rank, AA_RANK_BACKUP);
	assert_string_equal(info_of(0).value, "busy");
}


static void move_says_nothing(void **state)
{
	(void)state;

	start(config());
	(void)aa_subs_add(t.subs, "as-feature-event", "");
	t.srvv[0].ctype = t.srvv[1].ctype =
		"application/x-as-feature-event+xml";
	t.srvv[0].body = "<DoNotDisturbEvent><doNotDisturbOn>true"
		"</doNotDisturbOn></DoNotDisturbEvent>";
	go(0, false);
	wait_value("dnd=on");

	/* what the new server says is about something else */
	t.srvv[1].body = "<CallCenterEvent/>";
	go(1, true);
	assert_true(run(has_ended, &t.entv[0], WAIT_MS));
	assert_int_equal(info_of(0).rank, AA_RANK_BACKUP);
	assert_string_equal(info_of(0).value, "dnd=on");
}


static void move_from_dead(void **state)
{
	struct ent *old = subscribed();
	(void)state;

	t.srvv[1].body = lamp_body("early");
	t.evc = 0;
	go(1, false);

	/* no moment is it unknown */
	assert_string_equal(info_of(0).value, "busy");
	wait_value("ringing");
	pass(100);
	assert_false(aa_subs_leaving(t.subs));
	assert_int_equal(info_of(0).rank, AA_RANK_BACKUP);

	/* nothing was sent to the dead */
	assert_int_equal(t.logc, 2);
	assert_int_equal(t.logv[1].srv, 1);
	assert_int_equal(events(AA_SUB_EV_STATE), 0);

	/* it was only asleep */
	lamp(old, "terminated");
	assert_int_equal(answer(old), 481);
	assert_string_equal(info_of(0).value, "ringing");
}


static void move_back_clears(void **state)
{
	(void)state;

	(void)subscribed();
	go(1, false);
	assert_true(run(has_value, "busy", 100));
	wait_log(2);
	pass(20);

	/* home again: what was left behind there is taken back */
	go(0, true);
	assert_true(run(has_ended, &t.entv[0], WAIT_MS));
	assert_true(run(has_ended, &t.entv[1], WAIT_MS));
	pass(20);
	assert_int_equal(t.logc, 5);
	assert_false(t.entv[2].ended);
	assert_int_equal(info_of(0).rank, AA_RANK_PRIMARY);
	assert_int_equal(info_of(0).state, AA_SUB_ACTIVE);
}


static void move_clears_over_another(void **state)
{
	(void)state;

	/* two edges, one server behind them: the AOR stays */
	start(config());
	(void)aa_subs_add(t.subs, "dialog", "200");
	t.srvv[0].auth = t.srvv[1].auth = true;
	go_as(0, "sip:100@a.example", false, 1);
	wait_state(0, AA_SUB_ACTIVE);
	pass(5);
	assert_int_equal(t.logc, 2);

	go_as(1, "sip:100@a.example", false, 1);
	assert_true(run(has_ended, &t.entv[0], WAIT_MS));
	pass(20);

	/* with the Call-ID of the old one, and its CSeq going on, over the new
	   way */
	assert_int_equal(t.logc, 5);
	assert_int_equal(t.logv[4].srv, 1);
	assert_int_equal(t.logv[4].expires, 0);
	assert_string_equal(t.logv[4].callid, t.logv[0].callid);
	assert_true(t.logv[4].cseq > t.logv[1].cseq);
	assert_false(t.entv[1].ended);
	assert_int_equal(t.strays, 0);
}


/* Sent into a path that was dead then, and alive again now */
static void move_late_notify(void **state)
{
	struct ent *ent;
	(void)state;

	(void)subscribed();
	go(1, true);
	assert_true(run(has_ended, &t.entv[0], WAIT_MS));
	warp(10);
	pass(2000);
	warp(1);

	/* no 481, which ends more than that dialog at some servers */
	ent = &t.entv[0];
	ent->scode = 0;
	lamp(ent, "terminated");
	assert_int_equal(answer(ent), 200);
	assert_string_equal(info_of(0).value, "busy");
	assert_int_equal(t.strays, 0);

	/* no subscription has ever had this tag */
	ent->scode = 0;
	ent->callid[0] ^= 1;
	lamp(ent, "terminated");
	assert_int_equal(answer(ent), 481);
	assert_int_equal(t.strays, 1);
}


static void move_new_never_speaks(void **state)
{
	(void)state;

	(void)subscribed();
	t.srvv[1].scode = 403;
	warp(10);
	go(1, true);
	assert_true(run(has_ended, &t.entv[0], 600));

	/* not forever, and it is said; the answer may come after the end of
	   the old one, as the two go different ways */
	wait_state(0, AA_SUB_TERMINATED);
	warp(1);
	assert_string_equal(info_of(0).value, "busy");
	assert_non_null(strstr(info_of(0).error, "403"));
}


static void move_other_connection(void **state)
{
	(void)state;

	(void)subscribed();

	/* the same again: nothing */
	go(0, true);
	pass(30);
	assert_int_equal(t.logc, 1);

	/* another connection to the same server */
	go_as(0, "sip:100@a.example", true, 2);
	assert_true(run(has_ended, &t.entv[0], WAIT_MS));
	assert_int_equal(t.logc, 3);
	assert_false(t.entv[1].ended);
}


static void move_to_and_fro(void **state)
{
	unsigned i, alive = 0;
	(void)state;

	(void)subscribed();
	for (i=0; i<10; i++) {
		go(1, true);
		pass(i);
		go(0, true);
		pass(i);
	}

	wait_event(AA_SUB_EV_MOVED, 1);
	pass(300);
	assert_false(aa_subs_leaving(t.subs));

	for (i=0; i<t.entc; i++)
		alive += !t.entv[i].ended && t.entv[i].scode == 200;
	assert_int_equal(alive, 1);
	assert_false(newest()->ended);
	assert_ptr_equal(newest()->srv, &t.srvv[0]);
	assert_int_equal(info_of(0).state, AA_SUB_ACTIVE);
	assert_string_equal(info_of(0).value, "busy");
}


static void suspended(void **state)
{
	struct ent *ent;
	(void)state;

	t.srvv[0].grant = 20;
	ent = subscribed();
	t.evc = 0;
	aa_subs_suspend(t.subs);
	assert_int_equal(info_of(0).state, AA_SUB_PENDING);
	assert_string_equal(info_of(0).value, "busy");
	(void)aa_subs_add(t.subs, "dialog", "201");

	/* nothing is sent, however long it lasts; but what comes is heard */
	warp(100);
	pass(100);
	lamp(ent, "early");
	assert_int_equal(answer(ent), 200);
	pass(200);
	warp(1);
	assert_int_equal(t.logc, 1);
	assert_string_equal(info_of(0).value, "ringing");
	assert_int_equal(events(AA_SUB_EV_STATE), 0);

	go(0, true);
	wait_state(0, AA_SUB_ACTIVE);
	wait_state(1, AA_SUB_ACTIVE);
}


static void suspended_dead_and_back(void **state)
{
	(void)state;

	(void)subscribed();
	aa_subs_suspend(t.subs);
	aa_subs_suspend(t.subs);
	assert_int_equal(aa_subs_remove(t.subs, "dialog", "200"), 0);
	(void)aa_subs_add(t.subs, "dialog", "201");
	go(0, false);
	wait_state(0, AA_SUB_ACTIVE);

	/* even what was removed meanwhile is taken back */
	assert_true(run(has_ended, &t.entv[0], WAIT_MS));
}


/* ---- Many ------------------------------------------------------------- */


static bool all_ranked(const void *arg)
{
	const enum aa_rank *rank = arg;
	unsigned i;

	for (i=0; i<100; i++) {
		const struct aa_sub_info si = info_of(i);

		if (si.state != AA_SUB_ACTIVE || si.rank != *rank)
			return false;
	}

	return true;
}


/* Returns when they were told to */
static uint64_t hundred_lamps_move(uint32_t rate)
{
	struct aa_line_config cfg = *config();
	uint64_t begun;
	enum aa_rank rank = AA_RANK_PRIMARY;
	char user[16];
	unsigned i;

	/* nothing is asked for twice because the machine is busy */
	t.transaction = 30000;
	cfg.subscription_rate = rate;
	start(&cfg);
	for (i=0; i<100; i++) {
		(void)snprintf(user, sizeof(user), "%u", 1000 + i);
		assert_int_equal(aa_subs_add(t.subs, "dialog", user), 0);
	}
	t.srvv[0].body = t.srvv[1].body = lamp_body("confirmed");
	go(0, false);
	assert_true(run(all_ranked, &rank, WAIT_MS));

	t.logc = 0;
	rank = AA_RANK_BACKUP;
	begun = clock_ms();
	go(1, false);
	assert_true(run(all_ranked, &rank, 6000));
	assert_int_equal(t.logc, 100);
	assert_int_equal(events(AA_SUB_EV_MOVED), 1);
	assert_string_equal(event_text(AA_SUB_EV_MOVED), "100 subscriptions");

	return begun;
}


static void hundred_lamps(void **state)
{
	unsigned i, j;
	(void)state;

	(void)hundred_lamps_move(0);

	/* in any 200 ms: what may begin at once, and what was refilled */
	for (i=0; i<t.logc; i++) {
		for (j=i; j<t.logc && t.logv[j].t < t.logv[i].t + 200; j++)
			;
		assert_true(j - i <= 50 + 200 / 20 + 4);
	}
}


/* A rate that does not divide a second is not exceeded either */
static void hundred_lamps_soon(void **state)
{
	uint64_t begun;
	(void)state;

	begun = hundred_lamps_move(600);
	assert_true(t.logv[99].t - begun >= (100 - 50 - 1) * 1000 / 600);
}


/* ---- The end ---------------------------------------------------------- */


static void end_waits(void **state)
{
	struct ent *ent;
	(void)state;

	t.srvv[0].auth = true;
	ent = subscribed();

	/* the stack is still needed */
	aa_subs_end(t.subs, &t.farewelll);
	t.subs = NULL;
	assert_int_equal(list_count(&t.farewelll), 1);
	assert_int_equal(mem_nrefs(t.sip), 2);

	/* even where it has to say again who it is */
	++t.srvv[0].nonce;
	assert_true(run(has_ended, ent, 500));
	pass(700);
	assert_true(list_isempty(&t.farewelll));
	assert_int_equal(mem_nrefs(t.sip), 1);
}


static void end_gives_up(void **state)
{
	const uint64_t begun = clock_ms();
	(void)state;

	(void)subscribed();
	t.srvv[0].scode = 1;
	aa_subs_end(t.subs, &t.farewelll);
	t.subs = NULL;
	while (!list_isempty(&t.farewelll) && clock_ms() - begun < WAIT_MS)
		pass(20);
	assert_true(clock_ms() - begun < 10000);
	assert_int_equal(mem_nrefs(t.sip), 1);
}


static void end_now(void **state)
{
	struct ent *ent = subscribed();
	(void)state;

	aa_subs_end(t.subs, NULL);
	t.subs = NULL;
	assert_true(run(has_ended, ent, 500));
	assert_int_equal(t.logv[1].expires, 0);
	pass(20);
}


static void end_without_service(void **state)
{
	(void)state;

	(void)subscribed();
	aa_subs_suspend(t.subs);
	aa_subs_end(t.subs, &t.farewelll);
	t.subs = NULL;
	assert_true(list_isempty(&t.farewelll));
	pass(20);
	assert_int_equal(t.logc, 1);
}


static void nothing(void **state)
{
	(void)state;

	assert_false(aa_subs_notify(NULL, NULL));
	assert_false(aa_subs_leaving(NULL));
	assert_false(aa_subs_apply(NULL, search_handler, NULL));
	assert_int_equal(aa_subs_path_set(NULL, NULL), EINVAL);
	assert_int_equal(aa_subs_add(NULL, "dialog", "1"), EINVAL);
	assert_int_equal(aa_subs_remove(NULL, "dialog", "1"), EINVAL);
	aa_subs_suspend(NULL);
	aa_subs_end(NULL, NULL);

	start(config());
	go(0, false);
	pass(10);
	assert_int_equal(t.logc, 0);
	assert_string_equal(aa_sub_state_name(AA_SUB_ACTIVE), "active");
}


#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)


int main(void)
{
	const struct CMUnitTest testv[] = {
		TEST(nothing),
		TEST(subscribe_dialog),
		TEST(subscribe_from_config),
		TEST(notify_before_2xx),
		TEST(pending_state),
		TEST(uris),
		TEST(refreshed),
		TEST(removed),
		TEST(digest),
		TEST(digest_once),
		TEST(digest_wrong),
		TEST(digest_stale),
		TEST(refusals),
		TEST(refused_grows),
		TEST(no_answer),
		TEST(min_expires),
		TEST(refresh_481),
		TEST(refresh_fails),
		TEST(expires_unrefreshed),
		TEST(no_notify),
		TEST(no_contact_in_2xx),
		TEST(reasons),
		TEST(rejected_tried_on_another_path),
		TEST(ended_again_and_again),
		TEST(notify_refused),
		TEST(notify_order),
		TEST(notify_of_others),
		TEST(terminated_with_bad_body),
		TEST(partial_gap),
		TEST(list_members),
		TEST(move_make_before_break),
		TEST(move_empty_notify),
		TEST(move_says_nothing),
		TEST(move_from_dead),
		TEST(move_back_clears),
		TEST(move_clears_over_another),
		TEST(move_late_notify),
		TEST(move_new_never_speaks),
		TEST(move_other_connection),
		TEST(move_to_and_fro),
		TEST(suspended),
		TEST(suspended_dead_and_back),
		TEST(hundred_lamps),
		TEST(hundred_lamps_soon),
		TEST(end_waits),
		TEST(end_gives_up),
		TEST(end_now),
		TEST(end_without_service),
	};

	return cmocka_run_group_tests(testv, NULL, NULL);
}
