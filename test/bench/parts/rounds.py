"""Figures that add up over runs: every round is kept, with who measured it."""

import fcntl
import json
import os
import random

from . import page


ENOUGH = 50             # rounds of a figure


def _load(run):
    """While it was measured: the load average at its end."""
    return float(run["machine"]["load"][1]) if "machine" in run else 0.0


def _forget(runs, names):
    """Without the rounds of some contenders; without names, of all."""
    left = []
    for r in runs if names else ():
        figures = {k: v for k, v in r["figures"].items() if k not in names}
        if figures:
            left.append(dict(r, figures=figures))
    return left


class Store:
    """The rounds of one cell, in results/FOLDER/NAME.json: a list of runs,
    each with its machine and {contender: {figure: [seconds or null]}}."""

    def __init__(self, folder, name, opts=None):
        self.path = os.path.join(page.RESULTS, folder, name + ".json")
        self.dry = opts is not None and opts.dry
        self.runs = []
        self.fresh = bool(opts and opts.fresh)
        self.forgotten = opts.contender if opts else None
        if os.path.exists(self.path):
            with open(self.path) as f:
                self.runs = json.load(f)
        if self.fresh:
            self.runs = _forget(self.runs, self.forgotten)
        self.now = None
        self.saved = False

    # -- while it is measured ----------------------------------------------

    def begin(self):
        """A new run, on a machine that does nothing of ours yet."""
        self.now = {"busy": round(page.busy(), 2), "figures": {},
                    "id": "%x" % random.getrandbits(40)}

    def add(self, name, figure, value):
        self.now["figures"].setdefault(name, {}).setdefault(
            figure, []).append(None if value is None else round(value, 4))

    def save(self, opts, root=None):
        self.now["machine"] = page.machine(opts.command, opts.load, root)
        if self.dry:
            return
        folder = os.path.dirname(self.path)
        os.makedirs(folder, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
        try:
            # another run may have added some to this file meanwhile
            fcntl.flock(lock, fcntl.LOCK_EX)
            have = self.runs
            if os.path.exists(self.path):
                with open(self.path) as f:
                    have = [r for r in json.load(f)
                            if r.get("id") != self.now["id"]]
                if self.fresh and not self.saved:
                    have = _forget(have, self.forgotten)
            with open(self.path + ".new", "w") as f:
                # a line a run: a thousand lines of one number each help
                # nobody
                f.write("[\n" + ",\n".join(
                    json.dumps(r, sort_keys=True)
                    for r in [*have, self.now]) + "\n]\n")
            os.replace(self.path + ".new", self.path)
            self.saved = True
        finally:
            os.close(lock)

    # -- what there is -------------------------------------------------------

    def all_runs(self):
        return self.runs + ([self.now] if self.now else [])

    def values(self, name, figure, calm=False):
        """All rounds of a figure; calm: where there are more than enough,
        only those of the runs with the least load."""
        runs = [r for r in self.all_runs()
                if r["figures"].get(name, {}).get(figure)]
        if calm:
            runs.sort(key=_load)
        out = []
        for r in runs:
            if calm and len(out) >= ENOUGH:
                break
            out += r["figures"][name][figure]
        return out

    def count(self, name, figure):
        return len(self.values(name, figure))

    def names(self):
        return {n for r in self.all_runs() for n in r["figures"]}

    def hopeless(self, name, figure, n):
        v = self.values(name, figure)
        return len(v) >= n and not any(x is not None for x in v)

    def summary(self):
        out = []
        for name, figures in self.now["figures"].items():
            out.append("  %-16s %s" % (name, "; ".join(
                "%s %s (n=%d)" % (k, page.cell(page.spread(v)), len(v))
                for k, v in figures.items() if k != "requests")))
        return "\n".join(out)
