"""What is compared: this module and what people use today, each a phone on a
host of its own that registers at the primary and knows the backup."""

import functools
import os
import re
import shutil
import subprocess
import time

from lab.baresip import SYSTEM_MODULES, Baresip
from lab.proc import Proc

from . import sip

CONFIG = ["call_max_calls 0", "sip_trans_def udp"]
PORT = {"udp": 5060, "tcp": 5060, "tls": 5061}


def names_in_dns(lab, dns, transport, primary=None):
    """The servers as a domain's SRV records name them, the backup second."""
    service = {"udp": "_sip._udp.", "tcp": "_sip._tcp.",
               "tls": "_sips._tcp."}[transport] + sip.DOMAIN
    port = PORT[transport]
    dns.srv(service, (10, 0, port, "primary." + sip.DOMAIN),
            (20, 0, port, "backup." + sip.DOMAIN))
    dns.a("primary." + sip.DOMAIN, (primary or lab.primary).ip)
    dns.a("backup." + sip.DOMAIN, lab.backup.ip)


class Contender:
    """start(), dial(), stop(); .calls() says when outgoing calls were
    answered."""

    name = ""
    text = ""

    def __init__(self, lab, host, user, transport):
        self.lab, self.host, self.user = lab, host, user
        self.transport = transport
        self.primary = lab.primary      # hosts; a cell may have others
        self.dns = None                 # a name server

    def via(self, server):
        return "sip:%s:%d;transport=%s" % (server.ip, PORT[self.transport],
                                           self.transport)

    def drop_calls(self):
        """Give up what is not answered, as a person would."""

    def signal(self, number):
        """To its process, if it has one."""
        if self.process:
            self.process.signal(number)


class _Baresip(Contender):
    aastra = False
    keys = ()
    modules = ()
    wrapper = ()
    regint = 3600
    phone = None

    def accounts(self):
        return [self.account('outbound="%s"' % self.via(self.primary))]

    def account(self, extra):
        return ("<sip:%s@%s;transport=%s>;auth_pass=secret%s;regint=%d;"
                "answermode=auto;%s" % (self.user, sip.DOMAIN, self.transport,
                                        self.user, self.regint, extra))

    def config(self):
        return [*CONFIG, *self.keys]

    def start(self):
        config = self.config()
        if self.transport == "tls":
            config.append("sip_cafile " + self.lab.ca.cert)
        self.phone = self.make(
            self.host, self.lab.dir, self.accounts(), config=config,
            app_modules=self.modules, wrapper=self.wrapper,
            aastra=self.lab.module if self.aastra else None,
            name="%s-%s" % (self.name, self.host.name))
        # nothing is left of an earlier round
        shutil.rmtree(self.phone.dir, ignore_errors=True)
        self.lab.phones.append(self.phone)
        self.phone.start()
        return self

    @property
    def make(self):
        return Baresip

    @property
    def process(self):
        return self.phone and self.phone.proc

    def dial(self):
        try:
            self.phone.ctrl.call("dial", "200", timeout=2)
        except (AssertionError, ConnectionError):
            pass

    def drop_calls(self):
        try:
            self.phone.ctrl.call("hangup", timeout=2)
        except (AssertionError, ConnectionError):
            pass

    def failed(self, after):
        """Did the phone say that its call ended?"""
        return bool(self.phone.find_events("CALL_CLOSED", after))

    def stop(self):
        self.phone.stop()
        if self.phone in self.lab.phones:
            self.lab.phones.remove(self.phone)


class Aastra(_Baresip):
    name = "aastra"
    text = "this module, defaults"
    aastra = True

    def config(self):
        return [*super().config(),
                "sip_backup_outbound_proxy " + self.lab.backup.ip]


class AastraQuick(Aastra):
    name = "aastra-quick"
    text = "this module, keep-alive 1 s"
    keys = ("sip_outbound_keepalive_timer 1",)


class AastraNine(Aastra):
    """For requests: nine lines that share what there is to share."""

    name = "aastra-9"
    text = "this module, nine lines"

    def accounts(self):
        one, = super().accounts()
        return [one.replace(str(self.user), str(self.user + i))
                for i in range(9)]


class AastraStandby(Aastra):
    name = "aastra-standby"
    text = "this module, `sip outbound standby: 1`"
    keys = ("sip_outbound_standby 1",)


class AastraStandby2(Aastra):
    name = "aastra-standby2"
    text = "this module, `sip outbound standby: 2`"
    keys = ("sip_outbound_standby 2",)


class TwoOutbounds(_Baresip):
    name = "two-outbounds"
    text = "baresip 1.0.0, `sipnat=outbound`, two outbounds"

    def accounts(self):
        return [self.account('sipnat=outbound;outbound="%s";outbound2="%s"' % (
            self.via(self.primary), self.via(self.lab.backup)))]


class OneAccount(_Baresip):
    name = "one-account"
    text = "baresip 1.0.0, one account, no backup"


class _Elsewhere(Baresip):
    """A baresip that sees another root, with modules of its own. It has no
    instance-id: its two accounts would send the same one, and the farewell
    of the second then takes away the binding of the first."""

    def __init__(self, root, *args, **kw):
        super().__init__(*args, **kw)
        self.root = root

    def _module_path(self):
        path = super()._module_path()
        for m in os.listdir(self.root + SYSTEM_MODULES):
            if not os.path.lexists(os.path.join(path, m)):
                os.symlink(os.path.join(SYSTEM_MODULES, m),
                           os.path.join(path, m))
        return path

    def write_config(self):
        super().write_config()
        path = os.path.join(self.dir, "config")
        with open(path) as f:
            lines = [x for x in f if "uuid.so" not in x]
        with open(path, "w") as f:
            f.writelines(lines)


class Serreg(_Baresip):
    """baresip of Debian 13, in a folder made by mmdebstrap. What it has to
    find a dead server is the refresh of its registration."""

    name = "serreg"
    text = "baresip 1.1.0 with `serreg`, two accounts, `regint` 60 s"
    regint = 60
    modules = ("serreg.so",)
    root = os.environ.get("BENCH_TRIXIE", "/var/tmp/bench-trixie")

    @classmethod
    def prepare(cls):
        """Make the Debian 13 folder if it is not there."""
        if os.path.exists(cls.root + "/usr/bin/baresip"):
            return
        if not shutil.which("mmdebstrap"):
            raise RuntimeError("needs the package mmdebstrap")
        subprocess.run(["mmdebstrap", "--variant=apt", "trixie", cls.root,
                        "--include=baresip-core"], check=True)

    def accounts(self):
        return [self.account('outbound="%s";prio=%d;fbregint=120' % (
            self.via(server), prio)) for prio, server in enumerate(
                (self.primary, self.lab.backup))]

    @property
    def make(self):
        return functools.partial(_Elsewhere, self.root)

    def start(self):
        # the mount is gone with the process
        path = self.root + self.lab.dir
        os.makedirs(path, exist_ok=True)
        self.wrapper = ["unshare", "-m", "sh", "-c",
                        'mount --bind "$1" "$2" && mount -t proc proc "$0/proc"'
                        ' && mount --bind /dev "$0/dev"'
                        ' && r=$0 && shift 2 && exec chroot "$r" "$@"',
                        self.root, self.lab.dir, path]
        return super().start()


class Linphone(Contender):
    """linphone-daemon, fed through its pipe. Its backup comes from the DNS:
    SRV records, which is the one way it has."""

    name = "linphone"
    proc = None
    text = "linphone 5.1 (`linphone-cli`), SRV records"

    def start(self):
        home = os.path.join(self.lab.dir, "conf-%s-%s" % (
            self.name, self.host.name))
        shutil.rmtree(home, ignore_errors=True)
        for sub in ("", "/.local/share/linphone", "/.config/linphone"):
            os.makedirs(home + sub, exist_ok=True)
        # without a way out it believes that there is no network, and closes
        # its connection after five seconds
        self.host.run("ip", "route", "replace", "default", "via",
                      self.lab.far.ip)
        self._pipe = "bench-%s-%d-%d" % (self.host.name, os.getpid(),
                                         int(time.monotonic() * 1000))
        with open(home + "/resolv.conf", "w") as f:
            f.write("nameserver %s\noptions timeout:1\n" % (
                self.dns.host if self.dns else self.lab.far).ip)
        tp = self.transport
        # -1: any port, -2: a client's only, 0: none
        ports = {"sip_port": -1 if tp == "udp" else 0,
                 "sip_tcp_port": -2 if tp == "tcp" else 0,
                 "sip_tls_port": -2 if tp == "tls" else 0}
        with open(home + "/rc", "w") as f:
            f.write("[sip]\n" + "".join("%s=%d\n" % x for x in ports.items())
                    + "guess_hostname=1\nregister_only_when_network_is_up=0\n"
                    "verify_server_certs=1\ndefault_proxy=0\n"
                    "root_ca=%s\n" % (self.lab.ca.cert if tp == "tls"
                                      else "")
                    + "[auth_info_0]\nusername={u}\nuserid={u}\n"
                    "passwd=secret{u}\nrealm={d}\ndomain={d}\n"
                    "[proxy_0]\nreg_proxy=<sip:{d};transport={t}>\n"
                    "reg_route=<sip:{d};transport={t};lr>\n"
                    "reg_identity=sip:{u}@{d}\nreg_expires=3600\n"
                    "reg_sendregister=1\npublish=0\n"
                    "[sound]\nplayback_dev_id=\ncapture_dev_id=\n".format(
                        u=self.user, d=sip.DOMAIN, t=tp))
        self.proc = Proc(
            ["unshare", "-m", "sh", "-c",
             'mount --bind "$0" /etc/resolv.conf && exec linphone-daemon'
             ' --config "$1" --pipe "$2" --auto-answer --disable-stats-events',
             home + "/resolv.conf", home + "/rc", self._pipe],
            "linphone-" + self.host.name,
            os.path.join(self.lab.dir, "linphone-%s.log" % self.host.name),
            host=self.host, env=dict(os.environ, HOME=home), cwd=home)
        self._sock = None
        self.lab.until(self._connect, 10, "linphone's pipe", every=0.1)
        return self

    @property
    def process(self):
        return self.proc

    def _connect(self):
        import socket
        path = "/tmp/" + self._pipe
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            s.connect(path)
        except OSError:
            s.close()
            return False
        s.settimeout(2)
        self._sock = s
        return True

    def command(self, text):
        try:
            self._sock.sendall((text + "\n").encode())
            return self._sock.recv(65536).decode("utf-8", "replace")
        except OSError:
            return ""

    def dial(self):
        answer = self.command("call sip:200@" + sip.DOMAIN)
        m = re.search(r"^Id: (\d+)", answer, re.M)
        self._call = m[1] if m else None

    def failed(self, after):
        if not self._call:
            return True
        answer = self.command("call-status " + self._call)
        return "Status: Error" in answer or re.search(
            r"State: LinphoneCall(End|Error|Released)", answer) is not None

    def drop_calls(self):
        if self._call:
            self.command("terminate " + self._call)

    def stop(self):
        if self._sock:
            self._sock.close()
        self.proc.terminate(1)
        try:
            os.unlink("/tmp/" + self._pipe)
        except OSError:
            pass


ALL = {c.name: c for c in (Aastra, AastraQuick, AastraStandby,
                           AastraStandby2, TwoOutbounds, OneAccount, Serreg,
                           Linphone)}
IDLE = {c.name: c for c in (*ALL.values(), AastraNine)}
