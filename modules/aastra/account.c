/**
 * @file account.c  baresip's side of a line
 *
 * baresip decides by its own registration state which user agent dials, what
 * its status commands print and which events other modules get.  So a line's
 * user agent goes on registering, but at the phone itself: its register
 * client is pointed at our own address, and what the line says there is what
 * baresip believes.  The REGISTER that servers see is binding.c's.
 *
 * Where the backup has an AOR of its own, a second user agent carries it.
 * Just one of the two can be seen: it takes the other one's place in baresip's
 * list, with the entry that is its own, since from 4.0 on `uafind` moves that.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <re.h>
#include "aastra_baresip.h"
#include "compat.h"
#include "account.h"


enum {
	REGINT_DEFAULT = 3600
};

/* Who the account is, which keys may say in its place */
enum id {
	ID_AUTH_USER,
	ID_AUTH_PASS,
	ID_DISPLAY_NAME,
	ID_COUNT
};


struct aa_account {
	struct ua *own;         /* the user's                               */
	struct ua *other;       /* ours, with the backup AOR; may be NULL   */
	struct ua *shown;       /* the one of both in baresip's list        */
	struct le *own_le;      /* entry of each in that list, or out of it */
	struct le *other_le;
	char *own_outbound;
	char *own_outbound2;
	char *own_sipnat;
	uint32_t own_regint;
	char *own_id[ID_COUNT]; /* while a key says it, may be NULL         */
	bool id_set[ID_COUNT];  /* does a key?                              */
	char *other_host;
	uint16_t other_port;
	char *route;            /* next hop of calls, NULL: none            */
	struct aa_account_state st;
	struct sip_strans *held_st;     /* first REGISTER, not answered yet */
	struct sip_msg *held;
	bool known;             /* the line has said what its state is      */
	bool other_call;        /* a call that was made as other is up      */
	bool publishing;
	bool ended;
};


static void destructor(void *arg)
{
	struct aa_account *acc = arg;
	int i;

	for (i=0; i<ID_COUNT; i++)
		mem_deref(acc->own_id[i]);
	mem_deref(acc->held_st);
	mem_deref(acc->held);
	mem_deref(acc->own_outbound);
	mem_deref(acc->own_outbound2);
	mem_deref(acc->own_sipnat);
	mem_deref(acc->other_host);
	mem_deref(acc->route);
}


static struct le *ua_le(const struct ua *ua)
{
	struct le *le;

	for (le = list_head(uag_list()); le; le = le->next) {
		if (le->data == ua)
			return le;
	}

	return NULL;
}


static bool has_calls(const struct ua *ua)
{
	return ua && !list_isempty(ua_calls(ua));
}


static int save_settings(struct aa_account *acc)
{
	const struct account *a = ua_account(acc->own);
	int err = 0;

	acc->own_regint = account_regint(a);

	if (account_outbound(a, 0))
		err |= str_dup(&acc->own_outbound, account_outbound(a, 0));
	if (account_outbound(a, 1))
		err |= str_dup(&acc->own_outbound2, account_outbound(a, 1));
	if (account_sipnat(a))
		err |= str_dup(&acc->own_sipnat, account_sipnat(a));

	return err ? ENOMEM : 0;
}


/*
 * baresip drops what there was before it copies what is to be, and without a
 * route a REGISTER of its own would go to the domain: if memory ran out just
 * now, there is at least what was dropped.
 */
static int outbound_set(struct account *a, const char *uri, unsigned ix)
{
	const int err = account_set_outbound(a, uri, ix);

	return err == ENOMEM ? account_set_outbound(a, uri, ix) : err;
}


static const char *id_get(const struct account *a, enum id id)
{
	switch (id) {

	case ID_AUTH_USER: return account_auth_user(a);
	case ID_AUTH_PASS: return account_auth_pass(a);
	default:           return account_display_name(a);
	}
}


static int id_put(struct ua *ua, enum id id, const char *str)
{
	struct account *a = ua_account(ua);

	if (!ua)
		return 0;

	switch (id) {

	case ID_AUTH_USER: return account_set_auth_user(a, str);
	case ID_AUTH_PASS: return account_set_auth_pass(a, str);
	default:           return account_set_display_name(a, str);
	}
}


/* str: what a key says, NULL if none does (any more) */
static int id_set(struct aa_account *acc, enum id id, const char *str)
{
	const char *own = id_get(ua_account(acc->own), id);
	int err;

	if (!str && !acc->id_set[id])
		return 0;

	if (str && !acc->id_set[id]) {
		acc->own_id[id] = mem_deref(acc->own_id[id]);
		if (own && str_dup(&acc->own_id[id], own))
			return ENOMEM;
	}

	acc->id_set[id] = str != NULL;
	if (!str)
		str = acc->own_id[id];

	err  = id_put(acc->own, id, str);
	err |= id_put(acc->other, id, str);

	return err ? ENOMEM : 0;
}


/**
 * Say who the account is, in place of what stands in baresip's accounts file
 *
 * @param acc  Account
 * @param user User name for digest authentication
 * @param pass Password for that
 * @param name Display name; each empty or NULL for the account's own
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_account_identity_set(struct aa_account *acc, const char *user,
			    const char *pass, const char *name)
{
	int err;

	if (!acc)
		return EINVAL;

	err  = id_set(acc, ID_AUTH_USER, str_isset(user) ? user : NULL);
	err |= id_set(acc, ID_AUTH_PASS, str_isset(pass) ? pass : NULL);
	err |= id_set(acc, ID_DISPLAY_NAME, str_isset(name) ? name : NULL);

	return err ? ENOMEM : 0;
}


/* One register client, whatever the account wanted */
static int take_over(struct aa_account *acc)
{
	struct account *a = ua_account(acc->own);
	const bool update = acc->own_sipnat || !acc->own_regint;
	int err = 0;

	err |= outbound_set(a, NULL, 1);
	if (acc->own_sipnat)
		err |= account_set_sipnat(a, NULL);
	if (!acc->own_regint)
		err |= account_set_regint(a, REGINT_DEFAULT);

	/* it would lose the account's ICE: only where it must be */
	if (!err && update)
		err = ua_update_account(acc->own);

	return err;
}


/**
 * Take over a user agent
 *
 * @param accp Pointer to the account
 * @param ua   User agent in baresip's list
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_account_adopt(struct aa_account **accp, struct ua *ua)
{
	struct aa_account *acc;
	int err;

	if (!accp || !ua)
		return EINVAL;

	acc = mem_zalloc(sizeof(*acc), destructor);
	if (!acc)
		return ENOMEM;

	acc->own   = ua;
	acc->shown = ua;
	acc->own_le = ua_le(ua);
	acc->st.scode = 503;
	if (!acc->own_le) {
		err = ENOENT;
		goto out;
	}

	err = save_settings(acc);
	if (err)
		goto out;

	if (acc->own_outbound) {
		err = str_dup(&acc->route, acc->own_outbound);
		if (err)
			goto out;
	}

	err = take_over(acc);

 out:
	if (err)
		mem_deref(acc);
	else
		*accp = acc;

	return err;
}


/*
 * baresip's menu, and all else that looks for a call, looks at the user agents
 * in its list only.  A call belongs to its user agent's list of calls and to
 * nothing else there (later it names it, too), so the calls go with the line.
 */
static void calls_move(struct ua *from, struct ua *to)
{
	struct list *src = ua_calls(from), *dst = ua_calls(to);
	struct le *le;

	while ((le = list_head(src))) {
		void *call = le->data;

		list_unlink(le);
		list_append(dst, le, call);
		aa_compat_call_take(call, from, to);
	}
}


/* Calls that were made as the user agent that is to be freed */
static void calls_end(struct aa_account *acc)
{
	struct le *le;

	while (acc->other_call && (le = list_head(ua_calls(acc->own))))
		ua_hangup(acc->own, le->data, 0, NULL);
}


/* One of the two takes the other one's place */
static void swap(struct aa_account *acc, struct ua *ua)
{
	struct le *in  = ua == acc->own ? acc->own_le : acc->other_le;
	struct le *out = ua == acc->own ? acc->other_le : acc->own_le;

	if (out->list) {
		list_insert_before(out->list, out, in, ua);
		list_unlink(out);
	}
	acc->shown = ua;
}


static void show_own(struct aa_account *acc)
{
	if (acc->shown == acc->own)
		return;

	swap(acc, acc->own);
	calls_move(acc->other, acc->own);
	if (aa_compat_current() == acc->other)
		aa_compat_current_set(acc->own);
}


/*
 * libre would put its own name before the registrar's into the response, and
 * baresip would show that one.
 */
static int reply_ok(const struct aa_account_state *st,
		    const struct sip_msg *msg, const struct sip_addr *addr)
{
	struct mbuf *mb = mbuf_alloc(512);
	struct sa dst;
	int err;

	if (!mb)
		return ENOMEM;

	err = mbuf_printf(mb, "SIP/2.0 200 OK\r\n"
			  "Via: %r\r\n"
			  "To: %r;tag=%016llx\r\n"
			  "From: %r\r\n"
			  "Call-ID: %r\r\n"
			  "CSeq: %u %r\r\n"
			  "Contact: <%r>;expires=%u\r\n"
			  "%s%s%s"
			  "Content-Length: 0\r\n"
			  "\r\n",
			  &msg->via.val, &msg->to.val, msg->tag,
			  &msg->from.val, &msg->callid, msg->cseq.num,
			  &msg->cseq.met, &addr->auri, st->expires,
			  str_isset(st->server) ? "Server: " : "", st->server,
			  str_isset(st->server) ? "\r\n" : "");
	mb->pos = 0;
	sip_reply_addr(&dst, msg, true);
	if (!err)
		err = sip_send(uag_sip(), msg->sock, msg->tp, &dst, mb);

	mem_deref(mb);

	return err;
}


static void reply(struct aa_account *acc, const struct sip_msg *msg)
{
	const struct aa_account_state *st = &acc->st;
	const struct sip_hdr *hdr = sip_msg_hdr(msg, SIP_HDR_CONTACT);
	struct sip_addr addr;

	if (st->up && hdr && !sip_addr_decode(&addr, &hdr->val) &&
	    !reply_ok(st, msg, &addr))
		return;

	/* within one process nothing is lost: no transaction is kept for it */
	(void)sip_reply(uag_sip(), msg, st->scode >= 300 ? st->scode : 503,
			str_isset(st->reason) ? st->reason : "Not Registered");
}


static void cancel_handler(void *arg)
{
	struct aa_account *acc = arg;

	acc->held_st = NULL;
	acc->held = mem_deref(acc->held);
}


/*
 * The first REGISTER comes before the line can know its state.  It is
 * answered when that is known, so that no listener is told of a failure that
 * never was.
 */
static bool hold(struct aa_account *acc, const struct sip_msg *msg)
{
	if (acc->ended)
		return false;

	/* sent again meanwhile: our listener sees it before libre's does */
	if (acc->held)
		return 0 == pl_cmp(&acc->held->via.branch, &msg->via.branch);

	if (sip_strans_alloc(&acc->held_st, uag_sip(), msg, cancel_handler,
			     acc))
		return false;

	acc->held = mem_ref((void *)(uintptr_t)msg);

	return true;
}


static bool answer_held(struct aa_account *acc)
{
	struct sip_msg *msg = acc->held;

	if (!msg)
		return false;

	acc->held = NULL;
	reply(acc, msg);
	acc->held_st = mem_deref(acc->held_st);
	mem_deref(msg);

	return true;
}


/* baresip's own settings, as they were but for who it is, and for the
   registration period [s] */
static int settings_restore(struct aa_account *acc, uint32_t regint)
{
	struct account *a = ua_account(acc->own);
	int err;

	err  = outbound_set(a, acc->own_outbound, 0);
	err |= outbound_set(a, acc->own_outbound2, 1);
	err |= account_set_sipnat(a, acc->own_sipnat);
	err |= account_set_regint(a, regint);

	return err;
}


/**
 * Give the user agent back to baresip as it was, which then registers it
 *
 * @param acc Account, freed
 */
void aa_account_release(struct aa_account *acc)
{
	int err;

	if (!acc || acc->ended)
		return;

	(void)answer_held(acc);
	acc->ended = true;
	show_own(acc);
	calls_end(acc);
	acc->other = mem_deref(acc->other);

	err  = aa_account_identity_set(acc, NULL, NULL, NULL);
	err |= settings_restore(acc, acc->own_regint);
	if (!err)
		err = ua_update_account(acc->own);
	if (!err && acc->own_regint)
		err = ua_register(acc->own);
	if (err)
		warning("aastra: %s: could not be given back (%m)\n",
			account_aor(ua_account(acc->own)), err);

	mem_deref(acc);
}


/**
 * The account is not registered any more, and its own settings are what they
 * were before: for when it is registered again
 *
 * @param acc Account, which ends then
 */
void aa_account_rest(struct aa_account *acc)
{
	if (!acc || acc->ended)
		return;

	show_own(acc);
	(void)settings_restore(acc, 0);
}


/**
 * baresip is about to free one of the two user agents: free the other one
 *
 * @param acc   Account, freed
 * @param dying User agent that baresip frees itself
 */
void aa_account_end(struct aa_account *acc, const struct ua *dying)
{
	struct ua *ua;

	if (!acc || acc->ended)
		return;

	(void)answer_held(acc);
	acc->ended = true;

	/* not sooner: what the line has said last may be challenged.  An
	   account that stays may be taken over once more. */
	if (!dying)
		(void)aa_account_identity_set(acc, NULL, NULL, NULL);

	ua = acc->shown == acc->own ? acc->other : acc->own;

	aa_compat_current_leave(dying);
	aa_compat_current_leave(ua);

	mem_deref(ua);
	mem_deref(acc);
}


/**
 * Is a user agent one of the account's?
 *
 * @param acc Account
 * @param ua  User agent
 *
 * @return true if so
 */
bool aa_account_owns(const struct aa_account *acc, const struct ua *ua)
{
	return acc && ua && (acc->own == ua || acc->other == ua);
}


/**
 * The user agent that baresip's lists show
 *
 * @param acc Account
 *
 * @return User agent
 */
struct ua *aa_account_shown(const struct aa_account *acc)
{
	return acc ? acc->shown : NULL;
}


/**
 * baresip's own account
 *
 * @param acc Account
 *
 * @return Account as in baresip's accounts file
 */
struct account *aa_account_prim(const struct aa_account *acc)
{
	return acc ? ua_account(acc->own) : NULL;
}


/* Parameters that would make the second user agent register by itself, or
   that the module sets anew */
static bool param_is_ours(const struct pl *prm)
{
	static const char *const namev[] = {
		"outbound", "outbound1", "outbound2", "sipnat", "regint",
		"mwi"
	};
	struct pl name = *prm;
	const char *eq = pl_strchr(prm, '=');
	size_t i;

	if (eq)
		name.l = (size_t)(eq - prm->p);

	for (i=0; i<ARRAY_SIZE(namev); i++) {
		if (0 == pl_strcasecmp(&name, namev[i]))
			return true;
	}

	return false;
}


static int params_copy(struct mbuf *mb, const struct pl *params)
{
	bool quoted = false;
	size_t i, start = 0;
	int err = 0;

	/* ";a=b;c="d;e"": one parameter begins at each unquoted semicolon */
	for (i=0; i<=params->l && !err; i++) {
		const char c = i < params->l ? params->p[i] : ';';

		if (c == '"' && i < params->l)
			quoted = !quoted;

		if (i < params->l && (c != ';' || quoted))
			continue;

		if (i > start) {
			struct pl prm;

			prm.p = params->p + start;
			prm.l = i - start;
			if (!param_is_ours(&prm))
				err = mbuf_printf(mb, ";%r", &prm);
		}

		start = i + 1;
	}

	return err;
}


static int print_other_aor(char **strp, const struct aa_account *acc,
			   const char *host, uint16_t port)
{
	const struct sip_addr *laddr = account_laddr(ua_account(acc->own));
	const char *dname = account_display_name(ua_account(acc->own));
	const bool ipv6 = strchr(host, ':') && host[0] != '[';
	struct mbuf *mb = mbuf_alloc(256);
	int err = 0;

	if (!mb)
		return ENOMEM;

	if (str_isset(dname))
		err |= mbuf_printf(mb, "\"%s\" ", dname);

	err |= mbuf_printf(mb, "<sip:%r@%s%s%s", &laddr->uri.user,
			   ipv6 ? "[" : "", host, ipv6 ? "]" : "");
	if (port && port != SIP_PORT)
		err |= mbuf_printf(mb, ":%u", port);
	err |= mbuf_printf(mb, "%r>", &laddr->uri.params);
	err |= params_copy(mb, &laddr->params);
	err |= mbuf_printf(mb, ";regint=%u;mwi=no", REGINT_DEFAULT);
	if (err)
		goto out;

	mb->pos = 0;
	err = mbuf_strdup(mb, strp, mb->end);

 out:
	mem_deref(mb);

	return err;
}


static int other_alloc(struct aa_account *acc, const char *host, uint16_t port)
{
	const struct account *from = ua_account(acc->own);
	struct account *to;
	struct ua *ua = NULL, *old;
	char *str = NULL, *name = NULL;
	struct le *le;
	int err;

	err = str_dup(&name, host);
	if (err)
		return err;

	err = print_other_aor(&str, acc, host, port);
	if (err)
		goto out;

	err = ua_alloc(&ua, str);
	if (err)
		goto out;

	le = ua_le(ua);
	if (!le) {
		err = ENOENT;
		goto out;
	}
	list_unlink(le);

	/* what was typed at a prompt or set by a command is not in the text */
	to = ua_account(ua);
	if (account_auth_user(from))
		err |= account_set_auth_user(to, account_auth_user(from));
	if (account_auth_pass(from))
		err |= account_set_auth_pass(to, account_auth_pass(from));
	if (err)
		goto out;

	old = acc->other;
	acc->other = ua;
	acc->other_le = le;
	ua = NULL;

	mem_deref(acc->other_host);
	acc->other_host = name;
	acc->other_port = port;
	name = NULL;

	/* baresip says that it goes, and the line would go with it if it
	   were the account's still */
	mem_deref(old);

 out:
	mem_deref(ua);
	mem_deref(str);
	mem_deref(name);

	return err;
}


static int other_ensure(struct aa_account *acc, const char *host,
			uint16_t port)
{
	if (acc->other && 0 == str_casecmp(acc->other_host, host) &&
	    acc->other_port == port)
		return 0;

	/* a call that was made as the other one refers to it */
	if (acc->other && (acc->shown == acc->other ||
			   aa_account_calls(acc)))
		return EBUSY;

	return other_alloc(acc, host, port);
}


/**
 * The user agent for an AOR of the line, made where there is none yet
 *
 * @param acc  Account
 * @param host Domain of the AOR, NULL for the account's own
 * @param port Port of the AOR, 0 for none
 * @param uap  Set to the user agent
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_account_ua(struct aa_account *acc, const char *host, uint16_t port,
		  struct ua **uap)
{
	int err;

	if (!acc || !uap)
		return EINVAL;

	if (!str_isset(host)) {
		*uap = acc->own;
		return 0;
	}

	err = other_ensure(acc, host, port);
	if (err)
		return err;

	*uap = acc->other;

	return 0;
}


/**
 * Let baresip see the user agent of an AOR in the line's place
 *
 * @param acc  Account
 * @param host Domain of the AOR, NULL for the account's own
 * @param port Port of the AOR, 0 for none
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_account_show(struct aa_account *acc, const char *host, uint16_t port)
{
	struct ua *ua, *old;
	int err;

	err = aa_account_ua(acc, host, port, &ua);
	if (err)
		return err;

	if (ua == acc->shown)
		return 0;

	old = acc->shown;
	(void)account_set_answermode(ua_account(ua),
				     account_answermode(ua_account(old)));

	swap(acc, ua);
	calls_move(old, ua);
	aa_compat_ua_unregister(old);
	aa_account_settle(acc);

	return 0;
}


/**
 * Bring in order what could not be done at once: the user agent that is shown
 * is the current one, and the route of calls is in force again after baresip
 * registered by itself
 *
 * @param acc Account
 */
void aa_account_settle(struct aa_account *acc)
{
	struct ua *hidden;

	if (!acc || acc->ended)
		return;

	hidden = acc->shown == acc->own ? acc->other : acc->own;

	/* a call that baresip makes as the hidden one, for a transfer */
	if (has_calls(hidden))
		calls_move(hidden, acc->shown);

	if (hidden && aa_compat_current() == hidden)
		aa_compat_current_set(acc->shown);

	if (!aa_account_calls(acc))
		acc->other_call = false;

	aa_account_route(acc, acc->route);
}


/**
 * Set the next hop of everything of baresip that is not REGISTER
 *
 * @param acc   Account
 * @param route SIP URI, NULL for none
 */
void aa_account_route(struct aa_account *acc, const char *route)
{
	char *copy = NULL;

	if (!acc)
		return;

	if (route != acc->route &&
	    0 != str_cmp(route ? route : "", acc->route ? acc->route : "")) {
		if (route && str_dup(&copy, route))
			return;
		mem_deref(acc->route);
		acc->route = copy;
	}

	(void)outbound_set(ua_account(acc->own), acc->route, 0);
	if (acc->other)
		(void)outbound_set(ua_account(acc->other), acc->route, 0);
}


/**
 * baresip is about to register a user agent: point it at the phone itself
 *
 * @param acc Account
 * @param ua  User agent of that account
 */
void aa_account_redirect(struct aa_account *acc, struct ua *ua)
{
	static const enum sip_transp tpv[] = {SIP_TRANSP_UDP, SIP_TRANSP_TCP};
	struct account *a = ua_account(ua);
	struct sa laddr;
	char uri[128];
	size_t i;

	if (!acc || acc->ended)
		return;

	for (i=0; i<ARRAY_SIZE(tpv); i++) {

		if (sip_transp_laddr(uag_sip(), &laddr, tpv[i], NULL))
			continue;

		if (re_snprintf(uri, sizeof(uri), "sip:%J;transport=%s",
				&laddr, tpv[i] == SIP_TRANSP_UDP ? "udp"
				: "tcp") < 0)
			return;

		(void)outbound_set(a, uri, 0);
		return;
	}
}


/**
 * Tell baresip what the line's registration is
 *
 * @param acc   Account
 * @param st    State
 * @param route Next hop of calls, NULL for none
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_account_publish(struct aa_account *acc,
		       const struct aa_account_state *st, const char *route)
{
	bool answered;
	int err = 0;

	if (!acc || !st)
		return EINVAL;

	acc->st = *st;
	acc->known = true;

	if (acc->shown != acc->own && acc->held)
		aa_compat_ua_unregister(acc->own);

	answered = answer_held(acc);

	if (!answered || acc->shown != acc->own) {
		acc->publishing = true;
		err = ua_register(acc->shown);
		acc->publishing = false;
	}

	aa_account_route(acc, route);

	return err;
}


/**
 * Is the registration that is going on our own doing?
 *
 * @param acc Account
 *
 * @return true if so
 */
bool aa_account_publishing(const struct aa_account *acc)
{
	return acc && acc->publishing;
}


/**
 * Answer a REGISTER that baresip sent to the phone itself
 *
 * @param acc     Account
 * @param msg     SIP request from our own address
 * @param contact Its Contact, decoded once for all accounts
 *
 * @return true if it was one of this account's
 */
bool aa_account_answer(struct aa_account *acc, const struct sip_msg *msg,
		       const struct sip_addr *contact)
{
	struct pl expires;

	if (!acc || !msg || !contact)
		return false;

	if (pl_strcasecmp(&contact->uri.user, ua_local_cuser(acc->own)) &&
	    (!acc->other ||
	     pl_strcasecmp(&contact->uri.user, ua_local_cuser(acc->other))))
		return false;

	if (0 == msg_param_decode(&contact->params, "expires", &expires) &&
	    0 == pl_u32(&expires)) {
		(void)sip_reply(uag_sip(), msg, 200, "OK");
		return true;
	}

	if (!acc->known && hold(acc, msg))
		return true;

	reply(acc, msg);

	return true;
}


/**
 * Does a Contact user belong to the user agent that cannot be seen?
 *
 * @param acc   Account
 * @param cuser User part of a Request-URI
 *
 * @return The user agent to use in its place, NULL if not
 */
const struct ua *aa_account_hidden_match(const struct aa_account *acc,
					 const struct pl *cuser)
{
	const struct ua *hidden;

	if (!acc || !acc->other)
		return NULL;

	hidden = acc->shown == acc->own ? acc->other : acc->own;

	return pl_strcasecmp(cuser, ua_local_cuser(hidden)) ? NULL
		: acc->shown;
}


/**
 * Does a Contact user belong to the account?
 *
 * @param acc   Account
 * @param cuser User part of a Request-URI
 *
 * @return true if so
 */
bool aa_account_has_cuser(const struct aa_account *acc,
			  const struct pl *cuser)
{
	return acc && (!pl_strcasecmp(cuser, ua_local_cuser(acc->own)) ||
		       (acc->other &&
			!pl_strcasecmp(cuser, ua_local_cuser(acc->other))));
}


/**
 * Something happened to a call of the line
 *
 * @param acc Account
 * @param ua  User agent that the call was made as
 */
void aa_account_call_seen(struct aa_account *acc, const struct ua *ua)
{
	if (acc && acc->other && ua == acc->other)
		acc->other_call = true;
}


/**
 * Does the line have a call, on whichever of its user agents?
 *
 * @param acc Account
 *
 * @return true if so
 */
bool aa_account_calls(const struct aa_account *acc)
{
	return acc && (has_calls(acc->own) || has_calls(acc->other));
}


/**
 * Credentials of the account
 *
 * @param acc  Account
 * @param user Set to the user name
 * @param pass Set to the password
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_account_auth(const struct aa_account *acc, char **user, char **pass)
{
	const struct account *a;
	int err;

	if (!acc || !user || !pass)
		return EINVAL;

	a = ua_account(acc->own);

	if (str_isset(account_auth_user(a)))
		err = str_dup(user, account_auth_user(a));
	else
		err = pl_strdup(user, &account_luri(a)->user);

	err |= str_dup(pass, account_auth_pass(a) ? account_auth_pass(a) : "");

	return err ? ENOMEM : 0;
}
