"""A server in a memory group of 64 MiB, and a neighbour who takes what is left of it.

The server says that it is the one to be killed. The page cache of the group is given back first, so what was written
but not synced goes to the disk in any order; then the kernel kills the server.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Final

from millpond.base.cgroup import MemoryGroup

from ..crash.model import Violation
from .servers import Server

LIMIT_BYTES: Final = 64 << 20
STEP_BYTES: Final = 1 << 20


class Crowded(Server):
    """`crowd()` gives it a neighbour."""

    def __init__(self, folder: Path, sync: str, group: MemoryGroup) -> None:
        super().__init__(folder, sync, prepare=self._join)
        self._group, self._is_v2 = Path(group.directory), group.version == 2
        self._neighbour = 0
        (self._group / ("memory.max" if self._is_v2 else "memory.limit_in_bytes")).write_text(str(LIMIT_BYTES))

    def _join(self) -> None:
        (self._group / "cgroup.procs").write_text(str(os.getpid()))
        Path("/proc/self/oom_score_adj").write_text("1000")

    def crowd(self) -> None:
        self.killed = True
        self._neighbour = os.fork()
        if self._neighbour:
            return
        try:
            os.closerange(3, 1024)
            (self._group / "cgroup.procs").write_text(str(os.getpid()))
            # Pages of a file in memory are the group's, and not this process's, so it is the smaller one of the two.
            taken, step = os.memfd_create("neighbour"), bytes(STEP_BYTES)
            while True:
                with contextlib.suppress(OSError):
                    os.write(taken, step)
        finally:
            os._exit(1)

    def reap(self) -> int:
        try:
            return super().reap()
        finally:
            if self._neighbour:
                os.kill(self._neighbour, signal.SIGKILL)
                os.waitpid(self._neighbour, 0)
                self._neighbour = 0

    def oom_kills(self) -> int:
        """How many processes of the group the kernel has killed."""
        file = self._group / ("memory.events" if self._is_v2 else "memory.oom_control")
        counts = dict(line.split() for line in file.read_text().splitlines())
        return int(counts["oom_kill"])

    def check(self, kills: int) -> None:
        """It was the kernel that killed it. Raises Violation."""
        if self.oom_kills() < kills:
            raise Violation(f"the kernel has killed {self.oom_kills()} processes, and the server died {kills} times")
