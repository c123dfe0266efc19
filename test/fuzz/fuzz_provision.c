/**
 * @file fuzz_provision.c  Any bytes as the copy of the fetched files
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * What could be read must be the same when it is written and read again, and
 * what is shown of its names must have no password in it.  The input is also
 * taken for the URL itself.
 */
#include <stdlib.h>
#include <string.h>
#include "../../modules/aastra/provision.c"
#include "fuzz.h"


/* ---- what it calls, and is not called here ------------------------------ */


void warning(const char *fmt, ...)
{
	(void)fmt;
}


void info(const char *fmt, ...)
{
	(void)fmt;
}


const char *aa_config_str(const struct aa_config *cfg, uint32_t line,
			  const char *key)
{
	(void)cfg;
	(void)line;
	(void)key;

	return NULL;
}


bool aa_config_mac(const struct aa_config *cfg, char *mac, size_t sz)
{
	(void)cfg;
	(void)mac;
	(void)sz;

	return false;
}


void aa_tmr_start(struct aa_tmr *tmr, uint64_t delay, tmr_h *h, void *arg)
{
	(void)tmr;
	(void)delay;
	(void)h;
	(void)arg;
}


void aa_tmr_cancel(struct aa_tmr *tmr)
{
	(void)tmr;
}


int aa_fetch_alloc(struct aa_fetch **fetchp, const char * const *urlv,
		   size_t urlc, const char *cafile, size_t max,
		   aa_fetch_h *h, void *arg)
{
	(void)fetchp;
	(void)urlv;
	(void)urlc;
	(void)cafile;
	(void)max;
	(void)h;
	(void)arg;

	return ENOSYS;
}


/* ---- the copy ----------------------------------------------------------- */


static void check_files(const struct files *fs)
{
	size_t i;

	REQUIRE(fs->f.textc <= AA_LAYER_COUNT);

	for (i=0; i<fs->f.textc; i++) {
		const struct aa_config_text *t = &fs->f.textv[i];

		REQUIRE(t->layer < AA_LAYER_BARESIP);
		REQUIRE(t->buf && t->len <= FILE_MAX);
		REQUIRE(str_isset(t->name) && fs->filev[i]);
	}
}


static void copy(const uint8_t *data, size_t size)
{
	struct mbuf *mb = mbuf_alloc(size + 1), *out = mbuf_alloc(64);
	struct files *fs = NULL, *again = NULL;

	REQUIRE(mb && out);
	if (size)
		REQUIRE(!mbuf_write_mem(mb, data, size));

	if (!copy_decode(&fs, mb)) {
		check_files(fs);
		REQUIRE(!copy_print(out, fs));
		REQUIRE(!copy_decode(&again, out));
		REQUIRE(files_same(fs, again));
	}

	mem_deref(again);
	mem_deref(fs);
	mem_deref(out);
	mem_deref(mb);
}


/* ---- the URL ------------------------------------------------------------ */


#define SECRET "topSecret"


/* Is it NAME:topSecret@HOST, behind a scheme, and nowhere else? */
static bool has_password(const char *text)
{
	const char *host = strstr(text, "://");
	const char *at = strrchr(text, '@');
	const char *secret = strstr(text, SECRET);

	return host && at && secret && secret >= host + 3 && secret < at &&
		!strstr(at, SECRET) &&
		strcspn(host + 3, ":") < strcspn(host + 3, "/?#");
}


/* Whatever stands around it, it is not shown */
static void url(const uint8_t *data, size_t size)
{
	char text[512], *shown = NULL;

	if (size >= sizeof(text) || memchr(data, '\0', size))
		return;

	memcpy(text, data, size);
	text[size] = '\0';

	REQUIRE(!re_sdprintf(&shown, "%H", print_url, text));
	REQUIRE(strlen(shown) <= strlen(text));

	if (has_password(text))
		REQUIRE(!strstr(shown, SECRET));

	mem_deref(shown);
}


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	copy(data, size);
	url(data, size);

	return 0;
}
