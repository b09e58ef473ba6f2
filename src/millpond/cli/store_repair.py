"""`millpond store repair DIR`: a store that a start takes without a complaint, and what was lost, named.

    lock ──> survey ──> damaged files are copied aside ──> the server's own recovery ──> the log is renewed, catalog and
    journal are written anew ──> orderly stop ──> files of nobody are moved aside ──> survey

There is no second way to read a store here: what a start makes of the damage is what stays (store/recovery.pyx), and
compaction takes the damaged segments out of the log (store/renewal.pyx). So a crash in the middle is one of a server
that compacts. Streams without a finding are not opened.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from millpond.base.clock import Clock
from millpond.base.errors import StoreError, StoreInUseError
from millpond.broker.broker import Broker
from millpond.cli.store_survey import (
    FLIPPED,
    LOG,
    Finding,
    StoreReport,
    StreamReport,
    base_of,
    slots,
    survey,
    survey_slot,
)
from millpond.config.options import JetStreamOptions, Options
from millpond.jetstream.engine import Engine
from millpond.jetstream.shelf import FileShelf
from millpond.jetstream.storage import Storage
from millpond.store import consumer_file
from millpond.store.directory import CATALOG, LOCK, WITNESS, sync_directory
from millpond.store.file_store import FileStore
from millpond.store.renewal import make_plain, read_all, renew

REPORT: Final = "report.json"
ALWAYS_KEPT: Final = (f"{CATALOG}.0", f"{CATALOG}.1", *consumer_file.NAMES, WITNESS)
"""A repair writes these anew whatever the damage."""
BLOCK_BYTES: Final = 4096
REPAIRED, LEFT, SET_ASIDE = "repaired", "left as it is", "set aside"

log = logging.getLogger("millpond")


class Repaired(msgspec.Struct):
    """What became of one stream. `lost`: ranges of sequences, both ends included. `said`: by the server's recovery."""

    account: str
    slot: str
    name: str
    outcome: str = LEFT
    lost: list[tuple[int, int]] = msgspec.field(default_factory=list)
    messages: int = 0
    first_seq: int = 0
    last_seq: int = 0
    kept: list[str] = msgspec.field(default_factory=list)
    found: list[Finding] = msgspec.field(default_factory=list)
    said: list[str] = msgspec.field(default_factory=list)


class RepairReport(msgspec.Struct):
    """`sound`: the store is, now (dry run: it was before). `keep`: where the damaged files are; "": there are none."""

    directory: str
    sound: bool
    dry_run: bool
    keep: str
    streams: list[Repaired]


def repair(directory: Path, keep: Path | None, set_aside: bool) -> RepairReport:
    """Raises StoreInUseError, StoreError, OSError."""
    base = base_of(directory)
    if base.name != "jetstream":
        raise StoreError(f"{base} is not called jetstream: a server would not find it there. Rename it first")
    owner = base.stat().st_uid
    if owner != os.geteuid():
        raise StoreError(f"{base} belongs to user {owner}: repair it as that user, or its server may not write there")
    work = _Work(base, keep or base.parent / f"damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}", set_aside)
    try:
        return work.run()
    finally:
        work.close()


def dry_run(directory: Path, set_aside: bool) -> RepairReport:
    """The same on a copy of the damaged streams. Needs room for them in the temporary directory."""
    before = survey(directory)
    if before.in_use_by:
        raise StoreInUseError(f"store directory {directory} is in use by process {before.in_use_by}. Stop it first")
    base = base_of(directory)
    with tempfile.TemporaryDirectory(prefix="millpond-repair-") as folder:
        copied = Path(folder) / "store" / "jetstream"
        copied.mkdir(parents=True)
        (copied / LOCK).touch()
        for _, slot in _wanting(before, base):
            shutil.copytree(slot, copied / slot.relative_to(base))
        report = repair(copied.parent, Path(folder) / "keep", set_aside)
        for done in report.streams:
            done.said = [line.replace(str(copied), str(base)) for line in done.said]
    return msgspec.structs.replace(report, directory=str(directory), dry_run=True, sound=before.sound, keep="")


def _wanting(report: StoreReport, base: Path) -> Iterator[tuple[StreamReport, Path]]:
    """The streams with something to repair, and their slots."""
    folders = {(stream.account, stream.slot): stream for stream in report.streams}
    for account, slot in slots(base):
        stream = folders.get((account, slot.name))
        if stream is not None and (stream.damage or any(note.mendable for note in stream.notes)):
            yield stream, slot


class _Chosen(Storage):
    """An account's storage that opens only some of its slots."""

    def __init__(self, root: Path, account: str, first: Storage, chosen: set[str]) -> None:
        super().__init__(_options(root), root, account, first)
        self._chosen = chosen
        self.shelves: dict[str, FileShelf] = {}
        """By slot."""

    def recover(self) -> Iterator[tuple[bytes, FileShelf]]:
        for payload, shelf in super().recover():
            if shelf.slot.name in self._chosen:
                self.shelves[shelf.slot.name] = shelf
                yield payload, shelf


def _options(root: Path) -> JetStreamOptions:
    return JetStreamOptions(store_dir=str(root))


class _Said(logging.Handler):
    """What the store logs at WARNING and above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def of(self, slot: Path) -> list[str]:
        return [line for line in self.lines if any(f"{slot}{behind}" in line + " " for behind in "/: ")]


class _Work:
    """One repair of a directory, which nobody else has meanwhile."""

    def __init__(self, base: Path, keep: Path, set_aside: bool) -> None:
        self._base, self._root, self._keep, self._set_aside = base, base.parent, keep, set_aside
        self._said = _Said()
        log.addHandler(self._said)
        self._propagates, log.propagate = log.propagate, False
        self._results: dict[tuple[str, str], Repaired] = {}
        try:
            self._holder = Storage(_options(self._root), self._root)
        except BaseException:
            self._unlisten()
            raise

    def close(self) -> None:
        self._holder.close()
        self._unlisten()

    def _unlisten(self) -> None:
        log.removeHandler(self._said)
        log.propagate = self._propagates

    def run(self) -> RepairReport:
        before = survey(self._root)
        for everything in (False, True):
            wanting = list(_wanting(before, self._base))
            if not wanting:
                break
            self._round(wanting, everything)
            before = survey(self._root)
        for stream in before.streams:
            done = self._results.get((stream.account, stream.slot))
            if done is not None and done.outcome == REPAIRED:
                done.messages, done.first_seq, done.last_seq = stream.messages, stream.first_seq, stream.last_seq
        keep = str(self._keep) if self._results else ""
        report = RepairReport(str(self._root), before.sound, False, keep, list(self._results.values()))
        if self._results:
            self._write(report)
        return report

    def _round(self, wanting: list[tuple[StreamReport, Path]], everything: bool) -> None:
        for stream, slot in wanting:
            self._keep_copies(stream, slot)
        for account in sorted({stream.account for stream, _ in wanting}):
            self._repair_account(account, [row for row in wanting if row[0].account == account], everything)
        for stream, slot in wanting:
            done = self._results[stream.account, stream.slot]
            done.said = list(dict.fromkeys([*done.said, *self._said.of(slot)]))
            if done.outcome == REPAIRED:
                self._move_strangers(slot, done)
            elif done.outcome == LEFT and self._set_aside:
                self._move_slot(slot, done)

    # --- what is kept ---

    def _place(self, slot: Path) -> Path:
        return self._keep / slot.relative_to(self._base)

    def _keep_copies(self, stream: StreamReport, slot: Path) -> None:
        """Of the files that are damaged, or that will be written anew, as they were when the repair began."""
        key = stream.account, stream.slot
        done = self._results.setdefault(key, Repaired(*key, stream.name))
        done.found += [row for row in (*stream.damage, *stream.notes) if row not in done.found]
        names = {finding.file for finding in (*stream.damage, *stream.notes)} | set(ALWAYS_KEPT)
        if LOG + "*" in names:
            names |= {path.name for path in slot.iterdir() if path.name.startswith(LOG)}
        target = self._place(slot)
        target.mkdir(parents=True, exist_ok=True)
        for name in sorted(names):
            if (slot / name).is_file() and not (target / name).exists():
                _copy(slot / name, target / name)
                done.kept.append(name)
        self._sync_kept(target)

    def _sync_kept(self, target: Path) -> None:
        while target != self._keep.parent:
            sync_directory(target)
            target = target.parent
        with contextlib.suppress(OSError):
            sync_directory(target)

    def _write(self, report: RepairReport) -> None:
        path = self._keep / REPORT
        with path.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(report), indent=2))
            file.flush()
            os.fsync(file.fileno())
        sync_directory(self._keep)

    def _move_strangers(self, slot: Path, done: Repaired) -> None:
        """Files that are none of the stream's, now that it has what could be read of them."""
        report = survey_slot(done.account, slot)
        own = {segment.file for segment in report.segments}
        strange = {finding.file for finding in report.damage if finding.file.startswith(LOG)} - own
        strange |= {note.file for note in report.notes if note.mendable and note.file not in own | set(ALWAYS_KEPT)}
        target = self._place(slot)
        for name in sorted(strange):
            if (slot / name).exists():
                if not (target / name).exists():
                    _move(slot / name, target / name)
                elif (slot / name).is_file():
                    (slot / name).unlink()         # its copy is there
                done.kept = sorted({*done.kept, name})
        if strange:
            self._sync_kept(target)
            sync_directory(slot)

    def _move_slot(self, slot: Path, done: Repaired) -> None:
        target = self._place(slot)
        shutil.rmtree(target)                      # the copies: all of it comes
        _move(slot, target)
        self._sync_kept(target)
        sync_directory(slot.parent)
        done.outcome = SET_ASIDE
        done.kept = sorted(path.name for path in target.iterdir())

    # --- one account, one stream ---

    def _repair_account(self, account: str, rows: list[tuple[StreamReport, Path]], everything: bool) -> None:
        storage = _Chosen(self._root, account, self._holder, {slot.name for _, slot in rows})
        broker = Broker(Options(jetstream=_options(self._root)), Clock())
        engine = Engine(storage=storage, options=_options(self._root), router=broker.router, turn=broker.turn,
                        server_name=broker.server_name, account=account)  # fmt: skip
        try:
            engine.recover()
            opened = {id(stream.store): stream for stream in engine.streams.values()}
            for stream, slot in rows:
                shelf = storage.shelves.get(slot.name)
                running = opened.get(id(getattr(shelf, "store", None)))
                if shelf is not None and running is not None:
                    self._repair_stream(stream, slot, shelf, everything)
        finally:
            engine.stop()

    def _repair_stream(self, stream: StreamReport, slot: Path, shelf: FileShelf, everything: bool) -> None:
        done, store = self._results[stream.account, stream.slot], shelf.store
        assert isinstance(store, FileStore) and shelf.journal is not None, "it is open"
        done.name = shelf.name or done.name
        newest = store.log.generation
        make_plain(store, [note.file for note in stream.notes if note.what.startswith(FLIPPED)])
        read_all(store)
        done.lost = _merged([*done.lost, *store.losses.ranges])
        self._write(RepairReport(str(self._root), False, False, str(self._keep), list(self._results.values())))
        try:
            renew(store, newest if everything else _through(stream, newest))
            shelf.journal.renew()
        except (StoreError, OSError) as error:
            log.error("%s: cannot be repaired now: %s", slot, error)
            return
        done.outcome = REPAIRED


def _through(stream: StreamReport, newest: int) -> int:
    """The generation of the newest damaged segment; 0: the log is sound."""
    generations = {segment.file: segment.generation for segment in stream.segments}
    damaged = [row.file for row in stream.damage if row.file.startswith(LOG) or row.file == WITNESS]
    return max((generations.get(name, newest) for name in damaged), default=0)


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for first, last in sorted(set(ranges)):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


# --- files ---


def _copy(source: Path, target: Path) -> None:
    """Durably. What cannot be read is zeros in the copy."""
    with source.open("rb", buffering=0) as old, target.open("xb") as new:
        size, at = os.fstat(old.fileno()).st_size, 0
        while at < size:
            try:
                data = os.pread(old.fileno(), 256 * BLOCK_BYTES, at)
            except OSError:
                data = _readable(old.fileno(), at, min(256 * BLOCK_BYTES, size - at))
            if not data:
                break
            new.write(data)
            at += len(data)
        new.flush()
        os.fsync(new.fileno())


def _readable(fd: int, at: int, n: int) -> bytes:
    parts = []
    for begin in range(at, at + n, BLOCK_BYTES):
        try:
            parts.append(os.pread(fd, min(BLOCK_BYTES, at + n - begin), begin))
        except OSError:
            parts.append(bytes(min(BLOCK_BYTES, at + n - begin)))
    return b"".join(parts)


def _move(source: Path, target: Path) -> None:
    """Also to another file system; it is there before it goes here."""
    try:
        source.rename(target)
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    if source.is_dir():
        target.mkdir()
        for path in source.iterdir():
            if path.is_file():
                _copy(path, target / path.name)
            else:
                shutil.copytree(path, target / path.name)
        sync_directory(target)
        shutil.rmtree(source)
    else:
        _copy(source, target)
        sync_directory(target.parent)
        source.unlink()

