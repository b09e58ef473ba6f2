"""A histogram of latencies that costs a few instructions per sample and no memory per sample."""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

cdef enum:
    STEP_BITS = 6
    STEPS = 64
    BUCKETS = 64 * 45            # up to 2**50 ns


cdef extern from *:
    int top_bit "63 - __builtin_clzll" (unsigned long long value) noexcept nogil


cdef inline int _bucket(uint64_t ns) noexcept nogil:
    cdef int shift
    if ns < STEPS:
        return <int>ns
    shift = top_bit(ns) - STEP_BITS
    return (shift + 1) * STEPS + <int>((ns >> shift) - STEPS)


cdef inline uint64_t _value(int bucket) noexcept nogil:
    """The middle of a bucket."""
    cdef int shift = bucket // STEPS - 1
    if shift < 0:
        return bucket
    return ((<uint64_t>(bucket % STEPS + STEPS)) << shift) + ((<uint64_t>1 << shift) >> 1)


cdef class Histogram:
    """Latencies of one measurement."""

    def __cinit__(self):
        self._counts = <uint64_t*>calloc(BUCKETS, sizeof(uint64_t))
        if self._counts == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self._counts)

    cdef int add(self, int64_t ns) except -1:
        cdef int bucket = _bucket(<uint64_t>ns) if ns > 0 else 0
        self._counts[bucket if bucket < BUCKETS else BUCKETS - 1] += 1
        self.count += 1
        if ns > self.max_ns:
            self.max_ns = ns
        return 0

    def record(self, int64_t ns):
        """Python's door to `add`."""
        self.add(ns)

    def percentile(self, double percent):
        """The latency in ns that `percent` of the samples do not exceed; 0 without samples."""
        cdef uint64_t seen = 0, wanted = <uint64_t>(self.count * percent / 100.0)
        cdef int bucket
        if self.count == 0:
            return 0
        wanted = max(wanted, <uint64_t>1)
        for bucket in range(BUCKETS):
            seen += self._counts[bucket]
            if seen >= wanted:
                return min(<int64_t>_value(bucket), self.max_ns)
        return self.max_ns
