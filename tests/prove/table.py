"""What was injected, how often, and what it broke."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One line of the table. `counts`: its violations make the run fail; `ran` False: `notes` says why it did not."""

    what: str
    server: str
    injected: int
    violations: int
    took_s: float
    notes: str = ""
    counts: bool = True
    ran: bool = True


def table(rows: list[Row]) -> str:
    cells = [("injected", "server", "times", "violations", "s", "")]
    for row in rows:
        figures = (str(row.injected), str(row.violations)) if row.ran else ("-", "-")
        cells.append((row.what, row.server, *figures, f"{row.took_s:.0f}", row.notes))
    widths = [max(len(line[column]) for line in cells) for column in range(5)]
    lines = []
    for line in cells:
        left = "  ".join(cell.ljust(width) for cell, width in zip(line[:2], widths[:2], strict=True))
        right = "  ".join(cell.rjust(width) for cell, width in zip(line[2:5], widths[2:], strict=True))
        lines.append(f"{left}  {right}  {line[5]}".rstrip())
    return "\n".join(lines)


def failed(rows: list[Row]) -> int:
    """How many violations of ours there are."""
    return sum(row.violations for row in rows if row.counts)
