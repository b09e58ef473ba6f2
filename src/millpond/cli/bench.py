"""`millpond bench`: measurements that anybody can repeat."""

from __future__ import annotations

import sys
from collections.abc import Sequence

USAGE = """Usage: millpond bench memory [options]     the lock workload, and what a container is charged for it
       millpond bench <kind> [options]     rate, latency and CPU time of one kind of load

Kinds: pub fan request idle js-publish deliver fetch consume kv-put kv-get kv-cas locks
       (millpond bench pub --help says what they are)

Try:   millpond bench memory --minutes 5
       millpond bench js-publish --window 1000 --against nats-server
"""


def main(argv: Sequence[str]) -> int:
    """Exit codes: those of the measurement; 2 wrong usage."""
    words = list(argv)
    name = words[0] if words else "--help"
    if name in ("help", "-h", "--help"):
        print(USAGE, end="")
        return 0
    if name == "memory":
        from millpond.cli import bench_memory

        return bench_memory.main(words[1:])
    from millpond.bench.scenarios import KINDS

    if name not in KINDS:
        print(f"millpond bench: unknown measurement {name!r}\n\n{USAGE}", end="", file=sys.stderr)
        return 2
    from millpond.cli import bench_load

    return bench_load.main(words)
