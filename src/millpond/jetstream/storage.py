"""Where an account's streams live: a shelf per stream, on disk or in memory.

A file stream's shelf is a slot of the store directory: its catalog (the configuration, in two copies), its
log and its consumer journal. A memory stream's shelf is gone when the server stops, as on nats-server.
"""

from __future__ import annotations

import json
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
from millpond.store.directory import CATALOG, StoreDirectory, mark_released, reveal
from millpond.store.file_store import FileStore
from millpond.store.memory_store import MemoryStore
from millpond.store.read_cache import ReadCache

log = logging.getLogger("millpond")


class Shelf:
    """One stream's place. `journal` is None in memory."""

    store: Store
    journal: ConsumerJournal | None

    def save(self, payload: bytes, done: Callable[[], None]) -> None:
        """Keep the stream's configuration; `done()` when it is durable."""
        raise NotImplementedError

    def reveal(self) -> None:
        """A hidden place is complete: it stays from here on."""

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
    """A slot of the store directory. The catalog can be read at once, the rest is there after `open`."""

    def __init__(self, storage: Storage, slot: Path) -> None:
        self._storage = storage
        self._slot = slot
        self._catalog = Catalog(str(slot / CATALOG), storage.committer)
        self.journal = None

    def open(self) -> FileShelf:
        """Bring back the log and the consumers. Raises StoreError or OSError when they cannot be read."""
        self.store = FileStore(str(self._slot), self._storage.committer, self._storage.read_cache)
        try:
            self.journal = ConsumerJournal(str(self._slot), self._storage.committer)
        except BaseException:
            self.store.close()
            raise
        return self

    def load(self) -> bytes | None:
        """The configuration that was saved last, None when there is none that can be read."""
        payload: bytes | None = self._catalog.load()
        return payload

    def save(self, payload: bytes, done: Callable[[], None]) -> None:
        self._catalog.save(payload, done)

    def reveal(self) -> None:
        reveal(self._slot)

    def destroy(self, done: Callable[[], None]) -> None:
        self.close()
        self._storage.release(self, self._slot)
        done()

    def close(self) -> None:
        """Let go of the files; everything stays on disk. The store is closed by its stream."""
        if self.journal is not None:
            self.journal.close()
        self._catalog.close()


class Storage:
    """An account's shelves. `committer` writes for all of them, `read_cache` reads; the server watches both.

    first: the storage of another account of the same server, whose committer, cache and lock this one uses; it is
    closed after this one.
    """

    def __init__(
        self, options: JetStreamOptions, directory: Path, account: str = "$G", first: Storage | None = None
    ) -> None:
        self._is_first = first is None
        self.committer: Committer = first.committer if first is not None else Committer(options.sync)
        self.read_cache: ReadCache = first.read_cache if first is not None else ReadCache()
        self._directory = StoreDirectory(directory, account, locked=first is not None)
        self._shelves: list[FileShelf] = []
        self.unrecovered: list[str] = []
        """What is on disk and could not be brought back: stream names where they could be read, else directories."""

    def create(self, config: StreamConfig, hidden: bool = False) -> Shelf:
        """A new, empty place for a stream; one that is `hidden` is gone at the next start unless it was revealed.
        Raises the API's error when the disk refuses."""
        if config.storage == "memory":
            return MemoryShelf()
        try:
            slot = self._directory.create_slot()
            if hidden:
                mark_released(slot)
            shelf = FileShelf(self, slot).open()
        except (StoreError, OSError) as error:
            log.error("no place for stream %s in %s: %s", config.name, self._directory.streams, error)
            raise api_error("JSStorageResourcesExceededErr") from error
        self._shelves.append(shelf)
        return shelf

    def recover(self) -> Iterator[tuple[bytes, Shelf]]:
        """What is on disk: (configuration as saved, its shelf). A slot that cannot be read is named and left alone."""
        for slot in self._directory.slots():
            payload = None
            try:
                shelf = FileShelf(self, slot)
                payload = shelf.load()
                if payload is None:
                    log.error("stream in %s has no readable configuration; its files are left as they are", slot)
                    self.unrecovered.append(slot.name)
                    continue
                shelf.open()
            except (StoreError, OSError) as error:
                log.error("stream in %s cannot be opened; its files are left as they are: %s", slot, error)
                self.unrecovered.append(_stream_name(payload) or slot.name)
                continue
            self._shelves.append(shelf)
            yield payload, shelf

    def release(self, shelf: FileShelf, slot: Path) -> None:
        """A deleted stream's slot becomes free; its files are closed."""
        self._shelves.remove(shelf)
        self._directory.release_slot(slot)

    def close(self) -> None:
        """Write and sync what is left, and let another server have the directory."""
        self.committer.drain()
        for shelf in self._shelves:
            shelf.close()
        if self._is_first:
            self.read_cache.close()
            self.committer.close()
        self._directory.close()


def _stream_name(payload: bytes | None) -> str:
    """The name in a saved configuration; empty when there is none that can be read."""
    try:
        return str(json.loads(payload or b"{}")["config"]["name"])
    except (ValueError, LookupError, TypeError):
        return ""
