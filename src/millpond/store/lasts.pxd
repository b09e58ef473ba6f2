# The sequences of the last message of each subject under filters, found in steps.
#
#     while lasts.step(&looks): ...               `looks` are used up: go on in another turn
#     lasts.seqs                                  ascending; None: there are too many
from libc.stdint cimport uint64_t
from millpond.store.api cimport Filters, Store, SubjectWalk

cdef class Lasts:
    cdef readonly list seqs
    # Can it be expected that the first step of SEARCH_STEP_ROWS looks is the last one?
    cdef bint is_short(self) noexcept
    # At most `looks` subjects and messages are looked at, which are taken off. True: there is more to look at.
    cdef bint step(self, uint64_t* looks) except -1
    # --- private ---
    cdef Store _store
    cdef Filters _filters
    cdef uint64_t _up_to_seq, _most
    cdef SubjectWalk _walk
    cdef set _found, _later
    cdef uint64_t _at                    # the messages from here downwards are still to be looked at
