"""The ring of closed connections keeps both of its bounds."""

from __future__ import annotations

from millpond.base import limits
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


def test_bytes_are_bounded() -> None:
    ring = ClosedRing(1000, bytes_max=2000)
    for cid in range(100):
        ring.append(info(cid))
        assert ring.bytes_used <= 2000
    kept = [each.cid for each in ring]
    assert kept == list(range(100 - len(kept), 100)) and len(kept) > 5
    ring.append(info(100, 2000))
    assert [each.num_subscriptions for each in ring][-1] == 2000
    assert len(list(ring)[-1].subscriptions) == limits.CLOSED_CLIENT_SUBSCRIPTIONS_MAX


def test_nothing_is_kept_when_nothing_fits() -> None:
    ring = ClosedRing(0)
    ring.append(info(1))
    assert (len(ring), ring.bytes_used) == (0, 0)
