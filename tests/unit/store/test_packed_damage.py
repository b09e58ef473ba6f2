"""Packed segments: what damage costs, and one flipped bit does not."""

from __future__ import annotations

import random
import shutil

import pytest
from file_rig import bodies, rig
from millpond.store.packed import plain_bytes
from millpond.store.scan import scan_segment
from packed_rig import BLOCK, SEGMENT, blocks, fill, pack, packed_paths, packed_store, touching


@pytest.mark.parametrize("part", ["crc", "length", "at", "first", "middle", "last"])
def test_damage_costs_its_own_block_and_is_named(tmp_path, quiet, part):
    expected = packed_store(tmp_path / "whole")
    path = packed_paths(tmp_path / "whole")[1]
    for number, (begin, plain_at) in enumerate(blocks(path)):
        data = bytearray(path.read_bytes())
        end = blocks(path)[number + 1][0] if number + 1 < len(blocks(path)) else len(data)
        at = {"crc": begin, "length": begin + 5, "at": begin + 10, "first": begin + 24, "middle": (begin + end) // 2,
              "last": end - 9}[part]  # fmt: skip
        hit = touching(path, plain_at)
        damaged = tmp_path / f"damaged{number}"
        shutil.copytree(tmp_path / "whole", damaged)
        data[at] ^= 0x41
        (damaged / path.name).write_bytes(data)
        with rig(damaged) as r:
            store = r.open(segment_bytes=SEGMENT)
            found = bodies(store)
            lost = set(expected) - set(found)
            assert found.items() <= expected.items(), "never anything else than what was written"
            assert len(lost) > 50 and lost <= hit
            assert store.lost == len(lost)
            assert any(f"messages {min(lost)} to {max(lost)} are lost" in text for text in store.damage)
            assert store.check() == []


def test_no_flipped_bit_of_a_packed_file_is_ever_delivered(tmp_path, quiet):
    expected = packed_store(tmp_path / "whole", 1000)
    path = packed_paths(tmp_path / "whole")[0]
    image, rng = path.read_bytes(), random.Random(5)
    for at in [*range(0, 160, 7), *(rng.randrange(len(image)) for _ in range(80))]:
        flipped = bytearray(image)
        flipped[at] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        with rig(tmp_path / "whole") as r:
            store = r.open(segment_bytes=SEGMENT)
            found = bodies(store)
            assert found.items() <= expected.items()
            assert store.lost == len(expected) - len(found)
            if at < 128:
                assert found == expected, "the head is there twice"


def test_a_flipped_bit_of_a_block_is_mended(tmp_path, quiet):
    """Found by search: all but those that say where the block belongs and how long it is."""
    packed_store(tmp_path / "whole", 1000)
    image, rng = packed_paths(tmp_path / "whole")[0].read_bytes(), random.Random(9)
    plain = plain_bytes(image)
    begin, _ = blocks(packed_paths(tmp_path / "whole")[0])[1]
    for at in [*range(begin, begin + 24), *(rng.randrange(begin + 24, begin + 2000) for _ in range(40))]:
        flipped = bytearray(image)
        flipped[at] ^= 1 << rng.randrange(8)
        found = plain_bytes(bytes(flipped))
        assert found == plain or (begin + 4 <= at < begin + 12 and b"\xff" * BLOCK in found)


def test_a_flipped_bit_loses_nothing_and_two_are_not_guessed_at(tmp_path, quiet):
    (tmp_path / "whole").mkdir()
    with rig(tmp_path / "whole", summaries=True) as r:
        store = r.open(segment_bytes=SEGMENT)
        store.compress(True)
        fill(store, r, 1000)
        pack(r)
        expected = bodies(store)
    path, rng = packed_paths(tmp_path / "whole")[0], random.Random(3)
    image, (begin, _) = path.read_bytes(), blocks(path)[1]
    for at in [*range(begin, begin + 24), *(rng.randrange(begin + 24, begin + 2000) for _ in range(30))]:
        for flips in (1, 2):
            shutil.rmtree(tmp_path / "damaged", ignore_errors=True)
            shutil.copytree(tmp_path / "whole", tmp_path / "damaged")
            flipped = bytearray(image)
            for bit in rng.sample(range(8), flips):
                flipped[at] ^= 1 << bit
            (tmp_path / "damaged" / path.name).write_bytes(flipped)
            with rig(tmp_path / "damaged", summaries=True) as r:
                store = r.open(segment_bytes=SEGMENT)
                found = bodies(store)
                assert (found == expected and store.lost == 0) or (flips == 2 and found.items() < expected.items())
                assert store.lost == len(expected) - len(found)


def test_damage_while_it_runs_is_found_by_the_reader(tmp_path, quiet):
    with rig(tmp_path, cache_bytes=0) as r:
        store = r.open(segment_bytes=SEGMENT)
        store.compress(True)
        fill(store, r, 1500)
        pack(r)
        expected = bodies(store)
        path = packed_paths(tmp_path)[0]
        begin, plain_at = blocks(path)[1]
        hit = touching(path, plain_at)
        with open(path, "r+b") as file:
            file.seek(begin + 300)
            file.write(b"damage")
        found = bodies(store)
        lost = set(expected) - set(found)
        assert found.items() <= expected.items() and lost == hit
        assert store.lost == len(lost) and sorted(lost) == [event[1] for event in store.owner.told
                                                            if event[0] == "removed"]  # fmt: skip


@pytest.mark.parametrize("left", [0, 100, 128, 140, 9000])
def test_a_packed_file_cut_short_loses_its_end_only(tmp_path, quiet, left):
    expected = packed_store(tmp_path / "whole")
    path = packed_paths(tmp_path / "whole")[1]
    inside = {record.seq for record in scan_segment(path).records}
    with open(path, "r+b") as file:
        file.truncate(left)
    with rig(tmp_path / "whole") as r:
        store = r.open(segment_bytes=SEGMENT)
        lost = set(expected) - set(bodies(store))
        assert lost and lost <= inside and store.lost == len(lost) and store.damage
