/**
 * @file stray.c  Farewells that may outlive the line that sent them
 *
 * A proxy that has taken a REGISTER says it again and again to a registrar that
 * does not answer, for as long as a transaction lasts (RFC 3261 17.1.2.2, Timer
 * F).  The line that sent it may have ended since then, and the phone may have
 * been restarted: if that begins with the same reg-id, the farewell of before
 * removes the binding of now, and the phone believes to be registered.  So it
 * is written down which farewells were not answered; who comes next uses other
 * reg-ids, and says them again.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <stdio.h>
#include <errno.h>
#include <unistd.h>
#include <re.h>
#include "compat.h"
#include "flow.h"
#include "line.h"
#include "replace.h"
#include "stray.h"


enum {
	TEXT_MAX   = 512,
	STRAYS_MAX = 4096,              /* of a phone                       */
	LEFT_MAX   = 3600 * 1000        /* longer is no transaction         */
};

static const char header[] = "# aastra.so: farewells not answered, version 1";


static void destructor(void *arg)
{
	struct aa_stray *s = arg;

	mem_deref(s->aor);
}


/* Those that are over */
static void prune(struct list *strayl)
{
	const uint64_t now = aa_now_ms();
	struct le *le = list_head(strayl);

	while (le) {
		struct aa_stray *s = le->data;

		le = le->next;
		if (s->until <= now)
			aa_stray_drop(s);
	}
}


static int stray_alloc(struct aa_stray **sp, const char *aor)
{
	struct aa_stray *s = mem_zalloc(sizeof(*s), destructor);
	struct uri uri;
	struct pl pl;
	int err;

	if (!s)
		return ENOMEM;

	err = str_dup(&s->aor, aor);
	if (err)
		goto out;

	pl_set_str(&pl, s->aor);
	err = uri_decode(&uri, &pl);
	if (err)
		goto out;

	s->user = uri.user;

 out:
	if (err)
		mem_deref(s);
	else
		*sp = s;

	return err;
}


/**
 * Note a farewell that is under way
 *
 * @param strayp Pointer to the note, for who learns that it was answered; NULL
 *               if nobody does
 * @param strayl List (struct aa_stray); it has a reference of its own
 * @param aor    AOR of the line
 * @param regid  reg-id that the farewell removes, 1..
 * @param use    Rank of each role
 * @param until  When it will not arrive any more, aa_now_ms()
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_stray_add(struct aa_stray **strayp, struct list *strayl,
		 const char *aor, unsigned regid,
		 const enum aa_rank *use, uint64_t until)
{
	struct aa_stray *s = NULL;
	struct le *le;
	int err;

	if (!strayl || !str_isset(aor) || !regid || !use)
		return EINVAL;

	prune(strayl);

	for (le = list_head(strayl); le; le = le->next) {
		struct aa_stray *other = le->data;

		if (other->regid == regid &&
		    0 == strcmp(other->aor, aor)) {
			s = other;
			break;
		}
	}

	if (!s) {
		if (list_count(strayl) >= STRAYS_MAX)
			return EOVERFLOW;

		err = stray_alloc(&s, aor);
		if (err)
			return err;

		s->regid = regid;
		memcpy(s->use, use, sizeof(s->use));
		list_append(strayl, &s->le, s);
	}

	s->until = MAX(s->until, until);
	if (strayp)
		*strayp = mem_ref(s);

	return 0;
}


/**
 * A farewell was answered
 *
 * @param s      Note
 * @param before Till when one sent before it may arrive still, aa_now_ms()
 */
void aa_stray_answered(struct aa_stray *s, uint64_t before)
{
	if (!s || !s->le.list)
		return;

	s->until = before;
	if (before <= aa_now_ms())
		aa_stray_drop(s);
}


/**
 * Nobody has to know of a farewell any more
 *
 * @param s Note, in a list
 */
void aa_stray_drop(struct aa_stray *s)
{
	if (!s || !s->le.list)
		return;

	list_unlink(&s->le);
	mem_deref(s);
}


/**
 * Does a farewell count for what a user registers now?
 *
 * Whatever the domain was: the phone's instance-id is the same for all of its
 * lines, and a registrar may look at no more than the user.
 *
 * @param s    Note
 * @param user User
 *
 * @return true if it is that user's, and may arrive still
 */
bool aa_stray_is(const struct aa_stray *s, const struct pl *user)
{
	return s && user && s->until > aa_now_ms() &&
		0 == pl_cmp(&s->user, user);
}


/* ---- over a restart --------------------------------------------------- */


static int stray_print(struct re_printf *pf, void *arg)
{
	const struct list *strayl = arg;
	const uint64_t now = aa_now_ms(), wall = aa_wall_ms();
	const struct le *le;
	int err;

	err = re_hprintf(pf, "%s\n", header);

	for (le = list_head(strayl); le && !err; le = le->next) {
		const struct aa_stray *s = le->data;

		if (s->until <= now)
			continue;

		err = re_hprintf(pf, "%s %u %d %d %d %llu\n", s->aor,
				 s->regid,
				 s->use[AA_ROLE_OUTBOUND],
				 s->use[AA_ROLE_PROXY],
				 s->use[AA_ROLE_REGISTRAR],
				 wall + (s->until - now));
	}

	return err;
}


/**
 * Write down the farewells that may arrive still
 *
 * @param strayl List
 * @param path   File; where there are none it is removed
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_stray_save(struct list *strayl, const char *path)
{
	int err;

	if (!strayl || !str_isset(path))
		return EINVAL;

	prune(strayl);

	if (!list_isempty(strayl))
		return aa_replace_file(path, true, stray_print, strayl);

	if (0 == unlink(path))
		return 0;

	/* in a read-only folder that is the error even where there is none */
	err = errno;

	return access(path, F_OK) ? 0 : err;
}


static void stray_scan(struct list *strayl, const char *text)
{
	const uint64_t wall = aa_wall_ms();
	enum aa_rank use[AA_ROLE_COUNT];
	unsigned long long until;
	unsigned regid;
	char aor[TEXT_MAX];
	int rank[3];
	size_t i;

	if (6 != sscanf(text, "%511s %u %d %d %d %llu", aor, &regid, &rank[0],
			&rank[1], &rank[2], &until) || regid > AA_REGID_MAX)
		return;

	for (i=0; i<ARRAY_SIZE(rank); i++) {
		if (rank[i] < AA_RANK_NONE || rank[i] >= AA_RANK_COUNT)
			return;
	}

	if (until <= wall || until - wall > LEFT_MAX)
		return;

	use[AA_ROLE_OUTBOUND]  = (enum aa_rank)rank[0];
	use[AA_ROLE_PROXY]     = (enum aa_rank)rank[1];
	use[AA_ROLE_REGISTRAR] = (enum aa_rank)rank[2];

	(void)aa_stray_add(NULL, strayl, aor, regid, use,
			   aa_now_ms() + (until - wall));
}


/**
 * Read which farewells of the latest run may arrive still
 *
 * What cannot be read is as good as nothing.
 *
 * @param strayl List
 * @param path   File
 */
void aa_stray_load(struct list *strayl, const char *path)
{
	char text[TEXT_MAX];
	unsigned n = 0;
	FILE *f;

	if (!strayl)
		return;

	if (aa_replace_read(&f, path))
		return;

	if (fgets(text, (int)sizeof(text), f) &&
	    0 == strncmp(text, header, sizeof(header) - 1)) {
		while (n++ < STRAYS_MAX &&
		       fgets(text, (int)sizeof(text), f))
			stray_scan(strayl, text);
	}

	(void)fclose(f);
}
