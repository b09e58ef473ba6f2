"""What a dump still has to read is kept while the stream goes on: removed, evicted, purged, in files and in memory."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from millpond.store.backup.archive import ArchiveReader
from millpond.store.backup.dump import Dump
from millpond.store.committer import Committer
from millpond.store.file_store import FileStore
from millpond.store.memory_store import MemoryStore

FULL, MORE, COLD, OVER, FAILED = range(5)
SMALL = 4096


class Rig:
    """A store, and a dump of it that is read piece by piece."""

    def __init__(self, directory: Path | None) -> None:
        self.committer = Committer("always")
        self.store = (
            FileStore(str(directory), self.committer, segment_bytes=SMALL) if directory is not None else MemoryStore()
        )
        self.file = directory is not None

    def commit(self) -> None:
        self.committer.drain()

    def read(self, dump: Dump, budget: int = 1000) -> tuple[int, bytes]:
        found = dump.fill(1 << 30, budget)
        while found == COLD:
            self.store.load_message(self.store.next_message(0))   # waits; the read that was asked for is done by then
            found = dump.fill(1 << 30, budget)
        return found, dump.take(1 << 30)

    def rest(self, dump: Dump, archive: bytes = b"") -> dict[int, tuple[bytes, bytes]]:
        while True:
            found, part = self.read(dump)
            archive += part
            if found != MORE:
                assert found == OVER, dump.failure
                break
        reader, messages = ArchiveReader(), {}
        reader.feed(archive)
        reader.end()
        while (head := reader.next_name()) is not None:
            name, _, content = reader.next_document()
            if head[1]:
                assert not messages or head[1] > max(messages)
                messages[head[1]] = (name, content)
        return messages


@pytest.fixture(params=["memory", "file"])
def rig(request: pytest.FixtureRequest, tmp_path: Path):
    made = Rig(tmp_path if request.param == "file" else None)
    yield made
    assert made.store.check() == []
    made.store.close()


def body(seq: int) -> bytes:
    return random.Random(seq).randbytes(200 + seq % 300)


def fill(rig: Rig, count: int) -> dict[int, tuple[bytes, bytes]]:
    for seq in range(1, count + 1):
        assert rig.store.append_message(b"k.%d" % (seq % 10), body(seq)) == seq
    rig.commit()
    return {seq: (b"k.%d" % (seq % 10), body(seq)) for seq in range(1, count + 1)}


def test_a_dump_is_of_the_moment_it_began(rig):
    expected = fill(rig, 200)
    dump, rng = Dump(rig.store, 200), random.Random(4)
    archive = rig.read(dump)[1]
    for turn in range(60):
        for seq in rng.sample(range(1, 201), 5):
            rig.store.remove_message(seq)
        rig.store.append_message(b"k.%d" % (turn % 10), b"later" * 50)
        if turn == 30:
            rig.store.configure(per_subject_max=1)
        if turn == 50:
            rig.store.purge_messages()
        rig.commit()
        archive += rig.read(dump)[1]
    assert rig.rest(dump, archive) == expected
    dump.close()


def test_what_is_removed_securely_is_not_kept(rig):
    expected = fill(rig, 20)
    dump = Dump(rig.store, 20)
    rig.store.remove_message(7, secure=True)
    rig.store.remove_message(8)
    rig.commit()
    del expected[7]
    assert rig.rest(dump) == expected
    dump.close()


def test_two_dumps_at_a_time(rig):
    first = fill(rig, 30)
    one = Dump(rig.store, 30)
    rig.store.remove_message(5)
    rig.store.append_message(b"x", b"31")
    two = Dump(rig.store, 31)
    rig.store.purge_messages()
    assert rig.rest(one) == first
    one.close()
    second = {**first, 31: (b"x", b"31")}
    del second[5]
    assert rig.rest(two) == second
    two.close()


def test_the_log_shrinks_again_behind_a_dump(tmp_path):
    rig = Rig(tmp_path)
    fill(rig, 400)
    dump = Dump(rig.store, 400)
    rig.store.purge_messages()
    for _ in range(5):
        rig.store.append_message(b"x", b"")
        rig.commit()
    held = rig.store.figures()["log_bytes"]
    dump.close()
    for _ in range(5):
        rig.store.append_message(b"x", b"")
        rig.commit()
    assert rig.store.figures()["log_bytes"] < held / 4
    assert rig.store.check() == []
    rig.store.close()


def test_too_much_fails_the_dump_and_holds_nothing():
    rig = Rig(None)
    for _ in range(40):
        rig.store.append_message(b"big", bytes(500_000))
    dump = Dump(rig.store, 40)
    rig.store.purge_messages()
    assert dump.fill(1 << 20, 1 << 20) == FAILED
    assert dump.failure == "too many messages have left the stream since the snapshot began"
    assert dump.held_bytes() < 100_000
    dump.close()
