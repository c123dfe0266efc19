#!/usr/bin/python3
"""Write the figures of the soak into docs/results.md, into a section of their
own. test/soak --write does both, the run and this.

    test/soak 90 --figures soak.json
    test/e2e/write_soak.py soak.json
"""

import json
import os
import sys
import time

sys.dont_write_bytecode = True
TEST = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, TEST)

from section import commit, replace  # noqa: E402

ROWS = (("minutes", "{minutes:g}"),
        ("faults, each of one server", "{rounds}"),
        ("calls that outlived one", "{calls}"),
        ("longest time without a live binding beside a fault [s]", "{gap}"),
        ("longest way home after one [s]", "{longest}"),
        ("most bindings at a time", "{bindings}"),
        ("memory of the phone, at the first look and at the end [kB]",
         "{rss_begin}, {rss_end}"),
        ("descriptors", "{fds_begin}, {fds_end}"),
        ("timers", "{timers_begin}, {timers_end}"))


def main():
    with open(sys.argv[1]) as f:
        x = json.load(f)["soak"][-1]
    text = ["## Soak", "",
            "Written by `test/e2e/write_soak.py` from a run of `test/soak "
            "%g`. One phone, two edges and a registrar; one" % x["minutes"],
            "fault after another, chosen by chance; each lasts up to two "
            "seconds and until the line is in service beside it.",
            "What is checked in each is in `test/e2e/test_soak.py`; the first "
            "thing that is wrong ends the run, and nothing is",
            "written.", "",
            "| | |", "|---|---|"]
    text += ["| %s | %s |" % (name, value.format(**x))
             for name, value in ROWS]
    text += ["", "%s, commit %s, refreshed every 10 s, recovery timers 1 and "
             "2 s, all else as by default (transaction timer 4 s), a busy "
             "machine of two cores." % (
                 time.strftime("%Y-%m-%d", time.gmtime()),
                 commit())]
    replace(os.path.join(TEST, "../docs/results.md"), "soak",
            "\n".join(text))


if __name__ == "__main__":
    sys.exit(main())
