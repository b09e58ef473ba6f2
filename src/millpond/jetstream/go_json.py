"""JSON as Go's encoding/json reads and writes it, because clients see its errors and its escapes.

Requests are decoded against a *shape*: field name -> kind. Kinds are the Go types that nats-server uses,
so that a wrong type gives the text that its users know. Field names match without regard to case, a
`null` leaves the field out, of duplicate keys the last one wins, unknown fields are refused in strict mode.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from millpond.jetstream.error_table import api_error

INTEGER_RANGES: Final = {
    "int": (-(2**63), 2**63 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint64": (0, 2**64 - 1),
    "time.Duration": (-(2**63), 2**63 - 1),
}
DEPTH_MAX: Final = 100
"""Nesting that a request may have; the deepest legal one has four levels."""


@dataclass(frozen=True)
class Choice:
    """An enumeration written as a string."""

    values: tuple[str, ...]


@dataclass(frozen=True)
class Shape:
    """A Go struct: `name` is what error texts call it, `fields` maps wire names to kinds."""

    name: str
    fields: Mapping[str, Kind]
    strict: bool = True


@dataclass(frozen=True)
class ListOf:
    kind: Kind


@dataclass(frozen=True)
class MapOf:
    """String keys, string values."""

    values: str = field(default="string")


Kind = str | Choice | Shape | ListOf | MapOf


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


class _Mismatch(Exception):
    """A value of the wrong Go type; the text is Go's."""


def decode(data: bytes, shape: Shape, strict: bool = True) -> dict[str, Any]:
    """Decode one object. Raises ApiError 10025 with Go's text; missing and null fields are left out."""
    value = _parse(data)
    try:
        return _object(value, shape, shape.name, "", strict)
    except _Mismatch as mismatch:
        raise api_error("JSInvalidJSONErr", err=str(mismatch)) from None


def _parse(data: bytes) -> Any:
    try:
        text = data.decode("utf-8", "replace")
        if text.count("[") + text.count("{") > DEPTH_MAX and _depth(text) > DEPTH_MAX:
            raise api_error("JSInvalidJSONErr", err="exceeded max depth")
        return json.loads(text, parse_int=_Number, parse_float=_Number, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise api_error("JSInvalidJSONErr", err=_syntax_text(error)) from None


def _refuse_constant(name: str) -> Any:
    raise api_error(
        "JSInvalidJSONErr", err=f"invalid character '{name[0]}' looking for beginning of value"
    )


def _depth(text: str) -> int:
    depth = deepest = 0
    in_string = escaped = False
    for char in text:
        if in_string:
            in_string = escaped or char != '"'
            escaped = not escaped and char == "\\"
        elif char == '"':
            in_string, escaped = True, False
        elif char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
    return deepest


def _syntax_text(error: json.JSONDecodeError) -> str:
    position = error.pos
    while position < len(error.doc) and error.doc[position] in " \t\r\n":
        position += 1
    if position >= len(error.doc) or "Unterminated string" in error.msg:
        return "unexpected EOF"
    char = error.doc[position]
    shown = "'\\''" if char == "'" else "'\\xff'" if char == "\ufffd" else f"'{json.dumps(char)[1:-1]}'"
    where = f"at offset {len(error.doc[:position].encode()) + 1}"
    if "property name" in error.msg:
        return f"invalid character {shown} looking for beginning of object key string {where}"
    if "':' delimiter" in error.msg:
        return f"invalid character {shown} after object key {where}"
    if "',' delimiter" in error.msg:
        return f"invalid character {shown} after object key:value pair {where}"
    if "control character" in error.msg:
        return f"invalid character {shown} in string literal {where}"
    return f"invalid character {shown} looking for beginning of value {where}"


def _go_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, _Number):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _object(value: Any, shape: Shape, root: str, path: str, strict: bool) -> dict[str, Any]:
    if not isinstance(value, dict):
        if value is None:
            return {}
        raise _Mismatch(_mismatch(value, root, path, f"server.{shape.name}"))
    folded = {name.lower(): name for name in shape.fields}
    out: dict[str, Any] = {}
    for key, item in value.items():
        name = key if key in shape.fields else folded.get(key.lower())
        if name is None:
            if strict and shape.strict:
                raise _Mismatch(f'json: unknown field "{key}"')
        elif item is not None:
            out[name] = _value(item, shape.fields[name], root, f"{path}.{name}" if path else name, strict)
    return out


def _mismatch(value: Any, root: str, path: str, go_type: str) -> str:
    if not path:
        return f"json: cannot unmarshal {_go_kind(value)} into Go value of type {go_type}"
    shown = f" {value}" if isinstance(value, _Number) and go_type in INTEGER_RANGES else ""
    return f"json: cannot unmarshal {_go_kind(value)}{shown} into Go struct field {root}.{path} of type {go_type}"


def _value(value: Any, kind: Kind, root: str, path: str, strict: bool) -> Any:
    if isinstance(kind, Shape):
        return _object(value, kind, root, path, strict)
    if isinstance(kind, Choice):
        if isinstance(value, str) and not isinstance(value, _Number) and value in kind.values:
            return value
        raise _Mismatch(f"can not unmarshal {json.dumps(json.dumps(value))}")
    if isinstance(kind, ListOf):
        if not isinstance(value, list):
            raise _Mismatch(_mismatch(value, root, path, f"[]{kind.kind if isinstance(kind.kind, str) else ''}"))
        zero: Any = {} if isinstance(kind.kind, Shape) else ""
        return [zero if item is None else _value(item, kind.kind, root, path, strict) for item in value]
    if isinstance(kind, MapOf):
        if not isinstance(value, dict):
            raise _Mismatch(_mismatch(value, root, path, "map[string]string"))
        return {key: _scalar(item, "string", root, path) for key, item in value.items() if item is not None}
    return _scalar(value, kind, root, path)


def _scalar(value: Any, kind: str, root: str, path: str) -> Any:
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "string" and isinstance(value, str) and not isinstance(value, _Number):
        return value
    if kind == "time.Time":
        return _time(value)
    if kind in INTEGER_RANGES and isinstance(value, _Number):
        low, high = INTEGER_RANGES[kind]
        if len(value) <= 21 and value.lstrip("-").isdigit() and low <= int(value) <= high:
            return int(value)
    raise _Mismatch(_mismatch(value, root, path, kind))


def _time(value: Any) -> int:
    if not isinstance(value, str) or isinstance(value, _Number):
        raise _Mismatch("Time.UnmarshalJSON: input is not a JSON string")
    try:
        return parse_time(value)
    except ValueError:
        quoted = json.dumps(json.dumps(value))
        raise _Mismatch(
            f'parsing time {quoted} as "\\"2006-01-02T15:04:05Z07:00\\"": cannot parse {quoted} as "2006"'
        ) from None


def parse_time(text: str) -> int:
    """RFC 3339 with up to nine digits of fraction -> Unix ns. Raises ValueError."""
    head, _, tail = text.partition(".")
    fraction_ns = 0
    if tail:
        digits = len(tail) - len(tail.lstrip("0123456789"))
        if not digits:
            raise ValueError(text)
        fraction_ns = int(tail[:digits][:9].ljust(9, "0"))
        head += tail[digits:]
    moment = datetime.fromisoformat(head)
    if moment.tzinfo is None:
        raise ValueError(text)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    delta = moment - epoch
    return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + fraction_ns


ZERO_TIME: Final = "0001-01-01T00:00:00Z"


def format_time(time_ns: int) -> str:
    """Unix ns -> RFC3339Nano in UTC as Go writes it; 0 is Go's zero time."""
    if time_ns == 0:
        return ZERO_TIME
    seconds, ns = divmod(time_ns, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{ns:09d}".rstrip("0") if ns else ""
    return f"{text}{fraction}Z"


def encode(value: object) -> bytes:
    """JSON without blanks, with Go's HTML escapes."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for char, escape in (
        ("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"),
        ("\u2028", "\\u2028"), ("\u2029", "\\u2029"),
    ):  # fmt: skip
        if char in text:
            text = text.replace(char, escape)
    return text.encode("utf-8", "replace")


def duration_text(value_ns: int) -> str:
    """A Go duration as text: 1m0s, 1.5s, 250ms."""
    if value_ns == 0:
        return "0s"
    sign, value_ns = ("-", -value_ns) if value_ns < 0 else ("", value_ns)
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if value_ns < size * 1000:
            return sign + _fraction(value_ns, size) + unit
    minutes, rest = divmod(value_ns, 60_000_000_000)
    text = _fraction(rest, 1_000_000_000) + "s"
    if minutes:
        hours, minutes = divmod(minutes, 60)
        text = (f"{hours}h{minutes}m" if hours else f"{minutes}m") + text
    return sign + text


def _fraction(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    if not rest:
        return str(whole)
    digits = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0")
    return f"{whole}.{digits}"
