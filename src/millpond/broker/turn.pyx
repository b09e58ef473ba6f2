"""What happens between one intake and the next (design: one loop, one turn)."""

import logging

from libc.stdint cimport int64_t, uint64_t

log = logging.getLogger("millpond")

cdef enum:
    BUCKETS = 24


cdef class Phase:
    """A share of the turn, registered by a higher room."""

    cdef int run(self) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef bint waits_longer(self, int64_t ns) noexcept:
        return False


cdef class Flushable:
    """Something that collects output during a turn."""

    cdef int flush(self) except -1:
        raise NotImplementedError(type(self).__name__)

    cdef int flush_failed(self) except -1:
        return 0


cdef class Turn:
    """Runs timers, commits, pumps and flushes; keeps how long turns take."""

    def __init__(self, Clock clock):
        self.clock = clock
        self.timers = Timers()
        self.commits = []
        self.pumps = []
        self._flushes = []
        self._flushing = []

    cdef int finish(self) except -1:
        cdef int again = 0
        cdef int64_t started_ns = self.clock.mono_ns
        self._woken = False
        self.timers.run(self.clock.mono_ns)
        again |= self._run(self.commits)
        again |= self._run(self.pumps)
        self._flush()
        if self._woken or self._flushes:
            again = 1
        self.turns += 1
        self._count(self.clock.read_mono_ns() - started_ns)
        return again

    cdef int _run(self, list phases) except -1:
        cdef Phase phase
        cdef int again = 0
        for phase in phases:
            try:
                again |= phase.run()
            except Exception:
                log.exception("a phase of the turn failed: %r", phase)
        return again

    cdef bint waits_longer(self, int64_t ns) noexcept:
        cdef Phase phase
        for phase in self.commits:
            if phase.waits_longer(ns):
                return True
        return False

    cdef int _flush(self) except -1:
        cdef Flushable item
        self._flushing, self._flushes = self._flushes, self._flushing
        for item in self._flushing:
            item.flush_queued = False
            try:
                if item.flush():
                    self.add_flush(item)
            except Exception:
                log.exception("output failed: %r", item)
                self._give_up(item)
        self._flushing.clear()
        return 0

    cdef int _give_up(self, Flushable item) except -1:
        try:
            item.flush_failed()
        except Exception:
            log.exception("output could not be ended: %r", item)
        return 0

    cdef int _count(self, int64_t took_ns) except -1:
        cdef uint64_t us = <uint64_t>(took_ns // 1000) if took_ns > 0 else 0
        cdef int bucket = 0
        while us and bucket < BUCKETS - 1:
            us >>= 1
            bucket += 1
        self.turn_us[bucket] += 1
        return 0

    cdef int add_flush(self, Flushable item) except -1:
        if not item.flush_queued:
            item.flush_queued = True
            self._flushes.append(item)
        return 0

    cpdef int add_commit(self, Phase phase) except -1:
        self.commits.append(phase)
        return 0

    cpdef int add_pump(self, Phase phase) except -1:
        self.pumps.append(phase)
        return 0

    def remove(self, Phase phase):
        """Take a phase out again. The lists are not changed: one of them may be run through in this moment."""
        self.commits = [each for each in self.commits if each is not phase]
        self.pumps = [each for each in self.pumps if each is not phase]

    cpdef int set_wake(self, object callback) except -1:
        self._wake = callback
        self.timers.set_notify(callback)
        return 0

    cpdef int wake(self) except -1:
        if not self._woken:
            self._woken = True
            if self._wake is not None:
                self._wake()
        return 0

    def histogram(self):
        """{upper bound in us: turns}, without empty buckets."""
        return {1 << i: self.turn_us[i] for i in range(BUCKETS) if self.turn_us[i]}

    def finish_now(self):
        """One round without intake, for tests: 1 when work remains."""
        self.clock.tick()
        return self.finish()
