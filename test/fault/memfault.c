/**
 * @file memfault.c  Memory that runs out, at the allocation that is asked for
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * Preloaded into baresip, it stands before libre's allocator.  It counts the
 * allocations that aastra.so makes, by itself or through a function of libre
 * that it calls (a string, a buffer, a dialog): those with aastra.so among
 * the innermost FRAMES callers, and nothing but libre before it.  The one
 * that is asked for fails: the so many-th from now on, of all or of those
 * that come from one place.  It also remembers which of them are alive, and
 * says at the end which never died.
 *
 * The test and the process share a file, named by AASTRA_MEMFAULT; its
 * layout is struct ctl, which test_memory.py knows too.
 *
 *   cc -shared -fPIC -O2 -o memfault.so memfault.c
 */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <unwind.h>


enum {
	FRAMES = 6,             /**< callers that are looked at             */
	SITES  = 1 << 16,       /**< allocations whose caller is noted      */
	LIVE   = 1 << 16        /**< places for those that are alive        */
};

/** What the test and the process share */
struct ctl {
	uint64_t count;         /**< allocations so far                     */
	uint64_t fail_in;       /**< so many until one fails, 0: none does  */
	uint64_t fail_site;     /**< of those that come from here, 0: all   */
	uint64_t failed;        /**< how many did                           */
	uint64_t live;          /**< allocations not freed yet              */
	uint64_t pid;           /**< whose it is: the first with aastra.so  */
	uint32_t site[SITES];   /**< offset in aastra.so, by count          */
};

typedef void (mem_destroy_h)(void *data);

struct live {
	void *p;                /**< NULL: free; GONE: free, look further   */
	uint32_t site;
};

#define GONE ((void *)-1)

static struct ctl *ctl;
static struct live livev[LIVE];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static __thread int inside;

static struct {
	uintptr_t lo, hi;       /**< where aastra.so is                     */
	uintptr_t base;
	uintptr_t re_lo, re_hi; /**< and libre                              */
	unsigned long long adds, subs;
} so;

void *mem_alloc(size_t size, mem_destroy_h *dh);
void *mem_zalloc(size_t size, mem_destroy_h *dh);
void *mem_realloc(void *data, size_t size);
void *mem_deref(void *data);
void *XML_ParserCreateNS(const char *encoding, char sep);
void *X509_STORE_new(void);
char *CRYPTO_strdup(const char *str, const char *file, int line);


static void *next(const char *name)
{
	/* those that come with a module are not in the global scope */
	static const char *const libv[] = {"libexpat.so.1", "libcrypto.so.3"};
	void *p = dlsym(RTLD_NEXT, name);
	size_t i;

	for (i=0; !p && i<sizeof(libv)/sizeof(libv[0]); i++) {
		void *lib = dlopen(libv[i], RTLD_LAZY);

		if (lib)
			p = dlsym(lib, name);
	}

	if (!p) {
		(void)fprintf(stderr, "memfault: no %s\n", name);
		abort();
	}

	return p;
}


#define NEXT(name, type) \
	static __typeof__(type) *real; \
	if (!real) \
		real = (__typeof__(type) *)next(name)


static int phdr_handler(struct dl_phdr_info *info, size_t size, void *arg)
{
	const char *base;
	int i;
	(void)size;
	(void)arg;

	/* nothing came or went since the last look */
	if (so.adds == info->dlpi_adds && so.subs == info->dlpi_subs)
		return 1;

	base = strrchr(info->dlpi_name, '/');
	if (!base)
		return 0;

	for (i=0; i<info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		const uintptr_t lo = info->dlpi_addr + ph->p_vaddr;

		if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_X))
			continue;

		if (!strncmp(base, "/libre.so", 9)) {
			so.re_lo = lo;
			so.re_hi = lo + ph->p_memsz;
		}
		else if (!strcmp(base, "/aastra.so")) {
			so.base = info->dlpi_addr;
			so.lo = lo;
			so.hi = lo + ph->p_memsz;
			return 2;
		}
	}

	return 0;
}


static int counts_handler(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;

	so.adds = info->dlpi_adds;
	so.subs = info->dlpi_subs;

	return 1;
}


static void look_for_module(void)
{
	const uintptr_t lo = so.lo;
	int r = dl_iterate_phdr(phdr_handler, NULL);

	if (r == 1)
		return;
	if (r == 0)
		so.lo = so.hi = 0;

	(void)dl_iterate_phdr(counts_handler, NULL);

	if (so.lo && !lo && !ctl->pid)
		ctl->pid = (uint64_t)getpid();
}


/* this library itself, by the linker */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));


struct walk {
	int n;
	uint32_t site;
};


static _Unwind_Reason_Code frame_handler(struct _Unwind_Context *c, void *arg)
{
	struct walk *w = arg;
	const uintptr_t ip = _Unwind_GetIP(c);

	if (ip >= (uintptr_t)__ehdr_start && ip < (uintptr_t)_end)
		return _URC_NO_REASON;

	if (ip >= so.lo && ip < so.hi) {
		w->site = (uint32_t)(ip - so.base);
		return _URC_END_OF_STACK;
	}

	/* what a handler of baresip's does is not the module's */
	if (ip < so.re_lo || ip >= so.re_hi)
		return _URC_END_OF_STACK;

	return ++w->n < FRAMES ? _URC_NO_REASON : _URC_END_OF_STACK;
}


/* Where in aastra.so this comes from, 0: from elsewhere */
static __attribute__((noinline)) uint32_t caller(void)
{
	struct walk w = {0, 0};

	look_for_module();
	if (so.lo)
		(void)_Unwind_Backtrace(frame_handler, &w);

	return w.site;
}


static size_t slot(const void *p)
{
	return (size_t)(((uintptr_t)p >> 4) * 2654435761u) % LIVE;
}


static void live_add(void *p, uint32_t site)
{
	size_t i = slot(p), n;

	for (n=0; n<LIVE; n++, i = (i + 1) % LIVE) {
		if (livev[i].p && livev[i].p != GONE)
			continue;
		livev[i].p = p;
		livev[i].site = site;
		++ctl->live;
		return;
	}
}


static uint32_t live_remove(const void *p)
{
	size_t i = slot(p), n;

	for (n=0; n<LIVE && livev[i].p; n++, i = (i + 1) % LIVE) {
		if (livev[i].p != p)
			continue;
		--ctl->live;
		livev[i].p = GONE;

		/* a place that nobody searches beyond is free again */
		if (!livev[(i + 1) % LIVE].p) {
			size_t j = i;

			for (; livev[j].p == GONE; j = (j + LIVE - 1) % LIVE)
				livev[j].p = NULL;
		}
		return livev[i].site;
	}

	return 0;
}


/* Does this one fail?  *site: where it comes from, 0: not ours */
static int begin(const char *what, size_t size, uint32_t *site)
{
	int fails = 0;

	*site = caller();
	if (!*site)
		return 0;

	if (ctl->count < SITES)
		ctl->site[ctl->count] = *site;
	++ctl->count;

	if (ctl->fail_in && (!ctl->fail_site || ctl->fail_site == *site) &&
	    !--ctl->fail_in) {
		++ctl->failed;
		fails = 1;
		(void)fprintf(stderr, "memfault: number %llu, %s(%zu) for"
			      " aastra.so+0x%x, fails\n",
			      (unsigned long long)ctl->count, what, size,
			      *site);
	}

	return fails;
}


static void *take(const char *what, size_t size, mem_destroy_h *dh,
		  void *(*real)(size_t, mem_destroy_h *))
{
	uint32_t site;
	void *p = NULL;

	if (!ctl || inside)
		return real(size, dh);

	inside = 1;
	(void)pthread_mutex_lock(&lock);

	if (!begin(what, size, &site)) {
		p = real(size, dh);
		if (p && site)
			live_add(p, site);
	}

	(void)pthread_mutex_unlock(&lock);
	inside = 0;

	return p;
}


void *mem_alloc(size_t size, mem_destroy_h *dh)
{
	NEXT("mem_alloc", void *(size_t, mem_destroy_h *));

	return take("mem_alloc", size, dh, real);
}


void *mem_zalloc(size_t size, mem_destroy_h *dh)
{
	NEXT("mem_zalloc", void *(size_t, mem_destroy_h *));

	return take("mem_zalloc", size, dh, real);
}


void *mem_realloc(void *data, size_t size)
{
	uint32_t site, old;
	void *p = NULL;

	NEXT("mem_realloc", void *(void *, size_t));

	if (!ctl || inside || !data)
		return real(data, size);

	inside = 1;
	(void)pthread_mutex_lock(&lock);

	if (!begin("mem_realloc", size, &site)) {
		old = live_remove(data);
		p = real(data, size);
		if (old)
			live_add(p ? p : data, old);
	}

	(void)pthread_mutex_unlock(&lock);
	inside = 0;

	return p;
}


void *mem_deref(void *data)
{
	NEXT("mem_deref", void *(void *));

	if (ctl && data) {
		typedef uint32_t (nrefs_h)(const void *);
		static nrefs_h *nrefs;

		if (!nrefs)
			nrefs = (nrefs_h *)next("mem_nrefs");

		if (nrefs(data) == 1) {
			(void)pthread_mutex_lock(&lock);
			(void)live_remove(data);
			(void)pthread_mutex_unlock(&lock);
		}
	}

	return real(data);
}


static int other_fails(const char *what)
{
	uint32_t site;
	int fails;

	if (!ctl || inside)
		return 0;

	inside = 1;
	(void)pthread_mutex_lock(&lock);
	fails = begin(what, 0, &site);
	(void)pthread_mutex_unlock(&lock);
	inside = 0;

	return fails;
}


/* What aastra.so has other libraries allocate, and gives back by hand */
void *XML_ParserCreateNS(const char *encoding, char sep)
{
	NEXT("XML_ParserCreateNS", void *(const char *, char));

	return other_fails("XML_ParserCreateNS") ? NULL : real(encoding, sep);
}


void *X509_STORE_new(void)
{
	NEXT("X509_STORE_new", void *(void));

	return other_fails("X509_STORE_new") ? NULL : real();
}


char *CRYPTO_strdup(const char *str, const char *file, int line)
{
	NEXT("CRYPTO_strdup", char *(const char *, const char *, int));

	return other_fails("CRYPTO_strdup") ? NULL : real(str, file, line);
}


__attribute__((constructor)) static void begins(void)
{
	const char *path = getenv("AASTRA_MEMFAULT");
	void *p;
	int fd;

	if (!path)
		return;

	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;

	p = mmap(NULL, sizeof(*ctl), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		 0);
	(void)close(fd);
	if (p != MAP_FAILED)
		ctl = p;
}


/* Only in the process that had the module: shells and wrappers end too */
__attribute__((destructor)) static void ends(void)
{
	size_t i;

	if (!ctl || ctl->pid != (uint64_t)getpid())
		return;

	for (i=0; i<LIVE; i++) {
		if (livev[i].p && livev[i].p != GONE)
			(void)fprintf(stderr, "memfault: never freed, from"
				      " aastra.so+0x%x\n", livev[i].site);
	}

	(void)fprintf(stderr, "memfault: %llu allocations, %llu failed, %llu"
		      " never freed\n", (unsigned long long)ctl->count,
		      (unsigned long long)ctl->failed,
		      (unsigned long long)ctl->live);
}
