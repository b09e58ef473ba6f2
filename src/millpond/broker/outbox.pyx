"""Output waits in one buffer and leaves with one send per turn; an idle connection holds no buffer.

When the kernel takes no more, the outbox waits for `writable` and a deadline runs, as on nats-server for each of
its writes: what waits in this moment has to be gone within `write_deadline`, else the peer is a slow consumer; what
has come meanwhile is the next batch. A peer that takes a byte now and then holds nothing for longer than that, unless
late ones shall stay (`on_late`): then it is a slow consumer that goes on, for as long as it takes something each time.
"""

from libc.stdint cimport int64_t

cdef enum:
    EAGER_BYTES = 65536          # more than this leaves at once, not at the end of the turn


cdef class Channel:
    """The transport's side of a connection."""

    cdef Py_ssize_t send(self, const char* data, size_t n) except -2:
        raise NotImplementedError(type(self).__name__)

    cdef int want_write(self, bint on) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int pause_reading(self, bint on) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int close(self) except -1:
        raise NotImplementedError(type(self).__name__)


cdef class WriteDeadline(Timer):
    cdef Outbox outbox

    cdef int fire(self, int64_t now_ns) except -1:
        cdef Outbox outbox = self.outbox
        if outbox.on_late is None or not outbox.took:
            outbox.on_dead("Slow Consumer (Write Deadline)")
            return 0
        outbox.on_late("State" if outbox.late else "Detected")
        outbox.late = True
        return outbox._begin_batch(False)


cdef class Outbox(Flushable):
    """Owns the bytes between the encoder and the kernel."""

    def __init__(self, Channel channel, Turn turn, int64_t write_deadline_ns, on_dead, on_late=None):
        cdef WriteDeadline deadline = WriteDeadline()
        deadline.outbox = self
        self.deadline = deadline
        self.buffer = ByteBuffer()
        self.buffer.bulky = True
        self.channel = channel
        self.turn = turn
        self.write_deadline_ns = write_deadline_ns
        self.on_dead = on_dead
        self.on_late = on_late

    cdef int queue(self) except -1:
        if not self.blocked:
            if not self.flush_queued:
                self.turn.add_flush(self)
            if self.buffer.size() > EAGER_BYTES:
                return self._send()
        return 0

    cdef int flush(self) except -1:
        self._send()
        if self.buffer.size() == 0:
            self.buffer.release()
        return 0

    cdef int _send(self) except -1:
        if self.tracer is None:
            return self._hand_over()
        self.tracer.outgoing(self.buffer)
        self._hand_over()
        self.tracer.shown_bytes = self.buffer.size()
        return 0

    cdef int _hand_over(self) except -1:
        """Hands the kernel what it takes. The buffer stays for what the turn still brings."""
        cdef Py_ssize_t sent
        cdef bint full = False
        if self.channel is None or self.held:
            return 0
        if not self.blocked:
            self.took = False
        while self.buffer.size():
            sent = 0 if full else self.channel.send(self.buffer.data + self.buffer.head, self.buffer.size())
            if sent < 0:
                self.on_dead("Write Error")
                return 0
            if sent == 0:
                if not self.blocked:
                    self.blocked = True
                    self.channel.want_write(True)
                    self._begin_batch(self.took)
                return 0
            full = <size_t>sent < self.buffer.size()
            self.buffer.consume(<size_t>sent)
            if not self.blocked or <size_t>sent < self.due:
                self.took = True
                self.due -= <size_t>sent if self.blocked else 0
            else:
                self._in_time()
                self._begin_batch(<size_t>sent > self.due)
        if self.blocked:
            self._in_time()
            self.blocked = False
            self.channel.want_write(False)
            self.turn.timers.cancel(self.deadline)
        return 0

    cdef int _begin_batch(self, bint took) except -1:
        self.due, self.took = self.buffer.size(), took
        return self.turn.timers.arm(self.deadline, self.turn.clock.mono_ns + self.write_deadline_ns)

    cdef int _in_time(self) except -1:
        if self.late:
            self.late = False
            self.on_late("Recovered")
        return 0

    cdef int hold(self) except -1:
        if not self.held and self.channel is not None:
            self.held, self.kept = True, self.buffer.size()
            if self.blocked:
                self.blocked = False
                self.channel.want_write(False)
                self.turn.timers.cancel(self.deadline)
        return 0

    cdef int let_go(self) except -1:
        self.held = False
        return self.flush()

    cdef int drop_held(self) except -1:
        if self.held:
            self.held = False
            self.buffer.cut(self.kept)
        return 0

    cdef int flush_failed(self) except -1:
        if self.on_dead is not None:
            self.on_dead("Write Error")
        return 0

    cdef int release(self) except -1:
        self.turn.timers.cancel(self.deadline)
        self.buffer.release()
        self.channel = None
        self.on_dead = self.on_late = None
        return 0
