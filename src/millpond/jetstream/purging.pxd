# A purge that takes longer than one turn.
from libc.stdint cimport uint64_t
from millpond.broker.turn cimport Phase
from millpond.jetstream.host cimport Host
from millpond.store.api cimport Filters, Store

cdef class Purge:
    cdef Filters filters
    cdef object done                 # done(how many went)
    cdef object failed               # failed(why), or None; some may have gone
    cdef uint64_t purged
    cdef uint64_t _at, _end_seq, _keep, _below_seq
    cdef int _pass_over(self, Store store) except -1
    cdef bint step(self, Store store) except *       # True: there is more

cdef class PurgeSteps(Phase):        # the pump's handle on the purges of one stream
    cdef Host host

# As many messages go in one step as in a purge that needs no others.
cdef bint is_short(Store store) noexcept
