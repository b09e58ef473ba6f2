"""Random damages, one at a time, to stores of every kind.

    python -m tests.corruption.campaign --cases 100000 --seed 1

Prints what each kind of damage cost, and every violation with what makes it again.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from millpond.store.scan import scan_segment

from .damages import DAMAGES, patched
from .judge import Verdict, judge
from .stores import CONFIGS, Truth, made

SHOWN = 40
FAST = Path("/dev/shm")


def quiet() -> None:
    """Damaged stores say so very often; the judge hears it, nobody else needs to."""
    logging.getLogger("millpond").addHandler(logging.NullHandler())


class Campaign:
    """Stores below `root`, and the cases that were made of them."""

    def __init__(self, root: Path, seed: int, stop: bool, scale: float = 1.0) -> None:
        self.root, self.seed, self.stop = root, seed, stop
        self.truths: dict[str, Truth] = made(root, seed, scale, stop)
        self.names = list(CONFIGS)
        self.case = root / "case"
        self.costs: dict[str, Counter[str]] = defaultdict(Counter)
        self.violations: list[str] = []

    def _slot(self, part: str, number: int) -> Path:
        return self.root / part / "jetstream" / "$G" / "streams" / f"{number:04d}"

    def run(self, number: int, only: str = "") -> Verdict | None:
        """The case of that number; None: its damage changed nothing."""
        rng = random.Random(self.seed * 1_000_003 + number)
        kind = only or rng.choice(list(DAMAGES))
        which, other = rng.sample(range(len(self.names)), 2)
        streams = self.case / "jetstream" / "$G" / "streams"
        shutil.rmtree(streams, ignore_errors=True)
        for each in (which, other) if kind == "swapped" else (which,):
            shutil.copytree(self._slot("late", each), streams / f"{each:04d}", copy_function=shutil.copyfile)
        path = rng.choice(sorted((streams / f"{which:04d}").iterdir()))
        what = DAMAGES[kind](rng, path, self._slot("early", which), streams / f"{other:04d}")
        if not what:
            return None
        present = (which, other) if kind == "swapped" else (which,)
        verdict = judge(self.case, {self.names[each]: self.truths[self.names[each]] for each in present})
        self._count(kind, verdict)
        state = "stopped" if self.stop else "killed"
        for text in verdict.wrong:
            self.violations.append(f"{state}, seed {self.seed}, case {number}: {self.names[which]} {what}: {text}")
        return verdict

    def open_with_each_record_damaged(self, stream: str, rng: random.Random) -> int:
        """One flipped bit in each message of a stream in turn. Returns how many there were."""
        which = self.names.index(stream)
        slot = self.case / "jetstream" / "$G" / "streams" / f"{which:04d}"
        tried = 0
        for name in sorted(path.name for path in self._slot("late", which).glob("log.*")):
            for record in scan_segment(self._slot("late", which) / name).records:
                shutil.rmtree(slot.parent, ignore_errors=True)
                shutil.copytree(self._slot("late", which), slot)
                at = record.offset + rng.randrange(record.length)
                patched(slot / name, at, bytes([(slot / name).read_bytes()[at] ^ 1 << rng.randrange(8)]))
                verdict = judge(self.case, {stream: self.truths[stream]})
                most = int(record.kind == "message")
                wrong = [*verdict.wrong, *([f"{verdict.lost} messages are lost"] if verdict.lost > most else [])]
                self.violations += [f"{stream} {name} at {at}: {text}" for text in wrong]
                tried += 1
        return tried

    def _count(self, kind: str, verdict: Verdict) -> None:
        costs = self.costs[kind]
        costs["cases"] += 1
        costs["violations"] += bool(verdict.wrong)
        costs["told"] += verdict.told
        costs["no loss"] += not (verdict.lost or verdict.back or verdict.unavailable or verdict.consumers)
        for name in ("lost", "back", "unavailable", "consumers"):
            costs[name] += getattr(verdict, name)
            costs["most " + name] = max(costs["most " + name], getattr(verdict, name))

    def table(self) -> str:
        columns = ["cases", "violations", "told", "no loss", "lost", "most lost", "back", "unavailable", "consumers"]
        rows = [["damage", *columns]]
        rows += [[kind, *(str(self.costs[kind][name]) for name in columns)] for kind in DAMAGES if kind in self.costs]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def plain_segments(root: Path) -> list[Path]:
    """Of every stream of the late store."""
    paths = sorted((root / "late").rglob("log.*"))
    return [path for path in paths if path.read_bytes()[4:6] == b"\1\0"]


@dataclass(frozen=True)
class Part:
    """The cases of one store."""

    store: int
    seed: int
    cases: int
    only: str
    scale: float

    def run(self) -> tuple[str, int]:
        """What there is to say, and how many violations."""
        quiet()
        with tempfile.TemporaryDirectory(dir=FAST if FAST.is_dir() else None, prefix="millpond-damage-") as folder:
            campaign = Campaign(Path(folder), self.seed + self.store, stop=self.store % 2 == 0, scale=self.scale)
            began = time.process_time()
            for number in range(self.cases):
                campaign.run(number, self.only)
            took = time.process_time() - began
        cases = sum(costs["cases"] for costs in campaign.costs.values())
        head = (
            f"{'stopped' if campaign.stop else 'killed'} store, seed {campaign.seed}: {cases} cases, "
            f"{took / max(1, cases) * 1e3:.1f} ms of processor time each"
        )
        return "\n".join(("", head, campaign.table(), *campaign.violations[:SHOWN])), len(campaign.violations)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stores", type=int, default=4, help="how many stores are made; every other one was killed")
    parser.add_argument("--only", default="", help="one kind of damage")
    parser.add_argument("--scale", type=float, default=1.0, help="of each store; 1: about 300 KiB")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="stores at a time")
    options = parser.parse_args()
    cases = options.cases // options.stores
    parts = [Part(store, options.seed, cases, options.only, options.scale) for store in range(options.stores)]
    began, found = time.monotonic(), 0
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
        for text, violations in pool.map(Part.run, parts):
            print(text, flush=True)
            found += violations
    print(f"\n{cases * options.stores} cases in {time.monotonic() - began:.0f} s, {found} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
