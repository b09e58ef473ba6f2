"""StoreDirectory: one server at a time; slots are few and used again."""

import os

import pytest

from millpond.base.errors import StoreInUseError
from millpond.store.directory import StoreDirectory, mark_released, reveal


def test_a_second_server_is_refused_and_told_who_holds_it(tmp_path):
    first = StoreDirectory(tmp_path)
    with pytest.raises(StoreInUseError) as caught:
        StoreDirectory(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert str(os.getpid()) in str(caught.value)
    first.close()
    StoreDirectory(tmp_path).close()


def test_slots_are_recycled(tmp_path):
    directory = StoreDirectory(tmp_path, "A/../B")
    one, two = directory.create_slot(), directory.create_slot()
    assert (one.name, two.name) == ("0000", "0001")
    assert tmp_path in one.parents and ".." not in one.parts
    (one / "stream.0").write_bytes(b"x")
    (two / "stream.0").write_bytes(b"x")
    (one / "seg-0000").write_bytes(b"y")
    directory.release_slot(one)
    assert directory.slots() == [two]
    assert directory.create_slot() == one
    directory.release_slot(two)
    assert {path.name for path in directory.streams.iterdir()} == {"0000", "0001"}
    directory.close()


def test_a_release_that_was_cut_short_is_finished(tmp_path):
    directory = StoreDirectory(tmp_path)
    slot = directory.create_slot()
    (slot / "stream.0").write_bytes(b"x")
    (slot / "released").write_bytes(b"")
    directory.close()
    directory = StoreDirectory(tmp_path)
    assert directory.slots() == [] and list(slot.iterdir()) == []
    directory.close()


def test_a_slot_that_lost_its_catalog_is_kept(tmp_path):
    directory = StoreDirectory(tmp_path)
    slot = directory.create_slot()
    (slot / "seg-0000").write_bytes(b"precious")
    directory.close()
    directory = StoreDirectory(tmp_path)
    assert directory.slots() == [slot]
    assert directory.create_slot() != slot
    assert (slot / "seg-0000").read_bytes() == b"precious"
    directory.close()


def test_a_slot_that_is_being_filled_is_gone_at_the_next_start_unless_it_was_revealed(tmp_path):
    directory = StoreDirectory(tmp_path)
    hidden, revealed = directory.create_slot(), directory.create_slot()
    for slot in (hidden, revealed):
        mark_released(slot)
        (slot / "log.0000").write_bytes(b"x")
    reveal(revealed)
    directory.close()
    again = StoreDirectory(tmp_path)
    assert again.slots() == [revealed]
    assert list(hidden.iterdir()) == []
    again.close()
