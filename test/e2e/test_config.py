"""The phones' configuration: lines from files alone, and reading it again."""

import collections
import contextlib
import os
import re
import signal
import socket
import threading

import pytest

from lab import bodies
from lab.ctrl import CommandError
from lab.fake import Fake, usual
from lab.site import BACKUP, PRIMARY, Site
from test_subscriptions import patient

SECRET = "secret%d"
DOMAIN = "pbx.example.com"


def text(**keys):
    """The text of an aastra.cfg: `line2_user_name="101"`, `proxy_ip=...`."""
    return "".join("sip %s: %s\n" % (k.replace("_", " "), v)
                   for k, v in keys.items())


class Files:
    """A phone whose lines come from a folder of files, and a server of
    combined proxy and registrar that knows them."""

    def __init__(self, lab, cfg, accounts=(), config=(), presence=False,
                 server=None, **kw):
        self.lab = lab
        self.server = server or lab.combined(lab.primary, start=False, **(
            {"PRESENCE_DB": True} if presence else {}))
        if presence:
            patient(self.server, lab.dir)
        if not server:
            self.server.start()
        self.phone = lab.baresip(list(accounts), aastra=True, start=False,
                                 config=["aastra_cfg_path phonecfg",
                                         *config], **kw)
        self.path = os.path.join(self.phone.dir, "phonecfg", "aastra.cfg")
        self.write(cfg)
        self.phone.start()

    def write(self, cfg):
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with open(self.path, "w") as f:
            f.write(cfg)

    def registered(self, *users, timeout=10):
        """Exactly these users have one binding each."""
        lab = self.lab
        for user in users:
            lab.until(lambda u=user: len(self.server.bindings(str(u))) == 1,
                      timeout, "%s registered" % user)

    def aors(self):
        """What baresip's own list says, in its order."""
        return [re.match(r"sips?:(\w+)@", aor)[1]
                for aor in self.phone.reginfo()]

    def reload(self):
        return self.phone.cmd("aastra_reload")

    def registers(self, after):
        return {m.user for m in self.lab.wire.sip("REGISTER", src="phone",
                                                  after=after)}


def line(n, ip, user=None, **more):
    user = user or 99 + n
    keys = {"user_name": user, "auth_name": user,
            "password": user, "proxy_ip": ip, "registrar_ip": ip, **more}
    return text(**{"line%d_%s" % (n, k): v for k, v in keys.items()})


def test_lines_from_files_alone(lab):
    """No accounts file is needed: each line of the file registers with its
    own name and password, in its place, and calls go out over it."""
    ip = lab.primary.ip
    f = Files(lab, line(1, ip, auth_name="100", display_name="Front desk",
                        password=SECRET % 100) +
              line(2, ip, password=SECRET % 101) +
              line(3, ip, password=SECRET % 102, registration_period=600) +
              "sip transport protocol: 2\n")
    f.registered(100, 101, 102)
    lab.until(lambda: f.phone.wait_registered() is None, 5, "baresip knows")
    assert f.aors() == ["100", "101", "102"]
    first = lab.wire.sip("REGISTER", src="phone", user="100")[0]
    assert '"Front desk"' in first.header("from")
    third = lab.wire.sip("REGISTER", src="phone", user="102")[0]
    assert third.expires == 600
    # they are lines like others
    lines = f.phone.state()["lines"]
    assert [x["line"] for x in lines] == [1, 2, 3]
    assert all(x["registered"] for x in lines)
    assert f.phone.exit() == 0
    for user in (100, 101, 102):
        assert f.server.bindings(str(user)) == []


def test_file_by_mac(lab):
    """Without `aastra_cfg_mac`, <MAC>.cfg is that of the interface which
    baresip uses, whichever has the default route."""
    phone = lab.phone
    for args in (("link", "add", "other", "type", "bridge"),
                 ("addr", "add", "192.0.2.1/24", "dev", "other"),
                 ("link", "set", "other", "up"),
                 ("route", "add", "default", "dev", "other")):
        phone.run("ip", *args)

    def mac(name):
        text = phone.run("ip", "link", "show", name)
        return re.search(r"ether ([0-9a-f:]+)", text)[1].replace(
            ":", "").upper()

    f = Files(lab, "sip transport protocol: 2\n", files={
        "phonecfg/%s.cfg" % mac("eth0"): line(
            1, lab.primary.ip, password=SECRET % 100),
        "phonecfg/%s.cfg" % mac("other"): line(
            1, lab.primary.ip, 101, password=SECRET % 101)})
    f.registered(100)
    assert mac("eth0") + ".cfg:" in f.phone.cmd("aastra_config 1")
    assert f.aors() == ["100"]
    assert f.phone.exit() == 0


def test_file_by_mac_of_a_tunnel(lab):
    """What baresip is bound to may have no MAC: the phone's own one counts
    then, as without `net_interface`."""
    phone = lab.phone
    ether = re.search(r"ether ([0-9a-f:]+)", phone.run(
        "ip", "link", "show", "eth0"))[1].replace(":", "").upper()
    for args in (("tuntap", "add", "tun9", "mode", "tun"),
                 ("addr", "add", phone.ip + "/32", "dev", "tun9"),
                 ("link", "set", "tun9", "up")):
        phone.run("ip", *args)

    f = Files(lab, "sip transport protocol: 2\n",
              config=["net_interface tun9"],
              files={"phonecfg/%s.cfg" % ether: line(
                  1, lab.primary.ip, password=SECRET % 100)})
    f.registered(100)
    assert f.phone.exit() == 0


def test_accounts_beside_files(lab):
    """The second line is described by the file: the second account is
    ignored, and not one REGISTER of it is seen."""
    ip = lab.primary.ip
    accounts = [lab.account(u, domain=ip, transport="tcp")
                for u in (110, 111, 112)]
    f = Files(lab, line(2, ip, user=150, password=SECRET % 150) +
              "sip transport protocol: 2\n", accounts)
    f.registered(110, 112, 150)
    lab.until(lambda: f.aors() == ["110", "150", "112"], 5, "in their places")
    assert [x["aor"].split("@")[0] for x in f.phone.state()["lines"]] == [
        "sip:110", "sip:150", "sip:112"]
    assert not lab.wire.sip("REGISTER", src="phone", user="111")
    assert f.phone.proc.wait_for_line(r"account sip:111@.* is ignored")
    assert f.phone.exit() == 0


def test_no_registrar(lab):
    """0.0.0.0: the line sends no REGISTER, and the rest of the phone does
    not mind."""
    ip = lab.primary.ip
    f = Files(lab, line(2, ip, password=SECRET % 101, registrar_ip="0.0.0.0") +
              line(3, ip, password=SECRET % 102) +
              "sip line1 registrar ip: 0.0.0.0\n"
              "sip transport protocol: 2\n",
              [lab.account(100, domain=ip, transport="tcp")])
    f.registered(102)
    lab.until(lambda: f.aors() == ["100", "101", "102"], 5, "in their places")
    assert not lab.wire.sip("REGISTER", src="phone", user="100")
    assert not lab.wire.sip("REGISTER", src="phone", user="101")
    assert "0.0.0.0" in f.phone.cmd("aastra_config 1")
    assert f.phone.exit() == 0


def test_identity_of_an_account(lab):
    """What a key says of an account's credentials and name counts before what
    the account says: over each AOR, for calls, and until it is taken away."""
    servers = lab.combined_pair()
    bad = "<sip:100@%s;transport=tcp>;auth_user=%s;auth_pass=%s"
    keys = ["sip_line1_auth_name 100", "sip_line1_password " + SECRET % 100,
            'sip line1 display name: "Front desk"']
    phone = lab.baresip(
        [bad % (lab.primary.ip, "nobody", "nothing")], aastra=True,
        config=["sip_line1_backup_proxy_ip " + lab.backup.ip,
                "sip_line1_backup_registrar_ip " + lab.backup.ip, *keys])

    def service():
        return phone.state(1)["service"]

    lab.until(lambda: service() == PRIMARY, 5)
    far = lab.far_phone(lab.backup, domain=lab.backup.ip)
    phone.cmd("aastra_failover 1")
    lab.until(lambda: service() == BACKUP, 5)
    phone.dial("sip:200@" + lab.backup.ip)
    far.wait_call("incoming")
    phone.hangup()
    sent = (lab.wire.sip("REGISTER", request=True, src="phone") +
            lab.wire.sip("INVITE", request=True, src="phone"))
    assert {m.dst for m in sent} == {"primary", "backup"}
    for m in sent:
        assert '"Front desk"' in m.header("from"), m
        shown = m.header("authorization") or m.header("proxy-authorization")
        assert not shown or 'username="100"' in shown
    phone.cmd("aastra_auto 1")
    lab.until(lambda: service() == PRIMARY, 5)

    # without the keys the account is what it was
    path = os.path.join(phone.dir, "config")
    with open(path) as f:
        text_ = f.read()
    t = lab.now()
    with open(path, "w") as f:
        f.write("".join(x for x in text_.splitlines(True)
                        if x.strip() not in keys))
    assert "line 1: changed" in phone.cmd("aastra_reload")
    lab.until(lambda: [m for m in lab.wire.sip(
        "REGISTER", request=True, src="phone", after=t)
        if 'username="nobody"' in (m.header("authorization") or "")], 5)
    with open(path, "w") as f:
        f.write(text_)
    phone.cmd("aastra_reload")
    lab.until(lambda: service() == PRIMARY
              and servers[0].bindings("100"), 8)
    assert phone.exit() == 0
    lab.until(lambda: not servers[0].bindings("100"), 3, "nothing is left")


def test_calls_before_the_first_registration(lab):
    """A key names another outbound proxy than the account: calls are not sent
    to the account's own, be the line registered or not."""
    lab.edge_pair()
    phone = lab.baresip(
        lab.account(via=lab.primary, transport="tcp"), aastra=True,
        config=["sip_line1_outbound_proxy " + lab.backup.ip,
                "sip_line1_outbound_proxy_port 5070"])
    lab.until(lambda: phone.state(1)["flows"][0]["state"] == "down", 5)
    t = lab.now()
    # baresip 4 says so at once, and has no call that could be closed
    with contextlib.suppress(CommandError):
        phone.dial("200")
        phone.wait_event("CALL_CLOSED", after=t)
    lab.wire.settle()
    assert not lab.wire.find(dst="primary")
    path = os.path.join(phone.dir, "config")
    with open(path) as f:
        text_ = f.read()
    with open(path, "w") as f:
        f.write(text_.replace("5070", "5060"))
    phone.cmd("aastra_reload")
    lab.until(lambda: phone.state(1)["service"] == PRIMARY, 5)
    phone.dial("200")
    lab.wire.wait_sip("INVITE", request=True, src="phone", dst="backup",
                      after=t)
    phone.hangup()
    assert not lab.wire.find(dst="primary", src="phone")
    assert phone.exit() == 0


def test_identity_after_a_line_that_was_silent(lab):
    """What a key says of an account is forgotten with the key, also where the
    line has been without a registrar in between."""
    server = lab.combined(lab.primary)
    keys = ["sip_line1_auth_name nobody", "sip_line1_password nothing"]
    silent = "sip_line1_registrar_ip 0.0.0.0"
    phone = lab.baresip([lab.account(100, domain=lab.primary.ip,
                                     transport="tcp")], aastra=True,
                        config=keys)
    lab.until(lambda: phone.state(1)["error"], 8, "it was refused")
    path = os.path.join(phone.dir, "config")
    with open(path) as f:
        text_ = f.read()

    def reload(text):
        with open(path, "w") as f:
            f.write(text)
        return phone.cmd("aastra_reload")

    assert "does not register" in reload(text_ + silent + "\n")
    assert "line 1: begins" in reload("".join(
        x for x in text_.splitlines(True) if x.strip() not in keys))
    lab.until(lambda: server.bindings("100"), 10)
    assert phone.exit() == 0


def test_second_outbound_proxy(lab):
    """baresip registers an account over its `outbound` and its `outbound2`.
    That stays so until a backup key applies; then the second one is ignored,
    and the log says so."""
    _, _, reg = lab.edge_pair()
    phone = lab.baresip(lab.account(
        via=lab.primary, transport="tcp", extra='outbound2="sip:%s;'
        'transport=tcp";sipnat=outbound' % lab.backup.ip), aastra=True,
        config=["sip_recovery_base_timer 20"])
    path = os.path.join(phone.dir, "config")

    def over(*hosts):
        lab.until(lambda: sorted(
            h.name for b in reg.bindings("100") for h in (
                lab.primary, lab.backup) if "@%s;" % h.ip in b["path"])
            == sorted(hosts), 8, "registered over %s" % (hosts,))

    over("primary", "backup")
    assert phone.proc.wait_for_line("sip:100@.* has an outbound2 and no "
                                    "backup key: it is left to baresip")
    assert phone.state()["lines"] == []
    with open(path) as f:
        before = f.read()
    with open(path, "a") as f:
        f.write("sip_backup_outbound_proxy %s\n" % lab.backup.ip)
    assert "line 1: begins" in phone.cmd("aastra_reload")
    over("primary")
    lab.until(lambda: phone.state(1)["service"] == PRIMARY, 5)
    assert phone.proc.wait_for_line(
        "line 1: the outbound2 of its account is ignored")
    with open(path, "w") as f:
        f.write(before)
    assert "line 1: left to baresip" in phone.cmd("aastra_reload")
    over("primary", "backup")
    assert phone.exit() == 0


def test_flows_of_an_account(lab):
    """An account with `sipnat=outbound` keeps its flow without any key of
    ours, as it did in baresip; one without it does not."""
    reg = lab.combined(lab.primary)
    phone = lab.baresip(
        [lab.account(100, via=lab.primary, extra="sipnat=outbound"),
         lab.account(101, via=lab.primary)], aastra=True)
    lab.until(lambda: len(reg.bindings("100")) == len(reg.bindings("101"))
              == 1, 5, "registered")
    assert [x["outbound"] for x in phone.state()["lines"]] == [True, False]
    assert [reg.bindings(u)[0]["reg_id"] for u in ("100", "101")] == [1, 0]
    assert re.search(r"sip outbound support +1 +account",
                     phone.cmd("aastra_config 1"))
    assert re.search(r"sip outbound support +0 +default \(no backup\)",
                     phone.cmd("aastra_config 2"))
    lab.until(lambda: phone.state(1)["flows"][0]["keepalive"] != "none", 5)
    assert phone.exit() == 0


def test_listing(lab):
    """aastra_config: each value with where it came from, and no password."""
    ip = lab.primary.ip
    f = Files(lab, line(1, ip, password=SECRET % 100) +
              "sip transaktion timer: 4000\n",
              config=["sip_transaction_timer 6000",
                      "sip_line1_password elsewhere"])
    out = f.phone.cmd("aastra_config 1")
    assert re.search(r"sip transaction timer +6000 +config:\d+", out)
    assert re.search(r"sip line1 user name +100 +aastra.cfg:1", out)
    assert re.search(r"sip line1 password +\*\*\*\* +config:\d+", out)
    assert re.search(r"sip failback policy +idle +default", out)
    out += f.phone.cmd("aastra_config")
    assert "transaktion" in out and "sip transaction timer" in out
    for bad in ("2", "x", "0"):
        with pytest.raises(CommandError):
            f.phone.cmd("aastra_config " + bad)
    assert f.phone.exit() == 0
    for text_ in (out, f.phone.proc.output()):
        assert "elsewhere" not in text_ and SECRET % 100 not in text_


@pytest.fixture
def fifty(lab):
    ip = lab.primary.ip

    def cfg(**changed):
        return "sip transport protocol: 2\n" + "".join(
            line(n, ip, **{"user": 99 + n, "password": SECRET % (99 + n),
                           **changed.get("line%d" % n, {})})
            for n in range(1, 51))

    f = Files(lab, cfg())
    f.cfg = cfg
    f.registered(*range(100, 150))
    lab.wire.settle()
    return f


def test_reload_of_fifty(lab, fifty):
    """One of fifty lines changed: REGISTERs for that one only, the new one
    before the old one is taken back, never without a binding."""
    f = fifty
    t = lab.now()
    assert "0 lines changed" in f.reload()
    lab.wire.settle()
    assert f.registers(t) == set()

    f.write(f.cfg(line7={"registration_period": 900}))
    with lab.sampler(f.server, "106") as seen:
        t = lab.now()
        out = f.reload()
        assert "line 7: changed: sip registration period" in out
        assert "1 line changed" in out
        lab.wire.wait_sip("REGISTER", status=200, dst="phone", after=t,
                          user="106")
        lab.until(lambda: [b for b in f.server.bindings("106")
                           if b["expires"] > 700], 5, "the new one")
        f.registered(106)
    assert seen.longest_gap() == 0
    lab.wire.settle()
    assert f.registers(t) == {"106"}
    assert [e["event"] for e in f.phone.state(7)["history"]
            ].count("config") == 1

    # who it is: another account in the same place
    f.write(f.cfg(line7={"user": 260, "password": SECRET % 260}))
    t = lab.now()
    assert "line 7: changed" in f.reload()
    f.registered(260)
    lab.until(lambda: not f.server.bindings("106"), 5, "106 gone")
    lab.until(lambda: f.aors()[6] == "260" and len(f.aors()) == 50, 5,
              "in its place")
    lab.wire.settle()
    assert f.registers(t) == {"106", "260"}

    # a line less, and it comes again
    whole = f.cfg()
    f.write("".join(x for x in whole.splitlines(True) if " line7 " not in x))
    t = lab.now()
    assert "line 7: ended" in f.reload()
    lab.until(lambda: not f.server.bindings("260"), 5, "260 gone")
    lab.until(lambda: len(f.aors()) == 49, 5, "and from the list")
    f.write(whole)
    assert "line 7: begins" in f.reload()
    f.registered(106)
    lab.until(lambda: f.aors()[6] == "106", 5, "in its place")
    lab.wire.settle()
    assert f.registers(t) == {"106", "260"}
    assert f.phone.exit() == 0


def test_reload_moves_servers(lab):
    """Another proxy and registrar: registered there before it is
    unregistered here."""
    other = lab.combined(lab.backup)
    f = Files(lab, line(1, lab.primary.ip, password=SECRET % 100))
    f.registered(100)
    f.write(line(1, lab.backup.ip, password=SECRET % 100))
    t = lab.now()
    assert "sip proxy ip" in f.reload()
    lab.until(lambda: len(other.bindings("100")) == 1, 5, "there")
    lab.until(lambda: not f.server.bindings("100"), 5, "not here any more")
    new = lab.wire.sip("REGISTER", status=200, src="backup", after=t)[0]
    old = [m for m in lab.wire.sip("REGISTER", dst="primary", after=t)
           if m.request]
    assert old and new.t < old[0].t
    assert len(f.aors()) == 1
    assert f.phone.exit() == 0


def test_reload_moves_backup(lab):
    """The backup is another one: the user agent with its AOR is made anew,
    and the line does not end with the old one."""
    site = Site(lab, "E2", "tcp")
    phone = site.start()

    def lose():
        lab.primary.reject("tcp-reset", port=5060)
        lab.primary.reset_tcp()
        lab.until(lambda: site.service() == BACKUP, 10, "on the backup")

    lose()
    lab.primary.clear()
    phone.cmd("aastra_probe")
    lab.until(lambda: site.service() == PRIMARY, 20, "back")
    other = lab.combined(lab.regb)
    path = os.path.join(phone.dir, "config")
    with open(path) as f:
        cfg = f.read()
    with open(path, "w") as f:
        f.write(cfg.replace(lab.backup.ip, lab.regb.ip))
    assert "changed" in phone.cmd("aastra_reload")
    lab.until(lambda: site.service() == PRIMARY, 10, "still there")
    lose()
    lab.until(lambda: other.bindings("100"), 10, "on the new backup")
    assert phone.exit() == 0


def test_reload_away_from_a_dead_server(lab):
    """The edge is dead, and the files name another one: the registrar that
    both lead to is told over the new one that the old way is no more."""
    primary, _, reg = lab.edge_pair()
    keys = dict(outbound_support=1, outbound_keepalive_timer=1)

    def cfg(edge):
        return text(**keys) + line(1, DOMAIN, password=SECRET % 100,
                                   outbound_proxy=edge.ip)

    f = Files(lab, cfg(lab.primary), server=reg)
    f.registered(100)
    primary.kill()
    lab.until(lambda: not f.phone.state(1)["registered"], 8, "seen")
    f.write(cfg(lab.backup))
    assert "outbound proxy" in f.reload()
    lab.until(lambda: [lab.backup.ip in b["path"] for b in
                       reg.bindings("100")] == [True], 5,
              "registered over the other one, and no more")
    assert f.phone.exit() == 0
    lab.until(lambda: not reg.bindings("100"), 3, "nothing is left")


def test_call_while_reloads_go_wrong(lab):
    """The files are changed twice, each time to a server that is not there
    and to another user: what is registered stays so, and is called."""
    ip = lab.primary.ip
    f = Files(lab, line(1, ip, 100, password=SECRET % 100))
    f.registered(100)
    far = lab.far_phone(lab.primary, domain=ip)
    for user in 101, 260:
        f.write(line(1, lab.regb.ip, user, password=SECRET % user))
        assert "line 1: changed" in f.reload()
        t = lab.now()
        far.dial("sip:100@" + ip)
        lab.wire.wait_sip("INVITE", status=180, src="phone", dst="primary",
                          after=t)
        far.hangup()
    f.write(line(1, ip, 101, password=SECRET % 101))
    f.reload()
    f.registered(101)
    lab.until(lambda: not f.server.bindings("100"), 5, "nothing is left")
    assert f.phone.exit() == 0


def test_call_outlives_reload(lab):
    """A line changes when its call has ended, and not before."""
    ip = lab.primary.ip
    cfg = line(1, ip, password=SECRET % 100)
    f = Files(lab, cfg)
    f.registered(100)
    far = lab.baresip(["<sip:200@%s>;auth_pass=%s;answermode=auto" % (
        ip, SECRET % 200)], host=lab.far)
    far.wait_registered()
    f.phone.wait_registered()
    f.phone.dial("sip:200@" + ip)
    f.phone.wait_event("CALL_ESTABLISHED")
    f.write(cfg + "sip line1 registration period: 700\n")
    t = lab.now()
    assert "when its call has ended" in f.reload()
    lab.never(lambda: f.registers(t), 1.0, "registered during the call")
    f.phone.hangup()
    lab.until(lambda: [m for m in lab.wire.sip("REGISTER", src="phone",
                                               after=t) if m.expires == 700],
              5, "changed after the call")
    f.registered(100)
    assert f.phone.exit() == 0


def test_reload_that_fails(lab):
    """What cannot be read, or is no configuration any more, changes
    nothing."""
    f = Files(lab, line(1, lab.primary.ip, password=SECRET % 100))
    f.registered(100)
    good = f.phone.cmd("aastra_config 1")
    t = lab.now()

    def refused(why):
        with pytest.raises(CommandError, match="nothing changes") as e:
            f.reload()
        assert why in str(e.value)

    f.write("<html><body>404 Not Found</body></html>\n")
    refused("no key")
    f.write("")
    refused("no key")
    os.unlink(f.path)
    refused("could not be read")
    os.mkdir(f.path)
    refused("could not be read")
    os.rmdir(f.path)

    # a line that would have no server
    f.write("sip line1 user name: 100\n")
    assert "stays as it was" in f.reload()

    lab.wire.settle()
    assert f.registers(t) == set()
    f.write(line(1, lab.primary.ip, password=SECRET % 100))
    assert "0 lines changed" in f.reload()
    assert f.phone.cmd("aastra_config 1") == good
    f.registered(100)
    assert f.phone.exit() == 0


def test_last_key_of_baresips_config(lab):
    """Who takes the last key out of baresip's config is without a backup; a
    config that is empty is not believed."""
    lab.edge_pair()
    phone = lab.baresip(
        lab.account(via=lab.primary, transport="tcp"), aastra=True,
        config=["sip_backup_outbound_proxy " + lab.backup.ip])
    lab.until(lambda: phone.state(1)["service"] == PRIMARY, 5)
    path = os.path.join(phone.dir, "config")
    with open(path) as f:
        text_ = f.read()
    with open(path, "w"):
        pass
    with pytest.raises(CommandError, match="nothing changes"):
        phone.cmd("aastra_reload")
    assert phone.state(1)["scenario"] == "outbound-proxy"
    with open(path, "w") as f:
        f.write("".join(x for x in text_.splitlines(True)
                        if "backup" not in x))
    assert "line 1: changed: sip backup outbound proxy" in phone.cmd(
        "aastra_reload")
    lab.until(lambda: phone.state(1)["scenario"] == "none"
              and phone.state(1)["service"] == PRIMARY, 5)
    assert phone.exit() == 0


def test_sighup(lab):
    """Without a terminal, SIGHUP reads again."""
    cfg = line(1, lab.primary.ip, password=SECRET % 100)
    f = Files(lab, cfg)
    f.registered(100)
    f.write(cfg + line(2, lab.primary.ip, password=SECRET % 101))
    os.kill(f.phone.proc.pid, signal.SIGHUP)
    f.registered(100, 101)
    assert f.phone.exit() == 0


def test_sighup_is_given_back(lab):
    """Unloaded, the module leaves SIGHUP as it was: it ends baresip."""
    f = Files(lab, line(1, lab.primary.ip, password=SECRET % 100))
    f.registered(100)

    def caught():
        with open("/proc/%d/status" % f.phone.proc.pid) as status:
            mask = re.search(r"SigCgt:\s*(\w+)", status.read())[1]
        return bool(int(mask, 16) >> (signal.SIGHUP - 1) & 1)

    assert caught()
    f.phone.cmd("rmmod aastra")
    assert not caught()
    f.phone.cmd("insmod aastra")
    assert caught()
    assert f.phone.exit() == 0


@pytest.mark.parametrize("on", [1, 0])
def test_whitelist(lab, on):
    """A call that does not come from a server of the line is refused, one
    that does is taken; without the key both are."""
    ip = lab.primary.ip
    f = Files(lab, line(1, ip, password=SECRET % 100) +
              "sip whitelist: %d\n" % on,
              config=["sip_listen 0.0.0.0:5070"])
    f.registered(100)
    far = lab.baresip("<sip:200@%s>;auth_pass=%s" % (ip, SECRET % 200),
                      host=lab.far)
    far.wait_registered()
    contact = f.server.bindings("100")[0]["contact"]
    t = lab.now()
    far.dial(re.sub(r";flow.*", "", contact))
    lab.wire.wait_sip("INVITE", status=403 if on else 180, src="phone",
                      dst="far", after=t)
    far.hangup()
    t = lab.now()
    far.dial("sip:100@" + ip)
    lab.wire.wait_sip("INVITE", status=180, src="phone", dst="primary",
                      after=t)
    far.hangup()
    assert f.phone.exit() == 0


def test_whitelist_is_for_lines(lab):
    """An account that is no line, such as that for a door which knows the
    phone's address alone, is called by anybody; a line is not, whichever of
    its names the caller takes."""
    ip = lab.phone.ip
    server = lab.combined(lab.primary)
    phone = lab.baresip(
        [lab.account(via=lab.primary), "<sip:door@%s>;regint=0" % ip],
        aastra=True, config=[
            "sip_line1_backup_outbound_proxy " + lab.backup.ip,
            "sip_whitelist 1", "sip_listen 0.0.0.0:5070"])
    lab.until(lambda: server.bindings("100"), 10, "registered")
    far = lab.baresip("<sip:200@%s>;regint=0" % lab.far.ip, host=lab.far)
    for user, status in ("door", 180), ("100", 403):
        t = lab.now()
        far.dial("sip:%s@%s:5070" % (user, ip))
        lab.wire.wait_sip("INVITE", status=status, src="phone", dst="far",
                          after=t)
        far.hangup()
    assert phone.exit() == 0


def test_register_says_who_it_is(lab):
    """`sip send mac` and `sip send line`: headers of every REGISTER, also of
    the one that takes the binding back."""
    ip = lab.primary.ip
    f = Files(lab, line(1, ip, password=SECRET % 100) +
              line(3, ip, password=SECRET % 102) +
              "sip send mac: 1\nsip send line: 1\n",
              config=["aastra_cfg_mac 00085d1610de"])
    f.registered(100, 102)
    f.phone.wait_registered()
    assert f.phone.exit() == 0
    for user, n in (("100", "1"), ("102", "3")):
        sent = lab.wire.sip("REGISTER", src="phone", user=user)
        assert sent[-1].expires == 0 and len(sent) >= 2
        assert {m.header("aastra-mac") for m in sent} == {"00085D1610DE"}
        assert {m.header("aastra-line") for m in sent} == {n}


def test_reload_keeps_lamps(lab):
    """A line that changes shows its lamps all the time: those of its
    settings, those that a person asked for and those of contacts; and they
    are subscribed over the new settings before the old ones are let go."""
    ip = lab.primary.ip
    cfg = line(1, ip, password=SECRET % 100) + (
        "sip transport protocol: 2\nsip line1 subscribe: dialog 200\n")
    f = Files(lab, cfg, presence=True, contacts=[
        '"Bob" <sip:202@%s>;presence=p2p' % ip])
    f.server.publish(200, bodies.dialog(200, "confirmed"))
    f.server.publish(201, bodies.dialog(201, "early"))
    f.server.publish(202, bodies.presence(202, "open"))
    f.registered(100)
    f.phone.cmd("aastra_subscribe 1 dialog 201")

    def lamps():
        # bare for a moment, until there is a path
        return {re.sub("^sip:|@.*", "", s["uri"]): s["value"]
                for s in f.phone.state(1)["subscriptions"]}

    def active():
        return all(s["state"] == "active"
                   for s in f.phone.state(1)["subscriptions"])

    shown = {"200": "busy", "201": "calling", "202": "open"}
    lab.until(lambda: lamps() == shown and active(), 8, "the lamps")
    old = {m.call_id for m in lab.wire.sip("SUBSCRIBE", request=True,
                                           src="phone")}
    lab.wire.settle()
    f.write(cfg + "sip registration renewal timer: 20\n")
    t = lab.now()
    assert "line 1: changed" in f.reload()
    seen = [lamps()]

    def moved():
        seen.append(lamps())
        fresh = {m.call_id for m in lab.wire.sip(
            "SUBSCRIBE", request=True, src="phone", after=t)} - old
        told = {m.call_id for m in lab.wire.sip(
            "NOTIFY", status=200, src="phone", after=t)} & fresh
        gone = {m.call_id for m in lab.wire.sip(
            "SUBSCRIBE", request=True, src="phone", after=t)
            if m.expires == 0} & old
        return len(told) == 3 and gone == old

    lab.until(moved, 8, "subscribed anew, and the old ones ended")
    assert all(x == shown for x in seen), seen
    # and they live
    f.server.publish(200, bodies.dialog(200, "terminated"))
    lab.until(lambda: lamps()["200"] == "idle", 5, "a lamp goes out")
    assert f.phone.exit() == 0


def test_registration_rate(lab):
    """`sip registration rate`: ten lines at once, the others at that pace."""
    ip = lab.primary.ip
    f = Files(lab, "sip transport protocol: 2\nsip registration rate: 4\n" +
              "".join(line(n, ip, password=SECRET % (99 + n))
                      for n in range(1, 19)))
    f.registered(*range(100, 118), timeout=20)
    first = {}
    for m in lab.wire.sip("REGISTER", src="phone", request=True):
        first.setdefault(m.user, m.t)
    times = sorted(first.values())
    # eight more than the ten, four in a second, less what chance takes
    assert times[-1] - times[0] > 1.5
    assert f.phone.exit() == 0


def stingy(r):
    """A server that grants one second."""
    if r.method == "REGISTER" and r.expires:
        return r.answer(200, "OK", "Contact: " + re.sub(
            r"expires=\d+", "expires=1", r.header("contact")))
    return usual(r)


def test_short_grants(lab):
    """Servers that grant a second to each of 30 lines get no more than `sip
    registration rate`, lines that move from one to the other included; and no
    line is forgotten."""
    rate, users = 20, range(100, 130)
    primary, backup = (Fake(h, stingy).start()
                       for h in (lab.primary, lab.backup))
    lab.others += [primary, backup]
    phone = lab.baresip(
        [lab.account(u, DOMAIN, lab.primary, "tcp") for u in users],
        aastra=True, config=["sip_registration_rate %d" % rate,
                             "sip_backup_outbound_proxy " + lab.backup.ip])

    def sent(server):
        return [m for m in lab.wire.sip("REGISTER", src="phone", dst=server,
                                        request=True) if m.expires]

    def everybody(server, times):
        n = collections.Counter(m.user for m in sent(server))
        return all(n[str(u)] >= times for u in users)
    lab.until(lambda: everybody("primary", 2), 15, "registered, and refreshed")
    primary.stop()
    lab.until(lambda: everybody("backup", 2), 20, "moved, and refreshed")
    assert phone.exit() == 0
    at = sorted(m.t for m in sent("primary") + sent("backup"))
    for i, first in enumerate(at):
        for n, last in enumerate(at[i:], 1):
            assert n <= 12 + rate * (last - first), (n, last - first)


def test_many_restarted(lab):
    """Many lines are restarted, and their farewells were not answered: what is
    said once more for that is not said by all of them in the same instant."""
    rate, users, silent = 20, range(100, 140), []

    def answer(r):
        return None if silent and r.method == "REGISTER" else usual(r)
    lab.others.append(Fake(lab.primary, answer).start())
    phone = lab.baresip(
        [lab.account(u, DOMAIN, lab.primary, "tcp") for u in users],
        aastra=True, config=["sip_registration_rate %d" % rate,
                             "sip_backup_outbound_proxy " + lab.backup.ip])

    def everybody():
        return all(x["registered"] for x in phone.state()["lines"])
    lab.until(everybody, 20, "registered")
    silent.append(True)
    assert phone.exit() == 0
    phone.ctrl.close()
    silent.clear()
    t = lab.now()
    phone.start()

    def farewells():
        return sorted(m.t for m in lab.wire.sip(
            "REGISTER", src="phone", request=True, after=t) if not m.expires)
    # each one when it is registered, and again 2 s later
    lab.until(lambda: len(farewells()) >= 2 * len(users), 20, "farewells")
    at = farewells()
    for i, first in enumerate(at):
        for n, last in enumerate(at[i:], 1):
            assert n <= 20 + 2 * rate * (last - first), (n, last - first)
    lab.until(everybody, 20, "registered again")


def test_lines_end_while_they_wait(lab):
    """Accounts are taken away, and then the module, while most lines wait for
    their turn to register."""
    lab.others.append(Fake(lab.primary, usual).start())
    phone = lab.baresip(
        [lab.account(u, DOMAIN, lab.primary, "tcp") for u in range(100, 140)],
        aastra=True, config=["sip_registration_rate 20"])

    def registered():
        return sum(x["registered"] for x in phone.state()["lines"])
    lab.until(lambda: registered() >= 8, 10, "the first")
    for u in range(125, 140):
        phone.cmd("uadel sip:%d@%s" % (u, DOMAIN))
    lab.until(lambda: registered() == 25, 15, "the others")
    for _ in range(2):
        phone.cmd("rmmod aastra")
        phone.cmd("insmod aastra")
        lab.until(lambda: registered() >= 8, 10, "the first again")
    assert phone.exit() == 0


class Registrar:
    """Says 200 to every REGISTER, with another host in the Contact and two
    different expiries."""

    def __init__(self, lab):
        self.sock = lab.primary.inside(lambda: socket.socket(
            socket.AF_INET, socket.SOCK_DGRAM))
        self.sock.bind((lab.primary.ip, 5060))
        threading.Thread(target=self.serve, daemon=True).start()
        lab.others.append(self)

    def serve(self):
        while True:
            try:
                data, peer = self.sock.recvfrom(65535)
            except OSError:
                return
            lines = data.decode().split("\r\n")
            if lines[0].startswith("SIP/2.0"):
                continue
            same = [x for x in lines if re.match(
                "(via|from|to|call-id|cseq):", x, re.I)]
            contact = next((re.sub(
                r"@[0-9.]+", "@192.0.2.99", x).replace("expires=900",
                                                       "expires=300")
                for x in lines if x.lower().startswith("contact:")), "")
            self.sock.sendto("\r\n".join(
                ["SIP/2.0 200 OK", *same] + ([contact] if contact else []) +
                ["Expires: 600", "Content-Length: 0", "", ""]).encode(), peer)

    def stop(self):
        self.sock.close()


@pytest.mark.parametrize("mode, expires", [(0, 600), (1, 600), (2, 300),
                                           (3, 600)])
def test_contact_matching(lab, mode, expires):
    """A router on the way wrote another address into the Contact: only by
    the user it is known again, and its expiry counts."""
    Registrar(lab)
    phone = lab.baresip(
        lab.account(domain=lab.primary.ip, regint=900), aastra=True,
        config=["sip_contact_matching %d" % mode])
    lab.until(lambda: phone.state(1)["registered"], 10, "registered")
    assert phone.state(1)["expires"] == expires
    assert phone.exit() == 0
