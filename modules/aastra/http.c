/**
 * @file http.c  The page, and what programs read of it, served by HTTP
 *
 * Messages and connections are libre's.  Its http_listen() is not used: it
 * takes any number of connections, keeps half a megabyte for each until a
 * request is complete, and gives no way to refuse one before that.  A phone
 * has better uses for its descriptors and memory, so here each connection
 * carries one request, their number is bounded, and each has to be done in
 * time.  When all places are taken, the oldest one that is not a listener to
 * events makes room.
 *
 * Events (server-sent events, of the HTML standard) are made once for all
 * clients.  One that does not read gets none while its queue is not empty,
 * and the whole state when it is; one that reads nothing at all is dropped.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <re.h>
#include "aastra_baresip.h"
#include "compat.h"
#include "timer.h"
#include "seen.h"
#include "httpreq.h"
#include "http.h"


enum {
	CONNS_MAX     = 24,     /* of all kinds                             */
	EVENTS_MAX    = 8,      /* that listen to events                    */
	BACKLOG       = 16,

	REQUEST_MS    = 10000,  /* for the whole request to arrive          */
	REPLY_MS      = 20000,  /* for the whole answer to be taken         */
	LINGER_MS     = 1000,   /* for the other side to read a refusal     */
	GUESS_MS      = 1000,   /* a wrong token is answered so late        */
	STUCK_MS      = 30000,  /* a client that reads no events            */
	TICK_MS       = 15000,  /* something is sent that often             */
	PUSH_MS       = 50,     /* news of one cause are told at once       */
	PUSH_LEAST_MS = 200,    /* between two of them                      */
	RETRY_MS      = 5000,   /* the address may be there then            */

	QUEUE_MAX     = 524288, /* libre's own bound of a queue             */
	ENTRIES_MAX   = 500,    /* of the history, told to a new client     */
	DIRTY_MAX     = 32,     /* lines told by themselves                 */
	TOKEN_SIZE    = 128
};

/* What a connection is at */
enum state {
	ST_REQUEST = 0,         /* the request arrives                      */
	ST_GUESS,               /* the answer to a wrong token waits        */
	ST_REPLY,               /* the answer is on its way                 */
	ST_LINGER,              /* what still comes is thrown away          */
	ST_EVENTS
};

struct conn {
	struct le le;
	struct tcp_conn *tc;
	struct mbuf *mb;        /* what has arrived of the request          */
	struct aa_tmr tmr;
	struct sa peer;
	struct aa_httpreq req;
	enum state state;
	bool decoded;           /* the head has been read                   */
	bool more;              /* the request did not end where we stopped */

	/* who listens to events */
	uint64_t seq;           /* of the history, told so far              */
	uint64_t stuck;         /* since when its queue is not empty, or 0  */
	bool behind;            /* has missed something                     */
};

static struct {
	char conf_path[512];
	char listen[128];       /* as configured, "" for off                */
	char key[TOKEN_SIZE];   /* token as configured                      */
	char token[TOKEN_SIZE]; /* in force                                 */
	char where[600];        /* the file that it is in, "" for none      */
	bool always;            /* needed by all                            */
	bool said;              /* that the address cannot be had           */
	struct sa laddr;
	struct tcp_sock *ts;
	struct list connl;      /* struct conn, the oldest first            */
	struct aa_seen *seen;
	struct aa_tmr tmr_open;
	struct aa_tmr tmr_push;
	struct aa_tmr tmr_tick;
	uint64_t pushed;        /* when, aa_now_ms()                        */
	uint64_t seq;           /* of the history, told to all              */
	uint32_t dirtyv[DIRTY_MAX];
	size_t dirtyc;
	bool dirty_all;
	bool dirty_history;
} http;


/* ---- connections ------------------------------------------------------ */


static void conn_destructor(void *arg)
{
	struct conn *conn = arg;

	list_unlink(&conn->le);
	aa_tmr_cancel(&conn->tmr);
	mem_deref(conn->tc);
	if (conn->mb)
		OPENSSL_cleanse(conn->mb->buf, conn->mb->size);
	mem_deref(conn->mb);
}


static void timeout_handler(void *arg)
{
	mem_deref(arg);
}


/* The answer has been sent, and the connection ends */
static void reply_sent(struct conn *conn)
{
	if (!conn->more) {
		mem_deref(conn);
		return;
	}

	/* closing while data comes in would reset the connection, and the
	   other side might never read why */
	conn->state = ST_LINGER;
	aa_tmr_start(&conn->tmr, LINGER_MS, timeout_handler, conn);
}


static void reply_send_handler(void *arg)
{
	struct conn *conn = arg;

	(void)tcp_set_send(conn->tc, NULL);
	reply_sent(conn);
}


static int send_all(struct conn *conn, struct mbuf *mb)
{
	mb->pos = 0;
	tcp_conn_txqsz_set(conn->tc, MAX(mb->end, (size_t)QUEUE_MAX));

	return tcp_send(conn->tc, mb);
}


static int print_head(struct mbuf *mb, uint16_t scode, const char *type)
{
	/* nothing but the page's own files, and in no other site's frame */
	return mbuf_printf(mb,
			   "HTTP/1.1 %u %s\r\n"
			   "Content-Type: %s\r\n"
			   "Content-Security-Policy: default-src 'none';"
			   " script-src 'self'; style-src 'self';"
			   " img-src 'self'; connect-src 'self';"
			   " base-uri 'none'; form-action 'none';"
			   " frame-ancestors 'none'\r\n"
			   "X-Content-Type-Options: nosniff\r\n"
			   "X-Frame-Options: DENY\r\n"
			   "Cross-Origin-Resource-Policy: same-origin\r\n"
			   "Cross-Origin-Opener-Policy: same-origin\r\n"
			   "Referrer-Policy: no-referrer\r\n"
			   "Cache-Control: no-store\r\n"
			   "Connection: close\r\n",
			   scode, aa_http_reason(scode), type);
}


/*
 * Answer a request.  The connection is gone, or about to end, afterwards.
 *
 * extra: more headers, each with its CRLF, or NULL
 */
static void reply(struct conn *conn, uint16_t scode, const char *type,
		  const char *extra, const uint8_t *body, size_t size)
{
	struct mbuf *mb = mbuf_alloc(1024 + size);
	int err;

	if (!mb) {
		mem_deref(conn);
		return;
	}

	err  = print_head(mb, scode, type);
	err |= mbuf_printf(mb, "%sContent-Length: %zu\r\n\r\n",
			   extra ? extra : "", size);
	if (!conn->req.head && size)
		err |= mbuf_write_mem(mb, body, size);

	if (!err)
		err = send_all(conn, mb);
	mem_deref(mb);

	if (err) {
		mem_deref(conn);
		return;
	}

	conn->state = ST_REPLY;
	aa_tmr_start(&conn->tmr, REPLY_MS, timeout_handler, conn);

	if (tcp_conn_txqsz(conn->tc) == 0)
		reply_sent(conn);
	else if (tcp_set_send(conn->tc, reply_send_handler))
		mem_deref(conn);
}


static void refuse(struct conn *conn, uint16_t scode)
{
	char buf[64];
	const char *extra = NULL;
	const bool post = conn->req.what == AA_HTTP_COMMAND ||
		conn->req.what == AA_HTTP_LOGIN ||
		conn->req.what == AA_HTTP_LOGOUT;
	int n;

	if (scode == 401)
		extra = "WWW-Authenticate: Bearer realm=\"aastra\"\r\n";
	else if (scode == 405 && post)
		extra = "Allow: POST\r\n";
	else if (scode == 405 && conn->req.what == AA_HTTP_EVENTS)
		extra = "Allow: GET\r\n";
	else if (scode == 405)
		extra = "Allow: GET, HEAD\r\n";
	else if (scode == 503)
		extra = "Retry-After: 10\r\n";

	n = re_snprintf(buf, sizeof(buf), "%u %s\n", scode,
			aa_http_reason(scode));

	reply(conn, scode, "text/plain; charset=utf-8", extra,
	      (uint8_t *)buf, n > 0 ? (size_t)n : 0);
}


/* ---- what is told ----------------------------------------------------- */


static int mbuf_vph(const char *p, size_t size, void *arg)
{
	return mbuf_write_mem(arg, (const uint8_t *)p, size);
}


/* The number behind "last": in what aa_seen_history() has printed */
static uint64_t history_last(const struct mbuf *mb, size_t begin)
{
	const char *p = (const char *)mb->buf + begin;
	struct pl last;

	if (mb->end < begin ||
	    re_regex(p, mb->end - begin, "\"last\":[0-9]+", &last))
		return 0;

	return pl_u64(&last);
}


/* One event with a line of data */
static int event_state(struct mbuf *mb, uint32_t line)
{
	struct re_printf pf = {mbuf_vph, mb};
	const size_t begin = mb->end;
	int err = 0;

	/* whoever draws a picture wants to know where now is */
	if (!line)
		err = mbuf_printf(mb, "event: clock\ndata: {\"time_ms\":%llu}"
				  "\n\n", aa_wall_ms());

	err |= mbuf_printf(mb, "event: %s\ndata: ", line ? "line" : "state");
	if (!err)
		err = aa_seen_now(&pf, line);
	if (!err)
		err = mbuf_write_str(mb, "\n\n");
	if (err)
		mb->pos = mb->end = begin;

	return err;
}


/* since: what is known already, set to what is known then */
static int event_history(struct mbuf *mb, uint64_t *since, uint32_t max)
{
	struct re_printf pf = {mbuf_vph, mb};
	const size_t begin = mb->end;
	uint64_t last;
	int err;

	err = mbuf_write_str(mb, "event: history\ndata: ");
	if (!err)
		err = aa_seen_history(&pf, 0, *since, max);
	last = history_last(mb, begin);
	if (!err)
		err = mbuf_printf(mb, "\nid: %llu\n\n", last);
	if (err) {
		mb->pos = mb->end = begin;
		return err;
	}

	/* it begins anew */
	if (last < *since) {
		mb->pos = mb->end = begin;
		*since = 0;
		return event_history(mb, since, max);
	}

	*since = last;

	return 0;
}


static size_t listeners(void)
{
	const struct le *le;
	size_t n = 0;

	for (le = list_head(&http.connl); le; le = le->next) {
		const struct conn *conn = le->data;

		n += conn->state == ST_EVENTS;
	}

	return n;
}


static void events_send_handler(void *arg);


/* Note whether the client keeps up; the connection may be gone afterwards */
static void events_sent(struct conn *conn)
{
	if (tcp_conn_txqsz(conn->tc) == 0) {
		conn->stuck = 0;
		return;
	}

	if (!conn->stuck)
		conn->stuck = aa_now_ms();
	if (tcp_set_send(conn->tc, events_send_handler))
		mem_deref(conn);
}


/* All there is to know, for a new client and for one that missed something */
static int events_all(struct conn *conn, struct mbuf *mb)
{
	int err;

	err  = event_state(mb, 0);
	err |= event_history(mb, &conn->seq, ENTRIES_MAX);
	if (err)
		return err;

	conn->behind = false;

	return send_all(conn, mb);
}


static void events_send_handler(void *arg)
{
	struct conn *conn = arg;
	struct mbuf *mb;
	int err = ENOMEM;

	(void)tcp_set_send(conn->tc, NULL);
	conn->stuck = 0;

	if (!conn->behind)
		return;

	mb = mbuf_alloc(16384);
	if (mb)
		err = events_all(conn, mb);
	mem_deref(mb);

	if (err)
		mem_deref(conn);
	else
		events_sent(conn);
}


static void events_begin(struct conn *conn)
{
	struct mbuf *mb;
	int err;

	if (listeners() >= EVENTS_MAX) {
		refuse(conn, 503);
		return;
	}

	mb = mbuf_alloc(16384);
	if (!mb) {
		mem_deref(conn);
		return;
	}

	conn->state = ST_EVENTS;
	conn->seq   = conn->req.since;
	conn->mb    = mem_deref(conn->mb);
	aa_tmr_cancel(&conn->tmr);

	err  = print_head(mb, 200, "text/event-stream");
	err |= mbuf_write_str(mb, "X-Accel-Buffering: no\r\n\r\n"
			      "retry: 2000\n\n");
	if (!err)
		err = events_all(conn, mb);
	mem_deref(mb);

	if (err) {
		mem_deref(conn);
		return;
	}

	/* nobody else waits for what is older */
	if (listeners() == 1)
		http.seq = conn->seq;

	events_sent(conn);
}


/* To all that keep up; the others get everything later */
static void events_tell(struct mbuf *mb, uint64_t seq)
{
	const uint64_t now = aa_now_ms();
	struct le *le = list_head(&http.connl);

	while (le) {
		struct conn *conn = le->data;

		le = le->next;

		if (conn->state != ST_EVENTS)
			continue;

		if (conn->stuck) {
			conn->behind = true;
			if (now - conn->stuck > STUCK_MS)
				mem_deref(conn);
			continue;
		}

		if (send_all(conn, mb)) {
			mem_deref(conn);
			continue;
		}

		conn->seq = MAX(conn->seq, seq);
		events_sent(conn);
	}
}


static void push_handler(void *arg)
{
	struct mbuf *mb;
	size_t i;
	int err = 0;
	(void)arg;

	http.pushed = aa_now_ms();

	mb = listeners() ? mbuf_alloc(16384) : NULL;
	if (mb) {
		/* a line that is gone, or new, changes the whole */
		for (i=0; i<http.dirtyc && !http.dirty_all; i++) {
			if (event_state(mb, http.dirtyv[i])) {
				mb->pos = mb->end = 0;
				http.dirty_all = true;
			}
		}
		if (http.dirty_all)
			err = event_state(mb, 0);
		if (http.dirty_history)
			err |= event_history(mb, &http.seq, ENTRIES_MAX);
		if (!err && mb->end)
			events_tell(mb, http.seq);
		mem_deref(mb);
	}

	http.dirtyc = 0;
	http.dirty_all = http.dirty_history = false;
}


static void news_handler(enum aa_news what, uint32_t line, void *arg)
{
	const uint64_t now = aa_now_ms();
	uint64_t wait = PUSH_MS;
	size_t i;
	(void)arg;

	if (what == AA_NEWS_HISTORY)
		http.dirty_history = true;

	for (i=0; i<http.dirtyc && http.dirtyv[i] != line; i++)
		;
	if (!line || (i == http.dirtyc && i == DIRTY_MAX))
		http.dirty_all = true;
	else if (i == http.dirtyc)
		http.dirtyv[http.dirtyc++] = line;

	if (aa_tmr_isrunning(&http.tmr_push))
		return;

	if (now - http.pushed < PUSH_LEAST_MS)
		wait = MAX(wait, PUSH_LEAST_MS - (now - http.pushed));
	aa_tmr_start(&http.tmr_push, wait, push_handler, NULL);
}


/* What has no news of its own, such as round trips, and a sign of life */
static void tick_handler(void *arg)
{
	struct mbuf *mb;
	(void)arg;

	aa_tmr_start(&http.tmr_tick, TICK_MS, tick_handler, NULL);

	mb = listeners() ? mbuf_alloc(16384) : NULL;
	if (!mb)
		return;

	if (!mbuf_write_str(mb, ": keep-alive\n\n") && !event_state(mb, 0))
		events_tell(mb, 0);
	mem_deref(mb);
}


/* ---- requests --------------------------------------------------------- */


static void reply_print(struct conn *conn, enum aa_http_what what)
{
	struct mbuf *mb = mbuf_alloc(16384);
	struct re_printf pf = {mbuf_vph, mb};
	const struct aa_httpreq *req = &conn->req;
	const char *type = "application/json";
	int err = ENOMEM;

	if (!mb)
		goto out;

	if (what == AA_HTTP_STATE) {
		err = aa_seen_now(&pf, req->line);
	}
	else if (what == AA_HTTP_HISTORY) {
		err = aa_seen_history(&pf, req->line, req->since, req->max);
	}
	else {
		type = "text/plain; version=0.0.4; charset=utf-8";
		err = aa_seen_metrics(&pf);
	}

 out:
	if (err)
		refuse(conn, err == ENOENT ? 404 : 500);
	else
		reply(conn, 200, type, NULL, mb->buf, mb->end);
	mem_deref(mb);
}


/* What a button does; the other commands are not for a page */
static bool command_allowed(const char *name)
{
	static const char *namev[] = {
		"failover", "failback", "auto", "probe", "reload"
	};
	size_t i;

	for (i=0; i<ARRAY_SIZE(namev); i++) {
		if (!str_cmp(name, namev[i]))
			return true;
	}

	return false;
}


/* "failover 1" */
static void command(struct conn *conn, const struct pl *body)
{
	char buf[64] = "", *prm;
	struct re_printf pf;
	struct mbuf *mb;
	uint16_t scode;
	size_t i;
	int err;

	for (i=0; i<body->l; i++) {
		if (body->p[i] < ' ' || body->p[i] > '~') {
			refuse(conn, 400);
			return;
		}
	}

	if (pl_strcpy(body, buf, sizeof(buf))) {
		refuse(conn, 400);
		return;
	}

	prm = strchr(buf, ' ');
	if (prm)
		*prm++ = '\0';

	if (!command_allowed(buf)) {
		refuse(conn, 400);
		return;
	}

	mb = mbuf_alloc(512);
	if (!mb) {
		mem_deref(conn);
		return;
	}

	info("aastra: page: %s%s%s, asked for by %J\n", buf, prm ? " " : "",
	     prm ? prm : "", &conn->peer);

	pf.vph = mbuf_vph;
	pf.arg = mb;
	err = aa_seen_command(&pf, buf, prm);

	switch (err) {

	case 0:      scode = 200; break;
	case ENOSYS:
	case EINVAL: scode = 400; break;
	case ENOENT: scode = 409; break;
	default:     scode = 500; break;
	}

	reply(conn, scode, "text/plain; charset=utf-8", NULL, mb->buf,
	      mb->end);
	mem_deref(mb);
}


static void guess_handler(void *arg)
{
	struct conn *conn = arg;

	if (conn->tc)
		refuse(conn, 401);
	else
		mem_deref(conn);
}


/* No more than so many guesses a second: who does not wait for the answer has
   his place taken all the same */
static void wrong_token(struct conn *conn)
{
	conn->state = ST_GUESS;
	aa_tmr_start(&conn->tmr, GUESS_MS, guess_handler, conn);
}


static void set_cookie(struct conn *conn, const char *value, unsigned age)
{
	char extra[256];

	(void)re_snprintf(extra, sizeof(extra),
			  "Set-Cookie: aastra_page=%s; Path=/; Max-Age=%u;"
			  " HttpOnly; SameSite=Strict\r\n", value, age);
	reply(conn, 200, "text/plain; charset=utf-8", extra,
	      (const uint8_t *)"ok\n", 3);
	OPENSSL_cleanse(extra, sizeof(extra));
}


static void login(struct conn *conn, const struct pl *body)
{
	char value[AA_HTTP_COOKIE_SZ];
	struct pl token = *body;

	while (token.l && strchr(" \r\n", token.p[token.l - 1]))
		--token.l;

	if (!aa_http_token_equal(http.token, token.p, token.l)) {
		info("aastra: page: wrong token from %J\n", &conn->peer);
		wrong_token(conn);
		return;
	}

	aa_http_cookie(value, http.token);
	set_cookie(conn, value, 30 * 86400);
}


static const struct aa_page_file *file_find(const struct pl *path)
{
	size_t i;

	for (i=0; i<aa_page_filec; i++) {
		if (!pl_strcmp(path, aa_page_filev[i].path))
			return &aa_page_filev[i];
	}

	return NULL;
}


/* What may be refused before the body has arrived */
static bool head_ok(struct conn *conn, const struct http_msg *msg)
{
	struct aa_httpguard guard;
	struct sa local;
	uint16_t scode;

	scode = aa_httpreq_decode(&conn->req, msg);

	/* a body that may still come is nothing to us */
	conn->more = scode && (conn->req.post || conn->req.other);

	if (!scode && conn->req.what == AA_HTTP_FILE &&
	    !file_find(&msg->path))
		scode = 404;
	if (!scode || scode == 413) {
		const uint16_t sc = aa_httpreq_method(&conn->req);

		scode = sc ? sc : scode;
	}
	if (!scode || scode == 413) {
		const uint16_t sc = aa_httpreq_site(&conn->req, msg);

		scode = sc ? sc : scode;
	}

	/* the files are no secret: one of them asks for the token */
	if (!scode && conn->req.what != AA_HTTP_FILE &&
	    conn->req.what != AA_HTTP_LOGIN) {

		if (tcp_conn_local_get(conn->tc, &local))
			sa_init(&local, AF_UNSPEC);

		guard.token  = http.token;
		guard.always = http.always;
		guard.peer   = &conn->peer;
		guard.local  = &local;

		scode = aa_httpreq_may(msg, &guard);
	}

	if (!scode)
		return true;

	if (conn->req.clen)
		conn->more = true;

	if (scode == 401 && aa_httpreq_tries(&conn->req, msg)) {
		debug("aastra: page: wrong token from %J\n", &conn->peer);
		wrong_token(conn);
	}
	else {
		refuse(conn, scode);
	}

	return false;
}


static void request(struct conn *conn, const struct http_msg *msg,
		    const struct pl *body)
{
	const struct aa_page_file *file;

	switch (conn->req.what) {

	case AA_HTTP_STATE:
	case AA_HTTP_HISTORY:
	case AA_HTTP_METRICS:
		reply_print(conn, conn->req.what);
		break;

	case AA_HTTP_EVENTS:
		events_begin(conn);
		break;

	case AA_HTTP_COMMAND:
		command(conn, body);
		break;

	case AA_HTTP_LOGIN:
		login(conn, body);
		break;

	case AA_HTTP_LOGOUT:
		set_cookie(conn, "", 0);
		break;

	default:
		file = file_find(&msg->path);
		if (file)
			reply(conn, 200, file->type, NULL, file->data,
			      file->size);
		else
			refuse(conn, 404);
		break;
	}
}


/* As much of a request as there is.  The connection may be gone then. */
static void request_look(struct conn *conn)
{
	struct http_msg *msg = NULL;
	struct pl body;

	conn->mb->pos = 0;

	if (!aa_httpreq_complete(mbuf_buf(conn->mb),
				 mbuf_get_left(conn->mb))) {

		if (conn->mb->end > AA_HTTP_HEAD_MAX) {
			conn->more = true;
			refuse(conn, 431);
		}
		return;
	}

	if (http_msg_decode(&msg, conn->mb, true)) {
		refuse(conn, 400);
		return;
	}

	if (conn->mb->pos > AA_HTTP_HEAD_MAX) {
		conn->more = true;
		refuse(conn, 431);
		goto out;
	}

	if (!conn->decoded && !head_ok(conn, msg))
		goto out;
	conn->decoded = true;

	if (mbuf_get_left(conn->mb) < conn->req.clen)
		goto out;

	body.p = (const char *)mbuf_buf(conn->mb);
	body.l = conn->req.clen;

	request(conn, msg, &body);

 out:
	mem_deref(msg);
}


static void recv_handler(struct mbuf *mb, void *arg)
{
	struct conn *conn = arg;
	const size_t len = mbuf_get_left(mb);

	/* nothing more is expected */
	if (conn->state != ST_REQUEST)
		return;

	if (!conn->mb)
		conn->mb = mbuf_alloc(1024);
	if (!conn->mb) {
		mem_deref(conn);
		return;
	}

	conn->mb->pos = conn->mb->end;
	if (mbuf_write_mem(conn->mb, mbuf_buf(mb), len)) {
		mem_deref(conn);
		return;
	}

	request_look(conn);
}


static void close_handler(int err, void *arg)
{
	struct conn *conn = arg;
	(void)err;

	if (conn->state == ST_GUESS)
		conn->tc = mem_deref(conn->tc);
	else
		mem_deref(conn);
}


static void late_handler(void *arg)
{
	struct conn *conn = arg;

	/* browsers open connections ahead; those just end */
	if (!conn->mb) {
		mem_deref(conn);
		return;
	}

	refuse(conn, 408);
}


/* The oldest connection that is no client of events, and no guess, makes room;
   false: there is none */
static bool make_room(void)
{
	struct le *le;

	if (list_count(&http.connl) < CONNS_MAX)
		return true;

	for (le = list_head(&http.connl); le; le = le->next) {
		struct conn *conn = le->data;

		if (conn->state != ST_EVENTS && conn->state != ST_GUESS) {
			mem_deref(conn);
			return true;
		}
	}

	return false;
}


static void conn_handler(const struct sa *peer, void *arg)
{
	struct conn *conn;
	(void)arg;

	conn = make_room() ? mem_zalloc(sizeof(*conn), conn_destructor) : NULL;
	if (!conn) {
		tcp_reject(http.ts);
		return;
	}

	conn->peer = *peer;
	list_append(&http.connl, &conn->le, conn);

	if (tcp_accept(&conn->tc, http.ts, NULL, recv_handler, close_handler,
		       conn)) {
		tcp_reject(http.ts);
		mem_deref(conn);
		return;
	}

	aa_tmr_start(&conn->tmr, REQUEST_MS, late_handler, conn);
}


/* ---- the token -------------------------------------------------------- */


static bool token_ok(const char *token)
{
	return strlen(token) >= AA_HTTP_TOKEN_MIN &&
		strspn(token, " ") == 0;
}


static int token_read(char *token, const char *file)
{
	const int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char buf[TOKEN_SIZE] = "";
	ssize_t n;

	if (fd < 0)
		return errno;

	n = read(fd, buf, sizeof(buf) - 1);
	(void)close(fd);
	if (n < 0)
		return EIO;

	buf[strcspn(buf, " \t\r\n")] = '\0';
	if (!token_ok(buf))
		return EBADMSG;

	str_ncpy(token, buf, TOKEN_SIZE);

	return 0;
}


static int token_make(char *token, const char *file)
{
	uint8_t rnd[16];
	char buf[2 * sizeof(rnd) + 2];
	int fd, n, err = 0;

	if (RAND_bytes(rnd, sizeof(rnd)) != 1)
		return EIO;

	n = re_snprintf(buf, sizeof(buf), "%w\n", rnd, sizeof(rnd));
	if (n < 0)
		return ENOMEM;

	fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
		  0600);
	if (fd < 0)
		return errno;

	if (write(fd, buf, (size_t)n) != n || fsync(fd))
		err = errno ? errno : EIO;
	if (close(fd) && !err)
		err = errno;

	if (err) {
		(void)unlink(file);
		return err;
	}

	buf[n - 1] = '\0';
	str_ncpy(token, buf, TOKEN_SIZE);

	return 0;
}


/* The configured one, or that of a file beside baresip's config */
static void token_choose(void)
{
	int err;

	http.where[0] = '\0';
	http.token[0] = '\0';
	http.always = str_isset(http.key);

	if (http.always) {
		if (token_ok(http.key))
			str_ncpy(http.token, http.key, sizeof(http.token));
		else
			warning("aastra: page: the token is shorter than %u"
				" characters: nobody is let in\n",
				AA_HTTP_TOKEN_MIN);
		return;
	}

	if (aa_http_loopback(&http.laddr))
		return;

	if (re_snprintf(http.where, sizeof(http.where),
			"%s/aastra_http_token", http.conf_path) < 0) {
		http.where[0] = '\0';
		return;
	}

	err = token_read(http.token, http.where);
	if (err == ENOENT)
		err = token_make(http.token, http.where);
	if (err)
		warning("aastra: page: %s: no token (%m): only this host is"
			" let in\n", http.where, err);
}


/* Its file is gone, or has another one in it */
static bool token_changed(void)
{
	char token[TOKEN_SIZE] = "";
	bool changed;

	if (!http.ts || !str_isset(http.where))
		return false;

	(void)token_read(token, http.where);
	changed = 0 != strcmp(token, http.token);
	OPENSSL_cleanse(token, sizeof(token));

	return changed;
}


/* ---- the listener ----------------------------------------------------- */


/* "10.0.0.5:8080", "[::1]:8080", "8080": that port of loopback */
static int listen_decode(struct sa *sa, const char *text)
{
	const struct pl pl = {text, strlen(text)};

	if (text[0] && text[strspn(text, "0123456789")] == '\0')
		return sa_set_str(sa, "127.0.0.1", (uint16_t)pl_u32(&pl));

	return sa_decode(sa, pl.p, pl.l);
}


static int sock_open(void)
{
	int err;

	err = tcp_sock_alloc(&http.ts, &http.laddr, conn_handler, NULL);
	if (!err)
		err = tcp_sock_bind(http.ts, &http.laddr);
	if (!err)
		err = tcp_sock_listen(http.ts, BACKLOG);
	if (err)
		http.ts = mem_deref(http.ts);

	return err;
}


static void open_handler(void *arg)
{
	int err;
	(void)arg;

	/* the address of an interface that comes later, another phone that
	   is just ending */
	err = sock_open();
	if (err) {
		if (!http.said)
			warning("aastra: page: %J cannot be listened to (%m),"
				" tried again every %u s\n", &http.laddr, err,
				RETRY_MS / 1000);
		http.said = true;
		aa_tmr_start(&http.tmr_open, RETRY_MS, open_handler, NULL);
		return;
	}

	token_choose();
	if (!http.seen && aa_seen_listen(&http.seen, news_handler, NULL))
		warning("aastra: page: it will not be told what is new\n");
	aa_tmr_start(&http.tmr_tick, TICK_MS, tick_handler, NULL);

	info("aastra: page: http://%J/%s%s\n", &http.laddr,
	     http.where[0] ? ", the token is in " : "", http.where);
}


static void stop(void)
{
	struct le *le = list_head(&http.connl);

	aa_tmr_cancel(&http.tmr_open);
	aa_tmr_cancel(&http.tmr_push);
	aa_tmr_cancel(&http.tmr_tick);
	http.seen = mem_deref(http.seen);
	http.ts   = mem_deref(http.ts);
	http.said = false;

	/* the answer to the very request that led here may be on its way */
	while (le) {
		struct conn *conn = le->data;

		le = le->next;
		if (conn->state == ST_EVENTS || conn->state == ST_REQUEST)
			mem_deref(conn);
	}
}


static void start_handler(void *arg)
{
	int err;

	stop();

	if (!str_isset(http.listen)) {
		info("aastra: page: off\n");
		return;
	}

	err = listen_decode(&http.laddr, http.listen);
	if (err) {
		warning("aastra: page: '%s' is no address (%m)\n",
			http.listen, err);
		return;
	}

	open_handler(arg);
}


/**
 * Begin; nothing is served before aa_http_config()
 *
 * @param conf_path Folder of baresip's config, for the token
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_http_init(const char *conf_path)
{
	memset(&http, 0, sizeof(http));

	return str_isset(conf_path) &&
		strlen(conf_path) < sizeof(http.conf_path) ?
		(str_ncpy(http.conf_path, conf_path, sizeof(http.conf_path)),
		 0) : EINVAL;
}


/**
 * Serve the page there; what is in force already is not touched
 *
 * It takes effect from the event loop: a request by HTTP may be the cause.
 *
 * @param listen `aastra_http_listen`, NULL or "" for off
 * @param token  `aastra_http_token`, NULL or "" for none
 */
void aa_http_config(const char *listen, const char *token)
{
	if (!listen)
		listen = "";
	if (!token)
		token = "";

	/* there may be other lines now */
	if (http.ts)
		news_handler(AA_NEWS_STATE, 0, NULL);

	if (!str_cmp(listen, http.listen) && !str_cmp(token, http.key) &&
	    !token_changed())
		return;

	str_ncpy(http.listen, listen, sizeof(http.listen));
	str_ncpy(http.key, token, sizeof(http.key));

	aa_tmr_start(&http.tmr_open, 0, start_handler, NULL);
}


/**
 * End: nobody is served any more
 */
void aa_http_close(void)
{
	stop();
	list_flush(&http.connl);
	OPENSSL_cleanse(http.key, sizeof(http.key));
	OPENSSL_cleanse(http.token, sizeof(http.token));
}
