"""Connections that come over WebSocket (reference 09.4): TLS if there is some, the upgrade, then a session.

    SHAKING   TLS
    ASKED     an HTTP request is read, HTTP_HEAD_BYTES_MAX at most
    OPEN      frames

One deadline for everything before OPEN. Until then there is no session, and nobody is counted or listed.
"""

import logging

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from millpond.broker.session cimport CLOSED
from millpond.broker.timers cimport Timer
from millpond.transport.layered cimport LayeredConnection
from millpond.transport.reactor cimport Reactor
from millpond.transport.stream cimport Stream, iovec
from millpond.transport.ws_stream cimport RAW_AT, RAW_BYTES, WsStream

from millpond.accounts.origin import WEBSOCKET, Origin
from millpond.transport.ws_upgrade import Reader, Refused

log = logging.getLogger("millpond")

cdef extern from "poller.h" nogil:
    int POLLER_READ, POLLER_WRITE, POLLER_HANGUP

cdef enum Phase:
    SHAKING
    ASKED
    OPEN
    GONE


cdef class UpgradeTimer(Timer):
    cdef WsConnection connection

    cdef int fire(self, int64_t now_ns) except -1:
        cdef WsConnection connection = self.connection       # nothing else may hold it when it ends
        return connection.give_up_upgrade("the time for the handshake is over")


cdef class WsConnection(LayeredConnection):
    """One accepted socket. `door` is its listener's WsDoor at this moment."""
    cdef object door, reader, tls
    cdef str ip
    cdef int port
    cdef Phase phase
    cdef UpgradeTimer timer

    def __init__(self, Reactor reactor, sock, str ip, int port, door):
        self.door, self.ip, self.port = door, ip, port
        self.reader = Reader(door.options)
        self.timer = UpgradeTimer()
        self.timer.connection = self
        self.phase = ASKED if door.tls is None else SHAKING
        self.set_up(reactor, sock, Stream(sock.fileno()) if door.tls is None else door.tls.stream(reactor, sock))
        reactor.broker.turn.timers.arm(self.timer, reactor.broker.clock.mono_ns + <int64_t>door.upgrade_ns)

    cdef int ready(self, int what) except -1:
        if self.phase == OPEN:
            return LayeredConnection.ready(self, what)
        if what & POLLER_WRITE:
            if self.stream.push() < 0:
                return self.drop()
            self.want(POLLER_WRITE, self.stream.has_unsent())
        if what & (POLLER_READ | POLLER_HANGUP):
            if self.phase == SHAKING:
                self.go_on_shaking()
            if self.phase == ASKED:
                self.read_request()
        return 0

    cdef int go_on_shaking(self) except -1:
        failure = self.door.tls.shake(self.stream)
        if failure is not None:
            log.log(failure.level, "websocket: TLS handshake error from %s:%d: %s", self.ip, self.port, failure)
            return self.drop()
        self.want(POLLER_WRITE, self.stream.has_unsent())
        self.tls = self.door.tls.peer(self.stream)
        if self.tls is not None:
            self.phase = ASKED
        return 0

    cdef int read_request(self) except -1:
        cdef iovec raw
        cdef Py_ssize_t got
        raw.iov_base, raw.iov_len = self.reactor.spare() + RAW_AT, RAW_BYTES
        got = self.stream.take(&raw, 1)
        if got == -1:
            return 0
        if got <= 0:
            return self.drop()
        try:
            upgrade = self.reader.feed(PyBytes_FromStringAndSize(<char*>raw.iov_base, got))
        except Refused as refused:
            log.error("%s:%d - %s", self.ip, self.port, refused)
            self.say(refused.answer)
            return self.drop()
        return 0 if upgrade is None else self.open_frames(upgrade)

    cdef bint say(self, bytes data) except -1:
        """An answer is short, and the kernel's buffer is empty: what does not fit has no reader."""
        return self.stream.put(PyBytes_AS_STRING(data), <size_t>PyBytes_GET_SIZE(data)) == PyBytes_GET_SIZE(data)

    cdef int open_frames(self, upgrade) except -1:
        if not self.say(upgrade.answer):
            return self.drop()
        door = self.door
        self.phase = OPEN
        self.reactor.broker.turn.timers.cancel(self.timer)
        self.stream = WsStream(self.reactor, self.stream, upgrade)
        self.start_session(self.ip, self.port)
        self.session.came_in(Origin(WEBSOCKET, self.tls, upgrade.cookies))
        self.session.hello = door.hello(self.reactor.broker)
        self.session.asks = door.options.has_own_users
        self.session.auth_timeout_ns = door.options.auth_timeout_ns
        self.session.ping_interval_ns = door.options.ping_interval_ns
        self.door = self.reader = None
        log.debug("%s%s:%d - wid:%d - Client connection created", f"{upgrade.ip}/" if upgrade.ip else "", self.ip,
                  self.port, self.session.cid)
        return self.session.open()

    cdef int read(self) except -1:
        LayeredConnection.read(self)
        if self.session.state == CLOSED and (<WsStream>self.stream).failure is not None:
            log.error("%s:%d - wid:%d - read error: %s", self.session.ip, self.session.port, self.session.cid,
                      (<WsStream>self.stream).failure)
        return 0

    cdef int give_up_upgrade(self, str why) except -1:
        log.debug("websocket: %s:%d: %s", self.ip, self.port, why)
        return self.drop()

    cdef int drop(self) except -1:
        """The end of one that has no session."""
        self.phase = GONE
        return self.shut()

    cdef int shut(self) except -1:
        self.reactor.broker.turn.timers.cancel(self.timer)
        self.timer.connection = None
        self.door = self.reader = None
        return LayeredConnection.shut(self)

    def give_up(self):
        """Something went wrong inside: end this connection, and only this one."""
        if self.session is not None:
            self.session.close("Protocol Violation")
        else:
            self.drop()
