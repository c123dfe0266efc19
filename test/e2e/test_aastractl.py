"""contrib/aastractl against a real phone, over HTTP and over ctrl_tcp."""

import importlib.machinery
import importlib.util
import os
import subprocess

import pytest

from lab.site import FAST, TOP, Site

CTL = os.path.join(TOP, "contrib", "aastractl")
PORT = 8088


class Ctl:
    def __init__(self, phone):
        self.phone = phone

    def argv(self, *args):
        return self.phone.host.argv([CTL, "--config", self.phone.dir,
                                     "--timeout", "10", *args])

    def __call__(self, *args):
        r = subprocess.run(self.argv(*args), text=True, capture_output=True,
                           timeout=30)
        return r.returncode, r.stdout, r.stderr


@pytest.mark.parametrize("way", ["http", "ctrl_tcp"])
def test_aastractl(lab, way):
    """Status, commands, events and exit codes, by the way that baresip's
    config offers."""
    http = ["aastra_http_listen 127.0.0.1:%d" % PORT] if way == "http" else []
    site = Site(lab, "E3", config=[*FAST, *http], users=[100, 101])
    phone = site.start()
    ctl = Ctl(phone)

    code, out, _ = ctl("check")
    assert (code, out) == (0, "OK - 2 lines in service\n")
    code, out, _ = ctl("status")
    assert code == 0 and "sip:101@" in out and "primary" in out
    code, out, _ = ctl("history", "1")
    assert code == 0 and "line 1 registered primary" in out
    assert "line 2" not in out
    code, out, _ = ctl("metrics")
    assert code == 0 and 'aastra_line_registered{line="1"} 1' in out
    code, out, _ = ctl("explain", "1")
    if way == "http":
        assert code == 1
    else:
        assert code == 0 and "primary comes first" in out

    # what is wrong is said, and is no success
    for args, want in ((["failover", "9"], 1), (["failover", "x"], 1),
                       (["nonsense"], 1), (["status", "9"], 3),
                       (["check", "x"], 3)):
        code, out, err = ctl(*args)
        assert code == want and err.strip() and not out, args

    with subprocess.Popen(ctl.argv("--retries", "0", "follow"), text=True,
                          stdout=subprocess.PIPE) as watch:
        try:
            assert "connected" in watch.stdout.readline()
            if way == "http":
                code, out, _ = ctl("failover", "2")
                assert code == 0 and "line 2: mode backup" in out
            else:
                # the one client of ctrl_tcp is watching: the wire moves it
                site.primary.kill()
            for row in watch.stdout:
                if "failover" in row:
                    break
            else:
                pytest.fail("told of nothing")
            assert "line 2" in row or "line=" in row
        finally:
            watch.terminate()

    if way == "http":
        lab.until(lambda: ctl("check", "--backup")[0] == 1, 10)
        assert ctl("check")[0] == 0
        assert "not on the primary: line 2" in ctl("check")[1]
        assert ctl("auto", "2")[0] == 0
        site.primary.kill()
    lab.until(lambda: ctl("check")[1].count("not on the primary"), 10)
    site.backup.kill()
    lab.until(lambda: ctl("check")[0] == 2, 10, "out of service")
    code, out, _ = ctl("status")
    assert code == 2 and "NOT REGISTERED" in out
    site.primary.start()
    site.backup.start()
    lab.until(lambda: ctl("probe")[0] == 0 and ctl("check")[0] == 0, 20)

    phone.kill()
    code, out, err = ctl("check")
    assert code == 3 and err


@pytest.mark.parametrize("services, backup, want", [
    ([], False, (3, "UNKNOWN - no lines")),
    (["primary"], False, (0, "OK - 1 line in service")),
    (["primary"] * 2, False, (0, "OK - 2 lines in service")),
    (["backup"], False,
     (0, "OK - 1 line in service, not on the primary: line 1")),
    (["primary", "backup"], True,
     (1, "WARNING - 2 lines in service, not on the primary: line 2")),
    (["primary", "none"], True, (2, "CRITICAL - out of service: line 2")),
])
def test_verdict(services, backup, want):
    loader = importlib.machinery.SourceFileLoader("aastractl", CTL)
    ctl = importlib.util.module_from_spec(
        importlib.util.spec_from_loader("aastractl", loader))
    loader.exec_module(ctl)
    lines = [{"line": n, "service": s, "registered": s != "none",
              "flows": []} for n, s in enumerate(services, 1)]
    assert ctl.verdict(lines, backup) == want


def test_help(lab):
    out = subprocess.run([CTL, "--help"], text=True, capture_output=True,
                         timeout=30).stdout
    assert "throws the one before out" in out
