"""The protocol of one connection in the log.

Frames are shown before they take effect. What is sent is read back out of the outbox: after each traced frame for
every connection that got something, and before anything leaves. So the data plane has no branch for it.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize

from millpond.structures.buffers cimport ByteBuffer
from millpond.wire cimport parser
from millpond.wire.parser cimport Frame

cdef dict VERBS = {
    <int>parser.PUB: "PUB", <int>parser.SUB: "SUB", <int>parser.UNSUB: "UNSUB", <int>parser.PING: "PING",
    <int>parser.PONG: "PONG", <int>parser.CONNECT: "CONNECT", <int>parser.BAD_PAYLOAD: "PUB",
}


cdef class Tracer:
    """Made by a session when tracing is on."""

    def __init__(self):
        self._dropped = []

    cdef int incoming(self, const Frame* frame, const char* data, size_t n, bint verb_held) except -1:
        cdef bytes line, payload = b""
        verb = VERBS.get(<int>frame.op)
        if verb is None:
            return 0
        line = PyBytes_FromStringAndSize(data, n).split(b"\n", 1)[0]
        if frame.op == parser.PUB:
            payload = PyBytes_FromStringAndSize(frame.msg.hdr if frame.msg.hdr_len else frame.msg.body,
                                                <Py_ssize_t>frame.msg.hdr_len + frame.msg.body_len)
            if frame.msg.hdr_len:
                verb = "HPUB"
        self.lines.incoming(verb, line if verb_held else line.lstrip()[len(verb):], payload, frame.msg.hdr_len)
        return 0

    cdef int outgoing(self, ByteBuffer buffer) except -1:
        cdef size_t waiting = buffer.size()
        cdef list dropped = self._dropped
        if waiting > self.shown_bytes:
            self.lines.outgoing(PyBytes_FromStringAndSize(buffer.data + buffer.head + self.shown_bytes,
                                                          waiting - self.shown_bytes))
        self.shown_bytes = waiting
        if dropped:
            self._dropped = []
            for sid in dropped:
                self.lines.dropped(sid)
        return 0

    cdef int dropped(self, bytes sid) except -1:
        self._dropped.append(sid)
        return 0
