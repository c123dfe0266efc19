/**
 * @file fetch.c  Files by HTTP, with libcurl
 *
 * libcurl's multi interface is called from a timer of libre, some hundred
 * times a second while something is being fetched, and not at all otherwise.
 * So there is one thread, nothing has to be locked, and when the module is
 * unloaded nothing of it still runs; and a fetch that hangs stops nobody.  (A
 * worker thread would have to be waited for, and sockets in libre's event
 * loop would gain some milliseconds for a few small files.)
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <re.h>
#ifdef AASTRA_HAVE_CURL
#include <curl/curl.h>
#endif
#include "compat.h"
#include "timer.h"
#include "fetch.h"


#ifdef AASTRA_HAVE_CURL


enum {
	TICK_MS     = 8,
	CONNECT_MS  = 5000,     /* DNS, TCP and TLS                         */
	FILE_MS     = 10000,    /* of one file                              */
	ALL_MS      = 15000,    /* of all of them                           */
	REDIRECTS   = 3
};


/** One file */
struct req {
	struct le le;
	CURL *easy;
	struct aa_fetch *fetch;
	size_t i;
	bool too_long;
	char error[CURL_ERROR_SIZE];
};

struct aa_fetch {
	CURLM *multi;
	struct aa_tmr tmr;
	struct list reql;       /* not finished (struct req)                */
	struct aa_fetch_file *filev;
	size_t filec;
	size_t max;             /* bytes of a file                          */
	uint64_t until;
	aa_fetch_h *h;
	void *arg;
};


static void req_destructor(void *arg)
{
	struct req *req = arg;

	list_unlink(&req->le);
	if (req->easy) {
		(void)curl_multi_remove_handle(req->fetch->multi, req->easy);
		curl_easy_cleanup(req->easy);
	}
}


static void destructor(void *arg)
{
	struct aa_fetch *f = arg;
	size_t i;

	aa_tmr_cancel(&f->tmr);
	list_flush(&f->reql);
	if (f->multi)
		(void)curl_multi_cleanup(f->multi);

	for (i=0; f->filev && i<f->filec; i++) {
		mem_deref((void *)(uintptr_t)f->filev[i].url);
		mem_deref(f->filev[i].mb);
	}
	mem_deref(f->filev);
	curl_global_cleanup();
}


static size_t write_handler(char *p, size_t size, size_t n, void *arg)
{
	struct req *req = arg;
	struct aa_fetch_file *file = &req->fetch->filev[req->i];
	const size_t len = size * n;

	if (!file->mb)
		file->mb = mbuf_alloc(len);

	if (!file->mb)
		return 0;

	if (len > req->fetch->max || file->mb->end > req->fetch->max - len) {
		req->too_long = true;
		return 0;
	}

	return mbuf_write_mem(file->mb, (const uint8_t *)p, len) ? 0 : len;
}


/* The last word: nothing may be touched after it */
static void finish(struct aa_fetch *f, int err, size_t i, const char *text)
{
	aa_tmr_cancel(&f->tmr);
	list_flush(&f->reql);

	f->h(err, i, text, f->filev, f->filec, f->arg);
}


/* true: the fetch has come to its end */
static bool req_done(struct req *req, CURLcode code)
{
	struct aa_fetch *f = req->fetch;
	struct aa_fetch_file *file = &f->filev[req->i];
	const size_t i = req->i;
	char text[CURL_ERROR_SIZE + 32];
	long status = 0;

	if (code != CURLE_OK) {
		if (req->too_long)
			(void)re_snprintf(text, sizeof(text),
					  "longer than %zu bytes", f->max);
		else
			str_ncpy(text, req->error[0] ? req->error
				 : curl_easy_strerror(code), sizeof(text));

		finish(f, code == CURLE_OPERATION_TIMEDOUT ? ETIMEDOUT : EIO,
		       i, text);
		return true;
	}

	(void)curl_easy_getinfo(req->easy, CURLINFO_RESPONSE_CODE, &status);

	if (status == 404 || status == 410) {
		file->mb = mem_deref(file->mb);
	}
	else if (status != 200) {
		(void)re_snprintf(text, sizeof(text), "HTTP status %ld",
				  status);
		finish(f, EPROTO, i, text);
		return true;
	}
	else {
		file->found = true;
		if (!file->mb)
			file->mb = mbuf_alloc(1);
		if (!file->mb) {
			finish(f, ENOMEM, i, "out of memory");
			return true;
		}
		file->mb->pos = 0;
	}

	mem_deref(req);

	if (!list_isempty(&f->reql))
		return false;

	finish(f, 0, 0, "");

	return true;
}


static void tick_handler(void *arg)
{
	struct aa_fetch *f = arg;
	int running = 0, left = 0;
	CURLMsg *msg;
	CURLMcode code;

	aa_tmr_start(&f->tmr, TICK_MS, tick_handler, f);

	code = curl_multi_perform(f->multi, &running);
	if (code != CURLM_OK) {
		finish(f, EIO, 0, curl_multi_strerror(code));
		return;
	}

	while ((msg = curl_multi_info_read(f->multi, &left))) {
		char *priv = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;

		(void)curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE,
					&priv);

		if (req_done((struct req *)(void *)priv, msg->data.result))
			return;
	}

	if (aa_now_ms() >= f->until) {
		const struct req *req = list_ledata(list_head(&f->reql));

		finish(f, ETIMEDOUT, req ? req->i : 0, "no answer in time");
	}
}


#define SET(option, value) \
	err |= CURLE_OK != curl_easy_setopt(req->easy, option, value)


static int req_options(struct req *req, const char *url, const char *cafile)
{
	const bool https = 0 == strncasecmp(url, "https:", 6);
	int err = 0;

	SET(CURLOPT_URL, url);
	SET(CURLOPT_PRIVATE, req);
	SET(CURLOPT_ERRORBUFFER, req->error);
	SET(CURLOPT_WRITEFUNCTION, write_handler);
	SET(CURLOPT_WRITEDATA, req);
	SET(CURLOPT_USERAGENT, "baresip-aastra/" AASTRA_VERSION);

	/* signals are baresip's */
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	SET(CURLOPT_TIMEOUT_MS, (long)FILE_MS);
	SET(CURLOPT_FOLLOWLOCATION, 1L);
	SET(CURLOPT_MAXREDIRS, (long)REDIRECTS);
	SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_ANY);

	/* what was asked for over TLS is not taken without it */
#if LIBCURL_VERSION_NUM >= 0x075500
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_REDIR_PROTOCOLS_STR, https ? "https" : "http,https");
#else
	SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
	SET(CURLOPT_REDIR_PROTOCOLS, (long)(https ? CURLPROTO_HTTPS :
					    CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	if (str_isset(cafile))
		SET(CURLOPT_CAINFO, cafile);

	/* a thread that waits for a dead DNS server is not waited for */
#if LIBCURL_VERSION_NUM >= 0x075700
	SET(CURLOPT_QUICK_EXIT, 1L);
#endif

	return err ? ENOSYS : 0;
}


static int req_alloc(struct aa_fetch *f, size_t i, const char *cafile)
{
	struct req *req;
	int err;

	req = mem_zalloc(sizeof(*req), req_destructor);
	if (!req)
		return ENOMEM;

	req->fetch = f;
	req->i     = i;
	list_append(&f->reql, &req->le, req);

	req->easy = curl_easy_init();
	if (!req->easy)
		return ENOMEM;

	err = req_options(req, f->filev[i].url, cafile);
	if (err)
		return err;

	return CURLM_OK == curl_multi_add_handle(f->multi, req->easy)
		? 0 : ENOMEM;
}


/*
 * A thread of libcurl that still asks a dead DNS server is left alone (see
 * CURLOPT_QUICK_EXIT): its code has to stay where it is when the module is
 * unloaded.
 */
static void libcurl_pin(void)
{
	Dl_info dli;

	if (dladdr((void *)(uintptr_t)curl_multi_perform, &dli))
		(void)dlopen(dli.dli_fname,
			     RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}


/**
 * Fetch files by HTTP or HTTPS, side by side, without ever blocking
 *
 * A file is given 10 seconds, all of them 15.  200 is a file, 404 and 410
 * mean that there is none, everything else is an error.  Servers are
 * verified, and redirections are followed, but never from HTTPS to HTTP.
 *
 * @param fetchp Pointer to the fetch; mem_deref() stops it without a word,
 *               and may be called from the handler
 * @param urlv   URLs; a name and a password may be in them
 * @param urlc   Number of them, 1 or more
 * @param cafile File of trusted certificates (PEM), NULL or empty: the
 *               system's
 * @param max    Longest file [bytes]
 * @param h      Called once, from a timer
 * @param arg    Handler argument
 *
 * @return 0 if success, ENOSYS if libcurl cannot or is not there, ENOMEM,
 *         EINVAL
 */
int aa_fetch_alloc(struct aa_fetch **fetchp, const char * const *urlv,
		   size_t urlc, const char *cafile, size_t max,
		   aa_fetch_h *h, void *arg)
{
	struct aa_fetch *f;
	size_t i;
	int err = 0;

	if (!fetchp || !urlv || !urlc || !max || !h)
		return EINVAL;

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return ENOSYS;

	f = mem_zalloc(sizeof(*f), destructor);
	if (!f) {
		curl_global_cleanup();
		return ENOMEM;
	}

	libcurl_pin();

	f->max   = max;
	f->h     = h;
	f->arg   = arg;
	f->until = aa_now_ms() + ALL_MS;
	f->filev = mem_zalloc(urlc * sizeof(*f->filev), NULL);
	f->multi = curl_multi_init();
	if (!f->filev || !f->multi) {
		err = ENOMEM;
		goto out;
	}

	f->filec = urlc;
	for (i=0; i<urlc && !err; i++) {
		char *url = NULL;

		err = str_dup(&url, urlv[i]);
		f->filev[i].url = url;
		if (!err)
			err = req_alloc(f, i, cafile);
	}

	aa_tmr_start(&f->tmr, 0, tick_handler, f);

 out:
	if (err)
		mem_deref(f);
	else
		*fetchp = f;

	return err;
}


#else


int aa_fetch_alloc(struct aa_fetch **fetchp, const char * const *urlv,
		   size_t urlc, const char *cafile, size_t max,
		   aa_fetch_h *h, void *arg)
{
	(void)fetchp;
	(void)urlv;
	(void)urlc;
	(void)cafile;
	(void)max;
	(void)h;
	(void)arg;

	return ENOSYS;
}


#endif
