"""Scenarios whose answers are known to differ, each with the row of docs/differences.md that says why."""

from __future__ import annotations

# scenario function name -> row id (the first column of the table)
KNOWN: dict[str, str] = {
    "line_end_as_argument": "line-ends",
    "carriage_return_inside": "line-ends",
    "message_from_client": "client-hmsg",
    "size_digits": "size-digits",
    "info_from_client": "client-info",
    "deep_connect": "deep-connect",
    "purged_beside_pending": "purge-pending",
    "republished_to_nowhere": "republish-nowhere",
}
