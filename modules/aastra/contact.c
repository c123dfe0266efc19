/**
 * @file contact.c  Presence of baresip's contacts
 *
 * Contacts with `;presence=p2p` are watched, and baresip is told what they
 * are up to.  Where its own module presence.so is loaded, that is its job.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <re.h>
#include "aastra_baresip.h"
#include "config.h"
#include "subscription.h"
#include "contact.h"


static aa_contact_subs_h *subsh;


static bool is_watched(const struct contact *c)
{
	const struct sip_addr *addr = contact_addr(c);
	struct pl val;

	return addr && !msg_param_decode(&addr->params, "presence", &val) &&
		0 == pl_strcasecmp(&val, "p2p");
}


static void watch(const struct contact *c)
{
	struct aa_subs *subs = subsh ? subsh() : NULL;
	const char *uri = contact_uri(c);
	int err;

	if (!subs || !is_watched(c))
		return;

	err = aa_subs_add(subs, "presence", uri);
	if (err && err != EALREADY)
		warning("aastra: contact %s: no presence (%m)\n", uri, err);
}


static void update_handler(struct contact *c, bool removed, void *arg)
{
	(void)arg;

	if (!removed)
		watch(c);
	else if (subsh && is_watched(c))
		(void)aa_subs_remove(subsh(), "presence", contact_uri(c));
}


/**
 * Watch the contacts; call it when all modules are loaded, and as often as
 * you like
 *
 * @param h Gives the subscriptions to do it with
 */
void aa_contact_watch(aa_contact_subs_h *h)
{
	struct contacts *contacts = baresip_contacts();
	struct le *le;

	if (mod_find("presence.so")) {
		if (h && !subsh)
			info("aastra: presence of contacts is left to"
			     " presence.so: it does not follow the line\n");
		subsh = NULL;
		return;
	}

	if (!subsh) {
		contact_set_update_handler(contacts, update_handler, NULL);
		contacts_enable_presence(contacts, true);
	}

	subsh = h;

	for (le = list_head(contact_list(contacts)); le; le = le->next)
		watch(le->data);
}


static enum presence_status status_of(const char *value)
{
	if (0 == str_cmp(value, "open"))
		return PRESENCE_OPEN;
	if (0 == str_cmp(value, "busy"))
		return PRESENCE_BUSY;
	if (0 == str_cmp(value, "closed") || 0 == str_cmp(value, "away"))
		return PRESENCE_CLOSED;

	return PRESENCE_UNKNOWN;
}


/**
 * What a subscription shows has changed: tell baresip, if it is about one of
 * its contacts
 *
 * @param si Subscription
 */
void aa_contact_value(const struct aa_sub_info *si)
{
	struct le *le;

	if (!subsh || !si || str_casecmp(si->event, "presence"))
		return;

	for (le = list_head(contact_list(baresip_contacts())); le;
	     le = le->next) {
		struct contact *c = le->data;

		if (!is_watched(c) ||
		    (str_casecmp(contact_uri(c), si->key) &&
		     str_casecmp(contact_uri(c), si->uri)))
			continue;

		contact_set_presence(c, status_of(si->value));
	}
}


/** Watch nobody any more */
void aa_contact_close(void)
{
	if (subsh)
		contact_set_update_handler(baresip_contacts(), NULL, NULL);

	subsh = NULL;
}
