"""`sip outbound standby: 2`: the backup is registered all along, so that calls
come in while the primary is gone and has not been missed yet; everything else
follows as soon as it is.

The calls are made by a user agent in Python, which a server takes for its own
trunk, every 40 ms all through the fault. Where both flows lead to one
registrar (E3, D3), it calls there; else at the backup, as a caller does whose
call the primary does not take, and at the primary while that works.
"""

import contextlib
import os
import sys
import time

import pytest

from helpers_rows import BACKUP, HOSTS, PRIMARY, Row, cells
from lab.several import _ahead, ahead, parallel  # noqa: F401 (fixtures)
from lab import bodies
from lab.every import Every
from lab.wait import Timeout
from test_subscriptions import BUSY
from test_subscriptions import Site as Lamps

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)),
                             "../bench"))

from parts.sip import Agent  # noqa: E402

EVERY_S = 0.04
FR_S = 0.3      # a server that hears nothing from one flow takes the other
STANDBY = ["sip_outbound_standby 2", "call_max_calls 0",
           "sip_failback_policy auto"]
ALL = [(row, transport, fault) for row in ("E1", "E2", "E3", "D1", "D2", "D3")
       for transport in ("tcp", "tls", "udp")
       for fault in ("killed", "hung", "hole")]
SAMPLE = [("E3", "tcp", "killed"), ("E3", "udp", "hung"),
          ("E2", "tls", "hole"), ("E1", "tcp", "hung"),
          ("D3", "udp", "killed")]


class Standby(Row):
    def __init__(self, lab, row, transport, config=(), **kw):
        kw.setdefault("config", STANDBY + list(config))
        kw.setdefault("transaction", 1)     # on a busy machine
        kw.setdefault("FR_TIMER", int(FR_S * 1000))
        super().__init__(lab, row, transport, OPEN_CALLS=True, **kw)

    def start(self, **kw):
        kw.setdefault("extra", "answermode=auto")
        super().start(wait=False, **kw)
        self.wait_both()
        return self.phone

    @property
    def axis(self):
        """The one whose servers a REGISTER goes to."""
        return self.axes[-1]

    def both(self):
        return sorted(name for name, _ in self.bindings()) == sorted(
            self.host[self.axis][rank].name for rank in (PRIMARY, BACKUP))

    def wait_both(self, timeout=8):
        """On the primary, and registered over the backup as well."""
        self.lab.until(lambda: self.now() == self.state(), timeout, "home")
        self.lab.until(self.both, timeout, "two bindings")

    def away(self):
        return self.state(**{self.axis: BACKUP})

    def registrar(self, rank):
        return self.core or self.server[self.axis][rank]


class Callers(Every):
    """Calls at a server, one after the other, all the time."""

    def __init__(self, lab, server, port):
        super().__init__(EVERY_S)
        self.lab = lab
        self.agent = Agent(lab.far, server.host, port=port)
        self.attempts = []
        self.changes = []       # (from, till) when flows died or came back
        self.lossy = False      # what was on the way then may be lost

    def __exit__(self, *exc):
        super().__exit__(*exc)
        self.agent.stop()

    def once(self):
        self.attempts.append(self.agent.call(100))

    def unanswered(self):
        return [a for a in self.attempts if a.answered is None
                and not (self.lossy and self.on_the_way(a))]

    def on_the_way(self, attempt):
        return any(a < attempt.t < b for a, b in self.changes)

    def answered_twice(self):
        """Calls that the phone took twice. One that was on its way when a
        flow died or came back does not count: what came over that one may
        be as good as none."""
        answers = {}
        for e in self.lab.wire.sip("INVITE", status=200, src="phone"):
            answers.setdefault(e.call_id, set()).add(e.header("to"))
        assert answers
        return [a.call_id for a in self.attempts
                if len(answers.get(a.call_id, ())) > 1
                and not self.on_the_way(a)]


@contextlib.contextmanager
def callers(site, rank=BACKUP):
    """Afterwards all calls have been answered, and each once."""
    with Callers(site.lab, site.registrar(rank), 5070) as c:
        yield c
        c.stop()
        with contextlib.suppress(Timeout):
            site.lab.until(lambda: not c.unanswered(), 5, "answers")
        with contextlib.suppress(Timeout):
            site.lab.until(lambda: not site.phone.state(1)["calls"], 5,
                           "they are hung up")
        late = c.unanswered()
        assert len(c.attempts) > 10
        twice = c.answered_twice()
        assert not twice, "rang twice: %s" % twice
        assert not late, "%d of %d calls were not answered: %s" % (
            len(late), len(c.attempts),
            [("%.3f" % (a.t - c.attempts[0].t), a.code) for a in late][:20])


def ask(site):
    """Without outbound support only requests find out."""
    if not site.outbound:
        site.phone.cmd("reregister")
    return True


@pytest.mark.lab(hosts=HOSTS)
@parallel
@pytest.mark.parametrize("row, transport, fault", cells(ALL, SAMPLE))
def test_no_gap(lab, row, transport, fault):
    """The primary dies and comes back: no call is missed, and the line goes
    there and back."""
    site = Standby(lab, row, transport)
    phone = site.start()
    with callers(site) as calls:
        time.sleep(0.3)
        t = lab.now()
        site.fail(site.axis, PRIMARY, fault)
        calls.changes.append((t - 0.1, lab.now()))
        # the primary's copy of a call was taken, the backup's refused, and
        # then the primary died before it had passed the answer on
        calls.lossy = row == "D3"
        site.trigger(site.axis)
        lab.until(lambda: site.now() == site.away(), 9, "on the backup")
        lab.until(lambda: [n for n, _ in site.bindings()] == [
            site.target(site.away()).name], 9, "the dead flow is forgotten")
        if site.outbound:
            # it was registered already
            moves = [e for e in phone.state(1)["history"]
                     if e["event"] == "failover"]
            assert moves[-1]["requests"] == 0, moves
        t = lab.now()
        site.repair(site.axis, PRIMARY, fault)
        calls.changes.append((t - FR_S - 0.2, t + 0.1))
        lab.until(lambda: ask(site) and site.now() == site.state()
                  and site.both(), 15, "home, with two bindings", 0.5)
        time.sleep(0.3)
    if row == "D3":
        # that registrar knows of no instance, and sends calls over both
        assert lab.wire.sip("INVITE", status=482, src="phone")
    # what was answered in the instant of the fault, BYE and all
    assert phone.exit(40) == 0
    lab.until(lambda: not site.bindings(), 3, "nothing is left")


@pytest.mark.lab(hosts=HOSTS)
@parallel
@pytest.mark.parametrize("victim", [PRIMARY, BACKUP])
def test_all_flows(lab, victim):
    """A registrar that calls over all flows at once: no call waits for the
    dead one, whichever that is, and none rings twice."""
    site = Standby(lab, "E3", "tcp", FR_TIMER=8000, ALL_FLOWS=True)
    phone = site.start()
    with callers(site) as calls:
        time.sleep(0.3)
        t = lab.now()
        site.fail(site.axis, victim, "hung")
        calls.changes.append((t - 0.1, lab.now()))
        # taken over the one that then died, refused over the other
        calls.lossy = True
        lab.until(lambda: len(site.bindings()) == 1, 9, "one flow is left")
        time.sleep(0.3)
    waited = max(a.answered - a.t for a in calls.attempts if a.answered)
    assert waited < 6, waited
    assert lab.wire.sip("INVITE", status=482, src="phone")
    site.repair(site.axis, victim, "hung")
    assert phone.exit(40) == 0


@parallel
def test_all_flows_busy(lab):
    """482 is for the server; the caller hears what the phone has said."""
    site = Standby(lab, "E3", "tcp", ALL_FLOWS=True)
    phone = site.start(extra="answermode=manual")
    agent = Agent(lab.far, site.core.host)
    try:
        call = agent.call(100)
        lab.until(lambda: phone.state(1)["calls"], 5, "it rings")
        lab.until(lambda: lab.wire.sip("INVITE", status=482, src="phone"), 5,
                  "once")
        phone.hangup()
        lab.until(lambda: call.code, 5, "refused")
        assert call.code == 486, call.code
    finally:
        agent.stop()


@pytest.mark.lab(hosts=HOSTS)
@parallel
def test_the_backup_fails(lab):
    """While the primary serves, that is nothing to the line: it stays in
    service, the dead flow is forgotten, and the backup is tried again, at
    times. A restart of it is noticed in the same way."""
    site = Standby(lab, "E3", "tcp")
    phone = site.start()
    with callers(site):
        time.sleep(0.2)
        t = lab.now()
        site.fail(site.axis, BACKUP)
        lab.until(lambda: site.only(site.state()), 5, "the dead flow is gone")
        lab.never(lambda: site.now() != site.state(), 3, "leaves the primary")
        tries = lab.wire.find(kind="syn", src="phone", dst=lab.backup,
                              after=t)
        assert 1 < len(tries) < 20, tries   # about once a second
        site.repair(site.axis, BACKUP)
        site.wait_both()
    events = [e["event"] for e in phone.state(1)["history"]]
    assert "failover" not in events, events
    flows = phone.state(1)["flows"]
    assert [f["registered"] for f in flows] == [True, True], flows
    assert "and besides on the backup" in phone.cmd("aastra_explain 1")
    gauge = phone.cmd("aastra_metrics")
    assert gauge.count("aastra_flow_registered{") == 2
    assert phone.exit(40) == 0
    lab.until(lambda: not site.bindings(), 3, "nothing is left")


@parallel
@pytest.mark.parametrize("row", ["E2", "E1"])
def test_the_primary_refuses(lab, row):
    """Another server would say the same, as a rule: but it has not. The line
    is in service where it is registered, and not out of service for half an
    hour."""
    site = Standby(lab, row, "tcp")
    phone = site.start()
    site.registrar(PRIMARY).respond("REGISTER", 403)
    t = lab.now()
    phone.cmd("reregister")
    lab.wire.wait_sip("REGISTER", status=403, src="primary" if row == "E2"
                      else site.server[site.axis][PRIMARY].host.name,
                      dst="phone", after=t)
    lab.until(lambda: site.now() == site.away(), 5, "on the backup")
    site.registrar(PRIMARY).clear_responses()
    phone.cmd("aastra_probe 1")
    site.wait_both()
    assert phone.exit() == 0


@parallel
def test_commands_and_settings(lab):
    """Held on the backup it is registered there alone; held on the primary,
    and left to itself, twice. 0, 1 and 2 may be changed while it runs, and
    a line that goes takes both with it."""
    site = Standby(lab, "E3", "tcp")
    phone = site.start()
    t = lab.now()
    for command, alone in (("aastra_failover 1", True),
                           ("aastra_failback 1", False),
                           ("aastra_auto 1", False)):
        phone.cmd(command)
        if alone:
            site.wait(site.away(), after=t - 60, only=True)
        else:
            site.wait_both()
    for standby in (0, 2, 1, 2):
        phone.config[:] = [x for x in phone.config
                           if "outbound_standby" not in x]
        phone.config.append("sip_outbound_standby %d" % standby)
        phone.write_config()
        with lab.sampler(site.registrars) as seen:
            phone.cmd("aastra_reload")
            if standby == 2:
                site.wait_both()
            else:
                lab.until(lambda: site.only(site.state()), 5, "one binding")
        assert not seen.gaps(), str(seen)
    phone.cmd("uadel " + phone.state(1)["aor"])
    lab.until(lambda: not site.bindings(), 5, "the line has ended")


@pytest.mark.lab(hosts=HOSTS)
@parallel
@pytest.mark.parametrize("row, fault", [("E3", "killed"), ("E2", "hung")])
def test_the_rest_follows(lab, row, fault):
    """Lamps and outgoing calls, once the fault has been noticed: without a
    REGISTER, and so without its round trips."""
    site = Lamps(lab, row, "tcp", config=STANDBY)
    site.start(wait=False)
    site.wait_active(PRIMARY, 8)
    lab.until(lambda: len(site.bindings()) == 2, 5, "two bindings")
    server = site.core or site.server[site.axes[0]][BACKUP]
    agent = Agent(lab.far, server.host).register()
    try:
        t = lab.now()
        site.fail(site.axes[0], PRIMARY, fault)
        site.wait_active(BACKUP, 8)
        registers = [e for e in site.requests("REGISTER", after=t)
                     if e.expires and e.dst == "backup"]
        assert not registers, registers
        site.notifier(BACKUP).publish(200, bodies.dialog(200, "confirmed"))
        site.wait_value(BUSY, "busy", 5)
        site.phone.dial("200")
        lab.until(lambda: agent.answered, 5, "200 answers")
    finally:
        agent.stop()
