"""Texts of `Nats-TTL`, each as nats-server 2.15.1 was seen to take it (conformance: ttl_texts)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond.base.durations import parse_duration
from millpond.jetstream.go_json import duration_text
from millpond.jetstream.message_ttl import INVALID, NEVER, parse_ttl

SECONDS = [
    (b"1", 1), (b"007", 7), (b"00", 0), (b"1s", 1), (b"1.999999999s", 1), (b"1.s", 1), (b"1000ms", 1), (b"1h", 3600),
    (b"1h2m3.5s", 3723), (b"1m1m", 120), (b"+1s", 1), (b"1000000\xc2\xb5s", 1), (b"1000000\xce\xbcs", 1),
    (b"never", NEVER), (b"NeVer", NEVER), (b"1s1s", 2), (b"0.5m", 30), (b"1ms999ms", 1),
    (b"9223372036854775807", 2**63 - 1), (b"18446744073709551621", 5), (b"2562047h47m16.854775807s", 9223372036),
]  # fmt: skip
REFUSED = [
    b"", b"0", b"-1", b"+5", b"5 ", b" 5", b"1.5", b"1e3", b"1_0", b"999ms", b".s", b"s", b"1d", b"1S", b"1 s", b"-1s",
    b"--1s", b"nevers", b"true", "\u0661s".encode(), "\u0661".encode(), b"9223372036854775808", b"2562047h47m17s",
    b"2562047h47m16.854775808s", b"9223372037s", b"1..5s", b"1.5.5s", b"0s", b"5\x00", b"1s1", b"\xff",
]  # fmt: skip


@pytest.mark.parametrize(("text", "seconds"), SECONDS)
def test_accepted(text: bytes, seconds: int) -> None:
    assert parse_ttl(text) == seconds


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: bytes) -> None:
    assert parse_ttl(text) == INVALID


@given(st.integers(-(2**63), 2**63 - 1))
def test_reads_what_go_writes(value_ns: int) -> None:
    assert parse_duration(duration_text(value_ns).encode()) == value_ns


@given(st.binary(max_size=30) | st.text("0123456789.smhun+- \u00b5", max_size=40).map(str.encode))
def test_any_text_has_an_answer(text: bytes) -> None:
    assert parse_ttl(text) == INVALID or parse_ttl(text) == NEVER or 0 <= parse_ttl(text) < 2**63
    duration_ns = parse_duration(text)
    assert duration_ns is None or -(2**63) <= duration_ns < 2**63
