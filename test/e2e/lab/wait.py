"""Waiting for a state, never for a time."""

import time

from .pace import slack


class Timeout(AssertionError):
    """A state did not come in time."""


def until(fn, timeout=5.0, what="", every=0.02):
    """Call fn until it returns something true and return that.

    The error of a timeout says what was waited for and the last value (or
    exception) that fn gave.
    """
    timeout = slack(timeout)
    end = time.monotonic() + timeout
    while True:
        error = None
        value = None
        try:
            value = fn()
        except (OSError, ValueError, KeyError, LookupError,
                RuntimeError) as e:
            error = e
        if value:
            return value
        left = end - time.monotonic()
        if left <= 0:
            last = repr(error) if error else repr(value)
            raise Timeout("not within %.1f s: %s (last: %.400s)"
                          % (timeout, what or getattr(fn, "__name__", fn),
                             last))
        time.sleep(min(every, max(left, 0.001)))


def never(fn, during, what="", every=0.02):
    """Fail as soon as fn returns something true within the given time."""
    end = time.monotonic() + during
    while time.monotonic() < end:
        value = fn()
        if value:
            raise AssertionError("happened: %s (%.400r)" % (what, value))
        time.sleep(every)
