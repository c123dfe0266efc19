"""Hostile servers and neighbours: who is no server of the line changes
nothing, who is one gets no more than a digest answer, and neither costs much
time or memory."""

import re
import socket
import time

import pytest

from lab.fake import Fake, usual
from lab.figures import held
from lab.lab import DOMAIN
from lab.several import _ahead, ahead, parallel  # noqa: F401 (fixtures)
from lab.site import BACKUP, FAST, PRIMARY, Site

AT_ONCE = 3
PASSWORD = "secret100"      # as lab.account() says
GROWTH_KB = 8192            # more than that is a leak, or no limit


def chall(realm=DOMAIN, algorithm="MD5", qop="auth", nonce="n1", more="",
          header="WWW-Authenticate"):
    text = '%s: Digest realm="%s", nonce="%s"' % (header, realm, nonce)
    if algorithm:
        text += ", algorithm=" + algorithm
    if qop:
        text += ', qop="%s"' % qop
    return text + more


def guarded(*challenges, scode=401, right=lambda r: r.right(PASSWORD)):
    """A server that asks for credentials, and looks at them."""
    def handler(r):
        if r.method != "REGISTER" or right(r):
            return usual(r)
        return r.answer(scode, "Unauthorized", *challenges)
    return handler


ROLES = ("outbound_proxy", "proxy_ip", "registrar_ip")


def phone_of(lab, handlers, transport="udp", config=(), roles=ROLES, **kw):
    """A line with a fake server as primary, and one as backup."""
    fakes = [Fake(host, h).start()
             for host, h in zip((lab.primary, lab.backup), handlers)]
    lab.others += fakes
    phone = lab.baresip(
        lab.account(100, via=lab.primary, transport=transport), aastra=True,
        config=[*("sip_backup_%s %s" % (role, lab.backup.ip)
                  for role in roles), *FAST, *config], **kw)
    return phone, fakes


def service(phone):
    return phone.state(1)["service"]


def answered(fake):
    return [r for r in fake.got("REGISTER") if r.credentials()]


# ---- digest --------------------------------------------------------------------


@parallel
@pytest.mark.parametrize("challenges", [
    (chall(algorithm="SHA-256"), chall(algorithm="MD5", nonce="n2")),
    (chall(algorithm="SHA-512-256"), chall(algorithm="SHA-256-sess"),
     chall(algorithm="", nonce="n2")),
    (chall(qop="auth-int"), chall(qop="auth-int,auth", nonce="n2")),
    (chall(qop=""),),
    ("WWW-Authenticate: Basic realm=\"x\"", chall()),
], ids=["sha-256", "unknown", "auth-int", "no-qop", "basic"])
def test_several_challenges(lab, challenges):
    """Of several challenges the one that can be answered is."""
    phone, fakes = phone_of(lab, [guarded(*challenges), usual])
    lab.until(lambda: service(phone) == PRIMARY, 5, "registered")
    assert len(answered(fakes[0])) == 1
    (c,) = answered(fakes[0])[0].credentials()
    assert c.get("qop", "auth") == "auth"
    held("Digest", "several challenges, one to be answered",
         credentials=len(answered(fakes[0])))
    if "SHA-256" in challenges[0] and phone.version >= (4, 0, 0):
        assert c["algorithm"] == "SHA-256"      # libre has learnt it
    assert PASSWORD.encode() not in b"".join(
        r.raw for r in fakes[0].requests)


@parallel
@pytest.mark.parametrize("challenges, why", [
    ((chall(algorithm="SHA-512-256"),), "digest with SHA-512-256"),
    ((chall(qop="auth-int"),), "digest with qop auth-int"),
    (('WWW-Authenticate: Basic realm="x"',), "other than digest"),
    (("WWW-Authenticate: \x01,,=\"",), "other than digest"),
    ((), "has no challenge"),
], ids=["algorithm", "auth-int", "basic", "rubbish", "none"])
def test_no_answer(lab, challenges, why):
    """What cannot be answered is not, and the history says why."""
    phone, fakes = phone_of(lab, [guarded(*challenges), usual])

    def told():
        return [h for h in phone.state(1)["history"]
                if h["event"] == "refused" and why in h["reason"]]
    lab.until(told, 5, "the reason in the history")
    assert not answered(fakes[0]) and not answered(fakes[1])
    assert len(fakes[0].got("REGISTER")) == 1
    held("Digest", "a challenge that is not to be answered",
         REGISTERs=1, credentials=0)


@parallel
@pytest.mark.parametrize("stale", [True, False])
def test_endless_401(lab, stale):
    """Challenge upon challenge ends after a few."""
    count = iter(range(1000000))

    def handler(r):
        if r.method != "REGISTER":
            return usual(r)
        return r.answer(401, "Unauthorized", chall(
            nonce="n%d" % next(count),
            more=", stale=true" if stale else ""))
    phone, fakes = phone_of(lab, [handler, handler])
    lab.until(lambda: [h for h in phone.state(1)["history"]
                       if h["event"] == "refused"], 5, "refused")
    n = len(fakes[0].got("REGISTER"))
    assert n <= 5 if stale else n == 2
    held("Digest", "challenges without end%s" % (
        ", each says stale" if stale else ""), REGISTERs=n)
    lab.never(lambda: len(fakes[0].got("REGISTER")) > n, 1.0,
              "another REGISTER")


@parallel
def test_granted_nothing(lab):
    """A 200 that lists the phone's Contact with expires=0 is no binding: the
    line goes to the backup, and home when the primary registers it."""
    nothing = [True]

    def handler(r):
        if r.method != "REGISTER" or not nothing[0]:
            return usual(r)
        return r.answer(200, "OK", "Contact: " + re.sub(
            r"expires=\d+", "expires=0", r.header("contact")))
    phone, _ = phone_of(lab, [handler, usual])
    lab.until(lambda: service(phone) == "backup", 8, "on the backup")
    assert [h for h in phone.state(1)["history"] if h["event"] == "refused"
            and "expires=0" in h["reason"]]
    nothing[0] = False
    lab.until(lambda: service(phone) == "primary", 20, "home")


@parallel
def test_endless_423(lab):
    """An interval that is too brief again and again: asked for longer ones a
    few times, and then refused."""
    def handler(r):
        if r.method != "REGISTER":
            return usual(r)
        expires = re.search(r"expires=(\d+)", r.header("contact"))[1]
        return r.answer(423, "Interval Too Brief",
                        "Min-Expires: %d" % (int(expires) + 1))
    phone, fakes = phone_of(lab, [handler, handler])
    lab.until(lambda: [h for h in phone.state(1)["history"]
                       if h["event"] == "refused"], 5, "refused")
    n = len(fakes[0].got("REGISTER"))
    assert n <= 6
    held("Digest", "423 without end", REGISTERs=n)
    lab.never(lambda: len(fakes[0].got("REGISTER")) > n, 1.0,
              "another REGISTER")


@parallel
def test_known_nonce(lab):
    """The nonce that is answered before it is asked for is that of the
    challenge that was answered, and not of the one that could not be."""
    handler = guarded(chall(qop="auth-int", nonce="other"),
                      chall(nonce="right"))
    phone, fakes = phone_of(lab, [handler, handler],
                            roles=["outbound_proxy"])
    lab.until(lambda: service(phone) == PRIMARY, 5, "on the primary")
    phone.cmd("aastra_failover 1")
    lab.until(lambda: service(phone) == BACKUP, 5, "on the backup")
    assert answered(fakes[1])
    assert {c["nonce"] for f in fakes for r in answered(f)
            for c in r.credentials()} == {"right"}


@parallel
def test_realms(lab):
    """Two servers with realms of their own: both are answered, and the
    history says so."""
    phone, fakes = phone_of(lab, [guarded(chall("one.example")),
                                  guarded(chall("two.example"))])
    lab.until(lambda: service(phone) == PRIMARY, 5, "on the primary")
    phone.cmd("aastra_failover 1")
    lab.until(lambda: service(phone) == BACKUP, 5, "on the backup")
    assert {c["realm"] for f in fakes for r in answered(f)
            for c in r.credentials()} == {"one.example", "two.example"}
    said = [h["reason"] for h in phone.state(1)["history"]
            if h["event"] == "config"]
    assert len(said) == 1
    assert "two.example" in said[0] and "one.example" in said[0]
    held("Digest", "another realm at the backup", said_in_the_history=1)


@parallel
def test_proxy_and_registrar(lab):
    """A proxy and a registrar that both want credentials get theirs."""
    def handler(r):
        if r.method != "REGISTER":
            return usual(r)
        realms = {c["realm"] for c in r.credentials()
                  if r.right(PASSWORD)}
        if "proxy" not in realms:
            return r.answer(407, "Proxy Authentication Required", chall(
                "proxy", header="Proxy-Authenticate"))
        if "registrar" not in realms:
            return r.answer(401, "Unauthorized", chall("registrar"))
        return usual(r)
    phone, fakes = phone_of(lab, [handler, usual])
    lab.until(lambda: service(phone) == PRIMARY, 5, "registered")
    assert len(fakes[0].got("REGISTER")) == 3


@parallel
def test_digest_stays_home(lab):
    """A server that leads the dialog of a subscription elsewhere: nobody
    there gets an answer to a challenge, neither before nor after one."""
    def primary(r):
        if r.method != "SUBSCRIBE":
            return usual(r)
        if not r.right(PASSWORD):
            return r.answer(401, "Unauthorized", chall())
        return r.answer(202, "Accepted", "Expires: 4",
                        "Contact: <sip:evil@%s>" % lab.far.ip)

    def other(r):
        return r.answer(401, "Unauthorized", chall(nonce="other"))
    evil = Fake(lab.far, other).start()
    lab.others.append(evil)
    phone, fakes = phone_of(lab, [primary, usual], config=[
        "sip line1 subscribe: dialog 200"])
    lab.until(lambda: len(evil.got("SUBSCRIBE")) > 1, 15, "a refresh there")
    assert not answered(fakes[1])
    assert not [r for r in evil.requests if r.credentials()]
    assert [r for r in fakes[0].got("SUBSCRIBE") if r.credentials()]
    held("Digest", "a dialog that leads elsewhere, challenged there",
         requests=len(evil.requests), credentials=0)


# ---- neighbours ----------------------------------------------------------------


def request(method, uri, host, n, *headers, body="", dialog=""):
    return "\r\n".join([
        "%s %s SIP/2.0" % (method, uri),
        "Via: SIP/2.0/UDP %s:5060;branch=z9hG4bK%s%d" % (host.ip, method, n),
        "From: <sip:evil@%s>;tag=e%d" % (host.ip, n),
        "To: <%s>%s" % (uri, dialog),
        "Call-ID: evil-%d" % n, "CSeq: %d %s" % (n + 1, method),
        "Max-Forwards: 70", "Contact: <sip:evil@%s>" % host.ip, *headers,
        "Content-Length: %d" % len(body), "", body]).encode()


def essence(phone):
    """What a stranger must not change."""
    line = phone.state(1)
    counters = {k: v for k, v in line["counters"].items() if k != "probes"}
    return (line["service"], line["registered"], line["active"],
            counters, len(line["history"]),
            [(f["state"], f["failures"]) for f in line["flows"]],
            [(s["event"], s["state"], s["value"])
             for s in line["subscriptions"]])


class Stranger:
    """A host that is no server of the line."""

    def __init__(self, lab, site):
        self.lab, self.host = lab, lab.far
        e = lab.wire.sip("REGISTER", request=True, src="phone")[-1]
        self.contact = re.search(r"<([^>]*)>", e.header("contact"))[1]
        self.peer = (lab.phone.ip, e.sport)
        self.branch = e.header("via").partition("branch=")[2]
        self.register = e
        self.udp = self.host.inside(self._udp)

    def _udp(self):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind((self.host.ip, 5060))
        return s

    def send(self, data):
        self.udp.sendto(data, self.peer)

    def tcp(self):
        """A connection to where the phone listens for SIP over TCP."""
        text = self.lab.phone.run("ss", "-Hltn")
        port = re.search(r"%s:(\d+) " % re.escape(self.lab.phone.ip), text)[1]
        return self.host.inside(lambda: socket.create_connection(
            (self.lab.phone.ip, int(port)), 5))


def with_stranger(lab, transport="udp"):
    site = Site(lab, "E2", transport, PRESENCE_DB=True, config=[
        *FAST, "sip_explicit_mwi_subscription 1",
        "sip line1 subscribe: dialog 200"])
    phone = site.start()
    lab.until(lambda: all(s["state"] == "active" for s in
                          phone.state(1)["subscriptions"]), 5, "subscribed")
    lab.wire.settle(0.1)
    return site, phone, Stranger(lab, site)


def lives(lab, phone, limit=2.0):
    t = time.monotonic()
    phone.state(1)
    took = time.monotonic() - t
    assert took < limit, "answers after %.1f s" % took
    return took


@parallel
def test_strangers(lab):
    """NOTIFYs for no dialog, forged responses, REGISTERs to the phone, floods
    of OPTIONS: nothing changes, and no credentials go there."""
    site, phone, evil = with_stranger(lab)
    before = essence(phone)
    uri = evil.contact
    t = lab.now()
    n = 0
    for event, state, body in (
            ("message-summary", "active", "Messages-Waiting: yes\r\n"
             "Voice-Message: 9/0\r\n"),
            ("dialog", "terminated;reason=rejected", ""),
            ("dialog", "active", "<dialog-info/>"),
            ("reg", "active", "x")):
        for tag in ("", ";tag=0123"):
            n += 1
            evil.send(request(
                "NOTIFY", uri, evil.host, n, "Event: " + event,
                "Subscription-State: " + state,
                "Content-Type: application/simple-message-summary",
                body=body, dialog=tag))
    for expires in (0, 3600):
        n += 1
        evil.send(request("REGISTER", "sip:" + DOMAIN, evil.host, n,
                          "Expires: %d" % expires))
    r = evil.register
    for status in (200, 401, 403, 503, 302):
        # the branch of the latest REGISTER, which was answered long ago, and
        # one that nobody sent
        for branch in (evil.branch, "z9hG4bKnobody"):
            evil.send("\r\n".join([
                "SIP/2.0 %d Forged" % status,
                "Via: SIP/2.0/UDP %s:%d;branch=%s" % (*evil.peer, branch),
                "From: " + r.header("from"), "To: " + r.header("to"),
                "Call-ID: " + r.call_id, "CSeq: %d REGISTER" % r.cseq,
                "Contact: <sip:evil@%s>" % evil.host.ip,
                chall("evil"), "Retry-After: 3600",
                "Content-Length: 0", "", ""]).encode())
    rss = phone.rss_kb()
    for i in range(2000):
        evil.send(request("OPTIONS", uri, evil.host, 1000 + i))
    took = lives(lab, phone)
    lab.never(lambda: essence(phone) != before, 2.0, "a change")
    grown = phone.rss_kb() - rss
    assert grown < GROWTH_KB
    sent = lab.wire.sip(src="phone", dst="far", after=t)
    assert sent, "the phone says nothing: is it the right port?"
    assert not [e for e in sent if e.status is None]
    assert not [e for e in sent if "authorization" in e.headers]
    assert not [e for e in sent if e.method in ("NOTIFY", "REGISTER")
                and 200 <= e.status < 300]
    held("Strangers", "NOTIFYs, REGISTERs, forged answers, OPTIONS in "
         "thousands", messages=n + 10 + 2000, changes=0, credentials=0,
         answers_a_command_within_ms=1000 * took, memory_grown_by_kB=grown)


@parallel
def test_floods(lab):
    """Thousands of headers, a megabyte of body, a header without an end,
    bytes one by one: bounded in time and memory."""
    site, phone, evil = with_stranger(lab)
    before = essence(phone)
    rss = phone.rss_kb()
    uri = evil.contact
    many = ["X-Flood-%d: %s" % (i, "a" * 10) for i in range(2500)]
    for i in range(30):
        evil.send(request("OPTIONS", uri, evil.host, i, *many))
        evil.send(request("NOTIFY", uri, evil.host, 100 + i,
                          *["Event: dialog"] * 2000))
        evil.send(request("INVITE", uri, evil.host, 200 + i,
                          "Content-Type: application/sdp",
                          *["Via: SIP/2.0/UDP 10.77.0.%d" % (k % 250)
                            for k in range(1000)], body="v=0\r\n" * 3000))
    took = [lives(lab, phone)]
    conns = []
    size = 0
    for data in (b"A" * (1 << 20),
                 b"OPTIONS %s SIP/2.0\r\nX: " % uri.encode()
                 + b"b" * (1 << 20),
                 request("OPTIONS", uri, evil.host, 999,
                         body="c" * (1 << 20)),
                 b"OPTIONS %s SIP/2.0\r\nContent-Length: 4294967295\r\n\r\n"
                 % uri.encode(),
                 b"\r\n" * (1 << 19), bytes(range(256)) * 4096):
        s = evil.tcp()
        conns.append(s)
        s.settimeout(3)
        try:
            s.sendall(data)
        except OSError:
            pass        # it has hung up: its right
        size += len(data)
        took.append(lives(lab, phone))
    slow = evil.tcp()
    try:
        for b in request("OPTIONS", uri, evil.host, 5000)[:400]:
            slow.sendall(bytes([b]))
    except OSError:
        pass            # here, too
    took.append(lives(lab, phone))
    for s in [*conns, slow]:
        s.close()
    grown = phone.rss_kb() - rss
    assert grown < GROWTH_KB, (rss, grown)
    assert essence(phone)[:3] == before[:3]
    assert essence(phone)[6] == before[6]
    held("Strangers", "thousands of headers, bodies without an end",
         sent_kB=size // 1024, changes=0,
         answers_a_command_within_ms=1000 * max(took), memory_grown_by_kB=grown)


# ---- servers -------------------------------------------------------------------


BOMB = ('<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "%s">' % ("ha" * 50)
        + "".join('<!ENTITY %s "%s">' % (b, ("&%s;" % a) * 10)
                  for a, b in zip("abcdefgh", "bcdefghi"))
        + ']><dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" '
        'version="1" state="full" entity="sip:200@x">&i;</dialog-info>')
DEEP = "<a>" * 7000 + "</a>" * 7000
WIDE = ('<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="1" '
        'state="full" entity="sip:200@x">' + '<dialog id="1"/>' * 3500
        + "</dialog-info>")
GOOD = ('<?xml version="1.0"?><dialog-info '
        'xmlns="urn:ietf:params:xml:ns:dialog-info" version="%d" '
        'state="full" entity="sip:200@x"><dialog id="1"><state>%s</state>'
        "</dialog></dialog-info>")


def notifier(bodies, done):
    """A server that serves one subscription, with these bodies."""
    def handler(r):
        if r.method != "SUBSCRIBE" or done:
            return usual(r)
        done.append(r)
        contact = re.search(r"<([^>]*)>", r.header("contact"))[1]
        ok = r.answer(202, "Accepted", "Expires: 3600",
                      "Contact: <sip:10.77.0.2:5060;transport=tcp>")
        out = [ok]
        for i, body in enumerate(bodies):
            out.append("\r\n".join([
                "NOTIFY %s SIP/2.0" % contact,
                "Via: SIP/2.0/TCP 10.77.0.2:5060;branch=z9hG4bKn%d" % i,
                "From: " + r.header("to") + ";tag=fake",
                "To: " + r.header("from"), "Call-ID: " + r.header("call-id"),
                "CSeq: %d NOTIFY" % (i + 1), "Max-Forwards: 70",
                "Contact: <sip:10.77.0.2:5060;transport=tcp>",
                "Event: dialog", "Subscription-State: active;expires=3600",
                "Content-Type: application/dialog-info+xml",
                "Content-Length: %d" % len(body), "", body]).encode())
        return out
    return handler


@parallel
@pytest.mark.parametrize("bomb", [BOMB, DEEP, WIDE, "<a", "\x00" * 5000],
                         ids=["bomb", "deep", "wide", "torn", "zeros"])
def test_bodies(lab, bomb):
    """Bodies that want to be large or endless are refused at once; the lamp
    keeps what it showed, and takes what comes next."""
    done = []
    bodies = [GOOD % (1, "confirmed"), *[bomb] * 20, GOOD % (2, "terminated")]
    phone, fakes = phone_of(lab, [notifier(bodies, done), usual], "tcp",
                            ["sip line1 subscribe: dialog 200"])
    lab.until(lambda: done, 5, "the SUBSCRIBE")
    rss = phone.rss_kb()
    cpu = phone.proc.cpu_seconds()
    lab.until(lambda: [s["value"] for s in phone.state(1)["subscriptions"]
                       if s["event"] == "dialog"] == ["idle"], 5,
              "the last body")
    spent, grown = phone.proc.cpu_seconds() - cpu, phone.rss_kb() - rss
    assert spent < 1.5
    assert grown < GROWTH_KB
    lab.wire.settle()       # the log may be behind the phone
    refused = lab.wire.sip("NOTIFY", src="phone", match=lambda e:
                           e.status and e.status >= 400)
    assert len(refused) == 20
    assert service(phone) == PRIMARY
    held("Servers", "bodies of NOTIFY: entities, depth, width, torn, zeros",
         sent=20, refused=20, CPU_ms=1000 * spent, memory_grown_by_kB=grown)


@parallel
def test_megabyte_body(lab):
    """A body that libre does not take ends the connection: the line comes
    back, and does not flap for it."""
    done = []
    phone, fakes = phone_of(
        lab, [notifier([GOOD % (1, "confirmed"), "x" * (1 << 20)], done),
              usual], "tcp", ["sip line1 subscribe: dialog 200"])
    lab.until(lambda: done, 5, "the SUBSCRIBE")
    rss = phone.rss_kb()
    lab.until(lambda: service(phone) == PRIMARY and phone.state(1)
              ["counters"]["registrations"] > 1, 10, "registered again")
    lives(lab, phone)
    grown = phone.rss_kb() - rss
    assert grown < GROWTH_KB
    moves = phone.state(1)["counters"]["failovers"]
    assert moves <= 1
    held("Servers", "a body of a megabyte", moves=moves, memory_grown_by_kB=grown)


MALFORMED = [
    b"SIP/2.0 200 OK\r\n\r\n",
    b"SIP/2.0 999 Odd\r\nVia: x\r\n\r\n",
    b"SIP/2.0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x00" * 400,
    b"SIP/2.0 200 OK\r\nContent-Length: -1\r\n\r\n",
]


def malformed(r):
    """Answers that are none: rubbish, and right ones with one thing wrong."""
    good = r.answer(200, "OK", "Contact: <sip:x@1.2.3.4>;expires=1")
    return MALFORMED + [
        good.replace(b"Via:", b"Vla:"),
        good.replace(b"branch=z9hG4bK", b"branch=z9hG4bKother"),
        re.sub(rb"CSeq: (\d+) (\w+)", rb"CSeq: \1 BOGUS", good),
        good.replace(b"SIP/2.0 200", b"SIP/2.0 2x0"),
    ]


@parallel
def test_malformed_answers(lab):
    """A server that answers rubbish is a dead one, until it answers."""
    mode = [malformed]
    phone, fakes = phone_of(lab, [lambda r: mode[0](r), usual])
    lab.until(lambda: service(phone) == BACKUP, 8, "on the backup")
    assert phone.state(1)["registered"]
    mode[0] = usual
    phone.cmd("aastra_probe 1")
    lab.until(lambda: service(phone) == PRIMARY, 8, "on the primary")
    assert phone.state(1)["counters"]["failovers"] == 1
    held("Servers", "answers that are rubbish: to the backup, and home",
         moves=1)


ODD_200 = {
    "routes": [*("%s: <sip:10.77.0.20;lr>" % x for x in (
        "Service-Route", "Path", "Record-Route")),
        "P-Associated-URI: <sip:evil@10.77.0.20>"],
    "many Contacts": ["Contact: <sip:x%d@10.77.0.20>;expires=%d" % (i, i)
                      for i in range(1000)],
    "many Vias": ["Via: SIP/2.0/TCP 10.77.0.20;branch=z9hG4bK%d" % i
                  for i in range(1000)],
    "expires": ["4294967295", "4294967296", "-1", "x", "4294967297"],
    "Expires": ["Expires: 999999999999", "Contact: *"],
}


@parallel
@pytest.mark.parametrize("what", ODD_200)
def test_odd_200(lab, what):
    """A 200 to REGISTER with routes that lead elsewhere, a thousand Contacts
    of others, or a time without end: nothing goes elsewhere, and the line
    registers again before the time is over that it asked for."""
    odd = ODD_200[what]
    n = iter(range(1000000))

    def handler(r):
        if r.method != "REGISTER" or not r.expires:
            return usual(r)
        contact = r.header("contact")
        if what == "expires":
            contact = re.sub(r"(?<=expires=)\d+", odd[next(n) % len(odd)],
                             contact)
            return r.answer(200, "OK", "Contact: " + contact)
        if what == "Expires":
            return r.answer(200, "OK", *odd)
        return r.answer(200, "OK", *odd, "Contact: " + contact)
    evil = Fake(lab.far).start()
    lab.others.append(evil)
    phone, fakes = phone_of(lab, [handler, usual], "tcp", config=[
        "sip_registration_period 2", "sip_registration_renewal_timer 1"])
    lab.until(lambda: len(fakes[0].got("REGISTER")) > 6
              or what != "expires" and len(fakes[0].got("REGISTER")) > 2, 20,
              "registered again and again")
    assert phone.state(1)["expires"] <= 2
    phone.dial("sip:200@" + DOMAIN)
    lab.until(lambda: fakes[0].got("INVITE"), 5, "called there")
    assert service(phone) == PRIMARY and not evil.requests
    assert phone.state(1)["counters"]["failovers"] == 0
    held("Servers", "a 200 to REGISTER with odd " + what,
         requests_sent_elsewhere=0, moves=0)


@parallel
@pytest.mark.parametrize("method", ["REGISTER", "SUBSCRIBE", "OPTIONS"])
def test_redirected(lab, method):
    """A server that sends the phone elsewhere: nobody goes."""
    def handler(r):
        if r.method == method:
            return r.answer(302, "Moved", "Contact: <sip:evil@%s>"
                            % lab.far.ip)
        return usual(r)
    evil = Fake(lab.far, lambda r: r.answer(401, "Unauthorized", chall()))
    lab.others.append(evil.start())
    phone, fakes = phone_of(lab, [handler, usual], config=[
        "sip line1 subscribe: dialog 200"])
    lab.until(lambda: len(fakes[0].got("OPTIONS")) > 2, 10, "checked again")
    lab.until(lambda: fakes[0].got(method), 10, "redirected")
    lab.never(lambda: evil.requests, 0.5, "it went there")
    assert len(fakes[0].got(method)) < 5
    held("Servers", "a 302 to " + method, requests_sent_elsewhere=0)


@parallel
def test_answers_to_nothing(lab):
    """A server that sends answers to requests that were never sent, and each
    of its answers three times."""
    def handler(r):
        ok = usual(r)
        if ok is None:
            return None
        odd = [r.answer(s, "Never", "Retry-After: 1000",
                        "Contact: <sip:evil@10.77.0.20>").replace(
                            b"branch=z9hG4bK", b"branch=z9hG4bK%d" % s)
               for s in (200, 301, 401, 503, 603)]
        return [*odd, ok, ok, ok, *odd]
    phone, fakes = phone_of(lab, [handler, handler])
    lab.until(lambda: service(phone) == PRIMARY, 5, "registered")
    before = essence(phone)
    lab.never(lambda: essence(phone)[:5] != before[:5], 3.0, "a change")
    assert len(fakes[0].got("REGISTER")) == 1
    held("Servers", "answers to requests never sent", changes=0)
