"""README's table about performance, from docs/performance.md: no figure is written there by hand.

    python benchmarks/readme.py          writes it anew
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

BEGINS, ENDS = "<!-- from docs/performance.md -->", "<!-- end of the figures -->"
CORE, MEMORY = "Core NATS", "JetStream, memory streams"
DURABLE: Final = "Both durable: an answer follows fdatasync (`sync_interval: always` there)"
DEFAULTS: Final = "Our durable default against their default, which syncs every two minutes"
THEIR_DEFAULT: Final = "fdatasync before the answer against their default"
BOTH: Final = "both fdatasync before the answer"
SHOWN: Final = (
    ("core publish, 16 B / 128 B / 16 KiB", "", CORE, ("publish 16 B", "publish 128 B", "publish 16 KiB")),
    ("one to one / one to four, 128 B", "", CORE, ("one to one, 128 B", "one to four, 128 B")),
    ("request and reply, 1 / 64 in flight", "", CORE,
     ("request and reply, 1 in flight", "request and reply, 64 in flight")),
    ("publish into a memory stream, 1,000 in flight", "", MEMORY, ("publish, 1,000 in flight",)),
    ("publish into a file stream, 1,000 in flight", f"{THEIR_DEFAULT}, which syncs every two minutes", DEFAULTS,
     ("publish, 1,000 in flight",)),
    ("the same", BOTH, DURABLE, ("publish, 1,000 in flight",)),
    ("the same, 1 in flight", THEIR_DEFAULT, DEFAULTS, ("publish, 1 in flight",)),
    ("the same", BOTH, DURABLE, ("publish, 1 in flight",)),
    ("fetch with acks, file", "fdatasync before confirmed acks, against their default", DEFAULTS,
     ("fetch 256, each acked",)),
    ("KV get, file, 64 in flight", "", DEFAULTS, ("KV get, 64 in flight",)),
    ("a lock taken and deleted, 32 in flight", THEIR_DEFAULT, DEFAULTS, ("lock: take, delete; 32 in flight",)),
    ("a lock taken and deleted, 1 in flight", THEIR_DEFAULT, DEFAULTS, ("lock: take, delete; 1 in flight",)),
    ("the same", BOTH, DURABLE, ("lock: take, delete; 1 in flight",)),
)  # fmt: skip
"""(workload, durability, heading on the page, rows of its table)."""


def rows_of(page: str) -> dict[tuple[str, str], dict[str, str]]:
    """(heading, row) -> {column: cell}; of columns that have the same name the first, and then with a number."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    heading, names = "", []
    for line in page.splitlines():
        if line.startswith("#"):
            heading, names = line.lstrip("# "), []
        elif line.startswith("|"):
            cells = [cell.strip(" *") for cell in line.strip("|").split("|")]
            if not names:
                names = [f"{name} {cells[:at].count(name) or ''}".strip() for at, name in enumerate(cells)]
            elif not set(line) <= set("|-:"):
                found[heading, cells[0]] = dict(zip(names, cells, strict=False))
    return found


def _number(cell: str) -> float:
    return float(re.sub(r"[^0-9.]", "", cell))


def _cost(row: dict[str, str]) -> tuple[str, str]:
    """CPU time per operation: how many times, and whether that is less or more."""
    ours, theirs = _number(row["CPU per op"]), _number(row["theirs 1"])
    times = f"{max(ours, theirs) / min(ours, theirs):.1f}x"
    return times, "" if times == "1.0x" else " less" if ours < theirs else " more"


def _lines(page: str) -> Iterator[str]:
    rows = rows_of(page)
    yield "| Workload | Durability | Rate | CPU per operation |"
    yield "|---|---|---|---|"
    for workload, durability, heading, titles in SHOWN:
        shown = [rows[heading, title] for title in titles]
        costs = [_cost(row) for row in shown]
        ends = {end for _, end in costs}
        same = ends.pop() if len(ends) == 1 else None
        cpu = " / ".join(times + (end if same is None else "") for times, end in costs) + (same or "")
        rate = " / ".join(row["ratio"] for row in shown)
        yield f"| {workload} |{durability and f' {durability}'} | {rate} | {cpu} |"
    (idle, their_idle), (ready, their_ready) = (
        [rows["The process", server][column] for server in ("millpond", "nats-server")]
        for column in ("RSS idle", "start to ready")
    )
    yield ""
    yield (
        f"An idle server holds {idle} (nats-server: {their_idle.removesuffix(' MiB')}) and was ready after {ready} "
        f"({their_ready.removesuffix(' ms')})."
    )


def figures(page: str) -> str:
    """What stands between the marks. Raises KeyError for a row that the page does not have."""
    return "\n".join(_lines(page))


def updated(readme: str, page: str) -> str:
    """README with the figures of `page`."""
    marked = re.compile(f"{re.escape(BEGINS)}\n.*?{re.escape(ENDS)}", re.S)
    return marked.sub(lambda _: f"{BEGINS}\n{figures(page)}\n{ENDS}", readme)


def update(path: Path, page: str) -> None:
    """The same in its file."""
    path.write_text(updated(path.read_text(), page))


if __name__ == "__main__":
    ROOT: Final = Path(__file__).resolve().parents[1]
    update(ROOT / "README.md", (ROOT / "docs" / "performance.md").read_text())
