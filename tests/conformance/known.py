"""Scenarios whose answers are known to differ, each with the row of docs/differences.md that says why."""

from __future__ import annotations

# scenario function name -> row id (the first column of the table)
KNOWN: dict[str, str] = {}
