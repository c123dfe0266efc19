/**
 * @file digest.c  Which challenges are answered
 *
 * A server may send several challenges, one for each algorithm that it knows,
 * the best first (RFC 8760 2.4).  libre gives up at the first that it does
 * not know, and takes every `qop` for `auth`.  So it is shown only those that
 * it can answer, and of each realm the best one.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <re.h>
#include "compat.h"
#include "digest.h"


enum {
	REALMS_MAX = 8          /* more in one response are not looked at   */
};


/** Challenges of one response */
struct choice {
	struct aa_digest_state *ds;
	struct {
		struct pl realm;
		enum sip_hdrid id;
		enum aa_digest alg;
		struct sip_hdr *hdr;
	} v[REALMS_MAX];
	size_t n;
	struct sip_hdr *hide;   /* not answered                             */
};


static enum aa_digest algorithm(const struct pl *pl)
{
	/* RFC 7616 3.3: MD5 where nothing is said */
	if (!pl_isset(pl) || 0 == pl_strcasecmp(pl, "md5"))
		return AA_DIGEST_MD5;

	if (AA_LIBRE_SHA256 && 0 == pl_strcasecmp(pl, "sha-256"))
		return AA_DIGEST_SHA256;

	return AA_DIGEST_NONE;
}


/* A list of words; none at all is the oldest way (RFC 2069) */
static bool has_auth(const struct pl *qop)
{
	struct pl left = *qop, word;

	if (!pl_isset(qop))
		return true;

	while (0 == re_regex(left.p, left.l, "[^, \t]+", &word)) {
		if (0 == pl_strcasecmp(&word, "auth"))
			return true;

		left.l -= (size_t)(word.p + word.l - left.p);
		left.p  = word.p + word.l;
	}

	return false;
}


static bool usable(struct aa_digest_state *ds, enum aa_digest *alg,
		   struct httpauth_digest_chall *ch, const struct sip_hdr *hdr)
{
	if (httpauth_digest_challenge_decode(ch, &hdr->val)) {
		str_ncpy(ds->why, "asks for something other than digest",
			 sizeof(ds->why));
		return false;
	}

	*alg = algorithm(&ch->algorithm);
	if (!*alg) {
		(void)re_snprintf(ds->why, sizeof(ds->why),
				  "asks for digest with %b",
				  ch->algorithm.p, MIN(ch->algorithm.l, 32));
		return false;
	}

	if (!has_auth(&ch->qop)) {
		(void)re_snprintf(ds->why, sizeof(ds->why),
				  "asks for digest with qop %b", ch->qop.p,
				  MIN(ch->qop.l, 32));
		return false;
	}

	if (*alg < ds->best) {
		str_ncpy(ds->why, "asks for MD5 after SHA-256",
			 sizeof(ds->why));
		return false;
	}

	return true;
}


/* Called again and again until there is nothing to be hidden any more */
static bool chall_handler(const struct sip_hdr *hdr,
			  const struct sip_msg *msg, void *arg)
{
	struct choice *c = arg;
	struct httpauth_digest_chall ch;
	struct sip_hdr *h = (struct sip_hdr *)(uintptr_t)hdr;
	enum aa_digest alg;
	size_t i;
	(void)msg;

	c->hide = h;

	if (!usable(c->ds, &alg, &ch, hdr))
		return true;

	for (i=0; i<c->n; i++) {
		if (c->v[i].hdr == h)
			return false;

		if (c->v[i].id != hdr->id ||
		    pl_casecmp(&c->v[i].realm, &ch.realm))
			continue;

		/* the server's order counts among equals */
		if (alg <= c->v[i].alg)
			return true;

		c->hide = c->v[i].hdr;
		c->v[i].hdr = h;
		c->v[i].alg = alg;
		return true;
	}

	if (c->n >= REALMS_MAX)
		return true;

	c->v[c->n].realm = ch.realm;
	c->v[c->n].id    = hdr->id;
	c->v[c->n].alg   = alg;
	c->v[c->n].hdr   = h;
	++c->n;

	return false;
}


/**
 * Take the challenges of a 401 or 407 that can be answered
 *
 * Nothing weaker than what this server was once answered with counts: whoever
 * takes the strong challenge away on the wire gains nothing (RFC 8760 5).
 *
 * @param ds   What the server has asked for so far; `why` is set where none
 *             can be answered, and empty otherwise
 * @param auth Authentication state of the requests to it
 * @param msg  SIP response; challenges that cannot be answered are taken out
 *
 * @return 0 if success, EAUTH if there is none, otherwise errorcode
 */
int aa_digest_answer(struct aa_digest_state *ds, struct sip_auth *auth,
		     const struct sip_msg *msg)
{
	static const enum sip_hdrid idv[2] = {
		SIP_HDR_WWW_AUTHENTICATE, SIP_HDR_PROXY_AUTHENTICATE
	};
	struct choice c;
	size_t i;
	int err;

	if (!ds || !auth || !msg)
		return EINVAL;

	memset(&c, 0, sizeof(c));
	c.ds = ds;
	ds->why[0] = '\0';

	for (i=0; i<ARRAY_SIZE(idv); i++) {
		while (sip_msg_hdr_apply(msg, true, idv[i], chall_handler,
					 &c)) {
			/* libre's table holds a reference of its own; the
			   message keeps another one in its list */
			hash_unlink(&c.hide->he);
			mem_deref(c.hide);
		}
	}

	if (!c.n) {
		if (!ds->why[0])
			str_ncpy(ds->why, "has no challenge",
				 sizeof(ds->why));
		return EAUTH;
	}

	ds->why[0] = '\0';

	err = sip_auth_authenticate(auth, msg);
	if (err)
		return err;

	for (i=0; i<c.n; i++)
		ds->best = MAX(ds->best, c.v[i].alg);
	(void)pl_strcpy(&c.v[0].realm, ds->realm, sizeof(ds->realm));

	return 0;
}
