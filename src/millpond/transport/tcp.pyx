"""TCP in the data plane: the listener and its connections. What stands between a socket and a session (TLS,
WebSocket) is a subclass in `layered`; a connection in the clear reads and writes its socket itself.

A connection reads into the reactor's shared buffer. Only the beginning of an unfinished frame is kept, in a
carry buffer of its own that is freed when the frame is whole. The next read fills up that frame, in the carry,
and puts whatever follows it into the shared buffer, in one call:

    carry          | kept | rest of the frame |           exactly `need` bytes
    shared buffer                              | next frames ...         |

so a stream of messages costs as few reads as it does bytes, wherever the reads happen to cut it. A session that
stalls, or that has used up the turn's time, leaves whole frames behind; they wait in the carry, and nothing is
read until they are gone. Before authentication a connection may hold at most PREAUTH_BYTES_MAX, and no more than that
is read of it at once.

A frame that takes effect may end its own connection. Its bytes must outlive that: `shut` lets go of the
carry, it never frees memory that a frame is being read from.
"""

import errno
import logging
import socket

from libc.errno cimport EAGAIN, EINTR, errno as c_errno
from libc.stdint cimport uint64_t
from libc.string cimport memcpy
from millpond.broker.broker cimport Broker
from millpond.broker.outbox cimport Channel
from millpond.broker.session cimport CLOSED, Session
from millpond.structures.buffers cimport ByteBuffer
from millpond.transport.reactor cimport Reactor, Source
from millpond.transport.stream cimport iovec

from millpond.base import limits
from millpond.transport.binding import listening, peer_ip, wrapped

log = logging.getLogger("millpond")

cdef extern from "poller.h" nogil:
    int POLLER_READ, POLLER_WRITE, POLLER_HANGUP

cdef extern from "sys/uio.h" nogil:
    ssize_t readv(int fd, const iovec* parts, int count)

cdef extern from "sys/socket.h" nogil:
    ssize_t c_send "send"(int fd, const void* buffer, size_t n, int flags)
    ssize_t c_recv "recv"(int fd, void* buffer, size_t n, int flags)
    int MSG_NOSIGNAL

cdef enum:
    ACCEPTS_PER_TURN = 64

cdef size_t READ_BYTES = limits.READ_BUFFER_BYTES
cdef size_t PREAUTH_BYTES = limits.PREAUTH_BYTES_MAX
cdef size_t VERIFYING_BYTES = limits.VERIFYING_BYTES_MAX
cdef char[65536] discarded


cdef class TcpChannel(Channel):
    cdef TcpConnection connection

    cdef Py_ssize_t send(self, const char* data, size_t n) except -2:
        cdef ssize_t sent
        while True:
            sent = c_send(self.connection.fd, data, n, MSG_NOSIGNAL)
            if sent >= 0:
                return sent
            if c_errno == EINTR:
                continue
            return 0 if c_errno == EAGAIN else -1

    cdef int want_write(self, bint on) except -1:
        return self.connection.want(POLLER_WRITE, on)

    cdef int pause_reading(self, bint on) except -1:
        self.connection.want(POLLER_READ, not on)
        return 0 if on else self.connection.resume()

    cdef int close(self) except -1:
        return self.connection.shut()


cdef class TcpConnection(Source):
    """One accepted socket and its session."""

    def __init__(self, Reactor reactor, sock, str ip, int port, origin=None, dict hello=None):
        """origin: how it came in; None: as all others. hello: what INFO says otherwise to those."""
        self.start(reactor, sock, ip, port)
        if origin is not None:
            self.session.came_in(origin)
            self.session.asks, self.session.hello = True, hello
        self.session.open()

    cdef int start(self, Reactor reactor, sock, str ip, int port) except -1:
        cdef TcpChannel channel = TcpChannel()
        channel.connection = self
        self.sock = sock
        self.carry = ByteBuffer()
        self.session = Session(reactor.broker, channel, ip, port)
        self.carry.budget = self.session.input
        self.reads_little = True
        return reactor.add(self, sock.fileno(), POLLER_READ)

    cdef int want(self, int bit, bint on) except -1:
        return self.reactor.want(self, (self.wanted | bit) if on else (self.wanted & ~bit))

    cdef int ready(self, int what) except -1:
        if what & POLLER_WRITE and self.session.outbox.channel is not None:
            self.session.outbox.flush()
        if what & (POLLER_READ | POLLER_HANGUP) and self.session.state != CLOSED:
            if not self.session.stalled and self.session.must_wait():
                self.session.stall()
            if self.session.state == CLOSED:
                return 0
            if self.session.stalled:
                if what & POLLER_HANGUP:
                    self.session.close("Client Closed")
                return 0
            if not self.unfinished:
                self.read()
        return 0

    cdef Py_ssize_t take(self, iovec* parts, int count) except -3:
        cdef ssize_t got = readv(self.fd, parts, count)
        if got < 0:
            return -1 if c_errno == EAGAIN or c_errno == EINTR else -2
        return got

    cdef int read(self) except -1:
        """One read; everything whole in it takes effect."""
        cdef iovec[2] parts
        cdef size_t kept = self.carry.size(), rest = 0, into_carry
        cdef size_t most
        cdef char* shared = self.reactor.read_buffer
        cdef Py_ssize_t got
        if kept and self.need > kept:
            rest = self.need - kept
            parts[0].iov_base = self.carry.reserve(rest)
            self.session.has_room = True
        elif kept:
            # The length of the frame is not known yet: go on behind a copy of its beginning.
            assert kept < READ_BYTES, "an unfinished control line is short"
            memcpy(shared, self.carry.data + self.carry.head, kept)
        parts[0].iov_len = rest
        parts[1].iov_base = shared if rest else shared + kept
        most = READ_BYTES if rest else READ_BYTES - kept
        self.read_less = self.reads_little and self.session.is_anonymous()
        parts[1].iov_len = min(most, PREAUTH_BYTES) if self.read_less else most
        got = self.take(&parts[0 if rest else 1], 2 if rest else 1)
        if got < 0:
            return 0 if got == -1 else self.session.close("Read Error")
        if got == 0:
            return self.session.close("Client Closed")
        if not rest:
            self.carry.release()
            return self.feed_fresh(shared, kept + <size_t>got)
        into_carry = min(<size_t>got, rest)
        self.carry.commit(into_carry)
        self.feed_carry()
        if <size_t>got > into_carry and self.session.state != CLOSED:
            if self.carry.size():
                self.carry.append(shared, <size_t>got - into_carry)
            else:
                self.feed_fresh(shared, <size_t>got - into_carry)
        return 0

    cdef int feed_fresh(self, const char* data, size_t n) except -1:
        cdef size_t used
        assert self.carry.size() == 0, "what was kept goes first"
        used = self.session.feed(data, n, &self.need)
        assert used <= n
        if self.session.state != CLOSED and used < n:
            self.carry.append(data + used, n - used)
            self.check_carry()
        self.tell_unfinished(used > 0)
        if self.session.yielded:
            self.reactor.later(self)
        return 0

    cdef int feed_carry(self) except -1:
        cdef ByteBuffer carry = self.carry       # stays ours when the connection ends meanwhile
        cdef size_t used
        if self.need > carry.size():
            return 0
        used = self.session.feed(carry.data + carry.head, carry.size(), &self.need)
        if self.session.state == CLOSED:
            return 0
        assert carry is self.carry
        carry.consume(used)
        if carry.size() == 0:
            carry.release()
            self.need = 0
        self.tell_unfinished(used > 0)
        if self.session.yielded:
            self.reactor.later(self)
        return self.check_carry()

    cdef int tell_unfinished(self, bint another) except -1:
        """The session knows since when a frame is unfinished, and whether all of it has room in the carry."""
        cdef Session session = self.session
        if self.carry.size() == 0:
            session.unfinished_ns = 0
        elif another or session.unfinished_ns == 0:
            session.unfinished_ns = session.broker.clock.mono_ns
        session.has_room = 0 < self.need <= self.carry.capacity
        return 0

    cdef int check_carry(self) except -1:
        cdef size_t bound = VERIFYING_BYTES if self.session.verifying else PREAUTH_BYTES
        if self.session.is_anonymous() and (self.carry.size() > bound or self.need > bound):
            return self.session.close("Authentication Failure", "Authorization Violation")
        return 0

    cdef int resume(self) except -1:
        """After a stall: what was read before it goes first, in the next turn."""
        if self.carry.size() and self.session.state != CLOSED:
            self.reactor.later(self)
        return 0

    cdef int go_on(self) except -1:
        if self.session.state != CLOSED and not self.session.stalled:
            self.need = 0
            self.feed_carry()
        return 0

    cdef int shut(self) except -1:
        if self.sock is not None:
            self.reactor.remove(self)
            if self.read_less:
                self.discard()
            self.carry = ByteBuffer()
            self.need = 0
            self.sock.close()
            self.sock = None
        return 0

    cdef int discard(self) except -1:
        """What a stranger sent and was not read: with that in its buffer the kernel would not deliver our last words."""
        cdef int _
        for _ in range(READ_BYTES // sizeof(discarded)):
            if c_recv(self.fd, discarded, sizeof(discarded), 0) < <ssize_t>sizeof(discarded):
                break
        return 0

    def give_up(self):
        """Something went wrong inside: end this connection, and only this one."""
        self.session.close("Protocol Violation")


cdef class TcpListener(Source):
    """Accepts connections inside the turn. `door(reactor, sock, ip, port)` makes them; None: they come in the clear."""
    cdef readonly object sock
    cdef public object door

    def __init__(self, Reactor reactor, str host, int port, door=None, sock=None):
        """sock: one that listens there already, of `binding.listening`."""
        self.door = door
        try:
            self.sock = wrapped(sock if sock is not None else listening(host, port))
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}; try --port -1") from None
        reactor.add(self, self.sock.fileno(), POLLER_READ)

    @property
    def port(self):
        """The port in use."""
        return self.sock.getsockname()[1]

    cdef int ready(self, int what) except -1:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, address = self.sock.accept()
            except BlockingIOError:
                return 0
            except OSError as error:
                return self.accept_failed(error)
            sock.setblocking(False)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                (self.door or TcpConnection)(self.reactor, sock, peer_ip(address[0]), address[1])
            except OSError as error:
                log.error("a new connection failed: %s", error)
                sock.close()
        return 0

    cdef int accept_failed(self, error) except -1:
        """Out of descriptors: stop accepting for a moment instead of spinning."""
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            log.error("cannot accept connections: %s. Raise the limit of open files (ulimit -n)", error)
            self.reactor.want(self, 0)
            self.reactor.loop.call_later(0.1, self.resume)
        return 0

    def resume(self):
        """Accept again."""
        if self.sock is not None:
            self.reactor.want(self, POLLER_READ)

    def close(self):
        """Stop listening."""
        if self.sock is not None:
            self.reactor.remove(self)
            self.sock.close()
            self.sock = None
