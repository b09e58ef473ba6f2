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

    def _surveyed(self) -> Iterator[Stream | None]:
        """Each stream; None: so much was looked at that a step ends here."""
        looked_at = 0
        for engine in list(self._engines):
            looked_at += 1
            for name in [*engine.streams, None]:
                stream = engine.streams.get(name) if name is not None else None
                if stream is not None:  # it was not deleted meanwhile
                    yield stream
                    looked_at += 1 + len(stream.consumers)
                if looked_at >= limits.SURVEYED_PER_STEP:
                    looked_at = 0
                    yield None

    def survey(self, found: dict[str, int]) -> Iterator[None]:
        """Adds bytes by budget to `found`, some streams with each step."""
        found["read_cache"] = found.get("read_cache", 0) + int(self._read_cache.bytes)
        found.setdefault("buffers", 0)
        for number, engine in enumerate(list(self._engines), 1):
            found["buffers"] += int(engine.batches.bytes) + engine.held_bytes() + engine.backup_bytes()
            if number % limits.SURVEYED_PER_STEP == 0:
                yield
        for stream in self._surveyed():
            if stream is None:
                yield
                continue
            for name, size in _parts(stream):
                found[name] = found.get(name, 0) + size

    def memory(self) -> dict[str, int]:
        """The same, at once."""
        found: dict[str, int] = {}
        for _ in self.survey(found):
            pass
        return found

    def census(self, counts: dict[str, int], largest: list[tuple[str, int]], most: int) -> Iterator[None]:
        """How many there are of what the budgets hold; the streams that hold most, and how many bytes each does. Some
        streams with each step."""
        counts |= dict.fromkeys(("streams", "consumers", "messages", "subjects", "message_ids", "pending_acks"), 0)
        for stream in self._surveyed():
            if stream is None:
                largest[:] = _most(largest, most)
                yield
                continue
            state, consumers = stream.state(), stream.consumers.values()
            counts["streams"] += 1
            counts["consumers"] += len(consumers)
            counts["messages"] += state["messages"]
            counts["subjects"] += state["num_subjects"]
            counts["message_ids"] += stream.dedupe_count()
            counts["pending_acks"] += sum(consumer.state.num_pending_acks for consumer in consumers)
            largest.append((stream.name, sum(size for _, size in _parts(stream))))
        largest[:] = _most(largest, most)

    def shed(self) -> None:
        """Drop what can be read again."""
        self._read_cache.resize(0)
        self._read_cache.resize(self._read_cache_bytes_max)

    def refuse(self, on: bool) -> None:
        """Streams take no messages (10023), or take them again."""
        for engine in self._engines:
            engine.pump.refusing = on


def _most(rows: list[tuple[str, int]], most: int) -> list[tuple[str, int]]:
    return sorted(rows, key=lambda row: -row[1])[:most]


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
