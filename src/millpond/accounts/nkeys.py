"""Signatures by nkeys (reference 02.1, SEC-04): Ed25519 over the nonce that INFO carried."""

from __future__ import annotations

import binascii
import os
import re
from typing import Final

from millpond.accounts import signing
from millpond.accounts.signing import base64_text
from millpond.base import limits
from millpond.base.ids import USER_PREFIX, decode_key

_URL_SAFE: Final = re.compile(r"[A-Za-z0-9_-]*")


def new_nonce() -> str:
    """What one client has to sign."""
    return base64_text(os.urandom(limits.NONCE_BYTES))


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
    raw = decode_signature(signature)
    if decode_key(USER_PREFIX, nkey) is None or raw is None or not nonce:
        return False
    return signing.is_signed(nkey, raw, nonce.encode())
