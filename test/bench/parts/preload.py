"""What is put into a phone by LD_PRELOAD, to see it from within."""

import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))


def build(name, folder):
    """name.c of this folder's parent, as name.so in a folder: its path."""
    so = os.path.join(folder, name + ".so")
    subprocess.run([shutil.which("cc") or "gcc", "-shared", "-fPIC", "-O2",
                    "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-o", so,
                    os.path.join(HERE, "..", name + ".c")], check=True)
    return so
