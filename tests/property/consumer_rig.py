"""A consumer over a memory store and a journal on disk, driven step by step with a clock that only tests move."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from millpond.base.clock import ManualClock
from millpond.broker.router import Router
from millpond.broker.sink import CallableSink
from millpond.broker.turn import Turn
from millpond.jetstream.consumer import Consumer
from millpond.jetstream.pump import CommitPhase, Pump
from millpond.jetstream.stream import Stream
from millpond.store.committer import Committer
from millpond.store.consumer_journal import ConsumerJournal
from millpond.store.memory_store import MemoryStore
from millpond.testing.model_store import finish

from millpond.jetstream import consumer_rules
from millpond.jetstream.advisories import Advisories
from millpond.jetstream.consumer_config import ConsumerConfig
from millpond.jetstream.stream_config import StreamConfig


class Got(NamedTuple):
    """One delivery to the request of that number, as its ack subject tells it."""

    request: int
    stream_seq: int
    deliveries: int
    consumer_seq: int
    pending: int


class Ended(NamedTuple):
    """What ended the request of that number: the status line."""

    request: int
    status: str


class Rig:
    """`config` is the consumer's; the stream holds `s.>` with the limits given."""

    def __init__(self, folder: Path, limits: dict[str, Any], config: dict[str, Any]) -> None:
        self.folder, self.clock, self.store = folder, ManualClock(), MemoryStore()
        self.stream_config = StreamConfig(name="S", subjects=["s.>"], storage="memory", duplicate_window=0, **limits)
        self.config = self._checked(config)
        self.requests = 0
        self._open()
        self.consumer = self._consumer(self.journal.open_consumer("c", b"{}"), recovered=False)

    def _checked(self, config: dict[str, Any]) -> ConsumerConfig:
        asked = ConsumerConfig(name="c", durable_name="c", **{"max_deliver": 0, **config})
        made = consumer_rules.with_defaults(asked, self.stream_config)
        consumer_rules.check(made, self.stream_config)
        return made

    def _open(self) -> None:
        self.turn, self.router, self.pump = Turn(self.clock), Router(), Pump()
        self.committer = Committer(0)
        self.journal = ConsumerJournal(str(self.folder), self.committer)
        commit = CommitPhase(self.committer)
        self.turn.add_commit(commit)
        self.turn.add_pump(self.pump)
        self.seen: list[Got | Ended] = []
        self.stream = Stream(
            "S", self.stream_config, 1, self.store, self.journal, self.router, self.turn, self.clock, self.committer,
            self.pump, commit, "",
        )  # fmt: skip
        self.stream.start()

    def _consumer(self, state: Any, recovered: bool) -> Consumer:
        consumer = Consumer(
            "c", self.config, 1, self.stream, state, Advisories(self.router.publish, self.clock),
            lambda consumer: None, self.clock, self.turn.timers, self.pump,
        )  # fmt: skip
        self.stream.add_consumer(consumer)
        consumer.start(recovered)
        self.settle()
        return consumer

    def _inbox(self, request: int) -> CallableSink:
        def received(subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
            if not reply:
                self.seen.append(Ended(request, hdr.split(b"\r\n")[0].decode().removeprefix("NATS/1.0 ")))
                return
            deliveries, seq, consumer_seq, _, pending = (int(token) for token in reply.split(b".")[4:])
            self.seen.append(Got(request, seq, deliveries, consumer_seq, pending))

        return CallableSink(received)

    def settle(self) -> None:
        while finish(self.turn):
            pass

    def close(self) -> None:
        """Let go of files and the sync thread; the messages stay."""
        self.journal.close()
        self.committer.close()

    # --- steps ---

    def restart(self) -> None:
        """The consumer begins again from what its journal kept; the messages are still there."""
        self.consumer.stop("")
        self.close()
        self._open()
        self.consumer = self._consumer(self.journal.recovered()["c"][1], recovered=True)

    def publish(self, subject: bytes) -> None:
        self.router.publish(subject, b"x")
        self.settle()

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.settle()

    def pull(self, **request: Any) -> None:
        """A request with the next number."""
        self.requests += 1
        inbox = b"in.%d" % self.requests
        self.router.subscribe(inbox, self._inbox(self.requests))
        self.router.publish(b"$JS.API.CONSUMER.MSG.NEXT.S.c", json.dumps(request).encode(), inbox)
        self.settle()

    def taken(self) -> list[Got | Ended]:
        """What the requests have got since the last call."""
        seen, self.seen = self.seen, []
        return seen

    def say(self, stream_seq: int, consumer_seq: int, body: bytes) -> None:
        self.router.publish(b"$JS.ACK.S.c.1.%d.%d.5.0" % (stream_seq, consumer_seq), body)
        self.settle()

    def update(self, **config: Any) -> None:
        self.config = self._checked(config)
        self.consumer.update(self.config)
        self.settle()
