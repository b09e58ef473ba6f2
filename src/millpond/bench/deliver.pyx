"""Publishes into a stream whose consumers push them to a subscriber, closed by the last delivery of each."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from millpond.bench.calls cimport Calls, Slot, is_pub_ack
from millpond.bench.frames cimport Delivered, status_of
from millpond.bench.loop cimport Connection
from millpond.structures.buffers cimport put_decimal

cdef enum:
    SUBJECT_BYTES_MAX = 512
    TOKEN_BYTES = 8


cdef class PublishDeliver(Calls):
    """Each message on `subject`.<n>, n below `distinct` in turn, is awaited `each` times on `receiver`, a connection that
    has subscribed. Its first bytes name the slot that waits. `operations` counts deliveries; a slot begins its next
    message when acknowledgement and deliveries have come."""
    cdef bytes subject, body
    cdef uint64_t distinct, completed
    cdef uint32_t each
    cdef Connection receiver
    cdef uint32_t* awaited       # by slot: deliveries, and the acknowledgement
    cdef char[SUBJECT_BYTES_MAX] name

    def __init__(self, conns, uint32_t window, uint64_t operations_max, bytes subject, uint32_t size,
                 uint64_t distinct, Connection receiver, uint32_t each):
        assert size >= TOKEN_BYTES, "a message has room for its slot's number"
        assert len(subject) + 24 < SUBJECT_BYTES_MAX
        self.subject, self.body = subject + b".", b"x" * size
        self.distinct, self.receiver, self.each = distinct, receiver, each
        self.operations_max = max(<uint64_t>1, operations_max // each)       # of messages
        self.awaited = <uint32_t*>calloc(window, sizeof(uint32_t))
        if self.awaited == NULL:
            raise MemoryError
        memcpy(self.name, <const char*>self.subject, len(self.subject))

    def __dealloc__(self):
        free(self.awaited)

    cdef int ask(self, Slot* slot) except -1:
        cdef uint32_t n = <uint32_t>len(self.subject)
        cdef uint64_t index = <uint64_t>(slot - self._slots)
        n += put_decimal(self.name + n, slot.number % self.distinct)
        memcpy(<char*>self.body, &index, TOKEN_BYTES)
        self.awaited[index] = self.each + 1
        return self.put(slot, self.name, n, b"", 0, self.body, <uint32_t>len(self.body))

    cdef int message(self, Connection conn, const Delivered* msg, int64_t now_ns) except -1:
        cdef uint64_t index
        if conn is not self.receiver:
            index = <uint64_t>(self.waiting(msg) - self._slots)
            if not is_pub_ack(msg):
                self.failed(msg.body, msg.body_len)
                self.awaited[index] = 1                  # nobody will deliver it
        elif status_of(msg):
            return 0
        else:
            memcpy(&index, msg.body, TOKEN_BYTES)
            assert msg.body_len == <uint32_t>len(self.body) and index < self._window, "nobody published that"
            self.operations += 1
        self.awaited[index] -= 1
        return self._completed(<uint32_t>index, now_ns) if self.awaited[index] == 0 else 0

    cdef int _completed(self, uint32_t index, int64_t now_ns) except -1:
        self.completed += 1
        self.latency.add(now_ns - self._slots[index].asked_ns)
        if not self.stopping:
            self._begin(index, now_ns)
        return 0

    cdef bint done(self) except *:
        return self._opened and self.stopping and self.completed >= self._begun
