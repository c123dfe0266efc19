"""What a person, a monitoring system and baresip's listeners see of a line:
status, history, explanation, metrics, events; and that looking does no
harm."""

import os
import pty
import re
import select
import signal
import socket
import stat
import time

import pytest

from lab.fake import Fake, usual
from lab.page import Page
from lab.preload import Clock
from lab.site import BACKUP, FAST, PRIMARY, Site
from lab.several import _ahead, ahead, parallel  # noqa: F401 (fixtures)
from test_provision import Site as Fetched

WIDTH = 80


# ---- Prometheus' text format ----------------------------------------------


NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(r"(%s)(?:\{(%s(?:,%s)*)\})? (\S+)" % (NAME, LABEL, LABEL))


class Metrics:
    """A strict reader: every sample belongs to the family before it, which
    has one HELP and one TYPE, and no sample comes twice."""

    def __init__(self, text):
        assert text.endswith("\n")
        self.type = {}
        self.sample = {}
        helped, family = set(), None
        for row in text.strip("\n").split("\n"):
            if row.startswith("# HELP "):
                _, _, family, words = row.split(" ", 3)
                assert re.fullmatch(NAME, family) and words, row
                assert family not in helped, row
                helped.add(family)
                continue
            if row.startswith("# TYPE "):
                _, _, name, kind = row.split(" ")
                assert name == family and name not in self.type, row
                assert kind in ("counter", "gauge", "histogram"), row
                self.type[name] = kind
                continue
            m = SAMPLE.fullmatch(row)
            assert m, row
            name, labels = m[1], m[2] or ""
            kind = self.type[family]
            if kind == "histogram":
                assert name in (family + "_bucket", family + "_sum",
                                family + "_count"), row
            else:
                assert name == family, row
            assert kind != "counter" or name.endswith("_total"), row
            key = (name, frozenset(re.findall(LABEL, labels)))
            assert len(key[1]) == len(re.findall(LABEL, labels)), row
            assert key not in self.sample, row
            self.sample[key] = float(m[3])
        assert set(self.type) == helped
        self._check_histograms()

    def _check_histograms(self):
        for family in [n for n, k in self.type.items() if k == "histogram"]:
            rows = {}
            for (name, labels), value in self.sample.items():
                if name == family + "_bucket":
                    le, = [x for x in labels if x.startswith("le=")]
                    rows.setdefault(labels - {le}, []).append(
                        (float(le[4:-1]), value))
            assert rows
            for labels, buckets in rows.items():
                buckets.sort()
                assert buckets[-1][0] == float("inf")
                counts = [n for _, n in buckets]
                assert counts == sorted(counts)
                assert counts[-1] == self.sample[family + "_count", labels]
                assert (family + "_sum", labels) in self.sample

    def __call__(self, name, **labels):
        return self.sample[name, frozenset('%s="%s"' % kv
                                           for kv in labels.items())]


def metrics(phone):
    return Metrics(phone.cmd("aastra_metrics").rstrip("\n") + "\n")


def logged(phone, regex):
    return [text for _, text in phone.proc.lines if re.search(regex, text)]


def entries(phone, line=1, event=None):
    return [e for e in phone.state(line)["history"]
            if event in (None, e["event"])]


# ---- one story, seen from everywhere --------------------------------------


@parallel
@pytest.mark.parametrize("row", ["E3", "E2"])
def test_story(lab, row):
    """Killed, home again, silent: history, metrics, status, explanation and
    events say the same, and why."""
    site = Site(lab, row, users=[100, 101])
    phone = site.start(config=["sip_line1_subscribe message-summary"])
    start = time.time()
    m = metrics(phone)
    assert m("aastra_lines") == 2
    assert m("aastra_line_registered", line=2) == 1
    assert m("aastra_line_service", line=1, service="primary") == 1
    assert m("aastra_failovers_total", line=1) == 0
    assert m("aastra_registrations_total", line=1) == 1
    assert not [k for k in m.sample if "last_move" in k[0]]
    assert "not moved" in phone.cmd("aastra_explain 1")

    site.primary.kill()
    site.wait_on(BACKUP)
    m = metrics(phone)
    for line in 1, 2:
        assert m("aastra_failovers_total", line=line) == 1
        assert m("aastra_line_service", line=line, service="backup") == 1
        assert abs(m("aastra_line_last_move_timestamp_seconds", line=line)
                   - time.time()) < 60
        assert m("aastra_line_active", line=line, role="outbound_proxy",
                 rank="backup") == 1
        assert m("aastra_line_active", line=line, role="outbound_proxy",
                 rank="primary") == 0
    assert m("aastra_move_seconds_count", event="failover") == 2
    assert m("aastra_detection_seconds_count") == 2
    up = {tuple(sorted(k[1])): v for k, v in m.sample.items()
          if k[0] == "aastra_flow_up"}
    assert sorted(up.values()) == [0, 0, 1, 1]

    down, = entries(phone, 1, "flow-down")
    assert "reset" in down["reason"] and down["by"] == "TCP connection"
    assert down["decision"].startswith("to the backup")
    moved, = entries(phone, 1, "failover")
    assert (moved["from"], moved["to"]) == ("primary", "backup")
    assert moved["by"] == "TCP connection"
    assert "primary is down" in moved["decision"]
    asked = [e for e in lab.wire.sip("REGISTER", request=True, src="phone",
                                     dst="backup", user="100") if e.expires]
    assert moved["requests"] == len({e.raw for e in asked})
    event = phone.wait_event(match=lambda e: "failover,line=1 " in e.param)
    assert "to=backup" in event.param and "from=primary" in event.param

    text = phone.cmd("aastra_explain 1")
    assert "registered on the backup" in text
    assert "because the primary is down" in text
    assert re.search(r"backup outbound proxy: stays on the backup: none is"
                     " left", text)
    assert re.search(r"primary outbound proxy: moves to the primary", text)

    site.primary.start()
    site.wait_on(PRIMARY)
    site.primary.hang()
    site.wait_on(BACKUP)
    silent = entries(phone, 1, "flow-down")[-1]
    assert silent["by"] in ("keep-alive", "OPTIONS")
    assert silent["detect_ms"] >= 400
    m = metrics(phone)
    assert m("aastra_detection_seconds_count") == 4
    assert m("aastra_detection_seconds_sum") >= 0.8
    assert m("aastra_move_seconds_count", event="failback") == 2
    for line in 1, 2:
        counters = phone.state(line)["counters"]
        assert m("aastra_failovers_total", line=line) == \
            counters["failovers"] == 2
        assert m("aastra_failbacks_total", line=line) == \
            counters["failbacks"] == 1
        assert m("aastra_registrations_total", line=line) == \
            counters["registrations"]

    # two lines did the same at once: that is one row
    told = phone.cmd("aastra_history")
    assert re.search(r"^\d\d:\d\d:\d\d\.\d{3} 1-2 +failover +primary ->"
                     " backup, ", told, re.M)
    assert time.strftime("%Y-%m-%d", time.localtime(start)) in told
    for row_ in (phone.cmd("aastra_status") + "\n" +
                 phone.cmd("aastra_status 1")).split("\n"):
        assert len(row_) <= WIDTH, row_
        assert "\x1b" not in row_       # ctrl_tcp is no terminal
    all_ = [e for e in entries(phone, 1)]
    for e in all_:
        assert e["by"] and (e["decision"] or e["event"] == "forced"), e
    seqs = [e["seq"] for e in all_]
    assert seqs == sorted(set(seqs))


@parallel
def test_explain_asks_only(lab):
    """It says what would happen, line by line as it then does happen, and
    sends nothing."""
    site = Site(lab, "E3")
    phone = site.start(config=["sip_failback_policy manual"])
    lab.wire.settle()
    t = lab.now()
    for _ in range(20):
        text = phone.cmd("aastra_explain 1")
    lab.wire.settle()
    assert not [e for e in lab.wire.sip(request=True, src="phone", after=t)
                if e.method != "OPTIONS"]
    assert "primary outbound proxy: moves to the backup" in text
    assert "backup outbound proxy: stays on the primary" in text
    assert "policy manual" in text

    site.primary.kill()
    site.wait_on(BACKUP)
    text = phone.cmd("aastra_explain 1")
    assert "primary outbound proxy: stays on the backup: going home takes a" \
        " command" in text
    site.primary.start()
    lab.until(lambda: phone.state(1)["flows"][0]["state"] == "up", 10)
    lab.never(lambda: site.service() != BACKUP, 1, "went home", 0.1)
    phone.cmd("aastra_failback 1")
    site.wait_on(PRIMARY)
    assert "held there by command" in phone.cmd("aastra_explain 1")


# ---- refusals ---------------------------------------------------------------


@parallel
def test_refusals_are_told_once(lab):
    """403 is in the history with its decision, once however often it is
    said; another answer is another entry."""
    site = Site(lab, "E3", config=[*FAST, "sip_registration_retry_timer 30"])
    site.primary.respond("REGISTER", 403)
    phone = site.start(rank=None, reregister=True)
    lab.until(lambda: entries(phone, 1, "refused"), 5, "in the history")
    for _ in range(3):
        n = len(site.registers())
        phone.cmd("reregister")
        lab.until(lambda: len(site.registers()) > n, 5)
    lab.wire.settle()
    refused, = entries(phone, 1, "refused")
    assert "403" in refused["reason"] and refused["by"] == "REGISTER"
    assert "no move" in refused["decision"]
    assert metrics(phone)("aastra_refusals_total") == 1
    assert len(logged(phone, r"line 1: refused to primary: 403")) == 1

    site.primary.clear_responses()
    site.primary.respond("REGISTER", 404)
    phone.cmd("reregister")
    lab.until(lambda: len(entries(phone, 1, "refused")) == 2, 5)
    site.primary.clear_responses()
    phone.cmd("reregister")
    site.wait_on(PRIMARY)


@parallel
def test_hostile_words(lab):
    """What a server says steers no terminal and breaks no document."""
    words = 'No\x1b[31m \x07 "x" \\ \udcff\udcc0\udc80 \x7f'

    def handler(r):
        if r.method == "REGISTER":
            return r.answer(403, "@@").replace(
                b"@@", words.encode("utf-8", "surrogateescape"))
        return usual(r)

    fake = Fake(lab.primary, handler).start()
    lab.others.append(fake)
    phone = lab.baresip(lab.account(via=lab.primary, transport="udp"),
                        aastra=True, config=[
                            "sip_backup_outbound_proxy " + lab.backup.ip,
                            *FAST])
    lab.until(lambda: entries(phone, 1, "refused"), 5, "refused")
    said = entries(phone, 1, "refused")[0]["reason"]
    assert said.startswith('403 No?[31m ? "x" \\ ??? ?')
    outputs = [phone.cmd("aastra_" + c) for c in (
        "status", "status 1", "history", "history 1", "explain 1", "metrics",
        "state")] + logged(phone, "403 No")
    assert len(outputs) > 7
    for text in outputs:
        assert not re.search("\x1b(?!\\[(?:;m|31m$))|[\x00-\x08\x7f\ufffd]",
                             text.replace("\x1b[;m", "")
                             .removeprefix("\x1b[31m")), text
    metrics(phone)


# ---- over a restart -----------------------------------------------------------


def history_file(phone):
    return os.path.join(phone.dir, "aastra_history")


@parallel
def test_history_over_a_restart(lab):
    """What happened before is there after an exit and after a kill -9; the
    file is its owner's alone and has no secret; a damaged one costs a line
    of the log and nothing else."""
    site = Site(lab, "E3")
    phone = site.start()
    site.primary.kill()
    site.wait_on(BACKUP)
    path = history_file(phone)
    before = entries(phone)
    assert phone.exit() == 0
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    text = open(path).read()
    assert "secret" not in text and "failover" in text

    phone.start()
    site.wait_on(BACKUP)
    after = entries(phone)
    assert after[:len(before)] == before
    assert after[len(before)]["seq"] > before[-1]["seq"]
    last = after[-1]["seq"]
    # what was read is not counted again
    new = [e["event"] for e in after[len(before):]]
    assert metrics(phone)("aastra_move_seconds_count", event="failover") == \
        new.count("failover") == 1
    assert all(e["reason"] for e in after if e["event"] == "failover")
    assert metrics(phone)("aastra_line_last_move_timestamp_seconds", line=1)

    lab.until(lambda: "\n%d " % last in open(path).read(), 10, "written")
    phone.kill()
    phone.start()
    site.wait_on(BACKUP)
    assert [e["seq"] for e in entries(phone)][:len(after)] == \
        [e["seq"] for e in after]
    assert phone.exit() == 0

    text = open(path).read()
    for damage in (text[:len(text) // 2], text.replace("failover", "fail"),
                   "\0" * 100, ""):
        with open(path, "w") as f:
            f.write(damage)
        phone.start()
        site.wait_on(BACKUP)
        assert len(logged(phone, "aastra_history: could not be read")) == 1
        assert entries(phone)[0]["seq"] == 1
        assert entries(phone)[-1]["event"] == "failover"
        assert phone.exit() == 0


@parallel
def test_clock_put_back(lab):
    """What happened before the clock was put back, or before it was set at
    the start, is not an age of the universe ago."""
    site = Site(lab, "E3")
    phone = site.start()
    assert phone.exit() == 0
    with open(history_file(phone), "w") as f:
        f.write("# aastra.so: history, version 1\n"
                "7 %d 1 failback 5 0 1\tbackup\tprimary\tanswers\tOPTIONS"
                "\tx\n# end 1\n" % ((time.time() + 86400) * 1000))
    phone.start()
    site.wait_on(PRIMARY)
    assert entries(phone)[0]["seq"] == 7
    told = phone.cmd("aastra_explain 1")
    assert "latest: failback to primary 0s ago, 5 ms: answers" in told, told
    assert phone.exit() == 0


@parallel
def test_clock_put_back_under_way(lab):
    """A host that learns what time it is when the phone runs already: libre
    1.x and 2.0 count by that clock, and nothing of the module is late by as
    much. The files are fetched after all, an account that registers nowhere
    is found, and who listens to the page hears from it."""
    clock = Clock(lab)
    site = Fetched(lab, config=[
        "aastra_http_listen 8080",
        # an account is looked for as long as a key names its line
        "sip line1 backup outbound proxy: " + lab.backup.ip])
    site.phone.env.update(clock.env)
    site.web.write("aastra.cfg", "sip transport protocol: 2\n" +
                   site.line(2))
    site.phone.start()
    page = Page(lab.phone)
    page.wait_open(10)
    opened = time.monotonic()
    with page.events() as seen:
        seen.wait_named("state")
        site.log("aastra.cfg: .*there is no copy")
        clock.put(-3600)
        site.phone.cmd("uanew " + lab.account(
            100, domain=lab.primary.ip, via=lab.primary, transport="tcp",
            regint=0))
        site.registered(100)
        site.web.start()
        site.registered(101, timeout=20)
        # every 15 seconds since it was opened
        seen.wait_named("state", after=opened + 14, timeout=40)


# ---- listeners ------------------------------------------------------------------


def test_colours_on_a_terminal(lab):
    """On baresip's own console what is wrong is red; not where NO_COLOR is
    set."""
    phone = lab.baresip(lab.account(via=lab.primary, transport="tcp"),
                        aastra=True, modules=["stdio.so"],
                        config=["sip_backup_outbound_proxy " + lab.backup.ip,
                                *FAST])
    phone.exit()
    for no_color in False, True:
        phone.write_config()
        os.unlink(os.path.join(phone.dir, "modules", "gate.so"))
        env = dict(os.environ, HOME=phone.dir)
        env.pop("NO_COLOR", None)
        if no_color:
            env["NO_COLOR"] = "1"
        out = b""
        pid, fd = pty.fork()
        if not pid:
            os.chdir(phone.dir)
            argv = phone.host.argv([phone.binary, "-f", phone.dir])
            os.execvpe(argv[0], argv, env)
        try:
            end = time.monotonic() + 20
            asked = False
            while time.monotonic() < end and b"Quit" not in out:
                if select.select([fd], [], [], 0.1)[0]:
                    try:
                        out += os.read(fd, 65536)
                    except OSError:
                        break
                if not asked and b"registered nowhere" in out:
                    asked = True
                    os.write(fd, b"/aastra_status\n")
                if asked and b"next try in" in out:
                    os.write(fd, b"q")
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(fd)
        assert b"NOT REGISTERED" in out, out
        assert (b"\x1b[31mnone\x1b[m" in out) == (not no_color), out


def test_slow_listener(lab):
    """A ctrl_tcp client that reads nothing, one that is thrown out, and one
    that vanishes: the line moves as ever."""
    site = Site(lab, "E3", users=[100, 101, 102])
    phone = site.start()
    phone.ctrl.close()

    def connect():
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(5)
        s.connect(("127.0.0.1", 4444))
        return s

    deaf = phone.host.inside(connect)
    ask = b'{"command":"aastra_state"}'
    for _ in range(60):         # more than both kernels buffer
        deaf.setblocking(False)
        try:
            deaf.send(b"%d:%s," % (len(ask), ask))
        except BlockingIOError:
            break
    t = lab.now()
    site.primary.kill()
    lab.wire.wait_sip("REGISTER", status=200, src="backup", dst="phone",
                      after=t, timeout=5)
    second = phone.host.inside(connect)
    deaf.close()
    second.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                      b"\1\0\0\0\0\0\0\0")
    second.close()              # RST
    t = lab.now()
    site.primary.start()
    lab.wire.wait_sip("REGISTER", status=200, src="primary", dst="phone",
                      after=t, timeout=10)
    phone.connect()
    for line in 1, 2, 3:
        lab.until(lambda: site.service(line) == PRIMARY, 5)


@parallel
def test_others_loaded(lab):
    """Beside mwi.so and presence.so one line of the log each says who does
    what."""
    site = Site(lab, "E3")
    phone = site.start(app_modules=["mwi.so", "presence.so"])
    assert len(logged(phone, "left to mwi.so")) == 1
    assert len(logged(phone, "left to presence.so")) == 1
