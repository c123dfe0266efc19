"""Memory that runs out: every allocation of the module fails in turn, over a
start, a failover, a failback, and everything that a person may ask.

A failed allocation must not end the phone or lose memory, and the line must
come through it by itself or say in the log why not. What fails is decided by
test/fault/memfault.c, preloaded into baresip. Many places of the module
allocate again and again: a default run tries some places once, --all-rows
every place three times (its first allocation, its last, one between).

    .../pytest test/e2e/test_memory.py --all-rows       # 10 minutes

A module built with the sanitizers is tested in the same way:
--module build-sanitize/modules/aastra/aastra.so
"""

import collections
import contextlib
import mmap
import os
import re
import shutil
import struct
import subprocess

import pytest

from lab import wait
from lab.ctrl import CommandError
from lab.figures import figure
from lab.several import _ahead, ahead, parallel  # noqa: F401 (fixtures)
from lab.site import BACKUP, PRIMARY, TOP, Site
from lab.wait import Timeout

SITES = 1 << 16
HEAD = struct.Struct("6Q")
SIZE = HEAD.size + 4 * SITES

AT_ONCE = 2
STARTS = 16             # of a default run
MOVES = 24              # the same, of each step


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
        preload = [*sanitizer(lab.module), build(lab)]
        self.env = {"LD_PRELOAD": ":".join(preload),
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

    def fail(self, at, n=1):
        """The allocation of that number fails, and n - 1 after it."""
        struct.pack_into("Q", self.map, 16, n)
        struct.pack_into("Q", self.map, 8, at)

    def reset(self):
        self.map[:] = bytes(SIZE)

    def sites(self, first=0):
        """Where the allocations so far come from: offsets in aastra.so."""
        n = min(self.count, SITES)
        return list(struct.unpack_from("%dI" % n, self.map, HEAD.size))[first:]


def sanitizer(module):
    """A module with sanitizers wants their library before all others."""
    text = subprocess.run(["ldd", module], capture_output=True, text=True,
                          check=True).stdout
    return re.findall(r"libasan\S* => (\S+)", text)


def build(lab):
    """Compile memfault.c; returns the path of the library."""
    so = os.path.join(lab.dir, "memfault.so")
    if not os.path.exists(so):
        cc = shutil.which("cc") or shutil.which("gcc")
        p = subprocess.run(
            [cc or "cc", "-shared", "-fPIC", "-O2", "-o", so,
             os.path.join(TOP, "test/fault/memfault.c")],
            capture_output=True, text=True)
        assert not p.returncode, p.stderr[-1000:]
    return so


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
        self.begun = 0.0
        self.excused = 0

    def start(self, fail=0):
        self.memory.reset()
        self.memory.fail(fail)
        self.begun = self.lab.now()
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

    def excuse(self):
        """Does the log say that memory ran out?"""
        return re.search(r"aastra: .*(Cannot allocate memory|no memory)",
                         self.phone.proc.output(self.begun))

    def without(self):
        """Did the module say that it cannot work, and is the line baresip's
        own now?"""
        if not re.search(r"module aastra.so: Cannot allocate memory",
                         self.phone.proc.output(self.begun)):
            return False
        return all(r[0] == "OK" for r in self.phone.reginfo().values())

    def recovers(self, rank, timeout=8.0):
        """Wait until it is well, or has said why it is not; returns what is
        wrong."""
        def ok():
            if not self.phone.proc.running:
                return True
            return self.settled(rank) or self.without()
        try:
            wait.until(ok, timeout, "well", every=0.02)
        except Timeout:
            if not self.excuse():
                return "neither well nor an excuse: %s" % self.look()
            self.excused += 1
            return None
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


def chosen(sites, most):
    """Numbers of the allocations that are tried: the first of every place
    that allocates, as many as wanted, spread evenly."""
    first = {}
    for n, site in enumerate(sites, 1):
        first.setdefault(site, n)
    numbers = sorted(first.values())
    if not most or len(numbers) <= most:
        return numbers
    return [numbers[i * len(numbers) // most] for i in range(most)]


def everything(sites, most=3):
    """Up to so many allocations of every place: the first, the last, and some
    between."""
    by_site = collections.defaultdict(list)
    for n, site in enumerate(sites, 1):
        by_site[site].append(n)
    found = []
    for numbers in by_site.values():
        k = min(most, len(numbers))
        found += [numbers[i * (len(numbers) - 1) // max(1, k - 1)]
                  for i in range(k)]
    return sorted(found)


def starts(lab, choose):
    """The phone is started once for every allocation that is tried."""
    place = Place(lab)
    place.start()
    assert not place.recovers(PRIMARY)
    sites = place.memory.sites()
    assert not place.end()
    wrong = []
    numbers = choose(sites)
    for n in numbers:
        place.start(fail=n)
        problems = [place.recovers(PRIMARY), place.end()]
        wrong += ["%d (aastra.so+0x%x): %s" % (n, sites[n - 1], p)
                  for p in problems if p]
    figure("memory", what="start", places=len(set(sites)),
           allocations=len(sites), tried=len(numbers),
           excused=place.excused, wrong=len(wrong))
    assert not wrong, "\n".join(wrong)


class Life(Place):
    """What is done to a phone that runs, each with what it should come to."""

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
        """A command may fail, but is answered."""
        with contextlib.suppress(CommandError):
            self.phone.cmd(command)

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
    wrong, tried, allocations, places = [], 0, 0, set()
    plans = {}
    for step in place.STEPS:
        n = place.memory.count
        problem = place.recovers(step(place))
        assert not problem, "%s: %s" % (step.__name__, problem)
        plans[step] = place.memory.sites(n)
        allocations += len(plans[step])
        places |= set(plans[step])
    numbers = {step: choose(sites) for step, sites in plans.items()}

    rounds = max(len(n) for n in numbers.values())
    for i in range(rounds):
        for step in place.STEPS:
            at = numbers[step][i] if i < len(numbers[step]) else 0
            if not at and step not in (Life.lose, Life.come_back):
                continue
            if at:
                tried += 1
                place.memory.fail(place.memory.count + at)
            rank = step(place)
            problem = place.recovers(rank)
            if problem:
                site = plans[step][at - 1] if at else 0
                wrong.append("%s, %d (aastra.so+0x%x): %s" % (
                    step.__name__, at, site, problem))
                place.fresh()
                if step is Life.lose:
                    place.recovers(step(place))
    wrong += filter(None, [place.end()])
    figure("memory", what="life", places=len(places),
           allocations=allocations, tried=tried, excused=place.excused,
           wrong=len(wrong))
    assert not wrong, "\n".join(wrong)


@pytest.mark.sample
@parallel
def test_start(lab):
    starts(lab, lambda sites: chosen(sites, STARTS))


@pytest.mark.sample
@parallel
def test_life(lab):
    lives(lab, lambda sites: chosen(sites, MOVES))


@pytest.mark.all_rows
@parallel
def test_every_start(lab):
    starts(lab, everything)


@pytest.mark.all_rows
@parallel
def test_every_life(lab):
    lives(lab, everything)
