"""Asks registrars for a user's bindings all the time, to prove that one was
there at every moment (or to measure how long it was not)."""

import threading
import time
from dataclasses import dataclass


@dataclass
class Sample:
    t: float            # when the question was sent (monotonic)
    took: float         # how long the answer took
    bindings: dict      # registrar name -> list of bindings, None: no answer

    def live(self, usable=None):
        """All live bindings of all registrars that answered."""
        return [b for found in self.bindings.values() for b in found or ()
                if isinstance(b["expires"], int) and b["expires"] > 0
                and (usable is None or usable(b))]


@dataclass
class Gap:
    start: float        # first sample without a binding
    end: float          # first sample with one again (inf: never)

    @property
    def length(self):
        return self.end - self.start


class Sampler:
    """registrars: Kamailio objects. A registrar that gives no answer in time
    counts as one without bindings: nobody can reach the phone through it."""

    def __init__(self, registrars, aor, every=0.03, timeout=0.1):
        self.registrars = list(registrars)
        self.aor = str(aor)
        self.every = every
        self.timeout = timeout
        self.samples = []
        self._stop = threading.Event()
        self._thread = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.stop()

    def start(self):
        self._thread = threading.Thread(target=self._run, daemon=True,
                                        name="sampler-" + self.aor)
        self._thread.start()
        return self

    def stop(self):
        self._stop.set()
        if self._thread:
            self._thread.join(5)

    def _run(self):
        due = time.monotonic()
        while not self._stop.is_set():
            self.samples.append(self._ask())
            due = max(due + self.every, time.monotonic())
            self._stop.wait(max(0.0, due - time.monotonic()))

    def _ask(self):
        t = time.monotonic()
        found = {}
        for r in self.registrars:
            try:
                found[r.name] = r.bindings(self.aor, timeout=self.timeout)
            except (OSError, ValueError, RuntimeError):
                found[r.name] = None
        return Sample(t, time.monotonic() - t, found)

    # -- questions ---------------------------------------------------------

    def gaps(self, after=0.0, usable=None):
        """The times without a live binding. usable: which bindings count,
        e.g. lambda b: b["path"] and "10.77.0.3" in b["path"]."""
        out = []
        open_gap = None
        for s in list(self.samples):
            if s.t <= after:
                continue
            if s.live(usable):
                if open_gap:
                    open_gap.end = s.t
                    open_gap = None
            elif open_gap is None:
                open_gap = Gap(s.t, float("inf"))
                out.append(open_gap)
        return out

    def longest_gap(self, after=0.0, usable=None):
        """Length of the longest time without a live binding, 0 if none."""
        return max((g.length for g in self.gaps(after, usable)), default=0.0)

    def longest_step(self, after=0.0):
        """Longest time between two samples: how fine the eye is."""
        times = [s.t for s in list(self.samples) if s.t > after]
        return max((b - a for a, b in zip(times, times[1:])), default=0.0)

    def most(self, after=0.0, usable=None):
        """Largest number of live bindings seen at once."""
        return max((len(s.live(usable)) for s in list(self.samples)
                    if s.t > after), default=0)

    def __str__(self):
        """One line for each change, for messages of failing tests."""
        out = []
        last = None
        zero = self.samples[0].t if self.samples else 0
        for s in list(self.samples):
            view = {name: None if found is None else
                    [(b["contact"], b["reg_id"], b["path"]) for b in found]
                    for name, found in s.bindings.items()}
            if view != last:
                out.append("%8.3f %s" % (s.t - zero, view))
                last = view
        return "\n".join(out)
