"""Names that nobody else has: message ids, consumer names, the server's id."""

from __future__ import annotations

import os
from typing import Final

UPPER: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ALPHABET: Final = "0123456789" + UPPER + UPPER.lower()
BASE32: Final = UPPER + "234567"
SERVER_PREFIX: Final = 13 << 3
"""The nkey prefix byte of servers: the encoded key begins with 'N' (ADR-1 nkeys)."""
KEY_DIGITS: Final = 56
USER_PREFIX: Final = 20 << 3
"""The nkey prefix byte of users: 'U'."""
ACCOUNT_PREFIX: Final = 0
"""The nkey prefix byte of accounts: 'A'."""
OPERATOR_PREFIX: Final = 14 << 3
"""The nkey prefix byte of operators: 'O'."""
CURVE_PREFIX: Final = 23 << 3
"""The nkey prefix byte of x25519 keys: 'X'."""
SEED_PREFIX: Final = 18 << 3
"""The nkey prefix byte of seeds: 'S'; the kind of key is in the bits behind it."""
SEED_DIGITS: Final = 58


def _random_name(length: int) -> str:
    """From the system's randomness (`secrets` would bring OpenSSL into the process, 4 MiB)."""
    number = int.from_bytes(os.urandom(length), "little")
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(digits)


def random_below(bound: int) -> int:
    """0 <= n < bound, evenly enough for sampling. (The `random` module costs every server 0.1 MiB.)"""
    return int.from_bytes(os.urandom(8), "little") % bound


def nuid() -> str:
    """22 characters, as NATS clients make them."""
    return _random_name(22)


def short_name() -> str:
    """8 characters: the name of an ephemeral consumer."""
    return _random_name(8)


def _crc16(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
    return crc & 0xFFFF


def encode_key(prefix: int, key: bytes) -> str:
    """prefix, 32 bytes and their checksum are 280 bits: 56 digits in base 32 (RFC 4648) without padding."""
    return _checked(bytes([prefix]) + key)


def encode_seed(prefix: int, seed: bytes) -> str:
    """The secret half of a key of this kind: 58 digits, the last one with two bits of padding."""
    return _checked(bytes([SEED_PREFIX | prefix >> 5, (prefix & 31) << 3]) + seed)


def _checked(raw: bytes) -> str:
    raw += _crc16(raw).to_bytes(2, "little")
    padding = -8 * len(raw) % 5
    number = int.from_bytes(raw, "big") << padding
    return "".join(BASE32[number >> shift & 31] for shift in reversed(range(0, 8 * len(raw) + padding, 5)))


def _unchecked(text: str, digits: int) -> bytes | None:
    """What stands before a checksum that is right."""
    if len(text) != digits or not all(digit in BASE32 for digit in text):
        return None
    number = 0
    for digit in text:
        number = number << 5 | BASE32.index(digit)
    size = 5 * digits // 8
    raw = (number >> 5 * digits - 8 * size).to_bytes(size, "big")
    return raw[:-2] if _crc16(raw[:-2]).to_bytes(2, "little") == raw[-2:] else None


def decode_key(prefix: int, text: str) -> bytes | None:
    """The 32 bytes of a public nkey of this kind; None when it is not one."""
    raw = _unchecked(text, KEY_DIGITS)
    return raw[1:] if raw is not None and raw[0] == prefix else None


def decode_seed(text: str) -> tuple[int, bytes] | None:
    """(the kind's prefix byte, the 32 bytes) of a seed; None when it is not one."""
    raw = _unchecked(text, SEED_DIGITS)
    if raw is None or raw[0] & 0xF8 != SEED_PREFIX:
        return None
    return (raw[0] & 7) << 5 | raw[1] >> 3, raw[2:]


def server_id() -> str:
    """A fresh server id in the form of a public nkey: 56 characters, the first one 'N'."""
    return encode_key(SERVER_PREFIX, os.urandom(32))


def curve_key(secret: bytes) -> str:
    """The public x25519 key of 32 secret bytes: 56 characters, the first one 'X'."""
    return encode_key(CURVE_PREFIX, _x25519_base(secret))


def curve_point() -> str:
    """As a `curve_key` whose secret nobody knows: for a server that nobody encrypts for. Any 32 bytes are one."""
    return encode_key(CURVE_PREFIX, os.urandom(32))


def _x25519_base(secret: bytes) -> bytes:
    """RFC 7748, section 5: the u coordinate of `secret` times the base point. Not in constant time: once a start."""
    p = 2**255 - 19
    scalar = int.from_bytes(secret, "little") & ~7 & (2**255 - 1) | 2**254
    x1, x2, z2, x3, z3 = 9, 1, 0, 9, 1
    for bit in reversed(range(255)):
        if scalar >> bit & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % p, b * b % p, d * a % p, c * b % p
        x3, z3 = (da + cb) ** 2 % p, x1 * (da - cb) ** 2 % p
        x2, z2 = aa * bb % p, (aa - bb) * (aa + 121665 * (aa - bb)) % p
        if scalar >> bit & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return (x2 * pow(z2, p - 2, p) % p).to_bytes(32, "little")
