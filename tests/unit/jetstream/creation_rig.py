"""One account whose syncs are answered when a test says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from millpond.base.clock import ManualClock
from millpond.broker.broker import Broker
from millpond.broker.sink import CallableSink
from millpond.store.disk import REAL, Disk
from tests.readiness import readable

from millpond.config.options import JetStreamOptions, Options
from millpond.jetstream.api.registry import Api
from millpond.jetstream.engine import Engine
from millpond.jetstream.storage import Storage


class Rig:
    """One account. Syncs are answered when `settle` says so; `answers` by the number of the request."""

    def __init__(self, directory: Path, disk: Disk = REAL) -> None:
        self.options = Options(jetstream=JetStreamOptions(store_dir=str(directory)))
        self.directory, self.disk = directory, disk
        self.answers: dict[int, dict[str, Any]] = {}
        self.asked = 0
        self.start()

    def start(self) -> None:
        assert self.options.jetstream is not None
        self.broker = Broker(self.options, ManualClock())
        self.storage = Storage(self.options.jetstream, self.directory, disk=self.disk)
        self.engine = Engine(self.options.jetstream, self.storage, self.broker.router, self.broker.turn, "here")
        self.engine.recover()
        self.api = Api(self.engine, self.broker.router, self.engine.advisories, server_name="", domain="")
        self.broker.router.subscribe(b"re.*", CallableSink(self._take))

    def _take(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
        number = int(subject.removeprefix(b"re."))
        assert number not in self.answers, "one answer is enough"
        self.answers[number] = json.loads(body)

    def ask(self, subject: str, body: dict[str, Any] | None = None) -> int:
        """The request takes effect; it may be answered by now."""
        self.asked += 1
        payload = json.dumps(body).encode() if body is not None else b""
        self.broker.router.publish(b"$JS.API." + subject.encode(), payload, b"re.%d" % self.asked, b"")
        self.turns()
        return self.asked

    def create(self, name: str = "A", **config: object) -> int:
        return self.ask(f"STREAM.CREATE.{name}", {"name": name, "subjects": [name], **config})

    def turns(self) -> None:
        while self.broker.turn.finish_now():
            pass

    def settle(self) -> None:
        """Everything that waits for the disk has its answer."""
        committer = self.storage.committer
        while committer.in_flight() or committer.py_stands_still():
            readable(committer.event_fd)
            committer.collect()
            self.turns()

    def restart(self) -> None:
        self.stop()
        self.start()

    def stop(self) -> None:
        self.api.close()
        self.engine.stop()
