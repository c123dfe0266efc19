/**
 * @file config_load.c  Configuration: reading of files
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <re.h>
#include "cfgfile.h"
#include "config_impl.h"


enum {
	LINE_MAX_NUMBER = 100000,      /* more is a slip of the keyboard     */
	FILE_MAX_SIZE   = 4*1024*1024, /* bytes; a thousand lines are 1 MB   */
	GUESSES_MAX     = 2000         /* look-ups of the nearest key        */
};


static const char exposed_text[] = "%s: everybody on this host may read the"
	" file, and there are passwords in it";


/** Arguments of the entry handler */
struct reading {
	struct aa_config *cfg;
	struct aa_source *src;
};


static void config_destructor(void *data)
{
	struct aa_config *cfg = data;

	mem_deref(cfg->indexv);
	mem_deref(cfg->keys);
	list_flush(&cfg->entryl);
	list_flush(&cfg->findingl);
	list_flush(&cfg->sourcel);
}


static void source_destructor(void *data)
{
	struct aa_source *src = data;

	list_unlink(&src->le);
	mem_deref(src->name);
	mem_deref(src->other_name);
}


static void entry_destructor(void *data)
{
	struct aa_entry *e = data;

	list_unlink(&e->le);
	aa_value_reset(&e->v);
}


static void odd_line(struct aa_config *cfg, const struct aa_source *src,
		     const struct aa_cfg_entry *ce, const char *what)
{
	aa_config_finding(cfg, AA_CONFIG_WARN, 0, "%s:%u: key '%H': %s",
			  src->name, ce->lineno, aa_key_print_written, ce,
			  what);
}


/** A foreign file may hold thousands of names: do not look at all */
static const struct aa_key *guess(struct aa_config *cfg, const char *name,
				  size_t limit)
{
	if (cfg->guesses >= GUESSES_MAX)
		return NULL;

	++cfg->guesses;

	return aa_key_guess(name, limit);
}


/**
 * A name that is no key: say so if it is near to one or looks like one, and
 * count it if it is one of the many other settings of a phone
 */
static int unknown_key(struct aa_config *cfg, struct aa_source *src,
		       const struct aa_cfg_entry *ce, const char *name)
{
	char base[AA_CFG_NAME_SIZE];
	const bool ours = aa_key_is_sip(name);
	const struct aa_key *key;
	struct aa_key_name nearest = {NULL, 0, ce->underscore};
	uint32_t line = 0;
	size_t limit;
	bool phone;

	if (!aa_key_split_line(base, &line, name))
		str_ncpy(base, name, sizeof(base));

	limit = strlen(base) / 4;
	if (!ours || limit < 2)
		limit = 2;

	phone = aa_key_is_phone(base);
	key   = NULL;

	/* before the global one, which is as near: it would be all lines' */
	if (!phone && !line && aa_key_split_loosely(base, &line, name)) {
		key = aa_key_find(base);
		if (!key) {
			str_ncpy(base, name, sizeof(base));
			line = 0;
		}
	}

	if (!key && !phone)
		key = guess(cfg, base, limit);

	if (!key && !phone && aa_key_split_loosely(base, &line, name))
		key = guess(cfg, base, limit);

	if (line > LINE_MAX_NUMBER)
		line = 0;

	if (phone || (!key && !ours)) {
		++src->others;
		if (src->other_name)
			return 0;

		src->other_line = ce->lineno;
		return re_sdprintf(&src->other_name, "%H",
				   aa_key_print_written, ce);
	}

	if (key) {
		nearest.key  = key;
		nearest.line = (key->scope & AA_SCOPE_LINE) ? line : 0;

		aa_config_finding(cfg, AA_CONFIG_WARN, 0,
				  "%s:%u: key '%H': unknown (did you "
				  "mean '%H'?)",
				  src->name, ce->lineno, aa_key_print_written,
				  ce, aa_key_print_name, &nearest);
	}
	else {
		odd_line(cfg, src, ce, "unknown");
	}

	return 0;
}


static int add_entry(struct aa_config *cfg, struct aa_source *src,
		     const struct aa_cfg_entry *ce, const struct aa_key *key,
		     uint32_t line)
{
	struct aa_entry *e;
	int err;

	e = mem_zalloc(sizeof(*e), entry_destructor);
	if (!e)
		return ENOMEM;

	e->src        = src;
	e->lineno     = ce->lineno;
	e->line       = line;
	e->key        = aa_key_id(key);
	e->seq        = cfg->seq++;
	e->rank       = (uint8_t)(src->layer + (ce->underscore ? 1 : 0));
	e->locked     = ce->locked;
	e->overwrite  = ce->overwrite;
	e->underscore = ce->underscore;

	err = aa_value_init(&e->v, key, ce->value);
	if (err) {
		mem_deref(e);
		return err;
	}

	if (ce->flags & AA_CFG_LONGVALUE)
		aa_value_refuse(&e->v, "longer than %d bytes",
				AA_CFG_VALUE_SIZE - 1);

	++src->keys;
	list_append(&cfg->entryl, &e->le, e);

	if (src->exposed && key->secret && e->v.val[0]) {
		src->exposed = false;
		aa_config_finding(cfg, AA_CONFIG_WARN, 0, exposed_text,
				  src->name);
	}

	return 0;
}


static int entry_handler(const struct aa_cfg_entry *ce, void *arg)
{
	struct reading *rd = arg;
	struct aa_config *cfg = rd->cfg;
	struct aa_source *src = rd->src;
	const bool baresip = src->layer == AA_LAYER_BARESIP;
	char name[AA_CFG_NAME_SIZE], base[AA_CFG_NAME_SIZE];
	const struct aa_key *key;
	uint32_t line = 0;
	bool is_line;
	size_t i;

	str_ncpy(name, ce->name, sizeof(name));
	for (i=0; ce->underscore && name[i]; i++) {
		if (name[i] == '_')
			name[i] = ' ';
	}

	if (!(ce->flags & (AA_CFG_NOCOLON | AA_CFG_NONAME |
			   AA_CFG_LONGNAME)) &&
	    aa_progkeys_take(cfg->keys, name, ce->value))
		return 0;

	if (baresip && ce->underscore && !strncmp(ce->name, "module_", 7))
		src->whole = true;

	/* baresip takes the first one */
	if (baresip && ce->underscore && !cfg->ifname[0] &&
	    !strcmp(ce->name, "net_interface"))
		str_ncpy(cfg->ifname, ce->value, sizeof(cfg->ifname));

	if (ce->underscore && aa_key_is_foreign(ce->name))
		return 0;

	is_line = aa_key_split_line(base, &line, name);
	if (!is_line)
		str_ncpy(base, name, sizeof(base));

	key = (ce->flags & AA_CFG_LONGNAME) ? NULL : aa_key_find(base);

	/* baresip's config holds other things; it is not for us to judge */
	if (!key && baresip && !aa_key_is_sip(name) &&
	    strncmp(name, "prgkey", 6) && strncmp(name, "softkey", 7) &&
	    strncmp(name, "dynamic sip", 11))
		return 0;

	if (baresip && !key && ce->underscore &&
	    !aa_key_is_claimed(ce->name) && !guess(cfg, base, 2))
		return 0;

	if ((ce->flags & AA_CFG_NUL) && !src->nul) {
		src->nul = true;
		odd_line(cfg, src, ce, "NUL bytes are left out");
	}

	if (ce->flags & AA_CFG_NONAME) {
		odd_line(cfg, src, ce, "no name before the ':', ignored");
		return 0;
	}

	if (ce->flags & AA_CFG_NOCOLON) {

		if (!baresip || aa_key_is_sip(name))
			odd_line(cfg, src, ce,
				 "no ':' behind the name, ignored");
		return 0;
	}

	if (!key && ce->underscore && strchr(name, '=')) {
		odd_line(cfg, src, ce, "a blank stands behind the name, not "
			 "a '='; ignored");
		return 0;
	}

	if (!key)
		return unknown_key(cfg, src, ce, name);

	if (is_line && !line) {
		odd_line(cfg, src, ce, "lines count from 1, ignored");
		return 0;
	}

	if (line > LINE_MAX_NUMBER) {
		odd_line(cfg, src, ce, "no line has such a number "
			 "(1-100000), ignored");
		return 0;
	}

	if (is_line && !(key->scope & AA_SCOPE_LINE)) {
		aa_config_finding(cfg, AA_CONFIG_WARN, 0,
				  "%s:%u: key '%H': it can only be "
				  "global, '%s'; ignored",
				  src->name, ce->lineno, aa_key_print_written,
				  ce, key->name);
		return 0;
	}

	if (!is_line && !(key->scope & AA_SCOPE_GLOBAL)) {
		odd_line(cfg, src, ce, "it needs a line, 'sip line1 ...'; "
			 "ignored");
		return 0;
	}

	if (key->baresip_only && !baresip) {
		odd_line(cfg, src, ce, "it counts in baresip's config only, "
			 "ignored");
		return 0;
	}

	if (ce->flags & AA_CFG_OPENQUOTE)
		odd_line(cfg, src, ce, "the quote is never closed; the value "
			 "ends with the line");
	if (ce->flags & AA_CFG_TRAILING)
		odd_line(cfg, src, ce, "text behind the closing quote is "
			 "ignored");

	return add_entry(cfg, src, ce, key, line);
}


/** Keep the first reason why not all was read */
static void note_status(struct aa_config *cfg, int err)
{
	if (!cfg->status)
		cfg->status = err;
}


static int source_alloc(struct aa_source **srcp, struct aa_config *cfg,
			enum aa_config_layer layer, const char *name)
{
	struct aa_source *src;
	int err;

	src = mem_zalloc(sizeof(*src), source_destructor);
	if (!src)
		return ENOMEM;

	src->layer = layer;

	err = str_dup(&src->name, name);
	if (err) {
		mem_deref(src);
		return err;
	}

	list_append(&cfg->sourcel, &src->le, src);
	*srcp = src;

	return 0;
}


static int read_text(struct aa_config *cfg, enum aa_config_layer layer,
		     const char *name, const char *buf, size_t len,
		     bool exposed)
{
	struct reading rd = {cfg, NULL};
	int err;

	err = source_alloc(&rd.src, cfg, layer, name);
	if (err)
		return err;

	rd.src->exposed = exposed;

	if (layer == AA_LAYER_BARESIP)
		err = aa_cfgfile_read_baresip(buf, len, entry_handler, &rd);
	else
		err = aa_cfgfile_read(buf, len, entry_handler, &rd);

	if (err == EILSEQ) {
		aa_config_finding(cfg, AA_CONFIG_WARN, 0,
				  "%s:1: this is UTF-16 text, save it "
				  "as UTF-8; nothing is read",
				  name);
		note_status(cfg, EILSEQ);
		err = 0;
	}

	if (rd.src->others)
		aa_config_finding(cfg, AA_CONFIG_INFO, 0, "%s:%u: key '%s': a "
			    "setting of the phone that has no use here (one "
			    "of %u)", name, rd.src->other_line,
			    rd.src->other_name, rd.src->others);

	return err;
}


/** Read what is left of an open file, if it is a file and not too long */
static int load_fd(struct mbuf *mb, int fd, bool *exposed)
{
	struct stat st;

	if (fstat(fd, &st))
		return errno;

	if (S_ISDIR(st.st_mode))
		return EISDIR;

	/* a pipe or device could keep us for ever */
	if (!S_ISREG(st.st_mode))
		return EINVAL;

	if (st.st_size > FILE_MAX_SIZE)
		return EFBIG;

	*exposed = st.st_mode & S_IROTH;

	for (;;) {
		uint8_t buf[4096];
		const ssize_t n = read(fd, buf, sizeof(buf));
		int err;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		if (!n)
			return 0;

		if (mb->end + (size_t)n > FILE_MAX_SIZE)
			return EFBIG;

		err = mbuf_write_mem(mb, buf, (size_t)n);
		if (err)
			return err;
	}
}


/**
 * Read a file; one that is not there is no error
 *
 * @param cfg   Configuration
 * @param layer Layer
 * @param path  Path
 * @param found Set to true if the file is there
 *
 * @return 0 if success, otherwise errorcode (out of memory)
 */
static int read_file(struct aa_config *cfg, enum aa_config_layer layer,
		     const char *path, bool *found)
{
	bool exposed = false;
	struct mbuf *mb;
	int fd, err;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;

	*found = true;

	mb = mbuf_alloc(4096);
	if (!mb) {
		err = ENOMEM;
		goto out;
	}

	err = fd < 0 ? errno : load_fd(mb, fd, &exposed);
	if (err && err != ENOMEM) {
		aa_config_finding(cfg, AA_CONFIG_WARN, 0,
				  "%s: the file cannot be read: %m",
				  path, err);
		note_status(cfg, err);
		err = 0;
		goto out;
	}

	if (!err)
		err = read_text(cfg, layer, path, (const char *)mb->buf,
				mb->end, exposed);

 out:
	mem_deref(mb);
	if (fd >= 0)
		(void)close(fd);

	return err;
}


/** Has a line of baresip's accounts a password in it? */
static bool account_has_password(const struct pl *line)
{
	struct pl pass;

	if (line->l && line->p[0] == '#')
		return false;

	return !re_regex(line->p, line->l, "auth_pass=[^; \t\r]+", &pass) ||
		!re_regex(line->p, line->l, "sip[s]*:[^:@>;]+:[^@>;]+@", NULL,
			  NULL, &pass);
}


/**
 * baresip's accounts are its own to read; but who else may is told here, as
 * of each other file with passwords
 *
 * @param cfg  Configuration, for the finding
 * @param path Path of the accounts
 *
 * @return 0 if success, otherwise errorcode (out of memory)
 */
static int look_at_accounts(struct aa_config *cfg, const char *path)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct mbuf *mb = mbuf_alloc(4096);
	bool exposed = false;
	struct pl rest;
	int err = 0;

	if (fd < 0)
		goto out;

	err = mb ? load_fd(mb, fd, &exposed) : ENOMEM;
	if (err || !exposed)
		goto out;

	rest.p = (const char *)mb->buf;
	rest.l = mb->end;
	while (rest.l) {
		const char *nl = memchr(rest.p, '\n', rest.l);
		struct pl line = rest;

		if (nl)
			line.l = (size_t)(nl - rest.p);

		if (account_has_password(&line)) {
			aa_config_finding(cfg, AA_CONFIG_WARN, 0,
					  exposed_text, path);
			break;
		}

		pl_advance(&rest, (ssize_t)(line.l + (nl ? 1 : 0)));
	}

 out:
	mem_deref(mb);
	if (fd >= 0)
		(void)close(fd);

	return err == ENOMEM ? err : 0;
}


/**
 * The MAC of an interface, as the phones write it; asked for by a socket, since
 * /sys may be that of another network namespace
 */
static bool mac_of(char *mac, size_t sz, const char *ifname)
{
	static const uint8_t none[6];
	const uint8_t *hw;
	struct ifreq ifr;
	int fd, err;

	if (!str_isset(ifname))
		return false;

	memset(&ifr, 0, sizeof(ifr));
	str_ncpy(ifr.ifr_name, ifname, sizeof(ifr.ifr_name));

	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;

	err = ioctl(fd, SIOCGIFHWADDR, &ifr);
	(void)close(fd);

	hw = (const uint8_t *)ifr.ifr_hwaddr.sa_data;
	if (err || ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER ||
	    !memcmp(hw, none, sizeof(none)))
		return false;

	return re_snprintf(mac, sz, "%02X%02X%02X%02X%02X%02X", hw[0], hw[1],
			   hw[2], hw[3], hw[4], hw[5]) > 0;
}


struct first {
	char *mac;
	size_t sz;
};


/** The first interface that can be spoken over, and has a MAC */
static bool first_handler(const char *ifname, const struct sa *sa, void *arg)
{
	struct first *first = arg;

	return !sa_is_loopback(sa) && !sa_is_linklocal(sa) &&
		mac_of(first->mac, first->sz, ifname);
}


/** baresip's own `net_interface`, which may be an address */
static void named_interface(char *ifname, size_t sz,
			    const struct aa_config *cfg)
{
	struct sa sa;

	ifname[0] = '\0';

	if (!cfg->ifname[0])
		return;

	if (sa_set_str(&sa, cfg->ifname, 0))
		str_ncpy(ifname, cfg->ifname, sz);
	else
		(void)net_if_getname(ifname, sz, sa_af(&sa), &sa);
}


/**
 * The MAC of the interface in use: the one that is named, or where that has
 * none, as a tunnel, that with the default route, else the first one that has
 */
static bool get_mac(char *mac, size_t sz, const struct aa_config *cfg)
{
	struct first first = {mac, sz};
	char ifname[IFNAMSIZ];

	named_interface(ifname, sizeof(ifname), cfg);
	if (mac_of(mac, sz, ifname))
		return true;

	ifname[0] = '\0';
	if (net_rt_default_get(AF_INET, ifname, (int)sizeof(ifname)))
		(void)net_rt_default_get(AF_INET6, ifname,
					 (int)sizeof(ifname));
	if (mac_of(mac, sz, ifname))
		return true;

	return 0 == net_if_apply(first_handler, &first) && mac[0];
}


/**
 * Get the MAC of the phone: that of `aastra_cfg_mac`, else that of the
 * interface in use
 *
 * @param cfg Configuration
 * @param mac Set to 12 hex digits in upper case, empty if there is none
 * @param sz  Size of the buffer, at least 13
 *
 * @return true if there is one
 */
bool aa_config_mac(const struct aa_config *cfg, char *mac, size_t sz)
{
	const struct aa_entry *e;

	if (!cfg || !mac || !sz)
		return false;

	mac[0] = '\0';

	e = aa_config_entry(cfg, 0, K_CFG_MAC);
	if (!e)
		return get_mac(mac, sz, cfg);

	str_ncpy(mac, e->v.val, sz);

	return true;
}


static int read_in_folder(struct aa_config *cfg, enum aa_config_layer layer,
			  const char *folder, const char *name, bool *found)
{
	char *path = NULL;
	int err;

	err = re_sdprintf(&path, "%s/%s.cfg", folder, name);
	if (err)
		return err;

	err = read_file(cfg, layer, path, found);

	mem_deref(path);

	return err;
}


/** <MAC>.cfg is written in upper case; a lower-case one is taken too */
static int read_mac_file(struct aa_config *cfg, const char *folder,
			 const char *mac, bool *found)
{
	char lower[16];
	bool upper = false;
	size_t i;
	int err;

	err = read_in_folder(cfg, AA_LAYER_MAC, folder, mac, &upper);
	if (err || upper) {
		*found = true;
		return err;
	}

	str_ncpy(lower, mac, sizeof(lower));
	for (i=0; lower[i]; i++) {
		if (lower[i] >= 'A' && lower[i] <= 'F')
			lower[i] = (char)(lower[i] + 32);
	}

	return read_in_folder(cfg, AA_LAYER_MAC, folder, lower, found);
}


/** Read the phone's files, lowest layer first */
static int read_folder(struct aa_config *cfg, const char *conf_path)
{
	const struct aa_entry *path = aa_config_entry(cfg, 0, K_CFG_PATH);
	const struct aa_entry *model = aa_config_entry(cfg, 0, K_CFG_MODEL);
	char *folder = NULL, mac[16] = "";
	bool found = false, startup = false;
	int err;

	if (!path)
		return 0;

	if (path->v.val[0] == '/')
		err = str_dup(&folder, path->v.val);
	else
		err = re_sdprintf(&folder, "%s/%s", conf_path, path->v.val);
	if (err)
		return err;

	(void)aa_config_mac(cfg, mac, sizeof(mac));

	err = read_in_folder(cfg, AA_LAYER_AASTRA, folder, "aastra", &found);
	if (!err && !found)
		err = read_in_folder(cfg, AA_LAYER_AASTRA, folder, "startup",
				     &startup);
	if (!err && model)
		err = read_in_folder(cfg, AA_LAYER_MODEL, folder, model->v.val,
				     &found);
	if (!err && mac[0])
		err = read_mac_file(cfg, folder, mac, &found);

	if (!err && !found && !startup) {
		FINDING(cfg, AA_CONFIG_WARN, path, "no aastra.cfg, "
			"startup.cfg%s%s%s%s%s%s in '%H'", model ? ", " : "",
			model ? model->v.val : "", model ? ".cfg" : "",
			mac[0] ? ", " : "", mac, mac[0] ? ".cfg" : "",
			aa_print_safe, folder);
		note_status(cfg, ENOENT);
	}

	mem_deref(folder);

	return err;
}


static int read_fetched(struct aa_config *cfg,
			const struct aa_config_fetched *fetched)
{
	size_t i;
	int err = 0;

	if (!fetched || !aa_config_entry(cfg, 0, K_CFG_URL))
		return 0;

	for (i=0; i<fetched->textc && !err; i++) {
		const struct aa_config_text *t = &fetched->textv[i];

		err = read_text(cfg, t->layer, t->name, t->buf, t->len,
				false);
	}

	return err;
}


static int config_new(struct aa_config **cfgp, aa_config_msg_h *msgh,
		      void *arg)
{
	struct aa_config *cfg;

	cfg = mem_zalloc(sizeof(*cfg), config_destructor);
	if (!cfg)
		return ENOMEM;

	cfg->msgh = msgh;
	cfg->arg  = arg;

	if (aa_progkeys_alloc(&cfg->keys)) {
		mem_deref(cfg);
		return ENOMEM;
	}

	*cfgp = cfg;

	return 0;
}


/**
 * Read the configuration: baresip's config, the phone's files where
 * `aastra_cfg_path` says, and those that came from `aastra_cfg_url`, of which
 * each counts more than the file of the same kind in the folder
 *
 * A file that is not there is no error.  What is wrong with a value, a key
 * or a file is a finding: it is reported once, as
 * "FILE:LINE: key 'KEY': text", and kept for aa_config_print(); the rest is
 * read all the same.  See aa_config_status() for unreadable files.
 * (Interface page, chapter 3; facts, chapter 3)
 *
 * @param cfgp      Pointer to the configuration, freed with mem_deref()
 * @param conf_path Folder of baresip's config
 * @param fetched   What came by HTTP, used if baresip's config has
 *                  `aastra_cfg_url`; NULL if nothing came
 * @param msgh      Handler of findings, may be NULL; it is kept, since
 *                  aa_config_check_line() reports too
 * @param arg       Handler argument
 *
 * @return 0 if success, EINVAL for a missing argument, ENOMEM
 */
int aa_config_alloc(struct aa_config **cfgp, const char *conf_path,
		    const struct aa_config_fetched *fetched,
		    aa_config_msg_h *msgh, void *arg)
{
	struct aa_config *cfg;
	char *path = NULL;
	bool found = false;
	int err;

	if (!cfgp || !conf_path)
		return EINVAL;

	err = config_new(&cfg, msgh, arg);
	if (err)
		return err;

	err = re_sdprintf(&path, "%s/config", conf_path);
	if (err)
		goto out;

	err = read_file(cfg, AA_LAYER_BARESIP, path, &found);
	if (err)
		goto out;

	if (!found)
		note_status(cfg, ENOENT);

	path = mem_deref(path);
	err = re_sdprintf(&path, "%s/accounts", conf_path);
	if (!err)
		err = look_at_accounts(cfg, path);
	if (err)
		goto out;

	/* the folder stands in what was just read */
	err = aa_config_index(cfg);
	if (err)
		goto out;

	err = read_folder(cfg, conf_path);
	if (err)
		goto out;

	err = read_fetched(cfg, fetched);
	if (err)
		goto out;

	err = aa_config_index(cfg);
	if (err)
		goto out;

	aa_config_analyse(cfg);

 out:
	mem_deref(path);

	if (err)
		mem_deref(cfg);
	else
		*cfgp = cfg;

	return err;
}


/**
 * Read the configuration from memory: files that came by HTTP, or a test
 *
 * `aastra_cfg_path` and its like are read, but no file is opened.
 *
 * @param cfgp  Pointer to the configuration, freed with mem_deref()
 * @param textv Texts; the layer decides which one wins, not the order
 * @param textc Number of texts
 * @param msgh  Handler of findings, may be NULL; it is kept
 * @param arg   Handler argument
 *
 * @return 0 if success, EINVAL for a bad argument, ENOMEM
 */
int aa_config_alloc_text(struct aa_config **cfgp,
			 const struct aa_config_text *textv, size_t textc,
			 aa_config_msg_h *msgh, void *arg)
{
	struct aa_config *cfg;
	size_t i;
	int err;

	if (!cfgp || (!textv && textc))
		return EINVAL;

	err = config_new(&cfg, msgh, arg);
	if (err)
		return err;

	for (i=0; i<textc; i++) {

		if ((unsigned)textv[i].layer >= AA_LAYER_COUNT ||
		    !textv[i].name) {
			err = EINVAL;
			goto out;
		}

		err = read_text(cfg, textv[i].layer, textv[i].name,
				textv[i].buf, textv[i].len, false);
		if (err)
			goto out;
	}

	err = aa_config_index(cfg);
	if (err)
		goto out;

	aa_config_analyse(cfg);

 out:
	if (err)
		mem_deref(cfg);
	else
		*cfgp = cfg;

	return err;
}
