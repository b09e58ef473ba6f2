"""Documents of any length as JSON, a piece at a time, so that a page of ten thousand rows stops no message.

A list of objects, in an object or in another row, is written row by row; what has no such list is written as a whole.
The result is the same as if everything had been written at once. The document is taken apart meanwhile: to free ten
thousand rows at once takes as long as to write a few hundred.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from millpond.jetstream.go_json import encode

BYTES_PER_BREATH: Final = 64 * 1024
"""Of JSON that is written at a time: about a millisecond."""

Leaf = Callable[[Any, bytes], bytes]
"""(a value, what its lines but the first begin with) -> the value as JSON."""


def render(page: Any, indent: int = 2) -> bytes:
    """JSON as nats-server prints it: indented, with Go's escapes for HTML."""
    body = msgspec.json.encode(page)
    if indent:
        body = msgspec.json.format(body, indent=indent)
    for char, escape in ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026")):
        body = body.replace(char, escape)
    return body


async def rendered(page: Any, indent: int = 2) -> list[bytes]:
    """The same in parts, in steps. Takes the page's rows out of it."""

    def leaf(value: Any, begin: bytes) -> bytes:
        written = render(value, indent)
        return written.replace(b"\n", begin) if indent else written

    return await gathered(_Writer(leaf, indent).pieces(page, b"\n" if indent else b""))


async def encoded(value: Any) -> bytes:
    """What `go_json.encode` makes of it, in steps. Takes the rows out of it."""
    return bytes(await joined(_Writer(lambda each, begin: encode(each), 0).pieces(value, b"")))


async def gathered(pieces: Iterator[bytes]) -> list[bytes]:
    """All of them, joined to parts that are long enough to be sent; the loop may run between any two. To free a hundred
    megabytes that are one object takes ten milliseconds: parts go as they are sent."""
    parts, part = [], bytearray()
    for piece in pieces:
        part += piece
        if len(part) >= BYTES_PER_BREATH:
            parts.append(bytes(part))
            part.clear()
            await asyncio.sleep(0)
    return [*parts, bytes(part)]


async def joined(pieces: Iterator[bytes]) -> bytearray:
    """All of them together; the loop may run between any two."""
    whole = bytearray()  # grows where it is: to join megabytes in the end takes as long as to write them
    breathed = 0
    for piece in pieces:
        whole += piece
        if len(whole) - breathed >= BYTES_PER_BREATH:
            await asyncio.sleep(0)
            breathed = len(whole)
    return whole


def taken(rows: list[Any]) -> Iterator[Any]:
    """All of them, each freed when nobody else has it."""
    rows.reverse()
    while rows:
        yield rows.pop()


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _has_rows(value: Any) -> bool:
    """Is there a list of objects in it, somewhere in objects?"""
    return isinstance(value, dict) and any(_is_rows(each) or _has_rows(each) for each in value.values())


class _Writer:
    """`indent`: of each level; 0: everything in one line."""

    def __init__(self, leaf: Leaf, indent: int) -> None:
        self._leaf, self._pad, self._colon = leaf, b" " * indent, b": " if indent else b":"

    def pieces(self, value: Any, begin: bytes) -> Iterator[bytes]:
        """begin: what the lines of `value` begin with, "" where there are none."""
        if _has_rows(value):
            members = ((self._leaf(key, b"") + self._colon, each) for key, each in value.items())
            yield from self._between(b"{}", members, begin)
        elif _is_rows(value):
            yield from self._between(b"[]", ((b"", each) for each in taken(value)), begin)
        else:
            yield self._leaf(value, begin)

    def _between(self, brackets: bytes, members: Iterator[tuple[bytes, Any]], begin: bytes) -> Iterator[bytes]:
        inner = separator = begin + self._pad
        yield brackets[:1]
        for name, value in members:
            yield separator + name
            yield from self.pieces(value, inner)
            separator = b"," + inner
        yield begin + brackets[1:]
