"""`make bench`: this server and nats-server under the same loads, in turn, and docs/performance.md from it.

    round 1: row 1 on every server, row 2 on every server, ...     each on a server started for it alone
    round 2: the same, the servers in the opposite order
    ...      medians over the rounds

    python benchmarks/compare.py [--quick] [--rounds N] [--seconds S] [--only TEXT] [--out FILE]
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
from page import page
from rows import TABLES, THEIRS, Row, Table, servers

from millpond.bench.loop import LoadError
from millpond.bench.process import ServerError, ServerSpec, StartedServer
from millpond.bench.scenarios import Result, run

ROOT: Final = Path(__file__).resolve().parents[1]
METRICS: Final = ("rate", "cpu_ns", "p50_us", "p99_us", "p999_us", "rss_bytes", "rss_growth_bytes", "load_cpu_share")


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


def plan(given: argparse.Namespace) -> list[tuple[Table, Row, list[str]]]:
    chosen = []
    for table in TABLES:
        names = list(dict.fromkeys(name for _, *pair in table.pairs for name in pair))
        for row in table.rows:
            if (row.quick or not given.quick) and given.only.lower() in f"{table.title}: {row.title}".lower():
                chosen.append((table, row, names))
    return chosen


def measure(given: argparse.Namespace) -> Figures:
    specs, figures, rows = servers(), Figures(), plan(given)
    began = time.monotonic()
    for number in range(given.rounds):
        for at, (table, row, names) in enumerate(rows):
            load = msgspec.structs.replace(row.load, seconds=given.seconds)
            for name in names if number % 2 == 0 else reversed(names):
                measured = figures.setdefault((table.title, row.title, name), Measured())
                try:
                    measured.samples.append(_one(specs[name], load, given.dir))
                except (ServerError, LoadError, OSError) as error:
                    measured.failed = f"{error}"
            done = (number * len(rows) + at + 1) / (given.rounds * len(rows))
            left = (time.monotonic() - began) * (1 / done - 1)
            line = f"\r{done:4.0%}  {left:5.0f} s left  {table.title}: {row.title:40}"
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


def surroundings(given: argparse.Namespace) -> dict[str, str]:
    """What must be known to believe the figures."""
    cpu = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.processor())  # fmt: skip
    return {
        "Machine": f"{os.cpu_count()} processors ({cpu}), Linux {platform.release()}",
        "Python": f"{platform.python_version()}, Cython data plane, asyncio's own loop",
        "Against": _version(servers()[THEIRS]),
        "Rounds": f"{given.rounds}, {given.seconds:g} s per row and server; medians",
        "Load average before": ", ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def _version(spec: ServerSpec) -> str:
    """What the executable says of itself."""
    return subprocess.run([*spec.command, "--version"], check=True, capture_output=True, text=True).stdout.strip()


def main() -> int:
    """Exit codes: 0 everything measured; 1 a row failed on one of the servers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="some rows, one round, about three minutes")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--only", default="", help="rows whose heading or title contains this")
    parser.add_argument("--dir", default=str(ROOT / "build" / "bench-store"), help="stores; on a real disk")
    parser.add_argument("--out", default="", help="the page; default docs/performance.md, nothing with --quick")
    parser.add_argument("--json", default="", help="every run, for programs")
    given = parser.parse_args()
    given.rounds = given.rounds or (1 if given.quick else 3)
    given.seconds = given.seconds or (0.7 if given.quick else 1.5)
    Path(given.dir).mkdir(parents=True, exist_ok=True)
    around = surroundings(given)
    figures = measure(given)
    text = page(figures, around)
    if given.out or not (given.quick or given.only):
        Path(given.out or ROOT / "docs" / "performance.md").write_text(text)
    else:
        print(text)
    if given.json:
        rows = [{"table": t, "row": r, "server": s, **msgspec.to_builtins(m)} for (t, r, s), m in figures.items()]
        Path(given.json).write_bytes(msgspec.json.encode(rows))
    shutil.rmtree(given.dir, ignore_errors=True)
    failed = {key: measured.failed for key, measured in figures.items() if measured.failed}
    for (table, row, server), why in failed.items():
        print(f"{table}, {row}, {server}: {why}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
