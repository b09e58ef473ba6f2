# Message ids seen within the duplicate window.
from libc.stdint cimport int64_t, uint64_t

cdef class Dedupe:
    cdef public int64_t window_ns                    # 0 = remembers nothing
    cdef dict _seqs                                  # id -> stream sequence
    cdef object _order                               # deque of (expires from this ts_ns, id, stream sequence)
    cdef uint64_t memory_bytes(self) noexcept
    cdef uint64_t find(self, bytes msg_id, int64_t now_ns) except? 0     # 0 = not seen
    cdef int add(self, bytes msg_id, uint64_t stream_seq, int64_t ts_ns) except -1
    cdef int expire(self, int64_t now_ns) except -1
