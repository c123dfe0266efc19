#!/usr/bin/python3
#
# check_install.py  What `cmake --install` and `cpack -G TGZ` carry away
#
# Copyright (C) 2026 The baresip-aastra authors
#

"""Install a built tree into a folder of its own, pack it as a tarball, and look
at what has come out: all files, the same in both, one version, no link of a
page that leads nowhere.

    check_install.py CMAKE CPACK BUILD_FOLDER PREFIX
"""

import gzip
import os
import re
import subprocess
import sys
import tarfile
import tempfile

import check_links

TOP = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                    ".."))
DOC = "share/doc/baresip-aastra/"
MAN = "share/man/man7/aastra.7.gz"
WANTED = {
    "lib/baresip/modules/aastra.so": 0o644,
    MAN: 0o644,
    DOC + "copyright": 0o644,
    DOC + "changelog.gz": 0o644,
    DOC + "README.md": 0o644,
    DOC + "CHANGELOG.md": 0o644,
    DOC + "docs/install.md": 0o644,
    DOC + "docs/scale.svg": 0o644,
    DOC + "examples/aastractl": 0o755,
    DOC + "examples/kamailio/check": 0o755,
    DOC + "examples/kamailio/combined.cfg": 0o644,
    DOC + "examples/kamailio/edge.cfg": 0o644,
    DOC + "examples/kamailio/registrar.cfg": 0o644,
    DOC + "examples/kamailio/shared.cfg": 0o644,
    DOC + "examples/raspberry-pi/install": 0o755,
    DOC + "examples/raspberry-pi/deskphone.py": 0o755,
    DOC + "examples/raspberry-pi/baresip-deskphone.service": 0o644,
}


def run(argv, **env):
    r = subprocess.run(argv, env=dict(os.environ, **env), text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       timeout=120)
    if r.returncode:
        raise SystemExit("%s: %d\n%s" % (" ".join(argv), r.returncode,
                                         r.stdout))
    return r.stdout


def files(top):
    """{path below top: mode} of all that is no folder"""
    return {os.path.relpath(os.path.join(folder, name), top):
            os.lstat(os.path.join(folder, name)).st_mode & 0o777
            for folder, folders, names in os.walk(top)
            for name in names + [x for x in folders if os.path.islink(
                os.path.join(folder, x))]}


def read(*path):
    with open(os.path.join(*path), "rb") as f:
        return f.read()


def main(argv):
    cmake, cpack, build, prefix = argv
    with open(os.path.join(TOP, "modules/aastra/version.cmake"),
              encoding="utf-8") as f:
        version = re.search(r"set\(AASTRA_VERSION (\S+)\)", f.read())[1]

    with tempfile.TemporaryDirectory(prefix="aastra-install-") as top:
        stage = os.path.join(top, "stage")
        run([cmake, "--install", build], DESTDIR=stage)
        # again: an update over itself
        run([cmake, "--install", build], DESTDIR=stage)
        root = os.path.join(stage, prefix.lstrip("/"))
        have = files(root)
        assert files(stage).keys() == {
            os.path.join(prefix.lstrip("/"), x) for x in have}, \
            "something is outside of %s" % prefix

        for name, mode in WANTED.items():
            if name.endswith("aastra.so"):      # the host says which folder
                found = [x for x in have if x.endswith("/modules/aastra.so")]
                assert len(found) == 1, found
                module = found[0]
                continue
            assert name in have, "%s is missing" % name
            assert have[name] == mode, "%s: mode %o" % (name, have[name])
        for name in have:
            assert not re.search(r"\.pyc$|__pycache__|\.new$|~$", name), name

        # the version is one
        assert version.encode() in read(root, module)
        news = gzip.decompress(read(root, DOC + "changelog.gz")).decode()
        assert news.startswith("baresip-aastra (%s" % version), news
        page = read(root, DOC + "CHANGELOG.md").decode()
        assert re.search(r"(?m)^## (\S+)", page)[1] == version
        assert b".TH AASTRA 7" in gzip.decompress(read(root, MAN))

        # what the pages name is there
        assert check_links.main([os.path.join(root, DOC)]) == 0

        out = os.path.join(top, "tgz")
        run([cpack, "-G", "TGZ", "--config",
             os.path.join(build, "CPackConfig.cmake"), "-B", out])
        tars = [x for x in os.listdir(out) if x.endswith(".tar.gz")]
        assert len(tars) == 1 and "-%s" % version in tars[0], tars
        with tarfile.open(os.path.join(out, tars[0])) as tar:
            packed = {m.name.partition("/")[2]: m for m in tar.getmembers()
                      if not m.isdir()}
        packed = {os.path.relpath("/" + k, prefix): v.mode & 0o777
                  for k, v in packed.items()}
        for name in set(packed) ^ set(have):
            raise SystemExit("%s is in one of tarball and folder only"
                             % name)
        for name in packed:
            if not os.path.islink(os.path.join(root, name)):
                assert packed[name] == have[name], name
    print("%d files of version %s" % (len(have), version))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
