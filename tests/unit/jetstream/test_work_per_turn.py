"""No turn does more than its share, however much there is to do: counted in messages, answers, rows and names."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from millpond.testing.model_store import finish
from queue_rig import SECOND, Queue
from stream_rig import block

from millpond.base import limits
from millpond.jetstream.api.pages import DeletedPage, ListPage
from millpond.jetstream.request_queue import RequestQueue

MANY = 3 * limits.PURGE_STEP_MESSAGES + 100


def filled(messages: int = MANY, subjects: int = MANY, **config: Any) -> Queue:
    queue = Queue("limits", **config)
    for number in range(messages):
        queue.router.publish(b"q.%d" % (number % subjects), b"x")
    queue.turns()
    return queue


def messages(queue: Queue) -> int:
    return int(queue.store.state_dict()["messages"])


def shares(queue: Queue, measure: Callable[[], int]) -> list[int]:
    """What `measure` falls or grows by in each turn until there is nothing left to do."""
    found, before, more = [], measure(), True
    while more:
        more = finish(queue.turn)
        found.append(abs(measure() - before))
        before = measure()
    return found


@pytest.mark.parametrize(
    ("rollup", "subjects", "left"), [("all", MANY, [MANY + 1, MANY + 2]), ("sub", 2, None)], ids=["all", "sub"]
)
def test_a_rollup_takes_turns_and_publishes_wait_for_it(rollup: str, subjects: int, left: list[int] | None) -> None:
    queue = filled(2 * MANY if subjects == 2 else MANY, subjects, allow_rollup_hdrs=True)
    last = queue.store.state_dict()["last_seq"]
    kept = messages(queue) // 2 if rollup == "sub" else 0
    queue.router.publish(b"q.0", b"new", b"in.rollup", block({"Nats-Rollup": rollup}))
    queue.router.publish(b"q.1", b"later", b"in.later")
    queue.taken.clear()
    finish(queue.turn)
    assert queue.taken == [] and queue.store.state_dict()["last_seq"] == last + 1
    assert max(shares(queue, lambda: messages(queue))) <= limits.PURGE_STEP_MESSAGES
    assert [subject for subject, _ in queue.taken] == [b"in.rollup", b"in.later"]
    assert messages(queue) == kept + 2
    assert [queue.store.load_message(last + n)["body"] for n in (1, 2)] == [b"new", b"later"]
    assert left is None or [seq for seq in range(1, last + 3) if queue.store.has(seq)] == left


def test_a_rollup_in_a_batch_is_done_before_the_batch_is_acknowledged() -> None:
    queue = filled(allow_rollup_hdrs=True, allow_atomic=True)
    for number, headers in enumerate(({"Nats-Rollup": "all"}, {}, {"Nats-Batch-Commit": "1"}), 1):
        fields = {"Nats-Batch-Id": "b", "Nats-Batch-Sequence": str(number), **headers}
        queue.router.publish(b"q.%d" % number, b"x", b"in.%d" % number, block(fields))
    queue.taken.clear()
    finish(queue.turn)
    assert queue.taken == [] and messages(queue) > 3
    queue.turns()
    assert [subject for subject, _ in queue.taken] == [b"in.3"] and messages(queue) == 3


def test_who_waited_for_a_rollup_is_admitted_in_shares() -> None:
    queue = filled(allow_rollup_hdrs=True)
    queue.router.publish(b"q.0", b"new", b"", block({"Nats-Rollup": "all"}))
    waiting = 3 * limits.ADMISSIONS_PER_STEP
    for number in range(waiting):
        queue.router.publish(b"q.%d" % number, b"x")
    last = queue.store.state_dict()["last_seq"]
    assert last == MANY + 1
    found = shares(queue, lambda: int(queue.store.state_dict()["last_seq"]))
    assert max(found) <= limits.ADMISSIONS_PER_STEP and sum(found) == waiting
    assert messages(queue) == waiting + 1


def test_a_stream_that_is_deleted_meanwhile_answers_its_rollup() -> None:
    queue = filled(allow_rollup_hdrs=True)
    queue.router.publish(b"q.0", b"new", b"in.rollup", block({"Nats-Rollup": "all"}))
    queue.taken.clear()
    finish(queue.turn)
    queue.stream.stop(True)
    assert [subject for subject, _ in queue.taken] == [b"in.rollup"]


@pytest.mark.parametrize("change", [{"max_msgs": 10}, {"max_bytes": 200}, {"max_msgs_per_subject": 1}])
def test_lowered_limits_are_reached_in_turns(change: dict[str, int]) -> None:
    queue = filled(MANY, MANY if "max_msgs_per_subject" not in change else 7)
    queue.stream.update(msgspec.structs.replace(queue.config, **change))
    told: list[int] = []
    queue.stream.after_removals(lambda: told.append(messages(queue)))
    assert messages(queue) >= MANY - limits.PURGE_STEP_MESSAGES and not told
    queue.router.publish(b"q.3", b"x")           # makes room as far as one append may
    assert messages(queue) >= MANY + 1 - limits.PURGE_STEP_MESSAGES - limits.EVICTIONS_PER_APPEND_MAX
    assert max(shares(queue, lambda: messages(queue))) <= limits.PURGE_STEP_MESSAGES
    expected = {"max_msgs": 10, "max_bytes": 200 // 20, "max_msgs_per_subject": 7}[next(iter(change))]
    assert messages(queue) <= expected and told == [messages(queue)]
    assert queue.store.last_of(b"q.3") == MANY + 1


def test_one_large_message_in_the_place_of_many_small_ones() -> None:
    queue = filled(MANY, MANY, max_bytes=50 * MANY)
    queue.router.publish(b"q.large", bytes(45 * MANY))
    assert messages(queue) >= MANY - limits.EVICTIONS_PER_APPEND_MAX
    assert max(shares(queue, lambda: messages(queue))) <= limits.PURGE_STEP_MESSAGES
    assert queue.store.state_dict()["bytes"] <= 50 * MANY and queue.store.last_of(b"q.large") == MANY + 1


def test_what_a_purge_keeps_is_searched_in_turns() -> None:
    rows = 3 * limits.SEARCH_STEP_ROWS
    queue = filled(1, 1)
    queue.publish(b"q.rare.1")
    for number in range(rows):
        queue.router.publish(b"q.%d" % (number % 9), b"x")
    queue.publish(b"q.rare.2")
    consumer = queue.add("A", "q.rare.>")
    done: list[int] = []
    queue.stream.start_purge(b"q.rare.>", 0, 1, done.append)
    turns = 0
    while not done:
        finish(queue.turn)
        turns += 1
    assert done == [1] and turns >= 3 and messages(queue) == rows + 2
    assert (consumer.num_pending, consumer.cursor.position) == (1, rows + 2)


def test_a_watcher_of_everything_gets_its_list_in_turns() -> None:
    queue = filled(3 * limits.SEARCH_STEP_ROWS, 3 * limits.SEARCH_STEP_ROWS)
    consumer = queue.add("W", turns=False, deliver_policy="last_per_subject")
    assert consumer.cursor.counting
    finish(queue.turn)
    assert consumer.cursor.counting
    queue.turns()
    assert consumer.num_pending == 3 * limits.SEARCH_STEP_ROWS


def test_acknowledgements_leave_in_shares_and_in_order() -> None:
    queue = Queue("limits")
    most = 3 * limits.ANSWERS_PER_STEP
    queue.taken.clear()
    for number in range(most):
        queue.router.publish(b"q.x", b"", b"in.%d" % number)
    queue.stream.after_commit(lambda failure: queue.taken.append((b"after", failure.encode())))
    assert max(shares(queue, lambda: len(queue.taken))) <= limits.ANSWERS_PER_STEP + 1
    assert [subject for subject, _ in queue.taken] == [*(b"in.%d" % number for number in range(most)), b"after"]


def test_what_a_deleted_consumer_leaves_is_reviewed_by_what_each_message_costs() -> None:
    queue = Queue("interest")
    keepers = 60
    for number in range(keepers):
        queue.add(f"K{number}", "q.kept")
    queue.add("GOES", "q.gone")
    for _ in range(5000):
        queue.router.publish(b"q.gone", b"x")
    queue.turns()
    consumer = queue.stream.consumers["GOES"]
    consumer.stop("")
    most = limits.REVIEW_LOOKS_PER_STEP // keepers
    queue.stream.remove_consumer(consumer)
    assert messages(queue) >= 5000 - most
    assert max(shares(queue, lambda: messages(queue))) <= most
    assert messages(queue) == 0


def test_redeliveries_that_fall_due_together_are_queued_in_shares() -> None:
    queue = filled(3 * limits.REDELIVERIES_PER_STEP, 1)
    consumer = queue.add("A", max_ack_pending=-1, ack_wait=SECOND)
    for _ in range(12):
        queue.pull("A", limits.REDELIVERIES_PER_STEP // 4)
    assert consumer.state.info()["num_ack_pending"] == 3 * limits.REDELIVERIES_PER_STEP
    queue.clock.advance(2)
    queue.turn.timers.run_due(queue.clock.mono_ns)
    queued = [consumer.state.num_queued]
    while queued[-1] < 3 * limits.REDELIVERIES_PER_STEP:
        queue.clock.advance(0.001)
        queue.turn.timers.run_due(queue.clock.mono_ns)
        queued.append(consumer.state.num_queued)
    assert len(queued) >= 3 and queued[0] <= limits.REDELIVERIES_PER_STEP


def test_deleted_sequences_are_listed_in_turns() -> None:
    queue = filled(1, 1)
    gaps = 2 * limits.DELETED_PER_STEP + 5
    queue.store.skip_messages(1 + gaps)
    for _ in range(3):
        queue.publish(b"q.x")
        queue.publish(b"q.y")
    queue.store.remove_message(gaps + 4)
    page, steps = DeletedPage(queue.stream), 1
    while page.step():
        steps += 1
    assert json.loads(bytes(page.json)) == [*range(2, gaps + 2), gaps + 4] and not page.is_short
    assert steps >= gaps // limits.DELETED_PER_STEP + 1
    none = DeletedPage(filled(1, 1).stream)
    while none.step():
        pass
    assert none.json is None and none.is_short
    found, resume = queue.stream.deleted_part(1, limits.DELETED_PER_STEP)
    assert len(found) == limits.DELETED_PER_STEP and resume == found[-1] + 1


def test_pages_are_sorted_and_described_in_shares() -> None:
    names = [f"S{number * 7 % 10_000:05}" for number in range(10_000)]
    described: list[str] = []

    def describe(name: str) -> dict[str, str]:
        described.append(name)
        return {"name": name}

    page = ListPage(names, 3000, 256, wanted=lambda name: name[-1] != "3", describe=describe)
    sizes = [0]
    while page.step():
        sizes.append(len(described))
    expected = [name for name in sorted(names) if name[-1] != "3"]
    assert max(after - before for before, after in pairwise(sizes)) <= limits.DESCRIBED_PER_STEP
    assert [json.loads(bytes(row))["name"] for row in page.rows] == expected[3000:3256] == described
    assert page.paging == {"total": 9000, "offset": 3000, "limit": 256} and not page.is_short
    beyond = ListPage(names[:9], 100, 5)
    while beyond.step():
        pass
    assert beyond.rows == [] and beyond.paging == {"total": 9, "offset": 9, "limit": 5} and beyond.is_short


def test_long_requests_wait_for_each_other_and_too_many_are_dropped() -> None:
    queue = Queue("limits")
    dropped: list[int] = []
    requests = RequestQueue(queue.pump, queue.turn, 3, dropped.append)
    told: list[str] = []

    def asks(name: str, steps: int = 3) -> None:
        left = iter(range(steps))

        def step() -> bool:
            told.append(name)
            return next(left, None) is not None

        requests.add(step)

    def fails() -> bool:
        raise RuntimeError("on purpose")

    asks("a")
    requests.add(fails)
    asks("b", 0)
    finish(queue.turn)
    assert told == ["a"]
    queue.turns()
    assert told == ["a"] * 4 + ["b"] and dropped == []
    for name in "cdef":
        asks(name)
    assert dropped == [3]
    asks("g", 0)
    queue.turns()
    assert told[5:] == ["c"] * 4 + ["g"]


def test_what_waiting_requests_keep_is_bounded() -> None:
    queue = Queue("limits")
    dropped: list[int] = []
    requests = RequestQueue(queue.pump, queue.turn, 1000, dropped.append)
    quarter = limits.API_REQUESTS_WAITING_BYTES_MAX // 4
    for _ in range(5):                     # the first one is at work
        requests.add(lambda: False, quarter)
    assert dropped == []
    requests.add(lambda: False, 1)
    assert dropped == [5]
    queue.turns()
    for _ in range(5):
        requests.add(lambda: False, quarter)
    assert dropped == [5]


def test_a_page_that_waits_keeps_no_names_and_shows_what_is_there_then() -> None:
    names = {"b": 1, "a": 2}
    page = ListPage(names, 0, 10)
    names["c"] = 3
    while page.step():
        pass
    assert page.rows == ["a", "b", "c"]


@pytest.mark.parametrize("how", ["purge", "rollup", "max_msgs"])
def test_consumers_make_the_share_of_a_turn_smaller(how: str) -> None:
    crowd, most = 600, 700
    queue = filled(most, most, allow_rollup_hdrs=True)
    for number in range(crowd):
        queue.add(f"C{number}", turns=False)
    queue.turns()
    share = limits.PURGE_STEP_MESSAGES * limits.CONSUMERS_PER_REMOVAL // (limits.CONSUMERS_PER_REMOVAL + crowd)
    assert 0 < share < most // 3
    done: list[int] = []
    if how == "purge":
        queue.stream.start_purge(b"", 0, 0, done.append)
    elif how == "rollup":
        queue.router.publish(b"q.0", b"new", b"", block({"Nats-Rollup": "all"}))
    else:
        queue.stream.update(msgspec.structs.replace(queue.config, max_msgs=2))
        assert messages(queue) >= most - 2 * share
    assert max(shares(queue, lambda: messages(queue))) <= share
    assert messages(queue) == {"purge": 0, "rollup": 1, "max_msgs": 2}[how]
    assert {consumer.num_pending for consumer in queue.stream.consumers.values()} == {messages(queue)}
    assert done == ([most] if how == "purge" else [])


def test_many_consumers_hear_of_what_expires_in_shares() -> None:
    queue = filled(700, 1, max_age=SECOND)
    for number in range(600):
        queue.add(f"C{number}", turns=False)
    queue.turns()
    share = limits.PURGE_STEP_MESSAGES * limits.CONSUMERS_PER_REMOVAL // (limits.CONSUMERS_PER_REMOVAL + 600)
    queue.clock.advance(2)
    left = [messages(queue)]
    while left[-1]:
        queue.turn.timers.run_due(queue.clock.mono_ns)
        left.append(messages(queue))
        queue.clock.advance(0.01)
    assert max(before - after for before, after in pairwise(left)) <= share
