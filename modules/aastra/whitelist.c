/**
 * @file whitelist.c  `sip whitelist`: calls from the lines' servers only
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <re.h>
#include "aastra_baresip.h"
#include "compat.h"
#include "flow.h"
#include "account.h"
#include "line.h"
#include "whitelist.h"


/*
 * An account that is no line: the key does not concern it.  As baresip does,
 * the user of the Contact is looked for first, and then that of the account:
 * whoever knows no more than the phone's address calls that one.
 */
static bool is_other_account(const struct aa_phone *phone,
			     const struct pl *user)
{
	struct le *le;

	for (le = list_head(uag_list()); le; le = le->next) {
		struct ua *ua = le->data;

		if (!pl_strcasecmp(user, ua_local_cuser(ua)))
			return !aa_line_find_ua(phone, ua);
	}

	/* one that cannot be seen */
	for (le = list_head(&phone->linel); le; le = le->next) {
		const struct aa_line *line = le->data;

		if (aa_account_has_cuser(line->acc, user))
			return false;
	}

	for (le = list_head(uag_list()); le; le = le->next) {
		struct ua *ua = le->data;

		if (!pl_casecmp(user, &account_luri(ua_account(ua))->user))
			return !aa_line_find_ua(phone, ua);
	}

	return false;
}


/**
 * May a request begin a call?
 *
 * @param phone What all lines share
 * @param msg   SIP request
 *
 * @return true if it begins none, comes from a server of the lines, or is for
 *         an account that is no line
 */
bool aa_whitelist_allows(const struct aa_phone *phone,
			 const struct sip_msg *msg)
{
	if (pl_strcmp(&msg->met, "INVITE") || pl_isset(&msg->to.tag))
		return true;

	return aa_flow_is_server(&phone->flowl, &msg->src) ||
		is_other_account(phone, &msg->uri.user);
}
