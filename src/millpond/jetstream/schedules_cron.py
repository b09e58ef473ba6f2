"""The cron dialect of message schedules (ADR-51): `second minute hour day-of-month month day-of-week`.

A field is a list of `*`, `?`, numbers and ranges, each perhaps with a step (`*/5`, `10-30/5`, `7/2` goes on to the
end); months and week days have English names of three letters; Sunday is 0. When the day of the month and the
day of the week are both restricted, either may match.

The search goes field by field from the coarsest: what does not match is moved on to the next unit's start, and a
unit that wraps round begins the search anew from there. Clocks that are set forward or back are seen as Go sees
them, since clients see which times that gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple

from millpond.base import limits

DAY_S: Final = 86_400
ANY: Final = 1 << 63
"""The bit that says that a field was not restricted."""
_EPOCH_DAYS: Final = date(1970, 1, 1).toordinal()
_NUMBER: Final = re.compile(r"\+?[0-9]{1,18}", re.ASCII)
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


class CronError(ValueError):
    """The text is no pattern."""


class Bounds(NamedTuple):
    lowest: int
    highest: int
    names: dict[str, int]


FIELDS: Final = (
    Bounds(0, 59, {}),
    Bounds(0, 59, {}),
    Bounds(0, 23, {}),
    Bounds(1, 31, {}),
    Bounds(1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    Bounds(0, 6, {name: number for number, name in enumerate(_WEEKDAYS)}),
)


class Cron(NamedTuple):
    """Bit n of a field: n matches."""

    second: int
    minute: int
    hour: int
    day: int
    month: int
    weekday: int


@lru_cache(maxsize=limits.SCHEDULE_PATTERNS_KEPT)
def parse_cron(text: str) -> Cron:
    """Raises CronError."""
    fields = text.split()
    if len(fields) != len(FIELDS):
        raise CronError("a pattern has six fields")
    return Cron(*(_field(field, bounds) for field, bounds in zip(fields, FIELDS, strict=True)))


def _field(text: str, bounds: Bounds) -> int:
    bits = 0
    for part in text.split(","):
        bits |= _range(part, bounds) if part else 0
    return bits


def _range(text: str, bounds: Bounds) -> int:
    span, *steps = text.split("/")
    low, *highs = span.split("-")
    if len(steps) > 1 or (len(highs) > 1 and low not in ("*", "?")):
        raise CronError(text)
    star = 0
    if low in ("*", "?"):
        first, last, star = bounds.lowest, bounds.highest, ANY
    else:
        first = _number(low, bounds)
        last = _number(highs[0], bounds) if highs else first
    step = 1
    if steps:
        step = _number(steps[0], Bounds(0, 0, {}))
        if not highs:
            last = bounds.highest
        if step > 1:
            star = 0
    if not (bounds.lowest <= first <= last <= bounds.highest) or step == 0:
        raise CronError(text)
    return sum(1 << value for value in range(first, last + 1, step)) | star


def _number(text: str, bounds: Bounds) -> int:
    named = bounds.names.get(text.lower())
    if named is not None:
        return named
    if _NUMBER.fullmatch(text) is None:
        raise CronError(text)
    return int(text)


def offset_s(zone: tzinfo, unix_s: int) -> int:
    """What the zone's clocks show at that moment, less UTC."""
    offset = datetime.fromtimestamp(unix_s, zone).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0


def _unix_s(zone: tzinfo, year: int, month: int, day: int, clock_s: int = 0) -> int:
    """The moment at which clocks show this; months and days beyond the last go on counting."""
    years, month0 = divmod(month - 1, 12)
    days = date(year + years, month0 + 1, 1).toordinal() + day - 1 - _EPOCH_DAYS
    shown = days * DAY_S + clock_s
    offset = offset_s(zone, shown)
    return shown - (offset_s(zone, shown - offset) if offset else 0)


def _clock_s(moment: datetime) -> int:
    return moment.hour * 3600 + moment.minute * 60 + moment.second


class _Search:
    """`at` only grows; each step below moves it to where its field matches, or says that it wrapped round."""

    def __init__(self, cron: Cron, zone: tzinfo, from_s: int) -> None:
        self.cron = cron
        self.zone = zone
        self.truncated = False
        self.move(from_s)

    def move(self, unix_s: int) -> None:
        self.at = unix_s
        self.shown = datetime.fromtimestamp(unix_s, self.zone)

    def truncate(self, unix_s: int) -> None:
        """To the start of a unit; only once, as later moves start there anyway."""
        if not self.truncated:
            self.truncated = True
            self.move(unix_s)

    def month(self) -> bool:
        while not self.cron.month >> self.shown.month & 1:
            self.truncate(_unix_s(self.zone, self.shown.year, self.shown.month, 1))
            now = self.shown
            self.move(_unix_s(self.zone, now.year, now.month + 1, now.day, _clock_s(now)))
            if self.shown.month == 1:
                return False
        return True

    def day(self) -> bool:
        while not self._day_matches():
            self.truncate(_unix_s(self.zone, self.shown.year, self.shown.month, self.shown.day))
            now = self.shown
            self.move(_unix_s(self.zone, now.year, now.month, now.day + 1, _clock_s(now)))
            if self.shown.day == 1:
                return False
        return True

    def _day_matches(self) -> bool:
        day = bool(self.cron.day >> self.shown.day & 1)
        weekday = bool(self.cron.weekday >> (self.shown.isoweekday() % 7) & 1)
        if (self.cron.day | self.cron.weekday) & ANY:
            return day and weekday
        return day or weekday

    def hour(self) -> bool:
        while not self.cron.hour >> self.shown.hour & 1:
            now = self.shown
            self.truncate(_unix_s(self.zone, now.year, now.month, now.day, now.hour * 3600))
            self.move(self.at + 3600)
            if self.shown.hour == 0:
                return False
        return True

    def minute(self) -> bool:
        while not self.cron.minute >> self.shown.minute & 1:
            self.truncate(self.at - self.at % 60)
            self.move(self.at + 60)
            if self.shown.minute == 0:
                return False
        return True

    def second(self) -> bool:
        while not self.cron.second >> self.shown.second & 1:
            self.truncated = True
            self.move(self.at + 1)
            if self.shown.second == 0:
                return False
        return True


def _is_possible(cron: Cron) -> bool:
    """Fields of nothing but commas match nothing; that need not be searched for."""
    if not (cron.second and cron.minute and cron.hour and cron.month):
        return False
    both_must_match = bool((cron.day | cron.weekday) & ANY)
    return bool(cron.day and cron.weekday) if both_must_match else bool(cron.day or cron.weekday)


def next_time(cron: Cron, zone: tzinfo | None, after_s: int) -> int | None:
    """The first matching moment (Unix seconds) after `after_s`; None when five years hold none."""
    if not _is_possible(cron):
        return None
    search = _Search(cron, zone or UTC, after_s + 1)
    last_year = search.shown.year + limits.SCHEDULE_YEARS_AHEAD
    steps: tuple[Callable[[], bool], ...] = (search.month, search.day, search.hour, search.minute, search.second)
    while search.shown.year <= last_year:
        if all(step() for step in steps):
            return search.at
    return None
