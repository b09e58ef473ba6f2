"""S2 streams: any split, every kind of frame, failures in nats-server's words."""

from __future__ import annotations

import random

import pytest
from millpond.store.backup.s2_stream import S2Reader, S2Writer

from millpond.base import limits

IDENTIFIER = b"\xff\x06\x00\x00S2sTwO"


def decoded(stream: bytes, pieces: int = 1) -> tuple[bytes, str]:
    reader = S2Reader()
    size = max(1, -(-len(stream) // pieces))
    found = b"".join(reader.decode_all(stream[at : at + size]) for at in range(0, len(stream), size))
    return found, reader.failure


def encoded(text: bytes) -> bytes:
    return bytes(S2Writer().encode_all(text))


def frame(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3, "little") + body


def test_begins_with_the_identifier():
    assert encoded(b"") == IDENTIFIER


@pytest.mark.parametrize("pieces", [1, 2, 7, 100_000])
@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 200_000])
def test_what_is_encoded_is_decoded_in_any_split(size, pieces):
    rng = random.Random(size)
    text = rng.randbytes(size // 2) + b"abc" * size
    text = text[:size]
    assert decoded(encoded(text), pieces) == (text, "")


def test_skips_what_may_be_skipped():
    stream = encoded(b"hello")
    padding = frame(0xFE, bytes(70_000)) + frame(0x80, b"") + frame(0x99, b"index")
    assert decoded(IDENTIFIER + padding + stream + padding + stream[10:], 9) == (b"hellohello", "")


def test_a_snappy_stream():
    assert decoded(frame(0xFF, b"sNaPpY") + encoded(b"hello")[10:]) == (b"hello", "")


GOOD = encoded(b"hello hello hello hello hello hello")


@pytest.mark.parametrize(("stream", "failure"), [
    (b"garbage", "s2: corrupt input"),
    (GOOD[10:], "s2: corrupt input"),
    (frame(0xFF, b"S2sTw0"), "s2: corrupt input"),
    (frame(0xFF, b"S2sTwO!"), "s2: corrupt input"),
    (IDENTIFIER + frame(0x02, b""), "s2: unsupported input"),
    (IDENTIFIER + frame(0x7F, b""), "s2: unsupported input"),
    (IDENTIFIER + frame(0x00, b"abc"), "s2: corrupt input"),
    (IDENTIFIER + frame(0x01, b"abc"), "s2: corrupt input"),
    (IDENTIFIER + frame(0x00, b"abcd"), "s2: corrupt input"),
    (IDENTIFIER + frame(0x01, b"abcdhello"), "s2: corrupt input, crc mismatch"),
    (GOOD[:14] + bytes([GOOD[14] ^ 1]) + GOOD[15:], "s2: corrupt input, crc mismatch"),
    (IDENTIFIER + b"\x00\xff\xff\xff", "s2: unsupported input"),
])
def test_failures(stream, failure):
    assert decoded(stream) == (b"", failure)


def test_nothing_behind_a_failure():
    assert decoded(GOOD + frame(0x02, b"") + GOOD)[1] == "s2: unsupported input"


def test_a_declared_size_is_bounded_before_memory_is_taken():
    huge = b"\xff\xff\xff\xff\x0f"
    reader = S2Reader()
    reader.decode_all(IDENTIFIER + frame(0x00, b"abcd" + huge))
    assert reader.failure == "s2: corrupt input"
    assert reader.held_bytes() < 4096


def test_holds_no_more_than_a_block():
    """A short frame may expand enormously; whoever takes out block by block holds one."""
    block = limits.S2_BLOCK_BYTES_MAX
    one = bytes(S2Writer().encode_all(b"a" * 65536))[10:]
    reader = S2Reader()
    reader.decode_all(IDENTIFIER + one * 200, most=1)
    assert reader.held_bytes() < len(one) * 200 * 2 + block


def test_cut_off():
    for size in range(len(GOOD)):
        reader = S2Reader()
        reader.decode_all(GOOD[:size])
        assert reader.is_cut_off() == (size not in (0, 10))
    reader = S2Reader()
    reader.decode_all(IDENTIFIER + b"\xfe\x05\x00\x00ab")
    assert reader.is_cut_off()


def test_the_same_blocks_for_readers_of_snappy() -> None:
    text = b"abc" * 50_000
    stream = S2Writer(snappy=True).encode_all(text)
    assert stream.startswith(b"\xff\x06\x00\x00sNaPpY")
    assert len(stream) < len(text) // 10
    assert S2Reader().decode_all(stream) == text
