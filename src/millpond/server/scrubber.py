"""A server's scrubbing: one segment of one stream after the other, then a long rest (store/scrubbing.pyx).

It takes a hundredth of the time, and no more than so many bytes a second, whichever is less.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from millpond.base import limits
from millpond.jetstream.engine import Engine
from millpond.store.file_store import FileStore
from millpond.store.scrubbing import Scrub


class Scrubber:
    """`engines()` are those whose streams are read, while `wanted()`. `close()` before any of them stops."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, engines: Callable[[], list[Engine]], wanted: Callable[[], bool]
    ) -> None:
        self._loop, self._engines, self._wanted = loop, engines, wanted
        self._stores: Iterator[FileStore] = iter(())
        self._scrub: Scrub | None = None
        self._began_s = 0.0
        self.rounds = self.bytes = 0
        """Done so far."""
        self._next = loop.call_later(limits.SCRUB_FIRST_S, self.step)

    def step(self) -> None:
        """What is due next; it makes sure that there is a next time."""
        self._next.cancel()
        self._began_s = self._loop.time()
        if self._scrub is not None and self._scrub.is_suspicious:
            self._scrub.check_part()
            self._rest(0)
        elif not self._wanted():
            self._later(limits.SCRUB_FIRST_S)
        elif self._scrub is None or not self._scrub.begin():
            self._go_on()

    def _go_on(self) -> None:
        """With the next stream; behind the last one comes the rest."""
        if self._scrub is None:
            self._stores = self._found()
        store = next(self._stores, None)
        if store is not None:
            self._scrub = Scrub(store, self._rest)
            self._later(limits.SCRUB_STEP_LEAST_S)
        elif self._scrub is None:
            self._later(limits.SCRUB_FIRST_S)
        else:
            self._scrub = None
            self.rounds += 1
            self._later(limits.SCRUB_PAUSE_S)

    def _found(self) -> Iterator[FileStore]:
        for engine in self._engines():
            for name in list(engine.streams):
                stream = engine.streams.get(name)
                if stream is not None and isinstance(stream.store, FileStore):
                    yield stream.store

    def _rest(self, read: int) -> None:
        self.bytes += read
        took_s = self._loop.time() - self._began_s
        rest_s = max(took_s * (limits.SCRUB_SHARE_OF - 1), read / limits.SCRUB_BYTES_PER_S)
        self._later(max(rest_s, limits.SCRUB_STEP_LEAST_S))

    def _later(self, delay_s: float) -> None:
        self._next.cancel()
        self._next = self._loop.call_later(delay_s, self.step)

    def close(self) -> None:
        """No more of it."""
        self._next.cancel()
        if self._scrub is not None:
            self._scrub.close()
            self._scrub = None
