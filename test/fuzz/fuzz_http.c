/**
 * @file fuzz_http.c  Any bytes as a request to the page
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * The input goes the way of a request: is its head complete, libre's reader
 * of messages, what is asked for, where a browser says it comes from, who may.
 * Beside what the sanitizers see: nobody who does not know the token is let in
 * from elsewhere, and numbers are in their ranges.
 *
 *   clang -g -fsanitize=fuzzer,address,undefined -I../../modules/aastra \
 *       -I/usr/include/re -DHAVE_INET6 -DHAVE_INTTYPES_H -DHAVE_STDBOOL_H \
 *       -D_GNU_SOURCE -o fuzz_http fuzz_http.c \
 *       ../../modules/aastra/httpreq.c -lre -lcrypto
 *   ./fuzz_http -dict=http.dict -max_len=9000 corpus/http
 */
#include <stdlib.h>
#include <string.h>
#include <re.h>
#include "httpreq.h"
#include "fuzz.h"


static const char token[] = "only-who-knows-this-gets-in";


static bool contains(const uint8_t *data, size_t size, const char *str)
{
	return memmem(data, size, str, strlen(str)) != NULL;
}


static void check_guard(const struct http_msg *msg, const uint8_t *data,
			size_t size)
{
	char cookie[AA_HTTP_COOKIE_SZ];
	struct sa near, far;
	struct aa_httpguard g = {
		.token = token, .peer = &near, .local = &near
	};
	bool knows;

	REQUIRE(!sa_set_str(&near, "127.0.0.1", 8080));
	REQUIRE(!sa_set_str(&far, "192.0.2.1", 40000));

	aa_http_cookie(cookie, token);
	REQUIRE(strlen(cookie) == AA_HTTP_COOKIE_SZ - 1);
	knows = contains(data, size, token) || contains(data, size, cookie);

	/* from elsewhere, and where all need the token */
	g.peer = &far;
	REQUIRE(knows || aa_httpreq_may(msg, &g) == 401);
	g.peer = &near;
	g.always = true;
	REQUIRE(knows || aa_httpreq_may(msg, &g) == 401);

	/* there is none: nobody from elsewhere */
	g.token = "";
	REQUIRE(aa_httpreq_may(msg, &g) == 401);
	g.always = false;
	g.peer = &far;
	REQUIRE(aa_httpreq_may(msg, &g) == 401);

	/* loopback: by a name that nobody else can own */
	g.peer = &near;
	if (http_msg_xhdr_has_value(msg, "Host", "evil.example"))
		REQUIRE(aa_httpreq_may(msg, &g) == 403);
}


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct aa_httpreq req;
	struct http_msg *msg = NULL;
	struct mbuf *mb;
	uint16_t scode;

	if (!aa_httpreq_complete(data, size))
		return 0;

	mb = mbuf_alloc(size);
	REQUIRE(mb && !mbuf_write_mem(mb, data, size));
	mb->pos = 0;

	if (http_msg_decode(&msg, mb, true))
		goto out;

	scode = aa_httpreq_decode(&req, msg);
	REQUIRE(str_isset(aa_http_reason(scode)));
	REQUIRE(req.clen <= AA_HTTP_BODY_MAX);
	REQUIRE(!(req.head && req.post));
	if (!scode) {
		REQUIRE(!req.line || req.what == AA_HTTP_STATE ||
			req.what == AA_HTTP_HISTORY);
		REQUIRE(!req.max || req.what == AA_HTTP_HISTORY);
		REQUIRE(req.since <= INT64_MAX);
	}

	/* nothing changes by a GET, and nothing by another site */
	if (!aa_httpreq_method(&req) &&
	    (req.what == AA_HTTP_COMMAND || req.what == AA_HTTP_LOGIN))
		REQUIRE(req.post);
	if (http_msg_xhdr_has_value(msg, "Origin", "null"))
		REQUIRE(aa_httpreq_site(&req, msg) == 403);

	(void)aa_httpreq_site(&req, msg);
	(void)aa_httpreq_tries(&req, msg);
	check_guard(msg, data, size);

 out:
	mem_deref(msg);
	mem_deref(mb);

	return 0;
}
