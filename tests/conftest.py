"""Tests marked `slow` take minutes: they run only when they are asked for, by `-m slow` or their own make target."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _collector_works() -> Iterator[None]:
    """A test that turned the garbage collector off leaves descriptors behind, and others run out of them."""
    yield
    assert gc.isenabled(), "this test left the garbage collector off"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "slow" in config.option.markexpr:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    items[:] = [item for item in items if item not in slow]
    config.hook.pytest_deselected(items=slow)
