"""TLS: the path moves, and only to servers that can show who they are."""

import os
import re

import pytest

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
    print("failover: %.0f ms" % (1000 * (lab.now() - start_t)))
    p.start()
    lab.until(lambda: service(phone) == "primary", 8, "home again")
    assert len(p.bindings("100")) == 1
    lab.until(lambda: not b.bindings("100"), 5, "backup let go")


@pytest.mark.parametrize("key", ["sip_cafile", "sips_trusted_certificates"])
@pytest.mark.parametrize("wrong", ["ca", "name"])
def test_refused(lab, key, wrong):
    """A server with a certificate of another CA, or for another name, is a
    failed flow, and never sees a REGISTER."""
    ca = lab.ca
    if wrong == "ca":
        other = Authority(os.path.join(lab.dir, "other"), name="other-ca")
        lab._ca = other
        tls = lab.tls(lab.primary)
        lab._ca = ca
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
