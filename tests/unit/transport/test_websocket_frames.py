"""Frames of WebSocket against a slow and obvious reader, and what is kept of them."""

from __future__ import annotations

import os
import random
import zlib

import pytest
from millpond.testing.ws_rig import Rig
from tests.ws_client import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, any_mask, deflated, frame, split

from millpond.base import limits


def conversation(rng: random.Random, *, compress: bool) -> tuple[bytes, bytes, int]:
    """(frames, what they carry, how many pings are between them)."""
    raw, plain, pings = b"", b"", 0
    for _ in range(rng.randrange(1, 12)):
        message = rng.randbytes(rng.choice((0, 1, 125, 126, 127, 5000, 65_535, 65_536, 70_000)))
        packed = compress and rng.random() < 0.5
        body = deflated(message, rng.randrange(10)) if packed else message
        cuts = sorted(rng.randrange(len(body) + 1) for _ in range(rng.randrange(3)))
        parts = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
        for at, part in enumerate(parts):
            first, last = at == 0, at == len(parts) - 1
            bits = 8 * last + 4 * (first and packed)
            opcode = rng.choice((TEXT, BINARY)) if first else CONTINUATION
            wide = rng.choice((0, 2, 8)) if len(part) < 65_536 else 0
            raw += frame(part, opcode, bits=bits, mask=any_mask(), wide=wide)
            if rng.random() < 0.3:
                raw += frame(rng.randbytes(rng.randrange(126)), PING, mask=any_mask())
                pings += 1
        plain += message
    return raw, plain, pings


@pytest.mark.parametrize("seed", range(30))
def test_any_conversation_cut_anywhere(seed: int) -> None:
    rng = random.Random(seed)
    compress = bool(seed % 2)
    raw, plain, pings = conversation(rng, compress=compress)
    cuts = sorted(rng.randrange(len(raw) + 1) for _ in range(rng.randrange(40)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    pieces = [piece[at : at + 60_000] for piece in pieces for at in range(0, len(piece), 60_000)]
    rig = Rig(compress=compress)
    assert rig.feed(pieces, rng.choice((70_000, 5000, 257))) == plain
    assert (rig.failure, rig.over, rig.held_bytes) == (None, False, 0)
    answers, rest = split(rig.said)
    assert ([each.opcode for each in answers], rest) == ([PONG] * pings, b"")


def test_without_masks_when_that_was_agreed() -> None:
    assert Rig(masked=False).feed([frame(b"abc", mask=None) + frame(b"defgh", mask=None)]) == b"abcdefgh"


def test_an_answer_has_the_pings_bytes() -> None:
    rig = Rig()
    rig.feed([frame(b"one", PING) + frame(b"", PING)])
    assert [each.payload for each in split(rig.said)[0]] == [b"one", b""]


def test_answers_that_nobody_takes_are_bounded() -> None:
    rig = Rig()
    rig.fill(True)
    rig.feed([frame(b"x" * 125, PING) * 50 for _ in range(100)])
    assert rig.held_bytes <= limits.WS_ANSWERS_HELD_BYTES + limits.LAYER_WRITE_BYTES + 127
    rig.fill(False)
    assert rig.push() == 1
    assert split(rig.said)[1] == b""


def test_a_compressed_message_is_bounded_before_and_after() -> None:
    before = Rig(compress=True, payload_max=1000)
    before.feed([frame(os.urandom(1000), CONTINUATION if at else BINARY, bits=0 if at else 4) for at in range(20)])
    assert before.failure == "maximum payload exceeded"
    assert before.held_bytes <= limits.WS_COMPRESSED_PAYLOADS_MAX * 1000
    after = Rig(compress=True, payload_max=1000)
    assert after.feed([frame(deflated(bytes(1_000_000)), bits=12)], 300) == bytes(1000)
    assert (after.failure, after.over) == ("maximum payload exceeded", True)
    fits = Rig(compress=True, payload_max=1000)
    assert fits.feed([frame(deflated(bytes(1000)), bits=12) + frame(b"next")], 300) == bytes(1000) + b"next"


def test_what_comes_behind_the_end_is_not_read() -> None:
    rig = Rig()
    assert rig.feed([frame(b"last") + frame(b"\x03\xe8", CLOSE) + frame(b"more")]) == b"last"
    assert rig.over
    rig.end("Client Closed")
    assert [each.shown for each in split(rig.said)[0]] == [r"bits=8 opcode=8 b'\x03\xe8'"]


@pytest.mark.parametrize(
    ("reason", "payload"),
    [("Stale Connection", b"\x03\xe9Stale Connection"), ("Authentication Failure", b"\x03\xf0Authentication Failure"),
     ("Something Else", b"\x03\xf3Something Else"), ("Slow Consumer (Pending Bytes)", None), ("", None)],
)  # fmt: skip
def test_last_words(reason: str, payload: bytes | None) -> None:
    rig = Rig()
    rig.put(b"data")
    rig.end(reason)
    frames = split(rig.said)[0]
    assert [each.payload for each in frames] == [b"data"] + ([payload] if payload is not None else [])


@pytest.mark.parametrize("size", [0, 1, 64, 65, 125, 126, 4096, 4097, 65_535, 65_536])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("browser", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_what_leaves(size: int, compress: bool, browser: bool, whole: bool) -> None:
    data = os.urandom(size // 2) + bytes(size - size // 2)
    rig = Rig(compress=compress, browser=browser, whole=whole)
    assert rig.put(data) == size
    frames, rest = split(rig.said)
    assert rest == b""
    messages, packed = [], False
    for each in frames:
        if each.opcode == BINARY:
            messages.append(b"")
            packed = bool(each.bits & 4)
        messages[-1] += each.payload
        if each.bits & 8 and packed:
            messages[-1] = zlib.decompressobj(-15).decompress(messages[-1] + b"\x00\x00\xff\xff")
        if browser and not (packed and whole):
            assert len(each.payload) <= limits.WS_BROWSER_FRAME_BYTES
    assert b"".join(messages) == data
    assert packed == (compress and size > 64)
    if not browser:
        assert len(frames) == 1


def test_bytes_are_offered_again_until_their_frame_has_left() -> None:
    rig = Rig()
    rig.fill(True)
    assert rig.put(b"abc") == 0
    assert rig.put(b"abcdef") == 0
    rig.fill(False)
    assert rig.put(b"abcdef") == 3
    assert rig.put(b"def") == 3
    assert [each.payload for each in split(rig.said)[0]] == [b"abc", b"def"]
