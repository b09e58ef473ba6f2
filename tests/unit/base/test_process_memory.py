"""What /proc and the page cache calls say, from texts, and about this process and a file of ours."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from millpond.base import kernel
from millpond.base import process_memory as pm

STATUS = """\
Name:\tnats-server
VmPeak:\t 1300000 kB
VmRSS:\t   25600 kB
RssAnon:\t   16000 kB
RssFile:\t    9500 kB
RssShmem:\t     100 kB
VmPTE:\t     120 kB
VmSwap:\t       0 kB
Threads:\t9
"""
SMAPS = """\
00400000-7ffe23f1f000 ---p 00000000 00:00 0    [rollup]
Rss:               25600 kB
Pss:               17000 kB
Private_Dirty:     16000 kB
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def test_status() -> None:
    memory = pm.parse_status(STATUS)
    assert memory.rss == memory.anon + memory.file + memory.shmem == 25600 * 1024
    assert (memory.page_tables, memory.threads, memory.swap) == (120 * 1024, 9, 0)


def test_status_of_a_kernel_thread_has_no_memory() -> None:
    assert pm.parse_status("Name:\tkthreadd\nThreads:\t1\n").rss == 0


def test_smaps_rollup() -> None:
    values = pm.parse_smaps_rollup(SMAPS)
    assert values["Pss"] == 17000 * 1024
    assert len(values) == 3


def test_negative_dentries(tmp_path: Path) -> None:
    assert pm.negative_dentries(tmp_path) == 0
    place = tmp_path / "sys" / "fs"
    place.mkdir(parents=True)
    (place / "dentry-state").write_text("53215\t51738\t45\t0\t8056\t0\n")
    assert pm.negative_dentries(tmp_path) == 8056
    (place / "dentry-state").write_text("53215\t51738\t45\t0\n")
    assert pm.negative_dentries(tmp_path) == 0


@linux
def test_this_process() -> None:
    memory = pm.read()
    assert memory.rss > 5 << 20
    assert abs(memory.anon + memory.file + memory.shmem - memory.rss) <= 1 << 20
    assert pm.read(os.getpid()).threads == memory.threads
    assert pm.smaps_rollup()["Pss"] > 0
    assert pm.command_of(os.getpid())
    assert pm.name_of(os.getpid())


@linux
def test_no_such_process() -> None:
    gone = 2**22 + 1  # above any pid_max
    with pytest.raises(ProcessLookupError):
        pm.read(gone)
    assert pm.name_of(gone) == ""
    assert pm.command_of(gone) == []
    assert pm.smaps_rollup(gone) == {}


@linux
def test_pages_of_files(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.blk").write_bytes(b"x" * (10 * pm.PAGE_BYTES))
    (tmp_path / "b.blk").write_bytes(b"y" * (2 * pm.PAGE_BYTES + 1))
    (tmp_path / "empty").touch()
    seen = pm.file_cache(str(tmp_path), files_max=10)
    assert (seen.cached, seen.files, seen.complete) == (13 * pm.PAGE_BYTES, 3, True)
    seen = pm.file_cache(str(tmp_path), files_max=1)
    assert (seen.files, seen.complete) == (1, False)
    assert pm.file_cache(str(tmp_path / "missing"), files_max=1).files == 0


@linux
def test_both_ways_to_count_pages_agree(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"z" * (7 * pm.PAGE_BYTES))
    with path.open("rb") as file:
        assert kernel.pages_by_mapping(file.fileno()) == 7
        assert kernel.cached_pages(file.fileno())[0] == 7
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert kernel.pages_by_mapping(file.fileno()) == kernel.cached_pages(file.fileno())[0]
    empty = tmp_path / "empty"
    empty.touch()
    with empty.open("rb") as file:
        assert kernel.pages_by_mapping(file.fileno()) == 0


def test_files_are_counted_in_steps(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"d{number}").mkdir()
        (tmp_path / f"d{number}" / "f").write_bytes(b"x" * 5000)
    steps, count = pm.counting(str(tmp_path), files_max=10), 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            assert end.value == pm.file_cache(str(tmp_path), files_max=10)
            break
        count += 1
    assert count == 1 + 5 + 5, "a directory, or a file, with each of them"
