"""A disk in front of another one: it numbers every call, says so before it is made, and lets somebody refuse it.

`asked(number, kind, path)` is called before each call and gives an errno (the call is refused with it) or 0. Kinds:

    open       a descriptor for a file or a directory that is there, or for one more of the same file
    make       the same, and the file is new       mkdir, rmdir, unlink, rename
    read       a range, or a whole small file      look: names, a length, what a name stands for
    write      a range      size: a length          reserve: blocks
    sync       a file, or a directory's names       free: what the file system has left

A refused write has written its first half. A refused sync leaves the pages as one that failed does (the disk behind has
to be a `SimulatedDisk`). Closing, and giving the kernel's pages back, have no outcome that anybody asks for.
"""

import os

from libc.errno cimport EIO
from libc.stdint cimport uint64_t

from millpond.store.disk cimport Disk, calls_sync, calls_write, disk_calls, make_through, note_through


cdef int _write(void* self, int fd, const char* data, size_t size, uint64_t offset) noexcept with gil:
    cdef NumberedDisk disk = <NumberedDisk>self
    cdef Disk behind = disk._behind
    cdef int error
    try:
        error = disk._number("write", disk._path(fd))
        if error:
            if fd in disk._paths:
                behind.write(fd, data, size // 2, offset)
            return error
    except OSError as failed:
        return failed.errno or EIO
    return calls_write(&behind.for_workers, fd, data, size, offset)


cdef int _read(void* self, int fd, char* data, size_t size, uint64_t offset, size_t* got) noexcept with gil:
    try:
        got[0] = (<NumberedDisk>self).read(fd, data, size, offset)
    except OSError as error:
        return error.errno or EIO
    return 0


cdef int _sync(void* self, int fd) noexcept with gil:
    cdef Disk behind = (<NumberedDisk>self)._behind
    cdef int error = (<NumberedDisk>self)._number("sync", (<NumberedDisk>self)._path(fd))
    if fd not in (<NumberedDisk>self)._paths:
        return EIO
    if error:
        (<NumberedDisk>self)._refuse_sync(error)
    error = calls_sync(&behind.for_workers, fd)
    (<object>behind).fault = None
    return error


cdef int _in_line(void* self) noexcept with gil:
    cdef Disk behind = (<NumberedDisk>self)._behind
    return behind.for_workers.in_line(behind.for_workers.self)


def _dead(number, kind, path):
    return EIO


cdef class NumberedDisk(Disk):
    """`behind`: a disk without threads."""

    cdef Disk _behind
    cdef dict _paths                   # descriptor -> path
    cdef public object asked
    cdef public uint64_t calls         # so far

    def __init__(self, Disk behind, asked):
        assert behind.for_workers.in_line != NULL, "there are threads"
        self._behind, self.asked, self._paths = behind, asked, {}
        self.for_workers = disk_calls(<void*>self, _in_line, _write, _read, _sync, note_through, make_through)

    def die(self):
        """The end of its process: nothing is done any more, and what is open is closed."""
        for fd in list(self._paths):
            self._behind.close(fd)
        self._paths.clear()
        self.asked = _dead

    # --- inside ---

    cdef str _path(self, int fd):
        return self._paths.get(fd, "")

    cdef int _number(self, str kind, str path) except -1:
        """Returns an errno, or 0."""
        self.calls += 1
        return self.asked(self.calls, kind, path)

    cdef int _may(self, str kind, str path) except -1:
        cdef int error = self._number(kind, path)
        if error:
            raise OSError(error, os.strerror(error), path)
        return 0

    cdef int _known(self, int fd, str path) except -1:
        self._paths[fd] = path
        return fd

    def _refuse_sync(self, int error):
        left = [error]                             # once: what else is synced meanwhile is not refused
        (<object>self._behind).fault = lambda kind: left.pop() if left and kind == "sync" else 0

    # --- Disk ---

    cpdef int open_directory(self, str path) except -1:
        self._may("open", path)
        return self._known(self._behind.open_directory(path), path)

    cdef int open(self, str directory, str name, bint create) except -1:
        cdef str path = f"{directory}/{name}"
        self._may("make" if create and not os.path.exists(path) else "open", path)
        return self._known(self._behind.open(directory, name, create), path)

    cpdef int open_path(self, str path) except -1:
        self._may("open" if os.path.exists(path) else "make", path)
        return self._known(self._behind.open_path(path), path)

    cpdef int duplicate(self, int fd) except -1:
        self._may("open", self._path(fd))
        return self._known(self._behind.duplicate(fd), self._path(fd))

    cpdef int lock(self, int fd) except -1:
        return self._behind.lock(fd)

    cpdef int close(self, int fd) noexcept:
        if self._paths.pop(fd, None) is None:      # it was closed when its process ended
            return 0
        return self._behind.close(fd)

    cpdef list names(self, str directory):
        self._may("look", directory)
        return self._behind.names(directory)

    cpdef object size_at(self, str path):
        self._may("look", path)
        return self._behind.size_at(path)

    cpdef bint is_directory(self, str path) except *:
        self._may("look", path)
        return self._behind.is_directory(path)

    cpdef object size(self, int fd):
        self._may("look", self._path(fd))
        return self._behind.size(fd)

    cpdef bytes contents(self, str path, object most=None):
        self._may("open", path)
        self._may("read", path)
        return self._behind.contents(path, most)

    cdef int unlink(self, str directory, str name) except -1:
        self._may("unlink", f"{directory}/{name}")
        return self._behind.unlink(directory, name)

    cdef int rename(self, str directory, str old, str new) except -1:
        self._may("rename", f"{directory}/{new}")
        return self._behind.rename(directory, old, new)

    cpdef int remove(self, str path) except -1:
        self._may("unlink", path)
        return self._behind.remove(path)

    cpdef int move(self, str old, str new) except -1:
        self._may("rename", new)
        return self._behind.move(old, new)

    cpdef int make_directory(self, str path) except -1:
        self._may("mkdir", path)
        return self._behind.make_directory(path)

    cpdef int remove_directory(self, str path) except -1:
        self._may("rmdir", path)
        return self._behind.remove_directory(path)

    cpdef int sync(self, int fd) except -1:
        cdef int error = self._number("sync", self._path(fd))
        if fd not in self._paths:
            raise OSError(EIO, os.strerror(EIO))
        if error:
            self._refuse_sync(error)
        try:
            return self._behind.sync(fd)
        finally:
            (<object>self._behind).fault = None

    cdef int sync_asked(self, int fd) except -1:
        return self._behind.sync_asked(fd)

    cdef int reserve(self, int fd, uint64_t size) except -1:
        self._may("reserve", self._path(fd))
        return self._behind.reserve(fd, size)

    cpdef int allocate(self, int fd, uint64_t begin, uint64_t end) except -1:
        self._may("reserve", self._path(fd))
        return self._behind.allocate(fd, begin, end)

    cpdef int truncate(self, int fd, uint64_t size) except -1:
        self._may("size", self._path(fd))
        return self._behind.truncate(fd, size)

    cpdef object free_bytes(self, object place):
        self._may("free", place if isinstance(place, str) else self._path(place) if isinstance(place, int) else str(place))
        return self._behind.free_bytes(place)

    cdef int write(self, int fd, const char* data, size_t n, uint64_t offset) except -1:
        cdef int error = self._number("write", self._path(fd))
        if error:
            if fd in self._paths:
                self._behind.write(fd, data, n // 2, offset)
            raise OSError(error, os.strerror(error), self._path(fd))
        return self._behind.write(fd, data, n, offset)

    cpdef int put(self, int fd, bytes data, uint64_t offset) except -1:
        return self.write(fd, data, len(data), offset)

    cdef size_t read(self, int fd, char* data, size_t n, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF:
        self._may("read", self._path(fd))
        return self._behind.read(fd, data, n, offset)

    cdef size_t read_hot(self, int fd, char* data, size_t n, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF:
        self._may("read", self._path(fd))
        return self._behind.read_hot(fd, data, n, offset)

    cdef int drop(self, int fd, uint64_t offset, uint64_t n) noexcept:
        return self._behind.drop(fd, offset, n)
