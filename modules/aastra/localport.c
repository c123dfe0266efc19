/**
 * @file localport.c  The ports that SIP is sent from and listened on
 *
 * `sip local port`, `sip symmetric udp signaling` and `sip rport`, as the
 * phones have them (guide R2.4 6-43, R3.2.2 4-61): symmetric means that UDP
 * is sent from the port that is listened on; otherwise it is sent from a free
 * port, and always so where a backup is configured, unless `sip rport` is on.
 *
 * libre sends from the first UDP socket that it has, and listens on all of
 * them.  So the symmetric way is to give baresip the port as if `sip_listen`
 * had it, and the other one to leave baresip's free port alone and to listen
 * on the port beside it.  The ports are those of the phone, not of a line.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <re.h>
#include "aastra_baresip.h"
#include "compat.h"
#include "config.h"
#include "localport.h"


static struct {
	uint16_t port;          /* to be listened on beside, 0: none        */
	bool set;               /* baresip was given another `sip_listen`   */
	char listen[64];        /* its own                                  */
} local;


static uint16_t udp_port(void)
{
	struct sa sa;

	if (sip_transp_laddr(uag_sip(), &sa, SIP_TRANSP_UDP, NULL))
		return 0;

	return sa_port(&sa);
}


static int listen_set(const char *str)
{
	int err = aa_compat_listen_set(str);

	/* accounts that are there already register again */
	return err ? err : uag_reset_transp(!list_isempty(uag_list()), true);
}


static bool listen_get(char *addr, size_t sz)
{
	struct pl host = PL_INIT, port = PL_INIT, str;
	struct sa sa;

	local.listen[0] = '\0';
	(void)conf_get_str(conf_cur(), "sip_listen", local.listen,
			   sizeof(local.listen));

	str_ncpy(addr, "0.0.0.0", sz);
	if (!local.listen[0])
		return true;

	pl_set_str(&str, local.listen);
	if (0 == sa_decode(&sa, str.p, str.l)) {
		if (sa_port(&sa))
			return false;
		(void)re_snprintf(addr, sz, "%j", &sa);
	}
	else if (0 == uri_decode_hostport(&str, &host, &port)) {
		(void)pl_strcpy(&host, addr, sz);
	}

	return true;
}


static void symmetric(const char *addr, uint16_t port)
{
	char str[64];
	const bool ipv6 = strchr(addr, ':') && addr[0] != '[';
	int err;

	(void)re_snprintf(str, sizeof(str), "%s%s%s:%u", ipv6 ? "[" : "",
			  addr, ipv6 ? "]" : "", port);

	err = listen_set(str);
	if (!err && udp_port() == port) {
		local.set = true;
		info("aastra: SIP is sent from port %u\n", port);
		return;
	}

	warning("aastra: port %u cannot be had (%m): SIP is sent from a free"
		" one\n", port, err ? err : EADDRINUSE);

	if (err != ENOTSUP)
		(void)listen_set(local.listen);
}


/**
 * Read the keys, and bring baresip's ports to what they say; without any of
 * them nothing is changed
 *
 * @param cfg Configuration
 */
void aa_localport_init(const struct aa_config *cfg)
{
	const char *key = aa_config_str(cfg, 0, "sip local port");
	const char *sym = aa_config_str(cfg, 0, "sip symmetric udp signaling");
	const bool rport = aa_config_u32(cfg, 0, "sip rport");
	uint16_t port;
	char addr[64];

	memset(&local, 0, sizeof(local));

	if (!key && !sym && !rport)
		return;

	port = (uint16_t)aa_config_u32(cfg, 0, "sip local port");

	if (!listen_get(addr, sizeof(addr))) {
		info("aastra: `sip_listen` in baresip's config has a port:"
		     " 'sip local port', 'sip symmetric udp signaling' and"
		     " 'sip rport' do not count\n");
		return;
	}

	if (rport || (aa_config_u32(cfg, 0, "sip symmetric udp signaling") &&
		      !aa_config_has_backup(cfg))) {
		symmetric(addr, port);
		return;
	}

	local.port = port;
	info("aastra: UDP is sent from a free port%s; port %u is listened on"
	     " too\n", aa_config_has_backup(cfg) ? ", since there is a backup"
	     : "", port);
	aa_localport_look();
}


static void listen_beside(struct sa *sa)
{
	int err;

	if (!sip_transp_isladdr(uag_sip(), SIP_TRANSP_UDP, sa)) {
		err = sip_transp_add(uag_sip(), SIP_TRANSP_UDP, sa);
		if (err)
			goto out;
	}

	if (sip_transp_isladdr(uag_sip(), SIP_TRANSP_TCP, sa))
		return;

	err = sip_transp_add(uag_sip(), SIP_TRANSP_TCP, sa);

 out:
	if (!err)
		return;

	warning("aastra: %J cannot be listened on (%m)\n", sa, err);

	/* not again and again */
	local.port = 0;
}


/**
 * baresip may have made its transports anew: the port beside them is made
 * again
 */
void aa_localport_look(void)
{
	static const int afv[] = {AF_INET, AF_INET6};
	struct sa dst, sa;
	size_t i;

	for (i=0; i<ARRAY_SIZE(afv) && local.port; i++) {

		if (sa_set_str(&dst, afv[i] == AF_INET ? "192.0.2.1"
			       : "2001:db8::1", SIP_PORT) ||
		    sip_transp_laddr(uag_sip(), &sa, SIP_TRANSP_UDP, &dst))
			continue;

		if (sa_port(&sa) == local.port)
			continue;

		sa_set_port(&sa, local.port);
		listen_beside(&sa);
	}
}


/** The module goes: baresip's ports are its own again */
void aa_localport_close(void)
{
	local.port = 0;

	if (!local.set)
		return;

	local.set = false;

	/* baresip ends: there is nobody left to register */
	if (list_isempty(uag_list()))
		(void)aa_compat_listen_set(local.listen);
	else
		(void)listen_set(local.listen);
}
