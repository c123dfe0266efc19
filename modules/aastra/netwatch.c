/**
 * @file netwatch.c  Hears of the host's links, addresses and routes
 *
 * A cable that is plugged in again, a DHCP lease, a new default route: each
 * is a reason to try a server now and not when a timer has run out.  Linux
 * tells by netlink, to anybody who asks.
 *
 * The kernel also repeats itself: an IPv6 router's advertisement or a renewed
 * lease announces an address that is there already, and a link is announced
 * whenever anything about it changed.  So it is remembered which links are up
 * and which addresses are there, and only changes count.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <errno.h>
#include <unistd.h>
#include <sys/socket.h>
#include <net/if.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <re.h>
#include "compat.h"
#include "timer.h"
#include "netwatch.h"


enum {
	DEBOUNCE_MS = 100,
	BUF_SIZE    = 32768,    /* the kernel never fills more at once      */
	READS_MAX   = 16,       /* per turn of the event loop               */
	KNOWN_MAX   = 1024      /* links and addresses                      */
};

/* which list is being asked for, at first and after events were lost */
enum sync {
	SYNC_NONE = 0,
	SYNC_LINKS,
	SYNC_ADDRS
};

/* A link that is up, or an address on a link */
struct known {
	struct le le;
	unsigned index;
	unsigned char af;       /* AF_UNSPEC: the link itself               */
	unsigned char prefix;
	uint8_t addr[16];
};

struct aa_netwatch {
	struct list knownl;
	struct aa_tmr tmr;
	struct aa_fd afd;
	uint32_t port;          /* our address at the kernel                */
	uint32_t seq;
	enum sync sync;
	bool again;             /* events were lost while asking            */
	bool pending[2];
	enum aa_net last;
	aa_netwatch_h *h;
	void *arg;
	union {
		struct nlmsghdr hdr;
		char buf[BUF_SIZE];
	} u;
};


static void destructor(void *arg)
{
	struct aa_netwatch *nw = arg;

	aa_tmr_cancel(&nw->tmr);

	aa_compat_fd_close(&nw->afd);
	list_flush(&nw->knownl);
}


static void known_destructor(void *arg)
{
	struct known *known = arg;

	list_unlink(&known->le);
}


static void debounce_handler(void *arg)
{
	struct aa_netwatch *nw = mem_ref(arg);
	const enum aa_net last = nw->last;
	const enum aa_net first = last == AA_NET_UP ? AA_NET_DOWN : AA_NET_UP;
	bool pending[2];

	memcpy(pending, nw->pending, sizeof(pending));
	memset(nw->pending, 0, sizeof(nw->pending));

	if (pending[first])
		nw->h(first, nw->arg);

	/* unless the handler has freed it */
	if (pending[last] && mem_nrefs(nw) > 1)
		nw->h(last, nw->arg);

	mem_deref(nw);
}


static void event(struct aa_netwatch *nw, enum aa_net what)
{
	nw->pending[what] = true;
	nw->last = what;

	if (!aa_tmr_isrunning(&nw->tmr))
		aa_tmr_start(&nw->tmr, DEBOUNCE_MS, debounce_handler, nw);
}


static struct known *known_find(const struct aa_netwatch *nw,
				const struct known *key)
{
	struct le *le;

	for (le = list_head(&nw->knownl); le; le = le->next) {
		struct known *known = le->data;

		if (known->index == key->index && known->af == key->af &&
		    known->prefix == key->prefix &&
		    0 == memcmp(known->addr, key->addr, sizeof(key->addr)))
			return known;
	}

	return NULL;
}


/* It is there. Returns true if that is new. */
static bool known_add(struct aa_netwatch *nw, const struct known *key)
{
	struct known *known;

	if (known_find(nw, key))
		return false;

	/* what is not remembered is new each time, which does no harm */
	if (list_count(&nw->knownl) >= KNOWN_MAX)
		return true;

	known = mem_alloc(sizeof(*known), known_destructor);
	if (!known)
		return true;

	*known = *key;
	memset(&known->le, 0, sizeof(known->le));
	list_append(&nw->knownl, &known->le, known);

	return true;
}


/* It is not there. Returns true if that is new. */
static bool known_remove(struct aa_netwatch *nw, const struct known *key)
{
	struct known *known = known_find(nw, key);

	if (!known)
		return false;

	mem_deref(known);

	return true;
}


static void changed(struct aa_netwatch *nw, const struct known *key,
		    bool there, bool dump)
{
	if (there) {
		if (known_add(nw, key) && !dump)
			event(nw, AA_NET_UP);
	}
	else {
		if (known_remove(nw, key) && !dump)
			event(nw, AA_NET_DOWN);
	}
}


static void link_recv(struct aa_netwatch *nw, const struct nlmsghdr *hdr,
		      bool dump)
{
	const struct ifinfomsg *ifi = NLMSG_DATA(hdr);
	struct known key;

	if (hdr->nlmsg_len < NLMSG_LENGTH(sizeof(*ifi)))
		return;

	/* a port of a bridge says things about itself in this way */
	if (ifi->ifi_family != AF_UNSPEC)
		return;

	memset(&key, 0, sizeof(key));
	key.index = (unsigned)ifi->ifi_index;

	changed(nw, &key, hdr->nlmsg_type == RTM_NEWLINK &&
		(ifi->ifi_flags & IFF_UP) && (ifi->ifi_flags & IFF_RUNNING),
		dump);
}


static void addr_recv(struct aa_netwatch *nw, const struct nlmsghdr *hdr,
		      bool dump)
{
	const struct ifaddrmsg *ifa = NLMSG_DATA(hdr);
	const struct rtattr *rta;
	const void *addr = NULL;
	size_t len = 0, left;
	struct known key;

	if (hdr->nlmsg_len < NLMSG_LENGTH(sizeof(*ifa)))
		return;

	left = hdr->nlmsg_len - NLMSG_LENGTH(sizeof(*ifa));

	for (rta = IFA_RTA(ifa); RTA_OK(rta, left);
	     rta = RTA_NEXT(rta, left)) {

		/* the local end counts; without one both are the same */
		if (rta->rta_type == IFA_LOCAL ||
		    (rta->rta_type == IFA_ADDRESS && !addr)) {
			addr = RTA_DATA(rta);
			len  = RTA_PAYLOAD(rta);
		}
	}

	memset(&key, 0, sizeof(key));
	key.index  = ifa->ifa_index;
	key.af     = ifa->ifa_family;
	key.prefix = ifa->ifa_prefixlen;

	if (!addr || key.af == AF_UNSPEC || len > sizeof(key.addr))
		return;

	memcpy(key.addr, addr, len);

	/* an IPv6 address cannot be used before it was found to be unique */
	changed(nw, &key, hdr->nlmsg_type == RTM_NEWADDR &&
		!(ifa->ifa_flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)),
		dump);
}


static void route_recv(struct aa_netwatch *nw, const struct nlmsghdr *hdr)
{
	const struct rtmsg *rtm = NLMSG_DATA(hdr);

	if (hdr->nlmsg_len < NLMSG_LENGTH(sizeof(*rtm)))
		return;

	/* the others come with addresses, or lead nowhere */
	if (rtm->rtm_type == RTN_UNICAST && rtm->rtm_table != RT_TABLE_LOCAL &&
	    !(rtm->rtm_flags & RTM_F_CLONED))
		event(nw, AA_NET_UP);
}


static void sync_ask(struct aa_netwatch *nw, enum sync sync)
{
	struct {
		struct nlmsghdr hdr;
		struct rtgenmsg gen;
	} req;

	memset(&req, 0, sizeof(req));
	req.hdr.nlmsg_len   = NLMSG_LENGTH(sizeof(req.gen));
	req.hdr.nlmsg_type  = sync == SYNC_LINKS ? RTM_GETLINK : RTM_GETADDR;
	req.hdr.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	req.hdr.nlmsg_seq   = ++nw->seq;
	req.gen.rtgen_family = AF_UNSPEC;

	/* without the list, an address that is announced once more is taken
	   for a new one: no great harm */
	nw->sync = send(nw->afd.fd, &req, req.hdr.nlmsg_len, 0) < 0 ? SYNC_NONE
								: sync;
}


/* Learn anew what is there.  One list can be asked for at a time. */
static void sync_start(struct aa_netwatch *nw)
{
	if (nw->sync) {
		nw->again = true;
		return;
	}

	nw->again = false;
	list_flush(&nw->knownl);
	sync_ask(nw, SYNC_LINKS);
}


static void sync_next(struct aa_netwatch *nw, bool ok)
{
	const enum sync done = nw->sync;

	nw->sync = SYNC_NONE;

	if (nw->again)
		sync_start(nw);
	else if (ok && done == SYNC_LINKS)
		sync_ask(nw, SYNC_ADDRS);
}


static void msg_recv(struct aa_netwatch *nw, const struct nlmsghdr *hdr)
{
	const bool dump = nw->sync && hdr->nlmsg_seq == nw->seq &&
		hdr->nlmsg_pid == nw->port;

	switch (hdr->nlmsg_type) {

	case RTM_NEWLINK:
	case RTM_DELLINK:
		link_recv(nw, hdr, dump);
		break;

	case RTM_NEWADDR:
	case RTM_DELADDR:
		addr_recv(nw, hdr, dump);
		break;

	case RTM_NEWROUTE:
		route_recv(nw, hdr);
		break;

	case NLMSG_DONE:
	case NLMSG_ERROR:
		if (dump)
			sync_next(nw, hdr->nlmsg_type == NLMSG_DONE);
		break;
	}
}


/* Returns false when there is nothing more to read */
static bool receive(struct aa_netwatch *nw)
{
	const struct nlmsghdr *hdr = &nw->u.hdr;
	struct sockaddr_nl from;
	socklen_t fromlen = sizeof(from);
	ssize_t n;
	unsigned len;

	memset(&from, 0, sizeof(from));

	n = recvfrom(nw->afd.fd, nw->u.buf, sizeof(nw->u.buf), MSG_DONTWAIT,
		     (struct sockaddr *)&from, &fromlen);
	if (n < 0) {
		if (errno == EINTR)
			return true;

		if (errno != ENOBUFS)
			return false;

		/* too much happened at once: some of it was good perhaps */
		event(nw, AA_NET_UP);
		sync_start(nw);

		return true;
	}

	/* only the kernel is believed */
	if (fromlen < sizeof(from) || from.nl_pid)
		return true;

	for (len = (unsigned)n; NLMSG_OK(hdr, len);
	     hdr = NLMSG_NEXT(hdr, len))
		msg_recv(nw, hdr);

	return true;
}


static void read_handler(int flags, void *arg)
{
	struct aa_netwatch *nw = arg;
	int i;
	(void)flags;

	for (i=0; i<READS_MAX; i++) {
		if (!receive(nw))
			break;
	}
}


/**
 * Start to watch the host's network
 *
 * @param nwp Pointer to the watch; mem_deref() ends it
 * @param h   Handler of changes
 * @param arg Handler argument
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_netwatch_alloc(struct aa_netwatch **nwp, aa_netwatch_h *h, void *arg)
{
	struct aa_netwatch *nw;
	struct sockaddr_nl sa;
	socklen_t len = sizeof(sa);
	int fd, err;

	if (!nwp || !h)
		return EINVAL;

	nw = mem_zalloc(sizeof(*nw), destructor);
	if (!nw)
		return ENOMEM;

	nw->h   = h;
	nw->arg = arg;

	nw->afd.fd = -1;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
		    NETLINK_ROUTE);
	if (fd < 0) {
		err = errno;
		goto out;
	}

	memset(&sa, 0, sizeof(sa));
	sa.nl_family = AF_NETLINK;
	sa.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
		RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;

	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sa, &len) < 0) {
		err = errno;
		goto out;
	}

	nw->port = sa.nl_pid;

	err = aa_compat_fd_read(&nw->afd, fd, read_handler, nw);
	if (err)
		goto out;

	fd = -1;

	sync_start(nw);

	*nwp = nw;

 out:
	if (fd >= 0)
		(void)close(fd);
	if (err)
		mem_deref(nw);

	return err;
}
