/**
 * @file progkey.c  Busy lamps on the keys of a phone
 *
 * The phones' files say what each key does:
 *
 *     prgkey1 type: blf              softkey7 type: blf
 *     prgkey1 value: 200             softkey7 label: Bob
 *     prgkey1 line: 2                softkey7 value: 201
 *
 * and the same with `topsoftkeyN` and `expmodM keyN`.  Of all that keys can
 * do, busy lamps (`blf`, `blfxfer`) and their lists (`list`, of which the
 * `list uri` says where it is) are something for a phone without keys.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <re.h>
#include "progkey.h"


enum {
	KEYS_MAX   = 4096,
	NUMBER_MAX = 9999,
	NAME_SIZE  = 64
};

/** Kinds of keys */
enum group {
	GROUP_PRGKEY = 0,
	GROUP_SOFTKEY,
	GROUP_TOPSOFTKEY,
	GROUP_EXPMOD,
	GROUP_COUNT
};

/** One key */
struct key {
	struct le le;
	enum group group;
	uint32_t module;        /* of an expansion module                   */
	uint32_t number;
	char *type;
	char *value;
	char *label;
	uint32_t line;
};

struct aa_progkeys {
	struct list keyl;       /* struct key, in the order of the phone    */
	char *list_uri;
};


static const char *const groupv[GROUP_COUNT] = {
	"prgkey", "softkey", "topsoftkey", "expmod"
};


static void key_destructor(void *arg)
{
	struct key *key = arg;

	list_unlink(&key->le);
	mem_deref(key->type);
	mem_deref(key->value);
	mem_deref(key->label);
}


static void destructor(void *arg)
{
	struct aa_progkeys *pk = arg;

	list_flush(&pk->keyl);
	mem_deref(pk->list_uri);
}


/* The number that a text begins with; what is behind it */
static const char *number_decode(uint32_t *number, const char *str)
{
	uint32_t n = 0;
	const char *p = str;

	while (*p >= '0' && *p <= '9' && n <= NUMBER_MAX)
		n = 10 * n + (uint32_t)(*p++ - '0');

	if (p == str || !n || n > NUMBER_MAX)
		return NULL;

	*number = n;

	return p;
}


/* "softkey3 type", "expmod1 key3 type"; returns "type" */
static const char *name_decode(struct key *key, const char *name)
{
	const char *p = NULL;
	unsigned i;

	for (i=0; i<GROUP_COUNT; i++) {
		const size_t l = strlen(groupv[i]);

		if (0 == strncmp(name, groupv[i], l)) {
			key->group = (enum group)i;
			p = name + l;
			break;
		}
	}

	if (!p)
		return NULL;

	if (key->group == GROUP_EXPMOD) {
		p = number_decode(&key->module, p);
		if (!p || strncmp(p, " key", 4))
			return NULL;
		p += 4;
	}

	p = number_decode(&key->number, p);
	if (!p || *p != ' ')
		return NULL;

	return p + 1;
}


static int key_compare(const struct key *a, const struct key *b)
{
	if (a->group != b->group)
		return a->group < b->group ? -1 : 1;
	if (a->module != b->module)
		return a->module < b->module ? -1 : 1;
	if (a->number != b->number)
		return a->number < b->number ? -1 : 1;

	return 0;
}


static struct key *key_get(struct aa_progkeys *pk, const struct key *like)
{
	struct key *key;
	struct le *le;

	/* files have them in order: look from the end */
	for (le = list_tail(&pk->keyl); le; le = le->prev) {
		const int c = key_compare(le->data, like);

		if (!c)
			return le->data;
		if (c < 0)
			break;
	}

	if (list_count(&pk->keyl) >= KEYS_MAX)
		return NULL;

	key = mem_zalloc(sizeof(*key), key_destructor);
	if (!key)
		return NULL;

	key->group  = like->group;
	key->module = like->module;
	key->number = like->number;
	key->line   = 1;

	if (le)
		list_insert_after(&pk->keyl, le, &key->le, key);
	else
		list_prepend(&pk->keyl, &key->le, key);

	return key;
}


static void text_set(char **dst, const char *src)
{
	*dst = mem_deref(*dst);
	if (str_isset(src))
		(void)str_dup(dst, src);
}


/**
 * Allocate the keys of a phone: none
 *
 * @param pkp Pointer to the keys
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_progkeys_alloc(struct aa_progkeys **pkp)
{
	struct aa_progkeys *pk;

	if (!pkp)
		return EINVAL;

	pk = mem_zalloc(sizeof(*pk), destructor);
	if (!pk)
		return ENOMEM;

	*pkp = pk;

	return 0;
}


/**
 * Take one entry of a file; a later one replaces an earlier one
 *
 * @param pk    Keys
 * @param name  Name, lower case, blanks folded to one
 * @param value Value
 *
 * @return true if it belongs to a key
 */
bool aa_progkeys_take(struct aa_progkeys *pk, const char *name,
		      const char *value)
{
	struct key like, *key;
	const char *what;
	uint32_t line;

	if (!pk || !name || !value)
		return false;

	if (0 == strcmp(name, "list uri")) {
		text_set(&pk->list_uri, value);
		return true;
	}

	memset(&like, 0, sizeof(like));
	what = name_decode(&like, name);
	if (!what)
		return false;

	key = key_get(pk, &like);
	if (!key)
		return true;

	if (0 == strcmp(what, "type")) {
		text_set(&key->type, value);
	}
	else if (0 == strcmp(what, "value")) {
		text_set(&key->value, value);
	}
	else if (0 == strcmp(what, "label")) {
		text_set(&key->label, value);
	}
	else if (0 == strcmp(what, "line")) {
		const char *rest = number_decode(&line, value);

		key->line = rest && !*rest ? line : 1;
	}

	return true;
}


static bool is_blf(const struct key *key)
{
	return key->type && key->value &&
		(0 == str_casecmp(key->type, "blf") ||
		 0 == str_casecmp(key->type, "blfxfer"));
}


static bool is_list(const struct key *key)
{
	return key->type && (0 == str_casecmp(key->type, "list") ||
			     0 == str_casecmp(key->type, "blflist"));
}


static bool name_call(const struct key *key, const char *uri, bool list,
		      aa_progkey_h *h, void *arg)
{
	struct aa_progkey pkey;
	char name[NAME_SIZE];

	if (key->group == GROUP_EXPMOD)
		(void)re_snprintf(name, sizeof(name), "%s%u key%u",
				  groupv[key->group], key->module,
				  key->number);
	else
		(void)re_snprintf(name, sizeof(name), "%s%u",
				  groupv[key->group], key->number);

	pkey.name  = name;
	pkey.uri   = uri;
	pkey.label = key->label ? key->label : "";
	pkey.list  = list;

	return h(&pkey, arg);
}


/* A list that no key shows is watched all the same, on the first line */
static bool list_call(const struct aa_progkeys *pk, uint32_t line,
		      aa_progkey_h *h, void *arg)
{
	const struct aa_progkey pkey = {
		.name  = "list uri",
		.uri   = pk->list_uri,
		.label = "",
		.list  = true,
	};
	struct le *le;

	if (!pk->list_uri || line != 1)
		return false;

	for (le = list_head(&pk->keyl); le; le = le->next) {
		if (is_list(le->data))
			return false;
	}

	return h(&pkey, arg);
}


/**
 * Call a handler for each busy lamp, and each list of them, of a line
 *
 * @param pk   Keys, may be NULL
 * @param line Line, 1..
 * @param h    Handler; true stops
 * @param arg  Handler argument
 *
 * @return true if the handler stopped it
 */
bool aa_progkeys_apply(const struct aa_progkeys *pk, uint32_t line,
		       aa_progkey_h *h, void *arg)
{
	bool listed = false;
	struct le *le;

	if (!pk || !h)
		return false;

	for (le = list_head(&pk->keyl); le; le = le->next) {
		const struct key *key = le->data;

		if (key->line != line)
			continue;

		if (is_blf(key)) {
			if (name_call(key, key->value, false, h, arg))
				return true;
		}
		else if (is_list(key) && pk->list_uri && !listed) {
			/* one key for each member: one subscription */
			listed = true;
			if (name_call(key, pk->list_uri, true, h, arg))
				return true;
		}
	}

	return list_call(pk, line, h, arg);
}


static bool hash_handler(const struct aa_progkey *key, void *arg)
{
	uint32_t *hash = arg;

	*hash = *hash * 31 + hash_joaat_str(key->name);
	*hash = *hash * 31 + hash_joaat_str(key->uri);
	*hash = *hash * 31 + hash_joaat_str(key->label);

	return false;
}


/**
 * A number that changes with the lamps of a line
 *
 * @param pk   Keys, may be NULL
 * @param line Line, 1..
 *
 * @return Hash, 0 if there are none
 */
uint32_t aa_progkeys_hash(const struct aa_progkeys *pk, uint32_t line)
{
	uint32_t hash = 0;

	(void)aa_progkeys_apply(pk, line, hash_handler, &hash);

	return hash;
}
