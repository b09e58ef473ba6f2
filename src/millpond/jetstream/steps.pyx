"""Long work of the control plane, a step each turn."""

import logging

from millpond.broker.turn cimport Phase

log = logging.getLogger("millpond")


cdef class Steps(Phase):
    """`step()` does its share and says whether there is more. One that fails is logged, and not asked again."""

    cdef object _step

    def __init__(self, step):
        self._step = step

    cdef int run(self) except -1:
        try:
            return bool(self._step())
        except Exception:
            log.exception("a long request failed")
            return 0
