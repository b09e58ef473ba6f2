# The store's only door to the operating system's files (the workers' syncs and cold reads aside). One object per
# server; a test or a simulator subclasses it.
from libc.stdint cimport uint64_t

cdef class Disk:
    # Descriptors. `create` makes the name when it is missing. All raise OSError with the name.
    cdef int open_directory(self, str path) except -1
    cdef int open(self, int directory_fd, str name, bint create) except -1
    cdef int close(self, int fd) noexcept
    cdef int unlink(self, int directory_fd, str name) except -1
    cdef int rename(self, int directory_fd, str old, str new) except -1
    cdef int sync(self, int fd) except -1                        # blocks: recovery only
    # The file is exactly `size` bytes long and its blocks are there. Raises OSError (disk full).
    cdef int reserve(self, int fd, uint64_t size) except -1
    # All of it, or OSError.
    cdef int write(self, int fd, const char* data, size_t n, uint64_t offset) except -1
    # Returns how many bytes were read, fewer than n only at the end of the file.
    cdef size_t read(self, int fd, char* data, size_t n, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF
    # The same, of what needs no wait: 0 when the first page is not in memory.
    cdef size_t read_hot(self, int fd, char* data, size_t n, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF
    # The kernel need not keep the pages of this synced range.
    cdef int drop(self, int fd, uint64_t offset, uint64_t n) noexcept
