"""Deadlines of pull requests, on a clock that stands still: what is over leaves none behind, what waits has its own."""

from __future__ import annotations

import pytest
from queue_rig import Queue

NEXT = b"$JS.API.CONSUMER.MSG.NEXT.Q.c"
HEARTBEAT = b',"idle_heartbeat":400000000'


@pytest.fixture
def queue() -> Queue:
    queue = Queue("limits")
    queue.add("c", ack_policy="none")
    return queue


def ask(queue: Queue, body: bytes) -> None:
    queue.router.publish(NEXT, b'{"batch":1,"expires":1000000000%s}' % body, b"in.c")
    queue.turns()


@pytest.mark.parametrize("more", [b"", HEARTBEAT, b',"no_wait":true', b',"max_bytes":20'])
def test_a_request_that_got_all_wakes_nobody(queue: Queue, more: bytes) -> None:
    """Its timer once fired in every turn from its end on: an idle server was busy, and no later deadline was kept."""
    queue.publish(b"q.a")
    ask(queue, more)
    assert len(queue.taken) == 1
    for _ in range(2):
        queue.clock.advance(2.0)
        queue.turns()
        assert queue.turn.timers.next_deadline() == 0
    assert len(queue.taken) == 1


def test_one_that_waits_behind_it_ends_in_time(queue: Queue) -> None:
    ask(queue, b"")
    queue.clock.advance(0.5)
    ask(queue, HEARTBEAT)
    queue.publish(b"q.a")
    assert len(queue.taken) == 1, "the first one has its message"
    queue.clock.advance(0.45)
    queue.turns()
    assert len(queue.taken) == 2, "a heartbeat"
    queue.clock.advance(0.56)
    queue.turns()
    assert len(queue.taken) == 3, "the end"
    assert queue.turn.timers.next_deadline() == 0
