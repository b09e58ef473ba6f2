"""Times and durations as Go reads and writes them (RFC 3339 with nanoseconds; "1m30s").

Times are Unix nanoseconds. 0 stands for Go's zero time, as nothing that we keep is that old.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

ZERO_TIME: Final = "0001-01-01T00:00:00Z"
YEAR_ONE_NS: Final = -62_135_596_800_000_000_000
"""The same, when somebody wrote it out."""
LAYOUT: Final = "2006-01-02T15:04:05Z07:00"
SECOND_NS: Final = 1_000_000_000
_EPOCH_DAYS: Final = date(1970, 1, 1).toordinal()
_ERA_DAYS: Final = 146_097
"""Of 400 years, after which the calendar repeats."""
_FRACTION: Final = re.compile(rb"[.,]([0-9]+)")
_OFFSET: Final = re.compile(rb"([+-])([0-9]{2}):([0-9]{2})")


class Zoned(int):
    """Unix ns that were written with an offset from UTC, which belongs to them when they are shown again."""

    zone_s: int


def zone_of(time_ns: int) -> int:
    """Seconds east of UTC that a time was written with."""
    return time_ns.zone_s if isinstance(time_ns, Zoned) else 0


class TimeError(ValueError):
    """The text is Go's."""


def _shown(data: bytes) -> str:
    """Go's quoting in time errors: every byte that is not printable ASCII as \\x.."""
    out = []
    for byte in data:
        char = chr(byte)
        out.append(f"\\x{byte:02x}" if byte >= 0x80 or byte < 0x20 else "\\" + char if char in '"\\' else char)
    return '"' + "".join(out) + '"'


class _Reader:
    """The parts of one time, in order; the first that does not fit raises TimeError."""

    def __init__(self, data: bytes) -> None:
        self.whole = data
        self.left = data

    def mismatch(self, layout_part: str, at: bytes | None = None) -> TimeError:
        where = self.left if at is None else at
        return TimeError(
            f'parsing time {_shown(self.whole)} as "{LAYOUT}": cannot parse {_shown(where)} as "{layout_part}"'
        )

    def out_of_range(self, what: str) -> TimeError:
        return TimeError(f"parsing time {_shown(self.whole)}: {what} out of range")

    def literal(self, char: str) -> None:
        if self.left[:1] != char.encode():
            raise self.mismatch(char)
        self.left = self.left[1:]

    def year(self) -> int:
        digits = self.left[:4]
        if len(digits) < 4 or not (digits.isdigit() and digits.isascii()):
            raise self.mismatch("2006")
        self.left = self.left[4:]
        return int(digits)

    def number(self, layout_part: str, widths: tuple[int, ...] = (2,)) -> int:
        for width in widths:
            digits = self.left[:width]
            if len(digits) == width and digits.isdigit():
                self.left = self.left[width:]
                return int(digits)
        raise self.mismatch(layout_part)

    def fraction_ns(self) -> int:
        found = _FRACTION.match(self.left)
        if found is None:
            return 0
        self.left = self.left[found.end() :]
        return int(found[1][:9].ljust(9, b"0"))

    def offset_seconds(self) -> int:
        if self.left[:1] == b"Z":
            self.left = self.left[1:]
            return 0
        found = _OFFSET.match(self.left)
        if found is None:
            raise self.mismatch("Z07:00")
        hours, minutes = int(found[2]), int(found[3])
        if hours > 24 or minutes > 60:
            raise self.out_of_range("time zone offset " + ("hour" if hours > 24 else "minute"))
        self.left = self.left[found.end() :]
        return (hours * 3600 + minutes * 60) * (1 if found[1] == b"+" else -1)


def parse_time(value: bytes | str) -> int:
    """RFC 3339, as loosely as Go's time.Parse takes it -> Unix ns, Zoned when not in UTC. Raises TimeError."""
    reader = _Reader(value.encode() if isinstance(value, str) else value)
    year = reader.year()
    reader.literal("-")
    month = reader.number("01")
    if not 1 <= month <= 12:
        raise reader.out_of_range("month")
    reader.literal("-")
    day = reader.number("02")
    reader.literal("T")
    hour = reader.number("15", (2, 1))
    if hour > 23:
        raise reader.out_of_range("hour")
    reader.literal(":")
    minute = reader.number("04")
    if minute > 59:
        raise reader.out_of_range("minute")
    reader.literal(":")
    second = reader.number("05")
    if second > 59:
        raise reader.out_of_range("second")
    fraction_ns = reader.fraction_ns()
    offset = reader.offset_seconds()
    if reader.left:
        raise TimeError(f"parsing time {_shown(reader.whole)}: extra text: {_shown(reader.left)}")
    days = _days(year, month, day)
    if days is None:
        raise reader.out_of_range("day")
    seconds = (days - _EPOCH_DAYS) * 86_400 + hour * 3600 + minute * 60 + second - offset
    if not offset:
        return seconds * SECOND_NS + fraction_ns
    zoned = Zoned(seconds * SECOND_NS + fraction_ns)
    zoned.zone_s = offset
    return zoned


def _days(year: int, month: int, day: int) -> int | None:
    """Days since year 1; None when the month has no such day. Go has a year 0, Python has not: it is like 400."""
    try:
        return date(year or 400, month, day).toordinal() - (0 if year else _ERA_DAYS)
    except ValueError:
        return None


def format_time(time_ns: int, zone_s: int = 0) -> str:
    """Unix ns -> RFC3339Nano as Go writes it, `zone_s` seconds east of UTC; 0 is Go's zero time."""
    if time_ns == 0:
        return ZERO_TIME
    seconds, ns = divmod(time_ns, SECOND_NS)
    seconds += zone_s
    days, second = divmod(seconds, 86_400)
    eras, day = divmod(days + _EPOCH_DAYS - 1, _ERA_DAYS)
    moment = date.fromordinal(day + 1)
    fraction = f".{ns:09d}".rstrip("0") if ns else ""
    return (
        f"{moment.year + 400 * eras:04d}-{moment.month:02d}-{moment.day:02d}"
        f"T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}{fraction}"
        + _offset_text(zone_s)
    )


def _offset_text(zone_s: int) -> str:
    minutes = abs(zone_s) // 60
    return f"{'-' if zone_s < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}" if zone_s else "Z"


def int64_ns(time_ns: int) -> int:
    """As Go's UnixNano gives a time outside 64 bits: wrapped round."""
    return (time_ns + 2**63) % 2**64 - 2**63


def duration_text(value_ns: int) -> str:
    """A Go duration as text: 1m0s, 1.5s, 250ms."""
    if value_ns == 0:
        return "0s"
    sign, value_ns = ("-", -value_ns) if value_ns < 0 else ("", value_ns)
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if value_ns < size * 1000:
            return sign + _fraction(value_ns, size) + unit
    minutes, rest = divmod(value_ns, 60 * SECOND_NS)
    text = _fraction(rest, SECOND_NS) + "s"
    if minutes:
        hours, minutes = divmod(minutes, 60)
        text = (f"{hours}h{minutes}m" if hours else f"{minutes}m") + text
    return sign + text


def _fraction(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    if not rest:
        return str(whole)
    digits = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0")
    return f"{whole}.{digits}"

