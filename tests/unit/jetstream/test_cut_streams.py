"""Consumers of a stream whose last write a crash has taken: its sequences are issued again, and they get them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from millpond.base.clock import ManualClock
from millpond.broker.broker import Broker
from millpond.broker.sink import CallableSink

from millpond.config.options import JetStreamOptions, Options
from millpond.jetstream.api.registry import Api
from millpond.jetstream.engine import Engine
from millpond.jetstream.storage import Storage

CONSUMER = {"durable_name": "C", "name": "C", "ack_policy": "explicit"}


class Account:
    """Stream `S`. `got`: sequences that consumer `C` has delivered."""

    def __init__(self, directory: Path) -> None:
        options = Options(jetstream=JetStreamOptions(store_dir=str(directory), sync="never"))
        self.broker = Broker(options, ManualClock())
        self.storage = Storage(options.jetstream, directory)
        self.engine = Engine(options.jetstream, self.storage, self.broker.router, self.broker.turn, "here")
        self.engine.recover()
        self.api = Api(self.engine, self.broker.router, self.engine.advisories, server_name="", domain="")
        self.got: list[int] = []
        self.broker.router.subscribe(b"in", CallableSink(self._take))

    def _take(self, subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
        if reply:
            self.got.append(int(reply.split(b".")[5]))

    def request(self, verb: str, body: dict[str, object]) -> None:
        self.broker.router.publish(b"$JS.API." + verb.encode(), json.dumps(body).encode(), b"answer", b"")
        while self.broker.turn.finish_now():
            pass

    def publish(self) -> None:
        self.broker.router.publish(b"s", b"x", b"", b"")
        while self.broker.turn.finish_now():
            pass

    def pull(self) -> list[int]:
        self.broker.router.publish(b"$JS.API.CONSUMER.MSG.NEXT.S.C", b'{"batch":10,"no_wait":true}', b"in", b"")
        while self.broker.turn.finish_now():
            pass
        return self.got

    def stop(self) -> None:
        self.api.close()
        self.engine.stop()


def crashed(folder: Path, last_steps: Callable[[Account], None]) -> Account:
    """What `last_steps` did to the consumers' journal is on disk, what they did to the log is not."""
    account = Account(folder / "run")
    account.request("STREAM.CREATE.S", {"name": "S", "subjects": ["s"], "storage": "file"})
    account.publish()
    shutil.copytree(folder / "run", folder / "cut")
    last_steps(account)
    slot = Path("jetstream") / "$G" / "streams" / "0000"
    for journal in (folder / "run" / slot).glob("consumers.*"):
        shutil.copy(journal, folder / "cut" / slot)
    account.stop()
    return Account(folder / "cut")


def purge(account: Account) -> None:
    account.request("CONSUMER.CREATE.S.C", {"stream_name": "S", "config": CONSUMER})
    account.request("STREAM.PURGE.S", {"seq": 20})


def publish_before_it_is_made(account: Account) -> None:
    account.publish()
    account.publish()
    account.request("CONSUMER.CREATE.S.C", {"stream_name": "S", "config": {**CONSUMER, "deliver_policy": "new"}})


@pytest.mark.parametrize("last_steps", [purge, publish_before_it_is_made])
def test_a_consumer_that_was_ahead_gets_what_is_published_next(
    tmp_path: Path, last_steps: Callable[[Account], None]
) -> None:
    account = crashed(tmp_path, last_steps)
    assert account.engine.streams["S"].state()["last_seq"] == 1
    account.publish()
    assert 2 in account.pull()
    account.stop()


def begin_later(account: Account) -> None:
    config = {**CONSUMER, "deliver_policy": "by_start_sequence", "opt_start_seq": 4}
    account.request("CONSUMER.CREATE.S.C", {"stream_name": "S", "config": config})


def test_a_consumer_that_was_to_begin_further_on_still_does(tmp_path: Path) -> None:
    account = crashed(tmp_path, begin_later)
    for _ in range(4):
        account.publish()
    assert account.pull() == [4, 5]
    account.stop()
