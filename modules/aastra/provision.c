/**
 * @file provision.c  The phone's files from a server, and the last good copy
 *
 * The folder of `aastra_cfg_url` has the files that a phone would load:
 * aastra.cfg (or startup.cfg), <model>.cfg, <MAC>.cfg.  What came last and
 * was good is kept in one file, so that it is replaced as a whole or not at
 * all, and is used until the server has said something newer: at once at
 * start, and as long as the server is away.
 *
 * The copy: a line that says what it is, the URL, one line for each file
 * with its layer, its length and its name, followed by its bytes and a line
 * end; and a last line, without which it is not whole.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <re.h>
#include "aastra_baresip.h"
#include "timer.h"
#include "fetch.h"
#include "replace.h"
#include "provision.h"


enum {
	FILE_MAX     = 4*1024*1024,     /* as of a file in a folder         */
	COPY_MAX     = 4*FILE_MAX,
	NAME_SIZE    = 272,
	RETRY_MIN_MS = 5000,            /* twice as long each time          */
	RETRY_MAX_MS = 1800000
};


static const char head[] = "aastra-files 1\n";
static const char tail[] = "end\n";


/** Files that belong together; aa_config_fetched with the memory behind it */
struct files {
	struct aa_config_fetched f;
	char *url;
	char *filev[AA_LAYER_COUNT];    /* names in the folder              */
	char *namev[AA_LAYER_COUNT];    /* URLs, for findings               */
	struct mbuf *mbv[AA_LAYER_COUNT];
};

/** One file that is looked for, by the names that it may have */
struct wanted {
	enum aa_config_layer layer;
	char namev[2][NAME_SIZE]; /* the second where the first is not there  */
	size_t try;
	bool done;
};

struct aa_provision {
	char path[512];         /* of the copy                              */
	char *url;              /* being fetched                            */
	char *cafile;
	struct files *good;
	struct files *next;     /* what has come so far                     */
	struct aa_fetch *fetch;
	struct wanted wantv[AA_LAYER_COUNT];
	size_t wantc;
	size_t askv[AA_LAYER_COUNT]; /* what each URL of the fetch is for   */
	struct aa_tmr tmr;
	unsigned failures;
	aa_provision_h *h;
	void *arg;
};


static int round_begin(struct aa_provision *pv);


static void files_destructor(void *arg)
{
	struct files *fs = arg;
	size_t i;

	for (i=0; i<AA_LAYER_COUNT; i++) {
		mem_deref(fs->filev[i]);
		mem_deref(fs->namev[i]);
		mem_deref(fs->mbv[i]);
	}
	mem_deref(fs->url);
}


static int files_alloc(struct files **fsp, const char *url, size_t len)
{
	const struct pl pl = {url, len};
	struct files *fs = mem_zalloc(sizeof(*fs), files_destructor);
	int err;

	if (!fs)
		return ENOMEM;

	err = pl_strdup(&fs->url, &pl);
	if (err) {
		mem_deref(fs);
		return err;
	}

	fs->f.url = fs->url;
	*fsp = fs;

	return 0;
}


/*
 * A URL as it may be shown: without name and password
 *
 * A password may have a character in it that it must not have there, which
 * ends the host too soon: then too much is left out, and nothing secret shown.
 */
static int print_url(struct re_printf *pf, const char *url)
{
	const char *host = strstr(url, "://");
	const char *at;
	size_t len;

	if (!host)
		return 0;

	host += 3;
	len = strcspn(host, "/?#");

	at = strrchr(host, '@');
	if (at && (at < host + len || memchr(host, ':', len)))
		return re_hprintf(pf, "%b%s", url, (size_t)(host - url),
				  at + 1);

	return re_hprintf(pf, "%s", url);
}


/* The folder and a name in it, with what a URL cannot hold written as %XX */
static int print_in_folder(struct re_printf *pf, const char *url,
			   const char *name)
{
	size_t len = strlen(url);
	int err;

	while (len && url[len - 1] == '/')
		--len;

	err = re_hprintf(pf, "%b/", url, len);

	for (; *name && !err; name++) {
		const char c = *name;

		if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
		    (c >= 'a' && c <= 'z') || strchr("-._~", c))
			err = re_hprintf(pf, "%c", c);
		else
			err = re_hprintf(pf, "%%%02X", (unsigned)(uint8_t)c);
	}

	return err;
}


struct place {
	const char *url;
	const char *name;
};


static int print_place(struct re_printf *pf, const struct place *pl)
{
	return print_in_folder(pf, pl->url, pl->name);
}


static int files_add(struct files *fs, enum aa_config_layer layer,
		     const char *name, struct mbuf *mb)
{
	const size_t n = fs->f.textc;
	struct aa_config_text *t;
	char *url = NULL;
	struct place pl;
	int err;

	if (n >= AA_LAYER_COUNT)
		return EOVERFLOW;

	/* the findings name it, so nothing secret is in it */
	err = re_sdprintf(&url, "%H", print_url, fs->url);
	if (err)
		return err;

	pl.url  = url;
	pl.name = name;
	err = re_sdprintf(&fs->namev[n], "%H", print_place, &pl);
	mem_deref(url);
	err |= str_dup(&fs->filev[n], name);
	if (err)
		return ENOMEM;

	fs->mbv[n] = mem_ref(mb);

	t = &fs->f.textv[n];
	t->layer = layer;
	t->name  = fs->namev[n];
	t->buf   = (const char *)mb->buf;
	t->len   = mb->end;
	++fs->f.textc;

	return 0;
}


static bool files_same(const struct files *a, const struct files *b)
{
	size_t i;

	if (!a || !b || 0 != strcmp(a->url, b->url) ||
	    a->f.textc != b->f.textc)
		return false;

	for (i=0; i<a->f.textc; i++) {
		const struct aa_config_text *x = &a->f.textv[i];
		const struct aa_config_text *y = &b->f.textv[i];

		if (x->layer != y->layer || 0 != strcmp(x->name, y->name) ||
		    x->len != y->len ||
		    (x->len && 0 != memcmp(x->buf, y->buf, x->len)))
			return false;
	}

	return true;
}


/* ---- the copy --------------------------------------------------------- */


static int copy_print(struct mbuf *mb, const struct files *fs)
{
	size_t i;
	int err;

	err = mbuf_printf(mb, "%s%s\n", head, fs->url);

	for (i=0; i<fs->f.textc && !err; i++) {
		const struct aa_config_text *t = &fs->f.textv[i];

		err = mbuf_printf(mb, "%d %zu %s\n", (int)t->layer, t->len,
				  fs->filev[i]);
		if (!err && t->len)
			err = mbuf_write_mem(mb, (const uint8_t *)t->buf,
					     t->len);
		if (!err)
			err = mbuf_write_str(mb, "\n");
	}

	return err ? err : mbuf_write_str(mb, tail);
}


static int mbuf_handler(struct re_printf *pf, void *arg)
{
	const struct mbuf *mb = arg;

	return pf->vph((const char *)mb->buf, mb->end, pf->arg);
}


/* It holds passwords */
static int copy_save(const struct aa_provision *pv, const struct files *fs)
{
	struct mbuf *mb = mbuf_alloc(4096);
	int err;

	if (!mb)
		return ENOMEM;

	err = copy_print(mb, fs);
	if (!err)
		err = aa_replace_file(pv->path, true, mbuf_handler, mb);

	mem_deref(mb);

	return err;
}


/* One file of the copy, "2 117 00085D1610DE.cfg\n...\n" */
static int copy_file(struct files *fs, struct pl *rest)
{
	const char *nl = memchr(rest->p, '\n', rest->l);
	char line[320], name[sizeof(line)];
	struct mbuf *mb;
	unsigned layer, n;
	size_t l;
	int err = 0;

	l = nl ? (size_t)(nl - rest->p) : sizeof(line);
	if (l >= sizeof(line))
		return EBADMSG;

	memcpy(line, rest->p, l);
	line[l] = '\0';
	pl_advance(rest, (ssize_t)l + 1);

	if (3 != sscanf(line, "%1u %8u %319[^\n]", &layer, &n, name) ||
	    layer >= AA_LAYER_BARESIP || n > FILE_MAX ||
	    strlen(name) >= NAME_SIZE ||
	    rest->l < (size_t)n + 1 || rest->p[n] != '\n')
		return EBADMSG;

	mb = mbuf_alloc(n + 1);
	if (!mb)
		return ENOMEM;

	if (n)
		err = mbuf_write_mem(mb, (const uint8_t *)rest->p, n);
	if (!err)
		err = files_add(fs, (enum aa_config_layer)layer, name, mb);

	mem_deref(mb);
	pl_advance(rest, (ssize_t)n + 1);

	return err;
}


static int copy_decode(struct files **fsp, const struct mbuf *mb)
{
	struct pl rest = {(const char *)mb->buf, mb->end};
	const char *nl;
	struct files *fs;
	int err;

	if (rest.l < sizeof(head) || memcmp(rest.p, head, sizeof(head) - 1))
		return EBADMSG;
	pl_advance(&rest, sizeof(head) - 1);

	nl = memchr(rest.p, '\n', rest.l);
	if (!nl)
		return EBADMSG;

	err = files_alloc(&fs, rest.p, (size_t)(nl - rest.p));
	if (err)
		return err;

	pl_advance(&rest, nl + 1 - rest.p);

	while (!err && pl_strcmp(&rest, tail))
		err = copy_file(fs, &rest);

	if (err)
		mem_deref(fs);
	else
		*fsp = fs;

	return err;
}


static int copy_read(struct mbuf *mb, const char *path)
{
	struct stat st;
	int fd, err = 0;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	if (fd < 0)
		return errno;

	if (fstat(fd, &st))
		err = errno;
	else if (!S_ISREG(st.st_mode))
		err = EINVAL;
	else if (st.st_size > COPY_MAX)
		err = EFBIG;

	while (!err) {
		uint8_t buf[4096];
		const ssize_t n = read(fd, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			err = errno;
		if (n <= 0)
			break;

		if (mb->end + (size_t)n > COPY_MAX)
			err = EFBIG;
		else
			err = mbuf_write_mem(mb, buf, (size_t)n);
	}

	(void)close(fd);

	return err;
}


static void copy_load(struct aa_provision *pv)
{
	struct mbuf *mb = mbuf_alloc(4096);
	int err;

	err = mb ? copy_read(mb, pv->path) : ENOMEM;
	if (!err)
		err = copy_decode(&pv->good, mb);

	if (err && err != ENOENT)
		warning("aastra: %s: the copy of the fetched files is not used"
			" (%m)\n", pv->path, err);

	mem_deref(mb);
}


/* ---- fetching --------------------------------------------------------- */


static void failed(struct aa_provision *pv, const char *name,
		   const char *text);


static void retry_handler(void *arg)
{
	struct aa_provision *pv = arg;
	size_t i;

	for (i=0; i<pv->wantc; i++) {
		pv->wantv[i].try  = 0;
		pv->wantv[i].done = false;
	}

	if (round_begin(pv))
		failed(pv, "", "it cannot be fetched");
}


static void failed(struct aa_provision *pv, const char *name,
		   const char *text)
{
	uint64_t wait = (uint64_t)RETRY_MIN_MS << MIN(pv->failures, 16U);

	wait = MIN(wait, (uint64_t)RETRY_MAX_MS);
	wait = wait / 2 + rand_u32() % (wait / 2);

	/* once, and not again for each try */
	if (!pv->failures++) {
		char *url = NULL;
		struct place pl;

		(void)re_sdprintf(&url, "%H", print_url, pv->url);
		pl.url  = url ? url : "";
		pl.name = name;
		warning("aastra: %H: %s: %s\n", print_place, &pl, text,
			pv->good ? "the last good copy is used"
			: "there is no copy that could be used");
		mem_deref(url);
	}

	pv->next = mem_deref(pv->next);
	aa_tmr_start(&pv->tmr, wait, retry_handler, pv);
}


static void finished(struct aa_provision *pv)
{
	struct files *next = pv->next;
	int err;

	pv->next = NULL;

	if (!next || !next->f.textc) {
		mem_deref(next);
		failed(pv, "", "none of the files is there");
		return;
	}

	if (files_same(next, pv->good)) {
		if (pv->failures)
			info("aastra: %H answers again: nothing has changed\n",
			     print_url, pv->url);
		pv->failures = 0;
		mem_deref(next);
		return;
	}

	err = pv->h(&next->f, pv->arg);
	if (err) {
		mem_deref(next);
		failed(pv, "", "what came is no configuration");
		return;
	}

	pv->failures = 0;
	mem_deref(pv->good);
	pv->good = next;

	err = copy_save(pv, next);
	if (err)
		warning("aastra: %s: the copy of the fetched files could not"
			" be kept (%m)\n", pv->path, err);
}


static void fetch_handler(int err, size_t file, const char *text,
			  const struct aa_fetch_file *filev, size_t filec,
			  void *arg)
{
	struct aa_provision *pv = arg;
	bool again = false;
	size_t i;

	if (err) {
		const struct wanted *w = &pv->wantv[pv->askv[file]];
		char name[sizeof(w->namev[0])];

		str_ncpy(name, w->namev[w->try], sizeof(name));
		failed(pv, name, text);
		goto out;
	}

	for (i=0; i<filec; i++) {
		struct wanted *w = &pv->wantv[pv->askv[i]];

		if (filev[i].found) {
			err = files_add(pv->next, w->layer, w->namev[w->try],
					filev[i].mb);
			w->done = true;
		}
		else if (w->try == 0 && w->namev[1][0]) {
			w->try = 1;
			again = true;
		}
		else {
			w->done = true;
		}

		if (err) {
			failed(pv, w->namev[w->try], "out of memory");
			goto out;
		}
	}

 out:
	pv->fetch = mem_deref(pv->fetch);

	if (err)
		return;

	if (again) {
		if (round_begin(pv))
			failed(pv, "", "it cannot be fetched");
		return;
	}

	finished(pv);
}


/* Ask for all that is not known yet */
static int round_begin(struct aa_provision *pv)
{
	char *urlv[AA_LAYER_COUNT] = {NULL};
	size_t i, n = 0;
	int err = 0;

	if (!pv->next)
		err = files_alloc(&pv->next, pv->url, strlen(pv->url));

	for (i=0; i<pv->wantc && !err; i++) {
		const struct wanted *w = &pv->wantv[i];
		const struct place pl = {pv->url, w->namev[w->try]};

		if (w->done)
			continue;

		pv->askv[n] = i;
		err = re_sdprintf(&urlv[n], "%H", print_place, &pl);
		++n;
	}

	if (!err)
		err = aa_fetch_alloc(&pv->fetch,
				     (const char * const *)urlv, n,
				     pv->cafile, FILE_MAX, fetch_handler, pv);

	for (i=0; i<n; i++)
		mem_deref(urlv[i]);

	return err;
}


static void want(struct aa_provision *pv, enum aa_config_layer layer,
		 const char *name, const char *other)
{
	struct wanted *w = &pv->wantv[pv->wantc++];

	memset(w, 0, sizeof(*w));
	w->layer = layer;
	(void)re_snprintf(w->namev[0], sizeof(w->namev[0]), "%s.cfg", name);
	if (other)
		(void)re_snprintf(w->namev[1], sizeof(w->namev[1]), "%s.cfg",
				  other);
}


static void stop(struct aa_provision *pv)
{
	aa_tmr_cancel(&pv->tmr);
	pv->fetch = mem_deref(pv->fetch);
	pv->next  = mem_deref(pv->next);
	pv->wantc = 0;
}


/**
 * Fetch what `aastra_cfg_url` names, if there is one; a fetch that is under
 * way is begun anew
 *
 * Nothing waits for it: the handler is called when everything has come and
 * differs from what there was.  As long as the server is away, it is asked
 * again, after 5 seconds at first and 30 minutes at most.
 *
 * @param pv     Provisioning
 * @param cfg    Configuration, which says where the files are and how they
 *               are called
 * @param cafile File of trusted certificates, NULL or empty: the system's
 *
 * @return 0 if it has begun, ENOENT if there is no URL, otherwise errorcode
 */
int aa_provision_start(struct aa_provision *pv, const struct aa_config *cfg,
		       const char *cafile)
{
	const char *url = aa_config_str(cfg, 0, "aastra_cfg_url");
	const char *model = aa_config_str(cfg, 0, "aastra_cfg_model");
	char mac[16] = "", lower[16];
	size_t i;
	int err;

	if (!pv)
		return EINVAL;

	stop(pv);

	if (!url)
		return ENOENT;

	pv->failures = 0;
	pv->url      = mem_deref(pv->url);
	pv->cafile   = mem_deref(pv->cafile);

	err = str_dup(&pv->url, url);
	if (!err && str_isset(cafile))
		err = str_dup(&pv->cafile, cafile);
	if (err)
		return err;

	/* lowest first, as they are read */
	want(pv, AA_LAYER_AASTRA, "aastra", "startup");
	if (model)
		want(pv, AA_LAYER_MODEL, model, NULL);

	if (aa_config_mac(cfg, mac, sizeof(mac))) {

		for (i=0; i<sizeof(lower); i++) {
			const char c = mac[i];

			lower[i] = c >= 'A' && c <= 'F' ? (char)(c + 32) : c;
		}

		want(pv, AA_LAYER_MAC, mac,
		     strcmp(mac, lower) ? lower : NULL);
	}

	err = round_begin(pv);
	if (err)
		warning("aastra: %H cannot be fetched (%m)\n", print_url,
			pv->url, err);

	return err;
}


static void destructor(void *arg)
{
	struct aa_provision *pv = arg;

	stop(pv);
	mem_deref(pv->good);
	mem_deref(pv->url);
	mem_deref(pv->cafile);
}


/**
 * Get ready, with the last good copy if there is one
 *
 * @param pvp       Pointer to the provisioning; mem_deref() stops it
 * @param conf_path Folder of baresip's config, where the copy is kept
 * @param h         Asked to judge and take up what was fetched
 * @param arg       Handler argument
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_provision_alloc(struct aa_provision **pvp, const char *conf_path,
		       aa_provision_h *h, void *arg)
{
	struct aa_provision *pv;

	if (!pvp || !conf_path || !h)
		return EINVAL;

	pv = mem_zalloc(sizeof(*pv), destructor);
	if (!pv)
		return ENOMEM;

	pv->h   = h;
	pv->arg = arg;

	if (re_snprintf(pv->path, sizeof(pv->path), "%s/aastra_files",
			conf_path) < 0) {
		mem_deref(pv);
		return ENAMETOOLONG;
	}

	copy_load(pv);
	*pvp = pv;

	return 0;
}


/**
 * What came last from the server and was good
 *
 * @param pv Provisioning, may be NULL
 *
 * @return Files, NULL if there are none
 */
const struct aa_config_fetched *
aa_provision_good(const struct aa_provision *pv)
{
	return pv && pv->good ? &pv->good->f : NULL;
}
