# Reasons to hold the next message back: replay as it came, and a limit of bits per second.
from libc.stdint cimport int64_t, uint64_t

cdef class Pace:
    cdef int64_t hold_until_ns               # monotonic; before that holds() need not be asked
    cdef bint _replay
    cdef uint64_t _replay_end_seq, _held_seq
    cdef int64_t _last_ts_ns
    cdef uint64_t _bytes_per_second          # 0 = no limit
    cdef int64_t _burst_ns, _paid_until_ns
    cdef int limit(self, uint64_t bits_per_second, uint64_t burst_bytes) except -1
    cdef int replay(self, uint64_t end_seq) except -1        # messages up to end_seq keep their distances
    cdef bint holds(self, uint64_t stream_seq, int64_t ts_ns, int64_t size, int64_t now_ns) noexcept
    cdef void sent(self, int64_t ts_ns, int64_t size, int64_t now_ns) noexcept
    cdef int64_t _cost_ns(self, int64_t size) noexcept
