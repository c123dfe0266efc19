"""Where the time of one failover goes: a time stamp for each step of it, from
the wire, and from what the phone asks the kernel for. After a kill of the
primary, over TCP and TLS; to a backup whose nonce is known (the registrar
behind both ways is the same), and to one that knows nothing of the phone."""

import os
import shutil
import statistics
import struct
import tempfile

from lab import Lab
from lab.link import SlowLink, know_each_other
from lab.preload import build

from . import page

ROUNDS = 10
TRANSPORTS = ("tcp", "tls")
BACKUPS = ("fresh", "known")
LINKS = (0.1, 20)
RECORD = struct.Struct("Qi20s")
RECORDS = 65536

# name, what it is, and whose the time before it is
STEPS = (
    ("fault", "the primary's processes are killed", ""),
    ("fin", "its kernel closes the connection: FIN at the switch",
     "primary's kernel"),
    ("event", "kernel event: the phone's `epoll_wait()` returns", "network"),
    ("handler", "handler: libre reads the end of the connection", "ours"),
    ("connect", "decision, and `connect()` to the backup", "ours"),
    ("connected", "the connection is there", "network"),
    ("register", "REGISTER (TLS: after the handshake)", "ours"),
    ("401", "401", "network"),
    ("digest", "REGISTER with the digest", "ours"),
    ("200", "200", "network"),
)


def arguments(parser):
    parser.add_argument("--transport", action="append", choices=TRANSPORTS)
    parser.add_argument("--backup", action="append", choices=BACKUPS)
    parser.add_argument("--link", action="append", type=float)


def run(opts):
    results = page.load("trace") if not opts.fresh else {}
    results.setdefault("cells", {})
    for transport in opts.transport or TRANSPORTS:
        for link in opts.link or LINKS:
            for backup in opts.backup or BACKUPS:
                c = cell(opts, transport, link, backup)
                results["cells"]["%s %g %s" % (transport, link, backup)] = c
                print(transport, link, backup, c, flush=True)
                results["machine"] = page.machine(opts.command, opts.load)
                if not opts.dry:
                    page.save("trace", results)
    return text(results)


class Trace:
    """See trace.c."""

    def __init__(self, folder):
        self.so = build("bench/trace.c", folder)
        self.path = os.path.join(folder, "trace")

    def fresh(self):
        """An empty one, and what a phone needs to write into it."""
        with open(self.path, "wb") as f:
            f.truncate(8 + RECORDS * RECORD.size)
        return {"LD_PRELOAD": self.so, "BENCH_TRACE": self.path}

    def read(self):
        """[(time, descriptor, what)], oldest first"""
        with open(self.path, "rb") as f:
            count, = struct.unpack("Q", f.read(8))
            data = f.read(count * RECORD.size)
        return [(ns / 1e9, fd, what.split(b"\0")[0].decode())
                for ns, fd, what in RECORD.iter_unpack(data)]


def cell(opts, transport, link, backup):
    folder = tempfile.mkdtemp(prefix="aabench-")
    rounds = []
    try:
        with Lab(folder, module=opts.module, binary=opts.baresip) as lab:
            trace = Trace(folder)
            servers = start_servers(lab, transport, backup)
            if link >= 1:
                SlowLink(lab, lab.phone, link)
            know_each_other(lab)
            while len(rounds) < opts.rounds:
                rounds.append(one(lab, trace, transport, servers))
    finally:
        if not opts.keep:
            shutil.rmtree(folder, ignore_errors=True)
    # one that took another way (a record split in two) is not mixed in
    ways = [tuple(r) for r in rounds]
    way = max(set(ways), key=ways.count)
    rounds = [r for r in rounds if tuple(r) == way]
    out = {"rounds": len(rounds), "steps": list(way)}
    out["at"] = [statistics.median(r[s] - r["fin"] for r in rounds)
                 for s in way]
    out["took"] = [0.0] + [statistics.median(
        r[b] - r[a] for r in rounds) for a, b in zip(way, way[1:])]
    return out


def start_servers(lab, transport, backup):
    """primary, backup and, if there is one, the registrar behind both"""
    def kw(host):
        return (dict(lab.tls(host), DUMP=False) if transport == "tls"
                else {})
    if backup == "known":
        reg = lab.registrar()
        return (lab.edge(lab.primary, reg, **kw(lab.primary)),
                lab.edge(lab.backup, reg, **kw(lab.backup)), reg)
    return (lab.combined(lab.primary, **kw(lab.primary)),
            lab.combined(lab.backup, **kw(lab.backup)), None)


def one(lab, trace, transport, servers):
    primary, backup, reg = servers
    phone = lab.baresip(
        lab.account(via=lab.primary, transport=transport,
                    port=5061 if transport == "tls" else 5060),
        aastra=True, env=trace.fresh(),
        config=["sip_line1_backup_outbound_proxy " + lab.backup.ip,
                "sip_cafile " + lab.ca.cert])
    lab.until(lambda: phone.state(1)["service"] == "primary", 30,
              "on the primary")
    # what a start leaves to be done is done
    lab.wire.settle(0.5, 10)
    fault = lab.now()
    primary.kill()
    lab.until(lambda: phone.state(1)["service"] == "backup", 30,
              "on the backup")
    fin = lab.wire.wait_kind("fin", src="primary", dst="phone", after=fault)
    steps = find(trace.read(), fault, fin.t, lab.primary.ip, lab.backup.ip)
    phone.exit()
    lab.phones.remove(phone)
    shutil.rmtree(phone.dir, ignore_errors=True)
    (reg or backup).remove_bindings("100")
    primary.proc.kill()
    primary.start()
    return steps


def find(records, fault, fin, primary, backup):
    """The time of each step, in the order in which they happened."""
    old = [fd for t, fd, what in records
           if t < fault and what == ">" + primary][-1]

    def first(after, *wanted, fd=None):
        return next(((t, f, what) for t, f, what in records
                     if t > after and what in wanted
                     and (fd is None or f in fd)), None)

    steps = {"fault": fault, "fin": fin}
    steps["event"] = first(fault, "event", fd=(old,))[0]
    steps["handler"] = first(steps["event"], "closed", fd=(old,))[0]
    steps["connect"], new, _ = first(steps["handler"], ">" + backup)
    fd = (new, -1)
    steps["connected"] = first(steps["connect"], "event", fd=fd)[0]
    t, _, what = first(steps["connected"], "register", "register-digest",
                       fd=fd)
    steps["register"] = t
    t, _, what = first(t, "response-401", "response-200", fd=fd)
    if what == "response-401":
        steps["401"] = t
        steps["digest"] = first(t, "register-digest", fd=fd)[0]
        t = first(t, "response-200", fd=fd)[0]
    steps["200"] = t
    return steps


# -- the page --------------------------------------------------------------

def ms(x):
    return "%.2f" % (1000 * x)


def text(results):
    out = [page.machine_text(results["machine"]), "",
           "Milliseconds since the FIN of the dead primary was at the switch "
           "(median), and behind the plus what the step itself took. A link "
           "of 20 ms: the FIN has 10 ms to go to the phone, and each answer "
           "takes 20. The connection is there when the phone knows so; with "
           "TLS, the handshake is between that and the REGISTER."]
    cells = results["cells"]
    for link in LINKS:
        columns = [(t, b, cells["%s %g %s" % (t, link, b)])
                   for t in TRANSPORTS for b in BACKUPS
                   if "%s %g %s" % (t, link, b) in cells]
        if not columns:
            continue
        rows = []
        for name, what, whose in STEPS:
            rows.append([what, whose, *(one_step(c, name)
                                        for _, _, c in columns)])
        for whose in ("ours", "network"):
            rows.append(["**%s, in all**" % whose, "", *(
                "**%s**" % ms(sum_of(t, c, whose)) for t, _, c in columns)])
        out += ["", "**Link of %g ms**" % link, "", page.table(
            ["step", "the time before it is", *(
                "%s, %s (%d rounds)" % (
                    t.upper(), "nonce known" if b == "known" else
                    "fresh backup", c["rounds"]) for t, b, c in columns)],
            rows)]
    return "\n".join(out)


def one_step(c, name):
    if name not in c["steps"]:
        return "-"
    i = c["steps"].index(name)
    if name in ("fault", "fin"):
        return ms(c["at"][i])
    return "%s (+%s)" % (ms(c["at"][i]), ms(c["took"][i]))


def sum_of(transport, c, whose):
    """A TLS handshake is round trips and both sides' arithmetic: the
    network's."""
    owner = {name: w for name, _, w in STEPS}
    if transport == "tls":
        owner["register"] = "network"
    return sum(took for name, took in zip(c["steps"], c["took"])
               if owner[name] == whose)
