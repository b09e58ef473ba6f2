"""Requests of which some get no answer: that is known by one behind it, a fence, being answered."""

from __future__ import annotations

from .wire_client import Client, Frame

ANSWERED_LATE = frozenset({"PROFILEZ"})
"""Pages that nats-server makes beside its queues, and always answers."""
STATISTICS = ("$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.STATSZ")


def fence_of(subject: str, other: str) -> str:
    """What is answered behind a request on this subject: nats-server has a queue of its own for statistics."""
    return STATISTICS[-1] if subject in STATISTICS or subject.endswith(".STATSZ") else other


def answer(
    client: Client, subject: str, data: bytes, headers: dict[str, str] | None = None,
    fence: str = "$SYS.REQ.SERVER.PING.IDZ",
) -> Frame | None:
    """None: there is none. What was answered twice before (docs/differences.md statz-twice) is passed over."""
    if subject.rpartition(".")[2] in ANSWERED_LATE:
        return client.request(subject, data, headers)
    asked, behind = client.new_reply(), client.new_reply()
    client.publish(subject, data, asked, headers)
    client.publish(fence_of(subject, fence), b"", behind)
    while (frame := client.next_message(sid="1")).subject not in (asked, behind):
        pass
    if frame.subject == behind:
        return None
    client.next_message(behind)
    return frame
