"""A page of a stream's subjects with their numbers of messages, in the order of their texts.

A stream may have hundreds of thousands of subjects: they are collected, sorted and written a share at a time. What
is true at the end is what the stream was like while that went on: a subject that comes meanwhile may be missing.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from millpond.base import limits
from millpond.jetstream.go_json import encode
from millpond.jetstream.go_text import text

if TYPE_CHECKING:
    from millpond.jetstream.stream import Stream


class SubjectPage:
    """`step()` until it says False; then `total` subjects match, and `json` is the object that shows the page,
    None when there is nothing on it."""

    def __init__(self, stream: Stream, filter: bytes, offset: int) -> None:
        self._stream, self._filter, self._offset = stream, filter, max(0, offset)
        self.total = 0
        self.json: msgspec.Raw | None = None
        self._shares = self._work()

    def step(self) -> bool:
        return next(self._shares, False)

    def _work(self) -> Iterator[bool]:
        chunks: list[list[bytes]] = []
        at = ids = 0
        while at < self._stream.subject_ids() or self._stream.subject_ids() < ids:
            if self._stream.subject_ids() < ids:         # they were numbered anew: from the beginning
                chunks, at = [], 0
            ids = self._stream.subject_ids()
            chunks.append(sorted(self._stream.subjects_part(self._filter, at, limits.SUBJECTS_PER_STEP)))
            at += limits.SUBJECTS_PER_STEP
            yield True
        self.total = sum(map(len, chunks))
        yield from self._write(heapq.merge(*chunks))

    def _write(self, subjects: Iterator[bytes]) -> Iterator[bool]:
        parts: list[bytes] = []
        passed, left = min(self._offset, self.total), limits.API_SUBJECTS_PAGE
        while share := list(islice(subjects, min(limits.SUBJECTS_PER_STEP, passed or left))):
            if passed:
                passed -= len(share)
            else:
                left -= len(share)
                counted = {text(subject): self._stream.subject_count(subject) for subject in share}
                parts.append(encode({subject: count for subject, count in counted.items() if count})[1:-1])
            yield True
        if any(parts):
            self.json = msgspec.Raw(b"{" + b",".join(part for part in parts if part) + b"}")
