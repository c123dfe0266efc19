"""Every row of the failover table, seen on the wire: away from a server that
fails and back again, with the AOR, the registrar and the route that the table
wants, and with exactly one binding left.

By default a sample of the cells; --all-rows runs all of them.
"""

import pytest

from helpers_rows import (AXES, BACKUP, HOSTS, IPS, KEEPALIVE_S, PRIMARY,
                          RECOVERY_S, ROWS, TRANSACTION_S, TRANSPORTS, Row)
from lab.figures import figure
from lab.several import _ahead, ahead, parallel  # noqa: F401 (fixtures)

SLACK_S = 0.6           # two cores, several labs at once
AT_ONCE = 4
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


def cells(every, sample):
    """Parameters of which all but a sample are for --all-rows."""
    return [pytest.param(*c, id="-".join(map(str, c)), marks=()
                         if c in sample else pytest.mark.all_rows)
            for c in dict.fromkeys([*sample, *every])]


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
    rings, = lab.wire.sip("INVITE", request=True, dst="far", after=t)
    last = [e for e in site.requests("INVITE", after=t)
            if e.header("authorization")
            or e.header("proxy-authorization")][-1]
    assert last.dst == site.call_hop(away).name
    assert "100@%s>" % site.aor_host(away) in last.header("from")
    if row[1] != "1":
        assert site.addr(site.hop(away)) in last.header("route")
    site.wait(away, after=t)
    lab.wire.settle()
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
    assert rings.t - t < took


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
        lab.never(lambda: site.sent_to_backup(t), 1, "asks the backup", 0.1)
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
