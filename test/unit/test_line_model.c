/**
 * @file test_line_model.c  A model of a line and of the world around it
 *
 * line.c, policy.c and journal.c are the real ones.  All that line.c calls is
 * played by this file: a clock that only moves when the test says so, a
 * network that delays and loses packets and keeps TCP connections, servers
 * that are up, refuse, swallow, hang, or say 503 or 403, registrars that keep
 * bindings as Kamailio does, and flow.c and binding.c as their headers
 * promise them.  Nothing is sent and nothing is waited for, so that a million
 * steps take a minute.
 *
 * An episode is a way to set everything up and a list of actions.  After each
 * event the line is held against design.md 5: a line with a server that works
 * has a live binding, without the shortest gap where nothing fails (5.1), no
 * path removes the binding of another and none is left behind (5.2), the
 * number of REGISTERs and of moves is bounded (5.4), what the line says is what
 * the registrar has (5.5).  And it does not move when held, does not go home
 * when it must not, and comes to rest where the policy wants it.  With standby
 * 2 it is registered twice where it can be, and does not take away the last of
 * that itself.  All of it holds while settings change, too: servers change
 * places, backups come and go, with them the policy and who the line is.
 *
 * A story ends in one of four ways: everything works again and comes to rest
 * before the line ends or the module goes, or they do so as things are.  What
 * the phone can reach then has none of its bindings left.
 *
 * Three kinds of episodes: all ways from one state of the servers to another,
 * for each topology, on UDP and TCP, with outbound and without (--walks: how
 * many times); a mind that changes while everything works (as often); and
 * chance (--steps).
 *
 *     test_line_model [--seed N] [--steps N] [--seconds N] [--walks N]
 *                     [--only EPISODE] [--verbose]
 *
 * What breaks is replayed with fewer and fewer actions, and the shortest
 * story that still breaks is printed with all that went over the wire.  The
 * seed is printed always; with `--seed N --only EPISODE` one is run again.
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
#include <getopt.h>
#include <cmocka.h>
#include <re.h>
#include "aastra_baresip.h"
#include "compat.h"
#include "request.h"
#include "flow.h"
#include "binding.h"
#include "account.h"
#include "callmove.h"
#include "line.h"
#include "subscription.h"
#include "contact.h"
#include "said.h"


#define P AA_RANK_PRIMARY
#define B AA_RANK_BACKUP

#define OUTBOUND  AA_ROLE_OUTBOUND
#define PROXY     AA_ROLE_PROXY
#define REGISTRAR AA_ROLE_REGISTRAR

enum {
	HOSTS       = 6,
	NOBODY      = -1,
	STORES      = 2,
	RECORDS     = 64,
	LINES       = 3,
	PARTING     = 32,       /* bindings of lines that end               */
	ACTIONS     = 80,
	ANSWERED    = 128,      /* requests that servers remember           */
	T1          = 500,      /* RFC 3261 17.1.2.2                        */
	T2          = 4000,
	TIMER_F     = 32000,
	PROXY_WAIT  = 4000,     /* of an edge for a registrar (fr_timer)    */
	FAREWELL    = 1500,     /* as in binding.c                          */
	BACKOFF_MAX = 16,
	HOLD_MAX    = 300000,   /* as in line.c                             */
	SPINS_MAX   = 5000,     /* events in one instant                    */
	LOOK        = 1,        /* until a line sees what its flow did      */
	MINUTE      = 60000,
	RING        = 256,

	/* what 5.4 allows, measured and rounded up; see check_rate()       */
	EXCHANGES_PER_MINUTE = 36,
	REGISTERS_PER_MINUTE = 120
};


/* ---- chance ----------------------------------------------------------- */


enum chance {
	PLAN = 0,               /* what shall happen                        */
	WORLD,                  /* how long it takes, and what gets lost    */
	CHANCES
};

static uint64_t chance[CHANCES];


static uint32_t rnd(enum chance which, uint32_t n)
{
	uint64_t z = (chance[which] += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	z ^= z >> 31;

	return n ? (uint32_t)((z >> 32) % n) : 0;
}


static bool percent(enum chance which, uint32_t p)
{
	return rnd(which, 100) < p;
}


/* line.c asks for jitter */
uint16_t rand_u16(void)
{
	return (uint16_t)rnd(WORLD, 65536);
}


/* ---- the world -------------------------------------------------------- */


enum host_state {
	WORKS = 0,
	REFUSES,                /* no process: RST, ICMP unreachable        */
	SWALLOWS,               /* a black hole                             */
	HANGS,                  /* takes everything, does nothing           */
	SAYS_503,
	SAYS_403,
	HOST_STATES
};

static const char *const host_statev[] = {
	"works", "refuses", "swallows", "hangs", "says 503", "says 403"
};

enum kind {
	OPTIONS = 0,
	REGISTER,
	CRLF,
	RST
};

struct msg {
	enum kind kind;
	unsigned id;            /* of the request                           */
	int hop;                /* where it is sent to                      */
	int target;             /* host of the Request-URI                  */
	unsigned line;
	int domain;             /* host in the AOR                          */
	unsigned owner;         /* binding that sent it                     */
	unsigned regid;
	unsigned callid;
	unsigned cseq;
	unsigned boot;          /* the user part of Contact changes with it */
	unsigned life;          /* of the phone                             */
	uint64_t sent;
	uint32_t expires;
	bool instance;
	bool authed;
};

struct resp {
	int err;
	uint16_t scode;
	uint32_t retry_after;
	uint32_t expires;
	unsigned nat;
	bool outbound;
};

/** A message on its way, or in some queue */
struct pkt {
	struct le le;
	struct tmr tmr;
	struct msg m;
	struct resp r;
	uint64_t sent;
	unsigned conn;
	bool early;             /* the connection was not there yet         */
};

struct conn {
	struct list q;
	struct tmr tmr;
	uint64_t wait;
	unsigned id;
	unsigned epoch;
	bool active;
	bool up;
};

struct host {
	struct conn conn;       /* from the phone                           */
	struct list hanging;    /* what it has taken and not looked at      */
	enum host_state st;
	unsigned epoch;         /* process                                  */
	unsigned nat;           /* how it sees the phone, UDP               */
	uint64_t down_at;       /* until when a flow to it was down         */
	uint64_t to_at;         /* packets do not overtake one another      */
	uint64_t from_at;
};

/** A binding at a registrar */
struct record {
	bool used;
	int store;
	int hop;
	int reg;
	int target;
	unsigned line;
	int domain;
	unsigned owner;
	unsigned regid;
	unsigned callid;
	unsigned cseq;
	unsigned boot;
	unsigned life;
	bool instance;
	uint64_t until;
	uint64_t known_until;   /* as the phone may think                   */
	bool late;              /* made when nobody waited for it any more  */
	bool vain;              /* a farewell did not work                  */
	uint64_t left_since;    /* could be removed, and is not             */
};

/** How a story ends */
enum ending {
	ENDS_WELL = 0,          /* all works, everything is at rest, end    */
	ENDS_WELL_TOO,
	ENDS_AT_ONCE,           /* the line ends as things are              */
	UNLOADED_AT_ONCE,       /* the module goes, as things are           */
	ENDINGS
};

/** Which servers there are */
struct topology {
	const char *name;
	enum aa_scenario scenario;
	int8_t server[AA_ROLE_COUNT][AA_RANK_COUNT];
	int8_t store[HOSTS];    /* of a registrar, else NOBODY              */
	uint8_t final;          /* hosts that never pass a REGISTER on      */
	bool can_share;         /* both registrars may have one data base   */
};

/** How everything is set up */
struct setup {
	const struct topology *topo;
	enum sip_transp tp;
	enum aa_failback failback;
	bool outbound;
	bool flow_timer;        /* servers say Require: outbound            */
	bool auth;
	bool shared;
	bool user_only;         /* registrars ignore the domain             */
	bool strict;            /* a lower CSeq is refused with reg-id too  */
	bool overtake;          /* UDP: a server's processes take requests
				   in another order                         */
	bool options_ok;        /* a 503 is only for REGISTER               */
	unsigned standby;
	unsigned lines;
	unsigned loss;          /* percent, UDP                             */
	unsigned latency;       /* most, one way [ms]                       */
	unsigned retry_after;   /* with 503 [s]                             */
	uint32_t keepalive;
	uint32_t transaction;
	uint32_t base;
	uint32_t max;
	uint32_t delay;
	uint32_t successes;
	uint32_t period;
	uint32_t renewal;
	uint32_t retry;
	enum aa_rank warm;      /* in force before the restart              */
};

/** What is known of a line by looking at it */
struct watch {
	struct aa_line *line;
	struct aa_account *acc;
	uint64_t gap_since;     /* no live binding anywhere                 */
	uint64_t well_since;    /* has a live binding, and nothing fails    */
	uint64_t lie_since;     /* says registered, and is not              */
	uint64_t late_since;    /* is registered, and does not say so       */
	uint64_t mode_since;
	uint64_t calls_since;
	uint64_t moved_at;
	uint32_t moves;
	enum aa_rank use[AA_ROLE_COUNT];
	uint64_t pen_down[AA_RANK_COUNT]; /* when the flow was last down    */
	uint64_t pen_up[AA_RANK_COUNT]; /* since when it is not any more    */
	uint64_t pen_seen;      /* of the backup, an instant ago            */
	uint64_t told_at;       /* it said to be in service where it is     */
	uint64_t sentv[RING];   /* REGISTERs                                */
	uint64_t exchv[RING];   /* of these, first ones of an exchange      */
	uint64_t movev[RING];
	unsigned sent;
	unsigned exch;
	unsigned moven;
	uint64_t asked_at;      /* the user wanted a REGISTER               */
	uint64_t forgotten_at;  /* a REGISTER that came late did that, and
				   only the server's return shows it        */
	unsigned boot;          /* user part of its Contact                 */
	unsigned replaced;      /* the last binding of earlier settings     */
};

static struct {
	struct setup set;
	struct host hostv[HOSTS];
	struct record recordv[RECORDS];
	struct watch watchv[LINES];
	struct aa_phone phone;
	struct list airl;
	struct list reql;
	struct {
		unsigned id;
		uint64_t at;
		struct resp r;
	} answerv[ANSWERED];
	unsigned answers;
	unsigned ids;
	unsigned lives;         /* with each one it starts from nothing     */
	unsigned changes;       /* of the world                             */
	unsigned bindings;
	struct resp rx;         /* what is being handed up                  */
	enum ending ending;
	struct {
		unsigned owner; /* a binding that a farewell can reach      */
		uint64_t at;    /* when it was said                         */
		unsigned changes;
	} partingv[PARTING];
	bool late;              /* the edge has answered for the registrar  */
	bool unloads;           /* nobody waits for an answer               */
	bool closing;           /* the story is over                        */
	struct topology topo;   /* as they are now                          */
	struct setup first;     /* the settings that it began with          */
	uint64_t ok_since[AA_RANK_COUNT];
	uint64_t changed_at;
	uint64_t fault_at;      /* something failed, or seemed to; 0: never */
	uint64_t refused_at;    /* latest 403                               */
	uint64_t detect;        /* a dead path is noticed within            */
	uint64_t recover;       /* a line with a good path is back within   */
	uint64_t settle;        /* everything is where it shall be within   */
	bool link_down;
	bool verbose;
	char bad[512];          /* what broke first                         */
	char what[32];
	int alive;              /* objects of the fakes                     */
} w;

static struct {
	unsigned long long steps, episodes, events, registers, moves, settled;
	uint64_t registers_max, exchanges_max, moves_max, gap_max, gap_bound;
	double share_max;       /* of the time that 5.1 allows              */
} total;

static struct {
	struct list tmrl;
	uint64_t began;         /* not with the host, as a rule              */
	uint64_t now;
	uint64_t last;
	unsigned spins;
} vclock;

static uint64_t fnow(void)
{
	return vclock.now - vclock.began;
}


static void say(const char *fmt, ...)
{
	char buf[512];
	va_list ap;

	if (!w.verbose)
		return;

	va_start(ap, fmt);
	if (re_vsnprintf(buf, sizeof(buf), fmt, ap) < 0)
		buf[sizeof(buf) - 1] = '\0';
	va_end(ap);

	print_message("%9llu.%03u  %s\n",
		      (unsigned long long)(fnow() / 1000),
		      (unsigned)(fnow() % 1000), buf);
}


/* The first thing that breaks ends the episode */
static void broken(const char *what, const char *fmt, ...)
{
	va_list ap;

	if (w.bad[0])
		return;

	(void)re_snprintf(w.what, sizeof(w.what), "%s", what);
	va_start(ap, fmt);
	if (re_vsnprintf(w.bad, sizeof(w.bad), fmt, ap) < 0)
		w.bad[sizeof(w.bad) - 1] = '\0';
	va_end(ap);

	say("BROKEN: %s: %s", w.what, w.bad);
}


/* ---- the clock -------------------------------------------------------- */


static void timer_set(struct tmr *tmr, uint64_t delay, tmr_h *th, void *arg)
{
	struct le *le;

	list_unlink(&tmr->le);
	tmr->th  = th;
	tmr->arg = arg;
	if (!th)
		return;

	tmr->jfs = vclock.now + delay;

	for (le = vclock.tmrl.tail; le; le = le->prev) {
		const struct tmr *t = le->data;

		if (t->jfs <= tmr->jfs)
			break;
	}

	if (le)
		list_insert_after(&vclock.tmrl, le, &tmr->le, tmr);
	else
		list_prepend(&vclock.tmrl, &tmr->le, tmr);
}


#ifdef tmr_start
void tmr_start_dbg(struct tmr *tmr, uint64_t delay, tmr_h *th, void *arg,
		   const char *file, int line)
{
	(void)file;
	(void)line;
	timer_set(tmr, delay, th, arg);
}
#else
void tmr_start(struct tmr *tmr, uint64_t delay, tmr_h *th, void *arg)
{
	timer_set(tmr, delay, th, arg);
}
#endif


uint64_t tmr_get_expire(const struct tmr *tmr)
{
	return tmr->th && tmr->jfs > vclock.now ? tmr->jfs - vclock.now : 0;
}


void tmr_cancel(struct tmr *tmr)
{
	if (tmr)
		timer_set(tmr, 0, NULL, NULL);
}


static void wake_handler(void *arg)
{
	struct aa_wake *wake = arg;
	tmr_h *h = wake->h;

	wake->h = NULL;
	h(wake->arg);
}


void aa_compat_wake(struct aa_wake *wake, uint64_t ms, tmr_h *h, void *arg)
{
	wake->h   = h;
	wake->arg = arg;
	timer_set(&wake->tmr, ms, h ? wake_handler : NULL, wake);
}


void aa_compat_wake_close(struct aa_wake *wake)
{
	aa_compat_wake(wake, 0, NULL, NULL);
}


uint64_t aa_now_ms(void)
{
	return vclock.now;
}


uint64_t aa_now_us(void)
{
	return vclock.now * 1000;
}


uint64_t aa_wall_ms(void)
{
	return 1700000000000ull + vclock.now;
}


static void look(void);


static void clock_run(uint64_t until)
{
	while (vclock.tmrl.head && !w.bad[0]) {
		struct tmr *tmr = vclock.tmrl.head->data;
		tmr_h *th = tmr->th;

		if (tmr->jfs > until)
			break;

		if (tmr->jfs > vclock.now) {
			vclock.now = tmr->jfs;
			vclock.spins = 0;
		}
		else if (++vclock.spins > SPINS_MAX) {
			broken("busy loop", "%u events in one instant",
			       SPINS_MAX);
			return;
		}

		list_unlink(&tmr->le);
		tmr->th = NULL;
		++total.events;
		th(tmr->arg);

		if (!vclock.tmrl.head ||
		    ((struct tmr *)vclock.tmrl.head->data)->jfs > vclock.now)
			look();
	}

	if (!w.bad[0]) {
		vclock.now = until;
		vclock.spins = 0;
		look();
	}
}


/* ---- packets ---------------------------------------------------------- */


typedef void (req_h)(const struct resp *r, void *arg);

struct req {
	struct le le;
	struct req **reqp;
	struct msg m;
	struct tmr tmr_end;
	struct tmr tmr_again;
	uint64_t wait;
	req_h *h;
	void *arg;
};


static void serve(int hop, const struct msg *m, unsigned conn);
static void flows_lost(int hop, unsigned conn, int err);


static void pkt_destructor(void *arg)
{
	struct pkt *pkt = arg;

	list_unlink(&pkt->le);
	tmr_cancel(&pkt->tmr);
	--w.alive;
}


static struct pkt *pkt_alloc(struct list *l, const struct msg *m)
{
	struct pkt *pkt = mem_zalloc(sizeof(*pkt), pkt_destructor);

	if (!pkt)
		abort();

	++w.alive;
	pkt->m    = *m;
	pkt->sent = vclock.now;
	list_append(l, &pkt->le, pkt);

	return pkt;
}


static struct watch *watch_of(unsigned line)
{
	return &w.watchv[line - 1];
}


static uint64_t latency(void)
{
	return rnd(WORLD, w.set.latency + 1);
}


/* One packet after the other */
static uint64_t on_the_way(uint64_t *latest)
{
	const uint64_t at = vclock.now + latency();

	if (w.set.overtake)
		return at - vclock.now;

	*latest = MAX(*latest, at);

	return *latest - vclock.now;
}


static bool lost(void)
{
	return w.set.loss && percent(WORLD, w.set.loss);
}


static struct req *req_find(unsigned id)
{
	struct le *le;

	for (le = w.reql.head; le; le = le->next) {
		struct req *r = le->data;

		if (r->m.id == id)
			return r;
	}

	return NULL;
}


static void req_destructor(void *arg)
{
	struct req *req = arg;

	list_unlink(&req->le);
	tmr_cancel(&req->tmr_end);
	tmr_cancel(&req->tmr_again);
	if (req->reqp)
		*req->reqp = NULL;
	--w.alive;
}


static void req_done(struct req *req, const struct resp *r)
{
	tmr_cancel(&req->tmr_end);
	tmr_cancel(&req->tmr_again);
	list_unlink(&req->le);
	if (req->reqp) {
		*req->reqp = NULL;
		req->reqp = NULL;
	}

	w.rx = *r;
	req->h(r, req->arg);
	mem_deref(req);
}


static void req_failed(unsigned id, int err)
{
	struct req *req = req_find(id);
	struct resp r;

	if (!req)
		return;

	memset(&r, 0, sizeof(r));
	r.err = err;
	req_done(req, &r);
}


static bool reachable(int hop)
{
	return !w.link_down && w.hostv[hop].st != SWALLOWS;
}


/* ---- TCP */


static void back_handler(void *arg);


/* The phone is told that what it wanted to send did not go */
static void bounce(const struct msg *m, int err)
{
	struct pkt *pkt = pkt_alloc(&w.airl, m);

	pkt->r.err = err;
	tmr_start(&pkt->tmr, 0, back_handler, pkt);
}


static void conn_end(int hop, int err)
{
	struct conn *c = &w.hostv[hop].conn;
	const unsigned id = c->id;
	struct le *le;

	if (!c->active)
		return;

	c->active = false;
	tmr_cancel(&c->tmr);

	while ((le = c->q.head)) {
		struct pkt *pkt = le->data;

		if (pkt->early && !c->up)
			bounce(&pkt->m, err);
		mem_deref(pkt);
	}

	c->up = false;
	flows_lost(hop, id, err);
}


/* Closed by the phone itself */
static void conn_abort(int hop)
{
	struct conn *c = &w.hostv[hop].conn;

	c->id = c->active ? c->id : 0;
	conn_end(hop, ECONNABORTED);
}


static void conn_handler(void *arg)
{
	struct host *h = arg;
	struct conn *c = &h->conn;
	const int hop = (int)(h - w.hostv);
	const unsigned id = c->id;
	struct le *le;

	if (!c->active)
		return;

	if (!reachable(hop)) {
		const struct pkt *pkt = list_ledata(c->q.head);

		/* TCP_USER_TIMEOUT */
		if (pkt && vclock.now - pkt->sent >= w.set.transaction) {
			conn_end(hop, ETIMEDOUT);
			return;
		}

		c->wait = MIN(2 * MAX(c->wait, c->up ? 200ull : 1000ull),
			      5000ull);
		if (pkt)
			c->wait = MIN(c->wait, pkt->sent + w.set.transaction -
				      vclock.now);
		tmr_start(&c->tmr, c->wait, conn_handler, h);
		return;
	}

	c->wait = 0;
	if (h->st == REFUSES) {
		conn_end(hop, c->up ? ECONNRESET : ECONNREFUSED);
		return;
	}

	if (c->up && c->epoch != h->epoch) {
		conn_end(hop, ECONNRESET);
		return;
	}

	c->up = true;
	c->epoch = h->epoch;

	while (c->active && c->id == id && (le = c->q.head)) {
		struct pkt *pkt = le->data;
		const struct msg m = pkt->m;
		const bool gone = pkt->early && !req_find(m.id);

		mem_deref(pkt);

		/* what was ended before it could be written is not written */
		if (!gone)
			serve(hop, &m, id);
	}
}


/* What the kernel had to send when the connection was closed */
static void sent_before_fin(void *arg)
{
	struct pkt *pkt = arg;
	const struct msg m = pkt->m;
	const unsigned id = pkt->conn;
	const struct host *h = &w.hostv[m.hop];
	const bool same = h->conn.epoch == h->epoch;

	mem_deref(pkt);
	if (same && reachable(m.hop) && h->st != REFUSES)
		serve(m.hop, &m, id);
}


/* The same, but what is queued goes before the end */
static void conn_close(int hop)
{
	struct conn *c = &w.hostv[hop].conn;
	struct le *le;

	while (c->active && c->up && (le = c->q.head)) {
		const struct pkt *queued = le->data;
		struct pkt *pkt = pkt_alloc(&w.airl, &queued->m);

		pkt->conn = c->id;
		tmr_start(&pkt->tmr, latency(), sent_before_fin, pkt);
		mem_deref(le->data);
	}

	conn_abort(hop);
}


static void conn_push(int hop, const struct msg *m)
{
	struct host *h = &w.hostv[hop];
	struct conn *c = &h->conn;
	struct pkt *pkt;

	if (!c->active) {
		c->active = true;
		c->up     = false;
		c->id     = ++w.ids;
		c->wait   = 0;
	}

	pkt = pkt_alloc(&c->q, m);
	pkt->early = !c->up;
	if (!tmr_isrunning(&c->tmr))
		tmr_start(&c->tmr, latency(), conn_handler, h);
}


/* ---- both ways */


static void arrive_handler(void *arg)
{
	struct pkt *pkt = arg;
	const struct msg m = pkt->m;
	struct host *h = &w.hostv[m.hop];

	if (m.kind == RST) {
		const unsigned conn = pkt->conn;

		mem_deref(pkt);
		if (h->conn.active && h->conn.id == conn)
			conn_end(m.hop, ECONNRESET);
		return;
	}

	mem_deref(pkt);
	if (!reachable(m.hop))
		return;

	if (h->st == REFUSES) {
		/* only flow.c's own socket hears of it */
		if (m.kind == OPTIONS && m.target == m.hop)
			bounce(&m, ECONNREFUSED);
		return;
	}

	serve(m.hop, &m, 0);
}


static int transmit(const struct msg *m)
{
	struct host *h = &w.hostv[m->hop];
	struct pkt *pkt;

	if (w.set.tp != SIP_TRANSP_UDP) {
		if (w.link_down && !(h->conn.active && h->conn.up))
			return ENETUNREACH;

		conn_push(m->hop, m);
		return 0;
	}

	if (w.link_down)
		return ENETUNREACH;
	if (lost())
		return 0;

	pkt = pkt_alloc(&w.airl, m);
	tmr_start(&pkt->tmr, on_the_way(&h->to_at), arrive_handler, pkt);

	return 0;
}


static void end_handler(void *arg)
{
	struct req *req = arg;

	req_failed(req->m.id, ETIMEDOUT);
}


static void again_handler(void *arg)
{
	struct req *req = arg;

	(void)transmit(&req->m);
	req->wait = MIN(2 * req->wait, (uint64_t)T2);
	tmr_start(&req->tmr_again, req->wait, again_handler, req);
}


static int req_send(struct req **reqp, struct msg *m, uint32_t timeout,
		    req_h *h, void *arg)
{
	struct req *req;
	int err;

	m->id = ++w.ids;

	err = transmit(m);
	if (err)
		return err;

	req = mem_zalloc(sizeof(*req), req_destructor);
	if (!req)
		abort();

	++w.alive;
	req->m    = *m;
	req->h    = h;
	req->arg  = arg;
	req->wait = T1;
	list_append(&w.reql, &req->le, req);
	tmr_start(&req->tmr_end, timeout, end_handler, req);
	if (w.set.tp == SIP_TRANSP_UDP && m->kind != CRLF)
		tmr_start(&req->tmr_again, T1, again_handler, req);

	req->reqp = reqp;
	*reqp = req;

	return 0;
}


static void back_handler(void *arg)
{
	struct pkt *pkt = arg;
	struct host *h = &w.hostv[pkt->m.hop];
	const unsigned id = pkt->m.id;
	struct resp r = pkt->r;
	struct req *req;

	if (!r.err && w.set.tp != SIP_TRANSP_UDP) {
		if (!h->conn.active || h->conn.id != pkt->conn) {
			mem_deref(pkt);
			return;
		}

		if (!reachable(pkt->m.hop)) {
			tmr_start(&pkt->tmr, 200, back_handler, pkt);
			return;
		}
	}
	else if (!r.err && !reachable(pkt->m.hop)) {
		mem_deref(pkt);
		return;
	}

	mem_deref(pkt);
	req = req_find(id);
	if (!req)
		return;

	r.nat = h->nat;
	req_done(req, &r);
}


static void reply(const struct msg *m, const struct resp *r, unsigned conn,
		  uint64_t later)
{
	struct host *h = &w.hostv[m->hop];
	struct pkt *pkt;

	if (w.set.tp == SIP_TRANSP_UDP && lost())
		return;

	pkt = pkt_alloc(&w.airl, m);
	pkt->r    = *r;
	pkt->conn = conn;
	tmr_start(&pkt->tmr, on_the_way(&h->from_at) + later, back_handler,
		  pkt);
}


/* ---- registrars ------------------------------------------------------- */


static struct aa_line *line_of(unsigned n)
{
	return n >= 1 && n <= LINES ? w.watchv[n - 1].line : NULL;
}


static unsigned owner_of(const struct aa_path *path);
static bool works(int host);
static const struct aa_binding *binding_of(const struct aa_path *path);


/* The line that has the binding in force: itself, or what it replaces */
static const struct aa_line *line_in_force(unsigned n)
{
	const struct aa_line *line = line_of(n);

	while (line && line->old && !(line->cur && line->cur->registered))
		line = line->old;

	return line;
}


static bool in_force(const struct record *rec)
{
	const struct aa_line *line = line_in_force(rec->line);

	return line && line->cur && line->cur->registered &&
		owner_of(line->cur) == rec->owner;
}


/*
 * A server that was stopped for minutes does what it was asked before, and
 * there is nothing that a phone can do about it: that is left out.
 */
static bool spared(const struct record *rec, const struct msg *m)
{
	return in_force(rec) && vclock.now - m->sent > TIMER_F;
}


/* The binding that a line counts on is gone, and it did not ask for that */
static void check_removal(const struct record *rec, const struct msg *m)
{
	const struct aa_line *line = line_in_force(rec->line);

	if (!in_force(rec))
		return;

	/* of what it sent before the power went the phone knows nothing; but
	   it has to find out when that server is back */
	if (m->life != rec->life) {
		watch_of(rec->line)->forgotten_at = vclock.now;
		return;
	}

	if (m->owner != rec->owner)
		broken("removed by another",
		       "line %u: REGISTER of reg-id %u (expires %u) took away"
		       " the binding in force, reg-id %u", rec->line,
		       m->regid, m->expires, rec->regid);
	else if (!aa_binding_leaving(binding_of(line->cur)))
		broken("removed by a late farewell",
		       "line %u: a farewell (CSeq %u) took away the binding"
		       " in force (CSeq %u), reg-id %u", rec->line, m->cseq,
		       rec->cseq, rec->regid);
}


static bool has_live_binding(unsigned line);


/* Standby 2: a line in service does not take away the last that works, once
   it can know which that is */
static void check_last(const struct record *rec, const struct msg *m)
{
	const struct aa_line *line = line_of(rec->line);
	uint64_t forgotten_at;

	if (w.set.standby < 2 || !line || line->ended || w.link_down ||
	    !aa_line_registered(line) ||
	    m->sent < w.changed_at + w.detect || has_live_binding(rec->line))
		return;

	/* the answer to this farewell is what it learns that from */
	forgotten_at = w.watchv[rec->line - 1].forgotten_at;
	if (forgotten_at && vclock.now - forgotten_at < w.recover)
		return;

	if (works(rec->hop) && works(rec->reg))
		broken("standby", "line %u: a farewell took away its last"
		       " live binding, reg-id %u", rec->line, rec->regid);
}


static bool same_user(const struct record *rec, const struct msg *m)
{
	return rec->line == m->line &&
		(w.set.user_only || rec->domain == m->domain);
}


/* Kamailio: by instance-id and reg-id where there are any, else by Contact */
static struct record *record_find(int store, const struct msg *m)
{
	size_t i;

	for (i=0; i<RECORDS; i++) {
		struct record *rec = &w.recordv[i];

		if (!rec->used || rec->store != store || !same_user(rec, m) ||
		    rec->instance != m->instance || rec->regid != m->regid)
			continue;

		/* the user part of the Contact goes with the AOR */
		if (m->instance || (rec->domain == m->domain &&
				    rec->boot == m->boot))
			return rec;
	}

	return NULL;
}


static struct record *record_new(void)
{
	size_t i;

	for (i=0; i<RECORDS; i++) {
		if (!w.recordv[i].used)
			return &w.recordv[i];
	}

	broken("model", "too many bindings");

	return &w.recordv[0];
}


/* It takes the phone for restarted: what it had before is void */
static void forget_others(const struct record *keep, const struct msg *m)
{
	size_t i;

	for (i=0; i<RECORDS; i++) {
		struct record *rec = &w.recordv[i];

		if (rec == keep || !rec->used || rec->store != keep->store ||
		    !same_user(rec, m) || !rec->instance || spared(rec, m))
			continue;

		/* after a restart it is right, and what is registered with
		   this very request goes into force */
		if (keep->boot == m->boot)
			check_removal(rec, m);
		if (!req_find(m->id) || !reachable(m->hop) || w.late)
			w.watchv[m->line - 1].forgotten_at = vclock.now;
		rec->used = false;
	}
}


static uint16_t save(int reg, const struct msg *m)
{
	const int store = w.set.shared ? 0 : w.set.topo->store[reg];
	struct record *rec = record_find(store, m);

	if (w.set.auth && !m->authed)
		return 401;

	if (rec && rec->callid == m->callid) {
		if (m->cseq == rec->cseq)
			return 200;
		if (m->cseq < rec->cseq && (!m->instance || w.set.strict))
			return 400;
	}

	if (!m->expires) {
		if (rec && !spared(rec, m)) {
			check_removal(rec, m);
			rec->used = false;
			check_last(rec, m);
		}
		return 200;
	}

	if (!rec) {
		rec = record_new();
		memset(rec, 0, sizeof(*rec));
		rec->used = true;
	}
	else if (m->instance && rec->callid != m->callid) {
		forget_others(rec, m);
	}

	if (rec->owner && rec->owner != m->owner)
		check_removal(rec, m);

	rec->store    = store;
	rec->hop      = m->hop;
	rec->reg      = reg;
	rec->target   = m->target;
	rec->line     = m->line;
	rec->domain   = m->domain;
	rec->owner    = m->owner;
	rec->regid    = m->regid;
	rec->callid   = m->callid;
	rec->cseq     = m->cseq;
	rec->boot     = m->boot;
	rec->life     = m->life;
	rec->instance = m->instance;
	rec->vain     = false;
	rec->late     = !req_find(m->id);
	rec->known_until = m->sent + (uint64_t)m->expires * 1000;
	rec->until    = vclock.now + (uint64_t)m->expires * 1000;

	return 200;
}


static void expire(void)
{
	size_t i;

	for (i=0; i<RECORDS; i++) {
		struct record *rec = &w.recordv[i];

		if (rec->used && rec->until <= vclock.now)
			rec->used = false;
	}
}


/* ---- servers ---------------------------------------------------------- */


static void answer_local(int host, const struct msg *m, struct resp *r)
{
	if (m->kind != REGISTER) {
		r->scode = 200;
		return;
	}

	r->scode = save(host, m);
	if (r->scode != 200)
		return;

	r->expires  = m->expires;
	r->outbound = w.set.flow_timer && m->instance;
}


static void answer_by_state(int host, const struct msg *m, struct resp *r)
{
	switch (w.hostv[host].st) {

	case SAYS_503:
		if (m->kind == OPTIONS && w.set.options_ok) {
			r->scode = 200;
			break;
		}
		r->scode       = 503;
		r->retry_after = w.set.retry_after;
		break;

	case SAYS_403:
		r->scode = 403;
		if (m->kind == REGISTER)
			w.refused_at = vclock.now;
		break;

	default:
		answer_local(host, m, r);
		break;
	}
}


static void hang(int host, const struct msg *m, unsigned conn)
{
	struct pkt *pkt;

	if (list_count(&w.hostv[host].hanging) > 256)
		return;

	pkt = pkt_alloc(&w.hostv[host].hanging, m);
	pkt->conn = conn;
}


/* An edge proxy passes it on, and answers for who does not */
static uint64_t forward(const struct msg *m, struct resp *r)
{
	switch (w.hostv[m->target].st) {

	case REFUSES:
		r->scode = 503;
		return 0;

	case HANGS:
		hang(m->target, m, 0);
		/*@fallthrough@*/

	case SWALLOWS:
		r->scode = 408;
		return PROXY_WAIT;

	default:
		answer_by_state(m->target, m, r);
		return 0;
	}
}


static bool is_final(int host)
{
	return host != NOBODY && (w.set.topo->final & (1u << host));
}


/* Servers answer a retransmission as they answered the first, once they did */
static bool answered(const struct msg *m, unsigned conn)
{
	size_t i;

	for (i=0; i<ANSWERED; i++) {
		if (w.answerv[i].id != m->id)
			continue;

		if (w.answerv[i].r.scode && w.answerv[i].at <= vclock.now)
			reply(m, &w.answerv[i].r, conn, 0);

		return true;
	}

	return false;
}


static void serve(int hop, const struct msg *m, unsigned conn)
{
	struct resp r;
	uint64_t later = 0;

	if (w.hostv[hop].st == HANGS) {
		hang(hop, m, conn);
		return;
	}

	if (answered(m, conn))
		return;

	memset(&r, 0, sizeof(r));

	if (m->kind == CRLF)
		r.scode = 200;
	else if (w.hostv[hop].st == SAYS_503 || w.hostv[hop].st == SAYS_403 ||
		 is_final(hop) || m->target == hop)
		answer_by_state(hop, m, &r);
	else
		later = forward(m, &r);

	if (m->kind == REGISTER)
		say("h%d: REGISTER line %u reg-id %u CSeq %u expires %u"
		    " at h%d -> %u", hop, m->line, m->regid, m->cseq,
		    m->expires, is_final(hop) ? hop : m->target, r.scode);

	w.answerv[w.answers % ANSWERED].id = m->id;
	w.answerv[w.answers % ANSWERED].at = vclock.now + later;
	w.answerv[w.answers % ANSWERED].r  = r;
	++w.answers;

	/* sent by a proxy that was in between, there is nobody to tell */
	if (m->hop == hop)
		reply(m, &r, conn, later);
}


static void host_set(int host, enum host_state st)
{
	struct host *h = &w.hostv[host];
	const enum host_state was = h->st;
	struct le *le;

	if (st == was)
		return;

	say("h%d %s", host, host_statev[st]);
	h->st = st;
	++w.changes;
	w.changed_at = vclock.now;
	w.fault_at   = vclock.now;

	if (st == REFUSES) {
		++h->epoch;
		list_flush(&h->hanging);

		if (was != SWALLOWS && !w.link_down && h->conn.active &&
		    h->conn.up) {
			struct msg m;
			struct pkt *pkt;

			memset(&m, 0, sizeof(m));
			m.kind = RST;
			m.hop  = host;
			pkt = pkt_alloc(&w.airl, &m);
			pkt->conn = h->conn.id;
			tmr_start(&pkt->tmr, on_the_way(&h->from_at),
				  arrive_handler, pkt);
		}
	}

	while (h->st != HANGS && (le = h->hanging.head)) {
		struct pkt *pkt = le->data;
		const struct msg m = pkt->m;
		const unsigned conn = pkt->conn;

		mem_deref(pkt);
		if (m.hop == host) {
			serve(host, &m, conn);
		}
		else {
			struct resp r;

			memset(&r, 0, sizeof(r));
			say("h%d: late REGISTER line %u reg-id %u CSeq %u"
			    " expires %u", host, m.line, m.regid, m.cseq,
			    m.expires);
			w.late = true;
			answer_by_state(host, &m, &r);
			w.late = false;
		}
	}
}


/* ---- flow.h ----------------------------------------------------------- */


struct aa_flow {
	struct le le;
	struct list userl;
	int host;
	int route;              /* behind this proxy, else NOBODY           */
	char uri[64];
	bool keep;
	uint32_t transaction;
	uint32_t interval;
	uint32_t base;
	uint32_t max;

	enum aa_flow_state state;
	bool outbound;
	bool ponged;
	unsigned nat;           /* how the server saw us last, 0: not yet   */
	unsigned ka;            /* connection that is watched, 0: none      */
	struct req *req;
	struct req *ping;
	struct aa_conn conn;
	struct tmr tmr;
	struct tmr tmr_pong;
	uint32_t failures;
	uint32_t successes;
	uint64_t since;
	uint64_t generation;
	char reason[128];
};

struct aa_flow_user {
	struct le le;
	struct aa_flow *flow;
	aa_flow_h *h;
	void *arg;
	bool want;
};


static void probe_handler(void *arg);


static int host_of(const char *uri)
{
	const char *p = uri ? strrchr(uri, 'h') : NULL;

	/* the host's name is the last h that a digit follows */
	while (p && p > uri && !(p[1] >= '0' && p[1] < '0' + HOSTS))
		--p;

	if (!p || *p != 'h')
		abort();

	return p[1] - '0';
}


static int flow_hop(const struct aa_flow *flow)
{
	return flow->route == NOBODY ? flow->host : flow->route;
}


static void flow_stop(struct aa_flow *flow)
{
	tmr_cancel(&flow->tmr);
	tmr_cancel(&flow->tmr_pong);
	flow->req  = mem_deref(flow->req);
	flow->ping = mem_deref(flow->ping);
	flow->ka   = 0;
	flow->outbound = false;
}


static void flow_destructor(void *arg)
{
	struct aa_flow *flow = arg;

	list_unlink(&flow->le);
	flow_stop(flow);
	--w.alive;
}


static void user_destructor(void *arg)
{
	struct aa_flow_user *user = arg;

	if (user->want)
		aa_flow_want(user, false);

	list_unlink(&user->le);
	mem_deref(user->flow);
	--w.alive;
}


static void flow_notify(struct aa_flow *flow)
{
	struct le *le = flow->userl.head;

	while (le) {
		struct aa_flow_user *user = le->data;

		le = le->next;
		user->h(flow, user->arg);
	}
}


static void flow_state_set(struct aa_flow *flow, enum aa_flow_state state)
{
	if (flow->state == state)
		return;

	say("  flow h%d%s: %s -> %s %s", flow->host,
	    flow->route == NOBODY ? "" : " (behind a proxy)",
	    aa_flow_state_name(flow->state), aa_flow_state_name(state),
	    flow->reason);
	if (flow->state == AA_FLOW_DOWN)
		w.hostv[flow->host].down_at = vclock.now;
	flow->state = state;
	flow->since = vclock.now;
}


static uint64_t flow_backoff(const struct aa_flow *flow)
{
	uint64_t wait = (uint64_t)flow->base * 1000;
	const uint32_t n = flow->failures ? flow->failures - 1 : 0;

	wait <<= MIN(n, (uint32_t)BACKOFF_MAX);
	wait = MIN(wait, (uint64_t)flow->max * 1000);

	return wait * (500 + rand_u16() % 501) / 1000;
}


/* request.h: a connection that is known can be closed */
void aa_conn_init(struct aa_conn *conn)
{
	if (!conn)
		return;

	conn->fd  = -1;
	conn->ino = 0;
}


/* Something was sent there: host and connection stand for descriptor and
   inode */
static void conn_note(struct aa_conn *conn, int hop)
{
	if (!conn)
		return;

	conn->fd  = hop;
	conn->ino = w.hostv[hop].conn.id;
}


static bool conn_isset(const struct aa_conn *conn)
{
	return conn && conn->fd >= 0 && w.hostv[conn->fd].conn.active &&
		w.hostv[conn->fd].conn.id == conn->ino;
}


uint32_t aa_flow_rtt(const struct aa_flow *flow)
{
	(void)flow;

	return 0;
}


bool aa_conn_unheard(const struct aa_conn *conn)
{
	return !conn_isset(conn) || w.hostv[conn->fd].conn.q.head;
}


void aa_conn_close(struct aa_conn *conn, bool abort)
{
	if (conn_isset(conn) && abort)
		conn_abort(conn->fd);
	else if (conn_isset(conn))
		conn_close(conn->fd);
	aa_conn_init(conn);
}




static void flow_down(struct aa_flow *flow, const char *reason,
		      uint32_t retry_after)
{
	uint64_t wait;

	if (flow->state == AA_FLOW_IDLE)
		return;

	flow_stop(flow);
	if (flow->route == NOBODY)
		aa_conn_close(&flow->conn, true);

	flow->successes = 0;
	str_ncpy(flow->reason, reason, sizeof(flow->reason));
	++flow->failures;

	wait = flow_backoff(flow);
	wait = MAX(wait, (uint64_t)retry_after * 1000);
	tmr_start(&flow->tmr, wait, probe_handler, flow);

	if (flow->state != AA_FLOW_DOWN) {
		flow_state_set(flow, AA_FLOW_DOWN);
		flow_notify(flow);
	}
}


static void flow_down_err(struct aa_flow *flow, int err)
{
	flow_down(flow, strerror(err), 0);
}


/* A connection has ended: libre's keep-alive objects on it say so */
static void flows_lost(int hop, unsigned conn, int err)
{
	struct le *le = w.phone.flowl.head;

	while (le) {
		struct aa_flow *flow = le->data;

		le = le->next;
		if (flow->ka && flow->ka == conn && flow_hop(flow) == hop) {
			flow->ka = 0;
			flow_down_err(flow, err);
		}
	}
}


static void schedule_check(struct aa_flow *flow)
{
	tmr_start(&flow->tmr, (uint64_t)flow->interval *
		  (800 + rand_u16() % 201), probe_handler, flow);
}


static void flow_up(struct aa_flow *flow)
{
	const bool was_up = flow->state == AA_FLOW_UP;
	bool moved = false;

	flow->reason[0] = '\0';

	if (w.set.tp == SIP_TRANSP_UDP) {
		moved = flow->nat && flow->nat != w.rx.nat;
		flow->nat = w.rx.nat;
	}

	if (moved || !was_up)
		++flow->generation;
	if (!was_up)
		flow->successes = 0;
	++flow->successes;

	if (flow->keep) {
		if (!flow->ka && w.set.tp != SIP_TRANSP_UDP) {
			const struct conn *c = &w.hostv[flow_hop(flow)].conn;

			if (!c->active) {
				flow_down_err(flow, ENOTCONN);
				return;
			}
			flow->ka = c->id;
			conn_note(&flow->conn, flow_hop(flow));
		}

		if (!was_up)
			schedule_check(flow);
	}
	else {
		tmr_cancel(&flow->tmr);
	}

	flow->failures = 0;
	flow_state_set(flow, AA_FLOW_UP);
	flow_notify(flow);
}


bool aa_scode_is_server_failure(uint16_t scode)
{
	switch (scode) {

	case 408: case 430: case 500: case 502: case 503: case 504:
		return true;

	default:
		return false;
	}
}


static void options_handler(const struct resp *r, void *arg)
{
	struct aa_flow *flow = arg;

	if (r->err) {
		flow_down_err(flow, r->err);
		return;
	}

	if (aa_scode_is_server_failure(r->scode)) {
		flow_down(flow, r->scode == 408 ? "408 to OPTIONS" :
			  "503 to OPTIONS", r->retry_after);
		return;
	}

	flow_up(flow);

	if (flow->state == AA_FLOW_UP && flow->keep)
		schedule_check(flow);
}


static int options_send(struct aa_flow *flow)
{
	struct msg m;
	int err;

	flow->req = mem_deref(flow->req);
	memset(&m, 0, sizeof(m));
	m.kind   = OPTIONS;
	m.hop    = flow_hop(flow);
	m.target = flow->host;

	err = req_send(&flow->req, &m, flow->transaction, options_handler,
		       flow);
	if (!err)
		conn_note(&flow->conn, m.hop);

	return err;
}


static void ponged(struct aa_flow *flow)
{
	tmr_cancel(&flow->tmr_pong);
	++flow->successes;
	flow->failures = 0;
	flow_notify(flow);
}


static void pong_handler(void *arg)
{
	struct aa_flow *flow = arg;

	if (flow->ponged)
		ponged(flow);
	else
		flow_down(flow, "no answer to keep-alive", 0);
}


static void ping_handler(const struct resp *r, void *arg)
{
	struct aa_flow *flow = arg;

	if (!r->err)
		flow->ponged = true;
}


static int crlf_send(struct aa_flow *flow)
{
	struct msg m;
	int err;

	schedule_check(flow);
	if (tmr_isrunning(&flow->tmr_pong)) {
		if (!flow->ponged)
			return 0;
		ponged(flow);
	}

	flow->ping = mem_deref(flow->ping);
	flow->ponged = false;
	memset(&m, 0, sizeof(m));
	m.kind   = CRLF;
	m.hop    = flow->host;
	m.target = flow->host;
	err = req_send(&flow->ping, &m, flow->transaction, ping_handler,
		       flow);
	if (err)
		return err;

	tmr_start(&flow->tmr_pong, flow->transaction, pong_handler, flow);

	return 0;
}


static void check_start(struct aa_flow *flow)
{
	int err;

	if (!flow->keep) {
		if (flow->state == AA_FLOW_DOWN)
			flow_state_set(flow, AA_FLOW_CONNECTING);
		return;
	}

	if (aa_flow_keepalive(flow) == AA_KEEPALIVE_CRLF)
		err = crlf_send(flow);
	else
		err = options_send(flow);
	if (err)
		flow_down_err(flow, err);
}


static void probe_handler(void *arg)
{
	struct aa_flow *flow = arg;

	check_start(flow);
	if (!flow->keep)
		flow_notify(flow);
}


int aa_flow_attach(struct aa_flow_user **userp, struct list *flowl,
		   struct sip *sip, const struct aa_flow_prm *prm,
		   aa_flow_h *h, void *arg)
{
	const int host = host_of(prm->host);
	const int route = prm->via ? prm->via->host : NOBODY;
	struct aa_flow *flow = NULL;
	struct aa_flow_user *user;
	struct le *le;
	(void)sip;

	for (le = flowl->head; le; le = le->next) {
		struct aa_flow *f = le->data;

		if (f->host == host && f->route == route &&
		    f->keep == prm->keep && f->interval == prm->keepalive &&
		    f->transaction == prm->transaction &&
		    f->base == prm->base && f->max == prm->max)
			flow = mem_ref(f);
	}

	if (!flow) {
		flow = mem_zalloc(sizeof(*flow), flow_destructor);
		if (!flow)
			return ENOMEM;

		++w.alive;
		flow->host        = host;
		flow->route       = route;
		flow->keep        = prm->keep;
		flow->transaction = prm->transaction;
		flow->interval    = prm->keepalive;
		flow->base        = prm->base;
		flow->max         = prm->max;
		flow->since       = vclock.now;
		aa_conn_init(&flow->conn);
		(void)re_snprintf(flow->uri, sizeof(flow->uri), "sip:h%d",
				  host);
		list_append(flowl, &flow->le, flow);
	}

	user = mem_zalloc(sizeof(*user), user_destructor);
	if (!user)
		abort();

	++w.alive;
	user->flow = flow;
	user->h    = h;
	user->arg  = arg;
	list_append(&flow->userl, &user->le, user);
	*userp = user;

	return 0;
}


/* Another one has the same connection */
static bool flow_is_shared(const struct aa_flow *flow)
{
	const struct le *le;

	for (le = list_head(flow->le.list); le; le = le->next) {
		const struct aa_flow *other = le->data;

		if (other != flow && other->state != AA_FLOW_IDLE &&
		    flow_hop(other) == flow_hop(flow))
			return true;
	}

	return false;
}


void aa_flow_want(struct aa_flow_user *user, bool want)
{
	struct aa_flow *flow;
	struct le *le;

	if (!user || user->want == want)
		return;

	flow = user->flow;
	user->want = want;

	if (want) {
		if (flow->state != AA_FLOW_IDLE)
			return;

		flow->reason[0] = '\0';
		flow->failures = 0;
		flow->successes = 0;
		flow_state_set(flow, AA_FLOW_CONNECTING);
		check_start(flow);
		return;
	}

	for (le = flow->userl.head; le; le = le->next) {
		const struct aa_flow_user *other = le->data;

		if (other->want)
			return;
	}

	if (flow->state == AA_FLOW_IDLE)
		return;

	flow_stop(flow);
	if (flow_is_shared(flow))
		aa_conn_init(&flow->conn);
	else if (flow->keep && flow->route == NOBODY)
		aa_conn_close(&flow->conn, false);
	flow_state_set(flow, AA_FLOW_IDLE);
}


void aa_flow_user_take(struct aa_flow_user *user, aa_flow_h *h, void *arg)
{
	user->h   = h;
	user->arg = arg;
}


struct aa_flow *aa_flow_user_flow(const struct aa_flow_user *user)
{
	return user ? user->flow : NULL;
}


void aa_flow_seen(struct aa_flow *flow, const struct sip_msg *msg)
{
	if (!flow || flow->state == AA_FLOW_IDLE)
		return;

	if ((flow->route != NOBODY || flow->state == AA_FLOW_DOWN) &&
	    aa_scode_is_server_failure(msg->scode))
		return;

	if (w.rx.outbound)
		flow->outbound = true;

	if (flow->state != AA_FLOW_UP)
		flow_up(flow);
}


void aa_flow_fail(struct aa_flow *flow, const char *reason,
		  uint32_t retry_after)
{
	if (!flow || flow->state == AA_FLOW_DOWN)
		return;

	flow_down(flow, reason ? reason : "failed", retry_after);
}


/* ICMP is no business of the model: its network has none */
void aa_flow_listen(struct aa_flow *flow)
{
	(void)flow;
}


void aa_flow_check(struct aa_flow *flow)
{
	int err;

	if (!flow || flow->state == AA_FLOW_IDLE ||
	    flow->state == AA_FLOW_DOWN || flow->req)
		return;

	err = options_send(flow);
	if (err)
		flow_down_err(flow, err);
}


void aa_flow_probe(struct aa_flow *flow)
{
	if (!flow || flow->state == AA_FLOW_IDLE || flow->req)
		return;

	tmr_start(&flow->tmr, 0, probe_handler, flow);
}


void aa_flow_reset(struct aa_flow *flow)
{
	if (!flow || flow->state == AA_FLOW_IDLE)
		return;

	flow_stop(flow);
	flow->nat = 0;
	flow->failures = 0;
	flow_state_set(flow, AA_FLOW_CONNECTING);
	tmr_start(&flow->tmr, 0, probe_handler, flow);
	flow_notify(flow);
}


uint64_t aa_flow_turn(const struct aa_flow *flow)
{
	(void)flow;

	return 0;
}


bool aa_flow_ready(const struct aa_flow *flow)
{
	return flow != NULL;
}


const char *aa_flow_name(const struct aa_flow *flow)
{
	return flow ? flow->uri : NULL;
}


bool aa_flow_named(const struct aa_flow *flow)
{
	(void)flow;

	return false;
}


struct aa_conn *aa_flow_conn(struct aa_flow *flow)
{
	return flow ? &flow->conn : NULL;
}


enum aa_flow_state aa_flow_state(const struct aa_flow *flow)
{
	return flow ? flow->state : AA_FLOW_IDLE;
}


const char *aa_flow_state_name(enum aa_flow_state state)
{
	static const char *const namev[] = {
		"idle", "connecting", "up", "down"
	};

	return namev[state];
}


enum aa_keepalive aa_flow_keepalive(const struct aa_flow *flow)
{
	if (!flow || !flow->keep || flow->state != AA_FLOW_UP)
		return AA_KEEPALIVE_NONE;

	if (flow->outbound && w.set.tp != SIP_TRANSP_UDP &&
	    flow->route == NOBODY)
		return AA_KEEPALIVE_CRLF;

	return AA_KEEPALIVE_OPTIONS;
}


const char *aa_flow_uri(const struct aa_flow *flow)
{
	return flow ? flow->uri : NULL;
}


const char *aa_flow_reason(const struct aa_flow *flow)
{
	return flow ? flow->reason : "";
}


const char *aa_flow_by(const struct aa_flow *flow)
{
	(void)flow;

	return "";
}


uint32_t aa_flow_detect(const struct aa_flow *flow)
{
	(void)flow;

	return 0;
}


uint32_t aa_flow_failures(const struct aa_flow *flow)
{
	return flow ? flow->failures : 0;
}


uint32_t aa_flow_successes(const struct aa_flow *flow)
{
	return flow ? flow->successes : 0;
}


uint64_t aa_flow_retry_in(const struct aa_flow *flow)
{
	return flow && flow->state == AA_FLOW_DOWN ? tmr_get_expire(&flow->tmr)
		: 0;
}


uint64_t aa_flow_since(const struct aa_flow *flow)
{
	return flow ? flow->since : 0;
}


uint64_t aa_flow_generation(const struct aa_flow *flow)
{
	return flow ? flow->generation : 0;
}


bool aa_flow_kept(const struct aa_flow *flow)
{
	return flow && flow->keep;
}


/* ---- binding.h -------------------------------------------------------- */


struct aa_binding {
	struct req *req;
	struct tmr tmr;
	struct aa_conn *conn;
	unsigned id;
	unsigned line;
	unsigned boot;
	int domain;
	int target;
	int hop;
	bool instance;
	unsigned regid;
	unsigned callid;
	unsigned cseq;
	uint32_t want_expires;
	uint32_t expires;
	uint32_t renewal;
	uint32_t transaction;
	uint64_t until;
	unsigned challenges;
	bool authed;
	bool sent;
	bool unsure;            /* a REGISTER was not answered              */
	bool ok;
	bool leaving;
	sip_auth_h *authh;
	aa_binding_h *h;
	aa_binding_turn_h *turnh;
	bool due;
	void *arg;
};


static int binding_request(struct aa_binding *b);


static unsigned owner_of(const struct aa_path *path)
{
	return path->b ? path->b->id : 0;
}


static const struct aa_binding *binding_of(const struct aa_path *path)
{
	return path->b;
}


static void binding_destructor(void *arg)
{
	struct aa_binding *b = arg;

	tmr_cancel(&b->tmr);
	mem_deref(b->req);
	--w.alive;
}


static void note(uint64_t *ring, unsigned *n)
{
	ring[(*n)++ % RING] = vclock.now;
}


static unsigned last_minute(const uint64_t *ring, unsigned n)
{
	unsigned i, c = 0;

	for (i=0; i<n && i<RING; i++) {
		if (ring[(n - 1 - i) % RING] + MINUTE <= vclock.now)
			break;
		++c;
	}

	return c;
}


static const struct sip_msg *response(const struct resp *r)
{
	static struct sip_msg msg;

	if (r->err)
		return NULL;

	msg.scode = r->scode;
	msg.tp    = w.set.tp;

	return &msg;
}


static void binding_refresh(void *arg)
{
	struct aa_binding *b = arg;
	const uint64_t left = b->until > vclock.now ? b->until - vclock.now : 0;
	int err;

	b->due = b->turnh && !b->turnh(left, b->arg);
	if (b->due)
		return;

	err = aa_binding_register(b);
	if (err) {
		memset(&w.rx, 0, sizeof(w.rx));
		b->h(b, AA_BINDING_FAILED, strerror(err), 0, NULL, b->arg);
	}
}


static void binding_gone(struct aa_binding *b, const struct resp *r)
{
	size_t i;

	for (i=0; i<RECORDS; i++) {
		if (w.recordv[i].owner == b->id && (r->err || r->scode >= 300))
			w.recordv[i].vain = true;
	}

	if (!r->err && (r->scode < 300 || r->scode == 404)) {
		b->ok = false;
		b->sent = false;
		b->unsure = false;
	}

	b->leaving = false;
	tmr_cancel(&b->tmr);
	b->h(b, AA_BINDING_GONE, "gone", 0, response(r), b->arg);
}


static void binding_failed(struct aa_binding *b, const struct resp *r)
{
	const bool server = r->err || aa_scode_is_server_failure(r->scode);
	char buf[64];

	if (b->leaving) {
		binding_gone(b, r);
		return;
	}

	tmr_cancel(&b->tmr);

	if (!server) {
		b->ok = false;
		b->authed = false;
	}

	if (r->err || r->scode == 408 || r->scode == 504)
		b->unsure = true;
	else if (!b->unsure && vclock.now >= b->until)
		b->sent = false;

	(void)re_snprintf(buf, sizeof(buf), "%s %u to REGISTER",
			  r->err ? strerror(r->err) : "", r->scode);
	b->h(b, server ? AA_BINDING_FAILED : AA_BINDING_REJECTED, buf,
	     r->retry_after, response(r), b->arg);
}


static uint64_t refresh_wait(const struct aa_binding *b)
{
	const uint64_t period = (uint64_t)b->expires * 1000;
	const uint64_t t = (uint64_t)b->renewal * 1000;

	return MAX(period / 2 > t ? period - t : period / 2, 900ull);
}


static void binding_response(const struct resp *r, void *arg)
{
	struct aa_binding *b = arg;

	if (!r->err && r->scode == 401 && !b->challenges) {
		++b->challenges;
		b->authed = true;
		if (0 == binding_request(b))
			return;
	}

	if (r->err || r->scode >= 300) {
		binding_failed(b, r);
		return;
	}

	if (b->leaving) {
		binding_gone(b, r);
		return;
	}

	b->expires = r->expires ? r->expires : b->want_expires;
	b->until   = vclock.now + (uint64_t)b->expires * 1000;
	b->ok      = true;
	b->unsure  = false;
	tmr_start(&b->tmr, refresh_wait(b), binding_refresh, b);
	b->h(b, AA_BINDING_OK, "registered", 0, response(r), b->arg);
}


static int binding_request(struct aa_binding *b)
{
	struct watch *wl = watch_of(b->line);
	struct msg m;
	int err;

	b->due = false;
	b->req = mem_deref(b->req);

	memset(&m, 0, sizeof(m));
	m.kind     = REGISTER;
	m.hop      = b->hop == NOBODY ? b->target : b->hop;
	m.target   = b->target;
	m.line     = b->line;
	m.domain   = b->domain;
	m.owner    = b->id;
	m.regid    = b->regid;
	m.callid   = b->callid;
	m.cseq     = ++b->cseq;
	m.expires  = b->leaving ? 0 : b->want_expires;
	m.boot     = b->boot;
	m.life     = w.lives;
	m.sent     = vclock.now;
	m.instance = b->instance;
	m.authed   = b->authed;
	if (!b->leaving)
		b->sent = true;

	++total.registers;
	note(wl->sentv, &wl->sent);
	if (!b->challenges && !b->leaving)
		note(wl->exchv, &wl->exch);
	say("line %u: REGISTER reg-id %u CSeq %u expires %u to h%d",
	    b->line, b->regid, b->cseq, m.expires, m.hop);

	err = req_send(&b->req, &m, b->leaving ?
		       MIN(b->transaction, (uint32_t)FAREWELL) :
		       b->transaction, binding_response, b);
	if (!err)
		conn_note(b->conn, m.hop);

	return err;
}


int aa_binding_alloc(struct aa_binding **bp, const struct aa_binding_prm *prm)
{
	struct aa_binding *b;
	unsigned line;

	if (1 != sscanf(prm->aor, "sip:u%u@", &line))
		return EINVAL;

	b = mem_zalloc(sizeof(*b), binding_destructor);
	if (!b)
		return ENOMEM;

	++w.alive;
	b->id           = ++w.bindings;
	b->line         = line;
	b->boot         = watch_of(line)->boot;
	b->domain       = host_of(prm->aor);
	b->target       = host_of(prm->registrar);
	b->hop          = NOBODY;
	b->instance     = prm->instance != NULL;
	b->regid        = prm->regid;
	b->callid       = ++w.ids;
	b->cseq         = rnd(WORLD, 1000);
	b->want_expires = prm->expires;
	b->renewal      = prm->renewal;
	b->transaction  = prm->transaction;
	b->authh        = prm->authh;
	b->h            = prm->h;
	b->turnh        = prm->turnh;
	b->arg          = prm->arg;
	*bp = b;

	return 0;
}


int aa_binding_register(struct aa_binding *b)
{
	if (!b || b->leaving)
		return EINVAL;

	tmr_cancel(&b->tmr);
	b->challenges = 0;
	if (percent(WORLD, 10))
		b->authed = false;      /* the nonce is too old             */

	return binding_request(b);
}


void aa_binding_refresh(struct aa_binding *b)
{
	if (b && b->due)
		binding_refresh(b);
}


int aa_binding_unregister(struct aa_binding *b)
{
	int err;

	if (!b)
		return EINVAL;
	if (b->leaving)
		return 0;

	tmr_cancel(&b->tmr);
	b->leaving = true;
	b->challenges = 0;

	err = binding_request(b);
	if (err)
		b->leaving = false;

	return err;
}


int aa_binding_hop_set(struct aa_binding *b, const char *hop, bool route,
		       struct aa_conn *conn)
{
	(void)route;

	if (!b || b->req)
		return EINVAL;

	b->hop  = hop ? host_of(hop) : NOBODY;
	b->conn = conn;

	return 0;
}


void aa_binding_conn_set(struct aa_binding *b, struct aa_conn *conn)
{
	if (b)
		b->conn = conn;
}


int aa_binding_auth_from(struct aa_binding *b, const struct aa_binding *from)
{
	if (!b || b->req)
		return EINVAL;

	if (!from || !from->authed || from->target != b->target)
		return ENOENT;

	b->authed = true;

	return 0;
}


void aa_binding_learn(struct aa_binding *b, const struct aa_binding *from,
		      const char *instance, const struct sip_msg *msg)
{
	(void)b;
	(void)from;
	(void)instance;
	(void)msg;
}


void aa_binding_owner_set(struct aa_binding *b, sip_auth_h *authh,
			  aa_binding_h *h, void *arg)
{
	if (!b)
		return;

	b->conn  = NULL;
	b->authh = authh;
	b->h     = h;
	b->turnh = NULL;
	b->due   = false;
	b->arg   = arg;
}


void aa_binding_halt(struct aa_binding *b)
{
	if (!b)
		return;

	if (b->req && !b->leaving)
		b->unsure = true;
	tmr_cancel(&b->tmr);
	b->due = false;
	b->req = mem_deref(b->req);
	b->leaving = false;
}


static void nobody_waits(const struct resp *r, void *arg)
{
	(void)r;
	(void)arg;
}


int aa_binding_farewell(struct aa_binding *b)
{
	int err;

	if (!b || !b->sent)
		return ENOENT;

	aa_binding_halt(b);
	b->leaving = true;
	err = binding_request(b);

	/* libre's own from now on */
	if (b->req) {
		tmr_start(&b->req->tmr_end, TIMER_F, end_handler, b->req);
		b->req->reqp = NULL;
		b->req->h    = nobody_waits;
		b->req       = NULL;
	}
	b->ok   = false;
	b->sent = false;

	return err;
}


bool aa_binding_live(const struct aa_binding *b)
{
	return b && b->ok && !b->leaving && vclock.now < b->until;
}


bool aa_binding_maybe(const struct aa_binding *b)
{
	return b && b->sent;
}


bool aa_binding_pending(const struct aa_binding *b)
{
	return b && b->req;
}


bool aa_binding_leaving(const struct aa_binding *b)
{
	return b && b->leaving;
}


unsigned aa_binding_regid(const struct aa_binding *b)
{
	return b ? b->regid : 0;
}


uint32_t aa_binding_expires(const struct aa_binding *b)
{
	return b && b->ok ? b->expires : 0;
}


uint64_t aa_binding_until(const struct aa_binding *b)
{
	return b ? b->until : 0;
}


uint32_t aa_binding_requests(const struct aa_binding *b)
{
	return b ? b->cseq : 0;
}


const char *aa_binding_server(const struct aa_binding *b)
{
	(void)b;

	return "model";
}


const char *aa_binding_realm(const struct aa_binding *b)
{
	(void)b;

	return "model";
}


/* ---- baresip and account.h -------------------------------------------- */


struct account {
	char aor[32];
	char user[8];
	char host[8];
	struct uri luri;
};

struct ua {
	struct account acc;
};

struct aa_account {
	struct ua own;
	struct ua other;
	struct ua *shown;
	bool calls;
	bool told;
	bool told_up;
};


static void ua_make(struct ua *ua, unsigned line, int host)
{
	memset(ua, 0, sizeof(*ua));
	(void)re_snprintf(ua->acc.aor, sizeof(ua->acc.aor), "sip:u%u@h%d",
			  line, host);
	(void)re_snprintf(ua->acc.host, sizeof(ua->acc.host), "h%d", host);
	(void)re_snprintf(ua->acc.user, sizeof(ua->acc.user), "u%u", line);
	pl_set_str(&ua->acc.luri.host, ua->acc.host);
	pl_set_str(&ua->acc.luri.user, ua->acc.user);
}


static void log_it(SAID_ARGS const char *fmt, va_list ap)
{
	char buf[512];

	if (!w.verbose)
		return;

	if (said_print(buf, sizeof(buf), fmt, ap) < 0)
		buf[sizeof(buf) - 1] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	say("    %s", buf);
}


void SAID(debug)(SAID_ARGS const char *fmt, ...)
{
	SAID_UNUSED;
	(void)fmt;
}


void SAID(info)(SAID_ARGS const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_it(SAID_PASS fmt, ap);
	va_end(ap);
}


void SAID(warning)(SAID_ARGS const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_it(SAID_PASS fmt, ap);
	va_end(ap);
}


struct network *baresip_network(void)
{
	return NULL;
}


struct dnsc *net_dnsc(const struct network *net)
{
	(void)net;

	return NULL;
}


/* Never looked into; it only has to be there, and to be counted */
struct sip *uag_sip(void)
{
	static void *sip;

	if (!sip)
		sip = mem_zalloc(1, NULL);

	return sip;
}


struct account *ua_account(const struct ua *ua)
{
	return ua ? (struct account *)(uintptr_t)&ua->acc : NULL;
}


const char *ua_local_cuser(const struct ua *ua)
{
	return ua->acc.aor;
}


const char *account_aor(const struct account *acc)
{
	return acc ? acc->aor : NULL;
}


const char *account_display_name(const struct account *acc)
{
	(void)acc;

	return NULL;
}


struct uri *account_luri(const struct account *acc)
{
	return (struct uri *)(uintptr_t)&acc->luri;
}


/* Who moves says why */
void aa_compat_emit(struct ua *ua, const char *event, const char *fmt, ...)
{
	const bool moves = 0 == strcmp(event, "failover") ||
		0 == strcmp(event, "failback");
	unsigned line = 0;
	char buf[512];
	va_list ap;
	(void)ua;

	if (!moves && 0 != strcmp(event, "registered"))
		return;

	va_start(ap, fmt);
	if (re_vsnprintf(buf, sizeof(buf), fmt, ap) < 0)
		buf[sizeof(buf) - 1] = '\0';
	va_end(ap);

	if (0 != strcmp(event, "failback") &&
	    1 == sscanf(buf, "line=%u", &line) && line_of(line))
		watch_of(line)->told_at = vclock.now;

	if (moves && str_len(buf) >= 7 && 0 == strcmp(buf + strlen(buf) - 7, "reason="))
		broken("no reason", "%s: %s", event, buf);
}


void aa_compat_mwi(struct ua *ua, const char *body)
{
	(void)ua;
	(void)body;
}


static void account_destructor(void *arg)
{
	(void)arg;
	--w.alive;
}


static struct aa_account *account_make(unsigned line, int host)
{
	struct aa_account *acc = mem_zalloc(sizeof(*acc), account_destructor);

	if (!acc)
		abort();

	++w.alive;
	ua_make(&acc->own, line, host);
	acc->shown = &acc->own;

	return acc;
}


int aa_account_ua(struct aa_account *acc, const char *host, uint16_t port,
		  struct ua **uap)
{
	unsigned line;
	(void)port;

	if (!host) {
		*uap = &acc->own;
		return 0;
	}

	if (!acc->other.acc.aor[0]) {
		if (1 != sscanf(acc->own.acc.aor, "sip:u%u@", &line))
			return EINVAL;
		ua_make(&acc->other, line, host_of(host));
	}

	*uap = &acc->other;

	return 0;
}


int aa_account_show(struct aa_account *acc, const char *host, uint16_t port)
{
	return aa_account_ua(acc, host, port, &acc->shown);
}


int aa_account_publish(struct aa_account *acc,
		       const struct aa_account_state *st, const char *route)
{
	(void)route;
	acc->told = true;
	acc->told_up = st->up;

	return 0;
}


void aa_account_route(struct aa_account *acc, const char *route)
{
	(void)acc;
	(void)route;
}


void aa_account_settle(struct aa_account *acc)
{
	(void)acc;
}


bool aa_account_calls(const struct aa_account *acc)
{
	return acc && acc->calls;
}


int aa_account_auth(const struct aa_account *acc, char **user, char **pass)
{
	(void)acc;

	return str_dup(user, "user") | str_dup(pass, "secret");
}


bool aa_account_owns(const struct aa_account *acc, const struct ua *ua)
{
	return ua == &acc->own || ua == &acc->other;
}


struct ua *aa_account_shown(const struct aa_account *acc)
{
	return acc ? acc->shown : NULL;
}


struct account *aa_account_prim(const struct aa_account *acc)
{
	return ua_account(&acc->own);
}


void aa_account_end(struct aa_account *acc, const struct ua *dying)
{
	(void)dying;
	mem_deref(acc);
}


void aa_account_release(struct aa_account *acc)
{
	mem_deref(acc);
}


void aa_callmove_moved(struct aa_line *line)
{
	(void)line;
}


/* ---- subscription.h: a line without any ------------------------------- */


struct aa_subs {
	const struct aa_line *line;
};


static void subs_destructor(void *arg)
{
	(void)arg;
	--w.alive;
}


int aa_subs_alloc(struct aa_subs **subsp, struct sip *sip,
		  const struct aa_line_config *cfg, sip_auth_h *authh,
		  aa_subs_h *h, void *arg)
{
	struct aa_subs *subs;
	(void)sip;
	(void)cfg;
	(void)authh;
	(void)h;

	subs = mem_zalloc(sizeof(*subs), subs_destructor);
	if (!subs)
		abort();

	++w.alive;
	subs->line = arg;
	*subsp = subs;

	return 0;
}


int aa_subs_path_set(struct aa_subs *subs, const struct aa_subs_path *prm)
{
	(void)subs;
	(void)prm;

	return 0;
}


void aa_subs_suspend(struct aa_subs *subs)
{
	(void)subs;
}


/** It shares the list with farewells, and nothing in it is as in those */
struct subs_farewell {
	struct le le;
	uint8_t other[256];
	struct tmr tmr;
};


static void subs_farewell_destructor(void *arg)
{
	struct subs_farewell *sf = arg;

	list_unlink(&sf->le);
	tmr_cancel(&sf->tmr);
	--w.alive;
}


static void subs_farewell_handler(void *arg)
{
	mem_deref(arg);
}


static void expect_all_gone(const struct aa_line *line);


/* The first thing that a line does when it ends */
void aa_subs_end(struct aa_subs *subs, struct list *farewelll)
{
	struct subs_farewell *sf;

	expect_all_gone(subs->line);
	mem_deref(subs);

	if (!farewelll)
		return;

	sf = mem_zalloc(sizeof(*sf), subs_farewell_destructor);
	if (!sf)
		abort();

	++w.alive;
	memset(sf->other, 0x55, sizeof(sf->other));
	list_append(farewelll, &sf->le, sf);
	tmr_start(&sf->tmr, 1000, subs_farewell_handler, sf);
}


bool aa_subs_leaving(const struct aa_subs *subs)
{
	(void)subs;

	return false;
}


void aa_contact_value(const struct aa_sub_info *si)
{
	(void)si;
}


const char *aa_sub_state_name(enum aa_sub_state state)
{
	(void)state;

	return "";
}


/* ---- what must hold --------------------------------------------------- */


static int server(enum aa_role role, enum aa_rank rank)
{
	return w.set.topo->server[role][rank];
}


static enum aa_role route_role(void)
{
	switch (w.set.topo->scenario) {

	case AA_SCENARIO_ALL:
	case AA_SCENARIO_OUTBOUND:
		return OUTBOUND;

	case AA_SCENARIO_PROXY_REGISTRAR:
		return REGISTRAR;

	default:
		return server(OUTBOUND, P) != NOBODY ? OUTBOUND : REGISTRAR;
	}
}


/* Where a REGISTER goes first when the route is of this rank */
static int hop_of(enum aa_rank rank)
{
	const enum aa_role role = route_role();

	if (role == REGISTRAR && server(OUTBOUND, P) != NOBODY)
		return server(OUTBOUND, P);
	if (server(role, rank) != NOBODY)
		return server(role, rank);
	if (rank == B)
		return NOBODY;

	return server(PROXY, P) != NOBODY ? server(PROXY, P) :
		server(REGISTRAR, P);
}


/* And where it shall end */
static int target_of(enum aa_rank rank)
{
	const int host = server(REGISTRAR, rank);

	return host != NOBODY && w.set.topo->scenario != AA_SCENARIO_OUTBOUND
		? host : server(REGISTRAR, P);
}


static bool works(int host)
{
	return host != NOBODY && w.hostv[host].st == WORKS;
}


static bool leads(int hop, int target)
{
	return works(hop) && (is_final(hop) || hop == target ||
			      works(target));
}


static bool path_good(enum aa_rank rank)
{
	return !w.link_down && hop_of(rank) != NOBODY &&
		leads(hop_of(rank), target_of(rank));
}


static bool dead(int host)
{
	switch (w.hostv[host].st) {

	case REFUSES: case SWALLOWS: case HANGS:
		return true;

	default:
		return false;
	}
}


static bool any_refusal(void)
{
	int i;

	for (i=0; i<HOSTS; i++) {
		if (w.hostv[i].st == SAYS_403)
			return true;
	}

	return false;
}


static void world_changed(void)
{
	int rank;

	w.changed_at = vclock.now;

	for (rank=P; rank<=B; rank++) {
		if (!path_good((enum aa_rank)rank))
			w.ok_since[rank] = 0;
		else if (!w.ok_since[rank])
			w.ok_since[rank] = vclock.now;
	}
}


static const struct record *record_of(const struct aa_path *path)
{
	size_t i;

	for (i=0; path && i<RECORDS; i++) {
		if (w.recordv[i].used &&
		    w.recordv[i].owner == owner_of(path))
			return &w.recordv[i];
	}

	return NULL;
}


/* Would a call to the user come in? */
static bool has_live_binding(unsigned line)
{
	size_t i;

	for (i=0; i<RECORDS && !w.link_down; i++) {
		const struct record *rec = &w.recordv[i];

		if (rec->used && rec->line == line && !dead(rec->hop) &&
		    !dead(rec->reg))
			return true;
	}

	return false;
}


/* Where the user holds it, on the axis of a role */
static enum aa_rank held(const struct aa_line *line, enum aa_role role)
{
	switch (line->mode) {

	case AA_MODE_PRIMARY: return P;
	case AA_MODE_BACKUP:  return server(role, B) != NOBODY ? B : P;
	default:              return AA_RANK_NONE;
	}
}


/* 5.1, with all the time that design.md 2 gives */
static void check_gap(struct watch *wl)
{
	const struct aa_line *line = wl->line;
	uint64_t since;
	int rank;

	if (has_live_binding(line->cfg.line) || any_refusal()) {
		wl->gap_since = 0;
		return;
	}

	if (!wl->gap_since)
		wl->gap_since = vclock.now;

	for (rank=P; rank<=B; rank++) {

		/* held elsewhere, it still looks after what it has */
		if (!w.ok_since[rank] ||
		    (held(line, route_role()) &&
		     (int)held(line, route_role()) != rank &&
		     (!line->cur ||
		      (int)line->cur->use[route_role()] != rank)))
			continue;

		since = MAX(wl->gap_since, w.ok_since[rank]);
		since = MAX(since, wl->mode_since);
		since = vclock.now - since;

		if (since > total.gap_max) {
			total.gap_max   = since;
			total.gap_bound = w.recover;
		}
		total.share_max = MAX(total.share_max, (double)since /
				      (double)w.recover);

		if (since > w.recover)
			broken("5.1", "line %u: no live binding for %u ms,"
			       " though the %s works", line->cfg.line,
			       (unsigned)since,
			       aa_rank_name((enum aa_rank)rank));
	}
}


/* No server fails, and nothing that was sent when one did is under way */
static bool all_is_well(void)
{
	size_t i;

	if (w.link_down || w.set.loss ||
	    (w.fault_at && vclock.now - w.fault_at < TIMER_F + w.recover))
		return false;

	for (i=0; i<HOSTS; i++) {
		if (w.hostv[i].st != WORKS)
			return false;
	}

	return true;
}


/* 5.1: a move is no gap where both sides work, not even for a moment */
static void check_never_without(struct watch *wl)
{
	if (!all_is_well()) {
		wl->well_since = 0;
		return;
	}

	if (has_live_binding(wl->line->cfg.line)) {
		if (!wl->well_since)
			wl->well_since = vclock.now;
	}
	else if (wl->well_since) {
		broken("5.1", "line %u: no live binding, though nothing fails",
		       wl->line->cfg.line);
	}
}


/* 5.5: registered means that the registrar has the binding */
static void check_truth(struct watch *wl)
{
	const struct aa_line *line = wl->line;
	const bool says = aa_line_registered(line);
	const struct record *rec = record_of(line->cur);
	const uint64_t now = vclock.now;
	uint64_t limit = 1000 + w.set.transaction;

	if (w.set.loss)         /* asked twice before it is heard           */
		limit += 2 * w.set.transaction;
	if (wl->forgotten_at && now - wl->forgotten_at < w.recover)
		limit = w.recover;

	if (!says || rec)
		wl->lie_since = 0;
	else if (!wl->lie_since)
		wl->lie_since = now;
	else if (now - wl->lie_since > limit)
		broken("5.5", "line %u says registered, and its binding is"
		       " not there", line->cfg.line);

	if (says || !rec || !line->cur || !leads(rec->hop, rec->target) ||
	    w.link_down || any_refusal())
		wl->late_since = 0;
	else if (!wl->late_since)
		wl->late_since = now;
	else if (now - MAX(wl->late_since, w.changed_at) > w.recover)
		broken("5.5", "line %u says not registered, and its binding"
		       " is there", line->cfg.line);
}


static void check_move(const struct watch *wl)
{
	const struct aa_line *line = wl->line;
	const enum aa_role role = route_role();
	int i;

	if (held(line, role)) {
		for (i=0; i<AA_ROLE_COUNT; i++) {
			const enum aa_rank on = held(line, (enum aa_role)i);

			if (vclock.now - wl->mode_since > 1000 &&
			    wl->use[i] == on && line->use[i] != on)
				broken("held", "line %u is held on the %s,"
				       " and moved", line->cfg.line,
				       aa_rank_name(on));
		}
		return;
	}

	/* home only when it may, or when it must */
	for (i=0; i<AA_ROLE_COUNT; i++) {
		const enum aa_role axis =
			aa_policy_axis(line->cfg.scenario, (enum aa_role)i);
		const struct aa_flow *flow = aa_line_flow(line, axis, B);
		const uint64_t past = 2 * w.set.transaction + 1000;
		const uint64_t lately = vclock.now > past ?
			vclock.now - past : 0;

		uint64_t bad_at;

		if (wl->use[i] != B || line->use[i] != P || !flow)
			continue;

		if (aa_flow_state(flow) == AA_FLOW_DOWN ||
		    line->pen[axis][B].until > vclock.now)
			continue;

		/* it was on its way home then, and may have come there; but
		   not from where it has said since to be in service again */
		bad_at = w.hostv[flow->host].down_at;
		if (axis == role)
			bad_at = MAX(bad_at, MIN(wl->pen_seen,
						 vclock.now - 1));
		if (bad_at > lately &&
		    (axis != role || bad_at >= wl->told_at))
			continue;

		if (line->cfg.failback == AA_FAILBACK_MANUAL ||
		    (line->cfg.failback == AA_FAILBACK_IDLE &&
		     wl->acc->calls && vclock.now - wl->calls_since > 1000))
			broken("failback", "line %u went home under policy %s"
			       " with%s a call", line->cfg.line,
			       aa_failback_name(line->cfg.failback),
			       wl->acc->calls ? "" : "out");
	}
}


/* 5.4; what the user asks for, and plain refreshing, comes on top */
static void check_rate(struct watch *wl)
{
	const unsigned exch = last_minute(wl->exchv, wl->exch);
	const unsigned sent = last_minute(wl->sentv, wl->sent);

	if (wl->asked_at && vclock.now - wl->asked_at <= MINUTE)
		return;

	total.exchanges_max = MAX(total.exchanges_max, (uint64_t)exch);
	total.registers_max = MAX(total.registers_max, (uint64_t)sent);

	if (exch > EXCHANGES_PER_MINUTE)
		broken("5.4", "line %u: %u REGISTER exchanges in a minute",
		       wl->line->cfg.line, exch);
	if (sent > REGISTERS_PER_MINUTE)
		broken("5.4", "line %u: %u REGISTERs in a minute",
		       wl->line->cfg.line, sent);
}


static const struct aa_path *path_in(const struct list *l, unsigned owner)
{
	const struct le *le;

	for (le = list_head(l); le; le = le->next) {
		if (owner_of(le->data) == owner)
			return le->data;
	}

	return NULL;
}


/* Does the phone know a way to remove it? */
static bool removable(const struct record *rec, const struct aa_line *line,
		      const struct aa_path *path)
{
	const struct record *cur = record_of(line->cur);

	if (w.link_down)
		return false;

	/* who asks to be left alone is */
	if (!rec->late && cur && aa_line_registered(line) &&
	    cur->store == rec->store && leads(cur->hop, rec->target) &&
	    line->pen[route_role()][line->cur->use[route_role()]].asked <=
	    vclock.now)
		return true;

	if (!leads(rec->hop, rec->target) ||
	    line->pen[route_role()][path->use[route_role()]].until >
	    vclock.now)
		return false;

	return aa_flow_kept(path->flow) ?
		aa_flow_state(path->flow) == AA_FLOW_UP :
		aa_flow_state(path->flow) != AA_FLOW_DOWN;
}


/* 5.2: five seconds later no stale binding is left where one can get at it */
static void check_left(const struct aa_line *line)
{
	size_t i;

	for (i=0; i<RECORDS; i++) {
		struct record *rec = &w.recordv[i];
		const struct aa_path *path;
		uint64_t since, limit = 5000 + 8ull * w.set.latency;

		if (!rec->used || rec->line != line->cfg.line)
			continue;

		path = path_in(&line->leavel, rec->owner);
		if (!path)
			path = path_in(&line->idlel, rec->owner);

		if (!path || rec->known_until < vclock.now ||
		    !removable(rec, line, path)) {
			rec->left_since = 0;
			continue;
		}

		if (!rec->left_since)
			rec->left_since = vclock.now;

		/* where it was tried in vain, it is tried less often */
		if (rec->vain || path->farewells > 1)
			limit += 64000 + FAREWELL;
		if (w.set.loss)         /* three times in vain by chance    */
			limit += 3 * (64000 + FAREWELL);

		since = MAX(rec->left_since, w.changed_at);
		if (vclock.now - since > limit)
			broken("5.2", "line %u: a stale binding is left at"
			       " h%d by h%d, reg-id %u (%s)", line->cfg.line,
			       rec->reg, rec->hop, rec->regid,
			       path->owed ? "not removed" : "given up");
	}
}


/*
 * A server that did not answer, and is back, does not wait twice.  The line
 * looks as soon as it is back, at the next millisecond if it had something
 * else to do in this one (timer.c).
 */
static void check_penalty(struct watch *wl)
{
	const struct aa_line *line = wl->line;
	const enum aa_role role = route_role();
	const uint64_t until = line->pen[role][B].until;
	int rank;

	wl->pen_seen = until ? until : MIN(wl->pen_seen, vclock.now);

	for (rank=P; rank<=B; rank++) {
		const struct aa_penalty *pen = &line->pen[role][rank];

		switch (aa_flow_state(aa_line_flow(line, role,
						   (enum aa_rank)rank))) {

		case AA_FLOW_DOWN:
			wl->pen_down[rank] = pen->until;
			wl->pen_up[rank]   = 0;
			break;

		case AA_FLOW_UP:
			if (!wl->pen_up[rank])
				wl->pen_up[rank] = vclock.now;
			if (pen->silent && pen->until > vclock.now &&
			    pen->until == wl->pen_down[rank] &&
			    vclock.now - wl->pen_up[rank] > LOOK)
				broken("penalty", "line %u: the %s is back,"
				       " and is not used", line->cfg.line,
				       aa_rank_name((enum aa_rank)rank));
			break;

		default:
			break;
		}
	}
}


static void look_at_line(struct watch *wl)
{
	struct aa_line *line = wl->line;

	if (line->moves != wl->moves) {
		wl->moves = line->moves;
		wl->moved_at = vclock.now;
		++total.moves;
		note(wl->movev, &wl->moven);
		total.moves_max = MAX(total.moves_max, (uint64_t)
				      last_minute(wl->movev, wl->moven));
		check_move(wl);
		memcpy(wl->use, line->use, sizeof(wl->use));
	}

	check_rate(wl);
	check_penalty(wl);
	check_gap(wl);
	check_never_without(wl);
	check_truth(wl);
	check_left(line);
}


/* What the server has forgotten shows when something is sent, and there is
   nobody who would send it again */
static bool forgotten(int hop)
{
	const struct host *h = &w.hostv[hop];

	return h->conn.active && h->conn.up && h->conn.epoch != h->epoch;
}


/* TCP waits longer to send something again than a farewell lasts */
static bool waits(int hop)
{
	const struct conn *c = &w.hostv[hop].conn;

	return c->active && c->wait;
}


/* Has a registrar that this one shares its data with a way to it? */
static int way_over(const struct aa_line *line, const struct record *rec)
{
	const struct record *cur = line ? record_of(line->cur) : NULL;

	return cur && aa_line_registered(line) && cur->store == rec->store ?
		cur->hop : NOBODY;
}


/* What is registered, and what is on its way to be */
static void expect_gone(const struct aa_line *line, const struct aa_path *path)
{
	const struct record *rec = path ? record_of(path) : NULL;
	const struct aa_line *heir = line_of(line->cfg.line);
	int hop = NOBODY, target;
	size_t i;

	if (!path || !aa_binding_maybe(path->b) || (rec && rec->late) ||
	    w.link_down)
		return;

	target = rec ? rec->target : path->b->target;
	if (aa_flow_state(path->flow) != AA_FLOW_DOWN)
		hop = rec ? rec->hop : flow_hop(path->flow);
	else if (rec && aa_line_registered(line))
		hop = way_over(line, rec);
	else if (rec && heir != line && !(line->second &&
		 aa_line_registered_at(line, line->second->flow)))
		hop = way_over(heir, rec);

	if (hop == NOBODY || !leads(hop, target) || waits(hop) ||
	    (w.unloads && forgotten(hop)))
		return;

	for (i=0; i<PARTING; i++) {
		if (w.partingv[i].owner)
			continue;

		w.partingv[i].owner = owner_of(path);
		w.partingv[i].at    = vclock.now;
		w.partingv[i].changes = w.changes;
		break;
	}
}


/* What a line that ends now can take back; a nonce that is too old costs a
   module that is unloaded its only try */
static void expect_all_gone(const struct aa_line *line)
{
	const struct le *le;

	if (w.set.loss || w.set.overtake || (w.unloads && w.set.auth) ||
	    w.closing)
		return;

	expect_gone(line, line->cur);
	expect_gone(line, line->next);
	expect_gone(line, line->second);
	for (le = list_head(&line->leavel); le; le = le->next)
		expect_gone(line, le->data);
}


static void check_gone(void)
{
	size_t i, k;

	for (i=0; i<PARTING; i++) {
		const unsigned owner = w.partingv[i].owner;
		const uint64_t at = w.partingv[i].at;

		if (!owner || vclock.now <= at + FAREWELL + 500 +
		    8ull * w.set.latency)
			continue;

		w.partingv[i].owner = 0;

		if (w.changes != w.partingv[i].changes)
			continue;

		for (k=0; k<RECORDS; k++) {
			const struct record *rec = &w.recordv[k];

			if (rec->used && rec->owner == owner)
				broken("end", "line %u has ended, and its"
				       " binding is still at h%d by h%d,"
				       " reg-id %u", rec->line, rec->reg,
				       rec->hop, rec->regid);
		}
	}
}


/* Called when an instant is over */
static void look(void)
{
	size_t i;

	expire();
	check_gone();

	for (i=0; i<LINES && !w.bad[0]; i++) {
		if (w.watchv[i].line)
			look_at_line(&w.watchv[i]);
	}
}


/* ---- at rest ---------------------------------------------------------- */


/* Can a farewell get there, by its own path or by the one in force? */
static bool clearable(const struct record *rec, const struct aa_line *line)
{
	const struct record *cur = record_of(line->cur);

	if (w.link_down)
		return false;

	if (leads(rec->hop, rec->target))
		return true;

	return !rec->late && cur && aa_line_registered(line) &&
		cur->store == rec->store && leads(cur->hop, rec->target);
}


static void check_leftovers(const struct watch *wl)
{
	const struct aa_line *line = wl->line;
	const unsigned cur = line->cur ? owner_of(line->cur) : 0;
	const unsigned next = line->next ? owner_of(line->next) : 0;
	const unsigned second = line->second ? owner_of(line->second) : 0;
	size_t i;

	for (i=0; i<RECORDS; i++) {
		const struct record *rec = &w.recordv[i];

		/* what was before a restart expires */
		if (!rec->used || rec->line != line->cfg.line ||
		    rec->owner == cur || rec->owner == next ||
		    rec->owner == second || rec->boot != wl->boot ||
		    (line->old && rec->owner <= wl->replaced) ||
		    rec->known_until < vclock.now)
			continue;

		if (clearable(rec, line))
			broken("5.2", "line %u: a binding is left at h%d by"
			       " h%d, reg-id %u", line->cfg.line, rec->reg,
			       rec->hop, rec->regid);
	}
}


static bool flow_answers(enum aa_role role, enum aa_rank rank)
{
	const int host = server(role, rank);
	const int route = server(OUTBOUND, P);

	if (w.link_down || host == NOBODY)
		return false;

	if (route != NOBODY && !works(route))
		return false;

	return works(host) ||
		(w.hostv[host].st == SAYS_503 && w.set.options_ok);
}


/* Where it should be, or AA_RANK_NONE where more than one place is right */
static enum aa_rank expected(const struct watch *wl, enum aa_role role,
			     bool primary, bool backup)
{
	const struct aa_line *line = wl->line;
	const enum aa_rank on = held(line, role);

	/* until the server it is held on works, it stays where it is */
	if (on)
		return (on == P ? primary : backup) ? on : AA_RANK_NONE;

	if (primary && backup) {
		switch (line->cfg.failback) {

		case AA_FAILBACK_AUTO:
			return P;

		case AA_FAILBACK_IDLE:
			return wl->acc->calls ? AA_RANK_NONE : P;

		default:
			return AA_RANK_NONE;
		}
	}

	return primary ? P : backup ? B : AA_RANK_NONE;
}


static void check_place(const struct watch *wl)
{
	const struct aa_line *line = wl->line;
	const enum aa_role role = route_role();
	const bool primary = path_good(P), backup = path_good(B);
	enum aa_rank want = expected(wl, role, primary, backup);

	if (want && (!line->cur || line->cur->use[role] != want))
		broken("at rest", "line %u is not on the %s",
		       line->cfg.line, aa_rank_name(want));

	if (want && (want == P ? primary : backup)) {
		if (!aa_line_registered(line))
			broken("at rest", "line %u is not registered",
			       line->cfg.line);
		else if (line->next && primary && backup)
			broken("at rest", "line %u is still going elsewhere",
			       line->cfg.line);
	}

	if (line->cfg.scenario != AA_SCENARIO_PROXY_REGISTRAR ||
	    !w.set.outbound || server(PROXY, B) == NOBODY ||
	    (!primary && !backup))
		return;

	/* a proxy that is pinged by CRLF says 503 to others only */
	if (w.set.flow_timer && w.set.tp != SIP_TRANSP_UDP &&
	    (w.hostv[server(PROXY, P)].st == SAYS_503 ||
	     w.hostv[server(PROXY, B)].st == SAYS_503))
		return;

	/* held where no registrar answers, nothing is registered there */
	if (held(line, role) && !path_good(line->cur ?
			line->cur->use[role] : held(line, role)))
		return;

	want = expected(wl, PROXY, flow_answers(PROXY, P),
			flow_answers(PROXY, B));
	if (want && (!line->cur || line->cur->use[PROXY] != want))
		broken("at rest", "line %u does not use the %s proxy",
		       line->cfg.line, aa_rank_name(want));
}


/* Standby 2: a line on its primary is registered over the backup as well */
static void check_second(const struct watch *wl)
{
	const struct aa_line *line = wl->line;
	const enum aa_role role = route_role();
	const struct record *rec = record_of(line->second);

	if (w.set.standby < 2) {
		if (line->second)
			broken("standby", "line %u has a second path",
			       line->cfg.line);
		return;
	}

	if (server(role, B) == NOBODY || !aa_line_registered(line) ||
	    line->use[role] != P || !path_good(P) || !path_good(B) ||
	    !flow_answers(PROXY, line->use[PROXY]))
		return;

	if (!line->second || !rec || rec->hop != hop_of(B) ||
	    !aa_line_registered_at(line, line->second->flow))
		broken("standby", "line %u is not registered a second time",
		       line->cfg.line);
}


static void check_told(const struct watch *wl)
{
	const struct aa_line *line = wl->line;
	const bool up = aa_line_registered(line);

	if (wl->acc->told && wl->acc->told_up != up)
		broken("5.5", "line %u: baresip was told the opposite",
		       line->cfg.line);

	if (up && !record_of(line->cur))
		broken("5.5", "line %u is registered, and nobody knows",
		       line->cfg.line);

	/* what is behind a proxy that works shows with the next REGISTER */
	if (up && line->cur && (w.link_down || dead(hop_of(
			line->cur->use[route_role()]))))
		broken("5.5", "line %u is registered at a dead server",
		       line->cfg.line);
}


static void check_flows(const struct watch *wl)
{
	const struct aa_line *line = wl->line;
	const enum aa_role role = route_role();

	if (w.set.standby || w.set.lines > 1 || line->next ||
	    !w.set.outbound || list_head(&line->leavel) || !line->cur ||
	    line->use[role] != P || line->use[PROXY] != P ||
	    !path_good(P) || !flow_answers(PROXY, P) ||
	    !aa_line_registered(line) ||
	    line->mode != AA_MODE_AUTO || wl->acc->calls ||
	    line->pen[role][P].until > vclock.now)
		return;

	/* the backup of one role may be the primary of another */
	if (server(role, B) == server(PROXY, P) ||
	    server(role, B) == server(REGISTRAR, P))
		return;

	if (aa_flow_state(aa_line_flow(line, role, B)) != AA_FLOW_IDLE)
		broken("at rest", "line %u keeps the flow to the backup",
		       line->cfg.line);
}


static void check_rest(void)
{
	size_t i;

	for (i=0; i<LINES && !w.bad[0]; i++) {
		struct watch *wl = &w.watchv[i];

		if (!wl->line)
			continue;

		check_leftovers(wl);
		check_told(wl);
		if (any_refusal())
			continue;

		check_place(wl);
		check_second(wl);
		check_flows(wl);
	}
}


/* Nothing changes any more: wait as long as everything may take */
static void settle(void)
{
	const unsigned loss = w.set.loss;
	uint64_t hold = 0;
	size_t i;

	w.set.loss = 0;
	for (i=0; i<LINES; i++) {
		if (w.watchv[i].line)
			hold = MAX(hold, aa_line_hold_down(w.watchv[i].line));
	}

	++total.settled;
	clock_run(vclock.now + w.settle + hold);
	w.set.loss = loss;
	if (!w.bad[0])
		check_rest();
}


/* ---- how it is set up ------------------------------------------------- */


#define NONE_ {NOBODY, NOBODY, NOBODY}
#define ONE(a) {NOBODY, (a), NOBODY}
#define TWO(a, b) {NOBODY, (a), (b)}
#define STORED2(x, y) {(x) == 0 ? 0 : (y) == 0 ? 1 : -1,		\
		       (x) == 1 ? 0 : (y) == 1 ? 1 : -1,		\
		       (x) == 2 ? 0 : (y) == 2 ? 1 : -1,		\
		       (x) == 3 ? 0 : (y) == 3 ? 1 : -1,		\
		       (x) == 4 ? 0 : (y) == 4 ? 1 : -1,		\
		       (x) == 5 ? 0 : (y) == 5 ? 1 : -1}

static const struct topology topologyv[] = {

{"E3/D3: two edges, one registrar", AA_SCENARIO_OUTBOUND,
 {TWO(0, 1), ONE(4), ONE(4)}, STORED2(4, -1), 1 << 4, false},

{"E3/D3: two edges that are registrars", AA_SCENARIO_OUTBOUND,
 {TWO(0, 1), ONE(4), ONE(4)}, STORED2(0, 1), 1 << 0 | 1 << 1, true},

{"E3/D3: a backup outbound proxy against the proxy", AA_SCENARIO_OUTBOUND,
 {{NOBODY, NOBODY, 1}, ONE(0), ONE(0)}, STORED2(0, 1), 1 << 0 | 1 << 1, true},

{"E2/D2: two servers", AA_SCENARIO_ALL,
 {TWO(0, 1), TWO(0, 1), TWO(0, 1)}, STORED2(0, 1), 1 << 0 | 1 << 1, true},

{"E2/D2: two edges, two servers", AA_SCENARIO_ALL,
 {TWO(0, 1), TWO(4, 5), TWO(4, 5)}, STORED2(4, 5), 1 << 4 | 1 << 5, true},

{"E2/D2: six servers", AA_SCENARIO_ALL,
 {TWO(0, 1), TWO(2, 3), TWO(4, 5)}, STORED2(4, 5), 1 << 4 | 1 << 5, true},

{"E2/D2: two edges, two proxies, one registrar", AA_SCENARIO_ALL,
 {TWO(0, 1), TWO(2, 3), ONE(4)}, STORED2(4, -1), 1 << 4, false},

{"E1/D1: four servers", AA_SCENARIO_PROXY_REGISTRAR,
 {NONE_, TWO(0, 1), TWO(2, 3)}, STORED2(2, 3), 1 << 2 | 1 << 3, true},

{"E1/D1: two servers", AA_SCENARIO_PROXY_REGISTRAR,
 {NONE_, TWO(0, 1), TWO(0, 1)}, STORED2(0, 1), 1 << 0 | 1 << 1, true},

{"E1/D1: one proxy, two registrars", AA_SCENARIO_PROXY_REGISTRAR,
 {NONE_, ONE(0), TWO(2, 3)}, STORED2(2, 3), 1 << 2 | 1 << 3, true},

{"E1/D1: two proxies, one registrar", AA_SCENARIO_PROXY_REGISTRAR,
 {NONE_, TWO(0, 1), ONE(2)}, STORED2(2, -1), 1 << 2, false},

{"E1/D1: four servers behind one edge", AA_SCENARIO_PROXY_REGISTRAR,
 {ONE(4), TWO(0, 1), TWO(2, 3)}, STORED2(2, 3), 1 << 2 | 1 << 3, true},

{"E1/D1: two servers behind one edge", AA_SCENARIO_PROXY_REGISTRAR,
 {ONE(4), TWO(0, 1), TWO(0, 1)}, STORED2(0, 1), 1 << 0 | 1 << 1, true},

{"none: one edge, one registrar", AA_SCENARIO_NONE,
 {ONE(0), ONE(4), ONE(4)}, STORED2(4, -1), 1 << 4, false},

{"none: one server", AA_SCENARIO_NONE,
 {NONE_, ONE(0), ONE(0)}, STORED2(0, -1), 1 << 0, false}
};


static bool host_used(const struct topology *t, int host)
{
	int role, rank;

	/* in the second one, h4 is no more than a name */
	if (host == 4 && !(t->final & 1 << 4) && t->server[OUTBOUND][P] != 4)
		return false;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		for (rank=P; rank<=B; rank++) {
			if (t->server[role][rank] == host)
				return true;
		}
	}

	return false;
}


static uint32_t one_of(const uint32_t *v, size_t n)
{
	return v[rnd(PLAN, (uint32_t)n)];
}

#define ONE_OF(...) one_of((const uint32_t[]){__VA_ARGS__},		\
	sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))


static void setup_random(struct setup *s)
{
	memset(s, 0, sizeof(*s));
	s->topo        = &topologyv[rnd(PLAN, ARRAY_SIZE(topologyv))];
	s->tp          = percent(PLAN, 50) ? SIP_TRANSP_UDP : SIP_TRANSP_TCP;
	s->failback    = (enum aa_failback)rnd(PLAN, AA_FAILBACK_COUNT);
	s->outbound    = percent(PLAN, 60);
	s->flow_timer  = percent(PLAN, 50);
	s->auth        = percent(PLAN, 50);
	s->shared      = s->topo->can_share && percent(PLAN, 50);
	s->user_only   = percent(PLAN, 50);
	s->strict      = percent(PLAN, 50);
	s->overtake    = s->tp == SIP_TRANSP_UDP && percent(PLAN, 30);
	s->options_ok  = percent(PLAN, 30);
	s->standby     = ONE_OF(0, 0, 1, 2);
	s->lines       = ONE_OF(1, 1, 1, 1, 2, 3);
	s->loss        = ONE_OF(0, 0, 0, 2, 10);
	s->latency     = ONE_OF(0, 1, 10, 50);
	s->retry_after = ONE_OF(0, 0, 1, 10, 60);
	s->keepalive   = ONE_OF(1, 3, 10, 25);
	s->transaction = ONE_OF(500, 1000, 2000, 4000);
	if (s->loss)    /* else half of the requests time out */
		s->transaction = MAX(s->transaction, 2000u);
	s->base        = ONE_OF(1, 2, 10, 30);
	s->max         = ONE_OF(2, 10, 60);
	s->max         = MAX(s->base, s->max);
	s->delay       = ONE_OF(0, 0, 0, 5, 20);
	s->successes   = ONE_OF(1, 1, 1, 2, 4);
	s->period      = ONE_OF(60, 120, 600);
	s->renewal     = ONE_OF(15, 15, 5);
	s->retry       = 30;
	s->warm        = (enum aa_rank)ONE_OF(0, 0, 0, 1, 2);
}


static void setup_print(const struct setup *s)
{
	print_message("%s; %s, outbound %d, failback %s, %s%s%s, loss %u %%"
		      "%s, latency 0-%u ms\n", s->topo->name,
		      s->tp == SIP_TRANSP_UDP ? "UDP" : "TCP", s->outbound,
		      aa_failback_name(s->failback),
		      s->shared ? "shared" : "separate",
		      s->user_only ? ", by user" : "",
		      s->strict ? ", strict CSeq" : "", s->loss,
		      s->overtake ? ", in any order" : "", s->latency);
	print_message("keep-alive %u s, transaction %u ms, recovery %u-%u s,"
		      " delay %u s, successes %u, period %u s, renewal %u s,"
		      " standby %u, lines %u, auth %d, flow timer %d,"
		      " Retry-After %u, OPTIONS ok %d, warm %s\n",
		      s->keepalive, s->transaction, s->base, s->max, s->delay,
		      s->successes, s->period, s->renewal, s->standby,
		      s->lines, s->auth, s->flow_timer, s->retry_after,
		      s->options_ok, aa_rank_name(s->warm));
}


static void bounds(void)
{
	const struct setup *s = &w.set;
	const uint64_t wait = 1000ull * MAX(s->max, s->retry_after);
	const uint64_t refresh = 1000ull * s->period;
	uint64_t detect, recover, settle;

	/* a registrar behind an edge shows with the next REGISTER only */
	detect = s->transaction + 1000 + 8ull * s->latency +
		(s->outbound && (is_final(hop_of(P)) ||
				 route_role() == REGISTRAR) ?
		 1000ull * s->keepalive : refresh);

	recover = detect + wait + 3ull * s->transaction +
		1000ull * s->retry + 20000;
	if (s->loss)
		recover *= 3;

	settle = recover + wait + refresh + 1000ull * s->delay +
		1000ull * s->successes * s->keepalive + 30000;

	/* where settings change, the longest counts */
	w.detect  = MAX(w.detect, detect);
	w.recover = MAX(w.recover, recover);
	w.settle  = MAX(w.settle, settle);
}


static void config_fill(struct aa_line_config *c, unsigned n)
{
	const struct setup *s = &w.set;
	int role, rank;

	memset(c, 0, sizeof(*c));
	c->line     = n;
	c->scenario = s->topo->scenario;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		for (rank=P; rank<=B; rank++) {
			struct aa_server *srv = &c->server[role][rank];
			const int8_t host = s->topo->server[role][rank];

			if (host == NOBODY)
				continue;

			(void)re_snprintf(srv->host, sizeof(srv->host), "h%d",
					  host);
			srv->port = 5060;
		}
	}

	c->outbound             = s->outbound;
	c->registers            = true;
	c->registration_period  = s->period;
	c->registration_retry   = s->retry;
	c->registration_renewal = s->renewal;
	c->transaction_timer    = s->transaction;
	c->keepalive_timer      = s->keepalive;
	c->recovery_base        = s->base;
	c->recovery_max         = s->max;
	c->failback_delay       = s->delay;
	c->failback_successes   = s->successes;
	c->standby              = s->standby;
	c->failback             = s->failback;
}


/* As warm.c does it */
static void warm(struct aa_line *line)
{
	int role;

	if (!w.set.warm)
		return;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		if (server((enum aa_role)role, w.set.warm) != NOBODY)
			line->use[role] = w.set.warm;
		else
			line->use[role] = P;
	}

	memcpy(line->warm, line->use, sizeof(line->warm));
}


static void world_open(const struct setup *s, uint64_t seed, bool verbose)
{
	unsigned i;

	memset(&w, 0, sizeof(w));
	memset(&vclock, 0, sizeof(vclock));
	vclock.began  = seed % 4 ? 1000000 : 1; /* with the host itself */
	vclock.now    = vclock.began;
	chance[WORLD] = seed;
	w.set         = *s;
	w.first       = *s;
	w.verbose     = verbose;
	w.ending      = (enum ending)(seed % ENDINGS);
	str_ncpy(w.phone.uuid, "model", sizeof(w.phone.uuid));
	for (i=0; i<HOSTS; i++)
		w.hostv[i].nat = 1;

	bounds();
	world_changed();
}


static void line_begin(unsigned i)
{
	struct watch *wl = &w.watchv[i];
	struct aa_line_config cfg;

	config_fill(&cfg, i + 1);
	wl->acc = account_make(i + 1, server(PROXY, P));
	if (aa_line_alloc(&wl->line, &w.phone, &cfg, wl->acc, w.set.tp)) {
		broken("model", "no line");
		return;
	}

	wl->mode_since  = vclock.now;
	wl->calls_since = vclock.now;
}


static void lines_start(void)
{
	unsigned i;

	for (i=0; i<w.set.lines; i++) {
		line_begin(i);
		if (w.bad[0])
			return;

		warm(w.watchv[i].line);
		aa_line_start(w.watchv[i].line, false);
	}
}


/* What is gone with the power */
static void line_lose(struct watch *wl)
{
	struct aa_line *line = wl->line;

	while (line) {
		struct aa_line *old = line->old;
		struct aa_account *acc = line->acc;

		line->ended = true;
		if (!old || old->acc != acc)
			mem_deref(acc);
		mem_deref(line);
		line = old;
	}
}


static void lines_end(bool release)
{
	unsigned i;

	w.unloads = release;

	for (i=0; i<LINES; i++) {
		struct watch *wl = &w.watchv[i];
		struct aa_line *line = wl->line;

		if (!line)
			continue;

		wl->line = NULL;
		wl->acc  = NULL;
		if (release)
			aa_line_release(line);
		else
			aa_line_end(line, NULL);
	}
}


/* As long as baresip's exit waits; nobody waits when the module is unloaded */
static void lines_go(bool release)
{
	unsigned i;

	lines_end(release);
	if (!release)
		clock_run(vclock.now + 1500);

	for (i=0; i<LINES; i++) {
		const unsigned boot = w.watchv[i].boot + 1;

		memset(&w.watchv[i], 0, sizeof(w.watchv[i]));
		w.watchv[i].boot = boot;
	}
}


/* The phone loses power, or baresip is restarted, or the module is unloaded and
   loaded, and comes back with what warm.c and stray.c remember */
static void reboot(bool orderly, bool release)
{
	enum aa_rank usev[LINES][AA_ROLE_COUNT];
	unsigned regidv[LINES] = {0};
	unsigned i;

	/* what the kernel had to send goes with the power */
	for (i=0; i<HOSTS && !orderly; i++)
		list_flush(&w.hostv[i].conn.q);

	for (i=0; i<w.set.lines; i++) {
		struct watch *wl = &w.watchv[i];
		const unsigned boot = wl->boot + 1;

		memset(usev[i], 0, sizeof(usev[i]));
		if (wl->line) {
			regidv[i] = wl->line->cur ?
				aa_binding_regid(wl->line->cur->b) : 0;
			memcpy(usev[i], wl->line->use, sizeof(usev[i]));
		}

		if (orderly)
			continue;

		line_lose(wl);
		memset(wl, 0, sizeof(*wl));
		wl->boot = boot;
	}

	if (orderly)
		lines_go(release);
	else
		list_flush(&w.phone.strayl);

	list_flush(&w.phone.farewelll);
	if (!release)
		list_flush(&w.reql);
	memset(w.partingv, 0, sizeof(w.partingv));

	/* it takes longer than a request on its way does */
	if (w.set.overtake)
		list_flush(&w.airl);

	for (i=0; i<HOSTS && !release; i++) {
		struct conn *c = &w.hostv[i].conn;

		tmr_cancel(&c->tmr);
		list_flush(&c->q);
		c->active = false;
		c->up     = false;
	}

	w.lives += !orderly;
	lines_start();
	for (i=0; i<w.set.lines && !w.bad[0]; i++) {
		struct aa_line *line = w.watchv[i].line;

		memcpy(line->use, usev[i], sizeof(line->use));
		memcpy(line->warm, usev[i], sizeof(line->warm));
		line->warm_regid = regidv[i];
	}
}


static void world_close(void)
{
	unsigned i;

	w.closing = true;
	lines_end(true);
	list_flush(&w.phone.farewelll);
	list_flush(&w.phone.strayl);
	list_flush(&w.airl);
	list_flush(&w.reql);
	for (i=0; i<HOSTS; i++) {
		tmr_cancel(&w.hostv[i].conn.tmr);
		list_flush(&w.hostv[i].conn.q);
		list_flush(&w.hostv[i].hanging);
	}

	if (w.alive)
		broken("leak", "%d objects are left", w.alive);
	if (w.phone.flowl.head)
		broken("leak", "a flow is left");
	if (vclock.tmrl.head)
		broken("leak", "a timer is left");
}


/* ---- what happens ----------------------------------------------------- */


enum what {
	WAIT = 0,
	HOST,
	ALL_WORK,
	RESTART,
	LINK,
	NAT,
	CALL,
	MODE,
	REFRESH,
	PROBE,
	CHECK,
	SUSPECT,
	NEW_ADDRESS,
	REBOOT,
	RELOAD,                 /* other settings                           */
	LINE,                   /* its account is removed, or added         */
	AGAIN,                  /* baresip is restarted, or the module is   */
	SETTLE,
	WHATS
};

struct action {
	enum what what;
	unsigned arg;
	unsigned arg2;
	uint32_t wait;
};

static const char *const whatv[] = {
	"wait", "host", "all work", "restart", "link", "new mapping", "call",
	"mode", "refresh", "probe", "check", "suspect", "new address",
	"reboot", "reload", "line", "again", "settle"
};


static void action_random(struct action *a, const struct setup *s)
{
	static const uint8_t weight[WHATS] = {
		[WAIT] = 15, [HOST] = 45, [ALL_WORK] = 6, [RESTART] = 6,
		[LINK] = 4, [NAT] = 2, [CALL] = 6, [MODE] = 5,
		[REFRESH] = 1, [PROBE] = 1, [CHECK] = 1, [SUSPECT] = 2,
		[NEW_ADDRESS] = 1, [REBOOT] = 1, [RELOAD] = 3,
		[LINE] = 1, [AGAIN] = 1, [SETTLE] = 2
	};
	uint32_t total_weight = 0, n, i;

	for (i=0; i<WHATS; i++)
		total_weight += weight[i];

	n = rnd(PLAN, total_weight);
	for (i=0; n >= weight[i]; i++)
		n -= weight[i];

	memset(a, 0, sizeof(*a));
	a->what = (enum what)i;
	do {
		a->arg = rnd(PLAN, HOSTS);
	} while (!host_used(s->topo, (int)a->arg));

	switch (rnd(PLAN, 10)) {

	case 0: case 1: case 2: case 3:
		a->wait = rnd(PLAN, 100);
		break;

	case 4: case 5: case 6:
		a->wait = rnd(PLAN, 3000);
		break;

	case 7: case 8:
		a->wait = rnd(PLAN, 30000);
		break;

	default:
		a->wait = rnd(PLAN, 200000);
		break;
	}

	switch (a->what) {

	case HOST:
		a->arg2 = ONE_OF(WORKS, WORKS, WORKS, WORKS, REFUSES, REFUSES,
				 SWALLOWS, SWALLOWS, HANGS, SAYS_503,
				 SAYS_403);
		break;

	case MODE:
		a->arg  = rnd(PLAN, s->lines);
		a->arg2 = ONE_OF(AA_MODE_AUTO, AA_MODE_AUTO, AA_MODE_PRIMARY,
				 AA_MODE_BACKUP);
		break;

	case CALL:
	case REFRESH:
	case PROBE:
	case CHECK:
	case SUSPECT:
	case LINE:
		a->arg = rnd(PLAN, s->lines);
		break;

	case AGAIN:
		a->arg2 = rnd(PLAN, 2);
		break;

	case RELOAD:
		a->arg  = rnd(PLAN, 1 << 2 * AA_ROLE_COUNT);
		a->arg2 = rnd(PLAN, 432);
		break;

	default:
		break;
	}
}


/* Servers of each role change places, or the backup goes; 0: as at first */
static void topology_change(unsigned how)
{
	const struct topology *first = w.first.topo;
	struct topology *t = &w.topo;
	bool backup[AA_ROLE_COUNT];
	int role;

	*t = *first;
	for (role=0; role<AA_ROLE_COUNT; role++, how >>= 2) {
		int8_t *v = t->server[role];

		if ((how & 3) == 1 && v[P] != NOBODY && v[B] != NOBODY) {
			v[P] = first->server[role][B];
			v[B] = first->server[role][P];
		}
		else if ((how & 3) == 2) {
			v[B] = NOBODY;
		}

		backup[role] = v[B] != NOBODY;
	}

	/* one that answers for a registrar does not lead to two of them */
	if (!backup[OUTBOUND] && (backup[PROXY] || backup[REGISTRAR]) &&
	    t->server[OUTBOUND][P] != NOBODY &&
	    t->final & 1 << t->server[OUTBOUND][P]) {
		*t = *first;
		for (role=0; role<AA_ROLE_COUNT; role++)
			backup[role] = t->server[role][B] != NOBODY;
	}

	t->scenario = aa_policy_scenario(backup[OUTBOUND], backup[PROXY],
					 backup[REGISTRAR]);
}


/* others: the servers are not the same; another: nor is the account */
static void line_reload(unsigned i, bool others, bool another)
{
	struct watch *wl = &w.watchv[i];
	struct aa_account *acc = NULL;
	struct aa_line_config cfg;
	struct aa_line *line;

	config_fill(&cfg, i + 1);
	if (another) {
		acc = account_make(i + 1, server(PROXY, P));
		++wl->boot;
	}

	if (aa_line_replace(&line, wl->line, &cfg, acc, w.set.tp, "model")) {
		broken("model", "no line");
		return;
	}

	wl->line = line;
	if (acc)
		wl->acc = acc;
	wl->replaced   = w.bindings;
	wl->asked_at   = vclock.now;
	wl->mode_since = vclock.now;
	if (others) {
		memset(wl->use, 0, sizeof(wl->use));
		wl->pen_seen = 0;
	}
	memset(wl->pen_down, 0, sizeof(wl->pen_down));
	memset(wl->pen_up, 0, sizeof(wl->pen_up));
	aa_line_start(line, false);
}


/* The settings of all lines change; with a call, lines.c waits */
static void reload(unsigned how, unsigned what)
{
	const struct setup *first = &w.first;
	const struct topology before = *w.set.topo;
	bool another, others;
	unsigned i;

	for (i=0; i<w.set.lines; i++) {
		if (w.watchv[i].line && w.watchv[i].acc->calls)
			return;
	}

	topology_change(how);
	w.set.topo      = &w.topo;
	w.set.failback  = (enum aa_failback)(what % 3);
	w.set.standby   = what / 3 % 3;
	w.set.delay     = what / 9 % 2 * 5;
	w.set.outbound  = first->outbound ^ (what / 18 % 4 == 0);
	w.set.keepalive = first->keepalive + what / 72 % 2;
	others  = 0 != memcmp(before.server, w.topo.server,
			      sizeof(before.server));
	another = what / 144 % 3 == 0 ||
		before.server[PROXY][P] != server(PROXY, P);

	memset(w.ok_since, 0, sizeof(w.ok_since));
	bounds();
	world_changed();

	for (i=0; i<w.set.lines && !w.bad[0]; i++) {
		if (w.watchv[i].line)
			line_reload(i, others, another);
	}
}


/* uadel, uanew */
static void line_toggle(unsigned i)
{
	struct watch *wl = &w.watchv[i];
	struct aa_line *line = wl->line;
	const unsigned boot = wl->boot + 1;

	if (line) {
		wl->line = NULL;
		wl->acc  = NULL;
		w.unloads = false;
		aa_line_end(line, NULL);
		return;
	}

	memset(wl, 0, sizeof(*wl));
	wl->boot = boot;
	line_begin(i);
	if (w.bad[0])
		return;

	wl->asked_at = vclock.now;
	aa_line_start(wl->line, false);
}


static void link_set(bool down)
{
	struct le *le;

	w.link_down = down;
	++w.changes;

	/* module.c: net_handler() */
	for (le = w.phone.flowl.head; le; le = le->next) {
		struct aa_flow *flow = le->data;

		if (flow->state == AA_FLOW_UP && flow->keep)
			aa_flow_check(flow);
		else if (!down)
			aa_flow_probe(flow);
	}
}


static void address_new(void)
{
	struct le *le;
	unsigned i;

	++w.changes;
	for (le = w.phone.flowl.head; le; le = le->next)
		aa_flow_reset(le->data);

	for (i=0; i<HOSTS; i++)
		conn_abort((int)i);

	for (i=0; i<w.set.lines; i++) {
		w.watchv[i].asked_at = vclock.now;
		aa_line_refresh(w.watchv[i].line);
	}
}


static bool needs_line(enum what what)
{
	switch (what) {

	case CALL: case MODE: case REFRESH: case PROBE: case CHECK:
	case SUSPECT:
		return true;

	default:
		return false;
	}
}


/* Anything but what a person does, and what hurts nobody */
static bool is_fault(enum what what)
{
	switch (what) {

	case WAIT: case CALL: case MODE: case REFRESH: case PROBE:
	case CHECK: case RELOAD: case SETTLE:
		return false;

	default:
		return true;
	}
}


static void act(const struct action *a)
{
	struct watch *wl = &w.watchv[a->arg % LINES];
	unsigned i;

	/* a shorter story may have fewer lines */
	if (needs_line(a->what) && !wl->line)
		return;

	say("-- %s %u %u", whatv[a->what], a->arg, a->arg2);
	if (is_fault(a->what))
		w.fault_at = vclock.now;

	switch (a->what) {

	case HOST:
		host_set((int)a->arg, (enum host_state)a->arg2);
		break;

	case ALL_WORK:
		for (i=0; i<HOSTS; i++)
			host_set((int)i, WORKS);
		if (w.link_down)
			link_set(false);
		break;

	case RESTART:
		host_set((int)a->arg, REFUSES);
		world_changed();
		host_set((int)a->arg, WORKS);
		break;

	case LINK:
		link_set(!w.link_down);
		break;

	case NAT:
		++w.hostv[a->arg].nat;
		break;

	case CALL:
		wl->acc->calls = !wl->acc->calls;
		wl->calls_since = vclock.now;
		aa_line_kick(wl->line);
		break;

	case MODE:
		wl->mode_since = vclock.now;
		wl->asked_at   = vclock.now;
		aa_line_mode_set(wl->line, (enum aa_mode)a->arg2);
		break;

	case REFRESH:
		wl->asked_at = vclock.now;
		aa_line_refresh(wl->line);
		break;

	case PROBE:
		wl->asked_at = vclock.now;
		aa_line_probe(wl->line);
		break;

	case CHECK:
		aa_line_check(wl->line);
		break;

	case SUSPECT:
		aa_line_suspect(wl->line, "call failed");
		break;

	case NEW_ADDRESS:
		if (!w.link_down)
			address_new();
		break;

	case REBOOT:
		reboot(false, false);
		break;

	case AGAIN:
		reboot(true, a->arg2);
		break;

	case RELOAD:
		reload(a->arg, a->arg2);
		break;

	case LINE:
		if (a->arg < w.set.lines)
			line_toggle(a->arg);
		break;

	case SETTLE:
		settle();
		break;

	default:
		break;
	}

	world_changed();
	clock_run(vclock.now + a->wait);
}


static void check_nothing_left(void)
{
	size_t i;

	/* a farewell that overtakes the last refresh is not said again */
	for (i=0; i<RECORDS && !w.set.loss && !w.set.overtake; i++) {
		const struct record *rec = &w.recordv[i];

		if (rec->used && leads(rec->hop, rec->target))
			broken("end", "line %u has ended, and its binding is"
			       " still at h%d", rec->line, rec->reg);
	}
}


/* The line ends as things are */
static void finale_at_once(void)
{
	const bool release = w.ending == UNLOADED_AT_ONCE;

	say("-- %s", release ? "unloaded" : "ends");
	lines_end(release);
	clock_run(vclock.now + FAREWELL + 501 + 8ull * w.set.latency);
	if (!w.bad[0])
		clock_run(vclock.now + MINUTE);
	if (!w.bad[0] && w.phone.farewelll.head)
		broken("end", "a farewell does not end");
}


/* The end of all other stories: everything works, then the lines end */
static void finale(void)
{
	const struct action all_work = {ALL_WORK, 0, 0, 0};
	unsigned i;

	if (w.ending >= ENDS_AT_ONCE) {
		finale_at_once();
		return;
	}

	for (i=0; i<w.set.lines && !w.bad[0]; i++) {
		const struct action automatic = {MODE, i, AA_MODE_AUTO, 0};

		if (w.watchv[i].acc)
			w.watchv[i].acc->calls = false;
		act(&automatic);
	}

	act(&all_work);
	settle();
	if (w.bad[0])
		return;

	if (percent(WORLD, 20)) {
		lines_end(true);
		return;
	}

	lines_end(false);
	clock_run(vclock.now + FAREWELL + 500);
	if (!w.bad[0])
		check_nothing_left();
	if (!w.bad[0])
		clock_run(vclock.now + MINUTE);
	if (!w.bad[0] && w.phone.farewelll.head)
		broken("end", "a farewell does not end");
}


static bool episode(const struct setup *s, const struct action *v, size_t n,
		    uint64_t seed, bool verbose)
{
	size_t i;

	world_open(s, seed, verbose);
	lines_start();
	clock_run(vclock.now);

	for (i=0; i<n && !w.bad[0]; i++) {
		++total.steps;
		act(&v[i]);
	}

	if (!w.bad[0])
		finale();

	world_close();
	++total.episodes;

	return !w.bad[0];
}


/* ---- the shortest story that still breaks ----------------------------- */


static bool breaks(const struct setup *s, const struct action *v, size_t n,
		   uint64_t seed, const char *what)
{
	return !episode(s, v, n, seed, false) && 0 == strcmp(w.what, what);
}


static size_t shorten(const struct setup *s, struct action *v, size_t n,
		      uint64_t seed, const char *what)
{
	struct action t[ACTIONS];
	size_t chunk, i;

	for (chunk = n; chunk; chunk /= 2) {
		i = 0;

		while (i < n) {
			const size_t c = MIN(chunk, n - i);

			memcpy(t, v, i * sizeof(*v));
			memcpy(t + i, v + i + c, (n - i - c) * sizeof(*v));

			if (breaks(s, t, n - c, seed, what)) {
				n -= c;
				memcpy(v, t, n * sizeof(*v));
			}
			else {
				i += c;
			}
		}
	}

	for (i=0; i<n; i++) {
		const uint32_t wait = v[i].wait;

		v[i].wait = 0;
		if (breaks(s, v, n, seed, what))
			continue;

		v[i].wait = MIN(wait, wait / 1000 * 1000);
		if (!breaks(s, v, n, seed, what))
			v[i].wait = wait;
	}

	return n;
}


static void simplify(struct setup *s, const struct action *v, size_t n,
		     uint64_t seed, const char *what)
{
	struct setup t;

#define TRY(field, value)						\
	t = *s;								\
	t.field = (value);						\
	if (breaks(&t, v, n, seed, what))				\
		*s = t

	TRY(lines, 1);
	TRY(loss, 0);
	TRY(latency, 0);
	TRY(auth, false);
	TRY(options_ok, false);
	TRY(flow_timer, false);
	TRY(standby, 0);
	TRY(successes, 1);
	TRY(delay, 0);
	TRY(retry_after, 0);
	TRY(warm, AA_RANK_NONE);
	TRY(failback, AA_FAILBACK_AUTO);
	TRY(user_only, false);
	TRY(strict, true);
	TRY(overtake, false);
	TRY(tp, SIP_TRANSP_UDP);
	TRY(shared, false);
#undef TRY
}


static void tell(struct setup *s, struct action *v, size_t n, uint64_t seed)
{
	char what[sizeof(w.what)];
	size_t i;

	str_ncpy(what, w.what, sizeof(what));
	print_message("broken: %s: %s\nlooking for a shorter story...\n",
		      w.what, w.bad);

	n = shorten(s, v, n, seed, what);
	simplify(s, v, n, seed, what);
	n = shorten(s, v, n, seed, what);

	setup_print(s);
	for (i=0; i<n; i++)
		print_message("  %s %u %u, then %u ms\n", whatv[v[i].what],
			      v[i].arg, v[i].arg2, v[i].wait);

	(void)episode(s, v, n, seed, true);
}


/* ---- the tests -------------------------------------------------------- */


static struct {
	uint64_t seed;
	unsigned long long steps;
	unsigned long long only;
	unsigned seconds;
	unsigned walks;
	bool has_only;
	bool verbose;
} opt = {.seed = 1, .steps = 1000000, .seconds = 0, .walks = 24};


static double seconds(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);

	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}


static void test_random(void **state)
{
	const double start = seconds();
	const unsigned long long before = total.steps;
	unsigned long long i = opt.has_only ? opt.only : 0;
	struct action v[ACTIONS];
	struct setup s;
	(void)state;

	print_message("seed %llu\n", (unsigned long long)opt.seed);

	for (; total.steps - before < opt.steps; i++) {
		size_t n, k;

		chance[PLAN] = opt.seed * 1000003 + i;
		setup_random(&s);
		n = 10 + rnd(PLAN, ACTIONS - 10);
		for (k=0; k<n; k++)
			action_random(&v[k], &s);

		if (!episode(&s, v, n, i, opt.verbose)) {
			print_message("seed %llu, episode %llu\n",
				      (unsigned long long)opt.seed, i);
			tell(&s, v, n, i);
			fail_msg("broken: %s: %s", w.what, w.bad);
		}

		if (opt.has_only || (opt.seconds &&
				      seconds() - start > opt.seconds))
			break;
	}
}


static bool tell_if_broken(struct setup *s, struct action *v, size_t n,
			   uint64_t seed)
{
	if (episode(s, v, n, seed, opt.verbose))
		return false;

	tell(s, v, n, seed);

	return true;
}


/* ---- every way from one state of the servers to another */

struct walk {
	struct setup s;
	struct action v[ACTIONS];
	size_t n;
	unsigned hosts[HOSTS];
	unsigned hostc;
	unsigned statec;        /* that each of them can be in              */
	unsigned at;
	unsigned kind;
	uint64_t seed;
	bool broken;
};


static void walk_end(struct walk *wk)
{
	if (!wk->n || wk->broken)
		return;

	wk->broken = tell_if_broken(&wk->s, wk->v, wk->n, wk->seed++);
	wk->n  = 0;
	wk->at = 0;
}


static void walk_to(struct walk *wk, unsigned to, uint32_t wait)
{
	static const enum host_state statev[] = {
		WORKS, REFUSES, HANGS, SAYS_503, SWALLOWS
	};
	struct action *last = NULL;
	unsigned from = wk->at, next = to, i;

	for (i=0; i<wk->hostc; i++) {
		if (from % wk->statec != next % wk->statec) {
			last = &wk->v[wk->n++];
			memset(last, 0, sizeof(*last));
			last->what = HOST;
			last->arg  = wk->hosts[i];
			last->arg2 = statev[next % wk->statec];
		}
		from /= wk->statec;
		next /= wk->statec;
	}

	if (last)
		last->wait = wait;
	wk->at = to;
}


/* How long each state of the servers lasts */
static uint32_t walk_wait(const struct walk *wk)
{
	switch (wk->kind % 3) {

	case 0:  return rnd(PLAN, 100);
	case 1:  return 1000 + rnd(PLAN, 2 * wk->s.transaction);
	default: return rnd(PLAN, 100000);
	}
}


/* There and back again between every two of them */
static void walk(struct walk *wk)
{
	unsigned i, j, count = 1;

	for (i=0; i<wk->hostc; i++)
		count *= wk->statec;

	for (i=0; i<count; i++) {
		for (j=i+1; j<count && !wk->broken; j++) {
			if (wk->n + 3 * HOSTS > ACTIONS)
				walk_end(wk);
			if (wk->at != i)
				walk_to(wk, i, walk_wait(wk));

			walk_to(wk, j, walk_wait(wk));
			walk_to(wk, i, walk_wait(wk));
		}
	}

	walk_end(wk);
}


static void walk_setup(struct walk *wk, const struct topology *topo)
{
	/* with one host more, one kind of failure less */
	static const unsigned statec[HOSTS + 1] = {0, 5, 5, 3, 2, 2, 2};
	struct setup *s = &wk->s;
	const uint64_t seed = wk->seed;
	const unsigned kind = wk->kind;
	int i;

	memset(wk, 0, sizeof(*wk));
	wk->seed = seed;
	wk->kind = kind;

	for (i=0; i<HOSTS; i++) {
		if (host_used(topo, i))
			wk->hosts[wk->hostc++] = (unsigned)i;
	}
	wk->statec = statec[wk->hostc];

	do {
		setup_random(s);
	} while (s->loss || s->lines > 1);

	s->topo     = topo;
	s->tp       = kind & 1 ? SIP_TRANSP_TCP : SIP_TRANSP_UDP;
	s->overtake = s->overtake && s->tp == SIP_TRANSP_UDP;
	s->outbound = kind & 2;
	s->shared   = topo->can_share && kind & 4;
}


static void test_walks(void **state)
{
	const unsigned long long before = total.steps;
	struct walk wk;
	size_t i;
	(void)state;

	memset(&wk, 0, sizeof(wk));
	chance[PLAN] = opt.seed;

	for (i=0; i<ARRAY_SIZE(topologyv) && !opt.has_only; i++) {
		for (wk.kind=0; wk.kind < opt.walks; wk.kind++) {
			walk_setup(&wk, &topologyv[i]);
			walk(&wk);
			if (wk.broken)
				fail_msg("broken: %s: %s", w.what, w.bad);
		}
	}

	print_message("%llu of the steps are walks\n", total.steps - before);
}


/* ---- a mind that changes while everything works */


static void test_minds(void **state)
{
	static const struct action settled = {SETTLE, 0, 0, 0};
	struct action v[ACTIONS];
	struct setup s;
	unsigned k;
	size_t i, j;
	(void)state;

	chance[PLAN] = opt.seed;

	for (i=0; i<ARRAY_SIZE(topologyv) && !opt.has_only; i++) {
		for (k=0; k < opt.walks; k++) {
			do {
				setup_random(&s);
			} while (s.loss);
			s.topo   = &topologyv[i];
			s.shared = s.topo->can_share && k & 1;

			v[0] = settled;
			for (j=1; j<ACTIONS; j++) {
				do {
					action_random(&v[j], &s);
				} while (is_fault(v[j].what) ||
					 v[j].what == SETTLE);
				if (k & 2)
					v[j].wait %= 100;
			}

			if (tell_if_broken(&s, v, ACTIONS, k))
				fail_msg("broken: %s: %s", w.what, w.bad);
		}
	}
}


/* ---- what was found once, by other seeds than those of each day */


static void test_stories(void **state)
{
	/* a second path whose edge dies while the registrar of the path in
	   force refuses: the edge of that one leads to the other registrar */
	static const struct setup refused = {
		.topo = &topologyv[5], .tp = SIP_TRANSP_UDP,
		.failback = AA_FAILBACK_AUTO, .shared = true, .strict = true,
		.standby = 2, .lines = 1, .keepalive = 25,
		.transaction = 500, .base = 30, .max = 30, .successes = 1,
		.period = 120, .renewal = 15, .retry = 30
	};
	static const struct action refusedv[] = {
		{WAIT, 0, 0, 60000},
		{HOST, 1, REFUSES, 0}, {HOST, 4, REFUSES, 52000}
	};

	/* during a call, the answer of the primary's registrar comes in the
	   instant in which the backup has registered the line again */
	static const struct setup instant = {
		.topo = &topologyv[11], .tp = SIP_TRANSP_TCP,
		.failback = AA_FAILBACK_MANUAL, .outbound = true,
		.auth = true, .strict = true, .options_ok = true,
		.standby = 2, .lines = 1, .keepalive = 1,
		.transaction = 4000, .base = 30, .max = 30, .successes = 1,
		.period = 120, .renewal = 15, .retry = 30, .warm = B
	};
	static const struct action instantv[] = {
		{HOST, 3, SWALLOWS, 0}, {HOST, 2, SWALLOWS, 1000},
		{ALL_WORK, 0, 0, 94000},
		{HOST, 2, REFUSES, 0}, {HOST, 3, SAYS_503, 0},
		{RESTART, 0, 0, 0}, {CALL, 0, 0, 107803},
		{ALL_WORK, 0, 0, 0}, {NEW_ADDRESS, 0, 0, 0}
	};

	/* a farewell lies in a backup that hangs, a later one was answered by
	   the primary: the first removes what is registered there since then,
	   if that has the same reg-id */
	static const struct setup astray = {
		.topo = &topologyv[1], .tp = SIP_TRANSP_UDP,
		.failback = AA_FAILBACK_AUTO, .outbound = true,
		.shared = true, .lines = 1, .latency = 50, .keepalive = 3,
		.transaction = 500, .base = 1, .max = 60, .delay = 5,
		.successes = 1, .period = 120, .renewal = 15, .retry = 30
	};
	static const struct action astrayv[] = {
		{HOST, 0, REFUSES, 52}, {HOST, 1, HANGS, 0},
		{HOST, 0, WORKS, 5000}, {HOST, 1, WORKS, 0}
	};

	/* the same, and baresip is restarted before the backup goes on */
	static const struct action strayv[] = {
		{HOST, 0, REFUSES, 52}, {HOST, 1, HANGS, 100},
		{HOST, 0, WORKS, 0}, {AGAIN, 0, 0, 5000},
		{HOST, 1, WORKS, 0}
	};

	/* after a restart the registrar takes up the second binding, then the
	   first one, and forgets the other: before the phone has heard that
	   it has the second one */
	static const struct setup forgotten_second = {
		.topo = &topologyv[0], .tp = SIP_TRANSP_TCP,
		.failback = AA_FAILBACK_AUTO, .outbound = true,
		.flow_timer = true, .strict = true, .standby = 2, .lines = 1,
		.latency = 10, .keepalive = 3, .transaction = 2000,
		.base = 2, .max = 60, .successes = 1, .period = 600,
		.renewal = 15, .retry = 30
	};
	static const struct action forgotten_secondv[] = {
		{WAIT, 0, 0, 10000}, {HOST, 1, SWALLOWS, 10000},
		{LINK, 0, 0, 10000}, {REBOOT, 0, 0, 1000},
		{ALL_WORK, 0, 0, 100}, {HOST, 0, HANGS, 10000}
	};

	/* settings change while the registrar of what is in force is dead;
	   what is registered there had once been taken back another way */
	static const struct setup taken_back = {
		.topo = &topologyv[9], .tp = SIP_TRANSP_TCP,
		.failback = AA_FAILBACK_AUTO, .outbound = true,
		.shared = true, .strict = true, .lines = 1, .keepalive = 3,
		.transaction = 4000, .base = 2, .max = 10, .successes = 4,
		.period = 60, .renewal = 5, .retry = 30, .warm = B
	};
	static const struct action taken_backv[] = {
		{HOST, 3, SWALLOWS, 0}, {RESTART, 2, 0, 18000},
		{HOST, 2, REFUSES, 0}, {HOST, 3, WORKS, 22000},
		{HOST, 3, HANGS, 0}, {RELOAD, 0, 316, 0},
		{HOST, 2, WORKS, 7771}
	};

	/* the same, and the answer to what was sent since then is not there */
	static const struct setup taken_back_too = {
		.topo = &topologyv[2], .tp = SIP_TRANSP_TCP,
		.failback = AA_FAILBACK_AUTO, .shared = true, .strict = true,
		.standby = 2, .lines = 1, .keepalive = 10,
		.transaction = 4000, .base = 30, .max = 30, .successes = 1,
		.period = 60, .renewal = 15, .retry = 30
	};
	static const struct action taken_back_toov[] = {
		{WAIT, 0, 0, 1000}, {HOST, 1, HANGS, 101000},
		{PROBE, 0, 0, 0}, {HOST, 0, REFUSES, 0}, {RELOAD, 0, 36, 0},
		{HOST, 1, SWALLOWS, 3000}, {HOST, 0, WORKS, 20000}
	};

	/* what was there before other settings is taken back over the new
	   line's connection, which the server has just forgotten */
	static const struct setup lent = {
		.topo = &topologyv[3], .tp = SIP_TRANSP_TCP,
		.failback = AA_FAILBACK_AUTO, .outbound = true,
		.strict = true, .lines = 1, .keepalive = 1,
		.transaction = 2000, .base = 30, .max = 30, .successes = 1,
		.period = 120, .renewal = 15, .retry = 30
	};
	static const struct action lentv[] = {
		{RESTART, 0, 0, 2000}, {HOST, 1, HANGS, 2894},
		{RELOAD, 25, 269, 0}, {HOST, 1, SWALLOWS, 0},
		{RESTART, 1, 0, 3000}
	};

	/* settings change after a crash on a reg-id of other settings: those
	   that come now have others again */
	static const struct setup epoch = {
		.topo = &topologyv[11], .tp = SIP_TRANSP_TCP,
		.failback = AA_FAILBACK_AUTO, .outbound = true,
		.shared = true, .strict = true, .lines = 1, .keepalive = 1,
		.transaction = 2000, .retry_after = 1, .base = 1, .max = 60,
		.successes = 1, .period = 600, .renewal = 5, .retry = 30
	};
	static const struct action epochv[] = {
		{HOST, 2, SAYS_503, 0}, {RELOAD, 0, 167, 0},
		{REBOOT, 0, 0, 0}, {HOST, 3, REFUSES, 0},
		{HOST, 2, SAYS_403, 1000}, {RELOAD, 0, 413, 6000},
		{HOST, 2, WORKS, 26000}, {LINK, 0, 0, 2000},
		{ALL_WORK, 0, 0, 0}
	};

	/* after a crash a path is left while its REGISTER is under way: the
	   registrar takes it, and forgets the path in force for it, and
	   neither this answer nor that to the farewell is heard */
	static const struct setup unheard = {
		.topo = &topologyv[0], .tp = SIP_TRANSP_UDP,
		.failback = AA_FAILBACK_AUTO, .outbound = true,
		.strict = true, .lines = 1, .loss = 20, .latency = 10,
		.keepalive = 3, .transaction = 2000, .base = 1, .max = 2,
		.successes = 1, .period = 600, .renewal = 15, .retry = 30
	};
	static const struct action unheardv[] = {
		{WAIT, 0, 0, 1000}, {MODE, 0, AA_MODE_BACKUP, 5000},
		{REBOOT, 0, 0, 550}, {HOST, 1, HANGS, 10000}
	};

	/* new settings with the same servers are no command to go home */
	static const struct setup kept = {
		.topo = &topologyv[0], .tp = SIP_TRANSP_TCP,
		.failback = AA_FAILBACK_MANUAL, .outbound = true,
		.strict = true, .lines = 1, .keepalive = 3,
		.transaction = 1000, .base = 2, .max = 10, .successes = 1,
		.period = 600, .renewal = 15, .retry = 30
	};
	static const struct action keptv[] = {
		{WAIT, 0, 0, 1000}, {HOST, 0, REFUSES, 5000},
		{HOST, 0, WORKS, 30000}, {RELOAD, 0, 164, 20000}
	};

	/* settings change twice while nothing answers: what they replace is
	   taken back over what is registered then */
	static const struct setup twice = {
		.topo = &topologyv[0], .tp = SIP_TRANSP_TCP,
		.failback = AA_FAILBACK_AUTO, .outbound = true,
		.strict = true, .lines = 1, .keepalive = 3,
		.transaction = 1000, .base = 2, .max = 10, .successes = 1,
		.period = 600, .renewal = 15, .retry = 30
	};
	static const struct action twicev[] = {
		{WAIT, 0, 0, 1000}, {HOST, 0, REFUSES, 0},
		{HOST, 1, REFUSES, 0}, {RELOAD, 0, 20, 1000},
		{RELOAD, 0, 21, 1000}, {HOST, 0, WORKS, 20000}
	};

	/* after a restart settings change before the answer is there to the
	   REGISTER for which the registrar forgets all others */
	static const struct setup overtaken = {
		.topo = &topologyv[0], .tp = SIP_TRANSP_UDP,
		.failback = AA_FAILBACK_AUTO, .outbound = true, .auth = true,
		.strict = true, .overtake = true, .lines = 1, .latency = 50,
		.keepalive = 10, .transaction = 2000, .base = 2, .max = 10,
		.successes = 1, .period = 60, .renewal = 15, .retry = 30
	};
	static const struct action overtakenv[] = {
		{WAIT, 0, 0, 55000}, {REBOOT, 0, 0, 27},
		{RELOAD, 0, 20, 20000}
	};

	/* a line ends over a connection that the server has forgotten, and
	   another line opens a new one at once */
	static const struct setup stale = {
		.topo = &topologyv[0], .tp = SIP_TRANSP_TCP,
		.failback = AA_FAILBACK_AUTO, .strict = true, .lines = 2,
		.latency = 10, .keepalive = 3, .transaction = 2000,
		.base = 1, .max = 10, .successes = 1, .period = 600,
		.renewal = 15, .retry = 30
	};
	static const struct action stalev[] = {
		{WAIT, 0, 0, 1000}, {RESTART, 0, 0, 0}, {LINE, 0, 0, 100},
		{REFRESH, 1, 0, 3000}
	};

	/* an account is removed and added at once; the farewell is lost, and
	   what is sent again comes after the new registration */
	static const struct setup added = {
		.topo = &topologyv[0], .tp = SIP_TRANSP_UDP,
		.failback = AA_FAILBACK_AUTO, .outbound = true,
		.strict = true, .lines = 1, .loss = 30, .keepalive = 10,
		.transaction = 4000, .base = 10, .max = 10, .successes = 1,
		.period = 120, .renewal = 15, .retry = 30
	};
	static const struct action addedv[] = {
		{WAIT, 0, 0, 10000}, {LINE, 0, 0, 0}, {LINE, 0, 0, 3000}
	};

	/* it ends where nothing can be sent, with two paths over one flow */
	static const struct setup unsent = {
		.topo = &topologyv[10], .tp = SIP_TRANSP_UDP,
		.failback = AA_FAILBACK_AUTO, .strict = true, .lines = 1,
		.latency = 10, .keepalive = 3, .transaction = 2000,
		.base = 1, .max = 10, .successes = 1, .period = 600,
		.renewal = 15, .retry = 30
	};
	static const struct action unsentv[] = {
		{WAIT, 0, 0, 1000}, {MODE, 0, AA_MODE_BACKUP, 20},
		{LINK, 0, 0, 0}, {LINE, 0, 0, 3000}
	};
	/* the first farewell is late, libre says it again, and the module has
	   been unloaded and loaded by then */
	static const struct setup unloaded = {
		.topo = &topologyv[3], .tp = SIP_TRANSP_UDP,
		.failback = AA_FAILBACK_AUTO, .outbound = true,
		.strict = true, .overtake = true, .lines = 1, .keepalive = 3,
		.transaction = 500, .base = 1, .max = 60, .successes = 1,
		.period = 60, .renewal = 15, .retry = 30
	};
	static const struct action unloadedv[] = {
		{WAIT, 0, 0, 1000}, {AGAIN, 0, 1, 3000}
	};

	/* the farewell of settings with another domain is under way when
	   baresip is restarted: it counts for whoever has the user's name */
	static const struct setup domain = {
		.topo = &topologyv[3], .tp = SIP_TRANSP_UDP,
		.failback = AA_FAILBACK_AUTO, .outbound = true,
		.shared = true, .user_only = true, .strict = true,
		.standby = 2, .lines = 1, .keepalive = 1,
		.transaction = 4000, .base = 10, .max = 10, .successes = 1,
		.period = 600, .renewal = 5, .retry = 30
	};
	static const struct action domainv[] = {
		{WAIT, 0, 0, 1000}, {HOST, 1, HANGS, 0},
		{RELOAD, 41, 174, 0}, {AGAIN, 0, 0, 5000},
		{HOST, 1, WORKS, 1000}
	};

	/* a registrar is away, and the line has used all the reg-ids that it
	   has for its backup when the module is unloaded and loaded */
	static const struct setup used_up = {
		.topo = &topologyv[6], .tp = SIP_TRANSP_UDP,
		.failback = AA_FAILBACK_AUTO, .outbound = true,
		.strict = true, .overtake = true, .lines = 1, .keepalive = 25,
		.transaction = 1000, .base = 1, .max = 2, .successes = 1,
		.period = 60, .renewal = 15, .retry = 30
	};
	static const struct action used_upv[] = {
		{HOST, 4, SWALLOWS, 0}, {MODE, 0, AA_MODE_BACKUP, 10000},
		{HOST, 0, REFUSES, 0}, {RESTART, 4, 0, 0},
		{AGAIN, 0, 1, 1000}
	};

	/* after a loss of power a line goes home, and the answer is lost: the
	   registrar has forgotten what is in force by then, and is asked again
	   although it is taken for silent */
	static const struct setup silent = {
		.topo = &topologyv[10], .tp = SIP_TRANSP_UDP,
		.failback = AA_FAILBACK_AUTO, .outbound = true, .auth = true,
		.user_only = true, .strict = true, .lines = 1, .loss = 10,
		.keepalive = 3, .transaction = 2000, .base = 30, .max = 30,
		.successes = 2, .period = 60, .renewal = 5, .retry = 30
	};
	static const struct action silentv[] = {
		{HOST, 0, WORKS, 9000}, {HOST, 0, SWALLOWS, 23000},
		{WAIT, 0, 0, 2689}, {RESTART, 1, 0, 16497},
		{ALL_WORK, 2, 0, 11000}, {RESTART, 2, 0, 2980},
		{LINK, 1, 0, 0}, {AGAIN, 1, 1, 0}, {LINE, 0, 0, 0},
		{REBOOT, 2, 0, 0}, {ALL_WORK, 1, 0, 29000}
	};

	/* after a loss of power settings change before the first REGISTER is
	   answered; it comes after the new one, and the answer to the farewell
	   that follows it is lost */
	static const struct setup unanswered = {
		.topo = &topologyv[0], .tp = SIP_TRANSP_UDP,
		.failback = AA_FAILBACK_AUTO, .outbound = true, .auth = true,
		.strict = true, .standby = 1, .lines = 3, .loss = 10,
		.latency = 1, .keepalive = 10, .transaction = 2000, .base = 2,
		.max = 2, .successes = 1, .period = 600, .renewal = 5,
		.retry = 30
	};
	static const struct action unansweredv[] = {
		{PROBE, 2, 0, 25988}, {HOST, 1, WORKS, 57},
		{HOST, 1, SWALLOWS, 11048}, {NEW_ADDRESS, 0, 0, 38},
		{HOST, 1, SAYS_403, 20000}, {HOST, 4, SWALLOWS, 0},
		{REBOOT, 4, 0, 81}, {HOST, 4, WORKS, 0},
		{RELOAD, 36, 379, 50000}
	};
	const struct {
		const struct setup *s;
		const struct action *v;
		size_t n;
		uint64_t seed;
	} storyv[] = {
		{&refused, refusedv, ARRAY_SIZE(refusedv), ENDS_WELL},
		{&instant, instantv, ARRAY_SIZE(instantv), 17215},
		{&astray, astrayv, ARRAY_SIZE(astrayv), 2},
		{&astray, strayv, ARRAY_SIZE(strayv), 2},
		{&forgotten_second, forgotten_secondv,
		 ARRAY_SIZE(forgotten_secondv), 20},
		{&taken_back, taken_backv, ARRAY_SIZE(taken_backv), 6},
		{&taken_back_too, taken_back_toov,
		 ARRAY_SIZE(taken_back_toov), 2},
		{&lent, lentv, ARRAY_SIZE(lentv), 0},
		{&epoch, epochv, ARRAY_SIZE(epochv), 1},
		{&unheard, unheardv, ARRAY_SIZE(unheardv), 1120},
		{&kept, keptv, ARRAY_SIZE(keptv), 0},
		{&twice, twicev, ARRAY_SIZE(twicev), 0},
		{&overtaken, overtakenv, ARRAY_SIZE(overtakenv), 13},
		{&stale, stalev, ARRAY_SIZE(stalev), 0},
		{&added, addedv, ARRAY_SIZE(addedv), 9},
		{&unsent, unsentv, ARRAY_SIZE(unsentv), 3},
		{&unloaded, unloadedv, ARRAY_SIZE(unloadedv), 0},
		{&domain, domainv, ARRAY_SIZE(domainv), 0},
		{&used_up, used_upv, ARRAY_SIZE(used_upv), 0},
		{&used_up, used_upv, ARRAY_SIZE(used_upv), 3},
		{&silent, silentv, ARRAY_SIZE(silentv), 5453},
		{&unanswered, unansweredv, ARRAY_SIZE(unansweredv), 1413}
	};
	size_t i;
	(void)state;

	for (i=0; i<ARRAY_SIZE(storyv); i++) {
		struct action v[ACTIONS];
		struct setup s = *storyv[i].s;

		memcpy(v, storyv[i].v, storyv[i].n * sizeof(*v));
		if (tell_if_broken(&s, v, storyv[i].n, storyv[i].seed))
			fail_msg("broken: %s: %s", w.what, w.bad);
	}
}


static void report(void)
{
	print_message("%llu steps, %llu episodes, %llu times at rest, %llu"
		      " events, %llu REGISTERs, %llu moves\n", total.steps,
		      total.episodes, total.settled, total.events,
		      total.registers, total.moves);
	print_message("in a minute at most: %llu exchanges, %llu REGISTERs,"
		      " %llu moves; longest gap with a good server: %llu ms"
		      " of %llu, largest share %.2f\n",
		      (unsigned long long)total.exchanges_max,
		      (unsigned long long)total.registers_max,
		      (unsigned long long)total.moves_max,
		      (unsigned long long)total.gap_max,
		      (unsigned long long)total.gap_bound, total.share_max);
}


static bool options(int argc, char **argv)
{
	static const struct option longv[] = {
		{"seed",    required_argument, NULL, 's'},
		{"steps",   required_argument, NULL, 'n'},
		{"seconds", required_argument, NULL, 't'},
		{"walks",   required_argument, NULL, 'w'},
		{"only",    required_argument, NULL, 'o'},
		{"verbose", no_argument,       NULL, 'v'},
		{NULL, 0, NULL, 0}
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longv, NULL)) != -1) {

		switch (c) {

		case 's': opt.seed    = strtoull(optarg, NULL, 10);  break;
		case 'n': opt.steps   = strtoull(optarg, NULL, 10);  break;
		case 't': opt.seconds = (unsigned)atoi(optarg);      break;
		case 'w': opt.walks   = (unsigned)atoi(optarg);      break;
		case 'o': opt.only    = strtoull(optarg, NULL, 10);
			  opt.has_only = true;                       break;
		case 'v': opt.verbose = true;                        break;
		default:  return false;
		}
	}

	return true;
}


int main(int argc, char **argv)
{
	const struct CMUnitTest testv[] = {
		cmocka_unit_test(test_stories),
		cmocka_unit_test(test_walks),
		cmocka_unit_test(test_minds),
		cmocka_unit_test(test_random),
	};
	int err;

	if (!options(argc, argv))
		return 2;

	err = cmocka_run_group_tests(testv, NULL, NULL);
	report();

	return err;
}
