"""A stream with many consumers is deleted: they leave in turns, and hear of nothing from the beginning on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from api_rig import Rig
from millpond.broker.sink import CallableSink

from millpond.base import limits

CROWD = 3 * limits.CONSUMERS_STOPPED_PER_STEP
ASK = b"$JS.API.CONSUMER.MSG.NEXT.W."


@pytest.fixture(params=["memory", "file"])
def rig(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rig]:
    made = Rig(tmp_path)
    crowd(made, storage=request.param)
    yield made
    made.close()


def crowd(rig: Rig, consumers: int = CROWD, **config: object) -> None:
    """Each of them has a pull that waits."""
    rig.stream("W", [], **config)
    for number in range(consumers):
        body = {"stream_name": "W", "config": {"durable_name": f"c{number}", "ack_policy": "explicit"}}
        rig.request(f"CONSUMER.DURABLE.CREATE.W.c{number}", json.dumps(body).encode())
        rig.broker.router.publish(ASK + b"c%d" % number, b"", b"re.pull")
    rig.answers.clear()


def advisories(rig: Rig) -> list[bytes]:
    heard: list[bytes] = []
    sink = CallableSink(lambda subject, *rest: heard.append(subject.removeprefix(b"$JS.EVENT.")))
    rig.broker.router.subscribe(b"$JS.EVENT.ADVISORY.*.DELETED.>", sink)
    return heard


def ended(rig: Rig) -> int:
    """How many pulls were told."""
    return sum(b"409 Consumer Deleted" in hdr for hdr, _ in rig.answers)


def listened_to(rig: Rig) -> int:
    return sum(rig.broker.router.py_has_interest(b"$JS.ACK.W.c%d.x" % number) for number in range(CROWD))


def test_they_leave_in_shares_and_then_the_deletion_is_answered(rig: Rig) -> None:
    heard = advisories(rig)
    rig.ask("STREAM.DELETE.W")
    told = [ended(rig)]
    while rig.one_turn():
        told.append(ended(rig))
    told.append(ended(rig))
    assert max(after - before for before, after in pairwise(told)) <= limits.CONSUMERS_STOPPED_PER_STEP
    assert told[0] == limits.CONSUMERS_STOPPED_PER_STEP and told[-1] == CROWD and listened_to(rig) == 0
    assert json.loads(rig.answers[-1][1])["success"] and len(rig.answers) == CROWD + 1
    assert heard == [*(b"ADVISORY.CONSUMER.DELETED.W.c%d" % number for number in range(CROWD)),
                     b"ADVISORY.STREAM.DELETED.W"]  # fmt: skip


def test_nothing_is_delivered_once_the_deletion_has_begun(rig: Rig) -> None:
    rig.ask("STREAM.DELETE.W")
    assert 0 < listened_to(rig) < CROWD
    rig.broker.router.publish(b"W.k", b"x")
    rig.broker.router.publish(ASK + b"c%d" % (CROWD - 1), b"", b"re.late")
    rig.turns()
    assert ended(rig) == CROWD and len(rig.answers) == CROWD + 1


def test_the_next_stream_of_that_name_has_its_own(rig: Rig) -> None:
    storage = rig.engine.stream("W").config.storage
    rig.ask("STREAM.DELETE.W")
    for request, body in (
        ("STREAM.CREATE.W", {"name": "W", "subjects": ["W.>"], "storage": storage}),
        (f"CONSUMER.DURABLE.CREATE.W.c{CROWD - 1}",
         {"stream_name": "W", "config": {"durable_name": f"c{CROWD - 1}", "ack_policy": "explicit"}}),
    ):  # fmt: skip
        rig.ask(request, **body)
    rig.broker.router.publish(ASK + b"c%d" % (CROWD - 1), b"", b"re.new")
    rig.broker.router.publish(b"W.k", b"x")
    rig.turns()
    assert rig.answers.count((b"", b"x")) == 1 and ended(rig) == CROWD
    assert rig.engine.stream("W").state()["messages"] == 1
    assert list(rig.engine.stream("W").consumers) == [f"c{CROWD - 1}"] and listened_to(rig) == 1


def test_the_server_stops_while_they_leave(rig: Rig) -> None:
    rig.ask("STREAM.DELETE.W")
    rig.one_turn()
    assert listened_to(rig) > 0
    rig.engine.stop()
    assert ended(rig) == CROWD and listened_to(rig) == 0


def test_few_of_them_leave_at_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    crowd(rig, 3)
    rig.ask("STREAM.DELETE.W")
    assert ended(rig) == 3
    rig.turns()
    rig.close()


def test_who_waits_for_a_count_is_answered(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.stream("L", [b"L.%d" % number for number in range(2 * limits.SEARCH_STEP_ROWS)])
    rig.answers.clear()
    rig.ask("CONSUMER.DURABLE.CREATE.L.c", stream_name="L", config={"filter_subject": "L.*", "durable_name": "c"})
    rig.ask("STREAM.DELETE.L")
    rig.turns()
    assert [json.loads(body)["type"].rsplit(".", 1)[1] for _, body in rig.answers] == [
        "consumer_create_response", "stream_delete_response",
    ]  # fmt: skip
    rig.close()
