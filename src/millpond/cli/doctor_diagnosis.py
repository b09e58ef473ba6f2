"""From memory reports over some seconds to a diagnosis: what grows, why, and what to do. Pure: reads nothing.

What counts as growth: a least-squares slope that is at least three of its standard errors, and whose rise
over the window is more than the kernel's own grain (it charges memory in batches of 256 KiB for each CPU)
and more than a share of the level: 1 % of what the kernel keeps, 10 % of a heap (garbage collectors breathe).

What the kernel can take back when the limit is near: page cache and most of the slab. What it cannot:
anonymous pages (there is no swap in a pod), tmpfs, stacks, page tables, sockets. A limit must fit the
second with room to spare, and leave something for the first; it need not fit all of the first.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from millpond.base.process_memory import NEGATIVE_DENTRY_BYTES
from millpond.monitor.memory_report import MemoryReport, slope_per_hour

KIB: Final = 1024
MIB: Final = 1024 * KIB
GRAIN_BYTES: Final = 256 * KIB
LEVEL_SHARE: Final = 0.01
HEAP_SHARE: Final = 0.10
ERRORS_NEEDED: Final = 3.0
LIMIT_STEP_BYTES: Final = 32 * MIB
LIMIT_MIN_BYTES: Final = 64 * MIB
CACHE_ROOM_BYTES: Final = 32 * MIB
SLAB_NOTEWORTHY_BYTES: Final = 8 * MIB
NAMES_SHARE_NEEDED: Final = 0.25
"""Negative dentries are called the cause when they could be at least this part of the slab."""
SLAB_KEPT_V1_BYTES: Final = 8 * MIB
"""v1 does not tell which slab can be taken back: this much of it is counted as staying."""

MEASURES: Final = {
    "working_set": "working set",
    "anon": "process memory",
    "active_file": "active page cache",
    "inactive_file": "inactive page cache",
    "shmem": "shared memory",
    "kernel": "kernel memory",
}


class Slope(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes per hour, its standard error (None: too few samples), and the rise over the window in bytes."""

    per_hour: float
    error: float | None
    rise: float
    climbing: bool


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen (the last report), how it moved, and what follows. Sizes in bytes."""

    subject: str
    seconds: float
    samples: int
    last: MemoryReport
    working_set: int
    slopes: dict[str, Slope]
    names_forgotten: int
    """Negative dentries that the whole machine gained in the window (can be below 0)."""
    climbing: bool
    verdict: str
    causes: list[str]
    advice: list[str]
    limit_suggested: int
    data_dir: str = ""
    doctor_itself: int = 0
    """This command's own memory, when it runs in the same group."""


def diagnose(
    subject: str,
    reports: list[tuple[float, MemoryReport]],
    data_dir: str = "",
    doctor_itself: int = 0,
    program: str = "",
) -> Diagnosis:
    """`reports` are (seconds, report), oldest first, at least one. `program` is the process' name."""
    assert reports, "nothing was seen"
    last = reports[-1][1]
    seconds = reports[-1][0] - reports[0][0]
    slopes = {name: _slope(reports, name, seconds) for name in MEASURES}
    names_forgotten = last.negative_dentries - reports[0][1].negative_dentries
    climbing = any(slopes[name].climbing for name in MEASURES if name != "inactive_file")
    limit = suggested_limit(last)
    return Diagnosis(
        subject=subject,
        seconds=seconds,
        samples=len(reports),
        last=last,
        working_set=last.working_set,
        slopes=slopes,
        names_forgotten=names_forgotten,
        climbing=climbing,
        verdict=_verdict(slopes, seconds, len(reports)),
        causes=_causes(reports[0][1], last, slopes, names_forgotten, program),
        advice=_advice(last, slopes, limit),
        limit_suggested=limit,
        data_dir=data_dir,
        doctor_itself=doctor_itself,
    )


def suggested_limit(seen: MemoryReport) -> int:
    """Half as much again as what must stay, room for the cache that is there (32 MiB at most), in steps."""
    stays = must_stay(seen)
    total = seen.cgroup_current or seen.rss
    room = min(CACHE_ROOM_BYTES, max(0, total - stays))
    steps = math.ceil((stays * 1.5 + room) / LIMIT_STEP_BYTES)
    return max(LIMIT_MIN_BYTES, steps * LIMIT_STEP_BYTES)


def must_stay(seen: MemoryReport) -> int:
    """What the kernel cannot take back, as well as it can be known."""
    if not seen.cgroup_current:
        return seen.rss
    if seen.slab_reclaimable:
        kernel = seen.kernel - seen.slab_reclaimable
    else:
        kernel = seen.kernel - seen.slab + min(seen.slab, SLAB_KEPT_V1_BYTES)
    return max(seen.anon_group, seen.anon) + seen.shmem + seen.sock + max(0, kernel)


def _slope(reports: list[tuple[float, MemoryReport]], name: str, seconds: float) -> Slope:
    points = [(at, float(getattr(report, name))) for at, report in reports]
    per_hour, error = slope_per_hour(points)
    rise = per_hour * seconds / 3600
    level = max(y for _, y in points)
    share = HEAP_SHARE if name in ("anon", "working_set") else LEVEL_SHARE
    sure = math.isfinite(error) and per_hour >= ERRORS_NEEDED * error
    return Slope(
        per_hour=per_hour,
        error=error if math.isfinite(error) else None,
        rise=rise,
        climbing=sure and rise >= max(GRAIN_BYTES, share * level),
    )


def _verdict(slopes: dict[str, Slope], seconds: float, samples: int) -> str:
    total = slopes["working_set"]
    if samples < 3 or total.error is None:
        return "one look only: no trend. Give --seconds 60 or more"
    grain = max(ERRORS_NEEDED * total.error, GRAIN_BYTES / seconds * 3600)
    moves = f"{per_hour(total.per_hour)} over {seconds:.0f} s"
    climbing = [name for name in MEASURES if name != "inactive_file" and slopes[name].climbing]
    if not climbing:
        if total.per_hour < -grain:
            return f"falling. Slope {moves}"
        return (
            f"flat, within what this window can show. Slope {moves}; a climb below {grain / MIB:.0f} MiB/h hides in it"
        )
    parts = [f"{MEASURES[name]} {per_hour(slopes[name].per_hour)}" for name in climbing if name != "working_set"]
    return f"climbing. Slope {moves}" + (f": {', '.join(parts)}" if parts else "")


def _causes(
    first: MemoryReport, last: MemoryReport, slopes: dict[str, Slope], names_forgotten: int, program: str
) -> list[str]:
    found = []
    if slopes["anon"].climbing:
        found += _heap_causes(first, last)
    if slopes["kernel"].climbing or last.slab >= SLAB_NOTEWORTHY_BYTES:
        found.append(_slab_cause(last, slopes, names_forgotten, program))
    if slopes["active_file"].climbing or last.active_file > last.working_set / 4:
        found.append(
            f"{mib(last.active_file)} of the working set are file pages that were used more than once (active). "
            "The kernel takes them back when the limit is near; nothing is lost then, but requests can wait."
        )
    if slopes["shmem"].climbing or last.shmem > last.working_set / 4:
        found.append(
            f"{mib(last.shmem)} are tmpfs files or shared memory: they count like heap and cannot be taken back."
        )
    return found


BUDGET_WORDS: Final = {
    "runtime": ("Python and code", "it is measured once, when the server has started"),
    "connections": ("connections", "more clients are connected, or came and went"),
    "output": (
        "output that clients have not taken",
        "some clients take less than they are sent: /connz?sort=pending names them",
    ),
    "subjects": (
        "subject index",
        "streams hold more messages or subjects: max_age, max_msgs and max_bytes bound them",
    ),
    "messages": (
        "memory streams",
        "they keep what is published: max_age, max_msgs and max_bytes bound them",
    ),
    "dedupe": (
        "duplicate windows",
        "ids of messages (Nats-Msg-Id) are remembered for their stream's duplicate_window: a shorter one holds fewer",
    ),
    "consumers": (
        "consumers",
        "there are more of them, or more messages wait for acknowledgement (max_ack_pending bounds that)",
    ),
    "read_cache": ("read cache", "messages are read that were not in memory; it stops at its budget"),
    "buffers": ("buffers", "more is written than the disk has taken"),
}
"""Budget -> (what people call it, why it grows and what bounds it)."""


def budget_words(budget: str) -> str:
    """A budget's name for people."""
    return BUDGET_WORDS.get(budget, (budget.replace("_", " "), ""))[0]


def _heap_causes(first: MemoryReport, last: MemoryReport) -> list[str]:
    """Which budgets grew; without budgets, what can be said of any program."""
    grown = {
        name: share.used - first.budgets[name].used
        for name, share in last.budgets.items()
        if name in first.budgets and share.used - first.budgets[name].used >= GRAIN_BYTES
    }
    if not last.budgets:
        return [
            "The process' own memory grows (heap or stacks). That is inside the program: its profiler tells "
            "more than the container's numbers do."
        ]
    if not grown:
        return ["The process' own memory grows, and none of its budgets does: please report it."]
    unknown = ("", "see docs/memory.md")
    return [
        f"{budget_words(name).capitalize()} grew by {mib(size)}: {BUDGET_WORDS.get(name, unknown)[1]}."
        for name, size in sorted(grown.items(), key=lambda item: -item[1])
    ]


def _slab_cause(last: MemoryReport, slopes: dict[str, Slope], names_forgotten: int, program: str) -> str:
    kernel = slopes["kernel"]
    text = [f"{mib(last.kernel)} are kernel memory, {mib(last.slab)} of it slab: neither heap nor data."]
    if kernel.climbing and not slopes["anon"].climbing:
        text.append("It climbs while the process does not.")
    if kernel.climbing and names_forgotten > 0:
        share = min(1.0, names_forgotten * NEGATIVE_DENTRY_BYTES / kernel.rise)
        text.append(
            f"Meanwhile this machine came to remember {names_forgotten:,} more file names that do not exist "
            f"(negative dentries): at about {NEGATIVE_DENTRY_BYTES} B each {share:.0%} of the rise."
        )
    known = last.negative_dentries
    if known and known * NEGATIVE_DENTRY_BYTES < NAMES_SHARE_NEEDED * last.slab:
        text.append(
            f"The whole machine remembers only {known:,} names that do not exist, so most of the slab is something "
            "else: mostly inodes and names of files that do exist."
        )
        return " ".join(text)
    names = last.slab // NEGATIVE_DENTRY_BYTES
    text.append(
        f"If all the slab is such names, it is about {min(names, known) if known else names:,} of them: "
        "files with ever-new names that were created and unlinked, or looked for in vain."
    )
    if "nats-server" in program:
        text.append(
            "nats-server goes on to a block file with a new name when a stream is emptied, for example by each "
            "purge of its only message; every name that it unlinks stays behind in the kernel."
        )
    text.append("To prove it, as root on the node: echo 2 > /proc/sys/vm/drop_caches gives such memory back at once.")
    return " ".join(text)


def _advice(last: MemoryReport, slopes: dict[str, Slope], limit: int) -> list[str]:
    found = []
    if slopes["anon"].climbing:
        found.append("No limit is right while the process itself grows: bound what it keeps first.")
    else:
        stays = must_stay(last)
        found.append(
            f"Suggested limit: {limit // MIB}Mi, requests = limits ({mib(stays)} cannot be taken back; half as much "
            "again, and room for cache)."
        )
    reclaimable = slopes["kernel"].climbing or slopes["active_file"].climbing
    if reclaimable and not slopes["anon"].climbing:
        found.append(
            "What climbs can be taken back: at the limit the kernel does so, in bursts in which requests wait. Alarm "
            "on the process' memory (container_memory_rss) and on OOM kills, not on the working set."
        )
    growth = slopes["working_set"].per_hour
    if last.cgroup_limit and slopes["working_set"].climbing:
        left = max(0, last.cgroup_limit - last.working_set)
        found.append(f"At this slope the limit of {mib(last.cgroup_limit)} is reached in {hours(left / growth)}.")
    elif last.cgroup_current and not last.cgroup_limit:
        found.append("There is no limit now: what can be taken back is kept until the machine itself is short of it.")
    return found


def mib(n: float) -> str:
    return f"{n / MIB:.1f} MiB"


def per_hour(n: float) -> str:
    return f"{n / MIB:+.1f} MiB/h"


def hours(n: float) -> str:
    return f"{n * 60:.0f} minutes" if n < 2 else f"{n:.0f} hours" if n < 48 else f"{n / 24:.0f} days"
