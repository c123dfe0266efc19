/**
 * @file httpreq.c  What a request by HTTP asks for, and whether it may
 *
 * No sockets and no state: what is here meets what strangers send, so it is
 * tested, and fuzzed, by itself.
 *
 * The page is served to a browser that other web sites use as well.  They
 * can make it send requests to the phone, with a name of theirs that leads to
 * the phone's address (DNS rebinding), or from their own pages (request
 * forgery).  So without the token, only names count that nobody else can own
 * (`localhost`, the address itself); and what a browser says of where a
 * request comes from (Origin, Sec-Fetch-Site) has to be this page.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <re.h>
#include "httpreq.h"


#define COOKIE "aastra_page"


/**
 * Has the whole head of a request arrived?
 *
 * @param p   What has arrived so far
 * @param len Its length [bytes]
 *
 * @return true if there is an empty line behind something
 */
bool aa_httpreq_complete(const uint8_t *p, size_t len)
{
	bool any = false, empty = false;
	size_t i;

	for (i=0; i<len; i++) {

		if (p[i] == '\n') {
			if (any && empty)
				return true;
			empty = true;
		}
		else if (p[i] != '\r') {
			any   = true;
			empty = false;
		}
	}

	return false;
}


/* A header that may come once at most: false if it comes more often */
static bool header(struct pl *val, const struct http_msg *msg,
		   const char *name)
{
	const struct http_hdr *hdr = http_msg_xhdr(msg, name);

	*val = hdr ? hdr->val : pl_null;

	return http_msg_xhdr_count(msg, name) <= 1;
}


/* Digits, and no more of them than the range takes */
static bool number(uint64_t *np, const struct pl *pl, uint64_t max)
{
	uint64_t n = 0;
	size_t i;

	if (!pl->l || pl->l > 19)
		return false;

	for (i=0; i<pl->l; i++) {
		if (pl->p[i] < '0' || pl->p[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(pl->p[i] - '0');
	}

	*np = n;

	return n <= max;
}


static bool param(struct aa_httpreq *req, const struct pl *name,
		  const struct pl *val)
{
	const bool history = req->what == AA_HTTP_HISTORY;
	uint64_t n;

	if (!pl_strcmp(name, "line") &&
	    (history || req->what == AA_HTTP_STATE)) {
		if (!number(&n, val, UINT32_MAX) || !n)
			return false;
		req->line = (uint32_t)n;
		return true;
	}
	if (!pl_strcmp(name, "since") && history)
		return number(&req->since, val, INT64_MAX);
	if (!pl_strcmp(name, "max") && history) {
		if (!number(&n, val, UINT32_MAX))
			return false;
		req->max = (uint32_t)n;
		return true;
	}

	return false;
}


/* "?name=value&name=value" */
static bool params(struct aa_httpreq *req, const struct pl *prm)
{
	const char *p = prm->p, *end = prm->p + prm->l;

	if (!prm->l)
		return true;

	/* files are asked for with anything behind them */
	if (req->what == AA_HTTP_FILE)
		return true;

	for (++p; p < end;) {
		const char *amp = memchr(p, '&', (size_t)(end - p));
		const char *stop = amp ? amp : end;
		const char *eq = memchr(p, '=', (size_t)(stop - p));
		struct pl name, val;

		if (!eq)
			return false;

		name.p = p;
		name.l = (size_t)(eq - p);
		val.p  = eq + 1;
		val.l  = (size_t)(stop - eq - 1);

		if (!param(req, &name, &val))
			return false;

		p = stop + 1;
	}

	return true;
}


static enum aa_http_what what_decode(const struct pl *path)
{
	static const struct {
		const char *path;
		enum aa_http_what what;
	} pathv[] = {
		{"/state",   AA_HTTP_STATE},
		{"/history", AA_HTTP_HISTORY},
		{"/metrics", AA_HTTP_METRICS},
		{"/events",  AA_HTTP_EVENTS},
		{"/command", AA_HTTP_COMMAND},
		{"/login",   AA_HTTP_LOGIN},
		{"/logout",  AA_HTTP_LOGOUT},
	};
	size_t i;

	for (i=0; i<sizeof(pathv) / sizeof(pathv[0]); i++) {
		if (!pl_strcmp(path, pathv[i].path))
			return pathv[i].what;
	}

	return AA_HTTP_FILE;
}


/**
 * Read the head of a request (RFC 9112)
 *
 * @param req Request, set
 * @param msg Decoded message; its body need not have arrived
 *
 * @return 0 if success, otherwise the status code to refuse it with
 */
uint16_t aa_httpreq_decode(struct aa_httpreq *req,
			   const struct http_msg *msg)
{
	struct pl val;
	uint64_t n;

	memset(req, 0, sizeof(*req));

	req->head  = !pl_strcmp(&msg->met, "HEAD");
	req->post  = !pl_strcmp(&msg->met, "POST");
	req->other = !req->head && !req->post && pl_strcmp(&msg->met, "GET");

	if (pl_strcmp(&msg->ver, "1.1") && pl_strcmp(&msg->ver, "1.0"))
		return 505;

	req->what = what_decode(&msg->path);
	if (!params(req, &msg->prm))
		return 400;

	/* RFC 9112 3.2 */
	if (!header(&val, msg, "Host") || !pl_isset(&val))
		return 400;

	/* no body of a length that is not known */
	if (!header(&val, msg, "Transfer-Encoding") || val.p)
		return 411;

	if (!header(&val, msg, "Content-Length"))
		return 400;
	if (val.p) {
		if (!number(&n, &val, INT64_MAX))
			return 400;
		if (n > AA_HTTP_BODY_MAX)
			return 413;
		req->clen = (uint32_t)n;
	}

	if (req->what == AA_HTTP_EVENTS) {
		if (!header(&val, msg, "Last-Event-ID"))
			return 400;
		if (pl_isset(&val) && !number(&req->since, &val, INT64_MAX))
			req->since = 0;
	}

	return 0;
}


/**
 * Does the method fit what is asked for?
 *
 * @param req Request
 *
 * @return 0 if it does, otherwise 405
 */
uint16_t aa_httpreq_method(const struct aa_httpreq *req)
{
	const bool post = req->what == AA_HTTP_COMMAND ||
		req->what == AA_HTTP_LOGIN || req->what == AA_HTTP_LOGOUT;

	return req->other || req->post != post ||
		(req->head && req->what == AA_HTTP_EVENTS) ? 405 : 0;
}


/* The origin of this very page: the scheme, and what is in Host */
static bool origin_is(const struct pl *origin, const struct pl *host)
{
	static const char *schemev[] = {"http://", "https://"};
	size_t i;

	for (i=0; i<2; i++) {
		const size_t n = strlen(schemev[i]);
		struct pl rest;

		if (origin->l <= n || memcmp(origin->p, schemev[i], n))
			continue;

		rest.p = origin->p + n;
		rest.l = origin->l - n;

		return !pl_casecmp(&rest, host);
	}

	return false;
}


/**
 * Does a browser say that another web site is behind a request?
 *
 * A link to the page is fine, wherever it stands; what a browser is made to
 * load or to send by another site is not.
 *
 * @param req Request
 * @param msg Decoded message
 *
 * @return 0 if not, otherwise 403
 */
uint16_t aa_httpreq_site(const struct aa_httpreq *req,
			 const struct http_msg *msg)
{
	struct pl origin, host, site, mode;

	if (!header(&origin, msg, "Origin") ||
	    !header(&host, msg, "Host") ||
	    !header(&site, msg, "Sec-Fetch-Site") ||
	    !header(&mode, msg, "Sec-Fetch-Mode"))
		return 403;

	if (origin.p && !origin_is(&origin, &host))
		return 403;

	if (!site.p || !pl_strcmp(&site, "same-origin") ||
	    !pl_strcmp(&site, "none"))
		return 0;

	return req->what == AA_HTTP_FILE && !req->post &&
		!pl_strcmp(&mode, "navigate") ? 0 : 403;
}


/**
 * Is it an address of this host's own?  libre means 127.0.0.1 alone.
 *
 * @param sa Address
 *
 * @return true for 127.0.0.0/8 and ::1
 */
bool aa_http_loopback(const struct sa *sa)
{
	if (sa_af(sa) == AF_INET)
		return sa_in(sa) >> 24 == 127;

	return sa_is_loopback(sa);
}


/* A name that leads here and that nobody else can own */
static bool host_is_ours(const struct pl *host, const struct sa *local)
{
	struct pl name = *host, port = pl_null;
	const char *p;
	char buf[64];
	struct sa sa;

	if (name.l && name.p[0] == '[') {
		p = memchr(name.p, ']', name.l);
		if (!p)
			return false;
		port.p = p + 1;
		port.l = (size_t)(name.p + name.l - port.p);
		++name.p;
		name.l = (size_t)(p - name.p);
	}
	else {
		p = memchr(name.p, ':', name.l);
		if (p) {
			port.p = p;
			port.l = (size_t)(name.p + name.l - p);
			name.l = (size_t)(p - name.p);
		}
	}

	if (port.l) {
		uint64_t n;

		if (port.p[0] != ':')
			return false;
		++port.p;
		--port.l;
		if (!number(&n, &port, 65535))
			return false;
	}

	if (!pl_strcasecmp(&name, "localhost"))
		return true;

	if (pl_strcpy(&name, buf, sizeof(buf)) || sa_set_str(&sa, buf, 0))
		return false;

	return aa_http_loopback(&sa) || sa_cmp(&sa, local, SA_ADDR);
}


/**
 * Has this one tried a token?
 *
 * @param req Request
 * @param msg Decoded message
 *
 * @return true if there is one, right or wrong
 */
bool aa_httpreq_tries(const struct aa_httpreq *req,
		      const struct http_msg *msg)
{
	struct pl all;

	if (req->what == AA_HTTP_LOGIN ||
	    http_msg_xhdr(msg, "Authorization"))
		return true;

	return header(&all, msg, "Cookie") && all.p &&
		!re_regex(all.p, all.l, COOKIE "=");
}


/**
 * Is it the token?  Takes as long for a wrong one as for the right one.
 *
 * @param token The token
 * @param p     What was sent
 * @param l     Its length [bytes]
 *
 * @return true if it is
 */
bool aa_http_token_equal(const char *token, const char *p, size_t l)
{
	uint8_t a[SHA256_DIGEST_LENGTH], b[SHA256_DIGEST_LENGTH];

	if (!str_isset(token) || !p || !l)
		return false;

	(void)SHA256((const uint8_t *)token, strlen(token), a);
	(void)SHA256((const uint8_t *)p, l, b);

	return 0 == CRYPTO_memcmp(a, b, sizeof(a));
}


/**
 * The value of the cookie of somebody who knew the token
 *
 * It is made of the token, so that it holds over a restart of baresip, and
 * ends when the token is changed; the token cannot be made of it.
 *
 * @param value AA_HTTP_COOKIE_SZ bytes, set
 * @param token The token
 */
void aa_http_cookie(char *value, const char *token)
{
	static const char use[] = "cookie of aastra's page:";
	uint8_t md[SHA256_DIGEST_LENGTH];
	char buf[512];
	int n;

	n = re_snprintf(buf, sizeof(buf), "%s%s", use, token);
	(void)SHA256((const uint8_t *)buf, n > 0 ? (size_t)n : 0, md);
	OPENSSL_cleanse(buf, sizeof(buf));

	(void)re_snprintf(value, AA_HTTP_COOKIE_SZ, "%w", md, sizeof(md));
}


/* RFC 6265 4.2: "name=value; name=value" */
static bool cookie_ok(const struct http_msg *msg, const char *token)
{
	char value[AA_HTTP_COOKIE_SZ];
	struct pl all;
	const char *p, *end;

	if (!header(&all, msg, "Cookie") || !all.p)
		return false;

	aa_http_cookie(value, token);

	for (p = all.p, end = all.p + all.l; p < end;) {
		const char *semi = memchr(p, ';', (size_t)(end - p));
		const char *stop = semi ? semi : end;
		const size_t n = strlen(COOKIE "=");

		while (p < stop && *p == ' ')
			++p;

		if ((size_t)(stop - p) > n && !memcmp(p, COOKIE "=", n) &&
		    aa_http_token_equal(value, p + n, (size_t)(stop - p) - n))
			return true;

		p = stop + 1;
	}

	return false;
}


static bool bearer_ok(const struct http_msg *msg, const char *token)
{
	const size_t n = strlen("Bearer ");
	struct pl val, scheme;

	if (!header(&val, msg, "Authorization") || val.l <= n)
		return false;

	scheme.p = val.p;
	scheme.l = n;

	return !pl_strcasecmp(&scheme, "Bearer ") &&
		aa_http_token_equal(token, val.p + n, val.l - n);
}


/**
 * May this one see and steer the phone?
 *
 * @param msg Decoded message
 * @param g   Who is let in
 *
 * @return 0 if so, otherwise 401 (the token is missing or wrong) or 403 (it
 *         was called by a name that anybody may own)
 */
uint16_t aa_httpreq_may(const struct http_msg *msg,
			const struct aa_httpguard *g)
{
	struct pl host;

	if (str_isset(g->token) && (bearer_ok(msg, g->token) ||
				    cookie_ok(msg, g->token)))
		return 0;

	if (g->always || !aa_http_loopback(g->peer) ||
	    !aa_http_loopback(g->local))
		return 401;

	if (!header(&host, msg, "Host") || !host_is_ours(&host, g->local))
		return 403;

	return 0;
}


/**
 * The words of a status code
 *
 * @param scode Status code
 *
 * @return Reason phrase of RFC 9110 15
 */
const char *aa_http_reason(uint16_t scode)
{
	switch (scode) {

	case 200: return "OK";
	case 204: return "No Content";
	case 400: return "Bad Request";
	case 401: return "Unauthorized";
	case 403: return "Forbidden";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 408: return "Request Timeout";
	case 409: return "Conflict";
	case 411: return "Length Required";
	case 413: return "Content Too Large";
	case 431: return "Request Header Fields Too Large";
	case 503: return "Service Unavailable";
	case 505: return "HTTP Version Not Supported";
	default:  return "Internal Server Error";
	}
}
