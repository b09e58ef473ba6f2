"""SHA-1, which WebSocket's handshake asks for, from the interpreter itself (docs/decisions/0001)."""

from __future__ import annotations

try:
    from _sha1 import sha1 as _sha1  # type: ignore[import-not-found]
except ImportError:  # an interpreter without its own
    from hashlib import sha1 as _sha1


def sha1(data: bytes) -> bytes:
    """The digest's 20 bytes."""
    return bytes(_sha1(data).digest())
