/**
 * @file resolve.c  From the name of a server to its addresses
 *
 * RFC 3263 in the way of the phones: a port beside the name asks for its
 * addresses alone; no port asks for SRV records first, and if so configured
 * for a NAPTR record before that.  The transport is never chosen here, it is
 * the line's.
 *
 * libre would do most of this inside of a request, but would keep the result
 * to itself.  A line that wants to try all servers of a name before it goes
 * to its backup must know them, and for how long they are good.
 *
 * All is bounded: what is read of an answer, how many questions are asked at
 * once and altogether, and the time that it takes.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <re.h>
#include "timer.h"
#include "resolve.h"


enum {
	HOSTS_MAX   = AA_TARGETS_MAX,
	SRV_MAX     = 32,       /* records looked at in one answer          */
	ADDRS_MAX   = 8,        /* of one host and family                   */
	QUERIES_MAX = 8,        /* in flight                                */
	CNAMES_MAX  = 8,        /* in one chain                             */
	NAME_SIZE   = 254,      /* RFC 1035 2.3.4, without the root's dot   */
	LABEL_MAX   = 63,
	TTL_MIN     = 1,
	TTL_MAX     = 86400,
	TTL_PARTIAL = 10,       /* something is missing: ask again soon     */

	/* Some name servers never answer for AAAA.  Once there is an address
	   of each host, the rest gets the time of one retransmission. */
	GRACE_MS    = 1000
};

/* in the order in which the addresses of a host are tried */
enum family {
	FAMILY_IP4 = 0,
	FAMILY_IP6,
	FAMILIES
};

enum progress {
	UNASKED = 0,
	ASKED,
	ANSWERED
};

struct addrs {
	enum progress progress;
	struct sa v[ADDRS_MAX];
	size_t n;
};

struct host {
	char name[NAME_SIZE];
	uint16_t port;
	struct addrs addrs[FAMILIES];
};

struct srv {
	const char *target;
	uint16_t pri;
	uint16_t weight;
	uint16_t port;
	int64_t ttl;
};

struct query {
	struct dns_query *q;    /* NULL: free                               */
	struct aa_resolve *r;
	struct host *host;      /* for A and AAAA                           */
	uint16_t type;
	char name[NAME_SIZE];
};

struct aa_resolve {
	struct aa_resolve **rp;
	struct dnsc *dnsc;
	struct aa_tmr tmr;
	struct aa_tmr tmr_grace;
	struct query queryv[QUERIES_MAX];
	struct host *hostv;
	size_t hostc;
	char name[NAME_SIZE];
	enum sip_transp tp;
	int64_t ttl;            /* least of the records used [s]            */
	int err;                /* worst of what went wrong                 */
	bool closed;            /* the DNS client is going away             */
	aa_resolve_h *h;
	void *arg;
};


static void dns_handler(int err, const struct dnshdr *hdr, struct list *ansl,
			struct list *authl, struct list *addl, void *arg);


static void destructor(void *arg)
{
	struct aa_resolve *r = arg;
	size_t i;

	aa_tmr_cancel(&r->tmr);
	aa_tmr_cancel(&r->tmr_grace);

	if (r->rp)
		*r->rp = NULL;

	for (i=0; i<QUERIES_MAX; i++)
		mem_deref(r->queryv[i].q);

	mem_deref(r->hostv);
}


static bool is_addr(const char *host)
{
	struct sa sa;

	return strchr(host, ':') || 0 == sa_set_str(&sa, host, 0);
}


/* Copy a name without the dot of the root, if it can be asked for at all */
static int name_copy(char *dst, const char *src)
{
	size_t i, len = str_len(src), label = 0;

	if (len && src[len - 1] == '.')
		--len;

	if (!len || len >= NAME_SIZE)
		return EINVAL;

	for (i=0; i<len; i++) {

		if (src[i] != '.') {
			if (++label > LABEL_MAX)
				return EINVAL;
			continue;
		}

		if (!label)
			return EINVAL;
		label = 0;
	}

	if (!label)
		return EINVAL;

	memcpy(dst, src, len);
	dst[len] = '\0';

	return 0;
}


static void ttl_use(struct aa_resolve *r, int64_t ttl)
{
	r->ttl = MIN(r->ttl, ttl);
}


/* "Not found" is the mildest: with anything else it may exist after all */
static void err_note(struct aa_resolve *r, int err)
{
	if (err && (!r->err || r->err == ENOENT))
		r->err = err;
}


static int answer_error(int err, const struct dnshdr *hdr)
{
	switch (err) {

	case 0:             break;
	case EADDRNOTAVAIL: return ENOENT;  /* libre's use of getaddrinfo() */
	default:            return err;
	}

	switch (hdr ? hdr->rcode : DNS_RCODE_OK) {

	case DNS_RCODE_OK:       return 0;
	case DNS_RCODE_NAME_ERR: return ENOENT;
	default:                 return EPROTO;
	}
}


static bool targets_have(const struct aa_targets *t, const struct sa *sa)
{
	size_t i;

	for (i=0; i<t->n; i++) {
		if (sa_cmp(&t->v[i], sa, SA_ALL))
			return true;
	}

	return false;
}


static void targets_add(struct aa_targets *t, const struct addrs *addrs)
{
	size_t i;

	for (i=0; i<addrs->n && t->n<AA_TARGETS_MAX; i++) {
		if (!targets_have(t, &addrs->v[i]))
			t->v[t->n++] = addrs->v[i];
	}
}


/* Tell the owner what is known by now */
static void complete(struct aa_resolve *r, int err)
{
	struct aa_targets t;
	aa_resolve_h *h = r->h;
	size_t i;
	int f;

	aa_tmr_cancel(&r->tmr);
	aa_tmr_cancel(&r->tmr_grace);

	if (err)
		ttl_use(r, TTL_PARTIAL);

	memset(&t, 0, sizeof(t));
	t.ttl_ms = 1000 * (uint64_t)MAX(r->ttl, TTL_MIN);

	for (i=0; i<r->hostc; i++) {
		for (f=0; f<FAMILIES; f++)
			targets_add(&t, &r->hostv[i].addrs[f]);
	}

	if (t.n)
		err = 0;
	else if (!err)
		err = r->err ? r->err : ENOENT;

	if (r->rp) {
		*r->rp = NULL;
		r->rp = NULL;
	}

	h(err, err ? NULL : &t, r->arg);

	mem_deref(r);
}


static void timeout_handler(void *arg)
{
	complete(arg, ETIMEDOUT);
}


static void closed_handler(void *arg)
{
	complete(arg, ECONNABORTED);
}


static size_t in_flight(const struct aa_resolve *r)
{
	size_t i, n = 0;

	for (i=0; i<QUERIES_MAX; i++) {
		if (r->queryv[i].q)
			++n;
	}

	return n;
}


static int ask(struct aa_resolve *r, struct host *host, const char *name,
	       uint16_t type)
{
	struct query *query = NULL;
	size_t i;
	int err;

	for (i=0; i<QUERIES_MAX && !query; i++) {
		if (!r->queryv[i].q)
			query = &r->queryv[i];
	}

	if (!query)
		return EBUSY;

	query->r    = r;
	query->host = host;
	query->type = type;
	err = name_copy(query->name, name);
	if (err)
		return err;

	err = dnsc_query(&query->q, r->dnsc, query->name, type, DNS_CLASS_IN,
			 true, dns_handler, query);

	/* how libre 1.x and 2.x say that they know no name server */
	return err == EINVAL ? ENOTSUP : err;
}


static void host_add(struct aa_resolve *r, const char *name, uint16_t port)
{
	struct host *host;

	if (r->hostc >= HOSTS_MAX)
		return;

	host = &r->hostv[r->hostc];

	if (0 == name_copy(host->name, name)) {
		host->port = sip_transp_port(r->tp, port);
		++r->hostc;
	}
}


/*
 * The record of a class, type and owner that comes next in a list
 */
static const struct dnsrr *rr_next(struct le **le, const char *owner,
				   uint16_t type)
{
	while (*le) {
		const struct dnsrr *rr = (*le)->data;

		*le = (*le)->next;

		if (rr->dnsclass == DNS_CLASS_IN && rr->type == type &&
		    0 == str_casecmp(rr->name, owner))
			return rr;
	}

	return NULL;
}


/* Follow the aliases of a name within one answer */
static const char *canonical(const struct list *l, const char *name,
			     int64_t *ttl)
{
	int i;

	for (i=0; i<CNAMES_MAX; i++) {
		struct le *le = list_head(l);
		const struct dnsrr *rr = rr_next(&le, name, DNS_TYPE_CNAME);

		if (!rr)
			break;

		*ttl = MIN(*ttl, rr->ttl);
		name = rr->rdata.cname.cname;
	}

	return name;
}


/* Take the addresses of a host from a section of an answer */
static void addrs_take(struct aa_resolve *r, struct host *host, int family,
		       const struct list *l)
{
	struct addrs *addrs = &host->addrs[family];
	struct le *le = list_head(l);
	int64_t ttl = TTL_MAX;
	const char *name = canonical(l, host->name, &ttl);
	const uint16_t type = family == FAMILY_IP6 ? DNS_TYPE_AAAA
						   : DNS_TYPE_A;
	const struct dnsrr *rr;

	while (addrs->n < ADDRS_MAX && (rr = rr_next(&le, name, type))) {
		struct sa *sa = &addrs->v[addrs->n];

		if (type == DNS_TYPE_AAAA)
			sa_set_in6(sa, rr->rdata.aaaa.addr, host->port);
		else
			sa_set_in(sa, rr->rdata.a.addr, host->port);

		/* what name servers that block names answer; to connect to it
		   means to connect to oneself */
		if (sa_is_any(sa))
			continue;

		++addrs->n;
		ttl = MIN(ttl, rr->ttl);
	}

	if (addrs->n) {
		addrs->progress = ANSWERED;
		ttl_use(r, ttl);
	}
}


/*
 * RFC 2782: from the records of one priority, take one by chance in
 * proportion to its weight
 */
static size_t srv_pick(const struct srv *v, size_t n)
{
	uint32_t sum = 0, x;
	size_t i;

	for (i=0; i<n; i++)
		sum += v[i].weight;

	x = rand_u32() % (sum + 1);

	for (i=0, sum=0; i<n; i++) {
		sum += v[i].weight;
		if (sum >= x)
			return i;
	}

	return 0;
}


/* lower priority first; within one those without weight first (RFC 2782) */
static bool srv_before(const struct srv *a, const struct srv *b)
{
	if (a->pri != b->pri)
		return a->pri < b->pri;

	return !a->weight && b->weight;
}


static void srv_sort(struct srv *v, size_t n)
{
	size_t i, j;

	for (i=1; i<n; i++) {
		/* cppcheck-suppress uninitvar ; as many are set as n says */
		const struct srv x = v[i];

		for (j=i; j && srv_before(&x, &v[j - 1]); j--)
			v[j] = v[j - 1];
		v[j] = x;
	}
}


static void srv_hosts(struct aa_resolve *r, struct srv *v, size_t n,
		      const struct list *addl)
{
	srv_sort(v, n);

	while (n) {
		size_t same = 1, i;
		struct srv x;
		int f;

		while (same < n && v[same].pri == v[0].pri)
			++same;

		i = srv_pick(v, same);
		x = v[i];
		--n;
		memmove(&v[i], &v[i + 1], (n - i) * sizeof(*v));

		i = r->hostc;
		host_add(r, x.target, x.port);
		if (i == r->hostc)
			continue;

		ttl_use(r, x.ttl);
		for (f=0; f<FAMILIES; f++)
			addrs_take(r, &r->hostv[i], f, addl);
	}
}


/*
 * Take the servers of a service from a section of an answer
 *
 * @return false if it has no SRV record
 */
static bool srv_take(struct aa_resolve *r, const char *name,
		     const struct list *l, const struct list *addl)
{
	struct le *le = list_head(l);
	struct srv v[SRV_MAX];
	int64_t ttl = TTL_MAX;
	const struct dnsrr *rr;
	size_t n = 0;

	name = canonical(l, name, &ttl);

	while (n < SRV_MAX && (rr = rr_next(&le, name, DNS_TYPE_SRV))) {
		v[n].target = rr->rdata.srv.target;
		v[n].pri    = rr->rdata.srv.pri;
		v[n].weight = rr->rdata.srv.weight;
		v[n].port   = rr->rdata.srv.port;
		v[n].ttl    = MIN(ttl, rr->ttl);
		++n;
	}

	/* a target of "." says that there is no such service: nothing is
	   added then, and nothing else is asked */
	srv_hosts(r, v, n, addl);

	return n > 0;
}


static const char *srv_service(enum sip_transp tp)
{
	switch (tp) {

	case SIP_TRANSP_UDP: return "_sip._udp";
	case SIP_TRANSP_TCP: return "_sip._tcp";
	case SIP_TRANSP_TLS: return "_sips._tcp";
	default:             return NULL;
	}
}


static void ask_srv(struct aa_resolve *r)
{
	const char *service = srv_service(r->tp);
	char name[NAME_SIZE];

	if (service && re_snprintf(name, sizeof(name), "%s.%s", service,
				   r->name) > 0 &&
	    0 == ask(r, NULL, name, DNS_TYPE_SRV))
		return;

	host_add(r, r->name, 0);
}


static const char *naptr_service(enum sip_transp tp)
{
	switch (tp) {

	case SIP_TRANSP_UDP: return "SIP+D2U";
	case SIP_TRANSP_TCP: return "SIP+D2T";
	case SIP_TRANSP_TLS: return "SIPS+D2T";
	default:             return NULL;
	}
}


/* The best record that leads to SRV records of our transport (RFC 3263 4.1) */
static const struct dnsrr *naptr_best(const struct aa_resolve *r,
				      const struct list *l, int64_t *ttl)
{
	const char *name = canonical(l, r->name, ttl);
	const char *service = naptr_service(r->tp);
	struct le *le = list_head(l);
	const struct dnsrr *rr, *best = NULL;

	while (service && (rr = rr_next(&le, name, DNS_TYPE_NAPTR))) {

		if (str_casecmp(rr->rdata.naptr.services, service) ||
		    str_casecmp(rr->rdata.naptr.flags, "s") ||
		    !str_isset(rr->rdata.naptr.replace))
			continue;

		if (!best ||
		    rr->rdata.naptr.order < best->rdata.naptr.order ||
		    (rr->rdata.naptr.order == best->rdata.naptr.order &&
		     rr->rdata.naptr.pref < best->rdata.naptr.pref))
			best = rr;
	}

	return best;
}


static void naptr_answer(struct aa_resolve *r, const struct list *ansl,
			 const struct list *addl)
{
	int64_t ttl = TTL_MAX;
	const struct dnsrr *rr = naptr_best(r, ansl, &ttl);

	if (rr) {
		const char *name = rr->rdata.naptr.replace;

		ttl_use(r, MIN(ttl, rr->ttl));

		if (srv_take(r, name, addl, addl) ||
		    0 == ask(r, NULL, name, DNS_TYPE_SRV))
			return;
	}

	ask_srv(r);
}


static void srv_answer(struct aa_resolve *r, const char *name,
		       const struct list *ansl, const struct list *addl)
{
	if (srv_take(r, name, ansl, addl))
		return;

	host_add(r, r->name, 0);
}


/* Has every host that is still asked for an address at least? */
static bool have_one_each(const struct aa_resolve *r)
{
	size_t i;

	for (i=0; i<r->hostc; i++) {
		const struct addrs *a = r->hostv[i].addrs;

		if (a[FAMILY_IP4].n || a[FAMILY_IP6].n)
			continue;

		if (a[FAMILY_IP4].progress != ANSWERED ||
		    a[FAMILY_IP6].progress != ANSWERED)
			return false;
	}

	return r->hostc > 0;
}


/* Ask for the addresses of the hosts, as many at once as is allowed */
static void ask_addrs(struct aa_resolve *r)
{
	size_t i;
	int f;

	/* one family after the other: a name server that never answers for
	   one of them shall not keep the other waiting */
	for (f=0; f<FAMILIES; f++) {
		for (i=0; i<r->hostc; i++) {
			struct host *host = &r->hostv[i];
			struct addrs *addrs = &host->addrs[f];
			int err;

			if (addrs->progress != UNASKED)
				continue;

			err = ask(r, host, host->name,
				  f == FAMILY_IP6 ? DNS_TYPE_AAAA
						  : DNS_TYPE_A);
			if (err == EBUSY)
				return;

			err_note(r, err);
			addrs->progress = err ? ANSWERED : ASKED;
		}
	}
}


/*
 * Go on
 *
 * @return true if there is nothing left to wait for
 */
static bool advance(struct aa_resolve *r)
{
	ask_addrs(r);

	if (!in_flight(r))
		return true;

	if (have_one_each(r) && !aa_tmr_isrunning(&r->tmr_grace))
		aa_tmr_start(&r->tmr_grace, GRACE_MS, timeout_handler, r);

	return false;
}


static void dns_handler(int err, const struct dnshdr *hdr, struct list *ansl,
			struct list *authl, struct list *addl, void *arg)
{
	struct query *query = arg;
	struct aa_resolve *r = query->r;
	int family;
	(void)authl;

	query->q = NULL;

	/* the DNS client is being freed, and walks through its queries: none
	   of them may be touched, and none added */
	if (err == ECONNABORTED || r->closed) {
		r->closed = true;
		if (!in_flight(r))
			aa_tmr_start(&r->tmr, 0, closed_handler, r);
		return;
	}

	err = answer_error(err, hdr);

	switch (query->type) {

	case DNS_TYPE_NAPTR:
		naptr_answer(r, ansl, addl);
		break;

	case DNS_TYPE_SRV:
		srv_answer(r, query->name, ansl, addl);
		break;

	default:
		family = query->type == DNS_TYPE_AAAA ? FAMILY_IP6
						      : FAMILY_IP4;
		err_note(r, err);
		addrs_take(r, query->host, family, ansl);
		query->host->addrs[family].progress = ANSWERED;
		break;
	}

	if (advance(r))
		complete(r, 0);
}


/**
 * Find the addresses of a server
 *
 * @param rp         Pointer to the lookup; set to NULL when it is completed.
 *                   mem_deref() ends it at once, without a call of the handler
 * @param dnsc       DNS client
 * @param host       Name of the server; an IP address is refused
 * @param port       Port; 0 for the one that DNS says, or the transport's
 * @param tp         Transport
 * @param query_type `sip dns query type`, for port 0: 0 asks for addresses
 *                   alone, 1 for SRV records first, 2 for a NAPTR record
 *                   before that
 * @param timeout_ms So long it may take [ms]; what is known by then counts
 * @param h          Handler of the result
 * @param arg        Handler argument
 *
 * @return 0 if success, otherwise errorcode; then no handler is called
 */
int aa_resolve(struct aa_resolve **rp, struct dnsc *dnsc, const char *host,
	       uint16_t port, enum sip_transp tp, unsigned query_type,
	       uint32_t timeout_ms, aa_resolve_h *h, void *arg)
{
	struct aa_resolve *r;
	int err;

	if (!rp || !dnsc || !str_isset(host) || !h || is_addr(host))
		return EINVAL;

	r = mem_zalloc(sizeof(*r), destructor);
	if (!r)
		return ENOMEM;

	r->dnsc = dnsc;
	r->tp   = tp;
	r->ttl  = TTL_MAX;
	r->h    = h;
	r->arg  = arg;

	r->hostv = mem_zalloc(HOSTS_MAX * sizeof(*r->hostv), NULL);
	if (!r->hostv) {
		err = ENOMEM;
		goto out;
	}

	err = name_copy(r->name, host);
	if (err)
		goto out;

	if (port || !query_type)
		host_add(r, r->name, port);
	else if (query_type == 1 || ask(r, NULL, r->name, DNS_TYPE_NAPTR))
		ask_srv(r);

	if (advance(r)) {
		err = r->err ? r->err : ENOENT;
		goto out;
	}

	aa_tmr_start(&r->tmr, timeout_ms, timeout_handler, r);

	r->rp = rp;
	*rp = r;

 out:
	if (err)
		mem_deref(r);

	return err;
}


/**
 * What went wrong with a lookup, for people
 *
 * @param err Errorcode from aa_resolve() or its handler
 *
 * @return Text
 */
const char *aa_resolve_strerror(int err)
{
	switch (err) {

	case 0:         return "";
	case ENOENT:    return "name not found";
	case ETIMEDOUT: return "no answer from the name server";
	case EPROTO:    return "name server failed";
	case ENOTSUP:   return "no name server";
	case ENETUNREACH:
	case EHOSTUNREACH:
	case EADDRNOTAVAIL:
		        return "name server unreachable";
	case EINVAL:    return "not a valid name";
	default:        return "name lookup failed";
	}
}
