"""Sinks and subscriptions: the two things that the router knows."""

from cpython.bytes cimport PyBytes_FromStringAndSize

from millpond.wire.message cimport Msg


cdef class Sink:
    """Base of everything a message can be delivered to."""

    cdef int deliver(self, Subscription sub, const Msg* msg, Sink source) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int deliver_traced(self, Subscription sub, const Msg* msg, Sink source, object trace) except -1:
        return self.deliver(sub, msg, source)

    cdef bint is_behind(self) noexcept:
        return False

    cdef bint must_wait(self) except -1:
        if self.waits_for is not None:
            if self.waits_for.is_behind():
                return True
            self.waits_for = None
        return False


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
        if source is not None:
            source.took_long = True
        self.handler(
            PyBytes_FromStringAndSize(msg.subject, msg.subject_len),
            PyBytes_FromStringAndSize(msg.reply, msg.reply_len),
            PyBytes_FromStringAndSize(msg.hdr, msg.hdr_len),
            PyBytes_FromStringAndSize(msg.body, msg.body_len),
            source,
        )
        return 1


cdef class ServiceSink(CallableSink):
    """What the system account serves to another one. account: the system account's name."""

    def __init__(self, handler, str account, target):
        CallableSink.__init__(self, handler)
        self._account, self._target = account, target

    cdef int deliver_traced(self, Subscription sub, const Msg* msg, Sink source, object trace) except -1:
        cdef bytes subject = PyBytes_FromStringAndSize(msg.subject, msg.subject_len)
        trace.imported(self._account, subject, self._target(subject))
        return 0 if trace.only else self.deliver(sub, msg, source)
