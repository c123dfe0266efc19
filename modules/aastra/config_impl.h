/**
 * @file config_impl.h  What the files of the configuration share
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_CONFIG_IMPL_H
#define AASTRA_CONFIG_IMPL_H

#include <re.h>
#include "config.h"
#include "key.h"
#include "keyname.h"
#include "value.h"
#include "progkey.h"


/** A file that was read */
struct aa_source {
	struct le le;
	char *name;
	enum aa_config_layer layer;
	uint32_t keys;          /* entries that are keys of ours             */
	uint32_t others;        /* settings of the phone beside SIP          */
	uint32_t other_line;    /* line of the first such                    */
	char *other_name;
	bool nul;               /* NUL bytes were reported                   */
	bool exposed;           /* everybody may read the file              */
	bool whole;             /* baresip's config, with its modules       */
};

/** One value as it was written */
struct aa_entry {
	struct le le;
	const struct aa_source *src;
	uint32_t lineno;
	uint32_t line;          /* 0: global                                 */
	enum aa_key_id key;
	uint32_t seq;           /* order of reading                          */
	uint8_t rank;           /* layer, and spelling in baresip's config   */
	bool locked;
	bool overwrite;
	bool underscore;
	struct aa_value v;
};

/** One finding */
struct aa_finding {
	struct le le;
	enum aa_config_level level;
	uint32_t line;          /* of the phone; 0: all of them              */
	char *text;
};

/** All that was read */
struct aa_config {
	struct list sourcel;    /* struct aa_source                          */
	struct list entryl;     /* struct aa_entry                           */
	struct list findingl;   /* struct aa_finding                         */
	struct aa_progkeys *keys;  /* of the phone, for busy lamps           */
	struct aa_entry **indexv;  /* by line, key, rank, order              */
	size_t indexc;
	uint32_t seq;
	uint32_t guesses;
	int status;             /* why a file could not be read              */
	bool full;              /* FINDINGS_MAX reached                      */
	char ifname[64];        /* `net_interface` of baresip's config       */
	aa_config_msg_h *msgh;
	void *arg;
};

/** What a line sees of the configuration */
struct aa_view {
	const struct aa_config *cfg;
	uint32_t line;
	bool hidden[AA_SET_COUNT];  /* globals of that set do not count      */
};


/* config.c: what is in force */
int  aa_config_index(struct aa_config *cfg);
const struct aa_entry *aa_config_winner(const struct aa_config *cfg,
					uint32_t line, enum aa_key_id key);
const struct aa_entry *aa_config_entry(const struct aa_config *cfg,
				       uint32_t line, enum aa_key_id key);
const struct aa_entry *aa_config_own_set(const struct aa_config *cfg,
					 uint32_t line, enum aa_key_set set);

int  aa_entry_compare(const struct aa_entry *e, uint32_t line,
		      enum aa_key_id key);
int  aa_entry_print_name(struct re_printf *pf, const struct aa_entry *e);
int  aa_entry_print_place(struct re_printf *pf, const struct aa_entry *e);

void aa_view_init(struct aa_view *v, const struct aa_config *cfg,
		  uint32_t line);
const struct aa_entry *aa_view_look(const struct aa_view *v,
				    enum aa_key_id key);
const struct aa_entry *aa_view_look_ok(const struct aa_view *v,
				       enum aa_key_id key);
uint32_t aa_view_num(const struct aa_view *v, enum aa_key_id key);
bool aa_view_described(const struct aa_view *v);
void aa_view_server(struct aa_server *srv, const struct aa_view *v,
		    enum aa_key_id key);
void aa_view_transport(struct aa_line_config *lc, const struct aa_view *v,
		       const struct aa_account_facts *facts);
void aa_view_primaries(struct aa_line_config *lc, const struct aa_view *v,
		       const struct aa_account_facts *facts);

enum aa_key_id aa_key_port(enum aa_key_id address);
bool aa_server_same(const struct aa_server *a, const struct aa_server *b,
		    enum aa_transport transport);

/* config_check.c: findings */
void aa_config_finding(struct aa_config *cfg, enum aa_config_level level,
		       uint32_t line, const char *fmt, ...);
void aa_config_analyse(struct aa_config *cfg);


/** A finding about an entry */
#define FINDING(cfg, level, e, fmt, ...) \
	aa_config_finding(cfg, level, (e)->line, "%s:%u: key '%H': " fmt, \
			  (e)->src->name, (e)->lineno, aa_entry_print_name, \
			  e, __VA_ARGS__)

#endif
