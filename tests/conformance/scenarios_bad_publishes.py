"""Publishes whose headers make no sense, and subjects that overlap, by the hundred."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .compare import Session
from .scenarios_bad_input import Asked, many

NAMES = (
    b"Nats-Msg-Id", b"Nats-Expected-Stream", b"Nats-Expected-Last-Sequence", b"Nats-Expected-Last-Subject-Sequence",
    b"Nats-Expected-Last-Subject-Sequence-Subject", b"Nats-Expected-Last-Msg-Id", b"Nats-Rollup", b"Nats-TTL",
    b"Nats-Incr", b"Nats-Batch-Id", b"Nats-Batch-Sequence", b"Nats-Batch-Commit", b"Nats-Required-Api-Level",
    b"Nats-Marker-Reason", b"Nats-Stream-Source", b"Nats-Counter-Sources", b"Nats-Request-Info", b"Nats-Sequence",
    b"Nats-Stream", b"Nats-Subject", b"Nats-Time-Stamp", b"Nats-Num-Pending", b"Nats-Last-Sequence", b"nats-ttl",
    b"NATS-MSG-ID", b"Nats-Rollup ", b"Status", b"Description",
)
VALUES = (
    b"", b"0", b"1", b"2", b"-1", b"+1", b"01", b" 1", b"1 ", b"1\t", b"1.0", b"1e3", b"0x1", b"1_0", b"2147483647",
    b"2147483648", b"9223372036854775807", b"9223372036854775808", b"18446744073709551615", b"18446744073709551616",
    b"-9223372036854775808", b"9" * 400, b"x", b"\xc3\xa9", b"\xff", b"a\0b", b"x" * 64, b"x" * 65, b"x" * 4000,
    b"never", b"NEVER", b"1s", b"1h", b"-1s", b"0s", b"1ns", b"999ms", b"1500ms", b"1d", b"1s1",
    b"sub", b"all", b"ALL", b"eob", b"P",
    b"p", b"p.a", b"p.>", b"*", b"..", b"{}", b"null", b"true", b"1,2", b"1;2", b"a:b", b":", b"\xe2\x80\xa8",
)  # fmt: skip
STREAMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "all features": {
        "allow_msg_ttl": True, "allow_rollup_hdrs": True, "allow_atomic": True, "allow_direct": True,
    },
    "counter": {"allow_msg_counter": True},
    "strict": {"discard": "new", "max_msgs_per_subject": 1, "discard_new_per_subject": True, "max_msgs": 3},
    "sealed": {"sealed": True},
}  # fmt: skip


def blocks(name: bytes) -> Iterator[bytes]:
    for value in VALUES:
        yield b"NATS/1.0\r\n%b: %b\r\n\r\n" % (name, value)
    yield b"NATS/1.0\r\n%b:1\r\n\r\n" % name
    yield b"NATS/1.0\r\n%b: 1\r\n%b: 2\r\n\r\n" % (name, name)
    yield b"NATS/1.0\r\n%b\r\n\r\n" % name
    yield b"NATS/1.0\r\nX: %b: 1\r\n\r\n" % name
    yield b"NATS/1.0\r\nX-%b: 1\r\n\r\n" % name
    yield b"NATS/1.0 100 %b: 1\r\n\r\n" % name


def publish_headers(s: Session) -> None:
    """Each header with each value, into streams of every kind. What has no answer leaves a batch open."""
    for kind, config in STREAMS.items():
        sealed = config.get("sealed", False)
        s.stream("P", subjects=["p.>"], **{name: value for name, value in config.items() if name != "sealed"})
        s.publish("p.a", b"", {"Nats-Incr": "1"} if config.get("allow_msg_counter") else None)
        if sealed:
            s.api("STREAM.UPDATE.P", {"name": "P", "subjects": ["p.>"], "storage": s.storage or "file", **config})
        for name in NAMES:
            _publish_all(s, f"{kind} {name!r}", list(blocks(name)))
        s.publish("p.last", b"")         # its sequence counts what was stored; some of that has expired
        s.api("STREAM.DELETE.P")


IN_A_BATCH = (b"Nats-Rollup", b"Nats-TTL", b"Nats-Expected-Last-Sequence", b"Nats-Expected-Last-Subject-Sequence",
              b"Nats-Expected-Stream", b"Nats-Msg-Id", b"Nats-Batch-Sequence", b"Nats-Batch-Commit")


def batch_headers(s: Session) -> None:
    """The same in the only message of an atomic batch, and in the first of two."""
    s.stream("P", subjects=["p.>"], allow_msg_ttl=True, allow_rollup_hdrs=True, allow_atomic=True)
    for number, name in enumerate(IN_A_BATCH):
        for tail in (b"", b"Nats-Batch-Commit: 1\r\n"):
            headers = [
                b"NATS/1.0\r\nNats-Batch-Id: %d.%d\r\n%bNats-Batch-Sequence: 1\r\n%b: %b\r\n\r\n"
                % (number, at, tail, name, value)
                for at, value in enumerate(VALUES)
            ]
            _publish_all(s, f"{name!r} {tail!r}", headers)
            for at in range(len(VALUES)):
                block = b"NATS/1.0\r\nNats-Batch-Id: %d.%d\r\nNats-Batch-Sequence: 2\r\n" % (number, at)
                if not tail:
                    s.publish("p.b", b"", block + b"Nats-Batch-Commit: 1\r\n\r\n")


def _publish_all(s: Session, label: str, headers: list[bytes]) -> None:
    asked = []
    for block in headers:
        asked.append((block, s.client.new_reply()))
        s.client.publish("p.a", b"", asked[-1][1], block)
    s.client.request("p.z", b"")
    answers = {frame.subject: frame for frame in s.client.flush()}
    for block, reply in asked:
        if reply in answers:
            frame = s.frame(f"{label} {block[10:80]!r}", answers[reply], subject=False)
            s.note(repr(frame.payload))
        else:
            s.note(f"{label} {block[10:80]!r}: nothing")


SUBJECTS = (
    "a", "b", "*", ">", "a.b", "a.*", "*.b", "*.*", "a.>", "*.>", "b.>", "a.b.c", "a.*.c", "*.b.*", "a.b.>", "*.*.>",
    "b.a", "a.*.*", "a.b.c.d", "é.*", "a*", "a>",
)  # fmt: skip


def overlaps(s: Session) -> None:
    """Every two patterns: may two streams have them, may one, and which streams does a filter find? Every two are
    behind a token of their own."""
    def asked(kind: str, verb: str, first: str) -> list[Asked]:
        out = []
        for number, second in enumerate(SUBJECTS):
            chosen = {"A": [first], "B": [second], "C": [first, second]}[kind]
            config = {"name": f"{kind}{number}", "storage": s.storage or "file"}
            body = {**config, "subjects": [f"{kind if kind == 'C' else 'o'}{number}.{subject}" for subject in chosen]}
            out.append((f"STREAM.{verb}.{kind}{number}", json.dumps(body).encode() if verb == "CREATE" else b""))
        return out

    filters = [f"o{number}.{subject}" for number, subject in enumerate(SUBJECTS)]
    for first in SUBJECTS:
        for kind in "ABC":
            many(s, asked(kind, "CREATE", first))
        many(s, [("STREAM.NAMES", json.dumps({"subject": wanted}).encode()) for wanted in [*filters, "*.a", "o1.>"]])
        for kind in "ABC":
            many(s, asked(kind, "DELETE", first))
