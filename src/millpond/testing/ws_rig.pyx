"""WebSocket frames without a socket, for tests and fuzzers: pieces of bytes in, what a session would read out."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from millpond.transport.reactor cimport Reactor
from millpond.transport.stream cimport Stream, iovec
from millpond.transport.ws_stream cimport WsStream

from millpond.base.clock import Clock
from millpond.broker.broker import Broker
from millpond.config.options import Options
from millpond.transport.ws_upgrade import Upgrade


cdef class Pieces(Stream):
    """Gives one piece at a time, then nothing; takes everything, or nothing while it is `full`."""
    cdef list pieces
    cdef bint full
    cdef bytearray said

    def __init__(self):
        self.pieces, self.said = [], bytearray()

    cdef Py_ssize_t take(self, iovec* parts, int count) except -3:
        cdef bytes piece
        if not self.pieces:
            return -1
        piece = self.pieces.pop(0)
        assert 0 < <size_t>len(piece) <= parts[0].iov_len
        memcpy(parts[0].iov_base, PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))
        return PyBytes_GET_SIZE(piece)

    cdef Py_ssize_t put(self, const char* data, size_t n) except -2:
        if self.full:
            return 0
        self.said += data[:n]
        return <Py_ssize_t>n


class NoLoop:
    """Nothing happens by itself."""

    def add_reader(self, fd, callback):
        """Nobody calls it."""

    def call_soon(self, callback):
        """Nor this."""


class Rig:
    """One connection's frames. A reactor is made once, for its buffers."""

    reactor = None

    def __init__(self, *, compress=False, masked=True, browser=False, whole=False, payload_max=1 << 20):
        if Rig.reactor is None:
            Rig.reactor = Reactor(Broker(Options(), Clock()), NoLoop())
        self.lower = Pieces()
        upgrade = Upgrade(answer=b"", compress=compress, masked=masked, browser=browser, whole=whole, ip="", cookies=None)
        (<Reactor>Rig.reactor).broker.payload_max = payload_max
        self.stream = WsStream(Rig.reactor, self.lower, upgrade)
        self.plain = b""
        self.over = False

    def feed(self, pieces, size_t room=65536):
        """What these pieces bring, read into `room` bytes at a time."""
        cdef Pieces lower = self.lower
        cdef WsStream stream = self.stream
        cdef iovec[2] parts
        cdef Py_ssize_t got
        cdef char* memory = <char*>malloc(room)
        lower.pieces += [piece for piece in pieces if piece]
        parts[0].iov_base, parts[0].iov_len = memory, room - room // 3
        parts[1].iov_base, parts[1].iov_len = memory + room - room // 3, room // 3
        try:
            while lower.pieces or stream.eager:
                got = stream.take(parts, 2 if room > 2 else 1)
                if got == 0 or got == -2:
                    self.over = True
                    break
                if got > 0:
                    self.plain += PyBytes_FromStringAndSize(memory, got)
        finally:
            free(memory)
        return self.plain

    def put(self, bytes data):
        """How many of these bytes have left."""
        return (<WsStream>self.stream).put(PyBytes_AS_STRING(data), <size_t>PyBytes_GET_SIZE(data))

    def end(self, reason):
        """The last word; False when some of it did not leave."""
        (<WsStream>self.stream).finish(reason)

    def fill(self, bint full):
        """The peer takes nothing, or takes again."""
        (<Pieces>self.lower).full = full

    def push(self):
        """What waits, once more."""
        return (<WsStream>self.stream).push()

    @property
    def failure(self):
        """Which rule was broken; None."""
        return (<WsStream>self.stream).failure

    @property
    def said(self):
        """Everything that has left."""
        return bytes((<Pieces>self.lower).said)

    @property
    def held_bytes(self):
        """What it keeps of what came, and of what is to leave."""
        cdef WsStream stream = self.stream
        return stream.gathered.size() + stream.unread.size() + stream.held.size()
