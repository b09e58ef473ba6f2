"""The two files behind a consumer journal: their bytes, and which of them is the truth.

    header   magic "MPCJ" | version u32 | generation u64 | crc32c of the 16 bytes before, u32
    frame    length u32 | crc32c of the payload, u32 | payload            (repeated)

The first frame of a file is a checkpoint (its payload ends with the END op); every later frame is one committed batch
of changes. In version 2 the checkpoint goes on in the next frame where the highest bit of `length` says so, and a
file without its end has none. A swap writes the file that is not the last one known to be on disk, from its start and
with the next generation, so a swap that is torn, or refused, or whose sync fails leaves that one whole. The valid
file of the highest generation is the truth; frames after the first torn or damaged one are not read. All numbers are
little-endian.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from millpond.base import limits
from millpond.base.errors import StoreError
from millpond.store.disk import REAL, Disk

NAMES: Final = ("consumers.0", "consumers.1")
HEADER: Final = struct.Struct("<4sIQI")
FRAME: Final = struct.Struct("<II")
MAGIC: Final = b"MPCJ"
VERSION: Final = 1
VERSION_PARTS: Final = 2
"""Of a file whose checkpoint comes in several frames: earlier servers, which would believe the first, refuse it."""
GOES_ON: Final = 1 << 31
"""In the length of a frame: it ends inside the checkpoint."""
COPIED_MAX: Final = 256 * 1024
"""To put a frame together costs less than another write as long as it is shorter."""

Checksum = Callable[[bytes], int]


def header_bytes(generation: int, checksum: Checksum, version: int) -> bytes:
    """The header of a file of this generation."""
    start = struct.pack("<4sIQ", MAGIC, version, generation)
    return start + struct.pack("<I", checksum(start))


def read_frames(data: bytes, checksum: Checksum) -> tuple[int, list[bytes]]:
    """(generation, payloads of the valid prefix); generation 0 when there is no valid, whole checkpoint."""
    if len(data) < HEADER.size:
        return 0, []
    magic, version, generation, crc = HEADER.unpack_from(data)
    if magic != MAGIC or crc != checksum(data[: HEADER.size - 4]):
        return 0, []
    if version not in (VERSION, VERSION_PARTS):
        raise StoreError(f"consumer journal has version {version}; this server reads up to version {VERSION_PARTS}")
    frames, is_whole = [], False
    at = HEADER.size
    while at + FRAME.size <= len(data):
        length, crc = FRAME.unpack_from(data, at)
        goes_on, length = length & GOES_ON, length & ~GOES_ON
        payload = data[at + FRAME.size : at + FRAME.size + length]
        if not payload or len(payload) != length or checksum(payload) != crc:
            break  # zeros are no frame: a power cut may leave a file's length without its bytes
        frames.append(payload)
        is_whole = is_whole or not goes_on
        at += FRAME.size + length
    return (generation, frames) if is_whole else (0, [])


class JournalFiles:
    """Opens the two fixed names of one stream's journal; appends to the current one, swaps to the other."""

    def __init__(self, directory: str, checksum: Checksum, disk: Disk = REAL) -> None:
        self.directory = Path(directory)
        self.checksum, self.disk = checksum, disk
        self.current = -1
        self._kept = -1
        """The file whose checkpoint is on disk."""
        self._fds = [-1, -1]
        self._directory_fd = -1
        self._named = [False, False]
        """Is the name in the directory on disk?"""
        self._ends = [0, 0]
        self._header = b""
        """Of the file that was started over, until its first frame is written."""

    def recover(self) -> tuple[int, list[bytes]]:
        """(generation, frames) of the file that is the truth; (0, []) for a new journal."""
        found: list[tuple[int, int, list[bytes]]] = []
        present = set(os.listdir(self.directory))
        for which, name in enumerate(NAMES):
            if name in present:
                generation, frames = read_frames((self.directory / name).read_bytes(), self.checksum)
                found.append((generation, which, frames))
        generation, self.current, frames = max(found, default=(0, -1, []), key=lambda row: row[0])
        self._kept = self.current
        return generation, frames

    def synced(self) -> None:
        """Everything written to the current file is on disk, its name included."""
        self._kept = self.current
        self._named[self.current] = True
        self._close_directory()

    def shorten(self) -> bool:
        """Take a share off the file that the next swap starts over. Returns False when that is short enough."""
        fd = self._open(self._other())
        left = os.fstat(fd).st_size - limits.CHECKPOINT_SHORTENED_PER_STEP
        if left <= 0:
            return False
        self.disk.truncate(fd, left)
        return True

    def swap(self, generation: int, at_once: bool = True) -> None:
        """Start the other file over; it is the current one from here. The next `append` is its checkpoint, or the first
        part of it.

        After an OSError, of that as well, it is to be called again before anything else is appended.
        """
        which = self._other()
        self.disk.truncate(self._open(which), 0)
        self._ends[which] = 0
        self.current = which
        self._header = header_bytes(generation, self.checksum, VERSION if at_once else VERSION_PARTS)

    def append(self, payload: bytes, goes_on: bool = False) -> int:
        """Add one frame to the current file, inside a checkpoint that `goes_on` or not. Returns the file's size.

        A file's header and the head of its first frame are one write within one sector: so no new header is there before
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

    def descriptor(self) -> int:
        """What has to be synced."""
        return self._fds[self.current]

    def directory_descriptor(self) -> int:
        """What has to be synced as well, or -1: the directory, until the current file's name is on disk."""
        if self._directory_fd < 0 and not self._named[self.current]:
            self._directory_fd = self.disk.open_directory(str(self.directory))
        return self._directory_fd

    def close(self) -> None:
        """Give back the descriptors."""
        for which, fd in enumerate(self._fds):
            if fd >= 0:
                self.disk.close(fd)
            self._fds[which] = -1
        self._close_directory()

    def _other(self) -> int:
        return 1 if self._kept == 0 else 0

    def _close_directory(self) -> None:
        if self._directory_fd >= 0:
            self.disk.close(self._directory_fd)
            self._directory_fd = -1

    def _open(self, which: int) -> int:
        if self._fds[which] < 0:
            self._fds[which] = self.disk.open_path(str(self.directory / NAMES[which]))
        return self._fds[which]

    def _append(self, data: bytes) -> None:
        fd, at = self._fds[self.current], self._ends[self.current]
        self.disk.put(fd, data, at)
        self._ends[self.current] = at + len(data)
