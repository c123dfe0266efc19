/**
 * @file compat.h  All that differs between versions of baresip and libre
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_COMPAT_H
#define AASTRA_COMPAT_H

struct account;
struct call;
struct ua;

/* libre dropped the short name */
#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#endif

/*
 * Three generations are known: 1.1.0, 2.0.1 and 4.10.0.  What lies between was
 * not tried.
 */

/* SHA-256 in digest answers; 2.0 has MD5 alone */
#if AASTRA_RE_VERSION >= 40900
#define AA_LIBRE_SHA256 1
#else
#define AA_LIBRE_SHA256 0
#endif

/* libre 3.6 gave each descriptor in the event loop a handle */
#if AASTRA_RE_VERSION >= 30600
#define AA_RE_FD_HANDLES 1
#else
#define AA_RE_FD_HANDLES 0
#endif

/*
 * Later versions of libre write a request when its connection is there: the
 * send handler may change the source address, and add a body.  The module
 * does neither.
 */
#if AASTRA_RE_VERSION >= 30000
typedef struct sa aa_send_src;
#define AA_SEND_BODY struct mbuf **bodyp __attribute__((unused)),
#else
typedef const struct sa aa_send_src;
#define AA_SEND_BODY
#endif

/** Events of baresip that the module listens to */
enum aa_event {
	AA_EVENT_OTHER = 0,
	AA_EVENT_REGISTERING,
	AA_EVENT_UNREGISTERING,
	AA_EVENT_SHUTDOWN,
	AA_EVENT_EXIT,
	AA_EVENT_CALL_OFFER,    /**< a call is about to send its offer      */
	AA_EVENT_CALL_UP,       /**< a call was taken                       */
	AA_EVENT_CALL_CLOSED,   /**< a call has ended                       */
	AA_EVENT_CALL           /**< anything else that happens to a call   */
};

/**
 * Event handler
 *
 * @param ev   What happened
 * @param ua   User agent, may be NULL
 * @param call Call, may be NULL
 * @param prm  Baresip's text about it, may be NULL
 */
typedef void (aa_event_h)(enum aa_event ev, struct ua *ua, struct call *call,
			  const char *prm);


int  aa_compat_init(aa_event_h *h);
void aa_compat_close(void);
bool aa_compat_mwi_wished(const struct account *acc);
void aa_compat_mwi_off(struct account *acc);
void aa_compat_mwi(struct ua *ua, const char *body);
void aa_compat_emit(struct ua *ua, const char *event, const char *fmt, ...);

struct ua *aa_compat_current(void);
void aa_compat_current_set(struct ua *ua);
void aa_compat_current_leave(const struct ua *ua);
bool aa_compat_has_current(void);
void aa_compat_ua_unregister(struct ua *ua);
void aa_compat_call_take(struct call *call, struct ua *from, struct ua *to);
uint32_t aa_compat_account_prio(const struct account *acc);
const char *aa_compat_baresip_version(void);
bool aa_compat_net_check(int af, bool gone);
int  aa_compat_listen_set(const char *str);

/** A descriptor in libre's event loop */
struct aa_fd {
	int fd;                 /**< -1: none                               */
	void *fhs;              /**< libre's handle, from 3.6 on            */
};

typedef void (aa_fd_h)(int flags, void *arg);

/** Calls once, later; all zero: it does not run */
struct aa_wake {
	struct tmr tmr;
	struct aa_fd afd;       /**< the kernel's timer                     */
	bool open;              /**< that is there                          */
	tmr_h *h;               /**< NULL: it does not run                  */
	void *arg;
};

int  aa_compat_fd_read(struct aa_fd *afd, int fd, aa_fd_h *h, void *arg);
void aa_compat_fd_close(struct aa_fd *afd);
void aa_compat_wake(struct aa_wake *wake, uint64_t ms, tmr_h *h, void *arg);
void aa_compat_wake_close(struct aa_wake *wake);
void aa_compat_lsnr_first(struct sip_lsnr *lsnr);
void aa_compat_request_end(struct sip_request *req, struct mbuf *mb);
int  aa_compat_tcp_fd(const struct tcp_conn *tc);
int  aa_compat_fd_peer(int fd, struct sa *peer);
int  aa_compat_tcp_peer(const struct tcp_conn *tc, struct sa *peer);
const struct tcp_conn *aa_compat_tls_tcp(const void *tc, const void *ssl,
					 const void *out, const void *in);
void aa_compat_contact_addr(struct sa *addr, struct sip *sip,
			    enum sip_transp tp, const struct sa *src,
			    const struct sa *dst);
uint64_t aa_now_us(void);
uint64_t aa_now_ms(void);
uint64_t aa_wall_ms(void);
int64_t  aa_clock_ahead_ms(void);

#endif
