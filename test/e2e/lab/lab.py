"""A whole lab for one test: network, wire log, servers, phones."""

import os
import time

from . import wait
from .baresip import Baresip
from .dump import Dump
from .kamailio import Kamailio
from .netns import Net
from .sampler import Sampler
from .sipp import Sipp
from .tls import Authority
from .wire import Wire

DOMAIN = "pbx.example.com"


class Lab:
    """Everything started here is stopped by close().

    lab.phone, lab.primary, lab.backup, lab.reg, lab.regb and lab.far are the
    hosts, lab.wire is the wire log, lab.dir the folder of all logs.
    """

    def __init__(self, folder, module=None, binary="baresip", wrapper=(),
                 hosts=None, wire=True, ports=range(5060, 5090), seed=""):
        self.seed = seed        # for tests that take things by chance
        self.dir = folder
        os.makedirs(folder, exist_ok=True)
        self.module = module
        self.binary = binary
        self.wrapper = list(wrapper)
        self.net = Net(hosts)
        self.wire = Wire(self.net, ports)
        self.servers = []
        self.phones = []
        self.others = []
        self._ca = None
        self._log_wire = wire
        self.until = wait.until
        self.never = wait.never

    def __getattr__(self, name):
        try:
            return self.__dict__["net"].hosts[name]
        except KeyError:
            raise AttributeError(name) from None

    def __enter__(self):
        self.net.up()
        if self._log_wire:
            try:
                self.wire.start()
            except BaseException:
                self.close()
                raise
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        for x in [*self.others, *self.phones, *self.servers]:
            try:
                x.stop()
            except (OSError, AssertionError):
                pass        # the namespace takes the rest down
        for x in self.servers:
            x.close()
        self.wire.stop()
        self.net.down()

    def problems(self):
        """Phones that crashed, or whose wrapper (valgrind) complains."""
        return [x for x in (p.problem() for p in self.phones) if x]

    def now(self):
        return time.monotonic()

    # -- servers -----------------------------------------------------------

    def server(self, host, role, start=True, **defines):
        """A Kamailio on a host. ALIASES=[...] names more domains as its own;
        ipv6=False leaves IPv6 out. What it says over TLS comes into the wire
        log, unless DUMP=False."""
        dump = defines.pop("DUMP", "TLS_CERT" in defines)
        ipv6 = defines.pop("ipv6", True)
        defines.setdefault("REALM", DOMAIN)
        defines.setdefault("ALIASES", [DOMAIN])
        k = Kamailio(host, role, self.dir, defines, ipv6)
        self.servers.append(k)
        if dump:
            k.dump = Dump(os.path.join(self.dir, "dump-" + k.name),
                          self.wire).start()
            self.others.append(k.dump)
        if start:
            k.start()
        return k

    def combined(self, host=None, **defines):
        return self.server(host or self.net.primary, "combined", **defines)

    def registrar(self, host=None, **defines):
        return self.server(host or self.net.reg, "registrar", **defines)

    def edge(self, host=None, registrar=None, **defines):
        core = registrar.host if registrar else self.net.reg
        defines.setdefault("REGISTRAR", "sip:%s:5060" % core.ip)
        return self.server(host or self.net.primary, "edge", **defines)

    def edge_pair(self, registrar=None, **defines):
        """Primary and backup edge in front of one registrar (row E3):
        (primary, backup, registrar)."""
        reg = registrar or self.registrar()
        return (self.edge(self.net.primary, reg, **defines),
                self.edge(self.net.backup, reg, **defines), reg)

    def combined_pair(self, **defines):
        """Two servers with locations of their own: (primary, backup)."""
        return (self.combined(self.net.primary, **defines),
                self.combined(self.net.backup, **defines))

    def shared(self, host, peer, **defines):
        """One of two servers that tell each other their bindings."""
        return self.server(host, "shared", SELF="sip:%s:5060" % host.ip,
                           PEER="sip:%s:5060" % peer.ip, **defines)

    @property
    def ca(self):
        """The lab's certificate authority, made when first asked for."""
        if self._ca is None:
            self._ca = Authority(os.path.join(self.dir, "ca"))
        return self._ca

    def tls(self, host, *names):
        """Defines that switch TLS on, as in
        lab.edge(lab.primary, **lab.tls(lab.primary, "pbx.example.com"))."""
        alt = ["IP:" + host.ip, "IP:" + host.ip6]
        alt += ["DNS:" + n for n in names or (DOMAIN,)]
        cert, key = self.ca.issue("server-%s-%d" % (host.name,
                                                    len(self.servers)), alt)
        return {"TLS_CERT": cert, "TLS_KEY": key}

    # -- phones --------------------------------------------------------------

    def account(self, user=100, domain=DOMAIN, via=None, transport="udp",
                extra="", regint=3600, port=5060):
        """A line of the accounts file. via: host of the outbound proxy."""
        line = "<sip:%s@%s;transport=%s>;auth_pass=secret%s;regint=%d" % (
            user, domain, transport, user, regint)
        if via is not None:
            line += ';outbound="sip:%s:%d;transport=%s"' % (
                getattr(via, "ip", via), port, transport)
        return line + (";" + extra if extra else "")

    def baresip(self, accounts, host=None, aastra=False, start=True, **kw):
        """A baresip; aastra=True loads the module of this run."""
        kw.setdefault("binary", self.binary)
        kw.setdefault("wrapper", self.wrapper)
        host = host or self.net.phone
        kw.setdefault("name", "baresip-%s%s" % (
            host.name, len([p for p in self.phones if p.host is host])
            or ""))
        if aastra:
            if not self.module or not os.path.exists(self.module):
                raise RuntimeError("no module at %s: build it, or name it "
                                   "with --module" % self.module)
            kw.setdefault("aastra", self.module)
        if isinstance(accounts, str):
            accounts = [accounts]
        b = Baresip(host, self.dir, accounts, **kw)
        self.phones.append(b)
        if start:
            b.start()
        return b

    def far_phone(self, via, user=200, host=None, domain=DOMAIN,
                  transport="udp", answer="auto", **kw):
        """The other end: registered at (or through) a host, answers."""
        b = self.baresip(
            self.account(user, domain, via, transport,
                         "answermode=" + answer),
            host or self.net.far, wrapper=[], **kw)
        b.wait_registered()
        return b

    # -- others ------------------------------------------------------------

    def sipp(self, scenario, to=None, host=None, **kw):
        s = Sipp(host or self.net.far, scenario, self.dir, to, **kw)
        self.others.append(s)
        return s

    def sampler(self, registrars, aor=100, **kw):
        s = Sampler(registrars if isinstance(registrars, (list, tuple))
                    else [registrars], aor, **kw).start()
        self.others.append(s)
        return s

    # -- reports ---------------------------------------------------------------

    def report(self, lines=25):
        """Write the ladder; return what a failing test should show."""
        path = os.path.join(self.dir, "wire.txt")
        self.wire.dump(path)
        out = ["logs and wire.txt: " + self.dir, "", "last on the wire:",
               self.wire.ladder(lines)]
        for x in [*self.phones, *self.servers, *self.others]:
            proc = getattr(x, "proc", None)
            if proc:
                out += ["", "%s (%s):" % (
                    x.name, "runs" if proc.running
                    else "ended with %s" % proc.exit_code)]
                out += ["  " + text for _, text in proc.lines[-12:]]
        return "\n".join(out)
