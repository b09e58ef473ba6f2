"""One delivery of one consumer.

    pick      what is to be redelivered goes first; then, below max_ack_pending, the next message of the cursor
    load      a cold record holds everything until it has arrived
    take      the deliver subject, or the waiting pull request whose turn it is
    record    the state knows of the delivery before anybody can answer it
    send      stored subject, ack subject as reply, stored headers and body; then what follows from a delivery:
              statuses, flow control, heartbeat times

Nothing is changed before the taker is known, so a message that is not delivered stays exactly where it was.
The record is seen through pointers into the store. Clients' sessions copy it and do nothing else; any other
receiver (a stream, the API, a callback in this process) may change the store before it returns, so it gets a
copy. Status lines that `take` sends may reach such receivers too: then the step is done once more.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from millpond.base.clock cimport Clock
from millpond.broker.sink cimport Sink
from millpond.jetstream.acks cimport AckSubject
from millpond.jetstream.consumer_cursor cimport Cursor
from millpond.jetstream.headers_only cimport HeaderWriter
from millpond.jetstream.notices cimport CLIENTS, Audience
from millpond.store.api cimport COLD, FOUND, Load, Record, Store
from millpond.store.consumer_state cimport ConsumerState, Pending
from millpond.structures.buffers cimport ByteBuffer
from millpond.wire.message cimport Msg

cdef bytes FLOW_REQUEST = b"NATS/1.0 100 FlowControl Request\r\n\r\n"


cdef class Delivery:
    """Works on the rooms that its consumer gives it."""

    def __init__(self, str stream, str consumer, Store store, ConsumerState state, Cursor cursor, Sink source,
                 Clock clock):
        self.state, self.cursor, self._store, self._source, self._clock = state, cursor, store, source, clock
        self._ack = AckSubject(stream, consumer)
        self._headers = HeaderWriter()
        self._pin_line, self._copy = b"", ByteBuffer()

    cdef int64_t step(self, int64_t now_ns) except -1:
        cdef Record record
        cdef Load found
        cdef Pick pick
        cdef Msg msg
        cdef Moment at
        cdef Waiting request = None
        cdef bytes subject
        cdef Audience audience
        cdef uint64_t position
        cdef int outcome = self._pick(&pick)
        if outcome <= 0:
            return outcome
        found = self._store.load(pick.stream_seq, &record)
        if found != FOUND:
            return READING if found == COLD else RETRY      # a damaged record has left the store with this load
        assert record.seq == pick.stream_seq <= self._store.committed_seq
        self._write(&record, &pick, &msg)
        cdef int64_t size = msg.subject_len + msg.reply_len + msg.hdr_len + msg.body_len
        if self.pace is not None and self.pace.holds(record.seq, record.ts_ns, size, now_ns):
            return HELD
        if self.push is not None:
            subject, audience = self.push.subject, self.push.audience
        else:
            at, position = self.moment(pick.pending + 1), self._store.position
            request = self.pulls.take(size, &at)
            if request is None:
                return DRY
            if self._store.position != position:
                self.pulls.untake(request, size)
                return RETRY
            subject, audience = request.reply, request.audience
            if self.priority.pinned:
                self._pin_line = b"Nats-Pin-Id: " + self.priority.pin_id.encode()
                self._headers.add(&msg, PyBytes_AS_STRING(self._pin_line), PyBytes_GET_SIZE(self._pin_line))
        if audience != CLIENTS:
            self._own(&msg)
        self._record(&pick)
        if self.pace is not None:
            self.pace.sent(record.ts_ns, size, now_ns)
        taken = self.notices.router.route(PyBytes_AS_STRING(subject), PyBytes_GET_SIZE(subject), &msg, self._source)
        if taken == 0 and self.tracked:
            self.redelivery.again(pick.stream_seq)       # who listened a moment ago is gone
        self._sent(subject, request, &msg, now_ns)
        return size if size > 0 else 1

    cdef int _pick(self, Pick* pick) except -1:
        """1: `pick` says what comes next; otherwise an Outcome."""
        cdef Pending pending
        while True:
            pick.stream_seq = self.redelivery.next()
            pick.again = pick.stream_seq != 0
            if not pick.again:
                break
            if self._store.exists(pick.stream_seq):
                self.state.get(pick.stream_seq, &pending)
                pick.deliveries, pick.pending = pending.deliveries + 1, self.cursor.num_pending
                return 1
            self.redelivery.skip()
        if self.at_limit():
            return HELD
        pick.stream_seq = self.cursor.next()
        if pick.stream_seq == 0:
            return SEARCHING if self.cursor.searching else DRY
        pick.deliveries, pick.pending = 1, self.cursor.num_pending
        pick.pending -= pick.pending > 0
        return 1

    cdef int _write(self, const Record* record, const Pick* pick, Msg* msg) except -1:
        cdef uint32_t reply_len = self._ack.encode(
            pick.deliveries, record.seq, self.state.delivered_consumer_seq + 1, record.ts_ns, pick.pending
        )
        msg[0] = Msg(record.subject, record.subject_len, <const char*>&self._ack.text[0], reply_len,
                     record.hdr, record.hdr_len, record.body, record.body_len)
        return self._headers.strip(msg) if self.headers_only else 0

    cdef int _own(self, Msg* msg) except -1:
        """Subject, headers and body move to a buffer of our own."""
        cdef size_t size = <size_t>msg.subject_len + msg.hdr_len + msg.body_len
        cdef char* at
        at = self._copy.reserve(size + 1)
        memcpy(at, msg.subject, msg.subject_len)
        memcpy(at + msg.subject_len, msg.hdr, msg.hdr_len)
        memcpy(at + msg.subject_len + msg.hdr_len, msg.body, msg.body_len)
        msg.subject, msg.hdr = at, at + msg.subject_len
        msg.body = msg.hdr + msg.hdr_len
        return 0

    cdef int _record(self, const Pick* pick) except -1:
        if pick.again:
            self.redelivery.redeliver(pick.stream_seq, self._clock.wall_ns)
        else:
            self.cursor.step(pick.stream_seq)
            self.state.deliver(pick.stream_seq, self._clock.wall_ns, self.tracked)
        return 0

    cdef int _sent(self, bytes subject, Waiting request, const Msg* msg, int64_t now_ns) except -1:
        self.last_ns = now_ns
        if request is not None:
            if request.batch_left <= 0 and request.bytes_left > 0:
                self.notices.ended(subject, "409 Batch Completed", request.batch_left, request.bytes_left)
            return 0
        if self.push.heartbeat_due_ns:
            self.push.heartbeat_due_ns = now_ns + self.push.heartbeat_ns
        if self.push.window is not None and self.push.window.count(
            <int64_t>PyBytes_GET_SIZE(subject) + msg.reply_len + msg.hdr_len + msg.body_len,
            self.ack_by_flow and self.at_limit(),
        ):
            self.ask_flow()
        return 0

    cdef int ask_flow(self) except -1:
        if self.push.window is not None and self.push.window.open_request():
            self.notices.send(self.push.subject, self.push.window.reply, FLOW_REQUEST)
        return 0

    cdef bint at_limit(self) noexcept:
        return self.max_ack_pending and self.state.num_pending_acks >= <uint64_t>self.max_ack_pending

    cdef Moment moment(self, uint64_t pending) noexcept:
        cdef Moment at
        at.now_ns, at.pending, at.ack_pending = self._clock.mono_ns, pending, self.state.num_pending_acks
        at.consumer_seq, at.stream_seq = self.state.delivered_consumer_seq, self.cursor.position
        return at
