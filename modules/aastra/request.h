/**
 * @file request.h  A SIP request with a time limit of its own
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_REQUEST_H
#define AASTRA_REQUEST_H

struct aa_req;

/**
 * Names a TCP connection of libre by its socket
 *
 * libre gives no handle to a connection before something was received on it,
 * and none to close it at all.  The inode tells whether the descriptor still
 * is that socket.
 */
struct aa_conn {
	int fd;                 /**< descriptor, -1 for none                */
	const char *host;       /**< server, as the administrator wrote it  */
	uint64_t ino;           /**< inode of the socket                    */
	bool borrowed;          /**< not known: the latest request found one
				     that somebody else has opened          */
};

/**
 * Adds headers that need the local address.  It may be called again, for a
 * retransmission.
 *
 * @param tp  Transport
 * @param src Local address
 * @param dst Address of the next hop
 * @param mb  To be written to
 * @param arg Handler argument
 *
 * @return 0 if success, otherwise errorcode
 */
typedef int (aa_send_h)(enum sip_transp tp, const struct sa *src,
			const struct sa *dst, struct mbuf *mb, void *arg);

/** Parameters of a request */
struct aa_req_prm {
	struct sip *sip;        /**< SIP stack                              */
	const char *met;        /**< method                                 */
	struct sip_dialog *dlg; /**< dialog state: To, From, Call-ID, Route;
				     NULL: these are among the headers, and
				     uri and hop say where it goes          */
	const char *uri;        /**< Request-URI                            */
	const char *hop;        /**< next hop, NULL: the Request-URI's      */
	struct sip_auth *auth;  /**< credentials, may be NULL               */
	uint32_t timeout;       /**< no answer for so long = ETIMEDOUT [ms] */
	struct aa_conn *conn;   /**< set if the request opens a connection,
				     may be NULL                            */
	aa_send_h *sendh;       /**< adds headers that need the local
				     address, may be NULL                   */
	sip_resp_h *resph;      /**< called once, with the final response or
				     an error                               */
	void *arg;              /**< argument of both handlers              */
};


int  aa_req_send(struct aa_req **reqp, const struct aa_req_prm *prm,
		 const char *fmt, ...);

void aa_conn_init(struct aa_conn *conn);
void aa_conn_from_msg(struct aa_conn *conn, const struct sip_msg *msg);
bool aa_conn_isset(const struct aa_conn *conn);
void aa_conn_user_timeout(const struct aa_conn *conn, uint32_t ms);
int  aa_conn_received(const struct aa_conn *conn, uint64_t *bytes);
bool aa_conn_unheard(const struct aa_conn *conn);
void aa_conn_close(struct aa_conn *conn, bool abort);
bool aa_conn_close_all(const struct sa *peer);

bool aa_scode_is_server_failure(uint16_t scode);
uint32_t aa_msg_retry_after(const struct sip_msg *msg);


/**
 * Was a request answered by nobody, or by a proxy that got no answer itself
 * (RFC 3261 16.7, 21.4.9, 21.5.5)?  Who it was for may take it still.
 *
 * @param msg Final response, NULL if there was none
 *
 * @return true for none, 408 and 504
 */
static inline bool aa_msg_is_open(const struct sip_msg *msg)
{
	return !msg || msg->scode == 408 || msg->scode == 504;
}

#endif
