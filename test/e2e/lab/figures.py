"""What tests have measured, for the page of results.

    figure("rows", row="E3", transport="tcp", failover=0.012)

keeps one line of a table; pytest --figures FILE writes them all down.
"""

import json
import threading

_kept = {}
_lock = threading.Lock()


def figure(table, **row):
    with _lock:
        _kept.setdefault(table, []).append(row)


def held(part, case, **measured):
    """A promise that a test saw kept, and what that took: a line for
    test/security, which says of names with spaces what was measured."""
    figure("held", part=part, case=case,
           measured={k.replace("_", " "): v for k, v in measured.items()})


def save(path):
    with _lock, open(path, "w") as f:
        json.dump(_kept, f, indent=1)
