"""Tests of the lab itself, with plain baresip accounts."""

import socket
import time

import pytest

from lab import Timeout, bodies

OB = "sipnat=outbound"


def registered(lab, server, phone, aor="100"):
    phone.wait_registered()
    found = server.bindings(aor)
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_register_at_combined(lab, transport):
    server = lab.combined()
    phone = lab.baresip(lab.account(via=lab.primary, transport=transport))
    b = registered(lab, server, phone)
    assert b["path"] is None and 3500 < b["expires"] <= 3600
    assert lab.phone.ip in b["received"]

    # challenge and answer, once each, on the wire and in the right order
    seen = lab.wire.wait(
        lambda: len(s := lab.wire.sip("REGISTER")) >= 4 and s)
    assert [e.status for e in seen] == [None, 401, None, 200]
    assert all(e.proto == transport for e in seen)
    assert [e.src for e in seen] == ["phone", "primary"] * 2
    assert seen[2].header("Authorization") and seen[2].user == "100"
    assert seen[0].t < seen[1].t < seen[2].t < seen[3].t
    assert abs(seen[3].t - time.monotonic()) < 5

    # the wire is the truth of an orderly end, too
    assert phone.exit() == 0
    lab.wire.wait_sip("REGISTER", request=True, expires=0)
    lab.until(lambda: not server.bindings("100"), 2, "binding gone")


def test_wrong_password(lab):
    server = lab.combined()
    phone = lab.baresip(lab.account(via=lab.primary)
                        .replace("secret100", "wrong"))
    phone.wait_event("REGISTER_FAIL")
    assert server.bindings("100") == []


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_register_through_edge(lab, transport):
    edge, _, reg = lab.edge_pair(FLOW_TIMER=31)
    phone = lab.baresip(lab.account(via=lab.primary, transport=transport,
                                    extra=OB))
    b = registered(lab, reg, phone)
    assert lab.primary.ip in b["path"] and ";ob" in b["path"]
    assert b["reg_id"] == 1 and phone.uuid in b["instance"]
    ok = lab.wire.wait_sip("REGISTER", status=200, dst="phone")
    assert "outbound" in ok.header("Require", "")
    assert ok.header("Flow-Timer") == "31"
    assert not lab.wire.sip(src="phone", dst="reg")


def test_plain_phone_through_edge(lab):
    """No reg-id, no Require, but a flow token all the same."""
    _, _, reg = lab.edge_pair()
    phone = lab.baresip(lab.account(via=lab.primary, transport="tcp"))
    b = registered(lab, reg, phone)
    assert b["reg_id"] == 0 and lab.primary.ip in b["path"]
    ok = lab.wire.wait_sip("REGISTER", status=200, dst="phone")
    assert ok.header("Require") is None


CALLS = {
    "combined-udp": ("combined", "udp", "primary"),
    "combined-tcp": ("combined", "tcp", "primary"),
    "edge-udp": ("edge", "udp", "reg"),
    "edge-tcp": ("edge", "tcp", "reg"),
    "edge-tcp-far-at-backup": ("edge", "tcp", "backup"),
}


@pytest.mark.parametrize("case", CALLS)
@pytest.mark.parametrize("direction", ["in", "out"])
def test_call(lab, case, direction):
    """A call rings once, is set up and ended by either side, and uses the
    connection of the registration."""
    kind, transport, far_at = CALLS[case]
    if kind == "edge":
        lab.edge_pair()
    else:
        lab.combined()
    phone = lab.baresip(lab.account(via=lab.primary, transport=transport,
                                    extra="answermode=auto;" + OB))
    phone.wait_registered()
    far = lab.far_phone(getattr(lab, far_at), transport=transport
                        if far_at != "reg" else "udp")
    caller, callee = (far, phone) if direction == "in" else (phone, far)
    start = lab.now()
    caller.dial("sip:%s@pbx.example.com" % (100 if direction == "in"
                                            else 200))
    caller.wait_call("outgoing")
    callee.wait_call("incoming")

    # the callee hangs up: BYE travels the other way
    callee.hangup()
    bye = lab.wire.wait_sip("BYE", status=200, dst=callee.host)
    # the log, which may be behind the phones, has come as far as that
    rings = lab.wire.sip("INVITE", request=True, after=start,
                         dst=callee.host)
    assert len(rings) == 1
    assert bye.t > start
    caller.wait_event("CALL_CLOSED", after=start)
    # nothing opened a new connection towards a phone
    assert not [e for e in lab.wire.find(kind="syn", after=start)
                if e.dst in ("phone", "far")]


INSTANCE = "11402c21-f051-51e2-8d75-efc51cb254cc"


@pytest.mark.parametrize("fault", ["restart", "kill", "hang"])
@pytest.mark.parametrize("newest", ["primary", "backup"])
def test_two_flows_ring_once(lab, newest, fault):
    """Two bindings of one instance: the newest flow rings, the other one is
    tried when that has failed, and only an edge that says so ends a binding."""
    reg = lab.registrar(FR_TIMER=500)
    edges = dict(zip(("primary", "backup"), lab.edge_pair(reg)))
    new = edges.pop(newest)
    old, = edges.values()
    first = lab.baresip(lab.account(via=old.host, transport="tcp",
                                    extra="answermode=auto;" + OB),
                        uuid=INSTANCE)
    first.wait_registered()
    # a second baresip stands for the second flow: same instance, reg-id 2
    second = lab.baresip(
        lab.account(via=lab.regb, port=9, transport="tcp",
                    extra='outbound2="sip:%s;transport=tcp";'
                    "answermode=auto;%s" % (new.host.ip, OB)),
        host=lab.regb, uuid=INSTANCE)
    lab.until(lambda: [b["reg_id"] for b in reg.bindings("100")] == [2, 1],
              what="two bindings")
    far = lab.far_phone(lab.reg)

    def call(rings):
        start = lab.now()
        far.dial("sip:100@pbx.example.com")
        far.wait_call("outgoing", after=start)
        far.hangup()
        rings.wait_event("CALL_CLOSED", after=start)
        lab.wire.settle()
        invites = [e for e in lab.wire.sip("INVITE", request=True,
                                           after=start)
                   if e.dst in ("phone", "regb")]
        assert [e.dst for e in invites] == [rings.host.name]
        return start

    call(second)
    getattr(new, fault)()
    start = call(first)
    gone = lab.wire.sip("INVITE", status=430, src=new.host, after=start)
    assert len(gone) == (fault == "restart")
    assert len(reg.bindings("100")) == (1 if gone else 2)


@pytest.mark.parametrize("lost_tcp", [0, 1])
def test_lost_connection_at_combined(lab, lost_tcp):
    """A direct binding whose connection is gone does not stop a call over
    another flow; with LOST_TCP it is removed at once."""
    server = lab.combined(FR_TIMER=500, LOST_TCP=lost_tcp)
    first = lab.baresip(lab.account(via=lab.primary, transport="tcp",
                                    extra="answermode=auto;" + OB),
                        uuid=INSTANCE)
    first.wait_registered()
    second = lab.baresip(
        lab.account(via=lab.regb, port=9, transport="tcp",
                    extra='outbound2="sip:%s;transport=tcp";'
                    "answermode=auto;%s" % (lab.primary.ip, OB)),
        host=lab.regb, uuid=INSTANCE)
    lab.until(lambda: len(server.bindings("100")) == 2, what="two bindings")
    first.kill()
    lab.until(lambda: len(server.bindings("100")) == 2 - lost_tcp,
              what="one binding gone")
    far = lab.far_phone(lab.primary)
    far.dial("sip:100@pbx.example.com")
    far.wait_call("outgoing")
    second.wait_call("incoming")
    answers = [e.status for e in lab.wire.sip("INVITE", dst="far")
               if e.status and e.status > 200]
    assert answers == [407]


def test_sipp_calls_in(lab):
    lab.edge_pair()
    phone = lab.baresip(lab.account(via=lab.primary, transport="tcp",
                                    extra="answermode=auto;" + OB))
    phone.wait_registered()
    call = lab.sipp("uac_call", to=lab.reg, keys={
        "domain": "pbx.example.com", "caller": "5551234"})
    assert call.wait(), call.proc.output()
    phone.wait_event("CALL_CLOSED")
    assert len(lab.wire.sip("INVITE", request=True, dst="phone")) == 1


def test_kill_closes_connections(lab):
    server = lab.combined()
    phone = lab.baresip(lab.account(via=lab.primary, transport="tcp"))
    phone.wait_registered()
    t = lab.now()
    server.kill()
    end = lab.wire.wait(lambda: lab.wire.find(
        lambda e: e.kind in ("fin", "rst"), src="primary", after=t))
    assert end[0].t - t < 0.5

    # a new attempt is refused, at once and visibly
    with pytest.raises(ConnectionRefusedError):
        lab.phone.inside(
            lambda: socket.create_connection((lab.primary.ip, 5060), 2))
    lab.wire.wait_kind("rst", src="primary", after=t)

    # and the port is free again at once
    server.start()
    assert lab.now() - t < 5


def test_kill_with_reset(lab):
    server = lab.combined()
    phone = lab.baresip(lab.account(via=lab.primary, transport="tcp"))
    phone.wait_registered()
    t = lab.now()
    server.kill(reset=True)
    lab.wire.wait_kind("rst", src="primary", dst="phone", after=t)


def options(lab, timeout=0.3, proto="udp"):
    """One OPTIONS from the phone's host to the primary: status or None."""
    def ask():
        kind = (socket.SOCK_DGRAM if proto == "udp" else socket.SOCK_STREAM)
        with socket.socket(socket.AF_INET, kind) as s:
            s.settimeout(timeout)
            s.connect((lab.primary.ip, 5060))
            me = "%s:%d" % s.getsockname()
            s.send(("OPTIONS sip:%s SIP/2.0\r\nVia: SIP/2.0/%s %s;"
                    "branch=z9hG4bK%d;rport\r\nMax-Forwards: 5\r\n"
                    "From: <sip:x@lab>;tag=1\r\nTo: <sip:x@lab>\r\n"
                    "Call-ID: %d\r\nCSeq: 1 OPTIONS\r\n"
                    "Content-Length: 0\r\n\r\n"
                    % (lab.primary.ip, proto.upper(), me,
                       time.monotonic_ns(), time.monotonic_ns())).encode())
            return int(s.recv(65536).split()[1])
    try:
        return lab.phone.inside(ask)
    except TimeoutError:
        return None


@pytest.mark.parametrize("proto", ["udp", "tcp"])
def test_hang(lab, proto):
    """The kernel still accepts, the server says nothing."""
    server = lab.combined()
    assert options(lab, proto=proto) == 200
    server.hang()
    assert options(lab, proto=proto) is None
    server.cont()
    lab.until(lambda: options(lab, proto=proto) == 200, 3, "back")


def test_faults_of_the_network(lab):
    lab.combined()
    assert options(lab) == 200

    lab.primary.drop()
    assert options(lab) is None
    lab.primary.clear()
    assert options(lab) == 200

    lab.primary.drop("out", "udp")
    assert options(lab) is None and options(lab, proto="tcp") == 200
    lab.primary.clear()

    lab.primary.drop(peer=lab.far)
    assert options(lab) == 200
    lab.primary.drop(peer=lab.phone)
    assert options(lab) is None
    lab.primary.clear()

    lab.primary.reject("icmp-port-unreachable")
    with pytest.raises(ConnectionRefusedError):
        options(lab)
    lab.wire.wait_kind("unreachable", src="primary")
    assert options(lab, proto="tcp") == 200
    lab.primary.reject("tcp-reset")
    with pytest.raises(ConnectionRefusedError):
        options(lab, proto="tcp")
    lab.primary.clear()
    assert options(lab) == 200

    lab.primary.link("down")
    assert options(lab) is None
    lab.primary.link("up")
    lab.until(lambda: options(lab) == 200, 3, "link back")

    lab.phone.link("down", at="host")
    with pytest.raises(OSError):
        options(lab)
    lab.phone.link("up", at="host")
    lab.until(lambda: options(lab) == 200, 3, "link back")

    lab.primary.loss(50)
    answers = [options(lab, 0.02) for _ in range(60)]
    assert 2 < answers.count(200) < 58


def test_restart_and_sampler(lab):
    """A restart loses the bindings, and the sampler sees it."""
    server = lab.combined()
    phone = lab.baresip(lab.account(via=lab.primary, regint=60))
    phone.wait_registered()
    with lab.sampler(server, every=0.02) as s:
        lab.until(lambda: len(s.samples) > 5)
        assert not s.gaps() and s.most() == 1
        t = lab.now()
        server.kill()
        lab.until(lambda: s.gaps(after=t), 2, "gap seen")
        server.start()
        assert server.bindings("100") == []
        phone.cmd("uanew " + lab.account(101, via=lab.primary))
        lab.until(lambda: server.bindings("101"), 3)
        assert s.longest_gap(after=t) == float("inf")
        assert s.longest_step() < 0.5


def test_answers_on_order(lab):
    server = lab.combined()
    server.respond("OPTIONS", 503)
    assert options(lab) == 503
    server.respond("OPTIONS", 0)
    assert options(lab) is None
    server.clear_responses()
    assert options(lab) == 200

    server.respond("REGISTER", 503, retry_after=7)
    phone = lab.baresip(lab.account(via=lab.primary))
    phone.wait_event("REGISTER_FAIL")
    no = lab.wire.wait_sip("REGISTER", status=503, dst="phone")
    assert no.header("Retry-After") == "7"

    server.clear_responses()
    server.respond("REGISTER", 403, user=101)
    phone.cmd("uanew " + lab.account(101, via=lab.primary))
    phone.cmd("uanew " + lab.account(102, via=lab.primary))
    lab.wire.wait_sip("REGISTER", status=403, dst="phone", user=101)
    lab.wire.wait_sip("REGISTER", status=200, dst="phone", user=102)


def test_message(lab):
    lab.edge_pair()
    phone = lab.baresip(lab.account(via=lab.primary, transport="tcp"))
    phone.wait_registered()
    call = lab.sipp("uac_message", to=lab.reg, keys={
        "domain": "pbx.example.com", "caller": "5551234"})
    assert call.wait(), call.proc.output()
    lab.wire.wait_sip("MESSAGE", status=200, src="phone", dst="primary")


def test_refused_registrations(lab):
    """439 behind an edge without RFC 5626, 423 for too short an expiry."""
    reg = lab.registrar(MIN_EXPIRES=120)
    lab.edge(lab.primary, reg, NO_OUTBOUND=True)
    phone = lab.baresip(lab.account(via=lab.primary, transport="tcp",
                                    extra=OB))
    lab.wire.wait_sip("REGISTER", status=439, dst="phone")
    phone.cmd("uanew " + lab.account(101, via=lab.primary, regint=60))
    no = lab.wire.wait_sip("REGISTER", status=423, dst="phone", user=101)
    assert no.header("Min-Expires") == "120"


def test_new_call_id_clears_other_flows(lab):
    """A fact of this registrar to know: a binding renewed with another
    Call-ID takes the other bindings of that instance with it."""
    _, _, reg = lab.edge_pair()
    phone = lab.baresip(lab.account(
        via=lab.primary, transport="tcp",
        extra='outbound2="sip:%s;transport=tcp";%s' % (lab.backup.ip, OB)))
    lab.until(lambda: len(reg.bindings("100")) == 2, what="two bindings")
    other = lab.baresip(lab.account(via=lab.primary, transport="tcp",
                                    extra=OB),
                        host=lab.regb, uuid=phone.uuid)
    other.wait_registered()
    assert [b["reg_id"] for b in reg.bindings("100")] == [1]


def test_keepalives_on_the_wire(lab):
    lab.edge_pair()

    def ping():
        with socket.create_connection((lab.primary.ip, 5060), 2) as s:
            s.sendall(b"\r\n\r\n")
            return s.recv(10)
    assert lab.phone.inside(ping) == b"\r\n"
    assert lab.wire.wait_kind("ping").src == "phone"
    assert lab.wire.wait_kind("pong").src == "primary"

    phone = lab.baresip(lab.account(via=lab.primary, extra=OB))
    phone.wait_registered()
    answer = lab.wire.wait_kind("stun", src="primary")
    assert answer.text == "response"


def test_ipv6(lab):
    server = lab.combined()
    phone = lab.baresip(lab.account(via="[%s]" % lab.primary.ip6,
                                    transport="tcp"))
    phone.wait_registered()
    assert lab.phone.ip6 in server.bindings("100")[0]["received"]
    assert lab.wire.sip("REGISTER", status=200, dst="phone")[0].src \
        == "primary"


def test_tls(lab):
    server = lab.combined(**lab.tls(lab.primary))
    phone = lab.baresip(lab.account(via=lab.primary, transport="tls",
                                    port=5061))
    phone.wait_registered()
    assert "transport=tls" in server.bindings("100")[0]["received"]
    assert lab.wire.find(kind="tls", src="phone", port=5061)


def test_nothing_is_left(lab):
    """Closing a lab ends every process and namespace of it."""
    server = lab.combined()
    phone = lab.baresip(lab.account(via=lab.primary))
    phone.wait_registered()
    lab.close()
    assert not server.proc.running and not phone.proc.running
    with pytest.raises(OSError):
        lab.phone.inside(lambda: None)


def test_waiting_has_an_end(lab):
    with pytest.raises(Timeout, match="not on the wire"):
        lab.wire.wait_sip("REGISTER", timeout=0.1)
    with pytest.raises(Timeout, match="a reason"):
        lab.until(lambda: 0, 0.05, "a reason")


@pytest.mark.parametrize("kind", ["combined-udp", "combined-tcp", "edge-tcp"])
def test_presence(lab, kind):
    """A subscription gets the state at once and every change of it."""
    kind, transport = kind.split("-")
    if kind == "edge":
        _, _, server = lab.edge_pair(
            registrar=lab.registrar(PRESENCE_DB=True))
    else:
        server = lab.combined(PRESENCE_DB=True)
    server.publish(100, bodies.mwi(2, 1))
    # Loaded early: a registration within 1 ms of its start, as here on a
    # quick network, sends mwi.so of baresip 1.0.0 into an endless loop.
    phone = lab.baresip(
        lab.account(via=lab.primary, transport=transport,
                    extra="mwi=yes;" + OB), modules=["mwi.so"])
    phone.wait_registered()
    lab.wire.wait_sip("NOTIFY", request=True, dst="phone",
                      match=lambda e: "Voice-Message: 2/1" in e.body)
    phone.wait_event("MWI_NOTIFY", match=lambda e: "2/1" in e.param)
    t = lab.now()
    server.publish(100, bodies.mwi(0, 3))
    phone.wait_event("MWI_NOTIFY", after=t, match=lambda e: "0/3" in e.param)
    assert not lab.wire.find(kind="syn", dst="phone")
