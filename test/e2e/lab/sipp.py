"""Runs SIPp with one of the scenarios in test/e2e/sipp."""

import os

from .proc import Proc

SCENARIOS = os.path.normpath(os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "../sipp"))


class Sipp:
    """scenario: name of a file without .xml. to: the host SIPp sends to
    (None for a server scenario). keys: values for [name] in the scenario."""

    def __init__(self, host, scenario, log_dir, to=None, service="100",
                 calls=1, transport="u1", port=5060, keys=None, args=(),
                 name=None):
        self.name = name or "sipp-%s-%s" % (scenario, host.name)
        argv = ["sipp", "-sf", os.path.join(SCENARIOS, scenario + ".xml"),
                "-i", host.ip, "-p", str(port), "-t", transport,
                "-m", str(calls), "-s", service, "-nostdin",
                "-trace_err", "-error_file",
                os.path.join(log_dir, self.name + ".err"),
                "-timeout", "60s", "-timeout_error"]
        for key, value in (keys or {}).items():
            argv += ["-key", key, str(value)]
        argv += list(args)
        if to is not None:
            argv.append(getattr(to, "ip", to))
        self.proc = Proc(argv, self.name,
                         os.path.join(log_dir, self.name + ".log"),
                         host=host, cwd=log_dir)

    def wait(self, timeout=20.0):
        """Wait for the end; True if every call went as the scenario says."""
        code = self.proc.wait(timeout)
        self.proc.kill()
        return code == 0

    def stop(self):
        self.proc.kill()
