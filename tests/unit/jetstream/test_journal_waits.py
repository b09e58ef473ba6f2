"""Which of a consumer's doings wait for the log, and which do not: only those that follow from a removal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from creation_rig import Rig
from millpond.broker.sink import CallableSink


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.stop()


def prepare(rig: Rig, messages: int = 6, consumer: dict[str, Any] | None = None, **stream: object) -> list[bytes]:
    """A stream `A` with these messages and a consumer `C`; what that gets comes into the list that is returned."""
    rig.create(**stream)
    rig.settle()
    config = {"durable_name": "C", "ack_policy": "explicit", **(consumer or {})}
    rig.ask("CONSUMER.DURABLE.CREATE.A.C", {"stream_name": "A", "config": config})
    for _ in range(messages):
        rig.broker.router.publish(b"A", b"x", b"", b"")
    rig.turns()
    rig.settle()
    got: list[bytes] = []
    rig.broker.router.subscribe(b"pulled", CallableSink(lambda subject, reply, *_: got.append(reply)))
    return got


def pull(rig: Rig, batch: int) -> None:
    rig.broker.router.publish(b"$JS.API.CONSUMER.MSG.NEXT.A.C", b'{"batch":%d,"no_wait":true}' % batch, b"pulled", b"")
    rig.turns()


def ahead(rig: Rig) -> bool:
    """Does the journal need what the log has not committed?"""
    stream = rig.engine.streams["A"]
    return bool(stream.journal.needs() > stream.store.committed_position)


def delete(rig: Rig, seq: int) -> None:
    rig.ask("STREAM.MSG.DELETE.A", {"seq": seq})


def test_what_is_pending_and_goes(rig: Rig) -> None:
    prepare(rig)
    pull(rig, 3)
    rig.settle()
    delete(rig, 2)
    assert ahead(rig)
    rig.settle()
    assert not ahead(rig)


def test_what_is_passed_over(rig: Rig) -> None:
    prepare(rig)
    delete(rig, 2)
    assert not ahead(rig), "it has done nothing yet"
    pull(rig, 3)
    assert ahead(rig)
    rig.settle()
    assert not ahead(rig)


def test_what_it_has_settled_is_nothing_to_it(rig: Rig) -> None:
    got = prepare(rig)
    pull(rig, 3)
    rig.settle()
    rig.broker.router.publish(got[1], b"", b"", b"")
    rig.turns()
    rig.settle()
    delete(rig, 2)
    rig.broker.router.publish(got[0], b"", b"", b"")
    rig.turns()
    assert not ahead(rig)
    rig.settle()


@pytest.mark.parametrize("retention", ["workqueue", "interest"])
def test_an_acknowledgement_that_removes_its_message(rig: Rig, retention: str) -> None:
    got = prepare(rig, retention=retention)
    pull(rig, 3)
    rig.settle()
    for reply in (got[1], got[0]):
        rig.broker.router.publish(reply, b"", b"", b"")
    rig.turns()
    assert rig.engine.streams["A"].state()["messages"] == 4
    pull(rig, 3)
    assert not ahead(rig)
    rig.settle()


def test_a_purge(rig: Rig) -> None:
    prepare(rig)
    rig.ask("STREAM.PURGE.A")
    assert ahead(rig)
    rig.settle()
    assert not ahead(rig)


def test_a_consumer_that_begins_takes_the_stream_as_it_is(rig: Rig) -> None:
    prepare(rig)
    delete(rig, 1)
    rig.ask("CONSUMER.DURABLE.CREATE.A.N", {"stream_name": "A", "config": {"durable_name": "N"}})
    assert ahead(rig)
    rig.settle()
    assert not ahead(rig)


def test_a_consumer_that_begins_does_not_wait_for_messages_on_their_way(rig: Rig) -> None:
    prepare(rig)
    rig.broker.router.publish(b"A", b"x", b"", b"")
    rig.ask("CONSUMER.DURABLE.CREATE.A.N", {"stream_name": "A", "config": {"durable_name": "N"}})
    stream = rig.engine.streams["A"]
    assert stream.store.committed_position < stream.store.position and not ahead(rig)
    rig.settle()


def test_a_consumer_that_begins_behind_messages_on_their_way_waits_for_them(rig: Rig) -> None:
    prepare(rig)
    rig.broker.router.publish(b"A", b"x", b"", b"")
    rig.ask("CONSUMER.DURABLE.CREATE.A.N", {
        "stream_name": "A", "config": {"durable_name": "N", "deliver_policy": "new"},
    })  # fmt: skip
    assert ahead(rig)
    rig.settle()
    assert not ahead(rig)


def test_a_purge_that_removes_nothing_and_takes_a_consumer_past_messages_on_their_way(rig: Rig) -> None:
    prepare(rig, 0, {"filter_subject": "B"}, subjects=["A", "B"])
    rig.broker.router.publish(b"A", b"x", b"", b"")
    rig.ask("STREAM.PURGE.A", {"filter": "B"})
    consumer = rig.engine.streams["A"].consumers["C"]
    assert consumer.state.info()["delivered"]["stream_seq"] == 1 and ahead(rig)
    rig.settle()
    assert not ahead(rig)


def test_a_reset_goes_over_what_was_settled_and_removed(rig: Rig) -> None:
    got = prepare(rig)
    pull(rig, 3)
    for reply in list(got):
        rig.broker.router.publish(reply, b"", b"", b"")
    rig.turns()
    rig.settle()
    delete(rig, 2)
    assert not ahead(rig)
    rig.ask("CONSUMER.RESET.A.C", {"seq": 1})
    pull(rig, 2)
    assert ahead(rig)
    rig.settle()


def test_filters_that_let_in_what_was_removed(rig: Rig) -> None:
    rig.create(subjects=["A", "B"])
    rig.settle()
    asked = {"stream_name": "A", "config": {"durable_name": "C", "ack_policy": "explicit", "filter_subject": "A"}}
    rig.ask("CONSUMER.DURABLE.CREATE.A.C", asked)
    for subject in (b"A", b"B", b"A", b"B"):
        rig.broker.router.publish(subject, b"x", b"", b"")
    rig.turns()
    rig.settle()
    pull(rig, 1)
    rig.settle()
    delete(rig, 2)
    assert not ahead(rig)
    rig.ask("CONSUMER.DURABLE.CREATE.A.C", {**asked, "config": {**asked["config"], "filter_subject": "B"}})
    rig.broker.router.subscribe(b"pulled", CallableSink(lambda *_: None))
    pull(rig, 1)
    assert ahead(rig)
    rig.settle()
