"""Servers given by name: SRV, NAPTR and A/AAAA, their order and their age, and
name servers that fail."""

import re

import pytest

from lab.dns import Dns
from lab.lab import DOMAIN
from lab.pace import slack
from lab.several import _ahead, ahead, parallel  # noqa: F401 (fixtures)
from lab.site import FAST, TRANSACTION_MS, live
from lab.wait import never

NAME = "edge.example.com"
SRV = {"udp": "_sip._udp." + NAME, "tcp": "_sip._tcp." + NAME,
       "tls": "_sips._tcp." + NAME}
TRANSACTION_S = TRANSACTION_MS / 1000
SLACK_S = slack(0.5)


def slow(ms):
    """The quick timers, but with this transaction timer."""
    return [x for x in FAST if "transaction" not in x] + [
        "sip_transaction_timer %d" % ms]


every_transport = pytest.mark.parametrize("transport", ["udp", "tcp"])


class Site:
    """Edges in front of one registrar: "primary" and "regb" for the name
    NAME, "backup" as the backup outbound proxy, by its address. The name
    server stands on the host of the far phone."""

    def __init__(self, lab, edges=("primary", "backup"), transport="tcp",
                 **kw):
        self.lab = lab
        self.transport = transport
        self.reg = lab.registrar()
        self.edge = {name: lab.edge(getattr(lab, name), self.reg)
                     for name in edges}
        self.dns = Dns(lab.far, **kw).start()
        lab.others.append(self.dns)
        self.phone = None

    def start(self, port=0, config=(), backup=None, wait="primary",
              timers=FAST):
        """The outbound proxy is NAME, with or without a port."""
        lab = self.lab
        outbound = "sip:%s%s;transport=%s" % (
            NAME, ":%d" % port if port else "", self.transport)
        self.phone = lab.baresip(
            lab.account(transport=self.transport,
                        extra='outbound="%s"' % outbound),
            aastra=True,
            config=["dns_server " + self.dns.address,
                    "sip_backup_outbound_proxy "
                    + (backup or lab.backup.ip), *timers, *config])
        if wait:
            self.wait_on(wait)
        return self.phone

    def wait_on(self, host, timeout=5.0, after=0.0):
        """The line is in service over this edge, the registrar has one
        binding, through it. Returns the 200 on the wire."""
        lab = self.lab
        ok = lab.wire.wait_sip(
            "REGISTER", timeout, "registered over " + host, status=200,
            src=host, dst="phone", after=after, match=lambda e: e.expires)
        rank = "backup" if host == "backup" else "primary"
        lab.until(lambda: self.phone.state(1)["service"] == rank, timeout,
                  "in service on the " + rank)
        lab.until(lambda: self.through() == [host], timeout,
                  "one binding, through " + host)
        return ok

    def through(self):
        """The edges that the registrar's live bindings go through."""
        found = []
        for b in self.reg.bindings("100"):
            if live(b):
                path = re.search(r"sip:(?:[^@>]*@)?([\d.]+|\[[^\]]*\])",
                                 b["path"])[1]
                found.append(self.lab.net.by_ip(path.strip("[]")))
        return found

    def sent(self, host, **kw):
        return self.lab.wire.find(src="phone", dst=host, **kw)

    def flow(self, rank):
        return next(f for f in self.phone.state(1)["flows"]
                    if f["role"] == "outbound_proxy" and f["rank"] == rank)

    def loaded(self):
        """When the phone read its accounts: right after the gate."""
        self.phone.proc.wait_for_line("module gate.so")
        return next(t for t, text in self.phone.proc.lines
                    if "module gate.so" in text)

    def restart(self, host):
        """A crash that closes all connections; it is back at once."""
        t = self.lab.now()
        self.edge[host].restart()
        return t


# ---- what is asked for -------------------------------------------------------


@parallel
@every_transport
def test_port_means_address(lab, transport):
    """A name with a port: its addresses, and never SRV (nor NAPTR)."""
    site = Site(lab, transport=transport)
    site.dns.a(NAME, lab.primary).srv(SRV[transport], (1, 1, 5060, "regb"))
    site.start(port=5060, config=["sip_dns_query_type 2"])
    assert site.dns.asked("A", NAME)
    assert not site.dns.asked("SRV") and not site.dns.asked("NAPTR")
    assert not site.sent("backup")


@parallel
@pytest.mark.parametrize("query_type", [0, 1, 2])
def test_query_type(lab, query_type):
    """`sip dns query type`: 0 addresses alone, 1 SRV (the default), 2 NAPTR,
    whose record for another transport counts for nothing."""
    site = Site(lab, ["primary", "regb", "backup"])
    site.dns.srv(SRV["tcp"], (1, 1, 5060, "p.example.com"))
    site.dns.a("p.example.com", lab.primary)
    site.dns.naptr(NAME, (1, 1, "s", "SIPS+D2T", "_sips._tcp.no.example.com"),
                   (2, 1, "s", "SIP+D2T", "_sip._tcp.other.example.com"))
    site.dns.srv("_sip._tcp.other.example.com", (1, 1, 5060, "r.example.com"))
    site.dns.a("r.example.com", lab.regb)
    site.dns.a(NAME, lab.regb if query_type == 0 else lab.reg)
    config = ["sip_dns_query_type %d" % query_type] if query_type != 1 else []
    site.start(config=config, wait="primary" if query_type == 1 else "regb")
    assert bool(site.dns.asked("SRV")) == (query_type > 0)
    assert bool(site.dns.asked("NAPTR")) == (query_type == 2)
    assert not site.sent("backup")


@parallel
def test_no_srv_record(lab):
    """No SRV record: the addresses of the name, with the default port."""
    site = Site(lab)
    site.dns.a(NAME, lab.primary)
    site.start()
    assert site.dns.asked("SRV", SRV["tcp"])
    assert not site.sent("backup")


@parallel
def test_keys_of_the_phones(lab):
    """All servers by name and port 0, in the keys of the phones; backups
    too."""
    site = Site(lab)
    site.dns.srv(SRV["tcp"], (1, 1, 5060, "p.example.com"))
    site.dns.a("p.example.com", lab.primary)
    site.dns.srv("_sip._tcp.spare.example.com", (1, 1, 5060, "b.example.com"))
    site.dns.a("b.example.com", lab.backup)
    site.phone = lab.baresip(
        lab.account(transport="tcp"), aastra=True,
        config=["dns_server " + site.dns.address,
                "sip_line1_outbound_proxy " + NAME,
                "sip_line1_outbound_proxy_port 0",
                "sip_line1_backup_outbound_proxy spare.example.com",
                "sip_line1_backup_outbound_proxy_port 0",
                "sip_line1_registrar_ip " + DOMAIN,
                "sip_line1_registrar_port 0", *FAST])
    site.wait_on("primary")
    t = lab.now()
    site.edge["primary"].kill()
    ok = site.wait_on("backup", after=t)
    assert ok.t - t < SLACK_S
    site.edge["primary"].start()
    site.wait_on("primary", after=t)
    # nothing asked for what the outbound proxy has to find
    assert not [q for q in site.dns.asked() if DOMAIN in q.name]


# ---- all servers of a name, before the backup --------------------------------


DEAD = {
    "refused": lambda host: None,               # nothing listens there
    "hole": lambda host: [host.drop(proto=p) for p in ("tcp", "udp")],
}


@parallel
@pytest.mark.parametrize("how", DEAD)
@every_transport
def test_first_target_dead(lab, transport, how):
    """Two servers by SRV: the first one is dead, the second one is used, and
    the backup never hears of it."""
    site = Site(lab, transport=transport)
    DEAD[how](lab.regb)
    site.dns.srv(SRV[transport], (20, 1, 5060, "second.example.com"),
                 (10, 1, 5060, "first.example.com"))
    site.dns.a("first.example.com", lab.regb)
    site.dns.a("second.example.com", lab.primary)
    site.start()
    assert lab.wire.find(src="phone", dst="regb")
    assert site.sent("regb")[0].t < site.sent("primary")[0].t
    assert not site.sent("backup")
    assert site.phone.state(1)["counters"]["failovers"] == 0


@parallel
@every_transport
def test_target_after_target(lab, transport):
    """The servers of a name one after the other, then the backup, and home
    again."""
    site = Site(lab, ["primary", "regb", "backup"], transport)
    site.dns.srv(SRV[transport], (10, 1, 5060, "first.example.com"),
                 (20, 1, 5060, "second.example.com"))
    site.dns.a("first.example.com", lab.primary)
    site.dns.a("second.example.com", lab.regb)
    site.start()
    assert not site.sent("regb")

    t = lab.now()
    site.edge["primary"].kill()
    site.wait_on("regb", after=t)
    assert not site.sent("backup")

    t = lab.now()
    site.edge["regb"].kill()
    site.wait_on("backup", after=t)

    t = lab.now()
    site.edge["regb"].start()
    site.wait_on("regb", after=t)

    # the first one is back as well: it is used when there is a reason to move
    site.edge["primary"].start()
    t = lab.now()
    site.edge["regb"].kill()
    site.wait_on("primary", after=t)
    assert not lab.wire.sip("REGISTER", request=True, dst="backup", after=t,
                            match=lambda e: e.expires)


@parallel
def test_both_families(lab):
    """The IPv4 address of a name is dead: its IPv6 address is tried."""
    site = Site(lab)
    site.dns.a(NAME, lab.regb).aaaa(NAME, lab.primary)
    site.start(port=5060, wait=None)
    lab.wire.wait_sip("REGISTER", status=200, src="primary", dst="phone",
                      match=lambda e: e.expires and ":" in e.src_ip)
    lab.until(lambda: site.phone.state(1)["service"] == "primary", 5)
    assert not site.sent("backup")


@parallel
def test_call_follows(lab):
    """Calls go to the server that the name stands for."""
    site = Site(lab, ["primary", "backup"])
    site.dns.srv(SRV["tcp"], (10, 1, 5060, "first.example.com"),
                 (20, 1, 5060, "second.example.com"))
    site.dns.a("first.example.com", lab.regb)
    site.dns.a("second.example.com", lab.primary)
    phone = site.start()
    far = lab.far_phone(lab.reg, host=lab.regb)
    start = lab.now()
    phone.dial("200")
    phone.wait_call("outgoing", after=start)
    far.wait_call("incoming", after=start)
    invite, = {e.dst for e in lab.wire.sip("INVITE", request=True,
                                           src="phone", after=start)}
    assert invite == "primary"
    phone.hangup()
    far.wait_event("CALL_CLOSED", after=start)


# ---- how long an answer is good ----------------------------------------------


@parallel
def test_ttl(lab):
    """The record changes: while it is good, the old address is used, without
    asking; after that, the new one at the next (re)connect."""
    site = Site(lab, ["primary", "regb", "backup"])
    dns = site.dns
    dns.a(NAME, lab.primary, ttl=6)
    site.start(port=5060)
    first, = {round(q.t, 1) for q in dns.asked("A", NAME)}
    until = dns.asked("A", NAME)[0].t + 6
    dns.a(NAME, lab.regb, ttl=6)

    # lost and found while the record is good: to the old address
    t = site.restart("primary")
    site.wait_on("primary", after=t, timeout=until - t)
    assert lab.now() < until, "the test was too slow"
    assert len(dns.asked("A", NAME)) == 1
    assert not site.sent("regb")

    # its age alone moves nobody, and asks for nothing
    lab.until(lambda: lab.now() > until + 1, 10, "the record is old")
    assert len(dns.asked("A", NAME)) == 1
    assert site.through() == ["primary"]

    t = lab.now()
    site.edge["primary"].kill()
    dns.wait_asked("A", NAME, after=t)
    site.wait_on("regb", after=t)


# ---- name servers that fail --------------------------------------------------


@parallel
@pytest.mark.parametrize("how", ["silent", "crashed", "cable"])
@every_transport
def test_dead_at_start(lab, transport, how):
    """No answer to any question: registered at the backup, which is given by
    its address, within transaction timer + 1 s, and nothing else waits."""
    site = Site(lab, transport=transport)
    site.dns.srv(SRV[transport], (1, 1, 5060, "p.example.com"))
    site.dns.a("p.example.com", lab.primary)
    if how == "silent":
        site.dns.silent = True
    elif how == "crashed":
        site.dns.stop()
    else:
        lab.far.link("down")
    t = lab.now()
    phone = site.start(wait=None)
    slowest = 0
    while phone.state(1)["service"] != "backup":
        t0 = lab.now()
        phone.cmd("reginfo")
        slowest = max(slowest, lab.now() - t0)
        assert lab.now() - t < 10, phone.state(1)
    ok = site.wait_on("backup")
    assert ok.t - site.loaded() < TRANSACTION_S + 1
    assert slowest < 0.2
    assert "name server" in site.flow("primary")["error"]

    # it comes back to life: so does the primary
    t = lab.now()
    site.dns.silent = False
    site.dns.start()
    lab.far.link("up")
    site.wait_on("primary", after=t, timeout=8)


@parallel
def test_dead_beside_another_line(lab):
    """A line that needs no name server is registered at once, although
    another one waits for its own."""
    site = Site(lab)
    site.dns.silent = True
    phone = lab.baresip(
        [lab.account(100, transport="tcp",
                     extra='outbound="sip:%s;transport=tcp"' % NAME),
         lab.account(101, transport="tcp", via=lab.primary)],
        aastra=True,
        config=["dns_server " + site.dns.address, *slow(4000),
                "sip_line1_backup_outbound_proxy " + lab.backup.ip,
                "sip_line2_backup_outbound_proxy " + lab.backup.ip])
    t = lab.now()
    lab.until(lambda: phone.state(2)["service"] == "primary", 3, "line 2")
    assert lab.now() - t < 1
    assert phone.state(1)["service"] == "none"
    t = lab.now()
    lab.until(lambda: phone.state(1)["service"] == "backup", 8, "line 1")


@parallel
@pytest.mark.parametrize("old", [False, True], ids=["good", "old"])
def test_dead_later(lab, old):
    """The name server dies while all is well: the known addresses go on
    being used, be they too old or not."""
    site = Site(lab)
    site.dns.a(NAME, lab.primary, ttl=1 if old else 600)
    site.start(port=5060)
    site.dns.silent = True
    asked = len(site.dns.queries)
    if old:
        good_until = site.dns.queries[-1].t + 1
        lab.until(lambda: lab.now() > good_until, 5)
    never(lambda: len(site.dns.queries) > asked, 1.5, "a question")

    t = lab.now()
    site.edge["primary"].kill()
    site.wait_on("backup", after=t)
    site.edge["primary"].start()
    site.wait_on("primary", after=t, timeout=8)
    assert bool(site.dns.asked(after=t)) == old


@parallel
@pytest.mark.parametrize("rcode", ["not-found", "no-data", "servfail"])
def test_no_such_name(lab, rcode):
    """A name that is not found is a failed flow, at once; and when it is
    there, the line goes home."""
    site = Site(lab)
    if rcode == "no-data":
        site.dns.naptr(NAME, (1, 1, "s", "SIP+D2U", "x.example.com"))
    elif rcode == "servfail":
        site.dns.rcode = 2
    site.start(wait=None)
    ok = site.wait_on("backup")
    assert ok.t - site.loaded() < SLACK_S
    flow = site.flow("primary")
    assert flow["state"] == "down"
    assert flow["error"] == ("name server failed" if rcode == "servfail"
                             else "name not found")
    t = lab.now()
    site.dns.rcode = 0
    site.dns.a(NAME, lab.primary)
    site.wait_on("primary", after=t)


@parallel
@pytest.mark.parametrize("outbound", [1, 0])
def test_no_news_before_it_is_asked(lab, outbound):
    """While the name server is asked nothing has failed: nobody is told that
    the line is not registered, whether its server is watched or not."""
    site = Site(lab)
    site.dns.a(NAME, lab.primary)
    phone = site.start(port=5060,
                       config=["sip_outbound_support %d" % outbound])
    phone.wait_event("REGISTER_OK")
    assert not [e for e in phone.events if e["type"] == "REGISTER_FAIL"]
    assert not [x for _, x in phone.proc.lines if "registered nowhere" in x]
    assert phone.exit() == 0


@parallel
def test_backup_by_name(lab):
    """The name of the backup is asked for when the backup is wanted."""
    site = Site(lab)
    site.dns.a(NAME, lab.primary)
    site.dns.srv("_sip._tcp.spare.example.com", (1, 1, 5060, "b.example.com"))
    site.dns.a("b.example.com", lab.backup)
    site.start(port=5060, backup="spare.example.com")
    assert not site.sent("backup")
    t = lab.now()
    site.edge["primary"].kill()
    ok = site.wait_on("backup", after=t)
    assert ok.t - t < SLACK_S


@parallel
def test_both_names_unknown(lab):
    """Neither name is found: the phone says so, goes on asking at the pace
    of the recovery timers, and ends in time."""
    site = Site(lab)
    phone = site.start(backup="spare.example.com", wait=None)
    lab.until(lambda: all(f["error"] == "name not found"
                          for f in phone.state(1)["flows"]), 3)
    t = lab.now()
    never(lambda: phone.state(1)["registered"], 2.5)
    assert 2 <= len(site.dns.asked("SRV", SRV["tcp"], after=t)) <= 6
    site.dns.a("spare.example.com", lab.backup)
    site.wait_on("backup", after=t)
    t = lab.now()
    assert phone.exit() == 0
    assert lab.now() - t < 2


@parallel
def test_exit_while_asking(lab):
    """It ends at once while a question is open."""
    site = Site(lab)
    site.dns.silent = True
    phone = site.start(wait=None, timers=slow(20000))
    site.dns.wait_asked("SRV", SRV["tcp"])
    t = lab.now()
    assert phone.exit() == 0
    assert lab.now() - t < 2


# ---- other rows, other transports --------------------------------------------


@parallel
@pytest.mark.parametrize("row", ["E1", "D1"])
def test_proxy_and_registrar_by_name(lab, row):
    """Proxy and registrar apart, four names. The AOR is the name; where it
    goes is what the name stands for."""
    names = {"proxy": lab.primary, "backup-proxy": lab.backup,
             "registrar": lab.reg, "backup-registrar": lab.regb}
    dns = Dns(lab.far).start()
    lab.others.append(dns)
    server = {}
    for name, host in names.items():
        fqdn = name + ".example.com"
        dns.srv("_sip._tcp." + fqdn, (1, 1, 5060, "host-" + fqdn))
        dns.a("host-" + fqdn, host)
        server[name] = lab.combined(host, ALIASES=["proxy.example.com",
                                                   "backup-proxy.example.com",
                                                   fqdn])
    phone = lab.baresip(
        "<sip:100@proxy.example.com;transport=tcp>;auth_pass=secret100",
        aastra=True,
        config=["dns_server " + dns.address, *FAST,
                "sip_outbound_support %d" % (row == "E1"),
                "sip_proxy_ip proxy.example.com",
                "sip_backup_proxy_ip backup-proxy.example.com",
                "sip_registrar_ip registrar.example.com",
                "sip_backup_registrar_ip backup-registrar.example.com"])

    def wait_on(name, aor, after=0.0):
        ok = lab.wire.wait_sip("REGISTER", 5, "registered at " + name,
                               status=200, src=names[name], dst="phone",
                               after=after,
                               match=lambda e: e.expires
                               and aor in e.header("to"))
        e = lab.wire.sip("REGISTER", request=True, src="phone",
                         call_id=ok.call_id,
                         match=lambda e: e.cseq == ok.cseq)[0]
        assert e.uri.startswith("sip:%s.example.com" % name), e.uri
        return ok

    wait_on("registrar", "100@proxy.example.com")
    if row == "E1":
        t = lab.now()
        server["registrar"].kill()
        wait_on("backup-registrar", "100@proxy.example.com", t)
        t = lab.now()
        server["proxy"].kill()
        wait_on("backup-registrar", "100@backup-proxy.example.com", t)
    lab.until(lambda: phone.state(1)["registered"], 5)


@parallel
@pytest.mark.parametrize("good", [True, False], ids=["good", "wrong"])
def test_tls_name(lab, good):
    """TLS: it is the name from the configuration that the certificate has to
    have, neither the target's nor its address."""
    site = Site(lab, ["backup"], "tls")
    names = ["DNS:" + NAME] if good else ["DNS:first.example.com",
                                          "IP:" + lab.primary.ip]
    cert, key = lab.ca.issue("by-name", names)
    site.edge["primary"] = lab.edge(lab.primary, site.reg, TLS_CERT=cert,
                                    TLS_KEY=key)
    site.edge["backup"].kill()
    tls = lab.tls(lab.backup)
    site.edge["backup"] = lab.edge(lab.backup, site.reg, **tls)
    site.dns.srv(SRV["tls"], (1, 1, 5061, "first.example.com"))
    site.dns.a("first.example.com", lab.primary)
    site.start(config=["sip_cafile " + lab.ca.cert],
               wait="primary" if good else "backup")
    if not good:
        assert "certificate" in site.flow("primary")["error"]
        assert not lab.wire.sip("REGISTER", request=True, dst="primary")


@parallel
def test_behind_a_named_proxy(lab):
    """Servers that are judged through an outbound proxy, which has no backup
    and is given by name: they are reached over the address in force, without
    a question for each request, and a dead name server disturbs nothing."""
    site = Site(lab, ["primary", "regb"])
    lab.combined(lab.backup)
    site.dns.srv(SRV["tcp"], (10, 1, 5060, "first.example.com"),
                 (20, 1, 5060, "second.example.com"), ttl=600)
    site.dns.a("first.example.com", lab.primary, ttl=600)
    site.dns.a("second.example.com", lab.regb, ttl=600)
    site.phone = lab.baresip(
        lab.account(transport="tcp", domain=lab.reg.ip), aastra=True,
        config=["dns_server " + site.dns.address,
                "sip_outbound_proxy " + NAME,
                "sip_registrar_ip " + lab.reg.ip,
                "sip_backup_registrar_ip " + lab.backup.ip, *slow(2000)])
    lab.until(lambda: site.phone.state(1)["service"] == "primary", 5)
    lab.until(lambda: site.through() == ["primary"], 5)
    site.dns.silent = True
    never(lambda: site.phone.state(1)["service"] != "primary", 2.5,
          "it left, for want of a name server")
    assert len(site.dns.asked("SRV")) == 1

    t = lab.now()
    site.edge["primary"].kill()
    lab.until(lambda: site.through() == ["regb"], 5, "over the second one")
    assert not [e for e in lab.wire.sip("REGISTER", request=True, src="phone",
                                        after=t)
                if e.uri != "sip:" + lab.reg.ip]


# ---- one server, two names ---------------------------------------------------------


def other_spelling(site, how):
    """How line 1 names its backup, which line 2 names by address and port."""
    if how == "port":
        return [site.lab.backup.ip,
                "sip_line1_backup_outbound_proxy_port 0"]
    site.dns.a("b.example.com", site.lab.backup)
    return ["b.example.com", "sip_line1_backup_outbound_proxy_port 5060"]


@parallel
@pytest.mark.parametrize("how", ["port", "name"])
def test_backup_is_the_primary_of_another_line(lab, how):
    """What is one line's backup, under another name, is another line's
    primary: libre has one connection there for both.  When the one is done
    with it, the other one is not disturbed."""
    site = Site(lab)
    backup, key = other_spelling(site, how)
    phone = lab.baresip(
        [lab.account(100, via=lab.primary, transport="tcp"),
         lab.account(101, via=lab.backup, transport="tcp")], aastra=True,
        config=["dns_server " + site.dns.address, *FAST,
                "sip_line1_backup_outbound_proxy " + backup, key,
                "sip_line2_backup_outbound_proxy " + lab.primary.ip])

    def on(line, rank):
        lab.until(lambda: phone.state(line)["service"] == rank, 5,
                  "line %d on the %s" % (line, rank))

    on(1, "primary")
    on(2, "primary")
    for command, rank in ("failover", "backup"), ("failback", "primary"):
        phone.cmd("aastra_%s 1" % command)
        on(1, rank)
    lab.until(lambda: phone.state(1)["flows"][1]["state"] == "idle", 5,
              "done with the backup")
    t = lab.now()
    lab.until(lambda: len(lab.wire.find(kind="pong", src="backup",
                                        after=t)) > 1, 10,
              "the other line's connection answers still")
    for line in 1, 2:
        assert not [e for e in phone.state(line)["history"]
                    if e["event"] == "flow-down"]
    assert phone.state(2)["counters"]["failovers"] == 0
    assert phone.exit() == 0


# ---- calls ---------------------------------------------------------------------


@parallel
def test_whitelist(lab):
    """`sip whitelist`: a call may come from any address of the server's name,
    not only from the one in use; from elsewhere it may not."""
    site = Site(lab)
    site.dns.srv(SRV["tcp"], (1, 1, 5060, "p.example.com"),
                 (2, 1, 5060, "r.example.com"))
    site.dns.a("p.example.com", lab.primary).a("r.example.com", lab.regb)
    phone = site.start(config=["sip_whitelist 1", "sip_listen 0.0.0.0:5070"])
    for host, status in (lab.regb, 180), (lab.far, 403):
        caller = lab.baresip("<sip:200@%s>;regint=0" % host.ip, host=host)
        t = lab.now()
        caller.dial("sip:100@%s:5070" % lab.phone.ip)
        lab.wire.wait_sip("INVITE", status=status, src="phone", dst=host.name,
                          after=t)
        if status < 200:
            caller.hangup()
    assert phone.exit() == 0


@parallel
def test_whitelist_and_idle_backup(lab):
    """The backup is a server of the line's before anything was ever sent
    there, also where its name has not been looked up for that; and it is
    that at its new address when it gets one."""
    site = Site(lab)
    site.dns.a(NAME, lab.primary).a("b.example.com", lab.backup, ttl=1)
    phone = site.start(port=5060, backup="b.example.com", config=[
        "sip_backup_outbound_proxy_port 5060", "sip_whitelist 1",
        "sip_listen 0.0.0.0:5070"])
    assert site.flow("backup")["state"] == "idle"

    def call(host):
        """The answer to a call that comes straight from there."""
        caller = callers[host]
        t = lab.now()
        caller.dial("sip:100@%s:5070" % lab.phone.ip)
        got = lab.wire.wait_sip("INVITE", src="phone", dst=host, after=t,
                                match=lambda e: e.status and e.status > 100)
        if got.status < 200:
            caller.hangup()
        return got.status

    callers = {x: lab.baresip("<sip:200@%s>;regint=0" % getattr(lab, x).ip,
                              host=getattr(lab, x)) for x in ("backup", "regb")}
    assert [call("backup"), call("regb")] == [180, 403]
    site.dns.a("b.example.com", lab.regb, ttl=1)
    lab.until(lambda: call("regb") == 180, 40, "known at the new address",
              every=1)
    assert phone.exit() == 0
