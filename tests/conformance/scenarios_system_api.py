"""The JetStream API as the system account may use it, on one server: what is answered, and what is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from .core_target import Settings
from .raw import CoreRecord, Message, Raw
from .scenarios_message_trace_streams import DOMAIN, STREAMS, Sender
from .scenarios_permissions import pub, user

ATTEMPTS_MAX = 10_000
UNANSWERED = (
    "SERVER.REMOVE", "SERVER.EVACUATE", "META.LEADER.STEPDOWN", "META.RESCUE", "ACCOUNT.STREAM.MOVE.A.S",
    "ACCOUNT.STREAM.CANCEL_MOVE.A.S", "ACCOUNT.NOTHING", "ACCOUNT.PURGE", "ACCOUNT.PURGE.A.B",
)  # fmt: skip
REFUSED = (
    "META.NOTHING", "META.LEADER", "SERVER.NOTHING", "STREAM.LIST", "STREAM.CREATE.X", "CONSUMER.INFO.S.C", "NOTHING",
    "DIRECT.GET.S", "CONSUMER.MSG.NEXT.S.C", "STREAM.MSG.GET.S", "ACCOUNT", "INFO",
)  # fmt: skip

PURGES_MAX = 20
Pair = tuple[Message, Message]


def ask(
    s: CoreRecord, raw: Raw, verb: str, body: bytes = b"", *, prefix: str = "$JS.API.", reply: bytes = b"inbox"
) -> None:
    s.note(f"{verb} {body!r}")
    raw.send(pub(f"{prefix}{verb}".encode(), reply, body))


def system_user(s: CoreRecord) -> Raw:
    raw = user(s, "sys")
    raw.until_pong_of(b"SUB inbox 1\r\nSUB fence 2\r\nSUB $JS.EVENT.ADVISORY.> 3\r\n")
    return raw


def answered(s: CoreRecord, raw: Raw) -> None:
    """The answer and its audit, in any order."""
    note_answer(s, (raw.message(), raw.message()))


def note_answer(s: CoreRecord, pair: Pair) -> None:
    for subject, _, body in sorted(pair):
        document = json.loads(body)
        for name in ("id", "timestamp"):
            document.pop(name, None)
        s.note(f"{subject} {json.dumps(document)}")


def unanswered_and_refused(s: CoreRecord) -> None:
    a, raw = Sender(s), system_user(s)
    a.stream("S", subjects=["s.>"])
    for verb in REFUSED:
        for body in (b"", b"{}"):
            ask(s, raw, verb, body)
            answered(s, raw)
    for verb in UNANSWERED:
        for body in (b"", b"{}", b'{"peer":"x"}'):
            ask(s, raw, verb, body)
            raw.send(pub(b"$JS.API.ACCOUNT.PURGE.NOBODY", b"fence"))
            answered(s, raw)
    a.end("S")


def unanswered_to_others(s: CoreRecord) -> None:
    raw = system_user(s)
    for name in ("a", "none"):
        other = user(s, name)
        other.until_pong_of(b"SUB inbox 1\r\n")
        for verb in (*UNANSWERED, "ACCOUNT.PURGE.A"):
            ask(s, other, verb)
        ask(s, other, "INFO")
        s.note(str("error" in json.loads(other.message().body)))
    raw.send(pub(b"$JS.API.ACCOUNT.PURGE.NOBODY", b"fence"))
    answered(s, raw)


def filled(a: Sender) -> None:
    """nats-server goes on removing directories for a moment, and makes nothing in them meanwhile: ask again."""
    consumer = {"stream_name": "F", "config": {"durable_name": "C", "ack_policy": "explicit"}}
    for verb, body in (
        ("STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"], "storage": "memory"}),
        ("STREAM.CREATE.F", {"name": "F", "subjects": ["f.>"], "storage": "file"}), ("CONSUMER.CREATE.F.C", consumer),
    ):  # fmt: skip
        for _ in range(ATTEMPTS_MAX):
            if "error" not in (answer := a.api(verb, **body)):
                break
        assert "error" not in answer, answer
    a.raw.send(pub(b"f.a", b"inbox", b"x"))
    a.answer()


def purge(a: Sender, raw: Raw, body: bytes) -> Pair:
    """The answer and its audit, in any order, when the streams of the account are gone."""
    filled(a)
    raw.send(pub(b"$JS.API.ACCOUNT.PURGE.A", b"inbox", body))
    pair = raw.message(), raw.message()
    while a.api("STREAM.NAMES")["streams"]:
        pass
    return pair


def deletions(listens: Raw) -> set[tuple[Any, ...]]:
    """What the account has heard of deleted streams and consumers."""
    rows = set()
    for frame in listens.until_pong_of(b""):
        head, _, body = frame.partition(b"\r\n")
        document = json.loads(body)
        if document["type"].endswith(("stream_action", "consumer_action")) and document["action"] == "delete":
            fields = (value for key, value in document.items() if key not in ("id", "timestamp"))
            rows.add((head.split()[1].decode(), *fields))
    return rows


def purged_accounts(s: CoreRecord) -> None:
    a, raw, listens = Sender(s), system_user(s), user(s, "a")
    listens.until_pong_of(b"SUB $JS.EVENT.ADVISORY.STREAM.> 1\r\nSUB $JS.EVENT.ADVISORY.CONSUMER.> 2\r\n")
    heard: set[tuple[Any, ...]] = set()
    for body in (b"", b"{}", b"x", b'{"a":1}'):
        s.note(f"purge {body!r}")
        note_answer(s, purge(a, raw, body))
        heard |= deletions(listens)
    # One purge in thirty tells of one deletion less on nats-server, whichever: what counts is what it ever tells.
    for _ in range(PURGES_MAX):
        if len(heard) >= 3:
            break
        purge(a, raw, b"")
        heard |= deletions(listens)
    s.note(str(sorted(heard)))
    for account in ("A", "NOBODY", "NONE", "SYS", "$G", "*", ">", "a/b", "a\\b", "\u00e4", "-"):
        ask(s, raw, f"ACCOUNT.PURGE.{account}")
        answered(s, raw)
    ask(s, raw, "ACCOUNT.PURGE.NOBODY", reply=b"")
    s.note(raw.message().subject)


def through_the_domain(s: CoreRecord) -> None:
    a, raw = Sender(s), system_user(s)
    filled(a)
    for verb in ("ACCOUNT.PURGE.A", "INFO", "STREAM.NAMES"):
        ask(s, raw, verb, prefix="$JS.here.API.")
        answered(s, raw)
    s.note(str(a.api("STREAM.NAMES")["streams"]))
    ask(s, raw, "INFO", prefix="$JS.there.API.")
    ask(s, raw, "ACCOUNT.PURGE.NOBODY", reply=b"fence")
    s.note(raw.message().body.decode("utf-8", "replace")[:40])


SCENARIOS: list[tuple[Settings, Callable[[CoreRecord], None]]] = [
    (STREAMS, unanswered_and_refused),
    (STREAMS, unanswered_to_others),
    (STREAMS, purged_accounts),
    (DOMAIN, purged_accounts),
    (DOMAIN, through_the_domain),
]
