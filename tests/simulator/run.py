"""Many lives and their cuts, on all cores: what `make simulate` runs.

    python -m tests.simulator.run --seeds 10000 --cuts 1000000 --first 1000000 --jobs 2

Seeds are handed out one at a time; what a seed does depends on nothing else. One that breaks a promise is printed with
the command that repeats it; after ten of them it ends, and when it is interrupted. Exit code 1: there was one.
"""

from __future__ import annotations

import argparse
import gc
import logging
import multiprocessing
import os
import signal
import sys
import time
from contextlib import suppress
from functools import partial

from .campaign import Campaign, Figures
from .history import Violation
from .world import simulated

FAILURES_MAX = 10
GARBAGE_AT = 5000
"""Objects: a world or two. At 700 a collection would come upon most of them while they are used."""


def begin() -> None:
    """In each process: what is loaded stays, and no collection need go through it."""
    gc.freeze()
    gc.set_threshold(GARBAGE_AT)


def one(cuts: int, seed: int) -> tuple[int, str, Figures, float]:
    """(seed, what it broke or "", figures, processor seconds)."""
    logging.disable(logging.CRITICAL)
    began, campaign, broken = time.process_time(), Campaign(), ""
    with simulated(seed):
        try:
            campaign.life(seed, cuts)
        except Violation as violation:
            broken = str(violation)
    return seed, broken, campaign.figures, time.process_time() - began


def repeat(seed: int, cuts: int) -> str:
    return f"make simulate FIRST={seed} SEEDS=1 CUTS={cuts} JOBS=1"


def run(seeds: int, cuts: int, first: int, jobs: int) -> int:
    """How many of them broke a promise."""
    each = max(1, cuts // seeds)
    total, failed, spent, began = Figures(), [], 0.0, time.monotonic()
    with multiprocessing.Pool(jobs, begin) as pool, suppress(KeyboardInterrupt):
        for seed, broken, figures, seconds in pool.imap_unordered(partial(one, each), range(first, first + seeds)):
            total.add(figures)
            spent += seconds
            if broken:
                failed.append(seed)
                print(f"{broken}\n  again: {repeat(seed, each)}", flush=True)
            if len(failed) == FAILURES_MAX:
                break
    wall = time.monotonic() - began
    print(total.told())
    print(f"{total.cuts:,} cuts in {total.seeds:,} lives and {total.nested:,} that went on, {total.operations:,} "
          f"operations, {len(failed)} seeds with a violation; "
          f"{total.cuts / spent:.0f} cuts a second of processor time, "
          f"{total.cuts / wall:.0f} a second with {jobs} jobs ({wall:.0f} s)")  # fmt: skip
    if failed:
        print(f"put them into tests/simulator/failed_seeds.txt: {' '.join(f'{seed} {each}' for seed in failed)}")
    return len(failed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1000, help="lives")
    parser.add_argument("--cuts", type=int, default=100_000, help="in all of them together")
    parser.add_argument("--first", type=int, default=1_000_000, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    asked = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)       # a shell may have it ignored in the background
    return 1 if run(asked.seeds, asked.cuts, asked.first, asked.jobs) else 0


if __name__ == "__main__":
    sys.exit(main())
