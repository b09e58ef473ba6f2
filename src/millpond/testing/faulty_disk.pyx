"""A disk that refuses, stands still, or whose pages are never in memory: for tests of what a store does then.

Reservations and writes are numbered as they come. Those from `first` to `last` raise OSError with `error`, when their
kind is in `kinds`. A refused write has written its first half: that is what a disk may do that becomes full. While it
stands still, what workers do waits; what the loop does fails the test.
"""

import errno
import os
import threading

from libc.errno cimport EIO
from libc.stdint cimport uint64_t

from millpond.store.disk cimport Disk, calls_sync, make_through, note_through

NEVER = 1 << 62


cdef int _write(void* self, int fd, const char* data, size_t size, uint64_t offset) noexcept with gil:
    (<FaultyDisk>self)._pass()
    try:
        (<FaultyDisk>self).write(fd, data, size, offset)
    except OSError as error:
        return error.errno or EIO
    return 0


cdef int _sync(void* self, int fd) noexcept with gil:
    (<FaultyDisk>self)._pass()
    return calls_sync(&(<FaultyDisk>self)._real.for_workers, fd)


cdef int _note(void* self, const char* path, const char* data, size_t size, uint64_t offset) noexcept with gil:
    (<FaultyDisk>self)._pass()
    return note_through(self, path, data, size, offset)


cdef int _make(void* self, const char* path, uint64_t size, int* fd) noexcept with gil:
    (<FaultyDisk>self)._pass()
    return make_through(self, path, size, fd)


cdef class FaultyDisk(Disk):
    """Give it to a ReadCache, whose stores then use it."""

    cdef public object kinds         # {"reserve", "write"}
    cdef public int error
    cdef public uint64_t first, last
    cdef public uint64_t calls       # reservations and writes so far
    cdef public list written         # (offset, bytes) of every write
    cdef public bint cold            # every read without a wait finds nothing
    cdef public uint64_t read_bytes  # asked for by reads that wait
    cdef Disk _real
    cdef object _goes_on             # threading.Event
    cdef public object unreadable    # [(first byte, behind the last)] of every file: a read of any of it fails (EIO)

    def __init__(self, kinds=("reserve", "write"), int error=0):
        self.kinds, self.error = frozenset(kinds), error
        self.first = self.last = NEVER
        self.written, self.unreadable = [], []
        self._real, self._goes_on = Disk(), threading.Event()
        self._goes_on.set()
        self.for_workers.self, self.for_workers.write, self.for_workers.sync = <void*>self, _write, _sync
        self.for_workers.note, self.for_workers.make = _note, _make

    def stand_still(self):
        self._goes_on.clear()

    def go_on(self):
        self._goes_on.set()

    cdef int _pass(self) except -1:
        """Of a worker: here it waits."""
        self._goes_on.wait()
        return 0

    cdef int _loop_asks(self) except -1:
        assert self._goes_on.is_set(), "the loop would wait for the disk"
        return 0

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
        self._loop_asks()
        if self._counted("reserve") and <uint64_t>os.fstat(fd).st_size < size:
            self._refuse()
        return Disk.reserve(self, fd, size)

    cdef int write(self, int fd, const char* data, size_t n, uint64_t offset) except -1:
        self._loop_asks()
        if self._counted("write"):
            Disk.write(self, fd, data, n // 2, offset)
            self._refuse()
        self.written.append((offset, n))
        return Disk.write(self, fd, data, n, offset)

    cpdef int put(self, int fd, bytes data, uint64_t offset) except -1:
        return self.write(fd, data, len(data), offset)

    cdef int open(self, str directory, str name, bint create) except -1:
        self._loop_asks()
        return Disk.open(self, directory, name, create)

    cpdef int open_path(self, str path) except -1:
        self._loop_asks()
        return Disk.open_path(self, path)

    cpdef int make_directory(self, str path) except -1:
        self._loop_asks()
        return Disk.make_directory(self, path)

    cdef int unlink(self, str directory, str name) except -1:
        self._loop_asks()
        return Disk.unlink(self, directory, name)
