"""Where everything lies on disk, and who may touch it.

    <root>/jetstream/
        lock                          held by flock while a server runs; its text is that server's process id
        set.aside                     blocks for removals on a full disk (space.py); its content means nothing
        <account>/streams/0000/       one slot per stream: its catalog, segments, consumer journal
                          0001/

Names are few and used again: a slot that a deleted stream leaves behind is the next stream's. A stream's
name is in its catalog, never in a path. An account's name is percent-quoted. A slot is free when it has
no files; one that is being emptied holds the file `released` until nothing else is left, so that a crash in
between is finished at the next start and never taken for a stream that lost its catalog. One that is being filled by
a restore holds it until everything is there.

What is done here while a server runs changes names and syncs nothing: who depends on them has them synced together
with others' (`committer.Names`). At the start it is done, and synced, before anything else.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from millpond.base import limits
from millpond.base.errors import StoreError, StoreInUseError
from millpond.store.disk import REAL, Disk

LOCK = "lock"
RELEASED = "released"
MARKED_AGAIN = "released.again"
MARKS = (RELEASED, MARKED_AGAIN)
"""Either says that a slot is being emptied. A start that finds one has the other take its place: a sync of the first
name may have failed, and says nothing of it when it succeeds later."""
WITNESS = "witness"
"""How far the log and the journal have come (witness.pyx, consumer_file.py)."""
REPACKED = "repacked"
"""A segment in its other form, until it takes the old file's name."""
PLAIN = dict.fromkeys(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789$-_")
"""Takes away what stands in a folder's name as it is."""
CATALOG = "stream"
MARKED = f"{CATALOG}.1"
"""What a mark was called before."""
FOLDER_BYTES_MAX = 255
"""What file systems take as a name."""


def sync_directory(path: Path, disk: Disk = REAL) -> None:
    """Make the names in `path` durable."""
    fd = disk.open_directory(str(path))
    try:
        disk.sync(fd)
    finally:
        disk.close(fd)


def make_directory(path: Path, disk: Disk = REAL) -> None:
    """Create `path` and what is missing above it, durably. (Of one that is there nothing is known: `_make_sure_of`.)"""
    if disk.is_directory(str(path)):
        return
    make_directory(path.parent, disk)
    disk.make_directory(str(path))
    try:
        sync_directory(path.parent, disk)
    except OSError:
        with contextlib.suppress(OSError):         # a later sync would say nothing of it: it is made anew
            disk.remove_directory(str(path))
        raise


def mark_released(slot: Path, disk: Disk = REAL) -> None:
    """From here `slot` is being emptied, whatever happens: when that is durable.

    The mark takes the name of the catalog's second copy where there is one, for a full disk may refuse a new file.
    """
    try:
        disk.move(str(slot / MARKED), str(slot / RELEASED))
    except FileNotFoundError:
        disk.touch(str(slot / RELEASED))


def reveal(slot: Path, disk: Disk = REAL) -> None:
    """What is in `slot` is to stay: it is whole now, or nothing. The opposite of `mark_released`."""
    for mark in MARKS:
        with contextlib.suppress(FileNotFoundError):
            disk.remove(str(slot / mark))


def mark_anew(slot: Path, disk: Disk = REAL) -> None:
    """As `mark_released`, where a sync of the mark may have failed: a later one is about the name that it gets now."""
    names = disk.names(str(slot))
    if RELEASED in names:
        disk.move(str(slot / RELEASED), str(slot / MARKED_AGAIN))
    elif MARKED_AGAIN in names:
        disk.move(str(slot / MARKED_AGAIN), str(slot / RELEASED))
    else:
        mark_released(slot, disk)


def mark_again(slot: Path, disk: Disk = REAL) -> None:
    """A mark that was found is on disk from here on, and the name that it had before will not be when the slot is
    empty: where the sync behind a deletion has failed, a later one says nothing of either."""
    names = disk.names(str(slot))
    mark_anew(slot, disk)
    sync_directory(slot, disk)
    if MARKED not in names:
        with contextlib.suppress(OSError):  # a full disk
            disk.close(disk.open_path(str(slot / MARKED)))
            disk.remove(str(slot / MARKED))


def remove_files(slot: Path, disk: Disk = REAL, close: Callable[[int], object] = REAL.close) -> Iterator[bool]:
    """Removes what is in a marked `slot` but for the mark, a few files with each step; they must be closed, or soon.
    A large one has lost its name then, and its blocks with `close(fd)`."""
    for count, name in enumerate(disk.names(str(slot)), 1):
        if name not in MARKS:
            _remove_file(str(slot / name), disk, close)
        if count % limits.FILES_REMOVED_PER_STEP == 0:
            yield True


def _remove_file(path: str, disk: Disk, close: Callable[[int], object]) -> None:
    fd = -1
    if disk.size_at(path) >= limits.FILE_BYTES_CLOSED_AT_ONCE:
        with contextlib.suppress(OSError):  # no descriptor is left: then it takes its time
            fd = disk.open_path(path)
    try:
        disk.remove(path)
    finally:
        if fd >= 0:
            close(fd)


def _folder(account: str) -> str:
    """The name as it is, but for bytes that a folder's name had better not have: those as in a URL."""
    if account.isascii() and not account.translate(PLAIN) and account:
        return account
    from urllib.parse import quote  # half a mebibyte, for names that hardly anybody has

    return quote(account, safe="$-_").replace(".", "%2E")       # `..` is another folder


def is_unfinished(slot: Path, disk: Disk = REAL) -> bool:
    """Did a power cut come before the first save of a catalog was on disk? A creation writes everything else after
    that, its second copy included. `slot` has no readable catalog, and no mark: what a restore writes, log and journal
    before the catalog, is marked until all of it is on disk."""
    others = [name for name in disk.names(str(slot)) if name != f"{CATALOG}.0"]
    return not any(any(disk.contents(str(slot / name), limits.READ_WINDOW_BYTES)) for name in others)


class StoreDirectory:
    """One account's part of a store directory, locked against other servers.

    `locked`: another part of the same directory holds the lock, and is closed after this one. Not `looks`: it only
    holds the lock for others, and knows no slots.
    Raises StoreInUseError when another process (or another server in this one) holds it, OSError when the
    directory cannot be made or read.
    """

    def __init__(
        self, root: str | Path, account: str = "$G", locked: bool = False, disk: Disk = REAL, looks: bool = True
    ) -> None:
        self.root, self._disk = Path(root), disk
        self._base = self.root / "jetstream"
        folder = _folder(account)
        if not folder or len(folder) > FOLDER_BYTES_MAX:
            raise StoreError(f"account name {account!r} cannot name a directory")
        self.streams = self._base / folder / "streams"
        if not locked:
            self._make_sure_of(self._base)
        self._lock_fd = -1 if locked else self._lock()
        try:
            self._make_sure_of(self.streams.parent)
            self._make_sure_of(self.streams)
            if looks:
                self._find_slots()
        except BaseException:
            self.close()
            raise

    def _make_sure_of(self, path: Path) -> None:
        """It is there, and its name is on disk: one that is there may have been made by a server that was killed, or
        refused, before that was certain."""
        make_directory(path, self._disk)
        sync_directory(path.parent, self._disk)

    def _lock(self) -> int:
        path = self._base / LOCK
        fd: int = self._disk.open_path(str(path))
        try:
            self._disk.lock(fd)
        except OSError as error:
            self._disk.close(fd)
            holder = self._disk.contents(str(path), 32).decode("ascii", "replace").strip()
            if not isinstance(error, BlockingIOError):
                raise StoreError(f"cannot lock {path}: {error.strerror}") from error
            who = f"the server with process id {holder}" if holder.isdigit() else "another server"
            raise StoreInUseError(
                f"store directory {self.root} is in use by {who}. Stop it, or give this one another directory (-sd)"
            ) from None
        with contextlib.suppress(OSError):  # a full disk: it is there for people to read
            self._disk.truncate(fd, 0)
            self._disk.put(fd, f"{os.getpid()}\n".encode(), 0)
        return fd

    def _find_slots(self) -> None:
        """Finishes the releases that were cut short, and learns which slots are free.

        The names of slots are synced: a kill may have come between a creation's steps, and what is found is relied on.
        """
        sync_directory(self.streams, self._disk)
        self._free: list[Path] = []
        self._names = set(self._disk.names(str(self.streams)))
        self._next = 0
        self._found: list[tuple[Path, list[str]]] = []
        for path in self._folders():
            present = [sys.intern(name) for name in self._disk.names(str(path))]  # few names, in many slots
            if not set(MARKS).isdisjoint(present):
                mark_again(path, self._disk)
                self.finish_release(path)
            elif present:
                self._found.append((path, present))
            else:
                heapq.heappush(self._free, path)

    def _folders(self) -> list[Path]:
        found = [self.streams / name for name in self._disk.names(str(self.streams)) if name.isdigit()]
        return [path for path in found if self._disk.is_directory(str(path))]

    def take_found(self) -> list[tuple[Path, list[str]]]:
        """The slots that held something when the directory was opened, in order, and the names in them. The second time
        there are none."""
        found, self._found = self._found, []
        return found

    def slots(self) -> list[Path]:
        """The slots that hold something, in order. One without a readable catalog is a damaged stream."""
        return [path for path in self._folders() if self._disk.names(str(path))]

    def create_slot(self) -> Path:
        """An empty slot, the caller's from here until `free`: the lowest free one, or a new one."""
        while not self._free:
            name = f"{self._next:04d}"
            self._next += 1
            if name not in self._names:
                self._free.append(self.streams / name)
        slot = str(self._free[0])
        with contextlib.suppress(OSError):
            # The sync of its name may have failed, and says nothing of it when it succeeds later: it is made anew.
            self._disk.remove_directory(slot)
        self._disk.make_directory(slot)
        return heapq.heappop(self._free)

    def free(self, slot: Path) -> None:
        """Nothing is left in `slot`, durably, but perhaps the mark: it is the next stream's."""
        assert slot.parent == self.streams, f"{slot} is not a slot of this directory"
        reveal(slot, self._disk)
        heapq.heappush(self._free, slot)

    def remove(self, slot: Path) -> None:
        """Everything in `slot` goes, at once, waiting for the disk."""
        mark_released(slot, self._disk)
        sync_directory(slot, self._disk)
        self.finish_release(slot)

    def finish_release(self, slot: Path) -> None:
        """Everything that is left to do for a marked slot, at once, waiting for the disk. The directory goes, too:
        where a sync of it has failed, a later one says nothing of the names that were removed before."""
        for _ in remove_files(slot, self._disk):
            pass
        sync_directory(slot, self._disk)
        self.free(slot)
        with contextlib.suppress(OSError):         # then it is made anew when it is used again
            self._disk.remove_directory(str(slot))
            sync_directory(self.streams, self._disk)

    @staticmethod
    def exists(root: str | Path, account: str) -> bool:
        """Is there a part of this account in the store directory?"""
        folder = _folder(account)
        return 0 < len(folder) <= FOLDER_BYTES_MAX and REAL.is_directory(
            str(Path(root) / "jetstream" / folder / "streams")
        )

    def remove_folders(self) -> None:
        """Remove this part with its slots; what is not empty stays."""
        for path in (*self._folders(), self.streams, self.streams.parent):
            with contextlib.suppress(OSError):
                self._disk.remove_directory(str(path))

    def close(self) -> None:
        """Let another server have it."""
        if self._lock_fd >= 0:
            self._disk.close(self._lock_fd)
            self._lock_fd = -1
