"""An account's engine over a store directory, without a server: what the campaign opens tens of thousands of times."""

from __future__ import annotations

import functools
import json
import logging
import unittest.mock
from pathlib import Path
from typing import Any

from millpond.base.clock import ManualClock
from millpond.broker.broker import Broker
from millpond.broker.sink import CallableSink
from millpond.store.file_store import FileStore

from millpond.broker import broker
from millpond.config.options import JetStreamOptions, Options
from millpond.jetstream import shelf
from millpond.jetstream.api.registry import Api
from millpond.jetstream.engine import Engine
from millpond.jetstream.storage import Storage

CURVE_KEY = "X" * 56
"""No server's: nobody asks, and to reckon one takes as long as to open a store."""
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

    def __init__(self, directory: Path, sync: str = "always", segment_bytes: int = SEGMENT_BYTES) -> None:
        self.told = Told()
        self._log = logging.getLogger("millpond")
        self._before = self._log.propagate, self._log.level
        self._log.propagate = False
        self._log.setLevel(logging.WARNING)
        self._log.addHandler(self.told)
        self._store = shelf.FileStore
        shelf.FileStore = functools.partial(FileStore, segment_bytes=segment_bytes, summary_bytes=1)
        options = Options(jetstream=JetStreamOptions(store_dir=str(directory), sync=sync))
        self.clock = ManualClock()
        with unittest.mock.patch.object(broker, "curve_key", lambda secret: CURVE_KEY):
            self.broker = Broker(options, self.clock)
        self.storage = Storage(options.jetstream, directory)
        self.engine = Engine(options.jetstream, self.storage, self.broker.router, self.broker.turn, "here")
        self.advisories: list[tuple[bytes, bytes]] = []
        self.answers: list[tuple[bytes, bytes, bytes]] = []
        self.broker.router.subscribe(b"re.>", CallableSink(self._take))
        self.broker.router.subscribe(b"$JS.EVENT.ADVISORY.>", CallableSink(self._hear))
        self.engine.recover()
        self.api = Api(self.engine, self.broker.router, self.engine.advisories, server_name="", domain="")

    def _take(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
        self.answers.append((reply, hdr, body))

    def _hear(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
        self.advisories.append((subject, body))

    def turns(self) -> None:
        """Until nothing is left to do or to commit."""
        while True:
            while self.broker.turn.finish_now():
                pass
            if not self.storage.committer.in_flight():
                return
            self.storage.committer.drain()

    def publish(self, subject: bytes, body: bytes = b"", reply: bytes = b"", **headers: str) -> None:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self.broker.router.publish(subject, body, reply, f"NATS/1.0\r\n{lines}\r\n".encode() if headers else b"")

    def request(self, subject: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request of the API and its answer."""
        self.answers.clear()
        self.broker.router.publish(b"$JS.API." + subject.encode(), json.dumps(body or {}).encode(), b"re.1")
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
            self.api.close()
            self.engine.stop()
        finally:
            shelf.FileStore = self._store
            self._log.removeHandler(self.told)
            self._log.propagate = self._before[0]
            self._log.setLevel(self._before[1])
