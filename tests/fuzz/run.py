"""Runs the checks of `checks.py` on mutated examples for a given time; no coverage feedback, no dependencies.

    make fuzz SECONDS=600                 all checks, the time shared between them
    make debug-fuzz SECONDS=600           the same with bounds checks and AddressSanitizer
    python tests/fuzz/run.py --check parser --seconds 3600 --seed 7

A failure prints its input and ends with 1; the input then becomes a vector of the unit tests.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[2]))

from checks import CHECKS, mutate

INPUTS_PER_LOOK = 200


def run(name: str, seconds: float, seed: int) -> bool:
    """Did every input pass?"""
    check, seeds = CHECKS[name]
    rng = random.Random(f"{seed} {name}")
    stop, count = time.monotonic() + seconds, 0
    while time.monotonic() < stop:
        for _ in range(INPUTS_PER_LOOK):
            data = mutate(rng, seeds)
            try:
                check(data)
            except Exception:
                traceback.print_exc()
                print(f"{name}: seed {seed}, input {count}: {data!r}")
                return False
            count += 1
    print(f"{name}: {count:,} inputs, seed {seed}: all well")
    return True


def main() -> int:
    arguments = argparse.ArgumentParser(description="Feed mutated bytes to parsers.")
    arguments.add_argument("--seconds", type=float, default=60.0)
    arguments.add_argument("--seed", type=int, default=time.time_ns())
    arguments.add_argument("--check", choices=tuple(CHECKS), action="append")
    options = arguments.parse_args()
    names = options.check or list(CHECKS)
    return 0 if all([run(name, options.seconds / len(names), options.seed) for name in names]) else 1


if __name__ == "__main__":
    sys.exit(main())
