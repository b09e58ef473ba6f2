"""Every bit of whole stores, flipped in turn: opened, read, compared. Nothing is concluded from other bits.

    python -m tests.corruption.every_bit --mib 1 --jobs 2

Stores of every kind are made until their files are so large; every other one was killed. A flip in a segment opens
that stream's store (millpond.testing.opened_flips); one in a catalog, a journal or the witness opens the whole engine,
as the random damages do. Prints what became of them, and every violation.
"""

from __future__ import annotations

import argparse
import gc
import logging
import multiprocessing
import os
import pickle
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from millpond.testing.memory_disk import MemoryDisk, files_in
from millpond.testing.opened_flips import OpenedFlips

from .campaign import quiet
from .judge import Verdict, judge
from .rooms import SEGMENT_BYTES
from .stores import CONFIGS, Truth, made

FAST: Final = Path("/dev/shm")
CASE: Final = Path("/case")
"""The store directory, on a disk in memory."""
CHUNK_BITS: Final = 4096
SHOWN: Final = 40
REPORT_S: Final = 30.0
RESULT: Final = "result"


@dataclass
class Store:
    """One that was made; `root` holds it."""

    root: Path
    truths: dict[str, Truth]
    stopped: bool

    def slot(self, number: int) -> Path:
        return self.root / "late" / "jetstream" / "$G" / "streams" / f"{number:04d}"

    def files(self) -> Iterator[tuple[int, str, int]]:
        """(slot, name, bits) of each."""
        for number in range(len(CONFIGS)):
            for path in sorted(self.slot(number).iterdir()):
                if path.stat().st_size:
                    yield number, path.name, path.stat().st_size * 8

    @property
    def bits(self) -> int:
        return sum(bits for _, _, bits in self.files())


@dataclass(frozen=True)
class Chunk:
    """Bits of one file, from `first` to before `last`."""

    store: int
    slot: int
    name: str
    first: int
    last: int

    @property
    def is_segment(self) -> bool:
        return self.name.startswith("log.")


def stores(root: Path, seed: int, scale: float, bits: int) -> list[Store]:
    """As many as it takes."""
    found: list[Store] = []
    while sum(store.bits for store in found) < bits:
        place = root / f"store-{len(found)}"
        stopped = len(found) % 2 == 0
        found.append(Store(place, made(place, seed + len(found), scale, stopped), stopped))
    return found


def chunks(every: list[Store], bits: int) -> list[Chunk]:
    found, left = [], bits
    for number, store in enumerate(every):
        for slot, name, size in store.files():
            for first in range(0, min(size, left), CHUNK_BITS):
                found.append(Chunk(number, slot, name, first, min(first + CHUNK_BITS, size, left)))
            left -= min(size, left)
    return found


class Flipper:
    """One process' share. `step`: only every so many bits are flipped."""

    def __init__(self, every: list[Store], step: int) -> None:
        self._every, self._step = every, step
        self._open: dict[tuple[int, int], OpenedFlips] = {}
        self._disks: dict[tuple[int, int], MemoryDisk] = {}
        self.flips = 0
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []

    def flip(self, chunk: Chunk) -> None:
        stream = list(CONFIGS)[chunk.slot]
        truth = self._every[chunk.store].truths[stream]
        if chunk.is_segment:
            self.flips += self._opened(chunk, truth).run(chunk.name, chunk.first, chunk.last, self._step)
            return
        for at in range(chunk.first, chunk.last, self._step):
            verdict = self._judged(chunk, at, {stream: truth})
            self.flips += 1
            kind = "lost" if verdict.lost else "consumers set back" if verdict.consumers else "noticed"
            kind = "stream not opened" if verdict.unavailable else kind if verdict.told else "harmless"
            self.counts["WRONG" if verdict.wrong else f"{chunk.name.partition('.')[0]}: {kind}"] += 1
            place = f"{stream} {chunk.name}: bit {at % 8} of byte {at // 8}"
            self.wrong += [f"{place}: {text}" for text in verdict.wrong[:3]]

    def _judged(self, chunk: Chunk, at: int, truths: dict[str, Truth]) -> Verdict:
        key = chunk.store, chunk.slot
        slot = f"{CASE}/jetstream/$G/streams/{chunk.slot:04d}"
        if key not in self._disks:
            self._disks[key] = MemoryDisk(slot, files_in(self._every[chunk.store].slot(chunk.slot)))
        disk = self._disks[key]
        disk.flip(f"{slot}/{chunk.name}", at)
        verdict = judge(CASE, truths, disk)
        if verdict.wrong:
            del self._disks[key]                   # who knows who has what open
        else:
            disk.put_back()
        return verdict

    def _opened(self, chunk: Chunk, truth: Truth) -> OpenedFlips:
        key = chunk.store, chunk.slot
        if key not in self._open:
            slot = self._every[chunk.store].slot(chunk.slot)
            self._open[key] = OpenedFlips(str(slot), truth.ever, truth.live, truth.last_seq, SEGMENT_BYTES)
        return self._open[key]

    def end(self) -> None:
        for (store, slot), opened in self._open.items():
            name = list(CONFIGS)[slot]
            self.counts.update({f"log: {what}": count for what, count in opened.counts.items()})
            self.wrong += [f"store {store}, {name} {text}" for text in opened.wrong]
            opened.close()


def share(every: list[Store], mine: list[Chunk], root: Path, step: int) -> None:
    """What one process does; RESULT in `root` is what it found."""
    quiet()
    logging.getLogger("millpond").setLevel(logging.CRITICAL)   # where nobody listens, nothing is put into words
    gc.freeze()                                    # the truths stay: no collection need go through them
    flipper = Flipper(every, step)
    said = time.monotonic()
    for done, chunk in enumerate(mine, 1):
        flipper.flip(chunk)
        if time.monotonic() - said > REPORT_S:
            said = time.monotonic()
            print(f"process {os.getpid()}: {done} of {len(mine)} parts, {len(flipper.wrong)} wrong", flush=True)
    flipper.end()
    times = os.times()
    (root / RESULT).write_bytes(pickle.dumps((flipper.flips, flipper.counts, flipper.wrong, times.user + times.system)))


def run(
    root: Path, *, seed: int, scale: float, bits: int, jobs: int, step: int = 1
) -> tuple[int, Counter[str], list[str], float]:
    """(flips, what became of them, violations, seconds of processor time)."""
    every = stores(root, seed, scale, bits)
    all_chunks = chunks(every, bits)
    context = multiprocessing.get_context("fork")
    places = [root / f"job-{job}" for job in range(jobs)]
    processes = []
    for job, place in enumerate(places):
        place.mkdir()
        processes.append(context.Process(target=share, args=(every, all_chunks[job::jobs], place, step)))
        processes[-1].start()
    for process in processes:
        process.join()
    flips, counts, wrong, cpu_s = 0, Counter[str](), [], 0.0
    for process, place in zip(processes, places, strict=True):
        if process.exitcode:
            wrong.append(f"a process ended with {process.exitcode}")
            continue
        its_flips, its_counts, its_wrong, its_s = pickle.loads((place / RESULT).read_bytes())
        flips, cpu_s = flips + its_flips, cpu_s + its_s
        counts.update(its_counts)
        wrong += its_wrong
    return flips, counts, wrong, cpu_s


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=float, default=1.0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="of each store; 1: about 300 KiB")
    parser.add_argument("--step", type=int, default=1, help="only every so many bits")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=FAST if FAST.is_dir() else None, prefix="millpond-bits-") as folder:
        flips, counts, wrong, cpu_s = run(
            Path(folder), seed=options.seed, scale=options.scale, bits=int(options.mib * 8 * (1 << 20)),
            jobs=options.jobs, step=options.step,
        )  # fmt: skip
    took = time.monotonic() - began
    if not flips:
        print("\n".join(wrong))
        return 1
    print(f"every bit: {flips} flips, each opened, read and compared, in {took:.0f} s ({flips / took:.0f} a second, "
          f"{cpu_s / flips * 1e6:.0f} us of processor time each), {len(wrong)} violations")  # fmt: skip
    for what, count in sorted(counts.items(), key=lambda item: -item[1]):
        print(f"{count:10d}  {what}")
    print("\n".join(wrong[:SHOWN]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
