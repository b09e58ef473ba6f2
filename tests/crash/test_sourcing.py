"""Kill -9 while streams follow each other: every message comes over once, in its order, with what belongs to it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from millpond.store.directory import CATALOG
from tests.conformance.target import MILLPOND, Target
from tests.conformance.wire_client import Client, ConnectionGone

KILLS = 3
BURST = 1500
SOURCE = re.compile(r"Nats-Stream-Source: (\S+) (\d+) ")


@pytest.fixture
def server() -> Iterator[Target]:
    target = Target(MILLPOND).start()
    yield target
    target.discard()


def call(client: Client, verb: str, body: object = b"") -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return json.loads(client.request(f"$JS.API.{verb}", data).payload)


def create(client: Client, name: str, **config: object) -> None:
    answer = call(client, f"STREAM.CREATE.{name}", {"name": name, "storage": "file", **config})
    assert "error" not in answer, answer


def last_seq(client: Client, name: str) -> int:
    return call(client, f"STREAM.INFO.{name}")["state"]["last_seq"]


def until_last(client: Client, name: str, stream_seq: int) -> None:
    while last_seq(client, name) < stream_seq:
        pass


def burst(client: Client, first: int) -> None:
    """Sends a few thousand messages and waits for nothing."""
    for number in range(first, first + BURST):
        client.publish(f"o.{number % 5}", b"%d" % number, headers={"Nats-Msg-Id": str(number)})


def stored(client: Client, name: str) -> dict[int, tuple[str, str, bytes, str]]:
    """Everything in the stream: (subject, headers, body, time) by sequence."""
    state = call(client, f"STREAM.INFO.{name}")["state"]
    found = {}
    for stream_seq in range(state["first_seq"], state["last_seq"] + 1):
        message = call(client, f"STREAM.MSG.GET.{name}", {"seq": stream_seq}).get("message")
        if message is not None:
            headers = base64.b64decode(message.get("hdrs", "")).decode()
            body = base64.b64decode(message.get("data", ""))
            found[stream_seq] = (message["subject"], headers, body, message["time"])
    assert len(found) == state["messages"]
    return found


def test_followers_survive_kills(server: Target) -> None:
    client = server.connect()
    create(client, "O", subjects=["o.>"])
    burst(client, 0)
    client.request("o.end", b"end")
    for stream_seq in range(1, 400, 3):
        call(client, "STREAM.MSG.DELETE.O", {"seq": stream_seq})
    create(client, "M", mirror={"name": "O"})
    create(client, "S", sources=[{"name": "O", "filter_subject": "o.1"}, {"name": "O", "filter_subject": "o.2"}])
    create(client, "C", sources=[{"name": "M", "subject_transforms": [{"src": "o.*", "dest": "c.{{wildcard(1)}}.x"}]}])
    for kill in range(KILLS):
        before = last_seq(client, "M")
        burst(client, (kill + 1) * BURST)
        until_last(client, "M", before + 300)      # somewhere in the middle
        server.restart(kill=True)
        client = server.connect()
    burst(client, (KILLS + 1) * BURST)
    client.request("o.end", b"end")
    until_last(client, "M", last_seq(client, "O"))
    origin, mirror = stored(client, "O"), stored(client, "M")
    assert mirror == origin, "sequences, times and all"
    settled(client, "S", ("o.1", "o.2"), mirror, origin)
    settled(client, "C", (), mirror, origin)


def settled(
    client: Client, name: str, subjects: tuple[str, ...], mirror: dict[int, Any], origin: dict[int, Any]
) -> None:
    """The stream has each message of its sources once. What was deleted at the origin may be there or not."""
    wanted = {seq: row for seq, row in origin.items() if not subjects or row[0] in subjects}
    while call(client, f"STREAM.INFO.{name}")["state"]["messages"] < len(wanted):
        pass
    while len(have := brought(client, name)) < len(wanted) or max(have) < max(wanted):
        pass
    assert have.keys() >= wanted.keys(), "nothing is lost"
    for stream_seq, (subject, headers, body, _) in have.items():
        was = mirror[stream_seq]
        own = was[1].removesuffix("\r\n") or "NATS/1.0\r\n"
        assert (body, headers[: headers.index("Nats-Stream-Source")]) == (was[2], own)
        assert subject == (was[0] if subjects else f"c.{was[0][2:]}.x")


def brought(client: Client, name: str) -> dict[int, Any]:
    """What sources brought, by the origin's sequence; fails when a message came twice or in a wrong order."""
    found: dict[int, Any] = {}
    last_of: dict[str, int] = {}
    for message in stored(client, name).values():
        words = SOURCE.search(message[1])
        assert words is not None
        stream_seq, subject = int(words[2]), message[0]
        assert stream_seq not in found, f"{name} has {stream_seq} twice"
        assert stream_seq > last_of.get(subject, 0), "in the order of the origin"
        found[stream_seq], last_of[subject] = message, stream_seq
    return found


@pytest.mark.parametrize("kill", [True, False])
def test_a_work_queue_is_drained_into_a_stream(server: Target, kill: bool) -> None:
    """What the origin deletes when it is acknowledged is on disk at the other side by then."""
    client = server.connect()
    create(client, "W", subjects=["w.>"], retention="workqueue")
    create(client, "S", sources=[{"name": "W"}])
    for number in range(2000):
        client.publish("w.x", b"%d" % number)
    client.request("w.x", b"2000")
    until_last(client, "S", 300)
    server.restart(kill=kill)
    client = server.connect()
    until_last(client, "S", 2001)
    client.request("w.x", b"2001")
    until_last(client, "S", 2002)
    assert [int(message[2]) for message in stored(client, "S").values()] == list(range(2002))


def test_the_server_may_die_between_any_two(server: Target) -> None:
    """A connection that is gone is part of the test, not of its failure."""
    client = server.connect()
    create(client, "O", subjects=["o"])
    create(client, "M", mirror={"name": "O", "opt_start_seq": 3})
    for number in range(10):
        client.request("o", b"%d" % number)
    server.stop(kill=True)
    with pytest.raises((ConnectionGone, OSError)):
        client.request("o", b"nobody")
    server.start()
    client = server.connect()
    until_last(client, "M", 10)
    assert list(stored(client, "M")) == list(range(3, 11))


@pytest.mark.parametrize("kill", [True, False])
def test_a_source_goes_on_though_its_messages_have_left(server: Target, kill: bool) -> None:
    """A target that was drained does not begin again, and does not jump to now."""
    client = server.connect()
    create(client, "O", subjects=["o"])
    create(client, "S", sources=[{"name": "O"}], retention="workqueue")
    for number in range(200):
        client.publish("o", b"%d" % number)
    config = {"durable_name": "C", "ack_policy": "explicit"}
    call(client, "CONSUMER.DURABLE.CREATE.S.C", {"stream_name": "S", "config": config})
    assert drained(client, 200) == list(range(200))
    if kill:
        until_kept(server, 200)
    server.stop(kill=kill)
    server.start()
    client = server.connect()
    for number in range(200, 210):
        client.publish("o", b"%d" % number)
    assert drained(client, 10) == list(range(200, 210))
    assert call(client, "STREAM.INFO.S")["state"]["last_seq"] == 210


def drained(client: Client, count: int) -> list[int]:
    """Takes and acknowledges so many."""
    client.publish("$JS.API.CONSUMER.MSG.NEXT.S.C", b'{"batch":%d,"expires":20000000000}' % count, client.new_reply())
    frames = [client.next_message(sid="1") for _ in range(count)]
    for frame in frames[:-1]:
        client.publish(frame.reply, b"+ACK")
    client.request(frames[-1].reply, b"+ACK")
    return [int(frame.payload) for frame in frames]


def until_kept(server: Target, stream_seq: int) -> None:
    """A kill may bring back what came in the second before it: waits until the position is on disk."""
    wanted = b'"positions":{"O > >":[%d,' % stream_seq
    while not any(wanted in path.read_bytes() for path in server.root.rglob(f"{CATALOG}.*") if path.is_file()):
        pass


def test_nothing_is_lost_when_a_drained_target_is_killed(server: Target) -> None:
    """What was acknowledged in the second before the kill may come again; what was not comes."""
    client = server.connect()
    create(client, "O", subjects=["o"])
    for number in range(2000):
        client.publish("o", b"%d" % number)
    client.request("o", b"2000")
    create(client, "S", sources=[{"name": "O"}], retention="workqueue")
    config = {"durable_name": "C", "ack_policy": "explicit", "ack_wait": 500_000_000}
    call(client, "CONSUMER.DURABLE.CREATE.S.C", {"stream_name": "S", "config": config})
    seen = set(drained(client, 300))
    for _ in range(2):
        server.restart(kill=True)
        client = server.connect()
        seen.update(drained(client, 300))
    while seen != set(range(2001)):
        left = call(client, "CONSUMER.INFO.S.C")
        seen.update(drained(client, max(1, left["num_pending"] + left["num_ack_pending"])))
