"""What a source is called: in the header of every message that it brings, and on its origin's side.

A sourced message says where it is from (`Nats-Stream-Source`, six words between blanks):

    <stream>[:<hash of API prefix>][:C=<hash of consumer>] <sequence> <filters> <destinations> <subject> [<identity>]

Filters and destinations are what tells several sources from one stream apart; several of them are joined by form
feeds, `>` stands for none. Without the sequence these words are the source's *index name*. After a restart the newest
message of each index name says where its source goes on. Headers of older servers have two words, or are the subject
on which the message would have been acknowledged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from millpond.jetstream.acks import short_hash
from millpond.jetstream.stream_config import StreamSource

ALL: Final = ">"
ACK_PREFIX: Final = "$JS.ACK."


class Origin(msgspec.Struct, frozen=True):
    """What one header says. `index_name` "" is that of a server older than 2.10: any source of that stream."""

    stream: str
    index_name: str
    stream_seq: int
    identity: str = ""


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Where a source goes on, as it is kept beside the stream's configuration."""

    stream_seq: int
    """The origin's sequence of the last message that was stored."""
    identity: str
    stored_at: int
    """And its sequence here."""


def origin_name(source: StreamSource) -> str:
    """The stream, told from streams of that name in other domains and from other consumers' shares of it."""
    name = source.name
    if source.external is not None:
        name += ":" + short_hash(source.external.api)
    if source.consumer is not None:
        name += ":C=" + short_hash(source.consumer.name)
    return name


def index_name(source: StreamSource) -> str:
    """What no two sources of a stream share."""
    transforms = source.subject_transforms
    if not transforms:
        return " ".join([origin_name(source), source.filter_subject or ALL, ALL])
    filters = "\f".join(transform.src or ALL for transform in transforms)
    destinations = "\f".join(transform.dest.replace(" ", "") or ALL for transform in transforms)
    return " ".join([origin_name(source), filters, destinations])


def consumer_index(source: StreamSource) -> str:
    """The origin and its consumer, which two sources may not share."""
    name = source.name
    if source.external is not None:
        name += ":" + short_hash(source.external.api)
    return f"{name} {source.consumer.name if source.consumer is not None else ''}"


def stable_hash(stream: str, account: str, domain: str) -> str:
    """Names a mirror's consumer at its origin; the same after every restart."""
    return str(short_hash(" ".join([stream, account, *([domain] if domain else [])])))


def source_hash(stream: str, account: str, domain: str, source: StreamSource, sources: Sequence[StreamSource]) -> str:
    """Names a source's consumer at its origin; several sources of one stream have consumers of their own."""
    hashed = stable_hash(stream, account, domain)
    if sum(other.name == source.name for other in sources) > 1:
        hashed = f"{hashed} {index_name(source)}"
    return str(short_hash(hashed))


def read_source_header(value: bytes) -> Origin | None:
    """The header's words; None when they are not that."""
    text = value.decode("utf-8", "surrogateescape")
    if text.startswith(ACK_PREFIX):
        return _from_ack_subject(text.split("."))
    words = text.split(" ")
    if len(words) not in (2, *range(4, len(words) + 1)) or not words[1].isdecimal():
        return None
    if len(words) == 2:
        return Origin(words[0], "", int(words[1]))
    identity = words[5] if len(words) > 5 else ""
    return Origin(words[0], " ".join([words[0], words[2], words[3]]), int(words[1]), identity)


def _from_ack_subject(tokens: list[str]) -> Origin | None:
    at = 2 if len(tokens) == 9 else 4
    if len(tokens) != 9 and len(tokens) < 11:
        return None
    return Origin(tokens[at], "", int(tokens[at + 3])) if tokens[at + 3].isdecimal() else None
