"""Every row of the failover table, seen on the wire: away from a server that
fails and back again, with the AOR, the registrar and the route that the table
wants, and with exactly one binding left.

By default a sample of the cells; --all-rows runs all of them.
"""

import pytest

from helpers_rows import (AXES, BACKUP, HOSTS, IPS, KEEPALIVE_S, PRIMARY,
                          RECOVERY_S, ROWS, TRANSACTION_S, TRANSPORTS, Row,
                          cells)
from lab import Timeout
from lab.figures import figure
from lab.pace import slack
from lab.several import _ahead, ahead, parallel  # noqa: F401 (fixtures)

SLACK_S = slack(0.6)    # two cores, several labs at once
AT_ONCE = 5
FAULTS = ("killed", "hung")

SAMPLE = (
    ("E1", "proxy", "tcp", 4, "killed"), ("E1", "registrar", "udp", 6, "hole"),
    ("E1", "registrar", "tls", 4, "hung"),
    ("E2", None, "tcp", 4, "hung"), ("E2", None, "tls", 6, "killed"),
    ("E3", None, "udp", 6, "hung"), ("E3", None, "tcp", 6, "killed"),
    ("D1", "proxy", "udp", 6, "killed"), ("D1", "registrar", "tcp", 4, "hung"),
    ("D2", None, "udp", 4, "hung"), ("D2", None, "tls", 6, "killed"),
    ("D3", None, "tls", 4, "hung"), ("D3", None, "tcp", 6, "hole"),
)


def found_within(site, axis, fault):
    """How long it may take until the phone turns away."""
    if not site.outbound:
        # the next request tells; a call is given half a second first
        return TRANSACTION_S + (0.5 if axis == "proxy" else 0)
    if fault != "killed":
        return KEEPALIVE_S + TRANSACTION_S
    # over UDP, ICMP tells at the next check
    return KEEPALIVE_S if site.transport == "udp" else 0


EVERY = [(row, axis if len(AXES[row]) > 1 else None, tp, ip, fault)
         for row in ROWS for axis in AXES[row] for tp in TRANSPORTS
         for ip in IPS for fault in FAULTS]


@parallel
@pytest.mark.parametrize("row, axis, transport, ip, fault",
                         cells(EVERY, SAMPLE))
def test_there_and_back(lab, row, axis, transport, ip, fault):
    """One cell: the line fails over and comes home. In E1 and D1 proxy and
    registrar do so apart."""
    site = Row(lab, row, transport, ip)
    site.start()
    axis = axis or site.axes[0]
    home = site.state()
    away = site.state(**{axis: BACKUP})
    far = site.host[axis][BACKUP]
    contacts = set(site.contacts())

    # there
    before = lab.now()
    site.fail(axis, PRIMARY, fault)
    t = lab.now() if not site.outbound else before
    site.trigger(axis)
    found = site.first_to(far, after=t).t - t
    ok = site.wait(away, after=t)
    there = [e.method for e in site.requests(after=t)]
    assert found < found_within(site, axis, fault) + SLACK_S
    assert ok.t - t < found + SLACK_S
    # the new path has a Contact of its own
    new = site.request_of(ok).header("contact").partition(";expires")[0]
    assert new.strip("<>") not in contacts

    # and back
    t_back = site.repair(axis, PRIMARY, fault)
    back = site.wait(home, 5 + RECOVERY_S[site.row[0]], after=before + 0.001
                     if t_back < before else t_back - 0.001)
    lab.wire.settle()
    home_again = [e.method for e in site.requests(after=t_back)]
    assert back.t - t_back < RECOVERY_S[site.row[0]] + 2 * TRANSACTION_S \
        + 1 + SLACK_S

    state = site.phone.state(1)
    assert state["registered"] and state["service"] == PRIMARY
    if site.outbound:
        moves = state["counters"]
        assert (moves["failovers"], moves["failbacks"]) == (1, 1)
    figure("rows", row=row, axis=axis, transport=transport, ip=ip, fault=fault,
           found=found, failover=ok.t - t, failback=back.t - t_back,
           registers_there=there.count("REGISTER"),
           probes_there=there.count("OPTIONS"),
           registers_back=home_again.count("REGISTER"),
           probes_back=home_again.count("OPTIONS"))


# ---- calls -------------------------------------------------------------------


UNANSWERED_S = 0.5      # then the line looks at its server


def far_at(site):
    """A far end that the backup's side knows, and nobody else."""
    lab = site.lab
    return lab.far_phone(lab.reg if site.row[1] == "3" else lab.backup)


@parallel
@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("row", ROWS)
def test_call_moves(lab, row, transport):
    """An outgoing call that meets a dead server is dialled again over the
    live one, once; the far end rings once and the user has one call."""
    site = Row(lab, row, transport, config=["sip_outbound_keepalive_timer 60"])
    far = far_at(site)
    phone = site.start()
    axis = site.axes[0]
    away = site.state(**{axis: BACKUP})
    site.fail(axis, PRIMARY, "hole")

    t = lab.now()
    phone.dial("200")
    up = phone.wait_call("outgoing", after=t)
    took = up.t - t
    far.wait_call("incoming", after=t)
    assert took < UNANSWERED_S + TRANSACTION_S + SLACK_S
    site.wait(away, after=t)
    lab.wire.wait_sip("ACK", dst="far", after=t)
    rings, = lab.wire.sip("INVITE", request=True, dst="far", after=t)
    last = [e for e in site.requests("INVITE", after=t)
            if e.header("authorization")
            or e.header("proxy-authorization")][-1]
    assert last.dst == site.call_hop(away).name
    assert "100@%s>" % site.aor_host(away) in last.header("from")
    if row[1] != "1":
        assert site.addr(site.target(away)) in last.header("route")
    assert phone.calls().count("200@") == 1
    moved, = [h for h in phone.state(1)["history"]
              if h["event"] == "call-moved"]
    assert "200" in moved["to"]
    assert len(phone.find_events("CALL_ESTABLISHED", after=t)) == 1
    assert not phone.find_events("CALL_CLOSED", after=up.t)
    figure("calls", row=row, transport=transport, fault="hole", took=took)

    # and it is a call like any other
    far.hangup()
    phone.wait_event("CALL_CLOSED", after=up.t)
    assert rings.t < up.t


@parallel
@pytest.mark.parametrize("row", ["E3", "D2"])
@pytest.mark.parametrize("case", ["off", "rings", "both dead", "refused"])
def test_call_does_not_move(lab, row, case):
    """Not if it is switched off, not once it rings, not a second time, and
    not because somebody says no."""
    site = Row(lab, row, "udp", config=["sip_outbound_keepalive_timer 60"]
               + ["sip_call_failover 0"] * (case == "off"))
    far = lab.far_phone(lab.reg if row == "E3" else lab.primary,
                        answer="manual")
    phone = site.start()
    axis = site.axes[0]
    t = lab.now()
    if case == "refused":
        # 404 is an answer, whoever is asked
        phone.dial("299")
        phone.wait_event("CALL_CLOSED", after=t)
        lab.never(lambda: lab.wire.find(src="phone", dst="backup", after=t),
                  1, "asks the backup", 0.1)
        return
    if case == "rings":
        phone.dial("200")
        phone.wait_event("CALL_RINGING", after=t)
    site.fail(axis, PRIMARY, "hole")
    if case == "both dead":
        site.fail(axis, BACKUP, "hole")
    if case != "rings":
        phone.dial("200")
    site.trigger(axis)
    tries = site.requests("INVITE", after=t)

    def again():
        return [e for e in site.requests("INVITE", after=t) if e.call_id
                not in {x.call_id for x in tries} and e.dst == "backup"]
    if case == "both dead":
        lab.never(lambda: len({e.call_id for e in again()}) > 1, 4,
                  "dialled a third time", 0.1)
    else:
        lab.never(again, 3, "dialled again", 0.1)
    del far


# ---- proxy and registrar apart: all 16 combinations ---------------------------


UP_DOWN = [(a, b, c, d) for a in (1, 0) for b in (1, 0) for c in (1, 0)
           for d in (1, 0)]
SERVERS = [("proxy", PRIMARY), ("proxy", BACKUP), ("registrar", PRIMARY),
           ("registrar", BACKUP)]
# every change between two of them, dealt to eight labs
CHANGES = [(a, b) for a in UP_DOWN for b in UP_DOWN if a != b]
LABS = 8
DEALT = [[c for i, c in enumerate(CHANGES) if (i * 5 + i // 15) % LABS == n]
         for n in range(LABS)]


class Apart:
    """E1 or D1 with servers that come and go, and the policy in short."""

    def __init__(self, site, fault):
        self.site = site
        self.fault = fault
        self.up = dict.fromkeys(SERVERS, 1)

    def turn(self, up):
        """Let these servers be up and the others down."""
        for (axis, rank), now in zip(SERVERS, up):
            if now != self.up[axis, rank]:
                (self.site.repair if now else self.site.fail)(
                    axis, rank, self.fault)
                self.up[axis, rank] = now

    def wanted(self, before, were_up=None):
        """A role is on its primary if that is up, else on its backup if that
        is up, else where it was; or, where both have gone now, one after the
        other, on any of them (None)."""
        want = {}
        for axis, rank in before.items():
            up = [self.up[axis, r] for r in (PRIMARY, BACKUP)]
            if up == [0, 0]:
                want[axis] = (None if were_up and were_up[axis] == [1, 1]
                              else rank)
            else:
                want[axis] = PRIMARY if up[0] else BACKUP
        return want

    def ups(self):
        return {axis: [self.up[axis, r] for r in (PRIMARY, BACKUP)]
                for axis in self.site.axes}

    def active(self):
        """As it is; None: nothing was ever in force."""
        active = self.site.phone.state(1)["active"]
        return {axis: active[axis] if active[axis] != "none" else None
                for axis in self.site.axes}

    def is_as(self, want):
        """Is the line there, and does it know that its servers are up?"""
        state = self.site.phone.state(1)
        known = {(f["role"], f["rank"]) for f in state["flows"]
                 if f["state"] == "up" or not self.site.outbound}
        return (state["registered"] == self.registrar_up
                and all(want.get(a) in (None, rank) for a, rank in
                        state["active"].items())
                and all((a, rank) in known for a, rank in want.items()
                        if self.up.get((a, rank))))

    @property
    def registrar_up(self):
        return bool(self.up["registrar", PRIMARY]
                    or self.up["registrar", BACKUP])

    def prove(self, want, after, moved=True):
        site, lab = self.site, self.site.lab
        what = "%s -> %s" % (self.up, want)
        if site.outbound:
            lab.until(lambda: self.is_as(want), 9, what)
        else:
            self.ask_until(want, what)
        if self.registrar_up and want["proxy"]:
            lab.until(lambda: site.only(want), 6,
                      "one binding, at %s" % site.target(want).name)
            if moved:
                site.wait_200(want, after=after)
            if site.outbound:
                lab.never(lambda: not self.is_as(want), 0.2, "leaves again")

    def ask_until(self, want, what):
        """Without outbound support only requests find out."""
        if not (self.up["proxy", PRIMARY] or self.up["proxy", BACKUP]):
            want["proxy"] = None        # nobody can know
        end = self.site.lab.now() + 12
        while True:
            if not self.up["proxy", PRIMARY]:
                self.site.trigger("proxy")
            self.site.trigger("registrar")
            try:
                self.site.lab.until(lambda: self.is_as(want), 2.5, what)
                return
            except Timeout:
                if self.site.lab.now() > end:
                    raise


@pytest.mark.lab(ports=range(5060, 5062))
@parallel
@pytest.mark.parametrize("row, n, count", cells(
    [(row, n, len(DEALT[n])) for n in range(LABS) for row in ("E1", "D1")],
    [("E1", n, 5) for n in range(4)] + [("D1", n, 3) for n in range(4)]))
def test_up_and_down(lab, row, n, count):
    """From each of the 16 combinations to each other one: the line is where
    the policy says, with one binding."""
    transport = ("tcp", "udp")[n % 2]
    # "auto": calls that look for the proxy shall not keep the line away
    site = Row(lab, row, transport, (4, 6)[n // 4],
               config=["sip_failback_policy auto"])
    apart = Apart(site, ("killed", "hole")[n // 2 % 2])
    # a sample begins somewhere else in each lab
    first = 0 if count == len(DEALT[n]) else 11 * n
    for before, then in DEALT[n][first:first + count]:
        apart.turn(before)
        t = lab.now()
        site.start(wait=False)
        any_up = dict.fromkeys(site.axes, [1, 1])
        apart.prove(apart.wanted(site.state(), any_up), t)
        state = apart.active()
        t = lab.now()
        ups = apart.ups()
        apart.turn(then)
        want = apart.wanted(state, ups)
        apart.prove(dict(want), t, want != state)
        site.forget()


# ---- an outbound proxy that has no backup --------------------------------------


@pytest.mark.lab(hosts=HOSTS)
@parallel
@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("fault", ["killed", "hung"])
@pytest.mark.parametrize("row", ["E1", "D1"])
def test_behind_an_outbound_proxy(lab, row, transport, fault):
    """Proxy and registrar have backups, the outbound proxy before them has
    none: what is behind it is judged by what answers through it."""
    site = Row(lab, row, transport, behind=True, transaction=1)
    phone = site.start()
    for axis in site.axes:
        away = site.state(**{axis: BACKUP})
        t = lab.now()
        site.fail(axis, PRIMARY, fault)
        site.trigger(axis)
        ok = site.wait(away, after=t)
        # the proxy says that it got no answer, and stays in use itself
        assert ok.t - t < found_within(site, axis, "hung") + 0.5 + SLACK_S
        assert site.request_of(ok).dst == "core"
        if site.outbound:
            flow, = [f for f in phone.state(1)["flows"] if f["role"]
                     == "outbound_proxy"]
            assert flow["state"] == "up"
        t = site.repair(axis, PRIMARY, fault)
        site.wait(site.state(), 8, after=t - 0.001)
    if (row, transport, fault) == ("D1", "tcp", "killed"):
        # nobody listens: that proxy says so at once, in words all understand
        assert lab.wire.sip("INVITE", status=503, src="core", dst="phone")
    assert not [e for e in lab.wire.find(src="phone") if e.dst in
                ("primary", "backup", "reg", "regb") and e.kind == "sip"]


@pytest.mark.lab(hosts=HOSTS)
@parallel
@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("fault", ["killed", "hung"])
def test_the_outbound_proxy_itself(lab, transport, fault):
    """It is the only way: while it is gone the line says so, and afterwards
    it is where it was, with one binding."""
    site = Row(lab, "E1", transport, behind=True, transaction=1)
    phone = site.start()
    if fault == "killed":
        site.outer.kill()
    else:
        site.outer.hang()
    lab.until(lambda: phone.state(1)["service"] == "none", 4)
    assert "NOT REGISTERED" in phone.cmd("aastra_status")
    lab.never(lambda: phone.state(1)["registered"], 1.5, "registered", 0.1)
    t = lab.now()
    if fault == "killed":
        site.outer.start()
    else:
        site.outer.cont()
    # what seemed dead behind it may be held down for a moment
    site.wait(site.state(), 12, after=t)


# ---- without outbound support ---------------------------------------------------


D_ROWS = ("D1", "D2", "D3")


@parallel
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("row", D_ROWS)
def test_no_traffic(lab, row, transport):
    """Without outbound support nothing keeps a flow alive, nothing checks
    it, and the backup hears nothing; a connection that ends is no fault."""
    site = Row(lab, row, transport)
    site.start()
    lab.wire.settle()
    t = lab.now()
    # three times the keep-alive interval of the other rows
    lab.never(lambda: lab.wire.find(src="phone", after=t), 3 * KEEPALIVE_S,
              "the phone says something", 0.1)
    assert not site.requests("OPTIONS")
    backups = {s.host.name for (a, rank), s in site.servers.items()
               if rank == BACKUP}
    assert not [e for e in lab.wire.find(src="phone") if e.dst in backups]
    if transport == "udp":
        return
    for server in site.servers.values():
        lab.phone.reset_tcp("dst", server.host.ip)
    lab.wire.settle()
    lab.never(lambda: site.now() != site.state(), 1, "takes it for a fault",
              0.1)
    t = lab.now()
    site.phone.cmd("reregister")
    site.wait(site.state(), after=t)


@parallel
@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("row", D_ROWS)
def test_primary_first(lab, row, transport):
    """On the backup, a request goes there until the retry time has come; the
    next one tries the primary first. That costs no binding."""
    site = Row(lab, row, transport)
    site.start()
    axis = site.axes[-1]
    away = site.state(**{axis: BACKUP})
    primary, backup = (site.host[axis][r] for r in (PRIMARY, BACKUP))
    t = lab.now()
    site.fail(axis, PRIMARY, "hole")
    site.trigger(axis)
    site.wait(away, after=t)
    with lab.sampler(site.registrars) as seen:
        # at once: not to the primary
        before = lab.now()
        site.phone.cmd("reregister")
        site.wait_200(away, after=before)
        tries = lambda after: lab.wire.find(  # noqa: E731
            src="phone", dst=primary, after=after,
            match=lambda e: not e.again)
        retry_s = RECOVERY_S["D"]
        # the old path is removed there once or twice, if it can be
        lab.wire.wait(lambda: tries(before + 0.3), retry_s + 2)
        assert site.now() == away
        # several of these, and the backup keeps its binding
        lab.until(lambda: len({round(e.t) for e in tries(before)}) > 2,
                  4 * retry_s)
        assert not seen.gaps(usable=lambda b: site.addr(backup) in (
            b["path"] or b["socket"] or ""))
    registers = [e.t for e in site.requests("REGISTER", after=before,
                                            dst=primary) if e.expires]
    gaps = [b - a for a, b in zip(registers, registers[1:])]
    assert all(g > 0.5 * retry_s for g in gaps), gaps
    assert site.now() == away


@pytest.mark.lab(hosts=HOSTS)
@parallel
@pytest.mark.parametrize("dead", ["registrar", "proxy"])
def test_held_where_one_is_dead(lab, dead):
    """Held on the backup while one of the two backups is dead: the other role
    goes there alone, and the dead one follows when it answers."""
    site = Row(lab, "E1", "tcp")
    phone = site.start()
    lives = "proxy" if dead == "registrar" else "registrar"
    site.fail(dead, BACKUP)
    t = lab.now()
    phone.cmd("aastra_failover 1")
    site.wait(site.state(**{lives: BACKUP}), 8, after=t)
    assert phone.state(1)["mode"] == BACKUP
    site.repair(dead, BACKUP)
    site.wait(site.state(BACKUP), 8, after=t)
