"""`millpond store backup DIR TARGET`: a copy of a whole store directory, taken while a server runs on it.

The server is not asked, and does not notice. What makes the copy one that a start takes is the order of reading:

    for each stream:  witness ──> catalog ──> consumers' journal ──> segments, oldest first ──> was it all one stream?

- A segment that is not the newest is not written to any more (but for erasures, and when its file is used again). So
  it is read as it is. If its head has changed meanwhile, it has left the log: what lived in it had been moved to newer
  ones before. Then all is listed again, and what is new is read, until nothing that was listed has left.
- The newest one grows at its end. It is read from its end to its beginning, a page at a time, each until it reads the
  same twice: so no page is older than one behind it, and what is read is some first part of what was written. That is
  what a kill leaves. (Of what is erased there meanwhile the removal may be missing: it is gone all the same.)
- A log is read later than what refers to it, so nothing refers to what is not in the copy.

So each stream is there as a kill at some moment of the backup would leave it, with everything that had been answered
before the backup began. Streams are not of one moment: those that others follow (mirrors, sources) are read first.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from millpond.base.errors import StoreError
from millpond.cli.store_survey import LOG, Finding, StoreReport, base_of, slots, survey, survey_slot
from millpond.store import consumer_file
from millpond.store.catalog import read_copies
from millpond.store.directory import CATALOG, LOCK, RELEASED, WITNESS, sync_directory
from millpond.store.scan import scan_bytes

PAGE_BYTES: Final = 4096
READ_BYTES: Final = 1 << 20
HEAD_BYTES: Final = 128
TRIES: Final = 20
"""Of one stream that changes under our hands, one after the other."""
PARTIAL: Final = ".partial"
CATALOG_NAMES: Final = (f"{CATALOG}.0", f"{CATALOG}.1")


class _Changed(Exception):
    """What was read is not of one moment: again."""


class _Gone(Exception):
    """The stream was deleted meanwhile, or is not there yet."""


def backup(directory: Path, target: Path) -> StoreReport:
    """Copies the store; returns what `verify` says of the copy. What an interrupted one leaves is called `.partial`.

    Raises StoreError, OSError.
    """
    base = base_of(directory)
    target = target.absolute()
    if target.exists():
        raise StoreError(f"{target} is there already: name a directory that is to be made")
    if target.is_relative_to(base.absolute()):
        raise StoreError(f"{target} is inside the store: name a directory beside it")
    partial = target.with_name(target.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    copied = partial / "jetstream"
    target.parent.mkdir(parents=True, exist_ok=True)
    partial.mkdir(0o700)                           # until everything in it is as private as the store is
    copied.mkdir()
    damage: dict[tuple[str, str], list[Finding]] = {}
    for account, slot in _in_order(list(slots(directory))):
        to = copied / slot.relative_to(base)
        to.mkdir(parents=True)
        try:
            _copy_stream(account, slot, to)
        except _Gone:
            shutil.rmtree(to)
        except _Changed as changed:
            damage[account, slot.name] = [Finding(str(changed), "changed all the time while it was read")]
    (copied / LOCK).touch()
    for folder, _, _ in os.walk(copied, topdown=False):
        _take_after(Path(folder), base / Path(folder).relative_to(copied))
        sync_directory(Path(folder))
    _take_after(copied / LOCK, base / LOCK)
    _take_after(partial, base.parent)
    sync_directory(partial)
    partial.rename(target)
    sync_directory(target.parent)
    report = survey(target)
    for stream in report.streams:
        stream.damage += damage.get((stream.account, stream.slot), [])
    return report


# --- which stream first ---


def _in_order(found: list[tuple[str, Path]]) -> Iterator[tuple[str, Path]]:
    """Those that others follow before these. Streams of all accounts: a name that is there twice costs nothing."""
    follows: dict[Path, set[str]] = {}
    named: dict[str, list[tuple[str, Path]]] = {}
    for row in found:
        config = _configuration(row[1])
        origins = [config.get("mirror"), *(config.get("sources") or [])]
        follows[row[1]] = {origin["name"] for origin in origins if isinstance(origin, dict) and "name" in origin}
        named.setdefault(str(config.get("name")), []).append(row)
    done: set[Path] = set()

    def visit(row: tuple[str, Path]) -> Iterator[tuple[str, Path]]:
        if row[1] in done:
            return
        done.add(row[1])
        for name in sorted(follows[row[1]]):
            for origin in named.get(name, ()):
                yield from visit(origin)
        yield row

    for row in found:
        yield from visit(row)


def _configuration(slot: Path) -> dict[str, Any]:
    """Empty when it cannot be read."""
    try:
        whole = [copy for copy in read_copies(str(slot / CATALOG)) if copy is not None]
        found = json.loads(max(whole)[1])["config"] if whole else {}
    except (StoreError, OSError, ValueError, LookupError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


# --- one stream ---


def _copy_stream(account: str, slot: Path, target: Path) -> None:
    for left in range(TRIES, 0, -1):
        for path in target.iterdir():
            path.unlink()
        try:
            _attempt(slot, target)
        except _Changed:
            if left == 1:
                raise
            continue
        if left == 1 or not survey_slot(account, target).damage or survey_slot(account, slot).damage:
            return


def _attempt(slot: Path, target: Path) -> None:
    before = _identity(slot)
    _copy_steady(slot, target, (WITNESS,))
    _copy_steady(slot, target, CATALOG_NAMES)
    _copy_journal(slot, target)
    _Log(slot, target).copy()
    if _identity(slot) != before:
        raise _Changed("another stream took its place")


def _identity(slot: Path) -> bytes:
    """Name and time of creation. Raises _Gone."""
    for _ in range(TRIES):
        names = _names(slot)
        if RELEASED in names or not names:
            raise _Gone
        with contextlib.suppress(StoreError, OSError, ValueError, LookupError):
            whole = [copy for copy in read_copies(str(slot / CATALOG)) if copy is not None]
            if whole:
                entry = json.loads(max(whole)[1])
                return f"{entry['config']['name']} {entry['created']}".encode()
    return b""                                     # damaged, or not created yet: a copy is no worse


def _names(slot: Path) -> set[str]:
    try:
        return {path.name for path in slot.iterdir()}
    except FileNotFoundError:
        raise _Gone from None


def _copy_steady(slot: Path, target: Path, names: tuple[str, ...]) -> None:
    """Small files as they were at one moment."""
    for _ in range(TRIES):
        first = {name: _content(slot / name) for name in names}
        if {name: _content(slot / name) for name in names} == first:
            break
    for name, data in first.items():
        if data is not None:
            _write(target / name, slot / name, data)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _copy_journal(slot: Path, target: Path) -> None:
    """Both files while neither is started over: what comes to the current one meanwhile stands at its end."""
    for _ in range(TRIES):
        before = _starts(slot)
        found = {name: _content(slot / name) for name in consumer_file.NAMES}
        if _starts(slot) == before:
            break
    else:
        raise _Changed("consumers' journal")
    for name, data in found.items():
        if data is not None:
            _write(target / name, slot / name, data)


def _starts(slot: Path) -> list[bytes | None]:
    found: list[bytes | None] = []
    for name in consumer_file.NAMES:
        try:
            with (slot / name).open("rb") as file:
                found.append(file.read(32))
        except FileNotFoundError:
            found.append(None)
    return found


class _Log:
    """The segments of one stream."""

    def __init__(self, slot: Path, target: Path) -> None:
        self._slot, self._target = slot, target
        self._sealed: dict[str, int] = {}
        """Files that were copied whole, with the generation they had."""

    def copy(self) -> None:
        for _ in range(TRIES * TRIES):
            if self._pass():
                return
        raise _Changed("segments")

    def _pass(self) -> bool:
        """False: a segment has left the log meanwhile."""
        heads, whole = sorted((generation, name) for name, generation in self._heads().items() if generation), True
        for number, (generation, name) in enumerate(heads):
            is_newest = number + 1 == len(heads)
            if self._sealed.get(name) != generation:
                whole = self._copy_one(name, generation, is_newest) and whole
        listed = {name for _, name in heads}
        for path in list(self._target.iterdir()):
            if path.name.startswith(LOG) and path.name not in listed:
                path.unlink()
                self._sealed.pop(path.name, None)
        self._copy_headless()
        return whole

    def _heads(self) -> dict[str, int]:
        """The generation in each file, 0 where no head can be read, as they were at one moment: none comes twice."""
        found, again = None, self._look()
        for _ in range(TRIES):
            if found == again:
                return again
            found, again = again, self._look()
        raise _Changed("segments")

    def _look(self) -> dict[str, int]:
        return {name: _generation(self._slot / name) for name in _names(self._slot) if name.startswith(LOG)}

    def _copy_one(self, name: str, generation: int, is_newest: bool) -> bool:
        self._sealed.pop(name, None)
        source = self._slot / name
        try:
            with source.open("rb", buffering=0) as file:
                data = _backwards(file.fileno()) if is_newest else _forwards(file.fileno())
                _write(self._target / name, source, data)
                same = _generation_of(os.pread(file.fileno(), HEAD_BYTES, 0)) == generation
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        except FileNotFoundError:
            return False
        if same and not is_newest:
            self._sealed[name] = generation
        return same

    def _copy_headless(self) -> None:
        """What is damaged in the store is so in the copy; a spare that was never used is not copied."""
        for name, generation in self._look().items():
            data = _content(self._slot / name) if not generation else None
            if data is not None and any(data) and not _generation_of(data[:HEAD_BYTES]):
                _write(self._target / name, self._slot / name, data)


def _generation(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return _generation_of(file.read(HEAD_BYTES))
    except FileNotFoundError:
        return 0


def _generation_of(start: bytes) -> int:
    head = scan_bytes(start).head
    return int(head["generation"]) if head is not None else 0


# --- bytes ---


def _forwards(fd: int) -> Iterator[tuple[int, bytes]]:
    at = 0
    while data := os.pread(fd, READ_BYTES, at):
        yield at, data
        at += len(data)


def _backwards(fd: int) -> Iterator[tuple[int, bytes]]:
    """From the last page to the first, each as it was at one moment."""
    size = os.fstat(fd).st_size
    for at in range((size - 1) // PAGE_BYTES * PAGE_BYTES if size else -1, -1, -PAGE_BYTES):
        data, again = b"", os.pread(fd, PAGE_BYTES, at)
        while data != again:
            data, again = again, os.pread(fd, PAGE_BYTES, at)
        yield at, data


def _write(target: Path, source: Path, data: bytes | Iterator[tuple[int, bytes]]) -> None:
    """Durably, but for the name."""
    with target.open("wb", buffering=0) as file:
        for at, part in [(0, data)] if isinstance(data, bytes) else data:
            done = 0
            while done < len(part):                # a full disk takes less before it refuses
                done += os.pwrite(file.fileno(), part[done:], at + done)
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    _take_after(target, source)


def _take_after(target: Path, source: Path) -> None:
    """Mode and owner, as far as we may: so that the same server can have it."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        status = source.stat()
        os.chown(target, status.st_uid, status.st_gid)
        target.chmod(status.st_mode & 0o7777)
