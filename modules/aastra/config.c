/**
 * @file config.c  The Aastra keys: one table, typed settings of a line
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * Every key that the guides know stands in one table, `keyv`.  The checks,
 * the typed settings, the listing and the documentation come from it.
 *
 * What was read is kept as a list of entries, each with its file, its line
 * and its layer.  An index over them, sorted by line, key and layer, answers
 * which entry is in force; nothing is ever overwritten, so that the listing
 * and the findings can say where a value came from and what it replaced.
 *
 *   cfgfile.c -> entry (checked alone) -> index -> look() -> settings
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <arpa/inet.h>
#include <re.h>
#include "policy.h"
#include "config.h"
#include "cfgfile.h"


enum {
	LINE_MAX_NUMBER = 100000,      /* more is a slip of the keyboard     */
	FILE_MAX_SIZE   = 4*1024*1024, /* bytes; a thousand lines are 1 MB   */
	FINDINGS_MAX    = 1000,        /* a foreign file is not listed whole */
	GUESSES_MAX     = 2000,        /* look-ups of the nearest key        */
	GUESS_LEN       = 64,          /* bytes of a name that are compared  */
	TEXT_SIZE       = 128          /* as in struct aa_line_config        */
};

/* the keys that the code asks for by name; the others are only in the table */
enum key_id {
	K_PROXY_IP = 0,
	K_PROXY_PORT,
	K_BACKUP_PROXY_IP,
	K_BACKUP_PROXY_PORT,
	K_REGISTRAR_IP,
	K_REGISTRAR_PORT,
	K_BACKUP_REGISTRAR_IP,
	K_BACKUP_REGISTRAR_PORT,
	K_OUTBOUND_PROXY,
	K_OUTBOUND_PROXY_PORT,
	K_BACKUP_OUTBOUND_PROXY,
	K_BACKUP_OUTBOUND_PROXY_PORT,
	K_REGISTRATION_PERIOD,
	K_CENTRALIZED_CONF,

	K_USER_NAME,
	K_AUTH_NAME,
	K_PASSWORD,
	K_DISPLAY_NAME,
	K_SCREEN_NAME,
	K_SCREEN_NAME_2,
	K_BLA_NUMBER,
	K_MODE,
	K_CALL_WAITING,
	K_VMAIL,

	K_REGISTRATION_RETRY,
	K_REGISTRATION_TIMEOUT_RETRY,
	K_REGISTRATION_RENEWAL,
	K_TRANSACTION_TIMER,
	K_T1_TIMER,
	K_T2_TIMER,
	K_BLACKLIST_DURATION,
	K_SUBSCRIPTION_TIMEOUT_RETRY,
	K_SUBSCRIPTION_FAILED_RETRY,
	K_SESSION_TIMER,

	K_EXPLICIT_MWI,
	K_EXPLICIT_MWI_PERIOD,
	K_MWI_FOR_BLA,
	K_BLF_PERIOD,
	K_BLA_PERIOD,
	K_ACD_PERIOD,
	K_AS_FEATURE_EVENT,
	K_AS_FEATURE_EVENT_PERIOD,

	K_OUTBOUND_SUPPORT,
	K_TRANSPORT,
	K_PERSISTENT_TLS,
	K_PERSISTENT_TLS_KEEPALIVE,
	K_SYMMETRIC_TLS,
	K_SIPS_OVER_TLS,
	K_SYMMETRIC_UDP,
	K_RPORT,
	K_CONTACT_MATCHING,
	K_WHITELIST,
	K_LOCAL_PORT,
	K_LOCAL_TLS_PORT,
	K_TRUSTED_CERTS,
	K_ROOT_CERTS,
	K_LOCAL_CERT,
	K_PRIVATE_KEY,
	K_SEND_MAC,
	K_SEND_LINE,
	K_DNS_QUERY_TYPE,
	K_DIAL_PLAN,
	K_DYNAMIC_SIP,

	K_KEEPALIVE_TIMER,
	K_RECOVERY_BASE,
	K_RECOVERY_MAX,
	K_FAILBACK_DELAY,
	K_FAILBACK_SUCCESSES,
	K_STANDBY,
	K_FAILBACK_POLICY,
	K_CALL_FAILOVER,
	K_LINE_INHERITANCE,
	K_SUBSCRIBE,

	K_CFG_PATH,
	K_CFG_MODEL,
	K_CFG_MAC,
	K_CFG_URL,
	K_HTTP_LISTEN,

	KEY_COUNT
};


#define NETWORK_ADDRESS(text, page) \
	.scope = AA_SCOPE_BOTH, .set = AA_SET_NETWORK, \
	.type = AA_TYPE_ADDRESS, .unit = "", .does = text, .guide = page

#define NETWORK_PORT(text, page) \
	.scope = AA_SCOPE_BOTH, .set = AA_SET_NETWORK, \
	.type = AA_TYPE_PORT, .unit = "", .max = 65535, \
	.does = text, .guide = page

#define AUTH_TEXT(kind) \
	.scope = AA_SCOPE_BOTH, .set = AA_SET_AUTH, .type = kind, .unit = ""

#define NUMBER(where, u, lo, hi, standard) \
	.scope = where, .type = AA_TYPE_NUMBER, .unit = u, .min = lo, \
	.max = hi, .def = standard

#define BOOL(where, standard) \
	.scope = where, .type = AA_TYPE_BOOL, .unit = "", .max = 1, \
	.def = standard

#define CHOICE(where, list, standard) \
	.scope = where, .type = AA_TYPE_CHOICE, .unit = "", .values = list, \
	.deftext = standard

#define TEXT(where, kind) .scope = where, .type = kind, .unit = ""

#define IGNORED(why) .state = AA_KEY_IGNORED, .reason = why

#define INT31 2147483647

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))


static const struct aa_key keyv[KEY_COUNT] = {

	/* Servers, the Network set */

	[K_PROXY_IP] = {
		.name = "sip proxy ip",
		NETWORK_ADDRESS("The proxy: the domain of the line's AOR, and "
				"where requests go without outbound proxy.",
				"4-57, A-66"),
		.deftext = "the account's domain",
	},
	[K_PROXY_PORT] = {
		.name = "sip proxy port",
		NETWORK_PORT("Its port; 0: SRV for a name, 5060 for an "
			     "address (TLS: 5061).", "4-61, A-66"),
	},
	[K_BACKUP_PROXY_IP] = {
		.name = "sip backup proxy ip",
		NETWORK_ADDRESS("The backup proxy: the domain of the line's "
				"backup AOR.", "4-57, 4-59"),
	},
	[K_BACKUP_PROXY_PORT] = {
		.name = "sip backup proxy port",
		NETWORK_PORT("Its port, as `sip proxy port`.", "4-57, 4-61"),
	},
	[K_REGISTRAR_IP] = {
		.name = "sip registrar ip",
		NETWORK_ADDRESS("The registrar; 0.0.0.0 for a line: the line "
				"does not register.", "A-67"),
		.deftext = "the account's domain",
	},
	[K_REGISTRAR_PORT] = {
		.name = "sip registrar port",
		NETWORK_PORT("Its port, as `sip proxy port`.", "A-67"),
	},
	[K_BACKUP_REGISTRAR_IP] = {
		.name = "sip backup registrar ip",
		NETWORK_ADDRESS("The registrar to use while the primary one "
				"is unavailable.", "A-67, A-76"),
	},
	[K_BACKUP_REGISTRAR_PORT] = {
		.name = "sip backup registrar port",
		NETWORK_PORT("Its port, as `sip proxy port`.", "A-67, A-76"),
	},
	[K_OUTBOUND_PROXY] = {
		.name = "sip outbound proxy",
		NETWORK_ADDRESS("The outbound proxy: every request of the "
				"line goes there first.", "4-57, A-68"),
		.deftext = "the account's outbound",
	},
	[K_OUTBOUND_PROXY_PORT] = {
		.name = "sip outbound proxy port",
		NETWORK_PORT("Its port, as `sip proxy port`.", "4-57, A-68"),
	},
	[K_BACKUP_OUTBOUND_PROXY] = {
		.name = "sip backup outbound proxy",
		NETWORK_ADDRESS("The outbound proxy to use while the primary "
				"one is unavailable.", "4-59, A-68, A-77"),
	},
	[K_BACKUP_OUTBOUND_PROXY_PORT] = {
		.name = "sip backup outbound proxy port",
		NETWORK_PORT("Its port, as `sip proxy port`.", "A-68, A-77"),
	},
	[K_REGISTRATION_PERIOD] = {
		.name = "sip registration period",
		NUMBER(AA_SCOPE_BOTH, "s", 0, INT31, 0),
		.set = AA_SET_NETWORK,
		.deftext = "the account's regint, else 3600",
		.does = "The expiry to ask the registrar for.",
		.guide = "A-67, A-76",
	},
	[K_CENTRALIZED_CONF] = {
		.name = "sip centralized conf",
		TEXT(AA_SCOPE_BOTH, AA_TYPE_TEXT),
		.set = AA_SET_NETWORK,
		.does = "The URI of the conference server.",
		.guide = "4-57",
		IGNORED("baresip has no conference by a server"),
	},

	/* Identity, the Authentication set */

	[K_USER_NAME] = {
		.name = "sip user name",
		AUTH_TEXT(AA_TYPE_USER),
		.deftext = "the account's user",
		.does = "The user part of the AOR; makes the line, without "
			"an entry in accounts.",
		.guide = "3-36",
	},
	[K_AUTH_NAME] = {
		.name = "sip auth name",
		AUTH_TEXT(AA_TYPE_TEXT),
		.deftext = "the user name",
		.does = "The user name for digest authentication.",
		.guide = "3-36",
	},
	[K_PASSWORD] = {
		.name = "sip password",
		AUTH_TEXT(AA_TYPE_TEXT),
		.deftext = "the account's password",
		.secret = true,
		.does = "The password for digest authentication.",
		.guide = "A-75",
	},
	[K_DISPLAY_NAME] = {
		.name = "sip display name",
		AUTH_TEXT(AA_TYPE_TEXT),
		.does = "The name that others see.",
		.guide = "3-36",
	},
	[K_SCREEN_NAME] = {
		.name = "sip screen name",
		AUTH_TEXT(AA_TYPE_TEXT),
		.does = "The name of the line in status and listings.",
		.guide = "3-36",
	},
	[K_SCREEN_NAME_2] = {
		.name = "sip screen name 2",
		AUTH_TEXT(AA_TYPE_TEXT),
		.does = "The second text on the phone's screen.",
		.guide = "3-36",
		IGNORED("there is no second line of text to show it on"),
	},
	[K_BLA_NUMBER] = {
		.name = "sip bla number",
		AUTH_TEXT(AA_TYPE_TEXT),
		.does = "The number of a bridged line.",
		.guide = "A-75",
		IGNORED("baresip has no bridged line appearance"),
	},
	[K_MODE] = {
		.name = "sip mode",
		CHOICE(AA_SCOPE_BOTH, "0, 1, 2, 3", "0"),
		.set = AA_SET_AUTH,
		.does = "0 an ordinary line, 1 BroadSoft SCA, 2 reserved, "
			"3 BLA.",
		.guide = "A-75",
		IGNORED("baresip has no shared lines: each is an ordinary "
			"one"),
	},
	[K_CALL_WAITING] = {
		.name = "sip call waiting",
		BOOL(AA_SCOPE_LINE, 1),
		.set = AA_SET_AUTH,
		.does = "A second call may come in while one is up.",
		.guide = "4-57",
		IGNORED("baresip's `call_max_calls` says how many calls "
			"there may be"),
	},
	[K_VMAIL] = {
		.name = "sip vmail",
		AUTH_TEXT(AA_TYPE_TEXT),
		.does = "The number of the voice mail.",
		.guide = "4-57",
		IGNORED("baresip has no key that dials it"),
	},

	/* Timers */

	[K_REGISTRATION_RETRY] = {
		.name = "sip registration retry timer",
		NUMBER(AA_SCOPE_BOTH, "s", 30, 1800, 1800),
		.line_beyond = true,
		.does = "Wait before the next try when a REGISTER was "
			"rejected.",
		.guide = "A-84",
	},
	[K_REGISTRATION_TIMEOUT_RETRY] = {
		.name = "sip registration timeout retry timer",
		NUMBER(AA_SCOPE_BOTH, "s", 30, INT31, 120),
		.line_beyond = true,
		.does = "Wait before the next try when a REGISTER timed out.",
		.guide = "A-84",
	},
	[K_REGISTRATION_RENEWAL] = {
		.name = "sip registration renewal timer",
		NUMBER(AA_SCOPE_BOTH, "s", 0, INT31, 15),
		.line_beyond = true,
		.does = "Renew that long before the expiry, but not before "
			"half of it.",
		.guide = "A-85",
	},
	[K_TRANSACTION_TIMER] = {
		.name = "sip transaction timer",
		NUMBER(AA_SCOPE_BOTH, "ms", 500, 64000, 4000),
		.line_beyond = true,
		.does = "How long a server has to answer; the phones take "
			"4000-64000.",
		.guide = "A-83",
	},
	[K_T1_TIMER] = {
		.name = "sip T1 timer",
		NUMBER(AA_SCOPE_GLOBAL, "ms", 0, INT31, 500),
		.does = "Estimate of the round-trip time (RFC 3261).",
		.guide = "A-83",
		IGNORED("500 ms is compiled into libre; "
			"`sip transaction timer` ends a request sooner"),
	},
	[K_T2_TIMER] = {
		.name = "sip T2 timer",
		NUMBER(AA_SCOPE_GLOBAL, "ms", 0, INT31, 0),
		.does = "Longest interval between retransmissions "
			"(RFC 3261).",
		.guide = "A-83",
		IGNORED("4 s is compiled into libre; "
			"`sip transaction timer` ends a request sooner"),
	},
	[K_BLACKLIST_DURATION] = {
		.name = "sip blacklist duration",
		NUMBER(AA_SCOPE_GLOBAL, "s", 0, 9999999, 300),
		.does = "How long a server that did not answer is avoided.",
		.guide = "6-13, A-240",
		IGNORED("`sip recovery base timer` and `sip recovery max "
			"timer` say when a failed server is tried again"),
	},
	[K_SUBSCRIPTION_TIMEOUT_RETRY] = {
		.name = "sip subscription timeout retry timer",
		NUMBER(AA_SCOPE_GLOBAL, "s", 1, 3600, 0),
		.zero = true,
		.does = "Wait before the next SUBSCRIBE after 408 or 503; "
			"0: as the module does it.",
		.guide = "A-85",
	},
	[K_SUBSCRIPTION_FAILED_RETRY] = {
		.name = "sip subscription failed retry timer",
		NUMBER(AA_SCOPE_GLOBAL, "s", 1, 3600, 0),
		.zero = true,
		.does = "Wait before the next SUBSCRIBE after any other "
			"error; 0: as the module does it.",
		.guide = "A-85",
	},
	[K_SESSION_TIMER] = {
		.name = "sip session timer",
		NUMBER(AA_SCOPE_GLOBAL, "s", 90, INT31, 0),
		.zero = true,
		.does = "Interval of re-INVITEs in a call (RFC 4028).",
		.guide = "A-83",
		IGNORED("baresip has no session timers"),
	},

	/* Subscriptions */

	[K_EXPLICIT_MWI] = {
		.name = "sip explicit mwi subscription",
		BOOL(AA_SCOPE_BOTH, 0),
		.line_beyond = true,
		.does = "Subscribe to message waiting.",
		.guide = "Appendix A",
	},
	[K_EXPLICIT_MWI_PERIOD] = {
		.name = "sip explicit mwi subscription period",
		NUMBER(AA_SCOPE_BOTH, "s", 30, INT31, 3600),
		.line_beyond = true,
		.does = "The expiry to ask for.",
		.guide = "Appendix A",
	},
	[K_MWI_FOR_BLA] = {
		.name = "sip mwi for bla account",
		BOOL(AA_SCOPE_BOTH, 0),
		.does = "Message waiting for bridged lines too.",
		.guide = "A-77",
		IGNORED("baresip has no bridged line appearance"),
	},
	[K_BLF_PERIOD] = {
		.name = "sip blf subscription period",
		NUMBER(AA_SCOPE_BOTH, "s", 120, INT31, 3600),
		.line_beyond = true,
		.does = "The expiry to ask for when busy lamps are "
			"subscribed.",
		.guide = "4-73",
	},
	[K_BLA_PERIOD] = {
		.name = "sip bla subscription period",
		NUMBER(AA_SCOPE_GLOBAL, "s", 0, 3700, 300),
		.does = "The expiry to ask for on bridged lines.",
		.guide = "5-172",
		IGNORED("baresip has no bridged line appearance"),
	},
	[K_ACD_PERIOD] = {
		.name = "sip acd subscription period",
		NUMBER(AA_SCOPE_GLOBAL, "s", 0, INT31, 3600),
		.does = "The expiry to ask for of call distribution.",
		.guide = "4-73",
		IGNORED("baresip has no call distribution agent"),
	},
	[K_AS_FEATURE_EVENT] = {
		.name = "sip as-feature-event subscription",
		BOOL(AA_SCOPE_BOTH, 0),
		.does = "Subscribe to the server's feature states.",
		.guide = "Appendix A",
		IGNORED("`sip lineN subscribe: as-feature-event URI` "
			"does this"),
	},
	[K_AS_FEATURE_EVENT_PERIOD] = {
		.name = "sip as-feature-event subscription period",
		NUMBER(AA_SCOPE_GLOBAL, "s", 0, INT31, 3600),
		.does = "The expiry to ask for of feature states.",
		.guide = "6-13",
		IGNORED("`sip blf subscription period` is asked for"),
	},

	/* Transport */

	[K_OUTBOUND_SUPPORT] = {
		.name = "sip outbound support",
		BOOL(AA_SCOPE_BOTH, 0),
		.line_beyond = true,
		.deftext = "1 with a backup from baresip's own files, else 0",
		.does = "Flows are kept open and checked all the time "
			"(RFC 5626).",
		.guide = "4-59, A-60",
	},
	[K_TRANSPORT] = {
		.name = "sip transport protocol",
		CHOICE(AA_SCOPE_BOTH, "0, 1, 2, 4",
		       "the account's transport, else 1"),
		.line_beyond = true,
		.does = "0 UDP and TCP, 1 UDP, 2 TCP, 4 TLS.",
		.guide = "A-84",
	},
	[K_PERSISTENT_TLS] = {
		.name = "sips persistent tls",
		BOOL(AA_SCOPE_GLOBAL, 0),
		.does = "One TLS connection for everything.",
		.guide = "6-17",
		IGNORED("the module keeps one connection to each server, "
			"whatever the transport"),
	},
	[K_PERSISTENT_TLS_KEEPALIVE] = {
		.name = "sip persistent tls keep alive",
		NUMBER(AA_SCOPE_GLOBAL, "s", 0, INT31, 0),
		.does = "Interval of keep-alives on that connection.",
		.guide = "6-17",
		IGNORED("`sip outbound keepalive timer` is the interval of "
			"every transport"),
	},
	[K_SYMMETRIC_TLS] = {
		.name = "sips symmetric tls signaling",
		BOOL(AA_SCOPE_GLOBAL, 1),
		.does = "TLS connections come from the local TLS port.",
		.guide = "",
		IGNORED("libre takes a free port for each connection"),
	},
	[K_SIPS_OVER_TLS] = {
		.name = "sip send sips over tls",
		BOOL(AA_SCOPE_GLOBAL, 1),
		.does = "`sips:` in place of `sip:` where TLS is used.",
		.guide = "",
		IGNORED("baresip writes `sip:` with `;transport=tls`"),
	},
	[K_SYMMETRIC_UDP] = {
		.name = "sip symmetric udp signaling",
		BOOL(AA_SCOPE_GLOBAL, 1),
		.does = "UDP is sent from the port that is listened on.",
		.guide = "Appendix A (R2.4)",
		IGNORED("libre always sends from the port that it listens "
			"on"),
	},
	[K_RPORT] = {
		.name = "sip rport",
		BOOL(AA_SCOPE_GLOBAL, 0),
		.does = "Ask for answers to the port that was sent from "
			"(RFC 3581).",
		.guide = "4-61 (R3.2.2)",
		IGNORED("libre always asks for it"),
	},
	[K_CONTACT_MATCHING] = {
		.name = "sip contact matching",
		CHOICE(AA_SCOPE_GLOBAL, "0, 1, 2, 3", "2"),
		.does = "How the own Contact is found in an answer.",
		.guide = "4-61, A-60",
		IGNORED("the own Contact is found by its user part"),
	},
	[K_WHITELIST] = {
		.name = "sip whitelist",
		BOOL(AA_SCOPE_GLOBAL, 0),
		.does = "Calls are taken from the line's servers only.",
		.guide = "A-240",
		IGNORED("calls are taken from everywhere"),
	},
	[K_LOCAL_PORT] = {
		.name = "sip local port",
		TEXT(AA_SCOPE_GLOBAL, AA_TYPE_PORT),
		.max = 65535, .def = 5060,
		.does = "The port for UDP and TCP.",
		.guide = "Appendix A",
		IGNORED("`sip_listen` in baresip's config sets it"),
	},
	[K_LOCAL_TLS_PORT] = {
		.name = "sip local tls port",
		TEXT(AA_SCOPE_GLOBAL, AA_TYPE_PORT),
		.max = 65535, .def = 5061,
		.does = "The port for TLS.",
		.guide = "Appendix A",
		IGNORED("`sip_listen` in baresip's config sets it: its port "
			"and 1"),
	},
	[K_TRUSTED_CERTS] = {
		.name = "sips trusted certificates",
		TEXT(AA_SCOPE_GLOBAL, AA_TYPE_TEXT),
		.does = "The file with the authorities for TLS.",
		.guide = "6-17",
		IGNORED("`sip_cafile` in baresip's config names it"),
	},
	[K_ROOT_CERTS] = {
		.name = "sips root and intermediate certificates",
		TEXT(AA_SCOPE_GLOBAL, AA_TYPE_TEXT),
		.does = "The certificates above the phone's own.",
		.guide = "6-17",
		IGNORED("`sip_certificate` in baresip's config holds them"),
	},
	[K_LOCAL_CERT] = {
		.name = "sips local certificate",
		TEXT(AA_SCOPE_GLOBAL, AA_TYPE_TEXT),
		.does = "The phone's own certificate.",
		.guide = "6-17",
		IGNORED("`sip_certificate` in baresip's config names it"),
	},
	[K_PRIVATE_KEY] = {
		.name = "sips private key",
		TEXT(AA_SCOPE_GLOBAL, AA_TYPE_TEXT),
		.does = "The file with the key of that certificate.",
		.guide = "6-17",
		IGNORED("`sip_certificate` in baresip's config holds it"),
	},
	[K_SEND_MAC] = {
		.name = "sip send mac",
		BOOL(AA_SCOPE_GLOBAL, 0),
		.does = "REGISTER carries the phone's MAC in a header.",
		.guide = "Appendix A",
		IGNORED("REGISTER carries `+sip.instance`"),
	},
	[K_SEND_LINE] = {
		.name = "sip send line",
		BOOL(AA_SCOPE_GLOBAL, 0),
		.does = "REGISTER carries the line's number in a header.",
		.guide = "Appendix A",
		IGNORED("REGISTER carries `reg-id`"),
	},
	[K_DNS_QUERY_TYPE] = {
		.name = "sip dns query type",
		CHOICE(AA_SCOPE_GLOBAL, "0, 1, 2", "1"),
		.does = "0 A, 1 SRV then A, 2 NAPTR, SRV, A.",
		.guide = "6-29",
		IGNORED("libre asks as RFC 3263 says; a port that is not 0 "
			"makes it ask for A alone"),
	},
	[K_DIAL_PLAN] = {
		.name = "sip dial plan",
		TEXT(AA_SCOPE_GLOBAL, AA_TYPE_TEXT),
		.does = "Which digits make a number.",
		.guide = "Appendix A",
		IGNORED("baresip dials what was typed"),
	},
	[K_DYNAMIC_SIP] = {
		.name = "dynamic sip",
		BOOL(AA_SCOPE_GLOBAL, 0),
		.does = "Changes are taken without a restart.",
		.guide = "",
		IGNORED("`aastra_reload` does this"),
	},

	/* Beyond the guides */

	[K_KEEPALIVE_TIMER] = {
		.name = "sip outbound keepalive timer",
		NUMBER(AA_SCOPE_BOTH, "s", 1, 840, 25),
		.beyond = true,
		.does = "How often a flow is checked; a server's Flow-Timer "
			"lowers it.",
		.guide = "4-59",
	},
	[K_RECOVERY_BASE] = {
		.name = "sip recovery base timer",
		NUMBER(AA_SCOPE_BOTH, "s", 1, 1800, 30),
		.beyond = true,
		.does = "First wait before a failed server is tried again.",
		.guide = "",
	},
	[K_RECOVERY_MAX] = {
		.name = "sip recovery max timer",
		NUMBER(AA_SCOPE_BOTH, "s", 1, 86400, 1800),
		.beyond = true,
		.does = "Longest such wait (RFC 5626 4.5: doubled per "
			"failure, 50-100 % of it by chance).",
		.guide = "",
	},
	[K_FAILBACK_DELAY] = {
		.name = "sip failback delay",
		NUMBER(AA_SCOPE_BOTH, "s", 0, 86400, 0),
		.beyond = true,
		.does = "How long a primary must stay good before a line "
			"goes back.",
		.guide = "",
	},
	[K_FAILBACK_SUCCESSES] = {
		.name = "sip failback successes",
		NUMBER(AA_SCOPE_BOTH, "", 1, 10, 1),
		.beyond = true,
		.does = "Good probes in a row before a line goes back.",
		.guide = "",
	},
	[K_STANDBY] = {
		.name = "sip outbound standby",
		CHOICE(AA_SCOPE_BOTH, "0, 1, 2", "0"),
		.beyond = true,
		.does = "0 the backup is touched only when needed, 1 its "
			"connection is kept ready, 2 it is registered all "
			"along.",
		.guide = "",
	},
	[K_FAILBACK_POLICY] = {
		.name = "sip failback policy",
		CHOICE(AA_SCOPE_BOTH, "auto, idle, manual", "idle"),
		.beyond = true,
		.does = "When a line goes back: auto at once, idle never "
			"while it has a call, manual by command.",
		.guide = "",
	},
	[K_CALL_FAILOVER] = {
		.name = "sip call failover",
		BOOL(AA_SCOPE_BOTH, 1),
		.beyond = true,
		.does = "An outgoing call that meets a dead server is "
			"dialled again through the live one.",
		.guide = "",
	},
	[K_LINE_INHERITANCE] = {
		.name = "sip line inheritance",
		CHOICE(AA_SCOPE_BOTH, "set, key", "set"),
		.beyond = true,
		.does = "set: one value of a set for a line hides all "
			"global values of that set; key: each key falls "
			"back alone.",
		.guide = "4-57",
	},
	[K_SUBSCRIBE] = {
		.name = "sip subscribe",
		TEXT(AA_SCOPE_LINE, AA_TYPE_SUBSCRIBE),
		.beyond = true,
		.does = "Event packages to keep subscribed, `dialog 200, "
			"presence 201`.",
		.guide = "",
	},

	/* Of the module, in baresip's config */

	[K_CFG_PATH] = {
		.name = "aastra_cfg_path",
		TEXT(AA_SCOPE_GLOBAL, AA_TYPE_PATH),
		.beyond = true, .baresip_only = true,
		.does = "The folder of aastra.cfg, <model>.cfg and "
			"<MAC>.cfg; relative to that of baresip's config.",
		.guide = "",
	},
	[K_CFG_MODEL] = {
		.name = "aastra_cfg_model",
		TEXT(AA_SCOPE_GLOBAL, AA_TYPE_FILENAME),
		.beyond = true, .baresip_only = true,
		.does = "The <model> of <model>.cfg.",
		.guide = "",
	},
	[K_CFG_MAC] = {
		.name = "aastra_cfg_mac",
		TEXT(AA_SCOPE_GLOBAL, AA_TYPE_MAC),
		.deftext = "that of the interface in use",
		.beyond = true, .baresip_only = true,
		.does = "The <MAC> of <MAC>.cfg, 12 hex digits.",
		.guide = "",
	},
	[K_CFG_URL] = {
		.name = "aastra_cfg_url",
		TEXT(AA_SCOPE_GLOBAL, AA_TYPE_URL),
		.beyond = true, .baresip_only = true,
		.does = "The same files by HTTP or HTTPS.",
		.guide = "",
	},
	[K_HTTP_LISTEN] = {
		.name = "aastra_http_listen",
		TEXT(AA_SCOPE_GLOBAL, AA_TYPE_LISTEN),
		.deftext = "off",
		.beyond = true, .baresip_only = true,
		.does = "Where the status page and the metrics are served.",
		.guide = "",
	},
};


/* the address keys by role and rank, each with its port behind it */
static const enum key_id server_key[AA_ROLE_COUNT][AA_RANK_COUNT] = {
	[AA_ROLE_OUTBOUND]  = {
		[AA_RANK_PRIMARY] = K_OUTBOUND_PROXY,
		[AA_RANK_BACKUP]  = K_BACKUP_OUTBOUND_PROXY,
	},
	[AA_ROLE_PROXY]     = {
		[AA_RANK_PRIMARY] = K_PROXY_IP,
		[AA_RANK_BACKUP]  = K_BACKUP_PROXY_IP,
	},
	[AA_ROLE_REGISTRAR] = {
		[AA_RANK_PRIMARY] = K_REGISTRAR_IP,
		[AA_RANK_BACKUP]  = K_BACKUP_REGISTRAR_IP,
	},
};

static const char *set_name[AA_SET_COUNT] = {
	[AA_SET_AUTH]    = "Authentication",
	[AA_SET_NETWORK] = "Network",
};

/* names that people write although no guide has them */
static const struct {
	const char *wrong;
	enum key_id right;
} slipv[] = {
	{"sip sip server",            K_PROXY_IP},
	{"sip server",                K_PROXY_IP},
	{"sip host",                  K_PROXY_IP},
	{"sip domain",                K_PROXY_IP},
	{"sip secret",                K_PASSWORD},
	{"sip keepalive timer",       K_KEEPALIVE_TIMER},
	{"sip keep alive timer",      K_KEEPALIVE_TIMER},
	{"sip nat keepalive timer",   K_KEEPALIVE_TIMER},
	{"sip register period",       K_REGISTRATION_PERIOD},
	{"sip registration interval", K_REGISTRATION_PERIOD},
};

/* baresip's own keys that look like ours; some only in later versions */
static const char *baresip_keyv[] = {
	"sip_autoanswer", "sip_autoanswer_beep", "sip_autoanswer_method",
	"sip_autoredirect", "sip_cafile", "sip_capath", "sip_certificate",
	"sip_cuser_random", "sip_listen", "sip_nat", "sip_nat_outbound",
	"sip_tls_resumption", "sip_tos", "sip_trans_def", "sip_transports",
	"sip_verify_client", "sip_verify_server",
};


/* the phones' `sip` keys that are about sound, digits and the like; each
   stands for all that begin so */
static const char *phone_keyv[] = {
	"sip accept out of order requests", "sip aastra id",
	"sip allow auto answer", "sip customized codec", "sip dial plan t",
	"sip digit timeout", "sip diversion display", "sip dtmf method",
	"sip enforce require uri", "sip forward callid",
	"sip ignore status code", "sip intercom", "sip nat ",
	"sip nortel nat", "sip out-of-band dtmf", "sip pai",
	"sip refer-to with replaces", "sip rtp port",
	"sip silence suppression", "sip srtp mode", "sip update callerid",
	"sip use basic codecs", "sip xml notify event",
};


/** What became of an entry's value */
enum value_state {
	VALUE_EMPTY,            /* nothing written, or port 0               */
	VALUE_NONE,             /* 0.0.0.0: there shall be none             */
	VALUE_OK,
	VALUE_BAD               /* as if the entry was not there            */
};

/** A file that was read */
struct source {
	struct le le;
	char *name;
	enum aa_config_layer layer;
	uint32_t keys;          /* entries that are keys of ours            */
	uint32_t others;        /* settings of the phone beside SIP         */
	uint32_t other_line;    /* line of the first such                   */
	char *other_name;
	bool nul;               /* NUL bytes were reported                  */
};

/** One value as it was written */
struct entry {
	struct le le;
	const struct source *src;
	uint32_t lineno;
	uint32_t line;          /* 0: global                                */
	enum key_id key;
	uint32_t seq;           /* order of reading                         */
	uint8_t rank;           /* layer, and spelling in baresip's config  */
	bool locked;
	bool overwrite;
	bool underscore;
	enum value_state state;
	uint32_t num;           /* of a number, bool, port                  */
	char *why;              /* what is wrong, for the finding           */
	char *val;              /* effective value                          */
};

/** One finding */
struct finding {
	struct le le;
	enum aa_config_level level;
	uint32_t line;          /* of the phone; 0: all of them             */
	char *text;
};

/** All that was read */
struct aa_config {
	struct list sourcel;    /* struct source                            */
	struct list entryl;     /* struct entry                             */
	struct list findingl;   /* struct finding                           */
	struct entry **indexv;  /* by line, key, rank, order                */
	size_t indexc;
	uint32_t seq;
	uint32_t guesses;
	int status;             /* why a file could not be read             */
	bool full;              /* FINDINGS_MAX reached                     */
	aa_config_msg_h *msgh;
	void *arg;
};

/** What a line sees of the configuration */
struct view {
	const struct aa_config *cfg;
	uint32_t line;
	bool hidden[AA_SET_COUNT];  /* globals of that set do not count     */
};

/** Arguments of the entry handler */
struct reading {
	struct aa_config *cfg;
	struct source *src;
};


static void config_destructor(void *data)
{
	struct aa_config *cfg = data;

	mem_deref(cfg->indexv);
	list_flush(&cfg->entryl);
	list_flush(&cfg->findingl);
	list_flush(&cfg->sourcel);
}


static void source_destructor(void *data)
{
	struct source *src = data;

	list_unlink(&src->le);
	mem_deref(src->name);
	mem_deref(src->other_name);
}


static void entry_destructor(void *data)
{
	struct entry *e = data;

	list_unlink(&e->le);
	mem_deref(e->why);
	mem_deref(e->val);
}


static void finding_destructor(void *data)
{
	struct finding *f = data;

	list_unlink(&f->le);
	mem_deref(f->text);
}


/* ---- Text ------------------------------------------------------------- */


/**
 * Length of the printable character at str, 0 if there is none: a control
 * character, C1 ones included, or a byte that is not UTF-8
 */
static size_t printable(const char *str)
{
	const uint8_t *u = (const uint8_t *)str;
	size_t n, i;

	if (u[0] < 0x80)
		return (u[0] < 0x20 || u[0] == 0x7f) ? 0 : 1;

	if (u[0] < 0xc2 || u[0] > 0xf4 || (u[0] == 0xc2 && u[1] < 0xa0))
		return 0;

	n = u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;

	for (i=1; i<n; i++) {
		if ((u[i] & 0xc0) != 0x80)
			return 0;
	}

	return n;
}


/** Print what a file says: nothing that could forge or break a log line */
static int print_safe(struct re_printf *pf, const char *str)
{
	enum { MAX = 80 };
	size_t n = 0;
	int err = 0;

	while (str[n] && n < MAX && !err) {
		const size_t l = printable(&str[n]);

		if (l && str[n] != '\'')
			err = pf->vph(&str[n], l, pf->arg);
		else
			err = pf->vph("?", 1, pf->arg);

		n += l ? l : 1;
	}

	if (str[n] && !err)
		err = pf->vph("...", 3, pf->arg);

	return err;
}


/** The name of a key as it stands in a file */
struct name {
	const struct aa_key *key;
	uint32_t line;
	bool underscore;
};


static int print_name(struct re_printf *pf, const struct name *name)
{
	char buf[AA_CFG_NAME_SIZE];
	size_t i;

	if (name->line && !strncmp(name->key->name, "sip ", 4))
		(void)re_snprintf(buf, sizeof(buf), "sip line%u %s",
				  name->line, &name->key->name[4]);
	else
		str_ncpy(buf, name->key->name, sizeof(buf));

	for (i=0; name->underscore && buf[i]; i++) {
		if (buf[i] == ' ')
			buf[i] = '_';
	}

	return re_hprintf(pf, "%s", buf);
}


/** The name that a key has for a line, in the guides' spelling */
static struct name line_name(enum key_id id, uint32_t line)
{
	const struct name name = {&keyv[id], line, false};

	return name;
}


static int print_entry_name(struct re_printf *pf, const struct entry *e)
{
	const struct name name = {&keyv[e->key], e->line, e->underscore};

	return print_name(pf, &name);
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


static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}


/* ---- Findings --------------------------------------------------------- */


/** Keep a finding and report it, unless the very same was reported before */
static void add_finding(struct aa_config *cfg, enum aa_config_level level,
			uint32_t line, const char *fmt, ...)
{
	struct finding *f;
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
		const struct finding *o = le->data;

		if (!strcmp(o->text, f->text)) {
			mem_deref(f);
			return;
		}
	}

	list_append(&cfg->findingl, &f->le, f);

	if (cfg->msgh)
		cfg->msgh(level, f->text, cfg->arg);
}


#define FINDING(cfg, level, e, fmt, ...) \
	add_finding(cfg, level, (e)->line, "%s:%u: key '%H': " fmt, \
		    (e)->src->name, (e)->lineno, print_entry_name, e, \
		    __VA_ARGS__)


/* ---- Names ------------------------------------------------------------ */


static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}


/** For guesses: no case, and all separators are blanks */
static char fold(char c)
{
	if (c == '_' || c == '-')
		return ' ';

	return (c >= 'A' && c <= 'Z') ? (char)(c + 32) : c;
}


/**
 * Compare the name of a key with one that was read, in lower case
 *
 * In baresip's spelling all separators are one: what was read has blanks
 * where the key has `_` (aastra_cfg_path) or `-` (as-feature-event).
 */
static bool same_name(const char *key, const char *name)
{
	for (; *key && *name; key++, name++) {

		if (*name == ' ' ? fold(*key) != ' ' :
		    (*name != *key && *name != fold(*key)))
			return false;
	}

	return !*key && !*name;
}


static const struct aa_key *find_key(const char *name)
{
	size_t i;

	for (i=0; i<KEY_COUNT; i++) {
		if (same_name(keyv[i].name, name))
			return &keyv[i];
	}

	/* `sip line1 inheritance`: "line" need not be said twice */
	if (same_name(name, "sip inheritance"))
		return &keyv[K_LINE_INHERITANCE];

	return NULL;
}


static enum key_id key_id(const struct aa_key *key)
{
	return (enum key_id)(key - keyv);
}


/**
 * Split `sip line12 proxy ip` into the line and `sip proxy ip`
 *
 * @param base  Global name, of AA_CFG_NAME_SIZE bytes
 * @param linep Line number, UINT32_MAX if it is too large for a number
 * @param name  Name as it was read
 *
 * @return true if the name is that of a line
 */
static bool split_line(char *base, uint32_t *linep, const char *name)
{
	const char *p = name;
	uint64_t line = 0;

	if (strncmp(p, "sip line", 8) || !is_digit(p[8]))
		return false;

	for (p += 8; is_digit(*p); p++) {
		if (line < UINT32_MAX)
			line = line * 10 + (uint64_t)(*p - '0');
	}

	if (*p != ' ')
		return false;

	*linep = line < UINT32_MAX ? (uint32_t)line : UINT32_MAX;
	(void)re_snprintf(base, AA_CFG_NAME_SIZE, "sip%s", p);

	return true;
}


static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}


/** Edit distance of two names (Levenshtein), on their first bytes */
static size_t distance(const char *a, const char *b)
{
	const size_t la = min_size(strlen(a), GUESS_LEN);
	const size_t lb = min_size(strlen(b), GUESS_LEN);
	size_t row[GUESS_LEN + 1], i, j;

	for (j=0; j<=lb; j++)
		row[j] = j;

	for (i=1; i<=la; i++) {
		size_t diag = row[0];

		row[0] = i;

		for (j=1; j<=lb; j++) {
			const bool same = fold(a[i - 1]) == fold(b[j - 1]);
			const size_t sub = diag + (same ? 0 : 1);

			diag = row[j];
			row[j] = min_size(sub, 1 + min_size(row[j],
							    row[j - 1]));
		}
	}

	return row[lb];
}


/**
 * The same for slips: `sip line 1 proxy ip`, `sip line1proxy ip`,
 * `sip linex proxy ip`, `sip lin1 proxy ip`, `sip_line1_proxy_ip`
 */
static bool split_line_loosely(char *base, uint32_t *linep, const char *name)
{
	char text[AA_CFG_NAME_SIZE], joined[2 * AA_CFG_NAME_SIZE], word[16];
	const char *digits, *rest;
	size_t letters, i;

	for (i=0; name[i] && i < sizeof(text) - 1; i++)
		text[i] = fold(name[i]);
	text[i] = '\0';

	if (strncmp(text, "sip ", 4))
		return false;

	letters = strcspn(&text[4], " 0123456789");
	if (!letters || letters >= sizeof(word))
		return false;

	memcpy(word, &text[4], letters);
	word[letters] = '\0';

	if (distance(word, "line") > 1)
		return false;

	digits = &text[4 + letters] + strspn(&text[4 + letters], " ");
	rest   = digits + strspn(digits, "0123456789");

	if (rest - digits > 10)
		return false;

	(void)re_snprintf(joined, sizeof(joined), "sip line%b %s",
			  rest > digits ? digits : "1",
			  rest > digits ? (size_t)(rest - digits) : (size_t)1,
			  rest + strspn(rest, " "));

	return split_line(base, linep, joined);
}


/**
 * Length of the key that a line without colon begins with, of its first word
 * if there is none
 */
static size_t key_prefix(const char *name)
{
	char base[AA_CFG_NAME_SIZE];
	size_t best = 0, shift = 0, i;
	uint32_t line;

	if (split_line(base, &line, name))
		shift = strlen(name) - strlen(base);
	else
		str_ncpy(base, name, sizeof(base));

	for (i=0; i<KEY_COUNT; i++) {
		const size_t l = strlen(keyv[i].name);

		if (l > best && !strncmp(base, keyv[i].name, l) &&
		    (base[l] == ' ' || base[l] == '=' || !base[l]))
			best = l;
	}

	return best ? best + shift : strcspn(name, " ");
}


/** Is one the other and more words? */
static bool extends(const char *a, const char *b)
{
	const size_t la = strlen(a), lb = strlen(b);
	const char *longer = la > lb ? a : b;
	const size_t n = min_size(la, lb);

	return !strncmp(a, b, n) && (longer[n] == ' ' || !longer[n]);
}


/**
 * Find the key that was meant
 *
 * @param cfg   Configuration, for the budget: this is the slow part
 * @param name  Global name as it was read
 * @param limit Largest number of wrong letters
 *
 * @return Nearest key, NULL if none is near
 */
static const struct aa_key *guess_key(struct aa_config *cfg, const char *name,
				      size_t limit)
{
	const struct aa_key *best = NULL;
	const size_t len = strlen(name);
	size_t bestd = limit + 1, i;

	if (cfg->guesses >= GUESSES_MAX)
		return NULL;

	++cfg->guesses;

	for (i=0; i<COUNT(slipv); i++) {
		if (same_name(slipv[i].wrong, name))
			return &keyv[slipv[i].right];
	}

	for (i=0; i<KEY_COUNT; i++) {
		const size_t l = strlen(keyv[i].name);
		size_t d;

		/* cannot be near */
		if (len > l + limit || l > len + limit)
			continue;

		d = distance(name, keyv[i].name);

		if (d < bestd || (d == bestd && best && d <= limit &&
				  extends(name, keyv[i].name) &&
				  !extends(name, best->name))) {
			best  = &keyv[i];
			bestd = d;
		}
	}

	return bestd <= limit ? best : NULL;
}


/* ---- Values ----------------------------------------------------------- */


static bool is_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}


static bool only(const char *str, const char *set)
{
	return str[strspn(str, set)] == '\0';
}


static bool has_control(const char *str)
{
	while (*str) {
		const size_t l = printable(str);

		if (!l)
			return true;

		str += l;
	}

	return false;
}


/** Note what is wrong with a value, for the finding; later ones are lost */
static void blame(struct entry *e, const char *fmt, ...)
{
	va_list ap;

	if (e->why)
		return;

	va_start(ap, fmt);
	(void)re_vsdprintf(&e->why, fmt, ap);
	va_end(ap);
}


static int set_value(struct entry *e, const char *val)
{
	char *str;
	int err;

	err = str_dup(&str, val);
	if (err)
		return err;

	mem_deref(e->val);
	e->val = str;

	return 0;
}


static bool is_ipv4(const char *host)
{
	struct in_addr in;

	return inet_pton(AF_INET, host, &in) == 1;
}


static bool is_ipv6(const char *host)
{
	struct in6_addr in6;

	return inet_pton(AF_INET6, host, &in6) == 1;
}


/** Is it a host name (RFC 1123), its last label not all digits? */
static bool is_hostname(const char *host)
{
	const char *label = host, *p;
	bool digits = true;

	if (strlen(host) > 253)
		return false;

	for (p = host; ; p++) {

		if (*p == '.' || *p == '\0') {

			if (p == label || p - label > 63 || label[0] == '-' ||
			    p[-1] == '-')
				return false;

			if (*p == '\0')
				return !digits;

			label  = p + 1;
			digits = true;
			continue;
		}

		if (!is_alnum(*p) && *p != '-' && *p != '_')
			return false;

		digits = digits && is_digit(*p);
	}
}


static enum value_state check_address(struct entry *e)
{
	char host[256];
	size_t len = strlen(e->val);
	const char *p = e->val;

	if (len >= sizeof(host)) {
		blame(e, "the address is longer than 253 characters");
		return VALUE_BAD;
	}

	/* [2001:db8::1] and pbx.example.com. without their dressing */
	if (p[0] == '[' && p[len - 1] == ']') {
		++p;
		len -= 2;
	}
	else if (len > 1 && p[len - 1] == '.') {
		--len;
	}

	memcpy(host, p, len);
	host[len] = '\0';

	if (!strcmp(host, "0.0.0.0") || !strcmp(host, "::"))
		return VALUE_NONE;

	if (is_ipv4(host) || is_ipv6(host) ||
	    (p == e->val && is_hostname(host)))
		return set_value(e, host) ? VALUE_BAD : VALUE_OK;

	for (p = e->val; *p; p++) {
		if (!is_alnum(*p) && !strchr(".-_:[]", *p))
			break;
	}

	if (!strncmp(e->val, "sip:", 4) || !strncmp(e->val, "sips:", 5))
		blame(e, "'%H' is not an address: write it without the "
		      "scheme",
		      print_safe, e->val);
	else if (*p)
		blame(e, "'%H' is not an address: a character is not allowed",
		      print_safe, e->val);
	else if (only(host, "0123456789."))
		blame(e, "'%H' is not an address: it takes four numbers from "
		      "0 to 255", print_safe, e->val);
	else if (strchr(e->val, ':'))
		blame(e, "'%H' is not an address: a port has a key of its own",
		      print_safe, e->val);
	else
		blame(e, "'%H' is not an address", print_safe, e->val);

	return VALUE_BAD;
}


/** Read digits; a number beyond 32 bits counts as the largest one */
static bool get_number(uint32_t *num, const char *str)
{
	uint64_t n = 0;

	if (!*str || !only(str, "0123456789"))
		return false;

	for (; *str; str++) {

		if (n < UINT32_MAX)
			n = n * 10 + (uint64_t)(*str - '0');
	}

	*num = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;

	return true;
}


static enum value_state check_port(struct entry *e)
{
	if (!get_number(&e->num, e->val) || e->num > 65535) {
		blame(e, "'%H' is not a port (0-65535)", print_safe, e->val);
		return VALUE_BAD;
	}

	return e->num ? VALUE_OK : VALUE_EMPTY;
}


/** A number out of range is moved to the nearest bound, as the phones do */
static enum value_state check_number(struct entry *e)
{
	const struct aa_key *key = &keyv[e->key];
	const bool negative = e->val[0] == '-';
	const char *unit = key->unit[0] ? key->unit : "";
	const char *gap  = key->unit[0] ? " " : "";
	char buf[16];

	if (!get_number(&e->num, e->val + (negative ? 1 : 0))) {
		blame(e, "'%H' is not a number", print_safe, e->val);
		return VALUE_BAD;
	}

	if (negative ? key->zero : (key->zero && !e->num)) {
		e->num = 0;

		if (!negative)
			return VALUE_OK;

		blame(e, "'%H' is below 0%s%s: 0 is used", print_safe, e->val,
		      gap, unit);
	}
	else if (negative || e->num < key->min) {
		e->num = key->min;
		blame(e, "'%H' is below %u%s%s: raised to %u", print_safe,
		      e->val, key->min, gap, unit, key->min);
	}
	else if (e->num > key->max) {
		e->num = key->max;
		blame(e, "'%H' is above %u%s%s: lowered to %u", print_safe,
		      e->val, key->max, gap, unit, key->max);
	}

	(void)re_snprintf(buf, sizeof(buf), "%u", e->num);

	return set_value(e, buf) ? VALUE_BAD : VALUE_OK;
}


static enum value_state check_bool(struct entry *e)
{
	if (strcmp(e->val, "0") && strcmp(e->val, "1")) {
		blame(e, "'%H' is neither 0 nor 1", print_safe, e->val);
		return VALUE_BAD;
	}

	e->num = e->val[0] == '1';

	return VALUE_OK;
}


/** Find a word in a list "a, b, c"; its place counts from 0 */
static bool find_word(const char *list, const char *word, uint32_t *place)
{
	const size_t len = strlen(word);
	uint32_t n = 0;

	for (;;) {
		const size_t l = strcspn(list, ",");

		if (l == len && !strncmp(list, word, l)) {
			*place = n;
			return true;
		}

		if (!list[l])
			return false;

		list += l + 2;
		++n;
	}
}


static enum value_state check_choice(struct entry *e)
{
	char *p;

	for (p = e->val; *p; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p + 32);
	}

	if (!find_word(keyv[e->key].values, e->val, &e->num)) {
		blame(e, "'%H' is not one of %s", print_safe, e->val,
		      keyv[e->key].values);
		return VALUE_BAD;
	}

	/* a list of numbers: the number itself, not its place */
	(void)get_number(&e->num, e->val);

	return VALUE_OK;
}


static enum value_state check_text(struct entry *e)
{
	const struct aa_key *key = &keyv[e->key];

	if (strlen(e->val) >= TEXT_SIZE) {
		blame(e, "longer than %d bytes", TEXT_SIZE - 1);
		return VALUE_BAD;
	}

	/* these go into quoted strings of SIP headers; the password does
	   not: only its hash travels */
	if (!key->secret && key->set == AA_SET_AUTH &&
	    strpbrk(e->val, "\"\\")) {
		blame(e, "a quote or a backslash is not allowed");
		return VALUE_BAD;
	}

	return VALUE_OK;
}


static enum value_state check_user(struct entry *e)
{
	const char *p;

	if (strlen(e->val) >= TEXT_SIZE) {
		blame(e, "longer than %d bytes", TEXT_SIZE - 1);
		return VALUE_BAD;
	}

	/* RFC 3261: unreserved, user-unreserved, escaped */
	for (p = e->val; *p; p++) {

		if (*p == '@') {
			blame(e, "'%H' is not a user name: write the part "
			      "before the '@' alone", print_safe, e->val);
			return VALUE_BAD;
		}

		if (!is_alnum(*p) && !strchr("-_.!~*'()&=+$,;?/%", *p)) {
			blame(e, "'%H' is not a user name: a character is not "
			      "allowed", print_safe, e->val);
			return VALUE_BAD;
		}
	}

	return VALUE_OK;
}


/** Cut the first word off */
static bool next_word(struct pl *word, struct pl *rest)
{
	while (rest->l && strchr(" \t", rest->p[0])) {
		++rest->p;
		--rest->l;
	}

	word->p = rest->p;
	word->l = 0;

	while (rest->l && !strchr(" \t", rest->p[0])) {
		++rest->p;
		--rest->l;
		++word->l;
	}

	return word->l > 0;
}


/** Is the part of a list "event uri"? */
static bool is_subscription(struct pl *event, struct pl *uri,
			    const struct pl *item)
{
	struct pl rest = *item, more;
	size_t i;

	if (!next_word(event, &rest) || !next_word(uri, &rest) ||
	    next_word(&more, &rest))
		return false;

	for (i=0; i<event->l; i++) {
		if (!is_alnum(event->p[i]) && !strchr("-.!%*_+`'~",
						      event->p[i]))
			return false;
	}

	for (i=0; i<uri->l; i++) {
		if (strchr("<>\"", uri->p[i]))
			return false;
	}

	return true;
}


/** Keep the good items of the list */
static enum value_state check_subscribe(struct entry *e)
{
	struct aa_line_config *lc;
	char buf[sizeof(lc->subscribe)] = "";
	const char *p = e->val;
	size_t pos = 0;

	for (;;) {
		const size_t l = strcspn(p, ",");
		const size_t blanks = min_size(strspn(p, " \t"), l);
		struct pl item = {p, l}, event, uri;

		if (is_subscription(&event, &uri, &item)) {

			/* event + uri + ", " + " " + the end */
			if (pos + event.l + uri.l + 4 > sizeof(buf)) {
				blame(e, "longer than %zu bytes: the rest is "
				      "left out", sizeof(buf) - 1);
				break;
			}

			(void)re_snprintf(&buf[pos], sizeof(buf) - pos,
					  "%s%r %r", pos ? ", " : "",
					  &event, &uri);
			pos = strlen(buf);
		}
		else {
			char bad[64];

			(void)re_snprintf(bad, sizeof(bad), "%b",
					  p + blanks, l - blanks);

			blame(e, "'%H' is not 'event uri': left out",
			      print_safe, bad);
		}

		if (!p[l])
			break;

		p += l + 1;
	}

	if (set_value(e, buf))
		return VALUE_BAD;

	return pos ? VALUE_OK : VALUE_BAD;
}


static enum value_state check_filename(struct entry *e)
{
	const char *p;

	if (strlen(e->val) >= TEXT_SIZE) {
		blame(e, "longer than %d bytes", TEXT_SIZE - 1);
		return VALUE_BAD;
	}

	for (p = e->val; *p; p++) {
		if (!is_alnum(*p) && !strchr("-_. +", *p))
			break;
	}

	if (*p || e->val[0] == '.') {
		blame(e, "'%H' is not a file name", print_safe, e->val);
		return VALUE_BAD;
	}

	return VALUE_OK;
}


static enum value_state check_mac(struct entry *e)
{
	char mac[13];
	const char *p;
	size_t n = 0;

	for (p = e->val; *p; p++) {
		const char c = *p;

		if ((c == ':' || c == '-') && n && n < 12 && !(n % 2))
			continue;

		if (n >= 12 || !strchr("0123456789abcdefABCDEF", c))
			break;

		mac[n++] = (c >= 'a') ? (char)(c - 32) : c;
	}

	if (*p || n != 12) {
		blame(e, "'%H' is not a MAC address (12 hex digits)",
		      print_safe, e->val);
		return VALUE_BAD;
	}

	mac[12] = '\0';

	return set_value(e, mac) ? VALUE_BAD : VALUE_OK;
}


static enum value_state check_url(struct entry *e)
{
	const char *p = NULL;

	/* not printed: there may be a password in it */
	if (!strncmp(e->val, "http://", 7))
		p = e->val + 7;
	else if (!strncmp(e->val, "https://", 8))
		p = e->val + 8;

	if (!p || !*p || *p == '/' || strpbrk(p, " <>\"")) {
		blame(e, "not a URL that begins with http:// or https://");
		return VALUE_BAD;
	}

	return VALUE_OK;
}


static enum value_state check_listen(struct entry *e)
{
	char host[64];
	const char *colon = strrchr(e->val, ':');
	size_t len = colon ? (size_t)(colon - e->val) : 0;
	const char *p = e->val;
	bool ok = false;

	if (len > 2 && p[0] == '[' && p[len - 1] == ']') {
		++p;
		len -= 2;
	}

	if (len && len < sizeof(host)) {

		memcpy(host, p, len);
		host[len] = '\0';

		ok = p == e->val ? is_ipv4(host) : is_ipv6(host);
	}

	if (!ok || !get_number(&e->num, colon + 1) || !e->num ||
	    e->num > 65535) {
		blame(e, "'%H' is not 'address:port'", print_safe, e->val);
		return VALUE_BAD;
	}

	return VALUE_OK;
}


/** Check a value alone, and put it into its normal form */
static enum value_state check_value(struct entry *e)
{
	static enum value_state (* const checkv[AA_TYPE_COUNT])
		(struct entry *) = {

		[AA_TYPE_ADDRESS]   = check_address,
		[AA_TYPE_PORT]      = check_port,
		[AA_TYPE_NUMBER]    = check_number,
		[AA_TYPE_BOOL]      = check_bool,
		[AA_TYPE_CHOICE]    = check_choice,
		[AA_TYPE_TEXT]      = check_text,
		[AA_TYPE_USER]      = check_user,
		[AA_TYPE_SUBSCRIBE] = check_subscribe,
		[AA_TYPE_PATH]      = NULL,
		[AA_TYPE_FILENAME]  = check_filename,
		[AA_TYPE_MAC]       = check_mac,
		[AA_TYPE_URL]       = check_url,
		[AA_TYPE_LISTEN]    = check_listen,
	};
	const enum aa_key_type type = keyv[e->key].type;

	if (!e->val[0])
		return VALUE_EMPTY;

	if (has_control(e->val)) {
		blame(e, "a control character is not allowed");
		return VALUE_BAD;
	}

	return checkv[type] ? checkv[type](e) : VALUE_OK;
}


/* ---- Reading ---------------------------------------------------------- */


/** Could the word be a misspelt "password", with the secret behind it? */
static bool is_secret_word(const char *word, size_t len)
{
	char buf[32];

	if (!len || len >= sizeof(buf))
		return false;

	memcpy(buf, word, len);
	buf[len] = '\0';

	return strstr(buf, "pass") || strstr(buf, "pwd") ||
		strstr(buf, "secret") || distance(buf, "password") <= 3 ||
		distance(buf, "secret") <= 2;
}


/**
 * Print a name that is no key.  A forgotten colon makes the value part of
 * the name, so what may be a secret is left out: all behind a `=`, behind a
 * word like "password", and, without colon, behind the first word or key.
 */
static int print_written(struct re_printf *pf, const struct aa_cfg_entry *ce)
{
	char buf[AA_CFG_NAME_SIZE];
	size_t n = 0, end = 0;

	while (ce->name[n]) {
		const size_t l = strcspn(&ce->name[n], " _=");

		end = n + l;

		if (ce->name[end] == '=' || !ce->name[end])
			break;

		if (is_secret_word(&ce->name[n], l))
			break;

		n = end + 1;
	}

	if (ce->flags & AA_CFG_NOCOLON)
		end = min_size(end, key_prefix(ce->name));

	(void)re_snprintf(buf, sizeof(buf), "%b", ce->name, end);

	return print_safe(pf, buf);
}


/** Settings of a phone that have nothing to do with SIP servers */
static bool is_ours_or_near(const char *name)
{
	return !strncmp(name, "sip ", 4) || !strncmp(name, "sips ", 5) ||
		!strcmp(name, "sip") || !strcmp(name, "sips") ||
		!strncmp(name, "sip line", 8) ||
		!strncmp(name, "aastra", 6);
}


/** Is it about sound, digits, screens? (`sip nat keepalive` is not) */
static bool is_phone_key(const char *base)
{
	size_t i;

	for (i=0; i<COUNT(slipv); i++) {
		if (same_name(slipv[i].wrong, base))
			return false;
	}

	for (i=0; i<COUNT(phone_keyv); i++) {
		if (!strncmp(base, phone_keyv[i], strlen(phone_keyv[i])))
			return true;
	}

	return false;
}


static void odd_line(struct aa_config *cfg, const struct source *src,
		     const struct aa_cfg_entry *ce, const char *what)
{
	add_finding(cfg, AA_CONFIG_WARN, 0, "%s:%u: key '%H': %s", src->name,
		    ce->lineno, print_written, ce, what);
}


/**
 * A name that is no key: say so if it is near to one or looks like one, and
 * count it if it is one of the many other settings of a phone
 */
static int unknown_key(struct aa_config *cfg, struct source *src,
		       const struct aa_cfg_entry *ce, const char *name)
{
	char base[AA_CFG_NAME_SIZE];
	const bool ours = is_ours_or_near(name);
	const struct aa_key *key;
	struct name nearest = {NULL, 0, ce->underscore};
	uint32_t line = 0;
	size_t limit;
	bool phone;

	if (!split_line(base, &line, name))
		str_ncpy(base, name, sizeof(base));

	limit = strlen(base) / 4;
	if (!ours || limit < 2)
		limit = 2;

	phone = is_phone_key(base);
	key   = phone ? NULL : guess_key(cfg, base, limit);

	if (!key && !phone && split_line_loosely(base, &line, name))
		key = guess_key(cfg, base, limit);

	if (line > LINE_MAX_NUMBER)
		line = 0;

	if (phone || (!key && !ours)) {
		++src->others;
		if (src->other_name)
			return 0;

		src->other_line = ce->lineno;
		return re_sdprintf(&src->other_name, "%H", print_written, ce);
	}

	if (key) {
		nearest.key  = key;
		nearest.line = (key->scope & AA_SCOPE_LINE) ? line : 0;

		add_finding(cfg, AA_CONFIG_WARN, 0, "%s:%u: key '%H': unknown "
			    "(did you mean '%H'?)", src->name, ce->lineno,
			    print_written, ce, print_name, &nearest);
	}
	else {
		odd_line(cfg, src, ce, "unknown");
	}

	return 0;
}


/** Is a key in baresip's spelling certainly meant for somebody else? */
static bool is_foreign(const char *name)
{
	size_t i;

	for (i=0; i<COUNT(baresip_keyv); i++) {
		if (!strcmp(name, baresip_keyv[i]))
			return true;
	}

	return strncmp(name, "sip_", 4) && strncmp(name, "sips_", 5) &&
		strncmp(name, "aastra_", 7) && strcmp(name, "dynamic_sip");
}


/** Is an underscore key surely ours, `sip_line1_...`, or only like that? */
static bool is_claimed(const char *name)
{
	static const char *prefixv[] = {
		"sip_line", "sip_backup_", "sip_outbound_", "sip_failback_",
		"sip_recovery_", "sip_registrar_", "sip_registration_",
		"sip_proxy_", "sip_transaction_", "aastra_",
	};
	size_t i;

	for (i=0; i<COUNT(prefixv); i++) {
		if (!strncmp(name, prefixv[i], strlen(prefixv[i])))
			return true;
	}

	return false;
}


static int add_entry(struct aa_config *cfg, struct source *src,
		     const struct aa_cfg_entry *ce, const struct aa_key *key,
		     uint32_t line)
{
	struct entry *e;
	int err;

	e = mem_zalloc(sizeof(*e), entry_destructor);
	if (!e)
		return ENOMEM;

	e->src        = src;
	e->lineno     = ce->lineno;
	e->line       = line;
	e->key        = key_id(key);
	e->seq        = cfg->seq++;
	e->rank       = (uint8_t)(src->layer + (ce->underscore ? 1 : 0));
	e->locked     = ce->locked;
	e->overwrite  = ce->overwrite;
	e->underscore = ce->underscore;

	err = str_dup(&e->val, ce->value);
	if (err) {
		mem_deref(e);
		return err;
	}

	if (ce->flags & AA_CFG_LONGVALUE) {
		blame(e, "longer than %d bytes", AA_CFG_VALUE_SIZE - 1);
		e->state = VALUE_BAD;
	}
	else {
		e->state = check_value(e);
	}

	++src->keys;
	list_append(&cfg->entryl, &e->le, e);

	return 0;
}


static int entry_handler(const struct aa_cfg_entry *ce, void *arg)
{
	struct reading *rd = arg;
	struct aa_config *cfg = rd->cfg;
	struct source *src = rd->src;
	const bool baresip = src->layer == AA_LAYER_BARESIP;
	char name[AA_CFG_NAME_SIZE], base[AA_CFG_NAME_SIZE];
	const struct aa_key *key;
	uint32_t line = 0;
	bool is_line;
	size_t i;

	if (ce->underscore && is_foreign(ce->name))
		return 0;

	str_ncpy(name, ce->name, sizeof(name));
	for (i=0; ce->underscore && name[i]; i++) {
		if (name[i] == '_')
			name[i] = ' ';
	}

	is_line = split_line(base, &line, name);
	if (!is_line)
		str_ncpy(base, name, sizeof(base));

	key = (ce->flags & AA_CFG_LONGNAME) ? NULL : find_key(base);

	/* baresip's config holds other things; it is not for us to judge */
	if (!key && baresip && !is_ours_or_near(name) &&
	    strncmp(name, "prgkey", 6) && strncmp(name, "softkey", 7) &&
	    strncmp(name, "dynamic sip", 11))
		return 0;

	if (baresip && !key && ce->underscore && !is_claimed(ce->name) &&
	    !guess_key(cfg, base, 2))
		return 0;

	if ((ce->flags & AA_CFG_NUL) && !src->nul) {
		src->nul = true;
		odd_line(cfg, src, ce, "NUL bytes are left out");
	}

	if (ce->flags & AA_CFG_NONAME) {
		odd_line(cfg, src, ce, "no name before the ':', ignored");
		return 0;
	}

	if (ce->flags & AA_CFG_NOCOLON) {

		if (!baresip || is_ours_or_near(name))
			odd_line(cfg, src, ce,
				 "no ':' behind the name, ignored");
		return 0;
	}

	if (!key && ce->underscore && strchr(name, '=')) {
		odd_line(cfg, src, ce, "a blank stands behind the name, not "
			 "a '='; ignored");
		return 0;
	}

	if (!key)
		return unknown_key(cfg, src, ce, name);

	if (is_line && !line) {
		odd_line(cfg, src, ce, "lines count from 1, ignored");
		return 0;
	}

	if (line > LINE_MAX_NUMBER) {
		odd_line(cfg, src, ce, "no line has such a number "
			 "(1-100000), ignored");
		return 0;
	}

	if (is_line && !(key->scope & AA_SCOPE_LINE)) {
		add_finding(cfg, AA_CONFIG_WARN, 0, "%s:%u: key '%H': it can "
			    "only be global, '%s'; ignored", src->name,
			    ce->lineno, print_written, ce, key->name);
		return 0;
	}

	if (!is_line && !(key->scope & AA_SCOPE_GLOBAL)) {
		odd_line(cfg, src, ce, "it needs a line, 'sip line1 ...'; "
			 "ignored");
		return 0;
	}

	if (key->baresip_only && !baresip) {
		odd_line(cfg, src, ce, "it counts in baresip's config only, "
			 "ignored");
		return 0;
	}

	if (ce->flags & AA_CFG_OPENQUOTE)
		odd_line(cfg, src, ce, "the quote is never closed; the value "
			 "ends with the line");
	if (ce->flags & AA_CFG_TRAILING)
		odd_line(cfg, src, ce, "text behind the closing quote is "
			 "ignored");

	return add_entry(cfg, src, ce, key, line);
}


/** Keep the first reason why not all was read */
static void note_status(struct aa_config *cfg, int err)
{
	if (!cfg->status)
		cfg->status = err;
}


static int source_alloc(struct source **srcp, struct aa_config *cfg,
			enum aa_config_layer layer, const char *name)
{
	struct source *src;
	int err;

	src = mem_zalloc(sizeof(*src), source_destructor);
	if (!src)
		return ENOMEM;

	src->layer = layer;

	err = str_dup(&src->name, name);
	if (err) {
		mem_deref(src);
		return err;
	}

	list_append(&cfg->sourcel, &src->le, src);
	*srcp = src;

	return 0;
}


static int read_text(struct aa_config *cfg, enum aa_config_layer layer,
		     const char *name, const char *buf, size_t len)
{
	struct reading rd = {cfg, NULL};
	int err;

	err = source_alloc(&rd.src, cfg, layer, name);
	if (err)
		return err;

	if (layer == AA_LAYER_BARESIP)
		err = aa_cfgfile_read_baresip(buf, len, entry_handler, &rd);
	else
		err = aa_cfgfile_read(buf, len, entry_handler, &rd);

	if (err == EILSEQ) {
		add_finding(cfg, AA_CONFIG_WARN, 0, "%s:1: this is UTF-16 "
			    "text, save it as UTF-8; nothing is read", name);
		note_status(cfg, EILSEQ);
		err = 0;
	}

	if (rd.src->others)
		add_finding(cfg, AA_CONFIG_INFO, 0, "%s:%u: key '%s': a "
			    "setting of the phone that has no use here (one "
			    "of %u)", name, rd.src->other_line,
			    rd.src->other_name, rd.src->others);

	return err;
}


/** Read what is left of an open file, if it is a file and not too long */
static int load_fd(struct mbuf *mb, int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return errno;

	if (S_ISDIR(st.st_mode))
		return EISDIR;

	/* a pipe or device could keep us for ever */
	if (!S_ISREG(st.st_mode))
		return EINVAL;

	if (st.st_size > FILE_MAX_SIZE)
		return EFBIG;

	for (;;) {
		uint8_t buf[4096];
		const ssize_t n = read(fd, buf, sizeof(buf));
		int err;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		if (!n)
			return 0;

		if (mb->end + (size_t)n > FILE_MAX_SIZE)
			return EFBIG;

		err = mbuf_write_mem(mb, buf, (size_t)n);
		if (err)
			return err;
	}
}


/**
 * Read a file; one that is not there is no error
 *
 * @param cfg   Configuration
 * @param layer Layer
 * @param path  Path
 * @param found Set to true if the file is there
 *
 * @return 0 if success, otherwise errorcode (out of memory)
 */
static int read_file(struct aa_config *cfg, enum aa_config_layer layer,
		     const char *path, bool *found)
{
	struct mbuf *mb;
	int fd, err;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;

	*found = true;

	mb = mbuf_alloc(4096);
	if (!mb) {
		err = ENOMEM;
		goto out;
	}

	err = fd < 0 ? errno : load_fd(mb, fd);
	if (err && err != ENOMEM) {
		add_finding(cfg, AA_CONFIG_WARN, 0, "%s: the file cannot "
			    "be read: %m", path, err);
		note_status(cfg, err);
		err = 0;
		goto out;
	}

	if (!err)
		err = read_text(cfg, layer, path, (const char *)mb->buf,
				mb->end);

 out:
	mem_deref(mb);
	if (fd >= 0)
		(void)close(fd);

	return err;
}


/* ---- Index ------------------------------------------------------------ */


static int compare(uint32_t a, uint32_t b)
{
	return a < b ? -1 : a > b;
}


static int compare_slot(const struct entry *e, uint32_t line, enum key_id key)
{
	const int c = compare(e->line, line);

	return c ? c : compare(e->key, key);
}


static int index_compare(const void *va, const void *vb)
{
	const struct entry *a = *(struct entry * const *)va;
	const struct entry *b = *(struct entry * const *)vb;
	int c;

	c = compare_slot(a, b->line, b->key);
	if (!c)
		c = compare(a->rank, b->rank);
	if (!c)
		c = compare(a->seq, b->seq);

	return c;
}


static int build_index(struct aa_config *cfg)
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
			  enum key_id key)
{
	size_t lo = 0, hi = cfg->indexc;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (compare_slot(cfg->indexv[mid], line, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}

	return lo;
}


/** The entry that wins for exactly this line and key; bad ones never do */
static const struct entry *winner(const struct aa_config *cfg, uint32_t line,
				  enum key_id key)
{
	const struct entry *best = NULL;
	size_t i;

	for (i = index_lower(cfg, line, key); i < cfg->indexc; i++) {
		const struct entry *e = cfg->indexv[i];

		if (e->line != line || e->key != key)
			break;

		if (e->state != VALUE_BAD)
			best = e;
	}

	return best;
}


/** The same, if something is configured */
static const struct entry *configured(const struct aa_config *cfg,
				      uint32_t line, enum key_id key)
{
	const struct entry *e = winner(cfg, line, key);

	return (e && e->state == VALUE_OK) ? e : NULL;
}


/** Is it a value that makes a set the line's own (guide 4-57)? */
static bool makes_set(const struct entry *e)
{
	if (e->key == K_REGISTRATION_PERIOD)
		return e->num > 0;

	return true;
}


/** The first value that makes the set the line's own, NULL if there is none */
static const struct entry *own_set(const struct aa_config *cfg, uint32_t line,
				   enum aa_key_set set)
{
	size_t i;

	for (i=0; i<KEY_COUNT; i++) {
		const struct entry *e;

		if (keyv[i].set != set)
			continue;

		e = configured(cfg, line, (enum key_id)i);
		if (e && makes_set(e))
			return e;
	}

	return NULL;
}


static bool inherits_sets(const struct aa_config *cfg, uint32_t line)
{
	const struct entry *e;

	e = line ? configured(cfg, line, K_LINE_INHERITANCE) : NULL;
	if (!e)
		e = configured(cfg, 0, K_LINE_INHERITANCE);

	return !e || !strcmp(e->val, "set");
}


static void view_init(struct view *v, const struct aa_config *cfg,
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
			v->hidden[set] = own_set(cfg, line, set) != NULL;
	}

	/* A global user name describes line 1 (interface page, chapter 2).
	   Its password would spoil the account of another line. */
	if (line > 1 && !configured(cfg, line, K_USER_NAME) &&
	    configured(cfg, 0, K_USER_NAME))
		v->hidden[AA_SET_AUTH] = true;
}


/**
 * What is in force for a line
 *
 * @return Entry with VALUE_OK; with VALUE_NONE if the line shall have none
 *         (0.0.0.0); NULL if nothing is configured
 */
static const struct entry *look(const struct view *v, enum key_id key)
{
	const struct entry *e = NULL;

	if (v->line)
		e = winner(v->cfg, v->line, key);

	if (e && e->state != VALUE_EMPTY)
		return e;

	if (v->line && v->hidden[keyv[key].set])
		return NULL;

	/* only line 1 is described by it */
	if (v->line > 1 && key == K_USER_NAME)
		return NULL;

	return configured(v->cfg, 0, key);
}


static const struct entry *look_ok(const struct view *v, enum key_id key)
{
	const struct entry *e = look(v, key);

	return (e && e->state == VALUE_OK) ? e : NULL;
}


static uint32_t look_num(const struct view *v, enum key_id key)
{
	const struct entry *e = look_ok(v, key);

	return e ? e->num : keyv[key].def;
}


static void look_str(char *buf, size_t sz, const struct view *v,
		     enum key_id key)
{
	const struct entry *e = look_ok(v, key);

	str_ncpy(buf, e ? e->val : "", sz);
}


static bool is_described(const struct view *v)
{
	return v->line && look_ok(v, K_USER_NAME);
}


/* ---- Settings of a line ----------------------------------------------- */


static bool is_file(const struct entry *e)
{
	return e && e->src->layer != AA_LAYER_BARESIP;
}


static enum key_id port_key(enum key_id address)
{
	return (enum key_id)(address + 1);
}


static uint16_t effective_port(const struct aa_server *srv,
			       enum aa_transport transport)
{
	if (srv->port)
		return srv->port;

	/* a name without port is looked up by SRV: that is no port */
	if (!is_ipv4(srv->host) && !is_ipv6(srv->host))
		return 0;

	return transport == AA_TRANSPORT_TLS ? 5061 : 5060;
}


static bool same_server(const struct aa_server *a, const struct aa_server *b,
			enum aa_transport transport)
{
	return !str_casecmp(a->host, b->host) &&
		effective_port(a, transport) == effective_port(b, transport);
}


static void get_server(struct aa_server *srv, const struct view *v,
		       enum key_id key)
{
	const struct entry *e = look_ok(v, key);

	memset(srv, 0, sizeof(*srv));

	if (!e)
		return;

	str_ncpy(srv->host, e->val, sizeof(srv->host));
	srv->port = (uint16_t)look_num(v, port_key(key));
}


/** The account says the primaries that no key says */
static void get_primaries(struct aa_line_config *lc, const struct view *v,
			  const struct aa_account_facts *facts)
{
	struct aa_server *proxy, *registrar, *outbound;
	const struct entry *e;

	proxy     = &lc->server[AA_ROLE_PROXY][AA_RANK_PRIMARY];
	registrar = &lc->server[AA_ROLE_REGISTRAR][AA_RANK_PRIMARY];
	outbound  = &lc->server[AA_ROLE_OUTBOUND][AA_RANK_PRIMARY];

	e = look(v, K_REGISTRAR_IP);
	lc->registers = !(e && e->state == VALUE_NONE);

	if (facts) {
		if (!proxy->host[0])
			*proxy = facts->domain;

		if (!registrar->host[0] && lc->registers)
			*registrar = facts->domain;

		if (!outbound->host[0] && !look(v, K_OUTBOUND_PROXY))
			*outbound = facts->outbound;
	}
	else if (!proxy->host[0]) {
		/* the AOR needs a domain; the phones could not call */
		*proxy = *registrar;
	}

	if (!registrar->host[0])
		lc->registers = false;
}


static void get_servers(struct aa_line_config *lc, const struct view *v,
			const struct aa_account_facts *facts)
{
	int role, rank;

	for (role=0; role<AA_ROLE_COUNT; role++) {

		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++) {
			const enum key_id key = server_key[role][rank];

			get_server(&lc->server[role][rank], v, key);

			if (is_file(look_ok(v, key)))
				lc->from_files = true;
		}
	}

	get_primaries(lc, v, facts);

	/* a backup that is the primary itself is no place to go to, and one
	   of a registrar that is not wanted is not wanted either */
	for (role=0; role<AA_ROLE_COUNT; role++) {
		struct aa_server *srv = lc->server[role];

		if (same_server(&srv[AA_RANK_PRIMARY], &srv[AA_RANK_BACKUP],
				lc->transport) ||
		    (role == AA_ROLE_REGISTRAR && !lc->registers))
			memset(&srv[AA_RANK_BACKUP], 0, sizeof(*srv));
	}
}


static bool has_backup(const struct aa_line_config *lc, enum aa_role role)
{
	return lc->server[role][AA_RANK_BACKUP].host[0] != '\0';
}


static void get_transport(struct aa_line_config *lc, const struct view *v,
			  const struct aa_account_facts *facts)
{
	const struct entry *e = look_ok(v, K_TRANSPORT);

	/* the enum has the guides' numbers */
	if (e)
		lc->transport = (enum aa_transport)e->num;
	else
		lc->transport = facts ? facts->transport : AA_TRANSPORT_UDP;
}


static void get_timers(struct aa_line_config *lc, const struct view *v)
{
	lc->registration_retry = look_num(v, K_REGISTRATION_RETRY);
	lc->registration_timeout_retry =
		look_num(v, K_REGISTRATION_TIMEOUT_RETRY);
	lc->registration_renewal = look_num(v, K_REGISTRATION_RENEWAL);
	lc->transaction_timer  = look_num(v, K_TRANSACTION_TIMER);
	lc->keepalive_timer    = look_num(v, K_KEEPALIVE_TIMER);
	lc->recovery_base      = look_num(v, K_RECOVERY_BASE);
	lc->recovery_max       = look_num(v, K_RECOVERY_MAX);
	lc->failback_delay     = look_num(v, K_FAILBACK_DELAY);
	lc->failback_successes = look_num(v, K_FAILBACK_SUCCESSES);

	if (lc->recovery_max < lc->recovery_base)
		lc->recovery_max = lc->recovery_base;
}


static enum aa_failback get_failback(const struct view *v)
{
	static const enum aa_failback failbackv[] = {
		AA_FAILBACK_AUTO, AA_FAILBACK_IDLE, AA_FAILBACK_MANUAL
	};
	const struct entry *e = look_ok(v, K_FAILBACK_POLICY);

	return e ? failbackv[e->num] : AA_FAILBACK_IDLE;
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
	const struct entry *e;
	struct view v;
	bool backup;

	if (!cfg || !line || !lc)
		return EINVAL;

	view_init(&v, cfg, line);

	if (is_described(&v))
		facts = NULL;

	memset(lc, 0, sizeof(*lc));
	lc->line = line;

	look_str(lc->user_name, sizeof(lc->user_name), &v, K_USER_NAME);
	look_str(lc->auth_name, sizeof(lc->auth_name), &v, K_AUTH_NAME);
	look_str(lc->password, sizeof(lc->password), &v, K_PASSWORD);
	look_str(lc->display_name, sizeof(lc->display_name), &v,
		 K_DISPLAY_NAME);
	look_str(lc->screen_name, sizeof(lc->screen_name), &v, K_SCREEN_NAME);

	get_transport(lc, &v, facts);
	get_servers(lc, &v, facts);

	lc->scenario = aa_policy_scenario(has_backup(lc, AA_ROLE_OUTBOUND),
					  has_backup(lc, AA_ROLE_PROXY),
					  has_backup(lc, AA_ROLE_REGISTRAR));
	backup = lc->scenario != AA_SCENARIO_NONE;

	e = look_ok(&v, K_OUTBOUND_SUPPORT);
	lc->outbound = e ? e->num : (backup && !lc->from_files);

	lc->registration_period = look_num(&v, K_REGISTRATION_PERIOD);
	if (!lc->registration_period && facts)
		lc->registration_period = facts->regint;
	if (!lc->registration_period)
		lc->registration_period = 3600;

	get_timers(lc, &v);

	e = look_ok(&v, K_STANDBY);
	lc->standby       = e ? e->num : 0;
	lc->failback      = get_failback(&v);
	lc->call_failover = look_num(&v, K_CALL_FAILOVER);

	lc->explicit_mwi        = look_num(&v, K_EXPLICIT_MWI);
	lc->explicit_mwi_period = look_num(&v, K_EXPLICIT_MWI_PERIOD);
	lc->blf_period          = look_num(&v, K_BLF_PERIOD);
	lc->subscription_timeout_retry =
		look_num(&v, K_SUBSCRIPTION_TIMEOUT_RETRY);
	lc->subscription_failed_retry =
		look_num(&v, K_SUBSCRIPTION_FAILED_RETRY);
	look_str(lc->subscribe, sizeof(lc->subscribe), &v, K_SUBSCRIBE);

	return 0;
}


/* ---- Looking for what makes no sense ---------------------------------- */


static int print_place(struct re_printf *pf, const struct entry *e)
{
	return re_hprintf(pf, "%s:%u", base_name(e->src->name), e->lineno);
}


/** What is used in place of a bad value */
static void report_bad(struct aa_config *cfg, const struct entry *e)
{
	const struct aa_key *key = &keyv[e->key];
	const struct entry *used;
	struct view v;

	view_init(&v, cfg, e->line);
	used = look_ok(&v, e->key);

	if (used && key->secret)
		FINDING(cfg, AA_CONFIG_WARN, e, "%s; %H stays in force",
			e->why, print_place, used);
	else if (used)
		FINDING(cfg, AA_CONFIG_WARN, e, "%s; '%H' of %H is used",
			e->why, print_safe, used->val, print_place, used);
	else if (key->deftext)
		FINDING(cfg, AA_CONFIG_WARN, e, "%s; the default (%s) is used",
			e->why, key->deftext);
	else if (key->type == AA_TYPE_NUMBER || key->type == AA_TYPE_BOOL)
		FINDING(cfg, AA_CONFIG_WARN, e, "%s; the default (%u) is used",
			e->why, key->def);
	else
		FINDING(cfg, AA_CONFIG_WARN, e, "%s; it counts as not given",
			e->why);
}


/** Values that are not as they were written, in the order of reading */
static void report_values(struct aa_config *cfg)
{
	bool ignored[KEY_COUNT] = {false};
	struct le *le;

	for (le = list_head(&cfg->entryl); le; le = le->next) {
		const struct entry *e = le->data;
		const struct aa_key *key = &keyv[e->key];
		const bool standard = key->deftext ?
			!strcmp(e->val, key->deftext) : e->num == key->def;

		if (e->state == VALUE_BAD)
			report_bad(cfg, e);
		else if (e->why)
			FINDING(cfg, AA_CONFIG_WARN, e, "%s", e->why);

		if (e->state == VALUE_OK && key->state == AA_KEY_IGNORED &&
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
		const struct entry *a = cfg->indexv[i - 1];
		const struct entry *b = cfg->indexv[i];

		if (compare_slot(a, b->line, b->key) || a->src != b->src)
			continue;

		if (b->state == VALUE_BAD)
			continue;

		FINDING(cfg, AA_CONFIG_INFO, b, "replaces line %u of the "
			"same file", a->lineno);
	}
}


/** Say which globals a line's own set hides */
static void report_hidden(struct aa_config *cfg, const struct view *v,
			  enum aa_key_set set)
{
	const struct entry *own = own_set(cfg, v->line, set);
	char *list = NULL;
	size_t i;

	if (!own || !v->hidden[set])
		return;

	for (i=0; i<KEY_COUNT; i++) {

		if (keyv[i].set == set &&
		    configured(cfg, 0, (enum key_id)i) &&
		    !configured(cfg, v->line, (enum key_id)i) &&
		    add_quoted(&list, keyv[i].name))
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
static void report_servers(struct aa_config *cfg, const struct view *v)
{
	const struct name nproxy = line_name(K_BACKUP_PROXY_IP, v->line);
	const struct name nregistrar = line_name(K_BACKUP_REGISTRAR_IP,
						 v->line);
	const struct entry *proxy, *registrar;
	int role, rank;

	for (role=0; role<AA_ROLE_COUNT; role++) {

		for (rank=AA_RANK_PRIMARY; rank<AA_RANK_COUNT; rank++) {
			const enum key_id key = server_key[role][rank];
			const struct name name = line_name(key, v->line);
			const struct entry *port;

			port = configured(cfg, v->line, port_key(key));

			if (port && !look_ok(v, key))
				FINDING(cfg, AA_CONFIG_INFO, port, "no "
					"effect without '%H'", print_name,
					&name);
		}
	}

	proxy     = look_ok(v, K_BACKUP_PROXY_IP);
	registrar = look_ok(v, K_BACKUP_REGISTRAR_IP);

	if (proxy && !registrar && proxy->line == v->line)
		FINDING(cfg, AA_CONFIG_INFO, proxy, "there is no '%H': the "
			"backup AOR is registered at the primary registrar",
			print_name, &nregistrar);

	if (registrar && !proxy && registrar->line == v->line)
		FINDING(cfg, AA_CONFIG_INFO, registrar, "there is no '%H': "
			"the AOR stays that of the primary proxy",
			print_name, &nproxy);
}


/** Backups that are their own primary */
static void report_equal(struct aa_config *cfg, const struct view *v,
			 const struct aa_account_facts *facts)
{
	struct aa_line_config *lc;
	int role;

	lc = mem_zalloc(sizeof(*lc), NULL);
	if (!lc)
		return;

	get_transport(lc, v, facts);
	for (role=0; role<AA_ROLE_COUNT; role++)
		get_server(&lc->server[role][AA_RANK_PRIMARY], v,
			   server_key[role][AA_RANK_PRIMARY]);
	get_primaries(lc, v, facts);

	for (role=0; role<AA_ROLE_COUNT; role++) {
		const enum key_id key = server_key[role][AA_RANK_BACKUP];
		const struct entry *e = look_ok(v, key);
		struct aa_server backup;

		if (!e)
			continue;

		get_server(&backup, v, key);

		if (!same_server(&lc->server[role][AA_RANK_PRIMARY], &backup,
				 lc->transport))
			continue;

		FINDING(cfg, AA_CONFIG_WARN, e, "the same server as the "
			"primary '%s': it is no backup, ignored",
			keyv[server_key[role][AA_RANK_PRIMARY]].name);
	}

	mem_deref(lc);
}


static void report_timers(struct aa_config *cfg, const struct view *v)
{
	const struct entry *max = look_ok(v, K_RECOVERY_MAX);
	const struct entry *base = look_ok(v, K_RECOVERY_BASE);
	const struct entry *e = max ? max : base;
	uint32_t b, m;

	b = look_num(v, K_RECOVERY_BASE);
	m = look_num(v, K_RECOVERY_MAX);

	if (e && m < b)
		FINDING(cfg, AA_CONFIG_WARN, e, "%u s is below '%s', raised "
			"to %u", m, keyv[K_RECOVERY_BASE].name, b);
}


/** A line made from keys needs a server */
static void report_described(struct aa_config *cfg, const struct view *v)
{
	const struct entry *user = look_ok(v, K_USER_NAME);
	const struct name nproxy = line_name(K_PROXY_IP, v->line);
	const struct name nregistrar = line_name(K_REGISTRAR_IP, v->line);
	const struct entry *proxy, *registrar, *backup;

	if (!is_described(v))
		return;

	proxy     = look_ok(v, K_PROXY_IP);
	registrar = look_ok(v, K_REGISTRAR_IP);
	backup    = look_ok(v, K_BACKUP_REGISTRAR_IP);

	if (!proxy && !registrar)
		FINDING(cfg, AA_CONFIG_WARN, user, "there is no '%H': line %u "
			"cannot be made", print_name, &nproxy, v->line);
	else if (!proxy)
		FINDING(cfg, AA_CONFIG_INFO, registrar, "there is no '%H': "
			"the registrar is the domain of line %u", print_name,
			&nproxy, v->line);

	if (backup && !registrar)
		FINDING(cfg, AA_CONFIG_WARN, backup, "there is no '%H': line "
			"%u does not register; ignored", print_name,
			&nregistrar, v->line);
}


static void analyse_line(struct aa_config *cfg, uint32_t line)
{
	struct view v;

	view_init(&v, cfg, line);

	if (line) {
		report_hidden(cfg, &v, AA_SET_AUTH);
		report_hidden(cfg, &v, AA_SET_NETWORK);
		report_described(cfg, &v);
	}

	report_servers(cfg, &v);
	report_equal(cfg, &v, NULL);
	report_timers(cfg, &v);
}


/** All that can be said without knowing the accounts */
static void analyse(struct aa_config *cfg)
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

	if (line < 1 && configured(cfg, 0, K_USER_NAME))
		analyse_line(cfg, 1);
}


/**
 * Report what makes no sense together with an account: a backup that is the
 * account's own server.  Nothing is reported twice.
 *
 * @param cfg   Configuration
 * @param line  Line number, from 1
 * @param facts What its account says, NULL if it has none
 */
void aa_config_check_line(struct aa_config *cfg, uint32_t line,
			  const struct aa_account_facts *facts)
{
	struct view v;

	if (!cfg || !line)
		return;

	view_init(&v, cfg, line);

	report_equal(cfg, &v, is_described(&v) ? NULL : facts);
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
		const struct entry *first = NULL;
		const uint32_t line = cfg->indexv[i]->line;
		uint32_t more = 0;

		/* templates write all nine lines, most of them empty */
		for (j=i; j<cfg->indexc && cfg->indexv[j]->line == line; j++) {
			const struct entry *e = cfg->indexv[j];

			if (e->state != VALUE_OK)
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


/* ---- Files ------------------------------------------------------------ */


/** The MAC of the interface with the default route, as the phones write it */
static bool get_mac(char *mac, size_t sz)
{
	char ifname[64] = "", path[128], text[32];
	struct entry *e;
	ssize_t n;
	int fd;
	bool ok;

	if (net_rt_default_get(AF_INET, ifname, sizeof(ifname)) &&
	    net_rt_default_get(AF_INET6, ifname, sizeof(ifname)))
		return false;

	if (!ifname[0] || strchr(ifname, '/'))
		return false;

	(void)re_snprintf(path, sizeof(path), "/sys/class/net/%s/address",
			  ifname);

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;

	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);

	if (n < 17)
		return false;

	text[17] = '\0';

	e = mem_zalloc(sizeof(*e), entry_destructor);
	if (!e)
		return false;

	e->key = K_CFG_MAC;
	ok = !set_value(e, text) && check_mac(e) == VALUE_OK &&
		strcmp(e->val, "000000000000");
	if (ok)
		str_ncpy(mac, e->val, sz);

	mem_deref(e);

	return ok;
}


static int read_in_folder(struct aa_config *cfg, enum aa_config_layer layer,
			  const char *folder, const char *name, bool *found)
{
	char *path = NULL;
	int err;

	err = re_sdprintf(&path, "%s/%s.cfg", folder, name);
	if (err)
		return err;

	err = read_file(cfg, layer, path, found);

	mem_deref(path);

	return err;
}


/** <MAC>.cfg is written in upper case; a lower-case one is taken too */
static int read_mac_file(struct aa_config *cfg, const char *folder,
			 const char *mac, bool *found)
{
	char lower[16];
	bool upper = false;
	size_t i;
	int err;

	err = read_in_folder(cfg, AA_LAYER_MAC, folder, mac, &upper);
	if (err || upper) {
		*found = true;
		return err;
	}

	str_ncpy(lower, mac, sizeof(lower));
	for (i=0; lower[i]; i++) {
		if (lower[i] >= 'A' && lower[i] <= 'F')
			lower[i] = (char)(lower[i] + 32);
	}

	return read_in_folder(cfg, AA_LAYER_MAC, folder, lower, found);
}


/** Read the phone's files, lowest layer first */
static int read_folder(struct aa_config *cfg, const char *conf_path)
{
	const struct entry *path = configured(cfg, 0, K_CFG_PATH);
	const struct entry *model = configured(cfg, 0, K_CFG_MODEL);
	const struct entry *emac = configured(cfg, 0, K_CFG_MAC);
	char *folder = NULL, mac[16] = "";
	bool found = false, startup = false;
	int err;

	if (!path)
		return 0;

	if (path->val[0] == '/')
		err = str_dup(&folder, path->val);
	else
		err = re_sdprintf(&folder, "%s/%s", conf_path, path->val);
	if (err)
		return err;

	if (emac)
		str_ncpy(mac, emac->val, sizeof(mac));
	else
		(void)get_mac(mac, sizeof(mac));

	err = read_in_folder(cfg, AA_LAYER_AASTRA, folder, "aastra", &found);
	if (!err && !found)
		err = read_in_folder(cfg, AA_LAYER_AASTRA, folder, "startup",
				     &startup);
	if (!err && model)
		err = read_in_folder(cfg, AA_LAYER_MODEL, folder, model->val,
				     &found);
	if (!err && mac[0])
		err = read_mac_file(cfg, folder, mac, &found);

	if (!err && !found && !startup) {
		FINDING(cfg, AA_CONFIG_WARN, path, "no aastra.cfg, "
			"startup.cfg%s%s%s%s%s%s in '%H'", model ? ", " : "",
			model ? model->val : "", model ? ".cfg" : "",
			mac[0] ? ", " : "", mac, mac[0] ? ".cfg" : "",
			print_safe, folder);
		note_status(cfg, ENOENT);
	}

	mem_deref(folder);

	return err;
}


static int config_new(struct aa_config **cfgp, aa_config_msg_h *msgh,
		      void *arg)
{
	struct aa_config *cfg;

	cfg = mem_zalloc(sizeof(*cfg), config_destructor);
	if (!cfg)
		return ENOMEM;

	cfg->msgh = msgh;
	cfg->arg  = arg;

	*cfgp = cfg;

	return 0;
}


/**
 * Read the configuration: baresip's config, and the phone's files where
 * `aastra_cfg_path` says
 *
 * A file that is not there is no error.  What is wrong with a value, a key
 * or a file is a finding: it is reported once, as
 * "FILE:LINE: key 'KEY': text", and kept for aa_config_print(); the rest is
 * read all the same.  See aa_config_status() for unreadable files.
 * (Interface page, chapter 3; facts, chapter 3)
 *
 * @param cfgp      Pointer to the configuration, freed with mem_deref()
 * @param conf_path Folder of baresip's config
 * @param msgh      Handler of findings, may be NULL; it is kept, since
 *                  aa_config_check_line() reports too
 * @param arg       Handler argument
 *
 * @return 0 if success, EINVAL for a missing argument, ENOMEM
 */
int aa_config_alloc(struct aa_config **cfgp, const char *conf_path,
		    aa_config_msg_h *msgh, void *arg)
{
	struct aa_config *cfg;
	char *path = NULL;
	bool found = false;
	int err;

	if (!cfgp || !conf_path)
		return EINVAL;

	err = config_new(&cfg, msgh, arg);
	if (err)
		return err;

	err = re_sdprintf(&path, "%s/config", conf_path);
	if (err)
		goto out;

	err = read_file(cfg, AA_LAYER_BARESIP, path, &found);
	if (err)
		goto out;

	if (!found)
		note_status(cfg, ENOENT);

	/* the folder stands in what was just read */
	err = build_index(cfg);
	if (err)
		goto out;

	err = read_folder(cfg, conf_path);
	if (err)
		goto out;

	err = build_index(cfg);
	if (err)
		goto out;

	analyse(cfg);

 out:
	mem_deref(path);

	if (err)
		mem_deref(cfg);
	else
		*cfgp = cfg;

	return err;
}


/**
 * Read the configuration from memory: files that came by HTTP, or a test
 *
 * `aastra_cfg_path` and its like are read, but no file is opened.
 *
 * @param cfgp  Pointer to the configuration, freed with mem_deref()
 * @param textv Texts; the layer decides which one wins, not the order
 * @param textc Number of texts
 * @param msgh  Handler of findings, may be NULL; it is kept
 * @param arg   Handler argument
 *
 * @return 0 if success, EINVAL for a bad argument, ENOMEM
 */
int aa_config_alloc_text(struct aa_config **cfgp,
			 const struct aa_config_text *textv, size_t textc,
			 aa_config_msg_h *msgh, void *arg)
{
	struct aa_config *cfg;
	size_t i;
	int err;

	if (!cfgp || (!textv && textc))
		return EINVAL;

	err = config_new(&cfg, msgh, arg);
	if (err)
		return err;

	for (i=0; i<textc; i++) {

		if ((unsigned)textv[i].layer >= AA_LAYER_COUNT ||
		    !textv[i].name) {
			err = EINVAL;
			goto out;
		}

		err = read_text(cfg, textv[i].layer, textv[i].name,
				textv[i].buf, textv[i].len);
		if (err)
			goto out;
	}

	err = build_index(cfg);
	if (err)
		goto out;

	analyse(cfg);

 out:
	if (err)
		mem_deref(cfg);
	else
		*cfgp = cfg;

	return err;
}


/* ---- Questions -------------------------------------------------------- */


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
		const struct entry *e = cfg->indexv[i - 1];

		if (!e->line)
			break;

		if (e->state == VALUE_OK)
			return e->line;
	}

	return configured(cfg, 0, K_USER_NAME) ? 1 : 0;
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

	for (i = index_lower(cfg, line, (enum key_id)0); i<cfg->indexc; i++) {

		if (cfg->indexv[i]->line != line)
			break;

		if (cfg->indexv[i]->state == VALUE_OK)
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
	struct view v;

	if (!cfg || !line)
		return false;

	view_init(&v, cfg, line);

	return is_described(&v);
}


static const struct entry *look_name(const struct aa_config *cfg,
				     uint32_t line, const char *name,
				     const struct aa_key **keyp)
{
	const struct aa_key *key = name ? find_key(name) : NULL;
	struct view v;

	*keyp = key;

	if (!cfg || !key)
		return NULL;

	view_init(&v, cfg, line);

	return look_ok(&v, key_id(key));
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
	const struct entry *e = look_name(cfg, line, key, &k);

	return e ? e->val : NULL;
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
	const struct entry *e = look_name(cfg, line, key, &k);

	uint32_t def;

	if (!k)
		return 0;

	if (e)
		return e->num;

	if (k->type == AA_TYPE_CHOICE && get_number(&def, k->deftext))
		return def;

	return k->def;
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

	if (!a || !b)
		return a == b;

	for (role=0; role<AA_ROLE_COUNT; role++) {
		for (rank=0; rank<AA_RANK_COUNT; rank++) {
			if (!equal_server(&a->server[role][rank],
					  &b->server[role][rank]))
				return false;
		}
	}

	return  a->line == b->line &&
		!strcmp(a->user_name, b->user_name) &&
		!strcmp(a->auth_name, b->auth_name) &&
		!strcmp(a->password, b->password) &&
		!strcmp(a->display_name, b->display_name) &&
		!strcmp(a->screen_name, b->screen_name) &&
		a->scenario == b->scenario &&
		a->transport == b->transport &&
		a->outbound == b->outbound &&
		a->from_files == b->from_files &&
		a->registers == b->registers &&
		a->registration_period == b->registration_period &&
		a->registration_retry == b->registration_retry &&
		a->registration_timeout_retry ==
		b->registration_timeout_retry &&
		a->registration_renewal == b->registration_renewal &&
		a->transaction_timer == b->transaction_timer &&
		a->keepalive_timer == b->keepalive_timer &&
		a->recovery_base == b->recovery_base &&
		a->recovery_max == b->recovery_max &&
		a->failback_delay == b->failback_delay &&
		a->failback_successes == b->failback_successes &&
		a->standby == b->standby &&
		a->failback == b->failback &&
		a->call_failover == b->call_failover &&
		a->explicit_mwi == b->explicit_mwi &&
		a->explicit_mwi_period == b->explicit_mwi_period &&
		a->blf_period == b->blf_period &&
		a->subscription_timeout_retry ==
		b->subscription_timeout_retry &&
		a->subscription_failed_retry ==
		b->subscription_failed_retry &&
		!strcmp(a->subscribe, b->subscribe);
}


/**
 * Get the number of keys in the table
 *
 * @return Number of keys
 */
size_t aa_config_key_count(void)
{
	return KEY_COUNT;
}


/**
 * Get a key of the table, for the documentation
 *
 * @param i Index, 0 to aa_config_key_count() - 1
 *
 * @return Key, NULL if there is none
 */
const struct aa_key *aa_config_key_at(size_t i)
{
	return i < KEY_COUNT ? &keyv[i] : NULL;
}


/**
 * Get the name of a type of value, for the documentation
 *
 * @param type Type
 *
 * @return Name
 */
const char *aa_key_type_name(enum aa_key_type type)
{
	switch (type) {

	case AA_TYPE_ADDRESS:   return "address";
	case AA_TYPE_PORT:      return "port";
	case AA_TYPE_NUMBER:    return "number";
	case AA_TYPE_BOOL:      return "0/1";
	case AA_TYPE_CHOICE:    return "choice";
	case AA_TYPE_TEXT:      return "text";
	case AA_TYPE_USER:      return "user";
	case AA_TYPE_SUBSCRIBE: return "list of event uri";
	case AA_TYPE_PATH:      return "path";
	case AA_TYPE_FILENAME:  return "file name";
	case AA_TYPE_MAC:       return "MAC";
	case AA_TYPE_URL:       return "URL";
	case AA_TYPE_LISTEN:    return "address:port";
	default:                return "?";
	}
}


/* ---- Listing ---------------------------------------------------------- */


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
		(void)re_snprintf(buf, sz, "%H", print_safe, val);
}


static int print_row(struct re_printf *pf, const struct name *name,
		     const char *val, const char *from)
{
	char buf[AA_CFG_NAME_SIZE];

	(void)re_snprintf(buf, sizeof(buf), "%H", print_name, name);

	return re_hprintf(pf, "  %-46s %-24s %s\n", buf, val, from);
}


static int print_entry(struct re_printf *pf, const struct entry *e,
		       const char *note)
{
	const struct name name = {&keyv[e->key], e->line, false};
	char val[256], from[256];

	show_value(val, sizeof(val), &keyv[e->key], e->val);

	(void)re_snprintf(from, sizeof(from), "%H%s%s%s%s%s", print_place, e,
			  e->locked ? " locked" : "",
			  e->overwrite ? " overwrites" : "",
			  keyv[e->key].state == AA_KEY_IGNORED ?
			  " (not used here)" : "",
			  note ? " " : "", note ? note : "");

	return print_row(pf, &name, val, from);
}


/** What the account says in place of a key, "" if nothing */
static void account_value(char *buf, size_t sz, enum key_id key,
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
			  enum key_id id, const struct aa_line_config *lc)
{
	const struct aa_key *key = &keyv[id];

	str_ncpy(val, "", vsz);
	str_ncpy(from, "default", fsz);

	if (key->state == AA_KEY_IGNORED)
		return;

	if (id == K_OUTBOUND_SUPPORT && lc) {
		const bool backup = lc->scenario != AA_SCENARIO_NONE;

		str_ncpy(val, lc->outbound ? "1" : "0", vsz);
		(void)re_snprintf(from, fsz, "default (%s)",
				  !backup ? "no backup" :
				  lc->from_files ? "servers from *.cfg" :
				  "a backup, not from *.cfg");
	}
	else if (id == K_REGISTRATION_PERIOD && lc) {
		(void)re_snprintf(val, vsz, "%u", lc->registration_period);
	}
	else if (id == K_RECOVERY_MAX && lc) {
		(void)re_snprintf(val, vsz, "%u", lc->recovery_max);
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
static const char *note_of(const struct entry *e,
			   const struct aa_line_config *lc)
{
	int role;

	if (e->key == K_RECOVERY_MAX && e->num < lc->recovery_max)
		return "(raised to the base timer)";

	for (role=0; role<AA_ROLE_COUNT; role++) {

		if (e->key == server_key[role][AA_RANK_BACKUP] &&
		    e->state == VALUE_OK && !has_backup(lc, role))
			return "(no other server than the primary: ignored)";
	}

	return NULL;
}


static int print_line(struct re_printf *pf, const struct aa_config *cfg,
		      uint32_t line, const struct aa_account_facts *facts)
{
	struct aa_line_config *lc = NULL;
	struct view v;
	size_t i;
	int err;

	view_init(&v, cfg, line);

	if (line) {
		lc = mem_zalloc(sizeof(*lc), NULL);
		if (!lc)
			return ENOMEM;

		(void)aa_config_line(cfg, line, facts, lc);

		if (is_described(&v))
			facts = NULL;
	}

	err = line ? re_hprintf(pf, "line %u\n", line) :
		re_hprintf(pf, "global\n");

	for (i=0; i<KEY_COUNT && !err; i++) {
		const enum key_id id = (enum key_id)i;
		const struct entry *e = look(&v, id);
		const struct name name = {&keyv[i], 0, false};
		char val[256], from[64];

		/* for a line, what concerns the module is under global */
		if (line && !(keyv[i].scope & AA_SCOPE_LINE))
			continue;
		if (!line && !(keyv[i].scope & AA_SCOPE_GLOBAL))
			continue;

		if (e && (e->state == VALUE_OK || e->state == VALUE_NONE)) {
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
		const struct entry *e = cfg->indexv[i];

		if (!e->line || winner(cfg, e->line, e->key) != e ||
		    e->state == VALUE_EMPTY)
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
		const struct source *src = le->data;

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
		const struct finding *f = le->data;

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
