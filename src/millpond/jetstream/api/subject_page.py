"""A page of a stream's subjects with their numbers of messages, in the order of their texts.

A stream may have hundreds of thousands of subjects: they are collected, sorted and written a share at a time. What
is true at the end is what the stream was like while that went on: a subject that comes meanwhile may be missing.

What waits to be merged is one text for each share, not a list of a million: neither the garbage collector nor the end
has to go through that.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from millpond.base import limits
from millpond.jetstream.api.pages import joined
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
        self.is_short = stream.state()["num_subjects"] <= limits.SUBJECTS_PER_STEP
        self.json: msgspec.Raw | None = None
        self._shares = self._work()

    def step(self) -> bool:
        return next(self._shares, False)

    def _work(self) -> Iterator[bool]:
        chunks: list[bytes] = []
        at = ids = 0
        while at < self._stream.subject_ids() or self._stream.subject_ids() < ids:
            if self._stream.subject_ids() < ids:         # they were numbered anew: from the beginning
                chunks, at, self.total = [], 0, 0
            ids = self._stream.subject_ids()
            found = sorted(self._stream.subjects_part(self._filter, at, limits.SUBJECTS_PER_STEP))
            self.total += len(found)
            chunks.append(b"".join(subject + _END for subject in found))
            at += limits.SUBJECTS_PER_STEP
            yield True
        yield from self._write(heapq.merge(*map(_texts, chunks)))

    def _write(self, subjects: Iterator[bytes]) -> Iterator[bool]:
        parts: list[bytes] = []
        passed, left = min(self._offset, self.total), limits.API_SUBJECTS_PAGE
        while share := list(islice(subjects, min(_WRITTEN_PER_STEP, passed or left))):
            if passed:
                passed -= len(share)
            else:
                left -= len(share)
                counted = {text(subject): self._stream.subject_count(subject) for subject in share}
                parts.append(encode({subject: count for subject, count in counted.items() if count})[1:-1])
            yield True
        self.json = joined(b"{", [part for part in parts if part], b"}")
        yield True                                       # it may be megabytes: a step of its own


_WRITTEN_PER_STEP: Final = limits.SUBJECTS_PER_STEP // 2     # to merge and write one costs twice its collecting
_END: Final = b"\n"
"""Behind each subject; none has it inside, for it would have ended a line of the protocol."""


def _texts(chunk: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(chunk):
        end = chunk.index(_END, at)
        yield chunk[at:end]
        at = end + 1
