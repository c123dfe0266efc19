/**
 * @file test_provision.c  Files from a server, and the last good copy
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * The fetching itself is ours here: what the server says is a table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <cmocka.h>
#include <re.h>
#include "aastra_baresip.h"
#include "fetch.h"
#include "timer.h"
#include "provision.h"
#include "said.h"


struct aa_fetch {
	aa_fetch_h *h;
	void *arg;
	struct aa_fetch_file filev[8];
	char *urlv[8];
	size_t n;
};

/** The world around provision.c */
static struct {
	struct aa_fetch *fetch;  /* under way                               */
	const char *url, *model, *mac;
	unsigned fetches;
	unsigned offers;         /* how often files were offered            */
	int verdict;
	size_t textc;
	char names[512];
	unsigned warnings;
	char said[512];
	struct aa_tmr *tmr;      /* runs                                    */
	uint64_t wait;
} t;


static char dir[64];
static char path[128];


/* ---- what it calls ---------------------------------------------------- */


void SAID(warning)(SAID_ARGS const char *fmt, ...)
{
	va_list ap;

	++t.warnings;
	va_start(ap, fmt);
	(void)said_print(t.said, sizeof(t.said), fmt, ap);
	va_end(ap);
}


void SAID(info)(SAID_ARGS const char *fmt, ...)
{
	SAID_UNUSED;
	(void)fmt;
}


const char *aa_config_str(const struct aa_config *cfg, uint32_t line,
			  const char *key)
{
	(void)cfg;
	(void)line;

	return strcmp(key, "aastra_cfg_url") ? t.model : t.url;
}


bool aa_config_mac(const struct aa_config *cfg, char *mac, size_t sz)
{
	(void)cfg;
	str_ncpy(mac, t.mac ? t.mac : "", sz);

	return t.mac != NULL;
}


void aa_tmr_start(struct aa_tmr *tmr, uint64_t delay, tmr_h *h, void *arg)
{
	assert_true(!t.tmr || t.tmr == tmr);
	t.tmr  = tmr;
	t.wait = delay;
	tmr->h   = h;
	tmr->arg = arg;
}


void aa_tmr_cancel(struct aa_tmr *tmr)
{
	assert_true(!t.tmr || t.tmr == tmr);
	t.tmr = NULL;
}


static void fetch_destructor(void *arg)
{
	struct aa_fetch *f = arg;
	size_t i;

	for (i=0; i<f->n; i++) {
		mem_deref(f->urlv[i]);
		mem_deref(f->filev[i].mb);
	}
	if (t.fetch == f)
		t.fetch = NULL;
}


int aa_fetch_alloc(struct aa_fetch **fetchp, const char * const *urlv,
		   size_t urlc, const char *cafile, size_t max,
		   aa_fetch_h *h, void *arg)
{
	struct aa_fetch *f = mem_zalloc(sizeof(*f), fetch_destructor);
	size_t i;

	assert_non_null(f);
	assert_in_range(urlc, 1, 8);
	assert_true(max >= 1024 * 1024);
	assert_null(cafile);

	for (i=0; i<urlc; i++) {
		assert_int_equal(0, str_dup(&f->urlv[i], urlv[i]));
		f->filev[i].url = f->urlv[i];
	}
	f->n   = urlc;
	f->h   = h;
	f->arg = arg;

	++t.fetches;
	t.fetch = f;
	*fetchp = f;

	return 0;
}


static int offer_handler(const struct aa_config_fetched *fetched, void *arg)
{
	size_t i;

	assert_ptr_equal(&t, arg);
	++t.offers;
	t.textc = fetched->textc;
	t.names[0] = '\0';

	for (i=0; i<fetched->textc; i++) {
		const size_t n = strlen(t.names);

		(void)re_snprintf(&t.names[n], sizeof(t.names) - n,
				  "%d %s %b\n", (int)fetched->textv[i].layer,
				  fetched->textv[i].name,
				  fetched->textv[i].buf,
				  fetched->textv[i].len);
	}

	return t.verdict;
}


/* ---- helpers ---------------------------------------------------------- */


static struct aa_provision *provision(void)
{
	struct aa_provision *pv = NULL;

	assert_int_equal(0, aa_provision_alloc(&pv, dir, offer_handler, &t));
	assert_non_null(pv);

	return pv;
}


/** The server has the files whose URL ends with one of these names */
static void answer(const char * const *namev, const char * const *textv,
		   size_t n)
{
	struct aa_fetch *f = t.fetch;
	size_t i, j;

	assert_non_null(f);

	for (i=0; i<f->n; i++) {
		for (j=0; j<n; j++) {
			const char *slash = strrchr(f->urlv[i], '/');

			if (strcmp(slash + 1, namev[j]))
				continue;

			f->filev[i].found = true;
			f->filev[i].mb = mbuf_alloc(16);
			assert_non_null(f->filev[i].mb);
			assert_int_equal(0, mbuf_write_str(f->filev[i].mb,
							   textv[j]));
		}
	}

	f->h(0, 0, "", f->filev, f->n, f->arg);
}


static int setup(void **state)
{
	(void)state;

	memset(&t, 0, sizeof(t));
	t.url   = "https://u:geheim@host/cfg//";
	t.model = "my phone";
	t.mac   = "00085D1610DE";

	str_ncpy(dir, "/tmp/aastra-XXXXXX", sizeof(dir));
	if (!mkdtemp(dir))
		return -1;
	(void)re_snprintf(path, sizeof(path), "%s/aastra_files", dir);

	return 0;
}


static int teardown(void **state)
{
	(void)state;
	(void)unlink(path);

	/* nothing else is left there */
	return rmdir(dir);
}


static const char * const namev[] = {"aastra.cfg", "my%20phone.cfg",
				     "00085d1610de.cfg"};
static const char * const textv[] = {"sip proxy ip: a\n", "",
				     "end\n2 4 x\nab\nend\n"};


/* ---- tests ------------------------------------------------------------ */


/** Which files are asked for, and what is made of the answers */
static void test_rounds(void **state)
{
	static const char * const startup[] = {"startup.cfg"};
	struct aa_provision *pv = provision();

	(void)state;
	assert_null(aa_provision_good(pv));

	assert_int_equal(0, aa_provision_start(pv, NULL, NULL));
	assert_int_equal(3, t.fetch->n);
	assert_string_equal("https://u:geheim@host/cfg/aastra.cfg",
			    t.fetch->urlv[0]);
	assert_string_equal("https://u:geheim@host/cfg/my%20phone.cfg",
			    t.fetch->urlv[1]);
	assert_string_equal("https://u:geheim@host/cfg/00085D1610DE.cfg",
			    t.fetch->urlv[2]);

	/* what is not there goes by another name, where it has one */
	answer(namev, textv, 2);
	assert_int_equal(2, t.fetches);
	assert_int_equal(0, t.offers);
	assert_int_equal(1, t.fetch->n);
	assert_string_equal("https://u:geheim@host/cfg/00085d1610de.cfg",
			    t.fetch->urlv[0]);
	answer(namev, textv, 3);
	assert_int_equal(1, t.offers);
	assert_string_equal("0 https://host/cfg/aastra.cfg "
			    "sip proxy ip: a\n\n"
			    "1 https://host/cfg/my%20phone.cfg \n"
			    "2 https://host/cfg/00085d1610de.cfg "
			    "end\n2 4 x\nab\nend\n\n", t.names);
	assert_null(t.fetch);
	assert_int_equal(3, aa_provision_good(pv)->textc);

	/* the same again is not offered */
	assert_int_equal(0, aa_provision_start(pv, NULL, NULL));
	answer(namev, textv, 2);
	answer(namev, textv, 3);
	assert_int_equal(1, t.offers);

	/* less is something else */
	assert_int_equal(0, aa_provision_start(pv, NULL, NULL));
	answer(startup, textv, 1);
	assert_int_equal(2, t.fetch->n);
	answer(startup, textv, 1);
	assert_int_equal(2, t.offers);
	assert_int_equal(0, t.warnings);
	assert_int_equal(1, aa_provision_good(pv)->textc);

	/* no URL */
	t.url = NULL;
	assert_int_equal(ENOENT, aa_provision_start(pv, NULL, NULL));

	mem_deref(pv);
}


/** What fails leaves everything as it is, and is said once */
static void test_failures(void **state)
{
	struct aa_provision *pv = provision();
	struct aa_fetch *f;
	unsigned fetches;

	(void)state;
	t.model = t.mac = NULL;

	assert_int_equal(0, aa_provision_start(pv, NULL, NULL));
	answer(namev, textv, 1);
	assert_int_equal(1, t.offers);

	/* no answer */
	assert_int_equal(0, aa_provision_start(pv, NULL, NULL));
	f = t.fetch;
	f->h(ETIMEDOUT, 0, "timed out", f->filev, f->n, f->arg);
	assert_int_equal(1, t.warnings);
	assert_non_null(strstr(t.said, "https://host/cfg/aastra.cfg: timed "
			       "out: the last good copy is used"));
	assert_null(t.fetch);

	/* none of them */
	assert_int_equal(0, aa_provision_start(pv, NULL, NULL));
	answer(NULL, NULL, 0);
	answer(NULL, NULL, 0);
	assert_int_equal(2, t.warnings);

	/* not good */
	t.verdict = EBADMSG;
	assert_int_equal(0, aa_provision_start(pv, NULL, NULL));
	answer(namev, &textv[1], 1);
	assert_int_equal(2, t.offers);
	assert_int_equal(3, t.warnings);
	assert_null(strstr(t.said, "geheim"));

	/* stopped in the middle */
	assert_int_equal(0, aa_provision_start(pv, NULL, NULL));
	fetches = t.fetches;
	assert_int_equal(0, aa_provision_start(pv, NULL, NULL));
	assert_int_equal(fetches + 1, t.fetches);

	assert_int_equal(1, aa_provision_good(pv)->textc);
	mem_deref(pv);
	assert_null(t.fetch);

	/* the copy is that of the good one */
	pv = provision();
	assert_int_equal(strlen(textv[0]),
			 aa_provision_good(pv)->textv[0].len);
	assert_memory_equal(textv[0], aa_provision_good(pv)->textv[0].buf,
			    strlen(textv[0]));
	mem_deref(pv);
}


/** It is asked again, half as often each time, and at least each half hour */
static void test_again(void **state)
{
	struct aa_provision *pv = provision();
	uint64_t most = 5000;
	unsigned i;

	(void)state;
	t.model = t.mac = NULL;
	assert_int_equal(0, aa_provision_start(pv, NULL, NULL));

	for (i=1; i<=20; i++) {
		struct aa_fetch *f = t.fetch;
		struct aa_tmr *tmr;

		assert_null(t.tmr);
		assert_int_equal(i, t.fetches);
		f->h(ETIMEDOUT, 0, "timed out", f->filev, f->n, f->arg);
		assert_null(t.fetch);

		tmr = t.tmr;
		assert_non_null(tmr);
		assert_in_range(t.wait, most / 2, most);
		most = MIN(2 * most, 1800000);
		t.tmr = NULL;
		tmr->h(tmr->arg);
	}

	/* it answers: that is all, and the next time begins as the first */
	answer(namev, textv, 1);
	assert_int_equal(1, t.offers);
	assert_null(t.tmr);
	assert_int_equal(0, aa_provision_start(pv, NULL, NULL));
	t.fetch->h(ETIMEDOUT, 0, "timed out", t.fetch->filev, t.fetch->n,
		   t.fetch->arg);
	assert_in_range(t.wait, 2500, 5000);

	mem_deref(pv);
	assert_null(t.tmr);
}


static void copy_read(char *buf, size_t sz, size_t *n)
{
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	*n = fread(buf, 1, sz, f);
	assert_in_range(*n, 1, sz - 1);
	assert_int_equal(0, fclose(f));
}


static void copy_write(const char *buf, size_t n)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(n, fwrite(buf, 1, n, f));
	assert_int_equal(0, fclose(f));
}


/** The copy comes back as it was; what is not whole does not */
static void test_copy(void **state)
{
	struct aa_provision *pv = provision();
	const struct aa_config_fetched *good;
	struct stat st;
	char buf[1024];
	size_t i, n;

	(void)state;

	assert_int_equal(0, aa_provision_start(pv, NULL, NULL));
	answer(namev, textv, 2);
	answer(namev, textv, 3);
	mem_deref(pv);

	assert_int_equal(0, stat(path, &st));
	assert_int_equal(0600, st.st_mode & 07777);

	pv = provision();
	good = aa_provision_good(pv);
	assert_non_null(good);
	assert_string_equal(t.url, good->url);
	(void)offer_handler(good, &t);
	assert_string_equal("0 https://host/cfg/aastra.cfg "
			    "sip proxy ip: a\n\n"
			    "1 https://host/cfg/my%20phone.cfg \n"
			    "2 https://host/cfg/00085d1610de.cfg "
			    "end\n2 4 x\nab\nend\n\n", t.names);

	/* and is the same as what the server has */
	t.offers = 0;
	assert_int_equal(0, aa_provision_start(pv, NULL, NULL));
	answer(namev, textv, 2);
	answer(namev, textv, 3);
	assert_int_equal(0, t.offers);
	mem_deref(pv);
	assert_int_equal(0, t.warnings);

	/* cut anywhere */
	copy_read(buf, sizeof(buf), &n);
	for (i=0; i<n; i++) {
		copy_write(buf, i);
		t.warnings = 0;
		pv = provision();
		assert_null(aa_provision_good(pv));
		assert_int_equal(1, t.warnings);
		mem_deref(pv);
	}

	/* spoiled anywhere: whatever comes of it, it does no harm */
	for (i=0; i<n; i++) {
		const char c = buf[i];

		buf[i] = (char)(c ^ 0x15);
		copy_write(buf, n);
		mem_deref(provision());
		buf[i] = c;
	}

	/* a layer that is not the phone's, and more than there can be */
	copy_write("aastra-files 1\nhttp://h/\n3 1 a\nx\nend\n", 38);
	pv = provision();
	assert_null(aa_provision_good(pv));
	mem_deref(pv);
	copy_write("aastra-files 1\nhttp://h/\n0 99999999 a\nx\nend\n", 45);
	pv = provision();
	assert_null(aa_provision_good(pv));
	mem_deref(pv);
}


int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failures, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_copy, setup, teardown),
	};
	int err;

	err = libre_init();
	if (err)
		return err;

	err = cmocka_run_group_tests(tests, NULL, NULL);

	libre_close();

	return err;
}
