"""End-to-end tests that a program runs, for what they have measured."""

import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as tree

TOP = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
E2E = os.path.join(TOP, "test/e2e")


def options(parser):
    """What is tested, and where it is written."""
    parser.add_argument("--module", metavar="PATH", default=os.path.join(
        TOP, "build/modules/aastra/aastra.so"), help="the aastra.so to test")
    parser.add_argument("--baresip", metavar="PATH", default="baresip")
    parser.add_argument("--page", metavar="FILE", default=os.path.join(
        TOP, "docs/results.md"), help="the page (default docs/results.md)")


def run(opt, files, *more):
    """One run of pytest over files of tests: (figures, [file] of those that
    passed, [(test, file)] of those that failed). More: its arguments."""
    with tempfile.TemporaryDirectory(prefix="aastra-suite-") as tmp:
        figures = os.path.join(tmp, "figures.json")
        junit = os.path.join(tmp, "junit.xml")
        subprocess.run(
            [sys.executable, "-B", "-m", "pytest", "-q", "-p",
             "no:cacheprovider", *(os.path.join(E2E, f) for f in files),
             "--rootdir", TOP, "--figures", figures, "--junitxml", junit,
             "--module", os.path.abspath(opt.module),
             "--baresip", opt.baresip, *more], cwd=TOP, check=False)
        passed, failed = [], []
        for case in tree.parse(junit).getroot().iter("testcase"):
            tags = {c.tag for c in case}
            name = case.get("classname").rpartition(".")[2] + ".py"
            if tags & {"failure", "error"}:
                failed.append((case.get("name"), name))
            elif "skipped" not in tags:
                passed.append(name)
        with open(figures, encoding="utf-8") as f:
            return json.load(f), passed, failed
