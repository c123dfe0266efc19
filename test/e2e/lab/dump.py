"""What a server received and sent over TLS, told by the server itself.

TLS hides the messages from the wire log, so Kamailio's sipdump module writes
them down behind the encryption, with its own time stamps. They are fed into
the wire log as events of proto "tls", between the others.
"""

import glob
import os
import threading
import time

from .wire import Sip

_BEGIN = b"====================\n"
_HEAD_END = b"~~~~~~~~~~~~~~~~~~~~\n"
_END = b"||||||||||||||||||||\n"
WAIT_US = 2000


class Dump:
    """Follows the files of one server. argv goes to Kamailio."""

    def __init__(self, folder, wire):
        self.folder = folder
        self.wire = wire
        self._starts = 0
        self._seen = {}         # file -> bytes taken
        self._stop = threading.Event()
        self._thread = None

    def argv(self):
        """For one start: a folder of its own each time, as sipdump names its
        files by the minute and writes over those of the process before."""
        self._starts += 1
        folder = os.path.join(self.folder, str(self._starts))
        os.makedirs(folder)
        return ["--loadmodule=sipdump.so",
                "--modparam=sipdump:folder:s:" + folder,
                "--modparam=sipdump:enable:i:1",
                "--modparam=sipdump:wait:i:%d" % WAIT_US]

    def start(self):
        self._thread = threading.Thread(target=self._run, daemon=True,
                                        name="dump")
        self._thread.start()
        return self

    def stop(self):
        self._stop.set()
        if self._thread:
            self._thread.join(2)

    def _run(self):
        while not self._stop.wait(0.003):
            for path in glob.glob(os.path.join(self.folder, "*", "*.data")):
                self._follow(path)

    def _follow(self, path):
        at = self._seen.get(path, 0)
        with open(path, "rb") as f:
            f.seek(at)
            new = f.read()
        end = new.rfind(_END)
        if end < 0:
            return
        whole = new[:end + len(_END)]
        self._seen[path] = at + len(whole)
        offset = time.monotonic() - time.time()
        events = []
        for part in whole.split(_BEGIN)[1:]:
            head, _, body = part.partition(_HEAD_END)
            fields = dict(line.split(": ", 1) for line in
                          head.decode().splitlines() if ": " in line)
            if fields["proto"].startswith("tls"):
                events.append(Sip(_Packet(self.wire.net, fields, offset),
                                  body[:body.rfind(_END)]))
        self.wire.feed(events)


class _Packet:
    proto = "tls"

    def __init__(self, net, fields, offset):
        self.wall = float(fields["time"])
        self.t = self.wall + offset
        self.src_ip = fields["srcip"].strip("[]")
        self.dst_ip = fields["dstip"].strip("[]")
        self.src, self.dst = net.by_ip(self.src_ip), net.by_ip(self.dst_ip)
        self.sport, self.dport = int(fields["srcport"]), int(fields["dstport"])
