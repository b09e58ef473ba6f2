"""A disk that forgets: what a power cut may leave of everything in a trace (disk_trace.c).

What was written to a file before one of its syncs began is there once that sync has ended. Of everything else any
part may be there, down to single sectors of a write. Names are like that too: a name that was made, changed or
removed is certain once its directory was synced; of later changes of a directory some first few may have happened.
A file's length and the writes that fill it are changes of their own.

A file system gives the inode of a removed file to the next one that is created, in any directory. So an inode is no
file: each creation begins a life of its own. A name whose removal is not certain yet may still come back with what
its file held, never with what the inode's next life holds.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

HEAD: Final = struct.Struct("<IiQQQI")
OPEN, WRITE, TRUNCATE, ALLOCATE, SYNC_BEGIN, SYNC_END, RENAME, UNLINK, MKDIR, SEND = range(1, 11)
SECTOR: Final = 512


class Event(NamedTuple):
    """One record; `number` is its place in the trace."""

    number: int
    kind: int
    id: int
    inode: int
    a: int
    b: int
    data: bytes


def read(path: Path) -> Iterator[Event]:
    """The whole records of a trace."""
    raw, at, number = path.read_bytes(), 0, 0
    while at + HEAD.size <= len(raw):
        kind, identity, inode, a, b, n = HEAD.unpack_from(raw, at)
        if at + HEAD.size + n > len(raw):
            return
        yield Event(number, kind, identity, inode, a, b, raw[at + HEAD.size : at + HEAD.size + n])
        at, number = at + HEAD.size + n, number + 1


@dataclass
class File:
    """Content that is certain, and what was done since."""

    stable: bytearray = field(default_factory=bytearray)
    pending: list[Event] = field(default_factory=list)

    def sync(self, before: int) -> None:
        for event in self.pending:
            if event.number < before:
                apply(self.stable, event)
        self.pending = [event for event in self.pending if event.number >= before]


def apply(content: bytearray, event: Event, sectors: random.Random | None = None) -> None:
    """Carry out one change of a file; with `sectors` only some sectors of a write arrive."""
    if event.kind == TRUNCATE:
        if event.a < len(content):
            del content[event.a :]
        else:
            content.extend(bytes(event.a - len(content)))
    elif event.kind == ALLOCATE:
        content.extend(bytes(max(0, event.a + event.b - len(content))))
    else:
        _write(content, event.a, event.data, sectors)


def _write(content: bytearray, at: int, data: bytes, sectors: random.Random | None) -> None:
    start = 0
    while start < len(data):
        stop = len(data) if sectors is None else min(len(data), start + SECTOR - (at + start) % SECTOR)
        if sectors is None or sectors.random() < 0.5:
            end = at + stop
            content.extend(bytes(max(0, end - len(content))))
            content[at + start : end] = data[start:stop]
        start = stop


class Disk:
    """`feed` it a trace event by event; `write_out` at any moment what a cut at that moment may leave."""

    def __init__(self, root: Path) -> None:
        self.root = str(root.resolve())
        self.names: dict[str, File | None] = {self.root: None}
        """Certain names, and the files behind them; None: a directory."""
        self.pending_names: list[tuple[Event, File | None]] = []
        self._files: dict[int, File] = {}
        """The present life of each inode; a directory's is not among them."""
        self._directories: dict[int, str] = {}
        self._begun: dict[int, int] = {}

    def feed(self, event: Event) -> None:
        if event.kind == OPEN:
            self._open(event)
        elif event.kind in (WRITE, TRUNCATE, ALLOCATE):
            self._files[event.inode].pending.append(event)
        elif event.kind == SYNC_BEGIN:
            self._begun[event.id] = event.number
        elif event.kind == SYNC_END:
            self._synced(event.inode, self._begun.pop(event.id))
        elif event.kind in (RENAME, UNLINK, MKDIR):
            if event.kind == MKDIR:
                self._is_directory(event)
            self.pending_names.append((event, None))

    def _is_directory(self, event: Event) -> None:
        self._directories[event.inode] = event.data.decode()
        self._files.pop(event.inode, None)

    def _open(self, event: Event) -> None:
        if event.id:
            self._is_directory(event)
            return
        if event.a:
            self._files[event.inode] = file = File()
            self._directories.pop(event.inode, None)
            self.pending_names.append((event, file))
        if event.b:
            self._files[event.inode].pending.append(event._replace(kind=TRUNCATE, a=0))

    def _synced(self, inode: int, before: int) -> None:
        if inode in self._files:
            self._files[inode].sync(before)
            return
        directory = self._directories.get(inode, self.root)
        left = []
        for event, file in self.pending_names:
            if event.number < before and parent(event) == directory:
                rename(self.names, event, file)
            else:
                left.append((event, file))
        self.pending_names = left

    def write_out(self, folder: Path, rng: random.Random, survive: str) -> None:
        """`survive`: of what is not certain "nothing", "everything", or "something"."""
        names = dict(self.names)
        left: dict[str, list[tuple[Event, File | None]]] = {}
        for event, file in self.pending_names:
            left.setdefault(parent(event), []).append((event, file))
        for changes in left.values():
            count = {"nothing": 0, "everything": len(changes)}.get(survive, rng.randint(0, len(changes)))
            for event, file in changes[:count]:
                rename(names, event, file)
        for path, file in sorted(names.items(), key=lambda item: item[0]):
            place = folder / path[len(self.root) :].lstrip("/")
            if not place.parent.exists():
                continue  # what is in a directory whose own name was lost is lost with it
            if file is None:
                place.mkdir(exist_ok=True)
            else:
                place.write_bytes(self._content(file, rng, survive))

    def _content(self, file: File, rng: random.Random, survive: str) -> bytearray:
        content = bytearray(file.stable)
        lengths = [event for event in file.pending if event.kind != WRITE]
        kept = len(lengths) if survive == "everything" else rng.randint(0, len(lengths))
        certain = {event.number for event in lengths[:kept]}
        for event in file.pending if survive != "nothing" else ():
            if event.kind != WRITE:
                if event.number in certain:
                    apply(content, event)
            elif survive == "everything" or rng.random() < 0.3:
                apply(content, event)
            elif rng.random() < 0.5:
                apply(content, event, rng)
        return content


def rename(names: dict[str, File | None], event: Event, file: File | None) -> None:
    """Carry out one change of names. `file`: the one that was made; None: a directory was, or nothing."""
    path = event.data.decode()
    if event.kind == UNLINK:
        names.pop(path, None)
    elif event.kind == RENAME:
        old, _, new = path.partition("\0")
        if old in names:
            names[new] = names.pop(old)
    else:
        names[path] = file


def parent(event: Event) -> str:
    """The directory that an event changes; a rename stays within one."""
    return event.data.decode().partition("\0")[0].rpartition("/")[0]


class Outbox:
    """Frames that clients were sent, put together from the pieces: (number of the last piece, subject, payload)."""

    def __init__(self) -> None:
        self._streams: dict[int, bytearray] = {}
        self.messages: list[tuple[int, str, bytes]] = []

    def feed(self, event: Event) -> None:
        if event.data.startswith(b"INFO ") and b'"connect_info"' not in event.data[:2000]:
            self._streams[event.id] = bytearray()  # a new connection on this descriptor
        buffer = self._streams.setdefault(event.id, bytearray())
        buffer += event.data
        at = 0
        while (end := buffer.find(b"\r\n", at)) >= 0:
            words = bytes(buffer[at:end]).split(b" ")
            size = int(words[-1]) + 2 if words[0] in (b"MSG", b"HMSG") else 0
            if len(buffer) < end + 2 + size:
                break
            if size:
                self.messages.append((event.number, words[1].decode(), bytes(buffer[end + 2 : end + size])))
            at = end + 2 + size
        del buffer[:at]
