"""What is said to be lost is not there."""

from __future__ import annotations

import bisect

import pytest

from millpond.store.losses import without


@pytest.mark.parametrize(
    ("live", "expected"),
    [([], [(3, 9), (20, 20)]), ([3], [(4, 9), (20, 20)]), ([5, 6, 20], [(3, 4), (7, 9)]), ([9], [(3, 8), (20, 20)])],
)
def test_what_is_there_is_not_lost(live: list[int], expected: list[tuple[int, int]]) -> None:
    def next_live(seq: int) -> int:
        at = bisect.bisect_left(live, seq)
        return live[at] if at < len(live) else 0

    assert without([(3, 9), (20, 20)], next_live) == expected
