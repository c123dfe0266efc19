"""Where SIP is sent from and listened on: the port on the wire."""

import socket

import pytest

from test_config import SECRET, Files, line

SYM = "sip symmetric udp signaling: %d\n"


def ask(host, to, port):
    """An OPTIONS over UDP, from a host to a port: the status line."""
    def go():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(5)
            s.bind((host.ip, 0))
            s.sendto(("OPTIONS sip:x@%s:%d SIP/2.0\r\n"
                      "Via: SIP/2.0/UDP %s:%d;branch=z9hG4bKask;rport\r\n"
                      "From: <sip:ask@%s>;tag=1\r\nTo: <sip:x@%s>\r\n"
                      "Call-ID: ask\r\nCSeq: 1 OPTIONS\r\n"
                      "Content-Length: 0\r\n\r\n" % (
                          to.ip, port, host.ip, s.getsockname()[1], host.ip,
                          to.ip)).encode(), (to.ip, port))
            return s.recv(2000).decode().split("\r\n")[0]
    return host.inside(go)


def sent_from(lab):
    """The ports that the phone's REGISTERs came from."""
    return {m.sport for m in lab.wire.sip("REGISTER", src="phone",
                                          proto="udp") if m.request}


def phone(lab, keys, config=()):
    f = Files(lab, line(1, lab.primary.ip, password=SECRET % 100) + keys,
              config=config)
    f.registered(100)
    f.phone.wait_registered()
    return f


@pytest.mark.parametrize("keys, port, also", [
    ("", None, None),
    (SYM % 1, 5060, None),
    (SYM % 1 + "sip local port: 5075\n", 5075, None),
    ("sip local port: 5075\n", 5075, None),
    (SYM % 0, None, 5060),
    (SYM % 0 + "sip local port: 5075\n", None, 5075),
    # as the phones do: a backup, so a free port
    (SYM % 1 + "sip line1 backup proxy ip: 10.77.0.3\n", None, 5060),
    # but not with rport
    ("sip rport: 1\nsip line1 backup proxy ip: 10.77.0.3\n", 5060, None),
], ids=["unset", "on", "on-port", "port", "off", "off-port", "backup",
        "backup-rport"])
def test_port(lab, keys, port, also):
    """The source port on the wire, and the port that is listened on. Calls
    come in over the Contact, whichever port that has."""
    f = phone(lab, keys)
    used, = sent_from(lab)
    if port:
        assert used == port
    else:
        assert used not in (5060, 5075)
    assert ask(lab.far, lab.phone, used).startswith("SIP/2.0 ")
    if also:
        assert ask(lab.far, lab.phone, also).startswith("SIP/2.0 ")
    assert ":%d" % used in f.server.bindings("100")[0]["contact"]
    far = lab.far_phone(lab.primary)
    t = lab.now()
    far.dial("sip:100@" + lab.primary.ip)
    lab.wire.wait_sip("INVITE", status=180, src="phone", dst="primary",
                      after=t)
    far.hangup()
    assert f.phone.exit() == 0


def test_sip_listen_wins(lab):
    """A port in baresip's own sip_listen is the one."""
    f = phone(lab, SYM % 1, config=["sip_listen 0.0.0.0:5080"])
    assert sent_from(lab) == {5080}
    assert f.phone.proc.wait_for_line("`sip_listen` .* do not count")
    assert f.phone.exit() == 0


def test_port_taken(lab):
    """A port that another program has: said, and the phone works."""
    holder = lab.phone.inside(lambda: socket.socket(socket.AF_INET,
                                                    socket.SOCK_DGRAM))
    holder.bind((lab.phone.ip, 5060))
    try:
        f = phone(lab, SYM % 1)
        assert not sent_from(lab) & {5060}
        assert f.phone.proc.wait_for_line("port 5060 cannot be had")
    finally:
        holder.close()
    assert f.phone.exit() == 0


def test_given_back(lab):
    """Loaded late, the accounts that are there move to the port; unloaded,
    the port is free again, and they register from baresip's own."""
    f = Files(lab, SYM % 1, [lab.account(110, domain=lab.primary.ip)])
    f.registered(110)
    assert sent_from(lab) == {5060}
    t = lab.now()
    f.phone.cmd("rmmod aastra")
    lab.until(lambda: [m for m in lab.wire.sip(
        "REGISTER", src="phone", user="110", after=t)
        if m.request and m.sport != 5060], 5, "from another port")
    holder = lab.phone.inside(lambda: socket.socket(socket.AF_INET,
                                                    socket.SOCK_DGRAM))
    with holder:
        holder.bind((lab.phone.ip, 5060))
    t = lab.now()
    f.phone.cmd("insmod aastra")
    lab.until(lambda: [m for m in lab.wire.sip(
        "REGISTER", src="phone", user="110", after=t)
        if m.request and m.sport == 5060], 5, "from the port")
    assert f.phone.exit() == 0
