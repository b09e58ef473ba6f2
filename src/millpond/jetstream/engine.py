"""JetStream of one account: its streams and consumers, from configuration to running objects and back.

Owns the stream table. A change takes effect in memory at once; its answer is given when it is on disk.
Creating, updating and deleting go through here, from the API and from recovery alike.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from millpond.base import limits
from millpond.base.clock import Clock
from millpond.base.errors import StoreError
from millpond.broker.router import Router
from millpond.broker.turn import Turn
from millpond.config.options import JetStreamOptions
from millpond.config.security import GLOBAL_ACCOUNT, JetStreamLimits
from millpond.jetstream import account_limits, consumer_rules, stream_rules
from millpond.jetstream.acks import short_hash
from millpond.jetstream.advisories import Advisories
from millpond.jetstream.batch_totals import BatchTotals
from millpond.jetstream.config_wire import consumer_to_json, stream_to_json
from millpond.jetstream.consumer import Consumer
from millpond.jetstream.consumer_changes import keep_or_undo, let_go, use_config
from millpond.jetstream.consumer_config import ConsumerConfig
from millpond.jetstream.dedupe import Dedupe
from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_time import format_time
from millpond.jetstream.held_requests import HeldRequests
from millpond.jetstream.leaving import Leaving
from millpond.jetstream.offline import Offline
from millpond.jetstream.pump import CommitPhase, Pump
from millpond.jetstream.recovered import Found, found_in
from millpond.jetstream.request_queue import RequestQueue
from millpond.jetstream.reservations import Reservations
from millpond.jetstream.shelf import Done, Shelf, condemn, nobody
from millpond.jetstream.steps import Steps
from millpond.jetstream.storage import NO_LIMIT, Storage
from millpond.jetstream.storage_room import StorageRoom
from millpond.jetstream.stored import stored, stored_stream
from millpond.jetstream.stream import Stream
from millpond.jetstream.stream_config import ServerLimits, StreamConfig
from millpond.jetstream.usage import Usage, usage_of
from millpond.store.consumer_state import ConsumerState

if TYPE_CHECKING:
    # At run time they come with the first stream that follows another, and with the first restore: a mebibyte.
    from millpond.jetstream.backup_documents import ConsumerDocument
    from millpond.jetstream.restored import Restored
    from millpond.jetstream.source_names import Position
    from millpond.jetstream.source_set import SourceSet


NO_FILE_NAME: Final = "\0"
"""What nothing on disk can have in its name, there; and so not here, where names of files are other ones."""

log = logging.getLogger("millpond")


class Engine:
    """`storage` says where streams live; `server_name` is what replies call the leader."""

    def __init__(
        self, options: JetStreamOptions, storage: Storage, router: Router, turn: Turn, server_name: str, *,
        account: str = GLOBAL_ACCOUNT, account_limits: JetStreamLimits | None = None,
    ) -> None:  # fmt: skip
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
        self.offline: dict[str, Offline] = {}
        """Those that do not run, since a newer server stored them."""
        self._reservations = Reservations()
        self._source_sets: dict[str, SourceSet] = {}
        self._leaving: list[Leaving] = []
        self.payload_max = limits.PAYLOAD_BYTES_MAX
        self.backup_bytes: Callable[[], int] = int
        """What snapshots and restores hold in memory."""
        self.router, self.turn = router, turn
        self._storage = storage
        self._shelves: dict[str, Shelf] = {}
        self._clients = itertools.count(1)
        self.advisories = Advisories(router.publish, turn.clock, options.domain, account)
        self.batches = BatchTotals(options)
        self._rooms = storage.rooms
        self._shares = {"memory": StorageRoom(NO_LIMIT), "file": StorageRoom(NO_LIMIT)}
        self.use_account_limits(account_limits or JetStreamLimits())
        self.pump = Pump()
        self.commit = CommitPhase(storage.committer)
        turn.add_commit(self.commit)
        turn.add_pump(self.pump)
        self.server_advisories = self.advisories
        """What concerns the server goes to the system account, where there is one."""
        self.requests = RequestQueue(self.pump, turn, limits.API_REQUESTS_WAITING_MAX, self._dropped)
        self.held = HeldRequests(storage.committer, self.requests)
        self.use_options(options)

    def use_account_limits(self, found: JetStreamLimits) -> None:
        """What the account may use, from the start or from a reload on."""
        self.account_limits = found
        self._shares["memory"].resize(found.max_memory)
        self._shares["file"].resize(found.max_file)

    def use_options(self, options: JetStreamOptions) -> None:
        """Settings that were reloaded take effect."""
        self.options = options
        self.requests.limit = options.info_queue_limit or options.request_queue_limit or limits.API_REQUESTS_WAITING_MAX
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
        """Bring back every stream on disk with its consumers. One that cannot be read is logged and left alone, one
        that a newer server stored is offline."""
        for _ in self.recovery():
            pass

    def recovery(self) -> Iterator[tuple[int, int]]:
        """The same in steps, one for each stream: (how many have been dealt with, of how many). No turn may run before
        the last step: what one stream does may concern another one."""
        positions: dict[str, dict[str, Any]] = {}
        for count, found in enumerate(found_in(self._storage), 1):
            if isinstance(found, Offline):
                self._set_offline(found)
            elif found is not None and self._run_recovered(found) and found.positions:
                positions[found.config.name] = found.positions
            yield count, self._storage.found
        for stream in self.streams.values():
            self._follow_others(stream, positions.get(stream.name, {}))
            stream.report_damage()
        for others in self._source_sets.values():
            others.begin()

    def _run_recovered(self, found: Found) -> bool:
        try:
            stream = self._open(found.config, found.created_ns, found.shelf, rolled_through=found.rolled_through)
        except (StoreError, OSError) as error:
            self._storage.forget(found.shelf, error)
            return False
        for name, (asked, created_ns, state) in found.consumers.items():
            consumer = self._consumer(stream, name, asked, created_ns, state)
            stream.add_consumer(consumer)
            consumer.start(True)
        stream.review(1, False)
        return True

    def _set_offline(self, found: Offline) -> None:
        self.offline[found.config.name] = found
        self._reservations.add(found.config)
        log.warning("  Detected unsupported stream '%s > %s': %s", self.account, found.config.name, found.reason)
        for name, reason in found.consumers.items():
            log.warning(
                "  Detected unsupported consumer '%s > %s > %s': %s", self.account, found.config.name, name, reason
            )

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
        for leaving in self._leaving:
            while leaving.step():
                pass
        for stream in list(self.streams.values()):
            try:
                stream.stop(False)
            except (OSError, StoreError) as error:  # the others are closed in order
                log.error("Stream '%s > %s' could not be closed: %s", self.account, stream.name, error)
            if positions.get(stream.name):
                self._keep_positions(stream, positions[stream.name])
        self.streams.clear()
        self.offline.clear()
        self._storage.close()
        self.turn.remove(self.commit)
        self.turn.remove(self.pump)

    # --- streams ---

    def names(self) -> Collection[str]:
        """Of all streams, offline ones too. If none is, the collection lives on."""
        return [*self.streams, *self.offline] if self.offline else self.streams

    def configs(self) -> Iterable[StreamConfig]:
        return itertools.chain(
            (stream.config for stream in self.streams.values()), (each.config for each in self.offline.values())
        )

    def stream(self, name: str) -> Stream:
        """Raises 10059 when there is none of this name, 10194 when it is offline."""
        found = self.streams.get(name)
        if found is None and name in self.offline:
            raise api_error("JSStreamOfflineReasonErrF", err=self.offline[name].reason)
        if found is None:
            raise api_error("JSStreamNotFoundErr")
        return found

    def open_stream(self, name: str, closed: str) -> Stream:
        """The same where one that is offline is told to be closed: by that error of the table."""
        if name in self.offline:
            raise api_error(closed, err="stream closed")
        return self.stream(name)

    def config_of(self, name: str) -> StreamConfig | None:
        """The configuration of a stream; None when there is none of that name."""
        stream = self.streams.get(name) or self.offline.get(name)
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
        if not stream.failure:
            try:
                self._shelves[stream.name].save(stored_stream(stream, positions), stream.fail_unless_kept)
            except (StoreError, OSError) as error:
                log.warning("positions of stream %s are kept another time: %s", stream.name, error)
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

    def create_stream(self, config: StreamConfig, done: Callable[[Stream, str], None]) -> None:
        """A checked configuration becomes a running stream; `done(stream, failure)` when that is durable, or when the
        disk has refused it: then there is no such stream."""
        if config.storage == "file" and NO_FILE_NAME in config.name:
            raise api_error("JSStreamCreateErrF", err="error creating store for stream")
        created_ns = self.clock.wall_ns
        shelf = self._storage.create(config)
        stream = self._open(config, created_ns, shelf)
        if config.first_seq > 1:
            stream.set_first_seq(config.first_seq)
        self._follow_others(stream)
        self._tell_followers(config.name)

        def durable(failure: str) -> None:
            if failure:
                self._take_back(stream, failure)
                done(stream, failure)
                return
            done(stream, "")
            self._begin_following(stream)
            self.advisories.stream_action(config.name, "create")

        try:
            shelf.save(stored_stream(stream, {}), durable)
        except (StoreError, OSError) as error:
            durable(str(error))
        self.turn.wake()

    def when_kept(self, stream: Stream, done: Done) -> None:
        """`done(failure)` when its configuration is durable, or cannot be."""
        self._shelves[stream.name].when_kept(done)

    def _take_back(self, stream: Stream, failure: str) -> None:
        """A stream that could not be created: who published to it meanwhile is refused."""
        is_there = self.streams.get(stream.name) is stream
        if not is_there:
            return
        stream.fail_unless_kept(failure)
        self._remove(stream, None)

    def _open(
        self, config: StreamConfig, created_ns: int, shelf: Shelf, window: tuple[Dedupe, bytes] | None = None,
        rolled_through: int = 0,
    ) -> Stream:
        """`window`: the message ids in the store, and the last message's; None: the stream finds out."""
        stream = Stream(
            config.name, config, created_ns, shelf.store, shelf.journal, self.router, self.turn,
            self.clock, self._storage.committer, self.pump, self.commit, self.domain,
        )  # fmt: skip
        stream.believe_rolled(rolled_through)
        if window is not None:
            stream.adopt_window(window[0])
        stream.use_batches(self.batches, self.advisories.batch_abandoned)
        stream.tell_damage = self.advisories.stream_damaged
        stream.use_bounds(*account_limits.publish_bounds(self.options))
        stream.use_room(self._rooms[config.storage], self._shares[config.storage])
        try:
            if window is not None:
                stream.start_restored(window[1])
            else:
                stream.start()
        except BaseException:
            stream.stop(False)
            raise
        self.streams[config.name] = stream
        self._reservations.add(config)
        self._shelves[config.name] = shelf
        return stream

    def check_room(self, config: StreamConfig) -> None:
        """What the account and the server have room for (account_limits). Raises the API's error."""
        account_limits.check_stream(self, config)

    def reserved_in(self, storage: str, but_for: str = "") -> int:
        """Bytes that the account's streams reserved in one kind of storage, but for the one of this name."""
        but_this = self.config_of(but_for)
        own = max(0, but_this.max_bytes) if but_this is not None and but_this.storage == storage else 0
        return self._reservations.reserved(storage) - own

    def server_limit(self, storage: str) -> int:
        """What the streams of all accounts may hold, in bytes; 0: any number."""
        return self.options.max_memory if storage == "memory" else self.options.max_file

    def may_reserve(self, storage: str, size: int) -> bool:
        """Is so much within what the server may hold?"""
        if 0 < self.server_limit(storage) < size:
            self._rooms[storage].refused()                 # which may raise the limit
        return not 0 < self.server_limit(storage) < size

    def check_overlap(self, config: StreamConfig) -> None:
        """Raises 10065 when another stream of the account listens on one of its subjects."""
        if self._reservations.overlap(config.subjects):          # perhaps with the stream itself, as it is now
            stream_rules.check_overlap(config, self.configs())

    def update_stream(self, stream: Stream, config: StreamConfig, done: Done) -> None:
        """`done(failure)` when it is durable, or cannot be. Raises the API's error when the disk has no room for it, or
        has failed; then nothing has changed."""
        if stream.failure:
            raise api_error("JSStreamUpdateErrF", err=stream.failure)
        self._shelves[config.name].check_room()
        self._reservations.drop(stream.config)
        self._reservations.add(config)
        stream.update(config)
        others = self._source_sets.get(stream.name)
        if others is not None:
            others.update(config)
        self._follow_others(stream)

        def durable(failure: str) -> None:
            done(failure or stream.failure)
            if not (failure or stream.failure):
                self._begin_following(stream)
                self.advisories.stream_action(config.name, "modify")

        def kept(failure: str) -> None:
            stream.fail_unless_kept(failure)
            stream.after_removals(lambda: stream.after_commit(durable))

        others = self._source_sets.get(stream.name)
        payload = stored_stream(stream, others.positions if others is not None else {})
        self._shelves[config.name].save(payload, kept)
        self.turn.wake()

    def delete_stream(self, stream: Stream, done: Done) -> None:
        """`done(failure)` when nothing is left of it, or when it may come back with the next start. Raises the API's
        error when the disk refuses; then nothing has changed."""
        condemn(self._shelves[stream.name], stream.name)
        self._remove(stream, self._deleted(stream.name, done))

    def _deleted(self, name: str, done: Done) -> Done:
        def durable(failure: str) -> None:
            done(failure)
            if not failure:
                self.advisories.stream_action(name, "delete")

        return durable

    def _remove(self, stream: Stream, done: Done | None) -> None:
        """`done` of a stream whose shelf is condemned; None: of one that is abandoned."""
        del self.streams[stream.name]
        self._reservations.drop(stream.config)
        others = self._source_sets.pop(stream.name, None)
        if others is not None:
            others.end(True)

        def tell(name: str) -> None:
            self.advisories.consumer_action(stream.name, name, "delete")

        leaving = Leaving(stream.retire(), tell, done or nobody)
        if leaving.step():
            self._leaving = [each for each in (*self._leaving, leaving) if not each.is_over]
            self.in_steps(leaving.step)

        def certain(failure: str) -> None:
            stream.fail_unless_kept(failure)
            stream.stop(True)

        shelf = self._shelves.pop(stream.name)
        if done is None:
            shelf.abandon(certain, self.in_steps)
        else:
            shelf.give_back(certain, leaving.emptied, self.in_steps)
        self.turn.wake()

    def delete_offline(self, found: Offline, done: Done) -> None:
        """As `delete_stream`."""
        condemn(found.shelf, found.config.name)
        del self.offline[found.config.name]
        self._reservations.drop(found.config)
        found.shelf.give_back(lambda _: None, self._deleted(found.config.name, done), self.in_steps)
        self.turn.wake()

    def remove_unrecovered(self, done: Done) -> None:
        """See Storage."""
        self._storage.remove_unrecovered(done, self.in_steps)
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
                state = shelf.journal.open_consumer(name, stored(consumer_to_json(made, managed=False), created_ns))
            restore_state(name, document, state)
            found.append(Restored(name=name, config=made, created_ns=created_ns, state=state))
        self.turn.wake()
        return found

    def is_settled(self, shelf: Shelf) -> bool:
        """Is everything in the store and in the journal durable?"""
        store, journal = shelf.store, shelf.journal
        kept = journal is None or journal.committed_position >= journal.position
        return bool(kept and store.committed_position >= store.position)

    def save_restored(self, config: StreamConfig, created_ns: int, shelf: Shelf, done: Done) -> None:
        rolled_through = int(shelf.store.state_dict()["last_seq"])
        shelf.save(stored(stream_to_json(config, managed=False), created_ns, rolled_through=rolled_through), done)
        self.turn.wake()

    def run_restored(
        self, config: StreamConfig, created_ns: int, shelf: Shelf, consumers: list[Restored],
        window: tuple[Dedupe, bytes],
    ) -> Stream:
        """What was restored begins to work."""
        stream = self._open(config, created_ns, shelf, window, int(shelf.store.state_dict()["last_seq"]))
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
        """A checked configuration becomes a running consumer; durable after the stream's next commit, or gone then."""
        created_ns = self.clock.wall_ns
        journal = stream.journal
        if journal is None or config.mem_storage or config.direct:
            state = ConsumerState()
        elif NO_FILE_NAME in name or journal.failure:
            raise api_error("JSConsumerCreateErrF", err=consumer_rules.NO_STORE)
        else:
            state = journal.open_consumer(name, stored(consumer_to_json(config, managed=False), created_ns))
        consumer = self._consumer(stream, name, config, created_ns, state)
        stream.add_consumer(consumer)
        consumer.start(False)

        def kept(failure: str) -> None:
            if not failure:
                return self.advisories.consumer_action(stream.name, name, "create")
            let_go(consumer)

        stream.after_commit(kept)
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

    def answer(self, step: Callable[[], bool], is_short: bool, size: int) -> None:
        """`step()` until it says that there is no more: at once when the work is short, else a step in each turn,
        behind those who asked before. size: bytes of the request, which are held until then."""
        if not is_short:
            return self.requests.add(step, size)
        while step():
            pass

    def _dropped(self, count: int) -> None:
        self.server_advisories.limit_reached(self.server_name, count)

    def has_interest(self, subject: str) -> bool:
        """Does anybody listen on this literal subject?"""
        return bool(self.router.py_has_interest(subject.encode()))

    def update_consumer(self, consumer: Consumer, config: ConsumerConfig) -> None:
        """A checked configuration takes effect; durable after the stream's next commit, or the old one again then."""
        old = consumer.config
        use_config(consumer, config)
        keep_or_undo(consumer, lambda: use_config(consumer, old))
        self.turn.wake()

    def delete_consumer(self, consumer: Consumer, done: Done) -> None:
        """`done(failure)` when nothing is left of it, or when it may come back with the next start."""
        stream = consumer.stream
        let_go(consumer)

        def durable(failure: str) -> None:
            if not failure:
                self.advisories.consumer_action(stream.name, consumer.name, "delete")
            done(failure)

        stream.after_commit(durable)
        self.turn.wake()

    def _inactive(self, consumer: Consumer) -> None:
        """A consumer nobody used for its inactive_threshold."""
        if consumer.stream.consumers.get(consumer.name) is consumer:
            self.delete_consumer(consumer, lambda failure: None)

    # --- figures ---

    def held_in(self, storage: str) -> int:
        """Bytes of the account's streams in one kind of storage."""
        return int(self._shares[storage].held)

    def usage(self) -> Usage:
        return usage_of(self)
