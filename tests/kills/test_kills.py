"""Kill -9 at every moment of a server's life: nothing that was answered is lost, changed, invented or brought back."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from ..crash.model import Batch, Delete, Model, Publish, Purge, Recovered, Violation, settle
from .campaign import Campaign
from .holders import Held, Holders, Subject
from .read import Found

SEED = int(os.environ.get("MILLPOND_CRASH_SEED", "1"))


def test_some_kills(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, SEED, jobs=2)
    summary = campaign.run(kills=60)
    assert summary.violations == []
    assert summary.count == 60 and summary.sums["answers"] > 1000 and summary.sums["compared"] > 1000


def test_the_model_knows_batches_and_rollups() -> None:
    model = Model({"name": "LOG", "max_msgs": 4})
    parts = (Publish("a", b"1"), Publish("b", b"2"), Publish("a", b"3"))
    assert model.apply(Batch("x", parts)) == ("ack", 3)
    assert model.apply(Publish("a", b"4", rollup="sub")) == ("ack", 4)
    assert list(model.messages) == [2, 4]
    assert model.apply(Delete(2, secure=True)) == ("deleted", 0) and model.apply(Purge("b")) == ("purged", 0)
    assert model.apply(Publish("c", b"5", rollup="all")) == ("ack", 5) and list(model.messages) == [5]
    assert model.last_of("c") == 5 and model.last_of("a") == 0


def test_the_model_knows_a_batch_that_was_cut_short() -> None:
    """Its messages are taken back, and what they had evicted is there."""
    before = Model({"name": "LOG", "max_msgs": 2}, {1: ("a", b"1"), 2: ("a", b"2")}, 2)
    operations = [Batch("x", (Publish("b", b"3"), Publish("b", b"4"), Publish("b", b"5")))]
    kept = {1: ("a", b"1"), 2: ("a", b"2")}
    for last_seq in (3, 4):
        settled = settle(before, operations, 0, Recovered(kept, 1, last_seq))
        assert (settled.messages, settled.last_seq) == (kept, last_seq)
    assert list(settle(before, operations, 0, Recovered({4: ("b", b"4"), 5: ("b", b"5")}, 4, 5)).messages) == [4, 5]
    for wrong in (Recovered(kept, 1, 5), Recovered({2: ("a", b"2"), 3: ("b", b"3")}, 2, 3)):
        with pytest.raises(Violation, match="no prefix"):
            settle(before, operations, 0, wrong)
    with pytest.raises(Violation, match="no prefix"):
        settle(before, operations, 1, Recovered(kept, 1, 4))


def test_what_was_not_read_is_counted() -> None:
    before = Model({"name": "LOG"}, {1: ("a", b"1"), 2: ("a", b"2")}, 2)
    operations = [Delete(1), Publish("a", b"3")]
    after = Recovered({2: ("a", b"2"), 3: ("a", b"3")}, 2, 3)
    assert list(settle(before, operations, 1, after, since=2, count=2).messages) == [2, 3]
    with pytest.raises(Violation, match="no prefix"):
        settle(before, operations, 1, after, since=2, count=3)
    with pytest.raises(Violation, match="no prefix"):
        settle(before, operations, 2, Recovered({3: ("a", b"x")}, 2, 3), since=3, count=2)


def test_a_lock_that_is_lost_or_held_twice_is_seen() -> None:
    holders = next(one for one in (Holders(Random(seed), b"0.", 16, 1) for seed in range(20)) if one.locks)
    life = holders.config["max_age"] / 1e9
    held, wanted = Held(b"x", life, 100.0, 1, 100.1), Held(b"y", life, 100.5)
    found = Found({}, 1, 1, {}, 1, 0)

    def settled(subject: Subject, messages: dict[int, tuple[str, bytes]], now: float) -> list[int]:
        holders._subjects = [subject]
        found.messages = messages
        return holders._settled(found, now, now)[1]

    assert settled(Subject(held), {1: ("hold.0", b"x")}, 100.2) == []
    assert settled(Subject(held), {1: ("hold.0", b"x")}, 100.2 + life) == [0], "its time is over"
    assert settled(Subject(held), {}, 100.0 + life) == []
    assert settled(Subject(held, removing=True), {}, 100.2) == []
    assert settled(Subject(held, wanted), {2: ("hold.0", b"y")}, 100.0 + life) == []
    for subject, messages in (
        (Subject(held), {}),
        (Subject(held, wanted), {2: ("hold.0", b"y")}),
        (Subject(held), {1: ("hold.0", b"changed")}),
        (Subject(held, wanted), {1: ("hold.0", b"x"), 2: ("hold.0", b"y")}),
    ):
        with pytest.raises(Violation):
            settled(subject, messages, 100.6)
