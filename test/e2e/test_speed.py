"""What a move costs in round trips, over a link that has long ones."""

from lab.link import SlowLink, know_each_other
from lab.site import BACKUP, Site

RTT_MS = 200


def moved(lab, **kw):
    """Start on the primary, over a slow link, kill it; what the phone and the
    backup said from then on until the binding was made."""
    SlowLink(lab, lab.phone, RTT_MS)
    know_each_other(lab)
    site = Site(lab, "E3", config=kw.pop("config", []))
    site.start()
    t = lab.now()
    site.primary.kill()
    ok = lab.wire.wait_sip("REGISTER", status=200, src="backup", dst="phone",
                           after=t, match=lambda e: e.expires)
    return site, lab.wire.find(
        lambda e: "phone" in (e.src, e.dst) and "backup" in (e.src, e.dst)
        and e.t <= ok.t, after=t)


def test_nothing_waits_for_the_first_check(lab):
    """The REGISTER leaves with the check of a new connection, and not when
    the check has been acknowledged or answered."""
    site, seen = moved(lab)
    check = next(e for e in seen if e.sip and e.method == "OPTIONS"
                 and e.request)
    register = next(e for e in seen if e.sip and e.method == "REGISTER")
    assert register.request
    assert register.t - check.t < RTT_MS / 2000


def test_a_known_nonce_saves_a_round_trip(lab):
    """Behind both edges is one registrar, which knows the nonce that it gave
    over the other one: the REGISTER brings its digest along and is not
    challenged again."""
    site, seen = moved(lab)
    requests = [e for e in seen if e.sip and e.method == "REGISTER"
                and e.request and e.expires]
    assert len(requests) == 1
    assert "Digest" in requests[0].header("authorization", "")


def test_a_nonce_of_another_server_is_not_offered(lab):
    """Each of the two has its own: the first REGISTER comes without a
    digest."""
    site = Site(lab, "E2")
    site.start()
    t = lab.now()
    site.primary.kill()
    lab.wire.wait_sip("REGISTER", status=200, src="backup", dst="phone",
                      after=t, match=lambda e: e.expires)
    first = site.registers("backup", after=t)[0]
    assert first.header("authorization") is None


def test_the_end_while_a_register_is_under_way(lab):
    """It left with the first check of a new connection, and before either is
    answered the phone ends: what it makes is removed again."""
    SlowLink(lab, lab.phone, RTT_MS)
    know_each_other(lab)
    site = Site(lab, "E3", config=[])
    phone = site.start()
    t = lab.now()
    site.primary.kill()
    lab.wire.wait_sip("REGISTER", request=True, src="phone", dst="backup",
                      after=t)
    assert phone.exit() == 0
    lab.wire.wait_sip("REGISTER", status=200, dst="backup", after=t)
    lab.wire.settle(0.5)
    lab.until(lambda: not [b for b in site.bindings() if b[0] == "backup"],
              3, "no binding over the backup is left")


def test_a_check_is_not_begun_again(lab):
    """UDP: a call into the silence has the server checked; the keep-alive that
    falls due meanwhile leaves that check alone, whose time-out moves the
    line."""
    site = Site(lab, "E3", "udp", config=[
        "sip_transaction_timer 4000", "sip_outbound_keepalive_timer 3"])
    phone = site.start()
    t = lab.now()
    lab.wire.wait_sip("OPTIONS", status=200, dst="phone", after=t, timeout=5)
    lab.primary.drop("both")
    t = lab.now()
    phone.dial("200")
    assert site.wait_on(BACKUP, timeout=12) - t < 5.7
