"""The fault matrix: every server, every way to fail, at every stage of a
line's life. Each cell checks what must always hold (docs/design.md) and notes
how long the line was without a live binding.

    .../pytest test/e2e/test_faults.py --all-rows       # all cells
    .../pytest test/e2e/test_faults.py -k hang          # some

A default run has a fixed sample: each fault, each server and each stage at
least once. Certificates are in test_tls.py, answers that are none in
test_hostile.py, name servers in test_names.py.
"""

import pytest

from helpers_calls import World
from lab.figures import figure
from lab.several import _ahead, ahead, parallel  # noqa: F401 (fixtures)
from lab.site import live

AT_ONCE = 3
CONFIG = ("sip_outbound_keepalive_timer 1", "sip_transaction_timer 1000",
          "sip_recovery_base_timer 1", "sip_recovery_max_timer 2",
          "sip_registration_retry_timer 30")
BACK_S = 25.0           # in service again, on a busy machine
REGISTERS_MAX = 60      # of a cell: a refusing server is left in peace

# (row, server): E3 has edges and one registrar, E2 proxies that register
SERVERS = (("E3", "primary"), ("E3", "backup"), ("E3", "registrar"),
           ("E2", "primary"), ("E2", "backup"))
STAGES = ("starting", "registering", "registered", "moving", "moving back",
          "ringing", "up", "shutting down")


def _refuse(s):
    s.host.reject("tcp-reset", port=5060)
    s.host.reject("icmp-port-unreachable", port=5060)
    s.host.reset_tcp()


def _half_open(s):
    """It forgets its connections, and nobody is told."""
    s.host.drop("both")
    s.kill()
    s.start()
    s.host.clear()


def _restart(s):
    s.kill()
    s.start()


def _start(s):
    s.start()


def _clear(s):
    s.host.clear()


def _storm(code):
    def inject(s):
        s.respond("REGISTER", code)
        s.respond("SUBSCRIBE", code)
    return inject, lambda s: s.clear_responses()


# name: (what happens, how it ends, does the server do its work meanwhile)
FAULTS = {
    "kill": (lambda s: s.kill(), _start, False),
    "reset": (lambda s: s.kill(reset=True), _start, False),
    "stop": (lambda s: s.stop(), _start, False),
    "hang": (lambda s: s.hang(), lambda s: s.cont(), False),
    "restart": (_restart, lambda s: None, True),
    "refuse": (_refuse, _clear, False),
    "black hole": (lambda s: s.host.drop("both"), _clear, False),
    "black hole in": (lambda s: s.host.drop("in"), _clear, False),
    "black hole out": (lambda s: s.host.drop("out"), _clear, False),
    "cable": (lambda s: s.host.link("down"), lambda s: s.host.link("up"),
              False),
    "loss": (lambda s: s.host.loss(30), _clear, True),
    "half-open": (_half_open, lambda s: None, True),
    "500": (*_storm(500), False),
    "503": (*_storm(503), False),
    "408": (*_storm(408), False),
    "silence": (*_storm(0), False),
}

STORMS = ("500", "503", "408", "silence")

CELLS = [(row, server, fault, stage) for row, server in SERVERS
         for fault in FAULTS for stage in STAGES]


def sample():
    """Each fault three times; servers and stages take turns, all come."""
    n = len(FAULTS)
    return [(*SERVERS[(2 * i + i // n) % len(SERVERS)], list(FAULTS)[i % n],
             STAGES[(3 * i + 2 + i // n) % len(STAGES)])
            for i in range(3 * n)]


class Cell:
    def __init__(self, lab, row, server, stage):
        self.lab, self.stage = lab, stage
        self.w = World(lab, row, "tcp", policy="auto", config=CONFIG,
                       start=False, far=stage in ("ringing", "up"),
                       accounts=[lab.account(
                           100, via=lab.primary, transport="tcp",
                           extra="answermode=manual",
                           # a registrar that forgets, behind an edge that
                           # lives, is noticed at the next refresh
                           regint=10 if server == "registrar" else 3600)])
        self.server = {"primary": self.w.primary, "backup": self.w.backup,
                       "registrar": self.w.reg}[server]
        self.call = None

    @property
    def phone(self):
        return self.w.phone

    def registered(self):
        return self.phone.state(1)["registered"]

    def bindings(self):
        return [b for b in self.w.bindings() if live(b)]

    def hold(self, server):
        """Its REGISTER gets no answer there."""
        server.respond("REGISTER", 0)

    def reach(self):
        """Bring the line to the stage."""
        w, lab = self.w, self.lab
        if self.stage == "starting":
            return
        if self.stage == "registering":
            self.hold(w.primary)
            t = lab.now()
            self.phone.start()
            lab.wire.wait_sip("REGISTER", dst="primary", after=t)
            w.primary.clear_responses()
            return
        self.phone.start()
        w.wait_on("primary")
        w.wait_alone("primary")
        if self.stage == "moving":
            self.hold(w.backup)
            t = lab.now()
            self.phone.cmd("aastra_failover 1")
            lab.wire.wait_sip("REGISTER", dst="backup", after=t)
            self.phone.cmd("aastra_auto 1")
            w.backup.clear_responses()
        elif self.stage == "moving back":
            self.phone.cmd("aastra_failover 1")
            w.wait_on("backup")
            self.hold(w.primary)
            t = lab.now()
            self.phone.cmd("aastra_auto 1")
            lab.wire.wait_sip("REGISTER", dst="primary", after=t)
            w.primary.clear_responses()
        elif self.stage == "ringing":
            self.call = w.call_in("primary", accept=False)
        elif self.stage == "up":
            self.call = w.call_out("dial 200", "primary")

    def ends(self):
        """It ends well, and what can be reached has no binding of it."""
        assert self.phone.exit(15) == 0


def run(lab, row, server, fault, stage):
    cell = Cell(lab, row, server, stage)
    inject, clear, works = FAULTS[fault]
    w, s = cell.w, cell.server
    alone = server == "registrar"       # nothing stands in for it
    cell.reach()
    # who it still has, and nobody can reach over it, does not count
    dead = not works and fault not in STORMS and not alone
    eyes = [r for r in w.registrars if r is not s] if dead else w.registrars

    def usable(b):
        return not (dead and row == "E3" and s.host.ip in (b["path"] or ""))

    def elsewhere():
        return [b for r in eyes for b in r.bindings("100")
                if live(b) and usable(b)]
    sampler = lab.sampler(eyes)
    t = lab.now()
    inject(s)
    if stage == "starting":
        cell.phone.start()
    if stage == "shutting down":
        cell.ends()
        clear(s)
        if not works and not alone:
            # those that could be reached were told
            others = [r for r in w.registrars if r is not s]
            lab.until(lambda: not [b for r in others for b in
                                   r.bindings("100") if live(b)
                                   and s.host.ip not in (b["path"] or "")],
                      6, "no binding is left")
        figure("faults", row=row, server=server, fault=fault, stage=stage,
               gap=0.0, registers=0)
        return

    # 1: with a server that can be reached there is a binding
    if not alone:
        lab.until(cell.registered, BACK_S, "in service beside the fault",
                  every=0.02)
        lab.until(elsewhere, BACK_S, "a binding beside the fault", every=0.05)
    lab.never(lambda: not cell.phone.proc.running, 1.0, "its end")
    gap = min(sampler.longest_gap(after=t, usable=usable), lab.now() - t)
    clear(s)
    if not s.proc.running:
        s.start()
    if fault == "half-open":
        # until the next keep-alive nobody can know
        lab.never(lambda: not cell.phone.proc.running, 3.0, "its end")

    # 2: one binding, the one in force; and 5: as the status says
    def settled():
        line = cell.phone.state(1)
        found = cell.bindings()
        return (line["registered"] and len(found) == 1
                and line["service"] in ("primary", "backup")
                and len([b for b in w.registrar(line["service"]).bindings(
                    "100") if live(b)]) == 1
                and w.belongs(found[0], line["service"]))
    lab.until(settled, BACK_S, "one binding, where the line is", every=0.1)
    sampler.stop()

    # 3: a call that is up stays up
    if stage == "up":
        cell.call.assert_up()
    # 4: bounded
    sent = lab.wire.sip("REGISTER", request=True, src="phone", after=t,
                        match=lambda e: e.dst in ("primary", "backup"))
    assert len(sent) <= REGISTERS_MAX, len(sent)
    # 7: no secret
    assert "secret100" not in cell.phone.proc.output()
    figure("faults", row=row, server=server, fault=fault, stage=stage,
           gap=round(gap, 3), registers=len(sent))
    cell.ends()
    # a server that hung wakes up with a REGISTER that was long given up and
    # undone; a registrar that has forgotten its CSeq takes it for a new one
    if fault == "hang":
        return
    # what an edge still has for a registrar that was away comes after the
    # farewell, and is there until it expires: nobody can undo that
    lab.until(lambda: not cell.bindings(), 20 if alone else 6,
              "no binding is left")


def name(cell):
    return "-".join(x.replace(" ", "_") for x in cell)


def test_number():
    """What the matrix has, and that the sample has all of each kind."""
    assert len(CELLS) == 640 == len(set(CELLS))
    some = sample()
    assert len(some) == 48 == len(set(some))
    assert {c[2] for c in some} == set(FAULTS)
    assert {c[:2] for c in some} == set(SERVERS)
    assert {c[3] for c in some} == set(STAGES)


@pytest.mark.sample
@parallel
@pytest.mark.parametrize("cell", sample(), ids=name)
def test_sample(lab, cell):
    run(lab, *cell)


@pytest.mark.all_rows
@parallel
@pytest.mark.parametrize("cell", CELLS, ids=name)
def test_cell(lab, cell):
    run(lab, *cell)
