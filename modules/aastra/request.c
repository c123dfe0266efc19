/**
 * @file request.c  A SIP request with a time limit of its own
 *
 * libre gives a request 32 seconds (Timer F), goes on retransmitting it when
 * its owner has lost interest, and hands a silent TCP connection to the next
 * request.  A phone that wants to move within seconds can have none of this,
 * so here a request ends when its owner says so: nothing of it is sent again,
 * and the connection it hung on can be closed.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <netinet/in.h>
#include <linux/tcp.h>     /* glibc's struct tcp_info is too old */
#include <re.h>
#include "tlsguard.h"
#include "compat.h"
#include "timer.h"
#include "request.h"


/* RFC 9293 3.3.2, as the kernel numbers them */
enum {
	STATE_ESTABLISHED = 1,
	STATE_SYN_SENT    = 2,
	STATE_CLOSE_WAIT  = 8
};

enum {
	FD_MAX = 4096           /* descriptors that are looked at           */
};


struct aa_req {
	struct aa_req **reqp;
	struct sip_request *req;
	struct mbuf *mb;        /* what libre would retransmit              */
	struct aa_tmr tmr;
	char *host;             /* TLS server that it is for, or NULL       */
	aa_send_h *sendh;
	sip_resp_h *resph;
	void *arg;
};


static void destructor(void *arg)
{
	struct aa_req *r = arg;

	aa_tmr_cancel(&r->tmr);

	if (r->reqp)
		*r->reqp = NULL;

	aa_compat_request_end(r->req, r->mb);
	mem_deref(r->mb);
	mem_deref(r->host);
}


static void complete(struct aa_req *r, int err, const struct sip_msg *msg)
{
	sip_resp_h *resph = r->resph;

	aa_tmr_cancel(&r->tmr);

	if (r->reqp) {
		*r->reqp = NULL;
		r->reqp = NULL;
	}

	r->resph = NULL;
	if (resph)
		resph(err, msg, r->arg);

	mem_deref(r);
}


static int send_handler(enum sip_transp tp, aa_send_src *src,
			const struct sa *dst, struct mbuf *mb,
			AA_SEND_BODY void *arg)
{
	struct aa_req *r = arg;

	mem_deref(r->mb);
	r->mb = mem_ref(mb);

	/* somebody else may have opened the connection since the flow was
	   checked */
	if (tp == SIP_TRANSP_TLS && r->host &&
	    aa_tlsguard_peer(dst, r->host) == AA_TLSPEER_OTHER)
		return EPROTO;

	return r->sendh ? r->sendh(tp, src, dst, mb, r->arg) : 0;
}


static void response_handler(int err, const struct sip_msg *msg, void *arg)
{
	struct aa_req *r = arg;

	if (!err && msg && msg->scode < 200)
		return;

	complete(r, err ? err : (msg ? 0 : EPROTO), msg);
}


static void timeout_handler(void *arg)
{
	struct aa_req *r = arg;

	aa_compat_request_end(r->req, r->mb);
	r->req = NULL;

	complete(r, ETIMEDOUT, NULL);
}


/* POSIX: a new descriptor is the lowest free one */
static int lowest_free_fd(void)
{
	const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0)
		(void)close(fd);

	return fd;
}


static bool socket_ino(int fd, uint64_t *ino)
{
	struct stat st;

	if (fd < 0 || fstat(fd, &st) || !S_ISSOCK(st.st_mode))
		return false;

	*ino = (uint64_t)st.st_ino;

	return true;
}


static bool is_tcp_client(int fd)
{
	struct tcp_info ti;
	socklen_t len = sizeof(ti);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &len))
		return false;

	return ti.tcpi_state == STATE_SYN_SENT ||
		ti.tcpi_state == STATE_ESTABLISHED;
}


/*
 * The first check of a new connection and the REGISTER after it are two small
 * writes: without this (Nagle's algorithm, RFC 9293 3.7.4) the REGISTER waits
 * for the acknowledgement of the check, a whole round trip.
 */
static void nodelay(int fd)
{
	const int on = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}


static int transmit(struct aa_req *r, const struct aa_req_prm *prm,
		    struct mbuf *body)
{
	struct uri hop;
	struct pl pl;
	int err;

	if (prm->dlg)
		return sip_drequestf(&r->req, prm->sip, true, prm->met,
				     prm->dlg, 0, prm->auth, send_handler,
				     response_handler, r, "%b",
				     mbuf_buf(body), mbuf_get_left(body));

	pl_set_str(&pl, prm->hop ? prm->hop : prm->uri);
	err = uri_decode(&hop, &pl);
	if (err)
		return err;

	return sip_requestf(&r->req, prm->sip, true, prm->met, prm->uri, &hop,
			    prm->auth, send_handler, response_handler, r,
			    "%b", mbuf_buf(body), mbuf_get_left(body));
}


/**
 * Send a SIP request
 *
 * @param reqp Pointer to the request; set to NULL when it is completed.
 *             mem_deref() ends it at once, without a call of the handler
 * @param prm  Parameters
 * @param fmt  Formatted headers and body, from behind libre's dialog headers
 *
 * @return 0 if success, otherwise errorcode; a request that cannot be sent at
 *         all fails here, and no handler is called
 */
int aa_req_send(struct aa_req **reqp, const struct aa_req_prm *prm,
		const char *fmt, ...)
{
	struct mbuf *body = NULL;
	struct aa_req *r;
	va_list ap;
	int fd = -1, err;

	if (!reqp || !prm || !prm->sip || (!prm->dlg && !prm->uri) || !fmt)
		return EINVAL;

	r = mem_zalloc(sizeof(*r), destructor);
	if (!r)
		return ENOMEM;

	r->sendh = prm->sendh;
	r->resph = prm->resph;
	r->arg   = prm->arg;

	if (prm->conn && prm->conn->host) {
		err = str_dup(&r->host, prm->conn->host);
		if (err)
			goto out;
	}

	body = mbuf_alloc(512);
	if (!body) {
		err = ENOMEM;
		goto out;
	}

	va_start(ap, fmt);
	err = mbuf_vprintf(body, fmt, ap);
	va_end(ap);
	if (err)
		goto out;

	body->pos = 0;

	if (prm->conn)
		fd = lowest_free_fd();

	aa_tlsguard_begin(prm->conn ? prm->conn->host : NULL);
	err = transmit(r, prm, body);
	aa_tlsguard_end();
	if (err)
		goto out;

	if (fd >= 0 && is_tcp_client(fd)) {
		uint64_t ino;

		if (socket_ino(fd, &ino)) {
			prm->conn->fd  = fd;
			prm->conn->ino = ino;
			prm->conn->borrowed = false;
			aa_conn_user_timeout(prm->conn, prm->timeout);
			nodelay(fd);
		}
	}
	else if (prm->conn) {
		prm->conn->borrowed = !aa_conn_isset(prm->conn);
	}

	aa_tmr_start(&r->tmr, prm->timeout, timeout_handler, r);

	r->reqp = reqp;
	*reqp = r;

 out:
	mem_deref(body);
	if (err)
		mem_deref(r);

	return err;
}


/**
 * Initialise the name of a connection: none
 *
 * @param conn Connection
 */
void aa_conn_init(struct aa_conn *conn)
{
	if (!conn)
		return;

	conn->fd  = -1;
	conn->ino = 0;
	conn->borrowed = false;
}


/**
 * Learn the connection from a message that came over it
 *
 * @param conn Connection
 * @param msg  SIP message; over UDP nothing is learnt
 */
void aa_conn_from_msg(struct aa_conn *conn, const struct sip_msg *msg)
{
	struct tcp_conn *tc;
	uint64_t ino;
	int fd;

	if (!conn || !msg)
		return;

	tc = sip_msg_tcpconn(msg);
	if (!tc)
		return;

	fd = aa_compat_tcp_fd(tc);
	if (socket_ino(fd, &ino)) {
		conn->fd  = fd;
		conn->ino = ino;
		conn->borrowed = false;
	}
}


/**
 * Is the connection known, and still that socket?
 *
 * @param conn Connection
 *
 * @return true if so
 */
bool aa_conn_isset(const struct aa_conn *conn)
{
	uint64_t ino;

	return conn && conn->fd >= 0 && socket_ino(conn->fd, &ino) &&
		ino == conn->ino;
}


/**
 * Let the kernel close a connection whose data stays unacknowledged
 *
 * @param conn Connection
 * @param ms   How long data may stay unacknowledged [ms]
 */
void aa_conn_user_timeout(const struct aa_conn *conn, uint32_t ms)
{
	const unsigned val = ms;

	if (!aa_conn_isset(conn))
		return;

	(void)setsockopt(conn->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &val,
			 sizeof(val));
}


/**
 * How much has been received on a connection?
 *
 * @param conn  Connection
 * @param bytes Set to the number of bytes
 *
 * @return 0 if success, ENOTCONN if the connection is gone, ENOTSUP if the
 *         system does not count
 */
int aa_conn_received(const struct aa_conn *conn, uint64_t *bytes)
{
	struct tcp_info ti;
	socklen_t len = sizeof(ti);

	if (!bytes)
		return EINVAL;

	if (!aa_conn_isset(conn))
		return ENOTCONN;

	memset(&ti, 0, sizeof(ti));
	if (getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, &ti, &len))
		return errno;

	/* kernels before 4.1 do not count them, nor do emulators */
	if (len < offsetof(struct tcp_info, tcpi_bytes_received) +
	    sizeof(ti.tcpi_bytes_received))
		return ENOTSUP;

	*bytes = ti.tcpi_bytes_received;

	return 0;
}


/**
 * Is something that was sent not acknowledged by the peer's kernel yet?
 *
 * A server that hangs acknowledges; one that is gone, or a router on the way
 * that has forgotten the connection, does not.
 *
 * @param conn Connection
 *
 * @return true if so, or if the connection is gone
 */
bool aa_conn_unheard(const struct aa_conn *conn)
{
	struct tcp_info ti;
	socklen_t len = sizeof(ti);

	if (!aa_conn_isset(conn))
		return true;

	memset(&ti, 0, sizeof(ti));

	return getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, &ti, &len) ||
		ti.tcpi_unacked || ti.tcpi_state == STATE_SYN_SENT;
}


/**
 * Close a connection of libre, so that no request goes down it any more
 *
 * libre is told by its own event loop, and closes its side.
 *
 * @param conn  Connection, forgotten afterwards
 * @param abort Reset it: the peer is dead, and no FIN shall be retransmitted
 *              into a black hole for minutes
 */
void aa_conn_close(struct aa_conn *conn, bool abort)
{
	if (!conn)
		return;

	if (aa_conn_isset(conn)) {
		const struct linger lg = {1, 0};

		if (abort)
			(void)setsockopt(conn->fd, SOL_SOCKET, SO_LINGER,
					 &lg, sizeof(lg));
		(void)shutdown(conn->fd, SHUT_RDWR);
	}

	aa_conn_init(conn);
}


/* Something can be sent over it, now or soon; a UDP socket of ours may lead there as well */
static bool is_tcp_to(int fd, const struct sa *peer)
{
	struct tcp_info ti;
	socklen_t len = sizeof(ti);
	struct sa sa;

	return 0 == aa_compat_fd_peer(fd, &sa) && sa_cmp(&sa, peer, SA_ALL) &&
		0 == getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &len) &&
		(ti.tcpi_state == STATE_ESTABLISHED ||
		 ti.tcpi_state == STATE_SYN_SENT ||
		 ti.tcpi_state == STATE_CLOSE_WAIT);
}


/**
 * Close all connections of libre to a server that has failed
 *
 * There may be more than the one that requests went over: baresip's own, and
 * those that the server, or who has its address, has opened to the phone. Each
 * of them would get the next request.
 *
 * @param peer Address and port of the server
 *
 * @return true if there was one; libre takes notice of it in its event loop
 */
bool aa_conn_close_all(const struct sa *peer)
{
	struct aa_conn conn;
	bool found = false;
	int fd;

	if (!sa_isset(peer, SA_ALL))
		return false;

	for (fd=0; fd<FD_MAX; fd++) {
		if (!is_tcp_to(fd, peer) || !socket_ino(fd, &conn.ino))
			continue;

		conn.fd = fd;
		aa_conn_close(&conn, true);
		found = true;
	}

	return found;
}


/**
 * Does a status code say that the server failed, so that another one may do
 * better?  Any other final response would come from another server as well.
 *
 * @param scode Status code
 *
 * @return true for 408, 430, 500, 502, 503 and 504
 */
bool aa_scode_is_server_failure(uint16_t scode)
{
	switch (scode) {

	case 408: case 430: case 500: case 502: case 503: case 504:
		return true;

	default:
		return false;
	}
}


/**
 * Value of a Retry-After header (RFC 3261 20.33)
 *
 * @param msg SIP response, may be NULL
 *
 * @return Seconds, at most one day; 0 if there is none
 */
uint32_t aa_msg_retry_after(const struct sip_msg *msg)
{
	const struct sip_hdr *hdr = sip_msg_hdr(msg, SIP_HDR_RETRY_AFTER);
	struct pl num;

	if (!hdr || re_regex(hdr->val.p, hdr->val.l, "[0-9]+", &num))
		return 0;

	return num.l > 5 ? 86400 : MIN(pl_u32(&num), 86400);
}
