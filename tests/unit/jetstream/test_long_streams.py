"""Streams of many subjects: counts, lists, searches and purges take several turns, and come out right."""

from __future__ import annotations

import pytest
from millpond.broker.sink import CallableSink
from millpond.store.api import Filters
from millpond.testing.model_store import finish
from queue_rig import Queue

from millpond.base import limits

KEYS = 3 * limits.SEARCH_STEP_ROWS
MANY = [f"q.{number}" for number in range(0, KEYS, KEYS // 300)]


def filled(keys: int = KEYS, times: int = 1) -> Queue:
    queue = Queue("limits")
    for number in range(times * keys):
        queue.router.publish(b"q.%d" % (number % keys), b"x")
    queue.turns()
    return queue


def one_turn_later(queue: Queue) -> None:
    finish(queue.turn)


@pytest.mark.parametrize(("filters", "expected"), [(["q.*"], KEYS), (MANY, len(MANY)), (["q.7", "z.*"], 1)])
def test_counting_takes_turns_and_is_exact(filters, expected):
    queue = filled()
    consumer = queue.add("A", *filters, turns=False)
    told: list[int] = []
    consumer.when_counted(lambda: told.append(consumer.num_pending))
    assert not told and consumer.cursor.counting
    one_turn_later(queue)
    assert not told
    queue.store.remove_message(1)                # counted already
    queue.store.remove_message(KEYS)             # not yet
    queue.router.publish(b"q.new", b"x")
    queue.turns()
    gone = queue_matches(filters, "q.0") + queue_matches(filters, f"q.{KEYS - 1}")
    assert told == [expected - gone + queue_matches(filters, "q.new")]
    assert consumer.num_pending == queue.store.count_messages(1, [text.encode() for text in filters])


def queue_matches(filters: list[str], subject: str) -> int:
    return int(Filters([text.encode() for text in filters]).accepts(subject.encode()))


def test_a_far_message_is_found_in_turns():
    queue = filled()
    queue.add("A", f"q.{KEYS - 2}", "z.*")
    (ack,) = queue.pull("A", 1)
    assert ack.split(b".")[5] == b"%d" % (KEYS - 1)
    assert queue.pull("A", 1) == []


def test_a_watcher_gets_the_last_of_every_key_once():
    queue = filled(KEYS, times=2)
    got: list[int] = []
    queue.router.subscribe(b"watch", CallableSink(lambda subject, reply, *rest: got.append(int(reply.split(b".")[5]))))
    consumer = queue.add(
        "W", "q.*", turns=False, deliver_policy="last_per_subject", ack_policy="none", deliver_subject="watch"
    )
    one_turn_later(queue)
    queue.store.remove_message(KEYS + 1)         # what came before it on its key was looked at already
    queue.store.remove_message(2 * KEYS)         # what came before it was not, and is the last of its key now
    queue.router.publish(b"q.1", b"newer")       # goes behind the list
    queue.turns()
    assert got == [KEYS, *range(KEYS + 3, 2 * KEYS), 2 * KEYS + 1]
    assert consumer.num_pending == 0


def test_new_filters_and_a_stop_end_a_count():
    queue = filled()
    consumer = queue.add("A", "q.*", turns=False)
    told: list[int] = []
    consumer.when_counted(lambda: told.append(1))
    consumer.stop("")
    assert told == [1]


@pytest.mark.parametrize(("subject", "keep", "left"), [(b"", 0, 0), (b"q.*", 0, 0), (b"q.*", 7, 7), (b"", 9, 9)])
def test_a_purge_takes_turns_and_leaves_what_came_later(subject, keep, left):
    queue = filled()
    consumer = queue.add("A", "q.>")
    done: list[int] = []
    queue.stream.start_purge(subject, 0, keep, done.append)
    one_turn_later(queue)
    assert not done and 0 < queue.store.state_dict()["messages"] < KEYS
    queue.router.publish(b"q.later", b"x")
    queue.turns()
    assert done == [KEYS - left]
    assert queue.store.state_dict()["messages"] == left + 1 == consumer.num_pending


def test_a_purge_keeps_what_is_left_by_the_purge_before_and_by_the_limits():
    queue = filled()
    done: list[int] = []
    queue.stream.start_purge(b"", KEYS // 2, 0, done.append)
    queue.stream.start_purge(b"q.*", 0, 200, done.append)
    queue.stream.after_purges(lambda: done.append(queue.stream.delete_message(KEYS, False)))
    one_turn_later(queue)
    queue.store.remove_message(KEYS - 1)         # as a limit of its subject would
    queue.turns()
    assert done == [KEYS // 2 - 1, KEYS - KEYS // 2 - 200, True]
    assert queue.store.state_dict()["messages"] == 199


def test_purges_wait_for_each_other():
    queue = filled()
    done: list[tuple[str, int]] = []
    queue.stream.start_purge(b"q.*", 0, 0, lambda gone: done.append(("first", gone)))
    queue.stream.start_purge(b"", KEYS + 100, 0, lambda gone: done.append(("second", gone)))
    queue.turns()
    assert done == [("first", KEYS), ("second", 0)]
    assert queue.store.state_dict()["first_seq"] == KEYS + 100
