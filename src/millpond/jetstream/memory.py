"""What JetStream holds in memory, by the names of the server's budgets; and how it gives some of it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from millpond.jetstream.engine import Engine

STREAM_BYTES: Final = 7_000
"""One stream without messages: its objects, configuration and subscriptions, measured with 1,000 of them."""
CONSUMER_BYTES: Final = 3_800
"""One consumer without pending messages, likewise."""
PENDING_ACK_BYTES: Final = 48
"""One message that waits for its acknowledgement: a row of 32 bytes in a table that is rarely full."""


class JetStreamMemory:
    """The engine, as the memory watch sees it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def memory(self) -> dict[str, int]:
        """Bytes by budget."""
        found = dict.fromkeys(("subjects", "messages", "dedupe", "consumers", "read_cache", "buffers"), 0)
        for stream in self._engine.streams.values():
            in_memory = stream.config.storage == "memory"
            found["subjects"] += STREAM_BYTES
            for name, size in stream.store.memory().items():
                found[_budget(name, in_memory)] += size
            found["dedupe"] += stream.dedupe_bytes()
            for consumer in stream.consumers.values():
                pending = consumer.state.num_pending_acks
                found["consumers"] += CONSUMER_BYTES + pending * PENDING_ACK_BYTES
        return found

    def shed(self) -> None:
        """Drop what can be read again."""
        for stream in self._engine.streams.values():
            stream.store.shed()

    def refuse(self, on: bool) -> None:
        """Streams take no messages (10023), or take them again."""
        self._engine.pump.refusing = on


def _budget(part: str, in_memory: bool) -> str:
    """Which budget a part of a store belongs to."""
    if part == "read_cache":
        return "read_cache"
    if part == "buffers":
        return "messages" if in_memory else "buffers"
    return "subjects"
