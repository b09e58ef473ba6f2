"""StoreDirectory: one server at a time; slots are few and used again."""

import errno
import os
from itertools import pairwise
from random import Random

import pytest
from millpond.store.disk import Disk
from millpond.testing.disk_image import SURVIVALS, DiskImage
from millpond.testing.simulated_disk import SimulatedDisk

from millpond.base import limits
from millpond.base.errors import StoreInUseError
from millpond.store.directory import (
    MARKS,
    StoreDirectory,
    is_unfinished,
    mark_released,
    remove_files,
    reveal,
    sync_directory,
)


def test_a_second_server_is_refused_and_told_who_holds_it(tmp_path):
    first = StoreDirectory(tmp_path)
    with pytest.raises(StoreInUseError) as caught:
        StoreDirectory(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert str(os.getpid()) in str(caught.value)
    first.close()
    StoreDirectory(tmp_path).close()


def test_slots_are_recycled(tmp_path):
    directory = StoreDirectory(tmp_path, "A/../B")
    one, two = directory.create_slot(), directory.create_slot()
    assert (one.name, two.name) == ("0000", "0001")
    assert tmp_path in one.parents and ".." not in one.parts
    (one / "stream.0").write_bytes(b"x")
    (two / "stream.0").write_bytes(b"x")
    (one / "seg-0000").write_bytes(b"y")
    for slot in (one, two):
        mark_released(slot)
        directory.finish_release(slot)
    assert directory.slots() == []
    assert (directory.create_slot(), directory.create_slot()) == (one, two), "the lowest first"
    assert {path.name for path in directory.streams.iterdir()} == {"0000", "0001"}
    directory.close()


def test_names_are_certain_that_another_server_had_no_time_to_sync(tmp_path):
    """One that was killed between making a directory and syncing its name."""
    synced = []

    class Noted(Disk):
        def open_directory(self, path):
            synced.append(path)
            return Disk.open_directory(self, path)

    (tmp_path / "jetstream" / "$G" / "streams").mkdir(parents=True)
    StoreDirectory(tmp_path, disk=Noted()).close()
    base = tmp_path / "jetstream"
    assert synced[:3] == [str(tmp_path), str(base), str(base / "$G")]


def test_a_directory_whose_name_cannot_be_synced_is_not_left_there(tmp_path):
    """A sync that succeeds later would say nothing of it."""

    class Failing(Disk):
        def sync(self, fd):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(OSError, match="Input/output"):
        StoreDirectory(tmp_path, disk=Failing())
    assert list(tmp_path.iterdir()) == []


def test_a_mark_that_is_found_is_made_anew_before_anything_is_removed(tmp_path):
    """A sync of its name may have failed."""
    calls = []

    class Noted(Disk):
        def move(self, old, new):
            calls.append(("move", old, new))
            return Disk.move(self, old, new)

        def remove(self, path):
            calls.append(("remove", path))
            return Disk.remove(self, path)

    for mark, other in (MARKS, reversed(MARKS)):
        slot = tmp_path / "jetstream" / "$G" / "streams" / "0000"
        slot.mkdir(parents=True, exist_ok=True)
        for name in (mark, "stream.0"):
            (slot / name).touch()
        calls.clear()
        StoreDirectory(tmp_path, disk=Noted()).close()
        assert calls[:3] == [
            ("move", str(slot / mark), str(slot / other)), ("remove", str(slot / "stream.1")),
            ("remove", str(slot / "stream.0")),
        ]  # fmt: skip
        assert not slot.exists()


def test_what_a_mark_was_called_before_does_not_come_back(tmp_path):
    """The sync behind a deletion has failed, the next start finishes the deletion, and then the power goes."""
    disk = SimulatedDisk(str(tmp_path))
    directory = StoreDirectory(tmp_path, disk=disk)
    slot = directory.create_slot()
    for name in ("stream.0", "stream.1"):
        disk.close(disk.open_path(str(slot / name)))
    sync_directory(slot.parent, disk)
    sync_directory(slot, disk)
    mark_released(slot, disk)
    disk.fault = lambda kind: errno.EIO if kind == "sync" else 0
    with pytest.raises(OSError):
        sync_directory(slot, disk)
    disk.fault = None
    directory.close()
    StoreDirectory(tmp_path, disk=disk).close()
    place = str(slot).removeprefix(str(tmp_path))
    for seed in range(20):
        image = DiskImage({"": None}, {}, Random(seed))
        for step in disk.trace:
            image.feed(step)
        for survival in SURVIVALS:
            left = image.image(Random(seed), survival)
            names = [path.removeprefix(place) for path in left if path.startswith(place + "/")]
            assert set(names) <= {f"/{mark}" for mark in MARKS}


def test_the_name_of_a_slot_that_is_used_again_is_made_anew(tmp_path):
    """A sync of it may have failed: one that succeeds later covers what is done from then on."""

    calls = []

    class Noted(Disk):
        def remove_directory(self, path):
            calls.append(("remove", path))
            return Disk.remove_directory(self, path)

        def make_directory(self, path):
            calls.append(("make", path))
            return Disk.make_directory(self, path)

    directory = StoreDirectory(tmp_path, disk=Noted())
    slot = directory.create_slot()
    directory.free(slot)
    calls.clear()
    assert directory.create_slot() == slot
    assert calls == [("remove", str(slot)), ("make", str(slot))] and slot.is_dir()
    directory.close()


def test_a_release_that_was_cut_short_is_finished(tmp_path):
    directory = StoreDirectory(tmp_path)
    slot = directory.create_slot()
    (slot / "stream.0").write_bytes(b"x")
    (slot / "released").write_bytes(b"")
    directory.close()
    directory = StoreDirectory(tmp_path)
    assert directory.slots() == [] and not slot.exists() and directory.create_slot() == slot
    directory.close()


def test_a_mark_takes_the_place_of_a_file(tmp_path):
    """A full disk may have no room for a new name."""
    (tmp_path / "stream.0").write_bytes(b"x")
    (tmp_path / "stream.1").write_bytes(b"x")
    mark_released(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"stream.0", "released"}
    mark_released(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"stream.0", "released"}


def test_a_slot_is_unfinished_while_nothing_was_written_beside_the_first_copy_of_its_catalog(tmp_path):
    assert is_unfinished(tmp_path)
    (tmp_path / "stream.0").write_bytes(b"torn")
    (tmp_path / "stream.1").write_bytes(b"")
    (tmp_path / "consumers.0").write_bytes(b"")
    (tmp_path / "log.0000").write_bytes(bytes(10_000))
    assert is_unfinished(tmp_path)
    for name in ("stream.1", "log.0000", "consumers.0"):
        (tmp_path / name).write_bytes(bytes(5_000) + b"x")
        assert not is_unfinished(tmp_path)
        (tmp_path / name).unlink()


def test_what_is_no_slot_is_in_nobodys_way(tmp_path):
    StoreDirectory(tmp_path).close()
    streams = tmp_path / "jetstream" / "$G" / "streams"
    (streams / "0000").write_bytes(b"a file")
    (streams / "0003").mkdir()
    (streams / "0002").mkdir()
    (streams / "0002" / "stream.0").write_bytes(b"x")
    directory = StoreDirectory(tmp_path)
    assert [directory.create_slot().name for _ in range(4)] == ["0003", "0001", "0004", "0005"]
    assert [slot.name for slot in directory.slots()] == ["0002"]
    directory.close()


def test_a_slot_that_lost_its_catalog_is_kept(tmp_path):
    directory = StoreDirectory(tmp_path)
    slot = directory.create_slot()
    (slot / "seg-0000").write_bytes(b"precious")
    directory.close()
    directory = StoreDirectory(tmp_path)
    assert directory.slots() == [slot]
    assert directory.create_slot() != slot
    assert (slot / "seg-0000").read_bytes() == b"precious"
    directory.close()


def test_a_slot_that_is_being_filled_is_gone_at_the_next_start_unless_it_was_revealed(tmp_path):
    directory = StoreDirectory(tmp_path)
    hidden, revealed = directory.create_slot(), directory.create_slot()
    for slot in (hidden, revealed):
        mark_released(slot)
        (slot / "log.0000").write_bytes(b"x")
    reveal(revealed)
    directory.close()
    again = StoreDirectory(tmp_path)
    assert again.slots() == [revealed]
    assert not hidden.exists()
    again.close()


def test_a_slot_is_emptied_a_few_files_at_a_time_and_is_taken_until_then(tmp_path):
    directory = StoreDirectory(tmp_path)
    slot = directory.create_slot()
    files = 3 * limits.FILES_REMOVED_PER_STEP
    mark_released(slot)
    large = [slot / f"log.{number:04}" for number in range(5)]
    for number in range(files):
        (slot / f"log.{number:04}").touch()
    for path in large:
        os.truncate(path, limits.FILE_BYTES_CLOSED_AT_ONCE)
    left, closed = [files], []
    for _ in remove_files(slot, close=closed.append):
        left.append(len(list(slot.glob("log.*"))))
        assert directory.create_slot() != slot
    assert max(before - after for before, after in pairwise(left)) <= limits.FILES_REMOVED_PER_STEP
    assert left[-1] < limits.FILES_REMOVED_PER_STEP and list(slot.glob("log.*")) == []
    assert [os.fstat(fd).st_nlink for fd in closed] == [0] * len(large), "they have no name, and still their blocks"
    for fd in closed:
        os.close(fd)
    directory.free(slot)
    assert list(slot.iterdir()) == [] and directory.create_slot() == slot
    directory.close()


OUTWARDS = ["..", ".", "/", "/etc", "a/../../b", "..\\b", "a\0b", "\u202e", "%2e%2e", "A" * 80]


@pytest.mark.parametrize("account", OUTWARDS)
def test_no_account_leaves_the_store(tmp_path, account):
    directory = StoreDirectory(tmp_path / "store", account)
    slot = directory.create_slot().resolve()
    assert slot.is_dir() and slot.parents[2] == (tmp_path / "store" / "jetstream").resolve()
    assert {path.name for path in tmp_path.iterdir()} == {"store"}
    directory.close()


def test_folders_go_as_far_as_they_are_empty(tmp_path):
    directory = StoreDirectory(tmp_path, "A")
    kept, _ = directory.create_slot(), directory.create_slot()
    (kept / "log.0000").write_bytes(b"x")
    directory.remove_folders()
    assert [path.name for path in directory.streams.iterdir()] == [kept.name]
    assert StoreDirectory.exists(tmp_path, "A") and not StoreDirectory.exists(tmp_path, "B")
    (kept / "log.0000").unlink()
    directory.remove_folders()
    assert not StoreDirectory.exists(tmp_path, "A")
    directory.close()
