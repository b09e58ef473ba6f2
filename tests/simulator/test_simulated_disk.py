"""The disk of the simulator by itself: room, and writes in pieces."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from millpond.testing.simulated_disk import NAME, WRITE, File, SimulatedDisk


@pytest.fixture
def disk(tmp_path: Path) -> SimulatedDisk:
    return SimulatedDisk(str(tmp_path))


def test_a_full_disk_takes_what_has_its_place(disk: SimulatedDisk, tmp_path: Path) -> None:
    fd = disk.open_path(str(tmp_path / "a"))
    disk.put(fd, b"0123456789", 0)
    disk.free = 3
    disk.put(fd, b"xx", 8)
    with pytest.raises(OSError) as refused:
        disk.put(fd, b"yyyyyy", 8)
    assert refused.value.errno == errno.ENOSPC and (tmp_path / "a").read_bytes() == b"01234567yy"
    disk.put(fd, b"zzz", 10)
    assert disk.free == disk.free_bytes(str(tmp_path)) == 0
    disk.close(fd)


def test_what_is_removed_or_cut_makes_room(disk: SimulatedDisk, tmp_path: Path) -> None:
    for name in "ab":
        fd = disk.open_path(str(tmp_path / name))
        disk.put(fd, bytes(10), 0)
        disk.close(fd)
    disk.free = 0
    disk.remove(str(tmp_path / "a"))
    assert disk.free == 10
    fd = disk.open_path(str(tmp_path / "b"))
    disk.truncate(fd, 4)
    assert disk.free == 16
    with pytest.raises(OSError):
        disk.truncate(fd, 21)
    disk.close(fd)


def test_a_failed_sync_is_told_to_everybody_who_has_it_open(disk: SimulatedDisk, tmp_path: Path) -> None:
    failing = [errno.EIO]
    disk.fault = lambda kind: failing.pop() if kind == "sync" and failing else 0
    for ours, other in ((disk.open_path(str(tmp_path / "a")), disk.open_path(str(tmp_path / "a"))),
                        (disk.open_directory(str(tmp_path)), disk.open_directory(str(tmp_path)))):  # fmt: skip
        failing[:] = [errno.EIO]
        for fd in (ours, other):
            with pytest.raises(OSError, match="Input"):
                disk.sync(fd)
            disk.sync(fd)
            disk.close(fd)


def test_a_write_may_be_several(disk: SimulatedDisk, tmp_path: Path) -> None:
    disk.pieces = lambda size: 3
    fd = disk.open_path(str(tmp_path / "a"))
    disk.put(fd, b"01234567", 1)
    disk.close(fd)
    assert [step[2:] for step in disk.trace if step[0] == WRITE] == [(1, b"012"), (4, b"345"), (7, b"67")]
    assert (tmp_path / "a").read_bytes() == b"\x0001234567"


def test_a_trace_goes_on_with_its_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    file, before = File(), [(NAME, "/a", None)]
    disk = SimulatedDisk(str(tmp_path), {"/a": file}, before)
    fd = disk.open_path(str(tmp_path / "a"))
    disk.put(fd, b"y", 0)
    disk.close(fd)
    assert disk.trace == [*before, (WRITE, file, 0, b"y")] and len(before) == 1
