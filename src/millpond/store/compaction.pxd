# Moves what lives in the oldest segment to the end of the log, so that the segment can leave it.
from libc.stdint cimport uint32_t, uint64_t
from millpond.store.indexed_store cimport IndexedStore
from millpond.store.segment_log cimport SegmentLog

cdef class Compactor:
    cdef IndexedStore _store
    cdef SegmentLog _log
    cdef uint64_t _generation            # of the segment that is being emptied
    cdef uint32_t _at                    # looked at up to here
    cdef uint64_t _through               # segments up to this generation are to leave, whatever lives in them
    cdef readonly uint64_t copied_bytes
    cdef bint due(self) noexcept
    # Segments up to that generation are to leave the log, and reads may wait for the disk; 0: as usual again.
    cdef int insist(self, uint64_t through) noexcept
    cdef bint insists(self) noexcept
    # Looks at about `budget` bytes of the oldest segment. Returns the bytes of log that it appended.
    cdef uint64_t step(self, uint64_t budget) except? 0xFFFFFFFFFFFFFFFF
    cdef uint64_t _visit(self, uint32_t number, uint32_t* n, bint* cold) except? 0xFFFFFFFFFFFFFFFF
    cdef uint64_t _move(self, uint32_t number, uint64_t seq, uint32_t offset, bint* cold) except? 0xFFFFFFFFFFFFFFFF
    cdef uint64_t _move_rest(self, uint32_t number, bint* cold) except? 0xFFFFFFFFFFFFFFFF
