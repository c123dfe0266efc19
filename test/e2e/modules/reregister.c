/**
 * @file reregister.c  For the tests: baresip registers all accounts again
 *
 * baresip 1.0.0 does so by itself when its network changes, and has no command
 * for it.  This module adds one: reregister
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


static const struct cmd cmdv[] = {
{"reregister", 0, 0, "Register all accounts again", reregister},
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
