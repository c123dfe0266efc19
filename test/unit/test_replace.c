/**
 * @file test_replace.c  A file that outlives a loss of power
 *
 * The disk is played: fsync() takes until the test lets it go.
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
#include <time.h>
#include <unistd.h>
#include <signal.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <cmocka.h>
#include <re.h>
#include "compat.h"
#include "replace.h"


static const char path[] = "test_replace.txt";

static struct {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned begun;         /* fsync()s                                 */
	unsigned may_end;       /* as many may return                       */
	bool elsewhere;         /* not in the thread of the event loop      */
	pthread_t loop;
	char seen[64];          /* what was in the file                     */
} disk = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.cond = PTHREAD_COND_INITIALIZER,
};


int fsync(int fd)
{
	const struct timespec slow = {.tv_sec = time(NULL) + 60};
	unsigned n;
	ssize_t len;

	(void)pthread_mutex_lock(&disk.lock);
	n = ++disk.begun;
	disk.elsewhere = !pthread_equal(pthread_self(), disk.loop);
	len = pread(fd, disk.seen, sizeof(disk.seen) - 1, 0);
	disk.seen[len > 0 ? len : 0] = '\0';
	(void)pthread_cond_broadcast(&disk.cond);
	while (disk.may_end < n &&
	       !pthread_cond_timedwait(&disk.cond, &disk.lock, &slow))
		;
	(void)pthread_mutex_unlock(&disk.lock);

	return 0;
}


static void wait_begun(unsigned n)
{
	const struct timespec late = {.tv_sec = time(NULL) + 30};

	(void)pthread_mutex_lock(&disk.lock);
	while (disk.begun < n)
		assert_int_equal(pthread_cond_timedwait(&disk.cond, &disk.lock,
							&late), 0);
	(void)pthread_mutex_unlock(&disk.lock);
}


static void let_go(unsigned n)
{
	(void)pthread_mutex_lock(&disk.lock);
	disk.may_end = n;
	(void)pthread_cond_broadcast(&disk.cond);
	(void)pthread_mutex_unlock(&disk.lock);
}


static int print_handler(struct re_printf *pf, void *arg)
{
	return re_hprintf(pf, "%s", arg);
}


static void put(const char *text)
{
	assert_int_equal(aa_replace_file(path, false, print_handler,
					 (void *)(uintptr_t)text), 0);
}


/* Whoever writes goes on while the disk is busy; what is written meanwhile is
   waited for as well, once; the end waits */
static void settle(void **state)
{
	(void)state;

	disk.loop = pthread_self();

	put("one");
	assert_int_equal(aa_replace_settle(path), 0);
	wait_begun(1);
	assert_true(disk.elsewhere);
	assert_string_equal(disk.seen, "one");

	put("two");
	assert_int_equal(aa_replace_settle(path), 0);
	put("three");
	assert_int_equal(aa_replace_settle(path), 0);
	assert_int_equal(disk.begun, 1);

	let_go(1);
	wait_begun(2);
	assert_string_equal(disk.seen, "three");
	let_go(2);
	aa_replace_close();
	assert_int_equal(disk.begun, 2);

	/* again, after the thread has ended */
	put("four");
	let_go(3);
	assert_int_equal(aa_replace_settle(path), 0);
	aa_replace_close();
	assert_int_equal(disk.begun, 3);
	assert_string_equal(disk.seen, "four");
	aa_replace_close();

	(void)unlink(path);
}


/* A file that is gone, and none at all */
static void nothing(void **state)
{
	char name[1024];
	(void)state;

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';

	assert_int_equal(aa_replace_settle(NULL), EINVAL);
	assert_int_equal(aa_replace_settle(""), EINVAL);
	assert_int_equal(aa_replace_settle(name), EINVAL);
	assert_int_equal(aa_replace_settle("test_replace.none"), 0);
	aa_replace_close();
	assert_int_equal(disk.begun, 3);
}


static int long_handler(struct re_printf *pf, void *arg)
{
	const size_t *size = arg;
	size_t n;
	int err = 0;

	for (n=0; n<*size && !err; n += 8)
		err = re_hprintf(pf, "%08zx", n);

	return err;
}


/* What the system says stands in the log, be it that a write failed in the
   midst of what is printed or at its end; the old file stays */
static void no_space(void **state)
{
	static const size_t sizev[] = {16, 8192, 12288, 200000};
	struct rlimit old, few;
	char text[8] = "";
	size_t i;
	FILE *f;
	(void)state;

	put("old");
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);

	for (i=0; i<ARRAY_SIZE(sizev); i++) {
		int err;

		few = old;
		few.rlim_cur = sizev[i] / 2;
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &few), 0);
		err = aa_replace_file(path, false, long_handler,
				      (void *)(uintptr_t)&sizev[i]);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
		assert_int_equal(err, EFBIG);
		assert_int_equal(access("test_replace.txt.new", F_OK), -1);
	}

	f = fopen(path, "re");
	assert_non_null(f);
	assert_int_equal(fread(text, 1, sizeof(text) - 1, f), 3);
	(void)fclose(f);
	assert_string_equal(text, "old");

	(void)unlink(path);
}


/* What is no plain file holds nothing up */
static void reading(void **state)
{
	char text[16] = "";
	FILE *f = NULL;
	(void)state;

	(void)unlink(path);
	assert_int_equal(aa_replace_read(&f, path), ENOENT);
	assert_int_equal(aa_replace_read(&f, ""), EINVAL);
	assert_int_equal(aa_replace_read(NULL, path), EINVAL);
	assert_int_equal(aa_replace_read(&f, "."), EBADMSG);
	assert_int_equal(aa_replace_read(&f, "/dev/zero"), EBADMSG);

	/* a pipe that nobody writes to */
	assert_int_equal(mkfifo(path, 0600), 0);
	(void)alarm(30);
	assert_int_equal(aa_replace_read(&f, path), EBADMSG);
	(void)alarm(0);
	(void)unlink(path);
	assert_null(f);

	put("some text");
	assert_int_equal(aa_replace_read(&f, path), 0);
	assert_non_null(fgets(text, sizeof(text), f));
	assert_string_equal(text, "some text");
	assert_int_equal(fclose(f), 0);
	(void)unlink(path);
}


int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(settle),
		cmocka_unit_test(nothing),
		cmocka_unit_test(no_space),
		cmocka_unit_test(reading),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
