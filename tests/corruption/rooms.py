"""An account's engine over a store directory, without a server: what the campaign opens tens of thousands of times."""

from __future__ import annotations

import functools
import json
import logging
from pathlib import Path
from typing import Any

from millpond.base.clock import ManualClock
from millpond.broker.router import Router
from millpond.broker.sink import CallableSink
from millpond.broker.turn import Turn
from millpond.store.disk import REAL, Disk
from millpond.store.file_store import FileStore

from millpond.config.options import JetStreamOptions
from millpond.jetstream import shelf
from millpond.jetstream.api.registry import Api
from millpond.jetstream.engine import Engine
from millpond.jetstream.storage import Storage

SEGMENT_BYTES = 16 * 1024
"""Of the smallest segments, so that a small store has several; each of them gets a summary once it is sealed."""


class Told(logging.Handler):
    """What the log says at WARNING and above, as lines."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Rooms:
    """The engine over `directory`, recovered; `told` is what it logged meanwhile."""

    def __init__(
        self, directory: Path, sync: str = "always", segment_bytes: int = SEGMENT_BYTES, disk: Disk = REAL
    ) -> None:
        self.told = Told()
        self._log = logging.getLogger("millpond")
        self._before = self._log.propagate, self._log.level
        self._log.propagate = False
        self._log.setLevel(logging.WARNING)
        self._log.addHandler(self.told)
        self._store = shelf.FileStore
        shelf.FileStore = functools.partial(FileStore, segment_bytes=segment_bytes, summary_bytes=1)
        options = JetStreamOptions(store_dir=str(directory), sync=sync)
        self.clock = ManualClock()
        self.router, self.turn = Router(), Turn(self.clock)
        self.storage = Storage(options, directory, disk=disk)
        self.engine = Engine(options, self.storage, self.router, self.turn, "here")
        self.advisories: list[tuple[bytes, bytes]] = []
        self.answers: list[tuple[bytes, bytes, bytes]] = []
        self._subscriptions = [
            self.router.subscribe(b"re.>", CallableSink(self._take)),
            self.router.subscribe(b"$JS.EVENT.ADVISORY.>", CallableSink(self._hear)),
        ]
        self.engine.recover()

    @functools.cached_property
    def api(self) -> Api:
        """For whoever makes requests; to judge a store takes none."""
        return Api(self.engine, self.router, self.engine.advisories, server_name="", domain="")

    def _take(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
        self.answers.append((reply, hdr, body))

    def _hear(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
        self.advisories.append((subject, body))

    def turns(self) -> None:
        """Until nothing is left to do or to commit."""
        while True:
            while self.turn.finish_now():
                pass
            if not self.storage.committer.in_flight() and not self.storage.committer.py_stands_still():
                return
            self.storage.committer.drain()

    def publish(self, subject: bytes, body: bytes = b"", reply: bytes = b"", **headers: str) -> None:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self.router.publish(subject, body, reply, f"NATS/1.0\r\n{lines}\r\n".encode() if headers else b"")

    def request(self, subject: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request of the API and its answer."""
        assert self.api
        self.answers.clear()
        self.router.publish(b"$JS.API." + subject.encode(), json.dumps(body or {}).encode(), b"re.1")
        self.turns()
        answer: dict[str, Any] = json.loads(self.answers[-1][2])
        assert "error" not in answer, answer
        return answer

    def slot_of(self, name: str) -> str:
        """The folder of a file stream."""
        return str(self.engine._shelves[name].slot.name)

    def seal(self) -> None:
        """What is sealed and proven has its summary, and is packed where that was asked for."""
        self.storage.read_cache.packer.drain()
        self.turns()

    def close(self) -> None:
        try:
            if "api" in self.__dict__:
                self.api.close()
            self.engine.stop()
            for subscription in self._subscriptions:       # the router's hold is hidden from the collector
                self.router.unsubscribe(subscription)
        finally:
            shelf.FileStore = self._store
            self._log.removeHandler(self.told)
            self._log.propagate = self._before[0]
            self._log.setLevel(self._before[1])
