/**
 * @file fuzz_cfgfile.c  Any bytes as configuration
 *
 * Copyright (C) 2026 The baresip-aastra authors
 *
 * The input goes through both readers, and through the whole configuration:
 * once as baresip's config, once as a phone's file, and cut in two at the
 * first form feed as both at once.  Beside what the sanitizers see, the
 * settings must be in range and the findings fit for a log.
 *
 *   clang -g -fsanitize=fuzzer,address,undefined -I../../modules/aastra \
 *       -I/usr/include/re -DHAVE_INET6 -DHAVE_INTTYPES_H -DHAVE_STDBOOL_H \
 *       -D_GNU_SOURCE -o fuzz_cfgfile fuzz_cfgfile.c \
 *       ../../modules/aastra/{key*,value,config*,cfgfile,policy,progkey}.c \
 *       -lre
 *   ./fuzz_cfgfile -dict=cfgfile.dict -max_len=8192 corpus/cfgfile
 */
#include <stdlib.h>
#include <string.h>
#include <re.h>
#include "config.h"
#include "cfgfile.h"
#include "fuzz.h"


static int entry_handler(const struct aa_cfg_entry *e, void *arg)
{
	uint32_t *lineno = arg;

	REQUIRE(e->lineno > *lineno);
	*lineno = e->lineno;

	REQUIRE(memchr(e->name, '\0', sizeof(e->name)));
	REQUIRE(memchr(e->value, '\0', sizeof(e->value)));
	REQUIRE(!strpbrk(e->name, "\r\n"));
	REQUIRE(!strpbrk(e->value, "\r\n"));

	return 0;
}


static void msg_handler(enum aa_config_level level, const char *text,
			void *arg)
{
	(void)level;
	(void)arg;

	for (; *text; text++)
		REQUIRE((uint8_t)*text >= 0x20 && *text != 0x7f);
}


static int print_handler(const char *p, size_t size, void *arg)
{
	size_t *n = arg;

	/* most come one by one */
	REQUIRE(size == 1 ? *p : !memchr(p, '\0', size));
	*n += size;

	return 0;
}


static void check_line(const struct aa_line_config *lc)
{
	REQUIRE(lc->scenario < AA_SCENARIO_COUNT);
	REQUIRE(lc->failback < AA_FAILBACK_COUNT);
	REQUIRE(lc->registration_period >= 1);
	REQUIRE(lc->registration_retry >= 30);
	REQUIRE(lc->registration_retry <= 1800);
	REQUIRE(lc->transaction_timer >= 500);
	REQUIRE(lc->transaction_timer <= 64000);
	REQUIRE(lc->keepalive_timer >= 1 && lc->keepalive_timer <= 840);
	REQUIRE(lc->recovery_base >= 1 && lc->recovery_base <= 1800);
	REQUIRE(lc->recovery_max >= lc->recovery_base);
	REQUIRE(lc->recovery_max <= 86400);
	REQUIRE(lc->failback_delay <= 86400);
	REQUIRE(lc->failback_successes >= 1 && lc->failback_successes <= 10);
	REQUIRE(lc->standby <= 2);
	REQUIRE(memchr(lc->user_name, '\0', sizeof(lc->user_name)));
	REQUIRE(memchr(lc->subscribe, '\0', sizeof(lc->subscribe)));
	REQUIRE(aa_line_config_equal(lc, lc));
}


static void use(const struct aa_config_text *textv, size_t textc)
{
	static const struct aa_account_facts facts = {
		.user      = "100",
		.domain    = {"pbx.example.com", 0},
		.outbound  = {"10.0.0.1", 5060},
		.transport = AA_TRANSPORT_TCP,
		.regint    = 600,
	};
	struct aa_line_config lc;
	struct aa_config *cfg = NULL;
	size_t n = 0;
	struct re_printf pf = {print_handler, &n};
	uint32_t line;

	REQUIRE(!aa_config_alloc_text(&cfg, textv, textc, msg_handler, NULL));

	/* one line that has an account, and one that has none */
	for (line=1; line<=2; line++) {
		const struct aa_account_facts *f = line == 1 ? &facts : NULL;

		REQUIRE(!aa_config_line(cfg, line, f, &lc));
		check_line(&lc);

		aa_config_check_line(cfg, line, f);
		REQUIRE(!aa_config_print(&pf, cfg, line, f));

		if (aa_config_describes_line(cfg, line))
			REQUIRE(aa_config_names_line(cfg, line));
	}

	aa_config_check_lines(cfg, 2);
	REQUIRE(aa_config_max_line(cfg) <= 100000);
	REQUIRE(!aa_config_print(&pf, cfg, 0, NULL));
	REQUIRE(n > 0);

	mem_deref(cfg);
}


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *buf = (const char *)data;
	const char *ff = size ? memchr(buf, '\f', size) : NULL;
	const size_t head = ff ? (size_t)(ff - buf) : size;
	const struct aa_config_text baresip = {
		AA_LAYER_BARESIP, "config", buf, head
	};
	const struct aa_config_text file = {
		AA_LAYER_MAC, "00085D1610DE.cfg", buf, size
	};
	const struct aa_config_text bothv[] = {
		baresip, {AA_LAYER_MODEL, "6757i.cfg", buf + head, size - head}
	};
	uint32_t lineno = 0;

	(void)aa_cfgfile_read(buf, size, entry_handler, &lineno);
	lineno = 0;
	(void)aa_cfgfile_read_baresip(buf, size, entry_handler, &lineno);

	use(&baresip, 1);
	use(&file, 1);

	/* without a cut the second is empty, and the first was used */
	if (ff)
		use(bothv, 2);

	return 0;
}
