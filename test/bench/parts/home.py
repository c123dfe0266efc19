"""The way home: from the moment when the primary answers again until the line
is registered there and nowhere else, the longest time without a live binding
on the way (goal: 0), and the requests of a move there and back."""

import shutil
import tempfile

from lab import Lab
from lab.site import BACKUP, PRIMARY, Site

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
    got = {"home": [], "gap": [], "step": [], "away": [], "back": []}
    folder = tempfile.mkdtemp(prefix="aabench-")
    try:
        with Lab(folder, module=opts.module, binary=opts.baresip) as lab:
            site = Site(lab, "E3", transport)
            for _ in range(opts.rounds):
                one(lab, site, got)
    finally:
        if not opts.keep:
            shutil.rmtree(folder, ignore_errors=True)
    return {k: page.spread(v) for k, v in got.items()}


def one(lab, site, got):
    # a phone that fails over again and again holds back: each has one move
    phone = site.start()
    t = lab.now()
    site.primary.kill()
    site.wait_on(BACKUP, 10, only=True, after=t)
    got["away"].append(len(site.registers(after=t)) +
                       len(site.farewells(after=t)))
    with lab.sampler(site.reg, every=0.01) as seen:
        back = lab.now()
        site.primary.start()
        ready = lab.now()
        ok = site.wait_200(PRIMARY, 15, after=back)
        site.wait_on(PRIMARY, 10, only=True, after=back)
    got["home"].append(max(0.0, ok.t - ready))
    got["gap"].append(seen.longest_gap())
    got["step"].append(seen.longest_step())
    got["back"].append(len(site.registers(after=back)) +
                       len(site.farewells(after=back)))
    phone.exit()
    lab.phones.remove(phone)
    shutil.rmtree(phone.dir, ignore_errors=True)


def text(results):
    rows = []
    for transport, c in results["cells"].items():
        rows.append([
            transport.upper(), page.cell(c["home"]),
            " / ".join(page.seconds(c["gap"][k])
                       for k in ("median", "p99")),
            page.seconds(c["step"]["p99"]),
            *(" / ".join("%d" % c[w][k] for k in ("median", "p99"))
              for w in ("away", "back")), c["home"]["n"]])
    return "\n".join([
        page.machine_text(results["machine"]), "",
        "With `sip recovery base timer: 1`, keep-alive 1 s, transaction timer "
        "500 ms. The longest time without a binding is what a look at the "
        "registrar every few milliseconds could see; how far apart two looks "
        "were is beside it.", "", page.table(
            ["", "the primary answers -> registered there",
             "longest time without a binding (median / p99)",
             "two looks apart (p99)",
             "REGISTERs of the move away, farewells and 401s with it",
             "of the move home", "rounds"], rows)])
