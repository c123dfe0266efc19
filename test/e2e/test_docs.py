"""The configurations of docs/administrator.md, as they stand there."""

import os
import re

import pytest

from helpers_rows import BACKUP, PRIMARY, RECOVERY_S, ROWS, Row
from lab.lab import DOMAIN
from lab.several import _ahead, ahead, parallel  # noqa: F401 (fixtures)
from lab.site import TOP

PAGE = os.path.join(TOP, "docs", "administrator.md")
QUICK = ["sip_outbound_keepalive_timer 1", "sip_transaction_timer 1000"]


def block(name):
    """The lines of the block behind its mark."""
    with open(PAGE, encoding="utf-8") as f:
        text = f.read()
    found = re.findall(r"<!-- test: %s -->\n\n((?:    .*\n)+)"
                       % re.escape(name), text)
    assert len(found) == 1, "%s: %d times on the page" % (name, len(found))
    return [x[4:] for x in found[0].splitlines()]


def at_home(lab, lines):
    """The page's addresses are the lab's."""
    for a, host in (("2", lab.primary), ("3", lab.backup), ("4", lab.reg),
                    ("5", lab.regb)):
        lines = [x.replace("192.0.2." + a, host.ip) for x in lines]
    return [x.replace("@example.com", "@" + DOMAIN) for x in lines]


def quick(row):
    return QUICK + ["sip_recovery_base_timer %d" % RECOVERY_S[row[0]],
                    "sip_recovery_max_timer %d" % RECOVERY_S[row[0]]]


class Documented(Row):
    def _keys(self):
        return at_home(self.lab, block(self.row + " config")) \
            + quick(self.row)

    def account(self, user=100, regint=3600, extra=""):
        line, = at_home(self.lab, block(self.row + " accounts"))
        return line


def test_all_blocks_are_known():
    """A mark that no test reads would be a promise that nobody keeps."""
    with open(PAGE, encoding="utf-8") as f:
        marks = re.findall(r"<!-- test: (.*?) -->", f.read())
    assert sorted(marks) == sorted(
        ["%s %s" % (row, part) for row in ROWS
         for part in ("accounts", "config")] + ["file aastra.cfg"])


@parallel
@pytest.mark.parametrize("row", ROWS)
def test_configuration(lab, row):
    """It registers, moves when the primary dies, and comes home."""
    site = Documented(lab, row, "tcp", transaction=1)
    site.start()
    axis = site.axes[-1]
    away = site.state(**{axis: BACKUP})
    t = lab.now()
    site.fail(axis, PRIMARY)
    site.trigger(axis)
    site.wait(away, 10, after=t)
    t = site.repair(axis, PRIMARY)
    site.wait(site.state(), 15, after=t - 0.001)


@parallel
def test_phone_files(lab):
    """aastra.cfg alone: no accounts file."""
    site = Row(lab, "E2", "tcp", transaction=1)
    folder = os.path.join(lab.dir, "cfg")
    os.makedirs(folder)
    with open(os.path.join(folder, "aastra.cfg"), "w",
              encoding="utf-8") as f:
        f.write("\n".join(at_home(lab, block("file aastra.cfg"))) + "\n")
    phone = site.phone = lab.baresip(
        [], aastra=True, config=["aastra_cfg_path " + folder, *quick("E2")])
    state = phone.state
    lab.until(lambda: state(1)["service"] == PRIMARY, 5)
    site.server["outbound_proxy"][PRIMARY].kill()
    lab.until(lambda: state(1)["service"] == BACKUP, 10)
    assert [x for x, _ in site.bindings()] == ["backup"]
    site.server["outbound_proxy"][PRIMARY].start()
    lab.until(lambda: state(1)["service"] == PRIMARY, 15)
    lab.until(lambda: [x for x, _ in site.bindings()] == ["primary"], 5)
