"""Passwords stay where they were written: no log, no answer, no file that the
module writes, and nothing that other users of the host can see has them."""

import os
import re
import socket

import pytest

from lab.ctrl import CommandError
from lab.figures import held
from lab.site import FAST, Site

# one for each way in; none of them is a word that stands elsewhere
ACCOUNT, FILE, BAD, KEY = "pwaccountXq7", "pwfileXq7", "pwbadXq7", "pwkeyXq7"
SECRETS = (ACCOUNT, FILE, BAD, KEY)


def written(folder, inputs):
    """Everything that a run wrote: {path: bytes}."""
    found = {}
    for path, _, files in os.walk(folder):
        for name in files:
            full = os.path.join(path, name)
            if (os.path.islink(full) or not os.path.isfile(full)
                    or full in inputs):
                continue
            with open(full, "rb") as f:
                found[full] = f.read()
    return found


def ask(phone, command):
    try:
        return phone.cmd(command)
    except CommandError as e:
        return str(e)


def page(lab, path):
    """What the page says to somebody on this host."""
    s = lab.phone.inside(lambda: socket.create_connection(
        ("127.0.0.1", 8080), 5))
    s.settimeout(2)
    s.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"
              % path.encode())
    got = b""
    try:
        while True:
            data = s.recv(65536)
            if not data:
                break
            got += data
    except OSError:
        pass            # events go on for ever
    s.close()
    assert got.startswith(b"HTTP/1.1 200")
    return got.decode("latin-1")


def test_nowhere(lab):
    site = Site(lab, "E2", "tcp", config=[
        *FAST, "aastra_http_listen 8080", "aastra_cfg_path cfg", "aastra_cfg_mac 00085D161000",
        "sip line3 user name: 103", "sip line3 password: " + KEY])
    account = lab.account(100, via=lab.primary, transport="tcp").replace(
        "secret100", ACCOUNT)
    phone = lab.baresip(
        [account], aastra=True, start=False, config=[
            x.replace("aastra_cfg_path cfg", "aastra_cfg_path " + os.path.join(
                lab.dir, "conf-baresip-phone", "cfg"))
            for x in site.config],
        files={
            "cfg/aastra.cfg": "sip proxy ip: %s\nsip registrar ip: %s\n"
            "sip line2 user name: 102\nsip line2 password: %s\n"
            "sip line2 pasword: %s\nsip line2 password = %s\n"
            "sip line2 password %s\nsip password line2: %s\n"
            % (lab.primary.ip, lab.primary.ip, FILE, *[BAD] * 4)})
    phone.start()
    site.phone = phone
    inputs = {os.path.join(phone.dir, x) for x in
              ("accounts", "config", "cfg/aastra.cfg")}

    # the passwords are wrong here: what is refused is told of
    lab.until(lambda: [h for x in phone.state()["lines"]
                       for h in x["history"] if h["event"] == "refused"],
              8, "refused")
    texts = []
    commands = ["aastra_" + c for c in (
        "status", "state", "history", "metrics", "probe", "reload",
        "config", "config 1", "config 2", "config 3", "explain 1",
        "explain 2", "explain 3", "failover 2", "failback 2", "auto 2")]
    commands += ["reginfo", "uastat", "sipstat", "about", "main", "modules",
                 "netstat", "conf_reload", "help", "timers", "memstat"]
    for c in commands:
        texts.append(ask(phone, c))
    site.primary.kill()
    lab.until(lambda: phone.state(2)["flows"], 5, "line 2")
    lab.wire.settle(0.5)
    texts += [ask(phone, c) for c in commands[:13]]
    texts += [repr(e) for e in phone.events]
    texts += [page(lab, "/" + x) for x in (
        "", "page.js", "state", "history", "metrics", "events")]
    pid = phone.proc.pid
    for name in ("cmdline", "comm", "environ"):
        with open("/proc/%d/%s" % (pid, name), "rb") as f:
            texts.append(f.read().decode("latin-1"))
    phone.exit()

    assert len(texts) > 40 and "line 2" in "".join(texts)
    for secret in SECRETS:
        assert not [x for x in texts if secret in x], secret
        files = written(lab.dir, inputs)
        assert len(files) > 3
        assert not [p for p, data in files.items()
                    if secret.encode() in data], secret
    lab.report()
    with open(os.path.join(lab.dir, "wire.txt"), "rb") as f:
        wire = f.read()
    assert b"REGISTER" in wire
    assert not [s for s in SECRETS if s.encode() in wire]
    held("Secrets", "passwords of accounts, files and keys, right and wrong",
         passwords=len(SECRETS), texts_told_by_it=len(texts),
         files_written_by_it=len(files), found=0)


@pytest.mark.parametrize("mode, warned", [(0o644, 1), (0o640, 0)])
def test_readable_by_all(lab, mode, warned):
    """A file with passwords that everybody may read gives one warning; one
    without passwords gives none."""
    site = Site(lab, "E2", "udp", config=list(FAST))
    folder = os.path.join(lab.dir, "cfg")
    os.makedirs(folder)
    both = os.path.join(folder, "aastra.cfg")
    with open(both, "w") as f:
        f.write("sip line2 password: %s\nsip line3 password: %s\n"
                % (FILE, FILE))
    os.chmod(both, mode)
    with open(os.path.join(folder, "00085D161000.cfg"), "w") as f:
        f.write("sip line1 display name: x\n")
    site.config += ["aastra_cfg_path " + folder,
                    "aastra_cfg_mac 00085D161000"]
    phone = site.start()
    text = phone.proc.output()
    assert len(re.findall(re.escape(both) + ": everybody on this host may "
                          "read the file", text)) == warned
    assert text.count("everybody on this host") == warned
    assert FILE not in text
    held("Secrets", "a file with passwords, mode %03o" % mode,
         warnings=warned)


def test_accounts_readable_by_all(lab):
    """baresip's own accounts count as well; a password in a comment, or room
    for one, does not."""
    phone = Site(lab, "E2", "udp", config=list(FAST)).start()
    accounts = os.path.join(phone.dir, "accounts")
    with open(accounts) as f:
        text = f.read()
    assert "auth_pass=secret100" in text
    said = []
    for mode, content in (
            (0o600, text), (0o644, text),
            (0o644, "#" + text.replace("\n", "\n#") + "\n<sip:x@y>;"
             "auth_pass=;regint=0\n"),
            (0o644, "<sip:x:secret100@y>\n")):
        with open(accounts, "w") as f:
            f.write(content)
        os.chmod(accounts, mode)
        phone.cmd("aastra_reload")
        # what it warns of it says before that
        lab.until(lambda: phone.proc.output().count(
            "configuration read again") > len(said), 5, "read again")
        said.append(phone.proc.output().count(
            accounts + ": everybody on this host may read the file"))
    assert said == [0, 1, 1, 2]
    held("Secrets", "baresip's accounts, mode 644", warnings=1)
