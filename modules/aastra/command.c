/**
 * @file command.c  The module's commands
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <re.h>
#include "aastra_baresip.h"
#include "compat.h"
#include "flow.h"
#include "line.h"
#include "config.h"
#include "status.h"
#include "module.h"
#include "command.h"
#include "subscription.h"
#include "lines.h"
#include "seen.h"
#include "table.h"
#include "explain.h"


/* What was given, without white space around it: scripts leave some */
static void args_of(struct pl *pl, const void *arg)
{
	const struct cmd_arg *carg = arg;

	pl_set_str(pl, carg && carg->prm ? carg->prm : "");

	while (pl->l && strchr(" \t\r\n", pl->p[0]))
		pl_advance(pl, 1);
	while (pl->l && strchr(" \t\r\n", pl->p[pl->l - 1]))
		--pl->l;
}


static bool is_number(const struct pl *pl)
{
	size_t i;

	for (i=0; i<pl->l; i++) {
		if (pl->p[i] < '0' || pl->p[i] > '9')
			return false;
	}

	return pl->l > 0 && pl->l <= 6;
}


/* "N", or nothing where that is allowed: 0 */
static int number_arg(struct re_printf *pf, const void *arg, bool optional,
		      uint32_t *np)
{
	struct pl num;
	uint32_t n;

	*np = 0;

	args_of(&num, arg);
	if (!num.l) {
		if (optional)
			return 0;

		(void)re_hprintf(pf, "which line? give its number\n");
		return EINVAL;
	}

	n = is_number(&num) ? pl_u32(&num) : 0;
	if (!n) {
		(void)re_hprintf(pf, "'%r' is not the number of a line\n",
				 &num);
		return EINVAL;
	}

	*np = n;

	return 0;
}


/* Who names a line means that line, and would get all of them */
static int no_arg(struct re_printf *pf, const void *arg)
{
	struct pl pl;

	args_of(&pl, arg);
	if (!pl.l)
		return 0;

	(void)re_hprintf(pf, "'%r' is too much: this is for all lines, and"
			 " nothing follows it\n", &pl);

	return EINVAL;
}


/* The same of a line that exists; nothing: all of them */
static int line_arg(struct re_printf *pf, const void *arg, bool optional,
		    struct aa_line **linep)
{
	uint32_t n;
	int err;

	*linep = NULL;

	err = number_arg(pf, arg, optional, &n);
	if (err || !n)
		return err;

	*linep = aa_line_find(aa_module_phone(), n);
	if (!*linep) {
		(void)re_hprintf(pf, "there is no line %u\n", n);
		return ENOENT;
	}

	return 0;
}


static int cmd_status(struct re_printf *pf, void *arg)
{
	struct aa_line *line;
	int err = line_arg(pf, arg, true, &line);

	return err ? err : aa_table_status(pf, aa_module_phone(), line);
}


static int cmd_state(struct re_printf *pf, void *arg)
{
	struct aa_line *line;
	int err = line_arg(pf, arg, true, &line);

	return err ? err : aa_status_json(pf, aa_module_phone(), line, true);
}


static int cmd_history(struct re_printf *pf, void *arg)
{
	struct aa_line *line;
	int err = line_arg(pf, arg, true, &line);

	return err ? err : aa_table_history(pf, aa_module_phone(),
					    line ? line->cfg.line : 0);
}


static int cmd_explain(struct re_printf *pf, void *arg)
{
	struct aa_line *line;
	int err = line_arg(pf, arg, false, &line);

	return err ? err : aa_explain_print(pf, line);
}


static int mode_set(struct re_printf *pf, void *arg, enum aa_mode mode)
{
	struct aa_line *line;
	int err;

	err = line_arg(pf, arg, false, &line);
	if (err)
		return err;

	if (mode == AA_MODE_BACKUP &&
	    line->cfg.scenario == AA_SCENARIO_NONE) {
		(void)re_hprintf(pf, "line %u has no backup\n",
				 line->cfg.line);
		return ENOENT;
	}

	aa_line_mode_set(line, mode);

	return re_hprintf(pf, "line %u: mode %s\n", line->cfg.line,
			  aa_mode_name(line->mode));
}


static int cmd_failover(struct re_printf *pf, void *arg)
{
	return mode_set(pf, arg, AA_MODE_BACKUP);
}


static int cmd_failback(struct re_printf *pf, void *arg)
{
	return mode_set(pf, arg, AA_MODE_PRIMARY);
}


static int cmd_auto(struct re_printf *pf, void *arg)
{
	return mode_set(pf, arg, AA_MODE_AUTO);
}


static int cmd_probe(struct re_printf *pf, void *arg)
{
	struct aa_line *only;
	struct le *le;
	int err;

	err = line_arg(pf, arg, true, &only);
	if (err)
		return err;

	for (le = list_head(&aa_module_phone()->linel); le; le = le->next) {
		struct aa_line *line = le->data;

		if (!only || line == only)
			aa_line_probe(line);
	}

	return re_hprintf(pf, "trying every failed server now\n");
}


/* Cut the next word off; false if it is longer than a string of that size */
static bool next_word(struct pl *rest, char *word, size_t sz)
{
	struct pl pl = {rest->p, 0};

	while (pl.l < rest->l && !strchr(" \t\r\n", rest->p[pl.l]))
		++pl.l;

	pl_advance(rest, (ssize_t)pl.l);
	while (rest->l && strchr(" \t\r\n", rest->p[0]))
		pl_advance(rest, 1);

	return pl.l < sz && !pl_strcpy(&pl, word, sz);
}


/* "N EVENT URI" */
static int subscribe_arg(struct re_printf *pf, const void *arg,
			 struct aa_line **linep, char *event, size_t evsz,
			 char *uri, size_t urisz)
{
	char word[8] = "";
	struct pl num, rest;
	bool fits;

	args_of(&rest, arg);
	fits = next_word(&rest, word, sizeof(word));
	pl_set_str(&num, word);

	if (!fits || !is_number(&num) || !rest.l) {
		(void)re_hprintf(pf, "give the number of a line, an event"
				 " package and whom to watch\n");
		return EINVAL;
	}

	fits = next_word(&rest, event, evsz);
	if (!rest.l && fits) {
		(void)re_hprintf(pf, "whom to watch? '%s' is the event"
				 " package\n", event);
		return EINVAL;
	}

	if (!next_word(&rest, uri, urisz) || !fits) {
		(void)re_hprintf(pf, "an event package has up to %zu bytes,"
				 " and whom to watch up to %zu\n",
				 evsz - 1, urisz - 1);
		return EINVAL;
	}

	if (rest.l) {
		(void)re_hprintf(pf, "'%r' is too much: it is one event"
				 " package, and one to watch\n", &rest);
		return EINVAL;
	}

	*linep = aa_line_find(aa_module_phone(), pl_u32(&num));
	if (!*linep) {
		(void)re_hprintf(pf, "there is no line %r\n", &num);
		return ENOENT;
	}

	return 0;
}


static int cmd_subscribe(struct re_printf *pf, void *arg)
{
	struct aa_line *line;
	char event[64], uri[256];
	int err;

	err = subscribe_arg(pf, arg, &line, event, sizeof(event),
			    uri, sizeof(uri));
	if (err)
		return err;

	err = aa_subs_add(line->subs, event, uri);
	if (err) {
		(void)re_hprintf(pf, "line %u: %s %s: %s\n", line->cfg.line,
				 event, uri, err == EALREADY ?
				 "subscribed already" : err == EINVAL ?
				 "not something to subscribe to" :
				 strerror(err));
		return err;
	}

	return re_hprintf(pf, "line %u: subscribing to %s %s\n",
			  line->cfg.line, event, uri);
}


static int cmd_unsubscribe(struct re_printf *pf, void *arg)
{
	struct aa_line *line;
	char event[64], uri[256];
	int err;

	err = subscribe_arg(pf, arg, &line, event, sizeof(event),
			    uri, sizeof(uri));
	if (err)
		return err;

	err = aa_subs_remove(line->subs, event, uri);
	if (err) {
		(void)re_hprintf(pf, "line %u: %s %s is not subscribed\n",
				 line->cfg.line, event, uri);
		return err;
	}

	return re_hprintf(pf, "line %u: %s %s unsubscribed\n",
			  line->cfg.line, event, uri);
}


static int cmd_config(struct re_printf *pf, void *arg)
{
	const struct aa_account_facts *facts = NULL;
	uint32_t n = 0;
	int err;

	err = number_arg(pf, arg, true, &n);
	if (err)
		return err;

	/* also of an account that is no line */
	if (n && !aa_lines_facts(n, &facts)) {
		(void)re_hprintf(pf, "there is no line %u\n", n);
		return ENOENT;
	}

	return aa_config_print(pf, aa_lines_config(), n, facts);
}


static int cmd_reload(struct re_printf *pf, void *arg)
{
	const int err = no_arg(pf, arg);

	return err ? err : aa_lines_reload(pf);
}


static int cmd_metrics(struct re_printf *pf, void *arg)
{
	const int err = no_arg(pf, arg);

	return err ? err : aa_seen_metrics(pf);
}


static const struct cmd cmdv[] = {

{"aastra_status",      0, CMD_PRM, "[N]  Lines, their servers and lamps",
							cmd_status      },
{"aastra_state",       0, CMD_PRM, "[N]  The same and more, as JSON",
							cmd_state       },
{"aastra_history",     0, CMD_PRM, "[N]  Latest changes, oldest first",
							cmd_history     },
{"aastra_explain",     0, CMD_PRM, "N  Why line N is where it is",
							cmd_explain     },
{"aastra_config",      0, CMD_PRM, "[N]  Keys in force, and where from",
							cmd_config      },
{"aastra_metrics",     0, 0,       "Metrics for Prometheus",
							cmd_metrics     },
{"aastra_failover",    0, CMD_PRM, "N  Hold line N on its backup",
							cmd_failover    },
{"aastra_failback",    0, CMD_PRM, "N  Hold line N on its primary",
							cmd_failback    },
{"aastra_auto",        0, CMD_PRM, "N  Let line N choose again",
							cmd_auto        },
{"aastra_probe",       0, CMD_PRM, "[N]  Try failed servers now",
							cmd_probe       },
{"aastra_reload",      0, 0,       "Read the configuration again",
							cmd_reload      },
{"aastra_subscribe",   0, CMD_PRM, "N EVENT URI  Watch URI on line N",
							cmd_subscribe   },
{"aastra_unsubscribe", 0, CMD_PRM, "N EVENT URI  Watch it no more",
							cmd_unsubscribe },

};


/**
 * Register the commands with baresip
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_command_register(void)
{
	return cmd_register(baresip_commands(), cmdv, ARRAY_SIZE(cmdv));
}


/** Unregister the commands */
void aa_command_unregister(void)
{
	cmd_unregister(baresip_commands(), cmdv);
}


/**
 * Carry out a command of the module by its name
 *
 * @param pf   Print function
 * @param name Name, with or without "aastra_"
 * @param prm  Arguments, may be NULL
 *
 * @return 0 if success, otherwise errorcode, and the output says why
 */
int aa_command_run(struct re_printf *pf, const char *name, const char *prm)
{
	static const char prefix[] = "aastra_";
	struct cmd_arg arg;
	char buf[1024];
	size_t i;

	if (!pf || !name)
		return EINVAL;

	if (0 == strncmp(name, prefix, sizeof(prefix) - 1))
		name += sizeof(prefix) - 1;

	for (i=0; i<ARRAY_SIZE(cmdv); i++) {
		if (0 == strcmp(cmdv[i].name + sizeof(prefix) - 1, name))
			break;
	}

	if (i == ARRAY_SIZE(cmdv)) {
		(void)re_hprintf(pf, "there is no command aastra_%s\n", name);
		return ENOSYS;
	}

	if (prm && strlen(prm) >= sizeof(buf)) {
		(void)re_hprintf(pf, "the arguments are too long\n");
		return EINVAL;
	}

	memset(&arg, 0, sizeof(arg));
	str_ncpy(buf, prm ? prm : "", sizeof(buf));
	arg.prm = buf;

	return cmdv[i].h(pf, &arg);
}
