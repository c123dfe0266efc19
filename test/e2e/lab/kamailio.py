"""A Kamailio server on a host of the lab."""

import contextlib
import json
import os
import random
import re
import socket
import sqlite3
import threading

from . import wait
from .proc import Proc

CONFIGS = os.path.normpath(os.path.join(
    os.path.dirname(os.path.abspath(__file__)),
    "../../../contrib/kamailio"))


class RpcError(RuntimeError):
    """The server answered an RPC with an error."""


class Kamailio:
    """role is the name of a file in contrib/kamailio: "combined", "edge",
    "registrar" or "shared". defines are the settings of that file: True sets
    a bare define, None or False none, text is quoted, numbers are given as
    they are. PRESENCE_DB=True makes a database of its own."""

    def __init__(self, host, role, log_dir, defines=None, ipv6=True):
        self.host = host
        self.role = role
        self.name = "%s-%s" % (role, host.name)
        self.log_dir = log_dir
        self.run_dir = os.path.join(log_dir, "run-" + self.name)
        os.makedirs(self.run_dir, exist_ok=True)
        self.defines = {"LISTEN_IP": _Raw(host.ip),
                        "SERVER_HEADER": "Server: " + self.name}
        if ipv6:
            self.defines["LISTEN_IP6"] = _Raw("[%s]" % host.ip6)
        self.defines.update(defines or {})
        self.aliases = list(self.defines.pop("ALIASES", []))
        self.defines = {k: v for k, v in self.defines.items()
                        if v is not None and v is not False}
        if self.defines.get("PRESENCE_DB") is True:
            self.defines["PRESENCE_DB"] = self._database()
        self.port = int(self.defines.get("SIP_PORT", 5060))
        self.rpc_path = os.path.join(self.run_dir, "rpc.sock")
        self.dump = None        # see dump.py
        self.proc = None
        self._local = threading.local()
        self._socks = []        # of all threads
        self._injected = set()
        self._etags = {}

    def __repr__(self):
        return "<%s>" % self.name

    # -- life ----------------------------------------------------------------

    def argv(self):
        argv = ["kamailio", "-DD", "-E", "-m", "64", "-M", "8",
                "-Y", self.run_dir, "-w", self.run_dir,
                "-f", os.path.join(CONFIGS, self.role + ".cfg")]
        for key, value in self.defines.items():
            argv += ["-A", key if value is True else "%s=%s" % (
                key, value if isinstance(value, (int, _Raw))
                else '"%s"' % value)]
        for alias in self.aliases:
            argv.append("--alias=" + alias)
        return argv + (self.dump.argv() if self.dump else [])

    def start(self, timeout=40.0):
        """Start it (on a busy machine that may last); returns once it answers OPTIONS and accepts TCP."""
        if self.proc and self.proc.running:
            raise RuntimeError("%s runs already" % self.name)
        for name in ("rpc.sock", "ctl.sock"):
            try:
                os.unlink(os.path.join(self.run_dir, name))
            except FileNotFoundError:
                pass
        self.proc = Proc(self.argv(), self.name,
                         os.path.join(self.log_dir, self.name + ".log"),
                         host=self.host)
        try:
            self.wait_ready(timeout)
        except wait.Timeout:
            text = self.proc.output()
            self.kill()
            raise RuntimeError("%s does not start:\n%s"
                               % (self.name, text[-2000:])) from None
        return self

    def wait_ready(self, timeout=40.0):
        addr = (self.host.ip, self.port)

        def answers():
            if not self.proc.running:
                raise wait.Timeout("%s ended" % self.name)
            return self._ask(_OPTIONS % (*addr, addr[0]),
                             timeout=0.05).startswith("SIP/2.0 200")

        wait.until(answers, timeout, "%s answers OPTIONS" % self.name,
                   every=0.005)

        def accepts():
            with self.host.inside(lambda: socket.create_connection(addr, 1)):
                return True

        wait.until(accepts, timeout, "%s accepts TCP" % self.name)
        wait.until(lambda: self.rpc("core.version"), timeout,
                   "%s answers RPC" % self.name)

    def kill(self, reset=False):
        """Crash: SIGKILL to all processes of the server.

        The kernel then closes its connections with FIN (RST where unread
        data was left or more comes in). reset=True sends RST at once.
        """
        if self.proc:
            if reset:
                self.proc.stop()
                self.host.reset_tcp("sport", "= :%d" % self.port)
            self.proc.kill()

    def stop(self):
        """Orderly end."""
        if self.proc:
            self.proc.terminate()

    def close(self):
        """For good: lets go of what the lab itself has open."""
        for s in self._socks:
            s.close()

    def restart(self):
        self.kill()
        return self.start()

    def hang(self):
        """Freeze all processes: the kernel still accepts connections and
        acknowledges data, but no SIP answer comes."""
        self.proc.stop()

    def cont(self):
        self.proc.cont()

    # -- RPC -------------------------------------------------------------------

    def rpc(self, method, *params, timeout=1.0):
        """One JSON-RPC call; every calling thread has its own socket."""
        sock = getattr(self._local, "sock", None)
        if sock is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            path = os.path.join(self.run_dir, "c%x" % random.getrandbits(40))
            sock.bind(path)
            self._local.sock = sock
            self._socks.append(sock)
        sock.settimeout(timeout)
        ident = random.getrandbits(31)
        sock.sendto(json.dumps({"jsonrpc": "2.0", "method": method,
                                "params": list(params),
                                "id": ident}).encode(), self.rpc_path)
        while True:
            reply = json.loads(sock.recv(262144))
            if reply.get("id") == ident:
                break       # others are late answers to earlier questions
        if "error" in reply:
            raise RpcError("%s: %s %s" % (self.name, method,
                                          reply["error"].get("message")))
        return reply.get("result")

    def bindings(self, aor, timeout=1.0):
        """The bindings of an AOR (its user part unless USE_DOMAIN is 1).

        Raises OSError if the server does not answer, so that "no binding"
        and "no answer" cannot be taken for each other.
        """
        try:
            r = self.rpc("ul.lookup", "location", aor, timeout=timeout)
        except RpcError as e:
            if "AOR not found" in str(e):
                return []
            raise
        return [_binding(c["Contact"]) for c in r["Contacts"]]

    def remove_bindings(self, aor):
        self.rpc("ul.rm", "location", aor)

    def respond(self, method, code, retry_after=None, user=None, header=None):
        """Answer this method with this code from now on; 0 says nothing.

        user: only requests whose From has this user. header: one more header
        line for the answer.
        """
        key = "%s:%s" % (method, user) if user else method
        for name, value in ((key, code), (key + ":retry-after", retry_after),
                            (key + ":header", header)):
            if value is not None:
                self.rpc("htable.sets", "faults", name, str(value))
                self._injected.add(name)

    def unasked(self):
        """Answer each request with what nobody asked for, too."""
        self.rpc("htable.sets", "faults", "unasked", "1")
        self._injected.add("unasked")

    def clear_responses(self):
        for name in self._injected:
            try:
                self.rpc("htable.delete", "faults", name)
            except RpcError:
                pass        # lost with a restart
        self._injected.clear()

    def publish(self, user, state, domain="lab", expires=3600):
        """Publish a state (see bodies.py) for a user, replacing the one that
        was published before for the same event. expires=0 takes it away."""
        key = (str(user), state.event)
        extra = ""
        if key in self._etags:
            extra = "SIP-If-Match: %s\r\n" % self._etags[key]
        body = state.body if expires else ""
        # its presence data base gives up at once where it is locked
        for _ in range(10):
            answer = self._ask((
                "PUBLISH sip:{user}@{domain} SIP/2.0\r\n"
                "Via: {via}\r\nMax-Forwards: 5\r\n"
                "From: <sip:publisher@{domain}>;tag=p\r\n"
                "To: <sip:{user}@{domain}>\r\n"
                "Call-ID: {unique}\r\nCSeq: 1 PUBLISH\r\n"
                "Event: {event}\r\nExpires: {expires}\r\n" + extra
                + ("Content-Type: {type}\r\n" if body else "")
                + "Content-Length: {size}\r\n\r\n").format(
                    user=user, domain=domain, via="{via}", unique="{unique}",
                    event=state.event, expires=expires, type=state.content_type,
                    size=len(body.encode())), body)
            if not answer.startswith("SIP/2.0 500"):
                break
        m = re.search(r"^SIP-ETag:\s*(\S+)", answer, re.M | re.I)
        if not answer.startswith("SIP/2.0 200") or not m:
            raise RuntimeError("%s: PUBLISH: %s" % (self.name, answer[:300]))
        if expires:
            self._etags[key] = m[1]
        else:
            self._etags.pop(key, None)

    def _ask(self, head, body="", timeout=2.0):
        """Send one request by UDP from the server's own host (unseen by the
        wire log) and return the final answer."""
        with self._udp() as s:
            unique = "%x" % random.getrandbits(60)
            via = "SIP/2.0/UDP %s:%d;branch=z9hG4bK%s;rport" % (
                *s.getsockname(), unique)
            s.settimeout(timeout)
            s.send((head.replace("{via}", via).replace("{unique}", unique)
                    + body).encode())
            while True:
                answer = s.recv(65536).decode("utf-8", "replace")
                if not answer.startswith("SIP/2.0 1"):
                    return answer

    def _udp(self):
        """A UDP socket on the server's host, connected to the server."""
        def connect():
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.connect((self.host.ip, self.port))
            return s
        return self.host.inside(connect)

    def _database(self):
        path = os.path.join(self.run_dir, "presence.db")
        with contextlib.closing(sqlite3.connect(path)) as db:
            for name in ("standard", "presence"):
                with open("/usr/share/kamailio/db_sqlite/%s-create.sql"
                          % name) as f:
                    db.executescript(f.read())
        return "sqlite:///" + path

    def tcp_connections(self):
        """Number of TCP connections that the server has open."""
        return int(self.rpc("core.tcp_info")["opened_connections"])


class _Raw(str):
    """A define that is not quoted."""


_OPTIONS = ("OPTIONS sip:%s:%d SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 1\r\n"
            "From: <sip:ready@lab>;tag=1\r\nTo: <sip:%s>\r\n"
            "Call-ID: {unique}\r\nCSeq: 1 OPTIONS\r\n"
            "Content-Length: 0\r\n\r\n")


def _binding(c):
    def known(key):
        value = c.get(key)
        return None if value in (None, "", "[not set]") else value

    expires = c.get("Expires")
    return {
        "contact": c["Address"],
        "expires": int(expires) if re.fullmatch(r"-?\d+", str(expires))
                   else expires,
        "reg_id": int(c.get("Reg-Id") or 0),
        "instance": known("Instance"),
        "path": known("Path"),
        "received": known("Received"),
        "q": c.get("Q"),
        "callid": c.get("Call-ID"),
        "cseq": c.get("CSeq"),
        "socket": known("Socket"),
        "user_agent": known("User-Agent"),
        "ruid": c.get("Ruid"),
        "raw": c,
    }
