"""What is put before baresip's own libraries: memory that runs out, and a
wall clock that somebody sets."""

import mmap
import os
import re
import shutil
import struct
import subprocess

TOP = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                    "../../.."))


def sanitizer(module):
    """A module with sanitizers wants their library before all others."""
    text = subprocess.run(["ldd", module], capture_output=True, text=True,
                          check=True).stdout
    return re.findall(r"libasan\S* => (\S+)", text)


def build(source, folder):
    """Compile test/SOURCE, for example "fault/memfault.c", into a library in
    a folder; returns its path."""
    so = os.path.join(folder, os.path.basename(source)[:-2] + ".so")
    if not os.path.exists(so):
        p = subprocess.run(
            [shutil.which("cc") or "gcc", "-shared", "-fPIC", "-O2", "-Wall",
             "-Wextra", "-Werror", "-D_GNU_SOURCE", "-o", so,
             os.path.join(TOP, "test", source)],
            capture_output=True, text=True)
        assert not p.returncode, p.stderr[-1000:]
    return so


def preload(lab, name):
    """Compile test/fault/NAME.c; returns the environment with it."""
    so = build("fault/%s.c" % name, lab.dir)
    return {"LD_PRELOAD": ":".join([*sanitizer(lab.module), so])}


class Clock:
    """The clocks of the processes that are given env."""

    def __init__(self, lab):
        path = os.path.join(lab.dir, "wallclock")
        with open(path, "wb") as f:
            f.write(struct.pack("ii", 0, 0))
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 8)
        self.env = {**preload(lab, "wallclock"), "AASTRA_WALLCLOCK": path}

    def put(self, seconds):
        """So many seconds beside the true time from now on."""
        struct.pack_into("i", self.map, 0, seconds)

    def sleep(self, seconds):
        """The host has slept for so long, since it was started."""
        struct.pack_into("i", self.map, 4, seconds)
