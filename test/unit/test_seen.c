/**
 * @file test_seen.c  The history, its file, and the text of the metrics
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <unistd.h>
#include <sys/stat.h>
#include <cmocka.h>
#include <re.h>
#include "journal.h"
#include "history.h"
#include "histogram.h"
#include "prom.h"


/* ---- the journal ------------------------------------------------------- */


static void add(struct aa_journal *jnl, uint32_t line, const char *to)
{
	struct aa_journal_entry e;

	memset(&e, 0, sizeof(e));
	e.time   = 1000;
	e.line   = line;
	e.event  = AA_JOURNAL_FAILOVER;
	e.to     = to;
	e.reason = "seen";
	assert_int_equal(0, aa_journal_add(jnl, &e));
}


static unsigned count(const struct aa_journal *jnl, uint32_t line)
{
	const struct aa_journal_entry *e = NULL;
	unsigned n = 0;

	while ((e = aa_journal_next(jnl, line, e)))
		++n;

	return n;
}


static void test_numbers(void **state)
{
	const struct aa_journal_entry *e;
	struct aa_journal *jnl;
	(void)state;

	assert_int_equal(0, aa_journal_alloc(&jnl));
	assert_int_equal(0, aa_journal_first(jnl));
	assert_int_equal(0, aa_journal_last(jnl));

	add(jnl, 1, "backup");
	add(jnl, 2, NULL);
	add(jnl, 1, "primary");

	e = aa_journal_next(jnl, 1, NULL);
	assert_int_equal(1, e->seq);
	assert_string_equal("backup", e->to);
	assert_string_equal("", e->by);
	e = aa_journal_next(jnl, 1, e);
	assert_int_equal(3, e->seq);
	assert_null(aa_journal_next(jnl, 1, e));
	assert_string_equal("", aa_journal_next(jnl, 2, NULL)->to);
	assert_int_equal(3, aa_journal_last(jnl));
	assert_null(aa_journal_next(NULL, 0, NULL));

	mem_deref(jnl);
}


/* A line that flaps does not push out what the others have */
static void test_room(void **state)
{
	struct aa_journal *jnl;
	uint32_t i;
	(void)state;

	assert_int_equal(0, aa_journal_alloc(&jnl));

	add(jnl, 2, "kept");
	for (i=0; i<AA_JOURNAL_LINE_MAX + 10; i++)
		add(jnl, 1, "flap");

	assert_int_equal(AA_JOURNAL_LINE_MAX, count(jnl, 1));
	assert_int_equal(1, count(jnl, 2));
	assert_int_equal(12, aa_journal_next(jnl, 1, NULL)->seq);

	for (i=0; i<AA_JOURNAL_MAX; i++)
		add(jnl, 10 + i, "one");

	assert_int_equal(AA_JOURNAL_MAX, count(jnl, 0));

	mem_deref(jnl);
}


static void test_long_text(void **state)
{
	char text[2 * AA_JOURNAL_TEXT_MAX];
	struct aa_journal *jnl;
	(void)state;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';

	assert_int_equal(0, aa_journal_alloc(&jnl));
	add(jnl, 1, text);
	assert_int_equal(AA_JOURNAL_TEXT_MAX - 1,
			 strlen(aa_journal_next(jnl, 1, NULL)->to));
	assert_string_equal("seen", aa_journal_next(jnl, 1, NULL)->reason);
	mem_deref(jnl);
}


/* ---- its file ------------------------------------------------------------ */


struct text {
	char buf[16384];
	size_t len;
};


static int text_handler(const char *p, size_t size, void *arg)
{
	struct text *t = arg;

	if (t->len + size >= sizeof(t->buf))
		return ENOMEM;

	memcpy(t->buf + t->len, p, size);
	t->len += size;
	t->buf[t->len] = '\0';

	return 0;
}


static void file_text(struct text *t)
{
	struct re_printf pf = {text_handler, t};
	struct aa_journal_entry e;
	struct aa_journal *jnl;

	assert_int_equal(0, aa_journal_alloc(&jnl));
	add(jnl, 1, "backup");

	memset(&e, 0, sizeof(e));
	e.time     = 1795387477526ull;
	e.line     = 70000;
	e.event    = AA_JOURNAL_REFUSED;
	e.took     = UINT32_MAX;
	e.detect   = 5;
	e.requests = 2;
	e.from     = "\xc3\xa4\xe2\x82\xac\xf0\x9f\x93\x9e";
	e.to       = "a\tb\nc\x1b[31m\xff\xc0\x80";
	e.reason   = "403 \"No\" to REGISTER";
	e.by       = "REGISTER";
	e.decision = "a later try";
	assert_int_equal(0, aa_journal_add(jnl, &e));
	add(jnl, 2, "");

	t->len = 0;
	assert_int_equal(0, aa_history_print(&pf, jnl));
	mem_deref(jnl);
}


static void test_file(void **state)
{
	const struct aa_journal_entry *e;
	struct aa_journal *jnl;
	struct text t = {{0}, 0};
	(void)state;

	file_text(&t);
	assert_int_equal(0, aa_journal_alloc(&jnl));
	assert_int_equal(0, aa_history_read(jnl, t.buf, t.len));
	assert_int_equal(3, count(jnl, 0));

	e = aa_journal_next(jnl, 70000, NULL);
	assert_int_equal(2, e->seq);
	assert_true(e->time == 1795387477526ull);
	assert_int_equal(AA_JOURNAL_REFUSED, e->event);
	assert_true(e->took == UINT32_MAX);
	assert_int_equal(5, e->detect);
	assert_int_equal(2, e->requests);
	assert_string_equal("\xc3\xa4\xe2\x82\xac\xf0\x9f\x93\x9e", e->from);
	assert_string_equal("a?b?c?[31m???", e->to);
	assert_string_equal("403 \"No\" to REGISTER", e->reason);
	assert_string_equal("REGISTER", e->by);
	assert_string_equal("a later try", e->decision);

	/* numbers go on where they were */
	add(jnl, 1, "primary");
	assert_int_equal(4, aa_journal_last(jnl));
	mem_deref(jnl);
}


/* Cut off anywhere, it is no good, and nothing of it is taken */
static void test_file_cut(void **state)
{
	struct aa_journal *jnl;
	struct text t = {{0}, 0};
	size_t len;
	(void)state;

	file_text(&t);
	assert_int_equal(0, aa_journal_alloc(&jnl));

	for (len=0; len<t.len; len++) {
		assert_int_equal(EBADMSG, aa_history_read(jnl, t.buf, len));
		assert_int_equal(0, count(jnl, 0));
		assert_int_equal(0, aa_journal_last(jnl));
	}

	assert_int_equal(0, aa_history_read(jnl, t.buf, t.len));
	mem_deref(jnl);
}


/* One byte is another one: it may go unseen, but nothing breaks, and what is
   read is all or nothing */
static void test_file_damaged(void **state)
{
	static const char bytev[] = {'\0', '\n', '\t', ' ', '#', '9', 'x',
				     '\xff'};
	struct text t = {{0}, 0}, u = {{0}, 0};
	unsigned bad = 0;
	size_t i, j;
	(void)state;

	file_text(&t);

	for (i=0; i<t.len; i++) {
		for (j=0; j<sizeof(bytev); j++) {
			struct aa_journal *jnl;
			int err;

			u = t;
			u.buf[i] = bytev[j];
			assert_int_equal(0, aa_journal_alloc(&jnl));
			err = aa_history_read(jnl, u.buf, u.len);
			assert_true(!err || err == EBADMSG);
			assert_int_equal(err ? 0 : 3, count(jnl, 0));
			bad += err != 0;
			mem_deref(jnl);
		}
	}

	assert_true(bad > t.len);
}


static void test_file_wrong(void **state)
{
	static const char *const wrongv[] = {
		"",
		"\n",
		"# aastra.so: history, version 2\n# end 0\n",
		"# aastra.so: history, version 1\n",
		"# aastra.so: history, version 1\n# end 1\n",
		"# aastra.so: history, version 1\n# end 0\n# end 0\n",
		"# aastra.so: history, version 1\n# end -0\n",
		"# aastra.so: history, version 1\n"
		"0 1 1 failover 1 1 1\ta\tb\tc\td\te\n# end 1\n",
		"# aastra.so: history, version 1\n"
		"1 1 0 failover 1 1 1\ta\tb\tc\td\te\n# end 1\n",
		"# aastra.so: history, version 1\n"
		"1 1 1 nothing 1 1 1\ta\tb\tc\td\te\n# end 1\n",
		"# aastra.so: history, version 1\n"
		"1 1 1 failover 1 4294967296 1\ta\tb\tc\td\te\n# end 1\n",
		"# aastra.so: history, version 1\n"
		"99999999999999999999 1 1 failover 1 1 1\ta\tb\tc\td\te\n"
		"# end 1\n",
		"# aastra.so: history, version 1\n"
		"1 1 1 failover 1 1 1\ta\tb\tc\td\n# end 1\n",
		"# aastra.so: history, version 1\n"
		"1 1 1 failover 1 1 1\ta\tb\tc\td\te\tf\n# end 1\n",
		"# aastra.so: history, version 1\n"
		"2 1 1 failover 1 1 1\ta\tb\tc\td\te\n"
		"2 1 1 failover 1 1 1\ta\tb\tc\td\te\n# end 2\n",
	};
	static const char right[] = "# aastra.so: history, version 1\n"
		"7 1 1 failover 1 1 1\ta\tb\tc\td\te\n# end 1\n";
	struct aa_journal *jnl;
	size_t i;
	(void)state;

	assert_int_equal(0, aa_journal_alloc(&jnl));
	for (i=0; i<sizeof(wrongv)/sizeof(wrongv[0]); i++) {
		if (aa_history_read(jnl, wrongv[i], strlen(wrongv[i])) !=
		    EBADMSG)
			fail_msg("taken: %s", wrongv[i]);
		assert_int_equal(0, aa_journal_last(jnl));
	}

	assert_int_equal(0, aa_history_read(jnl, right, strlen(right)));
	assert_int_equal(7, aa_journal_last(jnl));
	mem_deref(jnl);
}


/* On the disk: only its owner's, replaced as a whole, bounded */
static void test_file_disk(void **state)
{
	static const char path[] = "test_seen_history";
	struct aa_journal *jnl, *again;
	struct stat st;
	uint32_t i;
	(void)state;

	(void)unlink(path);
	assert_int_equal(0, aa_journal_alloc(&jnl));
	assert_int_equal(0, aa_journal_alloc(&again));
	assert_int_equal(ENOENT, aa_history_load(jnl, path));

	for (i=0; i<2 * AA_HISTORY_ENTRIES; i++)
		add(jnl, 1 + i % 100, "somewhere");
	assert_int_equal(0, aa_history_save(jnl, path, true));
	assert_int_equal(0, stat(path, &st));
	assert_int_equal(0600, st.st_mode & 0777);

	assert_int_equal(0, aa_history_load(again, path));
	assert_int_equal(AA_HISTORY_ENTRIES, count(again, 0));
	assert_int_equal(2 * AA_HISTORY_ENTRIES, aa_journal_last(again));

	assert_int_equal(0, unlink(path));
	assert_int_equal(-1, access("test_seen_history.new", F_OK));
	assert_true(aa_history_save(jnl, "no/such/folder/x", true) != 0);
	mem_deref(jnl);
	mem_deref(again);
}


/* ---- Prometheus --------------------------------------------------------- */


static void test_labels(void **state)
{
	const struct aa_prom_label labelv[] = {
		{"aor", "sip:\"a\\b\"\nc@d"}, {"none", NULL}
	};
	struct text t = {{0}, 0};
	struct re_printf pf = {text_handler, &t};
	(void)state;

	assert_int_equal(0, aa_prom_family(&pf, "x", "gauge",
					   "a \"b\"\n\\ c"));
	assert_int_equal(0, aa_prom_u64(&pf, "x", labelv, 2, 7));
	assert_int_equal(0, aa_prom_u64(&pf, "y", NULL, 0, UINT64_MAX));
	assert_int_equal(0, aa_prom_milli(&pf, "z", labelv + 1, 1, 12003));
	assert_int_equal(0, aa_prom_micro(&pf, "r", NULL, 0, 1000203));
	assert_string_equal("# HELP x a \"b\"\\n\\\\ c\n"
			    "# TYPE x gauge\n"
			    "x{aor=\"sip:\\\"a\\\\b\\\"\\nc@d\",none=\"\"} 7\n"
			    "y 18446744073709551615\n"
			    "z{none=\"\"} 12.003\n"
			    "r 1.000203\n", t.buf);
}


static double value_of(const char *text, const char *key)
{
	const char *p = strstr(text, key);

	assert_non_null(p);

	return strtod(p + strlen(key), NULL);
}


/* A value counts in its own bucket and in every larger one */
static void test_histogram(void **state)
{
	static const uint64_t msv[] = {0, 1, 2, 250, 251, 29999, 30001};
	const struct aa_prom_label label[] = {{"event", "failover"}};
	struct aa_histogram hist;
	struct text t = {{0}, 0};
	struct re_printf pf = {text_handler, &t};
	const char *p;
	double last = 0, le = 0;
	unsigned buckets = 0;
	size_t i;
	(void)state;

	memset(&hist, 0, sizeof(hist));
	for (i=0; i<sizeof(msv)/sizeof(msv[0]); i++)
		aa_histogram_add(&hist, msv[i]);

	assert_int_equal(0, aa_prom_histogram(&pf, "h", label, 1, &hist));

	for (p = t.buf; (p = strstr(p, "h_bucket{event=\"failover\",le=\""));
	     ++buckets) {
		double bound, n;

		p += strlen("h_bucket{event=\"failover\",le=\"");
		bound = strtod(p, NULL);
		p = strstr(p, "\"} ") + 3;
		n = strtod(p, NULL);
		assert_true(n >= last);
		assert_true(bound > le);
		last = n;
		le = bound;
	}

	assert_int_equal(AA_HISTOGRAM_BUCKETS, buckets);
	assert_true(isinf(le));
	assert_float_equal(2, value_of(t.buf, "le=\"0.001\"} "), 0);
	assert_float_equal(3, value_of(t.buf, "le=\"0.005\"} "), 0);
	assert_float_equal(3, value_of(t.buf, "le=\"0.1\"} "), 0);
	assert_float_equal(4, value_of(t.buf, "le=\"0.25\"} "), 0);
	assert_float_equal(5, value_of(t.buf, "le=\"1\"} "), 0);
	assert_float_equal(6, value_of(t.buf, "le=\"30\"} "), 0);
	assert_float_equal(7, value_of(t.buf, "le=\"+Inf\"} "), 0);
	assert_float_equal(7, value_of(t.buf,
				"h_count{event=\"failover\"} "), 0);
	assert_float_equal(60.504, value_of(t.buf,
				"h_sum{event=\"failover\"} "), 0.0001);
}


int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_long_text),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_file_cut),
		cmocka_unit_test(test_file_damaged),
		cmocka_unit_test(test_file_wrong),
		cmocka_unit_test(test_file_disk),
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_histogram),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
