"""A binary heap of timers. Each timer knows its slot, so re-arming and cancelling cost O(log n)."""

import logging

from libc.stdint cimport int64_t

log = logging.getLogger("millpond")


cdef class Timer:
    """Override `fire`; arm it through `Timers`."""

    def __cinit__(self):
        self._slot = -1

    cdef int fire(self, int64_t now_ns) except -1:
        raise NotImplementedError(type(self).__name__)


cdef class CallbackTimer(Timer):
    """A timer for the control plane."""

    def __init__(self, callback):
        self.callback = callback

    cdef int fire(self, int64_t now_ns) except -1:
        self.callback()
        return 0


cdef class Timers:
    """Invariant: _heap[i]._slot == i, parents are due no later than their children."""

    def __init__(self):
        self._heap = []

    cdef int arm(self, Timer timer, int64_t deadline_ns) except -1:
        assert deadline_ns > 0, "a deadline is a monotonic time in ns"
        cdef int64_t before = timer.deadline_ns
        timer.deadline_ns, timer._is_due = deadline_ns, False
        if timer._slot < 0:
            timer._slot = <int>len(self._heap)
            self._heap.append(timer)
            self._up(timer._slot)
        elif deadline_ns < before:
            self._up(timer._slot)
        else:
            self._down(timer._slot)
        if self._notify is not None and (self._expected_ns == 0 or deadline_ns < self._expected_ns):
            self._expected_ns = deadline_ns
            self._notify()
        return 0

    cdef int expect(self, int64_t deadline_ns) noexcept:
        self._expected_ns = deadline_ns
        return 0

    cdef int cancel(self, Timer timer) except -1:
        cdef int slot = timer._slot
        cdef Timer last
        timer.deadline_ns, timer._is_due = 0, False
        if slot < 0:
            return 0
        assert self._heap[slot] is timer
        timer._slot = -1
        last = self._heap.pop()
        if last is not timer:
            self._heap[slot] = last
            last._slot = slot
            self._up(slot)
            self._down(last._slot)
        return 0

    cdef int64_t next_ns(self) noexcept:
        return (<Timer>self._heap[0]).deadline_ns if self._heap else 0

    cdef int run(self, int64_t now_ns) except -1:
        """Fires what is due, each timer once: one that arms itself for the past waits for the next turn, and keeps none
        that is due later from its own."""
        cdef int fired = 0
        cdef list due = []
        cdef Timer timer
        while self._heap:
            timer = self._heap[0]
            if timer.deadline_ns > now_ns:
                break
            self.cancel(timer)
            timer._is_due = True
            due.append(timer)
        for timer in due:
            if not timer._is_due:                  # another one has cancelled it, or armed it for another time
                continue
            timer._is_due = False
            fired += 1
            try:
                timer.fire(now_ns)
            except Exception:
                log.exception("a timer failed: %r", timer)
        return fired

    cdef int _up(self, int slot) except -1:
        cdef list heap = self._heap
        cdef Timer timer = heap[slot], parent
        cdef int above
        while slot > 0:
            above = (slot - 1) >> 1
            parent = heap[above]
            if parent.deadline_ns <= timer.deadline_ns:
                break
            heap[slot] = parent
            parent._slot = slot
            slot = above
        heap[slot] = timer
        timer._slot = slot
        return 0

    cdef int _down(self, int slot) except -1:
        cdef list heap = self._heap
        cdef Timer timer = heap[slot], child, other
        cdef int below, size = <int>len(heap)
        while True:
            below = 2 * slot + 1
            if below >= size:
                break
            child = heap[below]
            if below + 1 < size:
                other = heap[below + 1]
                if other.deadline_ns < child.deadline_ns:
                    below, child = below + 1, other
            if timer.deadline_ns <= child.deadline_ns:
                break
            heap[slot] = child
            child._slot = slot
            slot = below
        heap[slot] = timer
        timer._slot = slot
        return 0

    cpdef int set_notify(self, object callback) except -1:
        self._notify = callback
        return 0

    # --- Python's door ---

    def start(self, Timer timer, deadline_ns):
        """Arm `timer` for a monotonic time in ns."""
        self.arm(timer, deadline_ns)

    def stop(self, Timer timer):
        """Cancel `timer`; one that is not armed stays so."""
        self.cancel(timer)

    def run_due(self, now_ns):
        """Fire what is due; how many fired."""
        return self.run(now_ns)

    def next_deadline(self):
        """Monotonic ns of the next deadline, 0 = none."""
        return self.next_ns()

    def __len__(self):
        return len(self._heap)
