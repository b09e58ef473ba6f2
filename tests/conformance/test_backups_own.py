"""What Millpond promises of snapshots and restores beyond nats-server: hidden until whole, gone when it fails."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from .backups import begin, give, messages, take
from .compare import clean
from .target import MILLPOND, Target
from .wire_client import Client

CONFIG = {"name": "OWN", "subjects": ["own.>"], "storage": "file"}


@pytest.fixture(scope="module")
def server() -> Iterator[Target]:
    target = Target(MILLPOND).start()
    yield target
    target.discard()


@pytest.fixture
def client(server: Target) -> Iterator[Client]:
    clean(server)
    with server.connect() as connection:
        yield connection


def ask(client: Client, verb: str, body: Any = None) -> Any:
    return json.loads(client.request(f"$JS.API.{verb}", json.dumps(body).encode() if body else b"").payload)


def filled(client: Client, count: int = 40, size: int = 2000, **config: Any) -> None:
    assert "error" not in ask(client, "STREAM.CREATE.OWN", {**CONFIG, **config})
    for number in range(count):
        client.request(f"own.{number}", random.Random(number).randbytes(size))


def slots(server: Target) -> list[str]:
    """Every file in the store that belongs to a stream."""
    return sorted(path.name for path in (server.root / "store").glob("jetstream/*/streams/*/*"))


def half_restored(client: Client, archive: bytes) -> str:
    """Where the second half of the archive goes; the first is taken and answered."""
    deliver = begin(client, "OWN", CONFIG)["deliver_subject"]
    for at in range(0, len(archive) // 2, 4096):
        assert client.request(deliver, archive[at : at + 4096]).payload == b""
    return deliver


def test_nothing_is_seen_of_a_restore_before_its_end(server: Target, client: Client):
    filled(client)
    archive = take(client, "OWN").archive
    ask(client, "STREAM.DELETE.OWN")
    deliver = half_restored(client, archive)
    assert ask(client, "STREAM.NAMES")["streams"] is None
    assert ask(client, "STREAM.INFO.OWN")["error"]["err_code"] == 10059
    assert client.request("own.1", b"x").status == "503"
    for at in range(len(archive) // 2 // 4096 * 4096 + 4096, len(archive), 4096):
        client.request(deliver, archive[at : at + 4096])
    assert json.loads(client.request(deliver).payload)["state"]["messages"] == 40


@pytest.mark.parametrize("config", [CONFIG, {**CONFIG, "name": "OTHER"}], ids=["name", "subjects"])
def test_who_creates_the_stream_meanwhile_wins(client: Client, config: dict[str, Any]):
    filled(client)
    archive = take(client, "OWN").archive
    ask(client, "STREAM.DELETE.OWN")
    deliver = half_restored(client, archive)
    assert "error" not in ask(client, f"STREAM.CREATE.{config['name']}", config)
    client.request(deliver, archive[len(archive) // 2 // 4096 * 4096 + 4096 :])
    error = json.loads(client.request(deliver).payload)["error"]
    if config is CONFIG:
        assert error["err_code"] == 10130
    else:
        assert error["description"].startswith("restore failed: error adding stream: subjects overlap"), error
    assert ask(client, f"STREAM.INFO.{config['name']}")["state"]["messages"] == 0


def test_a_killed_server_leaves_nothing_of_a_restore(server: Target):
    clean(server)
    with server.connect() as client:
        filled(client)
        archive = take(client, "OWN").archive
        ask(client, "STREAM.DELETE.OWN")
        half_restored(client, archive)
        assert "released" in slots(server)
    server.restart(kill=True)
    assert slots(server) == []
    with server.connect() as client:
        assert "error" not in give(client, "OWN", CONFIG, archive)


def test_a_failed_restore_leaves_nothing(server: Target, client: Client):
    filled(client)
    archive = take(client, "OWN").archive
    ask(client, "STREAM.DELETE.OWN")
    broken = archive[: len(archive) // 2] + bytes(100) + archive[len(archive) // 2 + 100 :]
    assert give(client, "OWN", CONFIG, broken)["error"]["err_code"] == 10062
    assert set(slots(server)) <= {"released"}, "a mark goes with the next sync"
    assert ask(client, "INFO")["storage"] == 0


def test_a_stopped_server_leaves_nothing_of_a_restore(server: Target):
    clean(server)
    with server.connect() as client:
        filled(client)
        archive = take(client, "OWN").archive
        ask(client, "STREAM.DELETE.OWN")
        half_restored(client, archive)
    server.restart()
    assert slots(server) == []


def test_a_snapshot_is_of_the_moment_it_began(client: Client):
    """The window is full after the first chunk: everything else is read after the stream has changed."""
    filled(client, max_msgs_per_subject=1)
    deliver = "own_archive"
    client.subscribe(deliver)
    body = {"deliver_subject": deliver, "chunk_size": 4096, "window_size": 4096}
    state = ask(client, "STREAM.SNAPSHOT.OWN", body)["state"]
    frame = client.next_message(deliver)
    for number in range(10, 60):
        client.request(f"own.{number}", b"later")   # takes the place of those that are not read yet
    assert ask(client, "STREAM.PURGE.OWN")["success"]
    archive = b""
    while frame.payload:
        archive += frame.payload
        if frame.reply:
            client.publish(frame.reply)
        frame = client.next_message(deliver)
    found = [(name, seq, content) for name, _, seq, content in messages(archive) if seq]
    expected = [(f"own.{n}", n + 1, random.Random(n).randbytes(2000)) for n in range(40)]
    assert found == expected
    assert state["last_seq"] == 40
    ask(client, "STREAM.DELETE.OWN")
    restored = give(client, "OWN", CONFIG, archive)["state"]
    assert (restored["messages"], restored["last_seq"]) == (40, 40)


def test_a_stream_deleted_during_its_snapshot_ends_it(client: Client):
    filled(client)
    deliver = "own_archive"
    client.subscribe(deliver)
    ask(client, "STREAM.SNAPSHOT.OWN", {"deliver_subject": deliver, "chunk_size": 4096, "window_size": 4096})
    frame = client.next_message(deliver)
    ask(client, "STREAM.DELETE.OWN")
    client.publish(frame.reply)
    end = client.next_message(deliver)
    assert (end.payload, end.status) == (b"", "500 stream closed")


def test_many_gaps(client: Client):
    """As a bucket has them: of most sequences nothing is left."""
    filled(client, 1, max_msgs_per_subject=1)
    for number in range(3000):
        client.publish(f"own.{number % 37 if number % 3 else number}", b"%d" % number)
    client.request("own.end", b"")
    before = ask(client, "STREAM.INFO.OWN", {"deleted_details": True, "subjects_filter": ">"})["state"]
    archive = take(client, "OWN").archive
    ask(client, "STREAM.DELETE.OWN")
    config = {**CONFIG, "max_msgs_per_subject": 1}
    assert "error" not in give(client, "OWN", config, archive)
    assert ask(client, "STREAM.INFO.OWN", {"deleted_details": True, "subjects_filter": ">"})["state"] == before


def test_message_ids_are_known_behind_a_restore(client: Client):
    ask(client, "STREAM.CREATE.OWN", CONFIG)
    for number in range(3):
        client.request("own.a", b"x", {"Nats-Msg-Id": f"id{number}"})
    archive = take(client, "OWN").archive
    ask(client, "STREAM.DELETE.OWN")
    assert "error" not in give(client, "OWN", CONFIG, archive)
    answer = json.loads(client.request("own.a", b"x", {"Nats-Msg-Id": "id1"}).payload)
    assert (answer["seq"], answer.get("duplicate")) == (2, True)
    headers = {"Nats-Msg-Id": "new", "Nats-Expected-Last-Msg-Id": "id2"}
    assert json.loads(client.request("own.a", b"x", headers).payload)["seq"] == 4


def test_no_more_than_so_many_at_a_time(client: Client):
    filled(client)
    answers = [begin(client, f"R{number}", {"name": f"R{number}"}) for number in range(17)]
    assert [answer.get("error", {}).get("err_code") for answer in answers] == [None] * 16 + [10023]
    for answer in answers[:16]:
        client.request(answer["deliver_subject"])
    assert "error" not in take(client, "OWN").answer
