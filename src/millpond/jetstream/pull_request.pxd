# One pull request: what it asks for, and what of it is still open while it waits.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from millpond.jetstream.notices cimport Audience

cdef class Waiting:
    cdef Waiting next
    cdef bytes reply
    cdef int64_t batch_left, delivered, bytes_left
    cdef int64_t expires_ns, heartbeat_ns, heartbeat_due_ns    # monotonic; 0 = none
    cdef bint no_wait
    cdef bint structured                     # it was JSON: its group counts even when it is empty
    cdef str group, pin_id                   # "" = none
    cdef int64_t min_pending, min_ack_pending
    cdef int64_t priority
    cdef Audience audience                   # who listened when subscriptions were like `seen_generation`
    cdef uint64_t seen_generation

# What a body asks for; `expires_ns` and `heartbeat_ns` are durations until it is admitted. Raises BadRequest.
cdef Waiting read_request(const char* body, uint32_t body_len)
