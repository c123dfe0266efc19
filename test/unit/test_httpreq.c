/**
 * @file test_httpreq.c  Requests to the page: what they ask for, and who may
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>
#include <re.h>
#include "httpreq.h"


#define TOKEN "correct-horse"


/* "GET /path" and headers with \n between them */
static struct http_msg *message(const char *request, const char *headers)
{
	struct mbuf *mb = mbuf_alloc(512);
	struct http_msg *msg = NULL;

	assert_non_null(mb);
	assert_int_equal(0, mbuf_printf(mb, "%s HTTP/1.1\r\n%s\r\n\r\n",
					request, headers));
	assert_true(aa_httpreq_complete(mb->buf, mb->end));
	assert_false(aa_httpreq_complete(mb->buf, mb->end - 1));
	mb->pos = 0;
	assert_int_equal(0, http_msg_decode(&msg, mb, true));
	mem_deref(mb);

	return msg;
}


static void test_complete(void **state)
{
	static const struct {
		const char *text;
		bool complete;
	} casev[] = {
		{"", false},
		{"\r\n\r\n", false},
		{"\n\n\n\n", false},
		{"GET / HTTP/1.1", false},
		{"GET / HTTP/1.1\r\n", false},
		{"GET / HTTP/1.1\r\n\r", false},
		{"GET / HTTP/1.1\r\n\r\n", true},
		{"GET / HTTP/1.1\n\n", true},
		{"\r\nGET / HTTP/1.1\r\n\r\n", true},
		{"GET / HTTP/1.1\r\nA: b\r\n", false},
		{"GET / HTTP/1.1\r\nA: b\r\n\r\nbody", true},
	};
	size_t i;
	(void)state;

	for (i=0; i<sizeof(casev) / sizeof(casev[0]); i++)
		assert_int_equal(casev[i].complete, aa_httpreq_complete(
			(const uint8_t *)casev[i].text,
			strlen(casev[i].text)));
}


static void test_decode(void **state)
{
	static const struct {
		const char *request, *headers;
		uint16_t scode;
		enum aa_http_what what;
		uint16_t method;
	} casev[] = {
		{"GET /", "Host: h", 0, AA_HTTP_FILE, 0},
		{"HEAD /x", "Host: h", 0, AA_HTTP_FILE, 0},
		{"POST /x", "Host: h", 0, AA_HTTP_FILE, 405},
		{"GET /state?line=7", "Host: h", 0, AA_HTTP_STATE, 0},
		{"GET /state?line=", "Host: h", 400, AA_HTTP_STATE, 0},
		{"GET /state?line=4294967296", "Host: h", 400, AA_HTTP_STATE,
		 0},
		{"GET /state?since=1", "Host: h", 400, AA_HTTP_STATE, 0},
		{"GET /history?line=7&since=1&max=2", "Host: h", 0,
		 AA_HTTP_HISTORY, 0},
		{"GET /history?since=9223372036854775808", "Host: h", 400,
		 AA_HTTP_HISTORY, 0},
		{"GET /metrics", "Host: h", 0, AA_HTTP_METRICS, 0},
		{"GET /events", "Host: h", 0, AA_HTTP_EVENTS, 0},
		{"HEAD /events", "Host: h", 0, AA_HTTP_EVENTS, 405},
		{"GET /command", "Host: h", 0, AA_HTTP_COMMAND, 405},
		{"POST /command", "Host: h", 0, AA_HTTP_COMMAND, 0},
		{"PATCH /command", "Host: h", 0, AA_HTTP_COMMAND, 405},
		{"POST /command", "Host: h\r\nContent-Length: 1025", 413,
		 AA_HTTP_COMMAND, 0},
		{"POST /command", "Host: h\r\nContent-Length: 1e3", 400,
		 AA_HTTP_COMMAND, 0},
		{"POST /command", "Host: h\r\nContent-Length: 1\r\n"
		 "Content-Length: 1", 400, AA_HTTP_COMMAND, 0},
		{"POST /command", "Host: h\r\nTransfer-Encoding: chunked", 411,
		 AA_HTTP_COMMAND, 0},
		{"GET /", "Accept: a", 400, AA_HTTP_FILE, 0},
		{"GET /", "Host: a\r\nHost: a", 400, AA_HTTP_FILE, 0},
	};
	size_t i;
	(void)state;

	for (i=0; i<sizeof(casev) / sizeof(casev[0]); i++) {
		struct http_msg *msg = message(casev[i].request,
					       casev[i].headers);
		struct aa_httpreq req;

		assert_int_equal(casev[i].scode, aa_httpreq_decode(&req, msg));
		assert_int_equal(casev[i].what, req.what);
		assert_int_equal(casev[i].method, aa_httpreq_method(&req));
		mem_deref(msg);
	}
}


static void test_numbers(void **state)
{
	struct http_msg *msg;
	struct aa_httpreq req;
	(void)state;

	msg = message("GET /history?line=7&since=9223372036854775807&max=2",
		      "Host: h");
	assert_int_equal(0, aa_httpreq_decode(&req, msg));
	assert_int_equal(7, req.line);
	assert_true(req.since == INT64_MAX);
	assert_int_equal(2, req.max);
	mem_deref(msg);

	msg = message("GET /events", "Host: h\r\nLast-Event-ID: 42");
	assert_int_equal(0, aa_httpreq_decode(&req, msg));
	assert_true(req.since == 42);
	mem_deref(msg);

	msg = message("POST /command", "Host: h\r\nContent-Length: 1024");
	assert_int_equal(0, aa_httpreq_decode(&req, msg));
	assert_int_equal(1024, req.clen);
	mem_deref(msg);
}


static void test_site(void **state)
{
	static const struct {
		const char *request, *headers;
		uint16_t scode;
	} casev[] = {
		{"POST /command", "Host: a:1", 0},
		{"POST /command", "Host: a:1\r\nOrigin: http://a:1", 0},
		{"POST /command", "Host: a:1\r\nOrigin: https://A:1", 0},
		{"POST /command", "Host: a:1\r\nOrigin: http://a:2", 403},
		{"POST /command", "Host: a:1\r\nOrigin: http://a", 403},
		{"POST /command", "Host: a:1\r\nOrigin: ftp://a:1", 403},
		{"POST /command", "Host: a:1\r\nOrigin: a:1", 403},
		{"POST /command", "Host: a:1\r\nOrigin: null", 403},
		{"POST /command", "Host: a\r\nOrigin: http://a\r\n"
		 "Origin: http://b", 403},
		{"POST /command", "Host: a\r\nSec-Fetch-Site: same-origin", 0},
		{"POST /command", "Host: a\r\nSec-Fetch-Site: none", 0},
		{"POST /command", "Host: a\r\nSec-Fetch-Site: same-site", 403},
		{"POST /command", "Host: a\r\nSec-Fetch-Site: cross-site\r\n"
		 "Sec-Fetch-Mode: navigate", 403},
		{"GET /state", "Host: a\r\nSec-Fetch-Site: cross-site\r\n"
		 "Sec-Fetch-Mode: navigate", 403},
		{"GET /", "Host: a\r\nSec-Fetch-Site: cross-site\r\n"
		 "Sec-Fetch-Mode: navigate", 0},
		{"GET /", "Host: a\r\nSec-Fetch-Site: cross-site\r\n"
		 "Sec-Fetch-Mode: no-cors", 403},
	};
	size_t i;
	(void)state;

	for (i=0; i<sizeof(casev) / sizeof(casev[0]); i++) {
		struct http_msg *msg = message(casev[i].request,
					       casev[i].headers);
		struct aa_httpreq req;

		assert_int_equal(0, aa_httpreq_decode(&req, msg) == 505);
		assert_int_equal(casev[i].scode, aa_httpreq_site(&req, msg));
		mem_deref(msg);
	}
}


static void may(uint16_t scode, const char *headers, const char *token,
		bool always, const char *peer, const char *local)
{
	struct http_msg *msg = message("GET /state", headers);
	struct aa_httpguard g;
	struct sa p, l;

	assert_int_equal(0, sa_set_str(&p, peer, 40000));
	assert_int_equal(0, sa_set_str(&l, local, 8080));
	g.token  = token;
	g.always = always;
	g.peer   = &p;
	g.local  = &l;

	assert_int_equal(scode, aa_httpreq_may(msg, &g));
	mem_deref(msg);
}


static void test_may(void **state)
{
	static const char *oursv[] = {
		"Host: localhost", "Host: LocalHost:1", "Host: 127.0.0.1:8080",
		"Host: 127.9.9.9", "Host: [::1]:8080", "Host: [::1]"
	};
	static const char *theirsv[] = {
		"Host: evil.example", "Host: localhost.evil.example",
		"Host: 127.0.0.1.evil.example", "Host: 10.0.0.1",
		"Host: [::1", "Host: [::1]x", "Host: localhost:x",
		"Host: localhost:99999", "Host: localhost:", "Host: :8080",
		"Host: 127.0.0.1:80:80", "Host: localhost\r\nHost: x"
	};
	static const char *wrongv[] = {
		"Host: a", "Host: localhost",
		"Host: localhost\r\nAuthorization: Bearer",
		"Host: localhost\r\nAuthorization: Bearer x",
		"Host: localhost\r\nAuthorization: Bearer correct-hors",
		"Host: localhost\r\nAuthorization: Bearer correct-horses",
		"Host: localhost\r\nAuthorization: Basic correct-horse",
		"Host: localhost\r\nAuthorization: correct-horse",
		"Host: localhost\r\nCookie: aastra_page=correct-horse",
		"Host: localhost\r\nCookie: aastra_page=",
	};
	static const char bearer[] =
		"Host: any\r\nAuthorization: bearer " TOKEN;
	char cookie[AA_HTTP_COOKIE_SZ], buf[256];
	size_t i;
	(void)state;

	for (i=0; i<sizeof(oursv) / sizeof(oursv[0]); i++) {
		may(0,   oursv[i], "", false, "127.0.0.1", "127.0.0.1");
		may(401, oursv[i], "", false, "10.0.0.9", "10.0.0.5");
		may(401, oursv[i], "", false, "127.0.0.1", "10.0.0.5");
		may(401, oursv[i], TOKEN, true, "127.0.0.1", "127.0.0.1");
	}

	for (i=0; i<sizeof(theirsv) / sizeof(theirsv[0]); i++)
		may(403, theirsv[i], "", false, "127.0.0.1", "127.0.0.1");

	for (i=0; i<sizeof(wrongv) / sizeof(wrongv[0]); i++) {
		may(401, wrongv[i], TOKEN, false, "10.0.0.9", "10.0.0.5");
		may(401, wrongv[i], TOKEN, true, "127.0.0.1", "127.0.0.1");
	}

	may(0, bearer, TOKEN, false, "10.0.0.9", "10.0.0.5");
	may(0, bearer, TOKEN, true, "::1", "::1");
	may(401, bearer, "", false, "10.0.0.9", "10.0.0.5");
	may(401, bearer, NULL, false, "10.0.0.9", "10.0.0.5");
	may(401, bearer, "another-token", false, "10.0.0.9", "10.0.0.5");

	aa_http_cookie(cookie, TOKEN);
	(void)re_snprintf(buf, sizeof(buf),
			  "Host: any\r\nCookie: a=b; aastra_page=%s; c=d",
			  cookie);
	may(0, buf, TOKEN, false, "10.0.0.9", "10.0.0.5");
	may(401, buf, "another-token", false, "10.0.0.9", "10.0.0.5");
	assert_null(strstr(cookie, TOKEN));
}


int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_complete),
		cmocka_unit_test(test_decode),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_site),
		cmocka_unit_test(test_may),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
