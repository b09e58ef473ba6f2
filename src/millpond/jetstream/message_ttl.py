"""The value of `Nats-TTL`, read as nats-server reads it: a Go duration, else whole seconds, else `never`.

Whole seconds are read without a bound and wrap at 64 bits, as they do there.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from millpond.base.durations import parse_duration

NEVER: Final = -1
INVALID: Final = -2

_INT63: Final = 1 << 63


@lru_cache(maxsize=256)
def parse_ttl(text: bytes) -> int:
    """Seconds; 0: no end, NEVER: not even by max_age, INVALID: no TTL."""
    if text.lower() == b"never":
        return NEVER
    duration_ns = parse_duration(text)
    if duration_ns is not None:
        return duration_ns // 1_000_000_000 if duration_ns >= 1_000_000_000 else INVALID
    if re.fullmatch(rb"[0-9]+", text) is None:
        return INVALID
    seconds = 0
    for digit in text:
        seconds = (seconds * 10 + digit - 48) & 0xFFFF_FFFF_FFFF_FFFF
    return seconds if seconds < _INT63 else INVALID
