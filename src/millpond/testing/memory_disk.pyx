"""A disk in memory, for campaigns that open a store millions of times: no call of it is one of the system.

It does what a file system does behind the store's door, no more: names in folders, files that live as long as they have
a name or a descriptor, lengths, bytes (zeros where none were written). It is kept as it is, changed, and put back, which
costs as much as what was changed. Everything has room; a sync says yes. There are no threads: what workers do is done
when their answer is taken. Descriptors are numbers that the system does not give.
"""

import errno
import os

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING
from libc.errno cimport EIO
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from millpond.store.disk cimport Disk, disk_calls, make_through, note_through

cdef enum:
    FD_FIRST = 1 << 24

cdef uint64_t FREE_BYTES = 1 << 40


cdef int _in_line(void* self) noexcept nogil:
    return 0


cdef int _write(void* self, int fd, const char* data, size_t size, uint64_t offset) noexcept with gil:
    try:
        (<MemoryDisk>self).write(fd, data, size, offset)
    except OSError as error:
        return error.errno or EIO
    return 0


cdef int _read(void* self, int fd, char* data, size_t size, uint64_t offset, size_t* got) noexcept with gil:
    try:
        got[0] = (<MemoryDisk>self).read(fd, data, size, offset)
    except OSError as error:
        return error.errno or EIO
    return 0


cdef int _sync(void* self, int fd) noexcept nogil:
    return 0


cdef class MemoryFile:
    """See the `.pxd`."""


cdef int _hold(MemoryFile file, uint64_t n) except -1:
    """Its first n bytes are in `data`."""
    cdef Py_ssize_t had = len(file.data)
    if <uint64_t>had < n:
        PyByteArray_Resize(file.data, n)
        memset(PyByteArray_AS_STRING(file.data) + had, 0, n - had)
    return 0


cdef int _resize(MemoryFile file, uint64_t size) except -1:
    if size < <uint64_t>len(file.data):
        PyByteArray_Resize(file.data, size)
    file.size, file.changed = size, True
    return 0


cdef MemoryFile _filled(bytes data):
    cdef MemoryFile file = MemoryFile()
    file.data, file.size, file.sound = bytearray(data), len(data), data
    return file


def files_in(source):
    """What lies in a real folder, as MemoryDisk takes it."""
    cdef dict found = {}
    for folder, folders, names in os.walk(source):
        below = folder[len(os.fspath(source)):]
        found.update({f"{below}/{name}": None for name in folders})
        found.update({f"{below}/{name}": _whole(os.path.join(folder, name)) for name in names})
    return found


cdef bytes _whole(str path):
    with open(path, "rb") as file:
        return file.read()


cdef tuple _split(str path):
    directory, _, name = path.rpartition("/")
    return directory, name


cdef object _refusal(int error, str path):
    return OSError(error, os.strerror(error), path)


cdef class MemoryDisk(Disk):
    """files: what there is below `root`, an absolute path: {"/name": bytes, or None for a folder}."""

    def __init__(self, str root, dict files):
        self._folders, self._open, self._free = {root: {}}, [], 0
        below = root
        while below:
            above, name = _split(below)
            self._folders[above] = {name: None}
            below = above
        self.for_workers = disk_calls(<void*>self, _in_line, _write, _read, _sync, note_through, make_through)
        for path, data in sorted(files.items()):
            if data is not None:
                directory, name = _split(root + path)
                self._folder(directory)[name] = _filled(data)
            elif path:
                self.make_directory(root + path)
        self._kept, self._renamed = {path: dict(folder) for path, folder in self._folders.items()}, False

    def put_back(self):
        """Everything is as it was at first. Nobody has anything open: a descriptor would mean another file then."""
        cdef MemoryFile file
        assert self.open_descriptors == 0, f"{self.open_descriptors} descriptors were not closed"
        if self._renamed:
            self._folders, self._renamed = {path: dict(folder) for path, folder in self._kept.items()}, False
        for folder in self._kept.values():
            for file in folder.values():
                if file is not None and file.changed:
                    file.size, file.changed = len(file.sound), False
                    PyByteArray_Resize(file.data, file.size)
                    memcpy(PyByteArray_AS_STRING(file.data), PyBytes_AS_STRING(file.sound), file.size)

    def flip(self, str path, uint64_t bit):
        """One bit of a file is the other one now."""
        cdef MemoryFile file = self._at(path)
        file.data[bit // 8] ^= 1 << bit % 8
        file.changed = True

    @property
    def open_descriptors(self):
        """How many there are."""
        return len(self._open) - self._open.count(None)

    # --- inside ---

    def _at(self, str path):
        directory, name = _split(path)
        found = self._folder(directory).get(name)
        if found is None:
            raise _refusal(errno.EISDIR if path in self._folders else errno.ENOENT, path)
        return found

    cdef dict _folder(self, str path):
        found = self._folders.get(path)
        if found is None:
            directory, name = _split(path)
            is_file = self._folders.get(directory, {}).get(name) is not None
            raise _refusal(errno.ENOTDIR if is_file else errno.ENOENT, path)
        return found

    cdef MemoryFile _file(self, int fd):
        cdef int at = fd - FD_FIRST
        if not 0 <= at < len(self._open) or not isinstance(self._open[at], MemoryFile):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._open[at]

    cdef int _opened(self, object what) except -1:
        while self._free < <uint64_t>len(self._open) and self._open[self._free] is not None:
            self._free += 1
        if self._free == <uint64_t>len(self._open):
            self._open.append(what)
        else:
            self._open[self._free] = what
        self._free += 1
        return FD_FIRST + <int>self._free - 1

    cdef int _open_at(self, str directory, str name, bint create) except -1:
        cdef dict folder = self._folder(directory)
        found = folder.get(name)
        if found is None:
            if name in folder:
                raise _refusal(errno.EISDIR, f"{directory}/{name}")
            if not create:
                raise _refusal(errno.ENOENT, f"{directory}/{name}")
            folder[name] = found = _filled(b"")
            self._renamed = True
        return self._opened(found)

    cdef int _forget(self, str directory, str name) except -1:
        cdef dict folder = self._folder(directory)
        if folder.get(name) is None:
            raise _refusal(errno.EISDIR if name in folder else errno.ENOENT, f"{directory}/{name}")
        del folder[name]
        self._renamed = True
        return 0

    cdef int _move(self, str directory, str old, str other, str new) except -1:
        found = self._at(f"{directory}/{old}")
        cdef dict folder = self._folder(other)
        if f"{other}/{new}" in self._folders:
            raise _refusal(errno.EISDIR, f"{other}/{new}")
        self._forget(directory, old)
        folder[new] = found
        return 0

    # --- Disk: names ---

    cpdef int open_directory(self, str path) except -1:
        self._folder(path)
        return self._opened(path)

    cdef int open(self, str directory, str name, bint create) except -1:
        return self._open_at(directory, name, create)

    cpdef int open_path(self, str path) except -1:
        directory, name = _split(path)
        return self._open_at(directory, name, True)

    cpdef int duplicate(self, int fd) except -1:
        return self._opened(self._open[fd - FD_FIRST])

    cpdef int lock(self, int fd) except -1:
        return 0

    cpdef int close(self, int fd) noexcept:
        cdef uint64_t at = fd - FD_FIRST
        self._open[at] = None
        self._free = min(self._free, at)
        return 0

    cdef int unlink(self, str directory, str name) except -1:
        return self._forget(directory, name)

    cdef int rename(self, str directory, str old, str new) except -1:
        return self._move(directory, old, directory, new)

    cpdef list names(self, str directory):
        return sorted(self._folder(directory))

    cpdef object size_at(self, str path):
        directory, name = _split(path)
        cdef MemoryFile file
        try:
            file = self._folder(directory).get(name)
        except FileNotFoundError:
            return -1
        return -1 if file is None else file.size

    cpdef bint is_directory(self, str path) except *:
        return path in self._folders

    cpdef int remove(self, str path) except -1:
        directory, name = _split(path)
        return self._forget(directory, name)

    cpdef int move(self, str old, str new) except -1:
        directory, name = _split(old)
        other, new_name = _split(new)
        return self._move(directory, name, other, new_name)

    cpdef int make_directory(self, str path) except -1:
        directory, name = _split(path)
        cdef dict folder = self._folder(directory)
        if name not in folder:
            self._folders[path], folder[name], self._renamed = {}, None, True
        elif folder[name] is not None:
            raise _refusal(errno.EEXIST, path)
        return 0

    cpdef int remove_directory(self, str path) except -1:
        directory, name = _split(path)
        if self._folder(path):
            raise _refusal(errno.ENOTEMPTY, path)
        del self._folders[path], self._folders[directory][name]
        self._renamed = True
        return 0

    # --- Disk: files ---

    cpdef object size(self, int fd):
        return self._file(fd).size

    cpdef bytes contents(self, str path, object most=None):
        cdef MemoryFile file = self._at(path)
        cdef uint64_t n = file.size if most is None else min(file.size, <uint64_t>most)
        return bytes(file.data[:n]) + bytes(n - min(n, <uint64_t>len(file.data)))

    cpdef int sync(self, int fd) except -1:
        return 0

    cdef int reserve(self, int fd, uint64_t size) except -1:
        return _resize(self._file(fd), size)

    cpdef int allocate(self, int fd, uint64_t begin, uint64_t end) except -1:
        cdef MemoryFile file = self._file(fd)
        return _resize(file, max(file.size, end))

    cpdef int truncate(self, int fd, uint64_t size) except -1:
        return _resize(self._file(fd), size)

    cpdef object free_bytes(self, object place):
        return FREE_BYTES

    cdef int write(self, int fd, const char* data, size_t n, uint64_t offset) except -1:
        cdef MemoryFile file = self._file(fd)
        if n:
            _hold(file, offset + n)
            memcpy(PyByteArray_AS_STRING(file.data) + offset, data, n)
            file.size, file.changed = max(file.size, offset + n), True
        return 0

    cpdef int put(self, int fd, bytes data, uint64_t offset) except -1:
        return self.write(fd, PyBytes_AS_STRING(data), len(data), offset)

    cdef size_t read(self, int fd, char* data, size_t n, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF:
        cdef MemoryFile file = self._file(fd)
        cdef uint64_t got = min(<uint64_t>n, file.size - min(file.size, offset))
        cdef uint64_t here = min(got, <uint64_t>len(file.data) - min(<uint64_t>len(file.data), offset))
        memcpy(data, PyByteArray_AS_STRING(file.data) + offset, here)
        memset(data + here, 0, got - here)
        return got

    cdef size_t read_hot(self, int fd, char* data, size_t n, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF:
        return self.read(fd, data, n, offset)

    cdef int drop(self, int fd, uint64_t offset, uint64_t n) noexcept:
        return 0
