/**
 * @file fuzz_command.c  Any bytes as the arguments of a command
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * The first byte chooses the command.  There are the lines 1 and 2; what the
 * commands do with them is stood in for, and must only be called with what is
 * fit: texts that end, and lines that are there.
 */
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include "../../modules/aastra/command.c"
#include "fuzz.h"


static struct aa_phone phone;
static struct aa_line linev[2];


struct aa_phone *aa_module_phone(void)
{
	return &phone;
}


struct aa_line *aa_line_find(const struct aa_phone *ph, uint32_t n)
{
	REQUIRE(ph == &phone);

	if (n < 1 || n > ARRAY_SIZE(linev))
		return NULL;

	linev[n - 1].cfg.line = n;

	return &linev[n - 1];
}


static bool there(const struct aa_line *line)
{
	return line == &linev[0] || line == &linev[1];
}


void aa_line_mode_set(struct aa_line *line, enum aa_mode mode)
{
	REQUIRE(there(line));
	line->mode = mode;
}


void aa_line_probe(struct aa_line *line)
{
	REQUIRE(there(line));
}


const char *aa_mode_name(enum aa_mode mode)
{
	REQUIRE(mode <= AA_MODE_BACKUP);

	return "mode";
}


int aa_subs_add(struct aa_subs *subs, const char *event, const char *uri)
{
	(void)subs;
	REQUIRE(strlen(event) < 64 && strlen(uri) < 256);
	REQUIRE(event[0] && !strchr(event, ' ') && !strchr(uri, ' '));

	return strlen(uri) & 1 ? EINVAL : 0;
}


int aa_subs_remove(struct aa_subs *subs, const char *event, const char *uri)
{
	return aa_subs_add(subs, event, uri);
}


struct aa_config *aa_lines_config(void)
{
	return NULL;
}


bool aa_lines_facts(uint32_t n, const struct aa_account_facts **factsp)
{
	*factsp = NULL;

	return n <= ARRAY_SIZE(linev);
}


int aa_lines_reload(struct re_printf *pf)
{
	return re_hprintf(pf, "reload");
}


int aa_config_print(struct re_printf *pf, const struct aa_config *cfg,
		    uint32_t line, const struct aa_account_facts *facts)
{
	(void)cfg;
	(void)facts;
	REQUIRE(line <= ARRAY_SIZE(linev));

	return re_hprintf(pf, "config");
}


static int shown(struct re_printf *pf, const struct aa_line *line)
{
	REQUIRE(!line || there(line));

	return re_hprintf(pf, "shown");
}


int aa_table_status(struct re_printf *pf, const struct aa_phone *ph,
		    const struct aa_line *only)
{
	(void)ph;

	return shown(pf, only);
}


int aa_table_history(struct re_printf *pf, const struct aa_phone *ph,
		     uint32_t line)
{
	(void)ph;
	REQUIRE(line <= ARRAY_SIZE(linev));

	return shown(pf, NULL);
}


int aa_status_json(struct re_printf *pf, const struct aa_phone *ph,
		   const struct aa_line *only, bool history)
{
	(void)ph;
	(void)history;

	return shown(pf, only);
}


int aa_explain_print(struct re_printf *pf, const struct aa_line *line)
{
	REQUIRE(line);

	return shown(pf, line);
}


int aa_seen_metrics(struct re_printf *pf)
{
	return shown(pf, NULL);
}


struct commands *baresip_commands(void)
{
	return NULL;
}


int cmd_register(struct commands *commands, const struct cmd *v, size_t c)
{
	(void)commands;
	(void)v;
	(void)c;

	return 0;
}


void cmd_unregister(struct commands *commands, const struct cmd *v)
{
	(void)commands;
	(void)v;
}


static int print_handler(const char *p, size_t size, void *arg)
{
	size_t *n = arg;

	(void)p;
	*n += size;

	return 0;
}


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cmd_arg arg;
	size_t n = 0;
	struct re_printf pf = {print_handler, &n};
	char *prm;
	int err;

	if (!size)
		return 0;

	prm = malloc(size);
	REQUIRE(prm);
	memcpy(prm, data + 1, size - 1);
	prm[size - 1] = '\0';

	memset(&arg, 0, sizeof(arg));
	arg.prm = size > 1 ? prm : NULL;

	err = cmdv[data[0] % ARRAY_SIZE(cmdv)].h(&pf, &arg);

	/* who is refused is told why */
	if (err)
		REQUIRE(n > 0);

	free(prm);

	return 0;
}
