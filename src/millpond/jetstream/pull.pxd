# Pull requests that wait for messages: first come first served, round robin among those that want more.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.jetstream.notices cimport Notices
from millpond.jetstream.pull_priority cimport Moment, Priority
from millpond.jetstream.pull_request cimport Waiting

cdef class PullQueue:
    cdef readonly size_t count
    cdef int64_t due_ns                      # before that no request expires or owes a heartbeat; 0 = never
    cdef int64_t last_ns                     # monotonic: when the last request came
    cdef size_t no_wait                      # how many of them want an answer at the end of the stream
    cdef Notices _notices
    cdef Priority _priority
    cdef Waiting _head, _tail
    cdef bint _closed                        # of a push consumer: nothing may wait here
    cdef size_t _max_waiting                 # of these four 0 = no bound
    cdef int64_t _max_batch, _max_expires_ns, _max_bytes
    cdef int configure(self, object config) except -1
    # Takes a request or answers why not. `ready`: messages that could be delivered to it. Returns 1 if it waits now.
    cdef int add(self, bytes reply, const char* body, uint32_t body_len, uint64_t ready, Moment* at) except -1
    # The request that gets a message of this size; None: nobody.
    cdef Waiting take(self, int64_t size, Moment* at)
    cdef int untake(self, Waiting request, int64_t size) except -1     # and does not get it after all
    # Ends what is over: expired, one-shot at the end of the stream, nobody listening. Sends due heartbeats.
    cdef int sweep(self, bint end_of_stream, Moment* at) except -1
    # Has one of those that wait reached its end or its next heartbeat?
    cdef bint is_due(self, int64_t now_ns) noexcept
    cdef int end(self, str status) except -1 # "" = silently
    cdef int _refuse(self, bytes reply, str line) except -1
    cdef str _refusal(self, Waiting asked, uint64_t ready, Moment* at)
    cdef bint _full(self) noexcept
    cdef int _admit(self, Waiting request, bytes reply, int64_t now_ns) except -1
    cdef int64_t _wanted(self) noexcept
    cdef bint _listened(self, Waiting request) except *
    cdef int _append(self, Waiting request) except -1
    cdef int _remove(self, Waiting before, Waiting request) except -1
    cdef Waiting _fill(self, Waiting request, int64_t size, int64_t now_ns)
    cdef int _unlink(self, Waiting before, Waiting request) except -1
    cdef int _cycle(self) except -1
    cdef int _due(self, int64_t at_ns) except -1
    cdef int _ended(self, Waiting request, str line) except -1
