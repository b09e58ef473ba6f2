"""`Accept-Encoding` on requests over NATS: replies packed by gzip or Snappy (reference 07.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from millpond.base import limits
from millpond.monitor.view import pause
from millpond.wire.headers import find_value

GZIP: Final = 16 + 15
"""zlib's name for a gzip frame with the largest window."""


async def encoded(body: bytes, asked: bytes) -> tuple[bytes, bytes]:
    """(body, header block) for a requester that sent the header block `asked`; packed in steps."""
    name = _chosen((find_value(asked, b"Accept-Encoding") or b"") if asked else b"")
    if not name:
        return body, b""
    whole = bytearray()
    for part in _parts(body, name):
        whole += part
        await pause()
    return bytes(whole), _said(name)


def packed(body: bytes, accepted: bytes) -> tuple[bytes, bytes]:
    """The same at once, for the value of `Accept-Encoding`; empty: as it is."""
    name = _chosen(accepted)
    return b"".join(_parts(body, name)) if name else body, _said(name)


def _chosen(accepted: bytes) -> bytes:
    wanted = accepted.lower()
    if b"snappy" in wanted or b"s2" in wanted:
        return b"snappy"
    return b"gzip" if b"gzip" in wanted else b"identity" if wanted else b""


def _said(name: bytes) -> bytes:
    return b"NATS/1.0\r\nContent-Encoding: " + name + b"\r\n\r\n" if name else b""


def _parts(body: bytes, name: bytes) -> Iterator[bytes]:
    """The packed body; for each part of it another part of `body` is packed."""
    parts = (body[at : at + limits.PACKED_PER_STEP] for at in range(0, max(1, len(body)), limits.PACKED_PER_STEP))
    if name == b"snappy":
        from millpond.store.backup.s2_stream import S2Writer  # most requesters take what they get

        yield from map(S2Writer(snappy=True).encode_all, parts)
    elif name == b"gzip":
        import zlib

        packer = zlib.compressobj(wbits=GZIP)
        yield from map(packer.compress, parts)
        yield packer.flush()
    else:
        yield body
