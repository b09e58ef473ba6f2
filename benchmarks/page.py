"""docs/performance.md from the figures of compare.py.

    # Performance                 what was measured where     a table for each of rows.TABLES     ## The process
    ## Growth                     a table for each of growth.GROWTH; between two marks, so that it can be written alone
    ## The floor ...              a table for each of floors.FLOORS, and what was found out about rows that stay low
    ## How to read this
"""

from __future__ import annotations

import re
import statistics
from typing import TYPE_CHECKING, Final

from floors import ACCOUNT, FLOORS
from growth import GROWTH
from rows import OURS, PROCESS, TABLES, THEIRS, Row, Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from compare import Figures, Measured

INTRODUCTION: Final = """# Performance

Written by `make bench`; do not edit by hand. It starts this server and nats-server in turn, each alone, under the same
load from a generator written in C (`millpond bench`), and shows medians. Rates depend on what else the machine does;
the CPU time that one operation costs the server hardly does, so read that column first. `make bench-quick` shows the
important rows in some three minutes, `make bench-growth` writes the section about growth alone, `make instructions`
counts instructions of the hot paths against their bounds.

| | |
|---|---|
"""

NOTES: Final = """## How to read this

- *CPU* is user and kernel time of all threads of the server, divided by operations: a publish, a delivery, a request
  with its reply, a message fetched and acked, a lock taken and released.
- *Latencies* of the fan-outs are the time in a queue that the publisher keeps full; those of fetches are of whole
  batches. Where none are taken there is a dash.
- With one operation in flight this server polls for a moment after each (`--spin_us`, 50 by default): it spends CPU
  time to answer sooner.
- A `*` behind a rate: the load generator was busy more than nine tenths of the time, the server could do more.
- File stores lie on the disk of the machine; durability is compared like with like.
"""

COSTS: Final = "rate | theirs | ratio | CPU per op | theirs | ratio"
RULE: Final = "--:|--:|--:|--:|--:|--:|--:|--:"
GROWTH_BEGINS, GROWTH_ENDS = "<!-- growth -->", "<!-- end of growth -->"
MILLISECONDS_FROM_US: Final = 10_000.0


def page(figures: Figures, around: dict[str, str]) -> str:
    """The whole of it."""
    parts = [INTRODUCTION + "".join(f"| {key} | {value} |\n" for key, value in around.items())]
    for table in TABLES:
        parts += _tables(table, figures)
    parts += [_processes(figures), growth_section(figures, around)]
    for table in FLOORS:
        parts += _tables(table, figures)
    parts += [ACCOUNT, NOTES]
    return "\n".join(part for part in parts if part)


def with_growth(text: str, section: str) -> str:
    """The page with another section about growth."""
    old = re.compile(f"{GROWTH_BEGINS}.*{GROWTH_ENDS}\n\n?", re.S)
    if old.search(text):
        return old.sub(lambda _: f"{section}\n", text)
    return text.replace("## How to read this", f"{section}\n## How to read this")


def _tables(table: Table, figures: Figures) -> list[str]:
    parts = []
    for heading, ours, theirs in table.pairs:
        lines = _lines(table, (ours, theirs), figures, _latencies)
        if lines:
            title = f"## {table.title}\n" if not parts else ""
            head = f"| | {COSTS} | p50 / p99 / p99.9 | theirs |\n|---|{RULE}|\n"
            parts.append(f"{title}{f'### {heading}' if heading else ''}\n\n{head}{lines}".lstrip("\n"))
    return parts


def growth_section(figures: Figures, around: dict[str, str]) -> str:
    """One table for each thing of which there may be many; "" when nothing of it was measured."""
    parts = []
    for table in GROWTH:
        for heading, ours, theirs in table.pairs:
            lines = _lines(table, (ours, theirs), figures, _rss)
            if lines:
                title = f"{table.title}; {heading}" if heading else table.title
                head = f"| | {COSTS} | RSS | theirs |\n|---|{RULE}|\n"
                parts.append(f"### {title}\n\n{head}{lines}{_grows(table, (ours, theirs), figures)}")
    if not parts:
        return ""
    about = f"{GROWTH_BEGINS}\n## Growth\n\nMeasured: {around['Machine']}; {around['Against']}; {around['Growth']}.\n"
    return "\n".join([about, *parts, GROWTH_ENDS, ""])


def _grows(table: Table, pair: tuple[str, str], figures: Figures) -> str:
    """How much more an operation costs in the last row than in the first."""
    said = []
    for server in pair:
        ends = [figures.get((table.title, row.title, server)) for row in (table.rows[0], table.rows[-1])]
        if all(end is not None and end.samples for end in ends):
            first, last = (end.median("cpu_ns") for end in ends if end is not None)
            said.append(f"{last / first:.1f} times")
    return f"\nCPU per operation, last row by first: {said[0]}, theirs {said[1]}.\n" if len(said) == len(pair) else ""


def _lines(
    table: Table, pair: tuple[str, str], figures: Figures, last: Callable[[Measured], str]
) -> str:
    return "".join(
        _line(row, ours, theirs, last)
        for row in table.rows
        for ours, theirs in [[figures.get((table.title, row.title, name)) for name in pair]]
        if ours is not None and theirs is not None
    )


def _line(row: Row, ours: Measured, theirs: Measured, last: Callable[[Measured], str]) -> str:
    if not ours.samples or not theirs.samples:
        why = ours.failed if not ours.samples else theirs.failed
        return f"| {row.title} | failed: {why} | | | | | | | |\n"
    cpus = [f"{side.median('cpu_ns'):,.0f} ns" for side in (ours, theirs)]
    cells = [
        row.title, _rate(ours), _rate(theirs), _times(ours.median("rate"), theirs.median("rate")),
        *cpus, _times(theirs.median("cpu_ns"), ours.median("cpu_ns")), last(ours), last(theirs),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |\n"


def _rate(measured: Measured) -> str:
    limited = measured.median("load_cpu_share") > 0.9
    return f"{measured.median('rate'):,.0f}{'*' if limited else ''}"


def _times(more: float, less: float) -> str:
    return f"**{more / less:.1f}x**" if less else "-"


def _latencies(measured: Measured) -> str:
    """Three of them, in one unit."""
    values = [measured.median(metric) for metric in ("p50_us", "p99_us", "p999_us")]
    if not values[-1]:
        return "-"
    divisor, unit = (1000.0, "ms") if values[-1] >= MILLISECONDS_FROM_US else (1.0, "us")
    return " / ".join(_digits(value / divisor) for value in values) + f" {unit}"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _rss(measured: Measured) -> str:
    return _mib(measured.median("rss_bytes"))


def _mib(size: float) -> str:
    return f"{size / 2**20:,.1f} MiB"


def _processes(figures: Figures) -> str:
    """What a server costs that does nothing, and what it costs to know many connections or subjects."""
    lines = []
    for name, title in ((OURS, "millpond"), (THEIRS, "nats-server")):
        samples = [s for (_, _, server), measured in figures.items() if server == name for s in measured.samples]
        if samples:
            cells = [
                title,
                f"{statistics.median(sample.start_ns for sample in samples) / 1e6:,.0f} ms",
                _mib(statistics.median(sample.idle_rss_bytes for sample in samples)),
                *(_grown(figures, name, row) for row in PROCESS.rows),
            ]
            lines.append("| " + " | ".join(cells) + " |\n")
    head = (
        "| | start to ready | RSS idle | RSS per idle connection, 5,000 of them "
        "| RSS per subject, 1,000,000 of them in memory | the same in a file stream |\n"
        "|---|--:|--:|--:|--:|--:|\n"
    )
    return f"## The process\n\n{head}{''.join(lines)}" if lines else ""


def _grown(figures: Figures, server: str, row: Row) -> str:
    """By how much for each of what there is."""
    measured = figures.get((PROCESS.title, row.title, server))
    if measured is None or not measured.samples:
        return "-"
    count = statistics.median(sample.result.operations for sample in measured.samples)
    return f"{measured.median('rss_growth_bytes') / count:,.0f} B"
