"""The phones' configuration: lines from files alone, and reading it again."""

import os
import re
import signal

import pytest

from lab.ctrl import CommandError
from lab.lab import DOMAIN

SECRET = "secret%d"


def text(**keys):
    """The text of an aastra.cfg: `line2_user_name="101"`, `proxy_ip=...`."""
    return "".join("sip %s: %s\n" % (k.replace("_", " "), v)
                   for k, v in keys.items())


class Files:
    """A phone whose lines come from a folder of files, and a server of
    combined proxy and registrar that knows them."""

    def __init__(self, lab, cfg, accounts=(), config=(), **kw):
        self.lab = lab
        self.server = lab.combined(lab.primary)
        self.phone = lab.baresip(list(accounts), aastra=True, start=False,
                                 config=["aastra_cfg_path phonecfg",
                                         *config], **kw)
        self.path = os.path.join(self.phone.dir, "phonecfg", "aastra.cfg")
        self.write(cfg)
        self.phone.start()

    def write(self, cfg):
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with open(self.path, "w") as f:
            f.write(cfg)

    def registered(self, *users):
        """Exactly these users have one binding each."""
        lab = self.lab
        for user in users:
            lab.until(lambda u=user: len(self.server.bindings(str(u))) == 1,
                      10, "%s registered" % user)

    def aors(self):
        """What baresip's own list says, in its order."""
        return re.findall(r"sip:(\w+)@", self.phone.reginfo())

    def reload(self):
        return self.phone.cmd("aastra_reload")

    def registers(self, after):
        return {m.user for m in self.lab.wire.sip("REGISTER", src="phone",
                                                  after=after)}


def line(n, ip, user=None, **more):
    user = user or 99 + n
    keys = {"user_name": user, "auth_name": user,
            "password": user, "proxy_ip": ip, "registrar_ip": ip, **more}
    return text(**{"line%d_%s" % (n, k): v for k, v in keys.items()})
