"""Work queues and interest: a message leaves when no consumer needs it any more.

A consumer *wants* the subjects under its filters, and *needs* a message that it wants until it has settled it:
acknowledged or terminated it, or delivered it when nothing is acknowledged. So an acknowledgement asks the other
consumers, and removes the message when none of them needs it. A message that reached max_deliver is still needed.

What one acknowledgement settles at once may be long (ack policy all), and so is what a consumer that is deleted
leaves behind: such ranges are reviewed a few messages a turn.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from millpond.broker.turn cimport Phase
from millpond.jetstream.listeners cimport Listeners
from millpond.jetstream.pump cimport Pump
from millpond.store.api cimport Store

from millpond.base import limits

cdef enum:
    MESSAGE_LOOKS = 4                # what a message costs besides asking its consumers

cdef int64_t LOOKS = limits.REVIEW_LOOKS_PER_STEP
cdef dict POLICIES = {"limits": LIMITS, "workqueue": WORKQUEUE, "interest": INTEREST}


cdef class Retention(Phase):
    """Of one stream."""

    def __init__(self, Store store, Listeners listeners, Pump pump):
        self._store, self._listeners, self._pump = store, listeners, pump

    cdef int apply(self, str retention) except -1:
        self.policy = POLICIES[retention]
        if self.policy == LIMITS:
            self._next = 0                   # what is left of a review would remove messages that stay now
        return 0

    cdef bint takes(self, const char* subject, uint32_t subject_len) except *:
        return self.policy != INTEREST or self._listeners.any_wants(subject, subject_len)

    cdef bint settled(self, uint64_t stream_seq) except *:
        return self.policy != LIMITS and self._done(stream_seq, True) and self._store.remove(stream_seq, False)

    cdef bint _done(self, uint64_t stream_seq, bint unwanted) except *:
        """Does no consumer need this message? One that none wants counts as done only if `unwanted`. What a store that
        has failed cannot let go stays until the next start, which reviews everything."""
        cdef const char* subject
        cdef uint32_t subject_len
        cdef bint wanted
        if self._store.failure or not self._store.subject_of(stream_seq, &subject, &subject_len):
            return False
        if self._listeners.any_needs(stream_seq, subject, subject_len, &wanted):
            return False
        return wanted or unwanted

    cdef int review(self, uint64_t from_seq, uint64_t to_seq, bint unwanted) except -1:
        if self.policy == LIMITS or from_seq > to_seq:
            return 0
        under_way = self._next != 0
        if under_way:
            from_seq, to_seq = min(from_seq, self._next), max(to_seq, self._end)
            unwanted = unwanted or self._unwanted
        self._next, self._end, self._unwanted = max(from_seq, <uint64_t>1), to_seq, unwanted and self.policy == INTEREST
        if under_way or self._look():
            self._pump.add(self)
        return 0

    cdef int run(self) except -1:
        return self._look()

    cdef bint _look(self) except *:
        """Is there more to look at?"""
        cdef uint64_t stream_seq
        cdef int64_t left = LOOKS, each = MESSAGE_LOOKS + len(self._listeners.followers)
        while self._next and left > 0:
            stream_seq = self._store.next_live(self._next)
            if stream_seq == 0 or stream_seq > self._end:
                self._next = 0
                break
            self._next = stream_seq + 1
            left -= each
            if self._done(stream_seq, self._unwanted):
                self._store.remove(stream_seq, False)
        return self._next != 0

    cdef int stop(self) except -1:
        self.policy, self._next = LIMITS, 0
        return 0
