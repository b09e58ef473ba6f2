"""`millpond bench memory`: the lock workload on this server and beside it on another, measured as a container is.

    options ── Fence (memory groups)
                 └ for each mode: start the servers, load each alike, sample each once a second, stop them
                      └ memory.csv, memory.md, memory.png in the output directory

The servers of one mode run at the same time, so that both see the same machine; the modes follow one
another, or all run at once with --parallel-modes. A measurement whose operations fail is a failed one. A
server that ends takes no other with it, and samples are in the file as soon as they are taken.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import platform
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from millpond.base.errors import MillpondError
from millpond.cli import bench_memory_result as results
from millpond.cli.bench_memory_load import MODES, LoadError, LockLoad, Mode
from millpond.cli.bench_memory_target import Fence, Running, Target, TargetError, is_memory_backed, millpond, other
from millpond.monitor import memory_report

MIB: Final = 1024 * 1024
INTERRUPTED: Final = 130
SAMPLE_S: Final = 1.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be measured."""

    targets: list[Target]
    modes: list[Mode]
    parallel_modes: bool
    seconds: float
    operations_per_s: int
    out: Path


def main(argv: Sequence[str]) -> int:
    """Exit codes: 0 measured; 1 operations failed or a server did; 2 wrong usage; 130 interrupted."""
    given = _parser().parse_args(argv)
    try:
        plan = _plan(given)
    except (TargetError, OSError) as error:
        print(f"millpond bench memory: {error}", file=sys.stderr)
        return 2
    if importlib.util.find_spec("matplotlib") is None:
        print("No picture: matplotlib is not installed. Fix: pip install 'millpond[bench]'", file=sys.stderr)
    fence = Fence()
    if fence.why:
        print(
            f"No memory groups of their own for the servers: {fence.why}\n"
            "Only their processes are measured (RSS, and the page cache of their files).",
            file=sys.stderr,
        )
    try:
        runs, code = asyncio.run(Bench(plan, fence).run())
    finally:
        fence.close()
    return max(code, _write(plan, runs, given.json))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="millpond bench memory",
        description="Five file streams used as locks, ever-new subjects, and what the container is charged for it.",
        epilog="Examples:\n  millpond bench memory --minutes 5\n"
        "  millpond bench memory --against nats-server --minutes 30 --mode all --parallel-modes",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--against", metavar="SERVER", help="measure this one too: a path, or a name such as nats-server")
    add("--without-millpond", action="store_true", help="measure only the other server")
    add("--minutes", type=float, default=5.0, help="length of each mode (default 5)")
    add("--mode", choices=[*MODES, "all"], default="purge", help="how locks are released (default purge)")
    add("--parallel-modes", action="store_true", help="all modes at once, each in servers of its own")
    add("--rate", type=int, default=2000, help="operations a second on each server (default 2000)")
    add("--out", default="bench-out", metavar="DIR", help="where results and stores go (default ./bench-out)")
    add("--json", action="store_true", help="print the result as JSON instead of the table")
    return parser


def _plan(given: argparse.Namespace) -> Plan:
    """Checked options. Raises TargetError, OSError."""
    if not 0 < given.minutes <= 7 * 24 * 60:
        raise TargetError("--minutes must be above 0, a week at most")
    if not 2 <= given.rate <= 100_000:
        raise TargetError("--rate must be between 2 and 100000 operations a second")
    if given.without_millpond and not given.against:
        raise TargetError("--without-millpond needs --against")
    targets = [] if given.without_millpond else [millpond()]
    if given.against:
        targets.append(other(given.against))
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)
    if is_memory_backed(out):
        raise TargetError(f"{out} is a tmpfs: its files are memory. Give --out a directory on a disk")
    return Plan(
        targets=targets,
        modes=list(MODES) if given.mode == "all" else [given.mode],
        parallel_modes=given.parallel_modes,
        seconds=given.minutes * 60,
        operations_per_s=given.rate,
        out=out,
    )


class Lane(msgspec.Struct, kw_only=True):
    """One server in one mode while it runs. `over`: it failed, the others go on without it."""

    series: results.Series
    server: Running
    load: LockLoad
    over: bool = False


class Bench:
    """One measurement. `run()` gives the series and the exit code."""

    def __init__(self, plan: Plan, fence: Fence) -> None:
        self._plan = plan
        self._fence = fence
        self._stop = asyncio.Event()
        self._interrupted = False
        self._lanes: list[Lane] = []
        self._servers: list[Running] = []
        self._progress = Progress(plan)

    async def run(self) -> tuple[list[results.Series], int]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupt)
        done: list[results.Series] = []
        rounds = [self._plan.modes] if self._plan.parallel_modes else [[mode] for mode in self._plan.modes]
        code = 0
        with results.CsvFile(self._plan.out / "memory.csv") as file:
            for modes in rounds:
                if self._interrupted:
                    break
                try:
                    await self._round(modes, file)
                except (LoadError, TargetError, TimeoutError, OSError) as error:
                    self._say(str(error))
                    code = 1
                finally:
                    for server in self._servers:
                        server.stop()
                    self._servers.clear()
                    code = max(code, *(int(lane.over) for lane in self._lanes), 0)
                    done += [lane.series for lane in self._lanes]
                    self._lanes.clear()
        self._progress.clear()
        return done, INTERRUPTED if self._interrupted else code

    def _interrupt(self) -> None:
        self._interrupted = True
        self._stop.set()

    def _say(self, text: str) -> None:
        self._progress.clear()
        print(f"millpond bench memory: {text}", file=sys.stderr)

    async def _round(self, modes: list[Mode], file: results.CsvFile) -> None:
        """Start all, load all, sample all, check all."""
        self._stop.clear()
        for target in self._plan.targets:
            await self._rehearse(target)
        for mode in modes:
            for target in self._plan.targets:
                self._lanes.append(await self._open(target, mode))
        timer = asyncio.get_running_loop().call_later(self._plan.seconds, self._stop.set)
        try:
            async with asyncio.TaskGroup() as group:
                for lane in self._lanes:
                    group.create_task(self._drive(lane))
                group.create_task(self._sample(file))
        finally:
            timer.cancel()

    async def _rehearse(self, target: Target) -> None:
        """Start it once outside of any group: who reads a program first is charged with the pages of its file."""
        directory = self._plan.out / f"{target.name}-rehearsal"
        shutil.rmtree(directory, ignore_errors=True)
        server = Running(target, directory, None)
        try:
            await server.wait_until_ready()
        finally:
            server.stop()
            shutil.rmtree(directory, ignore_errors=True)

    async def _open(self, target: Target, mode: Mode) -> Lane:
        directory = self._plan.out / f"{target.name}-{mode}"
        shutil.rmtree(directory, ignore_errors=True)
        group = self._fence.group(f"{target.name}-{mode}")
        server = Running(target, directory, group)
        self._servers.append(server)
        await server.wait_until_ready()
        load = LockLoad(mode, self._plan.operations_per_s)
        await load.connect(server.port)
        series = results.Series(server=target.name, mode=mode, fenced=group is not None, load=load.result)
        return Lane(series=series, server=server, load=load)

    async def _drive(self, lane: Lane) -> None:
        try:
            await lane.load.run(self._stop)
            lane.series.load = await lane.load.finish()
        except (LoadError, OSError) as error:
            self._end(lane, await lane.server.died_soon() or str(error))

    def _end(self, lane: Lane, why: str) -> None:
        """This lane has failed. When it was the last one the round is over."""
        if not lane.over:
            lane.over = True
            lane.series.load.failed += 1
            lane.series.load.errors.append(why)
            self._say(f"{lane.series.server}, {lane.series.mode}: {why}")
        if all(each.over for each in self._lanes):
            self._stop.set()

    async def _sample(self, file: results.CsvFile) -> None:
        """Once a second, on the second, until the load ends; one last time then."""
        began = time.monotonic()
        tick = 0
        while True:
            now = time.monotonic() - began
            for lane in self._lanes:
                if not lane.over:
                    self._look(lane, now, file)
            self._progress.show(now, self._lanes)
            if self._stop.is_set():
                return
            tick += 1
            pause = max(0.01, began + tick * SAMPLE_S - time.monotonic())
            try:
                async with asyncio.timeout(pause):
                    await self._stop.wait()
            except TimeoutError:
                continue

    def _look(self, lane: Lane, now: float, file: results.CsvFile) -> None:
        data_dir = None if lane.series.fenced else str(lane.server.store_dir)
        try:
            if why := lane.server.died():
                raise LoadError(why)
            seen = memory_report.report(pid=lane.server.pid, data_dir=data_dir)
        except (LoadError, ProcessLookupError, MillpondError) as error:
            self._end(lane, str(error))
            return
        sample = results.sample_of(seen, lane.series.fenced, now, lane.series.load)
        lane.series.samples.append(sample)
        file.add(lane.series, sample)


class Progress:
    """One line on a terminal, rewritten each second; nothing elsewhere."""

    def __init__(self, plan: Plan) -> None:
        self._seconds = plan.seconds
        self._shown = sys.stderr.isatty()

    def show(self, now_s: float, lanes: list[Lane]) -> None:
        if not self._shown:
            return
        share = min(1.0, now_s / self._seconds)
        bar = ("#" * int(share * 20)).ljust(20, ".")
        parts = []
        for lane in lanes:
            if lane.over or not lane.series.samples:
                parts.append(f"{lane.series.server}/{lane.series.mode} OVER")
                continue
            last = lane.series.samples[-1]
            size = last.working_set if lane.series.fenced else last.rss
            failed = f" {last.failed} FAILED" if last.failed else ""
            parts.append(f"{lane.series.server}/{lane.series.mode} {size / MIB:.1f} MiB{failed}")
        clock = f"{int(now_s) // 60:02d}:{int(now_s) % 60:02d}"
        line = f"{clock} [{bar}] {share:4.0%}  " + "  ".join(parts)
        width = shutil.get_terminal_size().columns - 1
        print("\r" + line[:width].ljust(width), end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._shown:
            width = shutil.get_terminal_size().columns - 1
            print("\r" + " " * width + "\r", end="", file=sys.stderr, flush=True)


def _write(plan: Plan, runs: list[results.Series], as_json: bool) -> int:
    """Files and the table; 1 when an operation failed or nothing was measured."""
    measured = [series for series in runs if series.samples]
    if measured:
        text = results.table(measured) + results.verdict(measured)
        (plan.out / "memory.md").write_text(text)
        written = ["memory.csv", "memory.md"]
        if importlib.util.find_spec("matplotlib") is not None:
            title = f"Lock workload, {plan.operations_per_s:,} operations/s, Linux {platform.release()}"
            results.draw(plan.out / "memory.png", measured, title)
            written.append("memory.png")
        print(_as_json(measured) if as_json else text)
        print(f"Written to {plan.out}: {', '.join(written)}", file=sys.stderr)
    for series in runs:
        rate = series.load.operations / series.load.seconds if series.load.seconds else 0
        if rate < 0.95 * plan.operations_per_s:
            said = f"{rate:,.0f} operations/s answered, {plan.operations_per_s:,} were asked for"
            print(f"{series.server}, {series.mode}: {said}", file=sys.stderr)
    failed = [series for series in runs if series.load.failed]
    for series in failed:
        print(f"{series.server}, {series.mode}: {series.load.failed} operations FAILED", file=sys.stderr)
        for error in series.load.errors:
            print(f"  {error}", file=sys.stderr)
    return 1 if failed or not measured else 0


def _as_json(runs: list[results.Series]) -> str:
    trends = [t for series in runs for measure, _ in results.PANELS if (t := results.trend(series, measure))]
    loads = [{"server": s.server, "mode": s.mode, **msgspec.to_builtins(s.load)} for s in runs]
    return msgspec.json.encode({"trends": trends, "loads": loads}).decode()
