"""Time comes through here, so that tests and the simulator can own it."""

from libc.stdint cimport int64_t
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec


cdef inline int64_t _read_ns(int which) noexcept nogil:
    cdef timespec spec
    clock_gettime(which, &spec)
    return <int64_t>spec.tv_sec * 1_000_000_000 + spec.tv_nsec


cdef class Clock:
    """The real clock. `wall_ns` is held still, not turned back, when the system clock steps back."""

    def __init__(self):
        self.tick()

    cdef int tick(self) except -1:
        cdef int64_t wall = _read_ns(CLOCK_REALTIME)
        if wall > self.wall_ns:
            self.wall_ns = wall
        self.mono_ns = _read_ns(CLOCK_MONOTONIC)
        return 0

    cdef int64_t read_mono_ns(self) noexcept:
        return _read_ns(CLOCK_MONOTONIC)

    def refresh(self):
        """Python's door to `tick()`."""
        self.tick()


cdef class ManualClock(Clock):
    """A clock that only tests move."""

    def __init__(self, int64_t wall_ns=1_700_000_000_000_000_000):
        self.wall_ns = wall_ns
        self.mono_ns = 1_000_000_000

    cdef int tick(self) except -1:
        return 0

    cdef int64_t read_mono_ns(self) noexcept:
        return self.mono_ns

    def advance(self, double seconds):
        """Move both clocks forward by `seconds` (not negative)."""
        assert seconds >= 0
        cdef int64_t step = <int64_t>(seconds * 1e9)
        self.wall_ns += step
        self.mono_ns += step
