"""A web server on a host of the lab, with a folder of its own."""

import argparse
import base64
import http.server
import os
import ssl
import sys
import time


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of the folder; `mode` is a file that says what to do else:
    "503", "to URL" (a redirection), "endless", "drip", "junk"."""

    user = None
    mode = None

    def do_GET(self):
        if self.user and self.headers.get("Authorization") != "Basic " + \
                base64.b64encode(self.user.encode()).decode():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="phones"')
            self.end_headers()
            return
        try:
            with open(self.mode) as f:
                mode = f.read().split()
        except OSError:
            mode = []
        if not mode:
            super().do_GET()
        elif mode[0].isdigit():
            self.send_error(int(mode[0]))
        elif mode[0] == "to":
            self.send_response(302)
            self.send_header("Location", mode[1] + self.path)
            self.end_headers()
        elif mode[0] == "junk":
            self.wfile.write(os.urandom(2000))
        else:
            self.send_response(200)
            self.end_headers()
            while True:
                self.wfile.write(b"#" * (65535 if mode[0] == "endless"
                                         else 1) + b"\n")
                self.wfile.flush()
                time.sleep(0 if mode[0] == "endless" else 0.3)

    def log_message(self, format, *args):
        # in one piece: there is a thread for each request
        os.write(1, ("%s %s\n" % (self.path, args[1])).encode())


def serve():
    p = argparse.ArgumentParser()
    p.add_argument("--bind")
    p.add_argument("--port", type=int)
    p.add_argument("--folder")
    p.add_argument("--mode")
    p.add_argument("--user")
    p.add_argument("--cert")
    p.add_argument("--key")
    a = p.parse_args()
    Handler.user = a.user
    Handler.mode = a.mode
    server = http.server.ThreadingHTTPServer(
        (a.bind, a.port),
        lambda *args: Handler(*args, directory=a.folder))
    if a.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(a.cert, a.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(serve())


from .proc import Proc      # noqa: E402  (the script above needs no lab)


class Web:
    """user: "name:password" that is asked for. tls: (cert file, key file)."""

    def __init__(self, lab, host, user=None, tls=None, port=None):
        self.host = host
        self.name = "web-" + host.name
        self.lab = lab
        self.tls = tls
        self.user = user
        self.port = port or (443 if tls else 80)
        self.folder = os.path.join(lab.dir, self.name, "phones")
        self.mode_file = os.path.join(lab.dir, self.name, "mode")
        os.makedirs(self.folder)
        self.proc = None
        lab.others.append(self)

    @property
    def url(self):
        return "http%s://%s%s/" % ("s" if self.tls else "",
                                   self.user + "@" if self.user else "",
                                   self.host.ip)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        if text is None:
            os.unlink(path)
            return
        with open(path, "wb") as f:
            f.write(text if isinstance(text, bytes) else text.encode())

    def mode(self, text=""):
        with open(self.mode_file, "w") as f:
            f.write(text)

    def start(self):
        argv = [sys.executable, os.path.abspath(__file__), "--bind",
                self.host.ip, "--port", str(self.port), "--folder",
                self.folder, "--mode", self.mode_file]
        if self.user:
            argv += ["--user", self.user]
        if self.tls:
            argv += ["--cert", self.tls[0], "--key", self.tls[1]]
        self.proc = Proc(argv, self.name, os.path.join(
            self.lab.dir, self.name + ".log"), host=self.host)
        self.proc.wait_for_line("ready", 10)
        return self

    def stop(self):
        if self.proc:
            self.proc.kill()
            self.proc = None

    kill = stop
