"""A phone loses its server: the story that contrib/demo tells.

Two real Kamailios, a real baresip with the module, a second phone without it,
each in a network namespace of its own (test/e2e/lab). Whatever is printed was
looked up before: in the registrars, on the wire, in the phones. The first
thing that is not as it should be ends the story.

Copyright (C) 2026 The baresip-aastra authors
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../test/e2e"))
sys.dont_write_bytecode = True

from lab import Lab, cleanup_stale  # noqa: E402

LIMIT_S = 60            # for all of it
HOSTS = {"phone": 10, "primary": 2, "backup": 3, "far": 20}

# The primary is tried again every half to whole second, so that nobody has to
# wait; without these two lines it is tried after 15 to 30 s, then less often.
CONFIG = """\
sip_line1_backup_outbound_proxy  10.77.0.3
sip_recovery_base_timer          1
sip_recovery_max_timer           1"""


class Failed(Exception):
    """A step of the story did not happen."""


# ---------------------------------------------------------------------------
# On the screen
# ---------------------------------------------------------------------------

class Screen:
    """Lines of at most 79 columns, with colours on a terminal."""

    def __init__(self):
        self.colours = (sys.stdout.isatty()
                        and not os.environ.get("NO_COLOR")
                        and os.environ.get("TERM", "dumb") != "dumb")
        self.zero = 0.0

    def paint(self, text, *how):
        codes = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33}
        if not self.colours or not how:
            return text
        return "\033[%sm%s\033[0m" % (";".join(str(codes[x]) for x in how),
                                      text)

    def put(self, text=""):
        print(text, flush=True)

    def chapter(self, title):
        self.put()
        self.put(self.paint(title, "bold"))

    def moment(self, t, text, took=None, colour=None):
        """One line of the timeline: when it was, what, how long it took."""
        when = "%9.3f s  " % (t - self.zero)
        if took is None:
            self.put(self.paint(when, "dim") + text)
            return
        self.put(self.paint(when, "dim") + text
                 + " " * max(1, 55 - len(text))
                 + self.paint("%8.1f ms" % (took * 1000), "bold",
                              *([colour] if colour else [])))

    def note(self, text):
        for line in text.splitlines():
            self.put(self.paint("             " + line, "dim"))

    def picture(self, primary, backup, call=False):
        """Phone, servers, other phone; each server in one of these states."""
        lines = {"used": "======", "ready": "- - - ", "idle": ". . . ",
                 "dead": "  X   "}
        colours = {"used": ["green", "bold"], "ready": ["green"],
                   "idle": ["dim"], "dead": ["red", "bold"]}

        def row(name, state, corner):
            box = ("x %s x" if state == "dead" else "[ %s ]") % name
            right = {"dead": "      "}.get(state, "------")
            if call and state == "used":
                right = "======"
            return ("                 " + corner
                    + self.paint(lines[state] + box, *colours[state])
                    + self.paint(right, *(["green", "bold"] if "=" in right
                                          else ["dim"]))
                    + corner)

        self.put()
        self.put(row("primary", primary, "."))
        self.put("    phone 100 " + self.paint("===", "green", "bold")
                 + "+" + " " * 23 + "+"
                 + (self.paint("===", "green", "bold") if call else "---")
                 + " phone 200")
        self.put(row("backup ", backup, "'"))
        self.put()


# ---------------------------------------------------------------------------
# The story
# ---------------------------------------------------------------------------

class Story:
    def __init__(self, lab, screen):
        self.lab = lab
        self.out = screen
        self.primary = self.backup = self.phone = self.far = None
        self.step = "starting"
        self.figures = []

    @contextlib.contextmanager
    def expect(self, what):
        """What should happen; it names the reason if it does not."""
        self.step = what
        try:
            yield
        except (AssertionError, RuntimeError, OSError, LookupError,
                ValueError) as e:
            raise Failed("%s: %s" % (what, reason(e))) from e

    def check(self, ok, what):
        if not ok:
            raise Failed(what)

    # -- questions ----------------------------------------------------------

    def line(self):
        return self.phone.state(1)

    def picture(self, primary, backup, call=False):
        """The picture, if it is true. A server is "used" (the path in force
        leads through it), "ready" (its connection is kept), "idle" or "dead".
        """
        states = {"used": "up", "ready": "up", "idle": "idle", "dead": "down"}

        def true():
            line = self.line()
            flows = {f["rank"]: f["state"] for f in line["flows"]}
            used = "primary" if primary == "used" else "backup"
            return (flows == {"primary": states[primary],
                              "backup": states[backup]}
                    and line["service"] == used and line["calls"] == call)

        with self.expect("primary %s, backup %s, %s: not what the line says"
                         % (primary, backup, "a call" if call else "no call")
                         ):
            self.lab.until(true, 5)
        self.out.picture(primary, backup, call)

    def wait_service(self, rank):
        """The line says where it is, and so does baresip itself."""
        with self.expect("the line does not say it is on the " + rank):
            self.lab.until(lambda: self.line()["service"] == rank
                           and self.line()["registered"], 5)
        with self.expect("baresip does not know that it is registered"):
            self.phone.wait_registered()

    def bindings(self, server):
        with self.expect("%s does not tell its bindings" % server.name):
            return server.bindings("100")

    def only_binding_is_at(self, server, other):
        with self.expect("not one binding at the %s, and none at the other"
                         % server.host.name):
            self.lab.until(lambda: len(server.bindings("100")) == 1
                           and not (other.proc.running
                                    and other.bindings("100")), 5)
        b, = self.bindings(server)
        return "%s;reg-id=%d" % (b["contact"].partition("@")[2]
                                 .partition(";")[0], b["reg_id"])

    def sip(self, what, *args, **kw):
        """A SIP message that has to come by on the wire."""
        with self.expect(what):
            return self.lab.wire.wait_sip(*args, **kw)

    # -- chapters -------------------------------------------------------------

    def stage(self):
        lab, out = self.lab, self.out
        with self.expect("the servers do not start"):
            self.primary = lab.combined(lab.primary, start=False)
            self.backup = lab.combined(lab.backup, start=False)
            both(self.primary.start, self.backup.start)
        with self.expect("phone 200 does not register at both servers"):
            self.far = lab.baresip(
                lab.account(200, via=lab.primary, transport="tcp",
                            extra='outbound2="sip:%s;transport=tcp";'
                                  'sipnat=outbound;answermode=auto'
                                  % lab.backup.ip), lab.far)
            lab.until(lambda: self.primary.bindings("200")
                      and self.backup.bindings("200"), 5)
        out.put("  %-9s two %s, each a registrar of its own"
                % ("servers", version("kamailio", "-v")))
        out.put("  %-9s two %s; 100 has the module, 200 is registered at both"
                % ("phones", " ".join(self.primary.bindings("200")[0]
                                      ["user_agent"].split()[:2])))
        out.put("  %-9s account 100 has the primary as its outbound proxy;"
                " its config has" % "")
        for text in CONFIG.splitlines():
            out.put("            " + out.paint(text, "bold"))
        out.put("  %-9s === path in force   - - kept, not used   . . idle"
                "   X dead" % "pictures")

    def at_home(self):
        lab, out = self.lab, self.out
        with self.expect("phone 100 does not start"):
            self.phone = lab.baresip(
                lab.account(100, via=lab.primary, transport="tcp"),
                aastra=True, config=CONFIG.splitlines())
        ok = self.sip("no answer to REGISTER by the primary", "REGISTER",
                      status=200, src="primary", dst="phone")
        first = lab.wire.find(src="phone")[0]
        out.zero = first.t
        self.wait_service("primary")
        where = self.only_binding_is_at(self.primary, self.backup)

        out.chapter("1  Registered on the primary")
        self.picture("used", "idle")
        out.moment(first.t, "phone 100 sends its first packet")
        out.moment(ok.t, "200 OK to REGISTER", ok.t - first.t, "green")
        out.note("the primary has " + where)
        self.figures.append(("registered on the primary", ok.t - first.t))

    def failover(self):
        lab, out = self.lab, self.out
        t = lab.now()
        with self.expect("the primary survives SIGKILL"):
            self.primary.kill()
        with self.expect("the connection to the primary stays open"):
            fin = lab.wire.wait(lambda: lab.wire.find(
                lambda e: e.kind in ("fin", "rst"), src="primary",
                dst="phone", after=t))[0]
        out_req = self.sip("no REGISTER to the backup", "REGISTER",
                           request=True, src="phone", dst="backup", after=t)
        ok = self.sip("no 200 OK by the backup", "REGISTER", status=200,
                      src="backup", dst="phone", after=t)
        self.wait_service("backup")
        where = self.only_binding_is_at(self.backup, self.primary)

        out.chapter("2  The primary is killed")
        self.picture("dead", "used")
        out.moment(t, "kill -9 of the primary, all its processes")
        out.moment(fin.t, "its end of the connection closes", fin.t - t)
        out.moment(out_req.t, "REGISTER to the backup", out_req.t - t)
        out.moment(ok.t, "200 OK: on the backup", ok.t - t, "green")
        out.note("the backup has " + where)
        out.note("the line says: " + self.line()["history"][-1]["reason"])
        self.figures.append(("kill -9 to a binding on the backup", ok.t - t))

    def call(self):
        lab, out = self.lab, self.out
        t = lab.now()
        with self.expect("phone 100 does not dial"):
            self.phone.dial("200")
        inv = self.sip("no INVITE to the backup", "INVITE", request=True,
                       src="phone", dst="backup", after=t)
        ring = self.sip("phone 200 does not ring", "INVITE", status=180,
                        src="backup", dst="phone", after=t)
        ok = self.sip("phone 200 does not answer", "INVITE", status=200,
                      src="backup", dst="phone", after=t)
        with self.expect("the call is not established"):
            self.phone.wait_call("outgoing", after=t)
            self.far.wait_call("incoming", after=t)
        rings = lab.wire.sip("INVITE", request=True, dst="far", after=t)
        self.check(len(rings) == 1 and rings[0].src == "backup",
                   "phone 200 rang %d times" % len(rings))
        self.check(not lab.wire.sip("INVITE", dst="primary", after=t),
                   "something of the call went to the dead primary")

        out.chapter("3  A call goes through the backup")
        self.picture("dead", "used", call=True)
        out.moment(t, "phone 100 dials 200")
        out.moment(inv.t, "INVITE to the backup", inv.t - t)
        out.moment(ring.t, "200 rings, once", ring.t - t)
        out.moment(ok.t, "200 answers, the call is up", ok.t - t, "green")
        self.figures.append(("a call through the backup is answered",
                             ok.t - t))
        return t

    def primary_returns(self, dialled):
        lab, out = self.lab, self.out
        t = lab.now()
        with self.expect("the primary does not come back"):
            self.primary.start()
        back = lab.now()
        seen = self.sip("the phone does not try the primary again",
                        "OPTIONS", status=200, src="primary", dst="phone",
                        after=t)
        with self.expect("the line does not see that the primary is back"):
            lab.until(lambda: self.line()["flows"][0]["state"] == "up", 5)
        line = self.line()
        self.check(line["service"] == "backup" and line["calls"]
                   and not self.phone.find_events("CALL_CLOSED",
                                                  after=dialled)
                   and not self.far.find_events("CALL_CLOSED",
                                                after=dialled),
                   "the call is disturbed by the return of the primary")

        out.chapter("4  The primary comes back, in the middle of the call")
        self.picture("ready", "used", call=True)
        out.moment(t, "the primary is started")
        out.moment(back, "it answers", back - t)
        out.moment(seen.t, "phone 100 has noticed", seen.t - t, "green")
        out.note("the call goes on, and until it ends the line stays\n"
                 "on the backup (sip failback policy: idle)")
        self.figures.append(("primary started to noticed by the phone",
                             seen.t - t))

    def failback(self):
        lab, out = self.lab, self.out
        # A binding moves from the backup to the primary: asking them in this
        # order can miss that it was there twice, never that it was not.
        with lab.sampler([self.backup, self.primary], every=0.002) as seen:
            with self.expect("the registrars do not answer"):
                lab.until(lambda: len(seen.samples) > 5)
            t = lab.now()
            with self.expect("phone 100 does not hang up"):
                self.phone.hangup()
            bye = self.sip("no BYE", "BYE", request=True, src="phone",
                           dst="backup", after=t)
            ok = self.sip("no 200 OK by the primary", "REGISTER", status=200,
                          src="primary", dst="phone", after=t)
            left = self.sip("the line does not leave the backup", "REGISTER",
                            status=200, src="backup", dst="phone", after=t)
            leave = lab.wire.sip("REGISTER", request=True, expires=0,
                                 src="phone", dst="backup", after=t)
            self.wait_service("primary")
            where = self.only_binding_is_at(self.primary, self.backup)
            with self.expect("the connection to the backup is not closed"):
                fin = lab.wire.wait_kind("fin", src="phone", dst="backup",
                                         after=t)
        self.check(leave and ok.t < leave[0].t,
                   "it left the backup before it had the primary")
        self.check(seen.longest_gap() == 0,
                   "for %.0f ms no registrar had a binding"
                   % (seen.longest_gap() * 1000))

        out.chapter("5  The call ends, and the line goes home")
        self.picture("used", "idle")
        out.moment(t, "phone 100 hangs up")
        out.moment(bye.t, "BYE", bye.t - t)
        out.moment(ok.t, "200 OK to REGISTER: on the primary again",
                   ok.t - t, "green")
        out.moment(left.t, "200 OK: the binding on the backup is removed",
                   left.t - t)
        out.moment(fin.t, "the connection to the backup is closed",
                   fin.t - t)
        out.note("the primary has %s, the backup has none;\n"
                 "asked %d times meanwhile, at no time there was none at all"
                 % (where, len(seen.samples)))
        self.figures.append(("hang-up to home again", ok.t - t))

    def in_its_own_words(self):
        out = self.out
        with self.expect("the phone has nothing to say"):
            status = self.phone.cmd("aastra_status 1")
            history = self.phone.cmd("aastra_history 1")
        out.chapter("The phone's own words")
        for command, text in (("aastra_status", status),
                              ("aastra_history", history)):
            out.put("  /" + command)
            for line in text.rstrip().splitlines():
                # without the date; continued below the text
                line = re.sub(r"^\d{4}-\d\d-\d\d ", "", line)
                for part in textwrap.wrap(line, 74, drop_whitespace=False,
                                          subsequent_indent=" " * 13):
                    out.put(out.paint("    " + part.rstrip(), "dim"))

    def tell(self):
        self.stage()
        self.at_home()
        self.failover()
        dialled = self.call()
        self.primary_returns(dialled)
        self.failback()
        self.in_its_own_words()
        self.out.chapter("In short")
        for what, took in self.figures:
            self.out.put("  %-45s" % what
                         + self.out.paint("%8.1f ms" % (took * 1000),
                                          "bold"))


def reason(e):
    """What an exception says, without what else would be good to know. Of a
    program that did not start, its last words."""
    lines = [x for x in str(e).splitlines() if x.strip()] or [repr(e)]
    words = lines[-4:] if isinstance(e, RuntimeError) else []
    return "\n  ".join(lines[:1] + [x for x in words if x != lines[0]])


def both(*functions):
    """Run functions side by side; raise what one of them raised."""
    errors = []

    def run(fn):
        try:
            fn()
        except Exception as e:
            errors.append(e)

    threads = [threading.Thread(target=run, args=(fn,)) for fn in functions]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


def version(*argv):
    """The first words of a program's version."""
    text = subprocess.run(argv, text=True, capture_output=True).stdout
    words = text.split()
    return " ".join([argv[0], *words[2:3]])


# ---------------------------------------------------------------------------
# Beginning and end
# ---------------------------------------------------------------------------

def on_alarm(signum, frame):
    raise Failed("not done within %d s" % LIMIT_S)


def on_quit(signum, frame):
    raise SystemExit(128 + signum)


def play(args, folder, screen):
    story = None
    lab = Lab(folder, module=args.module, hosts=HOSTS)
    try:
        try:
            lab.__enter__()
        except (RuntimeError, OSError) as e:
            raise Failed("no network namespaces here (in a container they "
                         "take --privileged): %s" % e) from e
        story = Story(lab, screen)
        story.tell()
        if args.keep:
            lab.wire.dump(os.path.join(folder, "wire.txt"))
        problems = lab.problems()
        if problems:
            raise Failed("; ".join(problems))
    except Failed:
        if story:
            lab.report()
            screen.put()
            screen.put("last on the wire:")
            screen.put(lab.wire.ladder(12))
        raise
    finally:
        # nothing shall come in between
        signal.alarm(0)
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(sig, signal.SIG_IGN)
        lab.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--module", required=True, help="the aastra.so")
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    args = parser.parse_args()

    screen = Screen()
    if os.geteuid():
        sys.exit("demo: network namespaces take root; start contrib/demo")

    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, on_quit)
    signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(LIMIT_S)

    cleanup_stale()
    # short, for unix sockets live in it
    folder = tempfile.mkdtemp(prefix="aademo-", dir="/tmp")
    keep = args.keep
    try:
        play(args, folder, screen)
        screen.put()
        screen.put(screen.paint("Seen to happen, all of it.", "green",
                                "bold"))
        status = 0
    except Failed as e:
        keep = True
        screen.put()
        screen.put(screen.paint("FAILED: ", "red", "bold") + str(e))
        status = 1
    except KeyboardInterrupt:
        screen.put()
        screen.put("stopped, and put everything back")
        status = 130
    except BrokenPipeError:     # nobody looks any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    finally:
        if keep:
            screen.put("logs: " + folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
