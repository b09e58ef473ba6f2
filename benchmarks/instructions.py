"""Instructions per operation on the hot paths, counted by callgrind, against a bound for each.

Unlike times, counts are the same on a busy machine. The child process prepares a path, calls `mark`, does the
work, calls `mark` again; callgrind writes what was executed in between. A path that is above its bound fails;
one that is far below says that its bound should follow.

    python benchmarks/instructions.py [path ...]
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from paths import PATHS

COUNT: Final = 5000
"""Operations per path."""
SLACK: Final = 0.85
"""A count below this share of its bound asks for a lower bound."""
BOUNDS: Final[dict[str, int]] = {
    "core_publish": 600,
    "core_publish_header": 810,
    "fan_out_1": 1_050,
    "fan_out_4": 2_400,
    "queue_group_4": 1_150,
    "request_reply": 3_250,
    "js_publish_memory": 4_600,
    "js_publish_memory_sync": 9_300,
    "js_publish_memory_subjects": 5_200,
    "fetch": 2_950,
    "fetch_with_acks": 5_500,
    "push": 2_300,
    "push_apart": 10_000,
    "kv_put": 7_350,
    "kv_get": 3_900,
    "kv_cas": 14_100,
    "lock_delete": 13_000,
    "lock_purge": 13_000,
}
"""A tenth above what was counted when the bound was set."""


def child(names: list[str]) -> None:
    """Runs inside callgrind."""
    from millpond.bench.replay import Replay, mark

    for name in names:
        replay = Replay()
        work = PATHS[name](replay, COUNT)
        mark()
        work()
        mark()
        replay.close()


def count(names: list[str], directory: Path) -> dict[str, int]:
    """Instructions per operation by path."""
    command = [
        "valgrind", "--tool=callgrind", "--dump-before=millpond_bench_mark",
        f"--callgrind-out-file={directory}/out", sys.executable, __file__, "--child", *names,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"callgrind failed:\n{done.stderr[-3000:]}")
    dumps = sorted(directory.glob("out.*"), key=lambda path: int(path.suffix[1:]))
    sections = dumps[1::2]
    assert len(sections) == len(names), f"{len(dumps)} dumps for {len(names)} paths"
    return {name: _total(dump) // COUNT for name, dump in zip(names, sections, strict=True)}


def _total(dump: Path) -> int:
    found = re.search(r"^(?:totals|summary): (\d+)", dump.read_text(), re.M)
    assert found, f"{dump} has no total"
    return int(found[1])


def main(argv: list[str]) -> int:
    """Exit codes: 0 within bounds; 1 above one; 2 no valgrind."""
    if argv[:1] == ["--child"]:
        child(argv[1:])
        return 0
    if shutil.which("valgrind") is None:
        print("valgrind is not installed; apt-get install valgrind", file=sys.stderr)
        return 2
    names = argv or list(PATHS)
    with tempfile.TemporaryDirectory(prefix="millpond-callgrind-") as directory:
        counted = count(names, Path(directory))
    failed = False
    for name, instructions in counted.items():
        bound = BOUNDS.get(name, 0)
        verdict = "ok"
        if instructions > bound:
            verdict, failed = "ABOVE ITS BOUND", True
        elif instructions < bound * SLACK:
            verdict = "ok (lower the bound)"
        print(f"{name:30} {instructions:8,} instructions, bound {bound:8,}  {verdict}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
