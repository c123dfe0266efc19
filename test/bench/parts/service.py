"""Time without service after a fault of the primary.

Two edge proxies in front of one registrar, each contender on a host of its
own. Service is an inbound call to the AOR that is answered, and an outbound
call that is answered. Beside it the time until the registrar has a binding
over a path that works, from the wire.
"""

import os
import random
import shutil
import tempfile
import threading
import time

from lab import Lab
from lab.dns import Dns
from lab.link import SlowLink, know_each_other
from lab.netns import HOSTS
from lab.site import live, rank_by_path

from . import page, sip
from .contenders import ALL, PORT, Serreg

FAULTS = ("kill", "hang", "blackhole")
TRANSPORTS = ("tcp", "udp", "tls")
LINKS = (0.1, 20, 100)
ANSWER_S = 2.0          # a caller waits so long
LIMIT_S = 60
GIVE_UP_S = 4.0         # a person who dialled hangs up and dials again
HOPELESS = 3            # rounds beyond the limit, after which no more is tried


def arguments(parser):
    names = [*ALL, "floor"]
    parser.add_argument("--contender", action="append", choices=names)
    parser.add_argument("--fault", action="append", choices=FAULTS)
    parser.add_argument("--transport", action="append", choices=TRANSPORTS)
    parser.add_argument("--link", action="append", type=float,
                        help="round trip in ms (0.1: the bare bridge)")
    parser.add_argument("--limit", type=float, default=LIMIT_S,
                        help="a contender that is not back after so many "
                        "seconds is not waited for")
    parser.add_argument("--direction", action="append",
                        choices=("in", "out"))


def run(opts):
    results = page.load("service") if not opts.fresh else {}
    results.setdefault("cells", {})
    names = opts.contender or [*ALL, "floor"]
    if "serreg" in names:
        Serreg.prepare()
    for transport in opts.transport or TRANSPORTS:
        for link in opts.link or LINKS:
            for fault in opts.fault or FAULTS:
                cell = Cell(opts, names, transport, link, fault)
                for name, figures in cell.run().items():
                    key = "%s %s %g %s" % (fault, transport, link, name)
                    results["cells"][key] = dict(figures,
                                                 rounds=opts.rounds)
                results["machine"] = page.machine(opts.command, opts.load,
                                                  Serreg.root)
                if not opts.dry:
                    page.save("service", results)
    return text(results)


class Cell:
    """One fault over one transport and link: the contenders, round after
    round, side by side; after a kill, where milliseconds count, one after
    the other."""

    def __init__(self, opts, names, transport, link, fault):
        self.opts, self.names = opts, names
        self.transport, self.link, self.fault = transport, link, fault
        self.figures = {n: {"in": [], "out": [], "binding": []}
                        for n in names if n != "floor"}
        self.floor = []
        self.errors = {}

    def run(self):
        folder = tempfile.mkdtemp(prefix="aabench-")
        hosts = dict(HOSTS)
        for i in range(len(self.names)):
            hosts["p%d" % i] = 100 + i
        self.lab = Lab(folder, module=self.opts.module,
                       binary=self.opts.baresip, hosts=hosts)
        keep = True
        try:
            with self.lab:
                self._setup()
                self._rounds()
                if self.opts.keep:
                    self.lab.wire.dump(folder + "/wire.txt")
                    print("  logs: " + folder, flush=True)
            keep = self.opts.keep
        finally:
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)
        out = {}
        for n, f in self.figures.items():
            out[n] = {k: page.spread(v, self.opts.limit)
                      for k, v in f.items() if v}
        if self.floor:
            out["floor"] = {"binding": page.spread(self.floor)}
        for n, f in out.items():
            print("  %-16s %s" % (n, "; ".join(
                "%s %s (n=%d)" % (k, page.cell(v), v["n"])
                for k, v in f.items())), flush=True)
        return out

    # -- the lab -----------------------------------------------------------

    def _setup(self):
        lab = self.lab
        print("%s, %s, link of %g ms:" % (self.fault, self.transport,
                                          self.link), flush=True)
        tls = self.transport == "tls"
        self.reg = lab.registrar(OPEN_CALLS=True)
        self.primary = lab.edge(lab.primary, self.reg, **(
            dict(lab.tls(lab.primary), DUMP=False) if tls else {}))
        self.backup = lab.edge(lab.backup, self.reg, **(
            dict(lab.tls(lab.backup), DUMP=False) if tls else {}))
        hosts = {n: getattr(lab, "p%d" % i) for i, n in enumerate(self.names)}
        if self.link >= 1:
            for h in hosts.values():
                SlowLink(lab, h, self.link)
        know_each_other(lab)
        self.agent = sip.Agent(lab.far, lab.reg).register()
        lab.others.append(self.agent)
        self._dns()
        self.user = {n: 110 + i for i, n in enumerate(self.names)}
        self.phones = {n: ALL[n](lab, hosts[n], self.user[n], self.transport)
                       for n in self.names if n != "floor"}
        if "floor" in hosts:
            self.by_hand = sip.Floor(
                hosts["floor"], lab.backup, self.user["floor"],
                self.transport, lab.ca.cert if tls else None)

    def _dns(self):
        lab = self.lab
        dns = Dns(lab.far).start()
        lab.others.append(dns)
        service = {"udp": "_sip._udp.", "tcp": "_sip._tcp.",
                   "tls": "_sips._tcp."}[self.transport] + sip.DOMAIN
        port = PORT[self.transport]
        dns.srv(service, (10, 0, port, "primary." + sip.DOMAIN),
                (20, 0, port, "backup." + sip.DOMAIN))
        dns.a("primary." + sip.DOMAIN, lab.primary.ip)
        dns.a("backup." + sip.DOMAIN, lab.backup.ip)

    # -- rounds ------------------------------------------------------------

    def _rounds(self):
        names = [n for n in self.names if n != "floor"]
        groups = [[n] for n in names] if self.fault == "kill" else [names]
        for _ in range(self.opts.rounds):
            if "floor" in self.names:
                self.floor.append(self.by_hand.run())
            for direction in self.opts.direction or ("in", "out"):
                for group in groups:
                    todo = [n for n in group if not self._hopeless(
                        n, direction)]
                    if todo:
                        self._round(todo, direction)

    def _hopeless(self, name, direction):
        v = self.figures[name][direction]
        return self.errors.get(name, 0) >= HOPELESS or (
            len(v) >= HOPELESS and v[-HOPELESS:] == [None] * HOPELESS)

    def _round(self, names, direction):
        lab = self.lab
        started = []
        try:
            for n in names:
                try:
                    self.phones[n].start()
                    lab.until(lambda n=n: "primary" in self._ranks(n), 15,
                              "%s registered" % n)
                    started.append(n)
                except (AssertionError, RuntimeError, OSError) as e:
                    self.errors[n] = self.errors.get(n, 0) + 1
                    print("  %s does not start: %s" % (n, str(e)[:400]),
                          flush=True)
            if started:
                self._fault(started, direction)
        finally:
            for n in names:
                try:
                    self.phones[n].stop()
                except (OSError, AttributeError, AssertionError):
                    pass
            self._mend()
            for n in names:
                self.reg.remove_bindings(str(self.user[n]))

    def _ranks(self, name):
        return [rank_by_path(self.lab, b)
                for b in self.reg.bindings(str(self.user[name])) if live(b)]

    def _fault(self, names, direction):
        lab = self.lab
        # some time within the interval of the phones' keep-alives
        time.sleep(random.uniform(0.5, 1 if self.fault == "kill" else 20))
        had = {n: "backup" in self._ranks(n) for n in names}
        t = lab.now()
        if self.fault == "kill":
            self.primary.kill()
        elif self.fault == "hang":
            self.primary.hang()
        else:
            lab.primary.drop("both")
        if self.fault == "kill" and self.transport != "udp":
            # it is over when the kernel has closed the connection
            fins = lab.wire.find(lambda e: e.kind in ("fin", "rst"),
                                 src="primary", after=t)
            t0 = {n: min([e.t for e in fins
                          if e.dst == self.phones[n].host.name] or [t])
                  for n in names}
        else:
            t0 = dict.fromkeys(names, t)
        threads = [threading.Thread(
            target=self._inbound if direction == "in" else self._outbound,
            args=(n, t0[n])) for n in names]
        for th in threads:
            th.start()
        for th in threads:
            th.join()
        for n in names:
            if direction == "in":
                self.figures[n]["binding"].append(
                    0.0 if had[n] else self._binding(n, t0[n]))

    def _mend(self):
        if self.fault == "kill":
            if not self.primary.proc.running:
                self.primary.proc.kill()
                self.primary.start()
        elif self.fault == "hang":
            self.primary.cont()
        else:
            self.lab.primary.clear()
        self.lab.until(lambda: self.primary.rpc("core.version"), 10,
                       "the primary is back")

    # -- service -----------------------------------------------------------

    def _inbound(self, name, t0):
        """The first call made after the fault that was answered."""
        user, attempts = self.user[name], []
        end = t0 + self.opts.limit
        found = None
        while time.monotonic() < end:
            attempts.append(self.agent.call(user))
            age = time.monotonic() - t0
            time.sleep(0.02 if age < 1 else 0.1 if age < 10 else 0.5)
            found = self._first(attempts)
            if found:
                break
        if not found:
            time.sleep(ANSWER_S)
            found = self._first(attempts)
        elif found is not attempts[0]:
            # an earlier one may have been answered a little later
            time.sleep(0.2)
            found = self._first(attempts)
        self.figures[name]["in"].append(
            max(0.0, found.t - t0) if found else None)

    @staticmethod
    def _first(attempts):
        return next((a for a in attempts if a.answered is not None
                     and a.answered - a.t <= ANSWER_S), None)

    def _outbound(self, name, t0):
        """Somebody dials, and dials again as soon as it failed or was not
        answered for GIVE_UP_S."""
        phone, user = self.phones[name], str(self.user[name])
        end = t0 + self.opts.limit

        def answered():
            return next((t for t, who in list(self.agent.answered)
                         if who == user and t > t0), None)
        while time.monotonic() < end and not answered():
            t = time.monotonic()
            phone.dial()
            while (time.monotonic() < t + GIVE_UP_S and not answered()
                   and not phone.failed(t)):
                time.sleep(0.005)
            if not answered() and not phone.failed(t):
                phone.drop_calls()
            time.sleep(0.01)
        found = answered()
        self.figures[name]["out"].append(found - t0 if found else None)

    def _binding(self, name, t0):
        user = self.user[name]
        found = self.lab.wire.sip(
            "REGISTER", status=200, src="reg", dst="backup", after=t0,
            user=user, match=lambda e: e.expires)
        return found[0].t - t0 if found else None


# -- the page --------------------------------------------------------------

def text(results):
    out = []
    cells = results["cells"]
    order = [*ALL, "floor"]
    for fault in FAULTS:
        for transport in TRANSPORTS:
            for link in LINKS:
                rows = []
                floor = cells.get("%s %s %g floor" % (fault, transport, link))
                for name in order:
                    c = cells.get("%s %s %g %s" % (fault, transport, link,
                                                   name))
                    if not c:
                        continue
                    label = ALL[name].text if name in ALL else \
                        "floor: connect, REGISTER, 401, REGISTER, 200 by hand"
                    ratio = "-"
                    if floor and c.get("binding"):
                        a = c["binding"]["median"]
                        b = floor["binding"]["median"]
                        if a is not None and a != float("inf"):
                            ratio = "%.2f" % (a / b)
                    rows.append([label, *(page.cell(c[k]) if c.get(k) else "-"
                                          for k in ("binding", "in", "out")),
                                 ratio, c["rounds"]])
                if rows:
                    out += ["", "**%s, %s, link of %g ms**" % (
                        {"kill": "Killed", "hang": "Hung", "blackhole":
                         "Black hole"}[fault], transport.upper(), link), "",
                        page.table(["", "binding", "inbound call",
                                    "outbound call", "binding / floor",
                                    "rounds"], rows)]
    return "\n".join([
        "Each cell: median / p95 / p99.", "",
        page.machine_text(results["machine"]), *out])
