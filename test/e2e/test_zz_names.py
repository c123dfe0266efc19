from test_names import *
from test_names import test_behind_a_named_proxy as tb
def test_behind(lab):
    try:
        tb.parallel(lab)
    finally:
        print(lab.phones[0].cmd("aastra_status"))
        print(lab.phones[0].cmd("aastra_history"))
