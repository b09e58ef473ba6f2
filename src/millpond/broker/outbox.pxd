# One connection's output, and the channel that a transport gives it.
from libc.stdint cimport int64_t
from millpond.broker.timers cimport Timer
from millpond.broker.tracer cimport Tracer
from millpond.broker.turn cimport Flushable, Turn
from millpond.structures.buffers cimport ByteBuffer

cdef class Channel:
    # Implemented by transports. send: bytes the kernel took, 0 = none now, -1 = the peer is gone.
    cdef Py_ssize_t send(self, const char* data, size_t n) except -2
    cdef int want_write(self, bint on) except -1      # call Outbox.flush when writable
    cdef int pause_reading(self, bint on) except -1
    cdef int close(self) except -1

cdef class Outbox(Flushable):
    cdef ByteBuffer buffer
    cdef Channel channel
    cdef Turn turn
    cdef object on_dead              # callable(reason: str); the connection can take no more
    cdef Timer deadline
    cdef int64_t write_deadline_ns
    cdef Tracer tracer               # None: nobody traces this connection
    cdef bint blocked                # the kernel's buffer is full; waiting for writable
    cdef size_t due                  # bytes that have to leave before the deadline
    cdef object on_late              # callable(state: str); None: who does not take all of them in time is dead
    cdef bint took                   # some of them in this time
    cdef bint late                   # they have had that time more than once
    cdef readonly bint held          # nothing leaves
    cdef size_t kept                 # bytes that waited already when it was held
    cdef inline size_t pending(self) noexcept:
        return self.buffer.size()
    cdef int queue(self) except -1                    # something was put into the buffer
    cdef int flush(self) except -1
    cdef int _send(self) except -1
    cdef int _hand_over(self) except -1
    cdef int _begin_batch(self, bint took) except -1
    cdef int _in_time(self) except -1
    # Nothing leaves until it is let go, or until what came meanwhile is dropped.
    cdef int hold(self) except -1
    cdef int let_go(self) except -1
    cdef int drop_held(self) except -1
    cdef int flush_failed(self) except -1
    cdef int release(self) except -1
