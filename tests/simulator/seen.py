"""What was recovered from a slot, to be judged again: whoever recovers the same bytes finds the same.

Most cuts of a life leave most slots as some other cut has left them. So a slot whose bytes were recovered before is
left out of the image, and what was found then takes its place. (Not where a life goes on, not after a kill, and not
where deliveries are looked at: there everything is recovered together.)
"""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

from .history import Found, Violation
from .life import found_in, messages_of, slot_of
from .world import Files, World

SLOT = re.compile(r"/jetstream/[^/]+/streams/[^/]+")
Key = tuple[Any, ...]


class SeenStore:
    def __init__(self, store: Any) -> None:
        self._messages = messages_of(store)
        self._order = sorted(self._messages)

    def next_message(self, seq: int) -> int:
        return next((each for each in self._order if each >= seq), 0)

    def load_message(self, seq: int) -> dict[str, Any] | None:
        return self._messages.get(seq)


class SeenConsumer:
    """What the judges ask of a consumer."""

    def __init__(self, consumer: Any) -> None:
        self._pending, self._info = consumer.state.pending(), consumer.state.info()
        self.state = self

    def pending(self) -> Any:
        return self._pending

    def info(self) -> Any:
        return self._info


class SeenStream:
    """What the judges ask of a stream. `found`: of the one that is modelled."""

    def __init__(self, name: str, stream: Any, found: Found | None) -> None:
        self.name, self.config, self.found = name, stream.config, found
        self._state = dict(stream.state())
        self.consumers = {each: SeenConsumer(consumer) for each, consumer in stream.consumers.items()}
        self.store = SeenStore(stream.store)

    def state(self) -> dict[str, Any]:
        return self._state


class SeenWorld:
    """As much of a world as the judges ask for."""

    def __init__(self, streams: dict[str, Any]) -> None:
        self.engine = SimpleNamespace(streams=streams)


def slots_of(files: Files) -> dict[str, Key]:
    """By path of each slot, what is in it."""
    found: dict[str, list[Any]] = {}
    for path, data in files.items():
        place = SLOT.match(path)
        if place is not None:
            found.setdefault(place[0], []).append((path, None if data is None else hash(data)))
    return {slot: tuple(each) for slot, each in found.items()}


class Seen:
    """Of one life, by what is in the slot."""

    def __init__(self) -> None:
        self._known: dict[Key, SeenStream] = {}
        self.spared = 0
        """Slots that were not recovered again."""

    def partly(self, files: Files) -> tuple[Files, dict[str, Key], dict[str, SeenStream]]:
        """(the image without the slots that are known, what is in the others, the streams of the former)."""
        slots = slots_of(files)
        known = {slot: self._known[key] for slot, key in slots.items() if key in self._known}
        streams = {stream.name: stream for stream in known.values()}
        if len(streams) < len(known):              # two of one name: one of them will go
            return files, slots, {}
        left = {path: data for path, data in files.items() if not _is_in(path, known)}
        return left, {slot: key for slot, key in slots.items() if slot not in known}, streams

    def note(self, world: World, slots: dict[str, Key], found: Found | None) -> dict[str, SeenStream]:
        """What was recovered, now known."""
        streams = {}
        for name, stream in world.engine.streams.items():
            streams[name] = SeenStream(name, stream, found if name == "S" else None)
            self._known[slots[slot_of(world, name)]] = streams[name]
        return streams


def _is_in(path: str, slots: dict[str, Any]) -> bool:
    place = SLOT.match(path)
    return place is not None and place[0] in slots


def recovered(
    world: World, slots: dict[str, Key], known: dict[str, SeenStream], seen: Seen, torn: bool
) -> SeenWorld | None:
    """What was found, with what is known of the rest. None: they belong together, and must be recovered so."""
    if world.storage.unrecovered:
        raise Violation(f"{world.storage.unrecovered} cannot be recovered")
    if known.keys() & world.engine.streams.keys():
        return None
    found = found_in(world, torn)
    seen.spared += len(known)
    return SeenWorld({**known, **seen.note(world, slots, found)})
