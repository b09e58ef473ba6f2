"""What JetStream holds in memory, by the names of the server's budgets; and how it gives some of it back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from millpond.base import limits

if TYPE_CHECKING:
    from millpond.jetstream.engine import Engine
    from millpond.jetstream.stream import Stream
    from millpond.store.read_cache import ReadCache

STREAM_BYTES: Final = 7_000
"""One stream without messages: its objects, configuration and subscriptions, measured with 1,000 of them."""
CONSUMER_BYTES: Final = 3_800
"""One consumer without pending messages, likewise."""
PENDING_ACK_BYTES: Final = 48
"""One message that waits for its acknowledgement: a row of 32 bytes in a table that is rarely full."""


class JetStreamMemory:
    """The engines of all accounts, as the memory watch sees them."""

    def __init__(self, engines: list[Engine], read_cache: ReadCache, read_cache_bytes_max: int) -> None:
        self._engines = engines
        self._read_cache = read_cache
        self._read_cache_bytes_max = read_cache_bytes_max
        read_cache.resize(read_cache_bytes_max)

    def _streams(self) -> Iterator[Stream]:
        for engine in self._engines:
            yield from engine.streams.values()

    def survey(self, found: dict[str, int]) -> Iterator[None]:
        """Adds bytes by budget to `found`, some streams with each step."""
        buffers = sum(
            int(engine.batches.bytes) + engine.held_bytes() + engine.backup_bytes() for engine in self._engines
        )
        for name, size in (("read_cache", int(self._read_cache.bytes)), ("buffers", buffers)):
            found[name] = found.get(name, 0) + size
        looked_at = 0
        for engine in self._engines:
            for stream_name in list(engine.streams):
                stream = engine.streams.get(stream_name)
                if stream is None:  # it was deleted since the survey began
                    continue
                for name, size in _parts(stream):
                    found[name] = found.get(name, 0) + size
                looked_at += 1 + len(stream.consumers)
                if looked_at >= limits.SURVEYED_PER_STEP:
                    looked_at = 0
                    yield

    def memory(self) -> dict[str, int]:
        """The same, at once."""
        found: dict[str, int] = {}
        for _ in self.survey(found):
            pass
        return found

    def largest(self, most: int) -> list[tuple[str, int]]:
        """The streams that hold most, and how many bytes each does."""
        sizes = [(stream.name, sum(size for _, size in _parts(stream))) for stream in self._streams()]
        return sorted(sizes, key=lambda item: -item[1])[:most]

    def counts(self) -> dict[str, int]:
        """How many there are of what the budgets hold."""
        streams = list(self._streams())
        states = [stream.state() for stream in streams]
        return {
            "streams": len(states),
            "consumers": sum(len(stream.consumers) for stream in streams),
            "messages": sum(state["messages"] for state in states),
            "subjects": sum(state["num_subjects"] for state in states),
            "message_ids": sum(stream.dedupe_count() for stream in streams),
            "pending_acks": sum(c.state.num_pending_acks for stream in streams for c in stream.consumers.values()),
        }

    def shed(self) -> None:
        """Drop what can be read again."""
        self._read_cache.resize(0)
        self._read_cache.resize(self._read_cache_bytes_max)

    def refuse(self, on: bool) -> None:
        """Streams take no messages (10023), or take them again."""
        for engine in self._engines:
            engine.pump.refusing = on


def _parts(stream: Stream) -> Iterator[tuple[str, int]]:
    """(budget, bytes) of one stream."""
    yield "subjects", STREAM_BYTES
    for name, size in stream.store.memory().items():
        if name == "buffers":
            yield ("messages" if stream.config.storage == "memory" else "buffers"), size
        else:
            yield "subjects", size
    yield "buffers", stream.waiting_bytes()
    yield "dedupe", stream.dedupe_bytes()
    yield "subjects", stream.schedule_bytes()
    for consumer in stream.consumers.values():
        yield "consumers", CONSUMER_BYTES + consumer.state.num_pending_acks * PENDING_ACK_BYTES
