"""The campaigns of Millpond's own tests, in slices that fit a budget of time.

A campaign is a command with an environment; each slice has another seed. What it prints says how much was done; that it
ends with another code than 0 is a violation, and then its output is shown.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from tests.mutations.faults import FAULTS

from .table import Row

ROOT: Final = Path(__file__).parents[2]
SERVER: Final = "Millpond"
PATIENCE_S: Final = 600.0
"""A slice that takes as much longer than its share hangs: that is a violation."""
SHOWN_CHARACTERS: Final = 3000
FAULT_S: Final = 30.0
"""What one seeded fault takes, about: it is compiled, and tested until a test fails."""

Progress = Callable[[str], None]


class Slice(NamedTuple):
    """One run of a campaign: its command, its environment, how many faults it injects if its output does not say."""

    command: list[str]
    environment: dict[str, str]
    injected: int


class Campaign(NamedTuple):
    """`counted`: a pattern of the output with the number of faults, summed up over all places."""

    what: str
    slice_of: Callable[[int], Slice]
    """Of a seed."""
    counted: str
    notes: str
    found: str = ""
    """A pattern with the number of violations; without one a slice that fails counts as one."""


def _pytest(path: str, test: str, **environment: str) -> tuple[list[str], dict[str, str]]:
    command = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", "-m", "slow or not slow", path]
    return [*command, *(["-k", test] if test else [])], environment


def _module(name: str, **options: int | bool) -> list[str]:
    """`python -m tests.<name>` with these options."""
    command = [sys.executable, "-m", f"tests.{name}"]
    for option, value in options.items():
        command += [f"--{option}"] if value is True else [f"--{option}", str(value)]
    return command


def _simulated(seed: int) -> Slice:
    lives, cuts = 20, 600
    command = _module("simulator.run", seeds=lives, cuts=cuts, first=5_000_000 + seed * lives)
    return Slice(command, {"PYTHONHASHSEED": "0"}, cuts)


def _traced(seed: int) -> Slice:
    path = "tests/crash/test_power_cut.py"
    test = "test_many_power_cuts and not deletes"
    return Slice(*_pytest(path, test, MILLPOND_CUTS="20", MILLPOND_CRASH_SEED=str(seed)), 20)


def _kills(seed: int) -> Slice:
    return Slice(_module("kills.campaign", kills=50, seed=2 * seed), {}, 50)


def _oom(seed: int) -> Slice:
    return Slice(_module("kills.campaign", oom=True, kills=6, seed=2 * seed), {}, 6)


def _full(seed: int) -> Slice:
    path = "tests/crash/test_full_disk.py"
    return Slice(
        *_pytest(path, "test_many_full_disks", MILLPOND_FULL_DISK_CYCLES="20", MILLPOND_CRASH_SEED=str(seed)), 20
    )


def _stalled(seed: int) -> Slice:
    return Slice(*_pytest("tests/crash/test_stalled_disk.py", "test_a_long_stall", MILLPOND_STALL_S="5"), 1)


def _failing(seed: int) -> Slice:
    return Slice(*_pytest("tests/crash/test_failing_sync.py", ""), 1)


def _damage(seed: int) -> Slice:
    return Slice(_module("corruption.campaign", cases=400, stores=2, seed=1000 + 2 * seed), {}, 400)


def _repairs(seed: int) -> Slice:
    return Slice(_module("corruption.repairs", cases=30, seed=seed), {}, 30)


def _system_calls(seed: int) -> Slice:
    return Slice(_module("syscalls.campaign", every=100, seed=seed), {}, 180)


CAMPAIGNS: Final = {
    "simulated": Campaign(
        "a simulated power cut", _simulated, r"^([\d,]+) cuts in ",
        "any subset, order and tearing of what was not synced",
        r"(\d+) seeds with a violation",
    ),
    "traced": Campaign("a power cut, traced run", _traced, r"(\d+) power cuts", "writes and syncs of the real server"),
    "kills": Campaign(
        "kill -9", _kills, r"^(\d+) kills in ", "at answers, in starts and stops, at system calls",
        r"(\d+) violations in ",
    ),
    "oom": Campaign(
        "killed for want of memory", _oom, r"^(\d+) kills in ", "memory group of 64 MiB",
        r"(\d+) violations in ",
    ),
    "full": Campaign("a full disk", _full, r"(\d+) full-disk cycles", "pipelined load, kills in between"),
    "stalled": Campaign("a disk that stands still", _stalled, "", "syncs wait 5 s, core NATS goes on"),
    "failing": Campaign("a sync that fails", _failing, r"(\d+) passed", "scenarios"),
    "damage": Campaign(
        "damage to a file at rest", _damage, r": (\d+) cases,", "bits, sectors, files; every kind of stream",
        r"^(\d+) violations$",
    ),
    "syscalls": Campaign(
        "a call of the disk, refused or the last one", _system_calls, r"^(\d+) cases:",
        "kills and power cuts behind it",
        r"^(\d+) violations$",
    ),
    "repairs": Campaign(
        "damage, then a repair", _repairs, r"^(\d+) repairs", "what could be read is there, the store is sound",
        r"(\d+) violations$",
    ),
}  # fmt: skip


def run(name: str, seconds: float, seed: int, progress: Progress) -> Row:
    """As many slices as fit, one at least."""
    campaign = CAMPAIGNS[name]
    began, slices, longest = time.monotonic(), 0, 0.0
    injected = violations = 0
    notes = campaign.notes
    while slices == 0 or time.monotonic() - began + longest <= seconds:
        slice_began = time.monotonic()
        part = campaign.slice_of(seed * 1000 + slices)
        code, output = _run(part.command, part.environment, seconds + PATIENCE_S)
        slices += 1
        longest = max(longest, time.monotonic() - slice_began)
        if code == 0 and re.search(r"^\d+ skipped|SKIPPED", output, re.M) and not re.search(r"\d+ passed", output):
            return Row(campaign.what, SERVER, 0, 0, time.monotonic() - began, "this machine cannot: skipped", ran=False)
        if code == os.EX_UNAVAILABLE:
            return Row(campaign.what, SERVER, 0, 0, time.monotonic() - began, output.strip()[-100:], ran=False)
        found = re.findall(campaign.counted, output, re.M) if campaign.counted else []
        counts = [int(count.replace(",", "")) for count in found]
        injected += sum(counts) or part.injected
        if code:
            found = re.findall(campaign.found, output, re.M) if campaign.found else []
            violations += max(1, sum(int(count) for count in found))
            print(f"\n{' '.join(part.command)}\n{part.environment}\n{output[-SHOWN_CHARACTERS:]}", flush=True)
        progress(f"{campaign.what}: {injected}, {violations or 'no'} violations")
    return Row(campaign.what, SERVER, injected, violations, time.monotonic() - began, notes)


def seeded_faults(seconds: float, seed: int, progress: Progress) -> Row:
    """A sample of tests/mutations: does somebody notice?"""
    began = time.monotonic()
    quick = [fault for fault in FAULTS if all(test.startswith("tests/unit") for test in fault.tests)]
    count = min(max(2, int(seconds / FAULT_S)), len(quick))
    names = [fault.name for fault in random.Random(seed).sample(quick, count)]
    what, command = "a fault seeded into the store", [sys.executable, "tests/mutations/run.py", *names]
    code, output = _run(command, {}, 2 * seconds + FAULT_S)
    caught = [line for line in output.splitlines() if line.startswith("caught")]
    missed = [line for line in output.splitlines() if line.startswith(("SURVIVED", "BROKEN"))]
    if code:
        print(f"\n{' '.join(command)}\n{output[-SHOWN_CHARACTERS:]}", flush=True)
    progress(f"{what}: {len(caught)} of {len(names)} caught")
    late = code == -signal.SIGKILL                 # its compiler had no time: not a fault that survived
    violations = len(missed) or int(code != 0 and not late)
    notes = f"{len(caught)} noticed, of {len(FAULTS)} that there are{', out of time' if late else ''}"
    tried = len(caught) + len(missed)
    return Row(what, SERVER, tried, violations, time.monotonic() - began, notes, ran=bool(tried or violations))


def _run(command: list[str], environment: dict[str, str], most_s: float) -> tuple[int, str]:
    """(exit code, what it printed); what it started ends with it."""
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=most_s)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return -signal.SIGKILL, output + f"\nno end within {most_s:.0f} s"
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
