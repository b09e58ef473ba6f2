"""What a restore reads: the state first, then consumers, then messages, which go straight into the store."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from millpond.base import limits
from millpond.base.errors import BackupError
from millpond.jetstream.backup_documents import (
    CONSUMERS,
    STATE,
    ConsumerDocument,
    StateDocument,
    read_consumer,
    read_state,
)
from millpond.jetstream.pause import COMPLETE, FAULTY, HUNGRY, UNWRITTEN, Pause
from millpond.jetstream.restore_tar import TarReading
from millpond.store.backup.archive import ArchiveReader
from millpond.store.backup.load import Loader
from millpond.store.backup.tar import TarReader


class Reading:
    """Reads one backup into the loader's store; `consumers` are what it found, by name. `created_ns` is when the
    stream was created, 0 when the backup does not say; `name` and `asked` are the request's, for older backups."""

    def __init__(self, archive: ArchiveReader, loader: Loader, name: str, asked: StateDocument) -> None:
        self.archive, self.loader = archive, loader
        self.state = StateDocument()
        self.consumers: dict[str, ConsumerDocument] = {}
        self.created_ns = 0
        self._stream_name, self._asked = name, asked

    def run(self) -> Iterator[Pause]:
        """Goes on each time it is asked to, until nothing is missing. Raises BackupError."""
        archive = self.archive
        while archive.begins() is None:
            yield Pause.HUNGRY
        if not archive.is_archive:
            older = TarReading(TarReader(archive), self.loader, self._stream_name, self._asked)
            yield from older.run()
            self.consumers, self.created_ns = older.consumers, older.created_ns
            return
        if archive.failure:
            raise BackupError(archive.failure)
        if (yield from self._name()) != STATE:
            raise BackupError("expected state.json first")
        self.state = read_state((yield from self._content("expected state.json contents")))
        self.loader.begin(self.state.first_seq)
        for _ in range(self.state.consumer_count):
            yield from self._consumer()
        yield from self._messages()
        self.loader.pad(self.state.last_seq, 0)

    def _name(self) -> Generator[Pause, None, bytes]:
        """The next entry's."""
        while (head := self.archive.next_name()) is None:
            if self.archive.failure:
                raise BackupError(self.archive.failure)
            yield Pause.HUNGRY
        return bytes(head[0])

    def _content(self, refusal: str) -> Generator[Pause, None, bytes]:
        """The next entry's, once it is there as a whole."""
        while (document := self.archive.next_document()) is None:
            if self.archive.failure:
                raise BackupError(refusal)
            yield Pause.HUNGRY
        return bytes(document[2])

    def _consumer(self) -> Iterator[Pause]:
        found = yield from self._name()
        name = found.removeprefix(CONSUMERS).decode("utf-8", "replace")
        if not found.startswith(CONSUMERS):
            raise BackupError(f'expected consumer, found "{name}"')
        if name in self.consumers or len(self.consumers) >= limits.RESTORE_CONSUMERS_MAX:
            raise BackupError(f'failed to add consumer "{name}": consumer already exists')
        content = yield from self._content(f'failed to read consumer "{name}" state: archive: invalid archive stream')
        self.consumers[name] = read_consumer(name, content)
        yield Pause.STEP

    def _messages(self) -> Iterator[Pause]:
        while (found := self.loader.load(self.archive, limits.BACKUP_STEP_BYTES)) != COMPLETE:
            if found == FAULTY:
                raise BackupError(self.loader.failure)
            yield Pause.HUNGRY if found == HUNGRY else Pause.UNWRITTEN if found == UNWRITTEN else Pause.STEP
