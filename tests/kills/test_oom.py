"""The kernel kills the server for want of memory, in the middle of its load: nothing that was answered is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from millpond.base.cgroup import MemoryGroup
from millpond.cli.bench_memory_target import Fence

from .campaign import Campaign

SEED = int(os.environ.get("MILLPOND_CRASH_SEED", "1"))


@pytest.fixture
def group() -> Iterator[MemoryGroup]:
    fence = Fence()
    try:
        if fence.why:
            pytest.skip(fence.why)
        made = fence.group("oom")
        assert made is not None
        yield made
    finally:
        fence.close()


def test_a_few_kills_for_want_of_memory(tmp_path: Path, group: MemoryGroup) -> None:
    """`make oom` has a thousand of them."""
    summary = Campaign(tmp_path, SEED, jobs=1, groups=[group]).run(kills=4)
    assert summary.violations == []
    assert summary.kills["for want of memory"] >= 3 and summary.sums["answers"] > 0
