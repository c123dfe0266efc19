"""The fault matrix: every server, every way to fail, at every stage of a
line's life; and how one cell of it is run.

A cell is (victim, fault, stage). Left out is what makes no sense, by rules:

- A fault of SIP, of TCP or of TLS is none of a name server, and the other
  way round: each has its own list.
- Faults of a certificate and of a handshake need a TLS server that the phone
  itself connects to: the registrar behind the edges is none.

- UDP has no connection that could be reset or half-open.

All else is there: faults of certificates and handshakes over TLS, those of
SIP servers over TCP and over UDP, those of a name server with SIP over TCP.
"""

import contextlib
import copy
import itertools
import os
import re

from helpers_rows import BACKUP, HOSTS, PRIMARY, Row
from lab.dns import Dns
from lab.fake import Fake
from lab.lab import Lab
from lab.link import SlowLink
from lab.site import live
from lab.tls import Authority

TRANSACTION_S = 1.0
CONFIG = ("sip_recovery_base_timer 1", "sip_recovery_max_timer 2",
          "sip_registration_retry_timer 30", "sip_failback_policy auto")
BACK_S = 25.0           # in service again, on a busy machine
EXIT_S = 6.0            # 2 s, and what a busy machine takes
REGISTERS_MAX = 60      # of a cell: a refusing server is left in peace
DELAY_MS = 500          # more, there and back
HANDSHAKE_MS = 4000     # each of its messages half of it: two timers long
NAME = "edge.example.com"

# who fails: (row of the failover table, axis, rank). The edges of E3 are
# outbound proxies and have one registrar behind them; in E1 proxies and
# registrars are apart; each server of E2 is all in one.
VICTIMS = {
    "outbound proxy": ("E3", "outbound_proxy", PRIMARY),
    "backup outbound proxy": ("E3", "outbound_proxy", BACKUP),
    "proxy": ("E1", "proxy", PRIMARY),
    "backup proxy": ("E1", "proxy", BACKUP),
    "registrar": ("E1", "registrar", PRIMARY),
    "backup registrar": ("E1", "registrar", BACKUP),
    "all in one": ("E2", "outbound_proxy", PRIMARY),
    "backup all in one": ("E2", "outbound_proxy", BACKUP),
    "only registrar": ("E3", "registrar", None),
    "name server": ("E3", "dns", None),
}
HOME = ("starting", "registering", "registered")   # is home soon
STAGES = ("starting", "registering", "registered", "moving", "moving back",
          "ringing", "up", "shutting down")


class Fault:
    """begin and end take the cell. works: does the server do its work
    meanwhile? answers: it is there and says no; what was bound at it is
    still good. transport, dns, link: what the cell's lab has to have.
    connection: it is one of a connection."""

    def __init__(self, begin, end=None, works=False, answers=False,
                 tls=False, dns=False, link=False, connection=False):
        self.begin = begin
        self.end = end or (lambda c: None)
        self.works, self.answers = works, answers
        self.transport = "tls" if tls else "tcp"
        self.tls, self.dns, self.link = tls, dns, link
        self.connection = connection

    def over_udp(self):
        """The same without connections; None if it makes no sense."""
        if self.tls or self.dns or self.connection:
            return None
        other = copy.copy(self)
        other.transport = "udp"
        return other

    def hits(self, victim):
        if self.dns or victim == "name server":
            return self.dns and victim == "name server"
        return not self.tls or victim != "only registrar"


# ---- what happens to a SIP server -------------------------------------------


def _start(c):
    c.server.start()


def _clear(c):
    c.host.clear()


def _restart(c):
    c.server.kill()
    c.server.start()


def _refuse(c):
    c.host.reject("tcp-reset", port=5060)
    c.host.reject("icmp-port-unreachable", port=5060)
    c.host.reset_tcp()


def _half_open(c):
    """It forgets its connections, and nobody is told."""
    c.host.drop("both")
    c.server.kill()
    c.server.start()
    c.host.clear()


def _storm(code):
    def begin(c):
        for method in ("REGISTER", "SUBSCRIBE", "OPTIONS"):
            c.server.respond(method, code)
        if c.stage in ("registered", "ringing", "up"):
            # or it would be seen at the next refresh only
            c.site.phone.cmd("reregister")
    return Fault(begin, lambda c: c.server.clear_responses(), answers=True)


def _rubbish():
    """Answers that are none, each in its turn."""
    def no_cseq(r):
        return re.sub(rb"CSeq: [^\r]*\r\n", b"", r.answer(200, "OK"))

    turns = itertools.cycle((
        lambda r: b"\x00\xff\x16\x03rubbish\x7f" * 40 + b"\r\n\r\n",
        no_cseq,
        lambda r: r.answer(200, "OK").replace(b"SIP/2.0 200",
                                              b"SIP/2.0 2OO", 1),
        lambda r: r.answer(200, "OK").replace(b"Content-Length: 0",
                                              b"Content-Length: 999999999"),
        lambda r: r.answer(200, "OK").replace(b"branch=", b"brunch="),
        lambda r: r.answer(200, "OK")[:40],
        lambda r: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ))
    return lambda r: next(turns)(r)


def _malformed(c):
    """Somebody else answers at its place."""
    c.server.kill()
    c.fake = Fake(c.host, _rubbish()).start()
    c.lab.others.append(c.fake)


def _well_formed(c):
    c.fake.stop()
    c.server.start()


def _slow(c):
    c.link.slow(c.lab.phone, DELAY_MS)


def _slow_handshake(c):
    c.link.slow(c.lab.phone, HANDSHAKE_MS, handshake=True)
    c.host.reset_tcp()


def _in_time(c):
    c.link.slow(c.lab.phone, 0)


def _certificate(which):
    """The server comes back with another certificate."""
    def begin(c):
        s = c.server
        c.own = {k: s.defines[k] for k in ("TLS_CERT", "TLS_KEY")}
        cert, key = c.certificate(which)
        s.kill()
        s.defines.update(TLS_CERT=cert, TLS_KEY=key)
        s.start()

    def end(c):
        c.server.kill()
        c.server.defines.update(c.own)
        c.server.start()
    return Fault(begin, end, tls=True)


# ---- what happens to a name server ------------------------------------------


def _dns(**values):
    def put(**now):
        def do(c):
            for name, value in now.items():
                setattr(c.server, name, value)
        return do
    return Fault(put(**values), put(
        **{k: type(v)() if not callable(v) else None
           for k, v in values.items()}), dns=True)


def _dns_restart(c):
    c.server.stop()
    c.server.start()


def _dns_rubbish():
    turns = itertools.cycle((
        lambda a: [a[:7]],                              # cut
        lambda a: [a[:-5]],                             # a record cut
        lambda a: [a[:4] + b"\xff\xff\xff\xff" + a[8:]],    # records: lots
        lambda a: [a[:12] + b"\xc0\x0c" + a[14:]],      # a name without end
        lambda a: [a + b"\xff" * 900],
        lambda a: [b""],
    ))
    return lambda a: next(turns)(a)


def _dns_spoofed(c):
    """Beside each answer comes one to a question that was never asked,
    which leads to a stranger."""
    bad = c.stranger

    def mangle(a):
        end = a.index(b"\0", 12) + 5
        # the question of another, with an answer for the name of ours
        told = (b"\xc0\x0c\0\1\0\1\0\0\x0e\x10\0\4"
                + bytes(int(x) for x in bad.ip.split(".")))
        ident = bytes((a[0] ^ 0x55, a[1] ^ 0xaa))
        out = (ident + b"\x84\0" + b"\0\1\0\1\0\0\0\0" + a[12:end] + told)
        other = a[:2] + out[2:12] + b"\5other" + a[12:end] + told
        return [out, other, a]
    c.server.mangle = mangle


FAULTS = {
    "kill": Fault(lambda c: c.server.kill(), _start),
    "reset": Fault(lambda c: c.server.kill(reset=True), _start,
                   connection=True),
    "clean stop": Fault(lambda c: c.server.stop(), _start),
    "hang": Fault(lambda c: c.server.hang(), lambda c: c.server.cont()),
    "restart": Fault(_restart, works=True),
    "refuse": Fault(_refuse, _clear),
    "black hole": Fault(lambda c: c.host.drop("both"), _clear),
    "black hole in": Fault(lambda c: c.host.drop("in"), _clear),
    "black hole out": Fault(lambda c: c.host.drop("out"), _clear),
    "cable": Fault(lambda c: c.host.link("down"),
                   lambda c: c.host.link("up")),
    "30 % loss": Fault(lambda c: c.host.loss(30), _clear, works=True),
    "500 ms delay": Fault(_slow, _in_time, works=True, link=True),
    "half-open TCP": Fault(_half_open, works=True, connection=True),
    "500 storm": _storm(500),
    "503 storm": _storm(503),
    "408 storm": _storm(408),
    "silence": _storm(0),
    "malformed answers": Fault(_malformed, _well_formed),
    "answers unasked": Fault(lambda c: c.server.unasked(),
                             lambda c: c.server.clear_responses(),
                             works=True),
    "slow handshake": Fault(_slow_handshake, _in_time, tls=True, link=True),
    "wrong name": _certificate("wrong name"),
    "expired": _certificate("expired"),
    "unknown CA": _certificate("unknown CA"),

    "DNS kill": Fault(lambda c: c.server.stop(), _start, dns=True),
    "DNS hang": _dns(silent=True),
    "DNS restart": Fault(_dns_restart, works=True, dns=True),
    "DNS black hole": Fault(lambda c: c.host.drop("both"), _clear, dns=True),
    "DNS black hole in": Fault(lambda c: c.host.drop("in"), _clear,
                               dns=True),
    "DNS black hole out": Fault(lambda c: c.host.drop("out"), _clear,
                                dns=True),
    "DNS cable": Fault(lambda c: c.host.link("down"),
                       lambda c: c.host.link("up"), dns=True),
    "DNS 30 % loss": Fault(lambda c: c.host.loss(30), _clear, dns=True),
    "DNS 500 ms delay": _dns(delay=DELAY_MS / 1000),
    "DNS refused": _dns(rcode=5),
    "DNS server failure": _dns(rcode=2),
    "DNS name not found": _dns(rcode=3),
    "DNS malformed answers": Fault(
        lambda c: setattr(c.server, "mangle", _dns_rubbish()),
        lambda c: setattr(c.server, "mangle", None), dns=True),
    "DNS answers unasked": Fault(
        _dns_spoofed, lambda c: setattr(c.server, "mangle", None),
        works=True, dns=True),
}

UDP = " (UDP)"
FAULTS.update({name + UDP: fault.over_udp()
               for name, fault in list(FAULTS.items()) if fault.over_udp()})

GROUPS = [(victim, fault) for fault in FAULTS for victim in VICTIMS
          if FAULTS[fault].hits(victim)]
CELLS = [(victim, fault, stage) for victim, fault in GROUPS
         for stage in STAGES]


def sample():
    """Each fault once, over UDP every other time; victims and stages take
    turns, all come."""
    out = []
    for i, fault in enumerate(f for f in FAULTS if not f.endswith(UDP)):
        if i % 2 and fault + UDP in FAULTS:
            fault += UDP
        able = [v for v in VICTIMS if FAULTS[fault].hits(v)]
        out.append((able[i % len(able)], fault,
                    STAGES[(3 * i + 1) % len(STAGES)]))
    return out


def text(cell):
    return ", ".join(cell)


# ---- the lab of some cells ---------------------------------------------------


class Site(Row):
    """The servers of one victim and fault, for one phone after the other."""

    def __init__(self, lab, victim, fault):
        self.victim, self.fault = victim, FAULTS[fault]
        row, self.axis, self.rank = VICTIMS[victim]
        host = {"registrar": lab.reg, "dns": lab.core}.get(
            self.axis if self.rank is None else None)
        if host is None:
            apart = {PRIMARY: lab.reg, BACKUP: lab.regb}
            host = (apart if self.axis == "registrar" else
                    {PRIMARY: lab.primary, BACKUP: lab.backup})[self.rank]
        self.victim_host = host
        self.link = None
        if self.fault.link:
            self.link = SlowLink(lab, host, 0)
        super().__init__(lab, row, self.fault.transport, config=CONFIG, transaction=TRANSACTION_S)
        self.dns = None
        if self.axis == "dns":
            self.dns = Dns(lab.core).start()
            self.dns.a(NAME, lab.primary, ttl=1)
            lab.others.append(self.dns)
            self.config.append("dns_server " + self.dns.address)
        self.victim_server = (
            self.dns or (self.core if self.rank is None else
                         self.server[self.axis][self.rank]))
        self.far = None
        self._certificates = {}

    def account(self, user=100, regint=3600, extra=""):
        line = super().account(user, regint, extra)
        if self.dns:
            line = line.replace('outbound="sip:%s;' % self.lab.primary.ip,
                                'outbound="sip:%s:5060;' % NAME)
            assert NAME in line
        return line

    @property
    def alone(self):
        """Nothing stands in for it."""
        return self.victim == "only registrar"

    def certificate(self, which):
        if which not in self._certificates:
            ca, names = self.lab.ca, ["IP:" + self.victim_host.ip]
            if which == "unknown CA":
                ca = Authority(os.path.join(self.lab.dir, "other"),
                               name="other-ca")
            elif which == "wrong name":
                names = ["IP:" + self.lab.far.ip, "DNS:else.example.com"]
            self._certificates[which] = ca.issue(
                which.replace(" ", "-"), names,
                **({"days": 0} if which == "expired" else {}))
        return self._certificates[which]

    def start_far(self):
        """Who calls: at the registrar in use."""
        if self.far is None:
            self.far = self.lab.far_phone(
                self.lab.primary if self.row == "E2" else self.lab.reg)
        else:
            self.far.start()
            self.far.wait_registered()

    def reset(self):
        """As new, for the next cell."""
        if self.far:
            self.far.kill()
            self.far.ctrl.close()
        phone = self.phone
        self.forget()
        if phone and phone.ctrl:
            phone.ctrl.close()
            self.lab.phones.remove(phone)


class Cell:
    """One cell; run() returns its figures, or raises."""

    def __init__(self, site, fault, stage):
        self.site, self.lab, self.stage = site, site.lab, stage
        self.fault_name, self.fault = fault, FAULTS[fault]
        self.server, self.host = site.victim_server, site.victim_host
        self.link, self.stranger = site.link, site.lab.regb
        self.certificate = site.certificate
        self.fake = self.own = None
        self.call_t = None

    # -- what there is -------------------------------------------------------

    def registered(self):
        return self.site.phone.state(1)["registered"]

    def eyes(self):
        """Registrars by which the phone can be reached."""
        s = self.site
        if self.fault.works or self.fault.answers or s.alone:
            return s.registrars
        return [r for r in s.registrars if r is not self.server]

    def usable(self, b):
        """A binding that leads over a dead edge is none."""
        s = self.site
        return (self.fault.works or self.fault.answers or s.row != "E3"
                or s.axis != "outbound_proxy"
                or s.victim_host.ip not in (b["path"] or ""))

    def usable_bindings(self):
        return [b for r in self.eyes() for b in r.bindings("100")
                if live(b) and self.usable(b)]

    # -- to the stage ----------------------------------------------------------

    def hold(self, rank):
        """REGISTER gets no answer there; returns the server."""
        s = self.site
        server = s.server[s.axes[-1]][rank]
        server.respond("REGISTER", 0)
        return server

    def _held(self, rank, act):
        """Do something that makes the phone register there, and stop at its
        REGISTER."""
        server = self.hold(rank)
        t = self.lab.now()
        act()
        self.lab.wire.wait_sip("REGISTER", BACK_S, request=True, src="phone",
                               dst=server.host, after=t,
                               match=lambda e: e.expires)
        return server

    def start(self):
        s = self.site
        s.start(wait=False, reregister=self.fault.answers, extra="answermode=manual",
                # a registrar that forgets, behind an edge that lives or
                # without a connection that is lost, is noticed at the next
                # refresh
                regint=10 if s.alone or s.transport == "udp" else 3600)

    def home(self):
        s = self.site
        self.lab.until(lambda: s.now() == s.state() and s.only(s.state()),
                       BACK_S, "at home, before the fault")

    def reach(self):
        """Bring the line to the stage."""
        s, stage = self.site, self.stage
        if stage == "starting":
            return
        if stage == "registering":
            self._held(PRIMARY, self.start).clear_responses()
            return
        self.start()
        self.home()
        phone = s.phone
        if stage == "moving":
            held = self._held(BACKUP, lambda: phone.cmd("aastra_failover 1"))
            phone.cmd("aastra_auto 1")
            held.clear_responses()
        elif stage == "moving back":
            phone.cmd("aastra_failover 1")
            self.lab.until(lambda: s.now() == s.state(BACKUP), BACK_S,
                           "on the backup")
            self._held(PRIMARY, lambda: phone.cmd(
                "aastra_auto 1")).clear_responses()
        elif stage in ("ringing", "up"):
            s.start_far()
            self.call_t = self.lab.now()
            s.far.dial("sip:100@pbx.example.com")
            phone.wait_event("CALL_INCOMING", BACK_S, after=self.call_t)
            if stage == "up":
                phone.accept()
                phone.wait_call("incoming", after=self.call_t)
                s.far.wait_call("outgoing", after=self.call_t)

    # -- and through the fault ---------------------------------------------------

    def run(self):
        lab, s, fault = self.lab, self.site, self.fault
        self.reach()
        sampler = lab.sampler(self.eyes(), every=0.05)
        t = lab.now()
        try:
            fault.begin(self)
            begun = t
            if self.stage == "starting":
                self.start()
                begun = lab.now()       # not what it takes to load it
            if self.stage == "shutting down":
                return self.shut_down()
            gap = self.beside(sampler, t, begun)
            fault.end(self)
            self.after(t)
        finally:
            sampler.stop()
            lab.others.remove(sampler)
        sent = self.registers(t)
        assert len(sent) <= REGISTERS_MAX, \
            "4: %d REGISTERs" % len(sent)
        assert "secret100" not in s.phone.proc.output(), "7: a password"
        self.exit()
        # a server that hung wakes up with a REGISTER that was long given up
        # and undone, and a registrar that has forgotten its CSeq takes it for
        # a new one
        if not self.fault_name.startswith("hang"):
            # what an edge still has for a registrar that was away comes after
            # the farewell, and is there until it expires
            self.nothing_left(20 if s.alone else 6, s.registrars)
        return {"gap": round(gap, 3), "registers": len(sent)}

    def beside(self, sampler, t, begun):
        """While the fault lasts; returns how long there was no binding, from
        its begin on."""
        lab, s = self.lab, self.site
        if not s.alone:
            lab.until(self.registered, BACK_S, "1: in service beside the"
                      " fault", every=0.05)
            lab.until(self.usable_bindings, BACK_S,
                      "1: a binding beside the fault", every=0.05)
        lab.never(lambda: not s.phone.proc.running, 1.0, "its end", every=0.1)
        if self.fault.connection or self.fault_name == "slow handshake":
            # until the next keep-alive nobody can know
            lab.never(lambda: not s.phone.proc.running, 2.0, "its end",
                      every=0.1)
        gap = min(sampler.longest_gap(after=begun, usable=self.usable),
                  lab.now() - begun)
        self.trust(t)
        if "answers unasked" in self.fault_name \
                and self.stage in ("registered", "ringing", "up"):
            assert s.now() == s.state(), "it believed what it did not ask"
        assert not lab.wire.find(src="phone", dst=self.stranger, after=t) \
            or s.row == "E1", "7: it went to a stranger"
        return gap

    def trust(self, t):
        """7: a server that cannot show who it is gets no REGISTER."""
        if self.own is None:
            return
        if self.site.rank == PRIMARY:
            # the phone wants to be there: it has tried, and seen
            self.lab.until(self.refused, 12, "7: the certificate is refused",
                           every=0.1)
        # from when on it has the other certificate
        t = max(t, self.server.proc.started)
        got = self.lab.wire.sip(request=True, dst=self.host, after=t,
                                proto="tls")
        assert not got, "7: it got %s" % got[0].summary()

    def refused(self):
        s = self.site
        return [f for f in s.phone.state(1)["flows"]
                if (f["role"], f["rank"]) == (s.axis, s.rank)
                and f["state"] == "down"
                and "certificate refused" in f["error"]]

    def after(self, t):
        """The fault has ended: one binding, where the line is; and the call
        has not noticed."""
        lab, s = self.lab, self.site

        def settled():
            now = s.now()
            service = s.phone.state(1)["service"]
            return (now and s.only(now)
                    and service == (now[s.axes[0]]
                                    if len(set(now.values())) == 1
                                    else "mixed")
                    # without a call, and with a primary that works again
                    and (now == s.state() or s.alone
                         or self.stage not in HOME))
        lab.until(settled, BACK_S, "2, 5: one binding, where the line is",
                  every=0.1)
        if self.call_t is None:
            return
        rings = s.phone.find_events("CALL_INCOMING", after=self.call_t)
        assert len(rings) == 1, "3: it rang %d times" % len(rings)
        if self.stage == "up":
            for end in (s.phone, s.far):
                assert not end.find_events("CALL_CLOSED",
                                           after=self.call_t), \
                    "3: the call ended"

    def registers(self, t):
        s = self.site
        hosts = {h.name for a in s.host.values() for h in a.values()}
        return self.lab.wire.sip(
            "REGISTER", request=True, src="phone", after=t,
            match=lambda e: e.dst in hosts and (
                s.transport != "tls" or e.proto == "tls"))

    def exit(self):
        t = self.lab.now()
        code = self.site.phone.exit(EXIT_S)
        assert code == 0, "its exit status is %s" % code
        return self.lab.now() - t

    def nothing_left(self, timeout, registrars, which=lambda b: True):
        self.lab.until(
            lambda: not [b for r in registrars for b in r.bindings("100")
                         if live(b) and which(b)],
            timeout, "2: no binding is left")

    def shut_down(self):
        s = self.site
        took = self.exit()
        self.fault.end(self)
        if not self.fault.works and not s.alone:
            # whoever could be reached, and heard it, was told
            self.nothing_left(
                6, [r for r in s.registrars if r is not self.server],
                lambda b: s.axis != "outbound_proxy" or s.row != "E3"
                or s.victim_host.ip not in (b["path"] or ""))
        return {"gap": 0.0, "registers": 0, "exit": round(took, 2)}


def make(options, victim, fault):
    """A lab, running, and its Site."""
    lab = Lab(hosts=HOSTS, **options)
    lab.__enter__()
    try:
        return lab, Site(lab, victim, fault)
    except BaseException:
        lab.close()
        raise


def run(lab, victim, fault, stage):
    """One cell, in a lab with the hosts of helpers_rows."""
    return Cell(Site(lab, victim, fault), fault, stage).run()


def next_cell(site, fault, stage):
    """A cell in a lab that had others. Its servers are alive and know
    nobody."""
    site.reset()
    with contextlib.suppress(ValueError):
        for server in site.lab.servers:
            if not server.proc.running:
                server.start()
    return Cell(site, fault, stage).run()
