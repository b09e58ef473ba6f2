"""How many batches a server has under way, and what the messages of atomic ones hold in memory."""

from libc.stdint cimport int64_t, uint64_t

from millpond.base import limits
from millpond.config.options import JetStreamOptions

cdef int64_t BYTES_MAX = limits.ATOMIC_BATCH_BYTES_MAX


cdef class BatchTotals:
    """Made by the engine, one for all its streams. `options` (JetStreamOptions) may have other bounds than the usual."""

    def __init__(self, options=JetStreamOptions()):
        self.atomic_per_stream = options.limit_batches_per_stream or limits.ATOMIC_BATCHES_PER_STREAM_MAX
        self.atomic_max = options.limit_batches_total or limits.ATOMIC_BATCHES_MAX
        self.fast_per_stream = options.limit_batches_per_stream or limits.FAST_BATCHES_PER_STREAM_MAX
        self.fast_max = options.limit_batches_total or limits.FAST_BATCHES_MAX
        self.messages_max = options.limit_batch_msgs or limits.ATOMIC_BATCH_MESSAGES_MAX
        self.idle_ns = options.limit_batch_timeout_ns or limits.BATCH_IDLE_NS
        assert self.messages_max <= limits.ATOMIC_BATCH_MESSAGES_MAX, "recovery looks back so far"

    cdef bint may_begin(self) noexcept:
        return self.batches < self.atomic_max

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
        return self.fast < self.fast_max

    cdef void begin_fast(self) noexcept:
        self.fast += 1

    cdef void end_fast(self) noexcept:
        self.fast -= 1
