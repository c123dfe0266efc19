/**
 * @file key.c  The Aastra keys: one table
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * Every key that the guides know stands here.  The checks, the typed
 * settings, the listing and the documentation come from this table.
 */
#include <stddef.h>
#include "key.h"


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


const struct aa_key aa_keyv[KEY_COUNT] = {

	/* Servers, the Network set */

	[K_PROXY_IP] = {
		.name = "sip proxy ip",
		NETWORK_ADDRESS("The proxy: the domain of the line's AOR, and "
				"where requests go without outbound proxy.",
				"4-57, A-66"),
		.deftext = "the account's domain",
		.reason = "the AOR of a line of `accounts` keeps its domain, "
			"and a log line says so; one with `sip lineN user "
			"name` has this one",
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
		.does = "The name of the line on the phone's screen.",
		.guide = "3-36",
		IGNORED("there is no screen to show it on"),
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
		.deftext = "the recovery timers",
		.does = "Wait before a server that did not answer is tried "
			"again.",
		.guide = "A-84",
		.reason = "where it is written, it is both recovery timers, "
			"unless those are written too; they stand in for the "
			"phones' 120 s",
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
		.deftext = "the recovery timers",
		.does = "How long a server that did not answer is avoided.",
		.guide = "6-13, A-240",
		.reason = "where it is written and not 0, it is the longest "
			"such wait, unless `sip recovery max timer` or `sip "
			"registration timeout retry timer` is written too; a "
			"server that answers a probe is used sooner",
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
	},
	[K_AS_FEATURE_EVENT_PERIOD] = {
		.name = "sip as-feature-event subscription period",
		NUMBER(AA_SCOPE_GLOBAL, "s", 0, INT31, 3600),
		.does = "The expiry to ask for of feature states.",
		.guide = "6-13",
	},

	/* Transport */

	[K_OUTBOUND_SUPPORT] = {
		.name = "sip outbound support",
		BOOL(AA_SCOPE_BOTH, 0),
		.line_beyond = true,
		.deftext = "1 with a backup from baresip's own files, else 0",
		.reason = "without a backup, an account with "
			"`sipnat=outbound` has 1 as well",
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
		.does = "One TLS connection for everything, with keep-alives.",
		.guide = "6-17",
		.reason = "there is one connection to each server in any "
			"case; 1 lets `sip persistent tls keep alive` count",
	},
	[K_PERSISTENT_TLS_KEEPALIVE] = {
		.name = "sip persistent tls keep alive",
		NUMBER(AA_SCOPE_GLOBAL, "s", 0, INT31, 0),
		.does = "Interval of keep-alives on that connection.",
		.guide = "6-17",
		.reason = "with `sips persistent tls: 1`, TLS and a value "
			"above 0: the flow is kept, and this is `sip outbound "
			"keepalive timer` (840 s at most), unless `sip "
			"outbound support` or that key is written too",
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
		.deftext = "baresip's `sip_listen`, else 0",
		.reason = "1: from `sip local port`; 0, and as on the phones "
			"wherever a backup is configured: from a free port, "
			"which libre listens on as well, and `sip local port` "
			"is listened on beside it; for all lines alike, read "
			"at start; a port in `sip_listen` wins",
	},
	[K_RPORT] = {
		.name = "sip rport",
		BOOL(AA_SCOPE_GLOBAL, 0),
		.does = "Ask for answers to the port that was sent from "
			"(RFC 3581).",
		.guide = "4-61 (R3.2.2)",
		.reason = "libre always asks for it; 1 keeps UDP symmetric "
			"where a backup is configured too, read at start",
	},
	[K_CONTACT_MATCHING] = {
		.name = "sip contact matching",
		CHOICE(AA_SCOPE_GLOBAL, "0, 1, 2, 3", "2"),
		.does = "How the own Contact is found in an answer: 0 user, "
			"host, port and transport, 1 host, 2 user, 3 host and "
			"user.",
		.guide = "4-61, A-60",
		.reason = "the parameter `flow` of the own Contact has to "
			"match too; without a match the Expires header counts",
	},
	[K_WHITELIST] = {
		.name = "sip whitelist",
		BOOL(AA_SCOPE_GLOBAL, 0),
		.does = "Calls to a line are taken from the lines' servers "
			"only, backups as well; others get 403.",
		.guide = "A-240",
	},
	[K_LOCAL_PORT] = {
		.name = "sip local port",
		TEXT(AA_SCOPE_GLOBAL, AA_TYPE_PORT),
		.max = 65535, .def = 5060,
		.deftext = "baresip's `sip_listen`, else 5060 where UDP is "
			"symmetric",
		.does = "The port for UDP and TCP.",
		.guide = "Appendix A",
		.reason = "listened on; UDP is sent from it as `sip symmetric "
			"udp signaling` says; TCP connections come from free "
			"ports; read at start; a port in `sip_listen` wins",
	},
	[K_LOCAL_TLS_PORT] = {
		.name = "sip local tls port",
		TEXT(AA_SCOPE_GLOBAL, AA_TYPE_PORT),
		.max = 65535, .def = 5061,
		.does = "The port for TLS.",
		.guide = "Appendix A",
		IGNORED("baresip listens for TLS on the port above "
			"`sip local port`"),
	},
	[K_TRUSTED_CERTS] = {
		.name = "sips trusted certificates",
		TEXT(AA_SCOPE_GLOBAL, AA_TYPE_TEXT),
		.deftext = "baresip's `sip_cafile`",
		.does = "The file with the authorities for TLS, relative to "
			"the folder of baresip's config; read at start.",
		.guide = "6-17",
	},
	[K_ROOT_CERTS] = {
		.name = "sips root and intermediate certificates",
		TEXT(AA_SCOPE_GLOBAL, AA_TYPE_TEXT),
		.does = "The file with the certificates above the phone's "
			"own (PEM), relative to the folder of baresip's "
			"config; read at start.",
		.guide = "6-17",
	},
	[K_LOCAL_CERT] = {
		.name = "sips local certificate",
		TEXT(AA_SCOPE_GLOBAL, AA_TYPE_TEXT),
		.does = "The file with the phone's own certificate (PEM), "
			"shown to TLS servers that ask for one; relative and "
			"read as above.",
		.guide = "6-17",
		.reason = "whoever connects to the phone is shown that of "
			"`sip_certificate` in baresip's config",
	},
	[K_PRIVATE_KEY] = {
		.name = "sips private key",
		TEXT(AA_SCOPE_GLOBAL, AA_TYPE_TEXT),
		.does = "The file with the key of that certificate (PEM, "
			"without a password); relative and read as above.",
		.deftext = "the file of the certificate",
		.guide = "6-17",
	},
	[K_SEND_MAC] = {
		.name = "sip send mac",
		BOOL(AA_SCOPE_GLOBAL, 0),
		.does = "REGISTER carries the phone's MAC, `Aastra-Mac: "
			"00085D1610DE`.",
		.guide = "3-53, 4-87",
		.reason = "the MAC is that of `aastra_cfg_mac`",
	},
	[K_SEND_LINE] = {
		.name = "sip send line",
		BOOL(AA_SCOPE_GLOBAL, 0),
		.does = "REGISTER carries the line's number, `Aastra-Line: 1`.",
		.guide = "3-53, 4-87",
	},
	[K_DNS_QUERY_TYPE] = {
		.name = "sip dns query type",
		CHOICE(AA_SCOPE_GLOBAL, "0, 1, 2", "1"),
		.does = "0 A, 1 SRV then A, 2 NAPTR, SRV, A; a port that is "
			"not 0 makes it A alone.",
		.guide = "6-29",
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
		.reason = "no effect where `sip outbound support` is 0, and "
			"the log says so",
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
		.reason = "no effect where `sip outbound support` is 0, and "
			"the log says so",
	},
	[K_FAILBACK_SUCCESSES] = {
		.name = "sip failback successes",
		NUMBER(AA_SCOPE_BOTH, "", 1, 10, 1),
		.beyond = true,
		.does = "Good probes in a row before a line goes back.",
		.guide = "",
		.reason = "no effect where `sip outbound support` is 0, and "
			"the log says so",
	},
	[K_STANDBY] = {
		.name = "sip outbound standby",
		CHOICE(AA_SCOPE_BOTH, "0, 1, 2", "0"),
		.beyond = true,
		.does = "0 the backup is touched only when needed, 1 its "
			"connection is kept ready, 2 it is registered all "
			"along (RFC 5626 multiple flows): calls come in over "
			"both.",
		.guide = "",
		.reason = "1 has no effect where `sip outbound support` is 0, "
			"and the log says so",
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

	[K_REGISTRATION_RATE] = {
		.name = "sip registration rate",
		NUMBER(AA_SCOPE_GLOBAL, "1/s", 1, 1000, 50),
		.beyond = true,
		.does = "REGISTER exchanges of all lines per second, moves "
			"and refreshes together; the first 10 go at once, and "
			"lines with a call never wait. What is taken back "
			"is not counted.",
		.guide = "",
	},
	[K_SUBSCRIPTION_RATE] = {
		.name = "sip subscription rate",
		NUMBER(AA_SCOPE_GLOBAL, "1/s", 1, 1000, 50),
		.beyond = true,
		.does = "SUBSCRIBE requests of a line per second; those of "
			"one second, 50 at most, go at once.",
		.guide = "",
		.reason = "a reload leaves lines alone where only this "
			"changed",
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
		.does = "The folder of the same files on a server, "
			"`https://user:password@host/folder/`; fetched at "
			"start and at each reload.",
		.guide = "",
		.reason = "a file from there counts more than the one of the "
			"same kind in the folder; the last good copy is used "
			"at start and while the server is away; the server is "
			"verified by `sip_cafile` and the system's authorities",
	},
	[K_HTTP_LISTEN] = {
		.name = "aastra_http_listen",
		TEXT(AA_SCOPE_GLOBAL, AA_TYPE_LISTEN),
		.deftext = "off",
		.beyond = true, .baresip_only = true,
		.does = "Where the status page and the metrics are served; a "
			"port alone means that of 127.0.0.1.",
		.guide = "",
	},
	[K_HTTP_TOKEN] = {
		.name = "aastra_http_token",
		TEXT(AA_SCOPE_GLOBAL, AA_TYPE_TEXT),
		.deftext = "loopback needs none, others that of the file "
			"aastra_http_token",
		.secret = true,
		.beyond = true, .baresip_only = true,
		.does = "What one has to know to see the page and to use it, "
			"8 characters at least.",
		.guide = "",
	},
};


/* the address keys by role and rank, each with its port behind it */
const enum aa_key_id aa_server_key[AA_ROLE_COUNT][AA_RANK_COUNT] = {
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
	return i < KEY_COUNT ? &aa_keyv[i] : NULL;
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
