"""When schedules fire: first, next, and after a time away."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from millpond.jetstream.schedules_pattern import (
    NO_SCHEDULE,
    TIME_MAX_NS,
    Firing,
    firing_missed,
    format_due,
    next_firing,
    zone_named,
)

SECOND = 1_000_000_000
NOON = 1_700_000_000 * SECOND
"""2023-11-14T22:13:20Z"""


def test_an_interval_counts_from_whole_seconds() -> None:
    assert next_firing(b"@every 2s", None, NOON + SECOND // 2, NOON) == Firing(NOON + 3 * SECOND, True)
    assert next_firing(b"@every 2s", None, NOON + SECOND // 2 - 1, NOON) == Firing(NOON + 2 * SECOND, True)


def test_what_was_due_more_than_once_fires_once() -> None:
    late = NOON + 1000 * SECOND + 700_000_000
    assert next_firing(b"@every 2s", None, NOON, late) == Firing(NOON + 1003 * SECOND, True)
    assert next_firing(b"0 * * * * *", None, NOON, late) == Firing(NOON + 1060 * SECOND, True)


def test_times_beyond_all_clocks() -> None:
    assert next_firing(b"@at 9999-01-01T00:00:00Z", None, NOON, NOON) == Firing(TIME_MAX_NS, False)
    assert next_firing(b"@at 0002-01-01T00:00:00Z", None, NOON, NOON) == Firing(1, False)
    assert next_firing(b"@at 0001-01-01T00:00:00Z", None, NOON, NOON) == NO_SCHEDULE
    assert next_firing(b"@every 2562047h", None, NOON, NOON) == Firing(TIME_MAX_NS, True)


@pytest.mark.parametrize(("pattern", "made", "until", "due"), [
    (b"@every 10s", 0, 0, 10), (b"@every 10s", 0, 9, 10), (b"@every 10s", 0, 10, 20), (b"@every 10s", 0, 25, 30),
    (b"@every 1.5s", 0, 0, 1.5), (b"@every 1.5s", 0, 2, 3.5), (b"@at 2023-11-14T22:13:21Z", 0, 500, 1),
    (b"20 * * * * *", 0, 0, 60), (b"20 * * * * *", 0, 200, 240), (b"nonsense", 0, 0, None),
])  # fmt: skip
def test_the_first_firing_of_a_new_life(pattern: bytes, made: float, until: float, due: float | None) -> None:
    found = firing_missed(pattern, None, NOON + int(made * SECOND), NOON + int(until * SECOND))
    assert found == (None if due is None else NOON + int(due * SECOND))


def test_times_as_the_zone_shows_them() -> None:
    assert format_due(NOON, None) == "2023-11-14T22:13:20Z"
    assert format_due(NOON + 5, ZoneInfo("Asia/Kathmandu")) == "2023-11-15T03:58:20.000000005+05:45"
    assert format_due(NOON, ZoneInfo("America/St_Johns")) == "2023-11-14T18:43:20-03:30"
    assert format_due(NOON, ZoneInfo("Europe/London")) == "2023-11-14T22:13:20Z"


def test_zones_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    zone_named.cache_clear()
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    assert format_due(NOON, zone_named(b"Local")).endswith("+05:45")
    zone_named.cache_clear()
    monkeypatch.setenv("TZ", "")
    assert format_due(NOON, zone_named(b"Local")).endswith("Z")
    zone_named.cache_clear()
    for name in (b"Nowhere", b"", b"../etc/passwd", b"/etc/localtime", b"\xff", b"America"):
        with pytest.raises(ValueError, match="no such time zone"):
            zone_named(name)
