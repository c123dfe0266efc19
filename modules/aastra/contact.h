/**
 * @file contact.h  Presence of baresip's contacts
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_CONTACT_H
#define AASTRA_CONTACT_H

struct aa_subs;
struct aa_sub_info;

/** Gives the subscriptions that contacts are watched with, NULL for none */
typedef struct aa_subs *(aa_contact_subs_h)(void);


void aa_contact_watch(aa_contact_subs_h *h);
void aa_contact_value(const struct aa_sub_info *si);
void aa_contact_close(void);

#endif
