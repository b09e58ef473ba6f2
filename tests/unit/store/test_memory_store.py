"""The memory store: what it promises beyond the model test."""

from __future__ import annotations

import pytest
from millpond.store.api import RecordingOwner
from millpond.store.memory_store import MemoryStore

from millpond.base import limits

START_NS = 1_700_000_000_000_000_000


@pytest.fixture
def store():
    store = MemoryStore(RecordingOwner())
    yield store
    assert store.check() == []
    store.close()


def removed(store: MemoryStore) -> list[int]:
    return [event[1] for event in store.owner.told if event[0] == "removed"]


def test_counts_a_message_as_nats_server_does(store: MemoryStore) -> None:
    store.append_message(b"foo.bar", b"hello", b"NATS/1.0\r\nA: b\r\n\r\n")
    assert store.state_dict()["bytes"] == 16 + 7 + 5 + 18 == store.size_of(7, 18, 5)


def test_time_never_runs_backwards(store: MemoryStore) -> None:
    store.append_message(b"a", ts_ns=START_NS + 5)
    store.append_message(b"a", ts_ns=START_NS)
    assert store.load_message(2)["ts_ns"] == START_NS + 5
    assert store.state_dict()["first_ts_ns"] == store.state_dict()["last_ts_ns"] == START_NS + 5


def test_appends_then_evicts_the_oldest_of_the_subject(store: MemoryStore) -> None:
    store.configure(per_subject_max=1)
    assert [store.append_message(subject) for subject in (b"a", b"b", b"a")] == [1, 2, 3]
    assert removed(store) == [1]
    assert store.state_dict()["first_seq"] == 2


@pytest.mark.parametrize(("before", "left"), [({}, 6), ({"messages_max": 6}, 1)], ids=["together", "set before"])
def test_limits_that_are_reached_in_parts_keep_their_order(
    store: MemoryStore, before: dict[str, int], left: int
) -> None:
    for number in range(limits.PURGE_STEP_MESSAGES + 1000):
        store.append_message(b"x.%d" % number if number < 5 else b"a")
    last = store.state_dict()["last_seq"]
    if before:
        store.configure(**before)
    store.configure(messages_max=6, per_subject_max=1)
    assert len(removed(store)) == limits.PURGE_STEP_MESSAGES
    while store.enforce_messages(100):
        pass
    assert store.state_dict()["messages"] == left and store.last_of(b"a") == last


def test_evicts_by_messages_and_bytes(store: MemoryStore) -> None:
    store.configure(messages_max=3, bytes_max=2 * store.size_of(1, 0, 100))
    for _ in range(3):
        store.append_message(b"a", bytes(100))
    assert removed(store) == [1]
    for _ in range(5):
        store.append_message(b"a", b"")
    assert store.state_dict()["messages"] == 3


def test_expiry_is_exact_and_in_budget(store: MemoryStore) -> None:
    store.configure(age_max_ns=1000)
    assert store.expire_messages(START_NS) == 0
    for i in range(4):
        store.append_message(b"a", ts_ns=START_NS + i)
    assert store.expire_messages(START_NS + 999) == START_NS + 1000
    assert store.expire_messages(START_NS + 1001, 1) == START_NS + 1001
    assert store.expire_messages(START_NS + 1001, 1) == START_NS + 1002
    assert removed(store) == [1, 2]


def test_time_search_sees_nanoseconds(store: MemoryStore) -> None:
    for i in range(5):
        store.append_message(b"a", ts_ns=START_NS + 10 * i)
    assert [store.at_time(START_NS + t) for t in (0, 1, 10, 35, 41)] == [1, 2, 2, 5, 6]


def test_secure_removal_overwrites_the_bytes(store: MemoryStore) -> None:
    store.append_message(b"a", b"SECRETSECRET")
    store.append_message(b"a", b"other")
    assert b"SECRETSECRET" in store.dump_block(0)
    store.remove_message(1, True)
    assert b"SECRET" not in store.dump_block(0)
    assert b"other" in store.dump_block(0)


def test_purge_keeps_the_newest_and_ends_below(store: MemoryStore) -> None:
    for subject in (b"a", b"b", b"a", b"b", b"a"):
        store.append_message(subject)
    assert store.purge_messages([b"a"], 0, 1) == 2
    assert removed(store) == [1, 3]
    assert store.purge_messages([], 4, 0) == 1
    assert store.state_dict()["first_seq"] == 4
    assert store.purge_messages([], 0, 9) == 0
    assert store.purge_messages([], 20, 0) == 2
    assert (store.state_dict()["first_seq"], store.state_dict()["last_seq"]) == (20, 19)
    assert store.append_message(b"a") == 20


def test_the_owner_hears_of_commits_once_a_turn(store: MemoryStore) -> None:
    store.append_message(b"a")
    store.append_message(b"a")
    assert store.committed_position == store.position and store.committed_seq == 2
    assert store.owner.told == []
    store.commit()
    store.commit()
    assert store.owner.told == [("committed",)]


def test_a_large_message_has_a_block_of_its_own(store: MemoryStore) -> None:
    body = bytes(range(256)) * 4096
    for i in range(3):
        store.append_message(b"big", body)
        store.append_message(b"small", b"%d" % i)
    assert [store.load_message(seq)["body"] for seq in (1, 3, 5)] == [body] * 3
    store.purge_messages([b"big"])
    for _ in range(10):
        store.append_message(b"small")
    assert store.memory()["buffers"] < 65 * 1024


def test_memory_follows_the_live_data(store: MemoryStore) -> None:
    for i in range(20_000):
        store.append_message(b"kv.%d" % i, bytes(100))
    full = sum(store.memory().values())
    for seq in range(1, 20_001):
        if seq % 50:
            store.remove_message(seq)
    for _ in range(5):
        store.append_message(b"kv.0")
    assert store.state_dict()["messages"] == 405
    assert sum(store.memory().values()) < full / 10
    assert store.load_message(10_000)["subject"] == b"kv.9999"


def test_ever_new_subjects_stay_still(store: MemoryStore) -> None:
    def churn(first: int, last: int) -> None:
        for i in range(first, last):
            seq = store.append_message(b"locks.%d" % i, b"holder")
            if seq > 10:
                store.remove_message(seq - 10)

    churn(0, 5_000)
    settled = sum(store.memory().values())
    churn(5_000, 100_000)
    assert sum(store.memory().values()) <= settled * 1.25
    assert settled < 64 * 1024
    assert store.state_dict()["num_subjects"] == 10


def test_a_closed_store_takes_nothing() -> None:
    store = MemoryStore()
    store.append_message(b"a")
    store.close()
    with pytest.raises(AssertionError):
        store.append_message(b"a")
