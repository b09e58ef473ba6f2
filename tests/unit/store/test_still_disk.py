"""A disk that stands still: the loop asks it for nothing, what comes waits in memory, within bounds, nothing is lost.

What workers do waits at the gate of a `FaultyDisk`; whatever the loop itself would do fails there.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from file_rig import SMALL, Rig, bodies, rig
from millpond.store.catalog import Catalog
from millpond.store.file_store import FileStore
from millpond.store.names import Names
from millpond.testing.faulty_disk import NEVER, FaultyDisk

from millpond.base import limits
from millpond.store.space import Space

pytestmark = pytest.mark.usefixtures("quiet")


@contextmanager
def faulty(folder: Path, error: int = 0) -> Iterator[tuple[Rig, FaultyDisk]]:
    disk = FaultyDisk(error=error)
    with rig(folder, disk=disk) as r:
        try:
            yield r, disk
        finally:
            disk.go_on()
            r.settle()


@contextmanager
def still(folder: Path, messages: int = 1) -> Iterator[tuple[Rig, FaultyDisk]]:
    """A store with some messages; its disk stands still, and that was noticed."""
    with faulty(folder) as (r, disk):
        store = r.open()
        for number in range(messages):
            store.append_message(b"before", b"%d" % number)
        r.commit()
        stop(r, disk)
        yield r, disk


def stop(r: Rig, disk: FaultyDisk) -> None:
    """Something is asked of it and not answered."""
    disk.stand_still()
    Names(str(r.directory), r.committer).keep(lambda _: None)
    run(r)
    noticed(r)


def noticed(r: Rig) -> None:
    end = time.monotonic() + 10
    while not r.committer.py_stands_still():
        assert time.monotonic() < end, "nobody notices"


def run(r: Rig) -> None:
    """The commit phase; what it asks for is not waited for."""
    r.committer.run_later()


def test_it_is_noticed_and_its_end_too(tmp_path):
    told = []
    with still(tmp_path) as (r, disk):
        r.committer.when_it_moves(lambda _: told.append("moves"))
        assert told == []
        disk.go_on()
        r.settle()
        assert told == ["moves"] and not r.committer.py_stands_still()
        r.committer.when_it_moves(lambda _: told.append("at once"))
        assert told == ["moves", "at once"]


def test_messages_wait_in_memory_in_segments_without_files(tmp_path):
    with still(tmp_path) as (r, disk):
        store, files = r.store, len(r.segments())
        for number in range(20):
            assert store.append_message(b"a", b"%d" % number + bytes(SMALL // 3)) == number + 2
        run(r)
        assert store.figures()["segments"] > 3 and len(r.segments()) == files
        assert len(bodies(store)) == 21 and store.committed_seq == 1
        assert store.remove_message(5)
        run(r)
        disk.go_on()
        r.settle()
        r.commit()
        assert store.committed_position == store.position and r.committer.made_later_bytes == 0
        expected = bodies(store)
        assert len(expected) == 20 and bodies(r.crash(tmp_path.with_name(tmp_path.name + "-crash"))) == expected


def test_what_waits_is_bounded_and_room_again_when_it_is_written(tmp_path, monkeypatch):
    with still(tmp_path) as (r, disk):
        store, body, taken = r.store, bytes(1 << 20), 0
        with pytest.raises(OSError, match="stands still") as refused:
            while True:
                store.append_message(b"a", body)
                taken += 1
                assert taken << 20 <= limits.MADE_LATER_BYTES_MAX
        assert refused.value.errno == errno.ENOMEM, "it passes: the store has not failed"
        assert taken >= limits.MADE_LATER_BYTES_MAX // (2 << 20) and not store.failure
        state = store.state_dict()
        with pytest.raises(OSError):
            store.append_message(b"a", body)
        assert store.state_dict() == state, "a refused append has done nothing"
        disk.go_on()
        r.settle()
        assert store.append_message(b"a", body) == taken + 2
        r.commit()
        assert len(bodies(r.reopen())) == taken + 2


def test_a_stream_that_ends_gives_back_what_it_had_of_the_bound(tmp_path):
    with still(tmp_path) as (r, disk):
        for _ in range(10):
            r.store.append_message(b"a", bytes(SMALL // 2))
        assert r.committer.made_later_bytes > 0
        store, r.store = r.store, None
        disk.go_on()
        store.destroy()
        assert r.committer.made_later_bytes == 0


def test_a_batch_is_promised_its_room_and_has_it(tmp_path):
    with still(tmp_path) as (r, disk):
        store = r.store
        store.promise_batch(5 * SMALL, SMALL // 2)
        store.batch(True)
        for _ in range(9):
            store.append_message(b"b", bytes(SMALL // 2 - 200))
        store.batch(False)
        disk.go_on()
        r.settle()
        r.commit()
        assert len(bodies(r.reopen())) == 10


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_what_was_begun_waits_for_room_when_it_went_on_as_a_full_disk(tmp_path, error):
    with faulty(tmp_path, error) as (r, disk):
        store = r.open()
        store.append_message(b"a", b"1")
        r.commit()
        stop(r, disk)
        for _ in range(6):
            store.append_message(b"a", bytes(SMALL // 2))
        disk.first, disk.last = 0, NEVER
        disk.go_on()
        r.settle()
        r.turn()
        assert not store.failure and store.committed_seq == 1
        with pytest.raises(OSError):
            store.append_message(b"a", b"refused")
        disk.first = NEVER
        assert r.committer.space.probe()
        r.committer.retry()
        r.commit()
        assert store.committed_seq == 7 and len(bodies(r.reopen())) == 7


def test_what_was_promised_and_is_refused_afterwards_is_made_when_there_is_room(tmp_path):
    with faulty(tmp_path, errno.ENOSPC) as (r, disk):
        store = r.open()
        store.append_message(b"a", b"1")
        r.commit()
        stop(r, disk)
        store.promise_batch(5 * SMALL, SMALL // 2)
        store.batch(True)
        store.batch(False)                         # nothing came of it: its segments are spares without files
        disk.kinds, disk.first, disk.last = frozenset({"reserve"}), 0, NEVER
        disk.go_on()
        r.settle()
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                for _ in range(3):
                    store.append_message(b"a", bytes(SMALL // 2))
        disk.first = NEVER
        assert r.committer.space.probe()
        last_seq = [store.append_message(b"a", bytes(SMALL // 2)) for _ in range(3)][-1]
        r.commit()
        assert not store.failure and len(bodies(r.reopen())) == last_seq


def test_a_file_that_is_not_made_in_time_is_the_segments_when_it_is(tmp_path):
    """Nobody had noticed before; the loop has waited a moment."""
    with faulty(tmp_path) as (r, disk):
        store = r.open()
        store.append_message(b"a", b"1")
        r.commit()
        before = r.segments()
        disk.stand_still()
        end = time.monotonic() + 10
        while not r.committer.py_stands_still():
            store.append_message(b"a", bytes(SMALL // 2))
            assert time.monotonic() < end, "nobody notices"
        last_seq = store.append_message(b"a", b"behind it")
        assert r.segments() == before
        disk.go_on()
        r.commit()
        assert store.committed_seq == last_seq and store.figures()["names_made"] == len(r.segments())
        assert len(bodies(r.reopen())) == last_seq


def filled_up(r: Rig) -> FileStore:
    """To the last byte: the next record begins a segment."""
    store = r.open()
    for _ in range(62):
        store.append_message(b"a", bytes(31))
    r.commit()
    assert len(r.segments()) == store.figures()["segments"] == 1 and r.scans()[0].end == SMALL
    return store


def test_a_segment_that_a_commit_begins_has_its_file_before_it_is_written(tmp_path):
    with faulty(tmp_path) as (r, disk):
        store = filled_up(r)
        disk.stand_still()
        assert store.remove_message(7)
        run(r)
        assert r.committer.py_stands_still() and store.figures()["segments"] == 2 and len(r.segments()) == 1
        run(r)
        disk.go_on()
        r.commit()
        assert not store.failure and store.committed_position == store.position
        assert len(bodies(r.reopen())) == 61


def test_a_segment_that_the_last_record_begins_has_its_file_before_it_is_written(tmp_path):
    with faulty(tmp_path) as (r, disk):
        filled_up(r)
        disk.stand_still()
        later = threading.Timer(2 * limits.FILE_MADE_WAIT_NS / 1e9, disk.go_on)    # close() waits
        later.start()
        r.close()
        later.join()
        assert [record.kind for record in r.scans()[-1].records] == ["clean"]


def test_a_configuration_is_saved_when_it_goes_on(tmp_path):
    told = []
    with still(tmp_path) as (r, disk):
        catalog = Catalog(str(tmp_path / "stream"), r.committer, new=True)
        catalog.save(b"value", told.append)
        run(r)
        assert told == [] and not (tmp_path / "stream.0").exists()
        disk.go_on()
        r.commit()
        assert told == [""]
        catalog.close()


def test_what_testifies_waits_too(tmp_path):
    with faulty(tmp_path) as (r, disk):
        r.open().append_message(b"a", b"1")
        r.turn()
        disk.stand_still()
        r.committer.testify()
        done = []
        (notes,) = r.committer.noting()
        notes.when_written(done.append)
        assert not (tmp_path / "witness").exists()
        disk.go_on()
        r.settle()
        assert done == [""] and not r.committer.noting() and (tmp_path / "witness").exists()


def test_who_waits_for_everything_waits_for_a_file_that_is_late(tmp_path):
    """And who is to be told when the disk goes on is told then."""
    with faulty(tmp_path) as (r, disk):
        r.open()
        r.committer.space = Space(tmp_path)
        disk.stand_still()
        assert not r.committer.moves()
        told = []
        r.committer.when_it_moves(told.append)
        later = threading.Timer(0.05, disk.go_on)
        later.start()
        r.committer.drain()
        later.join()
        assert told == [""] and r.committer.moves()
        r.committer.space.close()
