"""What happens between one intake and the next (design: one loop, one turn)."""

import logging

from libc.stdint cimport int64_t, uint64_t

from millpond.base import limits

log = logging.getLogger("millpond")

cdef enum:
    BUCKETS = 24

cdef int64_t FLUSH_NS = limits.TURN_FLUSH_NS_MAX
cdef Py_ssize_t FLUSHES_PER_LOOK = limits.FLUSHES_PER_CLOCK_LOOK


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
        self._late = []

    cdef int finish(self) except -1:
        cdef int again = 0
        cdef int64_t started_ns = self.clock.mono_ns
        self._woken = False
        self.timers.run(self.clock.mono_ns)
        again |= self._run(self.commits)
        again |= self._run(self.pumps)
        self._flush()
        if self._woken or self._flushes or self._late:
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
        """What has output since the last turn, for a limited time; then what had no time in the turns before, likewise:
        whoever speaks to a few does not wait for a message to thousands to leave, and all of these come in turns."""
        cdef Py_ssize_t done
        self._flushing, self._flushes = self._flushes, self._flushing
        done = self._flush_some(self._flushing, 0)
        if self._late:
            self._late_at = self._flush_some(self._late, self._late_at)
            if 2 * self._late_at >= len(self._late):
                del self._late[:self._late_at]
                self._late_at = 0
        if done < len(self._flushing):
            self._late.extend(self._flushing[done:])
        self._flushing.clear()
        return 0

    cdef Py_ssize_t _flush_some(self, list items, Py_ssize_t at) except -1:
        """From items[at] on; where it stopped."""
        cdef Flushable item
        cdef Py_ssize_t size = len(items), look = at + FLUSHES_PER_LOOK
        cdef int64_t began_ns = self.clock.read_mono_ns() if size > look else 0
        while at < size:
            if at == look:
                if self.clock.read_mono_ns() - began_ns > FLUSH_NS:
                    break
                look += FLUSHES_PER_LOOK
            item = items[at]
            at += 1
            item.flush_queued = False
            try:
                if item.flush():
                    self.add_flush(item)
            except Exception:
                log.exception("output failed: %r", item)
                self._give_up(item)
        return at

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
