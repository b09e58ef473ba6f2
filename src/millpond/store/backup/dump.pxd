# A stream's messages on their way into an archive.
from libc.stdint cimport uint64_t
from millpond.store.api cimport Load, Record
from millpond.store.backup.archive cimport ArchiveWriter
from millpond.store.indexed_store cimport IndexedStore
from millpond.store.pin cimport Kept, Pin

cdef enum Filled:
    FULL = 0                     # as many bytes as were asked for are there
    MORE = 1                     # the budget is spent; call again
    COLD_READ = 2                # call again when the store is warm
    OVER = 3                     # the archive ended; what is there is all
    FAILED = 4                   # `failure` says why

cdef class Dump:
    cdef readonly ArchiveWriter archive
    cdef readonly str failure
    cdef IndexedStore _store
    cdef Pin _pin
    cdef bint _over
    cpdef int fill(self, size_t wanted, uint64_t budget) except -1
    cdef Load _next(self, Record* out) except *
    # Takes out at most n encoded bytes.
    cpdef bytes take(self, size_t n)
