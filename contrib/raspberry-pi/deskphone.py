#!/usr/bin/python3
"""Lamps and keys of a desk phone on a Raspberry Pi.

Lamps on GPIO pins show the busy lamps, the message-waiting lamp and the state
of the line, as the module reports them; keys of a keypad (any input device of
Linux) become commands of baresip. Both ways lead over baresip's ctrl_tcp.

    deskphone.py /etc/baresip-deskphone/deskphone.conf

Needs Debian's python3-libgpiod, version 1 (Debian 12) or 2 (Debian 13).
It was tried with events in the kernel's format and with fakes of libgpiod's chip, never
with real pins.
"""

import configparser
import fcntl
import json
import os
import selectors
import socket
import struct
import sys
import time

BLINK_S = 0.25
RETRY_S = 2.0
POLL_S = 1.0            # ask again: a lamp must not depend on one event
EV_KEY = 0x01
EVIOCGRAB = 0x40044590                     # linux/input.h
INPUT_EVENT = struct.Struct("@llHHi")      # linux/input.h

# keys of a number block and of a keyboard -> what they mean to a phone
DIGITS = {
    2: "1", 3: "2", 4: "3", 5: "4", 6: "5", 7: "6", 8: "7", 9: "8", 10: "9",
    11: "0", 71: "7", 72: "8", 73: "9", 75: "4", 76: "5", 77: "6", 79: "1",
    80: "2", 81: "3", 82: "0", 55: "*", 522: "*", 98: "#", 523: "#",
}
DIGITS.update({512 + n: str(n) for n in range(10)})        # KEY_NUMERIC_0...
KEY_DIAL = {28, 96, 353}            # ENTER, KPENTER, SELECT
KEY_HANGUP = {1, 14}                # ESC, BACKSPACE

ON, OFF, SLOW, FAST = "on", "off", "slow", "fast"


class ConfigError(ValueError):
    """The settings make no sense; the text says which."""


# -- lamps -----------------------------------------------------------------------


class Lamps:
    """Named lamps on the pins of one chip. chip has set(pin, bool)."""

    def __init__(self, chip, pins):
        self.chip = chip
        self.pins = dict(pins)
        self.shown = {name: OFF for name in self.pins}
        self._lit = {}
        self.tick(0)

    def show(self, name, how):
        if name in self.pins:
            self.shown[name] = how

    def tick(self, n):
        """Write what has changed; n counts quarters of a second."""
        for name, pin in self.pins.items():
            how = self.shown[name]
            lit = {ON: True, OFF: False, SLOW: n // 4 % 2 == 0,
                   FAST: n % 2 == 0}[how]
            if self._lit.get(name) != lit:
                self._lit[name] = lit
                self.chip.set(pin, lit)


class Gpiod:
    """Output pins by libgpiod, version 1 or 2."""

    def __init__(self, path, pins, active_low=False, gpiod=None):
        if gpiod is None:
            import gpiod
        if hasattr(gpiod, "request_lines"):         # version 2
            value = gpiod.line.Value
            self._values = (value.INACTIVE, value.ACTIVE)
            self._request = gpiod.request_lines(
                path, consumer="deskphone", config={
                    tuple(pins): gpiod.LineSettings(
                        direction=gpiod.line.Direction.OUTPUT,
                        active_low=active_low)})
            self.set = self._set_v2
        else:
            chip = gpiod.Chip(path)
            flags = gpiod.LINE_REQ_FLAG_ACTIVE_LOW if active_low else 0
            self._lines = {}
            for pin in pins:
                line = chip.get_line(pin)
                line.request(consumer="deskphone",
                             type=gpiod.LINE_REQ_DIR_OUT, flags=flags)
                self._lines[pin] = line
            self._chip = chip
            self.set = self._set_v1

    def _set_v2(self, pin, lit):
        self._request.set_value(pin, self._values[lit])

    def _set_v1(self, pin, lit):
        self._lines[pin].set_value(int(lit))


def how_busy(value):
    """How a busy lamp shows a value of aastra_state, as the phones do."""
    word = (value or "").split(" ")[0].lower()
    return {"ringing": FAST, "busy": ON, "held": SLOW}.get(word, OFF)


def lamps_of(state, number=1):
    """{name of a lamp: how it shows} of a document of aastra_state. The names
    are line, message, and the called number of each busy lamp."""
    out = {}
    for line in state.get("lines", []):
        if line.get("line") != number:
            continue
        out["line"] = (OFF if not line.get("registered") else
                       ON if line.get("service") == "primary" else SLOW)
        for sub in line.get("subscriptions", []):
            value = sub.get("value", "")
            if sub.get("event") == "message-summary":
                out["message"] = (SLOW if value.lower().startswith("yes")
                                  else OFF)
            elif sub.get("key") or sub.get("uri"):
                name = sub.get("key") or sub["uri"]
                name = name.partition(":")[2] or name
                out[name.partition("@")[0]] = how_busy(value)
    return out


# -- keys ------------------------------------------------------------------------


class Keypad:
    """Key events in, commands of baresip out."""

    def __init__(self, keys=None):
        self.keys = {int(k): v for k, v in (keys or {}).items()}
        self.number = ""

    def feed(self, data):
        """Whole input events, as read from the device; yields commands."""
        for at in range(0, len(data) - INPUT_EVENT.size + 1,
                        INPUT_EVENT.size):
            _, _, kind, code, value = INPUT_EVENT.unpack_from(data, at)
            if kind == EV_KEY and value == 1:       # pressed; not repeated
                yield from self.press(code)

    def press(self, code):
        if code in self.keys:
            yield self.keys[code]
        elif code in DIGITS:
            if len(self.number) < 64:
                self.number += DIGITS[code]
        elif code in KEY_DIAL:
            number, self.number = self.number, ""
            # without digits it is the key that lifts the receiver
            yield "dial " + number if number else "accept"
        elif code in KEY_HANGUP:
            if self.number:
                self.number = ""
            else:
                yield "hangup"


def open_keypad(path):
    """The input device, for us alone: without that its digits would also be
    typed at the login of the console."""
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, EVIOCGRAB, 1)
    except OSError as e:
        os.close(fd)
        raise OSError("%s: cannot have it alone: %s" % (path, e)) from None
    return fd


# -- baresip ---------------------------------------------------------------------


class Ctrl:
    """Client of ctrl_tcp: JSON in netstrings."""

    LIMIT = 1 << 20

    def __init__(self, sock):
        self.sock = sock
        self.sock.setblocking(False)
        self._buf = b""

    def send(self, command, token="deskphone"):
        name, _, params = command.partition(" ")
        msg = {"command": name, "token": token}
        if params:
            msg["params"] = params
        data = json.dumps(msg).encode()
        self.sock.setblocking(True)
        self.sock.settimeout(2)
        self.sock.sendall(b"%d:%s," % (len(data), data))
        self.sock.setblocking(False)

    def receive(self):
        """Messages that have come; raises ConnectionError at the end."""
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError("baresip closed the connection")
        self._buf += data
        out = []
        while True:
            head, colon, rest = self._buf.partition(b":")
            if not colon:
                if len(head) > 8:
                    raise ConnectionError("not a netstring")
                return out
            if not head.isdigit() or int(head) > self.LIMIT:
                raise ConnectionError("not a netstring")
            n = int(head)
            if len(rest) < n + 1:
                return out
            try:
                out.append(json.loads(rest[:n].decode("utf-8", "replace"),
                                      strict=False))
            except ValueError:
                pass                # one bad message is no reason to end
            self._buf = rest[n + 1:]


def lamps_from(msg, number):
    """Lamps of a message, None if it is no answer to aastra_state."""
    if not isinstance(msg, dict) or msg.get("token") != "state" \
            or not msg.get("ok"):
        return None
    try:
        return lamps_of(json.loads(msg.get("data", "")), number)
    except ValueError:
        return None


class DeskPhone:
    def __init__(self, lamps, keypad, connect, number=1, device=None):
        self.lamps, self.keypad = lamps, keypad
        self.connect, self.number, self.device = connect, number, device
        self.ctrl = None
        self.said = None
        self.sel = selectors.DefaultSelector()
        if device is not None:
            self.sel.register(device, selectors.EVENT_READ, "keys")

    def say(self, text):
        if text != self.said:
            print("deskphone: " + text, file=sys.stderr, flush=True)
            self.said = text

    def dark(self):
        for name in self.lamps.pins:
            self.lamps.show(name, OFF)

    def take(self, msg):
        """A message of baresip. True if the lamps have to be asked for."""
        shown = lamps_from(msg, self.number)
        if shown is None:
            return bool(isinstance(msg, dict) and msg.get("event"))
        for name in self.lamps.pins:
            self.lamps.show(name, shown.get(name, OFF))
        return False

    def typed(self):
        try:
            data = os.read(self.device, 64 * INPUT_EVENT.size)
        except OSError as e:
            data, why = b"", e
        else:
            why = "it is gone"
        if not data:        # pulled out; systemd starts us again
            sys.exit("deskphone: keypad: %s" % why)
        return data

    def press(self, data):
        for command in self.keypad.feed(data):
            if self.ctrl:
                self.ctrl.send(command)

    def run(self, until=lambda: False):
        sel = self.sel
        retry = poll = 0.0
        while not until():
            now = time.monotonic()
            try:
                if self.ctrl is None and now >= retry:
                    retry = now + RETRY_S
                    self.ctrl = Ctrl(self.connect())
                    sel.register(self.ctrl.sock, selectors.EVENT_READ,
                                 "baresip")
                    self.say("connected to baresip")
                    poll = now
                if self.ctrl and now >= poll:
                    poll = now + POLL_S
                    self.ctrl.send("aastra_state", "state")
                self.lamps.tick(int(now / BLINK_S))
                for key, _ in sel.select(BLINK_S - now % BLINK_S):
                    if key.data == "keys":
                        self.press(self.typed())
                    elif any([self.take(m) for m in self.ctrl.receive()]):
                        poll = 0.0
            except OSError as e:
                if self.ctrl:
                    sel.unregister(self.ctrl.sock)
                    self.ctrl.sock.close()
                    self.ctrl = None
                self.dark()
                self.say("no baresip: %s" % e)


# -- settings --------------------------------------------------------------------


def settings(path):
    """(chip, active_low, pins, keys, device, address, line)."""
    conf = configparser.ConfigParser(delimiters=("=",),
                                     comment_prefixes=("#",))
    conf.optionxform = str
    try:
        with open(path, encoding="utf-8") as f:
            conf.read_file(f)
        pins = {}
        for name, pin in conf.items("lamps") if "lamps" in conf else []:
            pins[name] = int(pin)
        if len(set(pins.values())) != len(pins):
            raise ConfigError("two lamps on one pin")
        keys = {int(k): v for k, v in
                (conf.items("keys") if "keys" in conf else [])}
        main = conf["deskphone"] if "deskphone" in conf else {}
        host, _, port = main.get("baresip", "127.0.0.1:4444").rpartition(":")
        low = main.get("active_low", "no") == "yes"
        return (main.get("chip", "/dev/gpiochip0"), low, pins, keys,
                main.get("keypad", ""), (host, int(port)),
                int(main.get("line", "1")))
    except (configparser.Error, ValueError) as e:
        raise ConfigError("%s: %s" % (path, e)) from None


def main(argv):
    if len(argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        chip, low, pins, keys, device, address, number = settings(argv[1])
        lamps = Lamps(Gpiod(chip, list(pins.values()), low) if pins
                      else None, pins)
        fd = open_keypad(device) if device else None
    except (ConfigError, OSError, ImportError) as e:
        print("deskphone: %s" % e, file=sys.stderr)
        return 1
    DeskPhone(lamps, Keypad(keys),
              lambda: socket.create_connection(address, 2), number,
              fd).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
