"""A value that must not be lost: two copies of it, each written only while the other one is good.

    save ──> write copy 0 ──sync──> `done` called, write copy 1 ──sync──> both good

    file: magic "MPCT" | version u32 | generation u64 | length u32 | crc32c of all before and of the payload, u32 | payload

The valid copy of the highest generation is the value. A copy is overwritten in place, so the names never
change; bytes after the payload are left over from longer values and are not read. Saves that come while a
sync runs are merged: the newest value is written, and every `done` is called once a sync covers it.
"""

import os
import struct

from millpond.base.errors import StoreError
from millpond.store.checksum import checksum

MAGIC = b"MPCT"
VERSION = 1
HEAD = struct.Struct("<4sIQII")
SUFFIXES = (".0", ".1")


def encode(uint64_t generation, bytes payload):
    """The bytes of one copy."""
    head = HEAD.pack(MAGIC, VERSION, generation, len(payload), 0)[: HEAD.size - 4]
    return head + struct.pack("<I", checksum(head + payload)) + payload


def decode(bytes data):
    """(generation, payload) of one copy; None when it is not whole."""
    if len(data) < HEAD.size:
        return None
    magic, version, generation, length, crc = HEAD.unpack_from(data)
    payload = data[HEAD.size : HEAD.size + length]
    if magic != MAGIC or len(payload) != length or checksum(data[: HEAD.size - 4] + payload) != crc:
        return None
    if version != VERSION:
        raise StoreError(f"catalog has version {version}; this server reads version {VERSION}")
    return generation, payload


def read_copies(str prefix):
    """[(generation, payload) or None] of the copies that exist, by suffix; a missing file is None."""
    directory, base = os.path.split(prefix)
    present = set(os.listdir(directory))
    found = []
    for suffix in SUFFIXES:
        if base + suffix in present:
            with open(prefix + suffix, "rb") as file:
                found.append(decode(file.read()))
        else:
            found.append(None)
    return found


cdef class Catalog(Target):
    """The value at `<prefix>.0` and `<prefix>.1`. Raises OSError when the directory cannot be read."""

    def __init__(self, str prefix, Committer committer):
        self._prefix, self._committer = prefix, committer
        self.failure = ""
        self._waiting, self._covered = [], []
        self._fds = [-1, -1]
        self._directory_fd = -1

    cpdef bytes load(self):
        """The newest valid value, None when there is none. Writes a bad or older copy again."""
        copies = read_copies(self._prefix)
        good = [copy for copy in copies if copy is not None]
        if not good:
            return None
        generation, payload = max(good)
        self.generation = max(generation, self.generation)
        for which, copy in enumerate(copies):
            if copy != (generation, payload):
                self._open(which)
                self._put(which, encode(generation, payload))
                os.fsync(self._fds[which])
                os.fsync(self._directory())
        return payload

    cpdef int save(self, bytes payload, object done=None) except -1:
        """Replace the value; `done()` is called when that is durable (never after a failure)."""
        if self.failure:
            raise StoreError(self.failure)
        if self.generation == 0:
            self.load()
        self.generation += 1
        self._image = encode(self.generation, payload)
        if done is not None:
            self._waiting.append(done)
        return self._committer.enlist(self)

    cdef int write(self) except -2:
        cdef bint second = self._second_due and self._written is self._image
        self._copy = 1 if second else 0
        if not second:
            self._written = self._image
            self._covered, self._waiting = self._waiting, []
        try:
            self._open(self._copy)
            self._put(self._copy, self._written)
            if not self._named:
                self.sync_first(self._directory())
        except OSError as error:
            self._fail(error.strerror or str(error))
            return -1
        return self._fds[self._copy]

    cdef int synced(self, int error) except -1:
        if error:
            self._fail(os.strerror(error))
            return 0
        if self._copy == 1:
            self._second_due = False
            self._named = True
            return 0
        self._second_due = True
        self._committer.enlist(self)
        covered, self._covered = self._covered, []
        for done in covered:
            done()
        return 0

    cpdef int close(self) except -1:
        """Commits what was saved and gives the descriptors back."""
        if self.enlisted or self.syncing:
            self._committer.drain()
        for fd in (*self._fds, self._directory_fd):
            if fd >= 0:
                os.close(fd)
        self._fds = [-1, -1]
        self._directory_fd = -1
        return 0

    def _open(self, which):
        if self._fds[which] < 0:
            self._fds[which] = os.open(self._prefix + SUFFIXES[which], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _directory(self):
        if self._directory_fd < 0:
            self._directory_fd = os.open(os.path.dirname(self._prefix), os.O_RDONLY | os.O_CLOEXEC)
        return self._directory_fd

    def _put(self, which, bytes image):
        view = memoryview(image)
        at = 0
        while at < len(image):
            at += os.pwrite(self._fds[which], view[at:], at)

    def _fail(self, reason):
        """The other copy still holds the value before; whoever waits is not told that this one is kept."""
        self.failure = f"cannot write {self._prefix}{SUFFIXES[self._copy]}: {reason}"
