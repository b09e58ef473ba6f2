"""The hours of a day in which a user may be connected (reference 02.1, SEC-06: `times` and their location)."""

from __future__ import annotations

from datetime import datetime, time, timedelta, tzinfo

from millpond.accounts.claims import Rights, TimeRange
from millpond.accounts.claims_rules import CLOCK, is_zone

DAY = timedelta(days=1)


def valid_for_s(rights: Rights, now: datetime | None = None) -> float | None:
    """How long the user may stay, in seconds; 0: for ever; None: it may not be here now.

    Nobody judges the template of a scoped signing key before: with hours that are none, nobody may be here."""
    if not rights.times:
        return 0
    if (rights.times_location and not is_zone(rights.times_location)) or not all(map(_is_written, rights.times)):
        return None
    zone = _zone(rights.times_location)
    here = now if now is not None else datetime.now(zone)
    here = here.astimezone(zone)
    found = [
        left for window in rights.times
        if (left := _left(_at(here, window.start, zone), _at(here, window.end, zone), here)) is not None
    ]  # fmt: skip
    return max(found).total_seconds() if found else None


def _is_written(window: TimeRange) -> bool:
    return all(CLOCK.fullmatch(text) is not None for text in (window.start, window.end))


def _zone(name: str) -> tzinfo | None:
    """None: the machine's."""
    if name in ("", "Local"):
        return None
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


def _at(day: datetime, text: str, zone: tzinfo | None) -> datetime:
    hour, minute, second = (int(part) for part in text.replace(",", ".").partition(".")[0].split(":"))
    moment = datetime.combine(day.date(), time(hour, minute, second), zone)
    return moment.astimezone() if zone is None else moment


def _left(start: datetime, end: datetime, now: datetime) -> timedelta | None:
    """Until the window ends; None: we are not in it. One that begins later than it ends goes over midnight."""
    if start < now < end:
        return end - now
    if start <= end:
        return None
    if now < end:
        return end - now
    return end + DAY - now if start < now else None
