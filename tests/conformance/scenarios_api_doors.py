"""Odd ways to the API: subjects with too few, too many or empty tokens, headers, levels, pages at their limits."""

from __future__ import annotations

import json
from typing import Any

from .compare import Session
from .scenarios_bad_input import VERBS, many, prepared

WORDS = (
    "INFO", "STREAM", "STREAM.CREATE", "STREAM.UPDATE", "STREAM.DELETE", "STREAM.INFO", "STREAM.NAMES", "STREAM.LIST",
    "STREAM.PURGE", "STREAM.MSG.GET", "STREAM.MSG.DELETE", "STREAM.LEADER.STEPDOWN", "STREAM.PEER.REMOVE",
    "STREAM.PEER.EVACUATE", "STREAM.CANCEL_MOVE", "CONSUMER", "CONSUMER.CREATE", "CONSUMER.DURABLE.CREATE",
    "CONSUMER.NAMES", "CONSUMER.LIST", "CONSUMER.INFO", "CONSUMER.DELETE", "CONSUMER.PAUSE", "CONSUMER.UNPIN",
    "CONSUMER.RESET", "CONSUMER.LEADER.STEPDOWN", "CONSUMER.PEER.REMOVE", "CONSUMER.PEER.EVACUATE", "ACCOUNT.INFO",
    "META.LEADER.STEPDOWN", "META.RESCUE", "SERVER.REMOVE", "SERVER.EVACUATE", "ACCOUNT.PURGE.x",
    "ACCOUNT.STREAM.MOVE.a.b", "ACCOUNT.STREAM.CANCEL_MOVE.a.b", "DIRECT", "DIRECT.GET", "DIRECT.GETX",
    "CONSUMER.MSG", "CONSUMER.MSG.NEXT", "CONSUMER.MSG.NEXTX",
)
ENDS = (
    "", ".", "..", ".E", ".E.", "..E", ".E.c", ".E.c.", ".E..c", ".E.c.d", ".E.c.d.e.f", ".*", ".>", ".E.*", ".E.>",
    ".*.c", ".e", ".NONE", ".NONE.c", ".E.c.>", "." + "x" * 300, ".E." + "x" * 300, ".\x01", ".é", ".E.é",
)


RESETS_OF_NOTHING = (".E.*", ".E.>", ".*.c", ".NONE.c", ".E." + "x" * 300, ".E.é")
"""Not answered by nats-server (docs/differences.md, reset-unknown)."""


def odd_subjects(s: Session) -> None:
    """Every verb with any number of tokens behind it: which are answered, and how."""
    prepared(s)
    for word in WORDS:
        replies = []
        for end in ENDS:
            if (word, end) in (("STREAM.DELETE", ".E"), ("CONSUMER.DELETE", ".E.c")):
                continue
            if word == "CONSUMER.RESET" and end in RESETS_OF_NOTHING:
                continue
            replies.append((end, s.client.new_reply()))
            s.client.publish(f"$JS.API.{word}{end}", b"", replies[-1][1])
        for last in ("STREAM.DELETE.NOBODY", "STREAM.NAMES"):    # nats-server has a queue for each of these kinds
            s.client.request(f"$JS.API.{last}")
        answers = {frame.subject: frame for frame in s.client.flush()}
        for end, reply in replies:
            if reply in answers and not (word == "INFO" and not end):
                s.frame(f"{word}{end[:40]}", answers[reply], subject=False)
            else:
                s.note(f"{word}{end[:40]}: {'answered' if reply in answers else 'nothing'}")
    s.api("STREAM.NAMES")
    s.api("CONSUMER.NAMES.E")


HEADERS: tuple[bytes | dict[str, str], ...] = (
    {"A": "b"}, b"NATS/1.0\r\n\r\n", b"NATS/1.0 503\r\n\r\n", b"nothing\r\n\r\n", b"\r\n\r\n", b"NATS/1.0\r\nA\r\n\r\n",
    {"Nats-Msg-Id": "x"}, {"Nats-Required-Api-Level": "6"}, {"nats-required-api-level": "6"},
    b"NATS/1.0\r\nNats-Required-Api-Level:6\r\n\r\n", b"NATS/1.0\r\nNats-Required-Api-Level: 5\r\n"
    b"Nats-Required-Api-Level: 6\r\n\r\n", b"NATS/1.0\r\nX-Nats-Required-Api-Level: 6\r\n\r\n",
    b"NATS/1.0\r\nNats-Required-Api-Level: \xff\r\n\r\n", {"L": "x" * 70_000},
    {"Nats-Request-Info": "{}"}, {"Nats-Required-Api-Level": "4"}, {"Nats-Required-Api-Level": "05"},
)


def headers(s: Session) -> None:
    """Requests with headers: only the level that they require means anything to most."""
    prepared(s)
    for verb in VERBS:
        for block in HEADERS:
            frame = s.client.request(f"$JS.API.{verb}", b"{}", block)
            s.frame(f"{verb} {str(block)[:60]}", frame, subject=False)
    s.api("STREAM.NAMES")
    s.api("CONSUMER.NAMES.E")


def pages(s: Session) -> None:
    """More consumers and streams than fit on a page."""
    s.stream("C", subjects=["c"], max_consumers=2000)
    many(s, [
        (f"CONSUMER.CREATE.C.c{number:04}", b'{"stream_name":"C","config":{"durable_name":"c%04d"}}' % number)
        for number in range(1030)
    ], shown=0)  # fmt: skip
    streams = [{"name": f"S{number:04}", "subjects": [f"s.{number}"], "storage": "memory"} for number in range(1030)]
    for config in streams:
        answer = s.client.request(f"$JS.API.STREAM.CREATE.{config['name']}", json.dumps(config).encode())
        assert b"did_create" in answer.payload
    for offset in (0, 1, 255, 256, 257, 774, 1023, 1024, 1029, 1030, 1031, 10**9, -1):
        for verb, kind in (("CONSUMER.NAMES.C", "consumers"), ("CONSUMER.LIST.C", "consumers"),
                           ("STREAM.NAMES", "streams"), ("STREAM.LIST", "streams")):
            asked = json.dumps({"offset": offset}).encode()
            answer: dict[str, Any] = json.loads(s.client.request(f"$JS.API.{verb}", asked).payload)
            found = answer.pop(kind) or []
            names = [item if isinstance(item, str) else item.get("name") or item["config"]["name"] for item in found]
            s.note(f"{verb} {offset} -> {answer} {len(names)} {names[:1]} {names[-1:]}")
    s.account()
