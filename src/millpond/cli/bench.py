"""`millpond bench`: measurements that anybody can repeat."""

from __future__ import annotations

import sys
from collections.abc import Sequence

USAGE = """Usage: millpond bench memory [options]     the lock workload, and what a container is charged for it

Try:   millpond bench memory --minutes 5
       millpond bench memory --against nats-server --minutes 30 --mode all
"""


def main(argv: Sequence[str]) -> int:
    """Exit codes: those of the measurement; 2 wrong usage."""
    words = list(argv)
    name = words.pop(0) if words else "--help"
    if name == "memory":
        from millpond.cli import bench_memory

        return bench_memory.main(words)
    if name in ("help", "-h", "--help"):
        print(USAGE, end="")
        return 0
    print(f"millpond bench: unknown measurement {name!r}\n\n{USAGE}", end="", file=sys.stderr)
    return 2
