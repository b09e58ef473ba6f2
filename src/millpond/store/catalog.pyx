"""A value that must not be lost: two copies of it, each written only while the other one is good.

    save ──> write the copy that is not the last one on disk for sure ──sync──> `done` called, write the other copy

    file: magic "MPCT" | version u32 | generation u64 | length u32 | crc32c of all before and of the payload, u32 | payload

The valid copy of the highest generation is the value. A copy is overwritten in place, so the names never
change; bytes after the payload are left over from longer values and are not read. Saves that come while a
sync runs are merged: the newest value is written, and every `done` is called once a sync covers it.

The other copy is there for the day when the first one cannot be read. Nobody waits for it, and no sync is spent on it:
the kernel writes it in its own time, and until then it is not the one that a save relies on. So two equal copies say
that the value was synced once, but not which of them: the first save after a start syncs the one it relies on, in a
round of its own, before it writes over the other one, and makes sure of that one's name. Where they differ, the newer one may never have been synced, nor
is it believed when it was in vain: the next start writes it again where it is, syncs it, and then writes the other one.
A save is synced in the tier `interval` too, for two copies that are both in the kernel's memory are worth nothing.
On a full disk a save waits for room; who asks `Space.check` first has it refused instead. The files are open from a save
until it is done, so that it is refused at once when there is no descriptor for them, and nothing has changed.
"""

import errno
import logging
import os
import struct

from millpond.base.errors import StoreError
from millpond.store.checksum import checksum
from millpond.store.committer cimport tell_all
from millpond.store.disk cimport Disk
from millpond.store.disk import REAL
from millpond.store.space import is_shortage, passes

log = logging.getLogger("millpond")

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


def read_copies(str prefix, Disk disk=REAL, present=None):
    """[(generation, payload) or None] of the copies that exist, by suffix; a missing file is None. present: the names
    in the directory, if somebody knows."""
    directory, base = os.path.split(prefix)
    if present is None:
        present = disk.names(directory)
    found = []
    for suffix in SUFFIXES:
        found.append(_read(prefix + suffix, disk) if base + suffix in present else None)
    return found


def _read(str path, Disk disk):
    """One copy; one that cannot be read is not whole."""
    try:
        return decode(disk.contents(path))
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return None


cdef class Catalog(Target):
    """The value at `<prefix>.0` and `<prefix>.1`; `new`: there is none yet. `same(payload, payload)`: may these be two
    values of one owner? Raises OSError when the directory cannot be read."""

    def __init__(self, str prefix, Committer committer, bint new=False, object same=None):
        self._prefix, self._committer, self._new, self._same = prefix, committer, new, same
        self.insists = True
        self.failure = ""
        self._waiting, self._covered = [], []
        self._fds = [-1, -1]
        self._certain = self._directory_fd = -1

    cpdef bytes load(self, object present=None):
        """The newest valid value, None when there is none. Writes a bad or older copy again, if there is room."""
        copies = read_copies(self._prefix, self._committer.disk, present)
        good = [copy for copy in copies if copy is not None]
        if not good:
            return None
        if len(good) == 2 and self._same is not None and good[0][1] != good[1][1] \
                and not self._same(good[0][1], good[1][1]):
            raise StoreError(f"{self._prefix}.0 and .1 are copies of different things: one of the files was exchanged. "
                             "Remove the one that is not of this stream")
        generation, payload = max(good)
        self.generation = max(generation, self.generation)
        self._certain = copies.index((generation, payload))
        self._trusted, self._named = True, False   # a kill may have come before the names were on disk
        for which, copy in enumerate(copies):
            if copy != (generation, payload):
                self._repair(which, encode(generation, payload))
        return payload

    def _repair(self, which, bytes image):
        """The older copy is the only one that is surely on disk, until the newer one is. That one takes the name of the
        other: a sync of its own name may have failed, and says nothing of it when it succeeds later. Before any name is
        made or moved its own is synced all the same, for a start that was killed here may have given it that."""
        disk = self._committer.disk
        try:
            self._open_one(self._certain)
            self._put(self._certain, image)
            disk.sync(self._fds[self._certain])
            self._trusted = False
            disk.sync(self._directory())
            disk.move(self._prefix + SUFFIXES[self._certain], self._prefix + SUFFIXES[which])
            self._certain, which = which, self._certain
            disk.sync(self._directory())
            self._close_files()
            self._open()
            self._put(which, image)
        except OSError as error:
            if not passes(error):
                raise
            self._warn(which)
        finally:
            self._close_files()

    cpdef int save(self, bytes payload, object done=None) except -1:
        """Replace the value (see the `.pxd`)."""
        if self.generation == 0 and not self._new:
            self.load()
        self.prepare()
        self.generation += 1
        self._image = encode(self.generation, payload)
        if done is not None:
            self._waiting.append(done)
        return self._committer.enlist(self)

    cpdef int prepare(self) except -1:
        if self.failure:
            raise StoreError(self.failure)
        if not self._committer.moves():
            return 0                               # write() opens it, when the disk goes on
        try:
            self._open()
            if not self._named:
                self._directory()
        except OSError as error:                   # others are met again by write()
            if not (self.enlisted or self.syncing or self.stalled):
                self._close_files()
            if is_shortage(error):
                raise
        return 0

    cdef int write(self) except -2:
        self._copy = 1 if self._certain == 0 else 0
        try:
            self._open()
            if self._trusted and self._committer.ever_syncs:
                self._copy, self._proving = self._certain, True
                return self._fds[self._copy]
            self._covered, self._waiting = self._covered + self._waiting, []
            self._written = self._image
            self._committer.put_bytes(self, self._fds[self._copy], self._written, 0)
            if not self._named:
                self.sync_also(self._directory())
        except OSError as error:
            self._committer.forget(self)
            if passes(error):
                raise
            self._fail(error.strerror or str(error))
            return -1
        return self._fds[self._copy]

    cdef int synced(self, int error) except -1:
        if error:
            self._fail(os.strerror(error))
            return 0
        if self._proving:
            self._proving = self._trusted = False
            return self._committer.enlist(self)
        self._certain, self._named = self._copy, True
        if self._written is self._image:           # else the next save writes over it at once
            self._write_other(1 - self._copy)
            self._close_files()
        covered, self._covered = self._covered, []
        return tell_all(covered, "")

    def _write_other(self, which):
        try:
            self._put(which, self._written)
        except OSError:
            self._warn(which)

    cpdef int when_kept(self, object done) except -1:
        if self.enlisted or self.stalled:
            self._waiting.append(done)
        elif self.syncing:
            self._covered.append(done)
        else:
            done(self.failure)
        return 0

    cpdef int close(self) except -1:
        """Commits what was saved, as far as there is room, and gives the descriptors back."""
        if self.enlisted or self.syncing or self.stalled:
            self._committer.drain()
        self.gone = True
        return self._close_files()

    cpdef int discard(self) except -1:
        self._committer.let_go(self, self._close_files)
        return tell_all(self._everyone(), "")

    def _everyone(self):
        everyone, self._covered, self._waiting = self._covered + self._waiting, [], []
        return everyone

    def _open(self):
        """Both: the second copy's name is as durable as the first one's."""
        self._open_one(0)
        self._open_one(1)

    def _open_one(self, which):
        if self._fds[which] < 0:
            self._fds[which] = self._committer.disk.open_path(self._prefix + SUFFIXES[which])

    cpdef int _close_files(self) except -1:
        for fd in (*self._fds, self._directory_fd):
            if fd >= 0:
                self._committer.disk.close(fd)
        self._fds = [-1, -1]
        self._directory_fd = -1
        return 0

    def _directory(self):
        if self._directory_fd < 0:
            self._directory_fd = self._committer.disk.open_directory(os.path.dirname(self._prefix))
        return self._directory_fd

    def _put(self, which, bytes image):
        self._committer.disk.put(self._fds[which], image, 0)

    def _warn(self, which):
        log.warning("%s%s is not whole and could not be written; the other copy is", self._prefix, SUFFIXES[which])

    def _fail(self, reason):
        """The other copy still holds the value before; whoever waits is told that this one is not kept."""
        self.failure = f"cannot write {self._prefix}{SUFFIXES[self._copy]}: {reason}"
        self._close_files()
        tell_all(self._everyone(), self.failure)
