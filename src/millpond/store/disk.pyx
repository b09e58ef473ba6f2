"""Files, as the store uses them: whole ranges, retried when interrupted, errors as OSError."""

import os

from libc.stdint cimport uint64_t

cdef extern from "disk.h" nogil:
    int disk_write(int fd, const char* data, size_t size, uint64_t offset)
    int disk_read(int fd, char* data, size_t size, uint64_t offset, size_t* got)
    int disk_read_hot(int fd, char* data, size_t size, uint64_t offset, size_t* got)
    void disk_drop(int fd, uint64_t offset, uint64_t size)
    int disk_reserve(int fd, uint64_t size)

cdef extern from "sync_thread.h" nogil:
    int sync_file(int fd)

cdef extern from "unistd.h" nogil:
    int c_close "close"(int fd)


cdef int _raise(int error) except -1:
    raise OSError(error, os.strerror(error))


cdef class Disk:
    """The real one."""

    cdef int open_directory(self, str path) except -1:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    cdef int open(self, int directory_fd, str name, bint create) except -1:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        return os.open(name, flags, 0o640, dir_fd=directory_fd)

    cdef int close(self, int fd) noexcept:
        return c_close(fd)

    cdef int unlink(self, int directory_fd, str name) except -1:
        os.unlink(name, dir_fd=directory_fd)
        return 0

    cdef int rename(self, int directory_fd, str old, str new) except -1:
        os.rename(old, new, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
        return 0

    cdef int sync(self, int fd) except -1:
        cdef int error
        with nogil:
            error = sync_file(fd)
        return _raise(error) if error else 0

    cdef int reserve(self, int fd, uint64_t size) except -1:
        cdef int error = disk_reserve(fd, size)
        return _raise(error) if error else 0

    cdef int write(self, int fd, const char* data, size_t n, uint64_t offset) except -1:
        cdef int error = disk_write(fd, data, n, offset)
        return _raise(error) if error else 0

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
