"""The two files behind a consumer journal: their bytes, and which of them is the truth.

    header   magic "MPCJ" | version u32 | generation u64 | crc32c of the 16 bytes before, u32
    frame    length u32 | crc32c of the payload, u32 | payload            (repeated)

The first frame of a file is a checkpoint (its payload ends with the END op); every later frame is one
committed batch of changes. A swap writes the file that is not the last one known to be on disk, from its start and
with the next generation, so a swap that is torn, or refused, or whose sync fails leaves that one whole. The valid file
of the highest generation is the truth; frames after the first torn or damaged one are not read. All numbers are
little-endian.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from millpond.base.errors import StoreError
from millpond.store.disk import REAL, Disk

NAMES: Final = ("consumers.0", "consumers.1")
HEADER: Final = struct.Struct("<4sIQI")
FRAME: Final = struct.Struct("<II")
MAGIC: Final = b"MPCJ"
VERSION: Final = 1
COPIED_MAX: Final = 256 * 1024
"""To put a frame together costs less than another write as long as it is shorter."""

Checksum = Callable[[bytes], int]


def header_bytes(generation: int, checksum: Checksum) -> bytes:
    """The header of a file of this generation."""
    start = struct.pack("<4sIQ", MAGIC, VERSION, generation)
    return start + struct.pack("<I", checksum(start))


def read_frames(data: bytes, checksum: Checksum) -> tuple[int, list[bytes]]:
    """(generation, payloads of the valid prefix); generation 0 when there is no valid checkpoint."""
    if len(data) < HEADER.size:
        return 0, []
    magic, version, generation, crc = HEADER.unpack_from(data)
    if magic != MAGIC or crc != checksum(data[: HEADER.size - 4]):
        return 0, []
    if version != VERSION:
        raise StoreError(f"consumer journal has version {version}; this server reads version {VERSION}")
    frames = []
    at = HEADER.size
    while at + FRAME.size <= len(data):
        length, crc = FRAME.unpack_from(data, at)
        payload = data[at + FRAME.size : at + FRAME.size + length]
        if not payload or len(payload) != length or checksum(payload) != crc:
            break  # zeros are no frame: a power cut may leave a file's length without its bytes
        frames.append(payload)
        at += FRAME.size + length
    return (generation, frames) if frames else (0, [])


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

    def swap(self, generation: int, checkpoint: bytes) -> int:
        """Start the other file over with a checkpoint; it is the current one from here. Returns its size.

        The other one than the one on disk; where none is yet, than the one written last: its name may never be certain.

        After an OSError it is to be called again before anything is appended.
        """
        which = 1 - (self._kept if self._kept >= 0 else self.current) if self.current >= 0 else 0
        fd = self._open(which)
        self.disk.truncate(fd, 0)
        self._ends[which] = 0
        self.current = which
        return self.append(checkpoint, header_bytes(generation, self.checksum))

    def append(self, payload: bytes, before: bytes = b"") -> int:
        """Add one frame to the current file, and `before` in front of it. Returns the file's size.

        A file's header and the head of its first frame are one write within one sector: so no new header stands before
        an old frame.
        """
        head = before + FRAME.pack(len(payload), self.checksum(payload))
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
