"""A thousand phones at once: a simulation of 1 to 10,000 phones that lose the
same primary in the same second and get it back, made of the module's own code
(test/bench/scale.c), with a server whose speed one run against a real Kamailio
says."""

import json
import os
import shutil
import subprocess
import tempfile
import time

from lab import Lab
from lab.proc import Proc

from . import page

PAGE = os.path.join(page.TOP, "docs/scale.md")
SVG = os.path.join(page.TOP, "docs/scale.svg")
HERE = os.path.dirname(os.path.abspath(__file__))
COUNTS = (1, 10, 100, 1000, 3000, 10000)
DOWN_S, END_S = 300, 2400
BASE, MAX, TRANSACTION = 30, 1800, 4000         # the defaults
FIRST = 10000


def arguments(parser):
    parser.add_argument("--capacity", type=float, help="messages a second "
                        "of the server, in place of the calibration")


def run(opts):
    folder = tempfile.mkdtemp(prefix="aabench-")
    try:
        exe = build(folder)
        cal = {"capacity": opts.capacity} if opts.capacity else \
            calibrate(opts, folder)
        print("calibration: %s" % cal, flush=True)
        results = {"calibration": cal, "machine": page.machine(
            opts.command, opts.load)}
        text = report(exe, cal, results, opts)
        return text
    finally:
        if not opts.keep:
            shutil.rmtree(folder, ignore_errors=True)


def build(folder):
    exe = os.path.join(folder, "scale")
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libre"],
                           capture_output=True, text=True,
                           check=True).stdout.split()
    subprocess.run(
        [shutil.which("cc") or "gcc", "-O2", "-D_GNU_SOURCE",
         "-DHAVE_INET6", "-DHAVE_STDBOOL_H", "-DHAVE_INTTYPES_H",
         '-DAASTRA_VERSION="bench"', "-I" + page.TOP + "/modules/aastra",
         "-I" + page.TOP + "/include", "-ffunction-sections",
         "-fdata-sections", "-Wl,--gc-sections", "-o", exe,
         os.path.join(HERE, "../scale.c"), *flags, "-lm"], check=True)
    return exe


def simulate(exe, phones, lines=1, fault="kill", spread=1, capacity=3000,
             base=BASE, longest=MAX, seed=1, down=DOWN_S, end=END_S):
    p = subprocess.run([exe, *map(str, (
        phones, lines, fault, spread, capacity, base, longest, TRANSACTION,
        down, end, seed))], capture_output=True, text=True, check=True)
    return json.loads(p.stdout)


def calibrate(opts, folder):
    """Messages a second that a real Kamailio takes over TCP, a connection a
    phone: 4000 registrations as fast as it answers. And how long the last of
    1000 that come at once waits, to compare."""
    users = os.path.join(folder, "users.csv")
    with open(users, "w") as f:
        f.write("SEQUENTIAL\n" + "".join(
            "%d;[authentication username=%d password=secret%d]\n"
            % (u, u, u) for u in range(FIRST, FIRST + 4000)))

    def load(lab, n, at_once):
        log = os.path.join(folder, "sipp-%d.log" % n)
        t = time.monotonic()
        p = Proc(["sipp", "-sf", os.path.join(HERE, "../register.xml"),
                  "-i", lab.far.ip, "-p", "5080", "-m", str(n),
                  "-r", "100000", "-l", str(at_once), "-inf", users,
                  "-nostdin", "-timeout", "60s", "-t", "tn",
                  "-max_socket", "4100", lab.primary.ip + ":5060"],
                 "sipp-%d" % n, log, host=lab.far, cwd=folder)
        code = p.wait(70)
        took = time.monotonic() - t
        p.kill()
        if code:
            raise RuntimeError("sipp: " + p.output()[-500:])
        return took

    with Lab(os.path.join(folder, "lab"), wire=False) as lab:
        lab.combined(USER_FIRST=FIRST, USER_LAST=FIRST + 4000)
        idle = load(lab, 1, 1)
        took = load(lab, 4000, 100) - idle
        burst = load(lab, 1000, 1000) - idle
    return {"capacity": round(2 * 4000 / took, 1), "burst_1000_s":
            round(burst, 2)}


def _t(x):
    return "%.1f s" % x if x < 100 else "%.0f s" % x


def report(exe, cal, results, opts):
    cap = cal["capacity"]
    rows = []
    for n in COUNTS:
        for spread in (1, 0):
            r = simulate(exe, n, spread=spread, capacity=cap)
            rows.append([n, "yes" if spread else "no",
                         _t(r["back"]["median"]), _t(r["back"]["last"]),
                         r["backup_peak"], _t(r["backup_queue"]),
                         _t(r["home"]["median"]), _t(r["home"]["p99"]),
                         r["primary_peak"], _t(r["primary_queue"]),
                         r["timeouts"]])
    out = [page.machine_text(results["machine"]), "",
           "The server takes %.0f messages a second (a REGISTER, or one that "
           "is challenged, is one)." % cap]
    if "burst_1000_s" in cal:
        out[-1] += (" 1000 registrations at once took the real Kamailio "
                    "%.2f s; the simulation says %.2f s." % (
                        cal["burst_1000_s"], simulate(
                            exe, 1000, capacity=cap, down=5, end=5)
                        ["back"]["last"]))
    out += ["", "One line each; the primary is killed, and back after %d s:"
            % DOWN_S, "", page.table(
                ["phones", "chance", "on the backup, median", "the last",
                 "peak at the backup, 1/s", "longest wait there",
                 "home, median", "home, p99", "peak at the primary, 1/s",
                 "longest wait there", "given up"], rows), "",
            "Which recovery timers (10,000 phones, from the moment when the "
            "primary is back; load while it is down is probes):", ""]
    rows = []
    for base, longest in ((5, 60), (30, 300), (30, 1800), (90, 1800)):
        r = simulate(exe, 10000, capacity=cap, base=base, longest=longest)
        rows.append(["%d / %d s%s" % (base, longest, " (default)" if (
            base, longest) == (BASE, MAX) else ""), _t(r["home"]["median"]),
            _t(r["home"]["p99"]), r["primary_peak"], "%.1f" % (
                sum(r["primary"][100:DOWN_S * 10]) / 10000 /
                (DOWN_S - 10) * 3600)])
    out += [page.table(["base / max", "home, median", "home, p99",
                        "peak at the primary, 1/s",
                        "probes an hour and phone while it is down"], rows),
            "", "Phones with many lines (1000 lines in all, killed): the "
            "module's pacing of 50 exchanges a second and phone.", ""]
    rows = []
    for phones, lines in ((1000, 1), (100, 10), (20, 50), (1, 1000)):
        r = simulate(exe, phones, lines, capacity=cap)
        rows.append([phones, lines, _t(r["back"]["median"]),
                     _t(r["back"]["last"]), r["backup_peak"]])
    out += [page.table(["phones", "lines each", "on the backup, median",
                        "the last", "peak at the backup, 1/s"], rows)]
    if not opts.dry:
        with open(SVG, "w") as f:
            f.write(svg(exe, cap))
        page.save("scale", results)
    return "\n".join(out)


# -- the plot --------------------------------------------------------------

W, H, LEFT, TOP, GAP = 860, 220, 70, 40, 70
COLOURS = {1: "#1668a8", 0: "#c2410c"}


def svg(exe, cap, n=10000):
    """Messages a second, by tenths of a second: at the backup after the
    fault, at the primary after its return."""
    runs = {s: simulate(exe, n, spread=s, capacity=cap) for s in (1, 0)}
    parts = []
    panels = (
        ("backup", "at the backup, after the primary was killed", 0, 10, 1),
        ("backup", "the same, but it was silent: found by the check of each "
         "phone", 0, 40, 1),
        ("primary", "at the primary, from %d s before it is back" % 20,
         DOWN_S - 20, DOWN_S + 500, 10))
    silent = {s: simulate(exe, n, spread=s, capacity=cap, fault="silence")
              for s in (1, 0)}
    y = TOP
    for i, (key, title, a, b, group) in enumerate(panels):
        data = {s: (silent if i == 1 else runs)[s][key] for s in (1, 0)}
        parts += panel(data, title, a, b, group, y)
        y += H + GAP
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" '
            'font-family="sans-serif" font-size="13">\n'
            '<rect width="100%%" height="100%%" fill="#fff"/>\n%s\n</svg>\n'
            % (W + LEFT + 40, y, "\n".join(parts)))


def panel(data, title, a, b, group, top):
    """Logarithmic: without spreading everything comes in one instant."""
    import math
    curves = {}
    for s, v in data.items():
        v = v[a * 10:b * 10]
        curves[s] = [sum(v[i:i + group]) * 10 / group
                     for i in range(0, len(v), group)]
    peak = max(max(c) for c in curves.values()) or 1
    decades = math.ceil(math.log10(peak * 1.01))

    def ypos(x):
        return top + H - (H * math.log10(x) / decades if x >= 1 else 0)
    out = ['<text x="%d" y="%d" font-weight="bold">%s</text>' % (
        LEFT, top - 14, "Messages a second " + title)]
    for d in range(decades + 1):
        yy = ypos(10 ** d)
        out.append('<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/>'
                   '<text x="%d" y="%.1f" text-anchor="end">%d</text>' % (
                       LEFT, LEFT + W, yy, yy, LEFT - 6, yy + 4, 10 ** d))
    for k in range(6):
        x = LEFT + W * k / 5
        out.append('<text x="%.1f" y="%d" text-anchor="middle">%g s</text>' % (
            x, top + H + 18, a + (b - a) * k / 5))
    for s in (0, 1):
        c = curves[s]
        step = W / len(c)
        pts = []
        for i, x in enumerate(c):
            pts += ["%.1f,%.1f" % (LEFT + i * step, ypos(x)),
                    "%.1f,%.1f" % (LEFT + (i + 1) * step, ypos(x))]
        out.append('<polyline fill="none" stroke="%s" stroke-width="1.5" '
                   'points="%s"/>' % (COLOURS[s], " ".join(pts)))
        out.append('<text x="%d" y="%d" fill="%s" text-anchor="end">%s</text>'
                   % (LEFT + W, top + 14 + 18 * (1 - s), COLOURS[s],
                      "with chance" if s else "without"))
    return out
