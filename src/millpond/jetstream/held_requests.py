"""Requests that make or remove files, while the disk stands still.

Whoever carried one out would wait for the disk, and everybody for him. They are carried out in their order, one in
each turn, when it goes on; so is what is asked of the same streams meanwhile. What all of them hold is bounded, and
what would be more is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from millpond.base import limits
from millpond.jetstream.error_table import api_error
from millpond.jetstream.request_queue import RequestQueue
from millpond.store.committer import Committer

VERBS: Final = ("STREAM.CREATE", "STREAM.DELETE", "STREAM.RESTORE")


def makes_files(verb: str, body: bytes) -> bool:
    """Does such a request touch the directories of the store? A stream in memory has none."""
    return verb in VERBS and b'"memory"' not in body


class HeldRequests:
    """Of one account."""

    def __init__(self, committer: Committer, requests: RequestQueue) -> None:
        self._committer, self._requests = committer, requests
        self._names: dict[str, int] = {}
        """How many are held, by stream."""
        self._count = self._bytes = 0

    def hold(self, verb: str, name: str, body: bytes, size: int, then: Callable[[], None]) -> bool:
        """True: `then()` comes when the disk goes on. False: this request need not wait. name: of its stream, "" for
        none; size: bytes that are kept. Raises the API's error when there are too many."""
        if name not in self._names and (not makes_files(verb, body) or self._committer.moves()):
            return False
        if self._count >= self._requests.limit or self._bytes + size > limits.API_REQUESTS_WAITING_BYTES_MAX:
            raise api_error("JSInsufficientResourcesErr")
        self._names[name] = self._names.get(name, 0) + 1
        self._count += 1
        self._bytes += size

        def step() -> bool:
            self._names[name] -= 1
            if not self._names[name]:
                del self._names[name]
            self._count -= 1
            self._bytes -= size
            then()
            return False

        self._committer.when_it_moves(lambda _: self._requests.add(step, size))
        return True
