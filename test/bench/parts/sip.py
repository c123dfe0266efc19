"""SIP by hand: the floor of the network, a caller and somebody to call."""

import hashlib
import random
import re
import socket
import ssl
import threading
import time

DOMAIN = "pbx.example.com"
SDP = ("v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n"
       "m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n")


def token():
    return "%x" % random.getrandbits(60)


def header(text, name, default=""):
    m = re.search(r"^%s[ \t]*:[ \t]*(.*?)\r?$" % name, text, re.M | re.I)
    return m[1].strip() if m else default


def headers(text, name):
    return [x.strip() for x in re.findall(
        r"^%s[ \t]*:[ \t]*(.*?)\r?$" % name, text, re.M | re.I)]


def status(text):
    m = re.match(r"SIP/2\.0 (\d+)", text)
    return int(m[1]) if m else None


def digest(challenge, user, password, method, uri):
    """Authorization for a challenge without qop (RFC 2617 3.2.2.1)."""
    def param(name):
        return re.search(r'%s="([^"]*)"' % name, challenge)[1]

    def md5(text):
        return hashlib.md5(text.encode()).hexdigest()

    realm, nonce = param("realm"), param("nonce")
    answer = md5("%s:%s:%s" % (md5("%s:%s:%s" % (user, realm, password)),
                               nonce, md5("%s:%s" % (method, uri))))
    return ('Digest username="%s",realm="%s",nonce="%s",uri="%s",'
            'response="%s"' % (user, realm, nonce, uri, answer))


class Floor:
    """What any phone has to do, and nothing else: connect, REGISTER, 401,
    REGISTER, 200. Each call of run() is a new connection (UDP: a new
    socket)."""

    def __init__(self, host, server, user, transport, cafile=None):
        self.host, self.server, self.user = host, server, user
        self.transport = transport
        self.cafile = cafile

    def _open(self):
        port = 5061 if self.transport == "tls" else 5060
        if self.transport == "udp":
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.settimeout(5)
            s.connect((self.server.ip, port))
            return s
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        s.settimeout(5)
        s.connect((self.server.ip, port))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.transport == "tls":
            ctx = ssl.create_default_context(cafile=self.cafile)
            s = ctx.wrap_socket(s, server_hostname=DOMAIN)
        return s

    def run(self):
        """Seconds from the first packet to the 200."""
        return self.host.inside(self._run)

    def _run(self):
        t = time.monotonic()
        s = self._open()
        try:
            uri = "sip:" + DOMAIN
            call_id, tag = token(), token()
            ip, port = s.getsockname()[:2]
            auth = ""
            for cseq in (1, 2):
                s.sendall((
                    "REGISTER %s SIP/2.0\r\n"
                    "Via: SIP/2.0/%s %s:%d;branch=z9hG4bK%s;rport\r\n"
                    "Max-Forwards: 70\r\n"
                    "Route: <sip:%s:%d;transport=%s;lr>\r\n"
                    "To: <sip:%s@%s>\r\nFrom: <sip:%s@%s>;tag=%s\r\n"
                    "Call-ID: %s\r\nCSeq: %d REGISTER\r\n"
                    "Contact: <sip:%s@%s:%d;transport=%s>;expires=3600;"
                    "+sip.instance=\"<urn:uuid:00000000-0000-4000-8000-"
                    "%012d>\";reg-id=1\r\n"
                    "Supported: outbound, path\r\n%s"
                    "Content-Length: 0\r\n\r\n" % (
                        uri, self.transport.upper(), ip, port, token(),
                        self.server.ip,
                        5061 if self.transport == "tls" else 5060,
                        self.transport,
                        self.user, DOMAIN, self.user, DOMAIN, tag,
                        call_id, cseq, self.user, ip, port, self.transport,
                        self.user, auth)).encode())
                text = ""
                while "\r\n\r\n" not in text:
                    got = s.recv(65536)
                    if not got:
                        raise OSError("closed")
                    text += got.decode("utf-8", "replace")
                code = status(text)
                if code == 200:
                    return time.monotonic() - t
                if code != 401 or cseq == 2:
                    raise RuntimeError("REGISTER: %s" % text[:80])
                auth = "Authorization: %s\r\n" % digest(
                    header(text, "WWW-Authenticate"), self.user,
                    "secret%s" % self.user, "REGISTER", uri)
        finally:
            s.close()


class Agent:
    """A SIP user agent over UDP on a host, in a thread: answers every call
    and ends it, makes calls and ends them when they are answered."""

    def __init__(self, host, server, user=200, port=5070):
        self.host, self.server, self.user, self.port = host, server, user, port
        self.answered = []      # (time, user of From): calls that came in
        self._calls = {}        # Call-ID -> Attempt
        self._replies = {}
        self._news = threading.Condition()
        self._done = {}
        self.name = "agent-" + host.name

        def bind():
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            s.bind((host.ip, port))
            s.settimeout(0.2)
            return s
        self._s = host.inside(bind)
        self._stop = False
        self._thread = threading.Thread(target=self._read, daemon=True,
                                        name=self.name)
        self._thread.start()

    def forget(self):
        """Calls of earlier rounds."""
        self._calls.clear()
        self._done.clear()
        self.answered.clear()

    def stop(self):
        self._stop = True
        self._thread.join(2)
        self._s.close()

    # -- sending -----------------------------------------------------------

    def _send(self, text, addr=None):
        self._s.sendto(text.encode(), addr or (self.server.ip, 5060))

    def _via(self):
        return "Via: SIP/2.0/UDP %s:%d;branch=z9hG4bK%s;rport\r\n" % (
            self.host.ip, self.port, token())

    def register(self):
        """Register at the server; returns when it is done."""
        call_id, uri, auth = token(), "sip:" + DOMAIN, ""
        for cseq in (1, 2):
            self._send(
                "REGISTER %s SIP/2.0\r\n%sMax-Forwards: 70\r\n"
                "To: <sip:%s@%s>\r\nFrom: <sip:%s@%s>;tag=1\r\n"
                "Call-ID: %s\r\nCSeq: %d REGISTER\r\n"
                "Contact: <sip:%s@%s:%d>;expires=7200\r\n%s"
                "Content-Length: 0\r\n\r\n" % (
                    uri, self._via(), self.user, DOMAIN, self.user, DOMAIN,
                    call_id, cseq, self.user, self.host.ip, self.port, auth))
            end = time.monotonic() + 2
            with self._news:
                while (call_id, cseq) not in self._replies:
                    if not self._news.wait(end - time.monotonic()):
                        raise TimeoutError("no answer to REGISTER")
                text = self._replies.pop((call_id, cseq))
            if status(text) == 200:
                return self
            auth = "Authorization: %s\r\n" % digest(
                header(text, "WWW-Authenticate"), self.user,
                "secret%s" % self.user, "REGISTER", uri)
        raise RuntimeError("REGISTER: " + text[:80])

    def call(self, user):
        """Call a user; returns the attempt at once."""
        a = Attempt(user)
        self._calls[a.call_id] = a
        sdp = SDP.format(ip=self.host.ip, port=40000)
        a.invite = (
            "INVITE sip:%s@%s SIP/2.0\r\n%sMax-Forwards: 70\r\n"
            "To: <sip:%s@%s>\r\nFrom: <sip:caller@far.example.net>;tag=%s\r\n"
            "Call-ID: %s\r\nCSeq: 1 INVITE\r\n"
            "Contact: <sip:caller@%s:%d>\r\n"
            "Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s"
            % (user, DOMAIN, self._via(), user, DOMAIN, a.tag, a.call_id,
               self.host.ip, self.port, len(sdp), sdp))
        a.t = time.monotonic()
        self._send(a.invite)
        return a

    # -- receiving ---------------------------------------------------------

    def _read(self):
        while not self._stop:
            try:
                data, addr = self._s.recvfrom(65536)
            except TimeoutError:
                continue
            except OSError:
                break
            text = data.decode("utf-8", "replace")
            try:
                self._take(text, addr, time.monotonic())
            except (TypeError, IndexError, OSError):
                pass            # not for us

    def _take(self, text, addr, now):
        call_id = header(text, "Call-ID")
        cseq, _, method = header(text, "CSeq").partition(" ")
        if status(text) is not None:
            if method == "INVITE":
                self._invite_answered(call_id, text, now)
            elif method == "REGISTER":
                with self._news:
                    self._replies[(call_id, int(cseq))] = text
                    self._news.notify_all()
            return
        if text.startswith("INVITE "):
            self._invited(call_id, text, addr, now)
        elif text.startswith("ACK "):
            self._acked(call_id)
        else:
            self._send(self._reply(text, "200 OK"), addr)

    def _invite_answered(self, call_id, text, now):
        a = self._calls.get(call_id)
        if a is None or status(text) < 200:
            return
        if status(text) >= 300:
            top = header(a.invite, "Via")
            self._send("ACK %s SIP/2.0\r\nVia: %s\r\nMax-Forwards: 70\r\n"
                       "To: %s\r\nFrom: %s\r\nCall-ID: %s\r\nCSeq: 1 ACK\r\n"
                       "Content-Length: 0\r\n\r\n" % (
                           a.invite.split()[1], top, header(text, "To"),
                           header(text, "From"), call_id))
            a.code = status(text)
            return
        if a.answered is None:
            a.answered = now
            a.code = 200
            a.answer.set()
        # in the dialog: the route set is that of the 200, reversed
        rr = ",".join(headers(text, "Record-Route"))
        routes = [x for x in re.findall(r"<[^>]*>", rr)][::-1]
        target = re.search(r"<([^>]*)>", header(text, "Contact"))[1]
        addr = None
        if routes:
            m = re.match(r"<sips?:(?:[^@>]*@)?([\d.]+)(?::(\d+))?", routes[0])
            addr = (m[1], int(m[2] or 5060))
        else:
            m = re.match(r"sips?:(?:[^@>]*@)?([\d.]+)(?::(\d+))?", target)
            addr = (m[1], int(m[2] or 5060))
        for method, cseq in (("ACK", 1), ("BYE", 2)):
            self._send("%s %s SIP/2.0\r\n%sMax-Forwards: 70\r\n%s"
                       "To: %s\r\nFrom: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\n"
                       "Content-Length: 0\r\n\r\n" % (
                           method, target, self._via(),
                           "".join("Route: %s\r\n" % r for r in routes),
                           header(text, "To"), header(text, "From"), call_id,
                           cseq, method), addr)

    def _reply(self, text, line, extra="", body=""):
        to = header(text, "To")
        if ";tag=" not in to:
            to += ";tag=callee"
        return "SIP/2.0 %s\r\n%s%sTo: %s\r\nFrom: %s\r\nCall-ID: %s\r\n" \
            "CSeq: %s\r\n%sContent-Length: %d\r\n\r\n%s" % (
                line, "".join("Via: %s\r\n" % v for v in headers(text, "Via")),
                "".join("Record-Route: %s\r\n" % v
                        for v in headers(text, "Record-Route")),
                to, header(text, "From"), header(text, "Call-ID"),
                header(text, "CSeq"), extra, len(body), body)

    def _invited(self, call_id, text, addr, now):
        m = re.search(r"sips?:([^@>;]+)@", header(text, "From"))
        if call_id not in self._done:
            self._done[call_id] = text
            self.answered.append((now, m[1] if m else ""))
        self._send(self._reply(
            text, "200 OK",
            "Contact: <sip:%s@%s:%d>\r\nContent-Type: application/sdp\r\n"
            % (self.user, self.host.ip, self.port),
            SDP.format(ip=self.host.ip, port=40002)), addr)

    def _acked(self, call_id):
        """Hang up what was answered."""
        text = self._done.get(call_id)
        if not text or text == "bye":
            return
        self._done[call_id] = "bye"
        rr = ",".join(headers(text, "Record-Route"))
        routes = re.findall(r"<[^>]*>", rr)
        target = re.search(r"<([^>]*)>", header(text, "Contact"))[1]
        first = routes[0] if routes else "<%s>" % target
        m = re.match(r"<sips?:(?:[^@>]*@)?([\d.]+)(?::(\d+))?", first)
        self._send("BYE %s SIP/2.0\r\n%sMax-Forwards: 70\r\n%s"
                   "To: %s\r\nFrom: %s;tag=callee\r\nCall-ID: %s\r\n"
                   "CSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n" % (
                       target, self._via(),
                       "".join("Route: %s\r\n" % r for r in routes),
                       header(text, "From"), header(text, "To"), call_id),
                   (m[1], int(m[2] or 5060)))


class Attempt:
    def __init__(self, user):
        self.user = user
        self.call_id = token()
        self.tag = token()
        self.t = 0.0
        self.answered = None
        self.answer = threading.Event()
        self.code = None
        self.invite = ""
