"""What baresip, its commands and whoever listens to its events see of a
line: one entry with its own AOR, in its place, whatever happens."""

import os
import re
import time

import pytest

from helpers_calls import (DOMAIN, STAGES, World, all_modules, gone_from,
                           no_bindings, open_connections, to_stage)
from lab.ctrl import CommandError
from lab.pace import EMULATED, slack
from lab.site import Site, reregister_so

both_rows = pytest.mark.parametrize("row", ["E3", "E2"])


class Any:
    """Equal to everything."""

    def __eq__(self, other):
        return True

    def __repr__(self):
        return "any"


def entries(phone):
    """The user agents as the menu lists them: (is it current?, AOR,
    status). Only baresip 1.0.0 has a current one."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", phone.cmd("reginfo"))
    rows = re.findall(r"^(?:([> ])|\d+ -) (sip:\S+) +"
                      r"(?:FB-)?(OK|ERR|zzz)?", text, re.M)
    count = int(re.search(r"User Agents \((\d+)\)", text)[1])
    assert count == len(rows), text
    return [(mark == ">" if phone.has_current else Any(), aor, status)
            for mark, aor, status in rows]


def after_uafind(phone, rows, i):
    """The rows of a list after a person chose that one: 4.x puts it first."""
    return [rows[i], *rows[:i], *rows[i + 1:]] if phone.raises else rows


def shows(w, want):
    """The list becomes this (baresip is told within milliseconds)."""
    w.lab.until(lambda: entries(w.phone) == want, 3, "in the list: %s" % want)


# -- one entry a line ------------------------------------------------------------


@both_rows
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_one_entry(lab, row, transport):
    """Each of baresip's own views shows one entry, with the AOR in force."""
    w = World(lab, row, transport, far=False)
    for rank in w.stages():
        aor = w.aor(rank)
        lab.until(lambda: entries(w.phone) == [(True, aor, "OK")], 3,
                  "%s on the %s" % (aor, rank))
        status, server, expires = w.phone.reginfo()[aor]
        assert server == w.registrar(rank).name
        assert 3500 < expires <= 3600
        assert w.phone.cmd("uafind " + aor).strip() == "ua: " + aor
        if w.phone.has_current:
            assert w.phone.cmd("uanext").strip() == "ua: " + aor
        assert w.state()["aor"] == aor
        assert [x["line"] for x in w.phone.state()["lines"]] == [1]
        if row == "E2":
            hidden = w.aor("backup" if rank == "primary" else "primary")
            with pytest.raises(CommandError):
                w.phone.cmd("uafind " + hidden)
            assert entries(w.phone)[0][:2] == (True, aor)
    # what its listeners were told: never of a failure, and the last word
    # of every user agent that is seen is that it is registered
    assert not w.phone.find_events("REGISTER_FAIL")
    told = [e for e in w.phone.find_events()
            if "REGISTER" in e.type or e.type.startswith("FALLBACK")]
    assert {e["class"] for e in told} == {w.phone.event_classes[0]}
    assert told[-1].type == "REGISTER_OK"
    assert told[-1]["accountaor"] == w.aor("primary")
    for e in told:
        assert e["accountaor"] in (w.aor("primary"), w.aor("backup"))
    if row == "E3":
        assert {e.type for e in told} <= {"REGISTERING", "REGISTER_OK"}


# 1.0.0 has no events of modules: they carry the first number without a name
MODULE_EVENT = {True: "?", False: "MODULE"}


@both_rows
def test_events_of_a_move(lab, row):
    """baresip's listeners hear of the new registration within the move, and
    of the module's own story."""
    w = World(lab, row, far=False)
    w.wait_alone("primary")
    for rank, event in (("backup", "failover"), ("primary", "failback")):
        t = lab.now()
        if rank == "backup":
            w.lose_primary()
        else:
            w.come_home()
        ok = w.phone.wait_event("REGISTER_OK", after=t)
        assert ok["accountaor"] == w.aor(rank), "another one was registered"
        seen = lab.wire.wait_sip("REGISTER", status=200, after=t,
                                 src=w.server(rank).host, dst="phone")
        assert abs(ok.t - seen.t) < 0.5
        own = w.phone.wait_event(
            after=t, match=lambda e: e.param.startswith("aastra,%s,"
                                                        % event))
        assert own["class"] == w.phone.event_classes[1]
        assert own.type == MODULE_EVENT[w.phone.has_current]
        assert re.match(r"aastra,%s,line=1 to=%s from=\S+ took=\d+ reason=\S"
                        % (event, rank), own.param), own.param


def test_registered_nowhere(lab):
    """With every server dead baresip learns that it is not registered, once,
    and that it is again, as soon as one is back."""
    w = World(lab, "E3", far=False)
    t = lab.now()
    w.backup.kill()
    w.primary.kill()
    fail = w.phone.wait_event("REGISTER_FAIL", after=t, timeout=8)
    assert fail.param.startswith("503")
    assert entries(w.phone) == [(True, w.aor("primary"), "ERR")]
    assert w.state()["service"] == "none" and not w.state()["registered"]
    lab.never(lambda: len(w.phone.find_events("REGISTER_FAIL", after=t)) > 1,
              1.5, "told twice")
    t = lab.now()
    w.backup.start()
    w.phone.cmd("aastra_probe")
    w.phone.wait_event("REGISTER_OK", after=t)
    shows(w, [(True, w.aor("backup"), "OK")])
    w.wait_on("backup")


def test_refused(lab):
    """A registrar that says no is no reason to move: baresip gets its
    answer."""
    w = World(lab, "E3", far=False, start=False)
    w.reg.respond("REGISTER", 403, user=100)
    w.phone.start()
    fail = w.phone.wait_event("REGISTER_FAIL")
    assert fail.param.startswith("403")
    assert entries(w.phone)[0][2] == "ERR"
    lab.never(lambda: lab.wire.find(src="phone", dst="backup"), 1.0,
              "went to the backup")
    assert w.state()["service"] == "none"


# -- several lines -------------------------------------------------------------------


LINES = [100, 101, 102]     # the first two have a backup


@pytest.mark.parametrize("row, current", [("E3", 0), ("E2", 0), ("E2", 1),
                                          ("E2", 2)])
def test_order_and_current_line(lab, row, current):
    """Lines keep their places, and the current one stays current, before,
    during and after a move; also the one that has no backup."""
    w = World(lab, row, far=False, start=False, accounts=[], config=[])
    third = w.reg or w.backup       # does not die
    w.phone.accounts = [w.account(u) for u in LINES[:2]] + [
        lab.account(LINES[2], via=third.host)]
    w.phone.config += ["%s %s" % kv for kv in w.backup_keys(2)]
    w.phone.start()
    w.phone.wait_registered()
    w.phone.cmd("uafind sip:%d@%s" % (LINES[current], DOMAIN))
    users = after_uafind(w.phone, LINES, current)

    def right():
        """Order and current line are right at this moment; the state."""
        now = entries(w.phone)
        assert len(now) == len(LINES), now
        for user, (cur, aor, _) in zip(users, now):
            ranks = ("primary", "backup") if user in LINES[:2] else (
                "primary",)
            assert aor in [w.aor(r, user) for r in ranks], now
            assert cur == (user == LINES[current]), now
        return now

    def all_on(rank):
        want = [w.aor(rank if u in LINES[:2] else "primary", u)
                for u in users]
        now = right()
        return ([e[1] for e in now] == want and
                all(e[2] == "OK" for e in now) and
                all(w.on(rank, n) for n in (1, 2)))

    def uanext():
        """uanext goes round in the order of the list."""
        order = [e[1] for e in right()]
        if not w.phone.has_current:
            return
        found = [w.phone.cmd("uanext").split()[1] for _ in order]
        at = order.index(found[0])
        assert found == order[at:] + order[:at]
        w.phone.cmd("uafind " + order[current])

    lab.until(lambda: all_on("primary"), 5, "registered", every=0.002)
    uanext()
    w.primary.kill()
    lab.until(lambda: all_on("backup"), 8, "on the backup", every=0.002)
    uanext()
    w.primary.start()
    w.phone.cmd("aastra_probe")
    lab.until(lambda: all_on("primary"), 8, "home again", every=0.002)
    uanext()
    numbers = [x["line"] for x in w.phone.state()["lines"]]
    assert numbers == [1, 2, 3]
    assert w.state(3)["scenario"] == "none" and w.state(3)["registered"]
    for u in LINES:
        lab.until(lambda: len(w.bindings(u)) == 1, 5, "one binding of %d" % u)


@both_rows
def test_a_call_on_one_line_while_both_move(lab, row):
    """Commands for the call reach it on the current line, and the other
    line can be found and dialled."""
    w = World(lab, row, policy="auto", start=False)
    w.phone.accounts.append(w.account(101, extra="answermode=manual"))
    w.phone.config += ["%s %s" % kv for kv in w.backup_keys(2)]
    w.phone.start()
    w.phone.wait_registered()
    w.phone.cmd("uafind " + w.aor("primary", 101))
    for n in (1, 2):
        w.phone.cmd("aastra_failover %d" % n)
        w.wait_on("backup", n=n)
    call = w.call_out("dial 200", "backup", aor=w.aor("backup", 101))
    for n in (1, 2):
        w.phone.cmd("aastra_failback %d" % n)
        w.wait_on("primary", n=n)
    assert [e[0] for e in entries(w.phone)] == [False, True]
    call.hold()
    call.hold(off=True)
    other = w.call_out("dial 200", "primary",
                       before=["uafind " + w.aor("primary")])
    other.end()
    w.phone.cmd("uafind " + w.aor("primary", 101))
    call.assert_up()
    call.end()
    assert [e[:2] for e in entries(w.phone)] == after_uafind(w.phone, [
        (False, w.aor("primary")), (True, w.aor("primary", 101))], 1)


# -- the module's commands -----------------------------------------------------------


OPTIONAL = ["aastra_status", "aastra_state", "aastra_history", "aastra_probe",
            "aastra_config"]
NEEDED = ["aastra_failover", "aastra_failback", "aastra_auto", "aastra_explain"]
NOTHING = ["aastra_reload", "aastra_metrics"]       # nothing may follow
BAD = ["0", "2", "x", "1x", "x1", "-1", "+1", "1 2", "1,2", "1.0", "0x1",
       "99999", "18446744073709551617", "one", "%s%n", "1;", "1\"",
       "x" * 900]


def stable(state):
    """What a command that was refused must not change."""
    return [{k: line[k] for k in ("line", "mode", "service", "active",
                                  "history", "counters")}
            for line in state["lines"]]


def test_bad_arguments(lab):
    """Each command says what is wrong, and nothing changes."""
    w = World(lab, "E3", far=False)
    lab.wire.settle()
    t, before = lab.now(), stable(w.phone.state())
    for command in OPTIONAL + NEEDED:
        for arg in BAD + ([None] if command in NEEDED else []):
            answer = w.phone.ctrl.call(command, arg)
            assert answer["ok"] is False, (command, arg, answer)
            text = answer["data"]
            assert len(text.strip()) > 8, (command, arg, text)
            assert "argument" not in text, (command, arg, text)
            if arg == "2":
                assert "line 2" in text
            elif arg and len(arg) < 30:
                assert arg.split()[0] in text, (command, arg, text)

    # "reload line 1" is not "reload": nothing is read
    with open(os.path.join(w.phone.dir, "config"), "a") as f:
        f.write("sip_line1_registration_period 1800\n")
    for command in NOTHING:
        for arg in ("1", "x", " all "):
            answer = w.phone.ctrl.call(command, arg)
            assert answer["ok"] is False, (command, arg, answer)
            assert arg.strip() in answer["data"]
    assert stable(w.phone.state()) == before
    lab.wire.settle()
    assert not lab.wire.find(after=t)

    # good ones, in every form that a person may type
    for command in OPTIONAL:
        for arg in (None, "1", " 1", "1 ", "1\n", "\t1\r\n", "\n"):
            answer = w.phone.ctrl.call(command, arg)
            assert answer["ok"] is True, (command, arg, answer)
            assert answer["data"].strip()
    for arg in ("1", " 1", "1 ", "01"):
        assert w.phone.ctrl.call("aastra_auto", arg)["ok"] is True
    assert w.phone.state()["lines"][0]["mode"] == "auto"
    assert w.phone.ctrl.call("aastra_metrics", " \n")["ok"] is True
    assert "1 line changed" in w.phone.ctrl.call("aastra_reload", "")["data"]


def test_no_backup_to_go_to(lab):
    """A line without a backup cannot be sent there."""
    lab.combined()
    phone = lab.baresip([lab.account(via=lab.primary)], aastra=True)
    phone.wait_registered()
    before = stable(phone.state())
    answer = phone.ctrl.call("aastra_failover", "1")
    assert answer["ok"] is False and "no backup" in answer["data"]
    assert stable(phone.state()) == before
    assert phone.state(1)["scenario"] == "none"
    assert phone.state(1)["active"] == {
        "outbound_proxy": "primary", "proxy": "primary",
        "registrar": "primary"}


def test_no_lines(lab):
    """Without an account there is nothing, and that is said."""
    phone = lab.baresip([], aastra=True)
    assert phone.state()["lines"] == []
    assert phone.cmd("aastra_status").strip()
    assert phone.ctrl.call("aastra_state", "1")["ok"] is False
    assert phone.exit() == 0


@both_rows
def test_held_by_command(lab, row):
    """aastra_failover and aastra_failback hold a line where they put it,
    aastra_auto lets it go; each prints the new state."""
    w = World(lab, row, far=False)
    text = w.phone.cmd("aastra_failover 1")
    assert "line 1" in text and "backup" in text
    w.wait_on("backup")
    w.wait_alone("backup")
    assert w.state()["mode"] == "backup"
    assert "held" in w.phone.cmd("aastra_status 1")
    t = lab.now()
    w.phone.cmd("aastra_failover 1")    # a second time: nothing happens
    w.phone.cmd("aastra_probe 1")
    lab.never(lambda: not w.on("backup"), 0.5, "left the backup")
    assert not lab.wire.sip("REGISTER", after=t)

    # held there, it stays there, dead or alive
    w.backup.kill()
    lab.until(lambda: w.state()["service"] == "none", 5, "service none")
    lab.never(lambda: w.state()["service"] != "none", 1.0, "moved")
    w.backup.start()
    w.phone.cmd("aastra_probe 1")
    w.wait_on("backup")

    text = w.phone.cmd("aastra_auto 1")
    assert "line 1" in text and "auto" in text
    w.wait_on("primary")
    w.wait_alone("primary")
    text = w.phone.cmd("aastra_failback 1")
    assert "line 1" in text and "primary" in text
    assert w.state()["mode"] == "primary"
    w.primary.kill()
    lab.until(lambda: w.state()["service"] == "none", 5, "service none")
    w.phone.cmd("aastra_auto 1")
    w.wait_on("backup")
    assert w.state()["mode"] == "auto"
    forced = [h["to"] for h in w.state()["history"] if h["event"] == "forced"]
    assert forced == ["backup", "auto", "primary", "auto"]


def test_probe(lab):
    """aastra_probe tries what has failed at once, and nothing else."""
    w = World(lab, "E3", far=False, config=["sip_recovery_base_timer 60"])
    w.lose_primary()
    w.primary.start()
    lab.never(lambda: w.on("primary"), 1.0, "went home before its time")
    down = next(f for f in w.state()["flows"] if f["rank"] == "primary")
    assert down["state"] == "down" and 20000 < down["retry_in_ms"] <= 60000
    t = lab.now()
    assert w.phone.cmd("aastra_probe").strip()
    w.wait_on("primary")
    first = lab.wire.wait_sip("OPTIONS", src="phone", after=t)
    assert first.dst == "primary" and first.t - t < 0.3


# -- the state document ------------------------------------------------------------------


def number(low=0, high=2 ** 53):
    return lambda v: (isinstance(v, (int, float)) and
                      not isinstance(v, bool) and low <= v <= high)


def whole(low=0, high=2 ** 53):
    return lambda v: type(v) is int and low <= v <= high


def text(pattern=""):
    return lambda v: isinstance(v, str) and re.match(pattern, v)


def one_of(*values):
    return lambda v: v in values


def flag(v):
    return isinstance(v, bool)


def list_of(shape):
    return lambda v: isinstance(v, list) and all(fits(x, shape) for x in v)


def fits(value, shape):
    """Does a value have this shape? More fields are allowed."""
    if callable(shape):
        return bool(shape(value))
    for key, part in shape.items():
        assert key in value, "no %s in %s" % (key, value)
        assert fits(value[key], part), "%s: %r" % (key, value[key])
    return True


RANK = one_of("primary", "backup")
ACTIVE = one_of("primary", "backup", "none")
FLOW = {
    "role": one_of("outbound_proxy", "proxy", "registrar"), "rank": RANK,
    "uri": text("sips?:"),
    "state": one_of("idle", "connecting", "up", "down"),
    "keepalive": one_of("crlf", "stun", "options", "none"),
    "rtt_ms": number(), "failures": whole(), "retry_in_ms": whole(),
    "error": text(), "registered": flag,
}
LINE = {
    "line": whole(1), "aor": text("sips?:"),
    "scenario": one_of("none", "proxy-registrar", "all", "outbound-proxy"),
    "outbound": flag, "mode": one_of("auto", "primary", "backup"),
    "service": one_of("primary", "backup", "mixed", "none"),
    "registered": flag, "expires": whole(),
    "error": text(), "retry_in_ms": whole(),
    "active": {"outbound_proxy": ACTIVE, "proxy": ACTIVE,
               "registrar": ACTIVE},
    "flows": list_of(FLOW),
    "subscriptions": list_of({
        "event": text(), "uri": text("sips?:"), "rank": ACTIVE,
        "state": one_of("pending", "active", "terminated"),
        "value": text()}),
    "counters": {"failovers": whole(), "failbacks": whole(),
                 "registrations": whole(), "probes": whole()},
    "history": list_of({
        "time_ms": whole(1600000000000),
        "event": one_of("registered", "failover", "failback", "flow-down",
                        "flow-up", "refused", "subscription-moved",
                        "call-moved", "forced", "config"),
        "to": text(), "reason": text(), "took_ms": whole()}),
}
DOCUMENT = {"module": one_of("aastra"), "version": text(r"\d+\.\d+"),
            "baresip": text(r"\d+\.\d+"), "lines": list_of(LINE)}


@pytest.mark.parametrize("row, transport", [("E3", "tcp"), ("E2", "udp")])
def test_state_document(lab, row, transport):
    """Every field of the document is there, and says what the wire shows."""
    w = World(lab, row, transport, far=False)
    start = time.time()

    def check(rank):
        doc = w.phone.state()
        assert fits(doc, DOCUMENT)
        s = doc["lines"][0]
        assert s["line"] == 1 and s["aor"] == w.aor(rank)
        assert s["scenario"] == ("all" if row == "E2" else "outbound-proxy")
        assert s["outbound"] is True and s["mode"] == "auto"
        assert s["service"] == rank and s["registered"] is True
        other = rank if row == "E2" else "primary"
        assert s["active"] == {"outbound_proxy": rank, "proxy": other,
                               "registrar": other}
        there = w.registrar(rank).bindings("100")[0]
        assert 0 <= s["expires"] - there["expires"] < 60
        assert s["expires"] == 3600

        flows = {f["rank"]: f for f in s["flows"]}
        assert set(flows) == {"primary", "backup"}
        for r, f in flows.items():
            assert f["role"] == "outbound_proxy"
            assert w.server(r).host.ip + ":5060" in f["uri"]
            assert ("tcp" in f["uri"]) == (transport == "tcp")
        mine = flows[rank]
        assert mine["state"] == "up" and mine["error"] == ""
        assert mine["failures"] == 0 and mine["retry_in_ms"] == 0
        assert mine["keepalive"] == (
            "crlf" if row != "E2" and not EMULATED else "stun"
            if transport == "udp" and mine["keepalive"] == "stun"
            else "options"), mine
        assert 0 < mine["rtt_ms"] < slack(500)
        if rank == "backup":
            gone = flows["primary"]
            assert gone["state"] in ("down", "connecting")
            assert gone["error"] and gone["failures"] >= 1
        else:
            assert flows["backup"]["state"] == "idle"
            assert flows["backup"]["keepalive"] == "none"

        c = s["counters"]
        asked = {(e.call_id, e.cseq) for e in
                 lab.wire.sip("REGISTER", request=True, src="phone")
                 if e.expires}
        ok = {(e.call_id, e.cseq) for e in
              lab.wire.sip("REGISTER", status=200, dst="phone")} & asked
        assert c["registrations"] == len(ok), (c, ok)
        asked = {e.raw for e in lab.wire.sip("OPTIONS", request=True,
                                             src="phone")}
        assert abs(c["probes"] - len(asked)) <= 1, c
        h = s["history"]
        assert c["failovers"] == sum(x["event"] == "failover" for x in h)
        assert c["failbacks"] == sum(x["event"] == "failback" for x in h)
        times = [x["time_ms"] for x in h]
        assert times == sorted(times)
        assert start * 1000 - 20000 < times[0] <= times[-1] \
            <= time.time() * 1000
        return s

    for n, rank in enumerate(w.stages()):
        if rank == "primary":
            lab.until(lambda: w.state()["flows"][1]["state"] == "idle", 3,
                      "backup let go")
        s = check(rank)
        assert s["counters"]["failovers"] == (0, 1, 1)[n]
        assert s["counters"]["failbacks"] == (0, 0, 1)[n]
    story = [(x["event"], x["to"]) for x in s["history"]
             if x["event"] in ("registered", "failover", "failback")]
    assert story == [("registered", "primary"), ("failover", "backup"),
                     ("failback", "primary")]
    names = [x["event"] for x in s["history"]]
    assert names.index("flow-down") < names.index("failover") \
        < names.index("flow-up") < names.index("failback")
    assert all(x["reason"] for x in s["history"][1:])
    # the table for people tells the same
    table = w.phone.cmd("aastra_status")
    assert w.aor("primary") in table and "primary" in table
    told = w.phone.cmd("aastra_history")
    assert re.search(r"failover.*\n(.*\n)*.*failback", told)
    assert "secret" not in table + told + w.phone.cmd("aastra_state")


def test_state_before_and_after(lab):
    """Before the line was registered for the first time, and when no server
    is left: what is configured is not shown as if it were not, and nothing as
    if it were registered."""
    primary, backup, _ = lab.edge_pair()
    primary.hang()
    phone = lab.baresip(
        lab.account(via=lab.primary, transport="tcp"), aastra=True,
        config=["sip_backup_outbound_proxy " + lab.backup.ip,
                "sip_outbound_keepalive_timer 1",
                "sip_transaction_timer 2000", "sip_recovery_base_timer 1",
                "sip_recovery_max_timer 1",
                "sip_explicit_mwi_subscription 1",
                "sip_line1_subscribe dialog 200, presence 201@example.net:5070"])

    def check(service, rank, expires):
        doc = phone.state()
        assert fits(doc, DOCUMENT)
        s = doc["lines"][0]
        assert s["active"] == {"outbound_proxy": rank, "proxy": "primary",
                               "registrar": "primary"}
        assert (s["service"], s["registered"], s["expires"]) == (
            service, service != "none", expires)
        assert bool(s["error"]) == (rank == "backup" and service == "none")
        assert [x["uri"] for x in s["subscriptions"]] == [
            "sip:100@" + DOMAIN, "sip:200@" + DOMAIN, "sip:201@example.net:5070"]

    lab.wire.wait_sip("REGISTER", request=True, dst="primary")
    check("none", "primary", 0)
    lab.until(lambda: phone.state(1)["service"] == "backup", 8)
    check("backup", "backup", 3600)
    backup.kill()
    lab.until(lambda: phone.state(1)["service"] == "none", 8)
    check("none", "backup", 0)
    primary.cont()
    lab.until(lambda: phone.state(1)["service"] == "primary", 8)
    check("primary", "primary", 3600)
    assert phone.exit() == 0


def test_state_of_a_refused_line(lab):
    """Who asks for the state of a line that the registrar refuses is told
    why, and when it tries again."""
    _, _, reg = lab.edge_pair()
    reg.respond("REGISTER", 403)
    phone = lab.baresip(
        lab.account(via=lab.primary, transport="tcp"), aastra=True,
        config=["sip_backup_outbound_proxy " + lab.backup.ip,
                "sip_registration_retry_timer 90"])
    lab.until(lambda: phone.state(1)["error"], 5)
    s = phone.state(1)
    assert fits(s, LINE) and s["service"] == "none"
    assert s["error"].startswith("403")
    assert 60000 < s["retry_in_ms"] <= 90000
    assert phone.exit() == 0


def test_state_where_no_server_was_ever_there(lab):
    """The same where there was nobody to be asked since the start: no name
    server knows where the line's servers are."""
    phone = lab.baresip(lab.account(transport="tcp"), aastra=True)
    lab.until(lambda: phone.state(1)["error"], 8)
    s = phone.state(1)
    assert fits(s, LINE) and s["service"] == "none" and not s["registered"]
    assert s["error"].startswith("name server")
    assert s["error"] in phone.cmd("aastra_status")
    assert phone.exit() == 0


# -- what a user may do at any time -------------------------------------------------------


def no_connections(w):
    def none():
        return sum(open_connections(w.lab, s) for s in
                   (w.primary, w.backup) if s.proc.running) == 0
    w.lab.until(none, 4, "no connection left")


def alive(w):
    """baresip is well: it answers, and its menu does."""
    assert w.phone.proc.running
    w.phone.cmd("reginfo")
    w.phone.cmd("listcalls")


stages = pytest.mark.parametrize("stage", STAGES)


@stages
@both_rows
def test_uadel_and_uanew(lab, row, stage):
    """The user deletes the line: it says farewell where it can, its calls
    end in order, and nothing of it is left. A new one is a new line."""
    w = World(lab, row, start=False)
    w.phone.config += ["%s %s" % kv for kv in w.backup_keys(2)]
    w.phone.start()
    w.wait_on("primary")
    rank, call = to_stage(w, stage)
    t = lab.now()
    w.phone.cmd("uadel " + entries(w.phone)[0][1])
    assert entries(w.phone) == []
    assert w.phone.state()["lines"] == []
    if call:
        gone_from(w, call)
    if stage == "moving":
        # what was under way is not heard of any more; the old binding is
        # out of reach where its server is dead
        w.backup.clear_responses()
        lab.never(lambda: lab.wire.sip(
            "REGISTER", request=True, src="phone", dst="backup",
            after=t + 0.1, match=lambda e: e.expires), 1.0, "registers")
        if row == "E3":
            assert all(w.belongs(b, "primary") for b in w.bindings())
    else:
        no_bindings(w)
    no_connections(w)
    alive(w)

    # the name may even be the same; commands act on what is there
    w.phone.cmd("uanew " + w.account(101, extra="answermode=manual"))
    if stage in ("backup", "moving"):
        w.wait_on("backup", n=2)
        shows(w, [(True, w.aor("backup", 101), "OK")])
        w.primary.start()
        w.phone.cmd("aastra_probe 2")
    w.wait_on("primary", n=2)
    lab.until(lambda: len(w.bindings(101)) == 1, 5, "one binding of 101")
    lab.until(lambda: entries(w.phone) == [(True, w.aor("primary", 101),
                                            "OK")], 3, "101 in reginfo")
    w.far_back("primary")
    w.call_out("dial 200", "primary", aor=w.aor("primary", 101)).end()
    assert w.phone.exit() == 0
    no_bindings(w, 101)


@both_rows
@pytest.mark.parametrize("which", [0, 1])
def test_uadel_of_one_of_two(lab, row, which):
    """The other line stays as it is: its place, its binding, its number."""
    w = World(lab, row, far=False, start=False)
    w.phone.accounts.append(w.account(101))
    w.phone.config += ["%s %s" % kv for n in (2, 3)
                       for kv in w.backup_keys(n)]
    w.phone.start()
    w.phone.wait_registered()
    users = [100, 101]
    gone, stays = users[which], users[1 - which]
    n = users.index(stays) + 1
    for rank in ("primary", "backup"):
        if rank == "backup":
            w.phone.cmd("uanew " + w.account(gone))
            w.phone.wait_registered()
            w.primary.kill()
            w.wait_on("backup", n=n)
            w.wait_on("backup", n=3)
            assert [e[1] for e in entries(w.phone)] == [
                w.aor("backup", u) for u in (stays, gone)]
        t = lab.now()
        aors = [e[1] for e in entries(w.phone) if ":%d@" % gone in e[1]]
        w.phone.cmd("uadel " + aors[0])
        no_bindings(w, gone)
        assert len(w.bindings(stays)) == 1
        assert w.on(rank, n)
        shows(w, [(True, w.aor(rank, stays), "OK")])
        assert [x["line"] for x in w.phone.state()["lines"]] == [n]
        assert not lab.wire.sip("REGISTER", request=True, user=stays,
                                src="phone", after=t)


@pytest.mark.parametrize("row, rank", [("E3", "primary"), ("E2", "backup")])
def test_user_unregisters(lab, row, rank):
    """`uareg 0` of 4.x: the user is not to be reached, and no server says
    that he is, until he registers again; then the line goes on."""
    site = Site(lab, row, "tcp")
    phone = site.start(reregister=True)
    if rank == "backup":
        phone.cmd("aastra_failover 1")
        site.wait_on(rank)
    phone.cmd("unregister")
    lab.until(lambda: not site.bindings(), 5, "registered nowhere")
    lab.until(lambda: not phone.state()["lines"], 5, "no line")
    if row == "E3":
        assert "configuration read again" in phone.cmd("aastra_reload")
        assert not site.bindings() and not phone.state()["lines"]
    t = lab.now()
    phone.cmd("registeranew")
    # where it was before, until it knows better
    site.wait_on("primary", timeout=20, after=t, only=True)
    if row == "E3":
        site.primary.kill()
        site.wait_on("backup", timeout=20)
    t = lab.now()
    phone.cmd("unregister")
    phone.cmd("registeranew")
    lab.until(lambda: phone.state(1)["registered"], 10, "registered again")
    assert len(entries(phone)) == 1
    assert phone.exit() == 0
    lab.until(lambda: not site.bindings(), 5, "nothing is left")


def test_unregistered_keeps_its_settings(lab):
    """What the account itself says is not lost while the user has it
    unregistered: `sipnat=outbound` still keeps flows after a reload."""
    lab.combined(lab.primary)
    phone = lab.baresip(
        lab.account(domain=lab.primary.ip, transport="tcp",
                    extra="sipnat=outbound"),
        aastra=True, app_modules=[reregister_so(lab)])
    lab.until(lambda: phone.state(1)["registered"], 10, "registered")
    assert phone.state(1)["outbound"]
    phone.cmd("unregister")
    lab.until(lambda: not phone.state()["lines"], 5, "no line")
    phone.cmd("aastra_reload")
    phone.cmd("registeranew")
    lab.until(lambda: phone.state(1)["registered"], 10, "registered again")
    assert phone.state(1)["outbound"]
    assert phone.exit() == 0


@pytest.mark.parametrize("rank", ["primary", "backup"])
def test_uadel_of_all(lab, rank):
    """All lines at once, on the primary and on the backup."""
    w = World(lab, "E2", far=False, start=False)
    w.phone.accounts.append(w.account(101))
    w.phone.config += ["%s %s" % kv for n in (2, 3)
                       for kv in w.backup_keys(n)]
    w.phone.start()
    w.phone.wait_registered()
    if rank == "backup":
        w.primary.kill()
    for n in (1, 2):
        w.wait_on(rank, n=n)
    for _, aor, _ in reversed(entries(w.phone)):
        w.phone.cmd("uadel " + aor)
    assert entries(w.phone) == []
    assert w.phone.state()["lines"] == []
    for u in (100, 101):
        no_bindings(w, u)
    no_connections(w)
    # baresip without any account does not stumble, and one can be made
    for c in ("dial 200", "hangup", "accept", "listcalls"):
        w.phone.ctrl.call(*c.split())
    w.phone.cmd("uanew " + w.account(103))
    w.wait_on(rank, n=3)
    shows(w, [(True, w.aor(rank, 103), "OK")])
    alive(w)
    assert w.phone.exit() == 0


@pytest.mark.parametrize("regint", [3600, 0])
@pytest.mark.parametrize("keys", [True, False])
def test_uanew(lab, regint, keys):
    """uanew adds a line: with the backup that a key names, with regint=0
    only then."""
    w = World(lab, "E3", far=False, start=False)
    if keys:
        w.phone.config += ["%s %s" % kv for kv in w.backup_keys(2)]
    w.phone.start()
    w.wait_on("primary")
    t = lab.now()
    w.phone.cmd("uanew " + w.account(101, regint=regint))
    if not regint and not keys:
        lab.never(lambda: lab.wire.sip("REGISTER", user=101, after=t), 1.0,
                  "registered an account that does not want it")
        assert [x["line"] for x in w.phone.state()["lines"]] == [1]
        return
    w.wait_on("primary", n=2)
    lab.until(lambda: len(w.bindings(101)) == 1, 3, "a binding of 101")
    lab.until(lambda: [e[1:] for e in entries(w.phone)] == [
        (w.aor("primary", u), "OK") for u in (100, 101)], 3, "two entries")
    if keys:
        w.primary.kill()
        w.wait_on("backup", n=2)
        lab.until(lambda: len(w.bindings(101)) == 1, 5, "one binding")
    w.phone.cmd("uadel sip:101@" + DOMAIN)
    lab.until(lambda: not w.bindings(101), 4, "its farewell")


@stages
@both_rows
def test_rmmod_and_insmod(lab, row, stage):
    """Unloaded, the module gives the account back to baresip, which
    registers it by itself; loaded again it takes it over."""
    w = World(lab, row)
    rank, call = to_stage(w, stage)
    t = lab.now()
    w.phone.cmd("rmmod aastra")
    assert not w.phone.ctrl.call("aastra_status")["ok"]
    assert [e[:2] for e in entries(w.phone)] == [(True, w.aor("primary"))]
    alive(w)
    if stage == "moving":
        w.backup.clear_responses()
    if rank == "primary" and stage != "moving":
        # plain baresip: over its own outbound proxy, without our marks
        lab.until(lambda: [b["reg_id"] for b in w.bindings()] == [0], 5,
                  "the plain binding alone")
        assert ";flow=" not in w.bindings()[0]["contact"]
        w.phone.wait_registered()
    else:
        # its only server is dead; the backup does not know it any more
        lab.until(lambda: entries(w.phone)[0][2] == "ERR", 5, "not there")
        if stage == "backup":
            no_bindings(w)
    if call and call_is_up(call):
        call.assert_audio()
        w.phone.hangup()
    if call:
        gone_from(w, call)
    if rank == "primary" and stage != "moving":
        w.call_out("dial 200", "primary").end()

    w.phone.cmd("insmod aastra")
    if stage in ("backup", "moving"):
        w.wait_on("backup")
        shows(w, [(True, w.aor("backup"), "OK")])
        w.primary.start()
        w.far_back("primary")
        w.phone.cmd("aastra_probe")
    w.wait_on("primary")
    w.wait_alone("primary")
    shows(w, [(True, w.aor("primary"), "OK")])
    # nobody waited for the answer to the farewell: it may come late, so that
    # another one of the primary's is used
    assert w.bindings()[0]["reg_id"] in (1, 5)
    w.call_out("dial 200", "primary").end()
    w.call_in("primary").end()
    assert w.phone.exit() == 0
    no_bindings(w)


def call_is_up(call):
    ids = {e.get("id") for e in call.phone.find_events("CALL_CLOSED")}
    return call.dialog not in ids


@both_rows
@pytest.mark.parametrize("how", ["module_app", "insmod", "insmod regint=0",
                                 "insmod in a call", "insmod backup"])
def test_loaded_late(lab, row, how):
    """Loaded after account.so, or by hand, it takes over what is there:
    one binding, its own, and the call that is up stays up."""
    late = how == "module_app"
    w = World(lab, row, start=False, aastra=False,
              system_modules=all_modules(lab),
              app_modules=["aastra.so"] if late else [])
    if how.endswith("=0"):
        w.phone.accounts = [w.account(regint=0, extra="answermode=manual")]
    w.phone.start()
    if not how.endswith("=0"):
        w.phone.wait_registered()
    call = w.call_out("dial 200", "primary") if "call" in how else None
    if how.endswith("backup"):
        w.primary.kill()
    if not late:
        w.phone.cmd("insmod aastra")
        w.phone.proc.wait_for_line("aastra: .*after account.so")
    rank = "backup" if how.endswith("backup") else "primary"
    w.wait_on(rank)
    if rank == "primary":
        lab.until(lambda: [b["reg_id"] for b in w.bindings()] == [1], 5,
                  "our binding alone")
    lab.until(lambda: entries(w.phone) == [(True, w.aor(rank), "OK")], 3,
              "registered")
    if call:
        call.assert_up()
        call.assert_audio()
        call.end()
    if rank == "primary":
        w.lose_primary()
        w.call_out("dial 200", "backup").end()
    else:
        w.call_in("backup").end()
    said = [x for _, x in w.phone.proc.lines if "after account.so" in x]
    assert len(said) == 1
    assert w.phone.exit() == 0


@both_rows
def test_order_when_the_module_comes_and_goes(lab, row):
    """rmmod, insmod, uanew and uadel of another line leave the places of
    the lines and the current one alone."""
    w = World(lab, row, far=False, start=False)
    w.phone.accounts += [w.account(101), w.account(102)]
    w.phone.config += ["%s %s" % kv for n in (2, 4)
                       for kv in w.backup_keys(n)]
    w.phone.start()
    w.phone.wait_registered()
    w.phone.cmd("uafind " + w.aor("primary", 101))
    home = after_uafind(w.phone, [
        (False, w.aor("primary")), (True, w.aor("primary", 101)),
        (False, w.aor("primary", 102))], 1)

    def places(want):
        assert [e[:2] for e in entries(w.phone)] == want

    for command in ("rmmod aastra", "insmod aastra"):
        w.phone.cmd(command)
        places(home)
        lab.until(lambda: all(e[2] == "OK" for e in entries(w.phone)), 5,
                  "registered after " + command)
        places(home)
    w.phone.cmd("uanew " + w.account(103))
    w.wait_on("primary", n=4)
    places(home + [(False, w.aor("primary", 103))])

    for n in (1, 2, 4):
        w.phone.cmd("aastra_failover %d" % n)
        w.wait_on("backup", n=n)
    away = after_uafind(w.phone, [
        (False, w.aor("backup")), (True, w.aor("backup", 101)),
        (False, w.aor("primary", 102)), (False, w.aor("backup", 103))], 1)
    places(away)
    w.phone.cmd("uadel " + w.aor("backup", 103))
    places(away[:3])
    w.phone.cmd("uadel " + w.aor("backup"))

    def without_100(rows):
        return [x for x in rows[:3] if "sip:100@" not in x[1]]

    places(without_100(away))
    w.phone.cmd("rmmod aastra")
    places(without_100(home))
    w.phone.cmd("insmod aastra")
    places(without_100(home))
