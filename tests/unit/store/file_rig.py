"""A file store in a directory, with hands on its disk, for the tests of the log."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from millpond.store.api import RecordingOwner
from millpond.store.committer import Committer
from millpond.store.file_store import FileStore
from millpond.store.read_cache import ReadCache
from millpond.store.scan import SegmentScan, scan_segment
from tests.readiness import readable

from millpond.base import limits

SMALL = 4096
START_NS = 1_700_000_000_000_000_000


class Rig:
    """`open` and `reopen` a store in `root`; every store is checked when it is closed.

    summaries: however small, sealed segments get theirs, when `summarise` is called.
    """

    def __init__(
        self, root: Path, sync: str = "always", cache_bytes: int = 1 << 22, disk: object = None, summaries: bool = False
    ) -> None:
        self.root, self.committer, self.cache = root, Committer(sync, disk), ReadCache(cache_bytes, disk)
        self.store: FileStore | None = None
        self.summaries = summaries

    def open(self, directory: Path | None = None, segment_bytes: int = SMALL) -> FileStore:
        self.directory = directory or self.root
        least = 1 if self.summaries else limits.SUMMARY_SEGMENT_BYTES_LEAST
        self.store = FileStore(str(self.directory), self.committer, self.cache, RecordingOwner(), segment_bytes, least)
        return self.store

    def close(self) -> None:
        if self.store is not None:
            assert self.store.failure or self.store.check() == []
            self.store.close()
            self.store = None

    def reopen(self, segment_bytes: int = SMALL) -> FileStore:
        self.close()
        return self.open(self.directory, segment_bytes)

    def crash(self, to: Path, segment_bytes: int = SMALL) -> FileStore:
        """The files as they are now, in another directory, opened there."""
        shutil.copytree(self.directory, to)
        store, self.store = self.store, None
        assert store is not None
        store.close()
        return self.open(to, segment_bytes)

    def commit(self) -> None:
        self.committer.drain()

    def turn(self) -> None:
        """One commit phase and its completions: here compaction takes its steps."""
        self.committer.run_now()
        self.settle()

    def settle(self) -> None:
        """Every sync that runs is done and told."""
        while self.committer.in_flight() or self.committer.py_stands_still():
            readable(self.committer.event_fd)
            self.committer.collect()

    def testify(self) -> None:
        """Who owes it writes down how far his files were committed."""
        self.committer.testify()
        self.settle()

    def summarise(self) -> None:
        """What is sealed and proven has its summary, and is packed where that was asked for."""
        self.cache.packer.drain()

    def segments(self) -> list[Path]:
        return sorted(path for path in self.directory.iterdir() if path.name.startswith("log."))

    def scans(self) -> list[SegmentScan]:
        """The log's segments by generation."""
        scans = [scan_segment(path) for path in self.segments()]
        return sorted((scan for scan in scans if scan.head), key=lambda scan: scan.head["generation"])

    def replace_descriptor(self, path: Path, by: str) -> None:
        """Whatever this process holds open of `path` is another device from here."""
        device = os.open(by, os.O_RDWR)
        for fd in os.listdir("/proc/self/fd"):
            if os.path.realpath(f"/proc/self/fd/{fd}") == str(path.resolve()):
                os.dup2(device, int(fd))
        os.close(device)


@contextmanager
def rig(root: Path, **settings: object) -> Iterator[Rig]:
    made = Rig(root, **settings)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        made.close()
        made.cache.close()
        made.committer.close()


def bodies(store: FileStore) -> dict[int, bytes]:
    """Every live message's payload."""
    found = {}
    seq = store.next_message(0)
    while seq:
        message = store.load_message(seq)
        if message is not None:
            found[seq] = message["body"]
        seq = store.next_message(seq + 1)
    return found


def written(root: Path, messages: int, per_commit: int, body: bytes = b"x" * 40) -> dict[int, bytes]:
    """A stopped store with messages in several commits, and what is in it."""
    root.mkdir()
    with rig(root) as r:
        store = r.open()
        for number in range(messages):
            store.append_message(b"s.%d" % (number % 3), b"%03d" % number + body, ts_ns=START_NS + number)
            if number % per_commit == per_commit - 1:
                r.commit()
        r.commit()
        return bodies(store)


def by_generation(r: Rig) -> list[Path]:
    return sorted(r.segments(), key=lambda path: scan_segment(path).head["generation"])
