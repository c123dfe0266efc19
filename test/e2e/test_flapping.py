"""Servers that come and go, refuse, hang or swallow everything, at any time,
also at the start: what it costs is bounded, and the line is soon where it
belongs.

By default a sample of the cells; --all-rows runs all of them.
"""

import os
import re

import pytest

from helpers_rows import (BACKUP, PRIMARY, ROWS, TRANSPORTS, Row, cells)
from lab.figures import figure
from lab.pace import slack
from lab.several import _ahead, ahead, parallel  # noqa: F401 (fixtures)

AT_ONCE = 5             # nearly all of it is waiting
SLACK_S = slack(0.6)
AT_ONCE_S = 1.0         # for what is seen without any timer
HOME_S = 10

# ---- up and down ----------------------------------------------------------------


EVERY_S = 3
FOR_S = 120
MOVES = 6
REGISTERS = 30


@parallel
@pytest.mark.parametrize("row, transport, fault, last", cells(
    [("E3", "tcp", "killed", PRIMARY), ("E2", "udp", "hole", PRIMARY),
     ("D3", "tcp", "killed", PRIMARY), ("E1", "udp", "killed", BACKUP)],
    [("E3", "tcp", "killed", PRIMARY)]))
def test_up_and_down(lab, row, transport, fault, last):
    """The primary goes down and comes up every 3 s, for 2 minutes."""
    # without keep-alive, frequent refreshes are what meets the dead server
    site = Row(lab, row, transport, config=["sip_registration_period 4",
                                            "sip_registration_renewal_timer 1"]
               if row[0] == "D" else [])
    phone = site.start()
    axis = site.axes[-1]
    t = lab.now()
    first = len(site.requests("REGISTER"))
    up = True
    n = 0
    while lab.now() - t < FOR_S:
        if up:
            site.fail(axis, PRIMARY, fault)
        else:
            site.repair(axis, PRIMARY, fault)
        up = not up
        n += 1
        # sleep without drift: this is a pace, not a wait for something
        due = t + n * EVERY_S
        lab.until(lambda: lab.now() >= due, EVERY_S + 1, every=0.05)
    counters = phone.state(1)["counters"]
    moves = counters["failovers"] + counters["failbacks"]
    sent = [e for e in site.requests("REGISTER", after=t)]
    if up == (last == BACKUP):
        if up:
            site.fail(axis, PRIMARY, fault)
        else:
            site.repair(axis, PRIMARY, fault)
    t_end = lab.now()
    want = site.state(**{axis: last})
    if site.outbound:
        lab.until(lambda: site.now() == want and site.only(want), HOME_S,
                  "ends on the " + last)
    else:
        # nothing watches the primary: the line stays away, longer each time
        lab.until(lambda: site.now() and site.only(site.now()), HOME_S,
                  "one binding")
    figure("flapping", row=row, transport=transport, fault=fault,
           moves=moves, registers=len(sent), settled=lab.now() - t_end)
    if site.outbound:
        assert moves <= MOVES, phone.cmd("aastra_history")
        assert first + len(sent) <= REGISTERS
    else:
        # away for 5, 10, 20 and 40 s; and one refresh every 2 to 3 s, which
        # is what was asked for
        assert moves <= 2 * MOVES, phone.cmd("aastra_history")
        assert len(sent) <= REGISTERS + FOR_S / 2


# ---- refusing -------------------------------------------------------------------


STORM_S = 20
BURST, PER_MINUTE = 10, 20


@parallel
@pytest.mark.parametrize("row, transport, what", cells(
    [("E3", "udp", "both"), ("E2", "tcp", "both"), ("E1", "udp", "both"),
     ("D2", "udp", "both"), ("E3", "tcp", "retry-after"),
     ("E3", "udp", "now and then")],
    [("E3", "udp", "both"), ("D2", "udp", "both"),
     ("E3", "tcp", "retry-after")]))
def test_refusing(lab, row, transport, what):
    """503 to everything, by both servers: a bounded number of requests; with
    Retry-After none before that."""
    site = Row(lab, row, transport)
    phone = site.start()
    servers = list(site.server[site.axes[-1]].values())

    def refuse(how):
        for s in servers:
            for method in ("REGISTER", "OPTIONS"):
                s.respond(method, 503, retry_after=how)

    refuse(15 if what == "retry-after" else None)
    t = lab.now()
    phone.cmd("reregister")
    if what == "now and then":
        # it looks good for a second, every second second
        for n in range(STORM_S):
            due = t + n + 1
            lab.until(lambda: lab.now() >= due, 2, every=0.05)
            if n % 2:
                refuse(None)
            else:
                for s in servers:
                    s.clear_responses()
    else:
        due = t + STORM_S
        lab.until(lambda: lab.now() >= due, STORM_S + 1, every=0.1)
    registers = site.requests("REGISTER", after=t)
    options = site.requests("OPTIONS", after=t)
    figure("refusing", row=row, transport=transport, what=what,
           seconds=STORM_S, registers=len(registers), options=len(options))
    # an exchange may take two requests, and what a server has is removed
    assert len(registers) <= 2 * (BURST + PER_MINUTE * STORM_S / 60) + 4
    assert len(options) <= 2 * len(site.servers) * STORM_S
    if what == "retry-after":
        for s in servers:
            no = lab.wire.sip(status=503, src=s.host, after=t)[0]
            early = site.requests(after=no.t + 0.05, dst=s.host,
                                  before=no.t + 14.99)
            assert not early, early
    for s in servers:
        s.clear_responses()
    t = lab.now()
    if what != "retry-after":
        lab.until(lambda: site.now() is not None, HOME_S, "registered")


# ---- silence ---------------------------------------------------------------------


TRANSACTION_S = 2


def by_refresh(site, t):
    site.phone.cmd("reregister")


def by_call(site, t):
    site.phone.dial("299")


def by_keepalive(site, t):
    """By itself."""


SILENCE = {"refresh": (by_refresh, 60), "call": (by_call, 60),
           "keep-alive": (by_keepalive, 1)}


@parallel
@pytest.mark.parametrize("transport, how, fault", cells(
    [(transport, how, fault) for transport in TRANSPORTS for how in SILENCE
     for fault in ("hole", "hung")],
    [("tcp", "refresh", "hole"), ("tcp", "keep-alive", "hole"),
     ("tcp", "call", "hung"), ("tls", "keep-alive", "hung"),
     ("tls", "call", "hole"), ("udp", "refresh", "hung")]))
def test_silence(lab, transport, how, fault):
    """A server that swallows everything is found within the transaction
    timer and a second after the first byte that stays unanswered; its
    connection is closed, and the next one is a new one."""
    wake, keepalive = SILENCE[how]
    site = Row(lab, "E3", transport, transaction=TRANSACTION_S, config=[
        "sip_outbound_keepalive_timer %d" % keepalive])
    site.start()
    ports = {e.sport for e in lab.wire.find(src="phone", dst="primary")}
    t = lab.now()
    site.fail("outbound_proxy", PRIMARY, fault)
    wake(site, t)

    def unanswered():
        return [e for e in lab.wire.find(src="phone", dst="primary", after=t)
                if e.kind not in ("fin", "rst")]
    first = lab.wire.wait(unanswered, 3)[0]
    found = site.first_to(lab.backup, after=first.t)
    ok = site.wait(site.state(BACKUP), after=t)
    assert found.t - first.t < TRANSACTION_S + 1
    assert ok.t - found.t < SLACK_S
    figure("silence", transport=transport, fault=fault, how=how,
           timer=TRANSACTION_S, found=found.t - first.t)
    if transport == "udp":
        return
    # closed, not merely forgotten; if only a REGISTER was not answered, after
    # one question more

    def closed():
        conns = lab.phone.run("ss", "-t", "-n", "state", "established")
        return not [p for p in ports if ":%d " % p in conns]
    lab.until(closed, TRANSACTION_S + 1, "the dead connection is closed")
    # the retry: a new connection
    again = lab.wire.wait(lambda: lab.wire.find(
        kind="syn", src="phone", dst="primary", after=found.t), 4)[0]
    assert again.sport not in ports
    t = site.repair("outbound_proxy", PRIMARY, fault)
    site.wait(site.state(), HOME_S, after=t)
    if transport == "tcp":      # over TLS, it reads what it missed
        used = {e.sport for e in site.requests("REGISTER", after=t,
                                               dst=lab.primary) if e.expires}
        assert not used & ports


@parallel
@pytest.mark.parametrize("kind", ["in", "out"])
def test_half_a_hole(lab, kind):
    """What is sent arrives and no answer does, or the other way round."""
    site = Row(lab, "E3", "tcp", transaction=TRANSACTION_S)
    site.start()
    t = lab.now()
    lab.primary.drop(kind)
    found = site.first_to(lab.backup, after=t)
    first = [e for e in lab.wire.find(src="phone", dst="primary", after=t)][0]
    assert found.t - first.t < TRANSACTION_S + 1
    lab.primary.clear()


# ---- at the start ------------------------------------------------------------------


@parallel
@pytest.mark.parametrize("row, transport, fault", cells(
    [(row, transport, fault) for row in ROWS for transport in ("udp", "tcp")
     for fault in ("killed", "hole")],
    # for E2 and E3, test_failover.py has them all
    [("E1", "tcp", "killed"), ("E1", "udp", "hole"), ("D1", "tcp", "hole"),
     ("D2", "tcp", "killed"), ("D3", "udp", "hole")]))
def test_start(lab, row, transport, fault):
    """The primary is dead already. Refused: on the backup within a second.
    Swallowed: within the transaction timer and a second."""
    site = Row(lab, row, transport, transaction=TRANSACTION_S)
    axis = site.axes[-1]
    site.fail(axis, PRIMARY, fault)
    phone = site.start(wait=False)
    want = site.state(**{axis: BACKUP})
    ok = site.wait(want, TRANSACTION_S + 4)
    took = ok.t - phone.proc.started
    figure("start", row=row, transport=transport, fault=fault,
           timer=TRANSACTION_S, took=took)
    if fault == "hole":
        assert took < TRANSACTION_S + 1
    elif site.outbound or transport == "tcp":
        assert took < AT_ONCE_S
    else:
        # nothing listens for ICMP there
        assert took < TRANSACTION_S + 1


@parallel
@pytest.mark.parametrize("row, transport", cells(
    [(row, transport) for row in ROWS for transport in ("udp", "tcp")],
    [("E1", "udp"), ("E2", "tcp"), ("E3", "tcp"), ("D1", "tcp"),
     ("D2", "udp"), ("D3", "tcp")]))
def test_start_and_back(lab, row, transport):
    """Swallowed at the start, back after 3 s, with the default transaction
    timer of 4 s: registered on the primary without a second time-out."""
    timer = 4
    site = Row(lab, row, transport, transaction=timer)
    axis = site.axes[-1]
    site.fail(axis, PRIMARY, "hole")
    phone = site.start(wait=False)
    due = phone.proc.started + 3
    lab.until(lambda: lab.now() >= due, 4, every=0.01)
    t = site.repair(axis, PRIMARY, "hole")
    ok = site.wait(site.state(), 6, after=t)
    took = ok.t - phone.proc.started
    figure("start_and_back", row=row, transport=transport, timer=timer,
           back=t - phone.proc.started, took=took)
    assert took < 3 + timer
    # whatever was not answered had been sent before
    lost = [e for e in site.requests(after=t, dst=site.hop(site.state()))
            if not lab.wire.sip(e.method, request=False, call_id=e.call_id,
                                match=lambda a: a.cseq == e.cseq)]
    assert not lost, lost


# ---- restarted in the middle of an outage --------------------------------------------


def remembered(phone, axis):
    """The rank of an axis in the file that outlives a restart."""
    with open(os.path.join(phone.dir, "aastra_servers")) as f:
        fields = re.search(r"^sip:100@.*", f.read(), re.M)[0].split()
    at = 1 + ("outbound_proxy", "proxy", "registrar").index(axis)
    return ("none", PRIMARY, BACKUP)[int(fields[at])]


WARM = [(row, transport, end)
        for row, transport in (("E1", "tcp"), ("E2", "udp"), ("E3", "tcp"),
                               ("D1", "udp"), ("D3", "tcp"))
        for end in ("crash", "end", "end at once")]
WARM.append(("E3", "tcp", "crash at once"))


@parallel
@pytest.mark.parametrize("row, transport, end", cells(WARM, WARM[::4] + WARM[-1:]))
def test_warm_restart(lab, row, transport, end):
    """The phone is switched off and on: it starts with the live server, and
    still comes home."""
    # without outbound support the primary's retry time has to survive
    retry_s = 1 if row[0] == "E" else 8
    site = Row(lab, row, transport, transaction=TRANSACTION_S, config=[
        "sip_recovery_base_timer %d" % retry_s,
        "sip_recovery_max_timer %d" % retry_s])
    phone = site.start()
    axis = site.axes[-1]
    away = site.state(**{axis: BACKUP})
    site.fail(axis, PRIMARY, "hole")
    site.trigger(axis)
    site.wait(away, TRANSACTION_S + 4)
    if not end.endswith("at once"):
        lab.until(lambda: remembered(phone, axis) == BACKUP, 3,
                  "written down")
    if end.startswith("crash"):
        phone.kill()
    else:
        assert phone.exit() == 0
    t = lab.now()
    phone.start()
    # without outbound support nobody can tell that the binding of a phone that
    # has crashed was this one's, nor one where no farewell could get through
    only = site.outbound or "end" in end and bool(site.core)
    ok = site.wait(away, TRANSACTION_S + 4, after=t, only=only)
    took = ok.t - phone.proc.started
    assert took < AT_ONCE_S
    figure("warm", row=row, transport=transport, end=end, took=took)

    t = site.repair(axis, PRIMARY, "hole")
    site.wait(site.state(), retry_s + 5, after=t, only=only)


@parallel
def test_warm_restart_of_two(lab):
    """Two lines of one user over servers of their own: what the one remembers
    is nothing to the other."""
    registrar = lab.registrar()
    for host in lab.primary, lab.backup:
        lab.edge(host, registrar)
    phone = lab.baresip(
        [lab.account(via=lab.regb), lab.account(via=lab.primary)],
        aastra=True, config=[
            "sip_backup_outbound_proxy " + lab.backup.ip,
            "sip_outbound_support 0", "sip_transaction_timer 1000",
            "sip_recovery_base_timer 60", "sip_recovery_max_timer 60"])

    def where():
        return [phone.state(n)["service"] for n in (1, 2)]

    lab.until(lambda: where() == [BACKUP, PRIMARY], 10, "where they can be")
    assert phone.exit() == 0
    t = lab.now()
    phone.start()
    lab.until(lambda: where() == [BACKUP, PRIMARY], 10, "there again")
    for line, host in (1, "backup"), (2, "primary"):
        tried = [e["event"] for e in phone.state(line)["history"]
                 if e["event"] in ("failover", "failback")]
        assert len(tried) == (2 if line == 1 else 0), (line, tried)
    assert not lab.wire.sip("REGISTER", request=True, src="phone", dst="regb",
                            after=t, match=lambda e: e.expires)
    assert phone.exit() == 0


@parallel
@pytest.mark.parametrize("what", ["rubbish", "old", "another line", "empty"])
def test_cold_restart(lab, what):
    """What cannot be used is as good as nothing: the primary comes first."""
    site = Row(lab, "E3", "tcp", config=["sip_recovery_base_timer 60",
                                         "sip_recovery_max_timer 60"])
    phone = site.start()
    site.fail("outbound_proxy", PRIMARY)
    site.wait(site.state(BACKUP))
    path = os.path.join(phone.dir, "aastra_servers")
    lab.until(lambda: remembered(phone, "outbound_proxy") == BACKUP, 3,
              "written down")
    phone.kill()
    with open(path) as f:
        text = f.read()
    changed = {
        "rubbish": "\0\xff" * 500,
        "old": re.sub(r"\b(1\d{12})\b", lambda m: str(
            int(m[1]) - 25 * 3600 * 1000), text),
        "another line": text.replace("sip:100@", "sip:111@"),
        "empty": "",
    }[what]
    assert changed != text
    with open(path, "w") as f:
        f.write(changed)
    site.repair("outbound_proxy", PRIMARY)
    t = lab.now()
    phone.start()
    site.wait(site.state(), after=t, only=False)
    assert not [e for e in site.requests("REGISTER", after=t)
                if e.expires and e.dst == "backup"]


# ---- many lines ------------------------------------------------------------------------


LINES = 60
PER_SECOND, AT_FIRST = 50, 10
CALLER = 140


@parallel
@pytest.mark.parametrize("row, transport", cells(
    [("E3", "tcp"), ("E2", "udp"), ("D3", "tcp")], [("E3", "tcp")]))
def test_many_lines(lab, row, transport):
    """One flow for all; after a move their registrations are spread, the line
    with a call at once, and the others from the lowest number on."""
    users = list(range(100, 100 + LINES))
    # "auto": that line shall come home with the others
    site = Row(lab, row, transport, users=users,
               config=["sip_failback_policy auto"])
    phone = site.start(wait=False, extra="answermode=auto")
    lab.until(lambda: all_registered(site, site.state()), 20, "all lines")
    check_spread(site, site.state())
    if transport == "tcp" and site.outbound:
        assert len(lab.wire.find(kind="syn", src="phone",
                                 dst="primary")) == 1
    far = None
    if row[1] == "3":
        far = lab.far_phone(lab.reg)
        far.dial("sip:%d@pbx.example.com" % CALLER)
        phone.wait_call("incoming")
    lab.wire.settle()
    t = lab.now()
    site.fail("outbound_proxy", PRIMARY)
    site.trigger("outbound_proxy")
    away = site.state(BACKUP)
    registered = lab.until(lambda: all_registered(site, away, t), 20,
                           "all lines on the backup")
    caller = CALLER if far else None
    begun = check_spread(site, away, t, caller)
    if transport == "tcp":
        assert len(lab.wire.find(kind="syn", src="phone", dst="backup",
                                 after=t)) == 1
    figure("many", row=row, transport=transport, lines=LINES,
           first=min(registered.values()) - t,
           last=max(registered.values()) - t, spread=begun[-1] - begun[0])

    t = site.repair("outbound_proxy", PRIMARY)
    lab.until(lambda: all_registered(site, site.state(), t), 25,
              "all lines home")
    check_spread(site, site.state(), t, caller)
    for user in (users[0], users[-1]):
        lab.until(lambda: site.only(site.state(), user), 8,
                  "one binding of %d" % user)


def all_registered(site, state, after=0.0):
    """{user: when it got its 200}, once all have one."""
    done = {}
    for e in site.lab.wire.sip("REGISTER", status=200, dst="phone",
                               src=site.hop(state), after=after,
                               match=lambda e: e.expires):
        done.setdefault(int(e.user), e.t)
    return len(done) == len(site.users) and done


def check_spread(site, state, after=0.0, caller=None):
    """Returns when each line began, in order. caller: user who need not wait
    for a turn."""
    begun = {}
    for e in site.requests("REGISTER", after=after, dst=site.hop(state)):
        if e.expires:
            begun.setdefault(int(e.user), e.t)
    times = sorted(begun.values())
    for i, t in enumerate(times):
        within = [x for x in times[i:] if x < t + 1]
        # and what the clock of two cores does to them
        assert len(within) <= PER_SECOND + AT_FIRST + 4, len(within)
    order = sorted(begun, key=lambda u: begun[u])
    if caller:
        # its turn would come after 0.6 s
        assert begun[caller] - times[0] < 0.3
        order.remove(caller)
    # neighbours may have been sent by the same tick of the clock
    rest = [u for u in site.users if u != caller]
    assert all(abs(at - rest.index(user)) <= 3
               for at, user in enumerate(order)), order
    return times
