"""Every row of the failover table, seen on the wire: away from a server that
fails and back again, with the AOR, the registrar and the route that the table
wants, and with exactly one binding left.

By default a sample of the cells; --all-rows runs all of them.
"""

import pytest

from helpers_rows import (BACKUP, HOSTS, IPS, KEEPALIVE_S, PRIMARY,
                          RECOVERY_S, ROWS, TRANSACTION_S, TRANSPORTS, Row)
from lab.figures import figure
from lab.several import _ahead, ahead, parallel  # noqa: F401 (fixtures)

SLACK_S = 0.6           # two cores, several labs at once
AT_ONCE = 4
FAULTS = ("killed", "hung")

SAMPLE = (
    ("E1", "udp", 4, "killed"), ("E1", "tls", 6, "hung"),
    ("E2", "tcp", 4, "hung"), ("E2", "tls", 6, "killed"),
    ("E3", "udp", 6, "hole"), ("E3", "tcp", 6, "killed"),
    ("D1", "tcp", 4, "killed"), ("D1", "udp", 6, "hung"),
    ("D2", "udp", 4, "hung"), ("D2", "tls", 6, "killed"),
    ("D3", "tls", 4, "hung"), ("D3", "tcp", 6, "hole"),
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


EVERY = [(row, tp, ip, fault) for row in ROWS for tp in TRANSPORTS
         for ip in IPS for fault in FAULTS]


@parallel
@pytest.mark.parametrize("row, transport, ip, fault", cells(EVERY, SAMPLE))
def test_there_and_back(lab, row, transport, ip, fault):
    """One cell: each of its axes fails over and comes home."""
    site = Row(lab, row, transport, ip)
    site.start()
    for axis in site.axes:
        figure("rows", **one_axis(site, axis, fault))


def one_axis(site, axis, fault):
    lab = site.lab
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
        n = site.axes.index(axis) + 1
        assert (moves["failovers"], moves["failbacks"]) == (n, n)
    return {
        "row": site.row, "axis": axis, "transport": site.transport,
        "ip": site.ip, "fault": fault, "found": found, "failover": ok.t - t,
        "failback": back.t - t_back,
        "requests_there": there.count("REGISTER"),
        "probes_there": there.count("OPTIONS"),
        "requests_back": home_again.count("REGISTER"),
        "probes_back": home_again.count("OPTIONS"),
    }
