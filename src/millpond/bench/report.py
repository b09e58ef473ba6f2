"""Results as a table for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from millpond.bench.scenarios import CORE, Load, Result

HEAD = ("", "rate", "p50", "p99", "p99.9", "CPU per op", "RSS")


def describe(load: Load) -> str:
    """The settings that make a difference, in words."""
    parts = [load.kind, f"{load.size} B"]
    if load.kind == "fan":
        parts.append(f"1 to {load.receivers}{' in a queue group' if load.queue else ''}")
    elif load.kind == "deliver":
        parts.append(f"{load.receivers} consumers{', each of one subject' if load.apart else ''}")
    elif load.kind in ("fetch", "consume"):
        parts.append("acked one by one" if load.acks else "without acks")
    elif load.kind not in ("pub", "idle"):
        parts.append(f"{max(load.window, load.connections)} in flight")
    if load.connections > 1:
        parts.append(f"{load.connections} connections")
    if load.kind not in CORE:
        parts.append(load.storage)
    if load.streams > 1:
        parts.append(f"{load.streams:,} streams")
    if load.kind == "locks":
        parts.append(f"release by {load.release}")
    if load.distinct:
        parts.append(f"{load.distinct:,} subjects")
    return ", ".join(parts)


def duration(microseconds: float) -> str:
    if not microseconds:
        return "-"
    return f"{microseconds / 1000:,.1f} ms" if microseconds >= 10_000 else f"{microseconds:,.1f} us"


def _cells(name: str, result: Result) -> tuple[str, ...]:
    cpu = "-" if result.cpu_ns is None else f"{result.cpu_ns:,.0f} ns"
    rss = "-" if result.rss_bytes is None else f"{result.rss_bytes / 2**20:,.1f} MiB"
    latencies = (duration(us) for us in (result.p50_us, result.p99_us, result.p999_us))
    return (name, f"{result.rate:,.0f}/s", *latencies, cpu, rss)


def table(load: Load, rows: Sequence[tuple[str, Result]]) -> str:
    """One line per server; with two, how many times the first does what the second does."""
    lines = [HEAD, *(_cells(name, result) for name, result in rows)]
    if len(rows) == 2:
        (_, ours), (_, theirs) = rows
        cpu = f"{theirs.cpu_ns / ours.cpu_ns:.1f}x less" if ours.cpu_ns and theirs.cpu_ns else "-"
        lines.append(("ratio", f"{ours.rate / theirs.rate:.1f}x" if theirs.rate else "-", "", "", "", cpu, ""))
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    text = [describe(load)]
    for line in lines:
        cells = [
            line[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
        ]
        text.append("  " + "  ".join(cells).rstrip())
    for name, result in rows:
        if result.failures:
            text.append(f"  {name}: {result.failures:,} operations FAILED, the first with: {result.first_failure}")
        if result.load_cpu_share > 0.9:
            text.append(
                f"  {name}: the load generator was busy {result.load_cpu_share:.0%} of the time and limits the rate"
            )
    return "\n".join(text)


def as_json(load: Load, rows: Sequence[tuple[str, Result]]) -> str:
    servers: list[dict[str, Any]] = [
        {"server": name, "rate": result.rate, **msgspec.to_builtins(result)} for name, result in rows
    ]
    return msgspec.json.encode({"load": load, "servers": servers}).decode()
