/**
 * @file test_tlsguard.c  Connections that are none of the lines' servers'
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <pthread.h>
#include <unistd.h>
#include <sys/socket.h>
#include <openssl/ssl.h>
#include <cmocka.h>
#include <re.h>
#include "aastra_baresip.h"
#include "said.h"
#include "compat.h"
#include "tlsguard.h"


enum {
	WAIT_MS = 20000,
	FILL    = 8             /* more than a backlog of none takes        */
};

static struct {
	int lsnr;               /* somebody, who is no server of a line     */
	struct sa addr;
	struct sa server;       /* of a line                                */
	struct tls *tls;
	struct tcp_conn *tcp;
	struct tls_conn *tc;
	bool done;
} fix;


struct sip *uag_sip(void)
{
	return NULL;
}


void SAID(info)(SAID_ARGS const char *fmt, ...)
{
	SAID_UNUSED;
	(void)fmt;
}


/* ---- Tools ------------------------------------------------------------ */


static int setup(void **state)
{
	(void)state;

	fix.done = false;
	fix.lsnr = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fix.lsnr >= 0);

	assert_int_equal(sa_set_str(&fix.addr, "127.0.0.1", 0), 0);
	assert_int_equal(bind(fix.lsnr, &fix.addr.u.sa, fix.addr.len), 0);
	assert_int_equal(listen(fix.lsnr, 0), 0);
	assert_int_equal(getsockname(fix.lsnr, &fix.addr.u.sa, &fix.addr.len),
			 0);
	assert_int_equal(sa_set_str(&fix.server, "192.0.2.1", 5061), 0);

	/* the first one is TLS over TCP; its name is not always the same */
	assert_int_equal(tls_alloc(&fix.tls, (enum tls_method)0, NULL, NULL),
			 0);

	/* nothing can be read: nobody is let in, and all are looked at */
	assert_int_equal(aa_tlsguard_init(NULL, NULL), EINVAL);

	return 0;
}


static int teardown(void **state)
{
	(void)state;

	fix.tc  = mem_deref(fix.tc);
	fix.tcp = mem_deref(fix.tcp);
	fix.tls = mem_deref(fix.tls);
	aa_tlsguard_close();
	(void)close(fix.lsnr);

	return 0;
}


static void close_handler(int err, void *arg)
{
	(void)err;
	(void)arg;

	fix.done = true;
	re_cancel();
}


static void late_handler(void *arg)
{
	(void)arg;

	re_cancel();
}


static void tls_open(void)
{
	assert_int_equal(tcp_connect(&fix.tcp, &fix.addr, NULL, NULL,
				     close_handler, NULL), 0);
	assert_int_equal(tls_start_tcp(&fix.tc, fix.tls, fix.tcp, 0), 0);
}


/* ---- Tests ------------------------------------------------------------ */


/* A line waits for the end of what leads to its server, and of nothing else */
static void test_opening(void **state)
{
	int fdv[FILL], i;
	struct sa peer;
	(void)state;

	for (i=0; i<FILL; i++) {
		fdv[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK |
				SOCK_CLOEXEC, 0);
		assert_true(fdv[i] >= 0);
		(void)connect(fdv[i], &fix.addr.u.sa, fix.addr.len);
	}

	tls_open();

	/* else it says nothing of one that is being opened */
	assert_int_not_equal(tcp_conn_peer_get(fix.tcp, &peer), 0);

	assert_int_equal(aa_compat_tcp_peer(fix.tcp, &peer), 0);
	assert_true(sa_cmp(&peer, &fix.addr, SA_ALL));
	assert_true(aa_compat_tcp_fd(fix.tcp) >= 0);

	assert_false(aa_tlsguard_shut(&fix.server));
	assert_false(aa_tlsguard_shut(&fix.server));
	assert_true(aa_tlsguard_shut(&fix.addr));

	for (i=0; i<FILL; i++)
		(void)close(fdv[i]);
}


/* What was closed, and is still held by who opened it, leads nowhere */
static void test_closed(void **state)
{
	const struct linger lg = {1, 0};
	struct tmr tmr;
	int fd;
	(void)state;

	tls_open();

	fd = accept(fix.lsnr, NULL, NULL);
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &lg,
				    sizeof(lg)), 0);
	(void)close(fd);

	tmr_init(&tmr);
	tmr_start(&tmr, WAIT_MS, late_handler, NULL);
	(void)re_main(NULL);
	tmr_cancel(&tmr);
	assert_true(fix.done);

	assert_false(aa_tlsguard_shut(&fix.server));
	assert_false(aa_tlsguard_shut(&fix.addr));
}


static void *thread_handler(void *arg)
{
	return SSL_new(arg);
}


/* Other libraries use OpenSSL as well, and some of them threads */
static void test_thread(void **state)
{
	/* the next one after that of the module */
	const int index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL) - 1;
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());
	SSL *own = SSL_new(ctx);
	pthread_t thread;
	void *other;
	(void)state;

	assert_true(index >= 0);
	assert_non_null(own);
	assert_non_null(SSL_get_ex_data(own, index));

	assert_int_equal(pthread_create(&thread, NULL, thread_handler, ctx),
			 0);
	assert_int_equal(pthread_join(thread, &other), 0);
	assert_non_null(other);
	assert_null(SSL_get_ex_data(other, index));

	SSL_free(other);
	SSL_free(own);
	SSL_CTX_free(ctx);
}


int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_opening, setup, teardown),
		cmocka_unit_test_setup_teardown(test_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_thread, setup, teardown),
	};
	int err, ret;

	err = libre_init();
	if (err)
		return err;

	ret = cmocka_run_group_tests(tests, NULL, NULL);

	libre_close();

	return ret;
}
