"""A configuration folder that nothing can be written to: the phone does its
work, says so once for each file, and ends as ever."""

import os
import re

import pytest

from lab.figures import held

FILES = ["aastra_servers", "aastra_farewells", "aastra_history",
         "aastra_uuid"]

# what the phone sees where its folder is; the folder itself stays as it is
MOUNT = {
    "read-only": 'mount --bind "$d" "$d"; mount -o remount,ro,bind "$d"',
    "full": '''t=$d/../full; mkdir "$t"; mount -t tmpfs -o size=64k full "$t"
        mkdir "$t/modules"; mount --bind "$d/modules" "$t/modules"
        cp "$d/accounts" "$d/config" "$d/contacts" "$d/uuid" "$t"
        cat /dev/zero > "$t/fill" 2>/dev/null || true
        mount --rbind "$t" "$d"''',
    "missing": ":",
}


def instances(lab):
    """What the phone has called itself."""
    return {x for e in lab.wire.sip("REGISTER", request=True, src="phone")
            for x in re.findall("urn:uuid:([0-9a-f-]+)", str(e.headers))}


@pytest.mark.parametrize("how", list(MOUNT))
def test_nothing_can_be_written(lab, how):
    p, b = lab.combined(lab.primary), lab.combined(lab.backup)
    phone = lab.baresip(
        lab.account(via=lab.primary, transport="tcp"), aastra=True,
        start=False, files={"uuid": ""},
        config=["sip_line1_backup_outbound_proxy " + lab.backup.ip,
                "sip_recovery_base_timer 1", "sip_recovery_max_timer 2",
                "sip_transaction_timer 1000"])
    phone.wrapper = ["unshare", "-m", "--propagation", "private", "sh", "-ec",
                     'd=$1; shift; %s; cd "$d"; exec "$@"' % MOUNT[how],
                     "sh", phone.dir, *phone.wrapper]
    phone.start()

    def on(rank):
        lab.until(lambda: phone.state(1)["service"] == rank, 10, "on " + rank)

    on("primary")
    if how == "missing":
        os.rename(phone.dir, phone.dir + ".away")
    p.kill()
    on("backup")
    p.start()
    on("primary")
    if how != "missing":        # the module is in that folder
        phone.cmd("rmmod aastra")
        phone.cmd("insmod aastra")
        on("primary")
    assert len(instances(lab)) == 1
    lab.until(lambda: not b.bindings("100"), 5, "one binding")
    p.hang()                    # the farewell may arrive still
    assert phone.exit() == 0
    assert b.bindings("100") == []

    said = [re.sub("^.*/|:.*$", "", x) for _, x in phone.proc.lines
            if "could not be" in x]
    # loaded twice, it says so twice
    twice = FILES[:3] if how != "missing" else []
    assert sorted(said) == sorted(
        FILES[:3] + twice + (FILES[3:] if how != "missing" else []))
    held("Disk", "configuration folder " + how, moves=2, crashes=0)


@pytest.mark.parametrize("how", ["pipe", "folder"])
def test_no_plain_files(lab, how):
    """What is a pipe that nobody writes to, or a folder, holds nothing up, and
    is replaced where that can be."""
    p = lab.combined(lab.primary)
    phone = lab.baresip(lab.account(via=lab.primary, transport="tcp"),
                        aastra=True, start=False, files={"uuid": ""}, config=[
                            "sip_line1_backup_outbound_proxy "
                            + lab.backup.ip])
    paths = [os.path.join(phone.dir, x) for x in FILES]
    os.makedirs(phone.dir, exist_ok=True)
    for path in paths:
        (os.mkfifo if how == "pipe" else os.mkdir)(path)
    phone.start()
    lab.until(lambda: phone.state(1)["service"] == "primary", 10, "registered")
    p.hang()                    # the farewell may arrive still
    assert phone.exit() == 0
    plain = [os.path.isfile(x) for x in paths]
    assert plain == ([True, True, True, False] if how == "pipe" else
                     [False] * 4)
    held("Disk", "no plain files: " + how, crashes=0)
