"""What is stored and asks for more than this server knows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from millpond.base.clock import ManualClock
from millpond.broker.broker import Broker
from millpond.store.catalog import Catalog
from millpond.store.committer import Committer

from millpond.config.options import JetStreamOptions, Options
from millpond.jetstream.config_wire import CONSUMER_FIELDS, STREAM_FIELDS
from millpond.jetstream.engine import Engine
from millpond.jetstream.go_json import Shape
from millpond.jetstream.offline import understood
from millpond.jetstream.storage import Storage
from millpond.jetstream.stream_config import StreamConfig
from millpond.store.directory import CATALOG

STREAM, CONSUMER = Shape("StreamConfig", STREAM_FIELDS), Shape("ConsumerConfig", CONSUMER_FIELDS)


@pytest.mark.parametrize("stored, shape, reason", [
    ({"name": "S"}, STREAM, ""),
    ({"name": "S", "metadata": {"_nats.req.level": "5"}}, STREAM, ""),
    ({"name": "S", "metadata": {"_nats.req.level": "6"}}, STREAM,
     "unsupported - required API level: 6, current API level: 5"),
    ({"name": "S", "metadata": {"_nats.req.level": "new"}}, STREAM,
     "unsupported - required API level: new, current API level: 5"),
    ({"name": "S", "more": 1, "metadata": {"_nats.req.level": "6"}}, STREAM,
     'unsupported - config error: unknown field "more"'),
    ({"name": "S", "more": 1}, STREAM, 'decoding error: json: unknown field "more"'),
    ({"durable_name": "C", "more": {}}, CONSUMER, 'decoding error: json: unknown field "more"'),
])  # fmt: skip
def test_why_it_cannot_run(stored: dict[str, Any], shape: Shape, reason: str) -> None:
    values, why = understood(json.dumps(stored).encode(), shape)
    assert why == reason
    assert values["durable_name" if shape is CONSUMER else "name"] in {"S", "C"}


class Server:
    """JetStream of one account on a directory."""

    def __init__(self, directory: Path) -> None:
        self.options = JetStreamOptions(store_dir=str(directory), sync="never")
        self.directory = directory
        self.start()

    def start(self) -> None:
        self.broker = Broker(Options(jetstream=self.options), ManualClock())
        self.storage = Storage(self.options, self.directory)
        self.engine = Engine(self.options, self.storage, self.broker.router, self.broker.turn, "here")
        self.engine.recover()

    def turns(self) -> None:
        while self.broker.turn.finish_now():
            pass

    def create(self, name: str) -> None:
        config = StreamConfig(name=name, subjects=[name], storage="file", num_replicas=1)
        told: list[str] = []
        self.engine.create_stream(config, lambda stream, failure: told.append(failure))
        self.turns()
        assert told == [""]

    def rewrite(self, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Another server has stored it so."""
        self.engine.stop()
        committer = Committer("never")
        for slot in self.directory.glob("jetstream/$G/streams/*"):
            catalog = Catalog(str(slot / CATALOG), committer)
            stored = json.loads(catalog.load() or b"")
            if stored["config"]["name"] == name:
                change(stored["config"])
                catalog.save(json.dumps(stored).encode(), lambda _: None)
                committer.drain()
            catalog.close()
        committer.close()
        self.start()


def test_unknown_fields_put_a_stream_offline(tmp_path: Path) -> None:
    server = Server(tmp_path)
    for name in ("OLD", "NEW"):
        server.create(name)
    server.rewrite("NEW", lambda config: config.update(sparkles=True))
    assert list(server.engine.streams) == ["OLD"]
    assert server.engine.offline["NEW"].reason == 'decoding error: json: unknown field "sparkles"'
    assert server.engine.usage().streams == 2
    server.engine.stop()
    server.start()
    assert list(server.engine.offline) == ["NEW"], "nothing was touched"
    done: list[str] = []
    server.engine.delete_offline(server.engine.offline["NEW"], done.append)
    server.turns()
    assert done == [""]
    server.engine.stop()
    server.start()
    assert list(server.engine.streams) == ["OLD"] and not server.engine.offline
    server.engine.stop()


def test_values_that_cannot_be_read_stop_one_stream_and_not_the_server(tmp_path: Path) -> None:
    server = Server(tmp_path)
    for name in ("OLD", "NEW"):
        server.create(name)
    server.rewrite("NEW", lambda config: config.update(retention="forever"))
    assert list(server.engine.streams) == ["OLD"]
    assert server.storage.unrecovered == ["NEW"]
    server.engine.stop()


@pytest.mark.parametrize("metadata, there", [(None, True), ({}, True), ([], False), ("text", False), ({"a": 1}, False)])
def test_metadata_of_another_kind_stops_one_stream_at_most(tmp_path: Path, metadata: object, there: bool) -> None:
    server = Server(tmp_path)
    for name in ("OLD", "NEW"):
        server.create(name)
    server.rewrite("NEW", lambda config: config.update(metadata=metadata))
    assert sorted(server.engine.streams) == (["NEW", "OLD"] if there else ["OLD"])
    assert server.storage.unrecovered == ([] if there else ["NEW"])
    if there:
        assert server.engine.streams["NEW"].config.metadata == {}
    server.engine.stop()


def test_a_configuration_without_a_name_stops_one_stream(tmp_path: Path) -> None:
    server = Server(tmp_path)
    for name in ("OLD", "NEW"):
        server.create(name)
    server.rewrite("NEW", lambda config: config.pop("name"))
    assert list(server.engine.streams) == ["OLD"] and not server.engine.offline
    assert server.storage.unrecovered == ["0001"]
    server.engine.stop()


def test_what_an_offline_stream_reserves_is_reserved(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.create("NEW")
    server.rewrite("NEW", lambda config: config.update(sparkles=True, max_bytes=1000))
    assert server.engine.usage().reserved_storage == server.engine.reserved_in("file") == 1000
    server.engine.stop()
