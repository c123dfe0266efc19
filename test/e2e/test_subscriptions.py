"""Subscriptions follow the line: message waiting, busy lamps and presence, on
real presence servers. What the servers know of their watchers is read from
their own tables."""

import contextlib
import re
import sqlite3
import threading
import time

import pytest

from helpers_rows import BACKUP, HOSTS, PRIMARY, RECOVERY_S, Row
from lab import bodies
from lab.figures import figure
from lab.patience import patient
from lab.pace import slack
from lab.several import _ahead, ahead, parallel  # noqa: F401 (fixtures)
from lab.wait import Timeout

AT_ONCE = 3
ACTIVE_S = slack(0.2)   # on the new path, after its registration
GONE_S = 5.0            # from the other server
LAMPS = ("dialog 200", "presence 201")
MWI = ("message-summary", "100")
BUSY = ("dialog", "200")
THERE = ("presence", "201")
ALL = {MWI, BUSY, THERE}


class Site(Row):
    """A row whose servers serve subscriptions, and keep them in a table."""

    def __init__(self, lab, row, transport="tcp", config=(), lamps=LAMPS,
                 **defines):
        config = [*config, "sip_explicit_mwi_subscription 1"]
        if lamps:
            config.append("sip line1 subscribe: " + ", ".join(lamps))
        defines.setdefault("PRESENCE_SUBS_DB", 1)
        super().__init__(lab, row, transport, config=config, start=False,
                         PRESENCE_DB=True, **defines)
        for server in lab.servers:
            patient(server, lab.dir)
            server.start()

    def notifier(self, rank):
        """The server that knows the states there."""
        return self.core or self.server[self.axes[0]][rank]

    @property
    def notifiers(self):
        return list({id(n): n for n in map(self.notifier, (
            PRIMARY, BACKUP))}.values())

    def subs(self):
        """{(event, user): as aastra_state shows it}"""
        return {(s["event"], user_of(s["uri"])): s
                for s in self.phone.state(1)["subscriptions"]}

    def all_active(self, rank, expected=ALL):
        subs = self.subs()
        return (set(subs) == set(expected) and subs
                if all((s["state"], s["rank"]) == ("active", rank)
                       for s in subs.values()) else None)

    def wait_active(self, rank, timeout=5.0, expected=ALL):
        return self.lab.until(lambda: self.all_active(rank, expected),
                              timeout, "all active on the " + rank)

    def wait_value(self, key, value, timeout=2.0):
        self.lab.until(lambda: self.subs()[key]["value"] == value, timeout,
                       "%s shows %s" % (key, value), every=0.005)

    def subscribes(self, rank=None, **kw):
        """The phone's SUBSCRIBE requests, each once."""
        return self.requests("SUBSCRIBE", dst=rank and self.call_hop(
            self.state(rank)), **kw)

    def first_notifies(self, rank, after, expected=ALL):
        """When each subscription was first told something there:
        {(event, user): time}."""
        def all_of_them():
            found = self._first_notifies(rank, after)
            missing.append(expected - set(found))
            return found if not missing[-1] else None
        missing = []
        try:
            return self.lab.wire.wait(all_of_them, 2, "the first NOTIFYs")
        except Timeout:
            raise Timeout("no NOTIFY of %s seen, %d packets lost" % (
                sorted(missing[-1]), self.lab.wire.lost)) from None

    def _first_notifies(self, rank, after):
        found = {}
        for e in self.lab.wire.sip("NOTIFY", request=True, dst="phone",
                                   src=self.call_hop(self.state(rank)),
                                   after=after):
            found.setdefault((e.header("event"), e.user), e.t)
        return found


def user_of(text):
    m = re.search(r"sips?:([^@>;]+)@", text or "")
    return m[1] if m else ""


def database(server):
    m = re.match(r"sqlite:///(/.*)", str(server.defines.get(
        "PRESENCE_DB", "")))
    return m[1] if m and server.role != "edge" else None


_opened = threading.local()


def watchers(server, user="100"):
    """Active watchers of a user at a server: [(event, whom, Call-ID)]."""
    path = database(server)
    kept = vars(_opened).setdefault("kept", {})
    if path not in kept:
        kept[path] = sqlite3.connect("file:%s?mode=ro" % path, uri=True,
                                     timeout=1)
    return kept[path].execute(
        "select event, to_user, callid from active_watchers where "
        "watcher_username = ? and status = 1 and expires > 0 "
        "order by id", (user,)).fetchall()


class Eye:
    """Looks at the tables of all servers every 20 ms, first at those that the
    line leaves: what is gone there must be found at the others."""

    def __init__(self, servers, every=0.02):
        self.servers = list(servers)
        self.every = every
        self.samples = []       # (time, set of (event, whom))
        self._stop = threading.Event()

    def __enter__(self):
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._stop.set()
        self._thread.join(5)

    def _run(self):
        due = time.monotonic()
        while not self._stop.is_set():
            t = time.monotonic()
            seen = set()
            for server in self.servers:
                with contextlib.suppress(sqlite3.OperationalError):
                    seen |= {w[:2] for w in watchers(server)}
            self.samples.append((t, seen))
            due = max(due + self.every, time.monotonic())
            self._stop.wait(max(0.0, due - time.monotonic()))

    def dark(self, expected):
        """Samples at which something was not subscribed anywhere."""
        return [(t, set(expected) - seen) for t, seen in self.samples
                if not set(expected) <= seen]

    def step(self):
        times = [t for t, _ in self.samples]
        return max((b - a for a, b in zip(times, times[1:])), default=0.0)


# ---- old dialogs ---------------------------------------------------------------


@parallel
@pytest.mark.lab(hosts=HOSTS)
@pytest.mark.parametrize("row, transport", [
    ("E2", "tcp"), ("E3", "tcp"), ("E3", "udp")])
def test_asleep(lab, row, transport):
    """A server that was only asleep still has our old dialogs: they are gone
    5 s after the line is home, and never overwrite what is newer."""
    site = Site(lab, row, transport)
    home = site.notifier(PRIMARY)
    for server in site.notifiers:
        server.publish(200, bodies.dialog(200, "confirmed"))
    site.start()
    site.wait_active(PRIMARY)
    old = {w[2] for w in watchers(home)}
    site.fail(site.axes[0], PRIMARY, "hung")
    site.wait_active(BACKUP, 10)
    site.notifier(BACKUP).publish(200, bodies.dialog(200, "terminated"))
    site.wait_value(BUSY, "idle")
    site.repair(site.axes[0], PRIMARY, "hung")
    site.wait_active(PRIMARY, 10)

    def clean():
        now = watchers(home)
        return (sorted(w[:2] for w in now) == sorted(ALL)
                and not old & {w[2] for w in now})
    lab.until(clean, GONE_S, "of the old dialogs none is left")
    lab.wire.settle()
    value = site.subs()[BUSY]["value"]
    assert value == ("idle" if row == "E3" else "busy")


@parallel
def test_same_server_restarts(lab):
    """The connection is lost and made anew to the same server: so are the
    subscriptions, with it."""
    primary, backup, reg = lab.edge_pair(
        registrar=lab.registrar(PRESENCE_DB=True))
    reg.publish(200, bodies.dialog(200, "confirmed"))
    backup.kill()
    phone = lab.baresip(
        lab.account(via=lab.primary, transport="tcp"), aastra=True,
        config=["sip_line1_backup_outbound_proxy " + lab.backup.ip,
                "sip_recovery_base_timer 1",
                "sip line1 subscribe: dialog 200"])

    def lamp():
        return next(iter(phone.state(1)["subscriptions"]))
    lab.until(lambda: lamp()["value"] == "busy")
    t = lab.now()
    primary.restart()
    lab.until(lambda: lamp()["state"] == "active"
              and lab.wire.sip("NOTIFY", status=200, src="phone", after=t),
              10, "active again")
    assert lamp()["value"] == "busy"
    reg.publish(200, bodies.dialog(200, "terminated"))
    lab.until(lambda: lamp()["value"] == "idle")
    fresh = lab.wire.sip("SUBSCRIBE", request=True, src="phone", after=t,
                         match=lambda e: e.expires)
    assert len({e.call_id for e in fresh}) == 1


# ---- answers of a server -------------------------------------------------------


@parallel
def test_refused_there(lab):
    """The backup refuses subscriptions: the line stays registered there, says
    so, keeps what its lamps show, and tries again when it was told to."""
    primary, backup = lab.combined_pair(PRESENCE_DB=True)
    for server in (primary, backup):
        server.publish(200, bodies.dialog(200, "confirmed"))
    backup.respond("SUBSCRIBE", 486, retry_after=1)
    phone = lab.baresip(
        lab.account(via=lab.primary, transport="tcp"), aastra=True,
        config=["sip_line1_backup_outbound_proxy " + lab.backup.ip,
                "sip_line1_backup_proxy_ip " + lab.backup.ip,
                "sip_line1_backup_registrar_ip " + lab.backup.ip,
                "sip line1 subscribe: dialog 200"])

    def lamp():
        return phone.state(1)["subscriptions"][0]
    lab.until(lambda: lamp()["value"] == "busy")
    primary.kill()
    lab.until(lambda: lamp()["state"] == "terminated", 5, "refused")
    assert "486" in lamp()["error"] and "tried again in 1 s" in lamp()["error"]
    assert lamp()["value"] == "busy"
    assert phone.state(1)["service"] == "backup"
    tries = lab.wire.wait(lambda: (lambda x: len(x) > 2 and x)(
        lab.wire.sip("SUBSCRIBE", status=486)), 5)
    assert all(b.t - a.t > 0.9 for a, b in zip(tries, tries[1:]))
    # one line of the log for a state that stays
    assert phone.proc.output().count(": 486") == 1, phone.proc.output()
    backup.clear_responses()
    lab.until(lambda: lamp()["state"] == "active")
    assert lamp()["error"] == "" and lamp()["rank"] == "backup"


@parallel
def test_server_failure(lab):
    """503 to SUBSCRIBE: the server is looked at, and is well: no move, and no
    storm of requests."""
    primary, backup = lab.combined_pair(PRESENCE_DB=True)
    primary.respond("SUBSCRIBE", 503)
    phone = lab.baresip(
        lab.account(via=lab.primary, transport="tcp"), aastra=True,
        config=["sip_line1_backup_outbound_proxy " + lab.backup.ip,
                "sip_subscription_timeout_retry_timer 1",
                "sip line1 subscribe: dialog 200, dialog 201"])
    lab.wire.wait(lambda: len(lab.wire.sip("SUBSCRIBE", status=503)) > 3, 10)
    assert phone.state(1)["service"] == "primary"
    assert len(lab.wire.sip("SUBSCRIBE", status=503)) < 8
    primary.clear_responses()
    lab.until(lambda: [s["state"] for s in phone.state(1)["subscriptions"]]
              == ["active", "active"], 5)


# ---- commands, baresip's own modules, the end ----------------------------------


@parallel
def test_commands(lab):
    """aastra_subscribe and aastra_unsubscribe, and what they refuse."""
    server = lab.combined(PRESENCE_DB=True)
    server.publish(200, bodies.dialog(200, "confirmed"))
    phone = lab.baresip(lab.account(via=lab.primary, transport="tcp"),
                        aastra=True)
    phone.wait_registered()
    phone.cmd("aastra_subscribe 1 dialog 200")
    lab.until(lambda: [s["value"] for s in phone.state(1)["subscriptions"]]
              == ["busy"], what="subscribed")
    phone.cmd("aastra_subscribe 1 presence sip:201@pbx.example.com")
    lab.until(lambda: phone.state(1)["subscriptions"][1:] and
              phone.state(1)["subscriptions"][1]["state"] == "active")
    before = lab.now()
    for bad in ("aastra_subscribe", "aastra_subscribe 1",
                "aastra_subscribe x dialog 200", "aastra_subscribe 9 dialog 2",
                "aastra_subscribe 1 dialog 200", "aastra_subscribe 1 dialog <",
                "aastra_subscribe 1 dia;log 201",
                "aastra_subscribe 1 dialog 201 202",
                "aastra_subscribe 1 dialog", "aastra_subscribe 1 dialog ",
                "aastra_subscribe 1 %s 201" % ("d" * 64),
                "aastra_subscribe 1 dialog " + "2" * 256,
                "aastra_unsubscribe 1 presence",
                "aastra_unsubscribe 1 dialog 202",
                "aastra_unsubscribe 9 dialog 200"):
        with pytest.raises(RuntimeError):
            phone.cmd(bad)
    assert len(phone.state(1)["subscriptions"]) == 2
    # white space around it, and named as aastra_state names it
    phone.cmd("aastra_subscribe \t1  dialog 203 \r\n")
    shown = phone.state(1)["subscriptions"][-1]["uri"]
    phone.cmd("aastra_unsubscribe 1 dialog %s\n" % shown)
    phone.cmd("aastra_unsubscribe 1 dialog 200")
    lab.wire.wait_sip("SUBSCRIBE", request=True, src="phone", after=before,
                      expires=0)
    assert [s["event"] for s in phone.state(1)["subscriptions"]] \
        == ["presence"]


@parallel
@pytest.mark.parametrize("wish", ["yes", "no", None])
def test_mwi_of_an_account(lab, wish):
    """mwi=yes of an account is a wish, saying nothing is none; and beside
    mwi.so there is one subscription, not two."""
    server = lab.combined(PRESENCE_DB=True)
    server.publish(100, bodies.mwi(2, 1))
    phone = lab.baresip(
        lab.account(via=lab.primary, transport="tcp",
                    extra="mwi=" + wish if wish else ""),
        aastra=True, modules=["mwi.so"])
    phone.wait_registered()
    if wish == "yes":
        phone.wait_event("MWI_NOTIFY", match=lambda e: "2/1" in e.param)
    lab.wire.settle(0.3)
    calls = {e.call_id for e in lab.wire.sip(
        "SUBSCRIBE", request=True, src="phone")}
    assert len(calls) == (1 if wish == "yes" else 0)
    assert len(phone.state(1)["subscriptions"]) == len(calls)


@parallel
@pytest.mark.parametrize("state", ["up", "dead"])
def test_exit(lab, state):
    """The phone ends: it unsubscribes, and does not wait for the dead."""
    server = lab.combined(PRESENCE_DB=True)
    phone = lab.baresip(
        lab.account(via=lab.primary, transport="tcp"), aastra=True,
        config=["sip_explicit_mwi_subscription 1",
                "sip line1 subscribe: dialog 200, dialog 201, presence 202"])
    lab.until(lambda: [s["state"] for s in phone.state(1)["subscriptions"]]
              == ["active"] * 4)
    if state == "dead":
        server.hang()
    t = lab.now()
    assert phone.exit() == 0
    assert lab.now() - t < 2.5
    if state == "up":
        assert len({e.call_id for e in lab.wire.sip(
            "SUBSCRIBE", request=True, expires=0, after=t)}) == 4
        assert len(lab.wire.sip("SUBSCRIBE", status=200, after=t)) == 4


@parallel
def test_unload(lab):
    """rmmod: nothing of ours is left at the server, and baresip goes on."""
    server = lab.combined(PRESENCE_DB=True)
    phone = lab.baresip(
        lab.account(via=lab.primary, transport="tcp"), aastra=True,
        config=["sip line1 subscribe: dialog 200, presence 202"])
    lab.until(lambda: [s["state"] for s in phone.state(1)["subscriptions"]]
              == ["active"] * 2)
    t = lab.now()
    phone.cmd("rmmod aastra")
    lab.wire.wait(lambda: len(lab.wire.sip("SUBSCRIBE", status=200,
                                           after=t)) == 2)
    phone.wait_registered()
    server.publish(200, bodies.dialog(200, "confirmed"))
    lab.wire.settle()
    assert not lab.wire.sip("NOTIFY", request=True, dst="phone", after=t,
                            match=lambda e: "terminated" not in
                            e.header("subscription-state"))


# ---- keys of a phone, contacts of baresip --------------------------------------


@parallel
def test_keys_of_a_phone(lab):
    """Busy lamps as a phone's files program them on its keys; a later file
    has the last word; lines that are not there do no harm."""
    server = lab.combined(PRESENCE_DB=True)
    server.publish(203, bodies.dialog(203, "confirmed"))
    phone = lab.baresip(
        [lab.account(u, via=lab.primary, transport="tcp")
         for u in (100, 101)], aastra=True,
        config=["aastra_cfg_path cfg", "aastra_cfg_mac 00085D1610DE",
                "prgkey9 type: blf", "prgkey9 value: 209"],
        files={"cfg/aastra.cfg":
               "prgkey1 type: blf\nprgkey1 value: 201\n"
               "softkey3 type: blf\nsoftkey3 value: 203\n"
               "softkey3 label: Bob\nsoftkey3 line: 2\n"
               "softkey4 type: speeddial\nsoftkey4 value: 204\n"
               "softkey5 type: list\nlist uri: sip:team@pbx.example.com\n"
               "expmod1 key2 type: blfxfer\nexpmod1 key2 value: 206\n"
               "expmod1 key2 line: 7\n"
               "sip as-feature-event subscription: 1\n"
               "sip as-feature-event subscription period: 777\n",
               "cfg/00085D1610DE.cfg": "prgkey1 value: 202\n"})

    def shown(line):
        return {(s["event"], user_of(s["uri"])): (s["label"], s["value"])
                for s in phone.state(line)["subscriptions"]}
    lab.until(lambda: set(shown(1)) == {
        ("dialog", "202"), ("dialog", "209"), ("dialog", "team"),
        ("as-feature-event", "100")}, what="lamps of line 1")
    lab.until(lambda: shown(2) == {("dialog", "203"): ("Bob", "busy"),
                                   ("as-feature-event", "101"): ("", "")},
              what="lamps of line 2")
    feature = lab.wire.wait_sip(
        "SUBSCRIBE", request=True, src="phone", user=100,
        match=lambda e: e.header("event") == "as-feature-event")
    assert feature.expires == 777
    assert "application/x-as-feature-event+xml" in feature.header("accept")
    team = lab.wire.wait_sip("SUBSCRIBE", request=True, src="phone",
                             match=lambda e: "team@" in e.uri)
    assert team.header("supported") == "eventlist"
    assert "multipart/related" in team.header("accept")


@parallel
@pytest.mark.parametrize("beside", [None, "presence.so"])
def test_contacts(lab, beside):
    """Contacts with presence=p2p are watched and follow the line; beside
    presence.so they are its own business."""
    primary, backup = lab.combined_pair(PRESENCE_DB=True)
    for server in (primary, backup):
        server.publish(201, bodies.presence(201, "open"))
    phone = lab.baresip(
        lab.account(via=lab.primary, transport="tcp"), aastra=True,
        config=["sip_line1_backup_outbound_proxy " + lab.backup.ip,
                "sip_line1_backup_proxy_ip " + lab.backup.ip,
                "sip_line1_backup_registrar_ip " + lab.backup.ip],
        app_modules=[beside] if beside else [],
        contacts=['"Bob" <sip:201@pbx.example.com>;presence=p2p',
                  '"Eve" <sip:202@pbx.example.com>'])

    def bob():
        return next(x for x in phone.cmd("contacts").splitlines()
                    if "201@" in x)
    lab.until(lambda: "Online" in bob(), 8, "Bob is online")
    calls = {e.call_id for e in lab.wire.sip("SUBSCRIBE", request=True,
                                             src="phone")}
    assert len(calls) == 1
    subs = phone.state(1)["subscriptions"]
    if beside:
        assert not subs
        return
    assert [(s["event"], s["value"]) for s in subs] == [("presence", "open")]
    primary.kill()
    lab.until(lambda: phone.state(1)["subscriptions"][0]["rank"] == "backup")
    backup.publish(201, bodies.presence(201, "closed"))
    lab.until(lambda: "Offline" in bob(), what="Bob is offline")


@parallel
def test_contacts_without_the_first_line(lab):
    """Contacts are watched with the first line, whichever that is now."""
    server = lab.combined(PRESENCE_DB=True)
    server.publish(201, bodies.presence(201, "open"))
    phone = lab.baresip(
        [lab.account(user, via=lab.primary, transport="tcp")
         for user in (100, 101)], aastra=True,
        config=["sip_backup_outbound_proxy " + lab.backup.ip],
        contacts=['"Bob" <sip:201@pbx.example.com>;presence=p2p'])

    def watching(line):
        return [s["value"] for s in phone.state(line)["subscriptions"]]
    lab.until(lambda: watching(1) == ["open"], 8, "Bob is online")
    phone.cmd("uadel sip:100@pbx.example.com")
    lab.until(lambda: watching(2) == ["open"], 8, "watched with the other")
    server.publish(201, bodies.presence(201, "closed"))
    lab.until(lambda: any("201@" in x and "Offline" in x for x in
                          phone.cmd("contacts").splitlines()), 8,
              "Bob is offline")
    assert phone.exit() == 0


# ---- the lamps follow: measured, so nothing else runs --------------------------


FOLLOW = [("E1", "tcp"), ("E2", "tcp"), ("E3", "tcp"), ("D1", "tcp"),
          ("E1", "udp"), ("E2", "udp"), ("E3", "udp"), ("D1", "udp")]


@pytest.mark.lab(hosts=HOSTS)
@pytest.mark.parametrize("row, transport", FOLLOW)
def test_follow(lab, row, transport):
    """To the backup and home again: active there at once, no lamp dark at any
    moment, nothing left behind."""
    site = Site(lab, row, transport)
    axis = site.axes[0]
    home, away = site.notifier(PRIMARY), site.notifier(BACKUP)
    for server in site.notifiers:
        server.publish(100, bodies.mwi(2, 1))
        server.publish(200, bodies.dialog(200, "confirmed"))
        server.publish(201, bodies.presence(201, "open", "here"))
    phone = site.start()
    subs = site.wait_active(PRIMARY)
    assert subs[MWI]["value"] == "yes 2/1 (0/0)"
    assert subs[BUSY]["value"] == "busy"
    assert (subs[THERE]["value"], subs[THERE]["note"]) == ("open", "here")
    phone.wait_event("MWI_NOTIFY", match=lambda e: "2/1" in e.param)
    home.publish(200, bodies.dialog(200, "early"))
    site.wait_value(BUSY, "calling")
    if away is not home:
        away.publish(200, bodies.dialog(200, "early"))

    # away
    t = lab.now()
    site.fail(axis, PRIMARY)
    site.trigger(axis)
    values = []

    def there():
        values.append({k: s["value"] for k, s in site.subs().items()})
        return site.all_active(BACKUP)
    lab.until(there, 10, "all active on the backup")
    assert all(v[BUSY] == "calling" and v[THERE] == "open"
               and v[MWI].startswith("yes") for v in values), values
    ok = site.wait_200(site.state(**{axis: BACKUP}), after=t)
    first = site.first_notifies(BACKUP, t)
    active = max(first.values()) - ok.t
    assert active < ACTIVE_S, first

    time.sleep(0.01)
    t = lab.now()
    away.publish(200, bodies.dialog(200, "terminated"))
    site.wait_value(BUSY, "idle")
    away.publish(100, bodies.mwi(0, 3))
    phone.wait_event("MWI_NOTIFY", after=t,
                     match=lambda e: "0/3" in e.param)
    change = lab.wire.wait_sip(
        "NOTIFY", request=True, dst="phone", after=t,
        match=lambda e: e.header("event") == "dialog").t - t
    moved = [h for h in phone.state(1)["history"]
             if h["event"] == "subscription-moved"]
    assert [(h["to"], h["reason"]) for h in moved] \
        == [("backup", "3 subscriptions")]

    # home
    if away is home:
        assert sorted(w[:2] for w in watchers(home)) == sorted(ALL)
    assert not lab.wire.sip("NOTIFY", status=481)
    site.repair(axis, PRIMARY)
    if away is home:        # the next call, not the end of this one undone
        home.publish(200, bodies.dialog(200, "terminated"), expires=0)
    home.publish(200, bodies.dialog(200, "confirmed"))
    values.clear()
    with Eye(reversed(site.notifiers)) as eye:
        def back():
            values.append({k: s["value"] for k, s in site.subs().items()})
            return site.all_active(PRIMARY)
        lab.until(back, 10 + RECOVERY_S[row[0]], "all active at home")
        t = lab.now()
        lab.until(lambda: len(watchers(home)) == 3
                  and (away is home or not watchers(away)), GONE_S,
                  "no watcher is left on the backup")
        gone = lab.now() - t
    assert not eye.dark(ALL), (eye.dark(ALL), eye.step())
    assert all(all(v.values()) for v in values), values
    site.wait_value(BUSY, "busy")
    figure("subscriptions", row=row, transport=transport, active=active,
           change=change, gone=gone, step=eye.step())
    assert sorted(w[:2] for w in watchers(home)) == sorted(ALL)


# ---- many ----------------------------------------------------------------------


@pytest.mark.lab(hosts=HOSTS)
def test_hundred_lamps(lab):
    """100 busy lamps on one line move within 2 s, and not in one burst."""
    users = [str(u) for u in range(1000, 1100)]
    site = Site(lab, "E2", "tcp", lamps=(), PRESENCE_SUBS_DB=0)
    expected = {MWI} | {("dialog", u) for u in users}
    phone = site.start()
    for u in users:
        phone.cmd("aastra_subscribe 1 dialog " + u)
    site.wait_active(PRIMARY, 10, expected)

    for rank, go in ((BACKUP, lambda: site.fail(site.axes[0], PRIMARY)),
                     (PRIMARY, lambda: site.repair(site.axes[0], PRIMARY))):
        t = lab.now()
        go()
        site.wait_active(rank, 10, expected)
        ok = site.wait_200(site.state(rank), after=t)
        first = site.first_notifies(rank, t, expected)
        took = max(first.values()) - ok.t
        assert took < 2.0
        lab.wire.settle(0.1)
        sent = [e for e in site.subscribes(rank, after=t) if e.expires]
        assert len(sent) <= len(expected) + 1       # one was challenged
        times = [e.t for e in sent]
        burst = max(sum(1 for x in times if 0 <= x - t0 < 0.2) for t0 in times)
        assert burst <= 50 + 0.2 / 0.02 + 5
        assert all(s["value"] == "idle" for k, s in site.subs().items()
                   if k[0] == "dialog")
        figure("hundred lamps", to=rank, took=took, burst=burst)
