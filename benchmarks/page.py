"""docs/performance.md from the figures of compare.py."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from rows import OURS, TABLES, THEIRS, Table

from millpond.bench.report import duration

if TYPE_CHECKING:
    from compare import Figures, Measured

INTRODUCTION = """# Performance

Written by `make bench`; do not edit by hand. It starts this server and nats-server in turn, each alone, under the same
load from a generator written in C (`millpond bench`), and shows medians. Rates depend on what else the machine does;
the CPU time that one operation costs the server hardly does, so read that column first. `make bench-quick` shows the
important rows in some three minutes, `make instructions` counts instructions of the hot paths against their bounds.

| | |
|---|---|
"""

NOTES = """
## How to read this

- *CPU* is user and kernel time of all threads of the server, divided by operations: a publish, a delivery, a request
  with its reply, a message fetched and acked, a lock taken and released.
- *p99* of the fan-outs is the time in a queue that the publisher keeps full; of fetches it is that of a whole batch.
- With one operation in flight this server polls for a moment after each (`--spin_us`, 50 by default): it spends CPU
  time to answer sooner.
- A `*` behind a rate: the load generator was busy more than nine tenths of the time, the server could do more.
- File stores lie on the disk of the machine; durability is compared like with like.
"""

HEAD = (
    "| | rate | theirs | ratio | CPU per op | theirs | ratio | p99 | theirs |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|\n"
)


def page(figures: Figures, around: dict[str, str]) -> str:
    parts = [INTRODUCTION + "".join(f"| {key} | {value} |\n" for key, value in around.items())]
    for table in TABLES:
        parts += _tables(table, figures)
    parts += [_processes(figures), NOTES]
    return "\n".join(part for part in parts if part)


def _tables(table: Table, figures: Figures) -> list[str]:
    parts = []
    for heading, ours, theirs in table.pairs:
        lines = []
        for row in table.rows:
            pair = [figures.get((table.title, row.title, name)) for name in (ours, theirs)]
            if pair[0] is not None and pair[1] is not None:
                lines.append(_line(row.title, pair[0], pair[1]))
        if lines:
            title = f"## {table.title}\n" if not parts else ""
            parts.append(f"{title}{f'### {heading}' if heading else ''}\n\n{HEAD}{''.join(lines)}".lstrip("\n"))
    return parts


def _line(title: str, ours: Measured, theirs: Measured) -> str:
    if not ours.samples or not theirs.samples:
        why = ours.failed if not ours.samples else theirs.failed
        return f"| {title} | failed: {why} | | | | | | | |\n"
    rates = [_rate(side) for side in (ours, theirs)]
    cpus = [f"{side.median('cpu_ns'):,.0f} ns" for side in (ours, theirs)]
    cells = [
        title, *rates, _times(ours.median("rate"), theirs.median("rate")),
        *cpus, _times(theirs.median("cpu_ns"), ours.median("cpu_ns")),
        duration(ours.median("p99_us")), duration(theirs.median("p99_us")),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |\n"


def _rate(measured: Measured) -> str:
    limited = measured.median("load_cpu_share") > 0.9  # noqa: PLR2004 - a tenth of a processor is left
    return f"{measured.median('rate'):,.0f}{'*' if limited else ''}"


def _times(more: float, less: float) -> str:
    return f"**{more / less:.1f}x**" if less else "-"


def _processes(figures: Figures) -> str:
    """What a server costs that does nothing, and what it costs to know many subjects."""
    lines = []
    for name, title in ((OURS, "millpond"), (THEIRS, "nats-server")):
        samples = [s for (_, _, server), measured in figures.items() if server == name for s in measured.samples]
        if samples:
            start = statistics.median(sample.start_ns for sample in samples) / 1e6
            idle = statistics.median(sample.idle_rss_bytes for sample in samples) / 2**20
            lines.append(f"| {title} | {start:,.0f} ms | {idle:,.1f} MiB | {_per_subject(figures, name)} |\n")
    head = "| | start to ready | RSS idle | RSS per subject, 1,000,000 of them in memory |\n|---|--:|--:|--:|\n"
    return f"## The process\n\n{head}{''.join(lines)}" if lines else ""


def _per_subject(figures: Figures, server: str) -> str:
    measured = figures.get(("JetStream, memory streams", "publish on 1,000,000 subjects", server))
    if measured is None or not measured.samples:
        return "-"
    stored = statistics.median(sample.result.operations for sample in measured.samples)
    return f"{measured.median('rss_growth_bytes') / stored:,.0f} B"
