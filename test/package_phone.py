#!/usr/bin/python3
"""The promise on the tin: an installed package, the configuration that baresip
makes by itself, one account and five lines give a phone that survives a kill
of its primary. Run by contrib/packaging/try, as root."""

import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "e2e"))

from lab import Lab                     # noqa: E402
from lab.lab import DOMAIN              # noqa: E402
from lab.proc import Proc               # noqa: E402

FIVE_LINES = """\
module_app                       aastra.so
sip_line1_backup_outbound_proxy  %s
sip_transaction_timer            2000
sip_recovery_base_timer          1
sip_failback_policy              auto
"""


def configure(lab, folder):
    """What baresip makes on its first start, one account, five lines."""
    subprocess.run(["baresip", "-f", folder, "-t", "1"], timeout=30,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, check=False)
    path = os.path.join(folder, "config")
    with open(path) as f:
        text = f.read()
    # there is no terminal here, as in a service
    text = re.sub(r"(?m)^(module\s+stdio\.so)", r"#\1", text)
    with open(path, "w") as f:
        f.write(text + FIVE_LINES % lab.backup.ip)
    with open(os.path.join(folder, "accounts"), "w") as f:
        f.write(lab.account(100, via=lab.primary, transport="tcp",
                            extra="answermode=manual") + "\n")


def main():
    with tempfile.TemporaryDirectory(prefix="aastra-") as top, \
            Lab(os.path.join(top, "lab")) as lab:
        primary, _, reg = lab.edge_pair()
        folder = os.path.join(top, "baresip")
        configure(lab, folder)
        phone = Proc(["stdbuf", "-oL", "baresip", "-f", folder], "phone",
                     os.path.join(top, "phone.log"), host=lab.phone,
                     env=dict(os.environ, HOME=top, TERM="dumb"))

        def only_over(host):
            paths = [b["path"] or "" for b in reg.bindings("100")]
            return len(paths) == 1 and host.ip in paths[0]

        def rings():
            t = lab.now()
            far.dial("sip:100@" + DOMAIN)
            ringing = lab.wire.wait_sip("INVITE", status=180, src="phone",
                                        after=t)
            far.hangup()
            return ringing.dst

        try:
            far = lab.far_phone(lab.reg)
            lab.until(lambda: only_over(lab.primary), 15,
                      "registered over the primary")
            assert rings() == "primary"

            t = lab.now()
            primary.kill()
            ok = lab.wire.wait_sip("REGISTER", status=200, src="backup",
                                   dst="phone", after=t, timeout=10)
            lab.until(lambda: only_over(lab.backup), 10,
                      "registered over the backup alone")
            assert rings() == "backup"
            print("on the backup %.0f ms after the kill"
                  % (1000 * (ok.t - t)))

            t = lab.now()
            primary.start()
            lab.until(lambda: only_over(lab.primary), 20, "home again")
            assert rings() == "primary"
            phone.signal(15)
            assert phone.wait(10) == 0, "exit code"
        except BaseException:
            sys.stdout.write(phone.output()[-4000:] + lab.report())
            raise
        finally:
            phone.kill()


if __name__ == "__main__":
    main()
