/**
 * @file notify.c  What the bodies of NOTIFY requests say
 *
 * Message waiting (RFC 3842), busy lamps (RFC 4235), presence (RFC 3863),
 * call features (BroadSoft's as-feature-event) and lists of any of these
 * (RFC 4662).
 *
 * Bodies come from the network.  A body is read into a copy of what is
 * known, which replaces it only when all of the body was good.  Documents
 * with a DOCTYPE are refused, so there are no entities to expand; the size,
 * the depth and the number of everything have a limit.
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#include <string.h>
#include <re.h>
#ifdef AASTRA_HAVE_EXPAT
#include <expat.h>
#endif
#include "notify.h"


enum {
	XML_DEPTH_MAX   = 32,
	XML_NODES_MAX   = 8192, /* elements and attributes                  */
	ACTIVITY_DEPTH  = 6,    /* below the root                           */
	MULTIPART_DEPTH = 3,    /* a list in a list in a list               */
	PARTS_MAX       = 1024,
	MEMBERS_MAX     = 1024,
	DIALOGS_MAX     = 256,  /* of one resource                          */
	TEXT_MAX        = 256   /* of what is kept of a text                */
};

/** Event packages whose bodies are understood */
enum kind {
	KIND_OTHER = 0,
	KIND_MWI,
	KIND_DIALOG,
	KIND_PRESENCE,
	KIND_FEATURE
};

/** What one dialog of a resource does, the more important the higher */
enum lamp {
	LAMP_IDLE = 0,
	LAMP_HELD,
	LAMP_CALLING,
	LAMP_BUSY,
	LAMP_RINGING
};

/** One dialog of a resource (RFC 4235) */
struct dlg {
	struct le le;
	char *id;
	enum lamp lamp;
};

/** Call forwarding, by the condition */
enum forward {
	FORWARD_ALWAYS = 0,
	FORWARD_BUSY,
	FORWARD_NOANSWER,
	FORWARD_UNREACHABLE,
	FORWARD_COUNT
};

/** One resource and all that is known of it */
struct res {
	struct le le;
	char *uri;
	char *name;
	char *cid;              /* of its body, in the document at hand     */
	char *value;
	char *note;

	struct list dlgl;       /* struct dlg                               */
	uint32_t version;
	bool versioned;

	struct aa_notify_mwi mwi;
	bool mwi_set;

	bool dnd;
	bool dnd_set;
	char *forward[FORWARD_COUNT];   /* where to, "" if off, NULL unknown */
};

/** All that a subscription has told */
struct doc {
	struct res *self;
	struct list memberl;    /* struct res                               */
	uint32_t version;       /* of the list                              */
	bool versioned;
	bool list;
	bool gap;               /* something was missed                     */
};

struct aa_notify {
	enum kind kind;
	struct doc *doc;
};


static enum kind kind_decode(const char *event)
{
	if (0 == str_casecmp(event, "message-summary"))
		return KIND_MWI;
	if (0 == str_casecmp(event, "dialog"))
		return KIND_DIALOG;
	if (0 == str_casecmp(event, "presence"))
		return KIND_PRESENCE;
	if (0 == str_casecmp(event, "as-feature-event"))
		return KIND_FEATURE;

	return KIND_OTHER;
}


/* ---- texts ------------------------------------------------------------ */


/* Copies at most TEXT_MAX bytes, whole UTF-8 characters, no controls */
static int text_dup(char **dst, const char *p, size_t l)
{
	size_t i, n;
	char *str;

	while (l && strchr(" \t\r\n", *p)) {
		++p;
		--l;
	}
	while (l && strchr(" \t\r\n", p[l-1]))
		--l;

	n = MIN(l, (size_t)TEXT_MAX);
	if (n < l) {
		while (n && ((unsigned char)p[n] & 0xc0) == 0x80)
			--n;
	}

	str = mem_alloc(n + 1, NULL);
	if (!str)
		return ENOMEM;

	for (i=0; i<n; i++) {
		const unsigned char c = (unsigned char)p[i];

		str[i] = c < 0x20 || c == 0x7f ? ' ' : p[i];
	}
	str[n] = '\0';

	mem_deref(*dst);
	*dst = str;

	return 0;
}


static int str_set(char **dst, const char *src)
{
	char *str = NULL;
	int err;

	err = src ? str_dup(&str, src) : 0;
	if (err)
		return err;

	mem_deref(*dst);
	*dst = str;

	return 0;
}


/* ---- what is known ---------------------------------------------------- */


static void dlg_destructor(void *arg)
{
	struct dlg *dlg = arg;

	list_unlink(&dlg->le);
	mem_deref(dlg->id);
}


static void res_destructor(void *arg)
{
	struct res *res = arg;
	size_t i;

	list_unlink(&res->le);
	list_flush(&res->dlgl);
	mem_deref(res->uri);
	mem_deref(res->name);
	mem_deref(res->cid);
	mem_deref(res->value);
	mem_deref(res->note);
	for (i=0; i<FORWARD_COUNT; i++)
		mem_deref(res->forward[i]);
}


static void doc_destructor(void *arg)
{
	struct doc *doc = arg;

	mem_deref(doc->self);
	list_flush(&doc->memberl);
}


static int dlg_add(struct res *res, const char *id, enum lamp lamp)
{
	struct dlg *dlg;

	if (list_count(&res->dlgl) >= DIALOGS_MAX)
		return EMSGSIZE;

	dlg = mem_zalloc(sizeof(*dlg), dlg_destructor);
	if (!dlg)
		return ENOMEM;

	dlg->lamp = lamp;
	if (str_dup(&dlg->id, id)) {
		mem_deref(dlg);
		return ENOMEM;
	}

	list_append(&res->dlgl, &dlg->le, dlg);

	return 0;
}


static int res_alloc(struct res **resp)
{
	*resp = mem_zalloc(sizeof(**resp), res_destructor);

	return *resp ? 0 : ENOMEM;
}


static int res_clone(struct res **resp, const struct res *old)
{
	struct res *res;
	struct le *le;
	int i, err;

	err = res_alloc(&res);
	if (err)
		return err;

	err  = str_set(&res->uri, old->uri);
	err |= str_set(&res->name, old->name);
	err |= str_set(&res->cid, old->cid);
	err |= str_set(&res->value, old->value);
	err |= str_set(&res->note, old->note);

	for (i=0; i<FORWARD_COUNT; i++)
		err |= str_set(&res->forward[i], old->forward[i]);

	for (le = list_head(&old->dlgl); le && !err; le = le->next) {
		const struct dlg *dlg = le->data;

		err = dlg_add(res, dlg->id, dlg->lamp);
	}

	res->version   = old->version;
	res->versioned = old->versioned;
	res->mwi       = old->mwi;
	res->mwi_set   = old->mwi_set;
	res->dnd       = old->dnd;
	res->dnd_set   = old->dnd_set;

	if (err)
		mem_deref(res);
	else
		*resp = res;

	return err ? ENOMEM : 0;
}


static int doc_clone(struct doc **docp, const struct doc *old)
{
	struct doc *doc;
	struct le *le;
	int err;

	doc = mem_zalloc(sizeof(*doc), doc_destructor);
	if (!doc)
		return ENOMEM;

	err = old ? res_clone(&doc->self, old->self) : res_alloc(&doc->self);
	if (err || !old)
		goto out;

	for (le = list_head(&old->memberl); le && !err; le = le->next) {
		struct res *res;

		err = res_clone(&res, le->data);
		if (!err)
			list_append(&doc->memberl, &res->le, res);
	}

	doc->version   = old->version;
	doc->versioned = old->versioned;
	doc->list      = old->list;

 out:
	if (err)
		mem_deref(doc);
	else
		*docp = doc;

	return err;
}


static struct res *member_find(const struct doc *doc, const char *uri)
{
	struct le *le;

	for (le = list_head(&doc->memberl); le; le = le->next) {
		struct res *res = le->data;

		if (0 == str_casecmp(res->uri, uri))
			return res;
	}

	return NULL;
}


/* ---- XML -------------------------------------------------------------- */


#ifdef AASTRA_HAVE_EXPAT


/** An attribute */
struct attr {
	struct le le;
	char *name;
	char *val;
};

/** An element, its text without that of its children */
struct node {
	struct le le;
	struct node *parent;
	struct list childl;     /* struct node                              */
	struct list attrl;      /* struct attr                              */
	struct mbuf *text;
	char *name;
};

struct xml {
	XML_Parser parser;
	struct node *root;
	struct node *cur;
	unsigned depth;
	unsigned count;
	int err;
};


static void attr_destructor(void *arg)
{
	struct attr *attr = arg;

	list_unlink(&attr->le);
	mem_deref(attr->name);
	mem_deref(attr->val);
}


static void node_destructor(void *arg)
{
	struct node *node = arg;

	list_unlink(&node->le);
	list_flush(&node->childl);
	list_flush(&node->attrl);
	mem_deref(node->text);
	mem_deref(node->name);
}


static void xml_stop(struct xml *xml, int err)
{
	if (!xml->err)
		xml->err = err;

	(void)XML_StopParser(xml->parser, XML_FALSE);
}


/* Namespaces are not compared: senders write them in many ways */
static const char *local_name(const char *name)
{
	const char *p = strrchr(name, '|');

	return p ? p + 1 : name;
}


static int node_attr(struct node *node, const char *name, const char *val)
{
	struct attr *attr = mem_zalloc(sizeof(*attr), attr_destructor);
	int err;

	if (!attr)
		return ENOMEM;

	list_append(&node->attrl, &attr->le, attr);

	err  = str_dup(&attr->name, local_name(name));
	err |= str_dup(&attr->val, val);

	return err;
}


static void XMLCALL start_handler(void *arg, const char *name,
				  const char **attrv)
{
	struct xml *xml = arg;
	struct node *node;
	int err;

	if (xml->err)
		return;

	if (++xml->depth > XML_DEPTH_MAX || ++xml->count > XML_NODES_MAX) {
		xml_stop(xml, EMSGSIZE);
		return;
	}

	node = mem_zalloc(sizeof(*node), node_destructor);
	if (!node) {
		xml_stop(xml, ENOMEM);
		return;
	}

	node->parent = xml->cur;
	if (xml->cur)
		list_append(&xml->cur->childl, &node->le, node);
	else
		xml->root = node;
	xml->cur = node;

	err = str_dup(&node->name, local_name(name));

	for (; *attrv && !err; attrv += 2) {
		err = ++xml->count > XML_NODES_MAX ? EMSGSIZE :
			node_attr(node, attrv[0], attrv[1]);
	}

	if (err)
		xml_stop(xml, err);
}


static void XMLCALL end_handler(void *arg, const char *name)
{
	struct xml *xml = arg;
	(void)name;

	if (xml->err || !xml->cur)
		return;

	--xml->depth;
	xml->cur = xml->cur->parent;
}


static void XMLCALL text_handler(void *arg, const char *s, int len)
{
	struct xml *xml = arg;
	struct node *node = xml->cur;

	if (xml->err || !node || len <= 0)
		return;

	if (!node->text) {
		node->text = mbuf_alloc((size_t)len);
		if (!node->text) {
			xml_stop(xml, ENOMEM);
			return;
		}
	}

	if (node->text->end < 4 * TEXT_MAX &&
	    mbuf_write_mem(node->text, (const uint8_t *)s, (size_t)len))
		xml_stop(xml, ENOMEM);
}


/* Without a DOCTYPE there are no entities but the five of XML */
static void XMLCALL doctype_handler(void *arg, const char *name,
				    const char *sysid, const char *pubid,
				    int internal)
{
	struct xml *xml = arg;
	(void)name;
	(void)sysid;
	(void)pubid;
	(void)internal;

	xml_stop(xml, EBADMSG);
}


static int xml_decode(struct node **rootp, const struct pl *body)
{
	struct xml xml;

	memset(&xml, 0, sizeof(xml));

	if (body->l > AA_NOTIFY_BODY_MAX)
		return EMSGSIZE;

	xml.parser = XML_ParserCreateNS(NULL, '|');
	if (!xml.parser)
		return ENOMEM;

	XML_SetUserData(xml.parser, &xml);
	XML_SetElementHandler(xml.parser, start_handler, end_handler);
	XML_SetCharacterDataHandler(xml.parser, text_handler);
	XML_SetStartDoctypeDeclHandler(xml.parser, doctype_handler);

	if (XML_Parse(xml.parser, body->p, (int)body->l, 1) !=
	    XML_STATUS_OK && !xml.err)
		xml.err = EBADMSG;

	XML_ParserFree(xml.parser);

	if (!xml.err && !xml.root)
		xml.err = EBADMSG;

	if (xml.err)
		mem_deref(xml.root);
	else
		*rootp = xml.root;

	return xml.err;
}


static bool node_is(const struct node *node, const char *name)
{
	return 0 == str_casecmp(node->name, name);
}


static struct node *node_child(const struct node *node, const char *name)
{
	struct le *le;

	for (le = node ? list_head(&node->childl) : NULL; le; le = le->next) {
		struct node *child = le->data;

		if (node_is(child, name))
			return child;
	}

	return NULL;
}


static const char *attr_get(const struct node *node, const char *name)
{
	struct le *le;

	for (le = node ? list_head(&node->attrl) : NULL; le; le = le->next) {
		const struct attr *attr = le->data;

		if (0 == str_casecmp(attr->name, name))
			return attr->val;
	}

	return NULL;
}


static struct pl node_text(const struct node *node)
{
	struct pl pl = PL_INIT;

	if (!node || !node->text)
		return pl;

	pl.p = (const char *)node->text->buf;
	pl.l = node->text->end;

	while (pl.l && strchr(" \t\r\n", *pl.p)) {
		++pl.p;
		--pl.l;
	}
	while (pl.l && strchr(" \t\r\n", pl.p[pl.l-1]))
		--pl.l;

	return pl;
}


static bool node_text_is(const struct node *node, const char *str)
{
	const struct pl pl = node_text(node);

	return 0 == pl_strcasecmp(&pl, str);
}


static bool text_is_true(const struct node *node)
{
	return node_text_is(node, "true") || node_text_is(node, "1");
}


/* A version is a number of 32 bits; anything else is not one */
static bool version_decode(uint32_t *version, const char *str)
{
	struct pl pl, num;
	uint64_t v;

	if (!str)
		return false;

	pl_set_str(&pl, str);
	if (re_regex(pl.p, pl.l, "[ \t]*[0-9]+", NULL, &num) || num.l > 19)
		return false;

	v = pl_u64(&num);
	if (v > UINT32_MAX)
		return false;

	*version = (uint32_t)v;

	return true;
}


/*
 * A whole document counts whatever its version: requests of a dialog come in
 * order, and servers that start again count anew.  A part counts when it
 * follows; one that came before is dropped, and after a gap all is asked for.
 */
static int version_check(uint32_t *have, bool *versioned, bool *gap,
			 const char *str, bool full)
{
	uint32_t version;

	if (!version_decode(&version, str))
		return full ? 0 : EBADMSG;

	if (!full) {
		if (!*versioned)
			*gap = true;
		else if (version <= *have)
			return EALREADY;
		else if (version - *have > 1)
			*gap = true;
	}

	*have = version;
	*versioned = true;

	return 0;
}


/* ---- dialog-info+xml (RFC 4235) --------------------------------------- */


static const char *lamp_name(enum lamp lamp)
{
	switch (lamp) {

	case LAMP_HELD:    return "held";
	case LAMP_CALLING: return "calling";
	case LAMP_BUSY:    return "busy";
	case LAMP_RINGING: return "ringing";
	default:           return "idle";
	}
}


/* RFC 4235 4.1.6.2: rendering "no" on the resource's own side is hold */
static bool is_held(const struct node *dialog)
{
	const struct node *target = node_child(node_child(dialog, "local"),
					       "target");
	struct le *le;

	for (le = target ? list_head(&target->childl) : NULL; le;
	     le = le->next) {
		const struct node *param = le->data;

		if (!node_is(param, "param"))
			continue;

		if (0 == str_casecmp(attr_get(param, "pname"),
				     "+sip.rendering") &&
		    0 == str_casecmp(attr_get(param, "pval"), "no"))
			return true;
	}

	return false;
}


static int lamp_decode(enum lamp *lamp, const struct node *dialog)
{
	const struct node *state = node_child(dialog, "state");
	const char *dir = attr_get(dialog, "direction");

	if (!state)
		return EBADMSG;

	if (node_text_is(state, "terminated")) {
		*lamp = LAMP_IDLE;
	}
	else if (node_text_is(state, "confirmed")) {
		*lamp = is_held(dialog) ? LAMP_HELD : LAMP_BUSY;
	}
	else if (node_text_is(state, "trying") ||
		 node_text_is(state, "proceeding") ||
		 node_text_is(state, "early")) {
		*lamp = dir && 0 == str_casecmp(dir, "initiator") ?
			LAMP_CALLING : LAMP_RINGING;
	}
	else {
		return EBADMSG;
	}

	return 0;
}


static int lamp_set(struct res *res)
{
	enum lamp lamp = LAMP_IDLE;
	struct le *le;

	for (le = list_head(&res->dlgl); le; le = le->next) {
		const struct dlg *dlg = le->data;

		lamp = MAX(lamp, dlg->lamp);
	}

	return str_set(&res->value, lamp_name(lamp));
}


static int dialog_merge(struct res *res, const struct node *dialog)
{
	const char *id = attr_get(dialog, "id");
	enum lamp lamp;
	struct le *le;
	int err;

	if (!id)
		return EBADMSG;

	err = lamp_decode(&lamp, dialog);
	if (err)
		return err;

	for (le = list_head(&res->dlgl); le; le = le->next) {
		struct dlg *dlg = le->data;

		if (str_cmp(dlg->id, id))
			continue;

		if (lamp == LAMP_IDLE)
			mem_deref(dlg);
		else
			dlg->lamp = lamp;

		return 0;
	}

	return lamp == LAMP_IDLE ? 0 : dlg_add(res, id, lamp);
}


static int dialog_info(struct doc *doc, struct res *res,
		       const struct node *root)
{
	const char *state = attr_get(root, "state");
	const bool full = !state || str_casecmp(state, "partial");
	struct le *le;
	int err;

	if (!node_is(root, "dialog-info"))
		return EBADMSG;

	if (state && str_casecmp(state, "full") &&
	    str_casecmp(state, "partial"))
		return EBADMSG;

	err = version_check(&res->version, &res->versioned, &doc->gap,
			    attr_get(root, "version"), full);
	if (err)
		return err;

	if (full)
		list_flush(&res->dlgl);

	for (le = list_head(&root->childl); le && !err; le = le->next) {
		const struct node *dialog = le->data;

		if (node_is(dialog, "dialog"))
			err = dialog_merge(res, dialog);
	}

	return err ? err : lamp_set(res);
}


/* ---- pidf+xml (RFC 3863), with the activities of RFC 4480 ------------- */


static const char *const busyv[] = {
	"busy", "on-the-phone", "meeting", "in-transit", NULL
};
static const char *const awayv[] = {
	"away", "vacation", "holiday", "sleeping", NULL
};


static bool has_activity(const struct node *node, const char *const namev[],
			 unsigned depth)
{
	struct le *le;
	size_t i;

	for (le = list_head(&node->childl); le && depth; le = le->next) {
		const struct node *child = le->data;

		if (node_is(node, "activities")) {
			for (i=0; namev[i]; i++) {
				if (node_is(child, namev[i]))
					return true;
			}
		}
		else if (has_activity(child, namev, depth - 1)) {
			return true;
		}
	}

	return false;
}


static const char *presence_value(const struct node *root, bool open)
{
	/* without any tuple, there is no way to reach the user */
	if (!open)
		return "closed";

	if (has_activity(root, busyv, ACTIVITY_DEPTH))
		return "busy";

	return has_activity(root, awayv, ACTIVITY_DEPTH) ? "away" : "open";
}


static int pidf(struct res *res, const struct node *root)
{
	bool open = false;
	const struct node *note = NULL;
	struct le *le;
	struct pl text;
	int err;

	if (!node_is(root, "presence"))
		return EBADMSG;

	for (le = list_head(&root->childl); le; le = le->next) {
		const struct node *node = le->data;
		const struct node *basic;

		if (node_is(node, "note") && !note)
			note = node;

		if (!node_is(node, "tuple"))
			continue;

		basic = node_child(node_child(node, "status"), "basic");
		if (basic && node_text_is(basic, "open"))
			open = true;
		else if (basic && !node_text_is(basic, "closed"))
			return EBADMSG;

		if (node_child(node, "note"))
			note = node_child(node, "note");
	}

	if (!note)
		note = node_child(node_child(root, "person"), "note");

	text = node_text(note);
	err  = str_set(&res->value, presence_value(root, open));
	err |= text_dup(&res->note, text.p, text.l);

	return err;
}


/* ---- as-feature-event ------------------------------------------------- */


static int feature_value(struct res *res)
{
	static const char *const namev[FORWARD_COUNT] = {
		"always", "busy", "noanswer", "unreachable"
	};
	struct mbuf *mb;
	char *value = NULL;
	int i, err = 0;

	mb = mbuf_alloc(128);
	if (!mb)
		return ENOMEM;

	if (res->dnd_set)
		err |= mbuf_printf(mb, "dnd=%s", res->dnd ? "on" : "off");

	for (i=0; i<FORWARD_COUNT; i++) {
		if (!res->forward[i])
			continue;

		err |= mbuf_printf(mb, "%sforward-%s=%s", mb->pos ? " " : "",
				   namev[i], str_isset(res->forward[i]) ?
				   res->forward[i] : "off");
	}

	mb->pos = 0;
	if (!err)
		err = mbuf_strdup(mb, &value, mb->end);
	if (!err) {
		mem_deref(res->value);
		res->value = value;
	}

	mem_deref(mb);

	return err;
}


static int forward_decode(enum forward *fwd, const struct node *type)
{
	if (node_text_is(type, "forwardImmediate"))
		*fwd = FORWARD_ALWAYS;
	else if (node_text_is(type, "forwardBusy"))
		*fwd = FORWARD_BUSY;
	else if (node_text_is(type, "forwardNoAns"))
		*fwd = FORWARD_NOANSWER;
	else if (node_text_is(type, "forwardNotReachable"))
		*fwd = FORWARD_UNREACHABLE;
	else
		return ENOENT;

	return 0;
}


static int feature_event(struct res *res, const struct node *root)
{
	const struct node *status;
	enum forward fwd;
	struct pl to;
	int err;

	if (node_is(root, "DoNotDisturbEvent")) {
		status = node_child(root, "doNotDisturbOn");
		if (!status)
			return EBADMSG;

		res->dnd     = text_is_true(status);
		res->dnd_set = true;
	}
	else if (node_is(root, "ForwardingEvent")) {
		status = node_child(root, "forwardStatus");
		if (!status)
			return EBADMSG;

		/* conditions that are not known do not matter to the others */
		if (!forward_decode(&fwd, node_child(root,
						     "forwardingType"))) {
			to = node_text(node_child(root, "forwardTo"));
			if (!text_is_true(status))
				to.l = 0;
			else if (!to.l)
				pl_set_str(&to, "on");

			err = text_dup(&res->forward[fwd], to.p, to.l);
			if (err)
				return err;
		}
	}

	/* more of the call centre's events come in the same way */

	return feature_value(res);
}


static int xml_body(struct doc *doc, struct res *res, enum kind kind,
		    const struct pl *body)
{
	struct node *root;
	int err;

	err = xml_decode(&root, body);
	if (err)
		return err;

	switch (kind) {

	case KIND_DIALOG:   err = dialog_info(doc, res, root); break;
	case KIND_PRESENCE: err = pidf(res, root);             break;
	case KIND_FEATURE:  err = feature_event(res, root);    break;
	default:            err = EPROTONOSUPPORT;             break;
	}

	mem_deref(root);

	return err;
}


#else


static int xml_body(struct doc *doc, struct res *res, enum kind kind,
		    const struct pl *body)
{
	(void)doc;
	(void)res;
	(void)kind;
	(void)body;

	return EPROTONOSUPPORT;
}


#endif


/* ---- simple-message-summary (RFC 3842) -------------------------------- */


static bool next_line(struct pl *line, struct pl *rest)
{
	const char *end;

	if (!rest->l)
		return false;

	end = memchr(rest->p, '\n', rest->l);
	line->p = rest->p;
	line->l = end ? (size_t)(end - rest->p) : rest->l;

	rest->p += line->l + (end ? 1 : 0);
	rest->l -= line->l + (end ? 1 : 0);

	if (line->l && line->p[line->l-1] == '\r')
		--line->l;

	return true;
}


static struct pl trimmed(const char *p, size_t l)
{
	struct pl pl;

	while (l && (*p == ' ' || *p == '\t')) {
		++p;
		--l;
	}
	while (l && (p[l-1] == ' ' || p[l-1] == '\t'))
		--l;

	pl.p = p;
	pl.l = l;

	return pl;
}


static bool line_split(struct pl *name, struct pl *val, const struct pl *line)
{
	const char *colon = line->l ? memchr(line->p, ':', line->l) : NULL;

	if (!colon)
		return false;

	*name = trimmed(line->p, (size_t)(colon - line->p));
	*val  = trimmed(colon + 1, (size_t)(line->p + line->l - colon - 1));

	return name->l > 0;
}


/* "2/8 (0/2)" */
static int counts_decode(struct aa_notify_mwi *mwi, const struct pl *val)
{
	struct pl newm, oldm, urgent, newu, oldu;

	if (re_regex(val->p, val->l, "[0-9]+[ \t]*/[ \t]*[0-9]+[^]*",
		     &newm, NULL, NULL, &oldm, &urgent) || newm.p != val->p ||
	    newm.l > 9 || oldm.l > 9)
		return EBADMSG;

	mwi->newm = pl_u32(&newm);
	mwi->oldm = pl_u32(&oldm);

	if (!re_regex(urgent.p, urgent.l,
		      "([ \t]*[0-9]+[ \t]*/[ \t]*[0-9]+[ \t]*)",
		      NULL, &newu, NULL, NULL, &oldu, NULL) &&
	    newu.l <= 9 && oldu.l <= 9) {
		mwi->newu = pl_u32(&newu);
		mwi->oldu = pl_u32(&oldu);
	}

	mwi->counted = true;

	return 0;
}


static int message_summary(struct res *res, const struct pl *body)
{
	struct pl rest = *body, line, name, val;
	struct aa_notify_mwi mwi;
	char buf[64];
	bool found = false;

	memset(&mwi, 0, sizeof(mwi));

	while (next_line(&line, &rest)) {

		/* behind the empty line come headers of single messages */
		if (!line.l && found)
			break;

		if (!line_split(&name, &val, &line))
			continue;

		if (0 == pl_strcasecmp(&name, "Messages-Waiting")) {
			if (0 == pl_strcasecmp(&val, "yes"))
				mwi.waiting = true;
			else if (pl_strcasecmp(&val, "no"))
				return EBADMSG;
			found = true;
		}
		else if (0 == pl_strcasecmp(&name, "Voice-Message")) {
			if (counts_decode(&mwi, &val))
				return EBADMSG;
		}
	}

	if (!found)
		return EBADMSG;

	res->mwi     = mwi;
	res->mwi_set = true;

	if (mwi.counted)
		(void)re_snprintf(buf, sizeof(buf), "%s %u/%u (%u/%u)",
				  mwi.waiting ? "yes" : "no", mwi.newm,
				  mwi.oldm, mwi.newu, mwi.oldu);
	else
		(void)re_snprintf(buf, sizeof(buf), "%s",
				  mwi.waiting ? "yes" : "no");

	return str_set(&res->value, buf);
}


/* ---- bodies of one kind ----------------------------------------------- */


/* Value of a parameter, without its quotes */
static bool param_get(struct pl *val, const struct pl *params,
		      const char *name)
{
	const char *p = params->p, *end = p ? p + params->l : NULL;
	const size_t namelen = str_len(name);

	while (p < end) {
		const char *start, *eq = NULL;
		bool quoted = false;
		struct pl key;

		start = p;
		for (; p < end && (quoted || *p != ';'); p++) {
			if (*p == '"')
				quoted = !quoted;
			else if (*p == '=' && !quoted && !eq)
				eq = p;
		}

		if (eq) {
			key  = trimmed(start, (size_t)(eq - start));
			*val = trimmed(eq + 1, (size_t)(p - eq - 1));

			if (val->l >= 2 && val->p[0] == '"' &&
			    val->p[val->l-1] == '"') {
				++val->p;
				val->l -= 2;
			}

			if (key.l == namelen && !pl_strcasecmp(&key, name))
				return true;
		}

		if (p < end)
			++p;
	}

	return false;
}


static void ctype_split(struct pl *type, struct pl *params,
			const struct pl *ctype)
{
	const char *semi = ctype->l ? memchr(ctype->p, ';', ctype->l) : NULL;
	const size_t l = semi ? (size_t)(semi - ctype->p) : ctype->l;

	*type = trimmed(ctype->p, l);
	params->p = semi ? semi + 1 : NULL;
	params->l = semi ? ctype->l - l - 1 : 0;
}


static const char *type_of(enum kind kind)
{
	switch (kind) {

	case KIND_MWI:      return "application/simple-message-summary";
	case KIND_DIALOG:   return "application/dialog-info+xml";
	case KIND_PRESENCE: return "application/pidf+xml";
	case KIND_FEATURE:  return "application/x-as-feature-event+xml";
	default:            return NULL;
	}
}


static int single(struct doc *doc, struct res *res, enum kind kind,
		  const struct pl *type, const struct pl *body)
{
	if (kind == KIND_OTHER)
		return text_dup(&res->value, body->p, body->l);

	if (pl_strcasecmp(type, type_of(kind)))
		return EPROTONOSUPPORT;

	if (kind == KIND_MWI)
		return message_summary(res, body);

	return xml_body(doc, res, kind, body);
}


/* ---- several bodies in one (RFC 2046 5.1) ----------------------------- */


/** One body of several */
struct part {
	struct pl ctype;
	struct pl cid;
	struct pl body;
};


static bool is_delimiter(const struct pl *line, const struct pl *boundary,
			 bool *last)
{
	struct pl rest;

	if (line->l < boundary->l + 2 || line->p[0] != '-' ||
	    line->p[1] != '-' ||
	    memcmp(line->p + 2, boundary->p, boundary->l))
		return false;

	rest.p = line->p + 2 + boundary->l;
	rest.l = line->l - 2 - boundary->l;

	*last = rest.l >= 2 && rest.p[0] == '-' && rest.p[1] == '-';
	if (*last) {
		rest.p += 2;
		rest.l -= 2;
	}

	rest = trimmed(rest.p, rest.l);

	return rest.l == 0;
}


static void part_decode(struct part *part, const struct pl *text)
{
	struct pl rest = *text, line, name, val;

	memset(part, 0, sizeof(*part));
	part->body = *text;

	while (next_line(&line, &rest)) {
		if (!line.l)
			break;

		if (!line_split(&name, &val, &line))
			continue;

		if (0 == pl_strcasecmp(&name, "Content-Type")) {
			part->ctype = val;
		}
		else if (0 == pl_strcasecmp(&name, "Content-ID")) {
			if (val.l >= 2 && val.p[0] == '<' &&
			    val.p[val.l-1] == '>') {
				++val.p;
				val.l -= 2;
			}
			part->cid = val;
		}
	}

	part->body = rest;
}


static int multipart_split(struct part **partvp, size_t *partcp,
			   const struct pl *params, const struct pl *body)
{
	struct pl boundary, rest = *body, line, text = PL_INIT;
	struct part *partv = NULL;
	size_t partc = 0, size = 0;
	bool inside = false, last = false;

	if (!param_get(&boundary, params, "boundary") || !boundary.l ||
	    boundary.l > 70)
		return EBADMSG;

	while (!last && next_line(&line, &rest)) {

		if (!is_delimiter(&line, &boundary, &last)) {
			if (inside && !text.p)
				text.p = line.p;
			continue;
		}

		if (inside) {
			/* the line break before it belongs to it */
			if (!text.p)
				text.p = line.p;
			text.l = (size_t)(line.p - text.p);
			if (text.l && text.p[text.l-1] == '\n')
				--text.l;
			if (text.l && text.p[text.l-1] == '\r')
				--text.l;

			if (partc >= PARTS_MAX)
				goto toobig;

			if (partc == size) {
				struct part *v;

				size = size ? 2 * size : 8;
				v = partv ? mem_realloc(partv,
							size * sizeof(*v))
					: mem_alloc(size * sizeof(*v), NULL);
				if (!v) {
					mem_deref(partv);
					return ENOMEM;
				}
				partv = v;
			}

			part_decode(&partv[partc++], &text);
		}

		inside = true;
		text   = pl_null;
	}

	if (!last || !partc) {
		mem_deref(partv);
		return EBADMSG;
	}

	*partvp = partv;
	*partcp = partc;

	return 0;

 toobig:
	mem_deref(partv);

	return EMSGSIZE;
}


static int body_decode(struct doc *doc, struct res *res, enum kind kind,
		       const struct pl *ctype, const struct pl *body,
		       unsigned depth);


#ifdef AASTRA_HAVE_EXPAT


/* ---- lists of resources (RFC 4662) ------------------------------------ */


static int member_name(struct res *res, const struct node *node)
{
	const struct node *name = node_child(node, "name");
	struct pl text;

	if (!name)
		return 0;

	text = node_text(name);

	return text_dup(&res->name, text.p, text.l);
}


static int member_decode(struct doc *doc, const struct node *node)
{
	const struct node *instance = node_child(node, "instance");
	const char *uri = attr_get(node, "uri"), *cid, *state;
	struct res *res;
	int err;

	if (!str_isset(uri))
		return EBADMSG;

	res = member_find(doc, uri);
	if (!res) {
		if (list_count(&doc->memberl) >= MEMBERS_MAX)
			return EMSGSIZE;

		err = res_alloc(&res);
		if (err)
			return err;

		list_append(&doc->memberl, &res->le, res);
		err = text_dup(&res->uri, uri, str_len(uri));
		if (err)
			return err;
	}

	err = member_name(res, node);
	if (err)
		return err;

	/* RFC 4662 5.5: no instance: nothing is known of it (yet) */
	cid   = attr_get(instance, "cid");
	state = attr_get(instance, "state");

	err = str_set(&res->cid, cid);
	if (!err && state && 0 == str_casecmp(state, "terminated"))
		err = str_set(&res->value, "unknown");

	return err;
}


static bool listed(const struct node *root, const char *uri)
{
	struct le *le;

	for (le = list_head(&root->childl); le; le = le->next) {
		const struct node *node = le->data;

		if (node_is(node, "resource") &&
		    0 == str_casecmp(attr_get(node, "uri"), uri))
			return true;
	}

	return false;
}


static void drop_unlisted(struct doc *doc, const struct node *root)
{
	struct le *le = list_head(&doc->memberl);

	while (le) {
		struct res *res = le->data;

		le = le->next;

		if (!listed(root, res->uri))
			mem_deref(res);
	}
}


static int rlmi_decode(struct doc *doc, const struct pl *body)
{
	struct node *root;
	const char *fullstate;
	struct le *le;
	bool full;
	int err;

	err = xml_decode(&root, body);
	if (err)
		return err;

	fullstate = attr_get(root, "fullState");
	full = fullstate && (0 == str_casecmp(fullstate, "true") ||
			     0 == str_cmp(fullstate, "1"));

	if (!node_is(root, "list") || !fullstate) {
		err = EBADMSG;
		goto out;
	}

	err = version_check(&doc->version, &doc->versioned, &doc->gap,
			    attr_get(root, "version"), full);
	if (err)
		goto out;

	if (full)
		drop_unlisted(doc, root);

	for (le = list_head(&doc->memberl); le; le = le->next) {
		struct res *res = le->data;

		res->cid = mem_deref(res->cid);
	}

	for (le = list_head(&root->childl); le && !err; le = le->next) {
		const struct node *node = le->data;

		if (node_is(node, "resource"))
			err = member_decode(doc, node);
	}

	doc->list = true;

 out:
	mem_deref(root);

	return err;
}


static struct res *member_by_cid(const struct doc *doc, const struct pl *cid)
{
	struct le *le;

	for (le = list_head(&doc->memberl); le; le = le->next) {
		struct res *res = le->data;

		if (res->cid && 0 == pl_strcmp(cid, res->cid))
			return res;
	}

	return NULL;
}


static bool is_rlmi(const struct part *part)
{
	struct pl type, params;

	ctype_split(&type, &params, &part->ctype);

	return 0 == pl_strcasecmp(&type, "application/rlmi+xml");
}


static int list_decode(struct doc *doc, enum kind kind,
		       const struct part *partv, size_t partc, size_t rlmi,
		       unsigned depth)
{
	size_t i;
	int err;

	err = rlmi_decode(doc, &partv[rlmi].body);
	if (err)
		return err;

	for (i=0; i<partc; i++) {
		struct res *res;

		if (i == rlmi || !partv[i].cid.l)
			continue;

		res = member_by_cid(doc, &partv[i].cid);
		if (!res)
			continue;

		err = body_decode(doc, res, kind, &partv[i].ctype,
				  &partv[i].body, depth);

		/* what one member says does not matter to the others; it is
		   unknown rather than old */
		if (err == EALREADY) {
			err = 0;
		}
		else if (err && err != ENOMEM) {
			err = str_set(&res->value, "unknown");
			doc->gap = true;
		}

		if (err)
			return err;
	}

	return 0;
}


#else


static bool is_rlmi(const struct part *part)
{
	(void)part;

	return false;
}


static int list_decode(struct doc *doc, enum kind kind,
		       const struct part *partv, size_t partc, size_t rlmi,
		       unsigned depth)
{
	(void)doc;
	(void)kind;
	(void)partv;
	(void)partc;
	(void)rlmi;
	(void)depth;

	return EPROTONOSUPPORT;
}


#endif


static int multipart(struct doc *doc, struct res *res, enum kind kind,
		     const struct pl *params, const struct pl *body,
		     unsigned depth)
{
	struct part *partv = NULL;
	size_t partc = 0, i, known = 0;
	int err;

	if (!depth)
		return EMSGSIZE;

	err = multipart_split(&partv, &partc, params, body);
	if (err)
		return err;

	/* a list in a list: its members become those of the outer one */
	for (i=0; i<partc; i++) {
		if (is_rlmi(&partv[i]) && depth == MULTIPART_DEPTH) {
			err = list_decode(doc, kind, partv, partc, i,
					  depth - 1);
			goto out;
		}
	}

	for (i=0; i<partc && !err; i++) {
		err = body_decode(doc, res, kind, &partv[i].ctype,
				  &partv[i].body, depth - 1);
		if (!err)
			++known;
		else if (err == EPROTONOSUPPORT)
			err = 0;
	}

	if (!err && !known)
		err = EPROTONOSUPPORT;

 out:
	mem_deref(partv);

	return err;
}


static int body_decode(struct doc *doc, struct res *res, enum kind kind,
		       const struct pl *ctype, const struct pl *body,
		       unsigned depth)
{
	struct pl type, params;

	ctype_split(&type, &params, ctype);

	if (kind != KIND_OTHER &&
	    (0 == pl_strcasecmp(&type, "multipart/related") ||
	     0 == pl_strcasecmp(&type, "multipart/mixed")))
		return multipart(doc, res, kind, &params, body, depth);

	return single(doc, res, kind, &type, body);
}


/* ---- the outside ------------------------------------------------------ */


static void destructor(void *arg)
{
	struct aa_notify *n = arg;

	mem_deref(n->doc);
}


/**
 * Allocate what one subscription tells; nothing is known yet
 *
 * @param np    Pointer to the notify state
 * @param event Event package
 *
 * @return 0 if success, otherwise errorcode
 */
int aa_notify_alloc(struct aa_notify **np, const char *event)
{
	struct aa_notify *n;
	int err;

	if (!np || !event)
		return EINVAL;

	n = mem_zalloc(sizeof(*n), destructor);
	if (!n)
		return ENOMEM;

	n->kind = kind_decode(event);
	err = doc_clone(&n->doc, NULL);

	if (err)
		mem_deref(n);
	else
		*np = n;

	return err;
}


/**
 * Take a body in.  Where it is not good, nothing changes.
 *
 * @param n     Notify state
 * @param ctype Content-Type with its parameters
 * @param body  Body
 *
 * @return 0 if success, EPROTONOSUPPORT if the type is not understood,
 *         EMSGSIZE if it is too large, EALREADY if something newer is known,
 *         EBADMSG or another errorcode otherwise
 */
int aa_notify_decode(struct aa_notify *n, const struct pl *ctype,
		     const struct pl *body)
{
	struct doc *doc;
	int err;

	if (!n || !ctype || !body || (ctype->l && !ctype->p) ||
	    (body->l && !body->p))
		return EINVAL;

	if (!ctype->l || !body->l)
		return n->kind == KIND_OTHER ? 0 : EPROTONOSUPPORT;

	if (body->l > AA_NOTIFY_BODY_MAX)
		return EMSGSIZE;

	err = doc_clone(&doc, n->doc);
	if (err)
		return err;

	err = body_decode(doc, doc->self, n->kind, ctype, body,
			  MULTIPART_DEPTH);
	if (err) {
		mem_deref(doc);
		return err;
	}

	mem_deref(n->doc);
	n->doc = doc;

	return 0;
}


/**
 * What the lamp shows
 *
 * @param n Notify state, may be NULL
 *
 * @return dialog: idle, ringing, calling, busy or held; presence: open, busy,
 *         away or closed; message-summary: "yes 2/8 (0/2)"; as-feature-event:
 *         "dnd=off forward-always=201 ..."; other packages: the beginning of
 *         the body; "" if nothing was told yet
 */
const char *aa_notify_value(const struct aa_notify *n)
{
	return n && n->doc->self->value ? n->doc->self->value : "";
}


/**
 * What a user said about the presence
 *
 * @param n Notify state, may be NULL
 *
 * @return Text, "" if there is none
 */
const char *aa_notify_note(const struct aa_notify *n)
{
	return n && n->doc->self->note ? n->doc->self->note : "";
}


/**
 * Did a list of resources come?
 *
 * @param n Notify state, may be NULL
 *
 * @return true if so: aa_notify_apply() then gives its members
 */
bool aa_notify_is_list(const struct aa_notify *n)
{
	return n && n->doc->list;
}


/**
 * Was something missed?  Then the whole state should be asked for
 *
 * @param n Notify state, may be NULL
 *
 * @return true if so, by the latest body
 */
bool aa_notify_gap(const struct aa_notify *n)
{
	return n && n->doc->gap;
}


/**
 * Message counts
 *
 * @param n   Notify state, may be NULL
 * @param mwi Set to the counts
 *
 * @return true if they are known
 */
bool aa_notify_mwi(const struct aa_notify *n, struct aa_notify_mwi *mwi)
{
	if (!n || !mwi || !n->doc->self->mwi_set)
		return false;

	*mwi = n->doc->self->mwi;

	return true;
}


/**
 * Call a handler for each member of a list
 *
 * @param n   Notify state, may be NULL
 * @param h   Handler; true stops
 * @param arg Handler argument
 *
 * @return true if the handler stopped it
 */
bool aa_notify_apply(const struct aa_notify *n, aa_notify_res_h *h, void *arg)
{
	struct le *le;

	for (le = n && h ? list_head(&n->doc->memberl) : NULL; le;
	     le = le->next) {
		const struct res *res = le->data;
		const struct aa_notify_res r = {
			.uri   = res->uri   ? res->uri   : "",
			.name  = res->name  ? res->name  : "",
			.value = res->value ? res->value : "",
			.note  = res->note  ? res->note  : "",
		};

		if (h(&r, arg))
			return true;
	}

	return false;
}


/**
 * May a resource of an event package be a list? (RFC 4662)
 *
 * @param event Event package
 *
 * @return true if lists of it are understood
 */
bool aa_notify_listable(const char *event)
{
#ifdef AASTRA_HAVE_EXPAT
	const enum kind kind = kind_decode(event);

	return kind == KIND_DIALOG || kind == KIND_PRESENCE;
#else
	(void)event;

	return false;
#endif
}


/**
 * The types of bodies that are understood
 *
 * @param event Event package
 *
 * @return Media type, NULL if any is taken
 */
const char *aa_notify_accept(const char *event)
{
	return type_of(kind_decode(event));
}
