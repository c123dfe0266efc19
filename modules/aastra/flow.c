/**
 * @file flow.c  One monitored next hop
 *
 * A flow (RFC 5626 3.4) is one address, port and transport that requests go
 * to.  It is shared by all lines that use it, and it knows none of them: it
 * finds out whether the next hop answers, and calls its users when that
 * changed.  What to do about it is theirs.
 *
 * How it finds out:
 *
 * - a connection that is reset or closed: libre's keep-alive object tells at
 *   once;
 * - data that stays unacknowledged: TCP_USER_TIMEOUT, set on the socket, so
 *   that the kernel closes the connection;
 * - silence: every keep-alive interval an OPTIONS, or on a flow whose server
 *   speaks RFC 5626 the double CRLF of its section 4.4.1; no answer within the
 *   transaction timer means failed;
 * - what others saw: a request over it that timed out (aa_flow_fail()).
 *
 * A NAT in between may give us another address, and then the server answers,
 * but cannot reach us.  Over UDP the Via of its answers tells (RFC 3581), or
 * STUN where the server speaks RFC 5626 (4.4.2); the flow is a new one then.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <errno.h>
#include <unistd.h>
#include <sys/socket.h>
#include <re.h>
#include "request.h"
#include "utf8.h"
#include "compat.h"
#include "timer.h"
#include "resolve.h"
#include "tlsguard.h"
#include "mapping.h"
#include "flow.h"


enum {
	/* libre pings a connection by itself and closes it when no pong comes
	   within ten seconds; not every server answers, so its own ping is
	   put off for a day, and the connection's end is all it reports */
	LIBRE_PING_INTERVAL = 86400,
	VIA_WAIT_MS         = 50,
	SHUT_WAIT_MS        = 20,
	ICMP_EVERY_MS       = 20,       /* many lines register at once      */
	BACKOFF_SHIFT_MAX   = 16,
	CLOCK_JUMP_MS       = 5000,     /* more than clocks are steered     */
	REASON_SIZE         = 128
};


struct aa_flow {
	struct le le;
	struct sip *sip;
	struct list userl;
	enum sip_transp tp;
	char *host;
	char *uri;              /* of the address in use                    */
	char *name;             /* as the administrator wrote it            */
	struct aa_flow *via;    /* behind this proxy, NULL: next hop itself */
	uint16_t port;
	bool keep;
	uint32_t transaction;
	uint32_t interval;      /* keep-alive interval as configured [s]    */
	uint32_t flow_timer;    /* the server's Flow-Timer [s], 0: none     */
	uint32_t base;
	uint32_t max;

	struct dnsc *dnsc;      /* NULL: the host is an address             */
	unsigned query_type;
	struct aa_resolve *resolve;
	struct aa_resolve *lookup; /* for those that only want to know      */
	struct aa_targets targets;
	uint64_t turn;          /* counts the addresses that were taken up,
				   and beginnings anew                  */
	uint64_t targets_until; /* when the records are too old             */
	size_t target;          /* address in use                           */
	size_t tried;           /* addresses that failed one after another  */

	enum aa_flow_state state;
	bool outbound;          /* server speaks RFC 5626                   */
	struct sa dst;          /* where answers come from                  */
	uint64_t received;      /* bytes, when the CRLF was sent            */
	bool uncounted;         /* the system does not count them           */
	struct sa mapped;       /* how the server sees us, UDP              */
	struct sa stun_mapped;  /* the same, as its STUN says               */
	struct aa_mapping *mapping;
	bool stun_silent;       /* no answer since the flow came up         */
	struct aa_conn conn;
	struct aa_fd icmp;      /* hears of ICMP errors, UDP                */
	uint64_t icmp_at;       /* when it may ask again                    */
	struct sip_keepalive *ka;
	struct sip_dialog *dlg;
	struct aa_req *req;
	struct aa_tmr tmr;      /* next check, or next try                  */
	struct aa_tmr tmr_pong;
	uint64_t sent;          /* when the OPTIONS in flight was sent [us] */
	uint64_t pinged;        /* the same of the CRLF                     */
	uint64_t asked;         /* the same of the name server              */
	const char *by;         /* what showed the latest failure           */
	uint32_t detect;        /* how long that took [ms]                  */
	uint32_t rtt;
	uint32_t failures;
	uint32_t successes;
	uint32_t probes;
	uint64_t since;
	uint64_t generation;
	int64_t ahead;          /* the clock, when it was good last         */
	int64_t pinged_ahead;   /* the same, when the CRLF was sent         */
	bool anew;              /* what was sent before says nothing now    */
	uint64_t name_until;    /* another name of it is being verified     */
	bool again;             /* tried at once, over a connection of its own;
				   not twice                                */
	bool shut;              /* waits for the end of a connection that
				   nobody has verified                      */
	char reason[REASON_SIZE];
};


struct aa_flow_user {
	struct le le;
	struct aa_flow *flow;
	aa_flow_h *h;
	void *arg;
	bool want;
};


static void check_start(struct aa_flow *flow);
static void probe_handler(void *arg);


static void icmp_close(struct aa_flow *flow)
{
	aa_compat_fd_close(&flow->icmp);
	flow->icmp_at = 0;
}


static void flow_destructor(void *arg)
{
	struct aa_flow *flow = arg;

	list_unlink(&flow->le);
	aa_tmr_cancel(&flow->tmr);
	aa_tmr_cancel(&flow->tmr_pong);
	mem_deref(flow->req);
	mem_deref(flow->dlg);
	mem_deref(flow->ka);
	mem_deref(flow->mapping);
	icmp_close(flow);
	mem_deref(flow->host);
	mem_deref(flow->uri);
	mem_deref(flow->name);
	mem_deref(flow->via);
	mem_deref(flow->resolve);
	mem_deref(flow->lookup);
}


static void user_destructor(void *arg)
{
	struct aa_flow_user *user = arg;

	if (user->want)
		aa_flow_want(user, false);

	list_unlink(&user->le);
	mem_deref(user->flow);
}


static void notify(struct aa_flow *flow)
{
	struct le *le = flow->userl.head;

	while (le) {
		struct aa_flow_user *user = le->data;

		le = le->next;
		user->h(flow, user->arg);
	}
}


static void state_set(struct aa_flow *flow, enum aa_flow_state state)
{
	if (flow->state == state)
		return;

	flow->state = state;
	flow->since = aa_now_ms();
}


/*
 * RFC 5626 4.5: the wait doubles with each failure, and a part of it is
 * chance, so that a thousand phones do not come back in the same instant.
 */
static uint64_t backoff(const struct aa_flow *flow)
{
	uint64_t wait = (uint64_t)flow->base * 1000;
	const uint32_t n = flow->failures ? flow->failures - 1 : 0;

	wait <<= MIN(n, BACKOFF_SHIFT_MAX);
	wait = MIN(wait, (uint64_t)flow->max * 1000);

	return wait * (500 + rand_u16() % 501) / 1000;
}


static void flow_stop(struct aa_flow *flow)
{
	aa_tmr_cancel(&flow->tmr);
	aa_tmr_cancel(&flow->tmr_pong);
	flow->req = mem_deref(flow->req);
	flow->ka  = mem_deref(flow->ka);
	flow->resolve = mem_deref(flow->resolve);
	flow->mapping = mem_deref(flow->mapping);
	flow->stun_silent = false;
	sa_init(&flow->stun_mapped, AF_UNSPEC);
	icmp_close(flow);
	flow->flow_timer = 0;
	flow->outbound = false;
	flow->shut = false;
	flow->name_until = 0;
}


static int target_use(struct aa_flow *flow, size_t ix)
{
	const struct sa *sa = &flow->targets.v[ix];
	char *uri;
	int err;

	err = re_sdprintf(&uri, "sip:%J%s", sa, sip_transp_param(flow->tp));
	if (err)
		return err;

	mem_deref(flow->uri);
	flow->uri    = uri;
	flow->target = ix;
	++flow->turn;
	sa_cpy(&flow->dst, sa);

	return 0;
}


/*
 * libre has one connection to an address, whoever wanted it: a server that one
 * line names by its name, and another one by its address, is two flows.
 *
 * up: the other one works
 */
static bool is_shared(const struct aa_flow *flow, bool up)
{
	const struct le *le;

	for (le = list_head(flow->le.list); le; le = le->next) {
		const struct aa_flow *other = le->data;

		if (other != flow && other->tp == flow->tp &&
		    (up ? other->state == AA_FLOW_UP
		     : other->state != AA_FLOW_IDLE) &&
		    sa_cmp(&other->dst, &flow->dst, SA_ALL))
			return true;
	}

	return false;
}


/*
 * A flow that has failed is tried over a new connection.  The one that it had
 * is closed by its name.  But its requests may have gone over another one: that
 * which baresip has opened, or the server, or who has its address now.
 */
static bool close_borrowed(const struct aa_flow *flow)
{
	return flow->conn.borrowed && flow->tp != SIP_TRANSP_UDP &&
		!flow->via && !is_shared(flow, true) &&
		aa_conn_close_all(&flow->dst);
}


/*
 * Whoever is connected from a server's address, or to it, from before that was
 * known has shown nothing.  His connection is closed, and libre needs a moment
 * to take notice.
 */
static bool shut_strangers(struct aa_flow *flow)
{
	flow->shut = flow->tp == SIP_TRANSP_TLS && !flow->via &&
		aa_tlsguard_shut(&flow->dst);

	return flow->shut;
}


/* All addresses of a name are tried before it counts as failed */
static bool next_target(struct aa_flow *flow)
{
	int err;

	if (flow->targets.n < 2)
		return false;

	if (++flow->tried >= flow->targets.n) {
		flow->tried = 0;
		return false;
	}

	err = target_use(flow, (flow->target + 1) % flow->targets.n);
	if (err)
		return false;

	(void)shut_strangers(flow);

	return true;
}


/*
 * Note what is about to show that the next hop failed.
 *
 * asked: when it was sent what should have been answered [us], 0 where the
 * failure tells of itself
 */
static void witness(struct aa_flow *flow, const char *by, uint64_t asked)
{
	flow->by = by;
	flow->detect = asked ? (uint32_t)MIN((aa_now_us() - asked) / 1000,
					     (uint64_t)UINT32_MAX) : 0;
}


static const char *connection_name(const struct aa_flow *flow)
{
	return flow->tp == SIP_TRANSP_TLS ? "TLS connection"
		: "TCP connection";
}


static void flow_down(struct aa_flow *flow, const char *reason,
		      uint32_t retry_after)
{
	uint64_t wait;
	bool closed;

	if (flow->state == AA_FLOW_IDLE)
		return;

	flow->anew = false;
	flow_stop(flow);
	closed = close_borrowed(flow);

	/* a proxy that answers for others is not closed with one of them */
	if (!flow->via)
		aa_conn_close(&flow->conn, true);

	flow->successes = 0;
	str_ncpy(flow->reason, reason, sizeof(flow->reason));

	if ((flow->keep || flow->state != AA_FLOW_DOWN) && next_target(flow)) {
		aa_tmr_start(&flow->tmr, flow->shut ? SHUT_WAIT_MS : 0,
			     probe_handler, flow);
		if (flow->state == AA_FLOW_UP)
			state_set(flow, AA_FLOW_CONNECTING);
		notify(flow);
		return;
	}

	++flow->failures;

	wait = backoff(flow);
	wait = MAX(wait, (uint64_t)retry_after * 1000);

	/* nobody has tried the server itself yet */
	if (closed && !retry_after && !flow->again) {
		flow->again = true;
		wait = SHUT_WAIT_MS;
	}

	aa_tmr_start(&flow->tmr, wait, probe_handler, flow);

	if (flow->state != AA_FLOW_DOWN) {
		state_set(flow, AA_FLOW_DOWN);
		notify(flow);
	}
}


static bool jumped(const struct aa_flow *flow)
{
	const int64_t jump = aa_clock_ahead_ms() - flow->ahead;

	return jump >= CLOCK_JUMP_MS || jump <= -CLOCK_JUMP_MS;
}


/*
 * The host has slept, or its clock was set, since the server was heard of: what
 * waits for an answer has waited too long, the server has given up the
 * connection, and libre 1.x and 2.0 close it, since they count by that clock.
 * None of this is the server's failure.  It is asked anew, once.
 */
static bool is_excused(struct aa_flow *flow)
{
	if (flow->state != AA_FLOW_UP || !jumped(flow))
		return false;

	flow->ahead = aa_clock_ahead_ms();
	if (!flow->via)
		aa_conn_close(&flow->conn, true);

	return true;
}


static bool renewed(struct aa_flow *flow)
{
	if (!flow->keep || !is_excused(flow))
		return false;

	flow->anew = true;
	++flow->turn;
	flow->successes = 0;
	flow_stop(flow);
	state_set(flow, AA_FLOW_CONNECTING);
	aa_tmr_start(&flow->tmr, 0, probe_handler, flow);
	notify(flow);

	return true;
}


static void flow_down_err(struct aa_flow *flow, int err)
{
	char buf[REASON_SIZE];

	if (renewed(flow))
		return;

	if (flow->tp != SIP_TRANSP_TLS ||
	    !aa_tlsguard_error(flow->host, buf, sizeof(buf)))
		(void)re_snprintf(buf, sizeof(buf), "%m", err);

	flow_down(flow, buf, 0);
}


/*
 * The connection to the proxy in front broke.  That is the proxy's failure,
 * which may have another address: the server behind it is asked for anew.
 */
static void via_lost(struct aa_flow *flow)
{
	flow_stop(flow);
	flow->successes = 0;
	aa_tmr_start(&flow->tmr, VIA_WAIT_MS, probe_handler, flow);

	if (flow->state == AA_FLOW_UP) {
		state_set(flow, AA_FLOW_CONNECTING);
		notify(flow);
	}
}


/* Called by libre from within the closing of the connection */
static void keepalive_handler(int err, void *arg)
{
	struct aa_flow *flow = arg;

	/* the kernel closes what does not acknowledge; else it is at once */
	witness(flow, connection_name(flow), err != ETIMEDOUT ? 0 :
		aa_tmr_isrunning(&flow->tmr_pong) ? flow->pinged :
		flow->req ? flow->sent : 0);

	/* the socket is gone already; its number may be another's by now */
	aa_conn_init(&flow->conn);

	if (flow->via)
		via_lost(flow);
	else
		flow_down_err(flow, err ? err : ECONNRESET);
}


static enum aa_keepalive keepalive_kind(const struct aa_flow *flow)
{
	if (!flow->keep || flow->state != AA_FLOW_UP)
		return AA_KEEPALIVE_NONE;

	if (flow->outbound && flow->tp != SIP_TRANSP_UDP && !flow->via &&
	    !flow->uncounted)
		return AA_KEEPALIVE_CRLF;

	if (sa_isset(&flow->stun_mapped, SA_PORT))
		return AA_KEEPALIVE_STUN;

	return AA_KEEPALIVE_OPTIONS;
}


static void schedule_check(struct aa_flow *flow)
{
	uint32_t interval = flow->interval;

	/* it is not ready before it is looked at again */
	if (flow->shut) {
		aa_tmr_start(&flow->tmr, SHUT_WAIT_MS, probe_handler, flow);
		return;
	}

	if (flow->flow_timer)
		interval = MIN(interval, flow->flow_timer);

	/* RFC 5626 4.4: between 80 and 100 % of it, by chance */
	aa_tmr_start(&flow->tmr,
		  (uint64_t)interval * (800 + rand_u16() % 201),
		  probe_handler, flow);
}


/* RFC 3581: a response says where its request seemed to come from */
static bool mapped_address(struct sa *sa, const struct sip_msg *msg)
{
	struct pl received, rport;

	if (msg_param_decode(&msg->via.params, "rport", &rport) ||
	    !pl_isset(&rport))
		return false;

	if (msg_param_decode(&msg->via.params, "received", &received))
		*sa = msg->via.addr;
	else if (sa_set(sa, &received, 0))
		return false;

	sa_set_port(sa, (uint16_t)pl_u32(&rport));

	return true;
}


/* Then the registrar's binding leads nowhere, although the server answers */
static bool mapping_changed(struct aa_flow *flow, const struct sip_msg *msg)
{
	struct sa sa;
	bool changed;

	if (flow->tp != SIP_TRANSP_UDP || !mapped_address(&sa, msg))
		return false;

	changed = sa_isset(&flow->mapped, SA_PORT) &&
		!sa_cmp(&flow->mapped, &sa, SA_ALL);
	flow->mapped = sa;

	return changed;
}


/*
 * Whether the server works is not judged by this: SIP is what it is there
 * for, and an OPTIONS goes with every question.
 */
static void mapping_handler(int err, const struct sa *mapped, void *arg)
{
	struct aa_flow *flow = arg;
	struct sa before = flow->stun_mapped;

	flow->mapping = mem_deref(flow->mapping);

	if (err) {
		if (!sa_isset(&flow->stun_mapped, SA_PORT))
			flow->stun_silent = true;
		sa_init(&flow->stun_mapped, AF_UNSPEC);
		return;
	}

	flow->stun_mapped = *mapped;

	/* one witness is enough, and two may disagree for ever */
	if (sa_isset(&flow->mapped, SA_PORT) || !sa_isset(&before, SA_PORT) ||
	    sa_cmp(&before, mapped, SA_ALL))
		return;

	++flow->generation;
	notify(flow);
}


static void mapping_ask(struct aa_flow *flow, const struct sip_msg *msg)
{
	if (flow->tp != SIP_TRANSP_UDP || !flow->keep || flow->via ||
	    !flow->outbound || flow->state != AA_FLOW_UP ||
	    flow->stun_silent || flow->mapping)
		return;

	/* without it, the Via or nothing says what has changed */
	(void)aa_mapping_ask(&flow->mapping, flow->sip, msg->sock, &flow->dst,
			     flow->transaction, mapping_handler, flow);
}


static void flow_up(struct aa_flow *flow, const struct sip_msg *msg)
{
	const bool was_up = flow->state == AA_FLOW_UP;

	flow->dst = msg->src;
	flow->ahead = aa_clock_ahead_ms();
	flow->anew = false;
	flow->again = false;
	flow->reason[0] = '\0';
	flow->tried = 0;

	if (mapping_changed(flow, msg) || !was_up)
		++flow->generation;

	if (!was_up)
		flow->successes = 0;

	++flow->successes;

	if (flow->keep) {
		if (!flow->via) {
			uint64_t bytes;

			aa_conn_from_msg(&flow->conn, msg);
			aa_conn_user_timeout(&flow->conn, flow->transaction);
			flow->uncounted = ENOTSUP ==
				aa_conn_received(&flow->conn, &bytes);
		}

		if (!flow->ka && flow->tp != SIP_TRANSP_UDP) {
			const int err =
				sip_keepalive_start(&flow->ka, flow->sip, msg,
						    LIBRE_PING_INTERVAL,
						    keepalive_handler, flow);
			if (err) {
				witness(flow, connection_name(flow), 0);
				flow_down_err(flow, err);
				return;
			}
		}

		if (!was_up)
			schedule_check(flow);
	}
	else if (flow->shut) {
		schedule_check(flow);
	}
	else {
		aa_tmr_cancel(&flow->tmr);
	}

	flow->failures = 0;
	state_set(flow, AA_FLOW_UP);
	notify(flow);
}


static void options_handler(int err, const struct sip_msg *msg, void *arg)
{
	struct aa_flow *flow = arg;

	if (err && err != ETIMEDOUT && flow->via) {
		via_lost(flow);
		return;
	}

	if (err) {
		witness(flow, "OPTIONS", flow->sent);
		flow_down_err(flow, err);
		return;
	}

	flow->rtt = (uint32_t)MIN(aa_now_us() - flow->sent,
				  (uint64_t)UINT32_MAX);

	if (aa_scode_is_server_failure(msg->scode)) {
		char buf[REASON_SIZE];

		(void)re_snprintf(buf, sizeof(buf), "%u %r to OPTIONS",
				  msg->scode, &msg->reason);
		(void)aa_utf8_clean(buf, sizeof(buf), buf);
		witness(flow, "OPTIONS", flow->sent);
		flow_down(flow, buf, aa_msg_retry_after(msg));
		return;
	}

	flow_up(flow, msg);

	if (flow->state == AA_FLOW_UP && flow->keep) {
		schedule_check(flow);
		mapping_ask(flow, msg);
	}
}


/*
 * libre's socket is not connected, so the kernel tells it nothing of an ICMP
 * error.  One of our own is, and gets it: RFC 5389 7.3 and RFC 3261 18.4 count
 * that as a failure.
 */
static void icmp_handler(int flags, void *arg)
{
	struct aa_flow *flow = arg;
	char buf[64];
	ssize_t n;
	int err;
	(void)flags;

	n = recv(flow->icmp.fd, buf, sizeof(buf), MSG_DONTWAIT);
	if (n >= 0)
		return;

	err = errno;
	if (err == EAGAIN || err == EINTR)
		return;

	witness(flow, "ICMP", 0);
	flow_down_err(flow, err);
}


static int icmp_open(struct aa_flow *flow)
{
	int fd, err;

	fd = socket(sa_af(&flow->dst), SOCK_DGRAM | SOCK_CLOEXEC |
		    SOCK_NONBLOCK, 0);
	if (fd < 0)
		return errno;

	if (connect(fd, &flow->dst.u.sa, flow->dst.len))
		err = errno;
	else
		err = aa_compat_fd_read(&flow->icmp, fd, icmp_handler, flow);
	if (err)
		(void)close(fd);

	return err;
}


static void icmp_probe(struct aa_flow *flow)
{
	static const char crlf[4] = {'\r', '\n', '\r', '\n'};
	const uint64_t now = aa_now_ms();

	if (flow->tp != SIP_TRANSP_UDP || flow->via ||
	    !sa_isset(&flow->dst, SA_ALL) || now < flow->icmp_at)
		return;

	flow->icmp_at = now + ICMP_EVERY_MS;

	if (flow->icmp.fd < 0 && icmp_open(flow))
		return;

	(void)send(flow->icmp.fd, crlf, sizeof(crlf), MSG_NOSIGNAL);
}


static int options_send(struct aa_flow *flow)
{
	const char *routev[1] = {aa_flow_uri(flow->via)};
	struct aa_req_prm prm;
	char from[128];
	struct sa laddr;
	bool ipv6;
	int err;

	flow->req = mem_deref(flow->req);
	flow->dlg = mem_deref(flow->dlg);

	err = sip_transp_laddr(flow->sip, &laddr, flow->tp, NULL);
	if (err)
		return err;

	ipv6 = sa_af(&laddr) == AF_INET6;
	if (re_snprintf(from, sizeof(from), "sip:aastra@%s%j%s",
			ipv6 ? "[" : "", &laddr, ipv6 ? "]" : "") < 0)
		return ENOMEM;

	err = sip_dialog_alloc(&flow->dlg, flow->uri, flow->uri, NULL, from,
			       flow->via ? routev : NULL,
			       flow->via ? 1 : 0);
	if (err)
		return err;

	icmp_probe(flow);

	memset(&prm, 0, sizeof(prm));
	prm.sip     = flow->sip;
	prm.met     = "OPTIONS";
	prm.dlg     = flow->dlg;
	prm.timeout = flow->transaction;
	prm.conn    = flow->via ? NULL : &flow->conn;
	prm.resph   = options_handler;
	prm.arg     = flow;

	flow->sent = aa_now_us();
	++flow->probes;

	return aa_req_send(&flow->req, &prm,
			   "Accept: application/sdp\r\n"
			   "Content-Length: 0\r\n"
			   "\r\n");
}


static void ponged(struct aa_flow *flow)
{
	aa_tmr_cancel(&flow->tmr_pong);
	++flow->successes;
	flow->failures = 0;

	/* the host may have slept since it was answered */
	flow->ahead = flow->pinged_ahead;
	notify(flow);
}


static void pong_handler(void *arg)
{
	struct aa_flow *flow = arg;
	uint64_t received;
	int err;

	witness(flow, "keep-alive", flow->pinged);
	err = aa_conn_received(&flow->conn, &received);
	if (err) {
		flow_down_err(flow, err);
		return;
	}

	if (received == flow->received) {
		if (!renewed(flow))
			flow_down(flow, "no answer to keep-alive", 0);
		return;
	}

	ponged(flow);
}


static int crlf_send(struct aa_flow *flow)
{
	struct mbuf *mb;
	uint64_t received;
	int err;

	schedule_check(flow);

	err = aa_conn_received(&flow->conn, &received);
	if (err)
		return err;

	/* the interval may be shorter than the transaction timer */
	if (aa_tmr_isrunning(&flow->tmr_pong)) {
		if (received == flow->received)
			return 0;

		ponged(flow);
	}

	flow->received = received;
	flow->pinged   = aa_now_us();
	flow->pinged_ahead = aa_clock_ahead_ms();

	mb = mbuf_alloc(8);
	if (!mb)
		return ENOMEM;

	err = mbuf_write_str(mb, "\r\n\r\n");
	mb->pos = 0;
	if (!err)
		err = sip_send(flow->sip, NULL, flow->tp, &flow->dst, mb);

	mem_deref(mb);
	if (err)
		return err;

	aa_tmr_start(&flow->tmr_pong, flow->transaction, pong_handler, flow);

	return 0;
}


static void check_address(struct aa_flow *flow)
{
	int err;

	if (keepalive_kind(flow) == AA_KEEPALIVE_CRLF)
		err = crlf_send(flow);
	else
		err = options_send(flow);

	if (err) {
		witness(flow, flow->tp == SIP_TRANSP_UDP ? "OPTIONS" :
			connection_name(flow), 0);
		flow_down_err(flow, err);
	}
}


/*
 * Another name of this address may be verified just now, over the connection
 * that would be used for this one as well.  That takes no longer than a
 * transaction, or has failed.
 */
static bool name_wait(struct aa_flow *flow, enum aa_tlspeer peer)
{
	const uint64_t now = aa_now_ms();

	if (peer != AA_TLSPEER_WAIT) {
		flow->name_until = 0;
		return false;
	}

	if (!flow->name_until)
		flow->name_until = now + flow->transaction;

	return now < flow->name_until;
}


/* The addresses are known, or as good as they will get */
static void resolved(struct aa_flow *flow)
{
	enum aa_tlspeer peer = AA_TLSPEER_OK;

	if (flow->tp == SIP_TRANSP_TLS && !flow->via)
		peer = aa_tlsguard_peer(&flow->dst, flow->host);

	if (shut_strangers(flow) || name_wait(flow, peer)) {
		flow->shut = true;
		aa_tmr_start(&flow->tmr, SHUT_WAIT_MS, probe_handler, flow);
		return;
	}

	if (peer != AA_TLSPEER_OK) {
		flow->name_until = 0;
		flow->conn.borrowed = peer == AA_TLSPEER_WAIT;
		witness(flow, connection_name(flow), 0);
		flow_down_err(flow, ETIMEDOUT);
		return;
	}

	if (flow->keep) {
		check_address(flow);
		return;
	}

	/* no traffic of its own: the next request over it will tell */
	if (flow->state == AA_FLOW_DOWN)
		state_set(flow, AA_FLOW_CONNECTING);
}


static void targets_take(struct aa_flow *flow, const struct aa_targets *t)
{
	flow->targets = *t;
	flow->targets_until = aa_now_ms() + t->ttl_ms;
	flow->tried = 0;
}


static void resolve_handler(int err, const struct aa_targets *t, void *arg)
{
	struct aa_flow *flow = arg;

	if (!err) {
		targets_take(flow, t);
		err = target_use(flow, 0);
	}
	else if (flow->targets.n) {
		/* a dead name server does not make known addresses wrong */
		err = target_use(flow, 0);
	}

	if (err) {
		witness(flow, "DNS", flow->asked);
		flow_down(flow, aa_resolve_strerror(err), 0);
		return;
	}

	resolved(flow);
	notify(flow);
}


static bool needs_resolving(const struct aa_flow *flow)
{
	return flow->dnsc && flow->state != AA_FLOW_UP && !flow->tried &&
		(!flow->targets.n || aa_now_ms() >= flow->targets_until);
}


static void check_start(struct aa_flow *flow)
{
	int err;

	if (flow->resolve)
		return;

	/* the proxy in front has no address yet, or does not work */
	if (flow->via && flow->keep &&
	    aa_flow_state(flow->via) == AA_FLOW_DOWN) {
		witness(flow, aa_flow_by(flow->via), 0);
		flow_down(flow, aa_flow_reason(flow->via), 0);
		return;
	}

	if (flow->via && !aa_flow_ready(flow->via)) {
		aa_tmr_start(&flow->tmr, VIA_WAIT_MS, probe_handler, flow);
		return;
	}

	if (!needs_resolving(flow)) {
		if (flow->dnsc && flow->state == AA_FLOW_DOWN && !flow->tried)
			(void)target_use(flow, 0);
		resolved(flow);
		return;
	}

	flow->asked = aa_now_us();
	err = aa_resolve(&flow->resolve, flow->dnsc, flow->host, flow->port,
			 flow->tp, flow->query_type, flow->transaction,
			 resolve_handler, flow);
	if (err) {
		witness(flow, "DNS", 0);
		flow_down(flow, aa_resolve_strerror(err), 0);
	}
}


static void probe_handler(void *arg)
{
	struct aa_flow *flow = arg;

	/* begun again, a check that is under way would take that much longer
	   to find out; its end is followed by the next one */
	if (flow->req && flow->state == AA_FLOW_UP)
		return;

	check_start(flow);
	if (!flow->keep)
		notify(flow);
}


static void flow_open(struct aa_flow *flow)
{
	if (flow->state != AA_FLOW_IDLE)
		return;

	flow->lookup = mem_deref(flow->lookup);
	flow->reason[0] = '\0';
	flow->failures = 0;
	flow->successes = 0;
	state_set(flow, AA_FLOW_CONNECTING);

	check_start(flow);
}


static void flow_close(struct aa_flow *flow)
{
	if (flow->state == AA_FLOW_IDLE)
		return;

	flow_stop(flow);
	if (is_shared(flow, false))
		aa_conn_init(&flow->conn);
	else if (flow->keep && !flow->via)
		aa_conn_close(&flow->conn, false);

	state_set(flow, AA_FLOW_IDLE);
}


static void lookup_handler(int err, const struct aa_targets *t, void *arg)
{
	struct aa_flow *flow = arg;

	if (err)
		return;

	targets_take(flow, t);
	(void)target_use(flow, 0);
}


/**
 * Know the addresses of a server that nothing is sent to now: whoever calls
 * from there is no stranger.  May be called at any time; asks the name server
 * where the server is given by name, and what is known is too old.
 *
 * @param flow Flow
 */
void aa_flow_know(struct aa_flow *flow)
{
	if (!flow || !flow->dnsc || flow->state != AA_FLOW_IDLE ||
	    flow->lookup || aa_now_ms() < flow->targets_until)
		return;

	(void)aa_resolve(&flow->lookup, flow->dnsc, flow->host, flow->port,
			 flow->tp, flow->query_type, flow->transaction,
			 lookup_handler, flow);
}


static int uri_print(char **urip, const struct aa_flow_prm *prm)
{
	struct sa sa;
	uint16_t port = sip_transp_port(prm->tp, prm->port);

	/* a Request-URI beyond the next hop is for that one to resolve */
	if (prm->via && 0 == sa_set_str(&sa, prm->host, prm->port))
		return prm->port ? re_sdprintf(urip, "sip:%J", &sa) :
			re_sdprintf(urip, sa_af(&sa) == AF_INET6 ?
				    "sip:[%j]" : "sip:%j", &sa);
	if (prm->via && prm->port)
		return re_sdprintf(urip, "sip:%s:%u", prm->host, prm->port);
	if (prm->via)
		return re_sdprintf(urip, "sip:%s", prm->host);

	if (0 == sa_set_str(&sa, prm->host, port))
		return re_sdprintf(urip, "sip:%J%s", &sa,
				   sip_transp_param(prm->tp));

	if (prm->port)
		return re_sdprintf(urip, "sip:%s:%u%s", prm->host, prm->port,
				   sip_transp_param(prm->tp));

	return re_sdprintf(urip, "sip:%s%s", prm->host,
			   sip_transp_param(prm->tp));
}


static struct aa_flow *flow_find(const struct list *flowl,
				 const struct aa_flow_prm *prm)
{
	struct le *le;

	for (le = list_head(flowl); le; le = le->next) {
		struct aa_flow *flow = le->data;

		/* lines that check their flows differently do not share */
		if (flow->tp == prm->tp && flow->port == prm->port &&
		    flow->keep == prm->keep &&
		    (!flow->dnsc || flow->query_type == prm->query_type) &&
		    flow->transaction == prm->transaction &&
		    flow->interval == prm->keepalive &&
		    flow->base == prm->base && flow->max == prm->max &&
		    flow->via == prm->via &&
		    0 == str_casecmp(flow->host, prm->host))
			return flow;
	}

	return NULL;
}


static int flow_alloc(struct aa_flow **flowp, struct list *flowl,
		      struct sip *sip, const struct aa_flow_prm *prm)
{
	struct aa_flow *flow;
	int err;

	flow = mem_zalloc(sizeof(*flow), flow_destructor);
	if (!flow)
		return ENOMEM;

	aa_conn_init(&flow->conn);
	flow->icmp.fd     = -1;
	flow->sip         = sip;
	flow->tp          = prm->tp;
	flow->port        = prm->port;
	flow->keep        = prm->keep;
	flow->transaction = prm->transaction;
	flow->interval    = prm->keepalive;
	flow->base        = prm->base;
	flow->max         = prm->max;
	flow->since       = aa_now_ms();

	err  = str_dup(&flow->host, prm->host);
	err |= uri_print(&flow->uri, prm);
	err |= uri_print(&flow->name, prm);
	if (prm->via)
		flow->via = mem_ref(prm->via);
	else if (sa_set_str(&flow->dst, prm->host,
			    sip_transp_port(prm->tp, prm->port))) {
		sa_init(&flow->dst, AF_UNSPEC);
		flow->dnsc       = prm->dnsc;
		flow->query_type = prm->query_type;
	}
	if (err) {
		mem_deref(flow);
		return ENOMEM;
	}

	flow->conn.host = flow->host;
	list_append(flowl, &flow->le, flow);
	*flowp = flow;

	return 0;
}


/**
 * Become a user of the flow to a next hop
 *
 * @param userp Pointer to the user; mem_deref() leaves the flow
 * @param flowl List of all flows
 * @param sip   SIP stack
 * @param prm   Parameters; users with equal ones share one flow
 * @param h     Called when the flow changed
 * @param arg   Handler argument
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_flow_attach(struct aa_flow_user **userp, struct list *flowl,
		   struct sip *sip, const struct aa_flow_prm *prm,
		   aa_flow_h *h, void *arg)
{
	struct aa_flow_user *user;
	struct aa_flow *flow;
	int err;

	if (!userp || !flowl || !sip || !prm || !str_isset(prm->host) || !h)
		return EINVAL;

	user = mem_zalloc(sizeof(*user), user_destructor);
	if (!user)
		return ENOMEM;

	flow = flow_find(flowl, prm);
	if (flow) {
		mem_ref(flow);
	}
	else {
		err = flow_alloc(&flow, flowl, sip, prm);
		if (err) {
			mem_deref(user);
			return err;
		}
	}

	user->flow = flow;
	user->h    = h;
	user->arg  = arg;
	list_append(&flow->userl, &user->le, user);

	*userp = user;

	return 0;
}


/**
 * Say whether a user wants its flow open.  A flow is open while any wants it.
 *
 * @param user User of a flow
 * @param want true to open and keep it
 */
void aa_flow_want(struct aa_flow_user *user, bool want)
{
	struct le *le;

	if (!user || user->want == want)
		return;

	user->want = want;

	if (want) {
		flow_open(user->flow);
		return;
	}

	for (le = list_head(&user->flow->userl); le; le = le->next) {
		const struct aa_flow_user *other = le->data;

		if (other->want)
			return;
	}

	flow_close(user->flow);
}


/**
 * Give a use of a flow to another owner
 *
 * @param user User of a flow
 * @param h    Called when the flow changed
 * @param arg  Handler argument
 */
void aa_flow_user_take(struct aa_flow_user *user, aa_flow_h *h, void *arg)
{
	if (!user || !h)
		return;

	user->h   = h;
	user->arg = arg;
}


/**
 * Get the flow of a user
 *
 * @param user User of a flow, may be NULL
 *
 * @return Flow
 */
struct aa_flow *aa_flow_user_flow(const struct aa_flow_user *user)
{
	return user ? user->flow : NULL;
}


/**
 * Tell a flow that a response to a request over it came in
 *
 * A server that says `Require: outbound` keeps its side of RFC 5626 (5.3), so
 * that the cheap keep-alive can be used, at the pace of its Flow-Timer.
 *
 * @param flow Flow
 * @param msg  SIP response
 */
void aa_flow_seen(struct aa_flow *flow, const struct sip_msg *msg)
{
	const struct sip_hdr *hdr;
	bool outbound;

	if (!flow || !msg || flow->state == AA_FLOW_IDLE ||
	    msg->tp != flow->tp)
		return;

	/*
	 * Such a word is the proxy's, about a server that did not answer.  And
	 * a server that has said so to OPTIONS is not up because it says so to
	 * the REGISTER beside it as well.
	 */
	if ((flow->via || flow->state == AA_FLOW_DOWN) &&
	    aa_scode_is_server_failure(msg->scode))
		return;

	/* what was sent before this one may have been lost with the connection
	   of before, and nobody has heard of its end */
	if (!flow->keep && flow->state == AA_FLOW_UP && jumped(flow))
		++flow->turn;

	flow->ahead = aa_clock_ahead_ms();
	outbound = sip_msg_hdr_has_value(msg, SIP_HDR_REQUIRE, "outbound");
	if (outbound && !flow->outbound) {
		flow->outbound = true;

		hdr = sip_msg_hdr(msg, SIP_HDR_FLOW_TIMER);
		if (hdr)
			flow->flow_timer = pl_u32(&hdr->val);
	}

	if (flow->state != AA_FLOW_UP)
		flow_up(flow, msg);

	if (outbound && !sa_isset(&flow->stun_mapped, SA_PORT))
		mapping_ask(flow, msg);
}


/**
 * Tell a flow that a request over it showed that the next hop failed
 *
 * @param flow        Flow
 * @param reason      What was seen, for people
 * @param retry_after Do not try it again sooner [s], 0 for no such wish
 */
void aa_flow_fail(struct aa_flow *flow, const char *reason,
		  uint32_t retry_after)
{
	char buf[REASON_SIZE];

	if (!flow || flow->state == AA_FLOW_DOWN)
		return;

	/* the request is sent again, over a new connection */
	if (flow->anew)
		return;

	/* so are those of other lines that went down the old one */
	if (!flow->keep && !retry_after && is_excused(flow)) {
		++flow->turn;
		return;
	}

	/* libre says no more than that the handshake failed */
	if (flow->tp == SIP_TRANSP_TLS &&
	    aa_tlsguard_error(flow->host, buf, sizeof(buf)))
		reason = buf;

	witness(flow, "request", 0);
	flow_down(flow, reason ? reason : "failed", retry_after);
}


/**
 * Try a failed flow, or check a good one, now
 *
 * @param flow Flow
 */
void aa_flow_probe(struct aa_flow *flow)
{
	if (!flow || flow->state == AA_FLOW_IDLE || flow->req)
		return;

	aa_tmr_start(&flow->tmr, 0, probe_handler, flow);
}


/**
 * Check a flow that seems to work with one OPTIONS, now, because something
 * else that was sent over it stays unanswered.  This is done for flows that
 * are not kept as well.
 *
 * @param flow Flow
 */
void aa_flow_check(struct aa_flow *flow)
{
	int err;

	if (!flow || flow->state == AA_FLOW_IDLE ||
	    flow->state == AA_FLOW_DOWN || flow->req)
		return;

	err = options_send(flow);
	if (err) {
		witness(flow, "OPTIONS", 0);
		flow_down_err(flow, err);
	}
}


/**
 * A request goes over a flow: hear of an ICMP error about its server, which
 * libre's socket does not.  Only for flows that are kept, over UDP.
 *
 * @param flow Flow
 */
void aa_flow_listen(struct aa_flow *flow)
{
	if (flow && flow->keep && flow->state == AA_FLOW_UP)
		icmp_probe(flow);
}


/**
 * The TCP connection of a flow, for requests that may open it
 *
 * @param flow Flow
 *
 * @return Connection
 */
struct aa_conn *aa_flow_conn(struct aa_flow *flow)
{
	return flow ? &flow->conn : NULL;
}


/**
 * The phone's own addresses have changed, and libre's connections with them:
 * begin anew, without calling that a failure of the server
 *
 * @param flow Flow
 */
void aa_flow_reset(struct aa_flow *flow)
{
	if (!flow || flow->state == AA_FLOW_IDLE)
		return;

	flow_stop(flow);
	aa_conn_init(&flow->conn);
	sa_init(&flow->mapped, AF_UNSPEC);
	flow->failures = 0;
	state_set(flow, AA_FLOW_CONNECTING);
	aa_tmr_start(&flow->tmr, 0, probe_handler, flow);
	notify(flow);
}


/**
 * Is the address of a flow known, so that requests can be sent over it?  Not
 * while a connection ends that leads there and was not verified.
 *
 * @param flow Flow, may be NULL
 *
 * @return true if so
 */
bool aa_flow_ready(const struct aa_flow *flow)
{
	if (flow && flow->via)
		return aa_flow_ready(flow->via);

	return flow && !flow->shut && (!flow->dnsc || flow->targets.n);
}


/**
 * Counts the addresses of a name that a flow took up one after the other, and
 * how often it began anew after the host had slept, or its clock was set.
 * What was sent before it changed went to another address or connection, and
 * says nothing about this one.
 *
 * @param flow Flow, may be NULL
 *
 * @return Number
 */
uint64_t aa_flow_turn(const struct aa_flow *flow)
{
	if (flow && flow->via)
		return aa_flow_turn(flow->via);

	return flow ? flow->turn : 0;
}


/**
 * The server of a flow as the administrator wrote it
 *
 * @param flow Flow, may be NULL
 *
 * @return SIP URI
 */
const char *aa_flow_name(const struct aa_flow *flow)
{
	return flow ? flow->name : NULL;
}


/**
 * Is the server given by name?
 *
 * @param flow Flow, may be NULL
 *
 * @return true if so
 */
bool aa_flow_named(const struct aa_flow *flow)
{
	return flow && flow->dnsc;
}


/**
 * State of a flow
 *
 * @param flow Flow, may be NULL
 *
 * @return State
 */
enum aa_flow_state aa_flow_state(const struct aa_flow *flow)
{
	return flow ? flow->state : AA_FLOW_IDLE;
}


/**
 * Name of a state
 *
 * @param state State of a flow
 *
 * @return Name as in `aastra_state`
 */
const char *aa_flow_state_name(enum aa_flow_state state)
{
	switch (state) {

	case AA_FLOW_IDLE:       return "idle";
	case AA_FLOW_CONNECTING: return "connecting";
	case AA_FLOW_UP:         return "up";
	case AA_FLOW_DOWN:       return "down";
	default:                 return "?";
	}
}


/**
 * How a flow is checked now
 *
 * @param flow Flow, may be NULL
 *
 * @return Kind of keep-alive
 */
enum aa_keepalive aa_flow_keepalive(const struct aa_flow *flow)
{
	return flow ? keepalive_kind(flow) : AA_KEEPALIVE_NONE;
}


/**
 * Name of a kind of keep-alive
 *
 * @param ka Kind of keep-alive
 *
 * @return Name as in `aastra_state`
 */
const char *aa_keepalive_name(enum aa_keepalive ka)
{
	switch (ka) {

	case AA_KEEPALIVE_NONE:    return "none";
	case AA_KEEPALIVE_CRLF:    return "crlf";
	case AA_KEEPALIVE_STUN:    return "stun";
	case AA_KEEPALIVE_OPTIONS: return "options";
	default:                   return "?";
	}
}


/**
 * URI of a flow's next hop, fit for a Route
 *
 * @param flow Flow, may be NULL
 *
 * @return SIP URI
 */
const char *aa_flow_uri(const struct aa_flow *flow)
{
	return flow ? flow->uri : NULL;
}


/**
 * Why a flow is down
 *
 * @param flow Flow, may be NULL
 *
 * @return Text for people, empty if it is not down
 */
const char *aa_flow_reason(const struct aa_flow *flow)
{
	return flow ? flow->reason : "";
}


/**
 * What showed the latest failure of a flow
 *
 * @param flow Flow, may be NULL
 *
 * @return "TCP connection", "TLS connection", "OPTIONS", "keep-alive",
 *         "ICMP", "DNS", "request" (of a user of the flow), or empty
 */
const char *aa_flow_by(const struct aa_flow *flow)
{
	return flow && flow->by ? flow->by : "";
}


/**
 * How long it took to see the latest failure of a flow: since what stayed
 * unanswered was sent
 *
 * @param flow Flow, may be NULL
 *
 * @return Milliseconds, 0 where the failure told of itself
 */
uint32_t aa_flow_detect(const struct aa_flow *flow)
{
	return flow ? flow->detect : 0;
}


/**
 * Round-trip time of the latest OPTIONS (with the connect, if it needed one)
 *
 * @param flow Flow, may be NULL
 *
 * @return Microseconds, 0 if unknown
 */
uint32_t aa_flow_rtt(const struct aa_flow *flow)
{
	return flow ? flow->rtt : 0;
}


/**
 * Failures in a row
 *
 * @param flow Flow, may be NULL
 *
 * @return Number
 */
uint32_t aa_flow_failures(const struct aa_flow *flow)
{
	return flow ? flow->failures : 0;
}


/**
 * Good answers in a row since the flow came up
 *
 * @param flow Flow, may be NULL
 *
 * @return Number
 */
uint32_t aa_flow_successes(const struct aa_flow *flow)
{
	return flow ? flow->successes : 0;
}


/**
 * Requests that the flow sent to find out about its next hop
 *
 * @param flow Flow, may be NULL
 *
 * @return Number
 */
uint32_t aa_flow_probes(const struct aa_flow *flow)
{
	return flow ? flow->probes : 0;
}


/**
 * When the flow entered its state
 *
 * @param flow Flow, may be NULL
 *
 * @return Time of aa_now_ms()
 */
uint64_t aa_flow_since(const struct aa_flow *flow)
{
	return flow ? flow->since : 0;
}


/**
 * Time until a failed flow is tried again
 *
 * @param flow Flow, may be NULL
 *
 * @return Milliseconds, 0 if it is not down
 */
uint64_t aa_flow_retry_in(const struct aa_flow *flow)
{
	if (!flow || flow->state != AA_FLOW_DOWN)
		return 0;

	return aa_tmr_expire(&flow->tmr);
}


/**
 * Counts how often the flow came up: a binding made over an earlier one hangs
 * on a connection that is gone
 *
 * @param flow Flow, may be NULL
 *
 * @return Number
 */
uint64_t aa_flow_generation(const struct aa_flow *flow)
{
	return flow ? flow->generation : 0;
}


/**
 * Is the server behind a proxy, and judged by what answers through it?
 *
 * @param flow Flow, may be NULL
 *
 * @return true if so
 */
bool aa_flow_behind(const struct aa_flow *flow)
{
	return flow && flow->via;
}


/* At the address in use */
static bool leads_to(const struct aa_flow *flow, const struct sa *sa)
{
	const char *str = aa_flow_uri(flow);
	struct sa host;
	struct uri uri;
	struct pl pl;

	if (!str)
		return false;

	pl_set_str(&pl, str);
	if (uri_decode(&uri, &pl) || sa_set(&host, &uri.host, 0))
		return false;

	return sa_cmp(&host, sa, SA_ADDR);
}


/**
 * The flow that leads to a host
 *
 * @param flowl Flows
 * @param sa    Address; its port does not matter
 *
 * @return The first one of the list, NULL if there is none
 */
struct aa_flow *aa_flow_to(const struct list *flowl, const struct sa *sa)
{
	struct le *le;

	if (!sa)
		return NULL;

	for (le = list_head(flowl); le; le = le->next) {
		if (leads_to(le->data, sa))
			return le->data;
	}

	return NULL;
}


/* flag: whether the port counts */
static bool has_target(const struct aa_flow *flow, const struct sa *sa,
		       int flag)
{
	size_t i;

	for (i=0; i<flow->targets.n; i++) {
		if (sa_cmp(&flow->targets.v[i], sa, flag))
			return true;
	}

	return false;
}


/**
 * Is a host a server of some flow, whichever of a server's addresses it has?
 *
 * @param flowl Flows
 * @param sa    Address; its port does not matter
 *
 * @return true if so, of a name as far as it has been looked up
 */
bool aa_flow_is_server(const struct list *flowl, const struct sa *sa)
{
	struct le *le;

	if (aa_flow_to(flowl, sa))
		return true;

	for (le = list_head(flowl); le && sa; le = le->next) {
		if (has_target(le->data, sa, SA_ADDR))
			return true;
	}

	return false;
}


/**
 * The names of the TLS server at an address, as the settings give them
 *
 * @param flowl Flows
 * @param sa    Address and port, NULL: all of them
 * @param namev Set to the names
 * @param max   Room for names
 *
 * @return How many there are
 */
size_t aa_flow_tls_names(const struct list *flowl, const struct sa *sa,
			 const char **namev, size_t max)
{
	const struct le *le;
	size_t n = 0;

	for (le = list_head(flowl); le && n < max; le = le->next) {
		const struct aa_flow *flow = le->data;

		if (flow->tp == SIP_TRANSP_TLS && !flow->via &&
		    (!sa || has_target(flow, sa, SA_ALL) ||
		     sa_cmp(&flow->dst, sa, SA_ALL)))
			namev[n++] = flow->host;
	}

	return n;
}


/**
 * Is the flow kept and checked (outbound support)?
 *
 * @param flow Flow, may be NULL
 *
 * @return true if so
 */
bool aa_flow_kept(const struct aa_flow *flow)
{
	return flow && flow->keep;
}
