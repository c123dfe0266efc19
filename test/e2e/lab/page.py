"""The page that aastra.so serves by HTTP, as programs see it."""

import http.client
import json
import socket
import threading
import time

from . import wait

PORT = 8080


class Reply:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def __repr__(self):
        return "<%d %r>" % (self.status, self.body[:200])

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


class Page:
    """Asked from a host of the lab, by the address and port that it has."""

    def __init__(self, host, address="127.0.0.1", port=PORT, headers=()):
        self.host = host
        self.address = address
        self.port = port
        self.headers = dict(headers)

    def socket(self, timeout=15.0):
        return self.host.inside(lambda: socket.create_connection(
            (self.address, self.port), timeout))

    def ask(self, method, path, body=None, headers=(), timeout=15.0):
        """One request, Host and all; headers=None values leave one out."""
        own = {"Host": "%s:%d" % (self.address, self.port), **self.headers,
               **dict(headers)}
        if isinstance(body, str):
            body = body.encode()
        conn = http.client.HTTPConnection(self.address, self.port)
        conn.sock = self.socket(timeout)
        try:
            conn.putrequest(method, path, skip_host=True,
                            skip_accept_encoding=True)
            if body is not None and "Content-Length" not in own:
                own["Content-Length"] = str(len(body))
            for name, value in own.items():
                if value is not None:
                    conn.putheader(name, value)
            conn.endheaders(body)
            r = conn.getresponse()
            # events have no end
            endless = r.headers["Content-Type"] == "text/event-stream"
            return Reply(r.status, r.headers, b"" if endless else r.read())
        finally:
            conn.close()

    def get(self, path, **kw):
        return self.ask("GET", path, **kw)

    def command(self, text, **kw):
        return self.ask("POST", "/command", text, **kw)

    def raw(self, data, timeout=15.0):
        """Send bytes; returns what comes back, to the end of its head."""
        with self.socket(timeout) as s:
            try:
                s.sendall(data)
                out = b""
                while b"\r\n\r\n" not in out:
                    more = s.recv(65536)
                    if not more:
                        break
                    out += more
                return out
            except ConnectionError:
                return out

    def events(self, **kw):
        return Events(self, **kw)

    def wait_open(self, timeout=5.0):
        wait.until(lambda: self.get("/").status == 200, timeout,
                   "port %d is served" % self.port)

    def wait_closed(self, timeout=5.0):
        def refused():
            try:
                self.socket(1.0).close()
            except ConnectionRefusedError:
                return True
            return False
        wait.until(refused, timeout, "port %d is closed" % self.port)


class Events:
    """A client of the events. items: (time, name, id, value)."""

    def __init__(self, page, headers=(), read=True, rcvbuf=None):
        self.items = []
        self.status = None
        self.ended = False
        self._sock = page.host.inside(lambda: self._connect(page, rcvbuf))
        lines = ["GET /events HTTP/1.1",
                 "Host: %s:%d" % (page.address, page.port)]
        lines += ["%s: %s" % x for x in {**page.headers,
                                         **dict(headers)}.items()]
        self._sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self._thread = None
        if read:
            self._thread = threading.Thread(target=self._read, daemon=True)
            self._thread.start()

    @staticmethod
    def _connect(page, rcvbuf):
        s = socket.socket()
        if rcvbuf:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        s.settimeout(60)
        s.connect((page.address, page.port))
        return s

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._sock.close()
        if self._thread:
            self._thread.join(5)

    def _read(self):
        try:
            with self._sock.makefile("rb") as f:
                self.status = int(f.readline().split()[1])
                while f.readline().strip():
                    pass
                if self.status == 200:
                    self._events(f)
        except (OSError, ValueError, IndexError):
            pass
        self.ended = True

    def _events(self, f):
        name, ident, data = "message", None, []
        for raw in f:
            line = raw.decode().rstrip("\n")
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "id":
                ident = value
            elif field == "data":
                data.append(value)
            elif not line and data:
                self.items.append((time.monotonic(), name, ident,
                                   json.loads("\n".join(data))))
                name, ident, data = "message", None, []

    def named(self, *names):
        return [x for x in list(self.items) if x[1] in names]

    def wait_named(self, name, after=0.0, timeout=10.0, match=None):
        """The value of the first event of that name (that matches)."""
        return wait.until(
            lambda: next((x for x in self.named(name) if x[0] > after
                          and (match is None or match(x[3]))), None),
            timeout, "event " + name)[3]
