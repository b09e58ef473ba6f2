"""Sinks and subscriptions: the two things that the router knows."""

from cpython.bytes cimport PyBytes_FromStringAndSize

from millpond.wire.message cimport Msg


cdef class Sink:
    """Base of everything a message can be delivered to."""

    cdef int deliver(self, Subscription sub, const Msg* msg, Sink source) except -1:
        raise NotImplementedError(type(self).__name__)


cdef class Subscription:
    """One sink's interest in one subject (with wildcards), perhaps as a member of a queue group."""

    def __init__(self, Sink sink, bytes subject, bytes queue=b"", bytes sid=b"", int tag=0):
        assert subject, "a subscription needs a subject"
        self.sink = sink
        self.subject = subject
        self.queue = queue
        self.sid = sid
        self.tag = tag

    def __repr__(self):
        return f"Subscription({self.subject!r}, queue={self.queue!r}, sid={self.sid!r})"


cdef class CallableSink(Sink):
    """A sink for the control plane: one Python call per message, with copies of its parts."""

    def __init__(self, handler):
        self.handler = handler

    cdef int deliver(self, Subscription sub, const Msg* msg, Sink source) except -1:
        self.handler(
            PyBytes_FromStringAndSize(msg.subject, msg.subject_len),
            PyBytes_FromStringAndSize(msg.reply, msg.reply_len),
            PyBytes_FromStringAndSize(msg.hdr, msg.hdr_len),
            PyBytes_FromStringAndSize(msg.body, msg.body_len),
            source,
        )
        return 1
