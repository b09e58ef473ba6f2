"""Keys that sign (reference 02.1): Ed25519 pairs in the form of nkeys, and who has signed what.

`cryptography`, and OpenSSL with it, is loaded by the first key that is used.
"""

from __future__ import annotations

import binascii
import os
from typing import Any, Final, Self

from millpond.base.ids import (
    ACCOUNT_PREFIX,
    OPERATOR_PREFIX,
    SERVER_PREFIX,
    USER_PREFIX,
    decode_key,
    decode_seed,
    encode_key,
    encode_seed,
)

SIGNATURE_BYTES: Final = 64
SIGNERS: Final = (OPERATOR_PREFIX, ACCOUNT_PREFIX, USER_PREFIX, SERVER_PREFIX)
"""The kinds of keys that sign claims."""


class KeyPair:
    """A key of one kind, with its secret half.

    >>> operator = KeyPair.create(OPERATOR_PREFIX)
    >>> is_signed(operator.public, operator.sign(b"text"), b"text")
    True
    """

    def __init__(self, prefix: int, secret: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._prefix, self._secret = prefix, secret
        self._key: Any = Ed25519PrivateKey.from_private_bytes(secret)
        self.public = encode_key(prefix, self._key.public_key().public_bytes_raw())

    @classmethod
    def create(cls, prefix: int) -> Self:
        """A new one."""
        return cls(prefix, os.urandom(32))

    @classmethod
    def from_seed(cls, text: str) -> Self:
        """Raises ValueError for what is no seed; its text is a secret, and not told."""
        found = decode_seed(text)
        if found is None or found[0] not in SIGNERS:
            raise ValueError("this is not the seed of an nkey")
        return cls(*found)

    @property
    def seed(self) -> str:
        """The secret half as text."""
        return encode_seed(self._prefix, self._secret)

    def sign(self, data: bytes) -> bytes:
        """64 bytes."""
        return bytes(self._key.sign(data))

    def __repr__(self) -> str:
        return f"KeyPair({self.public})"


def base64_text(data: bytes) -> str:
    """In base64 for URLs, without padding."""
    text = binascii.b2a_base64(data, newline=False).decode()
    return text.rstrip("=").replace("+", "-").replace("/", "_")


def is_signed(public: str, signature: bytes, data: bytes) -> bool:
    """Did the owner of this public nkey, of whatever kind that signs, sign the data?"""
    keys = (decode_key(prefix, public) for prefix in SIGNERS)
    key = next((key for key in keys if key is not None), None)
    if key is None or len(signature) != SIGNATURE_BYTES:
        return False
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True
