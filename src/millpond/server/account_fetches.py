"""Which accounts are fetched, and when: any client may name an account that nobody has heard of.

    address 10.0.0.7    A B C D ...      ACCOUNT_FETCHES_MAX at a time; the first of each address in its turn:
    address 10.0.0.8    E                A E B C ...

There is room for so many that wait; when it is full, the address with most of them gives up its last one. All who wait
for one account share one fetch.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from millpond.base import limits
from millpond.server.logs import log

Done = Callable[[], None]


class AccountFetches:
    """fetch: gets one account; who waits for it is told when that is over, whatever becomes of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fetch: Callable[[str], Awaitable[None]]) -> None:
        self._loop, self._fetch = loop, fetch
        self._told: dict[str, list[Done]] = {}
        """By account, of those that are fetched and those that wait."""
        self._queues: dict[str, deque[str]] = {}
        """By address, the next one in front; none is empty."""
        self._waiting = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, name: str, address: str, done: Done) -> None:
        """`done()`, from the loop, when the account is there, or cannot be had. address: of whoever needs it."""
        told = self._told.setdefault(name, [])
        told.append(done)
        if len(told) > 1:
            return
        self._queues.setdefault(address, deque()).append(name)
        self._waiting += 1
        if self._waiting > limits.ACCOUNTS_WAITING_MAX:
            self._give_up()
        self._go_on()

    def close(self) -> None:
        """Nothing more is fetched."""
        self._queues.clear()
        for task in self._tasks:
            task.cancel()

    def _go_on(self) -> None:
        while self._queues and len(self._tasks) < limits.ACCOUNT_FETCHES_MAX:
            address = next(iter(self._queues))
            queue = self._queues.pop(address)
            name = queue.popleft()
            self._waiting -= 1
            if queue:
                self._queues[address] = queue  # behind the others
            task = self._loop.create_task(self._run(name))
            self._tasks.add(task)
            task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._go_on()

    async def _run(self, name: str) -> None:
        try:
            await self._fetch(name)
        except Exception:
            log.exception("fetching account %s failed", name)
        finally:
            self._tell(name)

    def _give_up(self) -> None:
        address, queue = max(self._queues.items(), key=lambda item: len(item[1]))
        name = queue.pop()
        self._waiting -= 1
        if not queue:
            del self._queues[address]
        log.warning("Account fetch failed: too many wait, and most of them for %s", address)
        self._loop.call_soon(self._tell, name)

    def _tell(self, name: str) -> None:
        for done in self._told.pop(name, ()):
            try:
                done()
            except Exception:  # the others are told all the same
                log.exception("somebody who waited for account %s", name)
