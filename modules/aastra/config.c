/**
 * @file config.c  Configuration: what is in force, settings of a line
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * What was read is kept as a list of entries, each with its file, its line
 * and its layer.  An index over them, sorted by line, key and layer, answers
 * which entry is in force; nothing is ever overwritten, so that the listing
 * and the findings can say where a value came from and what it replaced.
 *
 *   cfgfile.c -> config_load.c -> index -> aa_view_look() -> settings
 *                (value.c)
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <re.h>
#include "policy.h"
#include "config_impl.h"


enum {
	DNS_QUERY_SRV = 1,      /* default of `sip dns query type`          */
	CONTACT_MATCHING_USER = 2 /* default of `sip contact matching`      */
};


static int compare(uint32_t a, uint32_t b)
{
	return a < b ? -1 : a > b;
}


/**
 * Compare the place of an entry in the index
 *
 * @param e    Entry
 * @param line Line number, 0: global
 * @param key  Key
 *
 * @return Less than, equal to or greater than 0
 */
int aa_entry_compare(const struct aa_entry *e, uint32_t line,
		     enum aa_key_id key)
{
	const int c = compare(e->line, line);

	return c ? c : compare(e->key, key);
}


static int index_compare(const void *va, const void *vb)
{
	const struct aa_entry *a = *(struct aa_entry * const *)va;
	const struct aa_entry *b = *(struct aa_entry * const *)vb;
	int c;

	c = aa_entry_compare(a, b->line, b->key);
	if (!c)
		c = compare(a->rank, b->rank);
	if (!c)
		c = compare(a->seq, b->seq);

	return c;
}


/**
 * Build the index over all entries that were read
 *
 * @param cfg Configuration
 *
 * @return 0 if success, ENOMEM
 */
int aa_config_index(struct aa_config *cfg)
{
	const size_t n = list_count(&cfg->entryl);
	struct le *le;

	cfg->indexv = mem_deref(cfg->indexv);
	cfg->indexc = 0;

	if (!n)
		return 0;

	cfg->indexv = mem_zalloc(n * sizeof(*cfg->indexv), NULL);
	if (!cfg->indexv)
		return ENOMEM;

	for (le = list_head(&cfg->entryl); le; le = le->next)
		cfg->indexv[cfg->indexc++] = le->data;

	qsort(cfg->indexv, n, sizeof(*cfg->indexv), index_compare);

	return 0;
}


/** Number of entries before those of (line, key) and all that follow */
static size_t index_lower(const struct aa_config *cfg, uint32_t line,
			  enum aa_key_id key)
{
	size_t lo = 0, hi = cfg->indexc;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (aa_entry_compare(cfg->indexv[mid], line, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}

	return lo;
}


/**
 * Get the entry that wins for exactly this line and key; bad ones never do
 *
 * @param cfg  Configuration
 * @param line Line number, 0: global
 * @param key  Key
 *
 * @return Entry, NULL if there is none
 */
const struct aa_entry *aa_config_winner(const struct aa_config *cfg,
					uint32_t line, enum aa_key_id key)
{
	const struct aa_entry *best = NULL;
	size_t i;

	for (i = index_lower(cfg, line, key); i < cfg->indexc; i++) {
		const struct aa_entry *e = cfg->indexv[i];

		if (e->line != line || e->key != key)
			break;

		if (e->v.state != VALUE_BAD)
			best = e;
	}

	return best;
}


/**
 * Get the same, if it configures something
 *
 * @param cfg  Configuration
 * @param line Line number, 0: global
 * @param key  Key
 *
 * @return Entry with VALUE_OK, NULL if there is none
 */
const struct aa_entry *aa_config_entry(const struct aa_config *cfg,
				       uint32_t line, enum aa_key_id key)
{
	const struct aa_entry *e = aa_config_winner(cfg, line, key);

	return (e && e->v.state == VALUE_OK) ? e : NULL;
}


/** Is it a value that makes a set the line's own (guide 4-57)? */
static bool makes_set(const struct aa_entry *e)
{
	if (e->key == K_REGISTRATION_PERIOD)
		return e->v.num > 0;

	return true;
}


/**
 * Get the value that makes a set the line's own (guide 4-57)
 *
 * @param cfg  Configuration
 * @param line Line number, from 1
 * @param set  Set
 *
 * @return First such entry in the order of the table, NULL if there is none
 */
const struct aa_entry *aa_config_own_set(const struct aa_config *cfg,
					 uint32_t line, enum aa_key_set set)
{
	size_t i;

	for (i=0; i<KEY_COUNT; i++) {
		const struct aa_entry *e;

		if (aa_keyv[i].set != set)
			continue;

		e = aa_config_entry(cfg, line, (enum aa_key_id)i);
		if (e && makes_set(e))
			return e;
	}

	return NULL;
}


static bool inherits_sets(const struct aa_config *cfg, uint32_t line)
{
	const struct aa_entry *e;

	e = line ? aa_config_entry(cfg, line, K_LINE_INHERITANCE) : NULL;
	if (!e)
		e = aa_config_entry(cfg, 0, K_LINE_INHERITANCE);

	return !e || !strcmp(e->v.val, "set");
}


/**
 * Prepare what a line sees: which globals are hidden from it
 *
 * @param v    View to be filled
 * @param cfg  Configuration
 * @param line Line number, 0: the global values alone
 */
void aa_view_init(struct aa_view *v, const struct aa_config *cfg,
		  uint32_t line)
{
	enum aa_key_set set;

	memset(v, 0, sizeof(*v));
	v->cfg  = cfg;
	v->line = line;

	if (!line)
		return;

	if (inherits_sets(cfg, line)) {

		for (set = AA_SET_AUTH; set < AA_SET_COUNT; set++)
			v->hidden[set] =
				aa_config_own_set(cfg, line, set) != NULL;
	}

	/* A global user name describes line 1 (interface page, chapter 2).
	   Its password would spoil the account of another line. */
	if (line > 1 && !aa_config_entry(cfg, line, K_USER_NAME) &&
	    aa_config_entry(cfg, 0, K_USER_NAME))
		v->hidden[AA_SET_AUTH] = true;
}


/**
 * Get what is in force for a line
 *
 * @param v   View of the line
 * @param key Key
 *
 * @return Entry with VALUE_OK; with VALUE_NONE if the line shall have none
 *         (0.0.0.0); NULL if nothing is configured
 */
const struct aa_entry *aa_view_look(const struct aa_view *v,
				    enum aa_key_id key)
{
	const struct aa_entry *e = NULL;

	if (v->line)
		e = aa_config_winner(v->cfg, v->line, key);

	if (e && e->v.state != VALUE_EMPTY)
		return e;

	if (v->line && v->hidden[aa_keyv[key].set])
		return NULL;

	/* only line 1 is described by it */
	if (v->line > 1 && key == K_USER_NAME)
		return NULL;

	return aa_config_entry(v->cfg, 0, key);
}


/**
 * Get what is configured for a line
 *
 * @param v   View of the line
 * @param key Key
 *
 * @return Entry with VALUE_OK, NULL if there is none
 */
const struct aa_entry *aa_view_look_ok(const struct aa_view *v,
				       enum aa_key_id key)
{
	const struct aa_entry *e = aa_view_look(v, key);

	return (e && e->v.state == VALUE_OK) ? e : NULL;
}


/**
 * Get the number that is in force for a line
 *
 * @param v   View of the line
 * @param key Key of a number, port or switch
 *
 * @return Number in the unit of the key, its default if it is not configured
 */
uint32_t aa_view_num(const struct aa_view *v, enum aa_key_id key)
{
	const struct aa_entry *e = aa_view_look_ok(v, key);

	return e ? e->v.num : aa_keyv[key].def;
}


static void look_str(char *buf, size_t sz, const struct aa_view *v,
		     enum aa_key_id key)
{
	const struct aa_entry *e = aa_view_look_ok(v, key);

	str_ncpy(buf, e ? e->v.val : "", sz);
}


/**
 * Does a user name describe the line (interface page, chapter 2)?
 *
 * @param v View of the line
 *
 * @return true if so: its account is ignored
 */
bool aa_view_described(const struct aa_view *v)
{
	return v->line && aa_view_look_ok(v, K_USER_NAME);
}


static bool is_file(const struct aa_entry *e)
{
	return e && e->src->layer != AA_LAYER_BARESIP;
}


/**
 * Get the port that belongs to an address
 *
 * @param address Key of an address
 *
 * @return Key of its port
 */
enum aa_key_id aa_key_port(enum aa_key_id address)
{
	return (enum aa_key_id)(address + 1);
}


static uint16_t effective_port(const struct aa_server *srv,
			       enum aa_transport transport)
{
	if (srv->port)
		return srv->port;

	/* a name without port is looked up by SRV: that is no port */
	if (!aa_value_is_ip(srv->host))
		return 0;

	return transport == AA_TRANSPORT_TLS ? 5061 : 5060;
}


/**
 * Are two servers one?  A name without port is looked up by SRV, which is
 * not the same as that name with port 5060
 *
 * @param a         First server
 * @param b         Second server
 * @param transport Transport, for the port of an address without one
 *
 * @return true if so
 */
bool aa_server_same(const struct aa_server *a, const struct aa_server *b,
		    enum aa_transport transport)
{
	return !str_casecmp(a->host, b->host) &&
		effective_port(a, transport) == effective_port(b, transport);
}


/**
 * Get a server that is configured for a line
 *
 * @param srv Server to be filled; its host is empty if there is none
 * @param v   View of the line
 * @param key Key of its address
 */
void aa_view_server(struct aa_server *srv, const struct aa_view *v,
		    enum aa_key_id key)
{
	const struct aa_entry *e = aa_view_look_ok(v, key);

	memset(srv, 0, sizeof(*srv));

	if (!e)
		return;

	str_ncpy(srv->host, e->v.val, sizeof(srv->host));
	srv->port = (uint16_t)aa_view_num(v, aa_key_port(key));
}


/**
 * Get the transport of a line
 *
 * @param lc    Settings, of which the transport is filled
 * @param v     View of the line
 * @param facts What its account says, NULL if it has none
 */
void aa_view_transport(struct aa_line_config *lc, const struct aa_view *v,
		       const struct aa_account_facts *facts)
{
	const struct aa_entry *e = aa_view_look_ok(v, K_TRANSPORT);

	/* the enum has the guides' numbers */
	if (e)
		lc->transport = (enum aa_transport)e->v.num;
	else
		lc->transport = facts ? facts->transport : AA_TRANSPORT_UDP;
}


/**
 * Complete the primary servers by what the account says
 *
 * @param lc    Settings with the configured servers; `registers` is filled too
 * @param v     View of the line
 * @param facts What its account says, NULL if it has none
 */
void aa_view_primaries(struct aa_line_config *lc, const struct aa_view *v,
		       const struct aa_account_facts *facts)
{
	struct aa_server *proxy, *registrar, *outbound;
	const struct aa_entry *e;

	proxy     = &lc->server[AA_ROLE_PROXY][AA_RANK_PRIMARY];
	registrar = &lc->server[AA_ROLE_REGISTRAR][AA_RANK_PRIMARY];
	outbound  = &lc->server[AA_ROLE_OUTBOUND][AA_RANK_PRIMARY];

	e = aa_view_look(v, K_REGISTRAR_IP);
	lc->registers = !(e && e->v.state == VALUE_NONE);

	if (facts) {
		if (!proxy->host[0])
			*proxy = facts->domain;

		if (!registrar->host[0] && lc->registers)
			*registrar = facts->domain;

		if (!outbound->host[0] && !aa_view_look(v, K_OUTBOUND_PROXY))
			*outbound = facts->outbound;
	}
	else if (!proxy->host[0]) {
		/* the AOR needs a domain; the phones could not call */
		*proxy = *registrar;
	}

	if (!registrar->host[0])
		lc->registers = false;
}


static void get_servers(struct aa_line_config *lc, const struct aa_view *v,
			const struct aa_account_facts *facts)
{
	int role, rank;

	for (role=0; role<AA_ROLE_COUNT; role++) {

		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++) {
			const enum aa_key_id key = aa_server_key[role][rank];

			aa_view_server(&lc->server[role][rank], v, key);

			if (is_file(aa_view_look_ok(v, key)))
				lc->from_files = true;
		}
	}

	aa_view_primaries(lc, v, facts);

	/* a backup that is the primary itself is no place to go to, and one
	   of a registrar that is not wanted is not wanted either */
	for (role=0; role<AA_ROLE_COUNT; role++) {
		struct aa_server *srv = lc->server[role];

		if (aa_server_same(&srv[AA_RANK_PRIMARY], &srv[AA_RANK_BACKUP],
				   lc->transport) ||
		    (role == AA_ROLE_REGISTRAR && !lc->registers))
			memset(&srv[AA_RANK_BACKUP], 0, sizeof(*srv));
	}
}


static bool has_backup(const struct aa_line_config *lc, enum aa_role role)
{
	return lc->server[role][AA_RANK_BACKUP].host[0] != '\0';
}


/* The phones' own keys for when a dead server is tried again; ours win */
static void phone_timers(struct aa_line_config *lc, const struct aa_view *v)
{
	const bool base = aa_view_look_ok(v, K_RECOVERY_BASE);
	const bool max  = aa_view_look_ok(v, K_RECOVERY_MAX);
	const struct aa_entry *e;
	uint32_t wait;

	e = aa_view_look_ok(v, K_REGISTRATION_TIMEOUT_RETRY);
	if (e) {
		wait = e->v.num;
		if (!base)
			lc->recovery_base =
				MIN(wait, aa_keyv[K_RECOVERY_BASE].max);
	}
	else {
		e = aa_view_look_ok(v, K_BLACKLIST_DURATION);
		if (!e || !e->v.num)
			return;

		wait = e->v.num;
		if (!base)
			lc->recovery_base = MIN(wait, lc->recovery_base);
	}

	if (!max)
		lc->recovery_max = MIN(wait, aa_keyv[K_RECOVERY_MAX].max);
}


static void get_timers(struct aa_line_config *lc, const struct aa_view *v)
{
	lc->registration_retry = aa_view_num(v, K_REGISTRATION_RETRY);
	lc->registration_timeout_retry =
		aa_view_num(v, K_REGISTRATION_TIMEOUT_RETRY);
	lc->registration_renewal = aa_view_num(v, K_REGISTRATION_RENEWAL);
	lc->transaction_timer  = aa_view_num(v, K_TRANSACTION_TIMER);
	lc->keepalive_timer    = aa_view_num(v, K_KEEPALIVE_TIMER);
	lc->recovery_base      = aa_view_num(v, K_RECOVERY_BASE);
	lc->recovery_max       = aa_view_num(v, K_RECOVERY_MAX);
	lc->failback_delay     = aa_view_num(v, K_FAILBACK_DELAY);
	lc->failback_successes = aa_view_num(v, K_FAILBACK_SUCCESSES);

	phone_timers(lc, v);

	if (lc->recovery_max < lc->recovery_base)
		lc->recovery_max = lc->recovery_base;
}


/* The phones' keep-alives of a persistent TLS connection, where nothing of
   our own says otherwise (guide 6-17) */
static void persistent_tls(struct aa_line_config *lc, const struct aa_view *v)
{
	const uint32_t interval = aa_view_num(v, K_PERSISTENT_TLS_KEEPALIVE);

	if (lc->transport != AA_TRANSPORT_TLS || !interval ||
	    !aa_view_num(v, K_PERSISTENT_TLS))
		return;

	if (!aa_view_look_ok(v, K_OUTBOUND_SUPPORT))
		lc->outbound = true;

	if (!aa_view_look_ok(v, K_KEEPALIVE_TIMER))
		lc->keepalive_timer = MIN(interval,
					  aa_keyv[K_KEEPALIVE_TIMER].max);
}


/* What a REGISTER says beside what it has to, and what it is asked */
static void get_register(struct aa_line_config *lc, const struct aa_view *v)
{
	const struct aa_entry *e = aa_view_look_ok(v, K_CONTACT_MATCHING);

	lc->contact_matching = e ? e->v.num : CONTACT_MATCHING_USER;

	if (aa_view_num(v, K_SEND_MAC))
		(void)aa_config_mac(v->cfg, lc->mac, sizeof(lc->mac));

	lc->send_line = aa_view_num(v, K_SEND_LINE);
	lc->subscription_rate = aa_view_num(v, K_SUBSCRIPTION_RATE);
}


static enum aa_failback get_failback(const struct aa_view *v)
{
	static const enum aa_failback failbackv[] = {
		AA_FAILBACK_AUTO, AA_FAILBACK_IDLE, AA_FAILBACK_MANUAL
	};
	const struct aa_entry *e = aa_view_look_ok(v, K_FAILBACK_POLICY);

	return e ? failbackv[e->v.num] : AA_FAILBACK_IDLE;
}


/**
 * Get the settings of a line, every default filled in
 *
 * A value of the line counts before a global one, and hides all globals of
 * its set ("rule of whole sets", guide 4-57) unless `sip line inheritance`
 * is `key`.  What the account says stays the primary wherever no key says
 * otherwise, whole sets or not.  A line with a `sip lineN user name` is made
 * from keys alone: its account is ignored.
 *
 * A backup equal to its primary is left out, as is a backup registrar of a
 * line that does not register.  (Interface page, chapters 2 and 3)
 *
 * @param cfg   Configuration
 * @param line  Line number, from 1
 * @param facts What its account says, NULL if it has none
 * @param lc    Settings to be filled; times in the unit of their field
 *
 * @return 0 if success, EINVAL for a missing argument or line 0
 */
int aa_config_line(const struct aa_config *cfg, uint32_t line,
		   const struct aa_account_facts *facts,
		   struct aa_line_config *lc)
{
	const struct aa_entry *e;
	struct aa_view v;
	bool backup;

	if (!cfg || !line || !lc)
		return EINVAL;

	aa_view_init(&v, cfg, line);

	if (aa_view_described(&v))
		facts = NULL;

	memset(lc, 0, sizeof(*lc));
	lc->line = line;

	look_str(lc->user_name, sizeof(lc->user_name), &v, K_USER_NAME);
	look_str(lc->auth_name, sizeof(lc->auth_name), &v, K_AUTH_NAME);
	look_str(lc->password, sizeof(lc->password), &v, K_PASSWORD);
	look_str(lc->display_name, sizeof(lc->display_name), &v,
		 K_DISPLAY_NAME);
	look_str(lc->screen_name, sizeof(lc->screen_name), &v, K_SCREEN_NAME);

	aa_view_transport(lc, &v, facts);
	get_servers(lc, &v, facts);

	lc->scenario = aa_policy_scenario(has_backup(lc, AA_ROLE_OUTBOUND),
					  has_backup(lc, AA_ROLE_PROXY),
					  has_backup(lc, AA_ROLE_REGISTRAR));
	backup = lc->scenario != AA_SCENARIO_NONE;

	e = aa_view_look_ok(&v, K_OUTBOUND_SUPPORT);
	if (e)
		lc->outbound = e->v.num;
	else if (backup)
		lc->outbound = !lc->from_files;
	else
		lc->outbound = facts && facts->flows;

	lc->registration_period = aa_view_num(&v, K_REGISTRATION_PERIOD);
	if (!lc->registration_period && facts)
		lc->registration_period = facts->regint;
	if (!lc->registration_period)
		lc->registration_period = 3600;

	get_timers(lc, &v);
	persistent_tls(lc, &v);
	get_register(lc, &v);

	e = aa_view_look_ok(&v, K_STANDBY);
	lc->standby       = e ? e->v.num : 0;
	e = aa_view_look_ok(&v, K_DNS_QUERY_TYPE);
	lc->dns_query_type = e ? e->v.num : DNS_QUERY_SRV;
	lc->failback      = get_failback(&v);
	lc->call_failover = aa_view_num(&v, K_CALL_FAILOVER);

	lc->explicit_mwi        = aa_view_num(&v, K_EXPLICIT_MWI);
	lc->explicit_mwi_period = aa_view_num(&v, K_EXPLICIT_MWI_PERIOD);
	lc->as_feature_event    = aa_view_num(&v, K_AS_FEATURE_EVENT);
	lc->as_feature_event_period =
		aa_view_num(&v, K_AS_FEATURE_EVENT_PERIOD);
	lc->progkeys = aa_progkeys_hash(cfg->keys, line);
	lc->blf_period          = aa_view_num(&v, K_BLF_PERIOD);
	lc->subscription_timeout_retry =
		aa_view_num(&v, K_SUBSCRIPTION_TIMEOUT_RETRY);
	lc->subscription_failed_retry =
		aa_view_num(&v, K_SUBSCRIPTION_FAILED_RETRY);
	look_str(lc->subscribe, sizeof(lc->subscribe), &v, K_SUBSCRIBE);

	return 0;
}


/**
 * Was everything read that there is?
 *
 * @param cfg Configuration
 *
 * @return 0 if so, otherwise the errorcode of the first file that could not
 *         be read; ENOENT if baresip's config is not there, or none of the
 *         files in the folder that it names.  A start goes on with what
 *         there is; a reload should change nothing.
 */
int aa_config_status(const struct aa_config *cfg)
{
	return cfg ? cfg->status : EINVAL;
}


/**
 * Get the highest line that a key names
 *
 * @param cfg Configuration
 *
 * @return Line number, 0 if there is none; a global `sip user name` names
 *         line 1
 */
uint32_t aa_config_max_line(const struct aa_config *cfg)
{
	size_t i;

	if (!cfg)
		return 0;

	for (i=cfg->indexc; i; i--) {
		const struct aa_entry *e = cfg->indexv[i - 1];

		if (!e->line)
			break;

		if (e->v.state == VALUE_OK)
			return e->line;
	}

	return aa_config_entry(cfg, 0, K_USER_NAME) ? 1 : 0;
}


/**
 * Does any key name this line, `sip lineN ...`?
 *
 * Empty values and 0.0.0.0 do not: templates write them for every line.
 *
 * @param cfg  Configuration
 * @param line Line number, from 1
 *
 * @return true if so, or if a user name describes the line
 */
bool aa_config_names_line(const struct aa_config *cfg, uint32_t line)
{
	size_t i;

	if (!cfg || !line)
		return false;

	for (i = index_lower(cfg, line, (enum aa_key_id)0); i < cfg->indexc;
	     i++) {

		if (cfg->indexv[i]->line != line)
			break;

		if (cfg->indexv[i]->v.state == VALUE_OK)
			return true;
	}

	return aa_config_describes_line(cfg, line);
}


/**
 * Does a user name describe the line, so that it needs no account?
 * (Interface page, chapter 2)
 *
 * @param cfg  Configuration
 * @param line Line number, from 1
 *
 * @return true for a line with `sip lineN user name`, and for line 1 with a
 *         global `sip user name` that no Authentication set of its own hides
 */
bool aa_config_describes_line(const struct aa_config *cfg, uint32_t line)
{
	struct aa_view v;

	if (!cfg || !line)
		return false;

	aa_view_init(&v, cfg, line);

	return aa_view_described(&v);
}


/**
 * Find a file that had keys, is there still, and has none any more: half
 * written, or another file.  baresip's own config may lose its last key, as
 * long as it loads modules
 *
 * @param old Configuration in force
 * @param cfg Configuration that was read now
 *
 * @return Name of the first such file, NULL if there is none
 */
const char *aa_config_lost(const struct aa_config *old,
			   const struct aa_config *cfg)
{
	struct le *a, *b;

	for (a = old ? list_head(&old->sourcel) : NULL; a; a = a->next) {
		const struct aa_source *was = a->data;

		for (b = cfg ? list_head(&cfg->sourcel) : NULL; b;
		     b = b->next) {
			const struct aa_source *is = b->data;

			if (was->keys && !is->keys && !is->whole &&
			    !str_cmp(was->name, is->name))
				return is->name;
		}
	}

	return NULL;
}


/**
 * Is a backup server configured, for any line?
 *
 * @param cfg Configuration
 *
 * @return true if so
 */
bool aa_config_has_backup(const struct aa_config *cfg)
{
	size_t i;
	int role;

	for (i=0; cfg && i<cfg->indexc; i++) {
		const struct aa_entry *e = cfg->indexv[i];

		for (role=0; role<AA_ROLE_COUNT; role++) {
			if (e->key == aa_server_key[role][AA_RANK_BACKUP] &&
			    aa_config_entry(cfg, e->line, e->key))
				return true;
		}
	}

	return false;
}


/**
 * How many keys were in a file?
 *
 * @param cfg  Configuration
 * @param name Name of the file, as in findings
 *
 * @return Number of entries that are keys of the table
 */
uint32_t aa_config_keys(const struct aa_config *cfg, const char *name)
{
	const struct le *le;

	for (le = cfg ? list_head(&cfg->sourcel) : NULL; le; le = le->next) {
		const struct aa_source *src = le->data;

		if (!str_cmp(src->name, name))
			return src->keys;
	}

	return 0;
}


/**
 * Get the next line that a key names, as aa_config_names_line() says it
 *
 * @param cfg  Configuration
 * @param line Line number, 0 to begin
 *
 * @return Smallest such number above `line`, 0 if there is none
 */
uint32_t aa_config_next_line(const struct aa_config *cfg, uint32_t line)
{
	size_t i;

	if (!cfg || line == UINT32_MAX)
		return 0;

	if (line == 0 && aa_config_describes_line(cfg, 1))
		return 1;

	for (i = index_lower(cfg, line + 1, (enum aa_key_id)0);
	     i < cfg->indexc; i++) {

		if (cfg->indexv[i]->v.state == VALUE_OK)
			return cfg->indexv[i]->line;
	}

	return 0;
}


static const struct aa_entry *look_name(const struct aa_config *cfg,
					uint32_t line, const char *name,
					const struct aa_key **keyp)
{
	const struct aa_key *key = name ? aa_key_find(name) : NULL;
	struct aa_view v;

	*keyp = key;

	if (!cfg || !key)
		return NULL;

	aa_view_init(&v, cfg, line);

	return aa_view_look_ok(&v, aa_key_id(key));
}


/**
 * Get the value of a key that is in force
 *
 * @param cfg  Configuration
 * @param line Line number, from 1; 0: the global value
 * @param key  Global name of the key, `sip local port`
 *
 * @return Value, in range, as long as the configuration lives; NULL if it is
 *         not configured (empty, 0.0.0.0, port 0, bad) or no key
 */
const char *aa_config_str(const struct aa_config *cfg, uint32_t line,
			  const char *key)
{
	const struct aa_key *k;
	const struct aa_entry *e = look_name(cfg, line, key, &k);

	return e ? e->v.val : NULL;
}


/**
 * Get the value of a number, port or switch that is in force
 *
 * @param cfg  Configuration
 * @param line Line number, from 1; 0: the global value
 * @param key  Global name of the key, `sip local port`
 *
 * @return Value, in range; the default if it is not configured, 0 if there
 *         is no such key
 */
uint32_t aa_config_u32(const struct aa_config *cfg, uint32_t line,
		       const char *key)
{
	const struct aa_key *k;
	const struct aa_entry *e = look_name(cfg, line, key, &k);

	uint32_t def;

	if (!k)
		return 0;

	if (e)
		return e->v.num;

	if (k->type == AA_TYPE_CHOICE && aa_value_number(&def, k->deftext))
		return def;

	return k->def;
}


/* What makes two lines differ, and the key that sets it */
static const struct {
	enum aa_key_id key;
	size_t offset;
	size_t size;            /* of a number; 0: a string                 */
} fieldv[] = {
#define STR(k, field) {k, offsetof(struct aa_line_config, field), 0}
#define NUM(k, field) {k, offsetof(struct aa_line_config, field), \
		       sizeof(((struct aa_line_config *)0)->field)}
	STR(K_USER_NAME,        user_name),
	STR(K_AUTH_NAME,        auth_name),
	STR(K_PASSWORD,         password),
	STR(K_DISPLAY_NAME,     display_name),
	STR(K_SCREEN_NAME,      screen_name),
	NUM(K_TRANSPORT,        transport),
	NUM(K_REGISTRAR_IP,     registers),
	NUM(K_OUTBOUND_SUPPORT, outbound),
	NUM(K_REGISTRATION_PERIOD,  registration_period),
	NUM(K_REGISTRATION_RETRY,   registration_retry),
	NUM(K_REGISTRATION_TIMEOUT_RETRY, registration_timeout_retry),
	NUM(K_REGISTRATION_RENEWAL, registration_renewal),
	NUM(K_CONTACT_MATCHING,     contact_matching),
	STR(K_SEND_MAC,             mac),
	NUM(K_SEND_LINE,            send_line),
	NUM(K_TRANSACTION_TIMER,    transaction_timer),
	NUM(K_KEEPALIVE_TIMER,  keepalive_timer),
	NUM(K_RECOVERY_BASE,    recovery_base),
	NUM(K_RECOVERY_MAX,     recovery_max),
	NUM(K_FAILBACK_DELAY,   failback_delay),
	NUM(K_FAILBACK_SUCCESSES, failback_successes),
	NUM(K_STANDBY,          standby),
	NUM(K_DNS_QUERY_TYPE,   dns_query_type),
	NUM(K_FAILBACK_POLICY,  failback),
	NUM(K_CALL_FAILOVER,    call_failover),
	NUM(K_EXPLICIT_MWI,     explicit_mwi),
	NUM(K_EXPLICIT_MWI_PERIOD, explicit_mwi_period),
	NUM(K_AS_FEATURE_EVENT, as_feature_event),
	NUM(K_AS_FEATURE_EVENT_PERIOD, as_feature_event_period),
	NUM(K_BLF_PERIOD,       blf_period),
	NUM(K_SUBSCRIPTION_TIMEOUT_RETRY, subscription_timeout_retry),
	NUM(K_SUBSCRIPTION_FAILED_RETRY, subscription_failed_retry),
	STR(K_SUBSCRIBE,        subscribe)
#undef STR
#undef NUM
};


enum {
	FIELDS = sizeof(fieldv) / sizeof(fieldv[0])
};


static bool equal_field(size_t i, const struct aa_line_config *a,
			const struct aa_line_config *b)
{
	const char *fa = (const char *)a + fieldv[i].offset;
	const char *fb = (const char *)b + fieldv[i].offset;

	return fieldv[i].size ? !memcmp(fa, fb, fieldv[i].size)
		: !strcmp(fa, fb);
}


static bool equal_server(const struct aa_server *a, const struct aa_server *b)
{
	return a->port == b->port && !str_casecmp(a->host, b->host);
}


/**
 * Compare the settings of two lines
 *
 * @param a First settings
 * @param b Second settings
 *
 * @return true if nothing differs: a reload has nothing to do
 */
bool aa_line_config_equal(const struct aa_line_config *a,
			  const struct aa_line_config *b)
{
	int role, rank;
	size_t i;

	if (!a || !b)
		return a == b;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		for (rank=0; rank<AA_RANK_COUNT; rank++) {
			if (!equal_server(&a->server[role][rank],
					  &b->server[role][rank]))
				return false;
		}
	}

	for (i=0; i<FIELDS; i++) {
		if (!equal_field(i, a, b))
			return false;
	}

	return a->line == b->line && a->progkeys == b->progkeys &&
		 a->scenario == b->scenario &&
		a->from_files == b->from_files;
}


/**
 * Are two settings of the same user at the same proxy, by the same transport?
 *
 * @param a First settings
 * @param b Second settings
 *
 * @return true if one account serves both
 */
bool aa_line_config_same_identity(const struct aa_line_config *a,
				  const struct aa_line_config *b)
{
	if (!a || !b)
		return false;

	return  !strcmp(a->user_name, b->user_name) &&
		!strcmp(a->auth_name, b->auth_name) &&
		!strcmp(a->password, b->password) &&
		!strcmp(a->display_name, b->display_name) &&
		a->transport == b->transport &&
		equal_server(&a->server[AA_ROLE_PROXY][AA_RANK_PRIMARY],
			     &b->server[AA_ROLE_PROXY][AA_RANK_PRIMARY]);
}


/**
 * Print the names of the keys by which two settings differ
 *
 * @param pf Print backend
 * @param a  First settings
 * @param b  Second settings
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_line_config_print_changes(struct re_printf *pf,
				 const struct aa_line_config *a,
				 const struct aa_line_config *b)
{
	const char *sep = "";
	int role, rank, err = 0;
	size_t i;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		for (rank=0; rank<AA_RANK_COUNT; rank++) {
			if (equal_server(&a->server[role][rank],
					 &b->server[role][rank]))
				continue;

			err |= re_hprintf(pf, "%s%s", sep,
				aa_keyv[aa_server_key[role][rank]].name);
			sep = ", ";
		}
	}

	for (i=0; i<FIELDS; i++) {
		if (equal_field(i, a, b))
			continue;

		err |= re_hprintf(pf, "%s%s", sep, aa_keyv[fieldv[i].key].name);
		sep = ", ";
	}

	return err;
}


/**
 * Print the name of an entry's key as it was spelled
 *
 * @param pf Print backend
 * @param e  Entry
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_entry_print_name(struct re_printf *pf, const struct aa_entry *e)
{
	const struct aa_key_name name = {&aa_keyv[e->key], e->line,
					 e->underscore};

	return aa_key_print_name(pf, &name);
}


static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}


/**
 * Print where an entry was read, "aastra.cfg:12"
 *
 * @param pf Print backend
 * @param e  Entry
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_entry_print_place(struct re_printf *pf, const struct aa_entry *e)
{
	return re_hprintf(pf, "%s:%u", base_name(e->src->name), e->lineno);
}


/**
 * The keys of the phone, as its files program them
 *
 * @param cfg Configuration, may be NULL
 *
 * @return Keys
 */
const struct aa_progkeys *aa_config_progkeys(const struct aa_config *cfg)
{
	return cfg ? cfg->keys : NULL;
}
