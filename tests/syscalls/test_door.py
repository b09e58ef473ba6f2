"""The door to the disk by itself: what is interrupted is done again, what was done in part is completed.

The whole script, and a store with its threads on the real disk, run in a process in which every system call with a file
of the store is interrupted once, and reads and writes do half of what is left; nobody may notice.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KINDS = {"open", "read", "write", "truncate", "allocate", "sync"}
IN_PART = {"read", "write"}
PROGRAM = """
import sys
from pathlib import Path
from millpond.store.api import RecordingOwner
from millpond.store.committer import Committer
from millpond.store.directory import StoreDirectory
from millpond.store.file_store import FileStore
from millpond.store.read_cache import ReadCache
from millpond.store.space import Space
from tests.syscalls.campaign import Campaign

place = Path(sys.argv[1])
Campaign(place).calls()                            # raises what is not as it should be

directory = StoreDirectory(place)
Space(place).close()
slot = directory.create_slot()
bodies = [b"%d" % i * 300 for i in range(100)]
for life in range(2):
    committer, cache = Committer("always"), ReadCache()
    store = FileStore(str(slot), committer, cache, RecordingOwner(), 8192)
    if life:
        assert [store.load_message(i + 1)["body"] for i in range(100)] == bodies and not store.damage
    else:
        for body in bodies:
            store.append_message(b"a", body)
        committer.drain()
        assert store.committed_seq == 100 and not store.failure
    store.close()
    cache.close()
    committer.close()
directory.close()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="preloads a library")
def test_nobody_notices_that_every_call_is_interrupted_and_done_in_part(tmp_path: Path) -> None:
    library, counts, place = tmp_path / "interrupt.so", tmp_path / "counts", tmp_path / "store"
    compiler = os.environ.get("CC", "cc")
    asked = [compiler, "-O2", "-shared", "-fPIC", "-o", library, HERE / "interrupt.c", "-ldl"]
    subprocess.run(asked, check=True, timeout=60)
    place.mkdir()
    environment = {
        **os.environ, "LD_PRELOAD": str(library), "INTERRUPT_UNDER": str(place), "INTERRUPT_COUNTS": str(counts),
    }  # fmt: skip
    program = [sys.executable, "-c", PROGRAM, str(place)]
    subprocess.run(program, check=True, cwd=HERE.parents[1], env=environment, timeout=300)
    rows = [line.split() for line in counts.read_text().splitlines()]
    assert {kind for kind, _, _ in rows} == KINDS
    for kind, interrupted, in_part in rows:
        assert int(interrupted) > 0, f"{kind} was never interrupted"
        assert (int(in_part) > 0) == (kind in IN_PART)
