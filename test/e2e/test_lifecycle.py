"""A whole life of the module: in valgrind, for hundreds of moves, and to its
end with servers that do not answer."""

import shutil

import pytest

from helpers_calls import OTHER, World, no_bindings

VALGRIND = ["valgrind", "--leak-check=full", "--num-callers=30",
            "--errors-for-leak-kinds=definite", "--error-exitcode=99"]


def in_valgrind(test):
    test = pytest.mark.lab(wrapper=VALGRIND)(test)
    return pytest.mark.skipif(not shutil.which("valgrind"),
                              reason="needs valgrind")(test)


def ends_well(w, timeout=60):
    """It ends by itself, and valgrind has nothing to say."""
    code = w.phone.exit(timeout)
    text = w.phone.proc.output()
    assert code == 0, text[text.find("HEAP SUMMARY") - 4000:]
    assert "ERROR SUMMARY: 0 errors" in text
    assert "HEAP SUMMARY" in text


@in_valgrind
@pytest.mark.parametrize("row, transport", [("E3", "tcp"), ("E2", "udp")])
def test_life(lab, row, transport):
    """Calls, moves, lines that come and go, the module too; five rounds."""
    w = World(lab, row, transport, policy="auto")

    # a call across a failover, and one across a failback
    call = w.call_out("dial 200", "primary")
    w.lose_primary()
    call.dtmf("1")
    w.phone.hangup()
    call = w.call_out("dial 200", "backup")
    w.come_home()
    call.hold()
    call.hold(off=True)
    second = w.call_out("dial sip:201@" + OTHER, "primary", 201)
    second.end()
    call.end()
    w.call_in("primary").end(by="far")

    for _ in range(5):
        w.lose_primary()
        w.come_home()

    # a line more, moved, and gone
    w.phone.cmd("uanew " + w.account(101))
    w.wait_on("primary", n=2)
    w.lose_primary()
    w.phone.cmd("uadel " + w.aor("primary", 101))
    w.phone.cmd("aastra_status")
    w.phone.cmd("aastra_history")
    w.phone.cmd("aastra_state")

    # the module goes and comes, on the backup and at home
    w.phone.cmd("rmmod aastra")
    w.phone.cmd("insmod aastra")
    w.wait_on("backup")
    w.come_home()
    w.phone.cmd("rmmod aastra")
    w.phone.cmd("insmod aastra")
    w.wait_on("primary")
    ends_well(w)
    no_bindings(w)
