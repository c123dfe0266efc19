/**
 * @file config_check.c  Configuration: findings
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <re.h>
#include "config_impl.h"


enum {
	FINDINGS_MAX = 1000     /* a foreign file is not listed whole        */
};


static const char *set_name[AA_SET_COUNT] = {
	[AA_SET_AUTH]    = "Authentication",
	[AA_SET_NETWORK] = "Network",
};


static void finding_destructor(void *data)
{
	struct aa_finding *f = data;

	list_unlink(&f->le);
	mem_deref(f->text);
}


/**
 * Keep a finding and report it, unless the very same was reported before
 *
 * @param cfg   Configuration
 * @param level Level
 * @param line  Line number that it is about, 0: all of them
 * @param fmt   Text, without a secret
 */
void aa_config_finding(struct aa_config *cfg, enum aa_config_level level,
		       uint32_t line, const char *fmt, ...)
{
	struct aa_finding *f;
	struct le *le;
	va_list ap;
	int err;

	if (cfg->full)
		return;

	f = mem_zalloc(sizeof(*f), finding_destructor);
	if (!f)
		return;

	f->level = level;
	f->line  = line;

	if (list_count(&cfg->findingl) >= FINDINGS_MAX) {
		cfg->full = true;
		err = str_dup(&f->text, "further findings are not listed");
	}
	else {
		va_start(ap, fmt);
		err = re_vsdprintf(&f->text, fmt, ap);
		va_end(ap);
	}

	if (err) {
		mem_deref(f);
		return;
	}

	for (le = list_head(&cfg->findingl); le; le = le->next) {
		const struct aa_finding *o = le->data;

		if (!strcmp(o->text, f->text)) {
			mem_deref(f);
			return;
		}
	}

	list_append(&cfg->findingl, &f->le, f);

	if (cfg->msgh)
		cfg->msgh(level, f->text, cfg->arg);
}


/** "a", "a and b", "a, b and c" are not worth it: "'a', 'b', 'c'" */
static int add_quoted(char **list, const char *text)
{
	char *str = NULL;
	int err;

	err = re_sdprintf(&str, "%s%s'%s'", *list ? *list : "",
			  *list ? ", " : "", text);
	if (err)
		return err;

	mem_deref(*list);
	*list = str;

	return 0;
}


/** What is used in place of a bad value */
static void report_bad(struct aa_config *cfg, const struct aa_entry *e)
{
	const struct aa_key *key = &aa_keyv[e->key];
	const struct aa_entry *used;
	struct aa_view v;

	aa_view_init(&v, cfg, e->line);
	used = aa_view_look_ok(&v, e->key);

	if (used && key->secret)
		FINDING(cfg, AA_CONFIG_WARN, e, "%s; %H stays in force",
			e->v.why, aa_entry_print_place, used);
	else if (used)
		FINDING(cfg, AA_CONFIG_WARN, e, "%s; '%H' of %H is used",
			e->v.why, aa_print_safe, used->v.val,
			aa_entry_print_place, used);
	else if (key->deftext)
		FINDING(cfg, AA_CONFIG_WARN, e, "%s; the default (%s) is used",
			e->v.why, key->deftext);
	else if (key->type == AA_TYPE_NUMBER || key->type == AA_TYPE_BOOL)
		FINDING(cfg, AA_CONFIG_WARN, e, "%s; the default (%u) is used",
			e->v.why, key->def);
	else
		FINDING(cfg, AA_CONFIG_WARN, e, "%s; it counts as not given",
			e->v.why);
}


/** Values that are not as they were written, in the order of reading */
static void report_values(struct aa_config *cfg)
{
	bool ignored[KEY_COUNT] = {false};
	struct le *le;

	for (le = list_head(&cfg->entryl); le; le = le->next) {
		const struct aa_entry *e = le->data;
		const struct aa_key *key = &aa_keyv[e->key];
		const bool standard = key->deftext ?
			!strcmp(e->v.val, key->deftext) : e->v.num == key->def;

		if (e->v.state == VALUE_BAD)
			report_bad(cfg, e);
		else if (e->v.why)
			FINDING(cfg, AA_CONFIG_WARN, e, "%s", e->v.why);

		if (e->v.state == VALUE_OK && key->state == AA_KEY_IGNORED &&
		    !ignored[e->key] &&
		    (!standard || key->type == AA_TYPE_TEXT)) {

			ignored[e->key] = true;
			FINDING(cfg, AA_CONFIG_INFO, e, "not used here: %s",
				key->reason);
		}
	}
}


/** The same key twice in one file: which one counts is worth a word */
static void report_twice(struct aa_config *cfg)
{
	size_t i;

	for (i=1; i<cfg->indexc; i++) {
		const struct aa_entry *a = cfg->indexv[i - 1];
		const struct aa_entry *b = cfg->indexv[i];

		if (aa_entry_compare(a, b->line, b->key) || a->src != b->src)
			continue;

		if (b->v.state == VALUE_BAD)
			continue;

		FINDING(cfg, AA_CONFIG_INFO, b, "replaces line %u of the "
			"same file", a->lineno);
	}
}


/** Say which globals a line's own set hides */
static void report_hidden(struct aa_config *cfg, const struct aa_view *v,
			  enum aa_key_set set)
{
	const struct aa_entry *own = aa_config_own_set(cfg, v->line, set);
	char *list = NULL;
	size_t i;

	if (!own || !v->hidden[set])
		return;

	for (i=0; i<KEY_COUNT; i++) {

		if (aa_keyv[i].set == set &&
		    aa_config_entry(cfg, 0, (enum aa_key_id)i) &&
		    !aa_config_entry(cfg, v->line, (enum aa_key_id)i) &&
		    add_quoted(&list, aa_keyv[i].name))
			goto out;
	}

	if (list)
		FINDING(cfg, AA_CONFIG_INFO, own, "line %u has values of the "
			"%s set of its own, so these global ones do not "
			"count for it: %s ('sip line inheritance: key' "
			"changes that)", v->line, set_name[set], list);

 out:
	mem_deref(list);
}


/** Ports without an address, backups without their counterpart */
static void report_servers(struct aa_config *cfg, const struct aa_view *v)
{
	const struct aa_key_name nproxy =
		aa_key_name_of(K_BACKUP_PROXY_IP, v->line);
	const struct aa_key_name nregistrar =
		aa_key_name_of(K_BACKUP_REGISTRAR_IP, v->line);
	const struct aa_entry *proxy, *registrar;
	int role, rank;

	for (role=0; role<AA_ROLE_COUNT; role++) {

		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++) {
			const enum aa_key_id key = aa_server_key[role][rank];
			const struct aa_key_name name =
				aa_key_name_of(key, v->line);
			const struct aa_entry *port;

			port = aa_config_entry(cfg, v->line, aa_key_port(key));

			if (port && !aa_view_look_ok(v, key))
				FINDING(cfg, AA_CONFIG_INFO, port,
					"no effect without '%H'",
					aa_key_print_name, &name);
		}
	}

	proxy     = aa_view_look_ok(v, K_BACKUP_PROXY_IP);
	registrar = aa_view_look_ok(v, K_BACKUP_REGISTRAR_IP);

	if (proxy && !registrar && proxy->line == v->line)
		FINDING(cfg, AA_CONFIG_INFO, proxy, "there is no '%H': the "
			"backup AOR is registered at the primary registrar",
			aa_key_print_name, &nregistrar);

	if (registrar && !proxy && registrar->line == v->line)
		FINDING(cfg, AA_CONFIG_INFO, registrar, "there is no '%H': "
			"the AOR stays that of the primary proxy",
			aa_key_print_name, &nproxy);
}


/** Backups that are their own primary */
static void report_equal(struct aa_config *cfg, const struct aa_view *v,
			 const struct aa_account_facts *facts)
{
	struct aa_line_config *lc;
	int role;

	lc = mem_zalloc(sizeof(*lc), NULL);
	if (!lc)
		return;

	aa_view_transport(lc, v, facts);
	for (role=0; role<AA_ROLE_COUNT; role++)
		aa_view_server(&lc->server[role][AA_RANK_PRIMARY], v,
			       aa_server_key[role][AA_RANK_PRIMARY]);
	aa_view_primaries(lc, v, facts);

	for (role=0; role<AA_ROLE_COUNT; role++) {
		const enum aa_key_id key = aa_server_key[role][AA_RANK_BACKUP];
		const struct aa_entry *e = aa_view_look_ok(v, key);
		struct aa_server backup;

		if (!e)
			continue;

		aa_view_server(&backup, v, key);

		if (!aa_server_same(&lc->server[role][AA_RANK_PRIMARY],
				    &backup, lc->transport))
			continue;

		FINDING(cfg, AA_CONFIG_WARN, e, "the same server as the "
			"primary '%s': it is no backup, ignored",
			aa_keyv[aa_server_key[role][AA_RANK_PRIMARY]].name);
	}

	mem_deref(lc);
}


/** The AOR of an account is baresip's: no key can give it another domain */
static void report_domain(struct aa_config *cfg, const struct aa_view *v,
			  const struct aa_account_facts *facts)
{
	const struct aa_entry *e = aa_view_look_ok(v, K_PROXY_IP);

	if (!e || !facts || !str_casecmp(e->v.val, facts->domain.host))
		return;

	FINDING(cfg, AA_CONFIG_WARN, e, "the AOR of line %u stays that of its "
		"account, sip:%s@%s; a line with 'sip line%u user name' is "
		"made from keys alone", v->line,
		facts->user ? facts->user : "", facts->domain.host, v->line);
}


/** What takes checks of the servers, on a line that has none of them */
static void report_unchecked(struct aa_config *cfg, const struct aa_view *v,
			     const struct aa_account_facts *facts)
{
	static const struct {
		enum aa_key_id key;
		uint32_t above;         /* values up to this one need none   */
		uint32_t below;
	} keyv[] = {
		{K_KEEPALIVE_TIMER,    0, UINT32_MAX},
		{K_FAILBACK_DELAY,     0, UINT32_MAX},
		{K_FAILBACK_SUCCESSES, 1, UINT32_MAX},
		{K_STANDBY,            0, 2},
	};
	struct aa_line_config *lc;
	size_t i;

	lc = mem_zalloc(sizeof(*lc), NULL);
	if (!lc)
		return;

	if (aa_config_line(cfg, v->line, facts, lc) || lc->outbound ||
	    lc->scenario == AA_SCENARIO_NONE)
		goto out;

	for (i=0; i<sizeof(keyv) / sizeof(keyv[0]); i++) {
		const struct aa_entry *e = aa_view_look_ok(v, keyv[i].key);

		if (e && e->v.num > keyv[i].above && e->v.num < keyv[i].below)
			FINDING(cfg, AA_CONFIG_WARN, e, "no effect where '%s' "
				"is 0: nothing checks the servers then",
				aa_keyv[K_OUTBOUND_SUPPORT].name);
	}

 out:
	mem_deref(lc);
}


static void report_timers(struct aa_config *cfg, const struct aa_view *v)
{
	const struct aa_entry *max = aa_view_look_ok(v, K_RECOVERY_MAX);
	const struct aa_entry *base = aa_view_look_ok(v, K_RECOVERY_BASE);
	const struct aa_entry *e = max ? max : base;
	uint32_t b, m;

	b = aa_view_num(v, K_RECOVERY_BASE);
	m = aa_view_num(v, K_RECOVERY_MAX);

	if (e && m < b)
		FINDING(cfg, AA_CONFIG_WARN, e, "%u s is below '%s', raised "
			"to %u", m, aa_keyv[K_RECOVERY_BASE].name, b);
}


/** A line made from keys needs a server */
static void report_described(struct aa_config *cfg, const struct aa_view *v)
{
	const struct aa_entry *user = aa_view_look_ok(v, K_USER_NAME);
	const struct aa_key_name nproxy = aa_key_name_of(K_PROXY_IP, v->line);
	const struct aa_key_name nregistrar =
		aa_key_name_of(K_REGISTRAR_IP, v->line);
	const struct aa_entry *proxy, *registrar, *backup;

	if (!aa_view_described(v))
		return;

	proxy     = aa_view_look_ok(v, K_PROXY_IP);
	registrar = aa_view_look_ok(v, K_REGISTRAR_IP);
	backup    = aa_view_look_ok(v, K_BACKUP_REGISTRAR_IP);

	if (!proxy && !registrar)
		FINDING(cfg, AA_CONFIG_WARN, user, "there is no '%H': line %u "
			"cannot be made", aa_key_print_name, &nproxy, v->line);
	else if (!proxy)
		FINDING(cfg, AA_CONFIG_INFO, registrar,
			"there is no '%H': the registrar is the "
			"domain of line %u",
			aa_key_print_name, &nproxy, v->line);

	if (backup && !registrar)
		FINDING(cfg, AA_CONFIG_WARN, backup, "there is no '%H': line "
			"%u does not register; ignored", aa_key_print_name,
			&nregistrar, v->line);
}


static void analyse_line(struct aa_config *cfg, uint32_t line)
{
	struct aa_view v;

	aa_view_init(&v, cfg, line);

	if (line) {
		report_hidden(cfg, &v, AA_SET_AUTH);
		report_hidden(cfg, &v, AA_SET_NETWORK);
		report_described(cfg, &v);
		if (aa_view_described(&v))
			report_unchecked(cfg, &v, NULL);
	}

	report_servers(cfg, &v);
	report_equal(cfg, &v, NULL);
	report_timers(cfg, &v);
}


/**
 * Report all that can be said without knowing the accounts
 *
 * @param cfg Configuration with its index
 */
void aa_config_analyse(struct aa_config *cfg)
{
	uint32_t line = 0;
	size_t i;

	report_values(cfg);
	report_twice(cfg);

	analyse_line(cfg, 0);

	for (i=0; i<cfg->indexc; i++) {

		if (cfg->indexv[i]->line == line)
			continue;

		line = cfg->indexv[i]->line;
		analyse_line(cfg, line);
	}

	if (line < 1 && aa_config_entry(cfg, 0, K_USER_NAME))
		analyse_line(cfg, 1);
}


/**
 * Report what makes no sense together with an account: a backup that is the
 * account's own server, a proxy that is not its domain, keys for checks
 * that are not made.  Nothing is reported twice.
 *
 * @param cfg   Configuration
 * @param line  Line number, from 1
 * @param facts What its account says, NULL if it has none
 */
void aa_config_check_line(struct aa_config *cfg, uint32_t line,
			  const struct aa_account_facts *facts)
{
	struct aa_view v;

	if (!cfg || !line)
		return;

	aa_view_init(&v, cfg, line);

	if (aa_view_described(&v))
		facts = NULL;

	report_equal(cfg, &v, facts);
	report_domain(cfg, &v, facts);
	report_unchecked(cfg, &v, facts);
}


/**
 * Report keys of lines that do not exist
 *
 * @param cfg    Configuration
 * @param nlines Number of lines, or of accounts: a line that a key describes
 *               exists without account
 */
void aa_config_check_lines(struct aa_config *cfg, uint32_t nlines)
{
	size_t i, j;

	if (!cfg)
		return;

	for (i=0; i<cfg->indexc; i = j) {
		const struct aa_entry *first = NULL;
		const uint32_t line = cfg->indexv[i]->line;
		uint32_t more = 0;

		/* templates write all nine lines, most of them empty */
		for (j=i; j<cfg->indexc && cfg->indexv[j]->line == line; j++) {
			const struct aa_entry *e = cfg->indexv[j];

			if (e->v.state != VALUE_OK)
				continue;

			if (!first)
				first = e;
			else
				++more;
		}

		if (line <= nlines || !first ||
		    aa_config_describes_line(cfg, line))
			continue;

		if (more)
			FINDING(cfg, AA_CONFIG_WARN, first, "there is no line "
				"%u; this key and %u more of it are ignored",
				line, more);
		else
			FINDING(cfg, AA_CONFIG_WARN, first, "there is no line "
				"%u; ignored", line);
	}
}
