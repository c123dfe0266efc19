"""contrib/raspberry-pi: lamps and keys of a desk phone, with fakes of libgpiod
and key events in the kernel's format. Real pins and keys were not tried."""

import importlib.util
import os
import socket
import struct
import subprocess
import types

import pytest

from lab import site as sites

HERE = os.path.dirname(os.path.abspath(__file__))
PI = os.path.normpath(os.path.join(HERE, "../../contrib/raspberry-pi"))

spec = importlib.util.spec_from_file_location(
    "deskphone", os.path.join(PI, "deskphone.py"))
deskphone = importlib.util.module_from_spec(spec)
spec.loader.exec_module(deskphone)


class Chip:
    """Remembers what each pin was set to."""

    def __init__(self):
        self.pins = {}
        self.writes = 0

    def set(self, pin, lit):
        self.pins[pin] = lit
        self.writes += 1


def events(*keys):
    """Input events as the kernel writes them, for keys pressed and let go:
    MSC_SCAN, EV_KEY and SYN_REPORT each time, as a USB number block sends
    them."""
    out = b""
    for n, code in enumerate(keys):
        for value in (1, 0):
            for kind, c, v in ((4, 4, 0x70059 + n), (1, code, value),
                               (0, 0, 0)):
                out += struct.pack("@llHHi", 1795380366 + n, 616000, kind, c,
                                   v)
    return out


def document(service="primary", registered=True, subs=()):
    return {"lines": [
        {"line": 1, "service": service, "registered": registered,
         "subscriptions": [dict(zip(("event", "key", "value"), s))
                           for s in subs]},
        {"line": 2, "service": "none", "registered": False}]}


@pytest.mark.parametrize("state, want", [
    (document(), {"line": "on"}),
    (document("backup"), {"line": "slow"}),
    (document("none", False), {"line": "off"}),
    (document(subs=[("message-summary", "", "yes 2/1 (0/0)")]),
     {"line": "on", "message": "slow"}),
    (document(subs=[("message-summary", "", "no")]),
     {"line": "on", "message": "off"}),
    (document(subs=[("dialog", "200", "ringing"), ("dialog", "201", "busy"),
                    ("dialog", "202", "held"), ("dialog", "203", "idle"),
                    ("dialog", "204", "")]),
     {"line": "on", "200": "fast", "201": "on", "202": "slow", "203": "off",
      "204": "off"}),
    ({}, {}),
])
def test_lamps_of(state, want):
    assert deskphone.lamps_of(state) == want


def test_blinking():
    """A lamp blinks in its rhythm, and a pin is written when it changes."""
    chip = Chip()
    lamps = deskphone.Lamps(chip, {"line": 17, "200": 22})
    assert chip.pins == {17: False, 22: False} and chip.writes == 2
    lamps.show("line", "slow")
    lamps.show("200", "fast")
    lamps.show("nobody", "on")
    seen = []
    for n in range(8):
        lamps.tick(n)
        seen.append((chip.pins[17], chip.pins[22]))
    assert [s[0] for s in seen] == [True] * 4 + [False] * 4
    assert [s[1] for s in seen] == [True, False] * 4
    lamps.show("200", "on")
    lamps.tick(8)
    before = chip.writes
    lamps.tick(9)
    assert chip.writes == before and chip.pins[22]


@pytest.mark.parametrize("keys, want", [
    ((80, 82, 82, 28), ["dial 200"]),
    ((3, 11, 11, 96), ["dial 200"]),
    ((55, 76, 523, 353), ["dial *5#"]),
    ((28,), ["accept"]),
    ((1,), ["hangup"]),
    ((80, 82, 1, 1), ["hangup"]),               # the first one forgets digits
    ((59, 79, 28, 80, 28), ["aastra_failover 1", "dial 1", "dial 2"]),
    ((240,), []),
])
def test_keys(keys, want):
    pad = deskphone.Keypad({"59": "aastra_failover 1"})
    assert list(pad.feed(events(*keys))) == want


def test_key_that_is_held_down():
    """Its repetitions are no presses."""
    pad = deskphone.Keypad()
    data = events(80) + struct.pack("@llHHi", 0, 0, 1, 82, 2) * 20
    assert list(pad.feed(data + events(28))) == ["dial 2"]


def test_number_has_a_limit():
    pad = deskphone.Keypad()
    assert list(pad.feed(events(*[79] * 500))) == []
    assert list(pad.feed(events(28))) == ["dial " + "1" * 64]


def test_keypad_is_ours_alone(tmp_path, monkeypatch):
    """Its digits must not be typed at the console as well."""
    device = tmp_path / "event0"
    device.write_bytes(events(80, 28))
    asked = []
    monkeypatch.setattr(deskphone.fcntl, "ioctl",
                        lambda *args: asked.append(args))
    fd = deskphone.open_keypad(str(device))
    try:
        assert asked == [(fd, 0x40044590, 1)]
        assert list(deskphone.Keypad().feed(os.read(fd, 4096))) == ["dial 2"]
    finally:
        os.close(fd)
    monkeypatch.undo()
    with pytest.raises(OSError, match="cannot have it alone"):
        deskphone.open_keypad(str(device))      # no device at all


@pytest.mark.parametrize("unit", ["baresip-deskphone",
                                  "baresip-deskphone-keys"])
def test_service(unit):
    """systemd takes it, and what it may do is little (0 to 100)."""
    path = os.path.join(PI, unit + ".service")
    for args in (["verify", "--man=no", path],
                 ["security", "--offline=true", "--threshold=20", path]):
        r = subprocess.run(["systemd-analyze", *args], text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           timeout=60, env=dict(os.environ, LANG="C.UTF-8"))
        assert r.returncode == 0, r.stdout
        assert args[0] == "security" or not r.stdout, r.stdout


class GpiodV1:
    """libgpiod 1.6, as Debian 12 has it."""
    LINE_REQ_DIR_OUT, LINE_REQ_FLAG_ACTIVE_LOW = 3, 4
    log = []

    class Chip:
        def __init__(self, path):
            GpiodV1.log.append(("chip", path))

        def get_line(self, pin):
            return GpiodV1.Line(pin)

    class Line:
        def __init__(self, pin):
            self.pin = pin

        def request(self, consumer, type, flags):
            GpiodV1.log.append(("request", self.pin, consumer, type, flags))

        def set_value(self, value):
            GpiodV1.log.append(("set", self.pin, value))


class GpiodV2:
    """libgpiod 2.2, as Debian 13 has it."""
    log = []
    line = types.SimpleNamespace(
        Value=types.SimpleNamespace(ACTIVE="active", INACTIVE="inactive"),
        Direction=types.SimpleNamespace(OUTPUT="output"))

    class LineSettings:
        def __init__(self, direction, active_low):
            self.key = (direction, active_low)

    @staticmethod
    def request_lines(path, consumer, config):
        GpiodV2.log.append(("request", path, consumer,
                            {k: v.key for k, v in config.items()}))
        return types.SimpleNamespace(
            set_value=lambda pin, v: GpiodV2.log.append(("set", pin, v)))


def test_libgpiod_1():
    GpiodV1.log.clear()
    chip = deskphone.Gpiod("/dev/gpiochip0", [17, 22], True, gpiod=GpiodV1)
    chip.set(17, True)
    chip.set(17, False)
    assert GpiodV1.log == [
        ("chip", "/dev/gpiochip0"), ("request", 17, "deskphone", 3, 4),
        ("request", 22, "deskphone", 3, 4), ("set", 17, 1), ("set", 17, 0)]


def test_libgpiod_2():
    GpiodV2.log.clear()
    chip = deskphone.Gpiod("/dev/gpiochip0", [17, 22], gpiod=GpiodV2)
    chip.set(22, True)
    chip.set(17, False)
    assert GpiodV2.log == [
        ("request", "/dev/gpiochip0", "deskphone",
         {(17, 22): ("output", False)}),
        ("set", 22, "active"), ("set", 17, "inactive")]


def test_settings(tmp_path):
    conf = tmp_path / "deskphone.conf"
    with open(os.path.join(PI, "deskphone.conf")) as f:
        conf.write_text(f.read())
    assert deskphone.settings(conf) == (
        "/dev/gpiochip0", False, {}, {}, "", ("127.0.0.1", 4444), 1)
    conf.write_text("[lamps]\nline = 17\n200 = 22\n[keys]\n59 = hangup\n")
    assert deskphone.settings(conf)[2:4] == ({"line": 17, "200": 22},
                                             {59: "hangup"})
    for bad in ("[lamps]\nline = x\n", "[lamps]\na = 1\nb = 1\n", "oh\n",
                "[deskphone]\nbaresip = here\n"):
        conf.write_text(bad)
        with pytest.raises(deskphone.ConfigError):
            deskphone.settings(conf)


@pytest.mark.parametrize("data", [b"x" * 20, b"5:hello.", b"99999999:",
                                  b"-1:x,", b":,"])
def test_noise_from_the_socket(data):
    a, b = socket.socketpair()
    with a, b:
        ctrl = deskphone.Ctrl(a)
        b.sendall(data)
        try:
            assert ctrl.receive() == []
        except ConnectionError:
            pass
        assert deskphone.lamps_from({"token": "state", "ok": True,
                                     "data": "{"}, 1) is None


def test_real_phone(lab):
    """A phone loses its primary: its lamp blinks until it is home again. And
    its keypad dials."""
    site = sites.Site(lab, "E3", "tcp", config=["sip_recovery_base_timer 1"])
    phone = site.start()
    site.wait_on("primary")
    phone.ctrl.close()              # ctrl_tcp serves one client
    chip = Chip()
    lamps = deskphone.Lamps(chip, {"line": 17})
    keys, typed = os.pipe()
    desk = deskphone.DeskPhone(
        lamps, deskphone.Keypad(),
        lambda: phone.host.inside(
            lambda: socket.create_connection(("127.0.0.1", 4444), 2)),
        device=keys)

    def run_until(fn, what):
        end = lab.now() + 15
        desk.run(lambda: fn() or lab.now() > end)
        assert fn(), what

    try:
        run_until(lambda: lamps.shown["line"] == "on" and chip.pins[17],
                  "lit")
        site.primary.kill()
        run_until(lambda: lamps.shown["line"] == "slow", "on the backup")
        site.primary.start()
        run_until(lambda: lamps.shown["line"] == "on", "home again")

        t = lab.now()
        os.write(typed, events(80, 82, 82, 28))
        run_until(lambda: lab.wire.sip("INVITE", request=True, src="phone",
                                       after=t), "dialled")
        assert lab.wire.sip("INVITE", request=True, src="phone",
                            after=t)[0].uri.startswith("sip:200@")
        phone.kill()
        run_until(lambda: not chip.pins[17], "dark without baresip")
    finally:
        os.close(keys)
        os.close(typed)
        if desk.ctrl:
            desk.ctrl.sock.close()
