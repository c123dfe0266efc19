"""A whole life of the module: in valgrind, for hundreds of moves, and to its
end with servers that do not answer."""

import contextlib
import re
import shutil
import socket
import statistics

import pytest

from helpers_calls import (DOMAIN, OTHER, STAGES, World, gone_from, no_bindings,
                           to_stage)
from lab.fake import usual
from lab.figures import held
from lab.link import SlowLink
from lab.proc import VALGRIND
from lab.wait import Timeout
from test_hostile import phone_of, service


def in_valgrind(test):
    test = pytest.mark.lab(wrapper=VALGRIND)(test)
    return pytest.mark.skipif(not shutil.which("valgrind"),
                              reason="needs valgrind")(test)


def ends_well(w, timeout=10):
    """It ends by itself, and valgrind has nothing to say."""
    code = w.phone.exit(timeout)
    text = w.phone.proc.output()
    assert code == 0, "\n".join(x for x in text.splitlines()
                                if x.startswith("=="))[:4000]
    assert "ERROR SUMMARY: 0 errors" in text
    assert "HEAP SUMMARY" in text


@in_valgrind
@pytest.mark.parametrize("row, transport", [("E3", "tcp"), ("E2", "udp")])
def test_life(lab, row, transport):
    """Calls, moves, lines that come and go, the module too; five rounds."""
    w = World(lab, row, transport, policy="auto")

    # a call across a failover, and one across a failback
    call = w.call_out("dial 200", "primary")
    w.lose_primary()
    call.dtmf("1")
    w.phone.hangup()
    call = w.call_out("dial 200", "backup")
    w.come_home()
    call.hold()
    call.hold(off=True)
    second = w.call_out("dial sip:201@" + OTHER, "primary", 201)
    second.end()
    call.end()
    w.call_in("primary").end(by="far")

    for _ in range(5):
        w.lose_primary()
        w.come_home()

    # a line more, moved, and gone
    w.phone.cmd("uanew " + w.account(101))
    w.wait_on("primary", n=2)
    w.lose_primary()
    w.phone.cmd("uadel " + w.aor("primary", 101))
    w.phone.cmd("aastra_status")
    w.phone.cmd("aastra_history")
    w.phone.cmd("aastra_state")

    # the module goes and comes, on the backup and at home
    w.phone.cmd("rmmod aastra")
    w.phone.cmd("insmod aastra")
    w.wait_on("backup")
    w.come_home()
    w.phone.cmd("rmmod aastra")
    w.phone.cmd("insmod aastra")
    w.wait_on("primary")
    ends_well(w)
    no_bindings(w)


@in_valgrind
@pytest.mark.parametrize("row, transport", [("E3", "tcp"), ("E2", "tcp"),
                                            ("E2", "udp")])
def test_ends_and_begins_at_every_stage(lab, row, transport):
    """The module is unloaded and loaded, and the line deleted and made, at
    every stage of a move and of a call, in one life."""
    w = World(lab, row, transport, start=False)
    # menu.so of 1.0.0 reads freed memory when the current user agent is
    # deleted for the second time; so there is another one to be current
    stays = "sip:102@" + DOMAIN
    w.phone.accounts.insert(0, lab.account(102, via=(w.reg or
                                                     w.backup).host))
    w.phone.config += ["%s %s" % kv for n in range(2, 9)
                       for kv in w.backup_keys(n)]
    w.phone.config.remove("%s %s" % w.backup_keys(1)[0])
    w.phone.start(timeout=30)
    n = 2
    w.wait_on("primary", n=n)
    w.phone.cmd("uafind " + w.aor("primary"))
    for action in ("rmmod", "uadel"):
        for stage in STAGES:
            _, call = to_stage(w, stage, n)
            if action == "rmmod":
                w.phone.cmd("rmmod aastra")
                if w.phone.raises:
                    # its place in the list is to be its number again
                    w.phone.cmd("uafind " + stays)
                w.phone.cmd("insmod aastra")
                w.phone.hangup()
            else:
                found = [x for x in w.phone.reginfo() if x != stays]
                assert len(found) == 1
                w.phone.cmd("uafind " + stays)
                w.phone.cmd("uadel " + found[0])
                w.phone.cmd("uanew " + w.account())
                n += 1
            if call:
                gone_from(w, call)
            w.backup.clear_responses()
            if not w.primary.proc.running:
                w.primary.start()
                w.far_back("primary")
            lab.until(lambda: w.phone.cmd("aastra_probe") and
                      w.on("primary", n), 15, "home after %s on %s"
                      % (action, stage), every=0.3)
            w.phone.cmd("uafind " + w.aor("primary"))
            # what a dead server had is not there any more
            w.wait_alone("primary", 10)
    ends_well(w)
    no_bindings(w)
    held("End", "rmmod and insmod, uadel and uanew at every stage, in "
         "valgrind", stages=2 * len(STAGES), errors_of_memory=0,
         bindings_left=0)


@in_valgrind
@pytest.mark.parametrize("stage", STAGES)
def test_exit_at_every_stage(lab, stage):
    """The end of baresip, at every stage, leaves nothing behind: no memory,
    no binding where a server can be reached, no call."""
    w = World(lab, "E2", "tcp")
    _, call = to_stage(w, stage)
    if stage == "moving":
        w.backup.clear_responses()
    ends_well(w)
    if call:
        gone_from(w, call)
    no_bindings(w)
    held("End", "exit in valgrind: " + stage, errors_of_memory=0,
         bindings_left=0)


# -- how long the end takes ----------------------------------------------------------


def kill(w, server):
    server.kill()


def hang(w, server):
    server.hang()


def black_hole(w, server):
    server.host.drop()


DEATHS = [("E3", "tcp", kill), ("E3", "tcp", hang),
          ("E3", "tcp", black_hole), ("E2", "udp", black_hole)]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("row, transport, fault", DEATHS, ids=[
    "%s-%s-%s" % (r, t, f.__name__) for r, t, f in DEATHS])
def test_exit_in_time(lab, row, transport, fault, stage):
    """However the servers died, baresip ends within two seconds, also where
    a call is up."""
    w = World(lab, row, transport)
    to_stage(w, stage)
    for server in (w.primary, w.backup, w.reg):
        if server and server.proc.running:
            fault(w, server)
    t = lab.now()
    assert w.phone.exit() == 0
    took = lab.now() - t
    # nothing else of this lab has to wait for dead servers
    for x in [*w.fars.values(), w.primary, w.backup, w.reg]:
        if x:
            x.kill()
    assert took < 2.0, took
    held("End", "exit, all servers %s" % {
        kill: "killed", hang: "hung", black_hole: "in a black hole"}[fault],
        seconds=took)


# -- the end over a connection that is lost ------------------------------------------


def forgotten(w):
    """A router on the way has forgotten the connection, without a word."""
    found = w.primary.host.run("ss", "-H", "-t", "-n", "state", "established",
                               "dst", w.phone.host.ip).splitlines()
    assert found
    for line in found:
        w.primary.host.drop("both", "tcp", port=int(line.rpartition(":")[2]))


def half_open(w):
    """The server is another process, and that has not been noticed."""
    w.primary.host.drop("both")
    w.primary.kill()
    w.primary.start()
    w.primary.host.clear()


@pytest.mark.parametrize("how", ["forgotten", "half_open"])
def test_exit_over_a_lost_connection(lab, how):
    """The connection is lost within a keep-alive interval, and baresip ends
    before that is noticed: the farewell is said over another one."""
    w = World(lab, "E3", "tcp", far=False)
    w.wait_alone("primary")
    globals()[how](w)
    t = lab.now()
    assert w.phone.exit() == 0
    assert lab.now() - t < 2.0
    assert len(lab.wire.sip("REGISTER", status=200, expires=0, dst="phone",
                            after=t)) <= 2
    no_bindings(w)
    held("End", "exit over a lost connection", bindings_left=0)


def two_lines(w):
    w.phone.accounts.append(w.account(101))
    w.phone.config += ["%s %s" % kv for kv in w.backup_keys(2)]
    w.phone.start()
    w.wait_on("primary")
    w.wait_on("primary", n=2)
    w.wait_alone("primary")
    w.wait_alone("primary", user=101)


def test_delete_over_a_slow_connection(lab):
    """An account is deleted, and a second later the server has not even
    acknowledged that: the other line's connection is the same, and stays."""
    w = World(lab, "E3", "tcp", far=False, start=False)
    w.primary.kill()
    link = SlowLink(lab, lab.primary, 0)
    w.primary.start()
    two_lines(w)
    t = lab.now()
    link.slow(w.phone.host, 1200)
    w.phone.cmd("uadel " + w.aor("primary", 101))
    lab.wire.wait_sip("REGISTER", status=200, dst="phone", user=101, after=t)
    assert not w.bindings(101)
    assert w.state()["counters"]["failovers"] == 0
    assert w.on("primary")
    assert not [e for e in lab.wire.find(kind="rst", after=t)]
    held("End", "an account is deleted over a slow connection", moves=0)


def test_delete_over_a_lost_connection(lab):
    """A router has forgotten the connection that two lines have, and one of
    them is deleted: it is taken back all the same."""
    w = World(lab, "E3", "tcp", far=False, start=False)
    two_lines(w)
    forgotten(w)
    w.phone.cmd("uadel " + w.aor("primary", 101))
    lab.until(lambda: not w.bindings(101), 12, "its farewell")
    lab.until(lambda: len(w.bindings()) == 1, 12, "one of the other line")
    held("End", "an account is deleted over a lost connection",
         bindings_left=0)


# -- fifty rounds --------------------------------------------------------------------


TRANSACTION = 32    # s that libre remembers a transaction


@pytest.mark.parametrize("row", ["E3", "E2"])
def test_fifty_rounds(lab, row):
    """Fifty times away and home: as many file descriptors and bindings as
    before, and no move takes longer at the end. What the rounds took of
    memory is used again by the next ones."""
    w = World(lab, row, far=False)
    fds, took = [], []

    def rounds(n):
        for _ in range(n):
            t = lab.now()
            w.primary.kill()
            w.wait_on("backup")
            took.append(lab.now() - t)
            w.come_home()
            lab.until(lambda: w.state()["flows"][1]["state"] == "idle", 3,
                      "backup let go")
            # but for a file that a thread is just writing to the disk
            seen = [w.phone.fds()]
            with contextlib.suppress(Timeout):
                lab.until(lambda: seen.append(w.phone.fds())
                          or fds and seen[-1] == fds[0], 3 if fds else 0.5)
            fds.append(min(seen))

    begin = lab.now()
    rounds(50)
    assert set(fds) == {fds[0]}, fds
    assert statistics.median(took[-10:]) < 2 * statistics.median(
        took[:10]) + 0.05, took
    c = w.state()["counters"]
    assert c["failovers"] == c["failbacks"] == 50
    if row == "E3":
        lab.until(lambda: lab.now() > begin + TRANSACTION, TRANSACTION + 1)
        # from now on as many transactions end as begin (libre 4.x keeps two
        # kilobytes of each)
        rounds(25)
        rss = w.phone.rss_kb()
        rounds(25)
        assert w.phone.rss_kb() - rss <= 64
    assert w.phone.exit() == 0
    no_bindings(w)


def test_crash_on_a_later_reg_id(lab):
    """A farewell to the primary is not answered and may still arrive, so the
    line comes home with another reg-id; then the phone crashes. It begins with
    that one again, and the registrar keeps no binding of before."""
    w = World(lab, "E3", "tcp", policy="auto", far=False)
    w.wait_alone("primary")
    w.primary.respond("REGISTER", 0)
    t = lab.now()
    w.phone.cmd("aastra_failover 1")
    w.wait_on("backup")
    w.wait_alone("backup")
    # the latest one may arrive at any time now
    lab.wire.wait(lambda: len(lab.wire.sip(
        "REGISTER", request=True, expires=0, dst="primary", after=t)) > 1,
        10, "a second farewell")
    w.primary.clear_responses()
    w.phone.cmd("aastra_auto 1")
    w.wait_on("primary")
    w.wait_alone("primary")
    before = w.bindings()[0]
    assert before["reg_id"] > 4
    w.phone.kill()
    w.phone.ctrl.close()
    w.phone.start()
    w.wait_on("primary")
    lab.until(lambda: [b["contact"] != before["contact"]
                       for b in w.bindings()] == [True], 5,
              "one binding, the new one")


@pytest.mark.parametrize("how", ["restart", "uadel", "rmmod"])
def test_late_farewell(lab, how):
    """The registrar is away for a moment, and somebody restarts the phone,
    makes the account anew, or loads the module again: the farewell of before
    lies in the edge proxy, and arrives after the registrar has the new binding.
    That one stays."""
    w = World(lab, "E3", "tcp", far=False, registrar={"FR_TIMER": 8000},
              defines={"FR_TIMER": 8000}, config=[
                  "sip_line2_backup_outbound_proxy " + lab.backup.ip])
    w.wait_alone("primary")
    old = w.bindings()[0]
    w.reg.host.drop("in")
    t = lab.now()
    if how == "restart":
        w.phone.exit()
        w.phone.ctrl.close()
        w.phone.start()
    elif how == "rmmod":
        w.phone.cmd("rmmod aastra")
        w.phone.cmd("insmod aastra")
    else:
        w.phone.cmd("uadel " + w.aor("primary"))
        lab.wire.wait(lambda: lab.wire.sip(
            "REGISTER", request=True, expires=0, dst="primary", after=t), 5,
            "a farewell")
        w.phone.cmd("uanew " + w.account())
    # two of it are lost, the next comes 2 s after them
    said = lab.wire.wait(lambda: lab.wire.sip(
        "REGISTER", request=True, expires=0, dst="reg", after=t)[2:], 8,
        "the edge says it again")
    w.reg.host.clear()
    cleared = lab.now()
    lab.until(lambda: [b for b in w.bindings()
                       if b["contact"] != old["contact"]], 15, "a new binding")
    lab.wire.wait(lambda: lab.wire.sip(
        "REGISTER", status=200, src="reg", after=cleared,
        match=lambda e: e.cseq == said[0].cseq), 15, "a farewell arrived")
    w.wait_alone(w.phone.state()["lines"][0]["service"])
    lab.never(lambda: not [b for b in w.bindings()
                           if b["contact"] != old["contact"]], 5,
              "the new binding is gone")
    held("End", "a farewell that arrives after the next start",
         bindings_lost=0)


class Forgetful:
    """A registrar that keeps what it is told, by the URI of its Contact, and
    lists that in each answer. It may lose the connection of what baresip
    itself registers, before that has its answer, or may answer nothing that
    registers, or be behind a proxy that has no answer (408)."""

    def __init__(self):
        self.table = {}
        self.loses = False
        self.silent = False
        self.behind = False

    def __call__(self, r):
        if r.method != "REGISTER":
            return usual(r)
        contact = r.header("contact")
        self.table.pop(self.key(contact), None)
        if r.expires:
            self.table[self.key(contact)] = contact
            if self.silent:
                return r.answer(408, "Timeout") if self.behind else None
        if r.expires and ";flow=" not in contact and self.loses:
            self.loses = False
            r.send.__self__.shutdown(socket.SHUT_RDWR)
            return None
        return r.answer(200, "OK", *("Contact: " + x for x in
                                     self.table.values()))

    @staticmethod
    def key(contact):
        return re.search("<([^>]*)>", contact)[1]


class ByRegId(Forgetful):
    """Knows a binding by its reg-id (RFC 5626 6)."""

    @staticmethod
    def key(contact):
        return re.search(r"reg-id=(\d+)", contact)[1]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_unloaded_while_it_registers(lab, transport):
    """The module is unloaded while its first REGISTER waits for the answer:
    the registrar has the binding, and is told that it is no more."""
    reg = Forgetful()
    reg.silent = True
    phone, _ = phone_of(lab, [reg, reg], transport,
                        ["sip_transaction_timer 64000"])
    lab.until(lambda: reg.table, 8, "a binding")
    (uri,) = reg.table
    assert ";flow=" in uri
    phone.cmd("rmmod aastra")
    lab.until(lambda: uri not in reg.table, 4, "it is taken back")
    lab.never(lambda: uri in reg.table, 1, "it is there again")
    held("End", "unloaded while it registers", bindings_left=0)


@pytest.mark.parametrize("transport, how", [
    ("tcp", ""), ("udp", ""), ("tcp", "reload"), ("tcp", "behind")], ids=[
        "tcp", "udp", "reload", "behind"])
def test_late_register(lab, transport, how):
    """baresip ends while a REGISTER waits for its answer, which lies in a proxy,
    and begins again. When that arrives, the registrar forgets the binding of
    now: it is there again soon, and not after half an hour. Also where the
    settings have changed since the start, or the proxy has said that it got
    no answer."""
    reg = Forgetful()
    reg.silent = True
    reg.behind = how == "behind"
    phone, _ = phone_of(lab, [reg, reg], transport)
    lab.until(lambda: reg.table, 8, "a REGISTER")
    assert phone.exit() == 0
    phone.ctrl.close()
    reg.silent = False
    phone.start()
    lab.until(lambda: service(phone) == "primary", 8, "registered")
    if how == "reload":
        phone.config.append("sip_registration_period 1800")
        phone.write_config()
        phone.cmd("aastra_reload")
        lab.until(lambda: phone.state(1)["expires"] == 1800, 8, "reloaded")
    lab.until(lambda: reg.table, 8, "a binding")
    reg.table.clear()
    lab.until(lambda: reg.table, 10, "it is there again")
    held("End", "a REGISTER that arrives after the next start",
         bindings_lost=0)


def test_late_register_leaves_nothing(lab):
    """As above, and the REGISTER of before arrives when all farewells have been
    said: what it makes is taken back soon, and not after half an hour."""
    reg = ByRegId()
    reg.silent = True
    phone, _ = phone_of(lab, [reg, reg], "tcp")
    lab.until(lambda: reg.table, 8, "a REGISTER")
    late = dict(reg.table)
    assert phone.exit() == 0
    phone.ctrl.close()
    reg.silent = False
    phone.start()
    lab.until(lambda: reg.table and not reg.table.keys() & late.keys(), 8,
              "a binding of this life, and none of before")
    reg.table.update(late)
    lab.until(lambda: not reg.table.keys() & late.keys(), 10, "taken back")
    lab.until(lambda: reg.table, 4, "the binding of now")
    held("End", "a REGISTER that arrives after the next start's farewells",
         bindings_left=0)


def taken_back(lab):
    """A move is taken back while its REGISTER has no answer. Returns the
    registrar, the phone, the reg-ids in force, and what that REGISTER makes."""
    reg = ByRegId()
    phone, _ = phone_of(lab, [reg, reg], "tcp")
    lab.until(lambda: service(phone) == "primary", 8, "registered")
    home = set(reg.table)
    reg.silent = True
    phone.cmd("aastra_failover 1")
    lab.until(lambda: set(reg.table) - home, 8, "a REGISTER at the backup")
    late = {k: v for k, v in reg.table.items() if k not in home}
    phone.cmd("aastra_auto 1")
    reg.silent = False
    lab.until(lambda: set(reg.table) == home, 8, "it is taken back")
    return reg, phone, home, late


def test_late_register_and_a_reload(lab):
    """A move is taken back while its REGISTER, which lies in a proxy, has no
    answer, and the settings change: what it makes is taken back."""
    reg, phone, home, late = taken_back(lab)
    phone.config.append("sip_registration_period 1800")
    phone.write_config()
    phone.cmd("aastra_reload")
    lab.until(lambda: phone.state(1)["expires"] == 1800, 8, "reloaded")
    lab.until(lambda: len(reg.table) == 1 and set(reg.table) != home, 8,
              "the new binding alone")
    reg.table.update(late)
    lab.until(lambda: not reg.table.keys() & late.keys(), 12, "taken back")
    lab.until(lambda: reg.table, 4, "the binding of now")


@pytest.mark.all_rows
def test_late_register_of_a_move(lab):
    """A move is taken back while its REGISTER, which lies in a proxy, has no
    answer, and the farewell overtakes it: what it makes is taken back when it
    cannot come any more (RFC 3261 17.1.2.2, Timer F)."""
    reg, phone, home, late = taken_back(lab)
    reg.table.update(late)
    lab.until(lambda: set(reg.table) == home, 40, "and once more")
    held("End", "a REGISTER of a move that was taken back arrives late",
         bindings_left=0)


def test_late_refresh(lab):
    """A refresh is not answered, and the line moves meanwhile; the farewell is.
    The refresh may arrive still after the next start: what is registered then
    has another reg-id."""
    regs = [Forgetful(), Forgetful()]
    phone, _ = phone_of(lab, regs, "tcp", ["sip_registration_period 6",
                                           "sip_transaction_timer 8000"])
    lab.until(lambda: regs[0].table, 8, "registered")
    (uri,) = regs[0].table
    regs[0].table.clear()
    regs[0].silent = True
    lab.until(lambda: regs[0].table, 8, "a refresh")
    phone.cmd("aastra_failover 1")
    lab.until(lambda: regs[1].table and not regs[0].table, 8, "moved")
    assert phone.exit() == 0
    phone.ctrl.close()
    regs[0].silent = False
    phone.start()
    lab.until(lambda: regs[0].table, 8, "home")
    assert [x.partition(";flow=")[2] for x in regs[0].table] != [
        uri.partition(";flow=")[2]]


def test_plain_binding_is_not_left(lab):
    """Unloaded and loaded again within the round trip of baresip's own
    REGISTER, whose answer is lost: the registrar has its binding, baresip does
    not know, and the module takes it back."""
    reg = Forgetful()
    phone, _ = phone_of(lab, [reg, reg], "tcp")
    lab.until(lambda: service(phone) == "primary", 8, "registered")
    reg.loses = True
    phone.cmd("rmmod aastra")
    phone.cmd("insmod aastra")
    lab.until(lambda: not reg.loses, 8, "baresip's own REGISTER")
    lab.until(lambda: service(phone) == "primary", 8, "registered again")
    lab.until(lambda: [";flow=" in x for x in reg.table] == [True], 8,
              "the line's binding, and no other")
    assert phone.exit() == 0
    held("End", "unloaded and loaded within a round trip", bindings_left=0)
    lab.until(lambda: not reg.table, 4, "nothing is left")
