/**
 * @file digest.h  Which challenges are answered
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_DIGEST_H
#define AASTRA_DIGEST_H

/** Algorithms, the stronger ones later */
enum aa_digest {
	AA_DIGEST_NONE = 0,
	AA_DIGEST_MD5,
	AA_DIGEST_SHA256
};

enum {
	AA_DIGEST_REALM = 64    /**< size of a realm that is shown [bytes]  */
};

/** What a server has asked for so far */
struct aa_digest_state {
	enum aa_digest best;    /**< strongest that was answered            */
	char realm[AA_DIGEST_REALM]; /**< latest that was answered          */
	char why[64];           /**< why the latest was not answered        */
};


int  aa_digest_answer(struct aa_digest_state *ds, struct sip_auth *auth,
		      const struct sip_msg *msg);

#endif
