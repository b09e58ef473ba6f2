"""Consumers of a deleted stream, on their way out.

    halted, all at once ──> stopped, a share in each turn: their subscriptions go, who waits with a pull is told
                            the stream's files go meanwhile
    both are over ──> done
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from millpond.base import limits

if TYPE_CHECKING:
    from millpond.jetstream.consumer import Consumer


class Leaving:
    """`tell(name)` before each of the `halted` is stopped; `done(failure)` when they are, and emptied() was called."""

    def __init__(self, halted: list[Consumer], tell: Callable[[str], None], done: Callable[[str], None]) -> None:
        self._halted, self._tell, self._done = halted[::-1], tell, done
        self._failure: str | None = None
        self._told = False

    @property
    def is_over(self) -> bool:
        """Are all of them stopped?"""
        return not self._halted

    def step(self) -> bool:
        """False: all of them are stopped."""
        for _ in range(min(len(self._halted), limits.CONSUMERS_STOPPED_PER_STEP)):
            consumer = self._halted.pop()
            self._tell(consumer.name)
            consumer.stop("409 Consumer Deleted")
        if self._halted:
            return True
        self._finish()
        return False

    def emptied(self, failure: str) -> None:
        """Nothing is left of the stream, or why something is."""
        self._failure = failure
        self._finish()

    def _finish(self) -> None:
        if self._failure is not None and not self._halted and not self._told:
            self._told = True
            self._done(self._failure)
