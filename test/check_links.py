#!/usr/bin/python3
#
# check_links.py  Does each relative link of the pages lead somewhere?
#
# Copyright (C) 2026 The baresip-aastra authors
#

"""Follow the relative links of all *.md below the given folders and files.

    check_links.py FOLDER_OR_FILE...

A link leads to a file or folder, and what is behind its # to a heading of
that page. The exit status is 0 if all of them do.
"""

import os
import re
import sys

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
# what is code is no link
CODE = re.compile(r"(?ms)^```.*?^```$|^(?:    |\t)[^\n]*$|`[^`\n]*`")
HEADING = re.compile(r"(?m)^#{1,6}\s+(.*?)\s*#*$")


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def anchors(path):
    """The names that headings of a page have, as the usual viewers make
    them."""
    out = set()
    for text in HEADING.findall(re.sub(r"(?ms)^```.*?^```$", "",
                                       read(path))):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text).lower()
        name = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        n = 0
        while (name if not n else "%s-%d" % (name, n)) in out:
            n += 1
        out.add(name if not n else "%s-%d" % (name, n))
    return out


def pages(places):
    for place in places:
        if os.path.isfile(place):
            yield place
        for folder, folders, files in os.walk(place):
            folders[:] = sorted(x for x in folders
                                if not x.startswith((".", "build")))
            for name in sorted(files):
                if name.endswith(".md"):
                    yield os.path.join(folder, name)


def broken(path):
    """[(link, why)] of a page"""
    out = []
    for link in LINK.findall(CODE.sub("", read(path))):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue                    # elsewhere
        name, _, anchor = link.partition("#")
        to = os.path.join(os.path.dirname(path), name) if name else path
        if not os.path.exists(to):
            out.append((link, "no such file"))
        elif anchor and not (to.endswith(".md") and anchor in anchors(to)):
            out.append((link, "no such heading"))
    return out


def main(argv):
    found = sorted(set(pages(argv)))
    if not found:
        print("no pages", file=sys.stderr)
        return 2
    bad = [(p, *x) for p in found for x in broken(p)]
    for path, link, why in bad:
        print("%s: %s: %s" % (path, link, why))
    print("%d pages, %d broken links" % (len(found), len(bad)))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
