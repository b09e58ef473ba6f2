"""Files, as the store uses them: whole ranges, retried when interrupted, errors as OSError."""

import errno
import fcntl
import os
import stat

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t

from millpond.base import limits

cdef extern from "disk.h" nogil:
    int disk_write(int fd, const char* data, size_t size, uint64_t offset)
    int disk_read(int fd, char* data, size_t size, uint64_t offset, size_t* got)
    int disk_read_hot(int fd, char* data, size_t size, uint64_t offset, size_t* got)
    void disk_drop(int fd, uint64_t offset, uint64_t size)
    int disk_reserve(int fd, uint64_t size)
    int disk_call_write(void* self, int fd, const char* data, size_t size, uint64_t offset)
    int disk_call_read(void* self, int fd, char* data, size_t size, uint64_t offset, size_t* got)
    int disk_call_sync(void* self, int fd)
    int disk_call_note(void* self, const char* path, const char* data, size_t size, uint64_t offset)
    int disk_call_make(void* self, const char* path, uint64_t size, int* fd)

cdef extern from "unistd.h" nogil:
    int c_close "close"(int fd)


cdef int OPENS = os.O_RDWR | os.O_CLOEXEC, CREATES = OPENS | os.O_CREAT
cdef uint64_t RESERVE_STEP_BYTES = limits.RESERVE_STEP_BYTES


cdef int _raise(int error) except -1:
    raise OSError(error, os.strerror(error))


cdef int note_through(void* self, const char* path, const char* data, size_t size, uint64_t offset) noexcept with gil:
    cdef Disk disk = <Disk>self
    cdef int fd
    try:
        fd = disk.open_path(os.fsdecode(path))
        try:
            disk.write(fd, data, size, offset)
        finally:
            disk.close(fd)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


cdef int make_through(void* self, const char* path, uint64_t size, int* fd) noexcept with gil:
    cdef Disk disk = <Disk>self
    fd[0] = -1
    try:
        fd[0] = disk.open_path(os.fsdecode(path))
        disk.reserve(fd[0], size)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


cdef class Disk:
    """The real one."""

    def __cinit__(self):
        self.for_workers = disk_calls(NULL, NULL, disk_call_write, disk_call_read, disk_call_sync,
                                      disk_call_note, disk_call_make)

    cpdef int open_directory(self, str path) except -1:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    cdef int open(self, str directory, str name, bint create) except -1:
        return os.open(f"{directory}/{name}", CREATES if create else OPENS, 0o640)

    cpdef int open_path(self, str path) except -1:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)

    cpdef int duplicate(self, int fd) except -1:
        return os.dup(fd)

    cpdef int lock(self, int fd) except -1:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return 0

    cpdef int close(self, int fd) noexcept:
        return c_close(fd)

    cpdef list names(self, str directory):
        return sorted(os.listdir(directory))

    cpdef object size_at(self, str path):
        try:
            return os.stat(path).st_size
        except FileNotFoundError:
            return -1

    cpdef bint is_directory(self, str path) except *:
        try:
            return stat.S_ISDIR(os.stat(path).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    cpdef object size(self, int fd):
        return os.fstat(fd).st_size

    cpdef bytes contents(self, str path, object most=None):
        cdef int fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        cdef uint64_t n
        cdef bytes data
        try:
            n = os.fstat(fd).st_size
            if most is not None:
                n = min(n, <uint64_t>most)
            data = PyBytes_FromStringAndSize(NULL, n)
            n = Disk.read(self, fd, PyBytes_AS_STRING(data), n, 0)
            return data[:n]
        finally:
            c_close(fd)

    cdef int unlink(self, str directory, str name) except -1:
        os.unlink(f"{directory}/{name}")
        return 0

    cdef int rename(self, str directory, str old, str new) except -1:
        os.rename(f"{directory}/{old}", f"{directory}/{new}")
        return 0

    cpdef int remove(self, str path) except -1:
        os.unlink(path)
        return 0

    cpdef int move(self, str old, str new) except -1:
        os.rename(old, new)
        return 0

    cpdef int touch(self, str path) except -1:
        self.close(self.open_path(path))
        return 0

    cpdef int make_directory(self, str path) except -1:
        try:
            os.mkdir(path, 0o750)
        except FileExistsError:
            if not os.path.isdir(path):
                raise
        return 0

    cpdef int remove_directory(self, str path) except -1:
        os.rmdir(path)
        return 0

    cpdef int sync(self, int fd) except -1:
        os.fsync(fd)                               # directories as well
        return 0

    cdef int sync_asked(self, int fd) except -1:
        return 0

    cdef int reserve(self, int fd, uint64_t size) except -1:
        cdef int error = disk_reserve(fd, size)
        return _raise(error) if error else 0

    cpdef int allocate(self, int fd, uint64_t begin, uint64_t end) except -1:
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(fd, 0, end)
                return 0
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                    raise
        while begin < end:                         # an old way that every file system has
            begin += os.pwrite(fd, bytes(min(end - begin, <uint64_t>RESERVE_STEP_BYTES)), begin)
        return 0

    cpdef int truncate(self, int fd, uint64_t size) except -1:
        os.ftruncate(fd, size)
        return 0

    cpdef object free_bytes(self, object place):
        found = os.statvfs(place)
        return found.f_bavail * found.f_frsize

    cdef int write(self, int fd, const char* data, size_t n, uint64_t offset) except -1:
        cdef int error = disk_write(fd, data, n, offset)
        return _raise(error) if error else 0

    cpdef int put(self, int fd, bytes data, uint64_t offset) except -1:
        view = memoryview(data)
        while view:
            wrote = os.pwrite(fd, view, offset)
            view, offset = view[wrote:], offset + wrote
        return 0

    cdef size_t read(self, int fd, char* data, size_t n, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF:
        cdef size_t got
        cdef int error = disk_read(fd, data, n, offset, &got)
        if error:
            _raise(error)
        return got

    cdef size_t read_hot(self, int fd, char* data, size_t n, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF:
        cdef size_t got
        cdef int error = disk_read_hot(fd, data, n, offset, &got)
        if error:
            _raise(error)
        return got

    cdef int drop(self, int fd, uint64_t offset, uint64_t n) noexcept:
        disk_drop(fd, offset, n)
        return 0


REAL = Disk()
"""For whoever is given no other one: tools, tests."""
