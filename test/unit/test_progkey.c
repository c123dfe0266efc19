/**
 * @file test_progkey.c  Busy lamps on the keys of a phone
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
#include <cmocka.h>
#include <re.h>
#include "compat.h"
#include "progkey.h"


static bool print_handler(const struct aa_progkey *key, void *arg)
{
	char *buf = arg;
	const size_t l = strlen(buf);

	(void)snprintf(buf + l, 1024 - l, "%s|%s|%s|%d\n", key->name,
		       key->uri, key->label, key->list);

	return false;
}


static void check(const struct aa_progkeys *pk, uint32_t line,
		  const char *expected)
{
	char buf[1024] = "";

	assert_false(aa_progkeys_apply(pk, line, print_handler, buf));
	assert_string_equal(buf, expected);
}


static struct aa_progkeys *make(void)
{
	struct aa_progkeys *pk = NULL;

	assert_int_equal(aa_progkeys_alloc(&pk), 0);

	return pk;
}


static void keys(void **state)
{
	static const char *const v[][2] = {
		{"softkey2 type", "blf"}, {"softkey2 value", "202"},
		{"softkey2 label", "Bob"}, {"softkey2 line", "2"},
		{"softkey2 states", "idle connected"},
		{"prgkey10 type", "blf"}, {"prgkey10 value", "210"},
		{"prgkey3 value", "203@a.example"}, {"prgkey3 type", "BLF"},
		{"expmod1 key5 type", "blfxfer"},
		{"expmod1 key5 value", "sip:205@b.example"},
		{"topsoftkey1 type", "speeddial"},
		{"topsoftkey1 value", "999"},
		{"prgkey4 type", "blf"},
	};
	struct aa_progkeys *pk = make();
	size_t i;
	(void)state;

	for (i=0; i<ARRAY_SIZE(v); i++)
		assert_true(aa_progkeys_take(pk, v[i][0], v[i][1]));

	check(pk, 1, "prgkey3|203@a.example||0\nprgkey10|210||0\n"
	      "expmod1 key5|sip:205@b.example||0\n");
	check(pk, 2, "softkey2|202|Bob|0\n");
	check(pk, 3, "");

	assert_int_not_equal(aa_progkeys_hash(pk, 1), 0);
	assert_int_not_equal(aa_progkeys_hash(pk, 1),
			     aa_progkeys_hash(pk, 2));
	assert_int_equal(aa_progkeys_hash(pk, 3), 0);
	assert_int_equal(aa_progkeys_hash(NULL, 1), 0);

	/* a later file has another mind */
	assert_true(aa_progkeys_take(pk, "prgkey3 type", "none"));
	assert_true(aa_progkeys_take(pk, "prgkey10 value", ""));
	assert_true(aa_progkeys_take(pk, "softkey2 line", "1"));
	assert_true(aa_progkeys_take(pk, "topsoftkey1 type", "blf"));
	check(pk, 1, "softkey2|202|Bob|0\ntopsoftkey1|999||0\n"
	      "expmod1 key5|sip:205@b.example||0\n");

	mem_deref(pk);
}


static void lists(void **state)
{
	struct aa_progkeys *pk = make();
	(void)state;

	/* for a phone without keys the URI is enough */
	assert_true(aa_progkeys_take(pk, "list uri", "sip:team@a.example"));
	check(pk, 1, "list uri|sip:team@a.example||1\n");
	check(pk, 2, "");

	/* with keys, they say which line; one subscription for all of them */
	assert_true(aa_progkeys_take(pk, "softkey1 type", "list"));
	assert_true(aa_progkeys_take(pk, "softkey1 line", "2"));
	assert_true(aa_progkeys_take(pk, "softkey2 type", "list"));
	assert_true(aa_progkeys_take(pk, "softkey2 line", "2"));
	check(pk, 1, "");
	check(pk, 2, "softkey1|sip:team@a.example||1\n");

	assert_true(aa_progkeys_take(pk, "list uri", ""));
	check(pk, 2, "");

	mem_deref(pk);
}


static void others(void **state)
{
	static const char *const v[] = {
		"sip proxy ip", "prgkey", "prgkey type", "prgkey0 type",
		"prgkey1", "prgkey1type", "prgkey99999 type", "prgkeyx type",
		"prgkey4294967297 type", "expmod1 type", "expmod key1 type",
		"expmod1 key type", "expmod1 softkey1 type", "hardkey1 type",
		"list", ""
	};
	struct aa_progkeys *pk = make();
	char name[64];
	size_t i;
	(void)state;

	for (i=0; i<ARRAY_SIZE(v); i++)
		assert_false(aa_progkeys_take(pk, v[i], "blf"));

	/* bad lines are the first one */
	(void)aa_progkeys_take(pk, "prgkey1 type", "blf");
	(void)aa_progkeys_take(pk, "prgkey1 value", "1");
	(void)aa_progkeys_take(pk, "prgkey1 line", "0");
	check(pk, 1, "prgkey1|1||0\n");
	(void)aa_progkeys_take(pk, "prgkey1 line", "2 x");
	check(pk, 1, "prgkey1|1||0\n");
	(void)aa_progkeys_take(pk, "prgkey1 line", "global");
	check(pk, 1, "prgkey1|1||0\n");

	for (i=1; i<6000; i++) {
		(void)snprintf(name, sizeof(name), "expmod9 key%zu type", i);
		assert_true(aa_progkeys_take(pk, name, "line"));
	}

	assert_false(aa_progkeys_take(NULL, "prgkey1 type", "blf"));
	assert_false(aa_progkeys_take(pk, NULL, "blf"));
	assert_false(aa_progkeys_apply(NULL, 1, print_handler, NULL));
	assert_int_equal(aa_progkeys_alloc(NULL), EINVAL);

	mem_deref(pk);
}


int main(void)
{
	const struct CMUnitTest testv[] = {
		cmocka_unit_test(keys),
		cmocka_unit_test(lists),
		cmocka_unit_test(others),
	};

	return cmocka_run_group_tests(testv, NULL, NULL);
}
