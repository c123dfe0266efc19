"""A phone that lives through one fault after another, at an accelerated pace:
what must always hold is looked at in each, and memory, descriptors and timers
stay as they were.

While a fault lasts, the line is in service, no lamp is lost, and the bindings
at the registrar are sampled all along. After it the line is home with one binding
and no other, the lamp is watched there, and what the line says of itself is
what the registrar has. Calls, made and taken by turns, outlive the fault and
ring once.

    test/soak MINUTES       # alone half a minute, in test/run three

AASTRA_SOAK_SEED repeats a run's choices.
"""

import os
import random
import re
import time

from helpers_calls import World
from helpers_faults import BACK_S, CONFIG, FAULTS, UDP
from lab import bodies
from lab.figures import figure
from lab.site import live

MINUTES = float(os.environ.get("AASTRA_SOAK_MINUTES", "0.5"))
WARM = 6                # rounds, and part of the time, before the first look
WARM_PART = 0.1         # at what it uses
GROWTH_KB = 1536        # a round of a leak is small, but there are many
CALLS = 4               # every so many rounds there is a call
CALM_S = 4.5            # before it; the transaction timer is 4 s
GAP_S = 25.0            # without a live binding; seen late on a busy machine
BINDINGS = 4            # at a time: the old, the new, and what a crash of an
                        # edge made the phone leave before
REGISTERS = 60          # in a round


class Use:
    """What the phone uses when all is quiet."""

    def __init__(self, w):
        self.rss = w.phone.rss_kb()
        self.fds = w.phone.fds()
        text = w.phone.cmd("timers")
        self.timers = int(re.search(r"Timers \((\d+)\)", text)[1])

    def __repr__(self):
        return "%d kB, %d descriptors, %d timers" % (
            self.rss, self.fds, self.timers)


def settled(w):
    line = w.phone.state(1)
    found = [b for b in w.bindings() if live(b)]
    return (line["service"] == "primary" and line["registered"]
            and len(found) == 1 and w.belongs(found[0], "primary")
            and len([f for f in line["flows"] if f["state"] == "up"]) >= 1)


def calm(w):
    """Settled, and no failure is on its way: a request that a fault of before
    has swallowed is given up within the transaction timer."""
    begin = w.lab.now()
    while w.lab.now() < begin + CALM_S:
        if not settled(w):
            return False
        time.sleep(0.1)
    return True


class Lamp:
    """A lamp: what it shows is never lost, and it follows the line."""

    def __init__(self, w):
        self.w = w
        w.reg.publish(200, bodies.presence(200, "open"))
        w.phone.cmd("aastra_subscribe 1 presence 200")
        self.wait("at the beginning")

    def subs(self):
        return self.w.state()["subscriptions"]

    def lost(self):
        return [s["value"] for s in self.subs()] != ["open"]

    def wait(self, what):
        self.w.lab.until(lambda: not self.lost() and [
            (s["state"], s["rank"]) for s in self.subs()]
            == [("active", "primary")], BACK_S,
            what + ": the lamp is watched over the primary")

    def again(self, what):
        """The server has forgotten who watches it."""
        for c in ("unsubscribe", "subscribe"):
            self.w.phone.cmd("aastra_%s 1 presence 200" % c)
        self.wait(what)


# what needs a lab of its own is not among them
MINE = [name for name, fault in FAULTS.items() if not name.endswith(UDP)
        and not (fault.tls or fault.dns or fault.link)]


class Victim:
    """What a fault has to know of: as of a cell of the matrix."""
    stage = "soak"

    def __init__(self, w, server):
        self.lab, self.site = w.lab, w
        self.server, self.host = server, server.host


def usable(w, server, fault):
    """Which bindings count: those that lead over what is dead do not."""
    dead = not FAULTS[fault].works and not FAULTS[fault].answers
    return lambda b: not (dead and server.host.ip in (b["path"] or ""))


def test_soak(lab):
    seed = os.environ.get("AASTRA_SOAK_SEED") or str(time.time_ns())
    print("AASTRA_SOAK_SEED=" + seed)
    dice = random.Random(seed)
    w = World(lab, "E3", "tcp", policy="auto", config=CONFIG,
              registrar={"PRESENCE_DB": True},
              app_modules=["debug_cmd.so"], accounts=[lab.account(
                  100, via=lab.primary, transport="tcp",
                  extra="answermode=manual", regint=10)])
    end = time.monotonic() + 60 * MINUTES
    first, rounds, calls, worst, gap, most = None, 0, 0, 0.0, 0.0, 0
    lamp = Lamp(w)
    begun = time.monotonic()
    uses = []
    while time.monotonic() < end or not uses:
        rounds += 1
        fault = dice.choice(MINE)
        server = dice.choice((w.primary, w.primary, w.backup, w.reg))
        victim = Victim(w, server)
        what = "round %d, %s of %s" % (rounds, fault, server.name)
        call = None
        if rounds % CALLS == 0 and server is not w.reg:
            lab.until(lambda: calm(w), BACK_S, what + ": calm before a call")
            calls += 1
            call = (w.call_in("primary") if calls % 2 == 0
                    else w.call_out("dial 200", "primary"))
        t = lab.now()
        sampler = lab.sampler(w.registrars) if server is not w.reg else None
        FAULTS[fault].begin(victim)
        held = dice.uniform(0.1, 2.0)
        lab.never(lambda: not w.phone.proc.running
                  or server is not w.reg and lamp.lost(), held, what)
        if server is not w.reg:
            lab.until(lambda: w.state()["registered"], BACK_S,
                      what + ": in service beside it")
            gap = max(gap, min(sampler.longest_gap(
                t, usable(w, server, fault)), lab.now() - t))
            cleared = lab.now()
        FAULTS[fault].end(victim)
        if not server.proc.running:
            server.start()
        if server is w.reg:
            # what it had, and forgot, the next refresh brings
            lab.until(lambda: w.reg.bindings("100"),
                BACK_S, what + ": known again", every=0.5)
        lab.until(lambda: settled(w) or (
            w.phone.cmd("aastra_probe 1") and False), BACK_S,
            what + ": home, with one binding", every=0.2)
        worst = max(worst, lab.now() - t - held)
        if sampler:
            sampler.stop()
            lamp.wait(what)
            gap = max(gap, sampler.longest_gap(cleared))
            most = max(most, sampler.most(after=t))
            assert gap < GAP_S, (what, gap)
            assert most <= BINDINGS, (what, most)
        else:
            lamp.again(what)
        sent = len(lab.wire.sip("REGISTER", request=True, src="phone",
                                after=t, match=lambda e: e.dst in (
                                    "primary", "backup")))
        assert sent <= REGISTERS, (what, sent)
        if call:
            call.assert_up()
            w.phone.hangup()
        for c in ("status", "state", "history", "config 1", "explain 1",
                  "metrics"):
            w.phone.cmd("aastra_" + c)
        if server is w.reg:
            # the far end does not know either
            far = w.far("primary")
            far.kill()
            far.ctrl.close()
            far.start()
            far.wait_registered()
        past = time.monotonic() - begun
        if rounds < WARM or past < 60 * MINUTES * WARM_PART:
            pass
        elif not first:
            first = Use(w)
        else:
            uses.append(Use(w))
        print("%5.1f min, %s: %s" % (
            (time.monotonic() - begun) / 60, what, Use(w)), flush=True)
        lab.wire.forget(lab.now() - 60)
    # a moment's work may be under way: the quietest of the latest counts
    late = uses[-5:]
    rss = min(u.rss for u in late)
    fds = min(u.fds for u in late)
    timers = min(u.timers for u in late)
    figure("soak", minutes=MINUTES, rounds=rounds, calls=calls,
           longest=round(worst, 2), gap=round(gap, 2), bindings=most,
           rss_begin=first.rss, rss_end=rss,
           fds_begin=first.fds, fds_end=fds, timers_begin=first.timers,
           timers_end=timers)
    print(rounds, "rounds;", first, "then", late)
    assert rss - first.rss < GROWTH_KB, (first, late)
    assert fds <= first.fds + 2, (first, late)
    assert timers <= first.timers + 6, (first, late)
    assert "secret100" not in w.phone.proc.output()
    assert w.phone.exit(15) == 0
    lab.until(lambda: not [b for b in w.bindings() if live(b)], 6,
              "no binding is left")
