"""`make bench`: this server and nats-server under the same loads, in turn, and docs/performance.md from it.

    round 1: row 1 on every server, row 2 on every server, ...     each on a server started for it alone
    round 2: the same, the servers in the opposite order
    ...      medians over the rounds

The section about growth has rounds of its own. README's table follows the page (readme.py).

    python benchmarks/compare.py [--quick | --growth] [--rounds N] [--seconds S] [--only TEXT] [--out FILE]
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgspec
import readme
from floors import FLOORS
from growth import GROWTH
from millpond.bench.loop import LoadError
from page import growth_section, page, with_growth
from rows import PROCESS, TABLES, THEIRS, Row, Table, servers

from millpond.bench.process import ServerError, ServerSpec, StartedServer
from millpond.bench.scenarios import Result, run

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "performance.md"


class Sample(msgspec.Struct, frozen=True):
    """One run on a server of its own."""

    result: Result
    start_ns: int
    idle_rss_bytes: int


class Measured(msgspec.Struct):
    """All runs of one row on one server; `failed` says why there are fewer."""

    samples: list[Sample] = []
    failed: str = ""

    def median(self, metric: str) -> float:
        values = [getattr(sample.result, metric) for sample in self.samples]
        return statistics.median(value for value in values if value is not None) if values else 0.0


Figures = dict[tuple[str, str, str], Measured]
"""(table, row, server) -> runs."""


class Effort(msgspec.Struct, frozen=True):
    """How often, and how long for each row and server."""

    rounds: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.rounds} round{'s' if self.rounds > 1 else ''}, {self.seconds:g} s per row and server"


def plan(tables: list[Table], given: argparse.Namespace) -> list[tuple[Table, Row]]:
    return [
        (table, row) for table in tables for row in table.rows
        if (row.quick or not given.quick) and given.only.lower() in f"{table.title}: {row.title}".lower()
    ]  # fmt: skip


def measure(rows: list[tuple[Table, Row]], effort: Effort, directory: str) -> Figures:
    specs, figures = servers(), Figures()
    began = time.monotonic()
    for number in range(effort.rounds):
        for at, (table, row) in enumerate(rows):
            load = msgspec.structs.replace(row.load, seconds=row.seconds or effort.seconds)
            for name in table.servers if number % 2 == 0 else reversed(table.servers):
                measured = figures.setdefault((table.title, row.title, name), Measured())
                try:
                    measured.samples.append(_one(specs[name], load, directory))
                except (ServerError, LoadError, OSError) as error:
                    measured.failed = f"{error}"
            done = (number * len(rows) + at + 1) / (effort.rounds * len(rows))
            left = (time.monotonic() - began) * (1 / done - 1)
            line = f"\r{done:4.0%}  {left:5.0f} s left  {table.title[:40]}: {row.title:40}"
            print(line, end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return figures


def _one(spec: Any, load: Any, directory: str) -> Sample:
    with StartedServer(spec, directory) as server:
        idle = server.rss_bytes() or 0
        result = run(server, load)
        if result.failures:
            raise LoadError(f"{result.failures} operations failed, the first with: {result.first_failure}")
        return Sample(result, server.started_in_ns, idle)


def surroundings(main: Effort, growth: Effort) -> dict[str, str]:
    """What must be known to believe the figures."""
    cpu = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.processor())  # fmt: skip
    return {
        "Machine": f"{os.cpu_count()} processors ({cpu}), Linux {platform.release()}",
        "Python": f"{platform.python_version()}, Cython data plane, asyncio's own loop",
        "Against": _version(servers()[THEIRS]),
        "Rounds": f"{main}; medians",
        "Growth": f"{growth}",
        "Load average before": ", ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def _version(spec: ServerSpec) -> str:
    """What the executable says of itself."""
    return subprocess.run([*spec.command, "--version"], check=True, capture_output=True, text=True).stdout.strip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--quick", action="store_true", help="some rows, one round; nothing is written")
    part.add_argument("--growth", action="store_true", help="that section alone; the rest of the page stays")
    parser.add_argument("--rounds", type=int, default=0, help="default 3, and 1 of growth")
    parser.add_argument("--seconds", type=float, default=0, help="default 1.5, and 1 of growth")
    parser.add_argument("--only", default="", help="rows whose heading or title contains this")
    parser.add_argument("--dir", default=str(ROOT / "build" / "bench-store"), help="stores; on a real disk")
    parser.add_argument("--out", default="", help="the page; default docs/performance.md, with README's table")
    parser.add_argument("--json", default="", help="every run, for programs")
    return parser


def main() -> int:
    """Exit codes: 0 everything measured; 1 a row failed on one of the servers."""
    given = _parser().parse_args()
    main_effort = Effort(given.rounds or (1 if given.quick else 3), given.seconds or (0.7 if given.quick else 1.5))
    growth_effort = Effort(given.rounds or 1, given.seconds or 1.0)
    Path(given.dir).mkdir(parents=True, exist_ok=True)
    around = surroundings(main_effort, growth_effort)
    figures = Figures()
    if not given.growth:
        figures |= measure(plan([*TABLES, PROCESS, *FLOORS], given), main_effort, given.dir)
    if not given.quick:
        figures |= measure(plan(GROWTH, given), growth_effort, given.dir)
    shutil.rmtree(given.dir, ignore_errors=True)
    _write(given, figures, around)
    failed = {key: measured.failed for key, measured in figures.items() if measured.failed}
    for (table, row, server), why in failed.items():
        print(f"{table}, {row}, {server}: {why}", file=sys.stderr)
    return 1 if failed else 0


def _write(given: argparse.Namespace, figures: Figures, around: dict[str, str]) -> None:
    """The page into its file; a part of the rows, or a quick look at them, is only shown."""
    if given.json:
        rows = [{"table": t, "row": r, "server": s, **msgspec.to_builtins(m)} for (t, r, s), m in figures.items()]
        Path(given.json).write_bytes(msgspec.json.encode(rows))
    if given.growth:
        section = growth_section(figures, around)
        text = with_growth(PAGE.read_text(), section)
    else:
        section = text = page(figures, around)
    if given.out or not (given.quick or given.only):
        Path(given.out or PAGE).write_text(text)
        if not given.out:
            readme.update(ROOT / "README.md", text)
    else:
        print(section)


if __name__ == "__main__":
    sys.exit(main())
