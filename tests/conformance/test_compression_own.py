"""Streams whose segments are compressed on disk: everything that reads a stream reads them too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from millpond.cli import store

from .backups import give, messages, take
from .target import MILLPOND, Target
from .wire_client import Client

MESSAGES = 2000
LOOKS_MAX = 20_000


@pytest.fixture
def server() -> Iterator[Target]:
    target = Target(MILLPOND).start()
    yield target
    target.discard()


def ask(client: Client, verb: str, body: Any = None) -> Any:
    answer = json.loads(client.request(f"$JS.API.{verb}", json.dumps(body).encode() if body else b"").payload)
    assert "error" not in answer, answer
    return answer


def state(client: Client, name: str) -> dict[str, Any]:
    found: dict[str, Any] = ask(client, f"STREAM.INFO.{name}")["state"]
    return found


def body(number: int) -> bytes:
    return b'{"number": %d, "state": "open", "items": ["a", "b"]}' % number * 6


def forms(server: Target) -> list[int]:
    """The version in each segment's head, of the stream in the first slot."""
    (slot,) = (server.root / "store").glob("jetstream/*/streams/0000")
    return [int.from_bytes(path.read_bytes()[4:6], "little") for path in sorted(slot.glob("log.*"))]


def wait_until_packed(server: Target, client: Client, count: int) -> None:
    """Another message proves what came before it; then it is a matter of the worker, and of requests meanwhile."""
    client.request("orders.9", b"proof")
    for _ in range(LOOKS_MAX):
        if forms(server).count(2) >= count:
            return
        state(client, "ORDERS")
    raise AssertionError(f"segments stay as they are: {forms(server)}")


def everything(client: Client, name: str) -> dict[int, tuple[str, bytes]]:
    last = state(client, name)["last_seq"]
    found = {}
    for seq in range(1, last + 1):
        frame = client.request(f"$JS.API.DIRECT.GET.{name}", b'{"seq":%d}' % seq)
        if b" 404 " not in frame.headers:
            subject = next(line for line in frame.headers.decode().split("\r\n") if line.startswith("Nats-Subject"))
            found[seq] = (subject, frame.payload)
    return found


def test_a_stream_is_the_same_compressed(server: Target, capsys: pytest.CaptureFixture[str]) -> None:
    config = {"name": "ORDERS", "subjects": ["orders.*"], "storage": "file", "allow_direct": True}
    with server.connect() as client:
        ask(client, "STREAM.CREATE.ORDERS", config)
        for number in range(1, MESSAGES + 1):
            client.request(f"orders.{number % 5}", body(number))
        ask(client, "STREAM.MSG.DELETE.ORDERS", {"seq": 77, "no_erase": True})
        before, plain = state(client, "ORDERS"), everything(client, "ORDERS")
        assert len(plain) == MESSAGES - 1 and set(forms(server)) == {1}
        ask(client, "STREAM.UPDATE.ORDERS", {**config, "compression": "s2"})
        wait_until_packed(server, client, 2)
        assert everything(client, "ORDERS").items() >= plain.items()
        assert state(client, "ORDERS")["bytes"] == before["bytes"] + 22 + len("orders.9") + len(b"proof") + 8
        ask(client, "STREAM.CREATE.COPY", {
            "name": "COPY", "storage": "file", "mirror": {"name": "ORDERS"}, "allow_direct": True, "compression": "s2",
        })  # fmt: skip
        for _ in range(LOOKS_MAX):
            if state(client, "COPY")["last_seq"] == MESSAGES + 1:
                break
        assert everything(client, "COPY") == everything(client, "ORDERS")
        archive = take(client, "ORDERS").archive
        assert [content for *_, content in messages(archive) if body(1500) in content]
        ask(client, "STREAM.MSG.DELETE.ORDERS", {"seq": 100})
    server.restart(kill=True)
    with server.connect() as client:
        assert forms(server).count(2) >= 1
        left = everything(client, "ORDERS")
        assert left.keys() == plain.keys() - {100} | {MESSAGES + 1}
        assert all(left[seq] == plain[seq] for seq in plain.keys() & left.keys())
        ask(client, "STREAM.UPDATE.ORDERS", {**config, "compression": "none"})
        assert everything(client, "ORDERS") == left
        ask(client, "STREAM.DELETE.COPY")
        ask(client, "STREAM.DELETE.ORDERS")
        assert "error" not in give(client, "ORDERS", config, archive)
        restored = everything(client, "ORDERS")
        assert {seq: restored[seq] for seq in plain} == plain
    server.stop()
    assert store.main(["verify", str(server.root / "store")]) == 0
    assert "all sound" in capsys.readouterr().out


def test_tools_name_what_a_damaged_block_held(server: Target, capsys: pytest.CaptureFixture[str]) -> None:
    with server.connect() as client:
        ask(client, "STREAM.CREATE.ORDERS", {
            "name": "ORDERS", "subjects": ["orders.*"], "storage": "file", "allow_direct": True, "compression": "s2",
        })  # fmt: skip
        for number in range(1, MESSAGES + 1):
            client.request(f"orders.{number % 5}", body(number))
        wait_until_packed(server, client, 2)
        plain = everything(client, "ORDERS")
    server.stop()
    assert store.main(["dump", str(server.root / "store")]) == 0
    dumped = capsys.readouterr().out
    assert "orders.3" in dumped
    (slot,) = (server.root / "store").glob("jetstream/*/streams/0000")
    _, path = [path for path in sorted(slot.glob("log.*")) if path.read_bytes()[4:6] == b"\x02\x00"][:2]
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 4 : len(damaged) // 4 + 3] = bytes(3)  # one flipped bit would be mended
    path.write_bytes(damaged)
    assert store.main(["verify", str(server.root / "store"), "--json"]) == 1
    (stream,) = json.loads(capsys.readouterr().out)["streams"]
    (finding,) = stream["damage"]
    first, last = finding["lost"]
    assert finding["file"] == path.name and 10 < last - first < 200
    server.start()
    with server.connect() as client:
        left = everything(client, "ORDERS")
        assert left == {seq: row for seq, row in plain.items() if not first <= seq <= last}
