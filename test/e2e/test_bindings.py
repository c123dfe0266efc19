"""What a registrar has of us: never nothing, and nothing that is stale."""

import os
import re

import pytest

from lab.several import _ahead, ahead, parallel  # noqa: F401 (fixtures)
from lab.site import BACKUP, FAST, PRIMARY, Site, live

AT_ONCE = 12            # the labs of this file wait most of the time

# of a real site, a little shorter: what is late has time to do harm
CALM = ("sip_outbound_keepalive_timer 2", "sip_transaction_timer 1000",
        "sip_recovery_base_timer 1", "sip_recovery_max_timer 4")
ROWS = ("E3", "E2")
TRANSPORTS = ("tcp", "udp")
WATCH_S = 40            # longer than Timer F, when a late farewell may come
EVERY_S = 0.05
CLEAN_S = 5             # after a move nothing of ours is stale any more

every_row = pytest.mark.parametrize("row", ROWS)
every_transport = pytest.mark.parametrize("transport", TRANSPORTS)


def watch(lab, registrars, user=100):
    return lab.sampler(registrars, user, every=EVERY_S)


def watch_on(lab, seen):
    """Until WATCH_S after its begin."""
    begin = seen.samples[0].t
    lab.until(lambda: seen.samples[-1].t - begin > WATCH_S, WATCH_S + 5,
              every=0.2)


def never_without(seen):
    """Two registrars are asked one after the other: a move between the two
    questions looks like a gap of one sample, and says_the_wire() decides."""
    assert seen.samples
    assert seen.longest_gap() < (0.01 if len(seen.registrars) == 1
                                 else 3 * EVERY_S), str(seen)
    # an eye that blinks sees nothing
    assert seen.longest_step() < 1.0
    assert sum(s.took < 0.1 for s in seen.samples) > 0.9 * len(seen.samples)


def says_the_wire(lab, user=100):
    """From the first 200 on, one of the phone's bindings was there always:
    the answers, in the order in which the servers sent them.  A binding is
    told by its Call-ID: a farewell may go over another path than its own."""
    asked = {}
    there = set()
    begun = False
    for e in lab.wire.sip("REGISTER", user=user):
        key = (e.call_id, e.cseq)
        if e.request and e.src == "phone":
            asked[key] = e.expires
        elif e.status == 200 and e.dst == "phone" and key in asked:
            if asked[key]:
                there.add(e.call_id)
                begun = True
            else:
                there.discard(e.call_id)
            assert there or not begun, "nothing registered after %r" % e
    assert begun


def clean(site, rank, user=100, timeout=CLEAN_S):
    """In time there is one binding, at that place, and it stays."""
    site.lab.until(lambda: site.only_on(rank, user), timeout,
                   "one binding, on the %s; there is: %s" % (
                       rank, [(r, b["contact"])
                              for r, b in site.bindings(user)]))


# ---- a move and back ------------------------------------------------------


@parallel
@every_transport
@pytest.mark.parametrize("fault", ["killed", "hung", "hole"])
def test_one_at_each_stage(lab, transport, fault):
    """Two edges, one registrar that goes by the user: one live binding at
    each stage, over the right edge, and never none."""
    site = Site(lab, "E3", transport)
    site.start()
    with watch(lab, site.registrars) as seen:
        clean(site, PRIMARY)
        if fault == "killed":
            site.primary.kill()
        elif fault == "hung":
            site.primary.hang()
        else:
            site.primary.host.drop()
        site.wait_on(BACKUP)
        clean(site, BACKUP, timeout=1)
        t = lab.now()
        if fault == "killed":
            site.primary.start()
        elif fault == "hung":
            site.primary.cont()
        else:
            site.primary.host.clear()
        site.wait_on(PRIMARY, after=t)
        clean(site, PRIMARY, timeout=1)
        lab.never(lambda: not site.only_on(PRIMARY), 1.5, "changes", 0.1)
    never_without(seen)
    assert seen.most() <= 2


@parallel
@every_row
@every_transport
def test_another_phone_of_the_user(lab, row, transport):
    """The bindings of somebody else are not ours to touch."""
    site = Site(lab, row, transport)
    others = [lab.baresip(lab.account(via=r.host), host, uuid=uuid)
              for r, host, uuid in zip(
                  site.registrars, (lab.far, lab.regb),
                  ("11111111-1111-1111-1111-111111111111",
                   "22222222-2222-2222-2222-222222222222"))]
    for o in others:
        o.wait_registered()

    def theirs():
        """How many at each registrar."""
        return [sum("10.77.0.10" not in b["contact"] and live(b)
                    for b in r.bindings("100")) for r in site.registrars]

    assert theirs() == [1] * len(site.registrars)
    site.start()
    site.primary.hang()
    site.wait_on(BACKUP)
    t = lab.now()
    site.primary.cont()
    site.wait_on(PRIMARY, after=t)
    site.phone.cmd("aastra_failover 1")
    site.wait_on(BACKUP, after=t)
    assert site.phone.exit() == 0
    lab.wire.settle()
    assert theirs() == [1] * len(site.registrars)


@parallel
@every_row
@every_transport
def test_moves_to_and_fro(lab, row, transport):
    """Ten moves by command: never without, and one at the end."""
    site = Site(lab, row, transport)
    phone = site.start()
    with watch(lab, site.registrars) as seen:
        for _ in range(5):
            t = lab.now()
            phone.cmd("aastra_failover 1")
            site.wait_on(BACKUP, after=t)
            phone.cmd("aastra_failback 1")
            site.wait_on(PRIMARY, after=t)
    clean(site, PRIMARY)
    never_without(seen)
    says_the_wire(lab)


@parallel
@every_row
def test_moves_without_waiting(lab, row):
    """The mind is changed while a move is under way."""
    site = Site(lab, row, "udp")
    phone = site.start()
    with watch(lab, site.registrars) as seen:
        for i in range(20):
            phone.cmd("aastra_failover 1" if i % 2 else "aastra_failback 1")
        phone.cmd("aastra_auto 1")
        lab.wire.settle(0.5)
        lab.until(lambda: site.service() == PRIMARY, 10)
        clean(site, PRIMARY, timeout=10)
    never_without(seen)
    says_the_wire(lab)


# ---- two lines of one user ------------------------------------------------------


@parallel
def test_two_lines_of_one_user(lab):
    """The phone's instance-id is the same for both, so their reg-ids differ
    (RFC 5626 4.2): each has its binding, what one of them does is nothing to
    the other, and after a crash each begins where it was."""
    _, _, reg = lab.edge_pair()
    other = lab.edge(lab.regb, reg)
    phone = lab.baresip(
        [lab.account(via=lab.regb, transport="tcp"),
         lab.account(via=lab.primary, transport="tcp")], aastra=True,
        config=[*FAST, "sip_recovery_base_timer 60",
                "sip_recovery_max_timer 60",
                "sip_backup_outbound_proxy " + lab.backup.ip])

    def on(*ranks):
        lab.until(lambda: [phone.state(n + 1)["service"] for n in
                           range(len(ranks))] == list(ranks), 10,
                  "on the " + ", ".join(ranks))
        lab.until(lambda: sorted(there()) == sorted(
            {(0, PRIMARY): "regb", (1, PRIMARY): "primary"}.get(x, BACKUP)
            for x in enumerate(ranks)), 5, "a binding of each")

    def there():
        return [lab.net.by_ip(re.search(r"sip:(?:[^@>]*@)?([\d.]+)",
                                        b["path"])[1])
                for b in reg.bindings("100") if live(b)]

    on(PRIMARY, PRIMARY)
    other.kill()
    on(BACKUP, PRIMARY)
    phone.kill()
    t = lab.now()
    phone.start()
    on(BACKUP, PRIMARY)
    assert len({e.call_id for e in lab.wire.sip(
        "REGISTER", request=True, src="phone", dst="backup", after=t,
        match=lambda e: e.expires)}) == 1
    phone.cmd("uadel sip:100@pbx.example.com")      # the first one
    lab.until(lambda: there() == ["primary"], 5, "the binding of the other")
    assert phone.state(2)["service"] == PRIMARY
    assert phone.exit() == 0


# ---- never without --------------------------------------------------------


@parallel
@pytest.mark.parametrize("row,transport", [
    ("E3", "tcp"), ("E3", "udp"), ("E2", "udp")])
def test_fifty_refreshes(lab, row, transport):
    """baresip wants the live path to be registered again, 50 times."""
    site = Site(lab, row, transport)
    phone = site.start(reregister=True)
    with watch(lab, site.registrars) as seen:
        lab.until(lambda: seen.samples)
        for n in range(50):
            t = lab.now()
            phone.cmd("reregister")
            site.wait_200(PRIMARY, after=t)
        for n in range(50):         # and without waiting for the answers
            phone.cmd("reregister")
        watch_on(lab, seen)
    never_without(seen)
    assert seen.most() == 1
    assert not site.farewells()
    assert site.only_on(PRIMARY)


HOLES = [(seconds, what) for seconds in (5, 8, 15, 30)
         for what in ("both ways", "answers lost")] + [
    (8, "no backup"), (30, "no backup"), (8, "E2"), (30, "E2")]


@parallel
@pytest.mark.parametrize("seconds,what", HOLES)
def test_udp_black_hole(lab, seconds, what):
    """A path swallows everything, or the answers alone, for a while; a
    REGISTER is under way when it begins, and another when it ends."""
    site = Site(lab, "E2" if what == "E2" else "E3", "udp", CALM,
                keys=[] if what == "no backup" else None)
    phone = site.start(reregister=True)
    with watch(lab, site.registrars) as seen:
        lab.until(lambda: seen.samples)
        t = lab.now()
        lab.primary.drop("out" if what == "answers lost" else "both", "udp",
                         peer=lab.phone)
        phone.cmd("reregister")
        lab.until(lambda: lab.now() - t > seconds - 0.3, seconds + 1)
        phone.cmd("reregister")
        lab.until(lambda: lab.now() - t > seconds, 1, every=0.01)
        lab.primary.clear()
        watch_on(lab, seen)
    never_without(seen)
    assert site.service() == PRIMARY
    clean(site, PRIMARY, timeout=1)


# ---- nothing stale --------------------------------------------------------


@parallel
@every_transport
@pytest.mark.parametrize("fault", ["hung", "hole"])
def test_left_behind_and_back(lab, transport, fault):
    """Locations apart. The primary that fell silent still has our binding;
    after the way home all is as it was."""
    site = Site(lab, "E2", transport)
    site.start()
    silence(site, fault)
    site.wait_on(BACKUP)
    assert site.backup.bindings("100")
    t = lab.now()
    silence_end(site, fault)
    site.wait_on(PRIMARY, after=t)
    clean(site, PRIMARY)
    assert site.backup.bindings("100") == []


def silence(site, fault):
    if fault == "hung":
        site.primary.hang()
    else:
        site.primary.host.drop(peer=site.lab.phone)


def silence_end(site, fault):
    if fault == "hung":
        site.primary.cont()
    else:
        site.primary.host.clear()


@parallel
@every_transport
@every_row
@pytest.mark.parametrize("fault", ["hung", "hole"])
@pytest.mark.parametrize("held_by", ["command", "policy"])
def test_left_behind_and_held(lab, row, transport, fault, held_by):
    """The same, but the line stays on the backup: what the primary has of it
    is removed when it can be reached again."""
    config = [*FAST, "sip_failback_policy %s" % (
        "manual" if held_by == "policy" else "auto")]
    site = Site(lab, row, transport, config)
    phone = site.start()
    silence(site, fault)
    site.wait_on(BACKUP)
    if held_by == "command":
        phone.cmd("aastra_failover 1")
    silence_end(site, fault)
    lab.until(lambda: site.flow(PRIMARY)["state"] == "up", 4)
    clean(site, BACKUP)
    lab.never(lambda: not site.only_on(BACKUP), 1, "changes", 0.1)
    assert site.service() == BACKUP


@parallel
@every_transport
@every_row
def test_refresh_under_way(lab, row, transport):
    """A refresh waits in the socket of a hung primary, and is done when that
    goes on, after the line has left."""
    site = Site(lab, row, transport)
    phone = site.start(reregister=True)
    t = lab.now()
    site.primary.hang()
    phone.cmd("reregister")
    lab.wire.wait(lambda: site.registers(PRIMARY, after=t))
    site.wait_on(BACKUP, after=t)
    phone.cmd("aastra_failover 1")
    site.primary.cont()
    lab.until(lambda: site.flow(PRIMARY)["state"] == "up", 4)
    lab.wire.settle()
    clean(site, BACKUP)
    assert site.service() == BACKUP
    t = lab.now()
    phone.cmd("aastra_auto 1")
    site.wait_on(PRIMARY, after=t)
    clean(site, PRIMARY)


@parallel
@every_transport
def test_registrar_hangs(lab, transport):
    """Both edges live, the registrar behind them is frozen: what was sent
    meanwhile is taken up all at once, and one binding is left."""
    site = Site(lab, "E3", transport)
    phone = site.start(reregister=True)
    t = lab.now()
    site.reg.hang()
    phone.cmd("reregister")
    lab.wire.wait(lambda: site.registers(BACKUP, after=t))
    lab.until(lambda: lab.now() - t > 4, 5)
    assert len(site.registers(after=t)) <= 30
    t = lab.now()
    site.reg.cont()
    site.wait_on(PRIMARY, 10, after=t)
    clean(site, PRIMARY)
    lab.never(lambda: not site.only_on(PRIMARY), 2, "changes", 0.1)


@parallel
@pytest.mark.parametrize("code", [403, 404, 503])
def test_refused_and_then_dead(lab, code):
    """A refresh was refused: that took nothing away at the registrar. Then
    the edge dies, and the old binding has to go."""
    site = Site(lab, "E3")
    phone = site.start(reregister=True)
    site.primary.respond("REGISTER", code)
    t = lab.now()
    phone.cmd("reregister")
    lab.wire.wait_sip("REGISTER", status=code, dst="phone", after=t)
    if code != 503:
        assert site.only_on(PRIMARY)
    site.primary.kill()
    site.wait_on(BACKUP, after=t)
    clean(site, BACKUP)


@parallel
@every_transport
@every_row
@pytest.mark.parametrize("stage", ["primary", "backup", "back", "held"])
def test_exit(lab, row, transport, stage):
    """Whenever the phone ends in order, nothing of it is left."""
    site = Site(lab, row, transport)
    phone = site.start()
    t = lab.now()
    if stage == "held":
        phone.cmd("aastra_failover 1")
        site.wait_on(BACKUP, after=t)
    elif stage != "primary":
        site.primary.kill()
        site.wait_on(BACKUP)
    if stage == "back":
        t = lab.now()
        site.primary.start()
        site.wait_on(PRIMARY, after=t)
    t = lab.now()
    assert phone.exit(timeout=3) == 0
    assert lab.now() - t < 2
    lab.until(lambda: not site.bindings(), 1, "nothing left")


@parallel
@every_transport
@every_row
@pytest.mark.parametrize("stage", ["primary", "backup"])
def test_crash(lab, row, transport, stage):
    """A phone that crashed and is back has one binding."""
    site = Site(lab, row, transport)
    crash(site, stage)
    t = lab.now()
    site.phone.start()
    site.wait_on(PRIMARY, after=t)
    clean(site, PRIMARY)


@parallel
@every_transport
@every_row
def test_crash_and_backup_silent(lab, row, transport):
    """The same, and the backup, where it was, is silent when it starts
    again."""
    site = Site(lab, row, transport)
    crash(site, BACKUP)
    site.backup.hang()
    t = lab.now()
    site.phone.start()
    site.wait_on(PRIMARY, after=t)
    site.backup.cont()
    clean(site, PRIMARY)


def crash(site, stage):
    """Kill the phone in that stage, with both servers well."""
    lab = site.lab
    phone = site.start()
    if stage == BACKUP:
        site.primary.hang()
        site.wait_on(BACKUP)
    # what a phone knows of itself is written a moment later
    lab.until(lambda: kept_rank(phone) == stage, 5, "kept where the line is")
    phone.kill()
    if stage == BACKUP:
        site.primary.cont()


def kept_rank(phone):
    """The outbound proxy in force of line 1, as the phone has it in a file
    for its next start."""
    with open(os.path.join(phone.dir, "aastra_servers")) as f:
        m = re.search(r"^sip:100@\S+ (\d)", f.read(), re.M)
    return {"1": PRIMARY, "2": BACKUP}[m[1]]
