"""A new consumer delivers nothing, and refuses nothing, before its creation is answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_rig import Rig
from millpond.broker.sink import CallableSink

NEXT = b"$JS.API.CONSUMER.MSG.NEXT.H.c"


@pytest.fixture(params=["memory", "file"])
def rig(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rig]:
    made = Rig(tmp_path)
    made.stream("H", [b"H.%d" % number for number in range(3)], storage=request.param)
    made.answers.clear()
    yield made
    made.close()


def create(rig: Rig, **config: object) -> None:
    rig.ask("CONSUMER.CREATE.H.c", stream_name="H", config={"name": "c", "ack_policy": "none", **config})


def kinds(rig: Rig) -> list[str]:
    """What came, in order."""
    return [_kind(hdr, body) for hdr, body in rig.answers]


def _kind(hdr: bytes, body: bytes) -> str:
    return "created" if body.startswith(b"{") else (body or hdr.split(b"\r\n")[0]).decode()


def test_what_is_pushed_comes_behind_the_answer(rig: Rig) -> None:
    rig.broker.router.subscribe(b"push", CallableSink(rig._take))
    create(rig, deliver_subject="push")
    rig.turns()
    assert kinds(rig) == ["created", "x", "x", "x"]
    assert json.loads(rig.answers[0][1])["num_pending"] == 3


def test_a_pull_that_comes_with_the_creation_waits_for_the_answer(rig: Rig) -> None:
    create(rig)
    rig.broker.router.publish(NEXT, json.dumps({"batch": 5, "no_wait": True}).encode(), b"re.pull")
    rig.turns()
    assert kinds(rig) == ["created", "x", "x", "x", "NATS/1.0 404 No Messages"]


def test_a_change_of_a_consumer_holds_nothing(rig: Rig) -> None:
    create(rig)
    rig.turns()
    rig.answers.clear()
    rig.broker.router.publish(NEXT, b"1", b"re.pull")
    create(rig, description="changed")
    rig.turns()
    assert sorted(kinds(rig)) == ["created", "x"]
