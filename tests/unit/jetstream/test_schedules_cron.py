"""Cron patterns: what is read, and when they match, through changes of clocks."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from millpond.jetstream.schedules_cron import CronError, next_time, parse_cron


def after(pattern: str, moment: str, zone: str = "") -> str | None:
    """The next match as the zone's clocks show it; `moment` likewise."""
    place = ZoneInfo(zone) if zone else UTC
    start = datetime.fromisoformat(moment).replace(tzinfo=place)
    found = next_time(parse_cron(pattern), ZoneInfo(zone) if zone else None, int(start.timestamp()))
    return None if found is None else datetime.fromtimestamp(found, place).isoformat()


@pytest.mark.parametrize(("pattern", "moment", "found"), [
    ("* * * * * *", "2026-01-01T00:00:00", "2026-01-01T00:00:01+00:00"),
    ("*/15 * * * * *", "2026-01-01T00:00:15", "2026-01-01T00:00:30+00:00"),
    ("0 30 9 * * mon-fri", "2026-01-02T09:30:00", "2026-01-05T09:30:00+00:00"),
    ("0 0 0 29 2 *", "2026-01-01T00:00:00", "2028-02-29T00:00:00+00:00"),
    ("0 0 0 31 4 *", "2026-01-01T00:00:00", None),
    ("59 59 23 31 DEC ?", "2026-12-31T23:59:59", "2027-12-31T23:59:59+00:00"),
    ("0 0 0 13 * FRI", "2026-01-01T00:00:00", "2026-01-02T00:00:00+00:00"),
    ("0 0 0 13 * *", "2026-01-13T00:00:00", "2026-02-13T00:00:00+00:00"),
    ("0 7/20 * * * *", "2026-01-01T00:28:00", "2026-01-01T00:47:00+00:00"),
    ("0 0 , * * *", "2026-01-01T00:00:00", None),
    ("0 0 0 , * *", "2026-01-01T00:00:00", None),
    ("0 0 0 , * mon", "2026-01-01T00:00:00", "2026-01-05T00:00:00+00:00"),
])  # fmt: skip
def test_the_next_match(pattern: str, moment: str, found: str | None) -> None:
    assert after(pattern, moment) == found


@pytest.mark.parametrize(("pattern", "moment", "zone", "found"), [
    ("0 30 2 * * *", "2026-03-28T12:00:00", "Europe/Berlin", "2026-03-30T02:30:00+02:00"),
    ("0 30 2 * * *", "2026-10-24T12:00:00", "Europe/Berlin", "2026-10-25T02:30:00+02:00"),
    ("0 0 0 * * *", "2026-03-28T12:00:00", "Europe/Berlin", "2026-03-29T00:00:00+01:00"),
    ("0 0 3 * * *", "2026-03-28T12:00:00", "Europe/Berlin", "2026-03-29T03:00:00+02:00"),
    ("0 45 5 * * *", "2026-01-01T00:00:00", "Asia/Kathmandu", "2026-01-01T05:45:00+05:45"),
])  # fmt: skip
def test_clocks_of_a_zone(pattern: str, moment: str, zone: str, found: str) -> None:
    assert after(pattern, moment, zone) == found


@pytest.mark.parametrize("pattern", [
    "", "* * * * *", "* * * * * * *", "60 * * * * *", "* * 24 * * *", "* * * 0 * *", "* * * * 13 *", "* * * * * 7",
    "5-1 * * * * *", "1-2-3 * * * * *", "1/2/3 * * * * *", "*/0 * * * * *", "a * * * * *", "* * * * janu *",
    "- * * * * *", "99999999999999999999 * * * * *",
])  # fmt: skip
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(CronError):
        parse_cron(pattern)
