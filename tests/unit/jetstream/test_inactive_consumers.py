"""Consumers that nobody uses end after their `inactive_threshold`, on a clock that stands still."""

from __future__ import annotations

import pytest
from millpond.broker.sink import CallableSink
from queue_rig import SECOND, Queue


def lives(queue: Queue, name: str, seconds: float) -> bool:
    """Is it there when that much time has passed, in small steps?"""
    for _ in range(100):
        queue.clock.advance(seconds / 100)
        queue.turns()
    return name in queue.stream.consumers


@pytest.mark.parametrize("threshold", [0.05, 0.5, 5.0])
def test_a_push_consumer_ends_soon_after_its_last_listener(threshold: float) -> None:
    """Before one more threshold, or a second, whichever is less: the leaving is looked for as often."""
    queue = Queue("limits")
    listener = queue.router.subscribe(b"out.p", CallableSink(lambda *message: None))
    queue.add("p", deliver_subject="out.p", inactive_threshold=int(threshold * SECOND))
    assert lives(queue, "p", 20)
    queue.router.unsubscribe(listener)
    assert lives(queue, "p", threshold * 0.9)
    assert not lives(queue, "p", threshold * 0.2 + min(threshold, 1) * 1.1)


def test_who_comes_back_in_time_keeps_it() -> None:
    queue = Queue("limits")
    listener = queue.router.subscribe(b"out.p", CallableSink(lambda *message: None))
    queue.add("p", deliver_subject="out.p", inactive_threshold=SECOND)
    queue.router.unsubscribe(listener)
    assert lives(queue, "p", 0.8)
    queue.router.subscribe(b"out.p", CallableSink(lambda *message: None))
    assert lives(queue, "p", 20)


def test_a_pull_consumer_ends_after_its_last_request() -> None:
    queue = Queue("limits")
    queue.add("c", inactive_threshold=SECOND)
    assert lives(queue, "c", 0.9)
    queue.pull("c", 1)
    assert lives(queue, "c", 0.9)
    assert not lives(queue, "c", 0.3)
