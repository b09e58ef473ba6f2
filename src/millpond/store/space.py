"""Room on the disk under one store directory: what is set aside, and whether there is any.

    room ──(a write or a reservation is refused)──> full ──(probe: what was set aside is back, and a bit more)──> room

A process that has no descriptor left for a file is something else: nothing is wrong with the disk, and whoever met it
tries again a moment later (`passes`, `waits`).

While the disk is full nothing new is taken. What makes room or must not wait (removals, consumers' journals,
compaction) may spend the file that was set aside at the start; it is filled again before new messages are taken. One
line in the log says when it begins and one when it ends. Whoever owns the timer calls `probe`.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from millpond.base import limits
from millpond.store.disk import REAL, Disk

log = logging.getLogger("millpond")

NAME: Final = "set.aside"
"""In the store directory. No account's folder has a point in its name (directory.py)."""
FULL: Final = (errno.ENOSPC, errno.EDQUOT)
SHORT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def is_full(error: BaseException) -> bool:
    """Did the disk, or a quota on it, refuse for want of room?"""
    return isinstance(error, OSError) and error.errno in FULL


def is_shortage(error: BaseException) -> bool:
    """Did this process, or the machine, have no descriptor or no memory? Then it says nothing about the file."""
    return isinstance(error, OSError) and error.errno in SHORT


def passes(error: BaseException) -> bool:
    """Is it worth another try, with nothing lost meanwhile?"""
    return is_full(error) or is_shortage(error)


def no_room(place: str) -> OSError:
    """What is raised without asking the disk again."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), place)


class Space:
    """One per store directory. Without a directory nothing is set aside, and a probe always succeeds (tools, tests)."""

    def __init__(
        self, directory: Path | None = None, reserve_bytes: int = limits.RESERVE_BYTES, disk: Disk = REAL
    ) -> None:
        self.full, self._disk = False, disk
        self.held = 0
        """Bytes that are set aside now."""
        self.on_full: Callable[[], None] = lambda: None
        self.on_short: Callable[[], None] = lambda: None
        """Somebody waits for another try: `Committer.retry` is to be called in a moment."""
        self.path = None if directory is None else str(directory / NAME)
        """Of the file that is set aside."""
        self._waiting: list[Callable[[], object]] = []
        self._directory = directory
        self._reserve_bytes = reserve_bytes
        self._began_s = self._silent_until_s = 0.0
        self._fd = -1
        if directory is not None:
            self._open(directory)

    def _open(self, directory: Path) -> None:
        """A disk that is full already is no reason not to start."""
        try:
            self._fd = self._disk.open_path(str(directory / NAME))
            self.held = min(self._disk.size(self._fd), self._reserve_bytes)
            if not self._take():
                raise no_room(str(directory))
        except OSError as error:
            if not is_full(error):
                raise
            self.exhausted(error)

    @property
    def free_bytes(self) -> int:
        """What the file system says is there for us; 0 when it says nothing."""
        try:
            return int(self._disk.free_bytes(self._directory or "/"))
        except OSError:
            return 0

    def describe(self) -> str:
        """The state in one line, for health checks."""
        free = self.free_bytes
        return f"no space left under {self._directory} ({free} bytes free, {self.held} set aside)"

    def waits(self, error: OSError, done: Callable[[], object] | None) -> bool:
        """Is a descriptor, or memory, all that was lacking? Then `done()` when it is time for another try. Raises the
        error where nobody can wait for that (`done` is None)."""
        if not is_shortage(error):
            return False
        if done is None:
            raise error
        if done not in self._waiting:
            self._waiting.append(done)
        self._short(error)
        return True

    def _short(self, error: OSError) -> None:
        if time.monotonic() >= self._silent_until_s:
            self._silent_until_s = time.monotonic() + limits.LARGE_REFUSED_QUIET_S
            fix = "free memory" if error.errno == errno.ENOMEM else "raise the limit of open files (ulimit -n)"
            log.error("No file of %s can be opened: %s. What needs one waits or is refused. Fix: %s",
                      self._directory, (error.strerror or str(error)).lower(), fix)  # fmt: skip
        self.on_short()

    def tell_waiting(self) -> None:
        """It is time for another try."""
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done()

    def exhausted(self, error: OSError) -> None:
        """The disk refused, said once until there is room again; or there was no descriptor, or no memory."""
        if is_shortage(error):
            self._short(error)
            return
        if self.full:
            return
        self.full, self._began_s = True, time.monotonic()
        log.error(
            "No space left under %s (%s): %d bytes free, %d set aside for removals. Publishes and new streams are "
            "refused with error 10047; reads, acknowledgements, deletes and purges go on. Fix: free space on that "
            "file system, enlarge it, or purge or delete streams; publishes are taken again within a second",
            self._directory, error.strerror, self.free_bytes, self.held,
        )  # fmt: skip
        self.on_full()

    def refused(self, error: OSError, size: int) -> None:
        """The disk refused `size` bytes. Much may be too much for a disk that has room for others."""
        fits_others = size > limits.ROOM_AGAIN_BYTES and error.errno == errno.ENOSPC and not self._lacks_room()
        if not fits_others:
            self.exhausted(error)
        elif time.monotonic() >= self._silent_until_s:
            self._silent_until_s = time.monotonic() + limits.LARGE_REFUSED_QUIET_S
            log.warning("No room for %d bytes under %s: %d bytes free. What asked for them is refused with error 10047",
                        size, self._directory, self.free_bytes)  # fmt: skip

    def check(self, size: int) -> None:
        """Is there room for a few files of `size` bytes together? Raises OSError when there is not."""
        if self.full:
            raise no_room(str(self._directory))
        if self._directory is not None and self.free_bytes < size:
            error = no_room(str(self._directory))
            self.exhausted(error)
            raise error

    def give(self, size: int) -> bool:
        """Up to `size` bytes, or a bit more, of what was set aside may be used by the caller. False: none is left."""
        if self.held == 0:
            return False
        left = max(0, self.held - max(size, limits.RESERVE_STEP_BYTES))
        try:
            self._disk.truncate(self._fd, left)
        except OSError as error:
            log.error("cannot use what is set aside in %s: %s", self._directory, error)
            left = 0
        self.held = left
        return True

    def probe(self) -> bool:
        """True: there is room again, and everything is set aside that should be."""
        if not self.full:
            return True
        try:
            if self._fd >= 0 and not self._take():
                return False
        except OSError as error:
            log.error("cannot set space aside in %s: %s. A full disk will stop removals, too", self._directory, error)
            self.held = 0
        self.full = False
        log.warning(
            "Room again under %s after %.1f s: %d bytes free, %d set aside. Publishes are taken",
            self._directory, time.monotonic() - self._began_s, self.free_bytes, self.held,
        )  # fmt: skip
        return True

    def _take(self) -> bool:
        """Sets aside what should be, when as much as one more segment is free besides. Quotas are asked by trying."""
        if self._lacks_room():
            return False
        wanted = self._reserve_bytes + limits.ROOM_AGAIN_BYTES
        try:
            self._disk.allocate(self._fd, self.held, wanted)
        except OSError as error:
            self._disk.truncate(self._fd, self.held)
            if is_full(error):
                return False
            raise
        self.held = self._reserve_bytes
        self._disk.truncate(self._fd, self.held)
        return True

    def _lacks_room(self) -> bool:
        return self.free_bytes < self._reserve_bytes + limits.ROOM_AGAIN_BYTES - self.held

    def close(self) -> None:
        """The file stays for the next server."""
        if self._fd >= 0:
            self._disk.close(self._fd)
            self._fd = -1
