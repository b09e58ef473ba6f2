"""Where publishes wait for a cold read or a rollup, in their order.

As long as somebody waits, everybody who comes waits too: a stream takes publishes in the order in which they came.
"""

from collections import deque

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t

from millpond.wire.message cimport Msg


cdef class WaitingRoom:
    """Of one stream."""

    cdef size_t count(self) noexcept:
        return <size_t>len(self._queue) if self._queue is not None else 0

    cdef int add(self, const Msg* msg, object traced) except -1:
        if self._queue is None:
            self._queue = deque()                  # most streams never need one, and an empty one is a kilobyte
        self._queue.append((
            PyBytes_FromStringAndSize(msg.subject, msg.subject_len), PyBytes_FromStringAndSize(msg.reply, msg.reply_len),
            PyBytes_FromStringAndSize(msg.hdr, msg.hdr_len), PyBytes_FromStringAndSize(msg.body, msg.body_len),
            traced,
        ))
        self.bytes += msg.subject_len + msg.reply_len + msg.hdr_len + msg.body_len
        return 0

    cdef Msg first(self):
        cdef bytes subject, reply, hdr, body
        cdef Msg msg
        self._first = self._queue[0]
        subject, reply, hdr, body, _ = self._first
        msg = Msg(PyBytes_AS_STRING(subject), <uint32_t>PyBytes_GET_SIZE(subject),
                  PyBytes_AS_STRING(reply), <uint32_t>PyBytes_GET_SIZE(reply),
                  PyBytes_AS_STRING(hdr), <uint32_t>PyBytes_GET_SIZE(hdr),
                  PyBytes_AS_STRING(body), <uint32_t>PyBytes_GET_SIZE(body))
        return msg

    cdef object traced(self):
        return self._first[4]

    cdef int leave(self) except -1:
        self._queue.popleft()
        self.bytes -= sum(len(part) for part in self._first[:4])
        return 0

    cdef list drop_all(self):
        found = [row[4] for row in self._queue or () if row[4] is not None]
        self._queue = None
        self.bytes = 0
        return found
