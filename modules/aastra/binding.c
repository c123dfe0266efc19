/**
 * @file binding.c  One registration of one AOR at one registrar over one route
 *
 * A REGISTER client (RFC 3261 10.2, RFC 5626 4.2) that does nothing by
 * itself but keep a binding fresh: it says farewell only when told to, it
 * never retries a server that failed (that is decided above), and it can be
 * stopped so that nothing of it is sent any more.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <re.h>
#include "request.h"
#include "utf8.h"
#include "compat.h"
#include "timer.h"
#include "digest.h"
#include "binding.h"


enum {
	REASON_SIZE        = 128,
	CHALLENGES_MAX     = 4, /* proxy and registrar, each once stale     */
	BRIEF_MAX          = 3, /* 423 upon 423                             */
	CHALLENGED_BY_REGISTRAR = 1,
	CHALLENGED_BY_PROXY     = 2,
	MATCHING_HOST       = 1, /* of `sip contact matching`               */
	MATCHING_USER       = 2,
	MATCHING_HOST_USER  = 3,
	REFRESH_MIN_MS     = 900, /* of a grant of 1 s, as libre's own      */
	FAREWELL_MS        = 1500
};


struct aa_binding {
	struct sip *sip;
	struct sip_auth *auth;
	struct aa_digest_state digest;
	struct aa_req *req;
	struct aa_conn *conn;
	struct aa_tmr tmr;      /* refresh                                  */
	char *cuser;
	char *instance;
	char *registrar;
	char *aor;
	char *dispname;
	char *contact;          /* URI as it was sent                       */
	char *contact_old;      /* URI of before, which is to be removed    */
	char *server;           /* Server header of the registrar           */
	char *challenge;        /* its latest WWW-Authenticate              */
	uint64_t challenged_at; /* when that was, aa_now_ms()               */
	char *hop;              /* next hop, NULL: the Request-URI's        */
	bool route;             /* the hop is named in a Route header       */
	uint64_t callid;        /* the same for all requests, RFC 3261 10.2 */
	uint64_t tag;
	uint32_t cseq;
	sip_auth_h *authh;
	aa_binding_h *h;
	aa_binding_turn_h *turnh;
	void *arg;
	unsigned regid;
	uint32_t want_expires;
	uint32_t expires;       /* granted                                  */
	uint32_t renewal;
	uint32_t transaction;
	uint32_t matching;      /* `sip contact matching`                   */
	uint32_t line;          /* said in a header, 0: not                 */
	char mac[16];           /* the same, empty: not                     */
	uint32_t challenges;    /* answered in this exchange                */
	unsigned challenged;    /* by whom, in this exchange                */
	uint32_t brief;         /* 423s in this exchange                    */
	uint32_t requests;
	uint64_t until;         /* when it expires, aa_now_ms()             */
	bool sent;              /* a REGISTER that may make it was sent     */
	bool unsure;            /* one of them was not answered             */
	bool told;              /* the registrar may have the Contact       */
	bool ok;                /* the registrar has it                     */
	bool leaving;           /* being unregistered                       */
	bool due;               /* waits for its turn to be refreshed       */
};


static int request(struct aa_binding *b);


/* Between libre and the owner, since the owner can change */
static int auth_handler(char **user, char **pass, const char *realm, void *arg)
{
	struct aa_binding *b = arg;

	return b->authh ? b->authh(user, pass, realm, b->arg) : EAUTH;
}


static void destructor(void *arg)
{
	struct aa_binding *b = arg;

	aa_tmr_cancel(&b->tmr);
	mem_deref(b->req);
	mem_deref(b->auth);
	mem_deref(b->hop);
	mem_deref(b->cuser);
	mem_deref(b->instance);
	mem_deref(b->registrar);
	mem_deref(b->aor);
	mem_deref(b->dispname);
	mem_deref(b->contact);
	mem_deref(b->contact_old);
	mem_deref(b->server);
	mem_deref(b->challenge);
}


static void refresh_handler(void *arg)
{
	struct aa_binding *b = arg;
	const uint64_t now = aa_now_ms();
	char buf[REASON_SIZE];
	int err;

	b->due = b->turnh &&
		!b->turnh(b->until > now ? b->until - now : 0, b->arg);
	if (b->due)
		return;

	err = aa_binding_register(b);
	if (err) {
		(void)re_snprintf(buf, sizeof(buf), "%m", err);
		b->h(b, AA_BINDING_FAILED, buf, 0, NULL, b->arg);
	}
}


struct contact_match {
	const struct aa_binding *b;
	uint32_t expires;
	bool found;
};


/*
 * Guide A-60.  A router on the way may have put its own address in place of
 * the phone's: only the user part is sure to be ours.
 */
static bool contact_matches(const struct aa_binding *b, const struct uri *uri)
{
	const bool user = 0 == pl_strcasecmp(&uri->user, b->cuser);
	struct pl pl, tp, own_tp;
	struct uri own;
	bool host;

	if (b->matching == MATCHING_USER)
		return user;

	pl_set_str(&pl, b->contact);
	if (!b->contact || uri_decode(&own, &pl))
		return false;

	host = 0 == pl_casecmp(&uri->host, &own.host);

	if (b->matching == MATCHING_HOST)
		return host;

	if (b->matching == MATCHING_HOST_USER)
		return host && user;

	if (msg_param_decode(&uri->params, "transport", &tp))
		pl_set_str(&tp, "udp");
	if (msg_param_decode(&own.params, "transport", &own_tp))
		pl_set_str(&own_tp, "udp");

	return host && user && uri->port == own.port &&
		0 == pl_casecmp(&tp, &own_tp);
}


/* What is no number says nothing (RFC 3261 20.10), and what is too large for
   one is the largest */
static void seconds_set(uint32_t *secs, const struct pl *val)
{
	uint64_t n = 0;
	size_t i;

	for (i=0; i<val->l; i++) {
		if (val->p[i] < '0' || val->p[i] > '9')
			return;

		n = MIN(n * 10 + (uint64_t)(val->p[i] - '0'), UINT32_MAX);
	}

	if (val->l)
		*secs = (uint32_t)n;
}


static bool contact_handler(const struct sip_hdr *hdr,
			    const struct sip_msg *msg, void *arg)
{
	struct contact_match *cm = arg;
	struct sip_addr addr;
	struct pl pval, own;
	char id[16];
	(void)msg;

	if (sip_addr_decode(&addr, &hdr->val))
		return false;

	if (!contact_matches(cm->b, &addr.uri))
		return false;

	(void)re_snprintf(id, sizeof(id), "%u", cm->b->regid);
	if (msg_param_decode(&addr.uri.params, "flow", &own) ||
	    pl_strcmp(&own, id))
		return false;

	cm->found = true;

	if (0 == msg_param_decode(&addr.params, "expires", &pval))
		seconds_set(&cm->expires, &pval);

	return true;
}


/*
 * Guide A-85: renewed T seconds before the end, but where half of the period
 * is shorter than T, at half of the period.  A registrar may shorten what was
 * asked for (RFC 3261 10.2.4, 10.3), but not so that a line sends more than
 * about one REGISTER a second.
 */
static uint64_t refresh_wait(const struct aa_binding *b)
{
	const uint64_t period = (uint64_t)b->expires * 1000;
	const uint64_t t = (uint64_t)b->renewal * 1000;
	const uint64_t wait = period / 2 > t ? period - t : period / 2;

	return MAX(wait, (uint64_t)REFRESH_MIN_MS);
}


static bool granted(struct aa_binding *b, const struct sip_msg *msg)
{
	const struct sip_hdr *hdr;
	struct contact_match cm;

	memset(&cm, 0, sizeof(cm));
	cm.b = b;
	cm.expires = b->want_expires;
	if (pl_isset(&msg->expires))
		seconds_set(&cm.expires, &msg->expires);

	(void)sip_msg_hdr_apply(msg, true, SIP_HDR_CONTACT, contact_handler,
				&cm);

	hdr = sip_msg_hdr(msg, SIP_HDR_SERVER);
	if (hdr) {
		b->server = mem_deref(b->server);
		(void)pl_strdup(&b->server, &hdr->val);
	}

	if (cm.found && !cm.expires)
		return false;

	/* RFC 3261 10.3 7: no longer than what was asked for.  A line that goes
	   by more would not be heard of for as long. */
	b->expires = cm.expires ? MIN(cm.expires, b->want_expires)
		: b->want_expires;
	b->until   = aa_now_ms() + (uint64_t)b->expires * 1000;
	b->ok      = true;
	b->unsure  = false;
	b->contact_old = mem_deref(b->contact_old);
	aa_tmr_start(&b->tmr, refresh_wait(b), refresh_handler, b);

	return true;
}


/* A registrar that says 200, and that our Contact has no time left, has not
   registered it (RFC 3261 10.2.2): another one may */
static void refused_time(struct aa_binding *b, const struct sip_msg *msg)
{
	char buf[REASON_SIZE];

	(void)re_snprintf(buf, sizeof(buf), "%u with expires=0 to REGISTER",
			  msg->scode);
	aa_tmr_cancel(&b->tmr);
	b->ok     = false;
	b->sent   = false;
	b->told   = false;
	b->unsure = false;
	b->until  = 0;
	b->h(b, AA_BINDING_FAILED, buf, aa_msg_retry_after(msg), msg, b->arg);
}


static void gone(struct aa_binding *b, const char *reason,
		 const struct sip_msg *msg)
{
	/* without an answer the registrar may have it still */
	if (msg && (msg->scode < 300 || msg->scode == 404)) {
		b->ok     = false;
		b->sent   = false;
		b->unsure = false;
		b->told   = false;
		b->contact_old = mem_deref(b->contact_old);
	}

	b->leaving = false;
	aa_tmr_cancel(&b->tmr);
	b->h(b, AA_BINDING_GONE, reason, 0, msg, b->arg);
}


static bool stale_handler(const struct sip_hdr *hdr, const struct sip_msg *msg,
			  void *arg)
{
	struct httpauth_digest_chall ch;
	(void)msg;
	(void)arg;

	return 0 == httpauth_digest_challenge_decode(&ch, &hdr->val) &&
		0 == pl_strcasecmp(&ch.stale, "true");
}


/* A second challenge by the same server means that the credentials are wrong,
   unless it says that only its nonce was too old (RFC 7616 3.3) */
static bool challenge_answerable(const struct aa_binding *b,
				 const struct sip_msg *msg, unsigned by)
{
	if (b->challenges >= CHALLENGES_MAX)
		return false;

	if (!(b->challenged & by))
		return true;

	return sip_msg_hdr_apply(msg, true, SIP_HDR_WWW_AUTHENTICATE,
				 stale_handler, NULL) ||
		sip_msg_hdr_apply(msg, true, SIP_HDR_PROXY_AUTHENTICATE,
				  stale_handler, NULL);
}


static void challenge_keep(struct aa_binding *b, const struct sip_msg *msg)
{
	const struct sip_hdr *hdr = sip_msg_hdr(msg, SIP_HDR_WWW_AUTHENTICATE);

	b->challenge = mem_deref(b->challenge);
	if (hdr && !pl_strdup(&b->challenge, &hdr->val))
		b->challenged_at = aa_now_ms();
}


static int authenticate(struct aa_binding *b, const struct sip_msg *msg)
{
	const unsigned by = msg->scode == 401 ? CHALLENGED_BY_REGISTRAR
		: CHALLENGED_BY_PROXY;
	int err;

	if (!challenge_answerable(b, msg, by))
		return EAUTH;

	/* what an earlier request was challenged with may be out of date;
	   what the other server of this exchange wants is still needed */
	if (!b->challenged || (b->challenged & by))
		sip_auth_reset(b->auth);

	b->challenged |= by;
	++b->challenges;

	/* takes out of the message what cannot be answered: what is kept is
	   the challenge that was */
	err = aa_digest_answer(&b->digest, b->auth, msg);
	if (err)
		return err;

	if (by == CHALLENGED_BY_REGISTRAR)
		challenge_keep(b, msg);

	return 0;
}


static void challenges_reset(struct aa_binding *b)
{
	b->challenged = 0;
	b->challenges = 0;
	b->brief      = 0;
	b->digest.why[0] = '\0';
}


static bool interval_too_brief(struct aa_binding *b, const struct sip_msg *msg)
{
	const struct sip_hdr *hdr = sip_msg_hdr(msg, SIP_HDR_MIN_EXPIRES);
	uint32_t min_expires;

	if (!hdr || b->leaving)
		return false;

	min_expires = pl_u32(&hdr->val);
	if (min_expires <= b->want_expires || b->brief >= BRIEF_MAX)
		return false;

	++b->brief;
	b->want_expires = min_expires;

	return true;
}


static void failed(struct aa_binding *b, int err, const struct sip_msg *msg)
{
	const bool server = !msg || aa_scode_is_server_failure(msg->scode);
	char buf[REASON_SIZE];

	if (err || !msg)
		(void)re_snprintf(buf, sizeof(buf), "%m to REGISTER", err);
	else
		(void)re_snprintf(buf, sizeof(buf), "%u %r to REGISTER%s%s",
				  msg->scode, &msg->reason,
				  b->digest.why[0] ? ", " : "",
				  b->digest.why);
	(void)aa_utf8_clean(buf, sizeof(buf), buf);

	if (b->leaving) {
		gone(b, buf, msg);
		return;
	}

	aa_tmr_cancel(&b->tmr);

	if (!server) {
		b->ok = false;
		sip_auth_reset(b->auth);
	}

	/* all or nothing (RFC 3261 10.3): a refused one made no binding, but an
	   older one may still be there; 408 and 504 leave it open, and what was
	   not answered may be taken late */
	if (aa_msg_is_open(msg))
		b->unsure = true;
	else if (!b->unsure && aa_now_ms() >= b->until)
		b->sent = b->told = false;

	b->h(b, server ? AA_BINDING_FAILED : AA_BINDING_REJECTED, buf,
	     aa_msg_retry_after(msg), msg, b->arg);
}


/*
 * What the server asked for is sent.  If it cannot be, since the connection
 * ended just now, the server has refused nothing: its answer was a question.
 */
static void request_again(struct aa_binding *b)
{
	const int err = request(b);

	if (err)
		failed(b, err, NULL);
}


static void response_handler(int err, const struct sip_msg *msg, void *arg)
{
	struct aa_binding *b = arg;

	if (err) {
		failed(b, err, NULL);
		return;
	}

	if (msg->scode < 300) {
		challenges_reset(b);

		if (b->leaving) {
			gone(b, "unregistered", msg);
			return;
		}

		if (granted(b, msg))
			b->h(b, AA_BINDING_OK, "registered", 0, msg, b->arg);
		else
			refused_time(b, msg);
		return;
	}

	switch (msg->scode) {

	case 401:
	case 407:
		err = authenticate(b, msg);
		if (!err) {
			request_again(b);
			return;
		}

		/* that is not the server's word about the credentials */
		if (err == ENOMEM) {
			failed(b, err, NULL);
			return;
		}
		break;

	case 423:
		if (interval_too_brief(b, msg)) {
			request_again(b);
			return;
		}
		break;

	case 439:
		/* RFC 5626 11.6: the first hop cannot; do without */
		if (b->instance) {
			b->instance = mem_deref(b->instance);
			request_again(b);
			return;
		}
		break;

	default:
		/* it may be that it takes no more than one Contact */
		if (b->contact_old && !b->leaving &&
		    !aa_scode_is_server_failure(msg->scode)) {
			b->contact_old = mem_deref(b->contact_old);
			request_again(b);
			return;
		}
		break;
	}

	failed(b, 0, msg);
}


/*
 * Where the local address has changed, the registrar still has the Contact of
 * before.  With an instance-id it knows that the new one is the same phone's
 * (RFC 5626 4.2, 6); without, it is told in the same request (RFC 3261 10.2.2).
 */
static void contact_take(struct aa_binding *b, char *contact)
{
	if (b->contact_old && 0 == str_casecmp(b->contact_old, contact))
		b->contact_old = mem_deref(b->contact_old);

	if (b->told && !b->instance && !b->contact_old &&
	    b->contact && 0 != str_casecmp(b->contact, contact))
		b->contact_old = mem_ref(b->contact);

	mem_deref(b->contact);
	b->contact = contact;
}


static int contact_set(struct aa_binding *b, enum sip_transp tp,
		       const struct sa *src)
{
	char *contact = NULL;
	int err;

	if (!b->regid)
		err = re_sdprintf(&contact, "sip:%s@%J%s", b->cuser, src,
				  sip_transp_param(tp));
	else
		err = re_sdprintf(&contact, "sip:%s@%J%s;flow=%u", b->cuser,
				  src, sip_transp_param(tp), b->regid);
	if (err)
		return err;

	contact_take(b, contact);

	return 0;
}


static int send_handler(enum sip_transp tp, const struct sa *src,
			const struct sa *dst, struct mbuf *mb, void *arg)
{
	struct aa_binding *b = arg;
	struct sa addr;
	int err = 0;

	aa_compat_contact_addr(&addr, b->sip, tp, src, dst);

	/* what is to be removed has the address that it was made with */
	if (!b->leaving)
		err = contact_set(b, tp, &addr);
	if (!err && !b->contact)
		err = contact_set(b, tp, &addr);
	if (err)
		return err;

	err = mbuf_printf(mb, "Contact: <%s>;expires=%u", b->contact,
			  b->leaving ? 0 : b->want_expires);

	if (b->instance) {
		err |= mbuf_printf(mb, ";+sip.instance=\"<urn:uuid:%s>\""
				   ";reg-id=%u", b->instance, b->regid);
	}

	err |= mbuf_write_str(mb, "\r\n");
	if (b->contact_old)
		err |= mbuf_printf(mb, "Contact: <%s>;expires=0\r\n",
				   b->contact_old);
	if (!b->leaving)
		b->told = true;

	return err;
}


static int print_headers(struct re_printf *pf, const struct aa_binding *b)
{
	int err = 0;

	if (b->hop && b->route)
		err = re_hprintf(pf, "Route: <%s;lr>\r\n", b->hop);

	err |= re_hprintf(pf, "To: <%s>\r\n"
			  "From: %s%s%s<%s>;tag=%016llx\r\n"
			  "Call-ID: %016llx\r\n"
			  "CSeq: %u REGISTER\r\n"
			  "User-Agent: baresip/%s aastra/%s\r\n",
			  b->aor,
			  b->dispname ? "\"" : "",
			  b->dispname ? b->dispname : "",
			  b->dispname ? "\" " : "",
			  b->aor, b->tag, b->callid, b->cseq,
			  aa_compat_baresip_version(), AASTRA_VERSION);

	/* guide 3-53 */
	if (b->mac[0])
		err |= re_hprintf(pf, "Aastra-Mac: %s\r\n", b->mac);
	if (b->line)
		err |= re_hprintf(pf, "Aastra-Line: %u\r\n", b->line);

	return err;
}


static int request(struct aa_binding *b)
{
	struct aa_req_prm prm;

	b->due = false;
	b->req = mem_deref(b->req);

	memset(&prm, 0, sizeof(prm));
	prm.sip     = b->sip;
	prm.met     = "REGISTER";
	prm.uri     = b->registrar;
	prm.hop     = b->hop;
	prm.auth    = b->auth;
	prm.timeout = b->leaving ? MIN(b->transaction, FAREWELL_MS)
		: b->transaction;
	prm.conn    = b->conn;
	prm.sendh   = send_handler;
	prm.resph   = response_handler;
	prm.arg     = b;

	++b->requests;
	++b->cseq;
	if (!b->leaving)
		b->sent = true;

	return aa_req_send(&b->req, &prm,
			   "%H"
			   "%s"
			   "Allow: INVITE,ACK,BYE,CANCEL,OPTIONS,NOTIFY,"
			   "SUBSCRIBE,INFO,MESSAGE,REFER\r\n"
			   "Content-Length: 0\r\n"
			   "\r\n",
			   print_headers, b,
			   b->instance ? "Supported: outbound, path\r\n" :
			   "Supported: path\r\n");
}


/**
 * Allocate a binding; nothing is sent yet
 *
 * @param bp  Pointer to the binding; mem_deref() drops it without a word
 * @param prm Parameters
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_binding_alloc(struct aa_binding **bp, const struct aa_binding_prm *prm)
{
	struct aa_binding *b;
	int err;

	if (!bp || !prm || !prm->sip || !prm->registrar || !prm->aor ||
	    !prm->cuser || !prm->h)
		return EINVAL;

	b = mem_zalloc(sizeof(*b), destructor);
	if (!b)
		return ENOMEM;

	err = sip_auth_alloc(&b->auth, auth_handler, b, false);
	if (err)
		goto out;

	err  = str_dup(&b->cuser, prm->cuser);
	if (prm->dispname)
		err |= str_dup(&b->dispname, prm->dispname);
	err |= str_dup(&b->registrar, prm->registrar);
	err |= str_dup(&b->aor, prm->aor);
	if (prm->instance)
		err |= str_dup(&b->instance, prm->instance);
	if (err) {
		err = ENOMEM;
		goto out;
	}

	b->sip          = prm->sip;
	b->callid       = rand_u64();
	b->tag          = rand_u64();
	b->cseq         = rand_u16();
	b->regid        = prm->regid;
	b->sent         = !prm->regid;
	b->want_expires = prm->expires;
	b->renewal      = prm->renewal;
	b->transaction  = prm->transaction;
	b->matching     = prm->matching;
	b->line         = prm->line;
	str_ncpy(b->mac, prm->mac ? prm->mac : "", sizeof(b->mac));
	b->authh        = prm->authh;
	b->h            = prm->h;
	b->turnh        = prm->turnh;
	b->arg          = prm->arg;

 out:
	if (err)
		mem_deref(b);
	else
		*bp = b;

	return err;
}


/**
 * Register, or refresh, now
 *
 * @param b Binding
 *
 * @return 0 if success, otherwise errorcode; then no handler is called
 */
int aa_binding_register(struct aa_binding *b)
{
	if (!b || b->leaving)
		return EINVAL;

	aa_tmr_cancel(&b->tmr);
	challenges_reset(b);

	return request(b);
}


/**
 * It is the turn of a binding that is to be refreshed
 *
 * @param b Binding; nothing is done where it does not wait for that any more
 */
void aa_binding_refresh(struct aa_binding *b)
{
	if (b && b->due)
		refresh_handler(b);
}


/**
 * Unregister; AA_BINDING_GONE follows, after FAREWELL_MS at the latest
 *
 * @param b Binding
 *
 * @return 0 if success, otherwise errorcode; then no handler is called
 */
int aa_binding_unregister(struct aa_binding *b)
{
	int err;

	if (!b)
		return EINVAL;

	if (b->leaving)
		return 0;

	aa_tmr_cancel(&b->tmr);
	b->leaving = true;
	challenges_reset(b);

	err = request(b);
	if (err)
		b->leaving = false;

	return err;
}


struct contact_search {
	const char *instance;
	struct uri own;
	struct pl user;
	struct pl uri;
};


/* A Contact of this phone that no path of ours made? */
static bool foreign_handler(const struct sip_hdr *hdr,
			    const struct sip_msg *msg, void *arg)
{
	struct contact_search *cs = arg;
	struct sip_addr addr;
	struct pl val, flow, id;
	(void)msg;

	if (sip_addr_decode(&addr, &hdr->val) ||
	    pl_casecmp(&addr.uri.user, &cs->user) ||
	    pl_casecmp(&addr.uri.host, &cs->own.host) ||
	    0 == msg_param_decode(&addr.uri.params, "flow", &flow) ||
	    msg_param_decode(&addr.params, "+sip.instance", &val) ||
	    re_regex(val.p, val.l, "<urn:uuid:[^>]+>", &id) ||
	    pl_strcasecmp(&id, cs->instance))
		return false;

	cs->uri = addr.auri;

	return true;
}


/**
 * Learn from a registrar's list (RFC 3261 10.3) the Contact of a binding that
 * somebody else made, reg-id 0
 *
 * It can differ from what it would be now: later versions of libre put the
 * port of the connection into it, which nobody knows when that is gone.
 *
 * @param b        Binding, to be removed
 * @param from     Binding that the list was the answer to
 * @param instance UUID of the phone
 * @param msg      2xx to a REGISTER
 */
void aa_binding_learn(struct aa_binding *b, const struct aa_binding *from,
		      const char *instance, const struct sip_msg *msg)
{
	struct contact_search cs;
	struct pl own;
	char *contact;

	if (!b || b->regid || b->leaving || !from || !from->contact || !msg ||
	    !str_isset(instance) || 0 != str_casecmp(b->aor, from->aor))
		return;

	memset(&cs, 0, sizeof(cs));
	cs.instance = instance;
	pl_set_str(&cs.user, b->cuser);
	pl_set_str(&own, from->contact);
	if (uri_decode(&cs.own, &own) ||
	    !sip_msg_hdr_apply(msg, true, SIP_HDR_CONTACT, foreign_handler,
			       &cs) ||
	    pl_strdup(&contact, &cs.uri))
		return;

	mem_deref(b->contact);
	b->contact = contact;
}


/**
 * Give a binding to another owner
 *
 * @param b     Binding
 * @param authh Asked for credentials
 * @param h     Told what happens
 * @param arg   Argument of both
 */
void aa_binding_owner_set(struct aa_binding *b, sip_auth_h *authh,
			  aa_binding_h *h, void *arg)
{
	if (!b || !h)
		return;

	b->authh = authh;
	b->h     = h;
	b->turnh = NULL;
	b->due   = false;
	b->arg   = arg;
	b->conn  = NULL;
}


/**
 * Say whose connection it is that the next request may open: a new owner has
 * none at first
 *
 * @param b    Binding
 * @param conn Learns the connection, and names the server that TLS verifies;
 *             NULL for none
 */
void aa_binding_conn_set(struct aa_binding *b, struct aa_conn *conn)
{
	if (b)
		b->conn = conn;
}


/**
 * Stop: nothing is sent any more, not even a retransmission
 *
 * @param b Binding
 */
void aa_binding_halt(struct aa_binding *b)
{
	if (!b)
		return;

	if (b->req && !b->leaving)
		b->unsure = true;

	aa_tmr_cancel(&b->tmr);
	b->due = false;
	b->req = mem_deref(b->req);
	b->leaving = false;
}


/**
 * Unregister without waiting for an answer, for a module that is unloaded:
 * nothing of it may be called later.  The credentials of the last exchange
 * are used, so that most servers take it at the first try.
 *
 * @param b Binding
 *
 * @return 0 if it was sent, ENOENT if there is nothing to be removed,
 *         otherwise errorcode
 */
int aa_binding_farewell(struct aa_binding *b)
{
	char regid[16];
	struct uri hop;
	struct pl pl;
	int err;

	if (!b || !b->sent || !b->contact)
		return ENOENT;

	aa_binding_halt(b);
	(void)re_snprintf(regid, sizeof(regid), "%u", b->regid);

	pl_set_str(&pl, b->hop ? b->hop : b->registrar);
	err = uri_decode(&hop, &pl);
	if (err)
		return err;

	++b->cseq;
	err = sip_requestf(NULL, b->sip, true, "REGISTER", b->registrar, &hop,
			   b->auth, NULL, NULL, NULL,
			   "%H"
			   "Contact: <%s>;expires=0%s%s%s%s\r\n"
			   "Content-Length: 0\r\n"
			   "\r\n", print_headers, b, b->contact,
			   b->instance ? ";+sip.instance=\"<urn:uuid:" : "",
			   b->instance ? b->instance : "",
			   b->instance ? ">\";reg-id=" : "",
			   b->instance ? regid : "");
	b->ok   = false;
	b->sent = false;
	b->told = false;

	return err;
}


/**
 * Does the registrar have the binding, as far as is known?
 *
 * @param b Binding, may be NULL
 *
 * @return true if so, and it has not expired
 */
bool aa_binding_live(const struct aa_binding *b)
{
	return b && b->ok && !b->leaving && aa_now_ms() < b->until;
}


/**
 * May the registrar have the binding?  (A REGISTER was sent, and nothing said
 * that it was refused or removed.)
 *
 * @param b Binding, may be NULL
 *
 * @return true if so
 */
bool aa_binding_maybe(const struct aa_binding *b)
{
	return b && b->sent;
}


/**
 * Say where the binding's requests go from now on
 *
 * Call-ID, Contact and reg-id stay, so that the registrar takes them for the
 * same client's and orders them by their CSeq (RFC 3261 10.3), whatever way
 * they come.  So the binding of a dead path can be removed over another one.
 *
 * @param b     Binding, without a request in flight
 * @param hop   Next hop, NULL: the Request-URI's
 * @param route True to name it in a Route header
 * @param conn  Learns a connection that is opened, may be NULL
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_binding_hop_set(struct aa_binding *b, const char *hop, bool route,
		       struct aa_conn *conn)
{
	char *copy = NULL;
	int err;

	if (!b || b->req)
		return EINVAL;

	if (hop) {
		err = str_dup(&copy, hop);
		if (err)
			return err;
	}

	mem_deref(b->hop);
	b->hop   = copy;
	b->route = route;
	b->conn  = conn;

	return 0;
}


/**
 * Answer a registrar's challenge before it is made, where another binding of
 * the same user at the same registrar knows its nonce (RFC 3261 22.1): a
 * server that takes it again saves a round trip.  One that does not sends a
 * new challenge, as it would have done anyway.
 *
 * @param b    Binding, without a request in flight
 * @param from Binding of the same line, may be NULL
 *
 * @return 0 if success, ENOENT if nothing newer is known, otherwise errorcode
 */
int aa_binding_auth_from(struct aa_binding *b, const struct aa_binding *from)
{
	struct sip_msg *msg = NULL;
	struct mbuf *mb = NULL;
	char *copy = NULL;
	int err;

	if (!b || b->req || b == from)
		return EINVAL;

	if (!from || !from->challenge ||
	    from->challenged_at <= b->challenged_at ||
	    0 != str_casecmp(from->registrar, b->registrar))
		return ENOENT;

	err = str_dup(&copy, from->challenge);
	if (err)
		return err;

	mb = mbuf_alloc(512);
	if (!mb) {
		err = ENOMEM;
		goto out;
	}

	/* libre learns a challenge from a response and from nothing else */
	err = mbuf_printf(mb, "SIP/2.0 401 Unauthorized\r\n"
			  "WWW-Authenticate: %s\r\n\r\n", copy);
	if (err)
		goto out;

	mb->pos = 0;
	err = sip_msg_decode(&msg, mb);
	if (err)
		goto out;

	sip_auth_reset(b->auth);
	err = aa_digest_answer(&b->digest, b->auth, msg);
	if (err) {
		sip_auth_reset(b->auth);
		goto out;
	}

	mem_deref(b->challenge);
	b->challenge     = mem_ref(copy);
	b->challenged_at = from->challenged_at;

 out:
	mem_deref(msg);
	mem_deref(mb);
	mem_deref(copy);

	return err;
}


/**
 * When the binding expires at the registrar
 *
 * @param b Binding, may be NULL
 *
 * @return Time of aa_now_ms(), 0 if it was never registered
 */
uint64_t aa_binding_until(const struct aa_binding *b)
{
	return b ? b->until : 0;
}


/**
 * Is a request of the binding waiting for its answer?
 *
 * @param b Binding, may be NULL
 *
 * @return true if so
 */
bool aa_binding_pending(const struct aa_binding *b)
{
	return b && b->req;
}


/**
 * Is the binding being removed?
 *
 * @param b Binding, may be NULL
 *
 * @return true if so
 */
bool aa_binding_leaving(const struct aa_binding *b)
{
	return b && b->leaving;
}


/**
 * The reg-id that tells this binding from the phone's others (RFC 5626 4.2)
 *
 * @param b Binding, may be NULL
 *
 * @return reg-id, 0 if there is none
 */
unsigned aa_binding_regid(const struct aa_binding *b)
{
	return b ? b->regid : 0;
}


/**
 * Expiry that the registrar granted
 *
 * @param b Binding, may be NULL
 *
 * @return Seconds, 0 if there is none
 */
uint32_t aa_binding_expires(const struct aa_binding *b)
{
	return b && b->ok ? b->expires : 0;
}


/**
 * What the registrar says it is
 *
 * @param b Binding, may be NULL
 *
 * @return Server header, NULL if there was none
 */
const char *aa_binding_server(const struct aa_binding *b)
{
	return b ? b->server : NULL;
}


/**
 * REGISTER requests sent so far
 *
 * @param b Binding, may be NULL
 *
 * @return Number
 */
uint32_t aa_binding_requests(const struct aa_binding *b)
{
	return b ? b->requests : 0;
}


/**
 * For which realm the registrar, or a proxy on the way, wanted credentials
 *
 * @param b Binding, may be NULL
 *
 * @return Realm, empty if nobody wanted any
 */
const char *aa_binding_realm(const struct aa_binding *b)
{
	return b ? b->digest.realm : "";
}
