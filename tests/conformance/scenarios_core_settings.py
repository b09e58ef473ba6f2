"""Authorization, limits, pings and slow consumers: what depends on the server's settings (reference 01.5)."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable

from .core_target import Settings
from .raw import CoreRecord, Raw
from .scenarios_core import ALL, HDR, QUIET
from .scenarios_core_delivery import pub, settle

USER = {"user": "derek", "password": "s3cr3t"}
TOKEN = {"token": "t0p.secret"}


def connect(fields: bytes) -> bytes:
    return b'CONNECT {"verbose":false,"pedantic":false,' + fields + b"}\r\n"


GOOD_USER = connect(b'"user":"derek","pass":"s3cr3t"')
GOOD_TOKEN = connect(b'"auth_token":"t0p.secret"')


def credentials(s: CoreRecord, table: tuple[bytes, ...]) -> None:
    raw = s.open()
    s.note(str(raw.info.get("auth_required")))
    for fields in table:
        raw = s.open(connect(fields))
        s.say(raw, b"SUB a 1\r\n" + pub(b"a"), label=repr(fields))
        raw.close()


def auth_user(s: CoreRecord) -> None:
    credentials(s, (
        b'"user":"derek","pass":"s3cr3t"', b'"user":"derek","pass":"S3CR3T"', b'"user":"derek","pass":""',
        b'"user":"derek"',
        b'"pass":"s3cr3t"', b'"user":"","pass":""', b'"user":"Derek","pass":"s3cr3t"',
        b'"user":"derek ","pass":"s3cr3t"',
        b'"user":"derek","pass":"s3cr3t\\u0000"', b'"user":"derek","pass":"s3cr3","pass":"s3cr3t"',
        b'"auth_token":"s3cr3t"', b'"name":"x"',
        b'"user":"derek","pass":"s3cr3t","auth_token":"wrong"', b'"jwt":"x","user":"derek","pass":"s3cr3t"',
        b'"nkey":"x","sig":"y"',
        b'"user":"derek","pass":"s3cr3t","nkey":"x","sig":"y"', b'"user":"derek","pass":"s3cr3t","account":"x"',
        b'"USER":"derek","PASS":"s3cr3t"',
        b'"user":"derek","pass":"s3cr3t","new_account":true', b'"user":"derek","pass":"s3cr3t","protocol":9',
        b'"user":"derek","pass":"s3cr3t","no_responders":true', b'"user":"derek","pass":"wrong","protocol":9',
        b'"user":null,"pass":null',
    ))  # fmt: skip


def auth_token(s: CoreRecord) -> None:
    credentials(s, (
        b'"auth_token":"t0p.secret"', b'"auth_token":"T0P.secret"', b'"auth_token":""', b'"name":"x"',
        b'"user":"t0p.secret"',
        b'"pass":"t0p.secret"', b'"user":"x","pass":"t0p.secret"',
        b'"auth_token":"t0p.secret","user":"x","pass":"y"', b'"auth_token":"t0p.secre"',
        b'"auth_token":"t0p.secret!"', b'"auth_token":null',
    ))  # fmt: skip


def auth_first_bytes(s: CoreRecord) -> None:
    """The first byte decides: anything but a C is refused, before its line has ended."""
    for first in (
        b"PING\r\n", b"PONG\r\n", b"+OK\r\n", b"INFO {}\r\n", b"-ERR 'x'\r\n", b"SUB a 1\r\n", b"UNSUB 1\r\n",
        b"PUB a 0\r\n\r\n", b"HPUB a 12 12\r\n",
        b"P", b"\r\n", b" ", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"X", b"\x00", b"COPY\r\n", b"CX", b"cX",
        b"CONNECT\r\n", b"CONNECT {\r\n",
        b"CONNECT null\r\n", b"CONNECT []\r\n", b"CONNECT {}\r\n", b"CONNECT " + b"x" * 4097,
        b"CONNECT {}\r\nPING\r\n", b"SUB " + b"a" * 5000,
        b'CONNECT {"user":"derek","pass":5}\r\n', b'CONNECT {"protocol":9}\r\n',
        b'CONNECT {"no_responders":true}\r\n', b"PING" * 5000,
    ):  # fmt: skip
        raw = s.open()
        s.fatal(raw, first)
        raw.close()
    raw = s.open()
    raw.send_pieces(GOOD_USER[i : i + 1] for i in range(len(GOOD_USER)))
    s.say(raw, b"SUB a 1\r\n" + pub(b"a"), label="byte by byte")
    raw = s.open(GOOD_USER + b"SUB a 1\r\n" + pub(b"a"))
    s.say(raw, b"", label="all at once")
    s.fatal(raw, connect(b'"user":"derek","pass":"changed"'), label="second CONNECT, wrong")
    raw = s.open(GOOD_USER)
    s.say(raw, GOOD_USER + b"PING\r\n", label="second CONNECT, right")


def auth_timeout(s: CoreRecord) -> None:
    for first in (b"", b"C", b"CONNECT {"):
        raw = s.open(first)
        s.fatal(raw, b"", label=f"silent after {first!r}")
    raw = s.open(GOOD_TOKEN)
    s.say(raw, b"", label="in time")


def too_many_connections(s: CoreRecord) -> None:
    first, second = s.open(QUIET), s.open()
    settle(s, first, second)
    for _ in range(3):
        s.fatal(s.open(), b"", label="third")
    s.fatal(s.open(), QUIET + b"PING\r\n", label="third that talks")
    second.close()
    s.note(s.target.closed_reason(second.cid))
    s.say(s.open(QUIET), b"SUB a 1\r\n" + pub(b"a"), label="room again")
    first.close()
    s.target.closed_reason(first.cid)


def too_many_subscriptions(s: CoreRecord) -> None:
    raw = s.open(QUIET)
    s.say(raw, b"SUB a 1\r\nSUB a 2\r\nSUB a 3\r\nSUB a 1\r\nSUB a.. 4\r\nSUB a _sys_ 5\r\n" + pub(b"a"), ordered=False)
    s.say(raw, b"UNSUB 1\r\nSUB b 3\r\nSUB c 4\r\n" + pub(b"b"))
    s.say(raw, b"UNSUB 2 1\r\nSUB c 4\r\n" + pub(b"a") + b"SUB c 4\r\n" + pub(b"c"))
    s.say(s.open(b"CONNECT {}\r\n"), b"SUB a 1\r\nSUB a 2\r\nSUB a 3\r\n")


def sub_tokens(s: CoreRecord) -> None:
    raw = s.open(QUIET)
    for subject in (b"a", b"a.b.c", b"a.b.c.d", b"a.b.>", b"*.*.*.*", b"a..b", b"a..b.c", b"....", b'".\\.\x01.\xff'):
        s.say(raw, b"SUB " + subject + b" 1\r\nUNSUB 1\r\n")
        s.say(raw, b"SUB " + subject + b" q 1\r\nUNSUB 1\r\n")
    s.say(raw, pub(b"a.b.c.d.e"))


def small_limits(s: CoreRecord) -> None:
    raw = s.open(b'CONNECT {"headers":true,"verbose":false}\r\n' + ALL)
    s.note(str(raw.info["max_payload"]))
    s.say(raw, pub(b"a", b"x" * 100) + b"HPUB a 12 100\r\n" + HDR + b"x" * 88 + b"\r\n")
    s.fatal(raw, pub(b"a", b"x" * 101))
    s.fatal(s.open(b'CONNECT {"headers":true}\r\n'), b"HPUB a 12 101\r\n")
    s.fatal(s.open(QUIET), b"PUB a.. 101\r\n", label="the connect line alone is too long")
    raw = s.open(b"CONNECT {}\r\n")
    s.say(raw, b"SUB " + b"a" * 62 + b" 1\r\n")
    s.fatal(raw, b"SUB " + b"a" * 63 + b" 1\r\n")
    s.fatal(s.open(b"CONNECT {}\r\n"), b"SUB " + b"a" * 65)


def without_headers(s: CoreRecord) -> None:
    raw = s.open(b'CONNECT {"headers":true,"verbose":false}\r\n' + ALL)
    s.note(f"{raw.info['headers']}")
    s.say(raw, pub(b"a"))
    s.fatal(raw, b"HPUB a 12 12\r\n" + HDR + b"\r\n")
    s.fatal(s.open(), b'CONNECT {"headers":true,"no_responders":true}\r\n')


def stale(s: CoreRecord) -> None:
    """PINGs that stay unanswered end the connection; one that talks lives on."""
    raw = s.open(QUIET)
    s.fatal(raw, b"", label="mute")
    raw = s.open(b"CONNECT {}\r\n")
    answered = 0
    while answered < 5:
        line = raw.line()
        if line == b"PING\r\n":
            raw.send(b"PONG\r\n")
            answered += 1
    s.say(raw, b"", label="answered five")
    raw = s.open(QUIET)
    raw.send(b"PING\r\n")
    frames, _ = raw.until_pong()
    busy = 0
    while b"PING\r\n" not in frames:
        raw.send(pub(b"a") + b"PING\r\n")
        frames, _ = raw.until_pong()
        busy += 1
    s.note(f"the first PING comes although there is traffic: {busy > 1}")


def deaf(s: CoreRecord, first: bytes) -> Raw:
    """A connection whose receive buffer is small and that reads nothing."""
    raw = s.open(first, receive_bytes=4096)
    settle(s, raw)
    return raw


def pending_bytes(s: CoreRecord) -> None:
    slow = deaf(s, QUIET + b"SUB a 1\r\n")
    source = s.open(QUIET)
    bystander = s.open(QUIET + b"SUB b 1\r\n")
    settle(s, source, bystander)
    sent = publish_until_closed(s, source, slow)
    s.note(f"more was sent than may wait: {sent > 200_000}, {s.target.closed_reason(slow.cid)}")
    heard = slow.until_closed()
    s.note(f"a part of it came, no error: {0 < heard.count(b'MSG a 1') < sent // 50_000}, {b'-ERR' in heard}")
    s.say(source, b"", label="the source lives")
    s.say(source, pub(b"b", b"x"))
    s.say(bystander, b"", label="others are not disturbed")


def publish_until_closed(s: CoreRecord, source: Raw, slow: Raw) -> int:
    sent = 0
    while not s.target.is_closed(slow.cid):
        assert sent < 64 << 20, "the slow one is never closed"
        source.send(pub(b"a", b"x" * 50_000))
        sent += 50_000
        settle(s, source)
    return sent


def flood(s: CoreRecord, count: int) -> Raw:
    """Somebody sends so many messages of 50,000 bytes to `a`; all are on their way."""
    source = s.open(QUIET)
    for _ in range(count):
        source.send(pub(b"a", b"x" * 50_000))
    settle(s, source)
    return source


def write_deadline(s: CoreRecord) -> None:
    slow = deaf(s, QUIET + b"SUB a 1\r\n")
    source = flood(s, 200)
    s.note(s.target.closed_reason(slow.cid))
    s.note(f"no error: {b'-ERR' in slow.until_closed()}")
    s.say(source, b"", label="the source lives")


def sips(s: CoreRecord) -> None:
    """A reader that takes a little now and then: what waited when a write began has to be gone by its deadline."""
    slow = deaf(s, QUIET + b"SUB a 1\r\n")
    flood(s, 200)
    slow.socket.settimeout(0.05)
    for _ in range(100):
        if s.target.is_closed(slow.cid):
            break
        with contextlib.suppress(TimeoutError):
            slow.socket.recv(1000, socket.MSG_WAITALL)
        time.sleep(0.03)
    s.note(f"closed: {s.target.is_closed(slow.cid)}")
    s.note(s.target.closed_reason(slow.cid) if s.target.is_closed(slow.cid) else "still open")


def takes_nothing(s: CoreRecord) -> None:
    """With `retry`, too, a reader that takes nothing is closed."""
    slow = deaf(s, QUIET + b"SUB a 1\r\n")
    flood(s, 200)
    s.note(s.target.closed_reason(slow.cid))


def gulps(s: CoreRecord) -> None:
    """A reader that takes too little of what waited, but something each time: with `retry` it stays, and gets all."""
    for attempt in range(3):
        try:
            s.note(_gulped(s))
            return
        except ConnectionError:                  # beside other work the kernel may let nothing through for that long
            if attempt == 2:
                raise


def _gulped(s: CoreRecord) -> str:
    slow = s.open(QUIET + b"SUB a 1\r\n", receive_bytes=32_768)
    settle(s, slow)
    flood(s, 400)
    whole = len(pub(b"a", b"x" * 50_000).replace(b"PUB a", b"MSG a 1"))
    got, last = bytearray(), b"PONG\r\n"
    slow.socket.settimeout(20)
    for _ in range(40):
        got += slow.socket.recv(400_000, socket.MSG_WAITALL)  # the kernel tells of room when there is much
        time.sleep(0.05)
    slow.send(b"PING\r\n")
    while last not in got[-20:] and (piece := slow.socket.recv(1 << 20)):
        got += piece
    return f"all came: {got.count(b'MSG a 1 50000') == 400 and len(got) >= 400 * whole}"


def gulps_closed(s: CoreRecord) -> None:
    """The same reader without it."""
    slow = s.open(QUIET + b"SUB a 1\r\n", receive_bytes=32_768)
    settle(s, slow)
    flood(s, 400)
    for _ in range(40):
        if s.target.is_closed(slow.cid):
            break
        slow.socket.recv(200_000, socket.MSG_WAITALL)
        time.sleep(0.05)
    s.note(s.target.closed_reason(slow.cid) if s.target.is_closed(slow.cid) else "still open")


def no_stall(s: CoreRecord) -> None:
    """Fast producers are not held up: what a nearly full receiver does not take is dropped for it."""
    slow = deaf(s, QUIET + b"SUB a 1\r\n")
    source = flood(s, 300)
    source.send(b"PING\r\n")
    s.say(source, pub(b"a", b"", b"in") * 2)
    slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    slow.send(b"PING\r\n")
    frames, alive = slow.until_pong()
    s.note(f"lost some, kept some: {0 < len(frames) < 300}, still connected: {alive}")


SCENARIOS: list[tuple[Settings, Callable[[CoreRecord], None]]] = [
    (USER, auth_user),
    (TOKEN, auth_token),
    (USER, auth_first_bytes),
    ({**TOKEN, "token_timeout_s": 0.3}, auth_timeout),
    ({"max_connections": 2}, too_many_connections),
    ({"max_subscriptions": 2}, too_many_subscriptions),
    ({"max_sub_tokens": 3}, sub_tokens),
    ({"max_payload": 100, "max_control_line": 64}, small_limits),
    ({"no_header_support": True}, without_headers),
    ({"ping_interval_ms": 100, "ping_max": 2}, stale),
    ({"max_pending": 200_000, "max_payload": 60_000}, pending_bytes),
    ({"write_deadline_ms": 200}, write_deadline),
    ({"write_deadline_ms": 200}, sips),
    ({"write_deadline_ms": 200, "write_timeout": "retry"}, takes_nothing),
    ({"write_deadline_ms": 700, "write_timeout": "retry"}, gulps),
    ({"write_deadline_ms": 700}, gulps_closed),
    ({"no_fast_producer_stall": True, "max_pending": 400_000, "max_payload": 60_000}, no_stall),
]
