"""What a phone sends while nothing happens: each contender on a host of its
own, registered, for an hour; requests and keep-alives from the wire, packets
from its network interface."""

import collections
import json
import shutil
import tempfile
import time

from lab import Lab
from lab.dns import Dns
from lab.netns import HOSTS
from lab.site import live, rank_by_path

from . import page
from .contenders import IDLE, Serreg, names_in_dns

ROUNDS = 1
TRANSPORTS = ("tcp", "udp")
SETTLE_S = 20           # from the start of the last phone on


def arguments(parser):
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--contender", action="append", choices=list(IDLE))
    parser.add_argument("--transport", action="append", choices=TRANSPORTS)


def run(opts):
    names = opts.contender or list(IDLE)
    if "serreg" in names:
        Serreg.prepare()
    folder = tempfile.mkdtemp(prefix="aabench-")
    slots = [(n, tp) for tp in opts.transport or TRANSPORTS for n in names]
    hosts = dict(HOSTS, **{"i%d" % i: 100 + i for i in range(len(slots))})
    try:
        with Lab(folder, module=opts.module, binary=opts.baresip,
                 hosts=hosts) as lab:
            found = measure(opts, lab, slots)
            if opts.keep:
                lab.wire.dump(folder + "/wire.txt")
    finally:
        if not opts.keep:
            shutil.rmtree(folder, ignore_errors=True)
    # another run may have written meanwhile
    results = page.load("idle") if not opts.fresh else {}
    results.setdefault("cells", {}).update(found)
    results["machine"] = page.machine(opts.command, opts.load, Serreg.root)
    if not opts.dry:
        page.save("idle", results)
    return text(results)


def measure(opts, lab, slots):
    reg = lab.registrar(USER_LAST=2000)
    lab.edge(lab.primary, reg)
    lab.edge(lab.backup, reg)
    dns = Dns(lab.far).start()
    lab.others.append(dns)
    for tp in TRANSPORTS:
        names_in_dns(lab, dns, tp)
    phones = {}
    for i, (name, tp) in enumerate(slots):
        host = getattr(lab, "i%d" % i)
        user = 100 + 20 * i
        p = IDLE[name](lab, host, user, tp)
        p.start()
        lab.until(lambda user=user: "primary" in [
            rank_by_path(lab, b) for b in reg.bindings(str(user))
            if live(b)], 30, "%s registered" % name)
        phones[name, tp] = p
    # what belongs to the start is over
    time.sleep(SETTLE_S)
    t, before = lab.now(), {s: packets(p.host) for s, p in phones.items()}
    time.sleep(60 * opts.minutes)
    end, out = lab.now(), {}
    for (name, tp), p in phones.items():
        sent = collections.Counter()
        for e in lab.wire.find(src=p.host, after=t, before=end):
            if e.sip and e.request:
                sent[e.method] += 1
            elif e.kind in ("ping", "stun"):
                sent[e.kind] += 1
        hours = (end - t) / 3600
        sent = {k: round(v / hours, 1) for k, v in sorted(sent.items())}
        out["%s %s" % (tp, name)] = {
            "sent": sent, "minutes": round((end - t) / 60, 1),
            "requests": round(sum(v for k, v in sent.items()
                                  if k.isupper()), 1),
            "packets": round((packets(p.host) - before[name, tp]) / hours)}
        p.stop()
    return out


def packets(host):
    """Packets that a host has sent so far, whatever they are."""
    link, = json.loads(host.run("ip", "-j", "-s", "link", "show", "eth0"))
    return link["stats64"]["tx"]["packets"]


NAMES = {"ping": "CRLF", "stun": "STUN"}


def text(results):
    rows = []
    for tp in TRANSPORTS:
        for name, kind in IDLE.items():
            c = results["cells"].get("%s %s" % (tp, name))
            if c:
                rows.append([kind.text, tp.upper(), "%.0f" % c["requests"],
                             ", ".join("%.0f %s" % (v, NAMES.get(k, k))
                                       for k, v in c["sent"].items())
                             or "nothing", c["packets"]])
    minutes = sorted({c["minutes"] for c in results["cells"].values()})
    return "\n".join([
        page.machine_text(results["machine"]), "",
        "Counted for %s minutes, given for an hour." % " and ".join(
            "%.0f" % m for m in minutes), "", page.table(
            ["", "", "requests", "of which, and keep-alives",
             "packets of any kind that it sent"], rows)])
