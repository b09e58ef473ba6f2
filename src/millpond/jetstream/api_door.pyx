"""The API's sink on `$JS.API.>`: it passes requests on to Python, and keeps out of the way of two kinds.

Direct gets and pulls have subscriptions of their own, one for each stream and consumer. They are the data
plane's; where nobody serves them the requester is told that there are no responders.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t
from libc.string cimport memcmp

from millpond.broker.sink cimport Sink, Subscription
from millpond.wire.message cimport Msg

cdef const char* DIRECT = "$JS.API.DIRECT.GET"          # and whatever follows, a dot or not, as in nats-server
cdef const char* NEXT = "$JS.API.CONSUMER.MSG.NEXT."
cdef uint32_t DIRECT_LEN = 18
cdef uint32_t NEXT_LEN = 26


cdef class ApiDoor(Sink):
    """One account's."""

    def __init__(self, handler):
        self.handler = handler

    cdef int deliver(self, Subscription sub, const Msg* msg, Sink source) except -1:
        if msg.subject_len >= DIRECT_LEN and memcmp(msg.subject, DIRECT, DIRECT_LEN) == 0:
            return 0
        if msg.subject_len >= NEXT_LEN and memcmp(msg.subject, NEXT, NEXT_LEN) == 0:
            return 0
        self.handler(
            PyBytes_FromStringAndSize(msg.subject, msg.subject_len),
            PyBytes_FromStringAndSize(msg.reply, msg.reply_len),
            PyBytes_FromStringAndSize(msg.hdr, msg.hdr_len),
            PyBytes_FromStringAndSize(msg.body, msg.body_len),
            source,
        )
        return 1
