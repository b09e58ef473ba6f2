"""What a pull consumer of a modelled stream has got, has to get, and has not acknowledged."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import permutations

from stream_model import Stream
from stream_model_rules import matches

TOKENS = ["a", "b", "c", "x", "y", "none"]
SUBJECTS = [f"s.{one}" for one in TOKENS] + [f"s.{one}.{two}" for one in TOKENS for two in TOKENS]
"""All that filters of at most three tokens can tell apart."""


def overlapping(filters: list[str]) -> bool:
    """Is all that comes under one of them under another one? (Only some of it may be.)"""
    under = [{subject for subject in SUBJECTS if matches(one, subject)} for one in filters]
    return any(one <= other for one, other in permutations(under, 2))


@dataclass
class Reader:
    """Explicit acknowledgements, which have an hour: nothing comes twice. `position`: everything up to here was
    delivered, or is not for it; `chosen`: of what was there at the start only these are (None: all)."""

    filters: list[str]
    position: int
    chosen: set[int] | None = None
    started_at: int = 0
    pending: dict[int, bytes] = field(default_factory=dict)
    """Sequence -> where to acknowledge it."""
    got: list[int] = field(default_factory=list)
    """Everything that it got, in order."""
    acknowledged: set[int] = field(default_factory=set)

    @classmethod
    def started(cls, stream: Stream, filters: list[str], policy: str, start_seq: int) -> Reader:
        reader = cls(filters, 0, started_at=stream.last_seq)
        wanted = [seq for seq in sorted(stream.messages) if reader.wants(stream, seq)]
        match policy:
            case "new":
                reader.position = stream.last_seq
            case "last":
                last = wanted[-1] if wanted else 0
                reader.position = max(0, (last if filters else stream.last_seq) - 1)
            case "by_start_sequence":
                reader.position = start_seq - 1
            case "last_per_subject":
                reader.chosen = set({stream.messages[seq].subject: seq for seq in wanted}.values())
        return reader

    def wants(self, stream: Stream, seq: int) -> bool:
        if self.chosen is not None and seq <= self.started_at and seq not in self.chosen:
            return False
        return not self.filters or any(matches(one, stream.messages[seq].subject) for one in self.filters)

    def to_come(self, stream: Stream) -> list[int]:
        return [seq for seq in sorted(stream.messages) if seq > self.position and self.wants(stream, seq)]

    def take(self, stream: Stream, batch: int) -> list[int]:
        """What a request for so many gets."""
        got = self.to_come(stream)[:batch]
        self.position = max([self.position, *got])
        self.got += got
        return got

    def restart(self, stream: Stream, kept: int, position: int) -> None:
        """So many of its deliveries are remembered; the others come again. Nothing acknowledged does, and nothing that
        was to come is passed over."""
        forgotten = set(self.got[kept:])
        assert kept <= len(self.got), f"{kept} deliveries are remembered of {len(self.got)}"
        assert not forgotten & self.acknowledged, f"{forgotten & self.acknowledged} were acknowledged and come again"
        skipped = [seq for seq in self.to_come(stream) if seq <= position]
        self.chosen = None                # that list is not kept, by nats-server neither: all from here on come
        assert not skipped, f"goes on behind {position}: {skipped} were to come"
        del self.got[kept:]
        self.position = position
        self.pending = {seq: ack for seq, ack in self.pending.items() if seq not in forgotten}

    def forget_gone(self, stream: Stream) -> None:
        self.pending = {seq: ack for seq, ack in self.pending.items() if seq in stream.messages}
