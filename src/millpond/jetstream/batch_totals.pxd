# Batches under way in a whole server, which all its streams count together.
from libc.stdint cimport int64_t, uint64_t

cdef class BatchTotals:
    cdef readonly int64_t batches                    # atomic ones begun and not ended
    cdef readonly int64_t fast                       # fast ones, likewise
    cdef readonly int64_t bytes                      # of messages that wait for their batch's commit
    cdef readonly int64_t atomic_per_stream, atomic_max, fast_per_stream, fast_max, idle_ns
    cdef readonly uint64_t messages_max              # of one atomic batch
    cdef bint may_begin(self) noexcept
    cdef bint may_keep(self, int64_t size) noexcept
    cdef void begin(self) noexcept
    cdef void end(self, int64_t size) noexcept
    cdef void keep(self, int64_t size) noexcept
    cdef bint may_begin_fast(self) noexcept
    cdef void begin_fast(self) noexcept
    cdef void end_fast(self) noexcept
