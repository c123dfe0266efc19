"""Memory that runs out: every allocation of the module fails in turn, over a
start, a failover, a failback, and everything that a person may ask.

A failed allocation must not end the phone or lose memory. A line must come
through it by itself; at the start it may also go on without what there was no
memory for, if the log says so. A command that fails is given once more.

What fails is decided by test/fault/memfault.c, preloaded into baresip. A
default run tries some places once, --all-rows every allocation that a step
makes, SLICES phones side by side (half an hour on a busy machine).

    .../pytest test/e2e/test_memory.py --all-rows --figures F.json
    test/e2e/write_memory.py F.json

A module built with the sanitizers is tested in the same way:
--module build-sanitize/modules/aastra/aastra.so
"""

import collections
import contextlib
import mmap
import os
import re
import struct

import pytest

from lab import wait
from lab.ctrl import CommandError
from lab.figures import figure
from lab.preload import preload
from lab.several import _ahead, ahead, parallel  # noqa: F401 (fixtures)
from lab.site import BACKUP, PRIMARY, Site
from lab.wait import Timeout

SITES = 1 << 16
HEAD = struct.Struct("6Q")
SIZE = HEAD.size + 4 * SITES

AT_ONCE = 6
STARTS = 16             # of a default run
MOVES = 24              # the same, of each step
SLICES = 6              # of a whole run
WELL_S = 60.0           # a line must be well by then, on a busy machine too
ANSWER_S = 60.0         # a command is answered by then
SOON_S = 8.0            # a start that says why it is not is not waited for

FAST = ("sip_outbound_keepalive_timer 1", "sip_transaction_timer 1000",
        "sip_recovery_base_timer 1", "sip_recovery_max_timer 1")


class Memory:
    """The allocations of one phone, and which of them fails."""

    def __init__(self, lab, name):
        self.path = os.path.join(lab.dir, "memory-" + name)
        with open(self.path, "wb") as f:
            f.truncate(SIZE)
        with open(self.path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), SIZE)
        self.env = {**preload(lab, "memfault"),
                    "AASTRA_MEMFAULT": self.path,
                    # the leaks of baresip are its own, ours are counted
                    "ASAN_OPTIONS": "detect_leaks=0",
                    # what is used after it was freed does not look well
                    "MALLOC_PERTURB_": "165"}

    def _get(self, i):
        return struct.unpack_from("Q", self.map, 8 * i)[0]

    count = property(lambda self: self._get(0))
    failed = property(lambda self: self._get(3))
    live = property(lambda self: self._get(4))

    def fail(self, nth, site=0):
        """The nth allocation from now on fails, or the nth that comes from
        that place; 0: none does."""
        struct.pack_into("2Q", self.map, 8, 0, site)
        struct.pack_into("Q", self.map, 8, nth)

    def reset(self):
        self.map[:] = bytes(SIZE)

    def sites(self, first=0):
        """Where the allocations so far come from: offsets in aastra.so."""
        n = min(self.count, SITES)
        return list(struct.unpack_from("%dI" % n, self.map, HEAD.size))[first:]


class Place:
    """Two servers that serve subscriptions, and a phone whose memory runs
    out."""

    def __init__(self, lab):
        self.lab = lab
        self.site = Site(
            lab, "E2", "tcp", PRESENCE_DB=True,
            config=[*FAST, "sip_failback_policy auto",
                    # what is wrong is said, and that takes memory too
                    "sip_blf_subscription_period 5", "sip_lin_port 1",
                    "sip_explicit_mwi_subscription 1",
                    "sip line1 subscribe: dialog 200, presence 201",
                    "sips_trusted_certificates " + lab.ca.cert])
        self.memory = Memory(lab, "phone")
        self.phone = None
        self.begun = 0.0        # the phone
        self.mark = 0.0         # what is tried
        self.excused = 0
        self.excuses = []

    def start(self, *fail):
        self.memory.reset()
        if fail:
            self.memory.fail(*fail)
        self.begun = self.mark = self.lab.now()
        if self.phone is None:
            self.phone = self.site.start(rank=None, env=self.memory.env)
            return
        self.phone.ctrl.close()
        self.phone.start()

    def settled(self, rank):
        """In service there, with all that belongs to it?"""
        try:
            line = self.phone.state(1)
        except (CommandError, StopIteration, ValueError):
            return False
        return (line["service"] == rank and line["registered"]
                and len(line["subscriptions"]) == 3
                and all(s["state"] == "active" and s["rank"] == rank
                        for s in line["subscriptions"]))

    def said(self):
        """What failed and what was said of it, one line each."""
        return [x for x in self.phone.proc.output(self.mark).splitlines()
                if re.search("memfault: |Cannot allocate|no memory", x)]

    def excuse(self):
        """Does the log say, of what is tried, that memory ran out?"""
        return re.search(r"aastra: .*(Cannot allocate memory|no memory)",
                         self.phone.proc.output(self.mark))

    def without(self):
        """Did the module say that it cannot work, and is the line baresip's
        own now?"""
        if not re.search(r"module aastra.so: Cannot allocate memory",
                         self.phone.proc.output(self.mark)):
            return False
        return all(r[0] == "OK" for r in self.phone.reginfo().values())

    def recovers(self, rank, patience=WELL_S):
        """Wait until it is well, or for so long if it has said why it is not;
        returns what is wrong."""
        def ok():
            if not self.phone.proc.running or self.settled(rank):
                return True
            return self.memory.failed and self.without()

        for seconds in (patience, WELL_S - patience):
            with contextlib.suppress(Timeout):
                wait.until(ok, seconds, "well", every=0.02)
                break
            if self.excuse():
                self.excused += 1
                self.excuses.append(self.said())
                return None
        else:
            return "neither well nor an excuse: %s" % self.look()
        if not self.phone.proc.running:
            return "ended with %s" % self.phone.proc.exit_code
        return None

    def look(self):
        try:
            line = self.phone.state(1)
            return {k: line[k] for k in ("service", "registered", "flows",
                                         "subscriptions", "history")}
        except Exception as e:
            return repr(e)

    def end(self):
        """End it; returns what is wrong with its end."""
        try:
            code = self.phone.exit(10)
        except Timeout:
            return "does not end"
        text = self.phone.proc.output(self.begun)
        left = re.findall(r"memfault: never freed, from (\S+)", text)
        if code:
            return "ended with %d" % code
        if left:
            return "never freed: " + ", ".join(sorted(set(left)))
        if "memfault: " not in text:
            return "no word of its memory"
        return None


def allocations(sites):
    """The allocations of a step as (place, how many-th that comes from
    there): whatever else goes on beside them, they are found again."""
    seen = collections.Counter()
    found = []
    for site in sites:
        seen[site] += 1
        found.append((site, seen[site]))
    return found


def chosen(sites, most):
    """The first allocation of every place that allocates, or so many of
    them, spread evenly."""
    first = [x for x in allocations(sites) if x[1] == 1]
    if len(first) <= most:
        return first
    return [first[i * len(first) // most] for i in range(most)]


def starts(lab, choose):
    """The phone is started once for every allocation that is tried."""
    place = Place(lab)
    place.start()
    assert not place.recovers(PRIMARY)
    sites = place.memory.sites()
    assert not place.end()
    wrong, failed = [], 0
    for site, nth in choose(sites):
        place.start(nth, site)
        problems = [place.recovers(PRIMARY, SOON_S), place.end()]
        failed += bool(place.memory.failed)
        wrong += ["aastra.so+0x%x, %d: %s" % (site, nth, p)
                  for p in problems if p]
    figure("memory", what="start", places=len(set(sites)),
           allocations=len(sites), tried=failed,
           excused=place.excused, wrong=len(wrong), said=place.excuses)
    assert not wrong, "\n".join(wrong)


class Life(Place):
    """What is done to a phone that runs, each with what it should come to."""

    repaired = 0

    def lose(self):
        self.lab.primary.reject("tcp-reset", port=5060)
        self.lab.primary.reset_tcp()
        return BACKUP

    def come_back(self):
        self.lab.primary.clear()
        self.ask("aastra_probe")
        return PRIMARY

    def commands(self):
        for c in ("status", "state", "history", "config", "config 1",
                  "explain 1", "metrics", "reload"):
            self.ask("aastra_" + c)
        self.ask("aastra_subscribe 1 dialog 202")
        self.ask("aastra_unsubscribe 1 dialog 202")
        return PRIMARY

    def by_hand(self):
        self.ask("aastra_failover 1")
        self.ask("aastra_failback 1")
        self.ask("aastra_auto 1")
        return PRIMARY

    def line_more(self):
        self.ask("uanew " + self.lab.account(101, via=self.lab.primary,
                                             transport="tcp"))
        self.ask("aastra_status")
        for aor in self.phone.reginfo():
            if "101@" in aor:
                self.ask("uadel " + aor)
        return PRIMARY

    def reload_module(self):
        self.ask("rmmod aastra")
        self.ask("insmod aastra")
        return PRIMARY

    STEPS = (lose, come_back, commands, by_hand, line_more, reload_module)

    def ask(self, command):
        """A command that fails is asked once more, as a person would."""
        try:
            self.phone.cmd(command, ANSWER_S)
        except CommandError:
            with contextlib.suppress(CommandError):
                self.phone.cmd(command, ANSWER_S)

    def lost(self, rank):
        """A line that says it is registered has a binding there."""
        try:
            wait.until(lambda: rank in [r for r, _ in self.site.bindings()],
                       WELL_S)
        except Timeout:
            return "says registered, and has no binding"
        return None

    def attempt(self, step, *fail):
        """Do a step while an allocation fails, and see to it that the line is
        well before the next one. Returns what is wrong."""
        self.mark = self.lab.now()
        excused = self.excused
        if fail:
            self.memory.fail(*fail)
        rank = step(self)
        problem = self.recovers(rank)
        self.memory.fail(0)
        if problem or not self.phone.proc.running:
            return problem
        if self.excused > excused or not self.settled(rank):
            problem = self.repair(rank)
        return problem or self.lost(rank)

    def repair(self, rank):
        """It said why it is not well: now there is memory, and the module
        loaded again must bring it back."""
        self.ask("rmmod aastra")
        self.ask("insmod aastra")
        self.repaired += 1
        try:
            wait.until(lambda: self.settled(rank), WELL_S)
        except Timeout:
            return "not well with the module loaded again: %s" % self.look()
        return None

    def fresh(self):
        """Start anew, with the primary there and the line on it."""
        if self.phone and self.phone.proc.running:
            self.phone.kill()
        self.lab.primary.clear()
        self.start()
        problem = self.recovers(PRIMARY)
        assert not problem, problem


def lives(lab, choose):
    """One phone lives through all steps again and again, and each time
    another allocation fails."""
    place = Life(lab)
    place.fresh()
    wrong, failed, total, places = [], 0, 0, set()
    todo = {}
    for step in place.STEPS:
        before = place.memory.count
        problem = place.attempt(step)
        assert not problem, "%s: %s" % (step.__name__, problem)
        sites = place.memory.sites(before)
        todo[step] = collections.deque(choose(sites))
        total += len(sites)
        places |= set(sites)

    while any(todo.values()):
        for step in place.STEPS:
            which = todo[step].popleft() if todo[step] else ()
            if not which and step not in (Life.lose, Life.come_back):
                continue
            before = place.memory.failed
            problem = place.attempt(step, *which[::-1])
            failed += place.memory.failed > before
            if problem:
                wrong.append("%s, aastra.so+0x%x, %d: %s" % (
                    step.__name__, *(which or (0, 0)), problem))
                place.fresh()
                if step is Life.lose:
                    place.attempt(step)
    # a start may go on without something; who runs comes through it
    wrong += ["not by itself: " + "; ".join(x) for x in place.excuses]
    wrong += filter(None, [place.end()])
    figure("memory", what="life", places=len(places), allocations=total,
           tried=failed, excused=place.excused, wrong=len(wrong),
           said=place.excuses)
    assert not wrong, "\n".join(wrong)


@pytest.mark.sample
@parallel
def test_start(lab):
    starts(lab, lambda sites: chosen(sites, STARTS))


@pytest.mark.sample
@parallel
def test_life(lab):
    lives(lab, lambda sites: chosen(sites, MOVES))


def of(part):
    """Every so many-th allocation."""
    return lambda sites: allocations(sites)[part::SLICES]


@pytest.mark.all_rows
@parallel
@pytest.mark.parametrize("part", range(SLICES))
def test_every_start(lab, part):
    starts(lab, of(part))


@pytest.mark.all_rows
@parallel
@pytest.mark.parametrize("part", range(SLICES))
def test_every_life(lab, part):
    lives(lab, of(part))
