"""A real stream with real consumers, in memory or in a store that is given, on a clock that stands still."""

from __future__ import annotations

from typing import Any

from millpond.base.clock import ManualClock
from millpond.broker.router import Router
from millpond.broker.sink import CallableSink
from millpond.broker.turn import Turn
from millpond.jetstream.consumer import Consumer
from millpond.jetstream.pump import CommitPhase, Pump
from millpond.jetstream.stream import Stream
from millpond.store.consumer_state import ConsumerState
from millpond.store.memory_store import MemoryStore
from millpond.testing.model_store import finish

from millpond.jetstream.advisories import Advisories
from millpond.jetstream.consumer_config import ConsumerConfig
from millpond.jetstream.stream_config import StreamConfig

SECOND = 1_000_000_000
WINDOW = {"duplicate_window": 120 * SECOND}


class Queue:
    """Stream `Q` on `q.>` with one kind of retention."""

    def __init__(self, retention: str, store: Any = None, **config: Any) -> None:
        self.clock = ManualClock()
        self.turn, self.router, self.store = Turn(self.clock), Router(), store or MemoryStore()
        self.pump, self.commit = Pump(), CommitPhase(None)
        self.turn.add_commit(self.commit)
        self.turn.add_pump(self.pump)
        self.taken: list[tuple[bytes, bytes]] = []
        self.router.subscribe(b"in.>", CallableSink(self._take))
        self.config = StreamConfig(name="Q", subjects=["q.>"], retention=retention, **WINDOW, **config)
        self.advisories = Advisories(self.router.publish, self.clock, "")
        self.stream = Stream(
            "Q", self.config, 1, self.store, None, self.router, self.turn, self.clock, None, self.pump, self.commit
        )
        self.stream.start()

    def _take(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: Any) -> None:
        self.taken.append((subject, reply))

    def turns(self) -> None:
        while finish(self.turn):
            pass

    def publish(self, subject: bytes, hdr: bytes = b"") -> None:
        self.router.publish(subject, b"x", b"", hdr)
        self.turns()

    def add(
        self, name: str, *filters: str, ack_policy: str = "explicit", state: Any = None, turns: bool = True,
        **config: Any,
    ) -> Consumer:  # fmt: skip
        wanted = ConsumerConfig(
            name=name, durable_name=name, filter_subjects=list(filters), ack_policy=ack_policy,
            **{"ack_wait": 30 * SECOND, "max_waiting": 512, "max_deliver": -1} | config,
        )  # fmt: skip
        consumer = Consumer(
            name, wanted, 1, self.stream, state or ConsumerState(), self.advisories,
            lambda unused: self.delete(unused.name), self.clock, self.turn.timers, self.pump,
        )  # fmt: skip
        self.stream.add_consumer(consumer)
        consumer.start(state is not None)
        if turns:
            self.turns()
        return consumer

    def delete(self, name: str) -> None:
        consumer = self.stream.consumers[name]
        consumer.stop("")
        self.stream.remove_consumer(consumer)
        self.turns()

    def pull(self, name: str, most: int) -> list[bytes]:
        """The ack subjects of what it got."""
        self.taken.clear()
        request = b'{"batch":%d,"no_wait":true}' % most
        self.router.publish(b"$JS.API.CONSUMER.MSG.NEXT.Q." + name.encode(), request, b"in." + name.encode())
        self.turns()
        return [reply for _, reply in self.taken if reply.startswith(b"$JS.ACK.")]

    def ack(self, subject: bytes, kind: bytes = b"+ACK") -> None:
        self.router.publish(subject, kind)
        self.turns()

    def live(self) -> list[int]:
        assert self.store.check() == []
        seqs, seq = [], self.store.next_message(1)
        while seq:
            seqs.append(seq)
            seq = self.store.next_message(seq + 1)
        return seqs
