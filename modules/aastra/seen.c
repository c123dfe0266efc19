/**
 * @file seen.c  What others see of the module, and how they steer it
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <re.h>
#include "aastra_baresip.h"
#include "flow.h"
#include "line.h"
#include "module.h"
#include "status.h"
#include "metrics.h"
#include "command.h"
#include "seen.h"


/** Somebody who wants to know what is new */
struct aa_seen {
	struct le le;
	aa_seen_h *h;
	void *arg;
};


static struct list listenerl;


static void seen_destructor(void *arg)
{
	struct aa_seen *seen = arg;

	list_unlink(&seen->le);
}


/**
 * Be told when something is new
 *
 * @param sp  Pointer to the listener; mem_deref() ends it, but not from
 *            within the handler
 * @param h   Called when something is new
 * @param arg Handler argument
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_seen_listen(struct aa_seen **sp, aa_seen_h *h, void *arg)
{
	struct aa_seen *seen;

	if (!sp || !h)
		return EINVAL;

	seen = mem_zalloc(sizeof(*seen), seen_destructor);
	if (!seen)
		return ENOMEM;

	seen->h   = h;
	seen->arg = arg;
	list_append(&listenerl, &seen->le, seen);
	*sp = seen;

	return 0;
}


/**
 * Tell all listeners that something is new
 *
 * @param what What is new
 * @param line Number of the line
 */
void aa_seen_tell(enum aa_news what, uint32_t line)
{
	struct le *le = list_head(&listenerl);

	while (le) {
		const struct aa_seen *seen = le->data;

		le = le->next;
		seen->h(what, line, seen->arg);
	}
}


/* 0: all lines */
static int line_find(const struct aa_line **linep, uint32_t n)
{
	*linep = n ? aa_line_find(aa_module_phone(), n) : NULL;

	return n && !*linep ? ENOENT : 0;
}


/**
 * Print the state as one JSON document, as `aastra_state` does
 *
 * @param pf   Print function
 * @param line Number of a line, 0 for all
 *
 * @return 0 if success, otherwise errorcode (ENOENT: there is no such line)
 */
int aa_seen_state(struct re_printf *pf, uint32_t line)
{
	const struct aa_line *only;
	int err = line_find(&only, line);

	return err ? err : aa_status_json(pf, aa_module_phone(), only,
					  true);
}


/**
 * Print what is now as one JSON document: the state without the history
 *
 * @param pf   Print function
 * @param line Number of a line, 0 for all
 *
 * @return 0 if success, otherwise errorcode (ENOENT: there is no such line)
 */
int aa_seen_now(struct re_printf *pf, uint32_t line)
{
	const struct aa_line *only;
	int err = line_find(&only, line);

	return err ? err : aa_status_json(pf, aa_module_phone(), only,
					  false);
}


/**
 * Print the history as one JSON document:
 *
 * {"first":1,"last":9,"entries":[{"seq":8,"line":1,"time_ms":...}]}
 *
 * The numbers of the entries count up, over a restart as well; only where the
 * file of the history was damaged or removed they begin again, which shows in
 * a `last` that is lower than what a reader has seen.
 *
 * @param pf    Print function
 * @param line  Number of a line, 0 for all
 * @param since Entries with a higher number alone, 0 for all there are
 * @param max   The latest so many of them alone, 0 for all
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_seen_history(struct re_printf *pf, uint32_t line, uint64_t since,
		    uint32_t max)
{
	return aa_status_history_json(pf, aa_module_phone(), line, since, max);
}


/**
 * Print the metrics in the text format of Prometheus, version 0.0.4
 * (Content-Type: text/plain; version=0.0.4; charset=utf-8)
 *
 * @param pf Print function
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_seen_metrics(struct re_printf *pf)
{
	return aa_metrics_print(pf, aa_module_phone());
}


/**
 * Carry out a command of the module
 *
 * @param pf   Print function; gets what the command prints, or when it fails
 *             a line that says why
 * @param name Name of the command, with or without "aastra_": failover,
 *             failback, auto, probe, reload, and all others
 * @param prm  Its arguments as one would type them, NULL or "" for none
 *
 * @return 0 if success, otherwise errorcode: EINVAL: bad arguments, ENOENT:
 *         there is no such line or no such thing, ENOSYS: no such command
 */
int aa_seen_command(struct re_printf *pf, const char *name, const char *prm)
{
	return aa_command_run(pf, name, prm);
}
