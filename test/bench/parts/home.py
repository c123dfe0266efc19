"""The way home: from the moment when the primary answers again until the line
is registered there and nowhere else, the longest time without a live binding
on the way (goal: 0), the longest time until a change of a busy lamp, which
changes ten times a second meanwhile, is told to the phone, and the requests
of a move there and back."""

import re
import shutil
import tempfile
import time

from lab import Lab, bodies
from lab.every import Every
from lab.patience import patient
from lab.site import BACKUP, FAST, PRIMARY, Site

from . import page

ROUNDS = 50
TRANSPORTS = ("tcp", "udp")


def arguments(parser):
    parser.add_argument("--transport", action="append", choices=TRANSPORTS)


def run(opts):
    results = page.load("home") if not opts.fresh else {}
    results.setdefault("cells", {})
    for transport in opts.transport or TRANSPORTS:
        results["cells"][transport] = cell(opts, transport)
        print(transport, results["cells"][transport], flush=True)
        results["machine"] = page.machine(opts.command, opts.load)
        if not opts.dry:
            page.save("home", results)
    return text(results)


def cell(opts, transport):
    got = {"home": [], "gap": [], "step": [], "away": [], "back": [],
           "lamp": [], "lamp_usual": [], "lamp_away": []}
    # the presence server's tables are in memory: no disk is measured
    folder = tempfile.mkdtemp(prefix="aabench-", dir="/dev/shm")
    try:
        with Lab(folder, module=opts.module, binary=opts.baresip) as lab:
            reg = lab.registrar(PRESENCE_DB=True, start=False)
            patient(reg, lab.dir)
            reg.start()
            site = Site(lab, "E3", transport, registrar=reg, config=[
                *FAST, "sip line1 subscribe: dialog 200"])
            site.reg = reg
            lamp = Lamp(lab, reg)
            for _ in range(opts.rounds):
                one(lab, site, got, lamp)
            if opts.keep:
                lab.wire.dump(folder + "/wire.txt")
    finally:
        if not opts.keep:
            shutil.rmtree(folder, ignore_errors=True)
    return {k: page.spread(v) for k, v in got.items()}


class Lamp(Every):
    """Somebody whose state changes all the time."""

    def __init__(self, lab, server):
        super().__init__(0.1)
        self.lab, self.server = lab, server
        self.version = 0
        self.changes = []
        self.once()

    def once(self):
        """A change counts from the moment when the server has taken it."""
        self.version += 1
        state = bodies.dialog(200, ("early", "confirmed")[self.version % 2])
        # the server counts versions of its own
        state.body = state.body.replace('call-id="c-200"',
                                        'call-id="c-%d"' % self.version)
        self.server.publish(200, state)
        self.changes.append((time.monotonic(), self.version))

    def __enter__(self):
        self.changes = []
        return super().__enter__()

    def delays(self, after, before):
        """How long each change of that time took to be told: [seconds]."""
        told = []
        for e in self.lab.wire.sip("NOTIFY", request=True, dst="phone",
                                   after=after):
            m = re.search(r'call-id="c-(\d+)"', e.body)
            # told is what the phone has answered
            ok = m and self.lab.wire.sip(
                "NOTIFY", status=200, src="phone", call_id=e.call_id,
                after=e.t, match=lambda r, e=e: r.cseq == e.cseq)
            if ok:
                told.append((ok[0].t, int(m[1])))
        out = []
        for t, version in self.changes:
            if after < t < before:
                when = min((x for x, v in told if v >= version),
                           default=None)
                out.append(None if when is None else max(0.0, when - t))
        return out


def one(lab, site, got, lamp):
    with lab.wire._news:
        lab.wire.events.clear()
    # a phone that fails over again and again holds back: each has one move
    phone = site.start()
    lab.until(lambda: phone.state(1)["subscriptions"][0]["state"] == "active",
              10, "the lamp is lit")
    with lamp:
        t = lab.now()
        site.primary.kill()
        site.wait_on(BACKUP, 10, only=True, after=t)
        got["away"].append(len(site.registers(after=t)) +
                           len(site.farewells(after=t)))
        _lit(lab, site, BACKUP)
        away = lab.now()
        with lab.sampler(site.reg, every=0.01) as seen:
            back = lab.now()
            site.primary.start()
            ready = lab.now()
            ok = site.wait_200(PRIMARY, 15, after=back)
            site.wait_on(PRIMARY, 10, only=True, after=back)
            _lit(lab, site, PRIMARY)
            home = lab.now()
            # the next changes are shown as well
            time.sleep(5 * lamp.every)
        end = lab.now()
    try:
        lab.until(lambda: None not in lamp.delays(away, end), 3,
                  "all changes told", every=0.2)
    except AssertionError:
        pass            # the figure says it
    late = lamp.delays(away, end)
    got["home"].append(max(0.0, ok.t - ready))
    got["gap"].append(seen.longest_gap())
    got["step"].append(seen.longest_step())
    got["back"].append(len(site.registers(after=back, before=home)) +
                       len(site.farewells(after=back, before=home)))
    got["lamp"].append(longest(late))
    got["lamp_usual"].append(page.percentile(
        [float("inf") if x is None else x for x in late], 50))
    got["lamp_away"].append(longest(lamp.delays(t, away)))
    phone.exit()
    lab.phones.remove(phone)
    shutil.rmtree(phone.dir, ignore_errors=True)


def longest(times):
    """None, if one is: it never came."""
    return None if None in times else max(times, default=0.0)


def _lit(lab, site, rank):
    def there():
        s, = site.phone.state(1)["subscriptions"]
        return (s["rank"], s["state"]) == (rank, "active")
    lab.until(there, 10, "the lamp is lit by the " + rank)


def text(results):
    rows = []
    for transport, c in results["cells"].items():
        rows.append([
            transport.upper(), page.cell(c["home"]),
            " / ".join(page.seconds(c["gap"][k])
                       for k in ("median", "p99")),
            page.seconds(c["step"]["p99"]),
            *(page.cell(c[k]) if k in c else "-" for k in (
                "lamp", "lamp_usual", "lamp_away")),
            *(" / ".join("%d" % c[w][k] for k in ("median", "p99"))
              for w in ("away", "back")), c["home"]["n"]])
    return "\n".join([
        page.machine_text(results["machine"]), "",
        "With `sip recovery base timer: 1`, keep-alive 1 s, transaction timer "
        "500 ms. The longest time without a binding is what a look at the "
        "registrar every few milliseconds could see; how far apart two looks "
        "were is beside it. A busy lamp changes ten times a second: how long "
        "after the presence server took a change had the phone answered a "
        "NOTIFY with it or a later one?", "", page.table(
            ["", "the primary answers -> registered there",
             "longest time without a binding (median / p99)",
             "two looks apart (p99)", "lamp: longest on the way home",
             "median of its changes", "longest after the kill",
             "REGISTERs of the move away, farewells and 401s with it",
             "of the move home", "rounds"], rows)])
