"""Compressed segments: what is packed when, that they read as before, damage, erasures, and what interrupts them."""

from __future__ import annotations

import errno
import json
import logging
import os
import random
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from file_rig import START_NS, Rig, bodies, rig
from millpond.store.api import RecordingOwner
from millpond.store.file_store import FileStore
from millpond.store.packed import plain_bytes
from millpond.store.scan import scan_bytes, scan_segment

from millpond.base import limits

SEGMENT = 1 << 18
"""Four blocks."""
BLOCK = 1 << 16
STORES = Path(__file__).parents[2] / "data" / "stores"


def body(number: int, size: int = 700) -> bytes:
    """As JSON often is: mostly the same names, and something of its own."""
    text = b'{"order": %d, "customer": "customer-%d", "state": "open", "items": [' % (number, number * 7919 % 1000)
    return (text + b'{"sku": "%08x", "count": 1}, ' % (number * 2654435761 % 2**32) * 40)[:size]


def fill(store: FileStore, r: Rig, messages: int, size: int = 700) -> None:
    for _ in range(messages):
        number = store.state_dict()["last_seq"] + 1
        store.append_message(b"orders.%d" % (number % 10), body(number, size), ts_ns=START_NS + number)
        if number % 50 == 0:
            r.turn()
    r.turn()


def pack(r: Rig) -> None:
    """Until nothing is left to pack: one more write proves what came before it."""
    assert r.store is not None
    r.store.append_message(b"proof", b"")
    r.turn()
    r.cache.packer.drain()


def packed_store(root: Path, messages: int = 1500, stopped: bool = True) -> dict[int, bytes]:
    """A stopped store whose sealed segments are packed, and what is in it."""
    root.mkdir()
    with rig(root) as r:
        store = r.open(segment_bytes=SEGMENT)
        store.compress(True)
        fill(store, r, messages)
        pack(r)
        assert store.figures()["packed"] == store.figures()["segments"] - 1 >= 2
        return bodies(store)


def packed_paths(directory: Path) -> list[Path]:
    """Those files that are packed, by generation."""
    scans = {path: scan_segment(path) for path in directory.glob("log.*")}
    found = [path for path, scan in scans.items() if scan.head is not None and scan.head["version"] == 2]
    return sorted(found, key=lambda path: scans[path].head["generation"])


@pytest.fixture
def quiet():
    logging.getLogger("millpond").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("millpond").setLevel(logging.NOTSET)


# --- what is packed, and that nobody sees it ---


def test_sealed_segments_become_smaller_and_read_as_before(tmp_path):
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=SEGMENT)
        store.compress(True)
        fill(store, r, 1500)
        before, state = bodies(store), store.state_dict()
        pack(r)
        figures = store.figures()
        assert figures["packed"] == figures["segments"] - 1
        assert figures["disk_bytes"] < figures["log_bytes"] / 2
        assert store.state_dict()["bytes"] == state["bytes"] + store.size_of(5, 0, 0), "sizes are those of messages"
        assert {seq: text for seq, text in bodies(store).items() if seq <= 1500} == before
        for _ in range(2):
            store = r.reopen(SEGMENT)
            assert store.damage == [] and {seq: text for seq, text in bodies(store).items() if seq <= 1500} == before
            assert store.figures()["packed"] == figures["packed"]
            fill(store, r, 10)


def test_both_forms_stand_side_by_side_and_change_while_it_runs(tmp_path):
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=SEGMENT)
        fill(store, r, 1200)
        pack(r)
        assert store.figures()["packed"] == 0
        store.compress(True)
        r.cache.packer.drain()
        first = store.figures()["packed"]
        assert first == store.figures()["segments"] - 1
        store.compress(False)
        fill(store, r, 1200)
        pack(r)
        figures = store.figures()
        assert figures["packed"] == first < figures["segments"] - 2
        expected = bodies(store)
        store = r.reopen(SEGMENT)
        assert bodies(store) == expected
        store.compress(True)
        fill(store, r, 1)
        pack(r)
        assert store.figures()["packed"] == store.figures()["segments"] - 1


def test_what_is_not_proven_is_not_packed(tmp_path):
    """Damage to the newest write may be a torn write: of that nothing is in a packed file."""
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=SEGMENT)
        store.compress(True)
        for number in range(900):                  # one write over three segments
            store.append_message(b"a", body(number))
        r.turn()
        r.cache.packer.drain()
        assert store.figures()["segments"] > 2 and store.figures()["packed"] == 0
        pack(r)
        assert store.figures()["packed"] == store.figures()["segments"] - 1


def test_what_does_not_become_smaller_stays_plain(tmp_path):
    noise = random.Random(3)
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=SEGMENT)
        store.compress(True)
        for _ in range(1000):
            store.append_message(b"a", noise.randbytes(700))
        r.turn()
        pack(r)
        assert store.figures()["segments"] > 2 and store.figures()["packed"] == 0
        assert r.cache.packer.jobs == 0
        assert not (tmp_path / "repacked").exists()


def test_what_is_about_to_go_stays_plain(tmp_path):
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=SEGMENT)
        store.configure(100)
        store.compress(True)
        fill(store, r, 2000)
        pack(r)
        assert store.figures()["packed"] == 0 and r.cache.packer.jobs == 0


@pytest.mark.parametrize("size", [5, 3000, 70_000, 1_000_000])
@pytest.mark.parametrize("cache_bytes", [0, 1 << 22])
def test_messages_of_every_size_are_read_across_blocks(tmp_path, size, cache_bytes):
    with rig(tmp_path, cache_bytes=cache_bytes) as r:
        store = r.open(segment_bytes=SEGMENT)
        store.compress(True)
        expected = {}
        for number in range(1, 1 + max(12, 1_000_000 // (size + 40))):
            expected[number] = (body(number) * (size // 700 + 1))[:size]
            store.append_message(b"a.%d" % number, expected[number])
        r.turn()
        pack(r)
        assert store.figures()["packed"]
        store = r.reopen(SEGMENT)
        order = list(expected)
        random.Random(1).shuffle(order)
        for seq in order[:200] + list(expected)[:400]:
            assert store.load_message(seq)["body"] == expected[seq]


def test_a_cold_block_is_read_by_the_worker(tmp_path):
    expected = packed_store(tmp_path / "whole")
    with rig(tmp_path) as r:
        store = r.open(tmp_path / "whole", SEGMENT)
        for path in packed_paths(tmp_path / "whole"):
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        cold = 0
        for seq in range(1, 1000, 90):
            message = store.load_message(seq, False)
            if message == "cold":                  # not in the page cache either
                cold += 1
                r.cache.drain()
                message = store.load_message(seq, False)
            assert message["body"] == expected[seq]
        assert cold <= r.cache.cold_reads
        if os.uname().sysname == "Linux":
            assert cold


def test_packed_segments_leave_the_log_and_are_not_used_again(tmp_path):
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=SEGMENT)
        store.compress(True)
        seen = set()
        for _ in range(12):
            fill(store, r, 1000)
            pack(r)
            store.purge_messages([], store.state_dict()["last_seq"] - 300, 0)
            r.turn()
            r.turn()
            seen.update(path.name for path in r.segments())
        assert len(seen) < 12, "names are used again"
        expected = bodies(store)
        assert bodies(r.reopen(SEGMENT)) == expected and r.store.damage == []


def test_compaction_moves_what_lives_out_of_packed_segments(tmp_path):
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=1 << 15)
        store.compress(True)
        fill(store, r, 2000, 200)
        pack(r)
        expected = {seq: text for seq, text in bodies(store).items() if seq % 3 == 0 and seq <= 2000}
        for seq in range(1, 2001):
            if seq % 3:
                store.remove_message(seq)
            if seq % 20 == 0:
                r.turn()
        for _ in range(60):
            r.turn()
            r.cache.drain()
            r.cache.packer.drain()
        assert store.figures()["copied_bytes"] > 50_000
        assert {seq: text for seq, text in bodies(store).items() if seq <= 2000} == expected
        store = r.reopen(1 << 15)
        assert store.damage == [] and {seq: text for seq, text in bodies(store).items() if seq <= 2000} == expected


# --- damage ---


def blocks(path: Path) -> list[tuple[int, int]]:
    """(where a block begins, what part of the plain segment it is), from the file alone."""
    data, at, found = path.read_bytes(), 128, []
    while at + 24 <= len(data):
        length, plain_at = (int.from_bytes(data[at + n : at + n + 4], "little") for n in (4, 8))
        found.append((at, plain_at))
        at += (24 + length + 7) // 8 * 8
    return found


def touching(path: Path, plain_at: int) -> set[int]:
    """The messages of which a part lies in that block."""
    return {record.seq for record in scan_segment(path).records
            if record.offset < plain_at + BLOCK and record.offset + record.length > plain_at}  # fmt: skip


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


# --- erasures ---


def holds(directory: Path, text: bytes) -> bool:
    return any(text in plain_bytes(path.read_bytes()) or text in path.read_bytes() for path in directory.iterdir())


def settled(r: Rig) -> None:
    """Everything that waits for a worker is done."""
    for _ in range(6):
        r.turn()
        r.cache.drain()
        r.cache.packer.drain()


def test_an_erased_message_is_in_no_file_and_the_others_are(tmp_path):
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=SEGMENT)
        store.compress(True)
        fill(store, r, 700)
        secret = store.append_message(b"secret", b"the word is swordfish" * 20)
        fill(store, r, 900)
        pack(r)
        packed = store.figures()["packed"]
        assert holds(tmp_path, b"swordfish")
        expected = bodies(store)
        store.remove_message(secret, True)
        settled(r)
        assert not holds(tmp_path, b"swordfish")
        del expected[secret]
        assert bodies(store) == expected
        assert store.figures()["packed"] == packed - 1, "plain, for the time being"
        fill(store, r, 500)
        pack(r)
        assert store.figures()["packed"] == store.figures()["segments"] - 1
        assert not holds(tmp_path, b"swordfish")
        store = r.reopen(SEGMENT)
        assert store.damage == [] and bodies(store).items() >= expected.items()


def test_an_erasure_in_a_packed_segment_is_done_after_a_crash(tmp_path):
    with rig(tmp_path / "run") as r:
        (tmp_path / "run").mkdir()
        store = r.open(segment_bytes=SEGMENT)
        store.compress(True)
        secret = store.append_message(b"secret", b"swordfish" * 20)
        fill(store, r, 900)
        pack(r)
        expected = bodies(store)
        del expected[secret]
        store.remove_message(secret, True)
        r.turn()                                   # it is logged, and the worker may be at it
        store = r.crash(tmp_path / "crash", SEGMENT)
        assert bodies(store).items() >= expected.items() and not store.has(secret)
        settled(r)
        assert not holds(tmp_path / "crash", b"swordfish")
        assert store.damage == [] and bodies(store) == expected


def test_what_is_erased_while_its_segment_is_being_packed_does_not_come_back(tmp_path):
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=SEGMENT)
        secret = store.append_message(b"secret", b"swordfish" * 20)
        fill(store, r, 250)
        while store.figures()["segments"] < 2:
            fill(store, r, 10)
        fill(store, r, 1)
        store.compress(True)                       # the worker has it; nobody takes its answer yet
        assert (tmp_path / "repacked").exists()
        store.remove_message(secret, True)
        r.turn()
        r.turn()
        r.turn()
        r.cache.packer.drain()
        assert not holds(tmp_path, b"swordfish") and not (tmp_path / "repacked").exists()
        assert not store.has(secret)
        settled(r)
        fill(store, r, 400)
        pack(r)
        assert store.figures()["packed"] == store.figures()["segments"] - 1
        assert not holds(tmp_path, b"swordfish")


# --- interruptions ---


def test_what_a_kill_leaves_under_the_other_name_is_removed(tmp_path):
    expected = packed_store(tmp_path / "whole")
    path = packed_paths(tmp_path / "whole")[0]
    (tmp_path / "whole" / "repacked").write_bytes(path.read_bytes()[:5000])
    with rig(tmp_path / "whole") as r:
        assert bodies(r.open(segment_bytes=SEGMENT)) == expected and r.store.damage == []
        assert not (tmp_path / "whole" / "repacked").exists()


@pytest.mark.parametrize("how", ["close", "destroy"])
def test_a_store_that_ends_while_the_worker_runs_leaves_nothing(tmp_path, how):
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=SEGMENT)
        fill(store, r, 900)
        expected = bodies(store)
        store.compress(True)
        assert (tmp_path / "repacked").exists()
        if how == "close":
            store.close()
        else:
            store.destroy()
        r.store = None
        assert not (tmp_path / "repacked").exists()
        r.cache.packer.drain()
        if how == "close":
            assert bodies(r.open(segment_bytes=SEGMENT)) == expected


def test_several_stores_take_turns(tmp_path):
    with rig(tmp_path / "a") as r:
        stores = []
        for name in "abc":
            (tmp_path / name).mkdir()
            stores.append(FileStore(str(tmp_path / name), r.committer, r.cache, RecordingOwner(), SEGMENT))
            stores[-1].compress(True)
        for number in range(1500):
            for store in stores:
                store.append_message(b"a", body(number))
            if number % 50 == 0:
                r.turn()
        for store in stores:
            store.append_message(b"proof", b"")
        r.turn()
        stores[1].destroy()
        for store in stores[::2]:
            store.append_message(b"proof", b"")
        r.turn()
        r.cache.packer.drain()
        for store in stores[::2]:
            assert store.figures()["packed"] == store.figures()["segments"] - 1
            assert store.check() == []
            store.close()


def test_a_disk_that_refuses_leaves_the_segment_as_it_is(tmp_path, caplog):
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=SEGMENT)
        (tmp_path / "repacked").mkdir()            # no file of that name can be made
        fill(store, r, 900)
        store.compress(True)
        r.cache.packer.drain()
        assert store.figures()["packed"] == 0 and "stays as it is for now" in caplog.text
        (tmp_path / "repacked").rmdir()
        pack(r)
        assert store.figures()["packed"] == 0, "not again at once"
        expected = bodies(store)
        store = r.reopen(SEGMENT)
        store.compress(True)
        pack(r)
        assert store.figures()["packed"] and bodies(store).items() >= expected.items()


def test_no_room_is_taken_from_a_disk_that_is_nearly_full(tmp_path, caplog, monkeypatch):
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=SEGMENT)
        fill(store, r, 900)
        full = os.statvfs_result((4096, 4096, 1 << 20, 100, 100, 1, 1, 1, 0, 255))
        monkeypatch.setattr(os, "statvfs", lambda place: full)
        store.compress(True)
        r.cache.packer.drain()
        assert store.figures()["packed"] == 0
        assert f"less than {limits.REPACK_ROOM_BYTES >> 20} MiB left" in caplog.text


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """A disk that takes no more than that of each file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_fails_while_packing_changes_nothing(tmp_path, caplog):
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=SEGMENT)
        fill(store, r, 900)
        expected = bodies(store)
        with files_at_most(20_000):
            store.compress(True)
            r.cache.packer.drain()
        assert f"cannot be compressed, and stays as it is: {os.strerror(errno.EFBIG)}" in caplog.text
        assert store.figures()["packed"] == 0 and not (tmp_path / "repacked").exists()
        assert bodies(store) == expected


def test_an_erasure_without_room_to_unpack_is_done_after_a_restart(tmp_path, caplog):
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=SEGMENT)
        store.compress(True)
        secret = store.append_message(b"secret", b"swordfish" * 20)
        fill(store, r, 900)
        pack(r)
        expected = bodies(store)
        del expected[secret]
        store.remove_message(secret, True)
        r.turn()
        with files_at_most(100_000):
            settled(r)
        assert "stays as it is for now" in caplog.text and holds(tmp_path, b"swordfish")
        assert bodies(store) == expected and not (tmp_path / "repacked").exists()
        store = r.reopen(SEGMENT)
        settled(r)
        assert not holds(tmp_path, b"swordfish") and bodies(store) == expected


# --- formats ---


@pytest.mark.parametrize("version", sorted(path.name for path in STORES.iterdir() if path.is_dir()))
def test_stores_of_earlier_formats_are_read(tmp_path, version):
    shutil.copytree(STORES / version, tmp_path / "slot")
    expected = json.loads((STORES / version / "expected.json").read_text())
    with rig(tmp_path) as r:
        store = r.open(tmp_path / "slot")
        assert store.damage == [] and store.lost == 0
        assert {str(seq): text.decode() for seq, text in bodies(store).items()} == {
            seq: text for seq, (_, text) in expected["messages"].items()
        }
        assert {str(seq): store.load_message(seq)["subject"].decode() for seq in bodies(store)} == {
            seq: subject for seq, (subject, _) in expected["messages"].items()
        }
        store.compress(True)
        assert store.append_message(b"new", b"") == expected["last_seq"] + 1
        r.turn()
        r.cache.packer.drain()
        assert len(bodies(store)) == len(expected["messages"]) + 1


def test_a_packed_file_is_what_the_format_says(tmp_path):
    packed_store(tmp_path / "whole")
    path = packed_paths(tmp_path / "whole")[0]
    data = path.read_bytes()
    scan = scan_bytes(data)
    assert data[:4] == b"MPSG" and data[4:6] == b"\x02\x00" and data[:64] == data[64:128]
    places = blocks(path)
    assert [plain_at for _, plain_at in places] == list(range(0, scan.end, BLOCK))
    plain = plain_bytes(data)
    assert len(plain) == scan.end and scan.size == len(data) < len(plain) / 2
    assert scan_bytes(plain).records == scan.records and scan_bytes(plain).head["version"] == 1
    for begin, plain_at in places:
        _, length, at, held, end, coding = (int.from_bytes(data[begin + n : begin + n + 4], "little")
                                            for n in range(0, 24, 4))  # fmt: skip
        assert at == plain_at and held == min(BLOCK, end - at) and end == scan.end and coding == 1 and length < held
