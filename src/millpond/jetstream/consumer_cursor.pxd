# Where a consumer is in its stream: which message comes next, and how many are still to come.
from libc.stdint cimport uint32_t, uint64_t
from millpond.store.api cimport Filters, Store
from millpond.store.consumer_state cimport ConsumerState

cdef class Cursor:
    cdef readonly Filters filters
    cdef readonly uint64_t position          # highest stream sequence looked at: delivered, or passed over
    cdef readonly uint64_t num_pending       # live messages under the filters above `position`; exact
    cdef readonly bint counting              # num_pending is not known yet, perhaps not where to begin: no next()
    cdef bint searching                      # next() has given up for now: ask again in a later turn
    cdef uint64_t rows_left                  # that next() may look at; each turn gives it SEARCH_STEP_ROWS
    cdef Store _store
    cdef ConsumerState _state
    cdef uint64_t* _skip                     # last_per_subject: the sequences to deliver up to _resume; NULL = no list
    cdef size_t _skip_at, _skip_count, _skip_room
    cdef uint64_t _skip_gone                 # of the list, have left the stream before they were reached
    cdef uint64_t _resume
    cdef uint64_t _count_at, _count_end      # counting: the sequences that are still to be looked at
    cdef object _starting                    # counting makes the list as well: the configuration to begin with
    cdef int set_filters(self, Filters filters) except -1    # and counts anew
    cdef int start(self, object config) except -1            # a new consumer takes its start position
    cdef int go_on(self) except -1                           # recovered or reset: right behind what was delivered
    # A step of counting; True: there is more to count.
    cdef bint count_on(self) except *
    # The next committed message; 0 = none. Passes over what is gone or does not match.
    cdef uint64_t next(self) except? 0xFFFFFFFFFFFFFFFF
    cdef void step(self, uint64_t stream_seq) noexcept       # what next() returned is delivered
    cdef void appended(self, const char* subject, uint32_t subject_len) noexcept
    cdef void removed(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) noexcept
    # A purge under `filters` has gone over the stream. Returns the first sequence that may still be asked for,
    # 0: that is as before.
    cdef uint64_t after_purge(self, Filters filters) except? 0xFFFFFFFFFFFFFFFF
    cdef int _count(self) except -1
    cdef int _begin(self, object config) except -1
    cdef int _list_part(self) except -1
    cdef bint _counted(self, uint64_t stream_seq) noexcept
    cdef bint _to_come(self, uint64_t stream_seq) noexcept
    cdef void _end_skip(self) noexcept
