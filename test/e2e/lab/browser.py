"""A real Chromium, headless, on a host of the lab: driven over WebDriver."""

import base64
import http.client
import json
import os
import re
import shutil
import socket

from . import wait
from .proc import Proc

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--disable-extensions",
         "--hide-scrollbars", "--force-color-profile=srgb")
# the key of an element in WebDriver's JSON
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """with Browser(lab.phone, lab.dir) as b: b.open("http://127.0.0.1:8080/")

    dark: what prefers-color-scheme says, to begin with.
    """

    def __init__(self, host, log_dir, width=1280, height=800):
        self.host = host
        self.name = "chromium-" + host.name
        self.dir = os.path.join(log_dir, self.name)
        self.log_dir = log_dir
        self.size = (width, height)
        self.proc = None
        self.session = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.stop()

    def start(self, timeout=30.0):
        os.makedirs(self.dir)
        env = dict(os.environ, HOME=self.dir, XDG_RUNTIME_DIR=self.dir,
                   TMPDIR=self.dir)
        self.proc = Proc([shutil.which("chromedriver"), "--port=0"],
                         self.name,
                         os.path.join(self.log_dir, self.name + ".log"),
                         host=self.host, env=env, cwd=self.dir)
        self.port = int(self.proc.wait_for_line(
            r"started successfully on port (\d+)", timeout)[1])
        args = [*FLAGS, "--window-size=%d,%d" % self.size,
                "--user-data-dir=" + os.path.join(self.dir, "profile")]
        value = self.ask("POST", "/session", {"capabilities": {
            "alwaysMatch": {
                "goog:chromeOptions": {"args": args},
                "goog:loggingPrefs": {"browser": "ALL"},
                "timeouts": {"script": 20000, "pageLoad": 20000},
            }}}, timeout=timeout)
        self.session = value["sessionId"]
        return self

    def stop(self):
        if self.session:
            try:
                self._do("DELETE", "", timeout=5)
            except (OSError, RuntimeError, http.client.HTTPException):
                pass
            self.session = None
        if self.proc:
            self.proc.terminate(2.0)
            self.proc = None
        shutil.rmtree(self.dir, ignore_errors=True)

    # -- WebDriver ---------------------------------------------------------

    def ask(self, method, path, body=None, timeout=30.0):
        conn = http.client.HTTPConnection("127.0.0.1", self.port)
        conn.sock = self.host.inside(lambda: socket.create_connection(
            ("127.0.0.1", self.port), timeout))
        try:
            data = json.dumps(body or {}) if method == "POST" else None
            conn.request(method, path, data,
                         {"Content-Type": "application/json"})
            value = json.loads(conn.getresponse().read())["value"]
        finally:
            conn.close()
        if isinstance(value, dict) and "error" in value:
            raise RuntimeError("%s: %s" % (value["error"],
                                           value["message"][:500]))
        return value

    def _do(self, method, path, body=None, **kw):
        return self.ask(method, "/session/%s%s" % (self.session, path), body,
                        **kw)

    def cdp(self, command, **params):
        """A command of Chromium's own protocol."""
        return self._do("POST", "/goog/cdp/execute",
                        {"cmd": command, "params": params})

    def open(self, url):
        self._do("POST", "/url", {"url": url})

    def js(self, script, *args):
        """Run a function body; returns its value."""
        return self._do("POST", "/execute/sync",
                        {"script": script, "args": list(args)})

    def find(self, css):
        return self._do("POST", "/element", {
            "using": "css selector", "value": css})[ELEMENT]

    def click(self, css):
        """As a person does: it has to be there, seen, and not covered."""
        self._do("POST", "/element/%s/click" % self.find(css))

    def type(self, css, text):
        self._do("POST", "/element/%s/value" % self.find(css),
                 {"text": text})

    def keys(self, *names):
        """Press keys, one after the other, wherever the focus is."""
        code = {"Tab": "\ue004", "Enter": "\ue007", "Space": " "}
        actions = []
        for n in names:
            for kind in ("keyDown", "keyUp"):
                actions.append({"type": kind, "value": code.get(n, n)})
        self._do("POST", "/actions", {"actions": [
            {"type": "key", "id": "keys", "actions": actions}]})

    def text(self, css):
        return self.js("const e = document.querySelector(arguments[0]);"
                       "return e ? e.innerText : null", css)

    def texts(self, css):
        return self.js("return [...document.querySelectorAll(arguments[0])]"
                       ".map(e => e.innerText)", css)

    def until(self, script, *args, timeout=10.0, what=""):
        """Wait until a function body returns something true."""
        return wait.until(lambda: self.js(script, *args), timeout,
                          what or script, every=0.05)

    def screen(self, width, height, dark=False):
        """Another size of the screen, in light or dark."""
        self.cdp("Emulation.setDeviceMetricsOverride", width=width,
                 height=height, deviceScaleFactor=1, mobile=False)
        self.cdp("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme",
             "value": "dark" if dark else "light"}])
        # two frames: laid out, and painted
        self._do("POST", "/execute/async", {"script":
                 "const done = arguments[0]; requestAnimationFrame(() =>"
                 " requestAnimationFrame(() => done()))", "args": []})

    def screenshot(self, path, whole=False):
        if whole:
            size = self.cdp("Page.getLayoutMetrics")["cssContentSize"]
            data = self.cdp("Page.captureScreenshot", format="png",
                            captureBeyondViewport=True,
                            clip=dict(size, x=0, y=0, scale=1))["data"]
        else:
            data = self._do("GET", "/screenshot")
        with open(path, "wb") as f:
            f.write(base64.b64decode(data))

    def complaints(self):
        """What the browser wrote to its console since the last look."""
        return [re.sub(r"\s+", " ", x["message"])
                for x in self._do("POST", "/se/log", {"type": "browser"})]
