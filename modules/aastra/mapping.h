/**
 * @file mapping.h  Asks a SIP server by STUN how it sees our UDP socket
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_MAPPING_H
#define AASTRA_MAPPING_H

struct aa_mapping;

/**
 * Handler of the answer.  The question may be let go of in it.
 *
 * @param err    0 if success, ETIMEDOUT if nothing came, EPROTO if what came
 *               is of no use
 * @param mapped Our address and port as the server sees them, NULL if err
 * @param arg    Handler argument
 */
typedef void (aa_mapping_h)(int err, const struct sa *mapped, void *arg);


int aa_mapping_ask(struct aa_mapping **mp, struct sip *sip,
		   struct udp_sock *us, const struct sa *dst,
		   uint32_t timeout, aa_mapping_h *h, void *arg);

#endif
