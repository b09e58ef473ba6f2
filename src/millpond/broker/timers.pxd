# Deadlines. One heap per server, run once a turn; the reactor sleeps no longer than `next_ns`.
from libc.stdint cimport int64_t

cdef class Timer:
    cdef readonly int64_t deadline_ns        # monotonic; 0 = not armed
    cdef int _slot                           # index in the heap, -1 = not in it
    cdef bint _is_due                        # to be fired by the run() that took it out of the heap
    cdef int fire(self, int64_t now_ns) except -1     # override; may arm itself again

cdef class CallbackTimer(Timer):             # control plane: calls `callback()`
    cdef object callback

cdef class Timers:
    cdef list _heap
    cdef object _notify                      # callable: an earlier deadline than expected was armed
    cdef int64_t _expected_ns                # what the reactor wakes up for, 0 = nothing
    cdef int arm(self, Timer timer, int64_t deadline_ns) except -1    # re-arming moves it
    cdef int cancel(self, Timer timer) except -1                      # not armed: nothing happens
    cdef int64_t next_ns(self) noexcept                               # 0 = none armed
    cdef int _up(self, int slot) except -1
    cdef int _down(self, int slot) except -1
    cdef int run(self, int64_t now_ns) except -1                      # fires all that are due; returns how many
    cdef int expect(self, int64_t deadline_ns) noexcept               # the reactor wakes up then, 0 = never
    cpdef int set_notify(self, object callback) except -1
