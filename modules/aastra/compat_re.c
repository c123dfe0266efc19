/**
 * @file compat_re.c  All that differs between versions of libre
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <re.h>
#include "compat.h"


/**
 * Have a handler called when a descriptor can be read
 *
 * @param afd Descriptor in the event loop
 * @param fd  Descriptor; closed by aa_compat_fd_close()
 * @param h   Handler
 * @param arg Handler argument
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_compat_fd_read(struct aa_fd *afd, int fd, aa_fd_h *h, void *arg)
{
#if AA_RE_FD_HANDLES
	struct re_fhs *fhs = NULL;
	int err = fd_listen(&fhs, fd, FD_READ, h, arg);

	afd->fhs = fhs;
#else
	int err = fd_listen(fd, FD_READ, h, arg);

	afd->fhs = NULL;
#endif
	afd->fd = err ? -1 : fd;

	return err;
}


/**
 * Take a descriptor out of the event loop, and close it
 *
 * @param afd Descriptor in the event loop
 */
void aa_compat_fd_close(struct aa_fd *afd)
{
	if (!afd || afd->fd < 0)
		return;

#if AA_RE_FD_HANDLES
	afd->fhs = fd_close(afd->fhs);
#else
	fd_close(afd->fd);
#endif
	(void)close(afd->fd);
	afd->fd = -1;
}


static void call(struct aa_wake *w)
{
	tmr_h *h = w->h;

	w->h = NULL;
	if (h)
		h(w->arg);
}


static void wake_handler(void *arg)
{
	call(arg);
}


enum { AT_ONCE_MS = 20 };


static void timerfd_handler(int flags, void *arg)
{
	struct aa_wake *w = arg;
	uint64_t n;
	(void)flags;

	/* nothing: it was set anew in this very moment */
	if (read(w->afd.fd, &n, sizeof(n)) == (ssize_t)sizeof(n))
		call(w);
}


/* ms: 0 stops it */
static bool timerfd_set(struct aa_wake *w, uint64_t ms)
{
	struct itimerspec ts;

	memset(&ts, 0, sizeof(ts));
	ts.it_value.tv_sec  = (time_t)(ms / 1000);
	ts.it_value.tv_nsec = (long)(ms % 1000) * 1000000;

	if (!w->open) {
		const int fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK |
					      TFD_CLOEXEC);

		if (fd < 0)
			return false;

		if (aa_compat_fd_read(&w->afd, fd, timerfd_handler, w)) {
			(void)close(fd);
			return false;
		}

		w->open = true;
	}

	return 0 == timerfd_settime(w->afd.fd, 0, &ts, NULL);
}


/**
 * Have a handler called once, after a while
 *
 * libre 1.x and 2.0 count by the wall clock: when that is put back by an hour,
 * as it is where a host finds out at its start what time it is, all of their
 * timers are an hour late.  Later versions stand still while the host sleeps.
 * So the kernel is asked, for a clock that nobody sets and that goes on.
 *
 * @param w   What calls; it is started anew where it runs
 * @param ms  Time until then [ms], 0: as soon as libre has nothing in hand
 * @param h   Handler, NULL: it is stopped
 * @param arg Handler argument
 */
void aa_compat_wake(struct aa_wake *w, uint64_t ms, tmr_h *h, void *arg)
{
	if (!w)
		return;

	w->h   = h;
	w->arg = arg;

	/* what is due at once is libre's, after its sockets; the clock may be
	   put back just before it looks */
	if (h) {
		if (timerfd_set(w, ms ? ms : AT_ONCE_MS) && ms) {
			tmr_cancel(&w->tmr);
			return;
		}
	}
	else if (w->open) {
		(void)timerfd_set(w, 0);
	}

	tmr_start(&w->tmr, ms, h ? wake_handler : NULL, w);
}


/**
 * Stop it, and leave nothing behind
 *
 * @param w What calls
 */
void aa_compat_wake_close(struct aa_wake *w)
{
	if (!w)
		return;

	w->h = NULL;
	tmr_cancel(&w->tmr);

	if (w->open)
		aa_compat_fd_close(&w->afd);
	w->open = false;
}


/**
 * Let a SIP listener see requests before all others
 *
 * libre calls listeners in the order of their creation and has no way to say
 * otherwise.  In every known version the list element is the first member of
 * the listener; where that does not hold, the order stays as it is.
 *
 * @param lsnr SIP listener
 */
void aa_compat_lsnr_first(struct sip_lsnr *lsnr)
{
	struct le *le = (struct le *)(void *)lsnr;
	struct list *list;

	if (!lsnr || le->data != lsnr || !le->list)
		return;

	list = le->list;
	if (list->tail != le)
		return;

	list_unlink(le);
	list_prepend(list, le, lsnr);
}


#if AASTRA_RE_VERSION < 30000
/*
 * libre 1.x and 2.x keep the buffer of a request and retransmit it until
 * Timer F, even when the request was cancelled.  A REGISTER that arrives after
 * its owner has moved on would make a binding that nobody knows of.  So the
 * buffer is turned into the empty keep-alive of RFC 5626 4.4.1, which every
 * server drops.
 */
static void defuse(struct mbuf *mb)
{
	static const char crlf[4] = {'\r', '\n', '\r', '\n'};

	if (!mb || mb->size < sizeof(crlf))
		return;

	memcpy(mb->buf, crlf, sizeof(crlf));
	mb->pos = 0;
	mb->end = sizeof(crlf);
}
#endif


/**
 * End a request (not an INVITE) that has no final response yet: nothing of it
 * is sent again, and none of its handlers is called
 *
 * @param req Request, may be NULL
 * @param mb  What its send handler was given last, may be NULL
 */
void aa_compat_request_end(struct sip_request *req, struct mbuf *mb)
{
	if (!req)
		return;

#if AASTRA_RE_VERSION < 30000
	defuse(mb);
	mem_deref(req);
#else
	(void)mb;

	/*
	 * The first one cancels it; libre keeps it nevertheless, for a
	 * transaction that may not be there any more.  The second one ends
	 * both.
	 */
	mem_deref(req);
	mem_deref(req);
#endif
}


#if AASTRA_RE_VERSION >= 30000
static bool is_end(int fd, int (*namef)(int, struct sockaddr *, socklen_t *),
		   const struct sa *sa)
{
	struct sa name;

	sa_init(&name, AF_UNSPEC);
	name.len = sizeof(name.u);

	return 0 == namef(fd, &name.u.sa, &name.len) &&
		sa_cmp(&name, sa, SA_ALL);
}


enum {MAX_FD = 4096};


/* The socket of a connection that is still being opened: only its own end has
   a name yet.  A socket that listens leads nowhere. */
static int opening_fd(const struct sa *local)
{
	struct sa peer;
	int fd;

	for (fd = 3; fd < MAX_FD; fd++) {
		if (is_end(fd, getsockname, local) &&
		    !aa_compat_fd_peer(fd, &peer))
			return fd;
	}

	return -1;
}
#endif


/**
 * Descriptor of a TCP connection
 *
 * Later versions of libre keep it to themselves; there it is the socket with
 * the same addresses at both ends.
 *
 * @param tc TCP connection, may be NULL
 *
 * @return Descriptor, -1 if not found
 */
int aa_compat_tcp_fd(const struct tcp_conn *tc)
{
#if AASTRA_RE_VERSION >= 30000
	struct sa local, peer;
	int fd;

	if (tcp_conn_local_get(tc, &local))
		return -1;

	if (tcp_conn_peer_get(tc, &peer))
		return opening_fd(&local);

	for (fd = 3; fd < MAX_FD; fd++) {
		if (is_end(fd, getpeername, &peer) &&
		    is_end(fd, getsockname, &local))
			return fd;
	}

	return -1;
#else
	return tc ? tcp_conn_fd(tc) : -1;
#endif
}


/**
 * Where a socket leads to, also while a connection is still being opened, of
 * which getpeername() says nothing
 *
 * @param fd   Descriptor
 * @param peer Set to the address of the other end
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_compat_fd_peer(int fd, struct sa *peer)
{
	sa_init(peer, AF_UNSPEC);

	/* the kernel fills a buffer that is not longer than the address */
	peer->len = sizeof(peer->u.in);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERNAME, &peer->u.sa, &peer->len))
		return errno;

	if (sa_af(peer) != AF_INET6)
		return 0;

	peer->len = sizeof(peer->u.in6);

	return getsockopt(fd, SOL_SOCKET, SO_PEERNAME, &peer->u.sa, &peer->len)
		? errno : 0;
}


/**
 * Where a TCP connection leads to
 *
 * @param tc   TCP connection
 * @param peer Set to the address of the other end
 *
 * @return 0 if success, also while it is being opened; otherwise errorcode,
 *         where it is closed
 */
int aa_compat_tcp_peer(const struct tcp_conn *tc, struct sa *peer)
{
#if AASTRA_RE_VERSION >= 30000
	struct sa local;

	if (!tcp_conn_peer_get(tc, peer))
		return 0;

	return tcp_conn_local_get(tc, &local) ? ENOTCONN
		: aa_compat_fd_peer(opening_fd(&local), peer);
#else
	return aa_compat_fd_peer(tcp_conn_fd(tc), peer);
#endif
}


/**
 * The TCP connection that a TLS connection of libre runs over
 *
 * libre keeps that to itself, but hangs the connection on what OpenSSL writes
 * to.  In every known version it begins with the SSL object, and what it writes
 * to and reads from, a helper, and the TCP connection follow one another.
 *
 * @param tc   What hangs there, may be NULL
 * @param ssl  SSL object
 * @param out  What it writes to
 * @param in   What it reads from
 *
 * @return TCP connection, NULL if it does not look like that
 */
const struct tcp_conn *aa_compat_tls_tcp(const void *tc, const void *ssl,
					 const void *out, const void *in)
{
	enum {FIRST = 2, LAST = 5, TCP = 3};
	const void *const *wordv = tc;
	size_t i;

	if (!wordv || wordv[0] != ssl)
		return NULL;

	for (i=FIRST; i<=LAST; i++) {
		if (wordv[i] == out)
			break;
	}

	if (i > LAST || wordv[i + 1] != in)
		return NULL;

	return wordv[i + TCP];
}


/**
 * Address for a Contact: one that stays when a connection is lost
 *
 * Later versions of libre give a send handler the address of the connection.
 * At a registrar that knows no outbound each connection would leave a binding
 * behind.  Earlier ones give the address that libre listens at.
 *
 * @param addr Set to the address
 * @param sip  SIP stack
 * @param tp   Transport
 * @param src  Source address that the send handler was given
 * @param dst  Where the request goes
 */
void aa_compat_contact_addr(struct sa *addr, struct sip *sip,
			    enum sip_transp tp, const struct sa *src,
			    const struct sa *dst)
{
#if AASTRA_RE_VERSION >= 30000
	if (tp != SIP_TRANSP_UDP && !sip_transp_laddr(sip, addr, tp, dst))
		return;
#else
	(void)sip;
	(void)tp;
	(void)dst;
#endif
	*addr = *src;
}
