"""Who connects to the phone from a server's address and port: libre takes
such a connection for the one to that server, and sends requests down it."""

import collections
import os
import socket
import ssl
import threading

import pytest

from helpers_calls import all_modules
from lab.dns import Dns
from lab.fake import Fake, Request, usual
from lab.figures import held
from lab.lab import DOMAIN
from lab.several import _ahead, ahead, parallel  # noqa: F401 (fixtures)
from lab.site import FAST
from lab.tls import Authority
from test_memory import Memory

AT_ONCE = 6
LISTEN = 5070           # of the phone: UDP and TCP; TLS is one above
NAME = "proxy.example.com"
ALL = pytest.mark.all_rows


class Caller:
    """Connects to the phone from a host's address and port, and answers what
    it is asked there. shown: (certificate, key) if it is asked for one.
    context: that of an earlier one, whose TLS session goes on. shake=False:
    its handshake comes with shake(). answers=False: it says nothing."""

    name = "caller"

    def __init__(self, lab, host, port=5061, tls=True, shown=None,
                 context=None, session=None, shake=True, answers=True):
        self.requests = []
        self.error = ""
        self.session = None
        self.answers = answers
        self.up = not tls
        self.context = context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        if shown:
            self.context.load_cert_chain(*shown)
        self._thread = threading.Thread(target=self._run, daemon=True)

        def connect():
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((host.ip, port))
            s.settimeout(10)
            s.connect((lab.phone.ip, LISTEN + tls))
            return s
        self.sock = host.inside(connect)
        lab.others.append(self)
        if tls and shake:
            self.shake(session)
        elif not tls:
            self._thread.start()

    def shake(self, session=None):
        """The TLS handshake. The phone's last word in it may be a refusal:
        .up is False then."""
        try:
            self.sock = self.context.wrap_socket(self.sock, session=session)
            self.sock.settimeout(0.5)
            try:
                self.up = self.sock.recv(0, socket.MSG_PEEK) is not None
            except ValueError:
                self.up = True
        except OSError as e:
            self.error = str(e)
            self.sock.close()
            return
        self._thread.start()

    def _run(self):
        data = b""
        while True:
            try:
                got = self.sock.recv(65536)
            except TimeoutError:
                # not from another thread: a ticket may come in meanwhile
                self.session = getattr(self.sock, "session", None)
                continue
            except OSError as e:
                self.error = str(e)
                break
            if not got:
                break
            data += got
            while b"\r\n\r\n" in data.lstrip(b"\r\n"):
                head, _, data = data.lstrip(b"\r\n").partition(b"\r\n\r\n")
                r = Request(head + b"\r\n\r\n", self.sock.sendall)
                self.requests.append(r)
                if self.answers and not r.method.startswith("SIP/"):
                    self.sock.sendall(usual(r) or b"")
        self.up = False

    def stop(self):
        if self.sock.fileno() >= 0:
            try:
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        if self._thread.ident:
            self._thread.join(5)
        self.sock.close()


def phone_of(lab, *config, via=None, regint=3600, more=(), **kw):
    """A phone that listens for TLS with a certificate of its own."""
    cert, key = lab.ca.issue("phone", ["IP:" + lab.phone.ip])
    both = os.path.join(lab.dir, "phone.pem")
    with open(both, "w") as f, open(cert) as x, open(key) as y:
        f.write(x.read() + y.read())
    return lab.baresip(
        [lab.account(via=via or lab.primary, transport="tls", port=5061,
                     regint=regint), *more],
        config=["sip_listen %s:%d" % (lab.phone.ip, LISTEN),
                "sip_certificate " + both, "sip_cafile " + lab.ca.cert,
                "sip_line1_backup_outbound_proxy " + lab.backup.ip,
                *FAST, *config], **kw)


def servers(lab):
    return (lab.combined(lab.primary, **lab.tls(lab.primary, NAME, DOMAIN)),
            lab.combined(lab.backup, **lab.tls(lab.backup)))


def service(phone):
    return phone.state(1)["service"]


def on_backup(lab, *config, **kw):
    """Registered, and the primary killed."""
    p, b = servers(lab)
    phone = phone_of(lab, *config, aastra=True, **kw)
    phone.wait_registered()
    lab.until(lambda: service(phone) == "primary", 5, "on the primary")
    p.kill()
    lab.until(lambda: service(phone) == "backup", 5, "on the backup")
    return p, b, phone


def refused(lab, phone, caller, p=None):
    """It has not been used, and is not there any more; the server is gone
    home to when it is back."""
    lab.until(lambda: not caller.up, 5, "closed")
    assert not caller.requests
    if p:
        p.start()
        lab.until(lambda: service(phone) == "primary", 10, "home")
    assert not caller.requests


@parallel
@pytest.mark.parametrize("shown", [
    "nothing", pytest.param("of another CA", marks=ALL), "of another server",
    pytest.param("the phone's own", marks=ALL)])
def test_impostor(lab, shown):
    """Somebody at the dead primary's address and port, who is not it."""
    p, b, phone = on_backup(lab)
    if shown == "of another CA":
        cert = Authority(os.path.join(lab.dir, "other")).issue(
            "evil", ["IP:" + lab.primary.ip])
    elif shown == "of another server":
        cert = lab.ca.issue("evil", ["IP:" + lab.far.ip, "DNS:" + DOMAIN])
    else:
        cert = lab.ca.issue("phone", ["IP:" + lab.phone.ip])
    evil = Caller(lab, lab.primary,
                  shown=cert if shown != "nothing" else None)
    refused(lab, phone, evil, p)
    held("TLS", "a caller from the server's address and port, certificate: "
         + shown, requests_sent_to_it=0)


@parallel
def test_the_server_itself(lab):
    """A server that connects to the phone from the port that it listens at,
    and shows that it is the server: as good as the phone's own
    connection."""
    p, b, phone = on_backup(lab)
    cert = lab.ca.issue("primary", ["IP:" + lab.primary.ip])
    it = Caller(lab, lab.primary, shown=cert)
    t = lab.now()
    lab.until(lambda: service(phone) == "primary", 10, "home")
    assert [r for r in it.requests if r.method == "REGISTER"]
    assert not lab.wire.find(kind="syn", src="phone", dst="primary", after=t)


@parallel
@pytest.mark.parametrize("version, right", [
    pytest.param("TLSv1_2", False, marks=ALL), ("TLSv1_3", False),
    ("TLSv1_3", True)])
def test_session_of_a_stranger(lab, version, right):
    """Who is let in at another address gets a TLS session, and goes on with
    it from the server's: that shows nothing, and keeps nobody from showing
    it."""
    p, b, phone = on_backup(lab)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = getattr(ssl.TLSVersion, version)

    def session(port, before=None):
        c = Caller(lab, lab.far, port, context=context, session=before)
        again = c.sock.session_reused
        got = lab.until(lambda: c.session and c.session.has_ticket
                        and c.session, 5, "a session")
        c.stop()
        # not every OpenSSL goes on with those of 1.2
        return got if not before or again or version == "TLSv1_2" else None

    # one whose connection did not end well is not gone on with
    ports = iter(range(5061, 5081))
    it = lab.until(lambda: session(next(ports), session(next(ports))), 10,
                   "a session that goes on")
    cert = lab.ca.issue("primary", ["IP:" + lab.primary.ip])
    caller = Caller(lab, lab.primary, context=context, session=it,
                    shown=cert if right else None)
    if right:
        lab.until(lambda: service(phone) == "primary", 10, "home")
    else:
        refused(lab, phone, caller, p)


@parallel
def test_late_handshake(lab):
    """It connects, and keeps the phone waiting for the handshake: the server
    is gone home to all the same, when it is back."""
    p, b, phone = on_backup(lab)
    evil = Caller(lab, lab.primary, shake=False)
    p.start()
    lab.until(lambda: service(phone) == "primary", 10, "home")
    evil.shake()
    refused(lab, phone, evil)


@parallel
def test_own_requests_of_baresip(lab):
    """Without outbound support: baresip's INVITE is the first request after
    the server's end."""
    p, b = servers(lab)
    phone = phone_of(lab, "sip_outbound_support 0", aastra=True)
    phone.wait_registered()
    p.kill()
    evil = Caller(lab, lab.primary)
    phone.dial("sip:200@" + DOMAIN)
    lab.until(lambda: service(phone) == "backup", 10, "on the backup")
    refused(lab, phone, evil, p)


@parallel
def test_before_the_module(lab):
    """It was there before the module was loaded."""
    b = lab.combined(lab.backup, **lab.tls(lab.backup))
    phone = phone_of(lab, regint=0, system_modules=all_modules(lab))
    evil = Caller(lab, lab.primary)
    assert evil.up
    phone.cmd("insmod aastra")
    lab.until(lambda: service(phone) == "backup", 10, "on the backup")
    refused(lab, phone, evil)


@parallel
def test_no_memory_to_note_it(lab):
    """It connects when there is no memory to note that: closed, as everything
    that leads to a server and is not known."""
    memory = Memory(lab, "phone")
    p, b, phone = on_backup(lab, env=memory.env)

    def connected(port):
        """Where memory was taken for that."""
        mark = memory.count
        Caller(lab, lab.far, port).stop()
        return collections.Counter(memory.sites(mark))
    # keep-alives take memory as well, but not with each connection
    places = [connected(5061 + i) for i in range(4)]
    where = [x for x in places[0] if all(y[x] == 1 for y in places)]
    assert where
    for site in where:
        memory.fail(1, site)
        evil = Caller(lab, lab.primary)
        lab.until(lambda: memory.failed or not evil.up, 5, "tried")
        refused(lab, phone, evil)
    assert memory.failed
    p.start()
    lab.until(lambda: service(phone) == "primary", 10, "home")


@parallel
def test_name_that_leads_there_later(lab):
    """It connects from an address that is nobody's, and then the name server
    says that this is where the server is."""
    dns = Dns(lab.far).start()
    lab.others.append(dns)
    dns.a(NAME, lab.primary, ttl=1)
    p, b, phone = on_backup(lab, "dns_server " + dns.address, via=NAME)
    evil = Caller(lab, lab.regb)
    assert evil.up
    dns.a(NAME, lab.regb, ttl=1)
    lab.wire.wait_kind("syn", src="phone", dst="regb", timeout=30)
    refused(lab, phone, evil)


@parallel
@pytest.mark.parametrize("when", ["connected", "let in"])
def test_unloaded_meanwhile(lab, when):
    """The module is unloaded while somebody is about to show who he is, or
    has shown it: nothing of it is called any more."""
    p, b, phone = on_backup(lab)
    cert = lab.ca.issue("primary", ["IP:" + lab.primary.ip])
    it = Caller(lab, lab.primary, shake=when == "let in", shown=cert)
    if when == "let in":
        lab.until(lambda: it.requests, 10, "asked")
    phone.cmd("rmmod aastra")
    if when == "connected":
        it.shake()
    it.stop()
    assert "100@pbx.example.com" in phone.cmd("reginfo")
    phone.cmd("insmod aastra")
    lab.until(lambda: service(phone) == "backup", 10, "taken over again")


# ---- TCP: nobody shows anything, and silence must not hold the line -----------


@parallel
@pytest.mark.parametrize("outbound", [1, 0])
def test_silent_neighbour(lab, outbound):
    """Somebody at the dead primary's address and port is connected to the
    phone and says nothing. The primary is back, and all there is: the line
    gets through to it, and at once, not with the try after the next."""
    fakes = {h.name: Fake(h).start() for h in (lab.primary, lab.backup)}
    lab.others += fakes.values()
    phone = lab.baresip(
        lab.account(via=lab.primary, transport="tcp"), aastra=True, config=[
            "sip_listen %s:%d" % (lab.phone.ip, LISTEN),
            "sip_backup_outbound_proxy " + lab.backup.ip,
            "sip_outbound_support %d" % outbound,
            *(x for x in FAST if "recovery" not in x),
            "sip_recovery_base_timer 6", "sip_recovery_max_timer 6"])
    lab.until(lambda: service(phone) == "primary", 5, "on the primary")
    fakes["primary"].stop()
    if not outbound:
        phone.dial("sip:200@" + DOMAIN)
    lab.until(lambda: service(phone) == "backup", 10, "on the backup")
    silent = Caller(lab, lab.primary, 5060, tls=False, answers=False)
    silent.sock.sendall(b"\r\n")     # libre waits 32 s for who says nothing
    again = Fake(lab.primary).start()
    lab.others.append(again)
    fakes["backup"].stop()
    lab.until(lambda: silent.requests, 15, "a request goes there")
    t = lab.now()
    lab.until(lambda: service(phone) == "primary", 10, "home")
    assert lab.now() - t < 3
    assert again.got("REGISTER")


@parallel
def test_connect_of_baresip(lab):
    """Without outbound support baresip's INVITE opens the connection, into a
    black hole: the kernel tries that for minutes, less and less often. The
    line does not wait for it, but tries over one of its own."""
    fakes = [Fake(h).start() for h in (lab.primary, lab.backup)]
    lab.others += fakes
    phone = lab.baresip(
        lab.account(via=lab.primary, transport="tcp"), aastra=True, config=[
            "sip_backup_outbound_proxy " + lab.backup.ip,
            "sip_outbound_support 0", *FAST])
    lab.until(lambda: service(phone) == "primary", 5, "on the primary")
    t = lab.now()
    fakes[0].stop()
    lab.wire.wait_kind("fin", src="phone", dst="primary", after=t)
    lab.primary.drop("in")
    phone.dial("sip:200@" + DOMAIN)
    lab.until(lambda: service(phone) == "backup", 10, "on the backup")
    phone.hangup()

    def ports():
        return {e.sport for e in lab.wire.find(kind="syn", src="phone",
                                               dst="primary", after=t)}
    lab.until(lambda: len(ports()) > 2, 10, "connects anew")
    lab.others.append(Fake(lab.primary).start())
    lab.primary.clear()
    lab.until(lambda: service(phone) == "primary", 10, "home")


# ---- one address, two names ---------------------------------------------------


@parallel
@pytest.mark.parametrize("outbound", [1, pytest.param(0, marks=ALL)])
@pytest.mark.parametrize("right", [True, False], ids=["both", "one"])
def test_server_of_another_line(lab, outbound, right):
    """The name of line 2's server leads to line 1's: it gets what is line 2's
    if its certificate has that name, too, and nothing if it has not, although
    there is a connection that was verified for line 1."""
    dns = Dns(lab.far).start()
    lab.others.append(dns)
    names = (NAME, "proxy.example.net")
    for n in names:
        dns.a(n, lab.primary)
    p = lab.combined(lab.primary, **lab.tls(
        lab.primary, *(names if right else names[:1])))
    b = lab.combined(lab.backup, **lab.tls(lab.backup))
    phone = phone_of(lab, "dns_server " + dns.address,
                     "sip_line2_backup_outbound_proxy " + lab.backup.ip,
                     "sip_outbound_support %d" % outbound, via=NAME,
                     aastra=True, more=[lab.account(
                         101, via=names[1], transport="tls", port=5061)])
    lab.until(lambda: service(phone) == "primary", 10, "line 1")
    where = "primary" if right else "backup"
    lab.until(lambda: phone.state(2)["service"] == where, 10, "line 2")
    if not right:
        assert b.bindings("101")
        lab.until(lambda: [f for f in phone.state(2)["flows"]
                           if "certificate refused" in f["error"]
                           and f["failures"] > 2], 15, "tried again")
        assert [f["state"] for f in phone.state(1)["flows"]][0] == "up"
    assert bool(p.bindings("101")) == right
    assert len(p.bindings("100")) == 1
    if not right:
        held("TLS", "a connection that was verified for another line's server",
             bindings=0)
