"""What the streams of an account lay claim to together: subjects, and bytes by `max_bytes`.

Kept beside the table of streams, so that creating one costs the same however many there are.
"""

from __future__ import annotations

from collections.abc import Iterable

from millpond.jetstream.stream_config import StreamConfig
from millpond.subjects import pytokens


class Reservations:
    """A configuration that was added is dropped once, as it was."""

    def __init__(self) -> None:
        self._subjects = pytokens.FilterSet()
        self._reserved = {"memory": 0, "file": 0}

    def add(self, config: StreamConfig) -> None:
        for subject in config.subjects:
            self._subjects.add(subject)
        self._reserved[config.storage] += max(0, config.max_bytes)

    def drop(self, config: StreamConfig) -> None:
        for subject in config.subjects:
            self._subjects.discard(subject)
        self._reserved[config.storage] -= max(0, config.max_bytes)

    def reserved(self, storage: str) -> int:
        """Bytes."""
        return self._reserved[storage]

    def overlap(self, subjects: Iterable[str]) -> bool:
        """Is there a subject that falls under one of these and under one of a stream's?"""
        return any(self._subjects.overlaps(subject) for subject in subjects)
