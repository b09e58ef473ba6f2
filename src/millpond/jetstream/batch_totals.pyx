"""How many batches a server has under way, and what their messages hold in memory."""

from libc.stdint cimport int64_t

from millpond.base import limits

cdef int64_t ATOMIC_MAX = limits.ATOMIC_BATCHES_MAX
cdef int64_t FAST_MAX = limits.FAST_BATCHES_MAX
cdef int64_t BYTES_MAX = limits.ATOMIC_BATCH_BYTES_MAX


cdef class BatchTotals:
    """Made by the engine, one for all its streams."""

    cdef bint may_begin_atomic(self) noexcept:
        return self.atomic < ATOMIC_MAX

    cdef bint may_begin_fast(self) noexcept:
        return self.fast < FAST_MAX

    cdef bint may_keep(self, int64_t size) noexcept:
        return self.bytes + size <= BYTES_MAX

    cdef void begin(self, bint fast) noexcept:
        if fast:
            self.fast += 1
        else:
            self.atomic += 1

    cdef void end(self, bint fast, int64_t size) noexcept:
        if fast:
            self.fast -= 1
        else:
            self.atomic -= 1
        self.bytes -= size

    cdef void keep(self, int64_t size) noexcept:
        self.bytes += size
