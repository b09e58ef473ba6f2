"""All cases of the script: each call refused in turn, and a crash between any two of them.

`python -m tests.syscalls.campaign` runs them, `--every K` the K-th part of them that `--seed` chooses.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import resource
import shutil
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from millpond.testing.disk_image import SURVIVALS, DiskImage
from millpond.testing.simulated_disk import GONE, MOVED, NAME, SIZE, WRITE
from stream_model_rules import START_NS

from ..simulator.history import Violation
from .faults import Call, Fault, Plan, possible
from .judge import Books
from .play import Play, plain
from .script import script
from .server import Files, Server, small_files

CUTS_AFTER_FAULT = 3
"""Power cuts in each run with a fault."""
CUTS_AT_EACH = 4
"""Power cuts between two steps of the run without one."""
FAILURES_MAX = 20
PARTS = 40


@dataclass
class Figures:
    calls: Counter[str] = field(default_factory=Counter)
    cases: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        self.calls.update(other.calls)
        self.cases.update(other.cases)
        self.outcomes.update(other.outcomes)
        self.violations += other.violations


class Run:
    """The script once, with a fault or without. `folder`: of a memory file system, or it is slow."""

    def __init__(self, folder: Path, fault: Fault | None = None) -> None:
        self.folder, self.plan = folder, Plan(fault)
        folder.mkdir(parents=True)
        self.server = Server(folder, {"": None}, START_NS, self.plan)
        self.play = Play(self.server, self.plan)

    def go(self) -> None:
        """Raises Violation."""
        self.play.start()
        script(self.play)
        self._end()

    def _end(self) -> None:
        """Service has resumed where it can, and has everywhere after a start."""
        self._heal()
        self.play.expect_answers()
        for name in ("S", "T"):
            self.play.do(name, plain(f"{name.lower()}.end"))
        self.play.look()
        self.play.kill(settled=True)
        for name in ("S", "T"):
            self.play.create(name)
            self.play.do(name, plain(f"{name.lower()}.resumed"))
            if self.play.books.present(name) is None:
                raise Violation(f"{name} cannot be created any more")
        self.play.look()
        self._heal()
        self.play.books.check_delivery(self.server, self.server.now)

    def _heal(self) -> None:
        self.plan.heal()
        if self.server.storage.committer.space.full and not self.server.make_room():
            raise Violation("there is room again, and nothing is taken")

    def close(self) -> None:
        self.server.end()
        shutil.rmtree(self.folder)


class Kernel:
    """What a kill leaves of a trace: everything that was done."""

    def __init__(self, found: dict[str, Any]) -> None:
        self._names = dict(found)
        self._contents = {file: bytearray() for file in found.values() if file is not None}

    def apply(self, step: tuple[Any, ...]) -> None:
        kind = step[0]
        if kind == WRITE:
            _, file, offset, data = step
            content = self._contents[file]
            content.extend(bytes(max(0, offset + len(data) - len(content))))
            content[offset : offset + len(data)] = data
        elif kind == SIZE:
            content = self._contents[step[1]]
            del content[step[2] :]
            content.extend(bytes(step[2] - len(content)))
        elif kind == NAME:
            self._names[step[1]] = step[2]
            if step[2] is not None:
                self._contents[step[2]] = bytearray()
        elif kind == GONE:
            del self._names[step[1]]
        elif kind == MOVED:
            self._names[step[2]] = self._names.pop(step[1])

    def files(self) -> Files:
        names = sorted(self._names.items())
        return {path: None if file is None else bytes(self._contents[file]) for path, file in names}

    def files_amid(self, write: tuple[Any, ...]) -> Files:
        """The same, and half of a write."""
        _, file, offset, data = write
        before = bytes(self._contents[file])
        self.apply((WRITE, file, offset, data[: len(data) // 2]))
        found = self.files()
        self._contents[file][:] = before
        return found


class Campaign:
    def __init__(self, folder: Path, seed: int = 1) -> None:
        self.folder, self.seed, self.figures = folder, seed, Figures()
        self._places = 0

    def _place(self) -> Path:
        self._places += 1
        return self.folder / str(self._places)

    # --- the script without a fault ---

    def calls(self) -> list[Call]:
        """Those of the script. Raises Violation."""
        with small_files():
            run = Run(self._place())
            try:
                run.go()
            finally:
                run.close()
        self.figures.calls.update(f"{call.kind} {call.file}" for call in run.plan.calls)
        return run.plan.calls

    # --- crashes ---

    def crashes(self, every: int = 1, offset: int = 0) -> None:
        """Kills between two steps and within writes, and power cuts."""
        with small_files():
            run = Run(self._place())
            try:
                run.go()
            finally:
                run.close()
            self._crash_everywhere(run, every, offset)

    def _crash_everywhere(self, run: Run, every: int, offset: int) -> None:
        rng, trace = Random(f"{self.seed} {offset}"), run.server.disk.trace
        disk, kernel = DiskImage(run.server.found, {}, rng), Kernel(run.server.found)
        for cut in range(len(trace) + 1):
            if cut % every == offset:
                self._crash(run, kernel.files(), cut, "killed")
                for survival in rng.sample(SURVIVALS, CUTS_AT_EACH):
                    self._crash(run, disk.image(rng, survival), cut, f"power cut, {survival}")
            if cut == len(trace):
                break
            step = trace[cut]
            if step[0] == WRITE and cut % every == offset and len(step[3]) > 1:
                self._crash(run, kernel.files_amid(step), cut, "killed amid a write")
            disk.feed(step)
            kernel.apply(step)

    def _crash(self, run: Run, files: Files, cut: int, how: str) -> None:
        self.figures.cases[how.partition(",")[0]] += 1
        where = f"{how} at step {cut}"
        try:
            self._start(_books_of(run.play, cut), files, cut, how.startswith("killed"), run.play.clock_at(cut))
        except Violation as violation:
            self.figures.violations.append(f"{where}: {violation}")
        except Exception as error:
            self.figures.violations.append(f"{where}: {error!r}")

    def _start(self, books: Books, files: Files, cut: int, kill: bool, now_ns: int) -> None:
        place = self._place()
        place.mkdir(parents=True)
        server = Server(place, files, now_ns, lambda number, kind, path: 0)
        server.start()
        try:
            books.check(server, cut, kill=kill)
            if cut % 5 == 0:
                books.check_delivery(server, cut)
        finally:
            server.end()
            shutil.rmtree(place)

    # --- faults ---

    def fault(self, fault: Fault) -> None:
        """One run of the script, and crashes after it."""
        rng = Random(f"{self.seed} {fault}")
        self.figures.cases[f"{errno.errorcode[fault.error]}{' lasting' if fault.lasting else ''}"] += 1
        with small_files():
            run = Run(self._place(), fault)
            try:
                run.go()
                self._cuts(run, rng)
            except Violation as violation:
                self.figures.violations.append(f"{run.plan}: {violation}")
            except Exception as error:
                import traceback

                where = traceback.extract_tb(error.__traceback__)[-1]
                self.figures.violations.append(f"{run.plan}: {error!r} in {where.filename}:{where.lineno}")
            finally:
                self.figures.outcomes.update(run.play.outcomes or {"nobody noticed": 1})
                run.close()

    def _cuts(self, run: Run, rng: Random) -> None:
        server = run.server
        disk = DiskImage(server.found, {}, Random(rng.random()))
        places = sorted(rng.randint(0, len(server.disk.trace)) for _ in range(CUTS_AFTER_FAULT))
        fed = 0
        for cut in places:
            while fed < cut:
                disk.feed(server.disk.trace[fed])
                fed += 1
            survival = rng.choice(SURVIVALS)
            self._crash(run, disk.image(rng, survival), cut, f"power cut, {survival}, {run.plan}")


def _books_of(play: Play, cut: int) -> Books:
    return [books for books in play.epochs if books.begin <= cut][-1]


# --- all of it ---


def _work(seed: int, every: int, part: int, parts: int) -> Figures:
    """A part of everything, in a process of its own."""
    logging.disable(logging.CRITICAL)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with TemporaryDirectory(prefix="millpond-", dir=memory) as name:
        campaign = Campaign(Path(name), seed)
        calls = campaign.calls()
        if part:
            campaign.figures.calls.clear()
        stride, offset = every * parts, Random(seed).randrange(every) * parts + part
        campaign.crashes(stride, offset)
        faults = [fault for call in calls for fault in possible(call)]
        for i in range(offset, len(faults), stride):
            campaign.fault(faults[i])
            if len(campaign.figures.violations) >= FAILURES_MAX:
                break
        return campaign.figures


def everything(seed: int, every: int, processes: int, say: Any) -> Figures:
    """Each k-th case, in small parts, so that there is something to say of. Each part has a process of its own: servers
    that are killed in it leave the descriptors of their workers behind, as nobody stops these."""
    figures, parts = Figures(), 1 if every > 20 else PARTS
    with ProcessPoolExecutor(processes, get_context("spawn"), max_tasks_per_child=1) as pool:
        began = time.monotonic()
        futures = [pool.submit(_work, seed, every, part, parts) for part in range(parts)]
        for done, future in enumerate(futures, 1):
            part = future.result()
            figures.add(part)
            for violation in part.violations:
                say(violation)
            say(f"{done} of {parts} parts, {figures.cases.total()} cases, {len(figures.violations)} violations, "
                f"{time.monotonic() - began:.0f} s")  # fmt: skip
    return figures


def table(figures: Figures) -> str:
    lines = [f"{figures.calls.total()} calls of the script:"]
    lines += [f"  {count:6} {name}" for name, count in sorted(figures.calls.items())]
    lines.append(f"{figures.cases.total()} cases:")
    lines += [f"  {count:6} {name}" for name, count in sorted(figures.cases.items())]
    lines.append("what came of the faults:")
    lines += [f"  {count:6} {name}" for name, count in sorted(figures.outcomes.items())]
    lines.append(f"{len(figures.violations)} violations")
    lines += [f"  {one}" for one in figures.violations[:FAILURES_MAX]]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--fault", help="one case: the call's number and the error's name, and `lasting`")
    asked = parser.parse_args()
    if asked.fault:
        return one(asked.fault, asked.seed)
    figures = everything(asked.seed, asked.every, asked.processes, lambda line: print(line, flush=True))
    print(table(figures))
    spent = os.times()
    print(f"{spent.user + spent.system + spent.children_user + spent.children_system:.0f} s of processor time")
    return 1 if figures.violations else 0


def one(words: str, seed: int) -> int:
    """A fault by itself, with everything that the log says."""
    number, name, *rest = words.split()
    logging.basicConfig(level=logging.DEBUG)
    with TemporaryDirectory(prefix="millpond-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        campaign = Campaign(Path(folder), seed)
        campaign.fault(Fault(int(number), getattr(errno, name), bool(rest)))
        print(table(campaign.figures))
    return 1 if campaign.figures.violations else 0


if __name__ == "__main__":
    sys.exit(main())
