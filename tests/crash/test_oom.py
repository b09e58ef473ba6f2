"""The kernel kills the server for want of memory, in the middle of its load: nothing that was answered is lost.

The server has a memory group of 64 MiB, and says that it is the one to be killed. Another process takes what is left
there: so the page cache is given back first, and what was written but not synced goes to the disk in any order.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from millpond.base.cgroup import MemoryGroup
from millpond.cli.bench_memory_target import Fence

from .campaign import Campaign, Server

SEED = int(os.environ.get("MILLPOND_CRASH_SEED", "1"))
KILLS = int(os.environ.get("MILLPOND_OOM_KILLS", "1000"))
LIMIT_BYTES: Final = 64 << 20
HOG: Final = """
import os, sys
open(sys.argv[1], "w").write(str(os.getpid()))
taken = []
while True:
    taken.append(b"x" * (1 << 20))
"""


class Crowded(Server):
    """A server in a group that has room for no one else. kill() gives it somebody."""

    def __init__(self, folder: Path, group: MemoryGroup) -> None:
        super().__init__(folder, "always")
        self._group = Path(group.directory)
        self._is_v2 = group.version == 2
        self._hog: subprocess.Popen[bytes] | None = None
        (self._group / ("memory.max" if self._is_v2 else "memory.limit_in_bytes")).write_text(str(LIMIT_BYTES))

    def prepare(self) -> None:
        (self._group / "cgroup.procs").write_text(str(os.getpid()))
        Path("/proc/self/oom_score_adj").write_text("1000")

    def kill(self) -> None:
        self._hog = subprocess.Popen([sys.executable, "-I", "-S", "-c", HOG, self._group / "cgroup.procs"])

    def reap(self) -> None:
        try:
            super().reap()
        finally:
            if self._hog is not None:
                self._hog.kill()
                self._hog.wait()
                self._hog = None

    def killed(self) -> int:
        """How many processes of the group the kernel has killed."""
        file = self._group / ("memory.events" if self._is_v2 else "memory.oom_control")
        counts = dict(line.split() for line in file.read_text().splitlines())
        return int(counts["oom_kill"])


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


def play(folder: Path, group: MemoryGroup, kills: int) -> int:
    """Returns how many answers were checked."""
    server = Crowded(folder, group)
    campaign = Campaign(folder, SEED, server=server)
    campaign.run(kills)
    assert server.killed() >= kills, "it was the kernel that killed it"
    return campaign.answers


def test_a_few_kills_for_want_of_memory(tmp_path: Path, group: MemoryGroup) -> None:
    assert play(tmp_path, group, 3) > 0


@pytest.mark.slow
def test_many_kills_for_want_of_memory(tmp_path: Path, group: MemoryGroup) -> None:
    answers = play(tmp_path, group, KILLS)
    print(f"{KILLS} kills in {LIMIT_BYTES >> 20} MiB, {answers} answers checked, seed {SEED}")
