"""How a server sees us, by STUN (RFC 5626 4.4.2): for servers that do not say
it in the Via of their answers.

Kamailio does say it, so the server here is a few lines of Python; that
Kamailio's STUN is used as well is shown by test_failover's keep-alives.
"""

import re
import socket
import struct
import threading

import pytest

MAGIC = 0x2112a442
HEADERS = re.compile(r"^(Via|From|To|Call-ID|CSeq): .*\r\n", re.M)


class Server:
    """A UDP edge with outbound support, without RFC 3581."""

    def __init__(self, host, stun=True):
        self.stun = stun
        self.seen_as = ("192.0.2.1", 40000)
        self.asked = 0          # STUN requests
        self.socket = host.inside(lambda: self._bind(host.ip))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    @staticmethod
    def _bind(address):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind((address, 5060))
        s.settimeout(0.1)
        return s

    def stop(self):
        s, self.socket = self.socket, None
        self.thread.join(2)
        s.close()

    def _serve(self):
        s = self.socket
        while self.socket is s:
            try:
                data, peer = s.recvfrom(65536)
            except TimeoutError:
                continue
            if data[:2] == b"\0\1":
                self.asked += 1
                if self.stun:
                    s.sendto(self._mapped(data[8:20]), peer)
            elif data.strip():
                s.sendto(self._answer(data.decode()), peer)

    def _mapped(self, tid):
        address, port = self.seen_as
        ip, = struct.unpack("!I", socket.inet_aton(address))
        attr = struct.pack("!HHBBHI", 0x0020, 8, 0, 1, port ^ MAGIC >> 16,
                           ip ^ MAGIC)
        return struct.pack("!HHI", 0x0101, len(attr), MAGIC) + tid + attr

    @staticmethod
    def _answer(request):
        head = "".join(m[0] for m in HEADERS.finditer(request))
        head = re.sub(r"(?m)^(To: [^\r;]*)\r$", r"\1;tag=x\r", head)
        if request.startswith("REGISTER"):
            contact = re.search(r"(?m)^Contact: (.*)\r$", request)[1]
            gone = re.search(r"(?m)^Expires: 0\r$|expires=0", request)
            head += "Require: outbound\r\n"
            if not gone:
                head += "Contact: %s;expires=3600\r\n" % re.sub(
                    r";expires=\d+", "", contact)
        return ("SIP/2.0 200 OK\r\n" + head + "Content-Length: 0\r\n\r\n"
                ).encode()


@pytest.fixture
def edge(lab):
    server = Server(lab.primary)
    yield server
    server.stop()


def start(lab):
    phone = lab.baresip(
        lab.account(via=lab.primary, transport="udp"), aastra=True,
        config=["sip_outbound_keepalive_timer 1",
                "sip_transaction_timer 1000",
                "sip_line1_backup_outbound_proxy " + lab.backup.ip])
    lab.until(lambda: phone.state(1)["registered"], 5, "registered")
    return phone


def keepalive(phone):
    return phone.state(1)["flows"][0]["keepalive"]


def registers(lab, after=0.0):
    return lab.wire.sip("REGISTER", request=True, src="phone", after=after)


def test_mapping_changed(lab, edge):
    """The flow is registered again in place, at once, and only once."""
    phone = start(lab)
    lab.until(lambda: keepalive(phone) == "stun", 3, "STUN answered")
    first, = registers(lab)

    t = lab.now()
    edge.seen_as = ("192.0.2.1", 40001)
    again = lab.wire.wait_sip("REGISTER", request=True, src="phone", after=t,
                              timeout=4)
    assert again.call_id == first.call_id
    assert again.header("contact") == first.header("contact")
    lab.until(lambda: edge.asked > 5, 8, "more questions")
    assert len(registers(lab)) == 2
    state = phone.state(1)
    assert state["service"] == "primary"
    assert state["counters"]["failovers"] == 0


def test_server_without_stun(lab, edge):
    """It is asked once, and is not taken for dead."""
    edge.stun = False
    phone = start(lab)
    checks = len(lab.wire.sip("OPTIONS", request=True, src="phone"))
    lab.until(lambda: len(lab.wire.sip("OPTIONS", request=True, src="phone"))
              > checks + 3, 8, "more checks")
    # one question, sent at 0 and 0.5 seconds of the transaction timer
    assert 1 <= edge.asked <= 2
    assert keepalive(phone) == "options"
    assert phone.state(1)["service"] == "primary"
    assert len(registers(lab)) == 1


def test_stun_ends(lab, edge):
    """A server that stops answering STUN but answers SIP still works."""
    phone = start(lab)
    lab.until(lambda: keepalive(phone) == "stun", 3, "STUN answered")
    edge.stun = False
    lab.until(lambda: keepalive(phone) == "options", 5, "STUN given up")
    edge.stun = True
    edge.seen_as = ("192.0.2.1", 40002)
    lab.until(lambda: keepalive(phone) == "stun", 5, "STUN again")
    assert phone.state(1)["service"] == "primary"
    assert phone.state(1)["counters"]["failovers"] == 0
