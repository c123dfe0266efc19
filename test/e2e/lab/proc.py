"""Processes of a lab: own process group, logged output, bounded waits."""

import os
import re
import signal
import subprocess
import threading
import time

from .wait import Timeout

# a wrapper that fails on errors and leaks which are not baresip's own
VALGRIND = ["valgrind", "--leak-check=full", "--num-callers=30",
            "--errors-for-leak-kinds=definite", "--error-exitcode=99",
            "--suppressions=" + os.path.join(
                os.path.dirname(os.path.abspath(__file__)), "baresip.supp")]


def _group_alive(pgid):
    """True while a process of the group still holds resources."""
    for pid in os.listdir("/proc"):
        if not pid.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % pid) as f:
                fields = f.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == pgid and fields[0] not in "ZX":
            return True
    return False


class Proc:
    """A running command. It leads a process group of its own, and signals go
    to that group only."""

    def __init__(self, argv, name, log_path, host=None, env=None, cwd=None):
        self.name = name
        self.log_path = log_path
        self.lines = []         # (monotonic time, text)
        self._news = threading.Condition()
        self._code = None
        self.killed = False     # we sent a signal that ends it
        if host is not None:
            argv = host.argv(argv)
        self.argv = argv
        self._log = open(log_path, "a", buffering=1, encoding="utf-8",
                         errors="replace")
        self._write("-- start: " + " ".join(argv))
        self._p = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True, env=env,
            cwd=cwd)
        self.pid = self._p.pid
        self.started = time.monotonic()
        self._reader = threading.Thread(target=self._read, daemon=True,
                                        name="log-" + name)
        self._reader.start()

    def __repr__(self):
        return "<%s pid %d>" % (self.name, self.pid)

    # -- output ----------------------------------------------------------

    def _write(self, text):
        wall = time.time()
        self._log.write("%s.%03d %.6f %s\n" % (
            time.strftime("%H:%M:%S", time.localtime(wall)),
            wall % 1 * 1000, time.monotonic(), text))

    def _read(self):
        for raw in self._p.stdout:
            text = raw.decode("utf-8", "replace").rstrip("\r\n")
            with self._news:
                self.lines.append((time.monotonic(), text))
                self._write(text)
                self._news.notify_all()
        self._p.stdout.close()
        with self._news:
            self._write("-- end of output")
            self._log.close()
            self._news.notify_all()

    def output(self, after=0.0):
        """All text printed so far (after a monotonic time)."""
        with self._news:
            return "\n".join(x for t, x in self.lines if t > after)

    def wait_for_line(self, regex, timeout=5.0, after=0.0):
        """Wait for a line of output that matches; return the match."""
        rx = re.compile(regex)
        end = time.monotonic() + timeout
        seen = 0
        with self._news:
            while True:
                for t, text in self.lines[seen:]:
                    m = rx.search(text) if t > after else None
                    if m:
                        return m
                seen = len(self.lines)
                left = end - time.monotonic()
                if left <= 0 or not self._reader.is_alive():
                    raise Timeout("%s: no line like %r within %.1f s, last: %r"
                                  % (self.name, regex, timeout,
                                     self.lines[-1:]))
                self._news.wait(min(left, 0.2))

    # -- life --------------------------------------------------------------

    @property
    def running(self):
        return self.exit_code is None

    @property
    def exit_code(self):
        """None while it runs; negative for a signal."""
        if self._code is None:
            # Peek only: the pid stays reserved until kill() reaps it, so a
            # signal can never meet a stranger.
            info = os.waitid(os.P_PID, self.pid,
                             os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if info is None:
                return None
            exited = info.si_code == os.CLD_EXITED
            return info.si_status if exited else -info.si_status
        return self._code

    def signal(self, sig):
        """Send a signal to the whole group."""
        if self._code is None:
            self.killed |= sig in (signal.SIGTERM, signal.SIGKILL)
            os.killpg(self.pid, sig)

    def stop(self):
        """Freeze it: connections stay, no answer comes."""
        self.signal(signal.SIGSTOP)

    def cont(self):
        self.signal(signal.SIGCONT)

    def wait(self, timeout=5.0):
        """Wait until it ends by itself; return the exit code."""
        end = time.monotonic() + timeout
        while self.running:
            if time.monotonic() > end:
                raise Timeout("%s did not end within %.1f s"
                              % (self.name, timeout))
            time.sleep(0.005)
        return self.exit_code

    def kill(self):
        """SIGKILL to the whole group; returns when all of it is gone."""
        if self._code is not None:
            return
        self.killed |= self.running
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        end = time.monotonic() + 5
        while _group_alive(self.pid):
            if time.monotonic() > end:
                raise Timeout("%s survives SIGKILL" % self.name)
            time.sleep(0.002)
        self._code = self._p.wait()
        self._reader.join(2)

    def terminate(self, timeout=3.0):
        """SIGTERM, and SIGKILL to what is left. Returns the exit code."""
        if self._code is not None:
            return self._code
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        try:
            self.wait(timeout)
        except Timeout:
            pass
        self.kill()
        return self._code

    # -- what it uses -------------------------------------------------------

    def fds(self):
        """Number of open file descriptors of the main process."""
        return len(os.listdir("/proc/%d/fd" % self.pid))

    def rss_kb(self):
        """Resident memory of the main process in kB."""
        with open("/proc/%d/status" % self.pid) as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1])

    def cpu_seconds(self):
        with open("/proc/%d/stat" % self.pid) as f:
            f = f.read().rpartition(")")[2].split()
        return (int(f[11]) + int(f[12])) / os.sysconf("SC_CLK_TCK")
