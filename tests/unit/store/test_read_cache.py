"""The read cache where nothing is in the page cache: what is read ahead, and what is not."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from millpond.testing.faulty_disk import FaultyDisk
from tests.unit.store.file_rig import Rig, rig

from millpond.base import limits

SEGMENT = 2**20
BODY = b"x" * 1000
MESSAGES = 5 * SEGMENT // 1024


@pytest.fixture
def cold(tmp_path: Path) -> Iterator[Rig]:
    """Some segments on a cold disk; the cache is empty."""
    disk = FaultyDisk()
    with rig(tmp_path, disk=disk) as r:
        store = r.open(segment_bytes=SEGMENT)
        for _ in range(MESSAGES):
            store.append_message(b"a", BODY)
        r.reopen(SEGMENT)
        disk.cold = True
        r.cache.resize(0)
        r.cache.resize(limits.READ_CACHE_BYTES)
        yield r


def read(r: Rig, seq: int) -> int:
    """How often it was cold before it came."""
    assert r.store is not None
    waits = 0
    while (found := r.store.load_message(seq, False)) == "cold":
        waits += 1
        r.cache.drain()
    assert found["seq"] == seq
    assert found["body"] == BODY
    return waits


def test_who_reads_on_waits_for_the_first_window_of_a_file(cold: Rig) -> None:
    waits = []
    for seq in range(1, MESSAGES + 1):
        waits += [seq] * read(cold, seq)
        cold.cache.drain()                           # what is read ahead has time to come
    assert len(waits) <= len(cold.segments())
    assert cold.cache.cold_reads == len(waits) + cold.cache.ahead_reads
    windows = len(cold.segments()) * SEGMENT // limits.READ_WINDOW_BYTES
    assert cold.cache.cold_reads <= windows, "nothing is read twice"
    assert cold.cache.bytes <= limits.READ_CACHE_BYTES


def test_who_jumps_about_has_nothing_read_ahead(cold: Rig) -> None:
    for seq in (MESSAGES // 2, MESSAGES // 3, MESSAGES - 400, MESSAGES // 4):
        assert read(cold, seq) == 1
    assert cold.cache.ahead_reads == 0


def test_the_first_look_at_a_window_reads_the_next_few(cold: Rig) -> None:
    assert read(cold, 1) == 1
    assert cold.cache.ahead_reads == limits.READ_AHEAD_WINDOWS
    assert cold.cache.cold_reads == 1 + limits.READ_AHEAD_WINDOWS


def test_what_is_being_read_ahead_is_waited_for(cold: Rig) -> None:
    """Nobody asks the disk again, and whoever comes to it is told."""
    assert cold.store is not None
    assert read(cold, 1) == 1
    told = len(cold.store.owner.told)
    seq = 2 * limits.READ_WINDOW_BYTES // 1024
    if cold.store.load_message(seq, False) == "cold":
        cold.cache.drain()
        assert ("warm",) in cold.store.owner.told[told:]
        assert cold.store.load_message(seq, False)["seq"] == seq
    assert cold.cache.cold_reads - cold.cache.ahead_reads == 1


def test_a_cache_that_is_too_small_to_read_ahead_still_reads(cold: Rig) -> None:
    cold.cache.resize(limits.READ_WINDOW_BYTES)
    for seq in range(1, MESSAGES + 1, 7):
        read(cold, seq)
