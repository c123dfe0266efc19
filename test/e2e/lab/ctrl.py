"""Client of baresip's ctrl_tcp module: JSON in netstrings over TCP.

baresip serves one such client at a time, a new one throws the old one out.
"""

import itertools
import json
import socket
import threading
import time

from .pace import slack
from .wait import Timeout


class CommandError(RuntimeError):
    """baresip answered a command with ok=false; the text is its answer."""


class Event(dict):
    """One event as baresip sent it, with the time of arrival in .t."""

    def __init__(self, t, fields):
        super().__init__(fields)
        self.t = t

    @property
    def type(self):
        return self.get("type", "")

    @property
    def param(self):
        return self.get("param", "")


class Ctrl:
    def __init__(self, host, port=4444, timeout=5.0, alive=lambda: True):
        """Connect inside the host's namespace. Tries for so long, and as
        long as alive() is true."""
        self._sock = host.inside(lambda: _connect(port, timeout, alive))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.settimeout(None)
        self.events = []
        self._replies = {}
        self._news = threading.Condition()
        self._tokens = itertools.count(1)
        self._send_lock = threading.Lock()
        self.closed = False
        self._thread = threading.Thread(target=self._read, daemon=True,
                                        name="ctrl-" + host.name)
        self._thread.start()

    def close(self):
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._thread.join(2)
        self._sock.close()

    # -- receiving ---------------------------------------------------------

    def _read(self):
        buf = b""
        try:
            while True:
                data = self._sock.recv(65536)
                if not data:
                    break
                now = time.monotonic()
                buf += data
                while True:
                    text, buf = _netstring(buf)
                    if text is None:
                        break
                    self._take(now, text)
        except (OSError, ValueError):
            pass
        with self._news:
            self.closed = True
            self._news.notify_all()

    def _take(self, now, text):
        try:
            msg = json.loads(text.decode("utf-8", "replace"), strict=False)
        except ValueError:
            msg = {"event": True, "type": "?bad-json",
                   "param": repr(text)}
        with self._news:
            if msg.get("response"):
                self._replies[msg.get("token")] = msg
            else:
                self.events.append(Event(now, msg))
            self._news.notify_all()

    # -- commands ----------------------------------------------------------

    def cmd(self, command, params=None, timeout=5.0):
        """Run a command and return its text; CommandError if it failed."""
        msg = self.call(command, params, timeout)
        if not msg.get("ok"):
            raise CommandError(msg.get("data", ""))
        return msg.get("data", "")

    def call(self, command, params=None, timeout=5.0):
        """Run a command and return the whole answer."""
        token = "t%d" % next(self._tokens)
        msg = {"command": command, "token": token}
        if params is not None:
            msg["params"] = str(params)
        data = json.dumps(msg).encode()
        with self._send_lock:
            self._sock.sendall(b"%d:%s," % (len(data), data))
        end = time.monotonic() + slack(timeout)
        with self._news:
            while token not in self._replies:
                left = end - time.monotonic()
                if self.closed:
                    raise ConnectionError("baresip closed the connection "
                                          "during " + command)
                if left <= 0:
                    raise Timeout("no answer to %s %s within %.1f s"
                                  % (command, params or "", timeout))
                self._news.wait(left)
            return self._replies.pop(token)

    # -- events ------------------------------------------------------------

    def find(self, type=None, after=0.0, match=None, **fields):
        """Events so far that fit; match is a function of the event."""
        with self._news:
            return [e for e in self.events
                    if _fits(e, type, after, match, fields)]

    def wait_event(self, type=None, timeout=5.0, after=0.0, match=None,
                   **fields):
        """Wait for the first event that fits (already seen ones count)."""
        end = time.monotonic() + slack(timeout)
        with self._news:
            while True:
                for e in self.events:
                    if _fits(e, type, after, match, fields):
                        return e
                left = end - time.monotonic()
                if left <= 0 or self.closed:
                    raise Timeout(
                        "no event %s %s within %.1f s; seen: %s"
                        % (type or "", fields or "", timeout,
                           [(e.type, e.param) for e in self.events
                            if e.t > after][-12:]))
                self._news.wait(left)


def _connect(port, timeout, alive):
    """Connect as soon as baresip listens."""
    end = time.monotonic() + slack(timeout)
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 2)
        except ConnectionRefusedError:
            if time.monotonic() > end or not alive():
                raise
            time.sleep(0.001)


def _fits(e, type, after, match, fields):
    return (e.t > after and (type is None or e.type == type)
            and all(e.get(k) == v for k, v in fields.items())
            and (match is None or match(e)))


def _netstring(buf):
    """Split one netstring off: (text or None, rest)."""
    head, colon, rest = buf.partition(b":")
    if not colon:
        if len(head) > 10:
            raise ValueError("not a netstring")
        return None, buf
    n = int(head)
    if len(rest) < n + 1:
        return None, buf
    if rest[n:n + 1] != b",":
        raise ValueError("not a netstring")
    return rest[:n], rest[n + 1:]
