/**
 * @file fuzz_digest.c  Any bytes as the challenges of a server
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * The input is the headers of 401 responses, cut at form feeds, which come
 * one after the other.  The password is never in the answer, and what was
 * once answered with SHA-256 is never answered with MD5 again.
 */
#include <stdlib.h>
#include <string.h>
#include <re.h>
#include "compat.h"
#include "digest.h"
#include "fuzz.h"


enum {
	RESPONSES   = 4,
	ANSWERS_MAX = 8         /* to one response                          */
};


/* libre 1.x has it, but does not declare it */
int sip_auth_encode(struct mbuf *mb, struct sip_auth *auth, const char *met,
		    const char *uri);


static const char secret[] = "onlyTheLineKnows";


static int auth_handler(char **user, char **pass, const char *realm, void *arg)
{
	(void)arg;
	REQUIRE(realm);

	return str_dup(user, "100") | str_dup(pass, secret);
}


static void check_answer(const struct aa_digest_state *ds, struct mbuf *mb)
{
	const char *p;
	size_t n = 0;

	mb->pos = mb->end;
	REQUIRE(!mbuf_write_u8(mb, 0));
	REQUIRE(!strstr((char *)mb->buf, secret));

	for (p = (char *)mb->buf; (p = strstr(p, "uthorization: ")); p++)
		++n;
	REQUIRE(n <= ANSWERS_MAX * RESPONSES);
	REQUIRE(ds->best != AA_DIGEST_NONE);
	REQUIRE(!ds->why[0]);
}


static void response(struct aa_digest_state *ds, struct sip_auth *auth,
		     const uint8_t *p, size_t l)
{
	const enum aa_digest best = ds->best;
	struct mbuf *mb = mbuf_alloc(l + 256), *out = mbuf_alloc(512);
	struct sip_msg *msg = NULL;

	REQUIRE(mb && out);
	REQUIRE(!mbuf_write_str(mb, "SIP/2.0 401 Unauthorized\r\n"
				"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"
				"\r\nFrom: <sip:100@x>;tag=1\r\n"
				"To: <sip:100@x>;tag=2\r\nCall-ID: 1\r\n"
				"CSeq: 1 REGISTER\r\n"));
	if (l)
		REQUIRE(!mbuf_write_mem(mb, p, l));
	REQUIRE(!mbuf_write_str(mb, "\r\n\r\n"));
	mb->pos = 0;

	if (!sip_msg_decode(&msg, mb)) {
		if (!aa_digest_answer(ds, auth, msg)) {
			if (!sip_auth_encode(out, auth, "REGISTER", "sip:x"))
				check_answer(ds, out);
		}
		REQUIRE(ds->best >= best);
		REQUIRE(memchr(ds->why, '\0', sizeof(ds->why)));
		REQUIRE(memchr(ds->realm, '\0', sizeof(ds->realm)));
	}

	mem_deref(msg);
	mem_deref(out);
	mem_deref(mb);
}


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *p = data, *end = data + size;
	struct aa_digest_state ds;
	struct sip_auth *auth = NULL;
	int i;

	/* a server that knows it already */
	if (memmem(data, size, secret, strlen(secret)))
		return 0;

	fuzz_random_begin();
	memset(&ds, 0, sizeof(ds));
	REQUIRE(!sip_auth_alloc(&auth, auth_handler, NULL, false));

	for (i=0; i<RESPONSES && p<end; i++) {
		const uint8_t *ff = memchr(p, '\f', (size_t)(end - p));
		const uint8_t *stop = ff ? ff : end;

		response(&ds, auth, p, (size_t)(stop - p));
		p = stop + (ff ? 1 : 0);
	}

	mem_deref(auth);

	return 0;
}
