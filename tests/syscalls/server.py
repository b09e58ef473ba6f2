"""An account in one process - engine, API, storage - on a disk that numbers its calls, through all its lives.

Nothing happens but by the calls here: a request takes effect when it is sent, what is gathered is written in a turn,
syncs end in `settle`. Times (`now`, `Taken.at`) are in steps of the disk's trace, so that of every moment it is known
who had been answered by then.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from millpond.base.clock import ManualClock
from millpond.broker.router import Router
from millpond.broker.sink import CallableSink
from millpond.broker.turn import Turn
from millpond.store.file_store import FileStore
from millpond.store.scrubbing import Scrub
from millpond.testing.model_store import finish
from millpond.testing.numbered_disk import NumberedDisk
from millpond.testing.simulated_disk import SimulatedDisk

from millpond.config.options import JetStreamOptions
from millpond.jetstream import shelf, storage
from millpond.jetstream.api.registry import Api
from millpond.jetstream.engine import Engine
from millpond.jetstream.storage import Storage
from millpond.store.space import Space

INBOX = b"in."
SEGMENT_BYTES = 8192
SUMMARY_BYTES = 4096
"""Small, so that a few messages fill a segment: they are begun, compressed, compacted and let go all the time."""
TURNS_MAX = 10_000
COLD_EVERY = 7
"""So many reads that must not wait: one of them is of what is not in memory."""
Files = dict[str, bytes | None]
"""By path; None: a directory."""
Asked = Callable[[int, str, str], int]
"""(number of the call, kind, path) -> errno, or 0."""


class Taken(NamedTuple):
    """An answer, and the length of the trace when it left."""

    at: int
    reply: bytes
    hdr: bytes
    body: bytes


class Stuck(AssertionError):
    """There is always more to do."""


class Server:
    """`files` are put into `folder`, where nothing else is. `start` it; `asked` hears of every call of the disk."""

    def __init__(self, folder: Path, files: Files, begin_ns: int, asked: Asked) -> None:
        self.folder, self.before = folder, files
        put_files(folder, files)
        self.clock = ManualClock(begin_ns)
        self.disk = SimulatedDisk(str(folder))
        self.found = self.disk.files()
        self.disk.cold = self._is_cold
        self._reads = self.calls = 0
        self._asked = asked
        self._life: NumberedDisk | None = None
        self.storage: Any = None
        self.requests = 0
        self.taken: dict[int, list[Taken]] = {}

    def _is_cold(self) -> bool:
        self._reads += 1
        return self._reads % COLD_EVERY == 0

    def _number(self, number: int, kind: str, path: str) -> int:
        self.calls += 1
        return self._asked(self.calls, kind, path[len(str(self.folder)) :])

    @property
    def now(self) -> int:
        """How much has happened to the disk."""
        return len(self.disk.trace)

    # --- lives ---

    def start(self) -> None:
        """Raises what a server says that does not start; then there is none."""
        self._life, self.storage = NumberedDisk(self.disk, self._number), None
        self.turn, self.router = Turn(self.clock), Router()
        options = JetStreamOptions(store_dir=str(self.folder), sync="always")
        self._subscriptions: list[Any] = []
        try:
            self.storage = Storage(options, self.folder, disk=self._life)
            self.engine = Engine(options, self.storage, self.router, self.turn, "simulated")
            self.engine.recover()
        except BaseException:
            self.end()
            raise
        self.api = Api(self.engine, self.router, self.engine.advisories, server_name="", domain="")
        self._subscribe(INBOX + b">", self._take)

    def _subscribe(self, subject: bytes, take: Any) -> None:
        self._subscriptions.append(self.router.subscribe(subject, CallableSink(take)))

    def stop(self) -> None:
        """An orderly stop, whatever the disk says to it."""
        self.api.close()
        try:
            self.engine.stop()
        finally:
            self.end()

    def kill(self) -> None:
        """The end of the process: nothing more is written, and its descriptors are closed."""
        self.end()

    def end(self) -> None:
        assert self._life is not None
        if self.storage is not None:
            self.storage.read_cache.close()      # the packer's files, which are closed with what it does
        self._life.die()
        for subscription in self._subscriptions:
            self.router.unsubscribe(subscription)
        self._subscriptions.clear()
        for _ in range(2):                       # its cache, which no collector sees, lets go of all that has gone
            self.router.publish(b"nobody", b"")

    # --- requests ---

    def _take(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
        number = int(subject.split(b".")[1])
        self.taken.setdefault(number, []).append(Taken(self.now, reply, hdr, body))

    def publish(self, subject: bytes, body: bytes = b"", hdr: bytes = b"", tail: bytes = b"") -> int:
        """Asks for an answer; the number under which it comes."""
        self.requests += 1
        self.router.publish(subject, body, INBOX + str(self.requests).encode() + tail, hdr)
        return self.requests

    def request(self, verb: str, body: dict[str, Any] | None = None) -> int:
        return self.publish(b"$JS.API." + verb.encode(), b"" if body is None else json.dumps(body).encode())

    def collect_at(self, subject: bytes) -> int:
        """What comes to a subject; the number under which it does."""
        self.requests += 1
        number = self.requests

        def take(subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
            self.taken.setdefault(number, []).append(Taken(self.now, reply, hdr, body))

        self._subscribe(subject, take)
        return number

    def pull(self, stream: str, consumer: str, batch: int) -> int:
        """Messages have subjects of their own, so each pull has a subscription of its own. What comes has `reply`."""
        inbox = b"pulls.%d" % (self.requests + 1)
        number = self.collect_at(inbox)
        asked = b'{"batch":%d,"no_wait":true}' % batch
        self.router.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}".encode(), asked, inbox)
        return number

    # --- time ---

    def turns(self) -> None:
        """Until nothing is left to do but for the disk."""
        for _ in range(TURNS_MAX):
            if not finish(self.turn):
                return
        raise Stuck("turns do not end")

    def settle(self) -> None:
        """Until nothing is left to do, on disk neither."""
        for _ in range(3):
            self.turns()
            self.storage.read_cache.drain()
            self.storage.committer.drain()

    def pack(self) -> None:
        """What the packer has to do is done."""
        self.storage.read_cache.packer.drain()

    def advance(self, ns: int) -> None:
        self.clock.advance(ns / 1e9)
        self.settle()

    def scrub(self, name: str) -> None:
        """Every sealed segment of a stream is read."""
        scrub = Scrub(self.engine.streams[name].store, lambda read: None)
        while scrub.begin():
            self.pack()
            while scrub.is_suspicious and scrub.check_part():
                pass
        scrub.close()

    def make_room(self) -> bool:
        """As the timer does while the disk is full."""
        room = bool(self.storage.committer.space.probe())
        self.storage.committer.retry()
        self.settle()
        return room


@contextmanager
def small_files(seed: int = 1) -> Iterator[None]:
    """Segments are small, and chance comes from a seed."""
    rng = Random(seed)
    before = os.urandom, shelf.FileStore, storage.Space
    os.urandom = rng.randbytes
    shelf.FileStore = partial(FileStore, segment_bytes=SEGMENT_BYTES, summary_bytes=SUMMARY_BYTES)  # type: ignore[misc,assignment]
    storage.Space = partial(Space, reserve_bytes=SEGMENT_BYTES)  # type: ignore[misc,assignment]
    try:
        yield
    finally:
        os.urandom, shelf.FileStore, storage.Space = before  # type: ignore[misc]


def put_files(folder: Path, files: Files) -> None:
    """They are in `folder`, and nothing else is."""
    root = str(folder)
    for path, data in sorted(files.items()):
        if data is None:
            if path:
                os.mkdir(root + path)
        else:
            fd = os.open(root + path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
            os.write(fd, data)
            os.close(fd)
