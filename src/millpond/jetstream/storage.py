"""Where an account's streams live: a shelf per stream, on disk or in memory.

A file stream's shelf is a slot of the store directory: its catalog (the configuration, in two copies), its
log and its consumer journal. A memory stream's shelf is gone when the server stops, as on nats-server.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from millpond.base.errors import StoreError
from millpond.config.options import JetStreamOptions
from millpond.jetstream.error_table import api_error
from millpond.jetstream.stream_config import StreamConfig
from millpond.store.api import Store
from millpond.store.catalog import Catalog
from millpond.store.committer import Committer
from millpond.store.consumer_journal import ConsumerJournal
from millpond.store.directory import CATALOG, StoreDirectory
from millpond.store.memory_store import MemoryStore

log = logging.getLogger("millpond")


class Shelf:
    """One stream's place. `journal` is None in memory."""

    store: Store
    journal: ConsumerJournal | None

    def save(self, payload: bytes, done: Callable[[], None]) -> None:
        """Keep the stream's configuration; `done()` when it is durable."""
        raise NotImplementedError

    def destroy(self, done: Callable[[], None]) -> None:
        """Give the place back; the store was destroyed before. `done()` when nothing is left."""
        raise NotImplementedError


class MemoryShelf(Shelf):
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.journal = None

    def save(self, payload: bytes, done: Callable[[], None]) -> None:
        done()

    def destroy(self, done: Callable[[], None]) -> None:
        done()


class FileShelf(Shelf):
    """A slot of the store directory."""

    def __init__(self, directory: StoreDirectory, slot: Path, committer: Committer) -> None:
        self._directory = directory
        self._slot = slot
        self._catalog = Catalog(str(slot / CATALOG), committer)
        from millpond.store.file_store import FileStore

        self.store = FileStore(str(slot), committer)
        self.journal = ConsumerJournal(str(slot), committer)

    def load(self) -> bytes | None:
        """The configuration that was saved last, None when there is none that can be read."""
        payload: bytes | None = self._catalog.load()
        return payload

    def save(self, payload: bytes, done: Callable[[], None]) -> None:
        self._catalog.save(payload, done)

    def destroy(self, done: Callable[[], None]) -> None:
        self.close()
        self._directory.release_slot(self._slot)
        done()

    def close(self) -> None:
        """Let go of the files; everything stays on disk."""
        assert self.journal is not None
        self.journal.close()
        self._catalog.close()


class Storage:
    """The account's shelves. `tier` 1: answers wait for fdatasync; 0: for write."""

    def __init__(self, options: JetStreamOptions, directory: Path) -> None:
        self.committer = Committer(1 if options.sync == "always" else 0)
        self._directory = StoreDirectory(directory)
        self._shelves: list[FileShelf] = []

    def create(self, config: StreamConfig) -> Shelf:
        """A new, empty place for a stream. Raises StoreError or OSError when the disk refuses."""
        if config.storage == "memory":
            return MemoryShelf()
        raise api_error("JSStreamInvalidConfigF", err="file storage is not supported by this server yet")

    def recover(self) -> Iterator[tuple[bytes, Shelf]]:
        """What is on disk: (configuration as saved, its shelf). A slot that cannot be read is named and left alone."""
        for slot in self._directory.slots():
            try:
                shelf = FileShelf(self._directory, slot, self.committer)
                payload = shelf.load()
            except (StoreError, OSError) as error:
                log.error("stream in %s cannot be opened: %s", slot, error)
                continue
            if payload is None:
                log.error("stream in %s has no readable configuration; its files are left as they are", slot)
                continue
            self._shelves.append(shelf)
            yield payload, shelf

    def close(self) -> None:
        """Write and sync what is left, and let another server have the directory."""
        self.committer.drain()
        for shelf in self._shelves:
            shelf.close()
        self.committer.close()
        self._directory.close()
