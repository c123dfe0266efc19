/**
 * @file fuzz_mapping.c  Any bytes as what comes to the socket that asks STUN
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * The input is packets, each behind a byte that says whether it comes from
 * the server (bit 0), carries the transaction-id of the question (bit 1), and
 * how long it is.  Nothing from elsewhere and nothing with another id may
 * count, what is not ours is left as it came, and the answer comes once.
 */
#include <stdlib.h>
#include <string.h>
#include <re.h>

static int fuzz_helper(struct udp_helper **uhp, struct udp_sock *us,
		       int layer, udp_helper_send_h *sh,
		       udp_helper_recv_h *rh, void *arg);
static int fuzz_send(struct sip *sip, void *sock, enum sip_transp tp,
		     const struct sa *dst, struct mbuf *mb);

#define udp_register_helper(uhp, us, layer, sh, rh, arg) \
	fuzz_helper(uhp, us, layer, sh, rh, arg)
#define sip_send(sip, sock, tp, dst, mb) fuzz_send(sip, sock, tp, dst, mb)
#include "../../modules/aastra/mapping.c"
#include "fuzz.h"


enum {
	FROM_SERVER = 1,
	OUR_TID     = 2,
	TID_POS     = 8
};


static struct {
	udp_helper_recv_h *rh;
	void *arg;
	unsigned asked;
	unsigned answers;
	bool server, ours;      /* of the packet under way                  */
} t;


static int fuzz_helper(struct udp_helper **uhp, struct udp_sock *us,
		       int layer, udp_helper_send_h *sh,
		       udp_helper_recv_h *rh, void *arg)
{
	(void)us;
	(void)layer;
	REQUIRE(!sh);

	*uhp  = mem_zalloc(1, NULL);
	t.rh  = rh;
	t.arg = arg;

	return *uhp ? 0 : ENOMEM;
}


static int fuzz_send(struct sip *sip, void *sock, enum sip_transp tp,
		     const struct sa *dst, struct mbuf *mb)
{
	(void)sip;
	(void)sock;
	REQUIRE(tp == SIP_TRANSP_UDP && sa_isset(dst, SA_ALL));
	REQUIRE(mbuf_get_left(mb) >= STUN_HEADER_SIZE);
	++t.asked;

	return 0;
}


void aa_tmr_start(struct aa_tmr *tmr, uint64_t delay, tmr_h *h, void *arg)
{
	REQUIRE(delay && h);
	tmr->h   = h;
	tmr->arg = arg;
}


void aa_tmr_cancel(struct aa_tmr *tmr)
{
	tmr->h = NULL;
}


static void answer_handler(int err, const struct sa *mapped, void *arg)
{
	REQUIRE(arg == &t);
	REQUIRE(!err == !!mapped);
	REQUIRE(t.server && t.ours);
	++t.answers;
}


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int sip, us;
	struct aa_mapping *m = NULL;
	struct sa server, other;

	memset(&t, 0, sizeof(t));
	REQUIRE(!sa_set_str(&server, "192.0.2.1", 5060));
	REQUIRE(!sa_set_str(&other, "192.0.2.2", 5060));

	REQUIRE(!aa_mapping_ask(&m, (struct sip *)(void *)&sip,
				(struct udp_sock *)(void *)&us, &server,
				1000, answer_handler, &t));
	REQUIRE(t.asked == 1);

	while (size >= 2) {
		const uint8_t how = data[0];
		const size_t l = MIN((size_t)data[1] + 1, size - 2);
		struct mbuf *mb = mbuf_alloc(l + 4);
		struct sa *src = how & FROM_SERVER ? &server : &other;
		bool taken;

		REQUIRE(mb);
		mb->pos = mb->end = 4;
		if (l)
			REQUIRE(!mbuf_write_mem(mb, data + 2, l));
		mb->pos = 4;
		data += 2 + l;
		size -= 2 + l;

		if (how & OUR_TID && l >= STUN_HEADER_SIZE)
			memcpy(mb->buf + 4 + TID_POS, m->tid, sizeof(m->tid));
		t.server = src == &server;
		t.ours = l >= STUN_HEADER_SIZE &&
			!memcmp(mb->buf + 4 + TID_POS, m->tid, sizeof(m->tid));

		taken = t.rh(src, mb, t.arg);
		REQUIRE(!taken || (t.server && t.ours));
		REQUIRE(mb->pos == 4 && mb->end == l + 4);
		mem_deref(mb);
	}

	REQUIRE(t.answers <= 1);
	mem_deref(m);

	return 0;
}
