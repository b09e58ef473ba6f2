# What is told of a connection: its numbers, its protocol in the log, the way of a message that asks for it (ADR-41).
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.broker.paced cimport Paced
from millpond.broker.sink cimport Sink, Subscription
from millpond.wire.message cimport Msg

cdef class Observed(Paced):
    cdef dict subs                   # {sid: Subscription}
    cdef uint64_t in_msgs, in_bytes, out_msgs, out_bytes
    cdef int64_t started_ns, active_ns, rtt_ns
    cdef bint unplaced               # a load balancer has still to say where the client is
    cdef bint trace_logged           # a line says that it asks for traces in vain
    # A message whose header block may ask for a trace, and how it goes on: a message_trace.Begun, which is to be kept as
    # long as the message, for another header block may be in the place of its own. `sent`: the subject that it was
    # sent with, msg.subject unless a mapping has changed it.
    cdef object begin_trace(self, Msg* msg, const char* sent, uint32_t sent_len)
    # It may not be published; `what` says to which subject, or with which reply.
    cdef int refuse_publish(self, Msg* msg, const char* sent, uint32_t sent_len, str what) except -1
    # One that is refused for its size: its subject, and what is there of its header block.
    cdef int trace_too_large(self, const Msg* msg, size_t size) except -1
    cdef int place(self, str ip, int port) except -1     # where the client is; "": where its connection comes from
    cdef int _deny(self, bytes destination) except -1
    # What a session does for it.
    cdef int _error(self, str text) except -1
    # Why this message does not reach that subscription; "": it does.
    cdef str obstacle(self, Subscription sub, const Msg* msg, Sink source, bint only)
