#!/usr/bin/python3
"""Write the figures of the fault matrix, the soak and the memory tests into
docs/results.md, between the markers of this section; the rest of the page is
left alone.

    pytest test/e2e/test_faults.py --all-rows --figures faults.json
    test/e2e/write_faults.py faults.json [more.json...]
"""

import collections
import json
import os
import statistics
import sys

TEST = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, TEST)

from section import replace  # noqa: E402


def matrix(rows):
    by_fault = collections.defaultdict(list)
    alone = collections.defaultdict(list)
    for x in rows:
        if x["stage"] != "shutting down":
            (alone if x["server"] == "registrar" else by_fault)[
                x["fault"]].append(x["gap"])
    out = ["### Fault matrix", "",
           "%d cells: server x fault x stage of the line's life. Without a "
           "live binding over a" % len(rows),
           "server that works, from the fault on [s]; keep-alive 1 s, "
           "transaction timer 1 s, a busy machine of two cores.", "",
           "| fault | cells | median | worst | most REGISTERs |",
           "|---|---|---|---|---|"]
    for fault, gaps in by_fault.items():
        most = max(x["registers"] for x in rows if x["fault"] == fault)
        out.append("| %s | %d | %.2f | %.2f | %d |" % (
            fault, len(gaps), statistics.median(gaps), max(gaps), most))
    out += ["", "%d more cells are faults of the one registrar that nothing "
            "stands in for, and %d are exits beside a fault." % (
                sum(map(len, alone.values())),
                len([x for x in rows if x["stage"] == "shutting down"]))]
    return out


def soak(rows):
    out = ["", "### Soak", "",
           "| minutes | faults | calls | longest way home [s] | memory [kB] | "
           "descriptors | timers |", "|---|---|---|---|---|---|---|"]
    for x in rows:
        out.append("| {minutes} | {rounds} | {calls} | {longest} | "
                   "{rss_begin} -> {rss_end} | {fds_begin} -> {fds_end} | "
                   "{timers_begin} -> {timers_end} |".format(**x))
    return out


def memory(rows):
    out = ["", "### Memory that runs out", "",
           "| what | places that allocate | allocations | made to fail | "
           "said so and went on without |", "|---|---|---|---|---|"]
    for x in rows:
        out.append("| {what} | {places} | {allocations} | {tried} | {excused} "
                   "|".format(**x))
    return out


def main():
    found = collections.defaultdict(list)
    for path in sys.argv[1:]:
        with open(path) as f:
            for table, rows in json.load(f).items():
                found[table] += rows
    lines = ["## Faults", ""]
    for table, show in (("faults", matrix), ("soak", soak),
                        ("memory", memory)):
        if found[table]:
            lines += show(found[table])
    replace(os.path.join(TEST, "../docs/results.md"), "faults",
            "\n".join(lines), "# Results\n")


if __name__ == "__main__":
    sys.exit(main())
