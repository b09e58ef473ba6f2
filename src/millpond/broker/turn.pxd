# The turn (design.md 3): intake is the reactor's, then commit, release, pump, flush.
from libc.stdint cimport int64_t, uint64_t
from millpond.base.clock cimport Clock
from millpond.broker.timers cimport Timers

cdef class Phase:
    # Does its share within its own budget. Returns 1 when it stopped because of the budget and wants
    # another turn at once, 0 when it is done for now.
    cdef int run(self) except -1
    # Is it waiting for something that usually takes longer than this?
    cdef bint waits_longer(self, int64_t ns) noexcept

cdef class Flushable:
    # Something with output for a socket. Returns 1 when it wants to be flushed again next turn.
    cdef bint flush_queued
    cdef int flush(self) except -1
    cdef int flush_failed(self) except -1    # flush raised: end what this output belongs to

cdef class Turn:
    cdef readonly Clock clock
    cdef readonly Timers timers
    cdef readonly list commits               # [Phase], in order: JetStream's commit
    cdef readonly list pumps                 # [Phase], in order: JetStream's consumers
    cdef list _flushes                       # [Flushable] with output
    cdef list _flushing
    cdef list _late                          # [Flushable] with output for which a turn before had no time
    cdef Py_ssize_t _late_at                 # those before it have been flushed
    cdef object _wake                        # asks the reactor for a turn; None before it runs
    cdef bint _woken
    cdef readonly uint64_t turns
    cdef uint64_t[24] turn_us                # histogram: bucket i counts turns below 2**i us
    cdef int _run(self, list phases) except -1
    cdef int _flush(self) except -1
    cdef Py_ssize_t _flush_some(self, list items, Py_ssize_t at) except -1
    cdef int _give_up(self, Flushable item) except -1
    cdef int _count(self, int64_t took_ns) except -1
    cdef bint waits_longer(self, int64_t ns) noexcept    # does a commit phase?
    cdef int finish(self) except -1          # timers, commit, pump, flush; returns 1 when work remains
    cpdef int add_commit(self, Phase phase) except -1
    cpdef int add_pump(self, Phase phase) except -1
    # Something became ready outside intake (a timer, the control plane): make a turn happen soon.
    cpdef int wake(self) except -1
    # This one has output: flush it at the end of the turn, or soon after when very many have. Adding it twice is one entry.
    cdef int add_flush(self, Flushable item) except -1
    cpdef int set_wake(self, object callback) except -1
