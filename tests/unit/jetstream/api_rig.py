"""One account's engine and its API, on a clock that stands still."""

from __future__ import annotations

import json
from pathlib import Path

from millpond.base.clock import ManualClock
from millpond.broker.broker import Broker
from millpond.broker.sink import CallableSink
from millpond.testing.model_store import finish

from millpond.config.options import JetStreamOptions, Options
from millpond.jetstream.api.registry import Api
from millpond.jetstream.engine import Engine
from millpond.jetstream.storage import Storage


class Rig:
    """`answers` holds (header block, body) in order of arrival."""

    def __init__(self, directory: Path) -> None:
        options = Options(jetstream=JetStreamOptions(store_dir=str(directory), sync="never"))
        self.broker = Broker(options, ManualClock())
        storage_ = Storage(options.jetstream, directory)
        self.engine = Engine(options.jetstream, storage_, self.broker.router, self.broker.turn, "here")
        self.engine.recover()
        self.api = Api(self.engine, self.broker.router, self.engine.advisories, server_name="", domain="")
        self.answers: list[tuple[bytes, bytes]] = []
        self.broker.router.subscribe(b"re.>", CallableSink(self._take))

    def _take(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
        self.answers.append((hdr, body))

    def turns(self) -> None:
        while self.broker.turn.finish_now():
            pass

    def one_turn(self) -> bool:
        """Returns whether work remains."""
        return bool(finish(self.broker.turn))

    def stream(self, name: str, subjects: list[bytes], **config: object) -> None:
        """Has one message on each of these."""
        body = {"name": name, "subjects": [name + ".>"], "storage": "memory", **config}
        self.request("STREAM.CREATE." + name, json.dumps(body).encode())
        for subject in subjects:
            self.broker.router.publish(subject, b"x")
        self.turns()

    def ask(self, subject: str, **body: object) -> None:
        """Sends a request, whose answer comes into `answers`; no turn is taken."""
        self.broker.router.publish(b"$JS.API." + subject.encode(), json.dumps(body).encode(), b"re.1")

    def request(self, subject: str, body: bytes = b"", hdr: bytes = b"") -> list[tuple[bytes, bytes]]:
        self.answers.clear()
        self.broker.router.publish(b"$JS.API." + subject.encode(), body, b"re.1", hdr)
        self.turns()
        return list(self.answers)

    def close(self) -> None:
        self.api.close()
        self.engine.stop()
