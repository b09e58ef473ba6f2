# The first or the last message under filters, found in steps. A Search may be used again, for the next one.
#
#     search.begin(from_seq, to_seq, down)
#     while search.step(&looks): ...          `looks` are used up: go on in another turn
#     search.found                            0: there is none
from libc.stdint cimport uint64_t
from millpond.store.api cimport Filters, Store, SubjectWalk

cdef class Search:
    cdef readonly uint64_t found
    # The first one of from_seq..to_seq, or the last one (down).
    cdef void begin(self, uint64_t from_seq, uint64_t to_seq, bint down) noexcept
    # Can it be expected that the first step of SEARCH_STEP_ROWS looks is the last one?
    cdef bint is_short(self) noexcept
    # At most `looks` messages and subjects are looked at, which are taken off. True: there is more to look at.
    cdef bint step(self, uint64_t* looks) noexcept
    # --- private ---
    cdef Store _store
    cdef Filters _filters
    cdef bint _down
    cdef uint64_t _low, _high                # what is still to be looked at
    cdef uint64_t _near                      # rows to look at before the subjects are asked
    cdef SubjectWalk _subjects
    cdef uint64_t _lowest, _highest          # what the subjects have said so far
    cdef uint64_t _look(self, uint64_t rows) noexcept
    cdef uint64_t _ask_subjects(self, uint64_t looks) noexcept
