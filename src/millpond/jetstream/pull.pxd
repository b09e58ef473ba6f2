# Pull requests that wait for messages: first come first served, round robin among those that want more.
from libc.stdint cimport int64_t, uint64_t
from millpond.jetstream.notices cimport Notices

cdef class Waiting:                          # one pull request in the queue
    cdef bytes reply
    cdef int64_t batch_left, delivered, bytes_left
    cdef int64_t expires_ns, heartbeat_ns, heartbeat_due_ns    # monotonic; 0 = none
    cdef bint no_wait

cdef class PullQueue:
    cdef Notices notices
    cdef list waiting
    # Takes a request or answers why not. `ready`: messages that could be delivered to it. Returns 1 if it waits now.
    cdef int add(self, object config, bytes reply, bytes body, uint64_t ready, int64_t now_ns) except -1
    # The request that gets a message of this size; None: nobody.
    cdef Waiting take(self, int64_t size, int64_t now_ns)
    # Ends what is over: expired, one-shot at the end of the stream, nobody listening. Sends due heartbeats.
    cdef int sweep(self, bint end_of_stream, int64_t now_ns) except -1
    cdef int64_t due_ns(self) noexcept       # the nearest expiry or heartbeat; 0 = none
    cdef int end(self, str status) except -1 # "" = silently
