"""Where an account's streams live: a shelf per stream, on disk or in memory.

A file stream's shelf is a slot of the store directory: its catalog (the configuration, in two copies), its
log and its consumer journal. A memory stream's shelf is gone when the server stops, as on nats-server.

Nothing here waits for the disk but the start and the stop.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from millpond.base import limits
from millpond.base.errors import ApiError, StoreError
from millpond.config.options import JetStreamOptions
from millpond.jetstream.error_table import api_error
from millpond.jetstream.shelf import All, Done, FileShelf, InSteps, MemoryShelf, Release, Shelf, name_and_time, nobody
from millpond.jetstream.storage_room import StorageRoom
from millpond.jetstream.stream_config import StreamConfig
from millpond.store.committer import Committer
from millpond.store.directory import StoreDirectory, is_unfinished, mark_released
from millpond.store.disk import REAL, Disk
from millpond.store.fetcher import Fetcher
from millpond.store.names import Names
from millpond.store.read_cache import ReadCache
from millpond.store.space import Space, is_full

log = logging.getLogger("millpond")

NO_LIMIT: Final = -1
"""Of a StorageRoom."""


class Storage:
    """An account's shelves. `committer` writes for all of them, `read_cache` reads; the server watches both.

    first: the storage of another account of the same server, whose committer, cache, disk and lock this one uses; it is
    closed after this one. Not `has_streams`: it is there for such others only.
    """

    def __init__(
        self, options: JetStreamOptions, directory: Path, account: str = "$G", first: Storage | None = None,
        disk: Disk = REAL, *, has_streams: bool = True,
    ) -> None:  # fmt: skip
        self._is_first = first is None
        self.committer: Committer = first.committer if first is not None else Committer(options.sync, disk)
        self.read_cache: ReadCache = first.read_cache if first is not None else ReadCache(disk=disk)
        self.rooms: dict[str, StorageRoom] = (
            first.rooms if first is not None else {"memory": StorageRoom(NO_LIMIT), "file": StorageRoom(NO_LIMIT)}
        )
        """What the streams of all accounts hold, by kind of storage."""
        self.disk: Disk = self.committer.disk
        self._directory = StoreDirectory(directory, account, first is not None, self.disk, has_streams)
        self.names = Names(str(self._directory.streams), self.committer)
        """Of the slots."""
        if self._is_first:
            self.committer.space = Space(directory / "jetstream", disk=self.disk)
        self._shelves: list[FileShelf] = []
        self._releasing: list[Release] = []
        self._when_released: list[Callable[[], None]] = []
        self._left_alone: list[FileShelf] = []
        self._in_doubt: list[FileShelf] = []
        """Of streams that are gone until a power cut, which may bring them back."""
        self.found = 0
        """How many streams `recover` brings back."""
        self.unrecovered: list[str] = []
        """What is on disk and could not be brought back: stream names where they could be read, else directories."""

    def create(self, config: StreamConfig, hidden: bool = False) -> Shelf:
        """A new, empty place for a stream; one that is `hidden` is gone at the next start unless it was revealed.
        Raises the API's error when the disk refuses."""
        if config.storage == "memory":
            return MemoryShelf()
        self.check_room()
        try:
            slot = self._directory.create_slot()
        except OSError as error:
            raise self._no_place(config, error) from error
        try:
            if hidden:
                mark_released(slot, self.disk)
            shelf = FileShelf(self, slot, config.name, named=False).open()
        except (StoreError, OSError) as error:
            with contextlib.suppress(OSError):
                self._directory.free(slot)
            raise self._no_place(config, error) from error
        shelf.hold()
        if hidden:
            shelf.go_on_when_marked()
        self._shelves.append(shelf)
        return shelf

    def _no_place(self, config: StreamConfig, error: Exception) -> ApiError:
        log.error("no place for stream %s in %s: %s", config.name, self._directory.streams, error)
        if is_full(error):
            return api_error("JSStorageResourcesExceededErr")
        return api_error("JSStreamStoreFailedF", err=str(error))

    def check_room(self) -> None:
        """Is there room for what a stream's configuration takes? Raises the API's error when there is not."""
        try:
            self.committer.space.check(limits.CATALOG_ROOM_BYTES)
        except OSError as error:
            raise api_error("JSStorageResourcesExceededErr") from error

    def recover(self) -> Iterator[tuple[bytes, FileShelf]]:
        """What is on disk: (configuration as saved, its shelf, which is not open). A slot that cannot be read is named
        and left alone."""
        found = self._found()
        self.found = len(found)
        found.reverse()
        fetcher = Fetcher(self.disk)
        try:
            while found:  # what is left to do takes less memory than what was done
                if len(found) > limits.FETCHED_AHEAD:
                    found[-1 - limits.FETCHED_AHEAD][1].fetch_by(fetcher)
                payload, shelf = found.pop()
                self._shelves.append(shelf)
                yield payload, shelf
        finally:
            fetcher.close()

    def _load(self, shelf: FileShelf) -> bytes | None:
        """Its configuration; an empty one when that cannot be read: then it is left alone."""
        try:
            return shelf.load()
        except (StoreError, OSError) as error:
            self._leave_alone(shelf, error)
            return b""

    def _found(self) -> list[tuple[bytes, FileShelf]]:
        """The slots with a configuration that can be read. What a creation or a deletion has left behind is removed.

        Two streams of one name: a power cut came before the deletion of the older one was durable.
        """
        found: dict[str, tuple[int, bytes, FileShelf]] = {}
        for slot, present in self._directory.take_found():
            shelf = FileShelf(self, slot, "", True, present)
            payload = self._load(shelf)
            if payload is None:
                self._look_after(shelf)
            if not payload:
                continue
            shelf.name, created_ns = name_and_time(payload)
            if not shelf.name:
                self._leave_alone(shelf, "its configuration does not say which stream it is")
                continue
            row, other = (created_ns, payload, shelf), found.get(shelf.name)
            if other is not None:
                (*_, older), row = sorted((row, other), key=lambda each: each[0])
                log.warning("stream %s in %s was deleted: what is left of it is removed", shelf.name, older.slot)
                self._free(older.slot, self._directory.remove)
            found[shelf.name] = row
        return [(payload, shelf) for _, payload, shelf in found.values()]

    def _look_after(self, shelf: FileShelf) -> None:
        """No configuration can be read."""
        try:
            unfinished = is_unfinished(shelf.slot, self.disk)
        except OSError:
            unfinished = False
        if unfinished:
            log.warning("the stream in %s was never created: what is left of it is removed", shelf.slot)
            self._free(shelf.slot, self._directory.remove)
        else:
            self._leave_alone(shelf, "it has no readable configuration")

    def open(self, shelf: FileShelf) -> bool:
        """Brings back what `recover` has found; False when it cannot be read."""
        try:
            shelf.open()
        except (StoreError, OSError) as error:
            self.forget(shelf, error)
            return False
        return True

    def settle(self, shelf: FileShelf) -> bool:
        """Waits until what `open` has found is on disk; False when it cannot be put there."""
        try:
            shelf.settle()
        except OSError as error:
            self.forget(shelf, error)
            return False
        return True

    def forget(self, shelf: FileShelf, why: object) -> None:
        """What `recover` has found is no stream that could run here."""
        self._leave_alone(shelf, why)
        self.leave(shelf)
        shelf.close()

    def _leave_alone(self, shelf: FileShelf, why: object) -> None:
        log.error("stream in %s cannot be opened; its files are left as they are: %s", shelf.slot, why)
        self._left_alone.append(shelf)
        self.unrecovered.append(_shown(shelf))

    def leave(self, shelf: FileShelf) -> None:
        """Until a restart nobody has to do with it any more."""
        self._shelves.remove(shelf)

    def release(self, shelf: FileShelf, release: Release) -> None:
        """A deleted stream's slot is being emptied."""
        if shelf in self._shelves:
            self._shelves.remove(shelf)
        self._releasing.append(release)

    def deletions_of(self, name: str) -> list[Release]:
        """Of streams of this name, those that a power cut could still undo."""
        return [each for each in self._releasing if each.name == name and not each.is_marked]

    def may_come_back(self, shelf: FileShelf) -> None:
        """Its stream was deleted, and the disk has refused to make that certain."""
        if shelf not in self._in_doubt:
            self._in_doubt.append(shelf)

    def in_doubt(self, name: str) -> list[FileShelf]:
        """Of streams of this name, those that may come back."""
        return [each for each in self._in_doubt if each.name == name]

    def is_certain(self, shelf: FileShelf) -> None:
        """It is certain now."""
        if shelf in self._in_doubt:                # another one may have asked at the same time
            self._in_doubt.remove(shelf)

    def released(self, release: Release, free: bool) -> None:
        """That is over. Not `free`: the next start looks after it."""
        self._releasing.remove(release)
        if free:
            self._free(release.slot, self._directory.free)
        self._tell_released()

    def when_released(self, done: Callable[[], None]) -> None:
        """`done()` when no slot is being emptied."""
        self._when_released.append(done)
        self._tell_released()

    def _tell_released(self) -> None:
        while self._when_released and not self._releasing:
            self._when_released.pop(0)()

    def _free(self, slot: Path, how: Callable[[Path], None]) -> None:
        try:
            how(slot)
        except OSError as error:
            log.error("%s is not used again until a restart: %s", slot, error)

    def remove_unrecovered(self, done: Done, in_steps: InSteps) -> None:
        """Remove what `recover` has left alone, a few files in each turn. `done(failure)` when nothing of it is left,
        or when something has to be."""
        shelves, self._left_alone = self._left_alone, []
        parts = All(1 + len(shelves), done)
        for shelf in shelves:
            self._remove_one(shelf, parts, in_steps)
        parts("")

    def _remove_one(self, shelf: FileShelf, done: Done, in_steps: InSteps) -> None:
        def removed(failure: str) -> None:
            if failure:
                self._left_alone.append(shelf)
            else:
                self.unrecovered.remove(_shown(shelf))
            done(failure)

        try:
            shelf.condemn()
        except OSError as error:
            log.error("%s cannot be removed: %s", shelf.slot, error)
            removed(str(error))
        else:
            shelf.give_back(nobody, removed, in_steps)

    def remove_all(self, done: Done, in_steps: InSteps) -> None:
        """The same for everything on disk, of an account whose streams do not run."""
        assert not self._shelves, "somebody has them"
        for slot in self._directory.slots():
            shelf = FileShelf(self, slot, "", named=True)
            self._left_alone.append(shelf)
            self.unrecovered.append(_shown(shelf))
        self.remove_unrecovered(done, in_steps)

    def remove_folders(self) -> None:
        """The account's part of the directory, as far as it is empty."""
        self._directory.remove_folders()

    def close(self) -> None:
        """Write and sync what is left, and let another server have the directory."""
        self.committer.drain()
        while self._releasing:
            self._releasing.pop().finish(self._directory.finish_release)
            self.committer.drain()
        self._tell_released()
        for shelf in self._shelves:
            shelf.close()
        if self._is_first:
            self.read_cache.close()
            self.committer.close()
            self.committer.space.close()
        self._directory.close()


def _shown(shelf: FileShelf) -> str:
    return shelf.name or shelf.slot.name

