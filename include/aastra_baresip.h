/**
 * @file aastra_baresip.h  What the module uses of baresip
 *
 * Debian packages baresip without its header.  This file declares, in our
 * own words, the functions of baresip 1.0.0 and 1.1.0 that the module calls.
 * Every type is opaque but the two that a command needs.  Where a real
 * baresip.h is installed (HAVE_BARESIP_H) that one is used instead.
 *
 * test/check_symbols.py compares it with what the installed baresip exports.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_BARESIP_H
#define AASTRA_BARESIP_H

#ifdef HAVE_BARESIP_H
#include <baresip.h>
#else

#ifdef __cplusplus
extern "C" {
#endif

struct account;
struct call;
struct commands;
struct contact;
struct contacts;
struct network;
struct ua;

/** Numbers differ between versions: they are learnt by name at run time */
enum ua_event {
	AASTRA_UA_EVENT_FIRST = 0,
	AASTRA_UA_EVENT_LAST  = 255
};

/** Numbers are the same in all versions */
enum presence_status {
	PRESENCE_UNKNOWN = 0,
	PRESENCE_OPEN,
	PRESENCE_CLOSED,
	PRESENCE_BUSY
};

typedef void (contact_update_h)(struct contact *c, bool removed, void *arg);

/** Numbers are the same in 1.0.0 and 1.1.0 */
enum answermode {
	AASTRA_ANSWERMODE_MANUAL = 0,
	AASTRA_ANSWERMODE_LAST   = 255
};

/** Numbers are the same in 1.0.0 and 1.1.0 */
enum call_state {
	CALL_STATE_IDLE = 0,
	CALL_STATE_INCOMING,
	CALL_STATE_OUTGOING,
	CALL_STATE_RINGING,
	CALL_STATE_EARLY,
	CALL_STATE_ESTABLISHED,
	CALL_STATE_TERMINATED,
	CALL_STATE_UNKNOWN
};

/** Numbers are the same in 1.0.0 and 1.1.0 */
enum vidmode {
	VIDMODE_OFF = 0,
	VIDMODE_ON
};

typedef void (ua_event_h)(struct ua *ua, enum ua_event ev,
			  struct call *call, const char *prm, void *arg);

/** The symbol by which baresip finds a module */
#ifdef STATIC
#define DECL_EXPORTS(name) exports_ ##name
#else
#define DECL_EXPORTS(name) exports
#endif

/** Flag of a command that takes a parameter */
enum {
	CMD_PRM = 1
};

/** Arguments that a command handler gets */
struct cmd_arg {
	char key;
	char *prm;
	void *data;
};

/** A command as it is registered */
struct cmd {
	const char *name;
	char key;
	int flags;
	const char *desc;
	re_printf_h *h;
};


/* log */
void debug(const char *fmt, ...);
void info(const char *fmt, ...);
void warning(const char *fmt, ...);

/* configuration, network, commands */
int conf_path_get(char *path, size_t sz);
struct conf *conf_cur(void);
struct network *baresip_network(void);
bool net_check(struct network *net);
struct dnsc *net_dnsc(const struct network *net);
struct commands *baresip_commands(void);
int cmd_register(struct commands *commands, const struct cmd *cmdv,
		 size_t cmdc);
void cmd_unregister(struct commands *commands, const struct cmd *cmdv);

/* account */
int account_set_auth_user(struct account *acc, const char *user);
int account_set_auth_pass(struct account *acc, const char *pass);
int account_set_outbound(struct account *acc, const char *ob, unsigned ix);
int account_set_sipnat(struct account *acc, const char *sipnat);
int account_set_regint(struct account *acc, uint32_t regint);
int account_set_answermode(struct account *acc, enum answermode mode);
int account_set_mwi(struct account *acc, const char *value);
int account_set_display_name(struct account *acc, const char *dname);
struct sip_addr *account_laddr(const struct account *acc);
struct uri *account_luri(const struct account *acc);
uint32_t account_regint(const struct account *acc);
enum answermode account_answermode(const struct account *acc);
const char *account_display_name(const struct account *acc);
const char *account_aor(const struct account *acc);
const char *account_auth_user(const struct account *acc);
const char *account_auth_pass(const struct account *acc);
const char *account_outbound(const struct account *acc, unsigned ix);
const char *account_sipnat(const struct account *acc);

/* contacts */
struct contacts *baresip_contacts(void);
struct list *contact_list(const struct contacts *contacts);
struct sip_addr *contact_addr(const struct contact *c);
const char *contact_uri(const struct contact *c);
void contact_set_presence(struct contact *c, enum presence_status status);
void contact_set_update_handler(struct contacts *contacts,
				contact_update_h *updateh, void *arg);
void contacts_enable_presence(struct contacts *contacts, bool enabled);

/* call */
const char *call_id(const struct call *call);
bool call_is_outgoing(const struct call *call);
enum call_state call_state(const struct call *call);
const char *call_peeruri(const struct call *call);

/* user agent */
int ua_alloc(struct ua **uap, const char *aor);
int ua_update_account(struct ua *ua);
int ua_register(struct ua *ua);
void ua_unregister(struct ua *ua);
bool ua_isregistered(const struct ua *ua);
int ua_connect(struct ua *ua, struct call **callp, const char *from_uri,
	       const char *req_uri, enum vidmode vmode);
void ua_hangup(struct ua *ua, struct call *call, uint16_t scode,
	       const char *reason);
const char *ua_local_cuser(const struct ua *ua);
struct account *ua_account(const struct ua *ua);
struct list *ua_calls(const struct ua *ua);
void ua_event(struct ua *ua, enum ua_event ev, struct call *call,
	      const char *fmt, ...);

/* all user agents */
int uag_event_register(ua_event_h *h, void *arg);
void uag_event_unregister(ua_event_h *h);
const char *uag_event_str(enum ua_event ev);
struct sip *uag_sip(void);
int uag_reset_transp(bool reg, bool reinvite);
struct list *uag_list(void);

#if AASTRA_RE_VERSION >= 20000
/* baresip 1.1.0 with libre 2.0 */
void module_event(const char *module, const char *event, struct ua *ua,
		  struct call *call, const char *fmt, ...);
uint32_t account_prio(const struct account *acc);
struct ua *call_get_ua(const struct call *call);
#else
/* baresip 1.0.0 with libre 1.1 */
struct ua *uag_current(void);
void uag_current_set(struct ua *ua);
#endif

#ifdef __cplusplus
}
#endif

#endif /* HAVE_BARESIP_H */

#endif
