/**
 * @file test_digest.c  Which challenges are answered
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include <re.h>
#include "compat.h"
#include "digest.h"


/* libre 1.x has it, but does not declare it */
int sip_auth_encode(struct mbuf *mb, struct sip_auth *auth, const char *met,
		    const char *uri);


static int auth_handler(char **user, char **pass, const char *realm, void *arg)
{
	(void)realm;
	(void)arg;

	return str_dup(user, "100") | str_dup(pass, "secret");
}


/* A 401 with these headers; what the phone would say to it */
static int answer(struct aa_digest_state *ds, const char *headers,
		  char *auth_hdr, size_t sz)
{
	struct sip_auth *auth = NULL;
	struct sip_msg *msg = NULL;
	struct mbuf *mb = mbuf_alloc(512), *out = mbuf_alloc(512);
	int err;

	assert_non_null(mb);
	assert_non_null(out);
	assert_int_equal(0, mbuf_printf(
		mb, "SIP/2.0 401 Unauthorized\r\n"
		"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
		"From: <sip:100@x>;tag=1\r\nTo: <sip:100@x>;tag=2\r\n"
		"Call-ID: 1\r\nCSeq: 1 REGISTER\r\n%s"
		"Content-Length: 0\r\n\r\n", headers));
	mb->pos = 0;
	assert_int_equal(0, sip_msg_decode(&msg, mb));
	assert_int_equal(0, sip_auth_alloc(&auth, auth_handler, NULL, false));

	err = aa_digest_answer(ds, auth, msg);
	if (!err) {
		assert_int_equal(0, sip_auth_encode(out, auth, "REGISTER",
						    "sip:x"));
		out->pos = 0;
		assert_int_equal(0, mbuf_read_str(out, auth_hdr, MIN(
					 sz, mbuf_get_left(out))));
		auth_hdr[MIN(sz - 1, out->end)] = '\0';
	}

	mem_deref(auth);
	mem_deref(msg);
	mem_deref(out);
	mem_deref(mb);

	return err;
}


#define CHALL(realm, more) \
	"WWW-Authenticate: Digest realm=\"" realm "\", nonce=\"n\"" more "\r\n"


static void test_choice(void **state)
{
	struct aa_digest_state ds;
	char hdr[1024];
	(void)state;

	/* the one that is known, wherever it stands */
	memset(&ds, 0, sizeof(ds));
	assert_int_equal(0, answer(&ds, CHALL("a", ", algorithm=SHA-512-256")
				   CHALL("a", ", algorithm=MD5, opaque=\"o\"")
				   CHALL("a", ", algorithm=MD5-sess"),
				   hdr, sizeof(hdr)));
	assert_non_null(strstr(hdr, "opaque=\"o\""));
	assert_string_equal("", ds.why);
	assert_string_equal("a", ds.realm);
	assert_int_equal(AA_DIGEST_MD5, ds.best);

	/* one answer a realm, and each realm its own */
	memset(&ds, 0, sizeof(ds));
	assert_int_equal(0, answer(&ds, CHALL("a", "") CHALL("b", "")
				   CHALL("a", ", opaque=\"second\""),
				   hdr, sizeof(hdr)));
	assert_non_null(strstr(hdr, "realm=\"a\""));
	assert_non_null(strstr(hdr, "realm=\"b\""));
	assert_null(strstr(hdr, "second"));

	/* a list of ways, in any order */
	memset(&ds, 0, sizeof(ds));
	assert_int_equal(0, answer(&ds, CHALL("a", ", qop=\"auth-int, auth\""),
				   hdr, sizeof(hdr)));
	assert_non_null(strstr(hdr, "qop=auth"));
}


static void test_refused(void **state)
{
	static const struct {
		const char *headers;
		const char *why;
	} v[] = {
		{"", "has no challenge"},
		{"WWW-Authenticate: Basic realm=\"a\"\r\n",
		 "asks for something other than digest"},
		{CHALL("a", ", algorithm=MD5-sess"),
		 "asks for digest with MD5-sess"},
		{CHALL("a", ", qop=\"auth-int\""),
		 "asks for digest with qop auth-int"},
		{CHALL("a", ", qop=\"authority\""),
		 "asks for digest with qop authority"},
	};
	struct aa_digest_state ds;
	char hdr[1024];
	size_t i;
	(void)state;

	for (i=0; i<ARRAY_SIZE(v); i++) {
		memset(&ds, 0, sizeof(ds));
		assert_int_equal(EAUTH, answer(&ds, v[i].headers, hdr,
					       sizeof(hdr)));
		assert_string_equal(v[i].why, ds.why);
		assert_int_equal(AA_DIGEST_NONE, ds.best);
	}
}


static void test_downgrade(void **state)
{
	struct aa_digest_state ds;
	char hdr[1024];
	(void)state;

	memset(&ds, 0, sizeof(ds));
	ds.best = AA_DIGEST_SHA256;
	assert_int_equal(EAUTH, answer(&ds, CHALL("a", ""), hdr,
				       sizeof(hdr)));
	assert_string_equal("asks for MD5 after SHA-256", ds.why);
	assert_int_equal(AA_DIGEST_SHA256, ds.best);

	if (!AA_LIBRE_SHA256)
		return;

	memset(&ds, 0, sizeof(ds));
	assert_int_equal(0, answer(&ds, CHALL("a", ", algorithm=MD5")
				   CHALL("a", ", algorithm=SHA-256"), hdr,
				   sizeof(hdr)));
	assert_non_null(strstr(hdr, "SHA-256"));
	assert_int_equal(AA_DIGEST_SHA256, ds.best);
}


/* More challenges than anybody means */
static void test_many(void **state)
{
	struct aa_digest_state ds;
	char headers[8192], hdr[4096];
	size_t pos = 0, n = 0;
	const char *p;
	int i;
	(void)state;

	for (i=0; i<60; i++) {
		(void)re_snprintf(&headers[pos], sizeof(headers) - pos,
				  "WWW-Authenticate: Digest realm=\"r%d\","
				  " nonce=\"n\"\r\n", i);
		pos += strlen(&headers[pos]);
	}

	memset(&ds, 0, sizeof(ds));
	assert_int_equal(0, answer(&ds, headers, hdr, sizeof(hdr)));

	for (p = hdr; (p = strstr(p, "Authorization")); p++)
		++n;
	assert_int_equal(8, n);
}


int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_downgrade),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
