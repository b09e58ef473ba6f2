"""JSON as Go's encoding/json reads and writes it, because clients see its errors and its escapes.

Requests are decoded against a *shape*: field name -> kind. Kinds are the Go types that nats-server uses, so
that a wrong type gives the text that its users know. The rules that matter:

* syntax is checked first, over the whole document; then the first value that does not fit is the error;
* field names match without regard to case; unknown fields are refused in strict mode;
* of duplicate keys each one is decoded onto what the earlier one left: structs and maps merge;
* `null` empties a pointer, a list or a map and leaves everything else as it is.

Nearly every request is in plain spelling. msgspec takes those in a twentieth of the time; whatever it does not take,
right or wrong, is judged by the rules above.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from keyword import iskeyword
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from millpond.jetstream.error_table import api_error
from millpond.jetstream.go_scan import Malformed, skip_space, value_end
from millpond.jetstream.go_text import flat, quote, quote_offending, rune_end, text, unquote
from millpond.jetstream.go_time import ZERO_TIME, TimeError, duration_text, format_time, parse_time

__all__ = [
    "ZERO_TIME", "Choice", "JsonError", "Kind", "ListOf", "MapOf", "Shape", "decode", "decode_own", "duration_text",
    "encode", "format_time", "is_empty_request", "is_object_or_array", "parse_time", "read", "unmarshal",
]  # fmt: skip

INTEGER_RANGES: Final = {
    "int": (-(2**63), 2**63 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint64": (0, 2**64 - 1),
    "time.Duration": (-(2**63), 2**63 - 1),
    "server.ConnState": (-(2**63), 2**63 - 1),
}
STRINGS: Final = ("string", "server.SortOpt")
_KINDS: Final = {b'"': "string", b"{": "object", b"[": "array", b"t": "bool", b"f": "bool"}
_FOLDS: Final = str.maketrans({"\u017f": "s", "\u212a": "k"})
_OPENERS: Final = (b"{", b"[")


class Choice(msgspec.Struct, frozen=True):
    """An enumeration written as a string. Its raw text is compared, so `null` and escapes are refused."""

    values: tuple[str, ...]
    refusal: str = "can not unmarshal {quoted}"
    fold: bool = False
    """Upper and lower case are the same."""
    decoded: bool = False
    """The value of the string is compared, not its raw text."""


class Shape(msgspec.Struct, frozen=True, dict=True):
    """A Go struct: `name` is what error texts call it, `fields` maps wire names to kinds.

    `pointer`: the field holds a pointer to it, which `null` empties.
    """

    name: str
    fields: Mapping[str, Kind]
    strict: bool = True
    pointer: bool = True

    @cached_property
    def quick(self) -> _Quick | None:
        """Made when it is needed; None: it is not to be tried (tests)."""
        return _Quick(self)


class ListOf(msgspec.Struct, frozen=True):
    kind: Kind


class MapOf(msgspec.Struct, frozen=True):
    """String keys, values of one kind."""

    values: str = "string"


Kind = str | Choice | Shape | ListOf | MapOf


_INT64: Final = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_QUICK: Final[dict[str, Any]] = {
    "int": _INT64,
    "int64": _INT64,
    "int32": Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)],
    "uint64": Annotated[int, msgspec.Meta(ge=0)],
    "time.Duration": _INT64,
    "string": str,
    "bool": bool,
}
_UNUSUAL: Final = re.compile(rb"[:,\[]\s*-?(?:0(?<=-0)|[0-9]{20}|[0-9]+[.eE])")
"""Numbers that the ranges do not judge, or that Go takes otherwise."""


class _Quick:
    """The quick way of one shape. A document with a field that msgspec would judge otherwise is not taken."""

    def __init__(self, shape: Shape) -> None:
        self.repeated: set[bytes] = set()
        """Names whose second value would be decoded onto the first one, wherever they are."""
        self.decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(self._struct(shape))

    def _struct(self, shape: Shape) -> type[Any]:
        fields = []
        for name, kind in shape.fields.items():
            found = self._type(kind) if name.isidentifier() and not iskeyword(name) else None
            if found is None:
                continue  # one that has it is refused, as one with a field that is not known
            if isinstance(kind, Shape | ListOf | MapOf):
                self.repeated.add(f'"{name}"'.encode())
            fields.append((name, found | UnsetType, UNSET))
        return msgspec.defstruct(shape.name, fields, forbid_unknown_fields=True)

    def _type(self, kind: Kind) -> Any:
        """None: the general way has to judge it."""
        if isinstance(kind, str):
            return _QUICK.get(kind)
        if isinstance(kind, Choice):
            return Literal[kind.values]
        if isinstance(kind, Shape):
            return self._struct(kind)
        if isinstance(kind, MapOf):
            return dict[str, str] if kind.values == "string" else None
        element = self._type(kind.kind)
        return list.__class_getitem__(element) if element is not None else None

    def read(self, data: bytes) -> dict[str, Any] | None:
        """What the general way makes of this document; None: it must be asked."""
        if b"\\" in data or _UNUSUAL.search(data) is not None:
            return None  # some values must not have escapes
        for name in self.repeated:
            if data.count(name) > 1:
                return None
        return self.take(data)

    def take(self, data: bytes) -> dict[str, Any] | None:
        """The same of a document without anything twice, and without unusual numbers or escapes."""
        try:
            found: dict[str, Any] = msgspec.to_builtins(self.decoder.decode(data))
        except (msgspec.MsgspecError, ValueError):
            return None
        return found


def _quickly(data: bytes, shape: Shape) -> dict[str, Any] | None:
    return shape.quick.read(data) if shape.quick is not None else None


def decode_own(data: bytes, shape: Shape) -> dict[str, Any]:
    """`decode` of what a server has written itself, with nothing in it twice and every number as msgspec writes it."""
    out = shape.quick.take(data) if shape.quick is not None and b"\\" not in data else None
    return out if out is not None else decode(data, shape)


class _Mismatch(Exception):
    """A value that does not fit; the text is Go's."""


class JsonError(ValueError):
    """A document that cannot be read; the text is Go's."""


def decode(data: bytes, shape: Shape, strict: bool = True) -> dict[str, Any]:
    """One request: every document in `data`, each decoded onto the last. Missing fields are left out.

    Times are Unix ns. Without `strict` unknown fields are ignored. Raises ApiError 10025 with Go's text.
    """
    out = _quickly(data, shape)
    if out is not None:
        return out
    out = {}
    try:
        at = skip_space(data, 0)
        while at < len(data):
            end = value_end(data, at)
            _Walk(data, shape.name, True).struct(at, shape, (), out)
            at = skip_space(data, end)
        return out
    except Malformed as malformed:
        error = _syntax_text(data, malformed, "unexpected EOF")
        if malformed.what != "end":
            error += f" at offset {malformed.stop}"
    except _Mismatch as mismatch:
        error = str(mismatch)
    if not strict:
        return unmarshal(data, shape)
    raise api_error("JSInvalidJSONErr", err=error)


def unmarshal(data: bytes, shape: Shape) -> dict[str, Any]:
    """Exactly one document; unknown fields are ignored. Raises ApiError 10025 with Go's text."""
    try:
        return read(data, shape)
    except JsonError as error:
        raise api_error("JSInvalidJSONErr", err=str(error)) from None


def read(data: bytes, shape: Shape) -> dict[str, Any]:
    """The same for what is no JetStream request. Raises JsonError."""
    out = _quickly(data, shape)
    if out is not None:
        return out
    out = {}
    try:
        end = skip_space(data, value_end(data, 0))
        if end < len(data):
            raise Malformed("character", "after top-level value", end, rune_end(data, end))
        _Walk(data, shape.name, False).struct(skip_space(data, 0), shape, (), out)
    except Malformed as malformed:
        raise JsonError(_syntax_text(data, malformed, "unexpected end of JSON input")) from None
    except _Mismatch as mismatch:
        raise JsonError(str(mismatch)) from None
    return out


def is_object_or_array(data: bytes) -> bool:
    """Does `data` look like a JSON object or array? Optional request bodies that do not are ignored."""
    return data[skip_space(data, 0) :][:1] in _OPENERS


def is_empty_request(data: bytes) -> bool:
    """No body, or one JSON object without members."""
    if not data:
        return True
    try:
        end = value_end(data, 0)
    except Malformed:
        return False
    start = skip_space(data, 0)
    empty = data[start : start + 1] == b"{" and skip_space(data, start + 1) == end - 1
    return empty and skip_space(data, end) == len(data)


def _syntax_text(data: bytes, malformed: Malformed, end: str) -> str:
    if malformed.what == "end":
        return end
    if malformed.what == "depth":
        return "exceeded max depth"
    label = "escape sequence" if malformed.what == "escape" else "character"
    return f"invalid {label} {quote_offending(data[malformed.start : malformed.stop])} {malformed.where}"


class _Walk:
    """One valid document, decoded along a shape. `path` holds the names on the way, as they were written."""

    def __init__(self, data: bytes, root: str, strict: bool) -> None:
        self.data = data
        self.root = root
        self.strict = strict

    def kind_at(self, at: int) -> str:
        return _KINDS.get(self.data[at : at + 1], "number")

    def is_null(self, at: int) -> bool:
        return self.data[at : at + 1] == b"n"

    def mismatch(self, at: int, path: tuple[str, ...], go_type: str, value: str = "") -> _Mismatch:
        what = f"json: cannot unmarshal {self.kind_at(at)}{' ' if value else ''}{value} into "
        if not path:
            return _Mismatch(f"{what}Go value of type {go_type}")
        # A last name of digits looks like an index to Go, whatever it is.
        field = "" if path[-1].isascii() and path[-1].isdigit() else "Go struct field "
        where = ".".join(name.replace("~", "~0").replace("/", "~1") for name in path)
        return _Mismatch(f"{what}{field}{self.root}.{where} of type {go_type}")

    def members(self, at: int) -> Iterator[tuple[str, int]]:
        """(name, where its value begins) of the object at `at`."""
        data = self.data
        at = skip_space(data, at + 1)
        while data[at : at + 1] != b"}":
            end = value_end(data, at)
            name = unquote(data[at:end])
            value = skip_space(data, skip_space(data, end) + 1)
            yield name, value
            at = skip_space(data, value_end(data, value))
            if data[at : at + 1] == b",":
                at = skip_space(data, at + 1)

    def elements(self, at: int) -> Iterator[int]:
        """Where each element of the array at `at` begins."""
        data = self.data
        at = skip_space(data, at + 1)
        while data[at : at + 1] != b"]":
            yield at
            at = skip_space(data, value_end(data, at))
            if data[at : at + 1] == b",":
                at = skip_space(data, at + 1)

    def struct(self, at: int, shape: Shape, path: tuple[str, ...], out: dict[str, Any]) -> None:
        """Decode onto `out`."""
        if self.is_null(at):
            return
        if self.kind_at(at) != "object":
            raise self.mismatch(at, path, f"server.{shape.name}")
        folded: dict[str, str] | None = None
        for written, value in self.members(at):
            name: str | None = written if written in shape.fields else None
            if name is None:
                folded = folded or {field.lower(): field for field in shape.fields}
                name = folded.get(written.translate(_FOLDS).lower())
            if name is not None:
                self.field(value, shape.fields[name], (*path, written), out, name)
            elif self.strict and shape.strict:
                raise _Mismatch(f"json: unknown field {quote(written)}")

    def field(self, at: int, kind: Kind, path: tuple[str, ...], out: dict[str, Any], name: str) -> None:
        """Decode one member's value into `out[name]`."""
        if isinstance(kind, Choice):
            out[name] = self.choice(at, kind)
        elif self.is_null(at):
            if isinstance(kind, ListOf | MapOf) or kind == "time.Time" or (isinstance(kind, Shape) and kind.pointer):
                out.pop(name, None)
        elif isinstance(kind, Shape):
            self.struct(at, kind, path, out.setdefault(name, {}))
        elif isinstance(kind, ListOf):
            out[name] = self.list_of(at, kind, path, out.get(name, []))
        elif isinstance(kind, MapOf):
            self.map_of(at, kind.values, path, out.setdefault(name, {}))
        else:
            out[name] = self.scalar(at, kind, path)

    def list_of(self, at: int, kind: ListOf, path: tuple[str, ...], earlier: list[Any]) -> list[Any]:
        if self.kind_at(at) != "array":
            raise self.mismatch(at, path, "[]" + _element_type(kind.kind))
        if kind.kind == "string":
            return self.strings(at, path, earlier)
        out = []
        for number, element in enumerate(self.elements(at)):
            slot = {"": earlier[number]} if number < len(earlier) else {}
            self.field(element, kind.kind, (*path, str(number)), slot, "")
            out.append(slot.get("", _zero(kind.kind)))
        return out

    def strings(self, at: int, path: tuple[str, ...], earlier: list[str]) -> list[str]:
        """A list of strings; there may be as many as fit into a message."""
        found = flat(self.data[at : value_end(self.data, at)])
        if found is None or not all(value is None or isinstance(value, str) for value in found):
            for number, element in enumerate(self.elements(at)):
                self.check_string(element, (*path, str(number)))
            raise AssertionError("some element is no string")
        for number, value in enumerate(found):
            if value is None:
                found[number] = earlier[number] if number < len(earlier) else ""
        return found

    def map_of(self, at: int, values: str, path: tuple[str, ...], out: dict[str, Any]) -> None:
        if self.kind_at(at) != "object":
            raise self.mismatch(at, path, f"map[string]{values}")
        if values != "string":
            for name, member in self.members(at):
                out[name] = _zero(values) if self.is_null(member) else self.scalar(member, values, (*path, name))
            return
        found = flat(self.data[at : value_end(self.data, at)])
        if found is None or not all(value is None or isinstance(value, str) for _, value in found):
            for name, member in self.members(at):
                self.check_string(member, (*path, name))
            raise AssertionError("some value is no string")
        out.update((name, value or "") for name, value in found)

    def check_string(self, at: int, path: tuple[str, ...]) -> None:
        if self.kind_at(at) != "string" and not self.is_null(at):
            raise self.mismatch(at, path, "string")

    def choice(self, at: int, kind: Choice) -> str:
        raw = self.data[at : value_end(self.data, at)]
        if kind.decoded:
            value = "" if self.is_null(at) else self.string(at, ())
        else:
            value = text(raw)
            value = value.lower() if kind.fold else value
            value = value[1:-1] if value[:1] == '"' else "\0"
        if value not in kind.values:
            raise _Mismatch(kind.refusal.format(quoted=quote(raw), raw=text(raw)))
        return value

    def string(self, at: int, path: tuple[str, ...], kind: str = "string") -> str:
        if self.kind_at(at) != "string":
            raise self.mismatch(at, path, kind)
        return unquote(self.data[at : value_end(self.data, at)])

    def scalar(self, at: int, kind: str, path: tuple[str, ...]) -> Any:
        found = self.kind_at(at)
        if kind in STRINGS:
            return self.string(at, path, kind)
        if kind == "bool" and found == "bool":
            return self.data[at : at + 1] == b"t"
        if kind == "time.Time" and found == "string":
            try:
                return parse_time(self.string(at, path).encode())
            except TimeError as error:
                raise _Mismatch(str(error)) from None
        if kind in INTEGER_RANGES and found == "number":
            return self.integer(at, kind, path)
        raise self.mismatch(at, path, kind)

    def integer(self, at: int, kind: str, path: tuple[str, ...]) -> int:
        written = self.data[at : value_end(self.data, at)].decode()
        low, high = INTEGER_RANGES[kind]
        digits = written if kind == "uint64" else written.removeprefix("-")
        if digits.isdigit() and len(digits) <= 20 and low <= int(written) <= high:
            return int(written)
        raise self.mismatch(at, path, kind, written)


def _element_type(kind: Kind) -> str:
    if isinstance(kind, Shape):
        return f"{'*' if kind.pointer else ''}server.{kind.name}"
    assert isinstance(kind, str), "lists hold structs or scalars"
    return kind


def _zero(kind: Kind) -> Any:
    """What a `null` element leaves behind."""
    if isinstance(kind, Shape):
        return {}
    return "" if kind == "string" else 0


def encode(value: object) -> bytes:
    """JSON without blanks, with Go's HTML escapes."""
    try:
        out = msgspec.json.encode(value)
    except UnicodeEncodeError:  # a lone surrogate
        whole = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        out = whole.encode("utf-8", "replace")
    for char, escape in _ESCAPES:
        if char in out:
            out = out.replace(char, escape)
    if _SEPARATORS_BEGIN in out:  # to look for one byte is sixty times quicker: replies may be megabytes
        for char, escape in _SEPARATORS:
            out = out.replace(char, escape)
    return out


_ESCAPES: Final = ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026"))
_SEPARATORS: Final = (("\u2028".encode(), b"\\u2028"), ("\u2029".encode(), b"\\u2029"))
_SEPARATORS_BEGIN: Final = b"\xe2"
