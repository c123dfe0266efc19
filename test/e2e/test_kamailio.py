"""contrib/kamailio: Kamailio takes all of the examples, and two servers that
share their location serve a phone and its callers. The other examples are what
the rest of the tests runs with."""

import os
import shutil
import subprocess

import pytest

from helpers_rows import BACKUP, PRIMARY, Row
from lab.kamailio import CONFIGS
from lab.lab import DOMAIN
from lab.several import _ahead, ahead, parallel  # noqa: F401 (fixtures)

ROLES = ("combined", "edge", "registrar", "shared")
INCLUDED = ("core", "flow", "home", "presence")


def check(folder):
    r = subprocess.run([os.path.join(folder, "check")], text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       timeout=120)
    return r.returncode, r.stdout


def test_check():
    """Each role, bare and with all of its settings."""
    code, out = check(CONFIGS)
    assert code == 0, out
    said = sorted(x.split() for x in out.splitlines())
    assert said == sorted(["ok", role + more] for role in ROLES
                          for more in ("", "-all"))
    assert sorted(x for x in os.listdir(CONFIGS) if x.endswith(".cfg")) \
        == sorted(x + ".cfg" for x in (*ROLES, *INCLUDED))


def test_check_finds_errors(tmp_path):
    folder = tmp_path / "kamailio"
    shutil.copytree(CONFIGS, folder)
    with open(folder / "shared.cfg", "a", encoding="utf-8") as f:
        f.write("route[X] { no_such_function(); }\n")
    code, out = check(folder)
    assert code == 1
    assert sorted(x.split()[1] for x in out.splitlines()
                  if x.startswith("failed")) == ["shared", "shared-all"]


class SharedLocation(Row):
    """E2 and D2 with one location that both servers know."""

    def _server(self, host):
        lab = self.lab
        return lab.shared(
            host, lab.backup if host is lab.primary else lab.primary,
            **(lab.tls(host) if self.transport == "tls" else {}),
            **self.defines)

    def _leads(self, registrar, b):
        return self._by_path(b)

    def bindings(self, user=100):
        """What one server says, if all that live say the same."""
        said = {r.host.name: sorted(
                    (self._leads(r, b), b["reg_id"], b["contact"])
                    for b in r.bindings(str(user), timeout=0.3))
                for r in self.registrars if r.proc.running}
        first, *others = said.values()
        if any(x != first for x in others):
            return [("?", said)]
        return [(x[0], x) for x in first]


@parallel
@pytest.mark.parametrize("row, transport", [("E2", "tcp"), ("D2", "udp")])
def test_shared_location(lab, row, transport):
    """A caller at the backup reaches a phone at the primary; after the kill
    at the backup; and the primary that comes back knows of it before the
    phone has come home."""
    site = SharedLocation(lab, row, transport, config=[
        "sip_failback_policy auto", "sip_recovery_base_timer 2",
        "sip_recovery_max_timer 2"])
    site.start()
    far = lab.far_phone(lab.backup)
    lab.until(lambda: site.server["outbound_proxy"][PRIMARY].bindings("200"),
              5, "the primary knows the caller")

    def rings(rank):
        t = lab.now()
        far.dial("sip:100@" + DOMAIN)
        ringing = lab.wire.wait_sip("INVITE", status=180, src="phone",
                                    after=t, timeout=10)
        assert ringing.dst == site.host["outbound_proxy"][rank].name
        hang_up(far, lambda: lab.wire.sip("INVITE", status=487, src="phone",
                                          after=t))

    def hang_up(who, done):
        """What is on the wire, the phone may not have read yet."""
        def again():
            who.hangup()
            return done()
        lab.until(again, 5, "it is over", every=0.2)

    def talks():
        t = lab.now()
        site.phone.dial("200")
        lab.wire.wait_sip("INVITE", status=200, dst="phone", after=t,
                          timeout=10)
        hang_up(site.phone, lambda: lab.wire.sip("BYE", status=200,
                                                 dst="phone", after=t))

    rings(PRIMARY)
    talks()

    away = site.state(BACKUP)
    t = lab.now()
    site.fail("outbound_proxy", PRIMARY)
    site.trigger("outbound_proxy")
    site.wait(away, 10, after=t)
    rings(BACKUP)
    talks()

    t = site.repair("outbound_proxy", PRIMARY)
    lab.until(lambda: site.server["outbound_proxy"][PRIMARY].bindings("200"),
              5, "the primary has been told")
    site.wait(site.state(), 15, after=t - 0.001)
    rings(PRIMARY)
