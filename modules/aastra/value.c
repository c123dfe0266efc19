/**
 * @file value.c  The value of a key: checked alone
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * A value is put into its normal form, or found to be bad.  What is wrong
 * is said in words, for a finding; never with a secret in them.
 */
#include <string.h>
#include <arpa/inet.h>
#include <re.h>
#include "config.h"
#include "key.h"
#include "keyname.h"
#include "value.h"


enum {
	TEXT_SIZE = 128         /* as in struct aa_line_config               */
};


static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}


static bool is_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}


static bool only(const char *str, const char *set)
{
	return str[strspn(str, set)] == '\0';
}


static bool has_control(const char *str)
{
	while (*str) {
		const size_t l = aa_printable(str);

		if (!l)
			return true;

		str += l;
	}

	return false;
}


/** Note what is wrong with a value, for the finding; later ones are lost */
static void blame(struct aa_value *v, const char *fmt, ...)
{
	va_list ap;

	if (v->why)
		return;

	va_start(ap, fmt);
	(void)re_vsdprintf(&v->why, fmt, ap);
	va_end(ap);
}


static int set_value(struct aa_value *v, const char *val)
{
	char *str;
	int err;

	err = str_dup(&str, val);
	if (err) {
		v->err = err;
		return err;
	}

	mem_deref(v->val);
	v->val = str;

	return 0;
}


static bool is_ipv4(const char *host)
{
	struct in_addr in;

	return inet_pton(AF_INET, host, &in) == 1;
}


static bool is_ipv6(const char *host)
{
	struct in6_addr in6;

	return inet_pton(AF_INET6, host, &in6) == 1;
}


/** Is it a host name (RFC 1123), its last label not all digits? */
static bool is_hostname(const char *host)
{
	const char *label = host, *p;
	bool digits = true;

	if (strlen(host) > 253)
		return false;

	for (p = host; ; p++) {

		if (*p == '.' || *p == '\0') {

			if (p == label || p - label > 63 || label[0] == '-' ||
			    p[-1] == '-')
				return false;

			if (*p == '\0')
				return !digits;

			label  = p + 1;
			digits = true;
			continue;
		}

		if (!is_alnum(*p) && *p != '-' && *p != '_')
			return false;

		digits = digits && is_digit(*p);
	}
}


/**
 * Is a host an IP address, not a name?
 *
 * @param host Host, an IPv6 address without brackets
 *
 * @return true if so
 */
bool aa_value_is_ip(const char *host)
{
	return is_ipv4(host) || is_ipv6(host);
}


static enum aa_value_state check_address(struct aa_value *v)
{
	char host[256];
	size_t len = strlen(v->val);
	const char *p = v->val;

	if (len >= sizeof(host)) {
		blame(v, "the address is longer than 253 characters");
		return VALUE_BAD;
	}

	/* [2001:db8::1] and pbx.example.com. without their dressing */
	if (p[0] == '[' && p[len - 1] == ']') {
		++p;
		len -= 2;
	}
	else if (len > 1 && p[len - 1] == '.') {
		--len;
	}

	memcpy(host, p, len);
	host[len] = '\0';

	if (!strcmp(host, "0.0.0.0") || !strcmp(host, "::"))
		return VALUE_NONE;

	if (is_ipv4(host) || is_ipv6(host) ||
	    (p == v->val && is_hostname(host)))
		return set_value(v, host) ? VALUE_BAD : VALUE_OK;

	for (p = v->val; *p; p++) {
		if (!is_alnum(*p) && !strchr(".-_:[]", *p))
			break;
	}

	if (!strncmp(v->val, "sip:", 4) || !strncmp(v->val, "sips:", 5))
		blame(v, "'%H' is not an address: write it without the "
		      "scheme",
		      aa_print_safe, v->val);
	else if (*p)
		blame(v, "'%H' is not an address: a character is not allowed",
		      aa_print_safe, v->val);
	else if (only(host, "0123456789."))
		blame(v, "'%H' is not an address: it takes four numbers from "
		      "0 to 255", aa_print_safe, v->val);
	else if (strchr(v->val, ':'))
		blame(v, "'%H' is not an address: a port has a key of its own",
		      aa_print_safe, v->val);
	else
		blame(v, "'%H' is not an address", aa_print_safe, v->val);

	return VALUE_BAD;
}


/**
 * Read digits
 *
 * @param num Number; one beyond 32 bits counts as the largest one
 * @param str String
 *
 * @return true if there are digits and nothing else
 */
bool aa_value_number(uint32_t *num, const char *str)
{
	uint64_t n = 0;

	if (!*str || !only(str, "0123456789"))
		return false;

	for (; *str; str++) {

		if (n < UINT32_MAX)
			n = n * 10 + (uint64_t)(*str - '0');
	}

	*num = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;

	return true;
}


static enum aa_value_state check_port(struct aa_value *v)
{
	if (!aa_value_number(&v->num, v->val) || v->num > 65535) {
		blame(v, "'%H' is not a port (0-65535)", aa_print_safe,
		      v->val);
		return VALUE_BAD;
	}

	return v->num ? VALUE_OK : VALUE_EMPTY;
}


/** A number out of range is moved to the nearest bound, as the phones do */
static enum aa_value_state check_number(struct aa_value *v)
{
	const struct aa_key *key = v->key;
	const bool negative = v->val[0] == '-';
	const char *unit = key->unit[0] ? key->unit : "";
	const char *gap  = key->unit[0] ? " " : "";
	char buf[16];

	if (!aa_value_number(&v->num, v->val + (negative ? 1 : 0))) {
		blame(v, "'%H' is not a number", aa_print_safe, v->val);
		return VALUE_BAD;
	}

	if (negative ? key->zero : (key->zero && !v->num)) {
		v->num = 0;

		if (!negative)
			return VALUE_OK;

		blame(v, "'%H' is below 0%s%s: 0 is used", aa_print_safe,
		      v->val, gap, unit);
	}
	else if (negative || v->num < key->min) {
		v->num = key->min;
		blame(v, "'%H' is below %u%s%s: raised to %u", aa_print_safe,
		      v->val, key->min, gap, unit, key->min);
	}
	else if (v->num > key->max) {
		v->num = key->max;
		blame(v, "'%H' is above %u%s%s: lowered to %u", aa_print_safe,
		      v->val, key->max, gap, unit, key->max);
	}

	(void)re_snprintf(buf, sizeof(buf), "%u", v->num);

	return set_value(v, buf) ? VALUE_BAD : VALUE_OK;
}


static enum aa_value_state check_bool(struct aa_value *v)
{
	if (strcmp(v->val, "0") && strcmp(v->val, "1")) {
		blame(v, "'%H' is neither 0 nor 1", aa_print_safe, v->val);
		return VALUE_BAD;
	}

	v->num = v->val[0] == '1';

	return VALUE_OK;
}


/** Find a word in a list "a, b, c"; its place counts from 0 */
static bool find_word(const char *list, const char *word, uint32_t *place)
{
	const size_t len = strlen(word);
	uint32_t n = 0;

	for (;;) {
		const size_t l = strcspn(list, ",");

		if (l == len && !strncmp(list, word, l)) {
			*place = n;
			return true;
		}

		if (!list[l])
			return false;

		list += l + 2;
		++n;
	}
}


static enum aa_value_state check_choice(struct aa_value *v)
{
	char *p;

	for (p = v->val; *p; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p + 32);
	}

	if (!find_word(v->key->values, v->val, &v->num)) {
		blame(v, "'%H' is not one of %s", aa_print_safe, v->val,
		      v->key->values);
		return VALUE_BAD;
	}

	/* a list of numbers: the number itself, not its place */
	(void)aa_value_number(&v->num, v->val);

	return VALUE_OK;
}


static enum aa_value_state check_text(struct aa_value *v)
{
	const struct aa_key *key = v->key;

	if (strlen(v->val) >= TEXT_SIZE) {
		blame(v, "longer than %d bytes", TEXT_SIZE - 1);
		return VALUE_BAD;
	}

	/* these go into quoted strings of SIP headers; the password does
	   not: only its hash travels */
	if (!key->secret && key->set == AA_SET_AUTH &&
	    strpbrk(v->val, "\"\\")) {
		blame(v, "a quote or a backslash is not allowed");
		return VALUE_BAD;
	}

	return VALUE_OK;
}


static enum aa_value_state check_user(struct aa_value *v)
{
	const char *p;

	if (strlen(v->val) >= TEXT_SIZE) {
		blame(v, "longer than %d bytes", TEXT_SIZE - 1);
		return VALUE_BAD;
	}

	/* RFC 3261: unreserved, user-unreserved, escaped */
	for (p = v->val; *p; p++) {

		if (*p == '@') {
			blame(v, "'%H' is not a user name: write the part "
			      "before the '@' alone", aa_print_safe, v->val);
			return VALUE_BAD;
		}

		if (!is_alnum(*p) && !strchr("-_.!~*'()&=+$,;?/%", *p)) {
			blame(v, "'%H' is not a user name: a character is not "
			      "allowed", aa_print_safe, v->val);
			return VALUE_BAD;
		}
	}

	return VALUE_OK;
}


/** Cut the first word off */
static bool next_word(struct pl *word, struct pl *rest)
{
	while (rest->l && strchr(" \t", rest->p[0])) {
		++rest->p;
		--rest->l;
	}

	word->p = rest->p;
	word->l = 0;

	while (rest->l && !strchr(" \t", rest->p[0])) {
		++rest->p;
		--rest->l;
		++word->l;
	}

	return word->l > 0;
}


/** Is the part of a list "event uri"? */
static bool is_subscription(struct pl *event, struct pl *uri,
			    const struct pl *item)
{
	struct pl rest = *item, more;
	size_t i;

	if (!next_word(event, &rest) || !next_word(uri, &rest) ||
	    next_word(&more, &rest))
		return false;

	for (i=0; i<event->l; i++) {
		if (!is_alnum(event->p[i]) && !strchr("-.!%*_+`'~",
						      event->p[i]))
			return false;
	}

	for (i=0; i<uri->l; i++) {
		if (strchr("<>\"", uri->p[i]))
			return false;
	}

	return true;
}


/** Keep the good items of the list */
static enum aa_value_state check_subscribe(struct aa_value *v)
{
	struct aa_line_config *lc;
	char buf[sizeof(lc->subscribe)] = "";
	const char *p = v->val;
	size_t pos = 0;

	for (;;) {
		const size_t l = strcspn(p, ",");
		const size_t blanks = MIN(strspn(p, " \t"), l);
		struct pl item = {p, l}, event, uri;

		if (is_subscription(&event, &uri, &item)) {

			/* event + uri + ", " + " " + the end */
			if (pos + event.l + uri.l + 4 > sizeof(buf)) {
				blame(v, "longer than %zu bytes: the rest is "
				      "left out", sizeof(buf) - 1);
				break;
			}

			(void)re_snprintf(&buf[pos], sizeof(buf) - pos,
					  "%s%r %r", pos ? ", " : "",
					  &event, &uri);
			pos = strlen(buf);
		}
		else {
			char bad[64];

			(void)re_snprintf(bad, sizeof(bad), "%b",
					  p + blanks, l - blanks);

			blame(v, "'%H' is not 'event uri': left out",
			      aa_print_safe, bad);
		}

		if (!p[l])
			break;

		p += l + 1;
	}

	if (set_value(v, buf))
		return VALUE_BAD;

	return pos ? VALUE_OK : VALUE_BAD;
}


static enum aa_value_state check_filename(struct aa_value *v)
{
	const char *p;

	if (strlen(v->val) >= TEXT_SIZE) {
		blame(v, "longer than %d bytes", TEXT_SIZE - 1);
		return VALUE_BAD;
	}

	for (p = v->val; *p; p++) {
		if (!is_alnum(*p) && !strchr("-_. +", *p))
			break;
	}

	if (*p || v->val[0] == '.') {
		blame(v, "'%H' is not a file name", aa_print_safe, v->val);
		return VALUE_BAD;
	}

	return VALUE_OK;
}


static enum aa_value_state check_mac(struct aa_value *v)
{
	char mac[13];
	const char *p;
	size_t n = 0;

	for (p = v->val; *p; p++) {
		const char c = *p;

		if ((c == ':' || c == '-') && n && n < 12 && !(n % 2))
			continue;

		if (n >= 12 || !strchr("0123456789abcdefABCDEF", c))
			break;

		mac[n++] = (c >= 'a') ? (char)(c - 32) : c;
	}

	if (*p || n != 12) {
		blame(v, "'%H' is not a MAC address (12 hex digits)",
		      aa_print_safe, v->val);
		return VALUE_BAD;
	}

	mac[12] = '\0';

	return set_value(v, mac) ? VALUE_BAD : VALUE_OK;
}


static enum aa_value_state check_url(struct aa_value *v)
{
	const char *p = NULL;

	/* not printed: there may be a password in it */
	if (!strncmp(v->val, "http://", 7))
		p = v->val + 7;
	else if (!strncmp(v->val, "https://", 8))
		p = v->val + 8;

	if (!p || !*p || *p == '/' || strpbrk(p, " <>\"")) {
		blame(v, "not a URL that begins with http:// or https://");
		return VALUE_BAD;
	}

	return VALUE_OK;
}


static enum aa_value_state check_listen(struct aa_value *v)
{
	char host[64];
	const char *colon = strrchr(v->val, ':');
	size_t len = colon ? (size_t)(colon - v->val) : 0;
	const char *p = v->val;
	bool ok = false;

	/* a port alone: that of loopback */
	if (!colon && aa_value_number(&v->num, p) && v->num &&
	    v->num <= 65535)
		return VALUE_OK;

	if (len > 2 && p[0] == '[' && p[len - 1] == ']') {
		++p;
		len -= 2;
	}

	if (len && len < sizeof(host)) {

		memcpy(host, p, len);
		host[len] = '\0';

		ok = p == v->val ? is_ipv4(host) : is_ipv6(host);
	}

	if (!ok || !aa_value_number(&v->num, colon + 1) || !v->num ||
	    v->num > 65535) {
		blame(v, "'%H' is not 'address:port'", aa_print_safe, v->val);
		return VALUE_BAD;
	}

	return VALUE_OK;
}


static enum aa_value_state check(struct aa_value *v)
{
	static enum aa_value_state (* const checkv[AA_TYPE_COUNT])
		(struct aa_value *) = {

		[AA_TYPE_ADDRESS]   = check_address,
		[AA_TYPE_PORT]      = check_port,
		[AA_TYPE_NUMBER]    = check_number,
		[AA_TYPE_BOOL]      = check_bool,
		[AA_TYPE_CHOICE]    = check_choice,
		[AA_TYPE_TEXT]      = check_text,
		[AA_TYPE_USER]      = check_user,
		[AA_TYPE_SUBSCRIBE] = check_subscribe,
		[AA_TYPE_PATH]      = NULL,
		[AA_TYPE_FILENAME]  = check_filename,
		[AA_TYPE_MAC]       = check_mac,
		[AA_TYPE_URL]       = check_url,
		[AA_TYPE_LISTEN]    = check_listen,
	};
	const enum aa_key_type type = v->key->type;

	if (!v->val[0])
		return VALUE_EMPTY;

	if (has_control(v->val)) {
		blame(v, "a control character is not allowed");
		return VALUE_BAD;
	}

	return checkv[type] ? checkv[type](v) : VALUE_OK;
}


/**
 * Take a value as it was written, check it alone and put it into its normal
 * form: a number within its range, a MAC without separators, one blank
 * between the words of a list
 *
 * @param v   Value to be filled; `why` tells what was wrong, NULL if nothing
 * @param key Key
 * @param str Value as it was written
 *
 * @return 0 if success, ENOMEM; a bad value is no error but a state
 */
int aa_value_init(struct aa_value *v, const struct aa_key *key,
		  const char *str)
{
	int err;

	memset(v, 0, sizeof(*v));
	v->key = key;

	err = str_dup(&v->val, str);
	if (err)
		return err;

	v->state = check(v);

	err = v->err;
	if (err)
		aa_value_reset(v);

	return err;
}


/**
 * Make a value a bad one
 *
 * @param v   Value
 * @param fmt Why, for the finding
 */
void aa_value_refuse(struct aa_value *v, const char *fmt, ...)
{
	va_list ap;

	v->state = VALUE_BAD;
	v->why   = mem_deref(v->why);

	va_start(ap, fmt);
	(void)re_vsdprintf(&v->why, fmt, ap);
	va_end(ap);
}


/**
 * Free what a value holds
 *
 * @param v Value
 */
void aa_value_reset(struct aa_value *v)
{
	v->val = mem_deref(v->val);
	v->why = mem_deref(v->why);
}
