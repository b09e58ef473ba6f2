"""A disk for simulations: it works, remembers what was done to it, and lets somebody say what fails.

Its files are real ones in a folder (of a memory file system, for speed), so that they can be read in every way. What
is made, changed, removed or synced is noted in `trace` as well, in the order in which it took effect:

    (WRITE, file, offset, bytes)   (SIZE, file, bytes)   exactly that long
    (NAME, path, file)   file None: a directory          (GONE, path)         (MOVED, old path, new path)
    (SYNCED, file or path, n)      what was done to it before step n is on disk
    (UNSYNCED, file or path, n)    that sync failed: each of these things is on disk, or never will be

Workers do their work in the caller's thread, when their answers are taken. A sync that was asked for covers what was
done until then, not what was done until the answer. A sync that fails is told to every descriptor that was open then,
once, as by Linux. `disk_image` says what a power cut leaves of a trace.
"""

import os

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EIO
from libc.stdint cimport uint64_t

from millpond.store.disk cimport Disk, disk_calls

WRITE, SIZE, NAME, GONE, MOVED, SYNCED, UNSYNCED = range(7)


class File:
    """What a name stands for; another one when a name is made anew."""


cdef int _write(void* self, int fd, const char* data, size_t size, uint64_t offset) noexcept with gil:
    try:
        (<SimulatedDisk>self).write(fd, data, size, offset)
    except OSError as error:
        return error.errno or EIO
    return 0


cdef int _read(void* self, int fd, char* data, size_t size, uint64_t offset, size_t* got) noexcept with gil:
    try:
        got[0] = (<SimulatedDisk>self).read(fd, data, size, offset)
    except OSError as error:
        return error.errno or EIO
    return 0


cdef int _sync(void* self, int fd) noexcept with gil:
    try:
        (<SimulatedDisk>self)._synced(fd, (<SimulatedDisk>self)._asked.pop(fd, None))
    except OSError as error:
        return error.errno or EIO
    return 0


cdef int _in_line(void* self) noexcept with gil:
    chosen = (<SimulatedDisk>self).next_job
    return 0 if chosen is None else chosen()


cdef class SimulatedDisk(Disk):
    """Give it to a `Storage` in `root`, which is there. Paths in the trace begin behind `root`.

    fault: None, or asked before each step of a kind ("open", "write", "reserve", "size", "sync", "name", "read"): an
    errno refuses it, 0 does not. A refused write has written its first half. cold: None, or asked before each read
    that must not wait: is it of what is not in memory? next_job: None, or asked which of a worker's jobs it does now,
    -1: none of them, 0: the first, 1: the last one.
    """

    cdef public list trace
    cdef public object fault, cold, next_job
    cdef str _root
    cdef dict _files                   # inode -> File, or a directory's path
    cdef dict _open                    # descriptor -> inode
    cdef set _owed                     # descriptors whose next sync fails, too: they were open when another one's did
    cdef dict _asked                   # descriptor -> length of the trace when a worker was asked to sync it

    def __init__(self, root):
        self._root = os.path.realpath(root)
        self.trace, self._files, self._asked, self._open, self._owed = [], {}, {}, {}, set()
        self.for_workers = disk_calls(<void*>self, _in_line, _write, _read, _sync)
        for folder, _, names in os.walk(self._root):
            self._files[os.stat(folder).st_ino] = folder[len(self._root):]
            for name in names:
                self._files[os.stat(os.path.join(folder, name)).st_ino] = File()

    def files(self):
        """{path: file} of what is there now; directories are None."""
        found = {}
        for folder, _, names in os.walk(self._root):
            found[folder[len(self._root):]] = None
            for name in names:
                path = os.path.join(folder, name)
                found[path[len(self._root):]] = self._files[os.stat(path).st_ino]
        return found

    # --- inside ---

    cdef int _may(self, str kind) except -1:
        error = self.fault(kind) if self.fault is not None else 0
        if error:
            raise OSError(error, os.strerror(error))
        return 0

    cdef object _of(self, int fd):
        return self._files[os.fstat(fd).st_ino]

    cdef str _inside(self, str path):
        assert path.startswith(self._root), f"{path} is not in {self._root}"
        return path[len(self._root):]

    cdef int _opened(self, int fd, str path, bint new) except -1:
        self._open[fd] = os.fstat(fd).st_ino
        if new:
            self._files[os.fstat(fd).st_ino] = file = File()
            self.trace.append((NAME, path, file))
        return fd

    cdef int _synced(self, int fd, object before) except -1:
        what = self._of(fd)
        if before is None:
            before = len(self.trace)
        try:
            if fd in self._owed:
                self._owed.remove(fd)
                raise OSError(EIO, os.strerror(EIO))
            self._may("sync")
        except OSError:
            inode = os.fstat(fd).st_ino
            self._owed.update([other for other, its in self._open.items() if its == inode and other != fd])
            self.trace.append((UNSYNCED, what, before))
            raise
        self.trace.append((SYNCED, what, before))
        return 0

    # --- Disk ---

    cpdef int open_directory(self, str path) except -1:
        self._may("open")
        return self._opened(Disk.open_directory(self, path), "", False)

    cdef int open(self, str directory, str name, bint create) except -1:
        path = f"{directory}/{name}"
        cdef bint new = create and not os.path.exists(path)
        self._may("open")
        if new:
            self._may("name")
        return self._opened(Disk.open(self, directory, name, create), self._inside(path) if new else "", new)

    cpdef int open_path(self, str path) except -1:
        cdef bint new = not os.path.exists(path)
        self._may("open")
        if new:
            self._may("name")
        return self._opened(Disk.open_path(self, path), self._inside(path), new)

    cpdef int close(self, int fd) noexcept:
        self._asked.pop(fd, None)
        self._open.pop(fd, None)
        self._owed.discard(fd)
        return Disk.close(self, fd)

    cdef int unlink(self, str directory, str name) except -1:
        self._may("name")
        Disk.unlink(self, directory, name)
        self.trace.append((GONE, self._inside(f"{directory}/{name}")))
        return 0

    cdef int rename(self, str directory, str old, str new) except -1:
        self._may("name")
        Disk.rename(self, directory, old, new)
        folder = self._inside(directory)
        self.trace.append((MOVED, f"{folder}/{old}", f"{folder}/{new}"))
        return 0

    cpdef int remove(self, str path) except -1:
        self._may("name")
        Disk.remove(self, path)
        self.trace.append((GONE, self._inside(path)))
        return 0

    cpdef int move(self, str old, str new) except -1:
        self._may("name")
        Disk.move(self, old, new)
        self.trace.append((MOVED, self._inside(old), self._inside(new)))
        return 0

    cpdef int make_directory(self, str path) except -1:
        cdef bint new = not os.path.exists(path)
        if new:
            self._may("name")
        Disk.make_directory(self, path)
        if new:
            self._files[os.stat(path).st_ino] = self._inside(path)
            self.trace.append((NAME, self._inside(path), None))
        return 0

    cpdef int remove_directory(self, str path) except -1:
        self._may("name")
        Disk.remove_directory(self, path)
        self.trace.append((GONE, self._inside(path)))
        return 0

    cpdef int sync(self, int fd) except -1:
        return self._synced(fd, None)

    cdef int sync_asked(self, int fd) except -1:
        self._asked[fd] = len(self.trace)
        return 0

    cdef int reserve(self, int fd, uint64_t size) except -1:
        self._may("reserve")
        Disk.reserve(self, fd, size)
        self.trace.append((SIZE, self._of(fd), size))
        return 0

    cpdef int allocate(self, int fd, uint64_t begin, uint64_t end) except -1:
        self._may("reserve")
        if begin < end:
            os.ftruncate(fd, end)                  # its blocks would be memory; what is set aside means nothing
        return 0

    cpdef int truncate(self, int fd, uint64_t size) except -1:
        self._may("size")
        Disk.truncate(self, fd, size)
        self.trace.append((SIZE, self._of(fd), size))
        return 0

    cdef int write(self, int fd, const char* data, size_t n, uint64_t offset) except -1:
        cdef size_t first = n
        refusal = None
        try:
            self._may("write")
        except OSError as error:
            first, refusal = n // 2, error
        Disk.write(self, fd, data, first, offset)
        self.trace.append((WRITE, self._of(fd), offset, PyBytes_FromStringAndSize(data, first)))
        if refusal is not None:
            raise refusal
        return 0

    cpdef int put(self, int fd, bytes data, uint64_t offset) except -1:
        return self.write(fd, data, len(data), offset)

    cdef size_t read(self, int fd, char* data, size_t n, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF:
        self._may("read")
        return Disk.read(self, fd, data, n, offset)

    cdef size_t read_hot(self, int fd, char* data, size_t n, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF:
        if self.cold is not None and self.cold():
            return 0
        return self.read(fd, data, n, offset)

    cdef int drop(self, int fd, uint64_t offset, uint64_t n) noexcept:
        return 0
