"""Frames as a client sees them: vectors whole, and cut at every byte."""

from __future__ import annotations

import pytest
from millpond.bench.frames import parse_one

VECTORS = [
    (b"MSG a.b 7 2\r\nhi\r\n", ("message", 7, b"a.b", b"", b"", b"hi")),
    (b"MSG a.b 7 re.1 0\r\n\r\n", ("message", 7, b"a.b", b"re.1", b"", b"")),
    (b"HMSG a 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n", ("message", 1, b"a", b"", b"NATS/1.0\r\n\r\n", b"hi")),
    (b"HMSG a 1 r 12 12\r\nNATS/1.0\r\n\r\n\r\n", ("message", 1, b"a", b"r", b"NATS/1.0\r\n\r\n", b"")),
    (b"PING\r\n", ("ping", 0, b"", b"", b"", b"")),
    (b"PONG\r\n", ("pong", 0, b"", b"", b"", b"")),
    (b"+OK\r\n", ("other", 0, b"", b"", b"", b"")),
    (b'INFO {"a":1} \r\n', ("other", 0, b"", b"", b"", b"")),
    (b"-ERR 'no'\r\n", ("error", 0, b"", b"", b"", b"-ERR 'no'")),
]


@pytest.mark.parametrize(("data", "frame"), VECTORS, ids=[data.decode() for data, _ in VECTORS])
def test_whole_frames_are_taken_and_cut_ones_wait(data: bytes, frame: tuple[object, ...]) -> None:
    kind, taken, *fields = parse_one(data + b"MSG")
    assert (kind, *fields) == frame
    assert taken == len(data)
    for cut in range(len(data)):
        assert parse_one(data[:cut])[:2] == ("partial", 0)


@pytest.mark.parametrize("data", [b"MSG a\r\n", b"MSG a 1 r x 2 3\r\n", b"what\r\n", b"HMSG a 1 9 2\r\nxx\r\n"])
def test_nonsense_is_told(data: bytes) -> None:
    assert parse_one(data)[:2] == ("nonsense", 0)
