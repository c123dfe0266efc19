/**
 * @file tlsguard.c  TLS servers are who they say they are
 *
 * baresip 1.0.0 loads the file of trusted certificates and verifies nobody
 * with it.  libre offers no way in, but OpenSSL does: whoever owns an index of
 * the extra data of an SSL object is called for each new one.  libre makes it
 * within the call that sends the first request of a connection, and that
 * request is ours, so the name of the server is known.  It is set up when that
 * call has returned: from version 3.2 on, OpenSSL calls before the object is
 * complete, and the handshake begins no sooner than the event loop runs.
 *
 * All of these connections speak TLS 1.2 at least (RFC 8996), and go on with
 * the session of the one before where the server agrees (RFC 8446 2.2), which
 * saves both the certificate.  What is gone on with was verified when it began,
 * for the same name; it is forgotten with the trusted certificates.
 *
 * A request of baresip's own may open a connection as well: a call over a line
 * that nothing keeps a flow for, the BYE of one whose connection broke.  The
 * context that libre makes its SSL objects of asks us then, when the server has
 * shown its certificate, and the other end of the connection tells which server
 * it should be.  What leads to none of the lines' servers is left alone.
 *
 * What was connected before the module was loaded, and before an address was
 * known to be a server's, was not verified, and is closed before a request goes
 * there.
 *
 * libre finds the connection to a server by nothing but the address of its
 * other end.  So one that somebody else has opened to the phone, from the
 * server's address and port, would be used for it as well (RFC 5923 calls that
 * an alias, and allows it for who has shown who he is).  Whoever connects from
 * there is asked for his certificate, and has to be that server; he is looked
 * at when the event loop has called everybody, for libre reads nothing from a
 * new connection before that.
 *
 * For the same reason two names of one address share a connection, whichever it
 * was verified for.  So before a request goes down it, the certificate has to
 * have the name that is asked for.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <re.h>
#include "aastra_baresip.h"
#include "compat.h"
#include "tlsguard.h"


enum {
	PEERS_MAX = 64,         /* sessions that are kept                   */
	FD_MAX    = 4096,       /* descriptors that are looked at           */
	NAMES_MAX = 8           /* of one address                           */
};

/* A server, by its name, and the connection to it that was opened last */
struct peer {
	struct le le;
	char *host;
	SSL *ssl;               /* NULL: it is gone                         */
	SSL_SESSION *session;   /* the next one can go on with, or NULL     */
};

/* A connection, made since servers are verified; it is with its SSL, as extra
   data */
struct conn {
	struct le le;
	SSL *ssl;
	char *host;             /* server that we have opened it to, or NULL */
	bool refused;           /* nobody is let in                         */
	bool looked;            /* at who it is                             */
	bool guarded;           /* who it leads to has shown who he is, or
				   has to before anything is sent           */
	bool shown;             /* a certificate that nobody has verified   */
	struct sa shut;         /* where it led to, when it was closed      */
};

/* A TCP connection of before anybody was verified; its inode tells whether the
   descriptor still is that one */
struct former {
	struct le le;
	int fd;
	ino_t ino;
};


static struct {
	X509_STORE *store;      /* trusted certificates                     */
	bool wanted;            /* servers are verified                     */
	int index;              /* of the extra data, once and for all      */
	pthread_t thread;       /* that libre and the module run in         */
	const char *host;       /* of the connection that is being opened   */
	SSL *ssl;               /* made for it                              */
	SSL_CTX *ctx;           /* that libre makes all of them of          */
	aa_tlsguard_names_h *namesh;
	X509 *cert;             /* the phone's own, NULL: none is shown     */
	EVP_PKEY *key;
	STACK_OF(X509) *chain;  /* from it up to an authority               */
	struct list peers;      /* the one used last is the last            */
	struct list connl;      /* those that are not closed yet            */
	struct list formerl;    /* those of before                          */
	struct aa_wake wake;    /* somebody has connected                   */
	bool lost;              /* ... and there was no memory to note that */
	bool told;              /* that a server connects to the phone      */
	char error[160];        /* of the latest handshake that was refused */
	char error_host[256];
} guard = {.index = -1, .peers = LIST_INIT, .connl = LIST_INIT,
	 .formerl = LIST_INIT};


static void peer_destructor(void *arg)
{
	struct peer *peer = arg;

	list_unlink(&peer->le);
	SSL_SESSION_free(peer->session);
	mem_deref(peer->host);
}


static void conn_destructor(void *arg)
{
	struct conn *conn = arg;

	list_unlink(&conn->le);
	mem_deref(conn->host);
}


static void former_destructor(void *arg)
{
	struct former *former = arg;

	list_unlink(&former->le);
}


static bool is_tcp(int fd)
{
	struct tcp_info ti;
	socklen_t len = sizeof(ti);

	return 0 == getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &len) &&
		(ti.tcpi_state == TCP_ESTABLISHED ||
		 ti.tcpi_state == TCP_CLOSE_WAIT ||
		 ti.tcpi_state == TCP_SYN_SENT);
}


/* Of a TCP connection that something can be sent over, now or soon */
static bool tcp_peer(int fd, struct sa *peer)
{
	return is_tcp(fd) && !aa_compat_fd_peer(fd, peer);
}


static int formers_note(void)
{
	struct stat st;
	int fd;

	for (fd=0; fd<FD_MAX; fd++) {
		struct former *former;

		if (!is_tcp(fd) || fstat(fd, &st))
			continue;

		former = mem_zalloc(sizeof(*former), former_destructor);
		if (!former)
			return ENOMEM;

		former->fd  = fd;
		former->ino = st.st_ino;
		list_append(&guard.formerl, &former->le, former);
	}

	return 0;
}


/* libre hears of it from its event loop, and closes its side */
static bool former_shut(const struct former *former, const struct sa *to)
{
	struct stat st;
	struct sa peer;

	return tcp_peer(former->fd, &peer) && 0 == fstat(former->fd, &st) &&
		st.st_ino == former->ino && sa_cmp(&peer, to, SA_ALL) &&
		0 == shutdown(former->fd, SHUT_RDWR);
}


static struct peer *peer_find(const char *host)
{
	struct le *le;

	LIST_FOREACH(&guard.peers, le) {
		struct peer *peer = le->data;

		if (0 == str_casecmp(peer->host, host))
			return peer;
	}

	return NULL;
}


/* Without memory there is no session to go on with, and that is all */
static struct peer *peer_get(const char *host)
{
	struct peer *peer = peer_find(host);

	if (peer) {
		list_unlink(&peer->le);
		list_append(&guard.peers, &peer->le, peer);
		return peer;
	}

	if (list_count(&guard.peers) >= PEERS_MAX)
		mem_deref(list_ledata(list_head(&guard.peers)));

	peer = mem_zalloc(sizeof(*peer), peer_destructor);
	if (!peer)
		return NULL;

	if (str_dup(&peer->host, host))
		return mem_deref(peer);

	list_append(&guard.peers, &peer->le, peer);

	return peer;
}


/*
 * A copy, for OpenSSL spoils the session of a connection that breaks.  With
 * TLS 1.3 the server gives it after the handshake, so it is there by the time
 * of the next request.
 */
static void session_take(const char *host)
{
	struct peer *peer = host ? peer_find(host) : NULL;
	const SSL_SESSION *session;

	if (!peer || !peer->ssl || peer->session ||
	    !SSL_is_init_finished(peer->ssl) ||
	    X509_V_OK != SSL_get_verify_result(peer->ssl))
		return;

	session = SSL_get0_session(peer->ssl);
	if (session && SSL_SESSION_is_resumable(session))
		peer->session = SSL_SESSION_dup(session);

	ERR_clear_error();
}


static bool is_in_date(SSL_SESSION *session)
{
	const X509 *cert = SSL_SESSION_get0_peer(session);

	return cert && X509_cmp_current_time(X509_get0_notAfter(cert)) > 0;
}


/* Each session is gone on with once (RFC 8446 C.4) */
static void session_offer(SSL *ssl, const char *host)
{
	struct peer *peer = peer_get(host);

	if (!peer)
		return;

	peer->ssl = ssl;

	if (peer->session && is_in_date(peer->session))
		(void)SSL_set_session(ssl, peer->session);

	SSL_SESSION_free(peer->session);
	peer->session = NULL;
	ERR_clear_error();
}


static void error_set(const char *host, int err)
{
	(void)re_snprintf(guard.error, sizeof(guard.error),
			  "certificate refused: %s",
			  X509_verify_cert_error_string(err));
	str_ncpy(guard.error_host, host, sizeof(guard.error_host));
}


static int verify_handler(int ok, X509_STORE_CTX *ctx)
{
	const SSL *ssl = X509_STORE_CTX_get_ex_data(
		ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	const struct conn *conn = ssl ? SSL_get_ex_data(ssl, guard.index)
		: NULL;

	if (!ok)
		error_set(conn && conn->host ? conn->host : "",
			  X509_STORE_CTX_get_error(ctx));

	return ok;
}


/* Whoever asks for checks that cannot be made lets nobody in */
static int refuse_handler(int ok, X509_STORE_CTX *ctx)
{
	(void)ok;

	X509_STORE_CTX_set_error(ctx, X509_V_ERR_UNSPECIFIED);
	(void)verify_handler(0, ctx);

	return 0;
}


static bool is_addr(const char *host)
{
	struct sa sa;

	return 0 == sa_set_str(&sa, host, 0);
}


/* A final dot says that a name is whole, and belongs to the name server alone
   (RFC 6066 3) */
static size_t name_len(const char *host)
{
	const size_t len = str_len(host);

	return len > 1 && host[len - 1] == '.' ? len - 1 : len;
}


/* The name that a certificate has to be for */
static bool param_name_set(X509_VERIFY_PARAM *param, const char *host)
{
	if (is_addr(host))
		return 1 == X509_VERIFY_PARAM_set1_ip_asc(param, host);

	/* as baresip has it; RFC 5922 7.2 would have no wildcards at all */
	X509_VERIFY_PARAM_set_hostflags(param,
					X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);

	return 1 == X509_VERIFY_PARAM_set1_host(param, host, name_len(host));
}


static bool name_set(SSL *ssl, const char *host)
{
	char name[256];
	struct pl pl;

	if (!param_name_set(SSL_get0_param(ssl), host))
		return false;

	/* RFC 6066 3: names only */
	if (is_addr(host))
		return true;

	pl.p = host;
	pl.l = name_len(host);

	return 0 == pl_strcpy(&pl, name, sizeof(name)) &&
		1 == SSL_set_tlsext_host_name(ssl, name);
}


/*
 * A handshake may be under way, and goes on when the module has been unloaded.
 * OpenSSL has all it needs to verify the server by itself, and it keeps a
 * handler that is replaced by none: so it gets one of its own.
 */
static void leave(SSL *ssl, bool refused)
{
	X509_STORE *none = refused ? X509_STORE_new() : NULL;

	SSL_set_verify(ssl, SSL_VERIFY_PEER, X509_STORE_CTX_print_verify_cb);

	if (none && 1 != SSL_set0_verify_cert_store(ssl, none))
		X509_STORE_free(none);
	ERR_clear_error();
}


static void verify_setup(SSL *ssl)
{
	struct conn *conn = SSL_get_ex_data(ssl, guard.index);

	/* without memory nobody is let in: there is nothing that could be
	   trusted, and nobody who could say why */
	if (!conn || str_dup(&conn->host, guard.host)) {
		leave(ssl, true);
		return;
	}

	SSL_set_verify(ssl, SSL_VERIFY_PEER, verify_handler);

	conn->guarded = true;
	conn->refused = !guard.store ||
		1 != SSL_set1_verify_cert_store(ssl, guard.store) ||
		!name_set(ssl, conn->host);
	if (conn->refused)
		SSL_set_verify(ssl, SSL_VERIFY_PEER, refuse_handler);
	else
		session_offer(ssl, conn->host);
}


/* The certificate that a server has shown, as one for that name; X509_V_OK if
   it is */
static int verify_as(X509_STORE_CTX *shown, const char *host)
{
	X509_STORE_CTX *ctx = guard.store ? X509_STORE_CTX_new() : NULL;
	int err = X509_V_ERR_UNSPECIFIED;

	if (ctx && 1 == X509_STORE_CTX_init(ctx, guard.store,
					    X509_STORE_CTX_get0_cert(shown),
					    X509_STORE_CTX_get0_untrusted(
						    shown)) &&
	    1 == X509_STORE_CTX_set_default(ctx, "ssl_server") &&
	    param_name_set(X509_STORE_CTX_get0_param(ctx), host))
		err = 1 == X509_verify_cert(ctx) ? X509_V_OK
			: X509_STORE_CTX_get_error(ctx);

	X509_STORE_CTX_free(ctx);
	ERR_clear_error();

	return err;
}


/* That libre runs it over; NULL: it is not libre's, or does not look like that */
static const struct tcp_conn *tcp_of(SSL *ssl)
{
	const BIO *out = SSL_get_wbio(ssl), *in = SSL_get_rbio(ssl);

	if (!out || SSL_is_dtls(ssl))
		return NULL;

	return aa_compat_tls_tcp(BIO_get_data((BIO *)(uintptr_t)out), ssl,
				 out, in);
}


/* Not known of one that is closed */
static bool peer_of(struct sa *peer, SSL *ssl)
{
	const struct tcp_conn *tcp = tcp_of(ssl);

	return tcp && !aa_compat_tcp_peer(tcp, peer);
}


/* Which of the lines' servers it leads to, where baresip has opened it; if
   that cannot be told, any of them */
static size_t names_of(SSL *ssl, const char **namev)
{
	struct sa peer;
	const bool known = peer_of(&peer, ssl);

	return guard.namesh ? guard.namesh(known ? &peer : NULL, namev,
					   NAMES_MAX) : 0;
}


static bool is_guarded(const struct conn *conn)
{
	return conn && conn->guarded;
}


/* Called by OpenSSL in place of its own verification */
static int cert_handler(X509_STORE_CTX *ctx, void *arg)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(
		ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct conn *conn = ssl ? SSL_get_ex_data(ssl, guard.index) : NULL;
	const bool called = ssl && SSL_is_server(ssl);
	const char *namev[NAMES_MAX];
	int err = X509_V_ERR_UNSPECIFIED;
	size_t i, n;
	(void)arg;

	/* ours are set up; others that call the phone are no servers */
	if (!ssl || (conn && conn->host) || (called && !is_guarded(conn)))
		return X509_verify_cert(ctx);

	n = names_of(ssl, namev);
	if (!n && !called) {
		if (conn)
			conn->shown = true;
		return X509_verify_cert(ctx);
	}

	for (i=0; i<n; i++) {
		err = verify_as(ctx, namev[i]);
		if (err == X509_V_OK)
			break;
	}

	X509_STORE_CTX_set_error(ctx, err);
	if (conn)
		conn->guarded = true;
	if (err == X509_V_OK)
		return 1;

	/* says nothing of the server, which somebody else may be */
	if (called)
		return 0;

	/* baresip 1.0.0 takes no notice of the result */
	SSL_set_verify(ssl, SSL_VERIFY_PEER, SSL_get_verify_callback(ssl));
	error_set(namev[0], err);

	return 0;
}


static void ctx_leave(void)
{
	if (guard.ctx)
		SSL_CTX_set_cert_verify_callback(guard.ctx, NULL, NULL);
	SSL_CTX_free(guard.ctx);
	guard.ctx = NULL;
}


static void ctx_take(SSL *ssl)
{
	SSL_CTX *ctx = SSL_get_SSL_CTX(ssl);

	/* without memory, with the next one */
	if (ctx == guard.ctx || 1 != SSL_CTX_up_ref(ctx))
		return;

	ctx_leave();
	SSL_CTX_set_cert_verify_callback(ctx, cert_handler, NULL);
	guard.ctx = ctx;
}


/* Has somebody else opened it, to where libre listens? */
static bool is_incoming(const struct conn *conn)
{
	struct sa local;

	return 0 == tcp_conn_local_get(tcp_of(conn->ssl), &local) &&
		sip_transp_isladdr(uag_sip(), SIP_TRANSP_TLS, &local);
}


static void conn_shut(struct conn *conn, const struct sa *peer)
{
	const struct tcp_conn *tcp = tcp_of(conn->ssl);
	const int fd = aa_compat_tcp_fd(tcp);

	if (fd >= 0)
		(void)shutdown(fd, SHUT_RDWR);

	conn->shut = *peer;
}


/*
 * Somebody at the address of a server.  No session of his is gone on with: the
 * one who has it need not have shown anything (RFC 8446 4.2.11 leaves that to
 * the session, and OpenSSL to the context that is set here).
 */
static void demand(struct conn *conn, const struct sa *peer)
{
	const bool incoming = is_incoming(conn);
	uint8_t sid[SSL_MAX_SID_CTX_LENGTH];

	rand_bytes(sid, sizeof(sid));

	if (!SSL_in_before(conn->ssl) ||
	    (incoming &&
	     1 != SSL_set_session_id_context(conn->ssl, sid, sizeof(sid)))) {
		conn_shut(conn, peer);
		return;
	}

	SSL_set_verify(conn->ssl, SSL_VERIFY_PEER |
		       SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	(void)SSL_set_min_proto_version(conn->ssl, TLS1_2_VERSION);
	ctx_take(conn->ssl);

	if (SSL_get_SSL_CTX(conn->ssl) == guard.ctx)
		conn->guarded = true;
	else
		conn_shut(conn, peer);

	if (incoming && !guard.told) {
		guard.told = true;
		info("aastra: %J, where a TLS server is, connects to the"
		     " phone: it has to show its certificate\n", peer);
	}
}


static void conn_look(struct conn *conn)
{
	const char *namev[NAMES_MAX];
	struct sa peer;

	conn->looked = true;

	if (!conn->guarded && peer_of(&peer, conn->ssl) && guard.namesh &&
	    guard.namesh(&peer, namev, NAMES_MAX))
		demand(conn, &peer);
}


/* There was no memory to note one: all that lead to a server and that nobody
   knows are closed */
static void lost_shut(void)
{
	const char *namev[NAMES_MAX];
	struct sa peer, sa;
	int fd;

	for (fd=0; fd<FD_MAX; fd++) {
		bool known = false;
		struct le *le;

		if (!tcp_peer(fd, &peer) || !guard.namesh ||
		    !guard.namesh(&peer, namev, NAMES_MAX))
			continue;

		LIST_FOREACH(&guard.connl, le) {
			const struct conn *conn = le->data;

			if (peer_of(&sa, conn->ssl) &&
			    sa_cmp(&sa, &peer, SA_ALL) &&
			    fd == aa_compat_tcp_fd(tcp_of(conn->ssl)))
				known = true;
		}

		if (!known)
			(void)shutdown(fd, SHUT_RDWR);
	}
}


/* Who has connected since the last look? */
static void look(void)
{
	struct le *le;

	LIST_FOREACH(&guard.connl, le) {
		struct conn *conn = le->data;

		if (!conn->looked)
			conn_look(conn);
	}

	if (guard.lost)
		lost_shut();
	guard.lost = false;
}


static void wake_handler(void *arg)
{
	(void)arg;

	look();
}


static void ssl_setup(SSL *ssl)
{
	if (guard.wanted) {
		verify_setup(ssl);
		ctx_take(ssl);
	}

	/* cannot fail: the library has that version */
	(void)SSL_set_min_proto_version(ssl, TLS1_2_VERSION);

	/* a server that asks for one and gets none says so itself */
	if (guard.cert &&
	    1 == SSL_use_certificate(ssl, guard.cert) &&
	    1 == SSL_use_PrivateKey(ssl, guard.key))
		(void)SSL_set1_chain(ssl, guard.chain);
}


static bool is_own_thread(void)
{
	return pthread_equal(guard.thread, pthread_self());
}


static void new_handler(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx,
			long argl, void *argp)
{
	struct conn *conn;
	(void)ptr;
	(void)argl;
	(void)argp;

	/* some other library's: nothing here is made for two threads */
	if (!is_own_thread())
		return;

	if (guard.host)
		guard.ssl = parent;

	if (!guard.wanted)
		return;

	conn = mem_zalloc(sizeof(*conn), conn_destructor);
	if (conn && 1 != CRYPTO_set_ex_data(ad, idx, conn))
		conn = mem_deref(conn);

	if (conn) {
		conn->ssl    = parent;
		conn->looked = guard.host != NULL;
		sa_init(&conn->shut, AF_UNSPEC);
		list_append(&guard.connl, &conn->le, conn);
	}
	else if (!guard.host) {
		guard.lost = true;
	}

	/* it is not complete before OpenSSL and libre have returned */
	if (!guard.host)
		aa_compat_wake(&guard.wake, 0, wake_handler, NULL);
}


static void free_handler(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx,
			 long argl, void *argp)
{
	struct le *le;

	(void)ad;
	(void)idx;
	(void)argl;
	(void)argp;

	if (!is_own_thread())
		return;

	if (parent == guard.ssl)
		guard.ssl = NULL;

	LIST_FOREACH(&guard.peers, le) {
		struct peer *peer = le->data;

		if (peer->ssl == parent)
			peer->ssl = NULL;
	}

	/* the connection, or NULL */
	mem_deref(ptr);
}


static int index_init(void)
{
	guard.thread = pthread_self();

	if (guard.index < 0)
		guard.index = SSL_get_ex_new_index(0, NULL, new_handler, NULL,
						   free_handler);

	return guard.index < 0 ? ENOMEM : 0;
}


static void cert_close(void)
{
	X509_free(guard.cert);
	EVP_PKEY_free(guard.key);
	sk_X509_pop_free(guard.chain, X509_free);
	guard.cert  = NULL;
	guard.key   = NULL;
	guard.chain = NULL;
}


/* A key with a password would ask for it on the terminal */
static int no_password(char *buf, int size, int rwflag, void *arg)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)arg;

	return -1;
}


/* The certificates of a file, at the end of the chain; how many there are */
static int chain_load(const char *file)
{
	FILE *f = fopen(file, "re");
	X509 *x;
	int n = 0;

	if (!f)
		return 0;

	while ((x = PEM_read_X509(f, NULL, no_password, NULL))) {
		if (!sk_X509_push(guard.chain, x)) {
			X509_free(x);
			break;
		}
		++n;
	}

	(void)fclose(f);
	ERR_clear_error();

	return n;
}


static EVP_PKEY *key_load(const char *file)
{
	FILE *f = fopen(file, "re");
	EVP_PKEY *key;

	if (!f)
		return NULL;

	key = PEM_read_PrivateKey(f, NULL, no_password, NULL);
	(void)fclose(f);
	ERR_clear_error();

	return key;
}


/**
 * From now on connections speak TLS 1.2 at least, verified or not (RFC 8996)
 *
 * @return 0 if success, ENOMEM
 */
int aa_tlsguard_open(void)
{
	return index_init();
}


/**
 * Show servers that ask for it a certificate of the phone's own, on the
 * connections that are opened from now on (RFC 8446 4.4.2)
 *
 * @param cert  File of the certificate, and of those above it if it has more
 *              than one (PEM)
 * @param key   File of its private key, without a password (PEM); NULL or
 *              empty: the same file
 * @param chain File of certificates above it (PEM), may be NULL or empty
 *
 * @return 0 if success, ENOENT if there is no certificate in that file, EACCES
 *         for its key, EBADMSG if that is another one's key, ENODATA for the
 *         chain, ENOMEM; none is shown then
 */
int aa_tlsguard_cert(const char *cert, const char *key, const char *chain)
{
	int err = 0;

	cert_close();

	if (index_init())
		return ENOMEM;

	guard.chain = sk_X509_new_null();
	if (!guard.chain)
		return ENOMEM;

	if (!chain_load(cert))
		err = ENOENT;
	else if (str_isset(chain) && !chain_load(chain))
		err = ENODATA;
	if (err)
		goto out;

	guard.cert = sk_X509_shift(guard.chain);
	guard.key  = key_load(str_isset(key) ? key : cert);
	if (!guard.key)
		err = EACCES;
	else if (1 != X509_check_private_key(guard.cert, guard.key))
		err = EBADMSG;

 out:
	if (err)
		cert_close();
	ERR_clear_error();

	return err;
}


/**
 * Verify TLS servers from now on
 *
 * Whoever asks for it gets it: where nothing could be read, no server is let
 * in until that is mended.
 *
 * @param cafile File of trusted certificates (PEM), may be NULL
 * @param capath Folder of them, hashed, may be NULL
 *
 * @return 0 if success, EINVAL if nothing could be read from there, ENOMEM
 */
int aa_tlsguard_init(const char *cafile, const char *capath)
{
	X509_STORE *store;

	X509_STORE_free(guard.store);
	list_flush(&guard.peers);
	guard.store  = NULL;
	guard.wanted = false;

	if (index_init())
		return ENOMEM;

	guard.wanted = true;

	store = X509_STORE_new();
	if (!store)
		return ENOMEM;

	if (1 != X509_STORE_load_locations(store, str_isset(cafile) ? cafile
					   : NULL, str_isset(capath) ? capath
					   : NULL)) {
		X509_STORE_free(store);
		return EINVAL;
	}

	guard.store = store;

	return formers_note();
}


/**
 * Connections that baresip itself opens to the servers of the lines are
 * verified, too
 *
 * @param h Says which names a server has
 */
void aa_tlsguard_names(aa_tlsguard_names_h *h)
{
	guard.namesh = h;
}


static void conns_leave(void)
{
	struct le *le;

	LIST_FOREACH(&guard.connl, le) {
		const struct conn *conn = le->data;

		if (conn->host)
			leave(conn->ssl, conn->refused);
		(void)SSL_set_ex_data(conn->ssl, guard.index, NULL);
	}

	list_flush(&guard.connl);
}


/** Verify no more, and show nothing */
void aa_tlsguard_close(void)
{
	aa_compat_wake_close(&guard.wake);
	conns_leave();
	ctx_leave();
	cert_close();
	X509_STORE_free(guard.store);
	list_flush(&guard.peers);
	list_flush(&guard.formerl);
	guard.store  = NULL;
	guard.wanted = false;
	guard.lost   = false;
	guard.told   = false;
	guard.namesh = NULL;
	guard.host   = NULL;
	guard.ssl    = NULL;

	if (guard.index >= 0) {
		/* the handlers are in a module that can be unloaded */
		(void)CRYPTO_free_ex_index(CRYPTO_EX_INDEX_SSL, guard.index);
		guard.index = -1;
	}
}


/* Nobody has verified it, and nobody will */
static bool conn_unsafe(const struct conn *conn, struct sa *peer)
{
	if (conn->guarded || !tcp_of(conn->ssl))
		return false;

	if (sa_isset(&conn->shut, SA_ADDR)) {
		*peer = conn->shut;
		return true;
	}

	/* closed: nothing goes down it, wherever it led to */
	if (!peer_of(peer, conn->ssl))
		return false;

	return SSL_is_server(conn->ssl) || conn->shown ||
		SSL_get_SSL_CTX(conn->ssl) != guard.ctx;
}


/* The certificate that it was verified with is for that name, too */
static bool has_name(const SSL *ssl, const char *host)
{
	X509 *cert = SSL_get_peer_certificate(ssl);
	bool ok;

	ok = cert && 1 == (is_addr(host)
			   ? X509_check_ip_asc(cert, host, 0)
			   : X509_check_host(cert, host, name_len(host),
					     X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
					     NULL));
	X509_free(cert);
	ERR_clear_error();

	return ok;
}


static enum aa_tlspeer conn_peer(const struct conn *conn,
				 const struct sa *peer, const char *host)
{
	struct sa sa;

	if (!conn->guarded || !peer_of(&sa, conn->ssl) ||
	    !sa_cmp(&sa, peer, SA_ALL))
		return AA_TLSPEER_OK;

	if (conn->host && 0 == str_casecmp(conn->host, host))
		return AA_TLSPEER_OK;

	if (!SSL_is_init_finished(conn->ssl))
		return AA_TLSPEER_WAIT;

	return has_name(conn->ssl, host) ? AA_TLSPEER_OK : AA_TLSPEER_OTHER;
}


/**
 * Who is at the other end of the connections to an address?
 *
 * @param peer Address and port of the server
 * @param host Its name or address, as the administrator wrote it
 *
 * @return AA_TLSPEER_OTHER: it was verified under another name, and has not
 *         shown this one, as aa_tlsguard_error() says. AA_TLSPEER_WAIT: that
 *         is not known before its handshake is through
 */
enum aa_tlspeer aa_tlsguard_peer(const struct sa *peer, const char *host)
{
	enum aa_tlspeer what = AA_TLSPEER_OK;
	struct le *le;

	if (!guard.wanted || !sa_isset(peer, SA_ALL) || !host)
		return what;

	LIST_FOREACH(&guard.connl, le) {
		const enum aa_tlspeer it = conn_peer(le->data, peer, host);

		if (it > what)
			what = it;
	}

	if (what == AA_TLSPEER_OTHER)
		error_set(host, is_addr(host) ? X509_V_ERR_IP_ADDRESS_MISMATCH
			  : X509_V_ERR_HOSTNAME_MISMATCH);

	return what;
}


/**
 * Close what leads to a TLS server and was not verified, so that no request
 * goes down it: it was connected before the module was loaded, or before the
 * address was known to be a server's
 *
 * libre takes notice of it in its event loop; whoever sends a request before
 * that gets an error.
 *
 * @param peer Address and port of the server
 *
 * @return true if there is such a connection
 */
bool aa_tlsguard_shut(const struct sa *peer)
{
	bool found = false;
	struct le *le;

	if (!guard.wanted || !sa_isset(peer, SA_ALL))
		return false;

	look();

	LIST_FOREACH(&guard.connl, le) {
		struct conn *conn = le->data;
		struct sa sa;

		if (!conn_unsafe(conn, &sa) || !sa_cmp(&sa, peer, SA_ALL))
			continue;

		if (!sa_isset(&conn->shut, SA_ADDR))
			conn_shut(conn, peer);
		found = true;
	}

	LIST_FOREACH(&guard.formerl, le) {
		if (former_shut(le->data, peer))
			found = true;
	}

	return found;
}


/**
 * A request is about to be sent, and may open a connection
 *
 * @param host Name or address of the server, as the administrator wrote it;
 *             valid until aa_tlsguard_end()
 */
void aa_tlsguard_begin(const char *host)
{
	look();
	session_take(host);
	guard.ssl  = NULL;
	guard.host = host;
}


/** The request has been sent, or could not be sent */
void aa_tlsguard_end(void)
{
	if (guard.ssl)
		ssl_setup(guard.ssl);

	guard.ssl  = NULL;
	guard.host = NULL;
}


/**
 * Why a server's certificate was refused
 *
 * @param host Server
 * @param buf  Buffer for the text
 * @param sz   Size of the buffer
 *
 * @return true if it was refused since this was asked last
 */
bool aa_tlsguard_error(const char *host, char *buf, size_t sz)
{
	if (!guard.error[0] || 0 != str_casecmp(guard.error_host, host))
		return false;

	str_ncpy(buf, guard.error, sz);
	guard.error[0] = '\0';

	return true;
}
