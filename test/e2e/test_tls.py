"""TLS: the path moves, and only to servers that can show who they are."""

import os
import re
import subprocess

import pytest

from helpers_calls import all_modules
from lab.dns import Dns
from lab.figures import held
from lab.proc import Proc
from lab.several import _ahead, ahead, parallel  # noqa: F401 (fixtures)
from lab.tls import Authority

FAST = ["sip_recovery_base_timer 1", "sip_recovery_max_timer 2"]


def start(lab, config, **primary):
    p = lab.combined(lab.primary, **(primary or lab.tls(lab.primary)))
    b = lab.combined(lab.backup, **lab.tls(lab.backup))
    phone = lab.baresip(
        lab.account(via=lab.primary, transport="tls", port=5061),
        aastra=True,
        config=["sip_line1_backup_outbound_proxy " + lab.backup.ip,
                *FAST, *config])
    return p, b, phone


def service(phone):
    return phone.state(1)["service"]


def test_failover(lab):
    """Verified servers: there and back again."""
    p, b, phone = start(lab, ["sip_cafile " + lab.ca.cert])
    phone.wait_registered()
    assert service(phone) == "primary"
    start_t = lab.now()
    p.kill()
    lab.until(lambda: service(phone) == "backup", 5, "on the backup")
    assert len(b.bindings("100")) == 1
    held("TLS", "verified, killed: registered at the verified backup",
         after_ms=1000 * (lab.now() - start_t))
    p.start()
    lab.until(lambda: service(phone) == "primary", 8, "home again")
    assert len(p.bindings("100")) == 1
    lab.until(lambda: not b.bindings("100"), 5, "backup let go")


@pytest.mark.parametrize("key", ["sip_cafile", "sips_trusted_certificates"])
@pytest.mark.parametrize("wrong", ["ca", "name", "expired"])
def test_refused(lab, key, wrong):
    """A server with a certificate of another CA, for another name, or of
    former times, is a failed flow, and never sees a REGISTER."""
    ca = lab.ca
    if wrong == "ca":
        other = Authority(os.path.join(lab.dir, "other"), name="other-ca")
        lab._ca = other
        tls = lab.tls(lab.primary)
        lab._ca = ca
    elif wrong == "expired":
        tls = dict(zip(("TLS_CERT", "TLS_KEY"), ca.issue(
            "old", ["IP:" + lab.primary.ip], days=0)))
    else:
        tls = lab.tls(lab.far)      # names another host
    p, b, phone = start(lab, ["%s %s" % (key, ca.cert)], **tls)
    lab.until(lambda: service(phone) == "backup", 5, "on the backup")
    flow, = [f for f in phone.state(1)["flows"] if f["rank"] == "primary"]
    assert flow["state"] == "down"
    assert "certificate refused" in flow["error"]
    assert p.bindings("100") == []
    assert len(b.bindings("100")) == 1
    # TLS hides what was sent, but not that nothing was: after its hello the
    # phone said no more than an alert
    sent = [e for e in lab.wire.find(src="phone", dst="primary")
            if "application" in e.summary() and "tls" in e.summary()]
    assert all("24 bytes" in e.summary() for e in sent), sent
    held("TLS", {"ca": "certificate of another CA", "name": "of another host",
                 "expired": "expired"}[wrong], requests_sent_to_it=0)


def another_ca(lab, server):
    """The server is started anew, and shows a certificate of another CA."""
    ca = lab.ca
    lab._ca = Authority(os.path.join(lab.dir, "other"), name="other-ca")
    server.defines.update(lab.tls(server.host))
    lab._ca = ca


def asked(lab, method, after):
    """Hosts that were sent such a request."""
    return {e.dst for e in lab.wire.sip(method, request=True, src="phone",
                                        after=after)}


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("what", ["call", "bye"])
def test_baresip_opens_the_connection(lab, what, right):
    """Without outbound support nobody opens the connection anew before it is
    needed, and baresip may be the first to: a server that it meets there has
    to show who it is all the same, or hears nothing."""
    p, b, phone = start(lab, ["sips_trusted_certificates " + lab.ca.cert,
                              "sip_outbound_support 0",
                              "sip_failback_delay 600"])
    phone.wait_registered()
    if what == "bye":
        lab.far_phone(lab.primary)
        phone.dial("sip:200@pbx.example.com")
        phone.wait_call()
    p.kill()
    if not right:
        another_ca(lab, p)
    p.start()
    t = lab.now()
    if what == "call":
        phone.dial("sip:200@pbx.example.com")
        lab.until(lambda: asked(lab, "INVITE", t), 10, "it is called")
        assert asked(lab, "INVITE", t) == {"primary" if right else "backup"}
    else:
        phone.hangup()
        lab.until(lambda: not phone.open_calls(), 5, "hung up")
        if right:
            lab.wire.wait_sip("BYE", src="phone", dst="primary", after=t)
        else:
            lab.wire.wait_kind("tls", src="phone", dst="primary", after=t,
                               match=lambda e: "alert" in e.summary())
    if not right:
        assert "primary" not in (asked(lab, "INVITE", t) |
                                 asked(lab, "REGISTER", t) |
                                 asked(lab, "BYE", t))
        held("TLS", what + " over a new connection to an impostor",
             requests_sent_to_it=0)


def test_server_of_no_line(lab):
    """An account that is no line calls whom it likes, as without the
    module."""
    other = lab.combined(lab.regb, **lab.tls(lab.regb))
    another_ca(lab, other)
    other.restart()
    p, b, phone = start(lab, ["sips_trusted_certificates " + lab.ca.cert])
    phone.wait_registered()
    phone.cmd("uanew <sip:300@%s;transport=tls>;regint=0" % lab.regb.ip)
    t = lab.now()
    phone.cmd("uafind sip:300@" + lab.regb.ip)
    phone.dial("sip:200@%s;transport=tls" % lab.regb.ip)
    lab.until(lambda: asked(lab, "INVITE", t) == {"regb"}, 10, "called there")


def test_not_asked_for(lab):
    """Without trusted certificates nobody is verified, as baresip 1.0.0
    does."""
    p, _, phone = start(lab, [])
    phone.wait_registered()
    assert len(p.bindings("100")) == 1


@pytest.mark.parametrize("what", ["missing", "rubbish"])
def test_unreadable(lab, what):
    """Trusted certificates that cannot be read: the phone says so, and trusts
    nobody."""
    path = os.path.join(lab.dir, "trusted.pem")
    if what == "rubbish":
        with open(path, "w") as f:
            f.write("not a certificate\n")
    p, b, phone = start(lab, ["sips_trusted_certificates " + path])
    phone.proc.wait_for_line(re.escape(path) + ": no trusted certificates")

    def refused():
        flows = phone.state(1)["flows"]
        return len(flows) == 2 and all(
            f["state"] == "down" and "certificate refused" in f["error"]
            for f in flows)
    lab.until(refused, 10, "both refused")
    assert p.bindings("100") == [] == b.bindings("100")
    held("TLS", "trusted certificates " + what, bindings=0)


def strict(lab, ca, path):
    """A TLS server that asks for the phone's certificate, on the primary;
    it says whose it was shown."""
    server = {k.lower(): v for k, v in lab.tls(lab.primary).items()}
    script = os.path.join(path, "strict.py")
    with open(script, "w") as f:
        f.write("""
import socket, ssl, sys
ip, cert, key, ca = sys.argv[1:]
c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
c.load_cert_chain(cert, key)
c.load_verify_locations(ca)
c.verify_mode = ssl.CERT_REQUIRED
s = socket.create_server((ip, 5061))
print("ready", flush=True)
while True:
    a, _ = s.accept()
    try:
        with c.wrap_socket(a, server_side=True) as t:
            data = t.recv(100)
            print("shown", dict(x[0] for x in t.getpeercert()["subject"]),
                  data.split(b" ")[0].decode(), flush=True)
    except OSError as e:
        print("refused", e, flush=True)
""")
    proc = Proc(["/usr/bin/python3", script, lab.primary.ip,
                 server["tls_cert"], server["tls_key"], ca.cert],
                "strict", os.path.join(path, "strict.log"),
                host=lab.primary)
    lab.others.append(Stopper(proc))
    proc.wait_for_line("ready", 20)
    return proc


class Stopper:
    """What a lab stops at its end."""

    name = "strict"

    def __init__(self, proc):
        self.proc = proc

    def stop(self):
        self.proc.kill()


@pytest.mark.parametrize("how", ["two files", "one file", "with a chain",
                                 "without", "wrong key"])
def test_own_certificate(lab, how):
    """`sips local certificate` and `sips private key`: a server that asks
    who the phone is hears it before the first SIP message."""
    ca = lab.ca
    cert, key = ca.issue("desk-phone", ["DNS:phone.example.com"])
    _, other = ca.issue("another", ["DNS:another.example.com"])
    config = ["sip_cafile " + ca.cert]
    if how == "one file":
        both = os.path.join(lab.dir, "both.pem")
        with open(both, "w") as f, open(cert) as a, open(key) as b:
            f.write(a.read() + b.read())
        config += ["sips local certificate: " + both]
    elif how != "without":
        config += ["sips local certificate: " + cert, "sips private key: " +
                   (other if how == "wrong key" else key)]
    if how == "with a chain":
        config += ["sips root and intermediate certificates: " + ca.cert]
    server = strict(lab, ca, lab.dir)
    phone = lab.baresip(
        lab.account(via=lab.primary, transport="tls", port=5061),
        aastra=True, config=[
            "sip_line1_backup_outbound_proxy " + lab.backup.ip, *FAST,
            *config])
    if how in ("without", "wrong key"):
        server.wait_for_line("refused .*did not return a certificate", 10)
        assert "shown" not in server.output()
    else:
        server.wait_for_line("shown .*'desk-phone'.* (OPTIONS|REGISTER)", 10)
        assert "refused" not in server.output()
    if how == "wrong key":
        assert phone.proc.wait_for_line("the private key is not its own")
    assert phone.exit() == 0


@parallel
@pytest.mark.parametrize("right", [True, False], ids=["right", "other"])
def test_folder(lab, right):
    """`sip_capath`, a folder of authorities with hashed names."""
    ca = lab.ca if right else Authority(os.path.join(lab.dir, "other"),
                                        name="other-ca")
    folder = os.path.join(lab.dir, "trusted")
    os.mkdir(folder)
    number = subprocess.run(["openssl", "x509", "-in", ca.cert, "-noout",
                             "-hash"], capture_output=True, text=True,
                            check=True).stdout.strip()
    os.symlink(ca.cert, os.path.join(folder, number + ".0"))
    p, _, phone = start(lab, ["sip_capath " + folder])
    if right:
        lab.until(lambda: service(phone) == "primary", 10, "registered")
        return
    lab.until(lambda: len([f for f in phone.state(1)["flows"]
                           if "certificate refused" in f["error"]]) == 2,
              10, "both refused")
    assert p.bindings("100") == []


# ---- versions, and sessions that go on ------------------------------------------


def own_server(lab, most="TLSv1_3", port=5061):
    """A TLS server on the primary, whose newest version may be an old one. It
    answers 200 to whatever comes, closes each connection after the third
    request, and says of each what it was."""
    server = {k.lower(): v for k, v in lab.tls(lab.primary).items()}
    script = os.path.join(lab.dir, "versions.py")
    with open(script, "w") as f:
        f.write("""
import re, socket, ssl, sys
ip, port, cert, key, most = sys.argv[1:]
c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
c.set_ciphers("ALL:@SECLEVEL=0")
c.minimum_version = ssl.TLSVersion.TLSv1
c.maximum_version = getattr(ssl.TLSVersion, most)
c.load_cert_chain(cert, key)
s = socket.create_server((ip, int(port)))
print("ready", flush=True)
while True:
    a, _ = s.accept()
    try:
        with c.wrap_socket(a, server_side=True) as t:
            print("open", t.version(), "resumed" if t.session_reused
                  else "anew", flush=True)
            for _ in range(3):
                data = b""
                while b"\\r\\n\\r\\n" not in data.lstrip(b"\\r\\n"):
                    got = t.recv(4096)
                    if not got:
                        break
                    data += got
                data = data.lstrip(b"\\r\\n").decode()
                if not data:
                    break
                print("got", data.split(" ")[0], flush=True)
                keep = re.findall(r"(?m)^(?:Via|From|To|Call-ID|CSeq|Contact)"
                                  r":.*\\r\\n", data)
                t.sendall(("SIP/2.0 200 OK\\r\\n" + "".join(keep)
                           + "Content-Length: 0\\r\\n\\r\\n").encode())
    except OSError as e:
        print("refused", e, flush=True)
""")
    proc = Proc(["/usr/bin/python3", script, lab.primary.ip, str(port),
                 server["tls_cert"], server["tls_key"], most],
                "versions", os.path.join(lab.dir, "versions.log"),
                host=lab.primary)
    lab.others.append(Stopper(proc))
    proc.wait_for_line("ready", 20)
    return proc


def towards(lab, config=(), **kw):
    return lab.baresip(
        lab.account(via=lab.primary, transport="tls", port=5061),
        aastra=True, config=["sip_line1_backup_outbound_proxy "
                             + lab.backup.ip, *FAST, *config], **kw)


@parallel
@pytest.mark.parametrize("verify", [True, False],
                         ids=["verified", "not-verified"])
@pytest.mark.parametrize("most", ["TLSv1_1", "TLSv1_2"])
def test_version(lab, most, verify):
    """TLS 1.2 at least, even on a system that would allow less."""
    conf = os.path.join(lab.dir, "openssl.cnf")
    with open(conf, "w") as f:
        f.write("openssl_conf = a\n[a]\nssl_conf = b\n[b]\n"
                "system_default = c\n[c]\nMinProtocol = TLSv1\n"
                "CipherString = ALL:@SECLEVEL=0\n")
    server = own_server(lab, most)
    phone = towards(lab, ["sip_cafile " + lab.ca.cert] if verify else [],
                    env={"OPENSSL_CONF": conf})
    if most == "TLSv1_2":
        server.wait_for_line("open TLSv1.2", 10)
        lab.until(lambda: service(phone) == "primary", 10, "registered")
        held("TLS", "a server that speaks 1.2", connected=1)
        return
    server.wait_for_line("refused .*protocol", 10)
    lab.until(lambda: [f for f in phone.state(1)["flows"]
                       if f["rank"] == "primary" and f["state"] == "down"],
              10, "a failed flow")
    assert "open" not in server.output() and "got" not in server.output()
    held("TLS", "a server that speaks 1.1 at most", requests_sent_to_it=0)


@parallel
@pytest.mark.parametrize("most", ["TLSv1_2", "TLSv1_3"])
def test_session(lab, most):
    """The next connection goes on with the session of the one before, which
    was verified; and each session is used once."""
    server = own_server(lab, most)
    phone = towards(lab, ["sip_cafile " + lab.ca.cert,
                          "sip_outbound_keepalive_timer 1"])
    lab.until(lambda: server.output().count("resumed") >= 2, 25,
              "resumed, and again")
    lines = re.findall("open .*", server.output())
    assert "anew" in lines[0]
    held("TLS", "sessions that go on, " + most.replace("v1_", " 1."),
         connections=len(lines), resumed=sum("resumed" in x for x in lines))
    lab.until(lambda: service(phone) == "primary", 10, "in service")
    assert phone.exit() == 0


@parallel
def test_session_of_another(lab):
    """A server that has another certificate cannot go on with the session of
    the one before, and is looked at: it is refused."""
    server = own_server(lab)
    phone = towards(lab, ["sip_cafile " + lab.ca.cert])
    lab.until(lambda: service(phone) == "primary", 10, "in service")
    server.kill()
    ca, lab._ca = lab.ca, Authority(os.path.join(lab.dir, "other"),
                                    name="other-ca")
    other = own_server(lab)
    lab._ca = ca
    other.wait_for_line("refused", 15)
    lab.until(lambda: [f for f in phone.state(1)["flows"]
                       if "certificate refused" in f["error"]], 10, "refused")
    assert "got" not in other.output()
    held("TLS", "a session goes on at a server of another CA",
         requests_sent_to_it=0)


@parallel
@pytest.mark.parametrize("right", [True, False], ids=["right", "other"])
@pytest.mark.parametrize("most", ["TLSv1_2", "TLSv1_3"])
def test_unloaded_in_a_handshake(lab, most, right):
    """The module is unloaded while a server takes its time with a handshake:
    when that goes on, it meets nothing that is not there any more, and the
    server is verified all the same."""
    ca = lab.ca if right else Authority(os.path.join(lab.dir, "other"),
                                        name="other-ca")
    server = {k.lower(): v for k, v in lab.tls(lab.primary).items()}
    script = os.path.join(lab.dir, "slow.py")
    go = os.path.join(lab.dir, "go")
    with open(script, "w") as f:
        f.write("""
import os, socket, ssl, sys, time
ip, cert, key, most, go = sys.argv[1:]
c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
c.maximum_version = getattr(ssl.TLSVersion, most)
c.load_cert_chain(cert, key)
s = socket.create_server((ip, 5061))
print("ready", flush=True)
a, _ = s.accept()
print("hello", a.recv(1, socket.MSG_PEEK) and "came", flush=True)
while not os.path.exists(go):
    time.sleep(0.01)
a.settimeout(5)
try:
    c.wrap_socket(a, server_side=True)
    print("open", flush=True)
except OSError as e:
    print("refused", e, flush=True)
""")
    proc = Proc(["/usr/bin/python3", script, lab.primary.ip,
                 server["tls_cert"], server["tls_key"], most, go],
                "slow", os.path.join(lab.dir, "slow.log"), host=lab.primary)
    lab.others.append(Stopper(proc))
    proc.wait_for_line("ready", 20)
    phone = towards(lab, ["sip_cafile " + ca.cert])
    proc.wait_for_line("hello came", 10)
    phone.cmd("rmmod aastra")
    with open(go, "w"):
        pass
    proc.wait_for_line("open" if right else "refused .*unknown ca", 20)
    assert "100@pbx.example.com" in phone.cmd("reginfo")
    held("End", "unloaded in a TLS handshake, %s CA"
         % ("its" if right else "another"), crashed=0)


@pytest.mark.parametrize("right", [True, False], ids=["right", "other"])
@pytest.mark.parametrize("outbound", [1, 0])
def test_loaded_late(lab, outbound, right):
    """baresip has verified nobody before the module was loaded: what it has
    opened until then is not used, whoever it leads to."""
    b = lab.combined(lab.backup, **lab.tls(lab.backup))
    p = lab.combined(lab.primary, **lab.tls(lab.primary))
    if not right:
        another_ca(lab, p)
        p.restart()
    phone = lab.baresip(
        lab.account(via=lab.primary, transport="tls", port=5061),
        system_modules=all_modules(lab), config=[
            "sip_line1_backup_outbound_proxy " + lab.backup.ip,
            "sips_trusted_certificates " + lab.ca.cert,
            "sip_outbound_support %d" % outbound, *FAST])
    phone.wait_registered()
    t = lab.now()
    phone.cmd("insmod aastra")
    rank = "primary" if right else "backup"
    lab.until(lambda: service(phone) == rank, 10, "taken over")
    lab.until(lambda: asked(lab, "REGISTER", t), 5, "registered")
    assert asked(lab, "REGISTER", t) == {rank}
    if right:
        lab.wire.wait_kind("syn", src="phone", dst="primary", after=t)
    else:
        assert asked(lab, "OPTIONS", t) <= {"backup"}
        held("TLS", "an impostor's connection, opened before the module",
             requests_sent_to_it=0)
    assert phone.exit() == 0


# ---- what a certificate may say ------------------------------------------------

PROXY = "proxy.example.com"
NUL_NAME = b"proxy.example.com\0.example.org"
NUL_SAN = "DER:30:%02x:82:%02x:%s" % (
    len(NUL_NAME) + 2, len(NUL_NAME), NUL_NAME.hex(":"))

# what the settings call the server -> the names of its certificate (its CN,
# alternative names, more), and whether it is the server
NAMES = {
    "exact": (PROXY, ("a", ["DNS:" + PROXY]), True),
    "case": ("Proxy.Example.COM", ("b", ["DNS:" + PROXY]), True),
    "final dot": (PROXY + ".", ("c", ["DNS:" + PROXY]), True),
    "wildcard": (PROXY, ("d", ["DNS:*.example.com"]), True),
    "half a wildcard": (PROXY, ("e", ["DNS:pro*.example.com"]), False),
    "wildcard of all": (PROXY, ("f", ["DNS:*", "DNS:*.com"]), False),
    "below the name": (PROXY, ("g", ["DNS:a." + PROXY]), False),
    "CN alone": (PROXY, (PROXY, []), True),
    "CN beside": (PROXY, (PROXY, ["DNS:www.example.org"]), False),
    "NUL": (PROXY, ("h", [NUL_SAN]), False),
    "address": ("", ("i", ["IP:10.77.0.2"]), True),
    "address as a name": ("", ("j", ["DNS:10.77.0.2"]), False),
    "address as CN": ("", ("10.77.0.2", []), False),
    "for clients": (PROXY, ("k", ["DNS:" + PROXY], "extendedKeyUsage="
                            "clientAuth\n"), False),
}


def names_server(lab, certs):
    """TLS servers on the primary, one a certificate, on ports from 7001 on;
    each says what it is asked."""
    script = os.path.join(lab.dir, "names.py")
    with open(script, "w") as f:
        f.write("""
import os, re, socket, ssl, sys, threading
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
def one(t, port):
    data = b""
    while True:
        data += t.recv(65536)
        while b"\\r\\n\\r\\n" in data.lstrip(b"\\r\\n"):
            head, _, data = data.lstrip(b"\\r\\n").partition(b"\\r\\n\\r\\n")
            head = head.decode() + "\\r\\n"
            say("got", port, head.split(" ")[0])
            keep = re.findall(r"(?m)^(?:Via|From|To|Call-ID|CSeq|Contact)"
                              r":.*\\r\\n", head)
            t.sendall(("SIP/2.0 200 OK\\r\\n" + "".join(keep)
                       + "Content-Length: 0\\r\\n\\r\\n").encode())
def shake(a, c, port):
    try:
        one(c.wrap_socket(a, server_side=True), port)
    except OSError as e:
        say("ended", port, e)
def serve(s, c, port):
    while True:
        a, _ = s.accept()
        threading.Thread(target=shake, args=(a, c, port)).start()
for port, cert in enumerate(sys.argv[2:], 7001):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain(cert)
    c.sni_callback = lambda s, name, c, port=port: say(
        "name", port, name)
    s = socket.create_server((sys.argv[1], port))
    threading.Thread(target=serve, args=(s, c, port)).start()
say("ready")
""")
    proc = Proc(["/usr/bin/python3", script, lab.primary.ip, *certs],
                "names", os.path.join(lab.dir, "names.log"),
                host=lab.primary)
    lab.others.append(Stopper(proc))
    proc.wait_for_line("ready", 20)
    return proc


def bundle(lab, ca, name, alt, more=""):
    """Its certificate, those above it, and its key, in one file."""
    files = list(ca.issue(name, alt, more=more)) + ca.chain
    path = os.path.join(lab.dir, "bundle-%d.pem" % len(os.listdir(lab.dir)))
    with open(path, "w") as f:
        for x in files:
            with open(x) as g:
                f.write(g.read())
    return path


def look_at(lab, servers):
    """servers: what it is -> (its name, file of its certificate, whether it
    is to be let in). A line each: as it should be?"""
    dns = Dns(lab.far).start()
    lab.others.append(dns)
    dns.a(PROXY, lab.primary)
    proc = names_server(lab, [s[1] for s in servers.values()])
    lab.baresip([lab.account(100 + i, via=name or lab.primary.ip,
                             transport="tls", port=7001 + i)
                 for i, (name, _, _) in enumerate(servers.values())],
                aastra=True, config=[
                    "dns_server " + dns.address, "sip_cafile " + lab.ca.cert,
                    "sip_outbound_support 1", *FAST])
    phone = lab.phones[-1]

    def seen():
        return {what: None if f["state"] == "connecting"
                else f["state"] == "up" for what, line in zip(
                    servers, phone.state()["lines"]) for f in line["flows"]}
    right = {what: s[2] for what, s in servers.items()}
    def wrong():
        return [what for what, up in seen().items() if up != right[what]]
    lab.until(lambda: not wrong(), 15, "each as it should be")
    for port, (what, ok) in enumerate(right.items(), 7001):
        assert ("got %d REGISTER" % port in proc.output()) == ok, what
        assert ok or "got %d" % port not in proc.output(), what
        # RFC 6066 3: without the final dot, and no address
        assert ("name %d none\n" if what.startswith("address")
                else "name %d proxy.example.com\n") % port in (
                    proc.output().lower()), what


@parallel
def test_names(lab):
    """Names in certificates, and what is none. A wildcard stands for a whole
    label, as baresip has it (RFC 5922 7.2 would have none)."""
    look_at(lab, {what: (name, bundle(lab, lab.ca, *cert), ok)
                  for what, (name, cert, ok) in NAMES.items()})
    held("TLS", "names in certificates", kinds=len(NAMES), wrongly_let_in=0)


@parallel
def test_chains(lab):
    """Certificates between the server's and the authority's; and one that is
    no authority's."""
    alt = ["DNS:" + PROXY]
    authorities = [lab.ca]
    for i in range(1, 5):
        authorities.append(Authority(os.path.join(lab.dir, "ca"),
                                     "between-%d" % i, authorities[-1]))
    servers = {"%d between" % i: (PROXY, bundle(lab, ca, "chain-%d" % i, alt),
                                  True) for i, ca in enumerate(authorities)}
    false = Authority(os.path.join(lab.dir, "ca"), "no-ca", lab.ca)
    false.cert, false.key = lab.ca.issue("no-ca", alt)
    false.chain = [false.cert]
    servers["by a server"] = (PROXY, bundle(lab, false, "forged", alt), False)
    look_at(lab, servers)


@parallel
@pytest.mark.parametrize("aor, outbound", [
    ("sips:100@pbx.example.com", "sip:10.77.0.2;transport=udp"),
    ("sip:100@pbx.example.com", "sips:10.77.0.2"),
    ("sip:100@pbx.example.com;transport=tcp", "sips:10.77.0.2;transport=tcp"),
    ("sips:100@10.77.0.2", None)], ids=["aor", "outbound", "tcp", "alone"])
def test_sips(lab, aor, outbound):
    """An account that says `sips:` wants TLS (RFC 3261 26.2.2), and baresip
    alone would send nothing at all: nothing goes out without it."""
    p = lab.combined(lab.primary, **lab.tls(lab.primary))
    b = lab.combined(lab.backup, **lab.tls(lab.backup))
    phone = lab.baresip(
        "<%s>;auth_pass=secret100;regint=3600%s" % (
            aor, ';outbound="%s"' % outbound if outbound else ""),
        aastra=True,
        config=["sip_cafile " + lab.ca.cert, *FAST,
                "sip_line1_backup_outbound_proxy " + lab.backup.ip])
    lab.until(lambda: service(phone) == "primary", 10, "registered")
    if outbound:
        t = lab.now()
        phone.dial("sip:200@pbx.example.com")
        lab.until(lambda: asked(lab, "INVITE", t), 10, "called")
    p.kill()
    lab.until(lambda: service(phone) == "backup", 10, "on the backup")
    lab.wire.settle()
    assert {e.proto for e in lab.wire.sip(src="phone")} == {"tls"}


@parallel
@pytest.mark.parametrize("where", ["aor", "outbound"])
def test_other_transport(lab, where):
    """Secure web sockets are not known here: the account is baresip's own,
    and does not go out over UDP in the clear."""
    lab.combined(lab.primary, **lab.tls(lab.primary))
    lab.combined(lab.backup, **lab.tls(lab.backup))
    account = "<sip:100@%s%s>;auth_pass=secret100;regint=60" % (
        lab.primary.ip, ";transport=wss" if where == "aor" else "")
    if where == "outbound":
        account += ';outbound="sip:%s;transport=wss"' % lab.primary.ip
    phone = lab.baresip([
        account,
        lab.account(101, via=lab.primary, transport="tls", port=5061)],
        aastra=True, config=[
            "sip_cafile " + lab.ca.cert, *FAST,
            "sip_backup_outbound_proxy " + lab.backup.ip])
    phone.proc.wait_for_line("sip:100@.*is left to baresip")
    lab.until(lambda: phone.state(2)["service"] == "primary", 10, "line 2")
    phone.cmd("aastra_reload")
    lab.never(lambda: lab.wire.sip("REGISTER", src="phone", user="100"), 1.0,
              "it goes out")
