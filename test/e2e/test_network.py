"""The phone's own network: cables, addresses, address translators, and what
ICMP tells. The line recovers when the network does: all timers of these tests
are far longer than the tests may last.

By default a sample of the cells; --all-rows runs all of them.
"""

import base64
import re

import pytest

from helpers_rows import BACKUP, KEEPALIVE_S, PRIMARY, Row, cells
from lab.fake import usual
from lab.figures import figure, held
from lab.pace import slack
from lab.preload import Clock
from lab.several import _ahead, ahead, parallel  # noqa: F401 (fixtures)
from lab.site import contact
from test_hostile import phone_of

AT_ONCE = 5
SLACK_S = slack(1.0)
CALM_S = 120            # no timer of these runs out within a test
TRANSACTION_S = 2
MANY = 150
BACK_S = 5              # the kernel's ARP may take some of it
CALM = ["sip_outbound_keepalive_timer %d" % CALM_S,
        "sip_recovery_base_timer %d" % CALM_S,
        "sip_recovery_max_timer %d" % CALM_S]
NEW_IP = "10.77.0.50", "10.77.0.51"
NEW_IP6 = "fd77::50", "fd77::51"


def calm(lab, row, transport, ip=4, **kw):
    return Row(lab, row, transport, ip, transaction=TRANSACTION_S,
               config=CALM, **kw)


# ---- cables ---------------------------------------------------------------------


E_ROWS = [(row, transport, at) for row in ("E1", "E2", "E3")
          for transport in ("udp", "tcp", "tls") for at in ("switch", "host")]


@parallel
@pytest.mark.parametrize("row, transport, at", cells(E_ROWS, [
    ("E3", "tcp", "switch"), ("E2", "udp", "host"), ("E1", "tcp", "host"),
    ("E3", "udp", "switch")]))
def test_cable(lab, row, transport, at):
    """The phone's cable is pulled: that is found out at once, and when it is
    plugged in again the line is back on its primary, and nobody has waited
    for more than the kernel's ARP."""
    site = calm(lab, row, transport)
    phone = site.start()
    t = lab.now()
    lab.phone.link("down", at=at)
    lab.until(lambda: not phone.state(1)["registered"],
              2 * TRANSACTION_S + SLACK_S, "knows that it is cut off")
    assert "NOT REGISTERED" in phone.cmd("aastra_status")
    found = lab.now() - t
    t = lab.now()
    lab.phone.link("up", at=at)
    lab.until(lambda: site.now() == site.state(), BACK_S, "on the primary")
    figure("cable", row=row, transport=transport, at=at, found=found,
           back=lab.now() - t)
    lab.until(lambda: site.only(site.state()), 5, "one binding")


@parallel
@pytest.mark.parametrize("row, transport", cells(
    [(row, tp) for row in ("E1", "E2", "E3") for tp in ("udp", "tcp", "tls")],
    [("E3", "tcp"), ("E2", "udp")]))
def test_cable_for_a_moment(lab, row, transport):
    """Out and in again at once: the binding is what it was, and no server is
    left for it."""
    site = calm(lab, row, transport)
    phone = site.start()
    t = lab.now()
    lab.phone.link("down")
    lab.until(lambda: "NO-CARRIER" in lab.phone.run("ip", "link"), 2,
              "its kernel knows")
    lab.phone.link("up")
    # it looks, and is content
    lab.wire.wait_sip("OPTIONS", 2 * TRANSACTION_S, status=200, dst="phone",
                      src=site.hop(site.state()), after=t)
    lab.wire.settle()
    assert site.now() == site.state() and site.only(site.state())
    assert phone.state(1)["counters"]["failovers"] == 0
    assert not [e for e in site.requests("REGISTER", after=t)]


# ---- addresses -------------------------------------------------------------------


def move_house(lab, ip, n=0):
    """As a DHCP client does it: the old lease ends, and there is another."""
    # (the wire log knows a host by its address from then on)
    if ip == 6:
        lab.phone.del_address(lab.phone.ip6, 64)
        lab.phone.ip6 = NEW_IP6[n]
        lab.phone.add_address(lab.phone.ip6, 64)
    else:
        lab.phone.del_address(lab.phone.ip)
        lab.phone.ip = NEW_IP[n]
        lab.phone.add_address(lab.phone.ip)


def check_only(site, state, ip):
    """One binding, from the new address. Without an instance-id a registrar
    cannot know that the old one was this phone's: it is told."""
    lab = site.lab
    lab.until(lambda: site.only(state), 5, "one binding")
    lab.until(lambda: [site.target(state).name] == [
        name for name, b in site.bindings() if ip in b["contact"]], 5,
        "bound from " + ip)


@parallel
@pytest.mark.parametrize("row, transport, ip", cells(
    [(row, tp, 4) for row in ("E1", "E2", "E3", "D1", "D2", "D3")
     for tp in ("udp", "tcp")] + [("E3", "tls", 4), ("E3", "tcp", 6)],
    [("E3", "tcp", 4), ("E2", "udp", 4), ("D3", "udp", 4), ("E1", "tcp", 4)]))
def test_new_address(lab, row, transport, ip):
    """The phone has another address, and then another one: it registers from
    there, with a Contact that says so, on the same server, and the old one is
    forgotten."""
    site = calm(lab, row, transport, ip)
    phone = site.start()
    for n in range(2):
        old = lab.phone.ip if ip == 4 else lab.phone.ip6
        t = lab.now()
        move_house(lab, ip, n)
        new = lab.phone.ip if ip == 4 else lab.phone.ip6
        ok = site.wait_200(site.state(), 5, after=t)
        took = ok.t - t
        figure("new address", row=row, transport=transport, ip=ip, took=took)
        assert took < SLACK_S
        request = site.request_of(ok)
        assert new in contact(request) and old not in contact(request)
        lab.until(lambda: site.now() == site.state(), 3, "on the primary")
        check_only(site, site.state(), new)
    assert phone.state(1)["counters"]["failovers"] == 0


@parallel
def test_one_contact_only(lab):
    """A registrar that takes no more than one Contact in a request: without
    an instance-id the old one stays, and the line is registered."""
    def one(r):
        if len(r.headers.get("contact", ())) > 1:
            return r.answer(400, "One Contact only")
        return usual(r)

    phone, _ = phone_of(lab, [one, one], "udp", ["sip_outbound_support 0"])
    lab.until(lambda: phone.state(1)["registered"], 5, "registered")
    t = lab.now()
    move_house(lab, 4)
    lab.wire.wait_sip("REGISTER", 5, status=400, dst="phone", after=t)
    lab.wire.wait_sip("REGISTER", 5, status=200, dst="phone", after=t)
    lab.until(lambda: phone.state(1)["registered"], 5, "registered again")


@parallel
@pytest.mark.parametrize("row, transport", cells(
    [(row, tp) for row in ("E1", "E2", "E3", "D3") for tp in ("udp", "tcp")],
    [("E3", "udp"), ("D3", "tcp")]))
def test_new_address_on_the_backup(lab, row, transport):
    """The same while the primary is dead: the line stays on its backup."""
    site = calm(lab, row, transport)
    site.start()
    axis = site.axes[-1]
    away = site.state(**{axis: BACKUP})
    site.fail(axis, PRIMARY)
    if transport == "udp" and site.outbound:
        site.phone.cmd("reregister")        # nothing else looks for so long
    site.trigger(axis)
    site.wait(away, TRANSACTION_S + 3)
    t = lab.now()
    move_house(lab, 4)
    ok = site.wait_200(away, 5, after=t)
    # without keep-alive, what was known of the primary is void, too
    assert ok.t - t < SLACK_S + (0 if site.outbound else TRANSACTION_S)
    check_only(site, away, lab.phone.ip)


@parallel
@pytest.mark.parametrize("row, transport", cells(
    [(row, tp) for row in ("E1", "E3") for tp in ("udp", "tcp")],
    [("E3", "udp"), ("E1", "tcp")]))
def test_host_sleeps(lab, row, transport):
    """The lid was closed for two hours: no connection broke that could tell,
    and the registrar's binding is gone. The line registers as soon as it
    runs."""
    clock = Clock(lab)
    site = Row(lab, row, transport)
    phone = site.start(env=clock.env)
    for server in site.registrars:
        server.remove_bindings("100")
    t = lab.now()
    clock.sleep(7200)
    ok = site.wait_200(site.state(), 10, after=t)
    assert ok.t - t < SLACK_S + 2 * KEEPALIVE_S
    lab.until(lambda: site.only(site.state()), 5, "one binding")
    assert phone.state(1)["counters"]["failovers"] == 0
    assert phone.exit() == 0


@parallel
@pytest.mark.parametrize("row", ["E3", "D3"])
def test_many_wake_up(lab, row):
    """All lines of a phone are late when the host wakes up; they register one
    after the other all the same, as at the start."""
    clock = Clock(lab)
    site = Row(lab, row, "tcp", users=range(100, 100 + MANY))
    phone = site.start(env=clock.env)
    lab.until(lambda: phone.state()["lines"][-1]["service"] == "primary",
              20, "all registered")
    t = lab.now()
    clock.sleep(7200)

    def late():
        return {e.headers["call-id"][0]: e.t for e in lab.wire.sip(
            "REGISTER", request=True, src="phone", after=t)}
    lab.until(lambda: len(late()) >= MANY, 20, "all have registered")
    times = sorted(late().values())
    span = times[-1] - times[0]
    # at 50 a second, whether refreshed or registered over a new connection
    assert span > (MANY - 10) / 50 * 0.8
    # libre 1.x takes the connection for two hours old, and closes it with what
    # was sent a moment before
    lab.never(lambda: sum(x["counters"]["failovers"]
                          for x in phone.state()["lines"]),
              max(0.1, TRANSACTION_S + 0.5 - span), "fails over")
    lab.until(lambda: all(x["registered"] for x in
                          phone.state()["lines"]), 10, "all in service")
    held("Wake-up", row + ", %d lines" % MANY, span_ms=1000 * span)


@parallel
@pytest.mark.parametrize("row", cells([("D1",), ("D2",), ("D3",)], [("D3",)]))
def test_connection_is_gone_after_sleep(lab, row):
    """Nobody keeps the connection, and the server has given it up while the
    host slept: the first REGISTER finds that out, and the line registers over
    a new one."""
    clock = Clock(lab)
    site = Row(lab, row, "tcp")
    phone = site.start(env=clock.env)
    host = site.target(site.state())
    host.drop("out")
    clock.sleep(7200)
    site.server[site.axes[-1]][PRIMARY].restart()
    host.clear()
    t = lab.now()
    phone.cmd("reregister")
    site.wait_200(site.state(), 10, after=t)
    lab.until(lambda: site.now() == site.state(), 5, "on the primary")
    assert phone.state(1)["counters"]["failovers"] == 0


@parallel
@pytest.mark.parametrize("row, transport", cells(
    [(row, tp) for row in ("E1", "E2", "E3") for tp in ("udp", "tcp", "tls")],
    [("E3", "tcp")]))
def test_clock_is_set(lab, row, transport):
    """A host without a clock of its own learns what time it is when the phone
    runs already: what libre 1.x closes then, since it takes it for a day old,
    no server has failed for."""
    clock = Clock(lab)
    site = Row(lab, row, transport)
    phone = site.start(env=clock.env)
    clock.put(86400)
    lab.never(lambda: phone.state(1)["counters"]["failovers"], 3,
              "fails over")
    lab.until(lambda: site.now() == site.state(), 5, "on the primary")
    lab.until(lambda: site.only(site.state()), 5, "one binding")
    # and what fails later is seen as ever
    site.fail(site.axes[-1], PRIMARY)
    lab.until(lambda: phone.state(1)["counters"]["failovers"], 5,
              "fails over")


@parallel
@pytest.mark.parametrize("row", cells([("E1",), ("E3",)], [("E3",)]))
def test_without_ipv4(lab, row):
    """A phone that has IPv6 alone says so in all its requests, in brackets
    (RFC 3261 25.1)."""
    site = Row(lab, row, "tcp", 6)
    lab.phone.del_address(lab.phone.ip)
    site.start()
    lab.wire.wait_sip("OPTIONS", status=200, dst="phone")
    said = [e.header(name) for e in site.requests()
            for name in ("from", "via", "contact") if e.header(name)]
    assert any("aastra@" in x for x in said)
    assert all(lab.phone.ip not in x for x in said)
    assert all("[%s]" % lab.phone.ip6 in x for x in said
               if lab.phone.ip6 in x), said
    lab.until(lambda: site.only(site.state()), 5, "one binding")


# ---- ICMP ------------------------------------------------------------------------


@parallel
@pytest.mark.parametrize("row, ip", cells(
    [(row, ip) for row in ("E1", "E2", "E3") for ip in (4, 6)],
    [("E1", 6), ("E2", 4), ("E3", 4)]))
def test_unreachable(lab, row, ip):
    """Over UDP, ICMP tells that nobody listens: found with the next request,
    and not when its timer has run out."""
    site = calm(lab, row, "udp", ip)
    site.start()
    axis = site.axes[-1]
    away = site.state(**{axis: BACKUP})
    site.host[axis][PRIMARY].reject("icmp-port-unreachable")
    t = lab.now()
    site.phone.cmd("reregister")
    no = lab.wire.wait_kind("unreachable", dst="phone", after=t)
    ok = site.wait(away, after=t, only=False)
    figure("unreachable", row=row, ip=ip, took=ok.t - no.t)
    assert ok.t - no.t < min(SLACK_S, TRANSACTION_S)


# ---- address translators -----------------------------------------------------------


NAT = """
table ip nat {
	chain out {
		type nat hook postrouting priority 100;
		oifname "eth0" udp dport 5060 snat to 10.77.0.10:%s
	}
}
"""


def translate(lab, ports):
    """A NAT in front of the phone that forgets a mapping after a second."""
    lab.phone.run("nft", "-f", "-", input=NAT % ports)
    for name in ("udp_timeout", "udp_timeout_stream"):
        lab.phone.run("sysctl", "-qw",
                      "net.netfilter.nf_conntrack_%s=1" % name)


def port_of(b):
    """The phone's port as its server sees it; an edge has it in the last two
    bytes of its flow token."""
    if b["received"]:
        return int(b["received"].split(":")[2].split(";")[0])
    token = re.match(r"<sip:([^@]+)@", b["path"])[1]
    return int.from_bytes(base64.b64decode(token)[-2:], "big")


@parallel
@pytest.mark.parametrize("row", cells(
    [("E1",), ("E2",), ("E3",)], [("E2",), ("E3",)]))
def test_new_mapping(lab, row):
    """The NAT in front of the phone gives it another port: seen with the next
    check, and registered again over the same flow."""
    keepalive = 3
    site = Row(lab, row, "udp", transaction=TRANSACTION_S, config=[
        "sip_outbound_keepalive_timer %d" % keepalive])
    translate(lab, "7000-7009")
    phone = site.start()
    hop = site.hop(site.state())
    assert {e.sport // 10 for e in site.requests("REGISTER")} == {700}
    lab.phone.run("nft", "flush", "chain", "ip", "nat", "out")
    lab.phone.run("nft", "add rule ip nat out oifname eth0 udp dport 5060"
                  " snat to 10.77.0.10:7100-7109")
    t = lab.now()
    seen = lab.wire.wait_sip("OPTIONS", 2 * keepalive, status=200, src=hop,
                             dst="phone", after=t,
                             match=lambda e: "rport=710" in e.header("via"))
    ok = site.wait_200(site.state(), 3, after=seen.t)
    figure("new mapping", row=row, took=ok.t - seen.t)
    assert ok.t - seen.t < SLACK_S
    lab.until(lambda: [port_of(b) // 10 for _, b in site.bindings()] == [710],
              3, "one binding, with the new port")
    assert phone.state(1)["counters"]["failovers"] == 0
    # the NAT has forgotten that one as well by now
    lab.until(lambda: site.now() == site.state(), 2, "in service")
