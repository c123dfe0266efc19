/**
 * @file callmove.c  Outgoing calls that meet a dead server
 *
 * An INVITE into a dead server is retransmitted for 32 seconds before baresip
 * hears of it.  So a call that nobody answers for half a second makes the line
 * look at its next hop, and when the line moves, a call that has not rung yet
 * is dialled again over the new path, once (`sip call failover`).
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
#include "callmove.h"


enum {
	UNANSWERED_MS = 500,    /* RFC 3261 T1: then it is retransmitted    */
	WAIT_MS       = 4000,   /* for the line to move, on top of its
				   transaction timer                        */
	CALLS_MAX     = 32,
	ERRORS        = 134     /* errno of Linux, one more than the last   */
};


/** An outgoing call that has not been answered in any way */
struct attempt {
	struct le le;
	struct aa_line *line;
	struct ua *ua;
	struct call *call;      /* NULL once it has failed                  */
	struct aa_tmr tmr;
	char *uri;
	uint32_t moves;         /* of the line, when it was dialled         */
	uint64_t started;
	bool again;             /* this is the second try                   */
};


static void attempt_destructor(void *arg)
{
	struct attempt *a = arg;

	list_unlink(&a->le);
	aa_tmr_cancel(&a->tmr);
	mem_deref(a->uri);
}


static bool is_waiting(const struct attempt *a)
{
	return a->call && call_state(a->call) == CALL_STATE_OUTGOING;
}


static void unanswered_handler(void *arg)
{
	struct attempt *a = arg;

	if (!is_waiting(a)) {
		mem_deref(a);
		return;
	}

	aa_line_check(a->line);
}


static void give_up_handler(void *arg)
{
	mem_deref(arg);
}


static struct attempt *attempt_find(const struct aa_line *line,
				    const struct call *call)
{
	struct le *le;

	for (le = list_head(&line->calll); le; le = le->next) {
		struct attempt *a = le->data;

		if (a->call == call)
			return a;
	}

	return NULL;
}


/**
 * A call sends its offer
 *
 * @param line Line
 * @param ua   User agent of the call
 * @param call Call
 */
void aa_callmove_offer(struct aa_line *line, struct ua *ua, struct call *call)
{
	struct attempt *a;

	if (!line || !call || !line->cfg.call_failover ||
	    !call_is_outgoing(call) ||
	    call_state(call) != CALL_STATE_OUTGOING ||
	    attempt_find(line, call) ||
	    list_count(&line->calll) >= CALLS_MAX)
		return;

	a = mem_zalloc(sizeof(*a), attempt_destructor);
	if (!a)
		return;

	if (str_dup(&a->uri, call_peeruri(call))) {
		mem_deref(a);
		return;
	}

	a->line    = line;
	a->ua      = ua;
	a->call    = call;
	a->moves   = line->moves;
	a->started = aa_now_ms();
	a->again   = line->redialling;
	list_append(&line->calll, &a->le, a);
	aa_tmr_start(&a->tmr, UNANSWERED_MS, unanswered_handler, a);
}


/*
 * No server answered: then baresip's reason is what libre's %m prints for an
 * error.  A response begins with its code; everything else is somebody's who
 * hung up (in words that differ between versions, or words of his own), or a
 * fault of the phone's.
 */
static bool is_transport_failure(const char *reason)
{
	char buf[128];          /* as large as baresip's                    */
	int err;

	for (err = 1; err < ERRORS; err++) {
		if (re_snprintf(buf, sizeof(buf), "%m", err) > 0 &&
		    0 == str_cmp(buf, reason))
			return true;
	}

	return false;
}


/*
 * What a proxy says if it got nothing out of the next server.  It may as well
 * be the far end's fault, so it only makes the line ask its own server.
 */
static bool is_server_failure(const char *reason)
{
	static const char *const codev[] = {
		"408", "430", "500", "502", "503", "504"
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(codev); i++) {
		if (0 == strncmp(reason, codev[i], 3))
			return true;
	}

	return false;
}


/**
 * A call has ended
 *
 * @param line   Line
 * @param call   Call, freed by baresip after this
 * @param reason Baresip's text
 */
void aa_callmove_closed(struct aa_line *line, const struct call *call,
			const char *reason)
{
	struct attempt *a = line ? attempt_find(line, call) : NULL;
	bool transport;

	if (!a)
		return;

	a->call = NULL;
	transport = is_transport_failure(reason);

	if (a->again || call_state(call) != CALL_STATE_OUTGOING ||
	    !str_isset(reason) ||
	    (!transport && !is_server_failure(reason))) {
		mem_deref(a);
		return;
	}

	/* it failed before the line knew that its server is dead */
	aa_tmr_start(&a->tmr, line->cfg.transaction_timer + WAIT_MS,
		  give_up_handler, a);
	if (a->moves != line->moves)
		aa_line_kick(line);
	else if (transport)
		aa_line_suspect(line, reason);
	else
		aa_line_check(line);
}


/* The same user, in the domain of the AOR that is in force now */
static int redial_uri(char **urip, const struct attempt *a)
{
	const struct uri *aor = account_luri(aa_account_prim(a->line->acc));
	const struct uri *now = account_luri(ua_account(
		aa_account_shown(a->line->acc)));
	struct uri uri, to;
	struct pl pl;

	pl_set_str(&pl, a->uri);

	if (uri_decode(&uri, &pl) || !pl_isset(&uri.user) ||
	    0 != pl_casecmp(&uri.host, &aor->host))
		return str_dup(urip, a->uri);

	/* only baresip 1.0.0 would complete a bare user by itself */
	memset(&to, 0, sizeof(to));
	pl_set_str(&to.scheme, "sip");
	to.user = uri.user;
	to.host = now->host;
	to.af   = now->af;
	to.port = now->port;

	return re_sdprintf(urip, "%H", uri_encode, &to);
}


static void redial(struct attempt *a)
{
	struct aa_line *line = a->line;
	struct ua *ua = aa_account_shown(line->acc);
	const uint64_t took = aa_now_ms() - a->started;
	struct call *old = a->call;
	struct ua *old_ua = a->ua;
	char *uri = NULL;
	int err;

	err = redial_uri(&uri, a);
	if (err)
		return;

	aa_line_call_moved(line, a->uri, took);
	mem_deref(a);

	if (old)
		ua_hangup(old_ua, old, 0, NULL);

	line->redialling = true;
	err = ua_connect(ua, NULL, NULL, uri, VIDMODE_ON);
	line->redialling = false;
	if (err)
		warning("aastra: line %u: %s could not be dialled again"
			" (%m)\n", line->cfg.line, uri, err);

	mem_deref(uri);
}


/**
 * The line is in force on another path: dial again what has not rung
 *
 * @param line Line
 */
void aa_callmove_moved(struct aa_line *line)
{
	unsigned n = CALLS_MAX;

	while (line && n--) {
		struct le *le;

		for (le = list_head(&line->calll); le; le = le->next) {
			const struct attempt *a = le->data;

			if (!a->again && a->moves != line->moves &&
			    (!a->call || is_waiting(a)))
				break;
		}

		if (!le)
			return;

		redial(le->data);
	}
}
