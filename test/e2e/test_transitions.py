"""One registrar that keys by user alone, shared by primary and backup: after
every one of many random transitions it has the one right binding.

A transition is a server that dies, hangs, falls silent or comes back, a command
of the user, or a phone that ends and starts again. By default 15 a
row, with --all-rows 200; --seed N makes other ones. A failing test names its
seed and what was done last.
"""

import random
import time

import pytest

from helpers_rows import BACKUP, HOSTS, PRIMARY, Row
from lab import Timeout
from lab.figures import figure
from lab.several import _ahead, ahead, parallel  # noqa: F401 (fixtures)

AT_ONCE = 3

# a row, how it is reached
CELLS = (("E1", "tcp", 4), ("E2", "udp", 6), ("E3", "tls", 4),
         ("D1", "udp", 4), ("D2", "tcp", 6), ("D3", "tls", 4))
FAULTS = ("killed", "killed", "hung", "hole")
COMMANDS = {BACKUP: "failover", PRIMARY: "failback", "auto": "auto"}
FOR_GOOD_S = 0.15
WITHIN_S = 20
# A line may send ten REGISTERs at once and then one every three seconds; that
# is test_flapping.py's. Here a phone is restarted before it has to wait.
REGISTERS = 7


class Walk:
    """Commands of the user, and servers and phones that come and go, by
    chance."""

    def __init__(self, site, seed):
        self.site = site
        self.random = random.Random(seed)
        self.fault = dict.fromkeys(site.servers)    # None: it is well
        self.mode = "auto"
        self.story = []
        self.started = site.lab.now()

    def step(self):
        many = self.registers() > REGISTERS
        silent = [w for w, f in sorted(self.fault.items())
                  if f in ("hung", "hole")]
        if many and silent:
            self.turn(silent[0])
        elif many and self.may_restart():
            self.restart()
        elif self.random.random() < 0.6:
            self.turn(self.random.choice(sorted(self.fault)))
        else:
            self.command(self.random.choice(
                [m for m in sorted(COMMANDS) if m != self.mode]))
        if not self.site.outbound:
            self.site.phone.cmd("reregister")

    def tell(self, *words):
        self.story.append(" ".join(words))

    def command(self, mode):
        self.mode = mode
        self.tell(COMMANDS[mode])
        self.site.phone.cmd("aastra_%s 1" % COMMANDS[mode])

    def turn(self, which):
        fault = self.fault[which]
        if fault:
            self.tell("well again:", *which)
            self.site.repair(*which, fault)
            self.fault[which] = None
        else:
            fault = self.random.choice(FAULTS)
            self.tell(fault + ":", *which)
            self.site.fail(*which, fault)
            self.fault[which] = fault

    def registers(self):
        return len([e for e in self.site.requests(
            "REGISTER", after=self.started) if e.expires])

    def may_restart(self):
        """A phone that ends while its server is dead leaves a binding that
        nobody can remove, and that without outbound support no registrar can
        tell from another phone's. And what a phone has sent into a server that
        is silent makes a binding later, when that phone is long gone."""
        state = self.site.phone.state(1)
        axis = self.site.axes[-1]
        return state["registered"] and self.up(axis, state["active"][axis])

    def restart(self):
        phone = self.site.phone
        self.tell("restart")
        assert phone.exit() == 0
        self.started = self.site.lab.now()
        self.mode = "auto"
        phone.start()

    # what must be ------------------------------------------------------------

    def up(self, axis, rank):
        return not self.fault[axis, rank]

    def alive(self, axis):
        return [r for r in (PRIMARY, BACKUP) if self.up(axis, r)]

    def wrong(self):
        """What is not as it has to be."""
        site = self.site
        state = site.phone.state(1)
        if state["mode"] != self.mode:
            return "mode %s" % state["mode"]
        axis = site.axes[-1]            # where REGISTER goes
        rank = state["active"][axis]
        if not state["registered"]:
            return "" if self.may_be_out(axis) else "not registered"
        if not self.up(axis, rank):
            return "on a dead server" if self.alive(axis) else ""
        for a in self.checked():
            if self.mode == "auto":
                if self.alive(a) and not self.up(a, state["active"][a]):
                    return "%s on a dead server" % a
            # a line that cannot go there as a whole stays where it is
            elif (state["active"][a] != self.mode
                  and all(self.up(b, self.mode) for b in site.axes)):
                return "%s not on the %s" % (a, self.mode)
        where = [name for name, _ in site.bindings()]
        want = site.target(dict(state["active"]))
        return "" if where == [want.name] else "%s is bound through %s" % (
            want.name, where)

    def may_be_out(self, axis):
        """Not registered, with a reason?"""
        return (not self.alive(axis)
                or self.mode != "auto" and not self.up(axis, self.mode))

    def checked(self):
        """Axes whose servers the phone watches."""
        return (self.site.axes if self.site.outbound
                else self.site.axes[-1:])

    def settle(self):
        """Until all is right, and still so a little later: it may have been
        about to go home. Returns how long it took."""
        lab = self.site.lab
        t = lab.now()
        wrong = ""

        def right():
            nonlocal wrong
            wrong = self.wrong()
            if not wrong:
                time.sleep(FOR_GOOD_S)
                wrong = self.wrong()
            return not wrong
        try:
            lab.until(right, WITHIN_S)
        except Timeout:
            raise Timeout("%s; after %s; faults: %s" % (
                wrong, self.story[-6:], self.fault)) from None
        return lab.now() - t - FOR_GOOD_S


@pytest.mark.lab(hosts=HOSTS, ports=range(5060, 5062))
@parallel
@pytest.mark.parametrize("row, transport, ip", CELLS, ids=[
    c[0] for c in CELLS])
@pytest.mark.parametrize("count", [
    pytest.param(15, marks=pytest.mark.sample),
    pytest.param(200, marks=pytest.mark.all_rows)])
def test_right_binding(lab, row, transport, ip, count):
    seed = "%s-%s" % (row, lab.seed)
    site = Row(lab, row, transport, ip, shared=True)
    site.start()
    walk = Walk(site, seed)
    took = []
    for n in range(count):
        try:
            walk.step()
            took.append(walk.settle())
        except Exception as e:
            raise AssertionError("seed %s, transition %d: %s" % (
                seed, n, e)) from e

    # in the end all is well, and the user wants it at home
    for which, fault in walk.fault.items():
        if fault:
            walk.turn(which)
    if walk.mode != PRIMARY:
        walk.command(PRIMARY)
    if not site.outbound:
        site.phone.cmd("reregister")
    walk.settle()
    assert site.now()[site.axes[-1]] == PRIMARY and site.only(site.now())
    took.sort()
    figure("transitions", row=row, transport=transport, ip=ip, seed=seed,
           count=count, median=took[count // 2], slowest=took[-1],
           registers=len(site.requests("REGISTER")))
