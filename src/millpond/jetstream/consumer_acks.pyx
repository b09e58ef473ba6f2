"""Acknowledgements of one consumer (reference 4.4).

An ack counts when its stream sequence was delivered, whoever sends it, however late. A reply to it leaves when
what it changed is committed: an acknowledgement that was confirmed survives our death.
"""


from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint64_t

from millpond.base.clock cimport Clock
from millpond.jetstream.acks cimport AckNumbers, body_begins, body_is, read_numbers
from millpond.jetstream.notices cimport Notices
from millpond.jetstream.redelivery cimport Redelivery
from millpond.jetstream.stream cimport Stream
from millpond.store.consumer_state cimport NOTHING, ConsumerState, Pending
from millpond.wire.message cimport Msg

from millpond.base.ids import random_below
from millpond.jetstream.advisories import ACK_METRIC
from millpond.jetstream.pull_text import parse_nak_delay


cdef class Acks:
    """Applies acks to the state of one consumer."""

    def __init__(self, Stream stream, ConsumerState state, Redelivery redelivery, Notices notices, Clock clock):
        self._stream, self.state, self.redelivery = stream, state, redelivery
        self.notices, self._clock = notices, clock

    cdef Effect take(self, const Msg* msg, uint64_t at, bint more) except *:
        cdef AckNumbers numbers
        cdef Effect effect = TAKEN
        if not read_numbers(msg.subject + at, <int64_t>msg.subject_len - <int64_t>at, more, &numbers):
            return IGNORED
        if numbers.stream_seq == 0 or numbers.stream_seq > self.state.delivered_stream_seq:
            return TAKEN
        if msg.body_len == 0 or body_is(msg, b"+ACK", 4) or body_is(msg, b"+OK", 3):
            effect = self._settle(&numbers, True)
        elif body_begins(msg, b"+NXT", 4):
            self._settle(&numbers, True)
            return NEXT
        elif body_begins(msg, b"-NAK", 4):
            self._nak(&numbers, PyBytes_FromStringAndSize(msg.body + 4, msg.body_len - 4))
            effect = READY
        elif body_is(msg, b"+WPI", 4):
            self.redelivery.in_progress(numbers.stream_seq, self._clock.wall_ns)
            effect = READY
        elif body_begins(msg, b"+TERM", 5):
            self._terminate(&numbers, PyBytes_FromStringAndSize(msg.body + 5, msg.body_len - 5).strip())
            effect = READY
        if msg.reply_len:
            self._reply(msg)
        return effect

    cdef int _reply(self, const Msg* msg) except -1:
        if self.state.log is not None:
            self.state.log.owe()
        return self._stream.reply_after_commit(msg.reply, msg.reply_len, self.state.log is not None)

    cdef Effect _settle(self, const AckNumbers* numbers, bint sampled) except *:
        cdef bint full = self.max_ack_pending and self.state.num_pending_acks >= <uint64_t>self.max_ack_pending
        if self.ack_all:
            return self.settle_through(numbers.stream_seq, numbers.consumer_seq)
        if sampled and self.sample_percent:
            self._sample(numbers)
        if self.state.ack(numbers.stream_seq, self._clock.wall_ns) == NOTHING:
            self.state.acked_ts_ns = self._clock.wall_ns
        else:
            self._stream.settled(numbers.stream_seq)
        return READY if full else TAKEN

    cdef Effect settle_through(self, uint64_t stream_seq, uint64_t consumer_seq) except *:
        cdef bint full = self.max_ack_pending and self.state.num_pending_acks >= <uint64_t>self.max_ack_pending
        cdef uint64_t first = self.state.floor_stream_seq + 1
        self.state.ack_through(stream_seq, consumer_seq, self._clock.wall_ns)
        self._stream.settled_through(first, self.state.floor_stream_seq)
        return READY if full else TAKEN

    cdef int _nak(self, const AckNumbers* numbers, bytes argument) except -1:
        cdef Pending pending
        if not self.state.get(numbers.stream_seq, &pending):
            return 0
        self.notices.advise("CONSUMER.MSG_NAKED", "nak", {
            "consumer_seq": numbers.consumer_seq, "stream_seq": numbers.stream_seq, "deliveries": numbers.deliveries,
        })
        delay_ns = parse_nak_delay(argument)
        if delay_ns is None:
            return self.redelivery.again(numbers.stream_seq)
        return self.redelivery.later(numbers.stream_seq, delay_ns, self._clock.wall_ns)

    cdef int _terminate(self, const AckNumbers* numbers, bytes reason) except -1:
        self._settle(numbers, False)
        fields = {
            "consumer_seq": numbers.consumer_seq, "stream_seq": numbers.stream_seq, "deliveries": numbers.deliveries,
        }
        if reason:
            fields["reason"] = reason.decode("utf-8", "replace")
        return self.notices.advise("CONSUMER.MSG_TERMINATED", "terminated", fields)

    cdef int _sample(self, const AckNumbers* numbers) except -1:
        cdef Pending pending
        if not self.state.get(numbers.stream_seq, &pending) or not self.notices.heard(ACK_METRIC):
            return 0
        if self.sample_percent < 100 and random_below(100) >= self.sample_percent:
            return 0
        return self.notices.sample({
            "consumer_seq": numbers.consumer_seq, "stream_seq": numbers.stream_seq,
            "ack_time": self._clock.wall_ns - pending.ts_ns, "deliveries": numbers.deliveries,
        })
