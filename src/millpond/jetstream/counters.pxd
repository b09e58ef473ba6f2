# Counters (ADR-49): messages that carry an increment, and whose body is the subject's new total.
from libc.stdint cimport uint32_t
from millpond.store.api cimport Store
from millpond.wire.message cimport Msg

cdef class Total:
    """What a counter stands at."""
    cdef object value                # int
    cdef object sources              # {stream: {subject: total}} as the header holds it, None = no header
    cdef bytes tail(self)            # what an acknowledgement says of it

# The increment of a publish: an int, None when there is none, INVALID.
cdef object increment_of(const Msg* msg)
# May this publish be an increment? None, or the ApiError that is the answer.
cdef object check_increment(const Msg* msg, object increment, bint counts)
# The total of a subject; the ApiError of a counter that cannot be read; WAIT when it must be read from disk first.
cdef object total_of(Store store, const char* subject, uint32_t subject_len)
# The increment that a source's total is, and the totals of all sources after it: (int, {stream: {subject: total}}),
# or an ApiError. `header`: the message's Nats-Stream-Source.
cdef object sourced(const Msg* msg, Total before, bytes header)
# The total after the increment, and the header block and body to store: (Total, bytes, bytes), or an ApiError.
# `sources`: what sourced() gave; None: the increment is a client's.
cdef object counted(const Msg* msg, Total before, object increment, object sources=*)
