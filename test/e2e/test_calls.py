"""Calls: they take the path in force, and they outlive every move."""

import pytest

from helpers_calls import DOMAIN, OTHER, World, flow, open_connections

ROWS = [("E3", "tcp"), ("E3", "udp"), ("E2", "tcp"), ("E2", "udp")]
rows = pytest.mark.parametrize("row, transport", ROWS,
                               ids=["-".join(r) for r in ROWS])


def ways_out(w, rank):
    """Every way to begin a call: commands before, command, who is called."""
    return {
        "bare number": ([], "dial 200", 200),
        "uri": ([], "dial sip:200@" + DOMAIN, 200),
        "other domain": ([], "dial sip:201@" + OTHER, 201),
        "redial": ([], "dial", 201),
        "contact": ([], "dialcontact", 200),
        "found": (["uafind " + w.aor(rank)], "dial 200", 200),
    }


@rows
def test_calls_at_every_stage(lab, row, transport):
    """Out by every way in, and in, on the primary, on the backup, and home
    again: always over the server in force and as the AOR in force."""
    w = World(lab, row, transport)
    for rank in w.stages():
        for name, (before, command, callee) in ways_out(w, rank).items():
            call = w.call_out(command, rank, callee, before=before)
            call.end(by="phone" if name != "uri" else "far")
        w.call_in(rank).end(by="far")
        w.call_in(rank).end(by="phone")
    assert w.phone.exit() == 0


@rows
@pytest.mark.parametrize("to", ["backup", "primary"])
def test_either_binding(lab, row, transport, to):
    """While a line moves it has two live bindings. A call rings once, over
    the newer as over the older one; in E2 the older one is that of a user
    agent that baresip cannot see any more."""
    w = World(lab, row, transport)
    if to == "primary":
        w.phone.cmd("aastra_failover 1")
        w.wait_on("backup")
        w.wait_alone("backup")
    old = "backup" if to == "primary" else "primary"

    # the farewell is not heard, so the moment lasts for 1.5 s
    w.server(old).respond("REGISTER", 0, user=100)
    w.phone.cmd("aastra_fail%s 1" % ("back" if to == "primary" else "over"))
    w.wait_on(to)
    both = w.bindings()
    assert len(both) == 2, both
    t = lab.now()
    w.call_in(to).end(by="far", over=to)
    if w.reg:
        new = next(b for b in both if w.belongs(b, to))
        w.reg.rpc("ul.rm_contact", "location", "100", new["contact"])
    call = w.call_in(to, over=old)
    assert len(w.bindings()) == (1 if w.reg else 2)
    assert lab.now() - t < 1.5      # it was the moment
    call.end(by="phone", over=old)
    # the line is whole: its calls leave on the new path, as its AOR
    w.call_out("dial 200", to).end()
    w.wait_on(to)


def test_server_left_behind(lab):
    """The primary does not answer REGISTER and OPTIONS any more, but still
    passes calls on. What rings is the hidden user agent's binding, and the
    call is the line's."""
    w = World(lab, "E2", "udp")
    for method in ("REGISTER", "OPTIONS"):
        w.primary.respond(method, 0, user=None if method == "OPTIONS"
                          else 100)
    w.wait_on("backup")
    assert len(w.primary.bindings("100")) == 1
    call = w.call_in("backup", over="primary")
    call.assert_audio()
    assert w.aor("backup") in w.phone.reginfo()
    call.hold()
    call.hold(off=True)
    call.end(by="phone")
    w.call_out("dial 200", "backup").end()
    w.call_in("backup", over="primary").end(by="far")


@rows
def test_call_outlives_failover(lab, row, transport):
    """The primary dies under a call: the line moves, the call goes on. Under
    the policy idle it goes home when the call ends, and not before."""
    w = World(lab, row, transport)
    call = w.call_out("dial 200", "primary")
    w.primary.kill()
    w.wait_on("backup")
    w.wait_alone("backup")
    call.assert_audio()
    call.dtmf("42#")

    # a second call beside it, through the live server
    second = w.call_out("dial sip:201@" + OTHER, "backup", 201)
    assert w.phone.calls().count("sip:20") == 2
    second.end()
    call.assert_up()
    call.assert_audio()

    w.restore_primary(far=False)
    lab.until(lambda: flow(w, "primary")["state"] == "up", 5, "primary up")
    lab.never(lambda: not w.on("backup"), 1.0, "went home during the call")
    call.assert_up()
    call.assert_audio()
    assert w.state()["calls"] is True

    # no timer: the end of the call is what takes it home
    t = lab.now()
    if (row, transport) == ("E3", "tcp"):
        # the edge's flow token names a connection that died with the edge:
        # the other end can not be told (RFC 5626 5.3.1)
        w.phone.hangup()
        lab.wire.wait_sip("BYE", status=503, src="primary", after=t)
    else:
        call.end(by="phone", over="primary")
    w.wait_on("primary")
    back = lab.wire.sip("REGISTER", status=200, src="primary", after=t)
    closed = w.phone.wait_event("CALL_CLOSED", after=t)
    assert back[0].t - closed.t < 0.3
    w.wait_alone("primary")
    assert w.state()["calls"] is False
    lab.until(lambda: flow(w, "backup")["state"] == "idle", 3, "backup let go")
    assert open_connections(lab, w.backup) == 0


@rows
def test_call_outlives_failback(lab, row, transport):
    """Under the policy auto a line goes home during a call. All that can be
    done with a call still can be, over the server that it was made with."""
    w = World(lab, row, transport, policy="auto")
    w.lose_primary()
    call = w.call_out("dial 200", "backup")
    w.restore_primary()
    w.wait_on("primary")
    w.wait_alone("primary")
    call.assert_up()
    call.assert_audio()
    if transport == "tcp":
        assert open_connections(lab, w.backup) == 1

    assert call.hold().dst == "backup"
    call.hold(off=True)
    call.dtmf("*7")

    # a second call goes over the server in force, the first one waits
    call.hold()
    second = w.call_out("dial sip:201@" + OTHER, "primary", 201)
    second.dtmf("1")
    second.end()
    if w.phone.has_current:     # baresip 1.0.0 resumes it by itself
        w.lab.wire.wait_sip("INVITE", status=200, dst="phone",
                            after=second.t, call_id=call.dialog)
    else:
        call.hold(off=True)
    call.assert_up()
    call.assert_audio()

    # blind transfer: 200 calls 202 instead, and the phone is out of it. (A
    # 4.x phone gives up a call on its way out when it answers another one by
    # itself, so that 200 and 201, being one phone, cannot talk.)
    third = w.third("backup")
    t = lab.now()
    w.phone.cmd("transfer sip:202@" + OTHER)
    refer = lab.wire.wait_sip("REFER", status=202, dst="phone", after=t)
    assert refer.src == "backup"
    call.far.wait_event("CALL_ESTABLISHED", after=t, direction="outgoing")
    third.wait_event("CALL_ESTABLISHED", after=t, direction="incoming")
    w.phone.wait_event("CALL_CLOSED", after=t)
    lab.until(lambda: flow(w, "backup")["state"] == "idle", 3, "backup let go")
    assert open_connections(lab, w.backup) == 0
    w.call_out("dial 200", "primary").end()


@pytest.mark.parametrize("row", ["E3", "E2"])
def test_calls_on_both_servers(lab, row):
    """A call on each server, one of them made before the line moved: the
    phone has both, and what ends the one leaves the other."""
    w = World(lab, row)
    first = w.call_out("dial 200", "primary")
    w.phone.cmd("aastra_failover 1")    # by command: also during a call
    w.wait_on("backup")
    w.wait_alone("backup")
    first.assert_up()

    # a second one comes in, over the backup, and the first one is on hold:
    # baresip 1.0.0 sees to that by itself
    t = lab.now()
    if not w.phone.has_current:
        first.hold()
    second = w.call_in("backup", far=w.far("backup"))
    hold = lab.wire.wait_sip("INVITE", status=200, dst="phone",
                             call_id=first.dialog, after=t)
    assert hold.src == "primary"
    assert w.phone.calls().count("sip:200@") == 2
    second.dtmf("5")
    second.end(by="far")
    if not w.phone.has_current:
        first.hold(off=True)
    again = lab.wire.wait_sip("INVITE", request=True, src="phone",
                              call_id=first.dialog, after=hold.t)
    assert "a=sendrecv" in again.body and again.dst == "primary"
    lab.wire.wait_sip("INVITE", status=200, dst="phone",
                      call_id=first.dialog, after=again.t)

    # the first one is still within reach of every command
    first.assert_up()
    first.dtmf("6")
    first.hold()
    first.hold(off=True)
    first.end(by="phone")
    assert "(0)" in w.phone.calls()
    lab.until(lambda: open_connections(lab, w.backup) == 1, 3)


@pytest.mark.parametrize("row", ["E3", "E2"])
def test_transferred_by_the_other_end(lab, row):
    """200 sends the phone to 201, in a call that the line was moved under:
    the new call leaves over the server in force."""
    w = World(lab, row)
    w.phone.cmd("aastra_failover 1")
    w.wait_on("backup")
    call = w.call_out("dial 200", "backup")
    w.phone.cmd("aastra_failback 1")
    w.wait_on("primary")
    w.wait_alone("primary")
    t = lab.now()
    call.far.cmd("transfer sip:201@" + OTHER)
    refer = lab.wire.wait_sip("REFER", request=True, dst="phone", after=t)
    assert refer.src == "backup"
    w.far("primary").wait_call("incoming", after=t)
    w.phone.wait_call("outgoing", after=t)
    sent = [e for e in lab.wire.sip("INVITE", request=True, src="phone",
                                    after=t) if e.call_id != call.dialog]
    assert sent and {e.dst for e in sent} == {"primary"}
    call.far.wait_event("CALL_CLOSED", after=t)
    w.phone.hangup()
    w.far("primary").wait_event("CALL_CLOSED", after=t)


def test_policy_manual(lab):
    """Under the policy manual a line goes home only when it is told to, or
    when the backup is lost."""
    w = World(lab, "E3", "tcp", policy="manual")
    w.lose_primary()
    w.restore_primary()
    lab.until(lambda: flow(w, "primary")["state"] == "up", 5, "primary up")
    call = w.call_out("dial 200", "backup")
    call.end()
    lab.never(lambda: not w.on("backup"), 1.0, "went home by itself")
    w.phone.cmd("aastra_failback 1")
    w.wait_on("primary")
    w.wait_alone("primary")
    w.phone.cmd("aastra_auto 1")
    lab.never(lambda: not w.on("primary"), 0.5, "left the primary")

    # the backup's end is reason enough
    w.lose_primary()
    w.restore_primary()
    lab.until(lambda: flow(w, "primary")["state"] == "up", 5, "primary up")
    w.backup.kill()
    w.wait_on("primary")
    w.wait_alone("primary")
    w.call_in("primary").end()
