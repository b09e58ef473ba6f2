"""The server's watch over its memory: measures what is not charged piece by piece, and acts under pressure.

Every second (`tick`), and for each report:

    budget         charged by                    bound
    output         outboxes, live                a quarter of the total, shared by the accounts: who is over its share
                                                 is not read from, and its consumers do not deliver (base.budget)
    answers        imported services, live       a sixteenth of the total, shared by the accounts that ask: who is over
                                                 its share gives up its oldest request (broker.responses)
    input          unfinished frames, live       an eighth of the total, shared by the accounts: who is over its share
                                                 is not read from; who is slow at one frame ends (broker.paced)
    connections    sessions, OpenSSL's part      none of its own
    messages       memory streams, measured      jetstream.max_memory
    subjects, dedupe, consumers, buffers         measured; none of their own
    read_cache     measured                      READ_CACHE_BYTES
    runtime        measured once, when ready     the interpreter, its modules, the empty server

The total is `--memory`, or three quarters of the container's limit or of the machine. Under pressure, in this
order: above SHED_ABOVE of the total or of the container's limit what can be read again is dropped and free
heap goes back to the kernel; above the total streams refuse messages (10023) until it is below again.
Outboxes full of what receivers do not take are no reason to refuse: they stop the senders.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol

from millpond.base import cgroup, kernel, limits, machine, process_memory
from millpond.base.budget import Budget, Budgets
from millpond.config.options import Options
from millpond.monitor.memory_report import slope_per_hour
from millpond.structures import buffers

log = logging.getLogger("millpond")

OUTPUT_SHARE: Final = 4
"""The output's bound is the total divided by this."""
ANSWERS_SHARE: Final = 16
INPUT_SHARE: Final = 8
SHED_ABOVE: Final = 0.85
FULL_ABOVE: Final = 0.97
"""Of the container's limit, counting only what the kernel cannot take back."""
TRIM_ABOVE_BYTES: Final = 4 * limits.MIB
"""Heap that no budget names and that has come on top since the last trim."""
SUBSCRIPTION_BYTES: Final = 400
"""What one subscription to a subject of its own costs, measured with 40,000 of them."""
SLOPE_POINTS_MAX: Final = 512
SLOPE_AFTER_S: Final = 120.0
"""A server that starts grows; what it does before this age is no trend."""
MEASURED: Final = ("subjects", "messages", "dedupe", "consumers", "read_cache", "buffers")


class Watched(Protocol):
    """What holds memory and can say how much, by the names of budgets; JetStream's engine is one."""

    def survey(self, found: dict[str, int]) -> Iterator[None]:
        """Add what it holds to `found`, a part with each step."""
        ...

    def census(self, counts: dict[str, int], largest: list[tuple[str, int]], most: int) -> Iterator[None]:
        """How many there are of what it holds, and the names of those that hold most, a part with each step."""
        ...

    def shed(self) -> None:
        """Drop what can be read again."""
        ...

    def refuse(self, on: bool) -> None:
        """Take no messages into streams, or take them again."""
        ...


def total_bytes(options: Options) -> int:
    """The bound of all budgets together."""
    return options.memory_bytes or machine.memory_bytes() // 4 * 3


def budget_origin(options: Options) -> str:
    """Where the bound comes from, in words."""
    if options.memory_bytes:
        return "--memory"
    return "3/4 of the container's limit" if machine.cgroup_limit() else "3/4 of this machine's memory; see --memory"


def make_budgets(options: Options) -> Budgets:
    """A server's budgets with their bounds."""
    total = total_bytes(options)
    budgets = Budgets(total)
    budgets.named("output", total // OUTPUT_SHARE)
    budgets.named("input", total // INPUT_SHARE)
    budgets.named("answers", min(limits.SERVICE_RESPONSES_BYTES_MAX, total // ANSWERS_SHARE))
    budgets.named("read_cache", min(limits.READ_CACHE_BYTES, total // 8))
    return budgets


class MemoryWatch:
    """One server's. `subscriptions()` is the number of subscriptions in force."""

    def __init__(self, budgets: Budgets, subscriptions: Any) -> None:
        self._budgets = budgets
        self._subscriptions = subscriptions
        self.watched: Watched | None = None
        self._trend = Trend()
        self._trimmed_at = 0
        self._runtime = budgets.named("runtime")
        self._level = 0

    def watch(self, watched: Watched | None) -> None:
        """JetStream came or went."""
        self.watched = watched

    def ready(self) -> None:
        """The server has started: what the process holds beyond the budgets is its runtime."""
        kernel.trim()
        self.measure()
        self._runtime.settle(max(0, process_memory.read().anon - self._named()))
        self._trimmed_at = process_memory.read().anon - self._named()

    def _named(self) -> int:
        return sum(budget.used for budget in self._budgets)

    def measure(self) -> None:
        """Bring the measured budgets up to date, at once."""
        for _ in self.measuring():
            pass

    async def measured(self) -> None:
        """The same, while the loop runs."""
        for _ in self.measuring():
            await asyncio.sleep(0)

    def measuring(self) -> Iterator[None]:
        """The same, some streams with each step."""
        found = dict.fromkeys(MEASURED, 0)
        found["subjects"] = self._subscriptions() * SUBSCRIPTION_BYTES
        found["buffers"] = limits.READ_BUFFER_BYTES + buffers.kept_bytes()
        if self.watched is not None:
            yield from self.watched.survey(found)
        for name, size in found.items():
            self._budgets.named(name).settle(size)

    def tick(self, now_s: float) -> Iterator[None]:
        """Once a second, in steps: measure, act, remember for the trend."""
        buffers.give_back()
        yield from self.measuring()
        process = process_memory.read()
        group = own_group()
        self._trend.add(now_s, group.working_set if group else process.rss)
        self._act(self._pressure(group))
        unnamed = process.anon - self._named()
        if unnamed - self._trimmed_at > TRIM_ABOVE_BYTES:
            kernel.trim()
            self._trimmed_at = process_memory.read().anon - self._named()
        self._trimmed_at = min(self._trimmed_at, unnamed)

    def _pressure(self, group: cgroup.GroupMemory | None) -> int:
        """0: none, 1: shed, 2: refuse."""
        total = self._budgets.total
        share = total.used / total.bytes_max if total.bytes_max else 0.0
        kept = 0.0
        if group is not None and group.limit:
            reclaimable = group.active_file + group.inactive_file + group.slab_reclaimable
            kept = (group.usage - reclaimable) / group.limit
        if share > 1 or kept > FULL_ABOVE:
            return 2
        return 1 if max(share, kept) > SHED_ABOVE else 0

    def _act(self, level: int) -> None:
        if level > 0:
            buffers.give_back(all=True)
            if self.watched is not None:
                self.watched.shed()
        if level != self._level:
            self._say(level)
            if level > 0:
                kernel.trim()
            if self.watched is not None:
                self.watched.refuse(level == 2)
            self._level = level

    def _say(self, level: int) -> None:
        total = self._budgets.total
        biggest = ", ".join(f"{b.name} {b.used / limits.MIB:.1f}" for b in largest(self._budgets))
        words = {
            0: "Memory: pressure is over",
            1: "Memory: caches are dropped",
            2: "Memory: streams refuse messages (10023) until there is room",
        }
        log.log(
            logging.WARNING if level else logging.INFO,
            "%s; %.1f of %.1f MiB are used (%s). More: --memory, or the container's limit",
            words[level], total.used / limits.MIB, total.bytes_max / limits.MIB, biggest,
        )  # fmt: skip

    @property
    def slope_bytes_per_hour(self) -> int:
        """Of the working set, over the younger half of what is remembered; 0 while the server is young."""
        return self._trend.slope()


class Trend:
    """At most SLOPE_POINTS_MAX points over the whole life: when full, every second one goes."""

    def __init__(self) -> None:
        self._points: list[tuple[float, float]] = []
        self._began_s: float | None = None
        self._step_s = 1.0

    def add(self, now_s: float, size: int) -> None:
        if self._began_s is None:
            self._began_s = now_s
        if now_s - self._began_s < SLOPE_AFTER_S:
            return
        if self._points and now_s - self._points[-1][0] < self._step_s:
            return
        self._points.append((now_s, float(size)))
        if len(self._points) > SLOPE_POINTS_MAX:
            self._points = self._points[::2]
            self._step_s *= 2

    def slope(self) -> int:
        return round(slope_per_hour(self._points[len(self._points) // 2 :])[0])


def largest(budgets: Iterable[Budget]) -> list[Budget]:
    """The three that hold most."""
    return sorted(budgets, key=lambda budget: -budget.used)[:3]


def own_group() -> cgroup.GroupMemory | None:
    """What our container is charged with; None where that cannot be seen."""
    try:
        return cgroup.read(cgroup.group_of())
    except (cgroup.CgroupError, OSError):
        return None
