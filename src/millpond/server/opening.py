"""What takes long at a start: done in slices, so that the loop lives, and told in the log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Final

from millpond.server.logs import log

SLICE_S: Final = 0.005
"""Signals and the monitoring pages wait so long at most."""
TOLD_EVERY_S: Final = 1.0


class Progress:
    """Of streams that are brought back: a line a second, none for what takes less."""

    def __init__(self, account: str, now_s: Callable[[], float] = time.monotonic) -> None:
        self._account, self._now_s = account, now_s
        self._began_s = self._told_s = now_s()

    def step(self, done: int, total: int) -> None:
        """So many are there, of so many."""
        now_s = self._now_s()
        if now_s - self._told_s >= TOLD_EVERY_S and done < total:
            self._told_s = now_s
            left_s = (now_s - self._began_s) / done * (total - done)
            log.info("  Restored %s of %s streams of account '%s', about %.0f s left", f"{done:,}", f"{total:,}",
                     self._account, left_s)  # fmt: skip

    def end(self, total: int) -> None:
        """All of them."""
        if total:
            log.info("  Restored %s streams of account '%s' in %.3f s", f"{total:,}", self._account,
                     self._now_s() - self._began_s)  # fmt: skip


async def in_slices(steps: Iterator[None]) -> None:
    """All of them, with a round of the loop every few milliseconds."""
    ends_s = time.monotonic() + SLICE_S
    for _ in steps:
        if time.monotonic() >= ends_s:
            await asyncio.sleep(0)
            ends_s = time.monotonic() + SLICE_S
