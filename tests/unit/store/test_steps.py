"""Searches, counts, lists and purges in steps come to what they come to at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from millpond.store.memory_store import MemoryStore

FILTERS = [[], [b"s.1"], [b"s.*"], [b"s.1", b"s.3", b"t.>"], [b"s.%d" % number for number in range(1, 12, 2)], [b"z.*"]]
SUBJECTS = [b"s.1", b"s.2", b"s.3", b"s.4", b"t.a.b"]


def store_of(subjects: list[bytes], removed: set[int]) -> MemoryStore:
    store = MemoryStore()
    for subject in subjects:
        store.append_message(subject, b"x")
    for seq in removed:
        store.remove_message(seq)
    return store


@given(
    st.lists(st.sampled_from(SUBJECTS), max_size=40), st.sets(st.integers(1, 40), max_size=20),
    st.sampled_from(FILTERS), st.tuples(st.integers(1, 45), st.integers(0, 45)), st.integers(1, 7),
)  # fmt: skip
def test_in_steps_as_at_once(subjects, removed, filters, bounds, rows):
    begin, end = bounds
    store = store_of(subjects, removed)
    matching = [seq for seq in range(begin, end + 1) if seq in live(store) and accepts(store, seq, filters)]
    found, at, looks = 0, begin, 0
    while at and not found:
        found, at = store.search_message(at, end, filters, rows)
        looks += 1
    assert found == (matching[0] if matching else 0) and looks <= 50
    found, at = 0, end
    while at and not found:
        found, at = store.search_message_down(at, begin, filters, rows)
    assert found == (matching[-1] if matching else 0)
    assert through(lambda at: store.count_in_part(at, end, filters, rows), begin) == len(matching)
    of = {seq: subjects[seq - 1] for seq in live(store) if seq <= end}
    last = set({subject: seq for seq, subject in of.items()}.values())
    listed = [seq for seq in matching if seq in last]
    assert through(lambda at: store.lasts_in_part(at, end, filters, rows)[::2], begin) == len(listed)
    found, at = [], begin
    while at:
        seq, at = store.search_last_message(at, end, filters, rows)
        if seq:
            found, at = [*found, seq], seq + 1
    assert found == listed


def live(store: MemoryStore) -> list[int]:
    return [seq for seq in range(1, store.state_dict()["last_seq"] + 1) if store.has(seq)]


def accepts(store: MemoryStore, seq: int, filters: list[bytes]) -> bool:
    return store.next_message(seq, filters) == seq


def through(part, at, total=0):
    while at:
        found, at = part(at)
        total = total + found
    return total


@pytest.mark.parametrize("filters", [[b"k.*"], [b"k.%d" % number for number in range(0, 40_000, 100)]])
def test_many_subjects_are_long_to_count(filters):
    store = MemoryStore()
    for number in range(40_000):
        store.append_message(b"k.%d" % number)
    assert store.is_long_to_count(1, filters) and store.is_long_to_count(5, filters)
    assert not store.is_long_to_count(39_000, filters) and not store.is_long_to_count(1, [b"k.7"])
    assert not store.is_long_to_count(1, [])
