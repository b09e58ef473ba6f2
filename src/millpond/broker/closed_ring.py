"""The connections that were closed last, for /connz?state=closed.

A server that sees a thousand short connections a minute remembers the last ten thousand of them. As objects
they would be 7 MB of heap; packed they are about 250 bytes each. They live in one mapping of their own: a
small object that is made while thousands of connections go away sits where those had been, and keeps its
whole arena (1 MiB) from going back to the kernel. 4,400 connections with ten subscriptions each left 18 MB
behind with one bytes object for each, 16 MB with 64 KiB blocks, 4 MB with the mapping.

    mapping  ... | size packed | size packed |  room  | size packed | ...
                                             ^ head   ^ tail: the oldest

Positions only grow; modulo the size of the mapping they are places in it. A record may go on at the front.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Final

import msgspec

from millpond.base import limits
from millpond.base.budget import Budget
from millpond.broker.connection_info import ConnectionInfo

SIZE_BYTES: Final = 4
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(ConnectionInfo)


class ClosedRing:
    """Holds `count_max` connections in `bytes_max` bytes at most; iterates from the oldest to the newest."""

    def __init__(
        self, count_max: int, bytes_max: int = limits.CLOSED_CLIENTS_BYTES_MAX, budget: Budget | None = None
    ) -> None:
        assert count_max >= 0 and bytes_max > 0
        self._mapping = mmap.mmap(-1, bytes_max)
        self._head = self._tail = 0
        self._count = 0
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._budget = budget

    @property
    def bytes_used(self) -> int:
        """Bytes of the mapping that were ever written: what it costs."""
        return min(self._head, self._bytes_max)

    def append(self, info: ConnectionInfo) -> None:
        """Remember one; of its subscriptions only the first CLOSED_CLIENT_SUBSCRIPTIONS_MAX."""
        if len(info.subscriptions) > limits.CLOSED_CLIENT_SUBSCRIPTIONS_MAX:
            kept = info.subscriptions[: limits.CLOSED_CLIENT_SUBSCRIPTIONS_MAX]
            info = msgspec.structs.replace(info, subscriptions=kept)
        packed = _ENCODER.encode(info)
        record = len(packed).to_bytes(SIZE_BYTES, "little") + packed
        if self._count_max == 0 or len(record) > self._bytes_max:
            return
        while self._count == self._count_max or self._head + len(record) - self._tail > self._bytes_max:
            self._tail += SIZE_BYTES + self._size_at(self._tail)
            self._count -= 1
        before = self.bytes_used
        self._write(record)
        self._count += 1
        if self._budget is not None:
            self._budget.charge(self.bytes_used - before)

    def _write(self, record: bytes) -> None:
        at = self._head % self._bytes_max
        first = min(len(record), self._bytes_max - at)
        self._mapping[at : at + first] = record[:first]
        self._mapping[: len(record) - first] = record[first:]
        self._head += len(record)

    def _read(self, position: int, size: int) -> bytes:
        at = position % self._bytes_max
        part = self._mapping[at : at + size]
        return part + self._mapping[: size - len(part)]

    def _size_at(self, position: int) -> int:
        return int.from_bytes(self._read(position, SIZE_BYTES), "little")

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> ConnectionInfo:
        return list(self)[index]

    def __iter__(self) -> Iterator[ConnectionInfo]:
        """Those that are there now. What is closed meanwhile is not among them, nor what it takes the place of."""
        return self._between(self._tail, self._head)

    def _between(self, at: int, end: int) -> Iterator[ConnectionInfo]:
        while (at := max(at, self._tail)) < end:
            size = self._size_at(at)
            yield _DECODER.decode(self._read(at + SIZE_BYTES, size))
            at += SIZE_BYTES + size
