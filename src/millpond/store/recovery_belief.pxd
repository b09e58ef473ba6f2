# Where belief in the parts of a log ends.
from libc.stdint cimport uint32_t, uint64_t
from millpond.store.recovery_parts cimport LogParts, Part

cdef class LogBelief(LogParts):
    cdef readonly bint clean         # the log ends with the record of an orderly stop
    cdef readonly bint proven        # all of it is on disk: nothing need be synced
    cdef readonly bint renewed       # else: it was written and named again, what is there is on disk when that is synced
    cdef uint32_t _sync_from         # parts from here on may not be on disk yet,
    cdef uint32_t _sync_at           # of the first one what lies from this offset on
    cdef uint32_t _batch             # where in it the last write begins; 0: nobody knows

    cdef bint find(self) except *
    cdef list _left(self, uint64_t oldest)
    cdef uint64_t _oldest(self, list trims, list left) except? 0
    cdef int _trim(self, uint64_t oldest) except -1
    cdef int _find_distrust(self) except -1
    cdef int _tell_heads(self) except -1
    cdef int _tell_head(self, uint32_t number, str what, bint is_damage) except -1
    cdef bint _was_begun_before(self, uint32_t i) noexcept
    cdef bint _misses_committed(self) except *
    cdef bint _misses_witnessed(self, uint32_t i) except *
    cdef bint _is_witnessed(self) noexcept
    cdef int _open_unproven(self) except -1
    cdef uint32_t _matters_from(self, uint32_t i) except? 0xFFFFFFFF
    cdef bint _write_again(self) except *
    cdef bint _name_again(self) except *
    cdef int vouch(self) noexcept
    cdef uint32_t _survey(self, Part* part, uint32_t* first_bad, uint32_t* last) except? 0xFFFFFFFF
