"""A link with a round trip of so many milliseconds: a relay in user space
between a host and the switch, for kernels without netem."""

import fcntl
import os
import re
import shutil
import struct
import subprocess

from .netns import MTU, _ip, in_netns

HERE = os.path.dirname(os.path.abspath(__file__))
_TUNSETIFF = 0x400454ca
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000


def compiled(folder):
    """Path of the relay's program, built into that folder."""
    exe = os.path.join(folder, "relay")
    if not os.path.exists(exe):
        cc = shutil.which("cc") or "gcc"
        subprocess.run([cc, "-O2", "-Wall", "-Wextra", "-Werror",
                        "-D_GNU_SOURCE", "-o", exe,
                        os.path.join(HERE, "relay.c")], check=True)
    return exe


def _tap(name):
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, _TUNSETIFF,
                struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    return fd


class SlowLink:
    """Puts the relay between a host of the lab and the switch, in place of
    its cable. rtt_ms: what the relay adds to a round trip. slow() adds more
    to what it has with one other host, while the lab runs."""

    def __init__(self, lab, host, rtt_ms):
        self.name = "relay-" + host.name
        exe = compiled(lab.dir)
        _ip("link", "del", host.name, ns=lab.net.switch)
        a = host.inside(lambda: _tap("eth0"))
        b = _in_switch(lab, lambda: _tap(host.name))
        _ip(ns=lab.net.switch, batch="\n".join([
            "link set %s mtu %d master br0" % (host.name, MTU),
            "link set %s up" % host.name]) + "\n")
        _ip("link", "set", "eth0", "mtu", str(MTU), ns=host.ns)
        host.setup()
        self._p = subprocess.Popen(
            [exe, str(a), str(b), str(round(rtt_ms * 500)), "0"],
            pass_fds=(a, b), stdin=subprocess.PIPE, start_new_session=True)
        os.close(a)
        os.close(b)
        lab.others.append(self)

    def slow(self, host, rtt_ms, handshake=False):
        """What goes to and fro with this host (IPv4) takes so much longer
        there and back from now on; 0 ends it. handshake=True: only what
        carries a TLS handshake, each message of it half of the time."""
        os.write(self._p.stdin.fileno(), b"%d %s %d\n" % (
            round(rtt_ms * 500), host.ip.encode(), handshake))

    def stop(self):
        self._p.stdin.close()
        self._p.kill()
        self._p.wait()


def _in_switch(lab, fn):
    return in_netns(lab.net.switch, fn)


def know_each_other(lab):
    """Every host knows the others' hardware addresses: no ARP is measured."""
    mac = {h.name: re.search(r"link/ether (\S+)",
                             h.run("ip", "link", "show", "eth0"))[1]
           for h in lab.net.hosts.values()}
    for h in lab.net.hosts.values():
        _ip(ns=h.ns, batch="".join(
            "neigh replace %s lladdr %s dev eth0 nud permanent\n"
            % (o.ip, mac[o.name])
            for o in lab.net.hosts.values() if o is not h))
