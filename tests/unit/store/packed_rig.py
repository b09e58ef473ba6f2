"""Stores whose sealed segments are packed, for the tests of those."""

from __future__ import annotations

from pathlib import Path

from file_rig import START_NS, Rig, bodies, rig
from millpond.store.file_store import FileStore
from millpond.store.scan import scan_segment

SEGMENT = 1 << 18
"""Four blocks."""
BLOCK = 1 << 16


def body(number: int, size: int = 700) -> bytes:
    """As JSON often is: mostly the same names, and something of its own."""
    text = b'{"order": %d, "customer": "customer-%d", "state": "open", "items": [' % (number, number * 7919 % 1000)
    return (text + b'{"sku": "%08x", "count": 1}, ' % (number * 2654435761 % 2**32) * 40)[:size]


def fill(store: FileStore, r: Rig, messages: int, size: int = 700) -> None:
    for _ in range(messages):
        number = store.state_dict()["last_seq"] + 1
        store.append_message(b"orders.%d" % (number % 10), body(number, size), ts_ns=START_NS + number)
        if number % 50 == 0:
            r.turn()
    r.turn()


def pack(r: Rig) -> None:
    """Until nothing is left to pack: one more write proves what came before it."""
    assert r.store is not None
    r.store.append_message(b"proof", b"")
    r.turn()
    r.cache.packer.drain()


def packed_store(root: Path, messages: int = 1500, stopped: bool = True) -> dict[int, bytes]:
    """A stopped store whose sealed segments are packed, and what is in it."""
    root.mkdir()
    with rig(root) as r:
        store = r.open(segment_bytes=SEGMENT)
        store.compress(True)
        fill(store, r, messages)
        pack(r)
        assert store.figures()["packed"] == store.figures()["segments"] - 1 >= 2
        return bodies(store)


def packed_paths(directory: Path) -> list[Path]:
    """Those files that are packed, by generation."""
    scans = {path: scan_segment(path) for path in directory.glob("log.*")}
    found = [path for path, scan in scans.items() if scan.head is not None and scan.head["version"] == 2]
    return sorted(found, key=lambda path: scans[path].head["generation"])


def blocks(path: Path) -> list[tuple[int, int]]:
    """(where a block begins, what part of the plain segment it is), from the file alone."""
    data, at, found = path.read_bytes(), 128, []
    while at + 24 <= len(data):
        length, plain_at = (int.from_bytes(data[at + n : at + n + 4], "little") for n in (4, 8))
        found.append((at, plain_at))
        at += (24 + length + 7) // 8 * 8
    return found


def touching(path: Path, plain_at: int) -> set[int]:
    """The messages of which a part lies in that block."""
    return {record.seq for record in scan_segment(path).records
            if record.offset < plain_at + BLOCK and record.offset + record.length > plain_at}  # fmt: skip
