/**
 * @file reregister.c  For the tests: baresip registers all accounts again
 *
 * baresip 1.0.0 does so by itself when its network changes, and has no command
 * for it.  This module adds one: reregister.  And what `uareg 0` of 4.x does
 * is done for all accounts by: unregister
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <re.h>
#include "aastra_baresip.h"


static int reregister(struct re_printf *pf, void *arg)
{
	struct le *le;
	int err = 0;
	(void)pf;
	(void)arg;

	for (le = list_head(uag_list()); le; le = le->next)
		err |= ua_register(le->data);

	return err;
}


static int unregister(struct re_printf *pf, void *arg)
{
	struct le *le;
	int err = 0;
	(void)pf;
	(void)arg;

	for (le = list_head(uag_list()); le; le = le->next) {
		err |= account_set_regint(ua_account(le->data), 0);
		ua_unregister(le->data);
	}

	return err;
}


/* `uareg 3600` of 4.x */
static int register_anew(struct re_printf *pf, void *arg)
{
	struct le *le;
	int err = 0;

	for (le = list_head(uag_list()); le; le = le->next)
		err |= account_set_regint(ua_account(le->data), 3600);

	return err | reregister(pf, arg);
}


static const struct cmd cmdv[] = {
{"reregister", 0, 0, "Register all accounts again", reregister},
{"unregister", 0, 0, "Unregister all accounts", unregister},
{"registeranew", 0, 0, "Register all accounts after that", register_anew},
};


static int module_init(void)
{
	return cmd_register(baresip_commands(), cmdv,
			    sizeof(cmdv) / sizeof(cmdv[0]));
}


static int module_close(void)
{
	cmd_unregister(baresip_commands(), cmdv);

	return 0;
}


const struct mod_export exports = {
	"reregister",
	"application",
	module_init,
	module_close
};
