# Which waiting request may have the next message: priority policies and the pin (ADR-42).
from libc.stdint cimport int64_t, uint64_t
from millpond.jetstream.notices cimport Notices
from millpond.jetstream.pull_request cimport Waiting

cdef struct Moment:                          # what a decision about a request depends on, besides the request
    int64_t now_ns
    uint64_t pending                         # messages still to come, this one included
    uint64_t ack_pending
    uint64_t consumer_seq, stream_seq        # positions that heartbeats tell

cdef enum Verdict:
    SERVE = 0
    PASS = 1                                 # not now; it goes on waiting
    WRONG = 2                                # it asked with a pin id that is not the current one

cdef class Priority:
    cdef bint ordered                        # policy prioritized: the queue is kept by priority
    cdef bint pinned                         # policy pinned_client: deliveries carry the pin id
    cdef readonly str pin_id                 # "" = nobody is pinned
    cdef readonly int64_t pinned_wall_ns
    cdef int64_t due_ns                      # monotonic: the pin ends then unless its client pulls; 0 = never
    cdef Notices _notices
    cdef object _clock
    cdef bint _overflow
    cdef frozenset _groups
    cdef int64_t _timeout_ns
    cdef Waiting _just_pinned
    cdef int configure(self, object config) except -1
    # Why this request cannot wait here; None: it can. A pull with the current pin id keeps the pin.
    cdef str refusal(self, Waiting asked, int64_t now_ns)
    cdef Verdict judge(self, Waiting request, Moment* at) except *     # may pin its client
    cdef int rejected(self, Waiting request) except -1                 # judged SERVE, and could not be served
    cdef int unpin(self, str group, str reason) except -1
    cdef int expire(self, int64_t now_ns) except -1                    # 1: the pin is over
