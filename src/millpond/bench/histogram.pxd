# Latencies in ns, log-linear: 64 steps per power of two, so a percentile is exact to 1.6 %.
from libc.stdint cimport int64_t, uint64_t

cdef class Histogram:
    cdef uint64_t* _counts
    cdef readonly uint64_t count
    cdef readonly int64_t max_ns
    cdef int add(self, int64_t ns) except -1
