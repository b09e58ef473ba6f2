"""Quoting of a peer's bytes inside error texts, as Go's `%q` does: clients take subjects out of these by pattern."""

from __future__ import annotations

from typing import Final

_NAMED: Final = {
    '"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
}  # fmt: skip
_FIRST_BYTE_ESCAPE: Final = 0xDC80
"""`surrogateescape` decodes byte 0x80 + i, where it is not UTF-8, to this + i."""


def quote(data: bytes) -> str:
    """`data` between double quotes: printable UTF-8 as it is, the rest escaped. Never a line end or a bare quote."""
    return '"' + "".join(map(_shown, data.decode("utf-8", "surrogateescape"))) + '"'


def _shown(char: str) -> str:
    code = ord(char)
    if char in _NAMED:
        return _NAMED[char]
    if char.isprintable():
        return char
    if _FIRST_BYTE_ESCAPE <= code < _FIRST_BYTE_ESCAPE + 0x80:
        return f"\\x{code - _FIRST_BYTE_ESCAPE + 0x80:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
