"""Messages with an end of their own: when they go, and that nothing is left of them."""

from __future__ import annotations

from millpond.store.api import RecordingOwner
from millpond.store.memory_store import MemoryStore

NEVER = -1
SECOND = 1_000_000_000


def told(owner: RecordingOwner) -> list[tuple]:
    return [event[:2] for event in owner.told]


def test_each_goes_at_its_own_time_and_equals_in_order_of_sequence() -> None:
    owner = RecordingOwner()
    store = MemoryStore(owner)
    for ends in (30, 10, 20, 10, 0):
        store.append_message(b"a", ts_ns=1, expires_ns=ends)
    assert store.expire_messages(9) == 10
    assert store.expire_messages(10) == 20
    assert store.expire_messages(30) == 0
    assert told(owner) == [("removed", 2), ("removed", 4), ("removed", 3), ("removed", 1)]
    assert store.has(5)


def test_whichever_end_comes_first() -> None:
    store = MemoryStore(RecordingOwner())
    store.configure(age_max_ns=10 * SECOND)
    store.append_message(b"a", ts_ns=SECOND, expires_ns=5 * SECOND)
    store.append_message(b"a", ts_ns=SECOND, expires_ns=50 * SECOND)
    assert store.expire_messages(2 * SECOND) == 5 * SECOND
    assert store.expire_messages(5 * SECOND) == 11 * SECOND
    assert store.expire_messages(11 * SECOND) == 0
    assert store.state_dict()["messages"] == 0
    assert store.memory()["expiry"] <= 16 * 16


def test_never_outlives_max_age_and_is_passed_once() -> None:
    store = MemoryStore(RecordingOwner())
    store.configure(age_max_ns=SECOND)
    for _ in range(100):
        store.append_message(b"a", ts_ns=1, expires_ns=NEVER)
    store.append_message(b"b", ts_ns=1)
    now_ns = 5 * SECOND
    assert store.expire_messages(now_ns, 60) == now_ns, "100 messages to pass, 60 may be looked at"
    assert store.has(101)
    assert store.expire_messages(now_ns, 60) == 0
    assert not store.has(101)
    store.append_message(b"b", ts_ns=2)
    assert store.expire_messages(now_ns, 1) == 0, "the 100 are not walked over again"
    assert store.state_dict()["messages"] == 100
    store.configure(age_max_ns=1)
    assert store.expire_messages(now_ns) == 0
    assert store.state_dict()["messages"] == 100
    assert store.check() == []


def test_never_stays_through_compaction_and_purges_like_any_other() -> None:
    store = MemoryStore(RecordingOwner())
    for i in range(5000):
        store.append_message(b"k.%d" % (i % 50), b"x" * 100, ts_ns=1, expires_ns=NEVER if i % 10 == 0 else 0)
    for i in range(5000):
        if i % 10:
            store.remove_message(i + 1)
    for _ in range(200):
        store.append_message(b"other", ts_ns=1)
    store.configure(age_max_ns=1)
    assert store.expire_messages(SECOND) == 0
    assert store.state_dict()["messages"] == 500
    assert store.state_dict()["bytes"] == sum(store.size_of(len(f"k.{i % 50}"), 0, 100) for i in range(0, 5000, 10))
    assert store.purge_messages([b"k.0"]) == 100
    assert store.check() == []


def test_entries_of_removed_messages_do_not_stay() -> None:
    store = MemoryStore(RecordingOwner())
    store.configure(per_subject_max=1)
    for i in range(20_000):
        store.append_message(b"k.%d" % (i % 10), ts_ns=1, expires_ns=10**18 + i)
    assert store.state_dict()["messages"] == 10
    assert store.memory()["expiry"] <= 16 * 64
    for i in range(20_000):
        store.append_message(b"z.%d" % i, ts_ns=1, expires_ns=10**18 + i)
    assert store.memory()["expiry"] >= 16 * 20_000
    store.purge_messages([b"z.>"])
    assert store.memory()["expiry"] <= 16 * 64
    assert store.check() == []


def test_the_owner_hears_of_the_end_of_a_subject_before_it_comes() -> None:
    owner = RecordingOwner(True)
    store = MemoryStore(owner)
    store.configure(age_max_ns=10)
    store.append_message(b"a", ts_ns=1)
    store.append_message(b"b", ts_ns=1, expires_ns=5)
    store.append_message(b"a", ts_ns=2)
    store.expire_messages(12)
    assert told(owner) == [
        ("removed", 1), ("expiring", 2), ("removed", 2), ("expiring", 3), ("removed", 3),
    ]  # fmt: skip
