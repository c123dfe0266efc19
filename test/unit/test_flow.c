/**
 * @file test_flow.c  A flow that waits for the end of a connection
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "flow.c"
#include "aastra_baresip.h"
#include "said.h"


static struct aa_flow flow;


struct sip *uag_sip(void)
{
	return NULL;
}


void SAID(info)(SAID_ARGS const char *fmt, ...)
{
	SAID_UNUSED;
	(void)fmt;
}


uint64_t aa_now_us(void)
{
	return 1000000000;
}


uint64_t aa_now_ms(void)
{
	return 1000000;
}


int64_t aa_clock_ahead_ms(void)
{
	return 0;
}


static int teardown(void **state)
{
	(void)state;

	aa_tmr_cancel(&flow.tmr);
	aa_tmr_close();
	list_clear(&flow.userl);

	return 0;
}


/* An answer to what was sent before says nothing of the wait: it is not ready
   until it is looked at again, and that must come */
static void answered(bool keep)
{
	struct sip_msg msg;

	memset(&flow, 0, sizeof(flow));
	memset(&msg, 0, sizeof(msg));
	aa_conn_init(&flow.conn);
	flow.tp       = SIP_TRANSP_TLS;
	flow.keep     = keep;
	flow.interval = 25;
	flow.state    = AA_FLOW_CONNECTING;
	flow.shut     = true;
	aa_tmr_start(&flow.tmr, SHUT_WAIT_MS, probe_handler, &flow);

	msg.tp    = SIP_TRANSP_TLS;
	msg.scode = 200;
	assert_int_equal(sa_set_str(&msg.src, "192.0.2.1", 5061), 0);

	/* libre has a keep-alive of its own, for real connections */
	flow.ka = mem_alloc(1, NULL);
	aa_flow_seen(&flow, &msg);
	flow.ka = mem_deref(flow.ka);

	assert_int_equal(flow.state, AA_FLOW_UP);
	assert_false(aa_flow_ready(&flow));
	assert_true(aa_tmr_isrunning(&flow.tmr));
	assert_true(aa_tmr_expire(&flow.tmr) <= SHUT_WAIT_MS);
}


static void test_answered(void **state)
{
	(void)state;

	answered(false);
}


static void test_answered_kept(void **state)
{
	(void)state;

	answered(true);
}


/* A wait for another name of an address is not that of an earlier life */
static void test_wait_anew(void **state)
{
	(void)state;

	memset(&flow, 0, sizeof(flow));
	flow.icmp.fd     = -1;
	flow.transaction = 1000;
	assert_true(name_wait(&flow, AA_TLSPEER_WAIT));
	flow_stop(&flow);
	assert_false(flow.name_until);
}


int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_answered, teardown),
		cmocka_unit_test_teardown(test_answered_kept, teardown),
		cmocka_unit_test_teardown(test_wait_anew, teardown),
	};
	int err, ret;

	err = libre_init();
	if (err)
		return err;

	ret = cmocka_run_group_tests(tests, NULL, NULL);

	libre_close();

	return ret;
}
