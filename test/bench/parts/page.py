"""Numbers to text: distributions, tables, the machine, and the sections of
docs/performance.md that the benchmarks write."""

import datetime
import json
import os
import re
import statistics
import subprocess
import time

from section import table  # noqa: F401 (the parts take it from here)

TOP = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                    "../../.."))
RESULTS = os.path.join(TOP, "test/bench/results")
QUIET = 0.1             # share of the machine that others may use meanwhile
PAGE = os.path.join(TOP, "docs/performance.md")


def percentile(values, p):
    """The smallest value that p percent of them do not exceed."""
    v = sorted(values)
    return v[max(0, -(-len(v) * p // 100) - 1)] if v else None


def spread(values, limit=None):
    """median, p95, p99 and number; a value of None is beyond the limit."""
    v = [float("inf") if x is None else x for x in values]
    return {"n": len(v), "median": percentile(v, 50), "p95": percentile(v, 95),
            "p99": percentile(v, 99), "lost": sum(x is None for x in values),
            "limit": limit}


def seconds(x, limit=None):
    """0.0123 -> 12.3 ms"""
    if x is None:
        return "-"
    if x == float("inf"):
        return "> %g s" % limit if limit else "never"
    if x < 0.1:
        return "%.1f ms" % (1000 * x)
    if x < 1:
        return "%.0f ms" % (1000 * x)
    return "%.1f s" % x


def cell(s):
    """One cell of a table: median / p95 / p99."""
    return " / ".join(seconds(s[k], s.get("limit"))
                      for k in ("median", "p95", "p99"))


def exponent(points):
    """b of y = a x^b through the points, by least squares of the logs."""
    import math
    pts = [(math.log(x), math.log(y)) for x, y in points if x > 0 and y > 0]
    if len(pts) < 2:
        return None
    mx = statistics.mean(x for x, _ in pts)
    my = statistics.mean(y for _, y in pts)
    sxx = sum((x - mx) ** 2 for x, _ in pts)
    return sum((x - mx) * (y - my) for x, y in pts) / sxx if sxx else None


# -- the machine -----------------------------------------------------------

def _out(*argv):
    try:
        return subprocess.run(argv, text=True, capture_output=True,
                              timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _version(package, root=None):
    argv = ["dpkg-query", "-W", "-f=${Version}", package]
    if root:
        argv.insert(1, "--admindir=%s/var/lib/dpkg" % root)
    return _out(*argv) or "?"


def busy(during=1.0):
    """Share of the machine's processor time that somebody uses [0..1]."""
    def times():
        with open("/proc/stat") as f:
            v = [int(x) for x in f.readline().split()[1:9]]
        return sum(v), v[3] + v[4]
    total, idle = times()
    time.sleep(during)
    total2, idle2 = times()
    return 1 - (idle2 - idle) / max(1, total2 - total)


# print only
dry = False

# share of the machine that others used when the run began
others = None

# what is built now, whatever is committed while it runs
REVISION = _out("git", "-C", TOP, "rev-parse", "--short", "HEAD")


def machine(command, load_before, root=None):
    """Who measured what, when, and how busy the machine was."""
    cpu = re.search(r"^model name\s*:\s*(.*)$",
                    open("/proc/cpuinfo").read(), re.M)
    info = {
        "cpu": "%d x %s" % (os.cpu_count(), cpu[1] if cpu else "?"),
        "kernel": os.uname().release,
        "baresip": _version("baresip-core"),
        "kamailio": _version("kamailio"),
        "module": REVISION,
        "date": datetime.datetime.now(datetime.timezone.utc)
        .strftime("%Y-%m-%d %H:%M UTC"),
        "command": command,
        "load": ["%.1f" % load_before, "%.1f" % os.getloadavg()[0]],
    }
    if others is not None:
        info["busy"] = others
    if root:
        info["baresip (serreg)"] = _version("baresip-core", root)
        info["linphone"] = _version("linphone-cli")
    return info


def machine_text(m):
    names = "; ".join("%s %s" % (k, m[k]) for k in (
        "baresip", "kamailio", "baresip (serreg)", "linphone") if k in m)
    shared = m["busy"] > QUIET if "busy" in m else float(m["load"][0]) > 0.5
    return ("Measured %s on %s, Linux %s, load average %s before and %s "
            "after%s; module at %s; %s. Command:\n\n    %s" % (
                m["date"], m["cpu"], m["kernel"], m["load"][0], m["load"][1],
                " (**a machine that others kept busy**: figures of a quiet "
                "one are better)" if shared else "",
                m["module"], names, m["command"]))


# -- results and the page --------------------------------------------------

def load(name):
    try:
        with open(os.path.join(RESULTS, name + ".json")) as f:
            return json.load(f)
    except FileNotFoundError:
        return {}


def save(name, results):
    os.makedirs(RESULTS, exist_ok=True)
    with open(os.path.join(RESULTS, name + ".json"), "w") as f:
        json.dump(results, f, indent=1, sort_keys=True)
        f.write("\n")
