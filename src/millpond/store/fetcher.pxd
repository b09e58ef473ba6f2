# Has the kernel read the beginning of files that a start will open soon: a disk answers many at once nearly as fast as one.
from libc.stdint cimport uint32_t
from millpond.store.disk cimport Disk

cdef class Fetcher:
    cdef Disk _disk
    cdef void* _worker               # NULL: nothing was asked for yet
    cdef bint _is_of_use             # False: there is nothing to gain, or no thread could be had
    cdef uint32_t _waiting           # files that were given, and not taken back yet
    cdef bint _start(self) noexcept
    # It is a hint: what cannot be opened is met by whoever reads it.
    cpdef int fetch(self, str directory, str name) except -1
    cpdef int close(self) except -1
