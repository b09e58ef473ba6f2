"""Thousands of kills: lives (life.py) side by side, each a process of its own, and one summary.

    python -m tests.kills.campaign --kills 10000 --jobs 2 [--seed 1] [--oom]

Each life has its own store, streams, durability and load from its seed. A violation stops the campaign; its store is
kept, and `python -m tests.kills.life FOLDER --seed N` plays the same life again, up to the operating system's whims.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

from millpond.base.cgroup import MemoryGroup
from millpond.cli.bench_memory_target import Fence

KILLS_PER_LIFE: Final = 50
SUMS: Final = ("answers", "compared", "starts", "slow_starts", "cpu_s")
REPORT_S: Final = 30.0


def library(folder: Path) -> Path | None:
    """die_at.c, compiled; None: not on this system."""
    if os.uname().sysname != "Linux":
        return None
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    target = folder / "die_at.so"
    source = Path(__file__).with_name("die_at.c")
    subprocess.run([*compiler.split(), "-shared", "-fPIC", "-O1", "-o", target, source, "-ldl"], check=True)
    return target


@dataclass
class Summary:
    """All lives together."""

    began: float = field(default_factory=time.monotonic)
    lives: int = 0
    sums: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    meanwhile: Counter[str] = field(default_factory=Counter)
    longest_start_s: float = 0.0
    violations: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(self.kills.values())

    def add(self, tally: dict[str, Any]) -> None:
        self.lives += 1
        for name in SUMS:
            self.sums[name] += tally[name]
        for name in ("kills", "calls", "meanwhile"):
            getattr(self, name).update(tally[name])
        self.longest_start_s = max(self.longest_start_s, tally["longest_start_s"])
        if tally["violation"]:
            self.violations.append(f"seed {tally['seed']}: {tally['violation']}")

    def line(self) -> str:
        return f"{time.monotonic() - self.began:.0f} s: {self._figures()}"

    def _figures(self) -> str:
        return (
            f"{self.count} kills in {self.lives} lives, {self.sums['answers']} answers and "
            f"{self.sums['compared']} messages compared, {len(self.violations)} violations"
        )

    def text(self) -> str:
        took, kills = time.monotonic() - self.began, max(1, self.count)
        return "\n".join((
            "", f"{self._figures()} in {took:.0f} s",
            f"{self.count / took * 60:.0f} kills a minute, {self.sums['cpu_s'] / kills * 1000:.0f} ms of processor time"
            " each",
            f"{self.sums['starts']} starts were waited for, {self.sums['slow_starts']} took longer than 2 s, the "
            f"longest {self.longest_start_s:.2f} s",
            f"killed: {told(self.kills)}",
            f"at a system call: {told(self.calls)}",
            f"under way meanwhile: {told(self.meanwhile)}",
        ))  # fmt: skip


def told(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


class Campaign:
    """`jobs` lives at a time below `root`. groups: memory groups, one for each job, in which the kernel kills."""

    def __init__(self, root: Path, seed: int, jobs: int, *, groups: Sequence[MemoryGroup] = ()) -> None:
        self._root, self._next, self._jobs = root, seed, jobs
        self._free = [f"{group.version}:{group.directory}" for group in groups]
        self._environment = dict(os.environ)
        made = None if groups else library(root)
        if made is not None:
            self._environment["LD_PRELOAD"] = str(made)
        self._running: dict[int, tuple[subprocess.Popen[str], TextIO, list[str]]] = {}
        self.summary = Summary()

    def run(self, kills: int, report_s: float = REPORT_S) -> Summary:
        """Until so many kills, or a violation."""
        begun, said = 0, time.monotonic()
        try:
            while begun < kills or self._running:
                while begun < kills and len(self._running) < self._jobs and not self.summary.violations:
                    share = min(KILLS_PER_LIFE, -(-kills // self._jobs), kills - begun)
                    self._begin(share)
                    begun += share
                if not self._running:
                    break
                pid, _ = os.wait()
                self._ended(pid)
                if time.monotonic() - said > report_s:
                    said = time.monotonic()
                    print(self.summary.line(), flush=True)
        finally:
            for process, out, _ in self._running.values():
                process.terminate()
                process.wait()
                out.close()
        return self.summary

    def _begin(self, kills: int) -> None:
        command = [sys.executable, "-m", "tests.kills.life", str(self._root), "--seed", str(self._next)]
        command += ["--kills", str(kills)]
        group = [self._free.pop()] if self._free else []
        command += ["--group", *group] if group else []
        self._next += 1
        out = (self._root / f"out-{self._next}").open("w+")
        process = subprocess.Popen(command, env=self._environment, stdout=out, text=True)
        self._running[process.pid] = process, out, group

    def _ended(self, pid: int) -> None:
        _, out, group = self._running.pop(pid)
        self._free += group
        with out:
            out.seek(0)
            said = out.read()
        lines = said.splitlines()
        if lines and lines[-1].startswith("{"):
            self.summary.add(json.loads(lines[-1]))
        else:
            self.summary.violations.append(f"a life ended without its tally: {said[-2000:]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--oom", action="store_true", help="killed by the kernel, in a memory group of 64 MiB")
    parser.add_argument("--folder", type=Path, default=None, help="where the stores are")
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="millpond-kills-", dir=options.folder))
    fence = Fence() if options.oom else None
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if fence is not None and fence.why:
            print(fence.why, file=sys.stderr)
            return os.EX_UNAVAILABLE
        groups = [fence.group(f"oom-{job}") for job in range(options.jobs)] if fence is not None else []
        campaign = Campaign(root, options.seed, options.jobs, groups=[one for one in groups if one])
        with contextlib.suppress(KeyboardInterrupt):           # then the summary is of the lives that are over
            campaign.run(options.kills)
    finally:
        if fence is not None:
            fence.close()
    summary = campaign.summary
    print(summary.text())
    for violation in summary.violations:
        print(f"\nVIOLATION, {violation}")
    if not summary.violations:
        shutil.rmtree(root)
    return 1 if summary.violations else 0


if __name__ == "__main__":
    sys.exit(main())
