"""Every bit of a segment: no flip is taken for anything but the loss of its own record."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from millpond.testing.bit_flips import flip_every_bit

from .campaign import Campaign, plain_segments


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


@pytest.mark.parametrize("stream", ["PLAIN", "WORK", "SMALL"])
def test_what_a_store_makes_of_one_record_less(tmp_path: Path, stream: str) -> None:
    """For each record one bit, by opening the store: the record is lost, and said to be; nothing else is."""
    campaign = Campaign(tmp_path, seed=11, stop=True)
    assert campaign.open_with_each_record_damaged(stream, random.Random(1)) > 10
    assert campaign.violations == []
