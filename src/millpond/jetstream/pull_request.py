"""The words of a pull request and of a delayed NAK, read as leniently as nats-server reads them."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from millpond.base.errors import MillpondError

_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_UNIT_NS: Final = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_INT64_MAX: Final = 2**63 - 1


class BadRequest(MillpondError):
    """What a 400 status says after its dash."""


class PullRequest(msgspec.Struct, frozen=True):
    """`expires` and `idle_heartbeat` in ns. Unknown fields are ignored."""

    batch: int = 0
    expires: int = 0
    max_bytes: int = 0
    no_wait: bool = False
    idle_heartbeat: int = 0


class _NakOptions(msgspec.Struct, frozen=True):
    delay: int = 0


_ONE: Final = PullRequest(batch=1)
_decode: Final = msgspec.json.Decoder(PullRequest).decode
_decode_nak: Final = msgspec.json.Decoder(_NakOptions).decode


def parse_pull(body: bytes) -> PullRequest:
    """Empty, a number, or JSON; anything else counts as one message. Raises BadRequest."""
    text = body.strip()
    if not text:
        return _ONE
    if not text.startswith(b"{"):
        if re.fullmatch(rb"[+-]?[0-9]{1,18}", text):
            return PullRequest(batch=int(text))
        return _ONE
    try:
        request = _decode(text)
    except msgspec.DecodeError as error:
        truncated = "truncated" in str(error)
        raise BadRequest("unexpected end of JSON input" if truncated else str(error)) from None
    if not all(-_INT64_MAX <= n <= _INT64_MAX for n in (request.batch, request.expires, request.max_bytes)):
        raise BadRequest("json: cannot unmarshal number into Go struct field of type int")
    if request.idle_heartbeat > 0 and request.idle_heartbeat * 2 > request.expires:
        raise BadRequest("heartbeat value too large")
    return request


def parse_duration(text: str) -> int | None:
    """ns of a Go duration such as `1.5s` or `1m30s`; None when it is none."""
    sign = -1 if text.startswith("-") else 1
    rest = text.lstrip("+-") if text[:1] in "+-" else text
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


def format_duration(ns: int) -> str:
    """A duration in Go's words: 1s, 1.5s, 100ms, 1m30s, 2h0m0s."""

    def scaled(value: int, unit: int) -> str:
        whole, part = divmod(value, unit)
        digits = f"{part:0{len(str(unit)) - 1}d}".rstrip("0") if part else ""
        return f"{whole}.{digits}" if digits else str(whole)

    for unit, name in ((1, "ns"), (1000, "µs"), (10**6, "ms")):
        if ns < unit * 1000:
            return (scaled(ns, unit) if unit > 1 else str(ns)) + name if ns else "0s"
    minutes, left = divmod(ns, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    text = scaled(left, 10**9) + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
