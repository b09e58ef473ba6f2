"""A stream's place, from its creation to its end: on disk a slot of the store directory, in memory just the store.

A new stream's log and journal are written once its catalog and the names that lead to it are on disk, and no former
stream of its name can come back: so what a power cut leaves of a creation holds nothing that was promised. Those of a
hidden place (a restore) are written once its mark is on disk: without a catalog they would be taken for a stream that
lost it.

    created ──first save──> named ──condemned──> `Release`: marked, emptied, free
                                 └─ where the disk refuses that: abandoned, and left to the next start
                    (or to the next stream of its name, which may not be there before)
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from millpond.base import limits
from millpond.base.errors import StoreError
from millpond.jetstream.error_table import api_error
from millpond.store.api import Store
from millpond.store.catalog import Catalog
from millpond.store.committer import tell_all
from millpond.store.consumer_journal import ConsumerJournal
from millpond.store.directory import CATALOG, mark_anew, mark_released, remove_files, reveal
from millpond.store.fetcher import Fetcher
from millpond.store.file_store import FileStore
from millpond.store.memory_store import MemoryStore
from millpond.store.names import Names
from millpond.store.segment import segment_number
from millpond.store.space import is_full

if TYPE_CHECKING:
    from millpond.jetstream.storage import Storage

log = logging.getLogger("millpond")

InSteps = Callable[[Callable[[], bool]], None]
"""Calls a function in every turn, until it says False."""
Done = Callable[[str], None]
"""Is told once what became of it: "" when it is durable, else why it is not."""


class Shelf:
    """One stream's place. `journal` is None in memory."""

    store: Store
    journal: ConsumerJournal | None

    def check_room(self) -> None:
        """Can a configuration be saved? Raises the API's error when the disk has no room for it, or this process no
        descriptor, or when a save has failed before."""

    def save(self, payload: bytes, done: Done) -> None:
        """Keep the stream's configuration. Raises StoreError when that has failed before, OSError when this process has
        no descriptor for it: nothing has changed."""
        raise NotImplementedError

    def when_kept(self, done: Done) -> None:
        """`done` as for the newest save."""
        done("")

    def reveal(self, done: Done) -> None:
        """A hidden place is complete: it stays from here on."""
        done("")

    def condemn(self) -> None:
        """The place is to be given back: the next start would do it. Raises OSError, and nothing has changed."""

    def give_back(self, certain: Done, done: Done, in_steps: InSteps) -> None:
        """Of a condemned place. `certain` when that is durable: it is to destroy the store; `done` when nothing is
        left, or when it failed."""
        certain("")
        done("")

    def abandon(self, certain: Done, in_steps: InSteps) -> None:
        """Nobody wants it: it is given back. What the disk refuses to condemn stays where it is, closed."""
        self.give_back(certain, nobody, in_steps)


class MemoryShelf(Shelf):
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.journal = None

    def save(self, payload: bytes, done: Done) -> None:
        done("")


def nobody(failure: str) -> None:
    """Wants to know."""


class All:
    """Tells `done`, and who comes later, when it was told `count` times, with the first failure of these."""

    def __init__(self, count: int, done: Done) -> None:
        self._left, self._failure = count, ""
        self.waiting = [done]

    def __call__(self, failure: str) -> None:
        self._failure = self._failure or failure
        self._left -= 1
        if self._left <= 0:
            waiting, self.waiting = self.waiting, []
            tell_all(waiting, self._failure)

    def cut(self) -> None:
        """What it is about has become pointless: who waits is told now."""
        self._left = 1
        self("")


class FileShelf(Shelf):
    """A slot of the store directory. The catalog can be read at once, the rest is there after `open`."""

    def __init__(
        self, storage: Storage, slot: Path, name: str, named: bool, present: list[str] | None = None
    ) -> None:
        """`name`: the stream's, once it is known. `named`: the slot's own name is on disk. present: the names in the
        slot, until `open`; None: whoever needs them looks."""
        self.storage = storage
        self.slot, self.name = slot, name
        self._named, self._is_condemned = named, False
        self._present = present
        self._creation: All | None = None
        """The first save, until it is done."""
        self.names = Names(str(slot), storage.committer)
        self._catalog = Catalog(f"{slot}/{CATALOG}", storage.committer, not named, _of_one_stream)
        self.journal = None

    def fetch_by(self, fetcher: Fetcher) -> None:
        """It will be opened soon. Its log is not in the kernel's memory: pages are given back when they are synced."""
        for name in self._present or ():
            if segment_number(name) is not None:
                fetcher.fetch(str(self.slot), name)

    def open(self) -> FileShelf:
        """Bring back the log and the consumers, to be settled before they are believed. Raises StoreError or OSError
        when they cannot be read."""
        present, self._present = self._present, None
        storage = self.storage
        self.store = FileStore(str(self.slot), storage.committer, storage.read_cache, present=present, wait=False)
        try:
            identity = self.store.log.identity
            self.journal = ConsumerJournal(str(self.slot), storage.committer, identity, self.store, present)
            self.store.log.identity = self.journal.identity
        except BaseException:
            self.store.close()
            raise
        return self

    def settle(self) -> None:
        """What `open` has found is on disk. Raises OSError when it cannot be put there: it is closed."""
        try:
            self.store.log.settle()
        except OSError:
            self.put_away()
            raise

    def hold(self) -> None:
        """Write nothing but the catalog until the first save, or the mark of a hidden place, is on disk."""
        assert self.journal is not None, "open() comes first"
        self.store.hold()
        self.journal.hold()

    def go_on_when_marked(self) -> None:
        """A hidden place: a log and a journal without a catalog must not be there without the mark, nor be believed
        where the slot's own name is not on disk: who asks later would not be told."""
        parts = All(2, self._marked)
        self.names.keep(parts)
        self.storage.names.keep(parts)

    def _marked(self, failure: str) -> None:
        assert self.journal is not None, "open() comes first"
        if failure:
            self.store.fail(failure)
            return
        self.store.go_on()
        self.journal.go_on()

    def load(self) -> bytes | None:
        """The configuration that was saved last, None when there is none that can be read."""
        payload: bytes | None = self._catalog.load(self._present)
        return payload

    def check_room(self) -> None:
        self.storage.check_room()
        try:
            self._catalog.prepare()
        except (StoreError, OSError) as error:
            raise api_error("JSStreamUpdateErrF", err=str(error)) from error

    def save(self, payload: bytes, done: Done) -> None:
        if self._named:
            self._catalog.save(payload, done)
            return
        if self._creation is not None:
            both = All(2, done)
            self._catalog.save(payload, both)
            self._creation.waiting.append(both)
            return
        parts = All(3, self._saved_first)
        parts.waiting.append(done)
        self._catalog.save(payload, parts)
        self._creation = parts
        self.storage.names.keep(parts)
        self.after_deletions(parts)

    def _saved_first(self, failure: str) -> None:
        self._creation = None
        if not failure:
            assert self.journal is not None, "open() comes first"
            self._named = True
            self.store.go_on()
            self.journal.go_on()

    def when_kept(self, done: Done) -> None:
        if self._creation is not None:
            self._creation.waiting.append(done)
        else:
            self._catalog.when_kept(done)

    def after_deletions(self, done: Done) -> None:
        """`done` when no stream that had this one's name can come back."""
        former, doubtful = self.storage.deletions_of(self.name), self.storage.in_doubt(self.name)
        parts = All(1 + len(former) + len(doubtful), done)
        for release in former:
            release.when_marked.append(parts)
        for shelf in doubtful:
            shelf.condemn_anew(parts)
        parts("")

    def reveal(self, done: Done) -> None:
        """Its stream may be older than one of its name that was deleted, before or meanwhile; that one would stay."""

        def revealed(failure: str) -> None:
            if failure:
                done(failure)
            else:
                self.after_deletions(done)

        def certain(failure: str) -> None:
            if not failure and not self._is_condemned:
                try:
                    reveal(self.slot, self.storage.disk)
                except OSError as error:
                    failure = str(error)
            if failure:
                done(failure)
            else:
                self.names.keep(revealed)

        self.after_deletions(certain)

    def condemn(self) -> None:
        """A removal may spend what is set aside."""
        space = self.storage.committer.space
        while True:
            try:
                mark_released(self.slot, self.storage.disk)
                self._is_condemned = True
                return
            except OSError as error:
                if not is_full(error):
                    raise
                space.exhausted(error)
                if not space.give(limits.RESERVE_STEP_BYTES):
                    raise

    def condemn_anew(self, done: Done) -> None:
        """The disk has refused the mark, or a sync of its name. `done` when it is durable, or refused again."""

        def kept(failure: str) -> None:
            if not failure:
                self.storage.is_certain(self)
            done(failure)

        try:
            mark_anew(self.slot, self.storage.disk)
        except OSError as error:
            done(f"cannot remove {self.slot}: {error.strerror}")
        else:
            self.names.keep(kept)

    def give_back(self, certain: Done, done: Done, in_steps: InSteps) -> None:
        def marked(failure: str) -> None:
            if failure:
                self.storage.may_come_back(self)
            self._end(certain, failure)

        self.storage.release(self, Release(self, marked, done, in_steps))

    def abandon(self, certain: Done, in_steps: InSteps) -> None:
        try:
            self.condemn()
        except OSError as error:
            log.error("what is left of stream %s in %s cannot be removed: %s", self.name, self.slot, error)
            self._is_condemned = True
            self.storage.leave(self)
            self.storage.may_come_back(self)
            self._end(certain, "")
        else:
            self.give_back(certain, nobody, in_steps)

    def _end(self, certain: Done, failure: str) -> None:
        """Nothing is written any more; who waits for a save is told, before who waits for the end."""
        tell_all([self._cut, certain, self._discard], failure)

    def _cut(self, failure: str) -> None:
        if self._creation is not None:
            self._creation.cut()

    def _discard(self, failure: str) -> None:
        if self.journal is not None:
            self.journal.discard()
        self._catalog.discard()

    def put_away(self) -> None:
        """Close what `open` has brought back; the catalog stays."""
        self.store.close()
        if self.journal is not None:
            self.journal.close()

    def close(self) -> None:
        """Let go of the files; everything stays on disk. The store is closed by its stream."""
        if self.journal is not None:
            self.journal.close()
        self._catalog.close()


def condemn(shelf: Shelf, name: str) -> None:
    """The same for the stream of that name. Raises the API's error when the disk refuses."""
    try:
        shelf.condemn()
    except OSError as error:
        log.error("stream %s cannot be deleted: %s", name, error)
        raise api_error("JSStreamDeleteErrF", err=str(error)) from error


class _Named(msgspec.Struct):
    name: str


class _Identity(msgspec.Struct):
    config: _Named
    created: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


_IDENTITY: Final = msgspec.json.Decoder(_Identity)


def _of_one_stream(one: bytes, other: bytes) -> bool:
    """Are these two configurations of one stream? Its name and the time of its creation stay."""
    return name_and_time(one) == name_and_time(other)


def name_and_time(payload: bytes) -> tuple[str, int]:
    """The name in a saved configuration, and when the stream was created; an empty one when it cannot be read."""
    try:
        found = _IDENTITY.decode(payload)
    except (msgspec.MsgspecError, ValueError):
        return "", 0
    return found.config.name, found.created


class Release:
    """A deleted stream's slot, marked, on its way to the next one.

    ──names durable──> `marked`, its files go, a few in each turn, the blocks of large ones beside the loop
    ──all have gone──> `done` ──names durable──> the mark goes: free
    """

    def __init__(self, shelf: FileShelf, marked: Done, done: Done, in_steps: InSteps) -> None:
        self._storage, self._names, self.slot, self.name = shelf.storage, shelf.names, shelf.slot, shelf.name
        self._tell_marked, self._done, self._in_steps = marked, done, in_steps
        self._committer = shelf.storage.committer
        self._closer = self._committer.closer
        self._files = remove_files(self.slot, shelf.storage.disk, self._closer.close_file)
        self.is_marked = self._is_over = False
        self.when_marked: list[Done] = []
        """Who may not be there before this stream is gone for ever: the next one of its name."""
        parts = All(2, self._marked)
        self._names.keep(parts)
        shelf.after_deletions(parts)               # nor may a former stream of its name come back

    def _marked(self, failure: str) -> None:
        self.is_marked = True
        tell_all([self._tell_marked, *self.when_marked, self._go_on], failure)

    def _go_on(self, failure: str) -> None:
        if failure:
            log.error("the stream in %s may be there again after a restart: %s", self.slot, failure)
            self._storage.released(self, free=False)
            self._tell(failure)
            return
        noting = self._committer.noting()          # a note in this directory would keep it from being removed
        parts = All(1 + len(noting), lambda _: self._resume())
        for notes in noting:
            notes.when_written(parts)
        parts("")

    def _resume(self) -> None:
        if self._step():
            self._in_steps(self._step)

    def _step(self) -> bool:
        if self._is_over:
            return False
        if self._closer.is_full():
            self._closer.when_closed(self._resume)
            return False
        try:
            if next(self._files, False):
                return True
        except OSError as error:
            log.error("files of a deleted stream in %s stay there until a restart: %s", self.slot, error)
            self._storage.released(self, free=False)
            self._tell("")
        else:
            self._closer.when_closed(self._closed)
        return False

    def _closed(self) -> None:
        if not self._is_over:
            self._names.keep(self._emptied)
            self._tell("")

    def _emptied(self, failure: str) -> None:
        self._storage.released(self, free=not failure)

    def _tell(self, failure: str) -> None:
        self._is_over = True
        done, self._done = self._done, nobody
        done(failure)

    def finish(self, finish: Callable[[Path], None]) -> None:
        """At once: what is left to do is `finish(slot)`, or the next start's."""
        assert self.is_marked, "the committer was drained"
        try:
            finish(self.slot)
        except OSError as error:
            log.error("files of a deleted stream in %s stay there until a restart: %s", self.slot, error)
        self._tell("")
