"""A whole account on disk - engine, storage, several consumers of one stream - on a clock that only tests move."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from millpond.base.clock import ManualClock
from millpond.broker.router import Router
from millpond.broker.sink import CallableSink
from millpond.broker.turn import Turn
from millpond.testing.model_store import finish

from millpond.config.options import JetStreamOptions
from millpond.jetstream import consumer_rules, stream_rules
from millpond.jetstream.consumer_config import ConsumerConfig
from millpond.jetstream.engine import Engine
from millpond.jetstream.storage import Storage
from millpond.jetstream.stream_config import StreamConfig

ACK_WAIT_S = 30


class Got(NamedTuple):
    """One delivery."""

    seq: int
    deliveries: int
    ack: bytes


class Rig:
    """Stream `Q` on `q.>`."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.folder, self.clock = folder, ManualClock()
        self._open()
        config = {"max_msgs": -1, "max_bytes": -1, "max_msgs_per_subject": -1, "max_msg_size": -1, **config}
        asked = StreamConfig(name="Q", subjects=["q.>"], storage="file", **config)
        self.engine.create_stream(stream_rules.checked(asked, False), lambda stream: None)
        self.turns()

    def _open(self) -> None:
        self.turn, self.router = Turn(self.clock), Router()
        options = JetStreamOptions(store_dir=str(self.folder), sync="never")
        self.storage = Storage(options, self.folder)
        self.engine = Engine(options, self.storage, self.router, self.turn, "rig")
        self.engine.recover()
        self.got: list[Got] = []
        self.router.subscribe(b"in", CallableSink(self._take))
        self.turns()

    def _take(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
        if reply:
            tokens = reply.split(b".")
            self.got.append(Got(int(tokens[5]), int(tokens[4]), reply))

    def turns(self) -> None:
        """Until nothing is left to do, on disk neither."""
        for _ in range(3):
            while finish(self.turn):
                pass
            self.storage.read_cache.drain()
            self.storage.committer.drain()

    def reopen(self) -> None:
        self.close()
        self._open()

    def close(self) -> None:
        self.engine.stop()

    @property
    def stream(self) -> Any:
        return self.engine.streams["Q"]

    def consumer(self, name: str) -> Any:
        return self.stream.consumers[name]

    # --- steps ---

    def publish(self, subject: bytes) -> None:
        self.router.publish(subject, b"x")
        self.turns()

    def _checked(self, name: str, filters: list[str], ack_all: bool) -> ConsumerConfig:
        asked = ConsumerConfig(
            name=name, durable_name=name, filter_subjects=filters, ack_policy="all" if ack_all else "explicit",
            ack_wait=ACK_WAIT_S * 10**9, max_deliver=0,
        )  # fmt: skip
        made = consumer_rules.with_defaults(asked, self.stream.config)
        consumer_rules.check(made, self.stream.config)
        return made

    def add(self, name: str, filters: list[str], ack_all: bool) -> None:
        self.engine.create_consumer(self.stream, name, self._checked(name, filters, ack_all))
        self.turns()

    def change(self, name: str, filters: list[str], ack_all: bool) -> None:
        self.engine.update_consumer(self.consumer(name), self._checked(name, filters, ack_all))
        self.turns()

    def drop(self, name: str) -> None:
        self.engine.delete_consumer(self.consumer(name), lambda: None)
        self.turns()

    def pull(self, name: str, batch: int) -> list[Got]:
        self.got.clear()
        request = msgspec.json.encode({"batch": batch, "no_wait": True})
        self.router.publish(b"$JS.API.CONSUMER.MSG.NEXT.Q." + name.encode(), request, b"in")
        self.turns()
        return list(self.got)

    def say(self, ack: bytes, body: bytes) -> None:
        self.router.publish(ack, body)
        self.turns()

    def reset(self, name: str, seq: int) -> None:
        self.consumer(name).reset(seq)
        self.turns()

    def advance(self, seconds: int) -> None:
        self.clock.advance(seconds)
        self.turn.timers.run_due(self.clock.mono_ns)
        self.turns()

    def live(self) -> list[int]:
        store = self.stream.store
        assert store.check() == []
        seqs, seq = [], store.next_message(1)
        while seq:
            seqs.append(seq)
            seq = store.next_message(seq + 1)
        return seqs
