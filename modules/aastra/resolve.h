/**
 * @file resolve.h  From the name of a server to its addresses
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_RESOLVE_H
#define AASTRA_RESOLVE_H

enum {
	AA_TARGETS_MAX = 16     /**< addresses of one name, at most         */
};

struct aa_resolve;

/** What a name stands for, in the order in which it shall be tried */
struct aa_targets {
	struct sa v[AA_TARGETS_MAX]; /**< addresses with ports              */
	size_t n;                    /**< how many                          */
	uint64_t ttl_ms;             /**< so long they may be used [ms]     */
};

/**
 * Handler of the result, called once
 *
 * @param err 0 if success, otherwise errorcode
 * @param t   Addresses, at least one; NULL if err is set
 * @param arg Handler argument
 */
typedef void (aa_resolve_h)(int err, const struct aa_targets *t, void *arg);


int aa_resolve(struct aa_resolve **rp, struct dnsc *dnsc, const char *host,
	       uint16_t port, enum sip_transp tp, unsigned query_type,
	       uint32_t timeout_ms, aa_resolve_h *h, void *arg);
const char *aa_resolve_strerror(int err);

#endif
