"""Every command over ctrl_tcp, in every scenario, as one story; at each stage
the wire, the registrars and what the commands print are held against each
other."""

import os
import re

import pytest

from helpers_rows import BACKUP, PRIMARY, ROWS, Row
from lab.ctrl import CommandError
from lab.several import _ahead, ahead, parallel  # noqa: F401 (fixtures)
from test_seen import Metrics

COMMANDS = ("status", "state", "history", "explain", "config", "metrics",
            "failover", "failback", "auto", "probe", "reload", "subscribe",
            "unsubscribe")


class Story:
    def __init__(self, lab, row):
        self.lab = lab
        self.site = Row(lab, row, "tcp", transaction=1)
        self.phone = self.site.start()
        self.used = set()

    def cmd(self, name, *args):
        self.used.add(name)
        return self.phone.cmd(" ".join(["aastra_" + name, *args]))

    def stage(self, state, mode="auto", after=0.0):
        """The line is there, on the wire and at the registrars, and all
        that can be asked says so."""
        lab, site = self.lab, self.site
        rank = state[site.axes[0]]
        site.wait(state, 10, after=after)
        s = self.phone.state(1)
        self.used.add("state")
        assert s["mode"] == mode
        assert s["service"] == rank
        for axis in site.axes:
            assert s["active"][axis] == rank

        # registrations on the wire and in the counters
        def told():
            c = self.phone.state(1)["counters"]
            asked = {(e.call_id, e.cseq) for e in
                     lab.wire.sip("REGISTER", request=True, src="phone")
                     if e.expires}
            ok = {(e.call_id, e.cseq) for e in
                  lab.wire.sip("REGISTER", status=200, dst="phone")} & asked
            # proxy and registrar of row 1 move one after the other; what was
            # under way between the two is given up, and may cost what is
            # left one more
            given_up = 2 * (c["failovers"] + c["failbacks"]) \
                if site.row[1] == "1" else 0
            return 0 <= len(ok) - c["registrations"] <= given_up
        lab.until(told, 5, "as many registrations as the wire has")

        s = self.phone.state(1)
        m = Metrics(self.cmd("metrics").rstrip("\n") + "\n")
        for name in "failovers", "failbacks", "registrations":
            assert m("aastra_%s_total" % name, line=1) == s["counters"][name]
        assert m("aastra_line_service", line=1, service=rank) == 1
        assert m("aastra_line_held", line=1) == (mode != "auto")

        for table in self.cmd("status"), self.cmd("status", "1"):
            assert re.search(r"^ +1 +%s +%s " % (re.escape(s["aor"]), rank),
                             table, re.M), table
            assert ("held on the " + mode in table) == (mode != "auto")
            assert all(len(x) <= 80 for x in table.split("\n")), table
            # the star is where REGISTER went last
            star = re.search(r"^   \* (\S+)", table, re.M)[1]
            assert star.rsplit(":", 1)[0] == site.addr(site.target(state))
        text = self.cmd("explain", "1")
        assert "registered on the " + rank in text
        assert "scenario " + s["scenario"] in text
        told = self.cmd("history"), self.cmd("history", "1")
        moves = [e for e in s["history"]
                 if e["event"] in ("failover", "failback")]
        for out in told:
            assert len(re.findall(r"fail(?:over|back) ", out)) == len(moves)


@parallel
@pytest.mark.parametrize("row", ROWS)
def test_every_command(lab, row):
    st = Story(lab, row)
    site, phone = st.site, st.phone
    home, away = site.state(), site.state(BACKUP)
    axis = site.axes[-1]
    st.stage(home)

    # held on the backup, which works like the primary did
    t = lab.now()
    assert "line 1: mode backup" in st.cmd("failover", "1")
    st.stage(away, "backup", t)
    assert st.phone.state(1)["history"][-1]["event"] == "failover"
    assert "held there by command" in st.cmd("explain", "1")

    # left to itself it goes home
    t = lab.now()
    assert "line 1: mode auto" in st.cmd("auto", "1")
    st.stage(home, "auto", t)

    # held on the primary it does not leave a dead one, and says so
    assert "line 1: mode primary" in st.cmd("failback", "1")
    st.stage(home, "primary")
    for a in site.axes:
        site.fail(a, PRIMARY)
    site.trigger(axis)
    lab.until(lambda: not phone.state(1)["registered"], 10)
    lab.never(lambda: phone.state(1)["registered"], 1, "moved", 0.1)
    assert "NOT REGISTERED" in st.cmd("status")
    text = st.cmd("explain", "1")
    assert "NOT REGISTERED" in text and "held" in text
    m = Metrics(st.cmd("metrics").rstrip("\n") + "\n")
    assert m("aastra_line_registered", line=1) == 0
    assert m("aastra_line_service", line=1, service="none") == 1

    # let go, it moves at once
    t = lab.now()
    st.cmd("auto", "1")
    site.wait({**away, **phone_axes(phone, site)}, 10, after=t, only=False)
    for a in site.axes[:-1]:
        site.trigger(a)
    st.stage(away)

    # and a probe finds a primary that is back
    for a in site.axes:
        site.repair(a, PRIMARY)
    lab.until(lambda: st.cmd("probe") and site.now() == home, 15, "home")
    st.cmd("probe", "1")
    st.stage(home)

    # lamps
    t = lab.now()
    st.cmd("subscribe", "1", "dialog", "200")
    lab.wire.wait_sip("SUBSCRIBE", request=True, src="phone", after=t)
    assert [s["key"] for s in phone.state(1)["subscriptions"]] == ["200"]
    with pytest.raises(CommandError):
        st.cmd("subscribe", "1", "dialog", "200")
    st.cmd("unsubscribe", "1", "dialog", "200")
    lab.until(lambda: not phone.state(1)["subscriptions"], 5)

    # the configuration, before and after a change of it
    assert "sip transaction timer" in st.cmd("config", "1")
    assert "secret" not in st.cmd("config") + st.cmd("config", "1")
    lab.wire.settle()
    t = lab.now()
    assert "0 lines changed" in st.cmd("reload")
    lab.wire.settle()
    assert not site.requests("REGISTER", after=t)
    with open(os.path.join(phone.dir, "config"), "a") as f:
        f.write("sip_registration_period 1800\n")
    assert "1 line changed" in st.cmd("reload")
    e = lab.wire.wait_sip("REGISTER", request=True, src="phone", after=t,
                          match=lambda e: e.expires == 1800)
    assert e.expires == 1800
    lab.until(lambda: phone.state(1)["registered"]
              and phone.state(1)["service"] == PRIMARY, 10)
    assert re.search(r"sip registration period +1800 +config:\d+",
                     st.cmd("config", "1"))
    assert phone.state(1)["history"][-1]["event"] in ("config", "registered")

    assert st.used == set(COMMANDS)


def phone_axes(phone, site):
    """Without outbound support the proxy of D1 is found dead by a call
    alone, so that it may be in force still."""
    if site.outbound or len(site.axes) == 1:
        return {}
    lab = site.lab
    lab.until(lambda: phone.state(1)["registered"], 10)
    return {"proxy": phone.state(1)["active"]["proxy"]}
