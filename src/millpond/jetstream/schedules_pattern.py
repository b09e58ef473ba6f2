"""When a schedule fires: `@at <time>`, `@every <duration>`, `@daily` and the like, and cron (ADR-51).

Times are Unix nanoseconds, and those beyond what 64 bits hold are the last of them. A schedule that repeats and
was due more than once, for instance since the server was down, fires once.
"""

from __future__ import annotations

import os
from datetime import UTC, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple

from millpond.base import limits
from millpond.base.durations import parse_duration
from millpond.jetstream.go_time import SECOND_NS, TimeError, format_time, parse_time
from millpond.jetstream.schedules_cron import Cron, CronError, next_time, offset_s, parse_cron

NAMED: Final = {
    b"@yearly": b"0 0 0 1 1 *",
    b"@annually": b"0 0 0 1 1 *",
    b"@monthly": b"0 0 0 1 * *",
    b"@weekly": b"0 0 0 * * 0",
    b"@daily": b"0 0 0 * * *",
    b"@midnight": b"0 0 0 * * *",
    b"@hourly": b"0 0 * * * *",
}
TIME_MAX_NS: Final = 2**63 - 1
ZERO_TIME_NS: Final = -62_135_596_800 * SECOND_NS
LOCAL_TIME: Final = "/etc/localtime"


class Firing(NamedTuple):
    """`due_ns` 0: never, the text schedules nothing."""

    due_ns: int
    repeats: bool


NO_SCHEDULE: Final = Firing(0, False)


@lru_cache(maxsize=limits.SCHEDULE_PATTERNS_KEPT)
def zone_named(name: bytes) -> tzinfo:
    """An IANA time zone; `Local` is the server's. Raises ValueError."""
    from zoneinfo import ZoneInfo  # a quarter of a mebibyte, for those who name a zone

    try:
        text = name.decode()
        if text == "Local":
            return _local()
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        raise ValueError("no such time zone") from None


def _local() -> tzinfo:
    from zoneinfo import ZoneInfo

    named = os.environ.get("TZ")
    if named is not None:
        return ZoneInfo(named.lstrip(":")) if named else UTC
    if not os.path.exists(LOCAL_TIME):
        return UTC
    with open(LOCAL_TIME, "rb") as file:
        return ZoneInfo.from_file(file)


def next_firing(pattern: bytes, zone: tzinfo | None, after_ns: int, now_ns: int) -> Firing | None:
    """The first firing after `after_ns`, but of those that repeat none that is over; None: the text is no pattern."""
    if not pattern:
        return NO_SCHEDULE
    if pattern.startswith(b"@at "):
        return _once(pattern[4:]) if zone is None else None
    if pattern.startswith(b"@every "):
        every_ns = _interval_ns(pattern[7:]) if zone is None else None
        if every_ns is None:
            return None
        due_ns = _rounded(after_ns) + every_ns
        if due_ns < now_ns:
            due_ns = _rounded(now_ns) + every_ns
        return Firing(min(due_ns, TIME_MAX_NS), True)
    cron = _cron(pattern)
    due_s = next_time(cron, zone, after_ns // SECOND_NS) if cron is not None else None
    if cron is not None and due_s is not None and due_s * SECOND_NS < now_ns:
        due_s = next_time(cron, zone, _rounded(now_ns) // SECOND_NS)
    return Firing(min(due_s * SECOND_NS, TIME_MAX_NS), True) if due_s is not None else None


def firing_missed(pattern: bytes, zone: tzinfo | None, made_ns: int, fired_until_ns: int) -> int | None:
    """The first firing after `fired_until_ns` of a schedule that was stored at `made_ns`, even if it is over."""
    if pattern.startswith(b"@every ") and zone is None:
        every_ns = _interval_ns(pattern[7:])
        if every_ns is None:
            return None
        first_ns = _rounded(made_ns) + every_ns
        period_ns = _rounded(every_ns)
        skipped = max(0, (fired_until_ns - first_ns) // period_ns + 1)
        return min(first_ns + skipped * period_ns, TIME_MAX_NS)
    found = next_firing(pattern, zone, max(made_ns, fired_until_ns), 0)
    return found.due_ns if found is not None else None


def _once(text: bytes) -> Firing | None:
    try:
        at_ns = parse_time(text)
    except TimeError:
        return None
    if at_ns == ZERO_TIME_NS:
        return NO_SCHEDULE
    return Firing(min(max(at_ns, 1), TIME_MAX_NS), False)


def _interval_ns(text: bytes) -> int | None:
    every_ns = parse_duration(text)
    return every_ns if every_ns is not None and every_ns >= SECOND_NS else None


def _cron(pattern: bytes) -> Cron | None:
    try:
        return parse_cron(NAMED.get(pattern, pattern).decode("utf-8", "surrogateescape"))
    except CronError:
        return None


def _rounded(time_ns: int) -> int:
    """To whole seconds, halves up."""
    return (time_ns + SECOND_NS // 2) // SECOND_NS * SECOND_NS


def format_due(due_ns: int, zone: tzinfo | None) -> str:
    """RFC 3339 as the zone's clocks show it."""
    offset = offset_s(zone, due_ns // SECOND_NS) if zone is not None else 0
    if not offset:
        return format_time(due_ns)
    sign, minutes = ("-", -offset // 60) if offset < 0 else ("+", offset // 60)
    return f"{format_time(due_ns + offset * SECOND_NS)[:-1]}{sign}{minutes // 60:02d}:{minutes % 60:02d}"
