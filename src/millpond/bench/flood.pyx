"""Core NATS at full speed: publishers, and subscribers that keep up because the publishers wait for them.

The frames of a publisher are rendered once, some tens of kilobytes of them, and sent again and again. The
first message of each such piece carries the time at which it was handed over, so latencies are samples.
At most `window` messages are on their way to the slowest receiver: nobody becomes a slow consumer.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from millpond.bench.frames cimport Delivered, put_pub
from millpond.bench.histogram cimport Histogram
from millpond.bench.loop cimport Connection, Driver
from millpond.structures.buffers cimport ByteBuffer

cdef enum:
    PIECE_BYTES = 32768
    UNSENT_BYTES_MAX = 131072
    STAMP_BYTES = 8


cdef class Flood(Driver):
    """One publisher on `publisher`, plain or queue-group receivers on `receivers` (they have subscribed).

    each: how many of the receivers get a message (0, all, or 1 for a queue group). `operations` counts
    deliveries, or publishes when nobody receives.
    """
    cdef Connection publisher
    cdef uint64_t sent, received, window, messages_max
    cdef uint32_t each, piece_messages, body_bytes
    cdef ByteBuffer piece
    cdef size_t stamp_at
    cdef bint farewell
    cdef readonly Histogram latency

    def __init__(self, Connection publisher, bytes subject, uint32_t size, uint32_t each, uint64_t window,
                 uint64_t messages_max):
        cdef bytes body = b"x" * size
        self.publisher, self.each, self.window, self.messages_max = publisher, each, window, messages_max
        self.body_bytes = size
        self.latency = Histogram()
        self.piece = ByteBuffer()
        while self.piece_messages == 0 or (
                self.piece.size() < PIECE_BYTES and (each == 0 or self.piece_messages < window // 8)):
            put_pub(self.piece, subject, <uint32_t>len(subject), b"", 0, b"", 0, body, size)
            if self.piece_messages == 0:
                self.stamp_at = self.piece.size() - 2 - size
                body = b"\0" * STAMP_BYTES + b"x" * (size - STAMP_BYTES) if size >= STAMP_BYTES else body
            self.piece_messages += 1

    cdef int fill(self, int64_t now_ns) except -1:
        cdef char* place = self.piece.data + self.piece.head + self.stamp_at
        while not self.stopping and self.publisher.out.size() < UNSENT_BYTES_MAX:
            if self.each and self.sent * self.each - self.received > self.window * self.each:
                return 0
            if self.body_bytes >= STAMP_BYTES:
                memcpy(place, &now_ns, STAMP_BYTES)
            self.publisher.out.append(self.piece.data + self.piece.head, self.piece.size())
            self.publisher.touch()
            self.sent += self.piece_messages
            if not self.each:
                self.operations = self.sent
            if self.sent >= self.messages_max:
                self.stopping = True
        if self.stopping and not self.farewell:
            self.farewell = True
            self.publisher.ping()
        return not self.stopping

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
