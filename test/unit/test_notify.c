/**
 * @file test_notify.c  What the bodies of NOTIFY requests say
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
#include <errno.h>
#include <cmocka.h>
#include <re.h>
#include "notify.h"


#define DI  "application/dialog-info+xml"
#define PF  "application/pidf+xml"
#define MS  "application/simple-message-summary"
#define AF  "application/x-as-feature-event+xml"

#define INFO(version, state, dialogs)					\
	"<?xml version=\"1.0\"?>\n<dialog-info xmlns=\"urn:ietf:params:"	\
	"xml:ns:dialog-info\" version=\"" version "\" state=\"" state	\
	"\" entity=\"sip:200@a\">" dialogs "</dialog-info>\n"

#define DIALOG(id, attr, state)						\
	"<dialog id=\"" id "\" " attr "><state>" state "</state></dialog>"

#define PIDF(inner)							\
	"<?xml version=\"1.0\"?>\n<presence xmlns=\"urn:ietf:params:xml:ns:"	\
	"pidf\" entity=\"sip:200@a\">" inner "</presence>"


/* ---- Tools ------------------------------------------------------------ */


static struct aa_notify *make(const char *event)
{
	struct aa_notify *n = NULL;

	assert_int_equal(aa_notify_alloc(&n, event), 0);
	assert_string_equal(aa_notify_value(n), "");

	return n;
}


static int take(struct aa_notify *n, const char *ctype, const char *body)
{
	struct pl c, b;
	char *copy;
	int err;

	/* behind the end there shall be nothing but the sanitizer */
	copy = malloc(strlen(body) + !*body);
	assert_non_null(copy);
	memcpy(copy, body, strlen(body));

	pl_set_str(&c, ctype);
	b.p = copy;
	b.l = strlen(body);

	err = aa_notify_decode(n, &c, &b);
	free(copy);

	return err;
}


/* One body of a new subscription */
static void check(const char *event, const char *ctype, const char *body,
		  int err, const char *value)
{
	struct aa_notify *n = make(event);

	assert_int_equal(take(n, ctype, body), err);
	assert_string_equal(aa_notify_value(n), value);

	mem_deref(n);
}


static void lamp(const char *dialogs, const char *value)
{
	char buf[4096];

	(void)snprintf(buf, sizeof(buf), INFO("0", "full", "%s"), dialogs);
	check("dialog", DI, buf, 0, value);
}


/* ---- Message waiting (RFC 3842) --------------------------------------- */


static void mwi_values(void **state)
{
	(void)state;

	check("message-summary", MS,
	      "Messages-Waiting: yes\r\n"
	      "Message-Account: sip:alice@vmail.example.com\r\n"
	      "Voice-Message: 2/8 (0/2)\r\n", 0, "yes 2/8 (0/2)");
	check("message-summary", MS,
	      "Messages-Waiting: no\r\nVoice-Message: 0/3\r\n", 0,
	      "no 0/3 (0/0)");
	check("message-summary", MS, "Messages-Waiting: no", 0, "no");
	check("message-summary", MS, "messages-waiting:YES\n", 0, "yes");
	check("Message-Summary", "APPLICATION/simple-message-summary;x=y",
	      " Messages-Waiting :\tyes \r\n voice-message : 1 / 2 ( 3 / 4 )"
	      "\r\n", 0, "yes 1/2 (3/4)");

	/* headers of a single message do not count */
	check("message-summary", MS,
	      "Messages-Waiting: yes\r\nVoice-Message: 1/0\r\n\r\n"
	      "Voice-Message: 9/9\r\n", 0, "yes 1/0 (0/0)");
}


static void mwi_bad(void **state)
{
	(void)state;

	check("message-summary", MS, "Voice-Message: 2/8\r\n", EBADMSG, "");
	check("message-summary", MS, "Messages-Waiting: maybe\r\n", EBADMSG,
	      "");
	check("message-summary", MS,
	      "Messages-Waiting: yes\r\nVoice-Message: two\r\n", EBADMSG, "");
	check("message-summary", MS,
	      "Messages-Waiting: yes\r\nVoice-Message: 99999999999/1\r\n",
	      EBADMSG, "");
	check("message-summary", MS, "\r\n\r\n:::\r\n", EBADMSG, "");
	check("message-summary", DI, "Messages-Waiting: yes\r\n",
	      EPROTONOSUPPORT, "");
	check("message-summary", "", "Messages-Waiting: yes\r\n",
	      EPROTONOSUPPORT, "");
	check("message-summary", MS, "", EPROTONOSUPPORT, "");
}


static void mwi_counts(void **state)
{
	struct aa_notify *n = make("message-summary");
	struct aa_notify_mwi mwi;
	(void)state;

	assert_false(aa_notify_mwi(n, &mwi));
	assert_int_equal(take(n, MS, "Messages-Waiting: yes\r\n"
			      "Voice-Message: 4/3 (2/1)\r\n"), 0);
	assert_true(aa_notify_mwi(n, &mwi));
	assert_true(mwi.waiting);
	assert_true(mwi.counted);
	assert_int_equal(mwi.newm, 4);
	assert_int_equal(mwi.oldm, 3);
	assert_int_equal(mwi.newu, 2);
	assert_int_equal(mwi.oldu, 1);

	/* what is bad changes nothing */
	assert_int_equal(take(n, MS, "Messages-Waiting: x\r\n"), EBADMSG);
	assert_true(aa_notify_mwi(n, &mwi));
	assert_int_equal(mwi.newm, 4);
	assert_string_equal(aa_notify_value(n), "yes 4/3 (2/1)");

	mem_deref(n);
}


/* ---- Busy lamps (RFC 4235) -------------------------------------------- */


static void lamp_values(void **state)
{
	(void)state;

	lamp("", "idle");
	lamp(DIALOG("1", "", "terminated"), "idle");
	lamp(DIALOG("1", "direction=\"initiator\"", "trying"), "calling");
	lamp(DIALOG("1", "direction=\"initiator\"", "early"), "calling");
	lamp(DIALOG("1", "direction=\"recipient\"", "proceeding"), "ringing");
	lamp(DIALOG("1", "direction=\"recipient\"", "early"), "ringing");
	lamp(DIALOG("1", "", "early"), "ringing");
	lamp(DIALOG("1", "", "confirmed"), "busy");
	lamp(DIALOG("1", "", " \n CONFIRMED \n"), "busy");
}


static void lamp_held(void **state)
{
	(void)state;

	lamp("<dialog id=\"1\"><state>confirmed</state><local><target "
	     "uri=\"sip:200@a\"><param pname=\"+sip.rendering\" pval=\"no\"/>"
	     "</target></local></dialog>", "held");
	lamp("<dialog id=\"1\"><state>confirmed</state><local><target "
	     "uri=\"sip:200@a\"><param pname=\"+sip.rendering\" pval=\"yes\"/>"
	     "</target></local></dialog>", "busy");
	lamp("<dialog id=\"1\"><state>confirmed</state><remote><target "
	     "uri=\"sip:200@a\"><param pname=\"+sip.rendering\" pval=\"no\"/>"
	     "</target></remote></dialog>", "busy");
}


static void lamp_several(void **state)
{
	(void)state;

	lamp(DIALOG("1", "", "confirmed")
	     DIALOG("2", "direction=\"recipient\"", "early"), "ringing");
	lamp(DIALOG("1", "direction=\"initiator\"", "early")
	     DIALOG("2", "", "confirmed"), "busy");
	lamp(DIALOG("1", "", "terminated") DIALOG("2", "", "confirmed"),
	     "busy");
	lamp(DIALOG("1", "", "confirmed") DIALOG("1", "", "terminated"),
	     "idle");
}


static void lamp_partial(void **state)
{
	struct aa_notify *n = make("dialog");
	(void)state;

	assert_int_equal(take(n, DI, INFO("7", "full",
			      DIALOG("a", "", "confirmed"))), 0);
	assert_string_equal(aa_notify_value(n), "busy");
	assert_false(aa_notify_gap(n));

	assert_int_equal(take(n, DI, INFO("8", "partial",
			      DIALOG("b", "", "early"))), 0);
	assert_string_equal(aa_notify_value(n), "ringing");
	assert_false(aa_notify_gap(n));

	assert_int_equal(take(n, DI, INFO("9", "partial",
			      DIALOG("b", "", "terminated"))), 0);
	assert_string_equal(aa_notify_value(n), "busy");

	/* came before: dropped */
	assert_int_equal(take(n, DI, INFO("8", "partial",
			      DIALOG("a", "", "terminated"))), EALREADY);
	assert_string_equal(aa_notify_value(n), "busy");
	assert_int_equal(take(n, DI, INFO("9", "partial",
			      DIALOG("a", "", "terminated"))), EALREADY);
	assert_string_equal(aa_notify_value(n), "busy");

	/* something is missing: taken, and all is asked for */
	assert_int_equal(take(n, DI, INFO("12", "partial",
			      DIALOG("a", "", "terminated"))), 0);
	assert_string_equal(aa_notify_value(n), "idle");
	assert_true(aa_notify_gap(n));

	assert_int_equal(take(n, DI, INFO("13", "full",
			      DIALOG("c", "", "confirmed"))), 0);
	assert_string_equal(aa_notify_value(n), "busy");
	assert_false(aa_notify_gap(n));

	/* all of it, by a server that has started again */
	assert_int_equal(take(n, DI, INFO("0", "full", "")), 0);
	assert_string_equal(aa_notify_value(n), "idle");
	assert_int_equal(take(n, DI, INFO("1", "partial",
			      DIALOG("d", "", "confirmed"))), 0);
	assert_string_equal(aa_notify_value(n), "busy");
	assert_false(aa_notify_gap(n));

	mem_deref(n);
}


static void lamp_partial_first(void **state)
{
	struct aa_notify *n = make("dialog");
	(void)state;

	assert_int_equal(take(n, DI, INFO("3", "partial",
			      DIALOG("a", "", "confirmed"))), 0);
	assert_string_equal(aa_notify_value(n), "busy");
	assert_true(aa_notify_gap(n));

	mem_deref(n);
}


static void lamp_prefixes(void **state)
{
	(void)state;

	check("dialog", DI,
	      "<d:dialog-info xmlns:d=\"urn:ietf:params:xml:ns:dialog-info\""
	      " version=\"1\" state=\"full\" entity=\"sip:a@b\"><d:dialog "
	      "id=\"x\"><d:state>confirmed</d:state></d:dialog>"
	      "</d:dialog-info>", 0, "busy");
	check("dialog", DI " ; charset=utf-8",
	      "<dialog-info version='1' state='full'><dialog id='x'>"
	      "<state>confirmed</state></dialog></dialog-info>", 0, "busy");
}


static void lamp_bad(void **state)
{
	(void)state;

	check("dialog", DI, "nonsense", EBADMSG, "");
	check("dialog", DI, "<dialog-info", EBADMSG, "");
	check("dialog", DI, "<presence/>", EBADMSG, "");
	check("dialog", DI, INFO("0", "half", ""), EBADMSG, "");
	check("dialog", DI, INFO("x", "partial", ""), EBADMSG, "");
	check("dialog", DI, INFO("99999999999", "partial", ""), EBADMSG, "");
	check("dialog", DI, INFO("0", "full", DIALOG("1", "", "asleep")),
	      EBADMSG, "");
	check("dialog", DI, INFO("0", "full", "<dialog><state>early</state>"
				 "</dialog>"), EBADMSG, "");
	check("dialog", DI, INFO("0", "full", "<dialog id=\"1\"/>"), EBADMSG,
	      "");
	check("dialog", PF, INFO("0", "full", ""), EPROTONOSUPPORT, "");
	check("dialog", "text/plain", "busy", EPROTONOSUPPORT, "");
}


static void lamp_bad_changes_nothing(void **state)
{
	struct aa_notify *n = make("dialog");
	(void)state;

	assert_int_equal(take(n, DI, INFO("1", "full",
			      DIALOG("a", "", "confirmed"))), 0);

	/* the first dialog of it was good */
	assert_int_equal(take(n, DI, INFO("2", "full",
			      DIALOG("b", "", "early")
			      DIALOG("c", "", "?"))), EBADMSG);
	assert_string_equal(aa_notify_value(n), "busy");
	assert_int_equal(take(n, DI, INFO("2", "partial",
			      DIALOG("a", "", "terminated"))), 0);
	assert_string_equal(aa_notify_value(n), "idle");

	mem_deref(n);
}


/* ---- Bounds ----------------------------------------------------------- */


static void no_entities(void **state)
{
	(void)state;

	check("dialog", DI,
	      "<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY a \"b\">]>"
	      "<dialog-info version=\"0\" state=\"full\"/>", EBADMSG, "");
	check("dialog", DI,
	      "<!DOCTYPE dialog-info SYSTEM \"file:///etc/passwd\">"
	      "<dialog-info version=\"0\" state=\"full\"/>", EBADMSG, "");
	check("dialog", DI,
	      "<dialog-info version=\"0\" state=\"full\"><dialog id=\"1\">"
	      "<state>&confirmed;</state></dialog></dialog-info>", EBADMSG,
	      "");
	check("dialog", DI,
	      "<dialog-info version=\"0\" state=\"full\"><dialog id=\"1\">"
	      "<state>&#99;onfirmed</state></dialog></dialog-info>", 0,
	      "busy");
}


static char *repeat(const char *head, const char *fmt, unsigned n,
		    const char *tail)
{
	const size_t size = strlen(head) + n * (strlen(fmt) + 12) +
		strlen(tail) + 1;
	char *buf = malloc(size);
	size_t pos;
	unsigned i;

	assert_non_null(buf);
	pos = (size_t)snprintf(buf, size, "%s", head);
	for (i=0; i<n; i++)
		pos += (size_t)snprintf(buf + pos, size - pos, fmt, i);
	(void)snprintf(buf + pos, size - pos, "%s", tail);

	return buf;
}


static void bounds(void **state)
{
	const char *head = "<dialog-info version=\"0\" state=\"full\">";
	char *buf;
	(void)state;

	buf = repeat(head, "<a b='%u'>", 40, "");
	check("dialog", DI, buf, EMSGSIZE, "");
	free(buf);

	buf = repeat(head, "<dialog id=\"%u\"><state>early</state></dialog>",
		     256, "</dialog-info>");
	check("dialog", DI, buf, 0, "ringing");
	free(buf);

	buf = repeat(head, "<dialog id=\"%u\"><state>early</state></dialog>",
		     257, "</dialog-info>");
	check("dialog", DI, buf, EMSGSIZE, "");
	free(buf);

	buf = repeat(head, "<a/>", 9000, "</dialog-info>");
	check("dialog", DI, buf, EMSGSIZE, "");
	free(buf);

	buf = repeat(head, "<!-- %u -->", 6000, "</dialog-info>");
	check("dialog", DI, buf, EMSGSIZE, "");
	free(buf);

	buf = repeat("<dialog-info version=\"0\" state=\"full\"><dialog "
		     "id=\"1\"><state>", "confirmed", 3000,
		     "</state></dialog></dialog-info>");
	check("dialog", DI, buf, EBADMSG, "");
	free(buf);
}


/* ---- Presence (RFC 3863) ---------------------------------------------- */


static void presence_values(void **state)
{
	(void)state;

	check("presence", PF,
	      PIDF("<tuple id=\"1\"><status><basic>open</basic></status>"
		   "</tuple>"), 0, "open");
	check("presence", PF,
	      PIDF("<tuple id=\"1\"><status><basic>closed</basic></status>"
		   "</tuple>"), 0, "closed");
	check("presence", PF,
	      PIDF("<tuple id=\"1\"><status><basic>closed</basic></status>"
		   "</tuple><tuple id=\"2\"><status><basic>open</basic>"
		   "</status></tuple>"), 0, "open");
	check("presence", PF, PIDF(""), 0, "closed");
	check("presence", PF,
	      PIDF("<tuple id=\"1\"><status><basic>open</basic></status>"
		   "</tuple><person xmlns=\"urn:ietf:params:xml:ns:pidf:data-"
		   "model\" id=\"p\"><activities xmlns=\"urn:ietf:params:xml:"
		   "ns:pidf:rpid\"><on-the-phone/></activities></person>"), 0,
	      "busy");
	check("presence", PF,
	      PIDF("<tuple id=\"1\"><status><basic>open</basic></status>"
		   "</tuple><person><activities><holiday/></activities>"
		   "</person>"), 0, "away");
	check("presence", PF,
	      PIDF("<tuple id=\"1\"><status><basic>open</basic></status>"
		   "</tuple><person><activities><away/><busy/></activities>"
		   "</person>"), 0, "busy");
	check("presence", PF,
	      PIDF("<tuple id=\"1\"><status><basic>open</basic></status>"
		   "</tuple><person><activities><breakfast/></activities>"
		   "</person>"), 0, "open");
	check("presence", PF,
	      PIDF("<tuple id=\"1\"><status><basic>closed</basic></status>"
		   "</tuple><person><activities><busy/></activities>"
		   "</person>"), 0, "closed");
	check("presence", PF,
	      PIDF("<tuple id=\"1\"><status><basic>ajar</basic></status>"
		   "</tuple>"), EBADMSG, "");
}


static void presence_note(void **state)
{
	struct aa_notify *n = make("presence");
	char *buf;
	size_t i;
	(void)state;

	assert_string_equal(aa_notify_note(n), "");
	assert_int_equal(take(n, PF,
	      PIDF("<tuple id=\"1\"><status><basic>open</basic></status>"
		   "<note>  At &lt;lunch&gt;\n </note></tuple>")), 0);
	assert_string_equal(aa_notify_note(n), "At <lunch>");

	assert_int_equal(take(n, PF,
	      PIDF("<tuple id=\"1\"><status><basic>open</basic></status>"
		   "</tuple>")), 0);
	assert_string_equal(aa_notify_note(n), "");

	assert_int_equal(take(n, PF,
	      PIDF("<person><note>a\nb</note></person>")), 0);
	assert_string_equal(aa_notify_note(n), "a b");

	/* cut between two characters */
	buf = repeat("<presence><note>x", "\xc3\xa4", 300,
		     "</note></presence>");
	assert_int_equal(take(n, PF, buf), 0);
	free(buf);
	assert_true(strlen(aa_notify_note(n)) <= 256);
	assert_int_equal(strlen(aa_notify_note(n)) % 2, 1);
	for (i=1; aa_notify_note(n)[i]; i+=2)
		assert_memory_equal(aa_notify_note(n) + i, "\xc3\xa4", 2);

	mem_deref(n);
}


/* ---- as-feature-event ------------------------------------------------- */


#define NS "xmlns=\"http://www.ecma-international.org/standards/ecma-323" \
	"/csta/ed3\""

static const char dnd_on[] =
	"<?xml version=\"1.0\" encoding=\"UTF-8\"?><DoNotDisturbEvent " NS
	"><device>100@a</device><doNotDisturbOn>true</doNotDisturbOn>"
	"</DoNotDisturbEvent>";
static const char forward_on[] =
	"<ForwardingEvent " NS "><device>100@a</device><forwardingType>"
	"forwardImmediate</forwardingType><forwardStatus>true</forwardStatus>"
	"<forwardTo>201</forwardTo></ForwardingEvent>";
static const char forward_off[] =
	"<ForwardingEvent " NS "><forwardingType>forwardNoAns"
	"</forwardingType><forwardStatus>false</forwardStatus><forwardTo>9"
	"</forwardTo></ForwardingEvent>";


static void feature_values(void **state)
{
	struct aa_notify *n = make("as-feature-event");
	(void)state;

	assert_int_equal(take(n, AF, dnd_on), 0);
	assert_string_equal(aa_notify_value(n), "dnd=on");
	assert_int_equal(take(n, AF, forward_on), 0);
	assert_string_equal(aa_notify_value(n), "dnd=on forward-always=201");
	assert_int_equal(take(n, AF, forward_off), 0);
	assert_string_equal(aa_notify_value(n), "dnd=on forward-always=201"
			    " forward-noanswer=off");

	assert_int_equal(take(n, AF, "<ForwardingEvent><forwardingType>"
			      "forwardImmediate</forwardingType><forwardStatus"
			      ">false</forwardStatus></ForwardingEvent>"), 0);
	assert_int_equal(take(n, AF, "<DoNotDisturbEvent><doNotDisturbOn>false"
			      "</doNotDisturbOn></DoNotDisturbEvent>"), 0);
	assert_string_equal(aa_notify_value(n), "dnd=off forward-always=off"
			    " forward-noanswer=off");

	/* others of the same family do no harm */
	assert_int_equal(take(n, AF, "<CallCenterEvent/>"), 0);
	assert_int_equal(take(n, AF, "<ForwardingEvent><forwardingType>x"
			      "</forwardingType><forwardStatus>true"
			      "</forwardStatus></ForwardingEvent>"), 0);
	assert_int_equal(take(n, AF, "<ForwardingEvent/>"), EBADMSG);
	assert_int_equal(take(n, AF, "<DoNotDisturbEvent/>"), EBADMSG);
	assert_string_equal(aa_notify_value(n), "dnd=off forward-always=off"
			    " forward-noanswer=off");

	mem_deref(n);
}


static void feature_mixed(void **state)
{
	char buf[4096];
	(void)state;

	(void)snprintf(buf, sizeof(buf),
		 "preamble\r\n--UniqueBroadWorksBoundary\r\n"
		 "Content-Type:" AF "\r\nContent-Length:%zu\r\n\r\n%s\r\n"
		 "--UniqueBroadWorksBoundary\r\nContent-Type: " AF "\r\n\r\n"
		 "%s\r\n--UniqueBroadWorksBoundary--\r\nepilogue",
		 strlen(dnd_on), dnd_on, forward_on);
	check("as-feature-event",
	      "multipart/mixed; boundary=UniqueBroadWorksBoundary", buf, 0,
	      "dnd=on forward-always=201");
}


/* ---- Lists (RFC 4662) ------------------------------------------------- */


#define REL "multipart/related;type=\"application/rlmi+xml\";start=" \
	"\"<l@a>\";boundary=\"x;y\""

#define RLMI(version, full, resources)					\
	"--x;y\r\nContent-Transfer-Encoding: binary\r\n"		\
	"Content-ID: <l@a>\r\n"						\
	"Content-Type: application/rlmi+xml;charset=\"UTF-8\"\r\n\r\n"	\
	"<?xml version=\"1.0\"?><list xmlns=\"urn:ietf:params:xml:ns:rlmi\""	\
	" uri=\"sip:l@a\" version=\"" version "\" fullState=\"" full "\">"	\
	resources "</list>\r\n"

#define RES(uri, name, state, cid)					\
	"<resource uri=\"" uri "\"><name>" name "</name><instance "	\
	"id=\"i\" state=\"" state "\" cid=\"" cid "\"/></resource>"

#define PART(cid, ctype, body)						\
	"--x;y\r\nContent-ID: <" cid ">\r\nContent-Type: " ctype		\
	"\r\n\r\n" body "\r\n"

#define END "--x;y--\r\n"


static bool print_member(const struct aa_notify_res *res, void *arg)
{
	char *buf = arg;
	const size_t l = strlen(buf);

	(void)snprintf(buf + l, 1024 - l, "%s|%s|%s\n", res->uri, res->name,
		       res->value);

	return false;
}


static void members(const struct aa_notify *n, const char *expected)
{
	char buf[1024] = "";

	assert_false(aa_notify_apply(n, print_member, buf));
	assert_string_equal(buf, expected);
}


static void list_values(void **state)
{
	struct aa_notify *n = make("dialog");
	(void)state;

	assert_false(aa_notify_is_list(n));
	assert_int_equal(take(n, REL,
		RLMI("0", "true",
		     RES("sip:1@a", "One", "active", "1@a")
		     RES("sip:2@a", "Two", "active", "2@a")
		     "<resource uri=\"sip:3@a\"/>")
		PART("1@a", DI, INFO("0", "full", DIALOG("d", "",
							"confirmed")))
		PART("2@a", DI, INFO("4", "full", "")) END), 0);
	assert_true(aa_notify_is_list(n));
	members(n, "sip:1@a|One|busy\nsip:2@a|Two|idle\nsip:3@a||\n");

	/* one of them alone */
	assert_int_equal(take(n, REL,
		RLMI("1", "false", RES("sip:2@a", "Two", "active", "2b@a"))
		PART("2b@a", DI, INFO("5", "partial", DIALOG("d", "",
							    "early"))) END),
		0);
	members(n, "sip:1@a|One|busy\nsip:2@a|Two|ringing\nsip:3@a||\n");
	assert_false(aa_notify_gap(n));

	/* ended: that it is not known is known */
	assert_int_equal(take(n, REL,
		RLMI("2", "false",
		     "<resource uri=\"sip:1@a\"><instance id=\"i\" state=\""
		     "terminated\" reason=\"rejected\"/></resource>") END), 0);
	members(n, "sip:1@a|One|unknown\nsip:2@a|Two|ringing\nsip:3@a||\n");

	/* came before */
	assert_int_equal(take(n, REL,
		RLMI("2", "false", RES("sip:2@a", "Old", "active", "c")) END),
		EALREADY);
	members(n, "sip:1@a|One|unknown\nsip:2@a|Two|ringing\nsip:3@a||\n");

	/* something is missing */
	assert_int_equal(take(n, REL,
		RLMI("4", "false", RES("sip:4@a", "Four", "active", "c"))
		PART("c", DI, INFO("0", "full", "")) END), 0);
	assert_true(aa_notify_gap(n));
	members(n, "sip:1@a|One|unknown\nsip:2@a|Two|ringing\nsip:3@a||\n"
		"sip:4@a|Four|idle\n");

	/* all of it: who is not in it is gone */
	assert_int_equal(take(n, REL,
		RLMI("5", "true", RES("sip:2@a", "Two", "active", "c"))
		PART("c", DI, INFO("0", "full", "")) END), 0);
	members(n, "sip:2@a|Two|idle\n");
	assert_false(aa_notify_gap(n));

	mem_deref(n);
}


static void list_presence(void **state)
{
	struct aa_notify *n = make("presence");
	(void)state;

	assert_int_equal(take(n, REL,
		RLMI("0", "1", RES("sip:1@a", "", "active", "1"))
		PART("1", PF, PIDF("<tuple id=\"1\"><status><basic>open"
				   "</basic></status></tuple>")) END), 0);
	members(n, "sip:1@a||open\n");

	mem_deref(n);
}


static void list_bad(void **state)
{
	struct aa_notify *n = make("dialog");
	(void)state;

	assert_int_equal(take(n, REL,
		RLMI("0", "true", RES("sip:1@a", "", "active", "1"))
		PART("1", DI, INFO("0", "full", DIALOG("d", "", "confirmed")))
		END), 0);
	members(n, "sip:1@a||busy\n");

	/* the list itself */
	assert_int_equal(take(n, "multipart/related", "--x\r\n--x--"),
			 EBADMSG);
	assert_int_equal(take(n, "multipart/related;boundary=\"\"", "--"),
			 EBADMSG);
	assert_int_equal(take(n, REL, "no boundary at all"), EBADMSG);
	assert_int_equal(take(n, REL, END), EBADMSG);
	assert_int_equal(take(n, REL, RLMI("1", "true", "")), EBADMSG);
	assert_int_equal(take(n, REL, RLMI("1", "true", "<resource/>") END),
			 EBADMSG);
	assert_int_equal(take(n, REL, RLMI("1", "true", "<resource uri=\"a\""
					   ">") END), EBADMSG);
	assert_int_equal(take(n, REL, RLMI("x", "false", "") END), EBADMSG);
	assert_int_equal(take(n, REL, "--x;y\r\nContent-Type: application/"
			      "rlmi+xml\r\n\r\n<list uri=\"a\"/>\r\n" END),
			 EBADMSG);
	assert_int_equal(take(n, REL, PART("1", "text/plain", "hi") END),
			 EPROTONOSUPPORT);
	members(n, "sip:1@a||busy\n");

	/* one member: the others do not suffer */
	assert_int_equal(take(n, REL,
		RLMI("1", "true", RES("sip:1@a", "", "active", "1")
		     RES("sip:2@a", "", "active", "2"))
		PART("1", DI, "garbage")
		PART("2", DI, INFO("0", "full", "")) END), 0);
	members(n, "sip:1@a||unknown\nsip:2@a||idle\n");
	assert_true(aa_notify_gap(n));

	mem_deref(n);
}


static void list_bounds(void **state)
{
	char *buf;
	(void)state;

	buf = repeat("--b\r\nContent-Type: application/rlmi+xml\r\n\r\n<list "
		     "uri=\"a\" version=\"0\" fullState=\"true\">",
		     "<resource uri=\"%u\"/>", 1025, "</list>\r\n--b--");
	check("dialog", "multipart/related;boundary=b", buf, EMSGSIZE, "");
	free(buf);

	buf = repeat("", "--b\r\n\r\n\r\n", 1025, "--b--");
	check("dialog", "multipart/related;boundary=b", buf, EMSGSIZE, "");
	free(buf);

	buf = repeat("", "--b\r\nContent-Type: multipart/mixed;boundary=b\r\n"
		     "\r\n", 10, "--b--");
	check("dialog", "multipart/mixed;boundary=b", buf, EBADMSG, "");
	free(buf);

	check("dialog", "multipart/mixed;boundary=a",
	      "--a\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n"
	      "--b\r\nContent-Type: multipart/mixed;boundary=c\r\n\r\n"
	      "--c\r\nContent-Type: multipart/mixed;boundary=d\r\n\r\n"
	      "--d\r\n\r\n--d--\r\n--c--\r\n--b--\r\n--a--", EMSGSIZE, "");
}


/* ---- Others ----------------------------------------------------------- */


static void others(void **state)
{
	(void)state;

	check("x-anything", "text/plain", "the body\r\nas it came", 0,
	      "the body  as it came");
	check("x-anything", "multipart/mixed", "--x", 0, "--x");
	check("x-anything", "", "", 0, "");
	check("x-anything", "text/plain", "", 0, "");

	assert_null(aa_notify_accept("x-anything"));
	assert_string_equal(aa_notify_accept("dialog"), DI);
	assert_string_equal(aa_notify_accept("presence"), PF);
	assert_string_equal(aa_notify_accept("message-summary"), MS);
	assert_string_equal(aa_notify_accept("as-feature-event"), AF);
	assert_true(aa_notify_listable("dialog"));
	assert_true(aa_notify_listable("presence"));
	assert_false(aa_notify_listable("message-summary"));

	assert_string_equal(aa_notify_value(NULL), "");
	assert_string_equal(aa_notify_note(NULL), "");
	assert_false(aa_notify_is_list(NULL));
	assert_false(aa_notify_gap(NULL));
	assert_false(aa_notify_apply(NULL, print_member, NULL));
	assert_int_equal(aa_notify_alloc(NULL, "dialog"), EINVAL);
	assert_int_equal(aa_notify_decode(NULL, NULL, NULL), EINVAL);
}


int main(void)
{
	const struct CMUnitTest testv[] = {
		cmocka_unit_test(mwi_values),
		cmocka_unit_test(mwi_bad),
		cmocka_unit_test(mwi_counts),
		cmocka_unit_test(lamp_values),
		cmocka_unit_test(lamp_held),
		cmocka_unit_test(lamp_several),
		cmocka_unit_test(lamp_partial),
		cmocka_unit_test(lamp_partial_first),
		cmocka_unit_test(lamp_prefixes),
		cmocka_unit_test(lamp_bad),
		cmocka_unit_test(lamp_bad_changes_nothing),
		cmocka_unit_test(no_entities),
		cmocka_unit_test(bounds),
		cmocka_unit_test(presence_values),
		cmocka_unit_test(presence_note),
		cmocka_unit_test(feature_values),
		cmocka_unit_test(feature_mixed),
		cmocka_unit_test(list_values),
		cmocka_unit_test(list_presence),
		cmocka_unit_test(list_bad),
		cmocka_unit_test(list_bounds),
		cmocka_unit_test(others),
	};

	return cmocka_run_group_tests(testv, NULL, NULL);
}
