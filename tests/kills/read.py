"""What a stream holds, read in large batches of direct gets."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from ..crash.model import Recovered, Violation
from .link import Link

BATCH: Final = 1000
SUBJECT: Final = re.compile(rb"\r\nNats-Subject: ([^\r]+)\r\n")
SEQUENCE: Final = re.compile(rb"\r\nNats-Sequence: (\d+)\r\n")
NO_STREAM: Final = 10059


@dataclass
class Found(Recovered):
    """`messages` from the sequence `since` on; `count` is what the stream says that it holds, all in all."""

    config: dict[str, Any]
    since: int
    count: int


def find(link: Link, name: str, since: int = 1, still: bool = True) -> Found | None:
    """None: there is no such stream. Not `still`: some may end meanwhile. Raises Violation, Gone.

    `since`: what lies before it is not read (it was compared, and nobody changes it), only counted.
    """
    info = link.api(f"STREAM.INFO.{name}")
    if "error" in info:
        if info["error"]["err_code"] == NO_STREAM:
            return None
        raise Violation(f"{name}: {info['error']}")
    state = info["state"]
    messages = _messages(link, name, since, state["messages"])
    if still and since <= max(1, state["first_seq"]) and len(messages) != state["messages"]:
        raise Violation(f"{name}: says it holds {state['messages']} messages, {len(messages)} can be read")
    return Found(messages, state["first_seq"], state["last_seq"], info["config"], since, state["messages"])


def _messages(link: Link, name: str, next_seq: int, most: int) -> dict[int, tuple[str, bytes]]:
    messages: dict[int, tuple[str, bytes]] = {}
    ends: list[bytes] = []
    last = next_seq - 1

    def take(tail: bytes, reply: bytes, headers: bytes, body: bytes) -> None:
        nonlocal last
        seq = SEQUENCE.search(headers)
        if seq is None:
            ends.append(headers)
            return
        subject, number = SUBJECT.search(headers), int(seq[1])
        assert subject is not None
        if number <= last:
            raise Violation(f"{name}: {number} comes after {last}")
        last = number
        messages[number] = subject[1].decode(), body

    before, link.handler = link.handler, take
    try:
        while most and len(messages) < most:
            asked, had = json.dumps({"seq": last + 1, "batch": BATCH}).encode(), len(messages)
            ends.clear()
            link.publish(b"$JS.API.DIRECT.GET." + name.encode(), asked, b"get")
            link.until(lambda: bool(ends))
            if len(messages) == had:
                break
        return messages
    finally:
        link.handler = before
