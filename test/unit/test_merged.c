/**
 * @file test_merged.c  One request that came over two flows
 *
 * Requests as servers send them, two flows that live or not, and a clock that
 * is moved by hand.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>
#include <re.h>
#include "aastra_baresip.h"
#include "compat.h"
#include "flow.h"
#include "account.h"
#include "line.h"
#include "merged.h"


enum {
	FLOWS = 2
};

struct aa_flow {
	const char *addr;
	bool kept;
	enum aa_flow_state state;
	uint64_t generation;
};

static struct aa_flow flowv[FLOWS];
static uint64_t now;
static struct aa_phone phone;
static struct aa_line line;
static unsigned calls;          /* each has a Call-ID of its own            */


/* ---- what it asks ------------------------------------------------------- */


uint64_t aa_now_ms(void)
{
	return now;
}


struct aa_flow *aa_flow_to(const struct list *flowl, const struct sa *sa)
{
	size_t i;
	(void)flowl;

	for (i=0; i<FLOWS; i++) {
		struct sa addr;

		assert_int_equal(sa_set_str(&addr, flowv[i].addr, 5060), 0);
		if (sa_cmp(&addr, sa, SA_ADDR))
			return &flowv[i];
	}

	return NULL;
}


bool aa_flow_kept(const struct aa_flow *flow)
{
	return flow->kept;
}


enum aa_flow_state aa_flow_state(const struct aa_flow *flow)
{
	return flow ? flow->state : AA_FLOW_IDLE;
}


uint64_t aa_flow_generation(const struct aa_flow *flow)
{
	return flow->generation;
}


bool aa_account_has_cuser(const struct aa_account *acc,
			  const struct pl *cuser)
{
	(void)acc;

	return !pl_strcmp(cuser, "own");
}


/* ---- requests ----------------------------------------------------------- */


/* Over flow 0 or 1, each of which has a Contact; branch: of the server */
static bool comes(const char *met, int flow, unsigned branch, const char *user)
{
	struct mbuf *mb = mbuf_alloc(1024);
	struct sip_msg *msg = NULL;
	bool merged;

	assert_non_null(mb);
	assert_int_equal(mbuf_printf(mb,
		"%s sip:%s@192.0.2.9;flow=%d SIP/2.0\r\n"
		"Via: SIP/2.0/TCP 198.51.100.1;branch=z9hG4bK-%u\r\n"
		"From: <sip:200@example.com>;tag=a\r\n"
		"To: <sip:100@example.com>\r\n"
		"Call-ID: call-%u\r\n"
		"CSeq: 1 %s\r\n"
		"Content-Length: 0\r\n\r\n",
		met, user, flow, branch, calls, met), 0);
	mb->pos = 0;
	assert_int_equal(sip_msg_decode(&msg, mb), 0);
	assert_int_equal(sa_set_str(&msg->src, flowv[flow].addr, 5060), 0);

	merged = aa_merged(&phone, msg);

	mem_deref(msg);
	mem_deref(mb);

	return merged;
}


static bool invite(int flow, unsigned branch)
{
	return comes("INVITE", flow, branch, "own");
}


static const char *callid(void)
{
	static char buf[32];

	assert_true(re_snprintf(buf, sizeof(buf), "call-%u", calls) > 0);

	return buf;
}


static void is_over(void)
{
	aa_merged_forget(callid());
}


static void is_taken(void)
{
	aa_merged_taken(callid());
}


static int setup(void **state)
{
	static const struct aa_flow flow = {"192.0.2.1", true, AA_FLOW_UP, 1};
	(void)state;

	flowv[0] = flowv[1] = flow;
	flowv[1].addr = "192.0.2.2";

	memset(&phone, 0, sizeof(phone));
	memset(&line, 0, sizeof(line));
	line.cfg.line = 1;
	list_append(&phone.linel, &line.le, &line);
	now += 100000;
	++calls;

	return 0;
}


/* ---- tests -------------------------------------------------------------- */


static void second_is_refused(void **state)
{
	(void)state;

	assert_false(invite(0, 1));
	assert_true(invite(1, 2));

	assert_false(comes("MESSAGE", 1, 3, "own"));
	assert_true(comes("MESSAGE", 0, 4, "own"));

	/* another call, and an account that is no line */
	++calls;
	assert_false(invite(1, 5));
	assert_false(comes("INVITE", 0, 6, "other"));
	assert_false(comes("INVITE", 1, 7, "other"));
}


/* libre says again what was said, of the one that was let in and of the one
   that was refused */
static void retransmissions(void **state)
{
	(void)state;

	assert_false(invite(0, 1));
	assert_false(invite(0, 1));
	assert_true(invite(1, 2));
	assert_false(invite(1, 2));
	assert_false(invite(0, 1));

	/* a third way */
	assert_true(invite(1, 3));

	is_over();
	assert_false(invite(1, 2));
}


static void flow_has_failed(void **state)
{
	(void)state;

	assert_false(invite(0, 1));
	flowv[0].state = AA_FLOW_DOWN;
	assert_false(invite(1, 2));

	/* it is back, as another one */
	++calls;
	assert_false(invite(1, 3));
	++flowv[1].generation;
	assert_false(invite(0, 4));
}


/* Without outbound support nothing checks a flow */
static void not_kept(void **state)
{
	(void)state;

	flowv[0].kept = flowv[1].kept = false;
	flowv[0].state = AA_FLOW_DOWN;
	assert_false(invite(0, 1));
	assert_true(invite(1, 2));

	++calls;
	flowv[0].state = AA_FLOW_IDLE;
	assert_false(invite(0, 3));
	flowv[0].state = AA_FLOW_DOWN;
	assert_false(invite(1, 4));
}


/* A server that hunts comes back over the same flow: libre knows whether that
   is too early */
static void same_contact(void **state)
{
	(void)state;

	assert_false(invite(0, 1));
	assert_false(invite(0, 2));
	assert_true(invite(1, 3));
}


/* ... or over the other one, when it has cancelled the call */
static void call_is_over(void **state)
{
	(void)state;

	assert_false(invite(0, 1));
	aa_merged_forget("call-of-another");
	assert_true(invite(1, 2));
	is_over();
	assert_false(invite(1, 3));
	assert_true(invite(0, 4));

	aa_merged_forget(NULL);
	aa_merged_forget("");
}


/* The other way was hung, and goes on */
static void call_was_taken(void **state)
{
	(void)state;

	assert_false(invite(0, 1));
	is_taken();
	is_over();
	assert_true(invite(1, 2));

	aa_merged_taken(NULL);
	aa_merged_taken("");
}


/* RFC 3261 17.1.1.2: whoever sent it has given up */
static void long_ago(void **state)
{
	(void)state;

	assert_false(invite(0, 1));
	now += 31000;
	assert_true(invite(1, 2));
	now += 2000;
	assert_false(invite(1, 3));
}


int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(second_is_refused, setup),
		cmocka_unit_test_setup(retransmissions, setup),
		cmocka_unit_test_setup(flow_has_failed, setup),
		cmocka_unit_test_setup(not_kept, setup),
		cmocka_unit_test_setup(same_contact, setup),
		cmocka_unit_test_setup(call_is_over, setup),
		cmocka_unit_test_setup(call_was_taken, setup),
		cmocka_unit_test_setup(long_ago, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
