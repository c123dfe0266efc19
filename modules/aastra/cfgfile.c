/**
 * @file cfgfile.c  Reader of *.cfg files and of baresip's config
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * A phone's file holds `parameter name: value` lines.  The guides say little
 * about the details, so these follow what real files do (facts, chapter 3):
 *
 *   - a line ends at LF, CR LF or CR;
 *   - `#` starts a comment at the beginning of a line, and behind a blank
 *     outside of quotes.  Dial plans hold `#`: `X+#|XX+*` is a value;
 *   - a value in double quotes is what stands between them;
 *   - names are not case-sensitive, and blanks in them count as one;
 *   - bytes that are not UTF-8 are taken for Latin-1, the phones' own set.
 */
#include <string.h>
#include <re.h>
#include "cfgfile.h"


typedef bool (line_decode_h)(struct aa_cfg_entry *e, const struct pl *line);


static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\v' || c == '\f' || c == '\0';
}


static void trim_left(struct pl *pl)
{
	while (pl->l && is_blank(pl->p[0])) {
		++pl->p;
		--pl->l;
	}
}


static void trim_right(struct pl *pl)
{
	while (pl->l && is_blank(pl->p[pl->l - 1]))
		--pl->l;
}


static const char *find_char(const struct pl *pl, char c)
{
	return pl->l ? memchr(pl->p, c, pl->l) : NULL;
}


/** Cut the next line off; CR LF is one end, not two */
static bool next_line(struct pl *rest, struct pl *line)
{
	size_t n = 0;

	if (!rest->l)
		return false;

	while (n < rest->l && rest->p[n] != '\n' && rest->p[n] != '\r')
		++n;

	line->p = rest->p;
	line->l = n;

	if (n < rest->l) {
		const bool crlf = rest->p[n] == '\r' && n + 1 < rest->l &&
			rest->p[n + 1] == '\n';

		n += crlf ? 2 : 1;
	}

	rest->p += n;
	rest->l -= n;

	return true;
}


/** Length of the UTF-8 sequence at p, 0 if there is none */
static size_t utf8_len(const char *p, size_t l)
{
	const uint8_t *u = (const uint8_t *)p;
	size_t n, i;

	if (u[0] < 0x80)
		return 1;
	else if (u[0] >= 0xc2 && u[0] <= 0xdf)
		n = 2;
	else if ((u[0] & 0xf0) == 0xe0)
		n = 3;
	else if (u[0] >= 0xf0 && u[0] <= 0xf4)
		n = 4;
	else
		return 0;

	if (n > l)
		return 0;

	for (i=1; i<n; i++) {
		if ((u[i] & 0xc0) != 0x80)
			return 0;
	}

	/* overlong forms, surrogates, beyond U+10FFFF */
	if ((u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f) ||
	    (u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] > 0x8f))
		return 0;

	return n;
}


static bool is_utf8(const struct pl *pl)
{
	size_t i = 0;

	while (i < pl->l) {
		const size_t n = utf8_len(&pl->p[i], pl->l - i);

		if (!n)
			return false;

		i += n;
	}

	return true;
}


/**
 * Copy a value: NUL bytes left out, Latin-1 turned into UTF-8.  A value that
 * is too long is cut between characters.
 */
static void copy_value(struct aa_cfg_entry *e, const struct pl *pl)
{
	const bool utf8 = is_utf8(pl);
	size_t i = 0, n = 0;

	while (i < pl->l) {
		const uint8_t c = (uint8_t)pl->p[i];
		const size_t in = utf8 ? utf8_len(&pl->p[i], pl->l - i) : 1;
		const size_t out = (!utf8 && c >= 0x80) ? 2 : in;

		if (!c) {
			e->flags |= AA_CFG_NUL;
			++i;
			continue;
		}

		if (n + out >= sizeof(e->value)) {
			e->flags |= AA_CFG_LONGVALUE;
			break;
		}

		if (out > in) {
			e->value[n]     = (char)(0xc0 | (c >> 6));
			e->value[n + 1] = (char)(0x80 | (c & 0x3f));
		}
		else {
			memcpy(&e->value[n], &pl->p[i], in);
		}

		i += in;
		n += out;
	}

	e->value[n] = '\0';
}


/** Cut at blank + `#` outside of quotes; a quote without partner is text */
static void cut_comment(struct pl *pl)
{
	size_t quotes = 0, i;
	bool inside = false;

	for (i=0; i<pl->l; i++)
		quotes += pl->p[i] == '"';

	for (i=0; i<pl->l; i++) {

		if (pl->p[i] == '"') {
			--quotes;

			if (inside || quotes)
				inside = !inside;
		}
		else if (pl->p[i] == '#' && !inside && i &&
			 is_blank(pl->p[i - 1])) {

			pl->l = i;
			break;
		}
	}

	trim_right(pl);
}


/**
 * Decode what stands behind the colon, blanks in front included: they tell
 * `name: # comment` from `name:#value`
 */
static void decode_value(struct aa_cfg_entry *e, const struct pl *raw)
{
	struct pl val = *raw, rest;
	const char *end;

	if (find_char(raw, '\0'))
		e->flags |= AA_CFG_NUL;

	trim_left(&val);
	trim_right(&val);

	if (!val.l)
		return;

	if (val.p[0] == '#' && val.p != raw->p)
		return;

	if (val.p[0] != '"') {
		cut_comment(&val);
		copy_value(e, &val);
		return;
	}

	++val.p;
	--val.l;

	end = find_char(&val, '"');
	if (!end) {
		e->flags |= AA_CFG_OPENQUOTE;
		cut_comment(&val);
		copy_value(e, &val);
		return;
	}

	rest.p = end + 1;
	rest.l = val.l - (size_t)(rest.p - val.p);
	val.l  = (size_t)(end - val.p);

	trim_left(&rest);
	if (rest.l && rest.p[0] != '#')
		e->flags |= AA_CFG_TRAILING;

	trim_left(&val);
	trim_right(&val);
	copy_value(e, &val);
}


/**
 * Lower case, blanks folded to one.  A non-breaking space counts as a blank:
 * names that were copied from a web page hold it.
 */
static void decode_name(struct aa_cfg_entry *e, const struct pl *raw)
{
	bool blank = false;
	size_t i, n = 0;

	for (i=0; i<raw->l; i++) {
		char c = raw->p[i];

		if ((uint8_t)c == 0xc2 && i + 1 < raw->l &&
		    (uint8_t)raw->p[i + 1] == 0xa0) {
			++i;
			c = ' ';
		}
		else if ((uint8_t)c == 0xa0 &&
			 (!i || (uint8_t)raw->p[i - 1] < 0x80)) {
			c = ' ';
		}

		if (!c) {
			e->flags |= AA_CFG_NUL;
			continue;
		}

		if (is_blank(c)) {
			blank = true;
			continue;
		}

		if (n + 2 >= sizeof(e->name)) {
			e->flags |= AA_CFG_LONGNAME;
			break;
		}

		if (blank && n)
			e->name[n++] = ' ';
		blank = false;

		e->name[n++] = (c >= 'A' && c <= 'Z') ? (char)(c + 32) : c;
	}

	e->name[n] = '\0';
}


/** Take `!` and `^` off; both at once are taken too */
static void decode_prefix(struct aa_cfg_entry *e, struct pl *line)
{
	trim_left(line);

	while (line->l && (line->p[0] == '!' || line->p[0] == '^')) {

		if (line->p[0] == '!')
			e->locked = true;
		else
			e->overwrite = true;

		++line->p;
		--line->l;

		trim_left(line);
	}
}


/** Decode `name: value` */
static void decode_colon(struct aa_cfg_entry *e, const struct pl *line)
{
	const char *colon = find_char(line, ':');
	struct pl name = *line, val;

	if (!colon) {
		e->flags |= AA_CFG_NOCOLON;
		cut_comment(&name);
		decode_name(e, &name);
		return;
	}

	name.l = (size_t)(colon - line->p);
	val.p  = colon + 1;
	val.l  = line->l - name.l - 1;

	decode_name(e, &name);
	if (!e->name[0])
		e->flags |= AA_CFG_NONAME;

	decode_value(e, &val);
}


static bool decode_cfg_line(struct aa_cfg_entry *e, const struct pl *line)
{
	struct pl pl = *line;

	decode_prefix(e, &pl);

	if (!pl.l || pl.p[0] == '#')
		return false;

	decode_colon(e, &pl);

	return true;
}


/**
 * baresip's config has `some_key value` lines.  A first word with a `_` in
 * it is such a key; other lines are ours only if they hold a colon or begin
 * with the word `sip` or `sips`, which no key of baresip's is.
 */
static bool decode_baresip_line(struct aa_cfg_entry *e, const struct pl *line)
{
	struct pl pl = *line, key, val;

	decode_prefix(e, &pl);

	if (!pl.l || pl.p[0] == '#')
		return false;

	key = pl;
	for (key.l=0; key.l < pl.l && !is_blank(pl.p[key.l]); key.l++) {

		if (pl.p[key.l] == ':')
			break;
	}

	if (!find_char(&key, '_')) {

		if (!find_char(&pl, ':') && pl_strcasecmp(&key, "sip") &&
		    pl_strcasecmp(&key, "sips"))
			return false;

		decode_colon(e, &pl);
		return true;
	}

	e->underscore = true;

	val.p = key.p + key.l;
	val.l = pl.l - key.l;

	/* `sip_proxy_ip: x` is a mixture that can only mean one thing */
	if (val.l && val.p[0] == ':') {
		++val.p;
		--val.l;
	}

	decode_name(e, &key);
	decode_value(e, &val);

	return true;
}


static int read_lines(const char *buf, size_t len, line_decode_h *dech,
		      aa_cfg_entry_h *eh, void *arg)
{
	static const char bom[] = "\xef\xbb\xbf";
	struct aa_cfg_entry e;
	struct pl rest, line;
	uint32_t lineno = 0;
	int err = 0;

	if ((!buf && len) || !eh)
		return EINVAL;

	/* half of the bytes of such a text are NUL: nothing would be found */
	if (len >= 2 && (!memcmp(buf, "\xff\xfe", 2) ||
			 !memcmp(buf, "\xfe\xff", 2)))
		return EILSEQ;

	rest.p = buf;
	rest.l = len;

	if (len >= 3 && !memcmp(buf, bom, 3)) {
		rest.p += 3;
		rest.l -= 3;
	}

	while (!err && next_line(&rest, &line)) {

		++lineno;

		/* the buffers need no zeroing: their ends are written */
		e.lineno     = lineno;
		e.flags      = 0;
		e.locked     = false;
		e.overwrite  = false;
		e.underscore = false;
		e.name[0]    = '\0';
		e.value[0]   = '\0';

		if (dech(&e, &line))
			err = eh(&e, arg);
	}

	return err;
}


/**
 * Read a phone's *.cfg file, calling the handler for each entry
 *
 * Lines of any length, any bytes: what is odd is flagged in the entry.
 * Comments and blank lines are left out, but counted.  (Guide chapter 1,
 * "Configuration files"; facts, chapter 3)
 *
 * @param buf Bytes of the file, need not end with a NUL; may be NULL if len=0
 * @param len Number of bytes
 * @param eh  Entry handler
 * @param arg Handler argument
 *
 * @return 0 if success, EINVAL without buffer or handler, EILSEQ for UTF-16
 *         text (nothing is read), otherwise what the handler returned
 */
int aa_cfgfile_read(const char *buf, size_t len, aa_cfg_entry_h *eh, void *arg)
{
	return read_lines(buf, len, decode_cfg_line, eh, arg);
}


/**
 * Read baresip's config, calling the handler for each entry that may be ours
 *
 * Both spellings are read, `sip line1 proxy ip: 10.0.0.2` and
 * `sip_line1_proxy_ip 10.0.0.2`; the entry says which one it was.  Lines of
 * baresip's own come too, where they look alike (`sip_listen 0.0.0.0:5060`):
 * the handler knows which keys exist.  (Interface page, chapter 3)
 *
 * @param buf Bytes of the file, need not end with a NUL; may be NULL if len=0
 * @param len Number of bytes
 * @param eh  Entry handler
 * @param arg Handler argument
 *
 * @return 0 if success, EINVAL without buffer or handler, EILSEQ for UTF-16
 *         text (nothing is read), otherwise what the handler returned
 */
int aa_cfgfile_read_baresip(const char *buf, size_t len, aa_cfg_entry_h *eh,
			    void *arg)
{
	return read_lines(buf, len, decode_baresip_line, eh, arg);
}
