"""The outcome of a judgement that cannot be made before a message was read from disk."""

from __future__ import annotations

from typing import Final


class Wait:
    """Ask again when the store is warm."""


WAIT: Final = Wait()
