"""The oracle itself: it accepts exactly the prefixes that hold everything answered, and names what is wrong."""

from __future__ import annotations

import random

import pytest

from .churn import Churn, Found, Step
from .model import Delete, Model, Operation, Publish, Purge, Recovered, Violation, settle

LAST = {"name": "S", "max_msgs_per_subject": 1}
OPERATIONS: list[Operation] = [Publish("a", b"1"), Publish("b", b"2"), Delete(1), Publish("a", b"3"), Purge("b")]


def after(count: int) -> Recovered:
    model = Model({"name": "S"})
    for operation in OPERATIONS[:count]:
        model.apply(operation)
    return Recovered(dict(model.messages), model.first_seq, model.last_seq)


@pytest.mark.parametrize("answered", range(len(OPERATIONS) + 1))
@pytest.mark.parametrize("survived", range(len(OPERATIONS) + 1))
def test_what_was_answered_must_be_there_and_more_may(answered: int, survived: int) -> None:
    before = Model({"name": "S"})
    if survived < answered:
        with pytest.raises(Violation):
            settle(before, OPERATIONS, answered, after(survived))
        return
    assert settle(before, OPERATIONS, answered, after(survived)).messages == after(survived).messages
    assert before.messages == {}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Recovered({3: ("a", b"3")}, 3, 2), "found 3..2"),
        (Recovered({2: ("b", b"2")}, 2, 3), "missing [3]"),
        (Recovered({1: ("a", b"1"), 2: ("b", b"2"), 3: ("a", b"3")}, 1, 3), "came back [1]"),
        (Recovered({2: ("b", b"2"), 3: ("a", b"X")}, 2, 3), "changed [3]"),
    ],
)
def test_what_is_wrong_is_named(found: Recovered, words: str) -> None:
    with pytest.raises(Violation) as caught:
        settle(Model({"name": "S"}), OPERATIONS, 4, found)
    assert words in str(caught.value)


def test_limits_and_conditions() -> None:
    model = Model(LAST)
    assert [model.apply(Publish("a", b"%d" % n)) for n in range(3)] == [("ack", 1), ("ack", 2), ("ack", 3)]
    assert list(model.messages) == [3]
    assert model.apply(Publish("a", b"", expected_seq=2)) == ("error", 10071)
    assert model.apply(Publish("a", b"", expected_seq=3, msg_id="x")) == ("ack", 4)
    assert model.apply(Publish("a", b"", msg_id="x")) == ("duplicate", 4)
    locks = Model({**LAST, "discard_new_per_subject": True})
    assert [locks.apply(Publish("a", b"")) for _ in range(2)] == [("ack", 1), ("error", 10077)]
    assert locks.apply(Purge("a")) == ("purged", 1)
    assert locks.apply(Publish("a", b"")) == ("ack", 2)


WHOLE = Found(2, 1, 1, True)


@pytest.mark.parametrize("found, lost", [
    (WHOLE, ""),
    (WHOLE._replace(messages=0), "publish"),
    (WHOLE._replace(consumers=0), "consume"),
    (WHOLE._replace(updated=False), "update"),
    (WHOLE._replace(life=1), "life 1"),
    (None, "life 0"),
])  # fmt: skip
def test_what_was_answered_of_a_stream_that_comes_and_goes_must_be_there(found: Found | None, lost: str) -> None:
    churn = Churn(random.Random(0))
    verbs = ["create", "delete", "create", "publish", "consume", "update"]
    churn.steps = [Step("CHURN0", verb, 1 if at < 2 else 2) for at, verb in enumerate(verbs)]
    there = {"CHURN0": found} if found is not None else {}
    if not lost:
        churn.verify(there, range(len(verbs)))
        return
    with pytest.raises(Violation, match=lost):
        churn.verify(there, range(len(verbs)))


@pytest.mark.parametrize("lost", [{"messages": 0}, {"consumers": 0}, {"updated": False}])
def test_what_was_not_answered_may_be_missing(lost: dict[str, int]) -> None:
    churn = Churn(random.Random(0))
    churn.steps = [Step("CHURN0", verb, 1) for verb in ("create", "publish", "consume", "update")]
    churn.verify({"CHURN0": Found(1, 1, 1, True)._replace(**lost)}, [0])
