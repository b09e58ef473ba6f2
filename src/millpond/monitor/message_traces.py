"""The document that tells one message's way (ADR-41): who speaks, what was asked, what happened."""

from __future__ import annotations

from typing import Any

from millpond.broker.message_trace import Event, MessageTrace
from millpond.jetstream.go_json import encode, format_time
from millpond.jetstream.go_text import text

ALWAYS = frozenset({"kind", "cid", "acc", "subj", "to", "from", "stream"})
"""Fields that are there even if they are empty; of egress events `acc` is not."""


def document(trace: MessageTrace, server: dict[str, Any]) -> bytes:
    """`server`: of Envelopes."""
    headers = {text(key): [text(value) for value in values] for key, values in sorted(trace.headers.items())}
    request = {"header": headers, "msgsize": trace.size}
    return encode({"server": server, "request": request, "events": [_event(row) for row in trace.events]})


def _event(event: Event) -> dict[str, Any]:
    always = ALWAYS - {"acc"} if event.type == "eg" else ALWAYS
    fields = {
        name: text(value) if isinstance(value, bytes) else value
        for name, value in event.fields.items()
        if value or name in always
    }
    return {"type": event.type, "ts": format_time(event.at_ns), **fields}
