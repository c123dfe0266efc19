/**
 * @file hangup.c  SIGHUP: the configuration is to be read again
 *
 * On a terminal SIGHUP means that the terminal has gone, so there it stays as
 * it was.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <re.h>
#include "compat.h"
#include "hangup.h"


static struct {
	struct aa_fd afd;       /* the end of the pipe that is read         */
	int wfd;                /* the end that the handler writes to       */
	struct sigaction was;
	aa_hangup_h *h;
	bool on;
} hup;


static void signal_handler(int sig)
{
	const int saved = errno;
	ssize_t n;
	(void)sig;

	/* full: one is enough */
	n = write(hup.wfd, "", 1);
	(void)n;
	errno = saved;
}


static void read_handler(int flags, void *arg)
{
	char buf[64];
	bool any = false;
	(void)flags;
	(void)arg;

	while (read(hup.afd.fd, buf, sizeof(buf)) > 0)
		any = true;

	if (any && hup.h)
		hup.h();
}


/**
 * Listen to SIGHUP, unless standard input is a terminal
 *
 * @param h Called from the event loop when it came
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_hangup_init(aa_hangup_h *h)
{
	struct sigaction sa;
	int fdv[2], err;

	memset(&hup, 0, sizeof(hup));

	if (isatty(STDIN_FILENO))
		return 0;

	if (pipe2(fdv, O_CLOEXEC | O_NONBLOCK))
		return errno;

	hup.wfd = fdv[1];
	err = aa_compat_fd_read(&hup.afd, fdv[0], read_handler, NULL);
	if (err) {
		(void)close(fdv[0]);
		(void)close(fdv[1]);
		return err;
	}

	hup.h = h;

	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = signal_handler;
	sa.sa_flags   = SA_RESTART;
	(void)sigemptyset(&sa.sa_mask);

	if (sigaction(SIGHUP, &sa, &hup.was)) {
		err = errno;
		aa_compat_fd_close(&hup.afd);
		(void)close(hup.wfd);
		return err;
	}

	hup.on = true;

	return 0;
}


/**
 * Put back what SIGHUP did before; not where someone else has taken it since
 */
void aa_hangup_close(void)
{
	struct sigaction now;

	if (!hup.on)
		return;

	if (!sigaction(SIGHUP, NULL, &now) && now.sa_handler == signal_handler)
		(void)sigaction(SIGHUP, &hup.was, NULL);

	hup.on = false;
	aa_compat_fd_close(&hup.afd);
	(void)close(hup.wfd);
}
