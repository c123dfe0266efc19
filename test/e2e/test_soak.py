"""A phone that lives through one fault after another, at an accelerated pace:
what must always hold is looked at after each, and memory, descriptors and
timers stay as they were.

    test/soak MINUTES       # a default run takes half a minute

AASTRA_SOAK_SEED repeats a run's choices.
"""

import os
import random
import re
import time

from helpers_calls import World
from lab.figures import figure
from lab.site import live
from test_faults import BACK_S, CONFIG, FAULTS

MINUTES = float(os.environ.get("AASTRA_SOAK_MINUTES", "0.5"))
WARM = 6                # rounds before the first look at what it uses
GROWTH_KB = 1536        # a round of a leak is small, but there are many
CALLS = 4               # every so many rounds there is a call


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
    """Settled, and no failure is on its way: one of before would be seen
    within a keep-alive interval and a transaction timer."""
    begin = w.lab.now()
    while w.lab.now() < begin + 2.0:
        if not settled(w):
            return False
        time.sleep(0.1)
    return True


def test_soak(lab):
    seed = os.environ.get("AASTRA_SOAK_SEED") or str(time.time_ns())
    print("AASTRA_SOAK_SEED=" + seed)
    dice = random.Random(seed)
    w = World(lab, "E3", "tcp", policy="auto", config=CONFIG,
              app_modules=["debug_cmd.so"], accounts=[lab.account(
                  100, via=lab.primary, transport="tcp",
                  extra="answermode=manual", regint=10)])
    end = time.monotonic() + 60 * MINUTES
    first, rounds, calls, worst = None, 0, 0, 0.0
    uses = []
    while time.monotonic() < end or rounds <= WARM:
        rounds += 1
        fault = dice.choice(list(FAULTS))
        server = dice.choice((w.primary, w.primary, w.backup, w.reg))
        inject, clear, _ = FAULTS[fault]
        what = "round %d, %s of %s" % (rounds, fault, server.name)
        call = None
        if rounds % CALLS == 0 and server is not w.reg:
            lab.until(lambda: calm(w), BACK_S, what + ": calm before a call")
            call = w.call_out("dial 200", "primary")
            calls += 1
        t = lab.now()
        inject(server)
        held = dice.uniform(0.1, 2.0)
        lab.never(lambda: not w.phone.proc.running, held, what)
        if server is not w.reg:
            lab.until(lambda: w.state()["registered"], BACK_S,
                      what + ": in service beside it")
        clear(server)
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
        if rounds == WARM:
            first = Use(w)
        elif rounds > WARM:
            uses.append(Use(w))
    # a moment's work may be under way: the quietest of the latest counts
    late = uses[-5:]
    rss = min(u.rss for u in late)
    fds = min(u.fds for u in late)
    timers = min(u.timers for u in late)
    figure("soak", minutes=MINUTES, rounds=rounds, calls=calls,
           longest=round(worst, 2), rss_begin=first.rss, rss_end=rss,
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
