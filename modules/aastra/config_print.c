/**
 * @file config_print.c  Configuration: the listing
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <re.h>
#include "cfgfile.h"
#include "config_impl.h"


/** A value as it may be shown: no password, not even one within a URL */
static void show_value(char *buf, size_t sz, const struct aa_key *key,
		       const char *val)
{
	const char *at, *host;

	if (key->secret) {
		str_ncpy(buf, "****", sz);
		return;
	}

	host = key->type == AA_TYPE_URL ? strstr(val, "://") : NULL;
	at   = host ? strrchr(host, '@') : NULL;

	if (at)
		(void)re_snprintf(buf, sz, "%b://****%s", val,
				  (size_t)(host - val), at);
	else
		(void)re_snprintf(buf, sz, "%H", aa_print_safe, val);
}


static int print_row(struct re_printf *pf, const struct aa_key_name *name,
		     const char *val, const char *from)
{
	char buf[AA_CFG_NAME_SIZE];

	(void)re_snprintf(buf, sizeof(buf), "%H", aa_key_print_name, name);

	return re_hprintf(pf, "  %-46s %-24s %s\n", buf, val, from);
}


static int print_entry(struct re_printf *pf, const struct aa_entry *e,
		       const char *note)
{
	const struct aa_key_name name = {&aa_keyv[e->key], e->line, false};
	char val[256], from[256];

	show_value(val, sizeof(val), &aa_keyv[e->key], e->v.val);

	(void)re_snprintf(from, sizeof(from), "%H%s%s%s%s%s",
			  aa_entry_print_place, e, e->locked ? " locked" : "",
			  e->overwrite ? " overwrites" : "",
			  aa_keyv[e->key].state == AA_KEY_IGNORED ?
			  " (not used here)" : "",
			  note ? " " : "", note ? note : "");

	return print_row(pf, &name, val, from);
}


/** What the account says in place of a key, "" if nothing */
static void account_value(char *buf, size_t sz, enum aa_key_id key,
			  const struct aa_account_facts *facts,
			  const struct aa_line_config *lc)
{
	const struct aa_server *srv = NULL;
	bool port = false;

	str_ncpy(buf, "", sz);

	if (!facts)
		return;

	switch (key) {

	case K_PROXY_PORT:
		port = true;
		/*@fallthrough@*/
	case K_PROXY_IP:
		srv = &lc->server[AA_ROLE_PROXY][AA_RANK_PRIMARY];
		break;

	case K_REGISTRAR_PORT:
		port = true;
		/*@fallthrough@*/
	case K_REGISTRAR_IP:
		srv = &lc->server[AA_ROLE_REGISTRAR][AA_RANK_PRIMARY];
		break;

	case K_OUTBOUND_PROXY_PORT:
		port = true;
		/*@fallthrough@*/
	case K_OUTBOUND_PROXY:
		srv = &lc->server[AA_ROLE_OUTBOUND][AA_RANK_PRIMARY];
		break;

	case K_USER_NAME:
		str_ncpy(buf, facts->user ? facts->user : "", sz);
		return;

	case K_REGISTRATION_PERIOD:
		if (facts->regint)
			(void)re_snprintf(buf, sz, "%u", facts->regint);
		return;

	case K_OUTBOUND_SUPPORT:
		if (facts->flows && lc->scenario == AA_SCENARIO_NONE)
			str_ncpy(buf, "1", sz);
		return;

	case K_TRANSPORT:
		if (facts->transport != AA_TRANSPORT_UNSET)
			(void)re_snprintf(buf, sz, "%d",
					  (int)facts->transport);
		return;

	default:
		return;
	}

	if (port && srv->port)
		(void)re_snprintf(buf, sz, "%u", srv->port);
	else if (!port)
		str_ncpy(buf, srv->host, sz);
}


/** The default of a key, "" if there is none worth a row */
static void default_value(char *val, size_t vsz, char *from, size_t fsz,
			  enum aa_key_id id, const struct aa_line_config *lc)
{
	const struct aa_key *key = &aa_keyv[id];

	str_ncpy(val, "", vsz);
	str_ncpy(from, "default", fsz);

	if (key->state == AA_KEY_IGNORED)
		return;

	if (id == K_OUTBOUND_SUPPORT && lc) {
		const bool backup = lc->scenario != AA_SCENARIO_NONE;

		str_ncpy(val, lc->outbound ? "1" : "0", vsz);
		(void)re_snprintf(from, fsz, "default (%s)",
				  lc->outbound && (!backup || lc->from_files)
				  ? "keep-alives of persistent TLS" :
				  !backup ? "no backup" :
				  lc->from_files ? "servers from *.cfg" :
				  "a backup, not from *.cfg");
	}
	else if (id == K_OUTBOUND_SUPPORT) {
		str_ncpy(val, "1 or 0", vsz);
		str_ncpy(from, "default (which: aastra_config N)", fsz);
	}
	else if (id == K_REGISTRATION_PERIOD && lc) {
		(void)re_snprintf(val, vsz, "%u", lc->registration_period);
	}
	else if (id == K_RECOVERY_MAX && lc) {
		(void)re_snprintf(val, vsz, "%u", lc->recovery_max);
	}
	else if (id == K_RECOVERY_BASE && lc) {
		(void)re_snprintf(val, vsz, "%u", lc->recovery_base);
	}
	else if (id == K_KEEPALIVE_TIMER && lc) {
		(void)re_snprintf(val, vsz, "%u", lc->keepalive_timer);
	}
	else if (id == K_TRANSPORT && lc) {
		if (lc->transport == AA_TRANSPORT_UDP)
			str_ncpy(val, "1", vsz);
	}
	else if (key->type == AA_TYPE_CHOICE && id != K_TRANSPORT) {
		str_ncpy(val, key->deftext, vsz);
	}
	else if ((key->type == AA_TYPE_NUMBER || key->type == AA_TYPE_BOOL) &&
		 !key->deftext) {
		(void)re_snprintf(val, vsz, "%u", key->def);
	}
}


/** Why a value in force is not what is done, NULL if it is */
static const char *note_of(const struct aa_entry *e,
			   const struct aa_line_config *lc)
{
	int role;

	if (e->key == K_RECOVERY_MAX && e->v.num < lc->recovery_max)
		return "(raised to the base timer)";

	for (role=0; role<AA_ROLE_COUNT; role++) {

		if (e->key == aa_server_key[role][AA_RANK_BACKUP] &&
		    e->v.state == VALUE_OK &&
		    !lc->server[role][AA_RANK_BACKUP].host[0])
			return "(no other server than the primary: ignored)";
	}

	return NULL;
}


static int print_line(struct re_printf *pf, const struct aa_config *cfg,
		      uint32_t line, const struct aa_account_facts *facts)
{
	struct aa_line_config *lc = NULL;
	struct aa_view v;
	size_t i;
	int err;

	aa_view_init(&v, cfg, line);

	if (line) {
		lc = mem_zalloc(sizeof(*lc), NULL);
		if (!lc)
			return ENOMEM;

		(void)aa_config_line(cfg, line, facts, lc);

		if (aa_view_described(&v))
			facts = NULL;
	}

	err = line ? re_hprintf(pf, "line %u\n", line) :
		re_hprintf(pf, "global\n");

	for (i=0; i<KEY_COUNT && !err; i++) {
		const enum aa_key_id id = (enum aa_key_id)i;
		const struct aa_entry *e = aa_view_look(&v, id);
		const struct aa_key_name name = {&aa_keyv[i], 0, false};
		char val[256], from[64];

		/* for a line, what concerns the module is under global */
		if (line && !(aa_keyv[i].scope & AA_SCOPE_LINE))
			continue;
		if (!line && !(aa_keyv[i].scope & AA_SCOPE_GLOBAL))
			continue;

		if (e &&
		    (e->v.state == VALUE_OK || e->v.state == VALUE_NONE)) {
			err = print_entry(pf, e, lc ? note_of(e, lc) : NULL);
			continue;
		}

		str_ncpy(from, "account", sizeof(from));
		account_value(val, sizeof(val), id, lc ? facts : NULL, lc);

		if (!val[0])
			default_value(val, sizeof(val), from, sizeof(from),
				      id, lc);
		if (val[0])
			err = print_row(pf, &name, val, from);
	}

	mem_deref(lc);

	return err;
}


/** The lines' own values; what they inherit stands under global */
static int print_lines(struct re_printf *pf, const struct aa_config *cfg)
{
	uint32_t line = 0;
	size_t i;
	int err = 0;

	for (i=0; i<cfg->indexc && !err; i++) {
		const struct aa_entry *e = cfg->indexv[i];

		if (!e->line || aa_config_winner(cfg, e->line, e->key) != e ||
		    e->v.state == VALUE_EMPTY)
			continue;

		if (e->line != line) {
			line = e->line;
			err = re_hprintf(pf, "line %u\n", line);
		}

		if (!err)
			err = print_entry(pf, e, NULL);
	}

	return err;
}


static int print_files(struct re_printf *pf, const struct aa_config *cfg)
{
	struct le *le;
	int err;

	err = re_hprintf(pf, "files\n");

	for (le = list_head(&cfg->sourcel); le && !err; le = le->next) {
		const struct aa_source *src = le->data;

		err = re_hprintf(pf, "  %s: %u keys\n", src->name, src->keys);
	}

	if (!cfg->sourcel.head && !err)
		err = re_hprintf(pf, "  none\n");

	return err;
}


static int print_findings(struct re_printf *pf, const struct aa_config *cfg,
			  uint32_t line)
{
	struct le *le;
	int err = 0;
	bool any = false;

	for (le = list_head(&cfg->findingl); le && !err; le = le->next) {
		const struct aa_finding *f = le->data;

		if (line && f->line && f->line != line)
			continue;

		if (!any)
			err = re_hprintf(pf, "findings\n");
		any = true;

		if (!err)
			err = re_hprintf(pf, "  %s %s\n",
					 f->level == AA_CONFIG_WARN ?
					 "warning:" : "note:", f->text);
	}

	return err;
}


/**
 * Print the keys in force, each with its value and where it came from, then
 * the findings.  Secrets are masked.  (Interface page, chapter 4)
 *
 * @param pf    Print backend
 * @param cfg   Configuration
 * @param line  Line number, from 1; 0: the files, the global values and the
 *              own values of every line
 * @param facts What the account of the line says, NULL if it has none
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_config_print(struct re_printf *pf, const struct aa_config *cfg,
		    uint32_t line, const struct aa_account_facts *facts)
{
	int err = 0;

	if (!pf || !cfg)
		return EINVAL;

	if (!line)
		err = print_files(pf, cfg);

	if (!err)
		err = print_line(pf, cfg, line, facts);

	if (!line && !err)
		err = print_lines(pf, cfg);

	return err ? err : print_findings(pf, cfg, line);
}
