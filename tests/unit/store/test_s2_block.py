"""S2 blocks: what is encoded is decoded, and what S2 adds to Snappy is understood."""

from __future__ import annotations

import random

import pytest
from millpond.store.s2_block import decode_block, encode_block

TEXTS = [
    b"", b"a", b"abcd" * 3, b"a" * 65536, bytes(range(256)) * 256, b"x" * 100 + b"0123456789" * 50,
    random.Random(1).randbytes(65536), b"ab" * 31 + b"c", b"subject.1 payload " * 1000,
]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: f"{text[:8]!r}x{len(text)}")
def test_what_is_encoded_is_decoded(text):
    assert decode_block(encode_block(text)) == text


def test_random_texts_with_repetitions():
    rng = random.Random(7)
    for _ in range(300):
        parts = [rng.randbytes(rng.randint(1, 20)) for _ in range(4)]
        text = b"".join(rng.choices(parts, k=rng.randint(0, 200)))
        assert decode_block(encode_block(text)) == text


def test_repetitive_text_becomes_short():
    assert len(encode_block(b"a" * 65536)) < 4000


@pytest.mark.parametrize(("block", "text"), [
    (b"\x00", b""),
    (b"\x03\x08abc", b"abc"),
    (b"\x08\x0cabcd\x01\x04", b"abcdabcd"),                       # copy of 4 from 4 before
    (b"\x0c\x0cabcd\x01\x04\x01\x00", b"abcd" * 3),               # the same offset again
    (b"\x08\x0cabcd\x0e\x04\x00", b"abcdabcd"),                   # two bytes of offset
    (b"\x08\x0cabcd\x0f\x04\x00\x00\x00", b"abcdabcd"),           # four
    (b"\x06\xf0\x05abcdef", b"abcdef"),                           # a literal's length in a byte of its own
    (b"\x06\xf4\x05\x00abcdef", b"abcdef"),
])
def test_elements(block, text):
    assert decode_block(block) == text


def test_lengths_of_repeats():
    """Three bits of 5, 6 and 7 take one, two and three bytes more."""
    for code, more, length in (
        (0, b"", 4), (4, b"", 8), (5, b"\x02", 10), (6, b"\x01\x00", 261), (7, b"\x00\x00\x00", 65540),
    ):
        size = 4 + 4 + length
        head = b"".join(bytes([byte]) for byte in uvarint(size))
        block = head + b"\x0cabcd\x01\x04" + bytes([code << 2 | 1, 0]) + more
        assert decode_block(block) == (b"abcd" * (size // 4 + 1))[:size], code


def uvarint(value: int) -> list[int]:
    out = []
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return [*out, value]


@pytest.mark.parametrize("block", [
    b"", b"\x80", b"\x80\x80\x80\x80\x80\x01", b"\x04\x08abc", b"\x02\x08abc", b"\x03\x08ab", b"\x08\x0cabcd\x01\x05",
    b"\x08\x0cabcd\x01", b"\x08\x0cabcd\x0e\x04", b"\x08\x0cabcd\x0f\x04\x00\x00", b"\x08\x0cabcd\x0e\x00\x00",
    b"\x04\x01\x00", b"\x06\xf0", b"\x06\xfc\xff\xff\xff\xffabcdef", b"\x0c\x0cabcd\x01\x04\x15\x00",
])
def test_what_is_no_block(block):
    assert decode_block(block) is None
