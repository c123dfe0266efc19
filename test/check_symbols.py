#!/usr/bin/python3
#
# check_symbols.py  Does the module fit the baresip that is installed?
#
# Copyright (C) 2026 The baresip-aastra authors
#
# Debian ships baresip without its header, so the compiler sees our own
# declarations only.  This looks at the other side: every symbol that the
# module leaves open must exist, in the right version, in baresip or in one of
# the few libraries that we agreed on; and baresip must load the module, on a
# line before account.so as well as after it, and leave in good order.  And it
# must be built in the way that makes attacks on it hard.

"""Check the symbols of aastra.so against baresip, then load it there."""

import argparse
import collections
import os
import re
import shutil
import subprocess
import sys
import tempfile
from xml.sax.saxutils import escape

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# What the module may lean on, besides baresip itself
ALLOWED = re.compile(
    r"^(libre|librem|libbaresip|libssl|libcrypto|libcurl|libexpat|libxml2"
    r"|libc|libm|libdl|libpthread|librt|libresolv|ld-linux[^.]*"
    r"|libasan|libubsan)\.so(\.|$)")

RUN_S = 1          # how long baresip is let run
LIMIT_S = 20       # and when it is given up


def output(*argv):
    """Standard output of a tool that has to succeed."""
    return subprocess.run(argv, check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def symbols(path, which):
    """Yield (type, name, version or "") of the dynamic symbols of a file."""
    for line in output("nm", "-D", which, path).splitlines():
        fields = line.split()
        if len(fields) < 2:
            continue
        name, _, version = fields[-1].partition("@")
        yield fields[-2], name, version.lstrip("@")


def libraries(path):
    """Map the name of each library that a file is linked with to its path."""
    found = {}
    text = subprocess.run(["ldd", path], text=True, check=False,
                          stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout
    for line in text.splitlines():
        match = re.match(r"\s*(\S+) => (\S+)", line)
        if match and match.group(2) != "not":
            found[match.group(1)] = match.group(2)
        elif match:
            found[match.group(1)] = None
        else:
            match = re.match(r"\s*(/\S+)", line)
            if match:
                found[os.path.basename(match.group(1))] = match.group(1)
    return found


def needed(path):
    """Names of the libraries that a file itself asks for."""
    return re.findall(r"\(NEEDED\)[^[]*\[([^]]+)\]",
                      output("readelf", "-d", path))


def check_symbols(module, baresip):
    """Return a list of complaints about the symbols of the module."""
    complaints = []
    host = libraries(baresip)
    own = libraries(module)

    for name in needed(module):
        if not ALLOWED.match(name):
            complaints.append(f"is linked with {name}")

    for name, path in own.items():
        if path is None:
            complaints.append(f"is linked with {name}, which is not there")

    # two copies of libre in one process would not know of each other
    for name in own:
        base = name.partition(".so")[0]
        other = [n for n in host if n.partition(".so")[0] == base]
        if other and name not in other:
            complaints.append(f"wants {name}, baresip has {other[0]}")

    providers = [baresip]
    for name, path in {**own, **host}.items():
        if path and ALLOWED.match(name):
            providers.append(path)

    defined = collections.defaultdict(set)
    origin = {}
    for path in providers:
        for _, name, version in symbols(path, "--defined-only"):
            defined[name].add(version)
            origin.setdefault(name, os.path.basename(path))

    users = collections.Counter()
    count = 0
    for kind, name, version in symbols(module, "--undefined-only"):
        count += 1
        if name in defined and (not version or version in defined[name]):
            users[origin[name]] += 1
        elif kind in "wv":
            users["nobody (weak)"] += 1
        else:
            wanted = f"{name}@{version}" if version else name
            complaints.append(f"needs {wanted}, which nobody has")

    if "exports" not in [n for _, n, _ in symbols(module, "--defined-only")]:
        complaints.append("does not show the symbol 'exports'")

    print(f"{count} open symbols: " +
          ", ".join(f"{n} in {who}" for who, n in users.most_common()))

    return complaints


def check_hardening(module):
    """Return a list of complaints about how the module was built."""
    complaints = []
    headers = output("readelf", "-Wl", module)
    dynamic = output("readelf", "-Wd", module)
    names = [n for _, n, _ in symbols(module, "--undefined-only")]

    stack = re.search(r"GNU_STACK.*", headers)
    if not stack or re.search(r"\bR?WE\b", stack.group(0)):
        complaints.append("its stack could be executed")
    if re.search(r"LOAD\s.*\bRWE\b", headers):
        complaints.append("has memory to be written and executed")
    if "GNU_RELRO" not in headers:
        complaints.append("has no RELRO")
    if not re.search(r"BIND_NOW|FLAGS.*\bNOW\b", dynamic):
        complaints.append("binds its symbols late (no BIND_NOW)")
    if "TEXTREL" in dynamic:
        complaints.append("has relocations in its code")
    if re.search(r"R(UN)?PATH", dynamic):
        complaints.append("has a search path of its own")
    if "__stack_chk_fail" not in names:
        complaints.append("has no stack protector")

    # the sanitizers look closer than fortify does, and stand in its way
    if preload(module) is None and not [
            n for n in names if re.fullmatch(r"__\w+_chk", n)
            and n != "__stack_chk_fail"]:
        complaints.append("is not fortified")

    return complaints


def module_folder(baresip):
    """Return the folder of the modules that belong to a baresip."""
    prefix = os.path.dirname(os.path.dirname(os.path.realpath(baresip)))
    for sub in ("lib/baresip/modules", "lib64/baresip/modules"):
        path = os.path.join(prefix, sub)
        if os.path.isdir(path):
            return path

    lib = os.path.join(prefix, "lib")
    if os.path.isdir(lib):
        for triplet in sorted(os.listdir(lib)):
            path = os.path.join(lib, triplet, "baresip/modules")
            if os.path.isdir(path):
                return path

    raise SystemExit(f"no modules of {baresip} found")


def preload(module):
    """A module with sanitizers wants their library before all others."""
    for name, path in libraries(module).items():
        if name.startswith("libasan") and path:
            return path
    return None


def check_load(module, baresip, order):
    """Return a list of complaints of a baresip that loads the module."""
    env = dict(os.environ, LC_ALL="C")
    lib = preload(module)
    if lib:
        env["LD_PRELOAD"] = lib
        # not what is looked for here; and the leaks of baresip are its own
        env["ASAN_OPTIONS"] = "detect_leaks=0"

    with tempfile.TemporaryDirectory(prefix="aastra-load-") as conf:
        modules = os.path.join(conf, "modules")
        os.mkdir(modules)
        folder = module_folder(baresip)
        for name in os.listdir(folder):
            if name != "aastra.so":
                os.symlink(os.path.join(folder, name),
                           os.path.join(modules, name))
        os.symlink(os.path.abspath(module),
                   os.path.join(modules, "aastra.so"))

        with open(os.path.join(conf, "config"), "w",
                  encoding="ascii") as file:
            file.write("sip_listen 127.0.0.1:0\n"
                       f"module_path {modules}\n")
            for name in order + ["debug_cmd"]:
                file.write(f"module_app {name}.so\n")
        with open(os.path.join(conf, "accounts"), "w",
                  encoding="ascii") as file:
            file.write("<sip:check@127.0.0.1>;regint=0\n")
        with open(os.path.join(conf, "contacts"), "w",
                  encoding="ascii"):
            pass

        try:
            run = subprocess.run(
                [baresip, "-f", conf, "-t", str(RUN_S), "-e", "/modules"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, env=env, check=False,
                timeout=LIMIT_S)
        except subprocess.TimeoutExpired as err:
            return [f"baresip did not end within {LIMIT_S} s",
                    (err.stdout or b"").decode(errors="replace")]

    text = run.stdout.decode(errors="replace")
    complaints = []

    if run.returncode != 0:
        complaints.append(f"baresip ended with {run.returncode}")
    if re.search(r"(^|\s)(module|mod|dlopen)\b.*aastra\.so\b.*:", text):
        complaints.append("baresip complains about aastra.so")
    if not re.search(r"^\s*aastra\s+type=application", text, re.MULTILINE):
        complaints.append("aastra is not among the modules of baresip")

    if complaints:
        complaints.append("it said:\n" + text)

    return complaints


def write_junit(path, results):
    """Write the results in the form that test/run adds up."""
    with open(path, "w", encoding="utf-8") as file:
        file.write('<testsuite name="check_symbols">\n')
        for name, complaints in results:
            # the colours of baresip are not for XML
            text = re.sub(r"[^\t\n -~]", "?", "\n".join(complaints))
            file.write(f'<testcase name="{name}">')
            if complaints:
                file.write(f"<failure>{escape(text)}</failure>")
            file.write("</testcase>\n")
        file.write("</testsuite>\n")


def main():
    """Run the checks and say how they went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module", nargs="?",
                        default=os.path.join(
                            TOP, "build/modules/aastra/aastra.so"))
    parser.add_argument("--baresip", default=shutil.which("baresip"),
                        help="the baresip to check against")
    parser.add_argument("--junit", metavar="FILE",
                        help="write the results there, too")
    args = parser.parse_args()

    if not args.baresip or not os.path.exists(args.baresip):
        parser.error("no baresip found")
    if not os.path.exists(args.module):
        parser.error(f"no {args.module}: build it first")

    checks = [
        ("symbols", lambda: check_symbols(args.module, args.baresip)),
        ("hardened", lambda: check_hardening(args.module)),
        ("load before account.so", lambda: check_load(
            args.module, args.baresip, ["aastra", "account"])),
        ("load after account.so", lambda: check_load(
            args.module, args.baresip, ["account", "aastra"])),
    ]

    results = []
    for name, check in checks:
        complaints = check()
        results.append((name, complaints))
        print(("not ok" if complaints else "ok") + f" - {name}")
        for text in complaints:
            print("    aastra.so: " + text.replace("\n", "\n    "))

    if args.junit:
        write_junit(args.junit, results)

    failed = sum(bool(complaints) for _, complaints in results)
    print(f"{len(checks) - failed} passed, {failed} failed")

    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
