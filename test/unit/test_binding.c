/**
 * @file test_binding.c  Tests of a binding's answers to what a server asks
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * A server that asks for something (credentials, a longer time, no outbound)
 * has refused nothing.  Where the answer cannot be sent, that is a failure of
 * the way to it: the line looks at once what else there is, and does not wait
 * for the registration retry.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <re.h>
#include <cmocka.h>
#include "compat.h"
#include "request.h"
#include "timer.h"
#include "binding.h"


struct aa_req {
	struct aa_req **reqp;
};


static struct {
	struct aa_binding *b;
	struct aa_req *req;
	sip_resp_h *resph;
	void *arg;
	int err;                /**< of the next request                    */
	unsigned requests;
	unsigned events;
	enum aa_binding_event ev;
	char reason[128];
	uint64_t delay;         /* of its timer                             */
	tmr_h *tmrh;            /* NULL: it does not run                    */
	void *tmr_arg;
	bool busy;              /* it is somebody else's turn               */
	uint64_t left;          /* what it said when it asked for its turn  */
	unsigned asked;
} t;


/* ---- stand-ins ---------------------------------------------------------- */


static void req_destructor(void *arg)
{
	struct aa_req *req = arg;

	if (req->reqp)
		*req->reqp = NULL;
}


int aa_req_send(struct aa_req **reqp, const struct aa_req_prm *prm,
		const char *fmt, ...)
{
	(void)fmt;

	++t.requests;
	if (t.err)
		return t.err;

	t.req = mem_zalloc(sizeof(*t.req), req_destructor);
	assert_non_null(t.req);
	t.req->reqp = reqp;
	*reqp   = t.req;
	t.resph = prm->resph;
	t.arg   = prm->arg;

	return 0;
}


bool aa_scode_is_server_failure(uint16_t scode)
{
	return scode == 503;
}


uint32_t aa_msg_retry_after(const struct sip_msg *msg)
{
	(void)msg;

	return 0;
}


uint64_t aa_now_ms(void)
{
	return aa_now_us() / 1000;
}


uint64_t aa_now_us(void)
{
	return 1000000;
}


void aa_tmr_start(struct aa_tmr *tmr, uint64_t delay, tmr_h *h, void *arg)
{
	(void)tmr;

	t.delay   = delay;
	t.tmrh    = h;
	t.tmr_arg = arg;
}


void aa_tmr_cancel(struct aa_tmr *tmr)
{
	(void)tmr;

	t.tmrh = NULL;
}


const char *aa_compat_baresip_version(void)
{
	return "test";
}


/* ---- the server --------------------------------------------------------- */


static int auth_handler(char **user, char **pass, const char *realm, void *arg)
{
	(void)realm;
	(void)arg;

	return str_dup(user, "100") | str_dup(pass, "secret");
}


static void binding_handler(struct aa_binding *b, enum aa_binding_event ev,
			    const char *reason, uint32_t retry_after,
			    const struct sip_msg *msg, void *arg)
{
	(void)b;
	(void)retry_after;
	(void)msg;
	(void)arg;

	++t.events;
	t.ev = ev;
	str_ncpy(t.reason, reason, sizeof(t.reason));
}


static bool turn_handler(uint64_t left, void *arg)
{
	(void)arg;

	++t.asked;
	t.left = left;

	return !t.busy;
}


static void respond(const char *head)
{
	struct mbuf *mb = mbuf_alloc(512);
	struct sip_msg *msg;
	sip_resp_h *resph = t.resph;

	assert_non_null(mb);
	assert_int_equal(0, mbuf_printf(mb, "SIP/2.0 %s"
		"Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\n"
		"From: <sip:100@a.example>;tag=1\r\n"
		"To: <sip:100@a.example>;tag=2\r\n"
		"Call-ID: 1\r\nCSeq: 1 REGISTER\r\n\r\n", head));
	mb->pos = 0;
	assert_int_equal(0, sip_msg_decode(&msg, mb));
	mem_deref(mb);

	/* libre forgets a request before it tells of the response */
	t.req = mem_deref(t.req);
	resph(0, msg, t.arg);
	mem_deref(msg);
}


static int setup(void **state)
{
	const struct aa_binding_prm prm = {
		.sip = (struct sip *)&t, .registrar = "sip:a.example",
		.aor = "sip:100@a.example", .cuser = "100-1",
		.instance = "8ab2e3d4-0000-4000-8000-000000000000",
		.regid = 1, .expires = 600, .transaction = 4000,
		.renewal = 15,
		.authh = auth_handler, .h = binding_handler,
		.turnh = turn_handler,
	};
	(void)state;

	memset(&t, 0, sizeof(t));
	assert_int_equal(0, aa_binding_alloc(&t.b, &prm));
	assert_int_equal(0, aa_binding_register(t.b));
	assert_int_equal(1, t.requests);

	return 0;
}


static int teardown(void **state)
{
	(void)state;

	t.b = mem_deref(t.b);

	return 0;
}


static const char challenge[] = "401 Unauthorized\r\n"
	"WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
static const char brief[] = "423 Interval Too Brief\r\nMin-Expires: 1200\r\n";
static const char lacks[] = "439 First Hop Lacks Outbound Support\r\n";


static void test_answered(void **state)
{
	static const char *const headv[] = {challenge, brief, lacks};
	size_t i;
	(void)state;

	for (i=0; i<ARRAY_SIZE(headv); i++) {
		respond(headv[i]);
		assert_int_equal(2 + i, t.requests);
		assert_int_equal(0, t.events);
	}

	respond("200 OK\r\nContact: <sip:100-1@192.0.2.9>;expires=1200\r\n");
	assert_int_equal(1, t.events);
	assert_int_equal(AA_BINDING_OK, t.ev);
}


static void cannot_be_sent(const char *head, int err)
{
	t.err = err;
	respond(head);

	assert_int_equal(2, t.requests);
	assert_int_equal(1, t.events);
	assert_int_equal(AA_BINDING_FAILED, t.ev);
	assert_null(strstr(t.reason, "401"));
}


static void test_challenge(void **state)
{
	(void)state;

	cannot_be_sent(challenge, ECONNRESET);
}


static void test_challenge_nomem(void **state)
{
	(void)state;

	cannot_be_sent(challenge, ENOMEM);
}


static void test_too_brief(void **state)
{
	(void)state;

	cannot_be_sent(brief, ENOTCONN);
}


static void test_no_outbound(void **state)
{
	(void)state;

	cannot_be_sent(lacks, EPIPE);
}


/* What cannot be answered at all is the server's no */
static void test_refused(void **state)
{
	(void)state;

	respond("401 Unauthorized\r\n");
	assert_int_equal(1, t.requests);
	assert_int_equal(1, t.events);
	assert_int_equal(AA_BINDING_REJECTED, t.ev);
	assert_non_null(strstr(t.reason, "401"));
}


/*
 * Guide A-85: 15 s before the end, but where half of the period is shorter, at
 * half of it.  A grant of one second does not make a phone send two REGISTERs
 * in each, and one that is longer than what was asked for counts as that.
 */
static void test_refresh(void **state)
{
	static const struct {
		uint32_t expires;
		uint64_t wait;
	} grantv[] = {
		{1, 900}, {2, 1000}, {3, 1500}, {4, 2000}, {10, 5000},
		{29, 14500}, {30, 15000}, {31, 16000}, {60, 45000},
		{600, 585000}, {601, 585000}, {UINT32_MAX, 585000}
	};
	char head[128];
	size_t i;
	(void)state;

	for (i=0; i<ARRAY_SIZE(grantv); i++) {
		(void)re_snprintf(head, sizeof(head), "200 OK\r\n"
				  "Expires: %u\r\n", grantv[i].expires);
		respond(head);
		assert_int_equal(grantv[i].wait, t.delay);

		/* before the end, by more than a round trip */
		assert_true(t.delay + 100 <= 1000ull * grantv[i].expires);
		assert_non_null(t.tmrh);
		t.tmrh(t.tmr_arg);
		assert_int_equal(2 + i, t.requests);
	}
}


/* When it is to be refreshed, it waits for its turn; not called before */
static void test_turn(void **state)
{
	(void)state;

	respond("200 OK\r\nExpires: 10\r\n");
	aa_binding_refresh(t.b);
	assert_int_equal(0, t.asked);

	t.busy = true;
	t.tmrh(t.tmr_arg);
	assert_int_equal(1, t.asked);
	assert_int_equal(10000, t.left);
	assert_int_equal(1, t.requests);

	t.busy = false;
	aa_binding_refresh(t.b);
	assert_int_equal(2, t.requests);
	aa_binding_refresh(t.b);
	assert_int_equal(2, t.requests);
}


/* What happens to it meanwhile puts an end to that */
static void test_turn_too_late(void **state)
{
	unsigned way;
	(void)state;

	for (way=0; way<3; way++) {
		respond("200 OK\r\nExpires: 10\r\n");
		t.busy = true;
		t.tmrh(t.tmr_arg);
		t.busy = false;
		t.requests = 0;

		if (way == 0)
			assert_int_equal(0, aa_binding_register(t.b));
		else if (way == 1)
			aa_binding_halt(t.b);
		else
			assert_int_equal(0, aa_binding_unregister(t.b));

		aa_binding_refresh(t.b);
		assert_int_equal(way == 1 ? 0 : 1, t.requests);
		if (way == 1)
			assert_int_equal(0, aa_binding_register(t.b));
	}
}


#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)


int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_answered),
		TEST(test_challenge),
		TEST(test_challenge_nomem),
		TEST(test_too_brief),
		TEST(test_no_outbound),
		TEST(test_refused),
		TEST(test_refresh),
		TEST(test_turn),
		TEST(test_turn_too_late),
	};
	int err = libre_init();

	if (err)
		return err;

	err = cmocka_run_group_tests(tests, NULL, NULL);
	libre_close();

	return err;
}
