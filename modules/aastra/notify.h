/**
 * @file notify.h  What the bodies of NOTIFY requests say
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_NOTIFY_H
#define AASTRA_NOTIFY_H

struct aa_notify;

enum {
	AA_NOTIFY_BODY_MAX = 65536      /**< bytes of a body                */
};

/** One resource: that of the subscription, or a member of its list */
struct aa_notify_res {
	const char *uri;        /**< of a member; "" for the subscription's */
	const char *name;       /**< of a member, for people; may be ""     */
	const char *value;      /**< what the lamp shows; "" if nothing was
				     told yet, "unknown" if just that was   */
	const char *note;       /**< presence: the user's words; may be ""  */
};

/** Message counts of RFC 3842: new and old, and of those the urgent ones */
struct aa_notify_mwi {
	bool waiting;
	bool counted;           /**< the counts were given                  */
	uint32_t newm;
	uint32_t oldm;
	uint32_t newu;
	uint32_t oldu;
};

typedef bool (aa_notify_res_h)(const struct aa_notify_res *res, void *arg);


int  aa_notify_alloc(struct aa_notify **np, const char *event);
int  aa_notify_decode(struct aa_notify *n, const struct pl *ctype,
		      const struct pl *body);
const char *aa_notify_value(const struct aa_notify *n);
const char *aa_notify_note(const struct aa_notify *n);
bool aa_notify_is_list(const struct aa_notify *n);
bool aa_notify_gap(const struct aa_notify *n);
bool aa_notify_mwi(const struct aa_notify *n, struct aa_notify_mwi *mwi);
bool aa_notify_apply(const struct aa_notify *n, aa_notify_res_h *h,
		     void *arg);
const char *aa_notify_accept(const char *event);
bool aa_notify_listable(const char *event);

#endif
