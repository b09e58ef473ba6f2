# The only source of time. `tick()` is called once at the start of every turn; everything in
# that turn reads the cached values, so one turn is one instant.
from libc.stdint cimport int64_t

cdef class Clock:
    cdef public int64_t wall_ns      # Unix time, ns; never steps back within one process
    cdef public int64_t mono_ns      # monotonic, ns; timers use this one
    cdef int tick(self) except -1
    cdef int64_t read_mono_ns(self) noexcept   # uncached, for spin and turn_us

cdef class ManualClock(Clock):       # tests: moves only by advance()
    cdef int tick(self) except -1
    cdef int64_t read_mono_ns(self) noexcept
