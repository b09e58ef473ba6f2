"""What the streams of an account hold and have reserved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from millpond.jetstream.stream import totals

if TYPE_CHECKING:
    from millpond.jetstream.engine import Engine


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes by storage, reservations by max_bytes, counts."""

    memory: int
    storage: int
    reserved_memory: int
    reserved_storage: int
    streams: int
    consumers: int
    messages: int


def usage_of(engine: Engine) -> Usage:
    """With the streams that are offline, and what they have reserved."""
    messages, consumers = totals(list(engine.streams.values()))
    return Usage(
        memory=engine.held_in("memory"),
        storage=engine.held_in("file"),
        reserved_memory=engine.reserved_in("memory"),
        reserved_storage=engine.reserved_in("file"),
        streams=len(engine.streams) + len(engine.offline),
        consumers=consumers + sum(len(each.consumers) for each in engine.offline.values()),
        messages=messages,
    )
