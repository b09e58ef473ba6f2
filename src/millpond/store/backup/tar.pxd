# The older form of a backup: a tar archive in an S2 stream.
from libc.stdint cimport uint32_t, uint64_t
from millpond.store.backup.archive cimport ArchiveReader, Read
from millpond.store.backup.s2_stream cimport S2Reader

cdef class TarReader:
    cdef readonly str failure
    cdef readonly bint over              # the archive ended
    cdef S2Reader stream
    cdef ArchiveReader _archive
    cdef uint64_t left                   # bytes of the current file that are not consumed
    cdef uint32_t _padding
    # n bytes of the current file, as a view at the head of stream.out; n <= left.
    cdef Read need(self, size_t n) except *
    cdef int consume(self, size_t n) except -1
    cdef Read _skip_rest(self) except *
    cdef Read _break(self, str reason) except *
    cdef Read _await(self, size_t n, bint may_end) except *
