"""What the kernel says about one process, about files in its page cache, and about forgotten names.

Everything here reads /proc or asks a system call; nothing is changed, and no missing name is looked up
(each such look-up would leave a negative dentry behind, which is part of what this package is about).
Sizes are bytes. On systems without /proc only the own process' peak resident size is known.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final

import msgspec

from millpond.base import kernel

PROC: Final = Path("/proc")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
NEGATIVE_DENTRY_BYTES: Final = 200
"""Kernel memory that one unlinked or missing name keeps: a 192-byte dentry and its share of the slab."""


class ProcessMemory(msgspec.Struct, frozen=True, kw_only=True):
    """One process. `anon` + `file` + `shmem` = `rss`."""

    rss: int
    anon: int
    file: int
    """Mapped file pages: code and libraries."""
    shmem: int
    page_tables: int
    threads: int
    swap: int


class FileCache(msgspec.Struct, frozen=True, kw_only=True):
    """Pages of some files in the page cache. Not `complete`: there were too many files to ask for."""

    cached: int
    dirty: int
    files: int
    complete: bool


def parse_status(text: str) -> ProcessMemory:
    """/proc/PID/status."""
    kib: dict[str, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            kib[name] = int(words[0])
    return ProcessMemory(
        rss=kib.get("VmRSS", 0) * 1024,
        anon=kib.get("RssAnon", 0) * 1024,
        file=kib.get("RssFile", 0) * 1024,
        shmem=kib.get("RssShmem", 0) * 1024,
        page_tables=kib.get("VmPTE", 0) * 1024,
        threads=kib.get("Threads", 1),
        swap=kib.get("VmSwap", 0) * 1024,
    )


def read(pid: int | None = None, proc: Path = PROC) -> ProcessMemory:
    """A process' memory (None: this one). Raises ProcessLookupError."""
    try:
        return parse_status((proc / ("self" if pid is None else str(pid)) / "status").read_text())
    except FileNotFoundError:
        if pid is None:
            return _without_proc()
        raise ProcessLookupError(f"there is no process {pid}") from None


def parse_smaps_rollup(text: str) -> dict[str, int]:
    """/proc/PID/smaps_rollup: name -> bytes (Pss, Private_Dirty, AnonHugePages, ...)."""
    values = {}
    for line in text.splitlines()[1:]:
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB":
            values[name] = int(words[0]) * 1024
    return values


def smaps_rollup(pid: int | None = None, proc: Path = PROC) -> dict[str, int]:
    """Empty where the kernel has no such file or refuses it. Walks all page tables: not for every second."""
    try:
        return parse_smaps_rollup((proc / ("self" if pid is None else str(pid)) / "smaps_rollup").read_text())
    except (OSError, IndexError):
        return {}


def negative_dentries(proc: Path = PROC) -> int:
    """Names that the whole machine remembers not to exist; 0 where the kernel does not count them (< 5.0)."""
    try:
        fields = (proc / "sys" / "fs" / "dentry-state").read_text().split()
    except OSError:
        return 0
    return int(fields[4]) if len(fields) > 4 else 0


def name_of(pid: int, proc: Path = PROC) -> str:
    """The program's name, as ps shows it; empty when the process is gone."""
    try:
        return (proc / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""


def command_of(pid: int, proc: Path = PROC) -> list[str]:
    """The command line; empty for kernel threads, and for processes that are gone or hidden."""
    try:
        raw = (proc / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return [os.fsdecode(word) for word in raw.split(b"\0") if word]


def file_cache(directory: str, files_max: int) -> FileCache:
    """Pages in the page cache of the files below `directory`, of `files_max` files at most."""
    steps = counting(directory, files_max)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: FileCache = end.value
            return found


def counting(directory: str, files_max: int) -> Generator[None, None, FileCache]:
    """The same: returned after some steps, each of which looks at one directory or one file."""
    cached = dirty = files = 0
    for path in _files(directory):
        yield
        if path is None:
            continue
        if files == files_max:
            return FileCache(cached=cached, dirty=dirty, files=files, complete=False)
        files += 1
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError:
            continue  # neither ours nor readable: not a page that we could name
        except OSError:
            files -= 1  # removed since it was listed
            continue
        try:
            pages, pages_dirty = kernel.cached_pages(descriptor)
        finally:
            os.close(descriptor)
        cached += pages * PAGE_BYTES
        dirty += pages_dirty * PAGE_BYTES
    return FileCache(cached=cached, dirty=dirty, files=files, complete=True)


def _files(directory: str) -> Iterator[str | None]:
    """Regular files below `directory`, in no order; None for each directory. What vanishes on the way is left out."""
    waiting = [directory]
    while waiting:
        yield None
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    yield entry.path


def _without_proc() -> ProcessMemory:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    return ProcessMemory(rss=peak * unit, anon=peak * unit, file=0, shmem=0, page_tables=0, threads=1, swap=0)
