"""Publishes that only sessions or links make, for tests without them."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t
from millpond.broker.router cimport Router
from millpond.wire.message cimport Msg


def publish_traced(Router router, bytes subject, bytes body, bytes reply, bytes block, trace):
    """Routes it and ends the publisher's part of the trace. Returns how many took it."""
    cdef Msg msg
    msg.subject, msg.subject_len = PyBytes_AS_STRING(subject), <uint32_t>PyBytes_GET_SIZE(subject)
    msg.reply, msg.reply_len = PyBytes_AS_STRING(reply), <uint32_t>PyBytes_GET_SIZE(reply)
    msg.hdr, msg.hdr_len = PyBytes_AS_STRING(block), <uint32_t>PyBytes_GET_SIZE(block)
    msg.body, msg.body_len = PyBytes_AS_STRING(body), <uint32_t>PyBytes_GET_SIZE(body)
    taken = router.route_traced(msg.subject, msg.subject_len, &msg, None, trace)
    trace.finish()
    return taken


def publish_as(Router router, bytes shown, bytes subject, bytes body, bytes reply=b"", bytes headers=b""):
    """Routes on `subject` what receivers see under `shown`, as a consumer's messages come over a link. Returns how many
    took it."""
    cdef Msg msg = Msg(PyBytes_AS_STRING(shown), <uint32_t>PyBytes_GET_SIZE(shown),
                       PyBytes_AS_STRING(reply), <uint32_t>PyBytes_GET_SIZE(reply),
                       PyBytes_AS_STRING(headers), <uint32_t>PyBytes_GET_SIZE(headers),
                       PyBytes_AS_STRING(body), <uint32_t>PyBytes_GET_SIZE(body))
    return router.route(PyBytes_AS_STRING(subject), <uint32_t>PyBytes_GET_SIZE(subject), &msg, None)
