"""Streams that a newer server stored. They can be listed and deleted, and are otherwise left as they are.

What a configuration needs is said by the API level in its metadata; and a field or a value that this server does not
know is not passed over. A consumer that cannot run stops its stream. Reasons are told as nats-server tells them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from millpond.base import limits
from millpond.base.errors import ApiError
from millpond.jetstream.api_level import REQUIRED_LEVEL, is_beyond_ours
from millpond.jetstream.go_json import Shape, decode_own, unmarshal
from millpond.jetstream.go_text import quote
from millpond.jetstream.stream_config import StreamConfig

if TYPE_CHECKING:
    from millpond.jetstream.shelf import Shelf


class Offline(msgspec.Struct, frozen=True, kw_only=True):
    """`config`: as far as it is understood; `consumers`: those that cannot run, and why."""

    config: StreamConfig
    reason: str
    shelf: Shelf
    consumers: dict[str, str] = {}


def understood(text: bytes, shape: Shape) -> tuple[dict[str, Any], str]:
    """What can be made of a stored configuration, and why that is not all of it; "": it is. Raises ApiError when it
    has values that cannot be read."""
    problem = ""
    try:
        values = decode_own(text, shape)
    except ApiError as error:
        values, problem = unmarshal(text, shape), error.description.removeprefix("invalid JSON: ")
    level = (values.get("metadata") or {}).get(REQUIRED_LEVEL, "")
    if not is_beyond_ours(level.encode()):
        return values, problem and f"decoding error: {problem}"
    if problem:
        return values, f"unsupported - config error: {problem.removeprefix('json: ')}"
    return values, f"unsupported - required API level: {level}, current API level: {limits.API_LEVEL}"


def stopped_by(consumer: str) -> str:
    """The reason of a stream with a consumer that cannot run."""
    return f"stopped - unsupported consumer {quote(consumer)}"


def listed(names: list[str], reasons: dict[str, str]) -> dict[str, Any]:
    """What a page of a list says of those on it that are offline."""
    return {"missing": names, "offline": {name: reasons[name] for name in names}} if names else {}
