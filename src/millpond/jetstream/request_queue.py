"""Requests that take several turns: one is at work, the others wait.

So what all of them hold in memory is what one holds, and what was sent, which is bounded. When as many wait as may,
those who wait are dropped: nobody is answered, as by nats-server.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from millpond.base import limits
from millpond.broker.turn import Turn
from millpond.jetstream.pump import Pump
from millpond.jetstream.steps import Steps

log = logging.getLogger("millpond")

Step = Callable[[], bool]
"""Does a part of the work; False: that was the last one."""


class RequestQueue:
    """Of one account. `dropped(count)` is told when requests were dropped."""

    def __init__(self, pump: Pump, turn: Turn, limit: int, dropped: Callable[[int], None]) -> None:
        self.limit = limit
        self._dropped = dropped
        self._waiting: deque[tuple[Step, int]] = deque()
        self._bytes = 0
        self._at_work: Step | None = None
        self._steps = Steps(self._go_on, pump, turn)

    def add(self, step: Step, size: int = 0) -> None:
        """`step()` once a turn, when its time has come, as long as it says True. size: bytes that it keeps."""
        if self._at_work is None:
            self._at_work = step
            self._steps.wake()
            return
        self._waiting.append((step, size))
        self._bytes += size
        if len(self._waiting) >= self.limit or self._bytes > limits.API_REQUESTS_WAITING_BYTES_MAX:
            count, self._bytes = len(self._waiting), 0
            self._waiting.clear()
            log.warning("JetStream API queue limit reached, dropping %d requests. Ask less often, with less, or raise "
                        "info_queue_limit (now %d)", count, self.limit)  # fmt: skip
            self._dropped(count)

    def _go_on(self) -> bool:
        if self._at_work is None:
            return False
        try:
            if self._at_work():
                return True
        except Exception:
            log.exception("a JetStream API request failed")
        self._at_work = None
        if self._waiting:
            self._at_work, size = self._waiting.popleft()
            self._bytes -= size
        return self._at_work is not None
