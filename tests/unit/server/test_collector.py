"""The collector looks at what is new, and at everything when much may have become garbage."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from millpond.server.collector import GONE_MIN, Collector


class Node:
    """Holds itself, as a consumer and its rooms hold each other."""

    def __init__(self) -> None:
        self.itself = self


class Counts:
    gone = 0
    living = 0


@pytest.fixture
def counts() -> Iterator[Counts]:
    found = Counts()
    collector = Collector(lambda: found.gone, lambda: found.living)
    thresholds = gc.get_threshold()
    collector.start()
    yield found
    collector.stop()
    assert gc.get_freeze_count() == 0 and gc.get_threshold() == thresholds


def left(node: Node) -> weakref.ref[Node]:
    return weakref.ref(node)


def test_what_a_collection_has_left_is_not_looked_at_again(counts: Counts) -> None:
    node = Node()
    before = gc.get_freeze_count()
    rows = [[number] for number in range(1000)]
    gc.collect()
    assert gc.get_freeze_count() >= before + len(rows)
    assert not [each for each in gc.get_objects() if each is node]
    ref = left(node)
    del node
    gc.collect()
    assert ref() is not None, "not found: it was frozen"


def test_what_is_new_is_found(counts: Counts) -> None:
    gc.collect()
    ref = left(Node())
    gc.collect()
    assert ref() is None


@pytest.mark.parametrize(("living", "enough"), [(0, GONE_MIN), (10 * GONE_MIN, 5 * GONE_MIN)])
def test_everything_is_looked_at_when_much_has_gone(counts: Counts, living: int, enough: int) -> None:
    node = Node()
    gc.collect()
    ref = left(node)
    del node
    counts.living, counts.gone = living, enough
    gc.collect()
    assert ref() is not None
    counts.gone += 1
    gc.collect()
    assert ref() is None
    later = Node()
    gc.collect()
    again = left(later)
    del later
    counts.gone += enough
    gc.collect()
    assert again() is not None, "counted from the last time"
