"""The whole load, the restarts between, the comparison after each, and the memory of the server meanwhile."""

from __future__ import annotations

import asyncio
import csv
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from millpond.base import cgroup, process_memory
from millpond.cli.bench_memory_target import Fence

from ..conformance.target import MILLPOND, Target
from .fleeting import ENDED_S, Fleeting
from .lanes import Lane, WorkLane, lane_config
from .readers import Reader

MIB: Final = 1024 * 1024
SAMPLE_S: Final = 1.0
SETTLED_S: Final = 120.0
"""Memory is compared from here on: what a server needs it has by then."""


class Server(Target):
    """`millpond serve`, in a memory group of its own where that is possible: the group outlives restarts."""

    def __init__(self, group: cgroup.MemoryGroup | None) -> None:
        super().__init__(MILLPOND)
        self.group = group

    def _command(self) -> list[str]:
        if self.group is None:
            return super()._command()
        procs = str(Path(self.group.directory, "cgroup.procs"))
        return ["/bin/sh", "-c", 'echo $$ > "$0"; exec "$@"', procs, *super()._command()]

    def sample(self) -> tuple[int, int]:
        """(RSS, working set of the group or 0), bytes."""
        assert self.process is not None
        rss = process_memory.read(self.process.pid).rss
        return rss, cgroup.read(self.group).working_set if self.group is not None else 0


@dataclass
class Sample:
    """`life_s`: since the last restart."""

    seconds: float
    life: int
    life_s: float
    rss: int
    working_set: int


@dataclass
class Result:
    operations: int = 0
    deliveries: int = 0
    lives: int = 0
    terms: int = 0
    kills: int = 0
    seconds: float = 0.0
    samples: list[Sample] = field(default_factory=list)

    def text(self) -> str:
        settled = [one for one in self.samples if one.seconds >= min(SETTLED_S, self.seconds / 4)]
        last = [one for one in self.samples if one.life == self.lives]
        quiet = [one for one in last if one.life_s >= min(SETTLED_S, self.seconds / 12)]
        lines = [
            f"{self.seconds:.0f} s, {self.operations} operations, {self.deliveries} deliveries, "
            f"{self.terms + self.kills} restarts ({self.terms} TERM, {self.kills} kill -9), no divergence"
        ]
        for name, rows in (("whole run", settled), ("last life", quiet)):
            if rows:
                lines.append(
                    f"{name}, after {rows[0].seconds:.0f} s and at the end, MiB: working set "
                    f"{rows[0].working_set / MIB:.1f} -> {rows[-1].working_set / MIB:.1f} (at most "
                    f"{max(one.working_set for one in rows) / MIB:.1f}), RSS {rows[0].rss / MIB:.1f} -> "
                    f"{rows[-1].rss / MIB:.1f} (at most {max(one.rss for one in rows) / MIB:.1f})"
                )
        return "\n".join(lines)


class Soak:
    """`seconds` of load. Restarts come every `life_s` seconds on average, none in the last third: memory that only
    grows within one life shows there."""

    def __init__(self, seconds: float, seed: int, life_s: float, burst: int, report: Path | None = None) -> None:
        self.seconds, self.life_s, self.report = seconds, life_s, report
        self.rng = rng = Random(seed)
        self.result = Result()
        self.work = WorkLane(lane_config("WORK", rng, "file", **UNBOUNDED, retention="workqueue"), rng, burst)
        self.lanes: list[Lane] = [
            Lane(lane_config("KEYS", rng, "file", allow_rollup_hdrs=True), rng, burst),
            Lane(lane_config("LIMITS", rng, "file"), rng, burst),
            Lane(lane_config("COUNTS", rng, "file", **OLD, allow_msg_counter=True), rng, burst),
            Lane(lane_config("MEMORY", rng, "memory", allow_rollup_hdrs=True), rng, burst),
            self.work,
        ]
        self.fleeting = [Fleeting("ENDS", "file", rng, burst), Fleeting("ENDSMEM", "memory", rng, burst)]
        self.readers = [
            Reader(self.lanes[0], "ab", ["KEYS.a", "KEYS.b"], rng),
            Reader(self.lanes[0], "wild", ["KEYS.*", "KEYS.c.>"], rng),
            Reader(self.lanes[1], "one", ["LIMITS.c.*"], rng),
            Reader(self.lanes[3], "mem", ["MEMORY.a", "MEMORY.c.>"], rng),
            Reader(self.work, "first", ["WORK.a", "WORK.b"], rng),
            Reader(self.work, "second", ["WORK.c.>"], rng),
        ]
        workers = self.readers[-2:]
        self.work.gone = lambda: set().union(*(one.confirmed for one in workers))
        self.work.perhaps_gone = lambda: set().union(*(one.doubtful for one in workers))

    def run(self) -> Result:
        """Raises Violation at the first divergence."""
        fence = Fence()
        server = Server(fence.group("soak"))
        try:
            asyncio.run(self._run(server))
            return self.result
        except BaseException:
            print(server.log()[-4000:])
            raise
        finally:
            server.discard()
            fence.close()

    async def _run(self, server: Server) -> None:
        began = time.monotonic()
        await asyncio.to_thread(server.start)
        await self._create(server)
        while (left := self.seconds - (time.monotonic() - began)) > 0:
            last = left < self.seconds / 3
            length = left if last else self.rng.uniform(0.5, 1.5) * self.life_s
            await self._life(server, began, length, None if last else self.rng.random() < 0.5)
        self.result.seconds = time.monotonic() - began
        await self._end(server)
        self.result.operations = sum(one.operations for one in (*self.lanes, *self.fleeting))
        self.result.deliveries = sum(reader.deliveries for reader in self.readers)

    async def _create(self, server: Server) -> None:
        for lane in self.lanes:
            await lane.begin(server.port)
        await self._compare(server)

    async def _compare(self, server: Server) -> None:
        for one in (*self.lanes, *self.fleeting):
            await one.compare(server.port)
        for reader in self.readers:
            await reader.create(server.port)

    async def _life(self, server: Server, began: float, length: float, kill: bool | None) -> None:
        """Load for so long, then a restart under load (None: the load ends, and the server goes on)."""
        stop = asyncio.Event()
        port, started = server.port, time.monotonic()
        self.result.lives += 1
        async with asyncio.TaskGroup() as group:
            for one in (*self.lanes, *self.fleeting, *self.readers):
                group.create_task(one.run(port, stop))
            while (now := time.monotonic()) - started < length:
                rss, working_set = server.sample()
                self.result.samples.append(Sample(now - began, self.result.lives, now - started, rss, working_set))
                self._write(self.result.samples[-1])
                await asyncio.sleep(min(SAMPLE_S, length))
            if kill is None:
                stop.set()
            else:
                await asyncio.to_thread(lambda: server.stop(kill=kill))
        if kill is not None:
            self.result.kills += kill
            self.result.terms += not kill
            await asyncio.to_thread(server.start)
        await self._compare(server)

    async def _end(self, server: Server) -> None:
        """Consumers get what is left; an orderly restart changes nothing; what ends has ended."""
        for reader in self.readers:
            async with asyncio.timeout(ENDED_S):
                await reader.check_drained(server.port)
        await self._compare(server)
        await asyncio.to_thread(server.restart)
        await self._compare(server)
        for reader in self.readers:
            if not reader.lane.in_memory:
                async with asyncio.timeout(ENDED_S):
                    await reader.check_drained(server.port)

    def _write(self, sample: Sample) -> None:
        if self.report is not None:
            with self.report.open("a", newline="") as file:
                row = (f"{sample.seconds:.1f}", f"{sample.life_s:.1f}", sample.rss, sample.working_set)
                csv.writer(file).writerow(row)


UNBOUNDED: Final = {
    "max_msgs": -1, "max_bytes": -1, "max_msgs_per_subject": -1, "max_msg_size": -1, "discard": "old",
    "discard_new_per_subject": False, "allow_atomic": False,
}  # fmt: skip
OLD: Final = {"discard": "old", "discard_new_per_subject": False}
