/**
 * @file netwatch.h  Hears of the host's links, addresses and routes
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_NETWATCH_H
#define AASTRA_NETWATCH_H

struct aa_netwatch;

/** What happened to the host's network */
enum aa_net {
	AA_NET_UP = 0,          /**< a link, address or route came: what could
				     not be reached perhaps can be          */
	AA_NET_DOWN             /**< a link or address went: what could be
				     reached perhaps cannot                 */
};

/**
 * Handler of changes.  It is called once per kind and 100 ms; of two kinds
 * that waited together the one whose event is the latest comes last.
 *
 * @param what What happened
 * @param arg  Handler argument
 */
typedef void (aa_netwatch_h)(enum aa_net what, void *arg);


int aa_netwatch_alloc(struct aa_netwatch **nwp, aa_netwatch_h *h, void *arg);

#endif
