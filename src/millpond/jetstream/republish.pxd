# Copies of stored messages on other subjects, for subscribers that are no consumers.
from libc.stdint cimport int64_t, uint64_t
from millpond.wire.message cimport Msg

cdef class Republisher:
    cdef object _transform
    cdef bint _headers_only
    cdef bytes _stream
    # (subject, header block, body) of the copy; None: this subject is not republished. `last_seq`: of the same
    # subject before this message.
    cdef tuple copy(self, const Msg* msg, uint64_t stream_seq, int64_t ts_ns, uint64_t last_seq)
