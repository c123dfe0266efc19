"""A SIP server in Python that behaves as badly as a test wants, over UDP and
TCP, on a host of the lab."""

import contextlib
import hashlib
import re
import select
import socket
import threading


class Request:
    """A request that came in: method, uri, headers (lower-case name -> list
    of values), body, raw; send(data) sends bytes back where it came from."""

    def __init__(self, raw, reply):
        self.raw = raw
        self.send = reply
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("utf-8", "replace").split("\r\n")
        self.method, self.uri = (lines[0].split(" ") + ["", ""])[:2]
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers.setdefault(name.strip().lower(), []).append(
                value.strip())

    def header(self, name, default=""):
        return self.headers.get(name, [default])[0]

    @property
    def expires(self):
        m = re.search(r"expires=(\d+)", self.header("contact"))
        return int(m[1] if m else self.header("expires", "3600"))

    def credentials(self):
        """The digest answers to each challenge: [{name: value}]."""
        found = []
        for name in ("authorization", "proxy-authorization"):
            for text in self.headers.get(name, []):
                found.append(dict(re.findall(
                    r'(\w+)="?([^",]*)"?', text.partition(" ")[2])))
        return found

    def right(self, password):
        """Is there an answer, MD5 or SHA-256, with this password?"""
        return any(digest(c, self.method, password) == c.get("response")
                   for c in self.credentials())

    def answer(self, status, reason, *headers, tag="fake", body=""):
        """The bytes of a response."""
        lines = ["SIP/2.0 %d %s" % (status, reason)]
        lines += ["Via: " + v for v in self.headers.get("via", [])]
        to = self.header("to")
        if ";tag=" not in to:
            to += ";tag=" + tag
        lines += ["From: " + self.header("from"), "To: " + to,
                  "Call-ID: " + self.header("call-id"),
                  "CSeq: " + self.header("cseq"), *headers,
                  "Content-Length: %d" % len(body), "", body]
        return "\r\n".join(lines).encode()


def digest(c, method, password):
    use = (hashlib.sha256 if c.get("algorithm", "").upper() == "SHA-256"
           else hashlib.md5)

    def h(text):
        return use(text.encode()).hexdigest()
    ha1 = h("%s:%s:%s" % (c.get("username"), c.get("realm"), password))
    ha2 = h("%s:%s" % (method, c.get("uri")))
    if c.get("qop"):
        return h(":".join([ha1, c.get("nonce", ""), c.get("nc", ""),
                           c.get("cnonce", ""), c["qop"], ha2]))
    return h("%s:%s:%s" % (ha1, c.get("nonce"), ha2))


class Fake:
    """handler(request) returns what is sent back: bytes, a list of them, or
    None. Every request is kept in .requests."""

    def __init__(self, host, handler=None, port=5060):
        self.host = host
        self.handler = handler or usual
        self.requests = []
        self._udp = host.inside(lambda: _udp(port))
        self._tcp = host.inside(lambda: _tcp(port))
        self._conns = {}
        self._stop = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True,
                                        name="fake-" + host.name)

    def start(self):
        self._thread.start()
        return self

    def stop(self):
        if self._udp.fileno() < 0:
            return
        self._stop[0].send(b"x")
        self._thread.join(5)
        for s in [self._udp, self._tcp, *self._stop, *self._conns]:
            s.close()

    def got(self, method=None):
        return [r for r in self.requests
                if method is None or r.method == method]

    def _run(self):
        while True:
            # not select(): descriptors may have numbers above 1023
            socks = {s.fileno(): s for s in [
                self._udp, self._tcp, self._stop[1], *self._conns]}
            poll = select.poll()
            for fd in socks:
                poll.register(fd, select.POLLIN)
            for fd, _ in poll.poll():
                s = socks[fd]
                if s is self._stop[1]:
                    return
                with contextlib.suppress(OSError):
                    self._ready(s)

    def _ready(self, s):
        if s is self._udp:
            data, peer = s.recvfrom(65536)
            self._take(data, lambda x: s.sendto(x, peer))
        elif s is self._tcp:
            conn, _ = s.accept()
            self._conns[conn] = b""
        else:
            self._stream(s)

    def _stream(self, s):
        data = b""
        with contextlib.suppress(OSError):
            data = s.recv(65536)
        if not data:
            del self._conns[s]
            s.close()
            return
        data = self._conns[s] + data
        while True:
            if data.startswith(b"\r\n\r\n"):
                s.sendall(b"\r\n")
                data = data[4:]
                continue
            head, end, rest = data.partition(b"\r\n\r\n")
            m = re.search(rb"content-length: *(\d+)", head, re.I)
            n = int(m[1]) if m else 0
            if not end or len(rest) < n:
                break
            self._take(head + end + rest[:n], s.sendall)
            data = rest[n:]
        self._conns[s] = data

    def _take(self, data, reply):
        if data.strip(b"\r\n") and not data.startswith(b"SIP/2.0"):
            r = Request(data, reply)
            self.requests.append(r)
            out = self.handler(r) or []
            for x in out if isinstance(out, list) else [out]:
                reply(x)


def usual(r):
    """What a server does that lets everybody in."""
    if r.method == "ACK":
        return None
    if r.method == "REGISTER" and r.expires:
        return r.answer(200, "OK", "Contact: " + r.header("contact"))
    if r.method == "SUBSCRIBE":
        return r.answer(202, "Accepted", "Expires: 3600", "Contact: <sip:x@%s>"
                        % re.search(r"@([\d.]+)", r.uri + "@10.77.0.2")[1])
    return r.answer(200, "OK")


def _udp(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("0.0.0.0", port))
    return s


def _tcp(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("0.0.0.0", port))
    s.listen(8)
    return s
