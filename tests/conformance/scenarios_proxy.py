"""The PROXY protocol: what both servers believe of a client, and which headers they refuse."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections.abc import Callable

from .core_target import Settings
from .raw import CoreRecord, Raw
from .scenarios_permissions import connect, pub

PROXIED: Settings = {"config": "proxy_protocol: true"}
WITH_USERS: Settings = {"config": "proxy_protocol: true\nauthorization { users: [ { user: a, pass: x } ] }"}
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
HERE = "127.0.0.1"


def block(
    source: str = "192.0.2.7", *, command: int = 0x21, kind: int = 0x11, port: int = 5555, more: bytes = b"",
    length: int | None = None, addresses: bytes | None = None,
) -> bytes:  # fmt: skip
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    if addresses is None:
        address = socket.inet_pton(family, source)
        addresses = address * 2 + struct.pack(">HH", port, 4222)
    size = len(addresses) + len(more) if length is None else length
    return SIGNATURE + bytes([command, kind]) + struct.pack(">H", size) + addresses + more


GOOD = (
    b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 4222\r\n", b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n",
    b"PROXY TCP6 ::ffff:192.0.2.9 ::ffff:192.0.2.8 1 2\r\n", b"PROXY TCP6 2001:DB8:0:0:0:0:0:A ::1 0 0\r\n",
    b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN and anything behind it\r\n",
    b"PROXY   TCP4  192.0.2.1\t198.51.100.1 1 2 \r\n",
    block(), block("2001:db8::5", kind=0x21), block("::ffff:192.0.2.3", kind=0x21), block(more=b"\x04\x00\x01x"),
    block(command=0x20), block(command=0x20, kind=0x00, addresses=b""), block(kind=0x01), block(more=b"T" * 9000),
    block(command=0x20, kind=0x31, addresses=b"/" * 216), block(kind=0x01, addresses=b""), b"",
)  # fmt: skip
BAD = (
    b"PROXY \r\n", b"PROXY TCP4\r\n", b"PROXY TCP4 192.0.2.1 198.51.100.1 1\r\n", b"PROXY TCP4 a b 1 2\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 1 2 3\r\n", b"PROXY TCP4 192.0.2.1 198.51.100.1 x 2\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 1 65536\r\n", b"PROXY TCP4 192.0.2.1 198.51.100.1 -1 2\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 +1 2\r\n", b"PROXY TCP4 ::1 ::1 1 2\r\n",
    b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", b"PROXY TCP6 ::1 192.0.2.2 1 2\r\n",
    b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", b"PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n",
    b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    b"PROXY " + b"x" * 200 + b"\r\n",
    b"PROXY unknown\r\n", block(command=0x11), block(command=0x22), block(kind=0x12), block(kind=0x10),
    block(kind=0x31, addresses=b"/" * 216), block(kind=0x41), block(length=11), block("::1", kind=0x21, length=35),
    b"\r\n\r\n\x00\r" + b"X" * 20, block(addresses=b""),
)  # fmt: skip


def known(s: CoreRecord, raw: Raw, label: str, first: bytes = b"") -> None:
    """Where the server believes that the client is, and what it is told first."""
    fields = connect(protocol=1, user="a", **{"pass": "x"})
    raw.send(first + fields + b"PING\r\n" + b"PING\r\n")
    places = []
    for _ in range(2):
        while (line := raw.line()) and line != b"PONG\r\n":
            if line.startswith(b"INFO"):
                places.append(json.loads(line[5:]).get("client_ip"))
    s.note(f"{label}: {raw.info.get('client_ip')} then {places}")


def believed(s: CoreRecord) -> None:
    for header in GOOD:
        known(s, s.open(), repr(header)[:120], header)


def headers_alone_in_a_packet(s: CoreRecord) -> None:
    for header in GOOD:
        raw = s.open()
        raw.send(header)
        known(s, raw, repr(header)[:120])


def ended_behind(s: CoreRecord, header: bytes) -> None:
    """A client that says only this."""
    raw = s.open()
    raw.send(header)
    with contextlib.suppress(OSError):             # it may be closed already
        raw.socket.shutdown(socket.SHUT_WR)
    s.note(f"{header[:100]!r}: {raw.until_closed()!r} because {s.target.closed_reason(raw.cid)}")


def refused_headers(s: CoreRecord) -> None:
    for header in BAD:
        ended_behind(s, header)


def gone_in_the_middle(s: CoreRecord) -> None:
    for header in (b"", b"P", b"PROXY", b"PROXY TCP4 1", b"\r\n\r\n", SIGNATURE, block()[:20], b"PROXY TCP4 1.2.3.4\r"):
        ended_behind(s, header)


def in_pieces(s: CoreRecord) -> None:
    for header in (GOOD[0], GOOD[1], block(), block("::1", kind=0x21, more=b"T" * 300)):
        raw = s.open()
        for at in range(len(header)):
            raw.send(header[at : at + 1])
        known(s, raw, repr(header)[:120])


def without_a_header(s: CoreRecord) -> None:
    for first in (b"", b"PING\r\n", pub(b"a"), b"PUB a 0\r\n\r\n", b"ping\r\n", b"PI"):
        raw = s.open()
        raw.send(first)
        s.say(raw, b"" if first != b"PI" else b"NG\r\n", label=repr(first))
    s.fatal(s.open(), b"GET / HTTP/1.1\r\n\r\n")


def with_users(s: CoreRecord) -> None:
    known(s, s.open(), "with a header", GOOD[0])
    s.fatal(s.open(), GOOD[0] + connect(user="a", **{"pass": "y"}))
    known(s, s.open(), "without")


SCENARIOS: list[tuple[Settings, Callable[[CoreRecord], None]]] = [
    *((PROXIED, scenario) for scenario in (
        believed, headers_alone_in_a_packet, refused_headers, gone_in_the_middle, in_pieces, without_a_header,
    )),
    (WITH_USERS, with_users),
]  # fmt: skip
