"""What clients write into pull requests and NAKs in unusual ways, read as leniently as nats-server reads it."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from millpond.base.durations import parse_duration
from millpond.base.errors import ApiError, MillpondError
from millpond.jetstream.go_json import Shape, unmarshal

_COUNT: Final = re.compile(rb"[+-]?[0-9]{1,18}")


class BadRequest(MillpondError):
    """What a 400 status says after its dash."""


_SHAPE: Final = Shape(
    "",
    {
        "batch": "int", "expires": "time.Duration", "max_bytes": "int", "no_wait": "bool",
        "idle_heartbeat": "time.Duration", "group": "string", "min_pending": "int64", "min_ack_pending": "int64",
        "id": "string", "priority": "int",
    },
)  # fmt: skip
"""In nats-server an anonymous struct: its name is empty in error texts."""


class _NakOptions(msgspec.Struct, frozen=True):
    delay: int = 0


_decode_nak: Final = msgspec.json.Decoder(_NakOptions).decode


def parse_count(body: bytes) -> int:
    """Messages asked for by a body that is not JSON: its number, otherwise one."""
    text = body.strip()
    return int(text) if _COUNT.fullmatch(text) else 1


def decode_pull(text: bytes) -> dict[str, Any]:
    """The fields of a JSON pull request that are there. Raises BadRequest with Go's words."""
    try:
        return unmarshal(text, _SHAPE)
    except ApiError as error:
        raise BadRequest(error.description.removeprefix("invalid JSON: ")) from None


def parse_nak_delay(argument: bytes) -> int | None:
    """ns of what follows `-NAK`; None: redeliver at once (nothing there, or nothing that can be read)."""
    text = argument.strip()
    if not text:
        return None
    if text.startswith(b"{"):
        try:
            return _decode_nak(text).delay
        except msgspec.DecodeError:
            return None
    return parse_duration(text)

