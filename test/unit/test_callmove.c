/**
 * @file test_callmove.c  Outgoing calls that meet a dead server
 *
 * baresip's words for why a call ended, and what the line makes of them.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <errno.h>
#include <cmocka.h>
#include <re.h>
#include "aastra_baresip.h"
#include "compat.h"
#include "flow.h"
#include "account.h"
#include "line.h"
#include "callmove.h"
#include "said.h"


static struct {
	unsigned suspected;
	unsigned checked;
	unsigned dialled;
	bool again;             /* ... as a second try                      */
} did;

static struct aa_line line;
static struct uri aor;
static enum call_state state_now;

/* baresip's own, of which nothing is looked at */
static struct call *const call = (struct call *)(void *)&state_now;
static struct ua *const ua = (struct ua *)(void *)&aor;


/* ---- what it asks, and what it does ------------------------------------- */


void SAID(warning)(SAID_ARGS const char *fmt, ...)
{
	SAID_UNUSED;
	fail_msg("%s", fmt);
}


uint64_t aa_now_ms(void)
{
	return 1000;
}


void aa_tmr_start(struct aa_tmr *tmr, uint64_t delay, tmr_h *h, void *arg)
{
	(void)delay;
	tmr->h   = h;
	tmr->arg = arg;
}


void aa_tmr_cancel(struct aa_tmr *tmr)
{
	tmr->h = NULL;
}


enum call_state call_state(const struct call *c)
{
	assert_ptr_equal(c, call);

	return state_now;
}


bool call_is_outgoing(const struct call *c)
{
	(void)c;

	return true;
}


const char *call_peeruri(const struct call *c)
{
	(void)c;

	return "sip:200@example.com";
}


struct account *aa_account_prim(const struct aa_account *acc)
{
	(void)acc;

	return NULL;
}


struct ua *aa_account_shown(const struct aa_account *acc)
{
	(void)acc;

	return ua;
}


struct account *ua_account(const struct ua *u)
{
	(void)u;

	return NULL;
}


struct uri *account_luri(const struct account *acc)
{
	(void)acc;

	return &aor;
}


void aa_line_suspect(struct aa_line *l, const char *reason)
{
	(void)l;
	assert_non_null(reason);
	++did.suspected;
}


void aa_line_check(struct aa_line *l)
{
	(void)l;
	++did.checked;
}


void aa_line_kick(struct aa_line *l)
{
	(void)l;
}


void aa_line_call_moved(struct aa_line *l, const char *uri, uint64_t took)
{
	(void)l;
	(void)uri;
	(void)took;
}


void ua_hangup(struct ua *u, struct call *c, uint16_t scode,
	       const char *reason)
{
	(void)u;
	(void)c;
	(void)scode;
	(void)reason;
}


int ua_connect(struct ua *u, struct call **callp, const char *from_uri,
	       const char *req_uri, enum vidmode vmode)
{
	(void)u;
	(void)callp;
	(void)from_uri;
	(void)vmode;
	assert_string_equal(req_uri, "sip:200@example.com");
	++did.dialled;
	did.again = line.redialling;

	return 0;
}


/* ---- tests -------------------------------------------------------------- */


static void dial(void)
{
	memset(&did, 0, sizeof(did));
	state_now = CALL_STATE_OUTGOING;
	aa_callmove_offer(&line, ua, call);
	assert_int_equal(list_count(&line.calll), 1);
}


/* The line moves soon after: is the call dialled again? */
static bool moves(void)
{
	++line.moves;
	aa_callmove_moved(&line);
	assert_true(list_isempty(&line.calll));
	assert_true(did.dialled <= 1);
	assert_int_equal(did.again, did.dialled == 1);

	return did.dialled == 1;
}


static int setup(void **state)
{
	(void)state;
	memset(&line, 0, sizeof(line));
	pl_set_str(&aor.host, "example.com");
	line.cfg.line = 1;
	line.cfg.call_failover = true;

	return 0;
}


/* As "%m" of libre says it, in whatever words */
static void nobody_answered(void **state)
{
	static const int errv[] = {
		ETIMEDOUT, ECONNRESET, ECONNREFUSED, ECONNABORTED,
		EHOSTUNREACH, ENETUNREACH, EPROTO, EPIPE
	};
	size_t i;
	(void)state;

	for (i=0; i<ARRAY_SIZE(errv); i++) {
		char reason[128];

		assert_true(re_snprintf(reason, sizeof(reason), "%m",
					errv[i]) > 0);
		dial();
		aa_callmove_closed(&line, call, reason);
		assert_int_equal(did.suspected, 1);
		assert_true(moves());
	}
}


/* A proxy got nothing out of the next server: may be the far end's fault */
static void proxy_says_so(void **state)
{
	(void)state;

	dial();
	aa_callmove_closed(&line, call, "503 Service Unavailable");
	assert_int_equal(did.suspected, 0);
	assert_int_equal(did.checked, 1);
	assert_true(moves());
}


/* Nothing of this is the server's fault, and nothing is dialled again: who
   hangs up has done with it */
static void not_the_server(void **state)
{
	static const char *reasonv[] = {
		"Connection reset by user",     /* up to 1.1.0              */
		"Rejected by user",             /* 4.x                      */
		"Gone to lunch",                /* of whoever hangs up      */
		"User-Agent deleted", "mediaenc failed", "Local timeout",
		"Transport of User Agent changed",
		"486 Busy Here", "603 Decline", "404 Not Found", "", NULL
	};
	size_t i;
	(void)state;

	for (i=0; i<ARRAY_SIZE(reasonv); i++) {
		dial();
		aa_callmove_closed(&line, call, reasonv[i]);
		assert_int_equal(did.suspected + did.checked, 0);
		assert_false(moves());
	}
}


/* It rings somewhere, and is moved by nobody */
static void rings(void **state)
{
	char reason[128];
	(void)state;

	dial();
	state_now = CALL_STATE_RINGING;
	assert_true(re_snprintf(reason, sizeof(reason), "%m", ETIMEDOUT) > 0);
	aa_callmove_closed(&line, call, reason);
	assert_int_equal(did.suspected, 0);
	assert_false(moves());
}


/* Still waiting when the line moves */
static void unanswered(void **state)
{
	(void)state;

	dial();
	assert_true(moves());
}


int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(nobody_answered, setup),
		cmocka_unit_test_setup(proxy_says_so, setup),
		cmocka_unit_test_setup(not_the_server, setup),
		cmocka_unit_test_setup(rings, setup),
		cmocka_unit_test_setup(unanswered, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
