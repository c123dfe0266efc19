#!/usr/bin/python3
#
# check_log_page.py  Does docs/operation.md know each line of the log?
#
# Copyright (C) 2026 The baresip-aastra authors
#

"""Compare the lines that the module can log with the table of docs/operation.md.

    check_log_page.py           say what is missing there, and what is too much
    check_log_page.py --list    print the lines of the source
"""

import glob
import os
import re
import sys

TOP = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                    ".."))
PAGE = os.path.join(TOP, "docs", "operation.md")
BEGIN, END = "<!-- log lines -->", "<!-- end of log lines -->"
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
# say() of lines.c logs what it prints
CALL = re.compile(r"(?<![\w.>])(info|warning|say)\s*\(")


def arguments(text, start):
    """The arguments of a call, from behind its parenthesis."""
    args, depth, quoted, i, begin = [], 0, False, start, start
    while True:
        c = text[i]
        if quoted:
            if c == "\\":
                i += 1
            elif c == '"':
                quoted = False
        elif c == '"':
            quoted = True
        elif c == "(":
            depth += 1
        elif c == ")":
            if not depth:
                return args + [text[begin:i]]
            depth -= 1
        elif c == "," and not depth:
            args.append(text[begin:i])
            begin = i + 1
        i += 1


def formats(arg):
    """The texts of an argument; two where it is a choice."""
    parts, last = [""], 0
    for m in LITERAL.finditer(arg):
        between = arg[last:m.start()].strip()
        if between and parts[-1]:
            parts.append("")
        parts[-1] += m[1]
        last = m.end()
    return [p for p in parts if p]


def canonical(fmt):
    text = re.sub(r"^aastra: ", "", fmt).replace("\\n", "")
    text = re.sub(r"%[-0-9.]*(?:ll|l|z)?[a-zA-Z]", "…", text.replace("%%", "%"))
    return re.sub("…+", "…", text).replace('\\"', '"')


def source():
    found = {}
    for path in sorted(glob.glob(os.path.join(TOP, "modules/aastra/*.c"))):
        with open(path, encoding="utf-8") as f:
            text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
        for m in CALL.finditer(text):
            args = arguments(text, m.end())
            arg = args[1] if m[1] == "say" and len(args) > 1 else args[0]
            for fmt in formats(arg):
                line = canonical(fmt)
                if line.strip("… "):
                    found.setdefault(line, os.path.basename(path))
    return found


def page():
    with open(PAGE, encoding="utf-8") as f:
        table = f.read().partition(BEGIN)[2].partition(END)[0]
    return re.findall(r"^\| `([^`\n]+|``.+?``)` \| \S", table, re.M)


def main():
    lines = source()
    if "--list" in sys.argv:
        for line, name in lines.items():
            print("%-14s %s" % (name, line))
        return 0
    # a reader finds them with their own quotes
    want = {line.replace("`", "'"): name for line, name in lines.items()}
    have = page()
    bad = 0
    for line, name in want.items():
        if line not in have:
            print("docs/operation.md lacks a line of %s. Add the row:\n"
                  "| `%s` | what it means |" % (name, line))
            bad = 1
    for line in have:
        if line not in want:
            print("docs/operation.md has a line that no source logs: %s"
                  % line)
            bad = 1
    if len(have) != len(set(have)):
        print("docs/operation.md has a line twice")
        bad = 1
    if len(want) < 20:
        print("only %d lines found in the source" % len(want))
        bad = 1
    return bad


if __name__ == "__main__":
    sys.exit(main())
