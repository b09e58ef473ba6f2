"""What a mirror or a source asks of its origin: a push consumer, or that one made before begins again.

The request is nats-server's, so that either of the two may be at the other end. An older server does not know all of
it: it is asked once more in simpler words (`Attempt`).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from millpond.base import limits
from millpond.base.ids import short_name
from millpond.jetstream.go_json import encode
from millpond.jetstream.stream_config import StreamSource

API_PREFIX: Final = "$JS.API"
ACK_WAIT_NS: Final = 22 * 3600 * 1_000_000_000
TOO_NEW: Final = (10185, 10025)
"""What an older server says: the API level is beyond its own, or a field is unknown."""


class Start(msgspec.Struct, frozen=True):
    """Where the consumer begins: at a sequence, at a time (RFC 3339), else at the first message."""

    stream_seq: int = 0
    time: str = ""


class Attempt(msgspec.Struct, frozen=True):
    """How much the origin is expected to know: an API level; 0: nothing of consumers that belong to a stream."""

    level: int
    identity: str | None = None
    """The identity that the origin must have; None: it is not asked about."""


class Failure(msgspec.Struct, frozen=True):
    code: int = 0
    err_code: int = 0
    description: str = ""


class Delivered(msgspec.Struct, frozen=True):
    stream_seq: int = 0


class ConsumerPart(msgspec.Struct, frozen=True):
    deliver_subject: str = ""
    ack_policy: str = ""


class Answer(msgspec.Struct, frozen=True):
    """The parts of a consumer's description that count here."""

    error: Failure | None = None
    name: str = ""
    config: ConsumerPart | None = None
    delivered: Delivered = Delivered()


ANSWERS: Final = msgspec.json.Decoder(Answer)


class Asking(msgspec.Struct, frozen=True):
    """Who asks for what. `kind` is "MIRROR" or "SRC"; `hashed` names the consumer; `metadata` says whose it is."""

    source: StreamSource
    kind: str
    hashed: str
    metadata: dict[str, str]
    own_domain: str = ""
    """What other domains call ours: its API is reached without their prefix."""


class Request(msgspec.Struct, frozen=True):
    """What goes to the origin."""

    subject: str
    headers: bytes
    body: bytes
    deliver_subject: str


def deliver_subject(source: StreamSource, kind: str) -> str:
    """Where the messages come in: a subject of our own, under the prefix that leads here from another domain."""
    letter = kind[0]
    if source.external is not None and source.external.deliver:
        return f"{source.external.deliver}.{letter}.{short_name()}".replace("..", ".")
    return f"$JS.{letter}.{short_name()}"


def under_prefix(asking: Asking, subject: str) -> str:
    """An API subject, as it is called in the origin's domain."""
    external, own = asking.source.external, asking.own_domain
    if external is None or (own and external.api == f"$JS.{own}.API"):
        return subject
    return subject.replace(API_PREFIX, external.api, 1).replace("..", ".")


def request(asking: Asking, start: Start, attempt: Attempt) -> Request:
    source, headers = asking.source, _headers(attempt)
    if source.consumer is not None:
        subject = f"{API_PREFIX}.CONSUMER.RESET.{source.name}.{source.consumer.name}"
        return Request(under_prefix(asking, subject), headers, b"", source.consumer.deliver_subject)
    name = f"JS_{asking.kind}_{asking.hashed}" + ("" if attempt.level else f"_{short_name()}")
    filters = [transform.src for transform in source.subject_transforms]
    single = source.filter_subject or (filters[0] if len(filters) == 1 else "")
    target = deliver_subject(source, asking.kind)
    config = {
        "name": name, **_start(start), "ack_policy": "none", "ack_wait": ACK_WAIT_NS, "max_deliver": 1,
        **({"filter_subject": single} if single else {"filter_subjects": filters} if filters else {}),
        "replay_policy": "instant", "flow_control": True, "deliver_subject": target,
        "idle_heartbeat": limits.SOURCE_HEARTBEAT_NS, "inactive_threshold": limits.SOURCE_STALLED_NS,
        "num_replicas": 0, "direct": True, **({"sourcing": True} if attempt.level else {}),
        "metadata": dict(sorted(asking.metadata.items())),
    }  # fmt: skip
    subject = f"{API_PREFIX}.CONSUMER.CREATE.{source.name}" + (f".{name}.{single}" if single else "")
    body = encode({"stream_name": source.name, "config": config, "action": ""})
    return Request(under_prefix(asking, subject), headers, body, target)


def deletion(asking: Asking) -> str:
    """The subject that deletes the consumer."""
    return under_prefix(asking, f"{API_PREFIX}.CONSUMER.DELETE.{asking.source.name}.JS_{asking.kind}_{asking.hashed}")


def _start(start: Start) -> dict[str, Any]:
    if start.stream_seq:
        return {"deliver_policy": "by_start_sequence", "opt_start_seq": start.stream_seq}
    if start.time:
        return {"deliver_policy": "by_start_time", "opt_start_time": start.time}
    return {"deliver_policy": "all"}


def _headers(attempt: Attempt) -> bytes:
    if not attempt.level:
        return b""
    identity = "" if attempt.identity is None else f"Nats-Stream-Identity: {attempt.identity}\r\n"
    return f"NATS/1.0\r\nNats-Required-Api-Level: {attempt.level}\r\n{identity}\r\n".encode()
