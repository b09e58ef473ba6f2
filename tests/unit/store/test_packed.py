"""Compressed segments: what is packed when, that they read as before, damage, erasures, and what interrupts them."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from file_rig import Rig, bodies, rig
from millpond.store.api import RecordingOwner
from millpond.store.file_store import FileStore
from millpond.store.packed import plain_bytes
from millpond.store.scan import scan_bytes
from packed_rig import BLOCK, SEGMENT, blocks, body, fill, pack, packed_paths, packed_store

from millpond.base import limits

STORES = Path(__file__).parents[2] / "data" / "stores"


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
