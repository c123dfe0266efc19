/**
 * @file lines.c  Which lines there are: taken over, made, changed, ended
 *
 * Every account in baresip's list has a place here, in the order of the
 * accounts file.  It has a number, and may be a line.  A line that the
 * configuration describes (`sip lineN user name`) needs no entry in the
 * accounts file: its account is made here.
 *
 * baresip's lists are not changed from within its events, but from a timer.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <re.h>
#include "aastra_baresip.h"
#include "compat.h"
#include "timer.h"
#include "flow.h"
#include "account.h"
#include "line.h"
#include "warm.h"
#include "subscription.h"
#include "progkey.h"
#include "contact.h"
#include "provision.h"
#include "lines.h"


enum {
	LOOK_MS       = 1000,   /* for accounts that come without an event  */
	CALL_WAIT_MS  = 1000,   /* for the end of a call, beside the event  */
	PLACE_BUCKETS = 256,
	ACCOUNTS_MAX  = 10000,  /* accounts looked at in one go             */
	REGINT_DEFAULT = 3600
};

/** What an account is to the module */
enum kind {
	KIND_LINE,              /* a line                                   */
	KIND_SILENT,            /* a line that shall not register           */
	KIND_LEFT,              /* left to baresip                          */
	KIND_RESTING,           /* a line that the user has unregistered    */
	KIND_LEAVING,           /* another account is taking its place      */
	KIND_REMOVED            /* to be freed                              */
};

/** An account in baresip's list */
struct place {
	struct le le;
	struct le he;           /* by user agent                            */
	uint32_t n;             /* number of the line                       */
	struct ua *ua;
	enum kind kind;
	bool made;              /* by us, from keys                         */
	bool mwi;               /* the account wants message waiting        */
	bool waits;             /* to be changed, when its call has ended or
				   there is memory again                */
	bool tired;             /* the user has unregistered it just now    */
	char user[128];
	struct aa_account_facts facts; /* as it was before it was a line    */
	struct aa_line_config *cfg;    /* as it was made, NULL: it was not  */
};


static struct {
	struct aa_phone *phone;
	struct aa_config *cfg;
	struct aa_provision *pv; /* files by HTTP                           */
	struct list placel;     /* by number (struct place)                 */
	struct hash *ht;        /* by user agent (struct place)             */
	struct aa_tmr tmr;      /* looks for accounts without an event      */
	struct aa_tmr tmr_work; /* baresip's list is to be put in order     */
	char conf_path[512];
	char warm_path[512];
	uint32_t count;         /* accounts so far that were not made here  */
	uint32_t watching;      /* line that contacts are watched with      */
	bool arranged;
	bool taking_over;       /* the module begins, and finds accounts    */
} lines;


static void place_change(struct re_printf *pf, struct place *pl,
			 unsigned *count);
static struct aa_line *line_of(const struct place *pl);
static void line_drop(struct place *pl);
static void work_handler(void *arg);
static void phone_settings(void);
static int  take_up(struct re_printf *pf, struct aa_config *cfg);
static int  fetch(void);


static void config_handler(enum aa_config_level level, const char *text,
			   void *arg)
{
	(void)arg;

	if (level == AA_CONFIG_WARN)
		warning("aastra: %s\n", text);
	else
		info("aastra: %s\n", text);
}


/* ---- places ----------------------------------------------------------- */


static void place_destructor(void *arg)
{
	struct place *pl = arg;

	list_unlink(&pl->le);
	hash_unlink(&pl->he);
	mem_deref(pl->cfg);
}


static void cfg_destructor(void *arg)
{
	/* passwords */
	memset(arg, 0, aa_line_config_size(arg));
}


/* Only what holds something is kept */
static int place_keep(struct place *pl, const struct aa_line_config *lc)
{
	const size_t size = aa_line_config_size(lc);
	struct aa_line_config *cfg;

	cfg = mem_alloc(size, cfg_destructor);
	if (!cfg)
		return ENOMEM;

	memcpy(cfg, lc, size);
	mem_deref(pl->cfg);
	pl->cfg = cfg;

	return 0;
}


static uint32_t key_of(const struct ua *ua)
{
	return hash_fast((const char *)&ua, sizeof(ua));
}


static struct place *place_alloc(struct ua *ua, uint32_t n)
{
	struct place *pl = mem_zalloc(sizeof(*pl), place_destructor);
	struct le *le;

	if (!pl)
		return NULL;

	pl->ua   = ua;
	pl->n    = n;
	pl->kind = KIND_LEFT;

	for (le = list_tail(&lines.placel); le; le = le->prev) {
		const struct place *other = le->data;

		if (other->n <= n)
			break;
	}

	if (le)
		list_insert_after(&lines.placel, le, &pl->le, pl);
	else
		list_prepend(&lines.placel, &pl->le, pl);
	hash_append(lines.ht, key_of(ua), &pl->he, pl);

	return pl;
}


static bool ua_handler(struct le *le, void *arg)
{
	const struct place *pl = le->data;

	return pl->ua == arg;
}


/* Asked for each account of thousands each time that one of them registers */
static struct place *place_find_ua(const struct ua *ua)
{
	return list_ledata(hash_lookup(lines.ht, key_of(ua), ua_handler,
				       (void *)(uintptr_t)ua));
}


static struct place *place_find(uint32_t n)
{
	struct le *le;

	for (le = list_head(&lines.placel); le; le = le->next) {
		struct place *pl = le->data;

		if (pl->n == n && pl->kind != KIND_REMOVED &&
		    pl->kind != KIND_LEAVING)
			return pl;
	}

	return NULL;
}


static void work_soon(uint32_t ms)
{
	if (ms && aa_tmr_isrunning(&lines.tmr_work))
		return;

	aa_tmr_start(&lines.tmr_work, ms, work_handler, NULL);
}


/* A line that memory ran out for begins when there is some */
static void try_again(struct place *pl, int err)
{
	if (err != ENOMEM)
		return;

	pl->waits = true;
	work_soon(LOOK_MS);
}


/* Nothing of it goes to the wire any more */
static void silence(struct ua *ua)
{
	struct account *acc = ua_account(ua);
	int err;

	err  = account_set_regint(acc, 0);
	err |= account_set_sipnat(acc, NULL);
	if (!err)
		err = ua_update_account(ua);
	if (err)
		warning("aastra: %s: could not be kept from registering"
			" (%m)\n", account_aor(acc), err);
}


static void place_remove(struct place *pl)
{
	if (pl->kind == KIND_REMOVED)
		return;

	pl->kind = KIND_REMOVED;
	silence(pl->ua);
	work_soon(0);
}


static void unused_handler(struct ua *ua)
{
	struct place *pl = place_find_ua(ua);

	if (pl)
		place_remove(pl);
}


/* ---- what an account says --------------------------------------------- */


static enum aa_transport transport_of(const struct pl *params)
{
	struct pl tp;

	if (msg_param_decode(params, "transport", &tp))
		return AA_TRANSPORT_UNSET;

	if (0 == pl_strcasecmp(&tp, "udp"))
		return AA_TRANSPORT_UDP;
	if (0 == pl_strcasecmp(&tp, "tcp"))
		return AA_TRANSPORT_TCP;
	if (0 == pl_strcasecmp(&tp, "tls"))
		return AA_TRANSPORT_TLS;

	return AA_TRANSPORT_UNSET;
}


static bool is_sips(const struct uri *uri)
{
	return 0 == pl_strcasecmp(&uri->scheme, "sips");
}


/* Is it to be reached by what only baresip knows, as wss? */
static bool is_other_transport(const struct account *acc)
{
	const struct uri *luri = account_luri(acc);
	const char *outbound = account_outbound(acc, 0);
	struct uri uri;
	struct pl str, tp;

	pl_set_str(&str, outbound);
	if (str_isset(outbound) && !uri_decode(&uri, &str) &&
	    !msg_param_decode(&uri.params, "transport", &tp))
		return transport_of(&uri.params) == AA_TRANSPORT_UNSET;

	return !msg_param_decode(&luri->params, "transport", &tp) &&
		transport_of(&luri->params) == AA_TRANSPORT_UNSET;
}


/* Accounts that no configuration makes a line of */
static bool is_foreign(const struct account *acc)
{
	return aa_compat_account_prio(acc) > 0 || is_other_transport(acc);
}


static void facts_of(struct place *pl, const struct account *acc)
{
	struct aa_account_facts *facts = &pl->facts;
	const struct uri *luri = account_luri(acc);
	const char *outbound = account_outbound(acc, 0);
	struct uri uri;
	struct pl str;

	(void)pl_strcpy(&luri->user, pl->user, sizeof(pl->user));
	facts->user = pl->user;
	(void)pl_strcpy(&luri->host, facts->domain.host,
			sizeof(facts->domain.host));
	facts->domain.port = luri->port;
	facts->regint      = account_regint(acc);
	facts->transport   = transport_of(&luri->params);
	facts->flows  = 0 == str_casecmp(account_sipnat(acc), "outbound");
	facts->second = str_isset(account_outbound(acc, 1));

	/* RFC 3261 26.2.2: over TLS or not at all, whatever else is said */
	if (is_sips(luri))
		facts->transport = AA_TRANSPORT_TLS;

	if (!str_isset(outbound))
		return;

	pl_set_str(&str, outbound);
	if (uri_decode(&uri, &str))
		return;

	(void)pl_strcpy(&uri.host, facts->outbound.host,
			sizeof(facts->outbound.host));
	facts->outbound.port = uri.port;
	if (is_sips(luri) || is_sips(&uri))
		facts->transport = AA_TRANSPORT_TLS;
	else if (transport_of(&uri.params) != AA_TRANSPORT_UNSET)
		facts->transport = transport_of(&uri.params);
}


static enum sip_transp transp_of(enum aa_transport tp)
{
	switch (tp) {

	case AA_TRANSPORT_TCP: return SIP_TRANSP_TCP;
	case AA_TRANSPORT_TLS: return SIP_TRANSP_TLS;
	default:               return SIP_TRANSP_UDP;
	}
}


/* What the line of a place shall be */
static int settings_of(const struct place *pl, struct aa_line_config *lc)
{
	int err;

	err = aa_config_line(lines.cfg, pl->n, pl->made ? NULL : &pl->facts,
			     lc);
	if (!err && pl->mwi)
		lc->explicit_mwi = true;

	return err;
}


/*
 * Does the configuration make a line of this account?  baresip registers it
 * over both of its outbound proxies: that stays so until there is a backup.
 */
static bool is_wanted(const struct place *pl)
{
	struct aa_line_config lc;

	if (pl->made || aa_config_names_line(lines.cfg, pl->n))
		return true;

	if (!pl->facts.regint || !pl->facts.second)
		return pl->facts.regint;

	return settings_of(pl, &lc) || lc.scenario != AA_SCENARIO_NONE;
}


/* ---- adopted lines ---------------------------------------------------- */


static void say_line(const struct place *pl, const char *what)
{
	info("aastra: line %u%s: %s, %s, outbound support %s\n", pl->n, what,
	     account_aor(ua_account(pl->ua)),
	     aa_scenario_name(pl->cfg->scenario),
	     pl->cfg->outbound ? "on" : "off");
}


/* pl->cfg says how; old: the line in whose place it comes, or NULL */
static bool progkey_handler(const struct aa_progkey *key, void *arg)
{
	struct aa_line *line = arg;
	const struct aa_sub_prm prm = {
		.event = "dialog",
		.uri   = key->uri,
		.label = key->label,
		.settings = true,
	};
	int err;

	/* several keys may show the same lamp */
	err = aa_subs_add_prm(line->subs, &prm);
	if (err && err != EALREADY)
		warning("aastra: line %u: %s: %s: nobody to watch (%m)\n",
			line->cfg.line, key->name, key->uri, err);

	return false;
}


static void watch(struct aa_line *line)
{
	const struct aa_sub_prm feature = {
		.event  = "as-feature-event",
		.uri    = "",
		.period = line->cfg.as_feature_event_period,
		.settings = true,
	};

	(void)aa_progkeys_apply(aa_config_progkeys(lines.cfg),
				line->cfg.line, progkey_handler, line);

	if (line->cfg.as_feature_event)
		(void)aa_subs_add_prm(line->subs, &feature);
}


/* Contacts are watched with the first line, as long as it is there */
static const struct aa_line *contact_line(void)
{
	const struct aa_line *line = aa_line_find(lines.phone,
						  lines.watching);

	return line ? line : list_ledata(list_head(&lines.phone->linel));
}


static struct aa_subs *contact_subs(void)
{
	const struct aa_line *line = contact_line();

	return line ? line->subs : NULL;
}


static void watch_contacts(void)
{
	const struct aa_line *line = contact_line();
	const uint32_t n = line ? line->cfg.line : 0;

	if (n == lines.watching)
		return;

	lines.watching = n;
	aa_contact_watch(contact_subs);
}


/* What keys say of an account; one that was made here has been told */
static int account_identity_set(const struct place *pl, struct aa_account *acc,
				const struct aa_line_config *lc)
{
	return pl->made ? 0 : aa_account_identity_set(
		acc, lc->auth_name, lc->password, lc->display_name);
}


/* plain: baresip may have registered the account by itself */
static int line_begin(struct place *pl, struct aa_line *old, const char *what,
		      bool plain)
{
	const enum sip_transp tp = transp_of(pl->cfg->transport);
	struct aa_account *acc = NULL;
	struct aa_line *line;
	int err;

	aa_compat_mwi_off(ua_account(pl->ua));

	/* an account that does not register has nothing there */
	plain = plain && account_regint(ua_account(pl->ua));

	err = aa_account_adopt(&acc, pl->ua);
	if (err)
		return err;

	err = account_identity_set(pl, acc, pl->cfg);
	if (err) {
		aa_account_release(acc);
		return err;
	}

	if (old)
		err = aa_line_replace(&line, old, pl->cfg, acc, tp, what);
	else
		err = aa_line_alloc(&line, lines.phone, pl->cfg, acc, tp);
	if (err) {
		aa_account_release(acc);
		return err;
	}

	pl->kind = KIND_LINE;
	say_line(pl, old ? " changed" : "");
	if (!pl->made && pl->facts.second)
		info("aastra: line %u: the outbound2 of its account is"
		     " ignored\n", pl->n);

	watch(line);
	if (old) {
		aa_subs_inherit(line->subs, old->subs, false);
	}
	else {
		aa_warm_load(line, lines.warm_path);
		if (pl->n == lines.watching)
			lines.watching = 0;
	}
	aa_line_start(line, plain);

	return 0;
}


static void be_silent(struct place *pl)
{
	pl->kind = KIND_SILENT;
	silence(pl->ua);
	info("aastra: line %u: %s has no registrar and does not register\n",
	     pl->n, account_aor(ua_account(pl->ua)));
}


/*
 * Every account in the list has a number, in the order of the accounts file,
 * whether it becomes a line or not.
 */
static int ua_appeared(struct ua *ua)
{
	struct account *acc = ua_account(ua);
	struct aa_line_config lc;
	struct place *pl;
	int err;

	if (!ua || !acc || place_find_ua(ua) ||
	    aa_line_find_ua(lines.phone, ua))
		return 0;

	pl = place_alloc(ua, lines.count + 1);
	if (!pl)
		return ENOMEM;

	++lines.count;
	facts_of(pl, acc);
	pl->mwi = aa_compat_mwi_wished(acc);

	if (aa_compat_account_prio(acc) > 0) {
		info("aastra: %s has prio > 0 and is left to serreg\n",
		     account_aor(acc));
		return 0;
	}

	if (is_foreign(acc)) {
		info("aastra: %s has a transport other than UDP, TCP and TLS,"
		     " and is left to baresip\n", account_aor(acc));
		return 0;
	}

	if (aa_config_describes_line(lines.cfg, pl->n)) {
		info("aastra: line %u is described by its user name: the"
		     " account %s is ignored\n", pl->n, account_aor(acc));
		place_remove(pl);
		return 0;
	}

	aa_config_check_line(lines.cfg, pl->n, &pl->facts);

	if (!is_wanted(pl)) {
		if (pl->facts.regint)
			info("aastra: %s has an outbound2 and no backup key:"
			     " it is left to baresip\n", account_aor(acc));
		return 0;
	}

	err = settings_of(pl, &lc);
	if (!err)
		err = place_keep(pl, &lc);
	if (!err && !lc.registers) {
		be_silent(pl);
		return 0;
	}
	if (!err)
		err = line_begin(pl, NULL, NULL, lines.taking_over);
	if (err) {
		warning("aastra: line %u: %s could not be taken over (%m)\n",
			pl->n, account_aor(acc), err);
		try_again(pl, err);
	}

	if (lines.arranged)
		work_soon(0);

	return 0;
}


static void look_handler(void *arg)
{
	(void)arg;

	aa_lines_look();
}


/**
 * Look for accounts that were not seen yet
 *
 * Accounts that do not register are created without any event.  So as long as
 * a key names a line that is not there, its account is looked for.
 */
void aa_lines_look(void)
{
	const struct le *le;
	unsigned n = 0;
	int err = 0;

	/* the later ones wait for their turn, since the order is the number */
	for (le = list_head(uag_list()); le && n < ACCOUNTS_MAX && !err;
	     le = le->next, n++)
		err = ua_appeared(le->data);

	if (err)
		warning("aastra: an account could not be looked at (%m)\n",
			err);

	if (err || aa_config_max_line(lines.cfg) > lines.count)
		aa_tmr_start(&lines.tmr, LOOK_MS, look_handler, NULL);
}


/* ---- lines that are made from keys ------------------------------------ */


static int print_host(struct re_printf *pf, const struct aa_server *srv)
{
	const bool ipv6 = strchr(srv->host, ':') && srv->host[0] != '[';

	return re_hprintf(pf, "%s%s%s", ipv6 ? "[" : "", srv->host,
			  ipv6 ? "]" : "");
}


static const char *transport_param(enum aa_transport tp)
{
	switch (tp) {

	case AA_TRANSPORT_UDP: return ";transport=udp";
	case AA_TRANSPORT_TCP: return ";transport=tcp";
	case AA_TRANSPORT_TLS: return ";transport=tls";
	default:               return "";
	}
}


/* The rest is set by functions: no character of it has a meaning there */
static int print_aor(struct re_printf *pf, const struct aa_line_config *lc)
{
	const struct aa_server *proxy =
		&lc->server[AA_ROLE_PROXY][AA_RANK_PRIMARY];
	const struct aa_server *outbound =
		&lc->server[AA_ROLE_OUTBOUND][AA_RANK_PRIMARY];
	const uint16_t standard = lc->transport == AA_TRANSPORT_TLS ?
		SIP_PORT_TLS : SIP_PORT;
	const char *tp = transport_param(lc->transport);
	int err;

	err = re_hprintf(pf, "<sip:%s@%H", lc->user_name, print_host, proxy);
	if (proxy->port && proxy->port != standard)
		err |= re_hprintf(pf, ":%u", proxy->port);
	err |= re_hprintf(pf, "%s>;regint=%u;mwi=no", tp,
			  lc->registers ? lc->registration_period : 0);

	if (!outbound->host[0])
		return err;

	err |= re_hprintf(pf, ";outbound=\"sip:%H", print_host, outbound);
	if (outbound->port)
		err |= re_hprintf(pf, ":%u", outbound->port);

	return err | re_hprintf(pf, "%s\"", tp);
}


static int identity_set(struct ua *ua, const struct aa_line_config *lc)
{
	struct account *acc = ua_account(ua);
	int err = 0;

	if (lc->display_name[0])
		err |= account_set_display_name(acc, lc->display_name);

	err |= account_set_auth_user(acc, lc->auth_name[0] ? lc->auth_name
				     : lc->user_name);
	err |= account_set_auth_pass(acc, lc->password);

	return err;
}


/* old: the line in whose place it comes, NULL if there is none */
static int line_make(uint32_t n, struct aa_line *old, const char *what)
{
	struct aa_line_config lc;
	struct place *pl = NULL;
	struct ua *ua = NULL;
	char aor[1024];
	int err;

	err = aa_config_line(lines.cfg, n, NULL, &lc);
	if (err)
		return err;

	/* config_check.c has said so */
	if (!lc.server[AA_ROLE_PROXY][AA_RANK_PRIMARY].host[0])
		return ENOENT;

	if (re_snprintf(aor, sizeof(aor), "%H", print_aor, &lc) < 0)
		return EINVAL;

	err = ua_alloc(&ua, aor);
	if (err)
		goto out;

	err = identity_set(ua, &lc);
	if (err)
		goto out;

	pl = place_alloc(ua, n);
	if (!pl) {
		err = ENOMEM;
		goto out;
	}

	pl->made = true;
	pl->kind = KIND_SILENT;
	err = place_keep(pl, &lc);
	if (err)
		goto out;

	if (lc.registers) {
		err = line_begin(pl, old, what, false);
		if (err)
			goto out;

		/* baresip's own, which comes back to us */
		err = ua_register(ua);
		if (err)
			warning("aastra: line %u: %m\n", n, err);
		err = 0;
	}
	else {
		be_silent(pl);
	}

	work_soon(0);

 out:
	if (err) {
		warning("aastra: line %u could not be made (%m)\n", n, err);
		mem_deref(pl);
		mem_deref(ua);
	}

	return err;
}


/* ---- order ------------------------------------------------------------ */


static struct le *list_entry_of(const struct ua *ua)
{
	struct le *le;

	for (le = list_head(uag_list()); le; le = le->next) {
		if (le->data == ua)
			return le;
	}

	return NULL;
}


static struct le *entry_of(const struct place *pl)
{
	const struct ua *shown = pl->ua;
	struct le *le;

	for (le = list_head(&lines.phone->linel); le; le = le->next) {
		const struct aa_line *line = le->data;

		if (aa_account_owns(line->acc, pl->ua)) {
			shown = aa_account_shown(line->acc);
			break;
		}
	}

	return list_entry_of(shown);
}


static bool gone(const struct place *pl)
{
	return pl->kind == KIND_REMOVED || pl->kind == KIND_LEAVING;
}


/* A line is in baresip's list where its number puts it */
static void arrange(void)
{
	struct le *le, *prev = NULL;
	bool moved = false;

	for (le = list_head(&lines.placel); le; le = le->next) {
		const struct place *pl = le->data;
		struct le *e = gone(pl) ? NULL : entry_of(pl);
		void *ua;

		if (!e)
			continue;

		/* e->prev, or the head, is where it should be? */
		if (e->prev != prev) {
			moved = true;
			ua = e->data;
			list_unlink(e);
			if (prev)
				list_insert_after(uag_list(), prev, e, ua);
			else
				list_prepend(uag_list(), e, ua);
		}

		prev = e;
	}

	/* what was current by its place is so still; what a person chose stays */
	if (!lines.arranged && moved && list_head(uag_list()) &&
	    aa_compat_has_current())
		aa_compat_current_set(list_ledata(list_head(uag_list())));

	lines.arranged = true;
}


/* false: it has a call, and waits */
static bool remove_one(struct place *pl)
{
	struct ua *ua = pl->ua;

	if (!list_isempty(ua_calls(ua)))
		return false;

	mem_deref(pl);
	aa_compat_current_leave(ua);
	mem_deref(ua);

	return true;
}


/*
 * The user does not want the account registered (`uareg 0` of 4.x).
 *
 * false: it has a call, and waits
 */
static bool rest(struct place *pl)
{
	struct aa_line *line = line_of(pl);

	pl->tired = false;

	/* or has changed his mind */
	if (!line || account_regint(ua_account(aa_account_shown(line->acc))))
		return true;

	if (aa_account_calls(line->acc)) {
		pl->tired = true;
		return false;
	}

	info("aastra: line %u: unregistered by the user, until it is"
	     " registered again\n", pl->n);
	aa_account_rest(line->acc);
	line_drop(pl);
	pl->kind = KIND_RESTING;

	return true;
}


static void work_handler(void *arg)
{
	bool again = false;
	unsigned count = 0;
	struct le *le;
	(void)arg;

	le = list_head(&lines.placel);
	while (le) {
		struct place *pl = le->data;

		le = le->next;

		if (pl->kind == KIND_REMOVED && !remove_one(pl))
			again = true;
	}

	for (le = list_head(&lines.placel); le; le = le->next) {
		struct place *pl = le->data;

		if (pl->tired && !rest(pl))
			again = true;
	}

	for (le = list_head(&lines.placel); le; le = le->next) {
		struct place *pl = le->data;

		if (!pl->waits)
			continue;

		pl->waits = false;
		place_change(NULL, pl, &count);
		again = again || pl->waits;

		/* the list may be another one now */
		if (count) {
			again = true;
			break;
		}
	}

	arrange();
	watch_contacts();

	if (again)
		work_soon(count ? 0 : CALL_WAIT_MS);
}


/* ---- reload ----------------------------------------------------------- */


static int say(struct re_printf *pf, const char *fmt, ...)
{
	va_list ap;
	char *str = NULL;
	int err;

	va_start(ap, fmt);
	err = re_vsdprintf(&str, fmt, ap);
	va_end(ap);
	if (err)
		return err;

	if (pf)
		err = re_hprintf(pf, "%s\n", str);
	info("aastra: %s\n", str);
	mem_deref(str);

	return err;
}


static struct aa_line *line_of(const struct place *pl)
{
	return pl->kind == KIND_LINE ? aa_line_find_ua(lines.phone, pl->ua)
		: NULL;
}


/* The module's side of a line ends, its account stays in baresip's list */
static void line_drop(struct place *pl)
{
	struct aa_line *line = line_of(pl);

	if (!line)
		return;

	(void)aa_account_show(line->acc, NULL, 0);
	aa_line_end(line, NULL);
	pl->kind = KIND_LEFT;
}


/*
 * A new account, since who the line is has changed.  The old one can not be
 * seen any more, and goes when the new one is registered; what comes for it
 * until then is the new one's (module.c).
 */
static void place_remake(struct re_printf *pf, struct place *pl,
			 const char *what, unsigned *count)
{
	struct aa_line *line = line_of(pl);
	struct le *le;
	int err;

	err = line_make(pl->n, line, what);
	if (err) {
		(void)say(pf, "line %u: stays as it was (%m)", pl->n, err);
		return;
	}

	++*count;
	(void)say(pf, "line %u: changed: %s", pl->n, what);

	if (!line || !line->ended) {
		line_drop(pl);
		place_remove(pl);
		return;
	}

	pl->kind = KIND_LEAVING;
	(void)aa_account_show(line->acc, NULL, 0);
	aa_compat_current_leave(pl->ua);
	le = list_entry_of(pl->ua);
	if (le)
		list_unlink(le);
}


static void place_end(struct re_printf *pf, struct place *pl, unsigned *count)
{
	(void)say(pf, "line %u: ended", pl->n);
	line_drop(pl);
	place_remove(pl);
	++*count;
}


/* What baresip would have registered is registered by it again */
static void give_back(struct place *pl)
{
	struct aa_line *line = line_of(pl);

	if (line)
		aa_line_release(line);
	pl->kind = KIND_LEFT;
}


static void place_begin(struct re_printf *pf, struct place *pl,
			const struct aa_line_config *lc, unsigned *count)
{
	struct account *acc = ua_account(pl->ua);
	const bool left = pl->kind == KIND_LEFT;
	int err;

	err = place_keep(pl, lc);
	if (!err)
		err = account_set_regint(acc, pl->facts.regint ?
					 pl->facts.regint : REGINT_DEFAULT);
	if (!err)
		err = ua_update_account(pl->ua);
	if (!err)
		err = line_begin(pl, NULL, NULL, left);
	if (!err)
		err = ua_register(pl->ua);

	(void)say(pf, err ? "line %u: could not begin (%m)" :
		  "line %u: begins", pl->n, err);
	if (err)
		try_again(pl, err);
	else
		++*count;
}


struct changes {
	const struct aa_line_config *from;
	const struct aa_line_config *to;
};


static int print_changes(struct re_printf *pf, const struct changes *cf)
{
	return aa_line_config_print_changes(pf, cf->from, cf->to);
}


/* Bring one account to what the configuration says now */
static void place_change(struct re_printf *pf, struct place *pl,
			 unsigned *count)
{
	const bool described = aa_config_describes_line(lines.cfg, pl->n);
	struct aa_line *line = line_of(pl), *next;
	struct aa_line_config lc;
	struct changes cf;
	char what[160];
	int err;

	if (gone(pl))
		return;

	if (!pl->made && is_foreign(ua_account(pl->ua)))
		return;

	err = settings_of(pl, &lc);
	if (err) {
		try_again(pl, err);
		return;
	}

	if (pl->made == described && is_wanted(pl) &&
	    pl->kind != KIND_LEFT && aa_line_config_equal(&lc, pl->cfg))
		return;

	if (pl->kind == KIND_LEFT && !described && !is_wanted(pl))
		return;

	/* it goes on with the new ones */
	if (pl->kind == KIND_RESTING && pl->made == described &&
	    is_wanted(pl) && lc.registers &&
	    aa_line_config_same_identity(&lc, pl->cfg)) {
		(void)place_keep(pl, &lc);
		return;
	}

	if (!list_isempty(ua_calls(pl->ua)) ||
	    (line && aa_account_calls(line->acc))) {
		(void)say(pf, "line %u: changes when its call has ended",
			  pl->n);
		pl->waits = true;
		work_soon(CALL_WAIT_MS);
		return;
	}

	if (pl->made && !described) {
		place_end(pf, pl, count);
		return;
	}

	if (described && !lc.server[AA_ROLE_PROXY][AA_RANK_PRIMARY].host[0]) {
		(void)say(pf, "line %u: stays as it was: it would have no"
			  " proxy and no registrar", pl->n);
		return;
	}

	cf.from = pl->cfg;
	cf.to   = &lc;
	if (!cf.from)
		str_ncpy(what, "all settings", sizeof(what));
	else if (re_snprintf(what, sizeof(what), "%H", print_changes, &cf) < 0)
		str_ncpy(what, "many settings", sizeof(what));

	if (described && (!pl->made || pl->kind != KIND_LINE ||
			  !lc.registers ||
			  !aa_line_config_same_identity(&lc, pl->cfg))) {
		place_remake(pf, pl, pl->made ? what : "described by its user"
			     " name: the account is ignored", count);
		return;
	}

	if (!is_wanted(pl)) {
		(void)say(pf, "line %u: left to baresip", pl->n);
		give_back(pl);
		++*count;
		return;
	}

	if (!lc.registers) {
		(void)say(pf, "line %u: does not register any more", pl->n);
		line_drop(pl);
		(void)place_keep(pl, &lc);
		be_silent(pl);
		++*count;
		return;
	}

	if (!line) {
		place_begin(pf, pl, &lc, count);
		return;
	}

	err = account_identity_set(pl, line->acc, &lc);
	if (!err)
		err = aa_line_replace(&next, line, &lc, NULL,
				      transp_of(lc.transport), what);
	if (err) {
		(void)account_identity_set(pl, line->acc, pl->cfg);
		(void)say(pf, "line %u: stays as it was (%m)", pl->n, err);
		return;
	}

	watch(next);
	aa_subs_inherit(next->subs, line->subs,
			aa_line_config_same_identity(&lc, pl->cfg));
	(void)place_keep(pl, &lc);
	++*count;
	(void)say(pf, "line %u: changed: %s", pl->n, what);
	aa_line_start(next, false);
}


static void check(void)
{
	struct le *le;

	for (le = list_head(&lines.placel); le; le = le->next) {
		const struct place *pl = le->data;

		if (!pl->made && !gone(pl))
			aa_config_check_line(lines.cfg, pl->n, &pl->facts);
	}

	aa_config_check_lines(lines.cfg, lines.count);
}


/* fetched: what came by HTTP, NULL if nothing did */
static int read_again(struct re_printf *pf, struct aa_config **cfgp,
		      const struct aa_config_fetched *fetched)
{
	struct aa_config *cfg;
	const char *lost;
	int err;

	err = aa_config_alloc(&cfg, lines.conf_path, fetched, config_handler,
			      NULL);
	if (err) {
		(void)say(pf, "the configuration could not be read (%m):"
			  " nothing changes", err);
		return err;
	}

	err = aa_config_status(cfg);
	if (err) {
		(void)say(pf, "a file of the configuration could not be read"
			  " (%m): nothing changes", err);
		goto out;
	}

	lost = aa_config_lost(lines.cfg, cfg);
	if (lost) {
		(void)say(pf, "%s has no key in it any more: nothing changes",
			  lost);
		err = EBADMSG;
	}

 out:
	if (err)
		mem_deref(cfg);
	else
		*cfgp = cfg;

	return err;
}


/**
 * Read the configuration again; lines whose settings did not change are not
 * touched
 *
 * @param pf Where to print what changed, may be NULL
 *
 * @return 0 if success, otherwise errorcode, and nothing has changed
 */
int aa_lines_reload(struct re_printf *pf)
{
	struct aa_config *cfg;
	int err;

	err = read_again(pf, &cfg, aa_provision_good(lines.pv));
	if (err)
		return err;

	err = take_up(pf, cfg);

	if (!fetch())
		err |= say(pf, "what aastra_cfg_url names is being fetched;"
			   " what is new there is taken up when it has come");

	return err;
}


static int take_up(struct re_printf *pf, struct aa_config *cfg)
{
	unsigned count = 0;
	struct le *le;
	uint32_t n;

	mem_deref(lines.cfg);
	lines.cfg = cfg;
	phone_settings();

	le = list_head(&lines.placel);
	while (le) {
		struct place *pl = le->data;

		le = le->next;
		place_change(pf, pl, &count);
	}

	for (n = aa_config_next_line(cfg, 0); n;
	     n = aa_config_next_line(cfg, n)) {

		if (!aa_config_describes_line(cfg, n) || place_find(n) ||
		    line_make(n, NULL, NULL))
			continue;

		(void)say(pf, "line %u: begins", n);
		++count;
	}

	check();
	work_soon(0);
	aa_lines_look();

	if (lines.phone->configh)
		lines.phone->configh();

	return say(pf, "configuration read again: %u line%s changed", count,
		   count == 1 ? "" : "s");
}


/* ---- files by HTTP ---------------------------------------------------- */


static int fetch(void)
{
	char cafile[512] = "";

	(void)conf_get_str(conf_cur(), "sip_cafile", cafile, sizeof(cafile));

	return aa_provision_start(lines.pv, lines.cfg, cafile);
}


/* Other files came than those in force: as a reload, if they are any good */
static int fetched_handler(const struct aa_config_fetched *fetched, void *arg)
{
	struct aa_config *cfg;
	uint32_t keys = 0;
	size_t i;
	int err;
	(void)arg;

	err = read_again(NULL, &cfg, fetched);
	if (err)
		return err;

	for (i=0; i<fetched->textc; i++)
		keys += aa_config_keys(cfg, fetched->textv[i].name);

	/* an error page, or the files of something else */
	if (!keys) {
		mem_deref(cfg);
		return EBADMSG;
	}

	info("aastra: %zu file%s fetched, %u keys\n", fetched->textc,
	     fetched->textc == 1 ? "" : "s", keys);

	return take_up(NULL, cfg);
}


/* ---- beginning and end ------------------------------------------------ */


static void start_handler(void *arg)
{
	(void)arg;

	aa_lines_look();
	check();
	work_handler(NULL);
	(void)fetch();

	if (mod_find("mwi.so"))
		info("aastra: message waiting of the module's lines is not"
		     " left to mwi.so: it would not follow the line\n");
}


/* What is no line's own, and counts at once */
static void phone_settings(void)
{
	lines.phone->pace.rate = aa_config_u32(lines.cfg, 0,
					       "sip registration rate");
}


/**
 * Read the configuration
 *
 * @param phone     What all lines share
 * @param conf_path Folder of baresip's config
 * @param warm_path File of what lines remember, may be empty
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_lines_init(struct aa_phone *phone, const char *conf_path,
		  const char *warm_path)
{
	int err;

	memset(&lines, 0, sizeof(lines));
	lines.phone = phone;
	str_ncpy(lines.conf_path, conf_path, sizeof(lines.conf_path));
	str_ncpy(lines.warm_path, warm_path, sizeof(lines.warm_path));
	phone->unusedh = unused_handler;

	err = hash_alloc(&lines.ht, PLACE_BUCKETS);
	if (err)
		return err;

	err = aa_provision_alloc(&lines.pv, conf_path, fetched_handler, NULL);
	if (err)
		goto out;

	/* the last good copy counts from the first moment */
	err = aa_config_alloc(&lines.cfg, conf_path,
			      aa_provision_good(lines.pv), config_handler,
			      NULL);
	if (!err)
		phone_settings();

 out:
	if (err) {
		lines.pv = mem_deref(lines.pv);
		lines.ht = mem_deref(lines.ht);
	}

	return err;
}


/**
 * Take over the accounts that are there, and make the lines that need none
 */
void aa_lines_begin(void)
{
	uint32_t n;

	lines.taking_over = true;
	aa_lines_look();
	lines.taking_over = false;

	for (n = aa_config_next_line(lines.cfg, 0); n;
	     n = aa_config_next_line(lines.cfg, n)) {

		if (aa_config_describes_line(lines.cfg, n))
			(void)line_make(n, NULL, NULL);
	}

	aa_tmr_start(&lines.tmr_work, 0, start_handler, NULL);
}


/**
 * The module goes; its lines have ended
 */
void aa_lines_close(void)
{
	struct le *le;

	aa_contact_close();
	lines.pv = mem_deref(lines.pv);

	aa_tmr_cancel(&lines.tmr);
	aa_tmr_cancel(&lines.tmr_work);

	while ((le = list_head(&lines.placel))) {
		struct place *pl = le->data;
		struct ua *ua = pl->kind == KIND_REMOVED ? pl->ua : NULL;

		mem_deref(pl);
		if (ua) {
			aa_compat_current_leave(ua);
			mem_deref(ua);
		}
	}

	lines.ht  = mem_deref(lines.ht);
	lines.cfg = mem_deref(lines.cfg);
	if (lines.phone)
		lines.phone->unusedh = NULL;
}


/**
 * baresip frees a user agent
 *
 * @param ua User agent
 */
void aa_lines_ua_gone(const struct ua *ua)
{
	struct place *pl = place_find_ua(ua);

	if (!pl)
		return;

	mem_deref(pl);
	work_soon(0);
}


/**
 * The user does not want a line to be registered any more
 *
 * It is done from a timer, and when the line has no call.
 *
 * @param n Number of the line
 */
void aa_lines_rest(uint32_t n)
{
	struct place *pl = place_find(n);

	if (!pl || pl->kind != KIND_LINE)
		return;

	pl->tired = true;
	work_soon(0);
}


/**
 * The user wants an account to be registered: a line that he has unregistered
 * begins again
 *
 * @param ua User agent that baresip is about to register
 */
void aa_lines_wake(const struct ua *ua)
{
	struct place *pl = place_find_ua(ua);
	int err;

	if (!pl || pl->kind != KIND_RESTING)
		return;

	err = line_begin(pl, NULL, NULL, false);
	if (err)
		warning("aastra: line %u: %s could not be taken over (%m)\n",
			pl->n, account_aor(ua_account(pl->ua)), err);
	work_soon(0);
}


/**
 * A call has ended: changes that waited for it can be made
 */
void aa_lines_call_closed(void)
{
	struct le *le;

	for (le = list_head(&lines.placel); le; le = le->next) {
		const struct place *pl = le->data;

		if (pl->waits || pl->tired) {
			aa_tmr_start(&lines.tmr_work, 1, work_handler, NULL);
			return;
		}
	}
}


/**
 * The configuration in force
 *
 * @return Configuration
 */
struct aa_config *aa_lines_config(void)
{
	return lines.cfg;
}


/**
 * What the account of a line said before it was a line
 *
 * @param n      Number of the line
 * @param factsp Set to what its account says, NULL if it was made from keys
 *
 * @return true if there is such a line, or an account with that number
 */
bool aa_lines_facts(uint32_t n, const struct aa_account_facts **factsp)
{
	const struct place *pl = place_find(n);

	*factsp = pl && !pl->made ? &pl->facts : NULL;

	return pl != NULL;
}
