/**
 * @file key.h  The Aastra keys: one table
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_KEY_H
#define AASTRA_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "policy.h"


/** The keys, in the order of the table; an address has its port behind it */
enum aa_key_id {
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
	K_REGISTRATION_RATE,
	K_SUBSCRIPTION_RATE,

	K_CFG_PATH,
	K_CFG_MODEL,
	K_CFG_MAC,
	K_CFG_URL,
	K_HTTP_LISTEN,
	K_HTTP_TOKEN,

	KEY_COUNT
};

/** Where a key may stand */
enum aa_key_scope {
	AA_SCOPE_GLOBAL = 1,    /**< `sip transaction timer`                */
	AA_SCOPE_LINE   = 2,    /**< `sip line1 subscribe`                  */
	AA_SCOPE_BOTH   = 3
};

/** The sets of the guides, page 4-57: a line has its own or the global one */
enum aa_key_set {
	AA_SET_NONE = 0,        /**< each key alone                         */
	AA_SET_AUTH,            /**< Authentication set                     */
	AA_SET_NETWORK,         /**< Network set                            */
	AA_SET_COUNT
};

/** What a value may be */
enum aa_key_type {
	AA_TYPE_ADDRESS = 0,    /**< IP address or name; 0.0.0.0: none      */
	AA_TYPE_PORT,           /**< 0-65535; 0: not given                  */
	AA_TYPE_NUMBER,         /**< min-max, out of range: nearest bound   */
	AA_TYPE_BOOL,           /**< 0 or 1                                 */
	AA_TYPE_CHOICE,         /**< one of `values`                        */
	AA_TYPE_TEXT,           /**< free text, 127 bytes                   */
	AA_TYPE_USER,           /**< user part of a SIP URI, 127 bytes      */
	AA_TYPE_SUBSCRIBE,      /**< `event uri, event uri`                 */
	AA_TYPE_PATH,           /**< file or folder                         */
	AA_TYPE_FILENAME,       /**< a name without folder                  */
	AA_TYPE_MAC,            /**< 12 hex digits                          */
	AA_TYPE_URL,            /**< http:// or https://                    */
	AA_TYPE_LISTEN,         /**< address:port, or a port of loopback    */
	AA_TYPE_COUNT
};

/** Does a key work here? */
enum aa_key_state {
	AA_KEY_WORKS = 0,
	AA_KEY_IGNORED          /**< known, read, checked, and not used     */
};

/** One key, as the table in config.c describes it */
struct aa_key {
	const char *name;        /**< global spelling, `sip proxy ip`       */
	enum aa_key_scope scope;
	enum aa_key_set set;
	enum aa_key_type type;
	const char *unit;        /**< "s", "ms" or ""                       */
	uint32_t min;            /**< of a number                           */
	uint32_t max;
	uint32_t def;            /**< of a number, bool or port             */
	const char *deftext;     /**< default in words, NULL: def, or none  */
	const char *values;      /**< of a choice: `auto, idle, manual`     */
	bool secret;             /**< never printed                         */
	bool zero;               /**< a number may be 0 beside min-max      */
	bool beyond;             /**< the guides do not have this key       */
	bool line_beyond;        /**< the guides have it only globally      */
	bool baresip_only;       /**< only in baresip's config              */
	const char *does;        /**< what it does, one sentence            */
	const char *guide;       /**< page or chapter of the guides, or ""  */
	enum aa_key_state state;
	const char *reason;      /**< why it is ignored, or a remark; NULL  */
};


extern const struct aa_key aa_keyv[KEY_COUNT];
extern const enum aa_key_id aa_server_key[AA_ROLE_COUNT][AA_RANK_COUNT];


size_t aa_config_key_count(void);
const struct aa_key *aa_config_key_at(size_t i);
const char *aa_key_type_name(enum aa_key_type type);

#endif
