"""Certificates made at run time with openssl."""

import os
import subprocess


class Authority:
    """A certificate authority in a folder; .cert is its file. above: the one
    that has certified it, .chain then is what leads there."""

    def __init__(self, folder, name="lab-ca", above=None):
        self.folder = folder
        self.name = name
        os.makedirs(folder, exist_ok=True)
        self.chain = []
        if above:
            self.cert, self.key = above.issue(name, [], ca=True)
            self.chain = [self.cert, *above.chain]
            return
        self.key = os.path.join(folder, name + ".key")
        self.cert = os.path.join(folder, name + ".pem")
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt",
                 "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
                 "-subj", "/CN=" + name, "-keyout", self.key,
                 "-out", self.cert)

    def issue(self, name, alt_names, days=10, ca=False, more=""):
        """A certificate and key for a server: (cert file, key file).

        alt_names: e.g. ["DNS:pbx.example.com", "IP:10.77.0.2"]. days: how
        long it is good, 0: it has ended. more: further extensions, as
        openssl has them in its files.
        """
        base = os.path.join(self.folder, name)
        with open(base + ".ext", "w") as f:
            if alt_names:
                f.write("subjectAltName=%s\n" % ",".join(alt_names))
            f.write("basicConstraints=CA:%s\n%s"
                    % ("TRUE" if ca else "FALSE", more))
        _openssl("req", "-newkey", "ec", "-pkeyopt",
                 "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                 "/CN=" + name, "-keyout", base + ".key",
                 "-out", base + ".csr")
        if days:
            _openssl("x509", "-req", "-in", base + ".csr", "-CA", self.cert,
                     "-CAkey", self.key, "-CAcreateserial",
                     "-days", str(days), "-extfile", base + ".ext",
                     "-out", base + ".pem")
        else:
            self._issue_old(base)
        return base + ".pem", base + ".key"


    def _issue_old(self, base):
        """Only "openssl ca" of Debian 12 can set both ends of the time."""
        for name in ("index.txt", "index.txt.attr"):
            open(base + "." + name, "w").close()
        with open(base + ".cnf", "w") as f:
            f.write("[ca]\ndefault_ca=x\n[x]\ndatabase=%s.index.txt\n"
                    "new_certs_dir=%s\nrand_serial=yes\ndefault_md=sha256\n"
                    "policy=p\n[p]\ncommonName=supplied\n"
                    % (base, self.folder))
        _openssl("ca", "-batch", "-notext", "-config", base + ".cnf",
                 "-cert", self.cert, "-keyfile", self.key,
                 "-in", base + ".csr", "-out", base + ".pem",
                 "-extfile", base + ".ext", "-startdate", "20200101000000Z",
                 "-enddate", "20200201000000Z")


def _openssl(*args):
    p = subprocess.run(["openssl", *args], capture_output=True, text=True)
    if p.returncode:
        raise RuntimeError("openssl %s: %s" % (args[0], p.stderr.strip()))
