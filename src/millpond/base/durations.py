"""Durations as Go writes them: `1h30m`, `1.5s`, `250ms`, `-2m`, `0`.

Parsing is exact to Go's `time.ParseDuration`, bounds and all, since which texts are refused is visible to clients.
"""

from __future__ import annotations

import re
from typing import Final

_UNIT_NS: Final = {
    b"ns": 1,
    b"us": 1_000,
    "\u00b5s".encode(): 1_000,
    "\u03bcs".encode(): 1_000,
    b"ms": 1_000_000,
    b"s": 1_000_000_000,
    b"m": 60_000_000_000,
    b"h": 3_600_000_000_000,
}
_PART: Final = re.compile(rb"([0-9]*)(?:\.([0-9]*))?([^0-9.]+)", re.DOTALL)
_INT63: Final = 1 << 63


def parse_duration(text: bytes) -> int | None:
    """ns of a Go duration such as `1.5s` or `1m30s`; None when Go would not read it."""
    negative = text[:1] == b"-"
    rest = text[1:] if text[:1] in (b"-", b"+") else text
    if rest == b"0":
        return 0
    total = at = 0
    while at < len(rest):
        part = _PART.match(rest, at)
        value = _part_ns(*part.groups()) if part is not None else None
        if part is None or value is None:
            return None
        total += value
        if total > _INT63:
            return None
        at = part.end()
    if at == 0 or (total == _INT63 and not negative):
        return None
    return -total if negative else total


def _part_ns(digits: bytes, fraction: bytes | None, unit: bytes) -> int | None:
    if (not digits and not fraction) or unit not in _UNIT_NS:
        return None
    unit_ns = _UNIT_NS[unit]
    if len(digits.lstrip(b"0")) > 19:
        return None
    value = int(digits or b"0")
    if value > _INT63 // unit_ns:
        return None
    value *= unit_ns
    if fraction:
        parts, scale = _leading_fraction(fraction)
        value += int(float(parts) * (float(unit_ns) / scale))
    return value if value <= _INT63 else None


def _leading_fraction(digits: bytes) -> tuple[int, float]:
    """As many digits as 63 bits hold; what follows is not looked at."""
    value, scale = 0, 1.0
    for digit in digits[:20]:
        if value > (_INT63 - 1) // 10 or value * 10 + digit - 48 > _INT63:
            break
        value = value * 10 + digit - 48
        scale *= 10
    return value, scale
