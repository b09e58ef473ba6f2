# What a stream takes in from another one: the messages of a push consumer at the origin, in their order.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.base.clock cimport Clock
from millpond.broker.sink cimport Sink, Subscription
from millpond.jetstream.acks cimport AckNumbers
from millpond.jetstream.stream_core cimport StreamCore
from millpond.jetstream.waiting_room cimport WaitingRoom
from millpond.structures.buffers cimport ByteBuffer
from millpond.wire.message cimport Msg

cdef enum Taken:
    DONE = 0                                 # stored, or nothing to store
    LATER = 1                                # the target must read from disk first, or finish a rollup
    BROKEN = 2                               # the origin must be asked for a new consumer

cdef class Feed(Sink):
    cdef readonly StreamCore target
    cdef readonly object client              # {…} what advisories show of who asks the API; set by its puller
    cdef readonly bytes consumer             # at the origin; b"": not listening
    cdef public uint64_t stream_seq          # the origin's messages are taken up to here
    cdef public str identity                 # the origin's, which a stream made anew does not have; "" = not known
    cdef readonly uint64_t consumer_seq
    cdef readonly uint64_t lag               # messages that the origin had behind the last one that came
    cdef readonly uint64_t pending           # the same, as the message said it
    cdef readonly int64_t heard_ns           # monotonic; 0 = never
    cdef readonly str refusal                # why the target did not take the last message

    # Messages of this consumer come on that subject from now on; the origin has nothing up to `stream_seq`.
    cpdef int listen(self, bytes subject, bytes consumer, uint64_t stream_seq) except -1
    cpdef int quit(self) except -1           # listens no more; what waits is forgotten

    # One message of the current consumer, not seen before; its subject is transformed already when this is called.
    cdef Taken take(self, const Msg* msg, const AckNumbers* numbers) except *

    # --- private, shared with the two kinds ---
    cdef list _transforms                    # [Transform]
    cdef object _on_broken
    cdef Clock _clock
    cdef Subscription _sub
    cdef WaitingRoom _held                   # behind one that waits for a cold read
    cdef ByteBuffer _block
    cdef bint _warming
    cdef bytes _rename(self, Msg* msg)
    cdef Taken _handle(self, const Msg* msg) except *
    cdef Taken _control(self, const Msg* msg) except *
    cdef Taken _message(self, const Msg* msg) except *
    cdef Taken _stored(self, object outcome) except *
    cdef int _break(self) except -1
    cdef int _hold(self, const Msg* msg) except -1
    cdef uint32_t _stripped(self, const Msg* msg, bint of_source) except? 0xFFFFFFFF

cdef class SourceFeed(Feed):
    cdef readonly str index_name
    cdef public uint64_t stored_seq          # the origin's sequence of the last message that was stored; 0 = none yet
    cdef public uint64_t stored_at           # and its sequence here
    cdef bytes _origin, _filters             # the header's words before and behind the sequence
    cdef int _write_header(self, uint64_t stream_seq, const char* subject, uint32_t subject_len) except -1
