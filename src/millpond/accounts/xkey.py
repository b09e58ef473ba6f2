"""Messages that only the holder of an x25519 key can read (reference 02.1, SEC-09): NaCl boxes in nkeys' envelope.

    xkv1 | nonce (24 bytes) | box

PyNaCl is loaded by the first box.
"""

from __future__ import annotations

import os
from typing import Any, Final

from millpond.base.ids import CURVE_PREFIX, decode_key

MAGIC: Final = b"xkv1"
NONCE_BYTES: Final = 24


def is_there() -> bool:
    """Can boxes be made? They need PyNaCl."""
    from importlib.util import find_spec

    return find_spec("nacl") is not None


def seal(data: bytes, secret: bytes, to: str) -> bytes:
    """From the owner of `secret` (32 bytes) for the owner of the public key `to`."""
    nonce = os.urandom(NONCE_BYTES)
    return MAGIC + nonce + bytes(_box(secret, to).encrypt(data, nonce).ciphertext)


def unseal(data: bytes, secret: bytes, by: str) -> bytes:
    """Raises ValueError for what the owner of `by` has not sealed for us."""
    from nacl.exceptions import CryptoError

    if not data.startswith(MAGIC) or len(data) <= len(MAGIC) + NONCE_BYTES:
        raise ValueError("nkeys: encrypted input is not valid")
    body = data[len(MAGIC) :]
    try:
        return bytes(_box(secret, by).decrypt(body[NONCE_BYTES:], body[:NONCE_BYTES]))
    except CryptoError:
        raise ValueError("nkeys: could not decrypt input") from None


def _box(secret: bytes, public: str) -> Any:
    from nacl.public import Box, PrivateKey, PublicKey

    key = decode_key(CURVE_PREFIX, public)
    if key is None:
        raise ValueError("this is no x25519 key")
    return Box(PrivateKey(secret), PublicKey(key))
