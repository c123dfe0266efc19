/**
 * @file replace.c  Replaces a file as a whole, or not at all
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <stdio.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <signal.h>
#include <pthread.h>
#include <sys/stat.h>
#include <re.h>
#include "replace.h"


enum { PATH_SIZE = 600 };


/* Waits for the disk, so that libre's event loop does not have to */
static struct {
	pthread_mutex_t lock;
	pthread_t thread;
	bool started;           /* it has to be joined                      */
	bool running;           /* it will look at `again` once more        */
	bool again;             /* there is something to be waited for      */
	char path[PATH_SIZE];
} settle = {.lock = PTHREAD_MUTEX_INITIALIZER};


static int write_handler(const char *p, size_t size, void *arg)
{
	errno = 0;
	if (fwrite(p, 1, size, arg) == size)
		return 0;

	return errno ? errno : EIO;
}


static int fill(int fd, bool sync, re_printf_h *ph, void *arg)
{
	struct re_printf pf;
	FILE *f = fdopen(fd, "w");
	int err;

	if (!f) {
		err = errno;
		(void)close(fd);
		return err;
	}

	pf.vph = write_handler;
	pf.arg = f;

	err = ph(&pf, arg);
	if (!err && fflush(f))
		err = errno;
	if (!err && sync && fsync(fd))
		err = errno;
	if (fclose(f) && !err)
		err = errno;

	return err;
}


/**
 * Write a file beside another one, and put it in its place.  It is nobody
 * else's, and not readable for others for a moment either.
 *
 * @param path File
 * @param sync Wait until it is on the disk: a loss of power does no harm then,
 *             but a slow disk holds up everything else
 * @param ph   Prints what is to be in it
 * @param arg  Handler argument
 *
 * @return 0 if success, otherwise errorcode, and the file is as it was
 */
int aa_replace_file(const char *path, bool sync, re_printf_h *ph, void *arg)
{
	char tmp[PATH_SIZE];
	int fd, err;

	if (!str_isset(path) || !ph)
		return EINVAL;

	if (re_snprintf(tmp, sizeof(tmp), "%s.new", path) < 0)
		return ENAMETOOLONG;

	(void)unlink(tmp);
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
		  0600);
	if (fd < 0)
		return errno;

	err = fill(fd, sync, ph, arg);
	if (!err && rename(tmp, path))
		err = errno;
	if (err)
		(void)unlink(tmp);

	return err;
}


/**
 * Open a file to read what was written there.  Only a plain one: a pipe that
 * nobody writes to would hold up baresip's start for ever.
 *
 * @param fp   Pointer to the file, to be closed by fclose()
 * @param path File
 *
 * @return 0 if success, EBADMSG if it is no plain file, otherwise errorcode
 */
int aa_replace_read(FILE **fp, const char *path)
{
	struct stat st;
	int fd, err = 0;
	FILE *f;

	if (!fp || !str_isset(path))
		return EINVAL;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return errno;

	if (fstat(fd, &st))
		err = errno;
	else if (!S_ISREG(st.st_mode))
		err = EBADMSG;
	if (err)
		goto out;

	f = fdopen(fd, "r");
	if (f)
		*fp = f;
	else
		err = errno;

 out:
	if (err)
		(void)close(fd);

	return err;
}


static bool settle_next(char *path)
{
	bool again;

	(void)pthread_mutex_lock(&settle.lock);
	again = settle.running = settle.again;
	settle.again = false;
	memcpy(path, settle.path, sizeof(settle.path));
	(void)pthread_mutex_unlock(&settle.lock);

	return again;
}


/* Nothing of libre's is called here */
static void *settle_thread(void *arg)
{
	char path[PATH_SIZE];
	(void)arg;

	while (settle_next(path)) {
		const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

		if (fd < 0)
			continue;

		(void)fsync(fd);
		(void)close(fd);
	}

	return NULL;
}


static int settle_start(void)
{
	sigset_t all, old;
	int err;

	/* it has ended, or is about to */
	aa_replace_close();

	/* signals are for the thread of the event loop */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&settle.thread, NULL, settle_thread, NULL);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	settle.started = !err;

	return err;
}


/**
 * Have a file outlive a loss of power, without waiting for it: a thread that
 * ends when it is done waits for the disk.  Once it is called while that goes
 * on, the disk is waited for once more.
 *
 * @param path File, which was replaced by aa_replace_file() without `sync`
 *
 * @return 0 if success, otherwise errorcode: nobody waits for it
 */
int aa_replace_settle(const char *path)
{
	bool running;
	int err;

	if (!str_isset(path) || strlen(path) >= sizeof(settle.path))
		return EINVAL;

	(void)pthread_mutex_lock(&settle.lock);
	str_ncpy(settle.path, path, sizeof(settle.path));
	running = settle.running;
	settle.again = settle.running = true;
	(void)pthread_mutex_unlock(&settle.lock);

	if (running)
		return 0;

	err = settle_start();
	if (err) {
		/* there is no thread that could look at it */
		settle.again = settle.running = false;
	}

	return err;
}


/**
 * The module goes: what is waited for is waited for here
 */
void aa_replace_close(void)
{
	if (settle.started)
		(void)pthread_join(settle.thread, NULL);

	settle.started = false;
}
