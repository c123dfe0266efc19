"""How slow a phone may be. In an emulator (test/emulated says so by
AASTRA_EMULATED) it is many times slower, and has no TCP_INFO: what is sent on
TCP is then checked by OPTIONS."""

import os

EMULATED = bool(os.environ.get("AASTRA_EMULATED"))
SLOW = 8 if EMULATED else 1
# of the phone, where a test wants to be fast: more than a handshake takes
TRANSACTION_MS = 4000 if EMULATED else 500


def slack(seconds):
    """What a processor may take beside all timers."""
    return seconds * SLOW
