"""Every bit of a segment: no flip is taken for anything but the loss of its own record."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from millpond.testing.bit_flips import flip_every_bit
from millpond.testing.opened_flips import OpenedFlips

from . import every_bit
from .campaign import Campaign, plain_segments
from .rooms import SEGMENT_BYTES


def test_every_bit_of_every_plain_segment(tmp_path: Path) -> None:
    Campaign(tmp_path, seed=11, stop=True)
    bits = 0
    for path in plain_segments(tmp_path):
        counts, wrong = flip_every_bit(path.read_bytes())
        assert wrong == [], path
        assert counts["lost"] > counts["noticed"] + counts["harmless"]
        bits += sum(counts.values())
    assert bits > 1_000_000


def test_a_flip_that_is_taken_for_sound_is_seen(tmp_path: Path) -> None:
    """The check can fail: where a record is damaged already, the flip that mends it is none that damages one."""
    Campaign(tmp_path, seed=11, stop=True)
    data = bytearray(plain_segments(tmp_path)[0].read_bytes())
    data[2000] ^= 1 << 5
    assert (2000, 5) in flip_every_bit(bytes(data))[1]


def test_some_bits_of_everything_opened_and_read(tmp_path: Path) -> None:
    """`make bits` flips all of them."""
    flips, counts, wrong, _ = every_bit.run(tmp_path, seed=5, scale=0.4, bits=5_000_000, jobs=2, step=1009)
    assert wrong == []
    assert flips == sum(counts.values()) > 1000
    assert counts["log: 1 message lost"] > flips // 10 and counts["log: harmless"] > 10


def test_a_message_that_is_another_one_is_seen(tmp_path: Path) -> None:
    """The comparison can fail: here the truth is another one than the store's."""
    campaign = Campaign(tmp_path, seed=3, stop=True)
    truth, slot = campaign.truths["PLAIN"], tmp_path / "late" / "jetstream" / "$G" / "streams" / "0000"
    seq = max(truth.live)
    name = sorted(path.name for path in slot.glob("log.*"))[0]

    def found(ever: dict[int, tuple[int, bytes, bytes, bytes]], live: set[int], last: int) -> str:
        flips = OpenedFlips(str(slot), ever, live, last, SEGMENT_BYTES)
        assert flips.run(name, 0, 1) == 1          # of a head: there is another copy of it
        flips.close()
        return " ".join(flips.wrong)

    time, subject, headers, body = truth.ever[seq]
    assert found(truth.ever, truth.live, truth.last_seq) == ""
    assert f"message {seq} is another one" in found(
        {**truth.ever, seq: (time, subject, headers, body + b"x")}, truth.live, truth.last_seq
    )
    assert "nobody says so" in found(truth.ever, {*truth.live, *(set(truth.ever) - truth.live)}, truth.last_seq)
    assert "was issued" in found(truth.ever, truth.live, truth.last_seq + 1)


@pytest.mark.parametrize("stream", ["PLAIN", "WORK", "SMALL"])
def test_what_a_store_makes_of_one_record_less(tmp_path: Path, stream: str) -> None:
    """For each record one bit, by opening the store: the record is lost, and said to be; nothing else is."""
    campaign = Campaign(tmp_path, seed=11, stop=True)
    assert campaign.open_with_each_record_damaged(stream, random.Random(1)) > 10
    assert campaign.violations == []
