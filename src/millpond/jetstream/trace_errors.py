"""Why a stream did not store a message, as message traces say it: often in other words than the answer (ADR-41)."""

from __future__ import annotations

from typing import Any, Final, Protocol

from millpond.base.errors import ApiError
from millpond.jetstream.go_text import quote
from millpond.wire.headers import find_value

OTHER_WORDS: Final = {
    10054: "maximum payload exceeded",
    10060: "expected stream does not match",
    10097: "maximum payload exceeded",
    10166: "message TTL disabled",
}
PLAIN: Final = frozenset({10077, 10111})
"""Errors that quote another one: only that is shown."""
WRONG_SEQUENCE: Final = 10071
WRONG_MSG_ID: Final = 10070
AFTERWARDS: Final = frozenset({10002, 10047, 10165})
"""Found when the message was in order, and was to be stored."""
FULL: Final = "maximum "
"""How what `discard: new` refuses begins; that is found afterwards, too."""


class Told(Protocol):
    """What a trace is told by a stream."""

    def refused(self, error: str, *, stored: bool = False) -> None: ...


def tell(traced: Told, error: ApiError, block: bytes, in_batch: bool) -> None:
    """A message with this header block was refused. in_batch: messages of batches are judged as a whole before."""
    late = error.err_code in AFTERWARDS or (error.err_code in PLAIN and error.description.startswith(FULL))
    traced.refused(words(error, block), stored=late and not in_batch)


def words(error: ApiError, block: bytes) -> str:
    """The error as a trace has it."""
    if error.err_code in OTHER_WORDS:
        return OTHER_WORDS[error.err_code]
    if error.err_code in PLAIN:
        return error.description
    if error.err_code == WRONG_SEQUENCE:
        return _wrong_sequence(error.description.rpartition(" ")[2], block)
    if error.err_code == WRONG_MSG_ID:
        wanted = find_value(block, b"Nats-Expected-Last-Msg-Id") or b""
        found = error.description.partition(": ")[2]
        return f"last msgid mismatch: {quote(wanted)} vs {quote(found)}"
    return f"{error.description} ({error.err_code})"


def _wrong_sequence(found: str, block: bytes) -> str:
    """Of the subject, which is asked first, or of the stream."""
    of_subject: Any = find_value(block, b"Nats-Expected-Last-Subject-Sequence")
    if of_subject and _number(of_subject) != found:
        return f"last sequence by subject mismatch: {_number(of_subject)} vs {found}"
    of_stream = find_value(block, b"Nats-Expected-Last-Sequence") or b""
    return f"last sequence mismatch: {_number(of_stream)} vs {found}"


def _number(text: bytes) -> str:
    """What is no number is the highest one."""
    return str(int(text)) if text.isdigit() and len(text) < 20 else str(2**64 - 1)
