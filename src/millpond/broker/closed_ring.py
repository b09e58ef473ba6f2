"""The connections that were closed last, for /connz?state=closed.

A server that sees a thousand short connections a minute remembers the last ten thousand of them. As objects
they would be 7 MB of the heap; packed they are a few hundred bytes each, and the ring has a bound in bytes
too: the oldest leave first, by whichever bound is reached.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec

from millpond.base import limits
from millpond.broker.connection_info import ConnectionInfo

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(ConnectionInfo)


class ClosedRing:
    """Holds `count_max` connections in `bytes_max` bytes at most; iterates from the oldest to the newest."""

    def __init__(self, count_max: int, bytes_max: int = limits.CLOSED_CLIENTS_BYTES_MAX) -> None:
        self._packed: deque[bytes] = deque()
        self._count_max = count_max
        self._bytes_max = bytes_max
        self.bytes_used = 0

    def append(self, info: ConnectionInfo) -> None:
        """Remember one; of its subscriptions only the first CLOSED_CLIENT_SUBSCRIPTIONS_MAX."""
        if len(info.subscriptions) > limits.CLOSED_CLIENT_SUBSCRIPTIONS_MAX:
            kept = info.subscriptions[: limits.CLOSED_CLIENT_SUBSCRIPTIONS_MAX]
            info = msgspec.structs.replace(info, subscriptions=kept)
        packed = _ENCODER.encode(info)
        self._packed.append(packed)
        self.bytes_used += len(packed)
        while len(self._packed) > self._count_max or self.bytes_used > self._bytes_max:
            self.bytes_used -= len(self._packed.popleft())

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, index: int) -> ConnectionInfo:
        return _DECODER.decode(self._packed[index])

    def __iter__(self) -> Iterator[ConnectionInfo]:
        """A snapshot: what is closed meanwhile is not in it."""
        return map(_DECODER.decode, list(self._packed))
