"""What a consumer says itself: status lines, heartbeats, flow control, advisories (reference 4.2, 4.3, 5.4)."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t

from millpond.broker.router cimport Router
from millpond.broker.session cimport Session
from millpond.broker.sink cimport Sink, Subscription
from millpond.subjects.sublist cimport Match
from millpond.wire.message cimport Msg

from millpond.jetstream import advisories as subjects


cdef Audience audience_of(Match match) except *:
    """Closed subscriptions count for nobody."""
    cdef Audience found = NOBODY
    cdef Subscription sub
    for members in (match.plain, *match.groups):
        for sub in members:
            if not sub.closed:
                if not isinstance(sub.sink, Session):
                    return OTHERS
                found = CLIENTS
    return found


cdef class Notices:
    """Speaks for one consumer; `source` is the consumer."""

    def __init__(self, Router router, Sink source, advisories, str stream, str consumer):
        self.router, self.source, self._advisories = router, source, advisories
        self._stream, self._consumer = stream, consumer

    cdef int send(self, bytes subject, bytes reply, bytes hdr) except -1:
        cdef Msg msg = Msg(PyBytes_AS_STRING(subject), PyBytes_GET_SIZE(subject), PyBytes_AS_STRING(reply),
                           PyBytes_GET_SIZE(reply), PyBytes_AS_STRING(hdr), PyBytes_GET_SIZE(hdr), b"", 0)
        return self.router.route(msg.subject, msg.subject_len, &msg, self.source)

    cdef int status(self, bytes reply, str line) except -1:
        return self.send(reply, b"", f"NATS/1.0 {line}\r\n\r\n".encode())

    cdef int ended(self, bytes reply, str line, int64_t messages_left, int64_t bytes_left) except -1:
        return self.status(
            reply, f"{line}\r\nNats-Pending-Messages: {messages_left}\r\nNats-Pending-Bytes: {bytes_left}"
        )

    cdef int heartbeat(self, bytes subject, uint64_t consumer_seq, uint64_t stream_seq, bytes stalled) except -1:
        text = f"100 Idle Heartbeat\r\nNats-Last-Consumer: {consumer_seq}\r\nNats-Last-Stream: {stream_seq}"
        if stalled is not None:
            text += f"\r\nNats-Consumer-Stalled: {stalled.decode()}"
        return self.status(subject, text)

    cdef Audience audience(self, bytes subject) except *:
        return audience_of(self.router.sublist.match(PyBytes_AS_STRING(subject), PyBytes_GET_SIZE(subject)))

    cdef bint heard(self, str event) except -1:
        return self.audience(f"{event}.{self._stream}.{self._consumer}".encode()) != NOBODY

    cdef int advise(self, str event, str kind, dict fields) except -1:
        if self.heard(subjects.PREFIX + event):
            self._advisories.send(f"{event}.{self._stream}.{self._consumer}", kind,
                                  {"stream": self._stream, "consumer": self._consumer, **fields})
        return 0

    cdef int advise_account(self, str event, str kind, dict fields) except -1:
        if self.heard(subjects.PREFIX + event):
            self._advisories.send(f"{event}.{self._stream}.{self._consumer}", kind, {
                "account": self._advisories.account, "stream": self._stream, "consumer": self._consumer, **fields,
            })
        return 0

    cdef int sample(self, dict fields) except -1:
        self._advisories.ack_metric(self._stream, self._consumer, fields)
        return 0
