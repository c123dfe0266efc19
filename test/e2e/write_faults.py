#!/usr/bin/python3
"""Write the figures of the soak and the memory tests into docs/results.md,
between the markers of this section; the rest of the page is left alone.

    pytest test/e2e/test_memory.py --all-rows --figures memory.json
    test/e2e/write_faults.py memory.json [more.json...]
"""

import collections
import json
import os
import sys

TEST = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, TEST)

from section import replace  # noqa: E402


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
    for table, show in (("soak", soak), ("memory", memory)):
        if found[table]:
            lines += show(found[table])
    replace(os.path.join(TEST, "../docs/results.md"), "faults",
            "\n".join(lines), "# Results\n")


if __name__ == "__main__":
    sys.exit(main())
