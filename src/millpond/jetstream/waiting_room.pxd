# Publishes that cannot be judged before a message was read from disk, and all that came after them.
from libc.stdint cimport uint64_t
from millpond.wire.message cimport Msg

cdef class WaitingRoom:
    cdef object _queue               # None, or a deque of (subject, reply, header block, body, what a trace is told or None)
    cdef readonly uint64_t bytes
    cdef tuple _first                # keeps what first() views
    cdef size_t count(self) noexcept
    cdef int add(self, const Msg* msg, object traced) except -1
    cdef Msg first(self)             # valid until the next call
    cdef object traced(self)         # of first(): what add() was given
    cdef int leave(self) except -1   # the first is done
    cdef list drop_all(self)         # nobody waits any more; what their traces are told
