# Where a consumer is in its stream: which message comes next, and how many are still to come.
from libc.stdint cimport uint32_t, uint64_t
from millpond.store.api cimport Filters, Store
from millpond.store.consumer_state cimport ConsumerState
from millpond.store.search cimport Search

cdef class Cursor:
    cdef readonly Filters filters
    cdef readonly uint64_t position          # highest stream sequence looked at: delivered, or passed over
    cdef readonly uint64_t num_pending       # live messages under the filters above `position`; exact
    cdef readonly bint counting              # num_pending is not known yet, perhaps not where to begin: no next()
    cdef bint searching                      # next() has given up for now: ask again in a later turn
    cdef uint64_t rows_left                  # that next() may look at; each turn gives it SEARCH_STEP_ROWS
    cdef Store _store
    cdef ConsumerState _state
    cdef Filters _listing                    # last_per_subject: what is listed; None = behind the list, or there is none
    cdef uint64_t _resume                    # the list's end
    cdef uint64_t _listed                    # of the list, still to come
    cdef uint64_t _list_at                   # looked at for the list, up to here
    cdef set _hidden                         # messages that are the last ones only because later ones left; None = none
    cdef uint64_t _count_at, _count_end      # counting: the sequences that are still to be looked at
    cdef object _starting                    # it is not known yet where to begin: the configuration to begin with
    cdef Search _search                      # for where to begin; None: it is the list that is counted
    cdef uint64_t _first_listed
    cdef int set_filters(self, Filters filters) except -1    # and counts anew
    cdef int start(self, object config) except -1            # a new consumer takes its start position
    cdef int go_on(self) except -1                           # recovered or reset: right behind what was delivered
    # A step of counting; True: there is more to count.
    cdef bint count_on(self) except *
    # The next committed message; 0 = none. Passes over what is gone or does not match.
    cdef uint64_t next(self) except? 0xFFFFFFFFFFFFFFFF
    cdef void step(self, uint64_t stream_seq) noexcept       # what next() returned is delivered
    # Everything up to the end of the stream is delivered, or passed over.
    cdef bint is_through(self) noexcept
    cdef void pass_over(self, uint64_t stream_seq) noexcept  # is_through() was true, and nothing up to here matches
    cdef void appended(self, uint64_t stream_seq) noexcept   # a message under the filters
    cdef int removed(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except -1
    # A purge under `filters` has gone over the stream, and left `first_left` of them (0: nothing). Returns the first
    # sequence that may still be asked for, 0: that is as before.
    cdef uint64_t after_purge(self, Filters filters, uint64_t first_left) except? 0xFFFFFFFFFFFFFFFF
    cdef int _count(self) except -1
    cdef int _begin(self, object config, uint64_t found) except -1
    cdef bint _start_on(self) except *
    cdef bint _counted(self, uint64_t stream_seq) noexcept
    cdef uint64_t _next_listed(self) except? 0xFFFFFFFFFFFFFFFF
    cdef int _left_the_list(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except -1
    cdef void _end_list(self) noexcept
