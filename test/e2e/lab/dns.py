"""A small name server on a host of the lab: authoritative for whatever it is
told, over UDP."""

import ipaddress
import socket
import struct
import threading
import time
from collections import namedtuple

from . import wait

TYPES = {"A": 1, "CNAME": 5, "AAAA": 28, "SRV": 33, "NAPTR": 35}
NAMES = {number: name for name, number in TYPES.items()}
NOERROR, SERVFAIL, NXDOMAIN, NOTIMP = 0, 2, 3, 4

Query = namedtuple("Query", "t type name")


class Dns:
    """Records: a(), aaaa(), srv(), naptr(), cname() each replace what that
    name has of that type; remove() takes it away.

    silent=True: it is there and never answers. rcode: answer everything with
    that. delay: seconds that an answer takes. mangle: a function that makes
    of an answer (bytes) the datagrams that are sent in its place.
    additional=True: tell the addresses of SRV targets unasked. stop()
    closes its socket, as a server that crashed; start() opens it again.
    queries: everything that was asked, as (t, type, name)."""

    def __init__(self, host, port=53, additional=False):
        self.host = host
        self.port = port
        self.name = "dns-" + host.name
        self.additional = additional
        self.silent = False
        self.rcode = NOERROR
        self.delay = 0.0
        self.mangle = None
        self.queries = []
        self._zone = {}         # (name, type) -> (ttl, [rdata])
        self._socket = None
        self._thread = None

    def __repr__(self):
        return "<%s>" % self.name

    @property
    def address(self):
        """As baresip's dns_server wants it."""
        return "%s:%d" % (self.host.ip, self.port)

    # -- life --------------------------------------------------------------

    def start(self):
        if self._socket is None:
            def bind():
                s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                s.bind((self.host.ip, self.port))
                s.settimeout(0.1)
                return s
            self._socket = self.host.inside(bind)
            self._thread = threading.Thread(
                target=self._serve, args=(self._socket,), daemon=True,
                name=self.name)
            self._thread.start()
        return self

    def stop(self):
        s, self._socket = self._socket, None
        if s is not None:
            self._thread.join(2)
            s.close()

    # -- records -------------------------------------------------------------

    def _set(self, name, kind, rdata, ttl):
        self._zone[name.lower(), kind] = (ttl, rdata)
        return self

    def a(self, name, *hosts, ttl=60):
        """hosts: hosts of the lab, or addresses."""
        return self._set(name, "A", [
            ipaddress.IPv4Address(getattr(h, "ip", h)).packed
            for h in hosts], ttl)

    def aaaa(self, name, *hosts, ttl=60):
        return self._set(name, "AAAA", [
            ipaddress.IPv6Address(getattr(h, "ip6", h)).packed
            for h in hosts], ttl)

    def srv(self, name, *records, ttl=60):
        """records: (priority, weight, port, target)."""
        self._set(name, "SRV", [
            struct.pack("!HHH", *r[:3]) + _name(r[3]) for r in records], ttl)
        self._zone[name.lower(), "targets"] = [r[3] for r in records]
        return self

    def naptr(self, name, *records, ttl=60):
        """records: (order, preference, flags, service, replacement)."""
        return self._set(name, "NAPTR", [
            struct.pack("!HH", *r[:2]) + _text(r[2]) + _text(r[3])
            + _text("") + _name(r[4]) for r in records], ttl)

    def cname(self, name, target, ttl=60):
        self._zone[name.lower(), "target"] = target
        return self._set(name, "CNAME", [_name(target)], ttl)

    def remove(self, name, kind=None):
        """Without a type: all of the name."""
        for key in list(self._zone):
            if key[0] == name.lower() and kind in (None, key[1]):
                del self._zone[key]

    # -- what was asked ------------------------------------------------------

    def asked(self, kind=None, name=None, after=0.0):
        """The questions, of this type, for this name, after that time."""
        return [q for q in list(self.queries)
                if q.t > after and kind in (None, q.type)
                and (name is None or name.lower() == q.name)]

    def wait_asked(self, kind=None, name=None, after=0.0, timeout=5.0):
        return wait.until(lambda: self.asked(kind, name, after), timeout,
                          "somebody asks for %s %s" % (kind, name))

    # -- service -------------------------------------------------------------

    def _serve(self, s):
        while self._socket is s:
            try:
                data, peer = s.recvfrom(4096)
            except TimeoutError:
                continue
            except OSError:
                return
            try:
                answer = self._answer(data)
            except (struct.error, IndexError, UnicodeError):
                continue
            if answer and not self.silent:
                answers = self.mangle(answer) if self.mangle else [answer]
                if self.delay:
                    late = threading.Timer(self.delay, self._send,
                                           (s, answers, peer))
                    late.daemon = True
                    late.start()
                else:
                    self._send(s, answers, peer)

    @staticmethod
    def _send(s, answers, peer):
        for answer in answers:
            try:
                s.sendto(answer, peer)
            except OSError:
                pass        # the lab cut its cable, or the server is gone

    def _answer(self, data):
        ident, flags, questions = struct.unpack_from("!HHH", data)
        if flags & 0x8000 or questions != 1:
            return None
        name, end = _read_name(data, 12)
        number, _ = struct.unpack_from("!HH", data, end)
        kind = NAMES.get(number, str(number))
        self.queries.append(Query(time.monotonic(), kind, name))

        rcode, answers, more = self.rcode, [], []
        if rcode == NOERROR:
            rcode, answers, more = self._look(name, kind)
        # a response, authoritative, recursion as desired
        flags = 0x8400 | flags & 0x0100 | rcode
        return (struct.pack("!HHHHHH", ident, flags, 1, len(answers), 0,
                            len(more))
                + data[12:end + 4] + b"".join(answers + more))

    def _look(self, name, kind):
        answers = []
        end = name
        for _ in range(8):
            if kind == "CNAME" or (end, "CNAME") not in self._zone:
                break
            answers += self._records(end, "CNAME")
            end = self._zone[end, "target"].lower()
        answers += self._records(end, kind)
        more = []
        if self.additional and kind == "SRV":
            for target in self._zone.get((end, "targets"), []):
                more += self._records(target.lower(), "A")
                more += self._records(target.lower(), "AAAA")
        known = answers or any(key[0] == name for key in list(self._zone))
        return NOERROR if known else NXDOMAIN, answers, more

    def _records(self, name, kind):
        ttl, rdata = self._zone.get((name, kind), (0, []))
        return [_name(name) + struct.pack("!HHIH", TYPES[kind], 1, ttl,
                                          len(r)) + r for r in rdata]


def _name(name):
    """A name on the wire; "" or "." is the root."""
    return b"".join(_text(label) for label in name.split(".") if label) + b"\0"


def _text(text):
    return bytes([len(text)]) + text.encode("ascii")


def _read_name(data, pos):
    """(name in lower case, position behind it); questions are not
    compressed."""
    labels = []
    while data[pos]:
        if data[pos] & 0xc0:
            raise IndexError("compressed")
        labels.append(data[pos + 1:pos + 1 + data[pos]].decode("ascii"))
        pos += 1 + data[pos]
    return ".".join(labels).lower(), pos + 1
