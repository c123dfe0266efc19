/**
 * @file subscription.h  The event subscriptions of a line
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_SUBSCRIPTION_H
#define AASTRA_SUBSCRIPTION_H

struct aa_subs;
struct aa_conn;

/** The path that subscriptions shall go over */
struct aa_subs_path {
	const char *aor;        /**< From: the AOR in force                 */
	const char *dispname;   /**< display name, may be NULL              */
	const char *domain;     /**< "host[:port]" that bare users live in  */
	const char *home;       /**< the same of the primary: a URI in it is
				     taken to `domain`; NULL: leave URIs    */
	const char *route;      /**< next hop, NULL: the Request-URI's      */
	const char *cuser;      /**< user part of the Contact               */
	enum sip_transp tp;     /**< transport                              */
	uint32_t transaction;   /**< time-out of a request [ms]             */
	struct aa_conn *conn;   /**< learns a connection it opens, or NULL  */
	uint64_t generation;    /**< of the flow: another connection is
				     another path                           */
	enum aa_rank rank;      /**< for the status                         */
	bool old_works;         /**< the old path still carries requests:
				     unsubscribe there, but only when the new
				     path has spoken (make-before-break)    */
};

/** State of a subscription, as `aastra_state` names it */
enum aa_sub_state {
	AA_SUB_PENDING = 0,
	AA_SUB_ACTIVE,
	AA_SUB_TERMINATED
};

/** One subscription, or one member of its list, for the status */
struct aa_sub_info {
	const char *event;
	const char *uri;        /**< as it is subscribed now                */
	const char *key;        /**< as it was asked for, "" for the own AOR */
	const char *value;      /**< what the lamp shows, "" if unknown     */
	const char *note;       /**< presence: the user's words, may be ""  */
	const char *label;      /**< of the key, may be ""                  */
	const char *error;      /**< latest refusal, "" if none             */
	enum aa_rank rank;
	enum aa_sub_state state;
	bool member;            /**< of the list before it                  */
	uint32_t failures;      /**< refusals one after another             */
	uint16_t scode;         /**< latest refusal, 0: no answer           */
	uint32_t retry_after;   /**< that came with it [s]                  */
	uint64_t retry_in;      /**< when it is tried again [ms], 0: not    */
};

/** What happened to a subscription */
enum aa_sub_event {
	AA_SUB_EV_STATE,        /**< its state changed (text: why)          */
	AA_SUB_EV_VALUE,        /**< its value changed                      */
	AA_SUB_EV_MWI,          /**< a message-summary body came (text)     */
	AA_SUB_EV_BODY,         /**< a body of another package came (text)  */
	AA_SUB_EV_MOVED,        /**< all are active on the new path (text:
				     what moved)                            */
	AA_SUB_EV_FAULT,        /**< the next hop may be dead (text)        */
	AA_SUB_EV_SETTLED       /**< nothing is left on an older path; no
				     subscription is named                  */
};

/** What to subscribe to */
struct aa_sub_prm {
	const char *event;      /**< event package                          */
	const char *uri;        /**< user, user@host or URI; NULL: own AOR  */
	const char *label;      /**< for people, may be NULL                */
	uint32_t period;        /**< expiry to ask for [s], 0: the line's   */
	bool settings;          /**< the line's settings ask for it         */
};

/**
 * Called when something happened to a subscription; it only records, or
 * emits an event
 */
typedef void (aa_subs_h)(enum aa_sub_event ev, const struct aa_sub_info *si,
			 const char *text, uint32_t took_ms, void *arg);

typedef bool (aa_subs_info_h)(const struct aa_sub_info *si, void *arg);


int  aa_subs_alloc(struct aa_subs **subsp, struct sip *sip,
		   const struct aa_line_config *cfg, sip_auth_h *authh,
		   aa_subs_h *h, void *arg);
int  aa_subs_add(struct aa_subs *subs, const char *event, const char *uri);
int  aa_subs_add_prm(struct aa_subs *subs, const struct aa_sub_prm *prm);
int  aa_subs_remove(struct aa_subs *subs, const char *event, const char *uri);
int  aa_subs_path_set(struct aa_subs *subs, const struct aa_subs_path *prm);
void aa_subs_inherit(struct aa_subs *subs, const struct aa_subs *old,
		      bool values);
void aa_subs_suspend(struct aa_subs *subs);
void aa_subs_end(struct aa_subs *subs, struct list *farewelll);
bool aa_subs_notify(struct aa_subs *subs, const struct sip_msg *msg);
bool aa_subs_leaving(const struct aa_subs *subs);
bool aa_subs_apply(const struct aa_subs *subs, aa_subs_info_h *h, void *arg);
const char *aa_sub_state_name(enum aa_sub_state state);

#endif
