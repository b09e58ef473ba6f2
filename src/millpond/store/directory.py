"""Where everything lies on disk, and who may touch it.

    <root>/jetstream/
        lock                          held by flock while a server runs; its text is that server's process id
        <account>/streams/0000/       one slot per stream: its catalog, segments, consumer journal
                          0001/

Names are few and used again: a slot that a deleted stream leaves behind is the next stream's. A stream's
name is in its catalog, never in a path. An account's name is percent-quoted. A slot is free when it has
no files; one that is being emptied holds the file `released` until nothing else is left, so that a crash in
between is finished at the next start and never taken for a stream that lost its catalog. One that is being filled by
a restore holds it until everything is there.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from millpond.base.errors import StoreError, StoreInUseError

LOCK = "lock"
RELEASED = "released"
PLAIN = dict.fromkeys(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789$-_")
"""Takes away what stands in a folder's name as it is."""
CATALOG = "stream"


def sync_directory(path: Path) -> None:
    """Make the names in `path` durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directory(path: Path) -> None:
    """Create `path` and what is missing above it, durably."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(mode=0o750, exist_ok=True)
    sync_directory(path.parent)


def mark_released(slot: str | Path) -> None:
    """From here `slot` is being emptied, whatever happens."""
    (Path(slot) / RELEASED).touch(mode=0o640)
    sync_directory(Path(slot))


def reveal(slot: str | Path) -> None:
    """What is in `slot` is to stay: it is whole now. The opposite of `mark_released`."""
    (Path(slot) / RELEASED).unlink()
    sync_directory(Path(slot))


def _folder(account: str) -> str:
    """The name as it is, but for bytes that a folder's name had better not have: those as in a URL."""
    if account.isascii() and not account.translate(PLAIN) and account:
        return account
    from urllib.parse import quote  # half a mebibyte, for names that hardly anybody has

    return quote(account, safe="$-_").replace(".", "%2E")       # `..` is another folder


class StoreDirectory:
    """One account's part of a store directory, locked against other servers.

    `locked`: another part of the same directory holds the lock, and is closed after this one.
    Raises StoreInUseError when another process (or another server in this one) holds it, OSError when the
    directory cannot be made or read.
    """

    def __init__(self, root: str | Path, account: str = "$G", locked: bool = False) -> None:
        self.root = Path(root)
        self._base = self.root / "jetstream"
        folder = _folder(account)
        if not folder or len(folder) > 255:
            raise StoreError(f"account name {account!r} cannot name a directory")
        self.streams = self._base / folder / "streams"
        make_directory(self._base)
        self._lock_fd = -1 if locked else self._lock()
        try:
            make_directory(self.streams)
            self._taken: set[Path] = set()
            for path in self._folders():
                if (path / RELEASED).exists():
                    self._empty(path)
        except BaseException:
            self.close()
            raise

    def _lock(self) -> int:
        path = self._base / LOCK
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
            os.close(fd)
            if not isinstance(error, BlockingIOError):
                raise StoreError(f"cannot lock {path}: {error.strerror}") from error
            who = f"the server with process id {holder}" if holder.isdigit() else "another server"
            raise StoreInUseError(
                f"store directory {self.root} is in use by {who}. Stop it, or give this one another directory (-sd)"
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return fd

    def _folders(self) -> list[Path]:
        return sorted(path for path in self.streams.iterdir() if path.name.isdigit() and path.is_dir())

    def slots(self) -> list[Path]:
        """The slots that hold something, in order. One without a readable catalog is a damaged stream."""
        return [path for path in self._folders() if any(path.iterdir())]

    def create_slot(self) -> Path:
        """An empty slot, the caller's from here until `release_slot`: the lowest free one."""
        folders = self._folders()
        for path in folders:
            if path not in self._taken and not any(path.iterdir()):
                self._taken.add(path)
                return path
        used = {path.name for path in folders}
        number = next(n for n in range(len(folders) + 1) if f"{n:04d}" not in used)
        path = self.streams / f"{number:04d}"
        make_directory(path)
        self._taken.add(path)
        return path

    def release_slot(self, slot: Path) -> None:
        """Remove what is in `slot`, durably; its files must be closed. The slot itself stays for the next stream."""
        assert slot.parent == self.streams, f"{slot} is not a slot of this directory"
        mark_released(slot)
        self._empty(slot)
        self._taken.discard(slot)

    def _empty(self, slot: Path) -> None:
        for path in slot.iterdir():
            if path.name != RELEASED:
                path.unlink()
        sync_directory(slot)
        (slot / RELEASED).unlink()
        sync_directory(slot)

    def close(self) -> None:
        """Let another server have it."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1
