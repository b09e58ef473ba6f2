"""Streams of many subjects: counts, lists, searches and purges take several turns, and come out right."""

from __future__ import annotations

import msgspec
import pytest
from millpond.broker.sink import CallableSink
from millpond.jetstream.consumer import Consumer
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


def watched(queue: Queue, **config: object) -> tuple[list[int], Consumer]:
    got: list[int] = []
    queue.router.subscribe(b"watch", CallableSink(lambda subject, reply, *rest: got.append(int(reply.split(b".")[5]))))
    consumer = queue.add(
        "W", "q.*", turns=False, deliver_policy="last_per_subject", ack_policy="none", deliver_subject="watch", **config
    )
    return got, consumer


def test_a_watcher_gets_the_last_of_every_key_once():
    """Of the moment when it began: what goes and what comes while that is counted changes nothing in the list."""
    queue = filled(KEYS, times=2)
    got, consumer = watched(queue)
    one_turn_later(queue)
    assert consumer.cursor.counting and got == []
    queue.store.remove_message(KEYS + 1)         # counted already
    queue.store.remove_message(2 * KEYS)         # not yet; what is the last of its key now was not on the list
    queue.store.remove_message(KEYS)             # and neither is what was that for a moment
    queue.router.publish(b"q.1", b"newer")       # goes behind the list, on which the one before it stays
    queue.turns()
    assert got == [*range(KEYS + 2, 2 * KEYS), 2 * KEYS + 1]
    assert consumer.num_pending == 0


def test_a_slow_watcher_costs_no_more_than_a_fast_one():
    """The list of what it is still to get is nowhere: it is found when it is asked for."""
    queue = filled(KEYS, times=2)
    pulled = queue.add("W", "q.*", turns=False, deliver_policy="last_per_subject", ack_policy="none")
    queue.turns()
    assert pulled.num_pending == KEYS
    gone = [KEYS + 1, KEYS + 7, 2 * KEYS, 3]
    for stream_seq in gone:
        queue.store.remove_message(stream_seq)
    assert pulled.num_pending == KEYS - 3
    for number in (1, 2):
        queue.router.publish(b"q.%d" % number, b"newer")
    acks = [int(ack.split(b".")[5]) for ack in queue.pull("W", 2 * KEYS)]
    assert acks == [seq for seq in range(KEYS + 1, 2 * KEYS + 3) if seq not in gone]
    assert pulled.num_pending == 0


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
    queue.stream.after_removals(lambda: done.append(queue.stream.delete_message(KEYS, False)))
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


HALF = KEYS // 2
TWO = [f"q.{HALF}", "q.far.*"]                   # that one, at HALF + 1, is the only one
FROM_TIME = {"deliver_policy": "by_start_time", "opt_start_time_ns": 1}
LAST = {"deliver_policy": "last"}


def position_and_pending(consumer: Consumer) -> tuple[int, int]:
    return consumer.cursor.position, consumer.num_pending


@pytest.mark.parametrize(
    ("config", "filters", "expected"),
    [
        (LAST, TWO, (HALF, 1)),
        (LAST, ["none.*", "q.far.*"], (0, 0)),
        (FROM_TIME, TWO, (HALF, 1)),
        (FROM_TIME, ["none.*", "q.far.*"], (0, 0)),
        (FROM_TIME, ["q.*", "q.far.*"], (0, KEYS)),
    ],
)
def test_where_to_begin_is_searched_in_turns(config, filters, expected):
    queue = filled()
    consumer = queue.add("A", *filters, turns=False, **config)
    told: list[int] = []
    consumer.when_counted(lambda: told.append(consumer.num_pending))
    one_turn_later(queue)
    assert consumer.cursor.counting and told == []
    queue.turns()
    assert position_and_pending(consumer) == expected and told == [expected[1]]
    assert len(queue.pull("A", 5)) == min(expected[1], 5)


def test_who_begins_at_what_is_near_begins_at_once():
    queue = Queue("limits")
    for number in range(limits.SEARCH_STEP_ROWS):
        queue.router.publish(b"q.%d" % (number % 9), b"x")
    queue.turns()
    consumer = queue.add("A", "q.7", "q.8", turns=False, **LAST)
    seqs = [seq for seq in range(1, limits.SEARCH_STEP_ROWS + 1) if (seq - 1) % 9 in {7, 8}]
    assert not consumer.cursor.counting and position_and_pending(consumer) == (seqs[-1] - 1, 1)


@pytest.mark.parametrize("config", [LAST, FROM_TIME])
@pytest.mark.parametrize(
    ("meanwhile", "expected"),
    [
        (lambda queue: queue.store.remove_message(HALF + 1), (0, 0)),
        (lambda queue: queue.stream.purge(b"", 0, 0), (KEYS, 0)),
        (lambda queue: queue.stream.purge(b"q.*", HALF, 0), (HALF, 1)),
        (lambda queue: queue.router.publish(b"q.far.1", b"x"), (HALF, 2)),
    ],
)
def test_the_stream_changes_while_it_is_searched_where_to_begin(config, meanwhile, expected):
    queue = filled()
    consumer = queue.add("A", *TWO, turns=False, **config)
    one_turn_later(queue)
    meanwhile(queue)
    queue.turns()
    assert position_and_pending(consumer) == expected
    queue.router.publish(b"q.far.2", b"x")
    queue.turns()
    assert len(queue.pull("A", 5)) == expected[1] + 1


@pytest.mark.parametrize("config", [LAST, FROM_TIME])
def test_a_consumer_changes_while_it_is_searched_where_to_begin(config):
    queue = filled()
    consumer = queue.add("A", *TWO, turns=False, **config)
    one_turn_later(queue)
    consumer.update(msgspec.structs.replace(consumer.config, filter_subjects=["q.far.*", "q.7"]))
    queue.turns()
    assert position_and_pending(consumer) == (7, 1)
    again = queue.add("B", *TWO, turns=False, **config)
    one_turn_later(queue)
    again.reset(0)
    queue.turns()
    assert position_and_pending(again) == (0, 1)


@pytest.mark.parametrize("config", [LAST, FROM_TIME])
@pytest.mark.parametrize("deleted", [True, False])
def test_a_stream_ends_while_it_is_searched_where_to_begin(config, deleted):
    queue = filled()
    consumer = queue.add("A", *TWO, turns=False, **config)
    told: list[int] = []
    consumer.when_counted(lambda: told.append(1))
    one_turn_later(queue)
    queue.stream.stop(deleted)
    queue.turns()
    assert told == [1]
