"""What a consumer says itself: status lines, heartbeats, flow control (reference 4.2 and 4.3)."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t

from millpond.broker.router cimport Router
from millpond.broker.sink cimport Sink
from millpond.store.consumer_state cimport ConsumerState
from millpond.wire.message cimport Msg


cdef class Notices:
    """Speaks for one consumer; `source` is the consumer."""

    def __init__(self, Router router, Sink source, ConsumerState state):
        self.router, self.source, self.state = router, source, state

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

    cdef int heartbeat(self, bytes subject, bytes stalled) except -1:
        text = (
            "100 Idle Heartbeat\r\n"
            f"Nats-Last-Consumer: {self.state.delivered_consumer_seq}\r\n"
            f"Nats-Last-Stream: {self.state.delivered_stream_seq}"
        )
        if stalled is not None:
            text += f"\r\nNats-Consumer-Stalled: {stalled.decode()}"
        return self.status(subject, text)

    cdef bint listening(self, bytes subject) except -1:
        return self.router.has_interest(PyBytes_AS_STRING(subject), PyBytes_GET_SIZE(subject))
