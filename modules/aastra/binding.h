/**
 * @file binding.h  One registration of one AOR at one registrar over one route
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_BINDING_H
#define AASTRA_BINDING_H

struct aa_binding;
struct aa_conn;

/** What happened to a binding */
enum aa_binding_event {
	AA_BINDING_OK,          /**< the registrar has it, or has it again  */
	AA_BINDING_FAILED,      /**< the server failed, or did not answer   */
	AA_BINDING_REJECTED,    /**< the server said no; another one would
				     say the same                           */
	AA_BINDING_GONE         /**< unregistered, or given up on           */
};

/**
 * Binding handler.  It only records: it is called from within libre.
 *
 * @param binding     Binding
 * @param ev          What happened
 * @param reason      Text for people
 * @param retry_after The server's wish [s], 0 for none
 * @param msg         SIP response, NULL if there is none
 * @param arg         Handler argument
 */
typedef void (aa_binding_h)(struct aa_binding *binding,
			    enum aa_binding_event ev, const char *reason,
			    uint32_t retry_after, const struct sip_msg *msg,
			    void *arg);

/**
 * Asked when a binding is to be refreshed, for there may be many of them
 *
 * @param left How long the registrar still has it [ms], 0: not any more
 * @param arg  Handler argument
 *
 * @return true if it may be, false if it waits for aa_binding_refresh()
 */
typedef bool (aa_binding_turn_h)(uint64_t left, void *arg);

/** Parameters of a binding */
struct aa_binding_prm {
	struct sip *sip;        /**< SIP stack                              */
	const char *registrar;  /**< Request-URI                            */
	const char *aor;        /**< To and From                            */
	const char *dispname;   /**< display name, may be NULL              */
	const char *cuser;      /**< user part of the Contact               */
	const char *instance;   /**< UUID of the phone, NULL: no outbound   */
	unsigned regid;         /**< tells paths apart, 1..; 0: a binding
				     that somebody else made, to be removed */
	uint32_t expires;       /**< wanted [s]                             */
	uint32_t renewal;       /**< refreshed so long before its end [s]   */
	uint32_t transaction;   /**< time-out of a request [ms]             */
	uint32_t matching;      /**< `sip contact matching`, 0-3            */
	const char *mac;        /**< of the phone, empty: not said          */
	uint32_t line;          /**< its number, 0: not said                */
	sip_auth_h *authh;      /**< asked for credentials                  */
	aa_binding_h *h;        /**< told what happens                      */
	aa_binding_turn_h *turnh; /**< asked when it may be refreshed, NULL:
				     whenever it is to be                   */
	void *arg;              /**< argument of all                        */
};


int  aa_binding_alloc(struct aa_binding **bp,
		      const struct aa_binding_prm *prm);
int  aa_binding_register(struct aa_binding *b);
void aa_binding_refresh(struct aa_binding *b);
int  aa_binding_unregister(struct aa_binding *b);
int  aa_binding_hop_set(struct aa_binding *b, const char *hop, bool route,
			struct aa_conn *conn);
int  aa_binding_auth_from(struct aa_binding *b,
			  const struct aa_binding *from);
void aa_binding_learn(struct aa_binding *b, const struct aa_binding *from,
		      const char *instance, const struct sip_msg *msg);
void aa_binding_owner_set(struct aa_binding *b, sip_auth_h *authh,
			  aa_binding_h *h, void *arg);
void aa_binding_conn_set(struct aa_binding *b, struct aa_conn *conn);
void aa_binding_halt(struct aa_binding *b);
int  aa_binding_farewell(struct aa_binding *b);

bool aa_binding_live(const struct aa_binding *b);
bool aa_binding_maybe(const struct aa_binding *b);
bool aa_binding_pending(const struct aa_binding *b);
bool aa_binding_leaving(const struct aa_binding *b);
unsigned aa_binding_regid(const struct aa_binding *b);
uint32_t aa_binding_expires(const struct aa_binding *b);
uint64_t aa_binding_until(const struct aa_binding *b);
const char *aa_binding_server(const struct aa_binding *b);
const char *aa_binding_realm(const struct aa_binding *b);
uint32_t aa_binding_requests(const struct aa_binding *b);

#endif
