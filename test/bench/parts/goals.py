"""The goals, computed from what the other benchmarks have written down: met,
or by how much not."""

from . import page, service_page

FAULTS, TRANSPORTS = service_page.FAULTS, service_page.TRANSPORTS
LINKS = service_page.LINKS
TRANSACTION_S = 4.0     # sip transaction timer's default
FOUND_S = TRANSACTION_S + 1
LAMP_S = 0.1            # between two changes of the lamp
CALL_S = 0.5            # what a call itself may take, and the second look at it
REGISTRAR_S = 4.0       # the lab's registrar waits so long for an edge proxy
QUIET = page.QUIET


def arguments(parser):
    pass


def ms(x):
    return page.seconds(x)


class Goal:
    """What was found for one goal: points that are met or not."""

    def __init__(self, text):
        self.text = text
        self.points = []        # (met, text)
        self.why = ""
        self.note = ""

    def point(self, met, text, *args):
        self.points.append((bool(met), text % args if args else text))
        return self

    def verdict(self):
        if not self.points:
            return "not measured"
        bad = sum(not met for met, _ in self.points)
        return ("met" if not bad else "**not met**" if bad == len(self.points)
                else "**%d of %d met**" % (len(self.points) - bad,
                                           len(self.points)))

    def row(self):
        # the reason stands only where something is not met
        missed = any(not met for met, _ in self.points)
        return [self.text, self.verdict(), "; ".join(
            ("" if met else "**not:** ") + text for met, text in self.points),
            ". ".join(x for x in (self.note if self.points else "",
                                  self.why if missed else "") if x)]


def spread(fault, transport, link, name, figure):
    return service_page.spread(service_page.cell(fault, transport, link),
                               name, figure)


def busy(fault, transport, link, name, figure):
    """Was this measured beside others only?"""
    runs = [r for r in service_page.cell(fault, transport, link).all_runs()
            if r["figures"].get(name, {}).get(figure)]
    return not any(r["busy"] <= QUIET for r in runs)


def kill():
    g = Goal("kill on TCP: a binding at most the floor + 2 ms later at 0.1 ms,"
             " floor x 1.1 at 20 and 100 ms")
    for link in LINKS:
        a = spread("kill", "tcp", link, "aastra", "binding")
        b = spread("kill", "tcp", link, "floor", "binding")
        if not a or not b:
            continue
        most = b["median"] + 0.002 if link < 1 else b["median"] * 1.1
        g.point(a["median"] <= most, "%g ms: %s, floor %s (%d rounds%s)",
                link, ms(a["median"]), ms(b["median"]), a["n"],
                ", beside others" if busy("kill", "tcp", link, "aastra",
                                          "binding") else "")
    g.why = "The machine: the phone's process waits for its turn"
    return g


def standby1():
    g = Goal("kill, `sip outbound standby: 1`: at most two round trips")
    for tp in ("tcp", "tls"):
        for link in LINKS[1:]:
            a = spread("kill", tp, link, "aastra-standby", "binding")
            if a:
                trips = a["median"] / link * 1000
                g.point(trips <= 2.1, "%s, %g ms: %s, %.2f round trips (%d "
                        "rounds)", tp.upper(), link, ms(a["median"]), trips,
                        a["n"])
    return g


def standby2():
    g = Goal("`sip outbound standby: 2`: no gap for inbound calls under any "
             "fault, as plain baresip with two outbounds")
    for fault in FAULTS:
        for tp in TRANSPORTS:
            for link in LINKS:
                b = spread(fault, tp, link, "aastra-standby2", "binding")
                i = spread(fault, tp, link, "aastra-standby2", "in")
                p = spread(fault, tp, link, "two-outbounds", "in")
                if not b or not i:
                    continue
                text = "%s, %s, %g ms: longest without a binding %s, inbound" \
                    " %s" % (FAULTS[fault], tp.upper(), link, ms(b["p99"]),
                             ms(i["median"]))
                if p:
                    text += " (two outbounds: %s)" % ms(p["median"])
                # the first call made after the fault
                g.point(b["p99"] == 0 and i["median"] <= REGISTRAR_S + 1,
                        text)
    for fault in FAULTS:
        for tp in TRANSPORTS:
            i = service_page.spread(service_page.cell(fault, tp, 20, True),
                                    "aastra-standby2", "in")
            if i:
                g.point(i["p95"] <= CALL_S, "%s, %s, 20 ms, a call goes over "
                        "all flows at once: inbound %s, p95 %s (%d rounds)",
                        FAULTS[fault], tp.upper(), ms(i["median"]),
                        ms(i["p95"]), i["n"])
    g.note = ("There is a binding all the time, and each call is answered. "
              "The registrar of the lab tries the newest flow first and waits "
              "%g s for a dead edge proxy: the module's newest is the "
              "primary's, until the fault is noticed; that of two outbounds is "
              "either. Where the registrar sends a call over all flows at once "
              "it waits for none" % REGISTRAR_S)
    return g


def standby2_out():
    g = Goal("... with outgoing calls following within the detection time")
    for fault in FAULTS:
        for tp in TRANSPORTS:
            for link in LINKS:
                a = spread(fault, tp, link, "aastra-standby2", "out")
                if a:
                    g.point(a["p95"] <= FOUND_S + CALL_S,
                            "%s, %s, %g ms: %s, p95 %s",
                            FAULTS[fault], tp.upper(), link, ms(a["median"]),
                            page.seconds(a["p95"], a["limit"]))
    return g


def blackhole():
    g = Goal("black hole: found within transaction timer + 1 s (%g s)"
             % FOUND_S)
    for tp in TRANSPORTS:
        v = [x for link in LINKS for name in ("aastra", "aastra-quick")
             for x in service_page.cell("blackhole", tp, link).values(
                 name, "found", calm=True) if x is not None]
        if v:
            g.point(max(v) <= FOUND_S, "%s, from what was sent into the "
                    "silence until the way to the backup: median %s, longest "
                    "%s (%d rounds)", tp.upper(), ms(page.percentile(v, 50)),
                    ms(max(v)), len(v))
        for name, text in (("aastra-quick", "from the fault, keep-alive 1 s"),
                           ("aastra", "from the fault until an outgoing call "
                            "is answered, defaults")):
            key = "binding" if name == "aastra-quick" else "out"
            v = [x for link in LINKS for x in service_page.cell(
                "blackhole", tp, link).values(name, key, calm=True)]
            if v:
                s = page.spread(v, 120)
                g.point(s["p95"] <= FOUND_S + CALL_S, "%s, %s: median %s, p95 %s "
                        "(%d rounds)", tp.upper(), text, ms(s["median"]),
                        page.seconds(s["p95"], s["limit"]), s["n"])
    g.note = ("With the defaults nothing is sent for up to 25 s, so an inbound "
             "call finds an idle black hole only then")
    return g


def home():
    g = Goal("way home: no gap without a binding, none of a busy lamp")
    for tp, c in page.load("home").get("cells", {}).items():
        g.point(c["gap"]["p99"] == 0, "%s: longest without a binding %s in %d "
                "moves", tp.upper(), ms(c["gap"]["p99"]), c["home"]["n"])
        if c.get("lamp"):
            g.why = ("Others kept the machine busy; %d of the ways home lost "
                     "a change" % sum(x["lamp"]["lost"] for x in
                                      page.load("home")["cells"].values()))
            # a lamp changes every 100 ms: none of its changes is late by one
            g.point(c["lamp"]["p99"] <= LAMP_S, "%s: a change of the lamp is "
                    "told after %s, the longest of each way home %s, p99 %s",
                    tp.upper(), ms(c["lamp_usual"]["median"]),
                    ms(c["lamp"]["median"]), ms(c["lamp"]["p99"]))
    return g


def idle():
    g = Goal("9 idle lines: less than 0.1 % of a core, no wake-ups beyond "
             "keep-alives")
    c = page.load("lines").get("counts", {}).get("9")
    if c:
        g.point(c["idle"] < 0.001, "%.4f %% of a core", 100 * c["idle"])
        if "keepalives" in c:
            own = c["wakeups"] - c["plain_wakeups"]
            each = own / c["keepalives"] if c["keepalives"] else own
            g.point(each <= 4 and c["keepalives"],
                    "%.2f wake-ups a second more than baresip alone, for %.3f "
                    "keep-alives a second: %.1f each (its timer, its answer)",
                    own, c["keepalives"], each)
    return g


def memory():
    g = Goal("at most 24 KiB of memory per idle line on top of baresip's own, "
             "linear")
    c = {int(k): v for k, v in page.load("lines").get("counts", {}).items()}
    many = max(c, default=1)
    if many > 1 and 1 in c:
        own = {n: r["idle_kb"] - r["plain_kb"] for n, r in c.items()}
        for n in sorted(c):
            if n >= 9:
                kb = (own[n] - own[1]) / (n - 1)
                g.point(kb <= 24, "%d lines: %.1f KiB each", n, kb)
        b = page.exponent([(n, own[n] - own[1]) for n in c if n >= 9])
        g.point(b <= 1.05, "grows as n^%.2f", b)
    return g


def stall():
    g = Goal("1000 lines move without a stall of the event loop above 20 ms")
    r = page.load("lines")
    c = r.get("counts", {}).get("1000")
    if c:
        g.point(c["move_stall"] <= 0.02, "move: %s, of which %s of processor "
                "time", ms(c["move_stall"]), ms(c["move_stall_cpu"]))
        g.point(c["start_stall"] <= 0.02, "start: %s, of which %s of processor"
                " time", ms(c["start_stall"]), ms(c["start_stall_cpu"]))
        g.why = "See [Many lines](#many-lines)"
        if r["machine"].get("busy", 0) > QUIET:
            g.why += "; others used %.0f %% of the machine" % (
                100 * r["machine"]["busy"])
    return g


ALL = (kill, standby1, standby2, standby2_out, blackhole, home, idle, memory,
       stall)


def run(opts):
    return text()


def text(opts=None):
    return page.table(["goal", "", "what was found", "what stands in the way"],
                      [f().row() for f in ALL])
