"""What connections with a layer have in common: reading and writing through their stream.

A stream may hold bytes of its own (a handshake, an answer to a ping, a record that the kernel took half of). They
leave before anything else; while there are some the connection waits for `writable`. The outbox counts plain bytes
until what became of them has left, so its bounds and deadlines are those of a connection in the clear.
"""

from millpond.broker.outbox cimport Channel
from millpond.broker.session cimport CLOSED, Session
from millpond.structures.buffers cimport ByteBuffer
from millpond.transport.stream cimport iovec

cdef extern from "poller.h" nogil:
    int POLLER_READ, POLLER_WRITE


cdef class LayeredChannel(Channel):
    cdef LayeredConnection connection

    cdef Py_ssize_t send(self, const char* data, size_t n) except -2:
        return self.connection.stream.put(data, n)

    cdef int want_write(self, bint on) except -1:
        return self.connection.want(POLLER_WRITE, on or self.connection.stream.has_unsent())

    cdef int pause_reading(self, bint on) except -1:
        self.connection.want(POLLER_READ, not on)
        return 0 if on else self.connection.resume()

    cdef int close(self) except -1:
        return self.connection.shut()


cdef class LayeredConnection(TcpConnection):
    """Subclasses set it up."""

    def __init__(self):
        raise TypeError("a connection is made by its door")

    cdef int set_up(self, Reactor reactor, object sock, Stream stream) except -1:
        self.reactor = reactor
        self.sock = sock
        self.stream = stream
        self.carry = ByteBuffer()
        reactor.add(self, sock.fileno(), POLLER_READ)
        return 0

    cdef int start_session(self, str ip, int port) except -1:
        cdef LayeredChannel channel = LayeredChannel()
        channel.connection = self
        self.session = Session(self.reactor.broker, channel, ip, port)
        self.carry.budget = self.session.input
        return 0

    cdef Py_ssize_t take(self, iovec* parts, int count) except -3:
        self.stream.stranger = self.session.is_anonymous()
        return self.stream.take(parts, count)

    cdef int ready(self, int what) except -1:
        if what & POLLER_WRITE:
            self.write_out()
        return TcpConnection.ready(self, what & ~POLLER_WRITE)

    cdef int write_out(self) except -1:
        cdef int left
        if self.session.state == CLOSED:
            return 0
        if self.session.outbox.pending() and not self.session.outbox.held:
            return self.session.outbox.flush()
        left = self.stream.push()
        if left < 0:
            return self.session.close("Write Error")
        return self.want(POLLER_WRITE, left == 0)

    cdef int read(self) except -1:
        TcpConnection.read(self)
        if self.session.state == CLOSED:
            return 0
        if self.stream.has_unsent():
            self.want(POLLER_WRITE, True)
        if self.stream.eager:
            self.reactor.later(self)
        return 0

    cdef int resume(self) except -1:
        if self.stream.eager and self.session.state != CLOSED:
            self.reactor.later(self)
        return TcpConnection.resume(self)

    cdef int go_on(self) except -1:
        TcpConnection.go_on(self)
        if (self.stream.eager and self.session.state != CLOSED and not self.session.stalled
                and not self.session.yielded):
            return self.read()
        return 0

    cdef int shut(self) except -1:
        if self.sock is not None:
            self.stream.finish(self.session.reason if self.session is not None else "")
        return TcpConnection.shut(self)
