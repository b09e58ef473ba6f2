"""Signatures by nkeys (reference 02.1, SEC-04): Ed25519 over the nonce that INFO carried."""

from __future__ import annotations

import binascii
import os
import re
from typing import Final

from millpond.base import limits
from millpond.base.ids import USER_PREFIX, decode_key

SIGNATURE_BYTES: Final = 64
_URL_SAFE: Final = re.compile(r"[A-Za-z0-9_-]*")


def new_nonce() -> str:
    """What one client has to sign."""
    text = binascii.b2a_base64(os.urandom(limits.NONCE_BYTES), newline=False).decode()
    return text.rstrip("=").replace("+", "-").replace("/", "_")


def decode_signature(text: str) -> bytes | None:
    """Base64 for URLs without padding, or the usual one with it."""
    try:
        if _URL_SAFE.fullmatch(text):
            text = text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None


def is_signed(nkey: str, signature: str, nonce: str) -> bool:
    """Did the owner of this public user nkey sign the nonce?"""
    key, raw = decode_key(USER_PREFIX, nkey), decode_signature(signature)
    if key is None or raw is None or len(raw) != SIGNATURE_BYTES or not nonce:
        return False
    from cryptography.exceptions import InvalidSignature  # brings OpenSSL: only servers with nkeys need it
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(raw, nonce.encode())
    except (InvalidSignature, ValueError):
        return False
    return True
