/**
 * @file account.h  baresip's side of a line
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_ACCOUNT_H
#define AASTRA_ACCOUNT_H

struct aa_account;

/** What a line tells baresip about its registration */
struct aa_account_state {
	bool up;                /**< the line is in service                 */
	uint16_t scode;         /**< why not, 503 if unknown                */
	char reason[128];       /**< why not, for people                    */
	char server[128];       /**< who has the binding                    */
	uint32_t expires;       /**< for how long [s]                       */
};


int  aa_account_adopt(struct aa_account **accp, struct ua *ua);
int  aa_account_identity_set(struct aa_account *acc, const char *user,
			     const char *pass, const char *name);
void aa_account_release(struct aa_account *acc);
void aa_account_rest(struct aa_account *acc);
void aa_account_end(struct aa_account *acc, const struct ua *dying);

bool aa_account_owns(const struct aa_account *acc, const struct ua *ua);
struct ua *aa_account_shown(const struct aa_account *acc);
struct account *aa_account_prim(const struct aa_account *acc);

int  aa_account_ua(struct aa_account *acc, const char *host, uint16_t port,
		   struct ua **uap);
int  aa_account_show(struct aa_account *acc, const char *host,
		     uint16_t port);
int  aa_account_publish(struct aa_account *acc,
			const struct aa_account_state *st, const char *route);
void aa_account_route(struct aa_account *acc, const char *route);
void aa_account_redirect(struct aa_account *acc, struct ua *ua);
bool aa_account_publishing(const struct aa_account *acc);
void aa_account_settle(struct aa_account *acc);
bool aa_account_answer(struct aa_account *acc, const struct sip_msg *msg,
		       const struct sip_addr *contact);
const struct ua *aa_account_hidden_match(const struct aa_account *acc,
					 const struct pl *cuser);

bool aa_account_has_cuser(const struct aa_account *acc,
			  const struct pl *cuser);
void aa_account_call_seen(struct aa_account *acc, const struct ua *ua);
bool aa_account_calls(const struct aa_account *acc);
int  aa_account_auth(const struct aa_account *acc, char **user, char **pass);

#endif
