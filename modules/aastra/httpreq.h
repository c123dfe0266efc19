/**
 * @file httpreq.h  What a request by HTTP asks for, and whether it may
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_HTTPREQ_H
#define AASTRA_HTTPREQ_H

struct sa;
struct http_msg;

enum {
	AA_HTTP_HEAD_MAX  = 8192,  /**< request line and headers [bytes]    */
	AA_HTTP_BODY_MAX  = 1024,  /**< body of a request [bytes]           */
	AA_HTTP_TOKEN_MIN = 8,     /**< shortest token [characters]         */
	AA_HTTP_COOKIE_SZ = 65     /**< of the cookie's value, with its 0   */
};

/** What a request is about */
enum aa_http_what {
	AA_HTTP_FILE = 0,       /**< one of the page's files, or nothing    */
	AA_HTTP_STATE,
	AA_HTTP_HISTORY,
	AA_HTTP_METRICS,
	AA_HTTP_EVENTS,
	AA_HTTP_COMMAND,
	AA_HTTP_LOGIN,
	AA_HTTP_LOGOUT
};

/** A request */
struct aa_httpreq {
	enum aa_http_what what;
	bool head;              /**< HEAD: the answer has no body           */
	bool post;
	bool other;             /**< neither GET, HEAD nor POST             */
	uint32_t line;          /**< `?line=`, 0: all                       */
	uint32_t max;           /**< `?max=`, 0: all                        */
	uint64_t since;         /**< `?since=`, or Last-Event-ID            */
	uint32_t clen;          /**< length of the body [bytes]             */
};

/** Who is let in */
struct aa_httpguard {
	const char *token;      /**< what one has to know, NULL: closed to
				     all who need it                        */
	bool always;            /**< loopback needs it, too                 */
	const struct sa *peer;  /**< who asks                               */
	const struct sa *local; /**< whom: our end of the connection        */
};


bool     aa_httpreq_complete(const uint8_t *p, size_t len);
uint16_t aa_httpreq_decode(struct aa_httpreq *req,
			   const struct http_msg *msg);
uint16_t aa_httpreq_method(const struct aa_httpreq *req);
uint16_t aa_httpreq_site(const struct aa_httpreq *req,
			 const struct http_msg *msg);
uint16_t aa_httpreq_may(const struct http_msg *msg,
			const struct aa_httpguard *g);
bool     aa_httpreq_tries(const struct aa_httpreq *req,
			  const struct http_msg *msg);
bool     aa_http_loopback(const struct sa *sa);
bool     aa_http_token_equal(const char *token, const char *p, size_t l);
void     aa_http_cookie(char *value, const char *token);
const char *aa_http_reason(uint16_t scode);

#endif
