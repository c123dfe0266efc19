"""Start-up time and resident memory that the module adds to baresip, and the
size of aastra.so."""

import os
import re
import shutil
import subprocess
import tempfile

from lab import Lab

from . import page

ROUNDS = 50


def arguments(parser):
    pass


def kb(proc, name):
    with open("/proc/%d/smaps_rollup" % proc.pid) as f:
        return int(re.search(r"^%s:\s+(\d+)" % name, f.read(), re.M)[1])


def run(opts):
    got = {a: {"start": [], "rss": [], "own": []} for a in (False, True)}
    folder = tempfile.mkdtemp(prefix="aabench-")
    try:
        with Lab(folder, module=opts.module, binary=opts.baresip) as lab:
            lab.combined(lab.primary)
            for i in range(opts.rounds):
                for aastra in (False, True):
                    one(lab, aastra, i, got[aastra])
    finally:
        if not opts.keep:
            shutil.rmtree(folder, ignore_errors=True)
    sections = subprocess.run(["size", opts.module], capture_output=True,
                              text=True).stdout.split()[-6:-3]
    results = {"machine": page.machine(opts.command, opts.load),
               "file": os.path.getsize(opts.module), "sections": sections,
               "figures": {str(a): {k: page.spread(v) for k, v in g.items()}
                           for a, g in got.items()}}
    if not opts.dry:
        page.save("size", results)
    return text(results)


def one(lab, aastra, i, got):
    """From the start of the process to the 200 of its line's REGISTER."""
    t = lab.now()
    phone = lab.baresip(lab.account(via=lab.primary, transport="tcp",
                                    extra="mwi=no"),
                        aastra=aastra, name="size-%d" % aastra, config=[
                            "sip_backup_outbound_proxy " + lab.backup.ip
                        ] if aastra else [])
    begun = phone.proc.started
    ok = lab.wire.wait_sip("REGISTER", 10, status=200, src="primary",
                           dst="phone", after=t, match=lambda e: e.expires)
    lab.wire.settle(0.2)
    got["start"].append(ok.t - begun)
    got["rss"].append(kb(phone.proc, "Rss"))
    got["own"].append(kb(phone.proc, "Private_Dirty"))
    phone.exit()
    lab.phones.remove(phone)
    shutil.rmtree(phone.dir, ignore_errors=True)


def text(r):
    rows = []
    for a, name in (("False", "baresip alone"), ("True", "with the module")):
        f = r["figures"][a]
        rows.append([name, page.cell(f["start"]), *(
            " / ".join("%d" % f[k][p] for p in ("median", "p95", "p99"))
            for k in ("rss", "own")), f["start"]["n"]])
    a, b = r["figures"]["False"], r["figures"]["True"]
    return "\n".join([
        page.machine_text(r["machine"]), "", page.table(
            ["", "start to 200 to REGISTER", "resident, KiB",
             "of that written and its own, KiB", "rounds"], rows), "",
        "The module adds %s to the start, %d KiB of resident memory (its "
        "code and the libraries that it needs: OpenSSL, expat), %d KiB that "
        "are its own. `aastra.so` has %d KiB with its symbols (text %s, data %s, bss %s "
        "bytes)." % (
            page.seconds(b["start"]["median"] - a["start"]["median"]),
            b["rss"]["median"] - a["rss"]["median"],
            b["own"]["median"] - a["own"]["median"],
            r["file"] // 1024, *r["sections"])])
