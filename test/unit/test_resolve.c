/**
 * @file test_resolve.c  From the name of a server to its addresses
 *
 * Against a name server of our own, in the same event loop, whose every
 * answer, silence and lie is up to the test.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <re.h>
#include "compat.h"
#include "timer.h"
#include "resolve.h"
#include "steady.h"
#include "wallclock.h"


enum {
	RECORDS     = 256,
	QUESTIONS   = 128,
	HELD        = 64,
	WATCHDOG_MS = 10000,
	TIMEOUT_MS  = 4000
};

/** A record of the zone, in text */
struct record {
	char owner[64];
	uint16_t type;
	uint32_t ttl;
	uint16_t num[3];        /* SRV: priority, weight, port */
	char text[3][64];       /* NAPTR: flags, services      */
};

/** A question that waits for its answer */
struct held {
	struct sa src;
	struct dnshdr hdr;
	char *name;
	uint16_t type;
};

/** What came out of a lookup */
struct result {
	struct aa_resolve *resolve;
	unsigned calls;
	int err;
	struct aa_targets t;
	uint64_t ms;            /* how long it took */
};

/** The name server */
static struct {
	struct udp_sock *us;
	struct sa addr;
	struct record recordv[RECORDS];
	size_t recordc;
	char questionv[QUESTIONS][80];
	size_t questionc;

	bool additional;        /* tell addresses of SRV targets unasked    */
	uint16_t silent;        /* never answer for this type               */
	const char *silent_for; /* nor for this name                        */
	unsigned drop;          /* lose so many questions                   */
	uint16_t fail_type;     /* answer for this type with...             */
	uint8_t fail_rcode;
	size_t cut;             /* send so many bytes of an answer only     */
	unsigned mutate;        /* change so many bytes of an answer        */
	uint32_t hold;          /* collect questions for so long [ms]       */
	struct held heldv[HELD];
	size_t heldc;
	size_t held_most;
	struct tmr tmr;
} srv;

static struct dnsc *dnsc;
static struct tmr watchdog;


/* ---- The zone --------------------------------------------------------- */


static struct record *record(const char *owner, uint16_t type, uint32_t ttl)
{
	struct record *rec = &srv.recordv[srv.recordc++];

	assert_true(srv.recordc <= RECORDS);

	memset(rec, 0, sizeof(*rec));
	str_ncpy(rec->owner, owner, sizeof(rec->owner));
	rec->type = type;
	rec->ttl  = ttl;

	return rec;
}


static void addr(const char *owner, uint32_t ttl, const char *ip)
{
	struct record *rec = record(owner, strchr(ip, ':') ? DNS_TYPE_AAAA
							   : DNS_TYPE_A, ttl);

	str_ncpy(rec->text[0], ip, sizeof(rec->text[0]));
}


static void cname(const char *owner, uint32_t ttl, const char *name)
{
	struct record *rec = record(owner, DNS_TYPE_CNAME, ttl);

	str_ncpy(rec->text[0], name, sizeof(rec->text[0]));
}


static void service(const char *owner, uint32_t ttl, uint16_t pri,
		    uint16_t weight, uint16_t port, const char *target)
{
	struct record *rec = record(owner, DNS_TYPE_SRV, ttl);

	rec->num[0] = pri;
	rec->num[1] = weight;
	rec->num[2] = port;
	str_ncpy(rec->text[0], target, sizeof(rec->text[0]));
}


static void naptr(const char *owner, uint32_t ttl, uint16_t order,
		  uint16_t pref, const char *flags, const char *services,
		  const char *replace)
{
	struct record *rec = record(owner, DNS_TYPE_NAPTR, ttl);

	rec->num[0] = order;
	rec->num[1] = pref;
	str_ncpy(rec->text[0], replace, sizeof(rec->text[0]));
	str_ncpy(rec->text[1], flags, sizeof(rec->text[1]));
	str_ncpy(rec->text[2], services, sizeof(rec->text[2]));
}


static void zone_clear(void)
{
	srv.recordc = 0;
	srv.questionc = 0;
}


/* ---- The name server -------------------------------------------------- */


static void text_dup(char **dst, const char *src)
{
	assert_int_equal(0, str_dup(dst, src));
}


static void encode(struct mbuf *mb, const struct record *rec)
{
	struct dnsrr *rr = dns_rr_alloc();
	struct sa sa;

	assert_non_null(rr);

	text_dup(&rr->name, rec->owner);
	rr->type     = rec->type;
	rr->dnsclass = DNS_CLASS_IN;
	rr->ttl      = rec->ttl;

	switch (rec->type) {

	case DNS_TYPE_A:
		assert_int_equal(0, sa_set_str(&sa, rec->text[0], 0));
		rr->rdata.a.addr = sa_in(&sa);
		break;

	case DNS_TYPE_AAAA:
		assert_int_equal(0, sa_set_str(&sa, rec->text[0], 0));
		sa_in6(&sa, rr->rdata.aaaa.addr);
		break;

	case DNS_TYPE_CNAME:
		text_dup(&rr->rdata.cname.cname, rec->text[0]);
		break;

	case DNS_TYPE_SRV:
		rr->rdata.srv.pri    = rec->num[0];
		rr->rdata.srv.weight = rec->num[1];
		rr->rdata.srv.port   = rec->num[2];
		text_dup(&rr->rdata.srv.target, rec->text[0]);
		break;

	case DNS_TYPE_NAPTR:
		rr->rdata.naptr.order = rec->num[0];
		rr->rdata.naptr.pref  = rec->num[1];
		text_dup(&rr->rdata.naptr.flags, rec->text[1]);
		text_dup(&rr->rdata.naptr.services, rec->text[2]);
		text_dup(&rr->rdata.naptr.regexp, "");
		text_dup(&rr->rdata.naptr.replace, rec->text[0]);
		break;

	default:
		fail();
	}

	assert_int_equal(0, dns_rr_encode(mb, rr, 0, NULL, 0));
	mem_deref(rr);
}


/* Records of a name; returns the last record, for what it points to */
static uint16_t section(struct mbuf *mb, const char *name, uint16_t type)
{
	uint16_t n = 0;
	size_t i;

	for (i=0; i<srv.recordc; i++) {
		const struct record *rec = &srv.recordv[i];

		if (rec->type == type && 0 == str_casecmp(rec->owner, name)) {
			encode(mb, rec);
			++n;
		}
	}

	return n;
}


static const struct record *alias(const char *name)
{
	size_t i;

	for (i=0; i<srv.recordc; i++) {
		const struct record *rec = &srv.recordv[i];

		if (rec->type == DNS_TYPE_CNAME &&
		    0 == str_casecmp(rec->owner, name))
			return rec;
	}

	return NULL;
}


static bool exists(const char *name)
{
	size_t i;

	for (i=0; i<srv.recordc; i++) {
		if (0 == str_casecmp(srv.recordv[i].owner, name))
			return true;
	}

	return false;
}


static uint16_t additional(struct mbuf *mb, const char *name, uint16_t type)
{
	uint16_t n = 0;
	size_t i;

	for (i=0; i<srv.recordc; i++) {
		const struct record *rec = &srv.recordv[i];

		if (rec->type != type || str_casecmp(rec->owner, name))
			continue;

		if (type == DNS_TYPE_SRV) {
			n += section(mb, rec->text[0], DNS_TYPE_A);
			n += section(mb, rec->text[0], DNS_TYPE_AAAA);
		}
		else if (type == DNS_TYPE_NAPTR) {
			n += section(mb, rec->text[0], DNS_TYPE_SRV);
			n += additional(mb, rec->text[0], DNS_TYPE_SRV);
		}
	}

	return n;
}


static void answer(const struct sa *dst, struct dnshdr hdr, const char *name,
		   uint16_t type)
{
	struct mbuf *mb = mbuf_alloc(4096);
	const char *end = name;
	const struct record *rec;
	unsigned i;

	assert_non_null(mb);

	hdr.qr = true;
	hdr.aa = true;

	mb->pos = mb->end = DNS_HEADER_SIZE;
	assert_int_equal(0, dns_dname_encode(mb, name, NULL, 0, false));
	assert_int_equal(0, mbuf_write_u16(mb, htons(type)));
	assert_int_equal(0, mbuf_write_u16(mb, htons(DNS_CLASS_IN)));

	if (srv.fail_rcode && (!srv.fail_type || srv.fail_type == type)) {
		hdr.rcode = srv.fail_rcode;
	}
	else {
		/* like a name server does: the whole chain in one answer */
		for (i=0; i<20 && (rec = alias(end)); i++) {
			encode(mb, rec);
			++hdr.nans;
			end = rec->text[0];
		}

		hdr.nans += section(mb, end, type);

		if (!hdr.nans && !exists(name))
			hdr.rcode = DNS_RCODE_NAME_ERR;

		if (srv.additional)
			hdr.nadd = additional(mb, end, type);
	}

	mb->pos = 0;
	assert_int_equal(0, dns_hdr_encode(mb, &hdr));
	mb->pos = 0;

	if (srv.cut)
		mb->end = MIN(mb->end, srv.cut);

	for (i=0; i<srv.mutate; i++)
		mb->buf[2 + (unsigned)rand() % (mb->end - 2)] = (uint8_t)rand();

	(void)udp_send(srv.us, dst, mb);
	mem_deref(mb);
}


static void release_handler(void *arg)
{
	size_t i, n = srv.heldc;
	(void)arg;

	srv.heldc = 0;
	for (i=0; i<n; i++) {
		struct held *held = &srv.heldv[i];

		answer(&held->src, held->hdr, held->name, held->type);
		held->name = mem_deref(held->name);
	}
}


static void question_handler(const struct sa *src, struct mbuf *mb, void *arg)
{
	struct dnshdr hdr;
	char *name = NULL;
	uint16_t type;
	(void)arg;

	assert_int_equal(0, dns_hdr_decode(mb, &hdr));
	assert_false(hdr.qr);
	assert_int_equal(1, hdr.nq);
	assert_int_equal(0, dns_dname_decode(mb, &name, 0));
	type = ntohs(mbuf_read_u16(mb));

	if (srv.questionc < QUESTIONS)
		(void)re_snprintf(srv.questionv[srv.questionc++],
				  sizeof(srv.questionv[0]), "%s %s",
				  dns_rr_typename(type), name);

	if (srv.drop) {
		--srv.drop;
	}
	else if (type == srv.silent || (srv.silent_for &&
					!strcmp(name, srv.silent_for))) {
		;
	}
	else if (srv.hold) {
		struct held *held = &srv.heldv[srv.heldc++];

		assert_true(srv.heldc < HELD);
		held->src  = *src;
		held->hdr  = hdr;
		held->name = mem_ref(name);
		held->type = type;

		srv.held_most = MAX(srv.held_most, srv.heldc);
		tmr_start(&srv.tmr, srv.hold, release_handler, NULL);
	}
	else {
		answer(src, hdr, name, type);
	}

	mem_deref(name);
}


static bool asked(const char *question)
{
	size_t i;

	for (i=0; i<srv.questionc; i++) {
		if (0 == strcmp(srv.questionv[i], question))
			return true;
	}

	return false;
}


/* ---- Tools ------------------------------------------------------------ */


static void watchdog_handler(void *arg)
{
	(void)arg;

	print_error("the event loop does not end\n");
	re_cancel();
}


static void loop(void)
{
	tmr_start(&watchdog, WATCHDOG_MS, watchdog_handler, NULL);
	assert_int_equal(0, re_main(NULL));
	assert_true(tmr_isrunning(&watchdog));
	tmr_cancel(&watchdog);
}


static void stop_handler(void *arg)
{
	(void)arg;

	re_cancel();
}


static void loop_for(uint32_t ms)
{
	struct tmr tmr;

	tmr_init(&tmr);
	tmr_start(&tmr, ms, stop_handler, NULL);
	loop();
	tmr_cancel(&tmr);
}


static void resolve_handler(int err, const struct aa_targets *t, void *arg)
{
	struct result *res = arg;

	assert_null(res->resolve);
	assert_int_equal(err != 0, t == NULL);

	++res->calls;
	res->err = err;
	if (t) {
		assert_in_range(t->n, 1, AA_TARGETS_MAX);
		res->t = *t;
	}

	re_cancel();
}


static struct result look_for(const char *host, uint16_t port,
			      enum sip_transp tp, unsigned query_type,
			      uint32_t timeout)
{
	struct result res;
	uint64_t t0 = tmr_jiffies();

	memset(&res, 0, sizeof(res));
	srv.questionc = 0;

	assert_int_equal(0, aa_resolve(&res.resolve, dnsc, host, port, tp,
				       query_type, timeout, resolve_handler,
				       &res));
	assert_non_null(res.resolve);
	loop();

	assert_int_equal(1, res.calls);
	assert_null(res.resolve);
	res.ms = tmr_jiffies() - t0;

	return res;
}


static struct result look(const char *host, uint16_t port, enum sip_transp tp,
			  unsigned query_type)
{
	return look_for(host, port, tp, query_type, TIMEOUT_MS);
}


/* Is the result this: "address:port address:port ..."? */
static void expect(const struct result *res, const char *targets)
{
	char buf[1024] = "";
	size_t i, len = 0;

	assert_int_equal(0, res->err);

	for (i=0; i<res->t.n; i++) {
		const int n = re_snprintf(buf + len, sizeof(buf) - len,
					  "%s%J", i ? " " : "", &res->t.v[i]);
		assert_true(n > 0);
		len += (size_t)n;
	}

	assert_string_equal(buf, targets);
}


static void expect_error(const struct result *res, int err)
{
	assert_int_equal(err, res->err);
	assert_int_equal(0, res->t.n);
}


static int setup(void **state)
{
	(void)state;

	memset(&srv, 0, sizeof(srv));
	tmr_init(&srv.tmr);
	tmr_init(&watchdog);
	dnsc = NULL;

	return sa_set_str(&srv.addr, "127.0.0.1", 0) ||
		udp_listen(&srv.us, &srv.addr, question_handler, NULL) ||
		udp_local_get(srv.us, &srv.addr) ||
		dnsc_alloc(&dnsc, NULL, &srv.addr, 1);
}


static int teardown(void **state)
{
	size_t i;
	(void)state;

	tmr_cancel(&srv.tmr);
	tmr_cancel(&watchdog);
	for (i=0; i<srv.heldc; i++)
		mem_deref(srv.heldv[i].name);

	srv.us = mem_deref(srv.us);
	dnsc = mem_deref(dnsc);

	return 0;
}


static int group_setup(void **state)
{
	(void)state;

	srand(1);

	return libre_init();
}


static int group_teardown(void **state)
{
	(void)state;

	aa_tmr_close();
	libre_close();

	return 0;
}


/* ---- What is asked, and what comes out -------------------------------- */


static void test_refused(void **state)
{
	static const char *const hosts[] = {
		"", ".", "10.0.0.1", "::1", "[::1]", "fe80::1%eth0", "a..b",
		".a", "a..",
		"a12345678901234567890123456789012345678901234567890123456789"
		"0123.example",
	};
	struct result res;
	char name[300];
	size_t i;
	(void)state;

	memset(&res, 0, sizeof(res));

	for (i=0; i<sizeof(hosts) / sizeof(hosts[0]); i++)
		assert_int_equal(EINVAL, aa_resolve(&res.resolve, dnsc,
						    hosts[i], 0,
						    SIP_TRANSP_UDP, 1, 1000,
						    resolve_handler, &res));

	/* 254 characters */
	for (i=0; i<254; i++)
		name[i] = i % 50 == 49 ? '.' : 'x';
	name[i] = '\0';
	assert_int_equal(EINVAL, aa_resolve(&res.resolve, dnsc, name, 0,
					    SIP_TRANSP_UDP, 1, 1000,
					    resolve_handler, &res));

	assert_int_equal(EINVAL, aa_resolve(NULL, dnsc, "a", 0, SIP_TRANSP_UDP,
					    1, 1000, resolve_handler, &res));
	assert_int_equal(EINVAL, aa_resolve(&res.resolve, NULL, "a", 0,
					    SIP_TRANSP_UDP, 1, 1000,
					    resolve_handler, &res));
	assert_int_equal(EINVAL, aa_resolve(&res.resolve, dnsc, NULL, 0,
					    SIP_TRANSP_UDP, 1, 1000,
					    resolve_handler, &res));
	assert_int_equal(EINVAL, aa_resolve(&res.resolve, dnsc, "a", 0,
					    SIP_TRANSP_UDP, 1, 1000, NULL,
					    &res));

	assert_null(res.resolve);
	assert_int_equal(0, res.calls);
	loop_for(20);
	assert_int_equal(0, srv.questionc);
}


static void test_port(void **state)
{
	struct result res;
	unsigned query_type;
	(void)state;

	addr("pbx.example", 60, "fd00::1");
	addr("pbx.example", 60, "10.0.0.2");
	addr("pbx.example", 60, "10.0.0.1");
	addr("pbx.example", 60, "fd00::2");
	service("_sip._udp.pbx.example", 60, 1, 1, 5070, "other.example");
	naptr("pbx.example", 60, 1, 1, "s", "SIP+D2U",
	      "_sip._udp.pbx.example");

	for (query_type=0; query_type<3; query_type++) {
		res = look("pbx.example", 5080, SIP_TRANSP_UDP, query_type);
		expect(&res, "10.0.0.2:5080 10.0.0.1:5080"
		       " [fd00::1]:5080 [fd00::2]:5080");
		assert_int_equal(60000, res.t.ttl_ms);
		assert_true(srv.questionc <= 2);
	}

	assert_int_equal(0, res.err);
}


static void test_addresses_only(void **state)
{
	struct result res;
	(void)state;

	addr("pbx.example", 60, "10.0.0.1");
	service("_sip._udp.pbx.example", 60, 1, 1, 5070, "other.example");

	res = look("pbx.example", 0, SIP_TRANSP_UDP, 0);
	expect(&res, "10.0.0.1:5060");
	assert_false(asked("SRV _sip._udp.pbx.example"));

	res = look("pbx.example", 0, SIP_TRANSP_TLS, 0);
	expect(&res, "10.0.0.1:5061");

	/* the dot of the root, and letters large and small */
	res = look("PBX.Example.", 0, SIP_TRANSP_TCP, 0);
	expect(&res, "10.0.0.1:5060");
}


static void test_one_family(void **state)
{
	struct result res;
	(void)state;

	addr("four.example", 60, "10.0.0.1");
	addr("six.example", 60, "fd00::1");

	res = look("four.example", 5060, SIP_TRANSP_UDP, 1);
	expect(&res, "10.0.0.1:5060");
	assert_int_equal(60000, res.t.ttl_ms);

	res = look("six.example", 5060, SIP_TRANSP_UDP, 1);
	expect(&res, "[fd00::1]:5060");
	assert_true(res.ms < 500);
}


static void test_srv_names(void **state)
{
	struct result res;
	(void)state;

	service("_sip._udp.pbx.example", 60, 1, 1, 5001, "u.example");
	service("_sip._tcp.pbx.example", 60, 1, 1, 5002, "t.example");
	service("_sips._tcp.pbx.example", 60, 1, 1, 5003, "s.example");
	addr("u.example", 60, "10.0.0.1");
	addr("t.example", 60, "10.0.0.2");
	addr("s.example", 60, "10.0.0.3");
	addr("pbx.example", 60, "10.0.0.9");

	res = look("pbx.example", 0, SIP_TRANSP_UDP, 1);
	expect(&res, "10.0.0.1:5001");
	assert_true(asked("SRV _sip._udp.pbx.example"));
	assert_false(asked("NAPTR pbx.example"));
	assert_false(asked("A pbx.example"));

	res = look("pbx.example", 0, SIP_TRANSP_TCP, 1);
	expect(&res, "10.0.0.2:5002");

	res = look("pbx.example", 0, SIP_TRANSP_TLS, 1);
	expect(&res, "10.0.0.3:5003");

	/* there is no SRV name for WebSocket */
	res = look("pbx.example", 0, SIP_TRANSP_WS, 1);
	expect(&res, "10.0.0.9:80");
}


static void test_srv_missing(void **state)
{
	struct result res;
	(void)state;

	addr("pbx.example", 60, "10.0.0.1");

	res = look("pbx.example", 0, SIP_TRANSP_TLS, 1);
	expect(&res, "10.0.0.1:5061");
	assert_true(asked("SRV _sips._tcp.pbx.example"));

	/* the name is there, but not for SRV */
	addr("_sip._udp.pbx.example", 60, "10.0.0.8");
	res = look("pbx.example", 0, SIP_TRANSP_UDP, 1);
	expect(&res, "10.0.0.1:5060");

	/* a name server that does not know SRV at all */
	srv.fail_type  = DNS_TYPE_SRV;
	srv.fail_rcode = DNS_RCODE_NOT_IMPL;
	res = look("pbx.example", 0, SIP_TRANSP_TCP, 1);
	expect(&res, "10.0.0.1:5060");
}


/* "_sip._tcp." makes it too long to be asked for, the name alone is not */
static void test_srv_too_long(void **state)
{
	struct result res;
	char name[250];
	size_t i;
	(void)state;

	for (i=0; i<248; i++)
		name[i] = i % 50 == 49 ? '.' : 'x';
	name[i] = '\0';

	res = look(name, 0, SIP_TRANSP_TCP, 1);
	expect_error(&res, ENOENT);
	assert_true(srv.questionc <= 2);
}


static void srv_zone(void)
{
	service("_sip._tcp.pbx.example", 60, 30, 0, 5063, "c.example");
	service("_sip._tcp.pbx.example", 60, 10, 0, 5061, "a.example");
	service("_sip._tcp.pbx.example", 60, 20, 5, 5062, "b.example");
	addr("a.example", 60, "fd00::a");
	addr("a.example", 60, "10.0.0.10");
	addr("a.example", 60, "10.0.0.11");
	addr("b.example", 60, "fd00::b");
	addr("c.example", 60, "10.0.0.30");
}


static const char srv_order[] =
	"10.0.0.10:5061 10.0.0.11:5061 [fd00::a]:5061 "
	"[fd00::b]:5062 10.0.0.30:5063";


static void test_srv_priority(void **state)
{
	struct result res;
	(void)state;

	srv_zone();
	res = look("pbx.example", 0, SIP_TRANSP_TCP, 1);
	expect(&res, srv_order);
	assert_true(asked("A a.example"));
}


static void test_srv_additional(void **state)
{
	struct result res;
	(void)state;

	srv_zone();
	srv.additional = true;

	res = look("pbx.example", 0, SIP_TRANSP_TCP, 1);
	expect(&res, srv_order);
	assert_false(asked("A a.example"));
	assert_false(asked("AAAA a.example"));

	/* what is not told is asked for */
	assert_true(asked("A b.example"));
	assert_true(asked("AAAA c.example"));
}


static void test_srv_some_dead(void **state)
{
	struct result res;
	(void)state;

	srv_zone();
	service("_sip._tcp.pbx.example", 60, 5, 0, 5060, "gone.example");
	service("_sip._tcp.pbx.example", 60, 6, 0, 5060, ".");

	res = look("pbx.example", 0, SIP_TRANSP_TCP, 1);
	expect(&res, srv_order);
}


static void test_srv_weight(void **state)
{
	const size_t rounds = 400;
	size_t i, heavy = 0, light = 0, zero = 0;
	(void)state;

	service("_sip._udp.pbx.example", 1, 1, 0, 5060, "zero.example");
	service("_sip._udp.pbx.example", 1, 1, 300, 5060, "heavy.example");
	service("_sip._udp.pbx.example", 1, 1, 100, 5060, "light.example");
	service("_sip._udp.pbx.example", 1, 2, 65535, 5060, "last.example");
	addr("heavy.example", 1, "10.0.0.1");
	addr("light.example", 1, "10.0.0.2");
	addr("zero.example", 1, "10.0.0.3");
	addr("last.example", 1, "10.0.0.4");
	srv.additional = true;

	for (i=0; i<rounds; i++) {
		struct result res = look("pbx.example", 0, SIP_TRANSP_UDP, 1);
		struct sa first;

		assert_int_equal(4, res.t.n);

		first = res.t.v[0];
		heavy += (sa_in(&first) & 0xff) == 1;
		light += (sa_in(&first) & 0xff) == 2;
		zero  += (sa_in(&first) & 0xff) == 3;

		/* priority stands above weight */
		assert_int_equal(4, sa_in(&res.t.v[3]) & 0xff);
	}

	/* three to one: these bounds are seven standard deviations away */
	assert_int_equal(rounds, heavy + light + zero);
	assert_in_range(heavy, 240, 360);
	assert_in_range(light, 40, 160);
	assert_in_range(zero, 0, 20);
}


/* RFC 2782: one without weight has a small chance, wherever it stands */
static void test_srv_weightless(void **state)
{
	size_t i, first[2] = {0, 0};
	(void)state;

	service("_sip._udp.pbx.example", 1, 1, 1, 5060, "one.example");
	service("_sip._udp.pbx.example", 1, 1, 0, 5060, "zero.example");
	addr("one.example", 1, "10.0.0.1");
	addr("zero.example", 1, "10.0.0.2");
	srv.additional = true;

	for (i=0; i<100; i++) {
		struct result res = look("pbx.example", 0, SIP_TRANSP_UDP, 1);

		assert_int_equal(2, res.t.n);
		++first[(sa_in(&res.t.v[0]) & 0xff) - 1];
	}

	assert_in_range(first[0], 15, 85);
	assert_in_range(first[1], 15, 85);
}


static void test_srv_no_service(void **state)
{
	struct result res;
	(void)state;

	service("_sip._udp.pbx.example", 60, 0, 0, 0, ".");
	addr("pbx.example", 60, "10.0.0.1");

	res = look("pbx.example", 0, SIP_TRANSP_UDP, 1);
	expect_error(&res, ENOENT);
	assert_false(asked("A pbx.example"));
}


static void test_srv_same_target(void **state)
{
	struct result res;
	(void)state;

	service("_sip._udp.pbx.example", 60, 1, 0, 5061, "a.example");
	service("_sip._udp.pbx.example", 60, 2, 0, 5062, "a.example");
	service("_sip._udp.pbx.example", 60, 3, 0, 5061, "a.example");
	service("_sip._udp.pbx.example", 60, 4, 0, 0, "a.example");
	addr("a.example", 60, "10.0.0.1");

	res = look("pbx.example", 0, SIP_TRANSP_UDP, 1);
	expect(&res, "10.0.0.1:5061 10.0.0.1:5062 10.0.0.1:5060");
}


static void naptr_zone(void)
{
	naptr("pbx.example", 60, 10, 1, "s", "SIPS+D2T", "_sips._tcp.x.example");
	naptr("pbx.example", 60, 30, 0, "s", "SIP+D2T", "_sip._tcp.y.example");
	naptr("pbx.example", 60, 20, 2, "s", "SIP+D2T", "_sip._tcp.y.example");
	naptr("pbx.example", 60, 20, 1, "S", "sip+d2t", "_sip._tcp.x.example");
	naptr("pbx.example", 60, 1, 1, "u", "SIP+D2T", "_sip._tcp.y.example");
	naptr("pbx.example", 60, 1, 1, "a", "SIP+D2T", "y.example");
	service("_sip._tcp.x.example", 60, 1, 1, 5070, "a.example");
	service("_sip._tcp.y.example", 60, 1, 1, 5071, "b.example");
	service("_sip._udp.pbx.example", 60, 1, 1, 5072, "b.example");
	addr("a.example", 60, "10.0.0.1");
	addr("b.example", 60, "10.0.0.2");
}


static void test_naptr(void **state)
{
	struct result res;
	(void)state;

	naptr_zone();

	res = look("pbx.example", 0, SIP_TRANSP_TCP, 2);
	expect(&res, "10.0.0.1:5070");
	assert_true(asked("NAPTR pbx.example"));
	assert_false(asked("SRV _sip._tcp.pbx.example"));

	/* it never changes the transport */
	res = look("pbx.example", 0, SIP_TRANSP_UDP, 2);
	expect(&res, "10.0.0.2:5072");
	assert_true(asked("SRV _sip._udp.pbx.example"));

	srv.additional = true;
	dnsc = mem_deref(dnsc);     /* and its cache */
	assert_int_equal(0, dnsc_alloc(&dnsc, NULL, &srv.addr, 1));
	res = look("pbx.example", 0, SIP_TRANSP_TCP, 2);
	expect(&res, "10.0.0.1:5070");
	assert_false(asked("SRV _sip._tcp.x.example"));
	assert_false(asked("A a.example"));
}


static void test_naptr_missing(void **state)
{
	struct result res;
	(void)state;

	service("_sip._tcp.pbx.example", 60, 1, 1, 5070, "a.example");
	addr("a.example", 60, "10.0.0.1");

	res = look("pbx.example", 0, SIP_TRANSP_TCP, 2);
	expect(&res, "10.0.0.1:5070");
	assert_true(asked("NAPTR pbx.example"));

	/* and no SRV record either */
	addr("other.example", 60, "10.0.0.2");
	res = look("other.example", 0, SIP_TRANSP_TCP, 2);
	expect(&res, "10.0.0.2:5060");

	/* it leads to a name that is not there */
	naptr("third.example", 60, 1, 1, "s", "SIP+D2T", "_sip._tcp.gone");
	addr("third.example", 60, "10.0.0.3");
	res = look("third.example", 0, SIP_TRANSP_TCP, 2);
	expect(&res, "10.0.0.3:5060");
}


static void test_cname(void **state)
{
	struct result res;
	(void)state;

	cname("pbx.example", 50, "one.example");
	cname("one.example", 40, "TWO.example");
	addr("two.example", 60, "10.0.0.1");
	addr("two.example", 60, "fd00::1");

	res = look("pbx.example", 5060, SIP_TRANSP_UDP, 1);
	expect(&res, "10.0.0.1:5060 [fd00::1]:5060");
	assert_int_equal(40000, res.t.ttl_ms);

	/* an alias of a service */
	cname("_sip._udp.pbx.example", 30, "_sip._udp.two.example");
	service("_sip._udp.two.example", 60, 1, 1, 5070, "two.example");
	res = look("pbx.example", 0, SIP_TRANSP_UDP, 1);
	expect(&res, "10.0.0.1:5070 [fd00::1]:5070");
	assert_int_equal(30000, res.t.ttl_ms);
}


static void test_cname_endless(void **state)
{
	struct result res;
	(void)state;

	cname("a.example", 60, "b.example");
	cname("b.example", 60, "a.example");
	res = look("a.example", 5060, SIP_TRANSP_UDP, 1);
	expect_error(&res, ENOENT);

	cname("self.example", 60, "self.example");
	res = look("self.example", 0, SIP_TRANSP_UDP, 1);
	expect_error(&res, ENOENT);

	cname("dangling.example", 60, "nowhere.example");
	res = look("dangling.example", 0, SIP_TRANSP_UDP, 0);
	expect_error(&res, ENOENT);
}


static void test_ttl(void **state)
{
	struct result res;
	(void)state;

	addr("zero.example", 0, "10.0.0.1");
	res = look("zero.example", 5060, SIP_TRANSP_UDP, 1);
	assert_int_equal(1000, res.t.ttl_ms);

	addr("year.example", 365 * 86400, "10.0.0.1");
	res = look("year.example", 5060, SIP_TRANSP_UDP, 1);
	assert_int_equal(86400000, res.t.ttl_ms);

	/* the least of all that was used */
	naptr("pbx.example", 500, 1, 1, "s", "SIP+D2U", "_sip._udp.x.example");
	service("_sip._udp.x.example", 400, 1, 1, 5060, "a.example");
	addr("a.example", 300, "10.0.0.1");
	addr("a.example", 200, "10.0.0.2");
	addr("a.example", 100, "fd00::1");
	addr("b.example", 5, "10.0.0.3");
	res = look("pbx.example", 0, SIP_TRANSP_UDP, 2);
	assert_int_equal(100000, res.t.ttl_ms);

	naptr("z.example", 40, 1, 1, "s", "SIP+D2U", "_sip._udp.x.example");
	res = look("z.example", 0, SIP_TRANSP_UDP, 2);
	assert_int_equal(40000, res.t.ttl_ms);

	zone_clear();
	service("_sip._udp.y.example", 50, 1, 1, 5060, "a.example");
	addr("a.example", 300, "10.0.0.1");
	res = look("y.example", 0, SIP_TRANSP_UDP, 1);
	assert_int_equal(50000, res.t.ttl_ms);
}


static void test_useless_addresses(void **state)
{
	struct result res;
	(void)state;

	addr("blocked.example", 60, "0.0.0.0");
	addr("blocked.example", 60, "::");
	res = look("blocked.example", 5060, SIP_TRANSP_UDP, 1);
	expect_error(&res, ENOENT);

	addr("twice.example", 60, "10.0.0.1");
	addr("twice.example", 60, "10.0.0.1");
	addr("twice.example", 60, "0.0.0.0");
	res = look("twice.example", 5060, SIP_TRANSP_UDP, 1);
	expect(&res, "10.0.0.1:5060");
}


/* ---- What goes wrong -------------------------------------------------- */


static void test_not_found(void **state)
{
	struct result res;
	unsigned query_type;
	(void)state;

	for (query_type=0; query_type<3; query_type++) {
		res = look("nowhere.example", 0, SIP_TRANSP_UDP, query_type);
		expect_error(&res, ENOENT);
		assert_true(res.ms < 500);
	}

	/* the name is there, an address is not */
	service("nodata.example", 60, 1, 1, 1, "x.example");
	res = look("nodata.example", 5060, SIP_TRANSP_UDP, 1);
	expect_error(&res, ENOENT);
}


static void test_rcode(void **state)
{
	struct result res;
	(void)state;

	addr("pbx.example", 60, "10.0.0.1");
	addr("pbx.example", 60, "fd00::1");

	srv.fail_rcode = DNS_RCODE_SRV_FAIL;
	res = look("pbx.example", 0, SIP_TRANSP_UDP, 2);
	expect_error(&res, EPROTO);

	srv.fail_rcode = DNS_RCODE_REFUSED;
	res = look("pbx.example", 0, SIP_TRANSP_UDP, 1);
	expect_error(&res, EPROTO);

	/* not found in one family, failed in the other: it may exist */
	srv.fail_type = DNS_TYPE_AAAA;
	res = look("nowhere.example", 5060, SIP_TRANSP_UDP, 1);
	expect_error(&res, EPROTO);

	/* what there is counts */
	res = look("pbx.example", 5060, SIP_TRANSP_UDP, 1);
	expect(&res, "10.0.0.1:5060");
}


static void test_dead(void **state)
{
	struct result res;
	unsigned query_type;
	(void)state;

	srv.drop = 100;

	for (query_type=0; query_type<3; query_type++) {
		res = look_for("pbx.example", 0, SIP_TRANSP_UDP, query_type,
			       200);
		expect_error(&res, ETIMEDOUT);
		assert_in_range(res.ms, 190, 500);
	}
}


static void test_lost_question(void **state)
{
	struct result res;
	(void)state;

	addr("pbx.example", 60, "10.0.0.1");
	addr("pbx.example", 60, "fd00::1");
	srv.drop = 1;

	res = look("pbx.example", 5060, SIP_TRANSP_UDP, 1);
	expect(&res, "10.0.0.1:5060 [fd00::1]:5060");
	assert_in_range(res.ms, 400, 900);
}


static void test_silent_family(void **state)
{
	struct result res;
	(void)state;

	addr("pbx.example", 600, "10.0.0.1");
	addr("pbx.example", 600, "fd00::1");
	srv.silent = DNS_TYPE_AAAA;

	/* not so long that it would cost a time-out, and asked again soon */
	res = look("pbx.example", 5060, SIP_TRANSP_UDP, 1);
	expect(&res, "10.0.0.1:5060");
	assert_in_range(res.ms, 900, 1500);
	assert_int_equal(10000, res.t.ttl_ms);

	/* no address yet, nothing to go on with */
	res = look_for("nowhere.example", 5060, SIP_TRANSP_UDP, 1, 300);
	expect_error(&res, ETIMEDOUT);
}


/* Ten servers, and a name server that never answers for IPv6 */
static void test_silent_family_many(void **state)
{
	struct result res;
	char name[32], ip[32];
	unsigned i;
	(void)state;

	for (i=0; i<10; i++) {
		(void)re_snprintf(name, sizeof(name), "host%u.example", i);
		(void)re_snprintf(ip, sizeof(ip), "10.0.0.%u", i + 1);
		service("_sip._udp.pbx.example", 60, (uint16_t)i, 0, 5060,
			name);
		addr(name, 60, ip);
	}
	srv.silent = DNS_TYPE_AAAA;

	res = look("pbx.example", 0, SIP_TRANSP_UDP, 1);
	assert_int_equal(10, res.t.n);
	for (i=0; i<10; i++)
		assert_int_equal(i + 1, sa_in(&res.t.v[i]) & 0xff);
	assert_in_range(res.ms, 900, 1500);
}


static void test_partial(void **state)
{
	struct result res;
	(void)state;

	srv_zone();
	srv.silent_for = "a.example";

	/* the best one is worth the wait, but not more */
	res = look_for("pbx.example", 0, SIP_TRANSP_TCP, 1, 300);
	expect(&res, "[fd00::b]:5062 10.0.0.30:5063");
	assert_in_range(res.ms, 290, 600);
	assert_int_equal(10000, res.t.ttl_ms);
}


static void test_bounds(void **state)
{
	struct result res;
	char name[32], ip[32];
	unsigned i, k;
	(void)state;

	for (i=0; i<30; i++) {
		(void)re_snprintf(name, sizeof(name), "host%u.example", i);
		service("_sip._udp.pbx.example", 60, (uint16_t)(30 - i), 0,
			5060, name);
		for (k=0; k<3; k++) {
			(void)re_snprintf(ip, sizeof(ip), "10.0.%u.%u", k + 1,
					  30 - i);
			addr(name, 60, ip);
		}
	}
	srv.hold = 20;

	res = look("pbx.example", 0, SIP_TRANSP_UDP, 1);
	assert_int_equal(AA_TARGETS_MAX, res.t.n);
	assert_int_equal(1, sa_in(&res.t.v[0]) & 0xff);
	assert_int_equal(6, sa_in(&res.t.v[15]) & 0xff);
	assert_in_range(srv.held_most, 2, 8);
	assert_true(srv.questionc <= 1 + 2 * AA_TARGETS_MAX);
}


static void test_no_server(void **state)
{
	struct result res;
	struct sa sa;
	(void)state;

	memset(&res, 0, sizeof(res));

	dnsc = mem_deref(dnsc);
	assert_int_equal(0, dnsc_alloc(&dnsc, NULL, NULL, 0));
	assert_int_equal(ENOTSUP, aa_resolve(&res.resolve, dnsc, "a.example",
					     0, SIP_TRANSP_UDP, 2, 100,
					     resolve_handler, &res));
	assert_null(res.resolve);

	/* broadcast: the kernel refuses to send */
	dnsc = mem_deref(dnsc);
	assert_int_equal(0, sa_set_str(&sa, "255.255.255.255", 53));
	assert_int_equal(0, dnsc_alloc(&dnsc, NULL, &sa, 1));
	assert_int_not_equal(0, aa_resolve(&res.resolve, dnsc, "a.example", 0,
					   SIP_TRANSP_UDP, 1, 100,
					   resolve_handler, &res));
	assert_null(res.resolve);

	loop_for(150);
	assert_int_equal(0, res.calls);
}


/* ---- Life and death --------------------------------------------------- */


static void test_cancel(void **state)
{
	struct result res;
	uint32_t ms;
	unsigned i;
	(void)state;

	srv_zone();
	memset(&res, 0, sizeof(res));

	/* at each stage: before the first answer, between, and at the end */
	for (ms=0; ms<40; ms+=4) {
		dnsc = mem_deref(dnsc);
		assert_int_equal(0, dnsc_alloc(&dnsc, NULL, &srv.addr, 1));
		srv.hold = 10;

		assert_int_equal(0, aa_resolve(&res.resolve, dnsc,
					       "pbx.example", 0,
					       SIP_TRANSP_TCP, 1, 1000,
					       resolve_handler, &res));
		loop_for(ms);
		if (!res.resolve)
			break;

		res.resolve = mem_deref(res.resolve);
		assert_int_equal(0, res.calls);
		loop_for(30);
		assert_int_equal(0, res.calls);
	}

	assert_true(ms >= 16);
	res.resolve = mem_deref(res.resolve);

	/* and at once */
	for (i=0; i<3; i++) {
		assert_int_equal(0, aa_resolve(&res.resolve, dnsc,
					       "other.example", 0,
					       SIP_TRANSP_TCP, i, 1000,
					       resolve_handler, &res));
		res.resolve = mem_deref(res.resolve);
	}
}


struct again {
	struct result res;
	unsigned left;
};


static void again_handler(int err, const struct aa_targets *t, void *arg)
{
	struct again *again = arg;

	assert_int_equal(0, err);
	assert_int_equal(5, t->n);
	assert_null(again->res.resolve);
	++again->res.calls;

	if (!again->left--) {
		re_cancel();
		return;
	}

	assert_int_equal(0, aa_resolve(&again->res.resolve, dnsc,
				       "pbx.example", 0, SIP_TRANSP_TCP, 1,
				       TIMEOUT_MS, again_handler, again));
}


static void test_again_from_handler(void **state)
{
	struct again again;
	(void)state;

	srv_zone();
	memset(&again, 0, sizeof(again));
	again.left = 5;

	assert_int_equal(0, aa_resolve(&again.res.resolve, dnsc, "pbx.example",
				       0, SIP_TRANSP_TCP, 1, TIMEOUT_MS,
				       again_handler, &again));
	loop();
	assert_int_equal(6, again.res.calls);
	assert_null(again.res.resolve);
}


static struct result twin[2];


static void twin_handler(int err, const struct aa_targets *t, void *arg)
{
	(void)err;
	(void)t;
	(void)arg;

	/* the first one ends the other */
	++twin[0].calls;
	twin[0].resolve = mem_deref(twin[0].resolve);
	twin[1].resolve = mem_deref(twin[1].resolve);
}


static void test_end_other_from_handler(void **state)
{
	unsigned i;
	(void)state;

	memset(twin, 0, sizeof(twin));
	srv_zone();

	for (i=0; i<2; i++)
		assert_int_equal(0, aa_resolve(&twin[i].resolve, dnsc,
					       "pbx.example", 0,
					       SIP_TRANSP_TCP, 1, TIMEOUT_MS,
					       twin_handler, &twin[i]));
	loop_for(100);
	assert_int_equal(1, twin[0].calls);
}


/* baresip may end its DNS client first */
static void test_client_freed(void **state)
{
	struct result res;
	(void)state;

	memset(&res, 0, sizeof(res));
	srv_zone();
	srv.silent_for = "a.example";

	assert_int_equal(0, aa_resolve(&res.resolve, dnsc, "pbx.example", 0,
				       SIP_TRANSP_TCP, 1, TIMEOUT_MS,
				       resolve_handler, &res));
	loop_for(50);
	assert_non_null(res.resolve);

	dnsc = mem_deref(dnsc);
	assert_int_equal(0, res.calls);
	assert_non_null(res.resolve);

	loop();
	assert_int_equal(1, res.calls);
	expect(&res, "[fd00::b]:5062 10.0.0.30:5063");

	/* with nothing known yet */
	memset(&res, 0, sizeof(res));
	srv.drop = 100;
	assert_int_equal(0, dnsc_alloc(&dnsc, NULL, &srv.addr, 1));
	assert_int_equal(0, aa_resolve(&res.resolve, dnsc, "x.example", 5060,
				       SIP_TRANSP_TCP, 1, TIMEOUT_MS,
				       resolve_handler, &res));
	dnsc = mem_deref(dnsc);
	loop();
	expect_error(&res, ECONNABORTED);

	/* and the owner ends it in between */
	memset(&res, 0, sizeof(res));
	assert_int_equal(0, dnsc_alloc(&dnsc, NULL, &srv.addr, 1));
	assert_int_equal(0, aa_resolve(&res.resolve, dnsc, "x.example", 5060,
				       SIP_TRANSP_TCP, 1, TIMEOUT_MS,
				       resolve_handler, &res));
	dnsc = mem_deref(dnsc);
	res.resolve = mem_deref(res.resolve);
	loop_for(20);
	assert_int_equal(0, res.calls);
}


static void test_broken_answers(void **state)
{
	struct result res;
	unsigned i;
	(void)state;

	srv_zone();
	srv.additional = true;

	/* cut off at every byte */
	for (i=13; i<420; i+=7) {
		srv.cut = i;
		res = look_for("pbx.example", 0, SIP_TRANSP_TCP, 1, 15);
		assert_true(!res.err || res.err == ETIMEDOUT ||
			    res.err == EBADMSG || res.err == EINVAL ||
			    res.err == ENOENT);
	}

	/* and changed by chance */
	srv.cut = 0;
	for (i=0; i<200; i++) {
		srv.mutate = 1 + i % 8;
		dnsc = mem_deref(dnsc);
		assert_int_equal(0, dnsc_alloc(&dnsc, NULL, &srv.addr, 1));
		res = look_for("pbx.example", 0, SIP_TRANSP_TCP, 1, 15);
		assert_true(res.err || res.t.n);
	}
}


/* A name server that is silent is given up in time */
static void test_clock_put_back(void **state)
{
	struct result res;
	(void)state;

	memset(&res, 0, sizeof(res));
	srv.silent_for = "a.example";

	assert_int_equal(0, aa_resolve(&res.resolve, dnsc, "a.example", 5060,
				       SIP_TRANSP_UDP, 1, 100, resolve_handler,
				       &res));
	loop_clock_set(-3600, 5);

	assert_int_equal(1, res.calls);
	expect_error(&res, ETIMEDOUT);
}


static void test_strerror(void **state)
{
	(void)state;

	assert_string_equal("", aa_resolve_strerror(0));
	assert_string_equal("name not found", aa_resolve_strerror(ENOENT));
	assert_string_equal("no answer from the name server",
			    aa_resolve_strerror(ETIMEDOUT));
	assert_string_equal("name lookup failed", aa_resolve_strerror(EIO));
}


int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_refused),
		T(test_port),
		T(test_addresses_only),
		T(test_one_family),
		T(test_srv_names),
		T(test_srv_missing),
		T(test_srv_too_long),
		T(test_srv_priority),
		T(test_srv_additional),
		T(test_srv_some_dead),
		T(test_srv_weight),
		T(test_srv_weightless),
		T(test_srv_no_service),
		T(test_srv_same_target),
		T(test_naptr),
		T(test_naptr_missing),
		T(test_cname),
		T(test_cname_endless),
		T(test_ttl),
		T(test_useless_addresses),
		T(test_not_found),
		T(test_rcode),
		T(test_dead),
		T(test_lost_question),
		T(test_silent_family),
		T(test_silent_family_many),
		T(test_partial),
		T(test_bounds),
		T(test_no_server),
		T(test_cancel),
		T(test_again_from_handler),
		T(test_end_other_from_handler),
		T(test_client_freed),
		T(test_broken_answers),
		T(test_clock_put_back),
		T(test_strerror),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
