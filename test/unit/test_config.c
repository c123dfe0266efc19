/**
 * @file test_config.c  The configuration: reader, key table, settings
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <cmocka.h>
#include <re.h>
#include "config.h"
#include "cfgfile.h"


#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { FINDINGS = 2048 };

/** What was reported */
struct report {
	char *textv[FINDINGS];
	enum aa_config_level levelv[FINDINGS];
	size_t n;
};

static const struct aa_account_facts account = {
	.user      = "100",
	.domain    = {"pbx.example.com", 0},
	.outbound  = {"10.0.0.1", 5060},
	.transport = AA_TRANSPORT_TCP,
	.regint    = 600,
};


/* ---- Tools ------------------------------------------------------------ */


static void msg_handler(enum aa_config_level level, const char *text,
			void *arg)
{
	struct report *rep = arg;

	assert_true(rep->n < FINDINGS);

	rep->levelv[rep->n] = level;
	rep->textv[rep->n]  = strdup(text);
	assert_non_null(rep->textv[rep->n]);
	++rep->n;
}


static void report_reset(struct report *rep)
{
	while (rep->n)
		free(rep->textv[--rep->n]);
}


static bool reported(const struct report *rep, const char *part)
{
	size_t i;

	for (i=0; i<rep->n; i++) {
		if (strstr(rep->textv[i], part))
			return true;
	}

	return false;
}


static void assert_reported(const struct report *rep, const char *part)
{
	size_t i;

	if (reported(rep, part))
		return;

	for (i=0; i<rep->n; i++)
		print_error("reported: %s\n", rep->textv[i]);

	fail_msg("not reported: %s", part);
}


static size_t warnings(const struct report *rep)
{
	size_t i, n = 0;

	for (i=0; i<rep->n; i++)
		n += rep->levelv[i] == AA_CONFIG_WARN;

	return n;
}


static struct aa_config_text text_of(enum aa_config_layer layer,
				     const char *buf)
{
	static const char *namev[AA_LAYER_COUNT] = {
		"aastra.cfg", "6757i.cfg", "00085D1610DE.cfg", "config"
	};
	const struct aa_config_text text = {
		layer, namev[layer], buf, buf ? strlen(buf) : 0
	};

	return text;
}


/** Load baresip's config and an aastra.cfg, each may be NULL */
static struct aa_config *load(struct report *rep, const char *baresip,
			      const char *file)
{
	const struct aa_config_text textv[] = {
		text_of(AA_LAYER_AASTRA, file),
		text_of(AA_LAYER_BARESIP, baresip),
	};
	struct aa_config *cfg = NULL;

	assert_int_equal(0, aa_config_alloc_text(&cfg, textv, COUNT(textv),
						 rep ? msg_handler : NULL,
						 rep));
	assert_non_null(cfg);

	return cfg;
}


static void get_line(struct aa_line_config *lc, const char *baresip,
		     const char *file, uint32_t line,
		     const struct aa_account_facts *facts)
{
	struct aa_config *cfg = load(NULL, baresip, file);

	assert_int_equal(0, aa_config_line(cfg, line, facts, lc));

	mem_deref(cfg);
}


static int print_handler(const char *p, size_t size, void *arg)
{
	return mbuf_write_mem(arg, (const uint8_t *)p, size);
}


/** The listing of a line, to be freed with mem_deref() */
static char *listing(const struct aa_config *cfg, uint32_t line,
		     const struct aa_account_facts *facts)
{
	struct mbuf *mb = mbuf_alloc(1024);
	struct re_printf pf = {print_handler, mb};
	char *str = NULL;

	assert_non_null(mb);
	assert_int_equal(0, aa_config_print(&pf, cfg, line, facts));

	mb->pos = 0;
	assert_int_equal(0, mbuf_strdup(mb, &str, mb->end));
	mem_deref(mb);

	return str;
}


/** Squeeze blanks, so that columns may change their width */
static void squeeze(char *str)
{
	char *out = str;

	for (; *str; str++) {
		if (*str == ' ' && str[1] == ' ')
			continue;
		*out++ = *str;
	}

	*out = '\0';
}


static void assert_listed(const struct aa_config *cfg, uint32_t line,
			  const struct aa_account_facts *facts,
			  const char *part)
{
	char *str = listing(cfg, line, facts);

	squeeze(str);

	if (!strstr(str, part)) {
		print_error("%s", str);
		fail_msg("not listed: %s", part);
	}

	mem_deref(str);
}


static void assert_server(const struct aa_line_config *lc, enum aa_role role,
			  enum aa_rank rank, const char *host, uint16_t port)
{
	assert_string_equal(host, lc->server[role][rank].host);
	assert_int_equal(port, lc->server[role][rank].port);
}


#define PROXY     AA_ROLE_PROXY
#define REGISTRAR AA_ROLE_REGISTRAR
#define OUTBOUND  AA_ROLE_OUTBOUND
#define PRIMARY   AA_RANK_PRIMARY
#define BACKUP    AA_RANK_BACKUP


/* ---- Reader ----------------------------------------------------------- */


static int entry_handler(const struct aa_cfg_entry *e, void *arg)
{
	struct mbuf *mb = arg;

	return mbuf_printf(mb, "%s%u%s%s%s %x [%s] [%s]", mb->end ? "\n" : "",
			   e->lineno, e->locked ? "!" : "",
			   e->overwrite ? "^" : "", e->underscore ? "_" : "",
			   e->flags, e->name, e->value);
}


/** Read and compare with "line[!^_] flags [name] [value]" lines */
static void assert_entries(bool baresip, const char *buf, size_t len,
			   const char *expected)
{
	struct mbuf *mb = mbuf_alloc(256);
	char *str = NULL;
	int err;

	assert_non_null(mb);

	err = baresip ? aa_cfgfile_read_baresip(buf, len, entry_handler, mb) :
		aa_cfgfile_read(buf, len, entry_handler, mb);
	assert_int_equal(0, err);

	mb->pos = 0;
	assert_int_equal(0, mbuf_strdup(mb, &str, mb->end));
	assert_string_equal(expected, str);

	mem_deref(str);
	mem_deref(mb);
}


#define CFG(text, expected) \
	assert_entries(false, text, sizeof(text) - 1, expected)

#define BARESIP(text, expected) \
	assert_entries(true, text, sizeof(text) - 1, expected)


static void test_reader_lines(void **state)
{
	(void)state;

	CFG("", "");
	CFG("\n\n\r\n", "");
	CFG("a: b", "1 0 [a] [b]");
	CFG("a: b\n", "1 0 [a] [b]");
	CFG("a: b\r\nc: d\r\n", "1 0 [a] [b]\n2 0 [c] [d]");
	CFG("a: b\rc: d\r", "1 0 [a] [b]\n2 0 [c] [d]");
	CFG("a: b\n\r\nc: d", "1 0 [a] [b]\n3 0 [c] [d]");
	CFG("\n# x\n\na: b", "4 0 [a] [b]");
	CFG("\xef\xbb\xbf" "a: b", "1 0 [a] [b]");
	CFG("\xef\xbb\xbf" "# x\na: b", "2 0 [a] [b]");
}


static void test_reader_names(void **state)
{
	(void)state;

	CFG("SIP Line1 Proxy IP: x", "1 0 [sip line1 proxy ip] [x]");
	CFG("  sip \t proxy   ip  : x", "1 0 [sip proxy ip] [x]");
	CFG("sip\xc2\xa0proxy\xa0ip: x", "1 0 [sip proxy ip] [x]");
	CFG("sip session timer:1800", "1 0 [sip session timer] [1800]");
	CFG("sip proxy ip:\"192.168.1.11\"",
	    "1 0 [sip proxy ip] [192.168.1.11]");
	CFG("sip_proxy_ip: x", "1 0 [sip_proxy_ip] [x]");
	CFG("a\xc2\xa0: x", "1 0 [a] [x]");
	CFG(": x", "1 2 [] [x]");
	CFG("no colon", "1 1 [no colon] []");
	CFG("no colon # a: b", "1 0 [no colon # a] [b]");
	CFG("no colon # ab", "1 1 [no colon] []");
	CFG("url: http://x:80/y", "1 0 [url] [http://x:80/y]");
	CFG("a\0b: c", "1 10 [ab] [c]");
}


static void test_reader_prefix(void **state)
{
	(void)state;

	CFG("!a: b", "1! 0 [a] [b]");
	CFG("^a: b", "1^ 0 [a] [b]");
	CFG(" ! a: b", "1! 0 [a] [b]");
	CFG("^!a: b", "1!^ 0 [a] [b]");
	CFG("!", "");
	CFG("!# x", "");
	CFG("!a: b\na: c", "1! 0 [a] [b]\n2 0 [a] [c]");
}


static void test_reader_values(void **state)
{
	(void)state;

	CFG("a:", "1 0 [a] []");
	CFG("a:   \t ", "1 0 [a] []");
	CFG("a: b  \t", "1 0 [a] [b]");
	CFG("a: b c", "1 0 [a] [b c]");

	/* comments */
	CFG("# a: b", "");
	CFG("   # a: b", "");
	CFG("#softkey1 type: x", "");
	CFG("a: b # c", "1 0 [a] [b]");
	CFG("a: b\t# c", "1 0 [a] [b]");
	CFG("a: b#c", "1 0 [a] [b#c]");
	CFG("a: X+#|XX+*", "1 0 [a] [X+#|XX+*]");
	CFG("a: # c", "1 0 [a] []");
	CFG("a:#1", "1 0 [a] [#1]");
	CFG("a: 120   # seconds # not more", "1 0 [a] [120]");
	CFG("a: b #", "1 0 [a] [b]");

	/* quotes */
	CFG("a: \"b\"", "1 0 [a] [b]");
	CFG("a: \"*32#\"", "1 0 [a] [*32#]");
	CFG("a: \"b # c\"", "1 0 [a] [b # c]");
	CFG("a: \"b # c\" # d", "1 0 [a] [b # c]");
	CFG("a: \"b\"# d", "1 0 [a] [b]");
	CFG("a: \" b \"", "1 0 [a] [b]");
	CFG("a: \"\"", "1 0 [a] []");
	CFG("a: x \"b # c\" d", "1 0 [a] [x \"b # c\" d]");
	CFG("a: 5\" pipe # c", "1 0 [a] [5\" pipe]");
	CFG("a: \"b", "1 20 [a] [b]");
	CFG("a: \"b # c", "1 20 [a] [b]");
	CFG("a: \"", "1 20 [a] []");
	CFG("a: \"b\" c", "1 40 [a] [b]");
	CFG("a: 'b # c'", "1 0 [a] ['b]");

	/* bytes */
	CFG("a: M\xfcller", "1 0 [a] [M\xc3\xbcller]");
	CFG("a: M\xc3\xbcller", "1 0 [a] [M\xc3\xbcller]");
	CFG("a: \xe2\x82\xac", "1 0 [a] [\xe2\x82\xac]");
	CFG("a: \xf0\x9f\x93\x9e", "1 0 [a] [\xf0\x9f\x93\x9e]");
	CFG("a: \xe0\xa0\x80\xed\x9f\xbf\xf4\x8f\xbf\xbf",
	    "1 0 [a] [\xe0\xa0\x80\xed\x9f\xbf\xf4\x8f\xbf\xbf]");
	CFG("a: \xf4\x90\x80\x80",
	    "1 0 [a] [\xc3\xb4\xc2\x90\xc2\x80\xc2\x80]");
	CFG("a: \xc3", "1 0 [a] [\xc3\x83]");
	CFG("a: \xc0\x80", "1 0 [a] [\xc3\x80\xc2\x80]");
	CFG("a: \xed\xa0\x80", "1 0 [a] [\xc3\xad\xc2\xa0\xc2\x80]");
	CFG("a: b\0c", "1 10 [a] [bc]");
	CFG("a: b\0", "1 10 [a] [b]");
	CFG("\0\0\0", "");
}


static void test_reader_long(void **state)
{
	static char buf[100000];
	struct mbuf *mb = mbuf_alloc(256);
	size_t i;

	(void)state;
	assert_non_null(mb);

	/* a value of any length: cut, between characters */
	for (i=0; i<sizeof(buf); i++)
		buf[i] = (i % 2) ? '\xbc' : '\xc3';
	memcpy(buf, "a: ", 3);
	buf[3] = 'x';

	assert_int_equal(0, aa_cfgfile_read(buf, sizeof(buf), entry_handler,
					    mb));
	assert_memory_equal("1 8 [a] [x", mb->buf, 10);
	assert_true(mb->end < AA_CFG_VALUE_SIZE + 16);
	assert_true(mb->end > AA_CFG_VALUE_SIZE - 16);
	assert_int_equal(0xbc, mb->buf[mb->end - 2]);

	/* and a name */
	mbuf_rewind(mb);
	memset(buf, 'n', sizeof(buf));
	memcpy(&buf[sizeof(buf) - 3], ": v", 3);

	assert_int_equal(0, aa_cfgfile_read(buf, sizeof(buf), entry_handler,
					    mb));
	assert_memory_equal("1 4 [nnn", mb->buf, 8);
	assert_memory_equal("n] [v]", &mb->buf[mb->end - 6], 6);

	/* exactly as long as there is room */
	mbuf_rewind(mb);
	memset(buf, 'v', sizeof(buf));
	memcpy(buf, "a: ", 3);
	assert_int_equal(0, aa_cfgfile_read(buf, 3 + AA_CFG_VALUE_SIZE - 1,
					    entry_handler, mb));
	assert_memory_equal("1 0 [a] [v", mb->buf, 10);

	mbuf_rewind(mb);
	assert_int_equal(0, aa_cfgfile_read(buf, 3 + AA_CFG_VALUE_SIZE,
					    entry_handler, mb));
	assert_memory_equal("1 8 [a] [v", mb->buf, 10);

	mem_deref(mb);
}


static int stop_handler(const struct aa_cfg_entry *e, void *arg)
{
	unsigned *n = arg;

	(void)e;

	return ++*n == 2 ? EPROTO : 0;
}


static void test_reader_errors(void **state)
{
	unsigned n = 0;

	(void)state;

	assert_int_equal(EINVAL, aa_cfgfile_read(NULL, 1, stop_handler, &n));
	assert_int_equal(EINVAL, aa_cfgfile_read("a: b", 4, NULL, NULL));
	assert_int_equal(EINVAL, aa_cfgfile_read_baresip(NULL, 1,
							 stop_handler, &n));
	assert_int_equal(0, aa_cfgfile_read(NULL, 0, stop_handler, &n));

	assert_int_equal(EPROTO, aa_cfgfile_read("a:1\nb:2\nc:3", 11,
						 stop_handler, &n));
	assert_int_equal(2, n);

	assert_int_equal(EILSEQ, aa_cfgfile_read("\xff\xfe" "a\0:\0", 6,
						 stop_handler, &n));
	assert_int_equal(EILSEQ, aa_cfgfile_read_baresip("\xfe\xff\0a", 4,
							 stop_handler, &n));
}


static void test_reader_baresip(void **state)
{
	(void)state;

	BARESIP("", "");
	BARESIP("# sip proxy ip: x", "");
	BARESIP("sip proxy ip: x", "1 0 [sip proxy ip] [x]");
	BARESIP("sip_proxy_ip x", "1_ 0 [sip_proxy_ip] [x]");
	BARESIP("sip_proxy_ip\t\tx", "1_ 0 [sip_proxy_ip] [x]");
	BARESIP("  SIP_Proxy_IP x", "1_ 0 [sip_proxy_ip] [x]");
	BARESIP("sip_proxy_ip: x", "1_ 0 [sip_proxy_ip] [x]");
	BARESIP("sip_proxy_ip:x", "1_ 0 [sip_proxy_ip] [x]");
	BARESIP("sip_proxy_ip", "1_ 0 [sip_proxy_ip] []");
	BARESIP("sip_proxy_ip x # y", "1_ 0 [sip_proxy_ip] [x]");
	BARESIP("sip_proxy_ip # y", "1_ 0 [sip_proxy_ip] []");
	BARESIP("sip_display_name \"A # B\"",
		"1_ 0 [sip_display_name] [A # B]");
	BARESIP("!sip proxy ip: x", "1! 0 [sip proxy ip] [x]");
	BARESIP("^sip_proxy_ip x", "1^_ 0 [sip_proxy_ip] [x]");
	BARESIP("sip proxy ip x", "1 1 [sip proxy ip x] []");
	BARESIP("sips x", "1 1 [sips x] []");
	BARESIP("module stdio.so", "");
	BARESIP("module_app aastra.so", "1_ 0 [module_app] [aastra.so]");
	BARESIP("sip_listen 0.0.0.0:5060", "1_ 0 [sip_listen] [0.0.0.0:5060]");
	BARESIP("sip proxy ip: 2001:db8::1",
		"1 0 [sip proxy ip] [2001:db8::1]");
	BARESIP("sip_proxy_ip [2001:db8::1]",
		"1_ 0 [sip_proxy_ip] [[2001:db8::1]]");
	BARESIP("aastra_cfg_url http://h:8/x",
		"1_ 0 [aastra_cfg_url] [http://h:8/x]");
}


/* any bytes, and any beginning of a file: the sanitizers are the judge */
static void test_reader_garbage(void **state)
{
	static const char sample[] =
		"\xef\xbb\xbf!sip line1 proxy ip: \"x # y\" # z\r\n"
		"^sip_line1_proxy_ip\tM\xfc\xc3\xbc\0\r"
		"sip line1 password: \"\"\"\n: \n\"#\n";
	char buf[512];
	uint32_t seed = 1;
	size_t i, n;

	(void)state;

	for (n=0; n<=sizeof(sample); n++) {
		unsigned c = 1000;

		/* of exactly that size, so that reading on is seen */
		char *copy = malloc(n ? n : 1);

		assert_non_null(copy);
		memcpy(copy, sample, n);
		(void)aa_cfgfile_read(copy, n, stop_handler, &c);
		(void)aa_cfgfile_read_baresip(copy, n, stop_handler, &c);
		free(copy);
	}

	for (n=0; n<20000; n++) {
		static const char set[] = "sip_ line1:#\"!^\r\n\t\0\xff\xc3 ";
		struct aa_config *cfg = NULL;
		struct aa_config_text textv[2];

		for (i=0; i<64; i++) {
			seed = seed * 1664525 + 1013904223;
			buf[i] = set[(seed >> 16) % sizeof(set)];
		}

		memset(textv, 0, sizeof(textv));
		textv[0].layer = AA_LAYER_MAC;
		textv[0].name  = "m";
		textv[0].buf   = buf;
		textv[0].len   = 64;
		textv[1]       = textv[0];
		textv[1].layer = AA_LAYER_BARESIP;

		assert_int_equal(0, aa_config_alloc_text(&cfg, textv, 2, NULL,
							 NULL));
		mem_deref(cfg);
	}
}


/* ---- Key table -------------------------------------------------------- */


static const struct aa_key *find_key(const char *name)
{
	size_t i;

	for (i=0; i<aa_config_key_count(); i++) {
		if (!strcmp(name, aa_config_key_at(i)->name))
			return aa_config_key_at(i);
	}

	return NULL;
}


static void test_table_complete(void **state)
{
	/* facts, chapter 2, and the interface page, chapter 3 */
	static const char *namev[] = {
		"sip proxy ip", "sip proxy port", "sip backup proxy ip",
		"sip backup proxy port", "sip registrar ip",
		"sip registrar port", "sip backup registrar ip",
		"sip backup registrar port", "sip registration period",
		"sip outbound proxy", "sip outbound proxy port",
		"sip backup outbound proxy", "sip backup outbound proxy port",
		"sip screen name", "sip screen name 2", "sip user name",
		"sip display name", "sip auth name", "sip password",
		"sip bla number", "sip mode", "sip call waiting", "sip vmail",
		"sip registration retry timer",
		"sip registration timeout retry timer",
		"sip registration renewal timer", "sip transaction timer",
		"sip T1 timer", "sip T2 timer", "sip blacklist duration",
		"sip subscription timeout retry timer",
		"sip subscription failed retry timer", "sip session timer",
		"sip explicit mwi subscription",
		"sip explicit mwi subscription period",
		"sip mwi for bla account", "sip blf subscription period",
		"sip bla subscription period", "sip acd subscription period",
		"sip as-feature-event subscription",
		"sip as-feature-event subscription period",
		"sip outbound support", "sip transport protocol",
		"sips persistent tls", "sip persistent tls keep alive",
		"sips symmetric tls signaling", "sip send sips over tls",
		"sip symmetric udp signaling", "sip rport",
		"sip contact matching", "sip whitelist", "sip local port",
		"sip local tls port", "sip dns query type",
		"sips trusted certificates", "sips private key",
		"sip send mac", "sip send line",
		"sip outbound keepalive timer", "sip recovery base timer",
		"sip recovery max timer", "sip failback delay",
		"sip failback successes", "sip outbound standby",
		"sip failback policy", "sip call failover",
		"sip line inheritance", "sip subscribe",
		"sip registration rate", "sip subscription rate",
		"aastra_cfg_path",
		"aastra_cfg_model", "aastra_cfg_mac", "aastra_cfg_url",
		"aastra_http_listen", "aastra_http_token",
	};
	size_t i;

	(void)state;

	for (i=0; i<COUNT(namev); i++) {
		if (!find_key(namev[i]))
			fail_msg("no key '%s'", namev[i]);
	}

	assert_true(aa_config_key_count() >= COUNT(namev));
	assert_null(aa_config_key_at(aa_config_key_count()));
}


static void test_table_sane(void **state)
{
	size_t i, j;

	(void)state;

	for (i=0; i<aa_config_key_count(); i++) {
		const struct aa_key *key = aa_config_key_at(i);

		assert_non_null(key->name);
		assert_non_null(key->unit);
		assert_non_null(key->does);
		assert_non_null(key->guide);
		assert_true(strlen(key->does) > 10);
		assert_int_equal('.', key->does[strlen(key->does) - 1]);
		assert_in_range(key->scope, AA_SCOPE_GLOBAL, AA_SCOPE_BOTH);
		assert_in_range(key->set, 0, AA_SET_COUNT - 1);
		assert_in_range(key->type, 0, AA_TYPE_COUNT - 1);
		assert_string_not_equal("?", aa_key_type_name(key->type));

		if (key->state == AA_KEY_IGNORED)
			assert_non_null(key->reason);

		if (key->type == AA_TYPE_NUMBER) {
			assert_true(key->min < key->max);
			assert_true((key->zero && !key->def) ||
				    (key->def >= key->min &&
				     key->def <= key->max));
		}

		if (key->type == AA_TYPE_CHOICE) {
			assert_non_null(key->values);
			assert_non_null(key->deftext);
		}

		if (key->baresip_only)
			assert_int_equal(AA_SCOPE_GLOBAL, key->scope);

		for (j=0; j<i; j++)
			assert_int_not_equal(0, str_casecmp(
				key->name, aa_config_key_at(j)->name));
	}

	assert_string_equal("?", aa_key_type_name(AA_TYPE_COUNT));
	assert_true(find_key("sip password")->secret);
}


/** Each number at and around its bounds, in both spellings and for a line */
static void test_table_ranges(void **state)
{
	size_t i, j;

	(void)state;

	for (i=0; i<aa_config_key_count(); i++) {
		const struct aa_key *key = aa_config_key_at(i);
		const struct {
			int64_t written;
			uint32_t used;
			const char *finding;
		} casev[] = {
			{key->min,                key->min, NULL},
			{key->max,                key->max, NULL},
			{(int64_t)key->max + 1,   key->max, "lowered to"},
			{99999999999,             key->max, "lowered to"},
			{(int64_t)key->min - 1,   key->min, "raised to"},
		};

		if (key->type != AA_TYPE_NUMBER ||
		    !(key->scope & AA_SCOPE_GLOBAL))
			continue;

		for (j=0; j<COUNT(casev); j++) {
			struct report rep = {.n = 0};
			struct aa_config *cfg;
			char buf[256];

			/* 0 is allowed beside the range, -1 becomes 0 */
			if (key->zero && casev[j].written < key->min)
				continue;

			(void)re_snprintf(buf, sizeof(buf), "%s: %lld",
					  key->name,
					  (long long)casev[j].written);
			cfg = load(&rep, buf, NULL);

			assert_int_equal(casev[j].used,
					 aa_config_u32(cfg, 0, key->name));

			if (casev[j].finding)
				assert_reported(&rep, casev[j].finding);
			else
				assert_false(reported(&rep, "' is "));

			mem_deref(cfg);
			report_reset(&rep);
		}
	}
}


/** Every key is known in every spelling that it has */
static void test_table_spellings(void **state)
{
	size_t i, j;

	(void)state;

	for (i=0; i<aa_config_key_count(); i++) {
		const struct aa_key *key = aa_config_key_at(i);
		struct report rep = {.n = 0};
		struct aa_config *cfg;
		const char *value;
		char name[128], buf[512];

		switch (key->type) {

		case AA_TYPE_NUMBER:    value = "1000";              break;
		case AA_TYPE_PORT:      value = "5070";              break;
		case AA_TYPE_MAC:       value = "00085D1610DE";      break;
		case AA_TYPE_URL:       value = "http://x.example/"; break;
		case AA_TYPE_LISTEN:    value = "127.0.0.1:8080";    break;
		case AA_TYPE_SUBSCRIBE: value = "dialog 200";        break;
		case AA_TYPE_BOOL:      value = "1";                 break;
		case AA_TYPE_CHOICE:
			value = key->values[0] == '0' ? "1" :
				!strncmp(key->values, "set", 3) ? "key" :
				"auto";
			break;
		default:                value = "x";                 break;
		}

		str_ncpy(name, key->name, sizeof(name));
		for (j=0; name[j]; j++) {
			if (name[j] == ' ' || name[j] == '-')
				name[j] = '_';
		}

		(void)re_snprintf(buf, sizeof(buf), "%s %s", name, value);

		if (key->scope == AA_SCOPE_LINE)
			(void)re_snprintf(buf, sizeof(buf),
					  "sip_line1_%s %s", &name[4], value);

		cfg = load(&rep, buf, NULL);
		assert_false(reported(&rep, "unknown"));
		assert_non_null(aa_config_str(cfg, 1, key->name));
		mem_deref(cfg);
		report_reset(&rep);

		if (!key->baresip_only && key->scope & AA_SCOPE_GLOBAL) {
			(void)re_snprintf(buf, sizeof(buf), "%s: %s",
					  key->name, value);
			cfg = load(&rep, NULL, buf);
			assert_false(reported(&rep, "unknown"));
			assert_non_null(aa_config_str(cfg, 0, key->name));
			mem_deref(cfg);
			report_reset(&rep);
		}

		if (key->scope & AA_SCOPE_LINE) {
			(void)re_snprintf(buf, sizeof(buf),
					  "sip line12 %s: %s", &key->name[4],
					  value);
			cfg = load(&rep, NULL, buf);
			assert_false(reported(&rep, "unknown"));
			assert_non_null(aa_config_str(cfg, 12, key->name));
			assert_null(aa_config_str(cfg, 11, key->name));
			mem_deref(cfg);
			report_reset(&rep);
		}
	}
}


/* ---- Layers ----------------------------------------------------------- */


static void test_layers(void **state)
{
	static const struct {
		enum aa_config_layer layer;
		const char *text;
	} stepv[] = {
		{AA_LAYER_AASTRA,  "sip outbound proxy: a.example"},
		{AA_LAYER_MODEL,   "sip outbound proxy: b.example"},
		{AA_LAYER_MAC,     "sip outbound proxy: c.example"},
		{AA_LAYER_BARESIP, "sip outbound proxy: d.example"},
		{AA_LAYER_BARESIP, "sip_outbound_proxy e.example"},
	};
	struct aa_config_text textv[COUNT(stepv)];
	size_t n, i;

	(void)state;

	/* whatever the order of reading */
	for (n=1; n<=COUNT(stepv); n++) {
		struct aa_config *cfg = NULL;

		for (i=0; i<n; i++)
			textv[n - 1 - i] = text_of(stepv[i].layer,
						   stepv[i].text);

		assert_int_equal(0, aa_config_alloc_text(&cfg, textv, n,
							 NULL, NULL));
		assert_string_equal(strchr(stepv[n - 1].text, '.') - 1,
				    aa_config_str(cfg, 0,
						  "sip outbound proxy"));
		mem_deref(cfg);
	}
}


static void test_spellings(void **state)
{
	static const struct {
		const char *text;
		const char *host;
		const char *finding;
	} casev[] = {
		{"sip line1 backup outbound proxy: 10.0.0.2\n", "10.0.0.2",
		 NULL},
		{"sip_line1_backup_outbound_proxy 10.0.0.2\n", "10.0.0.2",
		 NULL},
		/* the underscore wins, wherever it stands */
		{"sip_line1_backup_outbound_proxy 10.0.0.2\n"
		 "sip line1 backup outbound proxy: 10.0.0.3\n", "10.0.0.2",
		 "config:1: key 'sip_line1_backup_outbound_proxy': replaces "
		 "line 2 of the same file"},
		{"sip line1 backup outbound proxy: 10.0.0.3\n"
		 "sip_line1_backup_outbound_proxy 10.0.0.2\n", "10.0.0.2",
		 "config:2: key 'sip_line1_backup_outbound_proxy': replaces "
		 "line 1 of the same file"},
		/* the later line within one spelling */
		{"sip line1 backup outbound proxy: 10.0.0.2\n"
		 "sip line1 backup outbound proxy: 10.0.0.3\n", "10.0.0.3",
		 "config:2: key 'sip line1 backup outbound proxy': replaces "
		 "line 1 of the same file"},
		{"sip_line1_backup_outbound_proxy 10.0.0.2\n"
		 "sip_line1_backup_outbound_proxy 10.0.0.3\n", "10.0.0.3",
		 "config:2: key 'sip_line1_backup_outbound_proxy': replaces "
		 "line 1 of the same file"},
		/* names are not case-sensitive */
		{"SIP Line1 BACKUP Outbound Proxy: 10.0.0.2\n", "10.0.0.2",
		 NULL},
		{"SIP_LINE1_backup_OUTBOUND_proxy 10.0.0.2\n", "10.0.0.2",
		 NULL},
		/* both at once */
		{"sip_line1_backup_outbound_proxy: 10.0.0.2\n", "10.0.0.2",
		 NULL},
		{"sip line01 backup outbound proxy: 10.0.0.2\n", "10.0.0.2",
		 NULL},
	};
	size_t i;

	(void)state;

	for (i=0; i<COUNT(casev); i++) {
		struct report rep = {.n = 0};
		struct aa_config *cfg = load(&rep, casev[i].text, NULL);
		struct aa_line_config lc;

		assert_int_equal(0, aa_config_line(cfg, 1, &account, &lc));
		assert_server(&lc, OUTBOUND, BACKUP, casev[i].host, 0);
		assert_int_equal(casev[i].finding ? 1 : 0, rep.n);
		if (casev[i].finding)
			assert_string_equal(casev[i].finding, rep.textv[0]);

		mem_deref(cfg);
		report_reset(&rep);
	}
}


/* baresip's own lines are none of our business */
static void test_baresip_lines(void **state)
{
	static const char text[] =
		"#\n# baresip configuration\n#\n\n"
		"poll_method\t\tepoll\t\t# poll, select, epoll ..\n"
		"sip_listen 0.0.0.0:5060\n"
		"sip_certificate\tcert.pem\n"
		"sip_cafile /etc/ssl/certs/ca-certificates.crt\n"
		"sip_capath /etc/ssl/certs\n"
		"sip_transports udp,tcp,tls,ws,wss\n"
		"sip_trans_def udp\n"
		"sip_verify_server yes\n"
		"sip_verify_client yes\n"
		"sip_tls_resumption all\n"
		"sip_tos 160\n"
		"sip_nat stun\n"
		"sip_nat_outbound sip:10.0.0.1\n"
		"sip_cuser_random yes\n"
		"sip_autoanswer yes\n"
		"sip_autoanswer_beep yes\n"
		"sip_autoredirect yes\n"
		"sip_something_new 1\n"
		"call_local_timeout\t120\n"
		"call_max_calls 4\n"
		"audio_path\t\t/usr/share/baresip\n"
		"audio_player alsa,default\n"
		"rtp_tos 184\n"
		"rtp_ports 10000-20000\n"
		"module_path /usr/lib/baresip/modules\n"
		"module\t\t\tstdio.so\n"
		"module_app aastra.so\n"
		"module_tmp uuid.so\n"
		"http_listen 0.0.0.0:8000\n"
		"ctrl_tcp_listen 0.0.0.0:4444\n"
		"ringback_disabled no\n"
		"snd_path /tmp\n"
		"video_size 640x480\n"
		"redial_attempts 3\n"
		"dns_server 10.0.0.1:53\n"
		"foo bar: baz\n";
	struct report rep = {.n = 0};
	struct aa_config *cfg = load(&rep, text, NULL);
	size_t i;

	(void)state;

	for (i=0; i<rep.n; i++)
		print_error("%s\n", rep.textv[i]);
	assert_int_equal(0, rep.n);
	assert_int_equal(0, aa_config_max_line(cfg));

	mem_deref(cfg);
}


static void test_locks(void **state)
{
	const struct aa_config_text textv[] = {
		text_of(AA_LAYER_AASTRA,
			"!sip proxy port: 5062\n^sip proxy ip: 10.0.0.1\n"),
		text_of(AA_LAYER_MODEL, "!sip registrar port: 5064\n"),
		text_of(AA_LAYER_MAC, "sip registrar port: 5065\n"
			"!^sip backup proxy ip: 10.0.0.2\n"),
	};
	struct aa_config *cfg = NULL;

	(void)state;

	assert_int_equal(0, aa_config_alloc_text(&cfg, textv, COUNT(textv),
						 NULL, NULL));

	assert_listed(cfg, 0, NULL,
		      " sip proxy port 5062 aastra.cfg:1 locked\n");
	assert_listed(cfg, 0, NULL,
		      " sip proxy ip 10.0.0.1 aastra.cfg:2 overwrites\n");
	assert_listed(cfg, 0, NULL,
		      " sip backup proxy ip 10.0.0.2 00085D1610DE.cfg:2 "
		      "locked overwrites\n");

	/* a plain value in a later file lifts the lock */
	assert_listed(cfg, 0, NULL,
		      " sip registrar port 5065 00085D1610DE.cfg:1\n");

	mem_deref(cfg);
}


/* ---- Settings of a line ----------------------------------------------- */


static void test_defaults(void **state)
{
	struct aa_line_config lc;

	(void)state;

	memset(&lc, 0xa5, sizeof(lc));
	get_line(&lc, "", NULL, 3, NULL);

	assert_int_equal(3, lc.line);
	assert_string_equal("", lc.user_name);
	assert_string_equal("", lc.password);
	assert_server(&lc, PROXY, PRIMARY, "", 0);
	assert_server(&lc, REGISTRAR, PRIMARY, "", 0);
	assert_server(&lc, OUTBOUND, PRIMARY, "", 0);
	assert_server(&lc, OUTBOUND, BACKUP, "", 0);
	assert_server(&lc, OUTBOUND, AA_RANK_NONE, "", 0);
	assert_int_equal(AA_SCENARIO_NONE, lc.scenario);
	assert_int_equal(AA_TRANSPORT_UDP, lc.transport);
	assert_false(lc.outbound);
	assert_false(lc.from_files);
	assert_false(lc.registers);
	assert_int_equal(3600, lc.registration_period);
	assert_int_equal(1800, lc.registration_retry);
	assert_int_equal(120, lc.registration_timeout_retry);
	assert_int_equal(15, lc.registration_renewal);
	assert_int_equal(4000, lc.transaction_timer);
	assert_int_equal(25, lc.keepalive_timer);
	assert_int_equal(30, lc.recovery_base);
	assert_int_equal(1800, lc.recovery_max);
	assert_int_equal(0, lc.failback_delay);
	assert_int_equal(1, lc.failback_successes);
	assert_int_equal(0, lc.standby);
	assert_int_equal(AA_FAILBACK_IDLE, lc.failback);
	assert_true(lc.call_failover);
	assert_false(lc.explicit_mwi);
	assert_int_equal(3600, lc.explicit_mwi_period);
	assert_int_equal(3600, lc.blf_period);
	assert_int_equal(0, lc.subscription_timeout_retry);
	assert_int_equal(0, lc.subscription_failed_retry);
	assert_string_equal("", lc.subscribe);
}


/** Every setting arrives in its field, global or per line */
static void test_settings(void **state)
{
	static const char * const whov[] = {"sip", "sip line1"};
	size_t i;

	(void)state;

	for (i=0; i<COUNT(whov); i++) {
		struct aa_line_config lc;
		const char *w = whov[i];
		char *text = NULL;

		assert_int_equal(0, re_sdprintf(&text,
			"%s user name: 200\n%s auth name: auth200\n"
			"%s password: pw\n%s display name: Zw\xc3\xb6lf\n"
			"%s screen name: Desk\n"
			"%s proxy ip: p1\n%s proxy port: 5001\n"
			"%s backup proxy ip: p2\n%s backup proxy port: 5002\n"
			"%s registrar ip: r1\n%s registrar port: 5003\n"
			"%s backup registrar ip: r2\n"
			"%s backup registrar port: 5004\n"
			"%s outbound proxy: o1\n%s outbound proxy port: 5005\n"
			"%s backup outbound proxy: o2\n"
			"%s backup outbound proxy port: 5006\n",
			w, w, w, w, w, w, w, w, w, w, w, w, w, w, w, w, w));
		get_line(&lc, text, NULL, 1, NULL);
		text = mem_deref(text);

		assert_string_equal("200", lc.user_name);
		assert_string_equal("auth200", lc.auth_name);
		assert_string_equal("pw", lc.password);
		assert_string_equal("Zw\xc3\xb6lf", lc.display_name);
		assert_string_equal("Desk", lc.screen_name);
		assert_server(&lc, PROXY, PRIMARY, "p1", 5001);
		assert_server(&lc, PROXY, BACKUP, "p2", 5002);
		assert_server(&lc, REGISTRAR, PRIMARY, "r1", 5003);
		assert_server(&lc, REGISTRAR, BACKUP, "r2", 5004);
		assert_server(&lc, OUTBOUND, PRIMARY, "o1", 5005);
		assert_server(&lc, OUTBOUND, BACKUP, "o2", 5006);
		assert_int_equal(AA_SCENARIO_ALL, lc.scenario);
		assert_true(lc.registers);

		assert_int_equal(0, re_sdprintf(&text,
			"%s registration period: 120\n"
			"%s registration retry timer: 31\n"
			"%s registration timeout retry timer: 32\n"
			"%s registration renewal timer: 33\n"
			"%s transaction timer: 501\n"
			"%s outbound keepalive timer: 34\n"
			"%s recovery base timer: 35\n"
			"%s recovery max timer: 36\n"
			"%s failback delay: 37\n"
			"%s failback successes: 3\n"
			"%s outbound standby: 2\n"
			"%s failback policy: Manual\n"
			"%s call failover: 0\n"
			"%s outbound support: 1\n"
			"%s transport protocol: 4\n"
			"%s explicit mwi subscription: 1\n"
			"%s explicit mwi subscription period: 130\n"
			"%s blf subscription period: 140\n"
			"sip subscription timeout retry timer: 41\n"
			"sip subscription failed retry timer: 42\n"
			"sip line1 subscribe: dialog 200 ,presence  201\n",
			w, w, w, w, w, w, w, w, w, w, w, w, w, w, w, w, w,
			w));
		get_line(&lc, text, NULL, 1, &account);
		text = mem_deref(text);

		assert_int_equal(120, lc.registration_period);
		assert_int_equal(31, lc.registration_retry);
		assert_int_equal(32, lc.registration_timeout_retry);
		assert_int_equal(33, lc.registration_renewal);
		assert_int_equal(501, lc.transaction_timer);
		assert_int_equal(34, lc.keepalive_timer);
		assert_int_equal(35, lc.recovery_base);
		assert_int_equal(36, lc.recovery_max);
		assert_int_equal(37, lc.failback_delay);
		assert_int_equal(3, lc.failback_successes);
		assert_int_equal(2, lc.standby);
		assert_int_equal(AA_FAILBACK_MANUAL, lc.failback);
		assert_false(lc.call_failover);
		assert_true(lc.outbound);
		assert_int_equal(AA_TRANSPORT_TLS, lc.transport);
		assert_true(lc.explicit_mwi);
		assert_int_equal(130, lc.explicit_mwi_period);
		assert_int_equal(140, lc.blf_period);
		assert_int_equal(41, lc.subscription_timeout_retry);
		assert_int_equal(42, lc.subscription_failed_retry);
		assert_string_equal("dialog 200, presence 201", lc.subscribe);
	}
}


static void test_choices(void **state)
{
	static const struct {
		const char *text;
		enum aa_transport transport;
	} tpv[] = {
		{"sip transport protocol: 0", AA_TRANSPORT_ANY},
		{"sip transport protocol: 1", AA_TRANSPORT_UDP},
		{"sip transport protocol: 2", AA_TRANSPORT_TCP},
		{"sip transport protocol: 4", AA_TRANSPORT_TLS},
		{"sip transport protocol: 3", AA_TRANSPORT_UNSET},
		{"",                          AA_TRANSPORT_UNSET},
	};
	static const struct {
		const char *text;
		enum aa_failback failback;
	} fbv[] = {
		{"sip failback policy: auto",   AA_FAILBACK_AUTO},
		{"sip failback policy: idle",   AA_FAILBACK_IDLE},
		{"sip failback policy: MANUAL", AA_FAILBACK_MANUAL},
		{"sip failback policy: never",  AA_FAILBACK_IDLE},
	};
	struct aa_account_facts facts = account;
	struct aa_line_config lc;
	struct aa_config *cfg;
	size_t i;

	(void)state;

	for (i=0; i<COUNT(tpv); i++) {

		/* the account says it where the key does not */
		facts.transport = AA_TRANSPORT_UNSET;
		get_line(&lc, tpv[i].text, NULL, 1, &facts);
		assert_int_equal(tpv[i].transport, lc.transport);

		facts.transport = AA_TRANSPORT_TLS;
		get_line(&lc, tpv[i].text, NULL, 1, &facts);
		assert_int_equal(tpv[i].transport == AA_TRANSPORT_UNSET ?
				 AA_TRANSPORT_TLS : tpv[i].transport,
				 lc.transport);
	}

	for (i=0; i<COUNT(fbv); i++) {
		get_line(&lc, fbv[i].text, NULL, 1, &account);
		assert_int_equal(fbv[i].failback, lc.failback);
	}

	cfg = load(NULL, "sip transport protocol: 4\nsip mode: 3\n", NULL);
	assert_int_equal(4, aa_config_u32(cfg, 1, "sip transport protocol"));
	assert_int_equal(3, aa_config_u32(cfg, 1, "sip mode"));
	assert_int_equal(2, aa_config_u32(cfg, 1, "sip contact matching"));
	mem_deref(cfg);
}


/* one key gives an account that works today a backup */
static void test_account(void **state)
{
	struct aa_line_config lc;

	(void)state;

	get_line(&lc, "sip line1 backup outbound proxy: 10.0.0.2", NULL, 1,
		 &account);

	assert_server(&lc, PROXY, PRIMARY, "pbx.example.com", 0);
	assert_server(&lc, REGISTRAR, PRIMARY, "pbx.example.com", 0);
	assert_server(&lc, OUTBOUND, PRIMARY, "10.0.0.1", 5060);
	assert_server(&lc, OUTBOUND, BACKUP, "10.0.0.2", 0);
	assert_int_equal(AA_SCENARIO_OUTBOUND, lc.scenario);
	assert_int_equal(AA_TRANSPORT_TCP, lc.transport);
	assert_int_equal(600, lc.registration_period);
	assert_true(lc.outbound);
	assert_true(lc.registers);
	assert_false(lc.from_files);
	assert_string_equal("", lc.user_name);

	/* the account stays the primary in both ways of inheritance */
	get_line(&lc, "sip line1 backup outbound proxy: 10.0.0.2\n"
		 "sip line inheritance: key\n", NULL, 1, &account);
	assert_server(&lc, PROXY, PRIMARY, "pbx.example.com", 0);
	assert_server(&lc, OUTBOUND, PRIMARY, "10.0.0.1", 5060);

	/* a key says otherwise */
	get_line(&lc, "sip line1 registrar ip: 10.0.0.9\n"
		 "sip line1 registration period: 300\n", NULL, 1, &account);
	assert_server(&lc, PROXY, PRIMARY, "pbx.example.com", 0);
	assert_server(&lc, REGISTRAR, PRIMARY, "10.0.0.9", 0);
	assert_int_equal(300, lc.registration_period);

	/* 0 is the account's, else an hour */
	get_line(&lc, "sip registration period: 0", NULL, 1, &account);
	assert_int_equal(600, lc.registration_period);

	/* a line that a key describes has no account */
	get_line(&lc, "sip line1 user name: 300\nsip line1 proxy ip: p\n"
		 "sip line1 registrar ip: r\n", NULL, 1, &account);
	assert_string_equal("300", lc.user_name);
	assert_server(&lc, PROXY, PRIMARY, "p", 0);
	assert_server(&lc, OUTBOUND, PRIMARY, "", 0);
	assert_int_equal(AA_TRANSPORT_UDP, lc.transport);
	assert_int_equal(3600, lc.registration_period);
}


static void test_sets(void **state)
{
	static const char globals[] =
		"sip proxy ip: gp\nsip proxy port: 5070\n"
		"sip registrar ip: gr\nsip backup outbound proxy: gb\n"
		"sip registration period: 77\nsip auth name: ga\n"
		"sip password: gpw\nsip transaction timer: 5000\n"
		"sip failback delay: 9\n";
	struct report rep = {.n = 0};
	struct aa_line_config lc;
	struct aa_config *cfg;
	char text[1024];

	(void)state;

	/* no value of its own: the global ones count */
	get_line(&lc, globals, NULL, 2, &account);
	assert_server(&lc, PROXY, PRIMARY, "gp", 5070);
	assert_server(&lc, REGISTRAR, PRIMARY, "gr", 0);
	assert_server(&lc, OUTBOUND, BACKUP, "gb", 0);
	assert_int_equal(77, lc.registration_period);
	assert_string_equal("ga", lc.auth_name);

	/* one value of the Network set: all of its globals are gone, the
	   Authentication set and the timers stay */
	(void)re_snprintf(text, sizeof(text), "%ssip line2 proxy ip: lp\n",
			  globals);
	cfg = load(&rep, text, NULL);
	assert_int_equal(0, aa_config_line(cfg, 2, &account, &lc));
	assert_server(&lc, PROXY, PRIMARY, "lp", 0);
	assert_server(&lc, REGISTRAR, PRIMARY, "pbx.example.com", 0);
	assert_server(&lc, OUTBOUND, BACKUP, "", 0);
	assert_int_equal(600, lc.registration_period);
	assert_string_equal("ga", lc.auth_name);
	assert_string_equal("gpw", lc.password);
	assert_int_equal(5000, lc.transaction_timer);
	assert_int_equal(9, lc.failback_delay);

	assert_int_equal(1, rep.n);
	assert_int_equal(AA_CONFIG_INFO, rep.levelv[0]);
	assert_string_equal("config:10: key 'sip line2 proxy ip': line 2 has "
			    "values of the Network set of its own, so these "
			    "global ones do not count for it: 'sip proxy "
			    "port', 'sip registrar ip', 'sip backup outbound "
			    "proxy', 'sip registration period' ('sip line "
			    "inheritance: key' changes that)", rep.textv[0]);

	/* another line is not touched */
	assert_int_equal(0, aa_config_line(cfg, 3, &account, &lc));
	assert_server(&lc, PROXY, PRIMARY, "gp", 5070);
	mem_deref(cfg);
	report_reset(&rep);

	/* the Authentication set */
	(void)re_snprintf(text, sizeof(text), "%ssip line2 display name: D\n",
			  globals);
	cfg = load(&rep, text, NULL);
	assert_int_equal(0, aa_config_line(cfg, 2, &account, &lc));
	assert_string_equal("D", lc.display_name);
	assert_string_equal("", lc.auth_name);
	assert_string_equal("", lc.password);
	assert_server(&lc, PROXY, PRIMARY, "gp", 5070);
	assert_reported(&rep, "config:10: key 'sip line2 display name': "
			"line 2 has values of the Authentication set of its "
			"own, so these global ones do not count for it: "
			"'sip auth name', 'sip password' (");
	mem_deref(cfg);
	report_reset(&rep);

	/* a key of the set that is not used here counts all the same */
	(void)re_snprintf(text, sizeof(text), "%ssip line2 vmail: *97\n",
			  globals);
	get_line(&lc, text, NULL, 2, &account);
	assert_string_equal("", lc.auth_name);

	/* keys outside of the sets do not make one */
	(void)re_snprintf(text, sizeof(text), "%ssip line2 failback delay: 3\n"
			  "sip line2 transaction timer: 600\n"
			  "sip line2 subscribe: dialog 200\n", globals);
	get_line(&lc, text, NULL, 2, &account);
	assert_server(&lc, PROXY, PRIMARY, "gp", 5070);
	assert_int_equal(3, lc.failback_delay);

	/* neither do values that are none */
	(void)re_snprintf(text, sizeof(text), "%ssip line2 proxy ip:\n"
			  "sip line2 backup registrar ip: 0.0.0.0\n"
			  "sip line2 registrar port: 0\n"
			  "sip line2 registration period: 0\n"
			  "sip line2 outbound proxy: 1.2.3.4.5\n", globals);
	cfg = load(&rep, text, NULL);
	assert_int_equal(0, aa_config_line(cfg, 2, &account, &lc));
	assert_server(&lc, PROXY, PRIMARY, "gp", 5070);
	assert_server(&lc, REGISTRAR, PRIMARY, "gr", 0);
	assert_false(reported(&rep, "of its own"));
	mem_deref(cfg);
	report_reset(&rep);
}


static void test_inheritance_key(void **state)
{
	static const char * const wayv[] = {
		"sip line inheritance: key",
		"sip line inheritance: KEY",
		"sip_line_inheritance key",
		"sip line2 line inheritance: key",
		"sip line2 inheritance: key",
		"sip_line2_inheritance key",
		"sip line inheritance: set\nsip line2 line inheritance: key",
	};
	size_t i;

	(void)state;

	for (i=0; i<COUNT(wayv); i++) {
		struct report rep = {.n = 0};
		struct aa_line_config lc;
		struct aa_config *cfg;
		char text[512];

		(void)re_snprintf(text, sizeof(text),
				  "sip proxy ip: gp\nsip proxy port: 5070\n"
				  "sip backup outbound proxy: gb\n"
				  "sip auth name: ga\nsip password: gpw\n"
				  "sip line2 proxy ip: lp\n"
				  "sip line2 display name: D\n%s\n", wayv[i]);
		cfg = load(&rep, text, NULL);
		assert_int_equal(0, aa_config_line(cfg, 2, &account, &lc));

		/* each key alone */
		assert_server(&lc, PROXY, PRIMARY, "lp", 5070);
		assert_server(&lc, OUTBOUND, BACKUP, "gb", 0);
		assert_string_equal("ga", lc.auth_name);
		assert_string_equal("D", lc.display_name);
		assert_int_equal(0, rep.n);

		mem_deref(cfg);
		report_reset(&rep);
	}
}


/* a global user name describes line 1, and line 1 only */
static void test_user_name(void **state)
{
	static const char text[] =
		"sip user name: 100\nsip auth name: ga\nsip password: gpw\n"
		"sip proxy ip: gp\nsip line3 user name: 300\n";
	struct aa_config *cfg = load(NULL, text, NULL);
	struct aa_line_config lc;

	(void)state;

	assert_int_equal(3, aa_config_max_line(cfg));
	assert_true(aa_config_describes_line(cfg, 1));
	assert_false(aa_config_describes_line(cfg, 2));
	assert_true(aa_config_describes_line(cfg, 3));
	assert_true(aa_config_names_line(cfg, 1));
	assert_false(aa_config_names_line(cfg, 2));
	assert_true(aa_config_names_line(cfg, 3));
	assert_false(aa_config_names_line(cfg, 0));
	assert_false(aa_config_describes_line(cfg, 0));

	assert_int_equal(0, aa_config_line(cfg, 1, &account, &lc));
	assert_string_equal("100", lc.user_name);
	assert_string_equal("ga", lc.auth_name);

	/* the account of line 2 keeps its own password */
	assert_int_equal(0, aa_config_line(cfg, 2, &account, &lc));
	assert_string_equal("", lc.user_name);
	assert_string_equal("", lc.auth_name);
	assert_string_equal("", lc.password);
	assert_server(&lc, PROXY, PRIMARY, "gp", 0);

	assert_int_equal(0, aa_config_line(cfg, 3, NULL, &lc));
	assert_string_equal("300", lc.user_name);
	assert_string_equal("", lc.password);
	assert_server(&lc, PROXY, PRIMARY, "gp", 0);

	mem_deref(cfg);

	/* hidden by the own set of line 1 */
	cfg = load(NULL, "sip user name: 100\nsip line1 vmail: 1\n", NULL);
	assert_false(aa_config_describes_line(cfg, 1));
	assert_true(aa_config_names_line(cfg, 1));
	mem_deref(cfg);

	/* the same values for every line */
	cfg = load(NULL, "sip line inheritance: key\nsip auth name: ga\n"
		   "sip password: gpw\nsip proxy ip: gp\n"
		   "sip line1 user name: 1\nsip line2 user name: 2\n", NULL);
	assert_int_equal(0, aa_config_line(cfg, 2, NULL, &lc));
	assert_string_equal("2", lc.user_name);
	assert_string_equal("ga", lc.auth_name);
	assert_string_equal("gpw", lc.password);
	mem_deref(cfg);
}


/* 0.0.0.0, empty and 0, as the phones mean them */
static void test_nothing(void **state)
{
	struct aa_line_config lc;
	struct aa_config *cfg;

	(void)state;

	/* the default, written: as if it was not */
	get_line(&lc, "sip registrar ip: 0.0.0.0\nsip proxy ip: 0.0.0.0\n"
		 "sip outbound proxy: 0.0.0.0\nsip proxy port: 0\n"
		 "sip backup proxy ip: 0.0.0.0\n", NULL, 1, &account);
	assert_server(&lc, REGISTRAR, PRIMARY, "pbx.example.com", 0);
	assert_server(&lc, PROXY, PRIMARY, "pbx.example.com", 0);
	assert_server(&lc, OUTBOUND, PRIMARY, "10.0.0.1", 5060);
	assert_int_equal(AA_SCENARIO_NONE, lc.scenario);
	assert_true(lc.registers);

	/* for a line it says that there shall be none */
	get_line(&lc, "sip registrar ip: gr\nsip outbound proxy: go\n"
		 "sip backup outbound proxy: gb\n"
		 "sip line1 registrar ip: 0.0.0.0\n"
		 "sip line1 outbound proxy: ::\n"
		 "sip line1 backup outbound proxy: 0.0.0.0\n", NULL, 1,
		 &account);
	assert_server(&lc, REGISTRAR, PRIMARY, "", 0);
	assert_server(&lc, OUTBOUND, PRIMARY, "", 0);
	assert_server(&lc, OUTBOUND, BACKUP, "", 0);
	assert_server(&lc, PROXY, PRIMARY, "pbx.example.com", 0);
	assert_false(lc.registers);
	assert_int_equal(AA_SCENARIO_NONE, lc.scenario);

	/* not registering at all, not at a backup either */
	get_line(&lc, "sip line1 registrar ip: 0.0.0.0\n"
		 "sip line1 backup registrar ip: b\n", NULL, 1, &account);
	assert_false(lc.registers);
	assert_server(&lc, REGISTRAR, BACKUP, "", 0);

	/* empty: the later file takes the value of the earlier one away */
	cfg = load(NULL, "sip line1 backup proxy ip:\n"
		   "sip_line1_failback_delay\n",
		   "sip line1 backup proxy ip: b\nsip backup proxy ip: g\n"
		   "sip line1 failback delay: 3\nsip failback delay: 4\n");
	assert_int_equal(0, aa_config_line(cfg, 1, &account, &lc));
	assert_server(&lc, PROXY, BACKUP, "g", 0);
	assert_int_equal(4, lc.failback_delay);
	assert_null(aa_config_str(cfg, 0, "sip proxy ip"));
	assert_string_equal("g", aa_config_str(cfg, 1,
					       "sip backup proxy ip"));
	mem_deref(cfg);

	/* a line from keys without a registrar */
	get_line(&lc, "sip line1 user name: 1\nsip line1 proxy ip: p\n",
		 NULL, 1, NULL);
	assert_false(lc.registers);
	assert_server(&lc, PROXY, PRIMARY, "p", 0);
	assert_server(&lc, REGISTRAR, PRIMARY, "", 0);

	/* without a proxy: the registrar is the domain */
	get_line(&lc, "sip line1 user name: 1\nsip line1 registrar ip: r\n"
		 "sip line1 registrar port: 5070\n", NULL, 1, NULL);
	assert_true(lc.registers);
	assert_server(&lc, PROXY, PRIMARY, "r", 5070);
}


static void test_addresses(void **state)
{
	static const struct {
		const char *written, *host;
	} casev[] = {
		{"10.0.0.2",                 "10.0.0.2"},
		{"255.255.255.255",          "255.255.255.255"},
		{"pbx",                      "pbx"},
		{"PBX.Example.COM",          "PBX.Example.COM"},
		{"pbx.example.com.",         "pbx.example.com"},
		{"a-b.c_d.e0",               "a-b.c_d.e0"},
		{"3com.example",             "3com.example"},
		{"2001:db8::1",              "2001:db8::1"},
		{"[2001:db8::1]",            "2001:db8::1"},
		{"::ffff:10.0.0.2",          "::ffff:10.0.0.2"},
		{"x", "x"},
		{"123456789012345678901234567890123456789012345678901234567"
		 "890abc.x",
		 "123456789012345678901234567890123456789012345678901234567"
		 "890abc.x"},
		{"\"10.0.0.2\"",             "10.0.0.2"},
		{"10.0.0.2   # backup",      "10.0.0.2"},
		{"0.0.0.0",                  ""},
		{"::",                       ""},
		{"[::]",                     ""},
		{"",                         ""},
		{"\"\"",                     ""},
		{"   ",                      ""},
	};
	size_t i;

	(void)state;

	for (i=0; i<COUNT(casev); i++) {
		struct aa_line_config lc;
		char text[256];

		(void)re_snprintf(text, sizeof(text),
				  "sip line1 backup outbound proxy: %s\n"
				  "sip_line2_backup_outbound_proxy %s\n",
				  casev[i].written, casev[i].written);

		get_line(&lc, text, NULL, 1, &account);
		assert_server(&lc, OUTBOUND, BACKUP, casev[i].host, 0);
		get_line(&lc, text, NULL, 2, &account);
		assert_server(&lc, OUTBOUND, BACKUP, casev[i].host, 0);
	}
}


/* `sip outbound support` where it is not written */
static void test_outbound_default(void **state)
{
	static const struct {
		const char *baresip, *file;
		bool outbound, from_files;
		const char *listed;
	} casev[] = {
		{"", NULL, false, false, "0 default (no backup)"},
		{"sip_backup_outbound_proxy b", NULL, true, false,
		 "1 default (a backup, not from *.cfg)"},
		{"sip_backup_proxy_ip b", NULL, true, false,
		 "1 default (a backup, not from *.cfg)"},
		{"sip_line1_backup_registrar_ip b", NULL, true, false,
		 "1 default (a backup, not from *.cfg)"},
		{NULL, "sip backup outbound proxy: b", false, true,
		 "0 default (servers from *.cfg)"},
		{"sip_backup_outbound_proxy b", "sip proxy ip: p", false, true,
		 "0 default (servers from *.cfg)"},
		{"sip_backup_outbound_proxy b", "sip transaction timer: 5000",
		 true, false, "1 default (a backup, not from *.cfg)"},
		/* the file's value is not the one in force */
		{"sip_backup_outbound_proxy b", "sip backup outbound proxy: c",
		 true, false, "1 default (a backup, not from *.cfg)"},
		{"sip_backup_outbound_proxy b\nsip_outbound_support 0", NULL,
		 false, false, "0 config:2"},
		{NULL, "sip backup outbound proxy: b\nsip outbound support: 1",
		 true, true, "1 aastra.cfg:2"},
		{"sip_line1_outbound_support 1", "sip outbound support: 0",
		 true, false, "1 config:1"},
	};
	size_t i;

	(void)state;

	for (i=0; i<COUNT(casev); i++) {
		struct aa_config *cfg = load(NULL, casev[i].baresip,
					     casev[i].file);
		struct aa_account_facts facts = account;
		struct aa_line_config lc;
		char row[128];

		/* `sipnat=outbound` counts where there is no backup */
		if (!i) {
			facts.flows = true;
			assert_int_equal(0, aa_config_line(cfg, 1, &facts,
							   &lc));
			assert_true(lc.outbound);
			assert_listed(cfg, 1, &facts,
				      "outbound support 1 account\n");
		}
		facts.flows = i > 0;

		assert_int_equal(0, aa_config_line(cfg, 1, &facts, &lc));
		assert_int_equal(casev[i].outbound, lc.outbound);
		assert_int_equal(casev[i].from_files, lc.from_files);

		(void)re_snprintf(row, sizeof(row), "outbound support %s\n",
				  casev[i].listed);
		assert_listed(cfg, 1, &facts, row);
		if (!strstr(casev[i].baresip ? casev[i].baresip : "",
			    "outbound_support") &&
		    !strstr(casev[i].file ? casev[i].file : "",
			    "outbound support"))
			assert_listed(cfg, 0, NULL, "outbound support 1 or 0 "
				      "default (which: aastra_config N)\n");

		mem_deref(cfg);
	}
}


static void test_scenarios(void **state)
{
	static const struct {
		const char *text;
		enum aa_scenario scenario;
	} casev[] = {
		{"",                              AA_SCENARIO_NONE},
		{"sip_backup_proxy_ip b",         AA_SCENARIO_PROXY_REGISTRAR},
		{"sip_backup_registrar_ip b",     AA_SCENARIO_PROXY_REGISTRAR},
		{"sip_backup_registrar_ip b\n"
		 "sip_backup_proxy_ip b",         AA_SCENARIO_PROXY_REGISTRAR},
		{"sip_backup_outbound_proxy b",   AA_SCENARIO_OUTBOUND},
		{"sip_backup_outbound_proxy b\n"
		 "sip_backup_proxy_ip b\n"
		 "sip_backup_registrar_ip b",     AA_SCENARIO_ALL},
		{"sip_backup_outbound_proxy b\n"
		 "sip_backup_registrar_ip b",     AA_SCENARIO_ALL},
		/* one that is its own primary is none */
		{"sip_backup_outbound_proxy 10.0.0.1",     AA_SCENARIO_NONE},
		{"sip_backup_outbound_proxy 10.0.0.1\n"
		 "sip_backup_outbound_proxy_port 5060",    AA_SCENARIO_NONE},
		{"sip_backup_outbound_proxy 10.0.0.1\n"
		 "sip_backup_outbound_proxy_port 5070",
		 AA_SCENARIO_OUTBOUND},
		{"sip_backup_proxy_ip PBX.example.com",    AA_SCENARIO_NONE},
		/* SRV is not port 5060 */
		{"sip_backup_proxy_ip pbx.example.com\n"
		 "sip_backup_proxy_port 5060",
		 AA_SCENARIO_PROXY_REGISTRAR},
		{"sip_backup_outbound_proxy b\n"
		 "sip_backup_proxy_ip pbx.example.com\n"
		 "sip_backup_registrar_ip pbx.example.com",
		 AA_SCENARIO_OUTBOUND},
	};
	size_t i;

	(void)state;

	for (i=0; i<COUNT(casev); i++) {
		struct aa_line_config lc;

		get_line(&lc, casev[i].text, NULL, 1, &account);
		assert_int_equal(casev[i].scenario, lc.scenario);
	}
}


static void test_recovery(void **state)
{
	struct report rep = {.n = 0};
	struct aa_line_config lc;
	struct aa_config *cfg;

	(void)state;

	cfg = load(&rep, "sip_recovery_base_timer 60\n"
		   "sip_recovery_max_timer 10\n"
		   "sip line2 recovery base timer: 1800\n"
		   "sip line3 recovery base timer: 5\n"
		   "sip line4 recovery max timer: 59\n", NULL);

	assert_int_equal(0, aa_config_line(cfg, 1, NULL, &lc));
	assert_int_equal(60, lc.recovery_base);
	assert_int_equal(60, lc.recovery_max);
	assert_reported(&rep, "config:2: key 'sip_recovery_max_timer': 10 s "
			"is below 'sip recovery base timer', raised to 60");

	assert_int_equal(0, aa_config_line(cfg, 2, NULL, &lc));
	assert_int_equal(1800, lc.recovery_max);
	assert_int_equal(0, aa_config_line(cfg, 3, NULL, &lc));
	assert_int_equal(5, lc.recovery_base);
	assert_int_equal(10, lc.recovery_max);
	assert_int_equal(0, aa_config_line(cfg, 4, NULL, &lc));
	assert_int_equal(60, lc.recovery_max);
	assert_reported(&rep, "config:5: key 'sip line4 recovery max timer': "
			"59 s is below");
	assert_listed(cfg, 4, NULL, " sip line4 recovery max timer 59 "
		      "config:5 (raised to the base timer)\n");

	mem_deref(cfg);
	report_reset(&rep);
}


/** The phones' keys for the same: they count where ours are not written */
static void test_phone_timers(void **state)
{
	static const struct {
		const char *text;
		uint32_t base, max;
	} casev[] = {
		{"",                                                30, 1800},
		{"sip registration timeout retry timer: 45",        45,   45},
		{"sip registration timeout retry timer: 90000",   1800, 86400},
		{"sip registration timeout retry timer: 45\n"
		 "sip recovery base timer: 3",                       3,   45},
		{"sip registration timeout retry timer: 45\n"
		 "sip recovery max timer: 600",                     45,  600},
		{"sip registration timeout retry timer: 45\n"
		 "sip blacklist duration: 7",                       45,   45},
		{"sip blacklist duration: 300",                     30,  300},
		{"sip blacklist duration: 10",                      10,   10},
		{"sip blacklist duration: 0",                       30, 1800},
		{"sip blacklist duration: 9999999",                 30, 86400},
		{"sip blacklist duration: 10\n"
		 "sip recovery max timer: 60\n"
		 "sip recovery base timer: 5",                       5,   60},
		/* the base timer lifts the longest wait */
		{"sip blacklist duration: 10\n"
		 "sip recovery base timer: 50",                     50,   50},
	};
	size_t i;

	(void)state;

	for (i=0; i<COUNT(casev); i++) {
		struct aa_line_config lc;

		get_line(&lc, NULL, casev[i].text, 1, &account);
		if (lc.recovery_base != casev[i].base ||
		    lc.recovery_max != casev[i].max)
			fail_msg("%s: %u-%u", casev[i].text, lc.recovery_base,
				 lc.recovery_max);
	}
}


static void test_persistent_tls(void **state)
{
#define PTLS "sips persistent tls: 1\n"
#define ALIVE "sip persistent tls keep alive: 90\n"
#define TLS "sip transport protocol: 4\n"
	static const struct {
		const char *text;
		bool outbound;
		uint32_t keepalive;
	} casev[] = {
		{PTLS ALIVE TLS,                             true,   90},
		{PTLS TLS,                                   false,  25},
		{ALIVE TLS,                                  false,  25},
		{PTLS ALIVE,                                 false,  25},
		{PTLS TLS "sip persistent tls keep alive: 0",     false,  25},
		{PTLS TLS "sip persistent tls keep alive: 86400", true,  840},
		{PTLS ALIVE TLS "sip outbound support: 0",        false,  90},
		{PTLS ALIVE TLS "sip outbound keepalive timer: 7", true,   7},
	};
	struct aa_config *cfg;
	size_t i;

	(void)state;

	for (i=0; i<COUNT(casev); i++) {
		struct aa_line_config lc;

		get_line(&lc, NULL, casev[i].text, 1, NULL);
		if (lc.outbound != casev[i].outbound ||
		    lc.keepalive_timer != casev[i].keepalive)
			fail_msg("%s: %d, %u", casev[i].text, lc.outbound,
				 lc.keepalive_timer);
	}

	cfg = load(NULL, NULL, PTLS ALIVE TLS);
	assert_listed(cfg, 1, NULL, " sip outbound keepalive timer 90 "
		      "default\n");
	assert_listed(cfg, 1, NULL, " sip outbound support 1 default "
		      "(keep-alives of persistent TLS)\n");
	mem_deref(cfg);
#undef PTLS
#undef ALIVE
#undef TLS
}


/** What a REGISTER says and is asked; rates move no line */
static void test_register(void **state)
{
	struct aa_line_config a, b;

	(void)state;

	get_line(&a, "aastra_cfg_mac 00085d1610de\n", NULL, 2, NULL);
	assert_string_equal("", a.mac);
	assert_false(a.send_line);
	assert_int_equal(2, a.contact_matching);
	assert_int_equal(50, a.subscription_rate);

	get_line(&b, "aastra_cfg_mac 00085d1610de\n",
		 "sip send mac: 1\nsip send line: 1\n"
		 "sip contact matching: 0\nsip subscription rate: 7\n", 2,
		 NULL);
	assert_string_equal("00085D1610DE", b.mac);
	assert_true(b.send_line);
	assert_int_equal(0, b.contact_matching);
	assert_int_equal(7, b.subscription_rate);
	assert_false(aa_line_config_equal(&a, &b));

	get_line(&b, NULL, "sip subscription rate: 7\n"
		 "sip registration rate: 8\n", 2, NULL);
	assert_true(aa_line_config_equal(&a, &b));
}


/** A hundred lamps in one value */
static void test_hundred_lamps(void **state)
{
	struct mbuf *mb = mbuf_alloc(4096);
	struct report rep = {.n = 0};
	struct aa_line_config lc;
	struct aa_config *cfg;
	char *text = NULL;
	unsigned n;

	(void)state;
	assert_non_null(mb);

	for (n=0; n<100; n++)
		assert_int_equal(0, mbuf_printf(mb, "%sdialog "
						"1%03u@pbx.example.com",
						n ? ", " : "", n));

	assert_int_equal(0, re_sdprintf(&text, "sip line1 subscribe: %b\n",
					mb->buf, mb->end));
	cfg = load(&rep, text, NULL);
	assert_int_equal(0, rep.n);
	assert_int_equal(0, aa_config_line(cfg, 1, NULL, &lc));
	assert_int_equal(mb->end, strlen(lc.subscribe));
	assert_memory_equal(mb->buf, lc.subscribe, mb->end);

	mem_deref(cfg);
	mem_deref(text);
	mem_deref(mb);
}


static void test_questions(void **state)
{
	struct re_printf pf = {print_handler, NULL};
	struct aa_config *cfg;
	struct aa_line_config lc;

	(void)state;

	cfg = load(NULL, "sip_local_port 5070\n"
		   "sip line2 transaction timer: 10\n"
		   "sip line7 proxy ip:\n"
		   "aastra_cfg_url https://u:p@host/x\n"
		   "aastra_http_listen [::1]:8080\n", NULL);

	assert_string_equal("5070", aa_config_str(cfg, 0, "sip local port"));
	assert_string_equal("5070", aa_config_str(cfg, 4, "sip local port"));
	assert_int_equal(5070, aa_config_u32(cfg, 0, "sip local port"));
	assert_int_equal(5061, aa_config_u32(cfg, 0, "sip local tls port"));
	assert_null(aa_config_str(cfg, 0, "sip local tls port"));
	assert_null(aa_config_str(cfg, 0, "sip transaction timer"));
	assert_string_equal("500", aa_config_str(cfg, 2,
						 "sip transaction timer"));
	assert_int_equal(500, aa_config_u32(cfg, 2, "sip transaction timer"));
	assert_int_equal(4000, aa_config_u32(cfg, 1,
					     "sip transaction timer"));
	assert_string_equal("https://u:p@host/x",
			    aa_config_str(cfg, 0, "aastra_cfg_url"));
	assert_string_equal("[::1]:8080",
			    aa_config_str(cfg, 0, "aastra_http_listen"));
	assert_null(aa_config_str(cfg, 0, "no such key"));
	assert_null(aa_config_str(cfg, 0, NULL));
	assert_null(aa_config_str(NULL, 0, "sip local port"));
	assert_int_equal(0, aa_config_u32(cfg, 0, "no such key"));

	/* empty values name no line */
	assert_int_equal(2, aa_config_max_line(cfg));
	assert_false(aa_config_names_line(cfg, 7));
	assert_int_equal(0, aa_config_max_line(NULL));

	assert_int_equal(EINVAL, aa_config_line(cfg, 0, NULL, &lc));
	assert_int_equal(EINVAL, aa_config_line(NULL, 1, NULL, &lc));
	assert_int_equal(EINVAL, aa_config_line(cfg, 1, NULL, NULL));
	assert_int_equal(EINVAL, aa_config_print(NULL, cfg, 0, NULL));
	assert_int_equal(EINVAL, aa_config_print(&pf, NULL, 0, NULL));
	assert_int_equal(EINVAL, aa_config_alloc(NULL, "/tmp", NULL, NULL,
						 NULL));
	assert_int_equal(EINVAL, aa_config_alloc_text(NULL, NULL, 0, NULL,
						      NULL));
	assert_int_equal(EINVAL, aa_config_status(NULL));
	assert_int_equal(0, aa_config_status(cfg));
	aa_config_check_line(NULL, 1, NULL);
	aa_config_check_lines(NULL, 1);

	mem_deref(cfg);
}


static void test_equal(void **state)
{
	struct aa_line_config a, b;

	(void)state;

	get_line(&a, "sip line1 backup outbound proxy: x", NULL, 1, &account);
	memset(&b, 0x5a, sizeof(b));
	get_line(&b, "sip_line1_backup_outbound_proxy X\n"
		 "sip failback delay: 0", NULL, 1, &account);

	assert_true(aa_line_config_equal(&a, &b));
	assert_true(aa_line_config_equal(&a, &a));
	assert_true(aa_line_config_equal(NULL, NULL));
	assert_false(aa_line_config_equal(&a, NULL));
	assert_false(aa_line_config_equal(NULL, &a));

#define DIFFERS(change) do { \
		b = a; \
		change; \
		assert_false(aa_line_config_equal(&a, &b)); \
	} while (0)

	DIFFERS(++b.line);
	DIFFERS(b.user_name[0] = 'x');
	DIFFERS(b.auth_name[0] = 'x');
	DIFFERS(b.password[0] = 'x');
	DIFFERS(b.display_name[0] = 'x');
	DIFFERS(b.screen_name[0] = 'x');
	DIFFERS(b.server[0][1].host[0] = 'x');
	DIFFERS(++b.server[2][2].port);
	DIFFERS(++b.scenario);
	DIFFERS(++b.transport);
	DIFFERS(b.outbound = !a.outbound);
	DIFFERS(b.from_files = !a.from_files);
	DIFFERS(b.registers = !a.registers);
	DIFFERS(++b.registration_period);
	DIFFERS(++b.registration_retry);
	DIFFERS(++b.registration_timeout_retry);
	DIFFERS(++b.registration_renewal);
	DIFFERS(++b.transaction_timer);
	DIFFERS(++b.contact_matching);
	DIFFERS(b.mac[0] = 'x');
	DIFFERS(b.send_line = !a.send_line);
	DIFFERS(++b.keepalive_timer);
	DIFFERS(++b.recovery_base);
	DIFFERS(++b.recovery_max);
	DIFFERS(++b.failback_delay);
	DIFFERS(++b.failback_successes);
	DIFFERS(++b.standby);
	DIFFERS(++b.dns_query_type);
	DIFFERS(++b.failback);
	DIFFERS(b.call_failover = !a.call_failover);
	DIFFERS(b.explicit_mwi = !a.explicit_mwi);
	DIFFERS(++b.explicit_mwi_period);
	DIFFERS(++b.blf_period);
	DIFFERS(++b.subscription_timeout_retry);
	DIFFERS(++b.subscription_failed_retry);
	DIFFERS(b.subscribe[0] = 'x');

#undef DIFFERS
}


/* ---- Findings that need more than one value --------------------------- */


static void test_counterparts(void **state)
{
	static const struct {
		const char *text, *finding;
		enum aa_config_level level;
	} casev[] = {
		{"sip backup proxy ip: b",
		 "config:1: key 'sip backup proxy ip': there is no 'sip "
		 "backup registrar ip': the backup AOR is registered at the "
		 "primary registrar", AA_CONFIG_INFO},
		{"sip_line2_backup_registrar_ip b",
		 "config:1: key 'sip_line2_backup_registrar_ip': there is no "
		 "'sip line2 backup proxy ip': the AOR stays that of the "
		 "primary proxy", AA_CONFIG_INFO},
		{"sip backup proxy port: 5060",
		 "config:1: key 'sip backup proxy port': no effect without "
		 "'sip backup proxy ip'", AA_CONFIG_INFO},
		{"sip_line3_outbound_proxy_port 5061",
		 "config:1: key 'sip_line3_outbound_proxy_port': no effect "
		 "without 'sip line3 outbound proxy'", AA_CONFIG_INFO},
		{"sip line1 outbound proxy: x\n"
		 "sip line1 backup outbound proxy: X",
		 "config:2: key 'sip line1 backup outbound proxy': the same "
		 "server as the primary 'sip outbound proxy': it is no "
		 "backup, ignored", AA_CONFIG_WARN},
		{"sip registrar ip: 10.0.0.1\nsip registrar port: 5060\n"
		 "sip backup registrar ip: 10.0.0.1\n"
		 "sip backup proxy ip: 10.0.0.2",
		 "config:3: key 'sip backup registrar ip': the same server as "
		 "the primary 'sip registrar ip': it is no backup, ignored",
		 AA_CONFIG_WARN},
		{"sip line1 user name: 100",
		 "config:1: key 'sip line1 user name': there is no 'sip line1 "
		 "proxy ip': line 1 cannot be made", AA_CONFIG_WARN},
		{"sip line1 user name: 1\nsip line1 registrar ip: r",
		 "config:2: key 'sip line1 registrar ip': there is no 'sip "
		 "line1 proxy ip': the registrar is the domain of line 1",
		 AA_CONFIG_INFO},
		{"sip user name: 100",
		 "config:1: key 'sip user name': there is no 'sip line1 proxy "
		 "ip': line 1 cannot be made", AA_CONFIG_WARN},
		{"sip line1 user name: 1\nsip line1 proxy ip: p\n"
		 "sip line1 backup proxy ip: q\n"
		 "sip line1 backup registrar ip: r",
		 "config:4: key 'sip line1 backup registrar ip': there is no "
		 "'sip line1 registrar ip': line 1 does not register; "
		 "ignored", AA_CONFIG_WARN},
	};
	size_t i;

	(void)state;

	for (i=0; i<COUNT(casev); i++) {
		struct report rep = {.n = 0};
		struct aa_config *cfg = load(&rep, casev[i].text, NULL);

		assert_reported(&rep, casev[i].finding);
		assert_int_equal(1, rep.n);
		assert_string_equal(casev[i].finding, rep.textv[0]);
		assert_int_equal(casev[i].level, rep.levelv[0]);

		/* and listed again */
		assert_listed(cfg, 0, NULL, casev[i].finding);

		mem_deref(cfg);
		report_reset(&rep);
	}
}


static void test_check_line(void **state)
{
	struct report rep = {.n = 0};
	struct aa_config *cfg;

	(void)state;

	cfg = load(&rep, "sip_backup_outbound_proxy 10.0.0.1\n"
		   "sip_line2_backup_proxy_ip pbx.example.com\n"
		   "sip_line2_backup_registrar_ip pbx.example.com\n", NULL);
	assert_int_equal(1, rep.n);
	assert_reported(&rep, "of the Network set");

	aa_config_check_line(cfg, 1, &account);
	assert_int_equal(2, rep.n);
	assert_string_equal("config:1: key 'sip_backup_outbound_proxy': the "
			    "same server as the primary 'sip outbound "
			    "proxy': it is no backup, ignored", rep.textv[1]);

	/* once */
	aa_config_check_line(cfg, 1, &account);
	assert_int_equal(2, rep.n);

	aa_config_check_line(cfg, 2, &account);
	assert_int_equal(4, rep.n);
	assert_reported(&rep, "config:2: key 'sip_line2_backup_proxy_ip'");
	assert_reported(&rep, "config:3: key 'sip_line2_backup_registrar_ip'");

	aa_config_check_line(cfg, 3, NULL);
	aa_config_check_line(cfg, 0, &account);
	assert_int_equal(4, rep.n);

	mem_deref(cfg);
	report_reset(&rep);

	/* keys that take checks, on a line that has none of them */
	cfg = load(&rep, "sip_backup_outbound_proxy 10.0.0.9\n"
		   "sip_failback_delay 5\nsip_failback_successes 2\n"
		   "sip_outbound_keepalive_timer 9\nsip_outbound_standby 1\n"
		   "sip_line2_outbound_support 0\n"
		   "sip_line3_outbound_support 0\n"
		   "sip_line3_failback_delay 0\n"
		   "sip_line3_failback_successes 1\n"
		   "sip_line3_outbound_standby 2\n", NULL);
	aa_config_check_line(cfg, 1, &account);
	assert_int_equal(0, rep.n);
	aa_config_check_line(cfg, 2, &account);
	assert_int_equal(4, rep.n);
	assert_reported(&rep, "config:2: key 'sip_failback_delay': no effect "
			"where 'sip outbound support' is 0: nothing checks "
			"the servers then");
	assert_reported(&rep, "config:3: key 'sip_failback_successes'");
	assert_reported(&rep, "config:4: key 'sip_outbound_keepalive_timer'");
	assert_reported(&rep, "config:5: key 'sip_outbound_standby'");
	aa_config_check_line(cfg, 3, &account);
	assert_int_equal(4, rep.n);
	mem_deref(cfg);
	report_reset(&rep);

	/* no key gives an account another domain */
	cfg = load(&rep, "sip_proxy_ip PBX.example.com\n"
		   "sip_line2_proxy_ip 10.0.0.2\n"
		   "sip_line3_proxy_ip 10.0.0.3\n"
		   "sip_line3_user_name 102\n"
		   "sip_line3_registrar_ip 10.0.0.3\n", NULL);
	assert_int_equal(0, rep.n);
	aa_config_check_line(cfg, 1, &account);
	aa_config_check_line(cfg, 3, &account);
	assert_int_equal(0, rep.n);
	aa_config_check_line(cfg, 2, &account);
	assert_int_equal(1, rep.n);
	assert_string_equal("config:2: key 'sip_line2_proxy_ip': the AOR of "
			    "line 2 stays that of its account, "
			    "sip:100@pbx.example.com; a line with 'sip line2 "
			    "user name' is made from keys alone",
			    rep.textv[0]);
	mem_deref(cfg);
	report_reset(&rep);
}


static void test_check_lines(void **state)
{
	struct report rep = {.n = 0};
	struct aa_config *cfg;

	(void)state;

	cfg = load(&rep, "sip_line2_failback_delay 3\n"
		   "sip line5 backup outbound proxy: b\n"
		   "sip line5 failback delay: 7\n"
		   "sip line5 transaction timer: 700\n"
		   "sip line6 backup proxy ip:\n"
		   "sip line7 failback delay: 8\n"
		   "sip line8 user name: 800\nsip line8 proxy ip: p\n", NULL);
	assert_int_equal(0, rep.n);

	aa_config_check_lines(cfg, 2);
	assert_int_equal(2, rep.n);
	assert_string_equal("config:2: key 'sip line5 backup outbound proxy':"
			    " there is no line 5; this key and 2 more of it "
			    "are ignored", rep.textv[0]);
	assert_string_equal("config:6: key 'sip line7 failback delay': there "
			    "is no line 7; ignored", rep.textv[1]);

	aa_config_check_lines(cfg, 2);
	assert_int_equal(2, rep.n);
	aa_config_check_lines(cfg, 0);
	assert_int_equal(3, rep.n);

	mem_deref(cfg);
	report_reset(&rep);
}


/* ---- Text that goes into a log ---------------------------------------- */


/** What a file says must not forge a line of the log, or break a terminal */
static void test_log_safe(void **state)
{
	static const struct {
		const char *text, *finding;
	} casev[] = {
		{"sip \x1b[2Jfoo: x", "key 'sip ?[2jfoo': unknown"},
		{"sip o'foo: x",      "key 'sip o?foo': unknown"},
		{"sip f\xfc: x",      "key 'sip f?': unknown"},
		{"sip f\xc3\xbc: x",  "key 'sip f\xc3\xbc': unknown"},
		{"sip f\xc2\x9b: x",  "key 'sip f?" "?': unknown"},
		{"sip f\xe2\x82: x",  "key 'sip f?" "?': unknown"},
		{"sip \xe2\x82\xac: x",      "key 'sip \xe2\x82\xac':"},
		{"sip \xf0\x9f\x93\x9e: x", "key 'sip \xf0\x9f\x93\x9e':"},
		{"sip f\x7f: x",      "key 'sip f?': unknown"},
		{"sip proxy ip: a'b", "'a?b' is not an address"},
		{"sip proxy port: 1234567890123456789012345678901234567890123"
		 "456789012345678901234567890123456789012345678901234567890",
		 "'1234567890123456789012345678901234567890123456789012345678"
		 "9012345678901234567890...' is not a port"},
	};
	size_t i;

	(void)state;

	for (i=0; i<COUNT(casev); i++) {
		struct report rep = {.n = 0};
		struct aa_config *cfg = load(&rep, NULL, casev[i].text);

		assert_int_equal(1, rep.n);
		assert_reported(&rep, casev[i].finding);
		assert_listed(cfg, 0, NULL, casev[i].finding);

		mem_deref(cfg);
		report_reset(&rep);
	}
}


/* values at the edge that are right: not a word about them */
static void test_edges(void **state)
{
	static const char * const textv[] = {
		"sip line100000 failback delay: 1",
		"sip recovery base timer: 60\nsip recovery max timer: 60",
		"sip proxy ip: p\nsip proxy port: 65535",
		"aastra_http_listen 127.0.0.1:65535",
		"aastra_http_listen 8080",
		"aastra_http_listen [2001:db8::1]:1",
		"aastra_cfg_url http://h",
		"aastra_cfg_url https://h:8443/x/y?z",
		"aastra_cfg_mac 00-08-5d-16-10-de",
		"aastra_cfg_model 6757i CT",
		"sip line1 user name: *97;x=1\nsip line1 proxy ip: p",
		"sip line1 subscribe: dialog 200,presence sip:201@x",
		"sip line1 display name: \"Anna, M\xc3\xbcller\"",
		"sip subscription failed retry timer: 0",
		"sip user name: 1\nsip line1 proxy ip: p",
	};
	size_t i;

	(void)state;

	for (i=0; i<COUNT(textv); i++) {
		struct report rep = {.n = 0};
		struct aa_config *cfg = load(&rep, textv[i], NULL);

		if (rep.n)
			fail_msg("%s: %s", textv[i], rep.textv[0]);

		mem_deref(cfg);
	}
}


/* ---- Secrets ---------------------------------------------------------- */


static void test_secrets(void **state)
{
	/* all the ways to write a password, right and wrong */
	static const char * const textv[] = {
		"sip password: geheim",
		"sip line1 password: geheim",
		"sip_line1_password geheim",
		"sip_line1_password: geheim",
		"sip_line1_password=geheim",
		"sip_line1_password = geheim",
		"sip line1 password geheim",
		"sip line1 password = geheim",
		"sip line1 password geheim:1",
		"sip line1 password=geheim:1",
		"sip line1 pasword: geheim",
		"sip line1 pasword geheim:1",
		"sip line1 pasword geheim",
		"sip line1 passwort geheim:1",
		"sip line1 passwd geheim:1",
		"sip line1 secret geheim:1",
		"sip secret: geheim",
		"sip_secret geheim",
		"sip_line1_passwrd geheim",
		"sip line0 password: geheim",
		"sip line999999 password: geheim",
		"sip line 1 password: geheim",
		"sip password: \"geheim",
		"sip password: \"geheim\" geheim",
		"sip password: geheim\nsip password: geheim",
		"sip password: geheim\x01",
		"sip password: geheimgeheimgeheimgeheimgeheimgeheimgeheimgeh"
		"eimgeheimgeheimgeheimgeheimgeheimgeheimgeheimgeheimgeheimge"
		"heimgeheimgeheimgeheimgeheimgeheimgeheimgeheimgeheimgeheim",
		"sip user name: 1\nsip password: geheim\nsip proxy ip: p\n"
		"sip line1 screen name: x",
		"password geheim: x",
		"sip password geheim",
		"sips password geheim",
		"sip auth password geheim:1",
		"aastra_cfg_url http://me:geheim@host/x",
		"aastra_cfg_url https://geheim@host/x@y",
		"aastra_cfg_url ftp://me:geheim@host/x",
		"aastra_cfg_url http://me:geheim@host/ x",
	};
	size_t i, j;

	(void)state;

	for (i=0; i<COUNT(textv) * 2; i++) {
		const char *text = textv[i / 2];
		struct report rep = {.n = 0};
		struct aa_config *cfg = load(&rep, i % 2 ? text : NULL,
					     i % 2 ? NULL : text);
		uint32_t line;

		aa_config_check_lines(cfg, 0);

		for (j=0; j<rep.n; j++) {
			if (strstr(rep.textv[j], "geheim"))
				fail_msg("'%s' reported: %s", text,
					 rep.textv[j]);
		}

		for (line=0; line<2; line++) {
			char *str = listing(cfg, line, &account);

			if (strstr(str, "geheim"))
				fail_msg("'%s' listed: %s", text, str);

			mem_deref(str);
		}

		mem_deref(cfg);
		report_reset(&rep);
	}
}


/* ---- Listing ---------------------------------------------------------- */


static void test_listing(void **state)
{
	struct aa_config *cfg;
	char *str;

	(void)state;

	cfg = load(NULL, "# my phone\nsip_line1_password pw\n"
		   "\nsip line1 backup outbound proxy: 10.0.0.2\n"
		   "sip line1 transaction timer: 100\n"
		   "sip line2 outbound proxy: 0.0.0.0\n"
		   "aastra_cfg_url http://u:p@host/x\n"
		   "sip_dns_query_type 2\n",
		   "sip transaction timer: 5000\n");

	/* key, value, from where; secrets masked */
	assert_listed(cfg, 1, &account, " sip line1 password **** config:2\n");
	assert_listed(cfg, 1, &account, " sip line1 backup outbound proxy "
		      "10.0.0.2 config:4\n");
	assert_listed(cfg, 1, &account, " sip line1 transaction timer 500 "
		      "config:5\n");
	assert_listed(cfg, 1, &account, " sip proxy ip pbx.example.com "
		      "account\n");
	assert_listed(cfg, 1, &account, " sip registrar ip pbx.example.com "
		      "account\n");
	assert_listed(cfg, 1, &account, " sip outbound proxy 10.0.0.1 "
		      "account\n");
	assert_listed(cfg, 1, &account, " sip outbound proxy port 5060 "
		      "account\n");
	assert_listed(cfg, 1, &account, " sip registration period 600 "
		      "account\n");
	assert_listed(cfg, 1, &account, " sip transport protocol 2 "
		      "account\n");
	assert_listed(cfg, 1, &account, " sip user name 100 account\n");
	assert_listed(cfg, 1, &account, " sip failback policy idle "
		      "default\n");
	assert_listed(cfg, 1, &account, " sip outbound support 1 default "
		      "(a backup, not from *.cfg)\n");
	assert_listed(cfg, 1, &account, "findings\n warning: config:5: key "
		      "'sip line1 transaction timer': '100' is below 500 "
		      "ms: raised to 500\n");

	assert_listed(cfg, 2, &account, " sip transaction timer 5000 "
		      "aastra.cfg:1\n");
	assert_listed(cfg, 2, &account, " sip line2 outbound proxy 0.0.0.0 "
		      "config:6\n");
	assert_listed(cfg, 3, NULL, " sip registration period 3600 "
		      "default\n");
	assert_listed(cfg, 3, NULL, " sip transport protocol 1 default\n");

	/* what is not of a line stands under global, once */
	assert_listed(cfg, 0, NULL, "files\n aastra.cfg: 1 keys\n "
		      "config: 6 keys\nglobal\n");
	assert_listed(cfg, 0, NULL, " aastra_cfg_url http://****@host/x "
		      "config:7\n");
	assert_listed(cfg, 0, NULL, " sip dns query type 2 config:8\n");
	assert_listed(cfg, 0, NULL, "line 1\n sip line1 backup outbound "
		      "proxy 10.0.0.2 config:4\n sip line1 password **** "
		      "config:2\n");
	assert_listed(cfg, 0, NULL, "line 2\n sip line2 outbound proxy "
		      "0.0.0.0 config:6\n");
	assert_listed(cfg, 0, NULL, "findings\n warning: ");

	str = listing(cfg, 1, &account);
	assert_null(strstr(str, "aastra_cfg_url"));
	assert_null(strstr(str, "sip line2"));
	mem_deref(str);

	mem_deref(cfg);

	/* a finding of another line is not repeated */
	cfg = load(NULL, "sip line2 transaction timer: 1\n", NULL);
	str = listing(cfg, 1, NULL);
	assert_null(strstr(str, "findings"));
	mem_deref(str);
	assert_listed(cfg, 2, NULL, "findings\n");
	mem_deref(cfg);

	/* a backup that is none */
	cfg = load(NULL, "sip line1 backup outbound proxy: 10.0.0.1\n", NULL);
	assert_listed(cfg, 1, &account, " sip line1 backup outbound proxy "
		      "10.0.0.1 config:1 (no other server than the primary: "
		      "ignored)\n");
	mem_deref(cfg);

	cfg = load(NULL, NULL, NULL);
	assert_listed(cfg, 0, NULL, "files\n");
	mem_deref(cfg);
}


static int failing_handler(const char *p, size_t size, void *arg)
{
	size_t *left = arg;

	(void)p;

	if (size > *left)
		return ENOMEM;

	*left -= size;

	return 0;
}


/** A printer that fails somewhere is told so */
static void test_listing_error(void **state)
{
	struct aa_config *cfg = load(NULL, "sip_proxy_ip p\n"
				     "sip line1 transaction timer: 1\n", NULL);
	uint32_t line;
	size_t n;

	(void)state;

	for (line=0; line<2; line++) {
		char *str = listing(cfg, line, &account);
		const size_t len = strlen(str);

		mem_deref(str);

		for (n=0; n<=len; n++) {
			size_t left = n;
			struct re_printf pf = {failing_handler, &left};
			int err;

			err = aa_config_print(&pf, cfg, line, &account);
			assert_int_equal(n < len ? ENOMEM : 0, err);
		}
	}

	mem_deref(cfg);
}


/* ---- Files ------------------------------------------------------------ */


/** A folder with baresip's config and a folder "phone" */
struct folder {
	char path[64];
};


static void folder_make(struct folder *fo)
{
	char sub[128];

	str_ncpy(fo->path, "/tmp/aastra-test-XXXXXX", sizeof(fo->path));
	assert_non_null(mkdtemp(fo->path));
	(void)re_snprintf(sub, sizeof(sub), "%s/phone", fo->path);
	assert_int_equal(0, mkdir(sub, 0700));
}


static void folder_write(const struct folder *fo, const char *name,
			 const char *text)
{
	char path[256];
	FILE *f;

	(void)re_snprintf(path, sizeof(path), "%s/%s", fo->path, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(0, fclose(f));
}


static void folder_remove(const struct folder *fo)
{
	static const char * const namev[] = {
		"config", "phone/aastra.cfg", "phone/startup.cfg",
		"phone/6757i.cfg", "phone/00085D1610DE.cfg",
		"phone/00085d1610de.cfg", "phone", ""
	};
	char path[256];
	size_t i;

	for (i=0; i<COUNT(namev); i++) {
		(void)re_snprintf(path, sizeof(path), "%s/%s", fo->path,
				  namev[i]);
		(void)remove(path);
	}

	assert_int_not_equal(0, access(fo->path, F_OK));
}


static struct aa_config *folder_load(const struct folder *fo,
				     struct report *rep)
{
	struct aa_config *cfg = NULL;

	assert_int_equal(0, aa_config_alloc(&cfg, fo->path, NULL, msg_handler,
					    rep));
	assert_non_null(cfg);

	return cfg;
}


#define ASK(cfg) aa_config_str(cfg, 0, "sip proxy ip")


static void test_files(void **state)
{
	struct report rep = {.n = 0};
	struct folder fo;
	struct aa_config *cfg;
	char text[512], part[512];

	(void)state;

	folder_make(&fo);

	/* no config at all */
	cfg = folder_load(&fo, &rep);
	assert_int_equal(ENOENT, aa_config_status(cfg));
	assert_int_equal(0, rep.n);
	assert_listed(cfg, 0, NULL, "files\n none\n");
	mem_deref(cfg);

	/* a folder with nothing in it */
	folder_write(&fo, "config", "\naastra_cfg_path phone\n"
		     "aastra_cfg_model 6757i\n"
		     "aastra_cfg_mac 00:08:5d:16:10:de\n");
	cfg = folder_load(&fo, &rep);
	assert_int_equal(ENOENT, aa_config_status(cfg));
	(void)re_snprintf(part, sizeof(part), "%s/config:2: key "
			  "'aastra_cfg_path': no aastra.cfg, startup.cfg, "
			  "6757i.cfg, 00085D1610DE.cfg in '%s/phone'",
			  fo.path, fo.path);
	assert_int_equal(1, rep.n);
	assert_string_equal(part, rep.textv[0]);
	mem_deref(cfg);
	report_reset(&rep);

	/* one after the other */
	folder_write(&fo, "phone/startup.cfg", "sip proxy ip: startup\n");
	cfg = folder_load(&fo, &rep);
	assert_string_equal("startup", ASK(cfg));
	assert_int_equal(0, aa_config_status(cfg));
	mem_deref(cfg);

	folder_write(&fo, "phone/aastra.cfg", "sip proxy ip: aastra\n");
	cfg = folder_load(&fo, &rep);
	assert_string_equal("aastra", ASK(cfg));
	mem_deref(cfg);

	folder_write(&fo, "phone/6757i.cfg", "sip proxy ip: model\n");
	cfg = folder_load(&fo, &rep);
	assert_string_equal("model", ASK(cfg));
	mem_deref(cfg);

	folder_write(&fo, "phone/00085d1610de.cfg", "sip proxy ip: lower\n");
	cfg = folder_load(&fo, &rep);
	assert_string_equal("lower", ASK(cfg));
	mem_deref(cfg);

	folder_write(&fo, "phone/00085D1610DE.cfg", "sip proxy ip: upper\n");
	cfg = folder_load(&fo, &rep);
	assert_string_equal("upper", ASK(cfg));
	assert_listed(cfg, 0, NULL, " sip proxy ip upper "
		      "00085D1610DE.cfg:1\n");
	mem_deref(cfg);

	/* an absolute path; baresip's config wins over the files */
	(void)re_snprintf(text, sizeof(text), "sip_proxy_ip config\n"
			  "aastra cfg path: %s/phone\n", fo.path);
	folder_write(&fo, "config", text);
	cfg = folder_load(&fo, &rep);
	assert_string_equal("config", ASK(cfg));
	assert_int_equal(0, rep.n);
	mem_deref(cfg);

	/* a folder that is not there */
	folder_write(&fo, "config", "aastra_cfg_path nowhere\n");
	cfg = folder_load(&fo, &rep);
	assert_int_equal(ENOENT, aa_config_status(cfg));
	assert_int_equal(1, rep.n);
	assert_reported(&rep, "config:1: key 'aastra_cfg_path': no "
			"aastra.cfg, startup.cfg");
	mem_deref(cfg);
	report_reset(&rep);

	/* findings name the file */
	folder_write(&fo, "config", "aastra_cfg_path phone\n"
		     "aastra_cfg_mac 00085D1610DE\n");
	folder_write(&fo, "phone/aastra.cfg", "\nsip proxy port: x\n");
	cfg = folder_load(&fo, &rep);
	(void)re_snprintf(part, sizeof(part), "%s/phone/aastra.cfg:2: key "
			  "'sip proxy port': 'x' is not a port", fo.path);
	assert_reported(&rep, part);
	assert_int_equal(0, aa_config_status(cfg));
	mem_deref(cfg);
	report_reset(&rep);

	folder_remove(&fo);
}


/** Files by HTTP stand above those of the folder, each above its own kind */
static void test_files_fetched(void **state)
{
#define CFG_TEXT(l, n, text) {l, "http://host/" n, text, sizeof(text) - 1}
	static const struct aa_config_fetched fetched = {
		"http://host/", {
			CFG_TEXT(AA_LAYER_AASTRA, "aastra.cfg",
				 "sip proxy ip: web\nsip registrar ip: web\n"
				 "sip proxy prot: 1\n"),
			CFG_TEXT(AA_LAYER_MAC, "00085D1610DE.cfg",
				 "sip outbound proxy: webmac\n")
		}, 2
	};
	struct report rep = {.n = 0};
	struct aa_config *cfg = NULL;
	struct folder fo;

	(void)state;
	folder_make(&fo);

	folder_write(&fo, "config", "aastra_cfg_path phone\n"
		     "aastra_cfg_mac 00085D1610DE\n"
		     "aastra_cfg_model 6757i\n"
		     "aastra_cfg_url http://elsewhere/\n"
		     "sip_backup_proxy_ip config\n");
	folder_write(&fo, "phone/aastra.cfg", "sip proxy ip: file\n"
		     "sip backup registrar ip: file\n");
	folder_write(&fo, "phone/6757i.cfg", "sip registrar ip: model\n");

	assert_int_equal(0, aa_config_alloc(&cfg, fo.path, &fetched,
					    msg_handler, &rep));
	assert_string_equal("web", ASK(cfg));
	assert_string_equal("model", aa_config_str(cfg, 0,
						   "sip registrar ip"));
	assert_string_equal("file", aa_config_str(cfg, 0,
						  "sip backup registrar ip"));
	assert_string_equal("webmac", aa_config_str(cfg, 0,
						    "sip outbound proxy"));
	assert_string_equal("config", aa_config_str(cfg, 0,
						    "sip backup proxy ip"));
	assert_reported(&rep, "http://host/aastra.cfg:3: key 'sip proxy "
			"prot': unknown");
	assert_listed(cfg, 0, NULL, " http://host/aastra.cfg: 2 keys\n");
	assert_int_equal(2, aa_config_keys(cfg, "http://host/aastra.cfg"));
	assert_int_equal(0, aa_config_keys(cfg, "http://host/other.cfg"));
	mem_deref(cfg);
	report_reset(&rep);

	/* no URL: they do not count */
	folder_write(&fo, "config", "aastra_cfg_path phone\n");
	assert_int_equal(0, aa_config_alloc(&cfg, fo.path, &fetched,
					    msg_handler, &rep));
	assert_string_equal("file", ASK(cfg));
	mem_deref(cfg);
	report_reset(&rep);

	folder_remove(&fo);
#undef CFG_TEXT
}


static void test_files_unreadable(void **state)
{
	struct report rep = {.n = 0};
	struct folder fo;
	struct aa_config *cfg;
	char path[256], part[256];
	int fd;

	(void)state;

	folder_make(&fo);
	folder_write(&fo, "config", "aastra_cfg_path phone\n"
		     "aastra_cfg_mac 00085D1610DE\n");
	folder_write(&fo, "phone/00085D1610DE.cfg", "sip proxy ip: mac\n");
	(void)re_snprintf(path, sizeof(path), "%s/phone/aastra.cfg", fo.path);
	(void)re_snprintf(part, sizeof(part), "%s: the file cannot be read",
			  path);

	/* a folder, a pipe, too long: said so, and the rest is read */
	assert_int_equal(0, mkdir(path, 0700));
	cfg = folder_load(&fo, &rep);
	assert_int_equal(1, rep.n);
	assert_reported(&rep, part);
	assert_int_equal(EISDIR, aa_config_status(cfg));
	assert_string_equal("mac", ASK(cfg));
	mem_deref(cfg);
	report_reset(&rep);
	assert_int_equal(0, rmdir(path));

	assert_int_equal(0, mkfifo(path, 0600));
	cfg = folder_load(&fo, &rep);
	assert_int_equal(1, rep.n);
	assert_reported(&rep, part);
	assert_int_equal(EINVAL, aa_config_status(cfg));
	mem_deref(cfg);
	report_reset(&rep);
	assert_int_equal(0, unlink(path));

	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	assert_int_equal(0, ftruncate(fd, 5 * 1024 * 1024));
	assert_int_equal(0, close(fd));
	cfg = folder_load(&fo, &rep);
	assert_int_equal(1, rep.n);
	assert_reported(&rep, part);
	assert_int_equal(EFBIG, aa_config_status(cfg));
	mem_deref(cfg);
	report_reset(&rep);

	/* no permission; root has it always */
	folder_write(&fo, "phone/aastra.cfg", "sip proxy port: 1\n");
	assert_int_equal(0, chmod(path, 0));
	if (geteuid() != 0) {
		cfg = folder_load(&fo, &rep);
		assert_reported(&rep, part);
		assert_int_equal(EACCES, aa_config_status(cfg));
		mem_deref(cfg);
		report_reset(&rep);
	}

	/* UTF-16 */
	assert_int_equal(0, unlink(path));
	folder_write(&fo, "phone/aastra.cfg", "\xff\xfe" "s");
	cfg = folder_load(&fo, &rep);
	assert_int_equal(1, rep.n);
	assert_reported(&rep, "aastra.cfg:1: this is UTF-16 text, save it as "
			"UTF-8; nothing is read");
	assert_int_equal(EILSEQ, aa_config_status(cfg));
	mem_deref(cfg);
	report_reset(&rep);

	folder_remove(&fo);
}


/* without `aastra_cfg_mac` it is that of the interface in use: the name
   that is missed tells which one */
static void test_files_mac(void **state)
{
	char ifname[64] = "", path[256], mac[32] = "", part[32];
	struct report rep = {.n = 0};
	struct folder fo;
	struct aa_config *cfg;
	FILE *f;
	size_t i, n;

	(void)state;

	folder_make(&fo);
	folder_write(&fo, "config", "aastra_cfg_path phone\n");
	cfg = folder_load(&fo, &rep);
	assert_int_equal(1, rep.n);

	if (!net_rt_default_get(AF_INET, ifname, sizeof(ifname))) {

		(void)re_snprintf(path, sizeof(path),
				  "/sys/class/net/%s/address", ifname);
		f = fopen(path, "r");
		if (f && fgets(mac, sizeof(mac), f)) {

			for (i=n=0; mac[i] && mac[i] != '\n'; i++) {
				if (mac[i] != ':')
					part[n++] = mac[i] >= 'a' ?
						(char)(mac[i] - 32) : mac[i];
			}
			part[n] = '\0';
			assert_reported(&rep, part);
		}
		if (f)
			(void)fclose(f);
	}

	mem_deref(cfg);
	report_reset(&rep);
	folder_remove(&fo);
}


/* ---- Size ------------------------------------------------------------- */


static void test_thousand_lines(void **state)
{
	enum { LINES = 1000 };
	struct report rep = {.n = 0};
	struct mbuf *mb = mbuf_alloc(65536);
	const struct aa_config_text text = {AA_LAYER_AASTRA, "a.cfg", NULL, 0};
	struct aa_config_text t = text;
	struct aa_config *cfg = NULL;
	struct aa_line_config lc;
	const clock_t start = clock();
	uint32_t n;

	(void)state;
	assert_non_null(mb);

	assert_int_equal(0, mbuf_write_str(mb, "sip outbound support: 1\n"));

	/* last line first */
	for (n=LINES; n; n--)
		assert_int_equal(0, mbuf_printf(mb,
			"sip line%u user name: %u\n"
			"sip line%u password: pw%u\n"
			"sip line%u proxy ip: p%u.example\n"
			"sip line%u proxy port: 5060\n"
			"sip line%u registrar ip: r%u.example\n"
			"sip line%u backup proxy ip: bp%u.example\n"
			"sip line%u backup registrar ip: br%u.example\n"
			"sip line%u backup outbound proxy: bo%u.example\n"
			"sip line%u failback delay: %u\n",
			n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n));

	t.buf = (const char *)mb->buf;
	t.len = mb->end;
	assert_int_equal(0, aa_config_alloc_text(&cfg, &t, 1, msg_handler,
						 &rep));
	assert_int_equal(0, rep.n);
	assert_int_equal(LINES, aa_config_max_line(cfg));

	for (n=1; n<=LINES; n++) {
		char host[32];

		assert_int_equal(0, aa_config_line(cfg, n, NULL, &lc));
		(void)re_snprintf(host, sizeof(host), "bo%u.example", n);
		assert_server(&lc, OUTBOUND, BACKUP, host, 0);
		assert_int_equal(AA_SCENARIO_ALL, lc.scenario);
		assert_int_equal(n, lc.failback_delay);
	}

	aa_config_check_lines(cfg, 0);
	assert_int_equal(0, rep.n);

	/* with the sanitizers; 0.1 s without */
	assert_true((clock() - start) / CLOCKS_PER_SEC < 20);

	mem_deref(cfg);
	mem_deref(mb);
}


/** A foreign file is not listed whole, and does not take for ever */
static void test_many_findings(void **state)
{
	enum { LINES = 20000 };
	struct report rep = {.n = 0};
	struct mbuf *mb = mbuf_alloc(65536);
	struct aa_config_text t = {AA_LAYER_AASTRA, "a.cfg", NULL, 0};
	struct aa_config *cfg = NULL;
	const clock_t start = clock();
	uint32_t n;

	(void)state;
	assert_non_null(mb);

	for (n=0; n<LINES; n++)
		assert_int_equal(0, mbuf_printf(mb,
			"sip lin%u backup outbound proxi: %u\n", n, n));
	assert_int_equal(0, mbuf_printf(mb, "sip proxy ip: p\n"));

	t.buf = (const char *)mb->buf;
	t.len = mb->end;
	assert_int_equal(0, aa_config_alloc_text(&cfg, &t, 1, msg_handler,
						 &rep));
	assert_int_equal(1001, rep.n);
	assert_string_equal("further findings are not listed",
			    rep.textv[1000]);
	assert_string_equal("p", ASK(cfg));
	assert_true((clock() - start) / CLOCKS_PER_SEC < 20);

	mem_deref(cfg);
	mem_deref(mb);
	report_reset(&rep);
}


/* ---- Wrong input ------------------------------------------------------ */


#define TEXT(text) text, sizeof(text) - 1

#define F AA_LAYER_AASTRA
#define B AA_LAYER_BARESIP


/** Each of these gives that finding, and spoils nothing else */
static void test_malformed(void **state)
{
	static const struct {
		enum aa_config_layer layer;
		const char *text;
		size_t len;
		size_t n;               /* number of findings          */
		const char *finding;    /* the first                   */
	} casev[] = {
		{F, TEXT("sip line1 proxy ip: 192.761.120.10"), 1,
		 "aastra.cfg:1: key 'sip line1 proxy ip': '192.761.120.10' "
		 "is not an address: it takes four numbers from 0 to 255; "
		 "the default (the account's domain) is used"},
		{F, TEXT("sip proxy ip: 10.0.0"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': '10.0.0' is not an "
		 "address: it takes four numbers from 0 to 255; the default "
		 "(the account's domain) is used"},
		{F, TEXT("sip proxy ip: 10.0.0.1.2"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': '10.0.0.1.2' is not an "
		 "address: it takes four numbers from 0 to 255; the default "
		 "(the account's domain) is used"},
		{F, TEXT("sip proxy ip: 10.0.0.256"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': '10.0.0.256' is not an "
		 "address: it takes four numbers from 0 to 255; the default "
		 "(the account's domain) is used"},
		{F, TEXT("sip proxy ip: 10.0.0.01"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': '10.0.0.01' is not an "
		 "address: it takes four numbers from 0 to 255; the default "
		 "(the account's domain) is used"},
		{F, TEXT("sip proxy ip: 10"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': '10' is not an address: "
		 "it takes four numbers from 0 to 255; the default (the "
		 "account's domain) is used"},
		{F, TEXT("sip proxy ip: 10.0.0.1:5060"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': '10.0.0.1:5060' is not "
		 "an address: a port has a key of its own; the default (the "
		 "account's domain) is used"},
		{F, TEXT("sip proxy ip: sip:10.0.0.1"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': 'sip:10.0.0.1' is not "
		 "an address: write it without the scheme; the default (the "
		 "account's domain) is used"},
		{F, TEXT("sip proxy ip: sips:pbx.example.com"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': 'sips:pbx.example.com' "
		 "is not an address: write it without the scheme; the "
		 "default (the account's domain) is used"},
		{F, TEXT("sip proxy ip: pbx example"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': 'pbx example' is not an "
		 "address: a character is not allowed; the default (the "
		 "account's domain) is used"},
		{F, TEXT("sip proxy ip: pbx@example.com"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': 'pbx@example.com' is "
		 "not an address: a character is not allowed; the default "
		 "(the account's domain) is used"},
		{F, TEXT("sip proxy ip: -pbx.example.com"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': '-pbx.example.com' is "
		 "not an address; the default (the account's domain) is used"},
		{F, TEXT("sip proxy ip: pbx-.example.com"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': 'pbx-.example.com' is "
		 "not an address; the default (the account's domain) is used"},
		{F, TEXT("sip proxy ip: pbx..example.com"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': 'pbx..example.com' is "
		 "not an address; the default (the account's domain) is used"},
		{F, TEXT("sip proxy ip: .example.com"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': '.example.com' is not "
		 "an address; the default (the account's domain) is used"},
		{F, TEXT("sip proxy ip: pbx.example.123"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': 'pbx.example.123' is "
		 "not an address; the default (the account's domain) is used"},
		{F, TEXT("sip proxy ip: pbx/24"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': 'pbx/24' is not an "
		 "address: a character is not allowed; the default (the "
		 "account's domain) is used"},
		{F, TEXT("sip proxy ip: \"pbx\",\"pbx2\""), 1,
		 "aastra.cfg:1: key 'sip proxy ip': text behind the closing "
		 "quote is ignored"},
		{F, TEXT("sip proxy ip: p\xc3\xbcx.example"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': 'p\xc3\xbcx.example' is "
		 "not an address: a character is not allowed; the default "
		 "(the account's domain) is used"},
		{F, TEXT("sip proxy ip: p\xfcx.example"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': 'p\xc3\xbcx.example' is "
		 "not an address: a character is not allowed; the default "
		 "(the account's domain) is used"},
		{F, TEXT("sip proxy ip: <pbx>"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': '<pbx>' is not an "
		 "address: a character is not allowed; the default (the "
		 "account's domain) is used"},
		{F, TEXT("sip proxy ip: 2001:db8:::1"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': '2001:db8:::1' is not "
		 "an address: a port has a key of its own; the default (the "
		 "account's domain) is used"},
		{F, TEXT("sip proxy ip: [2001:db8::1]:5060"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': '[2001:db8::1]:5060' is "
		 "not an address: a port has a key of its own; the default "
		 "(the account's domain) is used"},
		{F, TEXT("sip proxy ip: [pbx]"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': '[pbx]' is not an "
		 "address; the default (the account's domain) is used"},
		{F, TEXT("sip proxy ip: 10.0.0.1, 10.0.0.2"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': '10.0.0.1, 10.0.0.2' is "
		 "not an address: a character is not allowed; the default "
		 "(the account's domain) is used"},
		{F, TEXT("sip proxy ip: pbx\x01.example"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': a control character is "
		 "not allowed; the default (the account's domain) is used"},
		{F, TEXT("sip proxy ip: "
			"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
			"AAAAAAAAAAAAAAAA.example"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': "
		 "'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
		 "AAAAAAA.example' is not an address; the default (the "
		 "account's domain) is used"},
		{F, TEXT("sip proxy port: 65536"), 1,
		 "aastra.cfg:1: key 'sip proxy port': '65536' is not a port "
		 "(0-65535); it counts as not given"},
		{F, TEXT("sip proxy port: -1"), 1,
		 "aastra.cfg:1: key 'sip proxy port': '-1' is not a port "
		 "(0-65535); it counts as not given"},
		{F, TEXT("sip proxy port: 5060a"), 1,
		 "aastra.cfg:1: key 'sip proxy port': '5060a' is not a port "
		 "(0-65535); it counts as not given"},
		{F, TEXT("sip proxy port: sip"), 1,
		 "aastra.cfg:1: key 'sip proxy port': 'sip' is not a port "
		 "(0-65535); it counts as not given"},
		{F, TEXT("sip proxy port: 99999999999999999999"), 1,
		 "aastra.cfg:1: key 'sip proxy port': "
		 "'99999999999999999999' is not a port (0-65535); it counts "
		 "as not given"},
		{F, TEXT("sip proxy port: 50 60"), 1,
		 "aastra.cfg:1: key 'sip proxy port': '50 60' is not a port "
		 "(0-65535); it counts as not given"},
		{F, TEXT("sip proxy port: 5060;transport=tcp"), 1,
		 "aastra.cfg:1: key 'sip proxy port': '5060;transport=tcp' "
		 "is not a port (0-65535); it counts as not given"},
		{F, TEXT("sip proxy port: 0x13c4"), 1,
		 "aastra.cfg:1: key 'sip proxy port': '0x13c4' is not a "
		 "port (0-65535); it counts as not given"},
		{F, TEXT("sip proxy port: 5060 //this parameter is locked"), 1,
		 "aastra.cfg:1: key 'sip proxy port': '5060 //this "
		 "parameter is locked' is not a port (0-65535); it counts "
		 "as not given"},
		{F, TEXT("sip registration retry timer: 29"), 1,
		 "aastra.cfg:1: key 'sip registration retry timer': '29' is "
		 "below 30 s: raised to 30"},
		{F, TEXT("sip registration retry timer: 1801"), 1,
		 "aastra.cfg:1: key 'sip registration retry timer': '1801' "
		 "is above 1800 s: lowered to 1800"},
		{F, TEXT("sip registration retry timer: abc"), 1,
		 "aastra.cfg:1: key 'sip registration retry timer': 'abc' "
		 "is not a number; the default (1800) is used"},
		{F, TEXT("sip registration timeout retry timer: 10"), 1,
		 "aastra.cfg:1: key 'sip registration timeout retry timer': "
		 "'10' is below 30 s: raised to 30"},
		{F, TEXT("sip registration renewal timer: -15"), 1,
		 "aastra.cfg:1: key 'sip registration renewal timer': '-15' "
		 "is below 0 s: raised to 0"},
		{F, TEXT("sip registration period: 3600s"), 1,
		 "aastra.cfg:1: key 'sip registration period': '3600s' is "
		 "not a number; the default (the account's regint, else "
		 "3600) is used"},
		{F, TEXT("sip registration period: 4294967296"), 1,
		 "aastra.cfg:1: key 'sip registration period': '4294967296' "
		 "is above 2147483647 s: lowered to 2147483647"},
		{F, TEXT("sip registration period: 1e3"), 1,
		 "aastra.cfg:1: key 'sip registration period': '1e3' is not "
		 "a number; the default (the account's regint, else 3600) "
		 "is used"},
		{F, TEXT("sip registration period: 60.5"), 1,
		 "aastra.cfg:1: key 'sip registration period': '60.5' is "
		 "not a number; the default (the account's regint, else "
		 "3600) is used"},
		{F, TEXT("sip transaction timer: 499"), 1,
		 "aastra.cfg:1: key 'sip transaction timer': '499' is below "
		 "500 ms: raised to 500"},
		{F, TEXT("sip transaction timer: 64001"), 1,
		 "aastra.cfg:1: key 'sip transaction timer': '64001' is "
		 "above 64000 ms: lowered to 64000"},
		{F, TEXT("sip transaction timer: 4 s"), 1,
		 "aastra.cfg:1: key 'sip transaction timer': '4 s' is not a "
		 "number; the default (4000) is used"},
		{B, TEXT("sip_outbound_keepalive_timer 0"), 1,
		 "config:1: key 'sip_outbound_keepalive_timer': '0' is "
		 "below 1 s: raised to 1"},
		{B, TEXT("sip_outbound_keepalive_timer 841"), 1,
		 "config:1: key 'sip_outbound_keepalive_timer': '841' is "
		 "above 840 s: lowered to 840"},
		{B, TEXT("sip_recovery_base_timer 0"), 1,
		 "config:1: key 'sip_recovery_base_timer': '0' is below 1 "
		 "s: raised to 1"},
		{B, TEXT("sip_recovery_max_timer 86401"), 1,
		 "config:1: key 'sip_recovery_max_timer': '86401' is above "
		 "86400 s: lowered to 86400"},
		{B, TEXT("sip_failback_delay 86401"), 1,
		 "config:1: key 'sip_failback_delay': '86401' is above "
		 "86400 s: lowered to 86400"},
		{B, TEXT("sip_failback_successes 0"), 1,
		 "config:1: key 'sip_failback_successes': '0' is below 1: "
		 "raised to 1"},
		{B, TEXT("sip_failback_successes 11"), 1,
		 "config:1: key 'sip_failback_successes': '11' is above 10: "
		 "lowered to 10"},
		{B, TEXT("sip_outbound_standby 3"), 1,
		 "config:1: key 'sip_outbound_standby': '3' is not one of "
		 "0, 1, 2; the default (0) is used"},
		{B, TEXT("sip_failback_policy never"), 1,
		 "config:1: key 'sip_failback_policy': 'never' is not one "
		 "of auto, idle, manual; the default (idle) is used"},
		{B, TEXT("sip_call_failover yes"), 1,
		 "config:1: key 'sip_call_failover': 'yes' is neither 0 nor "
		 "1; the default (1) is used"},
		{B, TEXT("sip_outbound_support 2"), 1,
		 "config:1: key 'sip_outbound_support': '2' is neither 0 "
		 "nor 1; the default (1 with a backup from baresip's own "
		 "files, else 0) is used"},
		{B, TEXT("sip_outbound_support on"), 1,
		 "config:1: key 'sip_outbound_support': 'on' is neither 0 "
		 "nor 1; the default (1 with a backup from baresip's own "
		 "files, else 0) is used"},
		{B, TEXT("sip_line_inheritance both"), 1,
		 "config:1: key 'sip_line_inheritance': 'both' is not one "
		 "of set, key; the default (set) is used"},
		{F, TEXT("sip transport protocol: 3"), 1,
		 "aastra.cfg:1: key 'sip transport protocol': '3' is not "
		 "one of 0, 1, 2, 4; the default (the account's transport, "
		 "else 1) is used"},
		{F, TEXT("sip transport protocol: tcp"), 1,
		 "aastra.cfg:1: key 'sip transport protocol': 'tcp' is not "
		 "one of 0, 1, 2, 4; the default (the account's transport, "
		 "else 1) is used"},
		{F, TEXT("sip explicit mwi subscription: true"), 1,
		 "aastra.cfg:1: key 'sip explicit mwi subscription': 'true' "
		 "is neither 0 nor 1; the default (0) is used"},
		{F, TEXT("sip blf subscription period: 60"), 1,
		 "aastra.cfg:1: key 'sip blf subscription period': '60' is "
		 "below 120 s: raised to 120"},
		{F, TEXT("sip bla subscription period: 3701"), 2,
		 "aastra.cfg:1: key 'sip bla subscription period': '3701' "
		 "is above 3700 s: lowered to 3700"},
		{F, TEXT("sip subscription timeout retry timer: 3601"), 1,
		 "aastra.cfg:1: key 'sip subscription timeout retry timer': "
		 "'3601' is above 3600 s: lowered to 3600"},
		{F, TEXT("sip subscription failed retry timer: -5"), 1,
		 "aastra.cfg:1: key 'sip subscription failed retry timer': "
		 "'-5' is below 0 s: 0 is used"},
		{F, TEXT("sip session timer: 30"), 2,
		 "aastra.cfg:1: key 'sip session timer': '30' is below 90 "
		 "s: raised to 90"},
		{F, TEXT("sip mode: 4"), 1,
		 "aastra.cfg:1: key 'sip mode': '4' is not one of 0, 1, 2, "
		 "3; the default (0) is used"},
		{F, TEXT("sip contact matching: 9"), 1,
		 "aastra.cfg:1: key 'sip contact matching': '9' is not one "
		 "of 0, 1, 2, 3; the default (2) is used"},
		{F, TEXT("sip dns query type: 3"), 1,
		 "aastra.cfg:1: key 'sip dns query type': '3' is not one of "
		 "0, 1, 2; the default (1) is used"},
		{F, TEXT("sip whitelist: 2"), 1,
		 "aastra.cfg:1: key 'sip whitelist': '2' is neither 0 nor "
		 "1; the default (0) is used"},
		{F, TEXT("sip line1 user name: alice@example.com"), 1,
		 "aastra.cfg:1: key 'sip line1 user name': "
		 "'alice@example.com' is not a user name: write the part "
		 "before the '@' alone; the default (the account's user) is "
		 "used"},
		{F, TEXT("sip line1 user name: alice smith"), 1,
		 "aastra.cfg:1: key 'sip line1 user name': 'alice smith' is "
		 "not a user name: a character is not allowed; the default "
		 "(the account's user) is used"},
		{F, TEXT("sip line1 user name: <alice>"), 1,
		 "aastra.cfg:1: key 'sip line1 user name': '<alice>' is not "
		 "a user name: a character is not allowed; the default (the "
		 "account's user) is used"},
		{F, TEXT("sip line1 auth name: a\"b"), 1,
		 "aastra.cfg:1: key 'sip line1 auth name': a quote or a "
		 "backslash is not allowed; the default (the user name) is "
		 "used"},
		{F, TEXT("sip line1 display name: Al\\ice"), 1,
		 "aastra.cfg:1: key 'sip line1 display name': a quote or a "
		 "backslash is not allowed; it counts as not given"},
		{F, TEXT("sip line1 display name: Al\x1b[31mice"), 1,
		 "aastra.cfg:1: key 'sip line1 display name': a control "
		 "character is not allowed; it counts as not given"},
		{F, TEXT("sip line1 display name: Al\xc2\x9bice"), 1,
		 "aastra.cfg:1: key 'sip line1 display name': a control "
		 "character is not allowed; it counts as not given"},
		{F, TEXT("sip line1 subscribe: dialog"), 1,
		 "aastra.cfg:1: key 'sip line1 subscribe': 'dialog' is not "
		 "'event uri': left out; it counts as not given"},
		{F, TEXT("sip line1 subscribe: dialog 200, presence"), 1,
		 "aastra.cfg:1: key 'sip line1 subscribe': 'presence' is "
		 "not 'event uri': left out"},
		{F, TEXT("sip line1 subscribe: dialog 200 300"), 1,
		 "aastra.cfg:1: key 'sip line1 subscribe': 'dialog 200 300' "
		 "is not 'event uri': left out; it counts as not given"},
		{F, TEXT("sip line1 subscribe: dia/log 200"), 1,
		 "aastra.cfg:1: key 'sip line1 subscribe': 'dia/log 200' is "
		 "not 'event uri': left out; it counts as not given"},
		{F, TEXT("sip line1 subscribe: dialog <sip:200@x>"), 1,
		 "aastra.cfg:1: key 'sip line1 subscribe': 'dialog "
		 "<sip:200@x>' is not 'event uri': left out; it counts as "
		 "not given"},
		{F, TEXT("sip line1 subscribe: ,"), 1,
		 "aastra.cfg:1: key 'sip line1 subscribe': '' is not 'event "
		 "uri': left out; it counts as not given"},
		{F, TEXT("sip subscribe: dialog 200"), 1,
		 "aastra.cfg:1: key 'sip subscribe': it needs a line, 'sip "
		 "line1 ...'; ignored"},
		{F, TEXT("sip line1 backup proxy: 10.0.0.2"), 1,
		 "aastra.cfg:1: key 'sip line1 backup proxy': unknown (did "
		 "you mean 'sip line1 backup proxy ip'?)"},
		{F, TEXT("sip line1 backup proxy prt: 5060"), 1,
		 "aastra.cfg:1: key 'sip line1 backup proxy prt': unknown "
		 "(did you mean 'sip line1 backup proxy port'?)"},
		{F, TEXT("sip line1 sip server: 10.0.0.2"), 1,
		 "aastra.cfg:1: key 'sip line1 sip server': unknown (did "
		 "you mean 'sip line1 proxy ip'?)"},
		{F, TEXT("sip line1 outbound proxy ip: 10.0.0.2"), 1,
		 "aastra.cfg:1: key 'sip line1 outbound proxy ip': unknown "
		 "(did you mean 'sip line1 outbound proxy'?)"},
		{F, TEXT("sip line1 backup outbound proxy ip: 10.0.0.2"), 1,
		 "aastra.cfg:1: key 'sip line1 backup outbound proxy ip': "
		 "unknown (did you mean 'sip line1 backup outbound proxy'?)"},
		{F, TEXT("sip_line1_proxy_ip: 10.0.0.2"), 1,
		 "aastra.cfg:1: key 'sip_line1_proxy_ip': unknown (did you "
		 "mean 'sip line1 proxy ip'?)"},
		{F, TEXT("sip-proxy-ip: 10.0.0.2"), 1,
		 "aastra.cfg:1: key 'sip-proxy-ip': unknown (did you mean "
		 "'sip proxy ip'?)"},
		{F, TEXT("sip lin1 proxy ip: 10.0.0.2"), 1,
		 "aastra.cfg:1: key 'sip lin1 proxy ip': unknown (did you "
		 "mean 'sip line1 proxy ip'?)"},
		{F, TEXT("sip line 1 proxy ip: 10.0.0.2"), 1,
		 "aastra.cfg:1: key 'sip line 1 proxy ip': unknown (did you "
		 "mean 'sip line1 proxy ip'?)"},
		{F, TEXT("sip line 2 registration period: 300"), 1,
		 "aastra.cfg:1: key 'sip line 2 registration period': unknown "
		 "(did you mean 'sip line2 registration period'?)"},
		{F, TEXT("sip lineN registration period: 300"), 1,
		 "aastra.cfg:1: key 'sip linen registration period': unknown "
		 "(did you mean 'sip line1 registration period'?)"},
		{F, TEXT("sip line1proxy ip: 10.0.0.2"), 1,
		 "aastra.cfg:1: key 'sip line1proxy ip': unknown (did you "
		 "mean 'sip line1 proxy ip'?)"},
		{F, TEXT("sip linex proxy ip: 10.0.0.2"), 1,
		 "aastra.cfg:1: key 'sip linex proxy ip': unknown (did you "
		 "mean 'sip line1 proxy ip'?)"},
		{F, TEXT("sip line0 proxy ip: 10.0.0.2"), 1,
		 "aastra.cfg:1: key 'sip line0 proxy ip': lines count from "
		 "1, ignored"},
		{F, TEXT("sip line100001 proxy ip: 10.0.0.2"), 1,
		 "aastra.cfg:1: key 'sip line100001 proxy ip': no line has "
		 "such a number (1-100000), ignored"},
		{F, TEXT("sip line99999999999 proxy ip: 10.0.0.2"), 1,
		 "aastra.cfg:1: key 'sip line99999999999 proxy ip': no line "
		 "has such a number (1-100000), ignored"},
		{F, TEXT("sip line-1 proxy ip: 10.0.0.2"), 1,
		 "aastra.cfg:1: key 'sip line-1 proxy ip': unknown (did you "
		 "mean 'sip line1 proxy ip'?)"},
		{F, TEXT("sip line1 blacklist duration: 300"), 1,
		 "aastra.cfg:1: key 'sip line1 blacklist duration': it can "
		 "only be global, 'sip blacklist duration'; ignored"},
		{F, TEXT("sip line1 dns query type: 1"), 1,
		 "aastra.cfg:1: key 'sip line1 dns query type': it can only "
		 "be global, 'sip dns query type'; ignored"},
		{F, TEXT("sip nat keepalive timer: 30"), 1,
		 "aastra.cfg:1: key 'sip nat keepalive timer': unknown (did "
		 "you mean 'sip outbound keepalive timer'?)"},
		{F, TEXT("sip something completely different: 1"), 1,
		 "aastra.cfg:1: key 'sip something completely different': "
		 "unknown"},
		{F, TEXT("sip: 1"), 1,
		 "aastra.cfg:1: key 'sip': unknown"},
		{F, TEXT("sip proxy ip"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': no ':' behind the name, "
		 "ignored"},
		{F, TEXT("sip proxy ip = 10.0.0.2"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': no ':' behind the name, "
		 "ignored"},
		{F, TEXT("sip proxy ip; 10.0.0.2"), 1,
		 "aastra.cfg:1: key 'sip': no ':' behind the name, ignored"},
		{F, TEXT("just some words"), 1,
		 "aastra.cfg:1: key 'just': no ':' behind the name, ignored"},
		{F, TEXT(": 10.0.0.2"), 1,
		 "aastra.cfg:1: key '': no name before the ':', ignored"},
		{F, TEXT("<?xml version=\"1.0\"?>"), 1,
		 "aastra.cfg:1: key '<?xml': no ':' behind the name, ignored"},
		{F, TEXT("sip display name: \"Alice"), 1,
		 "aastra.cfg:1: key 'sip display name': the quote is never "
		 "closed; the value ends with the line"},
		{F, TEXT("sip display name: \"Alice\" Smith"), 1,
		 "aastra.cfg:1: key 'sip display name': text behind the "
		 "closing quote is ignored"},
		{F, TEXT("sip display name: \"A\" \"B\""), 1,
		 "aastra.cfg:1: key 'sip display name': text behind the "
		 "closing quote is ignored"},
		{F, TEXT("sip dis\0play name: Alice"), 1,
		 "aastra.cfg:1: key 'sip display name': NUL bytes are left "
		 "out"},
		{F, TEXT("sip display name: Al\0ice"), 1,
		 "aastra.cfg:1: key 'sip display name': NUL bytes are left "
		 "out"},
		{F, TEXT("aastra_cfg_path: /tmp"), 1,
		 "aastra.cfg:1: key 'aastra_cfg_path': it counts in "
		 "baresip's config only, ignored"},
		{F, TEXT("aastra_http_listen: 127.0.0.1:80"), 1,
		 "aastra.cfg:1: key 'aastra_http_listen': it counts in "
		 "baresip's config only, ignored"},
		{F, TEXT("dynamic spi: 1"), 1,
		 "aastra.cfg:1: key 'dynamic spi': unknown (did you mean "
		 "'dynamic sip'?)"},
		{F, TEXT("softkey0 type: blf"), 1,
		 "aastra.cfg:1: key 'softkey0 type': a setting of the phone "
		 "that has no use here (one of 1)"},
		{F, TEXT("sip use basic codecs: 1"), 1,
		 "aastra.cfg:1: key 'sip use basic codecs': a setting of "
		 "the phone that has no use here (one of 1)"},
		{F, TEXT("sip rtp port: 3000"), 1,
		 "aastra.cfg:1: key 'sip rtp port': a setting of the phone "
		 "that has no use here (one of 1)"},
		{B, TEXT("sip_line1_backup_outbond_proxy 10.0.0.2"), 1,
		 "config:1: key 'sip_line1_backup_outbond_proxy': unknown "
		 "(did you mean 'sip_line1_backup_outbound_proxy'?)"},
		{B, TEXT("sip_backup_outbound_proxi 10.0.0.2"), 1,
		 "config:1: key 'sip_backup_outbound_proxi': unknown (did "
		 "you mean 'sip_backup_outbound_proxy'?)"},
		{B, TEXT("sip_line1_foo 1"), 1,
		 "config:1: key 'sip_line1_foo': unknown"},
		{B, TEXT("sip_lines1_proxy_ip 10.0.0.2"), 1,
		 "config:1: key 'sip_lines1_proxy_ip': unknown (did you "
		 "mean 'sip_line1_proxy_ip'?)"},
		{B, TEXT("sip_line0_proxy_ip 10.0.0.2"), 1,
		 "config:1: key 'sip_line0_proxy_ip': lines count from 1, "
		 "ignored"},
		{B, TEXT("sip_line1_proxy_ip=10.0.0.2"), 1,
		 "config:1: key 'sip_line1_proxy_ip': a blank stands behind "
		 "the name, not a '='; ignored"},
		{B, TEXT("sip proxy ip 10.0.0.2"), 1,
		 "config:1: key 'sip proxy ip': no ':' behind the name, "
		 "ignored"},
		{B, TEXT("sip line1 backup outbound proxy 10.0.0.2"), 1,
		 "config:1: key 'sip line1 backup outbound proxy': no ':' "
		 "behind the name, ignored"},
		{B, TEXT("sip line1 backup proxy: 10.0.0.2"), 1,
		 "config:1: key 'sip line1 backup proxy': unknown (did you "
		 "mean 'sip line1 backup proxy ip'?)"},
		{B, TEXT("sips persistant tls: 1"), 1,
		 "config:1: key 'sips persistant tls': unknown (did you "
		 "mean 'sips persistent tls'?)"},
		{B, TEXT("prgkey0 type: blf"), 1,
		 "config:1: key 'prgkey0 type': a setting of the phone that "
		 "has no use here (one of 1)"},
		{B, TEXT("aastra_cfg_pth /tmp"), 1,
		 "config:1: key 'aastra_cfg_pth': unknown (did you mean "
		 "'aastra_cfg_path'?)"},
		{B, TEXT("aastra_foo 1"), 1,
		 "config:1: key 'aastra_foo': unknown"},
		{B, TEXT("aastra_cfg_mac 00085D1610"), 1,
		 "config:1: key 'aastra_cfg_mac': '00085D1610' is not a MAC "
		 "address (12 hex digits); the default (that of the "
		 "interface in use) is used"},
		{B, TEXT("aastra_cfg_mac 00085D1610DG"), 1,
		 "config:1: key 'aastra_cfg_mac': '00085D1610DG' is not a "
		 "MAC address (12 hex digits); the default (that of the "
		 "interface in use) is used"},
		{B, TEXT("aastra_cfg_model ../../etc/passwd"), 1,
		 "config:1: key 'aastra_cfg_model': '../../etc/passwd' is "
		 "not a file name; it counts as not given"},
		{B, TEXT("aastra_cfg_model .hidden"), 1,
		 "config:1: key 'aastra_cfg_model': '.hidden' is not a file "
		 "name; it counts as not given"},
		{B, TEXT("aastra_cfg_url ftp://host/x"), 1,
		 "config:1: key 'aastra_cfg_url': not a URL that begins "
		 "with http:// or https://; it counts as not given"},
		{B, TEXT("aastra_cfg_url host/x"), 1,
		 "config:1: key 'aastra_cfg_url': not a URL that begins "
		 "with http:// or https://; it counts as not given"},
		{B, TEXT("aastra_http_listen 80800"), 1,
		 "config:1: key 'aastra_http_listen': '80800' is not "
		 "'address:port'; the default (off) is used"},
		{B, TEXT("aastra_http_listen pbx:8080"), 1,
		 "config:1: key 'aastra_http_listen': 'pbx:8080' is not "
		 "'address:port'; the default (off) is used"},
		{B, TEXT("aastra_http_listen 127.0.0.1:0"), 1,
		 "config:1: key 'aastra_http_listen': '127.0.0.1:0' is not "
		 "'address:port'; the default (off) is used"},
		{B, TEXT("aastra_http_listen 127.0.0.1:70000"), 1,
		 "config:1: key 'aastra_http_listen': '127.0.0.1:70000' is "
		 "not 'address:port'; the default (off) is used"},
		{B, TEXT("aastra_http_listen :8080"), 1,
		 "config:1: key 'aastra_http_listen': ':8080' is not "
		 "'address:port'; the default (off) is used"},
		{B, TEXT("aastra_http_listen [::1:8080"), 1,
		 "config:1: key 'aastra_http_listen': '[::1:8080' is not "
		 "'address:port'; the default (off) is used"},
		{B, TEXT("aastra_http_listen [127.0.0.1]:80"), 1,
		 "config:1: key 'aastra_http_listen': '[127.0.0.1]:80' is not "
		 "'address:port'; the default (off) is used"},
		{B, TEXT("aastra_cfg_url https://"), 1,
		 "config:1: key 'aastra_cfg_url': not a URL that begins with "
		 "http:// or https://; it counts as not given"},
		{B, TEXT("aastra_cfg_url http:///x"), 1,
		 "config:1: key 'aastra_cfg_url': not a URL that begins with "
		 "http:// or https://; it counts as not given"},
		{F, TEXT("sip proxy ip: ."), 1,
		 "aastra.cfg:1: key 'sip proxy ip': '.' is not an address: it "
		 "takes four numbers from 0 to 255; the default (the "
		 "account's domain) is used"},
		{F, TEXT("sip proxy ip: [10.0.0.1"), 1,
		 "aastra.cfg:1: key 'sip proxy ip': '[10.0.0.1' is not an "
		 "address; the default (the account's domain) is used"},
		{B, TEXT("aastra_http_listen ::1:8080"), 1,
		 "config:1: key 'aastra_http_listen': '::1:8080' is not "
		 "'address:port'; the default (off) is used"},
		{F, TEXT("sip proxy port: 5061\nsip proxy port: 5062x"), 2,
		 "aastra.cfg:2: key 'sip proxy port': '5062x' is not a port "
		 "(0-65535); '5061' of aastra.cfg:1 is used"},
		{F, TEXT("sip proxy ip: a\nsip proxy ip: b"), 1,
		 "aastra.cfg:2: key 'sip proxy ip': replaces line 1 of the "
		 "same file"},
		{F, TEXT("sip failback delay: 7\nsip failback delay: x"), 1,
		 "aastra.cfg:2: key 'sip failback delay': 'x' is not a "
		 "number; '7' of aastra.cfg:1 is used"},
		{F, TEXT("sip failback delay: 7\nsip line7 failback "
			"delay: x"), 1,
		 "aastra.cfg:2: key 'sip line7 failback delay': 'x' is not "
		 "a number; '7' of aastra.cfg:1 is used"},
		{F, TEXT("sip backup proxy port: 5060"), 1,
		 "aastra.cfg:1: key 'sip backup proxy port': no effect "
		 "without 'sip backup proxy ip'"},
		{F, TEXT("sip registrar ip:0.0.0.0\nsip registrar "
			"port:5060"), 1,
		 "aastra.cfg:2: key 'sip registrar port': no effect without "
		 "'sip registrar ip'"},
		{F, TEXT("sip vmail: *97"), 1,
		 "aastra.cfg:1: key 'sip vmail': not used here: baresip has "
		 "no key that dials it"},
		{F, TEXT("sip T1 timer: 600"), 1,
		 "aastra.cfg:1: key 'sip T1 timer': not used here: 500 ms "
		 "is compiled into libre; `sip transaction timer` ends a "
		 "request sooner"},
	};
	size_t i, j;

	(void)state;
	assert_true(COUNT(casev) >= 80);

	for (i=0; i<COUNT(casev); i++) {
		static const char more[] = "\nsip line9 failback delay: 99\n";
		struct aa_config_text text;
		struct report rep = {.n = 0};
		struct aa_config *cfg = NULL;
		char buf[512];

		text = text_of(casev[i].layer, NULL);
		memcpy(buf, casev[i].text, casev[i].len);
		memcpy(&buf[casev[i].len], more, sizeof(more) - 1);
		text.buf = buf;
		text.len = casev[i].len + sizeof(more) - 1;

		assert_int_equal(0, aa_config_alloc_text(&cfg, &text, 1,
							 msg_handler, &rep));

		if (rep.n != casev[i].n ||
		    strcmp(casev[i].finding, rep.textv[0])) {

			print_error("%s\n", casev[i].text);
			for (j=0; j<rep.n; j++)
				print_error("reported:  %s\n", rep.textv[j]);
			print_error("should be: %s\n", casev[i].finding);
			fail();
		}

		/* nothing else suffers, and it is listed again */
		assert_int_equal(99, aa_config_u32(cfg, 9,
						   "sip failback delay"));

		for (j=0; j<rep.n; j++) {
			char *part = strdup(rep.textv[j]);

			assert_non_null(part);
			squeeze(part);
			assert_listed(cfg, 0, NULL, part);
			free(part);
		}

		mem_deref(cfg);
		report_reset(&rep);
	}
}


#undef F
#undef B


/* ---- Files as they are found (facts, chapter 6) ----------------------- */


/** The settings of a line in one string; `-` where there is nothing */
static char *describe(const struct aa_line_config *lc)
{
	static const enum aa_role rolev[] = {PROXY, REGISTRAR, OUTBOUND};
	struct mbuf *mb = mbuf_alloc(256);
	char *str = NULL;
	size_t i;
	int rank;

	assert_non_null(mb);
	assert_int_equal(0, mbuf_printf(mb, "%s/%s/%s '%s'",
		lc->user_name[0] ? lc->user_name : "-",
		lc->auth_name[0] ? lc->auth_name : "-",
		lc->password[0] ? lc->password : "-", lc->display_name));

	for (i=0; i<COUNT(rolev); i++) {

		for (rank=PRIMARY; rank<AA_RANK_COUNT; rank++) {
			const struct aa_server *srv;

			srv = &lc->server[rolev[i]][rank];
			assert_int_equal(0, mbuf_printf(mb, "%s%s:%u",
				rank == PRIMARY ? "\n" : " | ",
				srv->host[0] ? srv->host : "-", srv->port));
		}
	}

	assert_int_equal(0, mbuf_printf(mb, "\n%s outbound=%u registers=%u "
		"tp=%d\nperiod=%u retry=%u/%u mwi=%u/%u blf=%u",
		aa_scenario_name(lc->scenario), lc->outbound, lc->registers,
		(int)lc->transport, lc->registration_period,
		lc->registration_retry, lc->registration_timeout_retry,
		lc->explicit_mwi, lc->explicit_mwi_period, lc->blf_period));

	mb->pos = 0;
	assert_int_equal(0, mbuf_strdup(mb, &str, mb->end));
	mem_deref(mb);

	return str;
}


static void test_shapes(void **state)
{
	/* each line: user/auth/password 'display'; then proxy, registrar and
	   outbound proxy as primary | backup; then the rest */
	static const struct {
		const char *what;
		const char *aastra, *mac, *baresip;
		uint32_t line;
		bool has_account;
		size_t warnings;
		const char *expected;
	} casev[] = {
		{"1 per line all of proxy, registrar and both backups",
		 "sip transport protocol: 1\n",
		 "# written by the provisioning\n"
		 "sip line1 proxy ip: 10.1.0.1\nsip line1 proxy port: 5060\n"
		 "sip line1 backup proxy ip: 10.1.0.2\n"
		 "sip line1 backup proxy port: 5060\n"
		 "sip line1 registrar ip: 10.1.0.1\n"
		 "sip line1 registrar port: 5060\n"
		 "sip line1 backup registrar ip: 10.1.0.2\n"
		 "sip line1 backup registrar port: 5060\n"
		 "sip line1 user name: w100\nsip line1 auth name: w100\n"
		 "sip line1 password: secret1\n"
		 "sip line1 display name: Anna B\n"
		 "sip line1 screen name: Anna B 100\n",
		 NULL, 1, false, 0,
		 "w100/w100/secret1 'Anna B'\n"
		 "10.1.0.1:5060 | 10.1.0.2:5060\n"
		 "10.1.0.1:5060 | 10.1.0.2:5060\n"
		 "-:0 | -:0\n"
		 "proxy-registrar outbound=0 registers=1 tp=1\n"
		 "period=3600 retry=1800/120 mwi=0/3600 blf=3600"},

		{"2 global periods and persistent TLS",
		 "sips persistent tls: 1\n"
		 "sip explicit mwi subscription period: 3600\n"
		 "sip blf subscription period: 3600\n"
		 "sip transport protocol: 4\n", NULL,
		 "sip_line1_backup_outbound_proxy 10.0.0.2\n", 1, true, 0,
		 "-/-/- ''\n"
		 "pbx.example.com:0 | -:0\n"
		 "pbx.example.com:0 | -:0\n"
		 "10.0.0.1:5060 | 10.0.0.2:0\n"
		 "outbound-proxy outbound=1 registers=1 tp=4\n"
		 "period=600 retry=1800/120 mwi=0/3600 blf=3600"},

		{"3 backups 0.0.0.0, their ports 5060", NULL,
		 "sip line1 proxy ip: pbx.example\n"
		 "sip line1 proxy port: 5060\n"
		 "sip line1 backup proxy ip: 0.0.0.0\n"
		 "sip line1 backup proxy port: 5060\n"
		 "sip line1 registrar ip: pbx.example\n"
		 "sip line1 registrar port: 5060\n"
		 "sip line1 backup registrar ip: 0.0.0.0\n"
		 "sip line1 backup registrar port: 5060\n"
		 "sip line1 user name: 100\nsip line1 password: s\n",
		 NULL, 1, false, 0,
		 "100/-/s ''\n"
		 "pbx.example:5060 | -:0\n"
		 "pbx.example:5060 | -:0\n"
		 "-:0 | -:0\n"
		 "none outbound=0 registers=1 tp=1\n"
		 "period=3600 retry=1800/120 mwi=0/3600 blf=3600"},

		{"4 comments at the end of lines", NULL,
		 "sip line1 registrar ip: pbx.example   # the server\n"
		 "sip line1 registrar port: 5060        # its port\n"
		 "sip line1 registration period: 120    # 2 minutes\n"
		 "sip line1 proxy ip: pbx.example   # again\n"
		 "sip line1 proxy port: 5060\n"
		 "sip line1 user name: 100 # and so on\n"
		 "sip line1 auth name: 100\nsip line1 password: a#b#c # pw\n",
		 NULL, 1, false, 0,
		 "100/100/a#b#c ''\n"
		 "pbx.example:5060 | -:0\n"
		 "pbx.example:5060 | -:0\n"
		 "-:0 | -:0\n"
		 "none outbound=0 registers=1 tp=1\n"
		 "period=120 retry=1800/120 mwi=0/3600 blf=3600"},

		{"5 no blank behind the colon, ports without addresses",
		 "sip proxy ip:pbx.example\nsip proxy port:5060\n"
		 "sip registrar ip:0.0.0.0\nsip registrar port:5060\n"
		 "sip backup proxy port:5060\nsip backup registrar port:5060\n"
		 "sip subscription timeout retry timer:300\n"
		 "sip subscription failed retry timer:300\n"
		 "sip registration retry timer:300\nsip outbound support:0\n"
		 "sip outbound proxy:0.0.0.0\nsip outbound proxy port:5061\n"
		 "sip persistent tls keep alive:0\nsip whitelist:0\n"
		 "dynamic sip:1\n", NULL, NULL, 1, true, 0,
		 "-/-/- ''\n"
		 "pbx.example:5060 | -:0\n"
		 "pbx.example.com:0 | -:0\n"
		 "10.0.0.1:5060 | -:0\n"
		 "none outbound=0 registers=1 tp=2\n"
		 "period=600 retry=300/120 mwi=0/3600 blf=3600"},

		{"6 backups written, all empty", NULL,
		 "sip line1 user name: 100\nsip line1 password: s\n"
		 "sip line1 proxy ip: 10.1.0.1\nsip line1 proxy port: 5060\n"
		 "sip line1 registrar ip: 10.1.0.1\n"
		 "sip line1 registrar port: 5060\n"
		 "sip line1 backup proxy ip:\nsip line1 backup proxy port:\n"
		 "sip line1 backup registrar ip: \n"
		 "sip line1 backup registrar port: \n",
		 NULL, 1, false, 0,
		 "100/-/s ''\n"
		 "10.1.0.1:5060 | -:0\n"
		 "10.1.0.1:5060 | -:0\n"
		 "-:0 | -:0\n"
		 "none outbound=0 registers=1 tp=1\n"
		 "period=3600 retry=1800/120 mwi=0/3600 blf=3600"},

		{"7 short timers, message waiting",
		 "sip registration retry timer: 60\n"
		 "sip registration timeout retry timer: 30\n"
		 "sip explicit mwi subscription: 1\n"
		 "sip explicit mwi subscription period: 120\n"
		 "sip blf subscription period: 120\ndynamic sip: 1\n",
		 "sip line1 user name: u\nsip line1 proxy ip: p\n"
		 "sip line1 registrar ip: r\n", NULL, 1, false, 0,
		 "u/-/- ''\n"
		 "p:0 | -:0\n"
		 "r:0 | -:0\n"
		 "-:0 | -:0\n"
		 "none outbound=0 registers=1 tp=1\n"
		 "period=3600 retry=60/30 mwi=1/120 blf=120"},

		{"8 SRV by port 0, trailing blanks",
		 "sip proxy ip  : example.org  \nsip proxy port  : 0  \n"
		 "sip registrar ip  : example.org\t\n"
		 "sip registrar port  : 0  \nsip registration period : 120 \n"
		 "sip registration retry timer  : 120  \n"
		 "sip blf subscription period  : 120  \n",
		 "sip line1 user name  : 100  \nsip line1 password  : s  \n",
		 NULL, 1, false, 0,
		 "100/-/s ''\n"
		 "example.org:0 | -:0\n"
		 "example.org:0 | -:0\n"
		 "-:0 | -:0\n"
		 "none outbound=0 registers=1 tp=1\n"
		 "period=120 retry=120/120 mwi=0/3600 blf=120"},

		{"9 long retry, contact matching",
		 "sip registration retry timer: 600\n"
		 "sip explicit mwi subscription: 1\n"
		 "sip explicit mwi subscription period: 3600\n"
		 "sip contact matching: 2\n",
		 "sip line1 user name: 100\nsip line1 proxy ip: p\n"
		 "sip line1 registrar ip: p\n", NULL, 1, false, 0,
		 "100/-/- ''\n"
		 "p:0 | -:0\n"
		 "p:0 | -:0\n"
		 "-:0 | -:0\n"
		 "none outbound=0 registers=1 tp=1\n"
		 "period=3600 retry=600/120 mwi=1/3600 blf=3600"},

		{"10 a key twice, period 0, softkeys in comments",
		 "sip proxy ip: 10.1.0.1\nsip proxy port: 5060\n"
		 "sip proxy port: 5060\nsip registrar ip: 10.1.0.1\n"
		 "sip outbound proxy port: 5060\nsip registration period: 0\n"
		 "#softkey1 type: speeddial\n#softkey1 value: 200\n"
		 "softkey2 type: dnd\ntime server1: ntp.example\n",
		 "sip line1 user name: 100\nsip line1 auth name: 100\n"
		 "sip line1 password: s\n", NULL, 1, false, 0,
		 "100/100/s ''\n"
		 "10.1.0.1:5060 | -:0\n"
		 "10.1.0.1:0 | -:0\n"
		 "-:0 | -:0\n"
		 "none outbound=0 registers=1 tp=1\n"
		 "period=3600 retry=1800/120 mwi=0/3600 blf=3600"},

		{"11 auth per line, servers global and quoted",
		 "sip proxy ip:\"10.1.0.1\"\nsip registrar ip:\"10.1.0.1\"\n"
		 "sip session timer:1800\nsip dial plan:\"x+^|xx+*\"\n"
		 "sip vmail:\"*32#\"\n",
		 "sip line1 user name: 100\nsip line1 auth name: 100\n"
		 "sip line1 password: \"p # w\"\n",
		 NULL, 1, false, 0,
		 "100/100/p # w ''\n"
		 "10.1.0.1:0 | -:0\n"
		 "10.1.0.1:0 | -:0\n"
		 "-:0 | -:0\n"
		 "none outbound=0 registers=1 tp=1\n"
		 "period=3600 retry=1800/120 mwi=0/3600 blf=3600"},

		{"12 backups that are the primaries",
		 "sip proxy ip: 10.1.0.1\nsip proxy port: 5060\n"
		 "sip backup proxy ip: 10.1.0.1\nsip backup proxy port: 5060\n"
		 "sip registrar ip: 10.1.0.1\nsip registrar port: 5060\n"
		 "sip backup registrar ip: 10.1.0.1\n"
		 "sip blacklist duration: 180\n",
		 "sip line1 user name: 100\n", NULL, 1, false, 2,
		 "100/-/- ''\n"
		 "10.1.0.1:5060 | -:0\n"
		 "10.1.0.1:5060 | -:0\n"
		 "-:0 | -:0\n"
		 "none outbound=0 registers=1 tp=1\n"
		 "period=3600 retry=1800/120 mwi=0/3600 blf=3600"},

		{"13 keys that no guide has",
		 "sip line1 sip server: 10.1.0.1\n"
		 "sip line1 backup proxy: 10.1.0.2\n"
		 "sip line1 backup proxy port: 5060\n"
		 "sip line1 user name: 100\n", NULL, NULL, 1, false, 3,
		 "100/-/- ''\n"
		 "-:0 | -:0\n"
		 "-:0 | -:0\n"
		 "-:0 | -:0\n"
		 "none outbound=0 registers=0 tp=1\n"
		 "period=3600 retry=1800/120 mwi=0/3600 blf=3600"},

		{"14 one server for everything, nothing else",
		 "sip proxy ip: 10.1.0.1\nsip proxy port: 5060\n"
		 "sip registrar ip: 10.1.0.1\nsip registrar port: 5060\n",
		 NULL, NULL, 1, true, 0,
		 "-/-/- ''\n"
		 "10.1.0.1:5060 | -:0\n"
		 "10.1.0.1:5060 | -:0\n"
		 "10.0.0.1:5060 | -:0\n"
		 "none outbound=0 registers=1 tp=2\n"
		 "period=600 retry=1800/120 mwi=0/3600 blf=3600"},
	};
	size_t i;

	(void)state;

	for (i=0; i<COUNT(casev); i++) {
		const struct aa_config_text textv[] = {
			text_of(AA_LAYER_AASTRA, casev[i].aastra),
			text_of(AA_LAYER_MAC, casev[i].mac),
			text_of(AA_LAYER_BARESIP, casev[i].baresip),
		};
		struct report rep = {.n = 0};
		struct aa_config *cfg = NULL;
		struct aa_line_config lc;
		char *str;
		size_t j;

		assert_int_equal(0, aa_config_alloc_text(&cfg, textv,
							 COUNT(textv),
							 msg_handler, &rep));
		assert_int_equal(0, aa_config_line(
			cfg, casev[i].line,
			casev[i].has_account ? &account : NULL, &lc));

		str = describe(&lc);

		if (strcmp(casev[i].expected, str) ||
		    casev[i].warnings != warnings(&rep)) {

			for (j=0; j<rep.n; j++)
				print_error("%s\n", rep.textv[j]);
			print_error("%s\nis:\n%s\nshould be:\n%s\n",
				    casev[i].what, str, casev[i].expected);
			fail();
		}

		mem_deref(str);
		mem_deref(cfg);
		report_reset(&rep);
	}
}


int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reader_lines),
		cmocka_unit_test(test_reader_names),
		cmocka_unit_test(test_reader_prefix),
		cmocka_unit_test(test_reader_values),
		cmocka_unit_test(test_reader_long),
		cmocka_unit_test(test_reader_errors),
		cmocka_unit_test(test_reader_baresip),
		cmocka_unit_test(test_reader_garbage),
		cmocka_unit_test(test_table_complete),
		cmocka_unit_test(test_table_sane),
		cmocka_unit_test(test_table_ranges),
		cmocka_unit_test(test_table_spellings),
		cmocka_unit_test(test_layers),
		cmocka_unit_test(test_spellings),
		cmocka_unit_test(test_baresip_lines),
		cmocka_unit_test(test_locks),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_choices),
		cmocka_unit_test(test_account),
		cmocka_unit_test(test_sets),
		cmocka_unit_test(test_inheritance_key),
		cmocka_unit_test(test_user_name),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_outbound_default),
		cmocka_unit_test(test_scenarios),
		cmocka_unit_test(test_recovery),
		cmocka_unit_test(test_phone_timers),
		cmocka_unit_test(test_persistent_tls),
		cmocka_unit_test(test_register),
		cmocka_unit_test(test_hundred_lamps),
		cmocka_unit_test(test_questions),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_counterparts),
		cmocka_unit_test(test_check_line),
		cmocka_unit_test(test_check_lines),
		cmocka_unit_test(test_log_safe),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_listing),
		cmocka_unit_test(test_listing_error),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_files_fetched),
		cmocka_unit_test(test_files_unreadable),
		cmocka_unit_test(test_files_mac),
		cmocka_unit_test(test_thousand_lines),
		cmocka_unit_test(test_many_findings),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_shapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
