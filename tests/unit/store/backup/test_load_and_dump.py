"""From a store into an archive and back: sequences, times, gaps, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from millpond.store.backup.archive import ArchiveReader, ArchiveWriter
from millpond.store.backup.dump import Dump
from millpond.store.backup.load import Loader
from millpond.store.committer import Committer
from millpond.store.file_store import FileStore
from millpond.store.memory_store import MemoryStore

HUNGRY, AGAIN, UNWRITTEN, COMPLETE, FAULTY = range(5)
FULL, MORE, COLD, OVER, FAILED = range(5)
START_NS = 1_700_000_000_000_000_000
TTL = b"NATS/1.0\r\nNats-TTL: %s\r\n\r\n"


def archived(*entries: tuple[bytes, int, int, bytes, bytes], end: bool = True) -> ArchiveReader:
    writer = ArchiveWriter()
    for entry in entries:
        writer.put(*entry)
    if end:
        writer.end()
    reader = ArchiveReader()
    reader.feed(writer.take())
    reader.end()
    return reader


def loader(store: object, **changes: object) -> Loader:
    given = {"payload_max": 1 << 20, "message_max": -1, "expires": True, "now_ns": START_NS, **changes}
    return Loader(
        store, given["payload_max"], given["message_max"], lambda value: -1 if value == b"never" else int(value),
        given["expires"], given["now_ns"],
    )


def contents(store: object) -> list[tuple[int, bytes, bytes, bytes, int]]:
    found, seq = [], store.next_message(0)
    while seq:
        message = store.load_message(seq)
        found.append((seq, message["subject"], message["hdr"], message["body"], message["ts_ns"]))
        seq = store.next_message(seq + 1)
    return found


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path):
    made = MemoryStore() if request.param == "memory" else FileStore(str(tmp_path), Committer("always"))
    yield made
    assert made.check() == []
    made.close()


def test_sequences_and_times_stay(store):
    reader = archived(
        (b"a", 5, START_NS + 7, b"", b"x"), (b"b", 6, START_NS + 7, b"H", b""), (b"a", 9, START_NS + 8, b"", b""),
    )
    load = loader(store)
    load.begin(3)
    assert load.load(reader, 1 << 20) == COMPLETE
    load.pad(12, 0)
    assert contents(store) == [
        (5, b"a", b"", b"x", START_NS + 7), (6, b"b", b"H", b"", START_NS + 7), (9, b"a", b"", b"", START_NS + 8),
    ]
    state = store.state_dict()
    assert (state["first_seq"], state["last_seq"], state["num_deleted"]) == (5, 12, 5)
    assert state["last_ts_ns"] == START_NS + 8
    assert store.append_message(b"c") == 13


def test_an_empty_backup_keeps_its_sequences(store):
    load = loader(store)
    load.begin(8)
    assert load.load(archived(), 1) == COMPLETE
    load.pad(20, 0)
    assert (store.state_dict()["first_seq"], store.state_dict()["last_seq"]) == (21, 20)


def test_a_budget_is_kept(store):
    reader = archived(*((b"a", seq, START_NS, b"", b"x" * 1000) for seq in range(1, 11)))
    load = loader(store)
    load.begin(1)
    assert load.load(reader, 1) == AGAIN
    assert store.state_dict()["messages"] == 1
    assert load.load(reader, 3000) == AGAIN
    assert store.state_dict()["messages"] == 4
    assert load.load(reader, 1 << 20) == COMPLETE


def test_times_to_live(store):
    reader = archived(
        (b"a", 1, START_NS, TTL % b"10", b""), (b"b", 2, START_NS - 60 * 10**9, TTL % b"10", b""),
        (b"c", 3, START_NS, TTL % b"never", b""), (b"d", 4, START_NS, b"", b""),
    )
    load = loader(store)
    load.begin(1)
    assert load.load(reader, 1 << 20) == COMPLETE
    assert [seq for seq, *_ in contents(store)] == [1, 3, 4]
    store.configure(age_max_ns=10**9)
    store.expire_messages(START_NS + 20 * 10**9)
    assert [seq for seq, *_ in contents(store)] == [3]


@pytest.mark.parametrize(("entries", "changes", "failure"), [
    ([(b"a", 2, 1, b"", b""), (b"a", 2, 1, b"", b"")], {}, "message sequence 2 out of order"),
    ([(b"a", 2, 1, b"", b"xx")], {"payload_max": 1}, "message sequence 2 exceeds maximum payload size"),
    ([(b"a", 2, 1, b"h", b"x")], {"message_max": 1}, "message sequence 2 exceeds maximum message size"),
    ([(b"a b", 2, 1, b"", b"")], {}, "failed to store message sequence 2: invalid sequence or subject"),
    ([(b"a.*", 2, 1, b"", b"")], {}, "failed to store message sequence 2: invalid sequence or subject"),
    ([(b"", 2, 1, b"", b"")], {}, "failed to store message sequence 2: invalid sequence or subject"),
    ([(b"a", 1 << 63, 1, b"", b"")], {}, f"failed to store message sequence {1 << 63}: invalid sequence or subject"),
    ([(b"a", 2, 1, TTL % b"-5", b"")], {}, "failed to parse message TTL: invalid per-message TTL"),
    ([(b"a", 0, 1, b"", b"")], {}, "expected message sequence"),
])
def test_refusals(store, entries, changes, failure):
    load = loader(store, **changes)
    load.begin(1)
    assert load.load(archived(*entries), 1 << 20) == FAULTY
    assert load.failure == failure


def test_an_archive_that_just_stops(store):
    load = loader(store)
    load.begin(1)
    assert load.load(archived((b"a", 1, 1, b"", b""), end=False), 1 << 20) == FAULTY
    assert load.failure == "EOF"


def test_waits_for_the_disk(tmp_path: Path):
    committer = Committer("always")
    store = FileStore(str(tmp_path), committer)
    reader = archived(*((b"a", seq, START_NS, b"", bytes(1 << 20)) for seq in range(1, 13)))
    load, told = loader(store), []
    load.on_committed = lambda: told.append(1)
    load.begin(1)
    assert load.load(reader, 1 << 30) == UNWRITTEN
    assert 8 <= store.state_dict()["messages"] < 12
    committer.drain()
    assert told
    assert load.load(reader, 1 << 30) == COMPLETE
    assert store.state_dict()["messages"] == 12
    store.close()


def test_gaps_survive_a_restart(tmp_path: Path):
    committer = Committer("always")
    store = FileStore(str(tmp_path), committer)
    load = loader(store)
    load.begin(1)
    far = archived((b"a", 1_000_000, START_NS, b"", b""), (b"b", 1 << 61, START_NS, b"", b""))
    assert load.load(far, 1 << 20) == COMPLETE
    load.pad((1 << 61) + 10, 0)
    before = store.state_dict()
    store.close()
    again = FileStore(str(tmp_path), committer)
    assert (again.state_dict(), again.check(), again.damage) == (before, [], [])
    again.close()


def test_a_dump_is_bounded_and_ends_where_it_was_told():
    store = MemoryStore()
    for number in range(100):
        store.append_message(b"s.%d" % number, bytes(range(256)) * 40, b"", START_NS + number)
    dump, parts = Dump(store, 90), []
    while (found := dump.fill(4096, 20_000)) != OVER:
        assert found in (FULL, MORE)
        assert dump.held_bytes() < 400_000
        if found == FULL:
            parts.append(dump.take(4096))
        store.append_message(b"later", b"x")
    reader = ArchiveReader()
    reader.feed(b"".join([*parts, dump.take(1 << 20)]))
    reader.end()
    seqs = []
    while (head := reader.next_name()) is not None:
        seqs.append(head[1])
        reader.next_document()
    assert seqs == [*range(1, 91), 0]


def test_damage_ends_a_dump(tmp_path: Path):
    committer = Committer("always")
    store = FileStore(str(tmp_path), committer)
    for number in range(5):
        store.append_message(b"a", b"body %d" % number + bytes(100_000))
    committer.drain()
    store.close()
    again = FileStore(str(tmp_path), committer)
    for log in tmp_path.glob("log.*"):
        with open(log, "r+b") as file:
            at = file.read().find(b"body 2")
            if at >= 0:
                file.seek(at)
                file.write(b"bodY 2")
    dump = Dump(again, 5)
    while (found := dump.fill(1 << 20, 1 << 20)) == COLD:
        again.load_message(again.next_message(dump.next_seq()))
    assert found == FAILED
    assert "message 3 is damaged" in dump.failure
    again.close()
