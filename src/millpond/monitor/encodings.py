"""`Accept-Encoding` on requests over NATS: replies packed by gzip or Snappy (reference 07.2)."""

from __future__ import annotations

from typing import Final

from millpond.wire.headers import find_value

GZIP: Final = 16 + 15
"""zlib's name for a gzip frame with the largest window."""


def encoded(body: bytes, asked: bytes) -> tuple[bytes, bytes]:
    """(body, header block) for a requester that sent the header block `asked`."""
    return packed(body, (find_value(asked, b"Accept-Encoding") or b"") if asked else b"")


def packed(body: bytes, accepted: bytes) -> tuple[bytes, bytes]:
    """The same for the value of `Accept-Encoding`; empty: as it is."""
    wanted = accepted.lower()
    if not wanted:
        return body, b""
    name = b"identity"
    if b"snappy" in wanted or b"s2" in wanted:
        from millpond.store.backup.s2_stream import S2Writer  # most requesters take what they get

        name, body = b"snappy", S2Writer(snappy=True).encode_all(body)
    elif b"gzip" in wanted:
        import zlib

        packer = zlib.compressobj(wbits=GZIP)
        name, body = b"gzip", packer.compress(body) + packer.flush()
    return body, b"NATS/1.0\r\nContent-Encoding: " + name + b"\r\n\r\n"
