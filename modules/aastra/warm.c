/**
 * @file warm.c  What a line remembers over a restart of baresip
 *
 * A phone that is switched on in the middle of an outage shall not begin with
 * the dead server.  One line of text per line of the phone: its AOR, the
 * ranks in force, the hold-down, how long the primary is still punished, and
 * its number, since several lines may have the same AOR.
 * Times are wall-clock ones, since the phone may have been off for hours.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <stdio.h>
#include <errno.h>
#include <re.h>
#include "aastra_baresip.h"
#include "compat.h"
#include "flow.h"
#include "binding.h"
#include "account.h"
#include "line.h"
#include "replace.h"
#include "warm.h"


enum {
	TEXT_MAX   = 512,
	AGE_MAX_MS = 24 * 3600 * 1000   /* older than a day: forgotten      */
};

static const char header[] = "# aastra.so: servers in force, version 1";


static const char *own_aor(const struct aa_line *line)
{
	return account_aor(aa_account_prim(line->acc));
}


static int line_print(struct re_printf *pf, const struct aa_line *line)
{
	const struct aa_penalty *pen = aa_line_penalty(line, AA_RANK_PRIMARY);

	return re_hprintf(pf, "%s %d %d %d %llu %llu %u %llu %u %u\n",
			  own_aor(line), line->use[AA_ROLE_OUTBOUND],
			  line->use[AA_ROLE_PROXY],
			  line->use[AA_ROLE_REGISTRAR], aa_wall_ms(),
			  aa_line_hold_down(line), pen ? pen->failures : 0,
			  aa_line_punished(line, AA_RANK_PRIMARY),
			  aa_binding_regid(line->cur->b), line->cfg.line);
}


static int phone_print(struct re_printf *pf, void *arg)
{
	const struct aa_phone *phone = arg;
	const struct le *le;
	int err;

	err = re_hprintf(pf, "%s\n", header);

	for (le = list_head(&phone->linel); le && !err; le = le->next) {
		const struct aa_line *line = le->data;

		if (line->cur)
			err = line_print(pf, line);
	}

	return err;
}


/**
 * Write down what all lines shall remember
 *
 * @param phone   Phone
 * @param path    File; it is replaced as a whole or not at all
 * @param durable True to wait until it would outlive a power cut, which may
 *                take a while; else it outlives only the process
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_warm_save(struct aa_phone *phone, const char *path, bool durable)
{
	if (!phone)
		return EINVAL;

	return aa_replace_file(path, durable, phone_print, phone);
}


static bool rank_ok(int rank)
{
	return rank >= AA_RANK_NONE && rank < AA_RANK_COUNT;
}


/* number: the record has to be of a line with the same number */
static bool line_scan(struct aa_line *line, const char *text, bool number)
{
	unsigned long long saved, hold, pen_left;
	const uint64_t wall = aa_wall_ms(), now = aa_now_ms();
	struct aa_penalty *pen;
	unsigned failures, regid = 0, n = 0;
	const char *aor = own_aor(line);
	const size_t len = strlen(aor);
	uint64_t age;
	int op, px, rg, role;

	if (0 != strncmp(text, aor, len) || text[len] != ' ')
		return false;

	/* the last two came later than the others */
	if (7 > sscanf(text + len, "%d %d %d %llu %llu %u %llu %u %u", &op,
		       &px, &rg, &saved, &hold, &failures, &pen_left,
		       &regid, &n))
		return false;

	if (number && n != line->cfg.line)
		return false;

	if (!rank_ok(op) || !rank_ok(px) || !rank_ok(rg) || saved > wall ||
	    wall - saved > AGE_MAX_MS)
		return true;

	age = wall - saved;
	line->use[AA_ROLE_OUTBOUND]  = (enum aa_rank)op;
	line->use[AA_ROLE_PROXY]     = (enum aa_rank)px;
	line->use[AA_ROLE_REGISTRAR] = (enum aa_rank)rg;

	memcpy(line->warm, line->use, sizeof(line->warm));
	line->warm_regid = regid <= AA_REGID_MAX ? regid : 0;
	for (role=0; role<AA_ROLE_COUNT; role++) {
		line->hold_ms[role]  = MIN((uint64_t)hold,
					   (uint64_t)3600 * 1000);
		line->hold_set[role] = now;
	}

	pen = (struct aa_penalty *)(uintptr_t)
		aa_line_penalty(line, AA_RANK_PRIMARY);
	if (pen && pen_left > age) {
		pen->failures = MIN(failures, 16);
		pen->until = now + MIN((uint64_t)pen_left - age,
				       (uint64_t)AGE_MAX_MS);
		str_ncpy(pen->reason, "failed before the restart",
			 sizeof(pen->reason));
	}

	return true;
}


static bool file_scan(struct aa_line *line, FILE *f, bool number)
{
	char text[TEXT_MAX];
	unsigned n = 0;

	rewind(f);
	if (!fgets(text, (int)sizeof(text), f) ||
	    0 != strncmp(text, header, sizeof(header) - 1))
		return true;

	while (n++ < 100000 && fgets(text, (int)sizeof(text), f)) {
		if (line_scan(line, text, number))
			return true;
	}

	return false;
}


/**
 * Let a line begin where it was before the restart
 *
 * What cannot be read is as good as nothing: the line begins at its primary.
 *
 * @param line Line, not started yet
 * @param path File
 */
void aa_warm_load(struct aa_line *line, const char *path)
{
	FILE *f;

	if (!line || aa_replace_read(&f, path))
		return;

	/* accounts may have come before it, or gone, since then */
	if (!file_scan(line, f, true))
		(void)file_scan(line, f, false);

	(void)fclose(f);
}
