/**
 * @file history.c  The journal in a file
 *
 * An administrator wants to see at nine what happened at three, though
 * baresip was started again at six.  One line of text an entry:
 *
 *     SEQ TIME LINE EVENT TOOK DETECT REQUESTS TAB from TAB to TAB reason
 *     TAB by TAB decision
 *
 * after a header, and before a last line with the number of entries, by which
 * a file that was cut off is known.  There is nothing to be mended in it: one
 * that has a fault is as good as none.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <stdio.h>
#include <stdlib.h>
#include <errno.h>
#include <re.h>
#include "journal.h"
#include "utf8.h"
#include "replace.h"
#include "history.h"


enum {
	TEXTS    = 5,
	NUMBERS  = 7
};

static const char header[] = "# aastra.so: history, version 1\n";
static const char footer[] = "# end ";


/* ---- writing ------------------------------------------------------------ */


static int print_entry(struct re_printf *pf, const struct aa_journal_entry *e)
{
	return re_hprintf(pf, "%llu %llu %u %s %u %u %u\t%s\t%s\t%s\t%s\t%s\n",
			  e->seq, e->time, e->line,
			  aa_journal_event_name(e->event), e->took, e->detect,
			  e->requests, e->from, e->to, e->reason, e->by,
			  e->decision);
}


/**
 * Print the latest entries of a journal as its file has them
 *
 * @param pf  Print function
 * @param jnl Journal
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_history_print(struct re_printf *pf, const struct aa_journal *jnl)
{
	const struct aa_journal_entry *e = NULL;
	uint32_t n = 0, skip;
	int err;

	while ((e = aa_journal_next(jnl, 0, e)))
		++n;

	skip = n > AA_HISTORY_ENTRIES ? n - AA_HISTORY_ENTRIES : 0;
	n -= skip;

	err = re_hprintf(pf, "%s", header);
	while (!err && (e = aa_journal_next(jnl, 0, e))) {
		if (skip)
			--skip;
		else
			err = print_entry(pf, e);
	}

	return err ? err : re_hprintf(pf, "%s%u\n", footer, n);
}


static int print_handler(struct re_printf *pf, void *arg)
{
	return aa_history_print(pf, arg);
}


/**
 * Write a journal into a file, which is replaced as a whole or not at all
 *
 * @param jnl  Journal
 * @param path File
 * @param sync Wait until it is on the disk: a loss of power does no harm then,
 *             but a slow disk holds up everything else
 *
 * @return 0 if success, otherwise errorcode, and the file is as it was
 */
int aa_history_save(struct aa_journal *jnl, const char *path, bool sync)
{
	if (!jnl)
		return EINVAL;

	return aa_replace_file(path, sync, print_handler, jnl);
}


/* ---- reading ------------------------------------------------------------ */


/* Up to a character, which is taken away as well */
static bool cut(struct pl *part, struct pl *rest, char end)
{
	const char *p = rest->l ? memchr(rest->p, end, rest->l) : NULL;

	if (!p)
		return false;

	part->p = rest->p;
	part->l = (size_t)(p - rest->p);
	rest->l -= part->l + 1;
	rest->p = p + 1;

	return true;
}


static bool number(uint64_t *val, const struct pl *pl, uint64_t max)
{
	size_t i;

	/* as many digits as fit without a doubt, or checked one by one */
	if (!pl->l || pl->l > 20)
		return false;

	*val = 0;
	for (i=0; i<pl->l; i++) {
		const char c = pl->p[i];

		if (c < '0' || c > '9' ||
		    *val > (UINT64_MAX - (uint64_t)(c - '0')) / 10)
			return false;

		*val = *val * 10 + (uint64_t)(c - '0');
	}

	return *val <= max;
}


static bool event_find(enum aa_journal_event *event, const struct pl *name)
{
	int i;

	for (i=0; i<AA_JOURNAL_EVENTS; i++) {
		if (0 == pl_strcmp(name, aa_journal_event_name(
					   (enum aa_journal_event)i))) {
			*event = (enum aa_journal_event)i;
			return true;
		}
	}

	return false;
}


static bool text_read(char *buf, size_t sz, const struct pl *pl)
{
	const char *p;

	if (pl_strcpy(pl, buf, sz))
		return false;

	for (p = buf; *p; ) {
		const size_t n = aa_utf8_len(p);

		if (!n)
			return false;
		p += n;
	}

	return true;
}


static int entry_read(struct aa_journal *jnl, struct pl *line)
{
	char textv[TEXTS][AA_JOURNAL_TEXT_MAX];
	uint64_t v[NUMBERS];
	struct aa_journal_entry e;
	struct pl part;
	size_t i;
	int err;

	memset(&e, 0, sizeof(e));

	for (i=0; i<NUMBERS; i++) {
		if (!cut(&part, line, i + 1 == NUMBERS ? '\t' : ' '))
			return EBADMSG;

		if (i == 3) {
			if (!event_find(&e.event, &part))
				return EBADMSG;
			continue;
		}

		if (!number(&v[i], &part, i < 2 ? UINT64_MAX - 1
			    : UINT32_MAX))
			return EBADMSG;
	}

	for (i=0; i<TEXTS; i++) {
		if (i + 1 == TEXTS)
			part = *line;
		else if (!cut(&part, line, '\t'))
			return EBADMSG;

		if (!text_read(textv[i], sizeof(textv[i]), &part))
			return EBADMSG;
	}

	if (!v[0] || !v[2])
		return EBADMSG;

	e.seq      = v[0];
	e.time     = v[1];
	e.line     = (uint32_t)v[2];
	e.took     = (uint32_t)v[4];
	e.detect   = (uint32_t)v[5];
	e.requests = (uint32_t)v[6];
	e.from     = textv[0];
	e.to       = textv[1];
	e.reason   = textv[2];
	e.by       = textv[3];
	e.decision = textv[4];

	err = aa_journal_add(jnl, &e);

	return err == EINVAL ? EBADMSG : err;
}


static int entries_read(struct aa_journal *jnl, struct pl *rest)
{
	uint64_t count, n = 0;
	struct pl line;
	int err;

	if (!cut(&line, rest, '\n') || line.l + 1 != sizeof(header) - 1 ||
	    0 != memcmp(line.p, header, line.l))
		return EBADMSG;

	while (cut(&line, rest, '\n')) {

		if (line.l && line.p[0] == '#') {
			if (line.l < sizeof(footer) ||
			    0 != memcmp(line.p, footer, sizeof(footer) - 1))
				return EBADMSG;

			line.p += sizeof(footer) - 1;
			line.l -= sizeof(footer) - 1;

			return number(&count, &line, UINT32_MAX) &&
				count == n && !rest->l ? 0 : EBADMSG;
		}

		if (++n > AA_HISTORY_ENTRIES)
			return EBADMSG;

		err = entry_read(jnl, &line);
		if (err)
			return err;
	}

	return EBADMSG;
}


/**
 * Read what aa_history_print() has printed
 *
 * @param jnl Journal, still empty; it is so again after an error
 * @param buf Text
 * @param len Its length [bytes]
 *
 * @return 0 if success, EBADMSG if it is damaged, otherwise errorcode
 */
int aa_history_read(struct aa_journal *jnl, const char *buf, size_t len)
{
	struct pl rest;
	int err;

	if (!jnl || !buf)
		return EINVAL;

	rest.p = buf;
	rest.l = len;

	err = entries_read(jnl, &rest);
	if (err)
		aa_journal_clear(jnl);

	return err;
}


/**
 * Read the file of a journal
 *
 * @param jnl  Journal, still empty
 * @param path File
 *
 * @return 0 if success, ENOENT if there is none, EBADMSG if it is damaged or no
 *         plain file, otherwise errorcode
 */
int aa_history_load(struct aa_journal *jnl, const char *path)
{
	size_t len;
	char *buf;
	FILE *f;
	int err;

	if (!jnl || !str_isset(path))
		return EINVAL;

	err = aa_replace_read(&f, path);
	if (err)
		return err;

	buf = malloc(AA_HISTORY_BYTES);
	if (!buf) {
		(void)fclose(f);
		return ENOMEM;
	}

	len = fread(buf, 1, AA_HISTORY_BYTES, f);
	err = ferror(f) ? EIO : len == AA_HISTORY_BYTES ? EBADMSG
		: aa_history_read(jnl, buf, len);
	(void)fclose(f);
	free(buf);

	return err;
}
