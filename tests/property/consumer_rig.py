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
    """One delivery, as its ack subject tells it."""

    stream_seq: int
    deliveries: int
    consumer_seq: int
    pending: int


class Rig:
    """`config` is the consumer's; the stream holds `s.>` with the limits given."""

    def __init__(self, folder: Path, limits: dict[str, Any], config: dict[str, Any]) -> None:
        self.folder, self.clock, self.store = folder, ManualClock(), MemoryStore()
        self.stream_config = StreamConfig(name="S", subjects=["s.>"], storage="memory", duplicate_window=0, **limits)
        self.config = self._checked(config)
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
        self.frames: list[tuple[bytes, bytes]] = []
        self.router.subscribe(b"in", CallableSink(self._received))
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

    def _received(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
        self.frames.append((reply, hdr))

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

    def pull(self, batch: int) -> list[Got]:
        """What a request gets that does not wait."""
        self.frames.clear()
        body = json.dumps({"batch": batch, "no_wait": True}).encode()
        self.router.publish(b"$JS.API.CONSUMER.MSG.NEXT.S.c", body, b"in")
        self.settle()
        numbers = [[int(token) for token in reply.split(b".")[4:]] for reply, _ in self.frames if reply]
        self.router.publish(b"$JS.API.CONSUMER.MSG.NEXT.S.c", b'{"batch":0,"no_wait":true}', b"nobody")
        return [Got(seq, deliveries, consumer_seq, pending) for deliveries, seq, consumer_seq, _, pending in numbers]

    def say(self, stream_seq: int, consumer_seq: int, body: bytes) -> None:
        self.router.publish(b"$JS.ACK.S.c.1.%d.%d.5.0" % (stream_seq, consumer_seq), body)
        self.settle()

    def update(self, **config: Any) -> None:
        self.config = self._checked(config)
        self.consumer.update(self.config)
        self.settle()
