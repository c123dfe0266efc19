/**
 * @file module.c  Aastra-style failover for baresip
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <re.h>
#include "aastra_baresip.h"
#include "compat.h"
#include "flow.h"
#include "binding.h"
#include "account.h"
#include "line.h"
#include "callmove.h"
#include "command.h"
#include "subscription.h"
#include "netwatch.h"
#include "tlsguard.h"
#include "warm.h"
#include "stray.h"
#include "lines.h"
#include "hangup.h"
#include "http.h"
#include "whitelist.h"
#include "merged.h"
#include "localport.h"
#include "seen.h"
#include "replace.h"
#include "timer.h"
#include "metrics.h"
#include "history.h"
#include "module.h"


/**
 * @defgroup aastra aastra
 *
 * Backup outbound proxy, backup proxy and backup registrar, as the SIP desk
 * phones of Aastra and Mitel have them: when a server fails, a line moves its
 * registration to the backup, tries the primary in the background, and goes
 * back.
 *
 * Load it before account.so:
 *
 \verbatim
  module_app      aastra.so
  module_app      account.so
 \endverbatim
 *
 * Keys in baresip's config (all keys: docs/parameters.md):
 *
 \verbatim
  sip_line1_backup_outbound_proxy        10.0.0.2
  sip_line1_backup_outbound_proxy_port   5060
  sip_recovery_base_timer                30
 \endverbatim
 *
 * Commands: docs/commands.md
 */


enum {
	EXIT_MS       = 1600,   /* for the farewells, and some more         */
	SAVE_DELAY_MS = 100,    /* several changes are written once         */
	HISTORY_DELAY_MS = 2000, /* the same, of what is larger             */
	NET_AGAIN     = 2,      /* looks after the network came back,       */
	NET_AGAIN_MS  = 1500,   /* so long apart                            */
	KNOW_MS       = 10000,  /* names whose records may be too old       */
	AFS           = 2,      /* IPv4 and IPv6                            */
	TRANSPS       = 2       /* UDP and TCP                              */
};


static struct {
	struct aa_phone phone;
	struct sip_lsnr *lsnr;
	struct aa_netwatch *netwatch;
	struct sa laddr[TRANSPS * AFS]; /* of libre's transports            */
	struct aa_tmr tmr_net;  /* the network is back: what is down again  */
	struct aa_tmr tmr_know; /* who may call (`sip whitelist`)           */
	unsigned net_again;     /* how often, after a change                */
	struct aa_tmr tmr_exit; /* baresip has ended its user agents        */
	struct aa_tmr tmr_save; /* what lines remember is to be written     */
	uint64_t saved_at;      /* when it was written at once, last        */
	char path_warm[512];    /* where                                    */
	char path_stray[512];   /* farewells that were not answered         */
	struct aa_tmr tmr_history; /* the history is to be written          */
	char path_history[512]; /* where                                    */
	bool closing;
} aastra;


/* ---- what lines remember ---------------------------------------------- */


static void save(bool durable)
{
	static bool said;
	int err;

	err = aa_warm_save(&aastra.phone, aastra.path_warm, durable);
	if (err && !said)
		warning("aastra: %s: could not be written (%m)\n",
			aastra.path_warm, err);
	said = err != 0;
}


/* The event loop does not wait for a slow disk, but at the end */
static void save_handler(void *arg)
{
	(void)arg;

	save(false);
	if (aa_replace_settle(aastra.path_warm))
		save(true);
}


/*
 * A process that is killed right now shall begin there again: what it has left
 * behind at a registrar is void then.  The disk has more time, and many lines
 * that move in the same moment do not write one by one.
 */
static void changed_handler(void)
{
	const uint64_t now = aa_now_ms();

	if (!aastra.saved_at || now - aastra.saved_at >= SAVE_DELAY_MS) {
		aastra.saved_at = now;
		save(false);
	}

	aa_tmr_start(&aastra.tmr_save, SAVE_DELAY_MS, save_handler, NULL);
}


/* What is about to be written is written while there are lines to write of */
static void save_now(void)
{
	if (!aa_tmr_isrunning(&aastra.tmr_save))
		return;

	aa_tmr_cancel(&aastra.tmr_save);
	save(true);
}


/* The latest word, when nothing is waited for any more */
static void strays_save(void)
{
	const int err = aa_stray_save(&aastra.phone.strayl, aastra.path_stray);

	if (err)
		warning("aastra: %s: could not be written (%m)\n",
			aastra.path_stray, err);

	list_flush(&aastra.phone.strayl);
}


/* ---- the history ------------------------------------------------------ */


static void history_write(bool sync)
{
	static bool said;
	int err;

	err = aa_history_save(aastra.phone.jnl, aastra.path_history, sync);
	if (err && !said)
		warning("aastra: %s: could not be written (%m)\n",
			aastra.path_history, err);
	said = err != 0;
}


/* Lines do not wait for a slow disk; what is renamed is whole all the same,
   but for a loss of power on some file systems */
static void history_handler(void *arg)
{
	(void)arg;

	history_write(false);
}


static void journal_handler(const struct aa_journal_entry *e, void *arg)
{
	(void)arg;

	aa_metrics_note(e);
	aa_seen_tell(AA_NEWS_HISTORY, e->line);

	if (!aa_tmr_isrunning(&aastra.tmr_history))
		aa_tmr_start(&aastra.tmr_history, HISTORY_DELAY_MS,
			     history_handler, NULL);
}


static int history_init(const char *path)
{
	int err;

	if (re_snprintf(aastra.path_history, sizeof(aastra.path_history),
			"%s/aastra_history", path) < 0)
		return ENAMETOOLONG;

	err = aa_journal_alloc(&aastra.phone.jnl);
	if (err)
		return err;

	err = aa_history_load(aastra.phone.jnl, aastra.path_history);
	if (err && err != ENOENT)
		warning("aastra: %s: could not be read (%m): the history"
			" begins anew\n", aastra.path_history, err);

	aa_journal_listen(aastra.phone.jnl, journal_handler, NULL);

	return 0;
}


/* ---- the phone's own network ------------------------------------------ */


static const int afv[AFS] = {AF_INET, AF_INET6};


/* The first of libre's own addresses of a family */
static bool own_address(struct sa *sa, enum sip_transp tp, int af)
{
	struct sa any;

	sa_init(&any, af);

	return !sip_transp_laddr(uag_sip(), sa, tp, &any) && sa_af(sa) == af &&
		sa_isset(sa, SA_ADDR);
}


/* libre's transports are made anew when an address changes; the connections
   of the old ones are gone without a word */
static void look_at_transports(void)
{
	static const enum sip_transp tpv[TRANSPS] = {SIP_TRANSP_UDP,
						     SIP_TRANSP_TCP};
	bool changed = false;
	struct le *le;
	size_t i, af;

	aa_localport_look();

	for (i=0; i<TRANSPS * AFS; i++) {
		struct sa sa;

		af = i % AFS;
		if (!own_address(&sa, tpv[i / AFS], afv[af]))
			sa_init(&sa, AF_UNSPEC);

		if (sa_isset(&aastra.laddr[i], SA_ADDR) &&
		    !sa_cmp(&sa, &aastra.laddr[i], SA_ALL))
			changed = true;
		aastra.laddr[i] = sa;
	}

	for (le = list_head(&aastra.phone.flowl); le && changed; le = le->next)
		aa_flow_reset(le->data);
}


struct addr_search {
	struct sa sa;
	bool found;
};


static bool addr_handler(const char *ifname, const struct sa *sa, void *arg)
{
	struct addr_search *as = arg;
	(void)ifname;

	as->found = sa_cmp(sa, &as->sa, SA_ADDR);

	return as->found;
}


/*
 * Is an address that libre sends from no longer one of this host's, and does
 * baresip know of another one now?  Which family comes first in libre's list
 * is not always the same.
 */
static bool own_address_changed(void)
{
	bool lookv[AFS], gone = false, any = false, changed = false;
	struct addr_search as;
	size_t i;

	for (i=0; i<AFS; i++) {

		as.found = false;
		if (own_address(&as.sa, SIP_TRANSP_UDP, afv[i])) {
			any = true;
			(void)net_if_apply(addr_handler, &as);
			gone |= !as.found;
		}
		lookv[i] = !as.found;
	}

	for (i=0; i<AFS; i++) {
		if (lookv[i] && aa_compat_net_check(afv[i], gone || !any))
			changed = true;
	}

	return changed;
}


/*
 * What is tried in the moment when a cable is plugged in may still fail: the
 * kernel goes on with the ARP requests that it lost, and then gives up.
 */
static void net_again_handler(void *arg)
{
	struct le *le;
	(void)arg;

	for (le = list_head(&aastra.phone.flowl); le; le = le->next) {
		struct aa_flow *flow = le->data;

		if (aa_flow_state(flow) == AA_FLOW_DOWN)
			aa_flow_probe(flow);
	}

	if (aastra.net_again++ < NET_AGAIN)
		aa_tmr_start(&aastra.tmr_net, NET_AGAIN_MS, net_again_handler,
			     NULL);
}


static void net_handler(enum aa_net what, void *arg)
{
	struct le *le;
	(void)arg;

	if (what == AA_NET_UP) {
		aastra.net_again = 1;
		aa_tmr_start(&aastra.tmr_net, NET_AGAIN_MS, net_again_handler,
			     NULL);
	}

	/* baresip itself looks once a minute */
	if (what == AA_NET_UP && own_address_changed()) {
		info("aastra: the phone's address has changed\n");
		(void)uag_reset_transp(true, true);
	}

	for (le = list_head(&aastra.phone.flowl); le; le = le->next) {
		struct aa_flow *flow = le->data;

		if (aa_flow_state(flow) == AA_FLOW_UP && aa_flow_kept(flow))
			aa_flow_check(flow);
		else if (what == AA_NET_UP)
			aa_flow_probe(flow);
	}
}


static void ua_registering(struct ua *ua)
{
	struct aa_line *line;

	look_at_transports();

	line = aa_line_find_ua(&aastra.phone, ua);
	if (!line) {
		/* the ones before it in the list have the lower numbers */
		aa_lines_look();
		line = aa_line_find_ua(&aastra.phone, ua);
	}
	if (!line) {
		aa_lines_wake(ua);
		line = aa_line_find_ua(&aastra.phone, ua);
	}
	if (!line)
		return;

	aa_account_redirect(line->acc, ua);

	/* baresip, or the user, wants it registered */
	if (!aa_account_publishing(line->acc))
		aa_line_refresh(line);
}


/* Not what the line says of itself, but what the user wants */
static void ua_unregistering(const struct ua *ua)
{
	const struct aa_line *line = aa_line_find_ua(&aastra.phone, ua);

	if (line && ua == aa_account_shown(line->acc) &&
	    !aa_account_publishing(line->acc) &&
	    !account_regint(ua_account(ua)))
		aa_lines_rest(line->cfg.line);
}


static void ua_disappears(struct ua *ua)
{
	aa_lines_ua_gone(ua);
	aa_line_end(aa_line_find_ua(&aastra.phone, ua), ua);
}


static void kick_all(void)
{
	struct le *le;

	for (le = list_head(&aastra.phone.linel); le; le = le->next)
		aa_line_kick(le->data);
}


/*
 * baresip ends when all of its requests have.  One that goes to a dead server,
 * such as the BYE of a call, would hold it for 32 seconds.
 */
static void exit_handler(void *arg)
{
	(void)arg;

	if (list_isempty(uag_list()))
		sip_close(uag_sip(), true);
}


static void event_handler(enum aa_event ev, struct ua *ua, struct call *call,
			  const char *prm)
{
	struct aa_line *line;

	if (aastra.closing)
		return;

	switch (ev) {

	case AA_EVENT_REGISTERING:
		if (ua)
			ua_registering(ua);
		break;

	case AA_EVENT_UNREGISTERING:
		/* from within its destructor there is no reference left */
		if (ua && mem_nrefs(ua) == 0)
			ua_disappears(ua);
		else if (ua)
			ua_unregistering(ua);
		break;

	case AA_EVENT_SHUTDOWN:
		save_now();
		if (ua)
			ua_disappears(ua);
		aa_tmr_start(&aastra.tmr_exit, EXIT_MS, exit_handler, NULL);
		break;

	case AA_EVENT_CALL_OFFER:
	case AA_EVENT_CALL_UP:
	case AA_EVENT_CALL:
		line = aa_line_find_ua(&aastra.phone, ua);
		if (line)
			aa_account_call_seen(line->acc, ua);
		if (ev == AA_EVENT_CALL_OFFER)
			aa_callmove_offer(line, ua, call);
		if (ev == AA_EVENT_CALL_UP)
			aa_merged_taken(call_id(call));
		kick_all();
		break;

	case AA_EVENT_CALL_CLOSED:
		line = aa_line_find_ua(&aastra.phone, ua);
		aa_callmove_closed(line, call, prm);
		aa_merged_forget(call_id(call));
		aa_lines_call_closed();
		kick_all();
		break;

	default:
		break;
	}
}


/* ---- requests that come to the phone ---------------------------------- */


static bool from_ourselves(const struct sip_msg *msg)
{
	return sip_transp_isladdr(uag_sip(), SIP_TRANSP_NONE, &msg->src);
}


static bool register_handler(const struct sip_msg *msg)
{
	const struct sip_hdr *hdr;
	struct sip_addr contact;
	struct pl expires;
	struct le *le;

	if (!from_ourselves(msg))
		return false;

	hdr = sip_msg_hdr(msg, SIP_HDR_CONTACT);
	le = hdr && !sip_addr_decode(&contact, &hdr->val)
		? list_head(&aastra.phone.linel) : NULL;

	/* baresip says farewell to itself before, where it was registered */
	if (le && (msg_param_decode(&contact.params, "expires", &expires) ||
		   pl_u32(&expires)))
		aa_line_told(&aastra.phone);

	for (; le; le = le->next) {
		const struct aa_line *line = le->data;

		if (aa_account_answer(line->acc, msg, &contact))
			return true;
	}

	/* the farewell of a user agent whose line has ended */
	(void)sip_treply(NULL, uag_sip(), msg, 200, "OK");

	return true;
}


/* Settings that are not in force any more, but registered still: of all of
   those since then, if the configuration was changed again meanwhile */
static bool was_before(const struct aa_line *line, const struct pl *cuser)
{
	const struct aa_line *old;

	for (old = line->old; old; old = old->old) {
		if (old->acc != line->acc &&
		    aa_account_has_cuser(old->acc, cuser))
			return true;
	}

	return false;
}


/*
 * A request over a binding whose user agent cannot be seen belongs to the one
 * in its place.  baresip finds the user agent by the user part alone, and the
 * message is looked at by nobody after this event, so it is changed here.
 */
static void request_redirect(const struct sip_msg *msg)
{
	struct sip_msg *m = (struct sip_msg *)(uintptr_t)msg;
	struct le *le;

	for (le = list_head(&aastra.phone.linel); le; le = le->next) {
		const struct aa_line *line = le->data;
		const struct ua *ua = aa_account_hidden_match(line->acc,
							      &msg->uri.user);

		if (!ua && was_before(line, &msg->uri.user))
			ua = aa_account_shown(line->acc);

		if (ua) {
			pl_set_str(&m->uri.user, ua_local_cuser(ua));
			return;
		}
	}
}


static bool notify_handler(const struct sip_msg *msg)
{
	struct le *le;

	for (le = list_head(&aastra.phone.linel); le; le = le->next) {
		const struct aa_line *line = le->data;

		for (; line; line = line->old) {
			if (aa_subs_notify(line->subs, msg))
				return true;
		}
	}

	return false;
}


static bool has_whitelist(void)
{
	return aa_config_u32(aa_lines_config(), 0, "sip whitelist");
}


static bool request_handler(const struct sip_msg *msg, void *arg)
{
	(void)arg;

	if (0 == pl_strcmp(&msg->met, "REGISTER"))
		return register_handler(msg);

	if (0 == pl_strcmp(&msg->met, "NOTIFY") && notify_handler(msg))
		return true;

	if (has_whitelist() && !aa_whitelist_allows(&aastra.phone, msg)) {
		info("aastra: a call from %J is not from a line's server:"
		     " refused\n", &msg->src);
		(void)sip_treply(NULL, uag_sip(), msg, 403, "Forbidden");
		return true;
	}

	if (aa_merged(&aastra.phone, msg)) {
		debug("aastra: a request came over two flows: the second one"
		      " is refused\n");
		(void)sip_treply(NULL, uag_sip(), msg, 482, "Loop Detected");
		return true;
	}

	request_redirect(msg);

	return false;
}


/* ---- the phone's instance-id ------------------------------------------ */


static bool uuid_ok(const char *str)
{
	size_t i;

	for (i=0; i<36; i++) {
		const char c = str[i];

		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (c != '-')
				return false;
		}
		else if (!strchr("0123456789abcdefABCDEF", c) || !c) {
			return false;
		}
	}

	return str[36] == '\0';
}


static int uuid_read(char *uuid, size_t sz, const char *file)
{
	char buf[64] = "";
	FILE *f;
	int err;

	err = aa_replace_read(&f, file);
	if (err)
		return err;

	if (!fgets(buf, (int)sizeof(buf), f))
		err = EBADMSG;
	(void)fclose(f);

	buf[strcspn(buf, " \t\r\n")] = '\0';
	if (!err && !uuid_ok(buf))
		err = EBADMSG;
	if (!err)
		str_ncpy(uuid, buf, sz);

	return err;
}


static int uuid_make(char *uuid, size_t sz)
{
	/* RFC 4122 4.4, version 4 */
	return re_snprintf(uuid, sz, "%08x-%04x-4%03x-%04x-%08x%04x",
			   rand_u32(), rand_u16(), rand_u16() & 0xfff,
			   (rand_u16() & 0x3fff) | 0x8000, rand_u32(),
			   rand_u16()) < 0 ? ENOMEM : 0;
}


static int uuid_write(const char *uuid, const char *file)
{
	/* nobody reads a pipe */
	const int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC |
			    O_NONBLOCK, 0600);
	const ssize_t n = (ssize_t)strlen(uuid);
	int err = 0;

	if (fd < 0)
		return errno;

	if (write(fd, uuid, (size_t)n) != n)
		err = errno ? errno : EIO;

	(void)close(fd);

	return err;
}


/* RFC 5626 4.1: the same after each restart, or at least until the next one;
   baresip's own where it has one */
static void uuid_init(char *uuid, size_t sz, const char *path)
{
	static const char kept[] = "AASTRA_INSTANCE_ID";
	const char *env = getenv(kept);
	char file[512];
	int err;

	if (re_snprintf(file, sizeof(file), "%s/uuid", path) > 0 &&
	    0 == uuid_read(uuid, sz, file))
		return;

	if (re_snprintf(file, sizeof(file), "%s/aastra_uuid", path) < 0)
		return;

	if (0 == uuid_read(uuid, sz, file))
		return;

	/* nothing else outlives the module: it may have been unloaded */
	if (env && uuid_ok(env)) {
		str_ncpy(uuid, env, sz);
		(void)uuid_write(uuid, file);
		return;
	}

	err = uuid_make(uuid, sz);
	if (!err)
		err = uuid_write(uuid, file);
	if (err) {
		warning("aastra: %s: the phone's instance-id could not be kept"
			" (%m)\n", file, err);
		(void)setenv(kept, uuid, 1);
	}
}


/* ---- trust ------------------------------------------------------------ */


/* A file that a key names; relative to the folder of baresip's config */
static const char *key_file(char *buf, size_t sz, const char *path,
			    const char *name)
{
	const char *key = aa_config_str(aa_lines_config(), 0, name);

	buf[0] = '\0';
	if (str_isset(key) && key[0] == '/')
		str_ncpy(buf, key, sz);
	else if (str_isset(key))
		(void)re_snprintf(buf, sz, "%s/%s", path, key);

	return buf;
}


static size_t names_handler(const struct sa *peer, const char **namev,
			    size_t max)
{
	return aa_flow_tls_names(&aastra.phone.flowl, peer, namev, max);
}


/* What the phone shows of itself */
static void cert_init(const char *path)
{
	char cert[512], key[512], chain[512];
	int err;

	if (!str_isset(key_file(cert, sizeof(cert), path,
				"sips local certificate")))
		return;

	err = aa_tlsguard_cert(cert,
			       key_file(key, sizeof(key), path,
					"sips private key"),
			       key_file(chain, sizeof(chain), path,
					"sips root and intermediate"
					" certificates"));
	if (err)
		warning("aastra: %s: servers are not shown this certificate:"
			" %s\n", cert,
			err == ENOENT  ? "there is none in that file" :
			err == EACCES  ? "its private key cannot be read" :
			err == EBADMSG ? "the private key is not its own" :
			err == ENODATA ? "those above it cannot be read" :
			"out of memory");
}


/* The phones' key first, then what baresip itself is told */
static void trust_init(const char *path)
{
	char cafile[512] = "", capath[512] = "";
	int err;

	if (!str_isset(key_file(cafile, sizeof(cafile), path,
				"sips trusted certificates")))
		(void)conf_get_str(conf_cur(), "sip_cafile", cafile,
				   sizeof(cafile));

	(void)conf_get_str(conf_cur(), "sip_capath", capath, sizeof(capath));

	if (!cafile[0] && !capath[0]) {
		err = aa_tlsguard_open();
		if (err)
			warning("aastra: TLS is as old as the system"
				" allows (%m)\n", err);
		return;
	}

	aa_tlsguard_names(names_handler);
	err = aa_tlsguard_init(cafile, capath);
	if (err)
		warning("aastra: %s%s%s: no trusted certificates could be read"
			" (%m): no TLS server is let in\n", cafile,
			cafile[0] && capath[0] ? ", " : "", capath, err);
}


/* ---- the module ------------------------------------------------------- */


/**
 * What all lines share, with the accounts that came since the last look
 *
 * @return The phone
 */
struct aa_phone *aa_module_phone(void)
{
	aa_lines_look();

	return &aastra.phone;
}


/**
 * The configuration in force
 *
 * @return Configuration
 */
const struct aa_config *aa_module_config(void)
{
	return aa_lines_config();
}


/* A backup that is given by name is not looked up before it is needed: but it
   is a server of the line's all the time */
static void know_handler(void *arg)
{
	struct le *le;
	(void)arg;

	if (!has_whitelist())
		return;

	for (le = list_head(&aastra.phone.flowl); le; le = le->next)
		aa_flow_know(le->data);

	aa_tmr_start(&aastra.tmr_know, KNOW_MS, know_handler, NULL);
}


static void config_handler(void)
{
	const struct aa_config *cfg = aa_lines_config();

	aa_tmr_start(&aastra.tmr_know, 0, know_handler, NULL);
	aa_http_config(aa_config_str(cfg, 0, "aastra_http_listen"),
		       aa_config_str(cfg, 0, "aastra_http_token"));
}


static void hangup_handler(void)
{
	/* what changes is in the log */
	(void)aa_lines_reload(NULL);
}


static int module_init(void)
{
	char path[256] = "";
	int err;

	memset(&aastra, 0, sizeof(aastra));

	err = conf_path_get(path, sizeof(path));
	if (err) {
		warning("aastra: no configuration folder (%m)\n", err);
		return err;
	}

	uuid_init(aastra.phone.uuid, sizeof(aastra.phone.uuid), path);

	if (re_snprintf(aastra.path_warm, sizeof(aastra.path_warm),
			"%s/aastra_servers", path) < 0)
		aastra.path_warm[0] = '\0';
	if (re_snprintf(aastra.path_stray, sizeof(aastra.path_stray),
			"%s/aastra_farewells", path) < 0)
		aastra.path_stray[0] = '\0';
	aa_stray_load(&aastra.phone.strayl, aastra.path_stray);
	aastra.phone.changedh = changed_handler;
	aastra.phone.newsh    = aa_seen_tell;
	aastra.phone.configh  = config_handler;

	aa_metrics_reset();
	err = history_init(path);
	if (err) {
		list_flush(&aastra.phone.strayl);
		return err;
	}

	err = aa_lines_init(&aastra.phone, path, aastra.path_warm);
	if (err) {
		warning("aastra: configuration could not be read (%m)\n", err);
		goto out;
	}

	trust_init(path);
	cert_init(path);
	aa_localport_init(aa_lines_config());

	err = sip_listen(&aastra.lsnr, uag_sip(), true, request_handler, NULL);
	if (err)
		goto out;

	aa_compat_lsnr_first(aastra.lsnr);

	err = aa_compat_init(event_handler);
	if (err)
		goto out;

	err = aa_command_register();
	if (err)
		goto out;

	if (!list_isempty(uag_list()))
		info("aastra: loaded after account.so: taking over the"
		     " accounts that are there\n");

	look_at_transports();
	if (aa_netwatch_alloc(&aastra.netwatch, net_handler, NULL))
		info("aastra: changes of the network are not heard of\n");

	if (aa_hangup_init(hangup_handler))
		info("aastra: SIGHUP is not listened to\n");

	if (aa_http_init(path))
		warning("aastra: page: the name of the configuration folder"
			" is too long\n");
	else
		config_handler();

	aa_lines_begin();

 out:
	if (err) {
		aa_compat_close();
		aastra.lsnr = mem_deref(aastra.lsnr);
		aa_lines_close();
		list_flush(&aastra.phone.strayl);
		aa_tmr_cancel(&aastra.tmr_history);
		aastra.phone.jnl = mem_deref(aastra.phone.jnl);
		aa_tmr_close();
	}

	return err;
}


static int module_close(void)
{
	struct le *le;

	aastra.closing = true;
	aa_http_close();
	aa_hangup_close();
	aa_tmr_cancel(&aastra.tmr_exit);
	aa_tmr_cancel(&aastra.tmr_net);
	aa_tmr_cancel(&aastra.tmr_know);
	aastra.netwatch = mem_deref(aastra.netwatch);
	save_now();

	aa_compat_close();
	aa_command_unregister();

	/* before the accounts register by themselves again */
	aastra.lsnr = mem_deref(aastra.lsnr);

	while ((le = list_head(&aastra.phone.linel)))
		aa_line_release(le->data);

	list_flush(&aastra.phone.farewelll);
	list_flush(&aastra.phone.flowl);
	aa_lines_close();
	strays_save();
	if (aa_tmr_isrunning(&aastra.tmr_history)) {
		aa_tmr_cancel(&aastra.tmr_history);
		history_write(true);
	}
	aastra.phone.jnl = mem_deref(aastra.phone.jnl);
	aa_tlsguard_close();
	aa_localport_close();
	aa_tmr_close();
	aa_replace_close();

	return 0;
}


extern const struct mod_export DECL_EXPORTS(aastra)
	__attribute__((visibility("default")));

const struct mod_export DECL_EXPORTS(aastra) = {
	"aastra",
	"application",
	module_init,
	module_close
};
