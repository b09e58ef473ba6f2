"""Where the memory of a process and of its container is, as one value.

    working set  =  anon + shmem + active_file + kernel (+ sock, v2)  + unexplained
                      │                │            └ slab: dentries, inodes
                      │                └ file pages used twice; the kernel may take them back
                      └ the processes' own; of ours the budgets name the parts

`report()` reads a handful of small /proc and cgroup files in about a millisecond, cheap enough for each
/varz. All sizes are bytes; 0 means "none" or "the kernel does not say". The values of one report are read
one after the other, not at one instant, so parts may differ from sums by what changed in between; the
kernel itself charges pages in batches of up to 64 for each CPU.
"""

from __future__ import annotations

import os
from typing import Final, Protocol

import msgspec

from millpond.base import cgroup as cgroups
from millpond.base import process_memory
from millpond.base.budget import Budget

FILES_MAX: Final = 256
"""Files below the data directory that one report asks the kernel about (about 5 us each)."""


NEAREST_ABOVE: Final = "the process' own group has no memory controller; this is the nearest above it"


class BudgetsView(Protocol):
    """What the report needs of `base.budget.Budgets`."""

    @property
    def total(self) -> Budget: ...

    def report(self) -> dict[str, tuple[int, int]]: ...


class BudgetUse(msgspec.Struct, frozen=True):
    """Bytes charged now, and the bound (0: none of its own)."""

    used: int
    max: int


class MemoryReport(msgspec.Struct, frozen=True, kw_only=True):
    """One look at one process and its memory group. `pid` 0: the group as a whole."""

    pid: int = 0
    group: str = ""
    """Directory of the memory group; empty: none could be read, and `note` says why."""
    group_version: int = 0
    note: str = ""

    rss: int = 0
    """Resident pages of the process; without a pid, of all processes of the group."""
    anon: int = 0
    """The process' own (heap, stacks); without a pid, of all processes of the group."""
    anon_group: int = 0
    shmem: int = 0
    working_set: int = 0
    """usage - inactive_file: what Kubernetes shows. Without a group: rss."""
    cgroup_current: int = 0
    cgroup_limit: int = 0
    active_file: int = 0
    inactive_file: int = 0
    kernel: int = 0
    slab: int = 0
    """v2: exact. v1: kernel memory less stacks and page tables."""
    slab_reclaimable: int = 0
    """v2 only."""
    sock: int = 0
    page_cache_own: int = 0
    """Pages of the files below the data directory."""
    budgets: dict[str, BudgetUse] = {}
    counts: dict[str, int] = {}
    """How many there are of what the budgets hold; only a Millpond tells."""
    streams: dict[str, int] = {}
    """Bytes in memory of the streams that hold most, the largest first; likewise."""
    unexplained: int = 0
    """The part of the working set that nothing above names. With a `pid`, other processes are in it."""
    negative_dentries: int = 0
    """Of the whole machine: names remembered not to exist."""

    @property
    def budgets_used(self) -> int:
        return sum(budget.used for budget in self.budgets.values())


def report(
    pid: int | None = None,
    cgroup: str | None = None,
    data_dir: str | None = None,
    budgets: BudgetsView | None = None,
    own_pages: int = 0,
) -> MemoryReport:
    """Look at process `pid` (None: this one) and its memory group, or at the group in the directory `cgroup`.

    own_pages: what is known of the pages of the files below `data_dir`, instead of it.
    A process without a readable group still gets a report of what /proc says, with a `note`.
    Raises ProcessLookupError, PermissionError, and CgroupError for a `cgroup` that cannot be read.
    """
    assert pid is None or cgroup is None, "a process or a group, not both"
    if data_dir:
        own_pages = process_memory.file_cache(data_dir, FILES_MAX).cached
    shares = {name: BudgetUse(*share) for name, share in budgets.report().items()} if budgets else {}
    if cgroup is not None:
        return _of_group(cgroups.group_at(cgroup), own_pages)
    process = process_memory.read(pid)
    try:
        group = cgroups.group_of(pid)
        memory = cgroups.read(group)
    except cgroups.CgroupError as error:
        return MemoryReport(
            pid=pid or os.getpid(),
            note=str(error),
            rss=process.rss,
            anon=process.anon,
            working_set=process.rss,
            page_cache_own=own_pages,
            budgets=shares,
            negative_dentries=process_memory.negative_dentries(),
        )
    slab = cgroups.estimated_slab(memory, process.threads, process.page_tables)
    return _joined(
        memory, group, slab, pid=pid or os.getpid(), process=process, own_pages=own_pages, shares=shares
    )


def varz_object(budgets: BudgetsView | None = None, own_pages: int = 0) -> dict[str, int]:
    """The `memory` object of /varz for this process: plain numbers, so that exporters make metrics of each.

    own_pages: bytes in the page cache of the files below the data directory.
    Besides the fields of `MemoryReport`: `budget` (the bound of all budgets together), `used` (their sum),
    `used_by_NAME` and `budget_NAME`.
    """
    seen = report(budgets=budgets, own_pages=own_pages)
    values = {name: getattr(seen, name) for name in VARZ_FIELDS}
    values["budget"] = budgets.total.bytes_max if budgets is not None else 0
    values["used"] = seen.budgets_used
    for name, share in seen.budgets.items():
        values[f"used_by_{name}"] = share.used
        values[f"budget_{name}"] = share.max
    return values


VARZ_FIELDS: Final = (
    "rss",
    "anon",
    "anon_group",
    "shmem",
    "working_set",
    "cgroup_current",
    "cgroup_limit",
    "active_file",
    "inactive_file",
    "kernel",
    "slab",
    "slab_reclaimable",
    "sock",
    "page_cache_own",
    "unexplained",
    "negative_dentries",
)


def from_varz(values: dict[str, object]) -> MemoryReport:
    """The way back from `varz_object`, for a reader of another server's /varz. Unknown keys are left out."""
    numbers = {name: value for name, value in values.items() if isinstance(value, int)}
    shares = {
        name[8:]: BudgetUse(value, numbers.get("budget_" + name[8:], 0))
        for name, value in numbers.items()
        if name.startswith("used_by_")
    }
    known = {name: numbers.get(name, 0) for name in VARZ_FIELDS}
    return msgspec.convert({**known, "budgets": shares}, MemoryReport)


def with_memz(seen: MemoryReport, page: dict[str, object]) -> MemoryReport:
    """A look from outside, with what the server's own /memz tells. Raises msgspec.ValidationError."""
    told = msgspec.convert(page, Memz)
    budgets = from_varz(dict(told.memory)).budgets
    streams = {stream.name: stream.bytes for stream in told.streams}
    return msgspec.structs.replace(seen, budgets=budgets, counts=told.counts, streams=streams)


class StreamHeld(msgspec.Struct, frozen=True):
    name: str
    bytes: int


class Memz(msgspec.Struct, frozen=True):
    """What is read of a /memz page."""

    memory: dict[str, int]
    counts: dict[str, int]
    streams: list[StreamHeld]


def _of_group(group: cgroups.MemoryGroup, own_pages: int) -> MemoryReport:
    """The group as a whole; `rss` and the page tables are summed over its processes."""
    memory = cgroups.read(group)
    rss = threads = page_tables = 0
    for pid in cgroups.pids(group):
        try:
            process = process_memory.read(pid)
        except ProcessLookupError:
            continue  # gone since the list was read
        rss += process.rss
        threads += process.threads
        page_tables += process.page_tables
    slab = cgroups.estimated_slab(memory, threads, page_tables)
    whole = process_memory.ProcessMemory(
        rss=rss, anon=memory.anon, file=0, shmem=0, page_tables=page_tables, threads=threads, swap=0
    )
    return _joined(memory, group, slab, pid=0, process=whole, own_pages=own_pages, shares={})


def _joined(
    memory: cgroups.GroupMemory,
    group: cgroups.MemoryGroup,
    slab: int,
    *,
    pid: int,
    process: process_memory.ProcessMemory,
    own_pages: int,
    shares: dict[str, BudgetUse],
) -> MemoryReport:
    named = memory.named - memory.anon + process.anon
    return MemoryReport(
        pid=pid,
        group=group.directory,
        group_version=memory.version,
        note="" if group.exact else NEAREST_ABOVE,
        rss=process.rss,
        anon=process.anon,
        anon_group=memory.anon,
        shmem=memory.shmem,
        working_set=memory.working_set,
        cgroup_current=memory.usage,
        cgroup_limit=memory.limit,
        active_file=memory.active_file,
        inactive_file=memory.inactive_file,
        kernel=memory.kernel,
        slab=slab,
        slab_reclaimable=memory.slab_reclaimable,
        sock=memory.sock,
        page_cache_own=own_pages,
        budgets=shares,
        unexplained=max(0, memory.working_set - named),
        negative_dentries=process_memory.negative_dentries(),
    )


def slope_per_hour(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Least-squares slope of (seconds, bytes) points and its standard error, both in bytes per hour.

    Fewer than three points, or no spread in time, have no known error: it is infinite.
    """
    n = len(points)
    if n < 2:
        return 0.0, float("inf")
    mean_t = sum(t for t, _ in points) / n
    mean_y = sum(y for _, y in points) / n
    spread = sum((t - mean_t) ** 2 for t, _ in points)
    if spread == 0:
        return 0.0, float("inf")
    slope = sum((t - mean_t) * (y - mean_y) for t, y in points) / spread
    if n < 3:
        return slope * 3600, float("inf")
    residual = sum((y - mean_y - slope * (t - mean_t)) ** 2 for t, y in points)
    error = (residual / (n - 2) / spread) ** 0.5
    return float(slope * 3600), float(error * 3600)
