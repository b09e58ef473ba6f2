"""A disk for simulations: it works, remembers what was done to it, and lets somebody say what fails.

Its files are those of a disk behind it: the real one, so that they can be read in every way, or one in memory, which is
faster. What is made, changed, removed or synced is noted in `trace` as well, in the order in which it took effect:

    (WRITE, file, offset, bytes)   (SIZE, file, bytes)   exactly that long
    (NAME, path, file)   file None: a directory          (GONE, path)         (MOVED, old path, new path)
    (SYNCED, file or path, n)      what was done to it before step n is on disk
    (UNSYNCED, file or path, n)    that sync failed: each of these things is on disk, or never will be

Workers do their work in the caller's thread, when their answers are taken. A sync that was asked for covers what was
done until then, not what was done until the answer. A sync that fails is told to every descriptor that was open then,
once, as by Linux. `disk_image` says what a power cut leaves of a trace, and what a process finds that comes after a kill.

It may become full: `free` is what it has room for, by the lengths of its files. What has its place on it (a file's
length) can be written; what would grow is refused, once there is no room.
"""

import os

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EIO, ENOSPC
from libc.stdint cimport int64_t, uint64_t

from millpond.store.disk cimport Disk, disk_calls, make_through, note_through

from millpond.store.disk import REAL

WRITE, SIZE, NAME, GONE, MOVED, SYNCED, UNSYNCED = range(7)


class File:
    """What a name stands for; another one when a name is made anew."""


cdef int _write(void* self, int fd, const char* data, size_t size, uint64_t offset) noexcept with gil:
    try:
        (<SimulatedDisk>self).write(fd, data, size, offset)
    except OSError as error:
        return error.errno or EIO
    if fd in (<SimulatedDisk>self)._asked:
        (<SimulatedDisk>self).sync_asked(fd)           # who writes before a sync begins that afterwards
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
    """Give it to a `Storage` in `root`, which is there. Paths in the trace begin behind `root`. behind: has its files.

    known: {path: File} of files that are the ones of a trace; trace: that one, which goes on with what is done now.

    fault: None, or asked before each step of a kind ("open", "write", "reserve", "size", "sync", "name", "read"): an
    errno refuses it, 0 does not. A refused write has written its first half. cold: None, or asked before each read
    that must not wait: is it of what is not in memory? next_job: None, or asked which of a worker's jobs it does now,
    -1: none of them, 0: the first, 1: the last one. pieces: None, or asked how many bytes of a write of so many are
    taken at once, 1 at least; the others are another write. free: None, or how many bytes are free.
    """

    cdef public list trace
    cdef public object fault, cold, next_job, pieces, free
    cdef Disk _behind
    cdef str _root
    cdef dict _names                   # path -> File; None: a directory
    cdef dict _open                    # descriptor -> File, or a directory's path
    cdef set _owed                     # descriptors whose next sync fails, too: they were open when another one's did
    cdef dict _asked                   # descriptor -> length of the trace when a worker was asked to sync it

    def __init__(self, root, known=None, trace=(), Disk behind=REAL):
        self._root, self._behind = os.path.realpath(root) if behind is REAL else root, behind
        self.trace, self._names, self._asked, self._open, self._owed = list(trace), {"": None}, {}, {}, set()
        self.for_workers = disk_calls(<void*>self, _in_line, _write, _read, _sync, note_through, make_through)
        self._look("", known or {})

    cdef int _look(self, str folder, dict known) except -1:
        for name in self._behind.names(self._root + folder):
            path = f"{folder}/{name}"
            if self._behind.is_directory(self._root + path):
                self._names[path] = None
                self._look(path, known)
            else:
                self._names[path] = known.get(path) or File()
        return 0

    def files(self):
        """{path: file} of what is there now; directories are None."""
        return dict(self._names)

    # --- inside ---

    cdef int _may(self, str kind) except -1:
        error = self.fault(kind) if self.fault is not None else 0
        if error:
            raise OSError(error, os.strerror(error))
        return 0

    cdef int _grow(self, int64_t more) except -1:
        """Takes room, or gives some back (below 0)."""
        if self.free is None:
            return 0
        if more > self.free:
            raise OSError(ENOSPC, os.strerror(ENOSPC))
        self.free -= more
        return 0

    cdef int _gives_back(self, str path) except -1:
        """A name goes, and its file's bytes."""
        if self.free is not None:
            self.free += max(0, self._behind.size_at(path))
        return 0

    cdef object _of(self, int fd):
        return self._open[fd]

    cdef str _inside(self, str path):
        assert path.startswith(self._root), f"{path} is not in {self._root}"
        return path[len(self._root):]

    cdef int _opened(self, int fd, str path) except -1:
        """Of a file, which may be new."""
        file = self._names.get(path)
        if file is None:
            self._names[path] = file = File()
            self.trace.append((NAME, path, file))
        return self._stands_for(fd, file)

    cdef int _stands_for(self, int fd, object what) except -1:
        self._open[fd] = what
        self._owed.discard(fd)                     # of a former file with this number, which a worker has closed
        return fd

    cdef int _forget(self, str path) except -1:
        path = self._inside(path)
        self._names.pop(path, None)
        self.trace.append((GONE, path))
        return 0

    cdef int _moved(self, str old, str new) except -1:
        old, new = self._inside(old), self._inside(new)
        self._names[new] = self._names.pop(old)
        self.trace.append((MOVED, old, new))
        return 0

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
            self._owed.update([other for other, its in self._open.items() if its == what and other != fd])
            self.trace.append((UNSYNCED, what, before))
            raise
        self.trace.append((SYNCED, what, before))
        return 0

    # --- Disk ---

    cpdef int open_directory(self, str path) except -1:
        self._may("open")
        return self._stands_for(self._behind.open_directory(path), self._inside(path))

    cdef int open(self, str directory, str name, bint create) except -1:
        cdef str path = self._inside(f"{directory}/{name}")
        self._may("open")
        if create and path not in self._names:
            self._may("name")
        return self._opened(self._behind.open(directory, name, create), path)

    cpdef int open_path(self, str path) except -1:
        cdef str inside = self._inside(path)
        self._may("open")
        if inside not in self._names:
            self._may("name")
        return self._opened(self._behind.open_path(path), inside)

    cpdef int duplicate(self, int fd) except -1:
        return self._stands_for(self._behind.duplicate(fd), self._of(fd))

    cpdef int lock(self, int fd) except -1:
        return self._behind.lock(fd)

    cpdef int close(self, int fd) noexcept:
        self._asked.pop(fd, None)
        self._open.pop(fd, None)
        self._owed.discard(fd)
        return self._behind.close(fd)

    cpdef list names(self, str directory):
        return self._behind.names(directory)

    cpdef object size_at(self, str path):
        return self._behind.size_at(path)

    cpdef bint is_directory(self, str path) except *:
        return self._behind.is_directory(path)

    cpdef object size(self, int fd):
        return self._behind.size(fd)

    cpdef bytes contents(self, str path, object most=None):
        return self._behind.contents(path, most)

    cdef int unlink(self, str directory, str name) except -1:
        self._may("name")
        self._gives_back(f"{directory}/{name}")
        self._behind.unlink(directory, name)
        return self._forget(f"{directory}/{name}")

    cdef int rename(self, str directory, str old, str new) except -1:
        self._may("name")
        self._gives_back(f"{directory}/{new}")
        self._behind.rename(directory, old, new)
        return self._moved(f"{directory}/{old}", f"{directory}/{new}")

    cpdef int remove(self, str path) except -1:
        self._may("name")
        self._gives_back(path)
        self._behind.remove(path)
        return self._forget(path)

    cpdef int move(self, str old, str new) except -1:
        self._may("name")
        self._gives_back(new)
        self._behind.move(old, new)
        return self._moved(old, new)

    cpdef int make_directory(self, str path) except -1:
        cdef str inside = self._inside(path)
        cdef bint new = inside not in self._names
        if new:
            self._may("name")
        self._behind.make_directory(path)
        if new:
            self._names[inside] = None
            self.trace.append((NAME, inside, None))
        return 0

    cpdef int remove_directory(self, str path) except -1:
        self._may("name")
        self._behind.remove_directory(path)
        return self._forget(path)

    cpdef int sync(self, int fd) except -1:
        return self._synced(fd, None)

    cdef int sync_asked(self, int fd) except -1:
        self._asked[fd] = len(self.trace)
        return 0

    cdef int reserve(self, int fd, uint64_t size) except -1:
        self._may("reserve")
        self._grow(<int64_t>size - <int64_t>self._behind.size(fd))
        self._behind.reserve(fd, size)
        self.trace.append((SIZE, self._of(fd), size))
        return 0

    cpdef int allocate(self, int fd, uint64_t begin, uint64_t end) except -1:
        self._may("reserve")
        if begin < end:
            self._grow(<int64_t>end - <int64_t>self._behind.size(fd))
            self._behind.truncate(fd, end)         # its blocks would be memory; what is set aside means nothing
        return 0

    cpdef int truncate(self, int fd, uint64_t size) except -1:
        self._may("size")
        self._grow(<int64_t>size - <int64_t>self._behind.size(fd))
        self._behind.truncate(fd, size)
        self.trace.append((SIZE, self._of(fd), size))
        return 0

    cdef int write(self, int fd, const char* data, size_t n, uint64_t offset) except -1:
        cdef size_t at = 0, part
        while True:
            part = n - at
            if self.pieces is not None and part > 1:
                part = min(part, <size_t>self.pieces(part))
            self._write_piece(fd, data + at, part, offset + at)
            at += part
            if at == n:
                return 0

    cdef int _write_piece(self, int fd, const char* data, size_t n, uint64_t offset) except -1:
        cdef size_t first = n
        refusal = None
        try:
            self._may("write")
            if self.free is not None:
                self._grow(max(0, <int64_t>(offset + n) - <int64_t>self._behind.size(fd)))
        except OSError as error:
            first, refusal = n // 2, error
            if error.errno == ENOSPC and self.free is not None:
                first = min(n, max(0, <int64_t>self._behind.size(fd) - <int64_t>offset))
        self._behind.write(fd, data, first, offset)
        self.trace.append((WRITE, self._of(fd), offset, PyBytes_FromStringAndSize(data, first)))
        if refusal is not None:
            raise refusal
        return 0

    cpdef int put(self, int fd, bytes data, uint64_t offset) except -1:
        return self.write(fd, data, len(data), offset)

    cdef size_t read(self, int fd, char* data, size_t n, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF:
        self._may("read")
        return self._behind.read(fd, data, n, offset)

    cdef size_t read_hot(self, int fd, char* data, size_t n, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF:
        if self.cold is not None and self.cold():
            return 0
        return self.read(fd, data, n, offset)

    cpdef object free_bytes(self, object place):
        return self._behind.free_bytes(place) if self.free is None else self.free

    cdef int drop(self, int fd, uint64_t offset, uint64_t n) noexcept:
        return 0
