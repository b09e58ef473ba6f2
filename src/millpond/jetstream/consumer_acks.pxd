# What clients say about messages they got: one ack message is read and takes effect.
from libc.stdint cimport int64_t, uint64_t
from millpond.base.clock cimport Clock
from millpond.jetstream.acks cimport AckNumbers
from millpond.jetstream.notices cimport Notices
from millpond.jetstream.redelivery cimport Redelivery
from millpond.jetstream.stream cimport Stream
from millpond.store.consumer_state cimport ConsumerState
from millpond.wire.message cimport Msg

cdef enum Effect:            # what the consumer has to do about it
    IGNORED = 0              # not an ack for this consumer: nobody took it
    TAKEN = 1
    READY = 2                # there may be something to deliver now
    NEXT = 3                 # +NXT: a pull request follows in the body, behind its first four bytes

cdef class Acks:
    cdef ConsumerState state
    cdef Redelivery redelivery
    cdef Notices notices
    cdef int64_t max_ack_pending             # 0 = no bound
    cdef bint ack_all
    cdef int sample_percent
    cdef Stream _stream
    cdef Clock _clock
    # `at`: where the numbers are in the subject; `more`: tokens may follow them.
    cdef Effect take(self, const Msg* msg, uint64_t at, bint more) except *
    # Everything through stream_seq was received (ack policies all and flow_control).
    cdef Effect settle_through(self, uint64_t stream_seq, uint64_t consumer_seq) except *
    cdef Effect _settle(self, const AckNumbers* numbers, bint sampled) except *
    cdef int _nak(self, const AckNumbers* numbers, bytes argument) except -1
    cdef int _terminate(self, const AckNumbers* numbers, bytes reason) except -1
    cdef int _sample(self, const AckNumbers* numbers) except -1
    cdef int _reply(self, const Msg* msg) except -1
