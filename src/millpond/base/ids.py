"""Names that nobody else has: message ids, consumer names, the server's id."""

from __future__ import annotations

import base64
import secrets
import string
from typing import Final

ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
SERVER_PREFIX: Final = 13 << 3
"""The nkey prefix byte of servers: the encoded key begins with 'N' (ADR-1 nkeys)."""


def nuid() -> str:
    """22 characters, as NATS clients make them."""
    return "".join(secrets.choice(ALPHABET) for _ in range(22))


def short_name() -> str:
    """8 characters: the name of an ephemeral consumer."""
    return "".join(secrets.choice(ALPHABET) for _ in range(8))


def _crc16(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
    return crc & 0xFFFF


def server_id() -> str:
    """A fresh server id in the form of a public nkey: 56 characters, the first one 'N'."""
    raw = bytes([SERVER_PREFIX]) + secrets.token_bytes(32)
    raw += _crc16(raw).to_bytes(2, "little")
    return base64.b32encode(raw).decode().rstrip("=")
