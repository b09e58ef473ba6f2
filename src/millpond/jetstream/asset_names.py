"""What streams and consumers may be called."""

from __future__ import annotations

from typing import Final

FORBIDDEN_IN_NAMES: Final = set(" \t\r\n\f.*>\\/")


def is_asset_name(name: str) -> bool:
    """Not empty, and without what means something in a subject or a path."""
    return bool(name) and not FORBIDDEN_IN_NAMES & set(name)
