"""Network of a lab: one bridge in a "switch" namespace, one namespace a host.

Every host has eth0 with 10.77.0.N/24 and fd77::N/64 and no other way out.
Names carry the process id and its start time, so that runs never collide and
the leftovers of a run that died can be told from a living one.
"""

import atexit
import ctypes
import itertools
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time

NETNS_DIR = "/run/netns"
PREFIX = "aae2e"
MTU = 9000          # no IP fragments: the wire log does not join them
HOSTS = {
    "phone": 10,
    "primary": 2,
    "backup": 3,
    "reg": 4,
    "regb": 5,
    "far": 20,
}

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_counter = itertools.count(1)


def _start_time(pid):
    """Start time of a process in clock ticks, None if there is none."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return int(f.read().rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None


def _ip(*args, ns=None, batch=None):
    cmd = ["ip", *args]
    if ns:      # not "ip -n", which wants a mount namespace of its own
        cmd = _enter(ns) + cmd
    if batch is not None:
        cmd += ["-batch", "-"]
    p = subprocess.run(cmd, input=batch, text=True, capture_output=True)
    if p.returncode:
        raise RuntimeError("%s: %s" % (shlex.join(cmd), p.stderr.strip()))
    return p.stdout


def _enter(ns):
    return ["nsenter", "--net=%s/%s" % (NETNS_DIR, ns)]


def in_netns(name, fn):
    """Run fn in a thread of its own inside the namespace; return its result.

    Sockets opened there stay in the namespace wherever they are used.
    """
    result = []

    def enter():
        try:
            fd = os.open("%s/%s" % (NETNS_DIR, name), os.O_RDONLY)
            try:
                if _libc.setns(fd, _CLONE_NEWNET):
                    err = ctypes.get_errno()
                    raise OSError(err, os.strerror(err), name)
            finally:
                os.close(fd)
            result.append((fn(), None))
        except BaseException as e:
            result.append((None, e))

    t = threading.Thread(target=enter, name="in-" + name)
    t.start()
    t.join()
    value, error = result[0]
    if error:
        raise error
    return value


def _pids(ns):
    p = subprocess.run(["ip", "netns", "pids", ns], text=True,
                       capture_output=True)
    return [int(x) for x in p.stdout.split()]


def _remove(ns):
    """Remove a namespace of ours and whatever still runs inside."""
    if not ns.startswith(PREFIX + "-"):
        raise ValueError("not a namespace of this lab: " + ns)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        pids = _pids(ns)
        if not pids:
            break
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)
    subprocess.run(["ip", "netns", "del", ns], capture_output=True)


def cleanup_stale():
    """Remove the namespaces of runs that are dead. Returns their names."""
    gone = []
    try:
        names = os.listdir(NETNS_DIR)
    except OSError:
        return gone
    for ns in names:
        m = re.fullmatch(PREFIX + r"-(\d+)-(\d+)-\d+-\w+", ns)
        if m and _start_time(int(m[1])) != int(m[2]):
            _remove(ns)
            gone.append(ns)
    return gone


class Host:
    """A host of the lab: a namespace with one interface, eth0."""

    def __init__(self, net, name, number):
        self.net = net
        self.name = name
        self.ns = net.ns_name(name)
        self.number = number
        self.ip = "10.77.0.%d" % number
        self.ip6 = "fd77::%x" % number
        self._nft = False

    def __repr__(self):
        return "<%s %s>" % (self.name, self.ip)

    def setup(self):
        _ip(ns=self.ns, batch="\n".join([
            "link set lo up",
            "link set eth0 up",
            "addr add %s/24 dev eth0" % self.ip,
            "addr add %s/64 dev eth0 nodad" % self.ip6,
        ]) + "\n")

    # -- processes and sockets ------------------------------------------

    def argv(self, argv):
        """The command line that runs argv in this namespace (same pid)."""
        return [*_enter(self.ns), *argv]

    def run(self, *argv, check=True, timeout=10, **kw):
        """Run a short command in this namespace and return its output."""
        p = subprocess.run(self.argv(argv), text=True, capture_output=True,
                           timeout=timeout, **kw)
        if check and p.returncode:
            raise RuntimeError("%s in %s: %s" % (shlex.join(argv), self.name,
                                                 p.stderr.strip()))
        return p.stdout

    def inside(self, fn):
        """Run a Python function inside this namespace."""
        return in_netns(self.ns, fn)

    # -- faults ----------------------------------------------------------

    def _rule(self, chain, verdict, peer_is_source, proto, port, peer):
        """Add one rule an address family as needed."""
        if not self._nft:
            self.run("nft", "-f", "-", input=_NFT_SETUP)
            self._nft = True
        match = []
        if proto:
            match.append("meta l4proto " + proto)
        elif port:
            match.append("meta l4proto { tcp, udp }")
        ports = []
        if port:
            ports = ["th sport %d" % port, "th dport %d" % port]
        peers = []
        if peer is not None:
            side = "saddr" if peer_is_source else "daddr"
            peers = ["ip %s %s" % (side, peer.ip),
                     "ip6 %s %s" % (side, peer.ip6)]
        table = "inet" if chain == "refuse" else "netdev"
        rules = [
            "add rule %s lab %s %s %s %s %s"
            % (table, chain, who, " ".join(match), which, verdict)
            for who in peers or [""] for which in ports or [""]
        ]
        self.run("nft", "-f", "-", input="\n".join(rules) + "\n")

    def drop(self, direction="both", proto=None, port=None, peer=None):
        """Lose every packet without a word.

        direction: "in", "out" or "both" as this host sees it; proto "tcp"
        or "udp"; port on either end; peer another Host. Packets lost on the
        way in are still seen by the wire log, those on the way out are not.
        """
        self._lose("drop", direction, proto, port, peer)

    def loss(self, percent, direction="both", proto=None, port=None,
             peer=None):
        """Lose this share of the packets, each by chance."""
        self._lose("numgen random mod 1000 < %d drop" % round(percent * 10),
                   direction, proto, port, peer)

    def _lose(self, verdict, direction, proto, port, peer):
        if direction not in ("both", "in", "out"):
            raise ValueError(direction)
        for d in ("in", "out"):
            if direction in ("both", d):
                self._rule(d, verdict, d == "in", proto, port, peer)

    def reject(self, how="tcp-reset", port=None, peer=None):
        """Refuse what comes in: "tcp-reset" (TCP) or
        "icmp-port-unreachable" (UDP)."""
        if how == "tcp-reset":
            self._rule("refuse", "reject with tcp reset", True, "tcp", port,
                       peer)
        elif how == "icmp-port-unreachable":
            self._rule("refuse", "reject with icmpx type port-unreachable",
                       True, "udp", port, peer)
        else:
            raise ValueError(how)

    def clear(self):
        """Take back drop, loss and reject."""
        if self._nft:
            self.run("nft", "flush", "ruleset")
            self._nft = False

    def link(self, state, at="switch"):
        """Pull ("down") or plug ("up") the cable.

        at="switch": the far end goes down, the host sees no carrier but
        keeps its routes. at="host": the host's own interface goes down.
        """
        ns, dev = ((self.net.switch, self.name) if at == "switch"
                   else (self.ns, "eth0"))
        _ip("link", "set", dev, state, ns=ns)

    def add_address(self, addr, prefix=24):
        _ip("addr", "add", "%s/%d" % (addr, prefix), "dev", "eth0",
            *(["nodad"] if ":" in addr else []), ns=self.ns)

    def del_address(self, addr, prefix=24):
        _ip("addr", "del", "%s/%d" % (addr, prefix), "dev", "eth0",
            ns=self.ns)

    def reset_tcp(self, *match):
        """Abort TCP connections of this host: both ends get a RST.

        match is a filter of ss(8), e.g. "dst", "10.77.0.10".
        """
        self.run("ss", "-K", "-t", "-n", "state", "established", *match)


_NFT_SETUP = """
table netdev lab {
	chain in { type filter hook ingress device eth0 priority 0; }
	chain out { type filter hook egress device eth0 priority 0; }
}
table inet lab {
	chain refuse {
		type filter hook input priority 0;
		iifname != "eth0" accept
	}
}
"""


class Net:
    """The namespaces of one lab. A context manager; removed at exit too."""

    def __init__(self, hosts=None):
        self.tag = "%s-%d-%d-%d" % (PREFIX, os.getpid(),
                                    _start_time(os.getpid()), next(_counter))
        self.owner = os.getpid()
        self.switch = self.ns_name("switch")
        self.hosts = {name: Host(self, name, number)
                      for name, number in (hosts or HOSTS).items()}
        self._up = False

    def ns_name(self, host):
        return "%s-%s" % (self.tag, host)

    def __getattr__(self, name):
        try:
            return self.__dict__["hosts"][name]
        except KeyError:
            raise AttributeError(name) from None

    def by_ip(self, addr):
        """Name of the host with this address, else the address."""
        for h in self.hosts.values():
            if addr in (h.ip, h.ip6):
                return h.name
        return addr

    def __enter__(self):
        self.up()
        return self

    def __exit__(self, *exc):
        self.down()

    def up(self):
        self._up = True
        atexit.register(self.down)
        _quit_on_sigterm()
        try:
            self._make()
        except BaseException:
            self.down()
            raise

    def _make(self):
        for h in self.hosts.values():
            _ip("netns", "add", h.ns)
            in_netns(h.ns, _quiet_host)
        _ip("netns", "add", self.switch)
        in_netns(self.switch, _quiet_switch)
        lines = ["link add br0 mtu %d type bridge mcast_snooping 0 stp_state 0"
                 % MTU,
                 "link set br0 up"]
        for h in self.hosts.values():
            lines += ["link add %s mtu %d type veth peer name eth0 mtu %d"
                      " netns %s" % (h.name, MTU, MTU, h.ns),
                      "link set %s master br0" % h.name,
                      "link set %s up" % h.name]
        _ip(ns=self.switch, batch="\n".join(lines) + "\n")
        for h in self.hosts.values():
            h.setup()

    def down(self):
        if not self._up or os.getpid() != self.owner:
            return
        self._up = False
        atexit.unregister(self.down)
        for ns in [*(h.ns for h in self.hosts.values()), self.switch]:
            if os.path.exists("%s/%s" % (NETNS_DIR, ns)):
                _remove(ns)


def _sysctl(key, value):
    try:
        with open("/proc/sys/net/" + key, "w") as f:
            f.write(str(value))
    except OSError:
        pass        # not in this kernel: nothing to turn off


def _quiet_host():
    for key, value in (("ipv4/conf/all/rp_filter", 0),
                       ("ipv4/conf/default/rp_filter", 0),
                       ("ipv6/conf/default/accept_dad", 0),
                       ("ipv6/conf/all/keep_addr_on_down", 1),
                       ("ipv6/conf/default/router_solicitations", 0),
                       ("ipv4/ping_group_range", "0 2147483647")):
        _sysctl(key, value)


def _quiet_switch():
    _sysctl("ipv6/conf/default/disable_ipv6", 1)


def _quit_on_sigterm():
    """Let SIGTERM end Python in order, so that atexit cleans up."""
    if (threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL):
        signal.signal(signal.SIGTERM, lambda *a: sys.exit(143))
