"""Core NATS at full speed: publishers, and subscribers that keep up because the publishers wait for them.

The frames of a publisher are rendered once, some tens of kilobytes of them, and sent again and again; with many
subjects each such piece is rendered anew. The first message of a piece carries the time at which it was handed over,
so latencies are samples.
At most `window` messages are on their way to the slowest receiver: nobody becomes a slow consumer.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from millpond.bench.frames cimport Delivered, put_pub
from millpond.bench.histogram cimport Histogram
from millpond.bench.loop cimport Connection, Driver
from millpond.structures.buffers cimport ByteBuffer, put_decimal

cdef enum:
    SUBJECT_BYTES_MAX = 512
    PIECE_BYTES = 32768
    BYTES_PER_ROUND = 131072
    STAMP_BYTES = 8


cdef class Flood(Driver):
    """One publisher on `publisher`, plain or queue-group receivers on `receivers` (they have subscribed).

    each: how many of the receivers get a message (0, all, or 1 for a queue group). distinct: 0 = one subject,
    else subject.<n> for n below it, in turn. `operations` counts deliveries, or publishes when nobody receives.
    """
    cdef Connection publisher
    cdef uint64_t sent, received, window, messages_max, distinct
    cdef uint32_t each, piece_messages, body_bytes
    cdef bytes subject, body
    cdef ByteBuffer piece
    cdef size_t stamp_at
    cdef bint farewell
    cdef readonly Histogram latency

    def __init__(self, Connection publisher, bytes subject, uint32_t size, uint32_t each, uint64_t window,
                 uint64_t messages_max, uint64_t distinct=0):
        self.publisher, self.each, self.window, self.messages_max = publisher, each, window, messages_max
        self.subject, self.body_bytes, self.distinct = subject, size, distinct
        self.body = b"\0" * STAMP_BYTES + b"x" * (size - STAMP_BYTES) if size >= STAMP_BYTES else b"x" * size
        self.latency = Histogram()
        self.piece = ByteBuffer()
        self._render()

    cdef int _render(self) except -1:
        """The next piece; its stamps are zero."""
        cdef char[SUBJECT_BYTES_MAX] name
        cdef uint32_t prefix = <uint32_t>len(self.subject), n = prefix
        assert n + 24 < SUBJECT_BYTES_MAX
        memcpy(name, <const char*>self.subject, n)
        self.piece.consume(self.piece.size())
        self.piece_messages = 0
        while self.piece_messages == 0 or (
                self.piece.size() < PIECE_BYTES and (self.each == 0 or self.piece_messages < self.window // 8)):
            if self.distinct:
                name[prefix] = b"."
                n = prefix + 1 + put_decimal(name + prefix + 1, (self.sent + self.piece_messages) % self.distinct)
            put_pub(self.piece, name, n, b"", 0, b"", 0, self.body, self.body_bytes)
            if self.piece_messages == 0:
                self.stamp_at = self.piece.size() - 2 - self.body_bytes
            self.piece_messages += 1
        return 0

    cdef int fill(self, int64_t now_ns) except -1:
        """Pieces go to the kernel as they are; only what it does not take is copied."""
        cdef ByteBuffer out = self.publisher.out
        cdef size_t handed = 0
        if out.size():
            self.publisher.flush()
        while not self.stopping and out.size() == 0 and handed < BYTES_PER_ROUND:
            if self.each and self.sent * self.each - self.received > self.window * self.each:
                return 0
            handed += self.piece.size()
            self._send_piece(now_ns)
            if not self.each:
                self.operations = self.sent
            if self.sent >= self.messages_max:
                self.stopping = True
        if self.stopping and not self.farewell:
            self.farewell = True
            self.publisher.ping()
        assert self.stopping or out.size() == 0 or self.publisher.wants_write, "nobody would wake it"
        return not self.stopping and out.size() == 0     # else it waits for the kernel

    cdef int _send_piece(self, int64_t now_ns) except -1:
        cdef char* piece = self.piece.data + self.piece.head
        cdef size_t sent
        if self.body_bytes >= STAMP_BYTES:
            memcpy(piece + self.stamp_at, &now_ns, STAMP_BYTES)
        sent = <size_t>self.publisher.put(piece, self.piece.size())
        if sent < self.piece.size():
            self.publisher.out.append(piece + sent, self.piece.size() - sent)
            self.publisher.flush()                   # now, so that `fill` knows whether there is anything to wait for
        self.sent += self.piece_messages
        if self.distinct:
            self._render()
        return 0

    cdef int message(self, Connection conn, const Delivered* msg, int64_t now_ns) except -1:
        cdef int64_t stamp
        self.received += 1
        self.operations = self.received
        if msg.body_len >= STAMP_BYTES:
            memcpy(&stamp, msg.body, STAMP_BYTES)
            if stamp:
                self.latency.add(now_ns - stamp)
        return 0

    cdef bint done(self) except *:
        return (self.farewell and self.publisher.pongs >= self.publisher.pings
                and self.received >= self.sent * self.each)
