"""Quoting as Go's %q does it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond.wire.quote import quote


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"a.b", '"a.b"'),
        (b'a"b\\', '"a\\"b\\\\"'),
        (b"\x00\x01\x7f \t\r\n\x0b\x0c\x07\x08", '"\\x00\\x01\\x7f \\t\\r\\n\\v\\f\\a\\b"'),
        ("\u20ac\U0001f600".encode(), '"\u20ac\U0001f600"'),
        (b"\xff\xe2\x82", '"\\xff\\xe2\\x82"'),
        ("\u200b\ue000\U000e0001".encode(), '"\\u200b\\ue000\\U000e0001"'),
        (b"", '""'),
    ],
)
def test_quote(data: bytes, wanted: str) -> None:
    assert quote(data) == wanted


@given(st.binary(max_size=40))
def test_any_bytes_stay_on_one_line_between_two_quotes(data: bytes) -> None:
    text = quote(data)
    assert text.isprintable()
    assert text.encode()
    assert text.replace("\\\\", "").replace('\\"', "").count('"') == 2
