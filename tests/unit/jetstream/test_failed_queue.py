"""A work queue whose log could not be synced: its consumers' acknowledgements are taken, its messages stay."""

from __future__ import annotations

import errno
import json
from pathlib import Path

from millpond.base.clock import ManualClock
from millpond.broker.broker import Broker
from millpond.broker.sink import CallableSink
from millpond.testing.simulated_disk import SimulatedDisk

from millpond.config.options import JetStreamOptions, Options
from millpond.jetstream.api.registry import Api
from millpond.jetstream.engine import Engine
from millpond.jetstream.storage import Storage


class Account:
    """`replies`: where what consumer `C` of stream `Q` has delivered is to be acknowledged."""

    def __init__(self, directory: Path) -> None:
        self.disk = SimulatedDisk(str(directory))
        options = Options(jetstream=JetStreamOptions(store_dir=str(directory)))
        self.broker = Broker(options, ManualClock())
        self.storage = Storage(options.jetstream, directory, disk=self.disk)
        self.engine = Engine(options.jetstream, self.storage, self.broker.router, self.broker.turn, "here")
        self.engine.recover()
        self.api = Api(self.engine, self.broker.router, self.engine.advisories, server_name="", domain="")
        self.replies: list[bytes] = []
        self.answers: list[bytes] = []
        self.broker.router.subscribe(b"in", CallableSink(self._take))
        self.broker.router.subscribe(b"answer", CallableSink(self._answered))

    def _take(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
        self.replies.append(reply)

    def _answered(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
        self.answers.append(body)

    def publish(self, subject: bytes, body: bytes, reply: bytes = b"answer") -> None:
        self.broker.router.publish(subject, body, reply, b"")
        for _ in range(3):
            while self.broker.turn.finish_now():
                pass
            self.storage.committer.drain()

    def request(self, verb: str, body: dict[str, object]) -> None:
        self.publish(b"$JS.API." + verb.encode(), json.dumps(body).encode())

    def stop(self) -> None:
        self.api.close()
        self.engine.stop()


def test_an_acknowledgement_is_taken_and_the_next_start_removes_the_message(tmp_path: Path) -> None:
    account = Account(tmp_path)
    account.request("STREAM.CREATE.Q", {"name": "Q", "subjects": ["q"], "storage": "file", "retention": "workqueue"})
    config = {"durable_name": "C", "name": "C", "ack_policy": "explicit"}
    account.request("CONSUMER.CREATE.Q.C", {"stream_name": "Q", "config": config})
    account.publish(b"q", b"kept")
    account.publish(b"$JS.API.CONSUMER.MSG.NEXT.Q.C", b'{"batch":1,"no_wait":true}', b"in")
    errors = [errno.EIO]
    account.disk.fault = lambda kind: errors.pop() if kind == "sync" and errors else 0
    account.answers.clear()
    account.publish(b"q", b"refused")
    assert len(account.answers) == 1 and b'"err_code":10047' in account.answers[0]
    account.publish(account.replies[0], b"+ACK")
    assert account.engine.streams["Q"].state()["messages"] == 2
    account.stop()
    account = Account(tmp_path)
    account.publish(b"nobody", b"")
    store = account.engine.streams["Q"].store
    assert store.load_message(1) is None and store.check() == []
    account.stop()
