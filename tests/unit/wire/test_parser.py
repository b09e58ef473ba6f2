"""The client parser against vectors taken from nats-server 2.15.1: whole, byte by byte, in random splits."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from millpond.wire.parser import FrameReader

BAD = {"bad_op", "bad_control_line", "bad_payload", "bad_argument", "bad_header", "peer_error"}
Frames = list[tuple[str, tuple[tuple[str, object], ...]]]


def frames(chunks: list[bytes], headers: bool = True) -> Frames:
    """What a connection understands of these reads, up to the first error."""
    reader = FrameReader(headers=headers)
    return [(op, tuple(sorted(fields.items()))) for chunk in chunks for op, fields in reader.feed(chunk)]


def pub(subject: bytes, body: bytes, reply: bytes = b"", hdr: bytes = b"") -> tuple[str, object]:
    return ("pub", tuple(sorted({"subject": subject, "reply": reply, "hdr": hdr, "body": body}.items())))


HDR = b"NATS/1.0\r\n\r\n"
PING = ("ping", ())
VECTORS: list[tuple[bytes, list[tuple[str, object]]]] = [
    (b"PUB a 01\r\nx\r\nPING\r\n", [pub(b"a", b"x"), PING]),
    (b"pub a 1\nx\r\n", [pub(b"a", b"x")]),
    (b"PUB\ta\tr\t0\r\n\r\n", [pub(b"a", b"", b"r")]),
    (b"PUB  a   1  \r\nx\r\n", [pub(b"a", b"x")]),
    (b"HPUB a 12 13\r\n" + HDR + b"x\r\n", [pub(b"a", b"x", hdr=HDR)]),
    (b"HPUB a r 12 12\r\n" + HDR + b"\r\n", [pub(b"a", b"", b"r", HDR)]),
    (b"SUB a q 1\r\n", [("sub", (("queue", b"q"), ("sid", b"1"), ("subject", b"a")))]),
    (b"UNSUB 1 5\r\n", [("unsub", (("max", 5), ("sid", b"1")))]),
    (b"UNSUB 1 -3\r\n", [("unsub", (("max", 0), ("sid", b"1")))]),
    (b'CONNECT{"verbose":true}\r\n', [("connect", (("json", b'{"verbose":true}'),))]),
    (b"CONNECT {}\r\n", [("connect", (("json", b"{}"),))]),
    (b"CONNECT\r\n", [("connect", (("json", b""),))]),
    (b"+OK\r\nPING\r\n", [("ignored", ()), PING]),
    (b"+OKjunk\r\nPING\r\n", [("ignored", ()), PING]),
    (b"INFO {}\r\nPING\r\n", [("info", (("json", b"{}"),)), PING]),
    (b"INFO\r\n", [("info", (("json", b""),))]),
    (b"SUB a\rq 1\r\r\n", [("sub", (("queue", b"q"), ("sid", b"1"), ("subject", b"a")))]),
    (b"PUB a\rb 0\r\n\r\n", [pub(b"a\rb", b"")]),
    (b"PING" + b"x" * 10_000 + b"\r\nPONG\r\n", [PING, ("pong", ())]),
    (b"SUB" + b" \t" * 5000 + b"a 1\r\n", [("sub", (("queue", b""), ("sid", b"1"), ("subject", b"a")))]),
    (b"PINGX\r\nPONG\r\n", [PING, ("pong", ())]),
    (b"-ERR x\r\n", [("peer_error", ())]),
    (b"-ERR\r\n", [("bad_op", ())]),
    *[(line, [("bad_op", ())]) for line in (
        b"PIN\r\n", b"\r\n", b"\n", b"PUB\r\n", b"UNSUB\r\n", b"GET / HTTP\r\n", b"PX", b"PUBX", b"A+", b"R",
        b"LS+ x\r\n", b"H a", b"PUB a 1\r\nxy\r\n", b"PUB a 1\r\nx\n\n",
    )],
    *[(line, [("bad_argument", ())]) for line in (
        b"PUB a +1\r\n", b"PUB a -1\r\n", b"PUB a 1234567890\r\n", b"SUB a b c d\r\n", b"PUB \r\n",
        b"PUB a\r\n",        b"UNSUB 1 2 3\r\n", b"UNSUB \r\n", b"HPUB a 14 13\r\n", b"HPUB a x 13\r\n",
    )],
    (b"PUB a 123456789\r\n", [("bad_payload", ())]),
    (b"SUB " + b"a" * 4094 + b" 1\r\n", [("sub", (("queue", b""), ("sid", b"1"), ("subject", b"a" * 4094)))]),
    (b"SUB " + b"a" * 4095 + b" 1\r\n", [("bad_control_line", ())]),
    (b"SUB " + b"a" * 4097, [("bad_control_line", ())]),
    (b"SUB " + b"a" * 4096 + b"\r", []),
]


@pytest.mark.parametrize(("data", "expected"), VECTORS, ids=[repr(v[0][:24]) for v in VECTORS])
def test_vectors_whole_and_byte_by_byte(data: bytes, expected: list[tuple[str, object]]) -> None:
    assert frames([data]) == expected
    assert frames([data[i : i + 1] for i in range(len(data))]) == expected


def test_headers_that_were_not_negotiated_are_refused() -> None:
    assert frames([b"HPUB a 12 13\r\n"], headers=False) == [("bad_header", ())]


def test_the_size_of_an_unfinished_frame_is_told() -> None:
    reader = FrameReader()
    assert reader.feed(b"PUB a 10\r\nxx") == []
    assert (reader.kept, reader.need) == (len(b"a 10\r\nxx"), len(b"a 10\r\n") + 12)


@pytest.mark.parametrize("endless", [b"PING" + b"x" * 10_000, b"SUB" + b" " * 10_000, b"+OK" + b"\t" * 10_000])
def test_what_no_limit_counts_is_not_kept(endless: bytes) -> None:
    reader = FrameReader()
    for start in range(0, len(endless), 100):
        assert reader.feed(endless[start : start + 100]) == []
        assert reader.kept <= 4


STREAM = b"".join(data for data, expected in VECTORS if not any(op in BAD for op, _ in expected))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_random_splits_give_the_same_frames(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    assert frames([STREAM[a:b] for a, b in pairwise(edges)]) == frames([STREAM])


PIECES = st.sampled_from(
    [b"PUB ", b"SUB", b" ", b"\r\n", b"a", b"1", b"HPUB", b"-ERR", b"+OK", b"\n", b"\t", b"PING"]
)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.one_of(PIECES, st.binary(max_size=4)), max_size=30).map(b"".join))
def test_any_bytes_parse_the_same_whole_and_split(data: bytes) -> None:
    assert frames([data[i : i + 1] for i in range(len(data))]) == frames([data])


PADDING = b"PING\r\n" * 20
PUBLISH = st.builds(
    lambda verb, words, sizes, end: verb + b" " + b" ".join([*words, *sizes]) + end,
    st.sampled_from([b"PUB", b"HPUB", b"pub", b"PUBX", b"PuB"]),
    st.lists(st.sampled_from([b"a", b"a.b.c", b"", b"x" * 60, b"\t", b"y" * 70]), max_size=4),
    st.lists(st.sampled_from([b"0", b"2", b"12", b"14", b"-1", b"9999999999", b" 2"]), max_size=3),
    st.sampled_from([b"\r\n", b"\n", b" \r\n", b"\r\r\n", b"\r\nhi\r\n", b"\r\nNATS/1.0\r\n\r\nhi\r\n"]),
)


@settings(deadline=None, max_examples=400)
@given(PUBLISH, st.integers(0, 200), st.integers(1, 120))
def test_the_quick_way_judges_as_the_general_one(data: bytes, padding: int, control_line_max: int) -> None:
    padded = data + PADDING[:padding]
    quick, general = FrameReader(control_line_max), FrameReader(control_line_max, general=True)
    assert quick.feed(padded) == general.feed(padded)
    assert (quick.need, quick.failed, quick.kept) == (general.need, general.failed, general.kept)
