# One connection's lines in the log (`trace: true`). Without it there is no Tracer, and nothing is asked per message.
from millpond.structures.buffers cimport ByteBuffer
from millpond.wire.parser cimport Frame

cdef class Tracer:
    cdef public object lines             # TraceLines
    cdef size_t shown_bytes              # of what waits in the outbox
    cdef list _dropped                   # sids of subscriptions that ended, to be shown behind what was sent
    # A whole frame, n bytes from `data` on, is about to take effect. verb_held: its verb came before them.
    cdef int incoming(self, const Frame* frame, const char* data, size_t n, bint verb_held) except -1
    # What was put into the outbox since the last time, as whole frames.
    cdef int outgoing(self, ByteBuffer buffer) except -1
    cdef int dropped(self, bytes sid) except -1
