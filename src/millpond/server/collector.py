"""The garbage collector of a server's process.

A full collection looks at every object there is: 230 ms with 10,000 consumers, on the event loop. So what one has left
is frozen, and the next looks at what has come since. Cycles among what is frozen are not found when they become
garbage; what ends takes its subscriptions along, so these say when there may be much of it. Then everything is looked
at again. A program that has a server in it keeps its collector as it is.

    full collection ──> what is left is frozen ──> full collection of what is new ──> frozen, too ...
                              └── many subscriptions have gone: all of it is thawed before the next one
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Final

OLDEST: Final = 2
"""The generation of a full collection."""
YOUNGER_COLLECTIONS: Final = 1
"""A full one comes after more than so many of the younger ones: what it looks at stays little, a few milliseconds."""
GONE_MIN: Final = 3_000
"""Subscriptions; those of a thousand consumers."""


class Collector:
    """gone: how many subscriptions have gone since the server began. living: how many there are."""

    def __init__(self, gone: Callable[[], int], living: Callable[[], int]) -> None:
        self._gone, self._living = gone, living
        self._gone_before = 0
        self._thresholds = gc.get_threshold()

    def start(self) -> None:
        """What is there now stays: the collector need not look at it again."""
        gc.freeze()
        gc.set_threshold(*self._thresholds[:2], YOUNGER_COLLECTIONS)
        gc.callbacks.append(self._told)

    def stop(self) -> None:
        """As before `start`."""
        gc.callbacks.remove(self._told)
        gc.set_threshold(*self._thresholds)
        gc.unfreeze()

    def _told(self, phase: str, info: dict[str, int]) -> None:
        if info["generation"] != OLDEST:
            return
        if phase == "stop":
            gc.freeze()
        elif self._has_much_garbage():
            self._gone_before = self._gone()
            gc.unfreeze()

    def _has_much_garbage(self) -> bool:
        return self._gone() - self._gone_before > max(GONE_MIN, self._living() // 2)
