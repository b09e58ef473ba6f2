"""docs/security.md names tests that exist, and every advisory."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "security.md").read_text()
ADVISORIES = 43


def test_every_test_exists() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TABLE))
    assert len(named) > 40
    missing = [
        f"{path}::{name}" for path, name in sorted(named)
        if not (ROOT / path).exists() or not re.search(rf"def {name}\(", (ROOT / path).read_text())
    ]  # fmt: skip
    assert not missing, "\n".join(missing)


def test_every_scenario_exists() -> None:
    scenarios = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    for group in re.findall(r"test_same\w*` \(([^)]*)\)", TABLE):
        for name in re.findall(r"`(\w+)`", group):
            assert re.search(rf"def {name}(__\w+)?\(", scenarios), name


def test_every_advisory_is_there_once() -> None:
    table = TABLE[: TABLE.index("## A tenant")]
    found = [name for row in table.splitlines() if row.startswith("| ") and row.count(" | ") >= 2
             for name in re.findall(r"CVE-\d+-\d+|20\d\d-\d\d\b", row.split(" | ")[1])]  # fmt: skip
    assert len(found) == len(set(found)), sorted(found)
    assert len(found) == ADVISORIES, len(found)
