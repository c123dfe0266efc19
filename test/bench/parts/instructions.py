"""Instructions, counted by callgrind: one decision of the policy, one look of
a line at all it knows (line_run), what a flow's change costs a phone with
1000 lines, one NOTIFY."""

import os
import re
import shutil
import subprocess
import tempfile

from lab import Lab, bodies
from lab.patience import patient

from . import page

ROUNDS = 1              # the count is the same each time
LINES = 20
# after "terminated" Kamailio forgets what was published, and answers 412
STATES = ("trying", "early", "confirmed")
WANTED = {
    "aa_policy_decide": "one decision of the policy",
    "line_run": "one look of a line at all it knows",
    "aa_notify_decode": "the body of one NOTIFY (dialog-info) read",
    "aa_notify_apply": "... and told to its lamp",
}


def arguments(parser):
    parser.add_argument("--notifies", type=int, default=50)


def run(opts):
    folder = tempfile.mkdtemp(prefix="aabench-")
    try:
        counts = measure(opts, folder)
    finally:
        if not opts.keep:
            shutil.rmtree(folder, ignore_errors=True)
    results = {"counts": counts,
               "machine": page.machine(opts.command, opts.load)}
    if not opts.dry:
        page.save("instructions", results)
    return text(results)


def measure(opts, folder):
    out = os.path.join(folder, "callgrind")
    with Lab(folder, module=opts.module, binary=opts.baresip) as lab:
        primary, backup = (
            lab.combined(h, PRESENCE_DB=True, start=False)
            for h in (lab.primary, lab.backup))
        for server in (primary, backup):
            patient(server, lab.dir)
            server.start()
        primary.publish(200, bodies.dialog(200, STATES[-1]))
        # slow by then: nothing may time out
        phone = lab.baresip(
            [lab.account(100 + i, via=lab.primary, transport="tcp")
             for i in range(LINES)], aastra=True, wrapper=[
                 "valgrind", "--tool=callgrind", "--dump-instr=no",
                 "--callgrind-out-file=" + out],
            config=["sip_backup_outbound_proxy " + lab.backup.ip,
                    "sip_transaction_timer 20000",
                    "sip_line1_subscribe dialog 200"], start=False)
        phone.start(timeout=60)
        for i in range(LINES):
            lab.until(lambda i=i: primary.bindings(str(100 + i)), 60,
                      "line %d registered" % (i + 1))
        lab.wire.wait_sip("NOTIFY", 60, request=True, dst="phone")
        for i in range(opts.notifies):
            t = lab.now()
            primary.publish(200, bodies.dialog(200, STATES[i % 3]))
            lab.wire.wait_sip("NOTIFY", 30, status=200, src="phone",
                              after=t)
        primary.kill()
        for i in range(LINES):
            lab.until(lambda i=i: backup.bindings(str(100 + i)), 90,
                      "line %d on the backup" % (i + 1))
        phone.proc.signal(15)
        phone.proc.wait(60)
        phone.proc.kill()
        lab.phones.remove(phone)
    return read(out)


def read(path):
    """Calls and inclusive instructions of the functions that are wanted."""
    text = subprocess.run(
        ["callgrind_annotate", "--inclusive=yes", "--tree=caller",
         "--threshold=100", "--auto=no", path], capture_output=True,
        text=True, check=True).stdout
    counts = {}
    for block in text.split("\n\n"):
        lines = block.splitlines()
        if not lines:
            continue
        m = re.match(r"\s*([\d,]+) \([^)]*\)\s+\*\s+\S*?:(\w+)", lines[-1])
        if not m or m[2] not in WANTED:
            continue
        calls = sum(int(c.replace(",", "")) for c in re.findall(
            r"\(([\d,]+)x\)", block))
        if calls:
            counts[m[2]] = {"calls": calls, "instructions": int(
                m[1].replace(",", "")) / calls}
    return counts


def text(results):
    c = results["counts"]
    rows = [[what, "`%s`" % name, c[name]["calls"],
             "{:,.0f}".format(c[name]["instructions"])]
            for name, what in WANTED.items() if name in c]
    if "line_run" in c:
        rows.append(["one flow's change with 1000 lines: 1000 of these looks",
                     "", "", "{:,.0f}".format(
                         1000 * c["line_run"]["instructions"])])
    return "\n".join([
        page.machine_text(results["machine"]), "",
        "%d lines, start, NOTIFYs, a move; the mean of all calls with what "
        "they call, the sending of requests included." % LINES, "",
        page.table(["", "function", "calls", "instructions a call"], rows)])
