/**
 * @file flow.h  One monitored next hop
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_FLOW_H
#define AASTRA_FLOW_H

struct aa_flow;
struct aa_flow_user;

/** State of a flow, as `aastra_state` names it */
enum aa_flow_state {
	AA_FLOW_IDLE = 0,       /**< nobody wants it                        */
	AA_FLOW_CONNECTING,     /**< opened, no answer yet                  */
	AA_FLOW_UP,             /**< answers                                */
	AA_FLOW_DOWN            /**< failed; tried again in the background  */
};

/** How a flow is kept and checked */
enum aa_keepalive {
	AA_KEEPALIVE_NONE = 0,  /**< not at all                             */
	AA_KEEPALIVE_CRLF,      /**< RFC 5626 4.4.1, reliable transports    */
	AA_KEEPALIVE_STUN,      /**< RFC 5626 4.4.2, UDP                    */
	AA_KEEPALIVE_OPTIONS    /**< a SIP request                          */
};

/** Parameters of a flow */
struct aa_flow_prm {
	enum sip_transp tp;     /**< transport                              */
	const char *host;       /**< name or address                        */
	uint16_t port;          /**< port, 0 for the transport's default    */
	struct aa_flow *via;    /**< the server is behind this proxy, and is
				     judged by what answers through it; NULL:
				     it is the next hop itself              */
	struct dnsc *dnsc;      /**< asked for names, may be NULL           */
	unsigned query_type;    /**< `sip dns query type`                   */
	bool keep;              /**< keep and check it (outbound support)   */
	uint32_t transaction;   /**< no answer for so long = failed [ms]    */
	uint32_t keepalive;     /**< how often it is checked [s]            */
	uint32_t base;          /**< first wait after a failure [s]         */
	uint32_t max;           /**< longest such wait [s]                  */
};

/**
 * A flow changed, or proved good once more.  The handler only records:
 * it is called from within libre and must not end requests.
 */
typedef void (aa_flow_h)(struct aa_flow *flow, void *arg);


int  aa_flow_attach(struct aa_flow_user **userp, struct list *flowl,
		    struct sip *sip, const struct aa_flow_prm *prm,
		    aa_flow_h *h, void *arg);
void aa_flow_want(struct aa_flow_user *user, bool want);
void aa_flow_user_take(struct aa_flow_user *user, aa_flow_h *h, void *arg);
struct aa_flow *aa_flow_user_flow(const struct aa_flow_user *user);

void aa_flow_seen(struct aa_flow *flow, const struct sip_msg *msg);
void aa_flow_fail(struct aa_flow *flow, const char *reason,
		  uint32_t retry_after);
void aa_flow_check(struct aa_flow *flow);
void aa_flow_listen(struct aa_flow *flow);
void aa_flow_probe(struct aa_flow *flow);
void aa_flow_reset(struct aa_flow *flow);
void aa_flow_know(struct aa_flow *flow);
uint64_t aa_flow_turn(const struct aa_flow *flow);
bool aa_flow_ready(const struct aa_flow *flow);
const char *aa_flow_name(const struct aa_flow *flow);
bool aa_flow_named(const struct aa_flow *flow);
struct aa_conn *aa_flow_conn(struct aa_flow *flow);

enum aa_flow_state aa_flow_state(const struct aa_flow *flow);
const char *aa_flow_state_name(enum aa_flow_state state);
enum aa_keepalive aa_flow_keepalive(const struct aa_flow *flow);
const char *aa_keepalive_name(enum aa_keepalive ka);
const char *aa_flow_uri(const struct aa_flow *flow);
const char *aa_flow_reason(const struct aa_flow *flow);
const char *aa_flow_by(const struct aa_flow *flow);
uint32_t aa_flow_detect(const struct aa_flow *flow);
uint32_t aa_flow_rtt(const struct aa_flow *flow);
uint32_t aa_flow_failures(const struct aa_flow *flow);
uint32_t aa_flow_successes(const struct aa_flow *flow);
uint32_t aa_flow_probes(const struct aa_flow *flow);
uint64_t aa_flow_since(const struct aa_flow *flow);
uint64_t aa_flow_retry_in(const struct aa_flow *flow);
uint64_t aa_flow_generation(const struct aa_flow *flow);
bool aa_flow_behind(const struct aa_flow *flow);
struct aa_flow *aa_flow_to(const struct list *flowl, const struct sa *sa);
bool aa_flow_is_server(const struct list *flowl, const struct sa *sa);
size_t aa_flow_tls_names(const struct list *flowl, const struct sa *sa,
			 const char **namev, size_t max);
bool aa_flow_kept(const struct aa_flow *flow);

#endif
