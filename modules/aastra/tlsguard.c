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
 * Until the module has opened the first one, that context is not known, and
 * nobody was verified: what is connected by then is not used (a module that is
 * loaded when the accounts have registered already).
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <errno.h>
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

/* A connection whose server is verified; it is with its SSL, as extra data */
struct conn {
	struct le le;
	SSL *ssl;
	char *host;
	bool refused;           /* nobody is let in                         */
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
	const char *host;       /* of the connection that is being opened   */
	SSL *ssl;               /* made for it                              */
	SSL_CTX *ctx;           /* that libre makes all of them of          */
	aa_tlsguard_names_h *namesh;
	X509 *cert;             /* the phone's own, NULL: none is shown     */
	EVP_PKEY *key;
	STACK_OF(X509) *chain;  /* from it up to an authority               */
	struct list peers;      /* the one used last is the last            */
	struct list connl;      /* those that are not closed yet            */
	struct list formerl;    /* those of before the context was known    */
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


/* The inode of a TCP connection that is open, or is being opened, and where it
   leads to; 0 if it is none */
static ino_t conn_inode(int fd, struct sa *peer)
{
	struct tcp_info ti;
	socklen_t len = sizeof(ti);
	struct stat st;

	sa_init(peer, AF_UNSPEC);
	peer->len = sizeof(peer->u);

	if (getpeername(fd, &peer->u.sa, &peer->len) || fstat(fd, &st) ||
	    getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &len) ||
	    (ti.tcpi_state != TCP_ESTABLISHED &&
	     ti.tcpi_state != TCP_SYN_SENT))
		return 0;

	return st.st_ino;
}


/* ours: where the connection leads to that is being opened */
static int formers_note(const struct sa *ours)
{
	struct sa peer;
	int fd;

	for (fd=0; fd<FD_MAX; fd++) {
		const ino_t ino = conn_inode(fd, &peer);
		struct former *former;

		if (!ino || sa_cmp(&peer, ours, SA_ALL))
			continue;

		former = mem_zalloc(sizeof(*former), former_destructor);
		if (!former) {
			list_flush(&guard.formerl);
			return ENOMEM;
		}

		former->fd  = fd;
		former->ino = ino;
		list_append(&guard.formerl, &former->le, former);
	}

	return 0;
}


/* libre hears of it from its event loop, and closes its side */
static bool conn_shut(int fd, ino_t ino, const struct sa *to)
{
	struct sa peer;
	const ino_t found = conn_inode(fd, &peer);

	return found && (!ino || found == ino) && sa_cmp(&peer, to, SA_ALL) &&
		0 == shutdown(fd, SHUT_RDWR);
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


static int verify_handler(int ok, X509_STORE_CTX *ctx)
{
	const SSL *ssl = X509_STORE_CTX_get_ex_data(
		ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	const struct conn *conn = ssl ? SSL_get_ex_data(ssl, guard.index)
		: NULL;

	if (!ok) {
		(void)re_snprintf(guard.error, sizeof(guard.error),
				  "certificate refused: %s",
				  X509_verify_cert_error_string(
					  X509_STORE_CTX_get_error(ctx)));
		str_ncpy(guard.error_host, conn ? conn->host : "",
			 sizeof(guard.error_host));
	}

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


/* The name that a certificate has to be for */
static bool param_name_set(X509_VERIFY_PARAM *param, const char *host)
{
	if (is_addr(host))
		return 1 == X509_VERIFY_PARAM_set1_ip_asc(param, host);

	/* RFC 5922 7.2: no partial wildcards */
	X509_VERIFY_PARAM_set_hostflags(param,
					X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);

	return 1 == X509_VERIFY_PARAM_set1_host(param, host, 0);
}


static bool name_set(SSL *ssl, const char *host)
{
	/* RFC 6066 3: names only */
	return param_name_set(SSL_get0_param(ssl), host) &&
		(is_addr(host) || 1 == SSL_set_tlsext_host_name(ssl, host));
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


static struct conn *conn_alloc(SSL *ssl, const char *host)
{
	struct conn *conn = mem_zalloc(sizeof(*conn), conn_destructor);

	if (!conn)
		return NULL;

	if (str_dup(&conn->host, host) ||
	    1 != SSL_set_ex_data(ssl, guard.index, conn))
		return mem_deref(conn);

	conn->ssl = ssl;
	list_append(&guard.connl, &conn->le, conn);

	return conn;
}


static void verify_setup(SSL *ssl)
{
	struct conn *conn = conn_alloc(ssl, guard.host);

	/* without memory nobody is let in: there is nothing that could be
	   trusted, and nobody who could say why */
	if (!conn) {
		leave(ssl, true);
		return;
	}

	SSL_set_verify(ssl, SSL_VERIFY_PEER, verify_handler);

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


static bool peer_of(struct sa *peer, SSL *ssl)
{
	const BIO *out = SSL_get_wbio(ssl), *in = SSL_get_rbio(ssl);

	return out &&
		!aa_compat_tls_peer(peer, BIO_get_data((BIO *)(uintptr_t)out),
				    ssl, out, in);
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


/* Called by OpenSSL in place of its own verification */
static int cert_handler(X509_STORE_CTX *ctx, void *arg)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(
		ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	const char *namev[NAMES_MAX];
	int err = X509_V_OK;
	size_t i, n;
	(void)arg;

	/* who calls the phone is no server, and ours are set up */
	if (!ssl || SSL_is_server(ssl) || SSL_get_ex_data(ssl, guard.index))
		return X509_verify_cert(ctx);

	n = names_of(ssl, namev);
	if (!n)
		return X509_verify_cert(ctx);

	for (i=0; i<n; i++) {
		err = verify_as(ctx, namev[i]);
		if (err == X509_V_OK)
			break;
	}

	X509_STORE_CTX_set_error(ctx, err);
	if (err == X509_V_OK)
		return 1;

	/* baresip 1.0.0 takes no notice of the result */
	SSL_set_verify(ssl, SSL_VERIFY_PEER, SSL_get_verify_callback(ssl));
	(void)re_snprintf(guard.error, sizeof(guard.error),
			  "certificate refused: %s",
			  X509_verify_cert_error_string(err));
	str_ncpy(guard.error_host, namev[0], sizeof(guard.error_host));

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
	struct sa peer;

	if (ctx == guard.ctx)
		return;

	/* where that cannot be told, it is opened once more */
	if (!peer_of(&peer, ssl))
		sa_init(&peer, AF_UNSPEC);

	/* without memory, with the next one */
	if ((!guard.ctx && formers_note(&peer)) || 1 != SSL_CTX_up_ref(ctx))
		return;

	ctx_leave();
	SSL_CTX_set_cert_verify_callback(ctx, cert_handler, NULL);
	guard.ctx = ctx;
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


static void new_handler(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx,
			long argl, void *argp)
{
	(void)ptr;
	(void)ad;
	(void)idx;
	(void)argl;
	(void)argp;

	if (guard.host)
		guard.ssl = parent;
}


static void free_handler(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx,
			 long argl, void *argp)
{
	struct le *le;

	(void)ad;
	(void)idx;
	(void)argl;
	(void)argp;

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

	return 0;
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

		leave(conn->ssl, conn->refused);
		(void)SSL_set_ex_data(conn->ssl, guard.index, NULL);
	}

	list_flush(&guard.connl);
}


/** Verify no more, and show nothing */
void aa_tlsguard_close(void)
{
	conns_leave();
	ctx_leave();
	cert_close();
	X509_STORE_free(guard.store);
	list_flush(&guard.peers);
	list_flush(&guard.formerl);
	guard.store  = NULL;
	guard.wanted = false;
	guard.namesh = NULL;
	guard.host   = NULL;
	guard.ssl    = NULL;

	if (guard.index >= 0) {
		/* the handlers are in a module that can be unloaded */
		(void)CRYPTO_free_ex_index(CRYPTO_EX_INDEX_SSL, guard.index);
		guard.index = -1;
	}
}


/**
 * Close what was connected to a TLS server before anybody was verified, so that
 * no request goes down it any more
 *
 * libre takes notice of it in its event loop; whoever sends a request before
 * that gets an error.
 *
 * @param peer Address and port of the server
 *
 * @return true if there was such a connection
 */
bool aa_tlsguard_shut(const struct sa *peer)
{
	bool found = false;
	struct le *le;
	int fd;

	if (!guard.wanted || !sa_isset(peer, SA_ALL))
		return false;

	for (fd=0; !guard.ctx && fd<FD_MAX; fd++) {
		if (conn_shut(fd, 0, peer))
			found = true;
	}

	LIST_FOREACH(&guard.formerl, le) {
		const struct former *former = le->data;

		if (conn_shut(former->fd, former->ino, peer))
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
