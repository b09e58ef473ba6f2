"""What a consumer confirmed before kill -9 is so after it: every kind of ack, resets, pauses, exhausted messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.target import MILLPOND, Target
from tests.conformance.wire_client import Client, Frame

MS_NS = 1_000_000


@pytest.fixture
def server() -> Iterator[Target]:
    target = Target(MILLPOND).start()
    yield target
    target.discard()


def call(client: Client, verb: str, body: object = b"") -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = json.loads(client.request(f"$JS.API.{verb}", data).payload)
    assert "error" not in answer, answer
    return answer


def filled(client: Client, count: int, **config: object) -> None:
    call(client, "STREAM.CREATE.S", {"name": "S", "subjects": ["s"], "storage": "file"})
    for number in range(count):
        client.request("s", b"%d" % number)
    call(client, "CONSUMER.DURABLE.CREATE.S.c", {"stream_name": "S", "config": {"durable_name": "c", **config}})


def pull(client: Client, count: int) -> list[Frame]:
    client.publish("$JS.API.CONSUMER.MSG.NEXT.S.c", b'{"batch":%d,"expires":5000000000}' % count, client.new_reply())
    return [client.next_message(sid="1") for _ in range(count)]


def killed(server: Target) -> Client:
    server.restart(kill=True)
    return server.connect()


@pytest.mark.parametrize("kind", [b"+ACK", b"", b"+OK", b"+TERM gone"])
def test_confirmed_acks(server: Target, kind: bytes) -> None:
    client = server.connect()
    filled(client, 6, ack_policy="explicit", ack_wait=200 * MS_NS)
    got = pull(client, 6)
    for number in (0, 3, 5):
        client.request(got[number].reply, kind)
    client = killed(server)
    assert call(client, "CONSUMER.INFO.S.c")["num_ack_pending"] == 3
    assert [frame.payload for frame in pull(client, 3)] == [b"1", b"2", b"4"]


def test_confirmed_ack_of_everything_below(server: Target) -> None:
    client = server.connect()
    filled(client, 6, ack_policy="all", ack_wait=200 * MS_NS)
    client.request(pull(client, 6)[3].reply, b"+ACK")
    client = killed(server)
    info = call(client, "CONSUMER.INFO.S.c")
    assert (info["ack_floor"]["stream_seq"], info["num_ack_pending"]) == (4, 2)
    assert [frame.payload for frame in pull(client, 2)] == [b"4", b"5"]


def test_confirmed_delay(server: Target) -> None:
    """A message put off for long does not come back with the others when their wait is over."""
    client = server.connect()
    filled(client, 3, ack_policy="explicit", ack_wait=300 * MS_NS)
    client.request(pull(client, 3)[1].reply, b"-NAK 1h")
    client = killed(server)
    assert [frame.payload for frame in pull(client, 2)] == [b"0", b"2"]
    client.publish("$JS.API.CONSUMER.MSG.NEXT.S.c", b'{"no_wait":true}', client.new_reply())
    assert client.next_message(sid="1").status == "404 No Messages"


def test_reset_pause_and_exhausted(server: Target) -> None:
    client = server.connect()
    filled(client, 4, ack_policy="explicit", max_deliver=1, ack_wait=100 * MS_NS)
    advisories = client.subscribe("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>")
    pull(client, 1)
    client.next_message(sid=advisories)
    call(client, "CONSUMER.PAUSE.S.c", {"pause_until": "2100-01-01T00:00:00Z"})
    client = killed(server)
    info = call(client, "CONSUMER.INFO.S.c")
    assert info["paused"] and (info["num_ack_pending"], info["delivered"]["stream_seq"]) == (0, 1)
    call(client, "CONSUMER.PAUSE.S.c")
    assert call(client, "CONSUMER.RESET.S.c", {"seq": 3})["reset_seq"] == 3
    client = killed(server)
    assert "paused" not in call(client, "CONSUMER.INFO.S.c")
    assert [frame.payload for frame in pull(client, 2)] == [b"2", b"3"]
