"""Connections in the clear that may come from a load balancer: its header says where the client is (`proxy_preamble`).

    INFO goes out, without the client's address  ->  a header, or none  ->  the session begins

Who sends no header is where it comes from, as on nats-server: the listener is for load balancers only, or for those who
may be believed. TLS has the same step before its handshake (`tls`).
"""

import logging

from libc.stdint cimport int64_t
from millpond.broker.session cimport CLOSED, Session
from millpond.broker.timers cimport Timer
from millpond.transport.reactor cimport Reactor
from millpond.transport.tcp cimport TcpConnection

from millpond.base import limits
from millpond.transport.proxy_preamble import Preamble, PreambleError

log = logging.getLogger("millpond")

cdef extern from "poller.h" nogil:
    int POLLER_READ, POLLER_WRITE, POLLER_HANGUP

cdef int64_t WAIT_NS = limits.PROXY_HEADER_NS
TIMEOUT = "no header came in time"


cdef int refuse(Session session, str why) except -1:
    log.warning("Error reading PROXY protocol header from %s:%d: %s", session.ip, session.port, why)
    return session.close("Protocol Violation")


cdef class IntroductionTimer(Timer):
    cdef ProxiedConnection connection

    cdef int fire(self, int64_t now_ns) except -1:
        cdef ProxiedConnection connection = self.connection      # nothing else may hold it when it ends
        return refuse(connection.session, TIMEOUT)


cdef int introduce(TcpConnection connection, object preamble) except -2:
    """1 = the session knows where its client is, 0 = more has to come, -1 = it is closed."""
    try:
        found = preamble.look()
    except (PreambleError, OSError) as error:
        refuse(connection.session, str(error))
        return -1
    if found is None:
        if preamble.is_short:                        # nobody says when there is more of it: look now and then
            connection.want(POLLER_READ, False)
            connection.reactor.loop.call_later(limits.PROXY_LOOK_S, look_again, connection)
        return 0
    connection.session.place(found.ip, found.port)
    return 1


def look_again(TcpConnection connection):
    """Read on, if it is still there."""
    if connection.sock is not None:
        connection.want(POLLER_READ, True)


cdef class ProxiedConnection(TcpConnection):
    """Until its header is there it is not read from."""
    cdef object preamble                             # None: it is introduced
    cdef IntroductionTimer timer

    def __init__(self, Reactor reactor, sock, str ip, int port):
        self.start(reactor, sock, ip, port)
        self.timer = IntroductionTimer()
        self.timer.connection = self
        self.preamble = Preamble(sock)
        self.session.unplaced = True
        if self.session.enter():
            reactor.broker.turn.timers.arm(self.timer, reactor.broker.clock.mono_ns + WAIT_NS)

    cdef int ready(self, int what) except -1:
        if self.preamble is None:
            return TcpConnection.ready(self, what)
        if what & POLLER_WRITE and self.session.outbox.channel is not None:
            self.session.outbox.flush()
        if what & (POLLER_READ | POLLER_HANGUP) and self.session.state != CLOSED:
            if introduce(self, self.preamble) == 1:
                self.preamble = None
                self.reactor.broker.turn.timers.cancel(self.timer)
                self.session.begin()
                return TcpConnection.ready(self, POLLER_READ)
        return 0

    cdef int shut(self) except -1:
        if self.timer is not None:
            self.reactor.broker.turn.timers.cancel(self.timer)
            self.timer.connection = None
            self.timer = None
        return TcpConnection.shut(self)
