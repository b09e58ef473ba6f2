"""Two system calls that Python's library has no door to (kernel.h). Nothing is kept here."""

from libc.stdint cimport int64_t, uint64_t

cdef extern from "kernel.h" nogil:
    int kernel_cachestat(int fd, uint64_t* cached, uint64_t* dirty)
    int64_t kernel_mincore(int fd)
    void kernel_trim()


def cached_pages(int descriptor):
    """(pages in the page cache, dirty ones) of an open file; the second is 0 before Linux 6.5, both elsewhere."""
    cdef uint64_t cached = 0, dirty = 0
    if kernel_cachestat(descriptor, &cached, &dirty) == 0:
        return cached, dirty
    return max(0, kernel_mincore(descriptor)), 0


def pages_by_mapping(int descriptor):
    """The first of `cached_pages`, found the old way; 0 where it cannot be."""
    return max(0, kernel_mincore(descriptor))


def trim():
    """Give free heap back to the kernel; glibc alone keeps it for later."""
    kernel_trim()
