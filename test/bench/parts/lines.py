"""Many lines on one phone: how long a move takes, what it costs the backup,
the phone's memory and processor, and how each grows."""

import collections
import os
import re
import shutil
import statistics
import struct
import tempfile
import time

from lab import Lab
from lab.preload import build

from . import page, plot

ROUNDS = 3
COUNTS = (1, 9, 50, 200, 1000)
FIRST = 10000
SVG = os.path.join(page.TOP, "docs/performance-lines.svg")


def arguments(parser):
    parser.add_argument("--lines", action="append", type=int)
    parser.add_argument("--idle", type=float, default=60,
                        help="seconds of idling that are measured")


def run(opts):
    results = page.load("lines") if not opts.fresh else {}
    results.setdefault("counts", {})
    for n in opts.lines or COUNTS:
        rounds = [one(opts, n) for _ in range(opts.rounds)]
        results["counts"][str(n)] = {
            k: statistics.median(r[k] for r in rounds) for k in rounds[0]}
        results["counts"][str(n)]["rounds"] = opts.rounds
        results["machine"] = page.machine(opts.command, opts.load)
        print(n, results["counts"][str(n)], flush=True)
        if not opts.dry:
            page.save("lines", results)
    return text(results)


class Stall:
    """See stall.c."""

    def __init__(self, folder):
        self.so = build("bench/stall.c", folder)
        self.path = os.path.join(folder, "stall")
        self.reset()

    def env(self):
        return {"LD_PRELOAD": self.so, "BENCH_STALL": self.path}

    def reset(self):
        with open(self.path, "r+b" if os.path.exists(self.path)
                  else "wb") as f:
            f.write(bytes(24))

    def read(self):
        """(longest stretch, the same in processor time [s], calls)"""
        with open(self.path, "rb") as f:
            wall, cpu, calls = struct.unpack("QQQ", f.read(24))
        return wall / 1e9, cpu / 1e9, calls


def own_kb(proc):
    """What the process has written, and nobody else can have."""
    with open("/proc/%d/smaps_rollup" % proc.pid) as f:
        return int(re.search(r"^Private_Dirty:\s+(\d+)", f.read(), re.M)[1])


def cpu_s(proc):
    """Processor time so far, to the nanosecond."""
    with open("/proc/%d/schedstat" % proc.pid) as f:
        return int(f.read().split()[0]) / 1e9


def one(opts, n):
    folder = tempfile.mkdtemp(prefix="aabench-")
    try:
        with Lab(folder, module=opts.module, binary=opts.baresip) as lab:
            return _one(opts, lab, n)
    finally:
        if not opts.keep:
            shutil.rmtree(folder, ignore_errors=True)


def _phone(lab, n, aastra, config=(), env=None):
    return lab.baresip(
        [lab.account(FIRST + i, via=lab.primary, transport="tcp",
                     extra="" if aastra else "mwi=no") for i in range(n)],
        aastra=aastra, config=["call_max_calls 0", *config], env=env,
        name="phone-%s-%d" % ("aastra" if aastra else "plain", n))


def _registered(lab, reg, n):
    lab.until(lambda: _contacts(reg) >= n, 60 + n / 10,
              "%d registered" % n, every=0.2)


def _contacts(reg):
    line, = reg.rpc("stats.get_statistics", "location_contacts")
    return int(line.split("=")[1])


def _one(opts, lab, n):
    stall = Stall(lab.dir)
    reg = lab.registrar(USER_FIRST=FIRST, USER_LAST=FIRST + n)
    primary = lab.edge(lab.primary, reg)
    lab.edge(lab.backup, reg)
    out = {}

    # without the module, for the difference
    plain = _phone(lab, n, False, env=stall.env())
    _registered(lab, reg, n)
    lab.wire.settle(0.5, 30)
    out["plain_kb"] = own_kb(plain.proc)
    stall.reset()
    t, c = time.monotonic(), cpu_s(plain.proc)
    time.sleep(opts.idle / 2)
    out["plain_idle"] = (cpu_s(plain.proc) - c) / (time.monotonic() - t)
    out["plain_wakeups"] = stall.read()[2] / (time.monotonic() - t)
    plain.kill()
    for i in range(n):
        try:
            reg.remove_bindings(str(FIRST + i))
        except RuntimeError:
            pass

    begun = lab.now()
    phone = _phone(lab, n, True,
                   ["sip_backup_outbound_proxy " + lab.backup.ip],
                   stall.env())
    _registered(lab, reg, n)
    done = lab.wire.sip("REGISTER", status=200, src="primary", dst="phone",
                        after=begun)
    out["start_s"] = done[-1].t - begun if done else 0
    lab.wire.settle(1.5, 60)
    out["start_stall"], out["start_stall_cpu"], _ = stall.read()
    out["idle_kb"] = own_kb(phone.proc)

    # what belongs to the start is over
    time.sleep(min(opts.idle, 5))
    stall.reset()
    t, c = time.monotonic(), cpu_s(phone.proc)
    time.sleep(opts.idle)
    took = time.monotonic() - t
    out["idle"] = (cpu_s(phone.proc) - c) / took
    out["wakeups"] = stall.read()[2] / took
    out["keepalives"] = len(lab.wire.find(
        lambda e: e.kind == "ping" or e.sip and e.request, src="phone",
        after=t, before=t + took)) / took

    stall.reset()
    c, t = cpu_s(phone.proc), lab.now()
    primary.kill()
    fin = lab.wire.wait_kind("fin", src="primary", dst="phone", after=t)

    def back():
        found = lab.wire.sip("REGISTER", status=200, src="backup",
                             dst="phone", after=t,
                             match=lambda e: e.expires)
        return found if len({e.user for e in found}) >= n else None
    found = lab.until(back, 60 + n / 10, "%d on the backup" % n, every=0.2)
    out["move_s"] = found[-1].t - fin.t
    out["first_s"] = found[0].t - fin.t
    lab.wire.settle(1.0, 60)
    out["move_cpu"] = cpu_s(phone.proc) - c
    out["move_stall"], out["move_stall_cpu"], _ = stall.read()
    sent = [e.t for e in lab.wire.sip("REGISTER", request=True, src="phone",
                                      dst="backup", after=t)]
    out["messages"] = len(sent) / n
    out["peak"] = max(collections.Counter(
        int((x - fin.t) * 10) for x in sent).values()) * 10
    out["moved_kb"] = own_kb(phone.proc)
    return out


def per_line(counts, n, f):
    """What each line beyond the first costs: what one line costs is mostly
    what the phone costs."""
    if 1 not in counts or n == 1:
        return "(%d for the phone)" % f(counts[n]) if n == 1 else "-"
    return "%.1f" % ((f(counts[n]) - f(counts[1])) / (n - 1))


def draw(c):
    """How it grows, as a plot."""
    base = c[1]["idle_kb"] - c[1]["plain_kb"] if 1 in c else 0
    plain = c[1]["plain_kb"] if 1 in c else 0

    def curve(f):
        return [(n, f(r)) for n, r in sorted(c.items())]
    with open(SVG, "w") as f:
        f.write(plot.curves([
            ("Until the last line is back or there", "s", {
                "after a kill": curve(lambda r: r["move_s"]),
                "after the start": curve(lambda r: r["start_s"])}),
            ("Memory beyond that of one line", "KiB", {
                "module": curve(lambda r: r["idle_kb"] - r["plain_kb"] - base),
                "baresip alone": curve(lambda r: r["plain_kb"] - plain)}),
            ("Processor time of a move", "ms", {
                "": curve(lambda r: 1000 * r["move_cpu"])}),
            ("Longest stall of the event loop, processor time", "ms", {
                "move": curve(lambda r: 1000 * r["move_stall_cpu"]),
                "start": curve(lambda r: 1000 * r["start_stall_cpu"])})],
            "lines"))


def text(results):
    c = {int(k): v for k, v in results["counts"].items()}
    if len(c) > 1 and not page.dry:
        draw(c)
    rows = []
    for n, r in sorted(c.items()):
        rows.append([
            n, page.seconds(r["start_s"]), page.seconds(r["move_s"]),
            "%d" % r["peak"], "%.1f" % r["messages"],
            per_line(c, n, lambda r: r["idle_kb"] - r["plain_kb"]),
            per_line(c, n, lambda r: r["plain_kb"]),
            "%.0f µs" % (1e6 * r["move_cpu"] / n),
            "%.3f %%" % (100 * r["idle"]), "%.3f %%" % (100 *
                                                        r["plain_idle"]),
            "%.2f" % r["wakeups"], *("%.2f" % r[k] if k in r else "-"
                                     for k in ("plain_wakeups", "keepalives")),
            "%.1f / %.1f ms" % (1000 * r["move_stall"],
                                1000 * r["move_stall_cpu"]),
            "%.1f / %.1f ms" % (1000 * r["start_stall"],
                                1000 * r["start_stall_cpu"])])
    out = [page.machine_text(results["machine"]), "", page.table(
        ["lines", "start to last 200", "kill to last 200",
         "peak REGISTER/s (0.1 s)", "REGISTERs a line and move",
         "KiB a line, module", "KiB a line, baresip alone",
         "CPU a line and move", "idle CPU", "idle CPU, baresip alone",
         "wake-ups/s, idle", "the same, baresip alone",
         "keep-alives and requests/s, idle", "longest stall, move (time / CPU)",
         "longest stall, start (time / CPU)"], rows)]
    big = [n for n in c if n >= 9]
    if len(big) > 1:
        base = c[1]["idle_kb"] - c[1]["plain_kb"] if 1 in c else 0

        def grows(what, f):
            b = page.exponent([(n, f(c[n])) for n in big])
            return "%s: n^%.2f" % (what, b) if b is not None else what
        out += ["", "Growth from %d to %d lines: " % (min(big), max(big))
                + "; ".join([
                    grows("time until the last line is back",
                          lambda r: r["move_s"]),
                    grows("memory of the module, without what one line "
                          "has", lambda r: r["idle_kb"] - r["plain_kb"] - base),
                    grows("CPU of a move", lambda r: r["move_cpu"]),
                    grows("longest stall (CPU)",
                          lambda r: r["move_stall_cpu"])]) + "."]
    return "\n".join(out)
