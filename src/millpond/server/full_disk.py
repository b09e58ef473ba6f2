"""What a server does about a full disk: tells once, then asks the disk again until there is room. Also when descriptors
are used up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from millpond.base import limits
from millpond.broker.broker import Broker
from millpond.jetstream.advisories import Advisories
from millpond.store.committer import Committer


class FullDisk:
    """Watches the space of one store directory. `close()` ends that."""

    def __init__(self, committer: Committer, broker: Broker, loop: asyncio.AbstractEventLoop, domain: str) -> None:
        self._committer, self._space = committer, committer.space
        self._broker, self._loop, self._domain = broker, loop, domain
        self._next: asyncio.Handle | None = None
        self._again: asyncio.Handle | None = None
        self.on_room: Callable[[], None] = lambda: None
        """Is told when there is room again."""
        self._space.on_full, self._space.on_short = self._became_full, self._retry_later
        if self._space.full:
            self._became_full()

    def _became_full(self) -> None:
        """Called amid an append: what follows comes later."""
        self._next = self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._tell()
        self._later()

    def _later(self) -> None:
        self._next = self._loop.call_later(limits.SPACE_PROBE_S, self._look)

    def _look(self) -> None:
        """Who waits for room tries again also while there is none: what was given back may do for them."""
        room = self._space.probe()
        if room:
            self.on_room()
        self._committer.retry()
        self._broker.turn.wake()
        if not room:
            self._later()

    def _retry_later(self) -> None:
        """The disk is not full, or not yet: somebody waits for a descriptor."""
        if self._again is None:
            self._again = self._loop.call_later(limits.SPACE_PROBE_S, self._retry)

    def _retry(self) -> None:
        self._again = None
        self._committer.retry()
        self._broker.turn.wake()

    def _tell(self) -> None:
        """The advisory goes to the system account, as nats-server's does."""
        system = self._broker.system
        if system is None:
            return
        advisories = Advisories(system.router.publish, self._broker.clock, self._domain, system.name)
        server = {"server": self._broker.server_name, "server_id": self._broker.server_id, "cluster": ""}
        advisories.send("SERVER.OUT_OF_STORAGE", "server_out_of_space", server)

    def close(self) -> None:
        self._space.on_full = self._space.on_short = lambda: None
        for handle in (self._next, self._again):
            if handle is not None:
                handle.cancel()
        self._next = self._again = None
