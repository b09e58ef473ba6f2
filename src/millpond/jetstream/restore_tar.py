"""The older form of a backup, as nats-server made it up to 2.14: its files in a tar archive.

    meta.inf               the stream's configuration and when it was created
    msgs/<n>.blk           the messages, in their order
    obs/<consumer>/meta.inf, o.dat
    meta.sum, msgs/index.db, obs/<consumer>/meta.sum    not needed: the stream around them has checksums
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import msgspec

from millpond.base import limits
from millpond.base.errors import BackupError
from millpond.jetstream.backup_documents import (
    ConsumerDocument,
    ConsumerStateDocument,
    PendingAck,
    Position,
    StateDocument,
)
from millpond.jetstream.go_time import TimeError, parse_time
from millpond.jetstream.pause import AGAIN, COMPLETE, HUNGRY, UNWRITTEN, Pause
from millpond.store.backup.blocks import BlockLoader
from millpond.store.backup.load import Loader
from millpond.store.backup.tar import TarReader

CONSUMER_MAGIC = 22
CONSUMER_VERSIONS = (1, 2)
NS_PER_S = 1_000_000_000


class Meta(msgspec.Struct, frozen=True):
    """What is needed of a stream's meta.inf."""

    name: str = ""
    Created: str = ""


class TarReading:
    """Reads one such backup into the loader's store; `consumers` are what it found, by name.

    `asked` is the state in the request: what it says of the first and last sequence is in no file that is read.
    """

    def __init__(self, tar: TarReader, loader: Loader, name: str, asked: StateDocument) -> None:
        self._tar, self._loader, self._name, self._asked = tar, loader, name, asked
        self._blocks = BlockLoader(loader)
        self.consumers: dict[str, ConsumerDocument] = {}
        self.created_ns = 0
        self._parts: dict[str, dict[str, bytes]] = {}

    def run(self) -> Iterator[Pause]:
        """Goes on each time it is asked to, until nothing is missing. Raises BackupError."""
        while (found := (yield from self._next())) is not None:
            path, size = found
            if path == "meta.inf":
                self._meta((yield from self._content(size)))
            elif path.startswith("msgs/") and path.endswith(".blk"):
                yield from self._block()
            elif path.startswith("obs/") and path.endswith(("/meta.inf", "/o.dat")):
                yield from self._part(path, size)
        if not self.created_ns:
            raise BackupError("the backup has no meta.inf")
        for name, parts in self._parts.items():
            self.consumers[name] = _consumer(name, parts)
            yield Pause.STEP
        self._loader.drop_below(self._asked.first_seq)
        self._loader.pad(max(self._blocks.last_seq, self._asked.last_seq), self._asked.last_ts_ns)

    def _next(self) -> Generator[Pause, None, tuple[str, int] | None]:
        while (found := self._tar.next_file()) is None:
            if self._tar.failure:
                raise BackupError(self._tar.failure)
            if self._tar.over:
                return None
            yield Pause.HUNGRY
        return found[0].decode("utf-8", "replace"), found[1]

    def _content(self, size: int) -> Generator[Pause, None, bytes]:
        if size > limits.ARCHIVE_ENTRY_BYTES_MAX:
            raise BackupError("unexpected content")
        while (content := self._tar.content()) is None:
            if self._tar.failure:
                raise BackupError(self._tar.failure)
            yield Pause.HUNGRY
        return bytes(content)

    def _meta(self, content: bytes) -> None:
        try:
            meta = msgspec.json.decode(content, type=Meta)
            self.created_ns = parse_time(meta.Created.encode())
        except (msgspec.MsgspecError, ValueError, TimeError) as error:
            raise BackupError(f"error in meta.inf: {error}") from None
        if meta.name != self._name:
            raise BackupError("stream names do not match")

    def _block(self) -> Iterator[Pause]:
        while (found := self._blocks.load(self._tar, limits.BACKUP_STEP_BYTES)) != COMPLETE:
            if found not in (HUNGRY, AGAIN, UNWRITTEN):
                raise BackupError(self._loader.failure)
            yield Pause.HUNGRY if found == HUNGRY else Pause.UNWRITTEN if found == UNWRITTEN else Pause.STEP

    def _part(self, path: str, size: int) -> Iterator[Pause]:
        content = yield from self._content(size)
        name, _, part = path.removeprefix("obs/").rpartition("/")
        if name not in self._parts and len(self._parts) >= limits.RESTORE_CONSUMERS_MAX:
            raise BackupError("too many consumers")
        self._parts.setdefault(name, {})[part] = content


def _consumer(name: str, parts: dict[str, bytes]) -> ConsumerDocument:
    if "meta.inf" not in parts:
        raise BackupError(f'error restoring consumer ["{name}"]: it has no meta.inf')
    state = consumer_state(parts["o.dat"]) if parts.get("o.dat") else ConsumerStateDocument()
    return ConsumerDocument(config=msgspec.Raw(parts["meta.inf"]), state=state)


class _Numbers:
    """Varints, one after the other."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at

    def next(self) -> int:
        value = shift = 0
        while True:
            if self._at == len(self._data) or shift > 63:
                raise BackupError("corrupt state file")
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def next_signed(self) -> int:
        value = self.next()
        return (value >> 1) ^ -(value & 1)


def consumer_state(data: bytes) -> ConsumerStateDocument:
    """What an o.dat says. Raises BackupError.

    magic 22 | version | floor and delivered, consumer and stream sequence each | pending | redelivered; in version 1
    the delivered ones count from the floors, and pending messages have no consumer sequence.
    """
    if len(data) < 2 or data[0] != CONSUMER_MAGIC or data[1] not in CONSUMER_VERSIONS:
        raise BackupError("corrupt state file")
    old, numbers = data[1] == 1, _Numbers(data, 2)
    floor_consumer, floor_stream, consumer_seq, stream_seq = (numbers.next() for _ in range(4))
    if old:
        consumer_seq += max(floor_consumer - 1, 0)
        stream_seq += max(floor_stream - 1, 0)
    pending: dict[int, PendingAck] = {}
    count = numbers.next()
    base_s = numbers.next_signed() if count else 0
    for _ in range(count):
        seq = numbers.next() + floor_stream
        own = len(pending) + 1 if old else numbers.next()
        seconds = numbers.next_signed()
        ts_ns = (base_s + seconds if old else base_s - seconds) * NS_PER_S
        pending[seq] = PendingAck(sequence=own + floor_consumer, timestamp=ts_ns)
    redelivered: dict[int, int] = {}
    for _ in range(numbers.next()):
        seq, times = numbers.next() + floor_stream, numbers.next()
        redelivered[seq] = times
    return ConsumerStateDocument(
        delivered=Position(consumer_seq=consumer_seq, stream_seq=stream_seq),
        ack_floor=Position(consumer_seq=floor_consumer, stream_seq=floor_stream),
        pending=pending, redelivered=redelivered,
    )  # fmt: skip
