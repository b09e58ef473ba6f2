"""Requests that wait: each account's in order, the accounts in rotation, so that none starves another."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from millpond.base import limits

Item = TypeVar("Item")


class RequestQueue(Generic[Item]):
    """Holds so many requests, and bytes of them, of one account at most."""

    def __init__(
        self, most: int = limits.SYSTEM_REQUESTS_MAX, bytes_max: int = limits.SYSTEM_REQUESTS_BYTES_MAX
    ) -> None:
        self._most, self._bytes_max = most, bytes_max
        self._waiting: dict[str, deque[tuple[Item, int]]] = {}
        self._bytes: dict[str, int] = {}

    def put(self, account: str, item: Item, size: int) -> bool:
        """False: the account has too many already. A single request may be of any size."""
        rows = self._waiting.setdefault(account, deque())
        held = self._bytes.get(account, 0)
        if rows and (len(rows) >= self._most or held + size > self._bytes_max):
            return False
        rows.append((item, size))
        self._bytes[account] = held + size
        return True

    def take(self) -> Item | None:
        """The next one; None: nobody waits."""
        if not self._waiting:
            return None
        account = next(iter(self._waiting))
        rows = self._waiting.pop(account)
        item, size = rows.popleft()
        if rows:
            self._waiting[account] = rows
            self._bytes[account] -= size
        else:
            del self._bytes[account]
        return item
