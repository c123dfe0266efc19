/**
 * @file test_stray.c  Farewells that may outlive the line that sent them
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <errno.h>
#include <unistd.h>
#include <cmocka.h>
#include <re.h>
#include "compat.h"
#include "flow.h"
#include "line.h"
#include "stray.h"


static const char path[] = "test_stray.txt";
static const char aor[]  = "sip:100@pbx.example.com";
static const enum aa_rank backup[AA_ROLE_COUNT] = {
	AA_RANK_BACKUP, AA_RANK_PRIMARY, AA_RANK_BACKUP
};

static struct {
	uint64_t now;
	uint64_t wall;
	struct list l;
} t;


uint64_t aa_now_ms(void)
{
	return t.now;
}


uint64_t aa_wall_ms(void)
{
	return t.wall;
}


static int setup(void **state)
{
	(void)state;

	t.now  = 1000;
	t.wall = 1795364719724ULL;
	list_init(&t.l);
	(void)unlink(path);

	return 0;
}


static int teardown(void **state)
{
	(void)state;

	list_flush(&t.l);
	(void)unlink(path);

	return 0;
}


static void add(const char *who, unsigned regid, uint64_t until)
{
	assert_int_equal(aa_stray_add(NULL, &t.l, who, regid, backup, until),
			 0);
}


static struct aa_stray *first(const char *who)
{
	struct le *le;
	struct pl pl;

	pl_set_str(&pl, who);
	for (le = t.l.head; le; le = le->next) {
		if (aa_stray_is(le->data, &pl))
			return le->data;
	}

	return NULL;
}


/* The phone is switched off for a while, and its host's clock begins anew */
static void restart(uint64_t ms)
{
	assert_int_equal(aa_stray_save(&t.l, path), 0);
	list_flush(&t.l);
	t.wall += ms;
	t.now   = 7;
	aa_stray_load(&t.l, path);
}


static void test_over_a_restart(void **state)
{
	struct aa_stray *s;
	(void)state;

	add(aor, 5, t.now + 32000);
	add("sip:101@pbx.example.com", 1, t.now + 20000);
	add(aor, 2, t.now + 1000);
	restart(3000);

	assert_null(first("10"));
	assert_null(first("1000"));
	s = first("100");
	assert_non_null(s);
	assert_string_equal(s->aor, aor);
	assert_int_equal(s->regid, 5);
	assert_memory_equal(s->use, backup, sizeof(backup));
	assert_int_equal(s->until, t.now + 29000);

	/* what was over by then is not there */
	aa_stray_drop(s);
	assert_null(first("100"));
	assert_int_equal(list_count(&t.l), 1);

	/* where there is nothing to remember, there is no file */
	t.now += 20000;
	assert_int_equal(aa_stray_save(&t.l, path), 0);
	assert_int_not_equal(access(path, F_OK), 0);
	assert_int_equal(aa_stray_save(&t.l, path), 0);
}


static void test_answered(void **state)
{
	struct aa_stray *s;
	(void)state;

	/* the same farewell, said again: there is one note of it */
	assert_int_equal(aa_stray_add(&s, &t.l, aor, 1, backup, 5000), 0);
	add(aor, 1, 4000);
	assert_int_equal(list_count(&t.l), 1);
	assert_int_equal(s->until, 5000);

	/* one before it may arrive still */
	aa_stray_answered(s, 4000);
	assert_int_equal(list_count(&t.l), 1);
	assert_int_equal(s->until, 4000);
	aa_stray_answered(s, 0);
	assert_int_equal(list_count(&t.l), 0);
	mem_deref(s);

	/* answered when somebody has taken it, or all is over */
	assert_int_equal(aa_stray_add(&s, &t.l, aor, 1, backup, 5000), 0);
	aa_stray_drop(first("100"));
	aa_stray_answered(s, 0);
	aa_stray_drop(s);
	mem_deref(s);
	aa_stray_answered(NULL, 0);
	aa_stray_drop(NULL);
}


/* It counts for whoever has the user's name, and until it is over */
static void test_whose(void **state)
{
	(void)state;

	add(aor, 1, 5000);
	add("sip:100@other.example.com:5080;transport=tcp", 2, 4000);
	add("sip:101@pbx.example.com", 1, 3000);
	assert_int_equal(first("100")->regid, 1);
	t.now = 3000;
	assert_null(first("101"));

	/* nobody has taken it: it does not stay for ever */
	add(aor, 9, 6000);
	assert_int_equal(list_count(&t.l), 3);
	t.now = 5000;
	assert_int_equal(first("100")->regid, 9);
	assert_false(aa_stray_is(NULL, NULL));
}


static void write_file(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}


static void test_rubbish(void **state)
{
	static const char head[] =
		"# aastra.so: farewells not answered, version 1\n";
	static const char *const rowv[] = {
		"", "\n", "x", "sip:a@b 1 2 1 2",
		"sip 1 2 1 2 1795364729724\n",          /* no URI           */
		"sip:a@b 0 2 1 2 1795364729724\n",      /* no reg-id        */
		"sip:a@b 257 2 1 2 1795364729724\n",
		"sip:a@b 1 9 1 2 1795364729724\n",      /* no such rank     */
		"sip:a@b 1 2 -1 2 1795364729724\n",
		"sip:a@b 1 2 1 2 1795364719724\n",      /* over             */
		"sip:a@b 1 2 1 2 1795564719724\n",      /* in days          */
		"sip:a@b 1 2 1 2 18446744073709551615\n"
	};
	char text[4096];
	size_t i;
	(void)state;

	for (i=0; i<ARRAY_SIZE(rowv); i++) {
		(void)re_snprintf(text, sizeof(text), "%s%s", head, rowv[i]);
		write_file(text);
		aa_stray_load(&t.l, path);
		assert_int_equal(list_count(&t.l), 0);
	}

	/* of another version */
	write_file("# else\nsip:a@b 1 2 1 2 1795364729724\n");
	aa_stray_load(&t.l, path);
	assert_int_equal(list_count(&t.l), 0);

	(void)re_snprintf(text, sizeof(text), "%s%s", head,
			  "sip:a@b 1 2 1 2 1795364729724\n");
	write_file(text);
	aa_stray_load(&t.l, path);
	assert_int_equal(list_count(&t.l), 1);

	aa_stray_load(&t.l, "no/such/file");
	aa_stray_load(&t.l, "");
	aa_stray_load(NULL, path);
	assert_int_equal(aa_stray_save(&t.l, "no/such/file"), ENOENT);
	assert_int_equal(aa_stray_save(&t.l, ""), EINVAL);
	assert_int_equal(aa_stray_add(NULL, &t.l, aor, 0, backup, 5000),
			 EINVAL);
	assert_int_equal(aa_stray_add(NULL, &t.l, "", 1, backup, 5000),
			 EINVAL);
}


static void test_many(void **state)
{
	char who[64];
	unsigned i;
	int err = 0;
	(void)state;

	for (i=0; i<10000 && !err; i++) {
		(void)re_snprintf(who, sizeof(who), "sip:%u@b", i);
		err = aa_stray_add(NULL, &t.l, who, 1, backup, 5000);
	}

	assert_int_equal(err, EOVERFLOW);
	assert_int_equal(i, 4097);
}


int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_over_a_restart, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_answered, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_whose, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rubbish, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
