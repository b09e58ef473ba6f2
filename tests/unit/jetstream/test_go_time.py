"""Times and durations as Go reads and writes them; the texts were read off nats-server."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond.jetstream.go_time import ZERO_TIME, TimeError, duration_text, format_time, int64_ns, parse_time

AS = ' as "2006-01-02T15:04:05Z07:00": cannot parse '


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", '""' + AS + '"" as "2006"'),
        ("20", '"20"' + AS + '"20" as "2006"'),
        ("2020-1", '"2020-1"' + AS + '"1" as "01"'),
        ("2020-00-01T00:00:00Z", '"2020-00-01T00:00:00Z": month out of range'),
        ("2021-02-29T00:00:00Z", '"2021-02-29T00:00:00Z": day out of range'),
        ("2020-01-01T24:00:00Z", '"2020-01-01T24:00:00Z": hour out of range'),
        ("2020-01-01T00:0:00Z", '"2020-01-01T00:0:00Z"' + AS + '"0:00Z" as "04"'),
        ("2020-01-01T00:00:60Z", '"2020-01-01T00:00:60Z": second out of range'),
        ("2020-01-01T00:00:00", '"2020-01-01T00:00:00"' + AS + '"" as "Z07:00"'),
        ("2020-01-01T00:00:00.Z", '"2020-01-01T00:00:00.Z"' + AS + '".Z" as "Z07:00"'),
        ("2020-01-01T00:00:00Zx", '"2020-01-01T00:00:00Zx": extra text: "x"'),
        ("2020-01-01T00:00:00+25:00", '"2020-01-01T00:00:00+25:00": time zone offset hour out of range'),
        ("10000-01-01T00:00:00Z", '"10000-01-01T00:00:00Z"' + AS + '"0-01-01T00:00:00Z" as "-"'),
        ('é"\n', r'"\xc3\xa9\"\x0a"' + AS + r'"\xc3\xa9\"\x0a" as "2006"'),
    ],
)
def test_what_is_wrong_with_a_time(value: str, expected: str) -> None:
    with pytest.raises(TimeError) as raised:
        parse_time(value)
    assert str(raised.value) == "parsing time " + expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T1:00:00Z", 3_600_000_000_000),
        ("1970-01-01T00:00:00,5Z", 500_000_000),
        ("1970-01-01T00:00:00.1234567891Z", 123_456_789),
        ("1970-01-01T00:00:00-24:60", 90_000_000_000_000),
        ("0000-03-01T00:00:00Z", -62_162_035_200_000_000_000),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000_000),
    ],
)
def test_times_that_go_takes(value: str, expected: int) -> None:
    assert parse_time(value) == expected


@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)), st.integers(0, 999_999_999))
def test_what_is_written_is_read_again(moment: datetime, ns: int) -> None:
    seconds = int((moment.replace(tzinfo=UTC, microsecond=0) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    time_ns = seconds * 1_000_000_000 + ns
    if time_ns:
        assert parse_time(format_time(time_ns)) == time_ns


def test_fractions_are_short_and_zero_is_go_s_zero_time() -> None:
    assert format_time(1_500_000_000) == "1970-01-01T00:00:01.5Z"
    assert format_time(-62_162_035_200_000_000_000) == "0000-03-01T00:00:00Z"
    assert format_time(0) == ZERO_TIME
    assert int64_ns(2**63) == -(2**63)
    assert int64_ns(-5) == -5


@pytest.mark.parametrize(
    ("value_ns", "expected"),
    [(0, "0s"), (1, "1ns"), (1_500, "1.5µs"), (2_000_000, "2ms"), (90_000_000_000, "1m30s"), (-3_600_000_000_001,
    "-1h0m0.000000001s")],
)
def test_durations(value_ns: int, expected: str) -> None:
    assert duration_text(value_ns) == expected
