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
        cdef uint32_t cut = <uint32_t>PyBytes_GET_SIZE(self._prefix)
        cdef Msg renamed = msg[0]
        assert msg.subject_len > cut
        # Not a buffer of the door: routing can come back to it with another message.
        cdef bytes subject = b"$JS.API." + PyBytes_FromStringAndSize(msg.subject + cut, msg.subject_len - cut)
        renamed.subject = PyBytes_AS_STRING(subject)
        renamed.subject_len = <uint32_t>PyBytes_GET_SIZE(subject)
        return self._router.route(renamed.subject, renamed.subject_len, &renamed, source)
