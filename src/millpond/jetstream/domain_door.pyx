"""A server's JetStream domain: what is published on `$JS.<domain>.API.x` goes to `$JS.API.x` (reference 05).

Everything behind that prefix has its own subscriptions there: the API, direct gets, pull requests. The door only
renames and routes again; when nobody takes the message there, it was not taken here, and the requester is told
that there are no responders.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t

from millpond.broker.router cimport Router
from millpond.broker.sink cimport Sink, Subscription
from millpond.wire.message cimport Msg


cdef class DomainDoor(Sink):
    """One account's. `domain` is the name in the configuration."""

    def __init__(self, Router router, str domain):
        self._router = router
        self._prefix = f"$JS.{domain}.API.".encode()

    @property
    def subject(self):
        """What it is to be subscribed to."""
        return self._prefix + b">"

    cdef int deliver(self, Subscription sub, const Msg* msg, Sink source) except -1:
        cdef Msg renamed = msg[0]
        # Not a buffer of the door: routing can come back to it with another message.
        cdef bytes subject = self._rename(&renamed)
        return self._router.route(renamed.subject, renamed.subject_len, &renamed, source)

    cdef int deliver_traced(self, Subscription sub, const Msg* msg, Sink source, object trace) except -1:
        cdef Msg renamed = msg[0]
        cdef bytes subject = self._rename(&renamed)
        trace.mapped(subject)
        return self._router.route_traced(renamed.subject, renamed.subject_len, &renamed, source, trace)

    cdef bytes _rename(self, Msg* msg):
        """The subject without the domain; the caller keeps it as long as the message."""
        cdef uint32_t cut = <uint32_t>PyBytes_GET_SIZE(self._prefix)
        cdef bytes subject
        assert msg.subject_len > cut
        subject = b"$JS.API." + PyBytes_FromStringAndSize(msg.subject + cut, msg.subject_len - cut)
        msg.subject, msg.subject_len = PyBytes_AS_STRING(subject), <uint32_t>PyBytes_GET_SIZE(subject)
        return subject
