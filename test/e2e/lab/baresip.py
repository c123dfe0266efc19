"""A real baresip on a host of the lab, driven over ctrl_tcp."""

import functools
import json
import os
import re
import shutil
import subprocess
import uuid as uuids

from . import wait
from .ctrl import CommandError, Ctrl
from .proc import Proc

SYSTEM_MODULES = "/usr/lib/baresip/modules"


def modules_of(binary):
    """Folder of the modules that came with a baresip: beside it, else the
    system's."""
    path = os.path.realpath(shutil.which(binary) or binary)
    beside = os.path.join(os.path.dirname(path), "../lib/baresip/modules")
    return (os.path.normpath(beside) if os.path.isdir(beside)
            else SYSTEM_MODULES)


@functools.lru_cache
def version_of(binary):
    """Version of a baresip, (1, 0, 0) for instance."""
    p = subprocess.run([binary, "-h"], text=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    m = re.search(r"baresip v(\d+)\.(\d+)\.(\d+)", p.stdout)
    if not m:
        raise RuntimeError("%s does not say its version:\n%s"
                           % (binary, p.stdout[:500]))
    return tuple(int(x) for x in m.groups())

BASE_CONFIG = """\
net_interface           eth0
dns_server              192.0.2.53:53
call_local_timeout      120
call_max_calls          4
call_hold_other_calls   no
audio_player            aubridge,nil
audio_source            aubridge,nil
audio_alert             aubridge,nil
jitter_buffer_delay     5-10
rtp_stats               no
ctrl_tcp_listen         127.0.0.1:4444
"""

MODULES = ["g711.so", "aubridge.so"]
# ctrl_tcp comes first and then the gate, see Baresip._open_gate().
GATE = "gate.so"
APP_MODULES = ["ctrl_tcp.so", GATE, "account.so", "contact.so", "menu.so"]


class Baresip:
    """accounts: lines of the accounts file. config: more lines of the config
    file, replacing those of BASE_CONFIG with the same key. modules: more
    modules, loaded with the codecs; app_modules: more module_app lines, after
    the others. aastra: path of aastra.so, loaded before account.so.
    wrapper: words to put before the command, e.g. ["valgrind", "-q"]. files:
    name -> text of more files in the configuration folder. uuid: its
    instance-id, else one made of the name."""

    def __init__(self, host, log_dir, accounts, config=(), modules=(),
                 app_modules=(), aastra=None, contacts=(), name=None,
                 wrapper=(), binary="baresip", system_modules=None,
                 args=(), files=None, env=None, uuid=None):
        self.host = host
        self.name = name or "baresip-" + host.name
        self.log_dir = log_dir
        self.accounts = list(accounts)
        self.config = list(config)
        self.modules = list(modules)
        self.app_modules = list(app_modules)
        self.aastra = aastra
        self.contacts = list(contacts)
        self.wrapper = list(wrapper)
        self.binary = binary
        self.system_modules = system_modules or modules_of(binary)
        self.args = list(args)
        self.files = dict(files or {})
        self.env = dict(env or {})
        self.dir = os.path.join(log_dir, "conf-" + self.name)
        self.uuid = uuid or str(uuids.uuid5(uuids.NAMESPACE_DNS, self.name))
        self.proc = None
        self.ctrl = None
        self._selected = None

    def __repr__(self):
        return "<%s>" % self.name

    # -- configuration ---------------------------------------------------------

    def write_config(self):
        """Write the configuration folder anew (the uuid stays)."""
        os.makedirs(self.dir, exist_ok=True)
        own = {_key(line) for line in self.config}
        lines = [x for x in BASE_CONFIG.splitlines() if _key(x) not in own]
        lines.append("module_path " + self._module_path())
        lines += ["module " + m for m in [*MODULES, *self.modules]]
        lines.append(("module uuid.so" if version_of(self.binary) >= (2, 0, 0)
                      else "module_tmp uuid.so"))
        apps = list(APP_MODULES)
        if self.aastra:
            apps.insert(apps.index("account.so"), "aastra.so")
        apps += self.app_modules
        lines += ["module_app " + m for m in apps]
        lines += self.config
        self._write("config", lines)
        self._write("accounts", self.accounts)
        os.chmod(os.path.join(self.dir, "accounts"), 0o600)
        self._write("contacts", self.contacts)
        if not os.path.exists(os.path.join(self.dir, "uuid")):
            self._write("uuid", [self.uuid], end="")
        for name, text in self.files.items():
            self._write(name, [text], end="")

    def _write(self, name, lines, end="\n"):
        path = os.path.join(self.dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write("\n".join(lines) + end)

    def _module_path(self):
        """One folder with the system's modules, ours, and the gate."""
        path = os.path.join(self.dir, "modules")
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path)
        for m in os.listdir(self.system_modules):
            os.symlink(os.path.join(self.system_modules, m),
                       os.path.join(path, m))
        if self.aastra:
            ours = os.path.join(path, "aastra.so")
            if os.path.lexists(ours):
                os.unlink(ours)
            os.symlink(os.path.abspath(self.aastra), ours)
        os.mkfifo(os.path.join(path, GATE))
        return path

    def _open_gate(self, timeout):
        """Let baresip load its accounts.

        baresip sends events to a connected client only, and the first ones
        come within a millisecond. So a named pipe stands among its modules,
        after ctrl_tcp: loading it blocks until we, connected by then, open
        the other end. baresip notes that it is no module and goes on.
        """
        def opened():
            if not self.proc.running:
                raise ConnectionError("it ended")
            os.close(os.open(os.path.join(self.dir, "modules", GATE),
                             os.O_WRONLY | os.O_NONBLOCK))
            return True
        wait.until(opened, timeout, "%s loads its modules" % self.name,
                   every=0.001)

    # -- life --------------------------------------------------------------------

    def start(self, timeout=None, ctrl=True):
        timeout = timeout or (30.0 if self.wrapper else 10.0)
        self.write_config()
        argv = ["stdbuf", "-oL", *self.wrapper, self.binary, "-f", self.dir,
                *self.args]
        env = dict(os.environ, HOME=self.dir, TERM="dumb", **self.env)
        self.proc = Proc(argv, self.name,
                         os.path.join(self.log_dir, self.name + ".log"),
                         host=self.host, env=env, cwd=self.dir)
        try:
            if ctrl:
                self.connect(timeout)
            self._open_gate(timeout)
        except (OSError, wait.Timeout) as e:
            self.kill()
            raise RuntimeError("%s does not start (%s):\n%s" % (
                self.name, e, self.proc.output()[-2000:])) from None
        return self

    def connect(self, timeout=10.0):
        """(Re)connect ctrl_tcp."""
        if self.ctrl:
            self.ctrl.close()
        self.ctrl = Ctrl(self.host, timeout=timeout,
                         alive=lambda: self.proc.running)

    def exit(self, timeout=10.0):
        """Ask it to end (SIGTERM) and return its exit code; fails if it
        takes longer or crashes."""
        self.proc.signal(15)
        try:
            code = self.proc.wait(timeout)
        finally:
            self.proc.kill()
        return code

    def kill(self):
        if self.proc:
            self.proc.kill()

    def stop(self):
        """End it somehow, for cleaning up."""
        if self.proc:
            self.proc.terminate(1.0)
        if self.ctrl:
            self.ctrl.close()

    def problem(self):
        """What went wrong with the process, None if all is well. A phone
        that runs in a wrapper is asked to end, for the wrapper's verdict."""
        p = self.proc
        if p is None:
            return None
        if p.running and self.wrapper:
            p.cont()
            p.signal(15)
            try:
                p.wait(60)
            except wait.Timeout:
                return "%s does not end on SIGTERM" % self.name
        code = p.exit_code
        if code is None or p.killed and code in (-9, -15):
            return None
        return "%s ended with %d" % (self.name, code) if code else None

    def hang(self):
        self.proc.stop()

    def cont(self):
        self.proc.cont()

    # -- commands and events -------------------------------------------------

    @property
    def version(self):
        return version_of(self.binary)

    @property
    def has_current(self):
        """Is there a current user agent, which commands act on? (1.0.0)"""
        return self.version < (1, 1, 0)

    @property
    def raises(self):
        """Does uafind move what it finds to the head of the list? (4.x)"""
        return self.version >= (4, 0, 0)

    @property
    def event_classes(self):
        """Class of the events of registrations, and of those of modules."""
        return ("ua", "ua") if self.version >= (4, 0, 0) else (
            "register", "other")

    def cmd(self, line, timeout=15.0):
        """Run a command: "name" or "name parameters".

        Where baresip has no current user agent, dial gets the place of the
        one that uafind found last."""
        command, _, params = line.partition(" ")
        if command == "dial" and params and self._selected is not None:
            params += " %d" % self._selected
        text = self.ctrl.cmd(command, params or None, timeout)
        if command == "uafind" and self.raises:
            self._selected = 0
        elif command == "uafind" and not self.has_current:
            self._selected = list(self.reginfo()).index(params)
        return text

    def state(self, line=None):
        """The JSON of aastra_state, as Python values; of one line if named."""
        doc = json.loads(self.cmd("aastra_state"))
        if line is None:
            return doc
        return next(x for x in doc["lines"] if x["line"] == line)

    @property
    def events(self):
        return self.ctrl.events

    def find_events(self, *args, **kw):
        return self.ctrl.find(*args, **kw)

    def wait_event(self, *args, **kw):
        return self.ctrl.wait_event(*args, **kw)

    def reginfo(self):
        """baresip's own view: {AOR: (status, server, expires)}. Of several
        outbound proxies the first that is registered counts."""
        rows = {}
        for line in _plain(self.cmd("reginfo")).splitlines():
            m = re.match(r"(?:[> ]|\d+ -) (sips?:\S+)(.*)", line)
            if not m:
                continue
            flows = re.findall(r"((?:FB-)?(?:OK|ERR|zzz)) +(\S*)"
                               r"(?: Expires (\d+)s)?", m[2])
            best = ([f for f in flows if f[0] == "OK"] or flows
                    or [("", "", "")])[0]
            rows[m[1]] = (best[0], best[1], int(best[2] or 0))
        return rows

    def wait_registered(self, aor=None, timeout=5.0):
        """Wait until this AOR (else all of them) is registered."""
        def ok():
            rows = self.reginfo()
            if aor:
                return rows[aor][0] == "OK"
            return rows and all(r[0] == "OK" for r in rows.values())
        wait.until(ok, timeout, "%s: registered %s" % (self.name, aor or ""))

    # -- calls -----------------------------------------------------------------

    def dial(self, target):
        return self.cmd("dial " + target)

    def accept(self):
        return self.cmd("accept")

    def hangup(self):
        """End the call that began last, if there is one."""
        if self.has_current:
            return self.cmd("hangup")
        left = self.open_calls()
        return self.cmd("hangup " + left[-1]) if left else ""

    def open_calls(self):
        """Call-IDs of the calls that there are, the oldest first."""
        ids = {e["id"]: True for e in self.find_events()
               if e.type.startswith("CALL_") and e.get("id")}
        for e in self.find_events("CALL_CLOSED"):
            ids.pop(e.get("id"), None)
        return list(ids)

    def hold(self, call_id):
        """Hold a call; 1.0.0 takes the one of its current user agent."""
        return self.cmd("hold" if self.has_current else "hold " + call_id)

    def resume(self, call_id):
        try:
            return self.cmd("resume" if self.has_current
                            else "resume " + call_id)
        except CommandError:
            # 1.1.0 says so when there is no other call, and has resumed it
            if self.version[:2] != (1, 1):
                raise
            return ""

    def calls(self):
        """The text of listcalls, without colours."""
        return _plain(self.cmd("listcalls"))

    def wait_call(self, direction="outgoing", timeout=5.0, after=0.0):
        return self.wait_event("CALL_ESTABLISHED", timeout, after,
                               direction=direction)

    # -- what it uses -------------------------------------------------------------

    def fds(self):
        return self.proc.fds()

    def rss_kb(self):
        return self.proc.rss_kb()


def _key(line):
    """The key of a config line; "" for lines that may repeat."""
    words = line.split()
    key = words[0] if words and not words[0].startswith("#") else ""
    return "" if key.startswith("module") else key


def _plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
