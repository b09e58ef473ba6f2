"""Changes of consumers that the disk refuses: they are answered so, and taken back."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from creation_rig import Rig
from millpond.broker.sink import CallableSink


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A stream `A` with five messages. Its consumer `C` has got four, one of them twice, and acknowledged the first."""
    made = Rig(tmp_path)
    made.create()
    made.settle()
    made.ask("CONSUMER.DURABLE.CREATE.A.C", consumer())
    for _ in range(5):
        made.broker.router.publish(b"A", b"x", b"", b"")
    made.turns()
    made.settle()
    got: list[bytes] = []

    def take(subject: bytes, reply: bytes, hdr: bytes, body: bytes, source: object) -> None:
        got.append(reply)

    made.broker.router.subscribe(b"pulled", CallableSink(take))
    pull(made, 4)
    made.broker.router.publish(got[0], b"", b"", b"")
    made.broker.router.publish(got[1], b"-NAK", b"", b"")
    pull(made, 1)
    made.settle()
    assert len(got) == 5
    yield made
    made.stop()


def pull(rig: Rig, batch: int) -> None:
    rig.broker.router.publish(b"$JS.API.CONSUMER.MSG.NEXT.A.C", b'{"batch":%d,"no_wait":true}' % batch, b"pulled", b"")
    rig.turns()
    rig.settle()


def consumer(**more: object) -> dict[str, Any]:
    return {"stream_name": "A", "config": {"durable_name": "C", "ack_policy": "explicit", **more}}


def fail_journal(rig: Rig) -> None:
    """Two syncs in a row: for good."""
    journal = rig.engine.streams["A"].journal
    journal.fail_sync(errno.EIO)
    journal.fail_sync(errno.EIO)
    rig.turns()
    rig.settle()


def state_of(rig: Rig) -> tuple[Any, ...]:
    state = rig.engine.streams["A"].consumers["C"].state
    return state.info(), state.pending(), state.exhausted(), state.check()


def test_a_reset_is_taken_back(rig: Rig) -> None:
    before, to_come = state_of(rig), rig.engine.streams["A"].consumers["C"].num_pending
    first = rig.ask("CONSUMER.RESET.A.C", {"seq": 4})
    second = rig.ask("CONSUMER.RESET.A.C")
    assert state_of(rig) != before
    fail_journal(rig)
    assert [rig.answers[each]["error"]["err_code"] for each in (first, second)] == [10104, 10104]
    assert state_of(rig) == before
    assert rig.engine.streams["A"].consumers["C"].num_pending == to_come
    refused = rig.ask("CONSUMER.RESET.A.C", {"seq": 2})
    rig.settle()
    assert rig.answers[refused]["error"]["err_code"] == 10104
    assert state_of(rig) == before


def test_a_reset_that_is_kept_stays(rig: Rig) -> None:
    reset = rig.ask("CONSUMER.RESET.A.C", {"seq": 2})
    rig.settle()
    assert rig.answers[reset]["reset_seq"] == 2
    assert rig.engine.streams["A"].consumers["C"].changes == []
    rig.restart()
    state = rig.engine.streams["A"].consumers["C"].state
    assert state.info()["delivered"]["stream_seq"] == 1 and state.pending() == []


def test_of_several_changes_the_first_one_was_the_last_that_counts(rig: Rig) -> None:
    asked = [rig.ask("CONSUMER.DURABLE.CREATE.A.C", consumer(description=text)) for text in ("one", "two")]
    fail_journal(rig)
    assert all("error" in rig.answers[each] for each in asked)
    assert rig.engine.streams["A"].consumers["C"].config.description == ""


def test_what_a_log_that_failed_has_refused_is_not_in_the_journal(rig: Rig) -> None:
    """The journal lives on, and would bring it back."""
    stream = rig.engine.streams["A"]
    rig.broker.router.publish(b"A", b"never promised", b"", b"")
    changed = rig.ask("CONSUMER.DURABLE.CREATE.A.C", consumer(description="changed"))
    created = rig.ask("CONSUMER.DURABLE.CREATE.A.N", {"stream_name": "A", "config": {"durable_name": "N"}})
    stream.fail_unless_kept("the test says so")
    rig.turns()
    rig.settle()
    assert "error" in rig.answers[changed] and "error" in rig.answers[created]
    rig.restart()
    found = rig.engine.streams["A"].consumers
    assert set(found) == {"C"} and found["C"].config.description == ""


def test_a_consumer_of_a_stream_that_could_not_be_created_was_not_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path)
    real = os.open

    def unsyncable(path: Any, *rest: Any, **more: Any) -> int:
        return real("/dev/null" if str(path).endswith("/stream.0") else path, *rest, **more)

    monkeypatch.setattr(os, "open", unsyncable)
    stream = rig.create()
    made = rig.ask("CONSUMER.DURABLE.CREATE.A.C", consumer())
    assert stream not in rig.answers and made not in rig.answers
    rig.settle()
    monkeypatch.undo()
    assert rig.answers[stream]["error"]["err_code"] == 10077
    assert rig.answers[made]["error"]["err_code"] == 10012
    rig.stop()
