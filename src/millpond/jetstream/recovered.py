"""What a start finds in a storage: configurations and states, read and understood. Nothing of it runs yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from millpond.base import limits
from millpond.base.errors import ApiError
from millpond.jetstream.offline import Offline, stopped_by
from millpond.jetstream.stored import Recovered, Stored, read_consumers, read_stored, read_stream
from millpond.jetstream.stream_config import StreamConfig

if TYPE_CHECKING:
    from millpond.jetstream.shelf import FileShelf
    from millpond.jetstream.storage import Storage


class Found(msgspec.Struct, frozen=True):
    """A stream that can run. `shelf` is open; `positions`: of its sources, as they were kept."""

    config: StreamConfig
    created_ns: int
    rolled_through: int
    positions: dict[str, Any]
    shelf: FileShelf
    consumers: dict[str, Recovered]


def found_in(storage: Storage) -> Iterator[Found | Offline | None]:
    """One after the other; None for one that cannot be read: it is logged and left alone. Some are opened ahead, while
    the last writes of others are synced."""
    ahead = deque[Found | Offline | None]()
    try:
        for found in _read(storage):
            ahead.append(found)
            if len(ahead) > limits.OPENED_AHEAD:
                yield _settled(storage, ahead.popleft())
        while ahead:
            yield _settled(storage, ahead.popleft())
    finally:
        for found in ahead:
            if isinstance(found, Found):
                found.shelf.put_away()


def _read(storage: Storage) -> Iterator[Found | Offline | None]:
    for payload, shelf in storage.recover():
        try:
            stored = read_stored(payload)
            config, reason = read_stream(bytes(stored.config))
        except ApiError as error:
            storage.forget(shelf, error.description)
            yield None
            continue
        if reason:
            yield Offline(config=config, reason=reason, shelf=shelf)
        else:
            yield _open(storage, config, stored, shelf)


def _open(storage: Storage, config: StreamConfig, stored: Stored, shelf: FileShelf) -> Found | Offline | None:
    if not storage.open(shelf):
        return None
    assert shelf.journal is not None, "it is open"
    consumers, unsupported = read_consumers(shelf.journal)
    if unsupported:
        shelf.put_away()
        reason = stopped_by(min(unsupported))
        return Offline(config=config, reason=reason, shelf=shelf, consumers=unsupported)
    return Found(config, stored.created, stored.rolled_through, stored.positions, shelf, consumers)


def _settled(storage: Storage, found: Found | Offline | None) -> Found | Offline | None:
    return None if isinstance(found, Found) and not storage.settle(found.shelf) else found
