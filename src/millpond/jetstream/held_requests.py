"""Requests that make or remove files, while the disk stands still.

Whoever carried one out would wait for the disk, and everybody for him. They are carried out in their order, one in each
turn, when it goes on; until then what they hold is bounded, and what would be more is refused.
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
        self._count = self._bytes = 0

    def hold(self, then: Callable[[], None], size: int) -> bool:
        """True: `then()` comes when the disk goes on, behind those who were held before; size: bytes that are kept until
        then. False: nobody has to wait. Raises the API's error when too many do."""
        if not self._count and not self._committer.py_stands_still():
            return False
        if self._count >= self._requests.limit or self._bytes + size > limits.API_REQUESTS_WAITING_BYTES_MAX:
            raise api_error("JSInsufficientResourcesErr")
        self._count += 1
        self._bytes += size

        def step() -> bool:
            self._count -= 1
            self._bytes -= size
            then()
            return False

        self._committer.when_it_moves(lambda: self._requests.add(step, size))
        return True
