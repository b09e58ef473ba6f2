"""The soak's own judgement: it accepts what may be, and names what may not."""

from __future__ import annotations

import time
from random import Random
from typing import Any

import pytest
from stream_model_rules import Delete, Publish, Purge

from ..crash.check import Recovered
from ..crash.model import Violation
from .fleeting import AGE_S, Fleeting, Record
from .lanes import Lane, Sent, WorkLane

CONFIG: dict[str, Any] = {"name": "L", "subjects": ["L.>"], "storage": "file", "duplicate_window": 10**9}
OPERATIONS = [Publish("L.a", (), b"1"), Publish("L.b", (), b"2"), Delete(1), Publish("L.a", (), b"3"), Purge("L.b")]


def lane(answered: int, kind: type[Lane] = Lane) -> Lane:
    """All operations were sent, and so many answered."""
    made = kind(CONFIG, Random(0), 1)
    for number, operation in enumerate(OPERATIONS):
        sent = Sent(number, operation, made.ahead.apply(operation))
        if number < answered:
            made.settled.apply(operation)
        else:
            made._row.append(sent)
    return made


def found(count: int) -> Recovered:
    model = lane(count).settled
    messages = {seq: (message.subject, message.body) for seq, message in model.messages.items()}
    return Recovered(messages, model.first_seq, model.last_seq)


@pytest.mark.parametrize("answered", range(len(OPERATIONS) + 1))
@pytest.mark.parametrize("survived", range(len(OPERATIONS) + 1))
def test_what_was_answered_is_there_and_more_may_be(answered: int, survived: int) -> None:
    judge = lane(answered)
    if survived < answered:
        with pytest.raises(Violation):
            judge._settle(found(survived), CONFIG)
    else:
        judge._settle(found(survived), CONFIG)
        assert sorted(judge.ahead.messages) == sorted(found(survived).messages)


@pytest.mark.parametrize(
    "wrong",
    [
        Recovered({3: ("L.a", b"X")}, 3, 3), Recovered({1: ("L.a", b"1"), 3: ("L.a", b"3")}, 1, 3), Recovered({}, 4, 3),
        Recovered({3: ("L.a", b"3")}, 3, 4),
    ],
)  # fmt: skip
def test_what_is_changed_back_lost_or_invented_is_noticed(wrong: Recovered) -> None:
    with pytest.raises(Violation):
        lane(len(OPERATIONS))._settle(wrong, CONFIG)


def test_another_configuration_is_noticed() -> None:
    with pytest.raises(Violation):
        lane(5)._settle(found(5), {**CONFIG, "duplicate_window": 1})


def test_a_work_queue_may_lack_what_was_perhaps_acknowledged_and_must_lack_what_was() -> None:
    judge = lane(2, WorkLane)
    judge._row.clear()
    assert isinstance(judge, WorkLane)
    judge.perhaps_gone = lambda: {1}
    judge._settle(Recovered({2: ("L.b", b"2")}, 2, 2), CONFIG)
    judge.gone, judge.perhaps_gone = lambda: {2}, set
    with pytest.raises(Violation):
        judge._settle(Recovered({2: ("L.b", b"2")}, 2, 2), CONFIG)


def fleeting(**record: Any) -> Fleeting:
    made = Fleeting("F", "file", Random(0), 1)
    now = time.monotonic()
    base: dict[str, Any] = {"subject": "F.1", "body": b"x", "life_s": AGE_S, "sent_at": now - 1, "acked_at": now - 1}
    made.records, made.last_seq = {1: Record(**{**base, **record})}, 1
    return made


THERE, MISSING = Recovered({1: ("F.1", b"x")}, 1, 1), Recovered({}, 2, 1)


@pytest.mark.parametrize(
    ("record", "state", "good"),
    [
        ({}, THERE, True), ({}, MISSING, False), ({"acked_at": 0.0}, MISSING, True),
        ({"deleting": True}, MISSING, True), ({"deleting": True}, THERE, True), ({"gone": True}, THERE, False),
        ({"gone": True, "deleting": True}, MISSING, True),
        ({"sent_at": 0.0, "acked_at": 0.001}, THERE, True), ({"sent_at": 0.0, "acked_at": 0.001}, MISSING, True),
        ({"sent_at": 0.0, "acked_at": 0.001, "life_s": 0}, THERE, True), ({"body": b"y"}, THERE, False),
        ({}, Recovered({}, 1, 0), False), ({}, Recovered({1: ("F.1", b"x"), 2: ("F.1", b"x")}, 1, 2), False),
    ],
)  # fmt: skip
def test_what_ends_on_its_own(record: dict[str, Any], state: Recovered, good: bool) -> None:
    judge, now = fleeting(**record), time.monotonic()
    if good:
        judge._check(state, now)
    else:
        with pytest.raises(Violation):
            judge._check(state, now)


@pytest.mark.parametrize(
    ("record", "overdue"),
    [
        ({}, []), ({"acked_at": 0.001}, [1]), ({"acked_at": 0.001, "life_s": 0}, []),
        ({"sent_at": 0.0, "acked_at": 0.0}, []),
    ],
)  # fmt: skip
def test_what_is_waited_for(record: dict[str, Any], overdue: list[int]) -> None:
    """A message whose time is over for certain; who was not acknowledged may have been stored just now."""
    assert fleeting(**record)._overdue(THERE, time.monotonic()) == overdue
