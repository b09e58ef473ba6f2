"""The older form of a backup: tar files and message blocks, whole, cut and broken."""

from __future__ import annotations

import struct

import pytest
from millpond.store.backup.archive import ArchiveReader
from millpond.store.backup.blocks import BlockLoader
from millpond.store.backup.load import Loader
from millpond.store.backup.s2_stream import S2Writer
from millpond.store.backup.tar import TarReader
from millpond.store.memory_store import MemoryStore

HUNGRY, AGAIN, UNWRITTEN, COMPLETE, FAULTY = range(5)
ERASED, TOMBSTONE = 1 << 63, 1 << 62


def tar_file(name: bytes, content: bytes, kind: bytes = b"0") -> bytes:
    head = bytearray(512)
    head[: len(name)], head[124:135], head[156:157] = name, b"%011o" % len(content), kind
    head[257:263], head[148:156] = b"ustar\0", b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + content + bytes(-len(content) % 512)


def record(seq: int, subject: bytes = b"", body: bytes = b"", hdr: bytes = b"", ts_ns: int = 1000) -> bytes:
    content = subject + (struct.pack("<I", len(hdr)) + hdr if hdr else b"") + body + b"hashhash"
    return struct.pack("<IQqH", 22 + len(content) | bool(hdr) << 31, seq, ts_ns, len(subject)) + content


def opened(data: bytes) -> TarReader:
    archive = ArchiveReader()
    archive.feed(bytes(S2Writer().encode_all(data)))
    archive.end()
    assert archive.begins() is False
    return TarReader(archive)


FILES = (
    tar_file(b"PaxHeaders/x", b"30 mtime=1350244992.023960108\n", b"x") + tar_file(b"meta.inf", b"{}")
    + tar_file(b"msgs/1.blk", b"x" * 700) + tar_file(b"empty", b"")
)


def test_files_one_after_the_other():
    tar = opened(FILES + bytes(1024))
    assert tar.next_file() == (b"meta.inf", 2)
    assert tar.content() == b"{}"
    assert tar.next_file() == (b"msgs/1.blk", 700)
    assert tar.next_file() == (b"empty", 0)
    assert tar.content() == b""
    assert tar.next_file() is None
    assert (tar.over, tar.failure) == (True, "")


def test_an_end_without_zeros():
    tar = opened(FILES)
    while tar.next_file():
        pass
    assert (tar.over, tar.failure) == (True, "")


def test_in_pieces():
    data, archive, found = bytes(S2Writer().encode_all(FILES + bytes(1024))), ArchiveReader(), []
    tar = TarReader(archive)
    for at in range(len(data)):
        archive.feed(data[at : at + 1])
        while archive.begins() is False and (file := tar.next_file()):
            found.append(file[0])
    assert found == [b"meta.inf", b"msgs/1.blk", b"empty"]


@pytest.mark.parametrize(("data", "failure"), [
    (FILES[:600], "unexpected EOF"), (FILES[:-100], "unexpected EOF"),
    (b"x" * 512, "archive/tar: invalid tar header"), (FILES[:512] + FILES[520:], "archive/tar: invalid tar header"),
    (tar_file(b"link", b"", b"2"), "unexpected content"),
])
def test_broken_files(data, failure):
    tar = opened(data)
    while tar.next_file():
        pass
    assert (tar.over, tar.failure) == (False, failure)


def loaded(*blocks: bytes) -> tuple[MemoryStore, BlockLoader, str]:
    tar = opened(b"".join(tar_file(b"msgs/%d.blk" % n, block) for n, block in enumerate(blocks)))
    store = MemoryStore()
    load = Loader(store, 1 << 20, -1, int, True, 0)
    reader = BlockLoader(load)
    while tar.next_file():
        while (found := reader.load(tar, 1)) == AGAIN:
            pass
        assert found in (COMPLETE, FAULTY)
        if found == FAULTY:
            break
    assert store.check() == []
    return store, reader, load.failure


def test_blocks():
    """Erased in place, gone by a later record, and never there: all of them are gaps."""
    store, reader, failure = loaded(
        record(5, b"a", b"five", ts_ns=50) + record(6 | ERASED) + record(7, b"b", b"", b"NATS/1.0\r\nA: b\r\n\r\n", 70),
        record(9, b"c", b"nine", ts_ns=90) + record(5 | TOMBSTONE) + record(10, b"c", b"ten") + record(12 | ERASED),
        record(10 | TOMBSTONE),
    )
    assert failure == ""
    assert [seq for seq in range(1, 14) if store.has(seq)] == [7, 9]
    assert store.load_message(7) == {
        "seq": 7, "ts_ns": 70, "subject": b"b", "hdr": b"NATS/1.0\r\nA: b\r\n\r\n", "body": b"",
    }
    assert reader.last_seq == 12


def test_what_comes_twice_is_taken_once():
    store, _, failure = loaded(record(1, b"a", b"x") + record(1, b"a", b"y") + record(2, b"b", b"z"))
    assert (failure, store.load_message(1)["body"], store.state_dict()["messages"]) == ("", b"x", 2)


@pytest.mark.parametrize("block", [
    b"short", record(1, b"a", b"x")[:-1], struct.pack("<IQqH", 10, 9, 1, 0) + bytes(20),
    struct.pack("<IQqH", 31, 9, 1, 5) + bytes(9), struct.pack("<IQqH", 31 | 1 << 31, 9, 1, 0) + bytes(9),
    struct.pack("<IQqH", 35 | 1 << 31, 9, 1, 0) + b"\xff\xff\xff\xff" + bytes(9),
])
def test_damaged_blocks(block):
    store, _, failure = loaded(record(7, b"ok", b"") + block)
    assert failure == "message block is damaged"
    assert store.has(7)
