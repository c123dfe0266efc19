from helpers_calls import *
import pytest
@pytest.mark.parametrize("fault",["hang","drop"])
def test_plain(lab, fault):
    w = World(lab, "E3", "tcp", aastra=False, start=False)
    w.phone.start(); w.phone.wait_registered()
    if fault:
        w.call_out("dial 200", "primary")
    w.primary.hang() if fault == "hang" else w.primary.host.drop()
    t = lab.now()
    w.phone.exit(timeout=40)
    print("TOOK", fault, lab.now()-t)
    w.primary.cont()
