/**
 * @file compat.c  All that differs between versions of baresip
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <time.h>
#include <re.h>
#include "aastra_baresip.h"
#include "compat.h"


/* In 4.x the events of a user agent are events of baresip */
#if AASTRA_RE_VERSION >= 40000
typedef enum bevent_ev event_number;
#define event_name bevent_str
#else
typedef enum ua_event event_number;
#define event_name uag_event_str
#endif

enum {
	EVENT_NUMBERS = 64      /* more than any version has */
};


static struct {
	aa_event_h *h;
	enum aa_event map[EVENT_NUMBERS];
	int unnamed;            /* first number without a name, or -1 */
	int mwi;                /* number of MWI_NOTIFY, or -1 */
} compat = {NULL, {AA_EVENT_OTHER}, -1, -1};


static enum aa_event event_decode(const char *name)
{
	if (0 == str_cmp(name, "REGISTERING"))
		return AA_EVENT_REGISTERING;
	if (0 == str_cmp(name, "UNREGISTERING"))
		return AA_EVENT_UNREGISTERING;
	if (0 == str_cmp(name, "SHUTDOWN"))
		return AA_EVENT_SHUTDOWN;
	if (0 == str_cmp(name, "EXIT"))
		return AA_EVENT_EXIT;
	if (0 == str_cmp(name, "CALL_LOCAL_SDP"))
		return AA_EVENT_CALL_OFFER;
	if (0 == str_cmp(name, "CALL_ESTABLISHED"))
		return AA_EVENT_CALL_UP;
	if (0 == str_cmp(name, "CALL_CLOSED"))
		return AA_EVENT_CALL_CLOSED;
	if (0 == strncmp(name, "CALL_", 5))
		return AA_EVENT_CALL;

	return AA_EVENT_OTHER;
}


static void event_handle(event_number ev, struct ua *ua, struct call *call,
			 const char *prm)
{
	const unsigned n = (unsigned)ev;

	if (!compat.h || n >= EVENT_NUMBERS || !compat.map[n])
		return;

	compat.h(compat.map[n], ua, call, prm);
}


#if AASTRA_RE_VERSION >= 40000
static void event_handler(enum bevent_ev ev, struct bevent *event, void *arg)
{
	(void)arg;

	event_handle(ev, bevent_get_ua(event), bevent_get_call(event),
		     bevent_get_text(event));
}
#else
static void event_handler(struct ua *ua, enum ua_event ev, struct call *call,
			  const char *prm, void *arg)
{
	(void)arg;

	event_handle(ev, ua, call, prm);
}
#endif


/**
 * Learn the event numbers of the running baresip and listen to its events
 *
 * @param h Event handler; called from within baresip, so it must only record
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_compat_init(aa_event_h *h)
{
	int i;

	compat.unnamed = -1;
	compat.mwi = -1;

	for (i=0; i<EVENT_NUMBERS; i++) {
		const char *name = event_name((event_number)i);

		if (!str_isset(name) || 0 == str_cmp(name, "?")) {
			compat.map[i] = AA_EVENT_OTHER;
			if (compat.unnamed < 0)
				compat.unnamed = i;
			continue;
		}

		compat.map[i] = event_decode(name);
		if (0 == str_cmp(name, "MWI_NOTIFY"))
			compat.mwi = i;
	}

	compat.h = h;

#if AASTRA_RE_VERSION >= 40000
	return bevent_register(event_handler, NULL);
#else
	return uag_event_register(event_handler, NULL);
#endif
}


/** Stop listening to baresip's events */
void aa_compat_close(void)
{
#if AASTRA_RE_VERSION >= 40000
	bevent_unregister(event_handler);
#else
	uag_event_unregister(event_handler);
#endif
	compat.h = NULL;
}


/**
 * Send an event of the module to all event listeners of baresip
 *
 * baresip 1.1.0 and later have module events.  1.0.0 has none: there the
 * event carries the first number without a name, and says whose it is in
 * its parameter.
 *
 * @param ua    User agent of the line, may be NULL
 * @param event Name of the event
 * @param fmt   Formatted parameters "line=N key=value ..."
 */
void aa_compat_emit(struct ua *ua, const char *event, const char *fmt, ...)
{
	char buf[256];
	va_list ap;

	va_start(ap, fmt);
	(void)re_vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);

#if AASTRA_RE_VERSION >= 20000
	module_event("aastra", event, ua, NULL, "%s", buf);
#else
	if (compat.unnamed < 0)
		return;

	ua_event(ua, (enum ua_event)compat.unnamed, NULL, "aastra,%s,%s",
		 event, buf);
#endif
}


/**
 * Does an account ask for message waiting?  (Where it says nothing, baresip
 * says yes for it: that is not a wish.)
 *
 * @param acc Account
 *
 * @return true if it has mwi=yes
 */
bool aa_compat_mwi_wished(const struct account *acc)
{
	const struct sip_addr *addr = account_laddr(acc);
	struct pl val;

	return addr && !msg_param_decode(&addr->params, "mwi", &val) &&
		0 == pl_strcasecmp(&val, "yes");
}


/**
 * Keep baresip's mwi module from an account
 *
 * @param acc Account
 */
void aa_compat_mwi_off(struct account *acc)
{
#if AASTRA_RE_VERSION >= 30000
	(void)account_set_mwi(acc, false);
#else
	(void)account_set_mwi(acc, "no");
#endif
}


/**
 * Tell baresip of a message-summary, as its own mwi module does
 *
 * @param ua   User agent of the line
 * @param body Body as it came
 */
void aa_compat_mwi(struct ua *ua, const char *body)
{
	if (compat.mwi < 0)
		return;

#if AASTRA_RE_VERSION >= 40000
	(void)bevent_ua_emit((enum bevent_ev)compat.mwi, ua, "%s", body);
#else
	ua_event(ua, (enum ua_event)compat.mwi, NULL, "%s", body);
#endif
}


/**
 * Does this baresip have a current user agent? (only 1.0.0 has; its dial,
 * hangup and hold act on it)
 *
 * @return true if it has
 */
bool aa_compat_has_current(void)
{
#if AASTRA_RE_VERSION >= 20000
	return false;
#else
	return true;
#endif
}


/**
 * Get the current user agent
 *
 * @return User agent, NULL if there is none
 */
struct ua *aa_compat_current(void)
{
#if AASTRA_RE_VERSION >= 20000
	return NULL;
#else
	return uag_current();
#endif
}


/**
 * Set the current user agent
 *
 * @param ua User agent
 */
void aa_compat_current_set(struct ua *ua)
{
#if AASTRA_RE_VERSION >= 20000
	(void)ua;
#else
	uag_current_set(ua);
#endif
}


/**
 * See to it that a user agent that goes is not left as the current one
 *
 * @param ua User agent
 */
void aa_compat_current_leave(const struct ua *ua)
{
	const struct le *le = list_head(uag_list());

	/* while its list is empty, baresip hides which one is current */
	if (le && aa_compat_current() != ua)
		return;

	while (le && le->data == ua)
		le = le->next;

	aa_compat_current_set(list_ledata(le));
}


/**
 * A user agent is not registered any more; listeners hear of that, and of
 * nothing else
 *
 * In 4.x ua_unregister() goes on listening to the answer, and tells all that
 * the user agent has just been registered.
 *
 * @param ua User agent
 */
void aa_compat_ua_unregister(struct ua *ua)
{
#if AASTRA_RE_VERSION >= 40000
	ua_stop_register(ua);
#else
	ua_unregister(ua);
#endif
}


/**
 * A call goes from the list of one user agent to that of another: it has to
 * name the other one as its own
 *
 * From 1.1.0 on, commands for a call go by the user agent that it names, and
 * look it up in the list there.  baresip has no function that changes it, so
 * it is looked for at the head of the call, and is left alone if baresip does
 * not see the change.
 *
 * @param call Call
 * @param from User agent that it names now
 * @param to   User agent that it shall name
 */
void aa_compat_call_take(struct call *call, struct ua *from, struct ua *to)
{
#if AASTRA_RE_VERSION >= 20000
	enum {WORDS = 8};       /* the list element, and some               */
	struct ua **wordv = (struct ua **)(void *)call;
	size_t i;

	if (!call || call_get_ua(call) != from)
		return;

	for (i = 0; i < WORDS; i++) {
		if (wordv[i] != from)
			continue;

		wordv[i] = to;
		if (call_get_ua(call) == to)
			return;
		wordv[i] = from;
	}

	warning("aastra: commands do not reach the call %s any more\n",
		call_id(call));
#else
	(void)call;
	(void)from;
	(void)to;
#endif
}


/**
 * Priority of an account, by which serreg.so takes accounts for itself
 *
 * @param acc Account
 *
 * @return Priority, 0 where this baresip has none
 */
uint32_t aa_compat_account_prio(const struct account *acc)
{
#if AASTRA_RE_VERSION >= 20000
	return account_prio(acc);
#else
	(void)acc;
	return 0;
#endif
}


#if AASTRA_RE_VERSION >= 30000
struct addr_find {
	struct sa sa;           /* that is looked for, or was found         */
	int af;                 /* of new ones                              */
	bool found;
};


static bool is_addr(const char *ifname, const struct sa *sa, void *arg)
{
	struct addr_find *find = arg;
	(void)ifname;

	find->found = sa_cmp(sa, &find->sa, SA_ADDR);

	return find->found;
}


/* Not while the kernel still finds out whether an IPv6 address is unique */
static bool is_usable(const struct sa *addr)
{
	struct udp_sock *us = NULL;
	struct sa sa = *addr;

	sa_set_port(&sa, 0);
	if (udp_listen(&us, &sa, NULL, NULL))
		return false;

	mem_deref(us);

	return true;
}


/* An address of the host that baresip would use, and does not know of? */
static bool is_new(const char *ifname, const struct sa *sa, void *arg)
{
	struct addr_find *found = arg;
	struct addr_find find = {*sa, AF_UNSPEC, false};

	if (sa_af(sa) != found->af ||
	    !net_ifaddr_filter(baresip_network(), ifname, sa) ||
	    net_laddr_apply(baresip_network(), is_addr, &find) ||
	    !is_usable(sa))
		return false;

	found->sa    = *sa;
	found->found = true;

	return true;
}


/* An address that baresip uses, and the host has not any more? */
static bool is_gone(const char *ifname, const struct sa *sa, void *arg)
{
	struct addr_find *found = arg;
	struct addr_find find = {*sa, AF_UNSPEC, false};
	(void)ifname;

	if (net_if_apply(is_addr, &find) || find.found)
		return false;

	found->sa    = *sa;
	found->found = true;

	return true;
}


static bool net_look(struct network *net, int af)
{
	enum {CHANGES_MAX = 64};        /* an interface has a few addresses */
	struct addr_find found;
	unsigned n;

	found.af = af;
	for (n = 0; n < CHANGES_MAX; n++) {

		found.found = false;
		if (net_laddr_apply(net, is_gone, &found) && found.found) {
			(void)net_rm_address(net, &found.sa);
			continue;
		}

		found.found = false;
		if (net_if_apply(is_new, &found) || !found.found ||
		    net_add_address(net, &found.sa))
			break;
	}

	return n > 0;
}
#endif


/**
 * Let baresip look for its own addresses now
 *
 * From 3.0 on it does not by itself: that is left to its module netroam,
 * which a phone may have or not, and which looks a second later at the
 * earliest.  It then finds nothing left to be done.
 *
 * @param af   Family that an address is missed of
 * @param gone An address that was used is none of the host's any more; where
 *             baresip looks by itself, nothing else is a reason
 *
 * @return true if it found another one
 */
bool aa_compat_net_check(int af, bool gone)
{
#if AASTRA_RE_VERSION >= 30000
	(void)gone;

	return net_look(baresip_network(), af);
#else
	(void)af;

	return gone && net_check(baresip_network());
#endif
}


/**
 * The version of baresip that the module was built for
 *
 * @return Version text
 */
const char *aa_compat_baresip_version(void)
{
#ifdef BARESIP_VERSION
	return BARESIP_VERSION;
#elif AASTRA_RE_VERSION >= 20000
	return "1.1.0";
#else
	return "1.0.0";
#endif
}


static uint64_t clock_us(clockid_t id)
{
	struct timespec ts;

	if (clock_gettime(id, &ts))
		return 0;

	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}


/**
 * Time for durations
 *
 * It goes on while the host sleeps: what a registrar or a router remembers
 * runs out there meanwhile.
 *
 * @return Microseconds since an arbitrary point
 */
uint64_t aa_now_us(void)
{
	return clock_us(CLOCK_BOOTTIME);
}


/**
 * Time for durations; not moved by a change of the wall clock
 * (tmr_jiffies() is the wall clock in libre 1.x and 2.0)
 *
 * @return Milliseconds since an arbitrary point
 */
uint64_t aa_now_ms(void)
{
	return aa_now_us() / 1000;
}


/**
 * How the time of day runs ahead of a clock that stands still while the host
 * sleeps: another value says that it has slept, or that the time was set
 *
 * @return Milliseconds, from an arbitrary point on
 */
int64_t aa_clock_ahead_ms(void)
{
	return (int64_t)(clock_us(CLOCK_REALTIME) / 1000) -
		(int64_t)(clock_us(CLOCK_MONOTONIC) / 1000);
}


/**
 * Time for people
 *
 * @return Milliseconds since 1970-01-01 UTC
 */
uint64_t aa_wall_ms(void)
{
	return clock_us(CLOCK_REALTIME) / 1000;
}


#ifndef HAVE_BARESIP_H
/* The beginning of it, the same in 1.0.0 and 1.1.0 */
struct config {
	struct {
		char uuid[64];
		char local[64];
	} sip;
};

struct config *conf_config(void);
#endif


/**
 * Give baresip another value of `sip_listen`, as it was read at start; it
 * counts when the transports are made the next time
 *
 * @param str Address and port, or either; empty: none
 *
 * @return 0 if success, ENOTSUP if baresip's settings are not what they are
 *         taken for
 */
int aa_compat_listen_set(const char *str)
{
	static char own[64];
	static bool known;
	struct config *cfg = conf_config();

	if (!known) {
		(void)conf_get_str(conf_cur(), "sip_listen", own,
				   sizeof(own));
		known = true;
	}

	if (!cfg || 0 != strncmp(cfg->sip.local, own, sizeof(own)))
		return ENOTSUP;

	str_ncpy(cfg->sip.local, str, sizeof(cfg->sip.local));
	str_ncpy(own, str, sizeof(own));

	return 0;
}
