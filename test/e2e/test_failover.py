"""A line leaves a server that fails, and comes back: rows E3 (backup outbound
proxy alone) and E2 (backup outbound proxy, proxy and registrar)."""

import statistics

import pytest

from lab.pace import slack
from lab.several import _ahead, ahead, parallel  # noqa: F401 (fixtures)
from lab.site import (BACKUP, FAST, FOUND_S, KEEPALIVE_S, PRIMARY,
                      TRANSACTION_MS, Site, contact, param)

ROWS = ("E3", "E2")
TRANSPORTS = ("tcp", "udp")
SLACK_S = slack(0.5)    # on top of the timers, for finding a fault
AT_ONCE_S = 0.5         # for what is seen without any timer
HOME_S = 4.0            # to be back: a probe each second, and one time-out

every_row = pytest.mark.parametrize("row", ROWS)
every_transport = pytest.mark.parametrize("transport", TRANSPORTS)


def other(rank):
    return BACKUP if rank == PRIMARY else PRIMARY


# ---- the flow to the primary ----------------------------------------------


@parallel
@every_transport
@every_row
def test_established(lab, row, transport):
    """OPTIONS and REGISTER share one connection, the REGISTER says all that
    RFC 5626 wants, and the backup is left in peace."""
    site = Site(lab, row, transport)
    phone = site.start()
    lab.wire.settle()

    first, second = site.registers()
    for e in (first, second):
        assert param(e, "reg-id") == "1"
        assert param(e, "+sip.instance") == "<urn:uuid:%s>" % phone.uuid
        assert {x.strip() for x in e.header("supported").split(",")} \
            >= {"outbound", "path"}
        assert e.uri == "sip:pbx.example.com"
        assert "<sip:100@pbx.example.com>" in e.header("to")
    assert not first.header("authorization")
    assert second.header("authorization")

    options = lab.wire.sip("OPTIONS", request=True, src="phone")
    assert options and {e.sport for e in options} == {first.sport}
    if transport == "tcp":
        assert len(lab.wire.find(kind="syn", src="phone")) == 1
    assert not site.sent(BACKUP)

    state = phone.state(1)
    assert state["scenario"] == {"E3": "outbound-proxy", "E2": "all"}[row]
    assert (state["outbound"], state["mode"], state["registered"]) \
        == (True, "auto", True)
    assert state["aor"] == "sip:100@pbx.example.com"
    assert site.flow(PRIMARY)["state"] == "up"
    assert site.flow(BACKUP)["state"] == "idle"
    assert site.history_events() == ["registered"]
    assert site.only_on(PRIMARY)


@parallel
@every_transport
def test_keepalives(lab, transport):
    """A flow is checked at 80 to 100 % of the interval (RFC 5626 4.4)."""
    site = Site(lab, "E3", transport)
    site.start()

    def checks():
        found = (lab.wire.find(kind="ping", src="phone")
                 if transport == "tcp" else
                 lab.wire.sip("OPTIONS", request=True, src="phone"))
        return len(found) > 4 and found
    seen = lab.wire.wait(checks, 6)
    gaps = [b.t - a.t for a, b in zip(seen[1:], seen[2:])]
    # the answer to a CRLF is looked for after the transaction timer
    extra = TRANSACTION_MS / 1000 if transport == "tcp" else 0
    assert all(0.8 * KEEPALIVE_S - 0.02 <= g <= KEEPALIVE_S + extra + 0.1
               for g in gaps), gaps
    assert site.flow(PRIMARY)["keepalive"] \
        == {"tcp": "crlf", "udp": "stun"}[transport]
    assert len(site.registers()) == 2


# ---- the primary fails ----------------------------------------------------


def refuse_and_restart(site):
    """It comes back, but a packet filter refuses all new connections."""
    site.primary.host.reject("tcp-reset")
    site.primary.restart()


# what happens to the primary, and how it is undone
FAULTS = {
    "killed": (lambda s: s.primary.kill(), lambda s: s.primary.start()),
    "reset": (lambda s: s.primary.kill(reset=True),
              lambda s: s.primary.start()),
    "refused": (refuse_and_restart, lambda s: s.primary.host.clear()),
    "hung": (lambda s: s.primary.hang(), lambda s: s.primary.cont()),
    "hole": (lambda s: s.primary.host.drop(),
             lambda s: s.primary.host.clear()),
    "hole-in": (lambda s: s.primary.host.drop("in"),
                lambda s: s.primary.host.clear()),
    "hole-out": (lambda s: s.primary.host.drop("out"),
                 lambda s: s.primary.host.clear()),
}
# ICMP tells of a server that is gone when it is checked next
FOUND_AFTER = {("killed", "tcp"): 0, ("reset", "tcp"): 0,
               ("refused", "tcp"): 0, ("killed", "udp"): KEEPALIVE_S}
CASES = [(row, transport, fault)
         for row in ROWS for transport in TRANSPORTS for fault in FAULTS
         if (transport == "tcp" or fault not in ("reset", "refused"))
         and (row == "E3" or fault in ("killed", "hung", "hole"))]


@parallel
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_there_and_back(lab, case):
    row, transport, fault = case
    fail, repair = FAULTS[fault]
    site = Site(lab, row, transport)
    phone = site.start()

    # there
    at_home, = [contact(e) for e in site.registers()
                if e.header("authorization")]
    t = lab.now()
    fail(site)
    took = site.wait_on(BACKUP, FOUND_S + 2, only=row == "E3", after=t) - t
    assert took < FOUND_AFTER.get((fault, transport), FOUND_S) + SLACK_S
    check_on_backup(lab, site, at_home, t)

    # probed in the background, while the binding stays where it is
    assert lab.wire.wait(lambda: site.sent(
        PRIMARY, after=site_200(site, BACKUP, t).t), 3)
    if row == "E3":
        assert site.only_on(BACKUP)

    # and back
    t = lab.now()
    repair(site)
    took = site.wait_on(PRIMARY, HOME_S, only=True, after=t) - t
    lab.wire.settle()
    check_way_home(lab, site, t)

    state = phone.state(1)
    assert (state["service"], state["registered"]) == (PRIMARY, True)
    assert state["aor"] == "sip:100@pbx.example.com"
    assert (state["counters"]["failovers"], state["counters"]["failbacks"]) \
        == (1, 1)
    assert site.history_events() == ["registered", "flow-down", "failover",
                                     "flow-up", "failback"]
    assert all(h["reason"] for h in site.history()[1:])


def site_200(site, rank, after):
    return site.wait_200(rank, after=after)


def check_on_backup(lab, site, at_home, t):
    """What the wire and the status say of a line on its backup."""
    regs = site.registers(BACKUP, after=t)
    host = site.domain(BACKUP)
    for e in regs:
        assert param(e, "reg-id") == "2"
        assert param(e, "+sip.instance") \
            == "<urn:uuid:%s>" % site.phone.uuid
        assert contact(e) != at_home
        assert e.uri == "sip:" + host
        assert "<sip:100@%s>" % host in e.header("to")
        assert "<sip:100@%s>" % host in e.header("from")
    assert regs[-1].header("authorization")
    options = lab.wire.sip("OPTIONS", request=True, src="phone",
                           dst="backup", after=t)
    assert {e.sport for e in options} == {regs[0].sport}
    if site.transport == "tcp":
        assert len(lab.wire.find(kind="syn", src="phone", dst="backup",
                                 after=t)) == 1

    state = site.phone.state(1)
    assert (state["service"], state["registered"]) == (BACKUP, True)
    assert state["active"]["outbound_proxy"] == BACKUP
    assert state["active"]["registrar"] \
        == (BACKUP if site.row == "E2" else PRIMARY)
    assert state["aor"] == "sip:100@" + host
    assert state["reg_id"] == 2
    assert state["counters"]["failovers"] == 1
    assert site.flow(BACKUP)["state"] == "up"
    assert site.flow(PRIMARY)["state"] == "down"
    assert site.flow(PRIMARY)["error"]
    assert site.history_events() == ["registered", "flow-down", "failover"]
    assert site.phone.reginfo()["sip:100@" + host][0] == "OK"


def check_way_home(lab, site, t):
    """Registered on the primary first, then unregistered from the backup,
    then the backup's flow is closed."""
    home = site.wait_200(PRIMARY, after=t)
    farewell = lab.wire.wait(lambda: site.farewells(BACKUP, after=t), 2,
                             "the farewell to the backup")
    assert min(e.t for e in farewell) > home.t
    assert all(param(e, "reg-id") == "2" for e in farewell)
    done = lab.wire.wait_sip("REGISTER", status=200, src="backup",
                             dst="phone", after=farewell[0].t)
    if site.transport == "tcp":
        fin = lab.wire.wait_kind("fin", src="phone", dst="backup", after=t)
        assert fin.t > done.t
        assert not lab.wire.find(kind="rst", src="phone", dst="backup",
                                 after=t)
    lab.until(lambda: site.flow(BACKUP)["state"] == "idle", 2,
              "the backup's flow is closed")
    # libre goes on to send what it has of a cancelled request over UDP: as
    # empty lines; and the phone of a busy machine, which has not read the
    # answer yet, may look at the backup as it did before
    assert not site.sent(BACKUP, after=done.t + 0.1, match=lambda e: not (
        e.kind in ("fin", "rst") or e.proto == "udp" and e.kind == "ping"))


@parallel
@every_row
def test_probes_leave_the_backup_alone(lab, row):
    """Whatever is done about the primary, the line on the backup registers
    no more often than once."""
    site = Site(lab, row)
    site.start()
    site.primary.host.drop()
    t = site.wait_on(BACKUP, 4)
    with lab.sampler(site.registrars) as seen:
        lab.wire.wait(lambda: len(lab.wire.find(
            kind="syn", src="phone", dst="primary", after=t)) > 3, 8)
        assert not seen.gaps(usable=lambda b: b["reg_id"] == 2)
    assert not site.registers(after=t)
    assert site.service() == BACKUP


# ---- a server that answers, but is out of order ---------------------------


@parallel
@pytest.mark.parametrize("code", [408, 430, 500, 502, 503, 504])
def test_failure_answer_at_start(lab, code):
    site = Site(lab, "E3", "udp" if code in (408, 500) else "tcp")
    site.primary.respond("REGISTER", code)
    site.start(BACKUP)
    no = lab.wire.wait_sip("REGISTER", status=code, dst="phone")
    assert site.wait_200(BACKUP).t - no.t < AT_ONCE_S
    assert str(code) in site.flow(PRIMARY)["error"]
    assert site.flow(PRIMARY)["retry_in_ms"] > 0
    # tried again, and in vain: the backup keeps the line
    lab.wire.wait(lambda: len(site.registers(PRIMARY)) > 1, 3)
    lab.wire.settle()
    assert site.service() == BACKUP and site.only_on(BACKUP)

    t = lab.now()
    site.primary.clear_responses()
    site.wait_on(PRIMARY, HOME_S, only=True, after=t)
    check_way_home(lab, site, t)


@parallel
@every_row
@pytest.mark.parametrize("code", [408, 430, 500, 503])
def test_failure_answer_to_a_refresh(lab, row, code):
    """The line moves, and what it leaves behind is cleared."""
    site = Site(lab, row)
    phone = site.start(reregister=True)
    site.primary.respond("REGISTER", code)
    t = lab.now()
    phone.cmd("reregister")
    site.wait_on(BACKUP, 2, only=row == "E3", after=t)
    assert site.history_events()[-1] == "failover"
    assert str(code) in site.history()[-1]["reason"]
    t = lab.now()
    site.primary.clear_responses()
    site.wait_on(PRIMARY, HOME_S, only=True, after=t)


@parallel
def test_failure_answer_to_options(lab):
    """503 to the keep-alive, with Retry-After: nothing at all is sent to the
    primary before."""
    site = Site(lab, "E3", "udp")
    site.start()
    site.primary.respond("OPTIONS", 503, retry_after=3)
    no = lab.wire.wait_sip("OPTIONS", status=503, dst="phone")
    site.primary.clear_responses()
    site.wait_on(BACKUP, after=no.t)
    assert 1500 < site.flow(PRIMARY)["retry_in_ms"] <= 3000
    back = lab.wire.wait(lambda: site.sent(PRIMARY, after=no.t), 5)[0]
    assert 2.99 <= back.t - no.t < 3.5
    site.wait_on(PRIMARY, only=True, after=back.t)


@parallel
@every_row
def test_retry_after(lab, row):
    """503 with Retry-After to REGISTER: not asked to register sooner."""
    site = Site(lab, row)
    site.primary.respond("REGISTER", 503, retry_after=3)
    site.start(BACKUP)
    no = lab.wire.wait_sip("REGISTER", status=503, dst="phone")
    site.primary.clear_responses()
    again = lab.wire.wait(lambda: site.registers(PRIMARY, after=no.t), 5)[0]
    assert 2.99 <= again.t - no.t < 3.5
    site.wait_on(PRIMARY, only=True, after=no.t)


@parallel
@every_transport
def test_silent_to_register(lab, transport):
    """OPTIONS is answered, REGISTER is not: the backup has the line, and
    trying again costs a bounded number of requests."""
    site = Site(lab, "E3", transport)
    site.primary.respond("REGISTER", 0)
    site.start(BACKUP)
    assert site.wait_200(BACKUP).t - site.registers()[0].t \
        < TRANSACTION_MS / 1000 + AT_ONCE_S
    t = lab.now()
    lab.never(lambda: site.service() != BACKUP, 3, "leaves the backup", 0.1)
    tries = {e.cseq for e in site.registers(PRIMARY, after=t)}
    assert 0 < len(tries) <= 6
    site.primary.clear_responses()
    site.wait_on(PRIMARY, HOME_S, only=True, after=lab.now())


@parallel
def test_registrar_refuses_everywhere(lab):
    """503 by the registrar behind both edges: no storm, and registered when
    it is good again."""
    site = Site(lab, "E3")
    site.reg.respond("REGISTER", 503)
    site.start(rank=None)
    t = lab.now()
    lab.wire.wait(lambda: site.registers(BACKUP), 2)
    lab.never(lambda: site.phone.state(1)["registered"], 4, "registered",
              0.1)
    # two servers, a try each 0.5 to 1 s
    assert 4 <= len(site.registers()) <= 24
    assert "NOT REGISTERED" in site.phone.cmd("aastra_status")
    # a proxy hands 503 on as 500 (RFC 3261 16.7)
    assert "500" in site.phone.cmd("aastra_status")
    site.reg.clear_responses()
    # a line that has used up what it may send waits for two more of them
    site.wait_on(PRIMARY, HOME_S + 20, only=True, after=t)


# ---- what is no failure of the server -------------------------------------


@parallel
@every_row
@pytest.mark.parametrize("no", [403, 404, 603, "wrong password"])
def test_no_failover(lab, row, no):
    """Told no, the line says so and stays, without a storm."""
    site = Site(lab, row)
    if no == "wrong password":
        code, limit = 401, 2
        site.phone = phone = lab.baresip(
            lab.account(via=lab.primary, transport="tcp").replace(
                "secret100", "wrong"), aastra=True, config=site.config)
    else:
        code, limit = no, 1
        site.primary.respond("REGISTER", code)
        phone = site.start(rank=None, reregister=True)
    lab.wire.wait_sip("REGISTER", status=code, dst="phone")
    lab.until(lambda: str(code) in phone.cmd("aastra_status"), 2,
              "the status shows %d" % code)
    phone.wait_event("REGISTER_FAIL", match=lambda e: str(code) in e.param)
    lab.never(lambda: site.sent(BACKUP), 2.5, "the backup is asked", 0.1)
    assert len(site.registers()) == limit
    state = phone.state(1)
    assert (state["registered"], state["service"]) == (False, "none")
    assert state["active"]["outbound_proxy"] == PRIMARY
    assert state["counters"]["failovers"] == 0
    assert site.flow(PRIMARY)["state"] == "up"
    if no == "wrong password":
        return
    site.primary.clear_responses()
    phone.cmd("reregister")
    site.wait_on(PRIMARY, only=True)


@parallel
@pytest.mark.parametrize("code", [403, 404])
def test_refused_refresh(lab, code):
    """A refresh that is refused takes the line out of service, on the
    server where it is."""
    site = Site(lab, "E3")
    phone = site.start(reregister=True)
    site.primary.respond("REGISTER", code)
    t = lab.now()
    phone.cmd("reregister")
    lab.until(lambda: str(code) in phone.cmd("aastra_status"), 2)
    assert site.service() == "none"
    phone.wait_event("REGISTER_FAIL", after=t)
    lab.never(lambda: site.sent(BACKUP), 1.5, "the backup is asked", 0.1)
    assert len(site.registers(after=t)) == 1
    site.primary.clear_responses()
    phone.cmd("reregister")
    site.wait_on(PRIMARY, only=True, after=t)


# ---- the way back ---------------------------------------------------------


@parallel
@every_transport
def test_failback_delay(lab, transport):
    """The primary has to be good for so long, without a break."""
    delay = 2
    site = Site(lab, "E3", transport,
                config=[*FAST, "sip_failback_delay %d" % delay])
    site.start()
    site.primary.kill()
    site.wait_on(BACKUP)

    # up for a moment only: that does not count
    t = lab.now()
    site.primary.start()
    lab.until(lambda: site.flow(PRIMARY)["state"] == "up", 4)
    site.primary.kill()
    lab.until(lambda: site.flow(PRIMARY)["state"] == "down", 4)
    assert not site.registers(PRIMARY, after=t)

    t = lab.now()
    site.primary.start()
    up = lab.wire.wait_sip("OPTIONS", status=200, src="primary", dst="phone",
                           after=t)
    home = lab.wire.wait(lambda: site.registers(PRIMARY, after=t), 5)[0]
    assert delay - 0.01 <= home.t - up.t < delay + 0.3
    site.wait_on(PRIMARY, only=True, after=t)


@parallel
@pytest.mark.parametrize("policy", ["manual", "auto", "idle"])
def test_failback_policy(lab, policy):
    """manual: only by command. auto, idle: by itself."""
    site = Site(lab, "E3",
                config=[*FAST, "sip_failback_policy " + policy])
    site.start()
    site.primary.kill()
    site.wait_on(BACKUP)
    t = lab.now()
    site.primary.start()
    if policy == "manual":
        lab.until(lambda: site.flow(PRIMARY)["state"] == "up", 4)
        lab.never(lambda: site.service() != BACKUP, 1.5, "goes back", 0.1)
        t = lab.now()
        site.phone.cmd("aastra_failback 1")
    site.wait_on(PRIMARY, HOME_S, only=True, after=t)
    check_way_home(lab, site, t)


@parallel
@every_transport
def test_backoff(lab, transport):
    """RFC 5626 4.5: the wait doubles up to the maximum, and 50 to 100 % of
    it is taken by chance. Four lines with a dead primary each."""
    base, most, tries = 1, 4, 5
    users = {100 + i: 5071 + i for i in range(4)}
    lab.edge(lab.backup, lab.registrar())
    if transport == "udp":
        # else ICMP says at once what is wrong; ARP is answered
        lab.primary.drop("in", "udp")
    phone = lab.baresip(
        [lab.account(u, via=lab.primary, transport=transport, port=port)
         for u, port in users.items()], aastra=True, config=[
             "sip_backup_outbound_proxy " + lab.backup.ip,
             "sip_transaction_timer 500",
             "sip_recovery_base_timer %d" % base,
             "sip_recovery_max_timer %d" % most])
    timeout = 0 if transport == "tcp" else 0.5

    def attempts(port):
        if transport == "tcp":
            return [e.t for e in lab.wire.find(kind="syn", src="phone",
                                               dst="primary", port=port)]
        first = {}
        for e in lab.wire.sip("OPTIONS", request=True, src="phone",
                              dst="primary", port=port):
            first.setdefault(e.call_id, e.t)
        return list(first.values())

    lab.wire.wait(lambda: all(len(attempts(p)) >= tries
                              for p in users.values()), 20)
    shares = []
    for port in users.values():
        times = attempts(port)[:tries]
        for n, (a, b) in enumerate(zip(times, times[1:])):
            wait = b - a - timeout
            limit = min(most, base * 2 ** n)
            shares.append(wait / limit)
            assert 0.5 * limit - 0.02 <= wait <= limit + 0.15, (
                port, n, wait)
    assert max(shares) - min(shares) > 0.1, shares
    for n in range(1, 5):
        assert phone.state(n)["service"] == BACKUP
    assert 0.6 < statistics.mean(shares) < 0.9, shares


@parallel
@every_transport
def test_probe_command(lab, transport):
    """aastra_probe does not wait for the timer."""
    site = Site(lab, "E3", transport, config=[
        *[x for x in FAST if "recovery" not in x],
        "sip_recovery_base_timer 600"])
    site.start()
    site.primary.kill()
    site.wait_on(BACKUP)
    site.primary.start()
    assert site.flow(PRIMARY)["retry_in_ms"] > 200000
    t = lab.now()
    site.phone.cmd("aastra_probe 1")
    assert site.wait_on(PRIMARY, 2, only=True, after=t) - t < AT_ONCE_S


@parallel
@every_row
@pytest.mark.parametrize("command", ["aastra_failback 1", "aastra_auto 1"])
def test_command_does_not_wait(lab, row, command):
    """Who presses a button does not wait for a timer of half an hour."""
    site = Site(lab, row, config=[
        *[x for x in FAST if "recovery" not in x],
        "sip_recovery_base_timer 600"])
    site.start()
    site.primary.kill()
    site.wait_on(BACKUP)
    site.primary.start()
    t = lab.now()
    site.phone.cmd(command)
    assert site.wait_on(PRIMARY, 2, only=True, after=t) - t < AT_ONCE_S


# ---- by command -----------------------------------------------------------


@parallel
@every_transport
@every_row
def test_held(lab, row, transport):
    """aastra_failover, aastra_failback and aastra_auto move a line without
    a gap; a held line whose server is dead says so and stays."""
    site = Site(lab, row, transport)
    phone = site.start()

    t = lab.now()
    phone.cmd("aastra_failover 1")
    there = site.wait_on(BACKUP, only=True, after=t)
    farewell = lab.wire.wait(lambda: site.farewells(PRIMARY, after=t), 2)
    assert farewell[0].t > there
    assert phone.state(1)["mode"] == BACKUP
    assert site.history_events()[-2:] == ["forced", "failover"]
    lab.never(lambda: site.service() != BACKUP, 1.2, "moves by itself", 0.1)

    # dead, and held there
    t = lab.now()
    site.backup.kill()
    lab.until(lambda: site.service() == "none", FOUND_S + 1,
              "out of service")
    text = phone.cmd("aastra_status")
    assert "NOT REGISTERED" in text and "held on the backup" in text
    lab.never(lambda: site.registers(PRIMARY, after=t), 1.2, "moves", 0.1)
    assert phone.state(1)["active"]["outbound_proxy"] == BACKUP
    site.backup.start()
    site.wait_on(BACKUP, HOME_S, only=True, after=t)

    # the primary is good: free again, it goes home without a gap
    t = lab.now()
    phone.cmd("aastra_auto 1")
    site.wait_on(PRIMARY, only=True, after=t)
    check_way_home(lab, site, t)
    assert phone.state(1)["mode"] == "auto"


@parallel
@every_row
def test_held_on_the_primary(lab, row):
    site = Site(lab, row)
    phone = site.start()
    site.primary.kill()
    site.wait_on(BACKUP)

    # wanted on a dead primary: the binding that there is stays
    t = lab.now()
    phone.cmd("aastra_failback 1")
    lab.never(lambda: site.service() != BACKUP, 1, "gives its binding up",
              0.1)
    assert phone.state(1)["mode"] == PRIMARY
    site.primary.start()
    site.wait_on(PRIMARY, HOME_S, only=True, after=t)
    check_way_home(lab, site, t)

    t = lab.now()
    site.primary.kill()
    lab.until(lambda: site.service() == "none", 1, "out of service")
    assert "held on the primary" in phone.cmd("aastra_status")
    lab.never(lambda: site.registers(BACKUP, after=t), 1.2, "moves", 0.1)
    t = lab.now()
    phone.cmd("aastra_auto 1")
    assert site.wait_on(BACKUP, after=t) - t < AT_ONCE_S


# ---- nothing answers ------------------------------------------------------


@parallel
@every_row
@pytest.mark.parametrize("first", [PRIMARY, BACKUP])
def test_both_dead(lab, row, first):
    """Stays on the last one, keeps trying both, takes the first that
    answers."""
    site = Site(lab, row)
    phone = site.start()
    site.primary.kill()
    site.wait_on(BACKUP)
    t = lab.now()
    site.backup.kill()
    lab.until(lambda: site.service() == "none", 1)
    for rank in (PRIMARY, BACKUP):
        lab.wire.wait(lambda: len(lab.wire.find(
            kind="syn", src="phone", dst=rank, after=t)) > 2, 4,
            "the %s is tried" % rank)
    state = phone.state(1)
    assert (state["registered"], state["active"]["outbound_proxy"]) \
        == (False, BACKUP)
    assert "NOT REGISTERED" in phone.cmd("aastra_status")
    assert len(lab.wire.find(kind="syn", src="phone", after=t)) <= 30

    t = lab.now()
    site.server[first].start()
    site.wait_on(first, 3, only=True, after=t)
    if first == BACKUP:
        t = lab.now()
        site.primary.start()
        site.wait_on(PRIMARY, 3, only=True, after=t)


@parallel
@every_transport
@pytest.mark.parametrize("first", [PRIMARY, BACKUP])
def test_both_dead_at_start(lab, transport, first):
    site = Site(lab, "E3", transport)
    site.primary.kill()
    site.backup.kill()
    phone = site.start(rank=None)
    phone.wait_event("REGISTER_FAIL", timeout=4)
    assert phone.state(1)["registered"] is False
    t = lab.now()
    site.server[first].start()
    site.wait_on(first, 4, only=True, after=t)


# ---- at start -------------------------------------------------------------


@parallel
@every_row
@pytest.mark.parametrize("case", ["tcp-refused", "tcp-hole", "udp-refused",
                                  "udp-hole", "tcp-hung", "udp-hung"])
def test_start_without_primary(lab, row, case):
    """Refused: on the backup within 1 s; silent: within the transaction
    timer and 1 s."""
    transport, fault = case.split("-")
    timer = 1.5
    site = Site(lab, row, transport, config=[
        *[x for x in FAST if "transaction" not in x],
        "sip_transaction_timer %d" % (timer * 1000)])
    if fault == "refused":
        site.primary.kill()
    elif fault == "hung":
        site.primary.hang()
    else:
        site.primary.host.drop()
    site.start(BACKUP)
    took = site.wait_200(BACKUP).t - site.phone.proc.started
    story = [h for h in site.phone.state(1)["history"]
             if h["event"] == "failover"]
    assert story and story[0]["reason"], story
    if fault == "refused":
        assert took < 1.0
    else:
        assert timer < took < timer + 1.0

    t = lab.now()
    if fault == "refused":
        site.primary.start()
    elif fault == "hung":
        site.primary.cont()
    else:
        site.primary.host.clear()
    site.wait_on(PRIMARY, HOME_S, only=True, after=t)


# ---- how it is configured -------------------------------------------------


SPELLINGS = ("global-guide", "global-baresip", "line-guide", "line-baresip")


def spelled(spelling, name, value):
    where, style = spelling.split("-")
    words = ["sip"] + ["line1"] * (where == "line") + name.split()
    return ("%s: %s" % (" ".join(words), value) if style == "guide"
            else "%s %s" % ("_".join(words), value))


@parallel
@every_row
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_keys(lab, row, spelling):
    """The keys of a backup, in one spelling and at one place."""
    values = {"backup outbound proxy": lab.backup.ip,
              "backup outbound proxy port": 5070}
    if row == "E2":
        values |= {"backup proxy ip": lab.backup.ip,
                   "backup proxy port": 5070,
                   "backup registrar ip": lab.backup.ip,
                   "backup registrar port": 5070}
    keys = [spelled(spelling, name, value) for name, value in values.items()]
    if row == "E3":
        reg = lab.registrar()
        primary = lab.edge(lab.primary, reg)
        lab.edge(lab.backup, reg, SIP_PORT=5070)
    else:
        primary = lab.combined(lab.primary)
        lab.combined(lab.backup, SIP_PORT=5070)
    phone = lab.baresip(lab.account(via=lab.primary, transport="tcp"),
                        aastra=True, config=[*keys, *FAST])
    lab.until(lambda: phone.state(1)["service"] == PRIMARY, 5)
    assert phone.state(1)["scenario"] \
        == {"E3": "outbound-proxy", "E2": "all"}[row]
    t = lab.now()
    primary.kill()
    lab.until(lambda: phone.state(1)["service"] == BACKUP, 3)
    ok = lab.wire.wait_sip("REGISTER", status=200, src="backup", after=t)
    assert ok.sport == 5070
    assert ok.t - t < AT_ONCE_S


@parallel
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_primary_by_key(lab, spelling):
    """An account without outbound: the primary is named by keys as well."""
    site = Site(lab, "E3", keys=[], config=[
        spelled(spelling, "outbound proxy", lab.primary.ip),
        spelled(spelling, "outbound proxy port", 5060),
        spelled(spelling, "backup outbound proxy", lab.backup.ip), *FAST])
    site.phone = lab.baresip(lab.account(transport="tcp"), aastra=True,
                             config=site.config)
    site.wait_on(PRIMARY)
    site.primary.kill()
    site.wait_on(BACKUP, only=True)


@parallel
def test_backup_of_one_line(lab):
    """Line 2 alone has a backup; line 1 waits for its primary."""
    site = Site(lab, users=[100, 101],
                keys=["sip_line2_backup_outbound_proxy " + lab.backup.ip])
    phone = site.start()
    assert [x["scenario"] for x in phone.state()["lines"]] \
        == ["none", "outbound-proxy"]
    t = lab.now()
    site.primary.kill()
    lab.until(lambda: site.service(2) == BACKUP, 2)
    assert site.only_on(BACKUP, 101)
    # without a backup there is no outbound support, unless it is asked for
    assert phone.state(1)["outbound"] is False
    lab.wire.settle()
    assert not site.registers(BACKUP, user=100)
    site.primary.start()
    site.wait_on(PRIMARY, HOME_S, only=True, after=t)


@parallel
def test_two_lines_share_a_flow(lab):
    """One connection to a server, whoever uses it."""
    site = Site(lab, users=[100, 101, 102])
    phone = site.start()

    def one_connection(rank, after):
        lab.wire.settle()
        regs = site.registers(rank, after=after)
        assert {e.user for e in regs} == {"100", "101", "102"}
        assert len({e.sport for e in regs}) == 1
        assert len(lab.wire.find(kind="syn", src="phone", dst=rank,
                                 after=after)) == 1
    one_connection(PRIMARY, 0)
    t = lab.now()
    site.primary.kill()
    site.wait_on(BACKUP, only=True, after=t)
    one_connection(BACKUP, t)

    # one line that still needs it keeps the flow open
    t = lab.now()
    site.primary.start()
    site.wait_on(PRIMARY, HOME_S, only=True, after=t)
    phone.cmd("aastra_failover 2")
    lab.until(lambda: site.service(2) == BACKUP, 2)
    lab.until(lambda: site.only_on(BACKUP, 101), 2)
    assert site.service(1) == site.service(3) == PRIMARY
    t = lab.now()
    site.backup.kill()
    lab.until(lambda: site.service(2) == "none", 1)
    assert site.service(1) == site.service(3) == PRIMARY
    assert not [e for e in site.registers(PRIMARY, after=t)]


# ---- the figures ----------------------------------------------------------


def distribution(name, values):
    """One line for people: the figures of a run."""
    v = sorted(1000 * x for x in values)
    return "%s: n=%d min %.1f median %.1f p95 %.1f max %.1f ms" % (
        name, len(v), v[0], statistics.median(v),
        v[max(0, round(0.95 * len(v)) - 1)], v[-1])


def test_kill_figures(lab, capsys):
    """E3 on TCP, primary killed: the registrar has the binding over the
    backup after 50 ms (median of 20), and never later than 500 ms."""
    site = Site(lab, "E3")
    found = []
    for _ in range(4):
        # a line that fails over again and again holds back: five times each
        phone = site.start()
        for _ in range(5):
            t = lab.now()
            site.primary.kill()
            ok = lab.wire.wait_sip("REGISTER", status=200, src="reg",
                                   dst="backup", after=t,
                                   match=lambda e: e.expires)
            found.append(ok.t - t)
            site.wait_on(BACKUP, only=True, after=t)
            t = lab.now()
            site.primary.start()
            phone.cmd("aastra_probe 1")
            phone.cmd("aastra_failback 1")
            site.wait_on(PRIMARY, only=True, after=t)
            phone.cmd("aastra_auto 1")
        counters = phone.state(1)["counters"]
        assert (counters["failovers"], counters["failbacks"]) == (5, 5)
        phone.exit()
    with capsys.disabled():
        print("\n" + distribution("E3, TCP, killed: kill to binding", found))
    assert statistics.median(found) <= 0.050, found
    assert max(found) <= 0.500, found


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_hang_figures(lab, capsys, transport):
    """Primary hung, at some moment between two checks: found within
    keep-alive interval, transaction timer and 500 ms."""
    timer = 1.0
    limit = KEEPALIVE_S + timer + SLACK_S
    site = Site(lab, "E3", transport, config=[
        *[x for x in FAST if "transaction" not in x],
        "sip_transaction_timer %d" % (1000 * timer)])
    found = []
    for part in (0.0, 0.3, 0.6):
        phone = site.start()
        t = lab.now()
        check = lab.wire.wait(lambda: lab.wire.find(
            lambda e: e.kind == "pong" or e.sip and e.method == "OPTIONS"
            and e.status == 200, dst="phone", after=t))[-1]
        lab.until(lambda: lab.now() - check.t > part, 2, every=0.005)
        t = lab.now()
        site.primary.hang()
        found.append(site.wait_on(BACKUP, 4, only=True, after=t) - t)
        site.primary.cont()
        phone.exit()
    with capsys.disabled():
        print("\n" + distribution("E3, %s, hung: hang to binding"
                                  % transport.upper(), found))
    assert max(found) <= limit
    assert max(found) > timer
