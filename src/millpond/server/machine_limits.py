"""How much JetStream may hold when nobody says: three quarters of memory and of disk, as nats-server."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from millpond.base import limits, machine
from millpond.config.options import Options
from millpond.jetstream.storage_room import StorageRoom
from millpond.store.space import Space

MACHINE_LIMITS = ("max_memory", "max_file")
SHARE_NUMERATOR, SHARE_DENOMINATOR = 3, 4


def share(total: int) -> int:
    """JetStream's part of so many bytes."""
    return total // SHARE_DENOMINATOR * SHARE_NUMERATOR


def with_machine_limits(options: Options) -> Options:
    """The options with JetStream's limits taken from the machine where they were left open.

    What the store holds already stays within its limit, however full the disk is.
    """
    jetstream = options.jetstream
    if jetstream is None:
        return options
    given = {}
    if jetstream.max_memory < 0:
        given["max_memory"] = share(machine.memory_bytes())
    if jetstream.max_file < 0:
        place = jetstream.store_dir or "/tmp"
        held = machine.disk_held_bytes(f"{place}/jetstream") if jetstream.store_dir else 0
        given["max_file"] = max(held, share(machine.disk_free_bytes(place) + held))
    return msgspec.structs.replace(options, jetstream=msgspec.structs.replace(jetstream, **given))


class FileLimit:
    """A limit of what file streams hold that was taken from the disk: it grows when others give room back.

    `found(bytes)` is called with a larger one. It is looked for when the present one refuses something, and when a full
    disk has room again.
    """

    def __init__(self, room: StorageRoom, space: Space, limit: int, found: Callable[[int], None]) -> None:
        self._room, self._space, self._found = room, space, found
        self._limit = limit
        self._again_s = 0.0
        room.on_refused = self._refused

    def look(self) -> None:
        """Is there more on the disk than there was?"""
        limit = share(self._space.free_bytes + self._room.held)
        if limit > self._limit:
            self._limit = limit
            self._found(limit)

    def _refused(self) -> None:
        """Publishes may be refused by the million."""
        now_s = time.monotonic()
        if now_s >= self._again_s:
            self._again_s = now_s + limits.SPACE_PROBE_S
            self.look()
