"""A purge in steps. It takes what was there when it was asked for, and is answered when all of that is gone.

    asked for ──> waits for the purges before ──> finds where what it keeps begins ──> removes, oldest first

Between two steps the stream works: publishes come behind what is purged, consumers may still get what is about
to go, the limits may evict some of it. Deletions and purges wait, so that answers tell of one order. Whoever
crashes in the middle has purged the messages before.
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

    def __init__(self, Store store, Filters filters, uint64_t below_seq, uint64_t keep, done, failed):
        self.filters, self.done, self.failed = filters, done, failed
        self._at, self._end_seq, self._keep, self._below_seq = 1, store.state.last_seq, keep, below_seq
        if below_seq:
            self._end_seq = min(self._end_seq, below_seq - 1)

    cdef bint step(self, Store store) except *:
        self._pass_over(store)
        if self._keep:
            return True
        self.purged += store.purge_part(self.filters, &self._at, self._end_seq, STEP)
        if self._at:
            return True
        if self.filters.all and store.state.messages == 0 and self._below_seq > store.state.first_seq:
            store.set_first_seq(self._below_seq)
        return False

    cdef int _pass_over(self, Store store) except -1:
        """Some of the last messages, which are kept: the end moves down to below them."""
        cdef uint64_t seq, looked = 0
        while self._keep and looked < STEP:
            seq = store.last_match(self.filters, self._end_seq) if self._end_seq else 0
            self._end_seq = seq - 1 if seq else 0
            self._keep, looked = self._keep - 1 if seq else 0, looked + 1
        return 0


cdef class PurgeSteps(Phase):
    """See purging.pxd."""

    cdef int run(self) except -1:
        return self.host.purge_on()
