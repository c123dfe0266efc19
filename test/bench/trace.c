/**
 * @file trace.c  When a phone asked the kernel for what, step by step
 *
 * Preloaded into a phone.  The file named by BENCH_TRACE holds the number of
 * records, and then the records: what libre was told by epoll_wait(), what it
 * read, to whom it connected, and which REGISTERs it sent; TLS is looked into
 * where OpenSSL takes it and gives it.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>


enum {
	RECORDS = 65536         /* as many as trace.py has made room for    */
};

struct record {
	uint64_t ns;
	int32_t fd;             /* -1: not known, as in TLS                 */
	char what[20];
};

struct trace {
	uint64_t count;
	struct record v[RECORDS];
};

int SSL_read(void *ssl, void *buf, int n);
int SSL_write(void *ssl, const void *buf, int n);


static struct trace *shared(void)
{
	static struct trace *trace;
	const char *path;
	void *p;
	int fd;

	if (trace)
		return trace;

	path = getenv("BENCH_TRACE");
	fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	if (fd < 0)
		return NULL;

	p = mmap(NULL, sizeof(*trace), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		 0);
	(void)close(fd);
	if (p != MAP_FAILED)
		trace = p;

	return trace;
}


static void note(int fd, const char *fmt, const char *what)
{
	struct trace *t = shared();
	struct timespec ts;
	struct record *r;

	if (!t || t->count >= RECORDS)
		return;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);

	r = &t->v[t->count];
	r->ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	r->fd = fd;
	(void)snprintf(r->what, sizeof(r->what), fmt, what);
	__sync_synchronize();
	++t->count;
}


/* The end of the header that begins with a name, or NULL */
static const char *find(const char *buf, size_t n, const char *name)
{
	return memmem(buf, n, name, strlen(name));
}


/* Is there a REGISTER in what is sent, with a digest or without? */
static void note_sent(int fd, const char *buf, size_t n)
{
	const char *p = find(buf, n, "REGISTER sip:");

	if (!p)
		return;

	n -= (size_t)(p - buf);
	note(fd, "%s", find(p, n, ";expires=0") ? "farewell" :
	     find(p, n, "\r\nAuthorization:") ? "register-digest" :
	     "register");
}


/* Responses to REGISTER in what was read; one that is split is missed, and
   the round with it */
static void note_read(int fd, const char *buf, size_t n)
{
	const char *end = buf + n, *p = buf;

	while ((p = find(p, (size_t)(end - p), "SIP/2.0 ")) && end - p > 11) {
		const char *cseq, *eol;
		char code[4];

		memcpy(code, p + 8, 3);
		code[3] = '\0';
		p += 11;

		cseq = find(p, (size_t)(end - p), "\r\nCSeq:");
		if (!cseq)
			break;

		eol = find(cseq + 2, (size_t)(end - cseq) - 2, "\r\n");
		if (eol && find(cseq, (size_t)(eol - cseq), "REGISTER"))
			note(fd, "response-%s", code);
		p = cseq + 2;
	}
}


static void *real(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}


int epoll_wait(int epfd, struct epoll_event *events, int maxevents,
	       int timeout)
{
	static int (*f)(int, struct epoll_event *, int, int);
	int i, ret;

	if (!f)
		*(void **)&f = real("epoll_wait");

	ret = f(epfd, events, maxevents, timeout);
	for (i=0; i<ret; i++)
		note(events[i].data.fd, "%s", "event");

	return ret;
}


ssize_t recv(int fd, void *buf, size_t n, int flags)
{
	static ssize_t (*f)(int, void *, size_t, int);
	ssize_t ret;
	int err;

	if (!f)
		*(void **)&f = real("recv");

	ret = f(fd, buf, n, flags);
	err = errno;

	if (ret == 0 || (ret < 0 && err != EAGAIN && err != EINTR))
		note(fd, "%s", "closed");
	else if (ret > 0)
		note_read(fd, buf, (size_t)ret);

	errno = err;

	return ret;
}


ssize_t send(int fd, const void *buf, size_t n, int flags)
{
	static ssize_t (*f)(int, const void *, size_t, int);

	if (!f)
		*(void **)&f = real("send");

	note_sent(fd, buf, n);

	return f(fd, buf, n, flags);
}


int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	static int (*f)(int, const struct sockaddr *, socklen_t);
	char text[INET_ADDRSTRLEN];
	int type = 0, err;
	socklen_t size = sizeof(type);

	if (!f)
		*(void **)&f = real("connect");

	err = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);
	if (!err && type == SOCK_STREAM && addr->sa_family == AF_INET &&
	    inet_ntop(AF_INET, &((const struct sockaddr_in *)
				 (const void *)addr)->sin_addr,
		      text, sizeof(text)))
		note(fd, ">%s", text);

	return f(fd, addr, len);
}


int SSL_read(void *ssl, void *buf, int n)
{
	static int (*f)(void *, void *, int);
	int ret;

	if (!f)
		*(void **)&f = real("SSL_read");

	ret = f(ssl, buf, n);
	if (ret > 0)
		note_read(-1, buf, (size_t)ret);

	return ret;
}


int SSL_write(void *ssl, const void *buf, int n)
{
	static int (*f)(void *, const void *, int);

	if (!f)
		*(void **)&f = real("SSL_write");

	if (n > 0)
		note_sent(-1, buf, (size_t)n);

	return f(ssl, buf, n);
}
