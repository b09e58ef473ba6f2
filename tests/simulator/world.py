"""An account in one process - engine, API, storage - whose disk, clock and chance are simulated.

Nothing happens but by the calls here: a request takes effect when it is sent, what is gathered is written in a turn,
syncs end when `collect` lets them. `sent` and `taken` are in steps of the disk's trace, so that of every moment it is
known who had been answered by then.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache, partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from millpond.base.clock import ManualClock
from millpond.broker.router import Router
from millpond.broker.sink import CallableSink
from millpond.broker.turn import Turn
from millpond.store.file_store import FileStore
from millpond.testing.memory_disk import MemoryDisk
from millpond.testing.model_store import finish
from millpond.testing.simulated_disk import File, SimulatedDisk

from millpond.config.options import JetStreamOptions
from millpond.jetstream import recovered, shelf, storage, stored
from millpond.jetstream.api.registry import Api
from millpond.jetstream.engine import Engine
from millpond.jetstream.go_json import Shape
from millpond.jetstream.storage import Storage
from millpond.store.space import Space

FOLDER = Path("/simulated")
"""Of every world: each has a disk of its own, in memory."""
PROCESS_ID = 12345
INBOX = b"in."
SEGMENT_BYTES = 8192
SUMMARY_BYTES = 4096
"""Small, so that a few messages fill a segment: they are begun, compressed, compacted and let go all the time."""
Files = dict[str, bytes | None]
"""By path; None: a directory."""


class Taken(NamedTuple):
    """An answer, and the length of the trace when it left."""

    at: int
    reply: bytes
    hdr: bytes
    body: bytes


class Killed(NamedTuple):
    """What the next one finds of a disk: its files by path, and its trace."""

    known: dict[str, Any]
    trace: Sequence[Any]


class World:
    """`rng` decides when syncs end and in which order, and which reads have to wait. `begin_ns`: the clock's.

    `killed`: somebody was, and this one goes on with what was in memory.
    """

    def __init__(self, rng: Random, files: Files, begin_ns: int, killed: Killed | None = None) -> None:
        self.rng, self.before = rng, files
        if killed is None:
            killed = Killed({path: File() for path, data in files.items() if data is not None}, ())
        known, trace = killed
        self.found_trace = trace
        self.found: dict[str, File | None] = {path: known.get(path) for path in files}
        """What there was at the beginning; directories are None."""
        self.clock = ManualClock(begin_ns)
        self.disk = SimulatedDisk(str(FOLDER), known, trace, MemoryDisk(str(FOLDER), files))
        self.disk.cold = lambda: rng.random() < 0.1
        self.disk.pieces = lambda size: rng.randint(1, size) if rng.random() < 0.02 else size
        self.patient = True
        self.stalled = 0
        """For so many turns hardly a sync ends."""
        self.disk.next_job = self._next_job
        self.failed = False
        """Has the disk refused something? From then on requests may be."""
        self.failed_at = 0
        self._careful = False
        self.requests = 0
        self.taken: dict[int, list[Taken]] = {}
        self.turn, self.router = Turn(self.clock), Router()
        options = JetStreamOptions(store_dir=str(FOLDER), sync="always")
        self.storage = Storage(options, FOLDER, disk=self.disk)
        self.engine = Engine(options, self.storage, self.router, self.turn, "simulated")
        self.engine.recover()
        self._pulls: list[Any] = []
        self._inbox = self.router.subscribe(INBOX + b">", CallableSink(self._take))

    @cached_property
    def api(self) -> Api:
        """Made for the first request: most worlds are only looked at."""
        return Api(self.engine, self.router, self.engine.advisories, server_name="", domain="")

    def _next_job(self) -> int:
        if self.patient:
            return self.rng.choice((0, 0, 1))
        if self.stalled:
            return -1 if self.rng.random() < 0.95 else 1
        return self.rng.choice((-1, 0, 1))

    def fail(self, kind: str, later: int, error: int) -> None:
        """The disk will refuse the one of these steps that comes after `later` others, once."""
        left = later
        self._careful = kind not in ("sync", "write")

        def fault(asked: str) -> int:
            nonlocal left
            if asked != kind or self.failed:
                return 0
            left -= 1
            self.failed = left < 0
            self.failed_at = self.now
            return error if self.failed else 0

        self.disk.fault = fault

    def _take(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
        number = int(subject.split(b".")[1])
        self.taken.setdefault(number, []).append(Taken(self.now, reply, hdr, body))

    @property
    def is_full(self) -> bool:
        """What needs room, or a descriptor, may be refused, and the next one not: there is none, or it was not noticed
        yet that there is some again."""
        return self._careful or self.disk.free is not None or self.storage.committer.space.full

    @property
    def now(self) -> int:
        """How much has happened to the disk."""
        return len(self.disk.trace)

    # --- requests ---

    def publish(self, subject: bytes, body: bytes = b"", hdr: bytes = b"", tail: bytes = b"") -> int:
        """Asks for an answer; the number under which it comes."""
        self.requests += 1
        self.router.publish(subject, body, INBOX + str(self.requests).encode() + tail, hdr)
        return self.requests

    def request(self, verb: str, body: dict[str, Any] | None = None) -> int:
        assert self.api
        return self.publish(b"$JS.API." + verb.encode(), b"" if body is None else json.dumps(body).encode())

    def pull(self, stream: str, consumer: str, batch: int) -> int:
        """Messages have subjects of their own, so each pull has a subscription of its own. What comes has `reply`."""
        assert self.api
        self.requests += 1
        number, inbox = self.requests, b"pulls.%d" % self.requests

        def take(subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
            self.taken.setdefault(number, []).append(Taken(self.now, reply, hdr, body))

        self._pulls.append(self.router.subscribe(inbox, CallableSink(take)))
        asked = b'{"batch":%d,"no_wait":true}' % batch
        self.router.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}".encode(), asked, inbox)
        return number

    def hear(self, subject: bytes, take: Callable[..., None]) -> None:
        self._pulls.append(self.router.subscribe(subject, CallableSink(take)))

    def ask(self, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        number = self.request(verb, body)
        self.settle()
        return dict(json.loads(self.taken.pop(number)[0].body))

    # --- time ---

    def step(self) -> None:
        """A turn; perhaps some syncs end before it."""
        self.patient = False
        self.stalled = max(0, self.stalled - 1)
        if self.rng.random() < 0.6:
            self.storage.committer.collect()
        if self.rng.random() < 0.5:
            self.storage.read_cache.collect()
        finish(self.turn)
        self.patient = True

    def settle(self) -> None:
        """Until nothing is left to do, on disk neither."""
        for _ in range(3):
            while finish(self.turn):
                pass
            self.storage.read_cache.drain()
            self.storage.committer.drain()

    def pack(self) -> None:
        """What the packer has to do is done."""
        self.storage.read_cache.packer.drain()

    def advance(self, ns: int) -> None:
        self.clock.advance(ns / 1e9)
        self.settle()

    def probe(self) -> None:
        """As the server does, when the disk was full."""
        self.storage.committer.space.probe()
        self.storage.committer.retry()
        self.settle()

    def stop(self) -> None:
        """An orderly stop."""
        if "api" in self.__dict__:
            self.api.close()
        self.engine.stop()
        self.forget()

    def forget(self) -> None:
        """Somebody else goes on from what the disk holds. What is in memory goes, and what it would do to the disk."""
        for subscription in (self._inbox, *self._pulls):
            self.router.unsubscribe(subscription)
        for _ in range(2):                       # its cache, which no collector sees, lets go of all that has gone
            self.router.publish(b"nobody", b"")


# Configurations are read at every start and are few: what was made of one is remembered.
name_and_time = lru_cache(1000)(shelf.name_and_time)
_streams: dict[bytes, Any] = {}
_understood: dict[tuple[int, bytes], tuple[dict[str, Any], str]] = {}


def read_stream(written: bytes) -> Any:
    if written not in _streams:
        _streams[written] = stored.read_stream(written)
    return _streams[written]


def understood(written: bytes, shape: Shape, read: Any = stored.understood) -> tuple[dict[str, Any], str]:
    key = id(shape), written
    if key not in _understood:
        _understood[key] = read(written, shape)
    values, reason = _understood[key]
    return dict(values), reason


def forget_configurations() -> None:
    """Another seed has others."""
    _streams.clear()
    _understood.clear()


@contextmanager
def simulated(seed: int) -> Iterator[None]:
    """Chance comes from the seed, segments are small, and the process id, which a file holds, is always the same."""
    forget_configurations()
    rng = Random(seed)
    before = os.urandom, os.getpid, shelf.FileStore, storage.Space
    reading = recovered.read_stream, stored.understood, shelf.name_and_time
    recovered.read_stream, stored.understood = read_stream, understood  # type: ignore[assignment]
    shelf.name_and_time = storage.name_and_time = name_and_time  # type: ignore[assignment]
    os.urandom, os.getpid = rng.randbytes, lambda: PROCESS_ID
    shelf.FileStore = partial(FileStore, segment_bytes=SEGMENT_BYTES, summary_bytes=SUMMARY_BYTES)  # type: ignore[misc,assignment]
    storage.Space = partial(Space, reserve_bytes=SEGMENT_BYTES)  # type: ignore[misc,assignment]
    try:
        yield
    finally:
        os.urandom, os.getpid, shelf.FileStore, storage.Space = before  # type: ignore[misc]
        recovered.read_stream, stored.understood, shelf.name_and_time = reading
        storage.name_and_time = reading[2]
