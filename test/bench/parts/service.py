"""Time without service after a fault of the primary.

Edge proxies in front of one registrar, each contender on a host of its own.
Service is an inbound call to the AOR that is answered, and an outbound call
that is answered. Beside it the time until the registrar has a binding over a
path that works, from the wire.

Rounds add up: --rounds is how many each figure shall have in the end, what
earlier runs found included (results/service/, one file a fault, transport and
link). Where milliseconds count (a kill on TCP and TLS) each phone has a
primary of its own, and one primary is killed after the other. Where it is
seconds, many copies of each phone share one primary and one fault: they were
started at different times and are at different points of their keep-alive.
"""

import queue
import random
import shutil
import signal
import sys
import tempfile
import threading
import time

from lab import Lab
from lab.dns import Dns
from lab.every import Every
from lab.link import SlowLink, know_each_other
from lab.netns import HOSTS
from lab.site import live

from . import page, service_page, sip
from .contenders import ALL, Serreg, names_in_dns

ROUNDS = 50
FAULTS = ("kill", "hang", "blackhole")
TRANSPORTS = ("tcp", "udp", "tls")
LINKS = (0.1, 20, 100)
ANSWER_S = 10.0         # a caller waits so long
LIMIT_S = 100
GIVE_UP_S = 8.0         # a person who dialled hangs up and dials again
HOPELESS = 3            # rounds beyond the limit, after which no more is tried
STAGGER_S = 25          # phones that share a fault start within this time
LATE_S = 0.25           # a lab that is as late as that measures itself
LOOKS = 40              # of which one in twenty may be late
MOMENT_S = 0.2          # what a fault takes to be one
AFTER_S = 2             # what belongs to a move is over then
FIRST_HOST = 30         # of the numbers that the phones' hosts get
AT_ONCE = 4             # phones or servers that are started side by side

# a closed connection does not bring it back within milliseconds: it takes
# seconds, or does not happen
SLOW = {("serreg", "in"), ("serreg", "out"), ("one-account", "in"),
        ("one-account", "out"), ("two-outbounds", "in"),
        ("two-outbounds", "out"), ("linphone", "out")}


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
    parser.add_argument("--all-flows", action="store_true",
                        help="the registrar sends a call over all flows of a "
                        "phone at once (ALL_FLOWS), for the contenders that "
                        "have more than one")
    parser.add_argument("--copies", type=int, default=5,
                        help="phones of a kind that share a slow fault")
    parser.add_argument("--phase", choices=("fast", "slow"),
                        help="of a kill: only contenders that are back within "
                        "milliseconds, or only the others")


def run(opts):
    sys.setswitchinterval(0.0005)       # threads take times here
    names = opts.contender or (service_page.MANY_FLOWS if opts.all_flows
                               else [*ALL, "floor"])
    if "serreg" in names:
        Serreg.prepare()
    for link in opts.link or ((20,) if opts.all_flows else (20, 0.1, 100)):
        for transport in opts.transport or TRANSPORTS:
            for fault in opts.fault or FAULTS:
                pairs = [(n, d) for n in names if n != "floor"
                         for d in opts.direction or ("in", "out")]
                single = fault == "kill" and transport != "udp"
                fast = [p for p in pairs if single and p not in SLOW]
                slow = [p for p in pairs if p not in fast]
                store = service_page.cell(fault, transport, link,
                                          opts.all_flows, opts)
                if fast and opts.phase != "slow":
                    Alone(opts, store, fault, transport, link, fast,
                          "floor" in names).run()
                if slow and opts.phase != "fast":
                    Together(opts, store, fault, transport, link, slow).run()
    return service_page.text()


def text(results):
    return service_page.text()


class Slot:
    """A phone of a cell: who, on which host, which calls it is to have."""

    def __init__(self, name, direction, number):
        self.name, self.direction, self.number = name, direction, number
        self.user = 110 + number
        self.figures = {}
        self.t0 = None

    def __repr__(self):
        return "%s %s" % (self.name, self.direction)


class Cell:
    late = 0                # rounds that were not counted, in a row

    def __init__(self, opts, store, fault, transport, link, pairs):
        self.opts, self.store, self.pairs = opts, store, pairs
        self.fault, self.transport, self.link = fault, transport, link
        self.tls = transport == "tls"

    def title(self):
        return "%s, %s, link of %g ms%s" % (
            self.fault, self.transport, self.link,
            ", all flows at once" if self.opts.all_flows else "")

    def run(self):
        if not self.todo():
            return
        print("%s: %s" % (time.strftime("%H:%M:%S"), self.title()),
              flush=True)
        self.store.begin()
        folder = tempfile.mkdtemp(prefix="aabench-")
        self.slots = self.layout()
        hosts = dict(HOSTS)
        for s in self.slots:
            hosts["p%d" % s.number] = FIRST_HOST + s.number
        hosts.update(self.more_hosts())
        try:
            with Lab(folder, module=self.opts.module,
                     binary=self.opts.baresip, hosts=hosts) as lab:
                self.lab = lab
                self.setup()
                while self.todo() and self.late < HOPELESS:
                    self.forget()
                    self.round()
                    self.store.save(self.opts, Serreg.root)
                if self.opts.keep:
                    lab.wire.dump(folder + "/wire.txt")
                    print("  logs: " + folder, flush=True)
        finally:
            if not self.opts.keep:
                shutil.rmtree(folder, ignore_errors=True)
        print(self.store.summary(), flush=True)

    def todo(self):
        """What has too few rounds yet: [(name, direction)]."""
        return [(n, d) for n, d in self.pairs
                if not self.store.hopeless(n, d, HOPELESS)
                and self.store.count(n, d) < self.opts.rounds]

    def forget(self):
        """What was seen in earlier rounds only takes time."""
        with self.lab.wire._news:
            self.lab.wire.events.clear()
        self.agent.forget()

    # -- the lab -----------------------------------------------------------

    def setup(self):
        lab = self.lab
        flows = {"ALL_FLOWS": True} if self.opts.all_flows else {}
        self.reg = lab.registrar(OPEN_CALLS=True, USER_LAST=999, **flows)
        self.backup = self.edge(lab.backup)
        for s in self.slots:
            s.host = getattr(lab, "p%d" % s.number)
            if self.link >= 1:
                SlowLink(lab, s.host, self.link)
        self.setup_primaries()
        know_each_other(lab)
        self.agent = sip.Agent(lab.far, lab.reg).register()
        lab.others.append(self.agent)
        for s in self.slots:
            if s.name in ALL:
                s.phone = ALL[s.name](lab, s.host, s.user, self.transport)
                s.phone.primary = s.primary.host
                s.phone.dns = s.dns

    def edge(self, host, start=True):
        return self.lab.edge(host, self.reg, start=start, **(
            dict(self.lab.tls(host), DUMP=False) if self.tls else {}))

    def dns(self, primary):
        """A name server on the primary's host: it lives on."""
        dns = Dns(primary).start()
        self.lab.others.append(dns)
        names_in_dns(self.lab, dns, self.transport, primary)
        return dns

    # -- steps of a round ----------------------------------------------------

    def start_phone(self, slot):
        """Start it and wait until it is registered; False if it fails."""
        try:
            slot.phone.start()
            self.lab.until(lambda: "primary" in self.ranks(slot), 30,
                           "%s registered" % slot, every=0.05)
            slot.had = False
            return True
        except (AssertionError, RuntimeError, OSError) as e:
            print("  %s does not start: %s" % (slot, str(e)[:300]),
                  flush=True)
            return False

    def stop_phones(self, slots):
        for s in slots:
            s.phone.signal(signal.SIGKILL)
        for s in slots:
            try:
                s.phone.stop()
            except (OSError, AttributeError, AssertionError):
                pass
            self.reg.remove_bindings(str(s.user))

    def ranks(self, slot):
        """Over which servers the registrar reaches a phone."""
        out = set()
        for b in self.reg.bindings(str(slot.user)):
            path = b["path"] or ""
            if live(b):
                out |= {rank for rank, host in (
                    ("primary", slot.primary.host), ("backup",
                                                     self.lab.backup))
                    if host.ip + ":" in path or host.ip + ";" in path
                    or host.ip + ">" in path}
        return out

    def closed(self, slot, after):
        """When the kernel of the dead server closed the connection."""
        fins = self.lab.wire.find(lambda e: e.kind in ("fin", "rst"),
                                  src=slot.primary.host, dst=slot.host,
                                  after=after)
        return min((e.t for e in fins), default=None)

    def measure(self, slot):
        """Until calls are answered again, from slot.t0 on."""
        if slot.direction == "in":
            slot.figures["in"] = self.inbound(slot)
        else:
            slot.figures["out"] = self.outbound(slot)

    # how long until the next try [s], by the time since the fault
    def pause(self, age):
        return 0.02 if age < 1 else 0.1 if age < 10 else 0.5

    def inbound(self, slot):
        """Until a call made after the fault is answered."""
        attempts, found = [], None
        end = slot.t0 + self.limit
        while time.monotonic() < end and found is None:
            attempts.append(self.agent.call(slot.user))
            pause = self.pause(time.monotonic() - slot.t0)
            attempts[-1].answer.wait(pause)
            found = _first(attempts)
        if found is None:
            time.sleep(ANSWER_S)
            found = _first(attempts)
        return found - slot.t0 if found else None

    def outbound(self, slot):
        """Somebody dials, and dials again as soon as it failed or was not
        answered for GIVE_UP_S."""
        phone, user = slot.phone, str(slot.user)
        end = slot.t0 + self.limit

        def answered():
            return next((t for t, who in list(self.agent.answered)
                         if who == user and t > slot.t0), None)
        while time.monotonic() < end and not answered():
            t = time.monotonic()
            phone.dial()
            while (time.monotonic() < t + GIVE_UP_S and not answered()
                   and not phone.failed(t)):
                time.sleep(self.look)
            if not answered() and not phone.failed(t):
                phone.drop_calls()
            time.sleep(2 * self.look)
        found = answered()
        return found - slot.t0 if found else None

    def binding(self, slot):
        if slot.had:
            return 0.0
        found = self.lab.wire.sip(
            "REGISTER", status=200, src="reg", dst="backup", after=slot.t0,
            user=slot.user, match=lambda e: e.expires)
        return found[0].t - slot.t0 if found else None

    def requests(self, slot):
        """What the move needs of requests, until AFTER_S after a call was
        answered. OPTIONS to the primary keep the old flow."""
        return len(self.lab.wire.sip(
            request=True, src=slot.host, after=slot.t0,
            before=slot.t0 + slot.figures["in"] + AFTER_S,
            match=lambda e: e.method in ("REGISTER", "SUBSCRIBE")
            or e.method == "OPTIONS" and e.dst == "backup"))

    def note_found(self, slot):
        """From what the phone sent into the silence until it turned to the
        backup. What it sent in the very moment of the fault may have been
        answered: that is no figure."""
        wire = self.lab.wire
        sent = wire.find(lambda e: e.kind not in ("rst", "fin"),
                         src=slot.host, dst=slot.primary.host, after=slot.t0)
        if sent and sent[0].t < slot.t0 + MOMENT_S:
            return
        turned = wire.find(lambda e: e.kind in ("syn", "sip"), src=slot.host,
                           dst="backup", after=sent[0].t) if sent else None
        slot.figures["found"] = (turned[0].t - sent[0].t if turned
                                 else None)

    def note(self, slot):
        f = slot.figures
        if slot.direction == "in":
            f["binding"] = self.binding(slot)
            if not self.tls and f["in"] is not None:
                f["requests"] = self.requests(slot)
            if self.fault != "kill" and slot.name in ("aastra",
                                                      "aastra-quick"):
                self.note_found(slot)
        for key, value in f.items():
            self.store.add(slot.name, key, value)
        slot.figures = {}


class Alone(Cell):
    """Milliseconds: a primary for each phone, killed one after the other."""

    look = 0.002
    limit = 20

    def __init__(self, opts, store, fault, transport, link, pairs, floor):
        super().__init__(opts, store, fault, transport, link, pairs)
        self.floor = floor

    def layout(self):
        return [Slot(n, d, i) for i, (n, d) in enumerate(
            self.todo() + ([("floor", "-")] if self.floor else []))]

    def more_hosts(self):
        n = FIRST_HOST + len(self.slots)
        return {"k%d" % s.number: n + s.number for s in self.slots}

    def setup_primaries(self):
        for s in self.slots:
            s.primary = self.edge(getattr(self.lab, "k%d" % s.number),
                                  start=False)
            s.dns = self.dns(s.primary.host)
        self.by_hand = None
        if self.floor:
            s = self.slots[-1]
            self.by_hand = sip.Floor(
                s.host, self.lab.backup, s.user, self.transport,
                self.lab.ca.cert if self.tls else None)

    def round(self):
        todo = set(self.todo())
        slots = [s for s in self.slots if (s.name, s.direction) in todo]
        random.shuffle(slots)
        try:
            started = _side_by_side(self.begin, slots)
            self.lab.wire.settle(0.3, 10)       # what is kept ready, too
            at = random.randrange(len(slots)) if self.by_hand else -1
            for i, s in enumerate(slots):
                if i == at:
                    self.store.add("floor", "binding", self.by_hand.run())
                if s in started:
                    self.one(s)
            self.lab.wire.settle(0.2, 5)
            for s in started:
                if s.t0:
                    self.note(s)
        finally:
            self.stop_phones(slots)
            for s in slots:
                s.primary.kill()

    def begin(self, slot):
        slot.primary.start()
        if not self.start_phone(slot):
            return False
        return True

    def one(self, slot):
        lab = self.lab
        lab.wire.settle(0.05, 5)
        slot.had = "backup" in self.ranks(slot)
        slot.t0, t = None, lab.now()
        slot.primary.proc.signal(signal.SIGKILL)
        # it is over when the kernel has closed the connection; linphone does
        # not always have one
        end = t + 0.3
        while not slot.t0:
            slot.t0 = self.closed(slot, t)
            if time.monotonic() > end:
                slot.t0 = t
            time.sleep(0.0005)
        self.measure(slot)


class Together(Cell):
    """Seconds: one fault for many."""

    look = 0.05

    @property
    def limit(self):
        return self.opts.limit

    def layout(self):
        copies = {p: min(self.opts.copies, self.opts.rounds -
                         self.store.count(*p)) for p in self.todo()}
        return [Slot(n, d, i) for i, (n, d) in enumerate(
            p for p, k in copies.items() for _ in range(k))]

    def more_hosts(self):
        return {}

    def setup_primaries(self):
        self.primary = self.edge(self.lab.primary)
        dns = self.dns(self.lab.primary)
        for s in self.slots:
            s.primary, s.dns = self.primary, dns

    def pause(self, age):
        return 0.5

    def round(self):
        todo = set(self.todo())
        slots = [s for s in self.slots if (s.name, s.direction) in todo]
        random.shuffle(slots)
        begun = time.monotonic()
        for i, s in enumerate(slots):
            s.due = begun + STAGGER_S * i / len(slots)
        try:
            started = _side_by_side(self.begin, slots)
            time.sleep(1 + random.uniform(0, 2))
            for s in started:
                s.had = "backup" in self.ranks(s)
            self.strike(started)
            threads = [threading.Thread(target=self.measure, args=(s,),
                                        daemon=True) for s in started]
            with Lateness(self.reg) as late:
                for th in threads:
                    th.start()
                for th in threads:
                    th.join()
            if late.often() > LATE_S:
                print("  a round is not counted: the lab itself was %.2f s "
                      "late" % late.often(), flush=True)
                self.late += 1
                return
            self.late = 0
            for s in started:
                self.note(s)
        finally:
            self.stop_phones(slots)
            self.mend()

    def begin(self, slot):
        time.sleep(max(0, slot.due - time.monotonic()))
        return self.start_phone(slot)

    def strike(self, slots):
        lab, t = self.lab, self.lab.now()
        if self.fault == "kill":
            self.primary.kill()
        elif self.fault == "hang":
            self.primary.hang()
        else:
            lab.primary.drop("both")
        for s in slots:
            s.t0 = t
            if self.fault == "kill" and self.transport != "udp":
                s.t0 = self.closed(s, t) or t

    def mend(self):
        """A new server: what waited for the old one is nobody's."""
        self.lab.primary.clear()
        self.primary.kill()
        self.primary.start()


class Lateness(Every):
    """How late this process and the registrar are, on a machine that others
    keep busy: what was measured meanwhile may say nothing of the phones."""

    def __init__(self, server):
        super().__init__(0.2)
        self.server = server
        self.times = []

    def __enter__(self):
        self.t = time.monotonic()
        return super().__enter__()

    def once(self):
        try:
            self.server.rpc("core.version", timeout=2)
        except OSError:
            pass                # that late
        now = time.monotonic()
        self.times.append(now - self.t - self.every)
        self.t = now

    def often(self):
        """One in twenty is this late, or later, in the worst of times: a few
        seconds are all that most rounds have."""
        return max(page.percentile(self.times[i:i + LOOKS], 95) or 0.0
                    for i in range(0, max(1, len(self.times) - LOOKS + 1),
                                   LOOKS // 2))


def _first(attempts):
    return min((a.answered for a in attempts if a.answered is not None
                and a.answered - a.t <= ANSWER_S), default=None)


def _side_by_side(fn, items):
    """fn(item) for all, a few at a time; those for which it said True."""
    todo, good = queue.SimpleQueue(), []
    for x in items:
        todo.put(x)

    def work():
        while True:
            try:
                x = todo.get_nowait()
            except queue.Empty:
                return
            if fn(x):
                good.append(x)
    threads = [threading.Thread(target=work, daemon=True)
               for _ in range(AT_ONCE)]
    for th in threads:
        th.start()
    for th in threads:
        th.join()
    return [x for x in items if x in good]
