"""A WebSocket client that hides nothing: bytes of frames in and out, for tests. No library: it may break the rules."""

from __future__ import annotations

import base64
import os
import struct
import zlib
from typing import NamedTuple

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = base64.b64encode(bytes(range(16))).decode()


class Frame(NamedTuple):
    """`bits`: FIN 8, RSV1 4, RSV2 2, RSV3 1."""

    bits: int
    opcode: int
    payload: bytes

    @property
    def shown(self) -> str:
        return f"bits={self.bits} opcode={self.opcode} {self.payload!r}"


def request(path: str = "/", **headers: str | None) -> bytes:
    """An upgrade; None leaves a header out, underscores are dashes."""
    rows: dict[str, str | None] = {
        "Host": "127.0.0.1", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13", **{name.replace("_", "-"): value for name, value in headers.items()},
    }  # fmt: skip
    method = rows.pop("method", "GET")
    lines = [f"{name}: {value}" for name, value in rows.items() if value is not None]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")


def frame(payload: bytes = b"", opcode: int = BINARY, *, bits: int = 8, mask: bytes | None = b"\x01\x02\x03\x04",
          length: int | None = None, wide: int = 0) -> bytes:  # fmt: skip
    """`wide`: 2 or 8 bytes of length though fewer would do; `length`: another one than it has."""
    size = len(payload) if length is None else length
    masked = 0 if mask is None else 0x80
    if wide == 8 or size > 0xFFFF:
        head = struct.pack(">BBQ", bits << 4 | opcode, masked | 127, size)
    elif wide == 2 or size > 125:
        head = struct.pack(">BBH", bits << 4 | opcode, masked | 126, size)
    else:
        head = struct.pack(">BB", bits << 4 | opcode, masked | size)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[at & 3] for at, byte in enumerate(payload))


def deflated(data: bytes, level: int = 6) -> bytes:
    """The payload of a compressed message (RFC 7692)."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def any_mask() -> bytes:
    return os.urandom(4)


def split(data: bytes) -> tuple[list[Frame], bytes]:
    """The whole frames of a server, and what is left."""
    found = []
    while len(data) >= 2:
        size, at = data[1] & 0x7F, 2
        if size == 126:
            size, at = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, at = int.from_bytes(data[2:10], "big"), 10
        if len(data) < at + size:
            break
        found.append(Frame(data[0] >> 4, data[0] & 15, data[at : at + size]))
        data = data[at + size :]
    return found, data
