"""The load generator's own loop. It blocks when there is nothing to do, so that it leaves the processors to
the server; a message costs it some 30 to 60 ns, so that the server is the bottleneck.

    round:  driver.fill -> one send per connection with output -> wait -> one recv per ready connection,
            every whole message handed to the driver
"""

import socket
import time

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memmove
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from millpond.bench.frames cimport (
    MESSAGE,
    NONSENSE,
    PARTIAL,
    SERVER_ERROR,
    SERVER_PING,
    SERVER_PONG,
    Delivered,
    parse_delivered,
)
from millpond.structures.buffers cimport ByteBuffer

cdef extern from "millpond/transport/poller.h" nogil:
    ctypedef struct poller_event:
        uint64_t tag
        int what
    int POLLER_READ, POLLER_WRITE
    int poller_open()
    int poller_add(int poller, int fd, int want, uint64_t tag)
    int poller_change(int poller, int fd, int had, int want, uint64_t tag)
    int poller_wait_ms(int poller, poller_event* out, int most, int timeout_ms)

cdef extern from "sys/socket.h" nogil:
    ssize_t c_send "send"(int fd, const void* buffer, size_t n, int flags)
    ssize_t c_recv "recv"(int fd, void* buffer, size_t n, int flags)
    int MSG_NOSIGNAL

cdef extern from "unistd.h" nogil:
    int close(int fd)

cdef enum:
    READ_BYTES_MIN = 16 * 1024
    READ_BYTES_MAX = 2 * 1024 * 1024
    EVENTS_MAX = 256
    WAIT_MS = 50

CONNECT_TIMEOUT_S = 10.0


class LoadError(Exception):
    """The measurement cannot go on; the text says what the server did."""


cdef int64_t now() noexcept nogil:
    cdef timespec spec
    clock_gettime(CLOCK_MONOTONIC, &spec)
    return <int64_t>spec.tv_sec * 1_000_000_000 + spec.tv_nsec


cdef class Driver:
    """Override `fill`, `message` and `done`."""

    cdef int fill(self, int64_t now_ns) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int message(self, Connection conn, const Delivered* msg, int64_t now_ns) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef bint done(self) except *:
        raise NotImplementedError(type(self).__name__)

    cdef int stop(self) except -1:
        self.stopping = True
        return 0

    cdef int failed(self, const char* text, size_t n) except -1:
        self.failures += 1
        if self.first_failure is None:
            self.first_failure = text[:min(n, <size_t>300)].decode("utf-8", "replace")
        return 0


cdef class Handshake(Driver):
    """A round trip: everything sent before has been taken by the server."""
    cdef Connection conn
    cdef uint64_t wanted

    cdef int fill(self, int64_t now_ns) except -1:
        return 0

    cdef int message(self, Connection conn, const Delivered* msg, int64_t now_ns) except -1:
        return 0

    cdef bint done(self) except *:
        return self.conn.pongs >= self.wanted


cdef class Connection:
    """One client; made by `Loop.connect`. With a layer between it and the socket: override `put` and `read`."""

    def __dealloc__(self):
        free(self.data)

    def send(self, bytes data):
        """Raw protocol lines; they leave in the loop's next round."""
        self.out.append(<const char*>data, len(data))
        self.touch()

    def subscribe(self, bytes subject, bytes queue=b""):
        """SUB with a sid of its own; it leaves in the loop's next round."""
        self.sids += 1
        self.send(b"SUB %s %s %d\r\n" % (subject, queue, self.sids))

    cdef int touch(self) except -1:
        if not self.dirty:
            self.dirty = True
            self.loop._dirty.append(self)
        return 0

    cdef int ping(self) except -1:
        self.out.append(b"PING\r\n", 6)
        self.pings += 1
        return self.touch()

    cdef int flush(self) except -1:
        cdef Py_ssize_t sent = 1
        while sent and self.out.size():
            sent = self.put(self.out.data + self.out.head, self.out.size())
            self.out.consume(<size_t>sent)
        cdef bint blocked = self.out.size() > 0
        if blocked != self.wants_write:
            self.wants_write = blocked
            poller_change(self.loop.poller, self.fd, POLLER_READ | (0 if blocked else POLLER_WRITE),
                          POLLER_READ | (POLLER_WRITE if blocked else 0), self.number)
        return 0

    cdef Py_ssize_t put(self, const char* data, size_t n) except -1:
        cdef ssize_t sent = c_send(self.fd, data, n, MSG_NOSIGNAL)
        if sent >= 0:
            return sent
        if errno != EAGAIN and errno != EINTR:
            raise LoadError(f"the server closed connection {self.number} while it was written to (errno {errno})")
        return 0

    cdef int read(self, Driver driver, int64_t now_ns) except -1:
        self._make_room()
        self.end += <size_t>self.receive(self.data + self.end, self.capacity - self.end)
        return self._dispatch(driver, now_ns)

    cdef Py_ssize_t receive(self, char* place, size_t room) except -1:
        cdef ssize_t got = c_recv(self.fd, place, room, 0)
        if got > 0:
            return got
        if got == 0 or (errno != EAGAIN and errno != EINTR):
            raise LoadError(f"the server closed connection {self.number}")
        return 0

    cdef int _make_room(self) except -1:
        """Room behind what is there; the buffer doubles when the last read filled it."""
        cdef size_t wanted = self.capacity
        cdef char* grown
        if self.end == self.capacity:
            wanted = max(self.capacity * 2, <size_t>READ_BYTES_MIN)
        if self.start:
            memmove(self.data, self.data + self.start, self.end - self.start)
            self.start, self.end = 0, self.end - self.start
        if wanted > self.capacity and self.capacity < READ_BYTES_MAX:
            grown = <char*>realloc(self.data, wanted)
            if grown == NULL:
                raise MemoryError
            self.data, self.capacity = grown, wanted
        if self.end == self.capacity:
            raise LoadError("the server sent a longer message than this client takes")
        return 0

    cdef int _dispatch(self, Driver driver, int64_t now_ns) except -1:
        cdef Delivered msg
        cdef size_t took
        while self.start < self.end:
            took = parse_delivered(self.data + self.start, self.end - self.start, &msg)
            if took == 0:
                if msg.kind == NONSENSE:
                    raise LoadError("the server sent what is not NATS")
                break
            self.start += took
            if msg.kind == MESSAGE:
                driver.message(self, &msg, now_ns)
            elif msg.kind == SERVER_PONG:
                self.pongs += 1
            elif msg.kind == SERVER_PING:
                self.out.append(b"PONG\r\n", 6)
                self.touch()
            elif msg.kind == SERVER_ERROR:
                raise LoadError(f"the server says {msg.body[:msg.body_len].decode('utf-8', 'replace')}")
        return 0


cdef class Loop:
    """Owns its connections; `close` ends them all."""

    def __init__(self):
        self.poller = poller_open()
        if self.poller < 0:
            raise OSError("cannot make a descriptor set")
        self.connections, self._dirty = [], []

    def connect(self, str host, int port, str name="bench", str auth="", secure=None):
        """A connected client. Raises OSError, LoadError.

        auth: further fields of CONNECT. secure(sock): makes the Connection, with a layer, of a blocking socket.
        """
        cdef Connection conn
        sock = socket.create_connection((host, port), CONNECT_TIMEOUT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conn = Connection() if secure is None else secure(sock)
        sock.setblocking(False)
        conn.loop, conn.sock, conn.fd, conn.out = self, sock, sock.fileno(), ByteBuffer()
        conn.number = len(self.connections)
        self.connections.append(conn)
        if poller_add(self.poller, conn.fd, POLLER_READ, conn.number) < 0:
            raise OSError(f"cannot watch descriptor {conn.fd}")
        fields = (f'"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1,'
                  f'"lang":"millpond-bench","version":"1","name":"{name}"{"," + auth if auth else ""}')
        conn.send(f"CONNECT {{{fields}}}\r\n".encode())
        self.settle(conn)
        return conn

    def settle(self, Connection conn, double seconds=CONNECT_TIMEOUT_S):
        """Until the server has taken everything that was sent on `conn`."""
        cdef Handshake round_trip = Handshake()
        conn.ping()
        round_trip.conn, round_trip.wanted = conn, conn.pings
        self.run(round_trip, seconds, 0)

    def run(self, Driver driver, double seconds, double drain_s=30.0, begin=None):
        """Drive until it is done; after `seconds` nothing new begins, after `drain_s` more it is a LoadError.

        `begin()` is called when the clock has started. Afterwards started_ns and ended_ns say how long it took.
        """
        cdef int64_t stop_ns, give_up_ns, now_ns
        cdef int more
        driver.loop = self
        self.started_ns = now()
        stop_ns = self.started_ns + <int64_t>(seconds * 1e9)
        give_up_ns = stop_ns + <int64_t>(drain_s * 1e9)
        if begin is not None:
            begin()
        while True:
            now_ns = now()
            if not driver.stopping and now_ns >= stop_ns:
                driver.stop()
            if now_ns > give_up_ns:
                raise LoadError(f"the server is silent: {driver.operations} operations done, the rest never came")
            more = driver.fill(now_ns)
            self._flush()
            if driver.done():
                break
            self._round(driver, 0 if more else WAIT_MS)
        self.ended_ns = now()

    cdef int _flush(self) except -1:
        cdef list dirty = self._dirty
        cdef Connection conn
        if dirty:
            self._dirty = []
            for conn in dirty:
                conn.dirty = False
                conn.flush()
        return 0

    cdef int _round(self, Driver driver, int timeout_ms) except -1:
        cdef poller_event[EVENTS_MAX] events
        cdef int count, i
        cdef int64_t now_ns
        cdef Connection conn
        with nogil:
            count = poller_wait_ms(self.poller, events, EVENTS_MAX, timeout_ms)
        now_ns = now()
        for i in range(count):
            conn = <Connection>self.connections[<size_t>events[i].tag]
            if events[i].what & POLLER_WRITE:
                conn.flush()
            if events[i].what & ~POLLER_WRITE:
                conn.read(driver, now_ns)
        return 0

    def close(self):
        """End every connection."""
        for conn in self.connections:
            (<Connection>conn).sock.close()
        if self.poller >= 0:
            close(self.poller)
            self.poller = -1
