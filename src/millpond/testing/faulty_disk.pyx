"""A disk that refuses, or whose pages are never in memory: for tests of what a store does then.

Reservations and writes are numbered as they come. Those from `first` to `last` raise OSError with `error`, when their
kind is in `kinds`. A refused write has written its first half: that is what a disk may do that becomes full.
"""

import errno
import os

from libc.errno cimport EIO
from libc.stdint cimport uint64_t

from millpond.store.disk cimport Disk, make_through

NEVER = 1 << 62


cdef int _write(void* self, int fd, const char* data, size_t size, uint64_t offset) noexcept with gil:
    try:
        (<FaultyDisk>self).write(fd, data, size, offset)
    except OSError as error:
        return error.errno or EIO
    return 0


cdef class FaultyDisk(Disk):
    """Give it to a ReadCache, whose stores then use it."""

    cdef public object kinds         # {"reserve", "write"}
    cdef public int error
    cdef public uint64_t first, last
    cdef public uint64_t calls       # reservations and writes so far
    cdef public list written         # (offset, bytes) of every write
    cdef public bint cold            # every read without a wait finds nothing
    cdef public uint64_t read_bytes  # asked for by reads that wait
    cdef public object unreadable    # [(first byte, behind the last)] of every file: a read of any of it fails (EIO)

    def __init__(self, kinds=("reserve", "write"), int error=0):
        self.kinds, self.error = frozenset(kinds), error
        self.first = self.last = NEVER
        self.written, self.unreadable = [], []
        self.for_workers.self, self.for_workers.write, self.for_workers.make = <void*>self, _write, make_through

    cdef int _counted(self, str kind) except -1:
        """1: this one is refused."""
        self.calls += 1
        return self.first <= self.calls <= self.last and kind in self.kinds

    def _refuse(self):
        raise OSError(self.error, os.strerror(self.error))

    def _check_readable(self, uint64_t offset, uint64_t end):
        if any([first < end and offset < behind for first, behind in self.unreadable]):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    cdef size_t read(self, int fd, char* data, size_t n, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF:
        self.read_bytes += n
        self._check_readable(offset, offset + n)
        return Disk.read(self, fd, data, n, offset)

    cdef size_t read_hot(self, int fd, char* data, size_t n, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF:
        self._check_readable(offset, offset + n)
        return 0 if self.cold else Disk.read_hot(self, fd, data, n, offset)

    cdef int reserve(self, int fd, uint64_t size) except -1:
        if self._counted("reserve") and <uint64_t>os.fstat(fd).st_size < size:
            self._refuse()
        return Disk.reserve(self, fd, size)

    cdef int write(self, int fd, const char* data, size_t n, uint64_t offset) except -1:
        if self._counted("write"):
            Disk.write(self, fd, data, n // 2, offset)
            self._refuse()
        self.written.append((offset, n))
        return Disk.write(self, fd, data, n, offset)

    cpdef int put(self, int fd, bytes data, uint64_t offset) except -1:
        return self.write(fd, data, len(data), offset)
