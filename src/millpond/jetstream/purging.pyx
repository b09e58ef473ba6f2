"""A purge in steps. It takes what was there when it began, and is answered when all of that is gone.

Between two steps the stream works: publishes come behind what is purged, consumers may still get what is about
to go. Whoever crashes in the middle has purged the messages before.
"""

from libc.stdint cimport uint64_t

from millpond.broker.turn cimport Phase
from millpond.jetstream.host cimport Host
from millpond.store.api cimport Filters, Store

from millpond.base import limits

cdef uint64_t STEP = limits.PURGE_STEP_MESSAGES


cdef bint is_short(Store store) noexcept:
    return store.state.messages <= STEP


cdef class Purge:
    """`below_seq` 0: all; `keep`: that many of the last stay."""

    def __init__(self, Store store, Filters filters, uint64_t below_seq, uint64_t keep, done):
        cdef uint64_t matching = store.count_match(0, filters) if keep else store.state.messages
        self.filters, self.done = filters, done
        self._left = matching - min(keep, matching)
        self._at, self._end_seq, self._below_seq = 1, store.state.last_seq, 0 if keep else below_seq
        if below_seq:
            self._end_seq = min(self._end_seq, below_seq - 1)

    cdef bint step(self, Store store) except *:
        cdef uint64_t gone = store.purge_part(self.filters, &self._at, self._end_seq, min(self._left, STEP))
        self.purged += gone
        self._left -= gone
        if self._at and self._left:
            return True
        if self.filters.all and store.state.messages == 0 and self._below_seq > store.state.first_seq:
            store.set_first_seq(self._below_seq)
        return False


cdef class PurgeSteps(Phase):
    """See purging.pxd."""

    cdef int run(self) except -1:
        return self.host.purge_on()
