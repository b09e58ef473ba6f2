"""Signals of the process, brought into the loop. The loop's own way asks five times for all signals that there are,
with an enumeration's member made of each: a millisecond of the start.

    signal ──> the interpreter writes its number into a pipe ──> the loop reads it ──> the action
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterable
from typing import Any, Final

NUMBERS_READ: Final = 64


class Signals:
    """act: is called in the loop with each signal that came. For the main thread's loop, one at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, act: Callable[[signal.Signals], None]) -> None:
        self._loop, self._act = loop, act
        self._read_end, self._write_end = os.pipe()
        for end in (self._read_end, self._write_end):
            os.set_blocking(end, False)
        self._woken_before = signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        self._before: dict[signal.Signals, Any] = {}
        loop.add_reader(self._read_end, self._read)

    def take(self, numbers: Iterable[signal.Signals]) -> None:
        """From here these come to `act`."""
        for number in numbers:
            self._before[number] = signal.signal(number, _noted)
            signal.siginterrupt(number, False)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in os.read(self._read_end, NUMBERS_READ):
                if number in self._before:
                    self._act(signal.Signals(number))

    def close(self) -> None:
        """As it was before. Closing twice is once."""
        if self._read_end < 0:
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._woken_before)
        self._loop.remove_reader(self._read_end)
        for end in (self._read_end, self._write_end):
            os.close(end)
        self._read_end = self._write_end = -1


def _noted(number: int, frame: object) -> None:
    """The interpreter has written it into the pipe."""
