"""Something that is done again and again beside the test, in a thread."""

import threading


class Every:
    """In a with block: once() is called every so many seconds until it ends.
    A class of its own says what once() does."""

    def __init__(self, seconds):
        self.every = seconds
        self._stop = threading.Event()
        self._thread = None

    def __enter__(self):
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self.stop()

    def stop(self):
        self._stop.set()
        if self._thread:
            self._thread.join()

    def _run(self):
        while not self._stop.wait(self.every):
            self.once()

    def once(self):
        raise NotImplementedError
