"""How long does long work hold the event loop?

    python tools/longest_turn.py [messages] [only]

Fills streams with so many messages (a million unless told otherwise), asks for what goes over all of them, and prints
for each of these

    held    the most processor time that one callback of the loop has taken; which one it was is at the end of the line
    of it   the longest run of the garbage collector, which is in `held` where the loop's thread began it
    turn    the longest turn: the highest bucket of `turn_us` in /varz that has grown, an upper bound. It counts waiting
            for a processor, too: on a busy machine it says more of the machine than of the server.

`only`: a part of the names of those to run. The server runs in a thread of this process. Crowds of connections need
some 20,000 open files.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import turn_crowds
import turn_more
import turn_streams
from turn_rig import Run, Server


def main() -> None:
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    print("load", *(f"{load:.1f}" for load in os.getloadavg()), flush=True)
    with tempfile.TemporaryDirectory() as root:
        server = Server(Path(root))
        run = Run(server, messages, sys.argv[2] if len(sys.argv) > 2 else "")
        try:
            for part in (*turn_streams.PARTS, *turn_more.PARTS, *turn_crowds.PARTS):
                if run.wants(part.__name__):
                    part(run)
        finally:
            server.stop()
    print("load", *(f"{load:.1f}" for load in os.getloadavg()), flush=True)


if __name__ == "__main__":
    main()
