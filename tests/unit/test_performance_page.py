"""docs/performance.md and README.md say the same, and the page's parts can be written one by one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))

import readme  # noqa: E402 - the benchmarks are programs, not a package
from page import NOTES, growth_section, page, with_growth  # noqa: E402
from rows import CORE, OURS, THEIRS  # noqa: E402

PAGE = ROOT / "docs" / "performance.md"
README = ROOT / "README.md"
AROUND = {"Machine": "a machine", "Against": "another server", "Growth": "1 round"}


def test_readme_has_the_figures_of_the_page() -> None:
    assert readme.updated(README.read_text(), PAGE.read_text()) == README.read_text(), (
        "run: python benchmarks/readme.py"
    )


def test_a_row_that_is_gone_is_told() -> None:
    with pytest.raises(KeyError, match="publish 16 B"):
        readme.figures(PAGE.read_text().replace("| publish 16 B |", "| publish 17 B |"))


def test_columns_of_the_same_name_are_told_apart() -> None:
    text = "## A\n\n| | rate | theirs | CPU per op | theirs |\n|---|--:|--:|--:|--:|\n| row | 1 | 2 | 3 ns | **4** |\n"
    assert readme.rows_of(text) == {
        ("A", "row"): {"": "row", "rate": "1", "theirs": "2", "CPU per op": "3 ns", "theirs 1": "4"}
    }


def test_growth_is_written_into_a_page_that_stays() -> None:
    whole = page({}, AROUND)
    assert growth_section({}, AROUND) == ""
    section = "<!-- growth -->\n## Growth\n\nold figures\n\n<!-- end of growth -->\n"
    once = with_growth(whole, section)
    assert once == with_growth(once, section)
    assert with_growth(once, section.replace("old", "new")) == once.replace("old", "new")
    assert once.index(NOTES) > once.index("old figures")
    assert once.replace(f"{section}\n", "") == whole


def test_every_server_of_a_table_is_measured() -> None:
    assert CORE.servers == [OURS, THEIRS]
