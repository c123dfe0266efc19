"""A page of the documents of which a program writes one section: what stands
between `<!-- begin: NAME -->` and `<!-- end: NAME -->`, and nothing else."""

import fcntl
import os
import subprocess


def commit():
    """Short hash of what is checked out here."""
    p = subprocess.run(["git", "-C", os.path.dirname(os.path.abspath(__file__)),
                        "rev-parse", "--short", "HEAD"], text=True,
                       capture_output=True)
    return p.stdout.strip() or "unknown"


def table(head, lines):
    """A table of a page."""
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    out += ["| " + " | ".join(str(c) for c in line) + " |" for line in lines]
    return "\n".join(out)


def replace(page, name, text, new=None):
    """Put text between the markers of a section.

    Two runs may do so at the same time. Without the markers the section goes
    to the end of the page; new: what a page that is not there begins with,
    without it there has to be a page.
    """
    begin, end = "<!-- begin: %s -->" % name, "<!-- end: %s -->" % name
    folder = os.open(os.path.dirname(os.path.abspath(page)), os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        try:
            with open(page, encoding="utf-8") as f:
                old = f.read()
        except FileNotFoundError:
            if new is None:
                raise
            old = new
        section = "%s\n%s\n%s" % (begin, text.strip(), end)
        if begin in old and end in old:
            head, rest = old.split(begin, 1)
            section = head + section + rest.split(end, 1)[1]
        else:
            section = old.rstrip("\n") + "\n\n" + section + "\n"
        tmp = page + ".new"
        with open(tmp, "w", encoding="utf-8") as f:
            f.write(section)
        os.replace(tmp, page)
    finally:
        os.close(folder)
