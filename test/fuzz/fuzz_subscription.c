/**
 * @file fuzz_subscription.c  Any story as the life of a line's subscriptions
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * The input is a story of steps, cut at form feeds.  The first byte of a step
 * says what happens: the server answers the oldest or the latest request with
 * these headers, it sends a NOTIFY in the dialog of one of them or in none,
 * time goes by, the line moves, has no path, is steered by hand, or ends.
 * SIP messages are read by libre; sending them, and the clock, are ours.
 *
 * Beside what the sanitizers see: who is no dialog of ours changes nothing,
 * what is refused is counted, and at the end nothing is left behind.
 */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <re.h>
#include "request.h"


static int  answered(uint16_t scode);
static int  answered_fmt(uint16_t scode, const char *fmt, ...);
static uint16_t chance(void);

#define rand_u16() chance()
#define sip_reply(sip, msg, scode, reason) answered(scode)
#define sip_treply(stp, sip, msg, scode, reason) answered(scode)
#define sip_treplyf(stp, mbp, sip, msg, rec_route, scode, ...) \
	answered_fmt(scode, __VA_ARGS__)
#define sip_drequestf(reqp, sip, stateful, met, dlg, cseq, auth, sendh, \
		      resph, arg, ...) answered_fmt(0, __VA_ARGS__)

#include "../../modules/aastra/subscription.c"
#include "fuzz.h"


enum {
	STEPS_MAX   = 64,
	TIMERS_MAX  = 256,
	TIMERS_RUN  = 64        /* at one time: more would be a storm       */
};


/* libre 1.x has it, but does not declare it */
int sip_dialog_encode(struct mbuf *mb, struct sip_dialog *dlg, uint32_t cseq,
		      const char *met);


/** A request under way */
struct aa_req {
	struct le le;
	struct aa_req **reqp;
	struct sip_dialog *dlg;
	sip_resp_h *resph;
	void *arg;
	uint64_t due;
};


static struct {
	struct aa_subs *subs;
	struct list farewelll;
	struct list reql;
	struct aa_tmr *tmrv[TIMERS_MAX];
	size_t tmrc;
	uint64_t now;
	unsigned requests;
	unsigned answers;
	uint16_t scode;         /* of the latest answer to a NOTIFY         */
	unsigned changes;       /* that were told                           */
} t;


/* ---- the clock ---------------------------------------------------------- */


uint64_t aa_now_ms(void)
{
	return t.now;
}


static uint16_t chance(void)
{
	return 250;
}


void aa_tmr_start(struct aa_tmr *tmr, uint64_t delay, tmr_h *h, void *arg)
{
	aa_tmr_cancel(tmr);
	if (!h)
		return;

	REQUIRE(delay < (uint64_t)UINT32_MAX * 1000 + 1000);
	REQUIRE(t.tmrc < TIMERS_MAX);
	tmr->at  = t.now + delay;
	tmr->h   = h;
	tmr->arg = arg;
	t.tmrv[t.tmrc++] = tmr;
}


void aa_tmr_cancel(struct aa_tmr *tmr)
{
	size_t i;

	for (i=0; tmr->h && i<t.tmrc; i++) {
		if (t.tmrv[i] != tmr)
			continue;
		--t.tmrc;
		memmove(&t.tmrv[i], &t.tmrv[i + 1],
			(t.tmrc - i) * sizeof(t.tmrv[0]));
		break;
	}
	tmr->h = NULL;
}


/* The one that is due first, until that time */
static struct aa_tmr *clock_first(uint64_t until)
{
	struct aa_tmr *first = NULL;
	size_t i;

	for (i=0; i<t.tmrc; i++) {
		if (t.tmrv[i]->at <= until &&
		    (!first || t.tmrv[i]->at < first->at))
			first = t.tmrv[i];
	}

	return first;
}


static struct aa_req *req_first(uint64_t until)
{
	struct aa_req *first = NULL;
	struct le *le;

	for (le = list_head(&t.reql); le; le = le->next) {
		struct aa_req *r = le->data;

		if (r->due <= until && (!first || r->due < first->due))
			first = r;
	}

	return first;
}


/* ---- requests ----------------------------------------------------------- */


static void req_destructor(void *arg)
{
	struct aa_req *r = arg;

	if (r->reqp)
		*r->reqp = NULL;
	list_unlink(&r->le);
	mem_deref(r->dlg);
}


static void req_complete(struct aa_req *r, int err, const struct sip_msg *msg)
{
	list_unlink(&r->le);
	if (r->reqp)
		*r->reqp = NULL;
	r->reqp = NULL;

	r->resph(err, msg, r->arg);
	mem_deref(r);
}


int aa_req_send(struct aa_req **reqp, const struct aa_req_prm *prm,
		const char *fmt, ...)
{
	struct mbuf *mb = mbuf_alloc(512);
	struct aa_req *r;
	struct sa src, dst;
	va_list ap;
	int err;

	REQUIRE(mb && reqp && !*reqp);
	REQUIRE(prm->sip && prm->resph && prm->timeout);
	REQUIRE(!strcmp(prm->met, "SUBSCRIBE"));

	va_start(ap, fmt);
	err = mbuf_vprintf(mb, fmt, ap);
	va_end(ap);
	REQUIRE(!err);
	REQUIRE(!sa_set_str(&src, "192.0.2.9", 5060));
	REQUIRE(!sa_set_str(&dst, "192.0.2.1", 5060));
	REQUIRE(!prm->sendh(SIP_TRANSP_UDP, &src, &dst, mb, prm->arg));
	mem_deref(mb);

	r = mem_zalloc(sizeof(*r), req_destructor);
	REQUIRE(r);
	r->dlg   = mem_ref(prm->dlg);
	r->resph = prm->resph;
	r->arg   = prm->arg;
	r->due   = t.now + prm->timeout;
	r->reqp  = reqp;
	*reqp    = r;
	list_append(&t.reql, &r->le, r);
	++t.requests;

	return 0;
}


bool aa_scode_is_server_failure(uint16_t scode)
{
	return scode == 408 || scode == 430 || scode == 500 || scode == 502 ||
		scode == 503 || scode == 504;
}


uint32_t aa_msg_retry_after(const struct sip_msg *msg)
{
	const struct sip_hdr *hdr = sip_msg_hdr(msg, SIP_HDR_RETRY_AFTER);

	return hdr ? MIN(pl_u32(&hdr->val), 86400) : 0;
}


static int answered(uint16_t scode)
{
	++t.answers;
	t.scode = scode;

	return 0;
}


static int print_nowhere(const char *p, size_t size, void *arg)
{
	(void)p;
	(void)size;
	(void)arg;

	return 0;
}


static int answered_fmt(uint16_t scode, const char *fmt, ...)
{
	struct re_printf pf = {print_nowhere, NULL};
	va_list ap;

	/* what is sent must be printable at all */
	va_start(ap, fmt);
	REQUIRE(!re_vhprintf(fmt, ap, pf.vph, pf.arg));
	va_end(ap);

	return scode ? answered(scode) : 0;
}


/* Time goes by, and what is due happens */
static void pass(uint64_t ms)
{
	const uint64_t end = t.now + ms;
	unsigned n = 0;

	for (;;) {
		struct aa_tmr *tmr = clock_first(end);
		struct aa_req *r = req_first(end);
		uint64_t at;

		if (!tmr && !r)
			break;

		at = tmr && (!r || tmr->at <= r->due) ? tmr->at : r->due;
		if (at > t.now) {
			t.now = at;
			n = 0;
		}

		/* all that happens at one time ends */
		REQUIRE(++n < 4 * TIMERS_RUN);

		if (tmr && tmr->at == at) {
			tmr_h *h = tmr->h;
			void *arg = tmr->arg;

			aa_tmr_cancel(tmr);
			h(arg);
		}
		else {
			req_complete(r, ETIMEDOUT, NULL);
		}
	}

	t.now = MAX(t.now, end);
}


/* ---- what the server says ----------------------------------------------- */


static struct sip_msg *message(const char *head, const uint8_t *p, size_t l)
{
	struct mbuf *mb = mbuf_alloc(strlen(head) + l + 8);
	struct sip_msg *msg = NULL;

	REQUIRE(mb);
	REQUIRE(!mbuf_write_str(mb, head));
	if (l)
		REQUIRE(!mbuf_write_mem(mb, p, l));
	REQUIRE(!mbuf_write_str(mb, "\r\n\r\n"));
	mb->pos = 0;

	if (sip_msg_decode(&msg, mb))
		msg = NULL;
	mem_deref(mb);

	return msg;
}


/* The tag that libre gave a dialog, as it writes it into requests */
static void tag_of(char *tag, size_t sz, struct sip_dialog *dlg)
{
	struct mbuf *mb = mbuf_alloc(512);
	struct pl pl;

	REQUIRE(mb && !sip_dialog_encode(mb, dlg, 1, "SUBSCRIBE"));
	REQUIRE(!re_regex((char *)mb->buf, mb->end,
			  "From: [^;]+;tag=[^\r\n]+", NULL, &pl));
	REQUIRE(!pl_strcpy(&pl, tag, sz));
	mem_deref(mb);
}


/* "200\nExpires: 3600\r\n..." to the oldest request, or the latest */
static void respond(bool oldest, const uint8_t *p, size_t l)
{
	struct aa_req *r = list_ledata(oldest ? list_head(&t.reql)
				       : list_tail(&t.reql));
	const struct leg *leg;
	unsigned scode = 200;
	struct sip_msg *msg;
	char head[512], tag[64];

	if (!r)
		return;

	if (l >= 3) {
		scode = 100 * (p[0] % 6 + 1) + p[1] % 100;
		p += 2;
		l -= 2;
	}
	if (scode < 200)
		return;

	leg = r->arg;
	tag_of(tag, sizeof(tag), leg->dlg);
	(void)re_snprintf(head, sizeof(head), "SIP/2.0 %u Said\r\n"
			  "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\n"
			  "From: <sip:100@a.example>;tag=%s\r\n"
			  "To: <sip:200@a.example>;tag=srv\r\n"
			  "Call-ID: %s\r\nCSeq: %u SUBSCRIBE\r\n", scode,
			  tag,
			  sip_dialog_callid(leg->dlg),
			  sip_dialog_lseq(leg->dlg));
	msg = message(head, p, l);
	if (!msg)
		return;

	req_complete(r, 0, msg);
	mem_deref(msg);
}


static const struct leg *leg_any(unsigned i)
{
	const struct leg *legv[16];
	unsigned n = 0;
	struct le *le, *ole;

	for (le = list_head(&t.subs->subl); le; le = le->next) {
		const struct sub *sub = le->data;

		if (sub->leg && n < ARRAY_SIZE(legv))
			legv[n++] = sub->leg;
		for (ole = list_head(&sub->oldl); ole; ole = ole->next) {
			if (n < ARRAY_SIZE(legv))
				legv[n++] = ole->data;
		}
	}
	for (le = list_head(&t.subs->leavel); le; le = le->next) {
		if (n < ARRAY_SIZE(legv))
			legv[n++] = le->data;
	}
	for (le = list_head(&t.subs->orphanl); le; le = le->next) {
		if (n < ARRAY_SIZE(legv))
			legv[n++] = le->data;
	}

	return n ? legv[i % n] : NULL;
}


/* Bytes: which dialog, CSeq, whether the tag of the server is another one */
static void notify_in(const uint8_t *p, size_t l)
{
	const struct leg *leg;
	struct sip_msg *msg;
	char head[512], tag[64];

	if (l < 3)
		return;

	leg = leg_any(p[0]);
	if (!leg)
		return;

	tag_of(tag, sizeof(tag), leg->dlg);
	(void)re_snprintf(head, sizeof(head),
			  "NOTIFY sip:c@192.0.2.9 SIP/2.0\r\n"
			  "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKn\r\n"
			  "From: <sip:200@a.example>;tag=%s\r\n"
			  "To: <sip:100@a.example>;tag=%s\r\n"
			  "Call-ID: %s\r\nCSeq: %u NOTIFY\r\n",
			  p[2] & 1 ? "other" : "srv",
			  tag, sip_dialog_callid(leg->dlg), p[1]);

	msg = message(head, p + 3, l - 3);
	if (!msg)
		return;

	{
		const unsigned answers = t.answers;

		if (aa_subs_notify(t.subs, msg))
			REQUIRE(t.answers == answers + 1);
		else
			REQUIRE(t.answers == answers);
	}
	mem_deref(msg);
}


/* Of nobody's dialog: nothing may come of it */
static void notify_stray(const uint8_t *p, size_t l)
{
	const unsigned changes = t.changes, requests = t.requests;
	struct sip_msg *msg = message(
		"NOTIFY sip:c@192.0.2.9 SIP/2.0\r\n"
		"Via: SIP/2.0/UDP 192.0.2.66;branch=z9hG4bKe\r\n"
		"From: <sip:evil@b.example>;tag=srv\r\n"
		"To: <sip:100@a.example>;tag=guessed\r\n"
		"Call-ID: guessed\r\nCSeq: 1 NOTIFY\r\n", p, l);

	if (!msg)
		return;

	REQUIRE(pl_strcmp(&msg->callid, "guessed") ||
		!aa_subs_notify(t.subs, msg));
	REQUIRE(t.changes == changes && t.requests == requests);
	mem_deref(msg);
}


/* ---- what the line does ------------------------------------------------- */


static int auth(char **user, char **pass, const char *realm, void *arg)
{
	(void)realm;
	(void)arg;

	return str_dup(user, "100") | str_dup(pass, "secret");
}


static void subs_handler(enum aa_sub_event ev, const struct aa_sub_info *si,
			 const char *text, uint32_t took, void *arg)
{
	(void)took;
	REQUIRE(arg == &t && text);
	REQUIRE(si || ev == AA_SUB_EV_SETTLED);
	if (si) {
		REQUIRE(si->event && si->uri && si->value && si->note);
		REQUIRE(strlen(si->error) < REASON_SIZE);
	}
	++t.changes;
}


static void go(uint8_t how)
{
	const bool backup = how & 1;
	struct aa_subs_path prm;

	memset(&prm, 0, sizeof(prm));
	prm.aor         = how & 4 ? "sip:100@b.example" : "sip:100@a.example";
	prm.domain      = backup ? "b.example" : "a.example";
	prm.home        = "a.example";
	prm.route       = backup ? "sip:192.0.2.2" : "sip:192.0.2.1";
	prm.cuser       = "cuser-1";
	prm.tp          = SIP_TRANSP_UDP;
	prm.transaction = 4000;
	prm.generation  = how >> 4;
	prm.rank        = backup ? AA_RANK_BACKUP : AA_RANK_PRIMARY;
	prm.old_works   = how & 2;

	REQUIRE(!aa_subs_path_set(t.subs, &prm));
}


static void by_hand(bool add, const uint8_t *p, size_t l)
{
	static const char *const eventv[] = {
		"dialog", "presence", "message-summary", "as-feature-event",
		"x-odd"
	};
	char uri[300];

	if (!l || l >= sizeof(uri) || memchr(p + 1, '\0', l - 1))
		return;

	memcpy(uri, p + 1, l - 1);
	uri[l - 1] = '\0';

	if (add && list_count(&t.subs->subl) < 12)
		(void)aa_subs_add(t.subs, eventv[*p % ARRAY_SIZE(eventv)],
				  uri);
	else if (!add)
		(void)aa_subs_remove(t.subs, eventv[*p % ARRAY_SIZE(eventv)],
				     uri);
}


static bool look_handler(const struct aa_sub_info *si, void *arg)
{
	unsigned *n = arg;

	REQUIRE(si->event && si->uri && si->value && si->error);
	REQUIRE(aa_sub_state_name(si->state)[0] != '?');
	++*n;

	return false;
}


static void step(const uint8_t *p, size_t l)
{
	const uint8_t what = *p++;
	unsigned n = 0;

	--l;

	switch (what) {

	case 'R': respond(true, p, l);                  break;
	case 'r': respond(false, p, l);                 break;
	case 'N': notify_in(p, l);                      break;
	case 'n': notify_stray(p, l);                   break;
	case 'm': pass(l ? p[0] * 10U : 1);             break;
	case 's': pass(l ? p[0] * 1000U : 1000);        break;
	case 'h': pass(l ? p[0] * 60000U : 60000);      break;
	case 'g': go(l ? p[0] : 0);                     break;
	case 'q': aa_subs_suspend(t.subs);              break;
	case '+': by_hand(true, p, l);                  break;
	case '-': by_hand(false, p, l);                 break;
	default:                                        break;
	}

	(void)aa_subs_apply(t.subs, look_handler, &n);
	(void)aa_subs_leaving(t.subs);
}


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *p = data, *end = data + size;
	struct aa_line_config *cfg;
	struct sip *sip = mem_zalloc(8, NULL);
	int steps = 0;

	fuzz_random_begin();
	cfg = calloc(1, sizeof(*cfg));
	REQUIRE(cfg && sip);
	memset(&t, 0, sizeof(t));
	t.now = 100000;
	cfg->explicit_mwi = true;
	str_ncpy(cfg->subscribe, "dialog 200, presence sip:201@a.example",
		 sizeof(cfg->subscribe));

	REQUIRE(!aa_subs_alloc(&t.subs, sip, cfg, auth, subs_handler, &t));
	go(0);
	pass(0);

	while (p < end && steps++ < STEPS_MAX) {
		const uint8_t *ff = memchr(p, '\f', (size_t)(end - p));
		const uint8_t *stop = ff ? ff : end;

		if (stop > p)
			step(p, (size_t)(stop - p));
		pass(0);
		p = stop + (ff ? 1 : 0);
	}

	/* with a word to the server, or without one */
	aa_subs_end(t.subs, size & 1 ? &t.farewelll : NULL);
	pass(120000);

	REQUIRE(list_isempty(&t.farewelll));
	REQUIRE(list_isempty(&t.reql));
	REQUIRE(!t.tmrc);

	mem_deref(sip);
	free(cfg);

	return 0;
}
