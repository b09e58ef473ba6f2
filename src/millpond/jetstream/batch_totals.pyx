"""How many batches a server has under way, and what the messages of atomic ones hold in memory."""

from libc.stdint cimport int64_t

from millpond.base import limits

cdef int64_t BATCHES_MAX = limits.ATOMIC_BATCHES_MAX
cdef int64_t FAST_MAX = limits.FAST_BATCHES_MAX
cdef int64_t BYTES_MAX = limits.ATOMIC_BATCH_BYTES_MAX


cdef class BatchTotals:
    """Made by the engine, one for all its streams."""

    cdef bint may_begin(self) noexcept:
        return self.batches < BATCHES_MAX

    cdef bint may_keep(self, int64_t size) noexcept:
        return self.bytes + size <= BYTES_MAX

    cdef void begin(self) noexcept:
        self.batches += 1

    cdef void end(self, int64_t size) noexcept:
        self.batches -= 1
        self.bytes -= size

    cdef void keep(self, int64_t size) noexcept:
        self.bytes += size

    cdef bint may_begin_fast(self) noexcept:
        return self.fast < FAST_MAX

    cdef void begin_fast(self) noexcept:
        self.fast += 1

    cdef void end_fast(self) noexcept:
        self.fast -= 1
