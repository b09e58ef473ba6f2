"""Looking into header blocks: first occurrence, exact case, blanks after the colon skipped."""

from __future__ import annotations

import pytest
from millpond.wire.headers import find_value, with_last, without


@pytest.mark.parametrize(
    ("block", "wanted"),
    [
        (b"NATS/1.0\r\nK: v\r\n\r\n", b"v"),
        (b"NATS/1.0\r\nK:v \r\n\r\n", b"v "),
        (b"NATS/1.0\r\nK:\r\n\r\n", b""),
        (b"NATS/1.0\r\nK: 1\r\nK: 2\r\n\r\n", b"1"),
        (b"NATS/1.0\r\nKK: 1\r\nXK: 3\r\nK: 2\r\n\r\n", b"2"),
        (b"NATS/1.0\r\nk: 1\r\n\r\n", None),
        (b"NATS/1.0\r\nA: x\nK: 1\r\n\r\n", None),
        (b"NATS/1.0\r\nK: a\nb\rc\r\n\r\n", b"a\nb\rc"),
        (b"NATS/1.0\r\nK: cut", b"cut"),
        (b"NATS/1.0\r\nK", None),
        (b"K: 1\r\n\r\n", None),
        (b"\r\n\r\n", None),
        (b"", None),
    ],
)
def test_find(block: bytes, wanted: bytes | None) -> None:
    assert find_value(block, b"K") == wanted


@pytest.mark.parametrize(
    ("block", "kept"),
    [
        (b"NATS/1.0\r\nA: 1\r\nK: v\r\nB: 2\r\nK:w\r\n\r\n", b"NATS/1.0\r\nA: 1\r\nB: 2\r\n\r\n"),
        (b"NATS/1.0\r\nK: v\r\n\r\n", b""),
        (b"NATS/1.0\r\nKK: v\r\nA: K:\r\n\r\n", b"NATS/1.0\r\nKK: v\r\nA: K:\r\n\r\n"),
        (b"", b""),
    ],
)
def test_without(block: bytes, kept: bytes) -> None:
    assert without(block, b"K") == kept


def test_with_last() -> None:
    assert with_last(b"", b"K", b"v") == b"NATS/1.0\r\nK: v\r\n\r\n"
    assert with_last(b"NATS/1.0\r\nA: 1\r\n\r\n", b"K", b"v") == b"NATS/1.0\r\nA: 1\r\nK: v\r\n\r\n"
