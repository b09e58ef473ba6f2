"""Long work of the control plane, a step in each turn, beside the consumers' deliveries."""

import logging

from millpond.broker.turn cimport Phase, Turn
from millpond.jetstream.pump cimport Pump

log = logging.getLogger("millpond")


cdef class Steps(Phase):
    """Calls `step()` once a turn while it returns True; otherwise from the next wake() on. A step is far below 10 ms
    and does not raise."""

    def __init__(self, step, Pump pump, Turn turn):
        self._step, self._pump, self._turn = step, pump, turn

    def wake(self):
        """There is something to do."""
        if not self._stopped:
            self._pump.add(self)
            self._turn.wake()

    def stop(self):
        """No step is done any more."""
        self._stopped = True
        self._step = None

    cdef int run(self) except -1:
        if self._stopped:
            return 0
        try:
            return 1 if self._step() else 0
        except Exception:
            log.exception("a step of %r failed", self._step)
            return 0
