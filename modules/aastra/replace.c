/**
 * @file replace.c  Replaces a file as a whole, or not at all
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <stdio.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <re.h>
#include "replace.h"


enum { PATH_SIZE = 600 };


static int write_handler(const char *p, size_t size, void *arg)
{
	return fwrite(p, 1, size, arg) == size ? 0 : EIO;
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
