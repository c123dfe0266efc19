"""A line on any row of the failover table, over any transport and IP version:
its servers, what the table wants of it, and what the wire shows.

    E1, D1  proxies on the hosts primary and backup, registrars on reg and
            regb; nothing else between
    E2, D2  combined servers on primary and backup
    E3, D3  edge proxies on primary and backup in front of one registrar

shared=True puts one registrar that keys by user alone behind all of them, and
makes edges of whatever the phone talks to. It stands on the host core, which
the lab needs for E1 and D1: Lab(hosts=HOSTS).

behind=True, for E1 and D1, puts an outbound proxy without a backup of its own
before all of them, on the host core.
"""

import contextlib
import os
import re

import pytest

from lab.kamailio import RpcError, _Raw
from lab.lab import DOMAIN
from lab.netns import HOSTS as LAB_HOSTS
from lab.pace import TRANSACTION_MS
from lab.site import _build, contact, live, param
from lab.wait import Timeout

PRIMARY, BACKUP = "primary", "backup"
RANKS = (PRIMARY, BACKUP)
ROWS = ("E1", "E2", "E3", "D1", "D2", "D3")
TRANSPORTS = ("udp", "tcp", "tls")
IPS = (4, 6)
HOSTS = dict(LAB_HOSTS, core=6)
AXES = {row: ("proxy", "registrar") if row[1] == "1" else
        ("outbound_proxy",) for row in ROWS}

KEEPALIVE_S = 1
TRANSACTION_S = TRANSACTION_MS / 1000
# Without outbound support a dead server is left in peace until its retry time
# has come and is then tried by whatever is sent next, the proxy of D1 by
# nothing but calls: so that time is long enough to look around.
RECOVERY_S = {"E": 1, "D": 3}


def other(rank):
    return BACKUP if rank == PRIMARY else PRIMARY


def cells(every, sample):
    """Parameters: all are for --all-rows, a sample is for other runs. What is
    in the sample alone is not for --all-rows."""
    def mark(c):
        return (pytest.mark.all_rows if c not in sample else
                pytest.mark.sample if c not in every else ())
    return [pytest.param(*c, id="-".join(map(str, c)), marks=mark(c))
            for c in dict.fromkeys([*sample, *every])]


class Row:
    """config: more lines of baresip's config, over the quick timers;
    transaction is one of them, in seconds. users: numbers of the lines.
    defines: for all servers."""

    def __init__(self, lab, row="E3", transport="tcp", ip=4, shared=False,
                 config=(), users=(100,), transaction=TRANSACTION_S,
                 behind=False, **defines):
        self.lab = lab
        self.row, self.transport, self.ip = row, transport, ip
        self.shared = shared
        self.transaction = transaction
        self.outer = None
        self.behind = behind
        self.users = list(users)
        self.outbound = row[0] == "E"
        self.defines = defines
        self.unreachable = set()        # host names, while they are dropped
        self.core = None
        self._make()
        own = {_key(x) for x in config}
        self.config = [x for x in self._keys() if _key(x) not in own]
        self.config += config
        self.phone = None

    # -- servers -------------------------------------------------------------

    def _make(self):
        lab = self.lab
        hosts = {PRIMARY: lab.primary, BACKUP: lab.backup}
        self.axes = AXES[self.row]
        if self.row[1] == "1":
            self.host = {"proxy": hosts,
                         "registrar": {PRIMARY: lab.reg, BACKUP: lab.regb}}
        else:
            self.host = {"outbound_proxy": hosts}
        if self.row[1] == "3":
            self.core = lab.registrar(**self.defines)
        elif self.shared:
            self.core = lab.registrar(
                lab.reg if self.row[1] == "2" else lab.core, **self.defines)
        self.server = {axis: {rank: self._server(host)
                              for rank, host in self.host[axis].items()}
                       for axis in self.axes}
        if self.behind:
            # an edge that goes where the Request-URI says
            self.outer = lab.edge(lab.core, REGISTRAR=_Raw("$ru"),
                                  FR_TIMER=300)

    def _server(self, host):
        kw = dict(self.defines)
        if self.transport == "tls":
            kw.update(self.lab.tls(host))
        if self.core:
            return self.lab.edge(host, self.core, **kw)
        return self.lab.combined(host, **kw)

    @property
    def servers(self):
        """All servers that the phone talks to: {(axis, rank): server}."""
        return {(a, r): s for a in self.axes
                for r, s in self.server[a].items()}

    def addr(self, host):
        """Address of a host as it stands in a URI."""
        return host.ip if self.ip == 4 else "[%s]" % host.ip6

    def _uri(self, host):
        return "sip:%s;transport=%s" % (self.addr(host), self.transport)

    # -- the phone -------------------------------------------------------------

    def _keys(self):
        lab = self.lab
        backup = self.addr(lab.backup).strip("[]")
        recovery = RECOVERY_S[self.row[0]]
        keys = ["sip_outbound_support %d" % self.outbound,
                "sip_outbound_keepalive_timer %d" % KEEPALIVE_S,
                "sip_transaction_timer %d" % (self.transaction * 1000),
                "sip_recovery_base_timer %d" % recovery,
                "sip_recovery_max_timer %d" % recovery]
        if self.row[1] == "1":
            keys += ["sip_registrar_ip " + self.addr(lab.reg).strip("[]"),
                     "sip_backup_registrar_ip "
                     + self.addr(lab.regb).strip("[]"),
                     "sip_backup_proxy_ip " + backup]
        else:
            keys += ["sip_backup_outbound_proxy " + backup]
        if self.row[1] == "2":
            keys += ["sip_backup_proxy_ip " + backup,
                     "sip_backup_registrar_ip " + backup]
        if self.transport == "tls":
            keys += ["sip_cafile " + lab.ca.cert]
        return keys

    def account(self, user=100, regint=3600, extra=""):
        via = self.lab.core if self.behind else self.lab.primary
        domain = (self.addr(self.lab.primary) if self.row[1] == "1"
                  else DOMAIN)
        line = "<sip:%s@%s;transport=%s>" % (user, domain, self.transport)
        if self.behind or self.row[1] != "1":
            line += ';outbound="%s"' % self._uri(via)
        line += ";auth_pass=secret%s;regint=%d" % (user, regint)
        return line + (";" + extra if extra else "")

    def start(self, wait=True, regint=3600, extra="", reregister=True, **kw):
        """Start the phone; wait=True: until all lines are on their primary
        servers. The command reregister is there unless it is not wanted."""
        if reregister:
            so = os.path.relpath(_build(self.lab.dir),
                                 os.path.join(self.lab.dir, "x", "modules"))
            kw["app_modules"] = [*kw.get("app_modules", ()), so]
        self.phone = self.lab.baresip(
            [self.account(u, regint, extra) for u in self.users],
            aastra=True, config=self.config, **kw)
        if wait:
            self.wait(self.state())
        return self.phone

    # -- what should be ----------------------------------------------------------

    def state(self, *ranks, **axes):
        """A state of the line: the rank of each axis; default primary.
        state("backup"), state(registrar="backup")."""
        if ranks:
            return dict.fromkeys(self.axes, ranks[0])
        return {**dict.fromkeys(self.axes, PRIMARY), **axes}

    def target(self, state):
        """Host that the binding leads through, or is at."""
        axis = self.axes[-1]
        return self.host[axis][state[axis]]

    def hop(self, state):
        """Host that REGISTER goes to first."""
        return self.outer.host if self.outer else self.target(state)

    def aor_host(self, state):
        """Domain of the AOR: that of the proxy in use."""
        rank = state.get("proxy", state[self.axes[0]])
        if self.row[1] == "1":
            return self.addr(self.host["proxy"][rank])
        if self.row[1] == "2" and rank == BACKUP:
            return self.addr(self.lab.backup)
        return DOMAIN

    def registrar_host(self, state):
        """Host part of REGISTER's Request-URI: the registrar in use."""
        if self.row[1] == "1":
            return self.addr(self.target(state))
        return self.aor_host(state)

    def reg_id(self, state):
        if not self.outbound:
            return None
        if self.row[1] != "1":
            return str(1 + (state[self.axes[0]] == BACKUP))
        return {(PRIMARY, PRIMARY): "1", (BACKUP, BACKUP): "2",
                (BACKUP, PRIMARY): "3", (PRIMARY, BACKUP): "4"}[
                    state["proxy"], state["registrar"]]

    def _reg_id_fits(self, value, state):
        """Another four where an older path is not taken up again."""
        want = self.reg_id(state)
        return value == want or want and (int(value) - int(want)) % 4 == 0

    def call_hop(self, state):
        """Host that calls go to first."""
        return self.outer.host if self.outer else self.host[self.axes[0]][state[self.axes[0]]]

    # -- what is -----------------------------------------------------------------

    def now(self, line=1):
        """The state as the phone tells it, None if it is not registered."""
        s = self.phone.state(line)
        return ({a: s["active"][a] for a in self.axes}
                if s["registered"] else None)

    @property
    def registrars(self):
        return ([self.core] if self.core
                else list(self.server[self.axes[-1]].values()))

    def bindings(self, user=100):
        """Live bindings at all registrars that can be asked and reached:
        [(name of the host that leads to the phone, binding)]."""
        found = []
        for r in self.registrars:
            if r.host.name in self.unreachable or not r.proc.running:
                continue
            with contextlib.suppress(OSError):
                found += [(self._leads(r, b), b)
                          for b in r.bindings(str(user), timeout=0.3)
                          if live(b)]
        return found

    def _leads(self, registrar, b):
        return self._by_path(b) if self.core else registrar.host.name

    def _by_path(self, b):
        for host in {h.name: h for a in self.axes
                     for h in self.host[a].values()}.values():
            for addr in (host.ip, "[%s]" % host.ip6):
                if re.search(r"[@:]%s[:;>]" % re.escape(addr),
                             (b["path"] or "") + ">"):
                    return host.name
        return "?"

    def only(self, state, user=100):
        """One binding, where it should be, and no other."""
        return [name for name, _ in self.bindings(user)] \
            == [self.target(state).name]

    def wait(self, state, timeout=5.0, after=0.0, only=True, line=1):
        """Wait for a state and prove it; returns the 200 that made it."""
        lab = self.lab
        user = self.users[line - 1]
        lab.until(lambda: self.now(line) == state, timeout,
                  "line %d: %s" % (line, state))
        ok = self.wait_200(state, 2.0, after, user)
        if only:
            lab.until(lambda: self.only(state, user), timeout,
                      "one binding of %s on %s, and no other" % (
                          user, self.target(state).name))
        self.check_register(state, ok)
        return ok

    def wait_200(self, state, timeout=5.0, after=0.0, user=None):
        """The (first) 200 to a REGISTER that makes this state."""
        hop = self.hop(state)
        return self.lab.wire.wait_sip(
            "REGISTER", timeout, "registered: %s" % state, status=200,
            src=hop, dst="phone", after=after, user=user,
            match=lambda e: e.expires
            and _host_of(e.header("to")) == self.aor_host(state)
            and _host_of(self.request_of(e).uri) == self.registrar_host(state)
            and self._sip_only(e) and self._in_time(e))

    def _in_time(self, answer):
        """A server that was frozen answers what the phone has given up."""
        return answer.t - self.request_of(answer).t < self.transaction

    def _sip_only(self, e):
        """Over TLS, only what was inside it."""
        return self.transport != "tls" or e.proto == "tls"

    def request_of(self, answer):
        return self.lab.wire.sip(
            "REGISTER", request=True, src="phone", call_id=answer.call_id,
            match=lambda e: e.cseq == answer.cseq)[0]

    def check_register(self, state, ok):
        """AOR, registrar, route and RFC 5626 parts of the REGISTER."""
        e = self.request_of(ok)
        assert e.proto == self.transport
        assert (":" in e.dst_ip) == (self.ip == 6)
        for name in ("to", "from"):
            assert _host_of(e.header(name)) == self.aor_host(state), e.raw
        assert _host_of(e.uri) == self.registrar_host(state), e.uri
        route = e.header("route")
        if self.row[1] == "1" and not self.outer:
            assert route is None, route
        else:
            assert _host_of(route) == self.addr(self.hop(state)), route
            assert ";lr" in route
        assert self._reg_id_fits(param(e, "reg-id"), state), e.raw
        if self.outbound:
            assert param(e, "+sip.instance") \
                == "<urn:uuid:%s>" % self.phone.uuid
        assert e.header("authorization")
        aor = self.phone.state(self.users.index(int(e.user)) + 1)["aor"]
        if self.now(self.users.index(int(e.user)) + 1) == state:
            assert _host_of(aor) == self.aor_host(state), aor

    def contacts(self):
        """Contact URIs that the phone registered, by reg-id or path."""
        return {contact(e): param(e, "reg-id") for e in self.requests(
            "REGISTER") if e.expires}

    def requests(self, method=None, after=0.0, dst=None, **kw):
        """Requests of the phone, each once, without retransmissions and
        without what it sends to itself."""
        seen = {}
        for e in self.lab.wire.sip(method, request=True, src="phone",
                                   after=after, dst=dst, **kw):
            if e.dst != "phone" and e.method != "ACK" and self._sip_only(e):
                seen.setdefault((e.dst, e.method, e.call_id, e.cseq), e)
        return list(seen.values())

    # -- many phones, one after another --------------------------------------------

    def forget(self):
        """The phone is gone, and so is what the registrars know of it."""
        if self.phone:
            self.phone.kill()
            self.phone = None
            # what its kernel would still deliver when a server comes back
            self.lab.phone.run("ss", "-K", "-t", "-n", "state", "connected")
            self._flush_neighbours()
        for r in self.registrars:
            for user in self.users:
                if r.proc.running:
                    with contextlib.suppress(RpcError):
                        r.remove_bindings(str(user))

    # -- faults ------------------------------------------------------------------

    def fail(self, axis, rank, fault="killed"):
        server = self.server[axis][rank]
        if fault == "killed":
            server.kill()
        elif fault == "hung":
            server.hang()
        else:
            self.unreachable.add(server.host.name)
            server.host.drop()

    def repair(self, axis, rank, fault="killed"):
        """Returns the time from when on the server served again."""
        lab, server = self.lab, self.server[axis][rank]
        t = lab.now()
        if fault == "hung":
            server.cont()
            return t
        if fault == "hole":
            self.unreachable.discard(server.host.name)
            server.host.clear()
            # or the phone's kernel would go on waiting for ARP
            self._flush_neighbours()
            return t
        server.start()
        first = lab.wire.find(src=server.host, dst="phone", after=t,
                              match=lambda e: e.kind != "rst"
                              and e.kind != "unreachable")
        return min([lab.now()] + [e.t for e in first])

    def _flush_neighbours(self):
        self.lab.phone.run("ip", "neigh", "flush", "dev", "eth0")

    def trigger(self, axis):
        """Without outbound support only a request finds a dead server."""
        if self.outbound:
            return
        if axis == "proxy":
            with contextlib.suppress(RuntimeError, Timeout):
                self.phone.dial(self._callee())
        else:
            self.phone.cmd("reregister")

    def _callee(self):
        """From 1.1.0 on baresip dials a bare number for an account that is
        registered, and for no other; where the registrars are dead, only a
        whole URI asks the proxy."""
        if self.phone.has_current:
            return "299"
        return "sip:299@" + _host_of(self.phone.state(1)["aor"])

    def first_to(self, host, after):
        """The first sign of the phone towards a host."""
        return self.lab.wire.wait(
            lambda: self.lab.wire.find(src="phone", dst=host, after=after),
            5, "the phone turns to " + host.name)[0]


def _key(line):
    return line.split()[0]


def _host_of(text):
    """Host of the (first) URI in a header."""
    m = re.search(r"sips?:(?:[^@>;]*@)?(\[[^\]]*\]|[^:;>\s]+)", text or "")
    return m[1] if m else None
