# What a consumer says itself: status lines, heartbeats, flow control. Not messages of the stream.
from libc.stdint cimport int64_t
from millpond.broker.router cimport Router
from millpond.broker.sink cimport Sink
from millpond.store.consumer_state cimport ConsumerState

cdef class Notices:
    cdef Router router
    cdef Sink source
    cdef ConsumerState state
    cdef int send(self, bytes subject, bytes reply, bytes hdr) except -1
    cdef int status(self, bytes reply, str line) except -1
    # A status that also tells what the request was still waiting for.
    cdef int ended(self, bytes reply, str line, int64_t messages_left, int64_t bytes_left) except -1
    # `stalled`: the unanswered flow-control reply subject, None = not stalled.
    cdef int heartbeat(self, bytes subject, bytes stalled) except -1
    cdef bint listening(self, bytes subject) except -1
