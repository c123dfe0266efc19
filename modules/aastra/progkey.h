/**
 * @file progkey.h  Busy lamps on the keys of a phone
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_PROGKEY_H
#define AASTRA_PROGKEY_H

struct aa_progkeys;

/** A busy lamp, or a list of them, as a key was programmed */
struct aa_progkey {
	const char *name;       /**< of the key, "softkey3"; "list uri"     */
	const char *uri;        /**< whom to watch: user or URI             */
	const char *label;      /**< for people, may be ""                  */
	bool list;              /**< the URI is that of a list              */
};

typedef bool (aa_progkey_h)(const struct aa_progkey *key, void *arg);


int  aa_progkeys_alloc(struct aa_progkeys **pkp);
bool aa_progkeys_take(struct aa_progkeys *pk, const char *name,
		      const char *value);
uint32_t aa_progkeys_hash(const struct aa_progkeys *pk, uint32_t line);
bool aa_progkeys_apply(const struct aa_progkeys *pk, uint32_t line,
		       aa_progkey_h *h, void *arg);

#endif
