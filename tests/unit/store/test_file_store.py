"""The file store: what is committed when, names, compaction, erasing, cold reads, failures."""

from __future__ import annotations

import os
import shutil
import sys

import pytest
from file_rig import SMALL, START_NS, bodies, rig
from tests.readiness import readable

from millpond.base.errors import StoreError


def test_counts_a_message_as_nats_server_does(tmp_path):
    with rig(tmp_path) as r:
        store = r.open()
        store.append_message(b"foo.bar", b"hello", b"NATS/1.0\r\nA: b\r\n\r\n")
        assert store.state_dict()["bytes"] == 22 + 7 + 4 + 18 + 5 + 8
        store.append_message(b"foo.bar", b"hello")
        assert store.size_of(7, 0, 5) == 22 + 7 + 5 + 8


def test_time_never_runs_backwards(tmp_path):
    with rig(tmp_path) as r:
        store = r.open()
        store.append_message(b"a", ts_ns=START_NS + 5)
        store.append_message(b"a", ts_ns=START_NS)
        assert store.load_message(2)["ts_ns"] == START_NS + 5
        store = r.reopen()
        store.append_message(b"a", ts_ns=START_NS)
        assert store.load_message(3)["ts_ns"] == START_NS + 5
        state = r.reopen().state_dict()
        assert state["first_ts_ns"] == state["last_ts_ns"] == START_NS + 5


@pytest.mark.parametrize("sync", ["always", "interval", "never"])
def test_a_commit_moves_position_and_sequence(tmp_path, sync):
    with rig(tmp_path, sync=sync) as r:
        store = r.open()
        store.append_message(b"a", b"1")
        first = store.position
        assert (store.committed_position, store.committed_seq) == (0, 0)
        assert store.load_message(1)["body"] == b"1"
        r.committer.run_now()
        store.append_message(b"a", b"2")
        assert store.load_message(2, False)["body"] == b"2"
        if sync == "always":
            assert store.committed_seq == 0, "nothing is said before the sync is"
            r.settle()
        assert (store.committed_position, store.committed_seq) == (first, 1)
        assert store.owner.told == [("committed",)]
        r.commit()
        assert (store.committed_position, store.committed_seq) == (store.position, 2)


def test_a_commit_is_one_sync(tmp_path):
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=1 << 17)
        store.append_message(b"a", b"1")
        r.commit()
        before = r.committer.syncs
        for batch in range(10):
            for number in range(5):
                store.append_message(b"a", b"%d" % number)
            store.remove_message(batch + 2)
            r.commit()
        assert r.committer.syncs - before == 10


@pytest.mark.parametrize("sync", ["always", "interval"])
def test_every_file_of_a_write_is_synced_and_the_names_of_new_ones(tmp_path, sync):
    """Now, or with everything else that the interval held."""
    with rig(tmp_path, sync=sync) as r:
        store = r.open()
        r.commit()
        before = r.committer.syncs
        while store.figures()["segments"] < 3:
            store.append_message(b"a", bytes(SMALL // 2))
        r.committer.run_now()
        if sync == "interval":
            assert r.committer.in_flight() == 0
            r.committer.begin_sync_written()
        else:
            assert r.committer.in_flight() == 1, "a kill between two of its files would leave what came later"
            r.committer.collect()
        assert r.committer.in_flight() == 4
        r.settle()
        store.append_message(b"a", b"in the last of them")
        r.committer.run_now()
        r.committer.begin_sync_written()
        r.settle()
        assert r.committer.syncs - before == 5


def test_removals_in_a_row_are_one_record(tmp_path):
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=1 << 17)
        for number in range(100):
            store.append_message(b"a.%d" % (number % 2), b"x")
        r.commit()
        store.purge_messages([b"a.1"], 0, 0)
        store.purge_messages([], 40, 0)
        r.commit()
        (scan,) = r.scans()
        (remove,) = [record for record in scan.records if record.kind != "message"]
        assert (remove.kind, remove.seq) == ("remove", 41)
        assert remove.removed == tuple(range(42, 101, 2))
        left = bodies(store)
        assert bodies(r.reopen(1 << 17)) == left


@pytest.mark.parametrize("messages", [0, 3])
def test_a_raised_first_sequence_outlives_a_crash(tmp_path, messages):
    (tmp_path / "whole").mkdir()
    with rig(tmp_path) as r:
        store = r.open(tmp_path / "whole")
        for _ in range(messages):
            store.append_message(b"a", b"x")
        assert store.purge_messages([], 50) == messages
        r.commit()
        found = r.crash(tmp_path / "crashed").state_dict()
        assert (found["first_seq"], found["last_seq"], found["messages"]) == (50, 49, 0)
        assert r.store.append_message(b"a", b"y") == 50
        r.commit()
        found = r.crash(tmp_path / "again").state_dict()
        assert (found["first_seq"], found["last_seq"], found["messages"]) == (50, 50, 1)


def test_locks_circle_through_a_few_files(tmp_path):
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=1 << 17)
        store.configure(per_subject_max=1)
        seen = set()
        made = None
        for cycle in range(200_000):
            seq = store.append_message(b"locks.%d" % (cycle % 50), b"holder")
            if cycle % 3:
                store.remove_message(seq)
            else:
                store.purge_messages([b"locks.%d" % (cycle % 50)], 0, 0)
            if cycle % 20 == 0:
                r.turn()
            if cycle % 1000 == 0:
                seen.update(path.name for path in r.segments())
            if cycle == 20_000:
                made = store.log.names_made
        assert len(seen) <= 6
        assert store.log.names_made == made, "no name is made while locks come and go"
        assert store.figures()["copied_bytes"] == 0
        r.commit()
        assert sum(store.memory().values()) < 64 * 1024


def test_compaction_keeps_the_log_near_twice_what_lives(tmp_path):
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=1 << 14)
        store.configure(per_subject_max=1)
        for round in range(60):
            for key in range(0, 400, 1 + round % 7):
                store.append_message(b"kv.%d" % key, b"%d of round %d" % (key, round) * 8)
            r.turn()
        expected = bodies(store)
        for _ in range(40):
            r.turn()
        figures = store.figures()
        assert figures["copied_bytes"] > 0
        assert figures["log_bytes"] <= 2.5 * figures["live_bytes"] + 4 * (1 << 14)
        assert bodies(store) == expected and len(expected) == 400
        assert bodies(r.reopen(1 << 14)) == expected
        assert r.store.damage == []


def test_a_moved_message_keeps_its_end(tmp_path):
    with rig(tmp_path) as r:
        store = r.open()
        store.configure(per_subject_max=1)
        store.append_message(b"ends", b"soon", ts_ns=START_NS, expires_ns=START_NS + 1000)
        before = store.load_message(1)
        while not store.figures()["copied_bytes"]:
            store.append_message(b"a", b"x" * 200, ts_ns=START_NS)
            r.turn()
        store = r.reopen()
        assert store.load_message(1) == before and store.damage == []
        assert store.expire_messages(START_NS + 999) == START_NS + 1000
        store.expire_messages(START_NS + 1000)
        assert not store.has(1)


def test_a_large_message_has_room(tmp_path):
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=1 << 17)
        body = bytes(range(256)) * (32 * 1024 * 1024 // 256)
        store.append_message(b"small", b"1")
        store.append_message(b"big", body)
        store.append_message(b"small", b"3")
        r.commit()
        assert store.load_message(2)["body"] == body
        store = r.reopen(1 << 17)
        assert store.load_message(2)["body"] == body
        assert store.load_message(3)["body"] == b"3"
        store.remove_message(2)
        for _ in range(5):
            store.append_message(b"small")
            r.turn()
        assert sum(path.stat().st_size for path in r.segments()) < len(body)


@pytest.mark.parametrize("committed", [True, False])
def test_secure_removal_leaves_nothing_readable(tmp_path, committed):
    with rig(tmp_path) as r:
        store = r.open()
        store.append_message(b"keep", b"before")
        store.append_message(b"secret.subject", b"SECRETSECRET", b"NATS/1.0\r\nSECRET: x\r\n\r\n")
        store.append_message(b"keep", b"after")
        if committed:
            r.commit()
            assert b"SECRET" in b"".join(path.read_bytes() for path in r.segments())
        store.remove_message(2, True)
        r.commit()
        assert b"SECRET" not in b"".join(path.read_bytes() for path in r.segments())
        assert b"secret.subject" not in b"".join(path.read_bytes() for path in r.segments())
        assert bodies(store) == bodies(r.reopen()) == {1: b"before", 3: b"after"}
        assert r.store.damage == []


def test_a_secure_removal_reaches_copies(tmp_path):
    with rig(tmp_path) as r:
        store = r.open()
        store.configure(per_subject_max=1)
        store.append_message(b"secret", b"SECRETSECRET")
        for number in range(1500):
            store.append_message(b"a", b"%d" % number * 20)
            r.turn()
        records = [record for scan in r.scans() for record in scan.records if record.seq == 1]
        assert ("message", ("copy",)) in [(record.kind, record.flags) for record in records]
        store.remove_message(1, True)
        for number in range(300):                  # until the segments of earlier copies have left the log
            store.append_message(b"a", b"%d" % number * 20)
            r.turn()
        assert not any(b"SECRET" in path.read_bytes() for path in r.segments())


def test_a_secure_removal_is_finished_after_a_crash(tmp_path):
    (tmp_path / "a").mkdir()
    with rig(tmp_path / "a") as r:
        store = r.open()
        store.append_message(b"a", b"SECRETSECRET")
        r.commit()
        store.remove_message(1, True)
        r.committer.run_now()                      # the tombstone is written, nothing is overwritten yet
        assert b"SECRET" in r.segments()[0].read_bytes()
        store = r.crash(tmp_path / "b")
        assert bodies(store) == {}
        r.commit()
        r.cache.drain()                            # what was read by recovery is not kept in memory
        r.commit()
        assert b"SECRET" not in b"".join(path.read_bytes() for path in r.segments())


def test_a_cold_read_comes_later(tmp_path):
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=1 << 17)
        for number in range(4000):
            store.append_message(b"a", b"%d" % number * 50)
        store = r.reopen(1 << 17)
        os.sync()
        for path in r.segments():
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        found = store.load_message(2000, False)
        if found == "cold":                        # some file systems keep their pages
            assert store.load_message(2000, False) == "cold"
            assert store.owner.told == []
            readable(r.cache.event_fd)
            r.cache.collect()
            assert ("warm",) in store.owner.told
            found = store.load_message(2000, False)
        assert found["body"] == b"1999" * 50
        assert store.load_message(2001, False)["seq"] == 2001


def test_the_read_cache_is_bounded(tmp_path):
    with rig(tmp_path, cache_bytes=1 << 19) as r:
        store = r.open(segment_bytes=1 << 17)
        for number in range(3000):
            store.append_message(b"a", b"%4d" % number * 100)
        r.commit()
        assert r.cache.bytes <= 1 << 19
        for seq in (1, 3000, 1500, 2, 2999, 700):
            assert store.load_message(seq)["body"] == b"%4d" % (seq - 1) * 100
            assert r.cache.bytes <= 1 << 19


def test_an_idle_store_holds_no_buffer(tmp_path):
    with rig(tmp_path) as r:
        store = r.open()
        for number in range(2000):
            store.append_message(b"a", b"x" * 200)
            if number % 7 == 0:
                r.commit()
        r.commit()
        table = store.memory()["buffers"]
        assert table < 300 * 200, "the table of segments, no records"
        store.append_message(b"a", b"x")
        assert store.memory()["buffers"] > table, "the page that is being filled"
        r.commit()
        assert store.memory()["buffers"] <= table + 200


def test_a_commit_goes_on_in_the_page_that_was_not_full(tmp_path):
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=1 << 17)
        for number in range(100):
            store.append_message(b"a", b"%d" % number)
            r.commit()
        (scan,) = r.scans()
        assert scan.end < 3 * 4096
        assert [record.seq for record in scan.records if "batch" in record.flags] == list(range(1, 101))


@pytest.mark.skipif(sys.platform != "linux", reason="looks its descriptors up in /proc")
def test_a_failed_sync_is_the_end_of_writing(tmp_path):
    reason = "cannot sync"
    (tmp_path / "a").mkdir()
    with rig(tmp_path / "a") as r:
        store = r.open()
        store.append_message(b"a", b"kept")
        r.commit()
        store.append_message(b"a", b"never promised")
        r.replace_descriptor(r.segments()[0], "/dev/null")
        r.commit()
        assert store.failure.startswith(reason)
        assert store.owner.told[-1] == ("failed", store.failure)
        assert store.committed_seq == 1 and store.committed_position < store.position
        with pytest.raises(StoreError, match=reason):
            store.append_message(b"a", b"refused")
        for refused in (lambda: store.remove_message(1), store.purge_messages):
            with pytest.raises(StoreError, match=reason):
                refused()
        assert store.expire_messages(START_NS) == 0
        assert bodies(store) == {1: b"kept", 2: b"never promised"}
        syncs = r.committer.syncs
        r.commit()
        assert r.committer.syncs == syncs, "the same pages are never synced again"
        assert bodies(r.crash(tmp_path / "b")) == {1: b"kept"}


def test_a_disk_without_room_refuses_and_changes_nothing(tmp_path, monkeypatch):
    with rig(tmp_path) as r:
        store = r.open(segment_bytes=SMALL)
        store.append_message(b"a", b"1")
        r.commit()
        taken = tmp_path / "log.0001"
        taken.mkdir()                              # the next segment cannot be made
        with pytest.raises(OSError):
            store.append_message(b"a", bytes(SMALL))
        assert store.state_dict()["last_seq"] == 1 and store.failure == ""
        taken.rmdir()
        assert store.append_message(b"a", bytes(SMALL)) == 2
        r.commit()
        assert store.committed_seq == 2


def test_destroying_waits_for_nothing_and_writes_nothing(tmp_path):
    with rig(tmp_path) as r:
        store = r.open()
        for _ in range(200):
            store.append_message(b"a", b"x" * 100)
        r.committer.run_now()
        store.append_message(b"a", b"never written")
        before = [path.read_bytes() for path in r.segments()]
        store.destroy()
        r.store = None
        assert r.committer.in_flight(), "nobody waited for the sync that runs"
        r.commit()
        assert [path.read_bytes() for path in r.segments()] == before


def test_a_store_that_is_held_writes_nothing_until_it_may(tmp_path):
    with rig(tmp_path) as r:
        store = r.open()
        store.hold()
        store.append_message(b"a", b"1")
        r.commit()
        assert store.committed_seq == 0
        assert not any(any(path.read_bytes()) for path in r.segments())
        store.go_on()
        r.commit()
        assert store.committed_seq == 1


def test_a_store_that_is_closed_while_it_is_held_leaves_nothing(tmp_path):
    with rig(tmp_path) as r:
        store = r.open()
        store.hold()
        store.append_message(b"a", b"1")
        r.close()
        assert not any(any(path.read_bytes()) for path in r.segments())


@pytest.mark.parametrize("sync", ["always", "never"])
def test_an_empty_store_keeps_its_place(tmp_path, sync):
    """With `never` there is no witness, and the head of the newest segment is all that knows."""
    with rig(tmp_path, sync=sync) as r:
        store = r.open()
        store.start_at(1000)
        assert r.reopen().append_message(b"a", ts_ns=START_NS) == 1000
        r.store.remove_message(1000)
        state = r.reopen().state_dict()
        assert (state["first_seq"], state["last_seq"], state["last_ts_ns"]) == (1001, 1000, START_NS)
        for _ in range(3):                         # also when the segments that knew are gone
            for _ in range(60):
                r.store.append_message(b"a", b"x" * 100, ts_ns=START_NS)
            r.store.purge_messages()
            r.turn()
            r.turn()
        r.reopen().append_message(b"a", ts_ns=START_NS)
        r.reopen().purge_messages()
        r.turn()
        r.turn()
        assert [record.kind for scan in r.scans()[-1:] for record in scan.records] == ["floor", "trim"]
        assert len(r.store.log.order_list()) == 1
        assert r.reopen().append_message(b"a") == 1182


def test_a_closed_store_takes_nothing(tmp_path):
    with rig(tmp_path) as r:
        store = r.open()
        store.append_message(b"a")
        r.close()
        with pytest.raises(AssertionError):
            store.append_message(b"a")


def test_a_file_that_is_used_again_stays_open_while_others_are_read(tmp_path):
    """It was open for reading in its former life; as the tail it is not one of those that are closed for others."""
    with rig(tmp_path) as r:
        store = r.open()
        for number in range(60):
            store.append_message(b"a", b"%04d" % number * 300)
            r.turn()
        store = r.reopen()
        again = store.log.order_list()[0]
        store.load_message(1)
        while again in store.log.order_list():
            store.remove_message(store.next_message(0))
            r.turn()
        while again not in store.log.order_list():
            store.append_message(b"a", b"next" * 300)
            r.turn()
        assert store.log.order_list()[-1] == again
        bodies(store)
        store.append_message(b"a", b"more")
        r.turn()
        assert store.failure == ""


def test_the_log_goes_on_at_the_next_page_while_an_erasure_is_synced(tmp_path):
    """Its last page has left the cache, so it begins another one: what the sync of the erasure covers ends before."""
    with rig(tmp_path / "whole") as r:
        (tmp_path / "whole").mkdir()
        store = r.open(segment_bytes=65536)
        for number in range(3):
            store.append_message(b"a", b"%d" % number)
            r.commit()
        store.remove_message(2, True)
        r.turn()                                   # the removal is on disk
        r.committer.run_now()                      # the message is overwritten, and that is synced
        assert r.committer.in_flight() == 1
        r.cache.resize(0)
        r.cache.resize(1 << 22)
        store.append_message(b"a", b"new")
        r.settle()
        assert bodies(store) == {1: b"0", 3: b"2", 4: b"new"}
        shutil.copytree(tmp_path / "whole", tmp_path / "killed")
        r.commit()
        assert bodies(r.reopen()) == {1: b"0", 3: b"2", 4: b"new"} and r.store.damage == []
        r.close()
        assert bodies(r.open(tmp_path / "killed")) == {1: b"0", 3: b"2"} and r.store.damage == []
