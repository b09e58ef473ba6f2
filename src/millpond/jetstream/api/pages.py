"""Pages of lists that may be long: they are sorted, described and written a share at a time.

What is true at the end is what was there while that went on: what comes meanwhile may be missing.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

from millpond.base import limits
from millpond.jetstream.go_json import encode

if TYPE_CHECKING:
    from millpond.jetstream.api.request import Request
    from millpond.jetstream.engine import Engine
    from millpond.jetstream.stream import Stream

DELETED_DETAILS_MAX: Final = 1_000_000


class ListPage:
    """`step()` until it says False; then `rows` are the page, and `paging` says which one it is.

    names: all there are, in a collection that lives on: it is looked at when the page's turn has come. `wanted` says
    which of them count. An offset beyond the end is clamped to it, a negative one to 0. `describe` gives what a row
    shows, None when there is nothing of that name any more; without it rows are names.
    """

    def __init__(
        self, names: Collection[str], offset: int, limit: int, *, wanted: Callable[[str], bool] | None = None,
        describe: Callable[[str], dict[str, Any] | None] | None = None,
    ) -> None:  # fmt: skip
        self._names, self._offset, self._limit = names, max(0, offset), limit
        self._wanted, self._describe = wanted, describe
        self.rows: list[Any] = []
        self.paging: dict[str, int] = {}
        described = min(len(names), limit) if describe is not None else 0
        self.is_short = len(names) <= limits.NAMES_PER_STEP and described <= limits.DESCRIBED_PER_STEP
        self._shares = self._work()

    def step(self) -> bool:
        return next(self._shares, False)

    def _work(self) -> Iterator[bool]:
        names = list(self._names)
        chunks: list[list[str]] = []
        for at in range(0, len(names), limits.NAMES_PER_STEP):
            share = names[at : at + limits.NAMES_PER_STEP]
            chunks.append(sorted(filter(self._wanted, share) if self._wanted is not None else share, key=_bytes_of))
            yield True
        total = sum(map(len, chunks))
        passed = min(self._offset, total)
        self.paging = {"total": total, "offset": passed, "limit": self._limit}
        merged = heapq.merge(*chunks, key=_bytes_of)
        while passed:
            passed -= len(list(islice(merged, min(limits.NAMES_PER_STEP, passed))))
            yield True
        shown = list(islice(merged, self._limit))
        if self._describe is None:
            self.rows = shown
            return
        for at in range(0, len(shown), limits.DESCRIBED_PER_STEP):
            found = map(self._describe, shown[at : at + limits.DESCRIBED_PER_STEP])
            self.rows += [msgspec.Raw(encode(row)) for row in found if row is not None]
            yield True


def answer_page(
    engine: Engine, request: Request, page: ListPage, name: str, empty: list[Any] | None, *,
    more: Callable[[], dict[str, Any]] = dict,
) -> None:  # fmt: skip
    """Answers with the page under `name`, `empty` where it has no rows, when it is complete. `more()`: what follows."""

    def step() -> bool:
        if page.step():
            return True
        request.ok(**page.paging, **{name: page.rows or empty}, **more())
        return False

    engine.answer(step, page.is_short, request.size)


def joined(begin: bytes, parts: list[bytes], end: bytes) -> msgspec.Raw | None:
    """Parts of JSON with commas between them, copied once; None when there are none. Changes the list."""
    if not parts:
        return None
    parts[0] = begin + parts[0]
    parts[-1] += end
    return msgspec.Raw(b",".join(parts))


def _bytes_of(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


class DeletedPage:
    """The deleted sequences of a stream. `step()` until it says False; then `json` is the list that shows them, None
    when there are none."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._at, self._left = 1, DELETED_DETAILS_MAX
        self._parts: list[bytes] = []
        self.json: msgspec.Raw | None = None
        state = stream.state()
        self.is_short = state["messages"] <= limits.SEARCH_STEP_ROWS and state["num_deleted"] <= limits.DELETED_PER_STEP

    def step(self) -> bool:
        if not self._at or not self._left:         # a million of them is megabytes: a step of its own
            parts, self._parts = self._parts, []
            self.json = joined(b"[", parts, b"]") or self.json
            return bool(parts)
        found, self._at = self._stream.deleted_part(self._at, min(self._left, limits.DELETED_PER_STEP))
        self._left -= len(found)
        if found:
            self._parts.append(encode(found)[1:-1])
        return True
