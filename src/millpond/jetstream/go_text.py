"""Bytes and text between Python and Go: replacement of invalid UTF-8, and Go's quoting in error texts.

Go replaces every invalid byte by one U+FFFD, Python's own "replace" whole broken sequences: the handler
registered here does as Go does, under the name in `REPLACE`.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Any, Final

REPLACE: Final = "replace-each-byte"
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_SHORT: Final = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\",
}  # fmt: skip


def _each_byte(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "\ufffd", error.start + 1


codecs.register_error(REPLACE, _each_byte)


def text(data: bytes) -> str:
    """UTF-8, each invalid byte replaced."""
    return data.decode("utf-8", REPLACE)


def unquote(raw: bytes) -> str:
    """The value of a JSON string that was found valid, quotes included; lone surrogates are replaced."""
    if b"\\" not in raw:
        return text(raw[1:-1])
    value: str = json.loads(text(raw))
    return _SURROGATE.sub("\ufffd", value)


def flat(raw: bytes) -> list[Any] | None:
    """A JSON array or object that was found valid, quickly: its elements, or its (name, value) pairs in order; of
    values only strings and nulls are what they were. None when it is nested too deep for that."""
    try:
        found: list[Any] = json.loads(text(raw), object_pairs_hook=list, parse_int=float)
    except RecursionError:
        return None
    if b"\\" not in raw:
        return found
    return [_mended(tuple(map(_mended, item)) if isinstance(item, tuple) else item) for item in found]


def _mended(value: Any) -> Any:
    return _SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value


def _runes(data: bytes) -> list[str | int]:
    """Characters, and the invalid bytes between them as integers."""
    return [
        ord(char) & 0xFF if 0xDC80 <= ord(char) <= 0xDCFF else char
        for char in data.decode("utf-8", "surrogateescape")
    ]


def _escaped(rune: str | int, quote: str) -> str:
    if isinstance(rune, int):
        return f"\\x{rune:02x}"
    if rune == quote:
        return "\\" + quote
    if rune in _SHORT:
        return _SHORT[rune]
    if rune.isprintable():
        return rune
    code = ord(rune)
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class _Quoted(dict[int, str]):
    """Code point -> what stands for it between double quotes; invalid bytes are surrogate escapes. A text may be as
    long as a message, so it goes through `str.translate`; ASCII is remembered."""

    def __missing__(self, code: int) -> str:
        out = _escaped(code & 0xFF if 0xDC80 <= code <= 0xDCFF else chr(code), '"')
        if code < 0x80:
            self[code] = out
        return out


_QUOTED: Final = _Quoted()


def quote(data: bytes | str) -> str:
    """As Go's %q prints a string."""
    raw = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    return '"' + raw.decode("utf-8", "surrogateescape").translate(_QUOTED) + '"'


def rune_end(data: bytes, at: int) -> int:
    """Behind the character at `at`; behind one byte when no character begins there."""
    for end in range(at + 1, min(at + 4, len(data)) + 1):
        try:
            data[at:end].decode()
        except UnicodeDecodeError:
            continue
        return end
    return at + 1


def quote_offending(data: bytes) -> str:
    """What is wrong in a JSON text, as Go shows it: a lone character in single quotes, a sequence in back quotes."""
    runes = _runes(data)
    if len(runes) == 1:
        return "'" + _escaped(runes[0], "'") + "'"
    plain = all(
        isinstance(rune, str) and rune not in "`\ufffd" and rune.isprintable() and not rune.isspace() for rune in runes
    )
    return f"`{text(data)}`" if plain else quote(data)
