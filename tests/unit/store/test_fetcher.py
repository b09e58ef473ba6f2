"""The thread that has the kernel read files ahead."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from millpond.store.disk import Disk
from millpond.store.fetcher import Fetcher
from millpond.testing.faulty_disk import FaultyDisk

from millpond.base import limits


def is_in_memory(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.preadv(fd, [bytearray(1)], 0, os.RWF_NOWAIT) == 1
    except BlockingIOError:
        return False
    finally:
        os.close(fd)


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="nobody says here what is in memory")
def test_files_are_in_memory_soon_and_no_descriptor_stays(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}" for number in range(50)]
    for path in paths:
        path.write_bytes(b"x" * 20_000)
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
    before = sorted(os.listdir("/proc/self/fd"))
    fetcher = Fetcher(Disk())
    for path in paths:
        fetcher.fetch(str(tmp_path), path.name)
        fetcher.fetch(str(tmp_path), f"{path.name}.missing")
    fetcher.close()
    assert sorted(os.listdir("/proc/self/fd")) == before
    deadline = time.monotonic() + 20
    while not all(is_in_memory(path) for path in paths):
        assert time.monotonic() < deadline, "the kernel was not asked for them"
        os.sched_yield()


def test_files_that_wait_are_bounded(tmp_path: Path) -> None:
    """A large log has more segments than there may be descriptors."""
    (tmp_path / "a").write_bytes(b"x")
    fetcher, most = Fetcher(Disk()), 0
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20 * limits.FETCHING_MAX):
        fetcher.fetch(str(tmp_path), "a")
        most = max(most, len(os.listdir("/proc/self/fd")) - before)
    fetcher.close()
    assert 0 < most <= limits.FETCHING_MAX + 2, "and its own two"
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_disk_that_pretends_is_not_asked(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    disk = FaultyDisk()
    fetcher = Fetcher(disk)
    before = sorted(os.listdir("/proc/self/task"))
    fetcher.fetch(str(tmp_path), "a")
    assert sorted(os.listdir("/proc/self/task")) == before
    fetcher.close()
