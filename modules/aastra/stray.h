/**
 * @file stray.h  Farewells that may outlive the line that sent them
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_STRAY_H
#define AASTRA_STRAY_H

/** A farewell that was not answered when its line was gone */
struct aa_stray {
	struct le le;
	char *aor;              /**< the line's                             */
	struct pl user;         /**< of that                                */
	unsigned regid;         /**< what it removes (RFC 5626 4.2)         */
	enum aa_rank use[AA_ROLE_COUNT]; /**< the servers it was for        */
	uint64_t until;         /**< may arrive till then, aa_now_ms()      */
};


int  aa_stray_add(struct aa_stray **strayp, struct list *strayl,
		  const char *aor, unsigned regid,
		  const enum aa_rank *use, uint64_t until);
void aa_stray_answered(struct aa_stray *s, uint64_t before);
void aa_stray_drop(struct aa_stray *s);
bool aa_stray_is(const struct aa_stray *s, const struct pl *user);
int  aa_stray_save(struct list *strayl, const char *path);
void aa_stray_load(struct list *strayl, const char *path);

#endif
