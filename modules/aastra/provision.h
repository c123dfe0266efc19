/**
 * @file provision.h  The phone's files from a server, and the last good copy
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_PROVISION_H
#define AASTRA_PROVISION_H

#include "config.h"

struct aa_provision;

/**
 * Asked to judge what was fetched and is not what was there before, and to
 * take it up
 *
 * @param fetched Files
 * @param arg     Handler argument
 *
 * @return 0 if it is in force now and shall be kept as the last good copy,
 *         otherwise errorcode
 */
typedef int (aa_provision_h)(const struct aa_config_fetched *fetched,
			     void *arg);


int  aa_provision_alloc(struct aa_provision **pvp, const char *conf_path,
			aa_provision_h *h, void *arg);
const struct aa_config_fetched *
	aa_provision_good(const struct aa_provision *pv);
int  aa_provision_start(struct aa_provision *pv, const struct aa_config *cfg,
			const char *cafile);

#endif
