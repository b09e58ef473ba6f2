"""SHA-256 from the interpreter itself: `hashlib` would bring OpenSSL into the process, 4 MiB (docs/decisions/0001)."""

from __future__ import annotations

try:
    from _sha2 import sha256  # type: ignore[import-not-found]
except ImportError:  # CPython 3.11
    from _sha256 import sha256  # type: ignore[import-not-found]

__all__ = ["sha256"]
