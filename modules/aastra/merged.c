/**
 * @file merged.c  One request that came over two flows
 *
 * A line that is registered over two flows may get a call over both, where its
 * server does not keep to one flow a phone (RFC 5626 7).  RFC 3261 8.2.2.2 has
 * the second one refused with 482.  libre does that as well, but only where
 * both have the same Request-URI, and these are for two Contacts.
 *
 * A server that gives up on one flow, and sends the call over the other, sends
 * the same request, too.  The answer to the first cannot get back to it then:
 * so a request whose flow has failed since is as good as none.
 *
 * One that is over, and nobody took, is no reason either: a server that hunts
 * calls a phone, cancels, calls others, and comes back to it with the same
 * request.  What was taken is: a server that hung, and goes on, passes on what
 * it had in hand, and a call that another one brought in time would ring again.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <re.h>
#include "aastra_baresip.h"
#include "compat.h"
#include "flow.h"
#include "account.h"
#include "line.h"
#include "merged.h"


enum {
	REQUESTS  = 256,        /* that are remembered                      */
	MEMORY_MS = 32000       /* RFC 3261 17.1.1.2, Timer B: whoever sent
				   it has given up by then                  */
};


/** A request that was let in */
struct request {
	uint64_t at;            /* when it came, aa_now_ms()                */
	uint64_t call;          /* Call-ID                                  */
	uint64_t id;            /* that, tag of From, CSeq, method          */
	uint64_t uri;           /* Request-URI                              */
	uint64_t transaction;   /* branch and sent-by                       */
	uint64_t generation;    /* of the flow                              */
	uint32_t line;
	bool down;              /* the flow was thought to be, then         */
	bool refused;           /* it came second                           */
	bool taken;             /* somebody took the call                   */
	struct sa src;
};

static struct {
	struct request v[REQUESTS];
	size_t next;
} seen;


static const uint64_t basis = 14695981039346656037ull;


/* FNV-1a; a separator keeps "a", "bc" and "ab", "c" apart */
static uint64_t mix(uint64_t sum, const struct pl *pl)
{
	size_t i;

	for (i=0; i<pl->l; i++)
		sum = (sum ^ (unsigned char)pl->p[i]) * 1099511628211ull;

	return (sum ^ 0xff) * 1099511628211ull;
}


static uint64_t id_of(uint64_t call, const struct sip_msg *msg)
{
	uint64_t sum = mix(call, &msg->from.tag);

	sum = mix(sum, &msg->cseq.met);

	return (sum ^ msg->cseq.num) * 1099511628211ull;
}


/* A call for two lines of one phone is two calls */
static uint32_t line_of(const struct aa_phone *phone,
			const struct sip_msg *msg)
{
	struct le *le;

	for (le = list_head(&phone->linel); le; le = le->next) {
		const struct aa_line *line = le->data;

		if (aa_account_has_cuser(line->acc, &msg->uri.user))
			return line->cfg.line;
	}

	return 0;
}


static bool is_dead(const struct aa_phone *phone, const struct request *r)
{
	const struct aa_flow *flow = aa_flow_to(&phone->flowl, &r->src);

	if (!flow)
		return false;

	/* where nothing checks it, it may have come back long ago */
	if (!aa_flow_kept(flow))
		return !r->down && aa_flow_state(flow) == AA_FLOW_DOWN;

	return aa_flow_state(flow) == AA_FLOW_DOWN ||
		aa_flow_generation(flow) != r->generation;
}


static void request_init(struct request *r, const struct aa_phone *phone,
			 const struct sip_msg *msg, uint32_t line)
{
	const struct aa_flow *flow = aa_flow_to(&phone->flowl, &msg->src);

	memset(r, 0, sizeof(*r));
	r->at          = aa_now_ms();
	r->call        = mix(basis, &msg->callid);
	r->id          = id_of(r->call, msg);
	r->uri         = mix(basis, &msg->ruri);
	r->transaction = mix(mix(basis, &msg->via.branch), &msg->via.sentby);
	r->generation  = flow ? aa_flow_generation(flow) : 0;
	r->line        = line;
	r->down        = aa_flow_state(flow) == AA_FLOW_DOWN;
	r->src         = msg->src;
}


/**
 * Did a request come a second time, over another way (RFC 3261 8.2.2.2)?
 * What did not is remembered for half a minute, or until its call is over and
 * was not taken.
 *
 * @param phone What all lines share
 * @param msg   SIP request
 *
 * @return true if so: it has to be refused with 482
 */
bool aa_merged(const struct aa_phone *phone, const struct sip_msg *msg)
{
	struct request next;
	uint32_t line;
	size_t i;

	if (!phone || !msg || pl_isset(&msg->to.tag) ||
	    (pl_strcmp(&msg->met, "INVITE") && pl_strcmp(&msg->met, "MESSAGE")))
		return false;

	line = line_of(phone, msg);
	if (!line)
		return false;

	request_init(&next, phone, msg, line);

	for (i=0; i<REQUESTS; i++) {
		const struct request *r = &seen.v[i];

		if (!r->at || next.at - r->at > MEMORY_MS ||
		    r->id != next.id || r->line != line)
			continue;

		/* a retransmission is libre's */
		if (r->transaction == next.transaction)
			return false;

		/* so is one for the same Contact: libre knows whether the
		   transaction before is over */
		if (r->uri != next.uri && !r->refused && !is_dead(phone, r))
			next.refused = true;
	}

	seen.v[seen.next++ % REQUESTS] = next;

	return next.refused;
}


static void call_note(const char *callid, bool taken)
{
	uint64_t call;
	struct pl pl;
	size_t i;

	if (!str_isset(callid))
		return;

	pl_set_str(&pl, callid);
	call = mix(basis, &pl);

	for (i=0; i<REQUESTS; i++) {
		struct request *r = &seen.v[i];

		if (r->call != call)
			continue;

		if (taken)
			r->taken = true;

		/* what was refused stays so: its retransmissions are libre's */
		else if (!r->refused && !r->taken)
			r->at = 0;
	}
}


/**
 * A call was taken: what comes of it over another way is late, even when it
 * is over
 *
 * @param callid Its Call-ID
 */
void aa_merged_taken(const char *callid)
{
	call_note(callid, true);
}


/**
 * A call is over: where nobody took it, its request is none that another one
 * could be merged with
 *
 * @param callid Its Call-ID
 */
void aa_merged_forget(const char *callid)
{
	call_note(callid, false);
}
