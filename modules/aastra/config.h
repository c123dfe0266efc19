/**
 * @file config.h  Configuration: typed settings of a line
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_CONFIG_H
#define AASTRA_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>
#include <string.h>
#include "policy.h"
#include "key.h"

struct re_printf;
struct aa_progkeys;
struct aa_config;


/** A server as the administrator wrote it */
struct aa_server {
	char host[256];         /**< name or address, empty: not configured;
				     an IPv6 address is without brackets    */
	uint16_t port;          /**< 0: not given (SRV for a name, else the
				     transport's default, guide 4-61)       */
};

/** `sip transport protocol`, with "not said" apart */
enum aa_transport {
	AA_TRANSPORT_UNSET = -1, /**< follow the account                    */
	AA_TRANSPORT_ANY   = 0,  /**< UDP and TCP                           */
	AA_TRANSPORT_UDP   = 1,
	AA_TRANSPORT_TCP   = 2,
	AA_TRANSPORT_TLS   = 4
};

/** What an entry of baresip's accounts file says, where no key does */
struct aa_account_facts {
	const char *user;       /**< user part of the AOR                   */
	struct aa_server domain;     /**< host and port of the AOR          */
	struct aa_server outbound;   /**< first outbound proxy, if any      */
	enum aa_transport transport; /**< from the AOR or outbound, or UNSET */
	uint32_t regint;        /**< registration interval [s]              */
	bool flows;             /**< `sipnat=outbound` (RFC 5626)           */
	bool second;            /**< there is a second outbound proxy       */
};

/** Typed settings of one line, every default filled in */
struct aa_line_config {
	uint32_t line;          /**< 1..                                    */

	/* identity; empty where the account says it */
	char user_name[128];
	char auth_name[128];
	char password[128];
	char display_name[128];
	char screen_name[128];

	/* servers by role and rank (index AA_RANK_PRIMARY, _BACKUP) */
	struct aa_server server[AA_ROLE_COUNT][AA_RANK_COUNT];
	enum aa_scenario scenario;
	enum aa_transport transport;

	bool outbound;                  /**< `sip outbound support`         */
	bool from_files;                /**< network keys come from *.cfg   */
	bool registers;                 /**< false: no registrar, 0.0.0.0   */
	uint32_t registration_period;   /**< [s], 0: the account's regint   */
	uint32_t registration_retry;    /**< [s], after a rejection         */
	uint32_t registration_timeout_retry; /**< [s], after a time-out     */
	uint32_t registration_renewal;  /**< [s] before expiry              */
	uint32_t contact_matching;      /**< 0-3, guide A-60                */
	char mac[16];                   /**< REGISTER says it, empty: not   */
	bool send_line;                 /**< REGISTER says the line         */
	uint32_t transaction_timer;     /**< [ms] 500-64000                 */
	uint32_t keepalive_timer;       /**< [s] 1-840                      */
	uint32_t recovery_base;         /**< [s] 1-1800                     */
	uint32_t recovery_max;          /**< [s] 1-86400                    */
	uint32_t failback_delay;        /**< [s] 0-86400                    */
	uint32_t failback_successes;    /**< 1-10                           */
	uint32_t standby;               /**< 0-2                            */
	uint32_t dns_query_type;        /**< 0-2                            */
	enum aa_failback failback;
	bool call_failover;

	/* subscriptions */
	bool explicit_mwi;
	uint32_t explicit_mwi_period;   /**< [s]                            */
	uint32_t blf_period;            /**< [s]                            */
	bool as_feature_event;
	uint32_t as_feature_event_period; /**< [s]                          */
	uint32_t progkeys;              /**< hash of the busy lamps on keys */
	uint32_t subscription_timeout_retry; /**< [s] 1-3600, 0: our own    */
	uint32_t subscription_failed_retry;  /**< [s] 1-3600, 0: our own    */
	uint32_t subscription_rate;     /**< [1/s] 1-1000                   */
	char subscribe[4096];           /**< `event uri, event uri`; last,
					     see aa_line_config_size()      */
};

/**
 * How much of a line's settings holds anything: the room behind the text of
 * the last member is for reading them, and need not be kept with every line
 *
 * @param lc Settings
 *
 * @return Bytes from the beginning of the structure on
 */
static inline size_t aa_line_config_size(const struct aa_line_config *lc)
{
	return offsetof(struct aa_line_config, subscribe) +
		strlen(lc->subscribe) + 1;
}

/** Kinds of findings while reading */
enum aa_config_level {
	AA_CONFIG_INFO,         /**< worth knowing                          */
	AA_CONFIG_WARN          /**< something is not as it was written     */
};

/**
 * One finding, already formatted: "FILE:LINE: key 'KEY': what and what now".
 * Never holds a secret.
 */
typedef void (aa_config_msg_h)(enum aa_config_level level, const char *text,
			       void *arg);


/** Layers of configuration, the later one wins */
enum aa_config_layer {
	AA_LAYER_AASTRA = 0,    /**< aastra.cfg, or startup.cfg             */
	AA_LAYER_MODEL,         /**< <model>.cfg                            */
	AA_LAYER_MAC,           /**< <MAC>.cfg                              */
	AA_LAYER_BARESIP,       /**< baresip's config                       */
	AA_LAYER_COUNT
};

/** The bytes of one file */
struct aa_config_text {
	enum aa_config_layer layer;
	const char *name;       /**< for findings                           */
	const char *buf;
	size_t len;
};


/** Files of the phone that came by HTTP */
struct aa_config_fetched {
	const char *url;        /**< the folder; may hold a password        */
	struct aa_config_text textv[AA_LAYER_COUNT];
	size_t textc;
};


int  aa_config_alloc_text(struct aa_config **cfgp,
			  const struct aa_config_text *textv, size_t textc,
			  aa_config_msg_h *msgh, void *arg);
int  aa_config_status(const struct aa_config *cfg);
bool aa_config_describes_line(const struct aa_config *cfg, uint32_t line);
uint32_t aa_config_u32(const struct aa_config *cfg, uint32_t line,
		       const char *key);
void aa_config_check_line(struct aa_config *cfg, uint32_t line,
			  const struct aa_account_facts *facts);
void aa_config_check_lines(struct aa_config *cfg, uint32_t nlines);
bool aa_config_mac(const struct aa_config *cfg, char *mac, size_t sz);

int  aa_config_alloc(struct aa_config **cfgp, const char *conf_path,
		     const struct aa_config_fetched *fetched,
		     aa_config_msg_h *msgh, void *arg);
bool aa_config_has_backup(const struct aa_config *cfg);
uint32_t aa_config_keys(const struct aa_config *cfg, const char *name);
const struct aa_progkeys *aa_config_progkeys(const struct aa_config *cfg);
uint32_t aa_config_max_line(const struct aa_config *cfg);
bool aa_config_names_line(const struct aa_config *cfg, uint32_t line);
int  aa_config_line(const struct aa_config *cfg, uint32_t line,
		    const struct aa_account_facts *facts,
		    struct aa_line_config *lc);
int  aa_config_print(struct re_printf *pf, const struct aa_config *cfg,
		     uint32_t line, const struct aa_account_facts *facts);
const char *aa_config_str(const struct aa_config *cfg, uint32_t line,
			  const char *key);
const char *aa_config_lost(const struct aa_config *old,
			   const struct aa_config *cfg);
uint32_t aa_config_next_line(const struct aa_config *cfg, uint32_t line);
bool aa_line_config_equal(const struct aa_line_config *a,
			  const struct aa_line_config *b);
bool aa_line_config_same_identity(const struct aa_line_config *a,
				  const struct aa_line_config *b);
int  aa_line_config_print_changes(struct re_printf *pf,
				  const struct aa_line_config *a,
				  const struct aa_line_config *b);

#endif
