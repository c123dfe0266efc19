"""`aastra_cfg_url`: the phones' files from a real web server."""

import os
import stat

import pytest

from lab.tls import Authority
from lab.web import Web
from test_config import SECRET, line

MAC = "00085D1610DE"
COPY = "aastra_files"


class Site:
    """A web server with the phones' files, the SIP server that they name,
    and a phone that knows no more than where the files are."""

    def __init__(self, lab, config=(), url=None, **web):
        self.lab = lab
        self.server = lab.combined(lab.primary)
        self.web = Web(lab, lab.reg, **web)
        self.phone = lab.baresip([], aastra=True, start=False, config=[
            "aastra_cfg_url " + (url or self.web.url),
            "aastra_cfg_model 6757i", "aastra_cfg_mac " + MAC.lower(),
            *config])
        self.copy = os.path.join(self.phone.dir, COPY)

    def line(self, n, **more):
        return line(n, self.lab.primary.ip, password=SECRET % (99 + n),
                    **more)

    def registered(self, *users, timeout=10):
        for user in users:
            self.lab.until(
                lambda u=user: len(self.server.bindings(str(u))) == 1,
                timeout, "%s registered" % user)

    def asked(self):
        return [x.split()[0] for x in self.web.proc.output().splitlines()
                if x.startswith("/")]

    def log(self, regex, after=0.0, timeout=10):
        return self.phone.proc.wait_for_line(regex, timeout, after)


def test_files_come_and_are_kept(lab):
    """Three files in their order; what changes is taken up at a reload; what
    did not change is not touched; a file that has gone is no error; and the
    next start needs no server."""
    s = Site(lab)
    s.web.write("aastra.cfg", "sip transport protocol: 2\n"
                "sip registration period: 700\n" + s.line(1))
    s.web.write("6757i.cfg", s.line(2, registration_period=800))
    s.web.write(MAC + ".cfg", "sip line2 registration period: 900\n")
    s.web.start()
    s.phone.start()
    s.registered(100, 101)
    assert sorted(s.asked()) == ["/%s.cfg" % MAC, "/6757i.cfg",
                                 "/aastra.cfg"]
    second = lab.wire.sip("REGISTER", src="phone", user="101")[0]
    assert second.expires == 900
    listing = s.phone.cmd("aastra_config 2")
    assert "%s.cfg:1" % MAC in listing
    assert "http://%s/aastra.cfg" % lab.reg.ip in s.phone.cmd(
        "aastra_config")
    lab.until(lambda: os.path.exists(s.copy), 5, "the copy")
    assert stat.S_IMODE(os.stat(s.copy).st_mode) == 0o600

    # nothing new
    lab.wire.settle()
    t = lab.now()
    first = os.stat(s.copy).st_ino
    assert "being fetched" in s.phone.cmd("aastra_reload")
    lab.until(lambda: len(s.asked()) == 6, 5, "asked again")
    lab.wire.settle()
    assert not lab.wire.sip("REGISTER", src="phone", after=t)
    assert os.stat(s.copy).st_ino == first

    # one line changes, and one comes
    s.web.write(MAC + ".cfg", "sip line2 registration period: 950\n" +
                s.line(3))
    t = lab.now()
    s.phone.cmd("aastra_reload")
    s.registered(102)
    lab.until(lambda: [m for m in lab.wire.sip("REGISTER", src="phone",
                                               user="101", after=t)
                       if m.expires == 950], 5, "line 2 changed")
    s.registered(101)
    assert not lab.wire.sip("REGISTER", src="phone", user="100", after=t)

    # 404: there is no such file any more
    s.web.write(MAC + ".cfg", None)
    s.phone.cmd("aastra_reload")
    lab.until(lambda: not s.server.bindings("102"), 5, "line 3 ended")
    s.registered(100, 101)
    assert s.phone.exit() == 0

    # and without the server
    s.web.kill()
    t = lab.now()
    s.phone.start()
    s.registered(100, 101)
    s.log("aastra.cfg: .*the last good copy is used", t)
    assert s.phone.exit() == 0
    assert SECRET % 100 not in s.phone.proc.output()


def test_startup_cfg(lab):
    """Where there is no aastra.cfg, startup.cfg is it; the file of the MAC
    may be in lower case."""
    s = Site(lab)
    s.web.write("startup.cfg", "sip transport protocol: 2\n")
    s.web.write(MAC.lower() + ".cfg", s.line(1))
    s.web.start()
    s.phone.start()
    s.registered(100)
    assert "/startup.cfg" in s.asked()
    assert "startup.cfg:1" in s.phone.cmd("aastra_config 1")
    assert s.phone.exit() == 0


def test_server_that_comes_later(lab):
    """A phone that is switched on before its server asks again by itself."""
    s = Site(lab)
    s.web.write("aastra.cfg", s.line(1))
    s.phone.start()
    s.log("there is no copy that could be used")
    s.web.start()
    s.registered(100, timeout=20)
    assert s.phone.exit() == 0


@pytest.mark.parametrize("how", ["stopped", "killed", "503", "junk", "html",
                                 "empty", "endless", "gone", pytest.param(
                                     "drip", marks=pytest.mark.all_rows)])
def test_bad_server(lab, how):
    """Whatever the server does, baresip goes on with what it has: it answers
    commands all the time, nothing is registered anew, one line in the log
    says what is wrong, and the copy stays. When the server is good again,
    a reload takes up what it has."""
    s = Site(lab)
    good = "sip transport protocol: 2\n" + s.line(1)
    s.web.write("aastra.cfg", good)
    s.web.start()
    s.phone.start()
    s.registered(100)
    lab.until(lambda: os.path.exists(s.copy), 5, "the copy")
    with open(s.copy, "rb") as f:
        copy = f.read()
    lab.wire.settle()
    t = lab.now()
    if how == "stopped":
        s.web.proc.stop()
    elif how == "killed":
        s.web.kill()
    elif how == "html":
        s.web.write("aastra.cfg", "<html><body>Log in: here</body></html>")
    elif how == "empty":
        s.web.write("aastra.cfg", "")
    elif how == "gone":
        s.web.write("aastra.cfg", None)
    else:
        s.web.mode(how)
    s.phone.cmd("aastra_reload")
    seen = lab.now()

    def said():
        # a command is answered while the fetch is under way
        s.phone.cmd("aastra_status")
        return "the last good copy is used" in s.phone.proc.output(after=t)

    lab.until(said, 40, "said in the log")
    assert lab.now() - seen < 35
    assert s.phone.proc.output(after=t).count("copy is used") == 1
    with open(s.copy, "rb") as f:
        assert f.read() == copy
    lab.wire.settle()
    assert not lab.wire.sip("REGISTER", src="phone", after=t)

    if how == "stopped":
        s.web.proc.cont()
    elif how == "killed":
        s.web.start()
    s.web.mode()
    s.web.write("aastra.cfg", good + s.line(2))
    s.phone.cmd("aastra_reload")
    s.registered(100, 101)
    assert s.phone.exit() == 0


def test_exit_while_it_hangs(lab):
    """A fetch that hangs holds nobody up: not the exit, nor the unloading of
    the module, nor a load after it."""
    s = Site(lab)
    s.web.write("aastra.cfg", s.line(1))
    s.web.start()
    s.web.proc.stop()
    s.phone.start()
    lab.until(lambda: lab.wire.find(src="phone", dst="reg") or True, 5,
              "asked")
    s.phone.cmd("rmmod aastra")
    s.phone.cmd("insmod aastra")
    t = lab.now()
    assert s.phone.exit() == 0
    assert lab.now() - t < 5


def test_password(lab):
    """A name and a password in the URL are used, and never shown."""
    s = Site(lab, user="phone:hushhush")
    s.web.write("aastra.cfg", s.line(1) + "sip proxy ip: 1.2.3.4.5\n")
    s.web.start()
    s.phone.start()
    s.registered(100)
    shown = s.phone.cmd("aastra_config") + s.phone.cmd("aastra_config 1")
    s.web.kill()
    s.phone.cmd("aastra_reload")
    s.log("the last good copy is used")
    assert s.phone.exit() == 0
    shown += s.phone.proc.output()
    assert "1.2.3.4.5" in shown
    assert "hushhush" not in shown


@pytest.mark.parametrize("wrong", [None, "ca", "name"])
def test_https(lab, wrong):
    """The server shows who it is, or nothing is taken from it."""
    host = lab.far if wrong == "name" else lab.reg
    ca = lab.ca if wrong != "ca" else Authority(
        os.path.join(lab.dir, "other"), name="other-ca")
    tls = ca.issue("web", ["IP:" + host.ip])
    s = Site(lab, tls=tls, config=["sip_cafile " + lab.ca.cert])
    s.web.write("aastra.cfg", s.line(1))
    s.web.start()
    s.phone.start()
    if wrong:
        s.log("there is no copy that could be used")
        assert not os.path.exists(s.copy)
        assert not s.asked()
    else:
        s.registered(100)
    assert s.phone.exit() == 0


def test_no_way_down(lab):
    """A redirection from HTTPS to HTTP is not followed."""
    s = Site(lab, tls=lab.ca.issue("web", ["IP:" + lab.reg.ip]),
             config=["sip_cafile " + lab.ca.cert])
    plain = Web(lab, lab.far)
    plain.write("aastra.cfg", s.line(1))
    plain.start()
    s.web.mode("to " + plain.url.rstrip("/"))
    s.web.start()
    s.phone.start()
    s.log("there is no copy that could be used")
    assert "/aastra.cfg" not in plain.proc.output()
    assert s.phone.exit() == 0


@pytest.mark.parametrize("bad", ["cut", "junk", "folder"])
def test_bad_copy(lab, bad):
    """A copy that is not whole is not used, and not trusted."""
    s = Site(lab)
    s.web.write("aastra.cfg", s.line(1))
    s.web.start()
    s.phone.start()
    s.registered(100)
    lab.until(lambda: os.path.exists(s.copy), 5, "the copy")
    assert s.phone.exit() == 0
    s.web.kill()
    with open(s.copy, "rb") as f:
        copy = f.read()
    os.unlink(s.copy)
    if bad == "folder":
        os.mkdir(s.copy)
    else:
        with open(s.copy, "wb") as f:
            f.write(copy[:-5] if bad == "cut" else os.urandom(3000))
    t = lab.now()
    s.phone.start()
    s.log("the copy of the fetched files is not used", t)
    s.log("there is no copy that could be used", t)
    assert s.phone.state()["lines"] == []
    assert s.phone.exit() == 0
