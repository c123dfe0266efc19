"""Certificates made at run time with openssl."""

import os
import subprocess


class Authority:
    """A certificate authority in a folder; .cert is its file."""

    def __init__(self, folder, name="lab-ca"):
        self.folder = folder
        self.name = name
        os.makedirs(folder, exist_ok=True)
        self.key = os.path.join(folder, name + ".key")
        self.cert = os.path.join(folder, name + ".pem")
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt",
                 "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
                 "-subj", "/CN=" + name, "-keyout", self.key,
                 "-out", self.cert)

    def issue(self, name, alt_names, days=10):
        """A certificate and key for a server: (cert file, key file).

        alt_names: e.g. ["DNS:pbx.example.com", "IP:10.77.0.2"].
        """
        base = os.path.join(self.folder, name)
        with open(base + ".ext", "w") as f:
            f.write("subjectAltName=%s\nbasicConstraints=CA:FALSE\n"
                    % ",".join(alt_names))
        _openssl("req", "-newkey", "ec", "-pkeyopt",
                 "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                 "/CN=" + name, "-keyout", base + ".key",
                 "-out", base + ".csr")
        _openssl("x509", "-req", "-in", base + ".csr", "-CA", self.cert,
                 "-CAkey", self.key, "-CAcreateserial", "-days", str(days),
                 "-extfile", base + ".ext", "-out", base + ".pem")
        return base + ".pem", base + ".key"


def _openssl(*args):
    p = subprocess.run(["openssl", *args], capture_output=True, text=True)
    if p.returncode:
        raise RuntimeError("openssl %s: %s" % (args[0], p.stderr.strip()))
