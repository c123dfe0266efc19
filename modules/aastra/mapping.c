/**
 * @file mapping.c  Asks a SIP server by STUN how it sees our UDP socket
 *
 * RFC 5626 4.4.2: a server with outbound support answers STUN (RFC 5389) on
 * its SIP port.  libre has a STUN client for this, but it takes 39.5 seconds
 * to give up and does not tell what it learnt, so this is one of our own: a
 * Binding request, sent through the SIP stack's socket, as the mapping is
 * that socket's, and the answer taken before the stack sees it.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <re.h>
#include "timer.h"
#include "mapping.h"


enum {
	RTO_MS   = 500,         /* RFC 5389 7.2.1, doubles each time        */
	BUF_SIZE = 64,
	LAYER    = -10          /* below whatever else may be on the socket */
};


struct aa_mapping {
	struct sip *sip;
	struct udp_helper *uh;
	struct sa dst;
	uint8_t tid[STUN_TID_SIZE];
	struct aa_tmr tmr;
	struct aa_tmr tmr_again;
	uint32_t rto;
	aa_mapping_h *h;
	void *arg;
};


static void destructor(void *arg)
{
	struct aa_mapping *m = arg;

	aa_tmr_cancel(&m->tmr);
	aa_tmr_cancel(&m->tmr_again);

	/* The socket holds the helper too, unless it is gone.  Holding the
	   socket instead would keep its port from being opened again. */
	if (m->uh && mem_nrefs(m->uh) > 1)
		mem_deref(m->uh);
	mem_deref(m->uh);
}


/* The one who asked may let go of this: nothing is used after the call */
static void answer(struct aa_mapping *m, int err, const struct sa *mapped)
{
	aa_mapping_h *h = m->h;

	aa_tmr_cancel(&m->tmr);
	aa_tmr_cancel(&m->tmr_again);
	m->h = NULL;

	if (h)
		h(err, mapped, m->arg);
}


static bool recv_handler(struct sa *src, struct mbuf *mb, void *arg)
{
	struct aa_mapping *m = arg;
	struct stun_unknown_attr ua;
	struct stun_msg *msg = NULL;
	struct stun_attr *attr;
	const size_t pos = mb->pos;
	bool ours;

	if (!m->h || !sa_cmp(src, &m->dst, SA_ALL))
		return false;

	/* cheaper than decoding each SIP message as STUN */
	if (mbuf_get_left(mb) < STUN_HEADER_SIZE || mbuf_buf(mb)[0] & 0xfc)
		return false;

	if (stun_msg_decode(&msg, mb, &ua)) {
		mb->pos = pos;
		return false;
	}

	ours = 0 == memcmp(stun_msg_tid(msg), m->tid, sizeof(m->tid));
	if (ours && stun_msg_class(msg) == STUN_CLASS_SUCCESS_RESP) {
		attr = stun_msg_attr(msg, STUN_ATTR_XOR_MAPPED_ADDR);
		if (!attr)
			attr = stun_msg_attr(msg, STUN_ATTR_MAPPED_ADDR);

		answer(m, attr ? 0 : EPROTO, attr ? &attr->v.sa : NULL);
	}
	else if (ours) {
		answer(m, EPROTO, NULL);
	}

	mem_deref(msg);
	mb->pos = pos;

	return ours;
}


static int ask(struct aa_mapping *m)
{
	struct mbuf *mb;
	int err;

	mb = mbuf_alloc(BUF_SIZE);
	if (!mb)
		return ENOMEM;

	err = stun_msg_encode(mb, STUN_METHOD_BINDING, STUN_CLASS_REQUEST,
			      m->tid, NULL, NULL, 0, false, 0x00, 0);
	mb->pos = 0;
	if (!err)
		err = sip_send(m->sip, NULL, SIP_TRANSP_UDP, &m->dst, mb);

	mem_deref(mb);

	return err;
}


static void again_handler(void *arg)
{
	struct aa_mapping *m = arg;

	m->rto *= 2;
	aa_tmr_start(&m->tmr_again, m->rto, again_handler, m);

	/* what cannot be sent is like what is lost: time will tell */
	(void)ask(m);
}


static void timeout_handler(void *arg)
{
	struct aa_mapping *m = arg;

	answer(m, ETIMEDOUT, NULL);
}


/**
 * Ask a SIP server how it sees our UDP socket (RFC 5626 4.4.2, RFC 5389 7)
 *
 * @param mp      Pointer to the question; mem_deref() lets go of it
 * @param sip     SIP stack
 * @param us      Its UDP socket that talks to the server
 * @param dst     Address of the server
 * @param timeout Give up after [ms], at least 1
 * @param h       Called once
 * @param arg     Handler argument
 *
 * @return 0 if success, otherwise errorcode (then the handler is not called)
 */
int aa_mapping_ask(struct aa_mapping **mp, struct sip *sip,
		   struct udp_sock *us, const struct sa *dst,
		   uint32_t timeout, aa_mapping_h *h, void *arg)
{
	struct aa_mapping *m;
	int err;

	if (!mp || !sip || !us || !dst || !timeout || !h)
		return EINVAL;

	m = mem_zalloc(sizeof(*m), destructor);
	if (!m)
		return ENOMEM;

	m->sip = sip;
	m->rto = RTO_MS;
	m->h   = h;
	m->arg = arg;
	sa_cpy(&m->dst, dst);
	rand_bytes(m->tid, sizeof(m->tid));

	err = udp_register_helper(&m->uh, us, LAYER, NULL, recv_handler, m);
	if (err)
		goto out;

	mem_ref(m->uh);

	err = ask(m);
	if (err)
		goto out;

	aa_tmr_start(&m->tmr, timeout, timeout_handler, m);
	aa_tmr_start(&m->tmr_again, m->rto, again_handler, m);

 out:
	if (err)
		mem_deref(m);
	else
		*mp = m;

	return err;
}
