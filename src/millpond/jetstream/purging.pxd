# What takes several turns to remove messages from a stream: purges, rollups, limits that were lowered.
from libc.stdint cimport uint32_t, uint64_t
from millpond.broker.turn cimport Phase, Turn
from millpond.jetstream.host cimport Host
from millpond.jetstream.pump cimport Pump
from millpond.store.api cimport Filters, Store

cdef class Work:
    cdef readonly bint holds         # publishes wait for its end
    cdef bint step(self, Store store) except *       # True: there is more
    cdef int end(self, Host host) except -1          # it is done, or everything goes with the stream
    cdef int fail(self, str why) except -1           # some may have gone

cdef class Purge(Work):
    cdef Filters filters
    cdef object done                 # done(how many went), or None
    cdef object failed               # failed(why), or None
    cdef uint64_t purged
    cdef uint64_t first_left         # of those under the filters; 0: none. Not known when the filters are `all`
    cdef uint64_t _at, _end_seq, _keep, _below_seq, _look_at
    cdef int _pass_over(self, Store store) except -1
    cdef bint _look(self, Store store) except *

cdef class Lowering(Work):
    cdef bint under_way              # it is among the stream's removals

cdef class Removals(Phase):          # those of one stream, one after the other
    cdef readonly uint32_t holding   # works that publishes wait for
    cdef Host _host
    cdef Store _store
    cdef Pump _pump
    cdef Turn _turn
    cdef list _queue                 # Work, or callables that wait for those before; the first one is at work
    cdef list _owed                  # callables, for the moment when nothing holds any more
    cdef bint busy(self) noexcept
    cdef int add(self, object work) except -1
    cdef int owe(self, object callback) except -1
    cdef int end_all(self) except -1                 # the stream is deleted: what was to be removed is
    cdef int drop_all(self) except -1
    cdef bint _step(self, Work work) except *
    cdef int _let_go(self, Work work) except -1

# As many messages go in one step as in a removal that needs no others.
cdef bint is_short(Store store, Filters filters) noexcept
# How many removals so many consumers may hear of in one turn.
cdef uint64_t removals_for(uint64_t consumers) noexcept
