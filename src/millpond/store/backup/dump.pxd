# A stream's messages on their way into an archive.
from libc.stdint cimport uint64_t
from millpond.store.api cimport Store
from millpond.store.backup.archive cimport ArchiveWriter

cdef enum Filled:
    FULL = 0                     # as many bytes as were asked for are there
    MORE = 1                     # the budget is spent; call again
    COLD_READ = 2                # call again when the store is warm
    OVER = 3                     # the archive ended; what is there is all
    FAILED = 4                   # `failure` says why

cdef class Dump:
    cdef readonly ArchiveWriter archive
    cdef readonly str failure
    cdef Store _store
    cdef uint64_t _next_seq, _last_seq
    cdef bint _over
    cpdef int fill(self, size_t wanted, uint64_t budget) except -1
    # Takes out at most n encoded bytes.
    cpdef bytes take(self, size_t n)
