"""TLS connections (reference 02.4): the handshake before a session may speak, records around its bytes afterwards.

    WAITING   handshake_first with a fallback: nothing was sent; the client's first byte, or the deadline, decides
    LOOKING   INFO was sent, clients may choose: the first byte says whether this is a handshake
    SHAKING   the handshake
              before it, or before LOOKING, a load balancer may say where the client is (`proxied`)
    OPEN      the session has begun

Before OPEN a connection costs its session, one deadline, and from its first byte on OpenSSL's state; it may send
TLS_HANDSHAKE_BYTES_MAX. What is no handshake is closed without asking OpenSSL.

One read takes what the socket has (TLS_READ_BYTES at most), decrypts all of it, and hands it to the session as a
connection in the clear would. One write encrypts up to LAYER_WRITE_BYTES; before these have left, nothing more is.
"""

import logging
import ssl

from cpython.bytes cimport PyBytes_AS_STRING
from libc.errno cimport EAGAIN, EINTR, errno as c_errno
from libc.stdint cimport int64_t
from millpond.broker.session cimport CLOSED
from millpond.broker.timers cimport Timer
from millpond.transport.layered cimport LayeredConnection
from millpond.transport.proxied cimport introduce, refuse
from millpond.transport.reactor cimport Reactor
from millpond.transport.stream cimport Layer, Stream, iovec, send_some

from millpond.accounts.origin import STANDARD, Origin, TlsPeer
from millpond.base import limits
from millpond.config.tls import go_cipher
from millpond.transport.proxy_preamble import Preamble
from millpond.transport.tls_errors import NOT_PINNED, NOT_TLS, TOO_LONG, explained

log = logging.getLogger("millpond")

cdef extern from "poller.h" nogil:
    int POLLER_READ, POLLER_WRITE, POLLER_HANGUP

cdef extern from "sys/socket.h" nogil:
    ssize_t c_recv "recv"(int fd, void* buffer, size_t n, int flags)
    int MSG_PEEK

cdef extern from "Python.h":
    int PyBUF_READ, PyBUF_WRITE
    object PyMemoryView_FromMemory(char* memory, Py_ssize_t size, int flags)

cdef enum:
    HANDSHAKE_RECORD = 0x16

cdef enum Phase:
    WAITING
    LOOKING
    SHAKING
    OPEN

cdef size_t READ_BYTES = limits.TLS_READ_BYTES
cdef size_t HANDSHAKE_BYTES = limits.TLS_HANDSHAKE_BYTES_MAX
cdef int64_t PROXY_NS = limits.PROXY_HEADER_NS
cdef int64_t TLS_BYTES = limits.TLS_CONNECTION_BYTES
cdef int SESSIONS_REMEMBERED = limits.TLS_SESSIONS_REMEMBERED_MAX

FAILURE = "TLS Handshake Failure"


class HandshakeFailed(Exception):
    """The text is for the log. `probe`: it was no TLS client at all."""

    def __init__(self, text, probe=False):
        super().__init__(text)
        self.probe = probe


cdef bint has_more(int fd) noexcept:
    """Is there something to read, or an end to be seen?"""
    cdef char byte
    return c_recv(fd, &byte, 1, MSG_PEEK) >= 0


cdef class TlsStream(Layer):
    """Nothing may be taken or put before `shake` has said that it is done."""

    def __init__(self, Reactor reactor, int fd, context):
        self.fd = fd
        self.reactor = reactor
        self.context = context
        self.held = b""

    # --- the handshake ---

    cdef int shake(self) except -1:
        cdef int what = self._receive()
        if what == -1:
            return 0
        if what <= 0:
            raise HandshakeFailed("EOF" if what == 0 else "read: connection reset by peer")
        if self.came > HANDSHAKE_BYTES:
            raise HandshakeFailed(TOO_LONG.format(HANDSHAKE_BYTES))
        try:
            self.ssl.do_handshake()
        except ssl.SSLWantReadError:
            self._tell()
            return 0
        except ssl.SSLError as error:
            self._tell()                             # the alert
            raise HandshakeFailed(explained(error)) from None
        self._tell()
        self.shaken = True
        self.reactor.broker.connections.charge(TLS_BYTES)
        self.context = None
        return 1

    cdef int _receive(self) except -3:
        """1 = OpenSSL has more, 0 = the end, -1 = nothing now, -2 = the connection is broken."""
        cdef char* buffer = self.reactor.spare()
        cdef ssize_t got = c_recv(self.fd, buffer, READ_BYTES, 0)
        if got < 0:
            return -1 if c_errno == EAGAIN or c_errno == EINTR else -2
        if got == 0:
            return 0
        if self.ssl is None:
            if buffer[0] != HANDSHAKE_RECORD:
                raise HandshakeFailed(NOT_TLS, probe=True)
            self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self.ssl = self.context.wrap_bio(self.incoming, self.outgoing, server_side=True)
            below = self.ssl._sslobj
            self.decrypt, self.encrypt, self.rest = below.read, below.write, below.pending
        if not self.shaken:
            self.came += <size_t>got
        self.incoming.write(PyMemoryView_FromMemory(buffer, got, PyBUF_READ))
        return 1

    cdef int _tell(self) except -2:
        cdef bytes said = self.outgoing.read()
        if said:
            self.held = self.held[self.held_at:] + said
            self.held_at = 0
        return self.push()

    cdef tuple chain(self):
        """The client's certificates, its own first."""
        if self.ssl.getpeercert(True) is None:
            return ()
        if hasattr(self.ssl, "get_unverified_chain"):            # Python 3.13
            return tuple(self.ssl.get_unverified_chain())
        return tuple([each.public_bytes(ssl._ssl.ENCODING_DER) for each in self.ssl._sslobj.get_unverified_chain()])

    cdef object peer(self, bint first):
        """What the handshake came to."""
        return TlsPeer(self.ssl.version().removeprefix("TLSv"), go_cipher(self.ssl.cipher()[0]), first, self.chain())

    # --- records ---

    cdef Py_ssize_t take(self, iovec* parts, int count) except -3:
        cdef int what
        cdef Py_ssize_t got
        if self.ended or self.broken:
            return 0 if self.ended else -2
        what = self._receive()
        if what == -2 or (what == -1 and not self.incoming.pending):
            return what
        if what == 0:
            self.ended = self.eager = True
        got = self._decrypt(parts, count)
        if got:
            return got
        return 0 if self.ended else -2 if self.broken else -1

    cdef Py_ssize_t _decrypt(self, iovec* parts, int count) except -3:
        """Everything that is whole; there is room for it."""
        cdef Py_ssize_t total = 0, got
        cdef size_t at
        cdef int i
        try:
            for i in range(count):
                at = 0
                while at < parts[i].iov_len:
                    got = self.decrypt(
                        parts[i].iov_len - at,
                        PyMemoryView_FromMemory(<char*>parts[i].iov_base + at, parts[i].iov_len - at, PyBUF_WRITE))
                    if got == 0:
                        self.ended = self.eager = True
                        return total
                    at += <size_t>got
                    total += got
                    if not self.incoming.pending and not self.rest():
                        return total                 # to be told so by an exception costs more than to decrypt
        except ssl.SSLWantReadError:
            return total
        except ssl.SSLZeroReturnError:
            self.ended = self.eager = True
        except ssl.SSLError:
            self.broken = True
            self._tell()
        return total

    cdef Py_ssize_t put(self, const char* data, size_t n) except -2:
        if self.broken:
            return -1
        if not self.shaken:
            return <Py_ssize_t>n                     # nobody could read it
        return Layer.put(self, data, n)

    cdef int encode(self, const char* data, size_t n) except -1:
        self.encrypt(PyMemoryView_FromMemory(<char*>data, <Py_ssize_t>n, PyBUF_READ))
        self.held = self.outgoing.read()
        return 0

    cdef bint has_unsent(self) noexcept:
        return self.held is not None and len(self.held) > self.held_at

    cdef int push(self) except -2:
        cdef Py_ssize_t size = len(self.held), sent
        while self.held_at < size:
            sent = send_some(self.fd, PyBytes_AS_STRING(self.held) + self.held_at, <size_t>(size - self.held_at))
            if sent <= 0:
                return <int>sent
            self.held_at += sent
        if size:
            self.held, self.held_at = b"", 0
        return 1

    cdef int finish(self, str reason) except -1:
        """close_notify. A TLS 1.2 session that ends without is not remembered: that bounds OpenSSL's cache."""
        if self.shaken and not self.broken and not self.has_unsent():
            if self.ssl.context.session_stats()["number"] < SESSIONS_REMEMBERED:
                try:
                    self.ssl.unwrap()
                except (OSError, ValueError):        # it waits for the peer's, we do not
                    pass
                self._tell()
        if self.shaken:
            self.shaken = False
            self.reactor.broker.connections.release(TLS_BYTES)
        self.ssl = self.incoming = self.outgoing = self.context = self.decrypt = self.encrypt = self.rest = None
        self.held, self.held_at, self.promised, self.broken = b"", 0, 0, True
        return 0


cdef class PhaseTimer(Timer):
    cdef TlsConnection connection

    cdef int fire(self, int64_t now_ns) except -1:
        cdef TlsConnection connection = self.connection      # nothing else may hold it when it ends
        return connection.timed_out()


cdef class TlsConnection(LayeredConnection):
    """One accepted socket. `door` is its listener's TlsDoor at this moment."""
    cdef object door
    cdef Phase phase
    cdef bint first                          # the handshake comes before INFO
    cdef PhaseTimer timer
    cdef object preamble                     # None: the client is introduced, or need not be

    def __init__(self, Reactor reactor, sock, str ip, int port, door):
        options = door.options
        self.preamble = Preamble(sock) if door.proxied else None
        self.door = door
        self.timer = PhaseTimer()
        self.timer.connection = self
        self.first = options.handshake_first
        self.phase = WAITING if options.fallback_ns else SHAKING if self.first or not door.allow_non_tls else LOOKING
        self.set_up(reactor, sock, Stream(sock.fileno()))
        self.start_session(ip, port)
        self.session.greets_late = self.first
        self.session.hello = door.hello
        self.session.unplaced = door.proxied
        if not self.session.enter():
            return
        if not self.first:
            self.session.outbox.flush()      # in the clear, before anything else
        if self.session.state == CLOSED:
            return
        self.begin_phase()

    cdef int begin_phase(self) except -1:
        """One that ends by a deadline. A handshake waits until its client is introduced."""
        options = self.door.options
        if self.phase == WAITING:
            return self.set_deadline(<int64_t>options.fallback_ns)
        if self.preamble is not None:
            return self.set_deadline(PROXY_NS)
        if self.phase == SHAKING:
            self.begin_handshake()
        return self.set_deadline(<int64_t>options.timeout_ns) if self.session.state != CLOSED else 0

    cdef int set_deadline(self, int64_t wait_ns) except -1:
        return self.reactor.broker.turn.timers.arm(self.timer, self.reactor.broker.clock.mono_ns + wait_ns)

    cdef int say(self, int level, str text) except -1:
        log.log(level, "%s:%d - cid:%d - %s", self.session.ip, self.session.port, self.session.cid, text)
        return 0

    # --- before the session may speak ---

    cdef int ready(self, int what) except -1:
        if self.phase == OPEN:
            return LayeredConnection.ready(self, what)
        if what & POLLER_WRITE:
            self.write_out()
        if what & (POLLER_READ | POLLER_HANGUP) and self.session.state != CLOSED:
            self.look()
        return 0

    cdef int look(self) except -1:
        """The client has said something, or nothing for ever."""
        cdef unsigned char byte = 0
        cdef ssize_t got
        if self.preamble is not None:
            if introduce(self, self.preamble) != 1:
                return 0
            self.preamble = None
            self.begin_phase()
            if self.session.state == CLOSED:
                return 0
            if not has_more(self.fd):
                return 0
        if self.phase == LOOKING:
            got = c_recv(self.fd, &byte, 1, MSG_PEEK)
            if got < 0:
                return 0 if c_errno == EAGAIN or c_errno == EINTR else self.session.close("Read Error")
            if got == 0:
                return self.session.close("Client Closed")
            if byte != HANDSHAKE_RECORD:
                return self.open_in_the_clear()
        if self.phase != SHAKING:
            self.phase = SHAKING
            self.set_deadline(<int64_t>self.door.options.timeout_ns)
            self.begin_handshake()
            if self.session.state == CLOSED:
                return 0
        return self.go_on_shaking()

    cdef int begin_handshake(self) except -1:
        rate = self.door.rate
        if rate is not None and not rate.allows():
            return self.session.close("Maximum Connections Exceeded",
                                      "Connection throttling is active. Please try again later.")
        self.say(logging.DEBUG, "Starting TLS client connection handshake")
        self.stream = TlsStream(self.reactor, self.fd, self.door.context)
        return 0

    cdef int go_on_shaking(self) except -1:
        cdef TlsStream stream = self.stream
        try:
            if not stream.shake():
                return self.want(POLLER_WRITE, True) if stream.has_unsent() else 0
            peer = stream.peer(self.first)
            if not self.door.is_pinned(peer.chain):
                raise HandshakeFailed(NOT_PINNED)
        except HandshakeFailed as failure:
            self.say(logging.DEBUG if failure.probe else logging.ERROR, f"TLS handshake error: {failure}")
            return self.session.close(FAILURE)
        return self.open_secured(peer)

    cdef int open_secured(self, object peer) except -1:
        self.session.came_in(Origin(STANDARD, peer))
        self.open_session()
        self.say(logging.DEBUG, "TLS handshake complete")
        self.say(logging.DEBUG, f"TLS version {peer.version}, cipher suite {peer.cipher}")
        return self.read() if self.session.state != CLOSED else 0       # what came with the handshake's end

    cdef int open_in_the_clear(self) except -1:
        self.open_session()
        return LayeredConnection.ready(self, POLLER_READ)

    cdef int open_session(self) except -1:
        self.phase = OPEN
        self.reactor.broker.turn.timers.cancel(self.timer)
        self.door = None
        if self.first:
            self.session.greet()
            self.session.hello = None
        if self.session.state != CLOSED:
            self.session.begin()
        return 0

    cdef int timed_out(self) except -1:
        if self.phase == WAITING:
            self.first = False
            self.session.hello = None
            self.session.greet()
            self.session.outbox.flush()
            if self.session.state == CLOSED:
                return 0
            self.phase = LOOKING if self.door.allow_non_tls else SHAKING
            return self.begin_phase()
        if self.preamble is not None:
            return refuse(self.session, "no header came in time")
        if self.phase == LOOKING:
            return self.open_session()       # it waits to be asked for something, in the clear
        self.say(logging.DEBUG, "TLS handshake timeout")
        return self.session.close(FAILURE)

    cdef int shut(self) except -1:
        self.reactor.broker.turn.timers.cancel(self.timer)
        self.timer.connection = None
        return LayeredConnection.shut(self)
