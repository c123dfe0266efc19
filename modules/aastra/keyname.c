/**
 * @file keyname.c  Names of keys as they are written
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * Finds the key of a name, or the one that was meant, and prints names so
 * that neither a secret nor a forged log line gets through.
 */
#include <string.h>
#include <re.h>
#include "cfgfile.h"
#include "key.h"
#include "keyname.h"


enum {
	GUESS_LEN = 64          /* bytes of a name that are compared         */
};


#define COUNT(array) (sizeof(array) / sizeof((array)[0]))


/* names that people write although no guide has them */
static const struct {
	const char *wrong;
	enum aa_key_id right;
} slipv[] = {
	{"sip sip server",            K_PROXY_IP},
	{"sip server",                K_PROXY_IP},
	{"sip host",                  K_PROXY_IP},
	{"sip domain",                K_PROXY_IP},
	{"sip secret",                K_PASSWORD},
	{"sip keepalive timer",       K_KEEPALIVE_TIMER},
	{"sip keep alive timer",      K_KEEPALIVE_TIMER},
	{"sip nat keepalive timer",   K_KEEPALIVE_TIMER},
	{"sip register period",       K_REGISTRATION_PERIOD},
	{"sip registration interval", K_REGISTRATION_PERIOD},
};

/* baresip's own keys that look like ours; some only in later versions */
static const char *baresip_keyv[] = {
	"sip_autoanswer", "sip_autoanswer_beep", "sip_autoanswer_method",
	"sip_autoredirect", "sip_cafile", "sip_capath", "sip_certificate",
	"sip_cuser_random", "sip_listen", "sip_nat", "sip_nat_outbound",
	"sip_tls_resumption", "sip_tos", "sip_trans_def", "sip_transports",
	"sip_verify_client", "sip_verify_server",
};

/* the phones' `sip` keys that are about sound, digits and the like; each
   stands for all that begin so */
static const char *phone_keyv[] = {
	"sip accept out of order requests", "sip aastra id",
	"sip allow auto answer", "sip customized codec", "sip dial plan t",
	"sip digit timeout", "sip diversion display", "sip dtmf method",
	"sip enforce require uri", "sip forward callid",
	"sip ignore status code", "sip intercom", "sip nat ",
	"sip nortel nat", "sip out-of-band dtmf", "sip pai",
	"sip refer-to with replaces", "sip rtp port",
	"sip silence suppression", "sip srtp mode", "sip update callerid",
	"sip use basic codecs", "sip xml notify event",
};


/**
 * Get the length of the printable character at the beginning of a string
 *
 * @param str String
 *
 * @return Bytes; 0 for a control character, C1 ones included, and for a byte
 *         that is not UTF-8
 */
size_t aa_printable(const char *str)
{
	const uint8_t *u = (const uint8_t *)str;
	size_t n, i;

	if (u[0] < 0x80)
		return (u[0] < 0x20 || u[0] == 0x7f) ? 0 : 1;

	if (u[0] < 0xc2 || u[0] > 0xf4 || (u[0] == 0xc2 && u[1] < 0xa0))
		return 0;

	n = u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;

	for (i=1; i<n; i++) {
		if ((u[i] & 0xc0) != 0x80)
			return 0;
	}

	return n;
}


/**
 * Print what a file says: nothing that could forge or break a log line
 *
 * @param pf  Print backend
 * @param str String; after 80 bytes it is cut
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_print_safe(struct re_printf *pf, const char *str)
{
	enum { MAX = 80 };
	size_t n = 0;
	int err = 0;

	while (n < MAX && str[n] && !err) {
		const size_t l = aa_printable(&str[n]);

		if (l && str[n] != '\'')
			err = pf->vph(&str[n], l, pf->arg);
		else
			err = pf->vph("?", 1, pf->arg);

		n += l ? l : 1;
	}

	if (str[n] && !err)
		err = pf->vph("...", 3, pf->arg);

	return err;
}


static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}


/** For guesses: no case, and all separators are blanks */
static char fold(char c)
{
	if (c == '_' || c == '-')
		return ' ';

	return (c >= 'A' && c <= 'Z') ? (char)(c + 32) : c;
}


/**
 * Compare the name of a key with one that was read, in lower case
 *
 * In baresip's spelling all separators are one: what was read has blanks
 * where the key has `_` (aastra_cfg_path) or `-` (as-feature-event).
 */
static bool same_name(const char *key, const char *name)
{
	for (; *key && *name; key++, name++) {

		if (*name == ' ' ? fold(*key) != ' ' :
		    (*name != *key && *name != fold(*key)))
			return false;
	}

	return !*key && !*name;
}


/**
 * Find a key by its global name
 *
 * @param name Name in lower case; of baresip's spelling with blanks for `_`
 *
 * @return Key, NULL if there is none
 */
const struct aa_key *aa_key_find(const char *name)
{
	size_t i;

	for (i=0; i<KEY_COUNT; i++) {
		if (same_name(aa_keyv[i].name, name))
			return &aa_keyv[i];
	}

	/* `sip line1 inheritance`: "line" need not be said twice */
	if (same_name(name, "sip inheritance"))
		return &aa_keyv[K_LINE_INHERITANCE];

	return NULL;
}


/**
 * Get the number of a key
 *
 * @param key Key of the table
 *
 * @return Number
 */
enum aa_key_id aa_key_id(const struct aa_key *key)
{
	return (enum aa_key_id)(key - aa_keyv);
}


/**
 * Split `sip line12 proxy ip` into the line and `sip proxy ip`
 *
 * @param base  Global name, of AA_CFG_NAME_SIZE bytes
 * @param linep Line number, UINT32_MAX if it is too large for a number
 * @param name  Name as it was read
 *
 * @return true if the name is that of a line
 */
bool aa_key_split_line(char *base, uint32_t *linep, const char *name)
{
	const char *p = name;
	uint64_t line = 0;

	if (strncmp(p, "sip line", 8) || !is_digit(p[8]))
		return false;

	for (p += 8; is_digit(*p); p++) {
		if (line < UINT32_MAX)
			line = line * 10 + (uint64_t)(*p - '0');
	}

	if (*p != ' ')
		return false;

	*linep = line < UINT32_MAX ? (uint32_t)line : UINT32_MAX;
	(void)re_snprintf(base, AA_CFG_NAME_SIZE, "sip%s", p);

	return true;
}


/**
 * Edit distance of two names (Levenshtein), on their first bytes
 *
 * @param a    Name
 * @param b    Name
 * @param most Largest distance that counts: what is farther is not worked
 *             out, for most names are far from most keys
 *
 * @return Distance, more than most if it is more
 */
static size_t distance(const char *a, const char *b, size_t most)
{
	const size_t la = MIN(strlen(a), GUESS_LEN);
	const size_t lb = MIN(strlen(b), GUESS_LEN);
	size_t row[GUESS_LEN + 1], i, j;

	if (la > lb + most || lb > la + most)
		return most + 1;

	for (j=0; j<=lb; j++)
		row[j] = j;

	for (i=1; i<=la; i++) {
		/* farther from the diagonal all is more */
		const size_t first = i > most ? i - most : 1;
		const size_t last  = MIN(lb, i + most);
		size_t diag = row[first - 1], least = most + 1;

		row[first - 1] = first > 1 ? most + 1 : i;

		for (j=first; j<=last; j++) {
			const bool same = fold(a[i - 1]) == fold(b[j - 1]);
			const size_t sub = diag + (same ? 0 : 1);

			diag = row[j];
			row[j] = MIN(sub, 1 + MIN(row[j],
							    row[j - 1]));
			least  = MIN(least, row[j]);
		}

		/* it never grows less from one row to the next */
		if (least > most && row[0] > most)
			return least;
	}

	return row[lb];
}


/**
 * Split what was meant to be the name of a line: `sip line 1 proxy ip`,
 * `sip line1proxy ip`, `sip linex proxy ip`, `sip lin1 proxy ip`,
 * `sip_line1_proxy_ip`
 *
 * @param base  Global name, of AA_CFG_NAME_SIZE bytes
 * @param linep Line number, 1 if there is none
 * @param name  Name as it was read
 *
 * @return true if it can have been meant so
 */
bool aa_key_split_loosely(char *base, uint32_t *linep, const char *name)
{
	char text[AA_CFG_NAME_SIZE], joined[2 * AA_CFG_NAME_SIZE], word[16];
	const char *digits, *rest;
	size_t letters, i;

	for (i=0; i < sizeof(text) - 1 && name[i]; i++)
		text[i] = fold(name[i]);
	text[i] = '\0';

	if (strncmp(text, "sip ", 4))
		return false;

	letters = strcspn(&text[4], " 0123456789");
	if (!letters || letters >= sizeof(word))
		return false;

	memcpy(word, &text[4], letters);
	word[letters] = '\0';

	if (distance(word, "line", 1) > 1)
		return false;

	digits = &text[4 + letters] + strspn(&text[4 + letters], " ");
	rest   = digits + strspn(digits, "0123456789");

	if (rest - digits > 10)
		return false;

	(void)re_snprintf(joined, sizeof(joined), "sip line%b %s",
			  rest > digits ? digits : "1",
			  rest > digits ? (size_t)(rest - digits) : (size_t)1,
			  rest + strspn(rest, " "));

	return aa_key_split_line(base, linep, joined);
}


/**
 * Length of the key that a line without colon begins with, of its first word
 * if there is none
 */
static size_t key_prefix(const char *name)
{
	char base[AA_CFG_NAME_SIZE];
	size_t best = 0, shift = 0, i;
	uint32_t line;

	if (aa_key_split_line(base, &line, name))
		shift = strlen(name) - strlen(base);
	else
		str_ncpy(base, name, sizeof(base));

	for (i=0; i<KEY_COUNT; i++) {
		const size_t l = strlen(aa_keyv[i].name);

		if (l > best && !strncmp(base, aa_keyv[i].name, l) &&
		    (base[l] == ' ' || base[l] == '=' || !base[l]))
			best = l;
	}

	return best ? best + shift : strcspn(name, " ");
}


/** Is one the other and more words? */
static bool extends(const char *a, const char *b)
{
	const size_t la = strlen(a), lb = strlen(b);
	const char *longer = la > lb ? a : b;
	const size_t n = MIN(la, lb);

	return !strncmp(a, b, n) && (longer[n] == ' ' || !longer[n]);
}


/**
 * Find the key that was meant; slow, so that callers limit it
 *
 * @param name  Global name as it was read
 * @param limit Largest number of wrong letters
 *
 * @return Nearest key, NULL if none is near
 */
const struct aa_key *aa_key_guess(const char *name, size_t limit)
{
	const struct aa_key *best = NULL;
	const size_t len = strlen(name);
	size_t bestd = limit + 1, i;

	for (i=0; i<COUNT(slipv); i++) {
		if (same_name(slipv[i].wrong, name))
			return &aa_keyv[slipv[i].right];
	}

	for (i=0; i<KEY_COUNT; i++) {
		const size_t l = strlen(aa_keyv[i].name);
		size_t d;

		/* cannot be near */
		if (len > l + limit || l > len + limit)
			continue;

		d = distance(name, aa_keyv[i].name, limit);

		if (d < bestd || (d == bestd && best && d <= limit &&
				  extends(name, aa_keyv[i].name) &&
				  !extends(name, best->name))) {
			best  = &aa_keyv[i];
			bestd = d;
		}
	}

	return bestd <= limit ? best : NULL;
}


/**
 * Does a name belong to what this module is about, known or not?
 *
 * @param name Name as it was read, with blanks
 *
 * @return true if so; settings of a phone's screen or softkeys do not
 */
bool aa_key_is_sip(const char *name)
{
	return !strncmp(name, "sip ", 4) || !strncmp(name, "sips ", 5) ||
		!strcmp(name, "sip") || !strcmp(name, "sips") ||
		!strncmp(name, "sip line", 8) ||
		!strncmp(name, "aastra", 6);
}


/**
 * Is it a `sip` key of the phones about sound, digits or the like?
 *
 * @param base Global name
 *
 * @return true if so
 */
bool aa_key_is_phone(const char *base)
{
	size_t i;

	for (i=0; i<COUNT(slipv); i++) {
		if (same_name(slipv[i].wrong, base))
			return false;
	}

	for (i=0; i<COUNT(phone_keyv); i++) {
		if (!strncmp(base, phone_keyv[i], strlen(phone_keyv[i])))
			return true;
	}

	return false;
}


/**
 * Is a key in baresip's spelling certainly meant for somebody else?
 *
 * @param name Name with `_`
 *
 * @return true if so: it is none of our business
 */
bool aa_key_is_foreign(const char *name)
{
	size_t i;

	for (i=0; i<COUNT(baresip_keyv); i++) {
		if (!strcmp(name, baresip_keyv[i]))
			return true;
	}

	return strncmp(name, "sip_", 4) && strncmp(name, "sips_", 5) &&
		strncmp(name, "aastra_", 7) && strcmp(name, "dynamic_sip");
}


/**
 * Is a key in baresip's spelling certainly meant for us, if unknown?
 *
 * @param name Name with `_`
 *
 * @return true if so
 */
bool aa_key_is_claimed(const char *name)
{
	static const char *prefixv[] = {
		"sip_line", "sip_backup_", "sip_outbound_", "sip_failback_",
		"sip_recovery_", "sip_registrar_", "sip_registration_",
		"sip_proxy_", "sip_transaction_", "aastra_",
	};
	size_t i;

	for (i=0; i<COUNT(prefixv); i++) {
		if (!strncmp(name, prefixv[i], strlen(prefixv[i])))
			return true;
	}

	return false;
}


/**
 * Print the name of a key, in the spelling of the guides or of baresip
 *
 * @param pf   Print backend
 * @param name Name
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_key_print_name(struct re_printf *pf, const struct aa_key_name *name)
{
	char buf[AA_CFG_NAME_SIZE];
	size_t i;

	if (name->line && !strncmp(name->key->name, "sip ", 4))
		(void)re_snprintf(buf, sizeof(buf), "sip line%u %s",
				  name->line, &name->key->name[4]);
	else
		str_ncpy(buf, name->key->name, sizeof(buf));

	for (i=0; name->underscore && buf[i]; i++) {
		if (buf[i] == ' ')
			buf[i] = '_';
	}

	return re_hprintf(pf, "%s", buf);
}


/**
 * Get the name that a key has for a line, in the guides' spelling
 *
 * @param id   Key
 * @param line Line number, 0: global
 *
 * @return Name
 */
struct aa_key_name aa_key_name_of(enum aa_key_id id, uint32_t line)
{
	const struct aa_key_name name = {&aa_keyv[id], line, false};

	return name;
}


/** Could the word be a misspelt "password", with the secret behind it? */
static bool is_secret_word(const char *word, size_t len)
{
	char buf[32];

	if (!len || len >= sizeof(buf))
		return false;

	memcpy(buf, word, len);
	buf[len] = '\0';

	return strstr(buf, "pass") || strstr(buf, "pwd") ||
		strstr(buf, "secret") || distance(buf, "password", 3) <= 3 ||
		distance(buf, "secret", 2) <= 2;
}


/**
 * Print a name that is no key.  A forgotten colon makes the value part of
 * the name, so what may be a secret is left out: all behind a `=`, behind a
 * word like "password", and, without colon, behind the first word or key.
 *
 * @param pf Print backend
 * @param ce Entry as it was read
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_key_print_written(struct re_printf *pf, const struct aa_cfg_entry *ce)
{
	char buf[AA_CFG_NAME_SIZE];
	size_t n = 0, end = 0;

	while (ce->name[n]) {
		const size_t l = strcspn(&ce->name[n], " _=");

		end = n + l;

		if (ce->name[end] == '=' || !ce->name[end])
			break;

		if (is_secret_word(&ce->name[n], l))
			break;

		n = end + 1;
	}

	if (ce->flags & AA_CFG_NOCOLON)
		end = MIN(end, key_prefix(ce->name));

	(void)re_snprintf(buf, sizeof(buf), "%b", ce->name, end);

	return aa_print_safe(pf, buf);
}
