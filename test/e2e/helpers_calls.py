"""Worlds for the tests of calls and of baresip's own view: a phone with one
Aastra line, two servers, and the people it talks to.

E3: two edges in front of one registrar that keys by user; the line's AOR stays
the same. E2: two combined servers; on the backup the line is user@backup.
"""

import os
import re
import wave

from lab.baresip import modules_of
from lab.lab import DOMAIN

OTHER = "other.example.org"     # a domain that only the servers know


class World:
    """row "E3" or "E2"; transport of the line. The phone answers nothing by
    itself unless answer="auto"; the far end answers all calls."""

    def __init__(self, lab, row="E3", transport="tcp", answer="manual",
                 policy=None, config=(), extra="", accounts=None, far=True,
                 start=True, defines=None, registrar=None, **kw):
        self.lab, self.row, self.transport = lab, row, transport
        defines = dict(ALIASES=[DOMAIN, OTHER], **(defines or {}))
        if row == "E3":
            reg = lab.registrar(**(registrar or {}))
            self.primary, self.backup, self.reg = lab.edge_pair(
                registrar=reg, **defines)
        else:
            self.primary, self.backup = lab.combined_pair(**defines)
            self.reg = None
        self.fars = {}
        if far:
            self._people()
        lines = [("sip_recovery_base_timer", 1)] + self.backup_keys(1)
        if transport == "udp":
            lines += [("sip_outbound_keepalive_timer", 1),
                      ("sip_transaction_timer", 500)]
        if policy:
            lines += [("sip_failback_policy", policy)]
        own = {line.split()[0] for line in config}
        self.config = ["%s %s" % kv for kv in lines if kv[0] not in own]
        self.config += self.speech() + list(config)
        kw.setdefault("aastra", True)
        kw.setdefault("modules", ["aufile.so"])
        kw.setdefault("contacts", ['"Far end" <sip:200@%s>' % DOMAIN])
        self.phone = lab.baresip(
            accounts or [self.account(extra="answermode=%s%s" % (
                answer, ";" + extra if extra else ""))],
            config=self.config, start=start, **kw)
        if start:
            self.wait_on("primary")
            self.phone.wait_registered()

    # -- what there is ---------------------------------------------------------

    def speech(self):
        """Lines of config that make every call talk. (The audio bridge is one
        device for all calls: the end of one would silence the others. And no
        tones, for the same reason.)"""
        path = os.path.join(self.lab.dir, "speech.wav")
        if not os.path.exists(path):
            with wave.open(path, "wb") as f:
                f.setnchannels(1)
                f.setsampwidth(2)
                f.setframerate(8000)
                f.writeframes(bytes(60 * 8000 * 2))
        return ["audio_source aufile," + path,
                "audio_path " + os.path.join(self.lab.dir, "no-tones"),
                "rtp_ports 20000-30000"]     # none that the wire log decodes

    def account(self, user=100, transport=None, **kw):
        return self.lab.account(user, via=self.lab.primary,
                                transport=transport or self.transport, **kw)

    def backup_keys(self, n):
        """The keys that give line n its backup, as (key, value)."""
        ip = self.lab.backup.ip
        keys = [("sip_line%d_backup_outbound_proxy" % n, ip)]
        if self.row == "E2":
            keys += [("sip_line%d_backup_proxy_ip" % n, ip),
                     ("sip_line%d_backup_registrar_ip" % n, ip)]
        return keys

    def server(self, rank):
        return self.primary if rank == "primary" else self.backup

    def domain(self, rank):
        """Domain of the AOR in force."""
        return (self.lab.backup.ip
                if self.row == "E2" and rank == "backup" else DOMAIN)

    def aor(self, rank, user=100):
        return "sip:%s@%s" % (user, self.domain(rank))

    @property
    def registrars(self):
        return [self.reg] if self.reg else [self.primary, self.backup]

    def registrar(self, rank):
        return self.reg or self.server(rank)

    def bindings(self, user=100):
        """All bindings of a user at all servers that answer."""
        found = []
        for r in self.registrars:
            try:
                found += r.bindings(str(user))
            except OSError:
                pass
        return found

    # -- the people at the other end --------------------------------------------

    def _people(self):
        """200 and, in another domain, 201. In E2 at each server anew."""
        hosts = ({"primary": self.lab.far} if self.reg else
                 {"primary": self.lab.far, "backup": self.lab.regb})
        for rank, host in hosts.items():
            self.fars[rank] = self._answers(
                host, rank, ((200, DOMAIN), (201, OTHER)))
        for far in self.fars.values():
            far.wait_registered()

    def _answers(self, host, rank, users):
        """A phone that answers all calls, registered where this rank's server
        finds it."""
        via = self.lab.reg if self.reg else self.server(rank).host
        return self.lab.baresip(
            [self.lab.account(u, d, via, "udp", "answermode=auto")
             for u, d in users], host, wrapper=[], modules=["aufile.so"],
            config=self.speech())

    def third(self, rank):
        """202, which is neither the line nor its far end."""
        phone = self._answers(self.lab.regb if self.reg else self.lab.reg,
                              rank, ((202, OTHER),))
        phone.wait_registered()
        return phone

    def far(self, rank):
        return self.fars.get(rank) or self.fars["primary"]

    def far_back(self, rank):
        """A combined server that was restarted knows nobody: the far end
        starts anew."""
        if self.reg is None and rank in self.fars:
            far = self.fars[rank]
            far.kill()
            far.ctrl.close()
            far.start()
            far.wait_registered()

    # -- moves --------------------------------------------------------------------

    def state(self, n=1):
        return self.phone.state(n)

    def on(self, rank, n=1):
        s = self.state(n)
        return s["service"] == rank and s["registered"]

    def wait_on(self, rank, timeout=8.0, n=1):
        self.lab.until(lambda: self.on(rank, n), timeout,
                       "line %d on the %s" % (n, rank), every=0.005)

    def wait_alone(self, rank, timeout=5.0, user=100):
        """Wait until one binding is left, the one in force."""
        def alone():
            found = self.bindings(user)
            return (len(found) == 1
                    and len(self.registrar(rank).bindings(str(user))) == 1
                    and self.belongs(found[0], rank))
        self.lab.until(alone, timeout, "one binding, on the " + rank)

    def belongs(self, binding, rank):
        """Does a binding lead over this server?"""
        if self.reg is None:
            return True
        return self.server(rank).host.ip in (binding["path"] or "")

    def lose_primary(self, how="kill"):
        getattr(self.primary, how)()
        self.wait_on("backup")
        self.wait_alone_backup()

    def wait_alone_backup(self):
        if self.primary.proc.running and self.reg is None:
            return      # hung, it keeps its old binding
        self.wait_alone("backup")

    def restore_primary(self, probe=True, far=True):
        """The primary is there again (the line may or may not go home)."""
        self.primary.start()
        if far:
            self.far_back("primary")
        if probe:
            self.phone.cmd("aastra_probe 1")

    def come_home(self):
        self.restore_primary()
        self.wait_on("primary")
        self.wait_alone("primary")

    def stages(self):
        """on the primary, on the backup, home again"""
        self.wait_alone("primary")
        yield "primary"
        self.lose_primary()
        yield "backup"
        self.come_home()
        yield "primary"

    # -- calls ----------------------------------------------------------------------

    def call_out(self, command, rank, callee=200, aor=None, before=()):
        """Call with a command of the phone and return the Call; checks that
        everything takes the path in force."""
        far = self.far(rank)
        if not self.phone.has_current:
            # a number is dialled by an account that is registered, and
            # baresip hears of that some milliseconds after the move
            self.phone.wait_registered()
        for c in before:
            self.phone.cmd(c)
        t = self.lab.now()
        self.phone.cmd(command)
        self.phone.wait_call("outgoing", after=t)
        far.wait_call("incoming", after=t)
        call = Call(self, t, far, rank)
        call.check_out(aor or self.aor(rank), callee)
        return call

    def call_in(self, rank, over=None, user=100, accept=True, far=None):
        """200 calls; the phone rings once. over: the server that the INVITE
        comes from, the one in force if not named."""
        far = far or self.far(over or rank)
        t = self.lab.now()
        far.cmd("uafind sip:200@" + DOMAIN)
        far.dial("sip:%s@%s" % (user, DOMAIN))
        self.phone.wait_event("CALL_INCOMING", after=t)
        call = Call(self, t, far, over or rank)
        if accept:
            call.accept()
        return call


class Call:
    """A call that began at t (monotonic)."""

    def __init__(self, world, t, far, rank):
        self.w, self.t, self.far, self.rank = world, t, far, rank
        self.lab, self.phone = world.lab, world.phone

    def accept(self):
        self.phone.accept()
        self.phone.wait_call("incoming", after=self.t)
        self.far.wait_call("outgoing", after=self.t)
        self.check_in()

    def invites(self, src=None, dst=None):
        return self.lab.wire.sip("INVITE", request=True, src=src, dst=dst,
                                 after=self.t)

    def check_out(self, aor, callee):
        host = self.w.server(self.rank).host.name
        ok = self.lab.wire.wait_sip("INVITE", status=200, dst="phone",
                                    after=self.t)
        self.lab.wire.wait_sip("ACK", src="phone", dst=host, after=ok.t)
        sent = self.invites(src="phone")
        assert {e.dst for e in sent} == {host}, sent
        assert {uri_of(e.header("from")) for e in sent} == {aor}
        assert all(("sip:%s@" % callee) in e.uri for e in sent)
        # challenged, and answered; not a second time
        assert [bool(e.header("proxy-authorization")) for e in sent] \
            == [False, True], [e.start for e in sent]
        rung = self.invites(dst=self.far.host)
        assert len(rung) == 1, rung
        self.dialog = sent[-1].call_id

    def check_in(self):
        self.lab.wire.settle()
        rung = self.invites(dst="phone")
        assert len(rung) == 1, rung
        assert rung[0].src == self.w.server(self.rank).host.name
        self.dialog = rung[0].call_id
        rings = self.phone.find_events("CALL_INCOMING", after=self.t)
        assert len(rings) == 1, rings
        assert len(self.lab.wire.sip("INVITE", status=180, src="phone",
                                     after=self.t)) == 1

    # -- during the call -----------------------------------------------------------

    def assert_up(self):
        """Nobody has ended it: no BYE in its dialog, and both ends have it.
        """
        assert not self.lab.wire.sip("BYE", call_id=self.dialog)
        for end in (self.phone, self.far):
            ids = {e.get("id") for e in end.find_events("CALL_CLOSED")}
            assert self.dialog not in ids

    def assert_audio(self, timeout=3.0, packets=10):
        """Speech goes on in both directions."""
        ends = {"phone": self.phone.host, "far end": self.far.host}
        before = {k: udp_in(h) for k, h in ends.items()}
        self.lab.until(
            lambda: all(udp_in(h) - before[k] >= packets
                        for k, h in ends.items()),
            timeout, "speech both ways, from %s" % before)

    def hold(self, off=False):
        """Hold (or resume) at the phone; True if the far end agreed."""
        t = self.lab.now()
        if off:
            self.phone.resume(self.dialog)
        else:
            self.phone.hold(self.dialog)
        sent = self.lab.wire.wait_sip("INVITE", request=True, src="phone",
                                      after=t)
        assert ("a=sendonly" in sent.body) == (not off), sent.body
        self.lab.wire.wait_sip("INVITE", status=200, dst="phone", after=t)
        self.lab.wire.wait_sip("ACK", src="phone", after=t)
        assert sent.call_id == self.dialog
        return sent

    def dtmf(self, digits="42"):
        t = self.lab.now()
        self.phone.cmd("sndcode " + digits)
        for d in digits:
            self.far.wait_event("CALL_DTMF_START", after=t, param=d)

    # -- its end ----------------------------------------------------------------------

    def end(self, by="phone", over=None):
        """Hang up; the other end learns of it. over: rank of the server
        that the BYE has to take."""
        t = self.lab.now()
        one, two = ((self.phone, self.far) if by == "phone"
                    else (self.far, self.phone))
        one.hangup()
        two.wait_event("CALL_CLOSED", after=t)
        one.wait_event("CALL_CLOSED", after=t)
        rank = over or self.rank
        bye = self.lab.wire.wait_sip("BYE", status=200, after=t)
        # that of another call may be sent again meanwhile
        sent = self.lab.wire.sip("BYE", request=True, after=t,
                                 call_id=bye.call_id,
                                 **{"src" if by == "phone" else "dst":
                                    "phone"})
        host = self.w.server(rank).host.name
        assert {(e.dst if by == "phone" else e.src) for e in sent} \
            == {host}, sent
        return bye


def uri_of(header):
    """The URI of a From, To or Contact header."""
    return re.search(r"<([^>]*?)[;>]", header)[1]


def udp_in(host):
    """UDP datagrams that a host has received."""
    def read():
        with open("/proc/thread-self/net/snmp") as f:
            rows = [x.split() for x in f if x.startswith("Udp:")]
        return int(rows[1][rows[0].index("InDatagrams")])
    return host.inside(read)


def udp_errors(host):
    def read():
        with open("/proc/thread-self/net/snmp") as f:
            rows = [x.split() for x in f if x.startswith("Udp:")]
        return int(rows[1][rows[0].index("NoPorts")])
    return host.inside(read)


def all_modules(lab):
    """A folder with the system's modules and aastra.so, for phones that load
    it late."""
    path = os.path.join(lab.dir, "all-modules")
    if not os.path.isdir(path):
        os.makedirs(path)
        system = modules_of(lab.binary)
        for m in os.listdir(system):
            os.symlink(os.path.join(system, m), os.path.join(path, m))
        os.symlink(lab.module, os.path.join(path, "aastra.so"))
    return path


def open_connections(lab, server):
    """TCP connections between the phone and a server, as the server has
    them."""
    out = server.host.run("ss", "-H", "-t", "-n", "state", "established",
                          "dst", lab.phone.ip)
    return len(out.splitlines())


def flow(w, rank, n=1):
    return next(f for f in w.state(n)["flows"] if f["rank"] == rank)


STAGES = ["primary", "backup", "moving", "call", "moved call"]


def to_stage(w, stage, n=1):
    """Bring line n from the primary to a stage; returns the rank in force
    and the call."""
    call = None
    if stage == "call":
        call = w.call_out("dial 200", "primary")
    elif stage == "moved call":
        # made on the backup, and the line is home: in E2 it was made by
        # the user agent that cannot be seen now
        w.phone.cmd("aastra_failover %d" % n)
        w.wait_on("backup", n=n)
        call = w.call_out("dial 200", "backup")
        w.phone.cmd("aastra_failback %d" % n)
        w.wait_on("primary", n=n)
        w.wait_alone("primary")
    elif stage == "backup":
        w.primary.kill()
        w.wait_on("backup", n=n)
        w.wait_alone("backup")
    elif stage == "moving":
        # its REGISTER at the backup gets no answer
        w.backup.respond("REGISTER", 0)
        t = w.lab.now()
        w.primary.kill()
        w.lab.wire.wait_sip("REGISTER", dst="backup", after=t)
    return "backup" if stage == "backup" else "primary", call


def gone_from(w, call):
    """The other end of a call was told of its end."""
    call.far.wait_event("CALL_CLOSED", after=call.t)


def no_bindings(w, user=100):
    w.lab.until(lambda: not w.bindings(user), 4,
                "no binding of %s left" % user)
