"""JetStream of one account: its streams and consumers, from configuration to running objects and back.

Owns the stream table. A change takes effect in memory at once; its answer is given when it is on disk.
Creating, updating and deleting go through here, from the API and from recovery alike.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from millpond.base.clock import Clock
from millpond.broker.router import Router
from millpond.broker.turn import Turn
from millpond.config.options import JetStreamOptions
from millpond.config.security import GLOBAL_ACCOUNT, JetStreamLimits
from millpond.jetstream import account_limits
from millpond.jetstream.acks import short_hash
from millpond.jetstream.advisories import Advisories
from millpond.jetstream.batch_totals import BatchTotals
from millpond.jetstream.config_wire import (
    CONSUMER_FIELDS,
    STREAM_FIELDS,
    consumer_from_request,
    consumer_to_json,
    stream_from_request,
    stream_to_json,
)
from millpond.jetstream.consumer import Consumer
from millpond.jetstream.consumer_config import ConsumerConfig
from millpond.jetstream.go_json import Shape, decode
from millpond.jetstream.pump import CommitPhase, Pump
from millpond.jetstream.storage import Shelf, Storage
from millpond.jetstream.stream import Stream
from millpond.jetstream.stream_config import StreamConfig
from millpond.store.consumer_state import ConsumerState

log = logging.getLogger("millpond")

STORED_STREAM = Shape("StreamConfig", STREAM_FIELDS)
STORED_CONSUMER = Shape("ConsumerConfig", CONSUMER_FIELDS)


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes by storage, reservations by max_bytes, counts."""

    memory: int
    storage: int
    reserved_memory: int
    reserved_storage: int
    streams: int
    consumers: int
    messages: int


class Engine:
    """`storage` says where streams live; `server_name` is what replies call the leader."""

    def __init__(
        self,
        options: JetStreamOptions,
        storage: Storage,
        router: Router,
        turn: Turn,
        server_name: str,
        *,
        account: str = GLOBAL_ACCOUNT,
        limits: JetStreamLimits | None = None,
    ) -> None:
        self.options = options
        self.strict = options.strict
        self.domain = options.domain
        self.default_max_consumers = options.default_max_consumers
        self.server_name = server_name
        self.account = account
        self.limits = limits or JetStreamLimits()
        self.all: list[Engine] = [self]
        """The engines of all accounts of this server."""
        self.clock: Clock = turn.clock
        self.streams: dict[str, Stream] = {}
        self._storage = storage
        self._router = router
        self._turn = turn
        self._shelves: dict[str, Shelf] = {}
        self.advisories = Advisories(router.publish, turn.clock, options.domain)
        self.batches = BatchTotals()
        self.pump = Pump()
        self.commit = CommitPhase(storage.committer)
        turn.add_commit(self.commit)
        turn.add_pump(self.pump)

    # --- recovery and stop ---

    def recover(self) -> None:
        """Bring back every stream on disk with its consumers. One that cannot be read is logged and left alone."""
        for payload, shelf in self._storage.recover():
            stored = json.loads(payload)
            config = stream_from_request(decode(json.dumps(stored["config"]).encode(), STORED_STREAM))
            config = msgspec.structs.replace(config, metadata=stored["config"].get("metadata", {}))
            stream = self._open(config, stored["created"], shelf)
            journal = stream.journal
            if journal is None:
                continue
            for name, (text, state) in journal.recovered().items():
                self._recover_consumer(stream, name, text, state)
            stream.review(1, False)
        if self.streams:
            log.info("  Restored %d streams", len(self.streams))

    def _recover_consumer(self, stream: Stream, name: str, text: bytes, state: ConsumerState) -> None:
        stored = json.loads(text)
        asked = consumer_from_request(decode(json.dumps(stored["config"]).encode(), STORED_CONSUMER))
        consumer = self._consumer(stream, name, asked, stored["created"], state)
        stream.add_consumer(consumer)
        consumer.start(True)

    def stop(self) -> None:
        """Close every stream; nothing on disk is removed."""
        for stream in list(self.streams.values()):
            stream.stop(False)
        self.streams.clear()
        self._storage.close()

    # --- streams ---

    def configs(self) -> Iterable[StreamConfig]:
        return (stream.config for stream in self.streams.values())

    def create_stream(self, config: StreamConfig, done: Callable[[Stream], None]) -> None:
        """A checked configuration becomes a running stream; `done(stream)` when that is durable."""
        created_ns = self.clock.wall_ns
        shelf = self._storage.create(config)
        stream = self._open(config, created_ns, shelf)
        if config.first_seq > 1:
            stream.set_first_seq(config.first_seq)

        def durable() -> None:
            done(stream)
            self.advisories.stream_action(config.name, "create")

        shelf.save(_stored(stream_to_json(config, managed=False), created_ns), durable)
        self._turn.wake()

    def _open(self, config: StreamConfig, created_ns: int, shelf: Shelf) -> Stream:
        stream = Stream(
            config.name, config, created_ns, shelf.store, shelf.journal, self._router, self._turn,
            self.clock, self._storage.committer, self.pump, self.commit, self.domain,
        )  # fmt: skip
        stream.use_batches(self.batches, self.advisories.batch_abandoned)
        self.streams[config.name] = stream
        self._shelves[config.name] = shelf
        stream.start()
        return stream

    def check_room(self, config: StreamConfig) -> None:
        """What the account and the server have room for (account_limits). Raises the API's error."""
        account_limits.check_stream(self, config)

    def reserved_in(self, storage: str, but_for: str = "") -> int:
        """Bytes that the account's streams reserved in one kind of storage, but for the one of this name."""
        return sum(
            max(0, other.max_bytes) for other in self.configs() if other.storage == storage and other.name != but_for
        )

    def update_stream(self, stream: Stream, config: StreamConfig, done: Callable[[], None]) -> None:
        stream.update(config)

        def durable() -> None:
            done()
            self.advisories.stream_action(config.name, "modify")

        payload = _stored(stream_to_json(config, managed=False), stream.created_ns)
        self._shelves[config.name].save(payload, lambda: stream.after_commit(durable))
        self._turn.wake()

    def delete_stream(self, stream: Stream, done: Callable[[], None]) -> None:
        del self.streams[stream.name]
        for consumer in list(stream.consumers.values()):
            self.advisories.consumer_action(stream.name, consumer.name, "delete")
        stream.stop(True)

        def durable() -> None:
            done()
            self.advisories.stream_action(stream.name, "delete")

        self._shelves.pop(stream.name).destroy(durable)
        self._turn.wake()

    # --- consumers ---

    def create_consumer(self, stream: Stream, name: str, config: ConsumerConfig) -> Consumer:
        """A checked configuration becomes a running consumer; durable after the stream's next commit."""
        created_ns = self.clock.wall_ns
        journal = stream.journal
        if journal is None or config.mem_storage or config.direct:
            state = ConsumerState()
        else:
            state = journal.open_consumer(name, _stored(consumer_to_json(config, managed=False), created_ns))
        consumer = self._consumer(stream, name, config, created_ns, state)
        stream.add_consumer(consumer)
        consumer.start(False)

        stream.after_commit(lambda: self.advisories.consumer_action(stream.name, name, "create"))
        self._turn.wake()
        return consumer

    def _consumer(
        self, stream: Stream, name: str, config: ConsumerConfig, created_ns: int, state: ConsumerState
    ) -> Consumer:
        return Consumer(
            name, config, created_ns, stream, state, self.advisories, self._inactive,
            self.clock, self._turn.timers, self.pump, f"{self.domain or '_'}.{short_hash(self.account)}",
        )  # fmt: skip

    def has_interest(self, subject: str) -> bool:
        """Does anybody listen on this literal subject?"""
        return bool(self._router.py_has_interest(subject.encode()))

    def update_consumer(self, consumer: Consumer, config: ConsumerConfig) -> None:
        """A checked configuration takes effect; durable after the stream's next commit."""
        consumer.update(config)
        stream = consumer.stream
        if consumer.state.log is not None:
            stored = _stored(consumer_to_json(config, managed=False), consumer.created_ns)
            stream.journal.set_config(consumer.name, stored)
        self._turn.wake()

    def delete_consumer(self, consumer: Consumer, done: Callable[[], None]) -> None:
        stream = consumer.stream
        consumer.stop("409 Consumer Deleted")
        stream.remove_consumer(consumer)
        if consumer.state.log is not None:
            stream.journal.delete_consumer(consumer.name)

        def durable() -> None:
            self.advisories.consumer_action(stream.name, consumer.name, "delete")
            done()

        stream.after_commit(durable)
        self._turn.wake()

    def _inactive(self, consumer: Consumer) -> None:
        """A consumer nobody used for its inactive_threshold."""
        if consumer.stream.consumers.get(consumer.name) is consumer:
            self.delete_consumer(consumer, lambda: None)

    # --- figures ---

    def usage(self) -> Usage:
        by_storage = {"file": 0, "memory": 0}
        reserved = {"file": 0, "memory": 0}
        messages = 0
        for stream in self.streams.values():
            state = stream.state()
            by_storage[stream.config.storage] += state["bytes"]
            reserved[stream.config.storage] += max(0, stream.config.max_bytes)
            messages += state["messages"]
        return Usage(
            memory=by_storage["memory"],
            storage=by_storage["file"],
            reserved_memory=reserved["memory"],
            reserved_storage=reserved["file"],
            streams=len(self.streams),
            consumers=sum(len(stream.consumers) for stream in self.streams.values()),
            messages=messages,
        )


def _stored(config: dict[str, Any], created_ns: int) -> bytes:
    return json.dumps({"config": config, "created": created_ns}, separators=(",", ":")).encode()
