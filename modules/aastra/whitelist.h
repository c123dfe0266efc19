/**
 * @file whitelist.h  `sip whitelist`: calls from the lines' servers only
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_WHITELIST_H
#define AASTRA_WHITELIST_H

struct aa_phone;

bool aa_whitelist_allows(const struct aa_phone *phone,
			 const struct sip_msg *msg);

#endif
