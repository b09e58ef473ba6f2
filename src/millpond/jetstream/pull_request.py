"""The words of a pull request and of a delayed NAK, read as leniently as nats-server reads them."""

from __future__ import annotations

import json
import re
from typing import Final

import msgspec

from millpond.base.errors import ApiError, MillpondError
from millpond.jetstream.go_json import Shape, decode

_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_UNIT_NS: Final = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_INT64_MAX: Final = 2**63 - 1
_OFFSET: Final = re.compile(r" at offset \d+$")


class BadRequest(MillpondError):
    """What a 400 status says after its dash."""


class PullRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`expires` and `idle_heartbeat` in ns. `json`: it was JSON, so that its group counts even when it is empty."""

    batch: int = 0
    expires: int = 0
    max_bytes: int = 0
    no_wait: bool = False
    idle_heartbeat: int = 0
    group: str = ""
    min_pending: int = 0
    min_ack_pending: int = 0
    id: str = ""
    priority: int = 0
    json: bool = True


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


_ONE: Final = PullRequest(batch=1, json=False)
_decode: Final = msgspec.json.Decoder(PullRequest).decode
_decode_nak: Final = msgspec.json.Decoder(_NakOptions).decode


def parse_pull(body: bytes) -> PullRequest:
    """Empty, a number, or JSON; anything else counts as one message. Raises BadRequest."""
    text = body.strip()
    if not text:
        return _ONE
    if not text.startswith(b"{"):
        if re.fullmatch(rb"[+-]?[0-9]{1,18}", text):
            return PullRequest(batch=int(text), json=False)
        return _ONE
    try:
        request = _decode(text)
    except msgspec.DecodeError:
        request = _decode_slowly(text)
    numbers = (request.batch, request.expires, request.max_bytes, request.min_pending, request.min_ack_pending)
    if not request.json or not all(-_INT64_MAX <= number <= _INT64_MAX for number in numbers):
        request = _decode_slowly(text)
    if request.idle_heartbeat > 0 and request.idle_heartbeat * 2 > request.expires:
        raise BadRequest("heartbeat value too large")
    return request


def _decode_slowly(text: bytes) -> PullRequest:
    """As Go's encoding/json does: keys without regard to case, nulls, and its words when something is wrong."""
    try:
        _, end = json.JSONDecoder().raw_decode(text.decode("utf-8", "replace"))
    except ValueError:
        end = len(text)
    rest = text.decode("utf-8", "replace")[end:].strip()
    if rest:
        raise BadRequest(f"invalid character '{rest[0]}' after top-level value")
    try:
        return PullRequest(**decode(text, _SHAPE, False))
    except ApiError as error:
        words = _OFFSET.sub("", error.description.removeprefix("invalid JSON: "))
        raise BadRequest("unexpected end of JSON input" if words == "unexpected EOF" else words) from None


def parse_duration(text: str) -> int | None:
    """ns of a Go duration such as `1.5s` or `1m30s`; None when it is none."""
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    total, at = 0.0, 0
    while at < len(rest):
        part = _PART.match(rest, at)
        if part is None:
            return None
        total += float(part[1]) * _UNIT_NS[part[2]]
        at = part.end()
    return sign * int(total) if at > 0 and total <= _INT64_MAX else None


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
    return parse_duration(text.decode("utf-8", "replace"))

