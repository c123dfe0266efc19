"""pytest options and the lab fixture of the end-to-end tests."""

import os
import re
import shutil
import sys
import tempfile

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "../.."))
sys.path.insert(0, HERE)

from lab import Lab, cleanup_stale, figures  # noqa: E402
from lab.proc import VALGRIND  # noqa: E402

NEEDED = ("ip", "nsenter", "nft", "ss", "kamailio", "baresip", "sipp",
          "openssl", "stdbuf")


def pytest_addoption(parser):
    group = parser.getgroup("lab")
    group.addoption("--module", metavar="PATH",
                    default=os.path.join(ROOT,
                                         "build/modules/aastra/aastra.so"),
                    help="the aastra.so to test")
    group.addoption("--baresip", metavar="PATH", default="baresip",
                    help="the baresip to test with")
    group.addoption("--valgrind", action="store_true",
                    help="run the phones under test in valgrind")
    group.addoption("--keep", action="store_true",
                    help="keep the logs, and what was on the wire, of tests "
                    "that passed, too")
    group.addoption("--all-rows", action="store_true",
                    help="every cell of the failover table, and the long "
                    "random walks, in place of samples")
    group.addoption("--seed", default="20050",
                    help="of random walks (default %(default)s)")
    group.addoption("--at-once", type=int, metavar="N",
                    help="labs at the same time (default: as many as each"
                    " file wants)")
    group.addoption("--figures", metavar="FILE",
                    help="write what was measured to this file (JSON)")


def pytest_collection_modifyitems(config, items):
    """Leave out what is for --all-rows only, or what it has more of."""
    mark = "sample" if config.getoption("all_rows") else "all_rows"
    out = [x for x in items if x.get_closest_marker(mark)]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [x for x in items if x not in set(out)]


def pytest_sessionfinish(session):
    path = session.config.getoption("figures")
    if path:
        figures.save(path)


def pytest_sessionstart(session):
    if os.geteuid() == 0:
        cleanup_stale()


@pytest.fixture(scope="session")
def lab_root():
    """Folder of all logs of this run. Short, for unix sockets live there."""
    path = tempfile.mkdtemp(prefix="aae2e-")
    yield path
    try:
        os.rmdir(path)      # only if nothing was kept
    except OSError:
        pass


@pytest.fixture
def lab_options(request, lab_root):
    """Arguments for Lab(), for tests that make their own labs."""
    missing = [x for x in NEEDED if not shutil.which(x)]
    if missing or os.geteuid():
        pytest.skip("needs root and " + ", ".join(missing or NEEDED))
    wrapper = []
    if request.config.getoption("valgrind"):
        wrapper = VALGRIND
    name = re.sub(r"\W+", "-", request.node.name).strip("-")[:40]
    return {
        "folder": os.path.join(lab_root, name),
        "module": os.path.abspath(request.config.getoption("module")),
        "binary": request.config.getoption("baresip"),
        "wrapper": wrapper,
        "seed": request.config.getoption("seed"),
    }


@pytest.fixture
def lab(request, lab_options):
    """A fresh lab: namespaces up, wire log running, no servers yet.

    @pytest.mark.lab(hosts={...}, ports=range(...)) gives Lab() more.
    """
    mark = request.node.get_closest_marker("lab")
    options = dict(lab_options, **(mark.kwargs if mark else {}))
    the_lab = Lab(**options)
    request.node.lab = the_lab
    try:
        with the_lab:
            yield the_lab
            problems = the_lab.problems()
            if problems:
                request.node.lab_failed = True
                pytest.fail("; ".join(problems), pytrace=False)
            if request.config.getoption("keep"):
                the_lab.report()
    finally:
        failed = getattr(request.node, "lab_failed", False)
        if not failed and not request.config.getoption("keep"):
            shutil.rmtree(the_lab.dir, ignore_errors=True)


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "lab(**options): more arguments for Lab()")
    config.addinivalue_line(
        "markers", "all_rows: only with --all-rows")
    config.addinivalue_line(
        "markers", "sample: not with --all-rows")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    lab = getattr(item, "lab", None)
    if report.failed and lab is not None:
        item.lab_failed = True
        try:
            text = lab.report()
        except Exception as e:      # a report must not hide the failure
            text = "no report: %r" % e
        report.sections.append(("lab", text))
