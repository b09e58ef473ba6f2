"""The index's promises about memory and rare shapes; the model test covers the rest."""

from __future__ import annotations

import pytest
from millpond.store.api import Filters
from millpond.store.index import Index
from millpond.structures.id_map import IdMap

NS_PER_MS = 1_000_000


def filled(messages: int, subjects: int) -> Index:
    index = Index()
    index.start_run(0)
    for seq in range(1, messages + 1):
        index.add_message(seq, b"s.%d" % (seq % subjects), seq)
    return index


def test_a_million_ever_new_subjects_need_no_more_memory_than_ten() -> None:
    index = Index()
    index.start_run(0)
    settled = 0
    for seq in range(1, 1_000_001):
        if seq % 1000 == 0:
            index.start_run(seq // 1000)
            if seq >= 2000:
                index.release_run(seq // 1000 - 2)
        index.add_message(seq, b"locks.%d" % seq)
        if seq > 10:
            assert index.remove_message(seq - 10) == b"locks.%d" % (seq - 10)
        if seq == 20_000:
            settled = sum(index.bytes_held())
    assert sum(index.bytes_held()) <= settled * 1.25 < 64 * 1024
    assert index.check() == []


def test_gives_back_the_memory_of_many_subjects() -> None:
    index = filled(50_000, 50_000)
    full = index.bytes_held()
    assert full[1] < 50_000 * 70
    for seq in range(1, 50_001):
        if seq % 1000:
            index.remove_message(seq)
    for seq in range(50_001, 50_031):
        index.add_message(seq, b"new.%d" % seq)
    assert sum(index.bytes_held()) < sum(full) / 20
    assert index.check() == []
    assert index.get_message(49_000)["subject"] == b"s.49000"


def test_a_removed_message_still_knows_its_next() -> None:
    index = filled(3000, 3)
    for seq in range(1, 2998):
        index.remove_message(seq)
        assert index.next_same(seq) == seq + 3
    assert index.check() == []


def test_finds_the_previous_last_of_a_long_subject() -> None:
    index = filled(300, 3)
    for seq in range(300, 3, -3):
        index.remove_message(seq)
        assert index.ask_last(Filters([b"s.0"]), 0) == seq - 3
    assert index.check() == []


def test_a_rare_wildcard_match_is_found_from_the_subjects() -> None:
    index = filled(20_000, 7)
    index.add_message(20_001, b"rare.one")
    for seq in range(20_002, 40_000):
        index.add_message(seq, b"s.1")
    rare = Filters([b"rare.*"])
    assert index.ask_next(1, rare) == 20_001
    assert index.ask_next(20_002, rare) == 0
    assert index.ask_last(rare, 0) == 20_001
    assert index.ask_last(rare, 20_000) == 0
    index.add_message(40_000, b"rare.one")
    assert index.ask_next(20_002, rare) == 40_000
    assert index.ask_last(rare, 39_999) == 20_001


def test_ages_and_gaps_beyond_a_column() -> None:
    index = Index()
    index.start_run(1)
    year_ns = 365 * 86_400 * 1000 * NS_PER_MS
    index.add_message(1, b"a", ts_ns=0)
    index.add_message(2, b"a", ts_ns=year_ns)
    index.add_message(2**40, b"a", ts_ns=50 * year_ns)
    assert [index.get_message(seq)["ts_ns"] for seq in (1, 2, 2**40)] == [0, year_ns, 50 * year_ns]
    assert index.ask_time(2 * year_ns) == 2**40
    assert index.next_same(2) == 2**40
    assert index.live_in(1) == 3
    assert index.state_dict()["num_deleted"] == 2**40 - 3
    assert index.ask_deleted(0, 2) == ([3, 4], 5)
    assert index.check() == []


def test_messages_move_between_segments() -> None:
    index = filled(100, 5)
    index.start_run(7)
    for seq in range(1, 101):
        index.move_message(seq, 7, seq * 2)
        assert (index.live_in(0), index.live_in(7)) == (100 - seq, seq)
    index.release_run(0)
    assert index.get_message(50) == {
        "seq": 50, "run_id": 7, "offset": 100, "size": 1, "ts_ns": 0, "subject": b"s.0",
    }  # fmt: skip
    assert index.check() == []


def test_a_segment_with_live_messages_cannot_be_dropped() -> None:
    index = filled(2, 1)
    with pytest.raises(AssertionError):
        index.release_run(0)


def test_filters_know_their_kind() -> None:
    assert Filters().all and Filters([b">"]).all
    assert Filters([b"a.b"]).literal and not Filters([b"a.*"]).literal and not Filters([b"a", b"b"]).literal
    assert Filters([b"a*"]).literal and Filters([b"a*"]).accepts(b"a*")
    assert not Filters([b"a*"]).accepts(b"ab")


def test_id_map_agrees_with_a_dict() -> None:
    ids, model = IdMap(), {}
    for i in range(5000):
        key = i * 2654435761 % 997
        if i % 3:
            ids[key] = model[key] = i
        elif key in model:
            del ids[key], model[key]
        else:
            with pytest.raises(KeyError):
                del ids[key]
    assert len(ids) == len(model) > 300
    assert all(ids[key] == value for key, value in model.items())


def test_gaps_cost_a_column_and_not_a_run_each() -> None:
    """Of every second sequence nothing is left, as in a bucket that was restored."""
    index = Index()
    index.start_run(0)
    for seq in range(1, 200_001, 2):
        index.add_message(seq, b"s.%d" % (seq % 50))
    assert sum(index.bytes_held()) < 100_000 * 40
    assert index.check() == []
