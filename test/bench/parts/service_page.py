"""What the rounds of service.py say: the overview, all tables, the plot."""

import itertools
import os

import section

from . import page, plot, rounds
from .contenders import ALL

FAULTS = {"kill": "killed", "hang": "hung", "blackhole": "black hole"}
TRANSPORTS = ("tcp", "udp", "tls")
LINKS = (0.1, 20, 100)
TABLES = os.path.join(page.TOP, "docs/performance-service.md")
SVG = os.path.join(page.TOP, "docs/performance-service.svg")
FLOOR = "floor: connect, REGISTER, 401, REGISTER, 200 by hand"
MANY_FLOWS = ["aastra-standby2", "two-outbounds"]
LIMIT = 100
WANTED = rounds.ENOUGH
HOPELESS = 3            # as in service.py


def cell(fault, transport, link, all_flows=False, opts=None):
    """all_flows: the registrar sends a call over all of them at once."""
    return rounds.Store("service", "%s-%s-%g%s" % (
        fault, transport, link, "-all" if all_flows else ""), opts)


def spread(store, name, figure):
    v = store.values(name, figure, calm=True)
    return page.spread(v, LIMIT) if v else None


def short(s):
    return page.seconds(s["median"], s["limit"]) if s else "-"


def text():
    tables()
    draw()
    stores = {(f, tp, link): cell(f, tp, link) for f in FAULTS
              for tp in TRANSPORTS for link in LINKS}
    machine = latest(stores.values())
    if not machine:
        return "No whole run yet."
    link = 20
    head, keys = [""], []
    for f in FAULTS:
        for tp in TRANSPORTS:
            if stores[f, tp, link].names():
                head.append("%s, %s" % (FAULTS[f], tp.upper()))
                keys.append((f, tp, link))
    rows = []
    for name, kind in ALL.items():
        row = ["%s / %s" % (short(spread(stores[k], name, "in")),
                            short(spread(stores[k], name, "out")))
               for k in keys]
        if any(x != "- / -" for x in row):
            rows.append([kind.text, *row])
    count = sum(len(v) for s in stores.values() for r in s.all_runs()
                for n, f in r["figures"].items()
                for k, v in f.items() if k in ("in", "out"))
    return "\n".join([
        page.machine_text(machine), "",
        "%d rounds in all, each with a fault, a phone and calls until one was "
        "answered. All tables, with the 95th and 99th percentile, the time "
        "until there is a binding, and when and with how many rounds each "
        "was measured: [performance-service.md](performance-service.md). "
        "Median until an inbound / an outbound call is answered, link of "
        "%g ms:" % (count, link), "", page.table(head, rows), "",
        "![Time without service](performance-service.svg)", *missing(stores)])


def missing(stores):
    """What of the grid has no rounds, or fewer than wanted."""
    none = [k for k, s in stores.items() if not s.names()]
    few = []
    for k, s in stores.items():
        n = [len(s.values(name, figure, calm=True))
             for name in s.names() for figure in ("in", "out")
             if s.values(name, figure)
             and not s.hopeless(name, figure, HOPELESS)]
        if n and min(n) < WANTED:
            few.append("%s (%d)" % (_name(k), min(n)))
    out = []
    if few:
        out += ["", "Fewer than %d rounds (of the contender with the fewest; "
                "those that never come back aside): %s." % (
                    WANTED, ", ".join(few))]
    if none:
        out += ["", "Not measured yet: %s. `test/bench/run service --rounds "
                "%d` does what is missing." % (", ".join(map(_name, none)),
                                               WANTED)]
    return out


def _name(key):
    return "%s %s %g ms" % (FAULTS[key[0]], key[1].upper(), key[2])


def latest(stores):
    """The newest of the runs' machines."""
    runs = [r["machine"] for s in stores for r in s.all_runs()
            if "machine" in r]
    return max(runs, key=lambda m: m["date"]) if runs else None


def rows_of(store, fault):
    floor = spread(store, "floor", "binding")
    rows = []
    for name in [*ALL, "floor"]:
        f = {k: spread(store, name, k)
             for k in ("binding", "in", "out", "found")}
        if not any(f.values()):
            continue
        ratio = "-"
        if floor and f["binding"] and f["binding"]["median"] not in (
                None, float("inf")):
            ratio = "%.2f" % (f["binding"]["median"] / floor["median"])
        req = store.values(name, "requests", calm=True)
        row = [ALL[name].text if name in ALL else FLOOR,
               *(page.cell(f[k]) if f[k] else "-"
                 for k in ("binding", "in", "out"))]
        if fault == "kill":
            row.append(ratio)
        else:
            row.append(page.cell(f["found"]) if f["found"] else "-")
        row += ["%g" % page.percentile(req, 50) if req else "-",
                " / ".join("%d" % f[k]["n"] if f[k] else "-"
                           for k in ("binding", "in", "out"))]
        rows.append(row)
    return rows


def tables():
    out = []
    for key in itertools.product((False, True), FAULTS, TRANSPORTS, LINKS):
        all_flows, fault, transport, link = key
        store = cell(fault, transport, link, all_flows)
        rows = rows_of(store, fault)
        if not rows:
            continue
        out += ["## %s, %s, link of %g ms%s" % (
            FAULTS[fault].capitalize(), transport.upper(), link,
            ", a call goes over all flows at once" if all_flows else ""), "",
            page.table([
                "", "binding", "inbound call", "outbound call",
                "binding / floor" if fault == "kill" else
                "sent into the silence -> on the way to the backup",
                "requests of the move", "rounds"], rows), "",
            "Runs: " + "; ".join(map(when, store.all_runs())) + ".", ""]
    if out and not page.dry:
        section.replace(TABLES, "service-tables", "\n".join(out))


def when(run):
    m = run["machine"]
    n = max((len(v) for f in run["figures"].values() for v in f.values()),
            default=0)
    return "%s, module at %s, %d rounds, others used %.0f %% of the machine" \
        % (m["date"], m["module"], n, 100 * run["busy"])


def draw():
    panels = []
    for fault, title in FAULTS.items():
        store = cell(fault, "tcp", 20)
        rows = []
        for name in [*ALL, "floor"]:
            s = [spread(store, name, "in"), spread(store, name, "out")]
            if name == "floor":
                s = [None, None, spread(store, name, "binding")]
            if any(s):
                rows.append((ALL[name].text.replace("`", "") if name in ALL
                             else "floor, a binding", s))
        if rows:
            panels.append(("%s, TCP, link of 20 ms" % title.capitalize(),
                           rows))
    if panels and not page.dry:
        with open(SVG, "w") as f:
            f.write(plot.dots(panels, LIMIT, (
                "inbound call", "outbound call", "by hand")))
