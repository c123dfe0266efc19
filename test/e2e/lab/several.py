"""Several labs at the same time, for tests that mostly wait.

    @parallel
    @pytest.mark.parametrize("row", ROWS)
    def test_something(lab, row): ...

runs as any test with the lab fixture does, but in a thread, and all parallel
tests of a file that were chosen are begun ahead, AT_ONCE of them at a time (a
file may have a number of its own).
Tests without @parallel belong to the end of the file: there nothing else runs.
"""

import functools
import inspect
import os
import re
import shutil
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest

from .lab import Lab

AT_ONCE = 6


class Failed(AssertionError):
    """A parallel test failed; the text says how, with the lab's report."""


def parallel(test):
    """Make a test function that takes lab= run ahead, see above."""
    @functools.wraps(test)
    def wait(ahead, **kw):
        ahead()

    sig = inspect.signature(test)
    wait.__signature__ = sig.replace(parameters=[
        p.replace(name="ahead") if name == "lab" else p
        for name, p in sig.parameters.items()])
    wait.parallel = test
    return wait


class Ahead:
    """The parallel tests of one file."""

    def __init__(self, keep):
        self.keep = keep
        self.pool = None
        self.runs = {}

    def begin(self, session, module, options):
        self.pool = ThreadPoolExecutor(
            session.config.getoption("at_once")
            or getattr(module, "AT_ONCE", AT_ONCE), "lab")
        for item in session.items:
            test = getattr(getattr(item, "function", None), "parallel", None)
            if test is None or item.module is not module:
                continue
            kw = dict(item.callspec.params) if hasattr(item, "callspec") \
                else {}
            folder = os.path.join(
                os.path.dirname(options["folder"]),
                re.sub(r"\W+", "-", item.name).strip("-")[5:45]
                + "-%d" % len(self.runs))
            mark = item.get_closest_marker("lab")
            opts = dict(options, **(mark.kwargs if mark else {}),
                        folder=folder)
            self.runs[item.nodeid] = self.pool.submit(
                self.run, functools.partial(test, **kw), opts)

    def run(self, test, options):
        """Run one test; returns what went wrong."""
        lab = Lab(**options)
        try:
            with lab:
                try:
                    test(lab)
                    problems = lab.problems()
                    assert not problems, "; ".join(problems)
                    if self.keep:
                        lab.report()
                except BaseException:
                    return "%s\n%s" % (traceback.format_exc(), lab.report())
        except Exception:
            return traceback.format_exc()
        if not self.keep:
            shutil.rmtree(options["folder"], ignore_errors=True)
        return None

    def end(self):
        if self.pool:
            self.pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def _ahead(request):
    them = Ahead(request.config.getoption("keep"))
    yield them
    them.end()


@pytest.fixture
def ahead(request, lab_options, _ahead):
    if not _ahead.runs:
        _ahead.begin(request.session, request.module, lab_options)

    def result():
        __tracebackhide__ = True
        error = _ahead.runs[request.node.nodeid].result()
        if error:
            raise Failed(error)
    return result
