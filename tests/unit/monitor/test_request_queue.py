"""Requests that wait: in order, in rotation, bounded."""

from __future__ import annotations

from millpond.base import limits
from millpond.monitor.request_queue import RequestQueue


def drained(queue: RequestQueue[str]) -> list[str]:
    found = []
    while (item := queue.take()) is not None:
        found.append(item)
    return found


def test_accounts_take_turns() -> None:
    queue: RequestQueue[str] = RequestQueue()
    for name in ("A1", "A2", "A3", "B1", "C1", "B2"):
        assert queue.put(name[0], name, 1)
    assert drained(queue) == ["A1", "B1", "C1", "A2", "B2", "A3"]
    assert queue.take() is None


def test_one_account_is_bounded_and_the_others_are_not_touched() -> None:
    queue: RequestQueue[str] = RequestQueue()
    taken = [queue.put("A", str(number), 0) for number in range(limits.SYSTEM_REQUESTS_MAX + 3)]
    assert taken.count(True) == limits.SYSTEM_REQUESTS_MAX
    assert queue.put("B", "first", 0)
    assert len(drained(queue)) == limits.SYSTEM_REQUESTS_MAX + 1
    assert queue.put("A", "again", 0)


def test_bytes_are_bounded_but_a_single_request_may_be_large() -> None:
    queue: RequestQueue[str] = RequestQueue()
    assert queue.put("A", "large", 2 * limits.SYSTEM_REQUESTS_BYTES_MAX)
    assert not queue.put("A", "small", 1)
    assert queue.take() == "large"
    assert queue.put("A", "half", limits.SYSTEM_REQUESTS_BYTES_MAX // 2)
    assert queue.put("A", "other half", limits.SYSTEM_REQUESTS_BYTES_MAX // 2)
    assert not queue.put("A", "one more", 1)
    assert queue.take() == "half"
    assert queue.put("A", "one more", 1)
    assert drained(queue) == ["other half", "one more"]
