"""A line with a backup on one row of the failover table: its servers, its
phone, and what a test wants to know of them."""

import contextlib
import os
import re
import shutil
import subprocess

from .pace import TRANSACTION_MS

PRIMARY, BACKUP = "primary", "backup"
HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.normpath(os.path.join(HERE, "../../.."))

# as quick as the module allows: a fault is found after 1.5 s at the latest
KEEPALIVE_S = 1
FAST = ("sip_outbound_keepalive_timer %d" % KEEPALIVE_S,
        "sip_transaction_timer %d" % TRANSACTION_MS,
        "sip_recovery_base_timer 1",
        "sip_recovery_max_timer 1")
FOUND_S = KEEPALIVE_S + TRANSACTION_MS / 1000


class Site:
    """row "E3": two edges, one registrar. row "E2": two combined servers with
    locations of their own. The servers run; start() starts the phone.

    config: lines of baresip's config besides those of the backup. keys: the
    lines that name the backup, if not the usual ones.
    """

    def __init__(self, lab, row="E3", transport="tcp", config=FAST, keys=None,
                 users=(100,), **defines):
        self.lab = lab
        self.row = row
        self.transport = transport
        self.users = list(users)
        self.host = {PRIMARY: lab.primary, BACKUP: lab.backup}
        if row == "E3":
            primary, backup, self.reg = lab.edge_pair(**defines)
            self.registrars = [self.reg]
        else:
            primary, backup = lab.combined_pair(**defines)
            self.reg = None
            self.registrars = [primary, backup]
        self.server = {PRIMARY: primary, BACKUP: backup}
        self.primary, self.backup = primary, backup
        if keys is None:
            ip = lab.backup.ip
            keys = ["sip_backup_outbound_proxy " + ip]
            if row == "E2":
                keys += ["sip_backup_proxy_ip " + ip,
                         "sip_backup_registrar_ip " + ip]
        self.config = [*keys, *config]
        self.phone = None

    def start(self, rank=PRIMARY, extra="", regint=3600, reregister=False,
              **kw):
        """Start the phone and wait until its lines are on that rank.
        reregister=True gives it the command of that name."""
        if reregister:
            kw["app_modules"] = [*kw.get("app_modules", ()),
                                 reregister_so(self.lab)]
        self.phone = self.lab.baresip(
            [self.lab.account(u, via=self.lab.primary, extra=extra,
                              transport=self.transport, regint=regint)
             for u in self.users],
            aastra=True, config=self.config + kw.pop("config", []), **kw)
        if rank:
            self.wait_on(rank)
        return self.phone

    # -- bindings --------------------------------------------------------

    def domain(self, rank):
        """Domain of the AOR in force there."""
        return (self.lab.backup.ip if rank == BACKUP and self.row == "E2"
                else "pbx.example.com")

    def bindings(self, aor=100):
        """All live bindings at all registrars that answer:
        [(rank, binding)]."""
        found = []
        for r in self.registrars:
            with contextlib.suppress(OSError):
                found += [(self.rank_of(r, b), b)
                          for b in r.bindings(str(aor), timeout=0.3)
                          if live(b)]
        return found

    def rank_of(self, registrar, b):
        if self.row == "E2":
            return PRIMARY if registrar is self.primary else BACKUP
        return rank_by_path(self.lab, b)

    def only_on(self, rank, aor=100):
        """Is there one binding, there, and no other?"""
        return [r for r, _ in self.bindings(aor)] == [rank]

    # -- the line ----------------------------------------------------------

    def service(self, line=1):
        return self.phone.state(line)["service"]

    def wait_on(self, rank, timeout=5.0, only=False, after=0.0):
        """Wait until all lines are in service there and the registrar has
        the bindings (only=True: no other ones). Returns the time of the 200
        on the wire."""
        lab = self.lab
        ok = self.wait_200(rank, timeout, after)
        for n, user in enumerate(self.users, 1):
            lab.until(lambda: self.service(n) == rank, timeout,
                      "line %d on the %s" % (n, rank))
            lab.until(lambda: (
                self.only_on(rank, user) if only else
                rank in [r for r, _ in self.bindings(user)]), timeout,
                "one binding of %s on the %s" % (user, rank))
        return ok.t

    def wait_200(self, rank, timeout=5.0, after=0.0, user=None):
        """The 200 to a REGISTER there."""
        return self.lab.wire.wait_sip(
            "REGISTER", timeout, "registered on the " + rank, status=200,
            src=self.host[rank], dst="phone", after=after, user=user,
            match=lambda e: e.expires)

    def registers(self, rank=None, **kw):
        """The phone's REGISTER requests to one server (None: to both), but
        not its farewells."""
        return self._registers(rank, lambda e: e.expires, **kw)

    def farewells(self, rank=None, **kw):
        """The phone's REGISTER requests that remove a binding."""
        return self._registers(rank, lambda e: e.expires == 0, **kw)

    def _registers(self, rank, which, **kw):
        return self.lab.wire.sip(
            "REGISTER", request=True, src="phone",
            dst=self.host[rank] if rank else None,
            match=lambda e: e.dst in (PRIMARY, BACKUP) and which(e), **kw)

    def sent(self, rank, **kw):
        """Everything that the phone sent to a server."""
        return self.lab.wire.find(src="phone", dst=self.host[rank], **kw)

    def flow(self, rank, line=1):
        """The flow of the outbound proxy, as aastra_state shows it."""
        return next(f for f in self.phone.state(line)["flows"]
                    if f["role"] == "outbound_proxy" and f["rank"] == rank)

    def history(self, line=1):
        return self.phone.state(line)["history"]

    def history_events(self, line=1):
        return [h["event"] for h in self.history(line)]


def live(b):
    return isinstance(b["expires"], int) and b["expires"] > 0


def rank_by_path(lab, b):
    path = b["path"] or ""
    return (PRIMARY if "sip:%s" % lab.primary.ip in re.sub(
        r"<sip:[^@>]*@", "<sip:", path) else BACKUP)


def contact(e):
    """URI of the Contact of a message."""
    m = re.match(r"\s*<([^>]*)>", e.header("contact", ""))
    return m[1] if m else ""


def param(e, name):
    """A header parameter of the Contact of a message."""
    m = re.search(r">.*;\s*%s=(\"[^\"]*\"|[^;,]+)" % re.escape(name),
                  e.header("contact", ""))
    return m[1].strip('"') if m else None


def reregister_so(lab):
    """The module with these commands, relative to a phone's folder of
    modules."""
    return os.path.relpath(_build(lab.dir),
                           os.path.join(lab.dir, "x", "modules"))


def _build(folder):
    """Compile modules/reregister.c; returns the path of the module.
    AASTRA_CC: the compiler for a baresip of another architecture."""
    cc = (os.environ.get("AASTRA_CC") or shutil.which("cc")
          or shutil.which("gcc"))
    flags = subprocess.run(["pkg-config", "--cflags", "libre"], text=True,
                           capture_output=True, check=True).stdout.split()
    so = os.path.join(folder, "reregister.so")
    p = subprocess.run(
        [cc or "cc", "-shared", "-fPIC", "-O", "-D_GNU_SOURCE",
         "-DHAVE_INTTYPES_H", "-DHAVE_STDBOOL_H", "-DHAVE_INET6", *flags,
         "-I" + os.path.join(TOP, "include"), "-o", so,
         os.path.join(TOP, "test/e2e/modules/reregister.c")],
        capture_output=True, text=True)
    if p.returncode:
        raise RuntimeError("reregister.c: " + p.stderr[-1000:])
    return so
