"""Waiting for one descriptor, whatever its number: `select` takes none above 1,023, and tests may have more."""

from __future__ import annotations

import math
import select


def readable(descriptor: int, within_s: float | None = None) -> bool:
    """Whether there is something to read. Waits as long as it takes when `within_s` is None."""
    asked = select.poll()
    asked.register(descriptor, select.POLLIN)
    return bool(asked.poll(None if within_s is None else math.ceil(within_s * 1000)))
