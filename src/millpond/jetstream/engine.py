"""JetStream of one account: its streams and consumers, from configuration to running objects and back.

Owns the stream table. A change takes effect in memory at once; its answer is given when it is on disk.
Creating, updating and deleting go through here, from the API and from recovery alike.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from millpond.base import limits
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
from millpond.jetstream.dedupe import Dedupe
from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_json import Shape, decode
from millpond.jetstream.go_time import format_time
from millpond.jetstream.pump import CommitPhase, Pump
from millpond.jetstream.steps import Steps
from millpond.jetstream.storage import Shelf, Storage
from millpond.jetstream.storage_room import StorageRoom
from millpond.jetstream.stream import Stream
from millpond.jetstream.stream_config import ServerLimits, StreamConfig
from millpond.store.consumer_state import ConsumerState

if TYPE_CHECKING:
    # At run time they come with the first stream that follows another, and with the first restore: a mebibyte.
    from millpond.jetstream.backup_documents import ConsumerDocument
    from millpond.jetstream.restored import Restored
    from millpond.jetstream.source_names import Position
    from millpond.jetstream.source_set import SourceSet

NO_LIMIT: Final = -1
"""Of a StorageRoom."""
MEMORY_MESSAGE_BYTES: Final = 16
FILE_MESSAGE_BYTES: Final = 30
"""What nats-server counts for a message besides its subject, headers and body."""

NO_FILE_NAME: Final = "\0"
"""What nothing on disk can have in its name, there; and so not here, where names of files are other ones."""

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
        account_limits: JetStreamLimits | None = None,
    ) -> None:
        self.options = options
        self.strict = options.strict
        self.domain = options.domain
        self.default_max_consumers = options.default_max_consumers
        self.server_name = server_name
        self.account = account
        self.all: list[Engine] = [self]
        """The engines of all accounts of this server."""
        self.clock: Clock = turn.clock
        self.streams: dict[str, Stream] = {}
        self._source_sets: dict[str, SourceSet] = {}
        self.payload_max = limits.PAYLOAD_BYTES_MAX
        self.backup_bytes: Callable[[], int] = int
        """What snapshots and restores hold in memory."""
        self.router, self.turn = router, turn
        self._storage = storage
        self._shelves: dict[str, Shelf] = {}
        self._clients = itertools.count(1)
        self.advisories = Advisories(router.publish, turn.clock, options.domain, account)
        self.batches = BatchTotals()
        self._rooms = {
            "memory": StorageRoom(options.max_memory or NO_LIMIT, lambda: self._bytes_held_by_all("memory")),
            "file": StorageRoom(options.max_file or NO_LIMIT, lambda: self._bytes_held_by_all("file")),
        }
        self._shares = {
            "memory": StorageRoom(NO_LIMIT, lambda: self._bytes_held("memory"), MEMORY_MESSAGE_BYTES),
            "file": StorageRoom(NO_LIMIT, lambda: self._bytes_held("file"), FILE_MESSAGE_BYTES),
        }
        self.use_account_limits(account_limits or JetStreamLimits())
        self.pump = Pump()
        self.commit = CommitPhase(storage.committer)
        turn.add_commit(self.commit)
        turn.add_pump(self.pump)

    def use_account_limits(self, found: JetStreamLimits) -> None:
        """What the account may use, from the start or from a reload on."""
        self.account_limits = found
        self._shares["memory"].resize(found.max_memory)
        self._shares["file"].resize(found.max_file)

    def use_options(self, options: JetStreamOptions) -> None:
        """Settings that were reloaded take effect."""
        self.options = options
        self._rooms["memory"].resize(options.max_memory or NO_LIMIT)
        self._rooms["file"].resize(options.max_file or NO_LIMIT)

    @property
    def limits(self) -> ServerLimits:
        options = self.options
        return ServerLimits(
            max_ack_pending=options.limit_max_ack_pending,
            max_request_batch=options.limit_max_request_batch,
            duplicate_window_ns=options.limit_duplicate_window_ns,
        )

    # --- recovery and stop ---

    def recover(self) -> None:
        """Bring back every stream on disk with its consumers. One that cannot be read is logged and left alone."""
        positions: dict[str, dict[str, Any]] = {}
        for payload, shelf in self._storage.recover():
            stored = json.loads(payload)
            config = stream_from_request(decode(json.dumps(stored["config"]).encode(), STORED_STREAM))
            config = msgspec.structs.replace(config, metadata=stored["config"].get("metadata", {}))
            stream = self._open(config, stored["created"], shelf)
            positions[stream.name] = stored.get("positions", {})
            journal = stream.journal
            if journal is None:
                continue
            for name, (text, state) in journal.recovered().items():
                self._recover_consumer(stream, name, text, state)
            stream.review(1, False)
        for stream in self.streams.values():
            self._follow_others(stream, positions.get(stream.name, {}))
        for others in self._source_sets.values():
            others.begin()
        if self.streams:
            log.info("  Restored %d streams", len(self.streams))

    def _recover_consumer(self, stream: Stream, name: str, text: bytes, state: ConsumerState) -> None:
        stored = json.loads(text)
        asked = consumer_from_request(decode(json.dumps(stored["config"]).encode(), STORED_CONSUMER))
        consumer = self._consumer(stream, name, asked, stored["created"], state)
        stream.add_consumer(consumer)
        consumer.start(True)

    def leave(self) -> None:
        """Deliver no more, and tell who waits with a pull request (ADR-13): clients ask again where they reconnect."""
        for stream in self.streams.values():
            for consumer in stream.consumers.values():
                consumer.stop("409 Server Shutdown")

    def stop(self) -> None:
        """Close every stream; nothing on disk is removed."""
        positions = {name: others.positions_to_keep() for name, others in self._source_sets.items()}
        for others in self._source_sets.values():
            others.end(False)
        self._source_sets.clear()
        for stream in list(self.streams.values()):
            stream.stop(False)
            if positions.get(stream.name):
                self._keep_positions(stream, positions[stream.name])
        self.streams.clear()
        self._storage.close()

    # --- streams ---

    def configs(self) -> Iterable[StreamConfig]:
        return (stream.config for stream in self.streams.values())

    def stream(self, name: str) -> Stream:
        """Raises 10059 when there is none of this name."""
        found = self.streams.get(name)
        if found is None:
            raise api_error("JSStreamNotFoundErr")
        return found

    def config_of(self, name: str) -> StreamConfig | None:
        """The configuration of a stream; None when there is none of that name."""
        stream = self.streams.get(name)
        return stream.config if stream is not None else None

    def sourcing_of(self, stream: Stream) -> dict[str, Any]:
        """What StreamInfo says of its mirror or sources."""
        others = self._source_sets.get(stream.name)
        return others.info() if others is not None else {}

    def held_bytes(self) -> int:
        """Of messages from other streams that wait for a cold read."""
        return sum(others.held_bytes() for others in self._source_sets.values())

    def _keep_positions(self, stream: Stream, positions: dict[str, Position]) -> None:
        """Where sources go on, beside the configuration."""
        self._shelves[stream.name].save(_stored_stream(stream, positions), lambda: None)
        self.turn.wake()

    def _follow_others(self, stream: Stream, positions: dict[str, Any] | None = None) -> None:
        """Prepare what a stream takes from others, when its configuration says so."""
        if (stream.config.mirror is None and not stream.config.sources) or stream.name in self._source_sets:
            return
        from millpond.jetstream.source_names import Position
        from millpond.jetstream.source_puller import Site
        from millpond.jetstream.source_set import SourceSet

        client = {"start": format_time(self.clock.wall_ns), "id": next(self._clients), "acc": self.account,
                  "server": self.server_name, "kind": "JetStream"}  # fmt: skip
        site = Site(self.router, self.turn.timers, self.clock, self.account, self.domain, client)
        self._source_sets[stream.name] = SourceSet(
            site, stream, msgspec.convert(positions or {}, dict[str, Position]), self._keep_positions
        )

    def _tell_followers(self, name: str) -> None:
        """A stream of this name is there now: who wants to follow it need not wait for the next attempt."""
        for others in list(self._source_sets.values()):
            others.appeared(name)

    def _begin_following(self, stream: Stream) -> None:
        """After its configuration was acknowledged."""
        others = self._source_sets.get(stream.name)
        if others is not None and self.streams.get(stream.name) is stream:
            others.begin()

    def create_stream(self, config: StreamConfig, done: Callable[[Stream], None]) -> None:
        """A checked configuration becomes a running stream; `done(stream)` when that is durable."""
        if config.storage == "file" and NO_FILE_NAME in config.name:
            raise api_error("JSStreamCreateErrF", err="error creating store for stream")
        created_ns = self.clock.wall_ns
        shelf = self._storage.create(config)
        stream = self._open(config, created_ns, shelf)
        if config.first_seq > 1:
            stream.set_first_seq(config.first_seq)
        self._follow_others(stream)
        self._tell_followers(config.name)

        def durable() -> None:
            done(stream)
            self._begin_following(stream)
            self.advisories.stream_action(config.name, "create")

        shelf.save(_stored_stream(stream, {}), durable)
        self.turn.wake()

    def _open(
        self, config: StreamConfig, created_ns: int, shelf: Shelf, window: tuple[Dedupe, bytes] | None = None
    ) -> Stream:
        """`window`: the message ids in the store, and the last message's; None: the stream finds out."""
        stream = Stream(
            config.name, config, created_ns, shelf.store, shelf.journal, self.router, self.turn,
            self.clock, self._storage.committer, self.pump, self.commit, self.domain,
        )  # fmt: skip
        if window is not None:
            stream.adopt_window(window[0])
        stream.use_batches(self.batches, self.advisories.batch_abandoned)
        stream.use_room(self._rooms[config.storage], self._shares[config.storage])
        self.streams[config.name] = stream
        self._shelves[config.name] = shelf
        if window is not None:
            stream.start_restored(window[1])
        else:
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
        others = self._source_sets.get(stream.name)
        if others is not None:
            others.update(config)
        self._follow_others(stream)

        def durable() -> None:
            done()
            self._begin_following(stream)
            self.advisories.stream_action(config.name, "modify")

        others = self._source_sets.get(stream.name)
        payload = _stored_stream(stream, others.positions if others is not None else {})
        self._shelves[config.name].save(payload, lambda: stream.after_commit(durable))
        self.turn.wake()

    def delete_stream(self, stream: Stream, done: Callable[[], None]) -> None:
        del self.streams[stream.name]
        for consumer in list(stream.consumers.values()):
            self.advisories.consumer_action(stream.name, consumer.name, "delete")
        others = self._source_sets.pop(stream.name, None)
        if others is not None:
            others.end(True)
        stream.stop(True)

        def durable() -> None:
            done()
            self.advisories.stream_action(stream.name, "delete")

        self._shelves.pop(stream.name).destroy(durable)
        self.turn.wake()

    # --- restores ---

    def hidden_shelf(self, config: StreamConfig) -> Shelf:
        """A place for a stream that is not there yet, and gone at the next start unless it is revealed."""
        return self._storage.create(config, hidden=True)

    def restore_consumers(
        self, config: StreamConfig, shelf: Shelf, documents: dict[str, ConsumerDocument]
    ) -> list[Restored]:
        """What a backup says of consumers enters the journal. Raises BackupError."""
        from millpond.jetstream.restored import Restored, restore_state, restored_config

        created_ns, found = self.clock.wall_ns, list[Restored]()
        for name, document in documents.items():
            made = restored_config(name, document, config, [each.config for each in found])
            state = ConsumerState()
            if shelf.journal is not None and not made.mem_storage and not made.direct:
                state = shelf.journal.open_consumer(name, _stored(consumer_to_json(made, managed=False), created_ns))
            restore_state(name, document, state)
            found.append(Restored(name=name, config=made, created_ns=created_ns, state=state))
        self.turn.wake()
        return found

    def is_settled(self, shelf: Shelf) -> bool:
        """Is everything in the store and in the journal durable?"""
        store, journal = shelf.store, shelf.journal
        kept = journal is None or journal.committed_position >= journal.position
        return bool(kept and store.committed_position >= store.position)

    def save_restored(
        self, config: StreamConfig, created_ns: int, shelf: Shelf, done: Callable[[], None]
    ) -> None:
        shelf.save(_stored(stream_to_json(config, managed=False), created_ns), done)
        self.turn.wake()

    def run_restored(
        self, config: StreamConfig, created_ns: int, shelf: Shelf, consumers: list[Restored],
        window: tuple[Dedupe, bytes],
    ) -> Stream:
        """What was restored begins to work."""
        stream = self._open(config, created_ns, shelf, window)
        for made in consumers:
            consumer = self._consumer(stream, made.name, made.config, made.created_ns, made.state)
            stream.add_consumer(consumer)
            consumer.start(True)
        stream.review(1, False)
        self._follow_others(stream)
        self._tell_followers(config.name)
        self._begin_following(stream)
        self.advisories.stream_action(config.name, "create")
        self.turn.wake()
        return stream

    # --- consumers ---

    def create_consumer(self, stream: Stream, name: str, config: ConsumerConfig) -> Consumer:
        """A checked configuration becomes a running consumer; durable after the stream's next commit."""
        created_ns = self.clock.wall_ns
        journal = stream.journal
        if journal is None or config.mem_storage or config.direct:
            state = ConsumerState()
        elif NO_FILE_NAME in name:
            raise api_error("JSConsumerCreateErrF", err="error creating store for consumer")
        else:
            state = journal.open_consumer(name, _stored(consumer_to_json(config, managed=False), created_ns))
        consumer = self._consumer(stream, name, config, created_ns, state)
        stream.add_consumer(consumer)
        consumer.start(False)

        stream.after_commit(lambda: self.advisories.consumer_action(stream.name, name, "create"))
        self.turn.wake()
        return consumer

    def _consumer(
        self, stream: Stream, name: str, config: ConsumerConfig, created_ns: int, state: ConsumerState
    ) -> Consumer:
        return Consumer(
            name, config, created_ns, stream, state, self.advisories, self._inactive,
            self.clock, self.turn.timers, self.pump, f"{self.domain or '_'}.{short_hash(self.account)}",
        )  # fmt: skip

    def in_steps(self, step: Callable[[], bool]) -> None:
        """`step()` in every turn as long as it says that there is more."""
        Steps(step, self.pump, self.turn).wake()

    def has_interest(self, subject: str) -> bool:
        """Does anybody listen on this literal subject?"""
        return bool(self.router.py_has_interest(subject.encode()))

    def update_consumer(self, consumer: Consumer, config: ConsumerConfig) -> None:
        """A checked configuration takes effect; durable after the stream's next commit."""
        consumer.update(config)
        stream = consumer.stream
        if consumer.state.log is not None:
            stored = _stored(consumer_to_json(config, managed=False), consumer.created_ns)
            stream.journal.set_config(consumer.name, stored)
        self.turn.wake()

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
        self.turn.wake()

    def _inactive(self, consumer: Consumer) -> None:
        """A consumer nobody used for its inactive_threshold."""
        if consumer.stream.consumers.get(consumer.name) is consumer:
            self.delete_consumer(consumer, lambda: None)

    # --- figures ---

    def _bytes_held_by_all(self, storage: str) -> int:
        """Over all accounts of the server, whose limit it is."""
        return sum(engine._bytes_held(storage) for engine in self.all)

    def _bytes_held(self, storage: str) -> int:
        return sum(stream.bytes_held() for stream in self.streams.values() if stream.config.storage == storage)

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


def _stored(config: dict[str, Any], created_ns: int, **more: Any) -> bytes:
    return json.dumps({"config": config, "created": created_ns, **more}, separators=(",", ":")).encode()


def _stored_stream(stream: Stream, positions: dict[str, Position]) -> bytes:
    """A stream's catalog entry; `positions` of its sources, when their messages do not say them."""
    more = {"positions": msgspec.to_builtins(positions)} if positions else {}
    return _stored(stream_to_json(stream.config, managed=False), stream.created_ns, **more)
