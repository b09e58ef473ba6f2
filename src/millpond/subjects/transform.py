"""Rewriting subjects: `source` says which, `destination` into what (reference 01, section 1.8).

    source       orders.*.*.>
    destination  by.{{partition(8,1)}}.$2.{{left(1,3)}}.>

A destination token is plain text, `$n` or `{{function(arguments)}}`; `n` counts the `*` of the source. A final `>`
stands for what the source's `>` matched. A transform is pure, but for `random`. Texts, bounds and oddities are
nats-server's, since clients see all of them: an index of 0 or below means the subject's first token, a source token
that begins with `*` matches any, and a name is recognised with or without its capitals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Final

from millpond.base.ids import random_below
from millpond.subjects import pytokens

INVALID: Final = "invalid mapping destination"
BAD_SUBJECT: Final = "invalid subject"
UNKNOWN: Final = f"{INVALID}: unknown function"
OUT_OF_RANGE: Final = f"{INVALID}: wildcard index out of range"
TOO_FEW: Final = f"{INVALID}: not enough arguments passed to the function"
TOO_MANY: Final = f"{INVALID}: too many arguments passed to the function"
BAD_ARGUMENT: Final = f"{INVALID}: function argument is invalid or in the wrong format"
BAD_DESTINATION: Final = f"{INVALID}: invalid transform"
ONLY_WILDCARD: Final = f"{INVALID}: the only mapping function allowed for import transforms is {{{{Wildcard()}}}}"
NOT_ALL_USED: Final = f"{INVALID}: not using all of the token wildcard(s)"

_INT: Final = re.compile(r"[+-]?[0-9]+")
_COMMA: Final = re.compile(r",[\t\n\f\r ]*")
_INT32_MAX: Final = 2**31 - 1
_INT64_MAX: Final = 2**63 - 1
FNV_OFFSET: Final = 2166136261
FNV_PRIME: Final = 16777619

Piece = Callable[[Sequence[bytes]], bytes]
"""Makes one destination token (which may hold dots) from the subject's tokens."""


class TransformError(ValueError):
    """The transform cannot be made; the text is nats-server's."""


def _fault(text: str, token: str) -> TransformError:
    return TransformError(f"{text} in {token}" if token else text)


@cache
def _pattern(name: str) -> re.Pattern[str]:
    """Made when the first transform is read. `name` is written with a capital where either case is accepted."""
    letters = "".join(f"[{c.lower()}{c}]" if c.isupper() else c for c in name)
    return re.compile(rf"{{{{[\t\n\f\r ]*{letters}[\t\n\f\r ]*\((.*)\)[\t\n\f\r ]*}}}}")


# --- what the functions do ---


def _partition(key: bytes, partitions: int) -> bytes:
    if partitions == 0:
        return b"0"
    number = FNV_OFFSET
    for byte in key:
        number = ((number ^ byte) * FNV_PRIME) & 0xFFFF_FFFF
    return b"%d" % (number % (partitions & 0xFFFF_FFFF))


def _random(ceiling: int) -> bytes:
    return b"%d" % (random_below(abs(ceiling))) if ceiling else b"0"


def _left(token: bytes, size: int) -> bytes:
    return token[:size]


def _right(token: bytes, size: int) -> bytes:
    return token[-size:]


def _split_from_left(token: bytes, size: int) -> bytes:
    return token[:size] + b"." + token[size:]


def _split_from_right(token: bytes, size: int) -> bytes:
    return token[:-size] + b"." + token[-size:]


def _slice_from_left(token: bytes, size: int) -> bytes:
    return b".".join(token[at : at + size] for at in range(0, len(token), size))


def _slice_from_right(token: bytes, size: int) -> bytes:
    first = len(token) % size
    parts = [token[at : at + size] for at in range(first, len(token), size)]
    return b".".join([token[:first], *parts] if first else parts)


def _split(token: bytes, separator: str) -> bytes:
    text = token.decode("utf-8", "surrogateescape")
    parts = text.split(separator) if separator else list(text)
    out = ""
    for number, part in enumerate(parts):
        out += part
        if number + 1 < len(parts) and parts[number + 1] and not (number == 0 and not part):
            out += "."
    return out.encode("utf-8", "surrogateescape")


_SIZED: Final[tuple[tuple[str, Callable[[bytes, int], bytes]], ...]] = (
    ("SplitFromLeft", _split_from_left),
    ("SplitFromRight", _split_from_right),
    ("SliceFromLeft", _slice_from_left),
    ("SliceFromRight", _slice_from_right),
    ("Right", _right),
    ("Left", _left),
)
"""Functions of (token, size). Outside 0 < size < length: the whole token."""


# --- reading a destination ---


def _is_function(token: str) -> bool:
    return len(token.encode()) > 4 and token.startswith("{{") and token.endswith("}}")


def _integer(text: str, token: str, bits: int = 64) -> int:
    text = text.strip(" ")
    value = int(text) if _INT.fullmatch(text) else _INT64_MAX + 1
    if not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
        raise _fault(BAD_ARGUMENT, token)
    return value


def _count(text: str, token: str) -> int:
    """A number of partitions or values: bounded above, wrapped to 32 bits below."""
    value = _integer(text, token)
    if value > _INT32_MAX:
        raise _fault(BAD_ARGUMENT, token)
    return ((value + 2**31) & 0xFFFF_FFFF) - 2**31


class _Call:
    """One function of a destination: which wildcards it reads, and how."""

    def __init__(self, indexes: list[int], make: Callable[[list[bytes], Sequence[bytes]], bytes], kind: str) -> None:
        self.indexes, self.make, self.kind = indexes, make, kind


def _sized(function: Callable[[bytes, int], bytes], token: str, args: list[str]) -> _Call:
    _want_two(token, args)
    index, size = _integer(args[0], token), _integer(args[1], token, 32)

    def make(chosen: list[bytes], tokens: Sequence[bytes]) -> bytes:
        return function(chosen[0], size) if 0 < size < len(chosen[0]) else chosen[0]

    return _Call([index], make, "sized")


def _want_two(token: str, args: list[str]) -> None:
    if len(args) != 2:
        raise _fault(TOO_FEW if len(args) < 2 else TOO_MANY, token)


def _wildcard(token: str, args: list[str]) -> _Call:
    if len(args) > 1:
        raise _fault(TOO_MANY, token)
    if args[0] == "":
        raise _fault(TOO_FEW, token)
    return _Call([_integer(args[0], token)], lambda chosen, tokens: chosen[0], "wildcard")


def _partitioned(token: str, args: list[str]) -> _Call:
    partitions = _count(args[0], token)

    def make(chosen: list[bytes], tokens: Sequence[bytes]) -> bytes:
        return _partition(b"".join(chosen) or b".".join(tokens), partitions)

    return _Call([_integer(text, token) for text in args[1:]], make, "partition")


def _splitting(token: str, args: list[str]) -> _Call:
    _want_two(token, args)
    index = _integer(args[0], token)
    if " " in args[1] or "." in args[1]:
        raise _fault(BAD_ARGUMENT, token)
    return _Call([index], lambda chosen, tokens: _split(chosen[0], args[1]), "split")


def _drawn(token: str, args: list[str]) -> _Call:
    if len(args) != 1:
        raise _fault(TOO_FEW, token)
    ceiling = _count(args[0], token)
    return _Call([], lambda chosen, tokens: _random(ceiling), "random")


_FUNCTIONS: Final[tuple[tuple[str, Callable[[str, list[str]], _Call]], ...]] = (
    ("Wildcard", _wildcard),
    ("Partition", _partitioned),
    *((name, partial(_sized, function)) for name, function in _SIZED),
    ("Split", _splitting),
    ("Random", _drawn),
)
"""In the order in which they are looked for."""


def _call(token: str) -> _Call | None:
    """The function that a destination token calls; None: it is plain text. Raises TransformError."""
    if len(token) > 1 and token[0] == "$":
        # Other tokens begin with $ too: what is no number is left as it is.
        number = int(token[1:]) if _INT.fullmatch(token[1:]) else _INT64_MAX + 1
        return _wildcard(token, [token[1:]]) if -_INT64_MAX - 1 <= number <= _INT64_MAX else None
    if not _is_function(token):
        return None
    for name, read in _FUNCTIONS:
        if (found := _pattern(name).search(token)) is not None:
            return read(token, _COMMA.split(found[1]))
    raise _fault(UNKNOWN, token)


def check_destination(source: str, destination: str) -> None:
    """Raises TransformError for a destination that a stream or an account mapping may not have."""
    if not destination:
        return
    open_end = False
    for token in destination.split("."):
        if not token or open_end:
            raise _fault(BAD_DESTINATION, token)
        if _is_function(token):
            if not any(_pattern(name).search(token) for name, _ in _FUNCTIONS):
                raise _fault(UNKNOWN, token)
            continue
        open_end = token == ">"
        if re.search(r"[\t\n\f\r ]", token):
            raise TransformError(BAD_DESTINATION)
    Transform(source, destination)


class Transform:
    """One source and destination. An empty source is `>`; an empty destination changes nothing.

    `strict`: for imports, which must be reversible: only wildcards, and all of them. Raises TransformError.
    """

    def __init__(self, source: str, destination: str, strict: bool = False) -> None:
        self.source, self.destination = source or ">", destination
        self._source = self.source.encode().split(b".")
        self._identity = not destination or (self.source == ">" and destination == ">")
        self._open = destination.rsplit(".", maxsplit=1)[-1] == ">"
        self._pieces: list[Piece] = [] if self._identity else self._read(strict)

    def _read(self, strict: bool) -> list[Piece]:
        tokens = self.destination.split(".")
        stars = [at for at, token in enumerate(self._source) if token == b"*"]
        if "*" in tokens or not (_well_formed(self.source) and _well_formed(self.destination)):
            raise TransformError(BAD_SUBJECT)
        if (self._source[-1] == b">") != self._open:
            raise TransformError(BAD_SUBJECT)
        literal = not pytokens.has_wildcard(self.source)
        pieces, used = [], 0
        for token in tokens[:-1] if self._open else tokens:
            call = _call(token)
            if call is None:
                pieces.append(_text(token))
                continue
            if strict and not literal and call.kind != "wildcard":
                raise _fault(ONLY_WILDCARD, token)
            if literal and call.kind not in ("random", "partition"):
                raise _fault(OUT_OF_RANGE, token)
            used += len(call.indexes)
            pieces.append(_applied(call, [] if literal else _positions(call.indexes, stars, token)))
        if strict and used < len(stars):
            raise _fault(NOT_ALL_USED, self.destination)
        return pieces

    def match(self, subject: bytes) -> bytes | None:
        """What becomes of the subject; None when it is not one that the source describes."""
        if self._identity:
            return subject
        tokens = subject.split(b".")
        return None if b"" in tokens or b"*" in tokens or b">" in tokens else self._rewritten(tokens)

    def rewrite(self, subject: bytes) -> bytes | None:
        """As `match`, but for any subject that can be published on: `*` and `>` are tokens like others, as requests
        for consumers with filters have them."""
        return subject if self._identity else self._rewritten(subject.split(b"."))

    def _rewritten(self, tokens: list[bytes]) -> bytes | None:
        if not self._covers(tokens):
            return None
        out = [piece(tokens) for piece in self._pieces]
        if self._open:
            out += tokens[len(self._source) - 1 :]
        return b".".join(out)

    def _covers(self, tokens: list[bytes]) -> bool:
        for at, wanted in enumerate(self._source):
            if at >= len(tokens):
                return False
            if wanted == b">":
                return True
            if wanted[:1] != b"*" and wanted != tokens[at]:
                return False
        return len(tokens) == len(self._source)


def _well_formed(subject: str) -> bool:
    tokens = subject.split(".")
    return "" not in tokens and ">" not in tokens[:-1]


def _text(token: str) -> Piece:
    plain = token.encode()
    return lambda tokens: plain


def _positions(indexes: list[int], stars: list[int], token: str) -> list[int]:
    for index in indexes:
        if index > len(stars):
            raise _fault(OUT_OF_RANGE, f"{token}: [{index}]")
    return [stars[index - 1] if index > 0 else 0 for index in indexes]


def _applied(call: _Call, positions: list[int]) -> Piece:
    return lambda tokens: call.make([tokens[at] for at in positions], tokens)
