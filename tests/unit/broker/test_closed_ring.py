"""The ring of closed connections keeps both of its bounds."""

from __future__ import annotations

from millpond.base import limits
from millpond.base.budget import Budget
from millpond.broker.closed_ring import ClosedRing
from millpond.broker.connection_info import ConnectionInfo


def info(cid: int, subscriptions: int = 0) -> ConnectionInfo:
    rows = tuple((f"a.{number}", "", str(number), number, 0) for number in range(subscriptions))
    return ConnectionInfo(
        cid=cid, ip="::1", port=1, start_ns=1, last_activity_ns=2, stop_ns=3, reason="Client Closed",
        num_subscriptions=subscriptions, subscriptions=rows,
    )  # fmt: skip


def test_what_goes_in_comes_out() -> None:
    ring = ClosedRing(3)
    for cid in range(5):
        ring.append(info(cid, 2))
    assert list(ring) == [info(2, 2), info(3, 2), info(4, 2)]
    assert len(ring) == 3
    assert ring[-1].cid == 4


def test_bytes_are_bounded_and_records_wrap() -> None:
    budget = Budget("connections")
    budget.charge(7)
    ring = ClosedRing(1_000_000, bytes_max=1000, budget=budget)
    for cid in range(500):
        ring.append(info(cid, cid % 7))
        kept = [each.cid for each in ring]
        assert kept == list(range(cid + 1 - len(kept), cid + 1))
        assert len(kept) == len(ring) > 0
        assert budget.used == 7 + ring.bytes_used <= 1007
    tiny = ClosedRing(10, bytes_max=10)
    tiny.append(info(1))
    assert list(tiny) == [], "one that does not fit at all is left out"


def test_many_subscriptions_are_cut() -> None:
    ring = ClosedRing(10)
    ring.append(info(1, 2000))
    (kept,) = ring
    assert kept.num_subscriptions == 2000
    assert len(kept.subscriptions) == limits.CLOSED_CLIENT_SUBSCRIPTIONS_MAX


def test_nothing_is_kept_when_nothing_may_be() -> None:
    ring = ClosedRing(0)
    ring.append(info(1))
    assert (len(ring), ring.bytes_used, list(ring)) == (0, 0, [])


def test_what_is_overwritten_meanwhile_is_passed_over() -> None:
    ring = ClosedRing(4)
    for cid in range(4):
        ring.append(info(cid))
    found = iter(ring)
    assert next(found).cid == 0
    for cid in range(4, 6):                        # in the place of 0 and 1
        ring.append(info(cid))
    assert [each.cid for each in found] == [2, 3], "and those that came meanwhile are not among them"
    assert [each.cid for each in ring] == [2, 3, 4, 5]
