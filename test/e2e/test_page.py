"""The page and the HTTP interface behind it: what it answers and to whom,
what strangers can do to it, and what a person sees and does in a browser."""

import contextlib
import http.client
import os
import random
import re
import socket
import stat
import time

import pytest

from lab import bodies
from lab.browser import Browser
from lab.page import Page
from lab.several import _ahead, ahead, parallel  # noqa: F401 (fixtures)
from lab.site import BACKUP, PRIMARY, Site

AT_ONCE = 3
LISTEN = "aastra_http_listen 8080"
TOKEN = "correct horse battery"
SCREENS = [(1280, 800, False), (1280, 800, True),
           (480, 272, False), (480, 272, True)]


def alone(lab, *config, **kw):
    """A phone whose servers do not exist: enough for its HTTP side."""
    kw.setdefault("accounts", [lab.account(via=lab.primary)])
    return lab.baresip(kw.pop("accounts"), aastra=True, config=[
        "sip_backup_outbound_proxy " + lab.backup.ip,
        "sip_transaction_timer 500", *config], **kw)


def reconfigure(phone, *config):
    phone.config = [x for x in phone.config
                    if not x.startswith("aastra_http")] + list(config)
    own = os.path.join(phone.dir, "config")
    with open(own) as f:
        lines = [x for x in f if not x.startswith("aastra_http")]
    with open(own, "w") as f:
        f.writelines(lines + [x + "\n" for x in config])


# -- for programs -------------------------------------------------------------


@parallel
def test_key(lab):
    """Off by default; the key opens, moves and closes it without a restart."""
    phone = alone(lab)
    page, other = Page(lab.phone), Page(lab.phone, port=8081)
    assert "8080" not in lab.phone.run("ss", "-Hltn")

    reconfigure(phone, LISTEN)
    phone.cmd("aastra_reload")
    page.wait_open()
    assert "127.0.0.1:8080" in lab.phone.run("ss", "-Hltn")
    assert "*:8080" not in lab.phone.run("ss", "-Hltn")

    with page.events() as seen:
        seen.wait_named("state")
        reconfigure(phone, "aastra_http_listen 127.0.0.1:8081")
        # asked for by HTTP: the answer still comes
        assert page.command("reload").status == 200
        other.wait_open()
        page.wait_closed()
        lab.until(lambda: seen.ended, what="listeners are sent away")

    # taken: it is tried again until it can be had
    taken = lab.phone.inside(
        lambda: socket.create_server(("127.0.0.1", 8080)))
    reconfigure(phone, LISTEN)
    assert other.command("reload").status == 200
    phone.proc.wait_for_line("8080 cannot be listened to")
    other.wait_closed()
    taken.close()
    page.wait_open(15)

    reconfigure(phone)
    assert page.command("reload").status == 200
    page.wait_closed()
    assert phone.exit() == 0


REQUESTS = [
    # method, path, headers, body, status
    ("GET", "/", {}, None, 200),
    ("HEAD", "/", {}, None, 200),
    ("GET", "/page.js", {}, None, 200),
    ("GET", "/page.css?1", {}, None, 200),
    ("GET", "/icon.svg", {}, None, 200),
    ("GET", "/../config", {}, None, 404),
    ("GET", "/config", {}, None, 404),
    ("POST", "/nothing", {}, "x", 404),
    ("POST", "/", {}, "x", 405),
    ("PUT", "/state", {}, "x", 405),
    ("OPTIONS", "/command", {}, None, 405),
    ("GET", "/command", {}, None, 405),
    ("HEAD", "/events", {}, None, 405),
    ("DELETE", "/state", {}, None, 405),
    ("GET", "/state", {}, None, 200),
    ("HEAD", "/state", {}, None, 200),
    ("GET", "/state?line=1", {}, None, 200),
    ("GET", "/state?line=2", {}, None, 404),
    ("GET", "/state?line=0", {}, None, 400),
    ("GET", "/state?line=x", {}, None, 400),
    ("GET", "/state?line=99999999999999999999", {}, None, 400),
    ("GET", "/state?token=" + "x" * 20, {}, None, 400),
    ("GET", "/history", {}, None, 200),
    ("GET", "/history?line=1&since=0&max=2", {}, None, 200),
    ("GET", "/history?since=-1", {}, None, 400),
    ("GET", "/metrics", {}, None, 200),
    ("GET", "/metrics?x", {}, None, 400),
    ("POST", "/command", {}, "probe", 200),
    ("POST", "/command", {}, "probe 1", 200),
    ("POST", "/command", {}, "failover 2", 409),
    ("POST", "/command", {}, "failover", 400),
    ("POST", "/command", {}, "failover x", 400),
    ("POST", "/command", {}, "config", 400),
    ("POST", "/command", {}, "quit", 400),
    ("POST", "/command", {}, "", 400),
    ("POST", "/command", {}, "probe\n", 400),
    ("POST", "/command", {}, "x" * 1024, 400),
    ("POST", "/command", {}, "x" * 1025, 413),
    ("POST", "/command", {"Content-Length": "4294967297"}, "x", 413),
    ("POST", "/command", {"Content-Length": "9" * 30}, "x", 400),
    ("POST", "/command", {"Content-Length": "-1"}, "x", 400),
    ("POST", "/command", {"Transfer-Encoding": "chunked"}, "x", 411),
    ("GET", "/", {"X-Long": "x" * 9000}, None, 431),
    ("GET", "/state", {"Host": None}, None, 400),
    # a name that anybody may own, leading to the phone
    ("GET", "/state", {"Host": "evil.example"}, None, 403),
    ("GET", "/state", {"Host": "evil.example:8080"}, None, 403),
    ("GET", "/state", {"Host": "127.0.0.1.evil.example"}, None, 403),
    ("GET", "/state", {"Host": "localhost.evil.example"}, None, 403),
    ("GET", "/state", {"Host": "10.9.9.9"}, None, 403),
    ("GET", "/metrics", {"Host": "evil.example"}, None, 403),
    ("GET", "/events", {"Host": "evil.example"}, None, 403),
    ("POST", "/command", {"Host": "evil.example",
                          "Origin": "http://evil.example"}, "probe", 403),
    ("GET", "/state", {"Host": "localhost:9999"}, None, 200),
    ("GET", "/state", {"Host": "LOCALHOST"}, None, 200),
    ("GET", "/state", {"Host": "[::1]:8080"}, None, 200),
    # another site, in the owner's browser
    ("POST", "/command", {"Origin": "http://evil.example"}, "probe", 403),
    ("POST", "/command", {"Origin": "null"}, "probe", 403),
    ("POST", "/command", {"Origin": "http://127.0.0.1:8081"}, "probe", 403),
    ("POST", "/command", {"Origin": "http://127.0.0.1:8080"}, "probe", 200),
    ("POST", "/command", {"Sec-Fetch-Site": "cross-site"}, "probe", 403),
    ("POST", "/command", {"Sec-Fetch-Site": "same-site",
                          "Sec-Fetch-Mode": "navigate"}, "probe", 403),
    ("POST", "/login", {"Origin": "http://evil.example"}, "x", 403),
    ("GET", "/state", {"Origin": "http://evil.example"}, None, 403),
    ("GET", "/events", {"Sec-Fetch-Site": "cross-site"}, None, 403),
    ("GET", "/page.js", {"Sec-Fetch-Site": "cross-site"}, None, 403),
    ("GET", "/", {"Sec-Fetch-Site": "cross-site",
                  "Sec-Fetch-Mode": "navigate"}, None, 200),
    ("GET", "/state", {"Sec-Fetch-Site": "same-origin"}, None, 200),
]

RAW = [
    (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
    (b"GET /\r\n\r\n", 400),
    (b"\0\1\2\3\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    (b"GET /state HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n", 400),
    (b"POST /command HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
     b"Content-Length: 6\r\n\r\nprobe", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n", 400),
    (b"A" * 20000, 431),
    (b"GET / HTTP/1.0\nHost: localhost\n\n", 200),
]


@parallel
def test_requests(lab):
    phone = alone(lab, LISTEN)
    page = Page(lab.phone)
    page.wait_open()

    wrong = []
    for method, path, headers, body, status in REQUESTS:
        r = page.ask(method, path, body, headers)
        if r.status != status or method == "HEAD" and r.body:
            wrong.append((method, path, headers, status, r))
    for data, status in RAW:
        got = page.raw(data)
        if not got.startswith(b"HTTP/1.1 %d " % status):
            wrong.append((data[:60], status, got[:60]))
    assert not wrong

    assert page.ask("PUT", "/state", "x").headers["Allow"] == "GET, HEAD"
    assert page.get("/command").headers["Allow"] == "POST"

    r = page.get("/")
    policy = r.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert r.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"<script(?![^>]*\ssrc=)|\son\w+=|style=|https?://",
                         r.text), "inline script or style, or foreign asset"

    state = page.get("/state").json
    assert state["lines"][0]["aor"] == "sip:100@pbx.example.com"
    assert "history" not in state["lines"][0]
    assert page.get("/metrics").headers["Content-Type"].startswith(
        "text/plain; version=0.0.4")
    assert "aastra_lines 1\n" in page.get("/metrics").text

    # commands do what they do elsewhere
    assert page.command("failover 1").text == "line 1: mode backup\n"
    assert phone.state(1)["mode"] == "backup"
    assert page.command("auto 1").status == 200
    assert phone.state(1)["mode"] == "auto"

    # bytes, however they come
    rnd = random.Random(6)
    for i in range(60):
        page.raw(rnd.choice([b"", b"GET ", b"POST /command HTTP/1.1\r\n"])
                 + rnd.randbytes(rnd.randint(0, 300)) + b"\r\n\r\n")
    with page.socket() as s:
        for c in b"GET /state HTTP/1.1\r\nHost: localhost\r\n\r\n":
            s.sendall(bytes([c]))
        assert s.recv(100).startswith(b"HTTP/1.1 200 ")

    # half a request is not waited for for ever
    got = page.raw(b"GET / HTTP/1.1\r\nHost:", timeout=30)
    assert got.startswith(b"HTTP/1.1 408 ")
    assert page.get("/state").status == 200
    assert phone.exit() == 0


@parallel
def test_token(lab):
    """From elsewhere only with the token, which stays a secret."""
    ip = lab.phone.ip
    phone = alone(lab, "aastra_http_listen %s:8080" % ip)
    far = Page(lab.far, ip)
    far.wait_open()

    path = os.path.join(phone.dir, "aastra_http_token")
    token = open(path).read().strip()
    assert re.fullmatch("[0-9a-f]{32}", token)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    right = {"Authorization": "Bearer " + token}

    # files only, and by any name
    assert far.get("/", headers={"Host": "phone.lan:8080"}).status == 200
    for p in ("/state", "/history", "/metrics", "/events"):
        r = far.get(p)
        assert (r.status, r.headers["WWW-Authenticate"].split()[0]) == (
            401, "Bearer")
        assert far.get(p, headers={"Host": "localhost"}).status == 401
    assert far.command("failover 1").status == 401
    assert phone.state(1)["mode"] == "auto"
    assert far.get("/state", headers=right).status == 200
    assert far.get("/state", headers=dict(right, Host="phone.lan")
                   ).status == 200
    assert far.command("failover 1", headers=right).status == 200
    assert phone.state(1)["mode"] == "backup"
    # the token does not make another site's request a good one
    assert far.command("auto 1", headers=dict(
        right, Origin="http://evil.example")).status == 403

    # a wrong one is answered late
    begun = time.monotonic()
    assert far.get("/state", headers={"Authorization": "Bearer " + "0" * 32}
                   ).status == 401
    assert far.ask("POST", "/login", token[:-1]).status == 401
    assert time.monotonic() - begun > 1.5
    for header in ("Bearer", "Bearer ", "Basic " + token, token):
        assert far.get("/state", headers={"Authorization": header}
                       ).status == 401

    # the browser's way in
    r = far.ask("POST", "/login", token + "\n")
    cookie = r.headers["Set-Cookie"]
    assert r.status == 200 and token not in cookie
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    mine = {"Cookie": "other=1; " + cookie.split(";")[0]}
    assert far.get("/state", headers=mine).status == 200
    assert far.get("/state", headers={"Cookie": "aastra_page=" + token}
                   ).status == 401

    # another token ends what the old one had opened
    with far.events(headers=mine) as seen:
        seen.wait_named("state")
        reconfigure(phone, "aastra_http_listen 0.0.0.0:8080",
                    "aastra_http_token " + TOKEN.replace(" ", "-"))
        phone.cmd("aastra_reload")
        lab.until(lambda: seen.ended, what="the old token's listener ends")
    new = {"Authorization": "Bearer " + TOKEN.replace(" ", "-")}
    lab.until(lambda: far.get("/state", headers=new).status == 200)
    assert far.get("/state", headers=right).status == 401
    assert far.get("/state", headers=mine).status == 401
    # a token of one's own is for all
    near = Page(lab.phone)
    assert near.get("/state").status == 401
    assert near.get("/state", headers=new).status == 200

    # the same file again, and no token on loopback
    reconfigure(phone, "aastra_http_listen 0.0.0.0:8080")
    phone.cmd("aastra_reload")
    lab.until(lambda: near.get("/state").status == 200)
    assert far.get("/state", headers=right).status == 200

    # too short to be one: nobody
    reconfigure(phone, "aastra_http_listen 0.0.0.0:8080",
                "aastra_http_token short")
    phone.cmd("aastra_reload")
    phone.proc.wait_for_line("token is shorter")
    for page in (near, far):
        lab.until(lambda: page.get("/state", headers={
            "Authorization": "Bearer short"}).status == 401)

    log = phone.proc.output()
    for secret in (token, TOKEN.replace(" ", "-"), cookie.split(";")[0]):
        assert secret not in log
        assert secret not in phone.cmd("aastra_config")
    assert phone.exit() == 0


@parallel
def test_another_token(lab):
    """Deleted, and the configuration read again: another token is made, and
    what the old one had opened ends. Changed: that one counts."""
    ip = lab.phone.ip
    phone = alone(lab, "aastra_http_listen %s:8080" % ip)
    far = Page(lab.far, ip)
    far.wait_open()
    path = os.path.join(phone.dir, "aastra_http_token")

    def status(token):
        return far.get("/state", headers={"Authorization": "Bearer " + token}
                       ).status

    old = open(path).read().strip()
    assert status(old) == 200
    phone.cmd("aastra_reload")          # it is what it was
    assert status(old) == 200
    with far.events(headers={"Authorization": "Bearer " + old}) as seen:
        seen.wait_named("state")
        os.unlink(path)
        phone.cmd("aastra_reload")
        lab.until(lambda: seen.ended, what="the old token's listener ends")
    lab.until(lambda: os.path.exists(path), 5, "another file")
    new = open(path).read().strip()
    assert re.fullmatch("[0-9a-f]{32}", new) and new != old
    far.wait_open()
    assert status(new) == 200
    assert status(old) == 401

    with open(path, "w") as f:
        f.write("horse-battery\n")
    phone.cmd("aastra_reload")
    lab.until(lambda: status("horse-battery") == 200, 10, "one's own")
    assert status(new) == 401
    assert phone.exit() == 0



@parallel
def test_guesses(lab):
    """So many wrong tokens a second and no more, also of somebody who hangs
    up at once and comes again."""
    phone = alone(lab, LISTEN, "aastra_http_token " + TOKEN.replace(" ", "-"))
    page = Page(lab.phone)
    page.wait_open()
    guess = (b"POST /login HTTP/1.1\r\nHost: localhost\r\n"
             b"Content-Length: 20\r\n\r\n" + b"0" * 20)
    begun = time.monotonic()
    for _ in range(300):
        s = lab.phone.inside(lambda: socket.create_connection(
            ("127.0.0.1", 8080), 5))
        with contextlib.suppress(OSError):
            s.sendall(guess)
        s.close()
    phone.cmd("aastra_status")
    took = time.monotonic() - begun
    tried = phone.proc.output().count("wrong token from")
    assert 0 < tried <= 24 * (took + 1), took
    right = {"Authorization": "Bearer " + TOKEN.replace(" ", "-")}

    def let_in():
        try:
            return page.get("/state", headers=right).status == 200
        except (OSError, http.client.HTTPException):
            return False
    lab.until(let_in, 10, "who knows the token")
    assert phone.exit() == 0


@parallel
def test_slow_and_many(lab):
    """Clients that do nothing, read nothing, or are many harm nobody."""
    phone = alone(lab, LISTEN, accounts=[
        lab.account(100 + i, via=lab.primary) for i in range(30)])
    page = Page(lab.phone)
    page.wait_open()
    lab.until(lambda: len(page.get("/state").json["lines"]) == 30)
    fds = phone.fds()

    # connections without a request, and with half of one
    idle = [page.socket() for _ in range(120)]
    for s in idle[::2]:
        s.sendall(b"GET /state HTTP/1.1\r\n")
    for _ in range(5):
        assert page.get("/state").status == 200
    assert phone.fds() <= fds + 30
    for s in idle:
        s.close()

    good = [page.events() for _ in range(5)]
    stuck = [page.events(read=False, rcvbuf=2048) for _ in range(3)]
    for seen in good:
        seen.wait_named("state")
    r = page.get("/events")
    assert r.status == 503 and r.headers["Retry-After"]

    # bursts of news: those who read get them, those who do not cost little
    rss = phone.rss_kb()
    for turn in range(12):
        for mode in ("failover", "auto"):
            for n in range(1, 31, 3):
                phone.cmd("aastra_%s %d" % (mode, n))
    begun = time.monotonic()
    phone.cmd("aastra_failover 30")
    for seen in good:
        seen.wait_named("line", after=begun, match=lambda v: any(
            x["line"] == 30 and x["mode"] == "backup" for x in v["lines"]))
    assert phone.rss_kb() - rss < 8192
    assert page.get("/state").status == 200

    # who comes back is told what it missed, and no more
    history = good[0].named("history")
    last = history[-1][2]
    phone.cmd("aastra_auto 30")
    with page.events() as whole:
        pass
    for seen in stuck:
        seen.close()
    lab.until(lambda: phone.fds() <= fds + 6)
    with page.events(headers={"Last-Event-ID": last}) as again:
        value = again.wait_named("history")
        assert value["entries"]
        assert all(e["seq"] > int(last) for e in value["entries"])
    for seen in good:
        # every entry once
        seqs = [e["seq"] for _, _, _, v in seen.named("history")
                for e in v["entries"]]
        assert seqs == sorted(set(seqs))
        seen.close()
    lab.until(lambda: phone.fds() <= fds + 1)
    assert phone.exit() == 0


@pytest.mark.all_rows
def test_stuck_listener_is_dropped(lab):
    """A client of the events that reads nothing costs a bounded amount of
    memory, and loses its place."""
    phone = alone(lab, LISTEN, accounts=[
        lab.account(100 + i, via=lab.primary) for i in range(60)])
    page = Page(lab.phone)
    page.wait_open()
    lab.until(lambda: len(page.get("/state").json["lines"]) == 60)
    rss = phone.rss_kb()

    def served():
        return len(lab.phone.run("ss", "-Htn", "state", "established",
                                 "sport", "=", ":8080").splitlines())
    stuck = [page.events(read=False, rcvbuf=2048) for _ in range(4)]
    lab.until(lambda: served() == 4)

    def gone():
        # the kernel's buffers have to be full before anything waits here
        for mode in ("failover", "auto"):
            for n in range(1, 61):
                phone.cmd("aastra_%s %d" % (mode, n))
        assert phone.rss_kb() - rss < 16384
        return served() == 0
    lab.until(gone, 180, "all of them are dropped", every=0.05)
    for seen in stuck:
        seen.close()


# -- for people ---------------------------------------------------------------

# What a person would complain about: things that stick out, lie upon each
# other, are cut off, or can hardly be read.
LOOK = """
const bad = [];
const wide = document.documentElement.clientWidth;
const name = e => e.tagName.toLowerCase() + (e.id ? "#" + e.id : "") +
    (e.className && e.className.baseVal === undefined ? "." + e.className
     : "") + " '" + (e.textContent || "").trim().slice(0, 30) + "'";
const seen = e => e.checkVisibility() && e.getClientRects().length;
const rgb = c => (c.match(/[\\d.]+/g) || []).map(Number);
const lum = c => { const [r, g, b] = rgb(c).slice(0, 3).map(v => {
    v /= 255; return v <= 0.03928 ? v / 12.92
        : Math.pow((v + 0.055) / 1.055, 2.4); });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const paper = e => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor, v = rgb(c);
    if (v.length < 4 || v[3] > 0) return c; } return "rgb(255,255,255)"; };

if (document.documentElement.scrollWidth > wide)
    bad.push("scrolls sideways by " +
             (document.documentElement.scrollWidth - wide));

for (const e of document.querySelectorAll("body *")) {
    if (!seen(e) || e.id === "said") continue;
    const r = e.getBoundingClientRect();
    if (r.left < -1 || r.right > wide + 1) bad.push("sticks out: " + name(e));
    if (e.closest("svg")) continue;
    if (e.scrollWidth > e.clientWidth + 1 && e.clientWidth
        && getComputedStyle(e).display !== "inline")
        bad.push("cut: " + name(e));
    const own = [...e.childNodes].some(
        n => n.nodeType === 3 && n.data.trim());
    if (own) {
        const style = getComputedStyle(e);
        const a = lum(style.color), b = lum(paper(e));
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5)
            bad.push("contrast " + ratio.toFixed(2) + ": " + name(e));
    }
}

// neighbours do not lie upon each other
for (const p of document.querySelectorAll(
        "header, .tools, #main, #lines, #strip, .line > summary, .body, " +
        ".flows, .flows li, .lamps, .buttons, .moves-head, #moves, " +
        "#history li")) {
    const kids = [...p.children].filter(seen);
    kids.forEach((e, i) => kids.slice(i + 1).forEach(f => {
        const a = e.getBoundingClientRect(), b = f.getBoundingClientRect();
        const w = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const h = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (w > 1 && h > 1)
            bad.push("overlap: " + name(e) + " and " + name(f));
    }));
}

for (const e of document.querySelectorAll("button, select, input")) {
    if (!seen(e)) continue;
    const r = e.getBoundingClientRect();
    if (r.height < 24 || r.width < 24) bad.push("small: " + name(e));
    if (!(e.getAttribute("aria-label") || e.textContent.trim() ||
          e.labels && e.labels.length)) bad.push("nameless: " + name(e));
}
return bad.slice(0, 20);
"""


def looks_good(lab, browser, what):
    for width, height, dark in SCREENS:
        browser.screen(width, height, dark)
        browser.screenshot(os.path.join(lab.dir, "%s-%dx%d-%s.png" % (
            what, width, height, "dark" if dark else "light")), whole=True)
        assert browser.js(LOOK) == [], (what, width, height, dark)
    browser.screen(*SCREENS[0])


class Watched:
    """A page that is open, and is never loaded again."""

    def __init__(self, browser, url):
        self.browser = browser
        browser.open(url)
        browser.js("window.stillTheSame = true")

    def wait(self, css, timeout=10.0):
        self.browser.until("return document.querySelector(arguments[0]) !== "
                           "null", css, timeout=timeout, what=css)

    def wait_lines(self, services, timeout=10.0):
        """All lines, in order, as the page shows them."""
        self.browser.until(
            "const got = [...document.querySelectorAll('.line')].map("
            "e => e.dataset.service);"
            "return JSON.stringify(got) === JSON.stringify(arguments[0])",
            services, timeout=timeout, what="lines %r" % services[:5])

    def press(self, n, command):
        self.browser.click("#line%d [data-command=%s]" % (n, command))

    def said(self, text):
        self.browser.until("return document.getElementById('said')"
                           ".textContent.includes(arguments[0])", text,
                           what="the page says %r" % text)

    def check(self):
        assert self.browser.js("return window.stillTheSame === true")
        assert self.browser.complaints() == []


def test_three_lines(lab):
    """Each button does what it says while a server is really killed."""
    lab.reg_server = reg = lab.registrar(PRESENCE_DB=True)
    reg.publish(200, bodies.dialog(200, "confirmed"))
    site = Site(lab, "E3", users=(100, 101, 102), registrar=reg, config=[
        "sip_transaction_timer 500", "sip_outbound_keepalive_timer 1",
        "sip_recovery_base_timer 600", "sip_recovery_max_timer 600", LISTEN,
        "aastra_cfg_path cfg", "sip line1 subscribe: dialog 201"])
    phone = site.start(files={
        "cfg/aastra.cfg": "prgkey1 type: blf\nprgkey1 value: 200\n"
        "prgkey1 label: <b>Bob</b><img src=x>\n"})
    lab.wire.settle()

    def held(n):
        return phone.state(n)["mode"]

    with Browser(lab.phone, lab.dir) as b:
        page = Watched(b, "http://127.0.0.1:8080/")
        page.wait_lines([PRIMARY] * 3)
        assert b.text("#summary") == "3 lines: all on the primary"
        assert b.text("#live") == "live"
        assert [x.split()[0] for x in b.texts(".number")] == ["1", "2", "3"]
        assert re.search(r"\d ms", b.text(".flows .how"))

        # a lamp, and its name is text, whatever is in it
        page.wait("#line1 .lamps [data-lamp=on]")
        b.until("return document.querySelector('#line1 .lamps').innerText"
                ".includes('<b>Bob</b><img src=x> busy')")
        reg.publish(200, bodies.dialog(200, "terminated"))
        b.until("return document.querySelector('#line1 .lamps').innerText"
                ".includes('<img src=x> idle')")

        # the primary dies: on the wire, at the registrar, and here
        t = lab.now()
        site.primary.kill()
        page.wait_lines([BACKUP] * 3)
        for user in site.users:
            site.wait_200(BACKUP, after=t, user=user)
            assert {r for r, _ in site.bindings(user)} >= {BACKUP}
        assert b.text("#summary") == "3 lines: all on the backup"
        page.wait("#line2 .flows [data-rank=primary][data-state=down]")
        assert "next try in" in b.text("#line2 .flows .why")
        b.until("return document.querySelectorAll("
                "'#history [data-event=failover]').length === 1")
        assert "1-3" in b.text("#history [data-event=failover]")
        b.until("return document.querySelectorAll("
                "'#picture .bar[data-service=backup]').length === 3")
        assert len(b.texts("#picture .mark")) == 3
        looks_good(lab, b, "three-on-backup")

        # it is back, and would be tried in ten minutes: Probe
        site.primary.start()
        page.press(1, "probe")
        page.said("trying every failed server")
        page.wait_lines([PRIMARY] * 3)
        lab.until(lambda: all(site.only_on(PRIMARY, u) for u in site.users))

        # Failover: one line alone, and it stays there
        t = lab.now()
        page.press(2, "failover")
        page.said("line 2: mode backup")
        page.wait_lines([PRIMARY, BACKUP, PRIMARY])
        page.wait("#line2 [data-command=failover][aria-pressed=true]")
        assert "held on the backup" in b.text("#line2 > summary")
        assert held(2) == BACKUP
        site.wait_200(BACKUP, after=t, user=101)
        lab.until(lambda: site.only_on(BACKUP, 101))
        assert b.text("#summary") == \
            "3 lines: 1 on the backup, 2 on the primary"

        # Auto lets it choose: it goes home
        t = lab.now()
        page.press(2, "auto")
        page.wait_lines([PRIMARY] * 3)
        assert held(2) == "auto"
        lab.until(lambda: site.only_on(PRIMARY, 101))

        # Failback holds it on the primary, also when that dies
        page.press(3, "failback")
        page.wait("#line3 [data-command=failback][aria-pressed=true]")
        assert held(3) == PRIMARY
        site.primary.kill()
        page.wait_lines([BACKUP, BACKUP, "none"])
        assert "Not registered" in b.text("#line3 .fault")
        assert "without service" in b.text("#summary")
        looks_good(lab, b, "three-one-lost")
        # with the keyboard alone
        b.js("document.querySelector("
             "'#line3 [data-command=failback]').focus()")
        b.keys("Tab", "Enter")
        page.wait_lines([BACKUP] * 3)
        assert held(3) == "auto"

        # Probe all, and Reload
        site.primary.start()
        b.click("#probe-all")
        page.wait_lines([PRIMARY] * 3)
        with open(os.path.join(phone.dir, "config"), "a") as f:
            f.write("sip line1 subscribe: presence 202\n")
        b.click("#reload")
        page.said("configuration read again")
        b.until("return document.querySelector('#line1 .lamps').innerText"
                ".includes('202')")
        page.check()

        # the phone ends, and comes back: the page follows by itself
        assert phone.exit() == 0
        b.until("return document.getElementById('live').dataset.live "
                "=== 'no'")
        phone.start()
        page.wait("#live[data-live=yes]", 20)
        page.wait_lines([PRIMARY] * 3)
        assert b.js("return window.stillTheSame === true")


def test_fifty_lines(lab):
    users = range(100, 150)
    site = Site(lab, "E3", users=users, config=[
        "sip_transaction_timer 500", "sip_outbound_keepalive_timer 1",
        "sip_recovery_base_timer 600", "sip_recovery_max_timer 600", LISTEN])
    phone = site.start(rank=None)
    lab.until(lambda: [x["registered"] for x in phone.state()["lines"]]
              == [True] * 50, 20, "50 lines are registered")

    with Browser(lab.phone, lab.dir) as b:
        page = Watched(b, "http://127.0.0.1:8080/")
        page.wait_lines([PRIMARY] * 50)
        assert len(b.texts("#strip button")) == 50
        assert not b.js("return document.querySelector('.line[open]')")
        site.primary.kill()
        page.wait_lines([BACKUP] * 50, 30)
        assert all({BACKUP} <= {r for r, _ in site.bindings(u)}
                   for u in (100, 124, 149))
        assert b.text("#summary") == "50 lines: all on the backup"
        b.until("return document.querySelectorAll('#strip "
                "[data-service=backup]').length === 50")

        # a tile leads to its line
        b.click("#strip button:nth-child(37)")
        page.wait("#line37[open]")
        b.until("const r = document.getElementById('line37')"
                ".getBoundingClientRect();"
                "return r.top >= -1 && r.bottom <= innerHeight + 1")
        looks_good(lab, b, "fifty")

        site.primary.start()
        page.press(37, "failover")
        page.said("line 37: mode backup")
        page.press(37, "probe")
        page.wait_lines([BACKUP if n == 37 else PRIMARY
                         for n in range(1, 51)], 20)
        lab.until(lambda: site.only_on(BACKUP, 136), 10)
        b.js("document.querySelectorAll('.line').forEach("
             "e => { e.open = true; })")
        looks_good(lab, b, "fifty-open")
        page.check()


def test_browser_elsewhere(lab):
    """From another host the page asks for the token, once."""
    phone = alone(lab, "aastra_http_listen %s:8080" % lab.phone.ip,
                  "aastra_http_token " + TOKEN.replace(" ", "-"))
    Page(lab.far, lab.phone.ip).wait_open()
    url = "http://%s:8080/" % lab.phone.ip
    with Browser(lab.far, lab.dir) as b:
        b.open(url)
        b.until("return document.activeElement.id === 'token'")
        assert not b.js("return document.getElementById('main')"
                        ".checkVisibility()")
        looks_good(lab, b, "login")
        b.type("#token", "not this one")
        b.keys("Enter")
        b.until("return document.getElementById('login-error').innerText"
                " === 'This is not the token.'")
        b.type("#token", TOKEN.replace(" ", "-"))
        b.click("#login button")
        b.until("return document.querySelectorAll('.line').length === 1")
        b.until("return document.getElementById('live').innerText === 'live'")
        b.open(url)
        b.until("return document.querySelectorAll('.line').length === 1")
        # no script can read what lets the browser in
        assert b.js("return document.cookie") == ""
        b.click("#line1 [data-command=failover]")
        lab.until(lambda: phone.state(1)["mode"] == "backup")

        # another site cannot: neither read nor steer
        b.open("about:blank")
        script = ("return fetch(arguments[0], {method: arguments[1], body:"
                  " arguments[2], credentials: 'include', mode: 'no-cors'})"
                  ".then(r => r.type + r.status, e => 'refused')")
        assert b.js(script, url + "command", "POST", "auto 1") in (
            "opaque0", "refused")
        lab.never(lambda: phone.state(1)["mode"] != "backup", 0.3)
