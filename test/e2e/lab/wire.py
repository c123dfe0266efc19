"""What went over the wire: a sniffer on the lab's bridge.

Every frame that a host sends passes the bridge once. Packets of SIP ports are
decoded into events: SIP messages (over UDP, and over TCP put together again
by Content-Length), keep-alives, STUN, TCP connection changes, TLS records and
ICMP errors. Times are the kernel's.
"""

import bisect
import ctypes
import re
import socket
import struct
import threading
import time

from .netns import in_netns
from .pace import slack
from .wait import Timeout

_SO_TIMESTAMPNS = 35
_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP = 1
_PACKET_MR_PROMISC = 1
_ETH_P_ALL = 3
_SO_ATTACH_FILTER = 26

_COMPACT = {"i": "call-id", "m": "contact", "e": "content-encoding",
            "l": "content-length", "c": "content-type", "f": "from",
            "s": "subject", "k": "supported", "t": "to", "v": "via",
            "u": "allow-events", "o": "event", "r": "refer-to",
            "x": "session-expires"}


class Event:
    """One thing seen.

    t (monotonic seconds), wall, src, dst (host names), src_ip, dst_ip, sport,
    dport, proto ("udp", "tcp", "icmp") and kind:
      "sip"            a message: see Sip
      "ping", "pong"   CRLF keep-alive and its answer
      "stun"           text says request/response
      "syn", "syn-ack", "fin", "rst"
      "tls"            text names the record types
      "unreachable"    ICMP error, text quotes what it is about
      "data"           anything else, text has its beginning
    again is true for a TCP segment that was sent before.
    """

    sip = False
    text = ""
    again = False

    def __init__(self, pkt, kind, text=""):
        self.t, self.wall = pkt.t, pkt.wall
        self.src_ip, self.dst_ip = pkt.src_ip, pkt.dst_ip
        self.src, self.dst = pkt.src, pkt.dst
        self.sport, self.dport = pkt.sport, pkt.dport
        self.proto = pkt.proto
        self.kind = kind
        self.text = text

    def summary(self):
        return ("%s %s%s" % (self.kind, self.text,
                             " (again)" if self.again else "")).strip()

    def __repr__(self):
        return "<%.4f %s -> %s %s %s>" % (self.t, self.src, self.dst,
                                          self.proto, self.summary())


class Sip(Event):
    """A SIP message: method (also of a response, by CSeq), status (None for
    a request), reason, uri, cseq, call_id, headers (lower-case name -> list
    of values), body, raw."""

    sip = True

    def __init__(self, pkt, raw):
        super().__init__(pkt, "sip")
        self.raw = raw
        text = raw.decode("utf-8", "replace")
        head, _, self.body = text.partition("\r\n\r\n")
        lines = re.sub(r"\r\n[ \t]+", " ", head).split("\r\n")
        self.start = lines[0]
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            name = _COMPACT.get(name, name)
            self.headers.setdefault(name, []).append(value.strip())
        self.call_id = self.header("call-id", "")
        m = re.match(r"(\d+)\s+(\S+)", self.header("cseq", ""))
        self.cseq = int(m[1]) if m else -1
        self.method = m[2] if m else ""
        self.status = None
        self.reason = self.uri = ""
        m = re.match(r"SIP/2\.0 (\d{3}) ?(.*)", self.start)
        if m:
            self.status, self.reason = int(m[1]), m[2]
        else:
            m = re.match(r"(\S+) (\S+) SIP/2\.0$", self.start)
            if m:
                self.method, self.uri = m[1], m[2]

    @property
    def request(self):
        return self.status is None

    def header(self, name, default=None):
        """The first value of a header."""
        return self.headers.get(name.lower(), [default])[0]

    @property
    def expires(self):
        """Expiry that a REGISTER or SUBSCRIBE (or its answer) names."""
        for text in self.headers.get("contact", []):
            m = re.search(r";\s*expires=(\d+)", text)
            if m:
                return int(m[1])
        value = self.header("expires")
        return int(value) if value and value.isdigit() else None

    @property
    def user(self):
        """User part of the From header."""
        m = re.search(r"sips?:([^@>;]+)@", self.header("from", ""))
        return m[1] if m else ""

    def summary(self):
        if self.request:
            text = "%s %s" % (self.method, self.uri)
            if self.method in ("REGISTER", "SUBSCRIBE"):
                text += " expires=%s" % self.expires
        else:
            text = "%d %s (%s)" % (self.status, self.reason, self.method)
        return "%s cseq=%d" % (text, self.cseq)


class _Packet:
    """Addresses and time of one packet."""

    def __init__(self, wire, t, wall, src_ip, dst_ip):
        self.t, self.wall = t, wall
        self.src_ip, self.dst_ip = src_ip, dst_ip
        self.src, self.dst = wire.net.by_ip(src_ip), wire.net.by_ip(dst_ip)
        self.sport = self.dport = 0
        self.proto = ""


class _Stream:
    """One direction of a TCP connection."""

    def __init__(self):
        self.next = None        # sequence number expected
        self.early = {}         # segments that came before their turn
        self.buf = b""
        self.tls = False


class Wire:
    """ports: SIP ports to decode (either end). Start and stop it, or use it
    as a context manager."""

    def __init__(self, net, ports=range(5060, 5090)):
        self.net = net
        self.ports = frozenset(ports)
        self.events = []
        self.lost = 0
        self._news = threading.Condition()
        self._streams = {}
        self._sock = None
        self._stop = False
        self._thread = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.stop()

    def start(self):
        self._sock = in_netns(self.net.switch, self._open)
        self._thread = threading.Thread(target=self._read, daemon=True,
                                        name="wire")
        self._thread.start()
        return self

    def stop(self):
        if self._thread:
            self._stop = True
            self._thread.join(2)
            self._thread = None
        if self._sock:
            self._sock.close()

    def _open(self):
        # Bound to the bridge itself in promiscuous mode: each frame that
        # enters the switch is seen there once, whichever port it leaves by.
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        s.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        index = socket.if_nametoindex("br0")
        s.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP,
                     struct.pack("iHH8s", index, _PACKET_MR_PROMISC, 0, b""))
        _attach(s, self.ports)
        s.bind(("br0", _ETH_P_ALL))
        s.settimeout(0.1)
        return s

    # -- decoding ----------------------------------------------------------

    def _read(self):
        space = socket.CMSG_SPACE(16)
        while not self._stop:
            try:
                frame, anc, _, _ = self._sock.recvmsg(262144, space)
            except TimeoutError:
                continue
            except OSError:
                break
            wall = time.time()
            offset = time.monotonic() - wall
            for level, kind, data in anc:
                if kind == _SO_TIMESTAMPNS and len(data) >= 16:
                    sec, nsec = struct.unpack("qq", data[:16])
                    wall = sec + nsec / 1e9
            found = []
            try:
                self._frame(frame, wall + offset, wall, found)
            except (struct.error, IndexError, ValueError):
                self.lost += 1
            self.feed(found)

    def feed(self, events):
        """Put events in their places by time."""
        if not events:
            return
        with self._news:
            for e in events:
                bisect.insort(self.events, e, key=lambda x: x.t)
            self._news.notify_all()

    def _frame(self, frame, t, wall, found):
        kind = struct.unpack_from("!H", frame, 12)[0]
        ip = frame[14:]
        if kind == 0x0800:
            size = (ip[0] & 15) * 4
            total = struct.unpack_from("!H", ip, 2)[0]
            proto = ip[9]
            addrs = [socket.inet_ntoa(ip[12:16]), socket.inet_ntoa(ip[16:20])]
            load = ip[size:total or None]
        elif kind == 0x86dd:
            total = struct.unpack_from("!H", ip, 4)[0]
            proto = ip[6]
            addrs = [socket.inet_ntop(socket.AF_INET6, ip[8:24]),
                     socket.inet_ntop(socket.AF_INET6, ip[24:40])]
            load = ip[40:40 + total if total else None]
        else:
            return
        pkt = _Packet(self, t, wall, *addrs)
        if proto == 17:
            self._udp(pkt, load, found)
        elif proto == 6:
            self._tcp(pkt, load, found)
        elif proto in (1, 58):
            self._icmp(pkt, load, kind == 0x86dd, found)

    def _ports(self, pkt, load):
        pkt.sport, pkt.dport = struct.unpack_from("!HH", load)
        return pkt.sport in self.ports or pkt.dport in self.ports

    def _udp(self, pkt, load, found):
        if not self._ports(pkt, load):
            return
        pkt.proto = "udp"
        data = load[8:]
        if len(data) >= 20 and data[4:8] == b"\x21\x12\xa4\x42":
            kind = struct.unpack_from("!H", data)[0]
            name = {0x0001: "request", 0x0101: "response",
                    0x0111: "error"}.get(kind, "0x%04x" % kind)
            found.append(Event(pkt, "stun", name))
        elif not data.strip(b"\r\n\0 "):
            found.append(Event(pkt, "ping", "%d bytes" % len(data)))
        elif _is_sip(data):
            found.append(Sip(pkt, data))
        else:
            found.append(Event(pkt, "data", repr(data[:40])))

    def _tcp(self, pkt, load, found):
        if not self._ports(pkt, load):
            return
        pkt.proto = "tcp"
        seq = struct.unpack_from("!I", load, 4)[0]
        data = load[(load[12] >> 4) * 4:]
        flags = load[13]
        key = (pkt.src_ip, pkt.sport, pkt.dst_ip, pkt.dport)
        stream = self._streams.get(key)
        if flags & 2:
            again = stream is not None and stream.next == seq + 1
            stream = self._streams[key] = _Stream()
            stream.next = (seq + 1) & 0xffffffff
            e = Event(pkt, "syn-ack" if flags & 16 else "syn")
            e.again = again
            found.append(e)
        if stream is None:
            stream = self._streams[key] = _Stream()
            stream.next = seq
        if data:
            self._segment(pkt, stream, seq, data, found)
        if flags & 4:
            found.append(Event(pkt, "rst"))
            self._streams.pop(key, None)
        elif flags & 1:
            found.append(Event(pkt, "fin"))

    def _segment(self, pkt, stream, seq, data, found):
        ahead = (seq - stream.next) & 0xffffffff
        if ahead >= 0x80000000:
            old = 0x100000000 - ahead
            if old >= len(data):
                e = Event(pkt, "data", "%d bytes" % len(data))
                e.again = True
                found.append(e)
                return
            data = data[old:]
        elif ahead:
            stream.early[seq] = data
            return
        while True:
            stream.buf += data
            stream.next = (stream.next + len(data)) & 0xffffffff
            data = stream.early.pop(stream.next, None)
            if data is None:
                break
        self._messages(pkt, stream, found)

    def _messages(self, pkt, stream, found):
        while stream.buf:
            buf = stream.buf
            if stream.tls or (buf[0] in (20, 21, 22, 23)
                              and buf[1:2] in (b"", b"\x03")):
                if not self._tls(pkt, stream, found):
                    return
                continue
            if buf[:1] in b"\r\n":
                if buf.startswith(b"\r\n\r\n"):
                    found.append(Event(pkt, "ping"))
                    stream.buf = buf[4:]
                elif buf.startswith(b"\r\n"):
                    found.append(Event(pkt, "pong"))
                    stream.buf = buf[2:]
                else:
                    return
                continue
            end = buf.find(b"\r\n\r\n")
            if end < 0:
                # a request line may be split, and is known by its end
                if (b"\r\n" in buf or len(buf) > 2048) and not _is_sip(buf):
                    found.append(Event(pkt, "data", repr(buf[:40])))
                    stream.buf = b""
                return
            m = re.search(rb"\r\n(?:content-length|l)\s*:\s*(\d+)",
                          buf[:end + 2], re.I)
            size = end + 4 + (int(m[1]) if m else 0)
            if len(buf) < size:
                return
            if _is_sip(buf):
                found.append(Sip(pkt, buf[:size]))
            else:
                found.append(Event(pkt, "data", repr(buf[:40])))
            stream.buf = buf[size:]

    def _tls(self, pkt, stream, found):
        """Take one whole TLS record off; False if it is not all there."""
        stream.tls = True
        if len(stream.buf) < 5:
            return False
        kind, _, size = struct.unpack_from("!BHH", stream.buf)
        if len(stream.buf) < 5 + size:
            return False
        name = {20: "change-cipher", 21: "alert", 22: "handshake",
                23: "application"}.get(kind, str(kind))
        found.append(Event(pkt, "tls", "%s %d bytes" % (name, size)))
        stream.buf = stream.buf[5 + size:]
        return True

    def _icmp(self, pkt, load, v6, found):
        kind, code = load[0], load[1]
        if kind != (1 if v6 else 3):
            return
        inner = load[8:]
        size, proto = ((40, inner[6]) if v6
                       else ((inner[0] & 15) * 4, inner[9]))
        sport, dport = struct.unpack_from("!HH", inner, size)
        if sport not in self.ports and dport not in self.ports:
            return
        pkt.proto = "icmp"
        found.append(Event(pkt, "unreachable", "code %d about %s %d -> %d" % (
            code, {6: "tcp", 17: "udp"}.get(proto, proto), sport, dport)))

    # -- questions -----------------------------------------------------------

    def now(self):
        """A time to give as after= later."""
        return time.monotonic()

    def forget(self, before):
        """Drop what is older: a run of hours is not kept as a whole."""
        with self._news:
            keep = bisect.bisect_left(self.events, before, key=lambda x: x.t)
            del self.events[:keep]

    def find(self, match=None, kind=None, src=None, dst=None, after=0.0,
             before=float("inf"), proto=None, port=None):
        """Events that fit. src and dst are hosts or their names or
        addresses; match is a function of the event."""
        with self._news:
            events = list(self.events)
        return [e for e in events
                if _fits(e, match, kind, src, dst, after, before, proto,
                         port)]

    def sip(self, method=None, status=None, request=None, user=None,
            call_id=None, expires=None, match=None, **kw):
        """SIP messages that fit. method alone gives requests and responses;
        request=True or a status tells them apart; user is that of From;
        status may be a number or a class such as "2xx"."""
        def fits(e):
            return (e.sip
                    and (method is None or e.method == method)
                    and (request is None or e.request == request)
                    and (status is None or _status(e.status, status))
                    and (user is None or e.user == str(user))
                    and (call_id is None or e.call_id == call_id)
                    and (expires is None or e.expires == expires)
                    and (match is None or match(e)))
        return self.find(fits, **kw)

    def wait(self, query, timeout=5.0, what=""):
        """Wait until query() returns something true and return that.

        w.wait(lambda: w.sip("REGISTER", status=200, dst="phone"))
        """
        end = time.monotonic() + slack(timeout)
        while True:
            with self._news:
                seen = len(self.events)
            value = query()
            if value:
                return value
            left = end - time.monotonic()
            if left <= 0:
                raise Timeout("not on the wire within %.1f s: %s\n%s" % (
                    timeout, what or "what was asked for", self.ladder(20)))
            with self._news:
                if len(self.events) == seen:
                    self._news.wait(left)
            time.sleep(0.001)       # let a burst come in whole

    def wait_sip(self, method=None, timeout=5.0, what="", **kw):
        """Wait for a SIP message that fits (as in sip()); return the first."""
        return self.wait(lambda: self.sip(method, **kw), timeout,
                         what or "%s %s" % (method, kw))[0]

    def wait_kind(self, kind, timeout=5.0, what="", **kw):
        return self.wait(lambda: self.find(kind=kind, **kw), timeout,
                         what or "%s %s" % (kind, kw))[0]

    def settle(self, quiet=0.05, timeout=5.0):
        """Wait until nothing new was seen for so many seconds."""
        end = time.monotonic() + slack(timeout)
        while time.monotonic() < end:
            with self._news:
                seen = len(self.events)
                self._news.wait(quiet)
                if len(self.events) == seen:
                    return
        raise Timeout("the wire is not quiet within %.1f s" % timeout)

    # -- for people -----------------------------------------------------------

    def ladder(self, last=None):
        """The events as lines of text: seconds since the first, who to whom."""
        with self._news:
            events = list(self.events)
        zero = events[0].t if events else 0
        out = []
        for e in events[-last:] if last else events:
            out.append("%9.4f  %-16s > %-16s %-4s %s" % (
                e.t - zero, "%s:%d" % (e.src, e.sport),
                "%s:%d" % (e.dst, e.dport), e.proto, e.summary()))
        return "\n".join(out)

    def dump(self, path):
        """Write the ladder, and below it every SIP message in full."""
        with self._news:
            events = list(self.events)
        with open(path, "w") as f:
            f.write(self.ladder() + "\n\n")
            for e in events:
                if e.sip:
                    f.write("=== %.6f %s:%d > %s:%d %s\n%s\n" % (
                        e.t, e.src, e.sport, e.dst, e.dport, e.proto,
                        e.raw.decode("utf-8", "replace")))


def _is_sip(data):
    return (data.startswith(b"SIP/2.0 ")
            or re.match(rb"[A-Z]+ \S+ SIP/2\.0\r\n", data) is not None)


def _status(have, want):
    if have is None:
        return False
    if isinstance(want, str):
        return str(have)[0] == want[0]
    return have == want


def _place(value):
    return getattr(value, "name", value)


def _fits(e, match, kind, src, dst, after, before, proto, port):
    return (after < e.t < before
            and (kind is None or e.kind == kind)
            and (src is None or _place(src) in (e.src, e.src_ip))
            and (dst is None or _place(dst) in (e.dst, e.dst_ip))
            and (proto is None or e.proto == proto)
            and (port is None or port in (e.sport, e.dport))
            and (match is None or match(e)))


def _attach(sock, ports):
    """Keep RTP and the like out in the kernel: IPv4 UDP and TCP packets pass
    only with a port of the range; all else (IPv6, ICMP) passes."""
    low, high = min(ports), max(ports)
    prog = [
        (0x28, 0, 0, 12),               # ethertype
        (0x15, 0, 10, 0x0800),          # not IPv4: pass
        (0x30, 0, 0, 23),               # protocol
        (0x15, 1, 0, 17),
        (0x15, 0, 7, 6),                # neither UDP nor TCP: pass
        (0xb1, 0, 0, 14),               # x = length of the IP header
        (0x48, 0, 0, 14),               # source port
        (0x35, 0, 1, low),
        (0x25, 0, 3, high),             # within: pass
        (0x48, 0, 0, 16),               # destination port
        (0x35, 0, 2, low),              # below: drop
        (0x25, 1, 0, high),             # above: drop
        (0x06, 0, 0, 0x40000),
        (0x06, 0, 0, 0),
    ]
    code = b"".join(struct.pack("HBBI", *ins) for ins in prog)
    buf = ctypes.create_string_buffer(code)
    fprog = struct.pack("HxxxxxxP" if ctypes.sizeof(ctypes.c_void_p) == 8
                        else "HxxP", len(prog), ctypes.addressof(buf))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)
