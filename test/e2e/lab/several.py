"""Several labs at the same time, for cases that mostly wait."""

import shutil
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest

from .lab import Lab

AT_ONCE = 6


class Several:
    """run(function, cases) calls function(lab, case) for every case, each in
    a lab of its own, some at the same time. A failure names all cases that
    failed, with their reports."""

    def __init__(self, options, keep=False):
        self.options = options
        self.keep = keep
        self._count = 0
        self._lock = threading.Lock()

    def run(self, fn, cases, at_once=AT_ONCE):
        cases = list(cases)
        with ThreadPoolExecutor(at_once) as pool:
            answers = list(pool.map(lambda c: self._one(fn, c), cases))
        failed = [(c, text) for c, (_, text) in zip(cases, answers) if text]
        if failed:
            raise AssertionError("failed: %s\n%s" % (
                ", ".join(str(c) for c, _ in failed),
                "\n".join("\n=== %s\n%s" % x for x in failed)))
        return [value for value, _ in answers]

    def _one(self, fn, case):
        with self._lock:
            self._count += 1
            folder = "%s-%d" % (self.options["folder"], self._count)
        lab = Lab(**dict(self.options, folder=folder))
        try:
            with lab:
                try:
                    value = fn(lab, case)
                    problems = lab.problems()
                    assert not problems, "; ".join(problems)
                except BaseException:
                    return None, "%s\n%s" % (traceback.format_exc(),
                                             lab.report())
        except Exception:
            return None, traceback.format_exc()
        if not self.keep:
            shutil.rmtree(folder, ignore_errors=True)
        return value, None


@pytest.fixture
def several(request, lab_options):
    return Several(lab_options, request.config.getoption("keep"))
