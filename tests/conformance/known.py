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
    "wider_than_allowed": "wider-than-allowed",
    "republished_to_nowhere": "republish-nowhere",
    "batch_larger_than_room": "batch-no-room",
    "an_answer_that_is_only_traced": "message-trace",
    "staged_in_a_batch": "message-trace",
    "fast_after_a_refused_batch": "refused-batch",
}
