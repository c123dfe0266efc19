/**
 * @file test_seen.c  The history, and the text format of the metrics
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
#include <cmocka.h>
#include <re.h>
#include "journal.h"
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

	assert_int_equal(0, aa_journal_alloc(&jnl, NULL, NULL));
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

	assert_int_equal(0, aa_journal_alloc(&jnl, NULL, NULL));

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

	assert_int_equal(0, aa_journal_alloc(&jnl, NULL, NULL));
	add(jnl, 1, text);
	assert_int_equal(AA_JOURNAL_TEXT_MAX - 1,
			 strlen(aa_journal_next(jnl, 1, NULL)->to));
	assert_string_equal("seen", aa_journal_next(jnl, 1, NULL)->reason);
	mem_deref(jnl);
}


/* ---- Prometheus --------------------------------------------------------- */


struct text {
	char buf[8192];
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
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_histogram),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
