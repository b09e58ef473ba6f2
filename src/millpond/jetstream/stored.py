"""Configurations as they lie on disk: a stream's in its catalog, a consumer's in its stream's journal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import msgspec

from millpond.base.errors import ApiError
from millpond.jetstream.config_wire import (
    CONSUMER_FIELDS,
    STREAM_FIELDS,
    consumer_from_request,
    stream_from_request,
    stream_to_json,
)
from millpond.jetstream.consumer_config import ConsumerConfig
from millpond.jetstream.consumer_rules import own_metadata
from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_json import Shape
from millpond.jetstream.offline import understood
from millpond.jetstream.stream import Stream
from millpond.jetstream.stream_config import StreamConfig
from millpond.store.consumer_state import ConsumerState

if TYPE_CHECKING:
    from millpond.jetstream.source_names import Position
    from millpond.store.consumer_journal import ConsumerJournal

STREAM: Final = Shape("StreamConfig", STREAM_FIELDS)
CONSUMER: Final = Shape("ConsumerConfig", CONSUMER_FIELDS)

Recovered = tuple[ConsumerConfig, int, ConsumerState]


class Stored(msgspec.Struct, frozen=True):
    """What `stored` has written; the configuration is read when it is known whose it is."""

    config: msgspec.Raw
    created: int
    """Unix ns."""
    positions: dict[str, Any] = {}
    rolled_through: int = 0


_STORED: Final = msgspec.json.Decoder(Stored)


def read_stored(payload: bytes) -> Stored:
    """Of a catalog, or of a consumer in a journal. Raises ApiError when it cannot be read."""
    try:
        return _STORED.decode(payload)
    except (msgspec.MsgspecError, ValueError) as error:
        raise api_error("JSInvalidJSONErr", err=str(error)) from error


def read_stream(written: bytes) -> tuple[StreamConfig, str]:
    """The configuration, and why it cannot run (offline). Raises ApiError when it cannot be read."""
    values, reason = understood(written, STREAM)
    return stream_from_request(values), reason


def read_consumers(journal: ConsumerJournal) -> tuple[dict[str, Recovered], dict[str, str]]:
    """(configuration, time of creation in Unix ns, state) by name; and those that cannot run, with the reason."""
    found, unsupported = dict[str, Recovered](), dict[str, str]()
    for name, (text, state) in journal.recovered().items():
        try:
            entry = read_stored(text)
            values, reason = understood(bytes(entry.config), CONSUMER)
        except ApiError as error:
            unsupported[name] = f"decoding error: {error.description}"
            continue
        if reason:
            unsupported[name] = reason
            continue
        config = consumer_from_request(values)
        config = msgspec.structs.replace(config, metadata=own_metadata(config.metadata))
        found[name] = config, entry.created, state
    return found, unsupported


def stored(config: dict[str, Any], created_ns: int, **more: Any) -> bytes:
    return json.dumps({"config": config, "created": created_ns, **more}, separators=(",", ":")).encode()


def stored_stream(stream: Stream, positions: dict[str, Position]) -> bytes:
    """A stream's catalog entry; `positions` of its sources, when their messages do not say them."""
    more: dict[str, Any] = {"positions": msgspec.to_builtins(positions)} if positions else {}
    if stream.rolled_through:
        more["rolled_through"] = stream.rolled_through
    return stored(stream_to_json(stream.config, managed=False), stream.created_ns, **more)
