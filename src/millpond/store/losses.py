"""What damage may have taken, while recovery finds out.

A bad place comes to light before the removals behind it. A message that was removed is not lost, and one that was
to be overwritten is damaged on purpose: an erasure that a power cut tore. So a loss is reported when the log is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

SEQ_MAX: Final = 0xFFFFFFFFFFFFFFFF


class Lost:
    """The messages of one stream that are known to be lost since it was opened."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []
        """[(first, last)], not in order."""
        self.messages = self.bytes = 0
        """Bytes as far as they are known: as messages are accounted."""

    def __bool__(self) -> bool:
        return self.messages > 0

    def add(self, first: int, last: int, size: int = 0) -> None:
        """All sequences from `first` to `last`."""
        if self.ranges and self.ranges[-1][1] == first - 1:
            first_of_all, _ = self.ranges.pop()
            self.ranges.append((first_of_all, last))
        else:
            self.ranges.append((first, last))
        self.messages += last - first + 1
        self.bytes += size

    def sequences(self, most: int) -> list[int]:
        """The lowest ones, ascending."""
        found: list[int] = []
        for first, last in sorted(self.ranges):
            found.extend(range(first, min(last, first + most - len(found) - 1) + 1))
        return found


def without(ranges: list[tuple[int, int]], next_live: Callable[[int], int]) -> list[tuple[int, int]]:
    """What of these is not there after all: a record that came to a wrong place may seem to end what is lost.
    next_live(seq): the first message from there on, 0: none."""
    found: list[tuple[int, int]] = []
    for begin, last in ranges:
        first = begin
        while first <= last:
            live = next_live(first)
            if not 0 < live <= last:
                live = last + 1
            if live > first:
                found.append((first, live - 1))
            first = live + 1
    return found


class Loss:
    """Bad places in a row, and the sequences between the messages around them, from `first_seq` on."""

    def __init__(self, first_seq: int) -> None:
        self.places: list[str] = []
        self.most = 0
        """So many messages there were at most, right before the one that follows; 0: any number."""
        self._spans: list[tuple[int, int, int]] = []
        self._erased: set[tuple[int, int]] = set()
        self._first, self._next = first_seq, SEQ_MAX
        self._gone: set[int] = set()

    def damaged(self, name: str, generation: int, start: int, end: int) -> None:
        """The bytes from `start` to `end` of a segment do not verify."""
        self.places.append(f"{name}: bytes {start} to {end} are damaged")
        self._spans.append((generation, start, end))

    def ends_before(self, next_seq: int) -> None:
        """The message behind the bad places is known; 0: there is none, so nothing says what was there."""
        self._next = next_seq
        if self.most:
            self._first = max(self._first, next_seq - min(self.most, next_seq))

    def removed(self, seq: int) -> None:
        """That message is gone on purpose."""
        if self._first <= seq < self._next:
            self._gone.add(seq)

    def removed_below(self, first_seq: int) -> None:
        """All messages below are gone on purpose."""
        self._first = max(self._first, first_seq)

    def erased(self, generation: int, offset: int) -> bool:
        """The message at that place was to be overwritten. Returns whether the place is bad."""
        for of_generation, start, end in self._spans:
            if of_generation == generation and start <= offset < end:
                self._erased.add((generation, start))
                return True
        return False

    def is_erasure(self) -> bool:
        """Is there an erasure in every bad place?"""
        spans = {(generation, start) for generation, start, _ in self._spans}
        return len(spans) == len(self.places) and spans == self._erased

    def ranges(self) -> list[tuple[int, int]]:
        """[(first, last)] of sequences that may be lost."""
        found, first = [], self._first
        for seq in [*sorted(self._gone), self._next]:
            if seq > first:
                found.append((first, seq - 1))
            first = max(first, seq + 1)
        return found

    def describe(self, ranges: list[tuple[int, int]]) -> str:
        """In words."""
        if not ranges:
            return f"{self}; no message is known to be lost"
        messages = ", ".join(f"{first} to {last}" for first, last in ranges)
        return f"{self}; messages {messages} are lost unless a later record has them"

    def __str__(self) -> str:
        return ", ".join(self.places)
