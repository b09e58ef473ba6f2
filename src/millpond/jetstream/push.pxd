# The taker of a push consumer: who listens on the deliver subject, and how much may be under way to it.
from libc.stdint cimport int64_t, uint64_t
from millpond.broker.router cimport Router
from millpond.jetstream.flow_control cimport Window
from millpond.jetstream.notices cimport Audience

cdef class PushTarget:
    cdef readonly bytes subject
    cdef bytes _group
    cdef bint bound                          # somebody listens, as of the last look()
    cdef Audience audience                   # all that a delivery reaches, as of the last look()
    cdef Window window                       # None: no flow control
    cdef int64_t heartbeat_ns, heartbeat_due_ns      # monotonic; 0 = none
    cdef uint64_t _seen_generation
    cdef int configure(self, object config) except -1
    # Looks again when subscriptions have changed. Returns `bound`.
    cdef bint look(self, Router router) except -1
    cdef bint takes(self) noexcept           # bound, and the window is open
