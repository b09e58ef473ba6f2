"""What a mirror takes in: the origin's messages, with its sequences and times.

A sequence that the origin does not have any more (or that the filter leaves out) is passed over; the consumer's own
sequence says that nothing is missing.
"""

from libc.stdint cimport uint32_t, uint64_t

from millpond.base.clock cimport Clock
from millpond.jetstream.acks cimport AckNumbers
from millpond.jetstream.source_feed cimport BROKEN, DONE, LATER, Feed, Taken
from millpond.jetstream.stream_core cimport StreamCore
from millpond.wire.headers cimport has_nats_key
from millpond.wire.message cimport Msg

from millpond.base import limits
from millpond.base.errors import StoreError

cdef uint64_t CAUGHT_UP = limits.MIRROR_CAUGHT_UP_MESSAGES


cdef class MirrorFeed(Feed):
    """Works as its base says; `gets_of` is set by its puller."""

    def __init__(self, StreamCore target, Clock clock, list transforms, object on_broken):
        Feed.__init__(self, target, clock, transforms, on_broken)
        self.gets_of = self._shares = ""

    def share_gets(self, str origin):
        """Answer direct gets of the origin once nearly all of its messages are here; "": do not, or no more."""
        if origin == (self._shares or self.gets_of):
            return
        self.target.answer_gets_for("")
        self.gets_of, self._shares = origin, ""
        if self.consumer_seq:                      # else `pending` says nothing yet
            self._share_gets()

    cdef int _share_gets(self) except -1:
        if self.gets_of and self.pending < CAUGHT_UP:
            self.target.answer_gets_for(self.gets_of)
            self.gets_of, self._shares = "", self.gets_of
        return 0

    def skip_to(self, uint64_t stream_seq):
        """The origin has nothing up to this sequence. Raises OSError, StoreError."""
        self.target.pass_over(stream_seq)

    cdef Taken take(self, const Msg* original, const AckNumbers* numbers) except *:
        cdef Msg msg = original[0]
        cdef bytes subject
        cdef uint32_t size
        if self.target.waits():
            return LATER
        if msg.hdr_len and has_nats_key(msg.hdr, msg.hdr_len):
            size = self._stripped(&msg, False)
            if size:
                self._block.append(b"\r\n", 2)
                size += 2
            msg.hdr, msg.hdr_len = self._block.data + self._block.head, size
        subject = self._rename(&msg)
        try:
            self.target.pass_over(numbers.stream_seq - 1)
        except (OSError, StoreError) as error:
            self.refusal = str(error)
            return BROKEN
        if self.target.store.state.last_seq != numbers.stream_seq - 1:
            return BROKEN                          # it went on without us: a purge up to a later sequence
        cdef Taken outcome = self._stored(self.target.take_sourced(&msg, numbers.ts_ns, True))
        if outcome == DONE:
            self.consumer_seq, self.stream_seq = numbers.consumer_seq, numbers.stream_seq
            self._share_gets()
        return outcome
