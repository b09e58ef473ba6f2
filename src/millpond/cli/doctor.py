"""`millpond doctor`: looks at a running system and says what it sees, with numbers and advice."""

from __future__ import annotations

import sys
from collections.abc import Sequence

USAGE = """Usage: millpond doctor memory [options]     where the memory of a server, process or container is

Try:   millpond doctor memory
       millpond doctor memory --pid 4711 --seconds 60
"""


def main(argv: Sequence[str]) -> int:
    """Exit codes: those of the examination; 2 wrong usage."""
    words = list(argv)
    name = words.pop(0) if words else "--help"
    if name == "memory":
        from millpond.cli import doctor_memory

        return doctor_memory.main(words)
    if name in ("help", "-h", "--help"):
        print(USAGE, end="")
        return 0
    print(f"millpond doctor: unknown examination {name!r}\n\n{USAGE}", end="", file=sys.stderr)
    return 2
