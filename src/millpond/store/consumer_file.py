"""The two files behind a consumer journal: their bytes, and which of them is the truth.

    header   magic "MPCJ" | version u32 | generation u64 | identity of the stream's log u32 | crc32c of the 20 bytes
             before, u32; in version 1 without the identity
    frame    length u32 | crc32c of the payload, u32 | payload            (repeated)

The first frame of a file is a checkpoint (its payload ends with the END op); every later frame is one committed batch
of changes. In version 2 the checkpoint goes on in the next frame where the highest bit of `length` says so, and a
file without its end has none. A swap writes the file that is not the last one known to be on disk, from its start and
with the next generation, so a swap that is torn, or refused, or whose sync fails leaves that one whole. The valid
file of the highest generation is the truth; frames after the first torn or damaged one are not read. A file of another
stream's journal is not valid. All numbers are little-endian.

The slot's witness (witness.pyx has the log's part of it) says which generation is the newest one on disk, and how long
its file is: so one that is gone, or as it was last week, is noticed.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from millpond.base import limits
from millpond.base.errors import StoreError
from millpond.store.directory import WITNESS, sync_directory
from millpond.store.disk import REAL, Disk
from millpond.store.space import is_full, is_shortage

NAMES: Final = ("consumers.0", "consumers.1")
AGAIN: Final = "consumers.again"
"""The file that is about to be started over, while its name is made anew."""
HEADERS: Final = {1: struct.Struct("<4sIQI"), 2: struct.Struct("<4sIQII")}
"""By version."""
VERSION: Final = 2
FRAME: Final = struct.Struct("<II")
MAGIC: Final = b"MPCJ"
GOES_ON: Final = 1 << 31
"""In the length of a frame: it ends inside the checkpoint."""
ROW: Final = struct.Struct("<4sIIIQQ28xI")
ROW_MAGIC: Final = b"MPWJ"
ROW_VERSION: Final = 1
ROW_AT: Final = 4096
"""Of the journal's part of the witness: in a sector of its own."""
COPIED_MAX: Final = 256 * 1024
"""To put a frame together costs less than another write as long as it is shorter."""

Checksum = Callable[[bytes], int]
Put = Callable[[int, bytes, int], object]
"""(descriptor, bytes, offset)"""
Note = Callable[[str, bytes, int], object]
"""(path, bytes, offset)"""


class Journal(NamedTuple):
    """What one file says. `generation` 0: there is no valid checkpoint. `identity` 0: it is of version 1. `end`: of the
    frames that are valid; `size`: of the file."""

    generation: int = 0
    identity: int = 0
    frames: Sequence[bytes] = ()
    end: int = 0
    size: int = 0


class Row(NamedTuple):
    """The journal's part of the witness: how long the file of the newest generation was, when that was on disk."""

    identity: int
    generation: int
    end: int


def header_bytes(generation: int, identity: int, checksum: Checksum) -> bytes:
    """The header of a file of this generation."""
    start = struct.pack("<4sIQI", MAGIC, VERSION, generation, identity)
    return start + struct.pack("<I", checksum(start))


def _header(data: bytes, checksum: Checksum) -> tuple[int, int, int]:
    """(generation, identity, size); generation 0 when it is not whole."""
    if len(data) < 8 or data[:4] != MAGIC:
        return 0, 0, 0
    (version,) = struct.unpack_from("<I", data, 4)
    header = HEADERS.get(version)
    if header is None:
        for other in HEADERS.values():             # a bit of the version may be damaged
            if len(data) >= other.size and checksum(data[: other.size - 4]) == other.unpack_from(data)[-1]:
                raise StoreError(f"consumer journal has version {version}; this server reads up to {VERSION}")
        return 0, 0, 0
    if len(data) < header.size:
        return 0, 0, 0
    _, _, generation, *more, crc = header.unpack_from(data)
    if crc != checksum(data[: header.size - 4]):
        return 0, 0, 0
    return generation, more[0] if more else 0, header.size


def read_journal(data: bytes, checksum: Checksum) -> Journal:
    """Of a file's bytes. Raises StoreError when a newer server has written them."""
    generation, identity, at = _header(data, checksum)
    if not generation:
        return Journal(size=len(data))
    frames, is_whole = [], False
    while at + FRAME.size <= len(data):
        length, crc = FRAME.unpack_from(data, at)
        goes_on, length = length & GOES_ON, length & ~GOES_ON
        payload = data[at + FRAME.size : at + FRAME.size + length]
        if not payload or len(payload) != length or checksum(payload) != crc:
            break  # zeros are no frame: a power cut may leave a file's length without its bytes
        frames.append(payload)
        is_whole = is_whole or not goes_on
        at += FRAME.size + length
    return Journal(generation, identity, frames, at, len(data)) if is_whole else Journal(size=len(data))


def read_row(directory: Path | str, checksum: Checksum, disk: Disk = REAL) -> Row | None:
    """The journal's part of the witness that is there; None: it cannot be read."""
    try:
        data = disk.contents(f"{directory}/{WITNESS}", ROW_AT + ROW.size)[ROW_AT:]
    except OSError as error:
        if is_shortage(error):
            raise
        return None
    if len(data) < ROW.size:
        return None
    magic, version, identity, _, generation, end, crc = ROW.unpack(data)
    if magic != ROW_MAGIC or version != ROW_VERSION or crc != checksum(data[:-4]):
        return None
    return Row(identity, generation, end)


class JournalFiles:
    """Opens the two fixed names of one stream's journal; appends to the current one, swaps to the other."""

    def __init__(
        self, directory: str, checksum: Checksum, identity: int = 0, disk: Disk = REAL, syncs: bool = True,
        *, put: Put | None = None, note: Note | None = None,
    ) -> None:  # fmt: skip
        """put: has bytes written, at once or with the next sync; None: the disk does. note: has what is testified
        written, soon."""
        self._put, self._note = put or disk.put, note
        self.directory = directory
        self.checksum, self.disk, self.syncs = checksum, disk, syncs
        self.identity = identity
        """Of the stream's log; 0: as the files say."""
        self.damage: list[str] = []
        """What was found wrong, in words."""
        self.found_upto: tuple[int, int] | None = None
        """(generation, end) that was put on disk when it was found: a witness may spare the next start that."""
        self.current = -1
        self._kept = -1
        """The file whose checkpoint is on disk."""
        self._fds = [-1, -1]
        self._in_doubt = [False, False]
        """May the sync of its name have failed (it was there at the start, or a sync has failed)? Then the name is made
        anew before the file is used."""
        self._directory_fd = -1
        self._named = [False, False]
        """Is the name in the directory on disk?"""
        self._ends = [0, 0]
        self._header = b""
        """Of the file that was started over, until its first frame is written."""

    def recover(self, present: Sequence[str] | None = None) -> tuple[int, list[bytes]]:
        """(generation, frames) of the file that is the truth; (0, []) for a new journal. present: the names in the
        directory, if somebody knows."""
        if present is None:
            present = self.disk.names(self.directory)
        self._in_doubt = [name in present for name in NAMES]
        if AGAIN in present:
            self.disk.remove(f"{self.directory}/{AGAIN}")
        row = read_row(self.directory, self.checksum, self.disk) if WITNESS in present else None
        found = [(self._read(name) if name in present else Journal()) for name in NAMES]
        identity = self.identity or (row.identity if row is not None else 0)
        for which, journal in enumerate(found):
            if identity and journal.identity not in (0, identity):
                self.damage.append(f"{NAMES[which]} is of another stream; it is not read")
                found[which] = Journal()
        best = max(found, key=lambda journal: journal.generation)
        self.identity = self.identity or best.identity or (row.identity if row is not None else 0)
        if row is None or row.identity != self.identity:
            row = Row(0, 0, 0)
        self._look_for_damage(best, row)
        self.current = self._kept = found.index(best) if best.generation else -1
        if best.generation and self.syncs and (best.generation, best.end) != (row.generation, row.end):
            is_certain = self._write_again(NAMES[self.current], best.end)
            if is_certain and not self.damage and (best.generation, best.end) > (row.generation, row.end):
                self.found_upto = best.generation, best.end
        return max(best.generation, row.generation if best.generation else 0), list(best.frames)

    def _write_again(self, name: str, end: int) -> bool:
        """Nothing says that what was read is on disk. Pages whose sync has failed may be called clean: they are written
        once more before they are synced, and their name with them. A full disk keeps what it has: False."""
        is_certain = True
        fd = self.disk.open_path(f"{self.directory}/{name}")
        try:
            try:
                self.disk.put(fd, self.disk.contents(f"{self.directory}/{name}", end), 0)
            except OSError as error:
                if not is_full(error):
                    raise
                is_certain = False
            self.disk.sync(fd)
        finally:
            self.disk.close(fd)
        sync_directory(Path(self.directory), self.disk)
        return is_certain

    def _read(self, name: str) -> Journal:
        try:
            return read_journal(self.disk.contents(f"{self.directory}/{name}"), self.checksum)
        except OSError as error:
            if is_shortage(error):
                raise
            self.damage.append(f"{name} cannot be read: {error}")
            return Journal()

    def _look_for_damage(self, best: Journal, row: Row) -> None:
        if not best.generation:
            if row.generation:
                self.damage.append("neither file of the consumers' journal is whole: its consumers are lost")
        elif best.generation < row.generation:
            self.damage.append(
                f"the newest file of the consumers' journal (generation {row.generation}) is missing or damaged: "
                f"consumers are as they were in generation {best.generation}"
            )
        elif best.end < best.size or (best.generation == row.generation and best.end < row.end):
            self.damage.append(
                f"the consumers' journal does not verify from byte {best.end} on: what consumers did since is lost, "
                "unless that was a write which was never finished"
            )

    def synced(self) -> None:
        """Everything written to the current file is on disk, its name included."""
        self._kept = self.current
        self._named[self.current] = True
        self._close_directory()

    def unsynced(self) -> None:
        """A sync has failed, perhaps that of the current file's name: when it succeeds later it says nothing of it."""
        if self.current >= 0 and not self._named[self.current]:
            self._in_doubt[self.current] = True

    def shorten(self) -> bool:
        """Take a share off the file that the next swap starts over. Returns False when that is short enough."""
        fd = self._open(self._other())
        left = self.disk.size(fd) - limits.CHECKPOINT_SHORTENED_PER_STEP
        if left <= 0:
            return False
        self.disk.truncate(fd, left)
        return True

    def swap(self, generation: int) -> None:
        """Start the other file over; it is the current one from here. The next `append` is its checkpoint, or the first
        part of it.

        After an OSError, of that as well, it is to be called again before anything else is appended.
        """
        which = self._other()
        if self._in_doubt[which]:
            self._name_again(NAMES[which])
            self._in_doubt[which] = False
        self.disk.truncate(self._open(which), 0)
        self._ends[which] = 0
        self.current = which
        self._header = header_bytes(generation, self.identity, self.checksum)

    def _name_again(self, name: str) -> None:
        """Moves the file away and back, so that the next sync of the directory is about its name."""
        path, other = f"{self.directory}/{name}", f"{self.directory}/{AGAIN}"
        with contextlib.suppress(FileNotFoundError):           # it did not come back from there: a new one is made
            self.disk.move(path, other)
            self.disk.move(other, path)

    def append(self, payload: bytes, goes_on: bool = False) -> int:
        """Add one frame to the current file, inside a checkpoint that `goes_on` or not. Returns the file's size.

        A file's header and the head of its first frame are one write within one sector: so no new header stands before
        an old frame.
        """
        head = self._header + FRAME.pack(len(payload) | (GOES_ON if goes_on else 0), self.checksum(payload))
        self._header = b""
        if len(payload) < COPIED_MAX:
            self._append(head + payload)
        else:
            self._append(head)
            self._append(payload)
        return self._ends[self.current]

    def end(self) -> int:
        """Of what was written to the current file."""
        return self._ends[self.current]

    def testify(self, generation: int, end: int) -> None:
        """Writes down that this generation is on disk, up to there. What cannot be written down is not known later."""
        start = ROW.pack(ROW_MAGIC, ROW_VERSION, self.identity, 0, generation, end, 0)[:-4]
        assert self._note is not None, "nobody was to be told"
        with contextlib.suppress(OSError):
            self._note(f"{self.directory}/{WITNESS}", start + struct.pack("<I", self.checksum(start)), ROW_AT)

    def descriptor(self) -> int:
        """What has to be synced."""
        return self._fds[self.current]

    def directory_descriptor(self) -> int:
        """What has to be synced as well, or -1: the directory, until the current file's name is on disk."""
        if self._directory_fd < 0 and not self._named[self.current]:
            self._directory_fd = self.disk.open_directory(self.directory)
        return self._directory_fd

    def close(self) -> None:
        """Give back the descriptors."""
        for which, fd in enumerate(self._fds):
            if fd >= 0:
                self.disk.close(fd)
            self._fds[which] = -1
        self._close_directory()

    def _other(self) -> int:
        """Than the one on disk; where none is yet, than the one written last: its name may never be certain."""
        known = self._kept if self._kept >= 0 else self.current
        return 1 if known == 0 else 0

    def _close_directory(self) -> None:
        if self._directory_fd >= 0:
            self.disk.close(self._directory_fd)
            self._directory_fd = -1

    def _open(self, which: int) -> int:
        if self._fds[which] < 0:
            self._fds[which] = self.disk.open_path(f"{self.directory}/{NAMES[which]}")
        return self._fds[which]

    def _append(self, data: bytes) -> None:
        fd, at = self._fds[self.current], self._ends[self.current]
        self._put(fd, data, at)
        self._ends[self.current] = at + len(data)
