"""Everything that shows "nothing acknowledged is lost", within so many minutes, and one table at the end.

    python -m tests.prove --minutes 20 [--only kills,cut] [--seed 1]

Exit codes: 0 no violation by Millpond, 1 there are some, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
import traceback

from .plan import Part, parts
from .table import Row, failed, table

SAY_S = 5.0
"""A part says how far it is no more often."""


def _attempt(part: Part, seconds: float, seed: int, began: float) -> Row:
    said_s = -SAY_S

    def progress(text: str) -> None:
        nonlocal said_s
        spent = time.monotonic() - began
        if spent - said_s >= SAY_S:
            said_s = spent
            print(f"[{int(spent) // 60:2}:{int(spent) % 60:02}] {text}", flush=True)

    progress(f"{part.name}, for {seconds:.0f} s")
    said_s = -SAY_S
    try:
        return part.act(seconds, seed, progress)
    except Exception:
        traceback.print_exc()
        return Row(part.name, "?", 0, 1, 0.0, "it ended with an error, see above")


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.prove", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="in all, about")
    parser.add_argument("--seed", type=int, default=1, help="another one injects other faults")
    parser.add_argument("--only", default="", help="names of parts, with commas")
    options = parser.parse_args()
    found = parts()
    wanted = set(filter(None, options.only.split(",")))
    if unknown := wanted - {part.name for part in found}:
        there = ", ".join(dict.fromkeys(part.name for part in found))
        parser.error(f"no such parts: {', '.join(sorted(unknown))}. There are {there}")
    chosen = [part for part in found if not wanted or part.name in wanted]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))   # and what was started ends with it
    began, rows = time.monotonic(), list[Row]()
    for number, part in enumerate(chosen):             # what one takes too long for, the others have less
        left_s = max(0.0, began + options.minutes * 60 - time.monotonic())
        seconds = left_s * part.share / sum(each.share for each in chosen[number:])
        rows.append(_attempt(part, seconds, options.seed, began))
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    violations = failed(rows)
    print(f"\n{table(rows)}\n")
    print(f"{time.monotonic() - began:.0f} s, seed {options.seed}, load {load} on {os.cpu_count()} cores")
    print(f"{violations} violations by Millpond")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
