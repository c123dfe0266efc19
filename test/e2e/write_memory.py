#!/usr/bin/python3
"""Write the figures of the memory tests into docs/results.md, into a section
of their own.

    pytest test/e2e/test_memory.py --all-rows --figures memory.json
    test/e2e/write_memory.py [--commit HASH] memory.json

The commit is that of the module that was tested; without the option, the one
that is here.
"""

import json
import os
import sys
import time

sys.dont_write_bytecode = True
TEST = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, TEST)

from section import commit, replace  # noqa: E402

WHAT = {"start": "the start of the phone",
        "life": "a failover, a failback, all commands, moves by hand, a line "
                "more and less, the module loaded again"}


def merged(rows):
    """One row for each thing that was done, of the phones side by side that
    shared its allocations."""
    found = {}
    for x in rows:
        row = found.setdefault(x["what"], dict(x, tried=0, excused=0, wrong=0))
        for key in ("places", "allocations"):
            row[key] = max(row[key], x[key])
        for key in ("tried", "excused", "wrong"):
            row[key] += x[key]
    return found.values()


def main():
    rows = []
    args = sys.argv[1:]
    tested = None
    if args[:1] == ["--commit"]:
        tested, args = args[1], args[2:]
    for path in args:
        with open(path) as f:
            rows += json.load(f)["memory"]
    text = ["## Memory that runs out", "",
            "Written by `test/e2e/write_memory.py` from a run of "
            "`test_memory.py --all-rows`. Each allocation of the module,",
            "its own and those that libre, libexpat and OpenSSL make for it, "
            "fails in turn; after each the line has to be",
            "well again, or its log to say why not, and at the end of the "
            "phone nothing may be left. The number of",
            "allocations differs a little from phone to phone: one that a "
            "phone did not come to again is not counted as",
            "made to fail.", "",
            "| during | places that allocate | allocations | made to fail | "
            "said so, and went on without | crashed, lost or stuck |",
            "|---|---|---|---|---|---|"]
    for x in merged(rows):
        text.append("| %s | %d | %d | %d | %d | %d |" % (
            WHAT[x["what"]], x["places"], x["allocations"], x["tried"],
            x["excused"], x["wrong"]))
    text += ["", "%s, commit %s, on a busy machine of two cores." % (
        time.strftime("%Y-%m-%d", time.gmtime()),
        tested or commit())]
    replace(os.path.join(TEST, "../docs/results.md"), "memory",
            "\n".join(text))


if __name__ == "__main__":
    sys.exit(main())
